"""Recommendations: what meets the wishes and nothing else, in order, with reasons that the figures bear out."""

import json
from itertools import pairwise

import pytest

import roofline
from roofline.columns import COLUMNS
from roofline.economy import Terms
from roofline.recommend import Candidate, Question, Wishes, candidates, near_misses, rank
from roofline.recommend.candidates import LEAST_BITS
from roofline.spec import SpecError
from roofline.workload import Workload
from tests.running import Run, runner

CARDS = ("rtx-3060", "rtx-3090", "rtx-4090", "rx-7900-xtx", "rpi5", "m4-10gpu", "epyc-9654", "a10", "m3-ultra-80")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture(scope="module")
def machines() -> list[Candidate]:
    question = Question(CARDS, ("qwen3-32b",), ("q4_k_m",))
    return candidates(question, Workload(512.0, 128.0, context=16384), Terms())[0]


@pytest.fixture(scope="module")
def models() -> list[Candidate]:
    question = Question(
        ("m4-max-40",), ("qwen3-32b", "llama-3.1-8b", "gpt-oss-20b", "llama-3.3-70b", "falcon-180b"), None
    )
    return candidates(question, Workload(512.0, 128.0, context=8192), Terms())[0]


def test_a_candidate_has_the_figures_of_predict(machines: list[Candidate]) -> None:
    for one in machines:
        result = roofline.predict(one.hardware, one.model, one.quant, context=16384)
        assert one.fits == result.memory.fits
        assert one.total_bytes == pytest.approx(float(result.memory.total))
        if one.fits:
            assert one.decode is not None
            assert one.prefill is not None
            assert result.decode is not None
            assert result.prefill is not None
            assert one.decode.tok_s == pytest.approx(float(result.decode.tok_s))
            assert one.decode.low == pytest.approx(float(result.decode.low_tok_s))
            assert one.prefill.high == pytest.approx(float(result.prefill.high_tok_s))
            assert one.decode.bound == result.decode.bound
            assert one.ttft_s == pytest.approx(float(result.ttft_s))  # type: ignore[arg-type]


def test_a_cost_of_which_a_figure_is_missing_is_none() -> None:
    """No source gives the price of an M3 Ultra with 80 cores, or the power of an M3 Ultra with 60."""
    question = Question(("m3-ultra-80", "m3-ultra-60", "rtx-3090"), ("llama-3.1-8b",), ("q4_k_m",))
    found, _ = candidates(question, Workload(512.0, 128.0), Terms(kwh=0.3))
    assert {one.hardware for one in found if one.usd_per_million is not None} == {"rtx-3090"}


def test_where_one_is_too_small_the_fewest_that_fit_are_tried(machines: list[Candidate]) -> None:
    """qwen3-32b in q4_k_m takes 19 GiB: two cards of 12 GiB, one of 24 GiB, the board of 16 GB at the most."""
    names = {one.hardware for one in machines}
    assert {"rtx-3060x2", "rtx-3090", "rpi5-16gb"} <= names
    assert not {"rtx-3060", "rtx-3090x2", "rpi5"} & names
    board = next(one for one in machines if one.hardware == "rpi5-16gb")
    assert not board.fits
    assert board.price is None  # the file's price is of another memory
    alone = candidates(
        Question(("rtx-3060",), ("qwen3-32b",), ("q4_k_m",), counts=()), Workload(context=16384), Terms()
    )
    assert [one.hardware for one in alone[0]] == ["rtx-3060"]


def test_price_and_power_are_of_all_cards(machines: list[Candidate]) -> None:
    pair = next(one for one in machines if one.hardware == "rtx-3060x2")
    assert (pair.price, pair.power_w) == (2 * 329, 2 * 170)
    assert "card" in pair.left_out


def test_what_is_ranked_meets_the_wishes_and_the_rest_misses_some(machines: list[Candidate]) -> None:
    wishes = Wishes(min_decode=12, max_price=2500, max_watts=400)
    ranked = rank(machines, wishes, None)
    assert ranked
    chosen = {one.candidate.hardware for one in ranked}
    for one in machines:
        meets = one.decode is not None and one.decode.tok_s >= 12
        meets = meets and one.price is not None and one.price <= 2500 and one.power_w is not None and one.power_w <= 400
        assert (one.hardware in chosen) == meets == (not wishes.misses(one))
    prices = [one.candidate.price for one in ranked]
    assert prices == sorted(prices)  # type: ignore[type-var]


def test_an_unknown_price_comes_last_and_is_no_price_within_a_limit(machines: list[Candidate]) -> None:
    ranked = rank(machines, Wishes(), None)
    known = [one.candidate.price is not None for one in ranked]
    assert known == sorted(known, reverse=True)
    assert not all(known)
    unknown = next(one.candidate for one in ranked if one.candidate.price is None)
    (miss,) = Wishes(max_price=10**6).misses(unknown)
    assert (miss.option, miss.found) == ("--max-price", "no figure")


def figures(one: Candidate) -> list[float] | None:
    """Price, decode, prefill, power, so that more is better; None where one is unknown."""
    if one.price is None or one.power_w is None or one.decode is None or one.prefill is None:
        return None
    return [-one.price, one.decode.tok_s, one.prefill.tok_s, -one.power_w]


def test_dominated_is_what_another_beats_in_every_figure(machines: list[Candidate]) -> None:
    ranked = rank(machines, Wishes(), None)
    by_name = {one.candidate.hardware: one.candidate for one in ranked}
    dominated = 0
    for one in ranked:
        own = figures(one.candidate)
        others = [other for other in by_name.values() if other is not one.candidate]
        beaten = [
            other.hardware
            for other in others
            if own
            and (theirs := figures(other))
            and all(a >= b for a, b in zip(theirs, own, strict=True))
            and theirs != own
        ]
        assert bool(one.dominated_by) == bool(beaten)
        if one.dominated_by:
            dominated += 1
            assert one.dominated_by in beaten
    assert dominated


def test_a_reason_names_what_is_better_than_the_next(machines: list[Candidate]) -> None:
    ranked = rank(machines, Wishes(max_price=5000), None)
    for one, following in pairwise(ranked):
        own, theirs = one.candidate.price, following.candidate.price
        assert own is not None
        assert theirs is not None
        if theirs / own > 1.05:
            assert "USD cheaper" in one.reason.split("; but ")[0]
    assert ranked[-1].reason == ""


def test_sure_holds_the_low_end_against_the_wish(machines: list[Candidate]) -> None:
    middle = next(one for one in machines if one.hardware == "rtx-3090").decode
    assert middle is not None
    between = (middle.low + middle.tok_s) / 2
    likely, sure = Wishes(min_decode=between), Wishes(min_decode=between, sure=True)
    (one,) = (one for one in rank(machines, likely, None) if one.candidate.hardware == "rtx-3090")
    assert not one.certain
    assert "rtx-3090" not in {other.candidate.hardware for other in rank(machines, sure, None)}


def test_models_come_once_each_the_largest_first_in_the_most_bits(models: list[Candidate]) -> None:
    ranked = rank(models, Wishes(min_decode=9), None)
    names = [one.candidate.model for one in ranked]
    assert len(names) == len(set(names))
    sizes = [one.candidate.parameters for one in ranked]
    assert sizes == sorted(sizes, reverse=True)
    for one in ranked:
        others = [
            other for other in models if other.model == one.candidate.model and not Wishes(min_decode=9).misses(other)
        ]
        assert one.candidate.bits == max(other.bits for other in others) >= LEAST_BITS
    assert {one.quant for one in models if one.model == "gpt-oss-20b"} == {"mxfp4"}  # it comes in one form


def test_near_misses_miss_little(machines: list[Candidate]) -> None:
    wishes = Wishes(min_decode=12, max_price=1000, max_watts=400)
    near = near_misses(machines, wishes, 4)
    assert near
    counts = [len(misses) for _, misses in near]
    assert min(counts) >= 1
    missed = {one.hardware: misses for one, misses in near}
    assert [miss.option for miss in missed["rtx-3090"]] == ["--max-price"]
    assert missed["rtx-3090"][0].factor == pytest.approx(1.499)


# -- the command -------------------------------------------------------------------------------------------------------


def test_devices_for_a_model(run: Run) -> None:
    """The example of the manual."""
    words = ["recommend", "--model", "qwen3-32b", "--quant", "q4_k_m", "--ctx", "16k"]
    words += ["--min-decode", "10", "--min-prefill", "200"]
    code, text, _ = run(*words, "--max-price", "2500", "--max-watts", "400", "--format", "json")
    assert code == 0
    found = json.loads(text)
    assert found["schema"] == "roofline.recommendation/1"
    assert found["wishes"]["max_power_w"] == 400
    assert found["meeting"] >= 5
    for one in found["ranked"]:
        assert set(one) <= set(COLUMNS) | {f"{p}_{k}" for p in ("prefill", "decode") for k in COLUMNS}
        assert one["decode_tok_s"] >= 10
        assert one["prefill_tok_s"] >= 200
        assert one["price_usd"] <= 2500
        assert one["price_date"]
        assert one["power_w"] <= 400
        assert one["total_bytes"] <= one["usable_bytes"]
    assert all(one["missed"] for one in found["near"])


def test_models_for_a_device_and_every_format(run: Run) -> None:
    words = ["recommend", "--hw", "m4-max-40", "--model", "llama-3*,qwen3-*", "--min-decode", "15", "--ctx", "8k"]
    code, table, _ = run(*words, "--top", "3")
    assert code == 0
    assert "models on Apple M4 Max" in table
    assert "more meet the wishes; --top" in table
    code, text, _ = run(*words, "--format", "csv")
    assert code == 0
    assert text.splitlines()[0].startswith("hardware,model,quant,fits,prefill_tok_s")
    code, text, _ = run(*words, "--format", "md")
    assert code == 0
    assert "| model |" in text


def test_why_not_tells_what_a_device_misses(run: Run) -> None:
    words = ["recommend", "--model", "qwen3-32b", "--quant", "q4_k_m", "--max-price", "900", "--why-not"]
    code, text, _ = run(*words, "RTX3090", "--format", "json")
    assert code == 0
    (one,) = json.loads(text)["why_not"]
    assert (one["hardware"], one["missed"]) == ("rtx-3090", "--max-price 900 USD: found 1499 USD")
    code, text, _ = run(*words, "rtx-3060", "--format", "json")  # two of them are what was considered
    assert json.loads(text)["why_not"][0]["missed"] == "nothing: it meets all wishes"
    code, _, errors = run(*words, "rtx-9999")
    assert (code, errors) == (1, "error: --why-not: expected a device or model that was considered, found 'rtx-9999'\n")
    code, _, errors = run(*words, "m5-ultra")
    assert code == 1
    assert "--why-not: m5-ultra cannot be predicted: Apple M5 Ultra" in errors


def test_wishes_that_nothing_meets_name_the_closest_and_what_to_relax(run: Run) -> None:
    code, text, errors = run(
        "recommend", "--model", "llama-3.3-70b", "--hw", "rtx-30*", "--min-decode", "10", "--max-price", "1"
    )
    assert (code, text) == (1, "")
    assert errors.startswith(
        "error: --min-decode 10, --max-price 1: expected something that meets them all, found nothing; "
    )
    assert "closest is rtx-3090x2 with llama-3.3-70b" in errors
    assert "--max-price 1 USD: found 2998 USD" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--hw, --model: expected one of them"),
        (["--model", "qwen3-32b", "--min-decode", "-1"], "--min-decode: expected a number above 0, found -1"),
        (["--model", "qwen3-32b", "--max-price", "nan"], "--max-price: expected a number above 0, found nan"),
        (["--model", "zzz*"], "expected a pattern that a name matches"),
        (["--model", "qwen3-32b", "--hw", "m5-ultra"], "Apple M5 Ultra"),
        (["--model", "qwen3-32b", "--depth", "1,2"], "--depth: expected one number"),
    ],
)
def test_wrong_words_are_one_line(run: Run, words: list[str], message: str) -> None:
    code, text, errors = run("recommend", *words)
    assert (code, text) == (1, "")
    assert message in errors
    assert errors.count("\n") == 1


def test_a_question_without_an_answer_is_an_error_of_ours() -> None:
    with pytest.raises(SpecError):
        candidates(Question(("rpi5",), ("nothing",), None), Workload(), Terms())
