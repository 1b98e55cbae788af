"""A model: layers in order, an embedding and an output head → parameters, tensors, demands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from roofline.blocks import Layer, Matrix
from roofline.demand import Demand, elementwise
from roofline.spec import Number, PositiveInt, Source, Spec, Words
from roofline.tensor import Tensor, Tensors
from roofline.workload import Step

MOST_STEPS = 64  # whose demands are remembered
MAX_LAYERS = 1_000  # the deepest published models have about 130; a hostile file may claim millions


class Published(Number):
    """A published parameter count; `beyond` says what it holds that this shape leaves out (a vision tower, say)."""

    beyond: str = ""


@dataclass(frozen=True)
class Group:
    """Layers of one kind: the name of the kind, its shape, and the indices at which it stands."""

    name: str
    layer: Layer
    indices: tuple[int, ...]


class Model(Spec):
    """The shape of a model.

    layers: how many there are. blocks: the kinds of layer by name. pattern: kinds in order, repeated until all layers
    are named, after those of `first`. A model with one kind needs neither.
    """

    name: str
    architecture: str
    vocab: PositiveInt
    hidden: PositiveInt
    layers: PositiveInt = Field(le=MAX_LAYERS)
    blocks: dict[str, Layer] = Field(min_length=1)
    pattern: Words = ()
    first: Words = ()
    tied_embeddings: bool = False
    output_bias: bool = False
    output_norm_bias: bool = False
    max_context: PositiveInt | None = None
    parameters: Published | None = None
    native_quant: str = ""
    source: str = ""
    aliases: Words = ()
    notes: Words = ()
    sources: dict[str, Source] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _kinds_exist(self) -> Self:
        unknown = sorted(set(self.pattern + self.first) - set(self.blocks))
        if unknown:
            raise ValueError(f"pattern: expected names from [blocks] ({', '.join(self.blocks)}), found {unknown[0]!r}")
        if not self.pattern and len(self.blocks) - len(set(self.first)) > 1:
            raise ValueError("pattern: expected the order of the kinds of layer, found none")
        unused = sorted(set(self.blocks) - set(self.order))
        if unused:
            raise ValueError(
                f"blocks: expected every kind to be used in {self.layers} layers, found {unused[0]!r} unused"
            )
        used = {self.source} | ({self.parameters.source} if self.parameters else set())
        if used - {""} != set(self.sources):
            raise ValueError(
                f"sources: expected exactly those that are cited ({', '.join(sorted(used - {''})) or 'none'}), "
                f"found {', '.join(sorted(self.sources)) or 'none'}"
            )
        return self

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The kind of each layer, from first to last."""
        pattern = self.pattern or tuple(kind for kind in self.blocks if kind not in self.first)
        repeats = -(-self.layers // len(pattern)) if pattern else 0
        return (self.first + pattern * repeats)[: self.layers]

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Layers gathered by kind; a group's layers have equal demands."""
        indices: dict[str, list[int]] = {}
        for index, kind in enumerate(self.order):
            indices.setdefault(kind, []).append(index)
        return tuple(Group(kind, self.blocks[kind], tuple(at)) for kind, at in indices.items())

    @property
    def head(self) -> Matrix:
        """The output projection; a tied one reads the embedding table."""
        return Matrix("token_embd" if self.tied_embeddings else "output", self.hidden, self.vocab)

    def demands(self, step: Step) -> Sequence[tuple[str, int, Demand]]:
        """Every operator of a step as (group of layers, layers, demand), embedding and head last, in the group ''.

        The last steps of plain numbers are remembered: the same step runs on many devices and in many quantisations.
        """
        if any(isinstance(value, np.ndarray) for value in (step.batch, step.new, step.past, step.limit, step.outputs)):
            return self._demands(step)
        known = self._known_demands
        if step not in known:
            if len(known) >= MOST_STEPS:
                known.clear()
            known[step] = self._demands(step)
        return known[step]

    @cached_property
    def _known_demands(self) -> dict[Step, Sequence[tuple[str, int, Demand]]]:
        return {}

    def _demands(self, step: Step) -> Sequence[tuple[str, int, Demand]]:
        layers = [
            (group.name, len(group.indices), demand)
            for group in self.groups
            for demand in group.layer.demands(step, self.hidden)
        ]
        return [*layers, *(("", 1, demand) for demand in self.head_demands(step))]

    def head_demands(self, step: Step) -> Iterator[Demand]:
        """Embedding lookup, last norm and output head.

        llama.cpp projects only tokens whose logits are wanted: the last of a prompt, every generated one
        (Step.outputs).
        """
        yield Demand(
            "token_embd", "lookup", 0.0, weights=self.hidden * step.tokens, activations=self.hidden * step.tokens
        )
        if isinstance(step.outputs, np.ndarray) or step.outputs > 0:
            wanted = step.outputs * (step.new / step.chunk)
            yield self.head.demand(Step(step.batch, wanted, step.past, step.batch * step.outputs))
        yield elementwise(step, 4 * self.hidden, 2, "output_norm", self.hidden)

    def tensors(self) -> Tensors:
        """Every stored tensor, under its GGUF role; small vectors of a layer are gathered by role."""
        return self._tensors

    @cached_property
    def _tensors(self) -> Tensors:
        tensors = [Tensor("token_embd.weight", "token_embd", None, (self.hidden, self.vocab))]
        matrices = {
            kind: [(one.role, one.shape) for one in self.blocks[kind].matrices(self.hidden)] for kind in self.blocks
        }
        vectors = {kind: list(layer.vectors(self.hidden)) for kind, layer in self.blocks.items()}
        for index, kind in enumerate(self.order):
            for role, shape in matrices[kind]:
                tensors.append(Tensor(f"blk.{index}.{role}.weight", role, index, shape))
            for role, elements in vectors[kind]:
                tensors.append(Tensor(f"blk.{index}.{role}", role, index, (elements,)))
        width = self.hidden * (2 if self.output_norm_bias else 1)
        tensors.append(Tensor("output_norm.weight", "output_norm", None, (width,)))
        if not self.tied_embeddings:
            tensors.append(Tensor("output.weight", "output", None, (self.hidden, self.vocab)))
        if self.output_bias:
            tensors.append(Tensor("output.bias", "output_bias", None, (self.vocab,)))
        order = self.order
        return Tensors.of(tensors, ["" if one.layer is None else order[one.layer] for one in tensors])

    @cached_property
    def parameter_count(self) -> int:
        """Weights stored [1]."""
        return sum(tensor.elements for tensor in self.tensors())

    @cached_property
    def active_parameter_count(self) -> int:
        """Weights used by one token [1]: the active experts, one row of an untied embedding."""
        active = self.vocab * self.hidden + self.hidden
        for kind in self.order:
            layer = self.blocks[kind]
            active += sum(matrix.columns * matrix.rows * matrix.active for matrix in layer.matrices(self.hidden))
            active += sum(elements for _, elements in layer.vectors(self.hidden))
            active -= layer.experts.idle_elements(self.hidden) if layer.experts else 0
        return active

    def kv_elements(self) -> tuple[int, int]:
        """Elements of K and of V that one position stores in all layers [1], windows disregarded."""
        mixers = [self.blocks[kind].attention or self.blocks[kind].latent_attention for kind in self.order]
        pairs = [mixer.kv_elements for mixer in mixers if mixer is not None]
        return sum(key for key, _ in pairs), sum(value for _, value in pairs)

    def kv_bytes_per_position(self, bytes_per_element: float = 2.0) -> float:
        """Cache of one position in all layers [B], at f16 unless said; windows disregarded."""
        return sum(self.kv_elements()) * bytes_per_element

    def attention_facts(self) -> tuple[int, int]:
        """Heads and KV heads of the first layer with attention, (1, 1) if none has."""
        for group in self.groups:
            mixer = group.layer.attention or group.layer.latent_attention
            if mixer is not None:
                return mixer.heads, mixer.kv_heads
        return 1, 1

    @property
    def expert_count(self) -> int:
        """Routed experts of a layer, 0 for a dense model [1]."""
        return max((group.layer.experts.experts for group in self.groups if group.layer.experts), default=0)
