"""The user's own observations: one CSV file in their directory, to which every measured speed is added."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from roofline.bench import COLUMNS, Observation, Reading, read_path
from roofline.bench.observation import ORDER
from roofline.catalog import user_directory
from roofline.files import write_text
from roofline.spec import SpecError

LOCK_SECONDS = 30.0  # a writer holds the lock for milliseconds


def own_file() -> Path:
    """Where the user's own observations are kept."""
    return user_directory() / "observations.csv"


def own() -> Reading:
    """The user's own observations; none where nothing was measured yet."""
    path = own_file()
    return read_path(path) if path.is_file() else Reading(())


def append(observations: Sequence[Observation], path: Path | None = None) -> list[Observation]:
    """Add rows to the user's own file, and return them with the ids they got there.

    Rows that are there stay. Two programs that add at once wait for each other, and a reader sees the file before or
    after, never a part. SpecError when the lock is not to be had, or the file is not one of
    observations.
    """
    from filelock import FileLock, Timeout

    target = path or own_file()
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(target.with_name(f".{target.name}.lock"), timeout=LOCK_SECONDS):
            return _append(observations, target)
    except Timeout:
        raise SpecError(f"{target}: expected it free within {LOCK_SECONDS:g} s, found it locked") from None


def _append(observations: Sequence[Observation], target: Path) -> list[Observation]:
    text = target.read_text(encoding="utf-8") if target.is_file() else ""
    header, used = _existing(text, target)
    extras = sorted({name for one in observations for name in one.extra} - set(header))
    added = [*header, *extras]
    named = [replace(one, id=name) for one, name in zip(observations, _new_ids(observations, used), strict=True)]
    if extras and text:  # further columns: the rows that are there get blanks for them
        text = _widened(text, added)
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    if not text:
        writer.writerow(added)
    elif not text.endswith("\n"):
        lines.write("\n")
    writer.writerows([_cell(one, name) for name in added] for one in named)
    write_text(text + lines.getvalue(), target)
    return named


def _existing(text: str, target: Path) -> tuple[list[str], set[str]]:
    """(columns, ids) of the file that is there; the usual columns for an empty one."""
    if not text.strip():
        return list(COLUMNS), set()
    rows = csv.reader(io.StringIO(text, newline=""))
    header = next(rows)
    missing = [name for name in ORDER if name not in header]
    if missing:
        raise SpecError(f"{target}, header: expected the columns of observations, found none called {missing[0]!r}")
    place = header.index("id")
    return header, {row[place] for row in rows if len(row) > place}


def _widened(text: str, header: Sequence[str]) -> str:
    """The rows of a file under a header with more columns at its end."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    _, *rows = csv.reader(io.StringIO(text, newline=""))
    writer.writerow(header)
    writer.writerows([*row, *[""] * (len(header) - len(row))] for row in rows)
    return lines.getvalue()


def _new_ids(observations: Sequence[Observation], used: set[str]) -> list[str]:
    """An id for each row that the file does not have: the day and a number."""
    found: list[str] = []
    number = 0
    for one in observations:
        while (name := f"own-{one.date or 'undated'}-{number + 1}") in used:
            number += 1
        used.add(name)
        found.append(name)
    return found


def _cell(observation: Observation, name: str) -> str:
    if name not in ORDER:
        return observation.extra.get(name, "")
    value = getattr(observation, name)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
