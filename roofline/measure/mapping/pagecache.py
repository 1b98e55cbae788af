"""A file's pages in the page cache: how many are there (mincore), and asking them to leave (posix_fadvise).

mincore(2) tells of every page of a mapping whether it is in the page cache, whoever brought it there. Since Linux 5.2
it answers so only to those who own the file or may write it, and says "all of them" to anybody else (mm/mincore.c,
can_do_mincore). posix_fadvise(POSIX_FADV_DONTNEED) drops the clean pages of the file that no process has mapped.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from roofline.spec import SpecError

_MOUNTS = Path("/proc/self/mountinfo")
#: File systems whose files have no pages in the page cache that mincore could tell of.
_WITHOUT_PAGES = {"proc", "sysfs", "devtmpfs", "cgroup2", "debugfs", "tracefs", "securityfs"}
_IN_MEMORY = {"tmpfs", "ramfs"}
_STEP = 1 << 18  # pages asked for at a time


def check_file(path: Path) -> None:
    """SpecError, in one line, for what cannot be mapped and looked at."""
    if not sys.platform.startswith("linux"):
        raise SpecError(f"--measure: expected Linux, whose /proc and mincore are read, found {sys.platform}")
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SpecError(f"--measure: expected a GGUF file, found {str(path)!r}: {reason}") from None
    if not stat.S_ISREG(status.st_mode):
        raise SpecError(f"--measure: expected a GGUF file, found {str(path)!r}, which is no regular file")
    kind = file_system(path)
    if kind in _WITHOUT_PAGES:
        raise SpecError(
            f"--measure: expected a file on a disk, found {str(path)!r} on {kind}, which mincore cannot see"
        )
    if status.st_size == 0:
        raise SpecError(f"--measure: expected a GGUF file, found {str(path)!r}, which is empty")
    if not os.access(path, os.R_OK):
        raise SpecError(f"--measure: expected a file that can be read, found {str(path)!r}, which you may not")


def file_system(path: Path, mounts: Path = _MOUNTS) -> str:
    """The kind of file system that a file is on ('ext4'); '' where that cannot be told."""
    try:
        where, lines = path.resolve(), mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, RuntimeError):
        return ""
    found: tuple[int, str] = (-1, "")
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if len(fields) < 5 or not kind:
            continue
        point = fields[4].encode().decode("unicode_escape", errors="replace")
        if where.is_relative_to(point) and len(point) >= found[0]:  # a later mount hides an earlier one
            found = len(point), kind[0]
    return found[1]


def is_in_memory(path: Path) -> bool:
    """Whether the file's only place is the page cache."""
    return file_system(path) in _IN_MEMORY


def may_ask(path: Path) -> bool:
    """Whether mincore answers this user about this file."""
    return os.geteuid() in (0, path.stat().st_uid) or os.access(path, os.W_OK, effective_ids=True)


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
