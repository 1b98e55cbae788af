"""What would change a prediction: one part of the machine at a time, another way to use it, other bits or depths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from roofline.calculator import predict, run
from roofline.inverse import most_layers
from roofline.links import pcie_generation
from roofline.machine import Machine, make_machine
from roofline.model import Model
from roofline.numa import nodes
from roofline.parts import has_own_memory
from roofline.placement import Placement, device_name
from roofline.prediction import Phase, Prediction
from roofline.spec import Figure, SpecError
from roofline.splitting import interconnect
from roofline.weights import Weights, weigh
from roofline.workload import Workload

#: How much faster a part is taken to be when it is asked which one is worth its money.
A_QUARTER = 1.25
NEWEST_PCIE = 5


@dataclass(frozen=True, slots=True)
class WhatIf:
    """A change and the speeds it would give [tok/s]; None where it does not fit."""

    change: str
    prefill_tok_s: float | None
    decode_tok_s: float | None


@dataclass(frozen=True, slots=True)
class _Case:
    """What is predicted instead, all else equal."""

    change: str
    machine: Machine
    placement: Placement | None
    weights: Weights
    workload: Workload


def what_if(prediction: Prediction) -> list[WhatIf]:
    """Speeds after one change at a time: memories, links, channels, cores, placement, quantisation, depth."""
    workload, weights = prediction.workload, prediction.weights
    now = _Case("", prediction.machine, prediction.placement, weights, workload)
    changes = [*_parts(now, prediction.model), *_ways(now)]
    if now.placement is None:
        changes += _cores(now)
    for quant in ("q8_0", "q4_k_m", "q2_k"):
        if quant != weights.quant:
            other = weigh(prediction.model, quant)
            changes.append(replace(now, change=f"{quant} for {weights.quant}", weights=other))
    for depth in (8192.0, 32768.0):
        deeper = replace(workload, depth=depth)
        changes.append(replace(now, change=f"after {depth:.0f} tokens of context", workload=deeper))
    disk = prediction.disk.rate if prediction.disk else None
    now_layers = now.placement.gpu_layers if now.placement else None
    results = []
    for case in changes:
        try:
            result = _predict(prediction.model, case, disk)
            if not result.runs and case.placement and case.placement.gpu_layers == now_layers:
                case = _refitted(prediction.model, case)
                result = _predict(prediction.model, case, disk)
        except SpecError:
            continue  # what this runtime or this hardware cannot do is no way out
        results.append(WhatIf(case.change, _speed(result.prefill, result.runs), _speed(result.decode, result.runs)))
    if prediction.disk and prediction.disk.is_used and disk:
        result = _predict(prediction.model, now, 2 * disk)
        faster = WhatIf("the disk 2× as fast", _speed(result.prefill, result.runs), _speed(result.decode, result.runs))
        results.insert(0, faster)
    return results


def _predict(model: Model, case: _Case, disk: float | None) -> Prediction:
    return predict(model, case.weights, case.machine, case.workload, case.placement, disk)


def _refitted(model: Model, case: _Case) -> _Case:
    """The case with as many layers on the devices as fit, where there is a host to take the others."""
    placement = case.placement
    if placement is None or placement.host is None:
        return case
    layers = most_layers(model, case.weights, placement, case.workload)
    change = f"{case.change}, {layers} layers on the GPU"
    return replace(case, change=change, placement=replace(placement, gpu_layers=layers))


def _speed(phase: Phase | None, runs: bool) -> float | None:
    return None if phase is None or not runs else float(phase.tok_s)


# -- parts -------------------------------------------------------------------------------------------------------------


def _parts(now: _Case, model: Model) -> Iterator[_Case]:
    """Faster memories, faster links and more layers on the device."""
    placement = now.placement
    for factor in (1.5, 2.0):
        for name, changed in faster_memories(now.machine, placement, factor):
            label = f"{name} {factor:g}× as fast"
            yield replace(now, change=label, machine=changed.device, placement=changed.placement)
    channels = now.machine.hardware.memory.channels
    if placement is None and channels:
        faster = scale_memory(now.machine, 2.0)
        yield replace(now, change=f"{2 * channels} memory channels for {channels}", machine=faster)
    yield from _newer_links(now)
    if placement and placement.gpu_layers <= model.layers:
        more = min(placement.gpu_layers + max(model.layers // 10, 1), model.layers + 1)
        label = f"{more} layers on the GPU for {placement.gpu_layers}"
        yield replace(now, change=label, placement=replace(placement, gpu_layers=more))


def _newer_links(now: _Case) -> Iterator[_Case]:
    """The next PCIe generation, at both ends, where weights or activations pass it."""
    host = now.placement.host if now.placement else None
    generation = pcie_generation(now.machine, host) or NEWEST_PCIE
    split = now.machine.split == "tensor" and interconnect(now.machine).name == "PCIe"
    if generation >= NEWEST_PCIE or not (split or (now.placement and has_own_memory(now.machine))):
        return
    newer = _on(now, f"PCIe {generation + 1}.0 for {generation}.0", _with_pcie(now.machine, generation + 1))
    if newer.placement and host:
        newer = replace(newer, placement=replace(newer.placement, host=_with_pcie(host, generation + 1)))
    yield newer


def _with_pcie(machine: Machine, generation: int) -> Machine:
    """The machine with at least that generation, where it states one."""
    link = machine.hardware.link
    if link is None or link.pcie_generation is None or link.pcie_generation >= generation:
        return machine
    return _with(machine, "link", link.model_copy(update={"pcie_generation": generation}))


def _on(now: _Case, change: str, device: Machine) -> _Case:
    """The case on another device, of the placement, too, where there is one."""
    placement = replace(now.placement, device=device) if now.placement else None
    return replace(now, change=change, machine=device, placement=placement)


@dataclass(frozen=True, slots=True)
class Changed:
    """A machine and its placement after a change of a part."""

    device: Machine
    placement: Placement | None


def faster_memories(device: Machine, placement: Placement | None, factor: float) -> Iterator[tuple[str, Changed]]:
    """(name, all parts) with each memory in turn `factor` times as fast: the device's, and its host's."""
    faster = scale_memory(device, factor)
    if placement is None:
        yield "memory", Changed(faster, None)
        return
    if placement.host is not None and not has_own_memory(device):  # one memory, for both
        host = scale_memory(placement.host, factor)
        yield "the memory", Changed(faster, replace(placement, device=faster, host=host))
        return
    name = "GPU 1's memory" if placement.others else "the GPU's memory"
    yield name, Changed(faster, replace(placement, device=faster))
    for index, other in enumerate(placement.others):
        others = (*placement.others[:index], scale_memory(other, factor), *placement.others[index + 1 :])
        yield f"{device_name(index + 1)}'s memory", Changed(device, replace(placement, others=others))
    if placement.host is not None:
        yield "the host's memory", Changed(device, replace(placement, host=scale_memory(placement.host, factor)))


def worth(prediction: Prediction) -> dict[str, float]:
    """What a quarter more bandwidth of each part gains in decode [1], the most first; empty without several parts.

    The parts of a placed or divided model: the memories, the link between them, and the disk where it is read.
    """
    machine, placement, phase = prediction.machine, prediction.placement, prediction.decode
    if phase is None or not phase.has_link:
        return {}
    changes = dict(faster_memories(machine, placement, A_QUARTER))
    if placement is None or has_own_memory(machine):
        faster = _scale_link(machine, A_QUARTER)
        changes["the link"] = Changed(faster, replace(placement, device=faster) if placement else None)
    gains = {}
    for name, changed in changes.items():
        one = run(
            prediction.model, prediction.weights, changed.device, prediction.workload, phase.step, "decode",
            changed.placement,
        )  # fmt: skip
        gains[name] = float(phase.seconds / (one.seconds + phase.disk_seconds)) - 1
    if np.any(np.asarray(phase.disk_seconds) > 0):
        rest = phase.seconds - phase.disk_seconds
        gains["the disk"] = float(phase.seconds / (rest + phase.disk_seconds / A_QUARTER)) - 1
    return dict(sorted(gains.items(), key=lambda item: -item[1]))


def scale_memory(machine: Machine, factor: float) -> Machine:
    """The machine with every bandwidth of its memory multiplied."""
    memory = machine.hardware.memory

    def scaled(figure: Figure | None) -> Figure | None:
        return None if figure is None else figure.model_copy(update={"value": figure.value * factor, "text": ""})

    update = {
        "transfer_rate": scaled(memory.transfer_rate),
        "bandwidth": scaled(memory.bandwidth),
        "sustained": {who: scaled(figure) for who, figure in memory.sustained.items()},
    }
    return _with(machine, "memory", memory.model_copy(update=update))


def _scale_link(machine: Machine, factor: float) -> Machine:
    """The machine with more lanes of PCIe and more links to its like."""
    link = machine.hardware.link
    if link is None:
        return machine
    nvlink = link.nvlink.model_copy(update={"value": link.nvlink.value * factor, "text": ""}) if link.nvlink else None
    lanes = link.pcie_lanes * factor if link.pcie_lanes else None
    return _with(machine, "link", link.model_copy(update={"nvlink": nvlink, "pcie_lanes": lanes}))


def _with(machine: Machine, field: str, value: object) -> Machine:
    """The machine with one part of its hardware replaced."""
    return replace(machine, hardware=machine.hardware.model_copy(update={field: value}))


# -- ways to use it ----------------------------------------------------------------------------------------------------


def _ways(now: _Case) -> Iterator[_Case]:
    """The same parts used differently: devices split the other way, joined by the other link, memories apart."""
    machine, count = now.machine, now.machine.hardware.count
    if count > 1:
        if machine.split == "tensor":
            yield _on(now, "layers in turn for divided tensors", replace(machine, split="layer", link=""))
            other = "nvlink" if machine.link == "pcie" else "pcie"
            words = {"nvlink": "NVLink for PCIe", "pcie": "PCIe for NVLink"}[other]
            link = machine.hardware.link
            if link and link.nvlink and (link.nvlink_devices or count) >= count:
                yield _on(now, words, replace(machine, link=other))
        elif machine.engine.tensor_split:
            yield _on(now, "divided tensors for layers in turn", replace(machine, split="tensor"))
    side = now.placement.host if now.placement else machine
    if side and side.backend == "cpu" and nodes(side.hardware) > 1 and side.numa != "mirror":
        yield _mirrored(now, side)


def _mirrored(now: _Case, side: Machine) -> _Case:
    """The weights on each NUMA node of the processor."""
    mirrored = replace(side, numa="mirror")
    change = f"weights mirrored on {nodes(side.hardware)} NUMA nodes"
    if now.placement:
        return replace(now, change=change, placement=replace(now.placement, host=mirrored))
    return replace(now, change=change, machine=mirrored)


def _cores(now: _Case) -> list[_Case]:
    """Half and twice as many cores of a processor, a thread on each."""
    machine = now.machine
    if machine.backend != "cpu":
        return []
    counts = sorted({max(1, machine.threads // 2), machine.threads * 2} - {machine.threads})
    return [
        replace(now, change=f"{count} cores for {machine.threads}", machine=_with_cores(machine, count))
        for count in counts
    ]


def _with_cores(machine: Machine, cores: int) -> Machine:
    """The machine with another number of fast cores, one thread on each."""
    cpu = machine.hardware.cpu
    assert cpu is not None  # only called for CPU backends
    fast = cpu.clusters[0].model_copy(update={"cores": -(-cores // cpu.sockets)})
    changed = cpu.model_copy(update={"clusters": (fast,), "threads": None})
    hardware = machine.hardware.model_copy(update={"cpu": changed})
    return replace(make_machine(hardware, machine.runtime, machine.backend, cores), numa=machine.numa)
