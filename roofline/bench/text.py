"""Text from anywhere: decoding files of mixed encodings, and showing what they hold in one safe line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

LONGEST_TEXT = 2_000  # characters kept of a note; nobody reads more, and a hostile file may hold megabytes


def shown(text: object, limit: int = 60) -> str:
    """`text` quoted, shortened and with control characters escaped, for a message of one line."""
    kept = str(text)
    return repr(kept if len(kept) <= limit else kept[: limit - 1] + "…")


def clean(text: str, limit: int = LONGEST_TEXT) -> str:
    """`text` in one printable line of at most `limit` characters."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return text.strip()


def decode(data: bytes) -> str:
    """UTF-8, UTF-16 with a byte order mark (as PowerShell redirects), else Latin-1, decided line by line."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace").removeprefix("\ufeff")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "".join(decode_lines(data.splitlines(keepends=True)))


def decode_lines(lines: Iterable[bytes]) -> Iterator[str]:
    """Each line as UTF-8 where it is, else as Latin-1, which reads any byte: one foreign note spoils no other row."""
    for index, line in enumerate(lines):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            text = line.decode("latin-1")
        yield text.removeprefix("\ufeff") if index == 0 else text
