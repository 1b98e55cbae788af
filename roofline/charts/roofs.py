"""The roofs over a machine: what its memories carry, what its arithmetic could do and what the kernels in use reach."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from roofline.ceilings import Ceilings
from roofline.links import link_rate, pcie_bandwidth
from roofline.machine import Machine
from roofline.placement import device_name
from roofline.prediction import OperatorCost, Phase, Prediction
from roofline.splitting import interconnect
from roofline.units import format_quantity

#: Above how many times the memory's rate activations get a roof of their own: caches hold a part of them [1].
_FROM_CACHES = 1.0
_CACHE = re.compile(r"cpu 1 core, (.+)")  # as `roofline measure` names the caches of the machine it runs on


@dataclass(frozen=True, slots=True)
class Roof:
    """One ceiling. value: of a memory, a link or a disk [B/s]; of arithmetic [FLOP/s].

    side: '' for the device, 'host', 'GPU 2' … name: what limits. standing: 'theoretical' is what the maker states;
    'sustained' what the engine reaches. quants: whose kernel it is; none for what all have in common. ridge: intensity
    at which arithmetic meets the memory of the same side and standing [FLOP/B]; of a memory, where the highest
    arithmetic does. x, y: the ends of its line [FLOP/B], [FLOP/s].
    """

    side: str
    kind: Literal["memory", "compute"]
    name: str
    standing: Literal["theoretical", "sustained"]
    value: float
    quants: tuple[str, ...] = ()
    ridge: float = 0.0
    x: tuple[float, float] = (0.0, 0.0)
    y: tuple[float, float] = (0.0, 0.0)

    @property
    def is_main(self) -> bool:
        """Whether it is the main memory of its side."""
        return self.kind == "memory" and self.name.endswith("memory")


def roofs(predictions: Sequence[tuple[str, Prediction]], paths: Sequence[str] | None = None) -> list[Roof]:
    """The roofs over predictions for one machine, each with the name of its series; lines are not drawn yet.

    paths: arithmetic paths whose theoretical peaks count; None is all that the device has. Of several devices alike the
    roofs are those of all together, as in the speed of light.
    """
    found: list[Roof] = []
    for side, machine in {side: one for _, made in predictions for side, one in sides(made)}.items():
        found += _memories(side, machine)
        found += _peaks(side, machine, paths)
    found += _links(predictions)
    found += _kernels(predictions)
    return _with_ridges(found)


def sides(prediction: Prediction) -> list[tuple[str, Machine]]:
    """The machines of a prediction that have something to do, as costs name them: '', 'GPU 2', 'host'."""
    placement = prediction.placement
    if placement is None:
        return [("", prediction.machine)]
    named = [(device_name(index), one) for index, one in enumerate(placement.devices)]
    named += [("host", placement.host)] if placement.host is not None else []
    costs = [cost for phase in phases(prediction) for cost in phase.operators if cost.kind != "link"]
    used = {cost.device for cost in costs} | {"" for cost in costs if _is_fetched(cost)}
    return [(name, one) for name, one in named if name in used] or named[:1]


def _is_fetched(cost: OperatorCost) -> bool:
    """Whether the device does what lies in the host's memory."""
    return cost.device == "host" and float(cost.link_seconds) > 0


def phases(prediction: Prediction) -> list[Phase]:
    """The phases that there are."""
    return [phase for phase in (prediction.prefill, prediction.decode) if phase is not None]


def _memories(side: str, machine: Machine) -> Iterator[Roof]:
    together, name = machine.count, f"{machine.hardware.memory.type} memory"
    sustained = machine.sustained_bandwidth * together
    yield Roof(side, "memory", name, "theoretical", machine.theoretical_bandwidth * together)
    yield Roof(side, "memory", name, "sustained", sustained)
    if machine.activation_share > _FROM_CACHES:
        yield Roof(side, "memory", "activations, through caches", "sustained", sustained * machine.activation_share)
    if machine.backend == "cpu":
        for key, figure in machine.hardware.memory.sustained.items():
            if match := _CACHE.fullmatch(key):
                yield Roof(side, "memory", f"cache to {match[1]}, one core", "sustained", figure.value)


def _peaks(side: str, machine: Machine, paths: Sequence[str] | None) -> Iterator[Roof]:
    """Theoretical peaks; paths whose peaks read the same share a roof, at the highest of them."""
    equal: dict[str, list[tuple[str, float]]] = {}
    for path, peak in machine.peaks.items():
        if paths is None or path in paths:
            together = float(peak) * machine.count
            equal.setdefault(format_quantity(together, "FLOP/s"), []).append((path, together))
    for found in equal.values():
        name, most = ", ".join(path for path, _ in found), max(peak for _, peak in found)
        yield Roof(side, "compute", name, "theoretical", most)


def _links(predictions: Sequence[tuple[str, Prediction]]) -> Iterator[Roof]:
    """What joins the sides, and the disk, where a phase waits for them."""
    for _, prediction in predictions:
        waits = any(float(cost.link_seconds) > 0 for phase in phases(prediction) for cost in phase.operators)
        if waits and not _from_disk(prediction):
            yield from _link(prediction)
            break
    for _, prediction in predictions:
        if _from_disk(prediction) and prediction.disk is not None:
            yield Roof("", "memory", "disk, as given", "sustained", prediction.disk.rate)
            break


def _from_disk(prediction: Prediction) -> bool:
    return prediction.disk is not None and prediction.disk.is_used


def _link(prediction: Prediction) -> Iterator[Roof]:
    machine, placement = prediction.machine, prediction.placement
    if placement is not None:
        lanes = pcie_bandwidth(placement.device, placement.host)
        name = "PCIe" if lanes is not None else "copies to the host"
        if lanes is not None:
            yield Roof("", "memory", name, "theoretical", lanes)
        yield Roof("", "memory", name, "sustained", link_rate(placement.device, placement.host))
    elif machine.split == "tensor":
        link, stated = interconnect(machine), machine.hardware.link
        one_way = stated and (stated.nvlink_bandwidth if link.name == "NVLink" else stated.pcie_bandwidth)
        if one_way:
            yield Roof("", "memory", f"{link.name}, each way", "theoretical", one_way)
        yield Roof("", "memory", f"{link.name}, each way", "sustained", link.bandwidth)


def _kernels(predictions: Sequence[tuple[str, Prediction]]) -> Iterator[Roof]:
    """What the kernel for most of the operations of a phase reaches; kernels that reach the same share a roof."""
    found: dict[tuple[str, str, float], list[str]] = {}
    for series, prediction in predictions:
        machines = dict(sides(prediction))
        for phase in phases(prediction):
            for side, cost in _heaviest(phase.operators).items():
                machine = machines[side]
                use = cost.use
                if use is None or machine is None:
                    continue
                width = "few" if use.few else "many"
                key = (side, f"{use.type} kernel, {width} tokens", machine.rate(use) * machine.count)
                quants = found.setdefault(key, [])
                if series not in quants:
                    quants.append(series)
    for (side, name, rate), quants in found.items():
        yield Roof(side, "compute", name, "sustained", rate, tuple(quants))


def _heaviest(operators: Iterable[OperatorCost]) -> dict[str, OperatorCost]:
    """By side, a product of the type with the most operations; what the device fetches runs on it."""
    flops: dict[tuple[str, str], float] = {}
    one: dict[tuple[str, str], OperatorCost] = {}
    for cost in operators:
        if cost.use is None or cost.use.attention:
            continue
        side = "" if _is_fetched(cost) else cost.device
        key = (side, cost.use.type)
        flops[key] = flops.get(key, 0.0) + float(cost.flops)
        one.setdefault(key, cost)
    chosen: dict[str, OperatorCost] = {}
    for key in sorted(flops, key=lambda key: -flops[key]):
        chosen.setdefault(key[0], one[key])
    return chosen


def _with_ridges(found: Sequence[Roof]) -> list[Roof]:
    """Each roof with its ridge, at which it meets the other kind."""
    memories = {(one.side, one.standing): one.value for one in reversed(found) if one.is_main}
    highest: dict[tuple[str, str], float] = {}
    for one in found:
        if one.kind == "compute":
            key = (one.side, one.standing)
            highest[key] = max(one.value, highest.get(key, 0.0))
    made = []
    for one in found:
        key = (one.side, one.standing)
        peak = one.value if one.kind == "compute" else highest.get(key) or max(highest.values(), default=0.0)
        bandwidth = memories[key] if one.kind == "compute" else one.value
        made.append(replace(one, ridge=float(Ceilings(peak, bandwidth).ridge_point)) if peak else one)
    return made


def drawn(roof: Roof, least: float, most: float) -> Roof:
    """The roof with its line between two intensities [FLOP/B]: a memory's up to its ridge, arithmetic from there on."""
    if roof.kind == "compute":
        return replace(roof, x=(roof.ridge, most), y=(roof.value, roof.value))
    end = roof.ridge or most
    ceilings = Ceilings(float("inf"), roof.value)
    return replace(roof, x=(least, end), y=(float(ceilings.attainable(least)), float(ceilings.attainable(end))))
