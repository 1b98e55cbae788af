"""Memory for the bandwidth kernels: touched first by the thread that uses it, aligned to pages, apart in the caches."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roofline.measure.timing import Budget, Team
from roofline.spec import SpecError
from roofline.units import format_quantity

Array = np.ndarray[Any, np.dtype[np.float64]]

_ELEMENT = np.dtype(np.float64).itemsize  # B
_PAGE = 4096  # B; a larger page begins at a multiple of it too
_SKEW = 1024  # B between the beginnings of two arrays in a page, so that their equal elements differ in the low bits
_MOST_ARRAYS = 3
_STEPS = 16  # in which memory is touched, with a look at the budget between them
_SHARE = 1 / 3  # of the budget that touching may take


def numa_nodes() -> int:
    """Nodes with memory of their own, as Linux counts them; 1 where that is not known."""
    folder = Path("/sys/devices/system/node")
    try:
        return max(sum(re.fullmatch(r"node\d+", path.name) is not None for path in folder.iterdir()), 1)
    except OSError:
        return 1


class Memory:
    """A working set's memory, handed out in parts, one a thread.

    Memory belongs to the node of the thread that touches it first. With one node the same memory serves every number
    of threads (shared); with several each thread has a buffer that it touched itself, and another team needs another
    Memory. numpy asks the kernel for huge pages by itself.
    """

    def __init__(self, team: Team, size: float, budget: Budget, shared: bool) -> None:
        """size: the working set of all threads together [B]. Touching stops when a third of the budget is spent.

        SpecError when the memory cannot be had.
        """
        self.shared = shared
        self._threads = team.threads
        count = 1 if shared else team.threads
        try:
            self._buffers = [_aligned(int(size / count) + team.threads * _slack()) for _ in range(count)]
        except MemoryError:
            wanted = format_quantity(size, "B", binary=True)
            raise SpecError(f"bandwidth: expected {wanted} of free memory, found less") from None
        steps = 0
        while steps < _STEPS and (not steps or budget.left > (1 - _SHARE) * budget.seconds):
            team.run(lambda number, step=steps: self._touch(number, step))  # type: ignore[misc]
            steps += 1
        self._buffers = [buffer[: len(buffer) * steps // _STEPS] for buffer in self._buffers]
        #: What was touched, and can be used by a working set [B].
        self.size = size * steps / _STEPS

    def _touch(self, number: int, step: int) -> None:
        buffer = self._buffers[0 if self.shared else number]
        start, end = (len(buffer) * edge // _STEPS for edge in (step, step + 1))
        if self.shared:
            each = math.ceil((end - start) / self._threads)
            start, end = start + number * each, min(start + (number + 1) * each, end)
        buffer[start:end] = 1.0

    def parts(self, threads: int) -> list[Array]:
        """A buffer for each thread that holds the arrays of size / threads bytes, and begins with a page."""
        if not self.shared:
            return self._buffers[:threads]
        (buffer,) = self._buffers
        each = len(buffer) // threads // (_PAGE // _ELEMENT) * (_PAGE // _ELEMENT)
        return [buffer[number * each : (number + 1) * each] for number in range(threads)]


def _slack() -> int:
    """The distances between the arrays of one thread, and what rounding to steps and pages takes, at most [B]."""
    return _STEPS * (_MOST_ARRAYS + 1) * (_PAGE + _SKEW)


def _aligned(size: int) -> Array:
    raw = np.empty(size + _PAGE, dtype=np.uint8)
    start = -raw.ctypes.data % _PAGE
    return raw[start : start + size // _ELEMENT * _ELEMENT].view(np.float64)


def arrays_in(buffer: Array, count: int, elements: int) -> Sequence[Array]:
    """`count` arrays of `elements` each in a buffer that begins with a page: whole pages apart, and a skew."""
    pages = math.ceil(elements * _ELEMENT / _PAGE)
    starts = [number * (pages * _PAGE + _SKEW) // _ELEMENT for number in range(count)]
    if starts[-1] + elements > len(buffer):
        raise ValueError(f"expected a buffer of {starts[-1] + elements} elements, found {len(buffer)}")
    return [buffer[start : start + elements] for start in starts]
