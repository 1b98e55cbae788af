"""The memory bill asked the other way round: the longest context, most bits, most layers, least memory that fits.

Every answer asks the one bill. Where it grows with the number in question, the range is halved; quantisations and
devices are few, and tried in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from roofline.machine import Machine
from roofline.memory import MemoryBill, bill, device_bill
from roofline.model import Model
from roofline.placement import Placement, experts_on_host
from roofline.quantization import get
from roofline.spec import MemorySize, SpecError
from roofline.weights import Weights, weigh
from roofline.workload import Workload

#: Common quantisations. f16 is not among them: it takes twice the room of q8_0 for next to nothing.
QUANTS = ("q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0", "q3_k_m", "q2_k", "iq2_xxs", "iq1_s")
LONGEST = 2**24  # positions; beyond any model, for those that state no limit


@dataclass(frozen=True)
class Setting:
    """What a bill is made out for. free_layers: of a placement, as many layers as fit are on the device."""

    model: Model
    weights: Weights
    machine: Machine
    workload: Workload
    placement: Placement | None = None
    free_layers: bool = False

    @property
    def settled(self) -> Setting:
        """The setting with the most layers on the device that fit there, where that is free."""
        if self.placement is None or self.placement.host is None or not self.free_layers:
            return self
        layers = most_layers(self.model, self.weights, self.placement, self.workload)
        return replace(self, placement=replace(self.placement, gpu_layers=layers), free_layers=False)

    @property
    def bill(self) -> MemoryBill:
        """What has to be held."""
        one = self.settled
        return bill(one.model, one.weights, one.machine, one.workload, one.placement)

    @property
    def fits(self) -> bool:
        """Whether all of it fits."""
        return bool(np.all(self.bill.fits))


def most(low: int, high: int, fits: Callable[[int], bool]) -> int | None:
    """The largest number from low to high that fits, where all below one that fits do; None where not even low does."""
    if low > high or not fits(low):
        return None
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


# -- layers and experts -----------------------------------------------------------------------------------------------


def most_layers(model: Model, weights: Weights, placement: Placement, workload: Workload) -> int:
    """The most layers on the device, as `-ngl` counts them, with which its bill fits [1].

    0 where not even the output head does. Whether the rest fits the host is for the host's bill to say.
    """

    def fits(layers: int) -> bool:
        placed = replace(placement, gpu_layers=layers)
        return bool(np.all(device_bill(model, weights, placement.device, workload, placed).fits))

    every = model.layers + 1
    # Where all fit, as they often do, one bill is enough.
    return every if fits(every) else most(0, model.layers, fits) or 0


def fewest_expert_layers(setting: Setting) -> int | None:
    """The least N of `--n-cpu-moe N` with which everything else fits on the device [1].

    None for a model without experts, and where not even all of them make room enough.
    """
    placement, model = setting.placement, setting.model
    if placement is None or placement.host is None or not model.expert_count:
        return None

    def fits(kept: int) -> bool:
        """Whether the device holds the experts of the last `kept` layers."""
        placed = with_experts_on_host(placement, model.layers - kept, model.layers)
        return bool(np.all(device_bill(model, setting.weights, placement.device, setting.workload, placed).fits))

    kept = most(0, model.layers, fits)
    return None if kept is None else model.layers - kept


def with_experts_on_host(placement: Placement, expert_layers: int, layers: int) -> Placement:
    """All layers on the device, but for the experts of the first so many."""
    own = (experts_on_host(expert_layers),) if expert_layers else ()
    return replace(placement, gpu_layers=layers + 1, overrides=own)


# -- context and bits -------------------------------------------------------------------------------------------------


def longest_context(setting: Setting, least: int = 1) -> int | None:
    """The longest context that fits, in steps of the runtime's padding, up to the model's own limit [1].

    None where not even `least` positions do.
    """
    step = setting.machine.runtime.context_padding
    limit = setting.model.max_context or LONGEST
    low, high = -(-least // step), max(limit // step, -(-least // step))

    def fits(steps: int) -> bool:
        return replace(setting, workload=replace(setting.workload, context=steps * step)).fits

    found = most(low, high, fits)
    return None if found is None else found * step


def weighed(model: Model, machine: Machine, quants: Iterable[str] = QUANTS) -> list[Weights]:
    """The model in the quantisations that the runtime can read, most bytes first; its own where it comes in one."""
    own = (model.native_quant,) if model.native_quant else ()
    found = []
    for quant in dict.fromkeys(get(name).id for name in own or quants):
        try:
            weights = weigh(model, quant)
        except SpecError:
            continue  # a recipe that does not suit the shape
        if not set(weights.bytes_by_type) & set(machine.runtime.lacks):
            found.append(weights)
    return sorted(found, key=lambda weights: -weights.file_bytes)


def best_quant(setting: Setting, candidates: Iterable[Weights]) -> Weights | None:
    """The first of the candidates, most bytes first, that fits; None where none does."""
    return next((weights for weights in candidates if replace(setting, weights=weights).fits), None)


# -- memory -----------------------------------------------------------------------------------------------------------


def smallest_memory(setting: Setting) -> tuple[MemorySize, Setting] | None:
    """The smallest memory with which the machine is sold that is enough, and the setting with it."""
    machine, usual = setting.machine, setting.machine.hardware.memory.capacity
    sold = (*machine.hardware.memory.options, *((usual,) if usual else ()))
    for option in sorted(sold, key=lambda figure: figure.value):
        memory = machine.hardware.memory.model_copy(update={"capacity": option})
        hardware = machine.hardware.model_copy(update={"memory": memory})
        larger = replace(machine, hardware=hardware)
        placement = replace(setting.placement, device=larger) if setting.placement else None
        changed = replace(setting, machine=larger, placement=placement)
        if changed.bill.usable is not None and changed.fits:
            return option, changed
    return None


def smallest_device(setting: Setting, devices: Sequence[tuple[str, Machine]]) -> tuple[str, Setting] | None:
    """The device with the least usable memory that is enough on its own, and the setting on it."""
    best: tuple[float, str, Setting] | None = None
    for identity, machine in devices:
        changed = replace(setting, machine=machine, placement=None)
        usable = changed.bill.usable
        if usable is not None and (best is None or usable < best[0]) and changed.fits:
            best = usable, identity, changed
    return best[1:] if best else None
