"""What ``roofline list quants`` shows: every quantisation with its bits per weight on a common model."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from roofline.quantization.recipes import RECIPES, Recipe, assign_types, stored_bytes
from roofline.quantization.rules import ShapeFacts
from roofline.tensor import Tensor


class QuantInfo(NamedTuple):
    """One row of the list.

    bits_per_weight: of the base type, scales included [bit].
    model_bits_per_weight: of a whole 8B model, since mixes differ from their base type [bit].
    """

    id: str
    bits_per_weight: float
    model_bits_per_weight: float
    meaning: str
    basis: str


#: The shape of Llama 3.1 8B (config.json of meta-llama/Llama-3.1-8B), the model that llama-quantize's own help uses.
_REFERENCE = ShapeFacts("llama", layers=32, heads=32, kv_heads=8, experts=0, tied=False)
_HIDDEN, _KV, _FFN, _VOCAB = 4096, 1024, 14336, 128256
_MATRICES = {
    "attn_q": (_HIDDEN, _HIDDEN),
    "attn_k": (_HIDDEN, _KV),
    "attn_v": (_HIDDEN, _KV),
    "attn_output": (_HIDDEN, _HIDDEN),
    "ffn_gate": (_HIDDEN, _FFN),
    "ffn_up": (_HIDDEN, _FFN),
    "ffn_down": (_FFN, _HIDDEN),
}


@lru_cache(maxsize=1)
def _reference_tensors() -> tuple[Tensor, ...]:
    """The matrices of the reference model; its norms are too small to show."""
    ends = [Tensor(f"{role}.weight", role, None, (_HIDDEN, _VOCAB)) for role in ("token_embd", "output")]
    blocks = [
        Tensor(f"blk.{layer}.{role}.weight", role, layer, shape)
        for layer in range(_REFERENCE.layers)
        for role, shape in _MATRICES.items()
    ]
    return (*ends, *blocks)


def _model_bits(recipe: Recipe) -> float:
    tensors = _reference_tensors()
    total = sum(stored_bytes(assign_types(recipe.id, tensors, _REFERENCE), tensors))
    return 8.0 * total / sum(tensor.elements for tensor in tensors)


def ids() -> tuple[str, ...]:
    """The names of all recipes: llama-quantize's from wide to narrow, community mixes, other engines, idealised."""
    return tuple(RECIPES)


@lru_cache(maxsize=1)
def names() -> tuple[QuantInfo, ...]:
    """Every recipe with its bits per weight and one line of meaning, in the order of ``ids``."""
    return tuple(
        QuantInfo(recipe.id, recipe.layout.bits_per_weight, _model_bits(recipe), recipe.meaning, recipe.basis)
        for recipe in RECIPES.values()
    )
