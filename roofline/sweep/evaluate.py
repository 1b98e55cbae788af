"""A partition worked out: for each device and model, all quantisations and the whole grid of workloads at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline import api
from roofline.grid import Grid, Task, grid, stacked_bill, unsupported
from roofline.lineup import line_up
from roofline.model import Model
from roofline.spec import SpecError
from roofline.stack import AXES, WeightStack
from roofline.sweep.columns import MEMORY, PHASE
from roofline.sweep.partitions import Partition
from roofline.sweep.request import Request
from roofline.weights import Weights

Array = NDArray[Any]


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


def evaluate(request: Request, partition: Partition) -> tuple[list[Block], list[Skip]]:
    """Every point of a partition, in order, and what of it cannot be predicted."""
    blocks: list[Block] = []
    skipped: list[Skip] = []
    for hardware in partition.hardware:
        try:
            blocks.extend(_blocks(request, partition, hardware, skipped))
        except SpecError as error:
            quants = ", ".join(partition.quants)
            points = partition.points // len(partition.hardware)
            skipped.append(Skip(hardware, partition.model, quants, str(error), points))
    return blocks, skipped


def _blocks(request: Request, partition: Partition, hardware: str, skipped: list[Skip]) -> Iterator[Block]:
    """The points of one device."""
    lineup = line_up(hardware)
    machine, entry = api.load_machine(lineup.devices[0], partition.runtime, partition.backend, partition.threads, None)
    weights = _weights(partition.model, partition.quants)
    points = partition.points // len(partition.hardware) // len(partition.quants)
    task = _task(request, partition)
    workload = task.workload
    fitting = []
    for one in weights:
        reason = unsupported(one, machine, workload)
        if reason:
            skipped.append(Skip(hardware, partition.model, one.quant, reason, points))
        else:
            fitting.append(one)
    if not fitting:
        return
    alone = len(lineup.devices) == 1 and lineup.host is None
    key = {
        "hardware": entry.id if alone else lineup.id,
        "model": _model_id(partition.model),
        "runtime": partition.runtime,
        "backend": machine.backend,
        "kv": partition.kv,
        "threads": machine.threads if machine.backend == "cpu" else None,
        "ubatch": partition.ubatch or machine.runtime.ubatch,
    }
    quants = tuple(one.quant for one in fitting)
    if not alone:
        yield _point_by_point(request, partition, hardware, quants, key)
        return
    stack = _stack(partition.model, quants)
    memory = stacked_bill(stack, machine, workload)
    shape = (len(quants), *_shape(partition))
    fits = np.broadcast_to(np.asarray(memory.fits), shape)
    running = np.flatnonzero(fits.reshape(len(quants), -1).any(axis=1))
    found = Grid(None, None, memory, workload.gen)
    if len(running):
        found = grid(machine, stack.only(running), task, memory)
    yield Block(key, quants, partition.axes, fits, running, _columns(request.columns, found))


def _shape(partition: Partition) -> tuple[int, ...]:
    return tuple(len(values) for values in partition.axes)


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


def _columns(names: tuple[str, ...], found: Grid) -> dict[str, Array]:
    """The columns asked for, so far as they are known, each broadcastable to the points."""
    times = found.times
    columns = {}
    for name in names:
        value: Any
        if name in MEMORY:
            value = MEMORY[name](found.memory)
        elif name in times:
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
    shape = (len(quants), *_shape(partition))
    fits = np.zeros(shape, dtype=bool)
    columns: dict[str, Array] = {}
    for place in np.ndindex(*shape):
        prompt, gen, depth, batch = (axis[at] for axis, at in zip(partition.axes, place[1:], strict=True))
        result = api.predict(
            hardware, partition.model, None if _is_file(partition.model) else quants[place[0]],
            runtime=partition.runtime, backend=partition.backend, prompt=prompt, gen=gen, depth=depth, batch=batch,
            kv=partition.kv, context=request.context, ubatch=partition.ubatch, threads=partition.threads,
            flash_attention=request.flash_attention,
        )  # fmt: skip
        one = Grid(result.prefill, result.decode, result.memory, result.workload.gen)
        fits[place] = bool(result.memory.fits)
        for name, value in _columns(request.columns, one).items():
            columns.setdefault(name, np.zeros(shape))[place] = value
    return Block(key, quants, partition.axes, fits, np.arange(len(quants)), columns)


def _is_file(model: str) -> bool:
    return model.endswith(".gguf")


@lru_cache(maxsize=4)
def _weights(model: str, quants: tuple[str, ...]) -> tuple[Weights, ...]:
    """A model's stored forms; a GGUF file has one."""
    if _is_file(model):
        return (api.load_weights(model, None)[1],)
    return tuple(api.load_weights(model, quant)[1] for quant in quants)


def _model_id(model: str) -> str:
    return api.load_weights(model, None)[0].id if _is_file(model) else _spec(model)[0]


@lru_cache(maxsize=4)
def _spec(model: str) -> tuple[str, Model]:
    from roofline import catalog

    entry = api.load_weights(model, None)[0] if _is_file(model) else catalog.load_model(model)
    return entry.id, entry.spec


@lru_cache(maxsize=8)
def _stack(model: str, quants: tuple[str, ...]) -> WeightStack:
    return WeightStack(_spec(model)[1], _weights(model, quants))
