"""What lscpu prints → a processor: where the kernel's own files are not at hand (a quoted output, a foreign /proc)."""

from __future__ import annotations

import re

from roofline.measure.fields import clock, positive, size, whole
from roofline.measure.processors import LITTLE, Core, arm_core_named, x86_core
from roofline.measure.seen import Caches, Cluster, Processor, isa_words

MANY_SOCKETS = 8  # more sockets of one core each are a firmware that lists every core as a socket (Arrow Lake)


def sections(text: str) -> list[dict[str, str]]:
    """The fields of each kind of core: a second 'Model name' begins another kind. General fields are in the first."""
    found: list[dict[str, str]] = [{}]
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        key, value = key.strip().lower(), value.strip()
        if not colon or not key:
            continue
        if key == "model name" and key in found[-1]:
            found.append({})
        found[-1].setdefault(key, value)
    return found


def read(text: str) -> Processor:
    """The processor that an output of lscpu describes."""
    kinds = sections(text)
    general = kinds[0]
    threads = positive(general.get("cpu(s)"))
    per_core = max((positive(kind.get("thread(s) per core")) or 1 for kind in kinds), default=1)
    flags = [set(kind["flags"].split()) for kind in kinds if kind.get("flags")]
    cores = [(_core(kind), kind) for kind in kinds if kind.get("model name") or kind.get("model")]
    sockets = _sockets(general)
    counted = [(core, _count(kind, threads if len(kinds) == 1 else None, sockets), kind) for core, kind in cores]
    if any("hypervisor vendor" in kind for kind in kinds):  # its firmware's clock is made up
        kinds = [{key: value for key, value in kind.items() if key != "bios model name"} for kind in kinds]
        counted = [(core, count, {**kind, "bios model name": ""}) for core, count, kind in counted]
    clusters = _clusters(counted, threads, per_core, sockets)
    total = sum(cluster.cores for cluster in clusters) * sockets
    return Processor(
        name=_name(kinds),
        vendor=next((core.vendor for core, _ in cores if core.vendor), ""),
        isa=isa_words(set.intersection(*flags)) if flags else (),
        clusters=clusters,
        sockets=sockets if clusters else None,
        threads=threads,
        threads_per_core=per_core if threads else None,
        numa_nodes=_numa_nodes({**kinds[-1], **general}),
        caches=_caches({**kinds[-1], **general}, total, sockets, len(clusters) == 1),
    )


def hypervisor(text: str) -> str:
    """The word after 'Hypervisor vendor:' in lower case, '' on bare metal."""
    match = re.search(r"^\s*Hypervisor vendor:\s*(\S+)", text, re.M)
    return match[1].lower() if match else ""


def _core(kind: dict[str, str]) -> Core:
    family, model = whole(kind.get("cpu family")), whole(kind.get("model"))
    if family is not None:
        return x86_core(kind.get("vendor id", ""), family, model, whole(kind.get("stepping")))
    return arm_core_named(kind.get("model name", ""))


def _name(kinds: list[dict[str, str]]) -> str:
    """The brand string of an x86; on Arm the firmware's name if it tells one, else the cores'."""
    bios = kinds[0].get("bios model name", "")
    cores = list(dict.fromkeys(kind["model name"] for kind in kinds if kind.get("model name") not in (None, "-")))
    if bios and not kinds[0].get("cpu family"):
        return re.sub(r"\s+", " ", re.sub(r"\s*CPU @ .*$", "", bios)).strip()
    return " + ".join(cores)


def _sockets(general: dict[str, str]) -> int:
    sockets = positive(general.get("socket(s)")) or 1
    return 1 if sockets > MANY_SOCKETS and positive(general.get("core(s) per socket")) == 1 else sockets


def _count(kind: dict[str, str], threads: int | None, sockets: int) -> int | None:
    """Cores of one kind in a socket."""
    cores = positive(kind.get("core(s) per socket"))
    if cores and positive(kind.get("socket(s)")):
        return max(cores * (positive(kind["socket(s)"]) or 1) // sockets, 1)
    per_core = positive(kind.get("thread(s) per core")) or 1
    if threads:  # Arm without firmware tables counts clusters: 'Socket(s): -', 'Core(s) per cluster: 12'
        return max(threads // per_core // sockets, 1)
    return cores or positive(kind.get("core(s) per cluster"))


def _clusters(
    counted: list[tuple[Core, int | None, dict[str, str]]], threads: int | None, per_core: int, sockets: int
) -> tuple[Cluster, ...]:
    known = [(core, count, kind) for core, count, kind in counted if count]
    if len(known) == 1:
        core, count, kind = known[0]
        top = clock(kind.get("cpu max mhz"), "MHz")
        base = re.search(r"@\s*([\d.]+)\s*GHz", f"{kind.get('bios model name', '')} {kind.get('model name', '')}")
        base_clock = clock(base[1], "GHz") if base and kind.get("cpu family") else None
        fast = (threads or 0) // sockets - count if core.little and per_core == 2 else 0
        if core.little and 0 < fast < count:  # only the fast cores run two threads
            return (
                Cluster("P", fast, core.microarchitecture, top, base_clock),
                Cluster("E", count - fast, core.little),
            )
        return (Cluster("E" if core.rank == LITTLE else "P", count, core.microarchitecture, top, base_clock),)
    return merged([(core, count or 0, clock(kind.get("cpu max mhz"), "MHz"), None) for core, count, kind in known])


def merged(kinds: list[tuple[Core, int, float | None, float | None]]) -> tuple[Cluster, ...]:
    """Clusters of (core, how many, highest clock, base clock): one for each microarchitecture, fastest first.

    The first is 'P' unless it is an efficiency core itself; every other is 'E'.
    """
    groups: dict[tuple[int, str], list[tuple[int, float | None, float | None]]] = {}
    for core, count, top, base in kinds:
        groups.setdefault((core.rank, core.microarchitecture), []).append((count, top, base))
    rows = []
    for (rank, name), members in groups.items():
        tops = [top for _, top, _ in members if top]
        bases = [base for _, _, base in members if base]
        count = sum(count for count, _, _ in members)
        rows.append((rank, Cluster("", count, name, max(tops, default=None), max(bases, default=None))))
    rows.sort(key=lambda row: (row[0], row[1].max_clock or 0.0), reverse=True)
    return tuple(
        cluster._replace(name="P" if index == 0 and rank != LITTLE else "E")
        for index, (rank, cluster) in enumerate(rows)
    )


def _numa_nodes(fields: dict[str, str]) -> int | None:
    """Nodes that have CPUs: the Raspberry Pi's kernel splits the memory into nodes without any."""
    listed = [value for key, value in fields.items() if re.fullmatch(r"(?:numa )?node\d+ cpu\(s\)", key)]
    return sum(1 for value in listed if value) or positive(fields.get("numa node(s)"))


def _caches(fields: dict[str, str], cores: int, sockets: int, alike: bool) -> Caches:
    """Caches of all cores together; alike: whether a core's share of the first level is one core's."""
    l1d = _cache(fields, "l1d", cores)
    return Caches(
        l1d_per_core=l1d // cores if l1d and cores and alike else None,
        l2=_cache(fields, "l2", cores),
        # Before 2.34 lscpu gave the size of one cache. AMD has several third-level caches in a socket.
        l3=_cache(fields, "l3", 0 if fields.get("vendor id") == "AuthenticAMD" else sockets),
    )


def _cache(fields: dict[str, str], level: str, count: int) -> int | None:
    """All caches of a level together [B]; count: how many there are, for outputs that give the size of one."""
    text = fields.get(f"{level} cache", fields.get(level, ""))
    found = size(text)
    of_one = re.fullmatch(r"\s*\d+K\s*", text) is not None
    return found * count or None if found and of_one else found
