"""How closely weight types follow the weights."""

import math
from pathlib import Path

import pytest

from roofline.quantization.layouts import layout
from roofline.quantization.quality import measured_types, mixed_snr_db, snr_db
from roofline.spec import SpecError
from tests.refresh_quality import by_gguf, by_llama_cpp, ratio_db, sample

OTHERS = sorted(name for name, known in measured_types().items() if known.method != "gguf")
SEARCHED_ROWS = 16  # of the sample: some types search for seconds


@pytest.mark.parametrize("name", sorted(name for name, known in measured_types().items() if known.method == "gguf"))
def test_a_type_is_what_the_gguf_package_rounds_to(name: str) -> None:
    weights = sample()
    assert snr_db(name) == pytest.approx(ratio_db(weights, by_gguf(name, weights)), abs=1e-4)


@pytest.mark.engine
@pytest.mark.parametrize("name", OTHERS)
def test_a_type_is_what_llama_cpp_rounds_to(name: str, llama_bin: Path) -> None:
    # A ratio over n blocks of 256 scatters by less than 1/sqrt(n) of the noise: 16 rows are 256 blocks, 0.27 dB.
    weights = sample()[:SEARCHED_ROWS]
    assert snr_db(name) == pytest.approx(ratio_db(weights, by_llama_cpp(llama_bin, name, weights)), abs=0.27)


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
