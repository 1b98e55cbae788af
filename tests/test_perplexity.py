"""Published perplexities: what the tables say, and which one stands for a model."""

import csv
import io
import math

import pytest

from roofline import api
from roofline.quantization import RECIPES
from roofline.quantization.perplexity import FILE, REFERENCE, UNQUANTISED, measured, published, read, sources
from roofline.quantization.quality import snr_db
from roofline.spec import SpecError


def percent(recipe: str, model: str | None = None) -> float:
    found = published(recipe, model)
    assert found is not None and found.change_percent is not None
    return found.change_percent


def test_figures_are_those_of_the_sources() -> None:
    """Llama 3 8B's PPL 6.700147 with ΔPPL 0.468514 is 0.468514 / 6.231633 = 7.518 % more; the table of llama-quantize
    says +0.4685. Its q4_K_M: Mean PPL ratio 1.028160. Llama 2 70B's q4_0: 3.5550 against 3.4313, 3.61 %.
    """
    assert percent("q4_0") == pytest.approx(7.518, abs=1e-3)
    assert percent("q4_k_m") == pytest.approx(2.816, abs=1e-3)
    assert percent("q4_0", "llama-2-70b") == pytest.approx(3.61, abs=0.01)
    assert percent("q2_k", "llama-2-7b") == pytest.approx(10.7955)
    assert percent("f16", REFERENCE) == pytest.approx(0.0404)
    assert percent("iq2_xxs", "mistral-7b") == pytest.approx(100 * math.expm1(0.2988))
    # Qwen2 states perplexities alone: 10.79 of q4_0 by 10.43 of f16.
    assert percent("q4_0", "qwen2-1.5b-instruct") == pytest.approx(3.452, abs=1e-3)


def test_what_a_source_says_twice_agrees() -> None:
    """A change in per cent, a ratio or a difference beside perplexities is the same change, to the digits printed."""
    checked = 0
    with FILE.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    bases = {(row["model"], row["source"], row["quant"]): row["perplexity"] for row in rows}
    for row in rows:
        base = bases.get((row["model"], row["source"], row["base"]))
        if row["change_percent"] and row["perplexity"] and base and "slip" not in row["note"]:
            assert 100 * (float(row["perplexity"]) / float(base) - 1) == pytest.approx(
                float(row["change_percent"]), abs=0.011
            )
            checked += 1
        if row["ratio"] and row["perplexity"]:
            stated = float(row["perplexity"]) / (float(row["perplexity"]) - float(row["delta"]))
            assert stated == pytest.approx(float(row["ratio"]), abs=2e-6)
            checked += 1
    assert checked == 39
    # One model, one unquantised perplexity: PPL − ΔPPL of the 46 rows of the scoreboard.
    board = [row for row in rows if row["source"] == "perplexity-readme"]
    assert len(board) == 46
    for row in board:
        assert float(row["perplexity"]) - float(row["delta"]) == pytest.approx(6.231634, abs=3e-6)


def test_every_row_has_a_source_and_every_source_a_row() -> None:
    assert {row.source.key for row in measured()} == set(sources())
    assert all(one.url.startswith("https://") and one.title and one.section for one in sources().values())
    for row in measured():
        assert row.quant in RECIPES
        assert (row.change is None) == (row.source.key == "quantize-cpp")  # a difference without a perplexity


def test_models_of_the_catalog_are_spelt_as_there() -> None:
    known = set(api.list_models())
    assert {row.model for row in measured() if not row.model.startswith("qwen2-")} <= known


def test_the_models_own_figure_comes_first_then_the_references() -> None:
    own = published("q4_0", "mistral-7b")
    assert own is not None and own.model == "mistral-7b"
    other = published("q4_0", "llama-3.1-8b")  # not the same weights as Llama 3
    assert other is not None and other.model == REFERENCE and other == published("q4_0")


def test_rows_without_an_importance_matrix_come_first() -> None:
    found = published("q4_k_m")
    assert found is not None and found.imatrix == "none"
    assert any(row.quant == "q4_k_m" and row.imatrix == "WT 10m" for row in measured())
    searched = published("iq4_xs")
    assert searched is not None and searched.imatrix == "WT 10m"


def test_reordered_types_inherit_and_the_unknown_has_none() -> None:
    assert published("q4_0_4_8") == published("q4_0_r8") == published("q4_0")
    assert published("q4_k_r4") is None  # all in q4_k: not the mix q4_k_m
    assert published("int4") is None and published("iq4_k") is None and published("mxfp4") is None
    with pytest.raises(SpecError, match="quantisation"):
        published("nonsense")


@pytest.mark.parametrize("recipe", UNQUANTISED)
def test_no_models_f16_stands_for_anothers(recipe: str) -> None:
    assert published(recipe, "qwen3-8b") is None and published(recipe) is not published("q8_0")


@pytest.mark.parametrize(("small", "large"), [("qwen2-0.5b-instruct", "qwen2-72b-instruct")])
def test_a_larger_model_of_a_family_loses_less_in_four_bits(small: str, large: str) -> None:
    assert percent("q4_0", small) > percent("q4_0", large) > 0


def test_less_noise_goes_with_less_loss() -> None:
    """K-quants and simple types without a matrix: the published change falls as the base type's ratio rises, but for
    neighbours (q5_0 and q5_k_s, say): Spearman's rank correlation is below −0.95."""
    names = [name for name in RECIPES if (found := published(name)) and found.imatrix == "none" and "_r" not in name]
    pairs = [(snr_db(RECIPES[name].base) or 0.0, percent(name)) for name in names if name not in UNQUANTISED]
    assert len(pairs) > 12
    assert spearman(pairs) < -0.95


def spearman(pairs: list[tuple[float, float]]) -> float:
    """1 − 6 Σd² / (n (n² − 1)), d: difference of the ranks."""
    ranks = [{pair: rank for rank, pair in enumerate(sorted(pairs, key=lambda pair: pair[side]))} for side in (0, 1)]
    gaps = sum((ranks[0][pair] - ranks[1][pair]) ** 2 for pair in pairs)
    return 1 - 6 * gaps / (len(pairs) * (len(pairs) ** 2 - 1))


HEAD = "model,quant,imatrix,base,perplexity,perplexity_error,delta,delta_error,kl_divergence,kl_divergence_error,ratio,ratio_error,log_ratio,change_percent,corpus,source,note\n"  # noqa: E501


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("m,q4_0,none,f16,-1,,,,,,,,,,w,qwen2,", "perplexity: expected a finite number above 0, found -1"),
        ("m,q4_0,none,f16,nan,,,,,,,,,,w,qwen2,", "found nan"),
        ("m,q4_0,none,f16,six,,,,,,,,,,w,qwen2,", "expected a number, found 'six'"),
        ("m,q4_9,none,f16,6,,,,,,,,,,w,qwen2,", "expected the id of a quantisation, found 'q4_9'"),
        ("m,q4_0,none,f16,6,,,,,,,,,,w,hearsay,", "source: expected one of"),
        (",q4_0,none,f16,6,,,,,,,,,,w,qwen2,", "model: expected a word"),
    ],
)
def test_bad_rows_are_refused_in_one_line(row: str, words: str) -> None:
    with pytest.raises(SpecError, match=r"own\.csv: line 2") as refused:
        read(io.StringIO(HEAD + row + "\n"), "own.csv")
    assert words in str(refused.value) and "\n" not in str(refused.value)
    with pytest.raises(SpecError, match="expected the columns"):
        read(io.StringIO("model,quant\nm,q4_0\n"), "own.csv")


def test_a_mix_in_reordered_blocks_is_another_mix() -> None:
    """q4_0_r8 stores all matrices as q4_0 does; what iq4_xs makes of some tensors, iq4_xs_r8 need not."""
    assert published("q4_0_r8") == published("q4_0")
    assert published("iq4_xs") is not None
    assert published("iq4_xs_r8") is None
