"""A model in a quantisation: which type each tensor is stored in, and so how many bytes everything is.

Types come from the recipe of a quantisation, or from the tensor table of a file, which always wins.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from roofline.model import Model
from roofline.quantization import ShapeFacts, tensor_bytes, types_by_form
from roofline.tensor import Tensor
from roofline.workload import Step


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a weight's layers: `layers` of them store it as `type`, at `bytes_per_element` [B].

    A placement counts parts of a layer's kind on average, so that `layers` need not be whole.
    """

    type: str
    layers: float
    bytes_per_element: float


@dataclass(frozen=True)
class Weights:
    """The stored form of a model.

    quant: the name of the quantisation ('q4_k_m'). shares: by (group of layers, role), '' for tensors outside layers.
    file_bytes: all tensors [B], without a file's metadata. host_bytes: the untied token embedding, of which only a
    row is read [B]. bytes_by_type: tensor bytes of each type [B].
    """

    quant: str
    shares: Mapping[tuple[str, str], tuple[Share, ...]]
    file_bytes: float
    host_bytes: float
    bytes_by_type: Mapping[str, float]
    elements_by_type: Mapping[str, int]

    def shares_of(self, group: str, role: str, layers: int) -> tuple[Share, ...]:
        """How the `layers` layers of a group store a role; what the table does not name is small and f32."""
        return self.shares.get((group, role)) or (Share("f32", layers, 4.0),)

    @property
    def elements(self) -> int:
        """Stored weights [1]."""
        return sum(self.elements_by_type.values())

    @property
    def bits_per_weight(self) -> float:
        """Mean storage of a weight, scales included [bit]."""
        return 8 * self.file_bytes / self.elements

    @property
    def main_type(self) -> str:
        """The type that holds the most bytes."""
        return max(self.bytes_by_type, key=lambda name: self.bytes_by_type[name])


def bytes_read(model: Model, weights: Weights, step: Step) -> float:
    """Weight bytes that a step reads [B]: every matrix in use once a pass, one row a token of an untied embedding."""
    return sum(
        float(demand.weights) * share.bytes_per_element * share.layers
        for group, count, demand in model.demands(step)
        for share in weights.shares_of(group, demand.operator, count)
    )


def shape_facts(model: Model) -> ShapeFacts:
    """What the recipes of llama-quantize ask of a model."""
    heads, kv_heads = model.attention_facts()
    return ShapeFacts(model.architecture, model.layers, heads, kv_heads, model.expert_count, model.tied_embeddings)


def weigh(model: Model, quant: str) -> Weights:
    """`model` as llama-quantize would store it under the recipe `quant`; SpecError for an unknown one."""
    forms: Counter[_Form] = Counter()
    for places, form, type_name in types_by_form(quant, model.tensors(), shape_facts(model)):
        forms[form.group, form.tensor.role, type_name, form.tensor.shape] += len(places)
    return _from_forms(model, quant, forms)


def from_file(
    model: Model, quant: str, stored: Iterable[tuple[Tensor, str]], types: Mapping[tuple[str, int | None], str]
) -> Weights:
    """The stored form of a model read from a file: `stored` is its tensor table, which counts to the last byte.

    types: the type of each (role, layer) in the words of blocks.py, where a file may join or split matrices. Matrices
    that the table lacks are taken to be in f32.
    """
    counted = from_types(model, quant, stored)
    named = from_types(model, quant, ((t, types.get((t.role, t.layer), "f32")) for t in model.tensors()))
    return replace(counted, shares=named.shares)


def from_types(model: Model, quant: str, typed: Iterable[tuple[Tensor, str]]) -> Weights:
    """The stored form of a model whose tensors have the given types."""
    kinds: dict[int | None, str] = {index: group.name for group in model.groups for index in group.indices}
    # Layers are alike: few forms of tensor, each many times.
    forms = Counter((kinds.get(tensor.layer, ""), tensor.role, type_name, tensor.shape) for tensor, type_name in typed)
    return _from_forms(model, quant, forms)


#: Group of layers, role, type and shape of tensors that are alike.
_Form: TypeAlias = tuple[str, str, str, tuple[int, ...]]


def _from_forms(model: Model, quant: str, forms: Counter[_Form]) -> Weights:
    """The stored form of a model that has so many tensors of each form."""
    counts: dict[tuple[str, str], dict[tuple[str, float], int]] = {}
    bytes_by_type: dict[str, float] = {}
    elements_by_type: dict[str, int] = {}
    host_bytes = 0.0
    for (kind, role, type_name, shape), number in forms.items():
        size, elements = tensor_bytes(type_name, shape), math.prod(shape)
        bytes_by_type[type_name] = bytes_by_type.get(type_name, 0.0) + number * size
        elements_by_type[type_name] = elements_by_type.get(type_name, 0) + number * elements
        if role == "token_embd" and not model.tied_embeddings:
            host_bytes += number * size
        shares = counts.setdefault((kind, role), {})
        form = (type_name, size / elements)
        shares[form] = shares.get(form, 0) + number
    return Weights(
        quant,
        {key: tuple(Share(name, n, each) for (name, each), n in forms.items()) for key, forms in counts.items()},
        sum(bytes_by_type.values()),
        host_bytes,
        bytes_by_type,
        elements_by_type,
    )
