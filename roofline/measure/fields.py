"""Values out of the texts that systems print: 'key: value' lines, lists of CPUs, sizes and clocks.

What cannot be understood is None: a foreign kernel, a locale or a damaged file is no reason to stop.
"""

from __future__ import annotations

import math
import re

from roofline import units

MOST_CPUS = 8192  # what Linux supports on x86; longer lists are damaged


def blocks(text: str | None) -> list[dict[str, str]]:
    """The paragraphs of 'key : value' lines, keys in lower case; the first value of a key counts."""
    found: list[dict[str, str]] = []
    fresh = True
    for line in (text or "").splitlines():
        key, colon, value = line.partition(":")
        if not colon:
            fresh = fresh or not line.strip()
            continue
        if fresh:
            found.append({})
            fresh = False
        found[-1].setdefault(key.strip().lower(), value.strip())
    return found


def pairs(text: str | None) -> dict[str, str]:
    """All 'key: value' lines of a text as one table, keys in lower case; the first value of a key counts."""
    table: dict[str, str] = {}
    for line in (text or "").splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip():
            table.setdefault(key.strip().lower(), value.strip())
    return table


def whole(text: str | None) -> int | None:
    """A whole number, decimal or 0x…; None for anything else."""
    match = re.fullmatch(r"\s*(-?[0-9]{1,18}|0[xX][0-9a-fA-F]{1,15})\s*", text or "")
    return int(match[1], 0 if match[1][:2].lower() == "0x" else 10) if match else None


def positive(text: str | None) -> int | None:
    """A whole number above zero."""
    number = whole(text)
    return number if number is not None and number > 0 else None


def quantity(text: str | None, unit: str) -> float | None:
    """A quantity in the base unit of `unit` ('3.2 GHz', '16384 KiB'); None unless finite and above zero."""
    try:
        value = units.parse((text or "").strip() or "?", unit)
    except units.UnitError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def size(text: str | None) -> int | None:
    """Bytes of '512K', '8192 kB', '16 MiB' or '1.5 MiB (6 instances)': kernels mean powers of 1024 by all of them."""
    match = re.match(r"\s*([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([KMGT]?)(?:i?B)?(?:\s*\(|\s*$)", text or "", re.I)
    if match is None:
        return None
    prefix = f"{match[2].upper()}i" if match[2] else ""
    bytes_ = quantity(f"{match[1]} {prefix}B", "B")
    return None if bytes_ is None else round(bytes_)


def clock(text: str | None, unit: str) -> float | None:
    """A bare number in `unit` ('kHz' in sysfs, 'MHz' in lscpu) as Hz; decimal commas are read too."""
    match = re.match(r"\s*([0-9]{1,12}(?:[.,][0-9]{1,6})?)\s*$", text or "")
    return quantity(f"{match[1].replace(',', '.')} {unit}", "Hz") if match else None


def cpus(text: str | None) -> frozenset[int]:
    """The CPUs of a list such as '0-3,8'."""
    found: set[int] = set()
    for part in (text or "").strip().split(",")[:MOST_CPUS]:
        match = re.fullmatch(r"([0-9]{1,6})(?:-([0-9]{1,6}))?", part.strip())
        if match is None:
            continue
        first, last = int(match[1]), int(match[2] or match[1])
        if last < MOST_CPUS:
            found.update(range(first, last + 1))
    return frozenset(found)


def one_line(text: str | None, limit: int = 200) -> str:
    """A name in one printable line: NUL ends of the device tree and runs of blanks go."""
    kept = "".join(char if char.isprintable() else " " for char in (text or "")[: limit * 4])
    return " ".join(kept.split())[:limit]
