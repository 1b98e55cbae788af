"""Which term of a prediction would have to change, and by how much, to make it exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from roofline.ceilings import memory_share, overlap
from roofline.prediction import Phase
from roofline.units import format_number

Term = Literal["bandwidth", "compute path", "launch cost", "KV"]
TERMS: tuple[Term, ...] = ("bandwidth", "compute path", "launch cost", "KV")

Floats = NDArray[np.floating[Any]]
_CLOSE = 1e-3  # relative; finer than any measurement
_MOST_STEPS = 30
_NOTHING = 1e-9  # a factor that leaves nothing of a term


@dataclass(frozen=True, slots=True)
class Change:
    """The term that takes most of the time. share: of the time [1]. factor: on the term's seconds, that makes the
    prediction exact [1]; None where the other terms alone take longer than was measured.
    """

    term: Term
    share: float
    factor: float | None

    @property
    def words(self) -> str:
        """What it says, in a few words."""
        share = f"{self.term} ({self.share:.0%} of the expected time)"
        if self.factor is None:
            return f"{share} cannot explain it alone, the rest takes longer"
        if self.term in ("launch cost", "KV"):
            return f"exact if {share} took {format_number(self.factor)} times as long"
        what = "as high" if self.term == "bandwidth" else "as fast"
        return f"exact if {share} were {format_number(1 / self.factor)} times {what}"


class Times:
    """The seconds of all operators of a phase as arrays, so that a term can be scaled.

    bandwidth: the memory side of all but attention; KV: attention, both sides; compute path: the arithmetic of the
    rest; launch cost: launches or barriers.
    """

    def __init__(self, phase: Phase) -> None:
        columns = [
            (cost.compute_seconds, cost.memory_seconds, cost.sharpness, cost.overhead_seconds, cost.kind == "attention")
            for cost in phase.operators
        ]
        table = np.array(columns, dtype=float).T
        self.compute, self.memory, self.sharpness, self.overhead = table[:4]
        self.attention = table[4] > 0

    def seconds(self, scaled: Term | None = None, factor: float = 1.0) -> dict[Term, float]:
        """Seconds due to each term, with those of one multiplied [s]."""
        compute, memory = self.compute, self.memory
        if scaled in ("bandwidth", "KV"):
            memory = memory * np.where(self.attention == (scaled == "KV"), factor, 1.0)
        if scaled in ("compute path", "KV"):
            compute = compute * np.where(self.attention == (scaled == "KV"), factor, 1.0)
        roofs = np.asarray(overlap(compute, memory, self.sharpness))
        share = np.where(self.attention, 0.0, memory_share(compute, memory, self.sharpness))
        kv = float(roofs[self.attention].sum())
        streamed = float((roofs * share).sum())
        return {
            "bandwidth": streamed,
            "compute path": float(roofs.sum()) - kv - streamed,
            "launch cost": float(self.overhead.sum()) * (factor if scaled == "launch cost" else 1.0),
            "KV": kv,
        }


def change_needed(phase: Phase, ratio: float) -> Change:
    """The change of a phase's largest term that divides its speed by `ratio` (predicted by measured) [1]."""
    times = Times(phase)
    seconds = times.seconds()
    total = sum(seconds.values())
    term = max(TERMS, key=lambda name: seconds[name])
    return Change(term, seconds[term] / total, _factor(times, term, ratio * total))


def _factor(times: Times, term: Term, target: float) -> float | None:
    """The factor on a term with which all take `target` seconds in all [1].

    The sum is a convex, rising function of the factor with the slope (seconds of the term) / factor, so that Newton's
    method comes down to the root from the right.
    """
    if sum(times.seconds(term, _NOTHING).values()) >= target:
        return None
    factor = 1.0
    for _ in range(_MOST_STEPS):
        seconds = times.seconds(term, factor)
        missing = target - sum(seconds.values())
        if abs(missing) <= _CLOSE * target:
            break
        factor = max(factor + missing * factor / seconds[term], factor / 10) if seconds[term] else factor * 2
    return factor
