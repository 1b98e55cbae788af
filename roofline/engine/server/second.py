"""A second tokenizer beside the server's, so that speeds can be told in its tokens (see roofline.bench.tokens)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

from roofline.bench.text import clean
from roofline.spec import SpecError

Tokenizer = Callable[[str], int]


def read_tokenizer(given: Tokenizer | str | Path) -> Tokenizer:
    """A function from a text to its number of tokens: `given` itself, or that of a tokenizer.json.

    A file needs the package tokenizers; SpecError where it is not installed, or cannot read the file.
    """
    if callable(given):
        return given
    where = clean(str(given), 200)
    try:
        package = importlib.import_module("tokenizers")
    except ImportError:
        raise SpecError(f"{where}: expected the package tokenizers to read it with, found it not installed") from None
    try:
        tokenizer = package.Tokenizer.from_file(str(given))
    except Exception as error:  # noqa: BLE001 - the package raises nothing more special
        raise SpecError(f"{where}: expected a tokenizer.json, found: {clean(str(error), 200)}") from None

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    return count


def per_character(count: Tokenizer, texts: Sequence[str]) -> float | None:
    """Tokens per character [1] over all texts; None for no text. SpecError when the tokenizer counts none."""
    characters = sum(map(len, texts))
    if not characters:
        return None
    tokens = sum(map(count, texts))
    if not tokens > 0:
        raise SpecError(f"second tokenizer: expected more than 0 tokens in {characters} characters, found {tokens}")
    return tokens / characters
