"""A model in several quantisations on a machine, over a grid of workloads: what a Prediction is for one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from roofline.calculator import check_supported, run
from roofline.machine import Machine
from roofline.memory import MemoryBill, bill, stacked
from roofline.numa import nodes
from roofline.parts import has_own_memory
from roofline.prediction import Phase, total
from roofline.runtime import Use
from roofline.spec import SpecError
from roofline.stack import WeightStack
from roofline.weights import Weights
from roofline.workload import Real, Step, Workload


class Task:
    """A workload with its steps, which many machines share."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self._steps: dict[int, tuple[tuple[Step | None, Literal["prefill", "decode"]], ...]] = {}

    def steps(self, machine: Machine) -> tuple[tuple[Step | None, Literal["prefill", "decode"]], ...]:
        """Prefill and decode, each None where no tokens are asked for."""
        workload = self.workload
        ubatch = workload.ubatch or machine.runtime.ubatch
        if ubatch not in self._steps:
            prefill = workload.prefill(ubatch) if np.max(workload.prompt) > 0 else None
            decode = workload.decode(ubatch) if np.max(workload.gen) > 0 else None
            self._steps[ubatch] = ((prefill, "prefill"), (decode, "decode"))
        return self._steps[ubatch]


@dataclass(frozen=True)
class Grid:
    """Both phases and the memory of a grid of points; what a Prediction is for one quantisation."""

    prefill: Phase | None
    decode: Phase | None
    memory: MemoryBill
    gen: Real

    @property
    def times(self) -> dict[str, Real | None]:
        """TTFT, time per output token, and both phases together [s], under their columns' names."""
        return {
            "ttft_s": self.prefill.seconds if self.prefill else None,
            "tpot_s": self.decode.seconds / self.gen if self.decode else None,
            "total_s": total(phase.seconds for phase in (self.prefill, self.decode) if phase),
        }


def grid(machine: Machine, stack: WeightStack, task: Task, memory: MemoryBill) -> Grid:
    """A model in several quantisations on a machine, over a workload of arrays; SpecError where it cannot run."""
    prefill, decode = (
        run(stack.model, stack, machine, task.workload, step, banded) if step else None
        for step, banded in task.steps(machine)
    )
    return Grid(prefill, decode, memory, task.workload.gen)


def unsupported(weights: Weights, machine: Machine, workload: Workload) -> str:
    """Why a machine cannot run these weights; '' where it can."""
    known: dict[tuple[Any, ...], str] = machine.memo.setdefault("unsupported", {})
    key = (frozenset(weights.bytes_by_type), workload.kv_types, workload.flash_attention)
    if key not in known:
        known[key] = _reason(weights, machine, workload)
    return known[key]


def _reason(weights: Weights, machine: Machine, workload: Workload) -> str:
    try:
        check_supported(weights, machine, workload)
        for name in weights.bytes_by_type:
            for few in (True, False):
                machine.pace(Use(name, few))
            machine.ceiling(name)
    except SpecError as error:
        return str(error)
    return ""


def stacked_bill(stack: WeightStack, machine: Machine, workload: Workload) -> MemoryBill:
    """The bill of several quantisations: they differ in their weights alone."""
    one = bill(stack.model, stack.weights[0], machine, workload)
    # Where the weights lie is a matter of the machine's form; what else it has is in the first bill.
    form = (has_own_memory(machine), machine.hardware.count, machine.split, machine.numa and nodes(machine.hardware))
    if form not in stack.known:
        stack.known[form] = [bill(stack.model, weights, machine, Workload()) for weights in stack.weights]
    return stacked(one, stack.known[form], stack.file_bytes.shape)
