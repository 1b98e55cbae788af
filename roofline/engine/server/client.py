"""One warm connection to a server: bounded in time and size, and timed from the moment a request leaves.

The clock of an answer starts when its request's headers are sent, so that connecting (and TLS) is never counted in it,
even with a server that closes the connection after every answer.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from roofline.bench.text import clean
from roofline.engine.server.address import Address
from roofline.engine.server.events import data_of
from roofline.engine.server.fields import Record, error_in, message_of, parse_json, parse_record
from roofline.spec import SpecError

if TYPE_CHECKING:
    import httpx

LARGEST_JSON = 16 << 20  # bytes
LARGEST_STREAM = 64 << 20  # bytes; a token comes in a few hundred
LARGEST_MESSAGE = 64 << 10  # bytes read of an answer that says no
QUOTED = 200  # characters of a server's message that an error quotes
CONNECT_S = 10.0  # a server that listens accepts within milliseconds


class LostError(SpecError):
    """The server cannot be reached, fell silent or closed the connection: the next request would fare no better."""


class RefusedError(SpecError):
    """The server answered with an HTTP status that is no success."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to wait. silence: longest wait for the next bytes [s]; whole: longest duration of one answer [s]."""

    silence: float = 300.0
    whole: float = 1800.0


@dataclass(slots=True)
class Arrival:
    """One piece of a streamed answer. at: when it arrived [s], on the clock of time.perf_counter."""

    at: float
    record: Record


@dataclass(slots=True)
class Clock:
    """When a request was sent and its answer complete [s], on the clock of time.perf_counter.

    ended: whether a stream said itself that it was complete ('[DONE]').
    """

    sent: float = 0.0
    done: float = 0.0
    ended: bool = False


@dataclass(eq=False)
class Connection:
    """A keep-alive connection to one server, for one thread at a time; use it in a `with`.

    connect_s: how long the first connecting took, with TLS [s]; None before.
    """

    address: Address
    limits: Limits = Limits()
    key: str | None = field(default=None, repr=False)
    connect_s: float | None = None

    def __post_init__(self) -> None:
        import httpx

        self._http = httpx
        headers = {"accept-encoding": "identity", "user-agent": "roofline"}  # no compression: nothing to inflate
        if self.key is not None:
            headers["authorization"] = f"Bearer {self.key}"
        # No proxy from the environment: it would be measured too, and loopback is not reached through one.
        self._client = httpx.Client(
            timeout=httpx.Timeout(self.limits.silence, connect=min(CONNECT_S, self.limits.silence)),
            headers=headers,
            follow_redirects=False,
            trust_env=False,
            verify=ssl.create_default_context() if self.address.encrypted else False,  # loading the roots takes 20 ms
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None),
        )
        self._socket: Any = None
        self._started = 0.0
        self._fresh = False  # whether the last request had a connection of its own making
        self._ended = False

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()

    def abort(self) -> None:
        """End a request that another thread waits for, and refuse further ones."""
        self._ended = True
        self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            try:
                # The plain socket's method: that of a TLS socket would take the session away from under the reader.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            except OSError:
                return  # closed already

    def get_json(self, path: str) -> object:
        """The JSON value at `path`."""
        where = self.address.path(path)
        with self._answer("GET", where, None, Clock()) as response:
            return parse_json(self._body(response, where, LARGEST_JSON), where)

    def get_text(self, path: str) -> str:
        """The text at `path`."""
        where = self.address.path(path)
        with self._answer("GET", where, None, Clock()) as response:
            return self._body(response, where, LARGEST_JSON).decode("utf-8", "replace")

    def post_json(self, path: str, body: Mapping[str, object]) -> tuple[Record, Clock]:
        """The JSON object that answers `body`, and when."""
        where, clock = self.address.path(path), Clock()
        with self._answer("POST", where, body, clock) as response:
            data = self._body(response, where, LARGEST_JSON)
            clock.done = time.perf_counter()
        return self._no_error(parse_record(data, where), where), clock

    def stream(self, path: str, body: Mapping[str, object], most: int, clock: Clock) -> Iterator[Arrival]:
        """The pieces of the answer to `body` as they arrive, at most `most` of them; `clock` is set on the way."""
        where = self.address.path(path)
        with self._answer("POST", where, body, clock) as response:
            events = data_of(self._chunks(response, where, LARGEST_STREAM), where)
            for number, (at, data) in enumerate(events, start=1):
                if number > most:
                    raise SpecError(f"{where}: expected a stream of at most {most} pieces, found more")
                if data == "[DONE]":  # the rest is read nevertheless: a connection is kept only after a whole answer
                    clock.ended = True
                elif not clock.ended:
                    yield Arrival(at, self._no_error(parse_record(data, where), where))
            clock.done = time.perf_counter()

    @contextmanager
    def _answer(
        self, method: str, where: str, body: Mapping[str, object] | None, clock: Clock
    ) -> Iterator[httpx.Response]:
        """A successful answer of which only the headers were read; every way to fail is a SpecError."""
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._shut()

        def trace(event: str, info: Mapping[str, object]) -> None:
            self._trace(event, info, clock)
            # The socket is new: it was not there to be shut down.
            if event.endswith(".complete") and (late.is_set() or self._ended):
                self._shut()

        # The waits of httpx are per read: a server that drips a byte a second would never end without this.
        timer = threading.Timer(self.limits.whole, give_up)
        timer.daemon = True
        timer.start()
        try:
            response = self._send(method, where, body, trace, clock, late)
            try:
                self._check_status(response, where)
                yield response
            finally:
                response.close()
            # An answer without a stated length looks whole when its connection is shut.
            if late.is_set() or self._ended:
                raise self._http.ReadError("shut")
        except self._http.TimeoutException as error:
            waited = CONNECT_S if isinstance(error, self._http.ConnectTimeout) else self.limits.silence
            waited = min(waited, self.limits.silence)
            raise LostError(f"{where}: expected an answer, found none for {waited:g} s") from None
        except (self._http.HTTPError, self._http.InvalidURL, self._http.StreamError, OSError, UnicodeError) as error:
            if late.is_set():
                raise LostError(
                    f"{where}: expected a whole answer within {self.limits.whole:g} s, found it unended"
                ) from None
            raise LostError(f"{where}: {self._failure(error)}") from None
        finally:
            timer.cancel()

    def _send(
        self,
        method: str,
        where: str,
        body: Mapping[str, object] | None,
        trace: Callable[[str, Mapping[str, object]], None],
        clock: Clock,
        late: threading.Event,
    ) -> httpx.Response:
        """Send a request: once more, on a new connection, where the server has closed the kept one meanwhile.

        llama-server does so now and then at the end of a stream, without a word, while the next request is on its way.
        """
        self._fresh = False
        request = self._client.build_request(method, where, json=body, extensions={"trace": trace})
        try:
            clock.sent = time.perf_counter()
            return self._client.send(request, stream=True)
        except (self._http.RemoteProtocolError, self._http.ReadError, self._http.WriteError):
            if self._fresh or self._ended or late.is_set():
                raise
        clock.sent = time.perf_counter()
        return self._client.send(request, stream=True)

    def _trace(self, event: str, info: Mapping[str, object], clock: Clock) -> None:
        """What httpx tells of a connection as it is made and used."""
        now = time.perf_counter()
        if event == "connection.connect_tcp.started":
            self._started = now
        elif event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._fresh = True
            stream: Any = info["return_value"]
            self._socket = stream.get_extra_info("socket")
            if event.startswith("connection.start_tls") or not self.address.encrypted:
                self.connect_s = now - self._started if self.connect_s is None else self.connect_s
        elif event == "http11.send_request_headers.started":
            clock.sent = now

    def _failure(self, error: Exception) -> str:
        said = clean(self._hide(str(error)) or type(error).__name__, QUOTED)
        if self._ended:
            return "expected an answer, found the request ended"
        if isinstance(error, self._http.ConnectError):
            return f"expected a server that accepts connections, found: {said}"
        return f"expected a whole answer, found the connection broken: {said}"

    def _check_status(self, response: httpx.Response, where: str) -> None:
        if response.headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
            coding = clean(response.headers["content-encoding"], 40)
            raise SpecError(f"{where}: expected an answer without compression, found {coding!r}")
        if response.is_success:
            return
        if response.is_redirect or 300 <= response.status_code < 400:
            raise RefusedError(
                f"{where}: expected an answer, found a redirect; give the final address", response.status_code
            )
        kept = b""
        for _, chunk in self._chunks(response, where, LARGEST_JSON):
            kept += chunk
            if len(kept) > LARGEST_MESSAGE:
                break
        said = self._hide(message_of(kept.decode("utf-8", "replace")))
        status = f"HTTP status {response.status_code}" + (f": {clean(said, QUOTED)}" if said else "")
        raise RefusedError(f"{where}: expected an answer, found {status}", response.status_code)

    def _no_error(self, record: Record, where: str) -> Record:
        """An answer that is not an error told under a status of success, as in the middle of a stream."""
        if "error" in record and record["error"] is not None:
            said = clean(self._hide(error_in(record)), QUOTED)
            raise SpecError(f"{where}: expected an answer, found an error: {said}")
        return record

    def _hide(self, text: str) -> str:
        return text.replace(self.key, "…") if self.key else text

    def _body(self, response: httpx.Response, where: str, most: int) -> bytes:
        return b"".join(chunk for _, chunk in self._chunks(response, where, most))

    def _chunks(self, response: httpx.Response, where: str, most: int) -> Iterator[tuple[float, bytes]]:
        """The bytes of an answer with when they arrived, at most `most` of them."""
        announced = response.headers.get("content-length", "")
        if announced.isdigit() and (len(announced) > 15 or int(announced) > most):
            raise SpecError(f"{where}: expected at most {most:,} bytes, found {clean(announced, 20)} announced")
        length = 0
        for chunk in response.iter_raw():
            at = time.perf_counter()
            length += len(chunk)
            if length > most:
                raise SpecError(f"{where}: expected at most {most:,} bytes, found more")
            yield at, chunk
