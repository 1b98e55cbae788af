"""Dot products of weights and activations in their types: parts that add, trials, and whether q8_0 beats f16."""

import math

import numpy as np
import pytest

from roofline.precision.distributions import GAUSSIAN, HEAVY_TAILED
from roofline.precision.dot import (
    ACTIVATIONS,
    LONGEST,
    DotError,
    Setting,
    activation_distribution,
    activation_type,
    block_terms,
    crossover_k,
    dot_error,
    exact_terms,
    overflow_rms,
    row_step,
    with_outliers,
)
from roofline.precision.dot_trial import MOST_TERMS, Sum, _q8_k, dot_trials
from roofline.precision.formats import FORMATS, MEAN_SQUARE
from roofline.precision.summation import KAHAN, PAIRWISE, PLAIN, Order
from roofline.precision.weights import weight_error
from roofline.quantization import LAYOUTS
from roofline.spec import SpecError

FP16, FP32 = FORMATS["fp16"], FORMATS["fp32"]
LANES8, LANES32 = Order("lanes", 8), Order("lanes", 32)


def of(name: str, form: str = "fp32", order: Order = PLAIN, k: int = 4096, setting: Setting | None = None) -> DotError:
    return dot_error({name: 1}, FORMATS[form], order, k, setting or Setting())


# -- exactness ----------------------------------------------------------------------------------------------------


def test_integer_sums_of_a_block_lose_nothing() -> None:
    """32 · 127² needs 19 bits and 8 products of a lane fewer; fp32 has 24. Two fp16 scales make 22."""
    worst = 32 * 127 * 127
    assert worst == 516_128 < 2**24 and int(np.float32(worst)) == worst
    random = np.random.default_rng(0)
    codes = random.integers(-127, 128, (2, 1000, 32)).astype(np.int8)
    exact = np.sum(codes[0].astype(np.int64) * codes[1].astype(np.int64), axis=1)
    narrow = np.sum(codes[0].astype(np.int32) * codes[1].astype(np.int32), axis=1, dtype=np.int32)
    assert np.array_equal(narrow, exact) and np.array_equal(narrow.astype(np.float32).astype(np.int64), exact)
    scales = random.standard_normal((2, 1000)).astype(np.float16)
    product = scales[0].astype(np.float32) * scales[1].astype(np.float32)
    assert np.array_equal(product.astype(np.float64), scales[0].astype(np.float64) * scales[1].astype(np.float64))


def test_products_of_halves_are_exact_in_fp32_and_fused_in_fp16() -> None:
    assert exact_terms("f16", FP32, PAIRWISE) and exact_terms("bf16", FP32, PAIRWISE)
    assert exact_terms("f16", FP16, LANES8) and not exact_terms("f16", FP16, PAIRWISE)
    assert not exact_terms("q8_0", FP32, PLAIN)  # 41 bits
    a = FP16.finite_values()[::97]
    assert np.array_equal(FP32.round(np.outer(a, a)), np.outer(a, a))


def test_types_of_activations_are_those_of_llama_cpp() -> None:
    expected = {
        "q4_0": "q8_0", "q5_0": "q8_0", "q8_0": "q8_0", "mxfp4": "q8_0", "iq4_nl": "q8_0", "nvfp4": "q8_0",
        "q4_1": "q8_1", "q5_1": "q8_1", "q4_k": "q8_k", "q6_k": "q8_k", "iq4_xs": "q8_k", "iq2_xxs": "q8_k",
        "tq2_0": "q8_k", "f16": "f16", "bf16": "bf16", "f32": "f32",
    }  # fmt: skip
    assert {name: activation_type(name) for name in expected} == expected
    assert (block_terms("q4_0"), block_terms("q4_k"), block_terms("f16")) == (32, 256, 1)
    assert (row_step("q4_0"), row_step("q4_k"), row_step("f16"), row_step("q1_0")) == (32, 256, 1, 128)
    for name in ("q8_1", "q8_k", "int8"):
        with pytest.raises(SpecError, match="no kernel"):
            activation_type(name)
    assert all(activation_type(name) for name in LAYOUTS if name.startswith("iq") and "_r" not in name)


# -- parts --------------------------------------------------------------------------------------------------------


def test_parts_add_and_each_is_what_it_is_alone() -> None:
    found = of("q8_0", "fp16", PAIRWISE)
    q8_0 = weight_error("q8_0", GAUSSIAN, rms=0.02)
    assert q8_0 is not None
    assert float(found.parts["weights"]) == pytest.approx(q8_0.relative_rms**2)
    assert float(found.relative_rms) ** 2 == pytest.approx(sum(float(part) for part in found.parts.values()))
    assert float(found.sum_rms) ** 2 == pytest.approx(float(found.parts["products"] + found.parts["additions"]))
    halves = of("f16")
    both = 2 * MEAN_SQUARE * FP16.unit_roundoff**2  # weights and activations rounded to 11 bits
    assert float(halves.relative_rms) ** 2 == pytest.approx(both, rel=0.02)
    assert of("f32").relative_rms < 1e-5 < halves.relative_rms


def test_a_mix_is_the_mean_of_its_squares_and_k_may_be_an_array() -> None:
    mix = {"q4_k": 3.0, "q6_k": 1.0}
    lengths = np.array([256, 4096, 65536])
    found = dot_error(mix, FP16, PLAIN, lengths).relative_rms ** 2
    alone = [dot_error({name: 1}, FP16, PLAIN, lengths).relative_rms ** 2 for name in mix]
    assert found == pytest.approx(0.75 * alone[0] + 0.25 * alone[1])
    assert found == pytest.approx([float(dot_error(mix, FP16, PLAIN, k).relative_rms ** 2) for k in lengths.tolist()])


def test_more_bits_and_better_sums_err_less() -> None:
    bits = ["q4_0", "q5_0", "q8_0", "f16", "f32"]
    for order in (PLAIN, KAHAN):
        errors = [float(of(name, order=order).relative_rms) for name in bits]
        assert errors == sorted(errors, reverse=True)
    by_sum = [float(of("f16", "fp16", order).relative_rms) for order in (PLAIN, LANES8, LANES32, PAIRWISE, KAHAN)]
    assert by_sum == sorted(by_sum, reverse=True)
    assert all(of(name, "fp32").relative_rms <= of(name, "fp16").relative_rms for name in bits)


def test_outliers_keep_the_variance_and_coarsen_the_blocks_of_eight_bits() -> None:
    found = ACTIVATIONS["outliers"]
    drawn = found.sample(np.random.default_rng(1), (2000, 2000))
    assert np.var(drawn) == pytest.approx(1, abs=0.08)  # four times √(kurtosis / n)
    assert found.kurtosis == pytest.approx(float(np.mean(drawn**4)), rel=0.3) and found.kurtosis > 100
    near = float(np.mean(np.abs(drawn) <= 0.6))
    assert near == pytest.approx(float(found.inside(np.array(0.6))), abs=0.001)
    same = with_outliers(GAUSSIAN, 0.0, 50.0)
    assert same.density(np.array(0.7)) == pytest.approx(GAUSSIAN.density(np.array(0.7)))
    outliers = Setting(activations=found)
    assert of("q8_0", setting=outliers).parts["activations"] > 4 * of("q8_0").parts["activations"]
    assert float(of("f16", "fp16", setting=outliers).snr_db) == pytest.approx(float(of("f16", "fp16").snr_db), abs=0.1)
    with pytest.raises(SpecError, match="heavy-tailed, outliers, found 'peaks'"):
        activation_distribution("peaks")


# -- trials -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [256, 2048])
@pytest.mark.parametrize("setting", [Setting(), Setting(weights=HEAVY_TAILED, activations=ACTIVATIONS["laplacian"])])
def test_derived_errors_are_what_trials_see(k: int, setting: Setting) -> None:
    """Within four standard errors, 0.26 dB each: 4 · 4.343 / √(2 · 600) · √2."""
    names = ("f32", "f16", "bf16", "q8_0", "q4_0", "q5_1")
    sums = [
        Sum(((name, 1.0),), form, order)
        for name in names
        for form in (FP16, FP32)
        for order in (PLAIN, PAIRWISE, KAHAN, LANES8, LANES32, Order("blocked", 32))
    ]
    for one, seen in zip(sums, dot_trials(sums, k, setting, trials=600, seed=3), strict=True):
        derived = float(dot_error(dict(one.types), one.form, one.order, k, setting).snr_db)
        assert -20 * math.log10(seen.relative_rms) == pytest.approx(derived, abs=1.1), one


def test_types_that_cannot_be_written_are_tried_with_noise() -> None:
    one = Sum((("q4_k", 4.0), ("q6_k", 1.0)), FP32, PLAIN)
    (seen,) = dot_trials([one], 1024, trials=400)
    assert seen.low < float(dot_error(dict(one.types), FP32, PLAIN, 1024).relative_rms) < seen.high * 1.1


def test_trials_are_the_same_for_a_seed_and_shared_by_all_sums() -> None:
    one = Sum((("q8_0", 1.0),), FP32, PLAIN)
    other = Sum((("f16", 1.0),), FP16, PLAIN)
    assert dot_trials([one], 256, trials=20) == dot_trials([other, one], 256, trials=20)[1:]
    assert dot_trials([one], 256, trials=20, seed=1) != dot_trials([one], 256, trials=20)
    many = dot_trials([one], 65536, trials=70)  # more than memory takes at once
    assert many[0].trials == 70


def test_activations_of_k_quants_have_codes_up_to_127() -> None:
    """quantize_row_q8_K_ref: the scale is the largest magnitude by −127, so that all are multiples of a 127th of it."""
    values = np.random.default_rng(4).standard_normal((50, 512))
    found = _q8_k(values).reshape(-1, 256)
    step = np.abs(values.reshape(-1, 256)).max(axis=1, keepdims=True) / 127
    assert np.allclose(found / step, np.rint(found / step), rtol=0, atol=1e-4) and np.abs(found / step).max() < 127.001
    assert np.abs(found - values.reshape(-1, 256)).max() <= 0.501 * step.max()
    assert not _q8_k(np.zeros((1, 256))).any()


def test_wrong_trials_are_refused() -> None:
    one = Sum((("q4_k", 1.0),), FP32, PLAIN)
    for k, trials, said in [
        (256, 1, "at least 2"),
        (256, MOST_TERMS, "at most"),
        (100, 5, "a multiple of 256 for q4_k"),
    ]:
        with pytest.raises(SpecError, match=said):
            dot_trials([one], k, trials=trials)


# -- does q8_0 beat f16 -------------------------------------------------------------------------------------------


def test_the_crossing_is_where_the_two_errors_meet() -> None:
    """By hand: 0.1803 · 2^-22 · (n + 1)/2 = 2 · 10^-4.544 − 2 · 0.1803 · 2^-22, the error of q8_0 without its sum; so
    n = 2 · 2 · 2.860e-5 / 4.299e-8 = 2660 terms in a chain."""
    found = crossover_k(PLAIN)
    assert found is not None and found == pytest.approx(2660, abs=256)
    assert crossover_k(LANES8) == pytest.approx(8 * 2660, rel=0.02)
    assert crossover_k(LANES32) == pytest.approx(32 * 2660, rel=0.02)
    for order in (PLAIN, LANES8):
        k = crossover_k(order)
        assert k is not None
        q8_0, below = of("q8_0", k=k), of("q8_0", k=k - 256)
        assert of("f16", "fp16", order, k).relative_rms > q8_0.relative_rms
        assert of("f16", "fp16", order, k - 256).relative_rms <= below.relative_rms


def test_good_sums_are_never_crossed() -> None:
    assert crossover_k(PLAIN, FP32) is crossover_k(PAIRWISE) is crossover_k(KAHAN) is None
    assert of("f16", k=LONGEST).relative_rms < of("q8_0", k=LONGEST).relative_rms
    # q4_0 is worse by 21 dB: 130 times as long
    assert crossover_k(PLAIN, against="q4_0") > 100 * (crossover_k(PLAIN) or 0)  # type: ignore[operator]
    assert crossover_k(LANES8, against="q4_0", longest=1 << 20) is None


def test_weights_that_are_q8_0_numbers_move_the_crossing_to_half() -> None:
    """No rounding of weights: 2.860e-5 is left of q8_0, n = 2 · 2.860e-5 / 4.299e-8 = 1330 terms in a chain."""

    def worse(k: int) -> bool:
        f16, q8_0 = of("f16", "fp16", LANES8, k).parts, of("q8_0", k=k).parts
        return bool(f16["activations"] + f16["additions"] > q8_0["activations"] + q8_0["additions"])

    assert not worse(8 * 1310) and worse(8 * 1350)


def test_trials_agree_on_both_sides_of_the_crossing() -> None:
    sums = [Sum((("f16", 1.0),), FP16, PLAIN), Sum((("q8_0", 1.0),), FP32, PLAIN)]
    f16, q8_0 = dot_trials(sums, 1024, trials=400)
    assert f16.high < q8_0.low
    f16, q8_0 = dot_trials(sums, 8192, trials=250)
    assert f16.low > q8_0.high


def test_coarser_activations_move_the_crossing_up() -> None:
    plain = [crossover_k(PLAIN, setting=Setting(activations=ACTIVATIONS[name])) for name in ("gaussian", "outliers")]
    assert plain[0] is not None and plain[1] is not None and plain[1] > 2 * plain[0]


def test_overflow_scales_with_the_weights_and_the_root_of_the_length() -> None:
    most = overflow_rms(FP16, 4096)
    assert most == pytest.approx(65504 / (4 * 64 * 0.02))
    assert overflow_rms(FP16, 4 * 4096, Setting(weight_rms=0.01)) == pytest.approx(most)
    assert overflow_rms(FP16, 8 * 4096, order=LANES32) == pytest.approx(most)  # chains of an eighth, then fp32
    louder = Setting(activation_rms=2 * most)  # lanes of an eighth of the terms take √8 times as much
    assert math.isfinite(float(of("q8_0", "fp16", LANES8, setting=louder).relative_rms))
    for rms, finite in ((0.99 * most, True), (1.01 * most, False)):
        found = of("q8_0", "fp16", setting=Setting(activation_rms=rms))
        assert math.isfinite(float(found.relative_rms)) == finite and (finite or found.main == "additions")
