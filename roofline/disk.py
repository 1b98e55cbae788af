"""The disk: a third roof for weights that memory cannot hold, and the time to load a model.

llama.cpp maps the model's file, and the operating system reads what a pass touches and memory does not hold:

    out  = max(total − usable, 0) / weights                  share of the file that finds no place
    read = weight bytes that a pass touches · out            expected: memory keeps the same part from pass to pass
    t    = t_memory + read / rate                            a page fault waits: nothing overlaps

Two limits stand beside it. No policy reads less than max(touched − resident, 0) in a pass, since memory holds no more
than it can (Belady 1966 for a scan in a circle). A strict LRU reads everything anew: before the scan comes round, each
page has become the least recently used one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roofline.links import link_rate, pcie_bandwidth
from roofline.machine import Machine
from roofline.memory import MemoryBill
from roofline.parts import has_own_memory
from roofline.spec import Bandwidth, SpecError
from roofline.units import UnitError, format_quantity, parse, short
from roofline.workload import Real


def disk_rate(text: str | float) -> float:
    """'3GB/s' → 3e9 [B/s]; SpecError for no data rate, or one beyond any disk."""
    try:
        rate = parse(text, "B/s")
    except UnitError as error:
        raise SpecError(f"--disk: {error}") from None
    if not Bandwidth.least <= rate <= Bandwidth.most:
        raise SpecError(f"--disk: expected a data rate such as 3GB/s, found {short(text)}")
    return rate


@dataclass(frozen=True, slots=True)
class DiskRoof:
    """A disk behind the memory of one side of a machine.

    rate [B/s]. weights: bytes of the file that this side maps [B]. excess: what of them memory cannot hold [B].
    missing: what would still be missing if it held no weights at all [B]; the cache cannot be read from the file.
    device: 'host' where a placement leaves the weights there, else ''.
    """

    rate: float
    weights: float
    excess: Real
    missing: Real
    device: str = ""

    @property
    def runs(self) -> bool:
        """Whether everything but the weights has room."""
        return bool(np.all(np.asarray(self.missing) <= 0))

    @property
    def is_used(self) -> bool:
        """Whether any weights are read from the disk."""
        return bool(np.any(np.asarray(self.excess) > 0))

    @property
    def share_out(self) -> Real:
        """Share of the weights that is not in memory [1]."""
        return self.excess / self.weights

    def bytes_read(self, touched: Real) -> Real:
        """Bytes read from the disk of `touched` weight bytes, with the same part in memory all the time [B]."""
        return touched * self.share_out

    def least_read(self, touched: Real, passes: Real) -> Real:
        """Bytes that no page cache can save of `touched` bytes in `passes` passes [B]."""
        return np.maximum(touched - passes * (self.weights - self.excess), 0.0) * np.where(self.excess > 0, 1.0, 0.0)

    def most_read(self, touched: Real) -> Real:
        """Bytes read where the page cache evicts what comes next: all that is touched [B]."""
        return touched * np.where(self.excess > 0, 1.0, 0.0)


def disk_roof(bill: MemoryBill, machine: Machine, rate: float) -> DiskRoof:
    """The disk behind a machine that needs `bill`, or behind the host that a placed bill has.

    machine: whose memory the file is mapped into. SpecError where a device does not fit that maps nothing: a card's
    excess has to stay on its host.
    """
    side = bill if bill.host is None else bill.host
    if bill.host is not None and bill.margin is not None and np.any(np.asarray(bill.margin) < 0):
        too_much = format_quantity(-float(np.min(bill.margin)), "B", binary=True)
        raise SpecError(
            f"--disk: expected a device that holds its layers, found {too_much} too much (fewer --gpu-layers)"
        )
    if side.margin is None:
        return DiskRoof(rate, side.weights, 0.0, -np.inf, "" if bill.host is None else "host")
    over: Real = np.maximum(-side.margin, 0.0)
    if np.any(over > 0) and not machine.engine.maps_weights:
        name = machine.hardware.name
        if has_own_memory(machine):
            where = "what a card cannot hold stays on its host; name it, as in --hw rtx-4090+ryzen-7950x"
        else:
            where = f"the {machine.backend} backend copies them; --backend cpu maps them"
        raise SpecError(f"--disk: expected a backend that maps the weights, found {machine.backend} on {name}: {where}")
    if np.any(over > 0) and machine.numa == "mirror":
        too_much = format_quantity(float(np.max(over)), "B", binary=True)
        raise SpecError(
            f"--disk: expected room for a copy on each NUMA node, found {too_much} too much; --numa interleave has one"
        )
    excess = np.minimum(over, side.weights)
    missing = -side.margin - side.weights
    if np.ndim(over) == 0:
        excess, missing = float(excess), float(missing)
    return DiskRoof(rate, side.weights, excess, missing, "" if bill.host is None else "host")


# -- loading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoadTime:
    """Seconds until a model is ready. cold: from the disk; warm: from the page cache, so far as memory holds the file.

    read: the file from the disk; copied: to a card, or into buffers of the backend; repacked: into the kernels' order.
    copied is None where the link is unknown, and then missing in the sums.
    """

    read: float
    reread: float
    copied: float | None
    repacked: float

    @property
    def cold(self) -> float:
        """The whole file from the disk, and what follows [s]."""
        return self.read + (self.copied or 0.0) + self.repacked

    @property
    def warm(self) -> float:
        """What memory cannot hold from the disk, and what follows [s]."""
        return self.reread + (self.copied or 0.0) + self.repacked


def load_seconds(
    file_bytes: float,
    rate: float,
    machine: Machine,
    host: Machine | None = None,
    *,
    copied: float = 0.0,
    repacked: float = 0.0,
    excess: float = 0.0,
) -> LoadTime:
    """Time to load a file of `file_bytes` [B] from a disk of `rate` [B/s] on a machine.

    copied: bytes that go to a card over its link, or into a backend's own buffers in the same memory [B]. repacked:
    bytes that the host, else the machine itself, writes anew in another order [B]. What is copied in memory or repacked
    is read and written once. excess: bytes that memory cannot hold [B]. Mapping itself is left out: a warm file on a
    CPU is ready at once. The steps follow each other, an upper bound.
    """
    reordered = (repacked + repacked) / (host or machine).sustained_bandwidth
    return LoadTime(file_bytes / rate, excess / rate, _copy_seconds(copied, machine, host), reordered)


def _copy_seconds(size: float, machine: Machine, host: Machine | None) -> float | None:
    """Time to copy `size` bytes into the buffers of the backend [s]; None where the link is not known."""
    if size == 0:
        return 0.0
    if has_own_memory(machine) and pcie_bandwidth(machine, host) is None:
        return None
    return size / link_rate(machine, host)
