"""The explorer's server: whom it answers, with which headers, and that nothing hostile gets more than a line."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from roofline.explorer import guard, names, server
from roofline.explorer.controls import CONTROLS, values
from roofline.explorer.pictures import PICTURES
from roofline.explorer.server import guarded, is_loopback, make_app, serve
from roofline.explorer.state import State, to_query
from roofline.spec import SpecError
from tests.explorers import ROOFLINE, port_of, running

HOST = "127.0.0.1:8050"


@pytest.fixture(scope="module")
def client() -> Client:
    return Client(guarded(make_app(), guard.allowed_hosts("127.0.0.1", 8050, ["box.example"])))


def get(client: Client, path: str = "/", host: str = HOST, **headers: str) -> TestResponse:
    return client.get(path, headers={"Host": host, **headers})


def body_of(output: str, inputs: list[dict[str, Any]], state: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"output": output, "inputs": inputs, "state": state or [], "changedPropIds": [], "outputs": []}


def callback_of(client: Client, output: str) -> dict[str, Any]:
    """What the page is told of the callback that makes this output."""
    known = json.loads(get(client, "/_dash-dependencies").text)
    return next(one for one in known if output in one["output"])


def ask(client: Client, output: str, state: State, **more: Any) -> TestResponse:
    """A callback as the page asks for it with the controls of a state."""
    known = callback_of(client, output)
    held = {f"{name}.value": value for name, value in zip(CONTROLS, values(state), strict=True)} | more
    names = known["output"].strip(".").split("...")
    told = {
        "output": known["output"],
        "outputs": [dict(zip(("id", "property"), name.rsplit(".", 1), strict=True)) for name in names],
        "changedPropIds": ["hw.value"],
        **{
            key: [one | {"value": held.get(f"{one['id']}.{one['property']}")} for one in known[key]]
            for key in ("inputs", "state")
        },
    }
    if len(names) == 1:
        told["outputs"] = told["outputs"][0]
    return client.post("/_dash-update-component", json=told, headers={"Host": HOST})


# -- who is answered --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [HOST, "localhost:8050", "LOCALHOST:8050", "[::1]:8050", "box.example:8050"])
def test_its_own_hosts_are_answered(client: Client, host: str) -> None:
    assert get(client, host=host).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8050", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:8050.evil.example", "",
     "127.0.0.1:8050@evil", "localhost.evil.example:8050", "[::1]", "box.example", "192.168.0.4:8050"],
)  # fmt: skip
def test_other_hosts_are_refused_in_a_line(client: Client, host: str) -> None:
    answer = get(client, host=host)
    assert answer.status_code == 400
    assert answer.text.count("\n") == 1 and "Host" in answer.text


def test_a_host_may_be_allowed_with_a_port_of_its_own() -> None:
    hosts = guard.allowed_hosts("127.0.0.1", 8050, ["tunnel.example:443", "fd00::1", "[fd00::2]:99"])
    assert {"tunnel.example:443", "[fd00::1]:8050", "[fd00::2]:99"} <= hosts
    assert "tunnel.example:8050" not in hosts
    assert guard.allowed_hosts("127.0.0.1", 80) >= {"localhost", "localhost:80"}


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "https://localhost", "file://", "http://["]
)
def test_posts_of_other_origins_are_refused(client: Client, origin: str) -> None:
    answer = client.post("/_dash-update-component", json={}, headers={"Host": HOST, "Origin": origin})
    assert answer.status_code == 403
    assert answer.text.count("\n") == 1


def test_posts_of_other_sites_are_refused(client: Client) -> None:
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 400)):
        answer = client.post("/_dash-update-component", json={}, headers={"Host": HOST, "Sec-Fetch-Site": site})
        assert answer.status_code == status  # 400: let in, and found to be no request of the page


def test_a_form_cannot_post(client: Client) -> None:
    answer = client.post("/_dash-update-component", data={"a": "b"}, headers={"Host": HOST, "Origin": f"http://{HOST}"})
    assert answer.status_code == 415


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT"])
def test_other_methods_are_refused(client: Client, method: str) -> None:
    assert client.open("/", method=method, headers={"Host": HOST}).status_code == 405


def test_large_bodies_are_refused(client: Client) -> None:
    answer = client.post("/_dash-update-component", json=["x" * guard.MOST_BODY], headers={"Host": HOST})
    assert answer.status_code == 413


# -- what is said -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/_dash-layout", "/nothing", "/assets/explorer.js", "/_dash-component-suites/dash/x.js"]
)
@pytest.mark.parametrize("host", [HOST, "evil.example"])
def test_every_answer_has_the_security_headers(client: Client, path: str, host: str) -> None:
    with get(client, path, host) as answer:  # a file that is sent is open until then
        headers = answer.headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "connect-src 'self'" in policy
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert "unsafe" not in scripts and "http" not in scripts and "*" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Frame-Options"] == "DENY"


def test_the_page_asks_nobody_else(client: Client) -> None:
    page = get(client).text
    for mark in ('src="', 'href="'):
        assert all(part.startswith("/") for part in page.split(mark)[1:])
    assert "cdn.plot.ly" not in page


def test_there_are_no_tools_for_developers(client: Client) -> None:
    config = get(client).text.partition('id="_dash-config"')[2].partition("</script>")[0]
    assert '"ui":false' in config and "hot_reload" not in config and '"disable_version_check":true' in config
    assert get(client, "/_mcp").status_code == 404


@pytest.mark.parametrize(
    "path",
    ["/x", "/../../etc/passwd", "/assets/../server.py", "/assets/%2e%2e/server.py", "/assets/x", "/_dash-nothing",
     "/_dash-component-suites/dash/../../../etc/passwd", "/_dash-component-suites/os/os.py",
     "/_dash-component-suites/x"],
)  # fmt: skip
def test_what_is_not_there_is_told_in_a_line(client: Client, path: str) -> None:
    answer = get(client, path)
    assert answer.status_code == 404
    assert answer.text.count("\n") == 1 and "Traceback" not in answer.text


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"{}", b'{"output": 1}', b'{"output": {}, "inputs": []}',
     b'{"output": "x.y", "inputs": []}', b"[" * 10_000, b'{"output": "rest.data", "inputs": [1], "state": null}',
     b"\xff\xfe"],
    ids=lambda body: repr(body[:24]),
)  # fmt: skip
def test_a_body_that_is_none_of_the_page_is_refused(client: Client, body: bytes) -> None:
    answer = client.post(
        "/_dash-update-component", data=body, headers={"Host": HOST, "Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.text.count("\n") == 1 and "Traceback" not in answer.text


def test_no_body_that_fits_a_callback_fails(client: Client) -> None:
    """Values of every kind in every input: an answer, or nothing new."""
    known = json.loads(get(client, "/_dash-dependencies").text)
    for one in (one for one in known if not one["clientside_function"]):
        names = one["output"].strip(".").split("...")
        outputs = [dict(zip(("id", "property"), name.rsplit(".", 1), strict=True)) for name in names]
        for value in (
            None,
            5,
            "x",
            "<script>",
            [],
            ["rpi5", 3],
            {"query": 5, "open": 3, "lines": 4},
            {"query": "hw=x", "open": ["depth"]},
            "9" * 400,
            -0.5,
            True,
        ):
            told = {
                "output": one["output"],
                "outputs": outputs if one["output"].startswith("..") else outputs[0],
                "changedPropIds": [f"{one['inputs'][0]['id']}.{one['inputs'][0]['property']}"],
                **{key: [each | {"value": value} for each in one[key]] for key in ("inputs", "state")},
            }
            answer = client.post("/_dash-update-component", json=told, headers={"Host": HOST})
            assert answer.status_code in (200, 204), (one["output"], value, answer.text)


def test_the_page_moves_with_its_controls(client: Client) -> None:
    answer = ask(client, "cards.children", State(hw=("rpi5", "rtx-3090"), model="mistral-7b", quant="q4_0"))
    assert answer.status_code == 200
    told = answer.get_json()["response"]
    assert "Mistral 7B" in told["verdict"]["children"]
    assert told["view"]["data"]["query"].startswith("hw=rpi5,rtx-3090&model=mistral-7b&quant=q4_0")
    assert told["command"]["children"].count("\n") == 1
    query = told["query"]["data"]
    assert query == told["view"]["data"]["query"]
    rest = ask(client, "rest.data", State(), **{"query.data": query}).get_json()["response"]["rest"]["data"]
    assert rest["query"] == query
    charts = told["view"]["data"]["charts"] | rest["charts"]
    assert set(charts) == {picture.identity for picture in PICTURES}
    assert all(json.loads(chart)["figure"]["data"] for chart in charts.values())


def test_a_control_that_cannot_be_read_changes_nothing_else(client: Client) -> None:
    told = ask(client, "cards.children", State(), **{"prompt.value": "many"}).get_json()["response"]
    assert set(told) == {"alert"}
    assert "--prompt" in json.dumps(told)


def test_a_link_fills_the_controls_and_tells_what_it_cannot(client: Client) -> None:
    search = {"address.search": "?hw=rpi5,<script>&model=mistral-7b&quant=q4_0"}
    told = ask(client, "link-problems.data", State(), **search).get_json()["response"]
    assert told["hw"]["value"] == ["rpi5"]
    assert told["model"]["value"] == "mistral-7b"
    lines = told["link-problems"]["data"]["lines"]
    assert len(lines) == 1 and "<script>" in lines[0]  # as text, which React shows as text


def test_all_devices_failing_leaves_a_page(client: Client) -> None:
    answer = ask(client, "cards.children", State(hw=("rpi5",), backend="cuda"))
    assert answer.status_code == 200
    told = answer.get_json()["response"]
    assert "None of these devices" in told["verdict"]["children"]
    roofline = json.loads(told["view"]["data"]["charts"]["roofline"])
    assert roofline["figure"] is None and "cuda" in roofline["notes"][0]
    rest = ask(client, "rest.data", State(), **{"query.data": told["query"]["data"]})
    assert all(
        json.loads(text)["figure"] is None for text in rest.get_json()["response"]["rest"]["data"]["charts"].values()
    )


def test_what_the_browser_offers_is_no_component(client: Client) -> None:
    """Every component is looked at with every change: lists of a hundred names stand in the page as they are."""
    page = get(client).text
    listed = page.partition('<datalist id="all-hardware">')[2].partition("</datalist>")[0]
    assert listed.count("<option") == len(names.titles("hardware")) > 100
    layout = get(client, "/_dash-layout").text
    assert "Datalist" not in layout and layout.count('"namespace"') < 150
    for identity in re.findall(r'"list":"([^"]*)"', layout):
        assert f'<datalist id="{identity}">' in page


def test_hostile_names_are_text_in_what_the_browser_offers() -> None:
    told = server._datalist("x", ['"><script>alert(1)</script>', "{%scripts%}"])
    assert told.count("<") == 4 and "{" not in told and "&quot;&gt;&lt;script" in told


# -- a real server ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_this_machine_and_ends_when_asked(stop: signal.Signals) -> None:
    with running() as (process, line):
        assert line.startswith("serving http://127.0.0.1:") and line.endswith(
            "/, for this machine alone; Ctrl-C ends\n"
        )
        connection = HTTPConnection("127.0.0.1", port_of(line), timeout=20)
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert answer.status == 200 and answer.getheader("Server") is None
        answer.read()
        connection.putrequest("GET", "/", skip_host=True)
        connection.putheader("Host", "evil.example")
        connection.endheaders()
        assert connection.getresponse().status == 400
        connection.close()
        process.send_signal(stop)
        assert process.wait(timeout=20) == 0
        assert process.stderr is not None and process.stderr.read() == ""


def test_long_requests_are_refused() -> None:
    with running() as (_, line):
        connection = HTTPConnection("127.0.0.1", port_of(line), timeout=20)
        connection.request("GET", "/?hw=" + "9" * 100_000)
        assert connection.getresponse().status in (400, 431)
        connection.close()


def test_another_host_is_warned_of() -> None:
    with running("--host", "0.0.0.0") as (_, line):
        assert "for everybody who can reach this machine" in line
        connection = HTTPConnection("127.0.0.1", port_of(line), timeout=20)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SpecError, match=rf"--port: expected a free port, found {port} in use"):
            serve(State(), port=port)


def test_a_host_of_another_machine_is_one_line() -> None:
    for host in ("203.0.113.7", "no.such.host.invalid", "\x00", "é" * 80):
        with pytest.raises(SpecError, match="--host"):
            serve(State(), host=host, port=0)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [(["--hw", "nonsense"], "--hw"), (["--hw", "x.toml"], "files"), (["--prompt", "x"], "--prompt")],
)
def test_what_to_begin_with_is_checked(arguments: list[str], found: str) -> None:
    done = subprocess.run(
        [ROOFLINE, "app", "--no-open", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and found in done.stderr and done.stderr.count("\n") == 1


def test_without_its_packages_it_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys, importlib.util as u\n"
        "real = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'dash' else real(name, *more)\n"
        "sys.argv = ['roofline', 'app', '--no-open']\n"
        "from roofline.cli import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: app: expected the package dash, found none; pip install 'roofline[app]' has it\n"


def test_what_is_loopback() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.0.0.2", "localhost", "::1"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "192.168.1.2", "example.org", ""]))


def test_two_may_ask_at_a_time(client: Client) -> None:
    answers: list[int] = []
    query = to_query(State(depth=100))
    threads = [
        threading.Thread(
            target=lambda: answers.append(ask(client, "rest.data", State(), **{"query.data": query}).status_code)
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 4
