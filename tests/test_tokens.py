"""Speeds counted in characters, by another tokenizer or with a start-up, converted to tokens per second."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.bench.observation import Observation
from roofline.bench.tokens import between_tokenizers, counted_in_characters, from_characters, without_start_up
from roofline.spec import SpecError

SPEEDS = st.floats(1e-3, 1e6)
RATES = st.floats(1e-2, 10.0)


def test_one_text_has_one_time() -> None:
    """1000 characters in 10 s; the model's tokenizer makes 250 tokens of them, another one 400."""
    characters, mine, other, seconds = 1000, 250, 400, 10.0
    assert from_characters(characters / seconds, mine / characters) == pytest.approx(mine / seconds)
    converted = between_tokenizers(other / seconds, counted=other / characters, wanted=mine / characters)
    assert converted == pytest.approx(mine / seconds)


@given(SPEEDS, RATES, RATES)
def test_the_way_over_characters_is_the_direct_way(tok_s: float, counted: float, wanted: float) -> None:
    direct = between_tokenizers(tok_s, counted, wanted)
    assert direct == pytest.approx(from_characters(tok_s / counted, wanted))
    assert between_tokenizers(direct, wanted, counted) == pytest.approx(tok_s)


def test_a_start_up_is_taken_off() -> None:
    """128 tokens at 16 tok/s are 8 s; less 1.6 s of loading, 6.4 s: 20 tok/s."""
    assert without_start_up(16.0, 128, 1.6) == pytest.approx(20.0)
    assert without_start_up(16.0, 128, 0.0) == 16.0


def test_an_observation_keeps_its_relative_deviation() -> None:
    row = Observation("a", "rpi5", "mistral-7b", "q4_0", "tg", tok_s=10.0, std=1.0)
    converted = counted_in_characters(row, 0.25)
    assert (converted.tok_s, converted.std) == (2.5, 0.25)
    assert converted.hardware == row.hardware
    without = counted_in_characters(Observation("a", "rpi5", "mistral-7b", "q4_0", "tg", tok_s=10.0), 0.25)
    assert without.std is None


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_ratio_is_refused(bad: float) -> None:
    with pytest.raises(SpecError, match="tokens per character: expected a finite number above 0"):
        from_characters(10.0, bad)
    with pytest.raises(SpecError, match="tokens per character"):
        between_tokenizers(10.0, 0.25, bad)
    with pytest.raises(SpecError, match="speed"):
        from_characters(bad, 0.25)


@pytest.mark.parametrize("start_up", [8.0, 9.0, -1.0, math.nan, math.inf])
def test_a_start_up_is_shorter_than_the_measurement(start_up: float) -> None:
    with pytest.raises(SpecError, match="start-up"):
        without_start_up(16.0, 128, start_up)
