"""The roofline chart: roofs of one or more devices, and under them the points of a model's operators and phases.

Williams, Waterman & Patterson 2009, doi 10.1145/1498765.1498785. Both axes are logarithmic: arithmetic intensity
[FLOP/B] to the right, operations a second [FLOP/s] up. A memory is a slope, arithmetic a level; where they meet is the
ridge point.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import ceil, floor, log10
from typing import Any

import numpy as np

from roofline import api
from roofline.charts.label_sheet import Drawn
from roofline.charts.marks import Mark, Whole
from roofline.charts.roof_labels import labels, short_labels
from roofline.charts.roofline_notes import COLUMNS, note, panel_rows
from roofline.charts.roofline_series import (
    MOVES,
    PHASES,
    Name,
    Panel,
    Track,
    asked_value,
    phase_of,
    series_of,
    values_of,
)
from roofline.charts.roofs import drawn, roofs
from roofline.points import expand, single_point
from roofline.prediction import Prediction
from roofline.quantization import ids
from roofline.spec import SpecError
from roofline.units import format_quantity

MOST_PANELS, MOST_SERIES = 6, 6
_STAR = 14.0  # what a whole phase takes [px]
#: About how wide and high a panel is, for its labels [px]: alone, beside another, in rows, on a narrow page.
_ALONE, _BESIDE, _IN_ROWS, _NARROW = (850.0, 480.0), (430.0, 420.0), (430.0, 330.0), (290.0, 260.0)
_FOR_LABELS, _FOR_LABELS_BESIDE = 0.25, 0.4  # more width, at the right for the labels of arithmetic [1]


@dataclass(frozen=True, slots=True)
class Roofline:
    """The chart. x_ends, y_ends: of both axes, as exponents of ten [1]; y_ticks: values [FLOP/s] and their texts.

    sliders: the values of each phase; asked: the one of them that was asked for.
    """

    title: str
    subtitle: str
    notes: tuple[str, ...]
    panels: tuple[Panel, ...]
    x_ends: tuple[float, float]
    y_ends: tuple[float, float]
    y_ticks: tuple[tuple[float, str], ...]
    sliders: Mapping[Name, tuple[int, ...]]
    asked: Mapping[Name, int]

    def rows(self) -> list[dict[str, Any]]:
        """What is drawn, as numbers under COLUMNS; the marks as they were asked for."""
        return [row for panel in self.panels for row in panel_rows(panel)]

    @property
    def columns(self) -> tuple[str, ...]:
        """Those of COLUMNS that hold something."""
        rows = self.rows()
        return tuple(key for key in COLUMNS if any(row.get(key) not in (None, "") for row in rows))


def rooflines(hardware: str, model: str, quants: str | None, **words: Any) -> Roofline:
    """The chart of every device and quantisation that the lists name, for one workload; parts may be patterns.

    words: the other arguments of points.single_point. What cannot be predicted is told in the notes.

    Raises SpecError for a pattern that nothing matches, where nothing can be predicted, and as `roofline` does.
    """
    machines = expand("hw", hardware, api.list_hardware())
    stored = [None] if quants is None else expand("quant", quants, list(ids()))
    predictions: list[Prediction] = []
    reasons: list[str] = []
    for hw, quant in product(machines, stored):
        try:
            predictions.append(single_point(hw, model, quant, **words))
        except SpecError as error:
            reasons.append(f"{hw} {quant or ''}".strip() + f" is left out: {error}")
            if len(machines) * len(stored) == 1:
                raise
    if not predictions:
        raise SpecError(reasons[0].partition(" is left out: ")[2])
    return roofline(predictions, left_out=reasons)


def roofline(
    predictions: Sequence[Prediction],
    *,
    with_measured: bool = True,
    with_stops: bool = True,
    paths: Sequence[str] | None = None,
    left_out: Sequence[str] = (),
) -> Roofline:
    """The chart of predictions for one model and workload on several devices or in several quantisations.

    with_measured: whether speeds that were measured stand beside those that are expected. with_stops: whether the marks
    are worked out at other prompts and batches, too. paths: arithmetic paths whose peaks are drawn; all without.
    left_out: sentences about what has no prediction.

    Raises SpecError for no predictions, for more devices or quantisations than can be told apart, and for arrays.
    """
    _check(predictions)
    named = _series_names(predictions)
    looks = {name: place for place, name in enumerate(dict.fromkeys(named))}
    grouped: dict[tuple[object, ...], list[tuple[str, Prediction]]] = {}
    for name, prediction in zip(named, predictions, strict=True):
        grouped.setdefault(_machine_key(prediction), []).append((name, prediction))
    if len(grouped) > MOST_PANELS:
        raise SpecError(f"--hw: expected at most {MOST_PANELS} devices in one chart, found {len(grouped)}")
    if len(looks) > MOST_SERIES:
        raise SpecError(f"--quant: expected at most {MOST_SERIES} quantisations in one chart, found {len(looks)}")
    first = predictions[0]
    wanted = {name: asked_value(first, name) for name in PHASES if phase_of(first, name) is not None}
    values = {name: values_of(predictions, name, with_stops) for name in wanted}
    panels, notes = [], []
    for members in grouped.values():
        one = members[0][1]
        lines = tuple(series_of(name, looks[name], found, values, with_measured) for name, found in members)
        name = one.names.get("hardware", one.machine.hardware.name)
        panels.append(Panel(name, _device(one), tuple(roofs(members, paths)), (), (), lines))
        notes.append(note(panels[-1], one))
    x_ends, y_ends = _ends(panels)
    return Roofline(
        title=f"Roofline of {first.model.name}: what limits each part",
        subtitle=_workload(first),
        notes=(*filter(None, notes), *left_out),
        panels=tuple(_finished(panel, x_ends, y_ends, len(panels)) for panel in panels),
        x_ends=x_ends,
        y_ends=y_ends,
        y_ticks=tuple(_ticks(y_ends)),
        sliders=values if with_stops else {},
        asked=wanted,
    )


def _check(predictions: Sequence[Prediction]) -> None:
    if not predictions:
        raise SpecError("--hw, --model, --quant: expected something to predict, found nothing")
    if all(prediction.prefill is None and prediction.decode is None for prediction in predictions):
        raise SpecError("--prompt, --gen: expected tokens to process, found none")
    for prediction in predictions:
        workload = prediction.workload
        if any(np.ndim(value) for value in (workload.prompt, workload.gen, workload.depth, workload.batch)):
            raise SpecError("--prompt, --gen, --depth, --batch: expected one value each, found several")


def _series_names(predictions: Sequence[Prediction]) -> list[str]:
    """What tells the series apart: the quantisation, and the model where there are several."""
    models = {prediction.model.name for prediction in predictions}
    return [
        f"{one.names.get('model', one.model.name)} {one.weights.quant}" if len(models) > 1 else one.weights.quant
        for one in predictions
    ]


def _machine_key(prediction: Prediction) -> tuple[object, ...]:
    """What predictions of one panel have in common; how many layers of a model a card holds is its own."""
    machine = prediction.machine
    name = prediction.names.get("hardware", machine.hardware.name)
    makes = id(machine.hardware), id(machine.runtime)
    return name, *makes, machine.backend, machine.threads, machine.split, machine.link, machine.numa


def _device(prediction: Prediction) -> str:
    """'Raspberry Pi 5 (BCM2712)', or the names of all that work together."""
    placement, machine = prediction.placement, prediction.machine
    if placement is None:
        threads = f", {machine.threads} threads" if machine.backend == "cpu" else ""
        return f"{machine.hardware.name}, {machine.backend}{threads}"
    named = [one.hardware.name for one in placement.devices]
    if placement.host is not None:
        named.append(placement.host.hardware.name)
    return f"{' + '.join(dict.fromkeys(named))}, {machine.backend}"


def _workload(prediction: Prediction) -> str:
    """The workload in words."""
    work = prediction.workload
    parts = [f"prompt {work.prompt:.0f}", f"{work.gen:.0f} generated"]
    parts += [f"after {work.depth:.0f} cached"] if work.depth else []
    parts.append(f"batch {work.batch:.0f}")
    return f"{', '.join(parts)}; {prediction.machine.runtime.name}"


# -- axes, labels and notes -------------------------------------------------------------------------------------------


def _ends(panels: Sequence[Panel]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Exponents of the ends of both axes, with room for the labels of roofs above and at both sides."""
    xs: list[float] = []
    ys: list[float] = []
    tops: list[float] = []
    for panel in panels:
        tops += [roof.value for roof in panel.roofs if roof.kind == "compute"]
        xs += [roof.ridge for roof in panel.roofs if roof.kind == "compute" or roof.is_main]
        for whole, marks in _everything(panel):
            xs += [whole.intensity, *(mark.intensity for mark in marks if mark.is_drawn)]
            ys += [whole.low_flop_s, *(mark.flop_s for mark in marks if mark.is_drawn)]
            tops.append(whole.light_flop_s)
        for seen in (seen for series in panel.series for seen in series.seen):
            xs.append(seen.intensity)
            ys.append(seen.flop_s)
    left, right = log10(min(xs)) - 0.35, log10(max(xs)) + 0.25
    room = (_FOR_LABELS if len(panels) == 1 else _FOR_LABELS_BESIDE) * (right - left)
    return (left, right + room), (log10(min(ys)) - 0.35, log10(max(tops)) + 0.4)


def _ticks(ends: tuple[float, float]) -> Iterator[tuple[float, str]]:
    """Whole powers of ten with their prefixes, which plotly knows up to T only."""
    for power in range(ceil(ends[0]), floor(ends[1]) + 1):
        value = 10.0**power
        number, _, prefix = format_quantity(value, "FLOP/s", 1).removesuffix("FLOP/s").partition(" ")
        yield value, f"{number}{prefix}"


def _everything(panel: Panel) -> Iterator[tuple[Whole, tuple[Mark, ...]]]:
    for track in (track for series in panel.series for track in series.tracks):
        for stop in (track.asked, *track.trail):
            yield stop.whole, stop.marks


def _finished(panel: Panel, x_ends: tuple[float, float], y_ends: tuple[float, float], count: int) -> Panel:
    """The panel with the lines of its roofs and their labels."""
    size = {1: _ALONE, 2: _BESIDE}.get(count, _IN_ROWS)
    least, most = (10.0**end for end in x_ends)
    made = tuple(drawn(roof, least, most) for roof in panel.roofs)
    kept_clear = _drawn(panel)
    first = panel.series[0].tracks
    ends = [(stop.whole, f"{MOVES[one.phase]} {stop.value}") for one in first for stop in one.ends]
    trails = [(whole.intensity, whole.flop_s, said) for whole, said in ends]
    return replace(
        panel,
        roofs=made,
        labels=tuple(labels(made, kept_clear, trails, x_ends, y_ends, size)),
        short_labels=tuple(short_labels(made, kept_clear, x_ends, y_ends, _NARROW)),
    )


def _drawn(panel: Panel) -> Drawn:
    """What stands under the roofs of a panel, as it was asked for."""
    tracks = [track for series in panel.series for track in series.tracks]
    wholes = [track.asked.whole for track in tracks]
    spots = [(mark.intensity, mark.flop_s, mark.size) for one in tracks for mark in one.asked.marks if mark.is_drawn]
    spots += [(whole.intensity, whole.flop_s, _STAR) for whole in wholes]
    bars = [(whole.intensity, whole.low_flop_s, max(whole.high_flop_s, whole.light_flop_s)) for whole in wholes]
    paths = [[(stop.whole.intensity, stop.whole.flop_s) for stop in one.trail] for one in tracks]
    return Drawn(spots, bars, paths, list(_phases(tracks)))


def _phases(tracks: Sequence[Track]) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """What each phase is called, 'decode: bound by memory', and where its stars are."""
    for name in PHASES:
        wholes = [track.asked.whole for track in tracks if track.phase == name]
        bounds = {whole.bound for whole in wholes}
        said = f"{name}: bound by {bounds.pop()}" if len(bounds) == 1 else name
        if wholes:
            yield said, [(whole.intensity, whole.flop_s) for whole in wholes]
