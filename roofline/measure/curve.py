"""A curve of bandwidth against working set: its plateaus, which are levels, and what memory sustains."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from roofline.measure.bandwidth import Point
from roofline.measure.timing import Samples

# Two rates that differ by less are one level: a cache's share of the requests falls slowly, a level's end is a factor.
_TOLERANCE = 1.2
_NARROWEST = 1.9  # largest over smallest set of a level: an octave, and the rounding of arrays to rows
_MEMORY_SHARE = 2  # sets of at least half of the largest are memory's


@dataclass(frozen=True, slots=True)
class Plateau:
    """One level: the working sets [B] from smallest to largest in which the rate [B/s] stays the same.

    The level holds at least `largest`; how much more, the distance to the next measured size leaves open.
    """

    smallest: float
    largest: float
    rate: float


@dataclass(frozen=True, slots=True)
class Curve:
    """The points of one kernel and one number of threads, in ascending order of working set."""

    points: tuple[Point, ...]

    @classmethod
    def of(cls, points: Iterable[Point], kernel: str, threads: int) -> Curve | None:
        """The curve among the points of a sweep; None where it was not measured."""
        chosen = [point for point in points if point.kernel == kernel and point.threads == threads]
        return cls(tuple(sorted(chosen, key=lambda point: point.working_set))) if chosen else None

    @property
    def memory(self) -> Samples:
        """What memory sustains: the samples of the sets of at least half of the largest [B/s].

        Of the largest sets and not of those beyond the stated cache: a guest sees a cache that it shares with others,
        or a size that is not the chip's. It is memory's only where the largest set is several times that cache.
        """
        least = self.points[-1].working_set / _MEMORY_SHARE
        return Samples(
            tuple(rate for point in self.points if point.working_set >= least for rate in point.samples.values)
        )

    @property
    def plateaus(self) -> tuple[Plateau, ...]:
        """The levels, fastest first, found in the rates alone.

        The curve of log(rate) is cut into pieces of one value each, at the least sum of squares plus a penalty a piece.
        Pieces of less than an octave are slopes between levels (the last is memory in any case). Levels do not get
        faster: a rise is noise, or at the beginning the cost of a call. The best samples have the shape, since
        neighbours only slow down; a level counts only where the medians show it too.
        """
        sizes = [point.working_set for point in self.points]
        best = [point.samples.best for point in self.points]
        pieces = _pieces([math.log(rate) for rate in best], math.log(_TOLERANCE) ** 2)
        levels = [
            range(start, stop)
            for start, stop in pieces
            if stop == len(sizes) or sizes[stop - 1] >= _NARROWEST * sizes[start]
        ]

        def falls(above: range, below: range) -> bool:
            fast, slow = (np.median([best[index] for index in level]) for level in (above, below))
            return (
                bool(fast >= _TOLERANCE * slow) and self._plateau(above).rate >= _TOLERANCE * self._plateau(below).rate
            )

        while len(levels) > 1 and falls(levels[1], levels[0]):
            del levels[0]
        merged: list[range] = []
        for level in levels:
            while merged and not falls(merged[-1], level):
                level = range(merged.pop().start, level.stop)
            merged.append(level)
        return tuple(self._plateau(level) for level in merged)

    def _plateau(self, level: range) -> Plateau:
        points = [self.points[index] for index in level]
        rate = float(np.median([point.samples.median for point in points]))
        return Plateau(points[0].working_set, points[-1].working_set, rate)


def _pieces(values: Sequence[float], penalty: float) -> list[tuple[int, int]]:
    """(start, stop) of each piece: the cut that minimises Σ (value - mean of its piece)² + penalty · pieces.

    By dynamic programming over where the last piece begins.
    """
    sums, squares = (np.concatenate(([0.0], np.cumsum(np.power(values, power)))) for power in (1, 2))

    def cost(start: int, stop: int) -> float:
        return float(squares[stop] - squares[start] - (sums[stop] - sums[start]) ** 2 / (stop - start))

    best: list[tuple[float, int]] = [(0.0, 0)]
    for stop in range(1, len(values) + 1):
        best.append(min((best[start][0] + cost(start, stop) + penalty, start) for start in range(stop)))
    pieces: list[tuple[int, int]] = []
    stop = len(values)
    while stop:
        pieces.append((best[stop][1], stop))
        stop = best[stop][1]
    return pieces[::-1]
