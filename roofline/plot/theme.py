"""How every chart looks: colours that colour-blind eyes tell apart, dashes, symbols and fills, and the common layout.

A figure is made in the light colours; `dark` exchanges each for its dark counterpart, and so does the script of a page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from roofline.plot.text import plain

#: A figure of the plotly schema: {"data": [...], "layout": {...}}.
Figure: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Look:
    """How one of several series looks. Colour is never alone: dash, symbol and pattern tell the same."""

    colour: str
    dash: str
    symbol: str
    pattern: str

    @property
    def soft(self) -> str:
        """The colour of a band behind a line."""
        return soft(self.colour)


# Found by a search for the largest smallest distance under normal, protan, deutan and tritan sight, at a contrast of 3
# with the background (WCAG 2.1, 1.4.11); tests/test_plot_theme.py holds both.
_LIGHT = ("#240892", "#df6700", "#3ca590", "#b94eff", "#8e0007", "#5b4e59")
_DARK = ("#6e50fc", "#ffb10a", "#0dab8d", "#c19ef0", "#e41f0a", "#dde9dd")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
_PATTERNS = ("", "/", "x", "\\", ".", "-")

#: Series in the order in which they are used.
SERIES: tuple[Look, ...] = tuple(map(Look, _LIGHT, _DASHES, _SYMBOLS, _PATTERNS))

BACKGROUND, TEXT, MUTED, GRID = "#ffffff", "#1d2129", "#5f6773", "#dfe3e8"
_DARK_ROLES = {BACKGROUND: "#14181f", TEXT: "#e8eaee", MUTED: "#a2abb8", GRID: "#343b47"}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
BAND_OPACITY = 0.18


def soft(colour: str) -> str:
    """A colour as a see-through fill."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{BAND_OPACITY})"


#: Every colour of a figure, and what it is on a dark background.
DARK_OF: Mapping[str, str] = {
    **_DARK_ROLES,
    **dict(zip(_LIGHT, _DARK, strict=True)),
    **{soft(light): soft(dark) for light, dark in zip(_LIGHT, _DARK, strict=True)},
}


def look(place: int) -> Look:
    """How the series at this place looks; after the last colour the dashes and symbols move on by one."""
    turn, own = divmod(place, len(SERIES))
    other = SERIES[(own + turn) % len(SERIES)]
    return Look(SERIES[own].colour, other.dash, other.symbol, other.pattern)


def dark(figure: Any) -> Any:
    """The same figure, or a part of one, for a dark background."""
    if isinstance(figure, dict):
        return {key: dark(value) for key, value in figure.items()}
    if isinstance(figure, list):
        return [dark(value) for value in figure]
    return DARK_OF.get(figure, figure) if isinstance(figure, str) else figure


def layout(title: str, subtitle: str = "", **more: Any) -> dict[str, Any]:
    """The common layout. title: what is seen; subtitle: of what. Both are shown as they are written.

    more: further keys of plotly's layout, such as xaxis.
    """
    return {
        "title": {
            "text": plain(title),
            "subtitle": {"text": plain(subtitle), "font": {"size": 12, "color": MUTED}},
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "font": {"size": 17},
        },
        "font": {"family": FONT, "size": 13, "color": TEXT},
        "paper_bgcolor": BACKGROUND,
        "plot_bgcolor": BACKGROUND,
        "margin": {"l": 70, "r": 24, "t": 84, "b": 60},
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": BACKGROUND, "bordercolor": MUTED, "align": "left", "font": {"color": TEXT}},
        "legend": {"bgcolor": "rgba(0,0,0,0)"},
        **more,
    }


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with its quantity and unit as the title: 'decode [tok/s]'. more: further keys, such as type='log'."""
    return {
        "title": {"text": plain(title)},
        "gridcolor": GRID,
        "zerolinecolor": GRID,
        "linecolor": MUTED,
        "tickcolor": MUTED,
        "ticks": "outside",
        "showline": True,
        "automargin": True,
        **more,
    }
