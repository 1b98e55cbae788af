"""One connection: how it fails, what it bounds, and when its clock starts."""

import gzip
import itertools
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from roofline.engine.server.address import parse_address
from roofline.engine.server.client import Arrival, Clock, Connection, Limits, LostError, RefusedError
from roofline.engine.server.events import data_of
from roofline.spec import SpecError
from tests.servers import PAUSE, Call, Reply, Server, events, reply

SHORT = Limits(silence=0.3, whole=10.0)


def connect(url: str, limits: Limits = SHORT, key: str | None = None) -> Connection:
    return Connection(parse_address(url), limits, key)


def streamed(connection: Connection, most: int = 100) -> list[Arrival]:
    return list(connection.stream("/x", {}, most, Clock()))


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Call], Reply] | Reply], Server]]:
    running: list[Server] = []

    def start(answer: Callable[[Call], Reply] | Reply) -> Server:
        route = answer if callable(answer) else lambda _: answer
        running.append(Server({"/x": route}).__enter__())
        return running[-1]

    yield start
    for server in running:
        server.__exit__()


Serve = Callable[[Callable[[Call], Reply] | Reply], Server]


def test_one_connection_serves_many_requests(serve: Serve) -> None:
    server = serve(lambda call: reply({"got": call.body}))
    with connect(server.url) as connection:
        for number in range(3):
            record, clock = connection.post_json("/x", {"number": number})
            assert record == {"got": {"number": number}}
            assert clock.sent < clock.done
        assert connection.connect_s is not None
        assert connection.connect_s > 0
        assert not server.closed.acquire(blocking=False)
    assert server.closed.acquire(timeout=10)


def test_ipv6() -> None:
    try:
        server = Server({"/x": lambda _: reply({"a": 1})}, host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with server, connect(server.url) as connection:
        assert connection.get_json("/x") == {"a": 1}


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        connect(f"http://127.0.0.1:{port}") as connection,
        pytest.raises(LostError, match=rf"127\.0\.0\.1:{port}/x: expected a server that accepts connections, found: "),
    ):
        connection.get_json("/x")


@pytest.mark.parametrize("name", ["no-such-host.invalid", "a" * 64 + ".invalid", "a..b.invalid"])
def test_no_such_host(name: str) -> None:
    with connect(f"http://{name}:1") as connection, pytest.raises(LostError, match="expected"):
        connection.get_json("/x")


@pytest.mark.parametrize("length", [None, 100])
def test_a_server_that_dies_in_its_answer(serve: Serve, length: int | None) -> None:
    server = serve(Reply(b'{"a": ', length=length or 100, end="die"))
    with connect(server.url) as connection, pytest.raises(LostError, match="expected a whole answer, found the conn"):
        connection.get_json("/x")


@pytest.mark.parametrize("answer", [Reply(b"{}", end="deaf"), events([{"a": 1}, "[DONE]"], end="deaf")])
def test_a_kept_connection_that_the_server_has_closed_is_made_anew(serve: Serve, answer: Reply) -> None:
    """A server may close a connection between two requests: the second is sent again, once."""
    server = serve(lambda call: answer if not call.body.get("second") else reply({"a": 2}))
    with connect(server.url) as connection:
        streamed(connection)
        record, _ = connection.post_json("/x", {"second": True})
        assert record == {"a": 2}
    assert [call.body.get("second", False) for call in server.calls] == [False, True, True]


def test_a_new_connection_that_is_closed_is_not_made_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted: list[bytes] = []

        def hang_up() -> None:
            one, _ = listener.accept()
            with one:
                accepted.append(one.recv(1000))

        thread = threading.Thread(target=hang_up)
        thread.start()
        with (
            connect(f"http://127.0.0.1:{listener.getsockname()[1]}") as connection,
            pytest.raises(LostError, match="found the connection broken"),
        ):
            connection.get_json("/x")
        thread.join()
    assert len(accepted) == 1


def test_a_stream_that_dies(serve: Serve) -> None:
    server = serve(events([{"a": 1}], end="die"))
    with connect(server.url) as connection, pytest.raises(LostError, match="expected a whole answer, found the conn"):
        streamed(connection)


@pytest.mark.parametrize("answer", [Reply(b"{", length=100, end="stall"), events([{"a": 1}], end="stall")])
def test_a_server_that_stalls(serve: Serve, answer: Reply) -> None:
    server = serve(answer)
    with (
        connect(server.url) as connection,
        pytest.raises(LostError, match=r"expected an answer, found none for 0\.3 s"),
    ):
        streamed(connection)


def test_a_server_that_drips_is_ended_by_the_limit_of_the_whole(serve: Serve) -> None:
    def drip() -> Iterator[bytes]:
        while True:
            yield b": still here\n\n"
            PAUSE.wait(0.02)

    server = serve(Reply(drip(), kind="text/event-stream"))
    with (
        connect(server.url, Limits(silence=5.0, whole=0.3)) as connection,
        pytest.raises(LostError, match=r"whole answer within 0\.3 s, found it unended"),
    ):
        streamed(connection)


def test_headers_that_drip_are_ended_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()

        def drip() -> None:
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(b"HTTP/1.1 200 OK\r\n")
                while not stop.wait(0.02):
                    try:
                        accepted.sendall(b"X-A: b\r\n")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        with (
            connect(f"http://127.0.0.1:{listener.getsockname()[1]}", Limits(silence=5.0, whole=0.3)) as connection,
            pytest.raises(LostError, match=r"within 0\.3 s"),
        ):
            connection.get_json("/x")
        stop.set()
        thread.join()


def test_an_aborted_connection_asks_nothing_more(serve: Serve) -> None:
    server = serve(reply({}))
    with connect(server.url) as connection:
        connection.get_json("/x")
        connection.abort()
        with pytest.raises(LostError, match="found the request ended"):
            connection.get_json("/x")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "expected JSON, found '<html>'"),
        (b"", "expected JSON, found ''"),
        (b'{"a": NaN}', "expected JSON, found NaN"),
        (b'{"a": -Infinity}', "expected JSON, found -Infinity"),
        (b'{"a": ' + b"9" * 5000 + b"}", "expected JSON, found "),
        (b"[" * 100_000, "expected JSON, found "),
        (b"\xff\xfe{", "expected JSON, found "),
        (b"[1]", r"expected a JSON object, found \[1\]"),
        (b"\x1b[2J", r"expected JSON, found '\\x1b"),
    ],
)
def test_answers_that_are_no_json_object(serve: Serve, body: bytes, message: str) -> None:
    server = serve(Reply(body))
    with connect(server.url) as connection, pytest.raises(SpecError, match=f"/x: {message}") as caught:
        connection.post_json("/x", {})
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
def test_a_status_is_told_with_the_server_s_message(serve: Serve, status: int) -> None:
    server = serve(reply({"error": {"message": "no " + "x" * 1000, "code": status}}, status))
    with connect(server.url) as connection, pytest.raises(RefusedError, match=f"HTTP status {status}: no x") as caught:
        connection.get_json("/x")
    assert caught.value.status == status
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("body", [b"plain\nwords", b'{"detail": "plain words"}', b'{"error": "plain words"}'])
def test_messages_in_other_shapes(serve: Serve, body: bytes) -> None:
    server = serve(Reply(body, status=500))
    with connect(server.url) as connection, pytest.raises(RefusedError, match="HTTP status 500: plain words"):
        connection.get_json("/x")


def test_an_error_in_the_middle_of_a_stream(serve: Serve) -> None:
    server = serve(events([{"a": 1}, {"error": {"message": "out of memory"}}]))
    with connect(server.url) as connection, pytest.raises(SpecError, match="found an error: out of memory"):
        streamed(connection)


def test_redirects_are_not_followed(serve: Serve) -> None:
    server = serve(Reply(status=307, headers={"Location": "/y"}))
    with connect(server.url) as connection, pytest.raises(RefusedError, match="a redirect"):
        connection.post_json("/x", {})
    assert [call.path for call in server.calls] == ["/x"]


def test_the_key_is_sent_and_never_told(serve: Serve) -> None:
    server = serve(lambda call: reply({"error": f"bad key {call.headers['authorization']}"}, 401))
    with connect(server.url, key="sk-hunter2") as connection:
        assert "hunter2" not in repr(connection)
        with pytest.raises(RefusedError, match="bad key Bearer …") as caught:
            connection.get_json("/x")
    assert "hunter2" not in str(caught.value)
    assert server.calls[0].headers["authorization"] == "Bearer sk-hunter2"


def test_a_huge_answer_is_refused_by_its_announcement(serve: Serve) -> None:
    server = serve(Reply(b"{", length=1 << 30, end="stall"))
    with (
        connect(server.url) as connection,
        pytest.raises(SpecError, match="at most 16,777,216 bytes, found 1073741824"),
    ):
        connection.get_json("/x")


def test_a_huge_answer_without_announcement_is_cut(serve: Serve) -> None:
    server = serve(Reply(b" " * (1 << 20) for _ in itertools.count()))
    with connect(server.url) as connection, pytest.raises(SpecError, match="at most 16,777,216 bytes, found more"):
        connection.get_json("/x")


def test_compressed_answers_are_neither_asked_for_nor_inflated(serve: Serve) -> None:
    bomb = gzip.compress(b"[" + b"0," * (1 << 20))
    server = serve(Reply(bomb, headers={"Content-Encoding": "gzip"}))
    with connect(server.url) as connection, pytest.raises(SpecError, match="without compression, found 'gzip'"):
        connection.get_json("/x")
    assert server.calls[0].headers["accept-encoding"] == "identity"


def test_an_endless_stream_is_cut_by_its_pieces(serve: Serve) -> None:
    server = serve(events(({"a": 1} for _ in itertools.count()), pause=0.0))
    with connect(server.url) as connection, pytest.raises(SpecError, match="a stream of at most 50 pieces, found more"):
        streamed(connection, most=50)


def test_a_line_without_end_is_cut() -> None:
    chunks = ((0.0, b"data: " + b"x" * (1 << 16)) for _ in itertools.count())
    with pytest.raises(SpecError, match="events of at most 1,048,576 bytes"):
        list(data_of(chunks, "here"))


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 1000])
def test_events_are_put_together_from_any_pieces(cut: int) -> None:
    raw = b': ping\n\ndata: {"a":1}\r\n\r\nevent: x\ndata:one\ndata: two\n\nid: 7\n\ndata: \xc3\xa9\n\ndata: last'
    pieces = [(float(at), raw[at : at + cut]) for at in range(0, len(raw), cut)]
    assert [data for _, data in data_of(pieces, "here")] == ['{"a":1}', "one\ntwo", "é", "last"]


def test_an_event_is_dated_by_the_piece_that_completes_it() -> None:
    chunks = [(1.0, b"data: a"), (2.0, b"\n\ndata: b\n"), (3.0, b"\n")]
    assert list(data_of(chunks, "here")) == [(2.0, "a"), (3.0, "b")]
