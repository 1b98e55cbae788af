"""bf16 against fp16."""

import math

import numpy as np
import pytest

from roofline.precision.distributions import DISTRIBUTIONS, GAUSSIAN, LAPLACIAN
from roofline.precision.floats import float_comparison, held_in
from roofline.precision.formats import FORMATS
from roofline.spec import SpecError

FP16, BF16 = FORMATS["fp16"], FORMATS["bf16"]


def test_the_two_formats() -> None:
    half, brain = float_comparison(0.02).rows
    assert (half.name, half.largest, half.smallest_normal, half.smallest) == ("fp16", 65504, 2**-14, 2**-24)
    assert brain.largest / half.largest > 1e33 and half.unit_roundoff * 8 == brain.unit_roundoff == 2**-8
    assert brain.shared == pytest.approx(0.1333, abs=5e-5)  # "only 13 %", justine.lol/matmul
    assert half.snr_db - brain.snr_db == pytest.approx(60 * math.log10(2), abs=1e-3)  # three bits


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("rms", [0.02, 1e-3, 1e-4, 1e-6])
def test_what_fp16_has_of_weights_in_bf16(distribution: str, rms: float) -> None:
    """Against drawn weights: the share to four standard errors, what the others lose to a few per cent."""
    known = DISTRIBUTIONS[distribution]
    share, lost = held_in(BF16, FP16, rms, known)
    drawn = BF16.round(known.sample(np.random.default_rng(1), (400_000,)) * rms)
    exact = FP16.holds(drawn)
    assert np.mean(exact) == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / len(drawn)))
    assert lost == pytest.approx(np.sqrt(np.mean((FP16.round(drawn) - drawn) ** 2) / np.mean(drawn**2)), rel=0.2)


def test_the_share_that_an_article_counted_means_small_weights() -> None:
    """99.71 % of the numbers of Mistral 7B are in fp16, too (justine.lol/matmul). What is not is below 2^-17, with a
    probability that is proportional to the density at zero over the rms: so that the rms would be a few thousandths,
    if weights look like one of these."""
    for known, low, high in ((GAUSSIAN, 0.0012, 0.0016), (LAPLACIAN, 0.0022, 0.0028)):
        assert held_in(BF16, FP16, low, known)[0] < 0.9971 < held_in(BF16, FP16, high, known)[0]
    missing = [1 - held_in(BF16, FP16, rms)[0] for rms in (0.02, 0.002)]
    assert missing[1] == pytest.approx(10 * missing[0], rel=0.01)


def test_what_fp16_lacks_is_below_its_spacing() -> None:
    """Numbers under 2^-17 keep 2^-25 of error at most, so that little is lost although many numbers are."""
    comparison = float_comparison(0.02)
    assert comparison.exact_share > 0.999 and comparison.lost_snr_db > 150
    assert comparison.lost_rms < 2**-25 / 0.02
    assert held_in(FP16, FP16, 0.02)[0] == pytest.approx(1, abs=1e-12)
    share, lost = held_in(BF16, FP16, 1e5)
    assert share < 0.6 and lost == math.inf  # 65504 is less than one standard deviation


def test_a_wrong_rms() -> None:
    with pytest.raises(SpecError, match="rms: expected a positive number"):
        float_comparison(0.0)
