"""Measured speeds of a prediction's machine and model: what a chart shows beside what is expected."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from roofline import catalog
from roofline.bench import Observation, runtime_for, shipped
from roofline.bench.expected import Expected, expect
from roofline.check.nearest import engine_of
from roofline.check.verdicts import PHASE
from roofline.engine.record import own, own_file
from roofline.prediction import Prediction
from roofline.spec import SpecError

_COUNTED = re.compile(r"x(\d+)$")
MOST_REMEMBERED = 4096  # expectations


@dataclass(frozen=True, slots=True)
class Measured:
    """One measured speed, and the run that it was measured in; None or '' where that is not stated.

    phase: 'prefill' or 'decode'. tok_s: all sequences together; std: its standard deviation [1/s]. prompt, gen, depth
    [tokens]. runtime: id of the file that stands for the engine. is_own: measured by the user.
    """

    id: str
    phase: str
    tok_s: float
    std: float | None
    prompt: int | None
    gen: int | None
    depth: int | None
    batch: int | None
    threads: int | None
    quant: str
    runtime: str
    source: str
    url: str
    tier: str
    is_own: bool
    observation: Observation = field(repr=False)

    @property
    def expected(self) -> Expected | None:
        """The prediction for this very run, worked out once; None where there can be none."""
        return _expected(self.observation)

    @property
    def ratio(self) -> float | None:
        """Expected by measured speed [1]; None where nothing can be expected."""
        found = self.expected
        return None if found is None else float(found.phase.tok_s) / self.tok_s


def measured(prediction: Prediction, any_quant: bool = False) -> tuple[Measured, ...]:
    """What was measured on the prediction's device with its model, quantisation, backend and engine.

    The user's own come first, then those that are shipped. All workloads, periods of the engine and numbers of threads.
    any_quant: in whatever quantisation. Of a device with its host, runs that left a part there (and those that did not,
    where the prediction leaves none). Nothing for several unlike devices, and for a device with figures replaced.
    """
    machine, placement, names = prediction.machine, prediction.placement, prediction.names
    device = _shipped_name("hardware", names.get("hardware_file", ""))
    if device is None or (placement is not None and placement.others):
        return ()
    found = [
        (seen, is_own)
        for model in _models(names)
        for seen, is_own in (
            *((seen, True) for seen in _own_by_run().get((device, _count(names, device), model), ())),
            *((seen, False) for seen in _shipped_by_run().get((device, _count(names, device), model), ())),
        )
        if any_quant or seen.quant == prediction.weights.quant
    ]
    if not found or _is_changed(prediction):
        return ()
    engine = engine_of(names.get("runtime", machine.runtime.name))
    return tuple(
        _row(seen, runtime, is_own)
        for seen, is_own in found
        if (seen.backend or machine.hardware.backends[0]) == machine.backend
        and _is_placed_like(seen, prediction)
        and (runtime := runtime_for(seen).id) is not None
        and engine_of(runtime) == engine
    )


def _row(seen: Observation, runtime: str, is_own: bool) -> Measured:
    return Measured(
        seen.id, PHASE[seen.phase], seen.tok_s, seen.std, seen.prompt, seen.gen, seen.depth, seen.batch, seen.threads,
        seen.quant, runtime, seen.source, seen.url, seen.tier, is_own, seen,
    )  # fmt: skip


def _is_placed_like(seen: Observation, prediction: Prediction) -> bool:
    """Whether the run had its layers where the prediction may have them."""
    placement = prediction.placement
    if seen.kind != "hybrid":
        return placement is None or placement.is_whole(prediction.model.layers)
    host = _shipped_name("hardware", prediction.names.get("host_file", ""))
    return placement is not None and placement.host is not None and seen.host == host


def _shipped_name(room: catalog.Room, file: str) -> str | None:
    """The id under which the catalog finds this very file; None for a file from elsewhere, or none."""
    known = catalog.resolve_id(room, Path(file).stem) if file else None
    return known[0] if known is not None and catalog.shown(known[1]) == file else None


def _models(names: dict[str, str]) -> list[str]:
    """What observations may call the model: its id where it is in the catalog, its file."""
    file = names.get("model_file", "")
    identity = _shipped_name("models", file)
    return [name for name in (identity, file) if name]


def _count(names: dict[str, str], device: str) -> int:
    """How many of the device: 2 for 'rtx-3090x2', and for two sockets [1]."""
    found = _COUNTED.search(names.get("hardware", "").partition("+")[0].removeprefix(device))
    return int(found[1]) if found else 1


def _is_changed(prediction: Prediction) -> bool:
    """Whether figures of the device were replaced, so that nobody measured it."""
    return any(figure.basis == "override" for figure in prediction.machine.hardware.figures().values())


_Runs = dict[tuple[str, int, str], list[Observation]]


def _by_run(observations: tuple[Observation, ...]) -> _Runs:
    found: _Runs = {}
    for seen in observations:
        if seen.phase in PHASE:
            found.setdefault((seen.hardware, seen.count, seen.model), []).append(seen)
    return found


@lru_cache(maxsize=1)
def _shipped_by_run() -> _Runs:
    return _by_run(shipped().observations)


def _own_by_run() -> _Runs:
    path = own_file()
    return _read_own(str(path), path.stat().st_mtime_ns) if path.is_file() else {}


@lru_cache(maxsize=4)
def _read_own(_path: str, _changed: int) -> _Runs:
    return _by_run(own().observations)


@lru_cache(maxsize=MOST_REMEMBERED)
def _expected(observation: Observation) -> Expected | None:
    try:
        return expect(observation)
    except SpecError:
        return None
