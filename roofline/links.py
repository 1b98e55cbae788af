"""What joins a device to its host: how fast weights and activations get from one to the other.

A card has its lanes of PCIe, at the rate of the older end; and the host's memory has to give what it reads there. A
chip without a memory of its own copies within the main memory, which reads and writes each byte.
"""

from __future__ import annotations

from roofline.hardware import PCIE_LANE
from roofline.machine import Machine
from roofline.parts import has_own_memory
from roofline.spec import SpecError


def link_rate(device: Machine, host: Machine | None = None) -> float:
    """What the link between a device and its host carries [B/s]; SpecError where the device's file states none."""
    if not has_own_memory(device):
        return device.sustained_bandwidth / 2
    bandwidth = pcie_bandwidth(device, host)
    if bandwidth is None:
        name = device.hardware.name
        raise SpecError(f"{name}: link: expected pcie_generation and pcie_lanes for layers elsewhere, found none")
    rate = bandwidth * device.engine.link_share.value
    return rate if host is None else min(rate, host.bandwidth_share.value * host.theoretical_bandwidth)


def pcie_bandwidth(device: Machine, host: Machine | None = None) -> float | None:
    """One direction of the lanes that both ends have [B/s]; None where the device states none."""
    ends = [one.hardware.link for one in (device, host) if one is not None and one.hardware.link is not None]
    lanes = [link.pcie_lanes for link in ends if link.pcie_lanes]
    generation = pcie_generation(device, host)
    if device.hardware.link is None or device.hardware.link.pcie_lanes is None or generation is None:
        return None
    return PCIE_LANE[generation] * min(lanes)


def pcie_generation(device: Machine, host: Machine | None = None) -> int | None:
    """The older generation of a device and its host [1]; None where the device states none."""
    ends = [one.hardware.link for one in (device, host) if one is not None and one.hardware.link is not None]
    if device.hardware.link is None or device.hardware.link.pcie_generation is None:
        return None
    return min(link.pcie_generation for link in ends if link.pcie_generation)
