"""Readers of llama-bench's machine-readable outputs, and of the JSON of llama-batched-bench and llama-server."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping

from roofline.bench.batched import from_batched, is_batched
from roofline.bench.observation import Given, Observation, Reading, Skipped, reading
from roofline.bench.records import from_record, is_record
from roofline.bench.run import Namer
from roofline.bench.text import clean, shown
from roofline.bench.timings import from_timings, timings_in
from roofline.spec import SpecError

_OBJECT = re.compile(r"^[ \t]*(?:data:[ \t]*)?[\[, \t]*\{", re.M)
_NEXT = re.compile(r"[\s,]*\{")
_MOST_BROKEN = 100
_INSERT = re.compile(r"INSERT\s+INTO\s+\S+\s*\(([^)]{1,4000})\)\s{0,9}VALUES\s{0,9}", re.I)
_VALUE = re.compile(r"\s*(?:'((?:[^']|''){0,10000})'|\"([^\"]*)\"|([^,()'\"]+))\s*([,)])")


def read_json(text: str, given: Given = Given(), prefix: str = "run") -> Reading:  # noqa: B008 - frozen
    """JSON or JSON lines of llama-bench, llama-batched-bench and llama-server; a broken object costs only itself."""
    return reading(_json_rows(text, Namer(given, prefix)))


def _json_rows(text: str, namer: Namer) -> Iterator[Observation | Skipped]:
    for row, found in enumerate(_objects(text), 1):
        if isinstance(found, str):
            yield namer.skip(row, f"expected a JSON object, found {found}")
        elif is_record(found):
            yield from_record(found, row, namer)
        elif is_batched(found):
            yield from from_batched(found, row, namer)
        elif timings_in(found) is not None:
            yield from from_timings(found, row, namer)
        else:
            keys = shown(", ".join(str(key) for key in list(found)[:8]), 80)
            yield namer.skip(
                row, f"expected the keys of llama-bench (n_prompt, n_gen, avg_ts) or timings, found {keys}"
            )


def _objects(text: str) -> Iterator[dict[str, object] | str]:
    """Every JSON object that begins a line or follows another, or why there is none."""
    decoder, at, broken = json.JSONDecoder(), 0, 0
    while match := _OBJECT.search(text, at):
        start = match.end() - 1
        while True:
            try:
                found, at = decoder.raw_decode(text, start)
            except (ValueError, RecursionError) as error:
                broken += 1
                yield clean(f"{type(error).__name__} at line {text.count(chr(10), 0, start) + 1}: {error}", 160)
                at = start + 1
                break
            yield found
            following = _NEXT.match(text, at)
            if not following:
                break
            start = following.end() - 1
        if broken >= _MOST_BROKEN:
            yield f"{broken} broken ones; the rest of the file was not read"
            return


def read_bench_csv(text: str, given: Given = Given(), prefix: str = "run") -> Reading:  # noqa: B008
    """llama-bench -o csv. Lines before the header and repeated headers are passed over."""
    return reading(_csv_rows(text, Namer(given, prefix)))


def _csv_rows(text: str, namer: Namer) -> Iterator[Observation | Skipped]:
    header: list[str] = []
    row = 0
    reader = csv.reader(io.StringIO(text, newline=""))
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            row += 1
            yield namer.skip(row, f"expected a CSV row, found {error}")
            continue
        names = [cell.strip().lower() for cell in cells]
        if {"n_prompt", "n_gen"} <= set(names):
            header = names
        elif header and any(cells):
            row += 1
            if len(cells) != len(header):
                yield namer.skip(row, f"expected {len(header)} columns, found {len(cells)}")
            else:
                yield from_record(dict(zip(header, cells, strict=True)), row, namer)
    if not header:
        raise SpecError("llama-bench CSV, header: expected the columns n_prompt, n_gen and avg_ts, found none")


def read_sql(text: str, given: Given = Given(), prefix: str = "run") -> Reading:  # noqa: B008
    """llama-bench -o sql: the INSERT statements, read as text; nothing is run."""
    namer = Namer(given, prefix)
    inserts = enumerate(_INSERT.finditer(text), 1)
    return reading(_insert(match, text, row, namer) for row, match in inserts)


def _insert(match: re.Match[str], text: str, row: int, namer: Namer) -> Observation | Skipped:
    names = [name.strip(" \t\n\"`'") for name in match[1].split(",")]
    values = _values(text, match.end(), len(names))
    if len(values) != len(names):
        return namer.skip(row, f"expected {len(names)} values, found {len(values)}")
    record: Mapping[str, object] = dict(zip(names, values, strict=True))
    return from_record(record, row, namer)


def _values(text: str, at: int, most: int) -> list[str]:
    """The values of one parenthesis that opens at `at`."""
    values: list[str] = []
    if text[at : at + 1] != "(":
        return values
    at += 1
    while len(values) <= most and (match := _VALUE.match(text, at)):
        quoted, double, bare, end = match.groups()
        values.append(quoted.replace("''", "'") if quoted is not None else double or (bare or "").strip())
        at = match.end()
        if end == ")":
            break
    return values
