"""Observations as arrays: the calculator's formulas over all operators of all rows at once, as a function of constants.

One evaluation of the calculator row by row takes a second; a fit needs thousands. A Design asks the calculator once
what each operator of each row needs and which constants of the runtime it depends on, and then evaluates the very same
formulas (ceilings.overlap, machine.saturation, machine.joint_limit, …) over arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from roofline import fitted
from roofline.calculator import pipeline_share
from roofline.ceilings import issue_rate, overlap
from roofline.machine import Machine
from roofline.prediction import OperatorCost, Phase
from roofline.runtime import Constant, Use
from roofline.timing import barrier_seconds, joint_limit, saturation, socket_limit, thread_share

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SUREST = 0.05  # no device is known better than this from others


@dataclass(frozen=True, slots=True)
class Case:
    """A measured speed with the calculator's view of it. columns: tokens that meet each operator's matrix [1]."""

    id: str
    device: str
    machine: Machine
    phase: Phase
    measured: float
    uncertainty: float


@dataclass
class Constants:
    """The constants that the cases depend on, each once: its origin, its value, and how far it may move.

    update: begin at the shipped fit, with its errors, instead of at the runtime files' priors. A user's own fit is not
    begun at, or the same rows would count again with every calibration.
    """

    update: bool = False
    origins: list[str] = field(default_factory=list)
    constants: list[Constant] = field(default_factory=list)
    highest: list[float] = field(default_factory=list)
    _index: dict[str, int] = field(default_factory=dict)

    def index(self, constant: Constant, highest: float = np.inf) -> int:
        """The place of a constant; constants without origin are kept apart by their value, and never move.

        highest: what it may be at most: shares of a ceiling end at 1.
        """
        key = constant.origin or f"= {constant.value!r}"
        if key not in self._index:
            self._index[key] = len(self.origins)
            self.origins.append(key)
            self.constants.append(constant)
            self.highest.append(highest)
        return self._index[key]

    @property
    def stated(self) -> Floats:
        """The runtime files' values."""
        return np.array([one.value if one.prior is None else one.prior for one in self.constants])

    @property
    def logs(self) -> Floats:
        """Logarithms of the priors; a value of 0 has none and is kept at the smallest float's."""
        logs: Floats = np.log(np.maximum([self._prior(one)[0] for one in self.constants], 1e-300))
        return logs

    @property
    def sigmas(self) -> Floats:
        """How far each may move where that is stated, as the standard deviation of its logarithm; else 0."""
        return np.array([self._prior(one)[1] if one.origin else 0.0 for one in self.constants])

    def _prior(self, constant: Constant) -> tuple[float, float]:
        """(value to begin at, how far it may move: 0 where nothing states it)."""
        known = fitted.load(fitted.SHIPPED).constants.get(constant.origin) if self.update else None
        if known is not None:
            return known.value, max(known.error, SUREST)
        return (constant.value if constant.prior is None else constant.prior), constant.sigma


class Products:
    """For each of n things, a product of constants: rows of indices, padded with the index of a one."""

    def __init__(self, rows: Sequence[Sequence[int]], one: int) -> None:
        width = max((len(row) for row in rows), default=1) or 1
        self.indices: Ints = np.full((len(rows), width), one, dtype=np.int64)
        for place, row in enumerate(rows):
            self.indices[place, : len(row)] = row

    def of(self, logs: Floats) -> Floats:
        """The products [n] for constants with the given logarithms."""
        result: Floats = np.exp(logs[self.indices].sum(axis=1))
        return result


class Design:
    """All operators of all cases, and the constants they depend on."""

    def __init__(self, cases: Sequence[Case], update: bool = False) -> None:
        self.cases = list(cases)
        self.table = Constants(update)
        self._one = self.table.index(Constant(value=1.0))
        operators = [(row, cost) for row, case in enumerate(cases) for cost in case.phase.operators]
        self._add_operators(operators)
        self._add_rows()

    @property
    def measured(self) -> Floats:
        """Measured speeds [tok/s]."""
        return np.array([case.measured for case in self.cases])

    def _add_operators(self, operators: list[tuple[int, OperatorCost]]) -> None:
        rates: list[list[int]] = []
        halves: list[int] = []
        streams: list[list[int]] = []
        activations: list[list[int]] = []
        bases, peaks, columns, losses, sharpness, is_kernel = [], [], [], [], [], []
        is_per_cycle: list[bool] = []
        for row, cost in operators:
            machine, use = self.cases[row].machine, cost.use
            activations.append(self._indices(machine.engine.activation_bandwidth, machine, "activation", None))
            if use is None:
                rates.append([]), halves.append(self._one), streams.append([])  # type: ignore[func-returns-value]
                bases.append(1.0), peaks.append(np.inf), columns.append(np.inf)  # type: ignore[func-returns-value]
                losses.append(1.0), sharpness.append(np.inf), is_kernel.append(0.0)  # type: ignore[func-returns-value]
                is_per_cycle.append(False)
                continue
            kernel = machine.kernel(use)
            peak, base = machine.rate_base(kernel)
            per_cycle = machine.is_per_cycle(kernel)
            constant = kernel.per_cycle if per_cycle else kernel.efficiency
            assert constant is not None  # rate_base refuses a kernel without a rate
            share_of_peak = not per_cycle and not kernel.of
            rates.append(self._indices(constant, machine, "rate", use, 1.0 if share_of_peak else np.inf))
            halves.append(self.table.index(kernel.half_columns))
            streams.append(self._indices(kernel.bandwidth, machine, "stream", use, 1.0))
            bases.append(machine.cycles if per_cycle else base)
            losses.append(float(machine.threads) if per_cycle and machine.engine.thread_loss else 1.0)
            peaks.append(peak or np.inf)
            columns.append(float(cost.columns))
            sharpness.append(machine.sharpness(use))
            is_kernel.append(1.0)
            is_per_cycle.append(per_cycle)
        costs = [cost for _, cost in operators]
        self.row = np.array([row for row, _ in operators], dtype=np.int64)
        self.flops = np.array([float(cost.computed_flops) for cost in costs]) * np.array(is_kernel)
        moved = np.array([float(cost.activation_bytes) for cost in costs])
        self.streamed = np.array([float(cost.streamed_bytes) for cost in costs])
        self.moved = moved
        self.base, self.peak = np.array(bases), np.array(peaks)
        self.is_per_cycle = np.array(is_per_cycle, dtype=bool)
        self.columns, self.threads = np.array(columns), np.array(losses)
        self.sharpness = np.array(sharpness)
        self.rates, self.streams = Products(rates, self._one), Products(streams, self._one)
        self.activations = Products(activations, self._one)
        self.halves = np.array(halves, dtype=np.int64)
        self.passes = np.array([float(cost.nodes) for cost in costs])

    def _indices(
        self, constant: Constant, machine: Machine, on: str, use: Use | None, highest: float = np.inf
    ) -> list[int]:
        return [self.table.index(constant, highest), *(self.table.index(one) for one in machine.factors(on, use))]

    def _add_rows(self) -> None:
        shares, cores, launches, bases, per_threads, gains, losses = [], [], [], [], [], [], []
        bandwidth, sockets, cycles, threads, is_cpu, pipeline, tokens = [], [], [], [], [], [], []
        for case in self.cases:
            machine, engine = case.machine, case.machine.engine
            cpu = machine.hardware.cpu if machine.backend == "cpu" else None
            shares.append(self._indices(machine.bandwidth_share, machine, "memory", None, 1.0))
            core = machine.core_bandwidth
            cores.append(self._indices(core, machine, "core", None) if core else [])
            cycles.append(machine.cycles if core else np.inf)
            first = engine.barrier.base if cpu and engine.barrier else machine.launch
            few = bool(machine.is_few(float(case.phase.step.columns)))
            launches.append([self.table.index(one) for one in (first, *machine.factors("launch", few=few))])
            bases.append(self.table.index(first))
            per_threads.append(self.table.index(engine.barrier.per_thread) if cpu and engine.barrier else self._one)
            gains.append(self.table.index(engine.socket_share))
            losses.append(self.table.index(engine.thread_loss) if engine.thread_loss else self._one)
            bandwidth.append(machine.theoretical_bandwidth)
            sockets.append(float(machine.joined_sockets))
            threads.append(float(machine.threads))
            is_cpu.append(cpu is not None)
            pipeline.append(float(pipeline_share(machine, case.phase.step)))
            tokens.append(float(case.phase.step.tokens))
        self.shares, self.cores = Products(shares, self._one), Products(cores, self._one)
        self.launches = Products(launches, self._one)
        self.base_index, self.per_thread_index = np.array(bases), np.array(per_threads)
        self.gain_index, self.loss_index = np.array(gains), np.array(losses)
        self.bandwidth, self.sockets = np.array(bandwidth), np.array(sockets)
        self.cycles, self.row_threads = np.array(cycles), np.array(threads)
        self.is_cpu, self.pipeline, self.tokens = np.array(is_cpu), np.array(pipeline), np.array(tokens)
        self.nodes = np.bincount(self.row, weights=self.passes, minlength=len(self.cases))

    def seconds(self, logs: Floats) -> Floats:
        """Predicted duration of every case [s] for constants with the given logarithms."""
        values = np.exp(logs)
        limit = socket_limit(
            np.minimum(self.shares.of(logs), 1.0), self.bandwidth, self.sockets, values[self.gain_index]
        )
        with np.errstate(divide="ignore"):
            joint = joint_limit(self.cores.of(logs) * self.cycles, limit)
        sustained = np.asarray(np.where(np.isfinite(self.cycles), joint, limit))[self.row]
        share = thread_share(self.threads, values[self.loss_index][self.row])
        own = self.base * share * self.rates.of(logs)
        rate = np.where(self.is_per_cycle, issue_rate(own, self.peak), np.minimum(own, self.peak))
        compute = self.flops / rate * saturation(self.columns, values[self.halves])
        memory = self.streamed / (np.minimum(self.streams.of(logs), 1.0) * sustained) + self.moved / (
            self.activations.of(logs) * sustained
        )
        roof = np.empty_like(compute)
        for sharpness in np.unique(self.sharpness):
            chosen = self.sharpness == sharpness
            roof[chosen] = overlap(compute[chosen], memory[chosen], float(sharpness))
        node = self.launches.of(logs)
        correction = node / values[self.base_index]
        barrier = barrier_seconds(values[self.base_index], values[self.per_thread_index], self.row_threads) * correction
        overhead = self.nodes * np.where(self.is_cpu, barrier, node)
        total = np.bincount(self.row, weights=roof, minlength=len(self.cases)) + overhead
        result: Floats = total * self.pipeline
        return result

    def speeds(self, logs: Floats) -> Floats:
        """Predicted speed of every case [tok/s]."""
        return self.tokens / self.seconds(logs)
