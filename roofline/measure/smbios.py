"""What dmidecode prints: the processor as the firmware names it, memory modules, their type and speed."""

from __future__ import annotations

import re
from typing import NamedTuple

from roofline.measure.fields import one_line, quantity, size
from roofline.measure.source import Source


class Modules(NamedTuple):
    """Memory modules: slots filled, their type ('DDR5'), the rate that they run at [T/s], all together [B]."""

    filled: int = 0
    type: str = ""
    transfer_rate: float | None = None
    bytes: int | None = None


def _devices(text: str | None, title: str) -> list[dict[str, str]]:
    """The 'key: value' lines under each heading `title`."""
    found: list[dict[str, str]] = []
    inside = False
    for line in (text or "").splitlines():
        if line.strip() == title:
            found.append({})
            inside = True
        elif not line[:1].isspace() and line.strip():
            inside = False
        elif inside:
            key, colon, value = line.partition(":")
            if colon:
                found[-1].setdefault(key.strip().lower(), value.strip())
    return found


def memory(source: Source) -> Modules:
    """The modules by `dmidecode -t memory`, which only root may read; Modules() where it says nothing."""
    devices = _devices(source.command("dmidecode", "-t", "memory"), "Memory Device")
    sized = [(module, bytes_) for module in devices if (bytes_ := size(module.get("size"))) is not None]
    rates = [_rate(module) for module, _ in sized]
    types = {module.get("type", "") for module, _ in sized} - {"", "Unknown", "Other", "<OUT OF SPEC>"}
    known = [rate for rate in rates if rate]
    return Modules(
        filled=len(sized),
        type=one_line(min(types), 20) if types else "",
        transfer_rate=min(known) if known else None,  # the slowest module sets the rate of a channel
        bytes=sum(bytes_ for _, bytes_ in sized) or None,
    )


def _rate(module: dict[str, str]) -> float | None:
    """The rate a module runs at [T/s]; old dmidecode says MHz and means transfers."""
    for key in ("configured memory speed", "configured clock speed", "speed"):
        match = re.match(r"(\d{2,6})\s*(?:MT/s|MHz)\s*$", module.get(key, ""))
        if match:
            return quantity(f"{match[1]} MT/s", "T/s")
    return None


def processor(source: Source) -> str:
    """The processor by `dmidecode -t processor`: version and part number, '' where neither is told."""
    for table in _devices(source.command("dmidecode", "-t", "processor"), "Processor Information"):
        words = [one_line(table.get(key)) for key in ("version", "part number")]
        kept = [word for word in words if word and word.lower() not in ("unknown", "not specified", "to be filled")]
        if kept:
            return " ".join(kept)
    return ""
