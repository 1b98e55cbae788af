"""Servers with OpenAI's API: timed at the client, tokens by usage where it is told."""

from typing import Any

import pytest

from roofline.engine.server.answer import Answer
from roofline.engine.server.results import ServerRun, measured_decode, measured_prefill
from roofline.engine.server.session import measure_server
from roofline.engine.server.timings import read_timings
from roofline.spec import SpecError
from tests.servers import Call, Reply, Route, Server, events, openai, reply, timings, tokens_of


def run(routes: dict[str, Route], **changed: Any) -> ServerRun:
    usual: dict[str, Any] = {"prompt": 64, "gen": 12, "repetitions": 2, "timeout_s": 5.0, "deadline_s": 20.0, "seed": 1}
    with Server(routes) as server:
        return measure_server(server.url, **{**usual, **changed})


@pytest.mark.parametrize("chat", [False, True])
def test_the_right_api_is_found(chat: bool) -> None:
    found = run(openai(chat))
    assert (found.api, found.problems) == ("chat" if chat else "completions", ())
    assert (found.facts.model, found.facts.software) == ("some-model", "someone")
    prefill, decode = found.measured
    assert prefill.source == decode.source == "client clock"
    assert prefill.counted == decode.counted == "usage"
    assert (decode.gen, len(decode.samples)) == (12, 2)
    assert decode.tpot_s is not None
    # Both are of the same answers: one request at a time has a token every tpot seconds.
    assert decode.tok_s == pytest.approx(1 / decode.tpot_s, rel=0.5)
    assert found.tokens_per_char is None  # nobody offers a tokenizer


def test_the_length_of_a_prompt_is_learnt_from_usage() -> None:
    prefill = run(openai(chat=True), repetitions=3, gen=0).measured[0]
    # The template's 20 tokens are counted; the first prompt was 20 % and more too long.
    assert prefill.prompt == pytest.approx(64, abs=8)


def test_a_tokenizer_of_vllm_is_used() -> None:
    routes = openai()
    routes["/tokenize"] = lambda call: (
        reply({"count": tokens_of(call.body["prompt"])}) if "prompt" in call.body else reply({"error": "prompt?"}, 400)
    )
    found = run(routes, second_tokenizer=lambda text: 2 * tokens_of(text))
    assert found.measured[0].prompt == pytest.approx(64, abs=1)
    assert found.tokens_per_char is not None
    assert found.second_tokens_per_char == pytest.approx(2 * found.tokens_per_char)


def test_without_usage_pieces_are_counted_and_told() -> None:
    found = run(openai(usage=False))
    assert [each.phase for each in found.measured] == ["tg"]
    assert found.measured[0].counted == "chunks"
    assert found.measured[0].gen == 12
    assert any("each piece of the stream counts as one" in note for note in found.notes)
    assert any("expected the prompt's tokens in usage or /tokenize, found neither" in each for each in found.problems)


def test_a_strict_server_is_asked_for_less() -> None:
    found = run(openai(strict=True))
    assert found.complete
    assert "the server refuses ignore_eos: an answer may end early" in found.notes


def test_a_very_strict_server_is_asked_for_nothing_special() -> None:
    usual = openai(usage=False)["/v1/completions"]

    def strict(call: Call) -> Reply:
        extra = set(call.body) - {"model", "prompt", "max_tokens", "temperature", "stream"}
        return reply({"detail": f"extra: {sorted(extra)}"}, 422) if extra else usual(call)

    found = run({"/v1/completions": strict}, prompt=0)
    assert found.measured[0].counted == "chunks"
    assert any("refuses ignore_eos and stream_options" in note for note in found.notes)


def test_a_refusal_for_another_reason_is_told_as_it_was() -> None:
    routes = {"/v1/completions": lambda _: reply({"error": {"message": "model is asleep"}}, 400)}
    with pytest.raises(SpecError, match="HTTP status 400: model is asleep"):
        run(routes, api="completions")


def test_timings_of_a_llama_server_are_used() -> None:
    def route(call: Call) -> Reply:
        prompt, gen = tokens_of(call.body["prompt"]), call.body["max_tokens"]
        pieces: list[object] = [{"choices": [{"text": " w", "finish_reason": None}]} for _ in range(gen)]
        usage = {"prompt_tokens": prompt, "completion_tokens": gen}
        last = {"choices": [{"text": "", "finish_reason": "length"}], "usage": usage, "timings": timings(prompt, gen)}
        return events([*pieces, last, "[DONE]"])

    found = run({"/v1/completions": route}, api="completions")
    assert [each.source for each in found.measured] == ["server timings", "server timings"]
    assert [each.tok_s for each in found.measured] == [pytest.approx(50_000), pytest.approx(25_000)]


@pytest.mark.parametrize(
    ("usage", "message"),
    [
        ({"completion_tokens": 500}, "at most 1 generated tokens, found 500"),
        ({"completion_tokens": -1}, "completion_tokens as a number of tokens, at least 0, found -1"),
        ({"completion_tokens": "1"}, "completion_tokens as a number of tokens, at least 0, found '1'"),
        ({"prompt_tokens": 1e99}, "prompt_tokens as a number of tokens"),
        ({"prompt_tokens": None}, "prompt_tokens as a number of tokens"),
        ({"prompt_tokens_details": {"cached_tokens": 10**6}}, r"expected at most \d+ cached tokens, found 1000000"),
    ],
)
def test_usage_that_cannot_be_is_refused(usage: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        run(openai(**usage), api="completions", gen=0)


def test_a_prefix_cache_is_no_prefill() -> None:
    with pytest.raises(SpecError, match="expected prompts that are processed whole, found 48 tokens of a new one"):
        run(openai(prompt_tokens_details={"cached_tokens": 48}), api="completions", gen=0)


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([{"choices": [{"text": " w"}]}], "expected a stream to its end, found it broken off after 1 pieces"),
        (["[DONE]"], "expected generated text, found none"),
        ([{"hello": 1}], "expected choices, found the keys hello"),
        (["no json"], "expected JSON, found 'no json'"),
    ],
)
def test_streams_of_another_kind(pieces: list[object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        run({"/v1/completions": lambda _: events(pieces)}, api="completions")


def test_tokens_that_come_all_at_once_have_no_speed() -> None:
    def route(call: Call) -> Reply:
        piece = b'data: {"choices": [{"text": " w", "finish_reason": "stop"}]}\n\n'
        return Reply(piece * call.body["max_tokens"], kind="text/event-stream")

    with pytest.raises(SpecError, match="expected the tokens one by one, found them all at once"):
        run({"/v1/completions": route}, api="completions", prompt=0)


def test_which_of_several_models() -> None:
    routes = openai()
    routes["/v1/models"] = lambda _: reply({"data": [{"id": "Big-Model-70B"}, {"id": "small-model"}]})
    with pytest.raises(SpecError, match=r"one of its models \(Big-Model-70B, small-model\), found 'none'"):
        run(routes)
    with pytest.raises(SpecError, match="found 'model'"):
        run(routes, model_hint="model")
    with Server(routes) as server:
        measure_server(server.url, prompt=0, gen=3, repetitions=1, model_hint="bigmodel")
        assert {body["model"] for body in server.asked("/v1/completions")} == {"Big-Model-70B"}


def test_a_server_of_another_kind() -> None:
    with pytest.raises(SpecError, match="expected llama-server's or OpenAI's API, found neither"):
        run({"/": lambda _: Reply(b"<html>")})


def answer(sent: float, first: float, last: float, gen: int = 11, prompt: int = 100, cached: int = 0) -> Answer:
    return Answer(prompt, cached, gen, "usage", sent, first, last, gen)


def test_speeds_of_requests_together() -> None:
    """Two requests: 100 and 200 prompt tokens by second 3, sent at 1; 10 and 20 further tokens from second 2 to 7."""
    found = [answer(1.0, 2.0, 7.0, gen=11, prompt=100), answer(1.0, 3.0, 6.0, gen=21, prompt=220, cached=20)]
    prefill, decode = measured_prefill([found]), measured_decode([found])
    assert prefill is not None
    assert decode is not None
    assert prefill.tok_s == pytest.approx((100 + 200) / (3.0 - 1.0))
    assert decode.tok_s == pytest.approx((10 + 20) / (7.0 - 2.0))
    assert decode.batch == prefill.batch == 2
    assert decode.ttft_s == pytest.approx(1.5)  # of 1 and 2
    assert decode.ttft_p90_s == pytest.approx(1.9)
    assert decode.tpot_s == pytest.approx((5 / 10 + 3 / 20) / 2)
    assert decode.source == "client clock"


def test_server_timings_of_one_request_count_and_of_several_do_not() -> None:
    told = read_timings(timings(100, 11), "here")
    one = Answer(100, 0, 11, "timings", 0.0, 1.0, 2.0, 11, told)
    alone, together = measured_decode([[one]]), measured_decode([[one, one]])
    assert alone is not None
    assert together is not None
    assert (alone.source, together.source) == ("server timings", "client clock")
    assert (alone.tok_s, together.tok_s) == pytest.approx((25_000, 20.0))


def test_no_rounds_are_no_measurement() -> None:
    assert measured_prefill([]) is None
    assert measured_decode([]) is None
