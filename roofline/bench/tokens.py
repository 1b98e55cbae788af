"""Speeds counted in something else than the model's own tokens, converted to tokens per second.

A text has a number of characters, and for each tokenizer a number of tokens; the time to process it is one. Hence

    tok/s = characters/s · tokens per character        tok/s of A = tok/s of B · (tokens per character of A / of B)
"""

from __future__ import annotations

import math
from dataclasses import replace

from roofline.bench.observation import Observation
from roofline.spec import SpecError


def from_characters(characters_per_second: float, tokens_per_char: float) -> float:
    """Speed [tok/s] of a speed counted in characters [1/s]. tokens_per_char: tokens of the model per character [1]."""
    _positive("speed", characters_per_second)
    _positive("tokens per character", tokens_per_char)
    return characters_per_second * tokens_per_char


def between_tokenizers(tok_s: float, counted: float, wanted: float) -> float:
    """Speed in tokens of another tokenizer [tok/s].

    tok_s: as counted; counted, wanted: tokens per character [1] of the tokenizer that counted and of the one wanted,
    on the same text.
    """
    _positive("speed", tok_s)
    _positive("tokens per character", counted)
    _positive("tokens per character", wanted)
    return tok_s * (wanted / counted)


def without_start_up(tok_s: float, tokens: int, start_up: float) -> float:
    """Speed [tok/s] without a start-up that was counted in it: tokens / (tokens / tok_s − start_up).

    tokens: how many the speed is a mean over [1]; start_up: seconds before the first of them [s].
    """
    _positive("speed", tok_s)
    _positive("tokens", tokens)
    if not 0 <= start_up < math.inf:
        raise SpecError(f"start-up: expected seconds, 0 or more, found {start_up:g}")
    left = tokens / tok_s - start_up
    if not left > 0:
        raise SpecError(f"start-up: expected less than the {tokens / tok_s:g} s of {tokens} tokens, found {start_up:g}")
    return tokens / left


def counted_in_characters(observation: Observation, tokens_per_char: float) -> Observation:
    """An observation whose tok_s and std are characters per second, with both in tokens per second."""
    return replace(
        observation,
        tok_s=from_characters(observation.tok_s, tokens_per_char),
        std=None if observation.std is None else observation.std * tokens_per_char,
    )


def _positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise SpecError(f"{name}: expected a finite number above 0, found {value:g}")
