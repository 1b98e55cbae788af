"""The measured points nearest to a prediction, in the calculator's own terms.

    distance = Σ wᵢ · |ln (feature / feature')| + penalties

A feature that the phase depends on counts fully (decode: bytes of a token and bandwidth; prefill: operations of a token
and peak), the others a little. A distance of 0.7 is a factor of two in one of them. What no feature tells adds a
penalty: another backend, engine, family of quantisation, quantisation, model or device.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from math import log
from pathlib import Path
from typing import Literal

from roofline.bench import Observation, runtime_for, shipped
from roofline.bench.expected import expect
from roofline.catalog import normalise
from roofline.check.features import Features, features, shipped_features
from roofline.prediction import Prediction
from roofline.quantization import layout
from roofline.spec import SpecError

#: Weights of |ln ratio| of bytes, operations, bandwidth and peak, by phase.
WEIGHTS = {"decode": (1.0, 0.1, 1.0, 0.1), "prefill": (0.1, 1.0, 0.1, 1.0)}
#: Weight of |ln ratio| of other figures of the run: sequences, devices, threads, tokens.
RUN_WEIGHT = 0.3
#: What is added where the point differs; each is the most that the difference usually explains, as a logarithm.
PENALTIES = {"backend": 2.0, "engine": 0.4, "period": 0.1, "family": 0.4, "quant": 0.1, "model": 0.1, "device": 0.5}
#: A cache of as many tokens is as far from an empty one as twice as many are from these [1].
_SHORT = 1024


@dataclass(frozen=True, slots=True)
class Near:
    """A measured point. distance: see the module [1]. ratio: predicted by measured speed there [1], None where none."""

    id: str
    hardware: str
    model: str
    quant: str
    backend: str
    runtime: str
    phase: str
    tok_s: float
    source: str
    url: str
    tier: str
    distance: float
    ratio: float | None = None


def rows(prediction: Prediction, count: int = 3) -> list[dict[str, object]]:
    """The nearest measured points of both phases, as a report shows them."""
    phases: tuple[tuple[Literal["prefill", "decode"], object], ...] = (
        ("prefill", prediction.prefill),
        ("decode", prediction.decode),
    )
    found = []
    for name, phase in phases:
        if phase is not None:
            for near in nearest(prediction, name, count):
                found.append({**asdict(near), "phase": name, "measured_tok_s": near.tok_s})
    return found


@dataclass(frozen=True, slots=True)
class Point:
    """A point in whose neighbourhood to look: names, features and figures of the run. runtime: id of its file.

    count: devices that work together; sockets are one.
    """

    hardware: str
    model: str
    quant: str
    backend: str
    runtime: str
    features: Features
    batch: float = 1.0
    count: float = 1.0
    threads: float | None = None
    depth: float = 0.0


def nearest(prediction: Prediction, phase: Literal["prefill", "decode"], count: int = 3) -> list[Near]:
    """The `count` measured points nearest to a phase of a prediction, the nearest first, each configuration once."""
    found = prediction.prefill if phase == "prefill" else prediction.decode
    if found is None:
        return []
    return near(point_of(prediction, phase), phase, count)


def point_of(prediction: Prediction, phase: str) -> Point:
    """Where a phase of a prediction lies; its first point where it holds several."""
    found = prediction.prefill if phase == "prefill" else prediction.decode
    if found is None:
        raise SpecError(f"phase: expected one with tokens, found none for {phase}")
    machine, names = prediction.machine, prediction.names
    file = names.get("hardware_file")
    return Point(
        hardware=Path(file).stem if file else machine.hardware.name,
        model=names.get("model", prediction.model.name),
        quant=prediction.weights.quant,
        backend=machine.backend,
        runtime=names.get("runtime", machine.runtime.name),
        features=features(prediction, found),
        batch=_least(prediction.workload.batch),
        count=1.0 if machine.backend == "cpu" else float(machine.hardware.count),
        threads=float(machine.threads) if machine.backend == "cpu" else None,
        depth=_least(prediction.workload.depth),
    )


def _least(value: object) -> float:
    from numpy import min as least

    return float(least(value))  # type: ignore[call-overload]


def near(point: Point, phase: str, count: int, accept: Callable[[Observation], bool] = lambda _: True) -> list[Near]:
    """The same for a point, among the shipped observations that `accept` lets pass."""
    known = shipped_features()
    wanted = "pp" if phase == "prefill" else "tg"
    candidates = [
        (distance(point, measured_point(seen, known[seen.id]), phase), place, seen)
        for place, seen in enumerate(shipped().observations)
        if seen.phase == wanted and seen.id in known and accept(seen)
    ]
    candidates.sort(key=lambda item: item[:2])
    chosen: dict[tuple[object, ...], Near] = {}
    for length, _, seen in candidates:
        if len(chosen) == count:
            break
        key = (seen.hardware, seen.count, seen.model, seen.quant, seen.backend, seen.runtime, seen.batch, seen.depth)
        if key not in chosen:
            chosen[key] = _near(seen, phase, length)
    return [_with_ratio(item) for item in chosen.values()]


def measured_point(seen: Observation, found: Features) -> Point:
    """Where an observation lies."""
    return Point(
        hardware=seen.hardware,
        model=seen.model,
        quant=seen.quant,
        backend=seen.backend,
        runtime=runtime_for(seen).id or seen.runtime,
        features=found,
        batch=float(seen.batch or 1),
        count=1.0 if seen.backend == "cpu" else float(seen.count),
        threads=float(seen.threads) if seen.threads else None,
        depth=float(seen.depth or 0),
    )


def distance(here: Point, there: Point, phase: str) -> float:
    """How far two points of one phase are apart [1]: 0 for the same run, symmetric."""
    mine, theirs = here.features, there.features
    pairs = (
        (mine.bytes_per_token, theirs.bytes_per_token),
        (mine.flops_per_token, theirs.flops_per_token),
        (mine.bandwidth, theirs.bandwidth),
        (mine.peak, theirs.peak),
    )
    total = sum(weight * abs(log(a / b)) for weight, (a, b) in zip(WEIGHTS[phase], pairs, strict=True))
    run = abs(log(here.batch / there.batch)) + abs(log(here.count / there.count))
    run += abs(log((here.depth + _SHORT) / (there.depth + _SHORT)))
    if here.threads and there.threads:
        run += abs(log(here.threads / there.threads))
    total += RUN_WEIGHT * run
    if here.backend != there.backend:
        total += PENALTIES["backend"]
    if normalise(here.runtime) != normalise(there.runtime):
        total += PENALTIES["period" if engine_of(here.runtime) == engine_of(there.runtime) else "engine"]
    if layout(mine.type).family != layout(theirs.type).family:
        total += PENALTIES["family"]
    for name, differs in (
        ("quant", here.quant != there.quant),
        ("model", here.model != there.model),
        ("device", here.hardware != there.hardware),
    ):
        if differs:
            total += PENALTIES[name]
    return total


def engine_of(runtime: str) -> str:
    """The letters of an engine's name without its version: 'llamacpp' of 'llama.cpp-2024-06'."""
    return normalise(re.sub(r"-?\d.*", "", runtime))


def _near(seen: Observation, phase: str, length: float) -> Near:
    hardware = f"{seen.hardware}x{seen.count}" if seen.count > 1 else seen.hardware
    return Near(
        seen.id, hardware, seen.model, seen.quant, seen.backend, seen.runtime, phase, seen.tok_s, seen.source, seen.url,
        seen.tier, length,
    )  # fmt: skip


def _with_ratio(item: Near) -> Near:
    """The point with the error of the prediction there."""
    seen = next(seen for seen in shipped().observations if seen.id == item.id)
    try:
        speed = float(expect(seen).phase.tok_s)
    except SpecError:
        return item
    return replace(item, ratio=speed / seen.tok_s)
