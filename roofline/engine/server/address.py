"""The address of a server: checked before anything is sent, and shown without what should not be shown."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from roofline.bench.text import clean
from roofline.spec import SpecError

LONGEST = 2_000  # characters of an address
EXAMPLE = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server's paths begin: 'http://127.0.0.1:8080', without a slash at the end."""

    base: str

    def path(self, path: str) -> str:
        """The address of a path such as '/health'."""
        return self.base + path

    @property
    def encrypted(self) -> bool:
        """Whether it is spoken to over TLS."""
        return self.base.startswith("https:")


def parse_address(url: str) -> Address:
    """A server's address from what a person writes; a '/v1' at the end, as in OpenAI's base URLs, may be there or not.

    SpecError for other schemes, a missing host, a bad port, and credentials, which would end up in logs.
    """
    text = url.strip()
    if (
        len(text) > LONGEST
        or not text.isascii()
        or not text.isprintable()
        or any(char in text for char in ' \\"<>^`{|}')
    ):
        raise SpecError(f"server: expected a URL such as {EXAMPLE}, found {clean(_hidden(text), 100)!r}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:  # brackets that do not match, a port that is no number
        said = f"{clean(_hidden(text), 100)!r}: {error}"
        raise SpecError(f"server: expected a URL such as {EXAMPLE} or http://[::1]:8080, found {said}") from None
    _check(parts, text)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return Address(f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "") + path)


def _check(parts: SplitResult, text: str) -> None:
    if parts.scheme not in ("http", "https"):
        raise SpecError(
            f"server: expected a URL that begins with http:// or https://, found {clean(_hidden(text), 100)!r}"
        )
    if not parts.hostname:
        raise SpecError(f"server: expected a URL with a host, such as {EXAMPLE}, found {clean(_hidden(text), 100)!r}")
    if "@" in parts.netloc:
        raise SpecError(
            "server: expected a URL without a user or password, found one with (name an API key's variable)"
        )
    if parts.query or parts.fragment:
        raise SpecError(f"server: expected a URL without ? and #, found {clean(_hidden(text), 100)!r}")
    if parts.port == 0:
        raise SpecError(f"server: expected a port from 1 to 65535, found {clean(text, 100)!r}")


def _hidden(text: str) -> str:
    """A text that may be a URL, without the part before an @ and without its query: both may hold a secret."""
    scheme, separator, rest = text.rpartition("://")
    rest = rest.split("?", 1)[0]
    return scheme.rpartition("@")[2] + separator + rest.rpartition("@")[2]


def read_key(variable: str | None) -> str | None:
    """The API key in an environment variable, None where none is named; no message holds the key."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise SpecError(f"{clean(variable, 100)}: expected an API key in this environment variable, found none")
    if len(key) > LONGEST or not key.isascii() or not key.isprintable() or " " in key:
        raise SpecError(f"{clean(variable, 100)}: expected an API key of printable ASCII, found something else")
    return key
