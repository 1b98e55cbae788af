"""Results as text: one registry of columns (name, unit, meaning, format) → table, JSON, CSV, Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from roofline.placement import layers_by_device
from roofline.prediction import Phase, Prediction
from roofline.quality import FileNoise, quality_record, quality_words
from roofline.reasons import arrangement, band_reasons, band_words, disk_words, memory_words, remarks, times_words, why
from roofline.splitting import interconnect
from roofline.tables import Format, printable, render, to_csv, to_json
from roofline.units import format_number

if TYPE_CHECKING:
    from roofline.memory import MemoryBill
    from roofline.ways_out import WayOut

SCHEMA = "roofline.prediction/1"


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


def record(prediction: Prediction, ways: Sequence[WayOut] = (), in_file: FileNoise | None = None) -> dict[str, Any]:
    """A prediction of one point as the JSON contract has it; speeds are null where the model does not run.

    It runs where it fits, or where `disk` says what is read from the disk. in_file: the noise of the model's own file.
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
        "quality": quality_record(prediction.quality, in_file),
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
    row |= {key: one["quality"][key] for key in ("snr_db", "file_snr_db", "ppl_change_percent", "ppl_model")}
    row |= {key: one["placement"][key] for key in ("gpu_layers",) if "placement" in one}
    row |= {key: value for key, value in one.get("disk", {}).items() if not isinstance(value, dict)}
    return row | {key: one[key] for key in ("ttft_s", "tpot_s", "total_s")}


def predictions(
    results: Sequence[Prediction], form: Format, ways: Sequence[WayOut] = (), in_file: FileNoise | None = None
) -> str:
    """Predictions of one or several points in a format; a single one is an object in JSON, several are a list.

    in_file: the noise of the model's own file, where it is one.
    """
    records = [record(result, ways, in_file) for result in results]
    if form == "json":
        return to_json(records[0] if len(records) == 1 else records)
    rows = [flat(one) for one in records]
    if form == "csv":
        return to_csv(rows, list(rows[0]))
    if len(results) == 1 and form == "table":
        return summary(results[0], ways, in_file)
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
    quality = printable(quality_words(results[0].quality, in_file))
    return f"{title(*results)}\n\n{render(lines, shown, form)}\nQuality: {quality}.\n"


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


def summary(prediction: Prediction, ways: Sequence[WayOut] | None = None, in_file: FileNoise | None = None) -> str:
    """A prediction for a person: the verdict first, both phases, times, memory, and why.

    ways: what would fit, None where nobody looked. in_file: the noise of the model's own file.
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
    lines += [f"Time: {times_words(prediction, 'then ')}.", f"Memory: {memory_words(prediction.memory)}."]
    lines += [f"Disk: {disk_words(prediction)}."] if prediction.disk is not None else []
    lines += [f"Quality: {printable(quality_words(prediction.quality, in_file))}."]
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
