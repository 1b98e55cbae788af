"""The memory bill: what has to be held while a model runs, and whether it fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import cast

import numpy as np

from roofline.buffers import (
    ACTIVATION_BYTES,
    compute_buffer_bytes,
    fetched_bytes,
    kv_bytes_by_group,
    kv_cache_bytes,
    padded_context,
    uses_flash_attention,
)
from roofline.machine import Machine
from roofline.model import Model
from roofline.numa import nodes
from roofline.parts import Part, device_parts, has_own_memory, part_bytes, stored_bytes
from roofline.placement import Placement
from roofline.splitting import copies_of_cache, repeated_bytes
from roofline.weights import Weights
from roofline.workload import Real, Workload

__all__ = [
    "ACTIVATION_BYTES", "MemoryBill", "bill", "capacities", "compute_buffer_bytes", "device_bill", "kv_bytes_by_group",
    "kv_cache_bytes", "padded_context", "repacked_bytes", "stacked", "uses_flash_attention",
]  # fmt: skip

ROWS_TOGETHER = 8  # rows of a matrix that a repacked layout interleaves; matrices with others stay as they are


@dataclass(frozen=True, slots=True)
class MemoryBill:
    """What must be held [B]; capacity and usable are None where the buyer decides how much memory there is.

    weights: all tensors that lie here. kv_cache: the cache of all sequences, with recurrent states. compute: the
    largest set of activations alive at a time. context: what the backend takes for itself. capacity: memory of the
    device; usable: what of it may be allocated. assumed_capacity: the capacity is the most that the maker supports, not
    a fixed size. host: the bill of what a placement leaves in the host's memory. host_weights: the token embedding that
    a card without a named host leaves there. repacked: pages of the file that stay in memory beside the copy that a
    CPU's kernels read; they are given up when memory is short, and no part of the total. devices: each device's own
    bill where there are several, of which the fullest decides.
    """

    weights: float
    kv_cache: Real
    compute: Real
    context: float
    capacity: float | None
    usable: float | None
    assumed_capacity: bool
    host: MemoryBill | None = None
    host_weights: float = 0.0
    repacked: float = 0.0
    devices: tuple[MemoryBill, ...] = ()

    @property
    def total(self) -> Real:
        """Sum of the items, of all devices together [B]."""
        return self.weights + self.kv_cache + self.compute + self.context

    @property
    def resident(self) -> Real:
        """The most that the process is seen to hold, with what the page cache keeps while there is room [B]."""
        if not self.repacked:
            return self.total
        room = np.inf if self.usable is None else self.usable
        return np.minimum(self.total + self.repacked, np.maximum(self.total, room))

    @property
    def fits(self) -> bool | np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Whether every device can allocate its total, and the host its own; true where the capacity is open."""
        fits = np.asarray(self.total <= np.inf if self.margin is None else self.margin >= 0)
        if self.host is not None:
            fits = fits & self.host.fits
        return fits if np.ndim(fits) else bool(fits)

    @property
    def margin(self) -> Real | None:
        """Bytes left (negative: missing) on the device, of several on the fullest [B]."""
        if self.usable is None:
            return None
        if not self.devices:
            return self.usable - self.total
        margins = [device.usable - device.total for device in self.devices if device.usable is not None]
        return reduce(np.minimum, margins)


def bill(
    model: Model, weights: Weights, machine: Machine, workload: Workload, placement: Placement | None = None
) -> MemoryBill:
    """The bill of a model on a machine for a workload's longest context; of the machine and its host where placed.

    Without a placement all weights lie on the machine, but for the token embedding of a card, which llama.cpp leaves in
    the host's memory (src/llama-model.cpp, load_tensors: the input layer is on the CPU). A tied one is on both sides.
    """
    if placement is not None:
        return _placed_bill(model, weights, placement, workload)
    embedding = embedding_bytes(model, weights) if has_own_memory(machine) else 0.0
    if machine.hardware.count > 1:
        return replace(device_bill(model, weights, machine, workload), host_weights=embedding)
    stored = weights.file_bytes - (weights.host_bytes if has_own_memory(machine) else 0.0)
    cache, compute = (make(model, machine, workload) for make in (kv_cache_bytes, compute_buffer_bytes))
    found = _one_bill(machine, stored, cache, compute)
    return replace(found, host_weights=embedding, repacked=repacked_bytes(model, weights, machine, workload))


def _placed_bill(model: Model, weights: Weights, placement: Placement, workload: Workload) -> MemoryBill:
    """The device's bill with its host's: weights and cache where they lie, the token embedding on the host.

    A chip without a memory of its own shares the host's, which then has what the device leaves. Weights are not
    repacked beside a GPU (src/llama-model.cpp, make_cpu_buft_list: its host buffers come first).
    """
    device = device_bill(model, weights, placement.device, workload, placement)
    if placement.host is None:
        return replace(device, host_weights=embedding_bytes(model, weights))
    own, left = has_own_memory(placement.device), placement.first(model.layers)
    has_head = placement.has_head_on_host(model)
    both_sides = embedding_bytes(model, weights) if own and model.tied_embeddings and not has_head else 0.0
    rest = Part(range(left), has_head, embedding=True)
    caches = kv_bytes_by_group(model, placement.host, workload)
    compute = compute_buffer_bytes(model, placement.host, workload, rest) if left > 0 or has_head else 0.0
    stored, parts = stored_bytes(model, weights), device_parts(model, placement.device, placement)
    share = sum(part_bytes(model, stored, part, placement) for part in parts) / sum(stored.values())  # each once
    left_over = max(weights.file_bytes * (1 - share), 0.0) + both_sides
    host = _one_bill(placement.host, left_over, _sum(model, caches, rest), compute)
    if not own and host.usable is not None:
        host = replace(host, usable=host.usable - float(np.max(device.total)))
    return replace(device, host=host)


def device_bill(
    model: Model, weights: Weights, machine: Machine, workload: Workload, placement: Placement | None = None
) -> MemoryBill:
    """The bill of a device, or of several like it: layers in order, or an even part of everything, see splitting."""
    stored, ways = stored_bytes(model, weights), machine.hardware.count
    parts = device_parts(model, machine, placement)
    machines = placement.devices if placement is not None and placement.others else (machine,) * ways
    caches, fetched = kv_bytes_by_group(model, machine, workload), 0.0
    if placement is not None and has_own_memory(machine):
        fetched = fetched_bytes(model, stored, placement)
    scale = weights.file_bytes / sum(stored.values())  # a file has a few small tensors that no shape tells
    if machine.split == "tensor":
        layers = range(parts[0].layers.start, parts[-1].layers.stop)
        whole = Part(layers, any(one.output for one in parts), parts[0].embedding)
        held = part_bytes(model, stored, whole, placement) * scale
        held += repeated_bytes(model, weights, ways) * (held / weights.file_bytes)
        copies = {group.name: copies_of_cache(group.layer, ways) for group in model.groups}
        cache = _sum(model, {name: size * copies[name] / ways for name, size in caches.items()}, whole)
        compute = compute_buffer_bytes(model, machine, workload, _computed(model, whole, placement, fetched), ways)
        bills = [_one_bill(machine, held / ways, cache, compute + fetched)] * ways  # equal devices, equal parts
    else:
        rooms = [fetched, *[0.0] * (len(parts) - 1)]  # the first device does the host's wide products
        bills = [
            _one_bill(
                one,
                part_bytes(model, stored, part, placement) * scale,
                _sum(model, caches, part),
                compute_buffer_bytes(model, one, workload, _computed(model, part, placement, room)) + room,
            )
            for one, part, room in zip(machines, parts, rooms, strict=True)
        ]
    return bills[0] if len(bills) == 1 else _joint(bills)


def _computed(model: Model, part: Part, placement: Placement | None, fetched: float) -> Part:
    """What the device computes that holds a part: with room for what it fetches, in prompts all layers and the head."""
    if placement is None or not fetched:
        return part
    return Part(range(model.layers), part.output or placement.has_head_on_host(model), part.embedding)


def stacked(one: MemoryBill, each: Sequence[MemoryBill], shape: tuple[int, ...]) -> MemoryBill:
    """The bill `one` for several quantisations side by side: with the weights of `each`, as arrays of that shape.

    What a page cache keeps beside them is left out.
    """

    def along(sizes: list[float]) -> float:
        """Bytes of each as an array, which adds and compares as a number does."""
        return cast(float, np.array(sizes).reshape(shape))

    devices = tuple(
        replace(device, weights=along([other.devices[index].weights for other in each]))
        for index, device in enumerate(one.devices)
    )
    return replace(one, weights=along([other.weights for other in each]), repacked=0.0, devices=devices)


def _joint(bills: Sequence[MemoryBill]) -> MemoryBill:
    """The bill of several devices together, with each one's own."""
    capacity, usable = (_all([getattr(one, name) for one in bills]) for name in ("capacity", "usable"))
    return MemoryBill(
        weights=sum(one.weights for one in bills),
        kv_cache=reduce(add, (one.kv_cache for one in bills)),
        compute=reduce(add, (one.compute for one in bills)),
        context=sum(one.context for one in bills),
        capacity=capacity,
        usable=usable,
        assumed_capacity=any(one.assumed_capacity for one in bills),
        devices=tuple(bills),
    )


def _all(sizes: Sequence[float | None]) -> float | None:
    """The sum of sizes [B], None where one is unknown."""
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _one_bill(machine: Machine, stored: float, cache: Real, compute: Real) -> MemoryBill:
    """The bill of one device, or of a processor with all its sockets; mirrored, each NUMA node has its own weights."""
    count = machine.hardware.count
    capacity, usable, assumed = capacities(machine)
    capacity, usable = (None if size is None else size / count for size in (capacity, usable))
    copies = nodes(machine.hardware) if machine.numa == "mirror" else 1
    return MemoryBill(stored * copies, cache, compute, machine.engine.context.value, capacity, usable, assumed)


def _sum(model: Model, caches: Mapping[str, Real], part: Part) -> Real:
    """The caches of a part's layers [B]."""
    total: Real = 0.0
    for group in model.groups:
        share = part.share_of(group)
        total = total + caches[group.name] * share if share else total
    return total


def embedding_bytes(model: Model, weights: Weights) -> float:
    """The token embedding [B], which lies in the host's memory beside a card; of a tied one the card has a copy."""
    if not model.tied_embeddings:
        return weights.host_bytes
    each = sum(share.bytes_per_element for share in weights.shares_of("", "token_embd", 1))
    return model.hidden * model.vocab * each


def repacked_bytes(model: Model, weights: Weights, machine: Machine, workload: Workload) -> float:
    """Weights that a CPU holds twice, as the file has them and in the order of its kernels [B].

    The copy takes the place of the file's pages in the total: the system may drop those, and reads them no more.
    """
    rules = [rule for word, rule in machine.engine.repack.items() if word in machine.isa]
    if not workload.repack or not rules:
        return 0.0
    total = 0.0
    for name, matrices in [*((g.name, g.layer.matrices(model.hidden)) for g in model.groups), ("", (model.head,))]:
        for matrix in matrices:
            if matrix.rows % ROWS_TOGETHER:
                continue
            for share in weights.shares_of(name, matrix.role, 1):
                if any(share.type in rule.types and (rule.experts or matrix.copies == 1) for rule in rules):
                    elements = matrix.columns * matrix.rows * matrix.copies
                    total += elements * share.layers * share.bytes_per_element
    return total


def capacities(machine: Machine) -> tuple[float | None, float | None, bool]:
    """(capacity, usable capacity, whether it is only the most that the maker supports) of a machine [B]."""
    hardware = machine.hardware
    memory = hardware.memory
    figure = memory.capacity or memory.limit
    if figure is None:
        return None, None, False
    sockets = hardware.cpu.sockets if hardware.cpu and memory.capacity is None else 1
    capacity = figure.value * hardware.count * sockets
    reserve = machine.engine.reserve.value * hardware.count
    return capacity, capacity * machine.engine.usable.value - reserve, memory.capacity is None
