"""What a measured rung says beside its speed: its share of the peak, its place under the roofs, its step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from roofline.measure.ladder.climb import Measured
from roofline.measure.ladder.here import Here
from roofline.measure.ladder.rungs import Run, Rung
from roofline.measure.ladder.sizes import traffic
from roofline.measure.matmul import flops

_OVERHEAD = ("interpreter", "rows")
_CALL = 1 << 16  # FLOP that take no longer than the call of a library from Python: about 1 µs


@dataclass(frozen=True, slots=True)
class Step:
    """A rung in its place. work: [FLOP]; seconds: of one product, median [s]; bytes: each matrix once [B].

    path: of the operations per cycle that the peak rests on. peak, attainable: [FLOP/s], None where the machine's are
    not known; attainable: the roof at this intensity, if the matrices come from memory. is_cached: they fit the caches.
    share: of the peak [1]. against: the rung of which it is a step, None for the first; factor: by its speed [1].
    """

    measured: Measured
    work: float
    seconds: float
    bytes: float
    path: str | None
    peak: float | None
    attainable: float | None
    roof: str | None
    is_cached: bool
    against: Measured | None

    @property
    def run(self) -> Run:
        """The rung and its threads."""
        return self.measured.run

    @property
    def spec(self) -> Rung:
        """What the rung is."""
        return self.run.spec

    @property
    def flop_s(self) -> float:
        """Median speed [FLOP/s]."""
        return self.measured.samples.median

    @property
    def intensity(self) -> float:
        """Arithmetic intensity, every matrix moved once [FLOP/B]."""
        return self.work / self.bytes

    @property
    def share(self) -> float | None:
        """Of the peak [1]."""
        return self.flop_s / self.peak if self.peak else None

    @property
    def factor(self) -> float | None:
        """Times as fast as the rung before [1]."""
        return self.flop_s / self.against.samples.median if self.against else None

    @property
    def bound(self) -> str:
        """overhead where an interpreter or the call sets the pace; else what the roof is made of: compute or memory.

        cache where it is memory's, but the matrices fit the caches, so that repeating finds them there.
        """
        if self.spec.nature in _OVERHEAD or self.is_small:
            return "overhead"
        return "cache" if self.roof == "memory" and self.is_cached else self.roof or "compute"

    @property
    def is_small(self) -> bool:
        """Whether calling a library takes longer than so small a product."""
        return self.work < _CALL

    def cycles_per_term(self, clock: float) -> float:
        """Cycles for a multiplication and an addition, of each thread [1]. clock: [Hz]."""
        return 2.0 * clock * self.run.threads / self.flop_s

    @property
    def call_s(self) -> float:
        """Time for the n multiplications and additions of a call that goes through one row [s]."""
        return 2.0 * self.measured.n / self.flop_s


def steps(found: Sequence[Measured], here: Here) -> tuple[Step, ...]:
    """The rungs in their places."""
    by_run = {one.run: one for one in found}
    return tuple(_step(one, by_run, here) for one in found)


def _step(one: Measured, by_run: dict[Run, Measured], here: Here) -> Step:
    spec, work = one.run.spec, flops(one.n, one.m)
    size = traffic(spec, one.m, one.n)
    path = here.path(spec)
    ceilings = here.ceilings(path, one.run.threads)
    roof = attainable = None
    if ceilings is not None:
        attainable = float(ceilings.attainable(work / size))
        roof = "memory" if work / size < ceilings.ridge_point else "compute"
    return Step(
        measured=one,
        work=work,
        seconds=work / one.samples.median,
        bytes=size,
        path=path,
        peak=here.peak(path, one.run.threads),
        attainable=attainable,
        roof=roof,
        is_cached=size <= max(here.l3 or 0.0, (here.l2 or 0.0) * one.run.threads),
        against=_before(one.run, by_run),
    )


def _before(run: Run, by_run: dict[Run, Measured]) -> Measured | None:
    """The same with fewer threads for NumPy's fp32; for others the rung before with as many, or what there is of it."""
    fewer = [other for other in by_run if other.rung == run.rung and other.threads < run.threads]
    if run.rung == "numpy-fp32" and fewer:
        return by_run[max(fewer, key=lambda other: other.threads)]
    before = run.spec.before
    same = by_run.get(Run(before, run.threads))
    if same is not None or not before:
        return same
    others = [other for other in by_run if other.rung == before and other.threads == 1]
    return by_run[others[0]] if others and run.threads == 1 else None
