"""Errors of groups of rows. Devices count alike, however many rows they have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from math import exp, expm1, log
from statistics import median

from roofline.check.verdicts import Row

NEAR = 1.5  # the factor within which a device's typical error should be


@dataclass(frozen=True, slots=True)
class Errors:
    """How right predictions are. "Median" is over devices, of each device's own median; shares are of rows [1].

    median_error: |predicted / measured − 1|. geometric_factor: exp |ln (predicted / measured)|, whatever the direction.
    bias: predicted / measured; above 1 is too fast. devices_within_factor_1_5: devices whose own geometric factor is at
    most 1.5.
    """

    rows: int
    devices: int
    median_error: float
    geometric_factor: float
    within_10: float
    within_20: float
    within_50: float
    bias: float
    devices_within_factor_1_5: float


@dataclass(frozen=True, slots=True)
class Group(Errors):
    """A group of rows of one phase. coverage: rows in the 80 % band [1]."""

    group: str
    phase: str
    coverage: float


@dataclass(frozen=True, slots=True)
class Device:
    """One device under a backend in one phase; the figures as in Group."""

    hardware: str
    backend: str
    phase: str
    rows: int
    median_error: float
    geometric_factor: float
    bias: float
    coverage: float


def errors(residuals: Sequence[float], names: Sequence[str]) -> Errors:
    """The figures of rows from ln(predicted / measured) and the device of each; at least one row."""
    by_device: dict[str, list[float]] = defaultdict(list)
    for name, residual in zip(names, residuals, strict=True):
        by_device[name].append(residual)
    sizes = [error_of(residual) for residual in residuals]
    factors = [median(map(abs, own)) for own in by_device.values()]  # as logarithms
    return Errors(
        rows=len(residuals),
        devices=len(by_device),
        median_error=median(median(map(error_of, own)) for own in by_device.values()),
        geometric_factor=exp(median(factors)),
        within_10=share(size <= 0.10 for size in sizes),
        within_20=share(size <= 0.20 for size in sizes),
        within_50=share(size <= 0.50 for size in sizes),
        bias=exp(median(median(own) for own in by_device.values())),
        devices_within_factor_1_5=share(factor <= log(NEAR) for factor in factors),
    )


def error_of(residual: float) -> float:
    """Absolute error as a share of the measured speed [1], from ln(predicted / measured)."""
    return abs(expm1(residual))


def share(flags: Iterable[bool]) -> float:
    """How many of the flags are true [1]."""
    values = list(flags)
    return sum(values) / len(values)


def is_plain(row: Row) -> bool:
    """One sequence on one device, documented at least in part: what most of the groups are made of."""
    seen = row.observation
    return (seen.batch or 1) == 1 and seen.count == 1 and seen.tier.upper() != "C"


def is_batch(row: Row) -> bool:
    """Several sequences at a time on one device."""
    return (row.observation.batch or 1) > 1 and row.observation.count == 1


def is_multi(row: Row) -> bool:
    """Several devices."""
    return row.observation.count > 1


def is_deep(row: Row) -> bool:
    """Tokens in the cache at the start."""
    return is_plain(row) and (row.observation.depth or 0) > 0


def is_moe(row: Row) -> bool:
    """A model with experts."""
    return is_plain(row) and row.experts


#: Groups beside the backends: what they hold, in the order in which they are shown.
KINDS: dict[str, Callable[[Row], bool]] = {
    "moe": is_moe,
    "depth > 0": is_deep,
    "batch > 1": is_batch,
    "several devices": is_multi,
}


def groups(rows: Sequence[Row]) -> list[Group]:
    """All rows, the plain ones, these by backend, and the kinds, each by phase; empty ones left out."""
    plain = [row for row in rows if is_plain(row)]
    named: list[tuple[str, Sequence[Row]]] = [("all rows", rows), ("plain", plain)]
    for backend in sorted({row.backend for row in plain}):
        named.append((backend, [row for row in plain if row.backend == backend]))
    for name, belongs in KINDS.items():
        named.append((name, [row for row in rows if belongs(row)]))
    found = []
    for name, members in named:
        for phase in ("decode", "prefill"):
            chosen = [row for row in members if row.phase == phase]
            if chosen:
                found.append(summarise(name, phase, chosen))
    return found


def summarise(name: str, phase: str, rows: Sequence[Row]) -> Group:
    """The figures of a group that has rows."""
    found = errors([log(row.ratio) for row in rows], [row.observation.hardware for row in rows])
    return Group(**asdict(found), group=name, phase=phase, coverage=share(row.in_band for row in rows))


def devices(rows: Sequence[Row]) -> list[Device]:
    """Every device, backend and phase, the worst first."""
    parts: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        parts[row.observation.hardware, row.backend, row.phase].append(row)
    found = []
    for (hardware, backend, phase), members in parts.items():
        own = summarise(backend, phase, members)
        found.append(
            Device(hardware, backend, phase, own.rows, own.median_error, own.geometric_factor, own.bias, own.coverage)
        )
    return sorted(found, key=lambda one: (-one.geometric_factor, one.hardware, one.backend, one.phase))
