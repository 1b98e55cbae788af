"""Predicted against measured: the chart's points are check's rows, its words are check's figures, its guides exact."""

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import pytest

from roofline.bench import Observation
from roofline.calibrate.report import score_rows
from roofline.charts import errors as charts
from roofline.charts.errors import BACKENDS, COLUMNS, Errors, errors, known_backends
from roofline.check.checking import Checked, check
from roofline.check.groups import groups
from roofline.columns import COLUMNS as REGISTRY
from roofline.document.pictures import errors_picture
from roofline.document.saving import save_chart
from roofline.engine.own_check import own_check
from roofline.plot.errors import figure
from roofline.spec import SpecError
from tests.browser import Opener, drawn
from tests.running import runner

if TYPE_CHECKING:
    from collections.abc import Iterator

DECODE = Observation(
    "d", "rpi5", "tinyllama-1.1b", "q8_0", "tg", 8.0, date="2025-10-01", backend="cpu", runtime="llama.cpp", gen=128
)


@pytest.fixture(scope="module")
def checked() -> Checked:
    return own_check(None)


@pytest.fixture(scope="module")
def chart(checked: Checked) -> Errors:
    return errors(checked)


def points(chart: Errors) -> "Iterator[charts.Point]":
    for panel in chart.panels:
        for own in panel.points.values():
            yield from own


def traces(chart: Errors, mode: str) -> list[dict[str, Any]]:
    return [trace for trace in figure(chart)["data"] if trace["mode"] == mode]


def test_every_checked_row_is_a_point_with_the_figures_of_check(checked: Checked, chart: Errors) -> None:
    found = {point.id: point for point in points(chart)}
    assert len(found) == len(checked.rows) == len(list(points(chart)))
    for row in checked.rows:
        point = found[row.observation.id]
        assert (point.measured_tok_s, point.predicted_tok_s) == (row.observation.tok_s, row.predicted_tok_s)
        assert (point.low_tok_s, point.high_tok_s, point.ratio) == (row.low_tok_s, row.high_tok_s, row.ratio)
        assert (point.phase, point.backend, point.verdict) == (row.phase, row.backend, row.verdict)


def test_what_is_drawn_is_what_the_table_has(chart: Errors) -> None:
    marks = traces(chart, "markers")
    assert [(x, y) for trace in marks for x, y in zip(trace["x"], trace["y"], strict=True)] == [
        (row["measured_tok_s"], row["predicted_tok_s"]) for row in chart.rows()
    ]
    assert all(set(COLUMNS) == set(row) for row in chart.rows())
    assert set(COLUMNS) <= set(REGISTRY)


def test_the_words_are_the_figures_of_checks_own_groups(checked: Checked, chart: Errors) -> None:
    whole = {group.phase: group for group in groups(checked.rows) if group.group == "all rows"}
    assert [panel.phase for panel in chart.panels] == ["decode", "prefill"]
    for panel in chart.panels:
        group = whole[panel.phase]
        assert asdict(panel.figures) == {**asdict(group), "group": "rows shown"}
        assert f"median error {group.median_error:.1%}" in panel.words
        assert f"{group.coverage:.0%} of {group.rows} rows in the band" in panel.words


def test_shipped_rows_are_said_to_be_in_sample_with_the_scores_of_left_out_devices(chart: Errors) -> None:
    assert "in-sample" in chart.subtitle
    notes = " ".join(chart.notes)
    for phase in ("decode", "prefill"):
        (score,) = (row for row in score_rows() if row["group"] == f"all {phase}")
        assert f"{phase} {score['median_error']:.1%}" in notes


def test_rows_of_a_file_are_not_said_to_be_fitted_to() -> None:
    found = errors(check([DECODE]), "mine.json", ("rpi5", None, None))
    assert found.subtitle == "mine.json, rpi5"
    assert not any("in-sample" in note for note in found.notes)


def test_a_guide_is_where_the_ratio_is_its_factor(chart: Errors) -> None:
    for panel in chart.panels:
        assert sorted(guide.factor for guide in panel.guides) == [0.8, 0.9, 1.0, 1.1, 1.2]
        low, high = (10.0**end for end in panel.ends)
        for guide in panel.guides:
            for measured, predicted in zip(guide.measured, guide.predicted, strict=True):
                assert predicted / measured == pytest.approx(guide.factor)
                assert low * (1 - 1e-9) <= measured <= high * (1 + 1e-9)
                assert low * (1 - 1e-9) <= predicted <= high * (1 + 1e-9)
            x, y = guide.label_at
            assert 10.0 ** (y - x) == pytest.approx(guide.factor)
        # from edge to edge: each guide begins at one and ends at another
        assert all(min(guide.measured[0], guide.predicted[0]) == pytest.approx(low) for guide in panel.guides)
        assert all(max(guide.measured[1], guide.predicted[1]) == pytest.approx(high) for guide in panel.guides)


def test_all_points_lie_inside_the_axes(chart: Errors) -> None:
    for panel in chart.panels:
        for own in panel.points.values():
            for point in own:
                for speed in (point.measured_tok_s, point.predicted_tok_s):
                    assert panel.ends[0] < math.log10(speed) < panel.ends[1]


def test_backends_differ_in_more_than_colour_and_are_named_once(chart: Errors) -> None:
    marks = traces(chart, "markers")
    looks = {
        trace["name"]: (trace["marker"]["color"], trace["marker"]["symbol"][0].split("-open")[0]) for trace in marks
    }
    assert len(set(looks.values())) == len(looks) == len(chart.backends)
    assert len({symbol for _, symbol in looks.values()}) == min(len(looks), 6)
    assert sorted(trace["name"] for trace in marks if trace["showlegend"]) == sorted(chart.backends)


def test_a_row_outside_of_its_band_is_open(chart: Errors) -> None:
    symbols = [symbol for trace in traces(chart, "markers") for symbol in trace["marker"]["symbol"]]
    assert [symbol.endswith("-open") for symbol in symbols] == [row["verdict"] != "ok" for row in chart.rows()]
    assert any(row["verdict"] != "ok" for row in chart.rows())


def test_only_the_backends_that_are_asked_for(checked: Checked) -> None:
    found = errors(checked, backends=known_backends("CUDA, metal"))
    assert {point.backend for point in points(found)} == {"cuda", "metal"}
    assert len(list(points(found))) == sum(row.backend in ("cuda", "metal") for row in checked.rows)
    assert set(BACKENDS) >= {row.backend for row in checked.rows}


def test_one_phase_alone_has_the_whole_width() -> None:
    found = errors(check([DECODE]))
    assert figure(found)["layout"]["xaxis"]["domain"] == [0.0, 1.0]
    assert "meta" not in figure(found)["layout"]


@pytest.mark.parametrize(
    ("rows", "backends", "words"),
    [
        ([DECODE], ["cuda"], ["--backend", "cpu", "cuda"]),
        ([replace(DECODE, model="nonsense")], [], ["expected rows that can be predicted", "1 skipped", "nonsense"]),
        ([], [], ["expected rows", "0 skipped"]),
    ],
)
def test_nothing_to_draw_is_an_error_that_says_why(
    rows: list[Observation], backends: list[str], words: list[str]
) -> None:
    with pytest.raises(SpecError) as caught:
        errors(check(rows), backends=backends)
    assert all(word in str(caught.value) for word in words)


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(SpecError, match="--backend: expected some of cpu"):
        known_backends("cuda,abacus")


def test_the_figure_is_one_of_plotlys_and_holds_no_name_as_it_was_written() -> None:
    evil = replace(DECODE, id="<b>x</b>", source="<script>alert(1)</script> & %{x}" + "y" * 200)
    found = figure(errors(check([evil]), "<i>file</i>"))
    go.Figure(found)
    written = str(found)
    assert "<script>" not in written
    assert "<i>" not in written
    assert "&lt;script&gt;" in written
    assert not any("hovertemplate" in trace for trace in found["data"])


@pytest.mark.browser
def test_a_browser_draws_every_row(chart: Errors, open_page: Opener, tmp_path: Path) -> None:
    path = tmp_path / "errors.html"
    save_chart(errors_picture(chart), path, "auto", chart.title)
    seen = drawn(open_page(path), "measured")
    assert seen["marks"] >= len(chart.rows())  # and the legend's
    assert sum(seen["points"]) == len(chart.rows()) + 2 * sum(len(panel.guides) for panel in chart.panels)
    assert path.stat().st_size < 6_000_000


def test_the_command_writes_what_was_selected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, path = runner(capsys), tmp_path / "errors.csv"
    done = run("plot", "measured", "--hw", "rpi5", "--out", str(path))
    assert (done.code, done.out) == (0, "")
    lines = path.read_text().splitlines()
    assert lines[0].split(",") == list(COLUMNS)
    assert len(lines) - 1 == len(own_check(None, "rpi5").rows)
    assert run("plot", "measured", "--backend", "abacus", "--out", str(path)).err.startswith(
        "error: --backend: expected"
    )
