"""llama.cpp's programs on this machine: where they are, and what their version can do."""

from __future__ import annotations

import mmap
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from roofline.bench.text import clean
from roofline.engine.process import run
from roofline.spec import SpecError

#: A folder with the programs, which goes before PATH.
VARIABLE = "ROOFLINE_LLAMA_BIN"
HELP_SECONDS = 60.0  # a program with a GPU behind it looks for devices before it prints its help

#: Where a build of llama.cpp leaves its programs, below the folders in which people keep it.
_BUILDS = ("build/bin", "build/bin/Release", "build-cuda/bin", "build-vulkan/bin", "build-rocm/bin", "")
_HOMES = (".", "llama.cpp", "~/llama.cpp", "~/src/llama.cpp", "~/git/llama.cpp", "~/code/llama.cpp", "~/ik_llama.cpp")
_PREFIXES = ("/usr/local/bin", "/opt/homebrew/bin", "/opt/llama.cpp/bin", "~/.local/bin")


@dataclass(frozen=True, slots=True)
class Program:
    """A program that was found. options: the words that its help lists ('-d', '--repack'); help: that text."""

    path: Path
    options: frozenset[str]
    help: str

    @property
    def name(self) -> str:
        """What it is called."""
        return self.path.stem

    def has(self, option: str) -> bool:
        """Whether its help lists an option."""
        return option in self.options

    def need(self, option: str, what: str) -> None:
        """SpecError unless the program has an option. what: the thing it is needed for."""
        if not self.has(option):
            raise SpecError(f"{self.path}: expected a {self.name} with {option} for {what}, found an older one without")


def find(name: str, given: Path | None = None, option: str = "") -> Program:
    """The program `name`; given: a file, or a folder that holds it, which alone is looked at.

    Else the folder in ROOFLINE_LLAMA_BIN, PATH, and the usual build folders. option: what the user could give.
    Raises SpecError that says where it was looked for.
    """
    if given is not None:
        path = given / name if given.is_dir() else given
        if not path.is_file():
            raise SpecError(f"{option or name}: expected a program or a folder with {name}, found none at {given}")
        return probe(path)
    for path in _places(name):
        if path.is_file() and os.access(path, os.X_OK):
            return probe(path)
    hint = f"; give {option} PATH" if option else ""
    raise SpecError(
        f"{name}: expected it in {VARIABLE}, on PATH or in llama.cpp/build/bin, found none{hint}, or build llama.cpp "
        "(docs/how-to/measure.md)"
    )


def _places(name: str) -> list[Path]:
    """Every file that `name` may be, the likeliest first."""
    file = f"{name}.exe" if os.name == "nt" else name
    own = os.environ.get(VARIABLE)
    found = [Path(own) / file] if own else []
    on_path = shutil.which(file)
    found += [Path(on_path)] if on_path else []
    found += [_home(home) / build / file for home in _HOMES for build in _BUILDS]
    return found + [_home(prefix) / file for prefix in _PREFIXES]


def _home(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # nobody's home
        return Path(path)


def probe(path: Path) -> Program:
    """The program at `path` with the options that its help lists; SpecError when that prints none."""
    done = run([str(path.absolute()), "--help"], HELP_SECONDS)
    text = done.out + done.err
    options = frozenset(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", text))
    if not options:
        raise SpecError(
            f"{path}: expected a help that lists options, found exit {done.code} and {clean(text, 120) or 'nothing'!r}"
        )
    return Program(path, options, text)


def has_amx_kernels(program: Program) -> bool:
    """Whether the build has kernels for AMX, told by the name of their buffers in the program or its libraries.

    (llama.cpp, ggml/src/ggml-cpu/amx/amx.cpp, compiled only where the compiler was allowed AMX.)
    """
    libraries = sorted(program.path.parent.glob("*ggml-cpu*"))
    return any(_holds(path, b"\0AMX\0") for path in (program.path, *libraries) if path.is_file())


def _holds(path: Path, word: bytes) -> bool:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(word) >= 0
    except (OSError, ValueError):  # an empty or unreadable file
        return False
