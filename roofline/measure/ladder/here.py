"""The ceilings of this machine for a ladder: operations per cycle × clock × cores, and the memory's bandwidth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from roofline import catalog
from roofline.ceilings import Ceilings
from roofline.measure.bandwidth import largest_set, sweep, working_sets
from roofline.measure.clock import measure_clock
from roofline.measure.curve import Curve
from roofline.measure.identity import Identity
from roofline.measure.ladder.rungs import Rung
from roofline.measure.roofs import available_memory, usable_cores
from roofline.measure.twin import Twin, twin
from roofline.spec import SpecError

_SETS = 6  # the largest ones: a hurry may not allow for all
_CLOCK_SHARE = 0.25  # of the time
_HALF = 0.5  # fp64 per fp32: a vector holds half as many
# Names of numpy's for the sets that its loops are compiled for, in those of isa; the levels are x86-64's.
_BASELINES = {
    **dict.fromkeys(("SSE", "SSE2", "SSE3", "SSSE3", "SSE41", "SSE42", "X86_V2"), "sse4"), "AVX": "avx", "AVX2": "avx2",
    "X86_V3": "avx2", "AVX512F": "avx512", "X86_V4": "avx512", "NEON": "neon", "ASIMD": "neon",
}  # fmt: skip


@dataclass(frozen=True)
class Here:
    """This machine. clock: by threads [Hz]; bandwidth: reads, by threads [B/s]; both with how they are known.

    per_cycle: operations per cycle of a fast core by path. cycles: cycles a second of all cores that so many threads
    occupy, in those of a fast core [1/s]. l2, l3: the caches of a core and of the machine [B], None where unknown.
    cores: that this process may use. loops_isa: what numpy's own loops are compiled for, which is less than isa.
    """

    name: str
    isa: tuple[str, ...]
    cores: int
    virtual: bool
    per_cycle: dict[str, float] = field(default_factory=dict)
    clock: dict[int, float] = field(default_factory=dict)
    cycles: dict[int, float] = field(default_factory=dict)
    bandwidth: dict[int, float] = field(default_factory=dict)
    l2: float | None = None
    l3: float | None = None
    loops_isa: tuple[str, ...] = ()
    per_cycle_basis: str = ""
    clock_basis: str = ""
    bandwidth_basis: str = ""

    def rate(self, path: str) -> float | None:
        """Operations per cycle of a fast core [1]; of fp64, half of fp32's where the catalog does not say."""
        if path == "fp64" and "fp64" not in self.per_cycle and "fp32" in self.per_cycle:
            return _HALF * self.per_cycle["fp32"]
        return self.per_cycle.get(path)

    def path(self, rung: Rung) -> str | None:
        """The fastest path that may carry out a rung; None where none is known."""
        known = [path for path in rung.paths if self.rate(path)]
        return max(known, key=lambda path: self.rate(path) or 0.0, default=None)

    def peak(self, path: str | None, threads: int) -> float | None:
        """What so many cores could do on a path [FLOP/s]; None where it is not known."""
        rate, cycles = self.rate(path) if path else None, self.cycles.get(threads)
        return rate * cycles if rate and cycles else None

    def ceilings(self, path: str | None, threads: int) -> Ceilings | None:
        """Peak and bandwidth of so many threads; None where one is not known."""
        peak, bandwidth = self.peak(path, threads), self.bandwidth.get(threads)
        return Ceilings(peak, bandwidth) if peak and bandwidth else None


def look(
    identity: Identity, threads: Sequence[int], seconds: float, quick: bool,
    progress: Callable[[float], None] = lambda _: None,
) -> Here:  # fmt: skip
    """This machine's ceilings for these numbers of threads, in about so many seconds [s]."""
    twins = [twin(seen, identity.isa, identity.vendor, catalog.HOST) for seen in identity.clusters]
    clock, clock_basis = _clocks(identity, twins, threads, _CLOCK_SHARE * seconds)
    progress(0.5)
    bandwidth, bandwidth_basis = _bandwidth(identity, threads, (1.0 - _CLOCK_SHARE) * seconds, quick)
    progress(1.0)
    same = twins[0] if twins else None
    cores = identity.cores or threads[-1]
    kind = "the same core" if same and same.exact else "a core with the same instruction sets"
    return Here(
        name=identity.board or identity.processor or "this machine",
        isa=identity.isa,
        cores=usable_cores(identity),
        virtual=bool(identity.virtual),
        per_cycle={path: figure.value for path, figure in same.cluster.per_cycle.items()} if same else {},
        clock=clock,
        cycles={count: cycles for count in threads if (cycles := _cycles(identity, twins, clock, count))},
        bandwidth=bandwidth,
        l2=identity.caches.l2 / cores if identity.caches.l2 else None,
        l3=float(identity.caches.l3) if identity.caches.l3 else None,
        loops_isa=loops_isa(),
        per_cycle_basis=f"{kind} in the catalog: {same.file}" if same else "the catalog has no such core",
        clock_basis=clock_basis,
        bandwidth_basis=bandwidth_basis,
    )


def loops_isa() -> tuple[str, ...]:
    """The instruction sets that numpy is compiled for; () where it does not say.

    Only some of its loops have versions for more, chosen when they run; einsum has not (numpy, einsum_sumprod.c.src).
    """
    try:
        config: Any = np.show_config(mode="dicts")
        told = config["SIMD Extensions"]["baseline"]
    except (TypeError, KeyError, AttributeError):
        return ()
    return tuple(dict.fromkeys(_BASELINES[name] for name in reversed(told) if name in _BASELINES))


def _clocks(
    identity: Identity, twins: Sequence[Twin | None], threads: Sequence[int], seconds: float
) -> tuple[dict[int, float], str]:
    """The clock by threads [Hz]: measured, else as the system or the catalog states it."""
    found = {}
    for count in threads:
        samples = measure_clock(identity.microarchitecture, count, seconds / len(threads))
        if samples is not None:
            found[count] = samples.median
    if found:
        return found, "measured just now: a chain of dependent multiplications"
    for clock, basis in (
        (identity.clusters[0].max_clock if identity.clusters else None, "stated by the system"),
        (twins[0].cluster.peak_clock if twins and twins[0] else None, "the catalog's, of the same core"),
    ):
        if clock:
            return dict.fromkeys(threads, clock), basis
    return {}, "not known"


def _cycles(identity: Identity, twins: Sequence[Twin | None], clock: dict[int, float], threads: int) -> float | None:
    """Cycles a second of the cores that the threads occupy, fastest first, in those of a fast core [1/s].

    A slower core counts by its operations per cycle and its clock.
    """
    own, fast = clock.get(threads), twins[0] if twins else None
    if own is None:
        return None
    total, left, sockets = 0.0, threads, identity.sockets or 1
    for number, (seen, same) in enumerate(zip(identity.clusters, twins, strict=True)):
        used = min(left, seen.cores * sockets)
        left -= used
        slower = 1.0
        if number and same and fast and (here := same.cluster.per_cycle.get("fp32")):
            slower = here.value / fast.cluster.per_cycle["fp32"].value
        rate = own if number == 0 else min(seen.max_clock or (same.cluster.sustained_clock if same else own), own)
        total += used * rate * slower
    return total or threads * own


def _bandwidth(identity: Identity, threads: Sequence[int], seconds: float, quick: bool) -> tuple[dict[int, float], str]:
    """Reads by threads [B/s]: from the file that `measure` wrote, else measured in a hurry."""
    try:
        stated = catalog.load_hardware(catalog.HOST).spec.memory.sustained
    except SpecError:
        stated = {}
    known = {
        count: figure.value
        for count in threads
        if (figure := stated.get(f"cpu {count} thread{'s' * (count > 1)}")) is not None
    }
    if set(known) == set(threads):
        return known, "the file that `roofline measure` wrote"
    sizes = working_sets(largest_set(available_memory(identity), identity.caches.l3 or 0.0, quick))
    points = sweep(sizes[-_SETS:], threads, ("read",), seconds, rounds=3)
    curves = {count: curve for count in threads if (curve := Curve.of(points, "read", count))}
    return {count: curve.memory.median for count, curve in curves.items()}, "measured just now: reads by numpy"
