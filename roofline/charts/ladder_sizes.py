"""The speed of matrix products against their size, with the caches that the matrices leave."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2, log10
from typing import Any

from roofline.charts.ladder import ABOVE, AROUND, family, label, machine, ticks
from roofline.measure.ladder.report import Ladder
from roofline.measure.ladder.rungs import RUNGS, UNBLOCKED
from roofline.measure.ladder.sizes import side_in
from roofline.units import format_quantity

_LEFT_OF, _RIGHT_OF = 0.05, 0.08  # room beside the curves, in decades
_AT_LEFT = 0.2  # of the width: a mark that is nearer to the right end has its text at the left


@dataclass(frozen=True, slots=True)
class SizeCurve:
    """The speed of one rung against n. said: the hover box of each point."""

    name: str
    place: int
    n: tuple[int, ...]
    flop_s: tuple[float, ...]
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Speed against n; marks: (n, what no longer fits beyond it)."""

    title: str
    subtitle: str
    notes: tuple[str, ...]
    curves: tuple[SizeCurve, ...]
    marks: tuple[tuple[int, str], ...]
    x_ends: tuple[float, float]
    y_ends: tuple[float, float]
    x_ticks: tuple[int, ...]
    ticks: tuple[tuple[float, str], ...]
    numbers: tuple[dict[str, Any], ...]

    @property
    def labels(self) -> tuple[tuple[float, str, bool], ...]:
        """The marks' texts; plotly places them by the exponent of ten. True: at the left, for want of room."""
        far = self.x_ends[1] - _AT_LEFT * (self.x_ends[1] - self.x_ends[0])
        return tuple((log10(side), said, log10(side) > far) for side, said in self.marks)

    def rows(self) -> list[dict[str, Any]]:
        """The points, under SIZE_COLUMNS."""
        return list(self.numbers)


def sizes(ladder: Ladder) -> Sizes | None:
    """Speed against n; None where no sweep was made."""
    if not ladder.sizes:
        return None
    curves = []
    for run in dict.fromkeys(one.run for one in ladder.sizes):
        own = [one for one in ladder.sizes if one.run == run]
        said = tuple(
            f"{label(run)}: {format_quantity(one.samples.median, 'FLOP/s')} at n = {one.n}"
            + (f", {one.m} rows of it" if one.m < one.n else "")
            for one in own
        )
        speeds = tuple(one.samples.median for one in own)
        curves.append(SizeCurve(label(run), family(run), tuple(one.n for one in own), speeds, said))
    every = [speed for curve in curves for speed in curve.flop_s]
    ns = sorted({n for curve in curves for n in curve.n})
    y_ends = (log10(min(every)) - AROUND, log10(max(every)) + ABOVE)
    x_ends = (log10(ns[0]) - _LEFT_OF, log10(ns[-1]) + _RIGHT_OF)
    unblocked = RUNGS[UNBLOCKED]
    marks = [
        (side, f"{name}\n{format_quantity(cache, 'B', binary=True)}")
        for name, cache in (("L2", ladder.here.l2), ("L3", ladder.here.l3))
        if cache and ns[0] <= (side := side_in(cache, unblocked)) <= ns[-1]
    ]
    outside = [
        f"Three fp32 matrices fit the {name} of {format_quantity(cache, 'B', binary=True)} up to n = {side}"
        for name, cache in (("L2", ladder.here.l2), ("L3", ladder.here.l3))
        if cache and not ns[0] <= (side := side_in(cache, unblocked)) <= ns[-1]
    ]
    return Sizes(
        title="Speed against size: who notices that the matrices leave the caches",
        subtitle=f"{machine(ladder)}\n{UNBLOCKED} goes through all of B for each row of A, and is timed on a few rows",
        notes=("Lines: where three fp32 matrices no longer fit a cache", *outside) if marks else tuple(outside),
        curves=tuple(curves),
        marks=tuple(marks),
        x_ends=x_ends,
        y_ends=y_ends,
        x_ticks=tuple(n for n in ns if log2(n).is_integer()),
        ticks=tuple(ticks(y_ends)),
        numbers=tuple(ladder.size_rows()),
    )
