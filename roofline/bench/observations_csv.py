"""Observations CSV: one measured speed a row, as a stream, so that a million rows need no more than their results."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter

from roofline.bench.names import Names
from roofline.bench.observation import NOTHING, ORDER, Checker, Given, Observation, Reading, Skipped, reading
from roofline.bench.text import clean, shown
from roofline.spec import SpecError

#: What a row cannot do without; hardware, model and quant may be given beside the file.
NEEDED = ("hardware", "model", "quant", "phase", "tok_s")
MOST_COLUMNS = 500


def read_observations(text: str, given: Given = Given(), name: str = "observations") -> Reading:  # noqa: B008 - frozen
    """The rows of an observations CSV; what is given stands in for blanks. name: of the source, in messages."""
    return reading(rows(io.StringIO(text.removeprefix("\ufeff"), newline=""), given, name))


def rows(
    lines: Iterable[str],
    given: Given = Given(),  # noqa: B008 - frozen
    source: str = "observations",
    names: Names | None = None,
) -> Iterator[Observation | Skipped]:
    """One item a row, as they are read. SpecError when the header lacks a needed column."""
    reader = csv.reader(lines)
    header = _header(reader, source, given)
    checker = Checker(given, names)
    # A column that the file lacks reads the blank cell that every row gets at its end.
    pick = itemgetter(*(header.index(name) if name in header else -1 for name in ORDER))
    others = [(name, at) for at, name in enumerate(header) if name and name not in ORDER]
    width, row = len(header), 0
    while True:
        row += 1
        first_line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            where = _lines(first_line, reader.line_num)
            yield Skipped(
                f"row-{row}", row, f"row {row}{where}: expected a CSV row, found {error} (an unclosed quote?)"
            )
            continue
        if not any(cells):
            row -= 1  # a blank line is no row
            continue
        if len(cells) != width:
            name = clean(cells[0], 200) if header[0] == "id" else ""
            lines_read = _lines(first_line, reader.line_num)
            reason = f"row {row}{lines_read}: expected {width} columns, found {len(cells)}"
            yield Skipped(name or f"row-{row}", row, reason + (" (an unclosed quote?)" if lines_read else ""))
            continue
        extra: Mapping[str, str] = NOTHING
        if others:
            extra = {name: clean(cells[at]) for name, at in others if cells[at]} or NOTHING
        cells.append("")
        yield checker.check(pick(cells), row, extra)


def _lines(first: int, last: int) -> str:
    """What a row that takes several lines of the file took: its lines are not read again."""
    return f", lines {first} to {last}" if last > first else ""


def _header(reader: Iterator[list[str]], source: str, given: Given) -> list[str]:
    """The names of the columns in lower case."""
    try:
        cells = next((cells for cells in reader if any(cells)), [])
    except csv.Error as error:
        raise SpecError(f"{source}: expected a row of column names, found {error}") from None
    header = [clean(cell, 100).lower() for cell in cells]
    missing = [name for name in NEEDED if name not in header and not getattr(given, name, None)]
    if missing:
        found = shown(", ".join(header), 200) if header else "an empty file"
        raise SpecError(
            f"{source}, header: expected the column{'s' * (len(missing) > 1)} {', '.join(missing)}, found {found}"
        )
    if len(header) > MOST_COLUMNS:
        raise SpecError(f"{source}, header: expected at most {MOST_COLUMNS} columns, found {len(header)}")
    double = [name for name in header if name and header.count(name) > 1]
    if double:
        raise SpecError(f"{source}, header: expected each column once, found {shown(double[0])} twice")
    return header
