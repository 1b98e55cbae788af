"""The 80 % band: how far from the expected speed a measurement may lie, and what would narrow it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from roofline.machine import Machine
from roofline.machines import Machines, along
from roofline.runtime import Constant, matches

#: Rules fixed before any device was predicted blind: ln(factor) is multiplied by 1 + the sum of those that apply.
ASSUMED_FIGURE = 0.2  # a figure of the memory or the arithmetic that no source confirms
OPEN_MEMORY = 0.2  # the device is sold with several memories, and the default was taken
UNSEEN = 0.3  # no device of this architecture or instruction set in the fit
UNMEASURED = 0.3  # no measured speed of a model divided or mirrored so


_RATES = ("memory.transfer_rate", "memory.bandwidth")


@dataclass(frozen=True, slots=True)
class Band:
    """factor: 8 of 10 measurements are meant to lie within ÷factor … ×factor. reasons: why it is wider than usual.

    local: it comes from measurements of this very machine.
    """

    factor: float
    reasons: tuple[str, ...]
    local: bool = False


def band(machine: Machine | Machines, phase: Literal["decode", "prefill"]) -> Band:
    """The band of a machine in a phase: of its own measurements where there are any, else of its backend's spread.

    Of machines side by side the factors alone, as an array.
    """
    if isinstance(machine, Machines):
        return Band(cast(float, along([band(one, phase).factor for one in machine.machines])), ())
    spread = machine.engine.spread
    local = spread.local.get(machine.hardware.name)
    if local is not None:
        return Band(local.decode if phase == "decode" else local.prefill, ("measured on this machine",), local=True)
    return widened(machine, spread.decode if phase == "decode" else spread.prefill)


def widened(machine: Machine, spread: Constant) -> Band:
    """A backend's spread as the band of one machine: wider where less is known of it."""
    if "band" not in machine.memo:
        machine.memo["band"] = _widening(machine)
    widening, reasons = machine.memo["band"]
    return Band(float(spread.value**widening), reasons)


def _widening(machine: Machine) -> tuple[float, tuple[str, ...]]:
    """(what ln(factor) is multiplied by, why)."""
    reasons, widening = [], 1.0
    hardware = machine.hardware
    needed = ("memory.transfer_rate", "memory.bandwidth", "gpu.peak" if machine.backend != "cpu" else "cpu.clusters.0")
    assumed = [path for path in hardware.assumed() if path.startswith(needed)]
    if assumed:
        widening += ASSUMED_FIGURE
        reasons.append(f"no source confirms {', '.join(assumed[:2])}")
    if hardware.memory.variants and not _is_overridden(machine):
        widening += OPEN_MEMORY
        reasons.append("the device is sold with several memories (--set memory.transfer_rate says which)")
    known = machine.engine.spread.known
    if known and not any(matches((pattern,), machine.lineage) for pattern in known):
        widening += UNSEEN
        reasons.append(f"no measured device of its kind ({machine.lineage or 'unknown'}) is behind the constants")
    way = "divided among devices by tensors" if machine.split == "tensor" else ""
    way = "with mirrored weights" if machine.numa == "mirror" else way
    if way:
        widening += UNMEASURED
        reasons.append(f"no measured speed of a model {way} is behind the constants")
    return widening, tuple(reasons)


def _is_overridden(machine: Machine) -> bool:
    figures = machine.hardware.figures()
    return any(figures[path].basis == "override" for path in _RATES if path in figures)
