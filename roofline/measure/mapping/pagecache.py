"""A file's pages in the page cache: how many are there (mincore), and asking them to leave (posix_fadvise).

mincore(2) tells of every page of a mapping whether it is in the page cache, whoever brought it there; see access for
whom. posix_fadvise(POSIX_FADV_DONTNEED) drops the clean pages of the file that no process has mapped.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable

import numpy as np

_STEP = 1 << 18  # pages asked for at a time


def evict(descriptor: int) -> None:
    """Ask the system to forget the file's pages; what another process maps stays."""
    os.fsync(descriptor)  # a page that is not on the disk yet would stay
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def address_of(mapping: mmap.mmap) -> int:
    """Where a mapping begins in this process."""
    return int(np.frombuffer(mapping, dtype=np.uint8, count=1).ctypes.data)


def cached_pages(mapping: mmap.mmap, size: int) -> int:
    """Pages of the mapped file that are in the page cache [1]; OSError where the system does not tell."""
    mincore = _mincore()
    begin, page, found = address_of(mapping), mmap.PAGESIZE, 0
    answers = np.zeros(_STEP, dtype=np.uint8)
    for at in range(0, size, _STEP * page):
        length = min(size - at, _STEP * page)
        if mincore(begin + at, length, answers.ctypes.data) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"mincore: {os.strerror(number)}")
        found += int(np.count_nonzero(answers[: -(-length // page)] & 1))
    return found


def _mincore() -> Callable[[int, int, int], int]:
    """mincore(2), with its arguments as wide as they are."""
    call = ctypes.CDLL(None, use_errno=True).mincore
    call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    call.restype = ctypes.c_int
    return lambda begin, length, answers: int(call(begin, length, answers))
