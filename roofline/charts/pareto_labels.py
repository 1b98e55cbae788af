"""Where the names of the machines on a frontier stand, so that none covers another in a plot of any size."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import Protocol

#: Height of a name on the frontier, its distance from its point, and the width of a letter [px].
LABEL_PX, GAP_PX, CHARACTER_PX = 15, 12, 7
PLOT_PX = 280, 400  # width and height of the smallest plot that is meant


class Named(Protocol):
    """What has a name and a place."""

    @property
    def hardware(self) -> str: ...  # noqa: D102
    @property
    def mark(self) -> str: ...  # noqa: D102
    @property
    def x(self) -> float: ...  # noqa: D102
    @property
    def decode_tok_s(self) -> float: ...  # noqa: D102


def labels(best: Sequence[Named], x_ends: tuple[float, float], y_ends: tuple[float, float]) -> dict[str, int]:
    """How high the names of the frontier stand above their points [px], by name, the slowest first.

    A name stands to the left above its point, where nothing else can be, and above the names that it would cover. In a
    larger plot points are further apart and names are not, so that none covers another there either. One that would be
    above the plot has no place.
    """
    across, up = (size / (ends[1] - ends[0]) for size, ends in zip(PLOT_PX, (x_ends, y_ends), strict=True))
    placed: list[tuple[float, float]] = []  # right end and height
    heights: dict[str, int] = {}
    for one in best:
        right, own = (log10(one.x) - x_ends[0]) * across, (log10(one.decode_tok_s) - y_ends[0]) * up
        left = right - GAP_PX - CHARACTER_PX * (len(one.hardware) + len(one.mark) + 3)
        height = max([own + GAP_PX, *(below + LABEL_PX for other, below in placed if other > left)])
        if height <= PLOT_PX[1] - GAP_PX:
            heights[one.hardware] = round(height - own)
            placed.append((right, height))
    return heights


def ends(values: Sequence[float], before: float, after: float) -> tuple[float, float]:
    """Ends of a logarithmic axis with room on both sides, as exponents of ten; of one value, a factor of two around."""
    low, high = log10(min(values)), log10(max(values))
    span = max(high - low, 2 * log10(2.0))
    middle = (low + high) / 2
    return min(low, middle - span / 2) - before * span, max(high, middle + span / 2) + after * span
