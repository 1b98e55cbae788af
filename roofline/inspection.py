"""What a GGUF file holds: its shape, its types, and what a token reads of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from roofline.api import quantisation_name
from roofline.blocks import Layer
from roofline.model import Model
from roofline.readers import GgufFile, model_of, read_gguf
from roofline.spec import SpecError
from roofline.tables import Format, cell, printable, render, to_json
from roofline.units import format_quantity
from roofline.weights import bytes_read, from_file
from roofline.workload import Step

ONE_TOKEN = Step(batch=1.0, new=1.0, past=0.0, limit=1.0)
_TYPE_COLUMNS = ("type", "tensors", "elements", "bytes", "bits_per_weight", "share")


def inspection(path: Path, form: Format) -> str:
    """The header and the tensor table of a GGUF file as a report.

    A file whose architecture has no shape here is still counted; what a token reads is then unknown.
    """
    file = read_gguf(path)
    try:
        model: Model | None = model_of(file)
        reason = ""
    except SpecError as error:
        model, reason = None, str(error)
    facts = _facts(file, model, reason) | _quality(file)
    types = [
        {
            "type": share.type,
            "tensors": share.tensors,
            "elements": share.elements,
            "bytes": share.size_bytes,
            "bits_per_weight": share.bits_per_weight,
            "share": share.size_bytes / file.weight_bytes,
        }
        for share in file.by_type
    ]
    if form == "json":
        return to_json({"schema": "roofline.inspection/1", **facts, "types": types})
    if form == "csv":
        return render(types, _TYPE_COLUMNS, "csv")
    rows = [{"field": key.replace("_", " "), "value": _words(key, value)} for key, value in facts.items()]
    rows = [row for row in rows if not row["field"].endswith("snr db")] + _quality_rows(path, facts)
    return f"{printable(str(path))}\n\n{render(rows, ('field', 'value'), form)}\n{render(types, _TYPE_COLUMNS, form)}"


def _facts(file: GgufFile, model: Model | None, reason: str) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": file.name,
        "architecture": file.architecture,
        "version": file.version,
        "quant": quantisation_name(file) if file.tensors else None,
        "file_bytes": file.file_bytes,
        "weights": file.weights,
        "tensors": len(file.tensors),
        "parameters": file.parameter_count,
        "weights_bytes": file.weight_bytes,
        "bits_per_weight": file.bits_per_weight,
    }
    if model is None:
        return {**facts, "shape": None, "shape_unknown_because": reason}
    weights = from_file(model, "", ((tensor, tensor.type) for tensor in file.tensors), file.types_by_role)
    return facts | {
        "shape": _shape(model),
        "layers": model.layers,
        "hidden": model.hidden,
        "vocab": model.vocab,
        "tied_embeddings": model.tied_embeddings,
        "max_context": model.max_context,
        "active_parameters": model.active_parameter_count,
        "decode_bytes_per_token": bytes_read(model, weights, ONE_TOKEN),
        "kv_bytes_per_token": model.kv_bytes_per_position(),
    }


def _quality(file: GgufFile) -> dict[str, Any]:
    """The noise of rounding, by a small sample of the weights where the file has them."""
    from roofline.file_quality.report import first_look

    sums = first_look(file)
    return {} if sums is None else {"file_snr_db": sums.snr_db, "gaussian_snr_db": sums.gaussian_snr_db}


def _shape(model: Model) -> str:
    """The kinds of layer in words."""
    return "; ".join(f"{len(group.indices)} × {_layer(group.layer)}" for group in model.groups)


def _layer(layer: Layer) -> str:
    parts = []
    for name in ("attention", "latent_attention", "state_space", "delta_net", "mlp", "experts"):
        part = getattr(layer, name)
        if part is not None:
            values = part.model_dump(exclude_none=True, exclude_defaults=True)
            parts.append(f"{name.replace('_', ' ')} ({', '.join(f'{key} {value}' for key, value in values.items())})")
    return " + ".join(parts) or "empty"


def _quality_rows(path: Path, facts: dict[str, Any]) -> list[dict[str, str]]:
    """'quality: SNR of the rounding 22.5 dB (Gaussian weights: 22.6); roofline error --model … shows more'."""
    if "file_snr_db" not in facts:
        return []
    own, gaussian = facts["file_snr_db"], facts["gaussian_snr_db"]
    words = "no blocks that tell their steps"
    if own is not None:
        words = f"SNR of the rounding {cell('file_snr_db', own)} dB, estimated"
    words += "" if gaussian is None else f" (Gaussian weights: {cell('gaussian_snr_db', gaussian)})"
    return [{"field": "quality", "value": f"{words}; roofline error --model {path.name} shows more"}]


def _words(key: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and key == "parameters":
        return f"{value:,}"
    if isinstance(value, (int, float)) and key.endswith(("_bytes", "bytes_per_token")):
        return format_quantity(float(value), "B", digits=4)
    return cell(key, value)
