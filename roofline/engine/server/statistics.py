"""Summaries of repeated measurements, robust against the few that another program disturbed.

A disturbed repetition is slower, never faster, so the mean is pulled to one side. The median and the trimmed mean are
not (Wilcox, *Introduction to Robust Estimation and Hypothesis Testing*, which recommends 20 % from each end). Spread
is told twice: as the standard deviation, which the disturbed repetition counts in, and as the range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roofline.spec import SpecError

TRIMMED = 0.2  # of the samples, from each end


@dataclass(frozen=True, slots=True)
class Summary:
    """Samples in one number and its spread, all in the unit of the samples.

    trimmed_mean: without the lowest and the highest fifth. standard_deviation: of the sample (n − 1); None for one
    sample. least, most: the range.
    """

    median: float
    trimmed_mean: float
    standard_deviation: float | None
    least: float
    most: float


def summary(samples: Sequence[float]) -> Summary:
    """The summary of at least one finite sample; SpecError otherwise."""
    _check(samples)
    deviation = standard_deviation(samples) if len(samples) > 1 else None
    return Summary(median(samples), trimmed_mean(samples), deviation, min(samples), max(samples))


def median(samples: Sequence[float]) -> float:
    """The middle sample, or the mean of the two in the middle."""
    return quantile(samples, 0.5)


def trimmed_mean(samples: Sequence[float], share: float = TRIMMED) -> float:
    """The mean without the ⌊share · n⌋ lowest and as many of the highest samples (Tukey and McLaughlin 1963).

    share: from each end [1], 0 to below 0.5. With fewer than 1 / share samples nothing is left out: for the default
    of 0.2, five samples lose one at each end and four lose none.
    """
    _check(samples)
    if not 0 <= share < 0.5:
        raise SpecError(f"trimmed share: expected 0 to below 0.5, found {share:g}")
    # A share such as 0.2 is no binary fraction: a hair is added so that 0.2 · 5 counts as 1 however it is rounded.
    left_out = math.floor(share * len(samples) + 1e-12)
    return float(np.mean(sorted(samples)[left_out : len(samples) - left_out]))


def standard_deviation(samples: Sequence[float]) -> float:
    """√(Σ (x − mean)² / (n − 1)) of at least two samples (Bessel: the mean is of the same ones)."""
    _check(samples)
    if len(samples) < 2:
        raise SpecError(f"standard deviation: expected at least 2 samples, found {len(samples)}")
    return float(np.std(samples, ddof=1))


def quantile(samples: Sequence[float], share: float) -> float:
    """The value that a share of the samples lies below, linear between neighbours.

    share: 0 (the least) to 1 (the most) [1]. Definition 7 of Hyndman and Fan 1996, the default of R and numpy.
    """
    _check(samples)
    if not 0 <= share <= 1:
        raise SpecError(f"quantile: expected a share from 0 to 1, found {share:g}")
    return float(np.quantile(samples, share))


def _check(samples: Sequence[float]) -> None:
    if not samples:
        raise SpecError("samples: expected at least one, found none")
    for sample in samples:
        if not math.isfinite(sample):
            raise SpecError(f"samples: expected finite numbers, found {sample}")
