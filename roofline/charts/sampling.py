"""Predictions along one quantity of a workload, in as few calls as there are placements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.memory import bill, device_bill
from roofline.prediction import Phase, Prediction
from roofline.workload import Real, Workload

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Samples:
    """One phase along an axis, at the x where it runs. ends: the last x that memory holds, None where all are held.

    one: a prediction that has been made of it, of one x or of several.
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


#: Makes the prediction of an x, or of an array of them, with so many layers on the device; None is as many as fit.
Ask = Callable[..., Prediction]
_FIGURES = ("tok_s", "low_tok_s", "high_tok_s", "ceiling_tok_s", "seconds", "bound")


def sample(ask: Ask, axis: str, xs: Array, phase: str, placed: bool = False) -> Samples:
    """A phase at every x of `xs` that runs, and at the last whole one that does.

    Every point is what one prediction of it alone would say: where layers are placed as fit, they are placed anew for
    each x. placed: whether the layers of a placement are given. axis: the name of the workload's figure.
    """
    whole = ask(xs)
    if whole.placement is None or whole.placement.host is None or placed:
        runs = _runs(whole, xs.shape)
        found = [_values(whole, phase, xs, runs)]
        ends = None if runs.all() else _last(whole, axis, xs, runs)
        if ends is not None and ends not in xs:
            there = np.array([ends])
            found.append(_values(ask(there), phase, there, np.array([True])))
    else:
        layers = _layers(ask(float(xs[0])), whole, xs)
        found, last = [], None
        for number in dict.fromkeys(layers.tolist()):
            part = xs[layers == number]
            one = ask(part, number)
            runs = _runs(one, part.shape)
            found.append(_values(one, phase, part, runs))
            last = float(part[runs][-1]) if runs.any() else last
            if not runs.all():
                break
        else:
            last = None
        ends = last
    columns = {name: np.concatenate([part[name] for part in found]) for name in ("x", *_FIGURES)}
    return Samples(whole, **columns, ends=ends)


def _values(one: Prediction, phase: str, xs: Array, runs: Array) -> dict[str, Array]:
    speeds: Phase = getattr(one, phase)
    wide = {name: np.broadcast_to(np.asarray(getattr(speeds, name)), xs.shape)[runs] for name in _FIGURES}
    return {"x": xs[runs], **wide}


def _runs(one: Prediction, shape: tuple[int, ...]) -> Array:
    """Up to where every point runs: it fits, or what does not is read from the disk."""
    fits = np.asarray(one.memory.fits)
    if one.disk is not None:
        fits = fits | (np.asarray(one.disk.missing) <= 0)
    return np.logical_and.accumulate(np.broadcast_to(fits, shape))


def _last(one: Prediction, axis: str, xs: Array, runs: Array) -> float | None:
    """The last whole x that fits, beyond the last of `xs` that does; None where not even the first does."""
    count = int(runs.sum())
    if not count:
        return None
    known = float(xs[count - 1])
    if one.disk is not None:
        return known
    between = np.arange(known, float(xs[count]))
    fits = bill(one.model, one.weights, one.machine, _with(one, axis, between), one.placement).fits
    return float(between[np.broadcast_to(np.asarray(fits), between.shape)][-1])


def _layers(first: Prediction, whole: Prediction, xs: Array) -> Array:
    """Layers on the device that fit there at each x, as inverse.most_layers finds them [1]; fewer the larger x is."""
    assert first.placement is not None and whole.placement is not None  # of a device with its host
    most, least = first.placement.gpu_layers, whole.placement.gpu_layers  # an array is placed for its largest
    layers = np.full(xs.shape, least)
    workload = whole.workload
    for number in range(least + 1, most + 1):
        placement = replace(first.placement, gpu_layers=number)
        held = device_bill(first.model, first.weights, placement.device, workload, placement).fits
        layers = np.where(np.broadcast_to(np.asarray(held), xs.shape), number, layers)
    return layers


def _with(one: Prediction, axis: str, xs: Real) -> Workload:
    change: dict[str, Any] = {axis: xs}
    return replace(one.workload, **change)
