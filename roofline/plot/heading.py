"""Titles of several lines, and a legend that stays clear of the data."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from roofline.plot.text import lines, plain
from roofline.plot.theme import axis, layout

WIDTH = 110  # characters of the subtitle that fit across an image; a page breaks its lines itself
_LINE = 16  # of the subtitle [px]
_ABOVE, _UNDER = 52, 18  # of the title, and between the subtitle and the chart [px]


def headed(title: str, subtitle: str, notes: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    """The common layout with a subtitle of as many lines as it needs; notes stand below it, each on its own lines."""
    rows = [row for part in (*subtitle.split("\n"), *notes) for row in wrap(part, WIDTH)]
    made = layout(title, **more)
    made["title"] |= {
        "x": 0,
        "xref": "container",
        "y": 1,
        "yref": "container",
        "yanchor": "top",
        "pad": {"t": 16, "l": 16},
    }
    made["title"]["subtitle"]["text"] = lines(*map(plain, rows))
    # For a page, which breaks lines by its own width.
    made["meta"] = {
        **made.get("meta", {}),
        "subtitle": [plain(part) for part in (*subtitle.split("\n"), *notes) if part],
    }
    made["margin"] |= {"t": sum([_LINE] * len(rows), _ABOVE + _UNDER), "b": 50, "l": 58}
    return made


def legend_below(**more: Any) -> dict[str, Any]:
    """A legend in rows under the chart."""
    return {
        "orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "bgcolor": "rgba(0,0,0,0)",
        "font": {"size": 12}, "groupclick": "togglegroup", "tracegroupgap": 0, **more,
    }  # fmt: skip


def titled(title: str, **more: Any) -> dict[str, Any]:
    """An axis whose title is no larger than the text, so that it fits beside a low panel."""
    made = axis(title, **more)
    made["title"]["font"] = {"size": 13}
    return made
