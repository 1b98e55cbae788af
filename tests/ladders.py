"""A ladder as if it had been measured, on machines of several kinds; nothing runs."""

from __future__ import annotations

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


def here(isa: tuple[str, ...] = AMX, vendor: str = "Intel", clock: str = "2 GHz") -> Here:
    """A machine of two cores at 2 GHz, with 10 GB/s for one and 16 GB/s for both."""
    hertz = parse(clock, "Hz")
    return Here(
        name="a <machine>", isa=isa, vendor=vendor, cores=2, virtual=False, per_cycle=RATES.get(isa, {}),
        clock={1: hertz, 2: hertz}, cycles={1: hertz, 2: 2 * hertz},
        bandwidth={1: parse("10 GB/s", "B/s"), 2: parse("16 GB/s", "B/s")}, l2=parse("1 MiB", "B"),
        l3=parse("300 MiB", "B"), per_cycle_basis="told", clock_basis="told", bandwidth_basis="told",
    )  # fmt: skip


def measured(
    rung: str, threads: int, speed: float, n: int = 1024, library: str = "a library 1.0 (its BLAS)"
) -> Measured:
    """Three samples: 0.9, 1 and 1.1 of a speed [GFLOP/s]."""
    samples = Samples(tuple(speed * part * GIGA for part in (0.9, 1.0, 1.1)))
    return Measured(Run(rung, threads), n, n, samples, 0.01, library)


def ladder(isa: tuple[str, ...] = AMX, vendor: str = "Intel", library: str = "a library 1.0 (its BLAS)") -> Ladder:
    """Every rung of SPEEDS, a sweep of two rungs, and a library that is missing."""
    machine = here(isa, vendor)
    found = [
        measured(rung, threads, speed, RUNGS[rung].limit or 1024, library) for (rung, threads), speed in SPEEDS.items()
    ]
    swept = [measured("einsum", 1, speed, n) for n, speed in ((64, 9.0), (512, 12.0), (2048, 6.0))]
    swept += [measured("numpy-fp32", 2, speed, n) for n, speed in ((64, 90.0), (512, 170.0), (2048, 180.0))]
    missing = (Unmeasured("torch-fp32", "not installed: pip install 'roofline[torch]'"),)
    return Ladder(1024, machine, steps(found, machine), tuple(swept), missing, historical())
