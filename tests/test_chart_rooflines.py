"""The roofline chart: its numbers are the prediction's, its roofs the machine's, and nothing lies where it cannot."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline import api
from roofline.ceilings import Ceilings
from roofline.charts import rooflines as rooflines_of
from roofline.charts.label_sheet import Box, Drawn, Line, Sheet
from roofline.charts.marks import LARGEST, SMALLEST
from roofline.charts.measured import measured
from roofline.charts.panels import places
from roofline.charts.roofline_notes import COLUMNS
from roofline.charts.roofline_series import PHASES, Panel, Track
from roofline.charts.rooflines import Roofline, roofline, rooflines
from roofline.charts.roofs import _memories
from roofline.columns import COLUMNS as KNOWN_COLUMNS
from roofline.document.pictures import roofline_picture
from roofline.document.saving import save_chart
from roofline.hardware import PCIE_LANE
from roofline.plot.rooflines import figure
from roofline.prediction import Prediction
from roofline.spec import SpecError
from roofline.units import format_number
from tests.browser import Opener, drawn
from tests.running import runner
from tests.small import CPU, machine

CASES: dict[str, dict[str, Any]] = {
    "cpu": {"hw": "rpi5", "model": "mistral-7b", "quant": "q4_0"},
    "gpu": {"hw": "rtx-3090", "model": "llama-3.1-8b", "quant": "q4_k_m"},
    "batch": {"hw": "m2-ultra-76", "model": "mistral-7b", "quant": "f16", "batch": 3, "depth": 1000},
    "pair": {"hw": "rtx-3090+ryzen-7950x", "model": "llama-3.3-70b", "quant": "q4_k_m"},
    "experts": {"hw": "m2-max-38", "model": "qwen3-30b-a3b", "quant": "q4_k_m"},
    "state space": {"hw": "m2-max-38", "model": "qwen3.6-35b-a3b", "quant": "q4_k_m"},
    "disk": {"hw": "rpi5", "model": "llama-3.3-70b", "quant": "q4_k_m", "disk": "3GB/s"},
    "tensor split": {"hw": "rtx-3090x2", "model": "llama-3.3-70b", "quant": "q4_k_m", "split": "tensor"},
    "layer split": {"hw": "rtx-3090x2", "model": "llama-3.3-70b", "quant": "q4_k_m", "prompt": 4096},
    "unlike": {"hw": "rtx-4090+rtx-3090+ryzen-7950x", "model": "llama-3.3-70b", "quant": "q4_k_m"},
    "prefill alone": {"hw": "rpi5", "model": "mistral-7b", "quant": "q4_0", "gen": 0},
    "decode alone": {"hw": "rpi5", "model": "mistral-7b", "quant": "q4_0", "prompt": 0},
}


def predicted(name: str) -> Prediction:
    return api.predict(**CASES[name])


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Prediction, Roofline]:
    prediction = predicted(request.param)
    return prediction, roofline([prediction], with_measured=False)


def tracks(chart: Roofline) -> Iterator[tuple[Panel, Track]]:
    for panel in chart.panels:
        for series in panel.series:
            for track in series.tracks:
                yield panel, track


# -- the numbers are the prediction's ---------------------------------------------------------------------------------


def test_marks_add_up_to_their_phase(case: tuple[Prediction, Roofline]) -> None:
    prediction, chart = case
    for _, track in tracks(chart):
        phase = prediction.prefill if track.phase == "prefill" else prediction.decode
        assert phase is not None
        marks = track.asked.marks
        assert sum(mark.flops for mark in marks) == pytest.approx(float(phase.flops), rel=1e-9)
        assert sum(mark.bytes for mark in marks) == pytest.approx(float(phase.bytes), rel=1e-9)
        assert sum(mark.seconds for mark in marks) == pytest.approx(float(phase.seconds), rel=1e-9)
        assert sum(mark.share for mark in marks) == pytest.approx(1, rel=1e-9)


def test_the_whole_phase_is_the_predictions(case: tuple[Prediction, Roofline]) -> None:
    prediction, chart = case
    for _, track in tracks(chart):
        phase = prediction.prefill if track.phase == "prefill" else prediction.decode
        assert phase is not None
        whole = track.asked.whole
        assert (whole.tok_s, whole.low_tok_s, whole.high_tok_s, whole.ceiling_tok_s) == pytest.approx(
            (float(phase.tok_s), float(phase.low_tok_s), float(phase.high_tok_s), float(phase.ceiling_tok_s))
        )
        assert whole.intensity == pytest.approx(float(phase.intensity))
        assert whole.bound == phase.bound
        # A token is worth the same operations at every speed.
        assert whole.high_flop_s / whole.flop_s == pytest.approx(whole.high_tok_s / whole.tok_s)
        assert whole.light_flop_s / whole.flop_s == pytest.approx(whole.ceiling_tok_s / whole.tok_s)


def test_phases_without_tokens_have_no_track() -> None:
    assert [track.phase for _, track in tracks(roofline([predicted("prefill alone")]))] == ["prefill"]
    assert [track.phase for _, track in tracks(roofline([predicted("decode alone")]))] == ["decode"]


@pytest.mark.parametrize("name", ["cpu", "gpu", "pair", "disk", "tensor split", "state space"])
def test_a_stop_is_what_is_predicted_there(name: str) -> None:
    chart = roofline([predicted(name)], with_measured=False)
    words = CASES[name]
    layers = None
    if name == "pair":  # the stops keep the layers where the asked workload has them
        placement = predicted(name).placement
        layers = placement.gpu_layers if placement else None
    for _, track in tracks(chart):
        moved = track.stops[-2]
        place = {"prompt" if track.phase == "prefill" else "batch": moved.value}
        there = api.predict(**{**words, **place, "gpu_layers": layers})
        phase = there.prefill if track.phase == "prefill" else there.decode
        assert phase is not None
        assert moved.whole.tok_s == pytest.approx(float(phase.tok_s), rel=1e-9)
        assert sum(mark.seconds for mark in moved.marks) == pytest.approx(float(phase.seconds), rel=1e-9)
        assert moved.runs == there.runs


def test_groups_hold_the_operators_of_their_names() -> None:
    prediction = predicted("state space")
    phase = prediction.decode
    assert phase is not None
    (panel,) = roofline([prediction]).panels
    (track,) = (track for track in panel.series[0].tracks if track.phase == "decode")
    found = {mark.group: mark.flops for mark in track.asked.marks}
    own = {cost.operator: 0.0 for cost in phase.operators}
    for cost in phase.operators:
        own[cost.operator] += float(cost.flops)
    assert found["output head"] == pytest.approx(own[prediction.model.head.role])
    assert found["shared experts"] == pytest.approx(sum(own[name] for name in own if name.endswith("_shexp")))
    assert {"recurrence", "experts", "attention projections", "attention over the cache", "others"} <= set(found)
    assert "feed-forward" not in found  # all its networks are experts


def test_size_is_the_root_of_the_share(case: tuple[Prediction, Roofline]) -> None:
    for _, track in tracks(case[1]):
        for mark in track.asked.marks:
            assert mark.size == pytest.approx(max(LARGEST * math.sqrt(mark.share), SMALLEST))


# -- roofs ------------------------------------------------------------------------------------------------------------


def test_roofs_are_the_machines_figures() -> None:
    prediction = predicted("cpu")
    machine = prediction.machine
    (panel,) = roofline([prediction]).panels
    memory = {roof.standing: roof.value for roof in panel.roofs if roof.is_main}
    assert memory == {"theoretical": machine.theoretical_bandwidth, "sustained": machine.sustained_bandwidth}
    peaks = {roof.name: roof.value for roof in panel.roofs if roof.kind == "compute" and roof.standing == "theoretical"}
    assert peaks == machine.peaks
    # LPDDR4X-4267 on 32 bits is 17.068 GB/s; four A76 do 64 int8 operations a cycle at 2.4 GHz.
    assert memory["theoretical"] == pytest.approx(17.068e9)
    assert peaks["int8"] == pytest.approx(614.4e9)
    kernels = {roof.value for roof in panel.roofs if roof.standing == "sustained" and roof.kind == "compute"}
    uses = {cost.use for cost in prediction.prefill.operators if cost.use} if prediction.prefill else set()
    assert machine.rate(next(use for use in uses if use.type == "q4_0")) in kernels


def test_a_ridge_is_peak_by_bandwidth(case: tuple[Prediction, Roofline]) -> None:
    (panel,) = case[1].panels
    memory = {(roof.side, roof.standing): roof.value for roof in panel.roofs if roof.is_main}
    for roof in panel.roofs:
        if roof.kind == "compute":
            assert roof.ridge == pytest.approx(roof.value / memory[roof.side, roof.standing])
            assert roof.x[0] == roof.ridge
            assert roof.y == (roof.value, roof.value)
        else:
            assert roof.y[0] / roof.x[0] == pytest.approx(roof.value)
            assert roof.y[1] / roof.x[1] == pytest.approx(roof.value)


def test_peaks_that_read_the_same_share_a_roof() -> None:
    (panel,) = roofline([api.predict("h100-sxm", "llama-3.1-8b", "q4_k_m")]).panels
    stated = [roof.name for roof in panel.roofs if roof.kind == "compute" and roof.standing == "theoretical"]
    assert "fp8, int8" in stated
    assert len(stated) == len(set(stated)) == 3  # 67, 989 and 1979 TFLOP/s


def test_what_else_limits_has_a_roof() -> None:
    def named(name: str) -> dict[tuple[str, str], float]:
        (panel,) = roofline([predicted(name)]).panels
        return {(roof.name, roof.standing): roof.value for roof in panel.roofs}

    assert named("disk")["disk, as given", "sustained"] == 3e9
    pair = named("pair")
    # An RTX 3090 has 16 lanes of PCIe 4.0.
    assert pair["PCIe", "theoretical"] == pytest.approx(16 * PCIE_LANE[4])
    assert pair["PCIe", "sustained"] < pair["PCIe", "theoretical"]
    # 112.5 GB/s both directions of the bridge together.
    assert named("tensor split")["NVLink, each way", "theoretical"] == pytest.approx(112.5e9 / 2, rel=0.01)
    assert not any("PCIe" in name or "disk" in name for name, _ in named("gpu"))


@pytest.mark.parametrize("hw", ["rtx-3090+ryzen-7950x", "rtx-3090x2+ryzen-7950x"])
def test_a_device_without_layers_that_fetches_has_roofs(hw: str) -> None:
    prediction = api.predict(hw, "llama-3.1-8b", "q4_k_m", gpu_layers=0)
    (panel,) = roofline([prediction], with_measured=False).panels
    assert {roof.side for roof in panel.roofs if roof.is_main} == {"", "host"}
    # A long prompt runs on the card, a generation on its host.
    assert {roof.side for roof in panel.roofs if roof.quants} == {"", "host"}
    (alone,) = roofline([replace(prediction, prefill=None)], with_measured=False).panels
    assert {roof.side for roof in alone.roofs if roof.is_main} == {"host"}


def test_the_measured_caches_of_a_host_have_roofs() -> None:
    # As `roofline measure` names them; without a size it is one core from memory, no cache.
    measured_rates = {"cpu": "8 GB/s", "cpu 1 core": "6 GB/s", "cpu 1 core, 64.0 KiB": "300 GB/s"}
    found = list(_memories("", machine(CPU, device={"memory.sustained": measured_rates})))
    rates = {(roof.name, roof.standing): roof.value for roof in found if not roof.is_main}
    assert rates == {("cache to 64.0 KiB, one core", "sustained"): pytest.approx(300e9)}


def test_several_devices_have_their_roofs_together() -> None:
    one, two = api.predict("rtx-3090", "llama-3.1-8b", "q4_k_m"), predicted("tensor split")
    (single,), (double,) = roofline([one]).panels, roofline([two]).panels
    memory = [next(roof.value for roof in panel.roofs if roof.is_main) for panel in (single, double)]
    assert memory[1] == 2 * memory[0]
    assert "all together" in roofline([two]).notes[0]
    assert "one at a time, at 1/2" in roofline([predicted("layer split")]).notes[0]


@given(
    st.sampled_from(["rpi5", "rtx-3090", "m2-ultra-76", "ryzen-7950x"]),
    st.sampled_from(["q4_0", "q8_0", "f16", "q4_k_m"]),
    st.integers(1, 4000),
    st.integers(1, 40),
)
def test_nothing_lies_above_its_roof(hw: str, quant: str, prompt: int, batch: int) -> None:
    chart = roofline(
        [api.predict(hw, "mistral-7b", quant, prompt=prompt, batch=batch)], with_measured=False, with_stops=False
    )
    for panel, track in tracks(chart):
        stated = [roof for roof in panel.roofs if roof.standing == "theoretical"]
        peak = max(roof.value for roof in stated if roof.kind == "compute")
        memory = next(roof.value for roof in stated if roof.is_main)
        fastest = max(roof.value for roof in panel.roofs if roof.kind == "memory")  # with activations from caches
        for mark in track.asked.marks:
            if mark.is_drawn:
                assert mark.flop_s <= Ceilings(peak, fastest).attainable(mark.intensity) * (1 + 1e-9)
        whole = track.asked.whole
        # The few operations of norms and the like cost light nothing: they hide behind their bytes.
        hidden = sum(mark.flops for mark in track.asked.marks if mark.group == "others") / whole.flops
        assert hidden < 0.01
        allowed = Ceilings(peak, memory).attainable(whole.light_intensity) * (1 + 1e-9)
        assert whole.light_flop_s * (1 - hidden) <= allowed
        assert whole.flop_s <= whole.light_flop_s * (1 + 1e-9)


@given(st.sampled_from(["cpu", "gpu", "batch", "tensor split"]))
def test_prompts_and_batches_move_to_the_right(name: str) -> None:
    for _, track in tracks(roofline([predicted(name)], with_measured=False)):
        intensities = [stop.whole.intensity for stop in track.stops if stop.value <= 512]
        assert np.all(np.diff(intensities) > 0)
        values = [stop.value for stop in track.stops]
        assert values == sorted(set(values))
        assert track.asked in track.stops


# -- notes, rows, limits ----------------------------------------------------------------------------------------------


def test_what_does_no_operations_is_told() -> None:
    chart = roofline([predicted("disk")])
    share = next(
        mark.share for _, track in tracks(chart) for mark in track.asked.marks
        if mark.group == "disk" and track.phase == "decode"
    )  # fmt: skip
    assert f"{format_number(100 * share, 2)} % of decode" in chart.notes[0]


def test_what_does_not_fit_is_told() -> None:
    (note,) = roofline([api.predict("rpi5", "mistral-7b", quant) for quant in ("q4_0", "f16")]).notes
    assert note.startswith("rpi5: f16 does not fit in memory")
    assert "q4_0 runs up to batch 32" in note
    # 4.1 GB of weights and 64 caches of 640 positions at 128 KiB are 9.5 GB of 8; 32 of them, 6.8 GB.
    (panel,) = roofline([api.predict("rpi5", "mistral-7b", "q4_0")]).panels
    decode = panel.series[0].tracks[1]
    assert [stop.value for stop in decode.trail] == [1, 2, 4, 8, 16, 32]
    assert decode.at(64) is None


def test_the_rows_are_what_is_drawn(case: tuple[Prediction, Roofline]) -> None:
    _, chart = case
    rows = chart.rows()
    assert {key for row in rows for key in row} <= set(COLUMNS) <= set(KNOWN_COLUMNS)
    (panel,) = chart.panels
    assert len([row for row in rows if row["mark"].endswith(" roof")]) == len(panel.roofs)
    marks = [mark for _, track in tracks(chart) for mark in track.asked.marks]
    assert [row["flops"] for row in rows if row["mark"] == "operators"] == [mark.flops for mark in marks]
    assert len([row for row in rows if row["mark"] == "whole phase"]) == len(list(tracks(chart)))


def test_more_than_can_be_told_apart_is_refused() -> None:
    names = ["rpi4", "rpi5", "rtx-3090", "rtx-4090", "m2-ultra-76", "m2-max-38", "ryzen-7950x"]
    with pytest.raises(SpecError, match="--hw: expected at most 6 devices in one chart, found 7"):
        roofline([api.predict(name, "tinyllama-1.1b", "q4_0") for name in names])
    with pytest.raises(SpecError, match="--quant: expected at most 6 quantisations"):
        roofline([
            api.predict("rpi5", "tinyllama-1.1b", quant)
            for quant in ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "f16", "q4_k_m")
        ])  # fmt: skip
    with pytest.raises(SpecError, match="expected one value each"):
        roofline([api.predict("rpi5", "tinyllama-1.1b", "q4_0", prompt=np.array([1.0, 2.0]))])
    with pytest.raises(SpecError, match="found nothing"):
        roofline([])


def test_what_cannot_be_predicted_is_left_out_in_words() -> None:
    chart = rooflines("rtx-3090,rpi5", "mistral-7b", "q4_0", backend="cuda")
    assert [panel.hardware for panel in chart.panels] == ["rtx-3090"]
    assert any(note.startswith("rpi5 q4_0 is left out: --backend: expected") for note in chart.notes)
    with pytest.raises(SpecError, match=r"^--backend: expected"):
        rooflines("rpi4,rpi5", "mistral-7b", "q4_0", backend="cuda")


# -- measured ---------------------------------------------------------------------------------------------------------


def test_measured_speeds_of_the_same_device_and_model() -> None:
    prediction = api.predict("e5-2650v4x2", "mistral-7b", "q4_0")
    found = measured(prediction)
    assert found
    assert {one.quant for one in found} == {"q4_0"}
    assert {(one.observation.hardware, one.observation.count) for one in found} == {("e5-2650v4", 2)}
    assert {one.runtime.partition("-")[0] for one in found} == {"llama.cpp"}
    assert len(measured(prediction, any_quant=True)) > len(found)
    for one in found:
        assert one.expected is not None
        assert one.ratio == pytest.approx(float(one.expected.phase.tok_s) / one.tok_s)
    assert measured(api.predict("e5-2650v4", "mistral-7b", "q4_0")) == ()  # one socket, not two
    changed = api.predict("e5-2650v4x2", "mistral-7b", "q4_0", set={"memory.bandwidth": "50 GB/s"})
    assert measured(changed) == ()


def test_measured_on_a_pair_is_the_pairs() -> None:
    prediction = api.predict("rtx-4080+ryzen-7950x", "qwen3-30b-a3b", "iq4_xs")
    assert {one.observation.host for one in measured(prediction)} == {"ryzen-7950x"}
    assert measured(predicted("unlike")) == ()


def test_measured_points_lie_at_the_intensity_of_their_run() -> None:
    prediction = api.predict("e5-2650v4x2", "mistral-7b", "q4_0")
    (panel,) = roofline([prediction]).panels
    for seen, one in zip(panel.series[0].seen, measured(prediction), strict=True):
        assert one.expected is not None
        phase = one.expected.phase
        assert seen.intensity == pytest.approx(float(phase.intensity))
        # Expected by measured speed is what the two points are apart.
        assert float(phase.flops / phase.seconds) / seen.flop_s == pytest.approx(seen.ratio)
    assert roofline([prediction], with_measured=False).panels[0].series[0].seen == ()


# -- the figure -------------------------------------------------------------------------------------------------------


def of_name(made: dict[str, Any], name: str) -> dict[str, Any]:
    return next(trace for trace in made["data"] if trace.get("name") == name)


def test_the_figure_holds_the_charts_numbers(case: tuple[Prediction, Roofline]) -> None:
    prediction, chart = case
    made = figure(chart)
    for _, track in tracks(chart):
        name = f"{prediction.weights.quant} {track.phase}"
        marks = sorted((mark for mark in track.asked.marks if mark.is_drawn), key=lambda mark: -mark.size)
        points = of_name(made, f"{name}, operators")
        assert points["x"] == [mark.intensity for mark in marks]
        assert points["y"] == [mark.flop_s for mark in marks]
        assert points["marker"]["size"] == [mark.size for mark in marks]
        opened = {"-open" in symbol for symbol in points["marker"]["symbol"]}
        assert opened == {track.phase == "decode"}
        dotted = ["-dot" in symbol for symbol in points["marker"]["symbol"]]
        assert dotted == [mark.side == "host" for mark in marks]
        whole = of_name(made, f"{name}, whole phase")
        assert (whole["x"], whole["y"]) == ([track.asked.whole.intensity], [track.asked.whole.flop_s])
        band = of_name(made, f"{name}, band")
        assert band["y"] == [track.asked.whole.low_flop_s, track.asked.whole.high_flop_s]


def test_figures_are_plotlys(case: tuple[Prediction, Roofline]) -> None:
    made = figure(case[1])
    go.Figure(made)
    json.dumps(made, allow_nan=False)


def test_sliders_move_the_marks_of_their_phase() -> None:
    chart = roofline([api.predict(hw, "mistral-7b", "q4_0", prompt=700) for hw in ("rpi5", "m2-ultra-76")])
    made = figure(chart)
    for phase, slider in zip(PHASES, made["layout"]["sliders"], strict=True):
        steps = slider["steps"]
        assert [step["label"] for step in steps] == [str(value) for value in chart.sliders[phase]]
        assert steps[slider["active"]]["label"] == ("700" if phase == "prefill" else "1")
        for number, step in enumerate(steps):
            change, shown, indices = step["args"]
            # What binds is said of what was asked, on wide pages and on narrow ones, so that it goes with other values.
            assert set(shown.values()) == {number == slider["active"]} and len(shown) == 2
            for key in shown:
                place = int(key.removeprefix("annotations[").removesuffix("].visible"))
                for texts_ in (made["layout"]["annotations"], made["layout"]["meta"]["narrow"]["annotations"]):
                    assert texts_[place]["text"].startswith(f"{phase}: bound by ")
            assert {phase in made["data"][index]["name"] for index in indices} == {True}
            assert {len(values) for values in change.values()} == {len(indices)}
            if number == slider["active"]:
                assert change["x"] == [made["data"][index]["x"] for index in indices]
                assert change["y"] == [made["data"][index]["y"] for index in indices]
        longer = steps[-1]["args"]
        place = next(i for i, index in enumerate(longer[2]) if made["data"][index]["name"].endswith("whole phase"))
        assert longer[0]["x"][place] != made["data"][longer[2][place]]["x"]
    assert "sliders" not in figure(chart, sliders=False)["layout"]
    assert "sliders" not in figure(roofline([predicted("cpu")], with_stops=False))["layout"]


NASTY = "<script>alert(1)</script><b>x %{x} %{customdata}"


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from texts(part)
    elif isinstance(value, str):
        yield value


def test_hostile_names_show_as_text() -> None:
    prediction = predicted("cpu")
    prediction = replace(
        prediction,
        model=prediction.model.model_copy(update={"name": NASTY}),
        weights=replace(prediction.weights, quant=NASTY),
        machine=replace(
            prediction.machine, hardware=prediction.machine.hardware.model_copy(update={"name": NASTY})
        ),
        names=prediction.names | {"hardware": NASTY},
    )  # fmt: skip
    made = figure(roofline([prediction]))
    for text in texts(made):
        assert "<script" not in text
        assert "<b>x" not in text
        assert "%{x}" not in text  # titles and names would read it, since the figure has a meta
    templates = {trace["hovertemplate"] for trace in made["data"] if "hovertemplate" in trace}
    assert templates == {"%{customdata}<extra></extra>"}
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&lt;b&gt;x %&#123;x}" in made["layout"]["title"]["text"]


@pytest.mark.parametrize(
    ("hw", "quants"),
    [
        ("rpi5,m2-ultra-76", "q4_0,q8_0,f16"),
        ("rtx-3090", "q4_k_m"),
        ("rtx-3090,h100-sxm,ryzen-7950x", "q4_0"),
        ("rtx-5090,m4-max-40,h100-sxm", "q4_k_m"),
    ],
)
def test_labels_do_not_stand_over_each_other(hw: str, quants: str) -> None:
    chart = rooflines(hw, "mistral-7b", quants)
    size = {1: rooflines_of._ALONE, 2: rooflines_of._BESIDE}.get(len(chart.panels), rooflines_of._IN_ROWS)
    for panel in chart.panels:
        assert panel.labels
        for found, sheet in ((panel.labels, size), (panel.short_labels, rooflines_of._NARROW)):
            square = Sheet((), Drawn(), chart.x_ends, chart.y_ends, sheet)
            boxes = [
                square.box(*square.place(10**one.x, 10**one.y), one.anchor, one.lines)
                for one in found
                if one.kind != "roof" or len(one.lines) == 1
            ]
            for number, box in enumerate(boxes):
                assert not any(box.meets(other) for other in boxes[:number]), found[number]


@pytest.mark.parametrize("name", ["cpu", "gpu", "experts", "prefill alone", "decode alone"])
def test_each_phase_is_named_beside_its_star(name: str) -> None:
    prediction = predicted(name)
    chart = roofline([prediction])
    (panel,) = chart.panels
    size = rooflines_of._ALONE
    for found, sheet in ((panel.labels, size), (panel.short_labels, rooflines_of._NARROW)):
        said = [one for one in found if one.kind == "phase"]
        wanted = [(word, phase) for word in PHASES if (phase := getattr(prediction, word)) is not None]
        assert [one.lines for one in said] == [(f"{word}: bound by {phase.bound}",) for word, phase in wanted]
        square = Sheet((), rooflines_of._drawn(panel), chart.x_ends, chart.y_ends, sheet)
        for label, (_, phase) in zip(said, wanted, strict=True):
            star = math.log10(phase.intensity), math.log10(phase.flops / phase.seconds)
            assert label.of == pytest.approx(star)
            box = square.box(*square.place(10**label.x, 10**label.y), label.anchor, label.lines)
            assert not any(box.meets(mark) for mark in square.taken)


def test_names_of_trails_cross_nothing_and_ridges_are_all_named() -> None:
    chart = rooflines("rtx-3090", "llama-3.1-8b", "q4_k_m")
    (panel,) = chart.panels
    square = Sheet(panel.roofs, rooflines_of._drawn(panel), chart.x_ends, chart.y_ends, rooflines_of._ALONE)
    stated = [roof for roof in panel.roofs if roof.kind == "compute" and roof.standing == "theoretical"]
    assert len([one for one in panel.labels if one.kind == "ridge"]) == len(stated) == 4
    quiet = [one for one in panel.labels if one.kind == "trail"]
    quiet += [one for one in panel.labels if one.kind == "roof" and len(one.lines) == 1]
    boxes = [square.box(*square.place(10**one.x, 10**one.y), one.anchor, one.lines) for one in quiet]
    assert len(boxes) >= len(stated)
    for box in boxes:
        assert not any(box.is_crossed(line) for line in square.lines)
        assert not any(box.meets(mark) for mark in square.taken)


def test_a_line_that_falls_or_only_touches() -> None:
    box = Box(0.4, 0.6, 0.4, 0.6)
    assert box.is_crossed(Line(0.0, 1.0, 1.0, -1.0))  # from the top left to the bottom right
    assert not box.is_crossed(Line(0.0, 1.0, 0.6, 0.0))
    assert not box.is_crossed(Line(0.0, 0.4, 0.0, 1.0))
    assert box.is_crossed(Line(0.0, 1.0, 0.5, 0.0))


@given(st.integers(1, 6), st.integers(1, 3), st.floats(0, 0.5))
def test_panels_do_not_overlap(count: int, columns: int, gap: float) -> None:
    found = places(count, columns, gap)
    for number, one in enumerate(found):
        assert 0 <= one.x[0] < one.x[1] <= 1 and -1e-9 <= one.y[0] < one.y[1] <= 1
        for other in found[:number]:
            beside = one.x[0] >= other.x[1] - 1e-9 or other.x[0] >= one.x[1] - 1e-9
            above = one.y[1] <= other.y[0] + 1e-9
            assert beside or above


# -- the command and its page -----------------------------------------------------------------------------------------


def test_the_command_writes_the_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "chart.json"
    options = ["--hw", "rpi5,m2-ultra-76", "--model", "mistral-7b", "--quant", "q4_0,q8_0", "--out", str(out)]
    done = runner(capsys)("plot", "roofline", *options)
    assert done.code == 0, done.err
    found = json.loads(out.read_text(encoding="utf-8"))
    prediction = api.predict("rpi5", "mistral-7b", "q4_0")
    assert prediction.decode is not None
    assert of_name(found, "q4_0 decode, whole phase")["x"] == [float(prediction.decode.intensity)]
    assert {trace["xaxis"] for trace in found["data"] if "xaxis" in trace} == {"x", "x2"}


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_draws_it_and_the_slider_moves_it(tmp_path: Path, open_page: Opener, width: int) -> None:
    chart = rooflines("rpi5,m2-ultra-76", "mistral-7b", "q4_0")
    path = tmp_path / "chart.html"
    save_chart(roofline_picture(chart), path, "auto", chart.title)
    page = open_page(path, width)
    found = drawn(page, "roofline")
    marks = {
        f"q4_0 {track.phase}, operators": len([mark for mark in track.asked.marks if mark.is_drawn])
        for _, track in tracks(chart)
    }
    for name, count in marks.items():
        places_of_name = [place for place, own in enumerate(found["names"]) if own == name]
        assert len(places_of_name) == 2
        assert [found["points"][place] for place in places_of_name] == [count, count]
    expression = "(name) => document.getElementById('roofline')._fullData.find((one) => one.name === name).x[0]"
    name = "q4_0 decode, whole phase"
    before = page.evaluate(expression, name)
    page.locator("#roofline .slider-group").nth(1).locator(".slider-rail-touch-rect").click()  # in its middle
    page.wait_for_function(
        "([name, before]) => document.getElementById('roofline')._fullData.find((one) => one.name === name)"
        ".x[0] > before",
        arg=[name, before],
    )
    batch = int(page.evaluate("document.getElementById('roofline')._fullLayout.sliders[1].active"))
    stop = chart.panels[0].series[0].tracks[1].stops[batch]
    assert page.evaluate(expression, name) == pytest.approx(stop.whole.intensity)
