"""A calibration: fit every backend, score it on left-out devices, and write the constants down."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from roofline.bench.observation import Observation
from roofline.calibrate.cases import Row, collect, trust
from roofline.calibrate.crossval import BAND, FEWEST_DEVICES, Score, band_factor, leave_one_device_out, score
from roofline.calibrate.design import Design, Floats
from roofline.calibrate.fit import FEWEST_ROWS, NOISE, Fit, Problem, fit
from roofline.spec import SpecError

WRITTEN_BY = "# Written by `roofline calibrate`"
HEADER = f"{WRITTEN_BY}: values in place of the priors in runtimes/*.toml, and the 80 % band."
Mask: TypeAlias = NDArray[np.bool_]
PHASES = {"pp": "prefill", "tg": "decode"}
OTHER_MODELS = 1.5  # what is left on the measured models is less than on others of the same machine
UNMEASURED = 0.4  # half-width in ln of a phase without a row of its own
NARROWEST = 1.01  # no band is narrower than the measurements' own noise
DIGITS = 4  # significant digits of a fitted constant: far below its error


@dataclass(frozen=True)
class Moved:
    """One constant: what the runtime file states, what the fit found, and how sure."""

    backend: str
    constant: str
    prior: float
    value: float
    error: float
    stated: float


@dataclass(frozen=True)
class BackendFit:
    """The fit of one backend. residuals: ln(predicted / measured), each from a fit without its device."""

    backend: str
    rows: list[Row]
    problem: Problem
    fitted: Fit
    residuals: Floats

    @property
    def moved(self) -> list[Moved]:
        """Every constant that the fit was free to move."""
        table, sigmas = self.problem.design.table, self.problem.sigmas
        prior = np.exp(table.logs)
        values, errors = np.exp(self.fitted.logs), self.fitted.errors
        return [
            Moved(
                self.backend,
                table.origins[at],
                _digits(prior[at]),
                _digits(values[at]),
                _digits(errors[at], 2),
                _digits(table.stated[at]),
            )
            for at in np.flatnonzero(sigmas > 0)
        ]

    def chosen(self, phase: str) -> Mask:
        """Which rows are of a phase."""
        return np.array([row.observation.phase == phase for row in self.rows])


@dataclass(frozen=True)
class Calibration:
    """All backends, and the rows that were not used."""

    backends: list[BackendFit]
    skipped: list[tuple[str, str]]
    update: bool = False

    @property
    def scores(self) -> list[Score]:
        """All backends together, then each: by phase, and by phase and kind of measurement, for tiers A and B."""
        witnesses = [
            (part.backend, row.observation, float(residual))
            for part in self.backends
            for row, residual in zip(part.rows, part.residuals, strict=True)
            if row.observation.tier in ("", "A", "B")
        ]
        found = []
        for backend in ("all", *(part.backend for part in self.backends)):
            for phase, word in PHASES.items():
                mine = [one for one in witnesses if backend in ("all", one[0]) and one[1].phase == phase]
                kinds = sorted({kind_of(one) for _, one, _ in mine} - {"plain"})
                groups = [(f"{backend} {word}", [one for one in mine if is_plain(one[1])])]
                groups += [
                    (f"{backend} {word}, {kind}", [one for one in mine if kind_of(one[1]) == kind]) for kind in kinds
                ]
                found += [
                    score(group, np.array([ratio for _, _, ratio in rows]), [one.hardware for _, one, _ in rows])
                    for group, rows in groups
                    if rows
                ]
        return found


def is_plain(observation: Observation) -> bool:
    """Whether a row is of the plain kind: one sequence, one device."""
    return (
        (observation.batch or 1) == 1
        and observation.count == 1
        and observation.kind not in ("multi", "batch", "ubatch")
    )


def kind_of(observation: Observation) -> str:
    """The kind of measurement by which it is scored."""
    return "multi" if observation.count > 1 else observation.kind or "plain"


def calibrate(observations: Iterable[Observation], backends: Sequence[str] = (), update: bool = False) -> Calibration:
    """Fit the constants of each backend (of those named, else of all) to observations.

    update: begin at the shipped fit, with its errors, and learn what the machines of these observations are like; else
    begin at the priors of the runtime files.

    Raises SpecError, saying what is missing, when no backend has enough rows.
    """
    rows, skipped = collect(observations)
    found = []
    for backend in sorted({row.case.machine.backend for row in rows}):
        mine = [row for row in rows if row.case.machine.backend == backend]
        if backends and backend not in backends:
            continue
        if len(mine) < FEWEST_ROWS:
            skipped += [(row.observation.id, f"only {len(mine)} rows of {backend}, too few to fit") for row in mine]
            continue
        phases = tuple(row.observation.phase for row in mine)
        problem = Problem(
            Design([row.case for row in mine], update), phases, tuple(trust(row.observation) for row in mine)
        )
        full = fit(problem)
        found.append(BackendFit(backend, mine, problem, full, leave_one_device_out(problem, full)))
    missing = sorted(set(backends) - {part.backend for part in found})
    if missing and not any(reason.startswith("only") for _, reason in skipped):
        have = ", ".join(sorted({row.case.machine.backend for row in rows})) or "none"
        raise SpecError(f"--backend: expected one that the observations have ({have}), found {missing[0]!r}")
    if not found:
        left_out = f"{len(skipped)} left out, the first because: {skipped[0][1]}" if skipped else "none left out"
        needed = f"at least {FEWEST_ROWS} rows of one backend that can be predicted"
        raise SpecError(f"observations: expected {needed}, found {len(rows)} in all ({left_out})")
    return Calibration(found, skipped, update)


def _digits(value: float, digits: int = DIGITS) -> float:
    return float(f"{value:.{digits}g}")


def to_toml(calibration: Calibration, source: str) -> str:
    """The calibration as a file of fitted constants; the same calibration gives the same text."""
    devices = {row.observation.hardware for part in calibration.backends for row in part.rows}
    count = sum(len(part.rows) for part in calibration.backends)
    lines = [
        HEADER,
        f"observations = {quoted(source)}",
        f"rows = {count}",
        f"devices = {len(devices)}",
        "",
    ]
    for part in calibration.backends:
        lines += _local_lines(part) if calibration.update else _spread_lines(part)
    lines += ["[constants]"]
    for part in calibration.backends:
        for moved in part.moved:
            numbers = f"value = {moved.value!r}, error = {moved.error!r}, prior = {moved.stated!r}"
            lines.append(f"{quoted(moved.constant)} = {{ {numbers} }}")
    return "\n".join(lines) + "\n"


def _local_lines(part: BackendFit) -> list[str]:
    """The bands of the machines that were measured: what is left after the constants were corrected on them."""
    left = np.log(part.problem.design.speeds(part.fitted.logs)) - np.log(part.problem.design.measured)
    names = np.array([row.case.machine.hardware.name for row in part.rows])
    lines = []
    for name in sorted(set(names)):
        mine = names == name
        if int(mine.sum()) < FEWEST_ROWS:
            continue
        lines += ["[[local]]", f"hardware = {quoted(str(name))}", f"backend = {quoted(part.backend)}"]
        for phase, word in PHASES.items():
            rows = np.abs(left[mine & part.chosen(phase)])
            # Fewer rows tell less: with n of them the (n + 1)/n · 80 % quantile, and no less than the noise.
            level = min(BAND * (rows.size + 1) / rows.size, 1.0) if rows.size else 1.0
            width = float(np.quantile(rows, level)) if rows.size else UNMEASURED
            lines.append(f"{word} = {_digits(float(np.exp(max(width, NOISE[phase]) * OTHER_MODELS)))!r}")
        lines.append("")
    return lines


def _spread_lines(part: BackendFit) -> list[str]:
    names = np.array(part.problem.devices)
    factors = {}
    for phase, word in PHASES.items():
        kept = part.chosen(phase) & np.array([is_plain(row.observation) for row in part.rows])
        devices = list(names[kept])
        if len(set(devices)) < FEWEST_DEVICES:
            return []  # too few for a band of its own: the runtime file's stays
        factors[word] = max(_digits(band_factor(part.residuals[kept], devices)), NARROWEST)
    known = sorted({row.case.machine.lineage for row in part.rows} - {""})
    return [
        f"[spread.{part.backend}]",
        *(f"{word} = {factors[word]!r}" for word in ("decode", "prefill")),
        f"devices = {len(set(part.problem.devices))}",
        f"known = [{', '.join(quoted(name) for name in known)}]",
        "",
    ]


def quoted(text: str) -> str:
    """A TOML basic string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON's escapes are TOML's
