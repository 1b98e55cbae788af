"""Errors of dot products against their length, both logarithmic: derived lines, tried points with their intervals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from roofline.charts.dot_errors import DotErrors, ErrorCurve, Seen
from roofline.plot.heading import headed, legend_below, titled
from roofline.plot.text import lines, plain
from roofline.plot.theme import Figure, look
from roofline.units import format_number

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def figure(chart: DotErrors) -> Figure:
    """The figure of a chart."""
    data = [trace for curve in chart.curves for trace in _traces(chart, curve)]
    ticks = [k for k in chart.lengths if k.bit_count() == 1]
    return {
        "data": data,
        "layout": headed(
            chart.title,
            chart.subtitle,
            chart.notes,
            legend=legend_below(),
            xaxis=titled("terms k", type="log", tickvals=ticks, ticktext=[_short(k) for k in ticks]),
            yaxis=titled("relative RMS error", type="log", dtick=1, exponentformat="power"),
        ),
    }


def _short(k: int) -> str:
    return f"{k >> 10}k" if k >> 10 else str(k)


def _traces(chart: DotErrors, curve: ErrorCurve) -> Iterator[dict[str, Any]]:
    own = look(curve.place)
    dash = _DASHES[curve.dash % len(_DASHES)]
    shared = {"legendgroup": plain(curve.name), "hoverinfo": "text", "xaxis": "x", "yaxis": "y"}
    yield {
        "type": "scatter",
        "mode": "lines",
        "x": list(chart.lengths),
        "y": list(curve.relative_rms),
        "line": {"color": own.colour, "width": 2.5, "dash": dash},
        "text": [
            lines(plain(curve.label), plain(f"k {k}: derived {format_number(error)}"))
            for k, error in zip(chart.lengths, curve.relative_rms, strict=True)
        ],
        "name": plain(curve.label),
        **shared,
    }
    if curve.seen:
        yield {
            "type": "scatter",
            "mode": "markers",
            "x": [seen.k for seen in curve.seen],
            "y": [seen.relative_rms for seen in curve.seen],
            "error_y": {
                "type": "data",
                "symmetric": False,
                "array": [seen.high - seen.relative_rms for seen in curve.seen],
                "arrayminus": [seen.relative_rms - seen.low for seen in curve.seen],
                "color": own.colour,
                "thickness": 1.5,
                "width": 4,
            },
            "marker": {"color": own.colour, "symbol": own.symbol, "size": 8},
            "text": [lines(plain(curve.name), plain(_seen_words(seen))) for seen in curve.seen],
            "name": plain(f"{curve.name}: simulated"),
            "showlegend": False,
            **shared,
        }


def _seen_words(seen: Seen) -> str:
    low, high = format_number(seen.low), format_number(seen.high)
    return f"k {seen.k}: simulated {format_number(seen.relative_rms)} ({low}–{high})"
