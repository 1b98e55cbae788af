"""The memory bill: published cache sizes, what fits, and ways out that are ways out."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import roofline
from roofline import catalog
from roofline.memory import bill, compute_buffer_bytes, kv_cache_bytes, padded_context
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
    # One ubatch of 512 tokens: two vectors of 64 and the wider of the 128 logits and two FFN vectors of 96, in f32.
    # Without flash attention the scores of 4 heads against 1024 positions are wider.
    card, shape = machine(GPU), model()
    assert compute_buffer_bytes(shape, card, Workload(prompt=512)) == 512 * (2 * 96 + 2 * 64) * 4
    plain = Workload(prompt=512, context=1024, flash_attention=False)
    assert compute_buffer_bytes(shape, card, plain) == 512 * (4 * 1024 + 2 * 64) * 4
    assert compute_buffer_bytes(shape, card, Workload(ubatch=64)) == 64 * (2 * 96 + 2 * 64) * 4


# -- the sum ----------------------------------------------------------------------------------------------------------


def bill_of(table: dict[str, Any], work: Workload, **changes: Any) -> Any:
    shape = model()
    return bill(shape, weigh(shape, "f16"), machine(table, **changes), work)


def test_the_bill_adds_up_and_is_compared_with_what_may_be_used() -> None:
    found = bill_of(CPU, Workload())
    # 2 · (61 440 + 128 · 64 · 2) B of matrices, and 5 norms of 64 in f32; of modules of 16 · 2³⁰ B the runtime
    # leaves 10⁹ B to the system.
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
        elif option == "--ctx":
            changed["context"] = int(value)
        else:
            changed[{"--quant": "quant", "--kv": "kv", "--hw": "hw", "--backend": "backend"}[option]] = value
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
    ],
    ids=lambda asked: f"{asked['hw']} {asked['model']} {asked.get('runtime', '')}",
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
        assert re.fullmatch(r"[^\n]+: --\w+ [^()]+ \(.* of .* usable\)", str(way))
        if way.option.startswith("--ctx"):
            assert int(way.option.split()[1]) >= result.workload.positions, "the tokens still have to be held"


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


def test_published_truths_of_the_bill() -> None:
    """70B q4_k_m at 32k does not fit two cards of 24 GB with an f16 cache, and does with q8_0."""
    for kv, fits in (("f16", False), ("q8_0", True)):
        assert roofline.predict("rtx-3090x2", "llama-3.3-70b", "q4_k_m", context=32768, kv=kv).memory.fits is fits
