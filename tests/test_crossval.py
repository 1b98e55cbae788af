"""Leaving devices out, the figures of a group, and the band that comes of it."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.calibrate.crossval import (
    BAND,
    NEW_DEVICE,
    band_factor,
    leave_one_device_out,
    nested_coverage,
    score,
)
from roofline.calibrate.design import Floats
from roofline.calibrate.fit import Problem, fit
from tests.problems import drawn, measured_at, problem_of, remeasured, rows_of


def left_out_speeds(problem: Problem) -> Floats:
    """What each case is predicted to reach by the fit without its device [tok/s]."""
    residuals = leave_one_device_out(problem, fit(problem))
    result: Floats = np.exp(residuals) * problem.design.measured
    return result


# -- leaving out ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["metal", "vulkan"])
def test_a_device_has_no_part_in_its_own_prediction(backend: str) -> None:
    """All its speeds doubled: its own predictions stay (to 0.5 %, what a few iterations leave of the beginning)."""
    rows = rows_of(backend)
    problem = problem_of(rows)
    before = left_out_speeds(problem)
    for device in sorted(set(problem.devices)):
        mine = np.array(problem.devices) == device
        doubled = remeasured(rows, lambda row: row.case.measured * (2.0 if row.case.device == device else 1.0))  # noqa: B023
        after = left_out_speeds(problem_of(doubled))
        assert np.abs(np.log(after / before))[mine].max() < 0.005, device
        assert np.abs(np.log(after / before))[~mine].max() > 0.005, "the others do learn from it"


def test_a_device_is_predicted_by_the_fit_of_the_others() -> None:
    rows = rows_of("metal")
    problem = problem_of(rows)
    predicted = left_out_speeds(problem)
    for device in sorted(set(problem.devices)):
        mine = np.array(problem.devices) == device
        others = fit(problem_of([row for row in rows if row.case.device != device]), iterations=40)
        names = problem_of([row for row in rows if row.case.device != device]).design.table.origins
        logs = problem.design.table.logs.copy()  # what only this device depends on stays at its prior
        for place, origin in enumerate(problem.design.table.origins):
            if origin in names:
                logs[place] = others.logs[names.index(origin)]
        assert predicted[mine] == pytest.approx(problem.design.speeds(logs)[mine], rel=0.01), device


def test_a_single_device_is_predicted_by_the_priors() -> None:
    rows = [row for row in rows_of("metal") if row.case.device == rows_of("metal")[0].case.device]
    problem = problem_of(remeasured(rows, lambda row: 3 * row.case.measured))
    assert left_out_speeds(problem) == pytest.approx(problem.design.speeds(problem.design.table.logs))


def test_leaving_out_costs_accuracy() -> None:
    """Residuals of left-out devices are larger than those of the fit that has seen them, on the whole."""
    problem = problem_of(rows_of("cuda"))
    full = fit(problem)
    seen = np.abs(np.log(problem.design.speeds(full.logs) / problem.design.measured))
    unseen = np.abs(leave_one_device_out(problem, full))
    assert np.mean(unseen) > np.mean(seen)


def test_devices_that_agree_predict_each_other() -> None:
    """Speeds of one set of constants, without noise: left out, a device is predicted better than by the priors."""
    rows = rows_of("cuda")
    world = problem_of(measured_at(rows, drawn(problem_of(rows), seed=4)))
    prior = np.abs(np.log(world.design.speeds(world.design.table.logs) / world.design.measured))
    assert np.median(np.abs(leave_one_device_out(world, fit(world)))) < 0.6 * np.median(prior)


# -- the band ---------------------------------------------------------------------------------------------------------


def test_the_band_of_seven_devices_by_hand() -> None:
    # |ln| of 0.1, 0.2 … 0.7, one row each. Level 0.8 · 8/7 = 0.914: six of seven are 0.857, the seventh is the first to
    # reach it, so the half-width is 0.7 · NEW_DEVICE. Without room for one more device it would be the sixth's.
    residuals = np.array([0.1, -0.2, 0.3, -0.4, 0.5, -0.6, 0.7])
    assert np.log(band_factor(residuals, list("abcdefg"))) == pytest.approx(0.7 * NEW_DEVICE)


def test_every_device_weighs_the_same_in_the_band() -> None:
    # a has 96 rows at 0.1; b, c, d and e one each at 0.5. By rows, 96 % lie within 0.1; by devices, a fifth.
    residuals = np.array([0.1] * 96 + [0.5] * 4)
    assert np.log(band_factor(residuals, ["a"] * 96 + list("bcde"))) == pytest.approx(0.5 * NEW_DEVICE)


_TABLES = st.lists(st.tuples(st.floats(-2, 2), st.sampled_from("abcdefgh")), min_size=1, max_size=40)


@given(_TABLES)
def test_a_band_is_at_least_one_and_holds_its_share(rows: list[tuple[float, str]]) -> None:
    residuals, devices = np.array([row[0] for row in rows]), [row[1] for row in rows]
    factor = band_factor(residuals, devices)
    assert factor >= 1
    inside = np.abs(residuals) <= np.log(factor) + 1e-12
    shares = [np.mean(inside[np.array(devices) == name]) for name in sorted(set(devices))]
    assert np.mean(shares) >= BAND - 1e-9, "of the rows it was made from, every device weighing the same"


@given(_TABLES, st.floats(1, 3), st.integers(0, 5))
def test_a_band_grows_with_the_residuals(rows: list[tuple[float, str]], times: float, seed: int) -> None:
    residuals, devices = np.array([row[0] for row in rows]), [row[1] for row in rows]
    factor = band_factor(residuals, devices)
    assert band_factor(residuals * times, devices) == pytest.approx(factor**times)
    larger = residuals + np.sign(residuals) * np.random.default_rng(seed).random(len(residuals))
    assert band_factor(larger, devices) >= factor * (1 - 1e-12)
    order = np.random.default_rng(seed).permutation(len(residuals))
    assert band_factor(residuals[order], [devices[at] for at in order]) == pytest.approx(factor)
    assert band_factor(-residuals, devices) == pytest.approx(factor), "too fast counts as too slow"


def test_coverage_of_simulated_devices() -> None:
    """30 devices with effects of their own: their left-out bands hold what the rule promises.

    For normal effects of 0.2 and rows of ±0.05 the half-width is the quantile at 0.8 · 31/30 = 0.827, z = 1.36, times
    NEW_DEVICE; within it lie 2Φ(1.36 · 1.25) − 1 = 91 % (with NEW_DEVICE = 1: 83 %).
    """
    z = NormalDist().inv_cdf(0.5 + BAND * 31 / 30 / 2)
    promised = 2 * NormalDist().cdf(z * NEW_DEVICE) - 1
    shares = []
    for seed in range(20):
        draw = np.random.default_rng(seed)
        effects = np.repeat(draw.normal(0, 0.2, 30), 4)
        residuals = effects + draw.normal(0, 0.05, 120)
        share = nested_coverage(residuals, [str(at // 4) for at in range(120)])
        assert share is not None
        shares.append(share)
    assert np.mean(shares) == pytest.approx(promised, abs=0.04)
    assert 0.75 <= np.mean(shares) <= 0.95
    assert min(shares) > 0.6


def test_coverage_leaves_the_device_out() -> None:
    # Nine devices at 0.1 and one at 5: the band of the nine does not hold the tenth, the others are held.
    assert nested_coverage(np.array([0.1] * 9 + [5.0]), list("abcdefghij")) == pytest.approx(0.9)
    # Of three, the band of the first two (0.1 · NEW_DEVICE) misses the third, the other two are held: 2 of 3. A band
    # that had seen all three (level 0.95: 5) would have held it too.
    residuals = np.array([0.1, 0.1, 5.0])
    assert nested_coverage(residuals, list("abc")) == pytest.approx(2 / 3)
    assert np.log(band_factor(residuals, list("abc"))) >= 5


def test_coverage_of_one_device_is_unknown() -> None:
    assert nested_coverage(np.array([0.1, 0.2]), ["a", "a"]) is None


# -- the figures ------------------------------------------------------------------------------------------------------


def test_the_figures_of_a_group_by_hand() -> None:
    """Three devices; predicted/measured: a 1.1, 1.2, 1.6; b 0.5; c 1.05, 0.95.

    Errors: a 0.1, 0.2, 0.6 (median 0.2); b 0.5; c 0.05, 0.05 (0.05): the median device is off by 0.2.
    |ln|: a median ln 1.2; b ln 2; c the mean of ln 1.05 and −ln 0.95, 0.0500: factor 1.2. Within 1.5: a and c, 2/3.
    Bias: a ln 1.2, b −ln 2, c about 0: the median is c's, √(1.05 · 0.95) = 0.9987.
    Within 10 %: 1.1, 1.05, 0.95: 3 of 6; 20 %: and 1.2: 4; 50 %: and 0.5: 5.
    """
    ratios = np.array([1.0999, 1.1999, 1.6, 0.5001, 1.05, 0.95])
    found = score("some", np.log(ratios), ["a", "a", "a", "b", "c", "c"])
    assert (found.group, found.rows, found.devices) == ("some", 6, 3)
    assert found.median_error == pytest.approx(0.1999)
    assert found.geometric_factor == pytest.approx(1.1999)
    assert found.bias == pytest.approx(np.sqrt(1.05 * 0.95))
    assert (found.within_10, found.within_20, found.within_50) == pytest.approx((3 / 6, 4 / 6, 5 / 6))
    assert found.devices_within_factor_1_5 == pytest.approx(2 / 3)
    assert found.coverage == nested_coverage(np.log(ratios), ["a", "a", "a", "b", "c", "c"])


@given(_TABLES)
def test_figures_are_shares_and_ordered(rows: list[tuple[float, str]]) -> None:
    found = score("any", np.array([row[0] for row in rows]), [row[1] for row in rows])
    assert 0 <= found.within_10 <= found.within_20 <= found.within_50 <= 1
    assert 0 <= found.devices_within_factor_1_5 <= 1
    assert found.geometric_factor >= 1 and found.median_error >= 0
    assert found.devices <= found.rows == len(rows)
    assert found.coverage is None or 0 <= found.coverage <= 1
    assert (found.coverage is None) == (found.devices == 1)
