"""A benchmark: run an engine here on a model file, hold the speeds against the prediction, keep them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from roofline import api, catalog
from roofline.bench import Given, Observation
from roofline.check.checking import Checked, check
from roofline.engine import cards, llama_bench, programs, record
from roofline.engine.llama_bench import Sweep
from roofline.engine.naming import known_as
from roofline.engine.process import interruptible
from roofline.engine.scratch import scratch_directory, temporary
from roofline.measure.identity import identify
from roofline.measure.limits import memory_limit
from roofline.measure.match import match
from roofline.measure.source import Live
from roofline.spec import SpecError
from roofline.units import format_quantity

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Request:
    """What to measure, and how. model: an id or a GGUF file; quant: for an id.

    synthetic: make a file of random weights of that shape; keep: a folder where it stays. hw: what this machine is,
    where its own file does not say. llama_bench: the program or its folder. force: although it will not fit.
    """

    model: str
    quant: str | None = None
    hw: str | None = None
    sweep: Sweep = field(default_factory=Sweep)
    synthetic: bool = False
    keep: Path | None = None
    llama_bench: Path | None = None
    timeout_s: float = 1800.0
    force: bool = False
    recorded: bool = True


@dataclass(frozen=True)
class Benchmark:
    """What was measured, held against what was predicted.

    command: what ran; checked: the verdicts; recorded: the file that the rows were added to, None where not; remarks:
    what a reader should know of the run; served: of a server, what server.Measured holds.
    """

    command: tuple[str, ...]
    checked: Checked
    recorded: Path | None
    remarks: tuple[str, ...]
    served: tuple[dict[str, Any], ...] = ()


def benchmark(request: Request, progress: Progress | None = None) -> Benchmark:
    """Run llama.cpp's benchmark on a real or a synthetic file; SpecError with the reason when nothing was measured.

    progress: called with bytes written and bytes in all while a synthetic file is made.
    """
    _check_model(request)
    name = "llama-batched-bench" if request.sweep.sequences else "llama-bench"
    program = programs.find(name, request.llama_bench, "--llama-bench")
    backend, devices = cards.listed(program, request.sweep) if request.hw is None else ("", ())
    hardware = _machine(request.hw, devices)
    on_cards = cards.filed(devices) if devices and request.sweep.sequences else None  # that program prints no device
    if not request.force and not devices:
        _refuse_to_swap(request, hardware)
    with interruptible(), _model_file(request, progress) as (path, model, quant):
        given = Given(on_cards, model, quant, backend) if on_cards else Given(hardware, model, quant)
        engine_run = llama_bench.run_sweep(program, path, request.sweep, given, request.timeout_s)
    if request.hw is None:
        engine_run = replace(engine_run, reading=cards.on_own_cards(engine_run.reading))
    isa_off = _amx_of(hardware)
    if isa_off and engine_run.repacked and programs.has_amx_kernels(program):  # which reads the whole program
        isa_off = ""
    note = "synthetic weights" if request.synthetic else ""
    engine_run = llama_bench.marked(engine_run, isa_off, note)
    rows, path_kept = keep(engine_run.reading.observations, request.recorded)
    checked = check(rows, engine_run.reading.skipped)
    remarks = [*engine_run.remarks, *_unused(rows, isa_off)]
    return Benchmark(engine_run.arguments, checked, path_kept, tuple(remarks))


def _unused(rows: Sequence[Observation], isa_off: str) -> list[str]:
    on_cpu = any(one.backend == "cpu" for one in rows)
    return ["the build has no AMX kernels: predicted without"] if isa_off and on_cpu else []


def keep(rows: tuple[Observation, ...], recorded: bool) -> tuple[list[Observation], Path | None]:
    """The rows, added to the user's own file if wanted, and that file."""
    if not recorded or not rows:
        return list(rows), None
    return record.append(rows), record.own_file()


def here(named: str | None) -> str:
    """The catalog id of this machine: as named, its own file from `roofline measure`, or what it was recognised as."""
    if named is not None:
        return catalog.load_hardware(named).id
    if catalog.resolve_id("hardware", catalog.HOST) is not None:
        return catalog.HOST
    found = match(identify(Live()))
    if found.name is None:
        raise SpecError(f"--hw: expected to know this machine, found that {found.why}; run `roofline measure` first")
    return found.name


def _machine(named: str | None, devices: Sequence[str]) -> str:
    """What runs the rows that name no device; where nobody knows the processor, the cards do that were listed."""
    try:
        return here(named)
    except SpecError:
        if not devices:
            raise
        return cards.filed(devices)


def _amx_of(hardware: str) -> str:
    """'-amx' for a processor with AMX, which a build without such kernels leaves idle."""
    cpu = catalog.load_hardware(hardware).spec.cpu
    return "-amx" if cpu is not None and "amx" in cpu.isa else ""


def _check_model(request: Request) -> None:
    """SpecError for a model that there is not, before anything else is looked for."""
    if not request.synthetic and not request.model.endswith(".gguf"):
        raise SpecError(
            f"--model: expected a GGUF file, found {request.model!r}; --synthetic makes one of that model's shape"
        )
    api.load_weights(request.model, request.quant if request.synthetic else None)


@contextmanager
def _model_file(request: Request, progress: Progress | None) -> Iterator[tuple[Path, str, str]]:
    """(file, model, quantisation) to run; a synthetic one is gone afterwards unless it is to be kept."""
    if not request.synthetic:
        path = Path(request.model)
        yield path, *known_as(path)
        return
    from roofline.engine.synthetic import synthetic

    entry, weights = api.load_weights(request.model, request.quant)
    folder = request.keep or scratch_directory(weights.file_bytes)
    name = f"{entry.id}-{weights.quant}-synthetic.gguf"
    path = folder / name if request.keep else temporary(folder, name)
    with synthetic(entry.id, weights.quant, path, keep=request.keep is not None, progress=progress) as made:
        yield made.path, entry.id, weights.quant


def _refuse_to_swap(request: Request, hardware: str) -> None:
    """SpecError when a model run from main memory needs more of it than is free: swapping measures the disk."""
    import psutil

    if catalog.load_hardware(hardware).spec.is_accelerator:
        return
    sweep = request.sweep
    bill = api.predict(
        hardware,
        request.model,
        request.quant,
        prompt=max(sweep.prompt, default=0) + max(sweep.depth, default=0),
        gen=max(sweep.gen, default=0),
        batch=max(sweep.sequences, default=1),
    ).memory
    needed = float(bill.total)
    free = min(float(psutil.virtual_memory().available), memory_limit(Live(), None) or math.inf)
    if needed > free:
        raise SpecError(
            f"{request.model}: expected a model that fits the free memory, found {format_quantity(needed, 'B')} needed "
            f"and {format_quantity(free, 'B')} free; it would swap (--force runs it all the same)"
        )
