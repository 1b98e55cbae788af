"""What was seen of a machine's parts: cores, caches, graphics processors. Unknown is None or ''."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

# The catalog's words for instruction sets, in the order in which it lists them.
_ISA_ORDER = (
    *("avx512", "avx512_vnni", "avx512_bf16", "amx", "avx_vnni", "avx2", "fma", "avx", "sse4"),
    *("neon", "dotprod", "fp16", "i8mm", "bf16", "sve", "sve2", "sme", "rvv", "ime"),
)
# What Linux calls them: Documentation/arch/arm64/elf_hwcaps.rst, arch/x86/include/asm/cpufeatures.h
_ISA_FLAGS = {
    "avx512f": "avx512",
    "avx512_vnni": "avx512_vnni",
    "avx512_bf16": "avx512_bf16",
    "amx_tile": "amx",
    "avx_vnni": "avx_vnni",
    "avx2": "avx2",
    "fma": "fma",
    "avx": "avx",
    "sse4_1": "sse4",
    "sse4_2": "sse4",
    "asimd": "neon",
    "neon": "neon",
    "asimddp": "dotprod",
    "asimdhp": "fp16",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "sve": "sve",
    "sve2": "sve2",
    "sme": "sme",
}


class Cluster(NamedTuple):
    """Cores of one kind in one socket: 'P' or 'E', how many, what they are, and their clocks [Hz]."""

    name: str
    cores: int
    microarchitecture: str = ""
    max_clock: float | None = None
    base_clock: float | None = None


class Caches(NamedTuple):
    """Sizes [B]: the first-level data cache of one fast core, the second and third level of the whole machine."""

    l1d_per_core: int | None = None
    l2: int | None = None
    l3: int | None = None


NO_CACHES = Caches()  # of which nothing is known


@dataclass(frozen=True, slots=True)
class GpuSeen:
    """A graphics processor. Memory [B], clocks [Hz], power limit [W]; the PCIe link as the most that it negotiates.

    cores: as the maker counts them, where the name does not tell (Apple's GPUs). backend: the llama.cpp backend.
    """

    name: str
    memory_bytes: int | None = None
    driver: str = ""
    clock: float | None = None
    memory_clock: float | None = None
    power_limit: float | None = None
    pcie_generation: int | None = None
    pcie_lanes: int | None = None
    cores: int | None = None
    backend: str = "cuda"


@dataclass(frozen=True, slots=True)
class Processor:
    """The processors of a machine. name: as it names itself. clusters: of one socket, fastest first."""

    name: str = ""
    vendor: str = ""
    isa: tuple[str, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    sockets: int | None = None
    threads: int | None = None
    threads_per_core: int | None = None
    numa_nodes: int | None = None
    caches: Caches = NO_CACHES
    remarks: tuple[str, ...] = ()


def isa_words(flags: Iterable[str], more: Iterable[str] = ()) -> tuple[str, ...]:
    """The catalog's words for the kernel's flags, in the catalog's order."""
    words = {_ISA_FLAGS[flag] for flag in flags if flag in _ISA_FLAGS} | set(more)
    return tuple(word for word in _ISA_ORDER if word in words)
