"""The working behind a prediction: shares that add up, changes that change, figures that exist."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roofline
from roofline import report
from roofline.explain import compute_bound_batch, figures_used, operator_table
from roofline.prediction import Prediction
from roofline.reasons import why
from roofline.upgrades import what_if
from tests.small import GPU, ROOT, machine, model

CASES: list[dict[str, Any]] = [
    {"hw": "rpi5", "model": "mistral-7b", "quant": "q4_0"},
    {"hw": "m2-ultra-76", "model": "tinyllama-1.1b", "quant": "f16", "backend": "cpu"},
    {"hw": "rtx-4090", "model": "qwen3-30b-a3b", "quant": "q4_k_m"},
    {"hw": "tr-7995wx", "model": "tinyllama-1.1b", "quant": "q8_0"},
    {"hw": "rtx-3090x2", "model": "llama-3.1-70b", "quant": "q4_0", "batch": 4, "depth": 4096},
    {"hw": "mi300x", "model": "nemotron-3-super-120b-a12b", "quant": "q8_0"},
]


def catalog_file(name: str) -> Path:
    """A file as reports name it: by its path, or by its place in the shipped catalog."""
    return next((path for path in (ROOT / name, ROOT / "roofline" / name) if path.is_file()), Path(name))


@pytest.fixture(params=CASES, ids=lambda case: f"{case['hw']} {case['model']}")
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(request.param)


@pytest.fixture
def result(case: dict[str, Any]) -> Prediction:
    return roofline.predict(**case)


def test_the_table_of_operators_is_the_phase(result: Prediction) -> None:
    for name, phase in (("prefill", result.prefill), ("decode", result.decode)):
        assert phase is not None
        lines = operator_table(phase, name)
        assert sum(line.share for line in lines) == pytest.approx(1)
        assert sum(line.flops for line in lines) == pytest.approx(phase.flops)
        assert sum(line.weight_bytes + line.kv_bytes + line.activation_bytes for line in lines) == pytest.approx(
            phase.bytes
        )
        assert {line.phase for line in lines} == {name}
        assert {line.bound for line in lines} <= {"compute", "memory", "overhead"}
        for line in lines:
            moved = line.weight_bytes + line.kv_bytes + line.activation_bytes
            assert line.intensity == pytest.approx(line.flops / moved)
        assert len({(line.operator, line.group, line.type) for line in lines}) == len(lines)


def test_the_reason_is_a_sentence_with_the_numbers(result: Prediction) -> None:
    text = why(result)
    assert text.isprintable()
    assert result.decode is not None
    assert f"{result.decode.bound}-bound" in text
    shares = [int(percent) for percent in re.findall(r"(?:compute|memory|overhead) (\d+) %", text)]
    assert sum(shares) == pytest.approx(100, abs=2)


def test_the_reason_for_the_raspberry_pi() -> None:
    # 4.03 GB: the q4_0 file without the token embedding, of which one row is read; 17.1 GB/s is the board's ceiling.
    text = why(roofline.predict("rpi5", "mistral-7b", "q4_0"))
    assert text.startswith("each token reads 4.03 GB of weights")
    assert "of 17.1 GB/s" in text
    assert "memory-bound: faster memory or fewer bits per weight would help" in text


def test_the_reasons_of_a_batch_and_of_a_prompt() -> None:
    assert why(roofline.predict("rtx-4090", "llama-2-7b", "q4_0", batch=8)).startswith("each pass, 8.00 tokens wide,")
    prompt = why(roofline.predict("rtx-4090", "llama-2-7b", "q4_0", gen=0))
    assert prompt.startswith("the prompt needs") and prompt.endswith("compute-bound.")
    assert why(roofline.predict("rtx-4090", "llama-2-7b", "q4_0", prompt=0, gen=0)).startswith("nothing was asked for")


def test_threads_that_wait_are_called_by_their_name() -> None:
    result = roofline.predict("tr-7995wx", "tinyllama-1.1b", "q8_0")
    assert result.decode is not None and result.decode.bound == "overhead"
    assert "barriers between 96 threads" in why(result)


# -- ridge point ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hw", "batch"), [("a100-pcie-80", 161), ("h100-sxm", 295)])
def test_the_batch_at_which_decode_turns_compute_bound(hw: str, batch: int) -> None:
    # f16: 2 FLOP and 2 bytes a weight, so it is peak / bandwidth: 312 TFLOP/s / 1935 GB/s = 161, 989.4 / 3.35 = 295.
    assert compute_bound_batch(roofline.predict(hw, "llama-2-7b", "f16")) == pytest.approx(batch, rel=0.01)


def test_the_ridge_of_the_tiny_card() -> None:
    # 1 TFLOP/s / 100 GB/s = 10 FLOP/B, and f16 weights are used at 1 FLOP/B and sequence; the norms count for a little.
    from roofline.calculator import predict
    from roofline.weights import weigh
    from roofline.workload import Workload

    result = predict(model(), weigh(model(), "f16"), machine(GPU), Workload())
    assert compute_bound_batch(result) == pytest.approx(10, rel=0.02)


@pytest.mark.parametrize("quant", ["q8_0", "q4_0"])
def test_fewer_bits_turn_compute_bound_sooner(quant: str) -> None:
    # The same operations on fewer bytes: the batch shrinks with the bits where the peak stays, as on a Mac's GPU.
    wide, narrow = (
        compute_bound_batch(roofline.predict("m2-ultra-76", "llama-2-7b", q, backend="metal")) for q in ("f16", quant)
    )
    bits = {"q8_0": 8.5, "q4_0": 4.5}[quant]
    assert narrow / wide == pytest.approx(bits / 16, rel=0.05)


# -- what if ----------------------------------------------------------------------------------------------------------


def speed(result: Prediction) -> Any:
    """The speed of decode, None where the model does not fit."""
    assert result.decode is not None
    return pytest.approx(float(result.decode.tok_s)) if result.memory.fits else None


def test_every_what_if_is_what_a_prediction_says(result: Prediction, case: dict[str, Any]) -> None:
    changes = {change.change: change for change in what_if(result)}
    for factor in ("1.5", "2"):
        faster = changes[f"memory {factor}× as fast"]
        rate = result.machine.hardware.memory.theoretical_bandwidth * float(factor)
        again = roofline.predict(**case, set={"memory.bandwidth": f"{rate} B/s"})
        assert again.decode and again.prefill
        assert faster.decode_tok_s == pytest.approx(float(again.decode.tok_s), rel=1e-6)
        assert faster.prefill_tok_s == pytest.approx(float(again.prefill.tok_s), rel=1e-6)
    for quant in ("q8_0", "q4_k_m", "q2_k"):
        if quant != case["quant"]:
            change = changes[f"{quant} for {case['quant']}"]
            assert change.decode_tok_s == speed(roofline.predict(**{**case, "quant": quant}))
    assert changes["after 8192 tokens of context"].decode_tok_s == speed(roofline.predict(**{**case, "depth": 8192}))


def test_a_pair_whose_host_has_next_to_nothing_is_explained() -> None:
    # All layers fit the card: the host has the token embedding, of which it computes nothing.
    pair = roofline.predict("rtx-3090+ryzen-7950x", "qwen3-32b", "q4_k_m")
    assert pair.placement is not None and pair.placement.is_whole(pair.model.layers)
    for name, phase in (("prefill", pair.prefill), ("decode", pair.decode)):
        assert phase is not None
        lines = operator_table(phase, name)
        assert any(float(cost.bytes) == 0 for cost in phase.operators)  # the transfers, which the table leaves out
        assert all(line.seconds > 0 for line in lines)
        assert sum(line.share for line in lines) == pytest.approx(1)
    assert why(pair)


def test_what_ifs_go_the_right_way(result: Prediction) -> None:
    assert result.decode
    now = float(result.decode.tok_s)
    changes = what_if(result)
    assert any(change.decode_tok_s is not None for change in changes)
    for change in changes:
        if change.decode_tok_s is None:
            continue  # it would not fit
        assert change.decode_tok_s > 0
        # Fewer bits can be slower: q2_k costs a small core more to unpack than it saves in reading.
        if change.change.startswith("memory") or "memory channels" in change.change:
            assert change.decode_tok_s >= now * (1 - 1e-9), change.change
        if change.change.startswith("after 32768"):
            assert change.decode_tok_s < now


def test_channels_are_offered_where_they_are_known_and_cores_on_processors() -> None:
    server = [change.change for change in what_if(roofline.predict("tr-7995wx", "tinyllama-1.1b", "q8_0"))]
    assert "16 memory channels for 8" in server
    assert {"48 cores for 96", "192 cores for 96"} <= set(server)
    card = [change.change for change in what_if(roofline.predict("rtx-4090", "llama-2-7b", "q4_0"))]
    assert not [change for change in card if "cores" in change or "channels" in change]


@pytest.mark.parametrize("hw", ["rpi5", "2x-e5-2650v4", "i9-13900k", "snapdragon-x-elite", "m1-8gpu", "altra-q80-30"])
def test_what_if_works_for_any_threads(hw: str) -> None:
    for threads in (1, 3):
        result = roofline.predict(hw, "tinyllama-1.1b", "q8_0", backend="cpu", threads=threads)
        cores = [change for change in what_if(result) if "cores for" in change.change]
        assert len(cores) == (2 if threads > 1 else 1)
        assert f"{2 * threads} cores for {threads}" in {change.change for change in cores}


def test_a_what_if_that_does_not_fit_has_no_speed() -> None:
    # 7 billion weights at 8.5 bits are 7.7 GB: no speed on a board of 4 GB, whatever its memory does.
    result = roofline.predict("rpi5-4gb", "mistral-7b", "q4_0")
    changes = {change.change: change for change in what_if(result)}
    if "q8_0 for q4_0" in changes:
        assert changes["q8_0 for q4_0"].decode_tok_s is None
    assert changes["q2_k for q4_0"].decode_tok_s is not None, "3.0 GB fit"


# -- figures ----------------------------------------------------------------------------------------------------------


def test_every_figure_has_a_basis_and_the_file_that_states_it(result: Prediction) -> None:
    used = figures_used(result)
    assert len({figure.name for figure in used}) == len(used)
    for figure in used:
        assert figure.value and figure.basis in ("datasheet", "derived", "measured", "assumed", "fitted", "override")
        assert catalog_file(figure.file).is_file(), figure
        if figure.basis in ("datasheet", "measured"):
            assert figure.source, figure
        assert not re.search(r"\d [mµnkMGT] [a-zA-Z]", figure.value), f"{figure.value}: a prefix belongs to its unit"
    kinds = {Path(figure.file).parent.name for figure in used}
    assert "runtimes" in kinds and len({figure.file for figure in used}) == 3


def test_the_figures_are_those_of_the_unit_that_runs() -> None:
    cpu = {
        figure.name for figure in figures_used(roofline.predict("m2-ultra-76", "tinyllama-1.1b", "f16", backend="cpu"))
    }
    gpu = {figure.name for figure in figures_used(roofline.predict("m2-ultra-76", "tinyllama-1.1b", "f16"))}
    assert any(name.startswith("cpu.clusters") for name in cpu) and not any(name.startswith("gpu.peak") for name in cpu)
    assert any(name.startswith("gpu.peak") for name in gpu) and not any(name.startswith("cpu.clusters") for name in gpu)
    assert {"cpu.barrier.base", "cpu.memory"} <= cpu and {"metal.launch", "metal.memory"} <= gpu


def test_every_device_and_the_link_have_their_figures() -> None:
    found = roofline.predict("rtx-4090+rtx-3090+2x-e5-2650v4", "qwen3-30b-a3b", "q4_k_m", gpu_layers=20, disk="3GB/s")
    used = figures_used(found)
    bandwidths = {Path(one.file).stem: one.value for one in used if one.name == "memory.bandwidth"}
    assert set(bandwidths) == {"rtx-4090", "rtx-3090", "2x-e5-2650v4"}
    links = {(Path(one.file).stem, one.value) for one in used if one.name == "link.pcie"}
    assert ("rtx-4090", "PCIe 4.0, 16 lanes") in links and ("2x-e5-2650v4", "PCIe 3.0, 40 lanes") in links
    names = {one.name for one in used}
    assert {"cuda.link_share", "cuda.crossing", "cpu.barrier.base", "cpu.socket_share", "disk"} <= names
    assert all(catalog_file(one.file).is_file() for one in used if one.file)
    assert len(set(used)) == len(used), "each once"


def test_kernels_are_those_of_the_side_that_runs_them() -> None:
    """Experts on the host are the processor's in a generation, and the card's in a prompt, which fetches them."""
    for prompt, gen, side in ((0, 8, "cpu"), (512, 0, "cuda")):
        found = roofline.predict(
            "rtx-4090+ryzen-7950x", "qwen3-30b-a3b", "q8_0", prompt=prompt, gen=gen, overrides=["_exps"]
        )
        names = {one.name for one in figures_used(found)}
        assert {name.split(".")[0] for name in names if "kernel experts" in name} == {side}
        assert any(name.startswith("cuda.kernel attention") for name in names)


@pytest.mark.parametrize(("link", "constant"), [("nvlink", "nvlink_share"), ("pcie", "reduction.pcie_crossings")])
def test_what_joins_divided_tensors_is_listed(link: str, constant: str) -> None:
    found = roofline.predict("rtx-3090x2", "llama-3.1-8b", "q4_0", split="tensor", link=link)
    names = {one.name for one in figures_used(found)}
    assert {f"cuda.{constant}", "cuda.reduction.start", "cuda.reduction.hop", "link.nvlink", "link.pcie"} <= names
    alone = {one.name for one in figures_used(roofline.predict("rtx-3090x2", "llama-3.1-8b", "q4_0"))}
    assert not [name for name in alone if "reduction" in name or name.startswith("link")]


def test_an_overridden_figure_says_so() -> None:
    result = roofline.predict("rtx-4090", "llama-2-7b", "q4_0", set={"memory.bandwidth": "2 TB/s"})
    (figure,) = [one for one in figures_used(result) if one.name == "memory.bandwidth"]
    assert (figure.value, figure.basis) == ("2 TB/s", "override")


def test_the_kernels_behind_the_numbers_are_listed() -> None:
    names = {figure.name for figure in figures_used(roofline.predict("rtx-4090", "llama-2-7b", "q4_k_m"))}
    for label in ("q4_k many", "q4_k few", "q6_k few", "attention f16 few", "attention f16 many"):
        assert f"cuda.kernel {label}" in names


@settings(max_examples=15)
@given(
    st.sampled_from(["rpi5", "rtx-4090", "m2-ultra-76", "tr-7995wx"]),
    st.sampled_from(["tinyllama-1.1b", "gemma-3-4b", "deepseek-v2-lite"]),
    st.integers(min_value=0, max_value=2000),
    st.integers(min_value=0, max_value=200),
    st.integers(min_value=1, max_value=32),
)
def test_anything_can_be_explained(hw: str, name: str, prompt: int, gen: int, batch: int) -> None:
    result = roofline.predict(hw, name, "q4_0", prompt=prompt, gen=gen, batch=batch)
    for form in ("table", "json", "csv", "md"):
        assert report.explanation(result, form)
