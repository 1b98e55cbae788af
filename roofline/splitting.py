"""Every matrix divided among several devices: who does what, what lies where, and what joining the results costs.

Tensor parallelism after Megatron-LM (Shoeybi et al. 2019, arXiv 1909.08053, section 3): attention is divided by heads,
the feed-forward network by its width, the output head by the vocabulary. After the mixer and after the network each
device holds a partial sum of every token's hidden vector, which all have to add up: two all-reduces a layer. Norms,
routers and the joint projections of latent attention are repeated on every device. llama.cpp does so with
`--split-mode tensor` (docs/multi-gpu.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from roofline.blocks import Attention, DeltaNet, LatentAttention, Layer
from roofline.machine import Machine
from roofline.model import Group, Model
from roofline.runtime import Reduction
from roofline.spec import SpecError
from roofline.weights import Weights
from roofline.workload import Real

MODES = ("layer", "tensor")
LINKS = ("nvlink", "pcie")
#: Operators of which every device does the whole.
REPEATED = frozenset(
    (
        "ffn_gate_inp", "ffn_gate_inp_shexp", "ffn_latent_down", "ffn_latent_up", "attn_q_a", "attn_kv_a_mqa",
        "routing", "norms and sums", "output_norm",
    )
)  # fmt: skip
_KEYS_AND_VALUES = ("attn_k", "attn_v")
_OF_THE_NETWORK = ("ffn_", "activation", "output", "token_embd")


# -- what a device has to do -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """What the busiest device does of an operator: shares of its arithmetic and of what it reads [1]."""

    compute: float
    memory: float


def part(layer: Layer | None, operator: str, kind: str, ways: int) -> Part:
    """The busiest of `ways` devices' part of an operator; layer None is outside the layers: embedding and head."""
    if operator in REPEATED or kind == "lookup":
        return Part(1.0, 1.0)
    if layer is None or operator.startswith(_OF_THE_NETWORK):
        return Part(1 / ways, 1 / ways)
    queries, cached = head_shares(layer, ways)
    if kind == "attention":
        return Part(queries, cached)
    if operator in _KEYS_AND_VALUES:
        return Part(cached, cached)
    if operator == "attn_qkv" and layer.attention is not None:
        # Queries, keys and values in one matrix: rows of each by its own share.
        heads, kv_heads = layer.attention.heads, layer.attention.kv_heads
        joint = (heads * queries + 2 * kv_heads * cached) / (heads + 2 * kv_heads)
        return Part(joint, joint)
    return Part(queries, queries)


def head_shares(layer: Layer, ways: int) -> tuple[float, float]:
    """(share of the query heads, share of the cache) of the device with the most heads [1].

    Heads are not divided. While there are enough, a device takes whole groups of queries with the KV head they share;
    with more devices than KV heads several hold a copy of the same one.
    """
    mixer = layer.mixer
    if isinstance(mixer, (Attention, LatentAttention)):
        cached = _most(mixer.kv_heads, ways)
        return (cached if mixer.kv_heads >= ways else _most(mixer.heads, ways)), cached
    if mixer is None:
        return 1 / ways, 1 / ways
    heads = mixer.value_heads if isinstance(mixer, DeltaNet) else mixer.heads
    return _most(heads, ways), _most(heads, ways)


def _most(count: int, ways: int) -> float:
    """The largest part when `count` indivisible things are shared `ways` ways [1]."""
    return math.ceil(count / ways) / count


def copies_of_cache(layer: Layer, ways: int) -> float:
    """How often the cache of a layer is held, all devices together [1]; 1 where the heads divide evenly."""
    return head_shares(layer, ways)[1] * ways


def repeats_cache(model: Model, ways: int) -> bool:
    """Whether there are more devices than KV heads in some layer, so that parts of the cache are held twice."""
    mixers = [group.layer.attention or group.layer.latent_attention for group in model.groups]
    return any(mixer is not None and mixer.kv_heads < ways for mixer in mixers)


def repeated_bytes(model: Model, weights: Weights, ways: int) -> float:
    """Bytes of weights beyond one copy, all devices together [B]: what is repeated, what does not divide evenly."""
    groups = {index: group for group in model.groups for index in group.indices}
    found = 0.0
    for tensor in model.tensors():
        group = groups[tensor.layer] if tensor.layer is not None else None
        if tensor.role == "token_embd":
            continue  # a row a token is read, from one copy; a tied head is divided
        share = _stored(group, tensor.role, len(tensor.shape), ways)
        name = group.name if group else ""
        layers = len(group.indices) if group else 1
        stored = sum(one.layers * one.bytes_per_element for one in weights.shares_of(name, tensor.role, layers))
        found += tensor.elements * stored / layers * (share * ways - 1)
    return found


def _stored(group: Group | None, role: str, dimensions: int, ways: int) -> float:
    """The share of a tensor that the device with the most of it holds [1]; vectors are repeated."""
    return 1.0 if dimensions == 1 else part(group.layer if group else None, role, "matmul", ways).memory


# -- what joins the devices --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Interconnect:
    """What joins devices. bandwidth: achieved by each in one direction [B/s]. hop: of a step to the next device [s]."""

    name: str
    bandwidth: float
    hop: float


def interconnect(machine: Machine) -> Interconnect:
    """NVLink where the devices have one that joins so many, else PCIe through the host; SpecError where neither."""
    hardware, engine = machine.hardware, machine.engine
    reduction, link = _reduction(machine), hardware.link
    one_way = link.nvlink_bandwidth if link else None
    reach = link.nvlink_devices if link else None
    if one_way is not None and machine.link != "pcie" and (reach is None or hardware.count <= reach):
        return Interconnect("NVLink", one_way * engine.nvlink_share.value, reduction.nvlink_hop.value)
    if machine.link == "nvlink":
        found = "none" if one_way is None else f"one that joins {reach}"
        raise SpecError(f"--link: expected devices with NVLink for all {hardware.count}, found {found}")
    lanes = link.pcie_bandwidth if link else None
    if lanes is None:
        raise SpecError(
            f"{hardware.name}: link: expected pcie_generation and pcie_lanes, or nvlink, to split tensors, found none"
        )
    crossings = reduction.pcie_crossings.value
    return Interconnect("PCIe", lanes * engine.link_share.value / crossings, reduction.pcie_hop.value * crossings)


def _reduction(machine: Machine) -> Reduction:
    """The engine's costs of a reduction; SpecError where it has none."""
    found = machine.engine.reduction
    if found is None or not machine.engine.tensor_split:
        runtime = machine.runtime
        raise SpecError(
            f"--split: expected layer, since {runtime.name} {runtime.period} divides no tensors under "
            f"{machine.backend}, found tensor"
        )
    return found


def reduce_seconds(elements: Real, machine: Machine, link: Interconnect, wide: float = 4.0) -> Real:
    """Time to add up a vector of `elements` numbers that every device has a part of [s]; `wide` bytes each [B].

    The ring, or where the engine has it and it is faster, one shot. Long vectors are sent in half the bytes.
    """
    reduction, devices = _reduction(machine), machine.hardware.count
    size = elements * wide
    if reduction.half_from:
        longest = reduction.half_from[min(devices - 2, len(reduction.half_from) - 1)]
        size = size * np.where(np.greater_equal(elements, longest), 0.5, 1.0)
    seconds = ring_seconds(size, devices, link.bandwidth, link.hop)
    if reduction.one_shot:
        seconds = np.minimum(seconds, one_shot_seconds(size, devices, link.bandwidth, link.hop))
    return reduction.start.value + seconds


def ring_seconds(size: Real, devices: Real, bandwidth: Real, hop: Real) -> Real:
    """All-reduce of `size` bytes round a ring [s]: 2(n − 1) steps, each with the n-th part of the bytes.

    Thakur, Rabenseifner & Gropp 2005 (doi 10.1177/1094342005051521), section 4.5; NCCL counts the same
    (nccl-tests, doc/PERFORMANCE.md). The reduction's arithmetic is left out.
    """
    steps = 2 * (devices - 1)
    return steps * hop + steps / devices * size / bandwidth


def one_shot_seconds(size: Real, devices: Real, bandwidth: Real, hop: Real) -> Real:
    """All-reduce in one step [s]: each device reads the whole vector of each other (vLLM, pull request 2192)."""
    return hop + (devices - 1) * size / bandwidth


def gather_seconds(size: Real, devices: Real, bandwidth: Real, hop: Real) -> Real:
    """Bringing together `size` bytes of which every device has the n-th part [s]: half of ring_seconds."""
    return ring_seconds(size, devices, bandwidth, hop) / 2


def reductions(model: Model) -> int:
    """All-reduces of a pass [1]: one after the mixer of each layer, one after what follows it."""
    return sum(
        len(group.indices) * ((group.layer.mixer is not None) + bool(group.layer.mlp or group.layer.experts))
        for group in model.groups
    )


def check_split(machine: Machine, flash: bool, quantised_cache: bool) -> None:
    """SpecError for a tensor split that the machine or its engine cannot do.

    flash: whether attention runs fused, which llama.cpp asks for; quantised_cache: which it does not divide.
    """
    if machine.split not in MODES:
        raise SpecError(f"--split: expected one of {', '.join(MODES)}, found {machine.split!r}")
    if machine.link not in ("", *LINKS):
        raise SpecError(f"--link: expected one of {', '.join(LINKS)}, found {machine.link!r}")
    if machine.split != "tensor":
        if machine.link:
            raise SpecError(f"--link: expected devices that divide tensors (--split tensor), found {machine.link}")
        return
    name = machine.hardware.name
    if machine.backend == "cpu":
        raise SpecError(f"--split: expected several GPUs for tensor, found the processor {name}; see --numa")
    if machine.hardware.count == 1:
        raise SpecError(f"--split: expected several devices for tensor, as in rtx-3090x2, found one {name}")
    interconnect(machine)
    if not flash:
        raise SpecError("--split: expected flash attention for tensor, found --no-flash-attn")
    if quantised_cache:
        raise SpecError("--split: expected a cache of f16, bf16 or f32 for tensor, found a quantised one")
