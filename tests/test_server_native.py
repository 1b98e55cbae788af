"""llama-server and llamafile by their own API: speeds recomputed from counts and times, and lies refused."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from roofline.engine.server.results import Measured, ServerRun
from roofline.engine.server.session import measure_server
from roofline.engine.server.timings import read_timings
from roofline.spec import SpecError
from tests.servers import (
    PROMPT_MS,
    STEP_MS,
    Call,
    Json,
    Reply,
    Route,
    Server,
    completion,
    events,
    llama,
    old_llamafile,
    reply,
    timings,
    tokens_of,
)


def run(server: Server, **changed: Any) -> ServerRun:
    usual: dict[str, Any] = {"prompt": 64, "gen": 12, "repetitions": 3, "timeout_s": 5.0, "deadline_s": 20.0, "seed": 1}
    return measure_server(server.url, **{**usual, **changed})


def of(found: ServerRun, phase: str, batch: int = 1) -> Measured:
    (one,) = [each for each in found.measured if (each.phase, each.batch) == (phase, batch)]
    return one


def test_a_healthy_llama_server() -> None:
    with Server(llama()) as server:
        found = run(server)
    assert (found.api, found.complete, found.problems, found.seed) == ("llama", True, (), 1)
    assert found.connect_s is not None
    assert found.connect_s > 0
    prefill, decode = of(found, "pp"), of(found, "tg")
    # 0.02 ms a prompt token and 0.04 ms a pass, whatever the client's clock says.
    assert prefill.tok_s == pytest.approx(1000 / PROMPT_MS)
    assert decode.tok_s == pytest.approx(1000 / STEP_MS)
    assert prefill.source == decode.source == "server timings"
    # The last word of a prompt can be one of two tokens.
    assert (prefill.prompt, decode.depth) == pytest.approx((64, 16), abs=1)
    assert (prefill.gen, prefill.depth, decode.prompt, decode.gen) == (0, 0, 0, 12)
    assert len(prefill.samples) == len(decode.samples) == 3
    assert prefill.std == pytest.approx(0, abs=1e-6)
    assert prefill.ttft_s is not None
    assert prefill.tpot_s is None
    assert decode.tpot_s is not None


def test_what_the_server_says_of_itself() -> None:
    with Server(llama()) as server:
        facts = run(server, gen=0, repetitions=1).facts
    assert facts.is_llama
    assert (facts.build, facts.model, facts.file, facts.ftype) == ("b7000-abc", "smollm2.gguf", "smollm2.gguf", "Q4_1")
    assert (facts.parameters, facts.size_bytes, facts.vocab, facts.hidden) == (134515008, 96576768, 49152, 576)
    assert (facts.context, facts.trained_context, facts.slots) == (4096, 8192, 4)


def test_what_is_asked_of_the_server() -> None:
    with Server(llama()) as server:
        run(server, repetitions=2, warm_up=1)
        asked = server.asked("/completion")
    # One warm-up and two repetitions of each phase.
    assert [body["n_predict"] for body in asked] == [0, 0, 0, 12, 12, 12]
    assert all((b["cache_prompt"], b["ignore_eos"], b["temperature"]) == (False, True, 0) for b in asked)
    assert len({body["prompt"].split()[0] for body in asked}) == 6
    assert all(abs(tokens_of(body["prompt"]) - 64) <= 1 for body in asked[:3])


def test_an_old_llamafile_divides_n_by_the_time_and_is_recomputed() -> None:
    with Server(old_llamafile()) as server:
        found = run(server)
    assert (found.api, found.complete, found.facts.is_llama) == ("llama", True, True)
    # It says n / t with n = 12, 12/11 of what 11 passes took.
    assert of(found, "tg").tok_s == pytest.approx(1000 / STEP_MS)
    assert "the server's predicted_per_second is n/t; the speeds here are (n - 1)/t" in found.notes
    # The one special token that it processes is part of the length from the second prompt on.
    assert of(found, "pp").prompt == pytest.approx(64, abs=1)


@pytest.mark.parametrize(
    ("stated", "definition"),
    [(127 / 2, "(n - 1)/t"), (128 / 2, "n/t"), (100.0, "neither"), (None, ""), ("fast", ""), (True, "")],
)
def test_which_formula_the_server_uses(stated: object, definition: str) -> None:
    told = timings(512, 128, predicted_ms=2000.0, predicted_per_second=stated)
    found = read_timings(told, "here")
    assert found.stated == definition
    assert found.gen_tok_s == pytest.approx(127 / 2)


def test_servers_before_slots_counted_passes() -> None:
    """llama.cpp of 2023: 128 tokens came, and predicted_n = 127 is the number of passes after the prompt's."""
    assert read_timings(timings(9, 127, predicted_ms=2000.0), "here", decoded=128).gen_tok_s == pytest.approx(127 / 2)
    assert read_timings(timings(9, 128, predicted_ms=2000.0), "here", decoded=128).gen_tok_s == pytest.approx(127 / 2)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"prompt_ms": -1.0}, "prompt_ms as milliseconds above 0, found -1.0"),
        ({"prompt_ms": 0}, "prompt_ms as milliseconds above 0, found 0"),
        ({"prompt_ms": math.inf}, "prompt_ms as milliseconds above 0, found inf"),
        ({"prompt_ms": "12"}, "prompt_ms as milliseconds above 0, found '12'"),
        ({"prompt_ms": 10**400}, "prompt_ms as milliseconds above 0, found a huge int|prompt_ms .* found 1000"),
        ({"prompt_ms": None}, "prompt_ms as milliseconds above 0, found no such key"),
        ({"predicted_ms": math.nan}, "predicted_ms as milliseconds above 0, found nan"),
        ({"predicted_ms": True}, "predicted_ms as milliseconds above 0, found True"),
        ({"prompt_n": -3}, "prompt_n as a number of tokens, at least 0, found -3"),
        ({"prompt_n": 3.5}, "prompt_n as a number of tokens, at least 0, found 3.5"),
        ({"prompt_n": math.nan}, "prompt_n as a number of tokens, at least 0, found nan"),
        ({"predicted_n": 10**30}, "predicted_n as a number of tokens"),
        ({"predicted_n": None}, "predicted_n as a number of tokens, at least 0, found no such key"),
        ({"cache_n": "many"}, "cache_n as a number of tokens"),
    ],
)
def test_impossible_timings_are_refused(changed: Json, message: str) -> None:
    told = {key: value for key, value in {**timings(512, 128), **changed}.items() if value is not None}
    with pytest.raises(SpecError, match=f"^here: expected .*{message}"):
        read_timings(told, "here")


def lying(changed: Json | None = None, more: Json | None = None) -> Route:
    return lambda call: completion(call, changed, more)


@pytest.mark.parametrize(
    ("route", "message"),
    [
        (lying({"prompt_ms": -5.0}), "prompt_ms as milliseconds above 0, found -5.0"),
        (lying({"prompt_ms": math.nan}), "expected JSON, found NaN"),
        (lying({"predicted_n": 500}), "at most 1 generated tokens, found 500"),
        (lying(more={"tokens_predicted": 99}), "at most 1 generated tokens, found 99"),
        (lying({"prompt_n": 9999}), "a prompt of about 6[345] tokens, found 9999 processed"),
        (lying(more={"timings": None}), "an answer with timings, found the keys content, stop"),
        (lying(more={"truncated": True}), "the whole prompt to fit, found it truncated"),
        (lambda _: reply(["no", "object"]), "expected a JSON object"),
        (lambda _: Reply(b"<html>"), "expected JSON, found '<html>'"),
        (lambda _: reply({"error": {"message": "the request exceeds the context"}}, 400), "status 400: the request ex"),
    ],
)
def test_a_server_that_lies_is_refused_when_nothing_else_was_measured(route: Route, message: str) -> None:
    with Server(llama(completion=route)) as server, pytest.raises(SpecError, match=message) as caught:
        run(server, gen=0)
    assert str(caught.value).startswith(server.url)


def test_a_lie_in_one_phase_leaves_the_other() -> None:
    def route(call: Call) -> Reply:
        return completion(call, {"predicted_ms": -1.0} if call.body["n_predict"] else None)

    with Server(llama(completion=route)) as server:
        found = run(server)
    assert [each.phase for each in found.measured] == ["pp"]
    assert not found.complete
    assert len(found.problems) == 1
    assert "predicted_ms as milliseconds above 0, found -1.0" in found.problems[0]


def caching(cached: Callable[[int, int], int], new: bool) -> Route:
    """A server that takes `cached(number, tokens)` of its number-th prompt from a cache, and says so if it is new."""
    numbers = iter(range(1_000_000))

    def route(call: Call) -> Reply:
        prompt = tokens_of(call.body["prompt"])
        held = cached(next(numbers), prompt)
        return completion(call, {"cache_n": held if new else None, "prompt_n": prompt - held})

    return route


@pytest.mark.parametrize("new", [True, False])
def test_a_cache_that_cannot_be_switched_off(new: bool) -> None:
    with (
        Server(llama(completion=caching(lambda _, tokens: tokens - 1, new))) as server,
        pytest.raises(SpecError, match=r"expected prompts that are processed whole, found 6\d tokens of a new one"),
    ):
        run(server, gen=0)
    assert len(server.asked("/completion")) == 2


def test_a_cache_that_is_met_once_costs_another_try() -> None:
    with Server(llama(completion=caching(lambda number, _: 40 if number == 1 else 0, True))) as server:
        found = run(server, gen=0)
    assert found.complete
    assert of(found, "pp").tok_s == pytest.approx(1000 / PROMPT_MS)
    assert len(server.asked("/completion")) == 1 + 1 + 3


def test_a_cached_special_token_spoils_nothing() -> None:
    with Server(llama(completion=caching(lambda _, tokens: 1, True))) as server:
        prefill = of(run(server, gen=0), "pp")
    assert prefill.depth == 1


def test_answers_that_end_early_are_told() -> None:
    def route(call: Call) -> Reply:
        call.body["n_predict"] = min(call.body["n_predict"], 7)
        return completion(call)

    with Server(llama(completion=route)) as server:
        found = run(server)
    assert of(found, "tg").gen == 7
    assert "answers ended early, at 7 of 12 tokens" in found.notes


def test_a_stream_without_its_last_piece() -> None:
    def route(call: Call) -> Reply:
        return events([{"content": " word", "stop": False}]) if call.body["n_predict"] else completion(call)

    with Server(llama(completion=route)) as server:
        found = run(server)
    assert "expected a last piece with timings, found the stream ended without" in found.problems[0]


def test_a_clock_that_contradicts_the_client_is_told() -> None:
    with Server(llama(completion=lying({"prompt_ms": 3.6e6}))) as server:
        found = run(server, gen=0)
    assert any(
        note.startswith("the server says it worked 3.6e+03 s on an answer that came after") for note in found.notes
    )
