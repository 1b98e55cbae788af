"""How closely weight types follow the weights."""

import math
from pathlib import Path

import pytest

from roofline.quantization.layouts import layout
from roofline.quantization.quality import COLUMNS, SAMPLE_SHAPE, measured, measured_types, mixed_snr_db, snr_db
from roofline.spec import SpecError
from tests.refresh_quality import by_gguf, by_llama_cpp, error_db, ratio_db, sample

OTHERS = sorted(name for name, known in measured_types().items() if known.method != "gguf")
SEARCHED_ROWS = 16  # of the sample: some types search for seconds


@pytest.mark.parametrize("name", sorted(name for name, known in measured_types().items() if known.method == "gguf"))
def test_a_type_is_what_the_gguf_package_rounds_to(name: str) -> None:
    weights = sample()
    assert snr_db(name) == pytest.approx(ratio_db(weights, by_gguf(name, weights)), abs=1e-4)


@pytest.mark.parametrize("distribution", ["laplacian", "heavy-tailed"])
@pytest.mark.parametrize("name", ["q8_0", "q4_1", "mxfp4"])
def test_other_weights_were_measured_alike(name: str, distribution: str) -> None:
    weights, known = sample(distribution), measured(name, distribution)
    back = by_gguf(name, weights)
    assert known is not None and known.snr_db == pytest.approx(ratio_db(weights, back), abs=1e-4)
    assert known.error_db == pytest.approx(error_db(weights, back), abs=1e-4)
    assert snr_db(name, distribution) == known.snr_db != snr_db(name)


@pytest.mark.engine
@pytest.mark.parametrize("distribution", COLUMNS)
@pytest.mark.parametrize("name", OTHERS)
def test_a_type_is_what_llama_cpp_rounds_to(name: str, distribution: str, llama_bin: Path) -> None:
    # To four standard errors of 16 of the 256 rows.
    weights, known = sample(distribution)[:SEARCHED_ROWS], measured(name, distribution)
    assert known is not None
    allowed = 4 * known.error_db * math.sqrt(SAMPLE_SHAPE[0] / SEARCHED_ROWS)
    assert known.snr_db == pytest.approx(ratio_db(weights, by_llama_cpp(llama_bin, name, weights)), abs=allowed)


def test_standard_errors_are_of_the_size_that_a_million_weights_give() -> None:
    """Squared errors of blocks scatter by about themselves: 1/sqrt(blocks) of the ratio, less for small blocks."""
    for distribution in COLUMNS:
        for name, known in measured_types(distribution).items():
            assert 0.003 < known.error_db < 0.04, (name, distribution)
    with pytest.raises(SpecError, match="gaussian, laplacian, heavy-tailed, found 'cauchy'"):
        measured_types("cauchy")


def test_no_format_beats_the_rate_distortion_bound() -> None:
    """D(R) = σ² · 2^(−2R) for a Gaussian: 20 · log10(2) = 6.0206 dB a bit. A type with more would be wrong."""
    for name, quality in measured_types().items():
        assert 0 < quality.snr_db < 20 * math.log10(2) * layout(name).bits_per_weight, name


def test_more_bits_of_a_kind_are_better() -> None:
    for kind in (("q4_0", "q5_0", "q8_0"), ("q4_1", "q5_1"), ("q2_k", "q3_k", "q4_k", "q5_k", "q6_k"),
                 ("iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s", "iq4_xs", "iq4_nl")):  # fmt: skip
        ratios = [snr_db(name) or 0.0 for name in kind]
        assert ratios == sorted(ratios) and ratios[0] > 0


def test_noise_adds_up() -> None:
    """Half the weights in q4_0 (21.3242 dB), half in f16, whose noise is nothing: half of it, + 3.01 dB."""
    mixed = mixed_snr_db({"q4_0": 500, "f16": 500})
    assert mixed == pytest.approx(21.3242 + 10 * math.log10(2), abs=1e-3)
    assert mixed_snr_db({"f32": 10}) == math.inf
    assert mixed_snr_db({"q4_0": 10, "iq4_k": 1}) is None
    assert snr_db("q4_0_4_8") == snr_db("q4_0") and snr_db("int4") is None
    with pytest.raises(SpecError):
        snr_db("nonsense")
