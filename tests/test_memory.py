"""The memory bill: published cache sizes, what fits, and ways out that are ways out."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import roofline
from roofline import catalog
from roofline.buffers import compute_terms
from roofline.inverse import Setting
from roofline.itemised import bill_lines, kv_lines, weights_by_tensor_group
from roofline.memory import bill, compute_buffer_bytes, kv_cache_bytes, padded_context, stacked
from roofline.parts import Part, device_parts
from roofline.placement import Placement
from roofline.points import larger_devices
from roofline.prediction import Prediction
from roofline.spec import SpecError
from roofline.ways_out import QUANTS, WayOut, ways_out
from roofline.weights import weigh
from roofline.workload import Workload
from tests.small import CPU, GPU, machine, model

MIB = 2**20
GIB = 2.0**30  # what makers call a GB of memory


def cache(name: str, context: int, kv: tuple[str, str] = ("f16", "f16"), batch: float = 1) -> float:
    engine = roofline.predict("rtx-4090", name, "q4_0").machine
    work = Workload(prompt=0, gen=0, context=context, kv_types=kv, batch=batch)
    return float(kv_cache_bytes(catalog.load_model(name).spec, engine, work))


# -- items ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "context", "mib"),
    [
        ("llama-1-13b", 512, 400),  # llama.cpp's README of 2023: "kv self size = 400.00 MB"; 2 · 40 · 5120 · 512 · 2 B
        ("llama-1-65b", 512, 1280),  # 2 · 80 · 8192 · 2 B = 2560 KiB a token
        ("llama-2-7b", 4096, 2048),  # 2 · 32 · 4096 · 4096 · 2 B
        ("mistral-7b", 4096, 512),  # 2 · 32 · 1024 · 4096 · 2 B: a quarter, by 8 of 32 KV heads
        ("llama-3.1-70b", 8192, 2560),  # 2 · 80 · 1024 · 8192 · 2 B
    ],
)
def test_published_cache_sizes(name: str, context: int, mib: int) -> None:
    assert cache(name, context) == mib * MIB


def test_a_cache_of_other_types_and_of_several_sequences() -> None:
    # q8_0 takes 34 bytes for 32 elements, q4_0 takes 18, f16 takes 64.
    full = cache("llama-2-7b", 4096)
    assert cache("llama-2-7b", 4096, ("q8_0", "q8_0")) == full * 34 / 64
    assert cache("llama-2-7b", 4096, ("q8_0", "q4_0")) == full * (34 + 18) / 128
    assert cache("llama-2-7b", 4096, ("f32", "f32")) == 2 * full
    assert cache("llama-2-7b", 4096, batch=8) == 8 * full


def test_layers_with_a_window_hold_their_window_and_a_batch() -> None:
    # Gemma 3 4B: 34 layers of 4 KV heads × 256, one in six global, the others with a window of 1024. In 32768 positions
    # the global ones hold all, the others 1024 + 512 rounded up to a multiple of 256.
    spec = catalog.load_model("gemma-3-4b").spec
    counts = {group.layer.attention.window: len(group.indices) for group in spec.groups if group.layer.attention}
    assert counts == {None: 5, 1024: 29}
    row = 2 * 4 * 256 * 2
    assert cache("gemma-3-4b", 32768) == row * (5 * 32768 + 29 * 1536)
    assert cache("gemma-3-4b", 512) == row * 34 * 512, "a short context is held whole"


def test_a_recurrent_state_does_not_grow_with_the_context() -> None:
    short, long = (cache("nemotron-3-super-120b-a12b", context) for context in (4096, 8192))
    spec = catalog.load_model("nemotron-3-super-120b-a12b").spec
    assert long - short == 4096 * spec.kv_bytes_per_position()
    state = sum(len(g.indices) * g.layer.state_space.state_elements * 4 for g in spec.groups if g.layer.state_space)
    assert short == 4096 * spec.kv_bytes_per_position() + state
    assert state > 0


@given(st.integers(min_value=1, max_value=200_000))
def test_the_context_is_padded_to_steps(positions: int) -> None:
    padded = padded_context(machine(GPU), Workload(prompt=float(positions), gen=0))
    assert padded % 256 == 0 and 0 <= padded - positions < 256


def test_the_context_is_what_the_tokens_need_unless_it_is_given() -> None:
    card = machine(GPU)
    assert padded_context(card, Workload(prompt=500, gen=200, depth=300)) == 1024
    assert padded_context(card, Workload(prompt=500, gen=200, depth=300, context=4096)) == 4096


def test_the_compute_buffer_of_the_tiny_model() -> None:
    # One ubatch of 512 tokens, in f32: 128 logits and a vector of 64; two FFN vectors of 96 and two of 64; four vectors
    # of 64 around attention and a mask of 768 positions in f16. Without flash attention 4 heads' scores against 1024
    # positions, and the mask in f32.
    card, shape = machine(GPU), model()
    work = Workload(prompt=512)
    assert compute_terms(shape, card, work) == {
        "logits": 512 * (128 + 64) * 4,
        "FFN": 512 * (2 * 96 + 2 * 64) * 4,
        "attention": 512 * (4 * 64 * 4 + 768 * 2),
    }
    assert compute_buffer_bytes(shape, card, work) == 512 * (4 * 64 * 4 + 768 * 2)
    plain = Workload(prompt=512, context=1024, flash_attention=False)
    assert compute_buffer_bytes(shape, card, plain) == 512 * ((4 + 1) * 1024 + 4 * 64) * 4
    assert compute_buffer_bytes(shape, card, Workload(ubatch=64)) == 64 * (4 * 64 * 4 + 768 * 2)
    assert set(compute_terms(shape, card, work, Part(range(1), output=False, embedding=False))) == {"FFN", "attention"}


@pytest.mark.parametrize(
    ("name", "context", "flash", "mib"),
    [
        # "CUDA0 compute buffer size" in logs of llama.cpp with a ubatch of 512: fedora-copr/logdetective pull request
        # 106 (Mistral 7B v0.2, January 2025), and a server of Llama 3.1 8B of 2026, which printed 258.48.
        ("mistral-7b", 2048, False, 164.0),
        ("mistral-7b", 32768, False, 2144.0),
        ("llama-3.1-8b", 13312, True, 258.5),
    ],
)
def test_published_compute_buffers(name: str, context: int, flash: bool, mib: float) -> None:
    found = roofline.predict("rtx-4090", name, "q4_0", context=context, flash_attention=flash).memory
    assert found.compute == pytest.approx(mib * MIB, rel=1e-3)


def test_scores_meet_the_caches_of_all_sequences_where_they_share_one() -> None:
    shape, work = model(), Workload(prompt=512, context=1024, flash_attention=False, batch=3)
    alone, shared = machine(GPU), machine(GPU, engine={"backends.cuda.shared_cache": True})
    assert compute_buffer_bytes(shape, alone, work) == 512 * (5 * 1024 + 4 * 64) * 4
    assert compute_buffer_bytes(shape, shared, work) == 512 * (5 * 3 * 1024 + 4 * 64) * 4


# -- the sum ----------------------------------------------------------------------------------------------------------


def bill_of(table: dict[str, Any], work: Workload, **changes: Any) -> Any:
    shape = model()
    return bill(shape, weigh(shape, "f16"), machine(table, **changes), work)


def test_the_bill_adds_up_and_is_compared_with_what_may_be_used() -> None:
    found = bill_of(CPU, Workload())
    # 2 · (61 440 + 128 · 64 · 2) B of matrices, and 5 norms of 64 in f32; of modules of 16 · 2³⁰ B the runtime
    # leaves 10⁹ B to the system. No instruction set of this engine repacks.
    assert found.weights == 2 * (61_440 + 2 * 8192) + 5 * 64 * 4
    assert found.context == 1e6
    assert found.total == found.weights + found.kv_cache + found.compute + found.context
    assert (found.capacity, found.usable, found.fits, found.assumed_capacity) == (16 * GIB, 16 * GIB - 1e9, True, False)
    assert found.margin == 16 * GIB - 1e9 - found.total


def test_it_fits_exactly_or_not_at_all() -> None:
    need = float(bill_of(GPU, Workload()).total)
    assert bill_of(GPU, Workload(), device={"memory.capacity": f"{need} B"}).fits is True
    tight = bill_of(GPU, Workload(), device={"memory.capacity": f"{need - 1} B"})
    assert tight.fits is False
    assert tight.margin == pytest.approx(-1)


def test_several_devices_hold_more() -> None:
    two = bill_of(GPU, Workload(), device={"count": 2})
    assert two.capacity == 2 * GIB
    assert two.context == 2e6, "each card has a context of its own"
    assert two.total == sum(one.total for one in two.devices)
    assert two.margin == min(one.margin for one in two.devices)


@pytest.mark.parametrize(("layers", "count"), [(80, 2), (80, 3), (32, 4), (2, 2), (1, 3), (61, 8)])
def test_layers_come_in_whole_numbers_and_the_output_with_the_last(layers: int, count: int) -> None:
    """llama-model.cpp: slot i of the layers and the output goes to the first device with share (d + 1)/n > i/slots."""
    shape = model({"layers": layers})
    parts = device_parts(shape, machine(GPU, device={"count": count}))
    splits = [(device + 1) / count for device in range(count)]
    expected = [next(d for d in range(count) if splits[d] > slot / (layers + 1)) for slot in range(layers + 1)]
    assert [len(part.layers) for part in parts] == [expected[:-1].count(device) for device in range(count)]
    assert [part.output for part in parts] == [device == expected[-1] for device in range(count)]


def test_two_cards_for_81_slots_have_41_layers_and_39_with_the_output() -> None:
    found = roofline.predict("rtx-3090x2", "llama-3.3-70b", "q4_k_m", context=32768, kv="q8_0").memory
    first, last = found.devices
    # 2 · 1024 elements of 34/32 B a layer and position.
    row = 32768 * 2048 * 34 / 32
    assert float(first.kv_cache) == pytest.approx(41 * row)
    assert float(last.kv_cache) == pytest.approx(39 * row)
    # Only the last makes logits: 512 tokens of 128256 and 8192 values against 2 · 28672 + 2 · 8192 of the FFN.
    assert (first.compute, last.compute) == (512 * 73728 * 4, 512 * 136448 * 4)
    assert first.context == last.context > 0
    # Of a layer's weights 41/80 lie on the first; the file holds 563 MiB of token embedding besides.
    assert first.weights + last.weights == pytest.approx(
        roofline.predict("epyc-9654", "llama-3.3-70b", "q4_k_m").memory.weights - 128256 * 8192 * 4.5 / 8
    )


def test_the_fullest_device_decides() -> None:
    """Together there is room enough, but the first card has more than half of the layers."""
    shape, work = model({"layers": 2}), Workload()
    weights = weigh(shape, "f16")
    alone = bill(shape, weights, machine(GPU, device={"count": 2}), work)
    need = float(max(one.total for one in alone.devices))
    room = {"count": 2, "memory.capacity": f"{need - 1} B"}
    tight = bill(shape, weights, machine(GPU, device=room), work)
    assert tight.usable is not None
    assert tight.total < tight.usable
    assert tight.fits is False
    assert bill(shape, weights, machine(GPU, device=room | {"memory.capacity": f"{need} B"}), work).fits is True


def test_several_quantisations_have_the_bills_of_each() -> None:
    shape, work = model(), Workload(depth=np.array([0.0, 1e5]))
    names = ("f16", "q8_0", "q4_0")
    for count in (1, 2):
        cards = machine(GPU, device={"count": count})
        each = [bill(shape, weigh(shape, name), cards, work) for name in names]
        together = stacked(each[0], each, (3, 1))
        assert np.array_equal(np.asarray(together.fits), [np.asarray(one.fits) for one in each])
        assert np.array_equal(together.total, np.array([one.total for one in each]))
        assert np.array_equal(np.asarray(together.margin), np.array([one.margin for one in each]))


def test_a_machine_whose_owner_chooses_the_memory() -> None:
    unknown = bill_of(CPU, Workload(), device={"memory.capacity": None})
    assert (unknown.capacity, unknown.usable, unknown.margin, unknown.fits) == (None, None, None, True)
    most = bill_of(CPU, Workload(), device={"memory.capacity": None, "memory.limit": "64 GB", "cpu.sockets": 2})
    assert (most.capacity, most.assumed_capacity) == (128 * GIB, True), "each socket has its own slots"


def test_an_array_of_contexts_fits_element_by_element() -> None:
    depths = np.array([0.0, 1e6])
    found = roofline.predict("rtx-4090", "mistral-7b", "q4_0", depth=depths).memory
    assert list(np.asarray(found.fits)) == [True, False]
    open_end = bill_of(CPU, Workload(depth=depths), device={"memory.capacity": None})
    assert list(np.asarray(open_end.fits)) == [True, True]


@given(
    st.integers(min_value=0, max_value=100_000),
    st.integers(min_value=1, max_value=100_000),
    st.integers(min_value=1, max_value=8),
)
def test_more_tokens_never_need_less(depth: int, more: int, batch: int) -> None:
    one, two = bill_of(GPU, Workload(depth=depth)), bill_of(GPU, Workload(depth=depth + more, batch=batch))
    assert two.total >= one.total
    assert one.weights == two.weights


# -- ways out ---------------------------------------------------------------------------------------------------------


def carried_out(asked: dict[str, Any], way: WayOut) -> Prediction:
    """The prediction after the change that a way out proposes, as a user would type it."""
    changed, typed = dict(asked), way.option.split()
    for option, value in zip(typed[::2], typed[1::2], strict=True):
        if option == "--set":
            field, _, text = value.partition("=")
            changed["set"] = {field: text}
        elif option in ("--ctx", "--gpu-layers", "--batch"):
            changed[{"--ctx": "context", "--gpu-layers": "gpu_layers", "--batch": "batch"}[option]] = int(value)
        else:
            changed[option.removeprefix("--").replace("-", "_")] = value
    for dropped in ("split", "numa", "tensor-split"):
        if f"without --{dropped}" in way.kind or f"and --{dropped}" in way.kind:
            del changed[dropped.replace("-", "_")]
    if "tensors on the host" in way.kind:
        del changed["overrides"]
    if "--hw" in typed:
        changed.pop("set", None)  # figures of the other one
    return roofline.predict(**changed)


@pytest.mark.parametrize(
    "asked",
    [
        {"hw": "rpi5-4gb", "model": "mistral-7b", "quant": "q4_0"},
        {"hw": "rpi5", "model": "llama-2-13b", "quant": "q8_0"},
        {"hw": "rtx-4090", "model": "llama-3.1-8b", "quant": "f16", "context": 131_072},
        {"hw": "rtx-4090", "model": "llama-3.1-8b", "quant": "q8_0", "depth": 131_000},
        {"hw": "rtx-4090", "model": "llama-2-7b", "quant": "q4_0", "context": 50_000, "runtime": "llama.cpp-2024-06"},
        {"hw": "rtx-4090", "model": "llama-2-7b", "quant": "q4_0", "context": 50_000, "runtime": "llama.cpp-2023-11"},
        {"hw": "m2-10gpu", "model": "mixtral-8x7b", "quant": "q4_k_m"},
        {"hw": "rtx-3090x2", "model": "llama-3.1-70b", "quant": "q8_0"},
        {"hw": "rtx-4090", "model": "llama-3.1-405b", "quant": "q4_k_m"},
        {"hw": "rtx-3090+ryzen-7950x", "model": "llama-3.1-405b", "quant": "q4_k_m", "context": 8192},
        {"hw": "rtx-3090+ryzen-7950x", "model": "llama-3.3-70b", "quant": "q4_k_m", "gpu_layers": 60},
        {"hw": "rtx-4090+rpi5", "model": "llama-3.1-8b", "quant": "f16", "gpu_layers": 10},
        {"hw": "rtx-4090+rtx-3090", "model": "llama-3.3-70b", "quant": "q4_k_m", "tensor_split": "1,3"},
        {"hw": "rtx-3090x2", "model": "llama-3.1-8b", "quant": "q4_k_m", "batch": 1000, "split": "tensor"},
        {
            "hw": "2x-e5-2650v4",
            "model": "llama-3.3-70b",
            "quant": "f16",
            "numa": "mirror",
            "set": {"memory.capacity": "256GB"},
        },
        {"hw": "rtx-4090+ryzen-7950x", "model": "qwen3-235b-a22b", "quant": "q4_k_m", "overrides": ["_exps"]},
    ],
    ids=lambda asked: " ".join(str(value) for key, value in asked.items() if key not in ("quant", "set")),
)
def test_every_way_out_can_be_gone(asked: dict[str, Any]) -> None:
    result = roofline.predict(**asked)
    assert result.memory.fits is False
    found = ways_out(result, larger_devices(result))
    assert len({way.kind for way in found}) == len(found)
    for way in found:
        after = carried_out(asked, way)
        assert after.memory.fits is True, way
        assert float(after.memory.total) == pytest.approx(way.total_bytes)
        assert after.memory.usable == pytest.approx(way.capacity_bytes)
        assert re.fullmatch(r"[^\n]+: --[\w-]+ [^()]+ \(.* of .* usable\)", str(way))
        assert "layers on the GPU" not in way.kind or "gpu_layers" in asked
        if way.option.startswith("--ctx"):
            assert int(way.option.split()[1]) >= result.workload.positions, "the tokens still have to be held"


@pytest.mark.parametrize(
    ("asked", "kind", "option"),
    [
        (
            {"hw": "rtx-4090+rpi5", "model": "llama-3.1-8b", "gpu_layers": 10},
            "more layers on the GPU",
            "--gpu-layers 33",
        ),
        (
            {"hw": "rtx-4090+rtx-3090", "model": "llama-2-13b", "context": 4096, "tensor_split": "1,9"},
            "layers by the devices' memory",
            "1,1",
        ),
        ({"hw": "rtx-4090", "model": "llama-3.1-8b", "batch": 400}, "fewer sequences at a time", "--batch"),
        (
            {"hw": "2x-e5-2650v4", "model": "llama-3.1-8b", "numa": "mirror", "set": {"memory.capacity": "24GB"}},
            "one copy of the weights",
            "--numa interleave",
        ),
    ],
)
def test_what_was_asked_too_much_is_a_way_out(asked: dict[str, Any], kind: str, option: str) -> None:
    result = roofline.predict(quant="f16", **asked)
    assert result.memory.fits is False
    options = {way.kind: way for way in ways_out(result)}
    assert option in options[kind].option
    if "batch" in asked:
        most = int(options[kind].option.split()[1])
        assert not roofline.predict(quant="f16", **asked | {"batch": most + 1}).memory.fits


def test_the_smallest_change_of_each_kind_is_named() -> None:
    result = roofline.predict("rpi5-4gb", "mistral-7b", "q4_0")
    options = {way.kind: way.option for way in ways_out(result, larger_devices(result))}
    assert options["the same device with more memory"] == "--set memory.capacity=8GB"
    # The next larger one of the list does not fit: it is the least change.
    quant = options["smaller quantisation"].removeprefix("--quant ")
    assert roofline.predict("rpi5-4gb", "mistral-7b", quant).memory.fits is True
    assert roofline.predict("rpi5-4gb", "mistral-7b", QUANTS[QUANTS.index(quant) - 1]).memory.fits is False


def test_what_fits_needs_no_way_out_and_a_giant_has_none_on_a_small_board() -> None:
    giant = roofline.predict("rpi5-4gb", "llama-3.1-405b", "q4_k_m")
    assert giant.memory.fits is False
    assert [way.kind for way in ways_out(giant)] == []
    with pytest.raises(SpecError, match=r"memory\.options"):
        roofline.predict("rpi5-400gb", "llama-3.1-405b", "q4_k_m")


# -- where weights lie ------------------------------------------------------------------------------------------------


def test_a_card_leaves_the_token_embedding_on_its_host() -> None:
    """Llama 3.2 3B in q4_k_m, tied: llama.cpp prints "CPU_Mapped 308.24 MiB" and "CUDA0 1918.36 MiB": both hold it.

    Qwen3 4B, likewise: 304.28 and 2375.91 MiB (logs of 2026). Llama 3.1 8B is not tied: 128256 · 4096 · 4.5 bit less.
    """
    tied = roofline.predict("rtx-4090", "llama-3.2-3b", "q4_k_m").memory
    assert tied.host_weights == pytest.approx(308.24 * MIB, rel=1e-4)
    assert tied.weights == pytest.approx(1918.36 * MIB, rel=1e-3)
    other = roofline.predict("rtx-4090", "qwen3-4b", "q4_k_m").memory
    assert other.host_weights == pytest.approx(304.28 * MIB, rel=1e-3)
    assert other.weights == pytest.approx(2375.91 * MIB, rel=1e-3)
    card, chip, box = (
        roofline.predict(hw, "llama-3.1-8b", "q4_0").memory for hw in ("rtx-4090", "m2-ultra-76", "rpi5")
    )
    assert card.host_weights == 128256 * 4096 * 4.5 / 8
    assert card.weights + card.host_weights == chip.weights == box.weights, "the memory of a chip is the host's"
    assert chip.host_weights == box.host_weights == 0


def test_a_tied_embedding_is_on_both_sides_of_a_placement() -> None:
    whole = roofline.predict("rpi5-16gb", "llama-3.2-3b", "q4_k_m").memory.weights
    for layers, copies in ((0, 0), (1, 1), (29, 1)):
        found = roofline.predict("rtx-4090+ryzen-7950x", "llama-3.2-3b", "q4_k_m", gpu_layers=layers).memory
        assert found.host is not None
        assert found.weights + found.host.weights == pytest.approx(whole + copies * 308.23 * MIB, rel=1e-4)


def test_a_chip_that_shares_its_memory_gives_a_layer_to_one_side_only() -> None:
    """Both sides take from the same 64 GB: what the GPU has, the processor cannot have."""
    chip, cpu = (roofline.api.load_machine("agx-orin-64", "llama.cpp", one, None, None)[0] for one in ("cuda", "cpu"))
    shape = catalog.load_model("llama-3.3-70b").spec
    weights = weigh(shape, "q4_k_m")
    found = bill(shape, weights, chip, Workload(), Placement(chip, cpu, 40))
    alone = bill(shape, weights, cpu, Workload())
    assert found.host is not None
    assert found.host.usable is not None
    assert alone.usable is not None
    assert found.host.usable == pytest.approx(alone.usable - float(found.total))
    assert found.weights + found.host.weights == pytest.approx(weights.file_bytes)


def test_a_wide_product_needs_room_for_a_tensor_of_the_host() -> None:
    """The largest of Llama 3.1 8B's in q8_0 is an FFN matrix of 4096 · 14336 weights, 34/32 B each."""
    fetching, staying = (
        roofline.predict("rtx-4090+ryzen-7950x", "llama-3.1-8b", "q8_0", gpu_layers=20, op_offload=on).memory
        for on in (True, False)
    )
    assert float(fetching.compute) - float(staying.compute) == pytest.approx(4096 * 14336 * 34 / 32)
    whole = roofline.predict("rtx-4090+ryzen-7950x", "llama-3.1-8b", "q8_0", gpu_layers=33).memory
    assert float(whole.compute) == float(staying.compute), "nothing is left to fetch"


def test_a_card_without_layers_still_computes_prompts() -> None:
    """Nothing offloaded, CUDA0's buffer is 669.48 MiB in logs of Llama 3.1 8B and 3.2 Vision 11B, of the same head.

    258.5 MiB are logits of 512 tokens, 410.98 MiB the head itself in q6_k, 128256 · 4096 · 210/256 B, fetched for them.
    """
    found = roofline.predict("rtx-4090+ryzen-7950x", "llama-3.1-8b", "q4_k_m", gpu_layers=0).memory
    assert float(found.compute) == pytest.approx(669.48 * MIB, rel=1e-4)
    staying = roofline.predict("rtx-4090+ryzen-7950x", "llama-3.1-8b", "q4_k_m", gpu_layers=0, op_offload=False).memory
    assert float(staying.compute) == 0


def test_only_the_first_of_several_cards_fetches() -> None:
    words: dict[str, Any] = {"model": "llama-3.3-70b", "quant": "q8_0", "gpu_layers": 40}
    for hw in ("rtx-3090x2+ryzen-7950x", "rtx-4090+rtx-3090+ryzen-7950x"):
        on, off = (roofline.predict(hw, op_offload=way, **words).memory for way in (True, False))
        more = [float(one.compute) - float(other.compute) for one, other in zip(on.devices, off.devices, strict=True)]
        assert more == pytest.approx([8192 * 28672 * 34 / 32, 0])  # an FFN matrix


@pytest.mark.parametrize("layers", [0, 1, 40, 81])
def test_divided_tensors_with_a_host_are_each_somewhere(layers: int) -> None:
    """As layers in turn, but for what is on every device; nothing is on both sides."""
    words: dict[str, Any] = {"model": "llama-3.3-70b", "quant": "q4_k_m", "gpu_layers": layers}
    turns, split = (
        roofline.predict("rtx-3090x3+ryzen-7950x", split=way, **words).memory for way in ("layer", "tensor")
    )
    assert turns.host is not None
    assert split.host is not None
    assert split.host.weights == pytest.approx(turns.host.weights)
    assert float(split.host.kv_cache) == pytest.approx(float(turns.host.kv_cache))
    assert split.weights >= turns.weights * (1 - 1e-12)
    assert split.weights < 1.2 * turns.weights + 1, "eight KV heads on three devices are nine"
    if layers == 0:
        assert split.weights == float(split.kv_cache) == 0


def test_as_many_divided_layers_as_fit_are_on_the_devices() -> None:
    words: dict[str, Any] = {"hw": "rtx-3090x2+ryzen-7950x", "model": "llama-3.3-70b", "quant": "q8_0"}
    found = roofline.predict(split="tensor", **words)
    assert found.placement is not None
    layers = found.placement.gpu_layers
    assert layers > 40
    assert found.memory.fits
    assert not roofline.predict(split="tensor", gpu_layers=layers + 1, **words).memory.fits


def test_an_output_head_that_stays_on_the_host() -> None:
    words: dict[str, Any] = {"hw": "rtx-4090+ryzen-7950x", "quant": "q4_k_m", "gpu_layers": 99}
    for name, pattern, head in (
        ("llama-3.1-8b", "^output.weight", 128256 * 4096 * 210 / 256),
        ("llama-3.2-3b", "token_embd", 308.23 * MIB),  # tied: one copy, on the host
    ):
        all_there = roofline.predict(model=name, **words).memory
        without = roofline.predict(model=name, overrides=[pattern], **words)
        assert without.memory.host is not None
        assert all_there.host is not None
        assert all_there.weights - without.memory.weights == pytest.approx(head, rel=1e-4)
        more = head if name == "llama-3.1-8b" else 0.0
        assert without.memory.host.weights - all_there.host.weights == pytest.approx(more, abs=1e3)
        assert without.decode is not None
        assert float(without.decode.device_seconds["host"]) > 0
        assert float(without.decode.device_seconds["link"]) > 0


# -- repacking --------------------------------------------------------------------------------------------------------


def test_a_processor_keeps_repacked_weights_beside_the_mapped_file() -> None:
    """Mistral 7B in q4_0 took 4.1 GB, and 7.9 GB with repacked weights, on a processor with AMX (±3 %)."""
    amx = roofline.predict("xeon-8480", "mistral-7b", "q4_0").memory
    assert amx.repacked > 0
    embedding = 32000 * 4096 * 18 / 32  # of which only some rows are touched
    assert float(amx.weights) - embedding + amx.repacked == pytest.approx(7.9e9, rel=0.03)
    # AVX2 has no layout for the output head in q6_k, of 32000 · 4096 weights of 210/256 B.
    plain = roofline.predict("ryzen-7950x", "mistral-7b", "q4_0").memory
    assert amx.repacked - plain.repacked == pytest.approx(32000 * 4096 * 210 / 256)
    assert plain.resident == float(plain.total) + plain.repacked


def test_repacked_weights_do_not_decide_whether_it_fits() -> None:
    """Their copy takes the place of the file's pages, which the system may drop; a memory holds no more than it can."""
    found, without = (roofline.predict("rpi5", "mistral-7b", "q6_k", repack=on) for on in (True, False))
    assert found.memory.fits is without.memory.fits is True
    assert (found.memory.total, found.memory.margin) == (without.memory.total, without.memory.margin)
    assert without.memory.repacked == 0
    assert found.memory.resident == found.memory.usable
    assert float(found.memory.resident) < float(found.memory.total) + found.memory.repacked


@pytest.mark.parametrize(
    ("hw", "quant", "runtime", "repacks"),
    [
        ("ryzen-7950x", "q4_0", "llama.cpp", True),
        ("ryzen-7950x", "q8_0", "llama.cpp", False),  # on x86 only AMX has a layout for it
        ("rpi5", "q8_0", "llama.cpp", True),
        ("rpi5", "q8_0", "llama.cpp-2025", False),
        ("rpi4", "q4_0", "llama.cpp", False),  # no dot product instruction
        ("ryzen-7950x", "f16", "llama.cpp", False),
        ("ryzen-7950x", "q4_0", "llama.cpp-2024-06", False),  # q4_0_4_4 was a type of the file then
        ("ryzen-7950x", "q4_0", "llamafile-0.8", False),
        ("ryzen-7950x", "q4_0", "ik-llama.cpp", False),
        ("rtx-4090", "q4_0", "llama.cpp", False),
    ],
)
def test_types_and_instruction_sets_that_are_repacked(hw: str, quant: str, runtime: str, repacks: bool) -> None:
    found = roofline.predict(hw, "tinyllama-1.1b", quant, runtime=runtime).memory
    assert (found.repacked > 0) is repacks


def test_experts_are_not_packed_for_amx() -> None:
    """Mixtral in q8_0 on a Xeon with AMX, which has no product of routed experts; AVX2 has no layout for q8_0."""
    shape = catalog.load_model("mixtral-8x7b").spec
    found = roofline.predict("xeon-8480", "mixtral-8x7b", "q8_0").memory
    dense = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024) + 32000 * 4096
    assert found.repacked == pytest.approx(dense * 34 / 32)
    assert shape.expert_count == 8


# -- lines ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hw", "name", "quant", "settings"),
    [
        ("rtx-4090", "llama-3.1-8b", "q4_k_m", {}),
        ("rtx-4090", "llama-3.2-3b", "q4_k_m", {}),
        ("rtx-3090x2", "llama-3.3-70b", "q4_k_m", {"context": 32768}),
        ("rtx-3090+ryzen-7950x", "qwen3-30b-a3b", "q4_k_m", {"gpu_layers": 20}),
        ("rtx-3090+ryzen-7950x", "llama-3.2-3b", "q8_0", {"gpu_layers": 20}),
        ("rtx-3090x2", "llama-3.1-8b", "f16", {"split": "tensor"}),
        ("epyc-9654x2", "llama-3.1-8b", "q8_0", {"numa": "mirror"}),
        ("m2-ultra-76", "gemma-3-4b", "q4_0", {"context": 32768}),
        ("m2-ultra-76", "nemotron-3-super-120b-a12b", "q4_k_m", {}),
        ("rpi5", "mistral-7b", "q4_0", {"batch": 4}),
    ],
)
def test_lines_add_up_to_the_bill(hw: str, name: str, quant: str, settings: dict[str, Any]) -> None:
    found = roofline.predict(hw, name, quant, **settings)
    whole = float(found.memory.total) + (float(found.memory.host.total) if found.memory.host else 0.0)
    lines = bill_lines(found)
    assert sum(line.size for line in lines if line.counts) == pytest.approx(whole)
    assert all(line.size > 0 for line in lines)
    groups = weights_by_tensor_group(found.model, found.weights)
    assert sum(group.size for group in groups) == pytest.approx(found.weights.file_bytes)


def test_weights_by_group_of_tensors() -> None:
    """Mixtral 8x7B in f16, from its shape: 8 experts of three matrices of 4096 · 14336 in each of 32 layers."""
    shape = catalog.load_model("mixtral-8x7b").spec
    sizes = {line.group: line.size for line in weights_by_tensor_group(shape, weigh(shape, "f16"))}
    assert sizes["experts"] == 32 * 8 * 3 * 4096 * 14336 * 2
    assert sizes["attention"] == 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024) * 2
    assert sizes["token embedding"] == sizes["output head"] == 32000 * 4096 * 2
    # Two norms a layer and the last, the routers of 8 rows, all in f32.
    assert sizes["norms and other small tensors"] == (65 * 4096 + 32 * 8 * 4096) * 4
    assert "FFN" not in sizes


def test_the_cache_by_kind_of_layer() -> None:
    card = roofline.predict("rtx-4090", "gemma-3-4b", "q4_0").machine
    shape = catalog.load_model("gemma-3-4b").spec
    full, window = kv_lines(shape, card, Workload(context=32768, kv_types=("q8_0", "q4_0")))
    assert (full.kind, full.layers, full.positions) == ("global", 5, 32768)
    assert (window.kind, window.layers, window.positions) == ("sliding", 29, 1536)
    assert full.size == 5 * 32768 * 1024 * (34 + 18) / 32
    assert full.types == ("q8_0", "q4_0")
    hybrid = catalog.load_model("nemotron-3-super-120b-a12b").spec
    kinds = [line.kind for line in kv_lines(hybrid, card, Workload())]
    assert kinds == ["global", "recurrent"]


# -- published truths -------------------------------------------------------------------------------------------------


def test_published_truths_of_two_cards() -> None:
    """70B q4_k_m at 32k does not fit two cards of 24 GB with an f16 cache, and does with q8_0."""
    for kv, fits in (("f16", False), ("q8_0", True)):
        assert roofline.predict("rtx-3090x2", "llama-3.3-70b", "q4_k_m", context=32768, kv=kv).memory.fits is fits


def placed(name: str, quant: str, context: int, capacity: str = "12 GB") -> Setting:
    """A llama-1 model on an RTX 3060 with a host, in llama.cpp of 2023."""
    figures = {"memory.capacity": capacity}
    weights = roofline.api.load_weights(name, quant)[1]
    card = roofline.api.load_machine("rtx-3060", "llama.cpp-2023-11", None, None, figures)[0]
    host = roofline.api.load_machine("ryzen-7950x", "llama.cpp-2023-11", None, None, None)[0]
    work = Workload(prompt=128, gen=128, context=context)
    return Setting(catalog.load_model(name).spec, weights, card, work, Placement(card, host, 0), free_layers=True)


def test_13b_with_40_layers_offloaded_took_7562_mb() -> None:
    """llama.cpp of May 2023: "offloading 40 layers to GPU, total VRAM used: 7562 MB", and "kv self size = 400.00 MB".

    MB are MiB. Until 19 May 2023 (pull request 1508) a block of q4_0 had its scale in f32: 20 bytes for 32 weights, as
    q4_1 has today. The total was that of the layers' matrices alone, 40 · 317.2 M · 20/32 B = 7562.5 MiB; cache, output
    head and norms stayed on the host. With today's blocks of 18 bytes the layers take 6806 MiB.
    """
    found = placed("llama-1-13b", "q4_1", 512)
    lines = {line.group: line.size for line in weights_by_tensor_group(found.model, found.weights)}
    assert lines["attention"] + lines["FFN"] == pytest.approx(7562 * MIB, rel=1e-3)
    placement = found.placement
    assert placement is not None
    whole = replace(found, placement=replace(placement, gpu_layers=41), free_layers=False)
    head = lines["output head"]
    assert whole.bill.weights - head == pytest.approx(7562 * MIB, rel=1e-3)
    assert whole.bill.kv_cache == 400 * MIB


def test_30b_on_a_card_of_12_gb() -> None:
    """LLaMA-30B in q4_0 on an RTX 3060 of 12 GB: 28 of 60 layers were offloaded.

    Read with the blocks of 20 bytes of its time and 2048 positions whose cache lies with the layers, 30 layers fill the
    card; where a desktop holds 831 MiB of it, as nvidia-smi showed of such a card, 28 do. Today's blocks and allocator
    would place 33. Where the cache lay at that time is not known, so this is a reading, and not a measurement.
    """
    for quant, capacity, layers in (("q4_1", "12 GB", 30), ("q4_1", "11457 MiB", 28), ("q4_0", "12 GB", 33)):
        found = placed("llama-1-33b", quant, 2048, capacity).settled.placement
        assert found is not None
        assert found.gpu_layers - 1 == layers, "the output head is counted first"
