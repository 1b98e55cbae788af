"""Curves over depth, batch and threads, and quantisations as points: their numbers are the predictions' own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from roofline import api, columns
from roofline.charts.curve import Curves, Line, Series
from roofline.charts.curves import batch_curves, depth_curves
from roofline.charts.lineups import cache_name, choices
from roofline.charts.quant import COLUMNS, QuantPoints
from roofline.charts.quants import quant_points
from roofline.charts.thread_curves import thread_curves
from roofline.cli.app import app
from roofline.document.pictures import curves_picture, quants_picture
from roofline.placement import Placement
from roofline.plot import curves as plot_curves
from roofline.plot import quants as plot_quants
from roofline.prediction import Phase
from roofline.spec import SpecError
from roofline.threads import curve as thread_curve

FIGURES = ("tok_s", "low_tok_s", "high_tok_s", "ceiling_tok_s", "seconds")
#: A GPU, a chip with one memory, a CPU; dense, windows, experts, state spaces.
CASES = [
    ("rtx-3090", "llama-3.1-8b", "q4_k_m"),
    ("m2-max-38", "gemma-3-12b", "q4_0"),
    ("ryzen-7950x", "qwen3-30b-a3b", "q4_k_m"),
    ("m3-ultra-80", "nemotron-3-super-120b-a12b", "q3_k_m"),
]


def only(chart: Curves) -> Series:
    (series,) = chart.series
    return series


def same(line: Line, at: int, phase: Phase | None) -> None:
    """A point of a line is what a prediction of it alone says."""
    assert phase is not None
    for name in FIGURES:
        assert getattr(line, name)[at] == pytest.approx(float(getattr(phase, name)), rel=1e-12), name
    assert line.bound[at] == str(phase.bound)


def encloses(line: Line) -> None:
    low, expected, high, light = (np.array(getattr(line, name)) for name in FIGURES[1::-1] + FIGURES[2:4])
    assert np.all(low > 0) and np.all(low < expected) and np.all(expected <= high)
    assert np.all(high <= np.maximum(light, expected) * (1 + 1e-12))


@pytest.mark.parametrize(("hw", "model", "quant"), CASES)
def test_a_depth_curve_is_made_of_predictions(hw: str, model: str, quant: str) -> None:
    chart = depth_curves([hw], model, [quant], prompt=256, gen=64, depth=1000, with_measured=False)
    for key, prompt, gen in (("decode", 0, 64), ("prefill", 256, 0)):
        line = only(chart).lines[key]
        assert 1000.0 in line.x and line.x[0] == 0.0
        assert list(line.x) == sorted(set(line.x))
        for at in range(0, len(line.x), 5):
            one = api.predict(hw, model, quant, depth=line.x[at], prompt=prompt, gen=gen)
            assert one.memory.fits
            same(line, at, getattr(one, key))
        encloses(line)
        # More positions to attend to never make a token faster.
        assert all(later <= earlier * (1 + 1e-9) for earlier, later in zip(line.tok_s, line.tok_s[1:], strict=False))


def test_a_depth_curve_ends_where_memory_does() -> None:
    chart = depth_curves(["rpi5"], "llama-3.1-8b", ["q4_0"], with_measured=False)
    line = only(chart).lines["decode"]
    assert line.ends == line.x[-1]
    fits = [
        api.predict("rpi5", "llama-3.1-8b", "q4_0", prompt=0, depth=line.ends + more).memory.fits for more in (0, 1)
    ]
    assert fits == [True, False]
    (note,) = chart.notes
    shallower = min(each.ends or math.inf for each in only(chart).lines.values())
    assert f"{shallower:,.0f}" in note and "Raspberry Pi 5" in note
    drawn = plot_curves.figure(chart)
    (mark,) = [
        trace
        for trace in drawn["data"]
        if trace.get("marker", {}).get("symbol") == "x" and trace["yaxis"] == "y" and trace["x"] != [None]
    ]
    assert (mark["x"], mark["y"]) == ([line.x[-1]], [line.tok_s[-1]])


def test_with_a_disk_it_goes_on() -> None:
    chart = depth_curves(["rpi5"], "llama-3.1-70b", ["q4_0"], disk="1GB/s", to=4096, with_measured=False)
    line = only(chart).lines["decode"]
    assert line.ends is None and line.x[-1] == 4096
    same(line, -1, api.predict("rpi5", "llama-3.1-70b", "q4_0", prompt=0, depth=4096, disk="1GB/s").decode)
    assert set(line.bound) == {"disk"}


@pytest.mark.parametrize(
    ("hw", "model", "quant", "words"),
    [
        ("rtx-3060+rpi5", "llama-3.1-8b", "q8_0", {}),
        ("rtx-3090+n150", "qwen3-32b", "q8_0", {}),
        ("rtx-3060+rpi5", "llama-3.1-8b", "q8_0", {"gpu_layers": 20}),
        ("m5-pro-20", "qwen2.5-1.5b", "q4_k_m", {"disk": "3GB/s", "batch": 32, "backend": "cpu"}),
    ],
)
def test_the_end_is_the_last_depth_that_runs(hw: str, model: str, quant: str, words: dict[str, Any]) -> None:
    chart = depth_curves([hw], model, [quant], gen=0, with_measured=False, **words)
    line = only(chart).lines["prefill"]
    assert line.ends is not None and line.x[-1] == line.ends
    held, beyond = (api.predict(hw, model, quant, gen=0, depth=line.ends + more, **words) for more in (0, 1))
    assert held.runs and not beyond.runs
    same(line, -1, held.prefill)
    assert f"up to {line.ends:,.0f} tokens" in chart.notes[0]


@pytest.mark.parametrize("words", [{}, {"overrides": ("blk.0.ffn_up",)}, {"disk": "2GB/s"}])
@pytest.mark.parametrize("hw", ["rtx-3090+ryzen-7950x", "rtx-3090+rtx-3060+ryzen-7950x"])
def test_layers_are_placed_anew_for_every_batch(hw: str, words: dict[str, Any]) -> None:
    chart = batch_curves([hw], "qwen3-32b", ["q4_k_m"], depth=2000, to=64, with_measured=False, **words)
    line, layers = only(chart).lines["decode"], set()
    for at in range(0, len(line.x), 6):
        one = api.predict(hw, "qwen3-32b", "q4_k_m", depth=2000, batch=line.x[at], **words)
        assert one.placement is not None
        layers.add(one.placement.gpu_layers)
        same(line, at, one.decode)
    assert len(layers) > 2
    assert not line.marks and "which has a knee" in chart.notes[-1]
    kept = batch_curves([hw], "qwen3-32b", ["q4_k_m"], depth=2000, to=32, gpu_layers=30, with_measured=False)
    (mark,) = only(kept).lines["decode"].marks
    alone, there = (
        api.predict(hw, "qwen3-32b", "q4_k_m", depth=2000, batch=batch, gpu_layers=30).decode for batch in (1, mark.x)
    )
    assert alone is not None and there is not None
    assert float(there.tok_s) / mark.x >= float(alone.tok_s) / 2


def test_a_reserved_context_bounds_the_depth_and_the_memory() -> None:
    line = only(depth_curves(["rpi5"], "llama-3.1-8b", ["q4_0"], ctx=8192, gen=128, with_measured=False)).lines[
        "decode"
    ]
    assert line.ends is None and line.x[-1] == 8192 - 512
    with pytest.raises(SpecError, match="does not fit"):
        depth_curves(["rpi5"], "llama-3.1-8b", ["q4_0"], ctx=65536, with_measured=False)


@pytest.mark.parametrize("model", ["llama-3.1-70b", "qwen3-235b-a22b"])
def test_layers_are_placed_anew_at_every_depth(model: str) -> None:
    hw = "rtx-3090+ryzen-7950x"
    chart = depth_curves([hw], model, ["q3_k_m"], to=32768, with_measured=False)
    line, layers = only(chart).lines["decode"], set()
    for at in (0, len(line.x) // 3, len(line.x) - 1):
        one = api.predict(hw, model, "q3_k_m", prompt=0, depth=line.x[at])
        same(line, at, one.decode)
        assert isinstance(one.placement, Placement)
        layers.add(one.placement.gpu_layers)
    assert len(layers) > 1
    assert f"{max(layers)} to {min(layers)} of {one.model.layers + 1}" in chart.notes[-1]
    kept = only(depth_curves([hw], model, ["q3_k_m"], to=32768, gpu_layers=10, with_measured=False)).lines["decode"]
    same(kept, -1, api.predict(hw, model, "q3_k_m", prompt=0, depth=32768, gpu_layers=10).decode)


@pytest.mark.parametrize(("hw", "model", "quant"), [*CASES[:3], ("rtx-3090+ryzen-7950x", "llama-3.1-70b", "q4_k_m")])
def test_a_batch_curve_is_made_of_predictions(hw: str, model: str, quant: str) -> None:
    chart = batch_curves([hw], model, [quant], to=64, with_measured=False)
    line, each = only(chart).lines["decode"], only(chart).lines["user"]
    assert set(line.x) >= {x for x in (1, 2, 3, 4, 8, 16, 32, 64) if x <= line.x[-1]}
    for at in (0, 1, len(line.x) // 2, len(line.x) - 1):
        same(line, at, api.predict(hw, model, quant, batch=line.x[at]).decode)
        assert each.tok_s[at] * line.x[at] == pytest.approx(line.tok_s[at])
    encloses(line)
    encloses(each)
    assert line.tok_s[-1] > line.tok_s[0] and each.tok_s[-1] < each.tok_s[0]


def test_the_knee_and_the_end_of_memory_are_marked() -> None:
    from roofline.serving.users import serve

    chart = batch_curves(["rtx-4090"], "llama-3.1-8b", ["q4_k_m"], with_measured=False)
    line, served = only(chart).lines["decode"], serve("rtx-4090", "llama-3.1-8b", "q4_k_m")
    (knee,) = line.marks
    assert (knee.text, knee.x) == ("knee", served.knee.users)
    assert knee.tok_s == line.tok_s[line.x.index(knee.x)]
    assert line.ends == served.in_memory
    last = next(row for row in chart.rows() if row["batch"] == line.ends)
    assert last["mark"] == "last that fits" and last["user_tok_s"] == pytest.approx(last["tok_s"] / line.ends)


def test_a_thread_curve_is_that_of_threads() -> None:
    chart = thread_curves(["ryzen-7950x"], "llama-3.1-8b", ["q4_k_m"], prompt=256, with_measured=False)
    result = thread_curve("ryzen-7950x", "llama-3.1-8b", "q4_k_m", prompt="256")
    for key in ("decode", "prefill"):
        line = only(chart).lines[key]
        assert list(line.x) == [point.threads for point in result.points]
        for at, point in enumerate(result.points):
            same(line, at, getattr(point, key))
        best = getattr(result, key)
        (mark,) = line.marks
        assert mark.x == best.threads and mark.text.endswith(f" {best.threads}")
    assert {row["core"] for row in chart.rows()} == {"P", "SMT"}
    assert "core" in chart.columns


@pytest.mark.parametrize("hw", ["rtx-3090", "rtx-3090+ryzen-7950x"])
def test_threads_need_a_cpu(hw: str) -> None:
    with pytest.raises(SpecError, match=r"^--hw: expected (a|one) device") as caught:
        thread_curves([hw], "llama-3.1-8b", ["q4_k_m"])
    assert "\n" not in str(caught.value)
    mixed = thread_curves([hw, "rpi5"], "llama-3.1-8b", ["q4_0"], with_measured=False)
    assert [series.name for series in mixed.series] == ["rpi5"] and mixed.notes[0].startswith(f"{hw}: ")


def test_series_are_devices_quants_and_caches() -> None:
    chart = depth_curves(
        ["rtx-3090", "rpi5"], "llama-3.1-8b", ["q4_0", "f16"], ["f16", "q8_0/q4_0"], to=2048, with_measured=False
    )
    # f16 needs 16 GB: none of it on an 8 GB board, and it says so.
    assert [series.name for series in chart.series] == [
        "rtx-3090 · q4_0 · f16 cache", "rtx-3090 · q4_0 · q8_0/q4_0 cache", "rtx-3090 · f16 · f16 cache",
        "rtx-3090 · f16 · q8_0/q4_0 cache", "rpi5 · q4_0 · f16 cache", "rpi5 · q4_0 · q8_0/q4_0 cache",
    ]  # fmt: skip
    assert [note for note in chart.notes if "memory cannot hold it" in note] == [
        "rpi5 · f16 · f16 cache, rpi5 · f16 · q8_0/q4_0 cache: memory cannot hold it."
    ]
    apart = chart.series[1].lines["decode"]
    one = api.predict("rtx-3090", "llama-3.1-8b", "q4_0", prompt=0, depth=apart.x[-1], kv="q8_0,q4_0")
    same(apart, -1, one.decode)
    assert cache_name("q8_0,q8_0") == "q8_0"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"hw": ["nonsense"]}, "nonsense"),
        ({"quants": ["q4_0", "q99"]}, "q99"),
        ({"kvs": ["q3_k"]}, "kv"),
        ({"prompt": 0, "gen": 0}, "--prompt, --gen"),
        ({"ctx": 100}, "--ctx"),
        ({"to": 0}, "--to"),
        ({"to": 2**30}, "--to"),
        ({"hw": [f"rtx-3090x{n}" for n in range(2, 9)], "quants": ["q4_0", "q8_0"]}, "1 to 12"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_a_line(words: dict[str, Any], said: str) -> None:
    asked: dict[str, Any] = {"hw": ["rtx-3090"], "quants": ["q4_0"], "with_measured": False} | words
    with pytest.raises(SpecError, match=said) as caught:
        depth_curves(asked.pop("hw"), "llama-3.1-8b", asked.pop("quants"), **asked)
    assert "\n" not in str(caught.value)


def test_a_batch_needs_tokens_and_two_sequences() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [({"gen": 0}, "--gen"), ({"to": 1}, "--to"), ({"to": 10**6}, "--to")]
    for words, said in wrong:
        with pytest.raises(SpecError, match=said):
            batch_curves(["rtx-3090"], "llama-3.1-8b", ["q4_0"], **words)


def test_measurements_stand_where_all_else_agrees() -> None:
    from roofline.bench import shipped

    chart = depth_curves(["rtx-4080"], "llama-3.1-8b", ["q4_0"])
    dots = [dot for line in only(chart).lines.values() for dot in line.dots]
    observations = {seen.id: seen for seen in shipped().observations}
    for dot in dots:
        seen = observations[dot.id]
        assert (seen.hardware, seen.model, seen.quant, seen.batch or 1) == ("rtx-4080", "llama-3.1-8b", "q4_0", 1)
        assert (dot.x, dot.tok_s, dot.std) == (seen.depth or 0, seen.tok_s, seen.std)
    assert dots
    rows = [row for row in chart.rows() if row.get("id")]
    assert sorted(row["id"] for row in rows) == sorted(dot.id for dot in dots)
    quantised = depth_curves(["rtx-4080"], "llama-3.1-8b", ["q4_0"], ["q8_0"])
    assert not any(line.dots for line in only(quantised).lines.values())  # measured with caches of f16


def test_a_published_curve_lies_along_the_predicted_one() -> None:
    """ikawrakow/ik_llama.cpp discussion 562: an RTX 4080 under Vulkan, 256 tokens from 1024, 3072, … on."""
    chart = depth_curves(
        ["rtx-4080"], "llama-3.1-8b", ["q4_0"], backend="vulkan", prompt=1024, gen=256, to=10000,
        runtime="llama.cpp-2025",
    )  # fmt: skip
    line = only(chart).lines["decode"]
    assert [(dot.x, dot.tok_s, dot.other_engine) for dot in line.dots] == [
        (1024, 91.16, False), (3072, 96.36, False), (5120, 94.67, False), (9216, 80.1, False),
    ]  # fmt: skip
    drawn = [trace for trace in plot_curves.figure(chart)["data"] if trace["name"] == "expected: measured"]
    assert drawn[0]["x"] == [dot.x for dot in line.dots] and drawn[0]["y"] == [dot.tok_s for dot in line.dots]


def seen(**words: Any) -> Any:
    """A measured decode of 128 tokens on a Raspberry Pi 5, changed by words."""
    from roofline.bench import Observation
    from roofline.charts.measured import Measured

    stated: dict[str, Any] = {"prompt": None, "gen": 128, "depth": 0, "batch": 1, "threads": 4} | words
    phase = stated.pop("phase", "decode")
    row = Observation("a", "rpi5", "llama-3.1-8b", "q4_0", "tg", 2.0)
    return Measured("a", phase, 2.0, None, quant="q4_0", runtime="llama.cpp", source="", url="", tier="", is_own=False,
                    observation=row, **stated)  # fmt: skip


@pytest.mark.parametrize(
    ("axis", "words", "right"),
    [
        ("depth", {}, True),
        ("depth", {"depth": 9000}, True),  # its place is along the axis
        ("depth", {"gen": 4000}, False),  # 2000 tokens on average, for 64
        ("depth", {"batch": 8}, False),
        ("depth", {"threads": 2}, False),
        ("depth", {"threads": None, "batch": None, "depth": None}, True),  # llama-bench's defaults
        ("threads", {"threads": 2}, True),
        ("threads", {"threads": 2, "depth": 9000}, False),
        ("batch", {"batch": 8}, True),
        ("batch", {"batch": 8, "depth": 2000}, False),
        ("depth", {"phase": "prefill", "prompt": 600, "gen": None}, True),  # within a quarter of 512
        ("depth", {"phase": "prefill", "prompt": 1024, "gen": None}, False),
    ],
)
def test_the_rule_by_which_a_measurement_agrees(axis: str, words: dict[str, Any], right: bool) -> None:
    from roofline.charts.observed import agrees

    prompt = 512 if words.get("phase") == "prefill" else 0
    one = api.predict("rpi5", "llama-3.1-8b", "q4_0", prompt=prompt, gen=0 if prompt else 128)
    assert agrees(seen(**words), one, axis) is right


# -- figures ----------------------------------------------------------------------------------------------------------


def all_charts() -> list[Curves]:
    return [
        depth_curves(["rtx-3090", "m2-max-38"], "llama-3.1-8b", ["q4_k_m"], ["f16", "q8_0"], depth=4096),
        depth_curves(["rpi5"], "llama-3.1-8b", ["q4_0"], prompt=0),
        batch_curves(["rtx-4090", "rpi5"], "llama-3.1-8b", ["q4_k_m"]),
        thread_curves(["ryzen-7950x"], "llama-3.1-8b", ["q4_k_m"]),
        thread_curves(["rpi5"], "llama-3.1-8b", ["q4_0"], counts="4"),
    ]


def test_figures_are_valid_and_hold_the_numbers() -> None:
    graph_objects = pytest.importorskip("plotly.graph_objects")
    for chart in all_charts():
        drawn = plot_curves.figure(chart)
        graph_objects.Figure(drawn)
        for number, panel in enumerate(chart.panels, 1):
            own = [trace for trace in drawn["data"] if trace["yaxis"] == ("y" if number == 1 else f"y{number}")]
            for series in chart.series:
                line = series.lines[panel.key]
                traces = {trace["name"]: trace for trace in own}
                assert traces[series.name]["x"] == list(line.x) and traces[series.name]["y"] == list(line.tok_s)
                if len(line.x) > 1:
                    band = traces[f"{series.name}: band"]["y"]
                    assert band == [*line.high_tok_s, *reversed(line.low_tok_s)]
                assert traces[f"{series.name}: speed of light"]["y"] == list(line.ceiling_tok_s)
        assert set(chart.columns) <= set(columns.COLUMNS)
        expected = [row for row in chart.rows() if "tok_s" in row]
        assert len(expected) == sum(
            len(s.lines[p.key].x) for s in chart.series for p in chart.panels if p.key != "user"
        )


def test_hostile_names_are_text() -> None:
    """A model that a user's file calls <script> shows as it is written."""
    chart = depth_curves(["rpi5"], "llama-3.1-8b", ["q4_0"], to=512, with_measured=False)
    evil = "<script>alert(1)</script>%{x}"
    hostile = Curves(
        chart.axis, chart.title, evil, chart.x_title, chart.x_range, chart.panels,
        tuple(Series(evil, s.hardware, evil, s.quant, s.kv, s.place, s.lines) for s in chart.series), (evil,),
    )  # fmt: skip
    text = str(plot_curves.figure(hostile))
    assert "<script>" not in text and "&lt;script&gt;" in text
    assert "hovertemplate" not in text
    assert curves_picture(hostile).numbers.rows[0]["model"] == evil  # the writer of a document escapes


# -- quantisations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hw", "model"), [("rpi5", "mistral-7b"), ("rtx-3090", "qwen3-30b-a3b")])
def test_quantisations_are_predictions(hw: str, model: str) -> None:
    chart = quant_points([hw], model, with_measured=False)
    assert len(chart.points) > 20
    for point in chart.points[::4]:
        one = api.predict(hw, model, point.quant)
        assert point.fits == one.memory.fits
        assert point.bits == one.weights.bits_per_weight and point.file_bytes == one.weights.file_bytes
        for phase, speed in ((one.decode, point.decode), (one.prefill, point.prefill)):
            assert phase is not None and (speed is not None) == point.fits
            if speed:
                for name in FIGURES[:4]:
                    assert getattr(speed, name) == pytest.approx(float(getattr(phase, name)), rel=1e-12)
                assert speed.bound == str(phase.bound)
    if any(not point.fits for point in chart.points):
        assert any("does not fit" in note for note in chart.notes)


def test_quantisations_of_a_pair_are_predicted_one_by_one() -> None:
    chart = quant_points(["rtx-3090+ryzen-7950x"], "llama-3.1-70b", ["q4_k_m", "q3_k_m"], with_measured=False)
    for point in chart.points:
        one = api.predict("rtx-3090+ryzen-7950x", "llama-3.1-70b", point.quant)
        assert one.decode is not None and point.decode is not None
        assert point.decode.tok_s == pytest.approx(float(one.decode.tok_s))


def test_more_devices_than_can_be_told_apart_are_refused() -> None:
    with pytest.raises(SpecError, match="--hw: expected 1 to 12 devices, found 13"):
        quant_points(api.list_hardware()[:13], "mistral-7b", ["q4_0"])


def test_what_cannot_be_run_is_told() -> None:
    chart = quant_points(["rpi5"], "mistral-7b", with_measured=False)
    assert any("cannot read iq6_k" in note for note in chart.notes)  # of ik_llama.cpp alone
    assert any("beyond the quality axis" not in note for note in chart.notes)
    with pytest.raises(SpecError, match="room"):
        quant_points(["rpi5"], "llama-3.1-70b", ["q8_0"])
    with pytest.raises(SpecError, match="q99"):
        quant_points(["rpi5"], "llama-3.1-8b", ["q99"])


def test_the_figure_of_quantisations() -> None:
    graph_objects = pytest.importorskip("plotly.graph_objects")
    for phase in ("decode", "prefill"):
        chart: QuantPoints = quant_points(["rtx-3090", "m2-ultra-76"], "mistral-7b", phase=phase)
        drawn = plot_quants.figure(chart)
        graph_objects.Figure(drawn)
        for quality, axis in ((False, "y"), (True, "y2")):
            for device in chart.devices:
                points = [point for point in chart.drawn(quality) if point.hardware == device]
                (trace,) = [t for t in drawn["data"] if t["name"] == device and t["yaxis"] == axis]
                assert trace["x"] == [point.snr_db if quality else point.bits for point in points]
                assert trace["y"] == [getattr(point, phase).tok_s for point in points]
        assert set(COLUMNS) <= set(columns.COLUMNS)
        assert len([row for row in chart.rows() if "fits" in row]) == len(chart.points)
    one = quant_points(["rpi5"], "mistral-7b", ["iq4_xs"], with_measured=False)
    graph_objects.Figure(plot_quants.figure(one))
    assert len(quants_picture(one).numbers.rows) == 1


def test_names_of_quantisations_do_not_cover_each_other() -> None:
    chart = quant_points(["rtx-3090"], "mistral-7b", with_measured=False)
    assert 4 <= len(chart.named(False)) < len(chart.points)
    assert (0, "q4_k_m") in chart.named(False)


# -- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        "depth --hw rtx-3090,m2-max-38 --model llama-3.1-8b --quant q4_k_m --kv f16,q8_0/q4_0",
        "batch --hw rtx-4090 --model llama-3.1-8b --quant q4_k_m,q8_0 --to 64",
        "threads --hw rpi5 --model llama-3.1-8b --quant q4_0 --threads 1,2,4",
        "quant --hw rpi5 --model mistral-7b --phase prefill",
        "token --hw rpi5,rtx-3090+ryzen-7950x --model mistral-7b --quant q4_0",
    ],
)
def test_commands_write_charts(words: str, tmp_path: Path) -> None:
    out = tmp_path / "chart.json"
    done = CliRunner().invoke(app, ["plot", *words.split(), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert '"data"' in out.read_text(encoding="utf-8")
    table = tmp_path / "chart.csv"
    assert CliRunner().invoke(app, ["plot", *words.split(), "--out", str(table)]).exit_code == 0
    assert table.read_text(encoding="utf-8").startswith("hardware,model,quant")


def test_choices_are_named_by_what_differs() -> None:
    assert [one.name for one in choices(["rpi5"], ["q4_0"], ["f16"])] == [""]
    assert [one.name for one in choices(["rpi5", "rpi4"], ["q4_0"], ["f16"])] == ["rpi5", "rpi4"]
