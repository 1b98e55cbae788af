"""The marks of a roofline chart: operators, whole phases, what was measured, and the key to their shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from roofline.charts.marks import GROUPS, Mark, Stop
from roofline.charts.roofline_series import Panel, Series, Track
from roofline.charts.rooflines import Roofline
from roofline.plot.text import lines, plain
from roofline.plot.theme import BACKGROUND, MUTED, TEXT, look
from roofline.units import format_duration, format_number, format_quantity

_SHAPES = dict(
    zip(
        GROUPS,
        ("square", "diamond", "circle", "pentagon", "hexagon", "triangle-up", "cross", "triangle-down", "x", "x"),
        strict=True,
    )
)
#: Names short enough for a legend in two columns on a telephone.
_SHORT = {"attention projections": "projections", "attention over the cache": "attention, cache"}
_WHOLE, _MEASURED = "star", "bowtie"
_WHOLE_SIZE, _MEASURED_SIZE = 13, 10
_OPEN = {"prefill": "", "decode": "-open"}
_HOVER = "%{customdata}<extra></extra>"


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace as it is at first. moves: the phase whose slider moves it, '' where none; at: what changes at a stop."""

    drawn: dict[str, Any]
    moves: str = ""
    at: Callable[[int], dict[str, Any]] = lambda _: {}


def colour_of(panel: Panel, name: str) -> str:
    """The colour of a quantisation in a panel."""
    return next((look(series.look).colour for series in panel.series if series.name == name), TEXT)


def panel_marks(panel: Panel) -> Iterator[Trace]:
    """All traces of a panel that stand for predictions and measurements, the largest things first."""
    for series in panel.series:
        for track in series.tracks:
            yield from _trail(series, track)
    for series in panel.series:
        for track in series.tracks:
            yield _band(series, track)
            yield _light(series, track)
    for series in panel.series:
        for track in series.tracks:
            yield _operators(panel, series, track)
        if series.seen:
            yield _measured(series)
    for series in panel.series:
        for track in series.tracks:
            yield _whole(panel, series, track)


def _trail(series: Series, track: Track) -> Iterator[Trace]:
    """Where the whole phase moves with its prompt or batch."""
    stops = track.trail
    if len(stops) > 1:
        yield Trace(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"{plain(series.name)} {track.phase} by {_moved(track)}",
                "x": [stop.whole.intensity for stop in stops],
                "y": [stop.whole.flop_s for stop in stops],
                "line": {"color": look(series.look).colour, "width": 1, "dash": "dot"},
                "opacity": 0.7,
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )


def _moved(track: Track) -> str:
    return "prompt" if track.phase == "prefill" else "batch"


def _common(series: Series, track: Track, what: str) -> dict[str, Any]:
    return {
        "type": "scatter", "name": f"{plain(series.name)} {track.phase}, {what}", "showlegend": False,
    }  # fmt: skip


def _band(series: Series, track: Track) -> Trace:
    """The 80 % band of the whole phase, as a bar."""

    def state(stop: Stop | None) -> dict[str, Any]:
        whole = stop.whole if stop is not None else None
        if whole is None:
            return {"x": [], "y": []}
        return {"x": [whole.intensity, whole.intensity], "y": [whole.low_flop_s, whole.high_flop_s]}

    line = {"color": look(series.look).soft, "width": 9}
    drawn = {**_common(series, track, "band"), "mode": "lines", "line": line, "hoverinfo": "skip", **state(track.asked)}
    return Trace(drawn, track.phase, lambda value: state(track.at(value)))


def _light(series: Series, track: Track) -> Trace:
    """The speed of light of the whole phase, above what is expected."""

    def state(stop: Stop | None) -> dict[str, Any]:
        whole = stop.whole if stop is not None else None
        if whole is None:
            return {"x": [], "y": [], "customdata": []}
        said = lines(
            f"<b>{plain(series.name)} {track.phase}: speed of light</b>",
            f"{format_number(whole.ceiling_tok_s)} tok/s, {format_quantity(whole.light_flop_s, 'FLOP/s')}",
        )
        return {
            "x": [whole.intensity, whole.light_intensity], "y": [whole.flop_s, whole.light_flop_s],
            "customdata": [said, said],
        }  # fmt: skip

    colour = look(series.look).colour
    drawn = {
        **_common(series, track, "speed of light"),
        "mode": "lines+markers",
        "line": {"color": colour, "width": 1, "dash": "dot"},
        "marker": {"symbol": "line-ew-open", "size": [0, 12], "color": colour, "line": {"width": 2}, "opacity": [0, 1]},
        "hovertemplate": _HOVER,
        **state(track.asked),
    }
    return Trace(drawn, track.phase, lambda value: state(track.at(value)))


def _operators(panel: Panel, series: Series, track: Track) -> Trace:
    """The groups of operators, sized by their time."""

    def state(stop: Stop | None) -> dict[str, Any]:
        marks = [mark for mark in stop.marks if mark.is_drawn] if stop else []
        marks.sort(key=lambda mark: -mark.size)  # the small ones on top
        return {
            "x": [mark.intensity for mark in marks],
            "y": [mark.flop_s for mark in marks],
            "marker.size": [mark.size for mark in marks],
            "marker.symbol": [_symbol(mark, track) for mark in marks],
            "customdata": [_said(panel, series, track, stop, mark) for mark in marks],
        }

    first = state(track.asked)
    sizes, symbols = first.pop("marker.size"), first.pop("marker.symbol")
    colour = look(series.look).colour
    drawn = {
        **_common(series, track, "operators"),
        "mode": "markers",
        "marker": {
            "color": colour,
            "size": sizes,
            "sizemode": "diameter",
            "symbol": symbols,
            "opacity": 0.85,
            "line": {"color": BACKGROUND if track.phase == "prefill" else colour, "width": 1.5},
        },
        "hovertemplate": _HOVER,
        **first,
    }
    return Trace(drawn, track.phase, lambda value: state(track.at(value)))


def _symbol(mark: Mark, track: Track) -> str:
    return f"{_SHAPES[mark.group]}{_OPEN[track.phase]}{'-dot' if mark.side == 'host' else ''}"


def _said(panel: Panel, series: Series, track: Track, stop: Stop | None, mark: Mark) -> str:
    side = {"": "", "host": ", in the host's memory"}.get(mark.side, f", {mark.side}")
    value = "" if stop is None else f" at {_moved(track)} {stop.value}"
    return lines(
        f"<b>{plain(series.name)}: {mark.group}{side}</b>",
        f"{track.phase}{value}, {plain(panel.hardware)}",
        f"{format_quantity(mark.flops, 'FLOP')}, {format_quantity(mark.bytes, 'B')}",
        f"{format_number(mark.intensity)} FLOP/B, {format_quantity(mark.flop_s, 'FLOP/s')}",
        f"{format_duration(mark.seconds)}, {mark.share:.1%} of the {track.phase}",
        f"bound by {mark.bound}",
    )


def _whole(panel: Panel, series: Series, track: Track) -> Trace:
    """The whole phase as expected."""

    def state(stop: Stop | None) -> dict[str, Any]:
        if stop is None:
            return {"x": [], "y": [], "customdata": []}
        whole = stop.whole
        said = lines(
            f"<b>{plain(series.name)}: whole {track.phase}</b>",
            f"at {_moved(track)} {stop.value}, {plain(panel.hardware)}",
            f"{format_number(whole.tok_s)} tok/s, 80 % band {format_number(whole.low_tok_s)} to "
            f"{format_number(whole.high_tok_s)}",
            f"{format_quantity(whole.flops, 'FLOP')}, {format_quantity(whole.bytes, 'B')}",
            f"{format_number(whole.intensity)} FLOP/B, {format_quantity(whole.flop_s, 'FLOP/s')}",
            f"{format_duration(whole.seconds)}, bound by {whole.bound}",
            "" if stop.runs else "does not fit in memory",
        )
        return {"x": [whole.intensity], "y": [whole.flop_s], "customdata": [said]}

    colour = look(series.look).colour
    drawn = {
        **_common(series, track, "whole phase"),
        "mode": "markers",
        "marker": {
            "symbol": f"{_WHOLE}{_OPEN[track.phase]}",
            "size": _WHOLE_SIZE,
            "color": colour,
            "line": {"color": BACKGROUND if track.phase == "prefill" else colour, "width": 1.5},
        },
        "hovertemplate": _HOVER,
        **state(track.asked),
    }
    return Trace(drawn, track.phase, lambda value: state(track.at(value)))


def _measured(series: Series) -> Trace:
    """What was measured: other workloads and periods of the engine too, each where its own prediction lies."""
    seen = series.seen
    return Trace(
        {
            "type": "scatter",
            "name": f"{plain(series.name)}, measured",
            "mode": "markers",
            "x": [one.intensity for one in seen],
            "y": [one.flop_s for one in seen],
            "marker": {
                "symbol": [f"{_MEASURED}{_OPEN[one.phase]}" for one in seen],
                "size": _MEASURED_SIZE,
                "color": look(series.look).colour,
                "line": {"color": TEXT, "width": 1},
            },
            "customdata": [
                lines(
                    f"<b>measured {one.phase}: {format_number(one.tok_s)} tok/s</b>",
                    f"{plain(series.name)}, {plain(one.run)}",
                    f"expected of this run: {format_number(one.ratio)} times as much",
                    f"{plain(one.id)}: {plain(one.source)}",
                )
                for one in seen
            ],
            "hovertemplate": _HOVER,
            "showlegend": False,
        }
    )


# -- the key ----------------------------------------------------------------------------------------------------------


def key(chart: Roofline) -> Iterator[dict[str, Any]]:
    """Traces without points, for a legend that says what colour, fill, shape and dash mean."""
    series = {one.name: one.look for panel in chart.panels for one in panel.series}
    for name, place in series.items():
        yield _entry(plain(name), marker={"symbol": "square", "color": look(place).colour, "size": 11})
    for phase, name, fill in (("prefill", "prefill: filled", "circle"), ("decode", "decode: open", "circle-open")):
        if phase in chart.asked:
            yield _entry(name, marker=_grey(fill))
    used = {mark.group for mark in _marks(chart) if mark.is_drawn}
    for group in (group for group in GROUPS if group in used):
        yield _entry(_SHORT.get(group, group), marker=_grey(_SHAPES[group]))
    if any(mark.side == "host" for mark in _marks(chart)):
        yield _entry("on the host: dot", marker=_grey("circle-open-dot"))
    yield _entry("whole phase, band", marker=_grey(_WHOLE))
    if chart.sliders:
        yield _entry("prompts, batches", mode="lines", line={"color": MUTED, "width": 1, "dash": "dot"})
    if any(one.seen for panel in chart.panels for one in panel.series):
        yield _entry("measured", marker=_grey(_MEASURED))
    yield _entry("speed of light", marker=_grey("line-ew-open") | {"line": {"width": 2}})
    for name, dash, colour in (("theoretical", "solid", TEXT), ("sustained", "dash", MUTED)):
        yield _entry(name, mode="lines", line={"color": colour, "dash": dash, "width": 2})


def _marks(chart: Roofline) -> Sequence[Mark]:
    tracks = (track for panel in chart.panels for one in panel.series for track in one.tracks)
    return [mark for track in tracks for mark in track.asked.marks]


def _grey(symbol: str) -> dict[str, Any]:
    return {"symbol": symbol, "color": MUTED, "size": 10}


def _entry(name: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "markers", "x": [None], "y": [None], "name": name, "hoverinfo": "skip",
        "showlegend": True, **more,
    }  # fmt: skip
