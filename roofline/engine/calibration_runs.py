"""The few runs that tell how a machine differs from its kind: a small model in types that run in different kernels."""

from __future__ import annotations

from roofline.bench import Reading
from roofline.engine import record
from roofline.engine.benchmark import Request, benchmark
from roofline.engine.llama_bench import Sweep

#: Small enough for any machine, large enough to leave its caches; f16 is all memory, q4_0 half arithmetic.
MODEL = "tinyllama-1.1b"
TYPES = ("q4_0", "f16")
SWEEP = Sweep(prompt=(128, 512), gen=(64,), repetitions=3)


def measured_rows(hardware: str, measure_first: bool) -> Reading:
    """The user's own observations, with those of a few more runs on this machine if wanted."""
    if measure_first:
        for quant in TYPES:
            benchmark(Request(model=MODEL, quant=quant, hw=hardware, sweep=SWEEP, synthetic=True))
    return record.own()
