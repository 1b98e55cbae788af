"""Bandwidth against working set: read, copy and triad from the first-level cache to memory.

The kernels and their counting of bytes follow STREAM (J. D. McCalpin, "Memory Bandwidth and Machine Balance in Current
High Performance Computers", IEEE TCCA Newsletter, December 1995): every array counts once per pass. The read that a
store into a missing cache line causes is not counted, so that where it happens the memory moved up to 4/3 of triad's
bytes and 3/2 of copy's. numpy only; ``python -m tests.bench.stream`` compares with STREAM in C.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from roofline.measure.arrays import Array, Memory, arrays_in, numa_nodes
from roofline.measure.timing import Budget, Clock, Samples, Team, interleave, one_per_core
from roofline.units import parse

Work = Callable[[], object]

_ELEMENT = np.dtype(np.float64).itemsize  # B
# One product of this length is one call into the BLAS; OpenBLAS shares out dot products of more than 10000 elements
# between threads of its own (kernel/x86_64/ddot.c), and then one thread is not one.
_ROW = 8192
_LINE = 8  # elements; threads do not write to one cache line
_MOST_PASSES = 1 << 24
_CALLS = 1024  # passes in one call of numpy, at most
_SHORTEST = 0.02  # s that a sample takes at least: starting threads together costs some 0.1 ms
_LONG = 0.1  # s of one pass after which the first need not be a warm-up: such a set is in no cache
_SMALLEST = parse("16 KiB", "B")  # of one thread
_MEMORY = parse("4 GiB", "B")
_QUICK_MEMORY = parse("1 GiB", "B")
_SHARE = 3  # a set takes at most a third of the memory that is available


@dataclass(frozen=True, slots=True)
class Kernel:
    """One pass over arrays of float64, whole rows long. bytes_per_element: read + written, as STREAM counts [B]."""

    name: str
    arrays: int
    bytes_per_element: float
    row: int  # elements
    smallest: float  # working set of one thread under which a call of numpy costs as much as its work [B]
    prepare: Callable[[Sequence[Array], int], tuple[Work, int]]

    def elements(self, working_set: float, threads: int) -> int:
        """Elements of each array of each thread in a working set [B] of all threads [1]."""
        elements = int(working_set / (threads * self.arrays * _ELEMENT))
        return elements - elements % self.row if elements > self.row else elements


def _read(arrays: Sequence[Array], passes: int) -> tuple[Work, int]:
    """s = Σ a·b, as a stack of products of one row each: one call, in which numpy holds no lock.

    The same rows again, `passes` times, are a dimension of stride 0: small sets cost no call of Python per pass.
    """
    length = min(len(arrays[0]), _ROW)
    calls = math.ceil(passes / _CALLS)
    inner = math.ceil(passes / calls)
    shape = (inner, len(arrays[0]) // length)
    left = np.broadcast_to(arrays[0].reshape(shape[1], 1, length), (*shape, 1, length))
    right = np.broadcast_to(arrays[1].reshape(shape[1], length, 1), (*shape, length, 1))
    sums = np.zeros((*shape, 1, 1))

    def work() -> None:
        for _ in range(calls):
            np.matmul(left, right, out=sums)

    return work, calls * inner


def _copy(arrays: Sequence[Array], passes: int) -> tuple[Work, int]:
    """a = b."""
    to, source = arrays

    def work() -> None:
        for _ in range(passes):
            np.copyto(to, source)

    return work, passes


def _triad(arrays: Sequence[Array], passes: int) -> tuple[Work, int]:
    """a = b + s·c with s = 1, which is one ufunc.

    With another s numpy needs two, and their passes over a block in cache do not overlap with the memory's: 0.6 to 0.8
    of the speed. The bytes are the same, and no memory is busy with the multiplication.
    """
    to, left, right = arrays

    def work() -> None:
        for _ in range(passes):
            np.add(left, right, out=to)

    return work, passes


KERNELS = {
    kernel.name: kernel
    for kernel in (
        Kernel("read", 2, 2 * _ELEMENT, _ROW, _SMALLEST, _read),
        Kernel("copy", 2, 2 * _ELEMENT, _LINE, 16 * _SMALLEST, _copy),
        Kernel("triad", 3, 3 * _ELEMENT, _LINE, 16 * _SMALLEST, _triad),
    )
}


@dataclass(frozen=True, slots=True)
class Point:
    """Samples [B/s] of one kernel by `threads` threads. working_set: all arrays of all threads together [B]."""

    kernel: str
    working_set: float
    threads: int
    samples: Samples

    @property
    def per_thread(self) -> float:
        """What one thread goes through [B]: to compare with a cache that a core has for itself."""
        return self.working_set / self.threads


def largest_set(available: float, last_cache: float = 0.0, quick: bool = False) -> float:
    """The largest working set to measure [B]: 4 GiB or eight times the last cache, and a third of the memory at most.

    available: memory that may be taken without swapping [B]. last_cache: all last-level caches together [B]; a virtual
    machine may be told too much or too little. quick: 1 GiB or four times the last cache.
    """
    wanted = max(_QUICK_MEMORY, 4 * last_cache) if quick else max(_MEMORY, 8 * last_cache)
    return min(available / _SHARE, wanted)


def working_sets(largest: float, per_octave: int = 1) -> tuple[float, ...]:
    """Sizes [B], ascending, in equal ratios from 16 KiB to `largest` or the last one below."""
    steps = math.floor(per_octave * math.log2(max(largest / _SMALLEST, 1.0)))
    return tuple(_SMALLEST * 2.0 ** (step / per_octave) for step in range(steps + 1))


def sweep(
    sizes: Iterable[float],
    threads: Iterable[int],
    kernels: Iterable[str] = tuple(KERNELS),
    budget_s: float = 60.0,
    progress: Callable[[float], None] = lambda _: None,
    *,
    rounds: int = 9,
    cpus: Sequence[int] | None = None,
    clock: Clock = time.perf_counter,
) -> tuple[Point, ...]:
    """Bandwidth for each kernel, working set [B] and number of threads, in up to `rounds` rounds over all of them.

    Every number of threads gets the same part of the budget [s], allocation included. The largest sets come first; what
    does not fit into the budget is not measured and is missing from the answer. progress: told the part of the budget
    that is spent, 0 to 1. cpus: where threads are pinned; None for one a core. SpecError when memory cannot be had.
    """
    sizes, kernels = sorted(sizes, reverse=True), tuple(kernels)
    teams = sorted(threads, reverse=True)
    pins = one_per_core() if cpus is None else cpus
    whole = Budget(budget_s, clock)
    memory: Memory | None = None
    points: list[Point] = []
    for index, count in enumerate(teams):
        budget = Budget(whole.left / (len(teams) - index), clock)
        with Team(count, pins, clock) as team:
            if memory is None or not memory.shared:
                memory = None  # two at a time would be two thirds of what is available
                memory = Memory(team, sizes[0], budget, shared=numa_nodes() == 1)
            parts = memory.parts(count)
            measurements = {
                (kernel.name, size): Measurement(team, parts, kernel, kernel.elements(size, count))
                for size in sizes
                for kernel in map(KERNELS.__getitem__, kernels)
                if kernel.smallest * count <= size <= memory.size
            }
            found = interleave(measurements, budget=budget, rounds=rounds, progress=lambda _: progress(whole.share))
        for (name, size), values in found.items():
            points.append(Point(name, count * measurements[name, size].bytes_held, count, Samples(values)))
        del parts, measurements
    progress(1.0)
    return tuple(sorted(points, key=lambda point: (point.kernel, point.threads, point.working_set)))


class Measurement:
    """One kernel over one working set by a team: each call takes one sample.

    passes: over the arrays in a sample; 0 before the first call, which finds how many take long enough.
    """

    def __init__(self, team: Team, buffers: Sequence[Array], kernel: Kernel, elements: int) -> None:
        self._team = team
        self.kernel = kernel
        self._elements = elements
        self._arrays = [arrays_in(buffer, kernel.arrays, elements) for buffer in buffers]
        self.passes = 0

    @property
    def bytes_held(self) -> float:
        """The arrays of one thread [B]."""
        return float(self._elements * self.kernel.arrays * _ELEMENT)

    def __call__(self) -> float:
        """One sample [B/s], of caches that hold what they can of this set."""
        if not self.passes:
            seconds, self.passes = self._enough()
            if self.passes == 1 and seconds >= _LONG:
                return self._rate(1, seconds)
        elif self.passes > 1:
            self._timed(1)  # what another set left in the caches goes
        while True:
            seconds, done = self._timed(self.passes)
            if seconds > 0:
                return self._rate(done, seconds)
            self.passes *= 10  # a clock that did not move

    def _enough(self) -> tuple[float, int]:
        """(seconds of one pass, passes that take long enough to be timed); the estimate grows with what it rests on."""
        passes = 1
        while True:
            seconds, passes = self._timed(passes)
            wanted = math.ceil(passes * _SHORTEST / seconds) if seconds > 0 else 100 * passes
            if seconds >= _SHORTEST / 10 or passes >= _MOST_PASSES:
                return seconds / passes, max(wanted, 1)
            passes = min(wanted, 100 * passes)

    def _timed(self, passes: int) -> tuple[float, int]:
        prepared = [self.kernel.prepare(arrays, passes) for arrays in self._arrays]
        works = [work for work, _ in prepared]
        return self._team.run(lambda number: works[number]()), prepared[0][1]

    def _rate(self, passes: int, seconds: float) -> float:
        return passes * self._elements * self.kernel.bytes_per_element * self._team.threads / seconds
