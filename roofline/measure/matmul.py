"""What matrix products reach on the CPU: by numpy's BLAS in fp32 and fp64, by torch, where it is installed, in more.

Every library runs in a process of its own, with the number of its threads in the environment: a BLAS reads that when it
is loaded, and this process has loaded it long ago.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roofline.measure.timing import Budget, Clock, Samples, one_per_core, repeat

#: What each library is asked for; torch's fp32 is another BLAS than numpy's.
DTYPES = {"numpy": ("fp32", "fp64"), "torch": ("fp32", "bf16", "int8")}
_SIZES = (512, 1024, 2048, 4096)  # n; larger ones come no nearer to the peak, smaller ones leave cores idle
_SHORTEST = 0.02  # s that a sample takes at least
_WARM_UP = 2  # calls
_GRACE = 60.0  # s beyond its budget after which a process is stopped: torch alone takes up to 20 s to load from a disk
_THREAD_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from roofline.measure.matmul import answer; print(answer(*sys.argv[2:]))"
)


@dataclass(frozen=True, slots=True)
class MatmulRoof:
    """Samples [FLOP/s] of products of two n × n matrices, at the n that is fastest; an operation on int8 counts alike.

    threads: of the library; how many of them work is its choice. library: name and version, with its BLAS.
    """

    dtype: str
    threads: int
    library: str
    samples: Samples
    size: int


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """What could not be measured, and why, in a line."""

    what: str
    reason: str


def flops(n: int) -> float:
    """Operations of a product of two n × n matrices: n³ multiplications and as many additions [FLOP]."""
    return 2.0 * n**3


def measure(
    threads: Iterable[int],
    budget_s: float = 30.0,
    libraries: Iterable[str] = tuple(DTYPES),
    progress: Callable[[float], None] = lambda _: None,
) -> tuple[tuple[MatmulRoof, ...], tuple[Unmeasured, ...]]:
    """Roofs for each number of threads, library and dtype, and what is missing.

    The budget [s] is shared evenly between what can be measured; loading a library counts.
    """
    missing = [
        Unmeasured(f"{name} {', '.join(DTYPES[name])}", f"{name} is not installed")
        for name in libraries
        if not _installed(name)
    ]
    teams = [(count, name) for count in threads for name in libraries if _installed(name)]
    budget = Budget(budget_s)
    roofs: list[MatmulRoof] = []
    for index, (count, name) in enumerate(teams):
        progress(budget.share)
        found, skipped = _in_process(name, count, budget.left / (len(teams) - index))
        roofs += found
        missing += skipped
    progress(1.0)
    return tuple(roofs), tuple(missing)


def _installed(library: str) -> bool:
    try:
        return importlib.util.find_spec(library) is not None
    except (ImportError, ValueError):
        return False


def environment(threads: int, given: Mapping[str, str]) -> dict[str, str]:
    """An environment in which every BLAS uses that many threads."""
    return {**given, **dict.fromkeys(_THREAD_VARIABLES, str(threads))}


def _in_process(library: str, threads: int, seconds: float) -> tuple[list[MatmulRoof], list[Unmeasured]]:
    package_parent = str(Path(__file__).parent.parent.parent)
    what = f"{library}, {threads} threads"
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, package_parent, library, str(threads), f"{seconds:.3f}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=environment(threads, os.environ),
            timeout=seconds + _GRACE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [], [Unmeasured(what, f"it did not end within {seconds + _GRACE:.0f} s")]
    except OSError as error:
        return [], [Unmeasured(what, f"{sys.executable} does not start: {error.strerror or error}")]
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return [], [Unmeasured(what, f"the process ended with {done.returncode}: {last[:200]}")]
    return read_answer(lines[-1])


def read_answer(line: str) -> tuple[list[MatmulRoof], list[Unmeasured]]:
    """The result of a process from the line that answer() made."""
    found = json.loads(line)
    roofs = [MatmulRoof(**{**roof, "samples": Samples(tuple(roof["samples"]))}) for roof in found["roofs"]]
    return roofs, [Unmeasured(**missing) for missing in found["missing"]]


def answer(library: str, threads: str, seconds: str) -> str:
    """What a process that measures one library says: one line of JSON."""
    budget = Budget(float(seconds))
    count = int(threads)
    roofs: list[dict[str, object]] = []
    missing: list[dict[str, str]] = []
    if count == 1:
        _pin()
    name, products = (_numpy if library == "numpy" else _torch)(count)
    for index, (dtype, product) in enumerate(products.items()):
        part = Budget(budget.left / (len(products) - index))
        try:
            samples, size = fastest(product, part)
        except (RuntimeError, NotImplementedError, TypeError, MemoryError) as error:
            reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
            missing.append({"what": f"{library} {dtype}", "reason": reason[0][:200]})
            continue
        roofs.append({"dtype": dtype, "threads": count, "library": name, "samples": samples.values, "size": size})
    return json.dumps({"roofs": roofs, "missing": missing})


def fastest(
    product: Callable[[int], Callable[[], object]],
    budget: Budget,
    sizes: Sequence[int] = _SIZES,
    clock: Clock = time.perf_counter,
) -> tuple[Samples, int]:
    """(samples [FLOP/s], n) of the size with the highest median.

    product: makes the function that multiplies n × n matrices once. Sizes grow while the next, with eight times the
    work, still fits into the budget; the first is measured in any case.
    """
    best: tuple[Samples, int] | None = None
    for index, n in enumerate(sizes):
        samples, once = _of_size(product, n, budget.left / (len(sizes) - index), clock)
        if best is None or samples.median > best[0].median:
            best = samples, n
        if 8 * (_WARM_UP + 3) * once > budget.left:
            break
    if best is None:
        raise ValueError("matmul: expected at least one size, found none")
    return best


def _of_size(
    product: Callable[[int], Callable[[], object]], n: int, seconds: float, clock: Clock
) -> tuple[Samples, float]:
    """(samples [FLOP/s], seconds of one product) of one size, in about so many seconds."""
    run = product(n)
    # The first calls plan, ask for memory and wake the wide units up.
    once = repeat(run, seconds=0.0, at_least=1, warm_up=_WARM_UP, clock=clock)[0]
    calls = max(1, round(_SHORTEST / once)) if once > 0 else 1

    def batch() -> None:
        for _ in range(calls):
            run()

    times = repeat(batch, seconds=seconds, warm_up=0, clock=clock)
    return Samples(tuple(calls * flops(n) / taken for taken in times)), once


def _pin() -> None:
    """To one core of this process's, so that a single thread does not wander and one core is one core."""
    cores = one_per_core()
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cores[0]})


Products = dict[str, Callable[[int], Callable[[], object]]]


def _numpy(_threads: int) -> tuple[str, Products]:  # the environment has said how many
    import numpy as np

    random = np.random.default_rng(0)

    def product(dtype: Any) -> Callable[[int], Callable[[], object]]:
        def of_size(n: int) -> Callable[[], object]:
            left, right = (random.standard_normal((n, n), dtype=dtype) for _ in range(2))
            result = np.empty((n, n), dtype=dtype)
            return lambda: np.matmul(left, right, out=result)

        return of_size

    return f"numpy {np.__version__} ({blas_name()})", {"fp32": product(np.float32), "fp64": product(np.float64)}


def blas_name() -> str:
    """The BLAS that numpy was built with, such as 'scipy-openblas 0.3.30'; 'unknown BLAS' where it does not say."""
    import numpy as np

    try:
        config: Any = np.show_config(mode="dicts")
        blas = config["Build Dependencies"]["blas"]
        return f"{blas['name']} {blas.get('version', '')}".replace("unknown", "").strip() or "unknown BLAS"
    except (TypeError, KeyError, AttributeError):
        return "unknown BLAS"


def _torch(threads: int) -> tuple[str, Products]:
    import torch  # type: ignore[import-not-found,unused-ignore]

    torch.set_num_threads(threads)

    def floats(dtype: Any) -> Callable[[int], Callable[[], object]]:
        def of_size(n: int) -> Callable[[], object]:
            left, right = (torch.randn(n, n).to(dtype) for _ in range(2))
            result = torch.empty(n, n, dtype=dtype)
            return lambda: torch.mm(left, right, out=result)

        return of_size

    def integers(n: int) -> Callable[[], object]:
        left, right = (torch.randint(-127, 128, (n, n), dtype=torch.int8) for _ in range(2))
        return lambda: torch._int_mm(left, right)

    products: Products = {"fp32": floats(torch.float32), "bf16": floats(torch.bfloat16), "int8": integers}
    backends = {"MKL": torch.backends.mkl.is_available(), "oneDNN": torch.backends.mkldnn.is_available()}
    names = " and ".join(name for name, there in backends.items() if there) or "its own kernels"
    return f"torch {torch.__version__} ({names})", products
