"""A benchmark as text: measured against predicted with band and verdict, what ran, and what to know of it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from roofline.check.report import row_record
from roofline.check.verdicts import PHASE, Row
from roofline.engine.benchmark import Benchmark
from roofline.tables import Format, printable, render, to_csv, to_json

SCHEMA = "roofline.bench/1"
_WORKLOAD = ("prompt", "gen", "depth", "batch", "threads", "ubatch", "gpu_layers", "flash_attn")
_KEYS = (
    "id", "hardware", "model", "quant", "backend", "runtime", "phase", *_WORKLOAD, "kv", "measured_tok_s", "std_tok_s",
    "predicted_tok_s", "low_tok_s", "high_tok_s", "ceiling_tok_s", "ratio", "verdict", "reason",
)  # fmt: skip
_SHOWN = (
    "phase", "measured_tok_s", "std_tok_s", "predicted_tok_s", "low_tok_s", "high_tok_s", "ceiling_tok_s", "ratio",
    "verdict",
)  # fmt: skip
_SERVED = (
    "phase", "batch", "trimmed_mean_tok_s", "ttft_s", "ttft_p90_s", "tpot_s", "tpot_p90_s", "clock", "counted",
)  # fmt: skip


def bench_record(row: Row) -> dict[str, Any]:
    """A measured speed beside its prediction, with the workload that was run."""
    seen = row.observation
    workload = {name: getattr(seen, name) for name in _WORKLOAD}
    types = {seen.extra.get("type_k", ""), seen.extra.get("type_v", "")} - {""}
    known = {**row_record(row), **workload, "kv": ",".join(sorted(types)), "std_tok_s": seen.std}
    return {key: known[key] for key in _KEYS}


def report(done: Benchmark, form: Format) -> str:
    """A benchmark in a format."""
    rows = [bench_record(row) for row in done.checked.rows]
    skipped = [{"id": one.id, "reason": one.reason} for one in done.checked.skipped]
    if form == "json":
        return to_json(
            {
                "schema": SCHEMA,
                "command": list(done.command),
                "rows": rows,
                "skipped": skipped,
                "recorded": str(done.recorded) if done.recorded else None,
                "remarks": list(done.remarks),
                "served": list(done.served),
            }
        )
    if form == "csv":
        return to_csv([*rows, *({**one, "verdict": "skipped"} for one in skipped)], _KEYS)
    lines = [_title(done.checked.rows), "", render(rows, [*_varying(rows), *_SHOWN], form)] if rows else []
    if done.served:
        lines.append(render([_served(one) for one in done.served], _SERVED, form))
    lines += [
        printable(f"{row.observation.id}: {row.verdict}: {row.reason}") for row in done.checked.rows if row.reason
    ]
    lines += [printable(f"skipped {one['id']}: {one['reason']}") for one in skipped]
    lines += [printable(f"Note: {remark}.") for remark in done.remarks]
    lines += [printable(f"Ran: {shlex.join(done.command)}")] if done.command else []
    return "\n".join(lines) + "\n"


def _served(one: dict[str, Any]) -> dict[str, Any]:
    """The times of single requests, and the mean that is robust beside the median."""
    return {**one, "phase": PHASE[one["phase"]], "trimmed_mean_tok_s": one["trimmed_mean"], "clock": one["source"]}


def _title(rows: Sequence[Row]) -> str:
    seen = rows[0].observation
    build = f" {seen.build}" if seen.build else ""
    return printable(f"{seen.model}, {seen.quant}, on {seen.hardware} ({seen.runtime}{build}, {rows[0].backend})")


def _varying(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Columns of the workload that differ between rows; the tokens of each phase always."""
    always = [key for key in ("prompt", "gen") if any(row[key] for row in rows)]
    others = [*_WORKLOAD[2:], "kv"]
    return always + [key for key in others if len({row[key] for row in rows}) > 1]
