"""The calculator against figures derived by hand, and against what has to hold for every machine and model."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roofline
from roofline import api, catalog
from roofline.calculator import predict
from roofline.prediction import OperatorCost, Phase, Prediction
from roofline.spec import SpecError
from roofline.weights import weigh
from roofline.workload import Workload
from tests.small import CPU, GPU, machine, model

# -- a machine and a model in round numbers (tests/small.py) ----------------------------------------------------------


def tiny(workload: Workload, quant: str = "f16", table: dict[str, Any] = GPU, **changes: Any) -> Prediction:
    shape = model(changes.pop("shape", None))
    return predict(shape, weigh(shape, quant), machine(table, **changes), workload)


def operators(phase: Phase | None) -> dict[str, OperatorCost]:
    assert phase is not None
    return {cost.operator: cost for cost in phase.operators}


def test_one_token_of_the_tiny_model() -> None:
    # f16, 2 bytes a weight; 99 positions are cached, so that the token sees 100 with itself. Two layers of each:
    #   attn_q, attn_output  64 × 64 = 4096 weights     attn_k, attn_v  64 × 32 = 2048
    #   ffn_gate, ffn_up, ffn_down  64 × 96 = 6144      and once: output  64 × 128 = 8192
    result = tiny(Workload(prompt=0, gen=1, depth=99))
    assert result.prefill is None and result.decode is not None
    found = operators(result.decode)
    sizes = {"attn_q": 4096, "attn_k": 2048, "attn_v": 2048, "attn_output": 4096}
    sizes |= {"ffn_gate": 6144, "ffn_up": 6144, "ffn_down": 6144}
    assert {name for name, cost in found.items() if cost.kind == "matmul"} == {*sizes, "output"}
    for name, size in sizes.items():
        assert found[name].layers == 2
        assert found[name].flops == 2 * 2 * size  # a multiply-add is 2 FLOP, and there are 2 layers
        assert found[name].weight_bytes == 2 * 2 * size
    assert (found["output"].flops, found["output"].weight_bytes) == (2 * 8192, 2 * 8192)
    assert found["token_embd"].weight_bytes == 64 * 2, "one row of the table"
    # Attention: 2 · 4 heads · (16 + 16) · 100 positions = 25 600 FLOP a layer. A position stores 2 KV heads × 16 of K
    # and as many of V, 64 elements of 2 bytes: 100 positions are read and one is written, 12 928 B a layer.
    assert found["attention"].flops == 2 * 25_600
    assert found["attention"].kv_bytes == 2 * 12_928
    assert result.decode.weight_bytes == pytest.approx(139_264, rel=0.02), "2 × 69 632, and the norms"
    assert result.decode.kv_bytes == 25_856


def test_the_time_of_an_operator() -> None:
    # ffn_down: half of 1 TFLOP/s for 24 576 FLOP is 49.152 ns; half of 100 GB/s for 24 576 B of weights and
    # 2 · (96 + 64) · 4 B of activations is 517.12 ns; the engine adds the two (sharpness 1); 2 nodes cost 1 µs each.
    down = operators(tiny(Workload(prompt=0, gen=1)).decode)["ffn_down"]
    assert down.compute_seconds == pytest.approx(49.152e-9)
    assert down.memory_seconds == pytest.approx(517.12e-9)
    assert down.overhead_seconds == pytest.approx(2e-6)
    assert down.seconds == pytest.approx(2.566272e-6)
    # Perfect overlap leaves the longer of the two, √(c² + m²) with p = 2.
    for sharpness, roof in ((2.0, (49.152**2 + 517.12**2) ** 0.5), (50.0, 517.12)):
        engine = {"backends.cuda.sharpness": {"value": sharpness}}
        assert operators(tiny(Workload(gen=1), engine=engine).decode)["ffn_down"].roof_seconds == pytest.approx(
            roof * 1e-9
        )


def test_a_processor_computes_by_the_cycle_and_waits_at_barriers() -> None:
    # 8 operations × 4 cores × 2 GHz = 64 GFLOP/s: 24 576 FLOP in 384 ns; the four cores' part of the peak, 128 of
    # 160 GFLOP/s, alone would need 192 ns, and both together √(384² + 192²). Half of 10 GB/s: 25 856 B in 5171.2 ns.
    # A barrier of 4 threads costs 1 µs + 4 × 0.1 µs.
    down = operators(tiny(Workload(gen=1), table=CPU).decode)["ffn_down"]
    assert down.compute_seconds == pytest.approx((384**2 + 192**2) ** 0.5 * 1e-9)
    assert down.memory_seconds == pytest.approx(5171.2e-9)
    assert down.overhead_seconds == pytest.approx(2 * 1.4e-6)


def test_a_prompt_of_four_tokens_in_two_passes() -> None:
    result = tiny(Workload(prompt=4, gen=0, ubatch=2))
    assert result.decode is None
    found = operators(result.prefill)
    # Weights are read once a pass; 4 tokens are multiplied.
    assert found["attn_q"].weight_bytes == 2 * (2 * 4096 * 2)
    assert found["attn_q"].flops == 4 * (2 * 4096 * 2)
    # Token i sees i positions: 1 + 2 + 3 + 4 = 10, times 2 · 4 · (16 + 16), in two layers.
    assert found["attention"].flops == 2 * 256 * 10
    # The passes read 2 and 4 positions, and 4 are written: 10 × 64 elements × 2 B, in two layers.
    assert found["attention"].kv_bytes == 2 * 10 * 64 * 2
    # Logits are wanted of the last token of a pass.
    assert found["output"].flops == 2 * (2 * 8192)
    assert found["attn_q"].overhead_seconds == pytest.approx(2 * 2 * 1e-6)


def test_the_speed_of_light_of_the_tiny_model() -> None:
    # 139 264 B of weights, the norms and 25 856 B of cache at 100 GB/s: 1.65 µs; 190 464 FLOP at 1 TFLOP/s: 0.19 µs.
    phase = tiny(Workload(prompt=0, gen=1, depth=99)).decode
    assert phase is not None
    moved = float(phase.weight_bytes + phase.kv_bytes)
    assert phase.light_seconds == pytest.approx(moved / 100e9)
    assert 1 / phase.ceiling_tok_s == pytest.approx(1.65e-6, rel=0.02)
    # The ridge point at light: 1 TFLOP/s / 100 GB/s = 10 FLOP/B, elementwise operations being free.
    assert phase.ridge_point == pytest.approx(10, rel=0.05)
    slow = {"gpu.peak": dict.fromkeys(("fp32", "fp16", "int8"), "10 GFLOP/s")}
    compute = tiny(Workload(prompt=0, gen=1, depth=99), device=slow).decode
    assert compute is not None
    assert compute.light_seconds == pytest.approx(190_464 / 10e9)
    assert compute.bound == "overhead" or compute.bound == "compute"


def test_a_quantised_cache_is_smaller() -> None:
    # q8_0 stores 32 elements in 34 bytes: 101 positions × 64 elements × 34/32 B, in two layers.
    for kv, size in {("f16", "f16"): 2.0, ("q8_0", "q8_0"): 34 / 32, ("q8_0", "f16"): (34 / 32 + 2) / 2}.items():
        found = operators(tiny(Workload(prompt=0, gen=1, depth=99, kv_types=kv)).decode)
        assert found["attention"].kv_bytes == pytest.approx(2 * 101 * 64 * size)


def test_four_bits_are_read_faster_than_sixteen() -> None:
    # q4_0 stores 32 weights in 18 bytes, f16 in 64.
    shape = {
        "hidden": 256,
        "blocks": {"layer": {"attention": {"heads": 8, "kv_heads": 8, "head_dim": 32}, "mlp": {"width": 512}}},
    }
    narrow, wide = (operators(tiny(Workload(gen=1), quant, shape=shape).decode) for quant in ("q4_0", "f16"))
    assert narrow["ffn_down"].weight_bytes / wide["ffn_down"].weight_bytes == 18 / 64
    assert narrow["ffn_down"].type == "q4_0"
    assert narrow["ffn_down"].memory_seconds < wide["ffn_down"].memory_seconds


def test_a_batch_reads_the_weights_once() -> None:
    one, eight = (tiny(Workload(prompt=0, gen=1, depth=99, batch=batch)).decode for batch in (1, 8))
    assert one and eight
    for name, cost in operators(eight).items():
        alone = operators(one)[name]
        assert cost.flops == pytest.approx(8 * alone.flops)
        assert cost.kv_bytes == pytest.approx(8 * alone.kv_bytes)
        assert cost.overhead_seconds == alone.overhead_seconds
        if cost.kind == "matmul":
            assert cost.weight_bytes == alone.weight_bytes
    assert one.tok_s < eight.tok_s < 8 * one.tok_s


def test_devices_in_turn() -> None:
    # Two cards hold a layer each. A token passes through both: the time of one card with all layers. Eight passes of a
    # prompt follow each other like a pipeline of two stages: (8 + 2 − 1) / (2 · 8) of that time.
    pipeline = {"backends.cuda.pipeline": True}
    work = Workload(prompt=16, gen=1, ubatch=2)
    one, two = tiny(work, engine=pipeline), tiny(work, engine=pipeline, device={"count": 2})
    assert one.prefill and two.prefill and one.decode and two.decode
    assert two.decode.seconds == pytest.approx(one.decode.seconds)
    assert two.prefill.seconds == pytest.approx(one.prefill.seconds * 9 / 16)
    assert two.prefill.ceiling_tok_s == pytest.approx(2 * one.prefill.ceiling_tok_s)
    plain = tiny(work, device={"count": 2})
    assert plain.prefill and plain.prefill.seconds == pytest.approx(one.prefill.seconds)


# -- what is not asked for --------------------------------------------------------------------------------------------


def test_no_prompt_or_no_generation() -> None:
    nothing, prompt, gen = tiny(Workload(0, 0)), tiny(Workload(8, 0)), tiny(Workload(0, 8))
    assert (nothing.prefill, nothing.decode, nothing.ttft_s, nothing.tpot_s, nothing.total_s) == (None,) * 4 + (0.0,)
    assert prompt.prefill and prompt.decode is None and prompt.tpot_s is None
    assert prompt.total_s == prompt.ttft_s == prompt.prefill.seconds
    assert gen.decode and gen.prefill is None and gen.ttft_s is None
    assert gen.total_s == gen.decode.seconds
    assert gen.tpot_s == pytest.approx(float(gen.decode.seconds) / 8)


def test_an_array_may_hold_points_without_a_prompt_or_a_generation() -> None:
    prompt, gen = np.array([0.0, 16.0, 0.0, 16.0]), np.array([0.0, 0.0, 8.0, 8.0])
    together = tiny(Workload(prompt, gen))
    alone = [tiny(Workload(float(p), float(g))) for p, g in zip(prompt, gen, strict=True)]
    assert np.allclose(together.total_s, np.array([one.total_s for one in alone]))
    assert np.allclose(together.memory.total, np.array([one.memory.total for one in alone]))


# -- what an engine refuses -------------------------------------------------------------------------------------------


def test_types_that_the_engine_lacks_are_refused() -> None:
    wide = {
        "hidden": 256,
        "blocks": {"layer": {"attention": {"heads": 8, "kv_heads": 8, "head_dim": 32}, "mlp": {"width": 512}}},
    }
    with pytest.raises(SpecError, match=r"^--quant: expected weight types that engine 1 can read, found 'iq1_s'$"):
        tiny(Workload(), "iq1_s", shape=wide)
    with pytest.raises(SpecError, match=r"^--kv: expected one of f16, q8_0, q4_0 for engine, found 'q5_1'$"):
        tiny(Workload(kv_types=("q5_1", "f16")))


def test_quantised_values_need_flash_attention() -> None:
    # llama.cpp, src/llama-context.cpp: "quantized V cache requires flash_attn"; keys do not.
    off, on = {"backends.cuda.flash_attention": False}, {"backends.cuda.flash_attention": True}
    work = {kv: Workload(kv_types=kv) for kv in (("q8_0", "f16"), ("f16", "q8_0"))}
    assert tiny(work["q8_0", "f16"], engine=off).decode
    with pytest.raises(
        SpecError, match=r"^--kv: expected .* without flash attention, found 'q8_0'; --flash-attn allows it$"
    ):
        tiny(work["f16", "q8_0"], engine=off)
    assert tiny(work["f16", "q8_0"], engine=on).decode
    assert tiny(Workload(kv_types=("f16", "q8_0"), flash_attention=True), engine=off).decode
    with pytest.raises(SpecError, match="--flash-attn"):
        tiny(Workload(kv_types=("f16", "q8_0"), flash_attention=False), engine=on)


def test_flash_attention_is_one_node_for_four() -> None:
    # Q·K, softmax, ·V and the copy that joins the heads: 4 nodes a layer unless fused.
    fused, apart = (tiny(Workload(gen=1, flash_attention=flag)).decode for flag in (True, False))
    assert operators(fused)["attention"].overhead_seconds == pytest.approx(2 * 1 * 1e-6)
    assert operators(apart)["attention"].overhead_seconds == pytest.approx(2 * 4 * 1e-6)


# -- every machine and model ------------------------------------------------------------------------------------------

MACHINES = [
    ("rpi4", "cpu"), ("rpi5", "cpu"), ("tr-7995wx", "cpu"), ("2x-e5-2650v4", "cpu"), ("xeon-8480", "cpu"),
    ("ryzen-7950x", "cpu"), ("m2-ultra-76", "cpu"), ("m2-ultra-76", "metal"), ("rtx-4090", "cuda"), ("p40", "cuda"),
    ("v100-pcie-32", "cuda"), ("h100-sxm", "cuda"), ("rtx-3090x4", "cuda"), ("rtx-4090", "vulkan"), ("mi300x", "rocm"),
    ("rx-7900-xtx", "rocm"), ("arc-a770", "sycl"), ("snapdragon-8-elite-gen5", "opencl"), ("spacemit-k1", "cpu"),
]  # fmt: skip
#: Dense, MQA, experts, latent attention, windows, state space, tied and not.
MODELS = [
    "tinyllama-1.1b", "mistral-7b", "falcon-7b", "mixtral-8x7b", "deepseek-v2-lite", "gemma-3-4b", "qwen3-0.6b",
    "nemotron-3-super-120b-a12b", "qwen3.5-0.8b", "gpt-oss-20b",
]  # fmt: skip
QUANTS = ["f16", "q8_0", "q4_0", "q4_k_m", "q2_k", "iq2_xxs", "int4", "4.5bpw"]
COMBINATIONS = st.tuples(st.sampled_from(MACHINES), st.sampled_from(MODELS), st.sampled_from(QUANTS))
SETTINGS = settings(max_examples=60)


def point(combination: tuple[tuple[str, str], str, str], **asked: Any) -> Prediction:
    (hw, backend), name, quant = combination
    return roofline.predict(hw, name, quant, backend=backend, **asked)


def phases(result: Prediction) -> list[Phase]:
    return [phase for phase in (result.prefill, result.decode) if phase is not None]


def test_the_machines_of_this_page_exist() -> None:
    for hw, backend in MACHINES:
        assert backend in catalog.load_hardware(hw).spec.backends
    assert set(MODELS) <= set(api.list_models())


WORK = st.fixed_dictionaries(
    {
        "prompt": st.integers(min_value=1, max_value=5000),
        "gen": st.integers(min_value=1, max_value=500),
        "depth": st.integers(min_value=0, max_value=60_000),
        "batch": st.integers(min_value=1, max_value=200),
    }
)


@SETTINGS
@given(COMBINATIONS, WORK)
def test_nothing_is_faster_than_light(combination: tuple[tuple[str, str], str, str], work: dict[str, int]) -> None:
    result = point(combination, **work)
    hardware = result.machine.hardware
    peak = max(result.machine.peaks.values()) * hardware.count
    bandwidth = result.machine.theoretical_bandwidth * hardware.count
    for phase in phases(result):
        products = sum(float(cost.flops) for cost in phase.operators if cost.kind in ("matmul", "attention"))
        # The ceiling itself respects both: no more FLOP/s than any peak, no more B/s than the memory has.
        assert phase.light_seconds >= products / peak * (1 - 1e-9)
        assert phase.light_seconds >= (phase.weight_bytes + phase.kv_bytes) / bandwidth * (1 - 1e-9)
        assert 0 < phase.low_tok_s <= phase.tok_s <= phase.high_tok_s <= phase.ceiling_tok_s * (1 + 1e-9)
        for cost in phase.operators:
            assert cost.seconds >= (cost.weight_bytes + cost.kv_bytes) / result.machine.theoretical_bandwidth * (
                1 - 1e-9
            )


@SETTINGS
@given(COMBINATIONS, WORK)
def test_the_parts_add_up(combination: tuple[tuple[str, str], str, str], work: dict[str, int]) -> None:
    result = point(combination, **work)
    for phase in phases(result):
        total = sum(float(cost.seconds) for cost in phase.operators)
        assert phase.seconds <= total * (1 + 1e-9)
        if result.machine.hardware.count == 1:
            assert phase.seconds == pytest.approx(total)
        assert sum(float(part) for part in phase.shares.values()) == pytest.approx(total)
        assert all(part >= -1e-12 for part in phase.shares.values())
        assert phase.bound == max(phase.shares, key=lambda name: float(phase.shares[name]))
        assert phase.flops == pytest.approx(sum(float(cost.flops) for cost in phase.operators))
        assert phase.bytes == pytest.approx(sum(float(cost.bytes) for cost in phase.operators))
        assert phase.intensity == pytest.approx(float(phase.flops) / float(phase.bytes))
        assert phase.tok_s * phase.seconds == pytest.approx(float(phase.step.tokens))
    assert result.prefill and result.decode
    assert result.prefill.step.tokens == work["batch"] * work["prompt"]
    assert result.decode.step.tokens == work["batch"] * work["gen"]
    assert result.tpot_s == pytest.approx(float(result.decode.seconds) / work["gen"])
    assert result.total_s == pytest.approx(float(result.prefill.seconds) + float(result.decode.seconds))


PARTS = ("tok_s", "low_tok_s", "high_tok_s", "ceiling_tok_s", "seconds", "flops", "bytes", "intensity", "ridge_point")


@settings(max_examples=40)
@given(
    COMBINATIONS,
    st.lists(st.integers(min_value=1, max_value=3000), min_size=1, max_size=3),
    st.lists(st.integers(min_value=0, max_value=40_000), min_size=1, max_size=3),
    st.lists(st.integers(min_value=1, max_value=64), min_size=1, max_size=3),
)
def test_an_array_is_its_elements(
    combination: tuple[tuple[str, str], str, str], prompts: list[int], depths: list[int], batches: list[int]
) -> None:
    axes = [np.array(axis, dtype=float) for axis in (prompts, depths, batches)]
    grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    together = point(combination, prompt=grid[0], depth=grid[1], batch=grid[2], gen=16)
    shape = (len(prompts), len(depths), len(batches))
    for index in itertools.product(*map(range, shape)):
        p, d, b = (float(axis[at]) for axis, at in zip(axes, index, strict=True))
        alone = point(combination, prompt=p, depth=d, batch=b, gen=16)
        for whole, single in zip(phases(together), phases(alone), strict=True):
            for name in PARTS:
                found = np.broadcast_to(getattr(whole, name), shape)[index]
                assert found == pytest.approx(float(getattr(single, name)), rel=1e-9), name
            assert np.broadcast_to(whole.bound, shape)[index] == single.bound
            for name in whole.shares:
                found = np.broadcast_to(whole.shares[name], shape)[index]
                assert found == pytest.approx(float(single.shares[name]), rel=1e-9, abs=1e-15)
        for name in ("total", "kv_cache", "compute", "fits"):
            assert np.broadcast_to(getattr(together.memory, name), shape)[index] == getattr(alone.memory, name)
        for name in ("ttft_s", "tpot_s", "total_s"):
            assert np.broadcast_to(getattr(together, name), shape)[index] == pytest.approx(
                getattr(alone, name), rel=1e-9
            )


def test_kernels_of_different_sharpness_in_one_array() -> None:
    # On AMX, prompts overlap more sharply than single tokens: each element has to take its own kernel's.
    lengths = np.array([1.0, 2.0, 512.0])
    together = roofline.predict("xeon-8480", "mistral-7b", "q4_0", prompt=lengths, gen=0).prefill
    assert together
    for index, length in enumerate(lengths):
        alone = roofline.predict("xeon-8480", "mistral-7b", "q4_0", prompt=float(length), gen=0).prefill
        assert alone and together.seconds[index] == pytest.approx(alone.seconds, rel=1e-12)  # type: ignore[index]


@SETTINGS
@given(COMBINATIONS, st.integers(min_value=0, max_value=50_000), st.integers(min_value=1, max_value=50_000))
def test_a_longer_context_is_never_faster(combination: tuple[tuple[str, str], str, str], depth: int, more: int) -> None:
    near, far = point(combination, depth=depth), point(combination, depth=depth + more)
    for one, two in zip(phases(near), phases(far), strict=True):
        assert two.seconds >= one.seconds * (1 - 1e-9)
        assert two.ceiling_tok_s <= one.ceiling_tok_s * (1 + 1e-9)
        assert two.flops >= one.flops * (1 - 1e-9) and two.kv_bytes >= one.kv_bytes * (1 - 1e-9)
    assert far.memory.total >= near.memory.total


@SETTINGS
@given(
    st.sampled_from(MACHINES),
    st.sampled_from(MODELS),
    st.sampled_from([("q4_0", "q8_0"), ("q8_0", "f16"), ("int4", "int8")]),
)
def test_fewer_bits_are_never_more_bytes(where: tuple[str, str], name: str, quants: tuple[str, str]) -> None:
    narrow, wide = (point((where, name, quant)) for quant in quants)
    assert narrow.decode and wide.decode
    assert narrow.memory.weights < wide.memory.weights
    assert narrow.decode.weight_bytes < wide.decode.weight_bytes
    assert narrow.decode.flops == pytest.approx(float(wide.decode.flops))
    assert narrow.decode.ceiling_tok_s >= wide.decode.ceiling_tok_s * (1 - 1e-9)


@SETTINGS
@given(COMBINATIONS, st.floats(min_value=1.01, max_value=8))
def test_a_faster_memory_is_never_slower(combination: tuple[tuple[str, str], str, str], factor: float) -> None:
    (hw, _), _, _ = combination
    before = point(combination)
    rate = before.machine.hardware.memory.theoretical_bandwidth * factor
    after = point(combination, set={"memory.bandwidth": f"{rate} B/s"})
    for one, two in zip(phases(before), phases(after), strict=True):
        assert two.seconds <= one.seconds * (1 + 1e-9), hw
        assert two.ceiling_tok_s >= one.ceiling_tok_s * (1 - 1e-9)
        assert two.seconds >= one.seconds / factor * (1 - 1e-9), "memory that is f times faster helps at most f times"


@SETTINGS
@given(COMBINATIONS, st.integers(min_value=1, max_value=64), st.integers(min_value=1, max_value=64))
def test_more_sequences_share_the_weights(combination: tuple[tuple[str, str], str, str], batch: int, more: int) -> None:
    few, many = (point(combination, prompt=0, depth=100, batch=count).decode for count in (batch, batch + more))
    assert few and many
    # An engine that reads experts for each token up to some width gets faster beyond it, and so does one whose kernel
    # for few columns was fitted to be less than half as fast a token as the one for many (a Pi 4 at two sequences).
    engine = point(combination).machine.engine
    if engine.rereads_experts == 1 and not batch <= engine.few_columns < batch + more:
        assert many.seconds >= few.seconds * (1 - 1e-9)
    assert many.weight_bytes >= few.weight_bytes * (1 - 1e-9)
    assert many.weight_bytes / many.step.tokens <= few.weight_bytes / few.step.tokens * (1 + 1e-9)
    assert many.ceiling_tok_s >= few.ceiling_tok_s * (1 - 1e-9)


@SETTINGS
@given(COMBINATIONS, st.integers(min_value=1, max_value=6))
def test_a_prompt_in_parts_is_the_whole_prompt(combination: tuple[tuple[str, str], str, str], parts: int) -> None:
    # 512 tokens a pass in both cases: the same passes, one after the other.
    whole = point(combination, prompt=512 * parts, gen=0, ubatch=512).prefill
    pieces = [point(combination, prompt=512, depth=512 * part, gen=0, ubatch=512).prefill for part in range(parts)]
    assert whole
    assert whole.flops == pytest.approx(sum(float(piece.flops) for piece in pieces if piece))
    assert whole.weight_bytes == pytest.approx(sum(float(piece.weight_bytes) for piece in pieces if piece))
    assert whole.kv_bytes == pytest.approx(sum(float(piece.kv_bytes) for piece in pieces if piece))


@SETTINGS
@given(COMBINATIONS, st.integers(min_value=0, max_value=5000))
def test_a_generation_is_its_tokens_one_after_the_other(
    combination: tuple[tuple[str, str], str, str], depth: int
) -> None:
    whole = point(combination, prompt=0, depth=depth, gen=4).decode
    tokens = [point(combination, prompt=0, depth=depth + past, gen=1).decode for past in range(4)]
    assert whole
    assert whole.flops == pytest.approx(sum(float(token.flops) for token in tokens if token))
    assert whole.kv_bytes == pytest.approx(sum(float(token.kv_bytes) for token in tokens if token))
    # The mean of a rounded corner is not the corner of the mean; over four tokens nobody sees it.
    assert whole.seconds == pytest.approx(sum(float(token.seconds) for token in tokens if token), rel=1e-3)


@given(st.sampled_from(["rpi5", "ryzen-7950x", "tr-7995wx", "m2-ultra-76"]), st.integers(min_value=1, max_value=3))
@settings(max_examples=12)
def test_more_threads_never_read_slower_from_memory(hw: str, threads: int) -> None:
    few, many = (
        roofline.predict(hw, "mistral-7b", "q4_0", backend="cpu", threads=count) for count in (threads, threads + 1)
    )
    assert many.machine.sustained_bandwidth >= few.machine.sustained_bandwidth
    assert many.decode and few.decode and many.decode.tok_s > few.decode.tok_s


def test_an_expert_that_is_not_used_is_not_read() -> None:
    # Mixtral 8x7B uses 2 of 8 experts a token: 12.9 of 46.7 billion weights, of which 2 × 32000 × 4096 are embeddings.
    result = roofline.predict("a100-pcie-80", "mixtral-8x7b", "int8", gen=1, prompt=0)
    assert result.decode
    assert result.decode.weight_bytes == pytest.approx(12.75e9, rel=0.01)
    assert result.memory.weights == pytest.approx(46.7e9, rel=0.01)
    batch = roofline.predict("a100-pcie-80", "mixtral-8x7b", "int8", gen=1, prompt=0, batch=256).decode
    assert batch and batch.weight_bytes == pytest.approx(46.6e9, rel=0.01), "256 tokens touch all of them"
