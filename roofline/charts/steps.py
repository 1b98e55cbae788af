"""At which depths and batches a curve is worked out, and where its axis has labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from roofline.charts.sampling import Array

EVEN = 17  # depths, evenly spaced from 0 to the end
LEAST_OCTAVE = 8  # depths at 2^8 and every octave above
ALL_UP_TO = 16  # batches, each of which is drawn
AN_OCTAVE = 8  # batches beyond it from one power of two to the next
TICKS = 5  # along a depth axis, at most


def depths(most: int, asked: Sequence[int]) -> Array:
    """Depths to look at, evenly spaced and at every half octave, for windows of attention end there [token]."""
    even = np.round(np.linspace(0, most, EVEN))
    powers = [part << power for power in range(LEAST_OCTAVE - 1, most.bit_length()) for part in (2, 3)]
    return np.unique([*even, *(each for each in [*powers, *asked] if each <= most)]).astype(float)


def batches(most: int, asked: Sequence[int]) -> list[int]:
    """Batches to draw [1]."""
    found = set(range(1, min(most, ALL_UP_TO) + 1)) | {most, *asked}
    for power in octaves(most):
        if power >= ALL_UP_TO:
            found |= {power + part * power // AN_OCTAVE for part in range(AN_OCTAVE)}
    return sorted(number for number in found if number <= most)


def octaves(most: int) -> list[int]:
    """The powers of two up to a number [1]."""
    return [1 << power for power in range(most.bit_length())]


def depth_ticks(most: int) -> tuple[tuple[float, str], ...]:
    """Up to TICKS labels at multiples of a power of two: 0, 32k, 64k, …"""
    step = 1
    while most // step > TICKS - 1:
        step <<= 1
    return tuple((float(value), _short(value)) for value in range(0, most + 1, step))


def _short(tokens: int) -> str:
    """32768 → '32k', as options take it."""
    if tokens and not tokens & 0xFFFFF:
        return f"{tokens >> 20}M"
    return f"{tokens >> 10}k" if tokens and not tokens & 0x3FF else f"{tokens}"
