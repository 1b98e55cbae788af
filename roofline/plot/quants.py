"""Quantisations as points: speed against bits per weight, and against quality."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from roofline.charts.quant import QuantPoint, QuantPoints, Speed
from roofline.plot.heading import headed, legend_below, titled
from roofline.plot.text import lines, plain
from roofline.plot.theme import GRID, MUTED, TEXT, Figure, look
from roofline.quality import quality_words
from roofline.units import format_number, format_quantity

_DOMAINS = ((0.57, 1.0), (0.0, 0.43))
_OCTAVES = [1, 2, 3, 4, 6, 8, 16, 32]
_TITLES = ("bits per weight of the whole model [bit]", "quality: signal-to-noise ratio of the weights [dB]")


def figure(chart: QuantPoints) -> Figure:
    """The figure of a chart; above, against bits per weight, below, against quality."""
    data: list[dict[str, Any]] = []
    panels = [quality for quality in (False, True) if chart.drawn(quality)]
    for number, quality in enumerate(panels, 1):
        named, drawn = chart.named(quality), chart.drawn(quality)
        for device in chart.devices:
            points = [point for point in drawn if point.hardware == device]
            if points:
                data += _series(chart, points, named, number, quality)
    data += _legend(chart)
    kind: dict[str, Any] = (
        {"type": "log", "dtick": "D2", "tickformat": ",~r"} if chart.is_log() else {"rangemode": "tozero"}
    )
    axes: dict[str, Any] = {}
    for number, quality in enumerate(panels, 1):
        tail = "" if number == 1 else str(number)
        domain = list(_DOMAINS[number - 1]) if len(panels) > 1 else [0.0, 1.0]
        octaves = {} if quality else {"type": "log", "tickvals": _OCTAVES, "ticktext": [str(bits) for bits in _OCTAVES]}
        axes[f"xaxis{tail}"] = titled(_TITLES[quality], anchor=f"y{tail}", zeroline=False, **octaves)
        axes[f"yaxis{tail}"] = titled(f"{chart.phase} [tok/s]", anchor=f"x{tail}", domain=domain, **kind)
    return {"data": data, "layout": headed(chart.title, chart.subtitle, chart.notes, legend=legend_below(), **axes)}


def _series(
    chart: QuantPoints, points: list[QuantPoint], named: set[tuple[int, str]], number: int, quality: bool
) -> Iterator[dict[str, Any]]:
    own = look(points[0].place)
    axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"} if number > 1 else {"xaxis": "x", "yaxis": "y"}
    xs = [point.snr_db if quality else point.bits for point in points]
    speeds = [_speed(chart, point) for point in points]
    group = plain(points[0].hardware)
    yield _bars(xs, speeds, own.soft, group, axes)
    yield {
        "type": "scatter",
        "mode": "markers",
        "x": xs,
        "y": [speed.tok_s for speed in speeds],
        "hovertext": [_hover(chart, point, speed) for point, speed in zip(points, speeds, strict=True)],
        "hoverinfo": "text",
        "marker": {"size": 8, "color": own.colour, "symbol": own.symbol},
        "name": group,
        "legendgroup": group,
        "showlegend": number == 1,
        **axes,
    }
    written = [
        (x, speed.high_tok_s, plain(point.quant))
        for x, speed, point in zip(xs, speeds, points, strict=True)
        if (point.place, point.quant) in named
    ]
    if written:
        yield {
            "type": "scatter", "mode": "text", "x": [x for x, _, _ in written], "y": [y for _, y, _ in written],
            "text": [text for *_, text in written], "textposition": "top center",
            "textfont": {"size": 11, "color": TEXT},
            "name": f"{group}: names", "legendgroup": group, "showlegend": False, "hoverinfo": "skip",
            "cliponaxis": False, **axes,
        }  # fmt: skip
    seen = [(x, one) for x, point in zip(xs, points, strict=True) for one in point.seen if one.phase == chart.phase]
    if seen:
        yield {
            "type": "scatter",
            "mode": "markers",
            "x": [x for x, _ in seen],
            "y": [one.tok_s for _, one in seen],
            "error_y": {
                "type": "data", "array": [one.std or 0.0 for _, one in seen], "color": own.colour, "thickness": 1.5,
                "width": 4, "visible": any(one.std for _, one in seen),
            },
            "marker": {"size": 11, "color": own.colour, "symbol": f"{own.symbol}-open", "line": {"width": 1.5}},
            "hovertext": [
                lines(plain(f"measured {format_number(one.tok_s)} tok/s"), plain(one.source), plain(one.id))
                for _, one in seen
            ],
            "hoverinfo": "text",
            "name": plain(f"{points[0].hardware}: measured"),
            "legendgroup": group,
            "showlegend": False,
            **axes,
        }  # fmt: skip


def _speed(chart: QuantPoints, point: QuantPoint) -> Speed:
    speed = point.speed(chart.phase)
    assert speed is not None  # only points with a speed are drawn
    return speed


def _bars(xs: list[Any], speeds: list[Speed], colour: str, group: str, axes: dict[str, str]) -> dict[str, Any]:
    """The 80 % bands, from low to high."""
    x: list[float | None] = []
    y: list[float | None] = []
    for at, speed in zip(xs, speeds, strict=True):
        x += [at, at, None]
        y += [speed.low_tok_s, speed.high_tok_s, None]
    return {
        "type": "scatter", "mode": "lines", "x": x, "y": y, "line": {"color": colour, "width": 4}, "hoverinfo": "skip",
        "name": f"{group}: band", "legendgroup": group, "showlegend": False, **axes,
    }  # fmt: skip


def _hover(chart: QuantPoints, point: QuantPoint, speed: Speed) -> str:
    return lines(
        plain(f"{point.quant} on {point.hardware}"),
        plain(
            f"{chart.phase} {format_number(speed.tok_s)} tok/s "
            f"({format_number(speed.low_tok_s)}–{format_number(speed.high_tok_s)}), {speed.bound}-bound"
        ),
        plain(f"speed of light {format_number(speed.ceiling_tok_s)} tok/s"),
        plain(f"{format_number(point.bits)} bits per weight, {format_quantity(point.file_bytes, 'B', binary=True)}"),
        *(plain(part) for part in quality_words(point.quality).split("; ")),
    )


def _legend(chart: QuantPoints) -> Iterator[dict[str, Any]]:
    shown = {"80 % band": {"mode": "lines", "line": {"color": GRID, "width": 6}}}
    if any(one.phase == chart.phase for point in chart.points for one in point.seen):
        shown["measured"] = {"mode": "markers", "marker": {"symbol": "circle-open", "size": 11, "color": MUTED}}
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
