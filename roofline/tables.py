"""Rows as text: an aligned table, JSON, CSV or Markdown."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from roofline.columns import COLUMNS
from roofline.units import format_duration, format_number, format_quantity

Format = Literal["table", "json", "csv", "md"]


def cell(key: str, value: Any) -> str:
    """A value as a person reads it, with the unit of its column's quantity."""
    column = COLUMNS.get(key)
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        if column is not None and column.unit == "%":
            tiny = column.digits > 3 and 0.0 < value < 0.001  # a column with more digits shows some of these, too
            return ("<0.01%" if value < 0.0001 else f"{value:.2%}") if tiny else f"{value:.1%}"
        if column is not None and column.quantity and column.unit == "s":
            return format_duration(float(value))
        if column is not None and column.quantity:
            return format_quantity(float(value), column.unit, binary=column.binary).strip()
        if isinstance(value, int) or (float(value).is_integer() and column is not None and column.digits == 9):
            return str(int(value))
        return format_number(float(value), column.digits if column else 3)
    if isinstance(value, (list, tuple)):
        return printable(", ".join(str(part) for part in value))
    return printable(str(value))


def speed_range(value: float | None, low: float | None, high: float | None) -> str | None:
    """'8.25 (4.21–16.2)': a figure with its band; None where it is unknown."""
    if value is None or low is None or high is None:
        return None
    return f"{format_number(value)} ({format_number(low)}–{format_number(high)})"


def printable(text: str) -> str:
    """Text without control characters: names come from files that anybody may write."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def heading(key: str) -> str:
    """Title of a column with the unit of its plain numbers: 'expected [tok/s]'."""
    column = COLUMNS[key]
    return (
        f"{column.title} [{column.unit}]"
        if column.unit and not column.quantity and column.unit != "%"
        else column.title
    )


def render(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], form: Format) -> str:
    """Rows as an aligned table, JSON, CSV or Markdown, with the columns in the given order."""
    if form == "json":
        return to_json([{key: row.get(key) for key in columns} for row in rows])
    if form == "csv":
        return to_csv(rows, columns)
    titles, cells, numeric = written(rows, columns)
    return _markdown(titles, cells, numeric) if form == "md" else _aligned(titles, cells, numeric)


def written(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> tuple[list[str], list[list[str]], list[bool]]:
    """Headings, cells as a person reads them, and which columns hold numbers and are aligned to the right."""
    cells = [[cell(key, row.get(key)) for key in columns] for row in rows]
    numeric = [all(isinstance(row.get(key), (int, float, type(None))) for row in rows) for key in columns]
    return [heading(key) for key in columns], cells, numeric


def to_json(value: Any) -> str:
    """JSON with non-finite numbers refused, since few readers take them."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """CSV with one heading line, numbers in full."""
    text = io.StringIO()
    minimal = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    minimal.writerow(columns)
    for row in rows:
        cells = ["" if row.get(key) is None else _plain(row[key]) for key in columns]
        # The minimal writer leaves a carriage return bare, which readers take for the end of the row.
        bare = any(isinstance(value, str) and "\r" in value for value in cells)
        (quoted if bare else minimal).writerow(cells)
    return text.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return " ".join(str(part) for part in value)
    return spreadsheet_safe(value)


def spreadsheet_safe(value: Any) -> Any:
    """A cell that begins like a formula would run in a spreadsheet: it gets an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value


def _aligned(titles: list[str], cells: list[list[str]], numeric: list[bool]) -> str:
    widths = [max(len(row[index]) for row in [titles, *cells]) for index in range(len(titles))]
    lines = []
    for row in [titles, *cells]:
        parts = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines) + "\n"


def markdown_text(text: str) -> str:
    """Text as Markdown shows it as it is written: no tag, code, emphasis, link, picture or cell begins in it."""
    text = re.sub(r"[\\|`*]|\$(?=\S)|(?<=\])\(|(?<![^\W_])_|_(?![^\W_])|~(?=~)", r"\\\g<0>", printable(text))
    return re.sub(r"&(?=#?\w+;)", "&amp;", text).replace("<", "&lt;")


def _markdown(titles: list[str], cells: list[list[str]], numeric: list[bool]) -> str:
    def line(row: list[str]) -> str:
        return "| " + " | ".join(map(markdown_text, row)) + " |"

    rule = "|" + "|".join("--:" if right else ":--" for right in numeric) + "|"
    return "\n".join([line(titles), rule, *(line(row) for row in cells)]) + "\n"
