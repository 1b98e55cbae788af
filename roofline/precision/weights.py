"""What a weight type costs: the expected error of a weight that went through its blocks, derived.

Weights are independent, with the density f and the cumulative F of |w|, and the relative mean square of the error is

    ε² = E[(w − ŵ)²] / E[w²],        SNR = −10 · log10 ε²

Rule 'extreme' (q8_0, q5_0, q4_0, mxfp4 …), n weights to a block, m their largest magnitude, Q_m the quantiser that m
gives. The extreme itself is exact but for the rounding of the scale; the others are independent, given that |w| ≤ m:

    E[(w − ŵ)²] = ∫ p(m) · ( (n − 1)/n · E[(w − Q_m(w))² | |w| ≤ m] + e(m)/n ) dm,   p(m) = n · f(m) · F(m)^(n−1)

Rule 'range' (q4_1, q5_1): the same with the block's minimum a and maximum b, whose joint density is
n(n − 1) · f(a) · f(b) · (P(a < w < b))^(n−2). Rule 'mean': d = mean |w|, and with μ = E|w|,
ε² = 1 − μ² − (1 − μ²)/n. Both integrals are evaluated by quadrature, the inner one from partial moments: nothing
assumes fine steps. Where steps are fine, all this becomes Bennett's d²/12 (Bell System Technical Journal 27, 1948;
Gersho & Gray, Vector Quantization and Signal Compression, 1992, ch. 5), see ``fine_steps``.

The scale's own rounding multiplies every code q of the block: with δ what it adds to d (scales.rounding),

    E[(w − dq − δq)²] = E[(w − dq)²] − 2·E[δ]·E[(w − dq)·q] + E[δ²]·E[q²]

Floats: a weight in [2^e, 2^(e+1)) is rounded to multiples of 2^(e−p+1), so ε² = Σ_e P(e) · 4^(e−p+1)/12 / E[w²], and
below the smallest normal number the multiple stays what it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from roofline.precision.blocks import NEVER, block_parts, mean_square_step
from roofline.precision.distributions import GAUSSIAN, Distribution
from roofline.precision.formats import FORMATS, FloatFormat
from roofline.precision.moments import partial_moments
from roofline.precision.quantisers import QUANTISERS
from roofline.precision.ratios import ratio_db
from roofline.precision.searched import searched_parts
from roofline.quantization.quality import base_type
from roofline.spec import SpecError

Floats = NDArray[np.float64]
FLOATS = {"f16": "fp16", "bf16": "bf16", "f32": "fp32"}  # types whose weights are plain numbers, in formats' names
LEAST_RMS, MOST_RMS = 1e-30, 1e30  # of weights; nobody's, and still far inside fp32
_FINE = 64.0  # multiples of the smallest number, from where on rounding to them is taken as uniform


@dataclass(frozen=True, slots=True)
class WeightError:
    """What a type does to weights of one distribution.

    rms: their standard deviation, in which the range of floats and of scales is met.
    relative_rms: rms(error) / rms(weight) [1].
    how: 'derived', by quadrature; 'searched', by a search like llama.cpp's on blocks that were drawn, tied to the
        quadrature (searched.py), to about 0.03 dB.
    parts: relative mean squares that add up to relative_rms² [1]: rounding (within half a step of the levels), clipping
        (beyond), scale (what storing scales and minima adds; after a search it can be a little less than 0 by chance),
        and of floats underflow and overflow.
    rule_rms: relative RMS by the type's rule, without a search and with exact scales of sub-blocks [1].
    """

    type_name: str
    distribution: str
    rms: float
    relative_rms: float
    how: str
    parts: Mapping[str, float]
    rule_rms: float

    @property
    def snr_db(self) -> float:
        """Signal-to-noise ratio [dB]; infinite where nothing is lost."""
        return ratio_db(self.relative_rms)


def weight_error(type_name: str, distribution: Distribution = GAUSSIAN, *, rms: float = 1.0) -> WeightError | None:
    """The error of a type on weights of this standard deviation, None where it cannot be derived.

    Interleaved and tiled types have that of the type whose blocks they reorder. Codebooks of vectors (iq1, iq2, iq3)
    and the types of ik_llama.cpp alone are not derived. SpecError for a name that is none, and a wrong rms.
    """
    if not LEAST_RMS <= rms <= MOST_RMS:
        raise SpecError(f"rms: expected a positive number from {LEAST_RMS:g} to {MOST_RMS:g}, found {rms!r}")
    return _derived(base_type(type_name), distribution, float(rms))


@lru_cache(maxsize=512)
def _derived(name: str, distribution: Distribution, rms: float) -> WeightError | None:
    how, rule = "derived", None
    if name == "f64":
        parts = {"rounding": 0.0}
    elif name in FLOATS:
        parts = float_parts(FORMATS[FLOATS[name]], distribution, rms)
    elif name not in QUANTISERS:
        return None
    elif QUANTISERS[name].searched:
        how = "searched"
        parts, rule = searched_parts(QUANTISERS[name], distribution, rms)
    else:
        parts = block_parts(QUANTISERS[name], distribution, rms)
    square = math.fsum(parts.values())
    relative = math.sqrt(square)
    by_rule = relative if rule is None else math.sqrt(rule)
    return WeightError(name, distribution.name, rms, relative, how, MappingProxyType(parts), by_rule)


def fine_steps(type_name: str, distribution: Distribution = GAUSSIAN) -> float | None:
    """Relative RMS in the limit of many levels, Bennett's ε² = (n − e)/n · E[d²]/12 [1].

    The error is uniform over a step, nothing is clipped, scales are exact; the e extremes that made the step, one by
    the rule 'extreme', E[d²] = E[m²] / levels[0]², and two by 'range', E[d²] = E[(max − min)²] / (levels − 1)², are
    levels themselves. None where steps are not even, or the scale is none of these.
    """
    known = QUANTISERS.get(base_type(type_name))
    if known is None or known.rule == "mean" or known.scale in ("e8m0", "ue4m3") or not known.even:
        return None
    exact = 1 if known.rule == "extreme" else 2
    return math.sqrt((1.0 - exact / known.weights) * mean_square_step(known, distribution) / 12.0)


def float_parts(form: FloatFormat, distribution: Distribution, rms: float = 1.0) -> dict[str, float]:
    """Relative mean squares of rounding weights of this standard deviation to a float format."""
    powers = np.arange(form.least_exponent, form.greatest_exponent + 2)
    edges = partial_moments(distribution, np.ldexp(1.0, powers) / rms)
    units = np.ldexp(1.0, powers - form.fraction_bits) / rms
    parts = {"rounding": float(np.sum(2.0 * np.diff(edges[:, 0]) * units[:-1] ** 2) / 12.0)}
    if units[0] * _FINE < 1.0:
        parts["underflow"] = float(2.0 * edges[0, 0] * units[0] ** 2 / 12.0)
    else:
        levels = np.arange((1 << form.fraction_bits) + 1) * units[0]
        cells = partial_moments(distribution, np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2.0, levels[-1:]]))
        m0, m1, m2 = np.diff(cells, axis=0).T
        parts["underflow"] = float(2.0 * np.sum(m2 - 2.0 * levels * m1 + levels**2 * m0))
    if 1.0 - 2.0 * edges[-1, 0] > NEVER:
        parts["overflow"] = math.inf
    return parts
