"""The parts of a report below its verdict: why, the memory bill, what was measured near by, operators, figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import zip_longest
from shlex import join
from typing import Any

from roofline.check.nearest import rows as nearest_rows
from roofline.document.blocks import Block, Bullets, Command, Table, Text
from roofline.explain import compute_bound_batch, figures_used, operator_table
from roofline.fit_report import device_rows
from roofline.itemised import bill_lines
from roofline.prediction import Phase, Prediction
from roofline.quality import FileNoise, quality_words
from roofline.reasons import disk_words, memory_words, remarks, why
from roofline.report import record
from roofline.tables import cell, heading
from roofline.units import format_number

_WORK = ("phase", "flops", "bytes", "intensity_flop_per_byte", "ridge_flop_per_byte")
_DEVICES = (
    "device", "layers", "weights_bytes", "kv_cache_bytes", "compute_bytes", "context_bytes", "total_bytes",
    "capacity_bytes", "usable_bytes", "margin_bytes", "fits",
)  # fmt: skip
_SIDES = ("phase", "device", "seconds", "bound")
_BILL = ("item", "detail", "size_bytes", "counts")
_NAMED = ("name", "value")
_NEAR = ("phase", "id", "hardware", "model", "quant", "runtime", "measured_tok_s", "ratio", "distance", "source")
_OPERATORS = (
    "operator", "group", "device", "type", "layers", "flops", "weight_bytes", "kv_bytes", "activation_bytes",
    "intensity", "seconds", "bound", "share",
)  # fmt: skip
_FIGURES = ("name", "value", "basis", "source", "note")
_DISK = ("disk_bytes_s", "excess_bytes", "runs_from_disk", "cold_load_s", "warm_load_s")
_MOST_ASSUMED = 12


def explained(prediction: Prediction, in_file: FileNoise | None) -> list[Block]:
    """What the time goes to, and what to know before relying on the numbers. in_file: of the model's own file."""
    found: list[Block] = []
    if prediction.runs:
        found.append(Text(sentence(why(prediction))))
        found.append(Text(f"Quality: {quality_words(prediction.quality, in_file)}."))
    notes = [sentence(remark) for remark in remarks(prediction)]
    assumed = prediction.machine.hardware.assumed()
    if assumed:
        more = " …" if len(assumed) > _MOST_ASSUMED else ""
        notes.append(f"Assumed, not confirmed by a source: {', '.join(assumed[:_MOST_ASSUMED])}{more}.")
    if prediction.disk is not None:
        notes.append(f"Disk: {disk_words(prediction)}.")
    return [*found, *([Bullets(notes)] if notes else [])]


def settings(prediction: Prediction) -> list[Block]:
    """What was predicted, every setting with its value, and the files that say what the things are."""
    one = record(prediction)
    keys = ("hardware", "model", "quant", "runtime", "backend", "threads")
    rows = _named((key, one[key]) for key in keys)
    rows += _named(one["workload"].items())
    if "placement" in one:
        placed = one["placement"]
        rows.append({"name": "layers on the GPU", "value": f"{placed['gpu_layers']} of {placed['layers']}"})
        rows += [{"name": "tensors on the host", "value": pattern} for pattern in placed["overrides"]]
    if "split" in one:
        shared = one["split"]
        over = f" over {shared['link']}, {cell('link_bytes_s', shared['link_bytes_s'])}" if shared["link"] else ""
        rows.append({"name": "split", "value": f"{shared['mode']}, {shared['devices']} devices{over}"})
    if "numa" in one:
        rows.append({"name": "NUMA", "value": one["numa"]})
    if "disk" in one:
        rows += _named((key, one["disk"][key]) for key in _DISK)
    rows += [{"name": f"{name} file", "value": path} for name, path in one["files"].items()]
    return [Table(rows, _NAMED)]


def memory(prediction: Prediction) -> Iterator[Block]:
    """The bill in words, by line, by device, and what of it is on the host."""
    one = record(prediction)
    yield Text(sentence(memory_words(prediction.memory)))
    lines = [{**asdict(line), "size_bytes": line.size} for line in bill_lines(prediction)]
    yield Table(lines, _BILL, "The bill, line by line")
    if not ("placement" in one or prediction.memory.devices):
        yield Table([one["memory"]], list(one["memory"]), "The bill, summed up")
    else:
        none: dict[str, Any] = {}
        pairs = zip_longest(device_rows(prediction), one.get("devices", ()), fillvalue=none)
        yield Table([{**more, **row} for row, more in pairs], _DEVICES, "By device")


def work(prediction: Prediction) -> Iterator[Block]:
    """What each phase has to do, and where it is done."""
    one = record(prediction)
    whole = [{"phase": name, **one[name]} for name in phases(prediction)]
    yield Table(whole, _WORK, "Work of the whole phases, with their ridge points")
    if "placement" in one:
        placed = one["placement"]
        sides = [
            {"phase": name, "device": device, "seconds": seconds, "bound": placed["bound"][name].get(device)}
            for name, parts in placed["seconds"].items()
            for device, seconds in parts.items()
        ]
        yield Table(sides, _SIDES, "Time by device")
    elif "disk" in one:
        waits = [{"phase": name, "seconds": seconds} for name, seconds in one["disk"]["seconds"].items()]
        yield Table(waits, ("phase", "seconds"), "Waiting for the disk")
    if "disk" in one:
        slowest = [{"phase": name, "slowest_seconds": wait} for name, wait in one["disk"]["slowest_seconds"].items()]
        yield Table(slowest, ("phase", "slowest_seconds"), "The same behind a page cache that keeps nothing")
    batch = format_number(compute_bound_batch(prediction))
    yield Text(f"At the speed of light decode is compute-bound from batch {batch}.")


def operators(prediction: Prediction) -> Iterator[Block]:
    """What each operator of a phase costs; kinds of layers and devices where there are several."""
    for name, phase in phases(prediction).items():
        lines = [asdict(line) for line in operator_table(phase, name)]
        several = {
            "group": len({line["group"] for line in lines} - {""}) > 1,
            "device": len({line["device"] for line in lines}) > 1,
        }
        shown = [key for key in _OPERATORS if several.get(key, True)]
        yield Table(lines, shown, f"{name.capitalize()}, all layers together")


def figures(prediction: Prediction) -> Iterator[Block]:
    """Every figure that the numbers rest on, by the file that states it, with the addresses of its sources."""
    figures = [asdict(used) for used in figures_used(prediction)]
    for file in dict.fromkeys(row["file"] for row in figures):
        yield Table([row for row in figures if row["file"] == file], _FIGURES, file)
    yield from _addresses(figures)


def _addresses(rows: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    """Where the sources of rows can be read, each once."""
    known = dict.fromkeys((str(row["source"]), str(row["url"])) for row in rows if row["url"])
    if known:
        yield Bullets([f"{source}: {url}" for source, url in known])


def checking(prediction: Prediction) -> list[Block]:
    """What others measured near by, and how to measure it oneself."""
    near = nearest_rows(prediction)
    found: list[Block] = [
        Table(near, _NEAR, "The nearest measured points") if near else Text("Nothing comparable was measured."),
        *_addresses(near),
    ]
    if prediction.runs and phases(prediction):
        found += [Text("Measure it, and hold the result against the prediction:"), Command(_bench_line(prediction))]
    return found


def _bench_line(prediction: Prediction) -> str:
    """A run of llama.cpp's benchmark of the same tokens, whose result `roofline check` reads."""
    one, placement = record(prediction), prediction.placement
    asked = one["workload"]
    prompt, gen, depth, batch = (str(asked[key]) for key in ("prompt", "gen", "depth", "batch"))
    if asked["batch"] > 1:
        words = ["llama-batched-bench", "-m", "MODEL.gguf", "-npp", prompt, "-ntg", gen, "-npl", batch]
    else:
        words = ["llama-bench", "-m", "MODEL.gguf", "-p", prompt, "-n", gen]
        words += ["-d", depth] if asked["depth"] else []
    words += ["-t", str(one["threads"]), "-ngl", "0"] if one["threads"] else []
    words += ["-ngl", str(placement.gpu_layers)] if placement else []
    words += ["-sm", prediction.machine.split] if prediction.machine.split != "layer" else []
    words += ["-ctk", asked["kv"][0], "-ctv", asked["kv"][-1]] if set(asked["kv"]) != {"f16"} else []
    words += ["--output-format", "jsonl"] if asked["batch"] > 1 else ["-o", "json"]
    device = one["hardware"].partition("+")[0]
    read = ["roofline", "check", "-", "--hw", device, "--model", one["model"], "--quant", one["quant"]]
    return f"{join(words)} | {join(read)}"


def _named(values: Iterable[tuple[str, Any]]) -> list[dict[str, str]]:
    """Values with their names, one below the other; what is unknown is left out."""
    titles = {"kv": "types of the KV cache", "context": "context that memory is for"}
    return [
        {"name": titles.get(key) or heading(key), "value": cell(key, value)}
        for key, value in values
        if value is not None
    ]


def phases(prediction: Prediction) -> dict[str, Phase]:
    """The phases that have tokens, by name, in the order in which they run."""
    both = {"prefill": prediction.prefill, "decode": prediction.decode}
    return {name: phase for name, phase in both.items() if phase is not None}


def sentence(text: str) -> str:
    """Words as a sentence of their own."""
    whole = f"{text[:1].upper()}{text[1:]}"
    return whole if whole.endswith((".", "!", "?", ")")) else f"{whole}."
