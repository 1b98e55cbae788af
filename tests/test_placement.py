"""Layers on a GPU and its host: counted as llama.cpp counts them, timed side by side, billed where they lie."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from roofline import api, catalog
from roofline.bench import Observation
from roofline.bench.expected import expect
from roofline.calibrate.cases import collect
from roofline.hardware import Link
from roofline.links import link_rate, pcie_bandwidth, pcie_generation
from roofline.placement import Placement, experts_on_host
from roofline.points import tensor_overrides
from roofline.prediction import Prediction
from roofline.spec import SpecError
from roofline.upgrades import what_if, worth
from tests.running import Run, runner

GPU, CPU = "rtx-4080", "ryzen-7950x"
PAIR = f"{GPU}+{CPU}"
DENSE, MOE = "llama-3.1-8b", "qwen3-30b-a3b"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


def placed(layers: int | None, model: str = DENSE, quant: str = "q4_k_m", **changes: object) -> Prediction:
    return api.predict(PAIR, model, quant, gpu_layers=layers, **changes)  # type: ignore[arg-type]


def placement(layers: int, overrides: tuple[str, ...] = (), model: str = DENSE) -> Placement:
    found = placed(layers, model, overrides=overrides).placement
    assert found is not None
    return found


# -- counting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "first", "output"), [(33, 0, True), (32, 1, True), (1, 32, True), (0, 32, False)])
def test_layers_are_counted_from_the_end_and_the_output_is_the_first(asked: int, first: int, output: bool) -> None:
    """llama-model.cpp: i_gpu_start = max(n_layer + 1 - n_gpu_layers, 0), and the output is layer n_layer."""
    found = placement(asked)
    assert (found.first(32), found.holds_output()) == (first, output)


def test_n_cpu_moe_means_the_experts_of_the_first_layers() -> None:
    found = placement(49, (experts_on_host(3),), MOE)
    on_host = [
        (layer, role)
        for layer in range(12)
        for role in ("ffn_up_exps", "ffn_gate_exps", "ffn_down_exps", "ffn_gate_inp", "attn_q")
        if found.is_on_host(layer, 48, role)
    ]
    assert on_host == [(layer, f"ffn_{part}_exps") for layer in range(3) for part in ("up", "gate", "down")]


def test_patterns_are_given_as_llama_cpp_takes_them() -> None:
    assert tensor_overrides(False, None, ["blk.3[4-9].ffn=CPU,blk.4.*exps=cpu"]) == ["blk.3[4-9].ffn", "blk.4.*exps"]
    assert tensor_overrides(False, 0, []) == []
    (everything,) = tensor_overrides(True, None, [])
    assert placement(49, (everything,), MOE).is_on_host(47, 48, "ffn_down_exps")
    for wrong in ("blk.1=CUDA0", "=CPU", "blk.1"):
        with pytest.raises(SpecError, match="--override-tensor: expected PATTERN=CPU"):
            tensor_overrides(False, None, [wrong])
    with pytest.raises(SpecError, match="expected a regular expression"):
        placed(33, overrides=["blk.("])


@pytest.mark.parametrize(
    ("model", "overrides", "message"),
    [
        (DENSE, tensor_overrides(True, None, []), "--cpu-moe, --n-cpu-moe: expected a mixture of experts, found Llama"),
        (DENSE, tensor_overrides(False, 3, []), "--cpu-moe, --n-cpu-moe: expected a mixture of experts"),
        (MOE, ["nothing"], "--override-tensor: expected a pattern of tensors of Qwen3 30B-A3B, found 'nothing'"),
        (DENSE, ["blk.32"], "expected a pattern of tensors of Llama 3.1 8B"),
    ],
)
def test_a_pattern_that_nothing_matches_is_refused(model: str, overrides: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        placed(33, model, overrides=overrides)


def test_more_experts_than_there_are_layers_are_all_of_them() -> None:
    """However large the number is: a pattern of a billion layers fits no memory."""
    (some,) = tensor_overrides(False, 10**9, [])
    assert placement(49, (some,), MOE).is_on_host(47, 48, "ffn_down_exps")
    assert len(some) < 10_000


# -- time --------------------------------------------------------------------------------------------------------------


def test_everything_on_the_device_is_the_device_alone() -> None:
    whole, alone = placed(33), api.predict(GPU, DENSE, "q4_k_m")
    for one, other in ((whole.prefill, alone.prefill), (whole.decode, alone.decode)):
        assert one is not None
        assert other is not None
        assert float(one.seconds) == pytest.approx(float(other.seconds))


def test_a_generation_with_nothing_on_the_device_is_the_host_alone() -> None:
    whole, alone = placed(0, prompt=0, gen=64), api.predict(CPU, DENSE, "q4_k_m", prompt=0, gen=64)
    assert whole.decode is not None
    assert alone.decode is not None
    assert float(whole.decode.seconds) == pytest.approx(float(alone.decode.seconds))
    assert whole.decode.device_seconds["link"] == 0.0


def test_half_of_the_layers_take_half_of_each_side_s_time() -> None:
    """Without the head, which is on the device: 16 of 32 equal layers on either side, and one crossing."""
    half, full, none = (placed(layers, prompt=0, gen=1) for layers in (17, 33, 1))
    assert half.decode is not None
    assert full.decode is not None
    assert none.decode is not None
    for part in ("", "host"):
        edge = float(none.decode.device_seconds.get(part, 0.0)), float(full.decode.device_seconds.get(part, 0.0))
        assert float(half.decode.device_seconds[part]) == pytest.approx(sum(edge) / 2, rel=1e-6)


def test_more_layers_on_the_faster_device_are_faster_and_time_adds_up() -> None:
    speeds = []
    for layers in range(0, 34, 3):
        phase = placed(layers, prompt=0, gen=16).decode
        assert phase is not None
        assert float(phase.seconds) == pytest.approx(sum(float(value) for value in phase.device_seconds.values()))
        assert float(phase.tok_s) <= float(phase.ceiling_tok_s)
        speeds.append(float(phase.tok_s))
    assert speeds == sorted(speeds)


def test_a_prompt_fetches_the_host_s_weights_over_the_link() -> None:
    found = placed(0, prompt=512, gen=0).prefill
    assert found is not None
    link = catalog.load_hardware(GPU).spec.link
    assert link is not None
    assert link.pcie_bandwidth is not None
    at_best = float(found.weight_bytes + found.kv_bytes) / link.pcie_bandwidth
    assert at_best < float(found.device_seconds["link"]) < 3 * at_best
    slow = placed(0, prompt=512, gen=0, op_offload=False).prefill
    alone = api.predict(CPU, DENSE, "q4_k_m", prompt=512, gen=0).prefill
    assert slow is not None
    assert alone is not None
    assert float(slow.seconds) == pytest.approx(float(alone.seconds))
    assert float(found.seconds) < float(slow.seconds)


def test_each_layer_with_matrices_on_the_host_is_a_way_there_and_back() -> None:
    """Whatever they are: experts, attention, or the output head; and no more where the layer is on the host anyway."""
    shape = catalog.load_model(MOE).spec
    for pattern, crossings in (("exps", 96), ("attn", 96), (r"blk\.[0-3]\.attn_q", 8), ("^output.weight", 2)):
        assert placement(49, (pattern,), MOE).crossings(shape, wide=False) == crossings
        assert placement(49, (pattern,), MOE).crossings(shape, wide=True) == 1
    assert placement(20, (r"blk\.[0-3]\.attn_q",), MOE).crossings(shape, wide=False) == 1
    assert placement(49, (), MOE).crossings(shape, wide=False) == 0


def test_fetched_weights_are_no_faster_than_the_host_gives_them() -> None:
    """A Raspberry Pi's memory of 17.1 GB/s is slower than 16 lanes of PCIe 4.0."""
    found = api.predict("rtx-4080+rpi5", DENSE, "q4_0", gpu_layers=0, prompt=512, gen=0).prefill
    assert found is not None
    moved = float(found.weight_bytes + found.kv_bytes)
    assert float(found.device_seconds["link"]) > moved / 17.1e9
    assert float(found.seconds) >= float(found.light_seconds)


def test_the_older_end_of_a_link_decides() -> None:
    """An RTX 4090 has PCIe 4.0, a Xeon E5 v4 has 3.0: half as fast. Lanes are those that both have."""
    machine = api.load_machine("rtx-4090", "llama.cpp", None, None, None)[0]
    hosts = [api.load_machine(name, "llama.cpp", "cpu", None, None)[0] for name in ("2x-e5-2650v4", "epyc-7742")]
    assert [pcie_generation(machine, host) for host in (None, *hosts)] == [4, 3, 4]
    lane = 16e9 * 128 / 130 / 8
    assert pcie_bandwidth(machine) == pytest.approx(16 * lane)
    assert [pcie_bandwidth(machine, host) for host in hosts] == pytest.approx([8 * lane, 16 * lane])
    assert link_rate(machine, hosts[1]) == pytest.approx(16 * lane * machine.engine.link_share.value)
    narrow = hosts[1].hardware.model_copy(update={"link": Link(pcie_generation=5, pcie_lanes=8)})
    assert pcie_bandwidth(machine, replace(hosts[1], hardware=narrow)) == pytest.approx(8 * lane)


def test_a_chip_that_shares_its_memory_copies_within_it() -> None:
    """An Apple chip states no PCIe, and needs none: half of what the GPU reads, since a copy reads and writes."""
    chip = api.predict("m4-max-40", MOE, "q4_k_m", gpu_layers=20)
    assert link_rate(chip.machine) == chip.machine.sustained_bandwidth / 2
    assert chip.memory.fits
    assert set(worth(chip)) == {"the memory"}, "which is one"
    assert not [change for change in what_if(chip) if "PCIe" in change.change]
    assert chip.decode is not None
    assert float(chip.decode.device_seconds["host"]) > 0


def test_a_newer_link_is_newer_at_both_ends() -> None:
    slow = api.predict("rtx-4090+2x-e5-2650v4", DENSE, "q8_0", gpu_layers=10)
    (newer,) = [change for change in what_if(slow) if change.change == "PCIe 4.0 for 3.0"]
    assert slow.prefill is not None
    assert (newer.prefill_tok_s or 0.0) > 1.2 * float(slow.prefill.tok_s)


def test_arrays_are_placed_like_their_elements() -> None:
    """Batches on both sides of the width from which the device does the host's part."""
    batches, depths = np.array([1.0, 8.0, 31.0, 32.0, 64.0]), np.array([[0.0], [4096.0]])
    together = placed(12, prompt=64, gen=8, batch=batches, depth=depths)
    for row, depth in enumerate(depths[:, 0]):
        for column, batch in enumerate(batches):
            alone = placed(12, prompt=64, gen=8, batch=float(batch), depth=float(depth))
            for whole, single in ((together.prefill, alone.prefill), (together.decode, alone.decode)):
                assert whole is not None
                assert single is not None
                found = np.broadcast_to(np.asarray(whole.seconds), (2, 5))[row, column]
                assert found == pytest.approx(float(single.seconds))


#: Published: ik_llama.cpp discussion 357 (30B-A3B, FFN of layers 34 to 49 on the host), issue 255 and pull request 237.
PUBLISHED = [
    (PAIR, MOE, "iq4_xs", 100, ("blk.3[4-9].ffn", "blk.4[0-9].ffn"), 512, 0, 0, 512, 1445.39),
    (PAIR, MOE, "iq4_xs", 100, ("blk.3[4-9].ffn", "blk.4[0-9].ffn"), 0, 128, 512, 512, 76.74),
    (PAIR, MOE, "iq4_xs", 100, ("blk.3[4-9].ffn", "blk.4[0-9].ffn"), 0, 128, 8704, 512, 63.75),
    (PAIR, "qwen2.5-32b", "q4_k_m", 20, (), 2048, 0, 0, 2048, 817.11),
    (PAIR, "qwen2.5-32b", "q4_k_m", 0, (), 2048, 0, 0, 2048, 703.04),
    ("rtx-4090+i5-13600k", "qwen2.5-32b", "q5_k_m", 32, (), 2048, 0, 0, 2048, 1622.08),
    ("rtx-4090+i5-13600k", "qwen2.5-32b", "q5_k_m", 0, (), 2048, 0, 0, 2048, 1161.2),
]


@pytest.mark.parametrize(
    ("hw", "model", "quant", "layers", "on_host", "prompt", "gen", "depth", "ubatch", "measured"), PUBLISHED
)
def test_published_speeds_are_met_within_a_third(
    hw: str, model: str, quant: str, layers: int, on_host: tuple[str, ...], prompt: int, gen: int, depth: int,
    ubatch: int, measured: float,
) -> None:  # fmt: skip
    found = api.predict(
        hw, model, quant, runtime="ik-llama.cpp", prompt=prompt, gen=gen, depth=depth, ubatch=ubatch,
        gpu_layers=layers, overrides=on_host,
    )  # fmt: skip
    phase = found.prefill or found.decode
    assert phase is not None
    assert measured / 1.36 < float(phase.tok_s) < measured * 1.36


# -- memory ------------------------------------------------------------------------------------------------------------


def test_every_byte_lies_on_one_side() -> None:
    whole = api.predict(CPU, DENSE, "q4_k_m").memory
    for layers in (0, 1, 10, 33):
        found = placed(layers).memory
        assert found.host is not None
        assert found.weights + found.host.weights == pytest.approx(whole.weights)
        assert float(found.kv_cache) + float(found.host.kv_cache) == pytest.approx(float(whole.kv_cache))
    assert placed(0).memory.weights == 0.0
    embedding = 128256 * 4096 * 4.5 / 8  # token_embd in q4_k stays on the host
    full = placed(33).memory
    assert full.host is not None
    assert full.host.weights == pytest.approx(embedding, rel=0.01)


def test_without_a_number_as_many_layers_as_fit_are_on_the_device() -> None:
    found = api.predict("rtx-3090+ryzen-7950x", "llama-3.3-70b", "q4_k_m", prompt=512, gen=128)
    assert found.placement is not None
    layers = found.placement.gpu_layers
    assert 0 < layers < 81
    for asked, fits in ((layers, True), (layers + 1, False)):
        bill = api.predict("rtx-3090+ryzen-7950x", "llama-3.3-70b", "q4_k_m", gpu_layers=asked).memory
        assert bool(bill.total <= bill.usable) is fits  # type: ignore[operator]
    small = api.predict("rtx-3090+ryzen-7950x", "tinyllama-1.1b", "q4_0")
    assert small.placement is not None
    assert small.placement.gpu_layers == 23


def test_both_sides_have_to_fit() -> None:
    found = api.predict("rtx-3090+ryzen-7950x", "llama-3.1-405b", "q8_0")
    assert not found.memory.fits
    assert found.memory.host is not None
    assert not found.memory.host.fits


# -- words -------------------------------------------------------------------------------------------------------------


def test_the_report_names_both_sides(run: Run) -> None:
    out = run("predict", "--hw", PAIR, "--model", MOE, "--quant", "q4_k_m", "--cpu-moe").out
    assert "NVIDIA GeForce RTX 4080 + AMD Ryzen 9 7950X, 49 of 49 layers on the GPU, some tensors on the host" in out
    assert "On the host weights" in out
    assert "% on the host" in out
    answer = json.loads(
        run("predict", "--hw", PAIR, "--model", MOE, "--quant", "q4_k_m", "-ngl", "20", "--format", "json").out
    )
    assert answer["hardware"] == f"{GPU}+{CPU}"
    assert answer["placement"]["gpu_layers"] == 20
    assert set(answer["placement"]["seconds"]["decode"]) == {"device", "host", "link"}
    table = run("explain", "--hw", PAIR, "--model", DENSE, "--quant", "q4_0", "-ngl", "10", "--format", "csv").out
    assert ",host," in table
    assert "device" in table.splitlines()[0]


def test_a_list_of_points_says_how_many_layers_each_has(run: Run) -> None:
    """A deeper context leaves room for fewer."""
    words = ("predict", "--hw", "rtx-3090+ryzen-7950x", "--model", "llama-3.3-70b", "--quant", "q4_k_m", "--depth")
    layers = [
        api.predict("rtx-3090+ryzen-7950x", "llama-3.3-70b", "q4_k_m", depth=depth).placement for depth in (0, 102_400)
    ]
    most, least = (one.gpu_layers for one in layers if one)
    assert most > least
    out = run(*words, "0,100k").out
    assert f"{least} to {most} of 81 layers on the GPU" in out
    assert "GPU layers" in out.splitlines()[2]
    assert "GPU layers" not in run(*words, "0,1").out
    rows = list(csv.DictReader(run(*words, "0,100k", "--format", "csv").out.splitlines()))
    assert [row["gpu_layers"] for row in rows] == [str(most), str(least)]


def test_the_side_that_waits_most_is_named(run: Run) -> None:
    """A small model by many cores: barriers on the host, launches on the card."""
    words = ("predict", "--hw", "rtx-4090+2x epyc-9654", "--model", "qwen3-0.6b", "--quant", "q4_0", "--prompt", "0")
    assert "the barriers between 192 threads" in run(*words, "-ngl", "1").out
    assert "kernel launches" in run(*words, "-ngl", "29").out


def test_the_host_of_a_chip_is_its_own(run: Run) -> None:
    out = run("predict", "--hw", "m4-max-40", "--model", MOE, "--quant", "q4_k_m", "-ngl", "20").out
    assert "Apple M4 Max (40-core GPU) + its processor, 20 of 49 layers on the GPU" in out


@pytest.mark.parametrize(
    ("hw", "more", "message"),
    [
        ("rtx-4080", ["-ngl", "10"], "expected the machine around rtx-4080, as in rtx-4080+ryzen-7950x"),
        ("ryzen-7950x+rtx-4080", [], "expected a device with a GPU before the +"),
        ("rtx-4080+rtx-4090", ["-ngl", "10"], "expected the machine around rtx-4080, as in rtx-4080+ryzen-7950x"),
        ("rtx-4080+", [], "joined by one +"),
        ("rtx-4080+ryzen-7950x+rpi5", [], "joined by one +"),
        ("rtx-4080+nonsense", [], "found 'nonsense'"),
    ],
)
def test_an_impossible_placement_is_one_line(run: Run, hw: str, more: list[str], message: str) -> None:
    outcome = run("predict", "--hw", hw, "--model", DENSE, "--quant", "q4_0", *more)
    assert outcome.code == 1
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


# -- observations ------------------------------------------------------------------------------------------------------


def hybrid(**changes: object) -> Observation:
    usual: dict[str, object] = {
        "id": "a", "hardware": GPU, "host": CPU, "model": DENSE, "quant": "q4_0", "phase": "tg", "gen": 128,
        "tok_s": 20.0, "backend": "cuda", "runtime": "llama.cpp", "date": "2026-03-01", "kind": "hybrid",
        "gpu_layers": 20, "threads": 16,
    }  # fmt: skip
    return Observation(**{**usual, **changes})  # type: ignore[arg-type]


def test_a_row_with_layers_on_the_host_is_predicted_so() -> None:
    found = expect(hybrid()).prediction.placement
    assert found is not None
    assert found.host is not None
    assert (found.gpu_layers, found.host.threads) == (20, 16)
    note = "x; -ot blk.3[4-9].ffn=CPU,blk.4[0-9].ffn=CPU"
    noted = expect(hybrid(model=MOE, gpu_layers=99, note=note)).prediction.placement
    assert noted is not None
    assert noted.overrides == ("blk.3[4-9].ffn", "blk.4[0-9].ffn")
    experts = expect(hybrid(model=MOE, gpu_layers=99, extra={"n_cpu_moe": "3"})).prediction.placement
    assert experts is not None
    assert experts.is_on_host(2, 48, "ffn_up_exps")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"host": ""}, "host: expected the machine that holds the rest"),
        ({"gpu_layers": None}, "gpu_layers: expected how many layers"),
        ({"note": "BLAS enabled by mistake"}, "found a BLAS"),
    ],
)
def test_a_row_that_does_not_say_enough_is_skipped(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        expect(hybrid(**changes))


def test_no_constant_is_learnt_from_a_pair() -> None:
    rows, skipped = collect([hybrid()])
    assert rows == []
    assert skipped == [("a", "layers on the host: no constant of one device is learnt from a pair")]
