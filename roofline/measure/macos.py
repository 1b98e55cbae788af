"""macOS: sysctl for the processor, system_profiler for the graphics processor."""

from __future__ import annotations

import re

from roofline.measure.fields import one_line, pairs, positive, size, whole
from roofline.measure.processors import apple_cores, x86_core
from roofline.measure.seen import Caches, Cluster, GpuSeen, Processor, isa_words
from roofline.measure.source import Source

PROFILE = ("system_profiler", "SPHardwareDataType", "SPDisplaysDataType")
# The names of sysctl(3)'s switches for what Linux calls these.
_SWITCHES = {
    "hw.optional.neon": "neon",
    "hw.optional.arm.advsimd": "neon",
    "hw.optional.arm.feat_dotprod": "dotprod",
    "hw.optional.arm.feat_fp16": "fp16",
    "hw.optional.neon_fp16": "fp16",
    "hw.optional.arm.feat_i8mm": "i8mm",
    "hw.optional.arm.feat_bf16": "bf16",
    "hw.optional.arm.feat_sme": "sme",
}
_INTEL_FLAGS = {"avx1.0": "avx", "sse4.1": "sse4_1", "sse4.2": "sse4_2", "avx512vnni": "avx512_vnni"}


def processor(source: Source) -> Processor:
    """The processor of a Mac."""
    table = pairs(source.command("sysctl", "-a"))
    arm = table.get("hw.optional.arm64") == "1" or "apple" in table.get("machdep.cpu.brand_string", "").lower()
    threads = positive(table.get("hw.logicalcpu")) or positive(table.get("hw.ncpu"))
    cores = positive(table.get("hw.physicalcpu")) or positive(table.get("machdep.cpu.core_count")) or threads
    sockets = positive(table.get("hw.packages")) or 1
    if arm:
        clusters = _levels(table, cores)
        on = {word for key, word in _SWITCHES.items() if table.get(key) == "1"}
        isa, vendor = isa_words((), on), "Apple"
    else:
        number = (whole(table.get(f"machdep.cpu.{name}")) for name in ("family", "model", "stepping"))
        core = x86_core(table.get("machdep.cpu.vendor", ""), *number)
        clusters = (Cluster("P", max(cores // sockets, 1), core.microarchitecture),) if cores else ()
        flags = f"{table.get('machdep.cpu.features', '')} {table.get('machdep.cpu.leaf7_features', '')}".lower().split()
        isa, vendor = isa_words(_INTEL_FLAGS.get(flag, flag) for flag in flags), core.vendor
    return Processor(
        name=one_line(table.get("machdep.cpu.brand_string")),
        vendor=vendor,
        isa=isa,
        clusters=clusters,
        sockets=sockets if clusters else None,
        threads=threads,
        threads_per_core=max(threads // cores, 1) if threads and cores else None,
        numa_nodes=1 if clusters else None,
        caches=_caches(table, cores or 0, sockets, arm),
    )


def _levels(table: dict[str, str], cores: int | None) -> tuple[Cluster, ...]:
    """The clusters by hw.perflevel0 (fastest), 1, …; one where an old system tells no levels."""
    fast, little = apple_cores(whole(table.get("hw.cpufamily")))
    found: list[Cluster] = []
    for level in range(8):
        count = positive(table.get(f"hw.perflevel{level}.physicalcpu"))
        if count:
            found.append(Cluster("P" if not found else "E", count, fast if not found else little))
    return tuple(found) or ((Cluster("P", cores, fast),) if cores else ())


def _caches(table: dict[str, str], cores: int, sockets: int, arm: bool) -> Caches:
    """Second-level caches are per group of cores on Apple's chips; their system cache is not told."""
    if not arm:
        l2 = size(table.get("hw.l2cachesize"))
        l3 = size(table.get("hw.l3cachesize"))
        l1d = size(table.get("hw.l1dcachesize"))
        return Caches(l1d, l2 * cores or None if l2 else None, l3 * sockets if l3 else None)
    total = 0
    for level in range(8):
        prefix = f"hw.perflevel{level}"
        one, sharing = size(table.get(f"{prefix}.l2cachesize")), positive(table.get(f"{prefix}.cpusperl2"))
        count = positive(table.get(f"{prefix}.physicalcpu"))
        if one and sharing and count:
            total += one * -(-count // sharing)
    return Caches(size(table.get("hw.perflevel0.l1dcachesize")), total or None, None)


def memory_bytes(source: Source) -> int | None:
    """All memory [B]."""
    return size(pairs(source.command("sysctl", "-a")).get("hw.memsize"))


def board(source: Source) -> str:
    """The model identifier: 'Mac14,14'."""
    return one_line(pairs(source.command("sysctl", "-a")).get("hw.model"))


def hypervisor(source: Source) -> str:
    """'apple' or 'hypervisor' inside a virtual machine, '' on the Mac itself."""
    if board(source).lower().startswith("virtualmac"):
        return "apple"
    return "hypervisor" if pairs(source.command("sysctl", "-a")).get("kern.hv_vmm_present") == "1" else ""


def gpus(source: Source, memory: int | None) -> tuple[GpuSeen, ...]:
    """The Apple GPU with its count of cores; it uses the machine's own memory."""
    text = source.command(*PROFILE) or ""
    found = []
    for part in re.split(r"^\s*Chipset Model:", text, flags=re.M)[1:]:
        name = one_line(part.splitlines()[0] if part else "")
        cores = re.search(r"^\s*Total Number of Cores:\s*(\d{1,4})\s*$", part, re.M)
        if name.startswith("Apple"):
            found.append(GpuSeen(name, memory, cores=int(cores[1]) if cores else None, backend="metal"))
    return tuple(found)


def power_source(source: Source) -> str | None:
    """'mains' or 'battery' by pmset."""
    text = source.command("pmset", "-g", "batt") or ""
    return "mains" if "'AC Power'" in text else "battery" if "'Battery Power'" in text else None
