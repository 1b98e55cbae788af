"""What measurements of one device say of it: factors on the runtime's constants, and a band of its own.

The shipped constants describe devices of a kind. One device differs from its kind in a few ways that all its kernels
share: how fast it reads, how fast it multiplies with one column and with many, what a graph node costs; and in how well
each type's kernel suits it. `roofline calibrate --hw` finds these factors and keeps them in a file for that device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from roofline.runtime import Constant, Factor, LocalSpread, Runtime
from roofline.spec import Spec, read_toml, validate

ROOM = "calibrated"
ORIGIN = "this device: "
#: How far a device's kernel of one type may be from what its other kernels say (standard deviation of the logarithm).
TYPE_SIGMA = 0.2


class LocalFactor(Spec):
    """A correction that was found on the device: where it applies, as in runtime.Factor, its value and its error."""

    on: Literal["rate", "stream", "launch", "memory", "core", "activation"]
    value: float = Field(gt=0, allow_inf_nan=False)
    error: float = Field(ge=0, allow_inf_nan=False)
    types: tuple[str, ...] = ()
    columns: Literal["few", "many", "any"] = "any"
    attention: bool | None = None


class Local(Spec):
    """A device's calibration. hardware: its name; decode, prefill: factors of its 80 % band; rows: behind it."""

    hardware: str
    backend: str
    rows: int = Field(ge=0)
    observations: str = ""
    decode: float = Field(gt=1, allow_inf_nan=False)
    prefill: float = Field(gt=1, allow_inf_nan=False)
    factors: dict[str, LocalFactor] = Field(default_factory=dict)


def _factor(name: str, on: str, sigma: float, note: str, **where: Any) -> Factor:
    value = {"value": 1.0, "sigma": sigma, "basis": "assumed", "note": note, "origin": ORIGIN + name}
    return Factor.model_validate({"name": name, "on": on, "value": value, **where})


@lru_cache(maxsize=1)
def common() -> tuple[Factor, ...]:
    """In what devices of a kind differ, before any was measured: wide enough for a part of a shared machine."""
    return (
        _factor("memory", "memory", 0.5, "share of the bandwidth"),
        _factor("core bandwidth", "core", 0.5, "bytes a core reads in a cycle"),
        _factor("node, single tokens", "launch", 0.7, "barrier or launch", columns="few"),
        _factor("node, prompts", "launch", 0.7, "barrier or launch", columns="many"),
        _factor("kernels, single tokens", "rate", 0.6, "dequantisation, dot products", columns="few", attention=False),
        _factor("kernels, prompts", "rate", 0.6, "blocked products", columns="many", attention=False),
        _factor("attention", "rate", 0.5, "attention over the cache", attention=True),
    )


def neutral(types: Sequence[str]) -> tuple[Factor, ...]:
    """The factors of a device with these weight types, all 1: what a calibration begins at."""
    own = [
        _factor(
            f"{name}, {words}", "rate", TYPE_SIGMA, "this type's kernel", types=[name], columns=columns, attention=False
        )
        for name in types
        for words, columns in (("single tokens", "few"), ("prompts", "many"))
    ]
    return (*common(), *own)


def with_factors(runtime: Runtime, backend: str, factors: Sequence[Factor]) -> Runtime:
    """The runtime with further corrections on one backend."""
    engine = runtime.engine(backend)
    changed = engine.model_copy(update={"factors": (*factors, *engine.factors)})
    return runtime.model_copy(update={"backends": {**runtime.backends, backend: changed}})


def without_local(runtime: Runtime, backend: str) -> Runtime:
    """The runtime as it is for every device of the kind."""
    engine = runtime.engine(backend)
    kept = tuple(factor for factor in engine.factors if not factor.value.origin.startswith(ORIGIN))
    changed = engine.model_copy(update={"factors": kept})
    return runtime.model_copy(update={"backends": {**runtime.backends, backend: changed}})


def localised(runtime: Runtime, device: str, calibrations: Mapping[tuple[str, str], Local]) -> Runtime:
    """The runtime as calibrations of a device of that name found it; unchanged where there is none."""
    for (hardware, backend), local in calibrations.items():
        if hardware != device or backend not in runtime.backends:
            continue
        runtime = with_factors(runtime, backend, [_applied(name, one) for name, one in local.factors.items()])
        engine = runtime.engine(backend)
        own = LocalSpread(decode=local.decode, prefill=local.prefill)
        spread = engine.spread.model_copy(update={"local": {**engine.spread.local, device: own}})
        changed = engine.model_copy(update={"spread": spread})
        runtime = runtime.model_copy(update={"backends": {**runtime.backends, backend: changed}})
    return runtime


def _applied(name: str, found: LocalFactor) -> Factor:
    value = Constant(value=found.value, error=found.error, basis="fitted", note="measured here", origin=ORIGIN + name)
    return Factor(
        name=f"this device: {name}",
        on=found.on,
        value=value,
        types=found.types,
        columns=found.columns,
        attention=found.attention,
    )


def calibrations(folders: Sequence[Path]) -> dict[tuple[str, str], Local]:
    """The calibrations in folders by (name of the hardware, backend); an earlier folder's counts before a later's."""
    found: dict[tuple[str, str], Local] = {}
    for path in files(folders):
        local = _read(path, path.stat().st_mtime_ns)
        found.setdefault((local.hardware, local.backend), local)
    return found


def files(folders: Sequence[Path]) -> list[Path]:
    """The files of calibrations in folders, the first folder's first."""
    return [path for folder in folders for path in sorted((folder / ROOM).glob("*.toml"))]


@lru_cache(maxsize=64)
def _read(path: Path, _modified: int) -> Local:
    return validate(Local, read_toml(path), path)
