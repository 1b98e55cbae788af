"""Speed against bits per weight and against quality: every quantisation of a model on some devices.

Quality is the signal-to-noise ratio of the stored weights on a Gaussian, see quantization.quality; a model's is that of
its tensors' types together. It is no perplexity; one that was published stands beside it where there is one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from roofline import api
from roofline.charts.lineups import (
    MOST_SERIES,
    Choice,
    NoRoomError,
    cache_name,
    described,
    hardware_id,
    model_id,
    worked_out,
)
from roofline.charts.measured import measured
from roofline.charts.observed import agrees
from roofline.charts.quant import QuantPoint, QuantPoints, Seen, Speed
from roofline.grid import Task, grid, unsupported
from roofline.lineup import line_up
from roofline.points import assignments, one_number
from roofline.prediction import Phase, Prediction
from roofline.quality import quality_of
from roofline.quantization import RECIPES, get
from roofline.quantization.layouts import INTERLEAVED, TILED
from roofline.spec import SpecError
from roofline.stack import WeightStack
from roofline.weights import Weights


def quant_points(
    hw: Sequence[str],
    model: str,
    quants: Sequence[str] | None = None,
    kv: str = "f16",
    *,
    phase: str = "decode",
    prompt: str | int = "512",
    gen: str | int = "128",
    depth: str | int = "0",
    batch: str | int = "1",
    ctx: str | int | None = None,
    figures: Sequence[str] = (),
    with_measured: bool = True,
    **settings: Any,
) -> QuantPoints:
    """Speed and quality of a model in several quantisations.

    quants: names; without them all that the runtime can read, but for the idealised and the interleaved ones, which
    have the bytes of others. phase: which one is drawn; the rows have both. kv: 'q8_0', or 'q8_0/q4_0'. A measurement
    is shown where all else is as asked (observed.agrees). figures, settings: as of points.points.
    """
    words = {"prompt": prompt, "gen": gen, "depth": depth, "batch": batch}
    counts = {name: one_number(name, str(value)) for name, value in words.items()}
    tokens = {"decode": "gen", "prefill": "prompt"}[phase]
    if not counts[tokens]:
        raise SpecError(f"--{tokens}: expected at least 1 token to speak of {phase}, found 0")
    cache = cache_name(kv)
    shared: dict[str, Any] = {
        **settings, **counts, "kv": cache.replace("/", ","), "set": assignments(figures),
        "context": None if ctx is None else one_number("ctx", str(ctx)),
    }  # fmt: skip
    forms = _forms(model, None if quants is None else tuple(dict.fromkeys(quants)))
    devices = [Choice(name, None, cache, name, place) for place, name in enumerate(dict.fromkeys(hw))]

    def of(device: Choice) -> tuple[list[QuantPoint], Prediction, dict[str, list[str]]]:
        return _of(device, model, forms, shared, with_measured)

    if not 1 <= len(devices) <= MOST_SERIES:
        raise SpecError(f"--hw: expected 1 to {MOST_SERIES} devices, found {len(devices)}")
    for name in hw:
        line_up(name)  # a mistake in a name is no finding
    found, notes = worked_out(devices, of)
    one = [first for _, first, _ in found]
    points = tuple(point for made, _, _ in found for point in made)
    left_out = {quant: reason for _, _, left in found for reason, names in left.items() for quant in names}
    if left_out:
        why = next(iter(left_out.values())) if len(set(left_out.values())) == 1 else ""
        notes.append(f"The engine cannot read {_some(left_out, 3)}{': ' if why else ''}{why}.")
    for made, _, _ in found:
        missing = [point.quant for point in made if not point.fits]
        if missing:
            notes.append(f"{made[0].hardware}: does not fit: {_some(missing)}.")
    without = list(dict.fromkeys(point.quant for point in points if point.snr_db is None))
    exact = list(dict.fromkeys(point.quant for point in points if point.snr_db == math.inf))
    notes += [f"No measured quality: {_some(without)}."] if without else []
    notes += [f"Without error, so beyond the quality axis: {_some(exact)}."] if exact else []
    alike = [replace(each, weights=replace(each.weights, quant="")) for each in one]
    workload = f"prompt {counts['prompt']}, {counts['gen']} generated, depth {counts['depth']}, batch {counts['batch']}"
    return QuantPoints(
        "Speed against bits and quality", f"{described(alike)}\n{workload}", phase,
        tuple(hardware_id(each) for each in one), points, tuple(notes),
    )  # fmt: skip


def _forms(model: str, quants: tuple[str, ...] | None) -> tuple[Weights, ...]:
    """The model in each quantisation; what the catalog has is remembered, a file may change."""
    is_file = model.endswith((".gguf", ".json", ".toml"))
    return _read_forms(model, quants) if is_file else _known_forms(model, quants)


def _read_forms(model: str, quants: tuple[str, ...] | None) -> tuple[Weights, ...]:
    """The model in each quantisation. SpecError: a named one is unknown, or does not suit the shape."""
    if quants is not None:
        return tuple(api.load_weights(model, name)[1] for name in quants)
    if model.endswith(".gguf"):
        return (api.load_weights(model, None)[1],)
    found = []
    for name, recipe in RECIPES.items():
        if recipe.base in INTERLEAVED or recipe.base in TILED or recipe.layout.family == "uniform":
            continue
        try:
            found.append(api.load_weights(model, get(name).id)[1])
        except SpecError:
            continue  # a recipe that does not suit the shape
    if not found:
        raise SpecError(f"--quant: expected quantisations that suit {model}, found none")
    return tuple(found)


_known_forms = lru_cache(maxsize=64)(_read_forms)


def _of(
    device: Choice, model: str, forms: Sequence[Weights], shared: dict[str, Any], with_measured: bool
) -> tuple[list[QuantPoint], Prediction, dict[str, list[str]]]:
    """The points of a device, a prediction of one of them, and the quantisations that are left out by their reasons."""
    first, able, reasons = _first(device, model, forms, shared)
    quick = first.placement is None and first.disk is None
    speeds = _at_once(first, able) if quick else _one_by_one(device, model, able, shared)
    seen = _seen(first) if with_measured else {}
    points = []
    for weights, (fits, decode, prefill) in zip(able, speeds, strict=True):
        points.append(
            QuantPoint(
                hardware_id(first),
                model_id(first),
                weights.quant,
                device.kv,
                device.place,
                weights.bits_per_weight,
                quality_of(weights, model_id(first), first.model.native_quant),
                weights.file_bytes,
                fits,
                decode,
                prefill,
                tuple(seen.get(weights.quant, ())),
            )
        )
    if not any(point.fits for point in points):
        raise NoRoomError(f"--hw: expected room for one of the quantisations on {device.hw}, found it for none")
    return points, first, reasons


def _first(
    device: Choice, model: str, forms: Sequence[Weights], shared: dict[str, Any]
) -> tuple[Prediction, list[Weights], dict[str, list[str]]]:
    """A prediction of the first form that can be predicted, all that the machine can run, and why it cannot others."""
    reasons: dict[str, list[str]] = {}
    first: Prediction | None = None
    able = []
    for weights in forms:
        try:
            if first is None:
                first = api.predict(device.hw, model, _name(model, weights), **shared)
            elif reason := unsupported(weights, first.machine, first.workload):
                raise SpecError(reason)
        except SpecError as error:
            reasons.setdefault(str(error), []).append(weights.quant)
        else:
            able.append(weights)
    if first is None:
        raise SpecError(next(iter(reasons)))
    return first, able, reasons


def _name(model: str, weights: Weights) -> str | None:
    return None if model.endswith(".gguf") else weights.quant


_Speeds = tuple[bool, Speed | None, Speed | None]


def _at_once(first: Prediction, able: Sequence[Weights]) -> list[_Speeds]:
    """Whether each fits, and its speeds, all in one evaluation."""
    stack, task = _stack(first.names.get("model_file", ""), first.model.name, tuple(able), first), Task(first.workload)
    count = len(able)
    fits = np.broadcast_to(np.asarray(task.bill(stack, first.machine).fits), (count, 1, 1, 1, 1)).ravel()
    both = grid(first.machine, stack, task)

    def of(phase: Phase | None) -> list[Speed | None]:
        if phase is None:
            return [None] * count
        names = list(phase.shares)
        figures = [
            np.broadcast_to(np.asarray(value), (count, 1, 1, 1, 1)).ravel().tolist()
            for value in (phase.tok_s, phase.low_tok_s, phase.high_tok_s, phase.ceiling_tok_s, phase.bound_code)
        ]
        return [_named(speeds, names[code]) for *speeds, code in zip(*figures, strict=True)]

    pairs = zip(fits.tolist(), of(both.decode), of(both.prefill), strict=True)
    return [(fit, decode if fit else None, prefill if fit else None) for fit, decode, prefill in pairs]


_STACKS: dict[tuple[Any, ...], WeightStack] = {}


def _stack(file: str, name: str, able: tuple[Weights, ...], first: Prediction) -> WeightStack:
    """The forms side by side; the last few are remembered, with what is known of them."""
    key = (file, name, *map(id, able))
    if key not in _STACKS:
        while len(_STACKS) >= 8:
            _STACKS.pop(next(iter(_STACKS)))
        _STACKS[key] = WeightStack(first.model, able)
    return _STACKS[key]


def _one_by_one(device: Choice, model: str, able: Sequence[Weights], shared: dict[str, Any]) -> list[_Speeds]:
    found = []
    for weights in able:
        one = api.predict(device.hw, model, _name(model, weights), **shared)
        decode, prefill = (_speed(phase) if one.runs else None for phase in (one.decode, one.prefill))
        found.append((one.runs, decode, prefill))
    return found


def _speed(phase: Phase | None) -> Speed | None:
    if phase is None:
        return None
    speeds = (phase.tok_s, phase.low_tok_s, phase.high_tok_s, phase.ceiling_tok_s)
    return _named([float(value) for value in speeds], str(phase.bound))


def _named(speeds: Sequence[float], bound: str) -> Speed:
    expected, low, high, light = speeds
    return Speed(expected, low, high, light, bound)


def _seen(first: Prediction) -> dict[str, list[Seen]]:
    """What was measured of each quantisation with all else as in the prediction."""
    found: dict[str, list[Seen]] = {}
    for one in measured(first, any_quant=True):
        if agrees(one, first, "quant"):
            found.setdefault(one.quant, []).append(Seen(one.phase, one.tok_s, one.std, one.id, one.source))
    return found


def _some(names: Iterable[str], most: int = 8) -> str:
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
