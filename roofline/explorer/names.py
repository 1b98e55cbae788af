"""What a link may name: things of the catalog by their ids, never a file of this machine."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from roofline import catalog
from roofline.lineup import line_up
from roofline.spec import SpecError, read_toml
from roofline.units import short

LONGEST = 120  # characters of a name; the longest of the catalog have 30
MOST_PARTS = 8  # devices of one line-up beside its host, so that placing layers on them stays quick
_FILES = ("/", "\\", ".toml", ".gguf", ".json")


def hardware(text: str) -> str:
    """The canonical spelling of a device, a count of it, or a line-up: '2x RTX 3090 + ryzen 7950x' has one.

    SpecError for what the catalog does not have, for files, and for line-ups of more than MOST_PARTS.
    """
    identity = line_up(_checked("hw", text, "devices")).id
    count = parts(identity)
    if count > MOST_PARTS:
        raise SpecError(f"--hw: expected at most {MOST_PARTS} devices together, found {count} in {short(text)}")
    return identity


@lru_cache(maxsize=256)
def parts(identity: str) -> int:
    """How many devices a line-up has beside its host, each of a count counted."""
    return sum(catalog.load_hardware(name).spec.count for name in line_up(identity).devices)


def model(text: str) -> str:
    """The id of a model."""
    identity, _ = catalog.resolve("models", _checked("model", text, "models"))
    if Path(identity).exists():  # the calculator would take the file of that name in the folder that this runs in
        raise SpecError(f"--model: expected a name that is no file here as well, found {short(identity)}")
    return identity


def runtime(text: str) -> str:
    """The id of an inference engine."""
    return catalog.resolve("runtimes", _checked("runtime", text, "runtimes"))[0]


def _checked(option: str, text: str, what: str) -> str:
    """The text where it can only be a name; SpecError where it may be a file, too long, or not of characters."""
    name = text.strip()
    if not name:
        raise SpecError(f"--{option}: expected a name, found none")
    if len(name) > LONGEST or not name.isprintable():
        raise SpecError(f"--{option}: expected a name of the catalog, found {short(name)}")
    if any(mark in name.lower() for mark in _FILES):
        raise SpecError(f"--{option}: expected {what} of the catalog, which files are not here, found {short(name)}")
    return name


@lru_cache(maxsize=4)
def titles(room: catalog.Room) -> dict[str, str]:
    """The full name of everything in a room, by id; read once."""
    found = {}
    for identity, path in catalog.files(room).items():
        try:
            name = read_toml(path).get("name")
        except SpecError:
            continue  # a broken file of the user's: `roofline show` says what is wrong with it
        found[identity] = name if isinstance(name, str) else identity
    return found


def native_quants() -> dict[str, str]:
    """The quantisation in which a model is published, where it is published in one, by id."""
    return dict(_native())


@lru_cache(maxsize=1)
def _native() -> tuple[tuple[str, str], ...]:
    found = []
    for identity, path in catalog.files("models").items():
        try:
            quant = read_toml(path).get("native_quant")
        except SpecError:
            continue
        if isinstance(quant, str) and quant:
            found.append((identity, quant))
    return tuple(found)
