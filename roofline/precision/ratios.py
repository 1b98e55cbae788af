"""Relative errors and decibels."""

from __future__ import annotations

import math


def ratio_db(relative_rms: float) -> float:
    """Signal-to-noise ratio [dB] of an error with this relative RMS [1]: infinite for none at all."""
    if relative_rms == 0:
        return math.inf
    return -20.0 * math.log10(relative_rms) if math.isfinite(relative_rms) else -math.inf
