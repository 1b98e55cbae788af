"""What `fit` says: the bill, line by line and by device, the verdict, and the answers to what follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from roofline.itemised import Line, bill_lines
from roofline.memory import MemoryBill
from roofline.parts import Part, device_parts
from roofline.prediction import Prediction
from roofline.reasons import remarks
from roofline.report import memory_record, title
from roofline.sizing import Choice, Sizing
from roofline.tables import Format, render, to_json
from roofline.units import format_quantity

SCHEMA = "roofline.fit/1"
_LINE = ("item", "detail", "size_bytes")
_DEVICE = (
    "device", "layers", "weights_bytes", "kv_cache_bytes", "compute_bytes", "context_bytes", "total_bytes",
    "usable_bytes", "margin_bytes", "fits",
)  # fmt: skip
_QUANT = ("quant", "total_bytes", "fits", "gpu_layers", "decode_tok_s")
_CHOICE = ("option", "gpu_layers", "prefill_tok_s", "decode_tok_s", "decode_full_tok_s")


def report(sizing: Sizing, form: Format) -> str:
    """A sizing in a format; CSV is the bill alone, line by line."""
    lines = [_line_row(line) for line in bill_lines(sizing.prediction)]
    if form == "json":
        return to_json(record(sizing))
    if form == "csv":
        return render(lines, (*_LINE, "counts"), "csv")
    mark = "## " if form == "md" else ""
    parts = [title(sizing.prediction) + "\n", f"{verdict(sizing)}\n"]
    parts += [f"{mark}{name}\n\n{text}" for name, text in _sections(sizing, lines, form)]
    return "\n".join(parts)


def _sections(sizing: Sizing, lines: list[dict[str, Any]], form: Format) -> Iterator[tuple[str, str]]:
    """Headings with their tables and lists."""
    prediction, list_mark = sizing.prediction, "- " if form == "md" else "  "
    bill = prediction.memory
    total = float(bill.total) if bill.host is None else float(bill.total) + float(bill.host.total)
    counted = [row for row in lines if row["counts"]]
    yield "Memory", render([*counted, {"item": "total", "detail": "", "size_bytes": total}], _LINE, form)
    if len(counted) < len(lines):
        yield "Beside it", render([row for row in lines if not row["counts"]], _LINE, form)
    yield "By device", render(device_rows(prediction), _DEVICE, form)
    yield "What fits", render(_answers(sizing), ("question", "answer"), form)
    if sizing.quants:
        shown = [key for key in _QUANT if key != "gpu_layers" or prediction.placement is not None]
        yield "Quantisations", render(_quant_rows(sizing), shown, form)
    if any(choice.decode_tok_s for choice in sizing.choices):
        shown = [key for key in _CHOICE if key != "gpu_layers" or prediction.placement is not None]
        yield "Speed", render([_choice_row(one) for one in sizing.choices], shown, form) + _faster(sizing)
    if not bill.fits:
        listed = [f"{list_mark}{way}\n" for way in sizing.ways]
        yield "What would fit", "".join(listed) or f"{list_mark}No single change makes it fit.\n"
    notes = [f"{list_mark}{remark}\n" for remark in remarks(prediction)]
    if notes:
        yield "Notes", "".join(notes)


def verdict(sizing: Sizing) -> str:
    """The first sentence: whether it fits, what is left or missing, and where."""
    bill, chosen = sizing.prediction.memory, sizing.prediction.weights.quant
    before = f"{chosen} is the best common quantisation that fits. " if sizing.chosen else ""
    if bill.usable is None or bill.margin is None:
        owner = "how much there is, its owner decides (--set memory.capacity=64GB)"
        return f"{before}It needs {_size(float(bill.total))}; {owner}."
    context = f" with a context of {sizing.prediction.workload.context} tokens"
    if bill.fits:
        most = ", if it has the most memory that it takes" if bill.assumed_capacity else ""
        words = f"{before}Fits{context}: {_size(float(bill.margin))} left{_where(bill)}{most}."
        if bill.repacked:
            words += f" Up to {_size(float(bill.resident))} are resident while the file stays in the page cache."
        return words
    sides = [("", bill)] if bill.host is None else [(" on the device", bill), (" on the host", bill.host)]
    missing = [
        f"{_size(-float(side.margin))} too much{name or _where(side)}"
        for name, side in sides
        if side.margin is not None and float(side.margin) < 0
    ]
    return f"Does not fit{context}: {', '.join(missing)}."


def _where(bill: MemoryBill) -> str:
    return " on the fullest device" if bill.devices else " on the device" if bill.host is not None else ""


def _size(size: float) -> str:
    return format_quantity(size, "B", binary=True)


# -- rows -------------------------------------------------------------------------------------------------------------


def _line_row(line: Line) -> dict[str, Any]:
    return {"item": line.item, "detail": line.detail, "size_bytes": line.size, "counts": line.counts}


def device_rows(prediction: Prediction) -> list[dict[str, Any]]:
    """Each device's bill, and the host's, with the layers that it has."""
    bill, model, placement = prediction.memory, prediction.model, prediction.placement
    parts = device_parts(model, prediction.machine, placement)
    single = prediction.machine.hardware.gpu is not None and prediction.machine.backend != "cpu"
    word = "GPU" if single else "CPU"
    bills = bill.devices or (bill,)
    rows = []
    for number, (one, part) in enumerate(zip(bills, parts, strict=True), 1):
        layers = "a part of all" if prediction.machine.split == "tensor" else _layers(part)
        rows.append({"device": f"{word} {number}" if len(bills) > 1 else word, "layers": layers, **_own_record(one)})
    if bill.host is not None and placement is not None:
        left = Part(range(placement.first(model.layers)), not placement.holds_output(), embedding=True)
        rows.append({"device": "host", "layers": _layers(left), **memory_record(bill.host)})
    return rows


def _own_record(bill: MemoryBill) -> dict[str, Any]:
    """A device's keys with a verdict of its own, whatever its host says."""
    own = memory_record(bill)
    return own | {"fits": own["margin_bytes"] is None or own["margin_bytes"] >= 0}


def _layers(part: Part) -> str:
    """'41', '39 and output'."""
    return f"{len(part.layers)}{' and output' if part.output else ''}"


def _answers(sizing: Sizing) -> list[dict[str, Any]]:
    """The questions that a bill answers the other way round, in words."""
    prediction = sizing.prediction
    model, machine = prediction.model, prediction.machine
    limit = f" of the model's {model.max_context}" if model.max_context else ""
    found = {"longest context": f"{sizing.longest} tokens{limit}" if sizing.longest else "none"}
    if sizing.quants:
        found["best quantisation"] = sizing.best.quant if sizing.best else "none"
    if sizing.layers is not None:
        has_host = prediction.placement is not None and prediction.placement.host is not None
        beside = "" if has_host else ", the others on a host beside it (--hw ID+HOST)"
        whole = model.layers + 1
        found["most layers on the GPU"] = f"{sizing.layers} of {whole}{beside if sizing.layers < whole else ''}"
    if machine.hardware.memory.options:
        enough = f"{sizing.memory[0]}" if sizing.memory else "none of those sold"
        found["smallest memory of this device"] = enough
    if sizing.device:
        name, setting = sizing.device
        usable = setting.bill.usable
        found["smallest device that holds it alone"] = f"{name} ({_size(usable)} usable)" if usable else name
    return [{"question": question, "answer": answer} for question, answer in found.items()]


def _quant_rows(sizing: Sizing) -> list[dict[str, Any]]:
    return [
        {
            "quant": weights.quant,
            "total_bytes": _whole_total(setting.bill),
            "fits": setting.fits,
            "gpu_layers": setting.placement.gpu_layers if setting.placement else None,
            "decode_tok_s": speed,
        }
        for weights, setting, speed in sizing.quants
    ]


def _whole_total(bill: MemoryBill) -> float:
    return float(bill.total) + (float(bill.host.total) if bill.host else 0.0)


def _choice_row(choice: Choice) -> dict[str, Any]:
    prediction = choice.prediction
    prefill = prediction.prefill
    return {
        "option": choice.option,
        "gpu_layers": prediction.placement.gpu_layers if prediction.placement else None,
        "prefill_tok_s": float(prefill.tok_s) if prefill and prediction.runs else None,
        "decode_tok_s": choice.decode_tok_s,
        "decode_full_tok_s": choice.decode_full_tok_s,
    }


def _faster(sizing: Sizing) -> str:
    """Which of several choices generates fastest."""
    return f"\nFastest: {sizing.choices[0].option}.\n" if len(sizing.choices) > 1 else ""


# -- JSON -------------------------------------------------------------------------------------------------------------


def record(sizing: Sizing) -> dict[str, Any]:
    """The JSON of `fit`."""
    prediction = sizing.prediction
    workload, names = prediction.workload, prediction.names
    memory = prediction.memory
    return {
        "schema": SCHEMA,
        "hardware": names["hardware"],
        "model": names["model"],
        "quant": prediction.weights.quant,
        "quant_chosen": sizing.chosen,
        "runtime": names["runtime"],
        "backend": prediction.machine.backend,
        "workload": {
            "context": workload.context,
            "batch": float(workload.batch),
            "ubatch": workload.ubatch or prediction.machine.runtime.ubatch,
            "kv": list(workload.kv_types),
            "repack": workload.repack,
        },
        "fits": bool(memory.fits),
        "memory": memory_record(memory),
        "devices": device_rows(prediction),
        "bill": [_line_row(line) for line in bill_lines(prediction)],
        "longest_context": sizing.longest,
        "best_quant": sizing.best.quant if sizing.best else None,
        "gpu_layers": sizing.layers,
        "smallest_memory": _named(sizing.memory),
        "smallest_device": _named(sizing.device),
        "quants": _quant_rows(sizing),
        "choices": [_choice_row(one) for one in sizing.choices],
        "ways_out": [asdict(way) for way in sizing.ways],
        "remarks": remarks(prediction),
        "files": {key.removesuffix("_file"): path for key, path in names.items() if key.endswith("_file")},
    }


def _named(found: Any) -> Mapping[str, Any] | None:
    """A memory size or a device that is enough, with the bill on it."""
    if found is None:
        return None
    name, setting = found
    return {"name": str(name), **memory_record(setting.bill)}
