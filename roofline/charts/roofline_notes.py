"""What a roofline chart says beside its picture: notes in words, and its numbers as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from roofline.charts.marks import WITHOUT_FLOPS
from roofline.charts.roofline_series import MOVES, Panel, Series, Track
from roofline.prediction import Prediction
from roofline.units import format_number

#: The columns of the numbers under the chart.
COLUMNS = (
    "hardware", "quant", "phase", "mark", "group", "device", "intensity", "achieved_flop_s", "flops", "bytes",
    "seconds", "share", "bound", "tok_s", "low_tok_s", "high_tok_s", "bandwidth_bytes_s", "ridge_flop_per_byte", "id",
    "source",
)  # fmt: skip
_WORTH_SAYING = 0.005  # share of a phase from which a wait is told in words [1]


def note(panel: Panel, prediction: Prediction) -> str:
    """What the picture of a device alone does not tell; '' where that is nothing. prediction: one of its own."""
    said = [*_about_several(prediction), *_fitting(panel, prediction)]
    for series in panel.series:
        said += _without_flops(series, len(panel.series) > 1)
    return f"{panel.hardware}: {'; '.join(said)}." if said else ""


def _fitting(panel: Panel, prediction: Prediction) -> Iterator[str]:
    """What does not fit, and how far the sliders go: with the layers of a pair where they are."""
    placed = ", with its layers placed as here" if prediction.placement and prediction.placement.host else ""
    hypothetical = [one.name for one in panel.series if any(not track.asked.runs for track in one.tracks)]
    if hypothetical:
        who, verb = " and ".join(hypothetical), "do not fit" if len(hypothetical) > 1 else "does not fit"
        yield f"{who} {verb} in memory, drawn as if there were more"
    for series in panel.series:
        if series.name in hypothetical:
            continue
        most = [
            f"{MOVES[track.phase]} {track.trail[-1].value}"
            for track in series.tracks
            if track.trail and len(track.trail) < len(track.stops)
        ]
        if most:
            yield f"{series.name} runs up to {' or '.join(most)}{placed}"


def _about_several(prediction: Prediction) -> Iterator[str]:
    """What the roofs of several devices stand for."""
    machine = prediction.machine
    if prediction.placement is None and machine.count > 1:
        if machine.split == "tensor":
            yield "the roofs are those of all together, each does a part of every matrix"
        else:
            yield f"the roofs are those of all together, but a token is on one at a time, at 1/{machine.count} of them"


def _without_flops(series: Series, named: bool) -> Iterator[str]:
    """Time that goes to what does no operations, which logarithmic axes cannot show."""
    for group in WITHOUT_FLOPS:
        shares = [
            f"{format_number(100 * mark.share, 2)} % of {track.phase}"
            for track in series.tracks
            for mark in track.asked.marks
            if mark.group == group and mark.share >= _WORTH_SAYING
        ]
        if shares:
            who = f"{series.name}: " if named else ""
            yield f"{who}waiting for the {group}, without operations, is {' and '.join(shares)}"


# -- the numbers as a table -------------------------------------------------------------------------------------------


def panel_rows(panel: Panel) -> Iterator[dict[str, Any]]:
    """What is drawn of a device, as numbers under COLUMNS."""
    for series in panel.series:
        about = {"hardware": panel.hardware, "quant": series.name}
        for track in series.tracks:
            yield from _track_rows(about | {"phase": track.phase}, track)
        for seen in series.seen:
            yield about | {
                "phase": seen.phase, "mark": "measured", "intensity": seen.intensity, "achieved_flop_s": seen.flop_s,
                "tok_s": seen.tok_s, "id": seen.id, "source": seen.source,
            }  # fmt: skip
    for roof in panel.roofs:
        value = "achieved_flop_s" if roof.kind == "compute" else "bandwidth_bytes_s"
        yield {
            "hardware": panel.hardware, "quant": " ".join(roof.quants), "mark": f"{roof.standing} roof",
            "group": roof.name, "device": roof.side, value: roof.value, "ridge_flop_per_byte": roof.ridge,
        }  # fmt: skip


def _track_rows(about: Mapping[str, Any], track: Track) -> Iterator[dict[str, Any]]:
    for mark in track.asked.marks:
        yield {
            **about, "mark": "operators", "group": mark.group, "device": mark.side,
            "intensity": mark.intensity or None, "achieved_flop_s": mark.flop_s or None, "flops": mark.flops,
            "bytes": mark.bytes, "seconds": mark.seconds, "share": mark.share, "bound": mark.bound,
        }  # fmt: skip
    whole = track.asked.whole
    yield {
        **about, "mark": "whole phase", "intensity": whole.intensity, "achieved_flop_s": whole.flop_s,
        "flops": whole.flops, "bytes": whole.bytes, "seconds": whole.seconds, "share": 1.0, "bound": whole.bound,
        "tok_s": whole.tok_s, "low_tok_s": whole.low_tok_s, "high_tok_s": whole.high_tok_s,
    }  # fmt: skip
    yield {
        **about, "mark": "speed of light", "intensity": whole.light_intensity,
        "achieved_flop_s": whole.light_flop_s, "tok_s": whole.ceiling_tok_s,
    }  # fmt: skip
