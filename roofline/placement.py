"""Placement: which device holds and computes which part of a model, as data that the calculator consumes.

llama.cpp counts layers from the end: with `-ngl n` the output and the last n − 1 layers are on the device
(src/llama-model.cpp, load_tensors: i_gpu_start = max(n_layer + 1 − n, 0)). The token embedding stays on the host. A
layer's cache lies where the layer is. `--n-cpu-moe n` is an override of the experts' tensors of the first n layers
(common/arg.cpp), and `-ot PATTERN=CPU` of any others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

from roofline.machine import Machine
from roofline.model import Model
from roofline.spec import SpecError

#: Tokens at once from which products with weights in host memory run on the device, which fetches the weights over the
#: link (ggml-cuda.cu, ggml_backend_cuda_device_offload_op, min_batch_size). What stands between them, attention with
#: its cache too, goes to the device with them (ggml-backend.cpp, ggml_backend_sched_split_graph, pass 2).
OFFLOADED_FROM = 32
EXPERTS = "ffn_(up|down|gate|gate_up)_(ch|)exps"


@dataclass(frozen=True)
class Placement:
    """A model on a device and its host.

    gpu_layers: layers on the device as llama.cpp counts them, the output one of them [1]. overrides: patterns of tensor
    names (such as those of experts) that stay in the host's memory although their layer is on the device.
    op_offload: whether wide products with weights of the host run on the device.
    """

    device: Machine
    host: Machine
    gpu_layers: int
    overrides: tuple[str, ...] = ()
    op_offload: bool = True
    _shares: dict[tuple[int, str, str], float] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """The overrides, ready to search; SpecError for one that is no regular expression."""
        try:
            return tuple(re.compile(pattern) for pattern in self.overrides)
        except re.error as error:
            raise SpecError(f"--override-tensor: expected a regular expression, found {error}") from None

    def first(self, layers: int) -> int:
        """Index of the first layer that is on the device; `layers` where only the output is, or nothing [1]."""
        return min(max(layers + 1 - self.gpu_layers, 0), layers)

    def holds_output(self) -> bool:
        """Whether the output head is on the device."""
        return self.gpu_layers > 0

    def is_on_host(self, layer: int, layers: int, role: str) -> bool:
        """Whether the tensor `role` of a layer lies in the host's memory; '' is what goes with the layer itself."""
        if layer < self.first(layers):
            return True
        name = f"blk.{layer}.{role}.weight"
        return bool(role) and any(pattern.search(name) for pattern in self.patterns)

    def share_on_host(self, model: Model, group: str, role: str) -> float:
        """Share of a role's layers that lies in the host's memory [1]; group '' is embedding and head."""
        if not group:
            return 0.0 if self.holds_output() else 1.0
        key = (id(model), group, role)
        if key not in self._shares:
            indices = next(one.indices for one in model.groups if one.name == group)
            self._shares[key] = sum(self.is_on_host(index, model.layers, role) for index in indices) / len(indices)
        return self._shares[key]

    def crossings(self, model: Model, wide: bool) -> int:
        """Times that activations change sides in a pass [1]. wide: the device does the host's part, too.

        Once where the layers change sides, and there and back in each layer on the device with tensors on the host.
        """
        first = self.first(model.layers)
        mixed = sum(
            any(self.is_on_host(index, model.layers, role) for role in ("ffn_up_exps", "ffn_up", "ffn_down"))
            for index in range(first, model.layers)
        )
        if wide and self.op_offload:
            return 1 if first > 0 or mixed else 0
        return 2 * mixed + (1 if first > 0 and self.gpu_layers > 0 else 0)


def experts_on_host(layers: int) -> str:
    """The override that `--n-cpu-moe` makes: the experts of the first so many layers."""
    return rf"blk\.({'|'.join(str(index) for index in range(layers))})\.{EXPERTS}"
