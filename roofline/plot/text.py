"""Text inside a chart: plotly reads tags such as <b> in titles, names and hover boxes, and names may hold any."""

from __future__ import annotations

from html import escape

from roofline.tables import printable


def plain(text: str) -> str:
    """Text that shows as it is written, whatever it holds; for every name that comes from a file or from a user.

    It belongs in names, text, labels and customdata, never in a hovertemplate, which would read its %{…}.
    """
    # In titles and names, too, plotly reads %{…} where a figure has a meta; an entity for the brace is just shown.
    return escape(printable(text), quote=False).replace("%{", "%&#123;")


def lines(*parts: str) -> str:
    """Parts that are already plain, one below the other."""
    return "<br>".join(part for part in parts if part)
