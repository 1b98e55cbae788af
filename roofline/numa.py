"""NUMA: how a processor with several memories is used: one node alone, all interleaved, or weights mirrored in each.

    one         numactl --cpunodebind=0 --membind=0: the cores, the memory and its bandwidth of one node
    interleave  numactl --interleave=all, and what happens without any: every core reads from every node's memory
    mirror      each node has its own copy of the weights, so that every core reads its own memory

Mirroring is what ktransformers does, and what llama.cpp's pull requests 16000 and 27986 propose.
"""

from __future__ import annotations

from typing import TypeVar

from roofline.hardware import Cpu, Hardware, Memory
from roofline.spec import Figure, SpecError

MODES = ("one", "interleave", "mirror")
OneFigure = TypeVar("OneFigure", bound=Figure)


def nodes(hardware: Hardware) -> int:
    """Memories of a machine that are nearer to some cores than to others [1]: nodes of a socket × sockets."""
    cpu = hardware.cpu
    return cpu.sockets * (cpu.numa_nodes or 1) if cpu else 1


def check_mode(mode: str, hardware: Hardware, backend: str) -> None:
    """SpecError for a mode that there is not, and for a machine that has nothing to choose."""
    if mode not in MODES:
        raise SpecError(f"--numa: expected one of {', '.join(MODES)}, found {mode!r}")
    if backend != "cpu":
        raise SpecError(f"--numa: expected a processor that computes, found {hardware.name} under {backend}")
    if nodes(hardware) == 1:
        raise SpecError(f"--numa: expected several sockets or NUMA nodes, found {hardware.name} with one")


def one_node(hardware: Hardware) -> Hardware:
    """What one node has of a machine: its cores, and its share of the memory and of the bandwidth.

    Bandwidths that were measured with a number of threads are of all nodes, and left out.
    """
    cpu = hardware.cpu
    if cpu is None:
        return hardware
    parts, memory = cpu.numa_nodes or 1, hardware.memory
    changed = {
        "capacity": _part(memory.capacity, nodes(hardware)),  # of the whole machine
        "limit": _part(memory.limit, parts),  # of a socket, as all other figures
        "sustained": {who: _part(figure, parts) for who, figure in memory.sustained.items() if "thread" not in who},
        **_bandwidth(memory, parts),
    }
    return hardware.model_copy(update={"cpu": _cores(cpu, parts), "memory": memory.model_copy(update=changed)})


def _cores(cpu: Cpu, parts: int) -> Cpu:
    """One socket's share of `parts`: of each kind of core the whole number that fits, at least one."""
    clusters = tuple(one.model_copy(update={"cores": max(one.cores // parts, 1)}) for one in cpu.clusters)
    threads = max(cpu.threads // parts, 1) if cpu.threads else None
    caches = {name: _part(getattr(cpu, name), parts) for name in ("l2", "l3")}
    return cpu.model_copy(update={"clusters": clusters, "sockets": 1, "numa_nodes": None, "threads": threads, **caches})


def _bandwidth(memory: Memory, parts: int) -> dict[str, object]:
    """A node's channels, or where they do not divide, its part of the bandwidth."""
    if parts == 1:
        return {}
    if memory.channels and memory.channels % parts == 0:
        return {"channels": memory.channels // parts, "bandwidth": _part(memory.bandwidth, parts)}
    return {"transfer_rate": _part(memory.transfer_rate, parts), "bandwidth": _part(memory.bandwidth, parts)}


def _part(figure: OneFigure | None, parts: int) -> OneFigure | None:
    """A figure divided among equal parts."""
    if figure is None or parts == 1:
        return figure
    return figure.model_copy(update={"value": figure.value / parts, "text": "", "basis": "derived"})
