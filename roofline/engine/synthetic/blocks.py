"""Random blocks of every storage type: bytes that no engine can tell from weights.

A block is filled with random bytes; then its scales are overwritten, so that the weights it stands for have a mean near
0 and a standard deviation of `DEVIATION`, as trained matrices have, and no scale is a NaN or infinite. Zeros would run
faster than weights do; random bytes run like them.

Where the scales lie in a block: the ``block_*`` structs of llama.cpp's ``ggml/src/ggml-common.h``. What a random block
means at a scale of 1 follows from the number of codes; for types with a codebook or with scales of their own it was
measured with the dequantiser of the ``gguf`` package, and a test measures it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from roofline.quantization.layouts import LAYOUTS
from roofline.spec import SpecError

Bytes: TypeAlias = NDArray[np.uint8]

DEVIATION = 0.02  #: standard deviation of a weight [1]; the initialisation of GPT-2 and of most models since
JITTER = 0.25  # scales differ from block to block by up to this share


@dataclass(frozen=True, slots=True)
class _Scales:
    """The fp16 numbers of a block.

    spread: standard deviation of a random block's weights at a scale of 1 [1].
    at: byte offset of each number → what it is as a multiple of the scale. A minimum is half the largest code times the
    scale, so that the mean is 0.
    """

    spread: float
    at: Mapping[int, float]


_HALF_SCALES = {
    "q1_0": _Scales(1.0, {0: 1.0}),
    "q2_0": _Scales(0.707, {0: 1.0}),
    "q4_0": _Scales(4.61, {0: 1.0}),
    "q4_1": _Scales(4.61, {0: 1.0, 2: -7.5}),
    "q5_0": _Scales(9.23, {0: 1.0}),
    "q5_1": _Scales(9.23, {0: 1.0, 2: -15.5}),
    "q8_0": _Scales(73.9, {0: 1.0}),
    "q2_k": _Scales(13.9, {80: 1.0, 82: 1.5}),
    "q3_k": _Scales(43.4, {108: 1.0}),
    "q4_k": _Scales(258.0, {0: 1.0, 2: 7.5}),
    "q5_k": _Scales(527.0, {0: 1.0, 2: 15.5}),
    "q6_k": _Scales(1367.0, {208: 1.0}),
    "iq1_s": _Scales(7.18, {0: 1.0}),
    "iq2_xxs": _Scales(53.5, {0: 1.0}),
    "iq2_xs": _Scales(55.9, {0: 1.0}),
    "iq2_s": _Scales(56.4, {0: 1.0}),
    "iq3_xxs": _Scales(142.0, {0: 1.0}),
    "iq3_s": _Scales(140.0, {0: 1.0}),
    "iq4_nl": _Scales(67.2, {0: 1.0}),
    "iq4_xs": _Scales(1244.0, {0: 1.0}),
    "tq1_0": _Scales(0.817, {52: 1.0}),
    "tq2_0": _Scales(0.707, {64: 1.0}),
}
_IQ1_M_SPREAD = 7.18  # the codes of iq1_s
_MXFP4_EXPONENTS = (119, 120)  # E8M0: the doubled E2M1 codes deviate by 5.85, so 2^(119 - 128) makes 0.011
_NVFP4_SCALES = (3, 4)  # UE4M3, subnormal: half of n / 512, times the same codes


def random_blocks(type_name: str, count: int, random: np.random.Generator) -> Bytes:
    """`count` blocks of a storage type ('q4_k', 'f16') as rows of bytes, shape (count, block bytes).

    SpecError for a type that llama.cpp does not store weights in.
    """
    fill = _FILLS.get(type_name)
    if fill is None:
        raise SpecError(
            f"type: expected one that llama.cpp stores weights in ({', '.join(_FILLS)}), found {type_name!r}"
        )
    return fill(type_name, count, random)


def _raw(type_name: str, count: int, random: np.random.Generator) -> Bytes:
    size = int(LAYOUTS[type_name].block_bytes)
    return np.frombuffer(bytearray(random.bytes(count * size)), dtype=np.uint8).reshape(count, size)


def _jitter(count: int, random: np.random.Generator) -> NDArray[np.float32]:
    factors: NDArray[np.float32] = random.random(count, dtype=np.float32)
    factors *= np.float32(2.0 * JITTER)
    factors += np.float32(1.0 - JITTER)
    return factors


def _halves(values: NDArray[np.float32]) -> Bytes:
    return values.astype("<f2").view(np.uint8).reshape(len(values), 2)


def _with_half_scales(type_name: str, count: int, random: np.random.Generator) -> Bytes:
    return _scaled(type_name, _raw(type_name, count, random), random)


def _scaled(type_name: str, blocks: Bytes, random: np.random.Generator) -> Bytes:
    scales = _HALF_SCALES[type_name]
    scale = _jitter(len(blocks), random) * np.float32(DEVIATION / scales.spread)
    for offset, factor in scales.at.items():
        blocks[:, offset : offset + 2] = _halves(scale * np.float32(factor))
    return blocks


def _two_bits(type_name: str, count: int, random: np.random.Generator) -> Bytes:
    """Codes 0, 1 and 2 mean -1, 0 and 1; 3 is no ternary weight and becomes 1, before the scale is written."""
    blocks = _raw(type_name, count, random)
    blocks &= ~((blocks >> 1 & blocks & 0x55) << 1)
    return _scaled(type_name, blocks, random)


def _iq1_m(type_name: str, count: int, random: np.random.Generator) -> Bytes:
    """The fp16 scale is spread over the top four bits of the last four 16-bit words, lowest part first."""
    blocks = _raw(type_name, count, random)
    scale = (_jitter(count, random) * np.float32(DEVIATION / _IQ1_M_SPREAD)).astype("<f2").view("<u2")
    for word in range(4):
        part = (scale >> (4 * word) & 0xF).astype(np.uint8)
        high = blocks[:, 49 + 2 * word]
        blocks[:, 49 + 2 * word] = (high & 0x0F) | part << 4
    return blocks


def _mxfp4(type_name: str, count: int, random: np.random.Generator) -> Bytes:
    blocks = _raw(type_name, count, random)
    blocks[:, 0] = random.choice(np.array(_MXFP4_EXPONENTS, dtype=np.uint8), count)
    return blocks


def _nvfp4(type_name: str, count: int, random: np.random.Generator) -> Bytes:
    blocks = _raw(type_name, count, random)
    blocks[:, :4] = random.choice(np.array(_NVFP4_SCALES, dtype=np.uint8), (count, 4))
    return blocks


def _floats(type_name: str, count: int, random: np.random.Generator) -> Bytes:
    values = random.standard_normal(count, dtype=np.float32)
    values *= np.float32(DEVIATION)
    if type_name == "bf16":  # the upper half of an f32
        stored = (values.astype("<f4").view("<u4") >> 16).astype("<u2").view(np.uint8)
    else:
        stored = values.astype({"f32": "<f4", "f16": "<f2"}[type_name]).view(np.uint8)
    return stored.reshape(count, -1)


_FILLS: dict[str, Callable[[str, int, np.random.Generator], Bytes]] = {
    **dict.fromkeys(("f32", "f16", "bf16"), _floats),
    **dict.fromkeys(_HALF_SCALES, _with_half_scales),
    **dict.fromkeys(("q2_0", "tq2_0"), _two_bits),
    "iq1_m": _iq1_m,
    "mxfp4": _mxfp4,
    "nvfp4": _nvfp4,
}

#: Every type a block can be made of.
TYPES = tuple(_FILLS)
