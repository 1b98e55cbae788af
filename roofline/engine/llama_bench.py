"""llama-bench and llama-batched-bench: arguments, a run, and what came out, by the readers of `check`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from roofline.bench import Given, Reading, read_json
from roofline.bench.text import clean
from roofline.catalog import user_directory
from roofline.engine.process import Finished, run
from roofline.engine.programs import Program
from roofline.files import write_text
from roofline.spec import SpecError


@dataclass(frozen=True, slots=True)
class Sweep:
    """What to measure; every field but `repetitions` is a list of values, and all combinations are run.

    prompt, gen, depth [tokens], threads, ubatch, gpu_layers; flash_attn: 'on' or 'off'; cache: types of K and V, equal.
    Empty is the program's own default. sequences: for llama-batched-bench, at a time.
    """

    prompt: tuple[int, ...] = (512,)
    gen: tuple[int, ...] = (128,)
    depth: tuple[int, ...] = ()
    threads: tuple[int, ...] = ()
    ubatch: tuple[int, ...] = ()
    gpu_layers: tuple[int, ...] = ()
    flash_attn: tuple[str, ...] = ()
    cache: tuple[str, ...] = ()
    sequences: tuple[int, ...] = ()
    repetitions: int = 5


@dataclass(frozen=True, slots=True)
class EngineRun:
    """A finished run. repacked: whether weights could be rearranged in memory; remarks: what a reader should know."""

    reading: Reading
    arguments: tuple[str, ...]
    repacked: bool
    remarks: tuple[str, ...] = ()


def run_sweep(program: Program, model: Path, sweep: Sweep, given: Given, timeout_s: float) -> EngineRun:
    """Run a sweep on a model file. Several sequences at a time take llama-batched-bench, else llama-bench.

    A run that a fault ended is repeated without repacked weights: on virtual machines with AMX, builds by gcc 12 and
    older crash in those kernels (llama.cpp issue 20824). SpecError when there is no measurement.
    """
    batched = bool(sweep.sequences)
    arguments = batched_arguments(program, model, sweep) if batched else bench_arguments(program, model, sweep)
    done, remarks, repacked = run(arguments, timeout_s), [], True
    if done.fault:
        safer = _without_repacking(program, arguments)
        remarks.append(
            f"{program.name} was ended by {done.fault} and ran again with {' '.join(safer[len(arguments) :])}: a build "
            "by gcc 12 or older crashes in AMX kernels on virtual machines; build with gcc 13, clang or -mno-amx-int8"
        )
        done, repacked = run(safer, timeout_s), False
    if done.code != 0:
        raise SpecError(
            f"{program.name}: expected exit 0, found {_end(done)}; its last words: {done.last_words} "
            f"(all of them: {_keep_errors(done)})"
        )
    reading = read_json(done.out, given, "run")
    if not reading.observations and not reading.skipped:
        found = clean(done.out, 80) or "nothing"
        raise SpecError(f"{program.name}: expected JSON with measured speeds, found {found!r}")
    return EngineRun(reading, done.arguments, repacked, tuple(remarks))


def _keep_errors(done: Finished) -> Path:
    """The file to which a failed run's command and stderr are written, in the user's directory."""
    path = user_directory() / "bench-error.log"
    write_text(f"{shlex.join(done.arguments)}\n\n{done.err}", path)
    return path


def _end(done: Finished) -> str:
    return f"an end by {done.fault}" if done.fault else f"exit {done.code}"


def _without_repacking(program: Program, arguments: Sequence[str]) -> list[str]:
    """The same command with weights left as they are in the file; SpecError where the program cannot do that."""
    for words in (("--repack", "0"), ("--no-repack",)):
        if program.has(words[0]):
            return [*arguments, *words]
    raise SpecError(
        f"{program.path}: expected a run to its end, found a crash, and no option --repack to avoid it: update "
        "llama.cpp, or build it with gcc 13, clang or -mno-amx-int8 -mno-amx-tile -mno-amx-bf16"
    )


def bench_arguments(program: Program, model: Path, sweep: Sweep) -> list[str]:
    """The command line of llama-bench for a sweep; SpecError where its version cannot do what is asked."""
    program.need("--output", "JSON output")
    words = [str(program.path.absolute()), "-m", str(model.absolute()), "-o", "jsonl"]
    if "jsonl" not in program.help:
        words[-1] = "json"
    words += ["-r", str(sweep.repetitions), "-p", _list(sweep.prompt or (0,)), "-n", _list(sweep.gen or (0,))]
    if any(sweep.depth):
        program.need("--n-depth", "tokens in the cache")
        words += ["-d", _list(sweep.depth)]
    words += _common(program, sweep, _flash_words(program, sweep.flash_attn))
    if sweep.cache:
        words += ["-ctk", ",".join(sweep.cache), "-ctv", ",".join(sweep.cache)]
    return [*words, "-v"] if program.has("-v") else words  # -v: a failure says why


def batched_arguments(program: Program, model: Path, sweep: Sweep) -> list[str]:
    """The command line of llama-batched-bench; one value of threads, layers and cache at a time."""
    program.need("--output-format", "JSON output")
    longest = (max(sweep.prompt) + max(sweep.gen)) * max(sweep.sequences)
    words = [str(program.path.absolute()), "-m", str(model.absolute()), "--output-format", "jsonl"]
    words += ["-npp", _list(sweep.prompt), "-ntg", _list(sweep.gen), "-npl", _list(sweep.sequences), "-c", str(longest)]
    for name, values in (("--threads", sweep.threads), ("-ngl", sweep.gpu_layers), ("--kv", sweep.cache)):
        if len(values) > 1:
            raise SpecError(f"{name}: expected one value with --batch, found {_list(values)}")
    words += _common(program, sweep, ["-fa", sweep.flash_attn[0]] if sweep.flash_attn else [])
    return [*words, *(("-ctk", sweep.cache[0], "-ctv", sweep.cache[0]) if sweep.cache else ())]


def _common(program: Program, sweep: Sweep, flash: Sequence[str]) -> list[str]:
    words: list[str] = []
    for option, values in (("-t", sweep.threads), ("-ub", sweep.ubatch), ("-ngl", sweep.gpu_layers)):
        words += [option, _list(values)] if values else []
    if flash:
        program.need("-fa", "flash attention")
    return [*words, *flash]


def _flash_words(program: Program, wanted: Sequence[str]) -> list[str]:
    """-fa in the words of this version: builds since late 2025 take on and off, those before 1 and 0."""
    if not wanted:
        return []
    if re.search(r"--flash-attn\s+<on", program.help):
        return ["-fa", ",".join(wanted)]
    return ["-fa", ",".join("1" if word == "on" else "0" for word in wanted)]


def _list(values: Sequence[object]) -> str:
    return ",".join(str(value) for value in values)


def marked(engine_run: EngineRun, isa_off: str, note: str) -> EngineRun:
    """The run with a note in its observations, and with what its build leaves unused of the processor.

    isa_off: '-amx' of a build without AMX kernels on a processor with them: its rows are predicted without.
    """
    rows = tuple(
        replace(one, note=note, extra={**one.extra, "isa": isa_off} if isa_off and one.backend == "cpu" else one.extra)
        for one in engine_run.reading.observations
    )
    return replace(engine_run, reading=Reading(rows, engine_run.reading.skipped))
