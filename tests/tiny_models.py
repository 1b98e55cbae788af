"""Catalog models in miniature: the same kinds of layer and the same features, a few hundred thousand weights."""

from pathlib import Path
from typing import Any

from roofline import api, catalog
from roofline.model import Model

HIDDEN, WIDTH, VOCAB, HEAD, HEADS = 256, 512, 512, 64, 4


def catalog_models() -> dict[str, Model]:
    """The first model of each architecture in the catalog."""
    found: dict[str, Model] = {}
    for name in api.list_models():
        model = catalog.load_model(name).spec
        found.setdefault(model.architecture, model)
    return found


def shrink(model: Model) -> dict[str, Any]:
    """The TOML table of a model like `model`, with 2 to 6 layers."""
    kinds = list(dict.fromkeys(model.order))
    pattern = list(model.pattern) if len(model.pattern) <= 6 else kinds
    blocks = {kind: _layer(model, kind) for kind in kinds}
    first = list(model.first[:1])
    data: dict[str, Any] = {
        "name": f"Tiny {model.architecture}",
        "architecture": model.architecture,
        "vocab": VOCAB,
        "hidden": HIDDEN,
        "layers": max(2, len(first) + len(pattern)),
        "max_context": 1024,
        "tied_embeddings": model.tied_embeddings,
        "output_bias": model.output_bias,
        "output_norm_bias": model.output_norm_bias,
        "blocks": blocks,
    }
    if len(kinds) > 1:
        data |= {"pattern": pattern, "first": first}
    return data


def _layer(model: Model, kind: str) -> dict[str, Any]:
    layer = model.blocks[kind]
    data = layer.model_dump(exclude_none=True, exclude_defaults=True)
    if attention := data.get("attention"):
        grouped = attention["kv_heads"] < attention["heads"]
        attention |= {"heads": HEADS, "kv_heads": 2 if grouped else HEADS, "head_dim": HEAD}
        if "window" in attention and model.architecture != "llama4":
            attention["window"] = 64
    if latent := data.get("latent_attention"):
        latent |= {"heads": HEADS, "kv_rank": 128, "nope": 32, "rope": 32, "value": HEAD}
        if "q_rank" in latent:
            latent["q_rank"] = 128
    if net := data.get("delta_net"):
        net |= {"key_heads": 2, "value_heads": HEADS, "head_dim": HEAD}
    if space := data.get("state_space"):
        space |= {"heads": HEADS, "head_dim": HEAD, "state": 128, "groups": 2}
    if mlp := data.get("mlp"):
        mlp["width"] = WIDTH
    if experts := data.get("experts"):
        count = experts.get("shared_width", 0) // experts["width"]
        experts |= {"experts": 8, "active": 2, "width": HIDDEN}
        if "shared_width" in experts:
            experts["shared_width"] = max(1, count) * HIDDEN
        if "latent" in experts:
            experts["latent"] = 128
    if "extra_vectors" in data:
        data["extra_vectors"] = HIDDEN + WIDTH if model.architecture == "bitnet" else _gemma4_scales(data)
    return data


def _gemma4_scales(data: dict[str, Any]) -> int:
    """One of the layer; where there are experts, one of each and one of the router's input."""
    return 1 + (HIDDEN + int(data["experts"]["experts"]) if "experts" in data else 0)


def write_toml(data: dict[str, Any], path: Path) -> Path:
    """A model table as a file."""
    lines = [f"{key} = {_value(item)}" for key, item in data.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _value(item: object) -> str:
    if isinstance(item, bool):
        return str(item).lower()
    if isinstance(item, dict):
        return "{ " + ", ".join(f"{key} = {_value(inner)}" for key, inner in item.items()) + " }"
    if isinstance(item, (list, tuple)):
        return "[" + ", ".join(map(_value, item)) + "]"
    return f'"{item}"' if isinstance(item, str) else str(item)
