"""Bars of time, stacked by what it goes to: colour and pattern tell the part, a label its share."""

from __future__ import annotations

from typing import Any

from roofline.charts.token_time import PARTS, Bar, TokenTimes
from roofline.plot.heading import headed, legend_below, titled
from roofline.plot.text import lines, plain
from roofline.plot.theme import BACKGROUND, TEXT, Figure, look
from roofline.units import format_duration

#: Where the phases lie, from the top, by their number.
_DOMAINS = {1: ((0.0, 1.0),), 2: ((0.56, 1.0), (0.0, 0.44))}
_FEW_DOMAINS = ((0.64, 1.0), (0.0, 0.36))  # of a bar or two each, that are low
_FEW = 2
_TITLES = {"decode": "decode: time of a generated token", "prefill": "prefill: time of a token of the prompt"}
_SHARES = {"tickformat": ".0%", "tickvals": [0.0, 0.25, 0.5, 0.75, 1.0]}
_SECONDS = {"tickformat": "~s", "ticksuffix": "s", "nticks": 5}
_EACH = 60  # height of a bar with the space around it [px]
_AROUND = 360  # of title, axes and legend [px]
_GAPS = {1: 0.7, 2: 0.62, 3: 0.58}  # between few bars, as shares
_GAP = 0.54
_ABOVE_BAR = 19  # of its name [px]


def figure(chart: TokenTimes) -> Figure:
    """The figure of a chart; one panel a phase, one bar a prediction."""
    data: list[dict[str, Any]] = []
    axes: dict[str, Any] = {}
    names: list[dict[str, Any]] = []
    for number, phase in enumerate(chart.phases, 1):
        tail = "" if number == 1 else str(number)
        bars = chart.of(phase)
        data += [_part(chart, part, bars, tail) for part in chart.parts]
        data.append(_totals(chart, bars, tail))
        few = len(chart.phases) > 1 and len(bars) <= _FEW
        domain = list((_FEW_DOMAINS if few else _DOMAINS[len(chart.phases)])[number - 1])
        relative = chart.is_relative(phase)
        axes[f"xaxis{tail}"] = titled(
            f"{_TITLES[phase]}, shares" if relative else _TITLES[phase],
            anchor=f"y{tail}",
            range=[0.0, chart.end(phase)],
            **(_SHARES if relative else _SECONDS),
        )
        axes[f"yaxis{tail}"] = titled(
            "", anchor=f"x{tail}", domain=domain, autorange="reversed", showticklabels=False, showgrid=False, ticks=""
        )
        names += [_name(place, bar, tail) for place, bar in enumerate(bars)]
    made = headed(chart.title, chart.subtitle, chart.notes, legend=legend_below(traceorder="normal"), **axes)
    made["margin"] |= {"l": 20}
    most = max(len(chart.of(phase)) for phase in chart.phases)
    return {"data": data, "layout": made | {"barmode": "stack", "bargap": _GAPS.get(most, _GAP), "annotations": names}}


def height(chart: TokenTimes) -> int:
    """Of the figure in a page, with room for every bar [px]."""
    return sum([_EACH] * len(chart.bars), _AROUND)


def _key(place: int) -> str:
    """A category of its own for each bar, whatever its name."""
    return f"bar {place}"


def _name(place: int, bar: Bar, tail: str) -> dict[str, Any]:
    """A bar's name, above it, so that narrow pages have their width for the bars."""
    return {
        "text": plain(bar.name), "xref": "paper", "x": 0, "xanchor": "left", "yref": f"y{tail}", "y": _key(place),
        "yanchor": "bottom", "yshift": _ABOVE_BAR, "showarrow": False, "font": {"size": 12, "color": TEXT},
    }  # fmt: skip


def _part(chart: TokenTimes, part: str, bars: list[Bar], tail: str) -> dict[str, Any]:
    own = look(PARTS.index(part))
    return {
        "type": "bar",
        "orientation": "h",
        "y": [_key(place) for place in range(len(bars))],
        "x": [chart.length(bar, part) for bar in bars],
        "name": part,
        "legendgroup": part,
        "showlegend": not tail,
        "marker": {
            "color": own.colour,
            "line": {"color": BACKGROUND, "width": 1},
            "pattern": {
                "shape": own.pattern,
                "fgcolor": BACKGROUND,
                "fgopacity": 0.3,
                "size": 7,
                "solidity": 0.25,
                "fillmode": "overlay",
            },
        },
        "text": [bar.labels.get(part, "") for bar in bars],
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "constraintext": "none",
        "insidetextfont": {"color": BACKGROUND, "size": 12},
        "hovertext": [_hover(bar, part) for bar in bars],
        "hoverinfo": "text",
        "xaxis": f"x{tail}",
        "yaxis": f"y{tail}",
    }


def _hover(bar: Bar, part: str) -> str:
    return lines(
        plain(f"{bar.name}, {bar.phase}"),
        plain(f"{part}: {format_duration(bar.seconds[part])}, {bar.shares[part]:.1%}"),
        plain(f"in all {format_duration(bar.token_s)} a token"),
    )


def _totals(chart: TokenTimes, bars: list[Bar], tail: str) -> dict[str, Any]:
    """The time of the whole at the end of each bar."""
    return {
        "type": "scatter",
        "mode": "text",
        "x": [1.0 if chart.is_relative(bar.phase) else bar.token_s for bar in bars],
        "y": [_key(place) for place in range(len(bars))],
        "text": [f" {format_duration(bar.token_s)}" for bar in bars],
        "textposition": "middle right",
        "textfont": {"size": 12, "color": TEXT},
        "hoverinfo": "skip",
        "showlegend": False,
        "cliponaxis": False,
        "xaxis": f"x{tail}",
        "yaxis": f"y{tail}",
    }
