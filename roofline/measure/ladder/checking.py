"""Whether a product is right: a few rows in full, every row by a random sum, against float64; integers exactly.

The sum of k products errs, whatever the order, by no more than

    γ(k) · Σ|a_i||b_i|,   γ(k) = exp(λ·√k·u + k·u²/(1 − u)) − 1          with probability 1 − 2k·exp(−λ²(1 − u)²/2)

(Higham & Mary 2019, "A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41, theorem 2.4);
u is the unit roundoff of the type that is summed in. Σ|a_i||b_i| ≤ ‖a‖·‖b‖. λ is chosen for all k of all numbers of the
product together. Rounding the result to its own type adds u_out·|c|.

All rows are compared by sums with random signs x (Freivalds 1977), C·x against A·(B·x): a sum for each block of
columns, so that a wrong number does not drown among the roundings of a whole row. The signs are independent of the
errors e of a block, so that |Σ e_j·x_j| ≤ λ·√(Σ e_j²) (Hoeffding 1963).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from roofline.measure.ladder.rungs import Rung
from roofline.measure.products import Array, Product
from roofline.precision.formats import FORMATS, FloatFormat

_FP64 = FloatFormat("fp64", 11, 52)
_ROUNDOFF = {"fp64": _FP64.unit_roundoff, **{name: form.unit_roundoff for name, form in FORMATS.items()}}
_FALSE_ALARM = 2.0**-30  # probability that a right product is called wrong, about one in a billion
_TERMS = 1 << 25  # products that the reference rows take at most: numpy's loops do some hundred million a second
_LEAST_ROWS = 2


@dataclass(frozen=True, slots=True)
class Check:
    """error: the largest difference by what is allowed there [1]; 0 for exact integers; above 1 it is wrong."""

    error: float

    @property
    def is_right(self) -> bool:
        """Whether no difference is larger than rounding explains."""
        return self.error <= 1.0


def steepness(terms: float) -> float:
    """λ [1]: the bound holds for this many roundings together, but for one time in a billion."""
    return math.sqrt(2.0 * math.log(2.0 * terms / _FALSE_ALARM))


def growth(k: int, roundoff: float, steep: float) -> float:
    """γ(k) [1]: relative to Σ|a_i||b_i|."""
    return math.expm1(steep * math.sqrt(k) * roundoff + k * roundoff**2 / (1.0 - roundoff))


def rows_to_check(m: int, n: int) -> Array:
    """Numbers of the rows that are compared in full: the first, the last and some between."""
    count = min(m, max(_LEAST_ROWS, _TERMS // n**2))
    return np.unique(np.linspace(0, m - 1, count).round().astype(np.int64))


def check(rung: Rung, product: Product) -> Check:
    """Compare the product of the last run with a reference that uses no BLAS.

    MemoryError where there is no room for the reference.
    """
    left, right, result = product.left(), product.right(), product.result()
    expected_shape = (left.shape[0], right.shape[1])
    if result.shape != expected_shape or not np.all(np.isfinite(result)):
        return Check(math.inf)
    chosen = rows_to_check(*result.shape)
    if not rung.sums:
        return _exact(left, right, result, chosen)
    k, numbers = left.shape[1], result.size
    steep = steepness(float(numbers) * k)
    allowed = growth(k, _ROUNDOFF[rung.sums], steep) + growth(k, _ROUNDOFF["fp64"], steep)
    out = _ROUNDOFF[rung.result_dtype]
    lengths = np.sqrt(_einsum("ij,ij->i", left, left))
    squares = _einsum("ij,ij->j", right, right)
    reference = _einsum("ij,jk->ik", left[chosen], right)
    difference = np.abs(reference - result[chosen].astype(np.float64))
    bound = (1.0 + out) * allowed * lengths[chosen, None] * np.sqrt(squares) + out * np.abs(reference)
    starts = blocks(k, *result.shape)
    sums, wanted = _block_sums(left, right, result, starts, np.float64)
    # The root of Σ of the squared bounds in a block; what was rounded to the result is |c|·(1 ± u_out) as it stands.
    rounded = np.sqrt(np.stack([_einsum("ij,ij->i", part, part) for part in np.split(result, starts[1:], axis=1)], 1))
    whole = allowed * lengths[:, None] * np.sqrt(np.add.reduceat(squares, starts)) + out / (1.0 - out) * rounded
    return Check(max(_ratio(difference, bound), _ratio(np.abs(sums - wanted), steep * whole)))


def blocks(k: int, m: int, n: int) -> Array:
    """The columns with which the blocks begin of which each row has a sum: as many as take no longer than the rows."""
    count = min(n, max(1, _TERMS // (m * k)))
    return np.linspace(0, n, count, endpoint=False).astype(np.int64)


def _exact(left: Array, right: Array, result: Array, chosen: Array) -> Check:
    """Integers have no rounding: rows and sums are equal or not."""
    whole: Any = np.int64
    reference = np.einsum("ij,jk->ik", left[chosen].astype(whole), right, dtype=whole, casting="safe")
    sums, wanted = _block_sums(left, right, result, blocks(left.shape[1], *result.shape), whole)
    is_right = np.array_equal(reference, result[chosen]) and np.array_equal(sums, wanted)
    return Check(0.0 if is_right else math.inf)


def _block_sums(left: Array, right: Array, result: Array, starts: Array, dtype: Any) -> tuple[Array, Array]:
    """(sums of the result with random signs, what they should be) by row and block, in float64 or int64."""

    def signed(matrix: Array) -> Array:
        parts = zip(np.split(matrix, starts[1:], axis=1), np.split(signs, starts[1:]), strict=True)
        found = [np.einsum("ij,j->i", part, own, dtype=dtype, casting="safe") for part, own in parts]
        return np.stack(found)

    signs = _signs(result.shape[1]).astype(dtype)
    wanted: Array = np.einsum("ij,gj->ig", left, signed(right), dtype=dtype, casting="safe")
    return signed(result).T, wanted


def _einsum(subscripts: str, *operands: Array) -> Array:
    """Sums in float64 by numpy's own loops; operands of other types are converted block by block."""
    found: Array = np.einsum(subscripts, *operands, dtype=np.float64, casting="safe")
    return found


def _signs(count: int) -> Array:
    return np.random.default_rng(3).choice(np.array([-1.0, 1.0]), count)


def _ratio(difference: Array, bound: Array) -> float:
    """The largest difference by its bound; where both are 0, 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(difference > 0, difference / bound, 0.0)
    return float(np.max(ratios, initial=0.0))
