"""Partial moments of a distribution, fast at many places, and nodes of a quadrature over a block's extremes.

    M_k(x) = ∫₀ˣ tᵏ f(t) dt,   k = 0, 1, 2                        f: density of a weight, variance 1

The squared error of a cell (lo, hi] of a quantiser with the level c is then M₂ − 2c·M₁ + c²·M₀ between its edges: no
quadrature for each cell, and none that a narrow peak could slip through.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from roofline.precision.distributions import DISTRIBUTIONS, Distribution

Floats = NDArray[np.float64]
_PANEL_POINTS = 5
_STEP = 0.002  # of asinh(x) between the table's places
FARTHEST = 1e5  # where the table ends [standard deviations]; beyond, nothing is left to count
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(_PANEL_POINTS)


def panels(edges: Floats) -> tuple[Floats, Floats]:
    """Nodes and weights of Gauss and Legendre's rule, applied to each interval between ascending edges."""
    half, middle = np.diff(edges) / 2.0, (edges[1:] + edges[:-1]) / 2.0
    return (middle[:, None] + half[:, None] * _NODES).ravel(), (half[:, None] * _WEIGHTS).ravel()


@lru_cache(maxsize=len(DISTRIBUTIONS))
def _table(distribution: Distribution) -> tuple[Floats, Floats]:
    """(M_k, dM_k/ds) at s = 0, _STEP, … with x = sinh(s); shape (places, 3)."""
    s = np.arange(0.0, np.arcsinh(FARTHEST), _STEP)
    nodes, weights = panels(s)
    x = np.sinh(nodes)
    mass = distribution.density(x) * np.cosh(nodes) * weights
    powers = np.stack([np.ones_like(x), x, x * x], axis=-1)
    pieces = (mass[:, None] * powers).reshape(len(s) - 1, _PANEL_POINTS, 3).sum(axis=1)
    at = np.sinh(s)
    slope = (distribution.density(at) * np.cosh(s))[:, None] * np.stack([np.ones_like(at), at, at * at], axis=-1)
    return np.vstack([np.zeros((1, 3)), np.cumsum(pieces, axis=0)]), slope * _STEP


def partial_moments(distribution: Distribution, x: Floats) -> Floats:
    """M₀, M₁, M₂ at x (any shape, either sign), along a new last axis; to about 1e-13.

    Cubic Hermite interpolation of a table in asinh(x), whose slopes are the integrand itself.
    """
    values, slopes = _table(distribution)
    place = np.minimum(np.arcsinh(np.abs(x)) / _STEP, len(values) - 1.0)
    index = np.minimum(place.astype(np.intp), len(values) - 2)
    t = (place - index)[..., None]
    rest = 1.0 - t
    found = (
        values[index] * (rest * rest * (1.0 + 2.0 * t))
        + values[index + 1] * (t * t * (3.0 - 2.0 * t))
        + slopes[index] * (t * rest * rest)
        - slopes[index + 1] * (t * t * rest)
    )
    found[..., ::2] *= np.sign(x)[..., None]  # M₀ and M₂ are odd, M₁ is even
    return np.asarray(found)


def extremes(
    distribution: Distribution, weights: int, width: float, kinks: Floats | None = None
) -> tuple[Floats, Floats]:
    """Nodes over the largest magnitude of a block, from where it hardly ever is to where nothing is left to count.

    width: of a panel, in log(magnitude). kinks: magnitudes at which the integrand jumps, which panels keep to.
    Gives (magnitudes, d magnitude); the density is the caller's.
    """
    coarse = np.exp(np.arange(-7.0, np.log(FARTHEST) - 1.0, 0.02))
    inside = distribution.inside(coarse)
    low = coarse[max(int(np.searchsorted(weights * np.log(np.maximum(inside, 1e-300)), -32.0)) - 1, 0)]
    left = weights * 2.0 * distribution.density(coarse) * coarse**3  # of the energy, and of the count, beyond
    high = coarse[min(int(np.flatnonzero(left > 1e-8)[-1]) + 1, len(coarse) - 1)]
    edges = np.linspace(np.log(low), np.log(high), int(np.ceil(np.log(high / low) / width)) + 1)
    if kinks is not None:
        edges = np.unique(np.concatenate([edges, np.log(kinks[(kinks > low) & (kinks < high)])]))
    log_m, step = panels(edges)
    m = np.exp(log_m)
    return m, step * m
