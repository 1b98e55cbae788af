"""What would fit when the model does not: fewer bits, a shorter context, a smaller cache type, a larger device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from roofline import inverse
from roofline.inverse import QUANTS, Setting
from roofline.lineup import proportions
from roofline.machine import Machine
from roofline.memory import uses_flash_attention
from roofline.placement import free_memory
from roofline.prediction import Prediction
from roofline.units import format_quantity
from roofline.weights import Weights

__all__ = ["QUANTS", "WayOut", "setting_of", "ways_out"]


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


def setting_of(prediction: Prediction) -> Setting:
    """What a prediction's bill is made out for; its layers are free where they are as many as fit anyway."""
    one, placement = prediction, prediction.placement
    free = (
        placement is not None
        and placement.host is not None
        and placement.gpu_layers == inverse.most_layers(one.model, one.weights, placement, one.workload)
    )
    return Setting(one.model, one.weights, one.machine, one.workload, placement, free)


def ways_out(prediction: Prediction, devices: Sequence[tuple[str, Machine]] | None = None) -> list[WayOut]:
    """The least change of each kind that makes the model fit; empty when none alone does."""
    setting = setting_of(prediction)
    found = [
        None if prediction.gguf else _smaller_quant(setting),
        _cache_type(setting),
        _shorter_context(setting),
        _fewer_sequences(setting),
        _one_copy(setting),
        _even_shares(setting),
        _other_layers(setting),
        _larger_board(setting),
        _other_device(setting, devices or []),
    ]
    return [way for way in found if way is not None]


def _way(kind: str, option: str, changed: Setting) -> WayOut | None:
    """The way out that a setting is, when it fits."""
    bill = changed.bill
    if bill.usable is None or not np.all(bill.fits):
        return None
    return WayOut(kind, option, float(bill.total), bill.usable)


def smaller_weights(setting: Setting) -> Weights | None:
    """The weights in the quantisation of most bits that fits; None where none that is smaller does."""
    candidates = inverse.weighed(setting.model, setting.machine)
    smaller = [weights for weights in candidates if weights.file_bytes < setting.weights.file_bytes]
    return inverse.best_quant(setting, smaller)


def _smaller_quant(setting: Setting) -> WayOut | None:
    weights = smaller_weights(setting)
    if weights is None:
        return None
    return _way("smaller quantisation", f"--quant {weights.quant}", replace(setting, weights=weights))


def _cache_type(setting: Setting) -> WayOut | None:
    machine, workload = setting.machine, setting.workload
    if not uses_flash_attention(machine, workload) or machine.split == "tensor":
        return None  # quantised values need the one, and do not go with the other
    if workload.kv_types[0] in ("q8_0", "q4_0"):
        return None
    for kind in ("q8_0", "q4_0"):
        if kind in machine.runtime.kv_types:
            changed = replace(setting, workload=replace(workload, kv_types=(kind, kind)))
            if changed.fits:
                return _way("smaller KV-cache type", f"--kv {kind}", changed)
    return None


def _shorter_context(setting: Setting) -> WayOut | None:
    """The longest context with which everything fits and the tokens are held."""
    workload = setting.workload
    if workload.context is None:
        return None  # the context is what the tokens need
    positions = inverse.longest_context(setting, int(np.ceil(np.max(workload.positions))))
    if positions is None:
        return None
    changed = replace(setting, workload=replace(workload, context=positions))
    return _way("shorter context", f"--ctx {positions}", changed)


def _fewer_sequences(setting: Setting) -> WayOut | None:
    """The most sequences at a time that fit."""
    batch = setting.workload.batch
    if np.ndim(batch) or batch < 2:
        return None

    def changed(sequences: int) -> Setting:
        return replace(setting, workload=replace(setting.workload, batch=float(sequences)))

    found = inverse.most(1, int(batch) - 1, lambda sequences: changed(sequences).fits)
    return None if found is None else _way("fewer sequences at a time", f"--batch {found}", changed(found))


def _one_copy(setting: Setting) -> WayOut | None:
    """The weights once, where each NUMA node was to have its own."""
    placement, machine = setting.placement, setting.machine
    side = placement.host if placement and placement.host else machine
    if side.numa != "mirror":
        return None
    plain = replace(side, numa="interleave")
    if side is machine:
        return _way("one copy of the weights", "--numa interleave", replace(setting, machine=plain))
    assert placement is not None  # its host is mirrored
    placed = replace(setting, placement=replace(placement, host=plain))
    return _way("one copy of the weights", "--numa interleave", placed)


def _even_shares(setting: Setting) -> WayOut | None:
    """Layers by the devices' memory, where other shares were asked for."""
    placement = setting.placement
    if placement is None or not placement.proportions:
        return None
    free = [free_memory(one) for one in placement.devices]
    shares = ",".join(f"{one / min(free):.3g}" for one in free)
    changed = replace(setting, placement=replace(placement, proportions=proportions(shares)))
    return _way("layers by the devices' memory", f"--tensor-split {shares}", changed)


def _other_layers(setting: Setting) -> WayOut | None:
    """The most layers on the device that fit, where another number was asked for."""
    if setting.placement is None or setting.placement.host is None or setting.free_layers:
        return None
    changed = replace(setting, free_layers=True).settled
    assert changed.placement is not None  # it had one
    layers = changed.placement.gpu_layers
    kind = f"{'fewer' if layers < setting.placement.gpu_layers else 'more'} layers on the GPU"
    return _way(kind, f"--gpu-layers {layers}", changed)


def _larger_board(setting: Setting) -> WayOut | None:
    """The smallest sold memory size of the same device that is enough."""
    found = inverse.smallest_memory(setting)
    if found is None:
        return None
    size, changed = found
    return _way("the same device with more memory", f"--set memory.capacity={str(size).replace(' ', '')}", changed)


def _other_device(setting: Setting, devices: Sequence[tuple[str, Machine]]) -> WayOut | None:
    """The device with the least memory that is enough, among those offered; none to go with a number of layers."""
    placement, machine = setting.placement, setting.machine
    if placement is not None and placement.host is not None and not setting.free_layers:
        return None
    found = inverse.smallest_device(setting, devices)
    if found is None:
        return None
    options = {
        "--split": machine.split == "tensor",
        "--numa": bool(machine.numa or (placement and placement.host and placement.host.numa)),
        "--tensor-split": bool(placement and placement.proportions),
        "tensors on the host": bool(placement and placement.overrides),
    }
    dropped = " and ".join(option for option, used in options.items() if used)
    return _way(f"another device{f', without {dropped}' if dropped else ''}", f"--hw {found[0]}", found[1])
