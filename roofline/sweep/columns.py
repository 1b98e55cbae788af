"""What a sweep writes of each point: its place on the axes, and what is predicted of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from roofline.memory import MemoryBill
from roofline.prediction import Phase

KEYS = ("hardware", "model", "quant", "runtime", "backend", "kv", "threads", "ubatch")
NUMBERS = ("prompt", "gen", "depth", "batch")
BOUNDS = ("compute", "memory", "overhead", "link", "disk")

PHASE: dict[str, Callable[[Phase], Any]] = {
    "tok_s": lambda phase: phase.tok_s,
    "low_tok_s": lambda phase: phase.low_tok_s,
    "high_tok_s": lambda phase: phase.high_tok_s,
    "ceiling_tok_s": lambda phase: phase.ceiling_tok_s,
    "seconds": lambda phase: phase.seconds,
    "bound": lambda phase: np.array([BOUNDS.index(name) for name in phase.shares])[phase.bound_code],
    "flops": lambda phase: phase.flops,
    "bytes": lambda phase: phase.bytes,
    "intensity_flop_per_byte": lambda phase: phase.intensity,
}
MEMORY: dict[str, Callable[[MemoryBill], Any]] = {
    "weights_bytes": lambda memory: memory.weights,
    "kv_cache_bytes": lambda memory: memory.kv_cache,
    "compute_bytes": lambda memory: memory.compute,
    "total_bytes": lambda memory: memory.total,
    "capacity_bytes": lambda memory: memory.capacity,
    "usable_bytes": lambda memory: memory.usable,
    "fits": lambda memory: memory.fits,
}
_TIMES = ("ttft_s", "tpot_s", "total_s")
#: Everything that a sweep can write of a point, beside KEYS and NUMBERS.
COLUMNS = (
    *(f"{phase}_{name}" for phase in ("prefill", "decode") for name in PHASE),
    *_TIMES,
    *MEMORY,
)
#: What it writes unless told otherwise.
DEFAULT = (
    "prefill_tok_s", "prefill_low_tok_s", "prefill_high_tok_s", "prefill_bound",
    "decode_tok_s", "decode_low_tok_s", "decode_high_tok_s", "decode_bound",
    "ttft_s", "tpot_s", "total_bytes", "fits",
)  # fmt: skip


def kind(column: str) -> str:
    """'float', 'bytes', 'bool' or 'bound': what a column's values are."""
    if column.endswith("_bound"):
        return "bound"
    return "bool" if column == "fits" else "bytes" if column in MEMORY else "float"
