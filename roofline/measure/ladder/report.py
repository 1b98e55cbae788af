"""A measured ladder as rows and words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from roofline.measure.conditions import Disturbance
from roofline.measure.ladder.climb import Measured, name_of
from roofline.measure.ladder.here import Here
from roofline.measure.ladder.history import MACHINE, Historical, cited
from roofline.measure.ladder.reasons import end_of_climb, reason
from roofline.measure.ladder.rungs import RUNGS, UNBLOCKED
from roofline.measure.ladder.sizes import side_in, traffic
from roofline.measure.ladder.steps import Step
from roofline.measure.matmul import Unmeasured
from roofline.tables import Format, printable, render, to_json
from roofline.units import format_number, format_quantity

SCHEMA = "roofline.ladder/1"
#: What a row of the ladder has, in the order of the table; the others are in JSON and CSV.
TABLE = (
    "rung", "dtype", "threads", "matrix_n", "achieved_flop_s", "spread", "share_of_peak", "times_as_fast", "bound",
)  # fmt: skip
COLUMNS = (
    *TABLE[:6], "runs", "share_of_peak", "times_as_fast", "step_from", "bound", "flops", "seconds", "bytes",
    "intensity_flop_per_byte", "path_peak_flop_s", "peak_path", "attainable_flop_s", "error_of_bound",
    "library", "reason",
)  # fmt: skip
SIZE_COLUMNS = ("rung", "threads", "matrix_n", "matrix_rows", "working_set_bytes", "achieved_flop_s", "spread")
HISTORY_COLUMNS = ("name", "library", "achieved_flop_s", "note")


@dataclass(frozen=True)
class Ladder:
    """A measurement. n: as asked for; sizes: the sweep; missing: what was not measured, and why."""

    n: int
    here: Here
    steps: tuple[Step, ...]
    sizes: tuple[Measured, ...]
    missing: tuple[Unmeasured, ...]
    history: tuple[Historical, ...]
    disturbances: tuple[Disturbance, ...] = ()
    seconds: float = 0.0

    def rows(self) -> list[dict[str, Any]]:
        """A row for each rung, under COLUMNS."""
        return [step_row(step, self.here) for step in self.steps]

    def size_rows(self) -> list[dict[str, Any]]:
        """A row for each size, under SIZE_COLUMNS."""
        return [size_row(one) for one in self.sizes]

    def history_rows(self) -> list[dict[str, Any]]:
        """The article's rungs, under HISTORY_COLUMNS."""
        return [
            {"name": one.name, "library": one.library, "achieved_flop_s": one.flop_s, "note": one.note}
            for one in self.history
        ]

    @property
    def best(self) -> Step | None:
        """The fastest rung, of any type."""
        return max(self.steps, key=lambda step: step.flop_s, default=None)


def step_row(step: Step, here: Here) -> dict[str, Any]:
    """A rung as values under COLUMNS."""
    one = step.measured
    before = step.against.run if step.against else None
    return {
        "rung": step.run.rung,
        "dtype": step.spec.dtype,
        "threads": step.run.threads,
        "matrix_n": one.n,
        "achieved_flop_s": step.flop_s,
        "spread": one.samples.spread,
        "runs": len(one.samples.values),
        "share_of_peak": step.share,
        "times_as_fast": step.factor,
        "step_from": f"{before.rung}, {before.threads}" if before else None,
        "bound": step.bound,
        "flops": step.work,
        "seconds": step.seconds,
        "bytes": step.bytes,
        "intensity_flop_per_byte": step.intensity,
        "path_peak_flop_s": step.peak,
        "peak_path": step.path,
        "attainable_flop_s": step.attainable,
        "error_of_bound": one.error,
        "library": one.library,
        "reason": reason(step, here),
    }


def size_row(one: Measured) -> dict[str, Any]:
    """A size of the sweep as values under SIZE_COLUMNS."""
    return {
        "rung": one.run.rung,
        "threads": one.run.threads,
        "matrix_n": one.n,
        "matrix_rows": one.m,
        "working_set_bytes": traffic(one.run.spec, one.m, one.n),
        "achieved_flop_s": one.samples.median,
        "spread": one.samples.spread,
    }


def report(ladder: Ladder, form: Format) -> str:
    """A ladder in a format: tables and words, JSON with everything, or CSV with the rungs."""
    if form == "json":
        return to_json(record(ladder))
    if form == "csv":
        return render(ladder.rows(), COLUMNS, "csv")
    mark = "## " if form == "md" else ""
    sections = [
        (f"The ladder, n = {ladder.n}", render(ladder.rows(), TABLE, form)),
        ("Why", _bullets(words(ladder))),
    ]
    if ladder.disturbances:
        sections.append(("What disturbed it", _bullets(map(str, ladder.disturbances))))
    if ladder.missing:
        sections.append(("Not measured", _bullets(f"{one.what}: {one.reason}" for one in ladder.missing)))
    if ladder.sizes:
        sizes = render(ladder.size_rows(), SIZE_COLUMNS, form)
        sections.append(("Speed against size", f"{sizes}\n{_bullets(size_words(ladder))}"))
    sections.append(("The machine", _bullets(machine_words(ladder))))
    sections.append(
        (
            f"Another machine's ladder, {MACHINE}",
            f"{render(ladder.history_rows(), HISTORY_COLUMNS[::2], form)}\n{_bullets([cited()])}",
        )
    )
    return "\n".join(f"{mark}{title}\n\n{text}" for title, text in sections)


def record(ladder: Ladder) -> dict[str, Any]:
    """Everything, under keys that carry their unit."""
    here = ladder.here
    return {
        "schema": SCHEMA,
        "matrix_n": ladder.n,
        "machine": {
            "name": here.name, "isa": list(here.isa), "cores": here.cores, "virtual": here.virtual,
            "per_cycle": here.per_cycle, "per_cycle_basis": here.per_cycle_basis,
            "clock_hz": _by_threads(here.clock), "clock_basis": here.clock_basis,
            "bandwidth_bytes_s": _by_threads(here.bandwidth), "bandwidth_basis": here.bandwidth_basis,
            "l2_bytes": here.l2, "l3_bytes": here.l3,
        },
        "rungs": ladder.rows(),
        "sizes": ladder.size_rows(),
        "historical": {"machine": MACHINE, "source": cited(), "rungs": ladder.history_rows()},
        "not_measured": [asdict(one) for one in ladder.missing],
        "disturbances": [asdict(one) for one in ladder.disturbances],
        "seconds": ladder.seconds,
    }  # fmt: skip


def _by_threads(values: dict[int, float]) -> dict[str, float]:
    return {str(threads): value for threads, value in values.items()}


def _bullets(lines: Iterable[str]) -> str:
    return "".join(f"{printable(f'- {line}')}\n" for line in lines)


# -- words ------------------------------------------------------------------------------------------------------------


def words(ladder: Ladder) -> Iterator[str]:
    """The reason of each rung, then where the climb ends.

    Numbers of threads are told apart for the rung that climbs by them; of the others the fastest is told. A reason is
    told once.
    """
    told: dict[str, str] = {}
    for step in ladder.steps:
        own = [other for other in ladder.steps if other.run.rung == step.run.rung]
        if step.spec.nature == "blas" or step is max(own, key=lambda other: other.flop_s):
            many = f", {step.run.threads} threads" if step.run.threads > 1 else ""
            why = reason(step, ladder.here)
            first = told.setdefault(why, step.run.rung)
            yield f"{step.run.rung}{many}{_times(step)}: {why if first == step.run.rung else f'As {first}.'}"
    late = [one for one in ladder.steps if one.measured.n < min(ladder.n, one.spec.limit or ladder.n)]
    if late:
        each = "; ".join(name_of(one.run) for one in late)
        yield f"For want of time at a smaller n, where speeds may be lower: {each}."
    if ladder.best is not None:
        yield end_of_climb(ladder.best, ladder.here)


def _times(step: Step) -> str:
    if step.factor is None or step.against is None:
        return ""
    threads = step.against.run.threads
    other = f" with {threads} thread{'s' * (threads != 1)}" if step.against.run.rung == step.run.rung else ""
    return f" (×{format_number(step.factor)} of {step.against.run.rung}{other})"


def machine_words(ladder: Ladder) -> Iterator[str]:
    """What the shares rest on, and what a product takes."""
    here = ladder.here
    cores = f"{here.cores} core{'s' * (here.cores != 1)}{', virtual machine' if here.virtual else ''}"
    yield f"{here.name}, {cores}: {' '.join(here.isa) or 'instruction sets not known'}"
    used = dict.fromkeys(step.path for step in ladder.steps if step.path)
    rates = ", ".join(f"{path} {here.rate(path):g}" for path in used)
    if rates:
        yield f"peak: cores × clock × operations per cycle, {rates} ({here.per_cycle_basis}; fp64 half of fp32)"
    else:
        yield f"operations per cycle: not known, so there is no share of a peak ({here.per_cycle_basis})"
    for what, values, unit, basis in (
        ("clock", here.clock, "Hz", here.clock_basis),
        ("memory reads", here.bandwidth, "B/s", here.bandwidth_basis),
    ):
        each = ", ".join(
            f"{format_quantity(value, unit)} with {threads} thread{'s' * (threads != 1)}"
            for threads, value in values.items()
        )
        yield f"{what}: {each} ({basis})" if each else f"{what}: not known"
    full = next((step for step in ladder.steps if step.run.rung == "numpy-fp32"), None)
    if full is not None:
        yield (
            f"a product in fp32 of n = {full.measured.n}: {format_quantity(full.work, 'FLOP')} on "
            f"{format_quantity(full.bytes, 'B')} if each matrix is moved once, {format_number(full.intensity)} FLOP/B"
        )
    yield "every product was compared with a float64 reference: none differs by more than rounding explains"


def size_words(ladder: Ladder) -> Iterator[str]:
    """Where the matrices leave the caches, and what that does to either kind of rung."""
    rung = RUNGS[UNBLOCKED]
    fits = [
        f"the {name} {whose} ({format_quantity(cache, 'B', binary=True)}) up to n = {side_in(cache, rung)}"
        for name, cache, whose in (("L2", ladder.here.l2, "of a core"), ("L3", ladder.here.l3, "of the machine"))
        if cache
    ]
    if fits:
        yield f"three fp32 matrices fit {', '.join(fits)}"
    for run in dict.fromkeys(one.run for one in ladder.sizes):
        own = [one for one in ladder.sizes if one.run == run]
        top, last = max(own, key=lambda one: one.samples.median), own[-1]
        if len(own) < 2:
            continue
        kept = last.samples.median / top.samples.median
        after = "the largest in time" if top is last else f"{kept:.0%} of it at n = {last.n}"
        kind = "goes through B again for each row" if run.rung == UNBLOCKED else "works on blocks that fit the caches"
        yield (
            f"{run.rung}, {run.threads} thread{'s' * (run.threads != 1)}, {kind}: at most "
            f"{format_quantity(top.samples.median, 'FLOP/s')} at n = {top.n}, {after}"
        )
    if any(one.m < one.n for one in ladder.sizes):
        yield f"{UNBLOCKED} multiplies a few rows of A only: each takes as long as any other"
