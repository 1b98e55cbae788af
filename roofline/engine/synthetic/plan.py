"""What a synthetic file will hold, before a byte of it is written: metadata, tensor table, size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from roofline import api
from roofline.engine.synthetic.architectures import architecture_of
from roofline.engine.synthetic.blocks import TYPES
from roofline.engine.synthetic.metadata import shape_metadata
from roofline.engine.synthetic.tensors import PlannedTensor, planned_tensors
from roofline.engine.synthetic.vocabulary import Value, Vocabulary, check_vocabulary
from roofline.quantization import get
from roofline.spec import SpecError
from roofline.units import short

ALIGNMENT = 32  # bytes, of tensors in the file: gguf.GGUF_DEFAULT_ALIGNMENT, which a file need not state
_ROW = 128  # bytes that a tensor's row in the table has at most here
_TOKEN = 40  # bytes of a token with its score and type, rounded up
_METADATA = 8192  # bytes of all other keys, rounded up


@dataclass(frozen=True)
class SyntheticPlan:
    """A file to be written.

    model, quant: ids. architecture: llama.cpp's name. metadata: by full key, without the vocabulary, which is made when
    the file is written, of `vocab` tokens [1]. tensors: in the order of the file.
    """

    model: str
    quant: str
    architecture: str
    vocabulary: Vocabulary
    vocab: int
    metadata: Mapping[str, Value]
    tensors: tuple[PlannedTensor, ...]

    @property
    def weights_bytes(self) -> int:
        """Bytes of all tensors, padding excluded [B]."""
        return sum(tensor.size_bytes for tensor in self.tensors)

    @property
    def most_bytes(self) -> int:
        """An upper bound of the file's size, within a few per mille of it [B]."""
        padded = sum(padded_bytes(tensor.size_bytes) for tensor in self.tensors)
        tokens = 0 if self.vocabulary == "none" else self.vocab
        return padded + _ROW * len(self.tensors) + _TOKEN * tokens + _METADATA


def padded_bytes(size: int) -> int:
    """`size` rounded up to the alignment [B]."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def plan_synthetic(
    model: str, quant: str, *, context: int | None = None, vocabulary: Vocabulary = "none"
) -> SyntheticPlan:
    """What a file of `model` (an id, a TOML or a config.json) in the recipe `quant` holds.

    context: positions the file says the model is made for; the model's own without one. vocabulary: 'none' for
    llama-bench, 'llama' for llama-server, which needs one.

    Raises SpecError with what is missing where llama.cpp has no such model, or no such type.
    """
    if model.lower().endswith(".gguf"):
        raise SpecError(f"--model: expected a shape (an id, a TOML or a config.json), found the file {short(model)}")
    entry, _ = api.load_weights(model, quant)
    shape, recipe = entry.spec, get(quant)
    architecture = architecture_of(shape, entry.id)
    context = shape.max_context if context is None else context
    if context is None:
        raise SpecError(f"{entry.id}: max_context: expected a context length, found none; give one")
    if not 1 <= context <= api.MOST:
        raise SpecError(f"--ctx: expected a whole number from 1 to {api.MOST:g}, found {short(context)}")
    tensors = planned_tensors(shape, architecture, recipe.id, entry.id)
    _types_exist(tensors, recipe.id)
    metadata: dict[str, Value] = {
        "general.type": "model",
        "general.name": f"{shape.name} (synthetic)",
        "general.description": "Random weights in the shape of the model, for measuring speed",
        "general.quantization_version": 2,
    }
    file_type = _file_type(recipe.id)
    if file_type is not None:
        metadata["general.file_type"] = file_type
    for key, value in shape_metadata(shape, architecture, context, entry.id).items():
        metadata[f"{shape.architecture}.{key}"] = value
    check_vocabulary(vocabulary, shape.vocab, entry.id)
    return SyntheticPlan(entry.id, recipe.id, shape.architecture, vocabulary, shape.vocab, metadata, tensors)


def _types_exist(tensors: Sequence[PlannedTensor], quant: str) -> None:
    """Every type has random blocks, and a number in this version of the file format's package."""
    from gguf import GGMLQuantizationType

    for name in sorted({tensor.type for tensor in tensors}):
        if name not in TYPES:
            raise SpecError(f"--quant: expected a recipe of llama.cpp's own types, found {quant!r} with {name}")
        if name.upper() not in GGMLQuantizationType.__members__:
            raise SpecError(f"--quant: expected a type that the gguf package knows, found {name}; update the package")


def _file_type(quant: str) -> int | None:
    """The number under which llama-quantize writes a recipe; None for mixes that it does not make."""
    from gguf import LlamaFileType

    names = LlamaFileType.__members__
    wanted = {"mxfp4": "MOSTLY_MXFP4_MOE", "f32": "ALL_F32"}.get(quant, f"MOSTLY_{quant.upper()}")
    return int(names[wanted]) if wanted in names else None


def check_path(path: Path) -> None:
    """SpecError where a file stands already: it may hold real weights."""
    try:
        exists = path.exists()
    except OSError as error:
        raise SpecError(f"{path}: expected a file that can be written, found: {error.strerror or error}") from None
    if exists:
        raise SpecError(f"{path}: expected no file of this name yet, found one")
