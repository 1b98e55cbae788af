"""What to measure on a server, and whether it makes sense."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from roofline.bench.text import shown
from roofline.engine.server.results import Phase
from roofline.spec import SpecError

MOST = 1_000_000  # tokens of a prompt or an answer
MOST_REPETITIONS = 10_000
MOST_TOGETHER = 256


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure; SpecError where it makes no sense."""

    prompt: int
    gen: int
    repetitions: int
    warm_up: int
    concurrency: tuple[int, ...]

    def __post_init__(self) -> None:
        _within("prompt", self.prompt, 0, MOST)
        _within("gen", self.gen, 0, MOST)
        _within("repetitions", self.repetitions, 1, MOST_REPETITIONS)
        _within("warm-up", self.warm_up, 0, MOST_REPETITIONS)
        for requests in self.concurrency:
            _within("concurrency", requests, 1, MOST_TOGETHER)
        if not self.concurrency or not (self.prompt or self.gen):
            raise SpecError("server: expected a prompt or tokens to generate, found neither")
        if self.gen == 1:
            raise SpecError("gen: expected 0, or at least 2 tokens (the first one belongs to the prompt), found 1")

    def phases(self) -> Iterator[tuple[Phase, int]]:
        """(phase, requests at the same time) in the order of measuring."""
        for requests in self.concurrency:
            if self.prompt:
                yield "pp", requests
            if self.gen:
                yield "tg", requests


def _within(name: str, value: int, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise SpecError(f"{name}: expected a whole number from {least} to {most}, found {shown(value)}")
