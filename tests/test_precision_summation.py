"""Sums: their derived errors, and what sums that are added up one rounding at a time say to them."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from roofline.precision.formats import FORMATS, MEAN_SQUARE
from roofline.precision.summation import (
    EVEN,
    KAHAN,
    PAIRWISE,
    PLAIN,
    Order,
    overflow_scale,
    product_error,
    stagnation_terms,
    sum_error,
    summation_order,
    worst_case,
)
from roofline.precision.summation_trial import add_up, deviations_95, freedom, interval, rounding
from roofline.spec import SpecError

FP16, FP32, BF16 = FORMATS["fp16"], FORMATS["fp32"], FORMATS["bf16"]
ORDERS = [
    PLAIN,
    PAIRWISE,
    KAHAN,
    *(Order("blocked", b) for b in (16, 32, 100)),
    *(Order("lanes", c) for c in (1, 8, 32)),
]
FOUR_SIGMA = 4.0


def terms_of(k: int, trials: int, seed: int = 0, mean: float = 0.0) -> NDArray[np.float64]:
    """Exact products of fp16 numbers, as a kernel meets them."""
    random = np.random.default_rng([seed, k])
    left, right = (FP16.round(random.standard_normal((k, trials))) for _ in range(2))
    return np.asarray(left * right + mean)


def tried(form_name: str, order: Order, terms: NDArray[np.float64], fused: bool = True) -> NDArray[np.float64]:
    return np.asarray(add_up(FORMATS[form_name], order, terms, fused) - terms.sum(axis=0))


# -- the emulation ------------------------------------------------------------------------------------------------


def test_plain_is_numpy_s_own_arithmetic_one_addition_at_a_time() -> None:
    terms = FP16.round(np.random.default_rng(0).standard_normal((200, 50)))
    for dtype, form in ((np.float16, FP16), (np.float32, FP32)):
        total = np.zeros(50, dtype)
        for term in terms.astype(dtype):
            total = total + term
        assert np.array_equal(add_up(form, PLAIN, terms), total.astype(float))


def test_a_fused_multiply_add_rounds_once_as_exact_arithmetic_does() -> None:
    from fractions import Fraction

    random = np.random.default_rng(1)
    values = FP16.finite_values()
    sums, left, right = (random.choice(values[:-4000], 3000) * random.choice([-1, 1], 3000) for _ in range(3))
    left = FP16.round(left / 1000.0)
    ours = FP16.round(sums + left * right)
    for s, a, b, found in zip(sums, left, right, ours, strict=True):
        exact = Fraction(s) + Fraction(a) * Fraction(b)
        if math.isfinite(found):
            around = np.nextafter(np.float16(found), np.array([-np.inf, np.inf], np.float16)).astype(float)
            assert all(abs(Fraction(found) - exact) <= abs(Fraction(x) - exact) for x in around if math.isfinite(x))


def test_orders_that_are_the_same_give_the_same_sums() -> None:
    terms = terms_of(256, 40)
    plain = add_up(FP16, PLAIN, terms)
    for same in (Order("lanes", 1), Order("blocked", 256), Order("blocked", 1000)):
        assert np.array_equal(add_up(FP16, same, terms), plain)
    rounded = FP16.round(terms)
    halves = FP16.round(rounded[:1] + rounded[1:2])[0]
    assert np.array_equal(add_up(FP16, PAIRWISE, terms[:2]), halves)
    lanes = add_up(FP32, Order("lanes", 256), FP16.round(terms))  # every lane one term, then pairs in fp32
    assert np.allclose(lanes, FP16.round(terms).sum(axis=0), rtol=0, atol=1e-4)


def test_lanes_are_added_as_ggml_vec_dot_f16_does_on_arm() -> None:
    """Four registers of eight lanes; GGML_F16x8_REDUCE adds 0 + 2, 1 + 3 and 0 + 1 in fp16, the last in fp32."""
    terms = FP16.round(terms_of(320, 50))
    registers = np.zeros((4, 8, 50), np.float16)
    for step in terms.astype(np.float16).reshape(-1, 4, 8, 50):
        registers = registers + step
    pairs = registers[:2] + registers[2:]
    last = (pairs[0] + pairs[1]).astype(np.float32)
    found = add_up(FP16, Order("lanes", 32), terms)
    assert np.allclose(found, last.sum(axis=0), rtol=0, atol=1e-5)  # fp32 in another order; half a unit in fp16: 0.002


def test_the_reference_of_the_trials_is_exact_enough() -> None:
    terms = terms_of(4096, 5)
    for column in terms.T:
        assert column.sum() == pytest.approx(math.fsum(column), abs=1e-12)


# -- derived against tried ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.name)
@pytest.mark.parametrize("form", ["fp16", "fp32"])
@pytest.mark.parametrize("k", [512, 3000])
def test_the_derived_error_is_what_trials_see(order: Order, form: str, k: int) -> None:
    random = np.random.default_rng([7, k])
    # Terms with more bits than the format, so that none of them adds without error; products of Gaussians.
    terms = random.standard_normal((k, 1200)) * random.standard_normal((k, 1200))
    seen = interval(tried(form, order, terms), terms.sum(axis=0), FOUR_SIGMA)
    known = FORMATS[form]
    apart = 0.0 if order.fuses else product_error(known, k)
    assert seen.holds(float(np.hypot(sum_error(known, order, k), apart)))


def test_sums_of_a_few_terms_round_as_often_as_they_add() -> None:
    """One term is rounded once, whatever the order; with fewer terms than lanes most additions are of zeros."""
    for order in ORDERS:
        apart = 0.0 if order.fuses else float(product_error(FP16, 1))
        assert math.hypot(float(sum_error(FP16, order, 1)), apart) == pytest.approx(FP16.rms_error), order
        assert sum_error(FP16, order, 1, fused=False) == 0
    random = np.random.default_rng(12)
    for k in (2, 3, 7):
        terms = random.standard_normal((k, 20_000)) * random.standard_normal((k, 20_000))
        for order in (PLAIN, Order("blocked", 32), Order("lanes", 8), Order("lanes", 32)):
            seen = interval(tried("fp16", order, terms), terms.sum(axis=0)).relative_rms
            assert seen == pytest.approx(float(sum_error(FP16, order, k)), rel=0.05), (order, k)  # 3 standard errors


@pytest.mark.parametrize(
    ("name", "slope", "within"), [("plain", 0.5, 0.04), ("lanes8", 0.5, 0.05), ("kahan", 0.0, 0.04)]
)
def test_how_the_tried_error_grows(name: str, slope: float, within: float) -> None:
    """√k on log-log axes is a line of slope 1/2; (k + 1)/2 is no pure power, but nearly from 128 terms a chain on."""
    lengths = np.array([512, 1024, 2048, 4096])
    order = summation_order(name)
    errors = []
    for k in lengths:
        terms = terms_of(int(k), 800)
        errors.append(interval(tried("fp16", order, terms), terms.sum(axis=0)).relative_rms)
    fitted = np.polyfit(np.log(lengths), np.log(errors), 1)[0]
    assert fitted == pytest.approx(slope, abs=within)


def test_pairwise_grows_with_the_root_of_the_levels() -> None:
    k = 2.0 ** np.arange(2, 21)
    error = sum_error(FP16, PAIRWISE, k)
    assert error**2 / np.log2(k) == pytest.approx(MEAN_SQUARE * FP16.unit_roundoff**2 * EVEN)
    squares = []
    for levels in (4, 8, 12):
        terms = FP16.round(np.random.default_rng(levels).standard_normal((2**levels, 1500)))
        squares.append(interval(tried("fp16", PAIRWISE, terms), terms.sum(axis=0)).relative_rms ** 2 / levels)
    assert squares == pytest.approx([squares[0]] * 3, rel=0.2)


def test_the_closed_forms_of_the_docstring() -> None:
    k, u = np.array([256.0, 4096.0]), FP16.unit_roundoff
    root = math.sqrt(MEAN_SQUARE)
    assert sum_error(FP16, PLAIN, k) == pytest.approx(root * u * np.sqrt((k + 1) / 2))
    assert sum_error(FP16, KAHAN, k) == pytest.approx([root * u * math.sqrt(2)] * 2)
    # 8 chains; what follows is in fp32, 2^-13 of it
    assert sum_error(FP16, Order("lanes", 8), k) == pytest.approx(root * u * np.sqrt((k / 8 + 1) / 2), rel=1e-4)
    # 32 chains, then two levels of pairs of registers
    assert sum_error(FP16, Order("lanes", 32), k) == pytest.approx(
        root * u * np.sqrt((k / 32 + 1) / 2 + 2 * EVEN), rel=1e-4
    )
    # k/b chains of b, then Σ i·b for i = 2 … k/b
    b = 32.0
    assert sum_error(FP16, Order("blocked", 32), k) == pytest.approx(
        root * u * np.sqrt((b + 1) / 2 + (k / b + 1) / 2 - b / k)
    )
    # sequential addition of terms of mean r: Σ j² r² / (k² r²) → k/3
    assert sum_error(FP16, PLAIN, 900, drift=1e6) == pytest.approx(
        root * u * math.sqrt(901 * 1801 / (6 * 900)), rel=1e-6
    )


@pytest.mark.parametrize("n", [3, 5, 33, 100, 4095])
def test_lengths_that_are_no_powers_of_two(n: int) -> None:
    """Against a count of the additions, one by one: Σ P(m) with P(m) = m + r²·m²."""
    r = 0.5

    def squares(lengths: list[float]) -> float:
        return sum(m + r * r * m * m for m in lengths)

    pairs, left = [], [1.0] * n
    while len(left) > 1:
        sums = [a + b for a, b in zip(left[::2], left[1::2], strict=False)]
        pairs += sums
        left = sums + left[len(sums) * 2 :]
    blocks, total = [], 0.0
    for start in range(0, n, 32):
        size = min(32, n - start)
        blocks += [float(m) for m in range(1, size + 1)]
        total += size
        blocks += [total] if start else []
    for order, expected in ((PAIRWISE, EVEN * squares(pairs)), (Order("blocked", 32), squares(blocks))):
        found = sum_error(FP16, order, n, drift=r) ** 2
        assert found == pytest.approx(FP16.rms_error**2 * expected / squares([n])), order


def test_blocks_are_best_at_the_root_of_the_length() -> None:
    errors = {b: float(sum_error(FP16, Order("blocked", b), 4096)) for b in (8, 16, 32, 64, 128, 256, 512)}
    assert min(errors, key=errors.__getitem__) == 64
    assert errors[64] < sum_error(FP16, PLAIN, 4096) / 5


def test_formats_differ_by_their_unit_roundoff_and_arrays_are_scalars() -> None:
    lengths = np.array([[100, 1000], [33, 4097]])
    for order in ORDERS:
        found = sum_error(FP16, order, lengths, drift=0.3)
        alone = [[float(sum_error(FP16, order, int(k), drift=0.3)) for k in row] for row in lengths]
        assert found == pytest.approx(np.array(alone))
        if order.kind != "lanes" or order.length == 1:  # lanes end in fp32 whatever the format
            assert sum_error(FP32, order, lengths) == pytest.approx(sum_error(FP16, order, lengths) * 2.0**-13)
    assert product_error(FP32, lengths) == pytest.approx(product_error(FP16, lengths) * 2.0**-13)


def test_the_share_of_pairs_is_the_integral_it_says() -> None:
    """Over angles of a Gaussian pair and scales within an octave: (1 + 2·4⁻ᵐ) weighted by the unit squared."""
    angle = (np.arange(8001) + 0.5) / 8001 * 2 * math.pi
    total = 0.0
    for scale in np.exp2((np.arange(801) + 0.5) / 801):
        a, b = scale * np.cos(angle), scale * np.sin(angle)
        exponents = [np.floor(np.log2(np.abs(x))) for x in (a, b, a + b)]
        m = exponents[2] - np.minimum(exponents[0], exponents[1])
        unit = 2.0 * np.exp2(exponents[2])  # of u
        total += float(np.mean(np.where(m >= 1, unit**2 / 12 * (1 + 2 * 4.0**-m), 0.0))) / scale**2
    assert total / 801 / MEAN_SQUARE == pytest.approx(EVEN, abs=5e-4)


# -- bounds, bias, stagnation -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.name)
@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_no_trial_is_beyond_the_worst_case(order: Order, mean: float) -> None:
    terms = FP16.round(np.random.default_rng(3).standard_normal((700, 400)) + mean)
    error = np.abs(add_up(FP16, order, terms) - terms.sum(axis=0))
    assert np.all(error <= worst_case(FP16, order, 700) * np.abs(terms).sum(axis=0))


def test_kahan_keeps_its_bound_where_plain_sums_cannot() -> None:
    """Higham (4.8), its first term alone: 2u · Σ|x|. A plain sum of positive terms is far beyond it."""
    terms = FP16.round(np.random.default_rng(4).random((4096, 300)))
    bound = 2 * FP16.unit_roundoff * terms.sum(axis=0)
    assert np.all(np.abs(add_up(FP16, KAHAN, terms) - terms.sum(axis=0)) <= bound)
    assert np.mean(np.abs(add_up(FP16, PLAIN, terms) - terms.sum(axis=0)) > bound) > 0.8


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.name)
def test_errors_of_terms_without_a_mean_have_none(order: Order) -> None:
    terms = terms_of(1024, 3000, seed=5)
    error = tried("fp16", order, terms)
    assert abs(error.mean()) < 4 * error.std() / math.sqrt(error.size)


def test_plain_sums_of_like_terms_stagnate() -> None:
    """1 + 1 + … stops at 2048 in fp16: 2048 + 1 lies in the middle and goes to the even one, 2048."""
    ones = np.ones((5000, 1))
    assert add_up(FP16, PLAIN, ones)[0] == 2048 == stagnation_terms(FP16, np.inf)
    assert add_up(FP16, KAHAN, ones)[0] == add_up(FP16, PAIRWISE, ones[:4096])[0] + 904 == 5000
    # Terms of mean 1 and a spread: lost where half a unit is more than they are; the error is one-sided, linear in k.
    random = np.random.default_rng(6)
    terms = 1.0 + 0.1 * random.standard_normal((40_000, 100))
    lost = [float(np.mean(add_up(FP16, PLAIN, terms[:k]) - terms[:k].sum(axis=0))) for k in (20_000, 30_000, 40_000)]
    assert lost[0] < 0 and lost[2] - lost[1] == pytest.approx(-10_000, rel=0.01) == lost[1] - lost[0]


def test_where_stagnation_begins() -> None:
    u = FP16.unit_roundoff
    assert stagnation_terms(FP16, 0.0) == pytest.approx(1 / u**2)
    drift = np.array([0.01, 0.5, 3.0])
    n = stagnation_terms(FP16, drift)
    assert u**2 * (n + (drift * n) ** 2) == pytest.approx(1 + drift**2)  # half a unit is a term, root mean square
    assert np.all(np.diff(n) < 0) and stagnation_terms(FP32, 3.0) > 8000 * n[-1]


def test_before_stagnation_terms_with_a_mean_err_as_derived() -> None:
    terms = np.random.default_rng(8).standard_normal((400, 3000)) + 2.0
    seen = interval(tried("fp16", PLAIN, terms), terms.sum(axis=0))
    assert seen.relative_rms == pytest.approx(float(sum_error(FP16, PLAIN, 400, drift=2.0)), rel=0.2)


def test_sums_overflow_where_they_are_said_to() -> None:
    n = 1024
    scale = float(overflow_scale(FP16, n))
    random = np.random.default_rng(9)
    drawn = random.standard_normal((n, 2000))
    assert np.mean(~np.isfinite(add_up(FP16, PLAIN, drawn * scale))) < 0.002
    beyond = add_up(FP16, PLAIN, drawn * scale * 4)
    # One deviation on the way: of a Brownian path 1 − 4/π · Σ (−1)ʲ/(2j + 1) · exp(−(2j + 1)²π²/8) = 0.629
    assert np.mean(~np.isfinite(beyond)) == pytest.approx(0.629, abs=0.05)
    assert interval(beyond - drawn.sum(axis=0), drawn.sum(axis=0)).relative_rms == math.inf
    assert np.all(np.isfinite(add_up(BF16, PLAIN, drawn * scale * 4)))


# -- words and helpers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tails", "least"), [(0.0, 0.92), (1.0, 0.89)])
def test_an_interval_holds_the_truth_as_often_as_it_says(tails: float, least: float) -> None:
    """Also where trials differ in size, lognormally: Student's deviations with n − 1 degrees hold it in 86 % only."""
    random = np.random.default_rng(10)
    inside = 0
    for _ in range(600):
        size = np.exp(tails * random.standard_normal(200))
        exact, error = size * random.standard_normal((2, 200))
        inside += interval(0.01 * error, exact).holds(0.01)
    assert least < inside / 600 < 0.98


def test_few_degrees_of_freedom_are_left_of_heavy_tails() -> None:
    """2n/(κ − 1): n of Gaussian residuals, 2n/5 of Laplacian ones, 2 where a single one of n makes the variance."""
    random = np.random.default_rng(13)
    n = 100_000
    assert freedom(random.standard_normal(n)) == pytest.approx(n, rel=0.03)
    assert freedom(random.laplace(size=n)) == pytest.approx(2 * n / 5, rel=0.06)
    assert (
        freedom(np.bincount([0], minlength=n).astype(float)) == pytest.approx(2, rel=0.01)
        and freedom(np.array([-1.0, 1.0])) == 1
    )


def test_an_interval_of_nothing() -> None:
    assert interval(np.zeros(5), np.ones(5)).high == 0.0
    table = {3: 3.182, 10: 2.228, 30: 2.042, 1000: 1.962}  # of Student's distribution, two-sided 5 %
    assert {v: deviations_95(v) for v in table} == pytest.approx(table, rel=0.01)


def test_rounding_by_casts_is_the_format_s() -> None:
    values = np.random.default_rng(11).standard_normal(2000) * 1e-4
    for form in FORMATS.values():
        assert np.array_equal(rounding(form)(values), form.round(values))


@pytest.mark.parametrize("name", ["plain", "pairwise", "kahan", "blocked32", "blocked64", "lanes8", "lanes32"])
def test_names_go_there_and_back(name: str) -> None:
    assert summation_order(name).name == name


def test_names_have_usual_lengths_and_wrong_ones_are_refused() -> None:
    assert (summation_order("Blocked").length, summation_order("lanes").length) == (32, 8)
    for wrong, said in [
        ("kahn", "expected plain, pairwise, kahan, blocked or lanes"),
        ("plain8", "expected plain without a number"),
        ("lanes12", "1, 2, 4 … 256 lanes"),
        ("lanes0", "1, 2, 4"),
        ("blocked1", "blocks of 2 to"),
        ("blocked²", "expected plain"),
        ("", "found ''"),
    ]:
        with pytest.raises(SpecError, match=said):
            summation_order(wrong)
