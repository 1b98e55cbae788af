"""Types whose scales llama.cpp searches, and stores as small integers: their error by sampling, tied to the quadrature.

Each sub-block tries a row of scales about the rule's own and keeps the one with the least weighted error, refitted by
least squares (make_qx_quants, make_qkx3_quants and quantize_row_iq4_nl_impl in ggml-quants.c, all weights of the same
importance). The super-block then stores its sub-blocks' scales, and with rule 'range' their minima, as integers of a
scale of its own in fp16, and weights are rounded once more with what was stored. No formula is known for the error of
the best scale; so the search is done on blocks drawn once, with a fixed seed, and

    ε²(searched) = ε²(rule, by quadrature) · e(searched) / e(rule)               e: of the blocks that were drawn

Both errors meet the same weights and rise and fall with the same outliers, so that the quotient scatters far less than
either: a control variate in the form of a ratio (Cochran, Sampling Techniques, 3rd ed. 1977, ch. 6).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from roofline.precision.blocks import block_parts
from roofline.precision.distributions import Distribution
from roofline.precision.formats import FORMATS
from roofline.precision.quantisers import Quantiser

Floats = NDArray[np.float64]
_SEED = 7
_WEIGHTS = 1 << 16  # that are drawn
_FP16 = FORMATS["fp16"]


def searched_parts(
    quantiser: Quantiser, distribution: Distribution, rms: float = 1.0
) -> tuple[dict[str, float], float]:
    """(relative mean squares that add up to the error, that of the rule without a search and with exact scales).

    rounding and clipping: with the scales that the search found. scale: what storing them adds.
    """
    drawn = distribution.sample(np.random.default_rng(_SEED), (_WEIGHTS // quantiser.weights, quantiser.weights))
    rule = block_parts(replace(quantiser, scale="fp32"), distribution)
    known = sum(rule.values())
    by_rule = _error(drawn, *_by_rule(quantiser, drawn), quantiser)
    found = _search(quantiser, drawn)
    inside, beyond = _error(drawn, *found, quantiser)
    with np.errstate(invalid="ignore"):  # 0 times infinite, where the super-block's scale overflows
        kept, rounded_with = _stored(quantiser, drawn, *found, rms)
        stored = sum(_error(drawn, *kept, quantiser, rounded_with))
    tied = known / sum(by_rule)
    return {
        "rounding": inside * tied,
        "clipping": beyond * tied,
        "scale": (stored - inside - beyond) * tied if np.isfinite(stored) else np.inf,
    }, known


def _by_rule(quantiser: Quantiser, drawn: Floats) -> tuple[Floats, Floats]:
    """(scale, minimum) of each block by its rule, as columns; the minimum is 0 but with rule 'range'."""
    if quantiser.rule == "range":
        low, high = drawn.min(axis=1, keepdims=True), drawn.max(axis=1, keepdims=True)
        low = np.minimum(low, 0.0)
        return (high - low) / quantiser.levels[-1], low
    extreme = np.take_along_axis(drawn, np.abs(drawn).argmax(axis=1)[:, None], axis=1)
    return extreme / quantiser.levels[0], np.zeros_like(extreme)


def _nearest(levels: tuple[float, ...], scaled: Floats) -> Floats:
    """The nearest level to each."""
    places = np.array(levels)
    if np.all(np.diff(places) == 1.0):
        return np.asarray(np.clip(np.rint(scaled), places[0], places[-1]))
    return np.asarray(places[np.searchsorted((places[1:] + places[:-1]) / 2.0, scaled)])


def _total(values: Floats) -> Floats:
    """The sum of each row, as a column."""
    return np.asarray(values.sum(axis=1, keepdims=True))


def _error(
    drawn: Floats, scale: Floats, low: Floats, quantiser: Quantiser, rounded_with: Floats | None = None
) -> tuple[float, float]:
    """Relative mean squares, within half a step of the levels and beyond; codes may come from another scale."""
    levels, divisor = quantiser.levels, scale if rounded_with is None else rounded_with
    scaled = np.divide(drawn - low, divisor, out=np.zeros_like(drawn), where=divisor != 0)
    squares = (drawn - low - scale * _nearest(levels, scaled)) ** 2 / np.sum(drawn**2)
    outside = (scaled < 1.5 * levels[0] - 0.5 * levels[1]) | (scaled > 1.5 * levels[-1] - 0.5 * levels[-2])
    beyond = float(squares[outside].sum())
    return float(squares.sum()) - beyond, beyond


def _importances(quantiser: Quantiser, drawn: Floats) -> Floats:
    """What llama.cpp weighs squared errors with when all weights matter alike: √(c·σ² + w²), σ² over the super-block.

    c is 1 for q2_k and 2 for q3_k, q4_k, q5_k and the iq4 types; q6_k weighs nothing.
    """
    if quantiser.name == "q6_k":
        return np.ones_like(drawn)
    grouped = drawn.reshape(-1, quantiser.weights * max(quantiser.sub_blocks, 1))
    power = (1.0 if quantiser.name == "q2_k" else 2.0) * np.mean(grouped**2, axis=1, keepdims=True)
    return np.asarray(np.sqrt(power + grouped**2).reshape(drawn.shape))


def _search(quantiser: Quantiser, drawn: Floats) -> tuple[Floats, Floats]:
    """(scale, minimum) of each block after llama.cpp's search."""
    weights = _importances(quantiser, drawn)
    if quantiser.rule == "range":
        return _search_ranges(quantiser, drawn, weights)
    scale, _ = _fit(drawn, weights, quantiser.levels)
    return scale, np.zeros_like(scale)


def _fit(values: Floats, weights: Floats, levels: tuple[float, ...]) -> tuple[Floats, Floats]:
    """(scale, codes) of each row: the largest magnitude put near levels[0], and the scale refitted by least squares.

    make_qx_quants, 19 places a tenth of a step apart; quantize_row_iq4_nl_impl, 15 a step apart and the mirror image.
    """
    extreme = np.take_along_axis(values, np.abs(values).argmax(axis=1)[:, None], axis=1)
    even = levels[1] - levels[0] == 1.0
    places = levels[0] + np.arange(-9.0, 10.0) / 10.0
    if not even:
        places = np.append(levels[0] + np.arange(-7.0, 8.0), -levels[0])
    best, scale, kept = np.full_like(extreme, -1.0), np.zeros_like(extreme), np.zeros_like(values)
    for place in places:
        codes = _nearest(levels, np.divide(values * place, extreme, out=np.zeros_like(values), where=extreme != 0))
        product, square = _total(weights * values * codes), _total(weights * codes**2)
        fitted = np.divide(product, square, out=np.zeros_like(square), where=square > 0)
        better = fitted * product > best
        best, scale = np.where(better, fitted * product, best), np.where(better, fitted, scale)
        kept = np.where(better, codes, kept)
    return scale, kept


def _search_ranges(quantiser: Quantiser, drawn: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """make_qkx3_quants: 37 widths, each with the scale and the minimum that fit its codes best, minima not above 0.

    What has been the best minimum so far is where the next width begins.
    """
    scale, low = _by_rule(quantiser, drawn)
    highest, top = drawn.max(axis=1, keepdims=True), quantiser.levels[-1]

    def cost(codes: Floats, scale: Floats, low: Floats) -> Floats:
        return _total(weights * (scale * codes + low - drawn) ** 2)

    best = cost(_nearest(quantiser.levels, (drawn - low) / scale), scale, low)
    mass, first = _total(weights), _total(weights * drawn)
    for step in np.arange(37):
        codes = _nearest(quantiser.levels, (drawn - low) * ((top - 0.9 + 0.05 * step) / (highest - low)))
        ones, squares, product = _total(weights * codes), _total(weights * codes**2), _total(weights * codes * drawn)
        spread = mass * squares - ones**2
        fits = spread > 0
        safe = np.where(fits, spread, 1.0)
        this_low = (squares * first - ones * product) / safe
        this_scale = (mass * product - first * ones) / safe
        above = this_low > 0
        this_scale = np.where(above, product / np.where(squares > 0, squares, 1.0), this_scale)
        this_low = np.where(above, 0.0, this_low)
        this = cost(codes, this_scale, this_low)
        better = fits & (this < best)
        best, scale, low = (
            np.where(better, this, best),
            np.where(better, this_scale, scale),
            np.where(better, this_low, low),
        )
    return scale, low


def _stored(
    quantiser: Quantiser, drawn: Floats, scale: Floats, low: Floats, rms: float
) -> tuple[tuple[Floats, Floats], Floats]:
    """((scale, minimum) as the block stores them, the scale that weights are rounded with): fp16, or integers of it.

    Weights are rounded with what was stored, but those of the iq4 types with the scale before fp16.
    """
    if not quantiser.sub_blocks:
        return (_half(scale, rms), low), scale
    weights = _total(_importances(quantiser, drawn))
    codes, unit = _integers(quantiser, scale, weights)
    kept = (codes * _half(unit, rms)).reshape(scale.shape)
    if quantiser.rule != "range":
        return (kept, low), kept if quantiser.even else (codes * unit).reshape(scale.shape)
    codes, unit = _integers(quantiser, -low, weights)
    return (kept, -(codes * _half(unit, rms)).reshape(low.shape)), kept


def _half(values: Floats, rms: float) -> Floats:
    """Values in fp16, where weights have this standard deviation."""
    return np.asarray(_FP16.round(values * rms) / rms)


def _integers(quantiser: Quantiser, values: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """(integers, their unit) of the scales or minima of sub-blocks, a super-block a row.

    Those of one sign are fitted by make_qp_quants, those of q3_k by make_qx_quants; the largest of q6_k and iq4_xs is
    put on the end of the integers, and the others are rounded.
    """
    grouped, weighed = (side.reshape(-1, quantiser.sub_blocks) for side in (values, weights))
    steps = quantiser.scale_steps
    if not quantiser.signed_scale:
        unit, codes = _fit_positive(grouped, weighed, steps)
    elif quantiser.name == "q3_k":
        unit, codes = _fit(grouped, weighed, tuple(map(float, range(-steps, steps))))
    else:
        unit = np.take_along_axis(grouped, np.abs(grouped).argmax(axis=1)[:, None], axis=1) / -steps
        exact = np.divide(grouped, unit, out=np.zeros_like(grouped), where=unit != 0)
        codes = np.clip(np.rint(exact), -steps, steps - 1)
    return codes, unit


def _fit_positive(values: Floats, weights: Floats, steps: int) -> tuple[Floats, Floats]:
    """(unit, integers) of each row by make_qp_quants: the best of nine units, then integer by integer, and refitted."""
    largest = np.maximum(values.max(axis=1, keepdims=True), 1e-30)
    best, codes = np.full_like(largest, np.inf), np.zeros_like(values)
    for tenths in (0, -4, -3, -2, -1, 1, 2, 3, 4):
        unit = largest / (steps + tenths / 10.0)
        tried = np.minimum(np.rint(values / unit), steps)
        cost = _total(weights * (values - unit * tried) ** 2)
        best, codes = np.minimum(best, cost), np.where(cost < best, tried, codes)
    product, square = _total(weights * values * codes), _total(weights * codes**2)
    for _ in range(5):
        for place in range(values.shape[1]):
            one = slice(place, place + 1)
            value, weight, code = values[:, one], weights[:, one], codes[:, one]
            less, smaller = product - weight * value * code, square - weight * code**2
            usable = (less > 0) & (smaller > 0)
            new = np.minimum(np.rint(value * np.where(usable, smaller, 0.0) / np.where(usable, less, 1.0)), steps)
            more, larger = less + weight * value * new, smaller + weight * new**2
            better = usable & (new != code) & (more**2 * square > product**2 * larger)
            codes[:, one] = np.where(better, new, code)
            product, square = np.where(better, more, product), np.where(better, larger, square)
    return np.divide(product, square, out=np.zeros_like(square), where=square > 0), codes
