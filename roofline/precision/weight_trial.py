"""What a weight type costs, tried: weights are drawn, sent through the type's blocks, and compared.

    R = Σ (w − ŵ)² / Σ w²                       relative mean square of the sample

Blocks are independent. R is a ratio of two sums over them, normal for many blocks, with the 95 % interval
R ± 1.96 · s(R) (s: ratios.relative_scatter).

The gguf package has the plain quantisers of llama.cpp, bit for bit. What it has not is given as it was measured once
with llama.cpp's own (quantization/quality.csv), on weights of variance 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roofline.precision.distributions import GAUSSIAN, Distribution
from roofline.precision.ratios import NORMAL_95, ratio_db, relative_rms, relative_scatter
from roofline.precision.weights import weight_error
from roofline.quantization.layouts import layout
from roofline.quantization.quality import SAMPLE_SHAPE, base_type, measured
from roofline.spec import SpecError

#: Those that gguf.quants can write.
WRITABLE = ("f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "mxfp4", "tq2_0", "tq1_0")
_PLAIN = 32  # weights that are counted as a block of a type that has none
_WEIGHTS = 1 << 18  # that a trial draws unless told
_SAME_DB = 0.1  # that an error may differ by and still be called that of weights of variance 1


@dataclass(frozen=True, slots=True)
class Trial:
    """A type that was tried on n weights.

    relative_rms, low, high: rms(error) / rms(weight) and its 95 % interval [1]. bias, bias_within: mean(error) /
    rms(weight) and half its 95 % interval [1]; None where they were not kept. by: whose quantiser it was.
    """

    type_name: str
    distribution: str
    relative_rms: float
    low: float
    high: float
    n: int
    by: str
    bias: float | None = None
    bias_within: float | None = None

    @property
    def snr_db(self) -> float:
        """Signal-to-noise ratio [dB]."""
        return ratio_db(self.relative_rms)


def weight_trial(
    type_name: str,
    distribution: Distribution = GAUSSIAN,
    *,
    seed: int = 0,
    blocks: int | None = None,
    rms: float = 1.0,
) -> Trial | None:
    """Try a type on weights of this standard deviation; blocks: how many, by default of 262,144 weights in all.

    None where neither the gguf package writes it nor a measurement is known, which is of weights of variance 1: it is
    left out where the scales of such weights would be rounded to another error. SpecError for a name that is none, a
    wrong rms, fewer than two blocks, and where the gguf package is not installed.
    """
    if blocks is not None and blocks < 2:
        raise SpecError(f"blocks: expected at least 2, for an interval, found {blocks}")
    name, derived = base_type(type_name), weight_error(type_name, distribution, rms=rms)
    if name in WRITABLE:
        weights = layout(name).block_weights
        weights = _PLAIN if weights == 1 else weights
        shape = (blocks or _WEIGHTS // weights, weights)
        drawn = (distribution.sample(np.random.default_rng(seed), shape) * rms).astype(np.float32)
        return _compared(name, distribution.name, drawn, through(name, drawn))
    found = measured(name, distribution.name)
    of_one = weight_error(type_name, distribution)
    if found is None or (derived and of_one and abs(derived.snr_db - of_one.snr_db) > _SAME_DB):
        return None
    low, high = (relative_rms(found.snr_db - side * NORMAL_95 * found.error_db) for side in (-1.0, 1.0))
    return Trial(name, distribution.name, relative_rms(found.snr_db), low, high, math.prod(SAMPLE_SHAPE), "llama.cpp")


def through(name: str, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """The weights as the type's blocks say them."""
    try:
        import gguf
    except ImportError:
        raise SpecError("a trial of weights needs the gguf package: pip install gguf") from None
    kind = gguf.GGMLQuantizationType[name.upper()]
    with np.errstate(all="ignore"):  # of scales beyond fp16's range, either way
        return np.asarray(gguf.quants.dequantize(gguf.quants.quantize(weights, kind), kind)).reshape(weights.shape)


def _compared(name: str, drawn_from: str, weights: NDArray[np.float32], back: NDArray[np.float32]) -> Trial:
    wide = weights.astype(np.float64)
    error = back.astype(np.float64) - wide
    rms = math.sqrt(float(np.mean(wide**2)))
    if not np.all(np.isfinite(error)):  # a scale has overflowed
        return Trial(name, drawn_from, math.inf, math.inf, math.inf, wide.size, "gguf package")
    noise, power = np.sum(error**2, axis=1), np.sum(wide**2, axis=1)
    ratio = float(noise.sum() / power.sum())
    scatter = relative_scatter(noise, power)
    low, high = (math.sqrt(max(ratio + side * NORMAL_95 * scatter, 0.0)) for side in (-1.0, 1.0))
    means = error.mean(axis=1)
    within = NORMAL_95 * float(np.std(means, ddof=1)) / math.sqrt(len(means))
    return Trial(
        name, drawn_from, math.sqrt(ratio), low, high, wide.size, "gguf package",
        float(means.mean()) / rms, within / rms,
    )  # fmt: skip
