"""What a token's time goes to: parts that add up to the phase, and to what the prediction's shares say."""

from __future__ import annotations

import pytest

from roofline import api, columns
from roofline.charts.token_time import COLUMNS, PARTS, asked, phase_seconds, token_times
from roofline.document.pictures import token_time_picture
from roofline.plot import token_time as plot
from roofline.prediction import Phase, Prediction
from roofline.spec import SpecError

#: Parts of Phase.shares, and which of the chart's make them up.
SHARES = {
    "memory": PARTS[:3], "compute": PARTS[3:4], "overhead": PARTS[4:5], "link": PARTS[5:6], "disk": PARTS[6:7],
}  # fmt: skip
#: Dense and of experts; a card, two of them in both ways, a chip, a CPU; with a host; behind a disk; state spaces.
CASES: list[dict[str, object]] = [
    {"hw": "rtx-3090", "model": "llama-3.1-8b", "quant": "q4_k_m", "depth": 32768},
    {"hw": "rtx-3090x2", "model": "llama-3.1-70b", "quant": "q4_k_m", "prompt": 4096},
    {"hw": "rtx-3090x2", "model": "llama-3.1-70b", "quant": "q4_k_m", "split": "tensor"},
    {"hw": "m2-max-38", "model": "gemma-3-12b", "quant": "q8_0", "batch": 8},
    {"hw": "rpi5", "model": "mistral-7b", "quant": "q4_0", "flash_attention": False},
    {"hw": "rtx-3090+ryzen-7950x", "model": "qwen3-235b-a22b", "quant": "q3_k_m"},
    {"hw": "rpi5", "model": "llama-3.1-70b", "quant": "q4_0", "disk": "1GB/s"},
    {"hw": "m3-ultra-80", "model": "nemotron-3-super-120b-a12b", "quant": "q3_k_m"},
]


def made(case: dict[str, object]) -> Prediction:
    return api.predict(**case)  # type: ignore[arg-type]


def phases(one: Prediction) -> list[Phase]:
    return [phase for phase in (one.decode, one.prefill) if phase is not None]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['hw']}-{case['model']}")
def test_parts_add_up_to_the_phase_and_to_its_shares(case: dict[str, object]) -> None:
    for phase in phases(made(case)):
        parts = phase_seconds(phase)
        assert tuple(parts) == PARTS and all(value >= 0 for value in parts.values())
        assert sum(parts.values()) == pytest.approx(float(phase.seconds), rel=1e-12)
        # Devices in turn share the operators' time: shares are of one device's, see calculator.pipeline_share.
        whole = sum(float(value) for value in phase.shares.values())
        for share, ours in SHARES.items():
            expected = float(phase.shares.get(share, 0.0)) / whole
            assert sum(parts[part] for part in ours) / float(phase.seconds) == pytest.approx(expected, abs=1e-12), share


def test_bars_are_of_one_token() -> None:
    one = made(CASES[0])
    decode, prefill = token_times([one]).bars
    assert one.tpot_s is not None and one.ttft_s is not None
    assert (decode.phase, prefill.phase) == ("decode", "prefill")
    assert decode.token_s == pytest.approx(float(one.tpot_s))
    assert prefill.token_s == pytest.approx(float(one.ttft_s) / 512)
    assert sum(decode.shares.values()) == pytest.approx(1.0)


def test_the_parts_are_what_they_are_called() -> None:
    """Deeper caches cost cache alone; fewer bits cost fewer weights; a disk waits."""
    shallow, deep = (
        phase_seconds(phases(api.predict("rtx-3090", "llama-3.1-8b", "q8_0", depth=d))[0]) for d in (0, 65536)
    )
    assert deep["KV cache"] > 20 * shallow["KV cache"]
    assert deep["weights"] == pytest.approx(shallow["weights"])
    few = phase_seconds(phases(api.predict("rtx-3090", "llama-3.1-8b", "q4_0"))[0])
    assert few["weights"] < 0.7 * shallow["weights"]
    on_disk = phase_seconds(phases(made(CASES[6]))[0])
    assert on_disk["disk"] > 0.5 * sum(on_disk.values())
    offloaded = phase_seconds(phases(made(CASES[5]))[1])
    assert offloaded["link"] > 0


def test_what_does_not_fit_is_told() -> None:
    good, bad = made(CASES[4]), api.predict("rpi5", "llama-3.1-70b", "q4_0")
    chart = token_times([good, bad])
    assert len(chart.bars) == 2 and chart.notes == ("rpi5, q4_0: does not fit.",)
    with pytest.raises(SpecError, match="does not fit"):
        token_times([bad])
    with pytest.raises(SpecError, match="--prompt, --gen"):
        token_times([api.predict("rpi5", "mistral-7b", "q4_0", prompt=0, gen=0)])


def test_devices_quantisations_and_caches_make_bars() -> None:
    chart = asked(["rtx-3090", "rpi5"], ["q4_0", "f16"], ["f16", "q8_0"], "mistral-7b", gen="64", prompt="0")
    assert [bar.name for bar in chart.bars] == [
        "rtx-3090 · q4_0 · f16 cache", "rtx-3090 · q4_0 · q8_0 cache", "rtx-3090 · f16 · f16 cache",
        "rtx-3090 · f16 · q8_0 cache", "rpi5 · q4_0 · f16 cache", "rpi5 · q4_0 · q8_0 cache",
    ]  # fmt: skip
    assert len(chart.notes) == 2 and chart.phases == ("decode",)


@pytest.mark.parametrize("count", [1, 2, 12])
def test_the_figure_stacks_the_numbers(count: int) -> None:
    graph_objects = pytest.importorskip("plotly.graph_objects")
    quants = ["q4_0", "q4_k_m", "q8_0", "q6_k", "q5_k_m", "q3_k_m"]
    every = [api.predict(hw, "llama-3.1-8b", quant) for hw in ("rtx-3090", "m2-max-38") for quant in quants]
    chart = token_times(every[:count])
    drawn = plot.figure(chart)
    graph_objects.Figure(drawn)
    for phase, tail in zip(chart.phases, ("", "2"), strict=True):
        bars = [bar for bar in chart.bars if bar.phase == phase]
        traces = [trace for trace in drawn["data"] if trace["type"] == "bar" and trace["xaxis"] == f"x{tail}"]
        assert [trace["name"] for trace in traces] == list(chart.parts)
        for trace in traces:
            assert trace["x"] == [bar.seconds[trace["name"]] for bar in bars]
            assert not chart.is_relative(phase)
        for place, bar in enumerate(bars):
            assert sum(trace["x"][place] for trace in traces) == pytest.approx(bar.token_s)
        assert drawn["layout"][f"xaxis{tail}"]["range"][1] > max(bar.token_s for bar in bars)
    picture = token_time_picture(chart)
    assert picture.height > 60 * len(chart.bars)
    assert set(COLUMNS) <= set(columns.COLUMNS)
    assert len(picture.numbers.rows) == len(chart.bars) * len(chart.parts)


def test_bars_far_apart_show_shares() -> None:
    """A Raspberry Pi 5 takes 40 times as long as an RTX 3090: to scale, the short bar would be a line."""
    chart = token_times([api.predict(hw, "llama-3.1-8b", "q4_k_m") for hw in ("rtx-3090", "rpi5")])
    assert chart.is_relative("decode") and chart.end("decode") > 1
    traces = [trace for trace in plot.figure(chart)["data"] if trace["type"] == "bar" and trace["xaxis"] == "x"]
    for place, bar in enumerate(chart.of("decode")):
        assert [trace["x"][place] for trace in traces] == [bar.shares[trace["name"]] for trace in traces]
        assert bar.labels["weights"] == f"{bar.shares['weights']:.0%}"


def test_hostile_names_are_text() -> None:
    from dataclasses import replace

    evil = "<img src=x onerror=alert(1)>"
    one = replace(made(CASES[4]), names={"hardware": evil, "model": evil})
    text = str(plot.figure(token_times([one])))
    assert "<img" not in text and "&lt;img" in text and "hovertemplate" not in text
