"""The rungs of the matmul ladder: their products are right, a wrong one is told, and each does what its name says."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roofline.measure import products
from roofline.measure.ladder import climb, inside, makers
from roofline.measure.ladder.checking import blocks, check, growth, rows_to_check, steepness
from roofline.measure.ladder.climb import Task, available
from roofline.measure.ladder.rungs import EXTRAS, RUNGS, Run, named, runs
from roofline.measure.matmul import flops
from roofline.measure.products import Product
from roofline.measure.timing import Budget
from roofline.precision.formats import FORMATS
from roofline.spec import SpecError

OWN = [rung for rung in RUNGS.values() if rung.library in ("python", "numpy")]


def product_of(rung: str, m: int, n: int) -> Product:
    _, made = makers.library(RUNGS[rung].library, 1)
    product = made[rung](m, n)
    product.run()
    return product


def with_result(product: Product, change: Callable[[Any], Any]) -> Product:
    return replace(product, result=lambda: change(product.result().copy()))


# -- right and wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rung", OWN, ids=lambda rung: rung.id)
@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 3), (5, 17), (48, 48)])
def test_the_product_of_every_rung_is_right(rung: Any, m: int, n: int) -> None:
    product = product_of(rung.id, m, n)
    found = check(rung, product)
    assert found.is_right
    if rung.sums:
        # float64's own product of the same operands: far nearer than the bound, which holds for every order of sums
        exact = product.left().astype(np.float64) @ product.right().astype(np.float64)
        assert np.allclose(product.result(), exact, rtol=0.02, atol=0.05)
    else:
        assert found.error == 0.0
        assert np.array_equal(product.result(), product.left().astype(np.int64) @ product.right().astype(np.int64))


@pytest.mark.parametrize("rung", OWN, ids=lambda rung: rung.id)
def test_a_product_without_its_last_term_is_wrong(rung: Any) -> None:
    product = product_of(rung.id, 48, 48)
    last = np.outer(product.left()[:, -1], product.right()[-1])
    assert not check(rung, with_result(product, lambda found: (found - last).astype(found.dtype))).is_right


@pytest.mark.parametrize("rung", OWN, ids=lambda rung: rung.id)
@pytest.mark.parametrize(
    "change",
    [lambda c: c.T, lambda c: c * 0, lambda c: np.roll(c, 1, axis=0), lambda c: c[:-1], lambda c: c + np.inf],
    ids=["transposed", "zero", "shifted", "too small", "infinite"],
)
def test_other_wrong_products(rung: Any, change: Callable[[Any], Any]) -> None:
    product = product_of(rung.id, 48, 48)
    assert not check(rung, with_result(product, change)).is_right


def test_a_row_that_is_not_compared_in_full_is_found_wrong_by_its_sum() -> None:
    n = 1200  # 2^25 / 1200² = 23 rows in full
    assert len(rows_to_check(n, n)) == 23
    left, right = products.normal(n, n, np.float32, 1), products.normal(n, n, np.float32, 2)
    result = left @ right
    rung = RUNGS["numpy-fp32"]
    assert check(rung, products.of_arrays(left, right, result, lambda: None)).is_right
    assert 7 not in rows_to_check(n, n)
    result[7] = 0.0
    assert not check(rung, products.of_arrays(left, right, result, lambda: None)).is_right


def test_a_wrong_row_is_found_under_the_roundings_of_a_narrow_result() -> None:
    """bf16 rounds each c by 2^-8·|c| at most: by what it is, not by ‖a‖·‖b‖, under which a row of zeros would pass."""
    n, rung = 600, RUNGS["torch-bf16"]  # 93 rows in full
    left, right = (_to_bf16(products.normal(n, n, np.float32, seed)) for seed in (1, 2))
    result = _to_bf16(left @ right)
    assert 4 not in rows_to_check(n, n)
    assert check(rung, products.of_arrays(left, right, result, lambda: None)).is_right
    for wrong in (np.zeros(n, np.float32), result[5]):
        broken = result.copy()
        broken[4] = wrong
        assert not check(rung, products.of_arrays(left, right, broken, lambda: None)).is_right


def test_one_wrong_number_of_many_is_found() -> None:
    """At n = 600 the sums are of 1 … 7 columns, whose roundings hide little; a number is 24 in the mean square."""
    n, rung = 600, RUNGS["numpy-fp32"]
    left, right = products.normal(n, n, np.float32, 1), products.normal(n, n, np.float32, 2)
    result = left @ right
    assert len(blocks(n, n, n)) == 2**25 // n**2
    for i, j in ((4, 0), (301, 77), (598, 599)):
        assert i not in rows_to_check(n, n)
        broken = result.copy()
        broken[i, j] += 1.0
        assert not check(rung, products.of_arrays(left, right, broken, lambda: None)).is_right


def test_narrower_arithmetic_under_a_wide_name_is_found() -> None:
    """Operands rounded to bf16 or to TF32's 11 bits, and sums kept in bf16, are not fp32, though each looks alike."""
    n, rung = 256, RUNGS["numpy-fp32"]
    left, right = products.normal(n, n, np.float32, 1), products.normal(n, n, np.float32, 2)
    summed = np.zeros((n, n), np.float32)
    for k in range(n):
        summed = _to_bf16(summed + np.outer(left[:, k], right[k]))
    for wrong in (summed, _to_bf16(left) @ _to_bf16(right), _to_bf16(left, 13) @ _to_bf16(right, 13)):
        assert not check(rung, products.of_arrays(left, right, wrong, lambda: None)).is_right


def _to_bf16(numbers: Any, dropped: int = 16) -> Any:
    """fp32 without its last bits, rounded to the nearest, ties up."""
    bits = numbers.astype(np.float32).view(np.uint32).astype(np.uint64) + (1 << (dropped - 1))
    return (bits >> dropped << dropped).astype(np.uint32).view(np.float32)


def test_a_product_of_a_narrower_type_is_told_from_its_own() -> None:
    """fp32's sums under the tolerance of fp64, and fp16's rounded result under fp32's."""
    wide = product_of("numpy-fp64", 64, 64)
    narrow = with_result(wide, lambda c: c.astype(np.float32).astype(np.float64))
    assert check(RUNGS["numpy-fp64"], wide).is_right and not check(RUNGS["numpy-fp64"], narrow).is_right
    single = product_of("numpy-fp32", 64, 64)
    half = with_result(single, lambda c: c.astype(np.float16).astype(np.float32))
    assert check(RUNGS["numpy-fp32"], single).is_right and not check(RUNGS["numpy-fp32"], half).is_right


def test_integers_are_exact_to_the_last() -> None:
    product = product_of("loops", 20, 20)
    assert not check(RUNGS["loops"], with_result(product, lambda c: c + (np.arange(20) == 13))).is_right


def test_the_tolerance_is_the_probabilistic_bound() -> None:
    """γ(k) ≈ λ·√k·u for small u; Higham & Mary's failure probability 2k·exp(−λ²/2) over all terms alarms falsely."""
    u = FORMATS["fp32"].unit_roundoff
    assert growth(1024, u, 8.0) == pytest.approx(8.0 * 32.0 * u, rel=1e-4)
    assert growth(4 * 1024, u, 8.0) / growth(1024, u, 8.0) == pytest.approx(2.0, rel=1e-3)  # √k, not k
    terms = 1024.0**3
    assert 2 * terms * math.exp(-(steepness(terms) ** 2) / 2) == pytest.approx(2.0**-30)
    assert steepness(10.0) < steepness(1000.0)


def test_rows_to_check_hold_the_ends() -> None:
    assert rows_to_check(1, 1).tolist() == [0]
    assert rows_to_check(3, 8).tolist() == [0, 1, 2]
    for m, n in ((1024, 1024), (4, 8192), (8192, 8192)):
        chosen = rows_to_check(m, n)
        assert chosen[0] == 0 and chosen[-1] == m - 1
        assert len(chosen) <= max(2, 2**25 // n**2)


# -- what each rung is ------------------------------------------------------------------------------------------------


def test_flops_of_a_part_of_a_product() -> None:
    assert flops(8, 3) == sum(2 for _ in range(3) for _ in range(8) for _ in range(8))
    assert flops(8) == flops(8, 8)


def test_python_multiplies_n_cubed_times(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(float):
        count = 0

        def __mul__(self, other: float) -> float:
            Counting.count += 1
            return float.__mul__(self, other)

    class Numbers:
        """An array whose list has numbers that count."""

        def __init__(self, array: Any) -> None:
            self.array = array

        def tolist(self) -> list[list[float]]:
            return [[Counting(value) for value in row] for row in self.array.tolist()]

    real = products.normal
    monkeypatch.setattr(makers, "normal", lambda *words: Numbers(real(*words)))
    makers.lists(5, 7).run()
    assert Counting.count == 5 * 7 * 7 == flops(7, 5) / 2


def test_einsum_takes_no_road_of_pythons_to_a_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    """With optimize, np.einsum calls tensordot or matmul; without, only its own loops."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a BLAS was asked for")

    core = sys.modules.get("numpy._core.einsumfunc") or sys.modules["numpy.core.einsumfunc"]
    for name in ("tensordot", "bmm_einsum", "matmul", "dot"):
        monkeypatch.setattr(core, name, refuse, raising=False)
    monkeypatch.setattr(np, "matmul", refuse)
    monkeypatch.setattr(np, "dot", refuse)
    makers.einsum(8, 8).run()


_WOKEN = """
import os, sys, time
import numpy as np
sys.path.insert(0, sys.argv[1])
from roofline.measure import products
from roofline.measure.ladder import makers

def others():
    own, waits = str(os.getpid()), 0
    for task in os.listdir("/proc/self/task"):
        if task != own:
            with open(f"/proc/self/task/{task}/status") as file:
                waits += sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)
    return waits

def woken(maker):
    product = maker(512, 512)
    product.run()
    last = -1
    while others() != last:  # until the threads of the BLAS have gone to sleep
        last = others()
        time.sleep(0.3)
    for _ in range(3):
        product.run()
        time.sleep(0.05)
    return others() - last

print(woken(makers.einsum), woken(products.numpy_matmul(np.float32)), len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts what threads did, in /proc")
def test_einsum_wakes_no_thread_of_the_blas() -> None:
    """A BLAS of two threads wakes the second for a product of this size; einsum leaves it asleep."""
    root = str(Path(__file__).parent.parent)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", _WOKEN, root], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    by_einsum, by_blas, threads = map(int, done.stdout.split())
    if threads < 2 or not by_blas:
        pytest.skip("this BLAS has no threads of its own")
    assert by_einsum == 0 < by_blas


def test_a_rung_without_blocks_gives_the_same_rows_for_a_part_of_the_matrix() -> None:
    whole, part = product_of("einsum", 32, 32), product_of("einsum", 4, 32)
    assert part.result().shape == (4, 32)
    assert np.array_equal(part.left(), whole.left()[:4])  # drawn row by row from one seed
    assert np.array_equal(part.result(), whole.result()[:4])


# -- which rungs ------------------------------------------------------------------------------------------------------


def test_names_and_threads_of_rungs() -> None:
    assert named(None) == tuple(RUNGS)
    assert named(" NumPy-FP32, python ") == ("python", "numpy-fp32")  # in the order of the climb
    for wrong in ("numpy", "python,nonsense", "", ","):
        with pytest.raises(SpecError, match=r"--rungs: expected some of python, rows, .*found"):
            named(wrong)
    assert runs(["python", "numpy-fp32", "numpy-fp64"], (1, 2, 4, 6)) == (
        Run("python", 1), Run("numpy-fp32", 1), Run("numpy-fp32", 2), Run("numpy-fp32", 4), Run("numpy-fp32", 6),
        Run("numpy-fp64", 1), Run("numpy-fp64", 6),
    )  # fmt: skip
    assert runs(["einsum"], (4,)) == (Run("einsum", 1),)


def test_every_rung_is_a_step_from_one_that_stands_before_it() -> None:
    seen: set[str] = set()
    for rung in RUNGS.values():
        assert rung.before in seen | {""}
        assert rung.library in ("python", "numpy", *EXTRAS)
        seen.add(rung.id)


def test_what_is_not_installed_is_listed_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(climb, "is_installed", lambda name: name in ("python", "numpy"))
    here, missing = available(runs(RUNGS, (1, 2)))
    assert {run.spec.library for run in here} == {"python", "numpy"}
    assert [(one.what, one.reason) for one in missing] == [
        ("mkl-fp32, mkl-bf16, mkl-int8", "not installed: pip install 'roofline[mkl]'"),
        ("torch-fp32, torch-fp16, torch-bf16, torch-int8", "not installed: pip install 'roofline[torch]'"),
    ]


def test_mkl_is_found_among_the_files_of_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class File:
        def __init__(self, name: str) -> None:
            self.name = name

        def locate(self) -> Path:
            return tmp_path / self.name

    names = ["LICENSE.txt", "libmkl_core.so.2", "libmkl_rt.so.2", "mkl_rt.txt"]
    monkeypatch.setattr(metadata, "files", lambda _: [File(name) for name in names])
    assert makers.mkl_file() is None  # named, and not there
    (tmp_path / "libmkl_rt.so.2").touch()
    assert makers.mkl_file() == tmp_path / "libmkl_rt.so.2"
    with pytest.raises(OSError):  # noqa: PT011 - the loader's words are the system's
        makers.mkl_library()
    monkeypatch.setattr(metadata, "files", lambda _: None)
    assert not makers.is_installed("mkl")


@pytest.mark.parametrize("library", ["mkl", "torch"])
def test_the_products_of_other_libraries_where_they_are_installed(library: str) -> None:
    if not makers.is_installed(library):
        pytest.skip(f"{library} is not installed")
    tasks = [Task(Run(rung.id, 1), 48) for rung in RUNGS.values() if rung.library == library]
    found, missing = climb.climb(tasks, 1.0)
    assert not missing and [one.run for one in found] == [task.run for task in tasks]


# -- the process ------------------------------------------------------------------------------------------------------


def test_a_wrong_product_has_no_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(m: int, n: int) -> Product:
        product = products.numpy_matmul(np.float32)(m, n)
        return with_result(product, lambda c: c * np.float32(1.01))

    monkeypatch.setattr(inside, "library", lambda name, threads: ("broken 1.0", {"numpy-fp32": broken}))
    said: list[str] = []
    task = {"rung": "numpy-fp32", "n": 64, "rows": 0, "exactly": False, "least_s": 0.0}
    request = {"library": "numpy", "threads": 2, "seconds": 0.1, "tasks": [task, {**task, "rung": "numpy-fp64"}]}
    inside.main(json.dumps(request), said.append)
    first, second = map(json.loads, said)
    assert "samples" not in first
    assert first["problem"].startswith("the product is wrong: it differs from float64 by ")
    assert second["problem"] == "this version of the library does not offer it"


def test_what_was_timed_is_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first product is right, those after it are not: a rung that adds to its result, say."""

    def spoiled(m: int, n: int) -> Product:
        product = products.numpy_matmul(np.float32)(m, n)
        calls: list[int] = []

        def run() -> None:
            product.run()
            calls.append(1)
            product.result()[0, 0] += np.float32(len(calls) - 1)

        return replace(product, run=run)

    monkeypatch.setattr(inside, "library", lambda name, threads: ("spoiled 1.0", {"numpy-fp32": spoiled}))
    said: list[str] = []
    task = {"rung": "numpy-fp32", "n": 64, "rows": 0, "exactly": True, "least_s": 0.0}
    inside.main(json.dumps({"library": "numpy", "threads": 2, "seconds": 0.1, "tasks": [task]}), said.append)
    answer = json.loads(said[0])
    assert "samples" not in answer and answer["problem"] == "the product is wrong after it was repeated"


def test_a_single_thread_is_pinned_and_several_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[int] = []
    for threads in (1, 2):
        monkeypatch.setattr(inside, "pin", lambda threads=threads: pinned.append(threads))
        request: dict[str, Any] = {"library": "numpy", "threads": threads, "seconds": 0.1, "tasks": []}
        inside.main(json.dumps(request), lambda _: None)
    assert pinned == [1]


@pytest.mark.parametrize("rung", OWN, ids=lambda rung: rung.id)
def test_a_product_that_is_repeated_is_the_same(rung: Any) -> None:
    product = product_of(rung.id, 20, 20)
    product.run()
    assert check(rung, product).is_right


def test_a_size_that_time_does_not_allow_is_not_measured() -> None:
    said: list[str] = []
    task = {"rung": "einsum", "n": 64, "rows": 0, "exactly": True, "least_s": 0.0}
    tasks = [task, {**task, "n": 1 << 20, "rows": 1 << 20}]  # 2^61 FLOP: years
    inside.main(json.dumps({"library": "numpy", "threads": 2, "seconds": 0.2, "tasks": tasks}), said.append)
    first, second = map(json.loads, said)
    assert first["samples"] and second == {**tasks[1], "library": first["library"], "skipped": True}


def test_the_size_that_fits_the_budget() -> None:
    now = 0.0

    def maker(m: int, n: int) -> Product:
        def run() -> None:
            nonlocal now
            now += (n / 64) ** 3  # 1 s at n = 64

        return products.of_arrays(np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1)), run)

    def size(n: int, seconds: float) -> int:
        return inside.affordable(maker, n, seconds, lambda: now)

    assert size(1024, 7 * 8.0) == 128  # seven calls of 8 s
    assert size(1024, 7 * 63.9) == 128
    assert size(1024, 7 * 64.0) == 256
    assert size(100, 1e9) == 100
    assert size(1024, 0.0) == 64
    assert size(20, 0.0) == 20


def test_a_process_that_dies_is_told_and_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    program = """
import json, sys, os
request = json.loads(sys.argv[2])
for task in request["tasks"]:
    if task["rung"] == "loops":
        os._exit(41)
    print(json.dumps({**task, "library": "x", "samples": [1.0], "error": 0.0}), flush=True)
"""
    monkeypatch.setattr(climb, "_PROGRAM", program)
    tasks = [Task(Run(rung, 1), 64) for rung in ("rows", "loops", "einsum")]
    shares: list[float] = []
    found, missing = climb.climb(tasks, 1.0, lambda share, _: shares.append(share))
    assert [one.run.rung for one in found] == ["rows", "einsum"]
    assert [(one.what, one.reason) for one in missing] == [("loops, 1 thread", "the process ended with 41: no message")]
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_each_process_has_its_threads_and_answers_stand_in_the_order_of_the_tasks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = """
import json, sys, os
for task in json.loads(sys.argv[2])["tasks"]:
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    print(json.dumps({**task, "library": "/".join(map(os.environ.get, names)), "samples": [1.0], "error": 0.0}))
"""
    monkeypatch.setattr(climb, "_PROGRAM", program)
    asked = [Run("numpy-fp32", 1), Run("numpy-fp32", 2), Run("numpy-fp64", 1), Run("python", 1)]
    found, missing = climb.climb([Task(run, 64) for run in asked], 1.0)
    assert [one.run for one in found] == asked and not missing
    assert [one.library for one in found] == ["1/1/1", "2/2/2", "1/1/1", "1/1/1"]


def test_a_process_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(climb, "_PROGRAM", "import time; time.sleep(60)")
    monkeypatch.setattr(climb, "GRACE", 0.0)
    start = time.monotonic()
    found, missing = climb.climb([Task(Run("rows", 1), 64), Task(Run("einsum", 1), 64)], 0.4)
    assert not found and [one.what for one in missing] == ["rows, 1 thread", "einsum, 1 thread"]
    assert all("it did not end within" in one.reason for one in missing)
    assert time.monotonic() - start < 30  # not the minute that it sleeps


_INTERRUPTED = """
import sys
sys.path.insert(0, sys.argv[1])
from roofline.engine.process import interruptible
from roofline.measure.ladder import climb
from roofline.measure.ladder.rungs import Run
climb._PROGRAM = "import os, sys, time; open(os.environ['PID_FILE'], 'w').write(str(os.getpid())); time.sleep(60)"
with interruptible():
    climb.climb([climb.Task(Run("rows", 1), 64)], 60.0)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_request_to_end_ends_the_process_that_measures(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    root = str(Path(__file__).parent.parent)
    parent = subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED, root], env={**os.environ, "PID_FILE": str(file)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while not (file.exists() and file.read_text()):
            assert time.monotonic() < deadline, "the process did not begin"
            time.sleep(0.05)
        parent.terminate()
        parent.wait(20)
    finally:
        parent.kill()
        parent.wait()
    with pytest.raises(ProcessLookupError):
        os.kill(int(file.read_text()), 0)


def test_a_budget_is_spent_on_the_rungs() -> None:
    found, missing = climb.climb([Task(Run("numpy-fp32", 1), 64), Task(Run("numpy-fp64", 1), 64)], 0.2)
    assert missing == ()
    assert [(one.run.rung, one.n, one.m) for one in found] == [("numpy-fp32", 64, 64), ("numpy-fp64", 64, 64)]
    for one in found:
        assert one.library.startswith(f"numpy {np.__version__}") and 0 <= one.error <= 1
        assert len(one.samples.values) >= 3
    assert Budget(1.0).left > 0
