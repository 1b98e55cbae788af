"""Decode speed for money: the points are a comparison's lines, nobody on the frontier is beaten, all others are."""

from itertools import pairwise
from math import log10
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from roofline.charts.pareto import COLUMNS, KINDS, Pareto, Point, X, pareto
from roofline.charts.pareto_labels import LABEL_PX, PLOT_PX
from roofline.columns import COLUMNS as REGISTRY
from roofline.comparison import compare
from roofline.document.pictures import pareto_picture
from roofline.document.saving import save_chart
from roofline.economy import power_mark, terms
from roofline.plot.pareto import figure
from roofline.spec import SpecError
from tests.browser import Opener, drawn
from tests.running import runner

WORDS: dict[str, Any] = {
    "prompt": "512", "gen": "128", "depth": "0", "batch": "1", "kv": "f16", "ctx": None, "flash_attention": None,
    "runtime": "llama.cpp", "backend": None,
}  # fmt: skip
PAID = terms(kwh=0.3)


def drawn_for(hw: str, x: X = "price", model: str = "llama-3.1-8b", most_count: int = 1, **more: Any) -> Pareto:
    return pareto(hw, model, "q4_k_m", x, PAID, most_count=most_count, **(WORDS | more))


def points(chart: Pareto) -> list[Point]:
    return [point for group in chart.groups.values() for point in group]


@pytest.fixture(scope="module")
def whole() -> Pareto:
    return drawn_for("*")


@pytest.fixture(scope="module", params=["price", "watts", "cost"])
def some(request: pytest.FixtureRequest) -> tuple[X, Pareto]:
    return request.param, drawn_for("rtx-*,m4-*,rpi*,ryzen-*", request.param)


def test_points_are_the_lines_of_a_comparison(some: tuple[X, Pareto]) -> None:
    x, chart = some
    lines = {
        line.asked: line
        for line in compare("rtx-*,m4-*,rpi5,rpi4-8gb,ryzen-*", "llama-3.1-8b", "q4_k_m", PAID, **WORDS)
        if not line.reason
    }
    shown = {point.hardware: point for point in points(chart)}
    figures = {
        name: {"price": line.price, "watts": line.power_w, "cost": line.decode.usd_per_million}[x]
        for name, line in lines.items()
    }
    assert set(shown) == {name for name, figure_ in figures.items() if figure_}
    for name, point in shown.items():
        assert lines[name].prediction is not None
        decode = lines[name].prediction.decode  # type: ignore[union-attr]
        assert decode is not None
        assert point.x == figures[name]
        speeds = (point.decode_tok_s, point.decode_low_tok_s, point.decode_high_tok_s)
        assert speeds == (float(decode.tok_s), float(decode.low_tok_s), float(decode.high_tok_s))
        assert point.usd_per_million == lines[name].decode.usd_per_million
        expected = power_mark(lines[name].power_meaning) if x == "watts" else None
        assert expected in (None, point.mark)


def beats(one: Point, other: Point) -> bool:
    """Written out once more, so that the test does not rest on the function it tests."""
    no_worse = one.x <= other.x and one.decode_tok_s >= other.decode_tok_s
    return no_worse and (one.x, one.decode_tok_s) != (other.x, other.decode_tok_s)


def test_nobody_on_the_frontier_is_beaten_and_everybody_off_it_is(whole: Pareto) -> None:
    everyone = points(whole)
    by_name = {point.hardware: point for point in everyone}
    assert any(point.dominated_by for point in everyone)
    for point in everyone:
        assert bool(point.dominated_by) == any(beats(other, point) for other in everyone)
        if point.dominated_by:
            assert beats(by_name[point.dominated_by], point)


def test_the_frontier_is_a_rising_step_through_its_machines(whole: Pareto) -> None:
    best = {(point.x, point.decode_tok_s) for point in points(whole) if not point.dominated_by}
    first, *middle, last = whole.frontier
    assert set(middle) == best
    assert all(one[0] <= other[0] and one[1] <= other[1] for one, other in pairwise(whole.frontier))
    assert first[0] == middle[0][0]  # straight up to the first, then level to the end
    assert last[1] == middle[-1][1]
    assert log10(last[0]) == pytest.approx(whole.x_ends[1])


def test_names_on_the_frontier_cover_neither_each_other_nor_the_top(whole: Pareto) -> None:
    named = [point for point in points(whole) if point.label is not None]
    assert named
    assert not any(point.dominated_by for point in named)
    width, height = PLOT_PX
    boxes = []
    for point in named:
        right = (log10(point.x) - whole.x_ends[0]) / (whole.x_ends[1] - whole.x_ends[0]) * width
        y = (log10(point.decode_tok_s) - whole.y_ends[0]) / (whole.y_ends[1] - whole.y_ends[0]) * height
        middle = y + (point.label or 0)
        assert middle < height
        boxes.append((right - 7 * len(point.hardware), right, middle))
    for place, (left, right, middle) in enumerate(boxes):
        for other_left, other_right, other_middle in boxes[place + 1 :]:
            if left < other_right and other_left < right:
                assert abs(middle - other_middle) >= LABEL_PX - 1  # rounding to whole pixels


def test_everything_lies_inside_the_axes(whole: Pareto) -> None:
    for point in points(whole):
        assert whole.x_ends[0] < log10(point.x) < whole.x_ends[1]
        assert whole.y_ends[0] < log10(point.decode_low_tok_s) <= log10(point.decode_high_tok_s) < whole.y_ends[1]


def test_who_is_left_out_is_counted_and_named(whole: Pareto) -> None:
    lines = compare("*", "llama-3.1-8b", "q4_k_m", PAID, **WORDS)
    of = f"{len(points(whole))} of {len(lines)} machines"
    assert of in whole.subtitle
    # rpi4 with 4 GB is too small and stands there as rpi4-8gb; nothing else changes how many there are
    unpriced = sum(line.price is None for line in lines if line.prediction is not None and not line.reason)
    assert f"no price: {unpriced}" in whole.subtitle
    assert any(note.startswith("Not drawn, no price:") for note in whole.notes)
    assert any("card alone" in note for note in whole.notes)


def test_a_device_that_is_too_small_stands_there_with_more_memory_or_more_cards() -> None:
    assert {point.hardware for point in points(drawn_for("rpi4,rpi5"))} == {"rpi4-8gb", "rpi5"}
    pairs = drawn_for("rtx-3090", model="llama-3.3-70b", most_count=2)
    (pair,) = points(pairs)
    single = compare("rtx-3090", "llama-3.1-8b", "q4_k_m", PAID, **WORDS)[0]
    assert pair.hardware == "rtx-3090x2"
    assert single.price is not None
    assert pair.price_usd == pytest.approx(2 * single.price)


def test_kinds_are_told_apart() -> None:
    chart = drawn_for("rpi5,m4-10gpu,strix-halo,ryzen-9950x,rtx-4090,rtx-3090+ryzen-7950x")
    assert {kind: [point.hardware for point in group] for kind, group in chart.groups.items()} == {
        "board, phone": ["rpi5"],
        "Mac": ["m4-10gpu"],
        "other SoC": ["strix-halo"],
        "processor alone": ["ryzen-9950x"],
        "graphics card alone": ["rtx-4090"],
        "cards and host": ["rtx-3090+ryzen-7950x"],
    }
    marks = [trace for trace in figure(chart)["data"] if trace["mode"] == "markers"]
    assert len({(trace["marker"]["color"], trace["marker"]["symbol"]) for trace in marks}) == len(KINDS)


def test_what_is_drawn_is_what_the_table_has(whole: Pareto) -> None:
    marks = [trace for trace in figure(whole)["data"] if trace["mode"] == "markers"]
    seen = sorted((x, y) for trace in marks for x, y in zip(trace["x"], trace["y"], strict=True))
    assert seen == sorted((row["price_usd"], row["decode_tok_s"]) for row in whole.rows())
    bars = [trace for trace in figure(whole)["data"] if trace["mode"] == "lines" and trace["name"] != "frontier"]
    ends = {y for trace in bars for y in trace["y"] if y is not None}
    assert ends == {row[key] for row in whole.rows() for key in ("decode_low_tok_s", "decode_high_tok_s")}
    assert set(COLUMNS) <= set(whole.rows()[0])
    assert set(COLUMNS) <= set(REGISTRY)
    go.Figure(figure(whole))


def test_a_price_of_a_device_that_is_too_small_is_told_and_not_used() -> None:
    prices = ["rpi4=35", "rpi5=90"]
    chart = drawn_for("rpi4,rpi5", prices=prices)
    usual = {point.hardware: point.x for point in points(drawn_for("rpi4,rpi5"))}
    assert {point.hardware: point.x for point in points(chart)} == {"rpi4-8gb": usual["rpi4-8gb"], "rpi5": 90.0}
    assert [note for note in chart.notes if "rpi4=35" in note and "rpi4-8gb" in note]
    own = drawn_for("rpi4,rpi5", prices=["rpi4-8gb=70"])
    assert {point.x for point in points(own) if point.hardware == "rpi4-8gb"} == {70.0}
    with pytest.raises(SpecError, match="--price"):
        drawn_for("rpi4,rpi5", prices=["rpi3=35"])


def test_an_own_price_moves_a_machine() -> None:
    chart = pareto("rtx-3090,rtx-4090", "llama-3.1-8b", "q4_k_m", "price", PAID, ["rtx-3090=700"], **WORDS)
    (own,) = (point for point in points(chart) if point.hardware == "rtx-3090")
    assert (own.x, own.price_basis, own.dominated_by) == (700.0, "override", "")


@pytest.mark.parametrize(
    ("hw", "more", "words"),
    [
        ("rpi5", {"model": "llama-3.3-70b"}, ["--hw", "known price", "do not fit: rpi5"]),
        ("a100-sxm-80", {}, ["--hw", "no price: a100-sxm-80"]),
        ("rpi5", {"gen": "0"}, ["--gen", "found 0"]),
        ("rpi5", {"gen": "1,2"}, ["--gen", "expected one number"]),
        ("rpi5", {"model": "llama-3.1-8b,qwen3-8b"}, ["--model", "expected one"]),
        ("zzz-*", {}, ["--hw", "zzz-*"]),
    ],
)
def test_what_cannot_be_drawn_is_an_error_that_says_why(hw: str, more: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        drawn_for(hw, **more)
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.browser
def test_a_browser_draws_every_machine(whole: Pareto, open_page: Opener, tmp_path: Path) -> None:
    path = tmp_path / "pareto.html"
    save_chart(pareto_picture(whole), path, "auto", whole.title)
    seen = drawn(open_page(path), "pareto")
    assert seen["marks"] >= len(whole.rows())
    assert {point.hardware for point in points(whole) if point.label is not None} <= set(seen["text"])
    assert path.stat().st_size < 6_000_000


def test_the_command_writes_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, path = runner(capsys), tmp_path / "pareto.csv"
    done = run(
        "plot", "pareto", "--model", "llama-3.1-8b", "--quant", "q4_k_m", "--hw", "rtx-30*", "--x", "watts",
        "--out", str(path),
    )  # fmt: skip
    assert (done.code, done.out) == (0, "")
    assert path.read_text().splitlines()[0].split(",") == list(COLUMNS)
