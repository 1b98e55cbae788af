"""What `roofline measure matmul` does: look at the machine, climb, sweep the sizes."""

from __future__ import annotations

import time
from collections.abc import Callable

from roofline.measure.conditions import disturbances, snapshot
from roofline.measure.identity import Identity, identify
from roofline.measure.ladder.climb import Measured, available, climb, tasks_of
from roofline.measure.ladder.here import look
from roofline.measure.ladder.history import historical
from roofline.measure.ladder.report import Ladder
from roofline.measure.ladder.rungs import UNBLOCKED, named, runs
from roofline.measure.ladder.sizes import best_blocked, largest, sweep_tasks
from roofline.measure.ladder.steps import steps
from roofline.measure.matmul import Unmeasured
from roofline.measure.roofs import available_memory, thread_counts, usable_cores
from roofline.measure.source import Live
from roofline.spec import SpecError
from roofline.units import format_quantity

#: Seconds for each part: (quick, full). Loading libraries counts, what a rung needs at least comes before it.
LOOK_S, CLIMB_S, SIZES_S = (2.5, 6.0), (4.0, 30.0), (2.0, 14.0)
#: Seconds that any rung may take, so that slow ones reach their size: (quick, full).
LEAST_S = (0.5, 3.0)
_BYTES = 48.0  # of memory for each of n² numbers: the operands and the result of fp64, copies for the check


def threads_of(text: str | None, identity: Identity, quick: bool) -> tuple[int, ...]:
    """The numbers of threads that a list names, ascending; without one, 1, 2, 4, … and all cores.

    SpecError for what is no number, and for more than there are cores.
    """
    cores = usable_cores(identity)
    if text is None:
        return thread_counts(cores, quick)
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word[:9]) >= 1 for word in words):
        raise SpecError(f"--threads: expected numbers from 1 on, such as 1,{max(cores, 2)}, found {text!r}")
    most = max(int(word[:9]) for word in words)
    if most > cores:
        raise SpecError(f"--threads: expected at most {cores}, the cores that this process may use, found {most}")
    return tuple(sorted({int(word) for word in words}))


def check_size(n: int, memory: float) -> None:
    """SpecError where n × n matrices are none, or do not fit in the memory that is available [B]."""
    if n < 1:
        raise SpecError(f"--n: expected at least 1, found {n}")
    needed = _BYTES * n * n
    if needed > memory:
        raise SpecError(
            f"--n: expected matrices that fit in memory, found {n}: it needs {format_quantity(needed, 'B')}, "
            f"{format_quantity(memory, 'B')} are available"
        )


def measure_ladder(
    n: int, threads: str | None, names: str | None, sizes: bool, quick: bool, progress: Callable[[float, str], None],
) -> Ladder:  # fmt: skip
    """Measure the rungs at n, those of the list or all that are installed; SpecError for what cannot be asked for."""
    begin, source = time.monotonic(), Live()
    wanted = named(names)
    identity = identify(source)
    memory = available_memory(identity)
    check_size(n, memory)
    counts = threads_of(threads, identity, quick)
    here_runs, missing = available(runs(wanted, counts))
    if names is not None and missing:
        raise SpecError(f"--rungs: {missing[0].what}: {missing[0].reason}")
    hurry = 0 if quick else 1
    whole = LOOK_S[hurry] + CLIMB_S[hurry] + (SIZES_S[hurry] if sizes else 0.0)

    def part(before: float, length: float) -> Callable[[float, str], None]:
        return lambda share, words: progress((before + share * length) / whole, words or "measuring")

    before = snapshot(source)
    looking = part(0.0, LOOK_S[hurry])
    here = look(identity, tuple(sorted({1, *counts})), LOOK_S[hurry], quick, lambda share: looking(share, "roofs"))
    found, failed = climb(tasks_of(here_runs, n, LEAST_S[hurry]), CLIMB_S[hurry], part(LOOK_S[hurry], CLIMB_S[hurry]))
    swept: tuple[Measured, ...] = ()
    lost: tuple[Unmeasured, ...] = ()
    if sizes and UNBLOCKED in wanted:
        tasks = sweep_tasks(best_blocked(found), largest(memory, quick), quick)
        swept, lost = climb(tasks, SIZES_S[hurry], part(LOOK_S[hurry] + CLIMB_S[hurry], SIZES_S[hurry]))
    if not found:
        raise SpecError(f"--rungs: expected one that runs, found none: {(*failed, *missing)[0].reason}")
    return Ladder(
        n=n, here=here, steps=steps(found, here), sizes=swept, missing=(*missing, *failed, *lost),
        history=historical(), disturbances=disturbances(before, snapshot(source)),
        seconds=time.monotonic() - begin,
    )  # fmt: skip
