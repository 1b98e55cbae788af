"""Speed against CPU threads, at the points of roofline.threads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from roofline import threads
from roofline.charts import observed
from roofline.charts.curve import Curves, Line, Mark, Panel, Series
from roofline.charts.curves import DECODE, FIGURES, PREFILL, assembled, named
from roofline.charts.lineups import Choice, NoRoomError, choices
from roofline.prediction import Phase, Prediction
from roofline.reasons import memory_words

FEW = 8  # threads, each of which has a label


def thread_curves(
    hw: Sequence[str],
    model: str,
    quants: Sequence[str | None],
    kvs: Sequence[str] = ("f16",),
    *,
    counts: str | None = None,
    with_measured: bool = True,
    **settings: Any,
) -> Curves:
    """Speed of both phases against CPU threads, at the points of threads.curve; its best ones are marked.

    counts: '1,2,4'; without it, those that threads.curve looks at. The generation follows the prompt. settings: as of
    points.single_point.
    """
    cores: dict[float, dict[str, Any]] = {}
    panels: dict[str, Panel] = {}

    def series(choice: Choice) -> tuple[Series, Prediction, list[str]]:
        result = threads.curve(
            choice.hw, model, choice.quant, counts, kv=choice.kv.replace("/", ","), **_as_words(settings)
        )
        one, lines, best = result.prediction, {}, {"decode": result.decode, "prefill": result.prefill}
        if not one.runs:
            raise NoRoomError(f"--hw: {memory_words(one.memory)}")
        for panel in (DECODE, PREFILL):
            phases = [(point, getattr(point, panel.phase)) for point in result.points]
            if getattr(one, panel.phase) is None:
                continue
            panels[panel.key] = panel
            top = best[panel.phase]
            option = "-t" if panel is DECODE else "-tb"
            marks = () if top is None else (
                Mark(float(top.threads), float(getattr(top, panel.phase).tok_s), f"best {option} {top.threads}"),
            )  # fmt: skip
            line = _line([float(point.threads) for point, _ in phases], [phase for _, phase in phases])
            seen = observed.dots(one, "threads", panel.phase) if with_measured else ()
            lines[panel.key] = replace(line, marks=marks, dots=seen)
        if len(choices(hw, quants, kvs)) == 1:
            cores.update({float(point.threads): {"core": point.core} for point in result.points})
        return named(choice, one, lines), one, []

    made = assembled(
        "threads",
        "Speed against threads",
        choices(hw, quants, kvs),
        series,
        (DECODE, PREFILL),
        workload=_words_of(settings),
        x_title="CPU threads",
        x_range=(0.0, math.inf),
    )
    last = max(x for one in made.series for line in one.lines.values() for x in (line.x[-1], *(d.x for d in line.dots)))
    shown = tuple(panel for panel in (DECODE, PREFILL) if panel.key in panels)
    ticks = tuple((float(each), str(each)) for each in range(1, int(last) + 1)) if last <= FEW else ()
    return replace(made, x_range=(0.0, last), x_ticks=ticks, panels=shown, extra=cores)


def _line(xs: Sequence[float], phases: Sequence[Phase]) -> Line:
    """A line of points with a phase each."""
    figures: dict[str, Any] = {
        name: tuple(float(getattr(phase, name)) for phase in phases) for name in (*FIGURES, "seconds")
    }
    return Line(tuple(xs), bound=tuple(str(phase.bound) for phase in phases), **figures)


def _words_of(settings: Mapping[str, Any]) -> str:
    """The workload of a curve over threads, in words."""
    words = {"prompt": "512", "gen": "128", "depth": "0", "batch": "1"} | _as_words(settings)
    parts = [f"prompt {words['prompt']}, then {words['gen']} generated"]
    parts += [f"{name} {words[name]}" for name, usual in (("depth", "0"), ("batch", "1")) if words[name] != usual]
    return ", ".join(parts)


def _as_words(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as the command line writes them."""
    counted = ("prompt", "gen", "depth", "batch", "ctx")
    return {
        key: str(value) if key in counted and value is not None else value for key, value in settings.items()
    }  # fmt: skip
