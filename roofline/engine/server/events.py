"""Server-sent events: the data of each, with when it arrived (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from roofline.spec import SpecError

LONGEST_EVENT = 1 << 20  # bytes; the longest seen is a server's last, with all its settings: 4 kB


def data_of(chunks: Iterable[tuple[float, bytes]], where: str) -> Iterator[tuple[float, str]]:
    """(when [s], data) of every event that has data.

    chunks: bytes with when they arrived [s]. An event is dated by the chunk that completes it. Comments and other
    fields are passed over; what an unfinished line at the end holds is given too, since some servers end without one.
    """
    line, held, at = bytearray(), [], 0.0  # type: tuple[bytearray, list[str], float]
    for arrived, chunk in chunks:
        at = arrived
        *complete, rest = chunk.split(b"\n")
        for piece in complete:
            line += piece
            yield from _take(bytes(line), held, at)
            line.clear()
        line += rest
        if len(line) + sum(map(len, held)) > LONGEST_EVENT:
            raise SpecError(f"{where}: expected events of at most {LONGEST_EVENT:,} bytes, found a longer one")
    yield from _take(bytes(line), held, at)
    yield from _take(b"", held, at)


def _take(raw: bytes, held: list[str], at: float) -> Iterator[tuple[float, str]]:
    """Add a line to the event; an empty one ends it."""
    text = raw.decode("utf-8", "replace").removesuffix("\r")
    if not text:
        if held:
            yield at, "\n".join(held)
            held.clear()
        return
    name, _, value = text.partition(":")
    if name in ("data", "error"):  # llama.cpp of 2024 sent its errors as a field of their own
        held.append(value.removeprefix(" "))
