"""Relative errors, decibels, and the scatter of a ratio of two sums."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NORMAL_95 = 1.959964  # standard errors to either side that hold 95 % of a normal distribution


def ratios_db(relative_rms: Floats) -> Floats:
    """Signal-to-noise ratios [dB] of errors with these relative RMS [1]: infinite for none at all."""
    with np.errstate(divide="ignore"):
        found = -20.0 * np.log10(relative_rms)
    return np.asarray(np.where(np.isfinite(relative_rms), found, -np.inf))


def ratio_db(relative_rms: float) -> float:
    """The same of one error [dB]."""
    return float(ratios_db(np.asarray(relative_rms)))


def relative_rms(decibels: float) -> float:
    """The relative RMS [1] of an error that has this signal-to-noise ratio [dB]."""
    return math.pow(10.0, -decibels / 20.0)


def relative_scatter(noise: Floats, power: Floats) -> float:
    """Standard error of Σ noise / Σ power over n independent pairs [1] (Cochran, Sampling Techniques, 1977, §6.3):

    s(R) = sqrt( Σ (noise − R·power)² / (n·(n − 1)) ) / mean(power)
    """
    ratio = noise.sum() / power.sum()
    number = len(noise)
    return float(np.sqrt(np.sum((noise - ratio * power) ** 2) / (number * (number - 1.0))) / power.mean())
