"""The charts of a report, each under its heading."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from roofline.charts.curve import Curves
from roofline.charts.curves import batch_curves, depth_curves
from roofline.charts.rooflines import roofline
from roofline.charts.token_time import token_times
from roofline.document.blocks import Block, Chart, Text
from roofline.document.pictures import curves_picture, roofline_picture, token_time_picture
from roofline.prediction import Prediction
from roofline.spec import SpecError


def charts(
    prediction: Prediction, hw: str, model: str, quant: str | None, words: Mapping[str, Any], mark: str
) -> tuple[list[Block], list[Block]]:
    """Charts of the prediction itself, and curves around it. hw, model, quant, words: what it was asked for in.

    mark: added to the ids of charts, so that several reports share a page. What cannot be drawn says why.
    """
    settings, caches = _settings(words)

    def along(curves: Callable[..., Curves], identity: str) -> Chart:
        return curves_picture(curves([hw], model, [quant], caches, **settings), f"{identity}{mark}")

    if not (prediction.prefill or prediction.decode):
        return [], []
    own = [_drawn(lambda: roofline_picture(roofline([prediction]), f"roofline{mark}"))]
    if not prediction.runs:
        return own, []
    own.append(_drawn(lambda: token_time_picture(token_times([prediction]), f"token{mark}")))
    around = [_drawn(lambda: along(depth_curves, "depth"))]
    if prediction.decode:
        around.append(_drawn(lambda: along(batch_curves, "batch")))
    return own, around


def together(
    cases: Sequence[tuple[Prediction, str]], model: str, quant: str | None, words: Mapping[str, Any]
) -> list[Block]:
    """Charts of several predictions beside each other; cases: each with its device in the words it was asked for in."""
    settings, caches = _settings(words)
    running = [(one, hw) for one, hw in cases if one.runs and (one.prefill or one.decode)]
    if len(running) < 2:
        return []
    names = [hw for _, hw in running]
    return [
        _drawn(lambda: token_time_picture(token_times([one for one, _ in running]), "token")),
        _drawn(lambda: curves_picture(depth_curves(names, model, [quant], caches, **settings), "depth")),
    ]


def _settings(words: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The words without the types of the cache, and these as the curves take them."""
    caches = [str(words["kv"]).replace(",", "/")]
    return {key: value for key, value in words.items() if key != "kv"}, caches


def _drawn(draw: Callable[[], Chart]) -> Block:
    """The chart, or why there is none."""
    try:
        return draw()
    except SpecError as error:
        return Text(f"Not drawn: {error}")
