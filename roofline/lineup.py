"""Devices that work together, and the machine around them, as `--hw` names them: 'rtx-4090+rtx-3090+ryzen-7950x'."""

from __future__ import annotations

from dataclasses import dataclass

from roofline import catalog
from roofline.hardware import Hardware
from roofline.spec import SpecError
from roofline.units import short


@dataclass(frozen=True, slots=True)
class Lineup:
    """Names of the devices in order, and of their host where one is named."""

    devices: tuple[str, ...]
    host: str | None

    @property
    def is_single(self) -> bool:
        """Whether it is one device, or several that are alike, without a named host."""
        return len(self.devices) == 1 and self.host is None

    @property
    def id(self) -> str:
        """The ids of all, joined by a +."""
        names = (*self.devices, *((self.host,) if self.host else ()))
        return "+".join(catalog.load_hardware(name, ()).id for name in names)


def line_up(hw: str) -> Lineup:
    """What is joined by a +: devices, and last the host, which is one with a processor that can compute.

    Devices that are all alike are a count of one: 'rtx-3090+rtx-3090' is 'rtx-3090x2'.
    """
    names = tuple(part.strip() for part in hw.split("+"))
    if not all(names):
        raise SpecError(f"--hw: expected a device, or devices and their host, joined by one + each, found {short(hw)}")
    host = names[-1] if len(names) > 1 and _is_host(names[-1]) else None
    devices = names[:-1] if host else names
    for name in devices[1:]:
        if _is_host(name):
            raise SpecError(f"--hw: expected at most one host, joined by one + as the last, found {short(hw)}")
    if len(devices) > 1 and len({catalog.load_hardware(name, ()).id for name in devices}) == 1:
        entry = catalog.load_hardware(devices[0], ())
        if entry.spec.count == 1:
            devices = (f"{len(devices)}x {devices[0]}",)
    return Lineup(devices, host)


def _is_host(name: str) -> bool:
    return "cpu" in catalog.load_hardware(name, ()).spec.backends


def singly(hardware: Hardware) -> tuple[Hardware, ...]:
    """The devices of a count, each on its own."""
    count = hardware.count
    one = hardware.model_copy(update={"count": 1, "name": hardware.name.removeprefix(f"{count}x ")})
    return (one,) * count


def proportions(text: str) -> tuple[float, ...]:
    """'3,1' → (3.0, 1.0), the layers of each device by those of the others; SpecError for anything else."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(0 <= part < float("inf") for part in found) or sum(found) <= 0:
        raise SpecError(f"--tensor-split: expected a share for each device, such as 3,1, found {short(text)}")
    return found
