"""The noise that rounding left in quantised blocks, from the steps between their levels.

A weight that is rounded to the nearest of levels a step Δ apart is off by anything up to Δ/2, all of it as likely where
the density hardly changes within a step, so that the mean square of the error is Δ²/12 (Bennett 1948, "Spectra of
quantized signals"). Three things differ from that, and are counted:

    extreme   (q4_0, q5_0, q8_0)  the weight that sets the scale is exact: one of a block has no error. The levels of
              q4_0 and q5_0 end half a step short on the other side: what is stored as the last one lies between half a
              step below and a whole step above it, where the mean square is (1 + 1/8) / (3 · 3/2) = 1/4 of Δ².
    range     (q4_1, q5_1)        the least and the greatest weight of a block are exact.
    searched  (k-quants)          llama.cpp tries several scales for the least error, which lessens it by a fifth or so:
              the share of Δ² that is left is the mean over Gaussian, Laplacian and heavy-tailed (t5) weights, with and
              without importances of 1, measured with ggml_quantize_chunk of llama.cpp 0c1e570; the six lie within 6 %.

Where whole levels stand between independent errors, what blocks say has the power of the weights and of the error
together: the noise is taken off the signal. The search finds the scale of least squares, whose error is orthogonal to
what the blocks say: nothing is to be taken off.

Tests compare the estimate with the true ratio, on Gaussian, Laplacian and t5 weights: within 0.12 dB for the simple
types, 0.35 dB for the k-quants, 0.7 dB for q2_k, whose four levels are far from fine. It is too low for weights with
yet heavier tails (t3: by 0.5 to 1 dB in q4_0, more in q3_k and q2_k), most of which are much smaller than a step that a
few of them set, and for weights in two clusters (by 1 dB in q4_0); and too high where an importance matrix had the
search care for some weights more than for others.
Layouts: ggml/src/ggml-common.h of llama.cpp.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
ROUNDING = 1.0 / 12.0
#: Mean square error of a weight at the last level of an 'extreme' type, in squared steps: see above.
CLIPPED = 0.25


@dataclass(frozen=True, slots=True)
class Stepped:
    """A type whose blocks tell their steps.

    steps: of blocks (n, bytes) the step of each sub-block (n, sub-blocks), in units of the weights. exact: weights of
    a block without error. clipped: the code of the last level, above which weights are cut off; None where none are.
    share: mean square error of the others, in squared steps. is_least_squares: whether a search set the scale.
    """

    steps: Callable[[Bytes], Floats]
    exact: int = 0
    clipped: int | None = None
    share: float = ROUNDING
    is_least_squares: bool = False


def _half(blocks: Bytes, at: int) -> Floats:
    """fp16 at a byte of each block, (n, 1)."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float64)


def _at_start(blocks: Bytes) -> Floats:
    return np.abs(_half(blocks, 0))


def _q2_k(blocks: Bytes) -> Floats:
    return np.asarray(np.abs(_half(blocks, 80) * (blocks[:, :16] & 15)))


def _q3_k(blocks: Bytes) -> Floats:
    packed = blocks[:, 96:108]
    low = np.concatenate([packed[:, :8] & 15, packed[:, :8] >> 4], axis=1)
    high = np.concatenate([packed[:, 8:] >> shift & 3 for shift in (0, 2, 4, 6)], axis=1)
    return np.asarray(np.abs(_half(blocks, 108) * ((low | high << 4).astype(np.int16) - 32)))


def _q4_k(blocks: Bytes) -> Floats:
    """Of q4_k and q5_k: eight 6-bit scales in twelve bytes."""
    packed = blocks[:, 4:16]
    scales = np.concatenate([packed[:, :4] & 63, (packed[:, 8:] & 15) | (packed[:, :4] >> 6 << 4)], axis=1)
    return np.asarray(np.abs(_half(blocks, 0) * scales))


def _q6_k(blocks: Bytes) -> Floats:
    return np.asarray(np.abs(_half(blocks, 208) * np.ascontiguousarray(blocks[:, 192:208]).view(np.int8)))


STEPPED = {
    "q8_0": Stepped(_at_start, exact=1),
    "q5_0": Stepped(_at_start, exact=1, clipped=15),
    "q4_0": Stepped(_at_start, exact=1, clipped=7),
    "q5_1": Stepped(_at_start, exact=2),
    "q4_1": Stepped(_at_start, exact=2),
    "q6_k": Stepped(_q6_k, share=0.0695, is_least_squares=True),
    "q5_k": Stepped(_q4_k, share=0.0703, is_least_squares=True),
    "q4_k": Stepped(_q4_k, share=0.0648, is_least_squares=True),
    "q3_k": Stepped(_q3_k, share=0.0738, is_least_squares=True),
    "q2_k": Stepped(_q2_k, share=0.0650, is_least_squares=True),
}


def noise_of(type_name: str, blocks: Bytes, weights: NDArray[np.floating[Any]]) -> Floats:
    """Expected sum of squared rounding errors of each block.

    blocks: (n, bytes of a block); weights: what they say, (n, weights of a block), finite.
    """
    kind = STEPPED[type_name]
    with np.errstate(invalid="ignore", over="ignore"):
        steps = kind.steps(blocks)
        squares = steps * steps
    if not kind.exact:
        each = weights.shape[1] / steps.shape[1]
        return np.asarray(each * kind.share * np.sum(squares, axis=1))
    rounded = np.full(len(blocks), float(weights.shape[1] - kind.exact))
    errors = rounded * kind.share
    if kind.clipped is not None:
        signed = _half(blocks, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            codes = np.rint(weights / signed)
        cut = np.minimum(np.sum(codes == kind.clipped, axis=1), rounded)
        errors = errors + cut * (CLIPPED - kind.share)
    return np.asarray(errors * squares[:, 0])
