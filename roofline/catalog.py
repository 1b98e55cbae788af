"""Names to files to specs: hardware, models and runtimes, the user's own directories first.

Names are forgiving: case and punctuation do not count, so that `mistral7b`, `Mistral-7B` and `mistral-7b` are one
model. A miss says what was probably meant.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from roofline import fitted, local, units
from roofline.hardware import Hardware, apply_overrides, scale_sustained
from roofline.model import Model
from roofline.runtime import Runtime, mark_origins, merge
from roofline.spec import MemorySize, Spec, SpecError, read_toml, validate

Room = Literal["hardware", "models", "runtimes"]
SpecType = TypeVar("SpecType", bound=Spec)

LONGEST_NAME = 80
HOST = "host"  # the id of the file that `roofline measure` writes
_PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Entry(Generic[SpecType]):
    """A spec with the id it goes by and the file it came from."""

    id: str
    path: Path
    spec: SpecType


def normalise(name: str) -> str:
    """The letters and digits of a name in lower case: what makes two spellings one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def user_directory() -> Path:
    """The platform's directory for this user's own catalog and measurements."""
    from typer import get_app_dir

    return Path(get_app_dir("roofline"))


def directories(room: Room) -> list[Path]:
    """Where a room's files are searched: ROOFLINE_PATH, the user's directory, then the shipped catalog."""
    roots = [root / room for root in own_directories()]
    # A wheel carries hardware/ and models/ in data/; a clone has them beside the package.
    shipped = [_PACKAGE / room] if room == "runtimes" else [_PACKAGE / "data" / room, _PACKAGE.parent / room]
    return [root for root in [*roots, *shipped] if root.is_dir()]


def own_directories() -> list[Path]:
    """The directories of this user, the first one first: ROOFLINE_PATH, then the platform's."""
    own = [Path(part) for part in os.environ.get("ROOFLINE_PATH", "").split(os.pathsep) if part]
    return [*own, user_directory()]


def calibrations() -> dict[tuple[str, str], local.Local]:
    """What the user's own measurements say of devices, by (name of the hardware, backend)."""
    return local.calibrations(own_directories())


def files(room: Room) -> dict[str, Path]:
    """Every id of a room and its file; an id in an earlier directory hides the same id in a later one."""
    found: dict[str, Path] = {}
    for directory in directories(room):
        for path in _toml_files(directory):
            found.setdefault(path.stem, path)
    return found


def _toml_files(directory: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(directory):
        subfolders.sort()
        yield from (Path(folder) / name for name in sorted(names) if name.endswith(".toml"))


def shown(path: Path) -> str:
    """A file as reports name it: shipped ones by their place in the project, the user's own in full."""
    return _shown(str(path))


@lru_cache(maxsize=1024)
def _shown(name: str) -> str:
    root, path = _PACKAGE.parent, Path(name)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def resolve(room: Room, name: str) -> tuple[str, Path]:
    """The id and file that `name` stands for; SpecError with the nearest names when there is none."""
    found = resolve_id(room, name)
    if found is None:
        _known.cache_clear()  # a file may be new
        found = resolve_id(room, name)
    if found is not None:
        return found
    wanted, known = normalise(name), files(room)
    for identity, path in known.items():  # only a miss pays for reading every file's aliases
        if wanted in {normalise(alias) for alias in _aliases(path)}:
            return identity, path
    if room == "hardware" and wanted == HOST:
        raise SpecError("--hw: expected a measured host, found none yet; `roofline measure` writes its file")
    raise SpecError(f"{_option(room)}: expected {_article(room)}, found {units.short(name)}; {suggestion(name, known)}")


def resolve_id(room: Room, name: str) -> tuple[str, Path] | None:
    """The id and file whose id is spelt like `name`, aliases left out; None where there is none."""
    known, spellings = _known(room, tuple((path, path.stat().st_mtime_ns) for path in directories(room)))
    if name in known:
        return name, known[name]
    identity = spellings.get(normalise(name))
    return None if identity is None else (identity, known[identity])


@lru_cache(maxsize=16)
def _known(room: Room, _directories: tuple[tuple[Path, int], ...]) -> tuple[dict[str, Path], dict[str, str]]:
    """(file by id, id by its normalised spelling); walking the directories takes milliseconds."""
    known = files(room)
    return known, {normalise(identity): identity for identity in reversed(known)}


@lru_cache(maxsize=1024)
def _aliases(path: Path) -> list[str]:
    try:
        listed = read_toml(path).get("aliases", [])
    except SpecError:
        return []
    return [alias for alias in listed if isinstance(alias, str)] if isinstance(listed, list) else []


def _option(room: Room) -> str:
    return {"hardware": "--hw", "models": "--model", "runtimes": "--runtime"}[room]


def _article(room: Room) -> str:
    return {
        "hardware": "a hardware id, a TOML file, or a count of either",
        "models": "a model id, a TOML, a GGUF or a config.json file",
        "runtimes": "a runtime id or a TOML file",
    }[room]


def suggestion(name: str, known: dict[str, Any]) -> str:
    """What was probably meant, or where to look."""
    from difflib import get_close_matches  # only a miss pays for the import

    by_form = {normalise(identity): identity for identity in known}
    wanted = normalise(name)[:LONGEST_NAME]
    near = [by_form[form] for form in get_close_matches(wanted, by_form, n=3, cutoff=0.6)]
    near = near or [identity for form, identity in by_form.items() if len(wanted) > 1 and wanted in form][:3]
    return f"did you mean {' or '.join(near)}?" if near else "`roofline list` shows all names"


def _is_file(name: str) -> bool:
    return name.endswith(".toml") or os.sep in name


# -- hardware ---------------------------------------------------------------------------------------------------------

_COUNT = (re.compile(r"^(\d{1,3})\s*x[\s-]*(.+)$", re.I), re.compile(r"^(.+?)\s*x\s*(\d{1,3})$", re.I))
_SIZE = re.compile(r"^(.+?)[-@: ](\d+(?:\.\d+)?)\s*gb$", re.I)


@lru_cache(maxsize=512)
def load_hardware(name: str, overrides: tuple[tuple[str, str], ...] = ()) -> Entry[Hardware]:
    """Hardware by id, file, count of either (`2x rtx-3090`, `rtx-3090x2`) or memory size (`rpi5-4gb`)."""
    if "+" in name:
        raise SpecError(f"--hw: expected one device here, found the pair {units.short(name)}")
    counted = _COUNT[0].match(name.strip())
    if _is_file(name) and not counted:
        return _read_hardware(Path(name).stem, Path(name), overrides)
    if resolve_id("hardware", name) is None:  # before the aliases of every file are read
        for count, one in _counts(name):
            if resolve_id("hardware", one) is not None:
                return _several(count, one, overrides)
    try:
        if counted and _is_file(counted[2]):
            raise SpecError(f"--hw: expected a file, found {units.short(name)}")
        identity, path = resolve("hardware", name)
    except SpecError as miss:
        return _counted_or_sized(name, overrides, miss)
    return _read_hardware(identity, path, overrides)


def _counts(name: str) -> list[tuple[int, str]]:
    """How a name reads as a count of something: '2x rtx-3090' and 'rtx-3090x2' are (2, 'rtx-3090')."""
    before, after = (pattern.match(name.strip()) for pattern in _COUNT)
    readings = [(int(before[1]), before[2])] if before else []
    readings += [(int(after[2]), after[1])] if after else []
    return [(count, one) for count, one in readings if count > 0]


def _several(count: int, name: str, overrides: tuple[tuple[str, str], ...]) -> Entry[Hardware]:
    entry = load_hardware(name, overrides)
    return Entry(f"{entry.id}x{count}" if count > 1 else entry.id, entry.path, entry.spec.times(count))


def _counted_or_sized(name: str, overrides: tuple[tuple[str, str], ...], miss: SpecError) -> Entry[Hardware]:
    """`2x rtx-3090`, `rtx-3090x2` and `rpi5-4gb`; `miss` is raised when the name is none of these."""
    for count, one in _counts(name):
        return _several(count, one, overrides)
    sized = _SIZE.match(name.strip())
    if sized:
        entry = load_hardware(sized[1], overrides)
        return with_capacity(entry, f"{sized[2]} GB", overrides)
    raise miss


def with_capacity(entry: Entry[Hardware], size: str, overrides: tuple[tuple[str, str], ...]) -> Entry[Hardware]:
    """The board with `size` of memory, which has to be one of those sold."""
    memory = entry.spec.memory
    sold = (*memory.options, *((memory.capacity,) if memory.capacity else ()))
    if MemorySize.model_validate(size).value not in {option.value for option in sold}:
        listed = ", ".join(str(option) for option in sold) or "none"
        where = f"{entry.path}: memory.options"
        raise SpecError(f"{where}: expected one of {listed}, found {size!r} (--set memory.capacity overrides)")
    changed = load_hardware(entry.id, (("memory.capacity", size), *overrides))  # the user's own --set comes last
    spec = changed.spec.model_copy(update={"memory": changed.spec.memory.model_copy(update={"options": sold})})
    return Entry(f"{changed.id}-{normalise(size)}", changed.path, spec)


def _read_hardware(identity: str, path: Path, overrides: tuple[tuple[str, str], ...]) -> Entry[Hardware]:
    shipped = validate(Hardware, read_toml(path), path)
    if not overrides:
        return Entry(identity, path, shipped)
    changed = validate(Hardware, apply_overrides(read_toml(path), dict(overrides)), f"{path} with --set")
    return Entry(identity, path, scale_sustained(changed, shipped))


# -- models -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def load_model(name: str) -> Entry[Model]:
    """A model of the catalog by id, or from a TOML file."""
    identity, path = (Path(name).stem, Path(name)) if _is_file(name) else resolve("models", name)
    return Entry(identity, path, validate(Model, read_toml(path), path))


# -- runtimes ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def load_runtime(name: str) -> Entry[Runtime]:
    """A runtime by id or file, on top of the one it extends."""
    identity, path = (Path(name).stem, Path(name)) if _is_file(name) else resolve("runtimes", name)
    paths = fitted.files(user_directory())
    tables = fitted.apply(_runtime_tables(path, ()), paths)
    try:
        return Entry(identity, path, validate(Runtime, tables, path))
    except SpecError as error:
        validate(Runtime, _runtime_tables(path, ()), path)  # the file itself is at fault, or else the fitted constants
        raise SpecError(f"{', '.join(str(one) for one in paths)}: in {error}") from None


@lru_cache(maxsize=64)
def _runtime_file(path: Path) -> dict[str, Any]:
    return read_toml(path)


def _runtime_tables(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    data = deepcopy(_runtime_file(path))
    base = data.pop("extends", None)
    mark_origins(data, path.stem)
    if base is None:
        return data
    if not isinstance(base, str) or path in seen:
        raise SpecError(f"{path}: extends: expected the id of another runtime, found {base!r}")
    _, base_path = resolve("runtimes", base)
    return merge(_runtime_tables(base_path, (*seen, path)), data)
