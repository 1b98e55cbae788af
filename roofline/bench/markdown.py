"""Tables of llama-bench and llama-batched-bench as people paste them, with the lines that the programs print around."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from roofline.bench import batched
from roofline.bench.log import Log
from roofline.bench.model_names import parameters
from roofline.bench.observation import Given, Observation, Reading, Skipped, reading
from roofline.bench.run import Namer, Seen
from roofline.bench.text import clean, shown
from roofline.spec import SpecError

_TEST = re.compile(r"^(pp|tg)\s*(\d+)(?:\s*@\s*d\s*(\d+))?$", re.I)
_COMBINED = re.compile(r"^pp\s*\d+\s*\+\s*tg\s*\d+", re.I)
_SPEED = re.compile(r"^([\d.,]+|nan|-?inf)\s*(?:(?:±|\+/-|\+-|Â±)\s*([\d.,]+|nan))?$", re.I)
_SIZE = re.compile(r"^([\d.]+)\s*(GiB|MiB|GB|MB)$", re.I)
_BUILD = re.compile(r"^\s*build:?\s*(\w{6,12}) \((\d+)\)", re.I)
_RULE = re.compile(r"^[\s:\-]*-[\s:\-]*$")
_SETTINGS = re.compile(r"\b(n_ubatch|flash_attn|is_pp_shared|n_gpu_layers|n_threads)\s*=\s*(-?\d+)")
_FLAGS = {"fa": "flash_attn", "ngl": "gpu_layers", "threads": "threads", "n_ubatch": "ubatch"}
_OTHERS = ("n_batch", "type_k", "type_v", "sm", "mmap", "n_cpu_moe", "ncmoe", "ot", "ts", "dev")
_GIB = {"gib": "GiB", "mib": "MiB", "gb": "GB", "mb": "MB"}


def is_header(cells: list[str]) -> bool:
    """Whether cells are the head of a table of llama-bench, llama-batched-bench or sweep-bench."""
    return {"test", "t/s"} <= set(cells) or {"pp", "tg", "s_pp t/s", "s_tg t/s"} <= set(cells)


def cells_of(line: str) -> list[str]:
    """The cells of a Markdown table's line, [] for any other line. Quote marks, bold and code marks are dropped."""
    line = line.strip().lstrip("> \t")
    if line.count("|") < 2:
        return []
    return [cell.strip().strip("*`").strip() for cell in line.strip("|").split("|")]


def read_markdown(text: str, given: Given = Given(), prefix: str = "run") -> Reading:  # noqa: B008 - frozen
    """Every table in the text that llama-bench or llama-batched-bench prints; other lines say what they can."""
    return reading(_rows(text, Namer(given, prefix)))


def _rows(text: str, namer: Namer) -> Iterator[Observation | Skipped]:
    lines = text.splitlines()
    builds = _builds(lines)
    log, header, row, settings = Log(), list[str](), 0, dict[str, object]()
    tables = 0
    for at, line in enumerate(lines):
        cells = cells_of(line[:5000])
        lowered = [cell.lower() for cell in cells]
        if is_header(lowered):
            header, tables = lowered, tables + 1
        elif not cells:
            header = header if not line.strip() else []
            log.read(line)
            settings |= dict(_SETTINGS.findall(line[:1000]))
        elif header and not all(map(_RULE.match, cells)):
            row += 1
            if len(cells) != len(header):
                yield namer.skip(row, f"line {at + 1}: expected {len(header)} columns, found {len(cells)}")
                continue
            record = dict(zip(header, cells, strict=True))
            seen = replace(log.seen(), build=builds.get(at, "") or log.seen().build)
            if "test" in record:
                yield _bench_row(record, row, namer, seen)
            else:
                named = {batched.COLUMNS[key]: value for key, value in record.items() if key in batched.COLUMNS}
                yield from batched.from_batched({**settings, **named}, row, namer, seen)
    if not tables:
        raise SpecError("llama-bench table: expected the columns 'test' and 't/s', found no such table")


def _builds(lines: list[str]) -> dict[int, str]:
    """The build of each line: llama-bench prints it below its table."""
    builds: dict[int, str] = {}
    current = ""
    for at in range(len(lines) - 1, -1, -1):
        match = _BUILD.match(lines[at][:200].strip().lstrip("> "))
        if match:
            current = f"{match[1]} ({match[2]})"
        elif "t/s" in lines[at] and is_header([cell.lower() for cell in cells_of(lines[at][:5000])]):
            current = ""  # what follows belongs to this table, not to the one above
        builds[at] = current
    return builds


def _bench_row(record: dict[str, str], row: int, namer: Namer, seen: Seen) -> Observation | Skipped:
    test = record["test"]
    if _COMBINED.match(test):
        return namer.skip(row, f"test: expected one phase, found the combined test {shown(test)}")
    match = _TEST.match(test)
    if not match:
        return namer.skip(row, f"test: expected pp or tg and a number of tokens, found {shown(test)}")
    speed = _SPEED.match(record["t/s"])
    if not speed:
        return namer.skip(row, f"t/s: expected a speed such as '12.34 ± 0.05', found {shown(record['t/s'])}")
    phase = match[1].lower()
    fields = {
        "phase": phase,
        "prompt": match[2] if phase == "pp" else "",
        "gen": match[2] if phase == "tg" else "",
        "depth": match[3] or "0",
        "tok_s": _plain(speed[1]),
        "std": _plain(speed[2] or ""),
        "size_gib": _gib(record.get("size", "")),
        **{column: record.get(name, "") for name, column in _FLAGS.items()},
    }
    count = parameters(record.get("params", ""))
    seen = replace(
        seen,
        model_type=record.get("model", "") or seen.model_type,
        parameters=count or None,
        file=record["model"]
        if record.get("model", "").lower().endswith(".gguf")
        else ""
        if record.get("model")
        else seen.file,
        backends=record.get("backend", "") or seen.backends,
        single=record.get("sm", "") == "none",
        partly=(record.get("n_cpu_moe", "") or record.get("ncmoe", "") or "0") != "0",
    )
    extra = {name: record[name] for name in _OTHERS if record.get(name)}
    return namer.row(row, seen, fields, extra)


def _plain(number: str) -> str:
    """'1,234.56' → '1234.56'. A comma alone stays, since it may be a decimal one, and is then no number."""
    return number.replace(",", "") if "," in number and "." in number else number


def _gib(text: str) -> str:
    """'3.56 GiB' → '3.56'; "" where it is no size."""
    from roofline import units

    match = _SIZE.match(clean(text, 40))
    if not match:
        return ""
    try:
        size = units.parse(f"{match[1]} {_GIB[match[2].lower()]}", "B")
    except ValueError:
        return ""
    return f"{size / units.BINARY_PREFIXES['Gi']:.4g}" if size > 0 else ""
