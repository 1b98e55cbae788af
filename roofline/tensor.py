"""One stored weight tensor: the unit in which models are counted and files are sized."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Tensor:
    """A weight tensor as a GGUF file names and lays it out.

    name: GGUF name ('blk.3.attn_v.weight', 'token_embd.weight').
    role: the name without block index and suffix ('attn_v', 'token_embd', 'output', 'ffn_down_exps', 'attn_norm').
    layer: block index, or None outside the blocks.
    shape: ggml order: (columns = input width, rows = output width[, experts]).
    """

    name: str
    role: str
    layer: int | None
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Number of weights [1]."""
        return math.prod(self.shape)


class Form(NamedTuple):
    """Tensors that differ by layer alone: one of them, the group of layers, and the places of all."""

    tensor: Tensor
    group: str
    places: tuple[int, ...]


class Tensors(tuple[Tensor, ...]):
    """The tensors of a model, with the group of layers that each belongs to ('' outside of layers).

    known: what others have worked out of them and want to keep.
    """

    groups: tuple[str, ...]
    known: dict[Any, Any]

    @classmethod
    def of(cls, tensors: Sequence[Tensor], groups: Sequence[str] = ()) -> Tensors:
        """Tensors with their groups; without, all are in the group ''."""
        found = cls(tensors)
        found.groups = tuple(groups) or ("",) * len(found)
        found.known = {}
        return found

    @cached_property
    def forms(self) -> tuple[Form, ...]:
        """Tensors of one group, role, suffix and shape gathered: layers are alike."""
        found: dict[tuple[object, ...], list[int]] = {}
        for place, (tensor, group) in enumerate(zip(self, self.groups, strict=True)):
            found.setdefault((group, tensor.role, tensor.shape, tensor.name.endswith("weight")), []).append(place)
        return tuple(Form(self[at[0]], self.groups[at[0]], tuple(at)) for at in found.values())
