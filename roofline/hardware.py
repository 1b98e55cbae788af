"""Hardware: compute units and memories as a datasheet states them → the ceilings of each."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from roofline import units
from roofline.spec import (
    Bandwidth,
    Basis,
    Bytes,
    Compute,
    Figure,
    Frequency,
    MemorySize,
    NonNegativeInt,
    Number,
    PositiveInt,
    Power,
    Price,
    Source,
    Spec,
    SpecError,
    Transfers,
    Words,
)

Kind = Literal["cpu", "gpu", "soc", "sbc", "edge", "igpu", "phone"]
Backend = Literal["cpu", "cuda", "metal", "vulkan", "rocm", "sycl", "opencl", "npu"]

#: A stated bandwidth may differ from channels × width × rate by rounding ("17.1" for 17.068 GB/s), not by more.
ROUNDING = 0.025

#: Payload of one PCIe lane [B/s]: transfers/s × 128/130 line coding / 8 (PCI-SIG base specifications 3.0 to 5.0).
PCIE_LANE = {
    generation: units.parse(rate, "T/s") * 128 / 130 / 8
    for generation, rate in {3: "8 GT/s", 4: "16 GT/s", 5: "32 GT/s"}.items()
}


class Bus(Spec):
    """One way to populate a memory: type, channels × channel_bits at a transfer rate, or a stated bandwidth."""

    type: str
    channels: PositiveInt | None = None
    channel_bits: PositiveInt | None = None
    transfer_rate: Transfers | None = None
    bandwidth: Bandwidth | None = None

    @property
    def computed_bandwidth(self) -> float | None:
        """channels × channel_bits / 8 × transfer rate [B/s], None where one of the three is unknown."""
        if self.channel_bits is None or self.transfer_rate is None:
            return None
        return (self.channels or 1) * self.channel_bits / 8 * self.transfer_rate.value

    @property
    def theoretical_bandwidth(self) -> float:
        """The ceiling [B/s]: the computed one, else the stated one."""
        stated = self.bandwidth.value if self.bandwidth else 0.0
        return self.computed_bandwidth or stated

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        computed = self.computed_bandwidth
        if computed is None and self.bandwidth is None:
            raise ValueError(
                "bandwidth: expected a bandwidth, or channel_bits and transfer_rate to compute it, found neither"
            )
        if computed and self.bandwidth and abs(self.bandwidth.value / computed - 1) > ROUNDING:
            raise ValueError(
                f"bandwidth: expected {units.format_quantity(computed, 'B/s')} "
                f"({self.channels or 1} × {self.channel_bits} bit × {self.transfer_rate}), found {self.bandwidth}"
            )
        return self


class Memory(Bus):
    """The main memory. capacity is that of the board meant by default; options are the other ones sold.

    limit: the most that the maker supports where modules are plugged in and the buyer decides.
    sustained: measured read bandwidths by who reads ('cpu', 'gpu', 'cpu 1 core'). variants: other memories that the
    device is sold with.
    """

    capacity: MemorySize | None = None
    limit: MemorySize | None = None
    options: tuple[MemorySize, ...] = ()
    sustained: dict[str, Bandwidth] = Field(default_factory=dict)
    variants: tuple[Bus, ...] = ()


class Cluster(Spec):
    """Cores of one kind: how many a socket has, their clocks, and what one does in a cycle.

    per_cycle: operations per cycle and core by path (fp32, fp16, bf16, int8, amx_int8, …), a multiply-add counted as 2.
    """

    name: str = "P"
    cores: PositiveInt
    base: Frequency | None = None
    boost: Frequency | None = None
    all_core: Frequency | None = None
    per_cycle: dict[str, Number] = Field(default_factory=dict)

    @property
    def peak_clock(self) -> float:
        """The highest clock that the maker states [Hz]."""
        clocks = [figure.value for figure in (self.base, self.boost, self.all_core) if figure]
        return max(clocks) if clocks else 0.0

    @property
    def sustained_clock(self) -> float:
        """The clock with all cores busy [Hz]: the stated one, else midway between base and boost."""
        if self.all_core:
            return self.all_core.value
        if self.base and self.boost:
            return (self.base.value + self.boost.value) / 2
        return self.peak_clock


class Cpu(Spec):
    """A central processor: clusters of cores, fastest first; isa as words ('avx2', 'vnni', 'dotprod', 'i8mm', …).

    measured: what matrix products reached ('fp32 1 core'), for the reader: the speed of light is per_cycle's.
    """

    clusters: tuple[Cluster, ...] = Field(min_length=1)
    sockets: PositiveInt = 1
    threads: PositiveInt | None = None
    isa: Words
    microarchitecture: str = ""
    l1d_per_core: Bytes | None = None
    l2: Bytes | None = None
    l3: Bytes | None = None
    dies: PositiveInt | None = None
    numa_nodes: PositiveInt | None = None
    measured: dict[str, Compute] = Field(default_factory=dict)

    @property
    def fast_cores(self) -> int:
        """Cores of the first cluster in all sockets: llama.cpp's default number of threads [1]."""
        return self.clusters[0].cores * self.sockets

    @property
    def cores(self) -> int:
        """All physical cores [1]."""
        return sum(cluster.cores for cluster in self.clusters) * self.sockets

    def per_cycle(self, path: str) -> Number | None:
        """Operations per cycle and core of the fast cluster on `path`, None where unknown."""
        return self.clusters[0].per_cycle.get(path)

    def peak(self, path: str) -> float | None:
        """All cores at their highest clock on `path` [FLOP/s]; None where the path is missing on the fast cores."""
        if path not in self.clusters[0].per_cycle:
            return None
        total = 0.0
        for cluster in self.clusters:
            if path in cluster.per_cycle:
                total += cluster.cores * cluster.peak_clock * cluster.per_cycle[path].value
        return total * self.sockets or None

    def fast_cycles(self, threads: int) -> float:
        """Cycles a second of the cores that `threads` threads occupy, fastest first, in cycles of the fast kind [1/s].

        A core that does half as many fp32 operations a cycle counts half.
        """
        fast, total, left = self.clusters[0].per_cycle.get("fp32"), 0.0, threads
        for cluster in self.clusters:
            used = min(max(left, 0), cluster.cores * self.sockets)
            slow = cluster.per_cycle.get("fp32")
            total += used * cluster.sustained_clock * (slow.value / fast.value if fast and slow else 1.0)
            left -= used
        return total


class Gpu(Spec):
    """A graphics processor. peak: dense arithmetic peaks by path (fp32, fp16, fp16_acc32, bf16, fp8, int8, fp4).

    measured: what matrix products reached, by type, for the reader: the speed of light is peak's.
    """

    architecture: str = ""
    cores: str = ""
    clock: Frequency | None = None
    peak: dict[str, Compute] = Field(default_factory=dict)
    l2: Bytes | None = None
    mall: Bytes | None = None
    measured: dict[str, Compute] = Field(default_factory=dict)


class Link(Spec):
    """What joins a device to its host ('pcie') and to its like ('nvlink').

    nvlink: all links of one device, both directions together, as datasheets state it; Infinity Fabric between AMD's
    devices counts as such. nvlink_devices: how many it joins at most, 2 for a bridge; any number where none is stated.
    """

    pcie_generation: Literal[3, 4, 5] | None = None
    pcie_lanes: PositiveInt | None = None
    pcie_source: str = ""
    nvlink: Bandwidth | None = None
    nvlink_devices: PositiveInt | None = None

    @property
    def pcie_bandwidth(self) -> float | None:
        """One direction, line coding subtracted [B/s]; None where the link is unknown."""
        if self.pcie_generation is None or self.pcie_lanes is None:
            return None
        return PCIE_LANE[self.pcie_generation] * self.pcie_lanes

    @property
    def nvlink_bandwidth(self) -> float | None:
        """One direction of all links of a device [B/s]: half of the stated sum; None where there is none."""
        return self.nvlink.value / 2 if self.nvlink else None


class Note(Spec):
    """A remark on a field, or on the device when no field is named."""

    text: str
    field: str = ""
    source: str = ""


class Hardware(Spec):
    """A device as it can be bought. backends: the llama.cpp backends that run on it, the usual one first."""

    name: str
    vendor: str
    kind: Kind
    backends: tuple[Backend, ...] = Field(min_length=1)
    year: NonNegativeInt | None = None
    memory: Memory
    cpu: Cpu | None = None
    gpu: Gpu | None = None
    link: Link | None = None
    power: Power | None = None
    power_options: dict[str, Power] = Field(default_factory=dict)
    price: Price | None = None
    price_options: dict[str, Price] = Field(default_factory=dict)
    aliases: Words = ()
    notes: tuple[Note, ...] = ()
    sources: dict[str, Source] = Field(default_factory=dict)
    count: PositiveInt = 1

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.cpu is None and self.gpu is None:
            raise ValueError("cpu: expected a [cpu] or a [gpu] table, found neither")
        for backend in self.backends:
            if (self.cpu if backend == "cpu" else self.gpu) is None:
                raise ValueError(
                    f"backends: expected a [{'cpu' if backend == 'cpu' else 'gpu'}] table for {backend!r}, found none"
                )
        cited = {source for _, source in self.citations()} - {""}
        missing, unused = sorted(cited - set(self.sources)), sorted(set(self.sources) - cited)
        if missing:
            raise ValueError(f"sources: expected an entry for every cited source, found none for {missing[0]!r}")
        # An override takes the place of a figure, and may leave its source without a use.
        if unused and not any(figure.basis == "override" for figure in self.figures().values()):
            raise ValueError(f"sources: expected every source to be cited, found {unused[0]!r} unused")
        return self

    def figures(self) -> dict[str, Figure]:
        """Every figure of the file by its dotted path ('memory.bandwidth'), in file order."""
        return dict(_figures(self, ""))

    def citations(self) -> list[tuple[str, str]]:
        """(dotted path, source key) of everything that cites a source."""
        cited = [(path, figure.source) for path, figure in self.figures().items()]
        cited += [("notes", note.source) for note in self.notes]
        return [*cited, ("link.pcie", self.link.pcie_source if self.link else "")]

    def assumed(self) -> list[str]:
        """Paths of the figures that no source confirms."""
        return [path for path, figure in self.figures().items() if figure.basis == "assumed"]

    @cached_property
    def is_accelerator(self) -> bool:
        """Whether the usual backend runs on the GPU."""
        return self.backends[0] != "cpu"

    def capacity(self) -> float | None:
        """Memory of all the units together [B], None where the buyer decides."""
        return self.memory.capacity.value * self.count if self.memory.capacity else None

    def peaks(self, backend: str) -> dict[str, float]:
        """Arithmetic ceilings by path of the unit that runs `backend` [FLOP/s], of one unit."""
        if backend == "cpu":
            if self.cpu is None:
                raise SpecError(
                    f"{self.name}: expected a CPU for backend 'cpu', found none (it has {', '.join(self.backends)})"
                )
            return {path: peak for path in self.cpu.clusters[0].per_cycle if (peak := self.cpu.peak(path))}
        if self.gpu is None:
            raise SpecError(
                f"{self.name}: expected a GPU for backend {backend!r}, found none (it has {', '.join(self.backends)})"
            )
        return {path: figure.value for path, figure in self.gpu.peak.items()}

    def times(self, count: int) -> Self:
        """`count` of this device: sockets of a CPU on one board, or cards side by side."""
        if count == 1:
            return self
        if self.kind == "cpu" and self.cpu is not None:
            cpu = self.cpu.model_copy(update={"sockets": self.cpu.sockets * count})
            return self.model_copy(update={"cpu": cpu, "name": f"{count}x {self.name}"})
        return self.model_copy(update={"count": self.count * count, "name": f"{count}x {self.name}"})

    @property
    def last_level_cache(self) -> float:
        """Size of the largest cache [B], all sockets together; 0 where unknown."""
        sizes = [0.0]
        if self.cpu is not None:
            sizes += [figure.value * self.cpu.sockets for figure in (self.cpu.l2, self.cpu.l3) if figure]
        if self.gpu is not None:
            sizes += [figure.value for figure in (self.gpu.l2, self.gpu.mall) if figure]
        return max(sizes)

    @property
    def memory_class(self) -> str:
        """What kind of memory system this is, for engines whose share of the bandwidth depends on it."""
        kind = self.memory.type.upper()
        if "HBM" in kind:
            return "hbm"
        if "GDDR" in kind:
            return "gddr"
        if self.vendor == "Apple":
            return "apple"
        if self.kind in ("sbc", "phone"):
            return "board"
        if self.kind == "edge" or (self.kind == "soc" and "LPDDR" in kind and self.is_accelerator):
            return "unified"
        if self.kind in ("soc", "igpu"):
            return "laptop"
        return "server" if (self.memory.channels or 1) > 2 else "desktop"

    @property
    def memory_bandwidth(self) -> float:
        """Theoretical bandwidth of one unit's memory, all sockets of a CPU board together [B/s]."""
        sockets = self.cpu.sockets if self.cpu else 1
        return self.memory.theoretical_bandwidth * sockets


def _figures(spec: Any, prefix: str) -> list[tuple[str, Figure]]:
    """All figures below a spec, with their dotted paths."""
    found: list[tuple[str, Figure]] = []
    if isinstance(spec, Figure):
        return [(prefix, spec)]
    if isinstance(spec, Spec):
        for name in type(spec).model_fields:
            found += _figures(getattr(spec, name), f"{prefix}.{name}" if prefix else name)
    elif isinstance(spec, dict):
        for name, value in spec.items():
            found += _figures(value, f"{prefix}.{name}")
    elif isinstance(spec, tuple):
        for index, value in enumerate(spec):
            found += _figures(value, f"{prefix}.{index}")
    return found


def apply_overrides(data: dict[str, Any], overrides: dict[str, str]) -> dict[str, Any]:
    """The tables of a hardware file with `--set path=value` figures put in, marked as overrides.

    Setting one side of channels × width × rate = bandwidth drops the other, so that the two cannot disagree. A path
    that names no figure of the schema is left for the validation to refuse.
    """
    for path, text in overrides.items():
        table: Any = data
        *parents, last = re.split(r"[.\[\]]+", path.strip("]"))
        for parent in parents:
            if isinstance(table, list) and parent.isdigit() and int(parent) < len(table):
                table = table[int(parent)]
            elif isinstance(table, dict):
                table = table.setdefault(parent, {})
            else:
                raise SpecError(f"--set {path}: expected a field of the hardware file, found none called {parent!r}")
        if not isinstance(table, dict):
            raise SpecError(f"--set {path}: expected a field of the hardware file, found a list")
        table[last] = _words(path, table.get(last), text) if path == "cpu.isa" else _override(table.get(last), text)
        if path == "memory.transfer_rate" or path in ("memory.channels", "memory.channel_bits"):
            table.pop("bandwidth", None)
        if path == "memory.bandwidth":
            table.pop("transfer_rate", None)
    return data


def _words(path: str, old: Any, text: str) -> list[str]:
    """A list of words: given in full ('avx2,fma'), or as words to leave out and to add ('-amx,+sme')."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    signed = [word for word in words if word[0] in "+-"]
    if not words or len(signed) not in (0, len(words)):
        raise SpecError(f"--set {path}: expected words such as avx2,fma or changes such as -amx, found {text!r}")
    if not signed:
        return words
    kept = [word for word in old or () if f"-{word}" not in words]
    return kept + [word[1:] for word in words if word[0] == "+" and word[1:] not in kept]


def scale_sustained(changed: Hardware, measured: Hardware) -> Hardware:
    """`changed` with the bandwidths measured on the device in proportion to its new memory.

    A faster memory is read faster: what was measured tells a share of the old ceiling, not an absolute limit.
    """
    ratio = changed.memory.theoretical_bandwidth / measured.memory.theoretical_bandwidth
    if ratio == 1 or not changed.memory.sustained or changed.memory.sustained != measured.memory.sustained:
        return changed
    scaled = {
        who: figure.model_copy(update={"value": figure.value * ratio, "text": "", "basis": "derived"})
        for who, figure in changed.memory.sustained.items()
    }
    memory = changed.memory.model_copy(update={"sustained": scaled})
    return changed.model_copy(update={"memory": memory})


def _override(old: Any, text: str) -> Any:
    basis: Basis = "override"
    if isinstance(old, dict) or re.match(r"^[\d.]+\s*\D", text):
        source = {"source": old["source"]} if isinstance(old, dict) and "source" in old else {}
        return {"value": text, "basis": basis, **source}
    return int(text) if text.isdigit() else text
