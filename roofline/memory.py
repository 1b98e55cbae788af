"""The memory bill: what has to be held while a model runs, and whether it fits."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from roofline.machine import Machine
from roofline.model import Model
from roofline.placement import Placement
from roofline.quantization import kv_layout
from roofline.weights import Weights
from roofline.workload import Real, Workload

ACTIVATION_BYTES = 4  # llama.cpp keeps activations in f32


@dataclass(frozen=True, slots=True)
class MemoryBill:
    """What must be held [B]; capacity and usable are None where the buyer decides how much memory there is.

    weights: all tensors. kv_cache: the cache of all sequences, with recurrent states. compute: the largest set of
    activations alive at a time. context: what the backend takes for itself. capacity: memory of the device; usable:
    what of it may be allocated. assumed_capacity: the capacity is the most that the maker supports, not a fixed size.
    host: the bill of what a placement leaves in the host's memory.
    """

    weights: float
    kv_cache: Real
    compute: Real
    context: float
    capacity: float | None
    usable: float | None
    assumed_capacity: bool
    host: MemoryBill | None = None

    @property
    def total(self) -> Real:
        """Sum of the items [B]."""
        return self.weights + self.kv_cache + self.compute + self.context

    @property
    def fits(self) -> bool | np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Whether the total can be allocated, on the host too; true where the capacity is open."""
        fits = np.asarray(self.total <= (math.inf if self.usable is None else self.usable))
        if self.host is not None:
            fits = fits & self.host.fits
        return fits if np.ndim(fits) else bool(fits)

    @property
    def margin(self) -> Real | None:
        """Bytes left (negative: missing) [B]."""
        return None if self.usable is None else self.usable - self.total


def bill(
    model: Model, weights: Weights, machine: Machine, workload: Workload, placement: Placement | None = None
) -> MemoryBill:
    """The bill of a model on a machine for a workload's longest context; of the machine and its host where placed.

    Without a placement all weights count, the token embedding too.
    """
    if placement is not None:
        return _placed_bill(model, weights, placement, workload)
    capacity, usable, assumed = capacities(machine)
    return MemoryBill(
        weights=weights.file_bytes,
        kv_cache=kv_cache_bytes(model, machine, workload),
        compute=compute_buffer_bytes(model, machine, workload),
        context=machine.engine.context.value * machine.hardware.count,
        capacity=capacity,
        usable=usable,
        assumed_capacity=assumed,
    )


def _placed_bill(model: Model, weights: Weights, placement: Placement, workload: Workload) -> MemoryBill:
    """The device's bill with its host's: weights and cache where they lie, the token embedding on the host.

    Both sides get the compute buffer of their part: on the device that of a whole graph, on the host the same where
    it has layers.
    """
    device = _device_bill(model, weights, placement, workload)
    left = placement.first(model.layers)
    host = _part_of_bill(model, placement, placement.host, workload, weights.file_bytes - device.weights, left > 0)
    return replace(device, host=host)


def _device_bill(model: Model, weights: Weights, placement: Placement, workload: Workload) -> MemoryBill:
    """The device's part alone."""
    stored = device_weight_bytes(model, weights, placement)
    return _part_of_bill(model, placement, placement.device, workload, stored, placement.gpu_layers > 0)


def _part_of_bill(
    model: Model, placement: Placement, machine: Machine, workload: Workload, stored: float, has_layers: bool
) -> MemoryBill:
    """The bill of one side, on which `stored` bytes of weights lie."""
    cache: Real = 0.0
    for group, size in kv_bytes_by_group(model, machine, workload).items():
        on_host = placement.share_on_host(model, group, "")
        cache = cache + size * (on_host if machine is placement.host else 1 - on_host)
    compute: Real = compute_buffer_bytes(model, machine, workload) if has_layers else 0.0
    capacity, usable, assumed = capacities(machine)
    context = machine.engine.context.value * machine.hardware.count
    return MemoryBill(stored, cache, compute, context, capacity, usable, assumed)


def device_weight_bytes(model: Model, weights: Weights, placement: Placement) -> float:
    """Bytes of the tensors that a placement puts on the device, the output head among them [B]."""
    sizes = {(tensor.layer, tensor.role): tensor.elements for tensor in model.tensors()}
    total = 0.0
    for group in model.groups:
        for (layer, role), elements in sizes.items():
            if layer != group.indices[0]:
                continue
            stored = sum(
                share.layers * share.bytes_per_element
                for share in weights.shares_of(group.name, role, len(group.indices))
            )
            total += elements * stored * (1 - placement.share_on_host(model, group.name, role))
    if placement.holds_output():
        role = "token_embd" if model.tied_embeddings else "output"  # a tied head is a copy of the embedding
        total += sizes[None, role] * sum(share.bytes_per_element for share in weights.shares_of("", role, 1))
    return min(total, weights.file_bytes)


def most_layers(model: Model, weights: Weights, placement: Placement, workload: Workload) -> int:
    """The most layers on the device, as `-ngl` counts them, with which its bill fits [1].

    0 where not even the output head does. Whether the rest fits the host is for the host's bill to say.
    """
    low, high = 0, model.layers + 1
    while low < high:  # each layer adds to the device's bill, so a half decides for all below or above it
        middle = (low + high + 1) // 2
        if np.all(_device_bill(model, weights, replace(placement, gpu_layers=middle), workload).fits):
            low = middle
        else:
            high = middle - 1
    return low


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


def padded_context(machine: Machine, workload: Workload) -> Real:
    """Positions that the cache of one sequence holds: the context asked for, in steps of the runtime's padding [1]."""
    positions = workload.positions if workload.context is None else float(workload.context)
    padding = machine.runtime.context_padding
    return np.ceil(positions / padding) * padding


def kv_cache_bytes(model: Model, machine: Machine, workload: Workload) -> Real:
    """Cache of all sequences and layers [B].

    See kv_bytes_by_group.
    """
    total: Real = 0.0
    for size in kv_bytes_by_group(model, machine, workload).values():
        total = total + size
    return total


def kv_bytes_by_group(model: Model, machine: Machine, workload: Workload) -> dict[str, Real]:
    """Cache of all sequences by group of layers [B].

    Global layers: n_ctx · (K elements · K bytes + V elements · V bytes). Sliding layers hold their window and one
    ubatch (llama.cpp, src/llama-kv-cache-iswa.cpp, with swa_full off). Recurrent layers: their state, in f32.
    """
    key_bytes, value_bytes = (kv_layout(name).bytes_per_weight for name in workload.kv_types)
    ubatch = workload.ubatch or machine.runtime.ubatch
    padding = machine.runtime.context_padding
    positions = padded_context(machine, workload)
    found: dict[str, Real] = {}
    for group in model.groups:
        total: Real = 0.0
        layer, count = group.layer, len(group.indices)
        mixer = layer.attention or layer.latent_attention
        if mixer is not None:
            held = positions
            if np.isfinite(mixer.reach):
                held = np.minimum(positions, np.ceil((mixer.reach + ubatch) / padding) * padding)
            keys, values = mixer.kv_elements
            total = total + count * workload.batch * held * (keys * key_bytes + values * value_bytes)
        recurrent = layer.state_space or layer.delta_net
        if recurrent is not None:
            total = total + count * workload.batch * recurrent.state_elements * 4.0
        found[group.name] = total
    return found


def compute_buffer_bytes(model: Model, machine: Machine, workload: Workload) -> Real:
    """Largest set of activations alive at a time, for one ubatch [B].

    An upper estimate of what ggml's graph allocator finds: two hidden vectors a token, and beside them the largest of
    logits, the two FFN vectors, and (without flash attention) the scores of one layer against the whole cache.
    """
    ubatch = workload.ubatch or machine.runtime.ubatch
    flash = uses_flash_attention(machine, workload)
    widest: Real = float(model.vocab)
    for group in model.groups:
        layer = group.layer
        for matrix in layer.matrices(model.hidden):
            if matrix.role.startswith(("ffn_up", "ffn_gate")) and matrix.role != "ffn_gate_inp":
                widest = np.maximum(widest, 2.0 * matrix.rows * matrix.active)
        mixer = layer.attention or layer.latent_attention
        if mixer is not None and not flash:
            widest = np.maximum(widest, mixer.heads * padded_context(machine, workload))
    return ubatch * (widest + 2.0 * model.hidden) * ACTIVATION_BYTES


def uses_flash_attention(machine: Machine, workload: Workload) -> bool:
    """Whether attention runs fused: as asked, else as the backend does by default."""
    asked = workload.flash_attention
    return machine.engine.flash_attention if asked is None else asked
