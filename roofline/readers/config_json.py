"""From a Hugging Face ``config.json`` to a Model; what each model class means is in config_families."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from roofline.model import MAX_LAYERS, Model
from roofline.readers.arrangement import arrange
from roofline.readers.config_families import FAMILIES, Family, hidden_size, holds, layer_of
from roofline.readers.config_keys import Config
from roofline.spec import SpecError, validate

MAX_BYTES = 1_000_000  # published ones have a few thousand


def read_config(path: Path) -> Model:
    """The model a config.json describes. Raises SpecError with one line: file, key, expected, found."""
    whole = _load(path)
    outer = Config(path, whole)
    inner = whole.get("text_config")
    config = outer
    if isinstance(inner, dict):  # the language part of a model that also sees or hears
        config = Config(path, inner, "text_config.")
    elif inner is not None:
        raise outer.wrong("text_config", "a table", inner)
    family = _family(config, outer)
    config.defaults = family.defaults
    count = config.number("num_hidden_layers", "n_layer")
    if count > MAX_LAYERS:
        raise config.wrong("num_hidden_layers", f"at most {MAX_LAYERS} layers", count)
    layers = [layer_of(config, family, index) for index in range(count)]
    tied = config.get("tie_word_embeddings")
    if tied is None and config is not outer:
        tied = outer.get("tie_word_embeddings")
    if tied is not None and not isinstance(tied, bool):
        raise config.wrong("tie_word_embeddings", "true or false", tied)
    data: dict[str, Any] = {
        "name": _name(path),
        "architecture": family.architecture,
        "vocab": config.number("vocab_size"),
        "hidden": hidden_size(config),
        "layers": count,
        "tied_embeddings": family.tied if tied is None else tied,
        "output_bias": holds(family.head_bias, config),
        "output_norm_bias": holds(family.norm_bias, config),
        "max_context": config.optional("max_position_embeddings", "n_positions"),
        "native_quant": "mxfp4" if _quant_method(whole) == "mxfp4" else "",
    }
    if family.window is None and config.optional("sliding_window") and config.flag("use_sliding_window", True):
        data["notes"] = (
            f"The config has a sliding window; llama.cpp runs {family.architecture} without, so does this.",
        )
    return validate(Model, data | arrange(layers), path)


def _load(path: Path) -> dict[str, Any]:
    def refuse(constant: str) -> float:
        raise SpecError(f"{path}: expected finite numbers, found {constant}")

    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpecError(f"{path}: expected a readable config.json, found: {error.strerror or error}") from None
    if len(raw) > MAX_BYTES:
        raise SpecError(f"{path}: expected a config.json of at most {MAX_BYTES:,} bytes, found a larger file")
    try:
        data = json.loads(raw.decode("utf-8"), parse_constant=refuse)
    except SpecError:
        raise
    except (ValueError, RecursionError) as error:  # bad JSON, bad UTF-8, thousands of digits, thousands of brackets
        reason = str(error).split("\n")[0][:120]
        raise SpecError(f"{path}: expected JSON in UTF-8, found: {ascii(reason)[1:-1]}") from None
    if not isinstance(data, dict):
        raise SpecError(f"{path}: expected a JSON object, found {type(data).__name__}")
    return data


def _family(config: Config, outer: Config) -> Family:
    """By class name, else by model type; the inner config's first, for the outer names the whole with its camera."""
    names: list[str] = []
    for source in (config, outer):
        classes = source.get("architectures")
        if isinstance(classes, list):
            names += [name for name in classes if isinstance(name, str)]
        kind = source.get("model_type")
        if isinstance(kind, str):
            names.append(kind)
    for name in names:
        if name in FAMILIES:
            return FAMILIES[name]
    known = ", ".join(sorted({family.classes[0] for family in FAMILIES.values()}))
    found = names[0] if names else "none"
    raise SpecError(f"{config.path}: architectures: expected one of {known}, found {ascii(found)[:80]}")


def _quant_method(data: dict[str, Any]) -> object:
    table = data.get("quantization_config")
    return table.get("quant_method") if isinstance(table, dict) else None


def _name(path: Path) -> str:
    """The folder of a config.json is named for its model."""
    stem = path.resolve().parent.name if path.name == "config.json" else path.stem
    return "".join(char for char in stem if char.isprintable()) or "config"
