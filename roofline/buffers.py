"""What is held beside the weights: the KV cache by kind of layer, and the compute buffer of one ubatch."""

from __future__ import annotations

import math

import numpy as np

from roofline.blocks import Layer
from roofline.machine import Machine
from roofline.model import Model
from roofline.parts import Part, Stored
from roofline.placement import Placement
from roofline.quantization import kv_layout
from roofline.timing import Timing
from roofline.workload import Real, Workload

ACTIVATION_BYTES = 4  # llama.cpp keeps activations in f32
STATE_BYTES = 4  # and recurrent states
MASK_BYTES = {True: 2, False: 4}  # the mask of attention, fused and in steps


def uses_flash_attention(machine: Timing, workload: Workload) -> bool:
    """Whether attention runs fused: as asked, else as the backend does by default."""
    asked = workload.flash_attention
    return machine.engine.flash_attention if asked is None else asked


# -- the cache --------------------------------------------------------------------------------------------------------


def padded_context(machine: Machine, workload: Workload) -> Real:
    """Positions that the cache of one sequence holds: the context asked for, in steps of the runtime's padding [1]."""
    positions = workload.positions if workload.context is None else float(workload.context)
    padding = machine.runtime.context_padding
    return np.ceil(positions / padding) * padding


def positions_held(layer: Layer, machine: Machine, workload: Workload) -> Real:
    """Positions of one sequence that a layer's cache holds [1]: all, or of a sliding window it and one ubatch.

    llama.cpp, src/llama-kv-cache-iswa.cpp, with swa_full off.
    """
    positions = padded_context(machine, workload)
    mixer = layer.attention or layer.latent_attention
    if mixer is None or not np.isfinite(mixer.reach):
        return positions
    padding = machine.runtime.context_padding
    window = math.ceil((mixer.reach + (workload.ubatch or machine.runtime.ubatch)) / padding) * padding
    return np.minimum(positions, window)


def kv_cache_bytes(model: Model, machine: Machine, workload: Workload) -> Real:
    """Cache of all sequences and layers [B]; see kv_bytes_by_group."""
    total: Real = 0.0
    for size in kv_bytes_by_group(model, machine, workload).values():
        total = total + size
    return total


def kv_bytes_by_group(model: Model, machine: Machine, workload: Workload) -> dict[str, Real]:
    """Cache of all sequences by group of layers [B].

    Attention: positions · (K elements · K bytes + V elements · V bytes). Recurrent layers: their state, in f32.
    """
    key_bytes, value_bytes = (kv_layout(name).bytes_per_weight for name in workload.kv_types)
    found: dict[str, Real] = {}
    for group in model.groups:
        total: Real = 0.0
        layer, sequences = group.layer, len(group.indices) * workload.batch
        mixer = layer.attention or layer.latent_attention
        if mixer is not None:
            keys, values = mixer.kv_elements
            held = positions_held(layer, machine, workload)
            total = total + sequences * held * (keys * key_bytes + values * value_bytes)
        recurrent = layer.state_space or layer.delta_net
        if recurrent is not None:
            total = total + sequences * recurrent.state_elements * STATE_BYTES
        found[group.name] = total
    return found


# -- the compute buffer -----------------------------------------------------------------------------------------------


def compute_buffer_bytes(
    model: Model, machine: Machine, workload: Workload, part: Part | None = None, ways: int = 1
) -> Real:
    """Largest set of activations alive at a time, for one ubatch [B]; see compute_terms."""
    largest: Real = 0.0
    for size in compute_terms(model, machine, workload, part, ways).values():
        largest = np.maximum(largest, size)
    return largest if np.ndim(largest) else float(largest)


def compute_terms(
    model: Model, machine: Machine, workload: Workload, part: Part | None = None, ways: int = 1
) -> dict[str, Real]:
    """What the compute buffer has to hold at its three widest places [B], of which the largest decides.

    part: of the layers and the head, those that run here. ways: devices that divide each of them.

        logits      ubatch · (vocab + hidden)
        FFN         ubatch · (2 · width · active experts + 2 · hidden)
        attention   ubatch · (heads · positions + 4 · hidden) and the mask, the scores only without flash attention

    ggml's allocator has no closed form; these reproduce sizes that llama.cpp printed: 258.5 MiB for Llama 3.1 8B,
    164 and 2144 MiB for Mistral 7B without flash attention at 2048 and 32768 positions.
    """
    ubatch = workload.ubatch or machine.runtime.ubatch
    scale, flash = ubatch * ACTIVATION_BYTES, uses_flash_attention(machine, workload)
    sequences = workload.batch if machine.engine.shared_cache else 1.0
    found: dict[str, Real] = {}
    if part is None or part.output:
        found["logits"] = scale * (model.vocab / ways + model.hidden)
    for group in model.groups:
        layer = group.layer
        if part is not None and part.share_of(group) == 0:
            continue
        for matrix in layer.matrices(model.hidden):
            if matrix.role.startswith(("ffn_up", "ffn_gate")) and not matrix.role.startswith("ffn_gate_inp"):
                ffn = scale * (2.0 * matrix.rows * matrix.active / ways + 2.0 * model.hidden)
                found["FFN"] = np.maximum(found.get("FFN", 0.0), ffn)
        mixer = layer.attention or layer.latent_attention
        if mixer is not None:
            positions = positions_held(layer, machine, workload) * sequences
            scores: Real = 0.0 if flash else scale * mixer.heads / ways * positions
            size = scores + ubatch * MASK_BYTES[flash] * positions + scale * 4.0 * model.hidden
            found["attention"] = np.maximum(found.get("attention", 0.0), size)
    return found


def fetched_bytes(model: Model, stored: Stored, placement: Placement) -> float:
    """Room on the device for the largest tensor that a wide product fetches from the host [B].

    One at a time: each begins a new part of the graph (ggml-backend.cpp, ggml_backend_sched_split_graph).
    """
    if not placement.op_offload:
        return 0.0
    groups = {group.name: group for group in model.groups}
    matrices = {(name, one.role) for name, group in groups.items() for one in group.layer.matrices(model.hidden)}
    counts = {name: len(group.indices) for name, group in groups.items()} | {"": 1}
    return max(
        stored[key] / counts[key[0]] if placement.share_on_host(model, *key) > 0 else 0.0
        for key in {*matrices, ("", model.head.role)}
    )
