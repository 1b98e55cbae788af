"""Blocks of a file's tensors, read in pieces: an evenly spaced sample of each tensor, or all of it.

Nothing is mapped into memory: a file that shrinks meanwhile ends a read early instead of the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from roofline.quantization.layouts import LAYOUTS
from roofline.readers.gguf_file import GgufFile, StoredTensor, read_parts
from roofline.spec import SpecError

RUN_WEIGHTS = 2048  # that are read at one place
FLOATS = {"f32": 4, "f16": 2, "bf16": 2}
FLOAT_BLOCK = 32  # weights of a float tensor that are looked at together, as the simple types do
PIECE_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Shape:
    """How a type's blocks are read: weights [1] and bytes [B] of one."""

    weights: int
    size: int


def shape_of(tensor: StoredTensor) -> Shape | None:
    """The blocks of a tensor; None for a type whose rows begin with bytes of their own."""
    if tensor.type in FLOATS:
        weights = FLOAT_BLOCK if tensor.shape[0] % FLOAT_BLOCK == 0 else 1
        return Shape(weights, weights * FLOATS[tensor.type])
    block = LAYOUTS.get(tensor.type)
    if block is None or block.row_extra:
        return None
    return Shape(block.block_weights, int(block.block_bytes))


def parts_with_data(path: Path, known: GgufFile | None = None) -> tuple[GgufFile, ...]:
    """The files of a model; SpecError where weights are missing, or stored in the other byte order.

    known: the header of `path`, where it has been read.
    """
    parts = (known,) if known is not None and len(known.files) == 1 else read_parts(path)
    for part in parts:
        if part.is_big_endian:
            raise SpecError(f"{part.path}: expected little-endian weights, found a big-endian file")
        if part.missing_bytes:
            found = "the header alone" if part.weights == "absent" else f"a file that lacks {part.missing_bytes} bytes"
            raise SpecError(f"{part.path}: expected the weights of all tensors, found {found}")
    return parts


def pieces(file: BinaryIO, part: GgufFile, tensor: StoredTensor, runs: int | None) -> Iterator[NDArray[np.uint8]]:
    """Blocks of a tensor, (n, bytes), piece by piece. runs: at how many places it is read, None for all of it."""
    shape = shape_of(tensor)
    if shape is None:
        return
    begin, blocks = part.data_begin + tensor.offset, tensor.elements // shape.weights
    long = max(1, RUN_WEIGHTS // shape.weights)
    if runs is None or blocks <= runs * long:
        each = max(1, PIECE_BYTES // shape.size)
        places = [(at, min(each, blocks - at)) for at in range(0, blocks, each)]
    else:
        places = [((blocks - long) * run // max(runs - 1, 1), long) for run in range(runs)]
    for at, count in places:
        file.seek(begin + at * shape.size)
        raw = file.read(count * shape.size)
        if len(raw) != count * shape.size:
            raise SpecError(f"{part.path}: expected the weights of all tensors, found the end of the file")
        yield np.frombuffer(raw, dtype=np.uint8).reshape(count, shape.size)
