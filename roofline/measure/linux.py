"""Linux: /proc/cpuinfo, the topology, clocks and caches in /sys, and lscpu where these do not tell."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

from roofline.measure import lscpu, smbios
from roofline.measure.fields import blocks, clock, cpus, one_line, positive, size, whole
from roofline.measure.processors import LITTLE, Core, arm_core, riscv_core, x86_core
from roofline.measure.seen import Caches, Cluster, Processor, isa_words
from roofline.measure.source import Source

CPUS = "/sys/devices/system/cpu"
# Cores of one microarchitecture whose top clocks differ by more than this are two clusters (Zen 5 beside Zen 5c);
# the ranking of preferred cores by amd-pstate or ITMT moves them by less.
SLOWER = 0.8
NAMELESS = ("intel(r) xeon(r) processor", "amd epyc processor", "qemu virtual cpu", "common kvm processor")


class _Cpu(NamedTuple):
    """A logical CPU. place: what tells its core from the others."""

    number: int
    place: tuple[str, ...]
    socket: str
    core: Core
    flags: frozenset[str]
    top: float | None
    base: float | None


def processor(source: Source) -> Processor:
    """The processor of a Linux machine; what neither the kernel nor lscpu tells stays unknown."""
    listing = source.command("lscpu")
    by_lscpu = lscpu.read(listing) if listing else Processor()
    tables = [table for table in blocks(source.text("/proc/cpuinfo")) if "processor" in table]
    if not tables:
        return replace(by_lscpu, name=_firmware_name(source, by_lscpu) or by_lscpu.name)
    seen = [_cpu(source, table, index) for index, table in enumerate(tables)]
    seen = _hybrid(source, seen)
    sockets = _sockets(source, seen, by_lscpu)
    clusters = _clusters(seen, sockets)
    siblings: dict[tuple[str, ...], int] = {}
    for cpu in seen:
        siblings[cpu.place] = siblings.get(cpu.place, 0) + 1
    first = seen[0].core
    name = one_line(tables[0].get("model name")) if "cpu family" in tables[0] or "hart" in tables[0] else ""
    found = Processor(
        name=name or by_lscpu.name or " + ".join(dict.fromkeys(cluster.microarchitecture for cluster in clusters)),
        vendor=first.vendor or by_lscpu.vendor,
        isa=_isa(seen),
        clusters=clusters,
        sockets=sockets,
        threads=len(seen),
        threads_per_core=max(siblings.values(), default=1),
        numa_nodes=_numa_nodes(source) or by_lscpu.numa_nodes,
        caches=_caches(source, seen, by_lscpu, tables[0], sockets),
    )
    return found if name else replace(found, name=_firmware_name(source, found) or found.name)


def _firmware_name(source: Source, found: Processor) -> str:
    """An Arm server says its part number in the firmware's tables only."""
    return smbios.processor(source) if found.vendor not in ("Intel", "AMD", "Hygon") else ""


def _cpu(source: Source, table: dict[str, str], index: int) -> _Cpu:
    number = whole(table.get("processor"))
    number = index if number is None or not 0 <= number < 1 << 16 else number
    here = f"{CPUS}/cpu{number}"
    flags = frozenset((table.get("flags") or table.get("features") or "").split())
    if "cpu family" in table:
        family, model = whole(table.get("cpu family")), whole(table.get("model"))
        core = x86_core(table.get("vendor_id", ""), family, model, whole(table.get("stepping")))
    elif "cpu part" in table:
        core = arm_core(whole(table.get("cpu implementer")), whole(table.get("cpu part")))
    else:
        core = riscv_core(table.get("uarch", ""), table.get("model name", ""))
        letters = re.match(r"rv\d+([a-z]*)", table.get("isa", "").lower())
        if letters and "v" in letters[1]:
            core = core._replace(isa=("rvv", *core.isa))
    siblings = source.text(f"{here}/topology/thread_siblings_list")
    package = source.text(f"{here}/topology/physical_package_id")
    socket = table.get("physical id", one_line(package))
    if siblings and cpus(siblings):
        place: tuple[str, ...] = ("siblings", *map(str, sorted(cpus(siblings))))
    elif "core id" in table:
        place = ("core", socket, table["core id"])
    else:
        place = ("cpu", str(number))
    base = clock(source.text(f"{here}/cpufreq/base_frequency"), "kHz")
    if base is None and (stated := re.search(r"@\s*([\d.]+)\s*GHz", table.get("model name", ""))):
        base = clock(stated[1], "GHz")
    top = clock(source.text(f"{here}/cpufreq/cpuinfo_max_freq"), "kHz")
    return _Cpu(number, place, socket, core, flags, top, base)


def _hybrid(source: Source, seen: list[_Cpu]) -> list[_Cpu]:
    """A hybrid x86's efficiency cores get their own name: all cores of it report one model number.

    Linux lists them in /sys/devices/cpu_atom; without it, they are the cores that run one thread beside others that
    run two. Where neither tells (a virtual machine, an offline sibling), all stay fast cores.
    """
    if not any(cpu.core.little for cpu in seen):
        return seen
    slow = cpus(source.text("/sys/devices/cpu_atom/cpus"))
    if not slow:
        threads: dict[tuple[str, ...], int] = {}
        for cpu in seen:
            threads[cpu.place] = threads.get(cpu.place, 0) + 1
        if len(set(threads.values())) > 1:
            slow = frozenset(cpu.number for cpu in seen if threads[cpu.place] == 1)
    return [
        cpu._replace(core=Core(cpu.core.little, "", LITTLE, cpu.core.vendor), base=None)
        if cpu.number in slow and cpu.core.little
        else cpu
        for cpu in seen
    ]


def _sockets(source: Source, seen: list[_Cpu], by_lscpu: Processor) -> int:
    """Sockets by package ids; a board with a device tree has one (old kernels number its clusters as packages)."""
    if source.text("/proc/device-tree/model") or source.text("/sys/firmware/devicetree/base/model"):
        return 1
    known = {cpu.socket for cpu in seen if cpu.socket and not cpu.socket.startswith("-")}
    return len(known) or by_lscpu.sockets or 1


def _clusters(seen: list[_Cpu], sockets: int) -> tuple[Cluster, ...]:
    """The clusters of one socket."""
    cores: dict[tuple[str, ...], _Cpu] = {}
    for cpu in seen:
        cores.setdefault(cpu.place, cpu)
    tops: dict[str, float] = {}
    for cpu in cores.values():
        name = cpu.core.microarchitecture
        tops[name] = max(tops.get(name, 0.0), cpu.top or 0.0)
    kinds: dict[Core, list[_Cpu]] = {}
    for cpu in cores.values():
        slower = cpu.top is not None and cpu.top <= SLOWER * tops[cpu.core.microarchitecture]
        kinds.setdefault(cpu.core._replace(rank=cpu.core.rank - 1) if slower else cpu.core, []).append(cpu)
    return lscpu.merged(
        [
            (
                core,
                max(round(len(members) / sockets), 1),
                max((cpu.top for cpu in members if cpu.top), default=None),
                max((cpu.base for cpu in members if cpu.base), default=None),
            )
            for core, members in kinds.items()
        ]
    )


def _isa(seen: list[_Cpu]) -> tuple[str, ...]:
    """What every core has: a thread may run on any."""
    common = frozenset.intersection(*(cpu.flags for cpu in seen))
    return isa_words(common, seen[0].core.isa)


def _numa_nodes(source: Source) -> int | None:
    """Nodes that have CPUs; a Raspberry Pi's kernel makes nodes of memory alone."""
    folder = "/sys/devices/system/node"
    nodes = [name for name in source.names(folder) if re.fullmatch(r"node\d{1,5}", name)]
    return sum(1 for name in nodes if cpus(source.text(f"{folder}/{name}/cpulist"))) or None


def _caches(source: Source, seen: list[_Cpu], by_lscpu: Processor, table: dict[str, str], sockets: int) -> Caches:
    """Cache sizes by /sys: each cache is counted once, by the CPUs that share it."""
    sizes: dict[tuple[int, frozenset[int] | int], int] = {}
    l1d = None
    fastest = max(seen, key=lambda cpu: (cpu.core.rank, cpu.top or 0.0))
    for cpu in seen:
        folder = f"{CPUS}/cpu{cpu.number}/cache"
        for name in source.names(folder):
            if not re.fullmatch(r"index\d", name):
                continue
            level = whole(source.text(f"{folder}/{name}/level"))
            kind = one_line(source.text(f"{folder}/{name}/type"))
            bytes_ = size(source.text(f"{folder}/{name}/size"))
            if level is None or bytes_ is None or kind == "Instruction":
                continue
            shared = cpus(source.text(f"{folder}/{name}/shared_cpu_list"))
            sizes[(level, shared or cpu.number)] = bytes_
            if level == 1 and cpu is fastest:
                l1d = bytes_
    totals = {level: sum(bytes_ for (of, _), bytes_ in sizes.items() if of == level) for level in (2, 3)}
    said = by_lscpu.caches
    l3 = totals[3] or said.l3
    # AMD's line is one core's second level; a guest's sockets of one core each share what is inside one.
    if l3 is None and not sizes and table.get("vendor_id") == "GenuineIntel" and len(seen) > sockets:
        one = size(table.get("cache size"))
        l3 = None if one is None else one * sockets
    return Caches(l1d or said.l1d_per_core, totals[2] or said.l2, l3)


def memory_bytes(source: Source) -> int | None:
    """All memory that the kernel manages [B]: a little less than is built in."""
    match = re.search(r"^MemTotal:\s*(\d{1,15})\s*kB", source.text("/proc/meminfo") or "", re.M)
    return size(f"{match[1]}K") if match else None


def board(source: Source) -> str:
    """The board or machine as its firmware names it: the device tree's model, else the DMI's vendor and product."""
    for path in ("/proc/device-tree/model", "/sys/firmware/devicetree/base/model"):
        if name := one_line(source.text(path)):
            return name
    for table in blocks(source.text("/proc/cpuinfo"))[-1:]:
        if "processor" not in table and table.get("model"):  # a Raspberry Pi repeats it in the last paragraph
            return one_line(table["model"])
    dmi = "/sys/class/dmi/id"
    vendor, product = (one_line(source.text(f"{dmi}/{name}")) for name in ("sys_vendor", "product_name"))
    return " ".join(word for word in (vendor, product) if word)


def compatible(source: Source) -> tuple[str, ...]:
    """The device tree's words for board and chip, most special first: ('raspberrypi,5-model-b', 'brcm,bcm2712')."""
    text = source.text("/proc/device-tree/compatible") or source.text("/sys/firmware/devicetree/base/compatible")
    return tuple(one_line(word) for word in (text or "")[:2000].split("\0") if word.strip())


def governor(source: Source) -> str:
    """The frequency governor of the first CPU, '' where clocks are not scaled."""
    return one_line(source.text(f"{CPUS}/cpu0/cpufreq/scaling_governor"), 40)


def power_source(source: Source) -> str | None:
    """'mains' or 'battery'; None where no supply is listed (a desktop lists none)."""
    folder = "/sys/class/power_supply"
    states = set()
    for name in source.names(folder):
        kind = one_line(source.text(f"{folder}/{name}/type"))
        if kind in ("Mains", "USB") and positive(source.text(f"{folder}/{name}/online")):
            states.add("mains")
        scope = one_line(source.text(f"{folder}/{name}/scope"))
        if kind == "Battery" and scope != "Device":  # a mouse has a battery too
            status = one_line(source.text(f"{folder}/{name}/status"))
            states.add("battery" if status == "Discharging" else "mains")
    return "mains" if "mains" in states else "battery" if states else None


def hides_name(name: str) -> bool:
    """Whether a hypervisor gives a processor a name that no part has."""
    plain = re.sub(r"\s*@.*$|\s*\(.*?v\d.*$", "", name.lower()).strip()
    return plain in NAMELESS or plain.startswith(("qemu", "intel xeon processor (", "intel core processor ("))
