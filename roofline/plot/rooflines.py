"""The roofline, log–log: slopes and levels, and under them a model's operators and phases; a panel a device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any

from roofline.charts.label_sheet import Label
from roofline.charts.panels import Place, places
from roofline.charts.roofline_series import MOVES, PHASES, Panel
from roofline.charts.rooflines import Roofline
from roofline.charts.roofs import Roof
from roofline.plot.heading import titled
from roofline.plot.roofline_marks import Trace, colour_of, key, panel_marks
from roofline.plot.text import lines, plain
from roofline.plot.theme import BACKGROUND, GRID, MUTED, TEXT, Figure, layout
from roofline.units import format_number, format_quantity

_DASH = {"theoretical": "solid", "sustained": "dash"}
_GAP, _NARROW_GAP = 0.24, 0.2
_MOST_NOTES, _WIDTH = 4, 120  # lines, and characters of a line in an image
#: Heights of the figure without and on a narrow page, by the number of panels [px].
HEIGHTS = {1: 760, 2: 700, 3: 1040, 4: 1040, 5: 1420, 6: 1420}
_NARROW_HEIGHTS = {1: 560, 2: 920, 3: 1280, 4: 1640, 5: 2000, 6: 2360}
_LEGEND_AT = {1: 1.06, 2: 1.07, 3: 1.04, 4: 1.04, 5: 1.03, 6: 1.03}
_TITLE, _NOTE = 100, 16  # heights of the heading and of a note [px]
_LEGEND_ROWS = {entries: 58 if entries < 16 else 77 for entries in range(25)}  # height of the legend [px]


def figure(chart: Roofline, *, sliders: bool = True) -> Figure:
    """The figure of a chart. sliders: whether prompt and batch can be moved, where the chart has their stops."""
    count = len(chart.panels)
    wide, narrow = places(count, min(count, 2), _GAP), places(count, 1, _NARROW_GAP)
    data: list[dict[str, Any]] = []
    axes: dict[str, Any] = {}
    slim: dict[str, Any] = {"height": _NARROW_HEIGHTS[count]}
    annotations: list[dict[str, Any]] = []
    fewer: list[dict[str, Any]] = []
    # The names of phases come first, so that sliders find them on wide and on narrow pages.
    named: list[str] = []
    phases: list[dict[str, Any]] = []
    narrow_phases: list[dict[str, Any]] = []
    moving: list[tuple[int, Trace]] = []
    for index, (panel, place, below) in enumerate(zip(chart.panels, wide, narrow, strict=True), 1):
        number = "" if index == 1 else str(index)
        on = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        axes |= _axes(chart, number, place)
        slim |= {
            f"xaxis{number}": {"domain": list(below.x), **_named(below.is_lowest, "x")},
            f"yaxis{number}": {"domain": list(below.y), "showticklabels": True, **_named(True, "y")},
        }
        named += [label.of_phase for label in panel.labels if label.kind == "phase"]
        for texts, first, found in ((annotations, phases, panel.labels), (fewer, narrow_phases, panel.short_labels)):
            first += [_text(panel, label, number) for label in found if label.kind == "phase"]
            texts += [_heading(panel, number)]
            texts += [_text(panel, label, number) for label in found if label.kind != "phase"]
        data += [{**trace, **on} for trace in _roofs(panel)]
        for trace in panel_marks(panel):
            if trace.moves:
                moving.append((len(data), trace))
            data.append({**trace.drawn, **on})
    entries = list(key(chart))
    data += entries
    rows = _LEGEND_ROWS[min(len(entries), max(_LEGEND_ROWS))]
    notes = [row for note in chart.notes for row in wrap(note, _WIDTH)]
    notes = notes if len(notes) <= _MOST_NOTES else [*notes[:_MOST_NOTES], "more under the numbers"]
    made = layout(chart.title, chart.subtitle, **axes, annotations=[*phases, *annotations], legend=_legend(count))
    # A second line, be it empty: under a title at the top plotly sets a single one further off.
    made["title"]["subtitle"]["text"] = lines(f"{plain(chart.subtitle)}.", *map(plain, notes or [" "]))
    made["margin"] |= {"t": _TITLE + sum([_NOTE for _ in notes]) + rows, "l": 64, "r": 16}
    made["title"] |= {"y": 1, "yref": "container", "yanchor": "top", "pad": {"t": 14}}
    made["meta"] = {"narrow": slim | {"annotations": [*narrow_phases, *fewer], "legend": {"font": {"size": 10}}}}
    if sliders and chart.sliders:
        made["sliders"] = list(_sliders(chart, moving, named))
    return {"data": data, "layout": made}


# -- axes, headings and the legend ------------------------------------------------------------------------------------

_TITLES = {"x": "arithmetic intensity [FLOP/B]", "y": "operations a second [FLOP/s]"}


def _named(shown: bool, which: str) -> dict[str, Any]:
    return {"title": {"text": _TITLES[which] if shown else ""}}


def _axes(chart: Roofline, number: str, place: Place) -> dict[str, Any]:
    log = {
        "type": "log",
        "dtick": 1,
        "exponentformat": "SI",
        "minor": {"dtick": "D1", "ticks": "outside", "ticklen": 3, "tickcolor": MUTED, "showgrid": False},
        "zeroline": False,
    }
    x = titled(_TITLES["x"] if place.is_lowest else "", **log, domain=list(place.x), anchor=f"y{number}")
    y = titled(_TITLES["y"] if place.is_left else "", **log, domain=list(place.y), anchor=f"x{number}")
    y |= {
        "tickmode": "array",
        "tickvals": [at for at, _ in chart.y_ticks],
        "ticktext": [said for _, said in chart.y_ticks],
    }
    x |= {"range": list(chart.x_ends)} | ({"matches": "x"} if number else {})
    y |= {"range": list(chart.y_ends), "showticklabels": place.is_left} | ({"matches": "y"} if number else {})
    return {f"xaxis{number}": x, f"yaxis{number}": y}


def _heading(panel: Panel, number: str) -> dict[str, Any]:
    return {
        "text": f"<b>{plain(panel.name)}</b>",
        "xref": f"x{number} domain",
        "yref": f"y{number} domain",
        "x": 0,
        "y": 1,
        "xanchor": "left",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 13, "color": TEXT},
    }


def _legend(count: int) -> dict[str, Any]:
    return {
        "orientation": "h",
        "x": 0,
        "y": _LEGEND_AT[count],
        "yanchor": "bottom",
        "bgcolor": "rgba(0,0,0,0)",
        "font": {"size": 11},
        "itemclick": False,
        "itemdoubleclick": False,
    }


# -- roofs ------------------------------------------------------------------------------------------------------------


def _roofs(panel: Panel) -> Iterator[dict[str, Any]]:
    """Lines, and dots at the ridge points."""
    for roof in panel.roofs:
        yield {
            "type": "scatter",
            "mode": "lines",
            "name": plain(roof.name),
            "x": list(roof.x),
            "y": list(roof.y),
            "line": {
                "color": _roof_colour(panel, roof),
                "dash": _DASH[roof.standing],
                "width": 2 if roof.standing == "theoretical" else 1.5,
            },
            "hoverinfo": "skip",
            "showlegend": False,
        }
    met = [roof for roof in panel.roofs if roof.kind == "compute"]
    yield {
        "type": "scatter",
        "mode": "markers",
        "name": "ridge points",
        "x": [roof.ridge for roof in met],
        "y": [roof.value for roof in met],
        "marker": {
            "size": 7,
            "symbol": "circle",
            "color": [_roof_colour(panel, roof) for roof in met],
            "line": {"color": BACKGROUND, "width": 1.5},
        },
        "customdata": [
            lines(
                f"<b>ridge point: {format_number(roof.ridge)} FLOP/B</b>",
                f"{plain(roof.name)}: {format_quantity(roof.value, 'FLOP/s')}, {roof.standing}",
                "below it memory binds, above it arithmetic",
            )
            for roof in met
        ],
        "hovertemplate": "%{customdata}<extra></extra>",
        "showlegend": False,
    }


def _text(panel: Panel, label: Label, number: str) -> dict[str, Any]:
    high, side = label.anchor.split()
    made = {
        "text": lines(*map(plain, label.lines)),
        "xref": f"x{number}",
        "yref": f"y{number}",
        "x": label.x,
        "y": label.y,
        "xanchor": {"left": "right", "right": "left", "center": "center"}[side],
        "yanchor": {"top": "bottom", "bottom": "top"}[high],
        "align": {"left": "right", "right": "left", "center": "center"}[side],
        "yshift": {"top": 1, "bottom": -1}[high],
        "showarrow": False,
        **_written(panel, label),
    }
    return made if label.of is None else made | _leader(label.of, number, label)


def _leader(to: tuple[float, float], number: str, label: Label) -> dict[str, Any]:
    """A thin line from a label to what it names."""
    return {
        "x": to[0], "y": to[1], "ax": label.x, "ay": label.y, "axref": f"x{number}", "ayref": f"y{number}",
        "showarrow": True, "arrowhead": 0, "arrowwidth": 1, "arrowcolor": MUTED, "standoff": 9, "yshift": 0,
    }  # fmt: skip


def _written(panel: Panel, label: Label) -> dict[str, Any]:
    """The type of a label; what may stand over a line hides it."""
    if label.kind == "phase":
        return {"font": {"size": 11, "color": TEXT, "weight": 700}, "bgcolor": BACKGROUND}
    own = {"size": 10, "color": MUTED if label.kind == "trail" else _roof_colour(panel, label)}
    return {"font": own} | ({"bgcolor": BACKGROUND} if label.kind == "ridge" else {})


def _roof_colour(panel: Panel, roof: Roof | Label) -> str:
    """The colour of the one quantisation whose kernel it is; else by what the roof stands for."""
    if len(roof.quants) == 1:
        return colour_of(panel, roof.quants[0])
    return TEXT if roof.standing == "theoretical" else MUTED


# -- sliders ----------------------------------------------------------------------------------------------------------

_SIDES = {0: 0.0, 1: 0.53}
_SAID = {"prefill": "prefill of prompt ", "decode": "decode of batch "}


def _sliders(chart: Roofline, moving: Sequence[tuple[int, Trace]], named: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A slider for each phase, which moves its marks alone, and shows its names where it was asked for.

    named: the phases whose names are the first annotations.
    """
    for place, phase in enumerate(name for name in PHASES if len(chart.sliders.get(name, ())) > 1):
        values = chart.sliders[phase]
        own = [(index, trace) for index, trace in moving if trace.moves == phase]
        names = [f"annotations[{index}].visible" for index, of in enumerate(named) if of == phase]
        yield {
            "active": values.index(chart.asked[phase]),
            "x": _SIDES[place],
            "len": 0.47,
            "y": 0,
            "yanchor": "top",
            "pad": {"t": 64, "b": 4},
            "currentvalue": {"prefix": _SAID[phase], "font": {"size": 12, "color": TEXT}},
            "font": {"size": 11, "color": MUTED},
            "bgcolor": GRID,
            "activebgcolor": MUTED,
            "bordercolor": MUTED,
            "borderwidth": 1,
            "tickcolor": MUTED,
            "ticklen": 4,
            "minorticklen": 0,
            "transition": {"duration": 0},
            "name": f"{MOVES[phase]} slider",
            "steps": [
                {
                    "label": str(value),
                    "method": "update",
                    "args": [
                        _restyled([trace.at(value) for _, trace in own]),
                        dict.fromkeys(names, value == chart.asked[phase]),
                        [index for index, _ in own],
                    ],
                }
                for value in values
            ],
        }


def _restyled(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What changes in each of the traces: a list of values for every key."""
    keys = dict.fromkeys(key for state in states for key in state)
    return {key: [state.get(key) for state in states] for key in keys}


__all__ = ["HEIGHTS", "figure"]
