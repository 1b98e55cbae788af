"""Speeds along one quantity: what charts over depth, batch and threads are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

#: The columns of Curves.rows; the quantity along the axis stands before the speeds.
COLUMNS_BEFORE = ("hardware", "model", "quant", "kv", "phase")
COLUMNS_AFTER = (
    "tok_s", "low_tok_s", "high_tok_s", "ceiling_tok_s", "user_tok_s", "seconds", "bound", "mark",
    "measured_tok_s", "std_tok_s", "id", "source",
)  # fmt: skip
DECADE = 10.0  # series further apart than this share a logarithmic axis


@dataclass(frozen=True, slots=True)
class Dot:
    """A measured speed at `x`. std: its standard deviation, None where not stated [1/s]. other_engine: measured under
    another version of the engine than the curve is of.
    """

    x: float
    tok_s: float
    std: float | None
    id: str
    source: str
    url: str
    runtime: str
    other_engine: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """A point of a line with a name: the knee, the best number of threads."""

    x: float
    tok_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One phase of a series at the x where it runs, ascending. Speeds of all sequences together unless a panel says
    otherwise [1/s]; seconds: of the whole phase [s]. ends: the last x that memory holds, None where all are held.
    """

    x: tuple[float, ...]
    tok_s: tuple[float, ...]
    low_tok_s: tuple[float, ...]
    high_tok_s: tuple[float, ...]
    ceiling_tok_s: tuple[float, ...]
    seconds: tuple[float, ...]
    bound: tuple[str, ...]
    ends: float | None = None
    marks: tuple[Mark, ...] = ()
    dots: tuple[Dot, ...] = ()


@dataclass(frozen=True, slots=True)
class Series:
    """A device with a quantisation and a type of cache. name: the parts that tell it from the others; lines: by panel;
    place: among all that were asked for, so that it looks alike in every chart.
    """

    name: str
    hardware: str
    model: str
    quant: str
    kv: str
    place: int
    lines: Mapping[str, Line]


@dataclass(frozen=True, slots=True)
class Panel:
    """One of the fields of a chart. key: of Series.lines; title: its quantity and unit; phase: whose speeds these are.

    log: whether speeds span decades by their nature.
    """

    key: str
    title: str
    phase: str
    log: bool = False


@dataclass(frozen=True)
class Curves:
    """A chart of speeds along `axis`, a key of columns.COLUMNS. notes: what is not drawn, and why.

    x_title: quantity and unit; x_range: from, to; x_log: whether octaves are equally far apart; x_ticks: values with
    their labels, none where any will do. asked: the x that the question names, if there is one.
    """

    axis: str
    title: str
    subtitle: str
    x_title: str
    x_range: tuple[float, float]
    panels: tuple[Panel, ...]
    series: tuple[Series, ...]
    notes: tuple[str, ...] = ()
    x_log: bool = False
    x_ticks: tuple[tuple[float, str], ...] = ()
    asked: float | None = None
    extra: Mapping[float, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """The keys of `rows` in order, without those that are empty throughout."""
        present = {key for row in self.rows() for key, value in row.items() if value not in (None, "")}
        order = (*COLUMNS_BEFORE, self.axis, *self._extra_columns, *COLUMNS_AFTER)
        return tuple(key for key in order if key in present)

    @property
    def _extra_columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(key for more in self.extra.values() for key in more))

    def is_log(self, panel: Panel) -> bool:
        """Whether the highest points of the lines lie further apart than a linear axis can show."""
        lines = [line for series in self.series if (line := series.lines.get(panel.key))]
        lowest = min((max(line.tok_s) for line in lines), default=0.0)
        return panel.log or max((max(line.ceiling_tok_s) for line in lines), default=0.0) > DECADE * lowest

    def rows(self) -> list[dict[str, Any]]:
        """Every point that is drawn: expected ones with their band, then what was measured."""
        found: list[dict[str, Any]] = []
        shared = {panel.phase: panel for panel in self.panels if panel.key == panel.phase}
        for series in self.series:
            for phase, panel in shared.items():
                line = series.lines.get(panel.key)
                if line is not None:
                    found += self._expected(series, phase, line)
                    found += self._measured(series, phase, line)
        return found

    def _expected(self, series: Series, phase: str, line: Line) -> Iterator[dict[str, Any]]:
        each = series.lines.get("user")
        marks = {mark.x: mark.text for mark in line.marks}
        for at, x in enumerate(line.x):
            yield {
                **_head(series, phase),
                self.axis: _whole(x),
                **self.extra.get(x, {}),
                "tok_s": line.tok_s[at],
                "low_tok_s": line.low_tok_s[at],
                "high_tok_s": line.high_tok_s[at],
                "ceiling_tok_s": line.ceiling_tok_s[at],
                "user_tok_s": each.tok_s[at] if each else None,
                "seconds": line.seconds[at],
                "bound": line.bound[at],
                "mark": "; ".join(part for part in (marks.get(x), "last that fits" if x == line.ends else "") if part),
            }

    def _measured(self, series: Series, phase: str, line: Line) -> Iterator[dict[str, Any]]:
        for dot in line.dots:
            yield {
                **_head(series, phase),
                self.axis: _whole(dot.x),
                "measured_tok_s": dot.tok_s,
                "std_tok_s": dot.std,
                "id": dot.id,
                "source": dot.source,
            }


def _head(series: Series, phase: str) -> dict[str, Any]:
    return {
        "hardware": series.hardware, "model": series.model, "quant": series.quant, "kv": series.kv, "phase": phase,
    }  # fmt: skip


def _whole(x: float) -> float | int:
    return int(x) if x == int(x) else x
