"""The climb of a measured ladder as bars, beside the article's; and what its other pictures share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

import numpy as np

from roofline.measure.ladder.history import MACHINE, cited
from roofline.measure.ladder.report import Ladder
from roofline.measure.ladder.rungs import RUNGS, Run
from roofline.measure.ladder.steps import Step
from roofline.units import format_number, format_quantity

#: What the rungs are told apart by, in the order of the colours.
FAMILIES = ("Python", "NumPy's loops", "NumPy's BLAS", "MKL", "torch")
_LEAST_SHARE = 0.01  # of a peak, that is written in percent
ABOVE, AROUND, LEFT = 0.35, 0.25, 0.8  # room about what is drawn, in decades
_GAP = 1.0  # bars, between this machine's and the article's
_TEXT_ROOM, _NARROW_ROOM = 0.8, 3.4  # for the figures beside the bars, and on a narrow page, in decades


@dataclass(frozen=True, slots=True)
class Bar:
    """A rung of the climb. place: of its family. low, high: 10th and 90th percentile [FLOP/s]. said: its hover box."""

    name: str
    place: int
    flop_s: float
    low: float
    high: float
    written: str
    said: tuple[str, ...]

    @property
    def above(self) -> float:
        """From the median to the 90th percentile [FLOP/s]."""
        return self.high - self.flop_s

    @property
    def below(self) -> float:
        """From the 10th percentile to the median [FLOP/s]."""
        return self.flop_s - self.low


@dataclass(frozen=True, slots=True)
class Climb:
    """Bars of this machine and, apart, of the article's. ends: of the axis, as exponents of ten."""

    title: str
    subtitle: str
    notes: tuple[str, ...]
    bars: tuple[Bar, ...]
    machine: str
    history: tuple[Bar, ...]
    ends: tuple[float, float]
    ticks: tuple[tuple[float, str], ...]
    numbers: tuple[dict[str, Any], ...]

    @property
    def narrow_ends(self) -> tuple[float, float]:
        """The ends of the axis on a narrow page, where the figures beside the bars take more of it."""
        return self.ends[0], self.ends[1] + _NARROW_ROOM - _TEXT_ROOM

    @property
    def domains(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Where the article's bars stand and where this machine's, from below, as shares of the height."""
        cut = len(self.history) / (len(self.history) + len(self.bars) + _GAP)
        return (0.0, cut), (1.0 - len(self.bars) / (len(self.history) + len(self.bars) + _GAP), 1.0)

    def rows(self) -> list[dict[str, Any]]:
        """The numbers of this machine's bars, under COLUMNS."""
        return list(self.numbers)


def family(run: Run) -> int:
    """The place of a rung's family in FAMILIES."""
    spec = RUNGS[run.rung]
    if spec.library in ("mkl", "torch"):
        return 3 if spec.library == "mkl" else 4
    natures = {"interpreter": 0, "rows": 0, "scalar": 1, "vector": 1, "converted": 1}
    return natures.get(spec.nature, 2)


def label(run: Run) -> str:
    """'numpy-fp32 ×2'."""
    return f"{run.rung} ×{run.threads}" if run.spec.threaded else run.rung


def climb(ladder: Ladder) -> Climb:
    """This machine's rungs and the article's, on one axis."""
    bars = tuple(_bar(step) for step in ladder.steps)
    history = tuple(
        Bar(one.name, len(FAMILIES), one.flop_s, one.flop_s, one.flop_s, short(one.flop_s),
            (one.name, format_quantity(one.flop_s, "FLOP/s"), one.note))
        for one in ladder.history
    )  # fmt: skip
    every = [bar.flop_s for bar in (*bars, *history)]
    ends = (log10(min(every)) - LEFT, log10(max(every)) + _TEXT_ROOM)
    smaller = [step for step in ladder.steps if step.measured.n < ladder.n]
    listed = ", ".join(f"{label(step.run)} {step.measured.n}" for step in smaller)
    return Climb(
        title="The matmul ladder: from nested loops to the peak",
        subtitle=machine(ladder) + f"\nProducts of {ladder.n} × {ladder.n} matrices; medians, 10th to 90th percentile; "
        "%: of the peak",
        notes=(
            *([f"At a smaller n: {listed}"] if smaller else []),
            f"Another machine, {MACHINE}: {cited()}",
        ),
        bars=bars,
        machine=ladder.here.name,
        history=history,
        ends=ends,
        ticks=tuple(ticks(ends)),
        numbers=tuple(ladder.rows()),
    )


def _bar(step: Step) -> Bar:
    low, high = np.quantile(step.measured.samples.values, (0.1, 0.9))
    share = "" if step.share is None else f" · {step.share:.0%}" if step.share >= _LEAST_SHARE else " · <1%"
    speed = short(step.flop_s)
    return Bar(
        label(step.run), family(step.run), step.flop_s, float(low), float(high), f"{speed}{share}", said(step),
    )  # fmt: skip


def said(step: Step) -> tuple[str, ...]:
    """The hover box of a rung."""
    one = step.measured
    many = f"{step.run.threads} thread{'s' * (step.run.threads != 1)}"
    parts = [
        f"{step.spec.title}, {step.spec.dtype}, {many}",
        f"{format_quantity(step.flop_s, 'FLOP/s')} at n = {one.n}",
        ", ".join((format_quantity(step.work, "FLOP"), format_quantity(step.bytes, "B"))),
        f"{format_number(step.intensity)} FLOP/B",
    ]
    if step.share is not None and step.peak is not None:
        parts.append(f"{step.share:.1%} of {format_quantity(step.peak, 'FLOP/s')}")
    if step.factor is not None and step.against is not None:
        parts.append(f"×{format_number(step.factor)} of {label(step.against.run)}")
    return tuple(parts)


def machine(ladder: Ladder) -> str:
    """'Raspberry Pi 5 Model B, 4 cores'."""
    here = ladder.here
    return f"{here.name}, {here.cores} core{'s' * (here.cores != 1)}{', virtual machine' if here.virtual else ''}"


def short(flop_s: float) -> str:
    """'29.0 G': the axis says the unit."""
    return format_quantity(flop_s, "FLOP/s").removesuffix("FLOP/s")


def ticks(ends: tuple[float, float]) -> Iterable[tuple[float, str]]:
    """Powers of ten [FLOP/s] with their texts; halves between where there are few."""
    powers = range(floor(ends[0]), ceil(ends[1]) + 1)
    few = ends[1] - ends[0] < 2.5
    for power in powers:
        for digit in (1, 2, 5) if few else (1,):
            value = digit * 10.0**power
            if ends[0] <= log10(value) <= ends[1]:
                yield value, format_quantity(value, "FLOP/s", 1).removesuffix("FLOP/s").strip()
