"""Write a synthetic file: whole or not at all, and a tile of memory at a time."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np

from roofline.engine.synthetic.blocks import DEVIATION, random_blocks
from roofline.engine.synthetic.plan import SyntheticPlan, check_path, padded_bytes, plan_synthetic
from roofline.engine.synthetic.tensors import PlannedTensor
from roofline.engine.synthetic.vocabulary import Vocabulary, vocabulary_metadata
from roofline.quantization.layouts import LAYOUTS
from roofline.spec import SpecError
from roofline.units import format_quantity

#: Called with bytes written so far and in all [B].
Progress: TypeAlias = Callable[[int, int], None]

TILE = 1 << 22  # bytes of random blocks that are held of each type
SPARE = 0.05  # share of the file's size that must stay free on its disk


@dataclass(frozen=True, slots=True)
class SyntheticFile:
    """A file that was written.

    path; bytes: its size [B]; tensors: how many [1]; weights_bytes: of them, padding excluded [B]; model, quant: ids;
    architecture: llama.cpp's name; vocabulary: 'none' or 'llama'.
    """

    path: Path
    bytes: int
    tensors: int
    weights_bytes: int
    model: str
    quant: str
    architecture: str
    vocabulary: Vocabulary


def write_synthetic(
    model: str,
    quant: str,
    path: Path,
    *,
    context: int | None = None,
    vocabulary: Vocabulary = "none",
    fast: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> SyntheticFile:
    """A GGUF file of `model` in `quant` with random weights: as large and as fast as the real one, and meaningless.

    model, quant, context, vocabulary: as for `plan_synthetic`. fast: repeat one tile of random blocks of each type
    instead of drawing new ones; engines run both alike. seed: the same makes the same file. progress: is called after
    every piece with the bytes written so far and in all.

    The file appears under `path` when it is complete; whatever ends the writing before leaves nothing behind. Raises
    SpecError where a file of this name exists, the disk lacks room, the folder cannot be written, or the model cannot.
    """
    plan = plan_synthetic(model, quant, context=context, vocabulary=vocabulary)
    check_path(path)
    partial = path.with_name(f".synthetic-{secrets.token_hex(8)}.part")
    try:
        _check_room(path, plan.most_bytes)
        write_header(plan, partial)
        with partial.open("ab") as out:
            aligned = Aligned(out, out.tell())
            aligned.write(bytes(padded_bytes(out.tell()) - out.tell()))
            _write_tensors(plan, aligned, _Tiles(np.random.default_rng(seed), fresh=not fast), progress)
            size = aligned.close()
        check_path(path)
        partial.replace(path)
    except OSError as error:
        raise SpecError(f"{path}: expected a file that can be written, found: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            partial.unlink()
    return SyntheticFile(
        path, size, len(plan.tensors), plan.weights_bytes, plan.model, plan.quant, plan.architecture, vocabulary
    )


@contextmanager
def synthetic(
    model: str,
    quant: str,
    path: Path,
    *,
    keep: bool = False,
    context: int | None = None,
    vocabulary: Vocabulary = "none",
    fast: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> Iterator[SyntheticFile]:
    """`write_synthetic` for the length of a with-statement: the file is removed at its end, however that comes.

    A signal whose handler raises (Ctrl-C; SIGTERM where the caller turns it into SystemExit) is such an end. keep:
    leave the file there. A file that was there before is never removed.
    """
    refused = False
    try:
        try:
            file = write_synthetic(
                model, quant, path, context=context, vocabulary=vocabulary, fast=fast, seed=seed, progress=progress
            )
        except SpecError:  # what stands there now, if anything does, is not ours
            refused = True
            raise
        yield file
    finally:
        if not keep and not refused:
            path.unlink(missing_ok=True)


def write_header(plan: SyntheticPlan, path: Path) -> None:
    """Metadata and tensor table; the tensors' data follow it, each padded to the alignment."""
    from gguf import GGMLQuantizationType, GGUFWriter

    writer = GGUFWriter(path, plan.architecture)
    for key, value in (*plan.metadata.items(), *vocabulary_metadata(plan.vocabulary, plan.vocab)):
        if isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        else:
            writer.add_array(key, value)
    for tensor in plan.tensors:
        kind = GGMLQuantizationType[tensor.type.upper()]
        shape = tuple(reversed(tensor.shape))  # the writer counts as numpy does
        writer.add_tensor_info(tensor.name, shape, np.dtype(np.float32), tensor.size_bytes, raw_dtype=kind)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
    finally:
        writer.close()


def _check_room(path: Path, size: int) -> None:
    needed, free = size * (1.0 + SPARE), shutil.disk_usage(path.parent).free
    if needed > free:
        raise SpecError(
            f"{path}: expected {format_quantity(needed, 'B')} free on its disk (the file and {SPARE:.0%}), "
            f"found {format_quantity(free, 'B')}"
        )


class Aligned:
    """Gathers what is written into pieces that begin and end at multiples of a tile.

    Linux then caches the file in pages of 2 MiB, which an engine maps as they are. Written in small or crooked pieces
    the same bytes lie in small pages, and decode was measured to be 10 to 20 % slower.
    """

    def __init__(self, out: BinaryIO, begin: int) -> None:
        self._out, self._buffer = out, bytearray(TILE)
        self._tiles, self._used = divmod(begin, TILE)
        self._unwritten = self._used  # what comes before it in the buffer is in the file already

    def write(self, piece: bytes | memoryview) -> int:
        """Take a piece; returns its length."""
        rest = memoryview(piece)
        while rest:
            part = rest[: TILE - self._used]
            self._buffer[self._used : self._used + len(part)] = part
            self._used += len(part)
            rest = rest[len(part) :]
            if self._used == TILE:
                self._flush()
                self._tiles, self._used, self._unwritten = self._tiles + 1, 0, 0
        return len(piece)

    def close(self) -> int:
        """Write what is left, and say how long the file is [B]."""
        self._flush()
        return self._tiles * TILE + self._used

    def _flush(self) -> None:
        with memoryview(self._buffer) as view:
            self._out.write(view[self._unwritten : self._used])
        self._out.flush()


def _write_tensors(plan: SyntheticPlan, out: Aligned, tiles: _Tiles, progress: Progress | None) -> None:
    total, done = sum(padded_bytes(tensor.size_bytes) for tensor in plan.tensors), 0
    for tensor in plan.tensors:
        for piece in _pieces(tensor, tiles):
            done += out.write(piece)
            if progress is not None:
                progress(done, total)


def _pieces(tensor: PlannedTensor, tiles: _Tiles) -> Iterator[bytes | memoryview]:
    if tensor.small:
        yield _small_values(tensor, tiles.random)
    else:
        yield from tiles.pieces(tensor.type, tensor.size_bytes)
    padding = padded_bytes(tensor.size_bytes) - tensor.size_bytes
    if padding:
        yield bytes(padding)


def _small_values(tensor: PlannedTensor, random: np.random.Generator) -> bytes:
    """Norms and scales near 1, decays below 0, biases near 0: activations stay finite."""
    values = random.standard_normal(tensor.elements, dtype=np.float32) * np.float32(DEVIATION)
    role = tensor.name.removesuffix(".weight").rsplit(".", 1)[-1]
    if role.endswith(("norm", "scale")) or "_norm_" in role or role in ("rope_freqs", "ssm_d"):
        values += np.float32(1.0)
    elif role == "ssm_a":
        values -= np.float32(1.0)
    return values.astype("<f4").tobytes()


class _Tiles:
    """An endless stream of random blocks of each type: a tile of each, read again and again, or drawn anew."""

    def __init__(self, random: np.random.Generator, *, fresh: bool) -> None:
        self.random, self.fresh = random, fresh
        self._tiles: dict[str, memoryview] = {}
        self._at: dict[str, int] = {}

    def pieces(self, type_name: str, size: int) -> Iterator[memoryview]:
        """The next `size` bytes of a type's stream, in pieces of at most a tile."""
        while size > 0:
            tile = self._tiles.get(type_name)
            at = self._at.get(type_name, 0)
            if tile is None or (self.fresh and at == len(tile)):
                # Forgotten first, so that two are never held. An odd number of blocks: rows, which are mostly an even
                # number, begin elsewhere in each repetition, and no two rows of a matrix or of a router are the same.
                self._tiles.pop(type_name, None)
                del tile
                blocks = int(TILE // LAYOUTS[type_name].block_bytes) | 1
                tile = self._tiles[type_name] = random_blocks(type_name, blocks, self.random).data.cast("B")
                at = 0
            elif at == len(tile):
                at = 0
            piece = tile[at : at + size]
            self._at[type_name] = at + len(piece)
            size -= len(piece)
            yield piece
