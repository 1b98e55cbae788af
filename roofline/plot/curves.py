"""Curves of speed: a line with its band for each series, the speed of light, measured points, the end of memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from roofline.charts.curve import Curves, Dot, Line, Mark, Panel, Series
from roofline.plot.heading import headed, legend_below, titled
from roofline.plot.text import lines, plain
from roofline.plot.theme import BACKGROUND, GRID, MUTED, TEXT, Figure, Look, look
from roofline.units import format_number

#: Where the panels of a chart lie, from the top, by their number.
_DOMAINS = {1: ((0.0, 1.0),), 2: ((0.54, 1.0), (0.0, 0.46))}


def figure(chart: Curves) -> Figure:
    """The figure of a chart."""
    numbered = list(enumerate(chart.panels, 1))
    data: list[dict[str, Any]] = []
    for draw in (_bands, _ceilings, _lines, _dots, _marks):
        for number, panel in numbered:
            for series in chart.series:
                line = series.lines.get(panel.key)
                if line is not None:
                    data += draw(_Here(chart, panel, series, line, {"xaxis": "x", "yaxis": _y(number)}))
    data += _legend(chart)
    axes = {"xaxis": _x_axis(chart)} | {
        f"{_y(number)[0]}axis{_y(number)[1:]}": _y_axis(chart, number) for number, _ in numbered
    }
    made = headed(chart.title, chart.subtitle, chart.notes, legend=legend_below(), **axes)
    if chart.asked is not None:
        made["shapes"] = [_asked(chart.asked, number) for number, _ in numbered]
    return {"data": data, "layout": made}


@dataclass(frozen=True, slots=True)
class _Here:
    """A line in its panel; axes: those of the panel."""

    chart: Curves
    panel: Panel
    series: Series
    line: Line
    axes: dict[str, str]


def _y(number: int) -> str:
    return "y" if number == 1 else f"y{number}"


def _x_axis(chart: Curves) -> dict[str, Any]:
    ticks = {"tickvals": [x for x, _ in chart.x_ticks], "ticktext": [text for _, text in chart.x_ticks]}
    kind = {"type": "log"} if chart.x_log else {"range": list(chart.x_range)}
    last = _y(len(chart.panels))
    return titled(chart.x_title, anchor=last, **(ticks if chart.x_ticks else {}), **kind, zeroline=False)


def _y_axis(chart: Curves, number: int) -> dict[str, Any]:
    panel = chart.panels[number - 1]
    kind: dict[str, Any] = (
        {"type": "log", "dtick": "D2", "tickformat": ",~r"} if chart.is_log(panel) else {"rangemode": "tozero"}
    )
    return titled(panel.title, domain=list(_DOMAINS[len(chart.panels)][number - 1]), **kind)


def _look(series: Series) -> Look:
    return look(series.place)


def _bands(here: _Here) -> Iterator[dict[str, Any]]:
    """The 80 % band, as one polygon."""
    if len(here.line.x) < 2:
        return
    yield {
        "type": "scatter",
        "mode": "lines",
        "x": [*here.line.x, *here.line.x[::-1]],
        "y": [*here.line.high_tok_s, *here.line.low_tok_s[::-1]],
        "fill": "toself",
        "fillcolor": _look(here.series).soft,
        "line": {"width": 0, "color": _look(here.series).soft},
        "hoverinfo": "skip",
        "showlegend": False,
        "legendgroup": plain(here.series.name),
        "name": plain(f"{here.series.name}: band"),
        **here.axes,
    }


def _ceilings(here: _Here) -> Iterator[dict[str, Any]]:
    yield {
        "type": "scatter",
        "mode": "lines",
        "x": list(here.line.x),
        "y": list(here.line.ceiling_tok_s),
        "line": {"color": _look(here.series).colour, "width": 1, "dash": "dot"},
        "hoverinfo": "skip",
        "showlegend": False,
        "legendgroup": plain(here.series.name),
        "name": plain(f"{here.series.name}: speed of light"),
        **here.axes,
    }


def _lines(here: _Here) -> Iterator[dict[str, Any]]:
    own = _look(here.series)
    alone = len(here.line.x) == 1
    yield {
        "type": "scatter",
        "mode": "markers" if alone else "lines",
        "x": list(here.line.x),
        "y": list(here.line.tok_s),
        "line": {"color": own.colour, "width": 2.5, "dash": own.dash},
        **({"marker": {"color": own.colour, "symbol": own.symbol, "size": 9}} if alone else {}),
        "text": [_hover(here.chart, here.panel, here.series, here.line, at) for at in range(len(here.line.x))],
        "hoverinfo": "text",
        "name": plain(here.series.name),
        "legendgroup": plain(here.series.name),
        "showlegend": here.panel == _first(here.chart, here.series),
        **here.axes,
    }


def _first(chart: Curves, series: Series) -> Panel:
    return next(panel for panel in chart.panels if panel.key in series.lines)


def _hover(chart: Curves, panel: Panel, series: Series, line: Line, at: int) -> str:
    low, high = (format_number(values[at]) for values in (line.low_tok_s, line.high_tok_s))
    return lines(
        plain(series.name),
        plain(f"{chart.axis} {line.x[at]:,.0f}"),
        plain(f"{panel.phase} {format_number(line.tok_s[at])} tok/s ({low}–{high})"),
        plain(f"speed of light {format_number(line.ceiling_tok_s[at])} tok/s"),
        plain(f"bound: {line.bound[at]}"),
    )


def _dots(here: _Here) -> Iterator[dict[str, Any]]:
    """What was measured, with its standard deviation; hollow where the engine was another version."""
    if not here.line.dots:
        return
    own = _look(here.series)
    yield {
        "type": "scatter",
        "mode": "markers",
        "x": [dot.x for dot in here.line.dots],
        "y": [dot.tok_s for dot in here.line.dots],
        "error_y": {
            "type": "data",
            "array": [dot.std or 0.0 for dot in here.line.dots],
            "color": own.colour,
            "thickness": 1.5,
            "width": 4,
            "visible": any(dot.std for dot in here.line.dots),
        },
        "marker": {
            "symbol": [own.symbol + ("-open" if dot.other_engine else "") for dot in here.line.dots],
            "size": 9,
            "color": own.colour,
            "line": {"width": 1.5, "color": own.colour},
        },
        "text": [_dot_words(dot) for dot in here.line.dots],
        "hoverinfo": "text",
        "cliponaxis": False,
        "name": plain(f"{here.series.name}: measured"),
        "legendgroup": plain(here.series.name),
        "showlegend": False,
        **here.axes,
    }


def _dot_words(dot: Dot) -> str:
    spread = f" ± {format_number(dot.std)}" if dot.std else ""
    return lines(
        plain(f"measured {format_number(dot.tok_s)}{spread} tok/s"),
        plain(dot.source),
        plain(f"{dot.id}, {dot.runtime}"),
    )


def _marks(here: _Here) -> Iterator[dict[str, Any]]:
    """The end of memory, and points with a name."""
    own = _look(here.series)
    ends = [Mark(here.line.x[-1], here.line.tok_s[-1], "memory is full")] if here.line.ends is not None else []
    for mark, symbol in [*((one, "x") for one in ends), *((one, own.symbol) for one in here.line.marks)]:
        yield {
            "type": "scatter",
            "mode": "markers" if mark in ends else "markers+text",
            "x": [mark.x],
            "y": [mark.tok_s],
            "text": [plain(mark.text)],
            "textposition": _beside(here.line, mark),
            "textfont": {"size": 12, "color": TEXT, "shadow": "auto"},  # over lines, too
            "hovertext": [lines(plain(here.series.name), plain(f"{mark.text}: {here.chart.axis} {mark.x:,.0f}"))],
            "hoverinfo": "text",
            "marker": {"symbol": symbol, "size": 10, "color": own.colour, "line": {"width": 1.5, "color": BACKGROUND}},
            "name": plain(f"{here.series.name}: {mark.text}"),
            "legendgroup": plain(here.series.name),
            "showlegend": False,
            "cliponaxis": False,
            **here.axes,
        }


def _beside(line: Line, mark: Mark) -> str:
    """Where a mark's name is clear of its line, and of the chart's end."""
    before, rises = line.x.index(mark.x), line.tok_s[-1] > line.tok_s[0]
    if before + before >= len(line.x):
        return "top left" if rises else "bottom left"
    return "bottom right" if rises else "top right"


def _legend(chart: Curves) -> Iterator[dict[str, Any]]:
    """What bands, dots and crosses mean, in no series' colour."""
    drawn = [line for series in chart.series for line in series.lines.values()]
    shown: dict[str, dict[str, Any]] = {}
    if any(len(line.x) > 1 for line in drawn):
        shown["80 % band"] = {"mode": "markers", "marker": {"symbol": "square", "size": 13, "color": GRID}}
    shown["speed of light"] = {"mode": "lines", "line": {"color": MUTED, "width": 1, "dash": "dot"}}
    dots = [dot for line in drawn for dot in line.dots]
    for name, other, symbol in (("measured", False, "circle"), ("measured, other version", True, "circle-open")):
        if any(dot.other_engine is other for dot in dots):
            shown[name] = {"mode": "markers", "marker": {"symbol": symbol, "size": 9, "color": MUTED}}
    if any(line.ends is not None for line in drawn):
        shown["memory is full"] = {"mode": "markers", "marker": {"symbol": "x", "size": 9, "color": MUTED}}
    for name, how in shown.items():
        yield {
            "type": "scatter",
            "x": [None],
            "y": [None],
            "name": name,
            "hoverinfo": "skip",
            "xaxis": "x",
            "yaxis": "y",
            **how,
        }


def _asked(x: float, number: int) -> dict[str, Any]:
    """A line where the question is."""
    return {
        "type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "xref": "x", "yref": f"{_y(number)} domain",
        "layer": "below",
        "line": {"color": MUTED, "width": 1, "dash": "dash"},
    }  # fmt: skip
