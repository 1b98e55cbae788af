"""The process that maps the file: it says after each step what was counted. Run as a module, a request on stdin.

It maps as llama.cpp does (src/llama-mmap.cpp, llama_mmap::impl): MAP_SHARED and PROT_READ after
posix_fadvise(POSIX_FADV_SEQUENTIAL); 'populated' is its usual way, MAP_POPULATE with madvise(WILLNEED); 'lazy' its way
on a machine with NUMA optimisations but for the advice, and that of its first mapping in March 2023; 'random' adds
madvise(RANDOM), as it does with NUMA: then nothing is read ahead, and what is cached is what was touched.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from roofline.measure.mapping import counters, pagecache
from roofline.measure.mapping.walk import Run, halves, read, total


class _Session:
    """A file open for reading, and what happened to it so far."""

    def __init__(self, path: str, may_ask: bool) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.fstat(self.descriptor).st_size
        self.may_ask = may_ask
        self.mapping: mmap.mmap | None = None
        self.steps: list[dict[str, Any]] = []
        self.begin = self._counts()

    def _counts(self) -> tuple[float, int, int, int | None]:
        minor, major = counters.faults()
        return time.perf_counter(), minor, major, counters.bytes_read()

    def step(self, name: str, touched: int = 0, passes: int = 0) -> None:
        """Note what was counted since the last step."""
        seconds, minor, major, fetched = self._counts()
        began, minor_before, major_before, fetched_before = self.begin
        known = fetched is not None and fetched_before is not None
        self.steps.append(
            {
                "name": name,
                "seconds": seconds - began,
                "touched": touched,
                "minor": minor - minor_before,
                "major": major - major_before,
                "read": fetched - fetched_before if known else None,  # type: ignore[operator]
                "mapped": counters.mapped_bytes(pagecache.address_of(self.mapping)) if self.mapping else 0,
                "cached": self.cached(),
                "own": counters.own_bytes(),
            }
        )
        self.begin = self._counts()  # looking costs faults and time of its own

    def cached(self) -> int | None:
        """Bytes of the file in the page cache [B]; None where the system does not tell this user."""
        if not self.may_ask:
            return None
        with suppress(OSError):
            if self.mapping is not None:
                return pagecache.cached_pages(self.mapping, self.size) * mmap.PAGESIZE
            with mmap.mmap(self.descriptor, self.size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ) as looked_at:
                return pagecache.cached_pages(looked_at, self.size) * mmap.PAGESIZE
        return None


def run(path: str, way: str, runs: Sequence[Run], may_ask: bool) -> list[dict[str, Any]]:
    """The steps of one way of mapping: the file as it was, evicted, mapped, half a token, a token, and once more."""
    session = _Session(path, may_ask)
    session.step("as it was")
    pagecache.evict(session.descriptor)
    session.step("evicted")
    os.posix_fadvise(session.descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    flags = mmap.MAP_SHARED | (mmap.MAP_POPULATE if way == "populated" else 0)
    session.begin = session._counts()
    mapping = mmap.mmap(session.descriptor, session.size, flags=flags, prot=mmap.PROT_READ)
    session.mapping = mapping
    if way == "populated":
        mapping.madvise(mmap.MADV_WILLNEED)
    if way == "random":
        mapping.madvise(mmap.MADV_RANDOM)
    session.step("mapped")
    first, rest = halves(runs, mmap.PAGESIZE)
    read(mapping, first)
    session.step("half a token", total(first))
    read(mapping, rest)
    session.step("one token", total(rest))
    read(mapping, runs)
    session.step("a second token", total(runs))
    return session.steps


def main() -> None:
    """Read the request, write the steps."""
    request = json.load(sys.stdin)
    runs = [(int(begin), int(end)) for begin, end in request["runs"]]
    steps = run(request["path"], request["way"], runs, request["may_ask"])
    json.dump({"page": mmap.PAGESIZE, "steps": steps}, sys.stdout)


if __name__ == "__main__":
    main()
