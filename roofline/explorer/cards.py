"""A card for each device: the verdict, both phases with their bands, what binds them, and why."""

from __future__ import annotations

from typing import Any

from dash import html

from roofline.explorer.view import Device, band, reasons
from roofline.prediction import Phase, Prediction
from roofline.reasons import times_words
from roofline.tables import printable
from roofline.units import format_number, format_quantity


def cards(shown: tuple[Device, ...]) -> list[Any]:
    """All cards in the order of the devices."""
    return [_card(device) for device in shown]


def key(shown: tuple[Device, ...]) -> list[Any]:
    """What the lines of the curves stand for; the same in each."""
    devices = [(f"sample look-{one.place}", one.id) for one in shown]
    others = [("sample band", "80 % band"), ("sample light", "speed of light"), ("sample full", "memory is full")]
    return [html.Span([html.Span(className=kind), words]) for kind, words in [*devices, *others]]


def _card(device: Device) -> html.Article:
    heading = html.H3([html.Span(className=f"sample look-{device.place}"), device.name])
    if device.prediction is None:
        body: list[Any] = [html.P("No prediction", className="fits no"), html.P(device.reason, className="reason")]
    else:
        body = _body(device.prediction)
    return html.Article([heading, *body], className="card")


def _body(prediction: Prediction) -> list[Any]:
    runs = prediction.runs
    phases = [("decode", prediction.decode), ("prefill", prediction.prefill)]
    return [
        html.P(_subtitle(prediction), className="quiet"),
        html.P(_fits(prediction), className="fits yes" if runs else "fits no"),
        *([_phase(name, phase) for name, phase in phases if phase is not None] if runs else []),
        *([html.P(times_words(prediction), className="times")] if runs else []),
        html.Details(
            [
                html.Summary("Why"),
                html.Dl([part for heading, text in reasons(prediction) for part in (html.Dt(heading), html.Dd(text))]),
            ]
        ),
    ]


def _subtitle(prediction: Prediction) -> str:
    machine, placement = prediction.machine, prediction.placement
    threads = f", {machine.threads} threads" if machine.backend == "cpu" else ""
    layers = ""
    if placement is not None:
        layers = f", {placement.gpu_layers} of {prediction.model.layers + 1} layers on the GPU"
    return printable(f"{machine.runtime.name} {machine.runtime.period}, {machine.backend}{threads}{layers}")


def _fits(prediction: Prediction) -> str:
    """'Fits, 12.3 GiB free', of all memories that it needs."""
    memory = prediction.memory
    short_of = [bill for bill in (memory, memory.host) if bill is not None and not bill.fits]
    if short_of:
        missing = -float(short_of[0].margin or 0.0)
        where = " in the host's memory" if short_of[0] is memory.host else ""
        return f"Does not fit: {format_quantity(missing, 'B', binary=True)} too much{where}"
    if memory.margin is None:
        return f"Needs {format_quantity(float(memory.total), 'B', binary=True)}"
    return f"Fits, {format_quantity(float(memory.margin), 'B', binary=True)} free"


def _phase(name: str, phase: Phase) -> html.Div:
    rows = [
        ("band", band(phase)),
        ("speed of light", format_number(float(phase.ceiling_tok_s))),
        ("bound", str(phase.bound)),
    ]
    return html.Div(
        [
            html.H4(name),
            html.P(
                [html.Strong(format_number(float(phase.tok_s))), html.Span(" tok/s", className="unit")],
                className="speed",
            ),
            html.Dl([html.Div([html.Dt(term), html.Dd(text)]) for term, text in rows], className="facts"),
        ],
        className=f"phase {name}",
    )
