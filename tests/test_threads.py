"""Speed against threads: the shape of published curves, and the fewest threads that are as good as the best."""

import json

import pytest

from roofline import api, catalog
from roofline.hardware import Cpu
from roofline.spec import SpecError
from roofline.threads import ALL_UP_TO, SMT, Curve, core_of, counts, curve, most_threads, reasons
from tests.running import Run, runner


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


def cpu_of(name: str) -> Cpu:
    found = catalog.load_hardware(name).spec.cpu
    assert found is not None
    return found


def speeds(found: Curve, phase: str = "decode") -> dict[int, float]:
    return {point.threads: float(getattr(point, phase).tok_s) for point in found.points}


# -- which numbers ----------------------------------------------------------------------------------------------------


def test_every_number_of_threads_of_a_desktop_and_a_few_of_an_octave_of_a_server() -> None:
    assert counts(cpu_of("i9-14900k")) == list(range(1, 33))
    assert counts(cpu_of("rpi5")) == [1, 2, 3, 4]
    server = cpu_of("epyc-9654")
    found = counts(server)
    assert found[:ALL_UP_TO] == list(range(1, ALL_UP_TO + 1))
    assert {40, 48, 56, 64, 80, 96, 112, 128, 160, 192} == set(found[ALL_UP_TO:])  # 96 cores, 192 threads
    assert found[-1] == most_threads(server) == 192


def test_the_fast_cores_are_taken_first_then_the_slow_ones_then_second_threads() -> None:
    """A Core i9-14900K: 8 P cores, 16 E cores, 32 threads."""
    cpu = cpu_of("i9-14900k")
    assert [core_of(cpu, number) for number in (1, 8, 9, 24, 25, 32)] == ["P", "P", "E", "E", SMT, SMT]


# -- the curve --------------------------------------------------------------------------------------------------------


def test_a_point_is_the_prediction_with_so_many_threads() -> None:
    found = curve("ryzen-7950x", "llama-3.1-8b", "q4_k_m", "2,16")
    for point in found.points:
        one = api.predict("ryzen-7950x", "llama-3.1-8b", "q4_k_m", threads=point.threads)
        assert one.decode is not None and one.prefill is not None
        assert speeds(found)[point.threads] == float(one.decode.tok_s)
        assert speeds(found, "prefill")[point.threads] == float(one.prefill.tok_s)
        assert point.bandwidth == one.machine.sustained_bandwidth


#: Published: tok/s of generation by threads, of llama.cpp pull request 8002 (Graviton3) and ik_llama.cpp 132.
PUBLISHED = [
    ("graviton3", "llama-2-7b", "q8_0", {4: 6.2, 8: 11.7, 16: 20.9, 32: 27.5, 48: 29.7}),
    ("ryzen-7950x", "llama-3.1-8b", "q5_k_s", {1: 4.1, 2: 7.66, 4: 11.26, 8: 11.2}),
    ("m2-max-30", "llama-3.1-8b", "q5_k_s", {2: 6.39, 4: 12.18, 8: 19.68}),
]


@pytest.mark.parametrize(("hw", "model", "quant", "measured"), PUBLISHED, ids=lambda value: str(value)[:12])
def test_the_shape_of_published_curves(hw: str, model: str, quant: str, measured: dict[int, float]) -> None:
    """Scaled to the middle point, every other lies within 10 %: how it grows and where it flattens, not how high."""
    asked = ",".join(map(str, measured))
    found = speeds(curve(hw, model, quant, asked, backend="cpu", prompt="0"))
    ratios = sorted(found[threads] / speed for threads, speed in measured.items())
    middle = ratios[len(ratios) // 2]
    assert all(0.9 < ratio / middle < 1.1 for ratio in ratios), ratios
    assert 0.6 < middle < 1.4


def test_the_fewest_threads_within_a_hundredth_of_the_best_are_best() -> None:
    for hw in ("i9-14900k", "ryzen-7950x", "epyc-9654", "rpi5"):
        found = curve(hw, "llama-3.1-8b", "q4_k_m")
        for phase, top in (("decode", found.decode), ("prefill", found.prefill)):
            known = speeds(found, phase)
            assert top is not None
            assert known[top.threads] >= 0.99 * max(known.values())
            assert all(speed < 0.99 * max(known.values()) for number, speed in known.items() if number < top.threads)


def test_generation_on_many_cores_is_slower_than_on_some() -> None:
    """Memory saturates, and every thread lengthens the barriers: an EPYC 9654 peaks near 60 (issue 6434)."""
    found = curve("epyc-9654", "llama-3.1-8b", "q4_k_m")
    assert found.decode is not None and found.prefill is not None
    assert 24 <= found.decode.threads <= 64 < found.prefill.threads
    shares = [point.barrier_share for point in found.points]
    assert shares == sorted(shares, key=lambda share: share or 0.0)
    text = " ".join(reasons(found))
    assert "as much as all of them could" in text and "waiting at barriers" in text and "add nothing" in text


def test_slower_cores_come_with_a_warning() -> None:
    found = curve("i9-14900k", "llama-3.1-8b", "q4_k_m")
    text = " ".join(reasons(found))
    assert found.decode is not None
    assert ("try -t 8" in text) == (found.decode.threads > 8)
    assert "from thread 9 on they are E cores" in text


def test_one_phase_alone_has_one_option() -> None:
    assert curve("rpi5", "llama-3.2-1b", "q4_0", gen="0").command.startswith("llama-cli -tb ")
    assert curve("rpi5", "llama-3.2-1b", "q4_0", prompt="0").command.startswith("llama-cli -t ")


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_marks_the_best(run: Run) -> None:
    words = ("threads", "--hw", "ryzen-7950x", "--model", "llama-3.1-8b", "--quant", "q4_k_m")
    found = json.loads(run(*words, "--format", "json").out)
    assert found["command"] == f"llama-cli -t {found['decode_threads']} -tb {found['prefill_threads']}"
    marked = {row["mark"]: row["threads"] for row in found["rows"] if row["mark"]}
    assert marked == {"best -t": found["decode_threads"], "best -tb": found["prefill_threads"]}
    assert f"Best: {found['command']}\n" in run(*words).out
    assert "does not fit" in run("threads", "--hw", "rpi5", "--model", "llama-3.3-70b", "--quant", "q4_0").out


@pytest.mark.parametrize(
    ("hw", "options", "message"),
    [
        ("rtx-4090", {}, "--hw: expected a device with CPU cores for a curve over its threads, found 'rtx-4090'"),
        ("m2-max-30", {}, "--backend: expected cpu for a curve over threads, found metal"),
        ("rtx-3090+ryzen-7950x", {}, "--hw: expected one device for a curve over its threads"),
        ("rpi5", {"threads": "99"}, "--threads: expected at most 4"),
        ("rpi5", {"threads": "0"}, "--threads: expected at least 1"),
        ("rpi5", {"threads": "a"}, "--threads: expected a whole number"),
        ("rpi5", {"threads": ""}, "--threads: expected a whole number"),
        ("rpi5", {"prompt": "0", "gen": "0"}, "--prompt, --gen: expected tokens of one of them at least, found none"),
    ],
)
def test_what_has_no_threads_is_refused(hw: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        curve(hw, "llama-3.2-1b", "q4_0", **options)
    assert str(caught.value).startswith(message)
