"""Results as text: one registry of columns (name, unit, meaning, format) → table, JSON, CSV, Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from roofline.prediction import Phase, Prediction
from roofline.reasons import band_reasons, band_words, memory_words, remarks, why
from roofline.units import format_number, format_quantity

if TYPE_CHECKING:
    from roofline.ways_out import WayOut

Format = Literal["table", "json", "csv", "md"]
SCHEMA = "roofline.prediction/1"


@dataclass(frozen=True, slots=True)
class Column:
    """A value that a report can show. unit: '' for plain numbers and words; quantity: written with a prefix."""

    key: str
    title: str
    unit: str
    meaning: str
    quantity: bool = False
    digits: int = 3


def _column(key: str, title: str, unit: str, meaning: str, quantity: bool = False, digits: int = 3) -> Column:
    return Column(key, title, unit, meaning, quantity, digits)


#: Every column and JSON key that the commands print.
COLUMNS: dict[str, Column] = {
    column.key: column
    for column in (
        _column("id", "id", "", "name to use on the command line"),
        _column("name", "name", "", "full name"),
        _column("hardware", "hardware", "", "id of the device"),
        _column("model", "model", "", "id of the model"),
        _column("quant", "quant", "", "quantisation"),
        _column("runtime", "runtime", "", "id of the inference engine"),
        _column("backend", "backend", "", "what runs the arithmetic: cpu, cuda, metal, …"),
        _column("threads", "threads", "", "CPU threads"),
        _column("prompt", "prompt", "token", "prompt tokens in each sequence", digits=9),
        _column("gen", "gen", "token", "generated tokens in each sequence", digits=9),
        _column("depth", "depth", "token", "KV-cache entries present at the start", digits=9),
        _column("batch", "batch", "", "sequences at a time", digits=9),
        _column("phase", "phase", "", "prefill (the prompt) or decode (the generation)"),
        _column("tok_s", "expected", "tok/s", "expected speed, all sequences together"),
        _column("low_tok_s", "low", "tok/s", "lower end of the 80 % band"),
        _column("high_tok_s", "high", "tok/s", "upper end of the 80 % band"),
        _column("ceiling_tok_s", "speed of light", "tok/s", "all peaks reached, nothing else to do"),
        _column("seconds", "time", "s", "duration", quantity=True),
        _column("bound", "bound", "", "what most of the time goes to: compute, memory or overhead"),
        _column("flops", "FLOP", "FLOP", "operations, a multiply-add is 2", quantity=True),
        _column("bytes", "bytes", "B", "bytes moved", quantity=True),
        _column("intensity_flop_per_byte", "intensity", "FLOP/B", "arithmetic intensity"),
        _column("ridge_flop_per_byte", "ridge", "FLOP/B", "intensity at which compute begins to bind"),
        _column("weights_bytes", "weights", "B", "stored weights", quantity=True),
        _column("kv_cache_bytes", "KV cache", "B", "cache of all sequences, with recurrent states", quantity=True),
        _column("compute_bytes", "compute", "B", "compute buffer", quantity=True),
        _column("context_bytes", "runtime", "B", "what the backend takes for itself", quantity=True),
        _column("total_bytes", "total", "B", "sum of the memory bill", quantity=True),
        _column("capacity_bytes", "capacity", "B", "memory of the device", quantity=True),
        _column("usable_bytes", "usable", "B", "what of it may be allocated", quantity=True),
        _column("fits", "fits", "", "whether the total is usable"),
        _column("ttft_s", "TTFT", "s", "time to first token", quantity=True),
        _column("tpot_s", "TPOT", "s", "time per output token of a sequence", quantity=True),
        _column("total_s", "total", "s", "prompt and generation", quantity=True),
        _column("operator", "operator", "", "operator, under its GGUF role"),
        _column("group", "group", "", "kind of layer, or which rows a line of figures sums up"),
        _column("device", "device", "", "'host' for parts that a placement leaves there"),
        _column("type", "type", "", "stored type"),
        _column("layers", "layers", "", "how many layers", digits=9),
        _column("weight_bytes", "weights", "B", "weight bytes read", quantity=True),
        _column("kv_bytes", "KV", "B", "KV-cache bytes moved", quantity=True),
        _column("activation_bytes", "activations", "B", "activation bytes moved", quantity=True),
        _column("intensity", "intensity", "FLOP/B", "arithmetic intensity"),
        _column("share", "share", "%", "share of the phase's time"),
        _column("change", "change", "", "what is changed, all else equal"),
        _column("prefill_tok_s", "prefill", "tok/s", "prefill speed"),
        _column("decode_tok_s", "decode", "tok/s", "decode speed"),
        _column("value", "value", "", "figure, in the words of its file"),
        _column("basis", "basis", "", "datasheet, derived, measured, fitted, assumed or override"),
        _column("source", "source", "", "where the figure can be checked"),
        _column("url", "url", "", "address of the source"),
        _column("file", "file", "", "file that states the figure"),
        _column("note", "note", "", "remark"),
        _column("kind", "kind", "", "kind of device, or of change"),
        _column("memory", "memory", "", "memory type"),
        _column("bandwidth_bytes_s", "bandwidth", "B/s", "theoretical memory bandwidth", quantity=True),
        _column("peak_flop_s", "best peak", "FLOP/s", "highest dense arithmetic peak", quantity=True),
        _column("backends", "backends", "", "backends, the usual one first"),
        _column("year", "year", "", "year of launch", digits=9),
        _column("parameters", "parameters", "", "stored weights", quantity=True),
        _column("active_parameters", "active", "", "weights that one token uses", quantity=True),
        _column("architecture", "architecture", "", "GGUF architecture"),
        _column("kv_bytes_per_token", "KV/token", "B", "KV cache of one position at f16", quantity=True),
        _column("max_context", "context", "token", "longest context", digits=9),
        _column("bits_per_weight", "bits/weight", "bit", "bits per weight of the base type", digits=4),
        _column("model_bits_per_weight", "8B model", "bit", "bits per weight of a whole 8B model", digits=4),
        _column("meaning", "meaning", "", "what it is"),
        _column("period", "period", "", "versions or dates"),
        _column("field", "field", "", "field of the file"),
        _column("tensors", "tensors", "", "tensors of this type", digits=9),
        _column("elements", "weights", "", "weights of this type", quantity=True),
        _column(
            "decode_bytes_per_token", "read/token", "B", "weight bytes that one decoded token reads", quantity=True
        ),
        _column("rows_of", "rows of", "", "which rows a line of figures sums up"),
        _column("count", "devices", "", "devices that work together", digits=9),
        _column("measured_tok_s", "measured", "tok/s", "measured speed, all sequences together"),
        _column("predicted_tok_s", "expected", "tok/s", "expected speed of a measured run"),
        _column("trimmed_mean_tok_s", "trimmed mean", "tok/s", "mean without the lowest and the highest fifth"),
        _column("ttft_p90_s", "TTFT p90", "s", "90th percentile of the time to first token", quantity=True),
        _column("tpot_p90_s", "TPOT p90", "s", "90th percentile of the time per output token", quantity=True),
        _column("clock", "clock", "", "whose clock measured: the server's or the client's"),
        _column("counted", "counted by", "", "who counted the tokens"),
        _column("roof", "roof", "", "what was measured: clock, bandwidth of a level, matrix products of a type"),
        _column("working_set_bytes", "working set", "B", "all arrays together", quantity=True),
        _column("measured", "median", "", "median of the runs"),
        _column("best_measured", "best", "", "best of the runs"),
        _column("spread", "spread", "%", "from the 10th to the 90th percentile, by the median"),
        _column("runs", "runs", "", "how often it was measured", digits=9),
        _column("std_tok_s", "±", "tok/s", "standard deviation of the repetitions of a measured speed"),
        _column("ubatch", "ubatch", "token", "prompt tokens in one pass", digits=9),
        _column("gpu_layers", "GPU layers", "", "layers on the GPU", digits=9),
        _column("flash_attn", "flash attention", "", "whether attention runs fused"),
        _column("kv", "KV type", "", "type of the KV cache"),
        _column("ratio", "expected/measured", "", "expected speed by the measured one"),
        _column("verdict", "verdict", "", "ok, off, impossible or suspect; skipped in CSV"),
        _column("term", "term", "", "term that would have to change: bandwidth, compute path, launch cost or KV"),
        _column("guessed", "guessed", "", "what the measurement does not state and was filled in"),
        _column("distance", "distance", "", "how far a measured point is away; 0.7 is a factor of two in one figure"),
        _column("of", "row", "", "the row that a measured point is near to"),
        _column("option", "option", "", "how to ask for it"),
        _column("models", "models", "", "distinct models, a quantisation counts as one", digits=9),
        _column("before", "before", "%", "median error with the constants of its kind"),
        _column("after", "after", "%", "median error with the device's own factors"),
        _column("left_out", "left out", "%", "median error of models that the factors had not seen"),
        _column("noise", "noise", "%", "median standard deviation of a row's repetitions"),
        _column("factor", "factor", "", "in what the device differs from its kind"),
        _column("band", "band", "", "factor about the expected speed that holds eight of ten measurements"),
        _column("rows", "rows", "", "observations", digits=9),
        _column("devices", "devices", "", "distinct devices", digits=9),
        _column("median_error", "median error", "%", "median over devices of the device's median error"),
        _column("geometric_factor", "factor", "", "the same as a factor: exp of the median |ln ratio|"),
        _column("bias", "bias", "", "median over devices of the device's median predicted / measured"),
        _column("within_10", "within 10 %", "%", "share of rows within 10 %"),
        _column("within_20", "within 20 %", "%", "share of rows within 20 %"),
        _column("within_50", "within 50 %", "%", "share of rows within 50 %"),
        _column(
            "devices_within_factor_1_5", "within ×1.5", "%", "share of devices whose median is within a factor 1.5"
        ),
        _column("coverage", "band holds", "%", "share of measurements inside a band made without their device"),
        _column("constant", "constant", "", "file and field of a constant"),
        _column("prior", "prior", "", "value in the runtime file"),
        _column("error", "error", "%", "relative standard error"),
        _column("reason", "reason", "", "why"),
        _column("title", "column", "", "heading in tables"),
        _column("unit", "unit", "", "unit"),
        _column("key", "key", "", "key in JSON and CSV"),
    )
}


# -- rendering --------------------------------------------------------------------------------------------------------


def cell(key: str, value: Any) -> str:
    """A value as a person reads it, with the unit of its column's quantity."""
    column = COLUMNS.get(key)
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        if column is not None and column.unit == "%":
            return f"{value:.1%}"
        if column is not None and column.quantity:
            return format_quantity(float(value), column.unit).strip()
        if isinstance(value, int) or (float(value).is_integer() and column is not None and column.digits == 9):
            return str(int(value))
        return format_number(float(value), column.digits if column else 3)
    if isinstance(value, (list, tuple)):
        return printable(", ".join(str(part) for part in value))
    return printable(str(value))


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
    cells = [[cell(key, row.get(key)) for key in columns] for row in rows]
    numeric = [all(isinstance(row.get(key), (int, float, type(None))) for row in rows) for key in columns]
    titles = [heading(key) for key in columns]
    return _markdown(titles, cells, numeric) if form == "md" else _aligned(titles, cells, numeric)


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
    # A cell that begins like a formula would run in a spreadsheet.
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


def _markdown(titles: list[str], cells: list[list[str]], numeric: list[bool]) -> str:
    def line(row: list[str]) -> str:
        return (
            "| "
            + " | ".join(text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;") for text in row)
            + " |"
        )

    rule = "|" + "|".join("--:" if right else ":--" for right in numeric) + "|"
    return "\n".join([line(titles), rule, *(line(row) for row in cells)]) + "\n"


# -- predictions ------------------------------------------------------------------------------------------------------

_PHASE_KEYS = (
    "tok_s", "low_tok_s", "high_tok_s", "ceiling_tok_s", "seconds", "bound", "flops", "bytes",
    "intensity_flop_per_byte", "ridge_flop_per_byte",
)  # fmt: skip
_MEMORY_KEYS = (
    "weights_bytes", "kv_cache_bytes", "compute_bytes", "context_bytes", "total_bytes", "capacity_bytes",
    "usable_bytes", "fits",
)  # fmt: skip
_POINT_KEYS = ("hardware", "model", "quant", "runtime", "backend", "threads", "prompt", "gen", "depth", "batch")


def record(prediction: Prediction, ways: Sequence[WayOut] = ()) -> dict[str, Any]:
    """A prediction of one point as the JSON contract has it; speeds are null where the model does not fit."""
    memory, fits = prediction.memory, bool(prediction.memory.fits)
    workload = prediction.workload
    bill = dict(
        zip(
            _MEMORY_KEYS,
            (
                memory.weights, float(memory.kv_cache), float(memory.compute), memory.context, float(memory.total),
                memory.capacity, memory.usable, fits,
            ),
            strict=True,
        )
    )  # fmt: skip
    return {
        "schema": SCHEMA,
        "hardware": prediction.names.get("hardware", prediction.machine.hardware.name),
        "model": prediction.names.get("model", prediction.model.name),
        "quant": prediction.weights.quant,
        "runtime": prediction.names.get("runtime", prediction.machine.runtime.name),
        "backend": prediction.machine.backend,
        "threads": prediction.machine.threads if prediction.machine.backend == "cpu" else None,
        "workload": {
            "prompt": _whole(workload.prompt),
            "gen": _whole(workload.gen),
            "depth": _whole(workload.depth),
            "batch": _whole(workload.batch),
            "kv": list(workload.kv_types),
            "context": workload.context,
        },
        "prefill": _phase_record(prediction.prefill, fits),
        "decode": _phase_record(prediction.decode, fits),
        "memory": bill,
        "ttft_s": _number(prediction.ttft_s, fits),
        "tpot_s": _number(prediction.tpot_s, fits),
        "total_s": _number(prediction.total_s, fits),
        "band": {
            "share": 0.8,
            "calibrated": prediction.machine.engine.spread.calibrated,
            "wider_because": list(band_reasons(prediction)),
        },
        **_placement_record(prediction),
        "why": why(prediction) if fits else None,
        "remarks": remarks(prediction),
        "ways_out": [asdict(way) for way in ways],
        "files": {key.removesuffix("_file"): path for key, path in prediction.names.items() if key.endswith("_file")},
    }


def _placement_record(prediction: Prediction) -> dict[str, Any]:
    """Where the parts of a placed model lie, what they need, and how long each side takes."""
    placement, host = prediction.placement, prediction.memory.host
    if placement is None or host is None:
        return {}
    phases = {"prefill": prediction.prefill, "decode": prediction.decode}
    return {
        "placement": {
            "gpu_layers": placement.gpu_layers,
            "layers": prediction.model.layers + 1,
            "overrides": list(placement.overrides),
            "host": placement.host.hardware.name,
            "host_weights_bytes": host.weights,
            "host_kv_cache_bytes": float(host.kv_cache),
            "host_total_bytes": float(host.total),
            "host_usable_bytes": host.usable,
            "seconds": {
                name: {part or "device": float(value) for part, value in phase.device_seconds.items()}
                for name, phase in phases.items()
                if phase
            },
        }
    }


def _phase_record(phase: Phase | None, fits: bool) -> dict[str, Any]:
    if phase is None:
        return dict.fromkeys(_PHASE_KEYS)
    speeds = (phase.tok_s, phase.low_tok_s, phase.high_tok_s, phase.ceiling_tok_s, phase.seconds)
    return {
        **{key: _number(value, fits) for key, value in zip(_PHASE_KEYS, speeds, strict=False)},
        "bound": str(phase.bound) if fits else None,
        "flops": float(phase.flops),
        "bytes": float(phase.bytes),
        "intensity_flop_per_byte": float(phase.intensity),
        "ridge_flop_per_byte": float(phase.ridge_point),
    }


def _number(value: Any, fits: bool) -> float | None:
    return None if value is None or not fits else float(value)


def _whole(value: Any) -> int | float:
    number = float(value)
    return int(number) if number.is_integer() else number


def flat(one: Mapping[str, Any]) -> dict[str, Any]:
    """A record as one row: 'prefill' and 'decode' become prefixes of their keys."""
    row = {key: one[key] for key in _POINT_KEYS if key in one} | {
        key: one["workload"][key] for key in ("prompt", "gen", "depth", "batch")
    }
    for phase in ("prefill", "decode"):
        row |= {f"{phase}_{key}": value for key, value in one[phase].items()}
    row |= one["memory"]
    return row | {key: one[key] for key in ("ttft_s", "tpot_s", "total_s")}


def predictions(results: Sequence[Prediction], form: Format, ways: Sequence[WayOut] = ()) -> str:
    """Predictions of one or several points in a format; a single one is an object in JSON, several are a list."""
    records = [record(result, ways) for result in results]
    if form == "json":
        return to_json(records[0] if len(records) == 1 else records)
    rows = [flat(one) for one in records]
    if form == "csv":
        return to_csv(rows, list(rows[0]))
    if len(results) == 1 and form == "table":
        return summary(results[0], ways)
    lines = [
        {
            **_point(one),
            **{key: one[phase][key] for key in _PHASE_KEYS[:6]},
            "phase": phase,
            "fits": one["memory"]["fits"],
        }
        for one in records
        for phase in ("prefill", "decode")
        if one[phase]["flops"] is not None
    ]
    varying = [key for key in ("prompt", "gen", "depth", "batch") if len({line[key] for line in lines}) > 1]
    shown = [*varying, "phase", "tok_s", "low_tok_s", "high_tok_s", "ceiling_tok_s", "bound", "seconds", "fits"]
    return f"{title(results[0])}\n\n{render(lines, shown, form)}"


def _point(one: Mapping[str, Any]) -> dict[str, Any]:
    return {key: one["workload"][key] for key in ("prompt", "gen", "depth", "batch")}


def title(prediction: Prediction) -> str:
    """What was predicted for what, in one line."""
    machine, model = prediction.machine, prediction.model
    threads = f", {machine.threads} threads" if machine.backend == "cpu" else ""
    return printable(
        f"{model.name}, {prediction.weights.quant}, on {machine.hardware.name}{_beside(prediction)} "
        f"({machine.runtime.name} {machine.runtime.period}, {machine.backend}{threads})"
    )


def _beside(prediction: Prediction) -> str:
    """' and its host, 40 of 81 layers on the device' of a placed model."""
    placement = prediction.placement
    if placement is None:
        return ""
    layers = f"{placement.gpu_layers} of {prediction.model.layers + 1} layers on the GPU"
    kept = ", some tensors on the host" if placement.overrides else ""
    return f" + {placement.host.hardware.name}, {layers}{kept}"


def summary(prediction: Prediction, ways: Sequence[WayOut] | None = None) -> str:
    """A prediction for a person: the verdict first, both phases, times, memory, and why.

    ways: what would fit, None where nobody looked.
    """
    lines = [title(prediction), ""]
    if not prediction.memory.fits:
        lines += [f"Does not fit. {_capital(memory_words(prediction.memory))}.", ""]
        if ways is not None:
            lines += ["What would fit:", *(f"  {way}" for way in ways)] if ways else ["No single change makes it fit."]
        return "\n".join(lines) + "\n"
    rows = []
    for name, phase in (("prefill", prediction.prefill), ("decode", prediction.decode)):
        if phase is not None:
            tokens = _whole(prediction.workload.prompt if name == "prefill" else prediction.workload.gen)
            rows.append({"phase": f"{name} {tokens}", **_phase_record(phase, True)})
    shown = ["phase", "tok_s", "low_tok_s", "high_tok_s", "ceiling_tok_s", "bound"]
    lines += [render(rows, shown, "table")]
    lines += [_times(prediction), f"Memory: {memory_words(prediction.memory)}.", f"Why: {why(prediction)}"]
    lines += [f"Band: {band_words(prediction)}"]
    lines += [f"Note: {remark}" for remark in remarks(prediction)]
    assumed = prediction.machine.hardware.assumed()
    if assumed:
        lines.append(f"Assumed, not confirmed by a source: {', '.join(assumed[:4])}{' …' if len(assumed) > 4 else ''}.")
    files = [path for key, path in prediction.names.items() if key.endswith("_file")]
    if files:
        lines.append(f"From: {', '.join(printable(path) for path in files)}.")
    return "\n".join(lines) + "\n"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _times(prediction: Prediction) -> str:
    parts = []
    if prediction.ttft_s is not None:
        parts.append(f"first token after {format_quantity(float(prediction.ttft_s), 's')}")
    if prediction.tpot_s is not None:
        then = "then " if parts else ""
        parts.append(f"{then}{format_quantity(float(prediction.tpot_s), 's')} a token")
    parts.append(f"{format_quantity(float(prediction.total_s), 's')} in all")
    return f"Time: {', '.join(parts)}."


# -- explanations -----------------------------------------------------------------------------------------------------

_OPERATOR_COLUMNS = (
    "phase", "operator", "group", "device", "type", "layers", "flops", "weight_bytes", "kv_bytes", "activation_bytes",
    "intensity", "seconds", "bound", "share",
)  # fmt: skip
_NEAR_COLUMNS = (
    "phase", "id", "hardware", "model", "quant", "runtime", "measured_tok_s", "ratio", "distance", "source", "url",
)  # fmt: skip
_FIGURE_COLUMNS = ("name", "value", "basis", "source", "file", "note")


def nearest_points(near: Sequence[Mapping[str, Any]], form: Format) -> str:
    """The measured points nearest to a prediction, as rows of roofline.check.nearest.Near, by phase."""
    return render(near, _NEAR_COLUMNS, form) if near else "none was measured with a comparable engine\n"


def explanation(prediction: Prediction, form: Format, near: Sequence[Mapping[str, Any]] = ()) -> str:
    """The working behind a prediction: operators, ridge point, what-ifs, and every figure with its source.

    near: the nearest measured points, see nearest_points.
    """
    from roofline.explain import compute_bound_batch, figures_used, operator_table, what_if  # `predict` needs none

    phases = [
        (name, phase) for name, phase in (("prefill", prediction.prefill), ("decode", prediction.decode)) if phase
    ]
    operators = [asdict(line) for name, phase in phases for line in operator_table(phase, name)]
    changes = what_if(prediction)
    shown = [key for key in _OPERATOR_COLUMNS if key != "device" or prediction.placement is not None]
    figures = [asdict(used) for used in figures_used(prediction)]
    batch = compute_bound_batch(prediction)
    if form == "json":
        return to_json(
            {
                **record(prediction),
                "schema": "roofline.explanation/1",
                "operators": operators,
                "compute_bound_batch": batch,
                "what_if": [asdict(change) for change in changes],
                "figures": figures,
                "nearest": [dict(point) for point in near],
            }
        )
    if form == "csv":
        return render(operators, shown, "csv")
    ridges = [f"{name} {format_number(float(phase.ridge_point))} FLOP/B" for name, phase in phases]
    sections = [
        ("", summary(prediction) if form == "table" else predictions([prediction], "md")),
        ("Operators", render(operators, shown, form)),
        (
            "Ridge point",
            f"{', '.join(ridges)}. At the speed of light decode is compute-bound from batch {format_number(batch)}.\n",
        ),
        ("What if", render([asdict(change) for change in changes], ("change", "prefill_tok_s", "decode_tok_s"), form)),
        ("Nearest measured points", nearest_points(near, form)),
        ("Figures used", render(figures, _FIGURE_COLUMNS, form)),
    ]
    mark = "## " if form == "md" else ""
    return "\n".join(f"{mark}{name}\n\n{text}" if name else text for name, text in sections)
