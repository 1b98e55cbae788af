"""Parts of a model: which layers lie on which of several devices, and how much of it a part is.

llama.cpp divides the layers by `--split-mode layer`: of the n slots that are on the devices, the layers in order and
the output after the last, slot i goes to device ⌊i · devices / n⌋ (src/llama-model.cpp, load_tensors: upper_bound over
the running sums of equal shares). So 81 slots on two devices are 41 layers on the first, 39 and the output on the
second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from roofline.machine import Machine
from roofline.model import Group, Model
from roofline.placement import Placement
from roofline.weights import Weights

#: Stored bytes by (group of layers, role), all layers of the group together; group '' is outside the layers [B].
Stored = Mapping[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class Part:
    """What one device holds: the indices of its layers, and whether the output head, and the token embedding."""

    layers: range
    output: bool
    embedding: bool

    def share_of(self, group: Group) -> float:
        """Share of a group's layers that the part has [1]."""
        if len(self.layers) == 0:
            return 0.0
        return sum(index in self.layers for index in group.indices) / len(group.indices)


def has_own_memory(machine: Machine) -> bool:
    """Whether the device computes in a memory beside the host's: a card, not a chip that shares the main memory."""
    return machine.backend != "cpu" and machine.hardware.kind == "gpu"


def device_parts(model: Model, machine: Machine, placement: Placement | None = None) -> tuple[Part, ...]:
    """The part of each device, in order. A card leaves the token embedding to its host, a placement what it says."""
    first = placement.first(model.layers) if placement else 0
    count, embedding = machine.hardware.count, placement is None and not has_own_memory(machine)
    if placement is not None and placement.others:
        return tuple(_part_of(index, placement, model.layers) for index in range(len(placement.devices)))
    if placement is not None and not placement.holds_output():
        return (Part(range(0), False, False),) * count
    slots = model.layers + 1 - first
    starts = [first + math.ceil(device * slots / count) for device in range(count + 1)]
    return tuple(
        Part(range(start, min(end, model.layers)), start <= model.layers < end, embedding and start == first)
        for start, end in pairwise(starts)
    )


def _part_of(index: int, placement: Placement, layers: int) -> Part:
    """What one of several different devices holds: layers in order, the output where its turn is."""
    own = [layer for layer in range(layers) if placement.device_of(layer, layers) == index]
    held = range(own[0], own[-1] + 1) if own else range(0)
    return Part(held, placement.device_of(layers, layers) == index, False)


def stored_bytes(model: Model, weights: Weights) -> dict[tuple[str, str], float]:
    """Bytes of every role by group of layers [B], by the shapes of the model and the types of the weights."""
    found: dict[tuple[str, str], float] = {}
    for group in model.groups:
        count = len(group.indices)
        elements = [(matrix.role, math.prod(matrix.shape)) for matrix in group.layer.matrices(model.hidden)]
        for role, size in [*elements, *group.layer.vectors(model.hidden)]:
            shares = weights.shares_of(group.name, role, count)
            each = sum(share.layers * share.bytes_per_element for share in shares)
            found[group.name, role] = found.get((group.name, role), 0.0) + size * each
    for tensor in model.tensors():
        if tensor.layer is None:
            each = sum(share.bytes_per_element for share in weights.shares_of("", tensor.role, 1))
            found["", tensor.role] = tensor.elements * each
    return found


def part_bytes(model: Model, stored: Stored, part: Part, placement: Placement | None = None) -> float:
    """Bytes of the tensors of a part, without those that a placement's overrides leave on the host [B]."""
    groups = {group.name: group for group in model.groups}
    if placement is None or not placement.overrides:
        shares = {name: part.share_of(group) for name, group in groups.items()}
        total = sum(size * shares[name] for (name, _), size in stored.items() if name)
    else:
        total = sum(
            size * _share_kept(model, groups[name], role, part, placement)
            for (name, role), size in stored.items()
            if name
        )
    head = "token_embd" if model.tied_embeddings else "output"  # a tied head is the embedding, or a copy of it
    outside = {role: size for (name, role), size in stored.items() if not name}
    if part.output:
        away = head if placement is not None and placement.has_head_on_host(model) else ""
        total += sum(size for role, size in outside.items() if role != away and (role == head or role != "token_embd"))
    if part.embedding and not (part.output and model.tied_embeddings):
        total += outside["token_embd"]
    return total


def _share_kept(model: Model, group: Group, role: str, part: Part, placement: Placement) -> float:
    """Share of a role's layers that lies on the device of a part, the overrides left on the host [1]."""
    kept = sum(index in part.layers and not placement.is_on_host(index, model.layers, role) for index in group.indices)
    return kept / len(group.indices)
