"""The command `roofline error`: tables, JSON, words, and what it refuses."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roofline.charts.dot_errors import COLUMNS as CHART_COLUMNS
from roofline.charts.dot_errors import dot_errors
from roofline.columns import COLUMNS
from roofline.document.pictures import dot_errors_picture
from roofline.mixes import mixes
from roofline.plot.dot_errors import figure
from roofline.precision.outcome import KERNELS, outcome
from roofline.precision.report import record, report, words
from roofline.precision.request import Request, request
from roofline.spec import SpecError
from tests.figures import assert_no_raw_names, assert_palette
from tests.running import Run, runner

QUICK = ("--trials", "100")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


def asked(quants: str = "q8_0,f16", **more: Any) -> Request:
    return request(mixes(quants), **{"trials": 100, **more})


def test_names_are_types_before_they_are_recipes() -> None:
    found = mixes("q8_0,Q4_K_M,f16,q4_k")
    assert found["q8_0"] == {"q8_0": 1.0} and found["f16"] == {"f16": 1.0} and found["q4_k"] == {"q4_k": 1.0}
    assert set(found["q4_k_m"]) == {"q4_k", "q6_k"}
    elements = sum(found["q4_k_m"].values())
    assert elements == pytest.approx(8.03e9, rel=0.001)  # Llama 3.1 8B, its norms left out
    assert mixes("q4_k_m", "mistral-7b")["q4_k_m"] != found["q4_k_m"]


def test_the_documented_command(run: Run) -> None:
    words_of = "error --quant q8_0,q4_0,q4_k_m,f16 --k 4096 --accumulate fp16,fp32 --sum plain,pairwise,kahan"
    done = run(*words_of.split(), "--format", "json", *QUICK)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["schema"] == "roofline.error/1" and found["trials"] == 100
    assert len(found["weights"]) == 4 * 3 and len(found["dot_products"]) == 4 * 2 * 3
    assert len(found["kernels"]) == len(KERNELS) and len(found["floats"]) == 2
    for rows in (found["weights"], found["dot_products"], found["kernels"], found["floats"]):
        assert all(key in COLUMNS for row in rows for key in row)
    for row in found["weights"]:
        assert row["derived_db"] == pytest.approx(row["simulated_db"], abs=0.1), row  # mixes, too
    for row in found["dot_products"]:
        assert row["low_db"] < row["simulated_db"] < row["high_db"]
        assert row["agrees"] == (row["low_db"] <= row["derived_db"] <= row["high_db"])
    alone = {(row["quant"], row["accumulator"], row["summation"]): row for row in found["dot_products"]}
    assert alone["f16", "fp16", "plain"]["main_part"] == "additions"
    assert alone["q8_0", "fp32", "plain"]["main_part"] == "activations"
    assert alone["q4_0", "fp16", "kahan"]["main_part"] == "weights"
    assert (alone["f16", "fp16", "plain"]["growth"], alone["f16", "fp16", "kahan"]["growth"]) == ("√k", "none")


def test_the_verdict_follows_from_the_numbers() -> None:
    short, long = (words(outcome(asked(k=k, simulated=False))) for k in ("1024", "32768"))
    assert "against none of these sums" in short[0]
    assert "only against one fp16 sum and tinyBLAS on Armv8.2" in long[0]
    crossings = outcome(asked(simulated=False)).crossings
    assert f"from k = {crossings['one fp16 sum']} with one fp16 sum" in short[0] and "never with fp32 sums" in short[0]
    assert crossings["pairwise fp16 sums"] is crossings["compensated fp16 sums"] is None
    alone = outcome(asked("q8_0", simulated=False))
    assert not alone.kernels and not any("beat" in line for line in words(alone))


def test_formats_say_the_same() -> None:
    found = outcome(asked(k="512,1024", accumulate="fp16", summation="plain,lanes8"))
    rows = list(csv.DictReader(io.StringIO(report(found, "csv"))))
    assert [(row["quant"], row["k"], row["summation"]) for row in rows] == [
        (one["quant"], str(one["k"]), one["summation"]) for one in found.dots
    ]
    assert float(rows[0]["derived_db"]) == pytest.approx(record(found)["dot_products"][0]["derived_db"])
    table, page = report(found, "table", floats=True), report(found, "md", floats=True)
    assert "fp16 and bf16" in table and "## fp16 and bf16" in page and "fp16 and bf16" not in report(found, "table")
    assert "simulated (95 %) [dB]" in table and page.count("|--") >= 4
    derived = report(outcome(asked(simulated=False)), "table")
    assert "no simulation" in derived and "simulated (95" not in derived and "inside" not in derived


def test_a_sum_that_would_overflow_is_warned_of() -> None:
    assert any("good up to activations of rms" in line for line in words(outcome(asked(simulated=False))))
    loud = outcome(asked(activation_rms=30_000.0, simulated=False))
    assert any(line.startswith("Warning: fp16 sums overflow") for line in words(loud))
    tried = outcome(asked("f16", activation_rms=30_000.0, summation="plain", accumulate="fp16"))
    assert tried.dots[0]["simulated_db"] is None  # sums became infinite
    assert report(tried, "json") and report(tried, "table")
    nothing = words(outcome(asked(weight_rms=1e20, simulated=False)))
    assert nothing[0] == "Does q8_0 beat f16? Both overflow." and "(others overflow)" in nothing[-1]


def test_sums_that_would_underflow_are_warned_of() -> None:
    """fp16's smallest normal number, 2^-14, by weights of rms 0.02: 0.00305."""
    below, above = (words(outcome(asked("f16", activation_rms=rms, simulated=False)))[0] for rms in (0.003, 0.0031))
    assert below.startswith("Warning: activations of rms 0.00305 and less") and above.startswith("fp16 sums are good")


def test_outliers_and_types_that_nobody_writes_are_said() -> None:
    found = words(outcome(asked("q4_k_m,f16", activations="outliers", k="256")))
    assert any("0.1% of the activations are 50 times larger" in line for line in found)
    assert any(line.startswith("Searched: several scales") for line in found)
    assert not any(line.startswith("Searched") for line in words(outcome(asked("q4_0", simulated=False))))
    assert any("Nothing here writes" in line and "q4_k" in line for line in found)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--k", "0", "--k: expected 1 to 16777216 terms"),
        ("--k", "-5", "--k: expected a whole number such as 4096 or 4k, found '-5'"),
        ("--k", "four", "--k: expected a whole number"),
        ("--k", "999m", "--k: expected 1 to 16777216 terms, more than any matrix has in a row"),
        ("--k", "100", "--k: expected a multiple of 32, the block of q8_0, found 100"),
        ("--quant", "q9_9", "expected a quantisation such as q4_k_m"),
        ("--quant", "4.5bpw", "no kernel of llama.cpp multiplies it"),
        ("--quant", "", "--quant: expected names"),
        ("--accumulate", "fp12", "--accumulate: expected one of fp32, fp16, bf16, found 'fp12'"),
        ("--sum", "kahn", "--sum: expected plain, pairwise, kahan, blocked or lanes"),
        ("--distribution", "cauchy", "--distribution: expected one of gaussian"),
        ("--activations", "cauchy", "--activations: expected one of gaussian"),
        ("--trials", "1", "--trials: expected 2 to 1000000, for an interval, found 1"),
        ("--trials", "500000", "--trials: expected at most 32768 of k = 4096 terms"),
        ("--seed", "-1", "--seed: expected a number from 0 up"),
        ("--weight-rms", "0", "--weight-rms: expected a positive number"),
        ("--activation-rms", "nan", "--activation-rms: expected a positive number"),
        ("--activation-rms", "1e35", "--activation-rms: expected a positive number from 1e-30 to 1e+30, found 1e+35"),
    ],
)
def test_bad_input_gets_one_clear_line(run: Run, option: str, value: str, said: str) -> None:
    done = run("error", f"{option}={value}")
    assert done.code == 1 and done.out == ""
    assert done.err.startswith("error: ") and said in done.err and done.err.count("\n") == 1


def test_a_type_of_the_wrong_kind_is_wrong_usage(run: Run) -> None:
    assert run("error", "--trials", "many").code == 2
    with pytest.raises(SpecError, match="--model"):
        mixes("q4_k_m", "no-such-model")


def test_long_sums_are_derived_where_trials_are_too_many(run: Run) -> None:
    assert run("error", "--k", "1m").code == 1
    done = run("error", "--k", "1m", "--no-simulation", "--format", "json")
    assert done.code == 0 and json.loads(done.out)["dot_products"][0]["simulated_db"] is None


# -- the chart ----------------------------------------------------------------------------------------------------


def test_the_chart_draws_what_the_tables_say() -> None:
    found = outcome(asked("q8_0,q4_0,f16", k="1024,4096", summation="plain,lanes8,kahan"))
    chart = dot_errors(found)
    drawn = {(row["quant"], row["accumulator"], row["summation"], row["k"]): row for row in chart.rows()}
    matched = 0
    for row in found.dots:
        point = drawn.get((row["quant"], row["accumulator"], row["summation"], row["k"]))
        if point is not None:
            matched += 1
            for key in ("derived_db", "simulated_db", "low_db", "high_db"):
                assert point[key] == pytest.approx(row[key]), key
    assert matched == 2 * len(chart.curves)
    assert all(key in COLUMNS for key in CHART_COLUMNS)
    assert [curve.label for curve in chart.curves if curve.quant == "q4_0"] == ["q4_0, fp16 plain (and 5 alike)"]
    every = [name for curve in chart.curves for name in (curve.name, *curve.same)]
    assert len(every) == len(found.dots) // 2  # nothing asked for is left out
    # The lines of f16 in one fp16 sum and of q8_0 in fp32 cross where the verdict says.
    f16, q8_0 = (
        next(c for c in chart.curves if c.quant == name and "fp16 plain" in c.name) for name in ("f16", "q8_0")
    )
    above = [k for k, a, b in zip(chart.lengths, f16.relative_rms, q8_0.relative_rms, strict=True) if a > b]
    assert min(above) == 4096 and found.crossings["one fp16 sum"] == 2816
    slope = np.polyfit(np.log(chart.lengths), np.log(f16.relative_rms), 1)[0]
    assert slope == pytest.approx(0.5, abs=0.01)


def test_the_figure_keeps_to_the_palette_and_shows_intervals() -> None:
    chart = dot_errors(outcome(asked(k="1024", summation="plain,pairwise")))
    made = figure(chart)
    assert_palette(made)
    assert_no_raw_names(made)
    points = [trace for trace in made["data"] if trace["mode"] == "markers"]
    tried = [seen for curve in chart.curves for seen in curve.seen]
    for trace, seen in zip(points, tried, strict=True):  # one length, so a point to a curve
        bars = trace["error_y"]
        assert seen.low < seen.relative_rms == trace["y"][0] < seen.high
        assert (bars["array"], bars["arrayminus"]) == ([seen.high - trace["y"][0]], [trace["y"][0] - seen.low])
    assert made["layout"]["xaxis"]["type"] == made["layout"]["yaxis"]["type"] == "log"
    assert dot_errors_picture(chart).numbers.rows == chart.rows()
    bare = figure(dot_errors(outcome(asked(simulated=False))))
    assert all(trace["mode"] == "lines" for trace in bare["data"])


def test_what_overflows_is_said_and_not_drawn() -> None:
    chart = dot_errors(outcome(asked(activation_rms=10_000.0, simulated=False)))
    assert any("Overflow" in note and "q8_0, fp16 plain" in note for note in chart.notes)
    assert all(np.all(np.isfinite(curve.relative_rms)) for curve in chart.curves)


def test_the_chart_is_written_beside_the_tables(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "errors.json"
    done = run("error", "--quant", "f16", "--no-simulation", "--sum", "plain", "--out", str(file))
    assert done.code == 0 and f"wrote {file}" in done.err and "Error of dot products" in done.out
    assert json.loads(file.read_text(encoding="utf-8"))["data"]
    refused = run("error", "--no-simulation", "--out", str(tmp_path / "errors.txt"))
    assert (refused.code, refused.out) == (1, "") and "--out: expected a name that ends in" in refused.err


def test_a_file_takes_no_options_about_drawn_weights(run: Run) -> None:
    for option in ("--out=e.html", "--k=256", "--quant=q4_0", "--trials=10"):
        done = run("error", "--model", "some.gguf", option)
        assert done.code == 2 and "a GGUF file" in done.err, option
