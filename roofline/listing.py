"""What the catalog holds, as rows; and everything about one thing of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from roofline import catalog
from roofline.columns import COLUMNS
from roofline.hardware import Hardware
from roofline.model import Model
from roofline.points import matching
from roofline.runtime import Constant, Runtime
from roofline.spec import SpecError
from roofline.tables import Format, printable, render, to_json

Row = dict[str, Any]


def listing(what: str, pattern: str, form: Format) -> str:
    """The ids of a kind of thing with their main figures."""
    rows, columns = _LISTINGS[what](pattern)
    if not rows:
        raise SpecError(f"pattern: expected one that matches some of `roofline list {what}`, found {pattern!r}")
    return render(rows, columns, form)


def _hardware(pattern: str) -> tuple[list[Row], tuple[str, ...]]:
    rows = [
        _hardware_row(name, catalog.load_hardware(name).spec)
        for name in matching(list(catalog.files("hardware")), pattern)
    ]
    return rows, (
        "id",
        "name",
        "kind",
        "year",
        "backends",
        "memory",
        "bandwidth_bytes_s",
        "capacity_bytes",
        "peak_flop_s",
    )


def _hardware_row(name: str, spec: Hardware) -> Row:
    peaks = spec.peaks(spec.backends[0])
    return {
        "id": name,
        "name": spec.name,
        "kind": spec.kind,
        "year": spec.year,
        "backends": spec.backends,
        "memory": spec.memory.type,
        "bandwidth_bytes_s": spec.memory_bandwidth,
        "capacity_bytes": spec.capacity(),
        "peak_flop_s": max(peaks.values(), default=None),
    }


def _models(pattern: str) -> tuple[list[Row], tuple[str, ...]]:
    rows = []
    for name in matching(list(catalog.files("models")), pattern):
        model = catalog.load_model(name).spec
        rows.append(
            {
                "id": name,
                "name": model.name,
                "architecture": model.architecture,
                "layers": model.layers,
                "parameters": model.parameter_count,
                "active_parameters": model.active_parameter_count,
                "kv_bytes_per_token": model.kv_bytes_per_position(),
                "max_context": model.max_context,
            }
        )
    return rows, (
        "id", "name", "architecture", "layers", "parameters", "active_parameters", "kv_bytes_per_token", "max_context",
    )  # fmt: skip


def _quants(pattern: str) -> tuple[list[Row], tuple[str, ...]]:
    from roofline.quantization import names

    infos = {info.id: info for info in names()}
    chosen = set(matching(list(infos), pattern))
    rows = [
        {
            **info._asdict(),
            "snr_db": info.snr_db if info.snr_db is not None and math.isfinite(info.snr_db) else None,
            "ppl_change_percent": info.perplexity.change_percent if info.perplexity else None,
            "ppl_model": info.perplexity.model if info.perplexity else None,
            "ppl_imatrix": info.perplexity.imatrix if info.perplexity else None,
        }
        for identity, info in infos.items()
        if identity in chosen
    ]
    return rows, (
        "id", "bits_per_weight", "model_bits_per_weight", "snr_db", "ppl_change_percent", "ppl_model", "ppl_imatrix",
        "meaning", "basis",
    )  # fmt: skip


def _runtimes(pattern: str) -> tuple[list[Row], tuple[str, ...]]:
    rows = []
    for name in matching(list(catalog.files("runtimes")), pattern):
        spec = catalog.load_runtime(name).spec
        rows.append({"id": name, "name": spec.name, "period": spec.period, "backends": tuple(spec.backends)})
    return rows, ("id", "name", "period", "backends")


def _columns(pattern: str) -> tuple[list[Row], tuple[str, ...]]:
    rows = [
        {"key": column.key, "title": column.title, "unit": column.unit, "meaning": column.meaning}
        for key, column in COLUMNS.items()
        if key in matching(list(COLUMNS), pattern)
    ]
    return rows, ("key", "title", "unit", "meaning")


_LISTINGS: dict[str, Callable[[str], tuple[list[Row], tuple[str, ...]]]] = {
    "hardware": _hardware,
    "models": _models,
    "quants": _quants,
    "runtimes": _runtimes,
    "columns": _columns,
}


# -- one thing --------------------------------------------------------------------------------------------------------


def details(what: str, name: str, form: Format) -> str:
    """Every figure of one thing with basis and source, and the file it stands in."""
    if what == "hardware":
        hardware = catalog.load_hardware(name)
        return _show(hardware, hardware.spec.name, _hardware_rows(hardware.spec), form)
    if what == "model":
        model = catalog.load_model(name)
        return _show(model, model.spec.name, _model_rows(model.spec), form)
    runtime = catalog.load_runtime(name)
    return _show(runtime, f"{runtime.spec.name} {runtime.spec.period}", _runtime_rows(runtime.spec), form)


def _show(entry: catalog.Entry[Any], name: str, rows: list[Row], form: Format) -> str:
    if form == "json":
        spec = entry.spec.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        return to_json({"id": entry.id, "file": catalog.shown(entry.path), **spec})
    text = render(rows, ("field", "value", "basis", "source", "note"), form)
    return text if form == "csv" else f"{printable(f'{name} ({catalog.shown(entry.path)})')}\n\n{text}"


def _hardware_rows(spec: Hardware) -> list[Row]:
    rows: list[Row] = [
        {"field": "kind", "value": spec.kind},
        {"field": "backends", "value": ", ".join(spec.backends)},
        {"field": "memory.type", "value": spec.memory.type},
    ]
    if spec.cpu is not None:
        cores = " + ".join(f"{cluster.cores} {cluster.name}" for cluster in spec.cpu.clusters)
        sockets = f"{spec.cpu.sockets} × " if spec.cpu.sockets > 1 else ""
        rows.append({"field": "cpu.cores", "value": f"{sockets}{cores}"})
        rows.append({"field": "cpu.isa", "value": " ".join(spec.cpu.isa)})
    computed = spec.memory.computed_bandwidth
    if computed is not None:
        rows.append(
            {
                "field": "memory.bandwidth (computed)",
                "value": _bandwidth_words(spec),
                "basis": "derived",
                "source": "channels × width × rate",
            }
        )
    for path, figure in spec.figures().items():
        source = spec.sources.get(figure.source)
        rows.append(
            {
                "field": path,
                "value": str(figure),
                "basis": figure.basis,
                "source": source.title if source else "",
                "note": ", ".join(filter(None, (getattr(figure, "date", ""), figure.note))),
            }
        )
    rows += [{"field": note.field or "note", "value": note.text, "source": note.source} for note in spec.notes]
    return rows


def _bandwidth_words(spec: Hardware) -> str:
    from roofline.units import format_quantity

    return format_quantity(spec.memory.theoretical_bandwidth, "B/s", digits=4)


def _model_rows(spec: Model) -> list[Row]:
    source = spec.sources.get(spec.source)
    title = source.title if source else ""
    rows: list[Row] = [
        {"field": name, "value": getattr(spec, name), "basis": "datasheet", "source": title}
        for name in ("architecture", "vocab", "hidden", "layers", "tied_embeddings", "max_context")
    ]
    for group in spec.groups:
        shape = group.layer.model_dump(exclude_none=True, exclude_defaults=True)
        label = f"blocks.{group.name}"
        rows += [
            {"field": f"{label}.{part}", "value": _words(table), "basis": "datasheet", "source": title}
            for part, table in shape.items()
        ]
        rows.append(
            {"field": f"{label} (layers)", "value": f"{len(group.indices)} of {spec.layers}", "basis": "derived"}
        )
    rows.append({"field": "parameters (counted)", "value": f"{spec.parameter_count:,}", "basis": "derived"})
    rows.append({"field": "parameters (active)", "value": f"{spec.active_parameter_count:,}", "basis": "derived"})
    if spec.parameters is not None:
        published = spec.sources.get(spec.parameters.source)
        rows.append(
            {
                "field": "parameters (published)",
                "value": f"{int(spec.parameters.value):,}",
                "basis": spec.parameters.basis,
                "source": published.title if published else "",
                "note": spec.parameters.beyond,
            }
        )
    return rows + [{"field": "note", "value": note} for note in spec.notes]


def _words(value: Any) -> str:
    return ", ".join(f"{key} {part}" for key, part in value.items()) if isinstance(value, dict) else str(value)


def _runtime_rows(spec: Runtime) -> list[Row]:
    rows: list[Row] = [
        {"field": name, "value": getattr(spec, name)} for name in ("batch", "ubatch", "context_padding", "kv_types")
    ]
    for name, engine in spec.backends.items():
        rows += _constants(engine, f"{name}", spec)
    return rows


def _constants(thing: Any, prefix: str, spec: Runtime) -> list[Row]:
    """Rows of every Constant below a thing, rules labelled by what they match."""
    if isinstance(thing, Constant):
        source = spec.sources.get(thing.source)
        return [
            {
                "field": prefix,
                "value": thing.value,
                "basis": thing.basis,
                "source": source.title if source else "",
                "note": thing.note,
            }
        ]
    rows: list[Row] = []
    if isinstance(thing, dict):
        for key, value in thing.items():
            rows += _constants(value, f"{prefix}.{key}", spec)
    elif isinstance(thing, tuple):
        for value in thing:
            rows += _constants(value, f"{prefix}[{_rule(value)}]", spec)
    elif hasattr(type(thing), "model_fields"):
        for key in type(thing).model_fields:
            rows += _constants(getattr(thing, key), f"{prefix}.{key}", spec)
    return rows


def _rule(rule: Any) -> str:
    words = [*getattr(rule, "types", ()), *getattr(rule, "isa", ()), *getattr(rule, "architecture", ())]
    columns = getattr(rule, "columns", "any")
    return " ".join([*words, *([columns] if columns != "any" else [])]) or "any"
