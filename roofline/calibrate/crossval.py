"""How right the fit is on devices that it has not seen: each is left out in turn, and predicted from the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from roofline.calibrate.design import Floats
from roofline.calibrate.fit import FEWEST_ROWS, Fit, Problem, fit
from roofline.check.groups import errors

BAND = 0.8  # share of new measurements that the band is to hold
FEWEST_DEVICES = 3  # for a spread of one's own
#: New devices disagree more than left-out ones: those that people have measured were in the file that shaped the model.
#: The half-width (in ln) is multiplied by this, a rule fixed before any device was predicted blind.
NEW_DEVICE = 1.25


@dataclass(frozen=True, slots=True)
class Score:
    """Errors of a group of cases. median_error, geometric_factor: medians over devices of the device's median.

    coverage: share of rows inside a band made without their device; None where there is only one.
    """

    group: str
    rows: int
    devices: int
    median_error: float
    geometric_factor: float
    bias: float
    within_10: float
    within_20: float
    within_50: float
    devices_within_factor_1_5: float
    coverage: float | None


def leave_one_device_out(problem: Problem, full: Fit, iterations: int = 15) -> Floats:
    """ln(predicted / measured) of every case, from a fit without its device; each starts from the full fit."""
    design = problem.design
    devices = np.array(problem.devices)
    residuals = np.empty(len(devices))
    measured = np.log(design.measured)
    for device in sorted(set(problem.devices)):
        out = devices == device
        if int((~out).sum()) < FEWEST_ROWS:
            logs = design.table.logs  # too little else to learn from: the prior
        else:
            logs = fit(problem, ~out, full.logs, iterations).logs
        residuals[out] = np.log(design.speeds(logs))[out] - measured[out]
    return residuals


def band_factor(residuals: Floats, devices: Sequence[str]) -> float:
    """Factor f such that a new device's measurements lie within ÷f … ×f of the prediction with probability BAND.

    The quantile of |ln ratio| over rows, every device weighing the same, at the level that leaves room for one more
    device: (n + 1)/n · BAND of n devices (the split-conformal rule, Vovk 2005, chapter 2), widened by NEW_DEVICE.
    """
    names = np.array(devices)
    count = len(set(devices))
    weights = np.array([1.0 / float((names == name).sum()) for name in names]) / count
    order = np.argsort(np.abs(residuals), kind="stable")
    cumulative = np.cumsum(weights[order])
    level = min(BAND * (count + 1) / count, 0.95)
    place = int(np.searchsorted(cumulative, level, side="left"))
    half_width = float(np.abs(residuals)[order][min(place, len(order) - 1)])
    return float(np.exp(half_width * NEW_DEVICE))


def nested_coverage(residuals: Floats, devices: Sequence[str]) -> float | None:
    """Share of rows inside a band made without their device, all devices weighing the same [1]; None for one device."""
    names = np.array(devices)
    shares = []
    for device in sorted(set(devices)):
        out = names == device
        if out.all():
            continue
        factor = band_factor(residuals[~out], [name for name, left in zip(devices, out, strict=True) if not left])
        shares.append(float(np.mean(np.abs(residuals[out]) <= np.log(factor))))
    return float(np.mean(shares)) if shares else None


def score(group: str, residuals: Floats, devices: Sequence[str]) -> Score:
    """The figures of a group of cases from their residuals ln(predicted / measured)."""
    found = errors([float(residual) for residual in residuals], devices)
    return Score(group=group, **asdict(found), coverage=nested_coverage(residuals, devices))
