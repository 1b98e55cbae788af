"""Drafts: the published formulas, and rounds that cost what their passes cost."""

import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline import api
from roofline.calculator import run as calculate
from roofline.prediction import Prediction
from roofline.spec import SpecError
from roofline.speculation import (
    FREE,
    Speculation,
    asked,
    break_even,
    expected_tokens,
    ideal_speedup,
    speculation,
    vocabulary_remark,
)
from roofline.workload import Step
from tests.running import Run, runner

TARGET, DRAFT = ("rtx-4090", "llama-3.1-8b", "q8_0"), ("llama-3.2-1b", "q4_k_m")
MOE = ("rtx-3090", "qwen3-30b-a3b", "q4_k_m")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


# -- the formulas -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("acceptance", "drafted", "tokens"),
    [
        (0.8, 1, 1.8),
        (0.8, 4, 3.3616),  # 1 + 0.8 + 0.64 + 0.512 + 0.4096
        (0.0, 5, 1.0),
        (1.0, 5, 6.0),
        (0.5, 2, 1.75),
    ],
)
def test_the_tokens_of_a_round_are_a_geometric_sum(acceptance: float, drafted: int, tokens: float) -> None:
    assert expected_tokens(acceptance, drafted) == pytest.approx(tokens)


def test_the_speedup_of_the_theorem() -> None:
    """Theorem 3.8 by hand: α = 0.5, γ = 2 add 1.75 tokens in 2c + 1 tokens' time."""
    assert ideal_speedup(0.5, 2, 0.0) == pytest.approx(1.75)
    assert ideal_speedup(0.5, 2, 0.25) == pytest.approx(1.75 / 1.5)
    # With an acceptance above c, one drafted token is worth it: (1 + α) / (1 + c) > 1.
    assert ideal_speedup(0.31, 1, 0.3) > 1 > ideal_speedup(0.29, 1, 0.3)


@given(st.floats(0, 1), st.integers(1, 64))
def test_more_drafts_and_better_ones_add_tokens(acceptance: float, drafted: int) -> None:
    tokens = expected_tokens(acceptance, drafted)
    assert 1 <= tokens <= drafted + 1 + 1e-9
    assert expected_tokens(acceptance, drafted + 1) >= tokens - 1e-9
    assert expected_tokens(min(acceptance + 0.01, 1.0), drafted) >= tokens - 1e-9


@given(st.integers(1, 16), st.floats(0.5, 20))
def test_at_break_even_a_round_adds_as_many_tokens_as_its_time_is_worth(drafted: int, rounds: float) -> None:
    found = break_even(drafted, rounds)
    if rounds <= 1:
        assert found == 0
    elif rounds > drafted + 1:
        assert np.isnan(found)
    else:
        assert expected_tokens(found, drafted) == pytest.approx(rounds, rel=1e-6)


def test_formulas_take_arrays() -> None:
    drafted, rounds = np.array([1.0, 3.0, 8.0]), np.array([1.2, 5.0, 2.0])
    tokens, least = np.asarray(expected_tokens(0.7, drafted)), np.asarray(break_even(drafted, rounds))
    for at in range(3):
        assert tokens[at] == pytest.approx(expected_tokens(0.7, drafted[at]))
        assert least[at] == pytest.approx(break_even(drafted[at], rounds[at]), nan_ok=True)


# -- rounds -----------------------------------------------------------------------------------------------------------


def test_a_round_is_its_drafts_and_one_pass_that_makes_all_logits() -> None:
    found = asked(*TARGET, draft=DRAFT[0], draft_quant=DRAFT[1], draft_tokens="3")
    (line,) = found.rounds
    past = 512 + 127 / 2
    target, small = api.predict(*TARGET), api.predict(TARGET[0], *DRAFT)
    wide = Step(1.0, 4.0, past, 4.0, outputs=4.0)
    verify = float(calculate(target.model, target.weights, target.machine, target.workload, wide).seconds)
    token = Step(1.0, 1.0, past, 1.0)
    drafts = 3 * float(calculate(small.model, small.weights, small.machine, small.workload, token).seconds)
    assert line.verify_s == pytest.approx(verify)
    assert line.draft_s == pytest.approx(drafts)
    assert line.tok_s == pytest.approx(expected_tokens(0.8, 3) / (verify + drafts))
    assert line.speedup == pytest.approx(line.tok_s / float(found.plain.tok_s))
    assert found.total_bytes == pytest.approx(
        float(target.memory.total) + float(small.memory.total) - small.memory.context
    )


@pytest.mark.parametrize(
    "where", [TARGET, MOE, ("ryzen-7950x", "llama-3.1-8b", "q4_k_m"), ("rpi5", "llama-3.2-3b", "q4_0")]
)
def test_verifying_costs_at_least_a_token_and_the_paper_s_speedup_is_an_upper_bound(
    where: tuple[str, str, str],
) -> None:
    found = asked(*where, draft="ngram", draft_tokens="1,2,4,7")
    ratios = [line.verify_ratio for line in found.rounds]
    assert ratios == sorted(ratios) and ratios[0] >= 1
    assert all(line.speedup <= line.ideal_speedup + 1e-9 for line in found.rounds)
    assert all(line.low_tok_s < line.tok_s <= line.high_tok_s for line in found.rounds)


@settings(max_examples=30, deadline=None)
@given(acceptance=st.floats(0, 1), drafted=st.integers(1, 32), where=st.sampled_from([TARGET, MOE]))
def test_the_speedup_is_below_its_bounds_and_grows_with_acceptance(
    acceptance: float, drafted: int, where: tuple[str, str, str]
) -> None:
    """None accepted: a round makes one token in more than its time. All: γ + 1 tokens in γ c + 1 tokens' time."""
    never, some, all_ = (made(where, share, drafted) for share in (0.0, acceptance, 1.0))
    assert never.rounds[0].speedup < 1
    assert never.rounds[0].speedup <= some.rounds[0].speedup * (1 + 1e-9)
    assert some.rounds[0].speedup <= all_.rounds[0].speedup * (1 + 1e-9)
    assert all_.rounds[0].speedup <= (drafted + 1) / (drafted * all_.cost + 1) + 1e-9


def made(where: tuple[str, str, str], acceptance: float, drafted: int) -> Speculation:
    return speculation(*_both(where), acceptance, [drafted])


@cache
def _both(where: tuple[str, str, str]) -> tuple[Prediction, Prediction]:
    return api.predict(*where), api.predict(where[0], *DRAFT)


def test_a_draft_as_large_as_its_target_is_never_worth_it(run: Run) -> None:
    same = asked(*TARGET, draft=TARGET[1], draft_quant=TARGET[2])
    assert same.cost == pytest.approx(1.0)
    assert all(line.break_even is None and line.speedup < 1 for line in same.rounds)
    words = ("--hw", TARGET[0], "--model", TARGET[1], "--quant", TARGET[2])
    done = run("speculate", *words, "--draft", TARGET[1], "--draft-quant", TARGET[2])
    assert "No acceptance is worth it" in done.out


def test_models_that_do_not_fit_together_have_no_speed(run: Run) -> None:
    words = ("--hw", "rtx-3060", "--model", "llama-3.1-8b", "--quant", "q8_0", "--draft", "llama-3.2-3b")
    target = api.predict("rtx-3060", "llama-3.1-8b", "q8_0")
    assert target.memory.fits  # alone it does
    found = json.loads(run("speculate", *words, "--draft-quant", "f16", "--format", "json").out)
    assert found["fits"] is False and found["draft_tokens"] is found["plain_tok_s"] is None
    assert all(row["tok_s"] is row["speedup"] is row["verify_s"] is None for row in found["rows"])
    table = run("speculate", *words, "--draft-quant", "f16").out
    assert "Does not fit: both models need " in table and "Best" not in table


def test_a_draft_lies_on_the_first_of_several_parts() -> None:
    pair = "rtx-3090+rtx-3060+ryzen-7950x"
    found = asked(pair, "llama-3.3-70b", "q4_k_m", draft=DRAFT[0], draft_quant=DRAFT[1], tensor_split="2,1", numa=None)
    assert found.draft is not None and found.draft.placement is None and found.target.placement is not None
    divided = asked("rtx-3090x2", "llama-3.3-70b", "q4_k_m", draft=DRAFT[0], draft_quant=DRAFT[1], split="tensor")
    assert divided.target.machine.split == "tensor"


def test_a_mixture_reads_the_experts_of_all_drafted_tokens() -> None:
    """A layer of qwen3-30b-a3b has 128 experts, 8 a token: 2 tokens meet 128 (1 − (120/128)²) = 15.5 of them."""
    found = asked(*MOE, draft="ngram", draft_tokens="1,7")
    one, eight = (line.verify_bytes for line in found.rounds)
    assert eight > 2 * one
    dense = asked(*TARGET, draft="ngram", draft_tokens="1,7")
    assert dense.rounds[1].verify_bytes == pytest.approx(dense.rounds[0].verify_bytes, rel=1e-4)
    assert found.free_up_to < dense.free_up_to


def test_verifying_is_free_up_to_the_last_number_before_it_is_not() -> None:
    found = asked("m2-ultra-76", "llama-3.1-8b", "q4_k_m", draft="ngram", draft_tokens="1,2,3,4,5,6,7,8")
    free = [line.draft_tokens for line in found.rounds if line.verify_ratio <= FREE]
    assert found.free_up_to == (max(free) if free else 0) < 8
    assert found.rounds[found.free_up_to].verify_ratio > FREE


def test_drafts_that_cost_nothing_need_no_memory_and_are_worth_it_sooner() -> None:
    free, paid = asked(*TARGET, draft="ngram"), asked(*TARGET, draft=DRAFT[0], draft_quant=DRAFT[1])
    assert free.draft is None and free.cost == 0 and paid.cost > 0
    assert free.total_bytes == float(free.target.memory.total) < paid.total_bytes
    assert all(one.speedup > two.speedup for one, two in zip(free.rounds, paid.rounds, strict=True))
    assert free.best.draft_tokens >= paid.best.draft_tokens


def test_break_even_is_where_the_speedup_is_one() -> None:
    found = asked(*TARGET, draft=DRAFT[0], draft_quant=DRAFT[1])
    for line in found.rounds:
        assert line.break_even is not None
        again = speculation(found.target, found.draft, line.break_even, [line.draft_tokens])
        assert again.rounds[0].speedup == pytest.approx(1.0, rel=1e-6)


def test_a_pair_leaves_room_for_the_draft_model() -> None:
    pair = "rtx-3090+ryzen-7950x"
    alone = api.predict(pair, "llama-3.3-70b", "q4_k_m").placement
    found = asked(pair, "llama-3.3-70b", "q4_k_m", draft=DRAFT[0], draft_quant=DRAFT[1])
    assert alone is not None and found.target.placement is not None
    assert found.target.placement.gpu_layers < alone.gpu_layers
    assert found.fits


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_says_the_best_and_the_json_agrees(run: Run) -> None:
    what = ("--hw", TARGET[0], "--model", TARGET[1], "--quant", TARGET[2])
    words = ("speculate", *what, "--draft", DRAFT[0], "--draft-quant", DRAFT[1])
    found = json.loads(run(*words, "--format", "json").out)
    best = max(found["rows"], key=lambda row: row["tok_s"])
    assert found["draft_tokens"] == best["draft_tokens"] and best["mark"] == "best"
    table = run(*words).out
    assert f"Best: {best['draft_tokens']} drafted tokens a round" in table
    poor = run(*words, "--acceptance", "0.1", "--draft-tokens", "4")
    assert "Not worth it at this acceptance" in poor.out


def test_different_vocabularies_are_remarked() -> None:
    found = asked("rpi5", "mistral-7b", "q4_0", draft="llama-3.2-1b", draft_quant="q4_0")
    assert "128,256" in (vocabulary_remark(found.target, found.draft) or "")
    same = asked(*TARGET, draft=DRAFT[0], draft_quant=DRAFT[1])
    assert vocabulary_remark(same.target, same.draft) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"acceptance": 1.2}, "--acceptance: expected a probability from 0 to 1, found 1.2"),
        ({"acceptance": float("nan")}, "--acceptance: expected a probability"),
        ({"draft_tokens": "0"}, "--draft-tokens: expected numbers from 1 to 256"),
        ({"draft_tokens": "999"}, "--draft-tokens: expected numbers from 1 to 256"),
        ({"gen": "0"}, "--gen: expected at least 1 token"),
        ({"draft": "nosuch"}, "--draft: expected a model id"),
        ({"draft": "llama-3.2-1b", "draft_quant": "nosuch"}, "--draft-quant: expected a quantisation"),
        ({"draft_quant": "q8_0"}, "--draft-quant: expected none with --draft ngram"),
    ],
)
def test_impossible_drafts_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        asked(*TARGET, **{"draft": "ngram", **changes})  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)
