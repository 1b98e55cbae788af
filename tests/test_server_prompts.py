"""Prompts of a wanted length that begin with different words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline.engine.server.prompts import LEAST, WORDS, Prompts
from roofline.engine.server.second import per_character, read_tokenizer
from roofline.spec import SpecError
from tests.servers import tokens_of


@pytest.mark.parametrize("wanted", [1, 16, 128, 512, 4096])
def test_a_prompt_has_the_wanted_number_of_tokens(wanted: int) -> None:
    prompts = Prompts(tokens_of, seed=1)
    for _ in range(5):
        prompt = prompts.make(wanted)
        assert prompt.tokens == tokens_of(prompt.text)
        # A word of two tokens can stand at the end.
        assert abs(prompt.tokens - wanted) <= 1


@settings(max_examples=30)
@given(st.integers(1, 600), st.integers(0, 2**32), st.integers(1, 4))
def test_any_monotone_tokenizer_is_met_closely(wanted: int, seed: int, per_word: int) -> None:
    """Each word counts `per_word` tokens, and three special ones stand before: the nearest is half a word away."""
    prompt = Prompts(lambda text: 3 + per_word * len(text.split()), seed).make(wanted)
    assert prompt.tokens is not None
    least = 3 + per_word
    assert abs(prompt.tokens - max(wanted, least)) <= max(per_word - 1, 0)


def test_all_prompts_begin_with_another_word_and_are_the_same_for_a_seed() -> None:
    def made(seed: int) -> list[str]:
        prompts = Prompts(tokens_of, seed)
        return [prompts.make(20).text for _ in range(len(WORDS))]

    first = [text.split()[0] for text in made(7)]
    assert len(set(first)) == len(WORDS)
    assert made(7) == made(7)
    assert made(7)[0] != made(8)[0]


def test_without_a_tokenizer_the_first_answer_teaches_the_length() -> None:
    prompts = Prompts(lambda _: None, seed=1)
    first = prompts.make(300)
    assert (first.tokens, len(first.text.split())) == (None, 300)
    prompts.learn(first, 450)  # 1.5 tokens a word
    assert len(prompts.make(300).text.split()) == 200


def test_the_template_of_a_chat_is_part_of_the_length() -> None:
    prompts = Prompts(tokens_of, seed=1)
    prompts.learn(prompts.make(100), 130)  # whatever 100 words came to, at most 31 tokens stand around them
    assert abs((prompts.make(100).tokens or 0) - 70) <= 2
    assert prompts.make(16).tokens == pytest.approx(LEAST, abs=1)


def test_a_tokenizer_that_counts_nonsense_ends_the_search() -> None:
    calls = []

    def jumpy(text: str) -> int:
        calls.append(text)
        return len(calls) * 1000 % 777

    assert Prompts(jumpy, seed=1).make(500).text
    assert len(calls) <= 12


def test_tokens_per_character_of_a_second_tokenizer() -> None:
    count = read_tokenizer(lambda text: len(text.split()))
    assert per_character(count, ["ab cd", "efghi"]) == pytest.approx(3 / 10)
    assert per_character(count, []) is None
    with pytest.raises(SpecError, match="more than 0 tokens in 3 characters, found 0"):
        per_character(lambda _: 0, ["abc"])


def test_a_second_tokenizer_that_cannot_be_read(tmp_path: object) -> None:
    with pytest.raises(SpecError, match=r"none\.json: expected .*tokenizer"):
        read_tokenizer(f"{tmp_path}/none.json")
