"""A comparison as text: JSON and CSV with every figure, a table and Markdown for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from roofline.comparison import Economy, Line
from roofline.comparison_verdicts import MOST_NAMED, listed, verdicts
from roofline.economy import Terms, power_mark, terms_words
from roofline.prediction import Phase
from roofline.tables import Format, printable, render, speed_range, to_csv, to_json
from roofline.units import format_number, format_quantity

SCHEMA = "roofline.comparison/1"
_TABLE_KEYS = (
    "hardware", "model", "quant", "fits", "prefill_range", "decode_range", "ttft_s", "bound", "memory_range",
    "power_range", "j_range", "price_range", "tok_s_per_usd", "usd_range",
)  # fmt: skip
LEGEND = {
    "≤": "≤ the most that the board or package may draw, so energy and its cost are upper bounds",
    "tdp": "tdp a thermal design figure, which a processor may exceed",
    "?": "? not confirmed by a source",
}


def record(line: Line) -> dict[str, Any]:
    """A line with every figure; speeds are null where it does not run."""
    prediction = line.prediction
    memory = prediction.memory if prediction else None
    runs = prediction is not None and not line.reason
    phases: dict[str, tuple[Phase | None, Economy]] = {
        "prefill": (prediction.prefill if prediction else None, line.prefill),
        "decode": (prediction.decode if prediction else None, line.decode),
    }
    found: dict[str, Any] = {
        "hardware": line.hardware,
        "model": line.model,
        "quant": line.quant,
        "backend": prediction.machine.backend if prediction else None,
        "fits": bool(memory.fits) if memory else None,
        "reason": line.reason or None,
    }
    for name, (phase, paid) in phases.items():
        found |= {f"{name}_{key}": value for key, value in _speeds(phase if runs else None).items()}
        found |= {f"{name}_{key}": value for key, value in asdict(paid).items()}
    found |= {
        "ttft_s": float(prediction.ttft_s) if runs and prediction and prediction.ttft_s is not None else None,
        "tpot_s": float(prediction.tpot_s) if runs and prediction and prediction.tpot_s is not None else None,
        "total_bytes": float(memory.total) if memory else None,
        "usable_bytes": memory.usable if memory else None,
        "power_w": line.power_w,
        "power_meaning": line.power_meaning,
        "price_usd": line.price,
        "price_date": line.price_date or None,
        "price_basis": line.price_basis or None,
        "power_source": line.power_source or None,
        "price_source": line.price_source or None,
        "not_covered": line.left_out or None,
    }
    return found


def _terms(terms: Terms) -> dict[str, float | None]:
    return {
        "usd_per_kwh": terms.kwh,
        "lifetime_s": terms.lifetime_s,
        "utilisation": terms.used,
        "usd_per_hour": terms.per_hour,
    }


def _speeds(phase: Phase | None) -> dict[str, Any]:
    keys = ("tok_s", "low_tok_s", "high_tok_s", "ceiling_tok_s", "bound")
    if phase is None:
        return dict.fromkeys(keys)
    values = (phase.tok_s, phase.low_tok_s, phase.high_tok_s, phase.ceiling_tok_s)
    return {**dict(zip(keys, map(float, values), strict=False)), "bound": str(phase.bound)}


def comparison(lines: Sequence[Line], terms: Terms, form: Format) -> str:
    """The lines in a format; the table has a sentence on who is fastest and cheapest, and what its marks mean."""
    rows = [record(line) for line in lines]
    if form == "csv":
        return to_csv(rows, list(rows[0]))
    if form == "json":
        return to_json(
            {
                "schema": SCHEMA,
                "terms": _terms(terms),
                "rows": rows,
                "verdicts": verdicts(lines, terms.per_hour is not None),
            }
        )
    cells = [_cells(line, row) for line, row in zip(lines, rows, strict=True)]
    shown = [key for key in _TABLE_KEYS if _is_worth_a_column(key, cells)]
    foot = [*verdicts(lines, terms.per_hour is not None), *_remarks(lines, terms)]
    return f"{render(cells, shown, form)}\n" + "".join(f"{printable(text)}\n" for text in foot)


def _is_worth_a_column(key: str, cells: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a column tells anything: not a model that all lines share, nor what nobody knows."""
    values = {cell.get(key) for cell in cells}
    return len(values) > 1 if key in ("model", "quant") else values != {None}


def _cells(line: Line, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the table shows it: ranges and marks as words."""
    mark = power_mark(line.power_meaning)
    paid = line.decode
    return {
        **{key: row[key] for key in ("hardware", "model", "quant", "fits", "ttft_s")},
        "prefill_range": speed_range(row["prefill_tok_s"], row["prefill_low_tok_s"], row["prefill_high_tok_s"]),
        "decode_range": speed_range(row["decode_tok_s"], row["decode_low_tok_s"], row["decode_high_tok_s"]),
        "bound": row["decode_bound"]
        or row["prefill_bound"]
        or ("not predicted" if line.prediction is None else line.reason),
        "memory_range": memory_words(row["total_bytes"], row["usable_bytes"]),
        "power_range": None if line.power_w is None else marked(format_number(line.power_w), mark),
        "j_range": None if paid.j_per_token is None else marked(format_number(paid.j_per_token), mark),
        "price_range": price_words(line.price, line.price_date, line.price_basis),
        "tok_s_per_usd": paid.tok_s_per_usd,
        "usd_range": _cost(paid),
    }


def memory_words(total: float | None, usable: float | None) -> str | None:
    """'6.07 of 7.44 GiB': memory needed, of what is usable [B]."""
    if total is None:
        return None
    size = format_quantity(total, "B", binary=True)
    if usable is None:
        return size
    limit = format_quantity(usable, "B", binary=True)
    number, _, unit = size.partition(" ")
    return f"{number if limit.endswith(f' {unit}') else size} of {limit}"


def marked(text: str, mark: str) -> str:
    """A power, or what rests on it, with what economy.power_mark says of it."""
    return f"{mark} {text}" if mark == "≤" else f"{text} {mark}".rstrip()


def price_words(price: float | None, date: str, basis: str, mark: str = "") -> str | None:
    """'1499 (2021-02)': a price [USD] with its date, a mark of the caller's, and one where no source confirms it."""
    if price is None:
        return None
    return f"{price:.0f}{mark}{f' ({date})' if date else ''}{' ?' if basis == 'assumed' else ''}"


def _cost(paid: Economy) -> str | None:
    return speed_range(paid.usd_per_million, paid.low_usd_per_million, paid.high_usd_per_million)


def _remarks(lines: Sequence[Line], terms: Terms) -> list[str]:
    """What the figures rest on: the terms, the marks, what prices leave out, and why lines are empty."""
    found = []
    if any(line.decode.usd_per_million is not None for line in lines):
        found.append(f"Cost: {terms_words(terms)}.")
    marks = [power_mark(line.power_meaning) for line in lines]
    legend = [text for mark, text in LEGEND.items() if mark in marks or (mark == "?" and _has_assumed_price(lines))]
    found += [f"Marks: {'; '.join(legend)}."] if legend else []
    left_out = {(line.left_out, line.price_basis == "override") for line in lines if line.left_out}
    for without, own in sorted(left_out):
        names = _names(line for line in lines if (line.left_out, line.price_basis == "override") == (without, own))
        found.append(f"{'Power is' if own else 'Price and power are'} of {without}: {names}.")
    found += _price_sources(lines)
    for reason in dict.fromkeys(line.reason for line in lines if line.prediction is None):
        found.append(f"Not predicted: {_names(line for line in lines if line.reason == reason)}: {reason}")
    return found


def _price_sources(lines: Sequence[Line]) -> list[str]:
    """Who states the prices, where these are few."""
    sources = list(dict.fromkeys(line.price_source for line in lines if line.price_source))
    named = [f"{_names(line for line in lines if line.price_source == source)}: {source}" for source in sources]
    if len(named) > MOST_NAMED:
        return [f"Prices have {len(named)} sources; JSON and CSV name each."]
    return [f"Price of {text}." for text in named]


def _names(lines: Iterable[Line]) -> str:
    return listed(list(dict.fromkeys(line.hardware for line in lines)))


def _has_assumed_price(lines: Sequence[Line]) -> bool:
    return any(line.price_basis == "assumed" for line in lines)
