"""A GGUF file's weights, tensor by tensor: their spread, and the noise that rounding left in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.file_quality.reading import FLOAT_BLOCK, FLOATS, RUN_WEIGHTS, parts_with_data, pieces, shape_of
from roofline.file_quality.steps import STEPPED, noise_of
from roofline.file_quality.sums import Sums, total
from roofline.precision.formats import float_format
from roofline.quantization.quality import noise_share, snr_db
from roofline.readers.gguf_file import GgufFile, StoredTensor
from roofline.spec import SpecError

RUNS = 32
FLOAT_RUNS = 8  # of floats, of which more is asked
FORMATS = ("fp16", "bf16")
#: Types that the gguf package rounds weights to, bit for bit as llama.cpp does.
SIMPLE = ("q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class TensorQuality:
    """A tensor. read: weights that were looked at [1]. sums: scaled up to all of its weights."""

    role: str
    type: str
    elements: int
    read: int
    sums: Sums


@dataclass(frozen=True)
class FileQuality:
    """The matrices of a file. read: weights that were looked at [1]. unread: types whose blocks nothing here reads.

    is_whole: whether all was asked for.
    """

    path: Path
    tensors: tuple[TensorQuality, ...]
    unread: tuple[str, ...]
    is_whole: bool

    @property
    def elements(self) -> int:
        """Weights of the matrices [1]."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def read(self) -> int:
        """Weights that were looked at [1]."""
        return sum(tensor.read for tensor in self.tensors)

    @property
    def sums(self) -> Sums:
        """Of all matrices."""
        return total(tensor.sums for tensor in self.tensors)

    @property
    def has_floats(self) -> bool:
        """Whether weights are stored as they are."""
        return any(tensor.type in FLOATS for tensor in self.tensors)

    def by_role(self) -> dict[str, list[TensorQuality]]:
        """The tensors of each role, in the order of the file."""
        found: dict[str, list[TensorQuality]] = {}
        for tensor in self.tensors:
            found.setdefault(tensor.role, []).append(tensor)
        return found


def measure(
    path: Path,
    whole: bool = False,
    runs: int = RUNS,
    known: GgufFile | None = None,
    progress: Progress = lambda _share, _what: None,
) -> FileQuality:
    """The quality of a file's matrices. whole: read all weights; else `runs` evenly spaced places of each tensor.

    known: the file's header, where it has been read. progress: told the share done, 0 to 1, and the tensor.
    Norms and biases are left out: they are few, and never quantised. SpecError for a file without its weights.
    """
    found: list[TensorQuality] = []
    unread: dict[str, None] = {}
    parts = [(part, _matrices(part)) for part in parts_with_data(path, known)]
    elements, done = sum(tensor.elements for _, matrices in parts for tensor in matrices), 0
    for part, matrices in parts:
        for stored, tensor in zip(matrices, _in_file(part, matrices, None if whole else runs), strict=True):
            found.append(tensor)
            done += stored.elements
            progress(done / max(elements, 1), stored.name)
            if not tensor.read:
                unread[tensor.type] = None
    if not found:
        raise SpecError(f"{path}: expected a file with weight matrices, found none")
    return FileQuality(path, tuple(found), tuple(unread), whole)


def _matrices(part: GgufFile) -> list[StoredTensor]:
    return [tensor for tensor in part.tensors if len(tensor.shape) > 1 and tensor.shape[1] > 1]


def _in_file(part: GgufFile, tensors: Sequence[StoredTensor], runs: int | None) -> Iterator[TensorQuality]:
    with part.path.open("rb") as file:
        for tensor in tensors:
            places = min(runs, FLOAT_RUNS) if runs is not None and tensor.type in FLOATS else runs
            blocks = list(pieces(file, part, tensor, places)) if runs is not None else None
            sums = Sums()
            if blocks is not None:
                _count(sums, tensor, np.concatenate(blocks) if blocks else None)
            else:
                for block in pieces(file, part, tensor, None):
                    _count(sums, tensor, block)
            read = sums.weights + sums.broken
            scaled = sums.scaled(tensor.elements / read) if read else sums
            yield TensorQuality(tensor.role, tensor.type, tensor.elements, round(read), scaled)


def _count(sums: Sums, tensor: StoredTensor, blocks: NDArray[np.uint8] | None) -> None:
    """Add some blocks of a tensor."""
    weights = None if blocks is None else decoded(tensor, blocks)
    if blocks is None or weights is None:
        return
    sound = np.isfinite(weights).all(axis=1)
    if not sound.all():
        sums.broken += float(weights[~sound].size)
        blocks, weights = blocks[sound], weights[sound]
        if not len(weights):
            return
    power = sums.add(weights)
    if tensor.type in FLOATS:
        _try(sums, weights, power)
    elif tensor.type in STEPPED:
        noise = float(noise_of(tensor.type, blocks, weights).sum())
        original = power if STEPPED[tensor.type].is_least_squares else max(power - noise, 0.0)
        sums.noise += noise
        sums.noisy_squares += original
        sums.gaussian += original * noise_share(snr_db(tensor.type) or 0.0)


def decoded(tensor: StoredTensor, blocks: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """What blocks say, (n, weights of a block), float32; None for a type that the gguf package does not know."""
    shape = shape_of(tensor)
    if shape is None:
        return None
    if tensor.type == "bf16":
        wide = np.ascontiguousarray(blocks).view("<u2").astype(np.uint32) << 16
        return wide.view(np.float32)
    if tensor.type in FLOATS:
        return np.ascontiguousarray(blocks).view("<f2" if tensor.type == "f16" else "<f4").astype(np.float32)
    from gguf import GGMLQuantizationType, quants

    kind = getattr(GGMLQuantizationType, tensor.type.upper(), None)
    if kind is None:
        return None
    try:
        with np.errstate(all="ignore"):
            found: Any = quants.dequantize(blocks.reshape(-1), kind)
    except NotImplementedError:
        return None
    return np.asarray(found, dtype=np.float32).reshape(len(blocks), shape.weights)


def _try(sums: Sums, weights: NDArray[np.float32], power: float) -> None:
    """What formats hold of float weights, and what the simple types would make of them.

    A scale beyond fp16 makes infinities of a block: an infinite error, of which no ratio is told.
    """
    for name in FORMATS:
        sums.held[name] += int(float_format(name).holds(weights).sum())
    if weights.shape[1] != FLOAT_BLOCK:
        return
    from gguf import GGMLQuantizationType, quants

    sums.tried_squares += power
    flat = weights.reshape(-1)
    for name in SIMPLE:
        kind = GGMLQuantizationType[name.upper()]
        with np.errstate(all="ignore"):
            back = quants.dequantize(quants.quantize(flat, kind), kind)
            error = np.square(back.reshape(-1).astype(np.float64) - flat)
        sums.tried[name] += float(np.where(np.isfinite(error), error, np.inf).sum())


def sample_words(quality: FileQuality, runs: int = RUNS) -> str:
    """How much of the file was read."""
    if quality.is_whole or quality.read == quality.elements:
        return "all weights were read"
    share = f"{100.0 * quality.read / quality.elements:.2g} % of the weights were read"
    places = f"{FLOAT_RUNS} (floats) or {runs}" if quality.has_floats else str(runs)
    return f"{share}: {places} evenly spaced runs of {RUN_WEIGHTS} in each tensor"
