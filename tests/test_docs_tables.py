"""The tables of measured against predicted speeds in docs/: nothing left out, and computed from what is shipped."""

import csv
import math
import re
import runpy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from roofline.bench import Observation, shipped
from roofline.bench.expected import expect
from roofline.bench.shipped import DIRECTORY
from roofline.calibrate.report import SCORES
from roofline.spec import SpecError, read_toml
from tests.doc_blocks import ROOT

TABLES: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "_ext" / "accuracy_tables.py"))
rows_table: Callable[..., Iterator[str]] = TABLES["rows_table"]
speedups_table: Callable[..., Iterator[str]] = TABLES["speedups_table"]
goals_table: Callable[..., Iterator[str]] = TABLES["goals_table"]
PAGE = (ROOT / "docs" / "explanation" / "articles.md").read_text(encoding="utf-8")


def cells(lines: Iterator[str]) -> list[list[str]]:
    """The cells of all rows of tables, less their heads."""
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in split if row[0] not in ("id", "for", "device") and not set(row[0]) <= set(":-")]


def test_the_page_shows_every_row_of_the_articles_once() -> None:
    """What the patterns of articles.md's directives match, together, is the file."""
    with (DIRECTORY / "articles.csv").open(encoding="utf-8", newline="") as file:
        ids = sorted(row["id"] for row in csv.DictReader(file))
    patterns = re.findall(r"^```\{observations\} articles\.csv\n:ids: (.+)$", PAGE, flags=re.M)
    shown = [row[0].split(" ")[0] for pattern in patterns for row in cells(rows_table("articles.csv", pattern))]
    assert sorted(shown) == ids


def test_a_row_shows_its_prediction_and_the_measurement() -> None:
    rows = {row[0]: row for row in cells(rows_table("articles.csv", "jt-"))}
    seen = next(one for one in shipped().observations if one.id == "jt-0031")
    expected = expect(seen)
    speed = float(expected.phase.tok_s)
    row = rows["jt-0031"]
    assert row[2:6] == [seen.model, seen.quant, "prefill", f"{seen.tok_s:g}"]
    assert float(row[6]) == pytest.approx(speed, rel=5e-3)
    assert float(row[7]) == pytest.approx(speed / seen.tok_s, abs=6e-3)


def test_rows_that_cannot_be_predicted_stay_with_their_reason() -> None:
    shown = {row[0].split(" ")[0]: row[-1] for row in cells(rows_table("articles.csv"))}
    for seen in shipped().observations:
        if seen.id in shown:
            start = ("yes, ", "**no**, ") if reason(seen) is None else f"not predicted: {reason(seen)}"
            assert shown[seen.id].startswith(start)


def reason(seen: Observation) -> str | None:
    """Why an observation cannot be predicted."""
    try:
        expect(seen)
    except SpecError as error:
        return str(error)
    return None


def test_the_swapped_pair_is_marked() -> None:
    rows = {row[0]: row for row in cells(rows_table("articles.csv", "seed-00(2[7-9]|30)"))}
    assert {name for name, row in rows.items() if row[-1].endswith("suspect")} == {"seed-0028", "seed-0030"}


def test_a_speed_up_carries_the_rounding_of_both_numbers() -> None:
    """i9-9900, Mistral-7B q4_0: 28 by 12 is 2.33; 1/√12 of each is 1.0 % and 2.4 %, together 2.6 %: ± 0.06."""
    rows = cells(speedups_table("articles.csv", of="llamafile 0.7", over="llamafile 0.6.2", ids="jt-"))
    row = next(row for row in rows if row[0].startswith("Intel Core i9-9900") and row[1:3] == ["mistral-7b", "q4_0"])
    assert math.hypot(1 / 28, 1 / 12) / math.sqrt(12) * 28 / 12 == pytest.approx(0.061, abs=1e-3)
    assert row[3:6] == ["12", "28", "2.33 ± 0.06"]
    assert float(row[7]) == pytest.approx(float(row[6]) / (28 / 12), abs=6e-3)


def test_goals_are_judged_by_the_shipped_scores() -> None:
    one = next(score for score in read_toml(SCORES)["scores"] if score["group"] == "cuda decode")
    reached = one["median_error"] * 100
    (easy,) = cells(goals_table([f"CUDA; cuda PHASE; {reached + 1}; –"]))
    (hard,) = cells(goals_table([f"CUDA; cuda PHASE; {reached - 1}; –"]))
    assert (easy[6], hard[6]) == ("met", "**missed**")
    assert easy[1:4] == ["cuda decode", str(one["rows"]), str(one["devices"])]
    (none,) = cells(goals_table(["nothing; no such PHASE; 5; –"]))
    assert none[6] == "not scored"
