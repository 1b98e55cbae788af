"""The captured machines in data/machines and what is expected of each, written by hand in its expected.toml."""

import tomllib
from pathlib import Path
from typing import Any

from roofline.measure.source import Captured

FOLDER = Path(__file__).parent / "data" / "machines"
MACHINES = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())


def expected(name: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / name / "expected.toml").read_text(encoding="utf-8"))


def captured(name: str) -> Captured:
    return Captured(FOLDER / name)


def files(name: str) -> dict[str, bytes]:
    """The content of a machine's files by their path in its folder."""
    folder = FOLDER / name
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


class Text:
    """A machine made of texts: files by path, outputs of commands by their words."""

    def __init__(self, system: str = "linux", **texts: str) -> None:
        self.unreadable: list[str] = []
        self.system = system
        self.texts = texts

    def text(self, path: str) -> str | None:
        return self.texts.get(path)

    def command(self, *words: str) -> str | None:
        return self.texts.get(" ".join(words))

    def names(self, folder: str) -> list[str]:
        inside = f"{folder.rstrip('/')}/"
        return sorted({path[len(inside) :].split("/")[0] for path in self.texts if path.startswith(inside)})
