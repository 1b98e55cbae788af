"""`fit`: the bill of a setting, and the bill asked the other way round; every answer is the last one that fits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline import api, catalog, inverse
from roofline.columns import COLUMNS
from roofline.inverse import QUANTS, Setting, most
from roofline.machine import make_machine
from roofline.placement import Placement, experts_on_host
from roofline.points import larger_devices
from roofline.sizing import size
from roofline.weights import weigh
from roofline.workload import Workload
from tests.gguf_files import encode, llama, write
from tests.running import Run, runner
from tests.small import GPU, machine, model

PAIR = "rtx-3090+ryzen-7950x"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


def fit(run: Run, *arguments: str) -> dict[str, Any]:
    outcome = run("fit", *arguments, "--format", "json")
    assert outcome.code == 0, outcome.err
    answer: dict[str, Any] = json.loads(outcome.out)
    assert answer["schema"] == "roofline.fit/1"
    return answer


# -- the bill asked the other way round -------------------------------------------------------------------------------


@given(st.integers(0, 50), st.integers(0, 50), st.integers(-5, 60))
def test_the_most_is_the_last_that_fits(low: int, width: int, limit: int) -> None:
    asked: list[int] = []

    def fits(number: int) -> bool:
        asked.append(number)
        return number <= limit

    found = most(low, low + width, fits)
    assert found == (min(limit, low + width) if limit >= low else None)
    assert all(low <= number <= low + width for number in asked)
    assert len(asked) <= 2 + width.bit_length(), "the range is halved"


def test_nothing_is_the_most_of_nothing() -> None:
    assert most(3, 2, lambda _: True) is None


def tiny(capacity: str, **work: Any) -> Setting:
    shape = model()
    return Setting(shape, weigh(shape, "f16"), machine(GPU, device={"memory.capacity": capacity}), Workload(**work))


@given(st.integers(3_000_000, 40_000_000))
def test_the_longest_context_fits_and_one_step_more_does_not(capacity: int) -> None:
    setting = tiny(f"{capacity} B", prompt=1, gen=1)
    found = inverse.longest_context(setting)
    contexts = [None if found is None else found, (found or 0) + 256]
    fits = [
        context is not None and tiny(f"{capacity} B", prompt=1, gen=1, context=context).fits for context in contexts
    ]
    assert fits == [found is not None, False]
    assert found is None or found % 256 == 0


def test_the_longest_context_ends_at_the_model_s_own() -> None:
    large = api.predict("m2-ultra-76", "mistral-7b", "q4_0")
    setting = Setting(large.model, large.weights, large.machine, large.workload)
    assert inverse.longest_context(setting) == large.model.max_context == 32768
    assert inverse.longest_context(setting, least=40_000) == 40_192, "tokens that are asked for have to be held"


def test_the_best_quantisation_is_the_largest_that_fits() -> None:
    two = api.predict("rtx-3090x2", "llama-3.3-70b", "q4_k_m", context=32768)
    setting = Setting(two.model, two.weights, two.machine, two.workload)
    candidates = inverse.weighed(two.model, two.machine)
    best = inverse.best_quant(setting, candidates)
    assert best is not None
    sizes = [weights.file_bytes for weights in candidates]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == len(QUANTS)
    for quant in QUANTS:
        fits = api.predict("rtx-3090x2", "llama-3.3-70b", quant, context=32768).memory.fits
        assert fits is (weigh(two.model, quant).file_bytes <= best.file_bytes)
    assert inverse.best_quant(setting, []) is None


def test_a_quantisation_that_was_asked_for_may_be_the_best() -> None:
    """f16 is not proposed, but counts where it was asked for and fits."""
    large = size("rtx-4090", "llama-3.1-8b", "F16")
    assert large.best is not None
    assert (large.chosen, large.best.quant, large.quants[0][0].quant) == (False, "f16", "f16")
    open_choice = size("rtx-4090", "llama-3.1-8b")
    assert (open_choice.chosen, open_choice.prediction.weights.quant) == (True, "q8_0")
    assert [weights.quant for weights, _, _ in open_choice.quants] == [weights.quant for weights, _, _ in large.quants][
        1:
    ]


def test_a_model_that_comes_in_one_quantisation_has_no_other() -> None:
    shape = catalog.load_model("gpt-oss-20b").spec
    card = api.predict("rtx-4090", "gpt-oss-20b").machine
    assert [weights.quant for weights in inverse.weighed(shape, card)] == [shape.native_quant]
    old = api.load_machine("rtx-4090", "llama.cpp-2023-11", None, None, None)[0]
    names = [weights.quant for weights in inverse.weighed(catalog.load_model("llama-2-7b").spec, old)]
    assert "iq2_xxs" not in names
    assert "q4_0" in names, "what the runtime cannot read is no answer"


def test_the_fewest_layers_of_experts_fit_and_one_less_do_not() -> None:
    found = size("rtx-4080+ryzen-7950x", "qwen3-30b-a3b", "q4_k_m")
    placement = found.prediction.placement
    assert placement is not None
    one = found.prediction
    setting = Setting(one.model, one.weights, one.machine, one.workload, placement, free_layers=True)
    layers = inverse.fewest_expert_layers(setting)
    assert layers is not None
    assert 0 < layers < 48
    for count, fits in ((layers, True), (layers - 1, False)):
        overrides = [experts_on_host(count)]
        after = api.predict(
            "rtx-4080+ryzen-7950x", "qwen3-30b-a3b", "q4_k_m", gpu_layers=49, overrides=overrides, context=4096
        )
        assert after.memory.fits is fits
    dense = api.predict(PAIR, "llama-3.1-8b", "q4_0")
    assert dense.placement is not None
    plain = Setting(dense.model, dense.weights, dense.machine, dense.workload, dense.placement)
    assert inverse.fewest_expert_layers(plain) is None


def test_the_smallest_memory_and_device_are_the_first_that_are_enough() -> None:
    found = api.predict("rpi5", "mistral-7b", "q4_0")
    setting = Setting(found.model, found.weights, found.machine, found.workload)
    memory = inverse.smallest_memory(setting)
    assert memory is not None
    assert str(memory[0]) == "8 GB", "4 GB are not enough"
    device = inverse.smallest_device(setting, larger_devices(found))
    assert device is not None
    usable = device[1].bill.usable
    assert usable is not None
    for name, other in larger_devices(found):
        bill = Setting(found.model, found.weights, other, found.workload).bill
        assert bill.usable is None or not bill.fits or bill.usable >= usable, name
    nothing = inverse.smallest_device(setting, [("rpi5-1gb", machine(GPU))])
    assert nothing is None


# -- the command ------------------------------------------------------------------------------------------------------


def test_70b_on_two_cards_with_its_bill_and_ways_out(run: Run) -> None:
    """As published: 32k of f16 cache are too much, q8_0 fits."""
    asked = ("--model", "llama-3.3-70b", "--quant", "q4_k_m", "--ctx", "32768", "--hw", "rtx-3090x2")
    full, half = fit(run, *asked, "--kv", "f16"), fit(run, *asked, "--kv", "q8_0")
    assert (full["fits"], half["fits"]) == (False, True)
    assert [(one["device"], one["layers"]) for one in full["devices"]] == [("GPU 1", "41"), ("GPU 2", "39 and output")]
    assert full["memory"]["margin_bytes"] == min(one["margin_bytes"] for one in full["devices"]) < 0
    assert full["memory"]["total_bytes"] == pytest.approx(sum(one["total_bytes"] for one in full["devices"]))
    assert {way["kind"] for way in full["ways_out"]} >= {"smaller KV-cache type", "shorter context"}
    assert half["ways_out"] == []
    assert full["choices"][0]["decode_tok_s"] is None
    assert half["choices"][0]["decode_tok_s"] > half["choices"][0]["decode_full_tok_s"] > 0
    text = run("fit", *asked).out
    assert "Does not fit with a context of 32768 tokens:" in text
    assert "too much on the fullest device" in text
    assert "80 global layers, 32768 positions, K f16, V f16" in text
    assert "token embedding  q4_k, in the host's memory" in text


def test_70b_on_a_card_and_its_host_says_how_many_layers_and_how_fast(run: Run) -> None:
    """Without a quantisation the best one that both hold; with the speed of as many layers as fit."""
    answer = fit(run, "--model", "llama-3.3-70b", "--hw", PAIR, "--ctx", "8192")
    assert answer["quant_chosen"] is True
    assert answer["quant"] == answer["best_quant"] == "q8_0", "24 and 128 GB hold 75 GB"
    (choice,) = answer["choices"]
    assert choice["option"] == f"-ngl {answer['gpu_layers']}"
    alone = api.predict(PAIR, "llama-3.3-70b", "q8_0", context=8192, gpu_layers=answer["gpu_layers"])
    assert alone.memory.fits
    assert alone.decode is not None
    assert choice["decode_tok_s"] == pytest.approx(float(alone.decode.tok_s))
    one_more = api.predict(PAIR, "llama-3.3-70b", "q8_0", context=8192, gpu_layers=answer["gpu_layers"] + 1)
    assert not one_more.memory.fits
    full = api.predict(
        PAIR, "llama-3.3-70b", "q8_0", context=8192, gpu_layers=answer["gpu_layers"], depth=8192 - 512 - 128
    )
    assert full.decode is not None
    assert choice["decode_full_tok_s"] == pytest.approx(float(full.decode.tok_s))
    fewer_bits = [row for row in answer["quants"] if row["quant"] == "q4_k_m"]
    assert fewer_bits[0]["gpu_layers"] > answer["gpu_layers"]
    assert fewer_bits[0]["decode_tok_s"] > choice["decode_tok_s"]


def test_a_mixture_of_experts_is_placed_in_two_ways_and_the_faster_is_named(run: Run) -> None:
    asked = ("--hw", "rtx-4080+ryzen-7950x", "--model", "qwen3-30b-a3b", "--quant", "q4_k_m")
    answer = fit(run, *asked)
    faster, slower = answer["choices"]
    assert "--n-cpu-moe" in faster["option"]
    assert slower["option"] == f"-ngl {answer['gpu_layers']}"
    assert faster["decode_tok_s"] > slower["decode_tok_s"]
    assert f"Fastest: {faster['option']}." in run("fit", *asked).out
    given_layers = fit(run, *asked, "-ngl", "10")
    assert {row["option"] for row in given_layers["choices"]} == {faster["option"], slower["option"], "as asked"}
    assert given_layers["choices"][-1]["gpu_layers"] == 10, "10 layers are the slowest way"


def test_a_card_alone_says_what_a_host_would_take(run: Run) -> None:
    answer = fit(run, "--hw", "rtx-3090", "--model", "llama-3.3-70b", "--quant", "q4_k_m", "--ctx", "8192")
    assert answer["fits"] is False
    beside = size(PAIR, "llama-3.3-70b", "q4_k_m", ctx="8192").layers
    assert answer["gpu_layers"] == beside
    text = run("fit", "--hw", "rtx-3090", "--model", "llama-3.3-70b", "--quant", "q4_k_m", "--ctx", "8192").out
    assert f"{beside} of 81, the others on a host beside it" in text


def test_several_cards_alone_say_what_a_host_would_take(run: Run) -> None:
    asked = ("--hw", "rtx-4090+rtx-3060-12gb", "--model", "llama-3.3-70b", "--quant", "q4_k_m", "--ctx", "8k")
    text = run("fit", *asked).out
    assert "66 of 81, the others on a host beside it (--hw ID+HOST)" in text
    assert "another device: --hw a40" in text
    assert fit(run, "--hw", f"{asked[1]}+epyc-9654", *asked[2:])["gpu_layers"] == 66


def test_a_host_that_is_faster_than_its_card_does_it_alone(run: Run) -> None:
    """An RTX A400 reads 96 GB/s, an EPYC 9654 460 GB/s."""
    answer = fit(run, "--hw", "rtx-a400+epyc-9654", "--model", "gemma-2-9b", "--quant", "q4_k_m")
    first, second = answer["choices"]
    assert (first["option"], first["gpu_layers"]) == ("-ngl 0", 0)
    assert second["option"] == f"-ngl {answer['gpu_layers']}"
    alone = api.predict("epyc-9654", "gemma-2-9b", "q4_k_m", context=4096)
    assert alone.decode is not None
    assert first["decode_tok_s"] == pytest.approx(float(alone.decode.tok_s))


def test_a_board_says_what_stays_in_the_page_cache(run: Run) -> None:
    asked = ("--hw", "rpi5", "--model", "mistral7b", "--quant", "q4_0")
    text = run("fit", *asked).out
    assert "resident while the file stays in the page cache" in text
    assert "mapped file  beside the repacked copy" in text
    plain = run("fit", *asked, "--no-repack").out
    assert "page cache" not in plain
    assert "the speeds are those of the repacked kernels" in plain
    assert "operating system" in text
    with_copy, without = fit(run, *asked), fit(run, *asked, "--repack", "0")
    assert with_copy["memory"]["total_bytes"] == without["memory"]["total_bytes"]
    assert with_copy["memory"]["resident_bytes"] > without["memory"]["resident_bytes"]


def test_a_mac_s_gpu_share_is_a_line(run: Run) -> None:
    answer = fit(run, "--hw", "m4-10gpu", "--model", "llama-3.1-8b", "--quant", "q4_0")
    (beyond,) = [line for line in answer["bill"] if line["item"] == "beyond the GPU's share"]
    assert beyond["counts"] is False
    assert beyond["size_bytes"] == pytest.approx(answer["memory"]["capacity_bytes"] - answer["memory"]["usable_bytes"])


def test_the_context_is_4096_or_the_model_s_or_as_asked(run: Run) -> None:
    asked = ("--hw", "rtx-4090", "--quant", "q4_0", "--model")
    assert fit(run, *asked, "llama-3.1-8b")["workload"]["context"] == 4096
    assert fit(run, *asked, "tinyllama-1.1b")["workload"]["context"] == 2048
    assert fit(run, *asked, "tinyllama-1.1b", "--ctx", "1")["workload"]["context"] == 1
    beyond = run("fit", *asked, "tinyllama-1.1b", "--ctx", "16k").out
    assert "more than the 2,048 that TinyLlama 1.1B was made for" in beyond


@pytest.mark.parametrize("form", ["json", "csv", "md", "table"])
def test_every_format_is_made(run: Run, form: str) -> None:
    outcome = run("fit", "--hw", PAIR, "--model", "qwen3-30b-a3b", "--ctx", "16k", "--format", form)
    assert outcome.code == 0
    if form == "csv":
        heading, *rows = outcome.out.splitlines()
        assert set(heading.split(",")) <= set(COLUMNS)
        assert len(rows) > 8
    if form == "md":
        assert "## Memory\n\n| item | of | size |" in outcome.out


def test_keys_of_json_are_in_the_register(run: Run) -> None:
    answer = fit(run, "--hw", PAIR, "--model", "qwen3-30b-a3b", "--quant", "q4_k_m")
    tables = [answer["devices"], answer["bill"], answer["quants"], answer["choices"]]
    keys = {key for table in tables for row in table for key in row} | set(answer["memory"])
    assert keys <= set(COLUMNS)


def test_a_file_has_the_types_it_has(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "tiny.gguf", encode(*llama()))
    answer = fit(run, "--hw", "rtx-4090", "--model", str(path))
    assert (answer["quant_chosen"], answer["best_quant"], answer["quants"]) == (False, None, [])
    assert sum(one["size_bytes"] for one in answer["bill"] if one["counts"]) == pytest.approx(
        answer["memory"]["total_bytes"]
    )


def test_what_fits_nowhere_is_an_answer_too(run: Run) -> None:
    outcome = run("fit", "--hw", "rpi5-4gb", "--model", "llama-3.1-405b")
    assert outcome.code == 0
    assert "Does not fit" in outcome.out
    answer = fit(run, "--hw", "rpi5-4gb", "--model", "llama-3.1-405b")
    assert (answer["quant_chosen"], answer["best_quant"], answer["longest_context"]) == (False, None, None)


def test_a_machine_whose_memory_is_open_says_what_it_needs(run: Run) -> None:
    outcome = run("fit", "--hw", "tr-7995wx", "--model", "llama-3-70b", "--quant", "q4_k_m")
    assert outcome.code == 0
    assert "if it has the most memory that it takes" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nonsense"], "--model: expected"),
        (["--quant", "q9"], "expected"),
        (["--ctx", "0"], "--ctx: expected"),
        (["--ctx", "1k,2k"], "--ctx: expected one number"),
        (["--batch", "1,2"], "--batch: expected one number"),
        (["--batch", "0"], "--batch: expected"),
        (["--kv", "q7"], "expected"),
        (["-ngl", "3"], "expected the machine around rtx-4090"),
        (["--set", "memory.capacity"], "--set: expected"),
        (["--hw", "rtx-4090+"], "--hw: expected"),
        (["--backend", "metal"], "--backend: expected"),
        (["--override-tensor", "x=CUDA0"], "--override-tensor: expected"),
    ],
)
def test_wrong_input_is_one_line(run: Run, arguments: list[str], message: str) -> None:
    usual = {"--hw": "rtx-4090", "--model": "llama-3.1-8b"}
    rest = [part for name, text in usual.items() if name not in arguments for part in (name, text)]
    outcome = run("fit", *rest, *arguments)
    assert outcome.code == 1
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_setting_is_settled_once() -> None:
    card, host = (api.load_machine(name, "llama.cpp", None, None, None)[0] for name in ("rtx-3090", "ryzen-7950x"))
    shape = catalog.load_model("llama-3.3-70b").spec
    free = Setting(shape, weigh(shape, "q4_k_m"), card, Workload(), Placement(card, host, 0), free_layers=True)
    settled = free.settled
    assert settled.placement is not None
    assert settled.placement.gpu_layers == inverse.most_layers(shape, free.weights, settled.placement, Workload())
    assert np.all(settled.bill.fits)
    assert settled.settled is settled
    assert make_machine(card.hardware, card.runtime, None, None).backend == "cuda"
