"""Which measurements belong beside a curve, and where along it.

A measurement is drawn where the device, model, quantisation, backend and engine are the prediction's (see measured.py),
and all its other figures but the one along the axis agree with the curve's, as far as it states them: the same batch,
threads and types of cache; a prompt within a quarter; a cache that is on average within a quarter, or 256 tokens, as
full. What it leaves open is taken as llama-bench's default.
"""

from __future__ import annotations

from roofline.bench.expected import USUAL_GEN, USUAL_PROMPT, beyond_columns
from roofline.charts.curve import Dot
from roofline.charts.measured import Measured, measured
from roofline.prediction import Prediction

NEAR = 0.25  # share by which a prompt or a cache may differ
FEW = 256.0  # tokens in the cache that make no difference


def dots(prediction: Prediction, axis: str, phase: str) -> tuple[Dot, ...]:
    """The measurements of a phase that agree with a curve over `axis` through this prediction, ascending."""
    engine = prediction.names.get("runtime", "")
    found = [
        Dot(float(x), one.tok_s, one.std, one.id, one.source, one.url, one.runtime, one.runtime != engine)
        for one in measured(prediction)
        if one.phase == phase and (x := _place(one, axis)) is not None and agrees(one, prediction, axis)
    ]
    return tuple(sorted(found, key=lambda dot: (dot.x, dot.id)))


def _place(one: Measured, axis: str) -> int | None:
    """Where along the axis: what is not stated is not known of threads, and llama-bench's default of the others."""
    usual = {"depth": 0, "batch": 1}
    stated: int | None = getattr(one, axis)
    return usual.get(axis) if stated is None else stated


def agrees(one: Measured, prediction: Prediction, axis: str) -> bool:
    """Whether all but the figure along the axis is as in the prediction."""
    workload, machine = prediction.workload, prediction.machine
    if axis != "batch" and (one.batch or 1) != workload.batch:
        return False
    if axis != "threads" and machine.backend == "cpu" and (one.threads or machine.threads) != machine.threads:
        return False
    keys, _ = beyond_columns(one.observation)
    if tuple(keys.split(",")) != workload.kv_types:
        return False
    depth = one.depth or 0
    if one.phase == "prefill":
        same_depth = axis == "depth" or _near(depth, float(workload.depth))
        prompt = float(workload.prompt)
        return same_depth and abs((one.prompt or USUAL_PROMPT) - prompt) <= NEAR * prompt
    held = depth if axis == "depth" else float(workload.depth + workload.prompt)
    return _near(depth + (one.gen or USUAL_GEN) / 2, held + float(workload.gen) / 2)


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= max(FEW, NEAR * other)
