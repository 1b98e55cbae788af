"""The calculator: model × weights × machine × workload → both phases, their bounds and their bill.

    t_op   = overlap(FLOP / rate, bytes / bandwidth)            ceilings.overlap, per operator
    t_step = Σ t_op + passes · nodes · t_node                   launches or barriers
    tok/s  = tokens / t_step

Every quantity may be a scalar or a numpy array (depths × batches, say); there is one implementation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from roofline.band import Band, band
from roofline.ceilings import memory_share, overlap
from roofline.demand import Demand
from roofline.machine import Machine
from roofline.memory import ACTIVATION_BYTES, MemoryBill, bill, uses_flash_attention
from roofline.model import Model
from roofline.placement import OFFLOADED_FROM, Placement
from roofline.quantization import kv_layout, layout
from roofline.runtime import Use
from roofline.spec import SpecError
from roofline.weights import Share, Weights
from roofline.workload import Real, Step, Workload

STATE_BYTES = 4  # recurrent states are f32


@dataclass(frozen=True, slots=True)
class OperatorCost:
    """One operator of one group of layers over a whole step, all layers together. Bytes [B], times [s].

    computed_flops, streamed_bytes: what the kernel really does, parts of it more than once or for nothing [FLOP], [B].
    columns: tokens that meet one matrix, or one cache, in a pass [1]. nodes: kernels launched, or barriers passed [1].
    use: what its kernel was wanted for; None for small operators, and where an array mixes few and many columns.
    device: 'host' for what a placement leaves there, '' for the machine itself. link_seconds: on the way between them.
    """

    operator: str
    group: str
    kind: str
    type: str
    layers: float
    flops: Real
    weight_bytes: Real
    kv_bytes: Real
    activation_bytes: Real
    compute_seconds: Real
    memory_seconds: Real
    sharpness: Real
    overhead_seconds: Real
    light_seconds: Real
    columns: Real
    nodes: Real
    computed_flops: Real
    streamed_bytes: Real
    use: Use | None = None
    device: str = ""
    link_seconds: Real = 0.0

    @property
    def bytes(self) -> Real:
        """All bytes moved [B]."""
        return self.weight_bytes + self.kv_bytes + self.activation_bytes

    @property
    def intensity(self) -> Real:
        """Arithmetic intensity [FLOP/B]."""
        return self.flops / self.bytes

    @property
    def roof_seconds(self) -> Real:
        """Time under the two roofs, without overhead [s]."""
        return overlap(self.compute_seconds, self.memory_seconds, self.sharpness)

    @property
    def seconds(self) -> Real:
        """Time with overhead and link [s]."""
        return self.roof_seconds + self.overhead_seconds + self.link_seconds


@dataclass(frozen=True)
class Phase:
    """One phase, prefill or decode. Speeds count tokens of all sequences [1/s]; low to high is the 80 % band."""

    step: Step
    operators: tuple[OperatorCost, ...]
    seconds: Real
    light_seconds: Real
    bandwidth: float
    band: Band

    @cached_property
    def tok_s(self) -> Real:
        """Expected speed [1/s]."""
        return self.step.tokens / self.seconds

    @cached_property
    def ceiling_tok_s(self) -> Real:
        """Speed of light [1/s]: every peak reached, all overlapped, nothing else to do."""
        return self.step.tokens / self.light_seconds

    @property
    def low_tok_s(self) -> Real:
        """Lower end of the band [1/s]."""
        return self.tok_s / self.band.factor

    @property
    def high_tok_s(self) -> Real:
        """Upper end of the band [1/s], which light limits."""
        return np.minimum(self.tok_s * self.band.factor, np.maximum(self.ceiling_tok_s, self.tok_s))

    @cached_property
    def flops(self) -> Real:
        """Operations of the whole phase [FLOP]."""
        return _total(cost.flops for cost in self.operators)

    @cached_property
    def bytes(self) -> Real:
        """Bytes moved in the whole phase [B]."""
        return _total(cost.bytes for cost in self.operators)

    @property
    def weight_bytes(self) -> Real:
        """Weight bytes read in the whole phase [B]."""
        return _total(cost.weight_bytes for cost in self.operators)

    @property
    def kv_bytes(self) -> Real:
        """KV-cache and state bytes moved in the whole phase [B]."""
        return _total(cost.kv_bytes for cost in self.operators)

    @property
    def intensity(self) -> Real:
        """Arithmetic intensity [FLOP/B]."""
        return self.flops / self.bytes

    @cached_property
    def ridge_point(self) -> Real:
        """Intensity at which the phase would turn compute-bound at the speed of light [FLOP/B]."""
        arithmetic = _total(cost.light_seconds for cost in self.operators)
        return self.flops / arithmetic / self.bandwidth

    @cached_property
    def shares(self) -> dict[str, Real]:
        """Seconds due to compute, memory and overhead, and to the link where there is one [s]."""
        memory = _total(
            cost.roof_seconds * memory_share(cost.compute_seconds, cost.memory_seconds, cost.sharpness)
            for cost in self.operators
        )
        overhead = _total(cost.overhead_seconds for cost in self.operators)
        roofs = _total(cost.roof_seconds for cost in self.operators)
        link = {"link": _total(cost.link_seconds for cost in self.operators)} if self.is_placed else {}
        return {"compute": roofs - memory, "memory": memory, "overhead": overhead, **link}

    @cached_property
    def is_placed(self) -> bool:
        """Whether parts of it ran on the host."""
        return any(cost.device for cost in self.operators)

    @cached_property
    def device_seconds(self) -> dict[str, Real]:
        """Seconds on the device (''), on the host, and on the link between them [s]."""
        found: dict[str, Real] = {}
        for cost in self.operators:
            found[cost.device] = found.get(cost.device, 0.0) + cost.roof_seconds + cost.overhead_seconds
        return {**found, "link": _total(cost.link_seconds for cost in self.operators)}

    @cached_property
    def bound(self) -> str | NDArray[np.str_]:
        """What most of the time goes to: compute, memory, overhead, or the link."""
        names = tuple(self.shares)
        parts = np.broadcast_arrays(*self.shares.values())
        winner = np.argmax(np.stack(parts), axis=0)
        return names[int(winner)] if np.ndim(winner) == 0 else np.array(names)[winner]


@dataclass(frozen=True)
class Prediction:
    """What is expected of a model on a machine; a phase of which no tokens were asked for is None."""

    model: Model
    weights: Weights
    machine: Machine
    workload: Workload
    prefill: Phase | None
    decode: Phase | None
    placement: Placement | None = None
    names: dict[str, str] = field(default_factory=dict)

    @cached_property
    def memory(self) -> MemoryBill:
        """What has to be held."""
        return bill(self.model, self.weights, self.machine, self.workload, self.placement)

    @property
    def ttft_s(self) -> Real | None:
        """Time to first token: the prompt of all sequences [s]."""
        return self.prefill.seconds if self.prefill else None

    @property
    def tpot_s(self) -> Real | None:
        """Time per output token of one sequence [s]."""
        return self.decode.seconds / self.workload.gen if self.decode else None

    @property
    def total_s(self) -> Real:
        """Prompt and generation [s]."""
        return (self.prefill.seconds if self.prefill else 0.0) + (self.decode.seconds if self.decode else 0.0)


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
    seconds = _total(cost.seconds for cost in costs) * pipeline_share(machine, step)
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
    arithmetic = _total(cost.light_seconds for cost in own)
    traffic = _total(cost.weight_bytes + cost.kv_bytes for cost in own) / machine.theoretical_bandwidth
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


def _total(values: Iterable[Real]) -> Real:
    """Sum of scalars and arrays of different shapes."""
    total: Real = 0.0
    for value in values:
        total = total + value
    return total
