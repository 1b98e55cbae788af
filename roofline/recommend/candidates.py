"""Everything that could be recommended: devices, models and quantisations, each combination worked out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline import api, catalog
from roofline.economy import PowerMeaning, Terms, power_meaning, power_of, price_covers, price_of, usd_per_million
from roofline.grid import Grid, Task, grid, unsupported
from roofline.hardware import Hardware
from roofline.inverse import QUANTS
from roofline.machine import Machine
from roofline.model import Model
from roofline.parts import has_own_memory
from roofline.prediction import Phase
from roofline.quality import Quality, quality_of
from roofline.quantization import get, layout
from roofline.spec import SpecError
from roofline.stack import WeightStack
from roofline.weights import Weights
from roofline.workload import Workload

#: Cards of a kind that are tried where one is too small.
COUNTS = (2, 4)
#: Bits of a weight at least, where nobody asks for a quantisation: below, models lose what makes them worth it.
LEAST_BITS = 4.0


@dataclass(frozen=True, slots=True)
class Speed:
    """A phase's speed and its band [1/s]."""

    tok_s: float
    low: float
    high: float
    bound: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A device with a model in a quantisation. prefill and decode are None where it does not fit.

    price [USD] of all devices, held at price_date; power_w [W] as power_meaning says; left_out: what both leave out.
    usd_per_million: of decoded tokens. parameters: of the model [1]. bits: a weight, scales included. weights: the
    model's stored form. native_quant: the quantisation that it is published in, '' for none.
    """

    hardware: str
    name: str
    model: str
    quant: str
    parameters: int
    bits: float
    fits: bool
    total_bytes: float
    usable_bytes: float | None
    prefill: Speed | None
    decode: Speed | None
    ttft_s: float | None
    price: float | None
    price_date: str
    price_basis: str
    power_w: float | None
    power_meaning: PowerMeaning | None
    left_out: str
    usd_per_million: float | None
    weights: Weights
    native_quant: str

    @property
    def quality(self) -> Quality:
        """What the quantisation costs in quality."""
        return quality_of(self.weights, self.model, self.native_quant)


@dataclass(frozen=True)
class Question:
    """What is varied: ids of hardware and models, names of quantisations (None: the usual ones for a model).

    counts: how many cards of a kind may be put together.
    """

    hardware: tuple[str, ...]
    models: tuple[str, ...]
    quants: tuple[str, ...] | None
    runtime: str = api.DEFAULT_RUNTIME
    backend: str | None = None
    counts: tuple[int, ...] = COUNTS


def candidates(question: Question, workload: Workload, paid: Terms) -> tuple[list[Candidate], dict[str, str]]:
    """(every candidate, why what cannot be predicted is not among them by name)."""
    task = Task(workload)
    found: list[Candidate] = []
    failed: dict[str, str] = {}
    for name in question.models:
        entry, weights = _weights(name, question.quants)
        for hardware in question.hardware:
            try:
                found.extend(_of(hardware, question, entry.id, entry.spec, weights, task, paid))
            except SpecError as error:
                failed[f"{hardware} {entry.id}"] = str(error)
    return found, failed


def _weights(name: str, quants: tuple[str, ...] | None) -> tuple[catalog.Entry[Model], list[Weights]]:
    """A model and the stored forms to try; one that comes in one form has that, and a GGUF file its own."""
    if name.endswith(".gguf"):
        entry, own = api.load_weights(name, None)
        return entry, [own]
    entry = api.load_shape(name)
    if quants is None:
        native = entry.spec.native_quant
        usual = (native,) if native else QUANTS
        quants = tuple(one for one in usual if native or layout(get(one).base).bits_per_weight >= LEAST_BITS)
    found = []
    for quant in quants:
        try:
            found.append(api.load_weights(name, quant)[1])
        except SpecError:
            if len(quants) == 1:
                raise  # a recipe that does not suit the shape
    return entry, found


def _of(
    hardware: str,
    question: Question,
    model_id: str,
    model: Model,
    weights: Sequence[Weights],
    task: Task,
    paid: Terms,
) -> Iterator[Candidate]:
    """A device's candidates: as it is, else with the least memory, or the fewest cards, with which one fits."""
    machine, entry = api.load_machine(hardware, question.runtime, question.backend, None, None)
    able = [one for one in weights if not unsupported(one, machine, task.workload)]
    if not able:
        raise SpecError(unsupported(weights[0], machine, task.workload))
    stack = WeightStack(model, tuple(able))
    waiting = list(range(len(able)))
    last: list[Candidate] = []
    for identity, variant in _variants(entry.id, machine, question.counts):
        part = stack.only(np.array(waiting))
        last = list(_on(identity, variant, model_id, part, task, paid))
        waiting = [place for place, one in zip(waiting, last, strict=True) if not one.fits]
        yield from (one for one in last if one.fits)
        if not waiting:
            return
    yield from (one for one in last if not one.fits)


def _variants(identity: str, machine: Machine, counts: tuple[int, ...]) -> Iterator[tuple[str, Machine]]:
    """The device as it is, then with each larger memory that it is sold with, then several of it."""
    yield identity, machine
    hardware = machine.hardware
    usual = hardware.memory.capacity
    for option in sorted(hardware.memory.options, key=lambda figure: figure.value):
        if usual is not None and option.value > usual.value:
            chosen = option.model_copy(update={"basis": "override"})  # not what the file's price is for
            memory = hardware.memory.model_copy(update={"capacity": chosen})
            larger = hardware.model_copy(update={"memory": memory})
            yield f"{identity}-{catalog.normalise(str(option))}", replace(machine, hardware=larger)
    if has_own_memory(machine) and hardware.count == 1:
        for count in counts:
            yield f"{identity}x{count}", replace(machine, hardware=hardware.times(count))


def _on(
    identity: str, machine: Machine, model_id: str, stack: WeightStack, task: Task, paid: Terms
) -> Iterator[Candidate]:
    """The candidates of one machine, one for each quantisation."""
    memory = task.bill(stack, machine)
    quants = len(stack.weights)
    fits = np.broadcast_to(np.asarray(memory.fits), (quants, 1, 1, 1, 1)).ravel()
    running = np.flatnonzero(fits)
    found = grid(machine, stack.only(running), task) if len(running) else None
    totals = np.broadcast_to(np.asarray(memory.total), (quants, 1, 1, 1, 1)).ravel()
    for place, weights in enumerate(stack.weights):
        at = int(np.searchsorted(running, place)) if fits[place] else None
        yield _candidate(identity, machine.hardware, model_id, stack.model, weights, totals[place], memory.usable,
                         found, at, paid)  # fmt: skip


def _candidate(
    identity: str,
    hardware: Hardware,
    model_id: str,
    model: Model,
    weights: Weights,
    total: float,
    usable: float | None,
    found: Grid | None,
    at: int | None,
    paid: Terms,
) -> Candidate:
    """One candidate; at: its place in the grid, None where it does not fit."""
    prefill, decode = (
        None if phase is None or at is None else _speed(phase, at)
        for phase in ((found.prefill, found.decode) if found else (None, None))
    )
    price, power = price_of(hardware), power_of(hardware)
    ttft = None if found is None or found.prefill is None or at is None else _at(found.prefill.seconds, at)
    cost = None
    if decode is not None:
        known = (None if figure is None else figure.value for figure in (price, power))
        cost = usd_per_million(paid, decode.tok_s, *known)
    return Candidate(
        hardware=identity,
        name=hardware.name,
        model=model_id,
        quant=weights.quant,
        parameters=model.parameter_count,
        bits=weights.bits_per_weight,
        fits=at is not None,
        total_bytes=float(total),
        usable_bytes=usable,
        prefill=prefill,
        decode=decode,
        ttft_s=ttft,
        price=price.value if price else None,
        price_date=getattr(price, "date", "") if price else "",
        price_basis=price.basis if price else "",
        power_w=power.value if power else None,
        power_meaning=power_meaning(hardware) if power else None,
        left_out=price_covers(hardware),
        usd_per_million=None if cost is None else float(cost),
        weights=weights,
        native_quant=model.native_quant,
    )


def _speed(phase: Phase, at: int) -> Speed:
    """A phase of one quantisation."""
    bound = tuple(phase.shares)[int(_at(phase.bound_code, at))]
    return Speed(_at(phase.tok_s, at), _at(phase.low_tok_s, at), _at(phase.high_tok_s, at), bound)


def _at(values: float | NDArray[Any], at: int) -> float:
    """The figure of one quantisation."""
    flat = np.asarray(values).ravel()
    return float(flat[at if len(flat) > 1 else 0])
