"""What the browser shows: controls on one side, and what they make on the other."""

from __future__ import annotations

from typing import Any

from dash import dcc, html

from roofline.explorer.aria import aria
from roofline.explorer.controls import controls, roof_choice
from roofline.explorer.pictures import PICTURES, Picture
from roofline.explorer.state import State


def page(state: State) -> html.Div:
    """The whole page, its controls filled in for a state."""
    return html.Div(
        [
            dcc.Location(id="address", refresh=False),
            dcc.Store(id="view"),
            dcc.Store(id="link-problems"),
            dcc.Store(id="open-tables", data=[]),
            *(dcc.Store(id=name) for name in ("query", "drawn", "rest", "followed")),
            html.A("Skip to the results", href="#results", className="skip"),
            html.Header(
                [
                    html.Div(
                        [html.Span(className="mark", **aria(hidden="true")), html.H1("roofline")], className="brand"
                    ),
                    html.P("How fast a language model runs on hardware you may not own, and why."),
                ],
                className="top",
            ),
            html.Div(
                [
                    html.Aside(
                        [html.H2("Choose", className="unseen"), html.Div(controls(state), className="form")],
                        className="choose",
                        **aria(label="What to predict"),
                    ),
                    html.Main(_results(), id="results", tabIndex="-1"),
                ],
                className="columns",
            ),
        ],
        className="page",
    )


def _results() -> list[Any]:
    return [
        html.Div(id="alert", className="alert", role="alert"),
        html.P(id="verdict", className="verdict", role="status", **aria(live="polite")),
        html.Section(id="cards", className="cards", **aria(label="Devices")),
        html.Div(id="key", className="key", **aria(label="What the lines stand for")),
        html.Section([_chart(picture) for picture in PICTURES], className="charts", **aria(label="Charts")),
        html.Section(
            [html.H2("Memory", id="memory-heading"), html.Div(id="bill")],
            className="panel",
            **aria(labelledby="memory-heading"),
        ),
        html.Section(
            [
                html.H2("The same on the command line", id="command-heading"),
                html.Div(
                    [
                        html.Pre(html.Code(id="command"), id="command-box", tabIndex="0"),
                        html.Div(
                            [
                                html.Button("Copy command", id="copy-command", type="button", n_clicks=0),
                                html.Button("Copy link", id="copy-link", type="button", n_clicks=0),
                            ],
                            className="buttons",
                        ),
                    ],
                    className="command",
                ),
                html.P(id="copied", className="quiet", role="status"),
            ],
            className="panel",
            **aria(labelledby="command-heading"),
        ),
    ]


def _chart(picture: Picture) -> html.Figure:
    identity = picture.identity
    return html.Figure(
        [
            html.Div(
                [
                    html.H2(picture.heading, id=f"heading-{identity}"),
                    html.P(id=f"subtitle-{identity}", className="quiet"),
                    *([roof_choice()] if identity == "roofline" else []),
                ],
                className="chart-head",
            ),
            html.Div(id=f"chart-{identity}", className="plot", role="img", **aria(label=picture.heading)),
            html.Details(
                [html.Summary("Numbers"), html.Div(id=f"table-{identity}", className="numbers", tabIndex="0")],
                id=f"numbers-{identity}",
                className="data",
            ),
            html.P(id=f"note-{identity}", className="note"),
        ],
        id=f"figure-{identity}",
        className=f"panel chart {picture.size}",
    )
