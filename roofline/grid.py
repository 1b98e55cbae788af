"""A model in several quantisations on a machine, over a grid of workloads: what a Prediction is for one of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from roofline.calculator import check_supported, run
from roofline.machine import Machine
from roofline.machines import Machines
from roofline.memory import MemoryBill, bill, capacities, stacked
from roofline.numa import nodes
from roofline.parts import has_own_memory
from roofline.prediction import Phase, total
from roofline.runtime import Engine, Use
from roofline.spec import SpecError
from roofline.stack import WeightStack
from roofline.weights import Weights
from roofline.workload import Real, Step, Workload

MOST_BILLS = 64  # that a task remembers


class Task:
    """A workload with its steps, which many machines share."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self._steps: dict[int, tuple[tuple[Step | None, Literal["prefill", "decode"]], ...]] = {}
        self._bills: dict[tuple[Any, ...], tuple[Engine, MemoryBill]] = {}  # an engine that is held keeps its id

    def steps(self, machine: Machine | Machines) -> tuple[tuple[Step | None, Literal["prefill", "decode"]], ...]:
        """Prefill and decode, each None where no tokens are asked for."""
        workload = self.workload
        ubatch = workload.ubatch or machine.runtime.ubatch
        if ubatch not in self._steps:
            prefill = workload.prefill(ubatch) if np.max(workload.prompt) > 0 else None
            decode = workload.decode(ubatch) if np.max(workload.gen) > 0 else None
            self._steps[ubatch] = ((prefill, "prefill"), (decode, "decode"))
        return self._steps[ubatch]

    def bill(self, stack: WeightStack, machine: Machine) -> MemoryBill:
        """The bill of several quantisations: they differ in their weights alone."""
        # Where the weights lie is a matter of the machine's form, the rest of the bill of its engine.
        form = (has_own_memory(machine), machine.count, machine.split, machine.numa and nodes(machine.hardware))
        if form not in stack.known:
            stack.known[form] = [bill(stack.model, weights, machine, Workload()) for weights in stack.weights]
        if machine.count > 1:
            one = bill(stack.model, stack.weights[0], machine, self.workload)
            return stacked(one, stack.known[form], stack.shape)
        key = (stack.serial, form, id(machine.engine))
        if key not in self._bills:
            if len(self._bills) > MOST_BILLS:
                self._bills.clear()
            one = bill(stack.model, stack.weights[0], machine, self.workload)
            self._bills[key] = machine.engine, stacked(one, stack.known[form], stack.shape)
        capacity, usable, assumed = capacities(machine)
        return replace(self._bills[key][1], capacity=capacity, usable=usable, assumed_capacity=assumed)


@dataclass(frozen=True)
class Grid:
    """Both phases of a grid of points; of machines side by side those are along the first axis."""

    prefill: Phase | None
    decode: Phase | None
    gen: Real

    @property
    def times(self) -> dict[str, Real | None]:
        """TTFT, time per output token, and both phases together [s], under their columns' names."""
        return {
            "ttft_s": self.prefill.seconds if self.prefill else None,
            "tpot_s": self.decode.seconds / self.gen if self.decode else None,
            "total_s": total(phase.seconds for phase in (self.prefill, self.decode) if phase),
        }


def grid(machine: Machine | Machines, stack: WeightStack, task: Task) -> Grid:
    """A model in several quantisations on a machine, over a workload of arrays; SpecError where it cannot run."""
    prefill, decode = (
        run(stack.model, stack, machine, task.workload, step, banded) if step else None
        for step, banded in task.steps(machine)
    )
    return Grid(prefill, decode, task.workload.gen)


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
