"""The measurement of a ladder: every rung in a process that loads its library with its number of threads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from roofline.measure.child import ChildError, ask
from roofline.measure.ladder.makers import is_installed
from roofline.measure.ladder.rungs import EXTRAS, RUNGS, Run, Rung
from roofline.measure.matmul import GRACE, Unmeasured
from roofline.measure.timing import Budget, Samples

_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from roofline.measure.ladder.inside import main; main(sys.argv[2])"
)


@dataclass(frozen=True, slots=True)
class Task:
    """A rung to measure. n: of B; rows: of A and C, 0 for n. exactly: at this n, or
    not at all where there is no time. least_s: what it may take whatever the budget [s].
    """

    run: Run
    n: int
    rows: int = 0
    exactly: bool = False
    least_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """A rung as it was measured. samples: [FLOP/s]; an operation on integers counts alike. m, n: sizes, as of Product.

    error: the largest difference from the reference by what rounding explains [1]. library: with its version.
    """

    run: Run
    m: int
    n: int
    samples: Samples
    error: float
    library: str


Outcome = tuple[tuple[Measured, ...], tuple[Unmeasured, ...]]


def name_of(run: Run) -> str:
    """'numpy-fp32, 2 threads'."""
    return f"{run.rung}, {run.threads} thread{'s' * (run.threads != 1)}"


def available(runs: Iterable[Run]) -> tuple[tuple[Run, ...], tuple[Unmeasured, ...]]:
    """Those whose library is installed, and for the others how to get it."""
    here: list[Run] = []
    missing: dict[str, list[str]] = {}
    for run in runs:
        library = run.spec.library
        if is_installed(library):
            here.append(run)
        elif run.rung not in missing.setdefault(library, []):
            missing[library].append(run.rung)
    return tuple(here), tuple(
        Unmeasured(", ".join(rungs), f"not installed: pip install '{EXTRAS[library]}'")
        for library, rungs in missing.items()
    )


def climb(
    tasks: Sequence[Task], seconds: float, progress: Callable[[float, str], None] = lambda _share, _what: None
) -> Outcome:
    """Measure the tasks, in about so many seconds; loading a library counts.

    A process that dies is told as the problem of the rung that it was at, and another does the rest.
    """
    budget = Budget(seconds)
    found: list[Measured] = []
    missing: list[Unmeasured] = []
    left = len(tasks)
    for group in _groups(tasks):
        while group:
            first = group[0].run
            progress(1.0 - left / max(len(tasks), 1), f"{first.spec.library}, {first.threads} threads")
            part = budget.left * len(group) / left
            answers, reason = _ask(group, part)
            for task, answer in zip(group, answers, strict=False):
                one = _read(task, answer)
                if isinstance(one, Measured):
                    found.append(one)
                elif one is not None:
                    missing.append(one)
            done = len(answers)
            if done < len(group) and reason:
                missing.append(Unmeasured(name_of(group[done].run), reason))
                done += 1
            left -= done
            group = group[done:]
    progress(1.0, "")
    order = {(task.run, task.n): place for place, task in enumerate(tasks)}
    runs = {task.run: place for place, task in enumerate(tasks)}
    found.sort(key=lambda one: order.get((one.run, one.n), runs[one.run]))
    return tuple(found), tuple(missing)


def _groups(tasks: Sequence[Task]) -> list[list[Task]]:
    """The tasks of each process: of one library and number of threads."""

    def kind(task: Task) -> tuple[int, int]:
        return list(RUNGS.values()).index(_first_of(task.run.spec.library)), task.run.threads

    return [list(group) for _, group in groupby(sorted(tasks, key=kind), key=kind)]


def _first_of(library: str) -> Rung:
    return next(rung for rung in RUNGS.values() if rung.library == library)


def _ask(group: Sequence[Task], seconds: float) -> tuple[list[dict[str, object]], str]:
    """(answers in the order of the tasks, why there are no more)."""
    first = group[0].run
    request = {
        "library": first.spec.library,
        "threads": first.threads,
        "seconds": seconds,
        "tasks": [
            {
                "rung": one.run.rung, "n": one.n, "rows": one.rows, "exactly": one.exactly, "least_s": one.least_s,
            }
            for one in group
        ],
    }  # fmt: skip
    try:
        lines, reason = ask(_PROGRAM, [json.dumps(request)], first.threads, seconds + GRACE), "it said nothing of it"
    except ChildError as error:
        lines, reason = list(error.lines), str(error)
    return [json.loads(line) for line in lines if line.startswith("{")], reason


def _read(task: Task, answer: dict[str, object]) -> Measured | Unmeasured | None:
    """An answer of inside.py; None for a size for which there was no time."""
    if "skipped" in answer:
        return None
    if "problem" in answer:
        return Unmeasured(name_of(task.run), str(answer["problem"]))
    n, samples, error = answer["n"], answer["samples"], answer["error"]
    assert isinstance(n, int) and isinstance(samples, list) and isinstance(error, (int, float))
    return Measured(task.run, task.rows or n, n, Samples(tuple(samples)), float(error), str(answer["library"]))


def tasks_of(runs: Iterable[Run], n: int, least_s: float = 0.0) -> tuple[Task, ...]:
    """Each run at n, or at what its rung is limited to. least_s: what each may take whatever the budget [s]."""
    return tuple(Task(run, min(n, RUNGS[run.rung].limit or n), least_s=least_s) for run in runs)
