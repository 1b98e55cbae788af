"""What a chart and its numbers are called, as plain text."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from typing import Any

from roofline.document.blocks import Chart, Table


def titles(chart: Chart) -> tuple[str, tuple[str, ...]]:
    """What is seen in a chart, and the lines below: of what. The caption of its numbers stands in for a title."""
    layout = chart.figure.get("layout", {})
    title = layout.get("title", {})
    parts = layout.get("meta", {}).get("subtitle") or [title.get("subtitle", {}).get("text")]
    return _unmarked(title.get("text")) or chart.numbers.caption, tuple(filter(None, map(_unmarked, parts)))


def numbers(chart: Chart) -> Table:
    """The table of a chart's numbers, without a caption that its titles say already."""
    title, below = titles(chart)
    said = " ".join((title, *below))
    return replace(chart.numbers, caption="") if chart.numbers.caption in said else chart.numbers


def _unmarked(text: Any) -> str:
    """The text of plotly's mark-up: line breaks are spaces, tags are left out, and what was escaped is itself again."""
    return unescape(re.sub(r"<[^>]*>", "", re.sub(r"<br\s*/?>", " ", str(text or ""))))
