"""Speed against depth and batch: the expected one with its band, the speed of light, and what was measured.

The points of a curve are those that `roofline predict` gives one by one; a call with an array makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from roofline import api
from roofline.charts import observed
from roofline.charts.curve import Curves, Line, Mark, Panel, Series
from roofline.charts.lineups import (
    Choice,
    NoRoomError,
    choices,
    described,
    device_name,
    hardware_id,
    model_id,
    worked_out,
)
from roofline.charts.sampling import Ask, Banded, Samples, sample
from roofline.charts.steps import batches, depth_ticks, depths, octaves
from roofline.inverse import LONGEST
from roofline.points import assignments, numbers, one_number
from roofline.prediction import Prediction
from roofline.reasons import memory_words
from roofline.serving.knee import MOST_USERS, knee
from roofline.spec import SpecError

MOST_BATCH = 256

DECODE, PREFILL = Panel("decode", "decode [tok/s]", "decode"), Panel("prefill", "prefill [tok/s]", "prefill")
_TOGETHER = Panel("decode", "decode, all users [tok/s]", "decode", log=True)
_USER = Panel("user", "decode, each user [tok/s]", "decode")
FIGURES = ("tok_s", "low_tok_s", "high_tok_s", "ceiling_tok_s")


def depth_curves(
    hw: Sequence[str],
    model: str,
    quants: Sequence[str | None],
    kvs: Sequence[str] = ("f16",),
    *,
    prompt: str | int = "512",
    gen: str | int = "128",
    depth: str | int = "0",
    batch: str | int = "1",
    ctx: str | int | None = None,
    to: str | int | None = None,
    figures: Sequence[str] = (),
    with_measured: bool = True,
    **settings: Any,
) -> Curves:
    """Speed of both phases against the tokens that are in the KV cache already, as llama-bench measures it with -d.

    At depth d a decode point is `gen` tokens generated after d (llama-bench -p 0 -n gen -d d), the mean over them; a
    prefill point is a prompt of `prompt` tokens after d (-p prompt -n 0 -d d). A phase of 0 tokens is left out. The
    axis goes from 0 to the model's longest context, or `to`; with ctx memory is reserved for so many positions at
    every depth. A curve ends where memory does, unless settings has a disk. A device with its host holds as many
    layers as fit at each depth, as a run of that length would be set up; a note says how many, and gpu_layers keeps
    them the same. depth: depths that are among the points. kvs: 'q8_0', or 'q8_0/q4_0' for K and V apart. figures,
    settings: as of points.points.
    """
    p, g, b = (one_number(name, str(text)) for name, text in (("prompt", prompt), ("gen", gen), ("batch", batch)))
    asked = numbers("depth", str(depth))
    reserved = None if ctx is None else one_number("ctx", str(ctx))
    panels = tuple(panel for panel, tokens in ((DECODE, g), (PREFILL, p)) if tokens)
    if not panels:
        raise SpecError("--prompt, --gen: expected tokens of one of them at least, found none")
    limit = (reserved or api.load_shape(model).spec.max_context or LONGEST) - max(p, g)
    if limit < 1:
        raise SpecError(f"--ctx: expected more than the {max(p, g)} tokens asked for, found {limit + max(p, g)}")
    last = limit if to is None else one_number("to", str(to))
    if not 1 <= last <= LONGEST:
        raise SpecError(f"--to: expected a depth from 1 to {LONGEST}, found {last}")
    most = max([last, *([] if reserved else asked)])
    end = most + max(p, g) if most == limit else most
    xs = depths(most, [each for each in asked if each <= most])
    shared = {"context": reserved, "set": assignments(figures), **settings}

    def series(choice: Choice) -> tuple[Series, Prediction, list[str]]:
        found: dict[str, tuple[Samples, Ask]] = {}
        for panel in panels:
            tokens = {"prompt": 0, "gen": g} if panel.phase == "decode" else {"prompt": p, "gen": 0}
            ask = _asking(choice, model, "depth", shared | {**tokens, "batch": b})
            placed = settings.get("gpu_layers") is not None
            phase: Banded = "decode" if panel is DECODE else "prefill"
            found[panel.key] = sample(ask, "depth", xs, phase, placed), ask
        return _series(choice, found, "depth", with_measured)

    return assembled(
        "depth",
        "Speed against depth",
        choices(hw, quants, kvs),
        series,
        panels,
        workload=" · ".join(
            [f"decode: {g} tokens generated at the depth"] * bool(g) + [f"prefill: {p} tokens at the depth"] * bool(p)
            + [f"batch {b}"] * (b > 1)
        ),
        x_title="depth: tokens in the KV cache",
        x_range=(0.0, float(end)),
        x_ticks=depth_ticks(end),
        asked=float(asked[0]) if len(asked) == 1 and asked[0] else None,
    )  # fmt: skip


def batch_curves(
    hw: Sequence[str],
    model: str,
    quants: Sequence[str | None],
    kvs: Sequence[str] = ("f16",),
    *,
    prompt: str | int = "512",
    gen: str | int = "128",
    depth: str | int = "0",
    batch: str | int = "1",
    ctx: str | int | None = None,
    to: str | int = MOST_BATCH,
    figures: Sequence[str] = (),
    with_measured: bool = True,
    **settings: Any,
) -> Curves:
    """Decode speed against the sequences that are generated at a time, of all together and of each.

    Each sequence has its own `prompt` and `depth` in the cache when its `gen` tokens begin, as in `roofline users` and
    llama-batched-bench. The knee is serving.knee's: each user keeps half of a lone one's speed; where layers are placed
    for each batch there is none. A curve ends where memory does, unless settings has a disk. batch: batches that are
    among the points.
    """
    p, g, d = (one_number(name, str(text)) for name, text in (("prompt", prompt), ("gen", gen), ("depth", depth)))
    asked = numbers("batch", str(batch))
    if not g:
        raise SpecError("--gen: expected at least 1 token to generate in a batch, found 0")
    last = one_number("to", str(to))
    most = max(last, *asked)
    if last < 2 or most > MOST_USERS:
        raise SpecError(
            f"--to, --batch: expected up to {MOST_USERS} sequences, two at least, found {last if last < 2 else most}"
        )
    every, shown = np.arange(1.0, most + 1), batches(most, asked)
    context = None if ctx is None else one_number("ctx", str(ctx))
    shared = {"context": context, "set": assignments(figures), **settings, "prompt": p, "gen": g, "depth": d}

    def series(choice: Choice) -> tuple[Series, Prediction, list[str]]:
        ask = _asking(choice, model, "batch", shared)
        samples = sample(ask, "batch", every, "decode", settings.get("gpu_layers") is not None)
        keep = np.isin(samples.x, shown)
        marks: dict[str, list[Mark]] = {"decode": [], "user": []}
        if samples.x.size:
            bend = knee(np.asarray(samples.seconds))
            keep |= np.isin(samples.x, (samples.ends or 0.0, bend.users))
            # With other layers at each batch there is no one server to have a knee.
            if not bend.more and len(set(samples.layers)) < 2:
                at = int(np.searchsorted(samples.x, bend.users))
                marks["decode"] = [Mark(float(bend.users), float(samples.tok_s[at]), "knee")]
                marks["user"] = [Mark(float(bend.users), float(samples.tok_s[at] / bend.users), "knee")]
        columns = {name: getattr(samples, name)[keep] for name in ("x", *FIGURES, "seconds", "bound")}
        one, first, notes = _series(choice, {"decode": (replace(samples, **columns), ask)}, "batch", with_measured)
        together = one.lines.get("decode")
        if together is None:
            return one, first, notes
        lines = {
            "decode": replace(together, marks=tuple(marks["decode"])),
            "user": replace(_each(together), marks=tuple(marks["user"])),
        }
        return replace(one, lines=lines), first, notes

    return assembled(
        "batch",
        "Speed against batch",
        choices(hw, quants, kvs),
        series,
        (_TOGETHER, _USER),
        workload=f"each user: {p + d} tokens in the cache, then {g} generated",
        x_title="batch: sequences generated at a time",
        x_range=(1.0, float(most)),
        x_log=True,
        x_ticks=tuple((float(each), str(each)) for each in octaves(most)),
        asked=float(asked[0]) if len(asked) == 1 and asked[0] > 1 else None,
    )


def _asking(choice: Choice, model: str, axis: str, shared: Mapping[str, Any]) -> Ask:
    """What makes the prediction of a series at an x, or at an array of them."""

    def ask(x: Any, gpu_layers: int | None = None) -> Prediction:
        words = {**shared, axis: x} | ({} if gpu_layers is None else {"gpu_layers": gpu_layers})
        return api.predict(choice.hw, model, choice.quant, kv=choice.kv.replace("/", ","), **words)

    return ask


def _series(
    choice: Choice, found: Mapping[str, tuple[Samples, Ask]], axis: str, with_measured: bool
) -> tuple[Series, Prediction, list[str]]:
    """A series of the phases that run somewhere, a prediction of it, and what there is to say about it."""
    lines, notes = {}, []
    for key, (samples, ask) in found.items():
        first = samples.one
        if not samples.x.size:
            continue
        seen = observed.dots(ask(float(samples.x[0])), axis, key) if with_measured else ()
        figures = {name: tuple(getattr(samples, name).tolist()) for name in ("x", *FIGURES, "seconds", "bound")}
        lines[key] = Line(**figures, ends=samples.ends, dots=seen)
    if not lines:
        raise NoRoomError(f"--hw: {memory_words(ask(1.0 if axis == 'batch' else 0.0).memory)}")
    ends = [line.ends for line in lines.values() if line.ends is not None]
    if ends:
        who = choice.name or device_name(first)
        notes.append(f"{who}: memory holds {_amount(axis, min(ends))}.")
    used = [number for samples, _ in found.values() for number in samples.layers]
    if used and min(used) < max(used):
        notes.append(
            f"{choice.name or choice.hw}: as many layers on the GPU as fit at each {axis}, {max(used)} to {min(used)} "
            f"of {first.model.layers + 1}; one run keeps what it starts with: --gpu-layers {min(used)}"
            f"{', which has a knee' if axis == 'batch' else ''}."
        )
    return named(choice, first, lines), first, notes


def named(choice: Choice, one: Prediction, lines: Mapping[str, Line]) -> Series:
    """A series of lines."""
    name = choice.name or "expected"
    return Series(name, hardware_id(one), model_id(one), one.weights.quant, choice.kv, choice.place, lines)


def _amount(axis: str, x: float) -> str:
    return f"a depth of up to {x:,.0f} tokens" if axis == "depth" else f"up to {x:,.0f} sequences"


def assembled(
    axis: str,
    title: str,
    asked_for: Sequence[Choice],
    make: Callable[[Choice], tuple[Series, Prediction, list[str]]],
    panels: tuple[Panel, ...],
    workload: str,
    **more: Any,
) -> Curves:
    """The chart of what `make` finds of every choice; more: the other fields of Curves."""
    found, reasons = worked_out(asked_for, make)
    subtitle = described([one for _, one, _ in found])
    notes = [note for *_, own in found for note in own]
    text = f"{subtitle}\n{workload}" if workload else subtitle
    series = tuple(_within(one, more["x_range"][1]) for one, *_ in found)
    return Curves(axis, title, text, panels=panels, series=series, notes=(*notes, *reasons), **more)


def _within(series: Series, end: float) -> Series:
    """The series without measurements beyond the end of the axis."""
    lines = {
        key: replace(line, dots=tuple(dot for dot in line.dots if dot.x <= end)) for key, line in series.lines.items()
    }
    return replace(series, lines=lines)


def _each(line: Line) -> Line:
    """Of the speeds of all sequences, that of each."""
    speeds: dict[str, Any] = {
        name: tuple(value / x for value, x in zip(getattr(line, name), line.x, strict=True)) for name in FIGURES
    }
    dots = tuple(
        replace(dot, tok_s=dot.tok_s / dot.x, std=None if dot.std is None else dot.std / dot.x) for dot in line.dots
    )
    return replace(line, **speeds, dots=dots)
