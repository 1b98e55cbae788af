"""Predicted against measured speeds: what a chart of checked rows shows, and how right they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log10
from typing import Any

from roofline.calibrate.report import score_rows
from roofline.check.checking import Checked
from roofline.check.groups import Group, summarise
from roofline.check.report import row_record
from roofline.check.verdicts import Row
from roofline.spec import SpecError
from roofline.units import short

#: The columns of the numbers under the chart.
COLUMNS = (
    "id", "hardware", "model", "quant", "backend", "runtime", "phase", "measured_tok_s", "predicted_tok_s",
    "low_tok_s", "high_tok_s", "ratio", "verdict", "source",
)  # fmt: skip
#: Backends in the order of their colours, so that one looks alike in every chart.
BACKENDS = ("cpu", "cuda", "metal", "vulkan", "rocm", "sycl", "opencl")
PHASES = ("decode", "prefill")
#: Predicted by measured speed on a guide, its label, and how far along the diagonal that label belongs [1].
_GUIDES = ((1.0, "1:1", 0.16), (1.1, "+10 %", 0.85), (0.9, "−10 %", 0.82), (1.2, "+20 %", 0.76), (0.8, "−20 %", 0.72))
_MARGIN = 1.6  # beyond the least and the highest speed, as a factor


@dataclass(frozen=True, slots=True)
class Point:
    """A checked row. Speeds [tok/s]; low to high is the 80 % band; ratio: predicted by measured speed [1]."""

    id: str
    hardware: str
    model: str
    quant: str
    backend: str
    runtime: str
    phase: str
    measured_tok_s: float
    predicted_tok_s: float
    low_tok_s: float
    high_tok_s: float
    ratio: float
    verdict: str
    source: str


@dataclass(frozen=True, slots=True)
class Guide:
    """The line on which predicted by measured speed is `factor` [1]: from end to end [tok/s].

    label_at: the point on the line that its label belongs to, as exponents of ten [1].
    """

    factor: float
    label: str
    measured: tuple[float, float]
    predicted: tuple[float, float]
    label_at: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Panel:
    """The rows of one phase by backend. ends: of both axes, as exponents of ten [1]. words: how right the rows are."""

    phase: str
    points: Mapping[str, tuple[Point, ...]]
    guides: tuple[Guide, ...]
    ends: tuple[float, float]
    figures: Group
    words: str


@dataclass(frozen=True, slots=True)
class Errors:
    """Predicted against measured: a panel a phase. skipped: rows without a verdict [1]. notes: sentences."""

    title: str
    subtitle: str
    panels: tuple[Panel, ...]
    backends: tuple[str, ...]
    skipped: int
    notes: tuple[str, ...]

    def rows(self) -> list[dict[str, Any]]:
        """The points in the order in which they are drawn."""
        return [asdict(point) for panel in self.panels for points in panel.points.values() for point in points]


def errors(
    checked: Checked,
    file: str | None = None,
    selected: Sequence[str | None] = (),
    backends: Sequence[str] = (),
) -> Errors:
    """The chart of checked rows. backends: only these, all without.

    file: what they were read from, '-' is standard input; None for those that come with the package, to most of which
    the constants were fitted. selected: which of them, or what they were taken to be of.

    Raises SpecError where no row is left.
    """
    rows = [row for row in checked.rows if not backends or row.backend in backends]
    if not rows:
        raise SpecError(_nothing(checked, backends))
    order = {name: place for place, name in enumerate(BACKENDS)}
    present = sorted({row.backend for row in rows}, key=lambda name: (order.get(name, len(order)), name))
    panels = tuple(
        _panel(phase, own, present) for phase in PHASES if (own := [row for row in rows if row.phase == phase])
    )
    devices = len({row.observation.hardware for row in rows})
    skipped = len(checked.skipped)
    is_shipped = file is None
    of = "the observations that come with roofline" if file is None else "standard input" if file == "-" else file
    of += "".join(f", {name}" for name in (*selected, *backends) if name)
    notes = [f"{panel.phase}: {panel.words}." for panel in panels]
    if is_shipped:
        notes.append(_left_out_words())
    notes.append(
        "Median error: over devices, of each device's median of |predicted / measured − 1|. In the band: the measured "
        "speed lies between low and high, as they are printed. Open symbols are rows outside of it."
    )
    if skipped:
        notes.append(f"Not drawn, since they could not be read or predicted: {_counted(skipped, 'row')}.")
    return Errors(
        title=f"Predicted against measured: {_counted(len(rows), 'row')} of {_counted(devices, 'device')}",
        subtitle=f"{of}; in-sample: the constants were fitted to most of them" if is_shipped else of,
        panels=panels,
        backends=tuple(present),
        skipped=skipped,
        notes=tuple(notes),
    )


def known_backends(text: str | None) -> list[str]:
    """'cuda,cpu' → names; SpecError for one that is none."""
    found = [part.strip().lower() for part in text.split(",")] if text else []
    for name in found:
        if name not in BACKENDS:
            raise SpecError(f"--backend: expected some of {', '.join(BACKENDS)}, found {short(name)}")
    return found


def _panel(phase: str, rows: Sequence[Row], backends: Sequence[str]) -> Panel:
    """One phase, which has rows."""
    speeds = [speed for row in rows for speed in (row.observation.tok_s, row.predicted_tok_s)]
    low, high = min(speeds) / _MARGIN, max(speeds) * _MARGIN
    figures = summarise("rows shown", phase, rows)
    held = f"{figures.coverage:.0%} of {_counted(figures.rows, 'row')} in the band"
    return Panel(
        phase=phase,
        points={name: tuple(_point(row) for row in rows if row.backend == name) for name in backends},
        guides=tuple(_guide(low, high, *guide) for guide in _GUIDES),
        ends=(log10(low), log10(high)),
        figures=figures,
        words=f"median error {figures.median_error:.1%}, {held}",
    )


def _point(row: Row) -> Point:
    record, seen = row_record(row), row.observation
    hardware = f"{seen.hardware}x{seen.count}" if seen.count > 1 else seen.hardware
    own = {"hardware": hardware, "source": seen.source}
    found: dict[str, Any] = {name: own.get(name, record.get(name)) for name in Point.__slots__}
    return Point(**found)


def _guide(low: float, high: float, factor: float, label: str, along: float) -> Guide:
    """predicted = factor · measured inside the square from low to high [tok/s]."""
    first, last = max(low, low / factor), min(high, high / factor)
    at = log10(first) + along * log10(last / first)
    return Guide(factor, label, (first, last), (factor * first, factor * last), (at, at + log10(factor)))


def _left_out_words() -> str:
    """What the errors are on devices that the constants had not seen."""
    scores = {row["group"]: row for row in score_rows()}
    parts = [f"{phase} {scores[f'all {phase}']['median_error']:.1%}" for phase in PHASES]
    return (
        "The constants were fitted to most of these rows, so that their errors are in-sample. With each device left "
        f"out of the fit in turn the median errors are {', '.join(parts)} (`roofline calibrate --scores`)."
    )


def _nothing(checked: Checked, backends: Sequence[str]) -> str:
    if checked.rows:
        there = ", ".join(sorted({row.backend for row in checked.rows}))
        return f"--backend: expected one with checked rows ({there}), found none of {', '.join(backends)}"
    reason = f"; the first: {checked.skipped[0].reason}" if checked.skipped else ""
    return f"expected rows that can be predicted, found none, {len(checked.skipped)} skipped{reason}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
