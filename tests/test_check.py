"""Verdicts, terms, siblings and groups: relations and structure, whatever the constants of the day are."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from roofline import calculator
from roofline.bench import Given, Observation, read_observations, shipped
from roofline.check.checking import Checked, check, check_file
from roofline.check.groups import errors, groups
from roofline.check.report import ROW_KEYS, check_report, record, report
from roofline.check.siblings import MOST_PAIRED, contradicts, mark_suspects
from roofline.check.terms import TERMS, Times, change_needed
from roofline.check.verdicts import VERDICTS, Expectation, Row, expectation, half_a_digit, judge
from roofline.cli.app import app
from roofline.columns import COLUMNS
from roofline.prediction import Phase
from roofline.weights import weigh
from roofline.workload import Workload
from tests import small

DECODE = Observation(
    "d", "rpi5", "tinyllama-1.1b", "q8_0", "tg", 8.0, date="2025-10-01", backend="cpu", runtime="llama.cpp", gen=128
)
PREFILL = replace(DECODE, id="p", phase="pp", prompt=512, gen=None, tok_s=50.0)


def judged(seen: Observation, **changes: float) -> Row:
    """The verdict on an observation whose prediction has some figures replaced."""
    outlook: Expectation = expectation(seen)
    return judge(seen, replace(outlook, **changes))  # type: ignore[arg-type]


# -- one row ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", [DECODE, PREFILL], ids=["decode", "prefill"])
def test_a_measurement_as_predicted_is_ok(seen: Observation) -> None:
    row = judge(replace(seen, tok_s=expectation(seen).tok_s), expectation(seen))
    assert (row.verdict, row.reason, row.change, row.in_band) == ("ok", "", None, True)
    assert row.ratio == pytest.approx(1) and row.error == pytest.approx(0)
    assert row.low_tok_s < row.predicted_tok_s < row.high_tok_s <= row.ceiling_tok_s


@pytest.mark.parametrize("seen", [DECODE, PREFILL], ids=["decode", "prefill"])
def test_a_measurement_below_the_band_is_off_and_names_a_term(seen: Observation) -> None:
    row = judge(replace(seen, tok_s=expectation(seen).low_tok_s / 3), expectation(seen))
    assert row.verdict == "off" and row.ratio > 3 and row.change is not None
    assert row.change.term in TERMS and row.change.term in row.reason and "below the band" in row.reason


@pytest.mark.parametrize("seen", [DECODE, PREFILL], ids=["decode", "prefill"])
def test_nothing_is_faster_than_light(seen: Observation) -> None:
    row = judge(replace(seen, tok_s=expectation(seen).ceiling_tok_s * 1.5), expectation(seen))
    assert row.verdict == "impossible" and "speed of light of rpi5" in row.reason


@pytest.mark.parametrize(
    ("tok_s", "std", "half"),
    [(2.0, None, 0.5), (95.0, None, 0.5), (22.03, None, 0.005), (5.9, None, 0.05), (45.0, 0.1, 0.0), (0.5, None, 0.05)],
)
def test_a_printed_speed_stands_for_half_a_digit_around_it(tok_s: float, std: float | None, half: float) -> None:
    assert half_a_digit(replace(DECODE, tok_s=tok_s, std=std)) == pytest.approx(half)


def test_a_speed_of_light_below_the_printed_2_may_be_reached_by_1_5() -> None:
    two = replace(DECODE, tok_s=2.0)
    assert judged(two, ceiling_tok_s=1.8, high_tok_s=1.7, low_tok_s=1.0).verdict == "ok"  # it may have been 1.5
    assert judged(two, ceiling_tok_s=1.4, high_tok_s=1.3, low_tok_s=1.0).verdict == "impossible"
    # 2.0 ± 0.1 in full precision is at least 1.9.
    assert judged(replace(two, std=0.1), ceiling_tok_s=1.8, high_tok_s=1.7).verdict == "impossible"
    assert judged(replace(two, std=0.3), ceiling_tok_s=1.8, high_tok_s=1.7).verdict == "off"


def test_what_was_guessed_is_said() -> None:
    (row,) = check([replace(PREFILL, prompt=None, date="")]).rows
    assert "prompt length" in row.guessed and "period" in row.guessed


# -- terms ------------------------------------------------------------------------------------------------------------


def phase_of(table: dict[str, Any], prompt: float = 0.0, gen: float = 0.0, depth: float = 0.0) -> Phase:
    model = small.model()
    workload = Workload(prompt=prompt, gen=gen, depth=depth)
    prediction = calculator.predict(model, weigh(model, "f16"), small.machine(table), workload)
    phase = prediction.prefill or prediction.decode
    assert phase is not None
    return phase


PHASES = [
    phase_of(small.GPU, gen=16), phase_of(small.GPU, prompt=512), phase_of(small.CPU, gen=16),
    phase_of(small.CPU, prompt=512), phase_of(small.CPU, gen=16, depth=20_000),
]  # fmt: skip


@pytest.mark.parametrize("phase", PHASES)
def test_the_terms_are_all_of_the_time(phase: Phase) -> None:
    seconds = Times(phase).seconds()
    assert set(seconds) == set(TERMS) and min(seconds.values()) >= 0
    assert sum(seconds.values()) == pytest.approx(float(phase.seconds))
    assert seconds["launch cost"] == pytest.approx(float(phase.shares["overhead"]))


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("ratio", [0.3, 0.8, 1.25, 4.0])
def test_the_change_makes_the_prediction_exact(phase: Phase, ratio: float) -> None:
    change = change_needed(phase, ratio)
    times = Times(phase)
    seconds = times.seconds()
    assert seconds[change.term] == max(seconds.values())
    if change.factor is None:  # the other terms alone take too long
        rest = sum(seconds.values()) - seconds[change.term]
        assert rest >= ratio * sum(seconds.values()) * 0.999
    else:
        changed = sum(times.seconds(change.term, change.factor).values())
        assert changed == pytest.approx(ratio * sum(seconds.values()), rel=2e-3)
        assert (change.factor > 1) == (ratio > 1)


def test_where_times_add_up_the_factor_is_linear() -> None:
    """The small engine has p = 1. With a share s, s·f + (1 − s) = r gives f = 1 + (r − 1) / s."""
    for phase in PHASES:
        change = change_needed(phase, 2.0)
        assert change.factor == pytest.approx(1 + 1 / change.share, rel=2e-3)


@given(st.sampled_from(["bandwidth", "compute path", "launch cost", "KV"]), st.floats(1.0, 10.0))
def test_more_of_a_term_is_more_time(term: Any, factor: float) -> None:
    for phase in PHASES:
        times = Times(phase)
        assert sum(times.seconds(term, factor).values()) >= sum(times.seconds().values()) * (1 - 1e-12)


def test_a_long_context_on_slow_cores_is_a_matter_of_the_cache() -> None:
    assert change_needed(PHASES[4], 2.0).term == "KV"


# -- siblings ---------------------------------------------------------------------------------------------------------


def family(*speeds: tuple[str, float]) -> list[Row]:
    """Rows of one run in several quantisations."""
    rows = [
        replace(DECODE, id=f"{quant}-{place}", quant=quant, tok_s=speed) for place, (quant, speed) in enumerate(speeds)
    ]
    return [judge(seen, expectation(seen)) for seen in rows]


def suspects(rows: Sequence[Row]) -> list[str]:
    return [row.observation.id for row in mark_suspects(rows) if row.verdict == "suspect"]


def test_f16_is_not_faster_than_q8_0() -> None:
    first, second = mark_suspects(family(("q8_0", 3.0), ("f16", 6.0)))
    assert (first.verdict, second.verdict) == ("suspect", "suspect")
    assert "contradicts f16-1" in first.reason and "contradicts q8_0-0" in second.reason
    assert "swapped?" in first.reason and "swapped?" in second.reason


def test_the_row_that_contradicts_most_is_the_suspect() -> None:
    assert suspects(family(("q4_0", 6.2), ("q8_0", 5.1), ("f16", 7.3))) == ["f16-2"]
    assert suspects(family(("q4_0", 2.1), ("q8_0", 5.1), ("f16", 3.1))) == ["q4_0-0"]


@pytest.mark.parametrize(
    "speeds",
    [
        (("q8_0", 9.0), ("f16", 5.0)),
        (("q8_0", 9.0), ("q8_0", 8.0)),  # two runs of one file
        (("q4_0", 9.0), ("q4_1", 9.5)),  # 1.1 times the bytes: noise
        (("q8_0", 1.0), ("f16", 2.0)),  # 1 may be 1.5, 2 may be 1.5
    ],
)
def test_what_can_be_is_not_suspect(speeds: tuple[tuple[str, float], ...]) -> None:
    assert suspects(family(*speeds)) == []


def test_a_smaller_file_may_be_slower_where_arithmetic_limits() -> None:
    """Where the prediction expects the larger file to be faster, a measurement that agrees is no contradiction."""
    small_file, large_file = family(("q2_k", 3.0), ("q8_0", 4.5))
    assert large_file.bytes_per_pass > 1.3 * small_file.bytes_per_pass
    slower = replace(small_file, predicted_tok_s=4.0)
    assert contradicts(replace(large_file, predicted_tok_s=2.0), slower)
    assert not contradicts(replace(large_file, predicted_tok_s=5.0), slower)


def test_an_impossible_row_is_no_witness_against_its_siblings() -> None:
    rows = family(("q4_0", 6.2), ("f16", 20.0))
    assert rows[1].verdict == "impossible" and mark_suspects(rows) == rows


@pytest.mark.parametrize("change", [{"threads": 2}, {"date": "2025-11"}, {"note": "tokenizer=x"}, {"gen": 64}])
def test_rows_of_different_runs_are_no_siblings(change: dict[str, Any]) -> None:
    slow, fast = family(("q8_0", 3.0), ("f16", 6.0))
    assert suspects([slow, fast]) != []
    assert suspects([replace(slow, observation=replace(slow.observation, **change)), fast]) == []


def test_many_siblings_are_compared_with_the_typical_one() -> None:
    rows = family(("q8_0", 5.1), ("f16", 3.1), ("f16", 7.3))
    many = [replace(rows[0], observation=replace(rows[0].observation, id=f"m{n}")) for n in range(2 * MOST_PAIRED)]
    assert suspects([*many, rows[1], rows[2], rows[1]]) == ["f16-2"]


def test_the_swapped_pair_of_the_note_is_found_and_no_other() -> None:
    """llamafile 0.7 on an M2 Ultra's CPU: the note has q8_0 at 66 and f16 at 95 tok/s, the original page reversed."""
    rows = {row.observation.id: row for row in check_file().rows if row.observation.id.startswith("seed-")}
    found = {name: row.reason for name, row in rows.items() if row.verdict == "suspect"}
    assert set(found) == {"seed-0028", "seed-0030"}
    assert "contradicts seed-0030" in found["seed-0028"] and "f16 reads" in found["seed-0028"]
    assert all("swapped?" in reason for reason in found.values())
    repaired = [
        replace(rows[name].observation, tok_s=speed) for name, speed in (("seed-0028", 95.0), ("seed-0030", 66.0))
    ]
    assert all(row.verdict != "suspect" for row in check(repaired).rows)


# -- groups -----------------------------------------------------------------------------------------------------------


def test_devices_count_alike() -> None:
    """Device a: three rows exact. Device b: one row predicted twice as fast as measured, an error of 100 %."""
    found = errors([0.0, 0.0, 0.0, math.log(2)], ["a", "a", "a", "b"])
    assert (found.rows, found.devices) == (4, 2)
    assert found.median_error == pytest.approx(0.5)  # the median of 0 and 1
    assert found.geometric_factor == pytest.approx(2**0.5)  # half-way between the factors 1 and 2
    assert (found.within_10, found.within_50) == (0.75, 0.75)
    assert found.devices_within_factor_1_5 == 0.5
    assert found.bias == pytest.approx(math.sqrt(2))  # exp of the median of ln 1 and ln 2


@given(st.lists(st.tuples(st.floats(-2, 2), st.sampled_from("abc")), min_size=1, max_size=20))
def test_figures_of_groups(pairs: list[tuple[float, str]]) -> None:
    residuals, names = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    found = errors(residuals, names)
    assert 0 <= found.within_10 <= found.within_20 <= found.within_50 <= 1
    assert found.geometric_factor >= 1 and found.median_error >= 0
    assert max(found.bias, 1 / found.bias) <= math.exp(max(map(abs, residuals))) * (1 + 1e-9)
    turned = errors([-value for value in residuals], names)
    assert turned.geometric_factor == pytest.approx(found.geometric_factor)
    assert turned.bias == pytest.approx(1 / found.bias)


def test_a_row_is_in_the_groups_that_it_belongs_to() -> None:
    seen = [
        DECODE,
        replace(DECODE, id="deep", depth=1024),
        replace(DECODE, id="batch", batch=4),
        replace(DECODE, id="moe", model="qwen3-30b-a3b", hardware="ryzen-7950x"),
        replace(DECODE, id="cards", hardware="rtx-3090", backend="cuda", count=2),
        replace(DECODE, id="poor", tier="C"),
    ]
    checked = check(seen)
    assert not checked.skipped
    rows = {group.group: group.rows for group in groups(checked.rows)}
    assert rows == {
        "all rows": 6, "plain": 3, "cpu": 3, "moe": 1, "depth > 0": 1, "batch > 1": 1, "several devices": 1,
    }  # fmt: skip


# -- a file -----------------------------------------------------------------------------------------------------------

TEXT = """id,hardware,backend,model,quant,phase,tok_s,date
good,rpi5,cpu,tinyllama-1.1b,q8_0,tg,8,2025-10
nan,rpi5,cpu,tinyllama-1.1b,q8_0,tg,nan,2025-10
lost,no-such-device,cpu,tinyllama-1.1b,q8_0,tg,8,2025-10
served,rpi5,cpu,tinyllama-1.1b,q8_0,serve,8,2025-10
cuda,rpi5,cuda,tinyllama-1.1b,q8_0,tg,8,2025-10
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    path.write_text(TEXT)
    return path


def parsed(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_no_row_is_dropped(file: Path) -> None:
    found = parsed(check_report(str(file), None, None, None, "json"))
    assert [row["id"] for row in found["rows"]] == ["good"]
    reasons = {one["id"]: one["reason"] for one in found["skipped"]}
    assert set(reasons) == {"nan", "lost", "served", "cuda"}
    assert "tok_s" in reasons["nan"] and "no-such-device" in reasons["lost"]
    assert "serve" in reasons["served"] and "--backend" in reasons["cuda"]
    assert all(set(one) == {"id", "reason"} for one in found["skipped"])
    assert (found["summary"]["rows"], found["summary"]["skipped"]) == (1, 4)


def test_csv_has_the_skipped_rows_too(file: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(check_report(str(file), None, None, None, "csv"))))
    assert len(rows) == 5 and list(rows[0]) == list(ROW_KEYS)
    assert [row["verdict"] == "skipped" for row in rows] == [False, True, True, True, True]
    assert all(row["reason"] for row in rows[1:])


@pytest.fixture(scope="module")
def everything() -> Checked:
    return check_file()


def test_the_json_keeps_its_contract(everything: Checked) -> None:
    found = record(everything, 5)
    assert found["schema"] == "roofline.check/1" and set(found) == {"schema", "rows", "skipped", "summary"}
    reading = shipped()
    ids = [row["id"] for row in found["rows"]] + [one["id"] for one in found["skipped"]]
    assert sorted(ids) == sorted([one.id for one in reading.observations] + [one.id for one in reading.skipped])
    summary = found["summary"]
    assert list(summary["verdicts"]) == list(VERDICTS) and sum(summary["verdicts"].values()) == len(found["rows"])
    for row in found["rows"]:
        assert set(row) == set(ROW_KEYS) <= set(COLUMNS)
        assert row["phase"] in ("prefill", "decode") and row["verdict"] in VERDICTS
        assert 0 < row["low_tok_s"] <= row["predicted_tok_s"] <= row["high_tok_s"]
        assert row["ratio"] == pytest.approx(row["predicted_tok_s"] / row["measured_tok_s"])
        assert (row["term"] in TERMS) == (row["verdict"] == "off")
        assert bool(row["reason"]) == (row["verdict"] != "ok")
    assert parsed(report(everything, "json", 5)) == found


def test_the_summary_covers_every_row(everything: Checked) -> None:
    summary = record(everything, 5)["summary"]
    whole = [group for group in summary["groups"] if group["group"] == "all rows"]
    assert sum(group["rows"] for group in whole) == summary["rows"]
    assert sum(device["rows"] for device in summary["devices"]) == summary["rows"]
    factors = [device["geometric_factor"] for device in summary["devices"]]
    assert factors == sorted(factors, reverse=True)


def test_the_worst_rows_come_with_term_and_neighbours(everything: Checked) -> None:
    worst = record(everything, 5)["summary"]["worst"]
    factors = [max(row["ratio"], 1 / row["ratio"]) for row in worst]
    assert len(worst) == 5 and factors == sorted(factors, reverse=True)
    every = (max(row.ratio, 1 / row.ratio) for row in everything.rows)
    assert factors[0] == pytest.approx(max(every))
    for row in worst:
        assert 0 < len(row["nearest"]) <= 3 and row["id"] not in {near["id"] for near in row["nearest"]}
        assert all(near["phase"] == row["phase"] for near in row["nearest"])
        if row["verdict"] == "off":
            assert 0.25 <= row["term_share"] <= 1  # the largest of four
            assert row["term_factor"] is None or row["term_factor"] > 0


def test_rows_keep_the_order_of_the_file(everything: Checked) -> None:
    places = {seen.id: place for place, seen in enumerate(shipped().observations)}
    order = [places[row.observation.id] for row in everything.rows]
    assert order == sorted(order)


def test_equal_configurations_are_predicted_alike_and_others_are_not() -> None:
    one, same, other = check([DECODE, replace(DECODE, id="b", tok_s=4.0), replace(DECODE, id="c", threads=1)]).rows
    assert one.predicted_tok_s == same.predicted_tok_s != other.predicted_tok_s
    assert same.ratio == pytest.approx(2 * one.ratio)


def test_the_table_says_the_verdicts_first(everything: Checked) -> None:
    text = report(everything, "table", 3)
    assert text.startswith(f"{len(everything.rows)} rows checked: ")
    for words in ("Errors", "Doubtful measurements", "seed-0028: suspect", "Worst rows", "Skipped"):
        assert words in text
    brief = report(everything, "table", 0)
    assert "Worst rows" not in brief and "Skipped" in brief
    assert "## Errors" in report(everything, "md", 0)


def test_a_file_without_a_usable_row_is_still_reported() -> None:
    reading = read_observations(TEXT.replace("good,rpi5", "good,rpi6"), Given())
    checked = check(reading.observations, reading.skipped)
    assert report(checked, "table", 3).startswith("0 rows checked: 0 ok, 0 off; 5 skipped.")
    one = Checked(check(shipped().observations[:1]).rows, ())
    assert report(one, "table", 0).startswith("1 row checked: ")
    assert parsed(report(checked, "json", 3))["summary"]["groups"] == []


# -- the command ------------------------------------------------------------------------------------------------------


def run(*arguments: str, text: str | None = None) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["check", *arguments], input=text)
    return done.exit_code, done.stdout, str(done.exception or "")


def test_standard_input_and_what_the_file_does_not_say() -> None:
    text = "phase,tok_s,backend,date\ntg,8,cpu,2025-10\n"
    code, out, _ = run(
        "-", "--hw", "rpi5", "--model", "TinyLlama 1.1B", "--quant", "Q8_0", "--format", "json", text=text
    )
    (row,) = parsed(out)["rows"]
    assert code == 0
    assert (row["hardware"], row["model"], row["quant"], row["count"]) == ("rpi5", "tinyllama-1.1b", "q8_0", 1)


def test_without_a_file_the_options_select() -> None:
    code, out, _ = run("--hw", "Raspberry Pi 5", "--model", "tinyllama", "--quant", "Q8_0", "--format", "json")
    rows = parsed(out)["rows"]
    assert code == 0
    assert len(rows) > 1
    assert {(row["hardware"], row["model"], row["quant"]) for row in rows} == {("rpi5", "tinyllama-1.1b", "q8_0")}


def test_a_selected_row_keeps_the_verdict_that_it_owes_to_its_siblings() -> None:
    code, out, _ = run("--hw", "m2-ultra-76", "--quant", "q8_0", "--format", "json")
    assert code == 0
    assert "suspect" in {row["verdict"] for row in parsed(out)["rows"] if row["id"] == "seed-0028"}


@pytest.mark.parametrize(
    ("arguments", "text", "message"),
    [
        (("--hw", "rpi5", "--model", "llama-3.3-70b"), None, "found no row of rpi5 llama-3.3-70b"),
        (("-",), "nothing of the kind\n", "expected an observations CSV"),
        (("-",), "", "found nothing"),
        (("-",), "id,hardware,tok_s,phase\n", "expected the columns model, quant"),
        (("no-such-file.csv",), None, "no-such-file.csv"),
        (("-", "--hw", "no-such-device"), TEXT, "--hw: expected hardware"),
        (("-", "--quant", "q4_9"), TEXT, "--quant: "),
    ],
)
def test_what_cannot_be_read_is_one_line(arguments: tuple[str, ...], text: str | None, message: str) -> None:
    code, out, problem = run(*arguments, text=text)
    assert code == 1 and out == ""
    assert message in problem and "\n" not in problem
