"""Which type llama-quantize gives a tensor: parts, conditions, rules, fallbacks.

A file type such as Q4_K_M is a base type and a list of rules. A rule names a part of the model (``attn_v``,
``ffn_down``), the type it gets there, and the conditions under which it does; the first rule that applies wins.

Source: ``src/llama-quant.cpp`` of llama.cpp (``llama_tensor_get_type_impl``, ``tensor_type_fallback``,
``tensor_allows_quantization``), restated as data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from roofline.quantization.layouts import BlockLayout, layout
from roofline.spec import SpecError
from roofline.tensor import Tensor

Part = Literal[
    "output", "token_embd", "attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output",
    "ffn_gate", "ffn_up", "ffn_down", "other",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class ShapeFacts:
    """What the rules ask of a model.

    architecture: the GGUF name ('llama', 'falcon', 'qwen2', 'qwen3moe', 'gemma3', 'deepseek2', 'gpt-oss').
    layers: blocks. heads, kv_heads: of the first layer; 0 kv_heads where it has no attention.
    experts: routed experts, 0 or 1 for a dense model. tied: no output tensor, token_embd serves as the output.
    """

    architecture: str
    layers: int
    heads: int
    kv_heads: int
    experts: int
    tied: bool

    @property
    def heads_per_kv_head(self) -> int:
        """Query heads that share a KV head (grouped-query attention) [1]."""
        return self.heads // self.kv_heads if self.kv_heads else 0

    @property
    def is_70b(self) -> bool:
        """Whether llama.cpp files the model under '70B', which it recognises by its number of layers."""
        if self.architecture == "llama":
            return self.layers == 80 and self.heads != self.kv_heads and self.experts != 8
        return self.layers == {"qwen2": 80, "deci": 80, "olmo": 80, "jais2": 68}.get(self.architecture)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a tensor stands among its peers: index of count, both from the top of the model."""

    index: int
    count: int


@dataclass(frozen=True, slots=True)
class Case:
    """Everything a condition may look at. imatrix: whether the file was made with an importance matrix."""

    tensor: Tensor
    facts: ShapeFacts
    position: Position
    imatrix: bool


Condition = Callable[[Case], bool]


# --- which tensors ----------------------------------------------------------------------------------------------------

_FFN: tuple[Part, ...] = ("ffn_up", "ffn_gate", "ffn_down")
_EXACT_PARTS: tuple[Part, ...] = ("output", "token_embd", "attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output")


def part_of(tensor: Tensor) -> Part:
    """The part of the model a tensor belongs to; experts and shared experts count as their dense namesakes."""
    return _part_of_role(tensor.role)


@lru_cache(maxsize=1024)
def _part_of_role(role: str) -> Part:
    for part in _EXACT_PARTS:
        if role == part:
            return part
    if role == "per_layer_token_embd":
        return "token_embd"
    for part in _FFN:
        if role.startswith(part):
            return part
    return "other"


#: Matrices that are too small or too sensitive to quantise.
_KEPT_ROLES = frozenset(
    {
        "ffn_gate_inp", "ffn_gate_tid2eid", "per_layer_model_proj", "position_embd", "token_types", "attn_rel_b",
        "shortconv.conv", "indexer.k_proj", "indexer.q_proj", "time_mix_first", "time_mix_decay_w1",
        "time_mix_decay_w2", "time_mix_lerp_fused",
    }
    | {f"time_mix_{name}{index}" for name in "wva" for index in range(3)}
    | {"time_mix_g1", "time_mix_g2"}
)  # fmt: skip
_KEPT_BEGINNINGS = ("altup", "laurel", "ssm_conv1d")


def stays_f32(tensor: Tensor) -> bool:
    """Whether a tensor is never quantised: norms, biases, vectors, routers, small convolutions."""
    vector = max(tensor.shape[1:], default=1) <= 1
    return vector or not tensor.name.endswith("weight") or _is_kept(tensor.role)


@lru_cache(maxsize=1024)
def _is_kept(role: str) -> bool:
    return role.endswith("_norm") or role in _KEPT_ROLES or role.startswith(_KEPT_BEGINNINGS)


# --- when -------------------------------------------------------------------------------------------------------------


def first(fraction: int) -> Condition:
    """In the first 1/fraction of the layers, rounded down."""
    return lambda case: case.position.index < case.position.count // fraction


def first_layers(count: int) -> Condition:
    """In the first ``count`` layers."""
    return lambda case: case.position.index < count


def not_(condition: Condition) -> Condition:
    """The opposite of a condition."""
    return lambda case: not condition(case)


def use_more_bits(index: int, count: int) -> bool:
    """llama.cpp's choice of the layers that matter more: the first and the last eighth, and every third between."""
    eighth = count // 8
    return index < eighth or index >= 7 * count // 8 or (index - eighth) % 3 == 2


def more_bits(case: Case) -> bool:
    """In one of the layers that ``use_more_bits`` picks."""
    return use_more_bits(case.position.index, case.position.count)


def middle(case: Case) -> bool:
    """Outside the first and the last eighth of the layers."""
    return case.position.count // 8 <= case.position.index < 7 * case.position.count // 8


def grouped(case: Case) -> bool:
    """Four or more query heads share a KV head, so that attn_v is small and cheap to store well."""
    return case.facts.heads_per_kv_head >= 4


def grouped_or_experts(case: Case) -> bool:
    """As ``grouped``, or at least four experts."""
    return grouped(case) or case.facts.experts >= 4


def eight_experts(case: Case) -> bool:
    """Exactly eight experts: the Mixtral models, whose attention is small beside the experts."""
    return case.facts.experts == 8


def falcon(case: Case) -> bool:
    """The Falcon architecture."""
    return case.facts.architecture == "falcon"


def imatrix(case: Case) -> bool:
    """Made with an importance matrix."""
    return case.imatrix


def stacked(case: Case) -> bool:
    """A stack of matrices, one for each expert."""
    return len(case.tensor.shape) > 2 and case.tensor.shape[2] > 1


def mixture(case: Case) -> bool:
    """A model with experts."""
    return case.facts.experts > 1


@dataclass(frozen=True, slots=True)
class Rule:
    """``part`` gets ``type`` when every condition holds; part 'any' is all but output and token embedding."""

    part: Part | Literal["any"]
    type: str
    conditions: tuple[Condition, ...] = ()

    def applies(self, part: Part, case: Case) -> bool:
        """Whether the rule decides the type of this case's tensor."""
        return self.part in (part, "any") and all(condition(case) for condition in self.conditions)


def rule(part: Part | Literal["any"], type_name: str, *conditions: Condition) -> Rule:
    """A rule, written as it reads: attn_v gets q6_k in the layers that matter more."""
    return Rule(part, type_name, conditions)


# --- fallbacks --------------------------------------------------------------------------------------------------------

#: Rows that are no multiple of 256 get a type with small blocks, the nearest of at least the same bits.
FALLBACKS: dict[str, str] = {
    "q2_0": "q4_0", "q2_k": "q4_0", "q3_k": "q4_0", "tq1_0": "q4_0", "tq2_0": "q4_0",
    "q4_k": "q5_0", "q5_k": "q5_1", "q6_k": "q8_0",
    "iq1_s": "iq4_nl", "iq1_m": "iq4_nl", "iq2_xxs": "iq4_nl", "iq2_xs": "iq4_nl", "iq2_s": "iq4_nl",
    "iq3_xxs": "iq4_nl", "iq3_s": "iq4_nl", "iq4_xs": "iq4_nl", "nvfp4": "bf16",
}  # fmt: skip

#: For the types of other engines the same step by bits is assumed: up to this many bits, to this type.
_ASSUMED_STEPS = ((4.4, "iq4_nl"), (4.5, "q5_0"), (5.5, "q5_1"), (9.0, "q8_0"))

#: llama-quantize stops at such rows.
_WITHOUT_FALLBACK = frozenset({"q1_0"})


def _fallback(kind: BlockLayout) -> str:
    """The type for rows that ``kind`` does not divide, or its own name where there is none."""
    if kind.name in FALLBACKS or kind.name in _WITHOUT_FALLBACK or kind.block_weights <= 32:
        return FALLBACKS.get(kind.name, kind.name)
    return next((step for bits, step in _ASSUMED_STEPS if kind.bits_per_weight <= bits), kind.name)


def fitting_type(type_name: str, tensor: Tensor) -> str:
    """``type_name`` or the type llama-quantize falls back to because the rows are no multiple of the block.

    SpecError where llama.cpp has no fallback either.
    """
    columns = tensor.shape[0]
    kind = layout(type_name)
    if kind.divides(columns):
        return type_name
    if kind.name in _WITHOUT_FALLBACK:
        raise SpecError(
            f"{tensor.name}: expected a multiple of {kind.block_weights} columns for {type_name}, "
            f"which has no fallback; found {columns} columns"
        )
    fallback = _fallback(kind)
    return fallback if layout(fallback).divides(columns) else "f16"
