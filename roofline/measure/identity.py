"""What machine this is: one table of facts from the kernel, the firmware and the drivers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from roofline import units
from roofline.measure import limits, linux, macos, nvidia, portable, smbios
from roofline.measure.seen import NO_CACHES, Caches, Cluster, GpuSeen, Processor
from roofline.measure.source import Live, Source

# Last-level cache for each core beyond which a virtual machine sees a cache that it shares [B]: server parts have
# 1.3 to 8 MiB a core (Xeon 8380: 1.5, EPYC 9654: 4, EPYC 9374F: 8).
SHARED_CACHE = units.parse("8 MiB", "B")


@dataclass(frozen=True, slots=True)
class Identity:
    """A machine as it describes itself; what is unknown is None or ''.

    processor: as it names itself. board: the device tree's model, the DMI's product or the Mac's identifier;
    compatible: the device tree's words for the chip. microarchitecture: of the fastest cluster. isa: the catalog's
    words. clusters: of one socket, fastest first. threads: logical CPUs. caches and memory [B], transfer rate [T/s].
    virtual: the hypervisor, '' on bare metal; container: '' outside of one. cpu_limit: CPUs left by affinity and quota;
    memory_limit: the cgroup's [B]. remarks: one line each, about what limits or hides something.
    """

    system: str = ""
    processor: str = ""
    board: str = ""
    compatible: tuple[str, ...] = ()
    vendor: str = ""
    microarchitecture: str = ""
    isa: tuple[str, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    sockets: int | None = None
    threads: int | None = None
    threads_per_core: int | None = None
    numa_nodes: int | None = None
    caches: Caches = NO_CACHES
    memory_bytes: int | None = None
    memory_type: str = ""
    memory_transfer_rate: float | None = None
    governor: str = ""
    power_source: str | None = None
    virtual: str = ""
    container: str = ""
    cpu_limit: float | None = None
    memory_limit: int | None = None
    gpus: tuple[GpuSeen, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def cores_per_socket(self) -> int:
        """Physical cores of one socket, 0 where unknown."""
        return sum(cluster.cores for cluster in self.clusters)

    @property
    def cores(self) -> int:
        """Physical cores of all sockets, 0 where unknown."""
        return self.cores_per_socket * (self.sockets or 1)


def identify(source: Source) -> Identity:
    """The machine behind `source`. Nothing raises: what is missing stays unknown, what is forbidden is a remark."""
    seen = _darwin(source) if source.system == "darwin" else _linux(source)
    if not seen.clusters and isinstance(source, Live):
        seen = _others(seen)
    if seen.memory_bytes is None and isinstance(source, Live):
        seen = replace(seen, memory_bytes=portable.memory_bytes())
    seen = replace(seen, gpus=seen.gpus + nvidia.gpus(source))
    return replace(seen, remarks=(*seen.remarks, *_remarks(seen), *dict.fromkeys(source.unreadable)))


def _with_processor(seen: Identity, processor: Processor) -> Identity:
    return replace(
        seen,
        processor=processor.name,
        vendor=processor.vendor,
        microarchitecture=processor.clusters[0].microarchitecture if processor.clusters else "",
        isa=processor.isa,
        clusters=processor.clusters,
        sockets=processor.sockets,
        threads=processor.threads,
        threads_per_core=processor.threads_per_core,
        numa_nodes=processor.numa_nodes,
        caches=processor.caches,
        remarks=(*seen.remarks, *processor.remarks),
    )


def _linux(source: Source) -> Identity:
    board, memory, modules = linux.board(source), linux.memory_bytes(source), smbios.memory(source)
    seen = Identity(
        system=source.system,
        board=board,
        compatible=linux.compatible(source),
        memory_bytes=memory,
        memory_type=modules.type,
        memory_transfer_rate=modules.transfer_rate,
        governor=linux.governor(source),
        power_source=linux.power_source(source),
        virtual=limits.hypervisor(source, board),
        container=limits.container(source),
        cpu_limit=limits.cpu_limit(source),
        memory_limit=limits.memory_limit(source, memory),
    )
    return _with_processor(seen, linux.processor(source))


def _darwin(source: Source) -> Identity:
    memory = macos.memory_bytes(source)
    seen = Identity(
        system=source.system,
        board=macos.board(source),
        memory_bytes=memory,
        power_source=macos.power_source(source),
        virtual=macos.hypervisor(source),
        gpus=macos.gpus(source, memory),
    )
    return _with_processor(seen, macos.processor(source))


def _others(seen: Identity) -> Identity:
    """A system without /proc and sysctl."""
    return _with_processor(replace(seen, power_source=portable.power_source()), portable.processor())


def _remarks(seen: Identity) -> list[str]:
    """What a reader of the other fields should know."""
    lines = []
    l3, cores = seen.caches.l3, seen.cores
    if seen.virtual and l3 and cores and l3 > SHARED_CACHE * cores:
        size = units.format_quantity(l3, "B", binary=True)
        lines.append(f"the L3 of {size} is the host's: a virtual machine of {cores} cores shares it with others")
    if seen.virtual and linux.hides_name(seen.processor):
        lines.append(f"the hypervisor hides which part this is: it calls the processor {seen.processor!r}")
    if seen.cpu_limit is not None and seen.threads and seen.cpu_limit < seen.threads:
        lines.append(f"affinity and cgroup leave {seen.cpu_limit:g} of {seen.threads} logical CPUs")
    if seen.memory_limit is not None:
        lines.append(f"the cgroup leaves {units.format_quantity(seen.memory_limit, 'B', binary=True)} of memory")
    if seen.power_source == "battery":
        lines.append("on battery: clocks and power may be lower than on mains")
    return lines
