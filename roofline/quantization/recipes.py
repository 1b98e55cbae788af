"""Quantisations by name: what ``--quant q4_k_m`` means for every tensor of a model.

A *recipe* is one of llama-quantize's file types, a community mix built from them, or an idealised type that every
tensor takes. ``assign_types`` gives each tensor of a model its stored type, and ``file_bytes`` adds them up.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from roofline.quantization.layouts import (
    INTERLEAVED,
    LAYOUTS,
    TILED,
    UNIFORM_BITS,
    BlockLayout,
    is_uniform,
    layout,
    tensor_bytes,
)
from roofline.quantization.rules import (
    Case,
    Position,
    Rule,
    ShapeFacts,
    eight_experts,
    falcon,
    first,
    first_layers,
    fitting_type,
    grouped,
    grouped_or_experts,
    imatrix,
    middle,
    mixture,
    more_bits,
    not_,
    part_of,
    rule,
    stacked,
    stays_f32,
)
from roofline.spec import SpecError
from roofline.tensor import Form, Tensor, Tensors

Basis = Literal["source", "assumed"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A way to store a whole model.

    id: the name on the command line ('q4_k_m').
    base: the type of most weights, and the one a runtime's kernels are chosen by.
    meaning: one line for people.
    rules: where another type is used; the first that applies wins.
    output, embedding: types of the output matrix and of an untied token embedding; empty means the base.
    imatrix: whether files of this name are usually made with an importance matrix, which changes a few types.
    adjusts_attention: whether llama.cpp's corrections for 70B models and for eight experts apply.
    counts_tensors: whether feed-forward tensors are numbered in order of appearance even with experts, not by layer.
    basis: 'source' where llama.cpp's code says so, 'assumed' for mixes whose makers publish no rule.
    """

    id: str
    base: str
    meaning: str
    rules: tuple[Rule, ...] = ()
    output: str = "q6_k"
    embedding: str = ""
    imatrix: bool = False
    adjusts_attention: bool = True
    counts_tensors: bool = False
    basis: Basis = "source"

    @property
    def layout(self) -> BlockLayout:
        """The layout of the base type."""
        return layout(self.base)

    def type_of(self, tensor: Tensor, facts: ShapeFacts, position: Position, with_imatrix: bool | None = None) -> str:
        """The stored type of one tensor.

        position: its place among the tensors of its part (see ``assign_types``).
        with_imatrix: None for what is usual for this recipe.
        """
        if self.layout.family == "uniform":
            return self.base
        if stays_f32(tensor):
            return "f32"
        if not self.layout.is_quantised:
            return self.base
        case = Case(tensor, facts, position, self.imatrix if with_imatrix is None else with_imatrix)
        return fitting_type(self._wanted_type(case), tensor)

    def _wanted_type(self, case: Case) -> str:
        """The type before the fallback for rows that do not fit."""
        part = part_of(case.tensor)
        if part == "output" or (part == "token_embd" and case.facts.tied):
            fits = self.layout.divides(case.tensor.shape[0])
            return (self.output or self.base) if fits and not falcon(case) else "q8_0"
        if part == "token_embd" and self.embedding:
            return self.embedding
        if self.adjusts_attention and part in ("attn_k", "attn_v") and eight_experts(case):
            return "q8_0"
        chosen = next((rule.type for rule in self.rules if rule.applies(part, case)), self.base)
        if self.adjusts_attention and part == "attn_v" and case.facts.is_70b and chosen in ("q3_k", "q4_k"):
            return "q5_k"
        return chosen


# --- the file types of llama-quantize ---------------------------------------------------------------------------------

#: Eight experts: the attention output is small beside the experts and gets more bits in the mixes of up to 4 bits.
_EXPERTS_OUTPUT = rule("attn_output", "q5_k", eight_experts, not_(falcon))


def _under_3_bits(better: str, attention: str = "") -> tuple[Rule, ...]:
    """The common scheme of the iq1 and iq2 types. better: for what matters more. attention: attn_output's type."""
    return (
        rule("attn_v", "q4_k", grouped_or_experts),
        rule("attn_v", better),
        rule("attn_k", "q4_k", eight_experts),
        rule("ffn_down", better, first(8)),
        rule("attn_output", "q5_k", eight_experts),
        *((rule("attn_output", attention),) if attention else ()),
    )


def _iq(name: str, base: str, meaning: str, better: str, attention: str = "") -> Recipe:
    return Recipe(
        name, base, meaning, _under_3_bits(better, attention), output="q5_k", embedding=better, imatrix=True,
        adjusts_attention=False, counts_tensors=True,
    )  # fmt: skip


_IQ4_RULES = (rule("attn_v", "q5_k", grouped), rule("ffn_down", "q5_k", first(8), not_(imatrix)), _EXPERTS_OUTPUT)

_LLAMA_CPP = (
    Recipe("f32", "f32", "every weight as a 32-bit float"),
    Recipe("bf16", "bf16", "matrices as bfloat16, norms f32"),
    Recipe("f16", "f16", "matrices as 16-bit floats, norms f32"),
    Recipe("q8_0", "q8_0", "8 bits and a scale per 32 weights", output="q8_0"),
    Recipe("q6_k", "q6_k", "6 bits everywhere"),
    Recipe(
        "q5_k_m", "q5_k", "5 bits, half of attn_v and ffn_down in q6_k",
        (rule("attn_v", "q6_k", more_bits), rule("attn_qkv", "q6_k"), rule("ffn_down", "q6_k", more_bits)),
    ),
    Recipe("q5_k_s", "q5_k", "5 bits everywhere, output in q6_k"),
    Recipe("q5_1", "q5_1", "5 bits, a scale and a minimum per 32 weights"),
    Recipe("q5_0", "q5_0", "5 bits and a scale per 32 weights", (rule("ffn_down", "q5_1", imatrix, first(8)),)),
    Recipe(
        "q4_k_m", "q4_k", "4 bits, half of attn_v and ffn_down in q6_k; the usual choice",
        (
            rule("attn_v", "q6_k", more_bits),
            rule("attn_qkv", "q5_k"),
            rule("ffn_down", "q6_k", falcon, first(16)),
            rule("ffn_down", "q5_k", falcon, more_bits),
            rule("ffn_down", "q6_k", not_(falcon), more_bits),
            _EXPERTS_OUTPUT,
        ),
    ),
    Recipe(
        "q4_k_s", "q4_k", "4 bits, the first attn_v and ffn_down in q5_k",
        (rule("attn_v", "q5_k", first_layers(4)), rule("ffn_down", "q5_k", not_(falcon), first(8)), _EXPERTS_OUTPUT),
    ),
    Recipe("q4_1", "q4_1", "4 bits, a scale and a minimum per 32 weights"),
    Recipe("q4_0", "q4_0", "4 bits and a scale per 32 weights", (rule("ffn_down", "q4_1", imatrix, first(8)),)),
    Recipe("iq4_nl", "iq4_nl", "4-bit codebook, a scale per 32 weights", _IQ4_RULES, imatrix=True),
    Recipe("iq4_xs", "iq4_xs", "4-bit codebook in blocks of 256", _IQ4_RULES, imatrix=True),
    Recipe(
        "mxfp4", "mxfp4", "experts in MXFP4, all else q8_0 (MXFP4_MOE; how gpt-oss ships)",
        (rule("any", "q8_0", not_(stacked)),), output="q8_0", embedding="q8_0", adjusts_attention=False,
    ),
    Recipe(
        "nvfp4", "nvfp4", "NVIDIA FP4 matrices; embedding and output kept in bf16",
        output="bf16", embedding="bf16", adjusts_attention=False, basis="assumed",
    ),
    Recipe(
        "q3_k_l", "q3_k", "3 bits, attn_v, attn_output and ffn_down in q5_k",
        (
            rule("attn_v", "q5_k"),
            rule("ffn_down", "q4_k", falcon),
            rule("ffn_down", "q5_k"),
            rule("attn_output", "q4_k", falcon),
            rule("attn_output", "q5_k", not_(eight_experts)),
            rule("attn_qkv", "q4_k"),
        ),
    ),
    Recipe(
        "q3_k_m", "q3_k", "3 bits, attn_v, attn_output and ffn_down in q4_k",
        (
            rule("attn_v", "q5_k", first_layers(2)),
            rule("attn_v", "q4_k"),
            rule("ffn_down", "q5_k", first(16)),
            rule("ffn_down", "q4_k", not_(falcon)),
            rule("ffn_down", "q4_k", more_bits),
            _EXPERTS_OUTPUT,
            rule("attn_output", "q4_k", not_(falcon)),
            rule("attn_qkv", "q4_k"),
        ),
    ),
    Recipe("q3_k_s", "q3_k", "3 bits everywhere, output in q6_k", (_EXPERTS_OUTPUT,)),
    Recipe(
        "iq3_m", "iq3_s", "3-bit codebook, attention in q4_k",
        (
            rule("attn_v", "q4_k"),
            rule("ffn_down", "q4_k", first(8)),
            rule("ffn_down", "q4_k", eight_experts, more_bits),
            _EXPERTS_OUTPUT,
            rule("attn_output", "q4_k", not_(falcon)),
            rule("attn_qkv", "q4_k"),
        ),
        imatrix=True,
    ),
    Recipe("iq3_s", "iq3_s", "3-bit codebook", (rule("attn_v", "q4_k", grouped), _EXPERTS_OUTPUT), imatrix=True),
    Recipe(
        "iq3_xs", "iq3_s", "3-bit codebook, the middle layers in iq3_xxs",
        (
            rule("attn_v", "q4_k", grouped),
            rule("attn_k", "iq3_xxs"),
            rule("attn_q", "iq3_xxs"),
            rule("ffn_gate", "iq3_xxs", middle),
            rule("ffn_up", "iq3_xxs", middle),
            _EXPERTS_OUTPUT,
        ),
        imatrix=True,
    ),
    Recipe(
        "iq3_xxs", "iq3_xxs", "3-bit codebook, small blocks of signs",
        (
            rule("attn_v", "q4_k", grouped),
            rule("attn_v", "iq3_s", not_(imatrix)),
            rule("attn_k", "iq2_s"),
            rule("attn_q", "iq2_s"),
            rule("ffn_down", "q4_k", not_(imatrix), first(8)),
            rule("ffn_down", "q3_k", not_(imatrix)),
            _EXPERTS_OUTPUT,
            rule("attn_output", "iq3_s", not_(falcon), not_(eight_experts)),
        ),
        output="q5_k", embedding="iq3_s", imatrix=True,
    ),
    Recipe(
        "q2_k", "q2_k", "2 bits, attn_output and ffn_down in q3_k",
        (
            rule("attn_v", "q4_k", grouped),
            rule("attn_v", "q3_k"),
            rule("ffn_down", "q3_k"),
            _EXPERTS_OUTPUT,
            rule("attn_output", "q3_k", not_(falcon)),
        ),
    ),
    Recipe(
        "q2_k_s", "q2_k", "2 bits, the first ffn_down in q4_k",
        (rule("attn_v", "q4_k", grouped), rule("ffn_down", "q4_k", first(8))), imatrix=True,
    ),
    _iq("iq2_m", "iq2_s", "2-bit codebook, attention and first layers in iq3_s", "iq3_s", "iq3_s"),
    _iq("iq2_s", "iq2_xs", "2-bit codebook, attention output in iq3_s", "iq3_s", "iq3_s"),
    _iq("iq2_xs", "iq2_xs", "2-bit codebook of 512 points", "q2_k"),
    _iq("iq2_xxs", "iq2_xxs", "2-bit codebook of 256 points", "q2_k"),
    Recipe("q2_0", "q2_0", "2 bits and a scale per 64 weights", embedding="q4_k"),
    Recipe("tq2_0", "tq2_0", "ternary weights in 2 bits", embedding="q4_k"),
    _iq("iq1_m", "iq1_m", "1.75-bit codebook", "q2_k", "iq2_xxs"),
    Recipe("tq1_0", "tq1_0", "ternary weights, five to a byte", embedding="q4_k"),
    _iq("iq1_s", "iq1_s", "1.5-bit codebook", "q2_k", "iq2_xxs"),
    Recipe("q1_0", "q1_0", "signs and a scale per 128 weights"),
)  # fmt: skip

# --- community mixes --------------------------------------------------------------------------------------------------

#: A mix with embedding and output in q8_0, as bartowski's model cards describe their _L and _XL files.
_LARGE = {"q6_k_l": "q6_k", "q5_k_l": "q5_k_m", "q4_k_l": "q4_k_m", "q3_k_xl": "q3_k_l", "q2_k_l": "q2_k"}

#: Unsloth's dynamic files choose types by a measurement on each model and publish no rule. What tensor tables of their
#: mixture models show (github.com/gittensor-ai-lab/sparkinfer/pull/224, ik_llama.cpp issue 1420): experts in the base
#: type, ffn_down of the experts one step up, all else q8_0. Dense models are taken as the plain mix, which their sizes
#: are within a few per cent of. dynamic -> (plain mix, ffn_down of the experts).
_DYNAMIC = {
    "ud-q6_k_xl": ("q6_k", "q6_k"),
    "ud-q5_k_xl": ("q5_k_m", "q6_k"),
    "ud-q4_k_xl": ("q4_k_m", "q5_k"),
    "ud-q3_k_xl": ("q3_k_m", "q4_k"),
    "ud-q2_k_xl": ("q2_k", "q3_k"),
}


def _large(name: str, plain: Recipe) -> Recipe:
    return replace(
        plain, id=name, output="q8_0", embedding="q8_0", meaning=f"{plain.id} with embedding and output in q8_0",
        basis="assumed",
    )  # fmt: skip


def _dynamic(name: str, plain: Recipe, down: str) -> Recipe:
    mixture_rules = (
        rule("ffn_down", down, mixture, stacked),
        rule("any", plain.base, mixture, stacked),
        rule("any", "q8_0", mixture),
    )
    return replace(
        plain, id=name, rules=(*mixture_rules, *plain.rules), imatrix=True, basis="assumed",
        meaning=f"Unsloth dynamic, approximate: experts in {plain.base}, ffn_down {down}, else q8_0; dense: {plain.id}",
    )  # fmt: skip


# --- other engines ----------------------------------------------------------------------------------------------------

#: Types of ik_llama.cpp, and interleaved or tiled ones, taken as the base of all matrices with a q6_k output.
_OTHER_ENGINES = (
    "iq6_k", "iq5_k", "iq5_ks", "iq4_k", "iq4_ks", "iq4_kss", "iq4_kt", "iq3_k", "iq3_ks", "iq3_kt",
    "iq2_kl", "iq2_k", "iq2_ks", "iq2_kt", "iq1_kt", "q6_0", "q8_k_r8", "q8_0_r8", "bf16_r16",
    "q4_0_r8", "q5_0_r4", "q2_k_r4", "q3_k_r4", "q4_k_r4", "q5_k_r4", "q6_k_r4", "iq4_nl_r4", "iq4_xs_r8",
    "iq2_k_r4", "iq3_k_r4", "iq4_k_r4", "iq5_k_r4", "iq4_ks_r4", "iq5_ks_r4", "q4_k_4", "q8r16",
)  # fmt: skip


def _other_engine(name: str) -> Recipe:
    kind = LAYOUTS[name]
    maker = "Ampere" if name in TILED else "ik_llama.cpp"
    original = INTERLEAVED.get(name) or TILED.get(name)
    what = f"{original} with its rows interleaved" if original else f"all matrices in {name}"
    output = name if kind.bits_per_weight >= 8.0 else "q6_k"
    return Recipe(
        name, name, f"{maker}: {what}, output in {output}", output=output, adjusts_attention=False, basis="assumed"
    )


def _uniform(name: str) -> Recipe:
    bits = layout(name).bits_per_weight
    return Recipe(name, name, f"idealised: every weight in exactly {bits:g} bits, no scales", output=name)


def _registry() -> dict[str, Recipe]:
    recipes = {recipe.id: recipe for recipe in _LLAMA_CPP}
    recipes |= {name: _large(name, recipes[plain]) for name, plain in _LARGE.items()}
    recipes |= {name: _dynamic(name, recipes[plain], down) for name, (plain, down) in _DYNAMIC.items()}
    recipes |= {name: _other_engine(name) for name in _OTHER_ENGINES}
    recipes |= {name: _uniform(name) for name in UNIFORM_BITS}
    return recipes


#: Every named recipe, in the order in which they are listed.
RECIPES: dict[str, Recipe] = _registry()

#: Other spellings, after llama-quantize and common use.
ALIASES = {
    "q3_k": "q3_k_m", "q4_k": "q4_k_m", "q5_k": "q5_k_m", "mxfp4_moe": "mxfp4",
    "fp32": "f32", "float32": "f32", "fp16": "f16", "float16": "f16", "bfloat16": "bf16",
    "q4_0_4_4": "q4_0", "q4_0_4_8": "q4_0", "q4_0_8_8": "q4_0",
}  # fmt: skip


def _squeeze(name: str) -> str:
    return re.sub(r"[-_\s]+", "", name.lower())


_BY_SPELLING = {_squeeze(alias): name for alias, name in ALIASES.items()} | {_squeeze(name): name for name in RECIPES}


@lru_cache(maxsize=512)
def get(quant_id: str) -> Recipe:
    """The recipe of a name; case, '-' and '_' do not matter ('Q4_K_M', 'q4-k-m', 'Q4KM', '4.5bpw').

    Raises SpecError with the nearest names on a miss.
    """
    key = _squeeze(quant_id)
    if key in _BY_SPELLING:
        return RECIPES[_BY_SPELLING[key]]
    if is_uniform(key):
        return _uniform(layout(key).name)
    near = difflib.get_close_matches(key, _BY_SPELLING, n=3, cutoff=0.5)
    names = list(dict.fromkeys(_BY_SPELLING[spelling] for spelling in near))
    hint = f"; did you mean {' or '.join(names)}?" if names else ""
    raise SpecError(f"quant: expected a quantisation such as q4_k_m or '4.5bpw', found {quant_id[:40]!r}{hint}")


# --- a whole model ----------------------------------------------------------------------------------------------------


def assign_types(
    quant_id: str, tensors: Sequence[Tensor], facts: ShapeFacts, with_imatrix: bool | None = None
) -> tuple[str, ...]:
    """The stored type of each tensor, in the order given.

    llama.cpp numbers tensors by layer, then by name; the numbering here does not depend on the order of ``tensors``.
    with_imatrix: None for what is usual for the recipe.
    """
    types = [""] * len(tensors)
    for places, _, type_name in types_by_form(quant_id, Tensors.of(tensors), facts, with_imatrix):
        for place in places:
            types[place] = type_name
    return tuple(types)


def types_by_form(
    quant_id: str, tensors: Tensors, facts: ShapeFacts, with_imatrix: bool | None = None
) -> Iterator[tuple[tuple[int, ...], Form, str]]:
    """The same as (places, their form, their type): once for tensors that no rule tells apart by their place."""
    recipe = get(quant_id)
    ruled = {rule.part for rule in recipe.rules}
    anywhere = Position(0, facts.layers)
    by_layer = facts.experts > 1 and not recipe.counts_tensors
    for form in tensors.forms:
        part = part_of(form.tensor)
        if ("any" not in ruled and part not in ruled) or stays_f32(form.tensor):
            yield form.places, form, recipe.type_of(form.tensor, facts, anywhere, with_imatrix)
            continue
        positions = _positions(tensors, part, facts, by_layer)
        known: dict[Position, str] = {}
        for place in form.places:
            position = positions[place]
            if position not in known:
                known[position] = recipe.type_of(tensors[place], facts, position, with_imatrix)
            yield (place,), form, known[position]


def _positions(tensors: Tensors, part: str, facts: ShapeFacts, by_layer: bool) -> dict[int, Position]:
    """The place of each tensor of a part among them, from the top of the model."""
    key = ("positions", part, facts, by_layer)
    if key not in tensors.known:
        if part.startswith("ffn"):
            count = facts.layers
        else:
            attention = [form for form in tensors.forms if form.tensor.role in ("attn_v", "attn_qkv", "attn_kv_b")]
            count = sum(len(form.places) for form in attention if form.tensor.name.endswith("weight"))
        members = [
            place
            for form in tensors.forms
            if part_of(form.tensor) == part and not stays_f32(form.tensor)
            for place in form.places
        ]
        members.sort(key=lambda place: _file_order(tensors[place]))
        by_number = by_layer and part.startswith("ffn")
        tensors.known[key] = {
            place: Position(layer if by_number and (layer := tensors[place].layer) is not None else index, count)
            for index, place in enumerate(members)
        }
    found: dict[int, Position] = tensors.known[key]
    return found


def _file_order(tensor: Tensor) -> tuple[int, str]:
    return (-1 if tensor.layer is None else tensor.layer, tensor.name)


def stored_bytes(types: Iterable[str], tensors: Iterable[Tensor]) -> tuple[float, ...]:
    """Bytes of each tensor stored as its type [B]."""
    return tuple(tensor_bytes(kind, tensor.shape) for kind, tensor in zip(types, tensors, strict=True))


def file_bytes(quant_id: str, tensors: Sequence[Tensor], facts: ShapeFacts, with_imatrix: bool | None = None) -> float:
    """Bytes of all tensors of a model [B].

    The header of a GGUF file (metadata, vocabulary, tensor table, padding: a few MB) is not in it.
    """
    return sum(stored_bytes(assign_types(quant_id, tensors, facts, with_imatrix), tensors))
