"""Trials of weight types: intervals that hold what they should, and errors without a bias."""

import sys

import numpy as np
import pytest

from roofline.precision.distributions import DISTRIBUTIONS, GAUSSIAN, HEAVY_TAILED
from roofline.precision.ratios import relative_scatter
from roofline.precision.weight_trial import WRITABLE, through, weight_trial
from roofline.precision.weights import weight_error
from roofline.quantization.quality import measured
from roofline.spec import SpecError


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of 60 trials 3 are expected to miss at 95 %; more than 8 do in 0.4 % of all choices of seeds."""
    derived = weight_error("q4_0")
    assert derived is not None
    missed = 0
    for seed in range(60):
        tried = weight_trial("q4_0", GAUSSIAN, seed=seed, blocks=400)
        assert tried is not None and tried.n == 400 * 32
        missed += not tried.low <= derived.relative_rms <= tried.high
    assert missed <= 8


def test_the_scatter_of_a_ratio() -> None:
    """Against the scatter of the ratio itself over many samples."""
    random = np.random.default_rng(0)
    power = random.gamma(2.0, size=(2000, 100))
    noise = power * random.gamma(3.0, size=power.shape)
    ratios = noise.sum(axis=1) / power.sum(axis=1)
    told = np.mean([relative_scatter(*pair) for pair in zip(noise, power, strict=True)])
    assert told == pytest.approx(np.std(ratios), rel=0.05)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("name", WRITABLE)
def test_errors_have_no_bias(name: str, distribution: str) -> None:
    """Levels are symmetric, or turn with the sign of the extreme, which is: 0 within four standard errors."""
    tried = weight_trial(name, DISTRIBUTIONS[distribution], seed=11)
    assert tried is not None and tried.bias is not None and tried.bias_within is not None
    assert abs(tried.bias) < 4 / 1.96 * tried.bias_within


def test_a_block_of_q4_0_has_a_bias_towards_its_extreme() -> None:
    """Levels −8 … 7 end half a step early on the side that the extreme is not on. What lies beyond is pulled back, to
    the extreme's side: each block has a bias, with the extreme's sign. q8_0's levels are symmetric."""
    weights = GAUSSIAN.sample(np.random.default_rng(5), (20_000, 32)).astype(np.float32)
    extreme = np.take_along_axis(weights, np.abs(weights).argmax(axis=1)[:, None], axis=1)[:, 0]
    for name, biased in (("q4_0", True), ("q5_0", True), ("q8_0", False), ("q4_1", False)):
        towards = (through(name, weights) - weights).mean(axis=1) * np.sign(extreme)
        sigmas = towards.mean() / (towards.std() / np.sqrt(len(towards)))
        assert (sigmas > 4) if biased else (abs(sigmas) < 4), (name, sigmas)


def test_a_seed_decides() -> None:
    assert weight_trial("q5_0", seed=3) == weight_trial("q5_0", seed=3) != weight_trial("q5_0", seed=4)


def test_what_gguf_does_not_write_was_measured() -> None:
    known, tried = measured("q4_k", "heavy-tailed"), weight_trial("q4_k", HEAVY_TAILED)
    assert known is not None and tried is not None
    assert tried.by == "llama.cpp" and tried.snr_db == pytest.approx(known.snr_db) and tried.n == 1 << 20
    assert tried.low < tried.relative_rms < tried.high and tried.bias is None
    assert weight_trial("iq4_k") is None
    assert weight_trial("q6_k", rms=0.02) == weight_trial("q6_k")
    assert weight_trial("nvfp4", rms=0.02) is None  # its scales have few bits left there: not what was measured


def test_wrong_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="blocks: expected at least 2, for an interval, found 1"):
        weight_trial("q4_0", blocks=1)
    with pytest.raises(SpecError, match="rms: expected a positive number"):
        weight_trial("q4_0", rms=-1.0)
    with pytest.raises(SpecError, match="expected a ggml type such as q4_k"):
        weight_trial("q4_7")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(SpecError, match="pip install gguf"):
        weight_trial("q4_0")
