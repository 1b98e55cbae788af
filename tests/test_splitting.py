"""Matrices divided among several devices: each one's part, what joining costs, and what refuses to be divided."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from roofline import api, catalog
from roofline.blocks import Layer
from roofline.calculator import pipeline_share
from roofline.machine import Machine
from roofline.prediction import Phase, Prediction
from roofline.spec import SpecError
from roofline.splitting import (
    copies_of_cache,
    gather_seconds,
    head_shares,
    interconnect,
    one_shot_seconds,
    part,
    reduce_seconds,
    reductions,
    repeats_cache,
    ring_seconds,
)
from roofline.upgrades import what_if, worth
from roofline.workload import Step
from tests.running import Run, runner

DENSE, MOE, LARGE = "llama-3.1-8b", "qwen3-30b-a3b", "llama-3.3-70b"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


def divided(hw: str = "rtx-3090x2", model: str = DENSE, quant: str = "q4_0", **changes: Any) -> Prediction:
    return api.predict(hw, model, quant, **{"split": "tensor", **changes})


def decode(result: Prediction) -> Phase:
    assert result.decode is not None
    return result.decode


def prefill(result: Prediction) -> Phase:
    assert result.prefill is not None
    return result.prefill


def seconds(phase: Phase, what: str) -> float:
    return float(phase.shares[what])


def layer(model: str) -> Layer:
    return catalog.load_model(model).spec.groups[0].layer


# -- formulas ----------------------------------------------------------------------------------------------------------


def test_a_ring_sends_every_byte_twice_but_for_one_part() -> None:
    # 4 devices, 1 GB at 10 GB/s: 6 steps of 250 MB are 0.15 s, and 6 hops of 1 ms.
    assert ring_seconds(1e9, 4, 10e9, 1e-3) == pytest.approx(0.15 + 0.006)
    # nccl-tests, doc/PERFORMANCE.md: t = S / B · 2(n − 1)/n for an all-reduce, half of it for an all-gather.
    assert ring_seconds(1e9, 8, 10e9, 0.0) == pytest.approx(0.1 * 2 * 7 / 8)
    assert gather_seconds(1e9, 8, 10e9, 0.0) == pytest.approx(0.1 * 7 / 8)
    assert ring_seconds(1e9, 1, 10e9, 1e-3) == 0.0


def test_one_shot_wins_where_latency_counts_and_loses_where_bytes_do() -> None:
    sizes = [2.0**power for power in range(8, 30)]
    slower = [one_shot_seconds(size, 8, 200e9, 1e-6) > ring_seconds(size, 8, 200e9, 1e-6) for size in sizes]
    assert slower == sorted(slower), "from one size on"
    assert not slower[0]
    assert slower[-1]


def machine(hw: str = "rtx-3090x2", **changes: Any) -> Machine:
    return divided(hw, **changes).machine


def test_a_reduction_of_a_hidden_vector() -> None:
    link = interconnect(machine())
    # RTX 3090: four links of 14.0625 GB/s each way are 56.25 GB/s (GA102 whitepaper), of which the engine gets 0.8.
    assert link.name == "NVLink"
    assert link.bandwidth == pytest.approx(56.25e9 * 0.8)
    # 4096 numbers of 4 bytes; NCCL's ring: 6.6 µs, two hops of 0.6 µs, once the bytes with two devices.
    expected = 6.6e-6 + 2 * 0.6e-6 + 4096 * 4 / 45e9
    assert float(reduce_seconds(4096, machine(), link)) == pytest.approx(expected)
    # From 32768 numbers on two devices send halves of the bytes (ggml-cuda.cu).
    long = 6.6e-6 + 2 * 0.6e-6 + 32768 * 2 / 45e9
    assert float(reduce_seconds(32768, machine(), link)) == pytest.approx(long)
    both = reduce_seconds(np.array([4096.0, 32768.0]), machine(), link)
    np.testing.assert_allclose(both, [expected, long])


def test_an_engine_with_one_shot_takes_the_faster_way() -> None:
    ring = machine("h100-sxmx8")
    engine = ring.engine
    assert engine.reduction is not None
    quick = engine.model_copy(update={"reduction": engine.reduction.model_copy(update={"one_shot": True})})
    runtime = ring.runtime.model_copy(update={"backends": {**ring.runtime.backends, "cuda": quick}})
    shot, link = replace(ring, runtime=runtime), interconnect(ring)
    few, many = 4096.0, 4096.0 * 4096
    assert float(reduce_seconds(few, shot, link)) < float(reduce_seconds(few, ring, link))
    assert float(reduce_seconds(many, shot, link)) == float(reduce_seconds(many, ring, link))


# -- parts -------------------------------------------------------------------------------------------------------------


def test_heads_are_shared_whole() -> None:
    eight = layer(DENSE)  # 32 heads, 8 KV heads
    assert head_shares(eight, 2) == (0.5, 0.5)
    assert head_shares(eight, 8) == (1 / 8, 1 / 8)
    assert head_shares(eight, 3) == (3 / 8, 3 / 8)  # 3, 3 and 2 groups of four queries
    assert head_shares(eight, 16) == (2 / 32, 1 / 8)  # each KV head on two devices
    assert copies_of_cache(eight, 8) == 1.0
    assert copies_of_cache(eight, 16) == 2.0
    latent = layer("deepseek-v3")
    assert head_shares(latent, 4) == (1 / 4, 1.0)  # one cached vector for all heads
    assert repeats_cache(catalog.load_model("deepseek-v3").spec, 2)
    assert not repeats_cache(catalog.load_model(DENSE).spec, 8)


def test_what_is_divided_and_what_is_repeated() -> None:
    dense, experts = layer(DENSE), layer(MOE)
    halves = ["attn_q", "attn_k", "attn_output", "ffn_up", "ffn_down"]
    assert {part(dense, role, "matmul", 2).memory for role in halves} == {0.5}
    assert part(None, "output", "matmul", 2).compute == 0.5
    assert part(None, "token_embd", "matmul", 2).compute == 0.5, "a tied head"
    assert part(None, "token_embd", "lookup", 2).compute == 1.0
    assert part(experts, "ffn_gate_inp", "matmul", 2).compute == 1.0
    assert part(experts, "ffn_up_exps", "matmul", 2).compute == 0.5
    assert part(dense, "norms and sums", "elementwise", 2).memory == 1.0
    assert part(dense, "attn_k", "matmul", 16).memory == 1 / 8, "as many as there are KV heads"
    fused = layer("phi-3-mini-4k")  # 32 heads of each, one matrix
    assert part(fused, "attn_qkv", "matmul", 2).memory == pytest.approx(0.5)


def test_each_layer_pays_two_reductions() -> None:
    assert reductions(catalog.load_model(DENSE).spec) == 2 * 32
    assert reductions(catalog.load_model(LARGE).spec) == 2 * 80


# -- time --------------------------------------------------------------------------------------------------------------


def test_arithmetic_and_reading_are_halved_launches_are_not_and_the_link_is_added() -> None:
    one, two = api.predict("rtx-3090", LARGE, "q2_k"), divided(model=LARGE, quant="q2_k")
    for whole, half in ((prefill(one), prefill(two)), (decode(one), decode(two))):
        assert seconds(half, "memory") + seconds(half, "compute") == pytest.approx(
            (seconds(whole, "memory") + seconds(whole, "compute")) / 2, rel=0.02
        )  # norms are repeated
        assert seconds(half, "overhead") == pytest.approx(seconds(whole, "overhead"))
        assert seconds(half, "link") > 0
        assert float(half.flops) == pytest.approx(float(whole.flops)), "the work of all devices together"
        assert float(half.weight_bytes) == pytest.approx(float(whole.weight_bytes))
        assert float(half.seconds) >= float(half.light_seconds)
        assert float(half.seconds) == pytest.approx(sum(float(value) for value in half.shares.values()))


def test_the_time_on_the_link_is_that_of_its_reductions() -> None:
    result = divided(model=LARGE, quant="q4_k_m", prompt=0, gen=100)
    link = interconnect(result.machine)
    each = 6.6e-6 + 2 * link.hop + 8192 * 4 / link.bandwidth
    logits = 2 * link.hop / 2 + 128256 * 4 / 2 / link.bandwidth
    assert seconds(decode(result), "link") == pytest.approx(100 * (160 * each + logits))


def test_more_devices_read_faster_and_reduce_slower() -> None:
    phases = [decode(divided(f"h100-sxmx{count}", LARGE, "q4_k_m")) for count in (2, 4, 8)]
    memory, link = ([seconds(phase, what) for phase in phases] for what in ("memory", "link"))
    assert memory == sorted(memory, reverse=True)
    assert link == sorted(link)


def test_a_faster_link_is_never_slower() -> None:
    speeds = [
        float(prefill(divided(link=link, set=figures)).tok_s)
        for link, figures in (
            ("pcie", {"link.pcie_lanes": "4"}),
            ("pcie", {"link.pcie_lanes": "16"}),
            ("nvlink", {}),
            ("nvlink", {"link.nvlink": "300 GB/s"}),
        )
    ]
    assert speeds == sorted(speeds)
    assert len(set(speeds)) == 4


def test_a_bridge_joins_two_cards_only() -> None:
    assert interconnect(machine("rtx-3090x2")).name == "NVLink"
    assert interconnect(machine("rtx-3090x4")).name == "PCIe"
    assert interconnect(machine("h100-sxmx8")).name == "NVLink"
    assert interconnect(machine("rtx-3090x2", link="pcie")).name == "PCIe"


def test_divided_devices_are_no_pipeline() -> None:
    step = Step(1.0, 2048.0, 0.0, 512.0)
    assert float(np.asarray(pipeline_share(api.predict("rtx-3090x2", DENSE, "q4_0").machine, step))) < 1
    assert pipeline_share(machine(), step) == 1.0


def test_arrays_are_divided_like_their_elements() -> None:
    batches, depths = np.array([1.0, 7.0, 8.0, 64.0]), np.array([[0.0], [4096.0]])
    together = divided("rtx-3090x4", prompt=64, gen=8, batch=batches, depth=depths)
    for row, depth in enumerate(depths[:, 0]):
        for column, batch in enumerate(batches):
            alone = divided("rtx-3090x4", prompt=64, gen=8, batch=float(batch), depth=float(depth))
            for whole, single in ((prefill(together), prefill(alone)), (decode(together), decode(alone))):
                found = np.broadcast_to(np.asarray(whole.seconds), (2, 4))[row, column]
                assert found == pytest.approx(float(single.seconds))


def test_layers_in_turn_are_what_they_were() -> None:
    """The default, asked for or not; one token takes the time of one device."""
    silent, asked = (api.predict("rtx-3090x2", DENSE, "q4_0", split=split) for split in (None, "layer"))
    alone = api.predict("rtx-3090", DENSE, "q4_0")
    assert float(decode(silent).seconds) == float(decode(asked).seconds) == float(decode(alone).seconds)


def test_a_pair_with_layers_on_the_host_is_no_pipeline() -> None:
    """llama-context.cpp pipelines only what is on the devices as a whole."""
    whole = api.predict("rtx-3090x2+ryzen-7950x", DENSE, "q4_0", prompt=2048, gen=0)
    both = api.predict("rtx-3090x2", DENSE, "q4_0", prompt=2048, gen=0)
    assert float(prefill(whole).seconds) == pytest.approx(float(prefill(both).seconds))
    most = api.predict("rtx-3090x2+ryzen-7950x", DENSE, "q4_0", prompt=2048, gen=0, gpu_layers=32)
    assert float(prefill(most).seconds) > 1.5 * float(prefill(whole).seconds)


# -- memory ------------------------------------------------------------------------------------------------------------


def test_the_bill_holds_repeated_tensors_and_caches_more_than_once() -> None:
    layered = api.predict("h100-sxmx4", DENSE, "q4_0", context=8192).memory
    four, sixteen = (divided(f"h100-sxmx{count}", context=8192).memory for count in (4, 16))
    assert float(four.kv_cache) == pytest.approx(float(layered.kv_cache))
    assert float(sixteen.kv_cache) == pytest.approx(2 * float(layered.kv_cache)), "8 KV heads for 16 devices"
    # Norms are repeated: 65 vectors of 4096 f32 on three more devices.
    assert four.weights - layered.weights == pytest.approx(3 * 65 * 4096 * 4, rel=0.1)
    assert sixteen.weights > four.weights


# -- what else there is to choose --------------------------------------------------------------------------------------


def test_what_ifs_name_the_other_split_and_the_other_link() -> None:
    layered = {change.change: change for change in what_if(api.predict("rtx-3090x2", LARGE, "q4_k_m"))}
    tensors = {change.change: change for change in what_if(divided(model=LARGE, quant="q4_k_m"))}
    now, then = decode(api.predict("rtx-3090x2", LARGE, "q4_k_m")), decode(divided(model=LARGE, quant="q4_k_m"))
    assert layered["divided tensors for layers in turn"].decode_tok_s == pytest.approx(float(then.tok_s))
    assert tensors["layers in turn for divided tensors"].decode_tok_s == pytest.approx(float(now.tok_s))
    slower = decode(divided(model=LARGE, quant="q4_k_m", link="pcie"))
    assert tensors["PCIe for NVLink"].decode_tok_s == pytest.approx(float(slower.tok_s))
    faster = decode(divided(model=LARGE, quant="q4_k_m", link="pcie", set={"link.pcie_generation": "5"}))
    four = {change.change: change for change in what_if(divided(model=LARGE, quant="q4_k_m", link="pcie"))}
    assert four["PCIe 5.0 for 4.0"].decode_tok_s == pytest.approx(float(faster.tok_s))
    assert "NVLink for PCIe" in four


def test_the_part_worth_money_is_the_one_that_gains() -> None:
    placed = api.predict("rtx-3090+ryzen-7950x", LARGE, "q4_k_m")
    gains = worth(placed)
    assert next(iter(gains)) == "the host's memory"
    assert set(gains) == {"the host's memory", "the GPU's memory", "the link"}
    rate = catalog.load_hardware("rtx-3090").spec.memory.theoretical_bandwidth * 1.25
    layers = placed.placement.gpu_layers if placed.placement else 0
    faster = api.predict(
        "rtx-3090+ryzen-7950x", LARGE, "q4_k_m", gpu_layers=layers, set={"memory.bandwidth": f"{rate} B/s"}
    )
    assert gains["the GPU's memory"] == pytest.approx(float(decode(faster).tok_s / decode(placed).tok_s) - 1)
    assert worth(api.predict("rtx-3090", DENSE, "q4_0")) == {}
    changes = {change.change: change for change in what_if(placed)}
    now = float(decode(placed).tok_s)
    assert (changes["the host's memory 2× as fast"].decode_tok_s or 0) > 1.5 * now
    assert now < (changes["the GPU's memory 2× as fast"].decode_tok_s or 0) < 1.2 * now
    assert "PCIe 5.0 for 4.0" in changes
    more = next(change for change in changes.values() if "layers on the GPU for" in change.change)
    assert more.decode_tok_s is None, "as many as fit are there already"
    refitted = next(change for change in changes.values() if change.change.startswith("q8_0 for q4_k_m, "))
    again = api.predict("rtx-3090+ryzen-7950x", LARGE, "q8_0")
    assert refitted.decode_tok_s == pytest.approx(float(decode(again).tok_s)), "fewer layers on the GPU"


# -- words -------------------------------------------------------------------------------------------------------------


def test_the_report_says_how_the_devices_share(run: Run) -> None:
    words = ["predict", "--hw", "rtx-3090x2", "--model", LARGE, "--quant", "q4_k_m", "--split", "tensor"]
    out = run(*words).out
    assert "on 2x NVIDIA GeForce RTX 3090, tensors divided over NVLink" in out
    assert "2 devices work side by side, over NVLink" in out
    assert "which needs a bridge" in out
    assert "no measured speed of a model divided among devices by tensors" in out
    answer = json.loads(run(*words, "--link", "pcie", "--format", "json").out)
    assert answer["split"]["mode"] == "tensor"
    assert (answer["split"]["devices"], answer["split"]["link"]) == (2, "PCIe")
    # PCIe 4.0 x16: 31.5 GB/s, of which 0.6, twice through the host's memory.
    assert answer["split"]["link_bytes_s"] == pytest.approx(31.5e9 * 0.6 / 2, rel=0.01)
    many = run("predict", "--hw", "h100-sxmx16", "--model", DENSE, "--quant", "q4_0", "--split", "tensor").out
    assert "16 devices are more than there are KV heads" in many
    layered = json.loads(run(*words[:-2], "--format", "json").out)
    assert layered["split"] == {"mode": "layer", "devices": 2, "link": None, "link_bytes_s": None}
    table = run("explain", *words[1:], "--format", "csv").out
    assert ",all-reduce," in table
    assert ",link," in table


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--hw", "ryzen-7950x"], "--split: expected several GPUs for tensor, found the processor AMD Ryzen 9 7950X"),
        (["--hw", "2x-e5-2650v4"], "--split: expected several GPUs for tensor"),
        (["--hw", "rtx-3090"], "--split: expected several devices for tensor, as in rtx-3090x2"),
        (["--hw", "rtx-3090x2", "--no-flash-attn"], "--split: expected flash attention for tensor"),
        (["--hw", "rtx-3090x2", "--kv", "q8_0"], "--split: expected a cache of f16, bf16 or f32 for tensor"),
        (["--hw", "rtx-3090x2", "--backend", "vulkan"], "divides no tensors under vulkan, found tensor"),
        (["--hw", "rtx-3090x2", "--runtime", "llama.cpp-2025"], "2025-07 divides no tensors under cuda"),
        (["--hw", "rtx-4090x2", "--link", "nvlink"], "--link: expected devices with NVLink for all 2, found none"),
        (["--hw", "rtx-3090x4", "--link", "nvlink"], "for all 4, found one that joins 2"),
        (["--hw", "m2-ultra-76x2"], "divides no tensors under metal"),
    ],
)
def test_an_impossible_split_is_one_line(run: Run, words: list[str], message: str) -> None:
    outcome = run("predict", "--model", DENSE, "--quant", "q4_0", "--split", "tensor", *words)
    assert outcome.code == 1
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_wrong_words_are_refused(run: Run) -> None:
    assert run("predict", "--hw", "rtx-3090x2", "--model", DENSE, "--quant", "q4_0", "--split", "rows").code == 2
    with pytest.raises(SpecError, match="--split: expected one of layer, tensor, found 'rows'"):
        divided(split="rows")
    with pytest.raises(SpecError, match="--link: expected one of nvlink, pcie, found 'wire'"):
        divided(link="wire")
    with pytest.raises(SpecError, match=r"--link: expected devices that divide tensors"):
        api.predict("rtx-3090x2", DENSE, "q4_0", link="pcie")


def test_a_device_without_a_stated_link_names_the_missing_field() -> None:
    one = machine()
    bare = replace(one, hardware=one.hardware.model_copy(update={"link": None}))
    with pytest.raises(SpecError, match="link: expected pcie_generation and pcie_lanes, or nvlink, to split tensors"):
        interconnect(bare)
