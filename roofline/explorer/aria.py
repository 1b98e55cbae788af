"""What is said of a part of the page to those who do not see it."""

from __future__ import annotations

from typing import Any


def aria(**words: str) -> dict[str, Any]:
    """Attributes of an element; `label` is its name."""
    return {f"aria-{name}": text for name, text in words.items()}
