"""The worked problems of docs/explanation/: expected values as derived there, from published figures."""

from dataclasses import replace

import pytest

import roofline
from roofline.calculator import run
from roofline.catalog import load_model
from roofline.explain import compute_bound_batch
from roofline.memory import kv_cache_bytes
from roofline.prediction import Prediction

KIB, MIB = 2**10, 2**20
SHAPES = {  # layers, hidden, MLP width (Touvron 2023, arXiv 2302.13971, table 2; transformers' LLaMA configuration)
    "llama-1-7b": (32, 4096, 11008),
    "llama-1-65b": (80, 8192, 22016),
}
VOCAB = 32000
BANDWIDTH = {"a100-pcie-80": 1935e9, "m1-8gpu": 68.25e9, "m2-max-38": 400e9}  # as the article has them


def one_token(hw: str, model: str, quant: str, batch: float = 1) -> Prediction:
    """One decoded token without a prompt, at the bandwidth that the article states for the device."""
    stated = {"memory.bandwidth": f"{BANDWIDTH[hw] / 1e9} GB/s"}
    return roofline.predict(hw=hw, model=model, quant=quant, prompt=0, gen=1, batch=batch, set=stated)


def light(prediction: Prediction) -> float:
    """Speed of light of decode [tok/s], whether or not the model fits."""
    assert prediction.decode is not None
    return float(prediction.decode.ceiling_tok_s)


def matrix_weights(model: str) -> int:
    """Weights of all matrices that a token passes: four of attention, three of the MLP, and the output head."""
    layers, hidden, width = SHAPES[model]
    return layers * (4 * hidden**2 + 3 * hidden * width) + VOCAB * hidden


# -- LLaMA on an A100 and on Macs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hw", "model", "nominal", "low", "high"),
    [
        # bandwidth / (one byte a parameter · the round number in the model's name)
        ("a100-pcie-80", "llama-1-65b", 65e9, 29.7, 29.8),
        ("a100-pcie-80", "llama-1-7b", 7e9, 276, 277),
        ("m1-8gpu", "llama-1-65b", 65e9, 1.045, 1.055),
        ("m1-8gpu", "llama-1-7b", 7e9, 9.75, 10.0),
        ("m2-max-38", "llama-1-65b", 65e9, 6.145, 6.155),
    ],
)
def test_one_byte_per_parameter(hw: str, model: str, nominal: float, low: float, high: float) -> None:
    assert low <= BANDWIDTH[hw] / nominal <= high  # the published figure

    prediction = one_token(hw, model, "int8")
    assert prediction.machine.theoretical_bandwidth == pytest.approx(BANDWIDTH[hw])
    # Counted from the shape: the matrices, the embedding, and a norm before each half of a layer and before the head.
    layers, hidden, _ = SHAPES[model]
    parameters = matrix_weights(model) + VOCAB * hidden + (2 * layers + 1) * hidden
    assert prediction.model.parameter_count == parameters
    assert parameters == pytest.approx(nominal, rel=0.04)  # "7B" has 6.74e9

    # The embedding is untied: one row of it is read, so light is faster than bandwidth / parameters by its share.
    read = matrix_weights(model)
    assert light(prediction) == pytest.approx(BANDWIDTH[hw] / read, rel=1e-3)
    assert light(prediction) / (BANDWIDTH[hw] / parameters) == pytest.approx(parameters / read, rel=1e-3)


@pytest.mark.parametrize("model", SHAPES)
def test_int4_is_twice_int8_and_q4_0_is_less(model: str) -> None:
    speeds = {quant: light(one_token("a100-pcie-80", model, quant)) for quant in ("int8", "int4", "q4_0")}
    assert speeds["int4"] / speeds["int8"] == pytest.approx(2, rel=2e-3)  # half a byte for a whole one

    # q4_0: 18 bytes for 32 weights; the output head in q6_k, 210 bytes for 256 weights.
    head = VOCAB * SHAPES[model][1]
    size = (matrix_weights(model) - head) * 18 / 32 + head * 210 / 256
    assert speeds["q4_0"] == pytest.approx(1935e9 / size, rel=2e-3)
    assert 1.7 < speeds["q4_0"] / speeds["int8"] < 8 / 4.5


def test_fp16_decode_turns_compute_bound_at_161() -> None:
    # Ridge point 312e12 / 1935e9 = 161.2 FLOP/B; f16 decode does 2 FLOP a weight and sequence for 2 B a weight.
    for model in SHAPES:
        assert int(compute_bound_batch(one_token("a100-pcie-80", model, "f16"))) == 161


def test_the_batch_follows_bits_and_peak() -> None:
    # b/16 · peak / bandwidth: int8 halves the bytes and doubles the peak (624e12), int4 has no peak of its own.
    batch = {quant: compute_bound_batch(one_token("a100-pcie-80", "llama-1-7b", quant)) for quant in ("int8", "int4")}
    assert batch["int8"] == pytest.approx(8 / 16 * 624e12 / 1935e9, rel=2e-3)
    assert batch["int4"] == pytest.approx(4 / 16 * 624e12 / 1935e9, rel=2e-3)


def test_sequences_are_free_below_that_batch_and_cost_above() -> None:
    def speed(batch: float) -> float:
        prediction = one_token("a100-pcie-80", "llama-1-7b", "f16")
        workload = replace(prediction.workload, batch=batch)
        machine, step = prediction.machine, workload.decode(512)
        return float(run(prediction.model, prediction.weights, machine, workload, step).ceiling_tok_s)

    assert speed(64) / speed(1) == pytest.approx(64, rel=0.01)  # less than 64 by the cache of one position each
    # 2 FLOP a weight, and 4 · layers · hidden for the one position attended to: below 0.02 % here.
    assert speed(512) == pytest.approx(312e12 / (2 * matrix_weights("llama-1-7b")), rel=1e-3)
    assert speed(256) == pytest.approx(speed(512), rel=1e-6)


# -- the KV cache ------------------------------------------------------------------------------------------------------


def test_kv_cache_of_llama_13b_at_512_tokens() -> None:
    # 2 (K and V) · 40 layers · 5120 elements · 2 bytes · 512 positions = 419,430,400 B
    prediction = roofline.predict(hw="a100-pcie-80", model="llama-1-13b", quant="f16", prompt=384, gen=128)
    assert prediction.memory.kv_cache == 400 * MIB


@pytest.mark.parametrize(
    ("model", "kib"),
    [
        ("llama-1-65b", 2560),  # 2 · 80 · 8192 · 2 B
        ("llama-1-13b", 800),  # 2 · 40 · 5120 · 2 B
        ("llama-1-7b", 512),  # 2 · 32 · 4096 · 2 B
        ("mistral-7b", 128),  # 8 of 32 heads: 2 · 32 · 1024 · 2 B
    ],
)
def test_kv_cache_per_token(model: str, kib: int) -> None:
    assert load_model(model).spec.kv_bytes_per_position() == kib * KIB


def test_cache_types_and_context_scale_the_cache() -> None:
    base = roofline.predict(hw="a100-pcie-80", model="llama-1-13b", quant="q4_0", prompt=384, gen=128)
    sizes = {
        kind: kv_cache_bytes(base.model, base.machine, replace(base.workload, kv_types=(kind, kind)))
        for kind in ("f16", "q8_0", "q4_0")
    }
    assert sizes["q8_0"] / sizes["f16"] == 8.5 / 16
    assert sizes["q4_0"] / sizes["f16"] == 4.5 / 16
    # Held in steps of 256 positions: 513 need 768.
    assert kv_cache_bytes(base.model, base.machine, replace(base.workload, gen=129.0)) == 600 * MIB


# -- Raspberry Pi ------------------------------------------------------------------------------------------------------


def test_mistral_on_a_raspberry_pi_5() -> None:
    prediction = roofline.predict(hw="rpi5", model="mistral-7b", quant="q4_0")
    decode = prediction.decode
    assert decode is not None
    # A layer has 2 · 4096² (q, output), 2 · 4096 · 1024 (k, v) and 3 · 4096 · 14336 (MLP) weights at 18 bytes for 32;
    # the head 32000 · 4096 at 210 for 256; 65 norms of 4096 at 4; one row of the embedding at 18 for 32.
    layers = 32 * (2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14336) * 18 / 32
    a_token = layers + 32000 * 4096 * 210 / 256 + 65 * 4096 * 4 + 4096 * 18 / 32
    assert a_token == 4_034_455_808
    assert decode.weight_bytes / 128 == a_token

    assert 2.3 <= decode.tok_s <= 2.9
    assert decode.bound == "memory"
    assert decode.tok_s < decode.ceiling_tok_s < 17.1e9 / a_token  # the cache is read too


def test_the_8_gb_board_holds_it_and_the_4_gb_board_does_not() -> None:
    fits = {
        hw: roofline.predict(hw=hw, model="mistral-7b", quant="q4_0").memory.fits
        for hw in ("rpi5", "rpi5-8gb", "rpi5-4gb")
    }
    assert fits == {"rpi5": True, "rpi5-8gb": True, "rpi5-4gb": False}


def memory_only(prediction: Prediction) -> float:
    """Decode speed if arithmetic and barriers were free, at the bandwidth the machine sustains [tok/s]."""
    assert prediction.decode is not None
    moved = prediction.decode.weight_bytes + prediction.decode.kv_bytes
    return float(prediction.decode.step.tokens / (moved / prediction.machine.sustained_bandwidth))


@pytest.mark.parametrize("quant", ["f16", "q8_0"])
def test_tinyllama_on_a_raspberry_pi_4_is_not_only_memory(quant: str) -> None:
    prediction = roofline.predict(hw="rpi4", model="tinyllama-1.1b", quant=quant)
    decode = prediction.decode
    assert decode is not None
    arithmetic = sum(float(cost.compute_seconds) for cost in decode.operators)
    # A Cortex-A72 has neither int8 dot products nor fp16 arithmetic: both types are widened before they are multiplied.
    assert arithmetic / decode.seconds >= 0.3
    assert memory_only(prediction) >= 1.2 * decode.tok_s


def test_fewer_bits_stop_paying_on_a_raspberry_pi_4() -> None:
    speeds, bandwidth_says = {}, {}
    for quant in ("q8_0", "q4_0"):
        prediction = roofline.predict(hw="rpi4", model="tinyllama-1.1b", quant=quant)
        assert prediction.decode is not None
        speeds[quant], bandwidth_says[quant] = float(prediction.decode.tok_s), memory_only(prediction)
    promised = bandwidth_says["q4_0"] / bandwidth_says["q8_0"]
    assert 1.7 < promised < 8.5 / 4.5
    assert 1 < speeds["q4_0"] / speeds["q8_0"] < 0.9 * promised


# -- many cores --------------------------------------------------------------------------------------------------------


def threadripper(threads: int | None = None) -> Prediction:
    return roofline.predict(
        hw="tr-7995wx", model="tinyllama-1.1b", quant="q8_0", runtime="llamafile-0.7", threads=threads
    )


def test_tinyllama_on_96_cores_is_bound_by_overhead() -> None:
    prediction = threadripper()
    decode = prediction.decode
    assert decode is not None
    assert prediction.machine.threads == 96
    assert decode.bound == "overhead"

    # 22 layers of 2 · 2048², 2 · 2048 · 256, 3 · 2048 · 5632, and the head 32000 · 2048, at 34 bytes for 32 weights;
    # 45 norms of 2048 at 4; one row of the embedding.
    a_token = (22 * (2 * 2048**2 + 2 * 2048 * 256 + 3 * 2048 * 5632) + 32000 * 2048 + 2048) * 34 / 32 + 45 * 2048 * 4
    assert decode.weight_bytes / 128 == a_token
    assert prediction.machine.theoretical_bandwidth == pytest.approx(8 * 8 * 5200e6)  # eight channels of DDR5-5200
    promised = 8 * 8 * 5200e6 / a_token
    assert promised == pytest.approx(303, abs=1)
    assert 4 <= promised / decode.tok_s <= 6.5


def test_fewer_threads_would_be_faster() -> None:
    speeds = {}
    for threads in (16, 24, 32, 48, 96):
        decode = threadripper(threads).decode
        assert decode is not None
        speeds[threads] = float(decode.tok_s)
    assert max(speeds.values()) > 1.2 * speeds[96]


def test_the_prompt_uses_all_cores() -> None:
    few, many = threadripper(24).prefill, threadripper(96).prefill
    assert few is not None and many is not None
    assert many.tok_s > 1.5 * few.tok_s
