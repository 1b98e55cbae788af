"""One answer of a server, whichever way it was asked, and the ways of asking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from roofline.engine.server.client import Connection
from roofline.engine.server.facts import ServerFacts
from roofline.engine.server.timings import Timings
from roofline.spec import SpecError

Counted = Literal["timings", "usage", "tokenizer", "chunks"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: its tokens, and when they came [s, on the clock of time.perf_counter].

    prompt: tokens of the prompt with those from the cache, None where nobody counted them. cached: those from the
    cache. gen: tokens generated; counted: who says so. sent: when the request left. first, last: when the first and
    the last token came (both the end of the answer, where nothing was generated). arrivals: at how many different
    times tokens came. timings: the server's own clock, where it has one.
    """

    prompt: int | None
    cached: int
    gen: int
    counted: Counted
    sent: float
    first: float
    last: float
    arrivals: int
    timings: Timings | None = None

    @property
    def ttft_s(self) -> float:
        """Time to the first token [s]."""
        return self.first - self.sent

    @property
    def tpot_s(self) -> float | None:
        """Mean time from one token to the next [s]; None where the tokens came all at once."""
        return (self.last - self.first) / (self.gen - 1) if self.gen > 1 and self.last > self.first else None


class Api(Protocol):
    """A way of asking a server. Every method raises SpecError when the answer is none, or cannot be true."""

    @property
    def facts(self) -> ServerFacts:
        """What the server says of itself."""

    @property
    def notes(self) -> Sequence[str]:
        """What turned out on the way and a reader of the figures should know."""

    def count(self, connection: Connection, text: str) -> int | None:
        """Tokens of a text by the server's tokenizer, with the special ones it adds; None where it offers none."""

    def prefill(self, connection: Connection, prompt: str) -> Answer:
        """Process a prompt and generate as little as the server can."""

    def generate(self, connection: Connection, prompt: str, gen: int) -> Answer:
        """Process a prompt and generate `gen` tokens."""


def check_generated(gen: int, asked: int, where: str) -> None:
    """SpecError where more tokens came than were asked for: the counts of such a server are not to be trusted."""
    if gen > asked:
        raise SpecError(f"{where}: expected at most {asked} generated tokens, found {gen}")
