"""`roofline bench --server`: a server's speeds beside the prediction, recorded, with what it says of itself."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from roofline.engine.record import own
from tests.running import Run, runner
from tests.servers import Call, Reply, Server, completion, llama, openai
from tests.small import fresh_catalog

SHORT = ("--prompt", "64", "--gen", "96", "--repetitions", "3", "--timeout", "20")
MODEL = ("--model", "smollm2-135m", "--quant", "q4_0", "--hw", "rpi5")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with fresh_catalog():
        yield runner(capsys)


def test_a_llama_server_is_measured_compared_and_recorded(run: Run) -> None:
    with Server(llama()) as server:
        outcome = run("bench", "--server", server.url, *MODEL, *SHORT, "--format", "json")
    assert outcome.code == 0, outcome.err
    answer = json.loads(outcome.out)
    assert answer["command"] == ["server", server.url]
    prefill, decode = answer["rows"]
    assert (prefill["phase"], prefill["gen"], prefill["batch"]) == ("prefill", None, 1)
    assert (decode["phase"], decode["prompt"], decode["gen"], decode["batch"]) == ("decode", None, 96, 1)
    assert abs(prefill["prompt"] - 64) <= 1  # the last word may be two tokens
    for row, served in zip(answer["rows"], answer["served"], strict=True):
        assert row["measured_tok_s"] == pytest.approx(served["tok_s"])
        assert row["low_tok_s"] < row["predicted_tok_s"] < row["high_tok_s"]
        assert len(served["samples"]) == 3
        assert served["ttft_s"] > 0
    assert [row.phase for row in own().observations] == ["pp", "tg"]
    assert {row.note for row in own().observations} == {"over HTTP, llama, server timings"}


def test_the_table_has_the_times_of_single_requests(run: Run) -> None:
    with Server(llama()) as server:
        out = run("bench", "--server", server.url, *MODEL, *SHORT, "--no-record", "--concurrency", "1,2").out
    assert "TTFT" in out
    assert "trimmed mean" in out
    assert "connecting took" in out
    assert own().observations == ()


def test_an_openai_server_is_measured_by_the_client_s_clock(run: Run) -> None:
    with Server(openai()) as server:
        words = ("bench", "--server", server.url, *MODEL, *SHORT, "--api", "completions", "--format", "json")
        answer = json.loads(run(*words).out)
    assert {one["source"] for one in answer["served"]} == {"client clock"}
    assert all(one["tpot_s"] for one in answer["served"] if one["phase"] == "tg")


def test_a_server_that_dies_gives_what_was_measured_so_far(run: Run) -> None:
    asked = 0

    def route(call: Call) -> Reply:
        nonlocal asked
        asked += 1
        return completion(call) if asked < 7 else Reply(b"", end="die", length=100)

    with Server(llama(completion=route)) as server:
        outcome = run("bench", "--server", server.url, *MODEL, *SHORT)
    assert outcome.code == 0, outcome.err
    assert "prefill" in outcome.out
    assert "Note: http" in outcome.out
    assert own().observations


def test_a_server_that_is_not_there_is_one_line(run: Run) -> None:
    outcome = run("bench", "--server", "http://127.0.0.1:9", *MODEL, *SHORT)
    assert outcome.code == 1
    assert outcome.err.startswith("error: http://127.0.0.1:9")
    assert outcome.err.count("\n") == 1


def test_a_model_that_nobody_knows_is_told_before_anything_is_sent(run: Run) -> None:
    with Server(llama()) as server:
        outcome = run("bench", "--server", server.url, "--model", "nonsense-7b", "--quant", "q4_0", "--hw", "rpi5")
        assert "did you mean" in outcome.err or "roofline list" in outcome.err
        assert server.asked("/completion") == []


def test_the_server_says_the_quantisation_where_the_user_does_not(run: Run) -> None:
    with Server(llama()) as server:
        outcome = run("bench", "--server", server.url, "--model", "smollm2-135m", "--hw", "rpi5", *SHORT)
    assert outcome.code == 0, outcome.err
    assert {one.quant for one in own().observations} == {"q4_1"}


def test_another_quantisation_than_the_server_s_is_remarked_on(run: Run) -> None:
    with Server(llama()) as server:
        outcome = run("bench", "--server", server.url, *MODEL, *SHORT)
    assert "Note: the server says that its model is in q4_1, and q4_0 was asked for." in outcome.out


def test_a_second_tokenizer_tells_the_speed_in_its_own_tokens(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that makes a token of every two characters, in place of the package's."""

    class Pairs:
        @staticmethod
        def from_file(path: str) -> "Pairs":
            assert path == str(tmp_path / "tokenizer.json")
            return Pairs()

        def encode(self, text: str, add_special_tokens: bool) -> SimpleNamespace:
            return SimpleNamespace(ids=[1] * (len(text) // 2))

    monkeypatch.setitem(sys.modules, "tokenizers", SimpleNamespace(Tokenizer=Pairs))
    with Server(llama()) as server:
        words = (
            "bench",
            "--server",
            server.url,
            *MODEL,
            *SHORT,
            "--second-tokenizer",
            str(tmp_path / "tokenizer.json"),
        )
        answer = json.loads(run(*words, "--format", "json").out)
    (line,) = [remark for remark in answer["remarks"] if "a character" in remark]
    own_rate = float(line.split()[0])
    prefill = next(one["tok_s"] for one in answer["served"] if one["phase"] == "pp")
    told = float(line.partition("prefill ")[2].split(",")[0])
    second_rate = float(line.partition("tokenizer, ")[2].split()[0])
    assert second_rate == pytest.approx(0.5, abs=0.01)
    assert told == pytest.approx(prefill * second_rate / own_rate, rel=0.02)
