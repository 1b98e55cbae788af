"""The calculator: model × weights × machine × workload → both phases, their bounds and their bill.

    t_op   = overlap(FLOP / rate, bytes / bandwidth)            ceilings.overlap, per operator
    t_step = Σ t_op + passes · nodes · t_node                   launches or barriers
    tok/s  = tokens / t_step

Every quantity may be a scalar or a numpy array (depths × batches, say); there is one implementation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np

from roofline.band import band
from roofline.ceilings import memory_share
from roofline.demand import Demand
from roofline.disk import disk_roof
from roofline.links import link_rate
from roofline.machine import Machine
from roofline.machines import Machines
from roofline.memory import ACTIVATION_BYTES, uses_flash_attention
from roofline.model import Model
from roofline.placement import OFFLOADED_FROM, Placement, device_name
from roofline.prediction import OperatorCost, Phase, Prediction, behind_disk, total
from roofline.quantization import kv_layout, layout
from roofline.runtime import Use, Uses
from roofline.spec import SpecError
from roofline.splitting import check_split
from roofline.stack import Stack, WeightStack
from roofline.tensor_parallel import divided
from roofline.weights import Share, Weights
from roofline.workload import Real, Step, Workload

STATE_BYTES = 4  # recurrent states are f32


def predict(
    model: Model,
    weights: Weights,
    machine: Machine,
    workload: Workload,
    placement: Placement | None = None,
    disk: float | None = None,
) -> Prediction:
    """Both phases of `workload`, and the memory it needs. placement: what lies on the machine's host.

    disk: rate at which weights that memory cannot hold are read from the disk [B/s]; None is not at all.

    Raises SpecError for a type or a setting that the runtime does not have, and for a figure that the hardware lacks.
    """
    check_supported(weights, machine, workload)
    ubatch = workload.ubatch or machine.runtime.ubatch
    prefill = decode = None
    if np.max(workload.prompt) > 0:
        prefill = run(model, weights, machine, workload, workload.prefill(ubatch), "prefill", placement)
    if np.max(workload.gen) > 0:
        decode = run(model, weights, machine, workload, workload.decode(ubatch), "decode", placement)
    result = Prediction(model, weights, machine, workload, prefill, decode, placement)
    return result if disk is None else _behind_disk(result, disk)


def _behind_disk(result: Prediction, rate: float) -> Prediction:
    """The prediction with a disk of `rate` [B/s] behind the memory."""
    around = result.placement.host if result.placement else None
    roof = disk_roof(result.memory, around or result.machine, rate)
    prefill, decode = (phase and behind_disk(phase, roof) for phase in (result.prefill, result.decode))
    return replace(result, prefill=prefill, decode=decode, disk=roof)


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
    quantised = any(kv_layout(name).is_quantised for name in workload.kv_types)
    check_split(machine, uses_flash_attention(machine, workload), quantised)


def run(
    model: Model,
    weights: Weights | WeightStack,
    machine: Machine | Machines,
    workload: Workload,
    step: Step,
    banded: Literal["decode", "prefill"] = "decode",
    placement: Placement | None = None,
) -> Phase:
    """The cost of one Step, whatever phase it is. banded: the phase whose band it gets."""
    costs = step_costs(model, weights, machine, workload, step, placement)
    # llama.cpp pipelines only what lies on the devices as a whole (llama-context.cpp, pipeline_parallel).
    share = pipeline_share(machine, step) if placement is None or placement.is_whole(model.layers) else 1.0
    return assemble(costs, machine, step, share, banded, placement)


def step_costs(
    model: Model,
    weights: Weights | WeightStack,
    machine: Machine | Machines,
    workload: Workload,
    step: Step,
    placement: Placement | None = None,
) -> tuple[OperatorCost, ...]:
    """The operators of a step, divided among the devices where each holds a part of every matrix."""
    costs = tuple(operator_costs(model, weights, machine, workload, step, placement))
    if isinstance(machine, Machine) and machine.split == "tensor":
        return divided(costs, model, machine, step)
    return costs


def assemble(
    costs: tuple[OperatorCost, ...],
    machine: Machine | Machines,
    step: Step,
    share: Real,
    banded: Literal["decode", "prefill"],
    placement: Placement | None = None,
) -> Phase:
    """A phase of operators already costed. share: of one device's time that they take together, see pipeline_share."""
    seconds = total(cost.seconds for cost in costs) * share
    light = _light_seconds(costs, machine, "")
    spread = band(machine, banded)
    if placement is not None:
        sides = [(one, device_name(index)) for index, one in enumerate(placement.devices)]
        for one, name in [*sides[1:], *([(placement.host, "host")] if placement.host else [])]:
            light = np.maximum(light, _light_seconds(costs, one, name))
            spread = max(spread, band(one, banded), key=lambda found: found.factor)
    return Phase(step, costs, seconds, light, machine.theoretical_bandwidth, spread)


def _light_seconds(costs: Sequence[OperatorCost], machine: Machine | Machines, device: str) -> Real:
    """The shortest time for a device's part [s]: all arithmetic overlaps all traffic, equal devices work side by side.

    Weights that the device fetches are read in the host's memory, and count there.
    """
    own = [cost for cost in costs if cost.device == device]
    arithmetic = total(cost.light_seconds for cost in own)
    traffic = total(cost.weight_bytes + cost.kv_bytes for cost in own) / machine.theoretical_bandwidth
    light: Real = np.maximum(arithmetic, traffic) / machine.count
    return light


def pipeline_share(machine: Machine | Machines, step: Step) -> Real:
    """Share of one device's time that n devices need, which hold the layers in turn [1].

    One pass goes through them one after the other and takes the time of one. Several passes follow each other like a
    pipeline of n stages: (passes + n − 1) / (n · passes), where at most batch / ubatch passes are in flight. Each pass
    of a generation needs the one before it. Devices among which every matrix is divided all work at once.
    """
    count = machine.count
    if count == 1 or not machine.engine.pipeline or machine.split == "tensor":
        return 1.0
    deepest = np.maximum(machine.runtime.batch // step.limit, 1.0)
    in_flight = np.where(step.chunk > 1, np.clip(step.passes, 1.0, deepest), 1.0)
    share: Real = (in_flight + count - 1) / (count * in_flight)
    return share


def operator_costs(
    model: Model,
    weights: Weights | WeightStack,
    machine: Machine | Machines,
    workload: Workload,
    step: Step,
    placement: Placement | None = None,
) -> list[OperatorCost]:
    """Every operator of a step with its bytes and times: groups of layers first, then embedding and head.

    Of several quantisations side by side only the sums over operators of a kind.
    """
    kv_bytes = _kv_bytes_per_element(model, workload)
    if isinstance(weights, WeightStack):
        if placement is not None:
            raise TypeError("quantisations side by side cannot be placed")
        return [_summed(stack, step, machine, workload, kv_bytes) for stack in weights.stacks(step)]
    costs: list[OperatorCost] = []
    for group, layers, demand in model.demands(step):
        for share in weights.shares_of(group, demand.operator, layers):
            cached = kv_bytes.get(group, 2.0)
            if placement is None:
                costs.append(_cost(demand, _load(demand, share, cached), group, share, step, machine, workload))
            else:
                costs += _placed(model, demand, group, share, step, placement, workload, cached)
    return costs if placement is None else [*costs, _transfers(model, step, placement)]


def _summed(
    stack: Stack, step: Step, machine: Machine | Machines, workload: Workload, kv_bytes: dict[str, float]
) -> OperatorCost:
    """A stack's operators, all layers of each quantisation together; what overlaps is worked out before the sums."""
    if workload.kv_types not in stack.known:  # what any machine has to move and compute
        load = _load(stack.demand, stack, stack.by_group(kv_bytes, 2.0))
        stack.known[workload.kv_types] = load, _Load(*stack.totals(load))
    load, loads = stack.known[workload.kv_types]
    one = _cost(stack.demand, load, "", stack, step, machine, workload)
    roofs = one.roof_seconds
    memory = roofs * memory_share(one.compute_seconds, one.memory_seconds, one.sharpness)
    times = stack.totals([roofs - memory, memory, one.overhead_seconds, one.light_seconds, one.nodes])
    compute, streaming, overhead, light, nodes = times
    return OperatorCost(
        stack.demand.operator, "", stack.demand.kind, "", 1, loads.flops, loads.weight_bytes, loads.kv_bytes,
        loads.activation_bytes, compute, streaming, 1.0, overhead, light,
        one.columns, nodes, loads.flops, loads.weight_bytes + loads.kv_bytes,
    )  # fmt: skip


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
    """An operator's parts on the devices and on their host; what goes with the layer has no tensor of its own."""
    role = demand.operator if demand.kind == "matmul" else ""
    on_host = placement.share_on_host(model, group, role)
    for index, machine in enumerate(placement.devices):
        here = placement.share_on(model, group, role, index)
        if np.any(here > 0):
            kept = replace(share, layers=share.layers * here)
            one = _cost(demand, _load(demand, kept, cached), group, kept, step, machine, workload)
            yield replace(one, device=device_name(index))
    if np.any(on_host > 0) and placement.host is not None:
        left = replace(share, layers=share.layers * on_host)
        load = _load(demand, left, cached)
        there = replace(_cost(demand, load, group, left, step, placement.host, workload), device="host")
        if placement.op_offload:
            first = _cost(demand, load, group, left, step, placement.device, workload)
            crossing = (first.weight_bytes + first.kv_bytes) / link_rate(placement.device, placement.host)
            fetched = replace(first, device="host", link_seconds=crossing)
            there = _where(step.columns >= OFFLOADED_FROM, fetched, there)
        yield there


def _transfers(model: Model, step: Step, placement: Placement) -> OperatorCost:
    """Activations on their way between host and device: a hidden vector a token, a wait a crossing.

    From one device to the next they pass through the host's memory, over the link of each.
    """
    wide = step.columns >= OFFLOADED_FROM
    crossings = np.where(wide, placement.crossings(model, True), placement.crossings(model, False)) * step.passes
    vector = model.hidden * step.columns * ACTIVATION_BYTES
    moved = crossings * vector
    host = placement.host
    seconds = moved / link_rate(placement.device, host) + crossings * placement.device.engine.crossing.value
    for one, other in pairwise([placement.devices[index] for index in placement.used(model)]):
        moved = moved + vector * step.passes
        both = vector / link_rate(one, host) + vector / link_rate(other, host)
        seconds = seconds + (both + one.engine.crossing.value) * step.passes
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


class _Load(NamedTuple):
    """What an operator asks of any machine: operations [FLOP] and bytes [B], all its layers together."""

    flops: Real
    weight_bytes: Real
    kv_bytes: Real
    activation_bytes: Real


def _load(demand: Demand, share: Share | Stack, kv_bytes_per_element: Real) -> _Load:
    """A demand in bytes, for the layers whose weights share a type; or many side by side."""
    count = share.layers
    cached = (demand.kv_read + demand.kv_written) * kv_bytes_per_element + demand.state * STATE_BYTES
    return _Load(
        demand.flops * count,
        demand.weights * share.bytes_per_element * count,
        cached * count,
        demand.activations * ACTIVATION_BYTES * count,
    )


def _cost(
    demand: Demand,
    load: _Load,
    group: str,
    share: Share | Stack,
    step: Step,
    machine: Machine | Machines,
    workload: Workload,
) -> OperatorCost:
    """The seconds that a demand takes, which is `load` in bytes."""
    engine, count = machine.engine, share.layers
    flash = uses_flash_attention(machine, workload)
    is_attention, is_matmul = demand.kind == "attention", demand.kind == "matmul"
    flops, weight_bytes, kv_bytes, activation_bytes = load
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
        wanted = Use(type_name, one_width and bool(few), is_attention, demand.routed, is_attention and flash)
        uses = Uses(wanted, share.types, share.index) if is_matmul and isinstance(share, Stack) else wanted
        compute, memory, sharpness = machine.times(uses, computed, streamed, activation_bytes, demand.columns, width)
        use = wanted if one_width and uses is wanted else None
        light = flops / machine.light_rate(uses)
    else:
        # Norms, gates and lookups stream through memory; their few operations hide behind it.
        compute, light, sharpness, streamed = 0.0, 0.0, float("inf"), weight_bytes + kv_bytes
        memory = (weight_bytes + kv_bytes) / machine.sustained_bandwidth + machine.activation_time(activation_bytes)
    nodes: Real = demand.nodes
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
