"""One way in: what kind of text is this, and what does it measure."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from roofline.bench import markdown
from roofline.bench.llama_bench import read_bench_csv, read_json, read_sql
from roofline.bench.markdown import cells_of, is_header
from roofline.bench.observation import Given, Reading, reading
from roofline.bench.observations_csv import read_observations, rows
from roofline.bench.text import clean, decode, decode_lines, shown
from roofline.bench.timings import read_printed
from roofline.spec import SpecError

LARGEST = 256 << 20  # bytes of a file that is read whole; observations CSV has no limit
_PEEK = 1 << 16

_READERS: dict[str, Callable[[str, Given, str], Reading]] = {
    "json": read_json,
    "bench-csv": read_bench_csv,
    "sql": read_sql,
    "markdown": markdown.read_markdown,
    "timings": read_printed,
}
#: What detect() answers.
KINDS = ("observations", *_READERS)
_FORMATS = (
    "an observations CSV, llama-bench json, jsonl, csv, md or sql, llama-batched-bench, "
    "llama-server timings or printed timings"
)


def detect(text: str) -> str:
    """The kind of a text, by its content: one of KINDS. SpecError when it is none of them."""
    return _detect(text, "input")


def _detect(text: str, source: str) -> str:
    text = text.removeprefix("\ufeff")
    lines = text.splitlines()
    # A header decides before the rows, whose notes may hold anything.
    for line in lines[:100]:
        names = {cell.strip().strip('"').lower() for cell in line[:20_000].split(",")}
        if {"n_prompt", "n_gen"} <= names and "INSERT" not in line:
            return "bench-csv"
        if "tok_s" in names or len(names & {"hardware", "model", "quant", "phase"}) >= 2:
            return "observations"
    if re.search(r"^[ \t]*INSERT[ \t]+INTO\b", text, re.M | re.I):
        return "sql"
    if re.search(r"^[ \t]*(?:data:[ \t]*)?(?:\[\s*)?\{\s*\"", text, re.M):
        return "json"
    if any(is_header([cell.lower() for cell in cells_of(line[:5000])]) for line in lines if "t/s" in line):
        return "markdown"
    if re.search(r"eval time\s*=\s*[\d.]+\s*ms", text):
        return "timings"
    if not text.strip():
        raise SpecError(f"{source}: expected {_FORMATS}, found nothing")
    first = next(line for line in lines if line.strip())
    raise SpecError(f"{source}: expected {_FORMATS}, found a text that begins with {shown(clean(first, 200), 60)}")


def read(text: str, given: Given = Given(), name: str = "run") -> Reading:  # noqa: B008 - frozen
    """The observations of a text of any known kind. name: of the source, in messages and in ids made here."""
    kind = _detect(text, name)
    if kind == "observations":
        return read_observations(text, given, name)
    return _READERS[kind](text.removeprefix("\ufeff"), given, name)


def read_path(path: str | Path, given: Given = Given()) -> Reading:  # noqa: B008 - frozen
    """The observations of a file, or of standard input for '-'. SpecError when it cannot be read at all."""
    if str(path) == "-":
        return _read_file(sys.stdin.buffer, "stdin", given)
    try:
        with Path(path).open("rb") as file:
            return _read_file(file, str(path), given)
    except (OSError, ValueError) as error:
        if isinstance(error, SpecError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SpecError(f"{clean(str(path), 200)}: expected a readable file, found: {reason}") from None


def _read_file(file: BinaryIO, name: str, given: Given) -> Reading:
    start = file.read(_PEEK)
    if start[:2] not in (b"\xff\xfe", b"\xfe\xff") and _is_observations(start, name):
        # As a stream: a million rows need memory for their results only.
        lines = decode_lines(_lines(start, file))
        return reading(rows(lines, given, name))
    data = start + file.read(LARGEST + 1 - len(start))
    if len(data) > LARGEST:
        raise SpecError(f"{name}: expected at most {LARGEST:,} bytes, found a larger file")
    return read(decode(data), given, name if name == "stdin" else Path(name).stem)


def _is_observations(start: bytes, name: str) -> bool:
    try:
        return _detect(decode(start), name) == "observations"
    except SpecError:
        return False


def _lines(start: bytes, file: BinaryIO, longest: int = 1 << 20) -> Iterator[bytes]:
    """The lines of a file whose beginning was read; one of more than `longest` bytes comes in pieces."""
    pieces = start.splitlines(keepends=True)
    last = pieces.pop() if pieces and not pieces[-1].endswith(b"\n") else b""
    yield from pieces
    if last:
        yield last + file.readline(longest)
    while line := file.readline(longest):
        yield line
