"""What a document is made of. Every text is plain: what writes the document makes it harmless for its format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from roofline.plot.theme import Figure

#: Rows of a table under the keys of roofline.columns.
Rows: TypeAlias = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph. strong: set off, for a verdict."""

    text: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of sentences."""

    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class Command:
    """A command line to copy."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with the columns in order; keys are those of roofline.columns. caption: what is seen."""

    rows: Rows
    columns: Sequence[str]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure with its numbers, which stand below it, folded, and in its place where nothing can be drawn.

    identity: its id in the page, a word. height: in the page [px].
    """

    identity: str
    figure: Figure
    numbers: Table
    height: int = 520


@dataclass(frozen=True, slots=True)
class Section:
    """A part under a heading. folded: closed at first where the format can fold."""

    heading: str
    blocks: Sequence[Block]
    folded: bool = False


Block: TypeAlias = "Text | Bullets | Command | Table | Chart | Section"


@dataclass(frozen=True, slots=True)
class Document:
    """A titled sequence of blocks. subtitle: of what, in a line."""

    title: str
    blocks: Sequence[Block]
    subtitle: str = ""
    footer: Sequence[str] = field(default_factory=tuple)
