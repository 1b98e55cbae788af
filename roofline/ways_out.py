"""What would fit when the model does not: fewer bits, a shorter context, a smaller cache type, a larger device."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from roofline.machine import Machine, make_machine
from roofline.memory import bill, uses_flash_attention
from roofline.prediction import Prediction
from roofline.spec import SpecError
from roofline.units import format_quantity
from roofline.weights import weigh
from roofline.workload import Workload

#: Common quantisations, most bits first.
QUANTS = ("q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0", "q3_k_m", "q2_k", "iq2_xxs", "iq1_s")


@dataclass(frozen=True, slots=True)
class WayOut:
    """A change after which the bill fits. option: how to ask for it on the command line."""

    kind: str
    option: str
    total_bytes: float
    capacity_bytes: float

    def __str__(self) -> str:
        total, usable = (format_quantity(size, "B", binary=True) for size in (self.total_bytes, self.capacity_bytes))
        return f"{self.kind}: {self.option} ({total} of {usable} usable)"


def ways_out(prediction: Prediction, devices: list[tuple[str, Machine]] | None = None) -> list[WayOut]:
    """The least change of each kind that makes the model fit; empty when none alone does."""
    found = [
        _smaller_quant(prediction),
        _cache_type(prediction),
        _shorter_context(prediction),
        _larger_board(prediction),
    ]
    found.append(_other_device(prediction, devices or []))
    return [way for way in found if way is not None]


def _fitting(
    prediction: Prediction, machine: Machine, workload: Workload, quant: str | None = None
) -> tuple[float, float] | None:
    """(total, usable) bytes when the changed combination fits, else None."""
    try:
        weights = weigh(prediction.model, quant) if quant else prediction.weights
    except SpecError:
        return None
    changed = bill(prediction.model, weights, machine, workload)
    if changed.usable is None or not changed.fits:
        return None
    return float(changed.total), changed.usable


def _smaller_quant(prediction: Prediction) -> WayOut | None:
    if prediction.names.get("model_file", "").endswith(".gguf"):
        return None  # a file has the types it has
    for quant in QUANTS:
        lacking = set(weigh(prediction.model, quant).bytes_by_type) & set(prediction.machine.runtime.lacks)
        if lacking or weigh(prediction.model, quant).file_bytes >= prediction.weights.file_bytes:
            continue
        fits = _fitting(prediction, prediction.machine, prediction.workload, quant)
        if fits:
            return WayOut("smaller quantisation", f"--quant {quant}", *fits)
    return None


def _cache_type(prediction: Prediction) -> WayOut | None:
    if not uses_flash_attention(prediction.machine, prediction.workload):
        return None  # quantised values need it
    for kind in ("q8_0", "q4_0"):
        if kind not in prediction.machine.runtime.kv_types or prediction.workload.kv_types[0] in ("q8_0", "q4_0"):
            continue
        fits = _fitting(prediction, prediction.machine, replace(prediction.workload, kv_types=(kind, kind)))
        if fits:
            return WayOut("smaller KV-cache type", f"--kv {kind}", *fits)
    return None


def _shorter_context(prediction: Prediction) -> WayOut | None:
    """The longest context, in steps of the runtime's padding, with which everything fits and the tokens are held."""
    machine, workload = prediction.machine, prediction.workload
    if workload.context is None:
        return None  # the context is what the tokens need
    step = machine.runtime.context_padding
    low, high = int(-(-float(np.max(workload.positions)) // step)), workload.context // step
    if not _fitting(prediction, machine, replace(workload, context=low * step)):
        return None
    while low < high:  # the bill grows with the context: halve the interval
        middle = (low + high + 1) // 2
        if _fitting(prediction, machine, replace(workload, context=middle * step)):
            low = middle
        else:
            high = middle - 1
    fits = _fitting(prediction, machine, replace(workload, context=low * step))
    return WayOut("shorter context", f"--ctx {low * step}", *fits) if fits else None


def _larger_board(prediction: Prediction) -> WayOut | None:
    """The smallest sold memory size of the same device that is enough."""
    machine = prediction.machine
    for option in sorted(machine.hardware.memory.options, key=lambda figure: figure.value):
        memory = machine.hardware.memory.model_copy(update={"capacity": option})
        hardware = machine.hardware.model_copy(update={"memory": memory})
        changed = make_machine(hardware, machine.runtime, machine.backend, None)
        fits = _fitting(prediction, changed, prediction.workload)
        if fits:
            return WayOut(
                "the same device with more memory", f"--set memory.capacity={str(option).replace(' ', '')}", *fits
            )
    return None


def _other_device(prediction: Prediction, devices: list[tuple[str, Machine]]) -> WayOut | None:
    """The device with the least memory that is enough, among those offered."""
    best: WayOut | None = None
    for identity, machine in devices:
        fits = _fitting(prediction, machine, prediction.workload)
        if fits and (best is None or fits[1] < best.capacity_bytes):
            best = WayOut("another device", f"--hw {identity}", *fits)
    return best
