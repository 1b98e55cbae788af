"""Decode speed against price, power or cost, log–log: machines by kind with their bands, and the frontier."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from roofline.charts.pareto import KINDS, Pareto, Point
from roofline.plot.heading import legend_below, titled
from roofline.plot.text import lines, plain
from roofline.plot.theme import MUTED, TEXT, Figure, layout, look
from roofline.units import format_number

_FEW_DECADES = 2.0  # below, the 2 and the 5 of a decade have ticks, too


def figure(chart: Pareto) -> Figure:
    """The figure of a chart."""
    points = [point for group in chart.groups.values() for point in group]
    data = [_bars(kind, group) for kind, group in chart.groups.items()]
    data.append(_frontier(chart))
    data += [_points(kind, group) for kind, group in chart.groups.items()]
    made = layout(
        chart.title,
        chart.subtitle,
        xaxis=titled(chart.x_title, **_log(chart.x_ends)),
        yaxis=titled("decode [tok/s]", **_log(chart.y_ends)),
        annotations=list(_names(points)),
        legend=legend_below(),
    )
    return {"data": data, "layout": made | {"margin": made["margin"] | {"b": 96}}}


def _log(ends: tuple[float, float]) -> dict[str, Any]:
    dtick = "D2" if ends[1] - ends[0] < _FEW_DECADES else 1
    return {"type": "log", "range": list(ends), "dtick": dtick, "minor": {"ticks": "outside", "dtick": "D1"}}


def _place(kind: str) -> int:
    return KINDS.index(kind)


def _bars(kind: str, points: Sequence[Point]) -> dict[str, Any]:
    """The 80 % bands, from low to high."""
    x: list[float | None] = []
    y: list[float | None] = []
    for point in points:
        x += [point.x, point.x, None]
        y += [point.decode_low_tok_s, point.decode_high_tok_s, None]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": plain(kind),
        "legendgroup": plain(kind),
        "showlegend": False,
        "x": x,
        "y": y,
        "line": {"color": look(_place(kind)).soft, "width": 3},
        "hoverinfo": "skip",
    }


def _frontier(chart: Pareto) -> dict[str, Any]:
    """As a step: what is paid more for nothing is a level."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "frontier",
        "x": [x for x, _ in chart.frontier],
        "y": [y for _, y in chart.frontier],
        "line": {"color": MUTED, "width": 1.5, "shape": "hv"},
        "hoverinfo": "skip",
    }


def _points(kind: str, points: Sequence[Point]) -> dict[str, Any]:
    """The machines of a kind; those that another dominates small and pale."""
    own = look(_place(kind))
    best = [not point.dominated_by for point in points]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": plain(kind),
        "legendgroup": plain(kind),
        "x": [point.x for point in points],
        "y": [point.decode_tok_s for point in points],
        "text": [_hover(point) for point in points],
        "hoverinfo": "text",
        "marker": {
            "color": own.colour,
            "symbol": own.symbol,
            "size": [11 if one else 7 for one in best],
            "opacity": [1.0 if one else 0.5 for one in best],
            "line": {"width": [1 if one else 0 for one in best], "color": TEXT},
        },
    }


def _names(points: Iterable[Point]) -> Iterable[dict[str, Any]]:
    """The names of the frontier, to the left above it, where no point can be."""
    for point in points:
        if point.label is None:
            continue
        yield {
            "text": plain(f"{point.hardware} ({point.mark})" if point.mark else point.hardware),
            "x": point.at[0],
            "y": point.at[1],
            "ax": -9,
            "ay": -point.label,
            "xanchor": "right",
            "showarrow": True,
            "arrowhead": 0,
            "arrowwidth": 1,
            "arrowcolor": MUTED,
            "standoff": 6,
            "font": {"size": 12, "color": TEXT},
        }


def _hover(point: Point) -> str:
    band = f"{format_number(point.decode_low_tok_s)}–{format_number(point.decode_high_tok_s)}"
    price = "" if point.price_usd is None else f"{format_number(point.price_usd)} USD {_dated(point)}".rstrip()
    power = "" if point.power_w is None else f"{format_number(point.power_w)} W ({point.power_meaning})"
    cost = f"{format_number(point.usd_per_million)} USD a million tokens" if point.usd_per_million is not None else ""
    return lines(
        f"<b>{plain(point.hardware)}</b> · {point.kind}",
        f"decode {format_number(point.decode_tok_s)} tok/s (band {band}), {point.bound}-bound",
        plain(price),
        plain(power),
        plain(cost),
        plain(f"without: {point.not_covered}") if point.not_covered else "",
        plain(f"dominated by {point.dominated_by}") if point.dominated_by else "on the frontier",
    )


def _dated(point: Point) -> str:
    parts = [point.price_date, "assumed" if point.price_basis == "assumed" else ""]
    found = ", ".join(part for part in parts if part)
    return f"({found})" if found else ""
