"""From observations to the cases of a fit, and what is left out of it and why."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from roofline.bench.expected import expect
from roofline.bench.observation import Observation
from roofline.calibrate.design import Case
from roofline.spec import SpecError, read_toml

_EXCLUSIONS = Path(__file__).resolve().parent / "exclusions.toml"

#: A speed printed as an integer is uniform within ±0.5: its standard deviation is 1/√12.
ROUNDING = 1 / math.sqrt(12)


@dataclass(frozen=True, slots=True)
class Row:
    """An observation and its case."""

    observation: Observation
    case: Case


@lru_cache(maxsize=1)
def _tables() -> dict[str, Any]:
    return read_toml(_EXCLUSIONS)


def exclusions() -> dict[str, str]:
    """Ids of single rows that no fit uses, with the reason."""
    return {str(identity): str(reason) for identity, reason in _tables()["rows"].items()}


def reason_to_leave_out(observation: Observation) -> str | None:
    """Why no fit uses an observation, None where it may be used."""
    listed = exclusions().get(observation.id)
    if listed is not None:
        return listed
    for group in _tables()["groups"]:
        if observation.id.startswith(group["prefix"]) and observation.hardware in group["hardware"]:
            return str(group["reason"])
    original = observation.extra.get("same_as")
    return f"the same measurement as {original}" if original else None


def collect(observations: Iterable[Observation]) -> tuple[list[Row], list[tuple[str, str]]]:
    """(rows to fit in order of their ids, (id, reason) of every other row)."""
    rows: list[Row] = []
    skipped: list[tuple[str, str]] = []
    for observation in sorted(observations, key=lambda one: one.id):
        reason = reason_to_leave_out(observation)
        if reason is not None:
            skipped.append((observation.id, reason))
            continue
        try:
            expected = expect(observation)
        except SpecError as error:
            skipped.append((observation.id, str(error)))
            continue
        if expected.prediction.placement is not None:
            skipped.append((observation.id, "layers on the host: no constant of one device is learnt from a pair"))
            continue
        machine = expected.prediction.machine
        noise = uncertainty(observation)
        phase, speed = expected.phase, observation.tok_s
        case = Case(observation.id, observation.hardware, machine, phase, speed, noise)
        rows.append(Row(observation, case))
    return rows, skipped


#: Weight of kinds of measurement that need terms beyond one sequence on one device, and of the doubtful tier.
TRUST = {"multi": 0.2, "batch": 0.3, "ubatch": 0.2}
DOUBTFUL = 0.3


def trust(observation: Observation) -> float:
    """How much a row counts in the fit: less where its kind or its tier makes it a weaker witness of the constants."""
    return TRUST.get(observation.kind, 1.0) * (DOUBTFUL if observation.tier == "C" else 1.0)


def uncertainty(observation: Observation) -> float:
    """Relative standard deviation that the row itself tells: of its repetitions and of a printed integer's rounding."""
    repetitions = (observation.std or 0.0) / observation.tok_s
    rounding = ROUNDING / observation.tok_s if float(observation.tok_s).is_integer() else 0.0
    return min(math.hypot(repetitions, rounding), 1.0)
