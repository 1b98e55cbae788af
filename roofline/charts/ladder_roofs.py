"""The rungs of a measured ladder under this machine's roofs (Williams, Waterman & Patterson 2009)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log10
from typing import Any, Literal

from roofline.charts.ladder import ABOVE, AROUND, LEFT, family, label, machine, said, ticks
from roofline.measure.ladder.report import Ladder
from roofline.measure.ladder.steps import Step
from roofline.units import format_quantity

COLUMNS = (
    "roof", "rung", "dtype", "threads", "intensity_flop_per_byte", "achieved_flop_s", "attainable_flop_s", "bound",
)  # fmt: skip
_APART, _LINES_APART = 0.075, 0.045  # of the height of a picture: between labels of points, and of roofs
_FOR_LABELS = 1.0  # room at the right for the labels of arithmetic, in decades
_BESIDE = 0.75  # how far a point's label reaches, in decades
_ALONG = 0.15  # from the left end of a slope to its label, in decades


@dataclass(frozen=True, slots=True)
class RoofLine:
    """A ceiling from end to end. x [FLOP/B], y [FLOP/s]; label: at its end, '' where there is no room."""

    name: str
    kind: str
    is_whole: bool
    value: float
    x: tuple[float, float]
    y: tuple[float, float]
    label: str

    @property
    def label_at(self) -> tuple[float, float]:
        """Where its label stands, as exponents of ten: at the right end of a level, in the middle of a slope."""
        if self.kind == "compute":
            return log10(self.x[1]), log10(self.y[1])
        return log10(self.x[0]) + _ALONG, log10(self.y[0]) + _ALONG


@dataclass(frozen=True, slots=True)
class Point:
    """A rung under the roofs. label: '' where there is no room; side: on which it stands. is_whole: by all threads."""

    name: str
    place: int
    x: float
    y: float
    is_whole: bool
    label: str
    side: Literal["left", "right"]
    said: tuple[str, ...]

    @property
    def label_at(self) -> tuple[float, float]:
        """Where it is, as exponents of ten."""
        return log10(self.x), log10(self.y)


@dataclass(frozen=True, slots=True)
class Roofs:
    """The rungs under this machine's roofs."""

    title: str
    subtitle: str
    notes: tuple[str, ...]
    lines: tuple[RoofLine, ...]
    points: tuple[Point, ...]
    x_ends: tuple[float, float]
    y_ends: tuple[float, float]
    ticks: tuple[tuple[float, str], ...]
    numbers: tuple[dict[str, Any], ...]

    def rows(self) -> list[dict[str, Any]]:
        """Roofs and rungs, under COLUMNS."""
        return list(self.numbers)


def roofs(ladder: Ladder) -> Roofs | None:
    """The rungs under the machine's roofs; None where no roof is known."""
    xs = [step.intensity for step in ladder.steps]
    ridges = [
        float(ceilings.ridge_point)
        for path, threads in _paths(ladder)
        if (ceilings := ladder.here.ceilings(path, threads)) is not None
    ]
    if not ridges:
        return None
    x_ends = (log10(min(*xs, *ridges)) - LEFT, log10(max(*xs, *ridges)) + _FOR_LABELS)
    peaks = [ladder.here.peak(path, threads) or 0.0 for path, threads in _paths(ladder)]
    speeds = [step.flop_s for step in ladder.steps]
    y_ends = (log10(min(speeds)) - AROUND, log10(max(*peaks, *speeds)) + ABOVE)
    lines = tuple(_lines(ladder, x_ends, y_ends))
    points = tuple(_points(ladder.steps, y_ends))
    basis = (ladder.here.bandwidth_basis, ladder.here.clock_basis, ladder.here.per_cycle_basis)
    rows = [
        {"roof": line.name, "achieved_flop_s": line.value if line.kind == "compute" else None} for line in lines
    ]  # fmt: skip
    rows += [
        {
            "rung": step.run.rung, "dtype": step.spec.dtype, "threads": step.run.threads,
            "intensity_flop_per_byte": step.intensity, "achieved_flop_s": step.flop_s,
            "attainable_flop_s": step.attainable, "bound": step.bound,
        }
        for step in ladder.steps
    ]  # fmt: skip
    return Roofs(
        title="The rungs under this machine's roofs",
        subtitle=machine(ladder)
        + "\nIntensity: operations by bytes, each matrix moved once; repeated products find small ones in a cache",
        notes=("Bandwidth: {}. Clock: {}. Operations per cycle: {}".format(*basis),),
        lines=lines,
        points=points,
        x_ends=x_ends,
        y_ends=y_ends,
        ticks=tuple(ticks(y_ends)),
        numbers=tuple(rows),
    )


def _paths(ladder: Ladder) -> list[tuple[str, int]]:
    """(path, threads) of the roofs that the rungs lie under."""
    found = {(step.path, step.run.threads) for step in ladder.steps if step.path}
    return sorted((path, threads) for path, threads in found if path and ladder.here.peak(path, threads))


def _lines(ladder: Ladder, x_ends: tuple[float, float], y_ends: tuple[float, float]) -> Iterator[RoofLine]:
    here, (left, right) = ladder.here, (10.0**end for end in x_ends)
    most = max((threads for _, threads in _paths(ladder)), default=1)
    slopes = sorted({threads for _, threads in _paths(ladder)})
    low: list[float] = []
    for threads in reversed(slopes):
        bandwidth = here.bandwidth.get(threads)
        tops = [here.peak(path, count) or 0.0 for path, count in _paths(ladder) if count == threads]
        if bandwidth and tops:
            end = min(max(tops) / bandwidth, right)
            said = f"memory, {_cores(threads)}: {format_quantity(bandwidth, 'B/s')}"
            ends = (left * bandwidth, end * bandwidth)
            shown = _is_free(log10(bandwidth), low, y_ends)
            yield RoofLine(said, "memory", threads == most, bandwidth, (left, end), ends, said if shown else "")
    named: list[float] = []
    levels = sorted(_paths(ladder), key=lambda one: -(here.peak(*one) or 0.0))
    for path, threads in levels:
        peak, bandwidth = here.peak(path, threads) or 0.0, here.bandwidth.get(threads)
        said = f"{path}, {_cores(threads)}: {format_quantity(peak, 'FLOP/s')}"
        shown = _is_free(log10(peak), named, y_ends)
        begin = min(max(peak / bandwidth, left), right) if bandwidth else left
        yield RoofLine(said, "compute", threads == most, peak, (begin, right), (peak, peak), said if shown else "")


def _cores(threads: int) -> str:
    return f"{threads} core{'s' * (threads != 1)}"


def _points(steps: Sequence[Step], y_ends: tuple[float, float]) -> Iterator[Point]:
    """Every rung has a name at its fastest point, where there is room for it at the left or the right."""
    most = max(step.run.threads for step in steps)
    places = [(log10(step.intensity), log10(step.flop_s)) for step in steps]
    high = _APART * (y_ends[1] - y_ends[0])
    taken: list[tuple[float, float, float]] = []  # from, to and height of labels
    best: set[str] = set()
    for step in sorted(steps, key=lambda one: -one.flop_s):
        x, y = log10(step.intensity), log10(step.flop_s)
        side: Literal["left", "right"] | None = None
        if step.run.rung not in best:
            for wanted, low, top in (("left", x - _BESIDE, x), ("right", x, x + _BESIDE)):
                crowded = any(low < px < top and abs(py - y) < high / 2 for px, py in places)
                over = any(low < other and begin < top and abs(level - y) < high for begin, other, level in taken)
                if not (crowded or over):
                    side = "left" if wanted == "left" else "right"
                    taken.append((low, top, y))
                    break
        best.add(step.run.rung)
        yield Point(
            label(step.run), family(step.run), step.intensity, step.flop_s, step.run.threads == most and most > 1,
            label(step.run) if side else "", side or "left", said(step),
        )  # fmt: skip


def _is_free(height: float, taken: list[float], ends: tuple[float, float]) -> bool:
    """Whether a label at this height [decades] is clear of the others; then it is taken."""
    if any(abs(height - other) < _LINES_APART * (ends[1] - ends[0]) for other in taken):
        return False
    taken.append(height)
    return True
