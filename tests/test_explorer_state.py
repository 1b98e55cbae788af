"""A state of the explorer and its three spellings: what is written is read again, and what is hostile is told."""

import shlex
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline import points
from roofline.cli.options import settings
from roofline.explorer import names, view
from roofline.explorer.controls import values, words_of
from roofline.explorer.state import (
    BACKENDS,
    MOST_DEVICES,
    OPTIONS,
    State,
    from_query,
    read,
    to_command,
    to_query,
    words,
)
from roofline.spec import SpecError

DEVICES = ("rpi5", "rpi5-4gb", "rtx-3090", "rtx-3090x2", "rtx-3090+ryzen-7950x", "m2-ultra-76", "rtx-4090+rtx-3090")
TOKENS = st.integers(0, 10**9)
STATES = st.builds(
    State,
    hw=st.lists(st.sampled_from(DEVICES), min_size=1, max_size=MOST_DEVICES, unique=True).map(tuple),
    model=st.sampled_from(["mistral-7b", "llama-3.1-8b", "qwen3-32b"]),
    quant=st.sampled_from(["q4_0", "q4_k_m", "f16", "int4"]),
    prompt=TOKENS,
    gen=TOKENS,
    depth=TOKENS,
    batch=st.integers(1, 10**9),
    kv=st.sampled_from(["f16", "q8_0", "q8_0,q4_0"]),
    runtime=st.sampled_from(["llama.cpp", "llamafile-0.8"]),
    backend=st.sampled_from(["", *BACKENDS]),
    threads=st.none() | st.integers(1, 10**9),
    gpu_layers=st.none() | TOKENS,
    flash_attn=st.none() | st.booleans(),
    set=st.lists(
        st.sampled_from(["memory.bandwidth=102.4GB/s", "cpu.cores=4", "note=a b&c=d;+%41#?'\"", "x=<script>"]),
        max_size=3,
        unique=True,
    ).map(tuple),
)


@given(STATES)
def test_a_link_is_read_as_it_was_written(state: State) -> None:
    query = to_query(state)
    assert from_query(query) == (state, [])
    assert from_query(f"?{query}", State(model="gemma-2b", kv="q4_0")) == (state, [])
    assert query.isascii() and not set(query) & set(" <>\"'#")


@given(STATES)
def test_the_words_of_a_state_are_read_as_it(state: State) -> None:
    assert read(words(state)) == (state, {})


@given(STATES)
def test_the_controls_hold_a_state(state: State) -> None:
    if not any(";" in figure for figure in state.set):  # the control has that between figures
        assert read(words_of(values(state))) == (state, {})


@given(STATES)
def test_the_command_line_says_the_same(state: State) -> None:
    """What typer makes of each line is what the explorer predicts with."""
    from typer.main import get_command

    from roofline.cli.app import app

    lines = to_command(state).split("\n")
    assert len(lines) == len(state.hw)
    predict = get_command(app).commands["predict"]  # type: ignore[attr-defined]
    for line, device in zip(lines, state.hw, strict=True):
        program, command, *arguments = shlex.split(line)
        assert (program, command) == ("roofline", "predict")
        context = predict.make_context("predict", arguments)
        given = dict(context.params)
        assert (given.pop("hw"), given.pop("model"), given.pop("quant")) == (device, state.model, state.quant)
        found, wanted = settings(given), state.settings()
        assert points.assignments(found["figures"]) == (wanted["set"] or {})
        for name in ("prompt", "gen", "depth", "batch"):
            assert points.one_number(name, found[name]) == wanted[name]
        for name in ("runtime", "backend", "kv", "threads", "gpu_layers", "flash_attention"):
            assert found[name] == wanted[name], name


def test_a_command_line_is_short_where_all_is_as_usual() -> None:
    assert to_command(State(hw=("rpi5",))) == "roofline predict --hw rpi5 --model llama-3.1-8b --quant q4_k_m"


def test_the_example_link() -> None:
    state, problems = from_query("?hw=rpi5,m2-ultra-76&model=mistral-7b&quant=q4_0&prompt=4k&kv=q8_0")
    assert not problems
    assert state == State(hw=("rpi5", "m2-ultra-76"), model="mistral-7b", quant="q4_0", prompt=4096, kv="q8_0")


def test_names_are_forgiving_and_become_ids() -> None:
    state, problems = from_query("hw=RPI5,2x%20RTX%203090,rtx3090%20%2B%20Ryzen-7950X&model=Mistral%207B&quant=Q4_K_M")
    assert not problems
    assert state.hw == ("rpi5", "rtx-3090x2", "rtx-3090+ryzen-7950x")
    assert (state.model, state.quant) == ("mistral-7b", "q4_k_m")


def test_a_plus_in_a_link_is_a_plus() -> None:
    assert from_query("hw=rtx-3090+ryzen-7950x")[0].hw == ("rtx-3090+ryzen-7950x",)


def test_a_model_that_is_published_in_one_form_needs_no_quant() -> None:
    assert from_query("hw=rtx-3090&model=gpt-oss-20b")[0].quant == ""
    assert from_query("hw=rtx-3090&model=gpt-oss-20b&quant=q4_k_m")[0].quant == "q4_k_m"
    assert from_query("hw=rtx-3090&model=mistral-7b")[0].quant == State().quant  # it has none of its own
    assert from_query(to_query(State(model="gpt-oss-20b", quant="")))[0].quant == ""


HOSTILE = {
    "hw=nonsense": "--hw",
    "hw=<script>alert(1)</script>": "--hw",
    "hw=rpi5&model=%3Cimg%20src%3Dx%3E": "--model",
    "hw=rpi5&quant=q99": "quant",
    "hw=rpi5&prompt=-1": "--prompt",
    "hw=rpi5&prompt=nan": "--prompt",
    "hw=rpi5&prompt=1e400": "--prompt",
    "hw=rpi5&batch=0": "--batch",
    "hw=rpi5&prompt=" + "9" * 3000: "--prompt",
    "hw=rpi5&kv=q8_0,q4_0,f16": "--kv",
    "hw=rpi5&prompt=1&prompt=2": "--prompt",
    "hw=rpi5&evil=1": "evil",
    "hw=rpi5&__class__=1": "__class__",
    "hw=rpi5&gpu_layers=3": "gpu_layers",
    "hw=rpi5%00": "--hw",
    "hw=rpi5&model=%1b%5b31mred": "--model",
    "hw=rpi5&set=%00=1": "--set",
    "hw=rpi5&set=bandwidth": "--set",
    "hw=rpi5,rpi4,n100,n150,rtx-3090,rtx-4090,a100-sxm-80": "--hw",
    "hw=" + "rtx-3090+" * 8 + "ryzen-7950x": "",  # long, and eight of one are a count
    "hw=rtx-3090x8+rtx-4090+ryzen-7950x": "at most 8 devices together",
    "hw=rtx-3090x5+ryzen-7950x,rtx-4090x4+ryzen-7950x": "at most 8 devices in all",
    "hw=rtx-3090x999": "--hw",
    "hw=%F0%28%8C%28": "--hw",
    "hw=rpi5&flash-attn=maybe": "--flash-attn",
    "hw=rpi5&backend=quantum": "--backend",
    "hw=rpi5&runtime=x": "--runtime",
    "x" * 10_000_000: "link",
    "&&&===&=&": "",
}


@pytest.mark.parametrize("query", HOSTILE, ids=lambda query: query[:40])
def test_a_hostile_link_is_told_in_a_line(query: str) -> None:
    start = time.perf_counter()
    state, problems = from_query(query)
    for problem in problems:
        assert problem.isprintable() and len(problem) < 500
    if HOSTILE[query]:
        assert any(HOSTILE[query] in problem for problem in problems), problems
    assert read(words(state)) == (state, {})  # what it falls back on is sound
    assert time.perf_counter() - start < 30  # that it ends, not how fast


@given(st.text())
def test_no_link_is_too_strange(query: str) -> None:
    state, problems = from_query(query)
    assert isinstance(state, State)
    assert all(problem.isprintable() for problem in problems)


@given(st.dictionaries(st.sampled_from(OPTIONS), st.text(max_size=30)))
def test_no_words_are_too_strange(given_words: dict[str, str]) -> None:
    state, problems = read(given_words)
    assert set(problems) <= set(given_words)
    assert read(words(state)) == (state, {})


@given(
    st.lists(
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.none() | st.text()),
        min_size=len(OPTIONS),
        max_size=len(OPTIONS),
    )
)
def test_no_controls_are_too_strange(given_values: list[Any]) -> None:
    state, _ = read(words_of(given_values))
    assert read(words(state)) == (state, {})


@pytest.mark.parametrize(
    "name",
    [
        "{file}", "{file}x2", "2x {file}", "rtx-3090+{file}", "{file}+ryzen-7950x", "../{file}", "./x.toml", "x.toml",
        "x.TOML", "/etc/passwd", "\\\\host\\x.toml", "{file}-8gb", "x.toml x2",
    ],
)  # fmt: skip
def test_no_file_of_this_machine_is_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A valid file that is there, so that only the refusal keeps it out."""
    source = Path(__file__).parent.parent / "hardware" / "sbc" / "rpi5.toml"
    (tmp_path / "x.toml").write_bytes(source.read_bytes())
    monkeypatch.chdir(tmp_path)
    text = name.format(file=tmp_path / "x.toml")
    with pytest.raises(SpecError, match="--hw"):
        names.hardware(text)
    state, problems = from_query(f"hw={text}")
    assert problems and state.hw == State().hw


@pytest.mark.parametrize("name", ["x.gguf", "config.json", "x.toml", "/etc/passwd", "mistral-7b"])
def test_no_model_file_is_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name.strip("/").replace("/", "-")).write_text("{}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match="--model"):
        names.model(name)


def test_a_runtime_file_is_not_read() -> None:
    with pytest.raises(SpecError, match="--runtime"):
        names.runtime("/etc/passwd.toml")


def test_what_fails_on_one_device_does_not_hide_the_others() -> None:
    state = State(hw=("rpi5", "rtx-3090"), backend="cuda")
    pi, card = view.devices(state)
    assert pi.prediction is None and "cuda" in pi.reason
    assert card.prediction is not None and card.runs
    assert "No prediction for rpi5" in view.verdict((pi, card))


def test_the_verdict_names_the_fastest_and_what_does_not_fit() -> None:
    found = view.devices(State(hw=("rpi5", "rtx-3090", "h100-sxm"), model="llama-3.1-70b"))
    told = view.verdict(found)
    assert "fastest on" not in told and "runs on NVIDIA H100" in told  # 40 GB fit on it alone
    assert "Does not fit on Raspberry Pi 5 (BCM2712) and NVIDIA GeForce RTX 3090" in told


def test_the_roofline_is_of_a_device_that_runs() -> None:
    found = view.devices(State(hw=("rpi5", "h100-sxm"), model="llama-3.1-70b"))
    assert view.focused("", found) == "h100-sxm"  # 40 GB do not fit on the other
    assert view.focused("rpi5", found) == "rpi5"
    assert view.focused("", found[:1]) == "rpi5"


def test_nothing_asked_for_is_told() -> None:
    found = view.devices(State(hw=("rtx-3090",), prompt=0, gen=0))
    assert "nothing is to be generated" in view.verdict(found)
