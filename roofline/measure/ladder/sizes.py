"""Speed against the size of the matrices: where they leave the caches, and who notices.

A product with blocks works on parts that fit the first caches, whatever the size. Without them every row of the result
goes through the whole of B: at the speed of the level that holds B. So a few rows show the speed of all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from roofline.measure.ladder.climb import Measured, Task
from roofline.measure.ladder.rungs import RUNGS, UNBLOCKED, Run, Rung

_SMALLEST = 64
_LARGEST = {True: 2048, False: 8192}  # of the rung without blocks, in a hurry and not; the others end when time does
_LARGEST_BLOCKED = {True: 2048, False: 4096}
_WORK = 1 << 26  # FLOP of a few rows: some 10 ms
_FEWEST_ROWS = 4


def traffic(rung: Rung, m: int, n: int) -> float:
    """Bytes of the three matrices, each of which must be moved once at least (compulsory traffic) [B]."""
    return float((m * n + n * n) * rung.operand_bytes + m * n * rung.result_bytes)


def side_in(cache: float, rung: Rung) -> int:
    """The largest n of which three n × n matrices fit a cache [1]. cache: [B]."""
    return math.isqrt(int(cache / traffic(rung, 1, 1))) if cache > 0 else 0


def few_rows(n: int) -> int:
    """Rows of A that are enough to time a product without blocks [1]."""
    return min(n, max(_FEWEST_ROWS, _WORK // (2 * n * n)))


def best_blocked(found: Sequence[Measured]) -> Run | None:
    """The fastest rung of a library in fp32."""
    able = [one for one in found if one.run.spec.nature in ("blas", "other")]
    return max(able, key=lambda one: one.samples.median).run if able else None


def largest(available: float, quick: bool) -> int:
    """The largest n of a sweep: three matrices take a tenth of the memory that is available [B] at most."""
    return min(_LARGEST[quick], int(math.sqrt(available / 10.0 / traffic(RUNGS[UNBLOCKED], 1, 1))))


def sweep_tasks(blocked: Run | None, largest_n: int, quick: bool) -> tuple[Task, ...]:
    """A task for each size: of the fastest library, and of the rung without blocks."""
    sizes = [_SMALLEST << step for step in range(16) if _SMALLEST << step <= largest_n]
    without = [Task(Run(UNBLOCKED, 1), n, few_rows(n), True) for n in sizes]
    if blocked is None:
        return tuple(without)
    return (*without, *(Task(blocked, n, 0, True) for n in sizes if n <= _LARGEST_BLOCKED[quick]))
