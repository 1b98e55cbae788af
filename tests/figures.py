"""What every figure of the project keeps to: the palette's colours, and no raw name where plotly reads templates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from roofline.plot import theme

TRANSPARENT = "rgba(0,0,0,0)"

#: Words of CSS that are colours; the long list is not needed to find a colour that somebody typed.
_NAMED = {
    "black", "white", "red", "green", "blue", "gray", "grey", "orange", "purple", "yellow", "cyan", "magenta",
    "brown", "pink", "lightgray", "lightgrey", "darkgray", "darkgrey", "crimson", "navy", "teal", "silver", "gold",
}  # fmt: skip
_COLOUR = re.compile(r"#[0-9a-f]{3,8}|(rgb|hsl|hsv)a?\(.*\)", re.IGNORECASE)


def strings(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a figure with its place, as in 'data[0].line.color'."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from strings(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for place, part in enumerate(value):
            yield from strings(part, f"{path}[{place}]")


def is_colour(text: str) -> bool:
    return text.lower() in _NAMED or _COLOUR.fullmatch(text.strip()) is not None


def assert_palette(figure: theme.Figure) -> None:
    """Every colour is one that a dark page knows how to exchange, a see-through one, or a part of a scale of those."""
    for path, text in strings(figure):
        place = re.sub(r"(\[\d+\])+$", "", path)
        where_colours_stand = re.search(r"(^|[._])(color|colour|fillcolor|bgcolor|colors|colorway)$", place)
        if is_colour(text) or where_colours_stand:
            assert text in theme.DARK_OF or text == TRANSPARENT, f"{path}: {text!r} is not of the palette"


def assert_no_raw_names(figure: theme.Figure, names: tuple[str, ...] = ()) -> None:
    """No name stands in a template, where %{…} would be read; names: those that the figure was made with."""
    for path, text in strings(figure):
        if path.endswith("template") or re.search(r"template\[\d+\]$", path):
            assert not [name for name in names if name and name in text], f"{path}: {text!r} holds a name"
            bare = re.sub(r"%\{[\w.\[\]]+(:[^}{]*)?\}|</?(b|i|br|sub|sup|extra)\s*/?>", "", text)
            assert not set("<>{}%") & set(bare.replace(" %", "").replace("%<", "<")), f"{path}: {text!r}"
        elif re.search(r"(^|[._])(text|name|customdata|title|subtitle)(\[\d+\])*$", path):
            unmarked = re.sub(r"</?(b|i|br|sub|sup|span)(\s[^<>]*)?/?>", "", text)
            assert "<" not in unmarked, f"{path}: {text!r} holds a tag that is not ours"
