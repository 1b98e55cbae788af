"""A partition worked out: for each device and model, all quantisations and the whole grid of workloads at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline import api
from roofline.grid import Grid, Task, grid, unsupported
from roofline.lineup import Lineup, line_up
from roofline.machine import Machine
from roofline.machines import Machines
from roofline.memory import MemoryBill, capacities
from roofline.model import Model
from roofline.spec import SpecError
from roofline.stack import AXES, WeightStack
from roofline.sweep.columns import MEMORY, PHASE
from roofline.sweep.partitions import Partition
from roofline.sweep.request import Request
from roofline.weights import Weights

Array = NDArray[Any]
#: Devices that are worked out together: more calls are saved, but the arrays outgrow the cache.
TOGETHER = 4


@dataclass(frozen=True)
class Skip:
    """A combination that cannot be predicted, and why."""

    hardware: str
    model: str
    quant: str
    reason: str
    points: int


@dataclass(frozen=True)
class Block:
    """The points of a device, a model and a setting, by quantisation, prompt, gen, depth and batch.

    key: what is the same for all of them, without the quantisation. fits: by point. running: places of the
    quantisations that fit somewhere; the columns of phases and times hold only those, and mean nothing where the point
    does not fit; those of memory hold all. A column that is not there is not known.
    """

    key: dict[str, Any]
    quants: tuple[str, ...]
    axes: tuple[tuple[int, ...], ...]
    fits: NDArray[np.bool_]
    running: NDArray[np.intp]
    columns: dict[str, Array]

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Quantisations, prompts, gens, depths, batches."""
        return (len(self.quants), *(len(values) for values in self.axes))

    @cached_property
    def points(self) -> int:
        """How many points [1]."""
        return prod(self.shape)

    def put(self, name: str, into: Array) -> None:
        """A column's values into an array of the block's shape; zeros where they mean nothing."""
        if name == "fits":
            into[...] = self.fits
        elif name in MEMORY:
            into[...] = self.columns.get(name, 0)
        elif name in self.columns and len(self.running) == len(self.quants):
            into[...] = self.columns[name]
        else:
            into[...] = 0
            if name in self.columns and len(self.running):
                into[self.running] = self.columns[name]

    def known(self, name: str) -> NDArray[np.bool_]:
        """Whether a column is known, by point."""
        if name in MEMORY:
            return np.broadcast_to(np.array(name == "fits" or name in self.columns), self.shape)
        return np.broadcast_to(self.fits if name in self.columns else np.array(False), self.shape)


@dataclass(frozen=True)
class _Ready:
    """A device that is to be worked out: its place in the partition, its block's key, and what it can read."""

    place: int
    key: dict[str, Any]
    machine: Machine
    stack: WeightStack


def evaluate(request: Request, partition: Partition) -> tuple[list[Block], list[Skip]]:
    """Every point of a partition, in order, and what of it cannot be predicted."""
    blocks: dict[int, Block] = {}
    ready: list[_Ready] = []
    skipped: list[Skip] = []
    task = _task(request, partition)
    points = partition.points // len(partition.hardware)
    for place, hardware in enumerate(partition.hardware):
        try:
            lineup = line_up(hardware)
            one = _ready(partition, place, lineup, task, skipped)
            if one is None:
                continue
            if lineup.is_single and one.machine.count == 1:
                ready.append(one)
            elif lineup.is_single:
                blocks[place] = _together(request, partition, [one], task)[0]
            else:
                quants = tuple(weights.quant for weights in one.stack.weights)
                blocks[place] = _point_by_point(request, partition, hardware, quants, one.key)
        except SpecError as error:
            skipped.append(Skip(hardware, partition.model, ", ".join(partition.quants), str(error), points))
    for group in _groups(ready):
        for one, block in zip(group, _together(request, partition, group, task), strict=True):
            blocks[one.place] = block
    return [blocks[place] for place in sorted(blocks)], skipped


def _ready(partition: Partition, place: int, lineup: Lineup, task: Task, skipped: list[Skip]) -> _Ready | None:
    """A device with the quantisations that it can run; None where there are none."""
    machine, entry = api.load_machine(lineup.devices[0], partition.runtime, partition.backend, partition.threads, None)
    name = entry.id if lineup.is_single else lineup.id
    points = partition.points // len(partition.hardware) // len(partition.quants)
    able = []
    for weights in _weights(partition.model, partition.quants):
        reason = unsupported(weights, machine, task.workload)
        if reason:
            skipped.append(Skip(name, partition.model, weights.quant, reason, points))
        else:
            able.append(weights.quant)
    if not able:
        return None
    key = {
        "hardware": name,
        "model": _spec(partition.model)[0],
        "runtime": partition.runtime,
        "backend": machine.backend,
        "kv": partition.kv,
        "threads": machine.threads if machine.backend == "cpu" else None,
        "ubatch": partition.ubatch or machine.runtime.ubatch,
    }
    return _Ready(place, key, machine, _stack(partition.model, partition.quants, tuple(able)))


def _groups(ready: Sequence[_Ready]) -> Iterator[list[_Ready]]:
    """Devices to be worked out together: of one engine, for the same quantisations, of about the same memory."""
    alike: dict[tuple[int, int], list[_Ready]] = {}
    for one in ready:
        alike.setdefault((id(one.machine.engine), one.stack.serial), []).append(one)
    for members in alike.values():
        members.sort(key=lambda one: capacities(one.machine)[1] or np.inf)
        yield from (members[start : start + TOGETHER] for start in range(0, len(members), TOGETHER))


def _together(request: Request, partition: Partition, group: Sequence[_Ready], task: Task) -> list[Block]:
    """The blocks of devices that can be worked out together."""
    stack = group[0].stack
    quants = tuple(weights.quant for weights in stack.weights)
    shape = (len(quants), *(len(values) for values in partition.axes))
    bills = [task.bill(stack, one.machine) for one in group]
    fits = [np.broadcast_to(np.asarray(memory.fits), shape) for memory in bills]
    # What fits on any of them is worked out for all: they have about the same memory.
    running = np.flatnonzero(np.logical_or.reduce([one.reshape(len(quants), -1).any(axis=1) for one in fits]))
    columns: dict[str, Array] = {}
    if len(running):
        machine = _side_by_side(tuple(one.machine for one in group))
        columns = _phases(request.columns, grid(machine, stack.only(running), task))
    blocks = []
    for place, one in enumerate(group):
        own = {name: _of(value, place) for name, value in columns.items()} | _memory(request.columns, bills[place])
        blocks.append(Block(one.key, quants, partition.axes, fits[place], running, own))
    return blocks


def _side_by_side(machines: tuple[Machine, ...]) -> Machine | Machines:
    """Machines as one, the same object for the same ones: it remembers what it has worked out."""
    key = tuple(id(one) for one in machines)
    if len(_KNOWN) > MOST_GROUPS:
        _KNOWN.clear()
    if key not in _KNOWN and len(machines) > 1:
        _KNOWN[key] = Machines(machines)
    return machines[0] if len(machines) == 1 else _KNOWN[key]


_KNOWN: dict[tuple[int, ...], Machines] = {}  # it holds its machines, so that their ids stay theirs
MOST_GROUPS = 512


def _of(values: Array, place: int) -> Array:
    """One machine's values of those of machines side by side, where they are not the same for all."""
    return values[place] if values.ndim > AXES + 1 else values


def _task(request: Request, partition: Partition) -> Task:
    settings = partition.kv, partition.ubatch, request.context, request.flash_attention
    return _task_of(partition.axes, *settings)


@lru_cache(maxsize=4)
def _task_of(
    axes: tuple[tuple[int, ...], ...], kv: str, ubatch: int | None, context: int | None, flash_attention: bool | None
) -> Task:
    """Numeric axes as arrays that broadcast against each other, one axis each."""
    prompt, gen, depth, batch = (
        np.array(values, dtype=float).reshape(-1, *[1] * (AXES - 1 - place)) if len(values) > 1 else float(values[0])
        for place, values in enumerate(axes)
    )
    settings: dict[str, Any] = {"kv": kv, "context": context, "ubatch": ubatch, "flash_attention": flash_attention}
    return Task(api.make_workload(prompt, gen, depth, batch, **settings))


def _memory(names: tuple[str, ...], memory: MemoryBill) -> dict[str, Array]:
    """The columns of the bill that are asked for, so far as they are known."""
    values = {name: MEMORY[name](memory) for name in names if name in MEMORY}
    return {name: np.asarray(value) for name, value in values.items() if value is not None}


def _phases(names: tuple[str, ...], found: Grid) -> dict[str, Array]:
    """The columns of phases and times that are asked for, so far as they are known."""
    times = found.times
    columns = {}
    for name in names:
        if name in MEMORY:
            continue
        value: Any
        if name in times:
            value = times[name]
        else:
            phase_name, _, rest = name.partition("_")
            phase = found.prefill if phase_name == "prefill" else found.decode
            value = None if phase is None else PHASE[rest](phase)
        if value is not None:
            columns[name] = np.asarray(value)
    return columns


def _point_by_point(
    request: Request, partition: Partition, hardware: str, quants: tuple[str, ...], key: dict[str, Any]
) -> Block:
    """The points of several devices, or of one and its host: each has its own number of layers that fit on them."""
    shape = (len(quants), *(len(values) for values in partition.axes))
    fits = np.zeros(shape, dtype=bool)
    columns: dict[str, Array] = {}
    for place in np.ndindex(*shape):
        prompt, gen, depth, batch = (axis[at] for axis, at in zip(partition.axes, place[1:], strict=True))
        result = api.predict(
            hardware, partition.model, None if partition.model.endswith(".gguf") else quants[place[0]],
            runtime=partition.runtime, backend=partition.backend, prompt=prompt, gen=gen, depth=depth, batch=batch,
            kv=partition.kv, context=request.context, ubatch=partition.ubatch, threads=partition.threads,
            flash_attention=request.flash_attention,
        )  # fmt: skip
        fits[place] = bool(result.memory.fits)
        found = _phases(request.columns, Grid(result.prefill, result.decode, result.workload.gen))
        for name, value in (_memory(request.columns, result.memory) | found).items():
            columns.setdefault(name, np.zeros(shape))[place] = value
    return Block(key, quants, partition.axes, fits, np.arange(len(quants)), columns)


@lru_cache(maxsize=4)
def _weights(model: str, quants: tuple[str, ...]) -> tuple[Weights, ...]:
    """A model's stored forms; a GGUF file has one."""
    if model.endswith(".gguf"):
        return (api.load_weights(model, None)[1],)
    return tuple(api.load_weights(model, quant)[1] for quant in quants)


@lru_cache(maxsize=4)
def _spec(model: str) -> tuple[str, Model]:
    entry = api.load_shape(model)
    return entry.id, entry.spec


@lru_cache(maxsize=8)
def _stack(model: str, quants: tuple[str, ...], able: tuple[str, ...]) -> WeightStack:
    """The stored forms that a machine can read, of all that are asked for."""
    chosen = tuple(weights for weights in _weights(model, quants) if weights.quant in able)
    return WeightStack(_spec(model)[1], chosen)
