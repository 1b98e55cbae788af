"""Sums added up as a machine would, one rounding after the other, for many trials at a time.

Arrays are float64 and hold numbers of the format. That rounding a sum first to float64 and then to the format gives
what hardware gives needs a reason only for fused multiply-adds: of two fp16 numbers the product has 22 bits, is exact,
and a finite sum is below 2¹⁶. Were float64 to round it onto the middle between two fp16 numbers, one summand would have
to be less than 2⁻⁵³ of the other; the smallest summands are 2⁻⁴⁸ (a product) beside a sum that has 11 bits and so lies
on no middle, or 2⁻²⁴ (a sum), which is 2⁻⁴⁰ of the largest product. Of fp32 (products of 22 to 41 bits) the two can
differ, in about one addition of 2²⁹ and by one unit: far below what is counted here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.precision.formats import FORMATS, FloatFormat
from roofline.precision.ratios import NORMAL_95, relative_scatter
from roofline.precision.summation import REGISTER_LANES, Order

Floats = NDArray[np.float64]
Rounding = Callable[[Floats], Floats]
_DTYPES = {"fp16": np.float16, "fp32": np.float32}


def rounding(form: FloatFormat) -> Rounding:
    """form.round, by the machine's own conversions where it has them."""
    dtype: Any = _DTYPES.get(form.name)
    return form.round if dtype is None else lambda values: _cast(values, dtype)


def _cast(values: Floats, dtype: Any) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):  # beyond the range: infinite, as it would be
        return np.asarray(values.astype(dtype).astype(np.float64))


def add_up(form: FloatFormat, order: Order, terms: Floats, fused: bool = True) -> Floats:
    """The sums over the first axis of `terms` (n, …), added in this order, every addition rounded to the format.

    terms: exact products. fused: added unrounded where the order can; else each is rounded to the format first.
    """
    to_format = rounding(form)
    with np.errstate(over="ignore", invalid="ignore"):  # infinite sums may meet their opposite
        given = terms if fused else to_format(terms)
        if order.kind == "kahan":
            return _compensated(given, to_format)
        if order.kind == "pairwise":
            return _pairwise(to_format(given), to_format)
        if order.kind == "blocked":
            return _blocked(given, order.length, to_format)
        return _lanes(given, order.length or 1, to_format)


def _sequential(terms: Floats, to_format: Rounding) -> Floats:
    found = np.zeros(terms.shape[1:])
    for term in terms:
        found = to_format(found + term)
    return found


def _compensated(terms: Floats, to_format: Rounding) -> Floats:
    """Kahan (1965), Higham, algorithm 4.2; a fused multiply-add makes y of a product and the compensation."""
    found, lost = np.zeros(terms.shape[1:]), np.zeros(terms.shape[1:])
    for term in terms:
        y = to_format(term + lost)
        total = to_format(found + y)
        lost = to_format(y - to_format(total - found))
        found = total
    return found


def _pairwise(terms: Floats, to_format: Rounding) -> Floats:
    """Neighbours are added until one is left; a last one without a neighbour waits."""
    while len(terms) > 1:
        even = len(terms) // 2 * 2
        added = to_format(terms[0:even:2] + terms[1:even:2])
        terms = np.concatenate([added, terms[even:]])
    return np.asarray(terms[0])


def _blocked(terms: Floats, length: int, to_format: Rounding) -> Floats:
    whole = len(terms) // length
    blocks = terms[: whole * length].reshape(whole, length, *terms.shape[1:])
    sums = _sequential(np.moveaxis(blocks, 1, 0), to_format)
    if whole * length < len(terms):
        sums = np.concatenate([sums, _sequential(terms[whole * length :], to_format)[None]])
    return _sequential(sums, to_format)


def _lanes(terms: Floats, lanes: int, to_format: Rounding) -> Floats:
    """Lanes that have no term left add zero, which rounds nothing."""
    idle = -len(terms) % lanes
    if idle:
        terms = np.concatenate([terms, np.zeros((idle, *terms.shape[1:]))])
    chains = _sequential(terms.reshape(-1, lanes, *terms.shape[1:]), to_format)
    to_fp32 = rounding(FORMATS["fp32"])
    while len(chains) > 1:
        half = len(chains) // 2
        added = chains[:half] + chains[half:]
        chains = to_format(added) if half >= REGISTER_LANES else to_fp32(added)
    return np.asarray(chains[0])


@dataclass(frozen=True, slots=True)
class Interval:
    """A relative root mean square error that trials gave, and where 95 % of such trials would see it [1]."""

    relative_rms: float
    low: float
    high: float
    trials: int

    def holds(self, value: float) -> bool:
        """Whether this value is inside the interval."""
        return self.low <= value <= self.high


def deviations_95(freedom: float) -> float:
    """How many standard errors 95 % of Student's distribution lie within, to 1 % from 3 degrees of freedom on.

    Abramowitz and Stegun, 26.7.5, to the third power of 1/freedom.
    """
    z, v = NORMAL_95, freedom
    first, second = (z**3 + z) / 4.0, (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0
    third = (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / 384.0
    return z + first / v + second / v**2 + third / v**3


def freedom(residuals: Floats) -> float:
    """Degrees of freedom of the variance of n residuals: of a chi-squared that scatters as much (Satterthwaite 1946).

    A variance scatters by √((κ − 1)/n) of itself, κ: kurtosis; so that it has 2n/(κ − 1) degrees, n of Gaussian
    residuals and few where some outliers make it, and n − 1 at the most.
    """
    squares = np.square(residuals - residuals.mean())
    kurtosis = float(np.mean(squares**2) / np.mean(squares) ** 2)
    return min(2.0 * len(residuals) / max(kurtosis - 1.0, 1e-9), len(residuals) - 1.0)


def interval(errors: Floats, exact: Floats, deviations: float | None = None) -> Interval:
    """√(Σ e² / Σ s²) of independent trials, with an interval of its logarithm (the ratio's own delta method).

    deviations: half the interval in standard errors; without it, what holds 95 %. Where a sum has overflowed,
    everything is infinite.
    """
    if not np.all(np.isfinite(errors)):
        return Interval(np.inf, np.inf, np.inf, errors.size)
    squares, signal = np.square(errors), np.square(exact)
    ratio = float(np.sum(squares) / np.sum(signal))
    if ratio == 0.0:
        return Interval(0.0, 0.0, 0.0, errors.size)
    wide = deviations_95(freedom(squares - ratio * signal)) if deviations is None else deviations
    factor = float(np.exp(wide * relative_scatter(squares, signal) / ratio / 2.0))  # half: of the root
    return Interval(ratio**0.5, ratio**0.5 / factor, ratio**0.5 * factor, errors.size)
