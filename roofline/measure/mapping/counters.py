"""What Linux counts of this process: faults, blocks read, and how much of a mapping its page table has."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from roofline.units import BINARY_PREFIXES

_PROC = Path("/proc/self")
_KIB = int(BINARY_PREFIXES["Ki"])


def faults() -> tuple[int, int]:
    """(minor, major) faults of this process so far [1]."""
    import resource  # not on every system, and only Linux gets here

    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_minflt, usage.ru_majflt


def bytes_read() -> int | None:
    """Bytes that this process had fetched from disks so far [B]; None where the kernel does not count them."""
    return read_bytes_of(_lines("io"))


def read_bytes_of(lines: Iterable[str]) -> int | None:
    """The figure in the lines of /proc/PID/io."""
    for line in lines:
        name, _, value = line.partition(":")
        if name == "read_bytes" and value.strip().isdigit():
            return int(value)
    return None


def mapped_bytes(address: int) -> int | None:
    """Bytes of the mapping at `address` that are in the page table of this process [B]."""
    return rss_of(_lines("smaps"), address)


def rss_of(lines: Iterable[str], address: int) -> int | None:
    """The Rss of the mappings that begin at `address`, in the lines of /proc/PID/smaps [B]; None where none does."""
    inside = False
    for line in lines:
        first = line.split(" ", 1)[0]
        if "-" in first and not first.endswith(":"):
            begin = first.partition("-")[0]
            inside = int(begin, 16) == address
        elif inside and line.startswith("Rss:"):
            return int(line.split()[1]) * _KIB
    return None


def own_bytes() -> int | None:
    """Anonymous memory of this process [B]: RssAnon."""
    for line in _lines("status"):
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * _KIB
    return None


def _lines(name: str) -> list[str]:
    try:
        return (_PROC / name).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
