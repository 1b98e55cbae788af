"""The observations that come with the package: a cited selection of public measurements."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from roofline.bench.names import Names
from roofline.bench.observation import Observation, Reading, Skipped, reading
from roofline.bench.observations_csv import rows

DIRECTORY = Path(__file__).resolve().parent.parent / "observations"


@lru_cache(maxsize=1)
def shipped() -> Reading:
    """All rows of roofline/observations/*.csv, file by file in order of their names."""
    return reading(_all_rows())


def _all_rows() -> Iterator[Observation | Skipped]:
    names = Names()
    for path in sorted(DIRECTORY.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as lines:
            yield from rows(lines, source=path.name, names=names)
