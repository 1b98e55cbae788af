"""The page of every kind of chart, written by its command, in a real browser: what is drawn is what the figure says."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Opener, drawn, overflows
from tests.running import runner
from tests.test_document_files import PLOTS

pytestmark = pytest.mark.browser

_VALUES = """(identity) => document.getElementById(identity)._fullData.map(
    ({ x, y, orientation }) => [...((orientation === "h" ? x : y) ?? [])].map((value) => value ?? null))"""


def values(trace: dict[str, Any]) -> list[Any]:
    """The figures of a trace: of a horizontal bar they lie along x."""
    return list(trace.get("x" if trace.get("orientation") == "h" else "y", []))


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", PLOTS)
def test_the_page_draws_what_the_figure_says(
    name: str, width: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], open_page: Opener
) -> None:
    page_file, figure_file = tmp_path / "chart.html", tmp_path / "chart.json"
    for out in (page_file, figure_file):
        assert runner(capsys)("plot", name, *PLOTS[name], "--out", str(out)).code == 0
    figure = json.loads(figure_file.read_text(encoding="utf-8"))
    page = open_page(page_file, width, dark=width < 600)
    found = drawn(page, name)
    assert found["points"] == [len(values(trace)) for trace in figure["data"]]
    for shown, trace in zip(page.evaluate(_VALUES, name), figure["data"], strict=True):
        assert shown == values(trace)
    assert found["marks"] + found["lines"] > 0
    assert not overflows(page)
    assert page.locator("table tbody tr").count() > 0
