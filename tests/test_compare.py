"""Machines side by side: the same numbers as predict, costs from them, and words for what the bands tell apart."""

import csv
import inspect
import io
import json
import re

import pytest

from roofline import api, columns
from roofline.columns import COLUMNS
from roofline.comparison import Economy, Line, compare, price_list
from roofline.comparison_verdicts import verdicts
from roofline.economy import terms
from roofline.points import expand
from roofline.spec import SpecError
from tests.doc_blocks import ROOT
from tests.running import Run, runner

MODEL = ("--model", "llama-3.1-8b", "--quant", "q4_k_m")
FOUR = "rpi5,m4-10gpu,rtx-4090,strix-halo"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


def lines(hw: str, model: str = "llama-3.1-8b", quant: str | None = "q4_k_m", **words: object) -> list[Line]:
    return compare(hw, model, quant, terms(kwh=0.3), **words)  # type: ignore[arg-type]


def test_a_line_is_what_predict_says(run: Run) -> None:
    shown = json.loads(run("compare", *MODEL, "--hw", FOUR, "--kwh", "0.30", "--format", "json").out)
    assert shown["schema"] == "roofline.comparison/1"
    assert {row["hardware"] for row in shown["rows"]} == set(FOUR.split(","))
    for row in shown["rows"]:
        alone = api.predict(row["hardware"], "llama-3.1-8b", "q4_k_m")
        assert alone.decode is not None
        assert alone.prefill is not None
        assert row["decode_tok_s"] == float(alone.decode.tok_s)
        assert row["decode_low_tok_s"] == float(alone.decode.low_tok_s)
        assert row["prefill_high_tok_s"] == float(alone.prefill.high_tok_s)
        assert row["total_bytes"] == float(alone.memory.total)
        assert row["ttft_s"] == float(alone.prefill.seconds)
        assert row["fits"] is True


def test_costs_follow_from_the_speed_and_the_file(run: Run) -> None:
    """450 W and 1599 USD: J = 450 / speed; USD per million = 1e6/speed · (0.45 kW · 0.30/3600 + 1599/(3 a · 0.3))."""
    (row,) = json.loads(run("compare", *MODEL, "--hw", "rtx-4090", "--kwh", "0.30", "--format", "json").out)["rows"]
    speed, second = row["decode_tok_s"], 0.45 * 0.30 / 3600 + 1599 / (3 * 365.25 * 86400 * 0.3)
    assert row["decode_j_per_token"] == pytest.approx(450 / speed)
    assert row["decode_tokens_per_kwh"] == pytest.approx(speed * 3600 / 0.45)
    assert row["decode_usd_per_million"] == pytest.approx(1e6 * second / speed)
    assert row["decode_low_usd_per_million"] == pytest.approx(1e6 * second / row["decode_high_tok_s"])
    assert row["decode_high_usd_per_million"] == pytest.approx(1e6 * second / row["decode_low_tok_s"])
    assert row["prefill_usd_per_million"] == pytest.approx(1e6 * second / row["prefill_tok_s"])
    assert row["decode_tok_s_per_usd"] == pytest.approx(speed / 1599)
    assert (row["power_meaning"], row["price_date"], row["price_basis"]) == ("limit", "2022", "stated")


def test_a_rented_machine_needs_no_price(run: Run) -> None:
    words = ("compare", *MODEL, "--hw", "m2-ultra-76", "--per-hour", "3.6", "--format", "json")
    (row,) = json.loads(run(*words).out)["rows"]
    assert row["price_usd"] is None
    assert row["decode_usd_per_million"] == pytest.approx(1e3 / row["decode_tok_s"])


def test_a_cost_without_one_of_its_figures_is_none() -> None:
    (unpriced,) = lines("m2-ultra-76")
    assert unpriced.power_w == 295
    assert unpriced.decode.j_per_token is not None
    assert unpriced.decode.usd_per_million is unpriced.decode.tok_s_per_usd is None


def test_pairs_and_counts_are_paid_in_full() -> None:
    pair, two = (lines(hw)[0] for hw in ("rtx-3090+ryzen-7950x", "rtx-3090x2"))
    assert (pair.price, pair.power_w) == (1499 + 699, 350 + 170)
    assert pair.power_meaning == "tdp"  # the vaguer of the two
    assert (two.price, two.power_w) == (2 * 1499, 2 * 350)
    assert "without board and memory" in pair.left_out


def test_a_price_of_ones_own_is_of_the_whole_line() -> None:
    two, one = lines("rtx-3090x2,rpi5", prices=["RTX-3090 x2=1400", "100USD"])
    assert (two.price, two.price_basis, two.price_date, two.price_source) == (1400, "override", "", "")
    assert two.left_out.startswith("the card alone")  # the power still is
    assert one.price == 100
    assert two.decode.tok_s_per_usd == pytest.approx(float(two.prediction.decode.tok_s) / 1400)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("order", "first"), [("decode", "rtx-4090"), ("prefill", "rtx-4090"), ("price", "rpi5"), ("energy", "strix-halo")]
)
def test_the_best_comes_first_and_what_is_unknown_last(order: str, first: str) -> None:
    found = lines(f"{FOUR},m5-10gpu", order=order)
    assert found[0].hardware == first
    if order in ("price", "energy"):
        assert found[-1].hardware == "m5-10gpu"  # neither its price nor its power is known


def test_what_is_there_already_costs_its_energy() -> None:
    """11.75 W at 0.30 USD/kWh: a million tokens cost 11.75 / 1000 · 0.30 · 1e6 / speed / 3600."""
    (line,) = lines("rpi5", prices=["0"])
    assert line.prediction is not None and line.prediction.decode is not None
    speed = float(line.prediction.decode.tok_s)
    assert line.decode.usd_per_million == pytest.approx(0.01175 * 0.3 * 1e6 / speed / 3600)
    assert line.decode.tok_s_per_usd is None
    found = verdicts(compare("rpi5,rtx-4090", "llama-3.1-8b", "q4_k_m", terms(), ["0"]))
    assert found[1].startswith("Cheapest per token: rtx-4090, 0 USD per million; the bands overlap")


def test_who_states_a_price_is_said(run: Run) -> None:
    words = ("compare", *MODEL, "--hw", "rpi5,rtx-4090+ryzen-7950x", "--kwh", "0.3")
    shown = json.loads(run(*words, "--format", "json").out)
    rows = {row["hardware"]: row for row in shown["rows"]}
    assert rows["rpi5"]["price_source"] == "threedots.ovh: details of the Raspberry Pi 5 (https://threedots.ovh)"
    assert rows["rpi5"]["power_source"]
    pair = rows["rtx-4090+ryzen-7950x"]["price_source"]
    assert "mybroadband" in pair and "; " in pair and "hardcoregamer" in pair
    assert shown["terms"]["usd_per_kwh"] == 0.3 and shown["terms"]["utilisation"] == 0.3
    table = run(*words).out
    assert "Price of rpi5: threedots.ovh" in table
    many = run("compare", *MODEL, "--hw", "rtx-*", "--kwh", "0.3").out
    assert "sources; JSON and CSV name each." in many and "Price of" not in many


def test_the_power_of_a_card_is_of_the_card_whatever_price_is_given(run: Run) -> None:
    words = ("compare", *MODEL, "--hw", "rpi5,rtx-4090", "--kwh", "0.3", "--price", "rtx-4090=2600")
    done = run(*words).out
    assert "Power is of the card alone, without the machine around it: rtx-4090." in done
    assert "Price and power" not in done
    assert "Cheapest per token: rtx-4090, " in done  # its price is of whatever its giver means


def test_patterns_and_lists_make_lines() -> None:
    found = lines("rtx-40*,rpi5,rpi5", "llama-3.1-8b,qwen3-8b", "q4_k_m,q8_0")
    machines = {line.hardware for line in found}
    assert {"rtx-4090", "rtx-4070", "rpi5"} <= machines
    assert all(name.startswith("rtx-40") or name == "rpi5" for name in machines)
    assert len(found) == len(machines) * 4


def test_what_cannot_be_predicted_is_a_line_with_its_reason(run: Run) -> None:
    shown = run("compare", *MODEL, "--hw", "rpi5,rpi55")
    assert shown.code == 0
    assert "Not predicted: rpi55: --hw: expected a hardware id" in shown.out
    row = json.loads(run("compare", *MODEL, "--hw", "rpi5,rpi55", "--format", "json").out)["rows"][1]
    assert (row["hardware"], row["decode_tok_s"], row["fits"]) == ("rpi55", None, None)


def test_what_does_not_fit_has_a_line_without_speeds(run: Run) -> None:
    shown = run("compare", "--model", "llama-3.3-70b", "--quant", "q4_k_m", "--hw", "rtx-4090,m4-max-40")
    assert shown.code == 0
    assert shown.out.splitlines()[2].split()[:3] == ["rtx-4090", "no", "–"]
    assert "does not fit" in shown.out


def test_nothing_to_predict_is_an_error(run: Run) -> None:
    one = run("compare", *MODEL, "--hw", "rpi55")
    assert (one.code, one.out) == (1, "")
    assert one.err.startswith("error: --hw: expected a hardware id")
    two = run("compare", *MODEL, "--hw", "rpi55,xyzzy")
    assert two.code == 1
    assert two.err == "error: none of them could be predicted\n"
    assert "Not predicted: xyzzy" in two.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--hw", "zzz*"), "--hw: expected a pattern that a name matches"),
        (("--hw", "rpi5,,rpi4"), "--hw: expected names between the commas"),
        (("--hw", "rpi5", "--price", "cheap"), "--price: expected a quantity in USD"),
        (("--hw", "rpi5", "--price", "rpi5=-3"), "--price: expected a price"),
        (("--hw", "rpi5", "--price", "rpi6=3"), "--price: expected the id of a machine that is compared, found 'rpi6'"),
        (("--hw", "rpi5", "--per-hour", "1", "--lifetime", "5y"), "--per-hour: expected no --lifetime"),
        (("--hw", "rpi5", "--utilisation", "30"), "--utilisation: expected a share"),
        (("--hw", "rpi5", "--lifetime", "long"), "--lifetime: expected a duration"),
        (("--hw", "rpi5", "--kwh", "0.3", "--per-hour", "1"), "--per-hour: expected no --kwh"),
        (("--hw", "rpi5,rpi4", "--depth", "0,4k"), "expected one value each"),
    ],
)
def test_bad_words_are_one_line(words: tuple[str, ...], message: str, run: Run) -> None:
    shown = run("compare", *MODEL, *words)
    assert (shown.code, shown.out) == (1, "")
    assert message in shown.err
    assert len(shown.err.splitlines()) == 1


def test_names_are_each_taken_once() -> None:
    assert expand("hw", "b*, a, b1", ["a", "b1", "b2"]) == ["b1", "b2", "a"]
    assert price_list(["900", "RTX 3090=700 USD"]) == {"": 900.0, "rtx3090": 700.0}
    with pytest.raises(SpecError, match="--price"):
        price_list(["rpi5="])


def test_the_sentence_says_which_bands_overlap() -> None:
    """Of a 4090, 4080 and Pi the first two are within their bands of each other, the Pi is not."""
    found = verdicts(lines("rtx-4090,rtx-4080,rpi5"))
    fast = {line.hardware: line.prediction.decode for line in lines("rtx-4090,rtx-4080")}  # type: ignore[union-attr]
    assert fast["rtx-4080"].high_tok_s > fast["rtx-4090"].low_tok_s  # type: ignore[union-attr]
    assert found[0].startswith("Fastest in decode: rtx-4090")
    assert found[0].endswith("does not tell it from rtx-4080.")
    assert verdicts(lines("rtx-4090,rpi5"))[0].endswith("no other band reaches its own.")


def test_the_most_frugal_is_named_with_what_its_power_means() -> None:
    """450 W are a limit; 11.75 W of a Pi were measured. A kilowatt-hour is 3.6 million J."""
    found = lines("rtx-4090,rpi5")
    best = min(found, key=lambda line: line.decode.j_per_token or 0.0)
    joules = best.decode.j_per_token
    assert best.hardware == "rtx-4090" and joules is not None
    text = verdicts(found)[2]
    assert text.startswith("Least energy per token: rtx-4090, ")
    assert (
        f"{joules:.2f} J at most, at least {3.6 / joules:.2f} million tokens a kilowatt-hour; the bands overlap" in text
    )
    measured = verdicts(lines("rpi5,c2q-q8400"))[-1]
    assert measured.startswith("Least energy per token: rpi5, ") and "at most" not in measured


def test_no_sentence_compares_one_machine() -> None:
    assert verdicts(lines("rpi5")) == []
    assert verdicts([Line("a", "b", "c", reason="no")]) == ["None of them runs it."]


def test_every_key_is_explained_and_csv_has_them_all(run: Run) -> None:
    shown = json.loads(run("compare", *MODEL, "--hw", "rpi5", "--format", "json").out)
    keys = {key.removeprefix("prefill_").removeprefix("decode_") for key in shown["rows"][0]}
    bare = {key.removeprefix("low_").removeprefix("high_") for key in keys - {"low_tok_s", "high_tok_s"}}
    assert bare - set(COLUMNS) == set()
    assert {*shown, *shown["terms"]} - {"schema", "rows"} <= set(COLUMNS)
    described = (ROOT / "docs/reference/output.md").read_text(encoding="utf-8")
    assert all(f"`{key}`" in described or f"`rows[].{key}`" in described for key in {*bare, *shown["terms"]})
    (row,) = csv.DictReader(io.StringIO(run("compare", *MODEL, "--hw", "rpi5", "--format", "csv").out))
    assert set(row) == set(shown["rows"][0])


def test_the_table_is_no_wider_than_a_screen(run: Run) -> None:
    table = run("compare", *MODEL, "--hw", FOUR, "--kwh", "0.30").out.split("\n\n")[0]
    assert max(map(len, table.splitlines())) <= 155


def test_markdown_has_the_sentences_too(run: Run) -> None:
    shown = run("compare", *MODEL, "--hw", FOUR, "--format", "md").out
    assert shown.startswith("| hardware |")
    assert "Fastest in decode: rtx-4090" in shown


def test_a_phase_that_was_not_asked_for_costs_nothing_and_is_not_free() -> None:
    (line,) = lines("rpi5", gen="0")
    assert line.decode == Economy()
    assert line.prefill.j_per_token is not None


def test_no_key_of_the_reports_is_explained_twice() -> None:
    """The later entry would take the place of the earlier: another command's heading and unit."""
    source = inspect.getsource(columns)
    keys = re.findall(r'_column\(\s*"(\w+)"', source)
    assert len(keys) == len(COLUMNS) == len(set(keys))
