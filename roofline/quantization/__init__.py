"""Quantisation: how many bytes a weight is stored in, and which type each tensor of a model gets.

``layouts`` derives the bytes of a block; ``rules`` and ``recipes`` restate how llama-quantize chooses types tensor by
tensor. ``get("q4_k_m")`` finds a recipe, ``assign_types`` applies it to a model, ``layout("q4_k")`` tells the bytes.
"""

from roofline.quantization.layouts import (
    FAMILIES,
    KV_TYPES,
    LAYOUTS,
    UNIFORM_BITS,
    BlockLayout,
    Family,
    is_uniform,
    kv_layout,
    layout,
    tensor_bytes,
)
from roofline.quantization.listing import QuantInfo, ids, names
from roofline.quantization.recipes import (
    ALIASES,
    RECIPES,
    Recipe,
    assign_types,
    file_bytes,
    get,
    stored_bytes,
    types_by_form,
)
from roofline.quantization.rules import FALLBACKS, Position, ShapeFacts, use_more_bits

__all__ = [
    "ALIASES",
    "FALLBACKS",
    "FAMILIES",
    "KV_TYPES",
    "LAYOUTS",
    "RECIPES",
    "UNIFORM_BITS",
    "BlockLayout",
    "Family",
    "Position",
    "QuantInfo",
    "Recipe",
    "ShapeFacts",
    "assign_types",
    "file_bytes",
    "get",
    "ids",
    "is_uniform",
    "kv_layout",
    "layout",
    "names",
    "stored_bytes",
    "tensor_bytes",
    "types_by_form",
    "use_more_bits",
]
