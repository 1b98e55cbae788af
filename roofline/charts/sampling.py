"""Predictions along one quantity of a workload, in a call or two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from roofline.calculator import run
from roofline.disk import disk_roof
from roofline.memory import MemoryBill, bill
from roofline.placement import Placements
from roofline.prediction import Phase, Prediction
from roofline.workload import Workload

Array = NDArray[Any]
Banded = Literal["prefill", "decode"]


@dataclass(frozen=True, slots=True)
class Samples:
    """One phase along an axis, at the x where it runs. ends: the last x that memory holds, None where all are held.

    one: a prediction that has been made of it, of one x or of several. layers: on the device at the first x and at the
    last one, where they are placed for each x; () where they are not.
    """

    one: Prediction
    x: Array
    tok_s: Array
    low_tok_s: Array
    high_tok_s: Array
    ceiling_tok_s: Array
    seconds: Array
    bound: Array
    ends: float | None
    layers: tuple[int, ...] = ()


#: Makes the prediction of an x, or of an array of them, with so many layers on the device; None is as many as fit.
Ask = Callable[..., Prediction]
_FIGURES = ("tok_s", "low_tok_s", "high_tok_s", "ceiling_tok_s", "seconds", "bound")


def sample(ask: Ask, axis: str, xs: Array, phase: Banded, placed: bool = False) -> Samples:
    """A phase at every x of `xs` that runs, and at the last whole one that does.

    Every point is what one prediction of it alone would say: where layers are placed as fit, they are placed anew for
    each x. placed: whether the layers of a placement are given. axis: the name of the workload's figure.
    """
    whole = ask(xs)
    anew = whole.placement is not None and whole.placement.host is not None and not placed
    layers, holds = _placed(whole, whole.workload, xs.shape) if anew else (xs, _holds(whole, whole.memory, xs.shape))
    runs = np.logical_and.accumulate(holds)
    if anew:
        found = _each_placed(ask, whole, phase, xs, runs, layers)
    else:
        found = [_values(getattr(whole, phase), xs, runs)]
    ends = None if runs.all() else _last(whole, axis, xs, runs, anew)
    if ends is not None and ends not in xs:
        there = np.array([ends])
        found.append(_values(getattr(ask(there), phase), there))
    none: Array = np.array([])
    columns = {name: np.concatenate([part[name] for part in found]) if found else none for name in ("x", *_FIGURES)}
    used = tuple(int(number) for number in layers[runs][[0, -1]]) if anew and runs.any() else ()
    return Samples(whole, **columns, ends=ends, layers=used)


def _values(speeds: Phase, xs: Array, runs: Any = True) -> dict[str, Array]:
    """The figures of a phase at each x, where it runs."""
    here = np.broadcast_to(runs, xs.shape)
    wide = {name: np.broadcast_to(np.asarray(getattr(speeds, name)), xs.shape)[here] for name in _FIGURES}
    return {"x": xs[here], **wide}


def _holds(one: Prediction, memory: MemoryBill, shape: tuple[int, ...]) -> Array:
    """Where a bill of it fits, or what does not is read from the disk."""
    holds = np.asarray(memory.fits)
    if one.disk is not None:
        side, around = memory.host or memory, one.placement.host if one.placement else None
        holds = holds | (np.asarray(disk_roof(side, around or one.machine, one.disk.rate).missing) <= 0)
    return np.broadcast_to(holds, shape)


def _last(one: Prediction, axis: str, xs: Array, runs: Array, anew: bool) -> float | None:
    """The last whole x that is held, beyond the last of `xs` that is; None where not even the first one is.

    anew: whether layers are placed for each x.
    """
    count = int(runs.sum())
    if not count:
        return None
    between = np.arange(xs[count - 1], xs[count])
    change: dict[str, Any] = {axis: between}
    workload = replace(one.workload, **change)
    if anew:
        holds = _placed(one, workload, between.shape)[1]
    else:
        holds = _holds(one, bill(one.model, one.weights, one.machine, workload, one.placement), between.shape)
    return float(between[holds][-1])


# -- layers that are placed anew for each x ---------------------------------------------------------------------------


def _placed(whole: Prediction, workload: Workload, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """The layers on the device at each element, as inverse.most_layers finds them [1], and whether the rest is held."""
    assert whole.placement is not None  # of a device with its host
    least = whole.placement.gpu_layers  # an array is placed for its largest element
    layers, runs = np.full(shape, least), np.zeros(shape, dtype=bool)
    for number in range(least, whole.model.layers + 2):
        placement = replace(whole.placement, gpu_layers=number)
        memory = bill(whole.model, whole.weights, whole.machine, workload, placement)
        held = np.broadcast_to(np.asarray(replace(memory, host=None).fits), shape) | (number == least)
        if not held.any():
            break
        layers, runs = np.where(held, number, layers), np.where(held, _holds(whole, memory, shape), runs)
    return layers, runs


def _each_placed(
    ask: Ask, whole: Prediction, phase: Banded, xs: Array, runs: Array, layers: Array
) -> list[dict[str, Array]]:
    """The figures of a phase with so many layers on the device at each x, where it runs."""
    placement, workload = whole.placement, whole.workload
    assert placement is not None  # of a device with its host
    numbers = list(dict.fromkeys(layers.tolist()))
    if whole.disk is not None or placement.others:
        parts = [(number, xs[runs & (layers == number)]) for number in numbers]
        return [_values(getattr(ask(part, number), phase), part) for number, part in parts if part.size]
    each = tuple(replace(placement, gpu_layers=number) for number in numbers)
    shared = {one.name: getattr(placement, one.name) for one in fields(placement) if one.init}
    together = Placements(**shared, each=each, index=tuple(map(numbers.index, layers.tolist())))
    ubatch = workload.ubatch or whole.machine.runtime.ubatch
    step = workload.decode(ubatch) if phase == "decode" else workload.prefill(ubatch)
    made = run(whole.model, whole.weights, whole.machine, workload, step, phase, together)
    return [_values(made, xs, runs)]
