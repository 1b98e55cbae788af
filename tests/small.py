"""A machine and a model in round numbers, so that a test can derive every figure by hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roofline import api, catalog, fitted, local
from roofline.hardware import Hardware
from roofline.machine import Machine, make_machine
from roofline.model import Model
from roofline.runtime import Runtime
from roofline.spec import validate

#: A card: 100 GB/s and 1 TFLOP/s on every path.
GPU: dict[str, Any] = {
    "name": "Card",
    "vendor": "Somebody",
    "kind": "gpu",
    "backends": ["cuda"],
    "memory": {"type": "GDDR6", "bandwidth": "100 GB/s", "capacity": "1 GB"},
    "gpu": {"architecture": "1.0", "peak": {"fp32": "1 TFLOP/s", "fp16": "1 TFLOP/s", "int8": "1 TFLOP/s"}},
}

#: A processor: 4 fast cores at 2 GHz and 2 slow ones at 1 GHz, 16 FLOP a cycle and core; 10 GB/s.
CPU: dict[str, Any] = {
    "name": "Box",
    "vendor": "Somebody",
    "kind": "cpu",
    "backends": ["cpu"],
    "memory": {"type": "DDR4", "bandwidth": "10 GB/s", "capacity": "16 GB"},
    "cpu": {
        "isa": ["avx2"],
        "clusters": [
            {"cores": 4, "base": "2 GHz", "per_cycle": {"fp32": "16", "int8": "16"}},
            {"name": "E", "cores": 2, "base": "1 GHz", "per_cycle": {"fp32": "16", "int8": "16"}},
        ],
    },
}

_SPREAD = {"decode": {"value": 1.25}, "prefill": {"value": 2.0}}

#: An engine: half of every ceiling is reached, compute and memory time add up, a graph node costs 1 µs.
RUNTIME: dict[str, Any] = {
    "name": "engine",
    "period": "1",
    "batch": 512,
    "ubatch": 512,
    "context_padding": 256,
    "kv_types": ["f16", "q8_0", "q4_0"],
    "lacks": ["iq1_s"],
    "backends": {
        "cuda": {
            "memory": {"gddr": {"value": 0.5}},
            "kernels": [
                {"types": ["f16"], "columns": "few", "path": "fp16", "efficiency": {"value": 0.5}},
                {"types": ["any"], "path": "int8", "efficiency": {"value": 0.5}},
            ],
            "attention": [{"types": ["any"], "path": "fp32", "efficiency": {"value": 0.5}}],
            "sharpness": {"value": 1.0},
            "launch": [{"seconds": {"value": 1e-6}}],
            "context": {"value": 1e6},
            "spread": _SPREAD,
        },
        "cpu": {
            "memory": {"desktop": {"value": 0.5}, "any": {"value": 0.4}},
            "kernels": [{"types": ["any"], "path": "int8", "per_cycle": {"value": 8.0}}],
            "attention": [{"types": ["any"], "path": "fp32", "per_cycle": {"value": 4.0}}],
            "sharpness": {"value": 1.0},
            "barrier": {"base": {"value": 1e-6}, "per_thread": {"value": 1e-7}},
            "context": {"value": 1e6},
            "reserve": {"value": 1e9},
            "spread": _SPREAD,
        },
    },
}

#: Two layers of hidden size 64: 4 heads of 16 with 2 KV heads, an MLP of 96, a vocabulary of 128, untied.
MODEL: dict[str, Any] = {
    "name": "Tiny",
    "architecture": "llama",
    "vocab": 128,
    "hidden": 64,
    "layers": 2,
    "blocks": {
        "layer": {"attention": {"heads": 4, "kv_heads": 2, "head_dim": 16}, "mlp": {"width": 96}},
    },
}


def changed(table: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`table` with dotted paths replaced; None takes a key away."""
    import copy

    result = copy.deepcopy(table)
    for path, value in changes.items():
        *parents, last = path.split(".")
        inner: Any = result
        for parent in parents:
            inner = inner[int(parent)] if isinstance(inner, list) else inner.setdefault(parent, {})
        if value is None:
            inner.pop(last)
        else:
            inner[last] = value
    return result


def hardware(table: dict[str, Any], changes: dict[str, Any] | None = None) -> Hardware:
    return validate(Hardware, changed(table, changes or {}), "hardware.toml")


def runtime(changes: dict[str, Any] | None = None) -> Runtime:
    return validate(Runtime, changed(RUNTIME, changes or {}), "runtime.toml")


def model(changes: dict[str, Any] | None = None) -> Model:
    return validate(Model, changed(MODEL, changes or {}), "model.toml")


def machine(
    table: dict[str, Any],
    threads: int | None = None,
    device: dict[str, Any] | None = None,
    engine: dict[str, Any] | None = None,
) -> Machine:
    """The card or the processor under the engine, with some figures changed."""
    return make_machine(hardware(table, device), runtime(engine), None, threads)


def forget_files() -> None:
    """Empty every cache of the catalog, as in a new process."""
    for module in (catalog, api, fitted, local):
        for thing in vars(module).values():
            if hasattr(thing, "cache_clear"):
                thing.cache_clear()


@contextmanager
def fresh_catalog() -> Iterator[None]:
    """Files are read anew inside, and what was read inside is forgotten after."""
    forget_files()
    try:
        yield
    finally:
        forget_files()


ROOT = Path(__file__).parent.parent
