"""The pictures of a measured ladder: bars on a logarithmic axis, points under roofs, curves against size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

from roofline.charts.ladder import FAMILIES, Bar, Climb
from roofline.charts.ladder_roofs import Roofs
from roofline.charts.ladder_sizes import Sizes
from roofline.plot.heading import headed, legend_below, titled
from roofline.plot.text import lines, plain
from roofline.plot.theme import BACKGROUND, GRID, MUTED, TEXT, Figure, look

_SPEED = "operations a second [FLOP/s]"
_HOVER = "%{customdata}<extra></extra>"
_BAR, _AROUND = 24, 260  # of a picture with bars [px]


def height(chart: Climb) -> int:
    """Of the climb in a page [px]: a line for each bar."""
    return sum(repeat(_BAR, len(chart.bars) + len(chart.history)), _AROUND)


def _log(ends: tuple[float, float], ticks: Sequence[tuple[float, str]], title: str, **more: Any) -> dict[str, Any]:
    made = titled(title, type="log", range=list(ends), zeroline=False, **more)
    return made | {
        "tickmode": "array", "tickvals": [at for at, _ in ticks], "ticktext": [said for _, said in ticks],
    }  # fmt: skip


# -- the climb --------------------------------------------------------------------------------------------------------


def climb(chart: Climb) -> Figure:
    """This machine's rungs above, the article's below, on axes of one scale."""
    data = list(_families(chart.bars))
    data.append(_bars(chart.history, "another machine (the article's)", len(FAMILIES), "y2", True))
    data += [_figures(chart.bars, "y"), _figures(chart.history, "y2")]
    low, high = chart.domains
    made = headed(
        chart.title,
        chart.subtitle,
        chart.notes,
        legend=legend_below(),
        barmode="overlay",
        bargap=0.25,
        xaxis=_log(chart.ends, chart.ticks, _SPEED, anchor="y2", side="bottom"),
        yaxis=_names(chart.bars, high),
        yaxis2=_names(chart.history, low),
    )
    made["meta"] = {
        **made["meta"],
        "narrow": {
            "xaxis": {
                "range": list(chart.narrow_ends), "tickvals": [at for at, _ in chart.ticks[::2]],
                "ticktext": [said for _, said in chart.ticks[::2]], "title": {"text": "FLOP/s"},
            },
            "yaxis": {"tickfont": {"size": 10}},
            "yaxis2": {"tickfont": {"size": 10}},
        },
    }  # fmt: skip
    return {"data": data, "layout": made}


def _names(bars: Sequence[Bar], domain: tuple[float, float]) -> dict[str, Any]:
    """The rungs from above, in the order of the climb."""
    names = [plain(bar.name) for bar in bars]
    return titled(
        "", domain=list(domain), type="category", categoryorder="array", categoryarray=names[::-1], ticks="",
        tickfont={"size": 12}, showgrid=False, range=[-0.5, len(names) - 0.5],
    )  # fmt: skip


def _figures(bars: Sequence[Bar], axis: str) -> dict[str, Any]:
    """Speed and share of the peak, beyond the spread."""
    return {
        "type": "scatter", "mode": "text", "y": [plain(bar.name) for bar in bars], "x": [bar.high for bar in bars],
        "text": [plain(f" {bar.written}") for bar in bars], "textposition": "middle right",
        "textfont": {"size": 11, "color": TEXT}, "hoverinfo": "skip", "showlegend": False, "cliponaxis": False,
        "name": "figures", "xaxis": "x", "yaxis": axis,
    }  # fmt: skip


def _families(bars: Sequence[Bar]) -> Iterator[dict[str, Any]]:
    for place, name in enumerate(FAMILIES):
        own = [bar for bar in bars if bar.place == place]
        if own:
            yield _bars(own, name, place, "y", False)


def _bars(bars: Sequence[Bar], name: str, place: int, axis: str, is_other: bool) -> dict[str, Any]:
    own = look(place)
    return {
        "type": "bar",
        "orientation": "h",
        "name": plain(name),
        "y": [plain(bar.name) for bar in bars],
        "x": [bar.flop_s for bar in bars],
        "error_x": {
            "type": "data", "symmetric": False, "array": [bar.above for bar in bars],
            "arrayminus": [bar.below for bar in bars], "color": TEXT, "thickness": 1.2, "width": 3,
            "visible": not is_other,
        },
        "marker": {
            "color": own.soft if is_other else own.colour,
            "line": {"color": own.colour, "width": 1 if is_other else 0},
        },
        "customdata": [lines(*map(plain, bar.said)) for bar in bars],
        "hovertemplate": _HOVER,
        "xaxis": "x",
        "yaxis": axis,
    }  # fmt: skip


# -- under the roofs --------------------------------------------------------------------------------------------------


def roofs(chart: Roofs) -> Figure:
    """Slopes and levels, and the rungs below them; filled by all threads that were used, open by fewer."""
    data: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "name": plain(line.name), "x": list(line.x), "y": list(line.y),
            "line": {
                "color": TEXT if line.is_whole else MUTED, "width": 2, "dash": "solid" if line.is_whole else "dash",
            },
            "hoverinfo": "name", "showlegend": False,
        }
        for line in chart.lines
    ]  # fmt: skip
    for place, name in enumerate(FAMILIES):
        own, points = look(place), [point for point in chart.points if point.place == place]
        if not points:
            continue
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [point.x for point in points],
                "y": [point.y for point in points],
                "marker": {
                    "size": 10,
                    "color": own.colour,
                    "symbol": [own.symbol if point.is_whole else f"{own.symbol}-open" for point in points],
                    "line": {"width": 1.5, "color": own.colour},
                },
                "customdata": [lines(*map(plain, point.said)) for point in points],
                "hovertemplate": _HOVER,
            }
        )
    kinds = [("roof", "solid", TEXT), ("roof, fewer cores", "dash", MUTED)]
    for name, dash, colour in kinds if any(not line.is_whole for line in chart.lines) else kinds[:1]:
        data.append(
            {"type": "scatter", "mode": "lines", "x": [None], "y": [None], "name": name,
             "line": {"color": colour, "dash": dash, "width": 2}, "hoverinfo": "skip"}
        )  # fmt: skip
    made = headed(
        chart.title,
        chart.subtitle,
        chart.notes,
        legend=legend_below(),
        xaxis=titled(
            "arithmetic intensity [FLOP/B]", type="log", range=list(chart.x_ends), zeroline=False, dtick=1,
            exponentformat="SI",
        ),
        yaxis=_log(chart.y_ends, chart.ticks, _SPEED),
    )  # fmt: skip
    made["annotations"] = [
        {
            "text": plain(line.label), "x": line.label_at[0], "y": line.label_at[1], "xref": "x", "yref": "y",
            "xanchor": "right" if line.kind == "compute" else "left",
            "yanchor": "bottom" if line.kind == "compute" else "top", "showarrow": False,
            "font": {"size": 11, "color": TEXT if line.is_whole else MUTED},
            **({} if line.kind == "compute" else {"bgcolor": BACKGROUND, "yshift": -3}),
        }
        for line in chart.lines
        if line.label
    ]  # fmt: skip
    made["meta"] = {**made["meta"], "narrow": {"annotations": list(made["annotations"])}}
    made["annotations"] += [
        {
            "text": plain(point.label), "x": point.label_at[0], "y": point.label_at[1], "xref": "x", "yref": "y",
            "xanchor": "right" if point.side == "left" else "left", "xshift": -8 if point.side == "left" else 8,
            "yanchor": "middle", "showarrow": False, "font": {"size": 11, "color": TEXT}, "bgcolor": BACKGROUND,
        }
        for point in chart.points
        if point.label
    ]  # fmt: skip
    return {"data": data, "layout": made}


# -- against size -----------------------------------------------------------------------------------------------------


def sizes(chart: Sizes) -> Figure:
    """A curve for each rung, and where the matrices leave the caches."""
    data = [
        {
            "type": "scatter", "mode": "lines+markers", "name": plain(curve.name), "x": list(curve.n),
            "y": list(curve.flop_s),
            "line": {"color": look(curve.place).colour, "dash": look(curve.place).dash, "width": 2.5},
            "marker": {"color": look(curve.place).colour, "symbol": look(curve.place).symbol, "size": 8},
            "customdata": [plain(said) for said in curve.said], "hovertemplate": _HOVER,
        }
        for curve in chart.curves
    ]  # fmt: skip
    made = headed(
        chart.title,
        chart.subtitle,
        chart.notes,
        legend=legend_below(),
        xaxis=titled(
            "n, rows and columns of the matrices", type="log", range=list(chart.x_ends), zeroline=False,
            tickmode="array", tickvals=list(chart.x_ticks), ticktext=[str(n) for n in chart.x_ticks],
        ),
        yaxis=_log(chart.y_ends, chart.ticks, _SPEED),
    )  # fmt: skip
    made["shapes"] = [
        {
            "type": "line", "x0": side, "x1": side, "y0": 0, "y1": 1, "xref": "x", "yref": "paper",
            "line": {"color": MUTED, "width": 1.5, "dash": "dot"},
        }
        for side, _ in chart.marks
    ]  # fmt: skip
    made["annotations"] = [
        {
            "text": lines(*map(plain, said.splitlines())), "x": at, "y": 1, "xref": "x", "yref": "paper",
            "xanchor": "right" if at_left else "left", "xshift": -4 if at_left else 4, "yanchor": "top",
            "align": "right" if at_left else "left", "showarrow": False, "font": {"size": 11, "color": MUTED},
            "bgcolor": BACKGROUND,
        }
        for at, said, at_left in chart.labels
    ]  # fmt: skip
    made["xaxis"]["gridcolor"] = GRID
    return {"data": data, "layout": made}
