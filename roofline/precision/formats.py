"""Binary floating-point formats: range, unit roundoff, rounding, and what of one another can say (IEEE 754-2019, §3).

A number is ± m · 2^e with p bits of significand. Rounding to nearest errs by half a unit in the last place at most,
u = 2^−p of the number. On average it is less: with significands that follow Benford's law (Knuth, TAOCP 2, §4.2.4),

    E[δ²] = u²/3 · E[m⁻²] = u²/3 · 3/(8 · ln 2) = 0.1803 · u²                 δ: relative error, m in [1, 2)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.spec import SpecError

Floats = NDArray[np.float64]
#: E[δ²] / u²: the mean square of the relative rounding error, in units of the squared unit roundoff [1].
MEAN_SQUARE = 1.0 / (8.0 * math.log(2.0))


@dataclass(frozen=True, slots=True)
class FloatFormat:
    """A binary format with a sign, gradual underflow and infinities.

    exponent_bits, fraction_bits: as stored; the significand has one bit more than the fraction.
    """

    name: str
    exponent_bits: int
    fraction_bits: int

    @property
    def significand_bits(self) -> int:
        """p: those of the fraction, and the one in front of it that is not stored."""
        return self.fraction_bits + 1

    @property
    def unit_roundoff(self) -> float:
        """u, the largest relative error of rounding to nearest a number in the normal range [1]."""
        return math.ldexp(1.0, -self.significand_bits)

    @property
    def rms_error(self) -> float:
        """Root mean square of the relative rounding error, over significands that follow Benford's law [1]."""
        return self.unit_roundoff * math.sqrt(MEAN_SQUARE)

    @property
    def greatest_exponent(self) -> int:
        """Of 2, of the largest finite number."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def least_exponent(self) -> int:
        """Of 2, of the smallest normal number."""
        return 1 - self.greatest_exponent

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return math.ldexp(2.0 - 2.0 * self.unit_roundoff, self.greatest_exponent)

    @property
    def smallest_normal(self) -> float:
        """The smallest positive number with a full significand."""
        return math.ldexp(1.0, self.least_exponent)

    @property
    def smallest(self) -> float:
        """The smallest positive number."""
        return math.ldexp(1.0, self.least_exponent - self.fraction_bits)

    def round(self, values: Any) -> Floats:
        """The nearest numbers of the format, ties to even; beyond the largest by half a unit or more: infinite.

        values: an array of any shape, as float64; so that formats with up to 24 bits of significand are rounded exactly
        as their hardware does the sums and products of two of their own numbers (Figueroa 1995).
        """
        exact = np.asarray(values, dtype=np.float64)
        _, exponent = np.frexp(exact)  # |exact| = f · 2^exponent, f in [0.5, 1)
        spacing = np.maximum(exponent - 1, self.least_exponent) - self.fraction_bits
        with np.errstate(invalid="ignore", over="ignore"):
            rounded = np.ldexp(np.rint(np.ldexp(exact, -spacing)), spacing)
        beyond = np.abs(rounded) > self.largest
        return np.asarray(np.where(np.isfinite(exact), np.where(beyond, np.copysign(np.inf, exact), rounded), exact))

    def holds(self, values: Any) -> NDArray[np.bool_]:
        """Which of these finite numbers the format has exactly."""
        exact = np.asarray(values, dtype=np.float64)
        return np.asarray(self.round(exact) == exact)

    def finite_values(self) -> Floats:
        """Every finite number from zero up, once: half of all patterns but one, ascending. For 16 bits and fewer."""
        if self.exponent_bits + self.fraction_bits > 15:
            raise SpecError(f"{self.name}: expected a format of at most 16 bits to list its numbers")
        fractions = 1 << self.fraction_bits
        fields = np.arange((2 * self.greatest_exponent + 1) * fractions)
        exponent, fraction = np.divmod(fields, fractions)
        significand = np.where(exponent > 0, fractions, 0) + fraction
        power = np.maximum(exponent, 1) - 1 + self.least_exponent - self.fraction_bits
        return np.asarray(np.ldexp(significand.astype(np.float64), power))


FORMATS = {
    form.name: form
    for form in (FloatFormat("fp32", 8, 23), FloatFormat("fp16", 5, 10), FloatFormat("bf16", 8, 7))
}  # fmt: skip


def float_format(name: str) -> FloatFormat:
    """The format of that name; SpecError, with those there are, for another."""
    found = FORMATS.get(name.lower())
    if found is None:
        raise SpecError(f"expected one of {', '.join(FORMATS)}, found {name!r}")
    return found


def share_representable(given: FloatFormat, target: FloatFormat) -> float:
    """Share of the finite numbers of `given` (16 bits at most) that `target` has exactly [1]."""
    return float(np.mean(target.holds(given.finite_values())))
