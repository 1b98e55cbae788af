"""Fitted constants: a file of values that take the place of the priors in the runtime files, and of bands.

`roofline calibrate` writes it. The package ships one, made from public measurements; a user's own, in ROOFLINE_PATH or
the user's directory, comes on top, constant by constant.
"""

from __future__ import annotations

import math
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import Field

from roofline.spec import Spec, Words, read_toml, validate

SAME = 1e-3  # priors are written down with four digits
FILE = "fitted.toml"
SHIPPED = Path(__file__).resolve().parent / FILE


class FittedConstant(Spec):
    """A constant's fitted value, its relative standard error, and the prior it began from."""

    value: float = Field(gt=0, allow_inf_nan=False)
    error: float = Field(ge=0, allow_inf_nan=False)
    prior: float = Field(gt=0, allow_inf_nan=False)


class FittedSpread(Spec):
    """Band factors of a backend, and what the devices behind them were.

    decode, prefill: 8 of 10 measurements of a new device lie within ÷f … ×f. known: architectures of GPUs, or
    instruction sets of CPUs, that the fit has seen.
    """

    decode: float = Field(gt=1, allow_inf_nan=False)
    prefill: float = Field(gt=1, allow_inf_nan=False)
    devices: int = Field(ge=0)
    known: Words = ()


class LocalFit(Spec):
    """Band factors of a device on which the user's own measurements corrected the constants; hardware is its name."""

    hardware: str
    backend: str
    decode: float = Field(gt=1, allow_inf_nan=False)
    prefill: float = Field(gt=1, allow_inf_nan=False)


class Fitted(Spec):
    """A file of fitted constants. observations: what it was made from, in words."""

    observations: str = ""
    rows: int = Field(default=0, ge=0)
    devices: int = Field(default=0, ge=0)
    constants: dict[str, FittedConstant] = Field(default_factory=dict)
    spread: dict[str, FittedSpread] = Field(default_factory=dict)
    local: tuple[LocalFit, ...] = ()


def files(user: Path) -> list[Path]:
    """The files of fitted constants, the shipped one first: a later one's values take the place of an earlier one's."""
    own = [Path(part) for part in os.environ.get("ROOFLINE_PATH", "").split(os.pathsep) if part]
    return [path for path in (SHIPPED, user / FILE, *((root / FILE) for root in reversed(own))) if path.is_file()]


@lru_cache(maxsize=8)
def load(path: Path) -> Fitted:
    """A file of fitted constants; SpecError names file and field."""
    return validate(Fitted, read_toml(path), path)


def apply(data: dict[str, Any], paths: list[Path]) -> dict[str, Any]:
    """The tables of a runtime with fitted values in place of its priors.

    Constants are recognised by the origin that runtime.mark_origins noted in them.
    """
    for path in paths:
        fitted = load(path)
        if fitted.constants:
            _replace(data.get("backends"), fitted)
        for backend, spread in fitted.spread.items():
            engine = data.get("backends", {}).get(backend)
            if isinstance(engine, dict):
                engine["spread"] = _spread(spread)
        for one in fitted.local:
            engine = data.get("backends", {}).get(one.backend)
            if isinstance(engine, dict) and isinstance(engine.get("spread"), dict):
                factors = {"decode": one.decode, "prefill": one.prefill}
                engine["spread"] = {
                    **engine["spread"],
                    "local": {**engine["spread"].get("local", {}), one.hardware: factors},
                }
    return data


def _spread(spread: FittedSpread) -> dict[str, Any]:
    note = f"leave-one-device-out residuals of {spread.devices} devices, widened for a new one"
    return {
        "decode": {"value": spread.decode, "basis": "fitted", "note": note},
        "prefill": {"value": spread.prefill, "basis": "fitted", "note": note},
        "known": list(spread.known),
        "calibrated": True,
    }


def _replace(node: Any, fitted: Fitted) -> None:
    if isinstance(node, dict):
        found = fitted.constants.get(node["origin"]) if isinstance(node.get("origin"), str) else None
        if found is not None:
            stated = node.get("prior", node["value"])
            # A value that somebody has changed since is no longer the prior of that fit: theirs counts.
            if isinstance(stated, (int, float)) and math.isclose(stated, found.prior, rel_tol=SAME):
                if "prior" not in node:
                    prior = f"prior {stated:.3g}"
                    node.update(prior=stated, note=f"{prior}: {node['note']}" if node.get("note") else prior)
                node.update(value=found.value, error=found.error, basis="fitted")
            return
        for child in node.values():
            _replace(child, fitted)
    elif isinstance(node, list):
        for child in node:
            _replace(child, fitted)
