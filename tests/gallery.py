"""The pictures of docs/gallery.md: which command makes each, and what the committed ones were made of."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roofline.cli import main
from roofline.document.ladder import save
from tests.ladders import captured

DOCS = Path(__file__).parent.parent / "docs"
PAGE, IMAGES = DOCS / "gallery.md", DOCS / "images"
FIGURES = IMAGES / "figures.toml"
_ENTRY = re.compile(r"^!\[(?P<alt>.+?)\]\(images/(?P<image>[\w-]+\.webp)\)\n\n```sh\n(?P<command>.+?)\n```$", re.M)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the gallery. words: the command line that makes it, without its name."""

    image: str
    words: Sequence[str]

    def words_for(self, out: Path) -> list[str]:
        """The command line with another file to write to."""
        return [*self.words[:-1], str(out)]

    @property
    def is_chart(self) -> bool:
        """Whether a chart alone is shown, of which a figure can be had."""
        return self.words[0] in ("plot", "error", "measure")


def pictures() -> list[Picture]:
    """The pictures that have a command below them, in the order of the page."""
    found = []
    for entry in _ENTRY.finditer(PAGE.read_text(encoding="utf-8")):
        words = shlex.split(entry["command"])
        found.append(Picture(entry["image"], words[1:]))
    return found


def run(words: Sequence[str]) -> None:
    """A command line in this process; RuntimeError where it fails. For a measurement a kept run is drawn."""
    if words[0] == "measure":
        chart = words[words.index("--chart") + 1] if "--chart" in words else "climb"
        save(captured(), Path(words[-1]), "auto", chart)
        return
    try:
        main(words)
    except SystemExit as stop:
        if stop.code:
            raise RuntimeError(f"roofline {shlex.join(words)}: exit {stop.code}") from None


def fingerprint(picture: Picture, folder: Path) -> str:
    """What a chart is drawn of, its numbers to three digits, as a short hash."""
    path = folder / f"{picture.image}.json"
    run(picture.words_for(path))
    figure = json.loads(path.read_text(encoding="utf-8"))
    return hashlib.sha256(json.dumps(_rounded(figure), sort_keys=True).encode()).hexdigest()[:16]


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return f"{value:.3g}" if isinstance(value, float) else value


def known_fingerprints() -> dict[str, str]:
    """The fingerprints of the committed pictures."""
    return dict(tomllib.loads(FIGURES.read_text(encoding="utf-8")))
