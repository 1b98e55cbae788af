"""What a sweep is asked for: names, globs and ranges along every axis."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path

from roofline import __version__, api, catalog, fitted, local
from roofline.lineup import line_up
from roofline.points import expand, one_number
from roofline.spec import SpecError
from roofline.sweep.columns import COLUMNS, DEFAULT
from roofline.units import UnitError, count, short

MOST_VALUES = 1_000_000  # along one axis
MOST_HASHED = 2**24  # bytes of a file that its fingerprint is of, beside its size


@dataclass(frozen=True)
class Request:
    """The axes of a sweep. hardware, models, quants, runtimes: ids; backends, threads, ubatches: None is the default.

    kv: types of the cache as on the command line. prompts, gens, depths [tokens] and batches [sequences]. context:
    positions to reserve [tokens]; None is what the tokens need. columns: what is written of each point.
    """

    hardware: tuple[str, ...]
    models: tuple[str, ...]
    quants: tuple[str, ...]
    columns: tuple[str, ...]
    runtimes: tuple[str, ...] = (api.DEFAULT_RUNTIME,)
    backends: tuple[str | None, ...] = (None,)
    kv: tuple[str, ...] = ("f16",)
    threads: tuple[int | None, ...] = (None,)
    ubatches: tuple[int | None, ...] = (None,)
    prompts: tuple[int, ...] = (512,)
    gens: tuple[int, ...] = (128,)
    depths: tuple[int, ...] = (0,)
    batches: tuple[int, ...] = (1,)
    context: int | None = None
    flash_attention: bool | None = None

    @property
    def settings(self) -> int:
        """Combinations of hardware, model, quantisation, runtime and its settings [1]."""
        named = (self.hardware, self.models, self.quants, self.runtimes, self.backends, self.kv)
        return prod(len(axis) for axis in (*named, self.threads, self.ubatches))

    @property
    def points(self) -> int:
        """Points, if every combination can be predicted [1]."""
        return self.settings * prod(len(axis) for axis in (self.prompts, self.gens, self.depths, self.batches))

    def digest(self) -> str:
        """A fingerprint of the request and of every file that its numbers rest on."""
        found = hashlib.sha256(json.dumps([__version__, asdict(self)]).encode())
        for path in self._files():
            found.update(path.name.encode() + b"\0")
            found.update(str(path.stat().st_size).encode())
            with path.open("rb") as file:  # of a GGUF file the tensor table, not gigabytes of weights
                found.update(file.read(MOST_HASHED))
        return found.hexdigest()

    def _files(self) -> list[Path]:
        lineups = [line_up(name) for name in self.hardware]
        hardware = [one for each in lineups for one in (*each.devices, each.host) if one]
        paths = [catalog.load_hardware(name).path for name in hardware]
        paths += [api.load_shape(name).path for name in self.models]
        paths += catalog.files("runtimes").values()  # a runtime may extend another
        paths += [catalog.load_runtime(name).path for name in self.runtimes]
        paths += fitted.files(catalog.user_directory())
        paths += local.files(catalog.own_directories())
        return sorted(set(paths))


def make_request(
    hw: str,
    model: str,
    quant: str,
    columns: str | None = None,
    *,
    runtime: str = api.DEFAULT_RUNTIME,
    backend: str | None = None,
    kv: str = "f16",
    threads: str | None = None,
    ubatch: str | None = None,
    prompt: str = "512",
    gen: str = "128",
    depth: str = "0",
    batch: str = "1",
    context: str | None = None,
    flash_attention: bool | None = None,
) -> Request:
    """A request in the words of the command line: 'rtx-*,m2-max-38', 'q4_k_m,q8_0' or '*', '0:131072:4096', '1,2,4'.

    columns: names joined by commas, 'all', or None for the usual ones.

    SpecError for a name that is none, a pattern that matches none, and a range that is none or too long.
    """
    from roofline.quantization import get, names

    return Request(
        hardware=_named("hw", hw, api.list_hardware(), _hardware_id),
        models=_named("model", model, api.list_models(), _model_id),
        quants=_named("quant", quant, [info.id for info in names()], lambda name: get(name).id),
        columns=_columns(columns),
        runtimes=_named("runtime", runtime, api.list_runtimes(), lambda name: catalog.load_runtime(name).id),
        backends=tuple(expand("backend", backend, ())) if backend else (None,),
        kv=tuple(_kv_name(name) for name in expand("kv", kv, ())),  # q8_0/q4_0 is one of different K and V
        threads=axis("threads", threads, 1) if threads else (None,),
        ubatches=axis("ubatch", ubatch, 1) if ubatch else (None,),
        prompts=axis("prompt", prompt, 0),
        gens=axis("gen", gen, 0),
        depths=axis("depth", depth, 0),
        batches=axis("batch", batch, 1),
        context=one_number("ctx", context) if context else None,
        flash_attention=flash_attention,
    )


def _columns(text: str | None) -> tuple[str, ...]:
    if text is None:
        return DEFAULT
    found = COLUMNS if text.strip() == "all" else tuple(expand("columns", text, COLUMNS))
    wrong = next((name for name in found if name not in COLUMNS), None)
    if wrong is not None:
        raise SpecError(f"--columns: expected some of {', '.join(COLUMNS)}, found {short(wrong)}")
    return found


def _hardware_id(name: str) -> str:
    return line_up(name).id


def _model_id(name: str) -> str:
    entry = api.load_shape(name)  # what cannot be read is told before the work begins
    return name if name.endswith((".gguf", ".json", ".toml")) else entry.id


def _kv_name(text: str) -> str:
    keys, values = api.kv_pair(text.replace("/", ","))
    return keys if keys == values else f"{keys},{values}"


def _named(option: str, text: str, known: Sequence[str], resolve: Callable[[str], str]) -> tuple[str, ...]:
    """Names and patterns as ids, each once, in the order asked for."""
    return tuple(dict.fromkeys(resolve(name) for name in expand(option, text, known)))


def axis(option: str, text: str, least: int) -> tuple[int, ...]:
    """'1,2,4' or '0:131072:4096' (start:stop:step, the stop left out as in Python), or both, each value once."""
    found: list[int] = []
    try:
        for word in text.split(","):
            parts = [count(part) for part in word.split(":")]
            if len(parts) == 1:
                found += parts
                continue
            start, stop, step = parts if len(parts) == 3 else (*parts, 1) if len(parts) == 2 else (0, 0, 0)
            if step < 1 or stop <= start:
                raise SpecError(f"--{option}: expected start:stop:step, the stop above the start, found {short(word)}")
            if (stop - start) // step > MOST_VALUES:
                raise SpecError(f"--{option}: expected at most {MOST_VALUES} values, found {short(word)}")
            found += range(start, stop, step)
    except UnitError as error:
        raise SpecError(f"--{option}: {error}") from None
    if len(found) > MOST_VALUES:
        raise SpecError(f"--{option}: expected at most {MOST_VALUES} values, found {len(found)}")
    wrong = next((value for value in found if not least <= value <= api.MOST), None)
    if wrong is not None:
        raise SpecError(f"--{option}: expected whole numbers from {least} to {api.MOST:g}, found {wrong}")
    return tuple(dict.fromkeys(found))
