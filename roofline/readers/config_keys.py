"""The keys of a config.json, checked as they are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from roofline.spec import SpecError


class Config:
    """The keys of one config, checked as they are read. `prefix` is where they stand in the file ('text_config.')."""

    def __init__(
        self, path: Path, data: dict[str, Any], prefix: str = "", defaults: dict[str, Any] | None = None
    ) -> None:
        self.path, self.data, self.prefix, self.defaults = path, data, prefix, defaults or {}

    def wrong(self, key: str, expected: str, found: object) -> SpecError:
        """The one line."""
        shown = json.dumps(found, default=str)
        return SpecError(f"{self.path}: {self.prefix}{key}: expected {expected}, found {shown[:80]}")

    def get(self, key: str) -> Any:
        """The value, or the class's default; null counts as absent."""
        value = self.data.get(key)
        return self.defaults.get(key) if value is None else value

    def optional(self, *keys: str) -> int | None:
        """A whole number under the first of several names that is there."""
        for key in keys:
            value = self.get(key)
            if value is not None:
                if type(value) is not int or not 0 <= value <= 10**9:
                    raise self.wrong(key, "a whole number from 0 to 1000000000", value)
                return value
        return None

    def number(self, *keys: str) -> int:
        """A whole number of at least 1."""
        value = self.optional(*keys)
        if value is None:
            raise SpecError(f"{self.path}: {self.prefix}{keys[0]}: expected a whole number, found none")
        if value < 1:
            raise self.wrong(keys[0], "a whole number of at least 1", value)
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false", value)
        return value

    def words(self, key: str, length: int) -> list[str] | None:
        """A list of at least ``length`` words."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) < length or not all(isinstance(word, str) for word in value):
            raise self.wrong(key, f"a list of {length} words", value)
        return value

    def numbers(self, key: str) -> list[int]:
        """A list of whole numbers, empty if absent."""
        value = self.get(key) or []
        if not isinstance(value, list) or not all(type(item) is int for item in value):
            raise self.wrong(key, "a list of whole numbers", value)
        return value
