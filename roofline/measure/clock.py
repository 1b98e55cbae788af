"""The clock that the cores really run at, from a chain of multiplications in which each waits for the one before.

What the operating system states is often the nominal clock (virtual machines), or a limit. A product over an array that
stays in the first-level cache takes the latency of one multiplication per element, whatever else the core could do:
numpy multiplies in order there, because the order of rounding must not change (numpy, loops_arithm_fp.dispatch.c.src,
BINARY_REDUCE_LOOP). So clock = latency · elements / time.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from roofline.measure.timing import Budget, Clock, Samples, Team, one_per_core

ELEMENTS, PASSES = 2_048, 800  # 16 kB of float64, which fit every first-level cache; together some 2 ms
BEST_OF, FEWEST = 5, 3

#: Latency of a double-precision multiplication [cycles]: A. Fog, Instruction tables (MULSD, VMULSD); Arm's software
#: optimization guides of each core (FMUL, scalar D form).
LATENCY = {
    "haswell": 5, "broadwell": 3, "skylake": 4, "skylake-sp": 4, "kaby-lake": 4, "coffee-lake": 4, "cascade-lake": 4,
    "sunny-cove": 4, "willow-cove": 4, "golden-cove": 4, "raptor-cove": 4, "redwood-cove": 4, "zen2": 3, "zen3": 3,
    "zen4": 3, "zen5": 3, "cortex-a72": 4, "cortex-a76": 3, "cortex-a78": 3, "neoverse-n1": 3, "neoverse-v1": 3,
    "neoverse-v2": 3,
}  # fmt: skip


def measure_clock(
    microarchitecture: str,
    threads: int,
    seconds: float = 1.0,
    progress: Callable[[float], None] = lambda _: None,
    *,
    timer: Clock = time.perf_counter,
) -> Samples | None:
    """The clock of the slowest of `threads` busy cores [Hz]; None for a core whose latency is not known."""
    latency = LATENCY.get(microarchitecture)
    if latency is None:
        return None
    budget = Budget(seconds, timer)
    chain = np.broadcast_to(np.ones(ELEMENTS), (PASSES, ELEMENTS))  # the same numbers again: one call, no lock held
    found: list[float] = []
    with Team(threads, one_per_core(), timer) as team:
        while len(found) < FEWEST or budget.left > 0:
            took = min(team.run(lambda _: np.multiply.reduce(chain, axis=1)) for _ in range(BEST_OF))
            found.append(latency * PASSES * ELEMENTS / took)
            progress(budget.share)
    return Samples(tuple(found))
