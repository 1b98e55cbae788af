"""llama.cpp's own API, /completion and /tokenize: every answer brings the server's own times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roofline.bench.text import clean
from roofline.engine.server.answer import Answer, check_generated
from roofline.engine.server.client import Arrival, Clock, Connection, LostError
from roofline.engine.server.facts import ServerFacts
from roofline.engine.server.fields import Record, record_in, tokens_in
from roofline.engine.server.timings import Timings, read_timings
from roofline.spec import SpecError

PATH = "/completion"
_SLACK = 32  # pieces of a stream beyond one a token


class LlamaApi:
    """llama-server, and llamafile's server of any age."""

    def __init__(self, facts: ServerFacts) -> None:
        self.facts = facts
        self._notes: list[str] = []

    @property
    def notes(self) -> Sequence[str]:
        """How this server's own speeds are to be read."""
        return self._notes

    def count(self, connection: Connection, text: str) -> int | None:
        """Tokens by /tokenize; None where the server has none."""
        return count_by_llama(connection, text)

    def prefill(self, connection: Connection, prompt: str) -> Answer:
        """Process a prompt. Zero tokens are asked for; most builds generate one nevertheless, from the same pass."""
        where = connection.address.path(PATH)
        record, clock = connection.post_json(PATH, _body(prompt, 0))
        return self._answer(record, where, 1, clock, [clock.done])

    def generate(self, connection: Connection, prompt: str, gen: int) -> Answer:
        """Generate `gen` tokens, streamed: the server's times come with the last piece, the client's on the way."""
        where, clock = connection.address.path(PATH), Clock()
        times: list[float] = []
        last: Arrival | None = None
        for piece in connection.stream(PATH, {**_body(prompt, gen), "stream": True}, 2 * gen + _SLACK, clock):
            if piece.record.get("content"):
                times.append(piece.at)
            if piece.record.get("stop") is True or record_in(piece.record, "timings"):
                last = piece
        if last is None:
            raise LostError(f"{where}: expected a last piece with timings, found the stream ended without")
        return self._answer(last.record, where, gen, clock, times or [last.at])

    def _answer(self, record: Record, where: str, asked: int, clock: Clock, times: Sequence[float]) -> Answer:
        given = record_in(record, "timings")
        if given is None:
            raise SpecError(f"{where}: expected an answer with timings, found the keys {clean(', '.join(record), 100)}")
        decoded = tokens_in(record, "tokens_predicted", where) if "tokens_predicted" in record else None
        evaluated = tokens_in(record, "tokens_evaluated", where) if "tokens_evaluated" in record else 0
        timings = read_timings(given, where, decoded)
        gen = max(timings.gen, decoded or 0)
        check_generated(gen, asked, where)
        if record.get("truncated") is True:
            raise SpecError(f"{where}: expected the whole prompt to fit, found it truncated")
        self._note(timings)
        # Servers of early 2024 do not say what came from the cache, but processed fewer tokens than they evaluated.
        cached = max(timings.cached or 0, evaluated - timings.prompt)
        return Answer(
            prompt=timings.prompt + cached,
            cached=cached,
            gen=gen,
            counted="timings",
            sent=clock.sent,
            first=times[0],
            last=times[-1],
            arrivals=len(set(times)),
            timings=timings,
        )

    def _note(self, timings: Timings) -> None:
        if timings.stated in ("n/t", "neither") and not self._notes:
            said = "is n/t" if timings.stated == "n/t" else "is neither n/t nor (n - 1)/t"
            self._notes.append(f"the server's predicted_per_second {said}; the speeds here are (n - 1)/t")


def _body(prompt: str, gen: int) -> Mapping[str, object]:
    return {"prompt": prompt, "n_predict": gen, "temperature": 0, "cache_prompt": False, "ignore_eos": True}


def count_by_llama(connection: Connection, text: str) -> int | None:
    """Tokens of a text by llama.cpp's /tokenize, None where the server has no such path."""
    try:
        record, _ = connection.post_json("/tokenize", {"content": text, "add_special": True})
    except LostError:
        raise
    except SpecError:
        return None
    tokens = record.get("tokens")
    return len(tokens) if isinstance(tokens, list) else None
