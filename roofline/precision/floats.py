"""bf16 against fp16: what of one another they can say, and what weights of a real size lose in each.

Models are trained and published in bf16. A bf16 number is also an fp16 number if its exponent is in fp16's range and,
below 2^−14, if its last bits are zero. Weights held in bf16 take the number x with the probability that a weight lies
within half a unit of it, P(x), so that the share that fp16 has is Σ P(x) over the numbers that both have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from roofline.precision.blocks import NEVER
from roofline.precision.distributions import GAUSSIAN, Distribution
from roofline.precision.formats import FORMATS, FloatFormat, share_representable
from roofline.precision.moments import partial_moments
from roofline.precision.ratios import ratio_db
from roofline.precision.weights import FLOATS, weight_error
from roofline.spec import SpecError

_NONE = 1e-15  # a probability that is the quadrature's own rounding
_TYPES = {form: name for name, form in FLOATS.items()}


@dataclass(frozen=True, slots=True)
class FloatRow:
    """One format.

    largest, smallest_normal, smallest: its numbers. unit_roundoff [1]. shared: of its finite numbers, those that the
    other format has [1]. relative_rms, snr_db: of weights rounded to it.
    """

    name: str
    largest: float
    smallest_normal: float
    smallest: float
    unit_roundoff: float
    shared: float
    relative_rms: float
    snr_db: float


@dataclass(frozen=True, slots=True)
class FloatComparison:
    """bf16 and fp16 on weights of one distribution and standard deviation.

    exact_share: of weights held in bf16, those that fp16 has exactly [1]. lost_rms: rms of what the others lose on the
    way to fp16, relative to the weights [1]; lost_snr_db: the same in dB, infinite where nothing is lost.
    """

    distribution: str
    rms: float
    rows: tuple[FloatRow, ...]
    exact_share: float
    lost_rms: float
    lost_snr_db: float


def float_comparison(rms: float, distribution: Distribution = GAUSSIAN) -> FloatComparison:
    """fp16 and bf16 on weights of this standard deviation. SpecError for one that is not positive."""
    fp16, bf16 = FORMATS["fp16"], FORMATS["bf16"]
    rows = (_row(fp16, bf16, rms, distribution), _row(bf16, fp16, rms, distribution))
    exact, lost = held_in(bf16, fp16, rms, distribution)
    return FloatComparison(distribution.name, rms, rows, exact, lost, ratio_db(lost))


def _row(form: FloatFormat, other: FloatFormat, rms: float, distribution: Distribution) -> FloatRow:
    error = weight_error(_TYPES[form.name], distribution, rms=rms)
    if error is None:
        raise SpecError(f"{form.name}: expected a format that weights are kept in")
    return FloatRow(
        form.name,
        form.largest,
        form.smallest_normal,
        form.smallest,
        form.unit_roundoff,
        share_representable(form, other),
        error.relative_rms,
        error.snr_db,
    )


def held_in(
    given: FloatFormat, target: FloatFormat, rms: float, distribution: Distribution = GAUSSIAN
) -> tuple[float, float]:
    """(share of weights kept in `given` that `target` has exactly, relative RMS of what the others lose) [1].

    given: of 16 bits at most, whose finite numbers are enumerated, each with the probability of the weights that round
    to it. Infinite where some become infinite.
    """
    values = given.finite_values()
    edges = np.concatenate([[0.0], (values[1:] + values[:-1]) / 2.0, [math.inf]])
    chance = 2.0 * np.diff(partial_moments(distribution, edges / rms)[:, 0])
    chance = np.where(chance > _NONE, chance, 0.0)
    rounded = target.round(values)
    beyond = np.isinf(rounded)
    error = np.where(beyond | (chance == 0), 0.0, rounded - values)
    lost = float(np.sum(chance * error**2) / np.sum(chance * np.where(chance > 0, values, 0.0) ** 2))
    over = float(np.sum(chance[beyond])) > NEVER
    return float(np.sum(chance[rounded == values])), math.inf if over else math.sqrt(lost)
