"""The error of dot products against their length: derived curves, and what trials saw at the lengths asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from roofline.precision.dot import dot_error
from roofline.precision.formats import FloatFormat
from roofline.precision.outcome import Outcome
from roofline.precision.ratios import ratio_db, relative_rms
from roofline.precision.report import title
from roofline.precision.summation import Order

COLUMNS = ("quant", "accumulator", "summation", "k", "derived_db", "simulated_db", "low_db", "high_db", "mark")
ALIKE = 0.03  # curves of a quantisation that differ less everywhere are drawn as one [1]
SHORTEST, LONGEST = 256, 1 << 17  # terms; longer where longer ones are asked for


@dataclass(frozen=True, slots=True)
class Seen:
    """Trials of k terms: relative RMS error, and its 95 % interval [1]."""

    k: int
    relative_rms: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ErrorCurve:
    """The error of one quantisation, accumulator and order at the chart's lengths [1]. same: the names of those that
    are drawn by it, too, since they are alike. place: of the quantisation, which has a colour; of its curves: dashes.
    """

    name: str
    quant: str
    accumulator: str
    summation: str
    relative_rms: tuple[float, ...]
    seen: tuple[Seen, ...]
    same: tuple[str, ...]
    place: int
    dash: int

    @property
    def label(self) -> str:
        """The name, with how many others it stands for."""
        return f"{self.name} (and {len(self.same)} alike)" if self.same else self.name


@dataclass(frozen=True)
class DotErrors:
    """A chart; lengths: of the derived curves, ascending."""

    title: str
    subtitle: str
    lengths: tuple[int, ...]
    curves: tuple[ErrorCurve, ...]
    notes: tuple[str, ...]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each point: derived ones along the curves, and those with trials."""
        found = []
        for curve in self.curves:
            named = {"quant": curve.quant, "accumulator": curve.accumulator, "summation": curve.summation}
            tried = {seen.k: seen for seen in curve.seen}
            for k, error in zip(self.lengths, curve.relative_rms, strict=True):
                row = {**named, "k": k, "derived_db": ratio_db(error), "mark": "; ".join(curve.same)}
                if k in tried:
                    seen = tried[k]
                    row |= {
                        "simulated_db": ratio_db(seen.relative_rms),
                        "low_db": ratio_db(seen.high),
                        "high_db": ratio_db(seen.low),
                    }
                found.append(row)
        return found


def dot_errors(found: Outcome) -> DotErrors:
    """The chart of an outcome; sums that overflow are left out."""
    asked = found.request
    longest = max(LONGEST, *asked.lengths)
    octaves = [1 << power for power in range(SHORTEST.bit_length() - 1, longest.bit_length())]
    lengths = tuple(sorted({*octaves, *asked.lengths}))
    curves: list[ErrorCurve] = []
    lost: list[str] = []
    for place, (quant, types) in enumerate(asked.mixes.items()):
        own: list[ErrorCurve] = []
        for form in asked.forms:
            for order in asked.orders:
                curve = _curve(found, quant, types, form, order, lengths, place, len(own))
                if not np.all(np.isfinite(curve.relative_rms)):
                    lost.append(curve.name)
                    continue
                alike = next((at for at, other in enumerate(own) if _alike(curve, other)), None)
                if alike is None:
                    own.append(curve)
                else:
                    other = own[alike]
                    own[alike] = ErrorCurve(
                        other.name, quant, other.accumulator, other.summation, other.relative_rms, other.seen,
                        (*other.same, f"{form.name} {order.name}"), place, other.dash,
                    )  # fmt: skip
        curves += own
    notes = ["Lines: derived. Points: trials with their 95 % intervals."] if asked.trials else ["Lines: derived."]
    notes += [f"{curve.name} stands for {', '.join(curve.same)}, too." for curve in curves if curve.same]
    if lost:
        notes.append(f"Overflow at some lengths, so not drawn: {', '.join(lost)}.")
    return DotErrors("Error of dot products against their length", title(found), lengths, tuple(curves), tuple(notes))


def _curve(
    found: Outcome, quant: str, types: Mapping[str, float], form: FloatFormat, order: Order, lengths: tuple[int, ...],
    place: int, dash: int,
) -> ErrorCurve:  # fmt: skip
    errors = dot_error(types, form, order, np.array(lengths), found.request.setting).relative_rms
    seen = tuple(
        Seen(row["k"], relative_rms(row["simulated_db"]), relative_rms(row["high_db"]), relative_rms(row["low_db"]))
        for row in found.dots
        if (row["quant"], row["accumulator"], row["summation"]) == (quant, form.name, order.name)
        and row["simulated_db"] is not None
    )
    name = f"{quant}, {form.name} {order.name}"
    return ErrorCurve(name, quant, form.name, order.name, tuple(map(float, errors)), seen, (), place, dash)


def _alike(one: ErrorCurve, other: ErrorCurve) -> bool:
    return bool(np.all(np.abs(np.log(np.divide(one.relative_rms, other.relative_rms))) < ALIKE))
