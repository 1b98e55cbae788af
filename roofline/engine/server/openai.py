"""The API that most servers share, /v1/completions and /v1/chat/completions, streamed and timed at the client.

The time to the first token holds the prompt's processing, the first token's sampling and one way through the network
and back; on a far server read the speed of prefill as a lower bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from roofline.bench.text import clean
from roofline.engine.server.answer import Answer, Counted, check_generated
from roofline.engine.server.client import Clock, Connection, LostError, RefusedError
from roofline.engine.server.facts import ServerFacts
from roofline.engine.server.fields import Record, first_of, record_in, tokens_in
from roofline.engine.server.native import count_by_llama
from roofline.engine.server.timings import read_timings
from roofline.spec import SpecError

Kind = Literal["completions", "chat"]
PATHS: Mapping[Kind, str] = {"completions": "/v1/completions", "chat": "/v1/chat/completions"}
_SLACK = 32  # pieces of a stream beyond one a token: the role, the end, the usage, pings

# What is asked for beyond the standard, from most to least; a strict server refuses a key that it does not know.
_USAGE: Mapping[str, object] = {"stream_options": {"include_usage": True}}
_EXTRAS: tuple[Mapping[str, object], ...] = (
    {**_USAGE, "ignore_eos": True, "cache_prompt": False},
    _USAGE,
    {},
)
_NOTES = (
    "",
    "the server refuses ignore_eos: an answer may end early",
    "the server refuses ignore_eos and stream_options: tokens are counted by the pieces of the stream",
)


class OpenAiApi:
    """A server that speaks one of OpenAI's APIs."""

    def __init__(self, facts: ServerFacts, kind: Kind, model: str) -> None:
        self.facts = facts
        self._kind: Kind = kind
        self._model = model
        self._extras = 0  # how many of _EXTRAS were refused
        self._notes: list[str] = []
        self._no_tokenizer = False

    @property
    def notes(self) -> Sequence[str]:
        """What the server does not do."""
        return self._notes

    def count(self, connection: Connection, text: str) -> int | None:
        """Tokens by the server's /tokenize, as llama.cpp or vLLM have it; None where there is neither."""
        if self._no_tokenizer:
            return None
        counted = count_by_llama(connection, text) if self.facts.is_llama else self._count_by_vllm(connection, text)
        self._no_tokenizer = counted is None
        return counted

    def _count_by_vllm(self, connection: Connection, text: str) -> int | None:
        try:
            record, _ = connection.post_json("/tokenize", {"model": self._model, "prompt": text})
            return tokens_in(record, "count", connection.address.path("/tokenize"))
        except LostError:
            raise
        except SpecError:
            return None

    def prefill(self, connection: Connection, prompt: str) -> Answer:
        """Process a prompt and generate one token, the least that these APIs allow."""
        return self._ask(connection, prompt, 1)

    def generate(self, connection: Connection, prompt: str, gen: int) -> Answer:
        """Generate `gen` tokens."""
        return self._ask(connection, prompt, gen)

    def _ask(self, connection: Connection, prompt: str, gen: int) -> Answer:
        first: RefusedError | None = None
        for extras in range(self._extras, len(_EXTRAS)):
            try:
                answer = self._stream(connection, prompt, gen, _EXTRAS[extras])
            except RefusedError as refusal:
                if refusal.status not in (400, 422):
                    raise
                first = first or refusal
                continue
            self._extras = extras
            self._add_note(_NOTES[extras])
            return answer
        # Nothing was too much to ask for: the reason is another one.
        raise first or SpecError(f"{connection.address.base}: expected an answer, found none")

    def _stream(self, connection: Connection, prompt: str, gen: int, extras: Mapping[str, object]) -> Answer:
        path, clock = PATHS[self._kind], Clock()
        where = connection.address.path(path)
        text: Mapping[str, object] = {"prompt": prompt}
        if self._kind == "chat":
            text = {"messages": [{"role": "user", "content": prompt}]}
        body = {"model": self._model, **text, "max_tokens": gen, "temperature": 0, "stream": True, **extras}
        times: list[float] = []
        usage: Record | None = None
        timings: Record | None = None
        finished = False
        for piece in connection.stream(path, body, 2 * gen + _SLACK, clock):
            choice = first_of(piece.record, "choices")
            if choice is not None:
                if _has_text(choice):
                    times.append(piece.at)
                finished = finished or bool(choice.get("finish_reason"))
            elif not isinstance(piece.record.get("choices"), list) and not record_in(piece.record, "usage"):
                raise SpecError(f"{where}: expected choices, found the keys {clean(', '.join(piece.record), 100)}")
            usage = record_in(piece.record, "usage") or usage
            timings = record_in(piece.record, "timings") or timings
        if not (finished or clock.ended):
            raise LostError(f"{where}: expected a stream to its end, found it broken off after {len(times)} pieces")
        if not times and usage is None and timings is None:
            raise SpecError(f"{where}: expected generated text, found none")
        return self._answer(connection, prompt, gen, clock, times, usage, timings)

    def _answer(
        self,
        connection: Connection,
        prompt: str,
        asked: int,
        clock: Clock,
        times: Sequence[float],
        usage: Record | None,
        given: Record | None,
    ) -> Answer:
        where = connection.address.path(PATHS[self._kind])
        counted: Counted
        prompt_tokens: int | None
        timings = read_timings(given, where) if given is not None else None
        cached = timings.cached or 0 if timings else 0
        if usage is not None:
            counted, gen = "usage", tokens_in(usage, "completion_tokens", where)
            prompt_tokens = tokens_in(usage, "prompt_tokens", where)
            details = record_in(usage, "prompt_tokens_details") or {}
            if details.get("cached_tokens") is not None:
                cached = max(cached, tokens_in(details, "cached_tokens", where))
        elif timings is not None:
            counted, gen, prompt_tokens = "timings", timings.gen, timings.prompt + cached
        else:
            counted, gen = "chunks", len(times)
            prompt_tokens = self.count(connection, prompt) if self._kind == "completions" else None
            self._add_note(
                "the server does not say how many tokens it generated: each piece of the stream counts as one"
            )
        check_generated(gen, asked, where)
        if prompt_tokens is not None and cached > prompt_tokens:
            raise SpecError(f"{where}: expected at most {prompt_tokens} cached tokens, found {cached}")
        return Answer(
            prompt=prompt_tokens,
            cached=cached,
            gen=gen,
            counted=counted,
            sent=clock.sent,
            first=times[0] if times else clock.done,
            last=times[-1] if times else clock.done,
            arrivals=len(set(times)),
            timings=timings,
        )

    def _add_note(self, note: str) -> None:
        if note and note not in self._notes:
            self._notes.append(note)


def _has_text(choice: Record) -> bool:
    """Whether a piece holds generated text; thinking counts, a role alone does not."""
    inner = record_in(choice, "delta") or choice
    return any(
        isinstance(inner.get(key), str) and inner[key] for key in ("text", "content", "reasoning_content", "reasoning")
    )
