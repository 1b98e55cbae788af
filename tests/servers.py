"""Servers on loopback that behave, misbehave, stall and lie, each as a test wants it; the standard library only."""

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Json = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A request as it came in; the names of headers in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Json


@dataclass(frozen=True)
class Reply:
    """What to answer. length: the Content-Length to announce, whatever the body; end: what to do after the body."""

    body: bytes | Iterable[bytes] = b""
    status: int = 200
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None
    end: str = "keep"  # or "die": close the connection, "stall": say nothing more, "deaf": close it at the next request


def reply(value: object, status: int = 200) -> Reply:
    return Reply(json.dumps(value).encode(), status)


def events(pieces: Iterable[object], pause: float = 0.002, end: str = "keep") -> Reply:
    """A stream of server-sent events, slow enough that they arrive one by one; a text is sent as it stands."""

    def parts() -> Iterator[bytes]:
        for piece in pieces:
            yield b"data: " + (piece if isinstance(piece, str) else json.dumps(piece)).encode() + b"\n\n"
            PAUSE.wait(pause)

    return Reply(parts(), kind="text/event-stream", end=end)


PAUSE = threading.Event()  # never set: its wait is a sleep
Route = Callable[[Call], Reply]


class Server(ThreadingHTTPServer):
    """An HTTP/1.1 server in threads; use it in a `with`. calls: every request so far. open: connections now."""

    daemon_threads = True

    def __init__(self, routes: Mapping[str, Route], host: str = "127.0.0.1") -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.routes = dict(routes)
        self.calls: list[Call] = []
        self.stop = threading.Event()
        self.closed = threading.Semaphore(0)  # released once for every connection that has ended
        super().__init__((host, 0), _Handler)

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop.set()
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    def asked(self, path: str) -> list[Json]:
        """The bodies of all requests for a path."""
        return [call.body for call in self.calls if call.path == path]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests."""

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.closed.release()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body go out apart: with it, each answer waits 40 ms for an ACK
    server: Server
    deaf = False

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the standard library's
        """Nothing is logged."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = Call(self.command, self.path, headers, json.loads(raw) if raw else {})
        self.server.calls.append(call)
        if self.deaf:
            self.close_connection = True
            return
        route = self.server.routes.get(self.path)
        answer = route(call) if route else reply({"error": {"message": "File Not Found", "code": 404}}, 404)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if isinstance(answer.body, bytes):
            self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
            self.end_headers()
            self.wfile.write(answer.body)
        else:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in answer.body:
                if self.server.stop.is_set():
                    break
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                self.wfile.flush()
            if answer.end in ("keep", "deaf"):
                self.wfile.write(b"0\r\n\r\n")
        if answer.end == "stall":
            self.server.stop.wait(30)
        if answer.end == "deaf":
            self.deaf = True
        elif answer.end != "keep":
            self.close_connection = True


# What the fakes say of their speed. Both are far below what a test waits, so that no clock contradicts them.
PROMPT_MS = 0.02  # a token: 50,000 tok/s
STEP_MS = 0.04  # a pass: 25,000 tok/s
META = {
    "n_vocab": 49152,
    "n_ctx": 4096,
    "n_ctx_train": 8192,
    "n_embd": 576,
    "n_params": 134515008,
    "size": 96576768,
    "ftype": "Q4_1",
}
MODEL = "smollm2.gguf"


def tokens_of(text: str) -> int:
    """A tokenizer: one token a word, two for words of more than six letters."""
    return sum(1 + (len(word) > 6) for word in text.split())


def timings(prompt: int, gen: int, **changed: object) -> Json:
    """A recent llama-server's timings."""
    prompt_ms, gen_ms = prompt * PROMPT_MS, max(gen - 1, 0) * STEP_MS or 0.001
    told = {
        "cache_n": 0,
        "prompt_n": prompt,
        "prompt_ms": prompt_ms,
        "prompt_per_second": 1e3 / PROMPT_MS,
        "predicted_n": gen,
        "predicted_ms": gen_ms,
        "predicted_per_second": 1e3 * max(gen - 1, 0) / gen_ms,
    }
    return {key: value for key, value in {**told, **changed}.items() if value is not None}


def completion(call: Call, changed: Json | None = None, more: Json | None = None) -> Reply:
    """llama-server's /completion. changed: other timings, None to leave one out; more: other keys of the answer."""
    prompt, gen = tokens_of(call.body["prompt"]), max(call.body["n_predict"], 1)
    last = {
        "content": "",
        "stop": True,
        "tokens_predicted": gen,
        "tokens_evaluated": prompt,
        "timings": timings(prompt, gen, **(changed or {})),
    }
    last = {key: value for key, value in {**last, **(more or {})}.items() if value is not None}
    if not call.body.get("stream"):
        return reply({**last, "content": " word" * gen})
    return events([*({"content": " word", "stop": False} for _ in range(gen)), last])


def llama(**routes: Route) -> dict[str, Route]:
    """A healthy llama-server's paths; a keyword replaces one: completion, tokenize, health, props, models, metrics."""
    usual: dict[str, Route] = {
        "health": lambda _: reply({"status": "ok"}),
        "props": lambda _: reply(
            {
                "default_generation_settings": {"n_ctx": 4096},
                "total_slots": 4,
                "build_info": "b7000-abc",
                "model_path": MODEL,
            }
        ),
        "models": lambda _: reply({"data": [{"id": MODEL, "owned_by": "llamacpp", "meta": META}]}),
        "tokenize": lambda call: reply({"tokens": [1] * tokens_of(call.body["content"])}),
        "completion": completion,
    }
    return {("/v1/models" if name == "models" else f"/{name}"): route for name, route in {**usual, **routes}.items()}


def old_llamafile() -> dict[str, Route]:
    """llamafile of early 2024: no cache_n, n/t as its speed, no list of models, no special tokens counted, one BOS."""

    def complete(call: Call) -> Reply:
        prompt, gen = tokens_of(call.body["prompt"]) + 1, max(call.body["n_predict"], 1)
        ms = max(gen - 1, 0) * STEP_MS or 0.001
        told = timings(prompt, gen, cache_n=None, predicted_per_second=1e3 * gen / ms)
        last = {"content": "", "stop": True, "tokens_predicted": gen, "tokens_evaluated": prompt, "timings": told}
        if not call.body.get("stream"):
            return reply(last)
        return events([*({"content": " word", "stop": False} for _ in range(gen)), last])

    return {
        "/health": lambda _: reply({"status": "ok", "slots_idle": 1, "slots_processing": 0}),
        "/props": lambda _: reply({"user_name": "", "assistant_name": ""}),
        "/tokenize": lambda call: reply({"tokens": [1] * tokens_of(call.body["content"])}),
        "/completion": complete,
    }


def openai(chat: bool = False, usage: bool = True, strict: bool = False, **changed: object) -> dict[str, Route]:
    """A server that speaks OpenAI's API, and nothing else. strict: refuses ignore_eos; changed: keys of its usage."""
    path = "/v1/chat/completions" if chat else "/v1/completions"
    template = 20 if chat else 0

    def stream(call: Call) -> Reply:
        body = call.body
        if strict and "ignore_eos" in body:
            return reply({"error": {"message": "Unrecognized request argument supplied: ignore_eos"}}, 400)
        text = body["messages"][0]["content"] if chat else body["prompt"]
        gen = body["max_tokens"]
        pieces: list[object] = [{"choices": [{"delta": {"role": "assistant", "content": ""}}]}] if chat else []
        one: Json = {"delta": {"content": " w"}} if chat else {"text": " w"}
        pieces += [{"choices": [{**one, "finish_reason": None}]} for _ in range(gen)]
        pieces.append({"choices": [{**({"delta": {}} if chat else {"text": ""}), "finish_reason": "length"}]})
        if usage and body.get("stream_options", {}).get("include_usage"):
            told = {"prompt_tokens": tokens_of(text) + template, "completion_tokens": gen, **changed}
            pieces.append({"choices": [], "usage": told})
        return events([*pieces, "[DONE]"])

    return {
        "/v1/models": lambda _: reply({"object": "list", "data": [{"id": "some-model", "owned_by": "someone"}]}),
        path: stream,
    }
