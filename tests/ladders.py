"""A ladder as if it had been measured, on machines of several kinds; nothing runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from roofline.measure.ladder.climb import Measured
from roofline.measure.ladder.here import Here
from roofline.measure.ladder.history import historical
from roofline.measure.ladder.report import Ladder
from roofline.measure.ladder.rungs import RUNGS, Run
from roofline.measure.ladder.steps import steps
from roofline.measure.matmul import Unmeasured
from roofline.measure.timing import Samples
from roofline.units import parse

GIGA = parse("1 GFLOP/s", "FLOP/s")
#: What `roofline measure matmul --threads 1 --format json` wrote, on the machine of docs/explanation/matmul-ladder.md.
RUN = Path(__file__).parent / "data" / "ladder_run.json"

X86 = ("avx2", "fma", "avx", "sse4")
AMX = ("avx512", "avx512_vnni", "avx512_bf16", "amx", "avx_vnni", *X86)
ARM = ("neon", "dotprod", "fp16")
APPLE = ("neon", "dotprod", "fp16", "i8mm", "bf16")
RATES = {
    X86: {"fp32": 32.0, "int8": 64.0},
    AMX: {"fp32": 64.0, "fp16": 128.0, "bf16": 32.0, "int8": 256.0, "amx_bf16": 1024.0, "amx_int8": 2048.0},
    ARM: {"fp32": 16.0, "fp16": 32.0, "int8": 64.0},
    APPLE: {"fp32": 32.0, "fp16": 64.0, "bf16": 64.0, "int8": 256.0},
}
#: [GFLOP/s] by rung and threads.
SPEEDS = {
    ("python", 1): 0.04, ("rows", 1): 0.8, ("loops", 1): 2.0, ("einsum", 1): 12.0, ("numpy-fp32", 1): 100.0,
    ("numpy-fp32", 2): 180.0, ("numpy-fp64", 1): 50.0, ("numpy-fp64", 2): 90.0, ("numpy-fp16", 1): 0.4,
    ("mkl-fp32", 2): 200.0, ("mkl-bf16", 2): 1000.0, ("mkl-int8", 2): 2000.0, ("torch-fp16", 2): 150.0,
}  # fmt: skip


def here(isa: tuple[str, ...] = AMX, clock: str = "2 GHz") -> Here:
    """A machine of two cores at 2 GHz, with 10 GB/s for one and 16 GB/s for both."""
    hertz = parse(clock, "Hz")
    loops = tuple(word for word in isa if word in ("sse4", "neon"))  # what numpy's wheels are compiled for
    return Here(
        name="a <machine>", isa=isa, cores=2, virtual=False, per_cycle=RATES.get(isa, {}),
        clock={1: hertz, 2: hertz}, cycles={1: hertz, 2: 2 * hertz},
        bandwidth={1: parse("10 GB/s", "B/s"), 2: parse("16 GB/s", "B/s")}, l2=parse("1 MiB", "B"),
        l3=parse("300 MiB", "B"), loops_isa=loops, per_cycle_basis="told", clock_basis="told", bandwidth_basis="told",
    )  # fmt: skip


def measured(
    rung: str, threads: int, speed: float, n: int = 1024, library: str = "a library 1.0 (its BLAS)"
) -> Measured:
    """Three samples: 0.9, 1 and 1.1 of a speed [GFLOP/s]."""
    samples = Samples(tuple(speed * part * GIGA for part in (0.9, 1.0, 1.1)))
    return Measured(Run(rung, threads), n, n, samples, 0.01, library)


def ladder(isa: tuple[str, ...] = AMX, library: str = "a library 1.0 (its BLAS)") -> Ladder:
    """Every rung of SPEEDS, a sweep of two rungs, and a library that is missing."""
    machine = here(isa)
    found = [
        measured(rung, threads, speed, RUNGS[rung].limit or 1024, library) for (rung, threads), speed in SPEEDS.items()
    ]
    swept = [measured("einsum", 1, speed, n) for n, speed in ((64, 9.0), (512, 12.0), (2048, 6.0))]
    swept += [measured("numpy-fp32", 2, speed, n) for n, speed in ((64, 90.0), (512, 170.0), (2048, 180.0))]
    missing = (Unmeasured("torch-fp32", "not installed: pip install 'roofline[torch]'"),)
    return Ladder(1024, machine, steps(found, machine), tuple(swept), missing, historical())


def captured() -> Ladder:
    """The run that the gallery shows, from what `--format json` wrote; a spread stands for the samples."""
    kept = json.loads(RUN.read_text(encoding="utf-8"))
    told = kept["machine"]
    by_threads = {
        name: {int(threads): value for threads, value in told[name].items()}
        for name in ("clock_hz", "bandwidth_bytes_s")
    }
    machine = Here(
        name=told["name"], isa=tuple(told["isa"]), cores=told["cores"], virtual=told["virtual"],
        per_cycle=told["per_cycle"], clock=by_threads["clock_hz"],
        cycles={threads: threads * hertz for threads, hertz in by_threads["clock_hz"].items()},
        bandwidth=by_threads["bandwidth_bytes_s"], l2=told["l2_bytes"], l3=told["l3_bytes"], loops_isa=("sse4",),
        per_cycle_basis=told["per_cycle_basis"], clock_basis=told["clock_basis"],
        bandwidth_basis=told["bandwidth_basis"],
    )  # fmt: skip
    found = [_read(row) for row in kept["rungs"]]
    missing = tuple(Unmeasured(**one) for one in kept["not_measured"])
    swept = tuple(_read(row) for row in kept["sizes"])
    return Ladder(kept["matrix_n"], machine, steps(found, machine), swept, missing, historical())


def _read(row: dict[str, Any]) -> Measured:
    """A row of rungs or sizes; its quantiles lie 0.8 of the way from the median to the ends of three samples."""
    aside = row["spread"] / 2 / 0.8
    samples = Samples(tuple(row["achieved_flop_s"] * part for part in (1 - aside, 1.0, 1 + aside)))
    n, m = row["matrix_n"], row.get("matrix_rows", row["matrix_n"])
    run = Run(row["rung"], row["threads"])
    return Measured(run, m, n, samples, row.get("error_of_bound", 0.0), row.get("library", ""))
