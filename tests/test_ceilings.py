"""The roofline itself: where the ceilings meet, and how two times become one."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.ceilings import Ceilings, issue_rate, memory_share, overlap

POSITIVE = st.floats(min_value=1e-9, max_value=1e9)
SHARPNESS = st.one_of(st.floats(min_value=1, max_value=8), st.just(math.inf))


def test_a_published_machine() -> None:
    # Williams, Waterman & Patterson 2009, figure 1a: the Opteron X2 does 17.6 GFLOP/s in double precision and streams
    # 15 GB/s by hardware prefetch, so that the ridge point is at 17.6 / 15 = 1.17 FLOP/B.
    opteron = Ceilings(17.6e9, 15e9)
    assert opteron.ridge_point == pytest.approx(1.173, abs=5e-4)
    assert opteron.attainable(0.5) == pytest.approx(7.5e9)  # 0.5 FLOP/B × 15 GB/s
    assert opteron.attainable(4.0) == pytest.approx(17.6e9)
    assert opteron.compute_time(35.2e9) == pytest.approx(2.0)
    assert opteron.memory_time(30e9) == pytest.approx(2.0)
    assert opteron.time(35.2e9, 30e9) == pytest.approx(2.0)
    assert opteron.time(35.2e9, 30e9, sharpness=1.0) == pytest.approx(4.0)


@given(POSITIVE, POSITIVE, POSITIVE)
def test_the_ridge_point_divides_memory_from_compute(peak: float, bandwidth: float, intensity: float) -> None:
    ceilings = Ceilings(peak, bandwidth)
    if intensity < ceilings.ridge_point:
        assert ceilings.attainable(intensity) == pytest.approx(bandwidth * intensity)
    else:
        assert ceilings.attainable(intensity) == peak
    assert ceilings.attainable(ceilings.ridge_point) == pytest.approx(peak)


@given(POSITIVE, POSITIVE, POSITIVE, POSITIVE)
def test_attainable_is_flops_over_time(peak: float, bandwidth: float, flops: float, size: float) -> None:
    ceilings = Ceilings(peak, bandwidth)
    assert flops / ceilings.time(flops, size) == pytest.approx(ceilings.attainable(flops / size))


@given(POSITIVE, POSITIVE, SHARPNESS)
def test_overlap_lies_between_the_maximum_and_the_sum(compute: float, memory: float, sharpness: float) -> None:
    time = overlap(compute, memory, sharpness)
    assert max(compute, memory) * (1 - 1e-12) <= time <= (compute + memory) * (1 + 1e-12)
    assert time == overlap(memory, compute, sharpness)


@given(POSITIVE, POSITIVE, SHARPNESS, st.floats(min_value=1, max_value=10))
def test_overlap_grows_with_each_part_and_scales_with_both(
    compute: float, memory: float, sharpness: float, factor: float
) -> None:
    time = overlap(compute, memory, sharpness)
    assert overlap(compute * factor, memory, sharpness) >= time * (1 - 1e-12)
    assert overlap(compute * factor, memory * factor, sharpness) == pytest.approx(factor * time)


@given(POSITIVE, POSITIVE, st.floats(min_value=1, max_value=8), st.floats(min_value=1, max_value=4))
def test_a_sharper_corner_is_never_slower(compute: float, memory: float, sharpness: float, more: float) -> None:
    assert overlap(compute, memory, sharpness * more) <= overlap(compute, memory, sharpness) * (1 + 1e-12)
    assert overlap(compute, memory, math.inf) <= overlap(compute, memory, sharpness) * (1 + 1e-12)


def test_overlap_of_3_and_4() -> None:
    # p = 2 is the hypotenuse: √(3² + 4²) = 5.
    assert overlap(3.0, 4.0, 2.0) == pytest.approx(5.0)
    assert overlap(3.0, 4.0, 1.0) == 7.0
    assert overlap(3.0, 4.0, math.inf) == 4.0
    assert memory_share(3.0, 4.0, 2.0) == pytest.approx(16 / 25)
    assert memory_share(3.0, 4.0, 1.0) == pytest.approx(4 / 7)
    assert memory_share(3.0, 4.0, math.inf) == 1.0
    assert memory_share(4.0, 3.0, math.inf) == 0.0


@pytest.mark.parametrize("sharpness", [1.0, 2.0, math.inf])
def test_an_operator_that_does_nothing_takes_no_time(sharpness: float) -> None:
    assert overlap(0.0, 0.0, sharpness) == 0.0
    assert 0.0 <= memory_share(0.0, 0.0, sharpness) <= 1.0
    assert overlap(0.0, 2.0, sharpness) == 2.0
    assert memory_share(0.0, 2.0, sharpness) == 1.0
    assert memory_share(2.0, 0.0, sharpness) == 0.0


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=5), SHARPNESS)
def test_arrays_are_their_elements(pairs: list[tuple[float, float]], sharpness: float) -> None:
    compute, memory = np.array(pairs).T
    times, shares = overlap(compute, memory, sharpness), memory_share(compute, memory, sharpness)
    assert np.allclose(times, np.array([overlap(c, m, sharpness) for c, m in pairs]), rtol=1e-12)
    assert np.allclose(shares, np.array([memory_share(c, m, sharpness) for c, m in pairs]), rtol=1e-12)


@given(POSITIVE, POSITIVE)
def test_a_cpu_kernel_nears_the_peak_and_never_reaches_it(own: float, peak: float) -> None:
    rate = issue_rate(own, peak)
    assert 0 < rate <= min(own, peak) * (1 + 1e-12)
    assert rate >= min(own, peak) / 2**0.5 * (1 - 1e-12)


def test_far_below_the_peak_a_cpu_kernel_runs_at_its_own_rate() -> None:
    assert issue_rate(1.0, 100.0) == pytest.approx(1.0, rel=1e-4)
    assert issue_rate(30.0, 40.0) == pytest.approx(24.0)  # 1/√(1/30² + 1/40²)
    assert issue_rate(5.0, math.inf) == 5.0
