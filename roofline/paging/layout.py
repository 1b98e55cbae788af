"""Where the tensors of a model lie in its file, and which part of each a token reads.

A GGUF file has a header and then the tensors, one after the other, each padded to the alignment. Every tensor is a row
of equal parts of which a token reads some: a matrix is one part of one, the experts of a layer are k of E (the same k
in all its tensors), an untied token embedding is one row of the vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from roofline.model import Model
from roofline.quantization import assign_types, tensor_bytes
from roofline.readers import GgufFile
from roofline.spec import SpecError
from roofline.tensor import Tensor
from roofline.weights import shape_facts

ALIGNMENT = 32  # bytes, GGUF_DEFAULT_ALIGNMENT of the gguf package, where a file is not there to say
EMBEDDING = "embedding"  # the choice that the rows of an untied embedding share
_EXPERTS = re.compile(r"ffn_\w*exps(_bias)?")
_ONE_EXPERT = re.compile(r"\.ffn_(?:gate|up|down)\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Span:
    """A tensor in the file.

    name: in the file. layer: None outside of layers. begin, size: [B]. parts: equal parts that it is made of, of which
    a token reads `used` [1]; 0 where it reads none. choice: spans of one choice read the same parts. first_part: of a
    tensor that holds a single expert, which one it is.
    """

    name: str
    layer: int | None
    begin: int
    size: int
    parts: int = 1
    used: int = 1
    choice: str = ""
    first_part: int = 0
    of_parts: int = 1

    @property
    def end(self) -> int:
        """The first byte behind it [B]."""
        return self.begin + self.size

    @property
    def read_bytes(self) -> float:
        """Bytes of it that a token reads, on average [B]."""
        return self.size * self.used / self.of_parts


@dataclass(frozen=True)
class FileLayout:
    """The tensors of a file in their order. size: of the file [B]. is_real: read from a file, not laid out here."""

    spans: tuple[Span, ...]
    size: int
    is_real: bool

    @cached_property
    def read_bytes(self) -> float:
        """Bytes that one token reads [B]."""
        return sum(span.read_bytes for span in self.spans)

    def reached(self, read: float) -> Span | None:
        """The span in which a first pass in the order of the file has read `read` bytes; None if it never does."""
        done = 0.0
        for span in self.spans:
            done += span.read_bytes
            if done >= read:
                return span
        return None


def layout_of_shape(model: Model, quant: str) -> FileLayout:
    """The file that llama-quantize would write, in the order in which the converter has the tensors.

    The header (some MB of vocabulary) is left out, as in Weights.file_bytes.
    """
    tensors = model.tensors()
    types = assign_types(quant, tensors, shape_facts(model))
    sized = ((tensor, int(tensor_bytes(kind, tensor.shape))) for tensor, kind in zip(tensors, types, strict=True))
    return FileLayout(*_laid_out(model, sized, 0, ALIGNMENT), is_real=False)


def layout_of_file(model: Model, file: GgufFile) -> FileLayout:
    """The file as its table says; SpecError for a split model, whose parts are mapped each on their own."""
    if len(file.files) > 1:
        raise SpecError(f"{file.path}: expected one file, found a model split into {len(file.files)}")
    sized = ((tensor, tensor.size_bytes) for tensor in file.tensors)
    spans, end = _laid_out(model, sized, file.data_begin, file.alignment)
    return FileLayout(spans, max(file.file_bytes, end), is_real=True)  # a header without its weights is shorter


def _laid_out(
    model: Model, sized: Iterable[tuple[Tensor, int]], begin: int, alignment: int
) -> tuple[tuple[Span, ...], int]:
    """(spans, end of the last one) of tensors in order, each padded to the alignment."""
    chosen = _experts(model)
    spans, at = [], begin
    for tensor, size in sized:
        spans.append(_span(tensor, at, size, model, chosen))
        at = -(-(at + size) // alignment) * alignment
    return tuple(spans), (spans[-1].end if spans else begin)


def _experts(model: Model) -> Mapping[int, tuple[int, int]]:
    """(experts, active ones) of each layer that has any."""
    found = ((index, model.blocks[kind].experts) for index, kind in enumerate(model.order))
    return {index: (experts.experts, experts.active) for index, experts in found if experts is not None}


def _span(tensor: Tensor, begin: int, size: int, model: Model, chosen: Mapping[int, tuple[int, int]]) -> Span:
    name, layer = tensor.name, tensor.layer
    if layer is not None and layer >= model.layers:  # layers for multi-token prediction are stored and not run
        return Span(name, layer, begin, size, used=0)
    if tensor.role == "token_embd" and not model.tied_embeddings:
        rows = tensor.shape[1]
        return Span(name, None, begin, size, rows, 1, EMBEDDING, 0, rows)
    if layer is not None and layer in chosen and _EXPERTS.fullmatch(tensor.role):
        experts, active = chosen[layer]
        alone = _ONE_EXPERT.search(name)
        first, parts = (int(alone[1]), 1) if alone else (0, experts)
        return Span(name, layer, begin, size, parts, active, f"experts of layer {layer}", first, experts)
    return Span(name, layer, begin, size)
