"""Placement: which device holds and computes which part of a model, as data that the calculator consumes.

llama.cpp counts layers from the end: with `-ngl n` the output and the last n − 1 layers are on the device
(src/llama-model.cpp, load_tensors: i_gpu_start = max(n_layer + 1 − n, 0)). The token embedding stays on the host. A
layer's cache lies where the layer is. `--n-cpu-moe n` is an override of the experts' tensors of the first n layers
(common/arg.cpp), and `-ot PATTERN=CPU` of any others.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import cast

import numpy as np

from roofline.machine import Machine
from roofline.model import Model
from roofline.spec import SpecError
from roofline.units import short

#: Tokens at once from which products with weights in host memory run on the device, which fetches the weights over the
#: link (ggml-cuda.cu, ggml_backend_cuda_device_offload_op, min_batch_size). What stands between them, attention with
#: its cache too, goes to the device with them (ggml-backend.cpp, ggml_backend_sched_split_graph, pass 2).
OFFLOADED_FROM = 32
HOST = -1  # in place of a device's index
EXPERTS = "ffn_(up|down|gate|gate_up)_(ch|)exps"
MOST_LAYERS = 1000  # no model has as many


@dataclass(frozen=True)
class Placement:
    """A model on a device and its host, or on several different devices, with a host or without.

    gpu_layers: layers on the devices as llama.cpp counts them, the output one of them [1]. overrides: patterns of
    tensor names (such as those of experts) that stay in the host's memory although their layer is on a device.
    op_offload: whether wide products with weights of the host run on the first device. others: devices after the first,
    in order. proportions: of the layers on each of them [1]; by their memory without.
    """

    device: Machine
    host: Machine | None
    gpu_layers: int
    overrides: tuple[str, ...] = ()
    op_offload: bool = True
    others: tuple[Machine, ...] = ()
    proportions: tuple[float, ...] = ()
    _shares: dict[tuple[int, str, str], float] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """The overrides, ready to search; SpecError for one that is no regular expression."""
        try:
            return tuple(re.compile(pattern) for pattern in self.overrides)
        except re.error as error:
            raise SpecError(f"--override-tensor: expected a regular expression, found {error}") from None

    @property
    def devices(self) -> tuple[Machine, ...]:
        """All devices in order, the host left out."""
        return (self.device, *self.others)

    @cached_property
    def ends(self) -> tuple[float, ...]:
        """Where the layers of each device end, as shares of all that are on devices [1]."""
        found = list(accumulate(self.proportions or [free_memory(one) for one in self.devices]))
        return tuple(end / found[-1] for end in found)

    def device_of(self, layer: int, layers: int) -> int:
        """Index of the device of a layer, the output being the layer after the last; HOST where it is on none [1].

        llama.cpp cuts the sequence of layers by the running sum of the proportions (src/llama-model.cpp, load_tensors).
        """
        first = layers + 1 - min(self.gpu_layers, layers + 1)
        if layer < first or not self.gpu_layers:
            return HOST
        position = (layer - first) / (layers + 1 - first)
        return min(bisect_right(self.ends, position), len(self.ends) - 1) if self.others else 0

    def first(self, layers: int) -> int:
        """Index of the first layer that is on the device; `layers` where only the output is, or nothing [1]."""
        return min(max(layers + 1 - self.gpu_layers, 0), layers)

    def holds_output(self) -> bool:
        """Whether the output head is on the device."""
        return self.gpu_layers > 0

    def is_whole(self, layers: int) -> bool:
        """Whether all layers with all their tensors are on the device."""
        return self.gpu_layers > layers and not self.overrides

    def is_on_host(self, layer: int, layers: int, role: str) -> bool:
        """Whether the tensor `role` of a layer lies in the host's memory; '' is what goes with the layer itself."""
        if layer < self.first(layers):
            return True
        name = f"blk.{layer}.{role}.weight"
        return bool(role) and any(pattern.search(name) for pattern in self.patterns)

    def has_head_on_host(self, model: Model) -> bool:
        """Whether the output head lies in the host's memory: with few layers on the device, or by an override."""
        name = f"{model.head.role}.weight"
        return not self.holds_output() or any(pattern.search(name) for pattern in self.patterns)

    def share_on_host(self, model: Model, group: str, role: str) -> float:
        """Share of a role's layers that lies in the host's memory [1]; group '' is embedding and head."""
        if not group:
            on_host = self.has_head_on_host(model) if role == model.head.role else not self.holds_output()
            return 1.0 if on_host else 0.0
        role = role if self.overrides else ""  # without them all of a layer lies where the layer does
        key = (id(model), group, role)
        if key not in self._shares:
            indices = next(one.indices for one in model.groups if one.name == group)
            self._shares[key] = sum(self.is_on_host(index, model.layers, role) for index in indices) / len(indices)
        return self._shares[key]

    def share_on(self, model: Model, group: str, role: str, device: int) -> float:
        """Share of a role's layers that lies on the device of that index [1]; group '' is embedding and head."""
        if not self.others:
            return 1 - self.share_on_host(model, group, role)
        if not group:
            here = self.device_of(model.layers, model.layers) == device
            return 1 - self.share_on_host(model, group, role) if here else 0.0
        key = (id(model), group, f"{role} on {device}")
        if key not in self._shares:
            indices = next(one.indices for one in model.groups if one.name == group)
            kept = [
                self.device_of(index, model.layers) == device and not self.is_on_host(index, model.layers, role)
                for index in indices
            ]
            self._shares[key] = sum(kept) / len(kept)
        return self._shares[key]

    def used(self, model: Model) -> list[int]:
        """Indices of the devices that have layers, or the output, in order [1]."""
        found = {self.device_of(layer, model.layers) for layer in range(model.layers + 1)}
        return sorted(found - {HOST})

    def crossings(self, model: Model, wide: bool) -> int:
        """Times that activations change sides in a pass [1]. wide: the device does the host's part, too.

        Once where the layers change sides, and there and back in each layer on the device with tensors on the host.
        """
        first, mixed = self.first(model.layers), self._mixed_layers(model)
        if wide and self.op_offload:
            return 1 if first > 0 or mixed else 0
        return 2 * mixed + (1 if first > 0 and self.gpu_layers > 0 else 0)

    def _mixed_layers(self, model: Model) -> int:
        """Layers on a device that have matrices on the host, and the output head where it is such a one [1]."""
        if not self.overrides:
            return 0
        key = (id(model), "", "mixed")
        if key not in self._shares:
            first, found = self.first(model.layers), 0
            for group in model.groups:
                roles = {matrix.role for matrix in group.layer.matrices(model.hidden)}
                own = [index for index in group.indices if index >= first]
                found += sum(any(self.is_on_host(index, model.layers, role) for role in roles) for index in own)
            self._shares[key] = found + (self.holds_output() and self.has_head_on_host(model))
        return int(self._shares[key])


@dataclass(frozen=True)
class Placements(Placement):
    """Placements on the same devices side by side, one for each element of a workload's arrays; shares are arrays.

    each: those that there are; index: the place among them, of every element. Their memory is not worked out at once.
    """

    each: tuple[Placement, ...] = ()
    index: tuple[int, ...] = ()

    def share_on_host(self, model: Model, group: str, role: str) -> float:
        """See Placement."""
        return self._along([one.share_on_host(model, group, role) for one in self.each])

    def share_on(self, model: Model, group: str, role: str, device: int) -> float:
        """See Placement."""
        return self._along([one.share_on(model, group, role, device) for one in self.each])

    def crossings(self, model: Model, wide: bool) -> int:
        """See Placement."""
        return cast(int, self._along([one.crossings(model, wide) for one in self.each]))

    def _along(self, values: list[float]) -> float:
        """The value of each element, as an array, which adds and compares as a number does."""
        return cast(float, np.array(values)[list(self.index)])


def check_overrides(placement: Placement, model: Model) -> None:
    """SpecError where no pattern matches a tensor of the model: a slip, or experts where there are none."""
    if not placement.overrides:
        return
    names = [f"{model.head.role}.weight", "token_embd.weight"]
    for group in model.groups:
        roles = [matrix.role for matrix in group.layer.matrices(model.hidden)]
        roles += [role for role, _ in group.layer.vectors(model.hidden)]
        names += [f"blk.{index}.{role}.weight" for index in group.indices for role in roles]
    if any(pattern.search(name) for pattern in placement.patterns for name in names):
        return
    if all(text.endswith(EXPERTS) for text in placement.overrides):
        raise SpecError(f"--cpu-moe, --n-cpu-moe: expected a mixture of experts, found {model.name}")
    found = short(",".join(placement.overrides))
    raise SpecError(f"--override-tensor: expected a pattern of tensors of {model.name}, found {found}")


def device_name(index: int) -> str:
    """How costs name a device: '' is the first one, 'GPU 2' the one after it."""
    return f"GPU {index + 1}" if index else ""


def layers_by_device(placement: Placement, layers: int) -> list[int]:
    """How many layers each device has, the output one of them [1]."""
    where = [placement.device_of(layer, layers) for layer in range(layers + 1)]
    return [where.count(index) for index in range(len(placement.devices))]


def free_memory(machine: Machine) -> float:
    """What a device has for layers before any is placed [B], as llama.cpp asks its driver; SpecError if unknown."""
    capacity = machine.hardware.capacity()
    if capacity is None:
        name = machine.hardware.name
        raise SpecError(f"--tensor-split: expected the shares of the devices, since the memory of {name} is not stated")
    return capacity - machine.engine.context.value


def experts_on_host(layers: int) -> str:
    """The override that `--n-cpu-moe` makes: the experts of the first so many layers."""
    return rf"blk\.({'|'.join(str(index) for index in range(min(layers, MOST_LAYERS)))})\.{EXPERTS}"
