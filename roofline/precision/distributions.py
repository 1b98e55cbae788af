"""Distributions that weights and activations are thought to follow: symmetric, of variance 1, independent.

A trained matrix looks Gaussian in the middle and has heavier tails; activations have far heavier ones. Student's t with
five degrees of freedom stands for these: its kurtosis is 9 (Gaussian 3, Laplace 6), the lightest whole number of
degrees at which the fourth moment is there. Densities and cumulatives are the textbook's (Johnson, Kotz, Balakrishnan,
Continuous Univariate Distributions, ch. 13, 24, 28), scaled to variance 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roofline.spec import SpecError

Floats = NDArray[np.float64]
Generator = np.random.Generator
_erf = np.frompyfunc(math.erf, 1, 1)  # numpy has none; it is asked at the nodes of a quadrature only
_FREEDOM = 5.0  # degrees of the heavy-tailed one
_T_SCALE = math.sqrt((_FREEDOM - 2.0) / _FREEDOM)  # of a t with variance 1


@dataclass(frozen=True, slots=True)
class Distribution:
    """density(x) and inside(m) = P(|x| ≤ m), at arrays of any shape; sample(generator, shape); kurtosis E[x⁴] [1]."""

    name: str
    density: Callable[[Floats], Floats]
    inside: Callable[[Floats], Floats]
    sample: Callable[[Generator, tuple[int, ...]], Floats]
    kurtosis: float


def _gaussian_inside(most: Floats) -> Floats:
    return np.asarray(_erf(most / math.sqrt(2.0)), dtype=np.float64)


def _t_density(x: Floats) -> Floats:
    constant = 8.0 / (3.0 * math.pi * math.sqrt(_FREEDOM)) / _T_SCALE
    return np.asarray(constant / (1.0 + (x / _T_SCALE) ** 2 / _FREEDOM) ** 3)


def _t_inside(most: Floats) -> Floats:
    t = most / _T_SCALE / math.sqrt(_FREEDOM)
    falloff = 1.0 / (1.0 + t * t)
    return np.asarray(2.0 / math.pi * (np.arctan(t) + t * falloff * (1.0 + 2.0 / 3.0 * falloff)))


GAUSSIAN = Distribution(
    "gaussian",
    lambda x: np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi),
    _gaussian_inside,
    lambda generator, shape: generator.standard_normal(shape),
    3.0,
)
LAPLACIAN = Distribution(
    "laplacian",
    lambda x: np.exp(-math.sqrt(2.0) * np.abs(x)) / math.sqrt(2.0),
    lambda most: -np.expm1(-math.sqrt(2.0) * most),
    lambda generator, shape: generator.laplace(scale=math.sqrt(0.5), size=shape),
    6.0,
)
HEAVY_TAILED = Distribution(
    "heavy-tailed",
    _t_density,
    _t_inside,
    lambda generator, shape: generator.standard_t(_FREEDOM, size=shape) * _T_SCALE,
    9.0,
)
DISTRIBUTIONS = {known.name: known for known in (GAUSSIAN, LAPLACIAN, HEAVY_TAILED)}


def distribution(name: str) -> Distribution:
    """The distribution of that name; SpecError, with those there are, for another."""
    found = DISTRIBUTIONS.get(name.lower())
    if found is None:
        raise SpecError(f"expected one of {', '.join(DISTRIBUTIONS)}, found {name!r}")
    return found
