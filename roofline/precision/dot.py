"""The error of a dot product of weights and activations, each in its type, added up in a format in some order.

llama.cpp brings activations into the type that the weights' kernel takes (vec_dot_type in ggml-cpu.c), multiplies and
adds. With w, x independent and of mean 0, and errors independent of one another, mean squares relative to that of the
exact sum, k·E[w²]·E[x²], add up:

    ε² = weights + activations + products + additions

weights, activations: relative mean squares of their rounding (weights.weight_error), whatever k is.

Integer types add the products of a block without error: of 32, |Σ| ≤ 32·127² = 516,128 < 2²⁴, which int32 and fp32
have exactly; of 256 with 6-bit scales 256·127·15·63 < 2²⁵ in int32. What is left are k/32 or k/256 terms, scale times
integer, that are added in the accumulator's format; the product of two fp16 scales (22 bits) is exact in fp32.
Floats give k terms. Products of two fp16 or bf16 numbers are exact in fp32; an fp16 accumulator gets them by fused
multiply-adds (vfmaq_f16) where the order allows, else rounded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.precision.distributions import DISTRIBUTIONS, GAUSSIAN, Distribution
from roofline.precision.formats import FORMATS, FloatFormat
from roofline.precision.ratios import ratios_db
from roofline.precision.summation import PLAIN, Order, overflow_scale, product_error, sum_error
from roofline.precision.weight_trial import weight_trial
from roofline.precision.weights import FLOATS, weight_error
from roofline.quantization import layout
from roofline.quantization.quality import base_type
from roofline.spec import SpecError

Floats = NDArray[np.float64]
WEIGHT_RMS = 0.02  # of a trained matrix [1]; assumed: only subnormal numbers and overflow depend on it
ACTIVATION_RMS = 1.0  # behind a norm [1]; assumed
LONGEST = 1 << 24  # terms; no row of a matrix comes near
OUTLIER_SHARE, OUTLIER_FACTOR = 0.001, 50.0  # assumed: four channels of 4096
_BLOCK = {"q8_0": 32, "q8_1": 32, "q8_k": 256}  # terms that an integer sum takes
_Q8_0 = ("q8_0", "q5_0", "q4_0", "q2_0", "q1_0", "mxfp4", "nvfp4", "iq4_nl")
_Q8_1 = ("q4_1", "q5_1")


def with_outliers(base: Distribution, share: float, factor: float) -> Distribution:
    """`base` with a share of values `factor` times as large, scaled to variance 1."""
    scale = 1.0 / math.sqrt(1.0 - share + share * factor**2)
    parts = ((1.0 - share, scale), (share, scale * factor))

    def sample(generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        drawn = base.sample(generator, shape) * scale
        return np.asarray(np.where(generator.random(shape) < share, drawn * factor, drawn))

    return Distribution(
        "outliers",
        lambda x: np.asarray(sum(weight * base.density(x / size) / size for weight, size in parts)),
        lambda most: np.asarray(sum(weight * base.inside(most / size) for weight, size in parts)),
        sample,
        base.kurtosis * sum(weight * size**4 for weight, size in parts),
    )


#: What activations are thought to follow: as weights, and Gaussian ones with a few channels that are far larger.
ACTIVATIONS = {**DISTRIBUTIONS, "outliers": with_outliers(GAUSSIAN, OUTLIER_SHARE, OUTLIER_FACTOR)}


def activation_distribution(name: str) -> Distribution:
    """The distribution of that name; SpecError, with those there are, for another."""
    found = ACTIVATIONS.get(name.lower())
    if found is None:
        raise SpecError(f"expected one of {', '.join(ACTIVATIONS)}, found {name!r}")
    return found


def activation_type(type_name: str) -> str:
    """The type that activations are brought into for weights of this one: vec_dot_type in ggml-cpu.c."""
    name = base_type(type_name)
    if name in FLOATS:
        return name
    if name in _Q8_0:
        return "q8_0"
    if name in _Q8_1:
        return "q8_1"
    if (name.endswith("_k") and name != "q8_k") or name.startswith(("iq", "tq")):
        return "q8_k"
    raise SpecError(f"{type_name}: no kernel of llama.cpp multiplies it, so that the error of its sums is unknown")


def block_terms(type_name: str) -> int:
    """Products that are added without error before the accumulator sees them [1]."""
    return _BLOCK.get(activation_type(type_name), 1)


def row_step(type_name: str) -> int:
    """What the length of a row must be a multiple of [1]."""
    return max(block_terms(type_name), layout(type_name).block_weights)


@lru_cache(maxsize=256)
def noise(type_name: str, distribution: Distribution, rms: float) -> tuple[float, str]:
    """(relative mean square of a type's error [1], how it is known); SpecError where it is not.

    how: weights.WeightError's; 'measured', with llama.cpp's own quantiser, where nothing is derived.
    """
    found = weight_error(type_name, distribution, rms=rms)
    if found is not None:
        return found.relative_rms**2, found.how
    tried = weight_trial(type_name, distribution)
    if tried is not None:
        return tried.relative_rms**2, "measured"
    raise SpecError(f"{type_name}: no figure for its error on {distribution.name} weights")


@dataclass(frozen=True, slots=True)
class Setting:
    """What is multiplied: the distributions and standard deviations of weights and activations."""

    weights: Distribution = GAUSSIAN
    activations: Distribution = GAUSSIAN
    weight_rms: float = WEIGHT_RMS
    activation_rms: float = ACTIVATION_RMS

    @property
    def term_rms(self) -> float:
        """Root mean square of a product [1]."""
        return self.weight_rms * self.activation_rms


USUAL = Setting()


@dataclass(frozen=True)
class DotError:
    """The error of a dot product. parts: relative mean squares that add up, scalars or of the shape of k [1].

    measured: types whose weights' part was measured rather than derived.
    """

    parts: Mapping[str, Floats]
    measured: tuple[str, ...] = ()

    @property
    def relative_rms(self) -> Floats:
        """rms(error) / rms(exact sum) [1]."""
        return np.asarray(np.sqrt(sum(self.parts.values(), np.zeros(()))))

    @property
    def sum_rms(self) -> Floats:
        """Of products and additions alone, as if nothing else were rounded [1]."""
        return np.asarray(np.sqrt(self.parts["products"] + self.parts["additions"]))

    @property
    def snr_db(self) -> Floats:
        """Signal-to-noise ratio [dB]."""
        return ratios_db(self.relative_rms)

    @property
    def main(self) -> str:
        """The largest part; of several k that of the longest."""
        return max(self.parts, key=lambda name: float(self.parts[name].max()))


def dot_error(
    types: Mapping[str, float], form: FloatFormat, order: Order, k: Any, setting: Setting = USUAL
) -> DotError:
    """The error of dot products of k terms with weights of these types (elements or shares of each), k of any shape.

    Infinite where sums leave the format's range at 4 deviations.
    A mix has the mean of its types' mean squares, weighted by elements, as if all matrices had the same power.
    """
    terms, total = np.asarray(k, dtype=np.float64), float(sum(types.values()))
    parts = {name: np.zeros_like(terms) for name in ("weights", "activations", "products", "additions")}
    measured = []
    for name, elements in types.items():
        share = elements / total
        weights, how = noise(name, setting.weights, setting.weight_rms)
        if how == "measured":
            measured.append(name)
        activations, _ = noise(activation_type(name), setting.activations, setting.activation_rms)
        parts["weights"] += share * weights
        parts["activations"] += share * activations
        n = terms / block_terms(name)
        parts["products"] += share * (0.0 if exact_terms(name, form, order) else product_error(form, n) ** 2)
        parts["additions"] += share * sum_error(form, order, n, fused=fused(name, form)) ** 2
    reach = setting.term_rms > overflow_scale(form, order.most_terms(terms))
    parts["additions"] = np.where(reach, np.inf, parts["additions"])
    return DotError(parts, tuple(measured))


def fused(type_name: str, form: FloatFormat) -> bool:
    """Whether a kernel adds unrounded products: those of floats; fp32 products of blocks are one rounding more."""
    return activation_type(type_name) in FLOATS or form.name != "fp32"


def exact_terms(type_name: str, form: FloatFormat, order: Order) -> bool:
    """Whether products reach the sum unrounded: they are exact in the format, or fused into the addition."""
    kind = FLOATS.get(activation_type(type_name))
    if kind is not None and 2 * FORMATS[kind].significand_bits <= form.significand_bits:
        return True
    return fused(type_name, form) and order.fuses


def overflow_rms(form: FloatFormat, k: int, setting: Setting = USUAL, order: Order = PLAIN) -> float:
    """The standard deviation of activations at which sums of k terms leave the format's range at 4 deviations [1]."""
    return float(overflow_scale(form, order.most_terms(k))) / setting.weight_rms


def underflow_rms(form: FloatFormat, setting: Setting = USUAL) -> float:
    """The standard deviation of activations at which products are as small as the format's smallest normal number [1].

    With smaller ones, small partial sums err more than `dot_error` says, which is not derived: kahan by 1 dB at this
    deviation, and by up to 6 dB more with each halving.
    """
    return form.smallest_normal / setting.weight_rms


def crossover_k(
    order: Order,
    form: FloatFormat = FORMATS["fp16"],
    setting: Setting = USUAL,
    floats: str = "f16",
    against: str = "q8_0",
    longest: int = LONGEST,
) -> int | None:
    """The least k, a multiple of 256, from which `floats` added in `form` errs more than `against` added in fp32.

    None where it never does up to `longest`. The difference grows with k, so that it is found by halving.
    """

    def worse(steps: int) -> bool:
        k = steps * 256
        one = dot_error({floats: 1}, form, order, k, setting)
        other = dot_error({against: 1}, FORMATS["fp32"], PLAIN, k, setting)
        return bool(one.relative_rms > other.relative_rms)

    low, high = 0, longest // 256
    if not worse(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if worse(middle) else (middle, high)
    return high * 256
