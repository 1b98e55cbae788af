"""Calibrate to one device: from measurements of it, how it differs from what the shipped constants say of its kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from roofline import local
from roofline.bench.observation import Observation
from roofline.calibrate.calibration import PHASES, UNMEASURED, quoted
from roofline.calibrate.cases import Row, collect, trust
from roofline.calibrate.crossval import BAND, leave_one_device_out
from roofline.calibrate.design import Case, Design, Floats
from roofline.calibrate.fit import FEWEST_ROWS, Problem, fit
from roofline.catalog import load_hardware
from roofline.local import Local, LocalFactor
from roofline.runtime import Factor
from roofline.spec import SpecError

WRITTEN_BY = "# Written by `roofline calibrate --hw`"
#: Deviation of ln(speed) between runs of one machine and from the model's form, by phase; the rows' own is added.
NOISE = {"tg": 0.06, "pp": 0.08}
WIDER = 1.25  # a band from left-out models of one machine, for models that are less alike
FEWEST_MODELS = 3  # to leave one out and say anything
NARROWEST = {"tg": 0.10, "pp": 0.15}  # half-width in ln: speeds of one machine differ so much from day to day
DIGITS = 4


@dataclass(frozen=True)
class Errors:
    """Errors of a phase [1]: medians over rows with the shipped constants, with the device's own, and with those
    that never saw the row's model (None where too few models were measured).

    noise: the rows' own relative standard deviation, median.
    """

    phase: str
    rows: int
    models: int
    before: float
    after: float
    left_out: float | None
    noise: float


@dataclass(frozen=True)
class DeviceCalibration:
    """A device's factors, how much they helped, and the rows that were not used."""

    hardware: str
    local: Local
    errors: tuple[Errors, ...]
    skipped: list[tuple[str, str]]


def calibrate_device(observations: Iterable[Observation], hardware: str, source: str) -> DeviceCalibration:
    """Find the factors of one device (a catalog id) from the observations of it.

    Raises SpecError, saying what is missing, when there are too few.
    """
    mine = [one for one in observations if one.hardware == hardware]
    rows, skipped = collect(mine)
    backends = sorted({row.case.machine.backend for row in rows})
    if len(rows) < FEWEST_ROWS:
        reason = f" (the first left out because: {skipped[0][1]})" if skipped else ""
        raise SpecError(
            f"--hw {hardware}: expected at least {FEWEST_ROWS} measured speeds of it, found {len(rows)}{reason}; "
            "`roofline bench` makes some"
        )
    if len(backends) > 1:
        raise SpecError(f"--backend: expected one of those measured on {hardware}, found {', '.join(backends)}")
    problem = problem_of(rows)
    found = fit(problem)
    residuals = np.log(problem.design.speeds(found.logs)) - np.log(problem.design.measured)
    several = len(set(problem.devices)) >= FEWEST_MODELS
    left_out = leave_one_device_out(problem, found) if several else None
    factors = _factors(problem, found.logs, found.errors)
    bands = {word: _band(problem, phase, residuals, left_out) for phase, word in PHASES.items()}
    own = Local(
        hardware=load_hardware(hardware).spec.name,
        backend=backends[0],
        rows=len(rows),
        observations=source,
        decode=bands["decode"],
        prefill=bands["prefill"],
        factors=factors,
    )
    errors = [_errors(phase, problem, rows, residuals, left_out) for phase in PHASES]
    return DeviceCalibration(hardware, own, tuple(one for one in errors if one.rows), skipped)


def problem_of(rows: list[Row]) -> Problem:
    """The fit of one device's factors; its "devices" are the models, so that one is left out at a time."""
    types = sorted({cost.use.type for row in rows for cost in row.case.phase.operators if cost.use} - {"f32"})
    measured = sorted({row.case.machine.backend for row in rows})
    neutral = local.neutral(types)
    cases = []
    for row in rows:
        machine = row.case.machine
        runtime = local.with_factors(local.without_local(machine.runtime, measured[0]), measured[0], neutral)
        label = f"{row.observation.model} {row.observation.quant}"
        cases.append(replace(row.case, device=label, machine=replace(machine, runtime=runtime)))
    phases = tuple(row.observation.phase for row in rows)
    weights = tuple(trust(row.observation) for row in rows)
    return Problem(Design(cases, update=True), phases, weights, spread=NOISE, free=local.ORIGIN)


def _factors(problem: Problem, logs: Floats, errors: Floats) -> dict[str, LocalFactor]:
    """What the rows say; a factor that they say nothing of stays out."""
    table = problem.design.table
    templates = {factor.value.origin: factor for case in problem.design.cases for factor in _own(case)}
    found = {}
    for at in np.flatnonzero(problem.sigmas > 0):
        factor = templates[table.origins[at]]
        found[factor.name] = LocalFactor(
            on=factor.on,
            value=float(f"{np.exp(logs[at]):.{DIGITS}g}"),
            error=float(f"{errors[at]:.2g}"),
            types=factor.types,
            columns=factor.columns,
            attention=factor.attention,
        )
    return found


def _own(case: Case) -> list[Factor]:
    machine = case.machine
    return [one for one in machine.engine.factors if one.value.origin.startswith(local.ORIGIN)]


def _chosen(problem: Problem, phase: str) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.array([one == phase for one in problem.phases])


def _band(problem: Problem, phase: str, residuals: Floats, left_out: Floats | None) -> float:
    """Factor of the 80 % band: of models that were left out where there are any, never below the machine's noise."""
    chosen = _chosen(problem, phase)
    sizes = np.abs((residuals if left_out is None else left_out)[chosen])
    if not sizes.size:
        return float(f"{np.exp(UNMEASURED):.{DIGITS}g}")
    level = min(BAND * (sizes.size + 1) / sizes.size, 1.0)
    width = max(float(np.quantile(sizes, level)), NARROWEST[phase])
    return float(f"{np.exp(width * (WIDER if left_out is not None else WIDER**2)):.{DIGITS}g}")


def _errors(phase: str, problem: Problem, rows: list[Row], after: Floats, left_out: Floats | None) -> Errors:
    chosen = _chosen(problem, phase)
    if not chosen.any():
        return Errors(PHASES[phase], 0, 0, 0.0, 0.0, None, 0.0)
    before = np.log(problem.design.speeds(problem.design.table.logs)) - np.log(problem.design.measured)
    labels = {name for name, mine in zip(problem.devices, chosen, strict=True) if mine}

    def median(residuals: Floats) -> float:
        return float(np.median(np.abs(np.expm1(residuals[chosen]))))

    noise = float(np.median([row.case.uncertainty for row in rows if row.observation.phase == phase]))
    return Errors(
        PHASES[phase],
        int(chosen.sum()),
        len(labels),
        median(before),
        median(after),
        None if left_out is None else median(left_out),
        noise,
    )


def to_toml(own: Local) -> str:
    """The calibration as a file; the same calibration gives the same text."""
    lines = [
        f"{WRITTEN_BY}: how this device differs from what the shipped constants say of its kind.",
        f"hardware = {quoted(own.hardware)}",
        f"backend = {quoted(own.backend)}",
        f"observations = {quoted(own.observations)}",
        f"rows = {own.rows}",
        f"decode = {own.decode!r}",
        f"prefill = {own.prefill!r}",
    ]
    for name, one in own.factors.items():
        lines += ["", f"[factors.{quoted(name)}]", f"on = {quoted(one.on)}", f"value = {one.value!r}"]
        lines += [f"error = {one.error!r}"]
        lines += [f"types = [{', '.join(map(quoted, one.types))}]"] if one.types else []
        lines += [f"columns = {quoted(one.columns)}"] if one.columns != "any" else []
        lines += [f"attention = {str(one.attention).lower()}"] if one.attention is not None else []
    return "\n".join(lines) + "\n"


def target(folder: Path, hardware: str) -> Path:
    """The file of a device's calibration in a user's directory."""
    return folder / local.ROOM / f"{hardware}.toml"
