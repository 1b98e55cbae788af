"""A check as text: JSON and CSV for programs, a table and Markdown for people."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from roofline.bench import Skipped
from roofline.check.checking import Checked, better_measured, check_file, given
from roofline.check.groups import devices, groups
from roofline.check.nearest import Near
from roofline.check.verdicts import VERDICTS, Row
from roofline.tables import Format, printable, render, to_csv, to_json

SCHEMA = "roofline.check/1"
ROW_KEYS = (
    "id", "hardware", "count", "model", "quant", "backend", "runtime", "phase", "measured_tok_s", "predicted_tok_s",
    "low_tok_s", "high_tok_s", "ceiling_tok_s", "ratio", "verdict", "term", "reason", "guessed",
)  # fmt: skip
_GROUP_KEYS = (
    "rows_of", "phase", "rows", "devices", "median_error", "geometric_factor", "within_10", "within_20", "within_50",
    "bias", "coverage", "devices_within_factor_1_5",
)  # fmt: skip
_DEVICE_KEYS = ("hardware", "backend", "phase", "rows", "median_error", "geometric_factor", "bias", "coverage")
_WORST_KEYS = (
    "id", "hardware", "model", "quant", "runtime", "phase", "measured_tok_s", "predicted_tok_s", "ratio", "verdict",
    "term",
)  # fmt: skip
_NEAR_KEYS = ("of", "id", "hardware", "model", "quant", "runtime", "measured_tok_s", "ratio", "distance", "source")
_SHOWN_IDS = 6


def row_record(row: Row) -> dict[str, Any]:
    """A row as the JSON contract has it."""
    seen = row.observation
    return {
        "id": seen.id,
        "hardware": seen.hardware,
        "count": seen.count,
        "model": seen.model,
        "quant": seen.quant,
        "backend": row.backend,
        "runtime": row.runtime,
        "phase": row.phase,
        "measured_tok_s": seen.tok_s,
        "predicted_tok_s": row.predicted_tok_s,
        "low_tok_s": row.low_tok_s,
        "high_tok_s": row.high_tok_s,
        "ceiling_tok_s": row.ceiling_tok_s,
        "ratio": row.ratio,
        "verdict": row.verdict,
        "term": row.change.term if row.change else None,
        "reason": row.reason,
        "guessed": list(row.guessed),
    }


def near_record(near: Near) -> dict[str, Any]:
    """A measured point near a row, its speed under the name that rows have it under."""
    return {("measured_tok_s" if key == "tok_s" else key): value for key, value in asdict(near).items()}


def record(checked: Checked, worst: int) -> dict[str, Any]:
    """A check as the JSON contract has it: rows, skipped, and the summary."""
    verdicts = Counter(row.verdict for row in checked.rows)
    return {
        "schema": SCHEMA,
        "rows": [row_record(row) for row in checked.rows],
        "skipped": [{"id": one.id, "reason": one.reason} for one in checked.skipped],
        "summary": {
            "rows": len(checked.rows),
            "skipped": len(checked.skipped),
            "verdicts": {name: verdicts[name] for name in VERDICTS},
            "groups": [asdict(group) for group in groups(checked.rows)],
            "devices": [asdict(device) for device in devices(checked.rows)],
            "worst": [
                {
                    **row_record(row),
                    "term_share": row.change.share if row.change else None,
                    "term_factor": row.change.factor if row.change else None,
                    "nearest": [near_record(near) for near in better_measured(row)],
                }
                for row in checked.worst(worst)
            ],
        },
    }


def check_report(
    path: str | None,
    hw: str | None,
    model: str | None,
    quant: str | None,
    form: Format,
    worst: int = 10,
    tokens_per_char: float | None = None,
) -> str:
    """The check of a file (None: the shipped observations, '-': standard input) in a format.

    hw, model and quant stand in where the file does not say; of the shipped observations they select.
    tokens_per_char converts speeds in characters.
    """
    return report(check_file(path, given(hw, model, quant), tokens_per_char), form, worst)


def report(checked: Checked, form: Format, worst: int = 10) -> str:
    """A check in a format, with so many of its worst rows and devices."""
    if form == "json":
        return to_json(record(checked, worst))
    if form == "csv":
        skipped = [{"id": one.id, "verdict": "skipped", "reason": one.reason} for one in checked.skipped]
        return to_csv([*map(row_record, checked.rows), *skipped], ROW_KEYS)
    mark = "## " if form == "md" else ""
    parts = _sections(checked, form, worst)
    return "\n".join(f"{mark}{title}\n\n{text}" if title else text for title, text in parts if text)


def _sections(checked: Checked, form: Format, worst: int) -> list[tuple[str, str]]:
    bullet = "- " if form == "md" else "  "
    doubted = [row for row in checked.rows if row.verdict in ("impossible", "suspect")]
    lowest = checked.worst(worst)
    listed = devices(checked.rows)
    sections = [("", _headline(checked) + "\n")]
    if checked.rows:
        sections.append(("Errors", render(_group_lines(checked), _GROUP_KEYS, form)))
    if doubted:
        sections.append(("Doubtful measurements", _lines(doubted, bullet)))
    if lowest:
        title = f"Devices, the {worst} worst of {len(listed)}" if len(listed) > worst else "Devices"
        sections.append((title, render([asdict(device) for device in listed[:worst]], _DEVICE_KEYS, form)))
        sections.append(("Worst rows", render([row_record(row) for row in lowest], _WORST_KEYS, form)))
        reasons = [row for row in lowest if row.verdict == "off"]
        if reasons:
            sections.append(("What would make them exact", _lines(reasons, bullet)))
        near = [{"of": row.observation.id, **near_record(one)} for row in lowest for one in better_measured(row)]
        sections.append(("Nearest better-measured rows", render(near, _NEAR_KEYS, form) if near else ""))
    sections.append(("Skipped", _skipped(checked.skipped, bullet)))
    return sections


def _group_lines(checked: Checked) -> list[dict[str, Any]]:
    return [{**asdict(group), "rows_of": group.group} for group in groups(checked.rows)]


def _headline(checked: Checked) -> str:
    counts = Counter(row.verdict for row in checked.rows)
    verdicts = ", ".join(f"{counts[name]} {name}" for name in VERDICTS if counts[name] or name in ("ok", "off"))
    skipped = f"; {len(checked.skipped)} skipped" if checked.skipped else ""
    rows = "1 row" if len(checked.rows) == 1 else f"{len(checked.rows)} rows"
    return f"{rows} checked: {verdicts}{skipped}."


def _lines(rows: Sequence[Row], bullet: str) -> str:
    return "".join(printable(f"{bullet}{row.observation.id}: {row.verdict}: {row.reason}") + "\n" for row in rows)


def _skipped(skipped: Sequence[Skipped], bullet: str) -> str:
    """Each reason once, with the rows that it holds for."""
    by_reason: Mapping[str, list[str]] = defaultdict(list)
    for one in skipped:
        by_reason[one.reason.partition(", ")[2] if one.reason.startswith("row ") else one.reason].append(one.id)
    lines = []
    for reason, names in by_reason.items():
        more = f" and {len(names) - _SHOWN_IDS} more" if len(names) > _SHOWN_IDS else ""
        lines.append(printable(f"{bullet}{reason} ({', '.join(names[:_SHOWN_IDS])}{more})") + "\n")
    return "".join(lines)
