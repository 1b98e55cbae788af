"""What weight types cost, derived: against closed forms, trials, llama.cpp's own quantisers and known limits."""

import math
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from roofline.precision.blocks import block_parts
from roofline.precision.distributions import DISTRIBUTIONS, GAUSSIAN, HEAVY_TAILED, LAPLACIAN, Distribution
from roofline.precision.moments import extremes, partial_moments
from roofline.precision.quantisers import QUANTISERS, Quantiser
from roofline.precision.ratios import ratio_db
from roofline.precision.scales import stored
from roofline.precision.weight_trial import WRITABLE, weight_trial
from roofline.precision.weights import WeightError, fine_steps, weight_error
from roofline.quantization.layouts import layout
from roofline.quantization.quality import measured
from roofline.spec import SpecError

BIT_DB = 20 * math.log10(2)
DISTRIBUTED = list(DISTRIBUTIONS.values())
SEARCHED = [name for name, known in QUANTISERS.items() if known.searched]


def error(name: str, distribution: str = "gaussian", rms: float = 1.0) -> WeightError:
    found = weight_error(name, DISTRIBUTIONS[distribution], rms=rms)
    assert found is not None, name
    return found


def symmetric(bits: int, weights: int = 32) -> Quantiser:
    """As q8_0, of other bits and another block."""
    top = (1 << (bits - 1)) - 1
    return Quantiser(f"{bits} bits", weights, tuple(map(float, range(-top, top + 1))))


def block_db(quantiser: Quantiser, distribution: str = "gaussian") -> float:
    return -10 * math.log10(math.fsum(block_parts(quantiser, DISTRIBUTIONS[distribution]).values()))


def test_partial_moments_are_those_in_closed_form() -> None:
    """Gaussian: M0 = erf(x/√2)/2, M1 = f(0) − f(x), M2 = M0 − x·f(x). Laplacian, by parts, with a = √2·x:
    M0 = (1 − e^−a)/2, M1 = (1 − (1 + a)·e^−a)/(2√2), M2 = (2 − (a² + 2a + 2)·e^−a)/4."""
    x = np.array([1e-6, 0.01, 0.3, 1.0, 2.7, 6.0, 40.0, 2e5])
    density = np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
    m0 = np.array([math.erf(value / math.sqrt(2)) / 2 for value in x])
    found = partial_moments(GAUSSIAN, x)
    assert np.allclose(found.T, [m0, 1 / math.sqrt(2 * math.pi) - density, m0 - x * density], rtol=1e-9, atol=1e-12)
    a, left = math.sqrt(2) * x, np.exp(-math.sqrt(2) * x)
    closed = [(1 - left) / 2, (1 - (1 + a) * left) / math.sqrt(8), (2 - (a * a + 2 * a + 2) * left) / 4]
    assert np.allclose(partial_moments(LAPLACIAN, x).T, closed, rtol=1e-9, atol=1e-12)
    assert np.allclose(partial_moments(LAPLACIAN, -x), partial_moments(LAPLACIAN, x) * [-1, 1, -1])


@pytest.mark.parametrize("distribution", DISTRIBUTED, ids=lambda known: known.name)
@pytest.mark.parametrize("weights", [8, 32, 256])
def test_every_block_has_a_largest_magnitude(distribution: Distribution, weights: int) -> None:
    """The density n·f(m)·F(m)^(n−1) sums to 1, and E[m²] of a block of n is that of samples."""
    m, step = extremes(distribution, weights, 0.12)
    chance = step * weights * 2 * distribution.density(m) * distribution.inside(m) ** (weights - 1)
    assert chance.sum() == pytest.approx(1, abs=1e-7)
    drawn = np.abs(distribution.sample(np.random.default_rng(3), (20_000, weights))).max(axis=1)
    scatter = np.std(drawn**2) / math.sqrt(len(drawn))
    assert np.sum(chance * m**2) == pytest.approx(np.mean(drawn**2), abs=4 * scatter)


def test_the_derivation_is_what_the_reference_quantisers_do() -> None:
    """30 trials with samples of their own. Four standard errors each; 1.96 of them, the 95 % interval, may be left by
    5 of the 30, where 1.5 are expected (binomial: more than 5 in 0.3 % of all choices of seeds)."""
    outside = 0
    for seed, (name, known) in enumerate(product(WRITABLE, DISTRIBUTED)):
        tried = weight_trial(name, known, seed=seed)
        assert tried is not None and tried.by == "gguf package" and tried.low < tried.relative_rms < tried.high
        derived = error(name, known.name)
        assert derived.how == "derived"
        off = abs(derived.relative_rms - tried.relative_rms) / ((tried.high - tried.low) / 2 / 1.96)
        assert off < 4, (name, known.name, off)
        outside += off > 1.96
    assert outside <= 5


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("name", sorted({*QUANTISERS, "f16", "bf16"} - {"q8_1", "q8_k"}))
def test_the_derivation_is_what_was_measured(name: str, distribution: str) -> None:
    """On 2^20 weights, most with llama.cpp's own quantiser: to four standard errors, and 0.05 dB for our own search."""
    known, found = measured(name, distribution), error(name, distribution)
    assert known is not None
    allowed = 4 * known.error_db + (0.05 if found.how == "searched" else 0.0)
    assert found.snr_db == pytest.approx(known.snr_db, abs=allowed)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("name", SEARCHED)
def test_a_search_does_not_do_worse_than_its_rule(name: str, distribution: str) -> None:
    known, found = measured(name, distribution), error(name, distribution)
    assert known is not None and found.how == "searched"
    assert known.snr_db > ratio_db(found.rule_rms) and found.snr_db > ratio_db(found.rule_rms)


def test_no_type_beats_the_rate_distortion_bound() -> None:
    for name in QUANTISERS:
        assert 0 < error(name).snr_db < BIT_DB * layout(name).bits_per_weight, name


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_more_bits_of_a_family_are_better(distribution: str) -> None:
    for family in (("tq1_0", "q4_0", "q5_0", "q8_0", "bf16", "f16", "f32"), ("q4_1", "q5_1"),
                   ("q2_k", "q3_k", "q4_k", "q5_k", "q6_k")):  # fmt: skip
        for fewer, more in pairwise(family):
            assert error(more, distribution).relative_rms < error(fewer, distribution).relative_rms


def test_a_bit_is_worth_six_decibels_where_steps_are_fine() -> None:
    """Twice the levels, half the step: 20·log10((2^b − 1)/(2^(b−1) − 1)) dB, which is 6.02 for many."""
    for bits in range(8, 13):
        gained = block_db(replace(symmetric(bits + 1), scale="fp32")) - block_db(replace(symmetric(bits), scale="fp32"))
        assert gained == pytest.approx(20 * math.log10((2**bits - 1) / (2 ** (bits - 1) - 1)), abs=0.005)
    assert gained == pytest.approx(BIT_DB, abs=0.01)
    assert error("f16").snr_db - error("bf16").snr_db == pytest.approx(3 * BIT_DB, abs=1e-3)


def test_where_the_high_resolution_formula_holds() -> None:
    """E[d²]/12 knows no clipping and no curvature of the density inside a step: right at 8 bits, near at 4 to 5 where
    the range is not clipped, and a decibel off with three levels."""
    for name, allowed in (("q8_k", 0.001), ("q8_0", 0.01), ("q5_1", 0.006), ("q4_1", 0.006)):
        for known in DISTRIBUTED:
            fine = fine_steps(name, known)
            assert fine is not None and ratio_db(fine) == pytest.approx(error(name, known.name).snr_db, abs=allowed)
    fours, ternary = fine_steps("q4_0"), fine_steps("tq2_0")
    assert fours is not None and 0.08 < ratio_db(fours) - error("q4_0").snr_db < 0.15
    assert ternary is not None and error("tq2_0").snr_db - ratio_db(ternary) > 0.5
    assert fine_steps("mxfp4") is None and fine_steps("iq4_nl") is None and fine_steps("iq2_s") is None


def test_signs_have_a_closed_form() -> None:
    """1 − μ² − (1 − μ²)/n with μ² = 2/π for Gaussian weights and 1/2 for Laplacian ones."""
    for distribution, square in (("gaussian", 2 / math.pi), ("laplacian", 0.5)):
        assert error("q1_0", distribution).parts["rounding"] == pytest.approx((1 - square) * (1 - 1 / 128), rel=1e-9)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_a_larger_block_is_worse(distribution: str) -> None:
    """Its largest magnitude is larger, and so is the step. With few levels and few weights, that the extreme is exact
    hides it, so that blocks begin at 16."""
    for bits in (4, 8):
        ratios = [block_db(symmetric(bits, weights), distribution) for weights in (16, 32, 64, 128, 256)]
        assert ratios == sorted(ratios, reverse=True)


def test_heavy_tails() -> None:
    """The largest of a block grows with the tails, and with it the step of all. E2M1's levels are finer near zero, and
    a scale that follows a small block's extreme within 6 % lets nvfp4 gain where weights are mostly small."""
    for name in ("q8_k", "q8_0", "q5_0", "q4_0", "tq2_0"):
        ratios = [error(name, known.name).snr_db for known in DISTRIBUTED]
        assert ratios == sorted(ratios, reverse=True), name
    for name in ("q4_1", "q5_1", "q4_k", "q6_k", "iq4_nl", "mxfp4"):
        assert error(name).snr_db > error(name, "heavy-tailed").snr_db
    assert error("nvfp4", "heavy-tailed").snr_db > error("nvfp4").snr_db


@pytest.mark.parametrize("name", [*QUANTISERS, "f16", "bf16", "f32", "f64"])
def test_parts_add_up(name: str) -> None:
    for known in DISTRIBUTED:
        found = error(name, known.name)
        assert math.fsum(found.parts.values()) == pytest.approx(found.relative_rms**2, rel=1e-12)
        assert all(part >= 0 for key, part in found.parts.items() if key != "scale")
        assert found.snr_db == ratio_db(found.relative_rms)
    assert (error(name).parts.get("clipping", 0.0) > 0) == (
        name in ("q4_0", "q5_0", "mxfp4") or name in SEARCHED
    )  # only those whose levels can end before the weights do


def test_the_scale_s_rounding_is_fp16_s() -> None:
    """u²·0.18 of the energy of the codes, nearly that of the weights (formats.MEAN_SQUARE): within 30 %, as scales of
    Gaussian blocks spread over less than a binade; 2^-26 of it with an fp32 scale (q8_k)."""
    added = error("q8_0").parts["scale"]
    assert added == pytest.approx(2.0**-22 * 0.1803, rel=0.3)
    assert error("q8_k").parts["scale"] == pytest.approx(added * 2.0**-26, rel=0.5)


@pytest.mark.parametrize("name", ["q8_0", "q4_0", "q4_1", "iq4_nl", "q2_k", "mxfp4", "tq1_0", "f16", "bf16"])
def test_a_power_of_two_changes_nothing(name: str) -> None:
    """Until scales run out of fp16's normal range: 2^-5 of a weight's is far from there."""
    assert error(name, rms=2.0**-5).relative_rms == pytest.approx(error(name).relative_rms, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "rms"),
    [("q8_0", 1e-3), ("q8_0", 1e-4), ("q8_0", 1e-5), ("q4_0", 1e-6), ("q4_0", 1e-7), ("q4_1", 1e-5), ("q4_1", 1e-6),
     ("q5_1", 1e-6), ("q5_1", 1e-7), ("tq2_0", 1e-7), ("f16", 1e-4), ("f16", 1e-7), ("f16", 3e-8), ("mxfp4", 3e-7)],
)  # fmt: skip
def test_tiny_weights_and_scales_that_underflow(name: str, rms: float) -> None:
    """Where scales have few bits left or none, to 2 % beside the trial's own scatter."""
    derived, tried = error(name, rms=rms), weight_trial(name, GAUSSIAN, rms=rms)
    assert tried is not None
    assert derived.relative_rms == pytest.approx(tried.relative_rms, rel=0.02, abs=2 * (tried.high - tried.low))


def test_scales_of_e2m1_blocks_are_those_of_ggml() -> None:
    """By ggml_fp32_to_ue4m3: multiples of 2^-9 below 2^-6, halves up; what would be 256 or more is 448. mxfp4: a power
    of two of which the largest magnitude is 4 up to 8 times."""
    largest = np.array([0.49, 0.5, 1.5, 8.0, 1.0625 * 2**9, 247.9 * 2**9, 248.1 * 2**9, 1e9]) * 6 * 2.0**-9
    expected = np.array([0.0, 1.0, 2.0, 8.0, 1.125 * 2**9, 240.0 * 2**9, 448.0 * 2**9, 448.0 * 2**9]) * 2.0**-9
    assert np.array_equal(stored(largest, "ue4m3"), expected)
    assert np.array_equal(stored(np.array([4.0, 7.99, 8.0, 0.9]), "e8m0"), [1.0, 1.0, 2.0, 0.125])


def test_what_range_is_left_over() -> None:
    assert error("bf16", rms=1e-30).snr_db == pytest.approx(error("bf16", rms=1e-30 * 2**20).snr_db, abs=0.05)
    assert error("f16", rms=1e-9).relative_rms == pytest.approx(1)  # all become zero
    assert error("f16", rms=3e4).relative_rms == math.inf and error("f16", rms=3e4).snr_db == -math.inf
    assert error("nvfp4", rms=1e-4).relative_rms == pytest.approx(1)  # its scales end at 2^-9; files carry one more
    assert error("f64").snr_db == math.inf and error("f64").relative_rms == 0


def test_interleaved_types_are_those_they_reorder() -> None:
    assert weight_error("q4_0_4_8") == weight_error("q4_0") and weight_error("Q4_K") == weight_error("q4_k")


def test_what_cannot_be_derived_and_what_is_no_type() -> None:
    for name in ("iq1_s", "iq2_xxs", "iq3_s", "iq4_k", "int4"):
        assert weight_error(name, HEAVY_TAILED) is None
    with pytest.raises(SpecError, match="expected a ggml type such as q4_k"):
        weight_error("q4_7")
    for wrong in (0.0, -0.02, math.nan, math.inf, 1e-31, 1e31):
        with pytest.raises(SpecError, match="rms: expected a positive number from 1e-30 to 1e"):
            weight_error("q4_0", rms=wrong)


@pytest.mark.parametrize("name", ["q8_0", "q4_1", "q4_k", "q6_k", "iq4_nl", "q1_0", "tq1_0"])
def test_scales_that_overflow(name: str) -> None:
    """65504 is fp16's largest: weights of rms 1e9 have scales above it. mxfp4's powers of two reach as far as fp32."""
    assert error(name, rms=1e9).relative_rms == error(name, rms=1e9).parts["scale"] == math.inf
    assert error("mxfp4", rms=2.0**30).relative_rms == pytest.approx(error("mxfp4").relative_rms, rel=1e-6)
    tried = weight_trial("q8_0", rms=1e9, blocks=10)
    assert tried is not None and tried.relative_rms == math.inf and tried.snr_db == -math.inf
