"""The memory bill line by line: weights by group of tensors, the cache by kind of layer, buffers, what is not usable.

Made only where somebody reads it; a sweep needs the sums alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roofline.buffers import compute_terms, fetched_bytes, kv_bytes_by_group, positions_held
from roofline.machine import Machine
from roofline.memory import capacities
from roofline.model import Group, Model
from roofline.parts import has_own_memory, stored_bytes
from roofline.prediction import Prediction
from roofline.weights import Weights
from roofline.workload import Workload

#: Groups of tensors, in the order of a bill.
TENSOR_GROUPS = (
    "token embedding", "attention", "recurrence", "FFN", "experts", "shared experts", "norms and other small tensors",
    "output head",
)  # fmt: skip
KINDS = ("global", "sliding", "recurrent")
ROUNDING = 1.0  # bytes by which sums of floats may differ


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bill. detail: what it is made of. size: bytes [B]; sizes of lines that `counts` add up."""

    item: str
    detail: str
    size: float
    counts: bool = True


@dataclass(frozen=True, slots=True)
class WeightLine:
    """Weights of one group of tensors. types: those with the most bytes first. size [B]."""

    group: str
    types: tuple[str, ...]
    size: float


@dataclass(frozen=True, slots=True)
class CacheLine:
    """The cache of one kind of layer. positions: held for a sequence, padding included [1]; 0 of a state. size [B]."""

    kind: str
    layers: int
    positions: float
    types: tuple[str, ...]
    size: float


# -- weights ----------------------------------------------------------------------------------------------------------


def weights_by_tensor_group(model: Model, weights: Weights) -> list[WeightLine]:
    """All stored weights by group of tensors, in the order of TENSOR_GROUPS; they add up to the file's tensors."""
    groups = {group.name: group for group in model.groups}
    sizes: dict[str, float] = {}
    types: dict[str, dict[str, float]] = {}
    for (name, role), size in stored_bytes(model, weights).items():
        group = _tensor_group(model, groups.get(name), role)
        sizes[group] = sizes.get(group, 0.0) + size
        shares = weights.shares_of(name, role, len(groups[name].indices) if name else 1)
        whole = sum(share.layers * share.bytes_per_element for share in shares)
        for share in shares:
            held = types.setdefault(group, {})
            held[share.type] = held.get(share.type, 0.0) + size * share.layers * share.bytes_per_element / whole
    small = "norms and other small tensors"
    sizes[small] = sizes.get(small, 0.0) + weights.file_bytes - sum(sizes.values())  # what only a file's table has
    return [
        WeightLine(group, tuple(sorted(types.get(group, {}), key=lambda one: -types[group][one])), sizes[group])
        for group in TENSOR_GROUPS
        if sizes.get(group, 0.0) > 0
    ]


def _tensor_group(model: Model, group: Group | None, role: str) -> str:
    """Which group of tensors a role belongs to; a tied embedding is the output head too, and counted as embedding."""
    if group is None:
        return {"token_embd": "token embedding", "output": "output head"}.get(role, "norms and other small tensors")
    layer = group.layer
    mixer = {matrix.role for matrix in layer.mixer.matrices(model.hidden)} if layer.mixer else set()
    if role in mixer:
        return "attention" if layer.attention or layer.latent_attention else "recurrence"
    if role in {matrix.role for matrix in layer.mlp.matrices(model.hidden)} if layer.mlp else set():
        return "FFN"
    if role.endswith("_exps"):
        return "experts"
    if role.endswith("_shexp") and not role.startswith("ffn_gate_inp"):
        return "shared experts"
    return "experts" if role.startswith("ffn_latent") else "norms and other small tensors"


# -- the cache --------------------------------------------------------------------------------------------------------


def kv_lines(model: Model, machine: Machine, workload: Workload) -> list[CacheLine]:
    """The cache of all sequences by kind of layer: global, sliding (by window), recurrent."""
    sizes = kv_bytes_by_group(model, machine, workload)
    found: dict[tuple[str, float], CacheLine] = {}
    for group in model.groups:
        mixer = group.layer.attention or group.layer.latent_attention
        if mixer is not None:
            positions = float(np.max(positions_held(group.layer, machine, workload)))
            kind = "sliding" if np.isfinite(mixer.reach) else "global"
            types = workload.kv_types if mixer.kv_elements[1] else workload.kv_types[:1]
        elif group.layer.mixer is not None:
            kind, positions, types = "recurrent", 0.0, ("f32",)
        else:
            continue
        layers, size = len(group.indices), float(np.max(sizes[group.name]))
        known = found.get((kind, positions))
        if known is not None:
            layers, size = layers + known.layers, size + known.size
        found[kind, positions] = CacheLine(kind, layers, positions, types, size)
    return sorted(found.values(), key=lambda line: KINDS.index(line.kind))


# -- the whole bill ---------------------------------------------------------------------------------------------------


def bill_lines(prediction: Prediction) -> list[Line]:
    """The bill of a single point, all devices and the host together; then what no program may use."""
    model, workload, bill = prediction.model, prediction.workload, prediction.memory
    lines = [_weight_line(prediction, one) for one in weights_by_tensor_group(model, prediction.weights)]
    host = bill.host.weights if bill.host else 0.0
    beyond = bill.weights + host - sum(line.size for line in lines if line.counts)
    if beyond > ROUNDING:
        lines.append(Line("repeated weights", _repeated(prediction), beyond))
    if bill.host_weights and model.tied_embeddings:
        lines.append(Line("token embedding", "a copy in the host's memory", bill.host_weights, counts=False))
    caches = kv_lines(model, prediction.machine, workload)
    for cache in caches:
        item = "KV cache" if cache.positions else "recurrent states"
        lines.append(Line(item, _cache_words(cache, workload), cache.size))
    whole = float(bill.kv_cache) + (float(bill.host.kv_cache) if bill.host else 0.0)
    if whole - sum(cache.size for cache in caches) > ROUNDING:
        repeated = whole - sum(cache.size for cache in caches)
        lines.append(Line("repeated cache", "on devices that hold the same KV heads", repeated))
    lines += _buffer_lines(prediction)
    return lines + _unusable(prediction)


def _weight_line(prediction: Prediction, line: WeightLine) -> Line:
    """Weights with their types, and that a tied embedding is the output head."""
    words = " ".join(line.types)
    if line.group != "token embedding":
        return Line(line.group, words, line.size)
    if prediction.model.tied_embeddings:
        return Line(line.group, f"{words}, the output head, too", line.size)
    away = prediction.memory.host_weights > 0 or prediction.placement is not None
    return Line(
        line.group, f"{words}, in the host's memory" if away else words, line.size, not prediction.memory.host_weights
    )


def _repeated(prediction: Prediction) -> str:
    """Why there are more weights than the file has."""
    if prediction.machine.numa == "mirror":
        return "mirrored on every NUMA node"
    if prediction.machine.split == "tensor":
        return "on every device, or not evenly divided"
    return "a copy of the token embedding as output head"


def _cache_words(line: CacheLine, workload: Workload) -> str:
    """'64 global layers, 32768 positions, K q8_0, V q8_0'."""
    layers = f"{line.layers} {line.kind} layer{'s' if line.layers > 1 else ''}"
    sequences = f", {float(np.max(workload.batch)):g} sequences" if np.max(workload.batch) > 1 else ""
    if not line.positions:
        return f"{layers}, f32{sequences}"
    types = ", ".join(f"{name} {kind}" for name, kind in zip("KV", line.types, strict=False))
    return f"{layers}, {line.positions:.0f} positions, {types}{sequences}"


def _buffer_lines(prediction: Prediction) -> list[Line]:
    """Compute buffer and context of all devices, and of the host."""
    bill, machine = prediction.memory, prediction.machine
    ways = machine.hardware.count if machine.split == "tensor" else 1
    terms = compute_terms(prediction.model, machine, prediction.workload, ways=ways)
    largest = max(terms, key=lambda name: float(np.max(terms[name])))
    words = f"largest: {largest}" + (f", of {len(bill.devices)} devices together" if bill.devices else "")
    if prediction.placement and has_own_memory(machine):
        stored = stored_bytes(prediction.model, prediction.weights)
        if fetched_bytes(prediction.model, stored, prediction.placement):
            words += ", and room for a tensor of the host's"
    lines = [Line("compute buffer", words, float(bill.compute)), Line("runtime", machine.backend, bill.context)]
    if bill.host is not None:
        lines += [Line("compute buffer", "host", float(bill.host.compute)), Line("runtime", "host", bill.host.context)]
    return lines


def _unusable(prediction: Prediction) -> list[Line]:
    """What of the memory no model gets: the system's or the driver's reserve, and beyond a GPU's share."""
    bill, placement = prediction.memory, prediction.placement
    devices = placement.devices if placement else (prediction.machine,)
    host = [placement.host] if placement and placement.host else []
    lines: dict[tuple[str, str], float] = {}
    for machine in (*devices, *host):
        engine, capacity = machine.engine, capacities(machine)[0]
        if capacity is not None and engine.usable.value < 1:
            share = "beyond the GPU's share", engine.usable.note
            lines[share] = lines.get(share, 0.0) + capacity * (1 - engine.usable.value)
        if engine.reserve.value:
            reserve = "reserve", engine.reserve.note
            lines[reserve] = lines.get(reserve, 0.0) + engine.reserve.value * machine.hardware.count
    if bill.repacked:
        lines["mapped file", "beside the repacked copy, given up when memory is short"] = bill.repacked
    return [Line(item, detail, size, counts=False) for (item, detail), size in lines.items()]
