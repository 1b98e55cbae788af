"""`roofline error` as text: tables, and what they say, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from roofline.precision.dot import LONGEST, OUTLIER_FACTOR, OUTLIER_SHARE, overflow_rms, underflow_rms
from roofline.precision.formats import FORMATS
from roofline.precision.outcome import KERNELS, Outcome, Row
from roofline.tables import Format, render, speed_range, to_json
from roofline.units import format_number

SCHEMA = "roofline.error/1"
_WEIGHT = (
    "quant",
    "bits_per_weight",
    "distribution",
    "derived_db",
    "simulated_db",
    "low_db",
    "high_db",
    "how",
    "tried_by",
)
_DOT = (
    "quant", "accumulator", "summation", "k", "derived_db", "simulated_db", "low_db", "high_db", "agrees", "main_part",
    "sum_db", "growth",
)  # fmt: skip
_KERNEL = ("quant", "kernel", "k", "derived_db", "simulated_db", "low_db", "high_db", "agrees", "crossover_k")
_FLOAT = ("format", "largest", "smallest_normal", "unit_roundoff", "shared", "rounded_db")
_TRIED = ("simulated_db", "low_db", "high_db", "agrees", "tried_by")


def report(found: Outcome, form: Format, floats: bool = False) -> str:
    """Tables and words; CSV has the dot products alone; JSON has everything."""
    if form == "json":
        return to_json(record(found))
    if form == "csv":
        return render(found.dots, _DOT, "csv")
    mark = "## " if form == "md" else ""
    parts = [f"{mark}{name}\n\n{table}" for name, table in _tables(found, form, floats)]
    between = "\n\n" if form == "md" else "\n"
    return "\n".join([title(found) + "\n", *parts, between.join(words(found)) + "\n"])


def record(found: Outcome) -> dict[str, Any]:
    """The JSON of an outcome."""
    asked = found.request
    setting = asked.setting
    return {
        "schema": SCHEMA,
        "weight_distribution": setting.weights.name,
        "activation_distribution": setting.activations.name,
        "weight_rms": setting.weight_rms,
        "activation_rms": setting.activation_rms,
        "trials": asked.trials,
        "seed": asked.seed,
        "weights": _keys(found.weights, _WEIGHT),
        "dot_products": _keys(found.dots, _DOT),
        "kernels": _keys(found.kernels, _KERNEL),
        "floats": _keys(_float_rows(found), _FLOAT),
        "why": words(found),
    }


def _keys(rows: tuple[Row, ...] | list[Row], keys: tuple[str, ...]) -> list[Row]:
    return [{key: row.get(key) for key in keys} for row in rows]


def title(found: Outcome) -> str:
    """What was asked, in a line."""
    asked, setting = found.request, found.request.setting
    what = (
        f"weights: {setting.weights.name}, rms {setting.weight_rms:g}; "
        f"activations: {setting.activations.name}, rms {setting.activation_rms:g}"
    )
    how = f"{asked.trials} trials, seed {asked.seed}" if asked.trials else "no simulation"
    return f"{what}; {how}"


def _tables(found: Outcome, form: Format, floats: bool) -> Iterator[tuple[str, str]]:
    tried = found.request.trials > 0
    yield "Error of weights: signal to noise, more is better", _table(found.weights, _WEIGHT, form, tried)
    yield "Error of dot products of k terms", _table(found.dots, _DOT, form, tried)
    if found.kernels:
        yield "As kernels add, and from which k q8_0 errs less", _table(found.kernels, _KERNEL, form, tried)
    if floats:
        rows = [{**row, **{key: f"{row[key]:.4g}" for key in _FLOAT[1:4]}} for row in _float_rows(found)]
        yield "fp16 and bf16", render(rows, _FLOAT, form)


def _table(rows: tuple[Row, ...], columns: tuple[str, ...], form: Format, tried: bool) -> str:
    """For a person: what was tried and its interval in one column, or left out where nothing was."""
    if not tried:
        return render(rows, [key for key in columns if key not in _TRIED], form)
    shown = ["simulated_range" if key == "simulated_db" else key for key in columns if key not in ("low_db", "high_db")]
    cells = [
        {**row, "simulated_range": speed_range(row["simulated_db"], row["low_db"], row["high_db"])} for row in rows
    ]
    return render(cells, shown, form)


def _float_rows(found: Outcome) -> list[Row]:
    return [
        {"format": one.name, "rounded_db": one.snr_db, **{key: asdict(one)[key] for key in _FLOAT[1:5]}}
        for one in found.floats.rows
    ]


# -- words --------------------------------------------------------------------------------------------------------


def words(found: Outcome) -> list[str]:
    """What the tables say: the verdict on f16 and q8_0, agreement, overflow, and what was not derived."""
    said = [*_verdict(found)]
    if found.request.trials:
        said.append(_agreement(found))
    if any(form.name == "fp16" for form in found.request.forms) or found.kernels:
        said.append(_overflow(found))
    if found.request.setting.activations.name == "outliers":
        said.append(
            f"Outliers: {OUTLIER_SHARE:.1%} of the activations are {OUTLIER_FACTOR:g} times larger "
            "(assumed); they coarsen the 8-bit steps of their blocks."
        )
    if any(row["how"] == "searched" for row in found.weights):
        said.append("Searched: several scales were tried for each block, as llama.cpp does, on blocks that were drawn.")
    if found.measured:
        said.append(f"The error of {', '.join(found.measured)} weights is measured, not derived.")
    if found.noisy:
        said.append(
            f"Nothing here writes {', '.join(found.noisy)}: in trials of dot products their weights have noise of the "
            "size that is expected."
        )
    floats = found.floats
    lost = f"what the others lose is {format_number(floats.lost_snr_db)} dB down" if floats.lost_rms else "all of them"
    if math.isinf(floats.lost_rms):
        lost = "others overflow"
    said.append(
        f"Of weights kept in bf16, fp16 has {floats.exact_share:.2%} exactly ({lost}); of all bf16 numbers, "
        f"{floats.rows[1].shared:.1%}."
    )
    return said


def _verdict(found: Outcome) -> Iterator[str]:
    if not found.kernels:
        return
    k = max(found.request.lengths)
    level = {row["kernel"]: _or_lost(row["derived_db"]) for row in found.kernels if row["k"] == k}
    *f16, q8_0 = [one.name for one in KERNELS]
    if not any(map(math.isfinite, level.values())):
        yield "Does q8_0 beat f16? Both overflow."
        return
    beaten = [name for name in f16 if level[name] < level[q8_0]]
    listed = ", ".join(f"{_decibels(level[name])} with {name}" for name in f16)
    against = f"only against {' and '.join(beaten)}" if beaten else "against none of these sums"
    if len(beaten) == len(f16):
        against = "against all of them"
    yield (
        f"Does q8_0 beat f16? At k = {k} it has {_decibels(level[q8_0])} and f16 {listed}: {against}. "
        f"{_crossing_words(found.crossings)}"
    )
    yield (
        "Integer sums lose nothing, but rounding weights and activations to 8 bits costs more than most fp16 sums do. "
        "This is said of dot products of independent numbers, not of perplexity."
    )


def _or_lost(decibels: float | None) -> float:
    return -math.inf if decibels is None else decibels


def _decibels(level: float) -> str:
    return f"{format_number(level)} dB" if math.isfinite(level) else "no bound (overflow)"


def _crossing_words(crossings: Mapping[str, int | None]) -> str:
    starts = ", ".join(f"{k} with {name}" for name, k in crossings.items() if k is not None)
    never = ", ".join(name for name, k in crossings.items() if k is None)
    said = f"It errs less than f16 from k = {starts}" if starts else "It never errs less than f16"
    return f"{said}; up to {LONGEST} never with {never}." if starts and never else f"{said}."


def _agreement(found: Outcome) -> str:
    judged = [row["agrees"] for row in (*found.dots, *found.kernels) if row["agrees"] is not None]
    return (
        f"{sum(judged)} of {len(judged)} derived errors of dot products lie inside the 95 % interval of the trials; "
        "rows of one k share their vectors, so that they miss together."
    )


def _overflow(found: Outcome) -> str:
    setting, longest = found.request.setting, max(found.request.lengths)
    fp16 = FORMATS["fp16"]
    most = overflow_rms(fp16, longest, setting)
    reached = f"where sums of {longest} terms reach {fp16.largest:g} at 4 deviations"
    limit = f"activations of rms {format_number(most)}, {reached}"
    least = underflow_rms(fp16, setting)
    if setting.activation_rms >= most:
        return f"Warning: fp16 sums overflow: they are good up to {limit}."
    if setting.activation_rms <= least:
        return (
            f"Warning: activations of rms {format_number(least)} and less have products below fp16's normal numbers. "
            "What fp16 sums lose by that is not derived."
        )
    return f"fp16 sums are good up to {limit}."
