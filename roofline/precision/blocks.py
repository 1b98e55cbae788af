"""The expected error of a block whose weights share a scale, by quadrature (see weights.py for the formulas)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from roofline.precision.distributions import Distribution
from roofline.precision.formats import FORMATS
from roofline.precision.moments import FARTHEST, extremes, partial_moments
from roofline.precision.quantisers import Quantiser
from roofline.precision.scales import is_starved, kinks, rounding, stored

Floats = NDArray[np.float64]
NEVER = 1e-9  # a probability that a block, or a float, overflows with: no more than this is not counted
_WIDTH = 0.12  # of a panel of the quadrature over the largest magnitude [log]
_WIDTH_OF_PAIRS = 0.4  # and of that over pairs of minimum and maximum
_FINER = 6.0  # and narrower panels by this much where scales have few bits left
_FINER_PAIRS = 3.0
_SMALLEST = math.exp(-7.0)  # magnitude that matters as the largest of a block [standard deviations]
_LEAST = 1e-9  # of the probability times the energy of a pair of extremes, below which it is left out


def block_parts(quantiser: Quantiser, distribution: Distribution, rms: float = 1.0) -> dict[str, float]:
    """Relative mean squares of one quantiser by its rule, scales of sub-blocks taken as exact.

    rounding: within the levels and half a step beyond them. clipping: farther out. scale: what storing it adds, which
    is infinite where it overflows.
    """
    if quantiser.rule == "mean":
        return _mean_parts(quantiser, distribution, rms)
    return (_extreme_parts if quantiser.rule == "extreme" else _range_parts)(quantiser, distribution, rms)


def _mean_parts(quantiser: Quantiser, distribution: Distribution, rms: float) -> dict[str, float]:
    """Signs times d = mean |w|: E[(w − d·sign w)²] = 1 − E[d²], as E[d·|w|] = E[d²] = μ² + (1 − μ²)/n."""
    mean = 2.0 * float(partial_moments(distribution, np.array(math.inf))[1])
    square = mean * mean + (1.0 - mean * mean) / quantiser.weights
    # The remainder w − d·sign w has mean 0 over a block, however its scale is rounded: only δ² is added.
    scale = np.array([math.sqrt(square)])
    _, added = _added(scale, quantiser, rms)
    over = _overflows(scale, np.ones(1), quantiser, rms)
    return {"rounding": 1.0 - square, "clipping": 0.0, "scale": math.inf if over else float(added[0])}


def _added(values: Floats, quantiser: Quantiser, rms: float) -> tuple[Floats, Floats]:
    """(mean, mean square) of what storing a scale or a minimum adds to it, all in units of the weights' deviation.

    Nothing where it overflows, which ``_overflows`` tells.
    """
    mean, square = rounding(values * rms, quantiser.scale)
    finite = np.isfinite(square)
    return np.where(finite, mean, 0.0) / rms, np.where(finite, square, 0.0) / rms / rms


def _overflows(values: Floats, chance: Floats, quantiser: Quantiser, rms: float) -> bool:
    """Whether what is stored, with these probabilities, becomes infinite now and then."""
    form = FORMATS.get(quantiser.scale)
    return form is not None and float(np.sum(chance[np.isinf(form.round(values * rms))])) > NEVER


def _cells(quantiser: Quantiser, distribution: Distribution, scale: Floats, low: Floats, high: Floats) -> Floats:
    """Of weights between low and high (arrays of one shape) that are quantised with this scale d:

    E[r²] within half a step of the levels, E[r²] beyond, E[r·q], E[q²], E[r], E[q]; along a new last axis. q: the code,
    r = w − a − d·q: what is left, with a = low by rule 'range' and 0 by the others.
    """
    levels = np.array(quantiser.levels)
    first, last = 1.5 * levels[0] - 0.5 * levels[1], 1.5 * levels[-1] - 0.5 * levels[-2]
    begins = np.concatenate([[first], (levels[1:] + levels[:-1]) / 2.0, [last]])
    codes = np.concatenate([levels[:1], levels, levels[-1:]])
    base = (low if quantiser.rule == "range" else np.zeros_like(low))[..., None]
    inner = np.clip(base + scale[..., None] * begins, low[..., None], high[..., None])
    edges = np.concatenate([low[..., None], inner, high[..., None]], axis=-1)
    found = partial_moments(distribution, edges)
    m0, m1, m2 = np.moveaxis(np.diff(found, axis=-2), -1, 0)
    total = m0.sum(axis=-1)
    centre = base + scale[..., None] * codes
    squares = m2 - 2.0 * centre * m1 + centre * centre * m0
    remainders = m1 - centre * m0
    sums = (
        squares[..., 1:-1].sum(axis=-1),
        squares[..., 0] + squares[..., -1],
        (remainders * codes).sum(axis=-1),
        (m0 * codes * codes).sum(axis=-1),
        remainders.sum(axis=-1),
        (m0 * codes).sum(axis=-1),
    )
    return np.asarray(np.stack(sums, axis=-1) / total[..., None])


def _extreme_parts(quantiser: Quantiser, distribution: Distribution, rms: float) -> dict[str, float]:
    """Rule 'extreme', whose largest magnitude m may as well be negative, as all signs can be turned."""
    number, levels = quantiser.weights, np.array(quantiser.levels)
    jumps = None
    if quantiser.scale in ("e8m0", "ue4m3"):
        jumps = kinks(_SMALLEST * rms, FARTHEST * rms, quantiser.scale) / rms
    m, step = extremes(
        distribution, number, _WIDTH / (_FINER if is_starved(rms / -levels[0], quantiser.scale) else 1.0), jumps
    )
    chance = step * number * 2.0 * distribution.density(m) * distribution.inside(m) ** (number - 1)
    if jumps is None:
        scale = m / -levels[0]
        shift, added = _added(scale, quantiser, rms)
        own, own_clipped = np.zeros_like(m), np.zeros_like(m)
    else:
        scale = stored(m * rms, quantiser.scale) / rms
        shift = added = np.zeros_like(m)
        nearest = np.abs(m[:, None] - scale[:, None] * levels).min(axis=1)
        beyond = m > scale * (1.5 * levels[-1] - 0.5 * levels[-2])
        own, own_clipped = np.where(beyond, 0.0, nearest**2), np.where(beyond, nearest**2, 0.0)
    inside, clipped, cross, square, _, _ = np.moveaxis(_cells(quantiser, distribution, scale, -m, m), -1, 0)
    others = (number - 1) / number
    scaled = others * (added * square - 2.0 * shift * cross) + added * levels[0] ** 2 / number
    return {
        "rounding": float(np.sum(chance * (others * inside + own / number))),
        "clipping": float(np.sum(chance * (others * clipped + own_clipped / number))),
        "scale": math.inf if _overflows(scale, chance, quantiser, rms) else float(np.sum(chance * scaled)),
    }


def _range_parts(quantiser: Quantiser, distribution: Distribution, rms: float) -> dict[str, float]:
    """Rule 'range'. That a whole block has one sign, which a 2^(1−n)th of them does, is left out."""
    number, top = quantiser.weights, quantiser.levels[-1]
    # Each extreme by itself has about the distribution of the largest magnitude of half as many weights.
    narrower = _FINER_PAIRS if is_starved(rms / top, quantiser.scale) else 1.0
    one, step = extremes(distribution, max(number // 2, 2), _WIDTH_OF_PAIRS / narrower)
    minus, plus = (grid.ravel() for grid in np.meshgrid(one, one))
    area = np.outer(step, step).ravel()
    between = (distribution.inside(minus) + distribution.inside(plus)) / 2.0
    chance = area * number * (number - 1) * distribution.density(minus) * distribution.density(plus)
    chance = chance * between ** (number - 2)
    kept = chance * (1.0 + minus**2 + plus**2) > _LEAST
    minus, plus, chance = minus[kept], plus[kept], chance[kept]
    scale = (plus + minus) / top
    shift, added = _added(scale, quantiser, rms)
    base, base_added = _added(-minus, quantiser, rms)
    over = _overflows(scale, chance, quantiser, rms) or _overflows(-minus, chance, quantiser, rms)
    cells = _cells(quantiser, distribution, scale, -minus, plus)
    inside, clipped, cross, square, rest, code = np.moveaxis(cells, -1, 0)
    others = (number - 2) / number
    scaled = (
        others * (added * square - 2.0 * shift * cross + base_added - 2.0 * base * rest + 2.0 * shift * base * code)
        + (base_added + added * top**2 + 2.0 * shift * base * top + base_added) / number
    )
    return {
        "rounding": float(np.sum(chance * others * inside)),
        "clipping": float(np.sum(chance * others * clipped)),
        "scale": math.inf if over else float(np.sum(chance * scaled)),
    }


def mean_square_step(quantiser: Quantiser, distribution: Distribution) -> float:
    """E[d²] of a rule 'extreme' or 'range' with even levels, in variances of the weights [1].

    E[(max − min)²] = 2·E[max²] − 2·E[max·min], and with 32 weights the two ends are all but independent:
    E[max·min] ≈ −E[max]². The maximum's density is n·f(x)·P(w < x)^(n−1).
    """
    number = quantiser.weights
    m, step = extremes(distribution, number, _WIDTH)
    inside, density = distribution.inside(m), distribution.density(m)
    if quantiser.rule == "extreme":
        chance = step * number * 2.0 * density * inside ** (number - 1)
        return float(np.sum(chance * m * m)) / quantiser.levels[0] ** 2
    chance = step * number * density * ((1.0 + inside) / 2.0) ** (number - 1)
    first, second = float(np.sum(chance * m)), float(np.sum(chance * m * m))
    return (2.0 * second + 2.0 * first * first) / quantiser.levels[-1] ** 2
