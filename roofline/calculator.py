"""The calculator: model × weights × machine × workload → both phases, their bounds and their bill.

    t_op   = overlap(FLOP / rate, bytes / bandwidth)            ceilings.overlap, per operator
    t_step = Σ t_op + passes · nodes · t_node                   launches or barriers
    tok/s  = tokens / t_step

Every quantity may be a scalar or a numpy array (depths × batches, say); there is one implementation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any, Literal

import numpy as np

from roofline.band import band
from roofline.demand import Demand
from roofline.machine import Machine
from roofline.memory import ACTIVATION_BYTES, uses_flash_attention
from roofline.model import Model
from roofline.placement import OFFLOADED_FROM, Placement
from roofline.prediction import OperatorCost, Phase, Prediction, total
from roofline.quantization import kv_layout, layout
from roofline.runtime import Use
from roofline.spec import SpecError
from roofline.weights import Share, Weights
from roofline.workload import Real, Step, Workload

STATE_BYTES = 4  # recurrent states are f32


def predict(
    model: Model, weights: Weights, machine: Machine, workload: Workload, placement: Placement | None = None
) -> Prediction:
    """Both phases of `workload`, and the memory it needs. placement: what lies on the machine's host.

    Raises SpecError for a type or a setting that the runtime does not have, and for a figure that the hardware lacks.
    """
    check_supported(weights, machine, workload)
    ubatch = workload.ubatch or machine.runtime.ubatch
    prefill = decode = None
    if np.max(workload.prompt) > 0:
        prefill = run(model, weights, machine, workload, workload.prefill(ubatch), "prefill", placement)
    if np.max(workload.gen) > 0:
        decode = run(model, weights, machine, workload, workload.decode(ubatch), "decode", placement)
    return Prediction(model, weights, machine, workload, prefill, decode, placement)


def check_supported(weights: Weights, machine: Machine, workload: Workload) -> None:
    """SpecError when the runtime cannot read a weight type, hold a cache type, or combine it with the attention."""
    runtime = machine.runtime
    for name in weights.bytes_by_type:
        if name in runtime.lacks:
            raise SpecError(
                f"--quant: expected weight types that {runtime.name} {runtime.period} can read, found {name!r}"
            )
    for name in workload.kv_types:
        if layout(name).family != "uniform" and name not in runtime.kv_types:
            raise SpecError(f"--kv: expected one of {', '.join(runtime.kv_types)} for {runtime.name}, found {name!r}")
    if kv_layout(workload.kv_types[1]).is_quantised and not uses_flash_attention(machine, workload):
        raise SpecError(
            f"--kv: expected f16, bf16 or f32 values without flash attention, found {workload.kv_types[1]!r}; "
            "--flash-attn allows it"
        )


def run(
    model: Model,
    weights: Weights,
    machine: Machine,
    workload: Workload,
    step: Step,
    banded: Literal["decode", "prefill"] = "decode",
    placement: Placement | None = None,
) -> Phase:
    """The cost of one Step, whatever phase it is. banded: the phase whose band it gets."""
    costs = tuple(operator_costs(model, weights, machine, workload, step, placement))
    seconds = total(cost.seconds for cost in costs) * pipeline_share(machine, step)
    light = _light_seconds(costs, machine, "")
    spread = band(machine, banded)
    if placement is not None:
        light = np.maximum(light, _light_seconds(costs, placement.host, "host"))
        spread = max(spread, band(placement.host, banded), key=lambda one: one.factor)
    return Phase(step, costs, seconds, light, machine.theoretical_bandwidth, spread)


def _light_seconds(costs: Sequence[OperatorCost], machine: Machine, device: str) -> Real:
    """The shortest time for a device's part [s]: all arithmetic overlaps all traffic, equal devices work side by side.

    Weights that the device fetches are read in the host's memory, and count there.
    """
    own = [cost for cost in costs if cost.device == device]
    arithmetic = total(cost.light_seconds for cost in own)
    traffic = total(cost.weight_bytes + cost.kv_bytes for cost in own) / machine.theoretical_bandwidth
    light: Real = np.maximum(arithmetic, traffic) / machine.hardware.count
    return light


def pipeline_share(machine: Machine, step: Step) -> Real:
    """Share of one device's time that n devices need, which hold the layers in turn [1].

    One pass goes through them one after the other and takes the time of one. Several passes follow each other like a
    pipeline of n stages: (passes + n − 1) / (n · passes), where at most batch / ubatch passes are in flight. Each pass
    of a generation needs the one before it.
    """
    count = machine.hardware.count
    if count == 1 or not machine.engine.pipeline:
        return 1.0
    deepest = np.maximum(machine.runtime.batch // step.limit, 1.0)
    in_flight = np.where(step.chunk > 1, np.clip(step.passes, 1.0, deepest), 1.0)
    share: Real = (in_flight + count - 1) / (count * in_flight)
    return share


def operator_costs(
    model: Model,
    weights: Weights,
    machine: Machine,
    workload: Workload,
    step: Step,
    placement: Placement | None = None,
) -> list[OperatorCost]:
    """Every operator of a step with its bytes and times: groups of layers first, then embedding and head."""
    kv_bytes = _kv_bytes_per_element(model, workload)
    costs: list[OperatorCost] = []
    for group, layers, demand in model.demands(step):
        for share in weights.shares_of(group, demand.operator, layers):
            cached = kv_bytes.get(group, 2.0)
            if placement is None:
                costs.append(_cost(demand, group, share, step, machine, workload, cached))
            else:
                costs += _placed(model, demand, group, share, step, placement, workload, cached)
    return costs if placement is None else [*costs, _transfers(model, step, placement)]


def _placed(
    model: Model,
    demand: Demand,
    group: str,
    share: Share,
    step: Step,
    placement: Placement,
    workload: Workload,
    cached: float,
) -> Iterator[OperatorCost]:
    """An operator's parts on the device and on its host; what goes with the layer has no tensor of its own."""
    on_host = placement.share_on_host(model, group, demand.operator if demand.kind == "matmul" else "")
    if on_host < 1:
        kept = replace(share, layers=share.layers * (1 - on_host))
        yield _cost(demand, group, kept, step, placement.device, workload, cached)
    if on_host > 0:
        left = replace(share, layers=share.layers * on_host)
        there = replace(_cost(demand, group, left, step, placement.host, workload, cached), device="host")
        if placement.op_offload:
            here = _cost(demand, group, left, step, placement.device, workload, cached)
            crossing = (here.weight_bytes + here.kv_bytes) / link_rate(placement)
            fetched = replace(here, device="host", link_seconds=crossing)
            there = _where(step.columns >= OFFLOADED_FROM, fetched, there)
        yield there


def link_rate(placement: Placement) -> float:
    """What the link between host and device carries [B/s]; SpecError where the device's file does not state it."""
    link = placement.device.hardware.link
    bandwidth = link.pcie_bandwidth if link else None
    if bandwidth is None:
        name = placement.device.hardware.name
        raise SpecError(f"{name}: link: expected pcie_generation and pcie_lanes for layers on the host, found none")
    return bandwidth * placement.device.engine.link_share.value


def _transfers(model: Model, step: Step, placement: Placement) -> OperatorCost:
    """Activations on their way between host and device: a hidden vector a token, a wait a crossing."""
    wide = step.columns >= OFFLOADED_FROM
    crossings = np.where(wide, placement.crossings(model, True), placement.crossings(model, False)) * step.passes
    moved = crossings * model.hidden * step.columns * ACTIVATION_BYTES
    seconds = moved / link_rate(placement) + crossings * placement.device.engine.crossing.value
    scalar = np.ndim(seconds) == 0
    return OperatorCost(
        "transfers", "", "link", "f32", 1, 0.0, 0.0, 0.0, float(moved) if scalar else moved, 0.0, 0.0, np.inf, 0.0, 0.0,
        step.columns, 0.0, 0.0, 0.0, None, "", float(seconds) if scalar else seconds,
    )  # fmt: skip


_NUMBERS = tuple(
    one.name
    for one in fields(OperatorCost)
    if one.name not in ("operator", "group", "kind", "type", "layers", "use", "device")
)


def _where(mask: Any, one: OperatorCost, other: OperatorCost) -> OperatorCost:
    """The one where the mask is true, else the other; element by element for an array."""
    if np.ndim(mask) == 0:
        return one if mask else other
    mixed = {name: np.where(mask, getattr(one, name), getattr(other, name)) for name in _NUMBERS}
    return replace(one, **mixed, use=None)


def _kv_bytes_per_element(model: Model, workload: Workload) -> dict[str, float]:
    """Mean bytes of a cached element by group: K and V may be stored differently and differ in width [B]."""
    key_bytes, value_bytes = (kv_layout(name).bytes_per_weight for name in workload.kv_types)
    means = {}
    for group in model.groups:
        mixer = group.layer.attention or group.layer.latent_attention
        if mixer is not None:
            keys, values = mixer.kv_elements
            means[group.name] = (keys * key_bytes + values * value_bytes) / (keys + values)
    return means


def _cost(
    demand: Demand,
    group: str,
    share: Share,
    step: Step,
    machine: Machine,
    workload: Workload,
    kv_bytes_per_element: float,
) -> OperatorCost:
    """One operator's demand as bytes and seconds, for the layers whose weights share a type."""
    engine, count = machine.engine, share.layers
    flash = uses_flash_attention(machine, workload)
    is_attention, is_matmul = demand.kind == "attention", demand.kind == "matmul"
    flops = demand.flops * count
    weight_bytes = demand.weights * share.bytes_per_element * count
    kv_bytes = (demand.kv_read + demand.kv_written) * kv_bytes_per_element * count + demand.state * STATE_BYTES * count
    activation_bytes = demand.activations * ACTIVATION_BYTES * count
    use: Use | None = None
    computed = flops
    type_name = workload.kv_types[0] if is_attention else share.type if is_matmul else "f32"
    if is_matmul or is_attention:
        streamed, width = (kv_bytes, step.chunk) if is_attention else (weight_bytes, step.columns)
        if demand.routed and engine.rereads_experts > 1:
            # demand.columns is how many tokens an expert serves: the engine reads it that many times.
            streamed = streamed * np.where(step.columns <= engine.rereads_experts, demand.columns, 1.0)
        if is_attention and engine.shared_cache:
            # A prompt meets the caches that are there so far, half of them in the mean; a generation meets all.
            others = np.where(step.chunk > 1, (step.batch + 1) / 2, step.batch)
            computed, streamed = flops * others, streamed * others
        few = machine.is_few(width)
        one_width = isinstance(few, bool)
        use = Use(type_name, one_width and bool(few), is_attention, demand.routed, is_attention and flash)
        compute, memory, sharpness = machine.times(use, computed, streamed, activation_bytes, demand.columns, width)
        use = use if one_width else None
        light = flops / machine.ceiling(type_name).peak
    else:
        # Norms, gates and lookups stream through memory; their few operations hide behind it.
        compute, light, sharpness, streamed = 0.0, 0.0, float("inf"), weight_bytes + kv_bytes
        memory = (weight_bytes + kv_bytes) / machine.sustained_bandwidth + machine.activation_time(activation_bytes)
    nodes = demand.nodes
    if is_matmul:
        nodes = engine.matmul_nodes
    elif is_attention and flash:
        nodes = engine.fused_attention_nodes
    launched = nodes * count * step.passes
    overhead = launched * machine.node_cost(step.columns)
    return OperatorCost(
        demand.operator, group, demand.kind, type_name, count, flops, weight_bytes, kv_bytes, activation_bytes,
        compute, memory, sharpness, overhead, light, demand.columns, launched, computed, streamed, use,
    )  # fmt: skip
