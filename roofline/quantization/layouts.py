"""How a weight type is laid out in memory: bytes per block, weights per block, and so bits per weight.

A quantised row is a sequence of equal blocks, and a block is a few fields: the packed weights and the scales that
belong to them. The block's size is therefore a sum that anybody can check, and it is written here as that sum.

Sources: ``ggml/src/ggml-common.h`` of llama.cpp (the ``block_*`` structs and their ``static_assert``) for the ggml
types; the same file, ``ggml.c`` (``row_meta_size``) and ``gguf-py/gguf/constants.py`` of ikawrakow/ik_llama.cpp for the
types that only ik_llama.cpp writes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from roofline.spec import SpecError

Family = Literal["float", "integer", "simple", "k", "iq", "ternary", "uniform"]

#: float: plain numbers. integer: index and lookup tensors. simple: one or two scales per small block (q4_0 ... q8_0,
#: mxfp4). k: 256 weights in sub-blocks whose scales are quantised too. iq: a codebook. ternary: -1, 0, 1.
#: uniform: an idealised type of exact bits per weight and no scales.
FAMILIES: tuple[Family, ...] = ("float", "integer", "simple", "k", "iq", "ternary", "uniform")

SUPER_BLOCK = 256  # weights in a block of the k and most iq types (QK_K in ggml)
_HALF = 2  # bytes of an fp16 scale


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """The storage of one weight type.

    name: ggml's name in lower case ('q4_k').
    family: which kind of arithmetic unpacks it, see FAMILIES.
    block_weights: weights in a block [1].
    block_bytes: bytes of a block [B]; a fraction only for uniform types.
    fields: what the block is made of, as (what, bytes); their sum is block_bytes.
    row_extra: bytes stored once per row, before its blocks [B] (some ik_llama.cpp types).
    note: what is assumed about the layout, if anything.
    """

    name: str
    family: Family
    block_weights: int
    block_bytes: float
    fields: tuple[tuple[str, float], ...]
    row_extra: int = 0
    note: str = ""

    @property
    def bits_per_weight(self) -> float:
        """Storage per weight, scales included [bit]; what a row stores once is left out."""
        return 8.0 * self.block_bytes / self.block_weights

    @property
    def bytes_per_weight(self) -> float:
        """Storage per weight, scales included [B]; multiply with a count or an array of counts."""
        return self.block_bytes / self.block_weights

    @property
    def is_quantised(self) -> bool:
        """Whether weights share scales, so that llama-quantize chooses types tensor by tensor."""
        return self.family in ("simple", "k", "iq", "ternary")

    def divides(self, columns: int) -> bool:
        """Whether a row of this many weights is a whole number of blocks."""
        return columns % self.block_weights == 0


def _block(name: str, family: Family, weights: int, size: int, *fields: tuple[str, int], row: int = 0) -> BlockLayout:
    return BlockLayout(name, family, weights, size, fields, row)


def _plain(name: str, family: Family, size: int) -> BlockLayout:
    return _block(name, family, 1, size, ("value", size))


def _bits(count: int, bits: int) -> int:
    """Bytes of ``count`` packed values of ``bits`` bits."""
    return count * bits // 8


_K = SUPER_BLOCK

# One type a line or two, like the structs in the header.
# fmt: off
_GGML = (
    _plain("f64", "float", 8),
    _plain("f32", "float", 4),
    _plain("f16", "float", 2),
    _plain("bf16", "float", 2),
    _plain("i64", "integer", 8),
    _plain("i32", "integer", 4),
    _plain("i16", "integer", 2),
    _plain("i8", "integer", 1),
    _block("q1_0", "simple", 128, 18, ("scale", _HALF), ("signs", _bits(128, 1))),
    _block("q2_0", "simple", 64, 18, ("scale", _HALF), ("2-bit weights", _bits(64, 2))),
    _block("q4_0", "simple", 32, 18, ("scale", _HALF), ("4-bit weights", _bits(32, 4))),
    _block("q4_1", "simple", 32, 20, ("scale, minimum", 2 * _HALF), ("4-bit weights", _bits(32, 4))),
    _block("q5_0", "simple", 32, 22, ("scale", _HALF), ("5th bits", _bits(32, 1)), ("4 low bits", _bits(32, 4))),
    _block(
        "q5_1", "simple", 32, 24,
        ("scale, minimum", 2 * _HALF), ("5th bits", _bits(32, 1)), ("4 low bits", _bits(32, 4)),
    ),
    _block("q8_0", "simple", 32, 34, ("scale", _HALF), ("8-bit weights", 32)),
    _block("q8_1", "simple", 32, 36, ("scale, sum", 2 * _HALF), ("8-bit weights", 32)),
    _block("mxfp4", "simple", 32, 17, ("shared exponent (E8M0)", 1), ("E2M1 weights", _bits(32, 4))),
    _block("nvfp4", "simple", 64, 36, ("4 scales (UE4M3)", 4), ("E2M1 weights", _bits(64, 4))),
    _block(
        "q2_k", "k", _K, 84,
        ("scale, minimum", 2 * _HALF), ("16 scales and minima", 16), ("2-bit weights", _bits(_K, 2)),
    ),
    _block(
        "q3_k", "k", _K, 110,
        ("scale", _HALF), ("16 scales of 6 bits", _bits(16, 6)),
        ("3rd bits", _bits(_K, 1)), ("2 low bits", _bits(_K, 2)),
    ),
    _block(
        "q4_k", "k", _K, 144,
        ("scale, minimum", 2 * _HALF), ("8 scales and minima of 6 bits", _bits(16, 6)), ("4-bit weights", _bits(_K, 4)),
    ),
    _block(
        "q5_k", "k", _K, 176,
        ("scale, minimum", 2 * _HALF), ("8 scales and minima of 6 bits", _bits(16, 6)),
        ("5th bits", _bits(_K, 1)), ("4 low bits", _bits(_K, 4)),
    ),
    _block(
        "q6_k", "k", _K, 210,
        ("scale", _HALF), ("16 scales of 8 bits", 16), ("2 high bits", _bits(_K, 2)), ("4 low bits", _bits(_K, 4)),
    ),
    _block("q8_k", "k", _K, 292, ("scale (fp32)", 4), ("8-bit weights", _K), ("16 sums (int16)", 32)),
    _block("iq1_s", "iq", _K, 50, ("scale", _HALF), ("grid index, low bits", _K // 8), ("high bits, scales", _K // 16)),
    _block(
        "iq1_m", "iq", _K, 56,
        ("grid index, low bits", _K // 8), ("high bits, shifts", _K // 16), ("scales", _K // 32),
    ),
    _block("iq2_xxs", "iq", _K, 66, ("scale", _HALF), ("grid indices, signs, scales", 2 * (_K // 8))),
    _block("iq2_xs", "iq", _K, 74, ("scale", _HALF), ("grid indices, signs", 2 * (_K // 8)), ("scales", _K // 32)),
    _block(
        "iq2_s", "iq", _K, 82,
        ("scale", _HALF), ("grid indices, signs", _K // 4), ("high bits", _K // 32), ("scales", _K // 32),
    ),
    _block("iq3_xxs", "iq", _K, 98, ("scale", _HALF), ("grid indices, signs, scales", 3 * _K // 8)),
    _block(
        "iq3_s", "iq", _K, 110,
        ("scale", _HALF), ("grid indices", _K // 4), ("high bits", _K // 32), ("signs", _K // 8), ("scales", _K // 64),
    ),
    _block("iq4_nl", "iq", 32, 18, ("scale", _HALF), ("4-bit codes", _bits(32, 4))),
    _block(
        "iq4_xs", "iq", _K, 136,
        ("scale", _HALF), ("scales, high bits", 2), ("scales, low bits", _K // 64), ("4-bit codes", _bits(_K, 4)),
    ),
    _block("tq1_0", "ternary", _K, 54, ("5 weights per byte", 48), ("4 weights per byte", _K // 64), ("scale", _HALF)),
    _block("tq2_0", "ternary", _K, 66, ("2-bit weights", _bits(_K, 2)), ("scale", _HALF)),
)

_IK = (
    _block("q6_0", "simple", 32, 26, ("scale", _HALF), ("2 high bits", _bits(32, 2)), ("4 low bits", _bits(32, 4))),
    _block("iq1_bn", "ternary", 64, 13, ("5 weights per byte", 12), ("last weights", 1), row=2),
    _block("iq2_bn", "ternary", 64, 16, ("2-bit weights", _bits(64, 2)), row=4),
    _block("iq1_kt", "iq", _K, 56, ("scales, high bits", _K // 32), ("trellis", _K // 8 + _K // 16), row=4),
    _block("iq2_kt", "iq", _K, 68, ("scales", _K // 64), ("trellis", _K // 4), row=4),
    _block("iq3_kt", "iq", _K, 100, ("scales", _K // 64), ("trellis", _K // 4), ("signs", _K // 8), row=4),
    _block("iq4_kt", "iq", _K, 128, ("trellis, scales in its low bits", _K // 2), row=4),
    _block("iq2_ks", "iq", _K, 70, ("shifts", 2), ("scales", _K // 64), ("2-bit codes", _bits(_K, 2)), row=2),
    _block(
        "iq2_k", "iq", _K, 76, ("scale", _HALF), ("shifts", 2), ("scales", _K // 32), ("2-bit codes", _bits(_K, 2))
    ),
    _block(
        "iq2_kl", "iq", _K, 86,
        ("scales, high bits", 2), ("scales, low bits", _K // 64), ("pair codes", _K // 4), ("high bits", _K // 16),
        row=2,
    ),
    _block(
        "iq3_ks", "iq", _K, 102,
        ("shifts", 2), ("scales", _K // 64), ("2 low bits", _bits(_K, 2)), ("3rd bits", _bits(_K, 1)), row=2,
    ),
    _block(
        "iq3_k", "iq", _K, 110,
        ("scale", _HALF), ("shifts", 2), ("scales, high bits", 2), ("scales, low bits", _K // 32),
        ("2 low bits", _bits(_K, 2)), ("3rd bits", _bits(_K, 1)),
    ),
    _block("iq4_kss", "iq", _K, 128, ("4-bit codes, scales in their spare bits", _bits(_K, 4)), row=4),
    _block("iq4_ks", "iq", _K, 136, ("scales", _K // 32), ("4-bit codes", _bits(_K, 4)), row=4),
    _block(
        "iq4_k", "iq", _K, 144,
        ("scale", _HALF), ("shifts", 2), ("scales, high bits", _K // 64), ("scales, low bits", _K // 32),
        ("4-bit codes", _bits(_K, 4)),
    ),
    _block(
        "iq5_ks", "iq", _K, 168, ("scales", _K // 32), ("4 low bits", _bits(_K, 4)), ("5th bits", _bits(_K, 1)), row=4
    ),
    _block(
        "iq5_k", "iq", _K, 176,
        ("scale", _HALF), ("shifts", 2), ("scales, high bits", _K // 64), ("scales, low bits", _K // 32),
        ("4 low bits", _bits(_K, 4)), ("5th bits", _bits(_K, 1)),
    ),
    _block(
        "iq6_k", "iq", _K, 212,
        ("scale", _HALF), ("shifts", 2), ("scales", _K // 16),
        ("4 low bits", _bits(_K, 4)), ("2 high bits", _bits(_K, 2)),
    ),
    _block("q8_k_r8", "k", _K, 258, ("scale", _HALF), ("8-bit weights", _K)),
)
# fmt: on

#: Bytes per row that follow those of the type's siblings, not a source that was read.
_ROW_EXTRA_ASSUMED = ("iq1_kt", "iq4_kt", "iq2_kl", "iq3_ks", "iq5_ks")

#: Types whose rows are interleaved for wide loads: same bytes, another order. interleaved -> original.
INTERLEAVED = {
    "q4_0_4_4": "q4_0", "q4_0_4_8": "q4_0", "q4_0_8_8": "q4_0",
    "q4_0_r8": "q4_0", "q5_0_r4": "q5_0", "q6_0_r4": "q6_0", "q8_0_r8": "q8_0", "bf16_r16": "bf16",
    "q2_k_r4": "q2_k", "q3_k_r4": "q3_k", "q4_k_r4": "q4_k", "q5_k_r4": "q5_k", "q6_k_r4": "q6_k",
    "iq2_xxs_r4": "iq2_xxs", "iq2_xs_r4": "iq2_xs", "iq2_s_r4": "iq2_s", "iq3_xxs_r4": "iq3_xxs", "iq3_s_r4": "iq3_s",
    "iq4_nl_r4": "iq4_nl", "iq4_xs_r8": "iq4_xs", "iq2_bn_r4": "iq2_bn", "iq2_k_r4": "iq2_k", "iq3_k_r4": "iq3_k",
    "iq4_k_r4": "iq4_k", "iq5_k_r4": "iq5_k", "iq4_ks_r4": "iq4_ks", "iq5_ks_r4": "iq5_ks",
}  # fmt: skip

#: Formats of Ampere Computing's llama.cpp, which prints "Q4_K tiled by 4 rows" and "Q8 tiled by 16 rows"
#: (https://community.amperecomputing.com/t/new-quantization-methods-for-llama-cpp/3064). Tiling moves bytes and adds
#: none, so the layouts of q4_k and q8_0 are assumed.
TILED = {"q4_k_4": "q4_k", "q8r16": "q8_0"}


def _registry() -> dict[str, BlockLayout]:
    layouts = {layout.name: layout for layout in (*_GGML, *_IK)}
    for name in _ROW_EXTRA_ASSUMED:
        layouts[name] = replace(layouts[name], note="assumed: the bytes stored once per row")
    for name, original in INTERLEAVED.items():
        layouts[name] = replace(layouts[original], name=name, note=f"the bytes of {original}, rows interleaved")
    for name, original in TILED.items():
        layouts[name] = replace(layouts[original], name=name, note=f"assumed: the bytes of {original}, rows tiled")
    return layouts


#: Every stored type by name.
LAYOUTS: dict[str, BlockLayout] = _registry()

#: Idealised types: exact bits per weight [bit], no scales.
UNIFORM_BITS = {"int4": 4.0, "int8": 8.0, "fp8": 8.0}

#: What llama.cpp can hold the KV cache in (``-ctk``, ``-ctv``), beside the idealised types.
KV_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")

_SYNONYMS = {"fp32": "f32", "float32": "f32", "fp16": "f16", "float16": "f16", "bfloat16": "bf16", "float64": "f64"}
_BITS_PER_WEIGHT = re.compile(r"(\d{1,2}(?:\.\d{1,6})?|\.\d{1,6})bpw")
_MAX_BITS = 64.0


def is_uniform(name: str) -> bool:
    """Whether a name means an idealised type: int4, int8, fp8, or a number with 'bpw'."""
    name = name.strip().lower()
    return name in UNIFORM_BITS or _BITS_PER_WEIGHT.fullmatch(name) is not None


@lru_cache(maxsize=512)
def layout(name: str) -> BlockLayout:
    """The layout of a type by name ('q4_K', 'f16', 'int8', '4.5bpw').

    >>> layout("q4_k").bits_per_weight
    4.5

    Raises SpecError, in one line, for a name that is none.
    """
    key = name.strip().lower().replace("-", "_")
    key = _SYNONYMS.get(key, key)
    if key in LAYOUTS:
        return LAYOUTS[key]
    if key in UNIFORM_BITS:
        return _uniform(key, UNIFORM_BITS[key])
    if match := _BITS_PER_WEIGHT.fullmatch(key):
        bits = float(match[1])
        if 0.0 < bits <= _MAX_BITS:
            return _uniform(f"{bits:g}bpw", bits)
        raise SpecError(f"type: expected bits per weight above 0 and at most {_MAX_BITS:g}, found {name!r}")
    raise SpecError(f"type: expected a ggml type such as q4_k or f16, or bits such as '4.5bpw', found {name[:40]!r}")


def _uniform(name: str, bits: float) -> BlockLayout:
    return BlockLayout(name, "uniform", 1, bits / 8.0, (("weight", bits / 8.0),))


def kv_layout(name: str) -> BlockLayout:
    """The layout of a KV cache type; SpecError for a type that llama.cpp cannot cache in."""
    found = layout(name)
    if found.family != "uniform" and found.name not in KV_TYPES:
        raise SpecError(f"kv: expected one of {', '.join(KV_TYPES)}, int4, int8, fp8 or '6bpw', found {name!r}")
    return found


def tensor_bytes(type_name: str, shape: Sequence[int]) -> float:
    """Bytes of a tensor of ``shape`` (ggml order: columns first) stored as ``type_name`` [B].

    A row is stored as whole blocks, so the columns must be a multiple of the block: SpecError otherwise.
    """
    kind = layout(type_name)
    if not shape or min(shape) < 1:
        raise SpecError(f"shape: expected at least one dimension, each at least 1, found {tuple(shape)}")
    columns, rows = shape[0], math.prod(shape[1:])
    if not kind.divides(columns):
        raise SpecError(
            f"shape: expected a multiple of {kind.block_weights} columns for {kind.name}, found {columns} columns"
        )
    return rows * (columns // kind.block_weights * kind.block_bytes + kind.row_extra)
