"""What is printed: the JSON contract, tables that can be read back, and no speed that cannot happen."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import roofline
from roofline import report
from roofline.columns import COLUMNS
from roofline.report import record
from roofline.tables import cell, heading, printable, render
from tests.small import fresh_catalog
from tests.test_explain import catalog_file
from tests.test_spec import DEVICE

PHASE = {
    "tok_s", "low_tok_s", "high_tok_s", "ceiling_tok_s", "seconds", "bound", "flops", "bytes",
    "intensity_flop_per_byte", "ridge_flop_per_byte",
}  # fmt: skip
#: What other programs may rely on.
CONTRACT = {
    "schema": str, "hardware": str, "model": str, "quant": str, "runtime": str, "backend": str, "workload": dict,
    "prefill": dict, "decode": dict, "memory": dict, "ttft_s": float, "tpot_s": float, "total_s": float,
}  # fmt: skip
BILL = {"weights_bytes", "kv_cache_bytes", "compute_bytes", "total_bytes", "capacity_bytes", "fits"}


def parsed(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


# -- the contract -----------------------------------------------------------------------------------------------------


def test_the_json_of_a_prediction_keeps_its_contract() -> None:
    one = parsed(report.predictions([roofline.predict("rpi5", "mistral7b", "q4_0")], "json"))
    for key, kind in CONTRACT.items():
        assert isinstance(one[key], kind), key
    assert one["schema"] == "roofline.prediction/1"
    assert (one["hardware"], one["model"], one["quant"], one["runtime"]) == ("rpi5", "mistral-7b", "q4_0", "llama.cpp")
    assert {key: one["workload"][key] for key in ("prompt", "gen", "depth", "batch")} == {
        "prompt": 512,
        "gen": 128,
        "depth": 0,
        "batch": 1,
    }
    for phase in ("prefill", "decode"):
        assert set(one[phase]) >= PHASE
        assert all(isinstance(one[phase][key], float) for key in PHASE - {"bound"})
        assert one[phase]["bound"] in ("compute", "memory", "overhead", "link", "disk")
    assert set(one["memory"]) >= BILL and one["memory"]["fits"] is True
    assert one["memory"]["total_bytes"] == pytest.approx(
        sum(one["memory"][key] for key in ("weights_bytes", "kv_cache_bytes", "compute_bytes", "context_bytes"))
    )
    assert set(one["files"]) == {"hardware", "model", "runtime"}
    assert all(catalog_file(path).is_file() for path in one["files"].values())
    assert one["band"]["share"] == 0.8


def test_a_model_that_does_not_fit_has_no_speed() -> None:
    result = roofline.predict("rpi5-4gb", "mistral-7b", "q4_0")
    one = parsed(report.predictions([result], "json"))
    assert one["memory"]["fits"] is False
    for phase in ("prefill", "decode"):
        assert all(
            one[phase][key] is None for key in ("tok_s", "low_tok_s", "high_tok_s", "ceiling_tok_s", "seconds", "bound")
        )
        assert one[phase]["flops"] > 0 and one[phase]["bytes"] > 0
    assert (one["ttft_s"], one["tpot_s"], one["total_s"], one["why"]) == (None,) * 4
    table = report.predictions([result], "table")
    assert "tok/s" not in table
    assert table.splitlines()[2].startswith("Does not fit.")


def test_what_would_fit_is_in_every_form() -> None:
    from roofline.points import larger_devices
    from roofline.ways_out import ways_out

    result = roofline.predict("rpi5-4gb", "mistral-7b", "q4_0")
    ways = ways_out(result, larger_devices(result))
    assert [way["option"] for way in parsed(report.predictions([result], "json", ways))["ways_out"]] == [
        way.option for way in ways
    ]
    table = report.predictions([result], "table", ways)
    assert all(way.option in table for way in ways)
    assert "No single change" not in table


@pytest.mark.parametrize("form", ["table", "md", "json"])
def test_an_explanation_of_what_does_not_fit_gives_no_speed_and_no_false_despair(form: Any) -> None:
    # Fewer bits would fit, so that "no single change makes it fit" would be wrong.
    text = report.explanation(roofline.predict("rpi5-4gb", "mistral-7b", "q4_0"), form)
    assert "No single change" not in text
    if form == "json":
        one = parsed(text)
        assert one["decode"]["tok_s"] is None and one["memory"]["fits"] is False


def test_a_phase_that_was_not_asked_for_is_null() -> None:
    one = parsed(report.predictions([roofline.predict("rpi5", "mistral-7b", "q4_0", prompt=0)], "json"))
    assert set(one["prefill"]) >= PHASE and set(one["prefill"].values()) == {None}
    assert one["ttft_s"] is None and one["decode"]["tok_s"] > 0
    table = report.predictions([roofline.predict("rpi5", "mistral-7b", "q4_0", gen=0)], "table")
    assert "decode" not in table and "prefill 512" in table


def test_explanations_extend_predictions() -> None:
    result = roofline.predict("m2-ultra-76", "tinyllama-1.1b", "f16", backend="cpu")
    one, plain = parsed(report.explanation(result, "json")), record(result)
    assert one["schema"] == "roofline.explanation/1"
    assert {key: one[key] for key in plain if key != "schema"} == {key: plain[key] for key in plain if key != "schema"}
    assert {line["phase"] for line in one["operators"]} == {"prefill", "decode"}
    assert sum(line["seconds"] for line in one["operators"] if line["phase"] == "decode") == pytest.approx(
        one["decode"]["seconds"]
    )
    assert one["compute_bound_batch"] > 0 and one["what_if"] and one["figures"]


@pytest.mark.parametrize(
    "asked", [{"prompt": 10**9, "batch": 10**9}, {"gen": 10**9}, {"depth": 10**9}, {"prompt": 1, "gen": 1}]
)
def test_extreme_workloads_are_json(asked: dict[str, int]) -> None:
    parsed(report.predictions([roofline.predict("h100-sxm", "tinyllama-1.1b", "q4_0", **asked)], "json"))  # type: ignore[arg-type]


# -- several points ---------------------------------------------------------------------------------------------------


def grid(**asked: Any) -> list[Any]:
    batches = (1, 8, 64)
    return [roofline.predict("a100-pcie-80", "llama-2-7b", "q4_k_m", batch=batch, **asked) for batch in batches]


def test_several_points_in_json_are_a_list_of_predictions() -> None:
    many = parsed(report.predictions(grid(), "json"))
    assert [one["workload"]["batch"] for one in many] == [1, 8, 64]
    assert many == [record(result) for result in grid()]


def test_csv_is_the_json_in_rows() -> None:
    results = grid(depth=1024)
    rows = list(csv.DictReader(io.StringIO(report.predictions(results, "csv"))))
    for row, result in zip(rows, results, strict=True):
        one = record(result)
        assert (row["hardware"], row["model"], row["quant"]) == (one["hardware"], one["model"], one["quant"])
        assert int(row["batch"]) == one["workload"]["batch"] and int(row["depth"]) == 1024
        for phase in ("prefill", "decode"):
            for key in PHASE - {"bound"}:
                assert float(row[f"{phase}_{key}"]) == one[phase][key]
            assert row[f"{phase}_bound"] == one[phase]["bound"]
        for key in BILL - {"fits"}:
            assert float(row[key]) == one["memory"][key]
        assert row["fits"] == "True"
        assert float(row["ttft_s"]) == one["ttft_s"]


def test_a_missing_value_is_an_empty_cell() -> None:
    (row,) = csv.DictReader(
        io.StringIO(report.predictions([roofline.predict("rpi5-4gb", "mistral-7b", "q4_0")], "csv"))
    )
    assert (row["decode_tok_s"], row["ttft_s"], row["fits"]) == ("", "", "False")
    assert float(row["decode_flops"]) > 0


@pytest.mark.parametrize("form", ["table", "md"])
def test_a_table_of_points_shows_what_varies(form: Any) -> None:
    text = report.predictions(grid(), form)
    lines = text.splitlines()
    assert lines[0].startswith("Llama 2 7B, q4_k_m, on NVIDIA A100")
    assert "batch" in lines[2] and "depth" not in lines[2] and "tok/s" in lines[2]
    assert sum("decode" in line for line in lines) == sum("prefill" in line for line in lines) == 3


def test_a_table_of_points_that_do_not_fit_shows_no_speed() -> None:
    results = [roofline.predict("rpi5", "mistral-7b", "q4_0", depth=depth) for depth in (0, 100_000)]
    rows = [line for line in report.predictions(results, "md").splitlines() if "decode" in line]
    assert rows[0].endswith("yes |") and rows[1].endswith("no |")
    assert rows[1].count("–") >= 5


# -- rendering --------------------------------------------------------------------------------------------------------

TEXT = st.text(max_size=20)
ROWS = st.lists(
    st.fixed_dictionaries({"name": TEXT, "year": st.one_of(st.none(), st.integers(0, 3000)), "note": TEXT}),
    min_size=1,
    max_size=5,
)


def unescaped(text: str) -> list[str]:
    """The cells of a Markdown row."""
    cells, current, escape = [], "", False
    for char in text.strip()[1:-1]:
        if escape or (char != "|" and char != "\\"):
            current, escape = current + char, False
        elif char == "\\":
            escape = True
        else:
            cells.append(current)
            current = ""
    return [one.strip(" ").replace("&lt;", "<") for one in [*cells, current]]


@given(ROWS)
def test_markdown_has_one_line_a_row_whatever_the_text(rows: list[dict[str, Any]]) -> None:
    lines = render(rows, ("name", "year", "note"), "md").split("\n")
    assert lines[-1] == "" and len(lines) == len(rows) + 3
    for line, row in zip(lines[2:-1], rows, strict=True):
        assert line.isprintable()
        cells = unescaped(line)
        assert len(cells) == 3
        assert cells[0] == printable(row["name"]).strip(" ").replace("&lt;", "<")
        assert cells[1] == ("–" if row["year"] is None else str(row["year"]))


@given(ROWS)
def test_an_aligned_table_has_one_printable_line_a_row(rows: list[dict[str, Any]]) -> None:
    lines = render(rows, ("name", "year", "note"), "table").split("\n")
    assert lines[-1] == "" and len(lines) == len(rows) + 2
    assert all(line.isprintable() for line in lines)


@given(ROWS)
def test_json_and_csv_give_back_what_was_put_in(rows: list[dict[str, Any]]) -> None:
    assert parsed(render(rows, ("name", "year", "note"), "json")) == rows
    back = list(csv.DictReader(io.StringIO(render(rows, ("name", "year", "note"), "csv"), newline="")))
    for found, row in zip(back, rows, strict=True):
        assert found["year"] == ("" if row["year"] is None else str(row["year"]))
        # As it was, or with its control characters escaped; a quote keeps a spreadsheet from running it.
        assert found["name"].removeprefix("'") in {
            text.removeprefix("'") for text in (row["name"], printable(row["name"]))
        }


@pytest.mark.parametrize("text", ["=1+1", "+1", "@x", "\t=1", "-1+1", "\r=1"])
def test_a_name_is_no_formula_of_a_spreadsheet(text: str) -> None:
    (row,) = csv.DictReader(io.StringIO(render([{"name": text}], ("name",), "csv"), newline=""))
    assert not row["name"].startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("tok_s", 2.2589, "2.26"),
        ("tok_s", None, "–"),
        ("fits", True, "yes"),
        ("fits", False, "no"),
        ("weights_bytes", 4.03e9, "3.75 GiB"),  # memory in the units in which it is sold and reported
        ("share", 0.1234, "12.3%"),
        ("batch", 64.0, "64"),
        ("prompt", 131072, "131072"),
        ("backends", ("cuda", "vulkan"), "cuda, vulkan"),
        ("bandwidth_bytes_s", 17.068e9, "17.1 GB/s"),
        ("name", "a\x1b[31mb\n", r"a\x1b[31mb\n"),
        ("backends", ("a\x1b[31m",), r"a\x1b[31m"),
    ],
)
def test_cells(key: str, value: Any, text: str) -> None:
    assert cell(key, value) == text


def test_numbers_that_json_has_not_are_refused() -> None:
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="JSON"):
            render([{"tok_s": value}], ("tok_s",), "json")


def test_every_column_says_what_it_is() -> None:
    for key, column in COLUMNS.items():
        assert column.key == key
        assert column.meaning and column.title and heading(key).startswith(column.title)
        for suffix, unit in (
            ("_bytes", "B"),
            ("tok_s", "tok/s"),
            ("_flop_per_byte", "FLOP/B"),
            ("_bytes_s", "B/s"),
            ("_flop_s", "FLOP/s"),
        ):
            if key.endswith(suffix):
                assert column.unit == unit, f"{key} carries its unit"


def test_every_number_of_the_contract_is_a_column() -> None:
    assert PHASE | BILL | {"ttft_s", "tpot_s", "total_s"} <= set(COLUMNS)


def test_names_from_files_are_escaped(tmp_path: Path) -> None:
    device, shape = tmp_path / "box.toml", tmp_path / "shape.toml"
    device.write_text(DEVICE.replace('"Box"', '"Evil\\u001b[31m\\nBox"'))
    shape.write_text(
        'name = "Bad\\u0007\\u009b"\narchitecture = "llama"\nvocab = 128\nhidden = 64\nlayers = 1\n'
        "[blocks.layer]\nattention = { heads = 4, kv_heads = 4, head_dim = 16 }\nmlp = { width = 96 }\n"
    )
    with fresh_catalog():
        result = roofline.predict(str(device), str(shape), "f16")
    for form in ("table", "md"):
        for text in (report.predictions([result], form), report.explanation(result, form)):
            assert all(line.isprintable() for line in text.split("\n"))
            assert "Evil\\x1b[31m\\nBox" in text and "Bad\\x07\\x9b" in text
