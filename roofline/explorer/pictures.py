"""The charts of a state: what works each out, and what draws it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from roofline.charts import curves, quants, rooflines, token_time
from roofline.explorer.state import State
from roofline.explorer.view import devices, focused
from roofline.plot import curves as draw_curves
from roofline.plot import quants as draw_quants
from roofline.plot import rooflines as draw_rooflines
from roofline.plot import token_time as draw_token_time
from roofline.plot.theme import Figure
from roofline.spec import SpecError
from roofline.tables import cell, heading
from roofline.units import UnitError


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart of the page. identity: its id; heading: what it shows; size: its class in the style sheet.

    soon: whether it is made so quickly that it travels with the cards; the others follow in one answer, and are worked
    out while the browser draws.
    """

    identity: str
    heading: str
    size: str
    work_out: Callable[[State], Any]
    draw: Callable[[Any], Figure]
    soon: bool = False


#: What is downloaded most, from wide to narrow: all there are would hide one another, and take their time.
_COMMON_QUANTS = (
    "f16", "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q4_k_m", "q4_k_s", "q4_0", "iq4_xs", "mxfp4", "q3_k_l", "q3_k_m",
    "q3_k_s", "iq3_xxs", "q2_k", "iq2_xs", "iq1_m",
)  # fmt: skip


_FEWER_BATCHES = 64


def _has_pairs(state: State) -> bool:
    """Whether layers are placed on a device and its host, which is found anew for every point and takes longer."""
    return any("+" in name for name in state.hw)


def _roofline(state: State) -> Any:
    """Of one device: what limits it is told apart only in a chart of its own."""
    found = devices(replace(state, roof=""))
    focus = focused(state.roof, found)
    device = next(one for one in found if one.id == focus)
    if device.prediction is None:
        raise SpecError(device.reason)
    return rooflines.roofline([device.prediction], with_measured=False, with_stops=False)


def _asked(state: State) -> tuple[Sequence[str], str, Sequence[str | None], Sequence[str]]:
    return state.hw, state.model, [state.quant or None], [state.kv]


def _settings(state: State) -> dict[str, Any]:
    """A state's settings in the words of the curves, which take their own lists of quantisations and caches."""
    found = state.settings()
    figures = state.set
    del found["kv"], found["set"]
    return {**found, "figures": figures, "with_measured": False}


def _depth(state: State) -> Any:
    return curves.depth_curves(*_asked(state), **_settings(state))


def _batch(state: State) -> Any:
    most = max(state.batch, _FEWER_BATCHES if _has_pairs(state) else curves.MOST_BATCH)
    return curves.batch_curves(*_asked(state), to=most, **_settings(state))


def _quant(state: State) -> Any:
    common = _COMMON_QUANTS[:: 2 if _has_pairs(state) else 1]
    asked = tuple(dict.fromkeys((*common, *([state.quant] if state.quant else []))))
    return quants.quant_points(state.hw, state.model, asked, state.kv, **_settings(state))


def _token_time(state: State) -> Any:
    found = [one.prediction for one in devices(replace(state, roof="")) if one.prediction is not None]
    if not found:
        raise SpecError(devices(replace(state, roof=""))[0].reason)
    return token_time.token_times(found)


PICTURES = (
    Picture("roofline", "Roofline", "wide", _roofline, draw_rooflines.figure, soon=True),
    Picture("token-time", "What a token's time goes to", "half", _token_time, draw_token_time.figure, soon=True),
    Picture("quant", "Speed against bits per weight", "half", _quant, draw_quants.figure),
    Picture("depth", "Speed against depth", "half", _depth, draw_curves.figure),
    Picture("batch", "Speed against batch", "half", _batch, draw_curves.figure),
)
#: How much room the page leaves in each chart, and whether plotly draws its legend.
_PLAIN = {"showlegend": False, "margin": {"l": 62, "r": 14, "t": 10, "b": 46}}
_LAYOUTS: dict[str, dict[str, Any]] = {
    "roofline": {"margin": {"l": 66, "r": 16, "t": 92, "b": 46}},
    "depth": _PLAIN,
    "batch": _PLAIN,
    "token-time": {"margin": {"l": 62, "r": 60, "t": 10, "b": 46}},
    "quant": _PLAIN,
}
_HEADING = 110  # height of what the page says itself above a chart of several bars [px]
_BY_ID = {picture.identity: picture for picture in PICTURES}


@lru_cache(maxsize=256)
def _worked_out(identity: str, state: State) -> tuple[Any, str]:
    """The chart of a state, or the reason why there is none."""
    try:
        return _BY_ID[identity].work_out(state), ""
    except (SpecError, UnitError) as error:
        return None, str(error)


def sent(identity: str, state: State) -> str:
    """A chart as JSON text, which passes through Dash as it is, for the script of the page to read."""
    return json.dumps(shown(identity, state), separators=(",", ":"))


def shown(identity: str, state: State) -> dict[str, Any]:
    """A chart as the page takes it: its figure, None where there is none, and what it leaves out or why."""
    chart, reason = _worked_out(identity, state)
    if chart is None:
        return {"figure": None, "subtitle": "", "notes": [reason]}
    found = {"figure": _fitted(identity, chart), "subtitle": chart.subtitle, "notes": list(chart.notes)}
    return found | ({"height": draw_token_time.height(chart) - _HEADING} if identity == "token-time" else {})


def _fitted(identity: str, chart: Any) -> Figure:
    """The figure without what the page says itself: title, subtitle, notes and, of curves, the devices' legend."""
    made = _BY_ID[identity].draw(chart)
    layout = {key: value for key, value in made["layout"].items() if key not in ("title", "height", "meta")}
    layout |= _LAYOUTS[identity]
    return {"data": made["data"], "layout": layout}


def table(identity: str, state: State) -> tuple[list[str], list[list[str]]]:
    """The numbers of a chart as text: the headings of its columns, and its rows."""
    chart, _ = _worked_out(identity, state)
    if chart is None:
        return [], []
    rows, columns = chart.rows(), tuple(chart.columns)
    return [heading(key) for key in columns], [[cell(key, row.get(key)) for key in columns] for row in rows]
