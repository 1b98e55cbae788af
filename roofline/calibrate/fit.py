"""The fit: constants that reproduce the measured speeds, each held near its prior.

    minimise   Σ w·ρ((ln predicted − ln measured) / s)  +  Σ ((ln θ − ln θ₀) / σ)²

ρ is Cauchy's loss, so that a bad row cannot pull; s is the noise between independent measurements; w gives devices a
say that grows more slowly than their rows; θ₀ is the value in the runtime file and σ how far a constant of its kind may
move. Gauss-Newton with reweighting (Holland & Welsch 1977, doi 10.1080/03610927708827533), derivatives by differences.
The same input gives the same bytes: no random numbers, rows in the order of their ids.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roofline.calibrate.design import Design, Floats
from roofline.spec import SpecError

#: Standard deviation of ln(constant) by the last word of its field: how well a constant of that kind is known before.
SIGMAS = {
    "efficiency": 0.45,
    "per_cycle": 0.45,
    "half_columns": 0.7,
    "bandwidth": 0.15,
    "seconds": 0.4,
    "base": 0.4,
    "per_thread": 0.4,
    "core_bandwidth": 0.3,
    "activation_bandwidth": 0.7,
    "socket_share": 0.3,
    "thread_loss": 0.7,
    "value": 0.25,
}
SHARE_SIGMA = 0.12  # shares of the theoretical bandwidth: 0.65 to 0.95 covers what is published

#: Spread of ln(speed) between independent measurements of one machine, by phase (8 to 10 % and 20 to 25 %).
NOISE = {"tg": 0.10, "pp": 0.18}

WEIGHT_POWER = 0.6  # a device of n rows weighs n^(1 − 0.6)
CAUCHY = 2.5  # deviations at which a row's weight is halved
STEP = 1e-3  # of ln θ, for derivatives
LARGEST_STEP = 0.5  # of ln θ in one iteration
CONVERGED = 2e-3
FEWEST_ROWS = 4


@dataclass(frozen=True)
class Fit:
    """Fitted constants. logs: of every constant of the design. errors: standard error of ln θ (0 for fixed ones)."""

    logs: Floats
    errors: Floats


@dataclass(frozen=True)
class Problem:
    """A design with what the fit needs beside it, one entry per case. trust: factor of a case's weight."""

    design: Design
    phases: tuple[str, ...]
    trust: tuple[float, ...]

    @property
    def devices(self) -> tuple[str, ...]:
        """The device of each case."""
        return tuple(case.device for case in self.design.cases)

    @property
    def noise(self) -> Floats:
        """Expected deviation of ln(speed) of each case: of measurements in general, and of its own rounding."""
        own = np.array([case.uncertainty for case in self.design.cases])
        general = np.array([NOISE[phase] for phase in self.phases])
        result: Floats = np.hypot(own, general)
        return result

    @property
    def sigmas(self) -> Floats:
        """How far each constant may move, as the standard deviation of its logarithm; 0 is fixed."""
        return np.array(
            [
                _sigma(origin, stated)
                for origin, stated in zip(self.design.table.origins, self.design.table.sigmas, strict=True)
            ]
        )


def _sigma(origin: str, stated: float) -> float:
    if origin.startswith("="):
        return 0.0  # a default of the schema, not of a file
    if stated > 0:
        return stated
    return SHARE_SIGMA if ".memory." in origin else SIGMAS.get(origin.rsplit(".", 1)[-1], 0.0)


def case_weights(devices: tuple[str, ...], keep: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Floats:
    """Weight of each kept case: 1 / n^WEIGHT_POWER for a device with n of them; 0 for the others."""
    names = np.array(devices)
    weights = np.zeros(len(names))
    for device in sorted(set(names[keep])):
        chosen = (names == device) & keep
        weights[chosen] = 1.0 / float(chosen.sum()) ** WEIGHT_POWER
    return weights


def fit(
    problem: Problem,
    keep: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] | None = None,
    start: Floats | None = None,
    iterations: int = 10,
) -> Fit:
    """The constants that fit the kept cases (all by default), beginning at `start` (the prior by default).

    Raises SpecError when there is too little to fit.
    """
    design, sigmas = problem.design, problem.sigmas
    kept = np.ones(len(design.cases), dtype=bool) if keep is None else keep
    free = np.flatnonzero(sigmas > 0)
    if int(kept.sum()) < FEWEST_ROWS or free.size == 0:
        raise SpecError(
            f"observations: expected at least {FEWEST_ROWS} rows that can be predicted, found {int(kept.sum())}"
        )
    prior, noise = design.table.logs, problem.noise
    weights = case_weights(problem.devices, kept) * np.array(problem.trust)
    highest = np.log(design.table.highest)
    logs = prior.copy() if start is None else start.copy()
    deviations = _deviations(design, logs, noise)
    for _ in range(iterations):
        jacobian = _jacobian(design, logs, noise, free, deviations)
        robust = weights / (1 + (deviations / CAUCHY) ** 2)
        curvature = jacobian.T @ (robust[:, None] * jacobian) + np.diag(1 / sigmas[free] ** 2)
        gradient = jacobian.T @ (robust * deviations) + (logs[free] - prior[free]) / sigmas[free] ** 2
        step = np.clip(np.linalg.solve(curvature, -gradient), -LARGEST_STEP, LARGEST_STEP)
        logs[free] = np.minimum(logs[free] + step, highest[free])
        deviations = _deviations(design, logs, noise)
        if np.abs(step).max() < CONVERGED:
            break
    errors = np.zeros(len(logs))
    errors[free] = np.sqrt(np.diag(np.linalg.inv(curvature)))
    return Fit(logs, errors)


def _deviations(design: Design, logs: Floats, noise: Floats) -> Floats:
    result: Floats = (np.log(design.speeds(logs)) - np.log(design.measured)) / noise
    return result


def _jacobian(
    design: Design, logs: Floats, noise: Floats, free: np.ndarray[tuple[int, ...], np.dtype[np.int64]], at: Floats
) -> Floats:
    columns = np.empty((len(at), len(free)))
    for place, index in enumerate(free):
        moved = logs.copy()
        moved[index] += STEP
        columns[:, place] = (_deviations(design, moved, noise) - at) / STEP
    return columns
