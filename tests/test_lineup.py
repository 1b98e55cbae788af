"""Several different devices, with a host or without: which layers lie where, what they take and what they hold."""

import json
from typing import Any

import numpy as np
import pytest

from roofline import api
from roofline.lineup import line_up, proportions
from roofline.placement import HOST, Placement, layers_by_device
from roofline.prediction import Phase, Prediction
from roofline.spec import SpecError
from roofline.upgrades import what_if, worth
from tests.running import Run, runner

FAST, SLOW, CPU = "rtx-4090", "rtx-3090", "ryzen-7950x"
TWO = f"{FAST}+{SLOW}"
MODEL, LARGE = "llama-3.1-8b", "llama-3.3-70b"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


def placed(hw: str = TWO, model: str = MODEL, quant: str = "q8_0", **changes: Any) -> Prediction:
    return api.predict(hw, model, quant, **changes)


def placement(result: Prediction) -> Placement:
    assert result.placement is not None
    return result.placement


def decode(result: Prediction) -> Phase:
    assert result.decode is not None
    return result.decode


# -- names -------------------------------------------------------------------------------------------------------------


def test_the_host_is_the_last_that_can_compute() -> None:
    assert (line_up(TWO).devices, line_up(TWO).host) == ((FAST, SLOW), None)
    three = line_up(f" {FAST} + {SLOW}+{CPU}")
    assert (three.devices, three.host, three.id) == ((FAST, SLOW), CPU, f"{FAST}+{SLOW}+{CPU}")
    assert line_up("strix-halo").host is None
    assert line_up(f"{FAST}+strix-halo").host == "strix-halo"
    assert line_up(f"{SLOW}+{SLOW}").devices == (f"2x {SLOW}",)


def test_shares_are_numbers() -> None:
    assert proportions("3,1") == (3.0, 1.0)
    for wrong in ("", "3,", "a,b", "-1,2", "0,0", "nan,1", "inf,1"):
        with pytest.raises(SpecError, match="--tensor-split: expected a share for each device"):
            proportions(wrong)


# -- layers ------------------------------------------------------------------------------------------------------------


def test_layers_are_contiguous_in_order_and_the_output_is_on_the_last() -> None:
    found = placement(placed(tensor_split="3,1"))
    where = [found.device_of(layer, 32) for layer in range(33)]
    # 33 slots cut at 0.75: slot i goes to the first device while i/33 < 0.75, i ≤ 24.
    assert where == [0] * 25 + [1] * 8
    assert layers_by_device(found, 32) == [25, 8]


def test_without_shares_layers_go_by_memory() -> None:
    found = placement(placed("rtx-4090+rtx-3060"))  # 24 and 12 GB, less a context of 0.45 GB each
    first, second = 24 * 2**30 - 0.45e9, 12 * 2**30 - 0.45e9
    assert found.ends == pytest.approx((first / (first + second), 1.0))
    assert layers_by_device(found, 32) == [23, 10]


def test_what_does_not_fit_stays_on_the_host() -> None:
    result = placed(f"{TWO}+{CPU}", LARGE, "q6_k")
    found = placement(result)
    counts = layers_by_device(found, 80)
    assert 0 < sum(counts) == found.gpu_layers < 81
    assert [found.device_of(layer, 80) for layer in range(81 - found.gpu_layers)] == [HOST] * (81 - found.gpu_layers)
    assert result.memory.fits
    assert not placed(f"{TWO}+{CPU}", LARGE, "q6_k", gpu_layers=found.gpu_layers + 1).memory.fits
    few = placement(placed(f"{TWO}+{CPU}", gpu_layers=1))
    assert (layers_by_device(few, 32), few.device_of(32, 32)) == ([1, 0], 0)
    assert layers_by_device(placement(placed(f"{TWO}+{CPU}", gpu_layers=0)), 32) == [0, 0]


# -- time --------------------------------------------------------------------------------------------------------------


def test_a_token_takes_the_sum_of_the_devices_and_a_crossing() -> None:
    both = decode(placed(tensor_split="1,1", prompt=0, gen=64))
    alone = {hw: decode(placed(hw, prompt=0, gen=64)) for hw in (FAST, SLOW)}
    parts = {name: float(value) for name, value in both.device_seconds.items()}
    assert float(both.seconds) == pytest.approx(sum(parts.values()))
    # 17 of 33 slots are on the first: 17 of 32 layers; the head is on the second.
    assert parts[""] == pytest.approx(float(alone[FAST].seconds) * 17 / 32, rel=0.12)
    assert parts["GPU 2"] == pytest.approx(float(alone[SLOW].seconds) * 15 / 32, rel=0.15)
    # 4096 numbers of 4 bytes out over one link and in over the other, 0.6 of 31.5 GB/s each, and a wait of 20 µs.
    assert parts["link"] == pytest.approx(64 * (20e-6 + 2 * 4096 * 4 / (0.6 * 31.5e9)), rel=0.01)


def test_all_on_one_device_is_that_device() -> None:
    for shares, hw in (("1,0", FAST), ("0,1", SLOW)):
        one, alone = placed(tensor_split=shares), placed(hw)
        assert float(decode(one).seconds) == pytest.approx(float(decode(alone).seconds))
        assert float(decode(one).device_seconds["link"]) == 0.0


def test_more_on_the_faster_device_is_faster_and_below_light() -> None:
    speeds = [float(decode(placed(tensor_split=shares)).tok_s) for shares in ("1,4", "1,1", "4,1")]
    assert speeds == sorted(speeds)
    for shares in ("1,4", "4,1"):
        phase = decode(placed(tensor_split=shares))
        assert float(phase.tok_s) <= float(phase.ceiling_tok_s)


def test_equal_devices_in_proportion_are_the_count_of_them() -> None:
    apart, counted = placed("rtx-3090x2", tensor_split="1,1"), placed("rtx-3090x2")
    link = float(decode(apart).device_seconds["link"])
    assert float(decode(apart).seconds) - link == pytest.approx(float(decode(counted).seconds))


def test_arrays_are_placed_like_their_elements() -> None:
    batches = np.array([1.0, 8.0, 31.0, 32.0, 64.0])
    together = placed(f"{TWO}+{CPU}", prompt=64, gen=8, batch=batches, gpu_layers=20)
    for index, batch in enumerate(batches):
        alone = placed(f"{TWO}+{CPU}", prompt=64, gen=8, batch=float(batch), gpu_layers=20)
        for whole, single in ((together.prefill, alone.prefill), (together.decode, alone.decode)):
            assert whole is not None
            assert single is not None
            assert np.broadcast_to(np.asarray(whole.seconds), 5)[index] == pytest.approx(float(single.seconds))


# -- memory ------------------------------------------------------------------------------------------------------------


def test_every_byte_lies_somewhere() -> None:
    whole = placed(CPU, repack=False).memory
    bill = placed(f"{TWO}+{CPU}", gpu_layers=20).memory
    assert bill.host is not None
    assert len(bill.devices) == 2
    assert sum(one.weights for one in bill.devices) + bill.host.weights == pytest.approx(whole.weights)
    caches = [float(one.kv_cache) for one in (*bill.devices, bill.host)]
    assert sum(caches) == pytest.approx(float(whole.kv_cache))
    alone = placed().memory
    assert alone.host is None
    assert alone.weights + alone.host_weights == pytest.approx(whole.weights)
    assert [one.capacity for one in placed("rtx-4090+rtx-3060").memory.devices] == [24 * 2**30, 12 * 2**30]


def test_the_fullest_device_decides() -> None:
    assert placed(model=LARGE, quant="q4_k_m").memory.fits
    crooked = placed(model=LARGE, quant="q4_k_m", tensor_split="3,1").memory
    assert not crooked.fits
    assert float(crooked.total) < crooked.usable  # type: ignore[operator]


# -- worth -------------------------------------------------------------------------------------------------------------


def test_each_part_has_its_worth() -> None:
    result = placed(f"{TWO}+{CPU}", LARGE, "q6_k")
    assert next(iter(worth(result))) == "the host's memory"
    assert set(worth(result)) == {"the host's memory", "GPU 1's memory", "GPU 2's memory", "the link"}
    names = {change.change for change in what_if(result)}
    assert {"GPU 2's memory 2× as fast", "the host's memory 2× as fast"} <= names
    assert {change.change for change in what_if(placed())} >= {"GPU 1's memory 1.5× as fast"}


# -- words -------------------------------------------------------------------------------------------------------------


def test_the_report_names_all(run: Run) -> None:
    words = ["predict", "--hw", f"{TWO}+{CPU}", "--model", LARGE, "--quant", "q6_k"]
    out = run(*words).out
    assert "on NVIDIA GeForce RTX 4090 + NVIDIA GeForce RTX 3090 + AMD Ryzen 9 7950X, " in out
    assert "of 81 layers on the GPUs" in out
    assert "% on GPU 1 (memory), " in out
    assert "% on GPU 2 (memory), " in out
    assert "one device after the other" in out
    answer = json.loads(run(*words, "--format", "json").out)
    assert answer["hardware"] == f"{TWO}+{CPU}"
    found = answer["placement"]
    assert found["devices"] == ["NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3090"]
    assert sum(found["device_layers"]) == found["gpu_layers"]
    assert set(found["seconds"]["decode"]) == {"device", "GPU 2", "host", "link"}
    assert found["bound"]["decode"] == {"device": "memory", "GPU 2": "memory", "host": "memory"}
    assert [answer["files"][part].rpartition("/")[2] for part in ("hardware", "device_2", "host")] == [
        f"{name}.toml" for name in (FAST, SLOW, CPU)
    ]
    alone = json.loads(run("predict", "--hw", TWO, "--model", MODEL, "--quant", "q4_0", "--format", "json").out)
    assert alone["placement"]["host"] is None
    table = run("explain", "--hw", TWO, "--model", MODEL, "--quant", "q4_0", "--format", "csv").out
    assert ",GPU 2," in table


@pytest.mark.parametrize(
    ("hw", "more", "message"),
    [
        (
            TWO,
            ["--split", "tensor"],
            "--split: expected devices alike for tensor, which divides evenly, found rtx-4090",
        ),
        ("rtx-3090x2", ["--split", "tensor", "-ts", "3,1"], "--split: expected devices alike for tensor"),
        (TWO, ["--tensor-split", "1,2,3"], "--tensor-split: expected a share for each of 2 devices, found 1,2,3"),
        (FAST, ["--tensor-split", "1,2"], "--tensor-split: expected several devices, as in rtx-3090x2, found one"),
        (CPU, ["--tensor-split", "1,2"], "expected a device with a GPU before the +"),
        (TWO, ["--cpu-moe"], "--hw: expected the machine around rtx-4090"),
        (f"{CPU}+{FAST}", [], "--hw: expected a device with a GPU before the +, found ryzen-7950x"),
        (f"{FAST}+{CPU}+{SLOW}", [], "--hw: expected at most one host, joined by one + as the last"),
        (f"{FAST}++{SLOW}", [], "--hw: expected a device, or devices and their host, joined by one + each"),
        ("rtx-3090+mi300x", ["--backend", "cuda"], "found 'cuda'"),
        (f"{FAST}+nonsense", [], "found 'nonsense'"),
    ],
)
def test_an_impossible_line_up_is_one_line(run: Run, hw: str, more: list[str], message: str) -> None:
    outcome = run("predict", "--hw", hw, "--model", MODEL, "--quant", "q4_0", *more)
    assert outcome.code == 1
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
