"""Which requests the explorer answers: those that its own page, on its own address, makes.

A page of another site can make a browser send requests to this machine, and a name that its owner controls can be made
to point here (DNS rebinding); the Host, Origin and Sec-Fetch-Site of a request tell both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import urlsplit

Environ: TypeAlias = dict[str, Any]
Respond: TypeAlias = Callable[..., Any]
Application: TypeAlias = Callable[[Environ, Respond], Iterable[bytes]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MOST_BODY = 32768  # bytes; a change of all controls has about 3000
_METHODS = ("GET", "HEAD", "POST")


def address(host: str, port: int) -> str:
    """The address of a host and port, as a link and a Host header have it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def allowed_hosts(host: str, port: int, names: Iterable[str] = ()) -> frozenset[str]:
    """The Host headers that are answered: of the loopback names, the bound address, and further names, on the port.

    A name may come with a port of its own, which is that of something in between, such as a proxy or a tunnel.
    """
    found = {address(name, port) for name in (*LOOPBACK, host)}
    for name in names:
        bare = name.strip("[]")
        one = bare.count(":") == 1 or name.startswith("[")  # has a port, or is an address of version 6
        found |= {name} if one and not name.endswith("]") else {address(bare, port)}
    if port == 80:
        found |= {one.removesuffix(":80") for one in found}
    return frozenset(one.lower() for one in found)


class Guard:
    """A WSGI application that answers for another one what it should not see, and adds headers to what it says."""

    def __init__(self, inner: Application, hosts: frozenset[str], headers: Mapping[str, str]) -> None:
        self._inner = inner
        self._hosts = hosts
        self._headers = list(headers.items())

    def __call__(self, environ: Environ, respond: Respond) -> Iterable[bytes]:
        """Answer a request."""

        def respond_with_headers(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            own = {name.lower() for name, _ in self._headers}
            return respond(status, [*(one for one in headers if one[0].lower() not in own), *self._headers], *more)

        refusal = self._refusal(environ)
        if refusal is None:
            return self._inner(environ, respond_with_headers)
        status, text = refusal
        body = f"{text}\n".encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        respond_with_headers(f"{status.value} {status.phrase}", headers)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]

    def _refusal(self, environ: Environ) -> tuple[HTTPStatus, str] | None:
        """Why a request is not answered; None where it is."""
        host = str(environ.get("HTTP_HOST", "")).lower()
        if host not in self._hosts:
            return HTTPStatus.BAD_REQUEST, "expected a Host that this explorer serves; --allow-host NAME adds one"
        method = environ.get("REQUEST_METHOD")
        if method not in _METHODS:
            return HTTPStatus.METHOD_NOT_ALLOWED, f"expected one of {', '.join(_METHODS)}"
        if method != "POST":
            return None
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and not _is_of(origin, self._hosts):
            return HTTPStatus.FORBIDDEN, "expected a request of the explorer's own page, found another origin"
        if environ.get("HTTP_SEC_FETCH_SITE", "same-origin") not in ("same-origin", "none"):
            return HTTPStatus.FORBIDDEN, "expected a request of the explorer's own page, found one of another site"
        if str(environ.get("CONTENT_TYPE", "")).partition(";")[0].strip().lower() != "application/json":
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json"
        length = str(environ.get("CONTENT_LENGTH") or "0")
        if not length.isdecimal() or int(length) > MOST_BODY:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {MOST_BODY} bytes"
        return None


def _is_of(origin: str, hosts: frozenset[str]) -> bool:
    """Whether an Origin is one of the hosts, over whatever protocol a proxy speaks with the browser."""
    try:
        parts = urlsplit(origin)
    except ValueError:  # a broken address of version 6
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() in hosts


def security_headers(script_hashes: Iterable[str]) -> dict[str, str]:
    """Headers that keep the page to itself: nothing of other origins, no frames, no referrer, no guessed types."""
    policy = {
        "default-src": "'none'",
        "script-src": " ".join(["'self'", *script_hashes]),
        "style-src": "'self' 'unsafe-inline'",  # plotly writes its style sheet into the page
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }
