"""Timing: samples of a rate, a budget of seconds, and threads that begin together."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import numpy as np

#: A clock that never goes back [s].
Clock = Callable[[], float]
Key = TypeVar("Key")
_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
_CAPACITY = "/sys/devices/system/cpu/cpu{}/cpu_capacity"  # where cores differ: 1024 for the fastest


@dataclass(frozen=True, slots=True)
class Samples:
    """Repeated measurements of one rate [1/s, B/s or FLOP/s]; larger is better. At least one value."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("samples: expected at least one value, found none")

    @property
    def median(self) -> float:
        """What the machine sustains, in the unit of the values."""
        return float(np.median(self.values))

    @property
    def best(self) -> float:
        """What it reached undisturbed, in the unit of the values."""
        return max(self.values)

    @property
    def spread(self) -> float | None:
        """(90 % quantile - 10 % quantile) / median [1]; None of a single value, which shows none."""
        if len(self.values) < 2:
            return None
        low, high = np.quantile(self.values, (0.1, 0.9))
        return float((high - low) / self.median)


class Budget:
    """Seconds to spend from now on."""

    def __init__(self, seconds: float, clock: Clock = time.perf_counter) -> None:
        self.seconds = seconds
        self._clock = clock
        self._start = clock()

    @property
    def spent(self) -> float:
        """Seconds since the beginning [s]."""
        return self._clock() - self._start

    @property
    def left(self) -> float:
        """Seconds that may still be spent; never negative [s]."""
        return max(self.seconds - self.spent, 0.0)

    @property
    def share(self) -> float:
        """Part of the budget that is spent, 0 to 1 [1]."""
        return min(self.spent / self.seconds, 1.0) if self.seconds > 0 else 1.0


def repeat(
    function: Callable[[], object],
    *,
    seconds: float,
    at_least: int = 3,
    at_most: int = 50,
    warm_up: int = 1,
    clock: Clock = time.perf_counter,
) -> tuple[float, ...]:
    """Times of a function [s]: `warm_up` calls that are not kept, then `at_least` calls and more while time is left.

    seconds: what all calls together should take, the warm-up included; `at_least` comes before it.
    """
    budget = Budget(seconds, clock)
    for _ in range(warm_up):
        function()
    times: list[float] = []
    while len(times) < at_least or (len(times) < at_most and budget.left > 0):
        start = clock()
        function()
        times.append(clock() - start)
    return tuple(times)


def interleave(
    functions: Mapping[Key, Callable[[], float]],
    *,
    budget: Budget,
    rounds: int,
    progress: Callable[[float], None] = lambda _: None,
) -> dict[Key, tuple[float, ...]]:
    """What the functions return, called in turn: first, second, …, first, second, …, for at most `rounds` rounds.

    A machine drifts within minutes; in turn, all of them see the same drift. No function is called after the budget is
    spent, but the first is called once in any case; one that was never called is not in the answer. Each function is
    expected to take as long as the last time: one that would not fit any more is left out of a later round.
    """
    found: dict[Key, list[float]] = {}
    took: dict[Key, float] = {}
    for number in range(rounds):
        for key, function in functions.items():
            if found and took.get(key, 0.0) >= budget.left:
                continue
            before = budget.spent
            found.setdefault(key, []).append(function())
            took[key] = budget.spent - before
            progress(max(budget.share, 0.0))
        if number and budget.left <= 0:
            break
    return {key: tuple(values) for key, values in found.items()}


def one_per_core(cpus: Iterable[int] | None = None) -> tuple[int, ...]:
    """CPU numbers that this process may run on, one per physical core, fast cores first; () where nobody says.

    cpus: the numbers to choose from; None for all that the process may use. Hyperthreads of one core share its caches
    and its path to memory: the second adds load, no bandwidth.
    """
    if cpus is None:
        if not hasattr(os, "sched_getaffinity"):
            return ()
        cpus = os.sched_getaffinity(0)
    chosen: list[int] = []
    seen: set[str] = set()
    for cpu in sorted(cpus):
        try:
            core = Path(_SIBLINGS.format(cpu)).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            core = str(cpu)
        if core not in seen:
            seen.add(core)
            chosen.append(cpu)
    return tuple(sorted(chosen, key=_capacity, reverse=True))


def _capacity(cpu: int) -> int:
    """Speed of a core by that of the fastest, in 1/1024; 0 where the kernel does not say."""
    try:
        return int(Path(_CAPACITY.format(cpu)).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


class Team:
    """Threads that begin a piece of work together, each on a CPU of its own where the platform allows it.

    numpy gives up the interpreter's lock in copies, ufuncs and products, so that these run side by side. To be used in
    a ``with`` statement.
    """

    def __init__(self, threads: int, cpus: Sequence[int] = (), clock: Clock = time.perf_counter) -> None:
        """threads: how many. cpus: where each is pinned; not pinned where there are fewer CPUs than threads."""
        if threads < 1:
            raise ValueError(f"team: expected at least one thread, found {threads}")
        self.threads = threads
        self._clock = clock
        self._work: Callable[[int], object] = lambda _: None
        self._laps: list[tuple[float, float]] = [(0.0, 0.0)] * threads
        self._errors: list[BaseException] = []
        self._given = threading.Barrier(threads + 1)
        self._together = threading.Barrier(threads)
        self._done = threading.Barrier(threads + 1)
        pins: list[int | None] = list(cpus[:threads]) if len(cpus) >= threads else [None] * threads
        self._members = [
            threading.Thread(target=self._serve, args=(number, pin), daemon=True, name=f"roofline-{number}")
            for number, pin in enumerate(pins)
        ]

    def __enter__(self) -> Self:
        for member in self._members:
            member.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for barrier in (self._given, self._together, self._done):
            barrier.abort()
        for member in self._members:
            member.join()

    def run(self, work: Callable[[int], object]) -> float:
        """Seconds from the first thread's start to the last one's end; ``work`` gets the thread's number [s].

        The first start, not the last: a rate that is computed with it never counts bytes for which no time was counted.
        The first error of a thread is raised here.
        """
        self._work = work
        self._errors.clear()
        self._given.wait()
        self._done.wait()
        if self._errors:
            raise self._errors[0]
        return max(end for _, end in self._laps) - min(start for start, _ in self._laps)

    def _serve(self, number: int, cpu: int | None) -> None:
        if cpu is not None and hasattr(os, "sched_setaffinity"):
            with contextlib.suppress(OSError):  # a CPU that was taken away meanwhile
                os.sched_setaffinity(0, {cpu})  # 0: this thread, not the process
        try:
            while True:
                self._given.wait()
                self._together.wait()
                start = self._clock()
                try:
                    self._work(number)
                except BaseException as error:  # noqa: BLE001 - raised again where run() was called
                    self._errors.append(error)
                self._laps[number] = (start, self._clock())
                self._done.wait()
        except threading.BrokenBarrierError:
            return
