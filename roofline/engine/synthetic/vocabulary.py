"""A vocabulary that means nothing: byte tokens and fillers, so that a server can turn any text into tokens.

llama-bench needs none; llama-server and llama-cli stop without one. This is the least that llama.cpp's "llama" (SPM)
tokenizer works with: unknown, begin and end, the 256 bytes, and a filler for every other row of the embedding. Where a
model's name has Phi-3 in it, llama.cpp looks for ``<|endoftext|>`` and fails without it, so all have that token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias, get_args

from roofline.spec import SpecError
from roofline.units import short

#: A metadata value.
Value: TypeAlias = str | int | float | bool | Sequence[str | int | float | bool]
Vocabulary: TypeAlias = Literal["none", "llama"]

BYTES = 256
SPECIAL = ("<unk>", "<s>", "</s>")
LAST_SPECIAL = "<|endoftext|>"
SMALLEST = len(SPECIAL) + BYTES + 1
# gguf.TokenType
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6


def check_vocabulary(kind: str, size: int, name: str) -> None:
    """SpecError for a vocabulary that does not exist, or has no room in `size` tokens. name: of the model."""
    if kind not in get_args(Vocabulary):
        raise SpecError(f"vocabulary: expected {' or '.join(get_args(Vocabulary))}, found {short(kind)}")
    if kind == "llama" and size < SMALLEST:
        raise SpecError(f"{name}: vocab: expected at least {SMALLEST} for a vocabulary of bytes, found {size}")


def vocabulary_metadata(kind: Vocabulary, size: int) -> Iterator[tuple[str, Value]]:
    """The ``tokenizer.ggml`` keys of a vocabulary of `size` tokens."""
    for word, value in _words(kind, size).items():
        yield f"tokenizer.ggml.{word}", value


def _words(kind: Vocabulary, size: int) -> dict[str, Value]:
    if kind == "none":
        return {"model": "none"}
    fillers = size - SMALLEST
    # Byte tokens and fillers are scored below what a merge of real pieces would be: none is ever preferred.
    return {
        "model": "llama",
        "pre": "default",
        "tokens": [
            *SPECIAL,
            *(f"<0x{byte:02X}>" for byte in range(BYTES)),
            LAST_SPECIAL,
            *(f"▁#{n}" for n in range(fillers)),
        ],
        "scores": [0.0] * SMALLEST + [-float(n + 1) for n in range(fillers)],
        "token_type": [_UNKNOWN, _CONTROL, _CONTROL, *[_BYTE] * BYTES, _CONTROL, *[_NORMAL] * fillers],
        "unknown_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "add_bos_token": True,
        "add_eos_token": False,
    }
