"""The memory bill of each device as a bar whose parts are as long as their bytes, and as a table."""

from __future__ import annotations

from typing import Any, NamedTuple

from dash import html

from roofline.explorer.aria import aria
from roofline.explorer.view import Device
from roofline.memory import MemoryBill
from roofline.units import format_quantity

#: The parts of a bill in the order of the bar: attribute of a MemoryBill, words.
_PARTS = (
    ("weights", "weights"), ("kv_cache", "KV cache"), ("compute", "compute buffer"), ("context", "runtime"),
)  # fmt: skip


class _Side(NamedTuple):
    """One memory: of a device, of each of several, or of the host."""

    name: str
    bill: MemoryBill


def _sides(device: Device) -> list[_Side]:
    if device.prediction is None:
        return []
    whole = device.prediction.memory
    if whole.devices:
        found = [_Side(f"GPU {number}", one) for number, one in enumerate(whole.devices, 1)]
    else:
        found = [_Side("GPU" if whole.host else "", whole)]
    return found + ([_Side("host", whole.host)] if whole.host else [])


def bills(shown: tuple[Device, ...]) -> list[Any]:
    """The bars of all devices, with the legend of their parts above."""
    rows = [_row(device.name, side) for device in shown for side in _sides(device)]
    return [_legend(), *rows] if rows else [html.P("No prediction, no bill.", className="quiet")]


def _legend() -> html.Ul:
    items = [html.Li([html.Span(className=f"swatch part-{key}"), words]) for key, words in _PARTS]
    free = html.Li([html.Span(className="swatch part-free"), "free"])
    return html.Ul([*items, free], className="bill-legend", **aria(hidden="true"))


def _row(name: str, side: _Side) -> html.Div:
    bill, fits = side.bill, bool(side.bill.fits)
    margin = None if bill.usable is None else bill.usable - float(bill.total)
    sizes = {key: float(getattr(bill, key)) for key, _ in _PARTS}
    parts = [
        html.Span(className=f"part part-{key}", style={"flexGrow": size}, title=f"{words}: {_size(size)}")
        for key, words in _PARTS
        if (size := sizes[key]) > 0
    ]
    if margin is not None and margin > 0:
        parts.append(html.Span(className="part part-free", style={"flexGrow": margin}, title=f"free: {_size(margin)}"))
    told = ", ".join(f"{words} {_size(sizes[key])}" for key, words in _PARTS if sizes[key] > 0)
    if margin is None:
        end = f"{_size(float(bill.total))}, of as much as the machine has"
    else:
        end = f"{_size(float(bill.total))} of {_size(bill.usable or 0.0)} usable"
        end += "" if fits else f": {_size(-margin)} too much"
    return html.Div(
        [
            html.Div(
                [html.Span(f"{name}{', ' if side.name else ''}{side.name}", className="bill-name"), html.Span(end)],
                className="bill-head",
            ),
            html.Div(parts, className="bar" if fits else "bar over", **aria(hidden="true")),
            html.P(told, className="bill-items"),
        ],
        className="bill-row",
    )


def _size(size: float) -> str:
    return format_quantity(size, "B", binary=True)
