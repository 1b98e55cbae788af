"""The roofs of a machine: what a kernel moves and computes, budgets, threads that begin together, plateaus."""

import itertools
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.measure import accelerator, matmul
from roofline.measure.arrays import Memory, arrays_in, numa_nodes
from roofline.measure.bandwidth import KERNELS, Measurement, Point, largest_set, sweep, working_sets
from roofline.measure.child import environment
from roofline.measure.curve import Curve
from roofline.measure.timing import Budget, Samples, Team, interleave, one_per_core, repeat
from roofline.spec import SpecError
from roofline.units import parse

KIB, MIB, GIB = (parse(f"1 {unit}", "B") for unit in ("KiB", "MiB", "GiB"))


class Ticking:
    """A clock that moves by one step whenever it is read."""

    def __init__(self, step: float = 1.0) -> None:
        self._step = step
        self._ticks = itertools.count()

    def __call__(self) -> float:
        return self._step * next(self._ticks)


# ---------------------------------------------------------------- samples and budgets


def test_samples() -> None:
    # 0, 1, …, 10: the quantiles are 1 and 9, the median 5.
    samples = Samples(tuple(float(value) for value in range(11)))
    assert (samples.median, samples.best, samples.spread) == (5.0, 10.0, 8 / 5)
    assert Samples((3.0,)).spread is None
    with pytest.raises(ValueError, match="at least one"):
        Samples(())


@given(st.lists(st.floats(1.0, 1e15), min_size=2, max_size=20), st.floats(0.5, 100.0))
def test_spread_has_no_unit_and_best_bounds_the_median(values: list[float], factor: float) -> None:
    samples, scaled = Samples(tuple(values)), Samples(tuple(factor * value for value in values))
    assert min(values) <= samples.median <= samples.best == max(values)
    assert samples.spread is not None and samples.spread >= 0
    assert scaled.spread == pytest.approx(samples.spread, rel=1e-6, abs=1e-9)


def test_repeat_drops_the_warm_up_and_stops_with_the_budget() -> None:
    calls: list[int] = []
    # Every look at the clock is 1 s. The budget begins at 0; a call is timed as 1 s and costs three looks.
    times = repeat(lambda: calls.append(1), seconds=10.0, at_least=2, warm_up=2, clock=Ticking())
    assert times == (1.0,) * len(times)
    assert len(calls) == len(times) + 2
    assert 3 <= len(times) <= 5
    assert len(repeat(lambda: None, seconds=0.0, at_least=4, clock=Ticking())) == 4
    assert len(repeat(lambda: None, seconds=1e9, at_most=7, clock=Ticking())) == 7


def test_interleaving_takes_turns() -> None:
    seen: list[str] = []

    def function(name: str) -> Callable[[], float]:
        def sample() -> float:
            seen.append(name)
            return float(len(seen))

        return sample

    found = interleave({name: function(name) for name in "abc"}, budget=Budget(1e9, Ticking()), rounds=3)
    assert "".join(seen) == "abcabcabc"
    assert found == {"a": (1.0, 4.0, 7.0), "b": (2.0, 5.0, 8.0), "c": (3.0, 6.0, 9.0)}


def test_interleaving_calls_nothing_that_does_not_fit() -> None:
    now = 0.0
    seen: list[str] = []

    def function(name: str, seconds: float) -> Callable[[], float]:
        def sample() -> float:
            nonlocal now
            now += seconds
            seen.append(name)
            return 1.0

        return sample

    shares: list[float] = []
    budget = Budget(12.0, lambda: now)
    functions = {"long": function("long", 8.0), "short": function("short", 1.0), "never": function("never", 5.0)}
    found = interleave(functions, budget=budget, rounds=9, progress=shares.append)
    # 8 + 1 + 5 s are over 12: another round does not begin, not even with the short one.
    assert seen == ["long", "short", "never"]
    assert shares == [8 / 12, 9 / 12, 1.0]
    seen.clear()
    now = 0.0
    budget = Budget(12.0, lambda: now)
    found = interleave({key: functions[key] for key in ("long", "short")}, budget=budget, rounds=9)
    assert seen == ["long", "short", "short", "short"]  # another long one is known not to fit
    assert now == 11.0
    assert len(found["long"]) == 1


def test_interleaving_calls_the_first_without_a_budget() -> None:
    assert interleave({"a": lambda: 1.0, "b": lambda: 2.0}, budget=Budget(0.0, Ticking()), rounds=5) == {"a": (1.0,)}


# ---------------------------------------------------------------- threads


def test_a_team_is_at_work_at_the_same_time() -> None:
    meeting = threading.Barrier(3)
    with Team(3) as team:
        # Were one thread to begin after another has ended, the barrier would break after its timeout.
        seconds = team.run(lambda _: meeting.wait(timeout=30))
        numbers: list[int] = []
        team.run(numbers.append)
    assert seconds > 0
    assert sorted(numbers) == [0, 1, 2]


def test_a_team_counts_from_the_first_start_to_the_last_end() -> None:
    # Six looks at the clock, 1 s each: whichever thread looks when, the first is at 0 and the last at 5.
    with Team(3, clock=Ticking()) as team:
        assert team.run(lambda _: None) == 5.0


def test_an_error_in_a_thread_is_the_callers_and_the_team_goes_on() -> None:
    def fail(number: int) -> None:
        if number == 1:
            raise OverflowError("one")

    with Team(2) as team:
        with pytest.raises(OverflowError, match="one"):
            team.run(fail)
        assert team.run(lambda _: None) >= 0
    with pytest.raises(ValueError, match="at least one thread"):
        Team(0)


def test_threads_are_pinned_and_the_process_is_not() -> None:
    cpus = one_per_core()
    if not cpus:
        pytest.skip("this platform does not pin")
    before = os.sched_getaffinity(0)
    assert set(cpus) <= before
    seen: dict[int, set[int]] = {}
    with Team(len(cpus), cpus) as team:
        team.run(lambda number: seen.update({number: os.sched_getaffinity(0)}))
    assert seen == {number: {cpu} for number, cpu in enumerate(cpus)}
    assert os.sched_getaffinity(0) == before


def test_threads_end_with_the_team() -> None:
    before = threading.active_count()
    with Team(4) as team:
        team.run(lambda _: None)
        assert threading.active_count() == before + 4
    assert threading.active_count() == before


# ---------------------------------------------------------------- bandwidth


@pytest.mark.parametrize(("name", "arrays", "bytes_moved"), [("read", 2, 16), ("copy", 2, 16), ("triad", 3, 24)])
def test_bytes_are_counted_as_stream_does(name: str, arrays: int, bytes_moved: int) -> None:
    # McCalpin 1995: copy 16 and triad 24 bytes an iteration, with 8-byte words and without write-allocate.
    assert (KERNELS[name].arrays, KERNELS[name].bytes_per_element) == (arrays, bytes_moved)


@pytest.mark.parametrize("passes", [1, 3, 1030])
@pytest.mark.parametrize("elements", [100, 8192, 3 * 8192])
@pytest.mark.parametrize("name", list(KERNELS))
def test_kernels_do_what_they_say(name: str, elements: int, passes: int) -> None:
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal(elements) for _ in range(KERNELS[name].arrays)]
    before = [array.copy() for array in arrays]
    work, done = KERNELS[name].prepare(arrays, passes)
    work()
    assert passes <= done <= 1.01 * passes
    if name == "read":
        expected = before[0]
    else:
        expected = before[1] if name == "copy" else before[1] + before[2]
    np.testing.assert_array_equal(arrays[0], expected)
    for array, old in zip(arrays[1:], before[1:], strict=True):
        np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize("elements", [100, 8192, 3 * 8192])
def test_read_reads_every_element_in_every_pass(elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sums: list[Any] = []
    multiply = np.matmul
    monkeypatch.setattr(np, "matmul", lambda left, right, out: sums.append(multiply(left, right, out=out)))
    rng = np.random.default_rng(2)
    arrays = [rng.standard_normal(elements) for _ in range(2)]
    work, done = KERNELS["read"].prepare(arrays, 2000)
    work()
    totals = np.concatenate([found.sum(axis=(1, 2, 3)) for found in sums])
    assert totals.shape == (done,)
    np.testing.assert_allclose(totals, float(np.sum(arrays[0] * arrays[1])), rtol=1e-9)


def test_read_leaves_the_threads_of_the_blas_out() -> None:
    # OpenBLAS shares dot products of more than 10000 elements out to threads of its own.
    for size in (64 * KIB, MIB, 64 * MIB):
        elements = KERNELS["read"].elements(size, 1)
        assert elements <= 8192 or elements % 8192 == 0
        assert 0 <= size - elements * 16 < 8192 * 16


@given(st.floats(1024.0, 1e13), st.sampled_from(sorted(KERNELS)), st.integers(1, 256))
def test_a_working_set_is_the_arrays_of_all_threads(size: float, name: str, threads: int) -> None:
    kernel = KERNELS[name]
    held = kernel.elements(size, threads) * threads * kernel.arrays * 8
    assert held <= size
    assert held >= 0.5 * size or kernel.elements(size, threads) < 2 * kernel.row


@given(st.integers(1, 3), st.integers(1, 20_000))
def test_arrays_of_one_thread_do_not_overlap(count: int, elements: int) -> None:
    buffer = np.zeros(4 * (elements + 2048))
    arrays = arrays_in(buffer, count, elements)
    for number, array in enumerate(arrays):
        array += 1.0 + number
    assert [float(array[0]) for array in arrays] == [1.0, 2.0, 3.0][:count]
    assert float(buffer.sum()) == elements * sum(range(1, count + 1))
    starts = {(array.ctypes.data - buffer.ctypes.data) % 4096 for array in arrays}
    assert len(starts) == count  # equal elements do not share the low 12 bits of their addresses
    with pytest.raises(ValueError, match="buffer"):
        arrays_in(buffer[:elements], count + 1, elements)


@pytest.mark.parametrize("shared", [True, False])
def test_memory_is_touched_whole_and_holds_every_kernel(shared: bool) -> None:
    with Team(3) as team:
        memory = Memory(team, 5 * MIB, Budget(1e9), shared=shared)
        assert memory.size == 5 * MIB
        parts = memory.parts(3)
        spans = []
        for part in parts:
            assert part.ctypes.data % 4096 == 0
            spans.append((part.ctypes.data, part.ctypes.data + part.nbytes))
            for kernel in KERNELS.values():
                held = arrays_in(part, kernel.arrays, kernel.elements(5 * MIB, 3))
                assert all((array == 1.0).all() for array in held)
        spans.sort()
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
        if shared:  # the same memory serves one thread too
            (whole,) = memory.parts(1)
            arrays_in(whole, 3, KERNELS["triad"].elements(5 * MIB, 1))


def test_touching_stops_when_a_third_of_the_budget_is_spent() -> None:
    # Every look at this clock is a second; the team has its own clock. A step is a 16th.
    with Team(1) as team:
        memory = Memory(team, 16 * MIB, Budget(12.0, Ticking()), shared=True)
        # Looks at 1, 2, 3 s leave more than two thirds of 12 s; the look at 4 s does not.
        assert memory.size == 4 * MIB
        assert sum(part.nbytes for part in memory.parts(1)) < 6 * MIB


def test_no_memory_is_an_error_of_one_line() -> None:
    with pytest.raises(SpecError, match=r"bandwidth: expected .* of free memory"), Team(1) as team:
        Memory(team, parse("4 EB", "B"), Budget(1.0), shared=True)


def test_sizes() -> None:
    assert largest_set(30 * GIB) == 4 * GIB
    assert largest_set(3 * GIB) == GIB  # a third of what is available
    assert largest_set(300 * GIB, last_cache=GIB) == 8 * GIB
    assert largest_set(300 * GIB, last_cache=GIB, quick=True) == 4 * GIB
    assert largest_set(30 * GIB, quick=True) == GIB
    # 16 KiB to 1 GiB are 16 octaves.
    assert working_sets(GIB) == tuple(16 * KIB * 2**octave for octave in range(17))
    halves = working_sets(1.5 * GIB, per_octave=2)
    assert len(halves) == 34 and halves[-1] == pytest.approx(math.sqrt(2) * GIB)
    assert working_sets(KIB) == (16 * KIB,)
    assert numa_nodes() >= 1


def test_a_sweep_of_small_sets() -> None:
    shares: list[float] = []
    sizes = (64 * KIB, MIB, 2 * MIB)
    points = sweep(sizes, (1, 2), budget_s=30.0, progress=shares.append, rounds=2)
    expected = {(name, count) for name in KERNELS for count in (1, 2)}
    assert {(point.kernel, point.threads) for point in points} == expected
    # Copies and triads of 64 KiB would be timed as calls of Python; of one thread's 256 KiB and more they are not.
    assert sum(point.kernel == "read" for point in points) == 2 * 3
    assert sum(point.kernel == "copy" for point in points) == 2 * 2
    for point in points:
        assert any(0.8 * size <= point.working_set <= size for size in sizes)
        assert point.per_thread == point.working_set / point.threads
        assert len(point.samples.values) == 2
        # No memory of this century is outside: 10 MB/s to 10 TB/s.
        assert all(parse("10 MB/s", "B/s") < rate < parse("10 TB/s", "B/s") for rate in point.samples.values)
    assert shares[-1] == 1.0 and all(0 <= share <= 1 for share in shares)


def test_a_sample_is_bytes_over_seconds() -> None:
    # Each sample reads the clock twice with one thread: 1 s. 64 KiB a pass, as many passes as were asked for.
    with Team(1, clock=Ticking()) as team:
        kernel = KERNELS["copy"]
        sample = Measurement(team, [np.zeros(8192)], kernel, 2048)
        assert sample() == 2048 * 16  # a pass of 1 s is long enough
        assert sample.passes == 1
        assert sample.bytes_held == 2048 * 16


def test_a_sweep_ends_with_its_budget() -> None:
    # With 1 s a look, 40 s are soon over. A sample may overrun by itself, never by another one.
    def looks(budget_s: float) -> tuple[tuple[Point, ...], float]:
        clock = Ticking()
        points = sweep((512 * KIB, MIB, 4 * MIB), (1, 2), budget_s=budget_s, rounds=1000, clock=clock)
        return points, clock()

    points, end = looks(100.0)
    assert end < 140.0
    assert {point.threads for point in points} == {1, 2}
    points, end = looks(0.0)
    assert end < 60.0
    # The largest set comes first: with no time at all it is the one that is measured, of what was touched.
    assert {point.threads for point in points} <= {1, 2}


# ---------------------------------------------------------------- curves


def made_curve(levels: list[tuple[float, float]], noise: float = 0.0, seed: int = 0) -> Curve:
    """levels: (holds up to [B], rate [B/s]). Points at the octaves from 16 KiB to 4 GiB."""
    rng = np.random.default_rng(seed)
    points = []
    for size in working_sets(4 * GIB):
        rate = next(rate for most, rate in levels if size <= most)
        samples = tuple(rate * (1 - noise * rng.random()) for _ in range(5))
        points.append(Point("read", size, 1, Samples(samples)))
    return Curve(tuple(points))


LEVELS = [(32 * KIB, 300e9), (2 * MIB, 120e9), (64 * MIB, 25e9), (math.inf, 12e9)]


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
def test_plateaus_of_a_made_curve(noise: float) -> None:
    found = made_curve(LEVELS, noise).plateaus
    assert [(level.smallest, level.largest) for level in found] == [
        (16 * KIB, 32 * KIB),
        (64 * KIB, 2 * MIB),
        (4 * MIB, 64 * MIB),
        (128 * MIB, 4 * GIB),
    ]
    for level, (_, rate) in zip(found, LEVELS, strict=True):
        assert (1 - noise) * rate <= level.rate <= rate


def test_one_level_is_one_plateau() -> None:
    (level,) = made_curve([(math.inf, 10e9)], noise=0.1).plateaus
    assert (level.smallest, level.largest) == (16 * KIB, 4 * GIB)


def test_a_slope_between_levels_is_no_level() -> None:
    found = made_curve([(MIB, 100e9), (2 * MIB, 60e9), (4 * MIB, 35e9), (math.inf, 15e9)]).plateaus
    assert [level.rate for level in found] == [100e9, 15e9]


def test_a_level_spans_an_octave_however_close_the_points_are() -> None:
    rates = [80e9] * 6 + [50e9, 50e9] + [20e9] * 6  # the slope has two points, half an octave apart
    sizes = [16 * KIB * 2 ** (step / 2) for step in range(len(rates))]
    points = [Point("read", size, 1, Samples((rate,))) for size, rate in zip(sizes, rates, strict=True)]
    assert [level.rate for level in Curve(tuple(points)).plateaus] == [80e9, 20e9]


def test_a_step_that_only_the_best_samples_show_is_no_level() -> None:
    rates = [(20e9, 10e9, 10e9)] * 4 + [(12e9, 11e9, 11e9)] * 4
    sizes = [16 * KIB * 2**step for step in range(len(rates))]
    points = [Point("read", size, 1, Samples(values)) for size, values in zip(sizes, rates, strict=True)]
    (level,) = Curve(tuple(points)).plateaus
    assert (level.smallest, level.largest) == (sizes[0], sizes[-1])


def test_the_cost_of_calls_at_the_beginning_is_no_level() -> None:
    found = made_curve([(16 * KIB, 10e9), (64 * KIB, 30e9), (MIB, 80e9), (math.inf, 15e9)]).plateaus
    assert [level.rate for level in found] == [80e9, 15e9]


def test_a_disturbed_stretch_does_not_become_a_level_below_memory() -> None:
    found = made_curve([(MIB, 80e9), (4 * MIB, 9e9), (math.inf, 15e9)]).plateaus
    rates = [level.rate for level in found]
    assert rates == sorted(rates, reverse=True)
    assert len(found) == 2


@given(st.lists(st.floats(1e9, 1e12), min_size=1, max_size=19))
def test_plateaus_are_ordered_whatever_the_curve(rates: list[float]) -> None:
    sizes = working_sets(4 * GIB)
    points = tuple(Point("read", size, 1, Samples((rate,))) for size, rate in zip(sizes, rates, strict=False))
    found = Curve(points).plateaus
    assert found
    assert all(level.smallest <= level.largest for level in found)
    assert all(first.largest < second.smallest for first, second in itertools.pairwise(found))
    assert all(first.rate > second.rate for first, second in itertools.pairwise(found))
    assert found[-1].largest == sizes[len(rates) - 1]  # the last reaches the largest set


def test_memory_is_what_the_largest_sets_reach() -> None:
    curve = made_curve([(GIB, 40e9), (2 * GIB, 20e9), (math.inf, 10e9)])
    # The sets of 2 and 4 GiB, five samples each.
    assert curve.memory.values == (20e9,) * 5 + (10e9,) * 5


def test_a_curve_is_of_one_kernel_and_one_number_of_threads() -> None:
    made = [Point(name, size, count, Samples((1.0,))) for name in "ab" for size in (2.0, 1.0) for count in (1, 2)]
    curve = Curve.of(made, "a", 2)
    assert curve is not None
    assert [(point.kernel, point.working_set, point.threads) for point in curve.points] == [
        ("a", 1.0, 2),
        ("a", 2.0, 2),
    ]
    assert Curve.of(made, "c", 2) is None


# ---------------------------------------------------------------- matrix products


@pytest.mark.parametrize("n", [2, 3, 10])
def test_a_product_of_n_by_n_is_two_n_cubed(n: int) -> None:
    operations = sum(2 for _ in range(n) for _ in range(n) for _ in range(n))  # a multiplication and an addition
    assert matmul.flops(n) == operations


def test_the_fastest_size_wins_and_the_rate_is_flops_over_seconds() -> None:
    now = 0.0
    seconds = {2: 1.0, 4: 2.0, 8: 100.0}  # 16 FLOP/s, 64 FLOP/s, 10.24 FLOP/s

    def product(n: int) -> Callable[[], object]:
        def run() -> None:
            nonlocal now
            now += seconds[n]

        return run

    samples, size = matmul.fastest(product, Budget(10_000.0, lambda: now), sizes=(2, 4, 8), clock=lambda: now)
    assert size == 4
    assert set(samples.values) == {64.0}
    now = 0.0
    samples, size = matmul.fastest(product, Budget(5.0, lambda: now), sizes=(2, 4, 8), clock=lambda: now)
    assert size == 2  # the next would take eight times as long, and does not fit
    assert now <= 7.0


def test_every_blas_is_told_how_many_threads() -> None:
    told = environment(3, {"PATH": "/bin", "OMP_NUM_THREADS": "64"})
    assert told["PATH"] == "/bin"
    assert {told[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {"3"}


def test_products_of_numpy_in_a_process_of_their_own() -> None:
    shares: list[float] = []
    roofs, missing = matmul.measure((1,), 0.5, libraries=("numpy",), progress=shares.append)
    assert missing == ()
    assert [(roof.dtype, roof.threads) for roof in roofs] == [("fp32", 1), ("fp64", 1)]
    for roof in roofs:
        assert roof.library.startswith(f"numpy {np.__version__} (")
        assert roof.size >= 512
        assert all(parse("1 MFLOP/s", "FLOP/s") < rate < parse("1 EFLOP/s", "FLOP/s") for rate in roof.samples.values)
    assert shares[-1] == 1.0


def test_a_library_that_is_missing_or_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "installed", lambda _: False)
    roofs, missing = matmul.measure((1, 2), 1.0, libraries=("torch",))
    assert roofs == ()
    assert [(one.what, one.reason) for one in missing] == [("torch fp32, bf16, int8", "torch is not installed")]
    monkeypatch.setattr(matmul, "installed", lambda _: True)
    monkeypatch.setattr(matmul, "_PROGRAM", "import sys; sys.exit('no\\nsuch kernel')")
    (one,) = matmul.measure((1,), 1.0, libraries=("numpy",))[1]
    assert one.reason == "the process ended with 1: such kernel"
    monkeypatch.setattr(matmul, "GRACE", 0.0)
    monkeypatch.setattr(matmul, "_PROGRAM", "import time; time.sleep(60)")
    (one,) = matmul.measure((1,), 0.2, libraries=("numpy",))[1]
    assert "did not end" in one.reason


def test_an_answer_is_read_back() -> None:
    roof = {"dtype": "fp32", "threads": 1, "library": "x", "samples": [1.0, 2.0], "size": 8}
    line = json.dumps({"roofs": [roof], "missing": [{"what": "x int8", "reason": "no kernel"}]})
    assert matmul.read_answer(line) == (
        [matmul.MatmulRoof("fp32", 1, "x", Samples((1.0, 2.0)), 8)],
        [matmul.Unmeasured("x int8", "no kernel")],
    )


# ---------------------------------------------------------------- accelerators


class FakeTensor:
    def __init__(self, torch: "FakeTorch", shape: tuple[int, ...]) -> None:
        self.torch = torch
        self.shape = shape

    def copy_(self, _: "FakeTensor", non_blocking: bool = False) -> None:
        self.torch.queue(self.shape[0] / self.torch.bytes_per_s)

    def fill_(self, _: int) -> None:
        pass

    def t(self) -> "FakeTensor":
        return self


class FakeTorch:
    """torch with one CUDA device: work is queued, and only synchronize() lets its time pass."""

    __version__ = "9.9"
    float16, bfloat16, float32, int8, uint8 = "fp16", "bf16", "fp32", "int8", "uint8"

    def __init__(self, available: bool = True, hip: str | None = None, memory: float = 64 * GIB) -> None:
        self.now = 0.0
        self.waiting = 0.0
        self.bytes_per_s, self.flop_per_s = 100e9, 50e12
        self.precision: list[str] = ["medium"]
        self.pinned: list[bool] = []
        self.version = SimpleNamespace(cuda=None if hip else "13.0", hip=hip)
        self.backends = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: False))
        self.cuda = SimpleNamespace(
            is_available=lambda: available,
            device_count=lambda: 1,
            get_device_properties=lambda _: SimpleNamespace(name="Fake GPU", total_memory=memory),
            mem_get_info=lambda _: (memory, memory),
            synchronize=self._synchronize,
            empty_cache=lambda: None,
        )

    def queue(self, seconds: float) -> None:
        self.waiting += seconds

    def _synchronize(self, index: int) -> None:
        assert index == 0
        self.now += self.waiting
        self.waiting = 0.0

    def randint(self, low: int, high: int, shape: tuple[int, ...], **_: object) -> FakeTensor:
        assert low < high
        return FakeTensor(self, shape)

    def randn(self, *shape: int, dtype: str, device: str) -> FakeTensor:
        assert device == "cuda:0"
        return FakeTensor(self, shape)

    def empty(self, *shape: int, pin_memory: bool = False, **_: object) -> FakeTensor:
        if len(shape) == 1:
            self.pinned.append(pin_memory)
        return FakeTensor(self, shape)

    def empty_like(self, tensor: FakeTensor) -> FakeTensor:
        return FakeTensor(self, tensor.shape)

    def mm(self, left: FakeTensor, right: FakeTensor, out: FakeTensor) -> None:
        assert self.precision[-1] == "highest"
        self.queue(matmul.flops(left.shape[0]) / self.flop_per_s)

    def _int_mm(self, left: FakeTensor, right: FakeTensor) -> None:
        raise RuntimeError("no kernel for this device\nand a trace")

    def get_float32_matmul_precision(self) -> str:
        return self.precision[-1]

    def set_float32_matmul_precision(self, precision: str) -> None:
        self.precision.append(precision)


def measured(torch: FakeTorch, seconds: float = 1000.0) -> accelerator.AcceleratorRoofs:
    ((device,), reason) = accelerator.devices(torch)
    assert reason is None
    return accelerator.measure_device(device, Budget(seconds, lambda: torch.now), clock=lambda: torch.now)


def test_an_accelerator_is_timed_after_it_has_ended_its_work() -> None:
    # Work takes no time until synchronize(): a time taken without would be 0.
    torch = FakeTorch()
    found = measured(torch)
    rates = {(roof.what, roof.dtype): roof.samples.median for roof in found.roofs}
    assert (found.name, found.backend, found.library, found.memory) == ("Fake GPU", "cuda", "torch 9.9", 64 * GIB)
    # Inside the device each byte is read and written; over the link it crosses once.
    assert rates.pop(("copy", "")) == pytest.approx(200e9)
    assert rates.pop(("host to device", "")) == pytest.approx(100e9)
    assert rates.pop(("device to host", "")) == pytest.approx(100e9)
    assert rates == {("matmul", dtype): pytest.approx(50e12) for dtype in ("fp16", "bf16", "fp32")}
    assert [(one.what, one.reason) for one in found.missing] == [("matmul int8", "no kernel for this device")]
    assert torch.precision == ["medium", "highest", "medium"]
    assert torch.pinned == [True, True]


def test_rocm_is_told_from_cuda() -> None:
    assert measured(FakeTorch(hip="7.0")).backend == "rocm"


def test_sizes_keep_to_the_memory_and_the_budget() -> None:
    small = measured(FakeTorch(memory=2 * GIB))
    # A copy of 256 MiB holds 512 MiB, a quarter of the memory; that of 1 GiB is not tried.
    assert {roof.size for roof in small.roofs if roof.what == "copy"} == {256 * MIB}
    torch = FakeTorch()
    torch.flop_per_s = 1e9  # a product of the smallest size takes 137 s
    slow = measured(torch, seconds=1000.0)
    assert {roof.size for roof in slow.roofs if roof.what == "matmul"} == {4096}


def test_no_accelerator_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    found, reason = accelerator.devices(FakeTorch(available=False))
    assert found == [] and reason is not None and "no device" in reason
    cpu_only = FakeTorch(available=False)
    cpu_only.version.cuda = None
    assert accelerator.devices(cpu_only) == ([], "torch 9.9 is built for the CPU only")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert accelerator.measure_accelerators(1.0) == ((), "torch is not installed")


# ---------------------------------------------------------------- together


@contextmanager
def without(*names: str) -> Iterator[str]:
    yield "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in names)


def test_nothing_slow_is_loaded_with_the_modules() -> None:
    with without("torch", "threadpoolctl", "psutil") as start:
        program = start + "".join(
            f"import roofline.measure.{name}\n"
            for name in ("timing", "arrays", "bandwidth", "curve", "matmul", "accelerator", "conditions")
        )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
