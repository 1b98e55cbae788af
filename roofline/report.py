"""Results as text: one registry of columns (name, unit, meaning, format) → table, JSON, CSV, Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from roofline.placement import layers_by_device
from roofline.prediction import Phase, Prediction
from roofline.reasons import arrangement, band_reasons, band_words, disk_words, memory_words, remarks, why
from roofline.splitting import interconnect
from roofline.units import format_number, format_quantity

if TYPE_CHECKING:
    from roofline.memory import MemoryBill
    from roofline.ways_out import WayOut

Format = Literal["table", "json", "csv", "md"]
SCHEMA = "roofline.prediction/1"


@dataclass(frozen=True, slots=True)
class Column:
    """A value that a report can show.

    unit: '' for plain numbers and words; quantity: written with a prefix, binary: with one of memory, as in GiB.
    """

    key: str
    title: str
    unit: str
    meaning: str
    quantity: bool = False
    digits: int = 3
    binary: bool = False


def _column(
    key: str, title: str, unit: str, meaning: str, quantity: bool = False, digits: int = 3, binary: bool = False
) -> Column:
    return Column(key, title, unit, meaning, quantity, digits, binary)


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
        _column("split", "split", "", "how several devices share a model: layer or tensor, and over which link"),
        _column("numa", "NUMA", "", "how the memories of a processor are used: one, interleave or mirror"),
        _column("link_bytes_s", "link", "B/s", "what each device sends over the link, in one direction", quantity=True),
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
        _column("bound", "bound", "", "what most of the time goes to: compute, memory, overhead, link or disk"),
        _column("flops", "FLOP", "FLOP", "operations, a multiply-add is 2", quantity=True),
        _column("bytes", "bytes", "B", "bytes moved", quantity=True),
        _column("intensity_flop_per_byte", "intensity", "FLOP/B", "arithmetic intensity"),
        _column("ridge_flop_per_byte", "ridge", "FLOP/B", "intensity at which compute begins to bind"),
        _column("weights_bytes", "weights", "B", "stored weights", quantity=True, binary=True),
        _column(
            "kv_cache_bytes",
            "KV cache",
            "B",
            "cache of all sequences, with recurrent states",
            quantity=True,
            binary=True,
        ),
        _column("compute_bytes", "compute", "B", "compute buffer", quantity=True, binary=True),
        _column("context_bytes", "runtime", "B", "what the backend takes for itself", quantity=True, binary=True),
        _column("total_bytes", "total", "B", "sum of the memory bill", quantity=True, binary=True),
        _column("capacity_bytes", "capacity", "B", "memory of the device", quantity=True, binary=True),
        _column("usable_bytes", "usable", "B", "what of it may be allocated", quantity=True, binary=True),
        _column("fits", "fits", "", "whether the total is usable"),
        _column(
            "margin_bytes", "left", "B", "usable without the total, of the fullest device", quantity=True, binary=True
        ),
        _column("resident_bytes", "resident", "B", "total and what the page cache keeps", quantity=True, binary=True),
        _column("host_weights_bytes", "on the host", "B", "token embedding beside a card", quantity=True, binary=True),
        _column("item", "item", "", "part of the memory bill"),
        _column("counts", "counts", "", "whether the part is in the total"),
        _column("detail", "of", "", "what the part is made of"),
        _column("size_bytes", "size", "B", "memory that a part takes", quantity=True, binary=True),
        _column("question", "question", "", "what was asked of the memory bill"),
        _column("answer", "answer", "", "what it says"),
        _column("decode_full_tok_s", "decode, full", "tok/s", "decode speed with the whole context in use"),
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
        _column("certain", "sure", "", "whether the low ends of the bands meet the wished speeds, too"),
        _column("dominated_by", "dominated by", "", "another that is no worse in any figure and better in one"),
        _column("missed", "misses", "", "wishes that are not met, with what was found"),
        _column("considered", "considered", "", "combinations that were worked out", digits=9),
        _column("meeting", "meeting", "", "of them, those that meet all wishes", digits=9),
        _column("points", "points", "", "points of a sweep", digits=9),
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
        _column("disk_bytes_s", "disk", "B/s", "rate of the disk behind the memory", quantity=True),
        _column("excess_bytes", "from disk", "B", "weights that memory cannot hold", quantity=True, binary=True),
        _column("runs_from_disk", "from disk", "", "whether it runs with weights on the disk"),
        _column("cold_load_s", "load", "s", "time to load the model from the disk", quantity=True),
        _column("warm_load_s", "load again", "s", "time to load the model from the page cache", quantity=True),
        _column("slowest_seconds", "slowest", "s", "wait behind a page cache that keeps nothing", quantity=True),
        _column("tok_range", "expected", "tok/s", "expected speed with its band"),
        _column("prefill_range", "prefill", "tok/s", "prefill speed with its band"),
        _column("decode_range", "decode", "tok/s", "decode speed with its band"),
        _column("memory_range", "memory", "", "memory needed, of what is usable"),
        _column("power_range", "watts", "", "what all devices may draw"),
        _column("power_w", "power", "W", "what all devices may draw"),
        _column("power_meaning", "power is", "", "measured, limit, tdp, assumed or override"),
        _column("j_range", "J/token", "", "energy of a decoded token"),
        _column("j_per_token", "energy", "J", "energy of a token"),
        _column("tokens_per_kwh", "tokens/kWh", "", "tokens that a kilowatt-hour makes", digits=9),
        _column("price_range", "price", "USD", "price with its date"),
        _column("price_usd", "price", "USD", "price of all devices", digits=9),
        _column("price_date", "as of", "", "when the price held: launch, or the source's date"),
        _column("price_basis", "price is", "", "stated by a source, assumed, or given as an override"),
        _column("power_source", "power from", "", "who states the power"),
        _column("price_source", "price from", "", "who states the price"),
        _column("not_covered", "without", "", "what price and power do not cover"),
        _column("tok_s_per_usd", "tok/s/USD", "", "decode speed in tok/s by price in USD"),
        _column("usd_range", "USD/M tokens", "", "cost of a million decoded tokens with its band"),
        _column("usd_per_million", "cost", "USD", "cost of a million tokens"),
        _column("verdicts", "verdicts", "", "which one is fastest, which one cheapest, and what the bands say"),
        _column("terms", "terms", "", "how a machine is paid for"),
        _column("usd_per_kwh", "kWh", "USD", "price of a kilowatt-hour"),
        _column("lifetime_s", "lifetime", "s", "how long a machine is used", quantity=True),
        _column("utilisation", "utilisation", "", "share of the time in which it makes tokens"),
        _column("usd_per_hour", "rent", "USD", "price of a rented hour"),
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
        _column("mark", "mark", "", "what a line stands for"),
        _column("users", "users", "", "users who generate at a time", digits=9),
        _column("user_tok_s", "each", "tok/s", "decode speed of one of several users"),
        _column(
            "newcomer_ttft_s", "newcomer", "s", "time to first token of one more, beside the others", quantity=True
        ),
        _column(
            "newcomer_tpot_s",
            "TPOT then",
            "s",
            "time per token of the others while a newcomer's prompt is read",
            quantity=True,
        ),
        _column("gap_s", "longest gap", "s", "their longest wait for a token meanwhile", quantity=True),
        _column("stall_s", "unchunked", "s", "their longest wait where that prompt is read at one go", quantity=True),
        _column("chunk", "chunk", "token", "tokens that a server takes in one step", digits=9),
        _column("cached", "cached", "token", "tokens of the prompt that are in the cache already", digits=9),
        _column("uncached_ttft_s", "TTFT uncached", "s", "time to first token without them", quantity=True),
        _column("min_user_tok_s", "wanted", "tok/s", "decode speed that each user wants"),
        _column("knee_users", "knee", "", "most users who keep half of a lone user's speed", digits=9),
        _column("ridge_users", "ridge", "", "users from whom on decode is compute-bound at the speed of light"),
        _column("users_in_memory", "that fit", "", "most users whose caches fit", digits=9),
        _column("users_served", "served", "", "most users at the wanted speed", digits=9),
        _column("users_surely_served", "surely served", "", "the same at the low end of the band", digits=9),
        _column("texts_s", "texts", "1/s", "texts turned into vectors"),
        _column("together", "together", "", "texts in one pass", digits=9),
        _column("with_head_tok_s", "with head", "tok/s", "speed where logits of all tokens are made in vain"),
        _column("batch_s", "all texts", "s", "time for all texts of a batch", quantity=True),
        _column("draft", "draft", "", "id of the model that drafts, or ngram"),
        _column("draft_quant", "draft quant", "", "quantisation of the model that drafts"),
        _column("draft_tokens", "drafted", "token", "tokens drafted in a round", digits=9),
        _column("acceptance", "acceptance", "", "probability that a drafted token is accepted"),
        _column("expected_tokens", "gained", "token", "tokens that a round adds on average"),
        _column("draft_s", "drafting", "s", "time of a round's drafts", quantity=True),
        _column("verify_s", "verifying", "s", "time of the pass that verifies them", quantity=True),
        _column("verify_ratio", "verify/token", "", "that by the time of a token without drafts"),
        _column("verify_bytes", "read", "B", "weight bytes that the verifying pass reads", quantity=True),
        _column("speedup", "speed-up", "", "speed by that without drafts"),
        _column("ideal_speedup", "ideal", "", "speed-up where verifying costs no more than a token"),
        _column("break_even", "break-even", "", "acceptance from which drafting is worth it"),
        _column("plain_tok_s", "plain", "tok/s", "decode speed without drafts"),
        _column("draft_ratio", "draft/token", "", "time of a drafted token by that of a token"),
        _column("free_up_to", "free up to", "token", "most drafted tokens whose verifying is free", digits=9),
        _column("core", "core", "", "kind of core that the last thread occupies; SMT is a core's second thread"),
        _column("prefill_low_tok_s", "prefill low", "tok/s", "lower end of the prefill's 80 % band"),
        _column("prefill_high_tok_s", "prefill high", "tok/s", "upper end of the prefill's 80 % band"),
        _column("decode_low_tok_s", "decode low", "tok/s", "lower end of the decode's 80 % band"),
        _column("decode_high_tok_s", "decode high", "tok/s", "upper end of the decode's 80 % band"),
        _column("read_bytes_s", "reads", "B/s", "memory bandwidth that so many threads sustain", quantity=True),
        _column("barrier_share", "barriers", "%", "share of a generated token's time spent waiting at barriers"),
        _column("decode_threads", "-t", "", "best number of threads for generation", digits=9),
        _column("prefill_threads", "-tb", "", "best number of threads for prompts", digits=9),
        _column("command", "command", "", "how to ask for it"),
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
    "usable_bytes", "fits", "margin_bytes", "resident_bytes", "host_weights_bytes",
)  # fmt: skip
_POINT_KEYS = ("hardware", "model", "quant", "runtime", "backend", "threads", "prompt", "gen", "depth", "batch")


def record(prediction: Prediction, ways: Sequence[WayOut] = ()) -> dict[str, Any]:
    """A prediction of one point as the JSON contract has it; speeds are null where the model does not run.

    It runs where it fits, or where `disk` says what is read from the disk.
    """
    memory, runs = prediction.memory, prediction.runs
    workload = prediction.workload
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
        "prefill": _phase_record(prediction.prefill, runs),
        "decode": _phase_record(prediction.decode, runs),
        "memory": memory_record(memory),
        "ttft_s": _number(prediction.ttft_s, runs),
        "tpot_s": _number(prediction.tpot_s, runs),
        "total_s": _number(prediction.total_s, runs),
        "band": {
            "share": 0.8,
            "calibrated": prediction.machine.engine.spread.calibrated,
            "wider_because": list(band_reasons(prediction)),
        },
        **_devices_record(memory),
        **_placement_record(prediction),
        **_arrangement_record(prediction),
        **_disk_record(prediction),
        "why": why(prediction) if runs else None,
        "remarks": remarks(prediction),
        "ways_out": [asdict(way) for way in ways],
        "files": {key.removesuffix("_file"): path for key, path in prediction.names.items() if key.endswith("_file")},
    }


def _arrangement_record(prediction: Prediction) -> dict[str, Any]:
    """How several devices share the model, and how the memories of a processor are used, where there are several."""
    machine, placement = prediction.machine, prediction.placement
    record: dict[str, Any] = {}
    if machine.hardware.count > 1:
        link = interconnect(machine) if machine.split == "tensor" else None
        record["split"] = {
            "mode": machine.split,
            "devices": machine.hardware.count,
            "link": link.name if link else None,
            "link_bytes_s": link.bandwidth if link else None,
        }
    processor = (placement.host if placement else None) or machine
    numa = processor.numa
    return record | ({"numa": numa} if numa else {})


def memory_record(memory: MemoryBill) -> dict[str, Any]:
    """A bill of one point under the keys of the JSON contract."""
    values = (
        memory.weights, float(memory.kv_cache), float(memory.compute), memory.context, float(memory.total),
        memory.capacity, memory.usable, bool(memory.fits), None if memory.margin is None else float(memory.margin),
        float(memory.resident), memory.host_weights,
    )  # fmt: skip
    return dict(zip(_MEMORY_KEYS, values, strict=True))


def _devices_record(memory: MemoryBill) -> dict[str, Any]:
    """What each of several devices holds."""
    return {"devices": [memory_record(one) for one in memory.devices]} if memory.devices else {}


def _placement_record(prediction: Prediction) -> dict[str, Any]:
    """Where the parts of a placed model lie, what they need, and how long each side takes."""
    placement, host = prediction.placement, prediction.memory.host
    if placement is None:
        return {}
    phases = {"prefill": prediction.prefill, "decode": prediction.decode}
    return {
        "placement": {
            "gpu_layers": placement.gpu_layers,
            "layers": prediction.model.layers + 1,
            "overrides": list(placement.overrides),
            "devices": [one.hardware.name for one in placement.devices],
            "device_layers": layers_by_device(placement, prediction.model.layers),
            "host": placement.host.hardware.name if placement.host else None,
            "host_weights_bytes": host.weights if host else None,
            "host_kv_cache_bytes": float(host.kv_cache) if host else None,
            "host_total_bytes": float(host.total) if host else None,
            "host_usable_bytes": host.usable if host else None,
            "seconds": {
                name: {part or "device": float(value) for part, value in phase.device_seconds.items()}
                for name, phase in phases.items()
                if phase
            },
            "bound": {
                name: {part or "device": str(bound) for part, bound in phase.device_bounds.items()}
                for name, phase in phases.items()
                if phase
            },
        }
    }


def _disk_record(prediction: Prediction) -> dict[str, Any]:
    """What is read from the disk where one was given, and how long loading takes."""
    roof = prediction.disk
    if roof is None:
        return {}
    load = prediction.load(roof.rate)
    phases = {"prefill": prediction.prefill, "decode": prediction.decode}
    return {
        "disk": {
            "disk_bytes_s": roof.rate,
            "excess_bytes": float(roof.excess),
            "runs_from_disk": roof.runs,
            "seconds": {name: float(phase.disk_seconds) for name, phase in phases.items() if phase},
            "slowest_seconds": {name: float(phase.slowest_disk_seconds) for name, phase in phases.items() if phase},
            "cold_load_s": load.cold,
            "warm_load_s": load.warm,
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
    row |= {key: one["placement"][key] for key in ("gpu_layers",) if "placement" in one}
    row |= {key: value for key, value in one.get("disk", {}).items() if not isinstance(value, dict)}
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
            "gpu_layers": one.get("placement", {}).get("gpu_layers"),
            "excess_bytes": one.get("disk", {}).get("excess_bytes"),
        }
        for one in records
        for phase in ("prefill", "decode")
        if one[phase]["flops"] is not None
    ]
    axes = ("prompt", "gen", "depth", "batch", "gpu_layers")
    varying = [key for key in axes if len({line[key] for line in lines}) > 1]
    shown = [*varying, "phase", "tok_s", "low_tok_s", "high_tok_s", "ceiling_tok_s", "bound", "seconds", "fits"]
    shown += ["excess_bytes"] if any(line["excess_bytes"] for line in lines) else []
    return f"{title(*results)}\n\n{render(lines, shown, form)}"


def _point(one: Mapping[str, Any]) -> dict[str, Any]:
    return {key: one["workload"][key] for key in ("prompt", "gen", "depth", "batch")}


def title(prediction: Prediction, *others: Prediction) -> str:
    """What was predicted for what, in one line. others: further points, with other numbers of layers on the GPU."""
    machine, model = prediction.machine, prediction.model
    threads = f", {machine.threads} threads" if machine.backend == "cpu" else ""
    return printable(
        f"{model.name}, {prediction.weights.quant}, on {machine.hardware.name}{arrangement(machine)}"
        f"{_beside(prediction, others)} "
        f"({machine.runtime.name} {machine.runtime.period}, {machine.backend}{threads})"
    )


def _beside(prediction: Prediction, others: Sequence[Prediction] = ()) -> str:
    """' and its host, 40 of 81 layers on the device' of a placed model."""
    placement = prediction.placement
    if placement is None:
        return ""
    around = placement.host
    names = [one.hardware.name for one in placement.others]
    if around:
        own = around.hardware.name == prediction.machine.hardware.name
        names.append(f"{'its processor' if own else around.hardware.name}{arrangement(around)}")
    counts = layers_by_device(placement, prediction.model.layers)
    placed = sorted({one.placement.gpu_layers for one in (prediction, *others) if one.placement})
    shown = " + ".join(str(count) for count in counts) if len(placed) == 1 else f"{placed[0]} to {placed[-1]}"
    layers = f"{shown} of {prediction.model.layers + 1} layers on the GPU{'s' if len(counts) > 1 else ''}"
    kept = ", some tensors on the host" if placement.overrides else ""
    return f"{''.join(f' + {name}' for name in names)}, {layers}{kept}"


def summary(prediction: Prediction, ways: Sequence[WayOut] | None = None) -> str:
    """A prediction for a person: the verdict first, both phases, times, memory, and why.

    ways: what would fit, None where nobody looked.
    """
    lines = [title(prediction), ""]
    if not prediction.runs:
        lines += [f"Does not fit. {_capital(memory_words(prediction.memory))}.", ""]
        if prediction.disk is not None:
            lines += ["Not from the disk either: the cache and the buffers alone are too large.", ""]
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
    lines += [_times(prediction), f"Memory: {memory_words(prediction.memory)}."]
    lines += [f"Disk: {disk_words(prediction)}."] if prediction.disk is not None else []
    lines += [f"Why: {why(prediction)}"]
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
    from roofline.explain import compute_bound_batch, figures_used, operator_table  # `predict` needs none
    from roofline.upgrades import what_if

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
