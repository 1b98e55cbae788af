"""Medians, trimmed means and spreads, against values worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.engine.server.statistics import median, quantile, standard_deviation, summary, trimmed_mean
from roofline.spec import SpecError

SAMPLES = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=30)


def test_one_disturbed_repetition_moves_neither_median_nor_trimmed_mean() -> None:
    # Sorted 5, 98, 100, 101, 102; a fifth of five is one from each end: (98 + 100 + 101) / 3.
    found = summary([100.0, 5.0, 102.0, 98.0, 101.0])
    assert found.median == 100.0
    assert found.trimmed_mean == pytest.approx(299 / 3)
    assert (found.least, found.most) == (5.0, 102.0)


@pytest.mark.parametrize(
    ("samples", "share", "expected"),
    [
        ([1.0, 2.0, 3.0, 100.0], 0.2, 26.5),  # floor(0.8) = 0 left out: the plain mean
        ([1.0, 2.0, 3.0, 4.0, 100.0], 0.2, 3.0),
        ([float(x) for x in range(10)] + [1000.0] * 5, 0.2, (3 + 4 + 5 + 6 + 7 + 8 + 9 + 2000) / 9),  # 3 of 15
        ([7.0], 0.4, 7.0),
        ([1.0, 2.0, 6.0], 0.0, 3.0),
    ],
)
def test_trimmed_mean(samples: list[float], share: float, expected: float) -> None:
    assert trimmed_mean(samples, share) == pytest.approx(expected)


def test_standard_deviation_is_of_a_sample() -> None:
    # Mean 5, squares 9 + 1 + 1 + 1 + 0 + 0 + 4 + 16 = 32, over 7.
    assert standard_deviation([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]) == pytest.approx(math.sqrt(32 / 7))
    assert summary([3.0]).standard_deviation is None


def test_quantiles_are_linear_between_neighbours() -> None:
    # Four samples stand at shares 0, 1/3, 2/3 and 1; 0.9 is 0.7 of the way from the third to the fourth.
    assert quantile([40.0, 10.0, 20.0, 30.0], 0.9) == pytest.approx(37.0)
    assert median([4.0, 1.0, 3.0, 2.0]) == pytest.approx(2.5)


@given(SAMPLES, st.floats(0, 1))
def test_every_summary_lies_within_the_samples(samples: list[float], share: float) -> None:
    least, most = min(samples), max(samples)
    for value in (quantile(samples, share), trimmed_mean(samples), median(samples)):
        assert least * (1 - 1e-12) <= value <= most * (1 + 1e-12)


@given(SAMPLES, st.floats(0.1, 10))
def test_summaries_scale_with_the_unit(samples: list[float], factor: float) -> None:
    plain, scaled = summary(samples), summary([factor * sample for sample in samples])
    assert scaled.median == pytest.approx(factor * plain.median)
    assert scaled.trimmed_mean == pytest.approx(factor * plain.trimmed_mean)
    if plain.standard_deviation is not None and scaled.standard_deviation is not None:
        assert scaled.standard_deviation == pytest.approx(factor * plain.standard_deviation, abs=1e-6)


@pytest.mark.parametrize("samples", [[], [math.nan], [1.0, math.inf]])
def test_nothing_and_no_numbers_are_refused(samples: list[float]) -> None:
    with pytest.raises(SpecError, match="samples: expected"):
        summary(samples)


def test_bad_shares_are_refused() -> None:
    with pytest.raises(SpecError, match=r"0 to below 0\.5, found 0\.5"):
        trimmed_mean([1.0], 0.5)
    with pytest.raises(SpecError, match=r"from 0 to 1, found 1\.5"):
        quantile([1.0], 1.5)
    with pytest.raises(SpecError, match="at least 2 samples, found 1"):
        standard_deviation([1.0])
