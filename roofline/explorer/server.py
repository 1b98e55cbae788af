"""The explorer as a server: the app behind its guard, listening."""

from __future__ import annotations

import errno
import json
import logging
import socket
from collections.abc import Callable, Iterable
from contextlib import closing
from html import escape
from http import HTTPStatus
from typing import Any

import psutil
from dash import Dash
from flask import Flask, Response, request
from waitress import create_server
from werkzeug.exceptions import HTTPException

from roofline.explorer import guard
from roofline.explorer.callbacks import connect
from roofline.explorer.controls import offers
from roofline.explorer.page import page
from roofline.explorer.state import State
from roofline.plot import theme
from roofline.spec import SpecError

_THREADS = 6
_BACKLOG = 64
_LOG = logging.getLogger(__name__)
_PLOTLY = "/_dash-component-suites/plotly/package_data/plotly.min.js"
_PATHS = ("/_dash-", "/assets/", "/_favicon.ico")
_ANYTHING = "/<path:path>"  # Dash answers it with the page
_EVERYWHERE = ("0.0.0.0", "::", "")

_INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<meta name="color-scheme" content="light dark">
<title>{%title%}</title>
{%favicon%}
{%css%}
<style>COLOURS</style>
<script id="dark-of" type="application/json">DARK_OF</script>
<script defer src="PLOTLY"></script>
</head>
<body>
<noscript><p>The explorer needs JavaScript; `roofline predict` does not.</p></noscript>
{%app_entry%}
OFFERS
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>
"""


def make_app(initial: State | None = None) -> Dash:
    """The app, without its guard. initial: what it shows where the address says nothing."""
    initial = initial or State()
    app = Dash(
        "roofline.explorer",
        title="roofline explorer",
        update_title="",  # the title would flicker with every change
        serve_locally=True,
        index_string=_index(),
        add_log_handler=False,
    )
    app.layout = lambda: page(initial)
    connect(app, initial)
    app.enable_dev_tools(
        debug=False,
        dev_tools_ui=False,
        dev_tools_hot_reload=False,
        dev_tools_props_check=False,
        dev_tools_serve_dev_bundles=False,
        dev_tools_disable_version_check=True,
    )
    _keep_to_its_own(app)
    return app


def guarded(app: Dash, hosts: frozenset[str]) -> guard.Guard:
    """The WSGI application that answers the given Host headers alone."""
    return guard.Guard(app.server.wsgi_app, hosts, guard.security_headers(app.csp_hashes()))


def serve(
    initial: State,
    host: str = "127.0.0.1",
    port: int = 8050,
    names: Iterable[str] = (),
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Answer until SystemExit or KeyboardInterrupt. names: further Host headers; ready is called with the address.

    Raises SpecError where the port or the host cannot be had.
    """
    logging.getLogger("waitress").setLevel(logging.ERROR)
    with closing(_listen(host, port)) as listening:
        bound = listening.getsockname()[1]
        addresses = _own_addresses() if host in _EVERYWHERE else ()
        hosts = guard.allowed_hosts(host, bound, [*addresses, *names])
        application = guarded(make_app(initial), hosts)
        server = create_server(
            application,
            sockets=[listening],
            threads=_THREADS,
            ident=None,
            max_request_header_size=guard.MOST_BODY,
            max_request_body_size=guard.MOST_BODY,
            channel_timeout=30,
            clear_untrusted_proxy_headers=True,
        )
        ready(f"http://{guard.address(host or '0.0.0.0', bound)}/")
        server.run()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host."""
    return host in guard.LOOPBACK or host.startswith("127.")


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens; SpecError where the host is not this machine's or the port is in use."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise SpecError(f"--host: expected an address of this machine, found {host!r}") from None
    listening = socket.socket(family, kind, protocol)
    try:
        if hasattr(socket, "SO_REUSEADDR") and not hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise SpecError(f"--port: expected a free port, found {port} in use; --port 0 takes a free one") from None
        if error.errno == errno.EACCES:
            raise SpecError(f"--port: expected a port that you may use, found {port}") from None
        raise SpecError(f"--host: expected an address of this machine, found {host!r}") from None
    return listening


def _own_addresses() -> list[str]:
    """The addresses of this machine, which no other site can make its name of."""
    found = [one.address for each in psutil.net_if_addrs().values() for one in each if _is_internet(one.family)]
    return [address.partition("%")[0] for address in found]


def _is_internet(family: Any) -> bool:
    return family in (socket.AF_INET, socket.AF_INET6)


def _index() -> str:
    """The page around the app, with the colours of charts for both backgrounds."""
    light = {f"--look-{place}": look.colour for place, look in enumerate(theme.SERIES)}
    light |= {"--back": theme.BACKGROUND, "--text": theme.TEXT, "--muted": theme.MUTED, "--line": theme.GRID}
    rules = [_rule(light), f"@media (prefers-color-scheme: dark) {{ {_rule(theme.dark(light))} }}"]
    rules += [f".look-{place} {{ --own: var(--look-{place}); }}" for place in range(len(theme.SERIES))]
    found = _INDEX.replace("COLOURS", " ".join(rules)).replace("PLOTLY", _PLOTLY)
    found = found.replace("DARK_OF", json.dumps(dict(theme.DARK_OF)))
    return found.replace("OFFERS", "\n".join(_datalist(name, offered) for name, offered in offers().items()))


def _datalist(name: str, offered: Iterable[str]) -> str:
    options = "".join(f'<option value="{escape(one)}">' for one in offered)
    return f'<datalist id="{name}">{options}</datalist>'.replace("{", "&#123;")  # Dash fills in what is in braces


def _rule(colours: dict[str, str]) -> str:
    return f":root {{ {' '.join(f'{name}: {colour};' for name, colour in colours.items())} }}"


# -- what the app itself would answer at length -----------------------------------------------------------------------


def _keep_to_its_own(app: Dash) -> None:
    """Answer with one line what is no request of the page: other paths, and bodies that fit no callback."""
    server: Flask = app.server

    @server.before_request
    def check() -> Response | None:
        rule = request.url_rule
        if request.path != "/" and (rule is None or rule.rule == _ANYTHING or not request.path.startswith(_PATHS)):
            return _line(HTTPStatus.NOT_FOUND, "there is nothing here; the explorer is at /")
        if request.method == "POST" and not _is_of_page(app, _body()):
            return _line(HTTPStatus.BAD_REQUEST, "expected a request of the explorer's own page")
        return None

    @server.errorhandler(Exception)
    def tell(error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.code:
            status = HTTPStatus(error.code)
            return _line(status, status.phrase.lower())
        if request.path.startswith("/_dash-component-suites/"):  # Dash raises its own for a file that there is not
            return _line(HTTPStatus.NOT_FOUND, "not found")
        _LOG.error("a request failed", exc_info=error)
        return _line(HTTPStatus.INTERNAL_SERVER_ERROR, "the explorer failed; where it was started stands why")


def _body() -> Any:
    try:
        return request.get_json(silent=True)
    except RecursionError:  # nested without end
        return None


def _line(status: HTTPStatus, text: str) -> Response:
    return Response(f"{text}\n", status=status.value, mimetype="text/plain")


def _is_of_page(app: Dash, body: Any) -> bool:
    """Whether a body asks for one of the callbacks, with its inputs in their order."""
    output = body.get("output") if isinstance(body, dict) else None
    known = app.callback_map.get(output) if isinstance(output, str) else None
    if known is None or not isinstance(body.get("changedPropIds", []), list):
        return False
    return all(_are(body.get(key, []), known[key]) for key in ("inputs", "state"))


def _are(given: Any, wanted: list[dict[str, Any]]) -> bool:
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        return False
    return [(one.get("id"), one.get("property")) for one in given] == [(one["id"], one["property"]) for one in wanted]
