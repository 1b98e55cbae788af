"""The ladder of an article, on another machine: what climbed how far in 2024."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from roofline.units import parse

FILE = Path(__file__).parent / "historical.csv"
#: Where the figures stand, and on what machine they were measured.
TITLE = "LLaMA Now Goes Faster on CPUs"
AUTHOR = "Justine Tunney"
DATE = "2024-03-31"
URL = "https://justine.lol/matmul/"
MACHINE = "Intel Core i9-14900K, 6400 MT/s memory, overclocked"


@dataclass(frozen=True, slots=True)
class Historical:
    """A rung of the article, in fp32 with all threads unless the name says otherwise. flop_s: as stated [FLOP/s]."""

    name: str
    library: str
    flop_s: float
    note: str


@lru_cache(maxsize=1)
def historical() -> tuple[Historical, ...]:
    """The article's rungs, ascending."""
    with FILE.open(encoding="utf-8", newline="") as lines:
        return tuple(
            Historical(row["name"], row["library"], parse(f"{row['gflop_s']} GFLOP/s", "FLOP/s"), row["note"])
            for row in csv.DictReader(lines)
        )


def cited() -> str:
    """'Justine Tunney, "…", 2024-03-31, https://…'."""
    return f'{AUTHOR}, "{TITLE}", {DATE}, {URL}'
