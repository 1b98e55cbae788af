"""What ``roofline list quants`` shows: every quantisation with its bits per weight on a common model."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import NamedTuple

from roofline.quantization.perplexity import Perplexity, published
from roofline.quantization.quality import mixed_snr_db
from roofline.quantization.recipes import RECIPES, Recipe, assign_types, stored_bytes
from roofline.quantization.rules import ShapeFacts
from roofline.tensor import Tensor


class QuantInfo(NamedTuple):
    """One row of the list.

    bits_per_weight: of the base type, scales included [bit].
    model_bits_per_weight: of a whole 8B model, since mixes differ from their base type [bit].
    snr_db: of all its weights together [dB]; infinite for f32, None where a type was not measured.
    perplexity: the published change of the reference model, None where there is none.
    """

    id: str
    bits_per_weight: float
    model_bits_per_weight: float
    snr_db: float | None
    perplexity: Perplexity | None
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


def _info(recipe: Recipe) -> QuantInfo:
    tensors = _reference_tensors()
    types = assign_types(recipe.id, tensors, _REFERENCE)
    elements: Counter[str] = Counter()
    for kind, tensor in zip(types, tensors, strict=True):
        elements[kind] += tensor.elements
    return QuantInfo(
        recipe.id,
        recipe.layout.bits_per_weight,
        8.0 * sum(stored_bytes(types, tensors)) / elements.total(),
        mixed_snr_db(elements),
        published(recipe.id),
        recipe.meaning,
        recipe.basis,
    )


def ids() -> tuple[str, ...]:
    """The names of all recipes: llama-quantize's from wide to narrow, community mixes, other engines, idealised."""
    return tuple(RECIPES)


@lru_cache(maxsize=1)
def names() -> tuple[QuantInfo, ...]:
    """Every recipe with its bits per weight, its quality and one line of meaning, in the order of ``ids``."""
    return tuple(_info(recipe) for recipe in RECIPES.values())
