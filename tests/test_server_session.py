"""A whole run: several requests at once, servers that load, die and stall half-way, and what is kept of it."""

import re
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from roofline.engine.server import ServerRun, measure_server
from roofline.engine.server.address import parse_address
from roofline.engine.server.answer import Answer
from roofline.engine.server.client import Connection
from roofline.engine.server.together import ask_together
from roofline.spec import SpecError
from tests.servers import MODEL, Call, Reply, Route, Server, completion, events, llama, openai, reply


def run(server: Server, **changed: Any) -> ServerRun:
    usual: dict[str, Any] = {"prompt": 32, "gen": 8, "repetitions": 2, "timeout_s": 5.0, "deadline_s": 20.0, "seed": 1}
    return measure_server(server.url, **{**usual, **changed})


def from_the(number: int, usual: Route, later: Callable[[Call], Reply]) -> Route:
    """A route that answers as usual until its number-th call, counted from 1."""
    calls = iter(range(1, 1_000_000))
    return lambda call: usual(call) if next(calls) < number else later(call)


def test_every_concurrency_is_measured_with_new_prompts() -> None:
    with Server(llama()) as server:
        found = run(server, concurrency=(1, 3))
        prompts = [body["prompt"] for body in server.asked("/completion")]
    assert [(each.phase, each.batch) for each in found.measured] == [("pp", 1), ("tg", 1), ("pp", 3), ("tg", 3)]
    assert found.measured[3].source == "client clock"
    assert found.measured[3].ttft_p90_s is not None
    assert len(prompts) == len(set(prompts)) == (1 + 2) * (1 + 1 + 3 + 3)
    assert found.complete


def test_more_requests_than_slots_are_told() -> None:
    with Server(llama()) as server:
        found = run(server, concurrency=(5,), repetitions=1, warm_up=0, prompt=0)
    assert "5 requests at the same time, but the server works on 4: the rest queue" in found.notes


def test_a_prompt_that_does_not_fit_is_refused_before_it_is_sent() -> None:
    with Server(llama()) as server, pytest.raises(SpecError, match="a context of at least 5001 tokens, found 4096"):
        run(server, prompt=5000)
    assert server.asked("/completion") == []


def test_a_server_that_loads_is_waited_for() -> None:
    loading = reply({"error": {"message": "Loading model", "code": 503}}, 503)
    calls = iter(range(1_000_000))
    with Server(llama(health=lambda _: loading if next(calls) < 2 else reply({"status": "ok"}))) as server:
        assert run(server).complete


def test_a_server_that_loads_for_ever() -> None:
    with (
        Server(llama(health=lambda _: reply({"error": {"message": "Loading model"}}, 503))) as server,
        pytest.raises(SpecError, match=r"/health: .*HTTP status 503: Loading model \(for 0\.3 s\)"),
    ):
        run(server, timeout_s=0.3)


@pytest.mark.parametrize("path", ["health", "props", "models", "completion"])
def test_a_missing_key_is_told_wherever_it_is_noticed(path: str) -> None:
    denied = reply({"error": {"message": "Invalid API Key", "code": 401}}, 401)
    with (
        Server(llama(**{path: lambda _: denied})) as server,
        pytest.raises(SpecError, match="HTTP status 401: Invalid API Key"),
    ):
        run(server)


def test_a_key_opens_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(call: Call) -> Reply:
        return completion(call) if call.headers.get("authorization") == "Bearer sk-1" else reply({"error": "no"}, 401)

    monkeypatch.setenv("SERVER_KEY", "sk-1")
    with Server(llama(completion=locked)) as server:
        assert run(server, key_variable="SERVER_KEY").complete


def test_no_server_is_an_error() -> None:
    with Server({}) as server:
        url = server.url
    with pytest.raises(SpecError, match=f"^{url}/health: expected a server that accepts connections"):
        measure_server(url)


@pytest.mark.parametrize(
    ("later", "message"),
    [
        (lambda _: Reply(b"{", length=10, end="die"), "expected a whole answer, found the connection broken"),
        (lambda _: Reply(b"{", length=10, end="stall"), r"expected an answer, found none for 0\.3 s"),
        (lambda _: events([{"content": " a", "stop": False}], end="die"), "expected a whole answer, found the conn"),
        (lambda _: events([{"content": " a", "stop": False}], end="stall"), r"found none for 0\.3 s"),
    ],
)
def test_a_server_lost_half_way_leaves_what_was_measured(later: Callable[[Call], Reply], message: str) -> None:
    # Warm-up and two repetitions of prefill, a warm-up and one repetition of decode; the sixth answer is cut.
    with Server(llama(completion=from_the(6, completion, later))) as server:
        found = run(server, concurrency=(1, 2), timeout_s=0.3)
        assert len(server.asked("/completion")) == 6  # nothing more is asked of a server that is lost
    assert [(each.phase, len(each.samples)) for each in found.measured] == [("pp", 2), ("tg", 1)]
    assert not found.complete
    assert len(found.problems) == 1
    assert re.search(message, found.problems[0])


def test_a_server_lost_at_once_is_an_error() -> None:
    with (
        Server(llama(completion=lambda _: Reply(b"{", length=10, end="die"))) as server,
        pytest.raises(SpecError, match="expected a whole answer, found the connection broken"),
    ):
        run(server)


def test_one_lost_request_of_several_is_the_problem_told() -> None:
    def route(call: Call) -> Reply:
        return completion(call)

    # The first six answers are of one request at a time; then two at once, of which one breaks off.
    broken = from_the(8, route, lambda _: Reply(b"{", length=10, end="die"))
    with Server(llama(completion=broken)) as server:
        found = run(server, concurrency=(1, 2))
    assert [(each.phase, each.batch) for each in found.measured] == [("pp", 1), ("tg", 1)]
    assert "the connection broken" in found.problems[0]


def test_a_key_press_closes_the_connections() -> None:
    def press(text: str) -> None:
        if text == "tg8 x 2: 1 of 2":
            raise KeyboardInterrupt

    with Server(llama()) as server:
        with pytest.raises(KeyboardInterrupt):
            run(server, concurrency=(2,), progress=press)
        assert server.closed.acquire(timeout=10)
        assert server.closed.acquire(timeout=10)


def test_a_key_press_while_requests_wait_ends_them(monkeypatch: pytest.MonkeyPatch) -> None:
    stalled = threading.Semaphore(0)

    def stall(call: Call) -> Reply:
        stalled.release()
        return Reply(b"{", length=10, end="stall")

    join = threading.Thread.join

    def pressed(thread: threading.Thread, timeout: float | None = None) -> None:
        monkeypatch.setattr(threading.Thread, "join", join)
        for _ in range(2):
            assert stalled.acquire(timeout=10)
        raise KeyboardInterrupt

    with Server(llama(completion=stall)) as server:
        monkeypatch.setattr(threading.Thread, "join", pressed)
        with pytest.raises(KeyboardInterrupt):
            run(server, concurrency=(2,), timeout_s=60.0, deadline_s=60.0)
    before = {thread.name for thread in threading.enumerate()}
    assert not any("work" in name for name in before)


def test_progress_is_told_in_lines() -> None:
    lines: list[str] = []
    with Server(llama()) as server:
        run(server, progress=lines.append, repetitions=1)
    assert lines == ["pp32: warm-up", "pp32: 1 of 1", "tg8: warm-up", "tg8: 1 of 1"]


def counters(text: str) -> Route:
    return lambda _: Reply(text.encode(), kind="text/plain")


def test_other_requests_to_the_same_server_are_noticed() -> None:
    numbers = iter((0, 10_000))
    with Server(
        llama(metrics=lambda call: counters(f"llamacpp:prompt_tokens_total {next(numbers)}\n")(call))
    ) as server:
        found = run(server, gen=0)
        sent = sum(len(body["prompt"].split()) for body in server.asked("/completion"))
    (note,) = [note for note in found.notes if "other requests" in note]
    # Three prompts of 32 tokens, give or take one each, are the run's own.
    told = int(note.removeprefix("the server processed ").split()[0])
    assert abs(told - (10_000 - 96)) <= 3
    assert sent <= 10_000 - told


def test_a_busy_server_is_noticed() -> None:
    with Server(llama(metrics=counters("# HELP x\nllamacpp:requests_processing 2\nllamacpp:odd NaN\nx y\n"))) as server:
        assert any("worked on other requests when the run began" in note for note in run(server).notes)


def test_every_run_has_its_own_prompts_unless_a_seed_is_given() -> None:
    with Server(llama()) as server:
        seeds = {run(server, gen=0, repetitions=1, seed=None).seed for _ in range(3)}
        assert len(seeds) == 3
        server.calls.clear()
        run(server, gen=0, repetitions=1, seed=5)
        run(server, gen=0, repetitions=1, seed=5)
        prompts = [body["prompt"] for body in server.asked("/completion")]
    assert prompts[:2] == prompts[2:]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"prompt": 0, "gen": 0}, "expected a prompt or tokens to generate"),
        ({"prompt": -1}, "prompt: expected a whole number from 0"),
        ({"prompt": 2.5}, "prompt: expected a whole number from 0"),
        ({"gen": 1}, "gen: expected 0, or at least 2"),
        ({"repetitions": 0}, "repetitions: expected a whole number from 1"),
        ({"warm_up": -1}, "warm-up: expected a whole number from 0"),
        ({"concurrency": ()}, "expected a prompt or tokens|concurrency"),
        ({"concurrency": (1, 0)}, "concurrency: expected a whole number from 1"),
        ({"concurrency": (10**6,)}, "concurrency: expected a whole number from 1 to 256"),
        ({"api": "soap"}, "api: expected one of auto, llama, completions, chat, found 'soap'"),
        ({"timeout_s": 0}, "time limits: expected 0 <"),
        ({"timeout_s": float("nan")}, "time limits: expected 0 <"),
        ({"timeout_s": 30, "deadline_s": 20}, "time limits: expected 0 <"),
        ({"key_variable": "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE: expected an API key"),
    ],
)
def test_arguments_that_make_no_sense(changed: dict[str, Any], message: str) -> None:
    with Server(llama()) as server, pytest.raises(SpecError, match=message):
        run(server, **changed)
    assert server.calls == []


def test_a_server_for_everything_says_yes_to_every_path() -> None:
    """A web page for every path, as some servers have, is neither facts nor a tokenizer."""
    page: Route = lambda _: Reply(b"<html>hello</html>", kind="text/html")  # noqa: E731
    routes = {**openai(), "/props": page, "/tokenize": page, "/metrics": page, "/health": page}
    with Server(routes) as server:
        assert run(server).api == "completions"
    unknown: Route = lambda _: reply({"error": "Unexpected endpoint"})  # noqa: E731
    routes = {**openai(), "/props": unknown, "/tokenize": unknown, "/metrics": unknown, "/health": unknown}
    with Server(routes) as server:
        assert run(server).api == "completions"


def test_the_order_of_answers_is_that_of_the_prompts() -> None:
    def ask(connection: Connection, prompt: str) -> Answer:
        return Answer(int(prompt), 0, 1, "usage", 0.0, 1.0, 1.0, 1)

    connections = [Connection(parse_address("http://localhost")) for _ in range(4)]
    found = ask_together(ask, connections, ["3", "1", "2"])
    assert [each.prompt for each in found] == [3, 1, 2]
    for connection in connections:
        connection.__exit__()


def test_httpx_is_loaded_only_by_a_measurement() -> None:
    program = "import sys, roofline.engine.server; assert 'httpx' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_model_is_named_by_its_server() -> None:
    with Server(llama()) as server:
        assert run(server, gen=0, repetitions=1).facts.models == (MODEL,)
