"""The sizes of pages, and how many faults touching them takes.

A fault on a page of a mapped file maps more than that page: Linux maps those of its neighbours within 64 KiB that are
in the page cache already (fault-around: mm/memory.c, do_fault_around, fault_around_bytes), and on a file system with
large folios a whole folio of up to 2 MiB at once (mm/filemap.c, filemap_map_pages, filemap_map_pmd). A fault is *major*
where it had to wait for the disk, else *minor*. One wait reads a window ahead (/sys/class/bdi/*/read_ahead_kb), so that
the next pages cost minor faults, or none: a count of faults is no count of pages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roofline.hardware import Hardware
from roofline.spec import SpecError
from roofline.units import BINARY_PREFIXES, UnitError, parse, short
from roofline.workload import Real

_KIB = BINARY_PREFIXES["Ki"]
USUAL_PAGE = parse("4 KiB", "B")
FAULT_AROUND = parse("64 KiB", "B")  # mm/memory.c: fault_around_pages = 65536 >> PAGE_SHIFT
READ_AHEAD = parse("128 KiB", "B")  # include/linux/pagemap.h: VM_READAHEAD_PAGES, where the disk says nothing else
HUGE_PAGE = parse("2 MiB", "B")  # a page-table entry of the next level where pages have 4 KiB
SMALLEST, LARGEST = parse("1 KiB", "B"), parse("2 MiB", "B")


@dataclass(frozen=True, slots=True)
class PageSize:
    """Bytes of a page. basis: measured, assumed or override; reason: why, in words."""

    size: int
    basis: str
    reason: str


#: Pages other than 4 KiB by (vendor, microarchitecture of the CPU or '' for all), with where that is said.
_OTHER_PAGES = {
    ("Apple", ""): ("16 KiB", "sysctl hw.pagesize of an M1 says so: github.com/JohnTitor/mach2, pull request 7"),
    ("Raspberry Pi", "cortex-a76"): (
        "16 KiB",
        "getconf PAGE_SIZE says so with a Pi 5's own kernel: github.com/cculianu/Fulcrum, issue 223",
    ),
}


def page_size(hardware: Hardware, given: str | None = None) -> PageSize:
    """Pages of a machine's usual kernel, or those given ('16KiB'); SpecError for what no kernel has."""
    if given is not None:
        return PageSize(_page_of(given), "override", "--page")
    core = hardware.cpu.microarchitecture if hardware.cpu else ""
    for key in ((hardware.vendor, core), (hardware.vendor, "")):
        if key in _OTHER_PAGES:
            size, reason = _OTHER_PAGES[key]
            return PageSize(int(parse(size, "B")), "measured", reason)
    return PageSize(int(USUAL_PAGE), "assumed", "the usual page of x86-64 and arm64 kernels; --page names another")


def _page_of(text: str) -> int:
    try:
        size = parse(text, "B")
    except UnitError as error:
        raise SpecError(f"--page: {error}") from None
    if not SMALLEST <= size <= LARGEST or not size.is_integer() or int(size) & (int(size) - 1):
        raise SpecError(f"--page: expected a power of two from 1KiB to 2MiB, such as 16KiB, found {short(text)}")
    return int(size)


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults that touching pages for the first time takes [1].

    fewest: folios of 2 MiB, mapped at once. expected: fault-around over a file whose pages were read in order. most: a
    fault for each page, as with MADV_RANDOM. major: of them, those that wait for the disk where no read-ahead runs
    before the reader; 0 where it always does.
    """

    fewest: Real
    expected: Real
    most: Real
    major: Real


def faults(pages: Real, page: int, is_cached: bool = False) -> Faults:
    """Faults on `pages` pages in runs much longer than a window; in a warm file none is major."""
    size = np.asarray(pages) * page
    around = np.ceil(size / max(FAULT_AROUND, page))
    major = 0.0 * around if is_cached else np.ceil(size / max(READ_AHEAD, page))
    found = [np.ceil(size / max(HUGE_PAGE, page)), around, np.asarray(pages, dtype=float), major]
    return Faults(*(float(one) if np.ndim(one) == 0 else one for one in found))
