"""What adding costs: the error of a sum of n terms, by the order of the additions and the format of the sum.

Every addition rounds a partial sum s and errs by δ·s, where the δ are taken to be independent, of mean 0 and of mean
square MEAN_SQUARE·u² (Higham and Mary 2019, A New Approach to Probabilistic Rounding Error Analysis; the worst cases
are those of Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., ch. 4). Then mean squares add:

    E[error²] = MEAN_SQUARE · u² · Σ E[s²]                               over all additions
    E[s²] of m terms = σ² · P(m),  P(m) = m + r²·m²                      terms: mean r·σ, variance σ², independent

Relative to the sum's own root mean square σ·√P(n), with r = 0:

    plain      Σ P(j), j = 1 … n            0.425 u · √((n + 1)/2)       grows with √n
    lanes C    C chains of n/C terms each   0.425 u · √((n/C + 1)/2)     …, √C times smaller
    blocked b  b terms each, then n/b sums  0.425 u · √((b + n/b)/2)     …, least at b = √n: then with n^¼
    pairwise   log₂ n levels                0.425 u · √(1.18 · log₂ n)   hardly grows
    kahan      each term, and the last sum  0.425 u · √2                 does not grow

A fused multiply-add rounds the product and the sum at once, so that P(1) counts, too; else products have an error of
their own (product_error). The constant 0.425 = √MEAN_SQUARE is the mean over the scale of the sum; as partial sums of
mean 0 are spread like a Gaussian, it moves by 0.5 % of the mean square at most as the scale does (the first Fourier
coefficient over log₂ of the scale is 2·|Γ(3/2 + iπ/ln 2)|/Γ(3/2) · 0.215).

Two summands of like size err more, EVEN times the mean square: their sum lies on the few places between two numbers of
the format that the last bit of the smaller one allows. With m bits between that bit and the sum's last one the error is
0 for m = 0, else (1 + 2·4⁻ᵐ)/12 of a unit squared, of which EVEN is the mean over Gaussian pairs. Kahan's compensation
is inexact, too, while the sum is smaller than a term; in a random walk that happens √n times and is not counted.

Terms with a mean grow a sum by as much each, relative error √(n/3) instead of √(n/2), until half a unit in the last
place of the sum is larger than a term (stagnation_terms). From there on terms are lost, always in the same direction:
the δ are no longer independent, the sum stands still, and the error grows with n. Plain, blocked and lanes get there,
pairwise and kahan do not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from roofline.precision.formats import FORMATS, MEAN_SQUARE, FloatFormat
from roofline.spec import SpecError

Floats = NDArray[np.float64]
Kind = Literal["plain", "pairwise", "kahan", "blocked", "lanes"]
USUAL_LENGTH: dict[Kind, int] = {"blocked": 32, "lanes": 8}
MOST_LANES, LONGEST_BLOCK = 256, 65536
#: Lanes of a register, whose sums are added in fp32: hsum in llamafile/sgemm.cpp, GGML_F16x8_REDUCE in simd-mappings.h.
REGISTER_LANES = 8
EVEN = 1.1817  # the mean of 1 + 2·4⁻ᵐ (0 for m < 1), weighted by the sum's unit squared; tests integrate it again
_NAME = re.compile(r"(plain|pairwise|kahan|blocked|lanes)(\d{1,6})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Order:
    """In which order terms are added.

    length: of a block of 'blocked' [terms], or the number of chains of 'lanes' [1]; 0 for the others. 'lanes' adds term
    i to chain i mod length, as vector units do; what whole registers of 8 hold is then added pairwise in the format of
    the sum, and the 8 lanes of the last one in fp32.
    """

    kind: Kind
    length: int = 0

    @property
    def name(self) -> str:
        """As on the command line: 'plain', 'lanes32'."""
        return f"{self.kind}{self.length or ''}"

    @property
    def growth(self) -> str:
        """How the relative error of terms of mean 0 grows with their number."""
        return {"pairwise": "√log k", "kahan": "none"}.get(self.kind, "√k")

    @property
    def fuses(self) -> bool:
        """Whether products can be added by fused multiply-adds: of kahan to the compensation; pairs need them first."""
        return self.kind != "pairwise"

    def most_terms(self, n: Any) -> Floats:
        """How many of n terms the longest sum in the format has: lanes end in fp32."""
        terms = np.asarray(n, dtype=np.float64)
        return np.asarray(terms / min(self.length, REGISTER_LANES) if self.kind == "lanes" else terms)


PLAIN, PAIRWISE, KAHAN = Order("plain"), Order("pairwise"), Order("kahan")


def summation_order(name: str) -> Order:
    """The order of that name: plain, pairwise, kahan, blocked (of 32; blocked64), lanes (8 of them; lanes32)."""
    match = _NAME.fullmatch(name.lower())
    if match is None:
        raise SpecError(f"expected plain, pairwise, kahan, blocked or lanes (blocked64, lanes32), found {name!r}")
    kind: Kind = match[1]  # type: ignore[assignment]
    usual = USUAL_LENGTH.get(kind, 0)
    length = usual if match[2] is None else int(match[2])
    if not usual and match[2] is not None:
        raise SpecError(f"expected {kind} without a number, found {name!r}")
    if kind == "blocked" and not 2 <= length <= LONGEST_BLOCK:
        raise SpecError(f"expected blocks of 2 to {LONGEST_BLOCK} terms, found {name!r}")
    if kind == "lanes" and (length & (length - 1) or not 1 <= length <= MOST_LANES):
        raise SpecError(f"expected 1, 2, 4 … {MOST_LANES} lanes, found {name!r}")
    return Order(kind, length)


def moment(m: Any, drift: float = 0.0) -> Floats:
    """P(m): the mean square of the sum of m terms, in units of a term's variance. drift: r, mean / deviation [1]."""
    terms = np.asarray(m, dtype=np.float64)
    return np.asarray(terms + np.square(drift * terms))


def _chain(n: Floats, drift: float) -> Floats:
    """Σ P(j), j = 1 … n."""
    return np.asarray(n * (n + 1.0) / 2.0 + drift**2 * n * (n + 1.0) * (2.0 * n + 1.0) / 6.0)


def _scaled_chain(n: Floats, size: Floats | float, drift: float) -> Floats:
    """Σ P(j · size), j = 1 … n."""
    return np.asarray(size * n * (n + 1.0) / 2.0 + (drift * size) ** 2 * n * (n + 1.0) * (2.0 * n + 1.0) / 6.0)


def _pairs(n: Floats, drift: float) -> Floats:
    """Over the additions of neighbours, a last one without a neighbour waiting for the next level."""
    found, size = np.zeros_like(n), 1.0
    while np.any(size < n):
        whole = np.floor(n / size)
        rest, odd = n - whole * size, whole % 2.0
        found += np.floor(whole / 2.0) * moment(2.0 * size, drift)
        found += np.where((odd > 0) & (rest > 0), moment(size + rest, drift), 0.0)
        size *= 2.0
    return found


def _rounded(order: Order, n: Floats, drift: float, fused: bool) -> tuple[Floats, Floats]:
    """Σ E[s²] over the additions that round to the format of the sum, and over those in fp32 [a term's variance]."""
    none = np.zeros_like(n)
    first = 0.0 if fused else moment(1.0, drift)  # adding to zero rounds nothing
    if order.kind == "plain":
        return _chain(n, drift) - first, none
    if order.kind == "pairwise":
        return EVEN * _pairs(n, drift), none
    if order.kind == "kahan":
        return n * moment(1.0, drift) + np.where(n > 1, moment(n, drift), -first), none
    if order.kind == "blocked":
        size = float(order.length)
        blocks = np.floor(n / size)
        rest = n - blocks * size
        across = np.maximum(_scaled_chain(blocks, size, drift) - moment(size, drift), 0.0)
        last = np.where(rest > 0, _chain(rest, drift) - first + np.where(blocks > 0, moment(n, drift), 0.0), 0.0)
        return blocks * (_chain(np.asarray(size), drift) - first) + across + last, none
    chains = float(order.length)
    each = np.maximum(n / chains, 1.0)  # of fewer terms some lanes stay empty, and adding those rounds nothing
    narrow, wide = n / each * (_chain(each, drift) - first), none
    while chains > 1:
        chains /= 2.0
        level = EVEN * np.clip(n - chains, 0.0, chains) * moment(n / chains, drift)
        narrow, wide = (narrow + level, wide) if chains >= REGISTER_LANES else (narrow, wide + level)
    return narrow, wide


def sum_error(form: FloatFormat, order: Order, n: Any, drift: float = 0.0, fused: bool = True) -> Floats:
    """Root mean square error of adding n terms, by the root mean square of their sum [1]; n of any shape.

    drift: mean of the terms by their standard deviation [1]. fused: products are added unrounded, where the order can.
    """
    terms = np.asarray(n, dtype=np.float64)
    narrow, wide = _rounded(order, terms, drift, fused and order.fuses)
    squares = narrow * form.unit_roundoff**2 + wide * FORMATS["fp32"].unit_roundoff ** 2
    return np.asarray(np.sqrt(MEAN_SQUARE * squares / moment(terms, drift)))


def product_error(form: FloatFormat, n: Any, drift: float = 0.0) -> Floats:
    """Root mean square error of rounding n terms before they are added, by that of their sum [1]."""
    terms = np.asarray(n, dtype=np.float64)
    return np.asarray(form.rms_error * np.sqrt(terms * moment(1.0, drift) / moment(terms, drift)))


def worst_case(form: FloatFormat, order: Order, n: int) -> float:
    """The largest error there can be, by Σ |terms| [1]: Higham (4.4), (4.6), (4.8); without overflow.

    As many roundings as a term goes through, γ_d = d·u / (1 − d·u); infinite where d·u reaches 1. Of kahan 2u + n·u²,
    with 1 for the constant that Higham leaves open.
    """
    u = form.unit_roundoff
    if order.kind == "kahan":
        return 2.0 * u + n * u * u
    depth = {
        "plain": n - 1,
        "pairwise": (n - 1).bit_length(),
        "blocked": min(n, order.length) - 1 + max(-(-n // max(order.length, 1)) - 1, 0),
        "lanes": -(-n // max(order.length, 1)) - 1 + max(order.length - 1, 0).bit_length(),
    }[order.kind]
    return depth * u / (1.0 - depth * u) if depth * u < 1 else float("inf")


def stagnation_terms(form: FloatFormat, drift: Any) -> Floats:
    """How many terms it takes until a term is half a unit in the last place of their sum [1]: u²·P(n) = P(1).

    drift: mean of the terms by their deviation, of any shape; infinite for terms that are all alike (n = 1/u), 0 for
    terms that cancel (n = 1/u², which no row of a matrix reaches).
    """
    r2, u2 = np.square(np.asarray(drift, dtype=np.float64)), form.unit_roundoff**2
    with np.errstate(invalid="ignore"):
        found = 2.0 * (1.0 + r2) / (u2 * (1.0 + np.sqrt(1.0 + 4.0 * r2 * (1.0 + r2) / u2)))
    return np.asarray(np.where(np.isinf(r2), 1.0 / form.unit_roundoff, found))


def overflow_scale(form: FloatFormat, n: Any, deviations: float = 4.0) -> Floats:
    """The root mean square of terms of mean 0 at which a sum of n is beyond the format at so many deviations."""
    return np.asarray(form.largest / (deviations * np.sqrt(np.asarray(n, dtype=np.float64))))
