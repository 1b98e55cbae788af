"""The working behind a prediction: the per-operator table and every figure used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from roofline.calculator import run
from roofline.machine import Machine
from roofline.prediction import Phase, Prediction
from roofline.runtime import Constant, Kernel
from roofline.spec import Source
from roofline.splitting import interconnect
from roofline.units import format_number, format_quantity
from roofline.workload import Step


@dataclass(frozen=True, slots=True)
class Line:
    """One operator of a phase, all layers together; see prediction.OperatorCost for the units.

    device: 'host' for what a placement leaves in the host's memory, else ''.
    """

    phase: str
    operator: str
    group: str
    type: str
    layers: float
    device: str
    flops: float
    weight_bytes: float
    kv_bytes: float
    activation_bytes: float
    intensity: float
    seconds: float
    bound: str
    share: float


def operator_table(phase: Phase, name: str) -> list[Line]:
    """The operators of a phase with their shares of its time, in the order in which they run.

    What moves nothing and takes no time, such as transfers to a host that has no layer, is left out.
    """
    total = sum(float(cost.seconds) for cost in phase.operators)
    lines = []
    for cost in phase.operators:
        if not float(cost.bytes) and not float(cost.seconds):
            continue
        parts = {"compute": cost.compute_seconds, "memory": cost.memory_seconds, "overhead": cost.overhead_seconds}
        parts |= {"link": cost.link_seconds} if phase.has_link else {}
        parts |= {"disk": cost.disk_seconds} if cost.kind == "disk" else {}
        lines.append(
            Line(
                name,
                cost.operator,
                cost.group,
                cost.type,
                round(cost.layers, 2),
                cost.device,
                float(cost.flops),
                float(cost.weight_bytes),
                float(cost.kv_bytes),
                float(cost.activation_bytes),
                float(cost.intensity) if float(cost.bytes) else 0.0,
                float(cost.seconds),
                max(parts, key=lambda part: float(parts[part])),
                float(cost.seconds) / total,
            )
        )
    return lines


def compute_bound_batch(prediction: Prediction) -> float:
    """Sequences from which decode is compute-bound at the speed of light, the cache left out [1].

    Weights are read once for all sequences, arithmetic grows with them: B = (W / bandwidth) / (F / peak), with the
    weight bytes W and the FLOP F of one token. For f16 weights it is peak / bandwidth, the ridge point.
    """
    workload = replace(prediction.workload, batch=1.0, gen=1.0, depth=0.0, prompt=0.0)
    step = Step(1.0, 1.0, 0.0, 1.0)
    phase = run(prediction.model, prediction.weights, prediction.machine, workload, step)
    arithmetic = sum(float(cost.light_seconds) for cost in phase.operators if cost.kind == "matmul")
    traffic = float(phase.weight_bytes) / prediction.machine.theoretical_bandwidth
    return traffic / arithmetic


@dataclass(frozen=True, slots=True)
class Used:
    """A figure that the prediction rests on. file: where it stands; source: what it cites."""

    name: str
    value: str
    basis: str
    source: str
    url: str
    file: str
    note: str


def figures_used(prediction: Prediction) -> list[Used]:
    """Every figure and constant behind the numbers: hardware first, then the model, then the runtime; each once.

    Of devices that work together those of each, and what joins them.
    """
    sides = _sides(prediction)
    linked = [one for one in sides if _is_linked(prediction)]
    found = [used for one, file in sides for used in _hardware_figures(one, file)]
    found += [used for one, file in linked for used in _link_figures(one, file)]
    found += _model_figures(prediction)
    found += [used for one, _ in sides for used in _runtime_constants(prediction, one)]
    found += _joining_constants(prediction)
    return list(dict.fromkeys(found))


def _sides(prediction: Prediction) -> list[tuple[Machine, str]]:
    """The device with its file, then the others and the host of a placement."""
    placement, names = prediction.placement, prediction.names
    first, files = names.get("hardware_file", ""), [path for key, path in names.items() if key.startswith("device_")]
    sides = [(prediction.machine, first)]
    if placement is None:
        return sides
    known = [prediction.machine.hardware.name]
    for other in placement.others:
        if other.hardware.name not in known:
            known.append(other.hardware.name)
            sides.append((other, files[len(known) - 2] if len(known) - 2 < len(files) else first))
    return [*sides, (placement.host, names.get("host_file", first))] if placement.host else sides


def _is_linked(prediction: Prediction) -> bool:
    return any(phase is not None and phase.has_link for phase in (prediction.prefill, prediction.decode))


def _hardware_figures(machine: Machine, file: str) -> list[Used]:
    hardware = machine.hardware
    relevant = ("memory.", "cpu.clusters") if machine.backend == "cpu" else ("memory.", "gpu.peak")
    return [
        Used(path, str(figure), figure.basis, *_citation(hardware.sources, figure.source), file, figure.note)
        for path, figure in hardware.figures().items()
        if path.startswith(relevant) and not path.startswith(("memory.variants", "memory.options"))
    ]


def _link_figures(machine: Machine, file: str) -> list[Used]:
    """What joins a device to its host and to its like, so far as its file says."""
    hardware, link = machine.hardware, machine.hardware.link
    if link is None:
        return []
    found = []
    if link.pcie_generation:
        lanes = f", {link.pcie_lanes} lanes" if link.pcie_lanes else ""
        citation = _citation(hardware.sources, link.pcie_source)
        found.append(Used("link.pcie", f"PCIe {link.pcie_generation}.0{lanes}", "datasheet", *citation, file, ""))
    if link.nvlink and machine.split == "tensor":
        citation = _citation(hardware.sources, link.nvlink.source)
        found.append(Used("link.nvlink", str(link.nvlink), link.nvlink.basis, *citation, file, link.nvlink.note))
    return found


def _citation(sources: Mapping[str, Source], key: str) -> tuple[str, str]:
    """(title, url) of a source by its key; the key itself where it is not defined."""
    source = sources.get(key)
    return (source.title, source.url) if source else (key, "")


def _model_figures(prediction: Prediction) -> list[Used]:
    model, weights = prediction.model, prediction.weights
    file = prediction.names.get("model_file", "")
    count, size = f"{model.parameter_count:,}", format_quantity(weights.file_bytes, "B")
    bits = f"{format_number(weights.bits_per_weight)} bits per weight"
    return [
        Used("parameters", count, "derived", *_citation(model.sources, model.source), file, "counted from the shape"),
        Used("weights", size, "derived", f"{weights.quant}, tensor by tensor", "", file, bits),
    ]


def _runtime_constants(prediction: Prediction, machine: Machine) -> list[Used]:
    """The constants of one side's backend, and its kernels."""
    engine, file = machine.engine, prediction.names.get("runtime_file", "")
    prefix = f"{machine.backend}."
    named: list[tuple[str, Constant, str]] = [
        (f"{prefix}memory", machine.bandwidth_share, "share of the theoretical bandwidth"),
        (f"{prefix}sharpness", engine.sharpness, "p of the overlap"),
    ]
    if machine.backend == "cpu" and engine.barrier:
        named += [
            (f"{prefix}barrier.base", engine.barrier.base, "s"),
            (f"{prefix}barrier.per_thread", engine.barrier.per_thread, "s"),
        ]
        if machine.joined_sockets > 1:
            named.append((f"{prefix}socket_share", engine.socket_share, "of the sockets' sum"))
        if machine.core_bandwidth:
            named.append((f"{prefix}core_bandwidth", machine.core_bandwidth, "B per cycle and core"))
        if engine.thread_loss:
            named.append((f"{prefix}thread_loss", engine.thread_loss, "threads"))
    else:
        named.append((f"{prefix}launch", machine.launch, "s"))
    for label, kernel in _kernels_used(prediction, machine):
        rate = kernel.efficiency or kernel.per_cycle
        if rate is not None:
            unit = f"of peak {kernel.path}" if kernel.efficiency else "operations per cycle and core"
            named.append((f"{prefix}kernel {label}", rate, unit))
    return _cited(machine, named, file)


def _joining_constants(prediction: Prediction) -> list[Used]:
    """What the engine counts for links, crossings and reductions, and the disk as it was given."""
    machine, placement, rate = prediction.machine, prediction.placement, prediction.disk and prediction.disk.rate
    engine, prefix = machine.engine, f"{machine.backend}."
    named: list[tuple[str, Constant, str]] = []
    if _is_linked(prediction):
        named.append((f"{prefix}link_share", engine.link_share, "of the link"))
        if placement is not None:
            named.append((f"{prefix}crossing", engine.crossing, "s"))
        if machine.split == "tensor" and engine.reduction is not None:
            nvlink = interconnect(machine).name == "NVLink"
            hop = engine.reduction.nvlink_hop if nvlink else engine.reduction.pcie_hop
            named += [(f"{prefix}reduction.start", engine.reduction.start, "s"), (f"{prefix}reduction.hop", hop, "s")]
            if nvlink:
                named.append((f"{prefix}nvlink_share", engine.nvlink_share, "of one direction"))
            else:
                crossings = engine.reduction.pcie_crossings
                named.append((f"{prefix}reduction.pcie_crossings", crossings, "times over PCIe"))
    found = _cited(machine, named, prediction.names.get("runtime_file", ""))
    return [*found, Used("disk", format_quantity(rate, "B/s"), "given", "--disk", "", "", "")] if rate else found


def _cited(machine: Machine, named: Sequence[tuple[str, Constant, str]], file: str) -> list[Used]:
    """Constants, each with its unit, as figures with their sources."""
    return [
        Used(
            name, _constant_words(one, unit), one.basis, *_citation(machine.runtime.sources, one.source), file, one.note
        )
        for name, one, unit in named
    ]


def _constant_words(constant: Constant, unit: str) -> str:
    return format_quantity(constant.value, "s") if unit == "s" else f"{format_number(constant.value)} {unit}"


def _kernels_used(prediction: Prediction, machine: Machine) -> list[tuple[str, Kernel]]:
    """The kernels behind the operators of a side, each once, labelled by type and width.

    The device runs what it fetches from its host, too.
    """
    placement, found = prediction.placement, {}
    on_host = placement is not None and machine is placement.host
    for phase in (prediction.prefill, prediction.decode):
        if phase is None:
            continue
        for cost in phase.operators:
            fetched = np.any(np.asarray(cost.link_seconds) > 0)
            if cost.use is not None and on_host == (cost.device == "host" and not fetched):
                kind = "attention " if cost.use.attention else "experts " if cost.use.routed else ""
                label = f"{kind}{cost.use.type} {'few' if cost.use.few else 'many'}"
                found[label] = machine.kernel(cost.use)
    return list(found.items())
