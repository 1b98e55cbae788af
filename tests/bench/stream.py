"""The numpy kernels of ``roofline measure`` beside STREAM in C: ``python -m tests.bench.stream [ROUNDS]``.

Compiles stream.c with -O3 -march=native -fopenmp, and takes turns: a sample of C, one of numpy, the next kernel, and so
on, for several rounds with the same array sizes and threads. A row's ratio is the median of the ratios of the rounds,
and the range is their 10 % to 90 % quantiles: the machine's drift is in both speeds, hardly in their ratio. It judges
nothing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

from roofline.measure.arrays import Memory, numa_nodes
from roofline.measure.bandwidth import KERNELS, Measurement
from roofline.measure.timing import Budget, Team, one_per_core
from roofline.units import format_quantity, parse

SOURCE = Path(__file__).parent / "stream.c"
FLAGS = ("-O3", "-march=native", "-fopenmp")
ELEMENT = 8  # B
IN_CACHE = parse("384 KiB", "B")  # an array of one thread: three of them in a second-level cache of 2 MiB
IN_MEMORY = parse("1 GiB", "B")  # an array of all threads together
# What C runs beside which kernel of numpy: numpy's triad has s = 1, which is STREAM's add.
PAIRS = (("read", "read"), ("copy", "copy"), ("triad", "triad"), ("triad", "add"))


def compiler() -> str | None:
    wanted = os.environ.get("CC")
    return next((found for name in (wanted, "cc", "gcc", "clang") if name and (found := shutil.which(name))), None)


@contextmanager
def stream(elements: int, threads: int, folder: Path, cc: str) -> Iterator[subprocess.Popen[str]]:
    program = folder / "stream"
    subprocess.run([cc, *FLAGS, str(SOURCE), "-o", str(program)], check=True)
    places = {"OMP_PROC_BIND": "spread", "OMP_PLACES": "cores", "OMP_WAIT_POLICY": "passive"}
    command = [str(program), str(elements), str(threads)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **places}
    ) as process:
        try:
            yield process
        finally:
            if process.stdin is not None:
                process.stdin.close()


def c_rate(process: subprocess.Popen[str], kernel: str, elements: int, threads: int, passes: int) -> float:
    """One sample of C [B/s]; a pass that is not timed goes first, as in numpy's."""
    assert process.stdin is not None and process.stdout is not None
    seconds = 0.0
    for count in (1, passes) if passes > 1 else (passes,):
        process.stdin.write(f"{kernel} {elements} {threads} {count}\n")
        process.stdin.flush()
        seconds = float(process.stdout.readline())
    per_element = KERNELS[{"add": "triad"}.get(kernel, kernel)].bytes_per_element
    return passes * elements * per_element / seconds


def compare(process: subprocess.Popen[str], threads: int, array: float, rounds: int) -> Iterator[str]:
    """A line of the table for each pair of kernels; array: of all threads together [B]."""
    with Team(threads, one_per_core()) as team:
        memory = Memory(team, 3 * array, Budget(600.0), shared=numa_nodes() == 1)
        parts = memory.parts(threads)
        pairs = {}
        for name, in_c in PAIRS:
            kernel = KERNELS[name]
            pairs[in_c] = Measurement(team, parts, kernel, kernel.elements(kernel.arrays * array, threads))
            pairs[in_c]()
        samples: dict[str, list[tuple[float, float]]] = {in_c: [] for in_c in pairs}
        for _ in range(rounds):
            for in_c, numpy_sample in pairs.items():
                elements = int(numpy_sample.bytes_held) // numpy_sample.kernel.arrays // ELEMENT * threads
                c = c_rate(process, in_c, elements, threads, numpy_sample.passes)
                samples[in_c].append((c, numpy_sample()))
    for name, in_c in PAIRS:
        table = np.array(samples[in_c])
        c, ours = np.median(table, axis=0)
        ratios = table[:, 1] / table[:, 0]
        low, high = np.quantile(ratios, (0.1, 0.9))
        size = format_quantity(array, "B", binary=True)
        speeds = [format_quantity(rate, "B/s") for rate in (c, ours)]
        yield (
            f"{threads:7} {size:>9} {name:6} {in_c:6} {speeds[0]:>10} {speeds[1]:>10} "
            f"{np.median(ratios):6.2f} {low:6.2f} to {high:.2f}"
        )


def main(rounds: int = 7) -> None:
    cc = compiler()
    if cc is None or not sys.platform.startswith("linux"):
        print("stream: needs Linux and a C compiler with OpenMP (cc, gcc or clang in PATH, or CC)", file=sys.stderr)
        return
    cores = len(one_per_core()) or os.cpu_count() or 1
    in_memory = min(IN_MEMORY, psutil.virtual_memory().available / 12)  # C and numpy hold three arrays each
    print(f"threads     array numpy  C               C      numpy  ratio 10 to 90 % of {rounds} rounds")
    with (
        tempfile.TemporaryDirectory() as folder,
        stream(int(in_memory) // ELEMENT, cores, Path(folder), cc) as process,
    ):
        for threads in sorted({1, cores}):
            for array in (IN_CACHE * threads, in_memory):
                for line in compare(process, threads, array, rounds):
                    print(line, flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
