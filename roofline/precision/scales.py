"""How a block's scale is stored, and what that does to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from roofline.precision.formats import FORMATS
from roofline.precision.quantisers import Scale

Floats = NDArray[np.float64]
_SURE = 32.0  # ulps from zero, from where on a rounding error is taken as uniform over half an ulp to either side
_E2M1_EXPONENT = 2  # of the largest E2M1 number, 6 = 1.5 · 2²
_E2M1_LARGEST = 6.0
_E8M0_LEAST = -127


def _ue4m3() -> tuple[Floats, Floats]:
    """The numbers of unsigned E4M3 (bias 7, no infinity), and where rounding to each begins.

    ggml_fp32_to_ue4m3 (ggml-impl.h) rounds halves up, and takes all that would round to 256 or more to be 448.
    """
    normal = np.ldexp(1.0 + np.arange(8) / 8.0, np.arange(1, 15)[:, None] - 7).ravel()
    values = np.concatenate([np.ldexp(np.arange(8.0), -9), normal, [448.0]])
    begins = (values[1:] + values[:-1]) / 2.0
    begins[-1] = 248.0
    return values, begins


UE4M3, UE4M3_BEGINS = _ue4m3()


def stored(largest: Floats, form: Scale) -> Floats:
    """The scale that a block of E2M1 weights with this largest magnitude gets (mxfp4: e8m0; nvfp4: ue4m3).

    quantize_row_mxfp4_ref: 2^(⌊log₂ m⌋ − 2), so that 6 times the scale is at most m, and m is up to a third more.
    """
    if form == "e8m0":
        _, exponent = np.frexp(largest)
        return np.asarray(np.ldexp(1.0, np.maximum(exponent - 1 - _E2M1_EXPONENT, _E8M0_LEAST)))
    return np.asarray(UE4M3[np.searchsorted(UE4M3_BEGINS, largest / _E2M1_LARGEST, side="right")])


def kinks(low: float, high: float, form: Scale) -> Floats:
    """The largest magnitudes between these at which the stored scale jumps."""
    if form == "e8m0":
        powers = np.arange(np.floor(np.log2(low)), np.ceil(np.log2(high)) + 1).astype(int)
        return np.asarray(np.ldexp(1.0, powers))
    jumps = UE4M3_BEGINS * _E2M1_LARGEST
    return np.asarray(jumps[(jumps > low) & (jumps < high)])


def rounding(value: Floats, form: Scale) -> tuple[Floats, Floats]:
    """(mean, mean square) of what rounding to a float format adds to a value that lies about here.

    Far above the smallest number, an error is uniform over half a unit in the last place to either side: mean 0, mean
    square ulp²/12 (Widrow & Kollár, Quantization Noise, 2008, ch. 12). Near it, where whole blocks round the same way,
    it is the error of this very value.
    """
    kept = FORMATS[form]
    _, exponent = np.frexp(value)
    unit = np.ldexp(1.0, np.maximum(exponent - 1, kept.least_exponent) - kept.fraction_bits)
    exact = kept.round(value) - value
    sure = (np.abs(value) > _SURE * unit) & np.isfinite(exact)
    with np.errstate(over="ignore"):
        return np.where(sure, 0.0, exact), np.where(sure, unit * unit / 12.0, exact * exact)


def is_starved(value: float, form: Scale) -> bool:
    """Whether a scale of this size has so few bits left in a float format that `rounding` goes by its value."""
    if form not in FORMATS:
        return False
    return value < 2.0 * _SURE * FORMATS[form].smallest
