"""Problems of a fit from the shipped rows of one backend, as they are or with other measured speeds."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache

import numpy as np

from roofline.bench import shipped
from roofline.calibrate.cases import Row, collect, trust
from roofline.calibrate.design import Design, Floats
from roofline.calibrate.fit import Problem


@lru_cache(maxsize=4)
def rows_of(backend: str) -> tuple[Row, ...]:
    """The shipped rows of a backend that can be predicted, in order of their ids."""
    mine = (one for one in shipped().observations if one.backend == backend)
    return tuple(row for row in collect(mine)[0] if row.case.machine.backend == backend)


def problem_of(rows: Iterable[Row], believed: float | None = None) -> Problem:
    """The problem that `calibrate` makes of rows; `believed` takes the place of their trust."""
    rows = list(rows)
    phases = tuple(row.observation.phase for row in rows)
    trusts = tuple(trust(row.observation) if believed is None else believed for row in rows)
    return Problem(Design([row.case for row in rows]), phases, trusts)


def remeasured(rows: Iterable[Row], speed: Callable[[Row], float]) -> list[Row]:
    """The rows with other measured speeds [tok/s]."""
    return [replace(row, case=replace(row.case, measured=speed(row))) for row in rows]


def drawn(problem: Problem, seed: int, width: float = 1.0) -> Floats:
    """Logarithms of constants drawn about their priors, as far away as each may move; the fixed ones as they are."""
    noise = np.random.default_rng(seed).standard_normal(len(problem.sigmas))
    result: Floats = problem.design.table.logs + width * problem.sigmas * noise
    return result


def measured_at(rows: Iterable[Row], logs: Floats) -> list[Row]:
    """The rows as a world in which the constants are `logs` would have measured them, without noise."""
    rows = list(rows)
    speeds = dict(zip((row.case.id for row in rows), problem_of(rows).design.speeds(logs), strict=True))
    return remeasured(rows, lambda row: float(speeds[row.case.id]))
