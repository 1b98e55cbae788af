"""Predicted against measured, log–log: points by backend, the 1:1 line and its guides; a panel a phase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from roofline.charts.errors import BACKENDS, Errors, Guide, Panel, Point
from roofline.plot.heading import legend_below, titled
from roofline.plot.text import lines, plain
from roofline.plot.theme import MUTED, TEXT, Figure, layout, look
from roofline.units import format_number

_DASHES = {"1:1": "solid", "+10 %": "dash", "−10 %": "dash", "+20 %": "dot", "−20 %": "dot"}
_LONGEST = 80  # characters
#: On a narrow page the second panel stands below the first.
_BELOW = {
    "height": 980,
    "xaxis": {"domain": [0.0, 1.0]},
    "xaxis2": {"domain": [0.0, 1.0]},
    "yaxis": {"domain": [0.58, 1.0]},
    "yaxis2": {"domain": [0.0, 0.42]},
}
_DOMAINS: dict[int, tuple[list[float], ...]] = {1: ([0.0, 1.0],), 2: ([0.0, 0.46], [0.54, 1.0])}


def figure(chart: Errors) -> Figure:
    """The figure of a chart."""
    data: list[dict[str, Any]] = []
    axes: dict[str, Any] = {}
    annotations: list[dict[str, Any]] = []
    shown: set[str] = set()
    domains = _DOMAINS[len(chart.panels)]
    for place, (panel, domain) in enumerate(zip(chart.panels, domains, strict=True), 1):
        name = "" if place == 1 else str(place)
        names = {"xaxis": f"x{name}", "yaxis": f"y{name}"}
        axes |= _axes(panel, name, domain)
        data += [_line(guide, names) for guide in panel.guides]
        annotations += [_label(guide, names) for guide in panel.guides]
        annotations.append(_heading(panel, names))
        for backend, points in panel.points.items():
            if points:
                data.append(_points(backend, points, names, backend not in shown))
                shown.add(backend)
    legend = legend_below()
    made = layout(chart.title, chart.subtitle, **axes, annotations=annotations, legend=legend)
    # Under a title at the top plotly sets a single line further off.
    made["title"]["subtitle"]["text"] = lines(plain(chart.subtitle), " ")
    made["title"] |= {"y": 1, "yref": "container", "yanchor": "top", "pad": {"t": 16}}
    made |= {"margin": made["margin"] | {"t": 128, "b": 88}}
    return {"data": data, "layout": made | ({"meta": {"narrow": _BELOW}} if len(chart.panels) > 1 else {})}


def _axes(panel: Panel, name: str, domain: list[float]) -> dict[str, Any]:
    log = {"type": "log", "range": list(panel.ends), "dtick": 1, "minor": {"ticks": "outside", "dtick": "D1"}}
    return {
        f"xaxis{name}": titled(f"measured {panel.phase} [tok/s]", **log, domain=domain, anchor=f"y{name}"),
        f"yaxis{name}": titled(f"predicted {panel.phase} [tok/s]", **log, domain=[0.0, 1.0], anchor=f"x{name}"),
    }


def _line(guide: Guide, names: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": guide.label,
        "x": list(guide.measured),
        "y": list(guide.predicted),
        "line": {"color": TEXT if guide.label == "1:1" else MUTED, "dash": _DASHES[guide.label], "width": 1},
        "hoverinfo": "skip",
        "showlegend": False,
        **names,
    }


def _label(guide: Guide, names: dict[str, str]) -> dict[str, Any]:
    """The label of a guide, with a thin line to it, on its own side of the diagonal."""
    x, y = guide.label_at
    below = guide.factor < 1
    return {
        "text": guide.label,
        "x": x,
        "y": y,
        "xref": names["xaxis"],
        "yref": names["yaxis"],
        "ax": 26 if below else -26,
        "ay": 22 if below else -22,
        "xanchor": "left" if below else "right",
        "showarrow": True,
        "arrowhead": 0,
        "arrowwidth": 1,
        "arrowcolor": MUTED,
        "font": {"size": 11, "color": MUTED},
    }


def _heading(panel: Panel, names: dict[str, str]) -> dict[str, Any]:
    """What a panel shows and how right it is, above it."""
    return {
        "text": lines(f"<b>{panel.phase}</b>", plain(panel.words)),
        "x": 0,
        "y": 1,
        "xref": f"{names['xaxis']} domain",
        "yref": f"{names['yaxis']} domain",
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 6,
        "align": "left",
        "showarrow": False,
        "font": {"size": 12, "color": TEXT},
    }


def _points(backend: str, points: Sequence[Point], names: dict[str, str], first: bool) -> dict[str, Any]:
    """The rows of a backend; open symbols where the measured speed is outside of the band."""
    own = look(BACKENDS.index(backend) if backend in BACKENDS else len(BACKENDS))
    return {
        "type": "scatter",
        "mode": "markers",
        "name": plain(backend),
        "legendgroup": plain(backend),
        "showlegend": first,
        "x": [point.measured_tok_s for point in points],
        "y": [point.predicted_tok_s for point in points],
        "text": [_hover(point) for point in points],
        "hoverinfo": "text",
        "marker": {
            "color": own.colour,
            "symbol": [own.symbol if point.verdict == "ok" else f"{own.symbol}-open" for point in points],
            "size": [7 if point.verdict == "ok" else 10 for point in points],
            "opacity": 0.75,
            "line": {"width": [0.5 if point.verdict == "ok" else 2 for point in points]},
        },
        **names,
    }


def _hover(point: Point) -> str:
    band = f"{format_number(point.low_tok_s)}–{format_number(point.high_tok_s)}"
    return lines(
        f"<b>{plain(point.hardware)}</b> · {plain(point.model)} {plain(point.quant)}",
        f"{plain(point.runtime)}, {plain(point.backend)}, {point.phase}",
        f"measured {format_number(point.measured_tok_s)} tok/s",
        f"predicted {format_number(point.predicted_tok_s)} tok/s (band {band})",
        f"predicted / measured {format_number(point.ratio)}, {point.verdict}",
        f"{plain(point.id)}: {plain(_cut(point.source))}" if point.source else plain(point.id),
    )


def _cut(text: str) -> str:
    """A long source in a hover box; the table under the chart has all of it."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
