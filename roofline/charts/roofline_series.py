"""What stands under the roofs of one device: quantisations, their phases at every stop, and what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from roofline.calculator import predict as calculate
from roofline.charts.label_sheet import Label
from roofline.charts.marks import Stop, stops
from roofline.charts.measured import Measured, measured
from roofline.charts.roofs import Roof, sides
from roofline.prediction import Phase, Prediction

#: Where the sliders stop, beside what was asked.
PROMPTS, BATCHES = (1, 8, 32, 128, 512, 2048, 8192), (1, 2, 4, 8, 16, 32, 64)
Name = Literal["prefill", "decode"]
PHASES: tuple[Name, Name] = ("prefill", "decode")
#: What the marks of a phase move with.
MOVES = {"prefill": "prompt", "decode": "batch"}


@dataclass(frozen=True, slots=True)
class Seen:
    """A measured speed at the intensity of what is expected of it. ratio: expected by measured speed [1]."""

    id: str
    phase: str
    intensity: float
    flop_s: float
    tok_s: float
    ratio: float
    run: str
    source: str
    is_own: bool


@dataclass(frozen=True, slots=True)
class Track:
    """A phase of one series: as it was asked for, and at the stops of its slider, those that run."""

    phase: Name
    asked: Stop
    stops: tuple[Stop, ...]

    @property
    def trail(self) -> list[Stop]:
        """The stops that run, in order, with the asked one among them."""
        return [stop for stop in self.stops if stop.runs]

    @property
    def ends(self) -> list[Stop]:
        """The first and the last stop of the trail; none where there is but one."""
        trail = self.trail
        return [trail[0], trail[-1]] if len(trail) > 1 else []

    def at(self, value: int) -> Stop | None:
        """The stop of a value; None where it does not run, though the asked one does."""
        return next((stop for stop in self.stops if stop.value == value and (stop.runs or not self.asked.runs)), None)


@dataclass(frozen=True, slots=True)
class Series:
    """One quantisation on one device. look: place of its colour [1]."""

    name: str
    look: int
    tracks: tuple[Track, ...]
    seen: tuple[Seen, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One device. hardware: its id; name: what it is called. short_labels: for a narrow page."""

    hardware: str
    name: str
    roofs: tuple[Roof, ...]
    labels: tuple[Label, ...]
    short_labels: tuple[Label, ...]
    series: tuple[Series, ...]


def phase_of(prediction: Prediction, name: Name) -> Phase | None:
    """The phase of that name."""
    return prediction.prefill if name == "prefill" else prediction.decode


def asked_value(prediction: Prediction, name: Name) -> int:
    """Where its slider stood in what was asked: tokens of the prompt, or sequences [1]."""
    work = prediction.workload
    return int(work.prompt if name == "prefill" else work.batch)


def values_of(predictions: Sequence[Prediction], name: Name, with_stops: bool) -> tuple[int, ...]:
    """The stops of a phase: the asked one, and the usual ones that the contexts have room for."""
    asked = asked_value(predictions[0], name)
    if not with_stops:
        return (asked,)
    usual = BATCHES if name == "decode" else [value for value in PROMPTS if value <= _longest_prompt(predictions)]
    return tuple(sorted({asked, *usual}))


def _longest_prompt(predictions: Sequence[Prediction]) -> float:
    """The longest prompt that all contexts hold: those given, else those of the models."""
    limits = [one.workload.context or one.model.max_context for one in predictions]
    taken = predictions[0].workload.depth + predictions[0].workload.gen
    return min((float(limit - taken) for limit in limits if limit), default=float("inf"))


def series_of(
    name: str, look: int, prediction: Prediction, values: Mapping[Name, tuple[int, ...]], with_measured: bool
) -> Series:
    """A quantisation on a device, at the values of every phase. look: place of its colour [1]."""
    bandwidth = _together(prediction)
    tracks = []
    for phase_name, moving in values.items():
        phase = phase_of(prediction, phase_name)
        if phase is None:
            continue
        asked = stops(prediction, phase, (asked_value(prediction, phase_name),), bandwidth)[0]
        tracks.append(Track(phase_name, asked, tuple(_moved(prediction, phase_name, asked, moving, bandwidth))))
    return Series(name, look, tuple(tracks), tuple(_seen(prediction)) if with_measured else ())


def _together(prediction: Prediction) -> float:
    """The theoretical bandwidth of all memories that work on a prediction [B/s]."""
    return sum(machine.theoretical_bandwidth * machine.count for _, machine in sides(prediction))


def _moved(prediction: Prediction, name: Name, asked: Stop, values: Sequence[int], bandwidth: float) -> Iterator[Stop]:
    """The stops of a phase; what was asked for is taken as it was predicted."""
    others = [value for value in values if value != asked.value]
    if not others:
        return iter((asked,))
    along = np.array(others, dtype=float)
    work = replace(prediction.workload, prompt=along) if name == "prefill" else None
    work = work or replace(prediction.workload, batch=along)
    disk = prediction.disk.rate if prediction.disk is not None else None
    moved = calculate(prediction.model, prediction.weights, prediction.machine, work, prediction.placement, disk)
    phase = phase_of(moved, name)
    found = stops(moved, phase, others, bandwidth) if phase is not None else []
    return iter(sorted([asked, *found], key=lambda stop: stop.value))


def _seen(prediction: Prediction) -> Iterator[Seen]:
    """What was measured, where the prediction for that very run lies."""
    for one in measured(prediction):
        expected = one.expected
        if expected is None:
            continue
        phase = expected.phase
        run = [f"{what} {value}" for what, value in _run(one).items() if value]
        yield Seen(
            one.id, one.phase, float(phase.intensity), one.tok_s * float(phase.flops / phase.step.tokens), one.tok_s,
            float(phase.tok_s) / one.tok_s, ", ".join([*run, one.runtime]), one.source or one.url, one.is_own,
        )  # fmt: skip


def _run(one: Measured) -> dict[str, int | None]:
    length = {"prompt": one.prompt} if one.phase == "prefill" else {"generated": one.gen}
    return {**length, "depth": one.depth, "batch": one.batch, "threads": one.threads}
