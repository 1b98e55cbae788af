"""Formats and distributions that errors are worked out with."""

import math

import numpy as np
import pytest

from roofline.precision.distributions import DISTRIBUTIONS, distribution
from roofline.precision.formats import FORMATS, MEAN_SQUARE, float_format, share_representable
from roofline.spec import SpecError

FP16, BF16, FP32 = FORMATS["fp16"], FORMATS["bf16"], FORMATS["fp32"]


def test_limits_are_those_of_ieee_754() -> None:
    for known, info in ((FP16, np.finfo(np.float16)), (FP32, np.finfo(np.float32))):
        assert known.largest == float(info.max)
        assert (known.smallest_normal, known.smallest) == (float(info.tiny), float(info.smallest_subnormal))
    assert BF16.largest == FP32.largest - math.ldexp(2.0**16 - 1, 127 - 23)  # the upper half of a float32's bits


@pytest.mark.parametrize(("name", "dtype"), [("fp16", np.float16), ("fp32", np.float32)])
def test_rounding_is_the_hardware_s(name: str, dtype: type) -> None:
    random = np.random.default_rng(0)
    values = np.ldexp(random.standard_normal(20_000), random.integers(-160, 140, 20_000))
    edges = [0.0, -0.0, 65504.0, 65519.99, 65520.0, 2.0**-25, 1.5 * 2.0**-24, math.inf, -math.inf]
    with np.errstate(over="ignore"):
        for given in (values, np.array(edges)):
            assert np.array_equal(FORMATS[name].round(given), given.astype(dtype).astype(float))


def test_bf16_is_the_upper_half_of_a_float32() -> None:
    listed = BF16.finite_values()
    assert len(listed) == 255 * 128 and np.all(np.diff(listed) > 0)
    assert np.array_equal(listed.astype(np.float32).view(np.uint32), np.arange(255 * 128, dtype=np.uint32) << 16)
    assert len(FP16.finite_values()) == 31 * 1024


def test_what_fp16_has_of_bf16() -> None:
    """All 128 numbers of the 30 exponents that are normal in fp16; below, its spacing is 2^-24, which bf16's 2^(e-7)
    keeps to for e = -15, -16, -17, and half, a quarter … of the numbers down to the one of e = -24; and zero."""
    normal, below = 30 * 128, 3 * 128 + 64 + 32 + 16 + 8 + 4 + 2 + 1
    assert share_representable(BF16, FP16) == (normal + below + 1) / (255 * 128)
    assert share_representable(FP16, BF16) < share_representable(BF16, FP32) == 1.0


def test_the_mean_square_of_a_rounding_error() -> None:
    random = np.random.default_rng(1)
    values = np.exp2(random.uniform(0, 8, 400_000))  # log-uniform: Benford's law exactly
    relative = (FP16.round(values) - values) / values
    assert np.mean(relative**2) / FP16.unit_roundoff**2 == pytest.approx(MEAN_SQUARE, rel=0.01)
    assert np.abs(relative).max() <= FP16.unit_roundoff


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_distribution_has_variance_one_and_agrees_with_itself(name: str) -> None:
    found = DISTRIBUTIONS[name]
    x = np.linspace(-400, 400, 4_000_001)
    density, step = found.density(x), x[1] - x[0]
    assert np.sum(density) * step == pytest.approx(1, abs=1e-6)
    assert np.sum(density * x**2) * step == pytest.approx(1, abs=1e-4)
    near = np.abs(x) <= 1.7
    assert np.sum(density[near]) * step == pytest.approx(float(found.inside(np.array(1.7))), abs=1e-3)
    s = np.linspace(0, 14, 200_001)  # as far as x = 600,000, where t's fourth moment has 1e-5 left
    x = np.sinh(s)
    assert 2 * np.sum(found.density(x) * x**4 * np.cosh(s)) * s[1] == pytest.approx(found.kurtosis, rel=1e-4)
    drawn = found.sample(np.random.default_rng(2), (1000, 1000))
    assert np.var(drawn) == pytest.approx(1, abs=0.01)
    assert np.mean(np.abs(drawn) <= 1.7) == pytest.approx(float(found.inside(np.array(1.7))), abs=0.002)


def test_an_unknown_name_gets_those_there_are() -> None:
    with pytest.raises(SpecError, match="fp32, fp16, bf16, found 'fp12'"):
        float_format("fp12")
    with pytest.raises(SpecError, match="gaussian, laplacian, heavy-tailed"):
        distribution("cauchy")
