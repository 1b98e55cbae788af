"""The fit: constants that reproduce the measured speeds, each held near its prior.

    minimise   Σ w·ρ((ln predicted − ln measured) / s)  +  Σ ((ln θ − ln θ₀) / σ)²

ρ is Cauchy's loss, so that a bad row cannot pull; s is the noise between independent measurements; w gives devices a
say that grows more slowly than their rows; θ₀ is the value in the runtime file and σ how far a constant of its kind may
move. Gauss-Newton with reweighting (Holland & Welsch 1977, doi 10.1080/03610927708827533), derivatives by differences.
The same input gives the same bytes: no random numbers, rows in the order of their ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from roofline.calibrate.design import Design, Floats, Ints
from roofline.spec import SpecError

Mask: TypeAlias = NDArray[np.bool_]

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
HALVINGS = 8
FLAT = 1e-4  # a sweep that lowers the objective by less, relatively, has found nothing
POLISH = (-0.1, 0.1, -0.01, 0.01)  # steps along one constant, in units of its sigma
FEWEST_ROWS = 4


@dataclass(frozen=True)
class Fit:
    """Fitted constants. logs: of every constant of the design. errors: standard error of ln θ (0 for fixed ones)."""

    logs: Floats
    errors: Floats


@dataclass(frozen=True)
class Problem:
    """A design with what the fit needs beside it, one entry per case. trust: factor of a case's weight.

    spread: expected deviation of ln(speed) by phase. free: only constants whose origin begins so may move.
    """

    design: Design
    phases: tuple[str, ...]
    trust: tuple[float, ...]
    spread: Mapping[str, float] = field(default_factory=lambda: NOISE)
    free: str = ""

    @property
    def devices(self) -> tuple[str, ...]:
        """The device of each case."""
        return tuple(case.device for case in self.design.cases)

    @property
    def noise(self) -> Floats:
        """Expected deviation of ln(speed) of each case: of measurements in general, and of its own rounding."""
        own = np.array([case.uncertainty for case in self.design.cases])
        general = np.array([self.spread[phase] for phase in self.phases])
        result: Floats = np.hypot(own, general)
        return result

    @property
    def sigmas(self) -> Floats:
        """How far each constant may move, as the standard deviation of its logarithm; 0 is fixed."""
        return np.array(
            [
                _sigma(origin, stated) if origin.startswith(self.free) else 0.0
                for origin, stated in zip(self.design.table.origins, self.design.table.sigmas, strict=True)
            ]
        )


def _sigma(origin: str, stated: float) -> float:
    if origin.startswith("="):
        return 0.0  # a default of the schema, not of a file
    if stated > 0:
        return stated
    return SHARE_SIGMA if ".memory." in origin else SIGMAS.get(origin.rsplit(".", 1)[-1], 0.0)


def case_weights(devices: tuple[str, ...], keep: Mask) -> Floats:
    """Weight of each kept case: 1 / n^WEIGHT_POWER for a device with n of them; 0 for the others."""
    names = np.array(devices)
    weights = np.zeros(len(names))
    for device in sorted(set(names[keep])):
        chosen = (names == device) & keep
        weights[chosen] = 1.0 / float(chosen.sum()) ** WEIGHT_POWER
    return weights


def fit(problem: Problem, keep: Mask | None = None, start: Floats | None = None, iterations: int = 30) -> Fit:
    """The constants that fit the kept cases (all by default), beginning at `start` (the prior by default).

    Raises SpecError when there is too little to fit.
    """
    kept = np.ones(len(problem.design.cases), dtype=bool) if keep is None else keep
    descent = _Descent(problem, kept, problem.design.table.logs if start is None else start)
    if int(kept.sum()) < FEWEST_ROWS or descent.free.size == 0:
        raise SpecError(
            f"observations: expected at least {FEWEST_ROWS} rows that can be predicted, found {int(kept.sum())}"
        )
    for _ in range(iterations):
        if descent.step() and not descent.polish():
            break
    errors = np.zeros(len(descent.logs))
    errors[descent.free] = np.sqrt(np.diag(np.linalg.inv(descent.curvature)))
    return Fit(descent.logs, errors)


class _Descent:
    """The state of a fit: where it stands, and what the objective is there."""

    def __init__(self, problem: Problem, kept: Mask, start: Floats) -> None:
        table = problem.design.table
        self.design, self.noise = problem.design, problem.noise
        self.prior, self.sigmas, self.highest = table.logs, problem.sigmas, np.log(table.highest)
        self.weights = case_weights(problem.devices, kept) * np.array(problem.trust)
        self.free = np.flatnonzero(self.sigmas > 0)
        self.curvature = np.eye(self.free.size)
        self._stand_at(start.copy())

    def _stand_at(self, logs: Floats) -> None:
        self.logs, self.deviations = logs, _deviations(self.design, logs, self.noise)
        self.loss = self._loss(logs, self.deviations)

    def _loss(self, logs: Floats, deviations: Floats) -> float:
        rows = self.weights * CAUCHY**2 / 2 * np.log1p((deviations / CAUCHY) ** 2)
        moved = (logs - self.prior)[self.free] / self.sigmas[self.free]
        return float(rows.sum() + (moved**2).sum() / 2)

    def _try(self, logs: Floats) -> bool:
        """Go to `logs` if the objective is no larger there."""
        deviations = _deviations(self.design, logs, self.noise)
        loss = self._loss(logs, deviations)
        if loss <= self.loss:
            self.logs, self.deviations, self.loss = logs, deviations, loss
            return True
        return False

    def step(self) -> bool:
        """One Gauss-Newton step, halved until the objective falls; whether the end is reached."""
        free, width = self.free, self.sigmas[self.free]
        jacobian = _jacobian(self.design, self.logs, self.noise, free, self.deviations)
        robust = self.weights / (1 + (self.deviations / CAUCHY) ** 2)
        self.curvature = jacobian.T @ (robust[:, None] * jacobian) + np.diag(1 / width**2)
        gradient = jacobian.T @ (robust * self.deviations) + (self.logs - self.prior)[free] / width**2
        step = np.clip(np.linalg.solve(self.curvature, -gradient), -LARGEST_STEP, LARGEST_STEP)
        converged = float(np.abs(step).max()) < CONVERGED
        for halving in range(HALVINGS):  # a full step may overshoot where a ceiling bends the model
            tried = self.logs.copy()
            tried[free] = np.minimum(self.logs[free] + step / 2**halving, self.highest[free])
            if self._try(tried):
                return converged
        return True

    def polish(self) -> bool:
        """A sweep over the constants, each moved by itself; whether the objective fell.

        Where a ceiling bends the model, Gauss-Newton can stand still although single constants still lead down.
        """
        before = self.loss
        for index in self.free:
            for move in POLISH:
                tried = self.logs.copy()
                tried[index] = min(self.logs[index] + move * self.sigmas[index], self.highest[index])
                self._try(tried)
        return self.loss < before * (1 - FLAT)


def _deviations(design: Design, logs: Floats, noise: Floats) -> Floats:
    result: Floats = (np.log(design.speeds(logs)) - np.log(design.measured)) / noise
    return result


def _jacobian(design: Design, logs: Floats, noise: Floats, free: Ints, at: Floats) -> Floats:
    columns = np.empty((len(at), len(free)))
    for place, index in enumerate(free):
        moved = logs.copy()
        moved[index] += STEP
        columns[:, place] = (_deviations(design, moved, noise) - at) / STEP
    return columns
