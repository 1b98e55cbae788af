"""The fit: it finds constants that it was not told, keeps those that nothing speaks about, and bears bad rows."""

import re
from dataclasses import replace

import numpy as np
import pytest

from roofline.bench import shipped
from roofline.bench.observation import Observation
from roofline.calibrate import cases
from roofline.calibrate.calibration import calibrate, to_toml
from roofline.calibrate.design import Floats
from roofline.calibrate.fit import (
    CAUCHY,
    FEWEST_ROWS,
    NOISE,
    SHARE_SIGMA,
    SIGMAS,
    WEIGHT_POWER,
    Problem,
    case_weights,
    fit,
)
from roofline.runtime import Constant
from roofline.spec import SpecError
from tests.problems import drawn, measured_at, problem_of, remeasured, rows_of

BACKENDS = ("metal", "cuda", "vulkan")
BELIEVED = 1e5  # trust at which rows without noise outweigh every prior


# -- what it finds ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_that_are_believed_are_reproduced(backend: str) -> None:
    """Speeds made with constants that the fit does not know: it predicts them to better than 1 %."""
    rows = rows_of(backend)
    truth = drawn(problem_of(rows), seed=1, width=0.5)
    problem = problem_of(measured_at(rows, truth), BELIEVED)
    prior = problem.design.speeds(problem.design.table.logs)
    assert np.abs(prior / problem.design.measured - 1).max() > 0.1, "the prior alone is wrong"
    found = fit(problem, iterations=40)
    assert np.abs(problem.design.speeds(found.logs) / problem.design.measured - 1).max() < 0.01


@pytest.mark.parametrize("backend", BACKENDS)
def test_constants_move_towards_the_truth(backend: str) -> None:
    """With the rows' ordinary say: over three worlds, errors of predictions and of constants shrink."""
    rows = rows_of(backend)
    start = problem_of(rows)
    prior = start.design.table.logs
    before, after, errors = [], [], []
    for seed in (1, 2, 3):
        truth = drawn(start, seed)
        problem = problem_of(measured_at(rows, truth))
        found = fit(problem)
        before.append(np.median(np.abs(np.log(problem.design.speeds(prior) / problem.design.measured))))
        after.append(np.median(np.abs(np.log(problem.design.speeds(found.logs) / problem.design.measured))))
        errors.append(np.abs(found.logs - truth).sum() / np.abs(prior - truth).sum())
    assert np.mean(after) < 0.4 * np.mean(before)
    assert np.mean(errors) < 0.9


def test_the_stated_errors_are_those_that_are_made() -> None:
    """Over 12 worlds with noise, |found − true| is below the standard error in about 68 % (here 55 to 90 %).

    Below the nominal bounds of a binomial draw, since worlds share their rows; above 68 % where the prior's width
    bounds the error.
    """
    rows = rows_of("cuda")
    start = problem_of(rows)
    free = start.sigmas > 0
    within = []
    for seed in range(12):
        truth = drawn(start, seed)
        noise = np.random.default_rng(100 + seed).standard_normal(len(rows)) * start.noise
        shaken = dict(zip((row.case.id for row in rows), noise, strict=True))
        world = measured_at(rows, truth)
        world = remeasured(world, lambda row, shaken=shaken: row.case.measured * float(np.exp(shaken[row.case.id])))  # type: ignore[misc]
        found = fit(problem_of(world))
        within.append(np.mean(np.abs(found.logs - truth)[free] <= found.errors[free]))
    assert 0.55 <= np.mean(within) <= 0.90


def test_a_prior_that_is_right_is_left_where_it_is() -> None:
    rows = rows_of("metal")
    prior = problem_of(rows).design.table.logs
    found = fit(problem_of(measured_at(rows, prior)))
    assert found.logs == pytest.approx(prior, abs=1e-9)


def objective(problem: Problem, logs: Floats) -> float:
    """What the fit minimises: weighted Cauchy losses of the deviations, and the squared distances from the priors."""
    deviations = np.log(problem.design.speeds(logs) / problem.design.measured) / problem.noise
    weights = case_weights(problem.devices, np.ones(len(deviations), dtype=bool)) * np.array(problem.trust)
    free = problem.sigmas > 0
    distances = (logs - problem.design.table.logs)[free] / problem.sigmas[free]
    return float((weights * CAUCHY**2 * np.log1p((deviations / CAUCHY) ** 2)).sum() + (distances**2).sum())


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_constant_can_move_to_the_better(backend: str) -> None:
    """At the solution the objective is least (to 0.1 %): a step of any constant, either way, makes it larger.

    Also where a share meets its ceiling and the derivative has a jump: no step back and forth across it.
    """
    problem = problem_of(rows_of(backend))
    found = fit(problem, iterations=40).logs
    least = objective(problem, found)
    assert least < objective(problem, problem.design.table.logs)
    for at in np.flatnonzero(problem.sigmas > 0):
        for step in (-0.1, 0.1):
            moved = found.copy()
            moved[at] += step * problem.sigmas[at]
            assert objective(problem, moved) > least * 0.999, problem.design.table.origins[at]


# -- what it does not move --------------------------------------------------------------------------------------------


def test_a_constant_that_no_kept_row_uses_stays_at_its_prior() -> None:
    """Without the experts' rows, nothing speaks about the experts' factor: its error is its prior's width."""
    rows = rows_of("metal")
    problem = problem_of(rows)
    keep = np.array(["moe" not in row.observation.kind for row in rows])
    (at,) = [place for place, origin in enumerate(problem.design.table.origins) if "[experts multiply]" in origin]
    with_all, without = fit(problem), fit(problem, keep)
    prior = problem.design.table.logs[at]
    assert with_all.logs[at] != pytest.approx(prior, abs=1e-3)
    assert without.logs[at] == pytest.approx(prior, abs=1e-12)
    assert without.errors[at] == pytest.approx(problem.sigmas[at])


def test_fixed_constants_stay_and_have_no_error() -> None:
    problem = problem_of(rows_of("cuda"))
    found = fit(problem)
    fixed = problem.sigmas == 0
    assert fixed.any() and not fixed.all()
    assert np.array_equal(found.logs[fixed], problem.design.table.logs[fixed])
    assert not found.errors[fixed].any()
    assert (found.errors[~fixed] > 0).all()
    assert (found.errors[~fixed] <= problem.sigmas[~fixed] * (1 + 1e-9)).all(), "rows never make less sure"


def test_how_far_a_constant_may_move() -> None:
    """The file's own sigma; else by kind; shares of the bandwidth least; a default of the schema not at all."""
    problem = problem_of(rows_of("cuda"))
    table = problem.design.table
    for origin, constant, sigma in zip(table.origins, table.constants, problem.sigmas, strict=True):
        word = origin.rsplit(".", 1)[-1]
        if not constant.origin:
            assert sigma == 0
        elif constant.sigma:
            assert sigma == constant.sigma
        else:
            assert sigma == (SHARE_SIGMA if ".memory." in origin else SIGMAS.get(word, 0.0))
    assert min(SIGMAS.values()) > SHARE_SIGMA
    assert Constant(value=1.0).sigma == 0


# -- bad rows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [10.0, 0.1])
def test_a_few_rows_that_are_ten_times_off_do_not_pull(times: float) -> None:
    """Every twentieth row wrong: predictions of the others move by less than 3 %, where least squares moves 10 %."""
    rows = measured_at(rows_of("cuda"), drawn(problem_of(rows_of("cuda")), seed=5))
    bad = {row.case.id for row in rows[::20]}
    spoilt = remeasured(rows, lambda row: row.case.measured * (times if row.case.id in bad else 1.0))
    good = np.array([row.case.id not in bad for row in rows])
    clean, pulled = problem_of(rows), problem_of(spoilt)
    moved = np.log(pulled.design.speeds(fit(pulled).logs) / clean.design.speeds(fit(clean).logs))[good]
    assert np.median(np.abs(moved)) < 0.03
    assert np.abs(moved).max() < np.log(1.35)


def test_the_loss_halves_a_row_that_is_cauchy_deviations_off() -> None:
    # weight 1/(1 + (d/C)²) is 1/2 at d = C, and 1 % at d ≈ 10·C: what NOISE makes of a tenfold error, ln 10/0.1 = 23.
    assert 1 / (1 + (CAUCHY / CAUCHY) ** 2) == 0.5
    assert np.log(10) / NOISE["tg"] > 9 * CAUCHY


def test_many_rows_of_one_device_do_not_outvote_the_others() -> None:
    # Four rows of a and one of b: a row of a weighs 4^−p, so a's say is 4^(1−p) times b's; the row left out, nothing.
    keep = np.array([True, True, True, True, False, True])
    weights = case_weights(("a", "a", "a", "a", "a", "b"), keep)
    assert weights == pytest.approx([4**-WEIGHT_POWER] * 4 + [0, 1])
    assert 1 <= 4 ** (1 - WEIGHT_POWER) < 4


def test_a_row_that_is_left_out_says_nothing() -> None:
    """To the last bit, whatever it measured."""
    rows = rows_of("metal")
    keep = np.arange(len(rows)) % 5 > 0
    left_out = {row.case.id for row, kept in zip(rows, keep, strict=True) if not kept}
    other = remeasured(rows, lambda row: row.case.measured * (7.0 if row.case.id in left_out else 1.0))
    assert np.array_equal(fit(problem_of(rows), keep).logs, fit(problem_of(other), keep).logs)


# -- trust and noise --------------------------------------------------------------------------------------------------


def _observation(**changes: object) -> Observation:
    plain = next(one for one in shipped().observations if one.kind == "plain" and one.tier == "A")
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_the_noise_of_a_row() -> None:
    """Its own, of repetitions and of rounding, beside that of measurements in general."""
    # 2 tok/s as an integer: ±0.5 uniform, 0.2887/2 = 14.4 %; with a std of 0.2 (10 %): √(14.4² + 10²) = 17.6 %.
    assert cases.uncertainty(_observation(tok_s=2.0, std=0.2)) == pytest.approx(0.1756, abs=1e-4)
    assert cases.uncertainty(_observation(tok_s=2.5, std=0.25)) == pytest.approx(0.1)
    assert cases.uncertainty(_observation(tok_s=2.5, std=None)) == 0
    assert cases.uncertainty(_observation(tok_s=1.5, std=90.0)) == 1.0, "a nonsense deviation is bounded"
    problem = problem_of(rows_of("metal"))
    own = np.array([case.uncertainty for case in problem.design.cases])
    general = np.array([NOISE[phase] for phase in problem.phases])
    assert problem.noise == pytest.approx(np.sqrt(own**2 + general**2))


def test_the_trust_of_a_row() -> None:
    plain, doubtful = _observation(), _observation(tier="C")
    assert cases.trust(plain) == 1
    assert cases.trust(doubtful) == pytest.approx(cases.DOUBTFUL)
    assert cases.trust(_observation(kind="multi", tier="C")) == pytest.approx(cases.TRUST["multi"] * cases.DOUBTFUL)
    assert all(0 < share < 1 for share in cases.TRUST.values())


def test_what_is_not_fitted_is_listed_with_its_reason() -> None:
    several = _observation(id="z1", note="n_proc=2")
    served = _observation(id="z2", phase="serve")
    again = _observation(id="z3", extra={"same_as": "z0"})
    unknown = _observation(id="z4", hardware="nothing-like-it")
    excluded = _observation(id=next(iter(cases.exclusions())))
    rows, skipped = cases.collect([unknown, again, served, several, excluded, _observation(id="z0")])
    reasons = dict(skipped)
    assert [row.observation.id for row in rows] == ["z0"]
    assert set(reasons) == {"z1", "z2", "z3", "z4", excluded.id}
    assert "one process" in reasons["z1"] and "serve" in reasons["z2"]
    assert reasons["z3"] == "the same measurement as z0"
    assert "nothing-like-it" in reasons["z4"]
    assert reasons[excluded.id] == cases.exclusions()[excluded.id]


def test_every_exclusion_gives_a_reason() -> None:
    assert cases.exclusions()
    assert all(len(reason.split()) >= 4 for reason in cases.exclusions().values())


# -- the same again ---------------------------------------------------------------------------------------------------


def test_the_same_rows_in_any_order_give_the_same_bytes() -> None:
    mine = [one for one in shipped().observations if one.backend == "metal"]
    text = to_toml(calibrate(mine), "x")
    shuffled = [mine[at] for at in np.random.default_rng(3).permutation(len(mine))]
    assert shuffled != mine
    assert to_toml(calibrate(shuffled), "x") == text
    assert to_toml(calibrate(iter(mine)), "x") == text


# -- too little -------------------------------------------------------------------------------------------------------


def test_too_few_rows_are_refused() -> None:
    mine = [row.observation for row in rows_of("metal")][: FEWEST_ROWS - 1]
    words = rf"at least {FEWEST_ROWS} rows of one backend.*found {len(mine)} in all"
    with pytest.raises(SpecError, match=words) as bad:
        calibrate(mine)
    assert "\n" not in str(bad.value) and "rows of metal" in str(bad.value)


def test_just_enough_rows_on_two_devices_are_fitted() -> None:
    """What is left when one of them is left out is too little to fit: it is predicted by the priors."""
    by_device: dict[str, list[Observation]] = {}
    for row in rows_of("metal"):
        by_device.setdefault(row.observation.hardware, []).append(row.observation)
    first, second = sorted(by_device.values(), key=len)[-2:]
    (part,) = calibrate([*first[: FEWEST_ROWS - 1], second[0]]).backends
    predicted = np.exp(part.residuals) * part.problem.design.measured
    prior = part.problem.design.speeds(part.problem.design.table.logs)
    assert predicted[[row.observation.hardware == first[0].hardware for row in part.rows]] == pytest.approx(
        prior[[row.observation.hardware == first[0].hardware for row in part.rows]]
    )


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(SpecError, match=r"found 0 in all \(none left out\)"):
        calibrate([])


def test_rows_that_cannot_be_predicted_are_named_in_the_refusal() -> None:
    with pytest.raises(SpecError, match=r"1 left out, the first because: .*nothing-like-it"):
        calibrate([_observation(hardware="nothing-like-it")])


def test_a_mask_that_keeps_too_few_is_refused() -> None:
    problem = problem_of(rows_of("metal"))
    keep = np.zeros(len(problem.phases), dtype=bool)
    keep[: FEWEST_ROWS - 1] = True
    with pytest.raises(SpecError, match=rf"at least {FEWEST_ROWS} rows.*found {FEWEST_ROWS - 1}"):
        fit(problem, keep)


def test_a_backend_with_too_few_rows_does_not_stop_the_others() -> None:
    mine = [row.observation for row in rows_of("metal")] + [row.observation for row in rows_of("cuda")][:2]
    done = calibrate(mine)
    assert [part.backend for part in done.backends] == ["metal"]
    few = [reason for _, reason in done.skipped if "cuda" in reason]
    assert len(few) == 2 and all(re.fullmatch(r"only 2 rows of cuda, too few to fit", reason) for reason in few)


def test_a_backend_that_has_no_rows_is_named() -> None:
    """Asked for by name and not there: the refusal says so."""
    with pytest.raises(SpecError, match="musa"):
        calibrate([row.observation for row in rows_of("metal")], ["musa"])
