"""Names to catalog ids, for files of any length: the catalog is read once, and every answer is remembered.

The rules are the catalog's own: case and punctuation do not count, aliases do, a miss says what was probably meant.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from roofline import catalog
from roofline.bench.text import shown
from roofline.spec import SpecError, read_toml

if TYPE_CHECKING:
    from roofline.catalog import Room

Answer = TypeVar("Answer")

MOST_REMEMBERED = 10_000
MOST_SUGGESTIONS = 50  # finding near names takes milliseconds each; a file of a million misses gets those for its first

_COUNTED = re.compile(r"^\d{1,3}\s*x|x\s*\d{1,3}$|\dgb$", re.I)  # '2x rtx-3090', 'rtx-3090x2', 'rpi5-4gb'


def tables(room: Room) -> dict[str, dict[str, Any]]:
    """The TOML of every file of a room by id; files that cannot be read are left to the commands that use them."""
    found = {}
    for identity, path in catalog.files(room).items():
        try:
            found[identity] = _table(path, path.stat().st_mtime_ns)
        except (SpecError, OSError):
            continue
    return found


@lru_cache(maxsize=4096)
def _table(path: Path, _modified: int) -> dict[str, Any]:
    return read_toml(path)


class _Memory(Generic[Answer]):
    """A look-up that remembers its answers, misses included."""

    def __init__(self, find: Callable[[str], Answer]) -> None:
        self._find = find
        self._known: dict[str, Answer] = {}
        self._missed: dict[str, str] = {}

    def __call__(self, name: str) -> Answer:
        if name in self._known:
            return self._known[name]
        if name in self._missed:
            raise SpecError(self._missed[name])
        try:
            answer = self._find(name)
        except SpecError as error:
            if len(self._missed) < MOST_REMEMBERED:
                self._missed[name] = str(error)
            raise
        if len(self._known) < MOST_REMEMBERED:
            self._known[name] = answer
        return answer


class Names:
    """Hardware, model and quantisation names of one reading.

    hardware(name) → (id, count), model(name) → id, quant(name) → id; SpecError with the nearest names on a miss.
    """

    def __init__(self) -> None:
        self.hardware = _Memory(self._hardware)
        self.model = _Memory(self._model)
        self.quant = _Memory(self._quant)
        self._indexes: dict[Room, dict[str, str]] = {}
        self._aliases: dict[Room, dict[str, str]] = {}
        self._misses = 0

    def _hardware(self, name: str) -> tuple[str, int]:
        found = self._find("hardware", name)
        if found is not None:
            return found, 1
        if _COUNTED.search(name.strip()) and self._misses < MOST_SUGGESTIONS:
            try:
                entry = catalog.load_hardware(name)
            except ValueError:
                raise self._miss("hardware", "hardware", name) from None
            return entry.path.stem, int(entry.id.removeprefix(entry.path.stem).removeprefix("x") or 1)
        raise self._miss("hardware", "hardware", name)

    def _model(self, name: str) -> str:
        found = self._find("models", name)
        if found is not None:
            return found
        raise self._miss("models", "a model", name)

    def _quant(self, name: str) -> str:
        from roofline.quantization import get

        return get(name[:100]).id

    def _find(self, room: Room, name: str) -> str | None:
        """An id of the catalog, or a file of the user's own as it was written."""
        if len(name) > 500:
            return None
        if name.endswith((".toml", ".gguf", ".json")) or os.sep in name:
            return name if _is_file(name) else None
        if room not in self._indexes:
            known = catalog.files(room)
            self._indexes[room] = {catalog.normalise(identity): identity for identity in reversed(known)}
        form = catalog.normalise(name)
        if form in self._indexes[room]:
            return self._indexes[room][form]
        if room not in self._aliases:  # only a miss pays for reading every file's aliases
            self._aliases[room] = {
                catalog.normalise(alias): identity
                for identity, table in reversed(tables(room).items())
                for alias in aliases(table)
            }
        return self._aliases[room].get(form)

    def _miss(self, room: Room, what: str, name: str) -> SpecError:
        self._misses += 1
        hint = ""
        if self._misses <= MOST_SUGGESTIONS:
            hint = "; " + catalog.suggestion(name[:100], dict.fromkeys(self._indexes.get(room, {}).values()))
        return SpecError(f"expected {what} of the catalog or a file, found {shown(name)}{hint}")


def aliases(table: dict[str, Any]) -> list[str]:
    """The aliases that a file lists."""
    listed = table.get("aliases", [])
    return [alias for alias in listed if isinstance(alias, str)] if isinstance(listed, list) else []


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False
