"""What matrix products reach on the CPU: by numpy's BLAS in fp32 and fp64, by torch, where it is installed, in more.

Every library runs in a process of its own, with the number of its threads in the environment: a BLAS reads that when it
is loaded, and this process has loaded it long ago.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from roofline.measure.child import ChildError, ask, pin
from roofline.measure.products import Maker, installed, numpy_library, torch_library
from roofline.measure.timing import Budget, Clock, Samples, repeat

#: What each library is asked for; torch's fp32 is another BLAS than numpy's.
DTYPES = {"numpy": ("fp32", "fp64"), "torch": ("fp32", "bf16", "int8")}
_SIZES = (512, 1024, 2048, 4096)  # n; larger ones come no nearer to the peak, smaller ones leave cores idle
_SHORTEST = 0.02  # s that a sample takes at least
_WARM_UP = 2  # calls
GRACE = 60.0  # s beyond its budget after which a process is stopped: torch alone takes up to 20 s to load from a disk
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


def flops(n: int, rows: int | None = None) -> float:
    """Operations of a product of two n × n matrices: n³ multiplications and as many additions [FLOP].

    rows: of the left matrix and of the result, where they are fewer.
    """
    return 2.0 * n**2 * (n if rows is None else rows)


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
        if not installed(name)
    ]
    teams = [(count, name) for count in threads for name in libraries if installed(name)]
    budget = Budget(budget_s)
    roofs: list[MatmulRoof] = []
    for index, (count, name) in enumerate(teams):
        progress(budget.share)
        found, skipped = _in_process(name, count, budget.left / (len(teams) - index))
        roofs += found
        missing += skipped
    progress(1.0)
    return tuple(roofs), tuple(missing)


def _in_process(library: str, threads: int, seconds: float) -> tuple[list[MatmulRoof], list[Unmeasured]]:
    try:
        lines = ask(_PROGRAM, [library, str(threads), f"{seconds:.3f}"], threads, seconds + GRACE)
    except ChildError as error:
        return [], [Unmeasured(f"{library}, {threads} threads", str(error))]
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
        pin()
    name, makers = numpy_library() if library == "numpy" else torch_library(count)
    products = {dtype: makers[dtype] for dtype in DTYPES[library]}
    for index, (dtype, maker) in enumerate(products.items()):
        part = Budget(budget.left / (len(products) - index))
        try:
            samples, size = fastest(_run_of(maker), part)
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


def _run_of(maker: Maker) -> Callable[[int], Callable[[], object]]:
    return lambda n: maker(n, n).run


def _of_size(
    product: Callable[[int], Callable[[], object]], n: int, seconds: float, clock: Clock
) -> tuple[Samples, float]:
    """(samples [FLOP/s], seconds of one product) of one size, in about so many seconds."""
    return timed(product(n), flops(n), seconds, clock)


def timed(
    run: Callable[[], object], work: float, seconds: float, clock: Clock = time.perf_counter
) -> tuple[Samples, float]:
    """(samples [FLOP/s], seconds of one call) of a function that does `work` [FLOP], in about so many seconds.

    Short calls are timed several at a time.
    """
    # The first calls plan, ask for memory and wake the wide units up.
    once = repeat(run, seconds=0.0, at_least=1, warm_up=_WARM_UP, clock=clock)[0]
    calls = max(1, round(_SHORTEST / once)) if once > 0 else 1

    def batch() -> None:
        for _ in range(calls):
            run()

    times = repeat(batch, seconds=seconds, warm_up=0, clock=clock)
    return Samples(tuple(calls * work / taken for taken in times)), once
