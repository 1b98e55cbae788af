"""The roofs of this machine in one go: clock, bandwidth, matrix products; and what disturbed them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from roofline.measure import matmul
from roofline.measure.accelerator import AcceleratorRoofs, measure_accelerators
from roofline.measure.bandwidth import Point, largest_set, sweep, working_sets
from roofline.measure.clock import measure_clock
from roofline.measure.conditions import Disturbance, disturbances, snapshot
from roofline.measure.curve import Curve
from roofline.measure.identity import Identity
from roofline.measure.matmul import MatmulRoof, Unmeasured
from roofline.measure.source import Source
from roofline.measure.timing import Samples

#: Seconds for each part: (quick, full). Detection and the accelerator come on top.
CLOCK_S, BANDWIDTH_S, MATMUL_S = (0.5, 2.0), (9.0, 100.0), (5.0, 40.0)
GPU_S = (5.0, 30.0)
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Roofs:
    """What was measured. clock: by number of threads, where the core is known [Hz]. seconds: how long it took [s]."""

    cores: int
    clock: dict[int, Samples]
    points: tuple[Point, ...]
    matmul: tuple[MatmulRoof, ...]
    unmeasured: tuple[Unmeasured, ...]
    accelerators: tuple[AcceleratorRoofs, ...]
    disturbances: tuple[Disturbance, ...]
    quick: bool
    seconds: float

    def curve(self, kernel: str, threads: int) -> Curve | None:
        """Bandwidth against working set of a kernel by so many threads; None where it was not measured."""
        return Curve.of(self.points, kernel, threads)

    @property
    def threads(self) -> tuple[int, ...]:
        """Numbers of threads that were measured, ascending."""
        return tuple(sorted({point.threads for point in self.points}))


def usable_cores(identity: Identity) -> int:
    """Physical cores that this process may keep busy [1]."""
    cores = identity.cores or identity.threads or 1
    if identity.cpu_limit is None:
        return cores
    per_core = identity.threads_per_core or 1
    left = identity.cpu_limit if identity.container else identity.cpu_limit / per_core
    return max(min(cores, round(left)), 1)


def thread_counts(cores: int, quick: bool) -> tuple[int, ...]:
    """1, 2, 4, … and all cores; only the ends in a hurry."""
    if quick:
        return tuple(sorted({1, cores}))
    powers = {1 << power for power in range(cores.bit_length())}
    return tuple(sorted({count for count in powers if count <= cores} | {cores}))


def measure_roofs(identity: Identity, source: Source, quick: bool, progress: Progress) -> Roofs:
    """Measure everything that this machine and its installed libraries allow; SpecError when memory cannot be had."""
    start = time.monotonic()
    hurry = 0 if quick else 1
    whole = CLOCK_S[hurry] + BANDWIDTH_S[hurry] + MATMUL_S[hurry]

    def part(before: float, length: float, words: str) -> Callable[[float], None]:
        return lambda share: progress((before + share * length) / whole, words)

    before = snapshot(source)
    cores = usable_cores(identity)
    clock_part = part(0.0, CLOCK_S[hurry], "clock")
    clock = {
        count: found
        for count in sorted({1, cores})
        if (found := measure_clock(identity.microarchitecture, count, CLOCK_S[hurry] / 2, clock_part)) is not None
    }
    memory_part = part(CLOCK_S[hurry], BANDWIDTH_S[hurry], "bandwidth")
    points = sweep(
        working_sets(largest_set(available_memory(identity), identity.caches.l3 or 0.0, quick), 1 if quick else 2),
        thread_counts(cores, quick),
        budget_s=BANDWIDTH_S[hurry],
        progress=memory_part,
        rounds=3 if quick else 9,
    )
    matmul_part = part(CLOCK_S[hurry] + BANDWIDTH_S[hurry], MATMUL_S[hurry], "matrix products")
    products, unmeasured = matmul.measure(sorted({1, cores}), MATMUL_S[hurry], progress=matmul_part)
    after = snapshot(source)
    accelerators, reason = measure_accelerators(GPU_S[hurry])  # torch knows cards that no driver was asked about
    if reason is not None and identity.gpus:
        unmeasured = (*unmeasured, Unmeasured("GPU", reason))
    return Roofs(
        cores,
        clock,
        points,
        products,
        unmeasured,
        accelerators,
        disturbances(before, after),
        quick,
        time.monotonic() - start,
    )


def available_memory(identity: Identity) -> float:
    """Memory that may be taken without swapping [B]."""
    import psutil

    return min(float(psutil.virtual_memory().available), float(identity.memory_limit or "inf"))
