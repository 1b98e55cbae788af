"""Quality beside speed and size: in predict, recommend, list quants, the quant plot, the report and the cards."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from roofline import api, report
from roofline.charts.quants import quant_points
from roofline.cli.app import app
from roofline.columns import COLUMNS
from roofline.explorer.view import reasons
from roofline.plot import quants as plot_quants
from roofline.points import points
from roofline.quality import percent, quality_of, quality_record, quality_words
from roofline.quantization.perplexity import published
from roofline.quantization.quality import snr_db
from tests import gguf_files


def run(*words: str) -> Any:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done


def predicted(quant: str, model: str = "llama-3-8b", hw: str = "h100-sxm", **words: Any) -> Any:
    return api.predict(hw, model, quant, **words)


def test_a_predictions_noise_is_that_of_all_its_tensors() -> None:
    """Llama 3 8B in q4_0: 0.525 G of the output's 8.03 G weights in q6_k (35.24 dB), the rest in q4_0 (21.32 dB):
    −10 · log10(0.9346 · 10^−2.1324 + 0.0654 · 10^−3.5238) = 21.606 dB."""
    found = predicted("q4_0").quality
    assert found.snr_db == pytest.approx(21.606, abs=0.005)
    assert (found.main_type, found.worst_type) == ("q4_0", "q4_0")
    assert found.worst_snr_db == snr_db("q4_0") and found.is_own
    assert found.ppl_change_percent == pytest.approx(7.518, abs=1e-3)


@pytest.mark.parametrize(
    ("quant", "words"),
    [
        ("q4_0", "perplexity +7.52 % against f16 (llama.cpp, tools/perplexity/README.md)"),
        ("iq4_xs", "importance matrix: WT 10m"),
        ("f16", "perplexity +0.0404 % against bf16"),
        ("f32", "no rounding error: all weights are in f32"),
        ("int4", "no SNR of the weights, since int4 is idealised; no published perplexity"),
        ("q2_k_l", "no published perplexity"),
    ],
)
def test_the_words_say_what_is_known_and_what_is_not(quant: str, words: str) -> None:
    assert words in quality_words(predicted(quant).quality)


def test_another_models_perplexity_is_marked() -> None:
    words = quality_words(predicted("q4_0", "qwen3-8b").quality)
    assert "perplexity of llama-3-8b, another model, +7.52 %" in words
    one = quality_record(predicted("q4_0", "qwen3-8b").quality)
    assert one["ppl_model"] == "llama-3-8b" and one["ppl_url"].startswith("https://github.com/ggml-org/")


def test_a_model_that_is_published_in_few_bits_loses_nothing() -> None:
    found = predicted("mxfp4", "gpt-oss-20b").quality
    assert found.native and "published in mxfp4, so that it loses nothing" in quality_words(found)
    assert not predicted("mxfp4", "llama-3-8b").quality.native
    assert not predicted("f16", "gpt-oss-20b").quality.native


def test_a_type_that_nobody_measured_has_a_reason() -> None:
    found = predicted("iq4_k", hw="ryzen-7950x", runtime="ik_llama.cpp").quality
    assert found.snr_db is None and found.worst_type is None and found.unmeasured == ("iq4_k",)
    assert quality_record(found)["reason"] == "iq4_k was not measured" and quality_record(found)["snr_db"] is None
    assert "no SNR of the weights, since iq4_k was not measured" in quality_words(found)


def test_signs_are_written() -> None:
    assert (percent(7.518), percent(-0.05), percent(0.0)) == ("+7.52 %", "−0.0500 %", "+0 %")


def test_predict_shows_it_in_every_form() -> None:
    words = ("predict", "--hw", "rpi5", "--model", "mistral7b", "--quant", "q4_0")
    line = next(line for line in run(*words).stdout.splitlines() if line.startswith("Quality: "))
    assert line.endswith("perplexity +2.23 % against f16 (ikawrakow/mistral-7b-quantized-gguf).")
    one = json.loads(run(*words, "--format", "json").stdout)["quality"]
    assert one["snr_db"] == pytest.approx(21.4, abs=0.05) and one["ppl_change_percent"] == pytest.approx(2.23)
    assert set(one) <= set(COLUMNS)
    (row,) = csv.DictReader(io.StringIO(run(*words, "--format", "csv").stdout))
    assert float(row["snr_db"]) == pytest.approx(one["snr_db"]) and row["ppl_model"] == "mistral-7b"
    assert line in run(*words, "--format", "md").stdout
    (exact,) = csv.DictReader(io.StringIO(run(*words[:-1], "f32", "--format", "csv").stdout))
    assert exact["snr_db"] == exact["ppl_change_percent"] == ""
    several = report.predictions(points("rpi5", "mistral7b", "q4_0", depth="0,512"), "table")
    assert several.count("Quality: ") == 1


def test_what_does_not_fit_has_no_line_but_its_keys() -> None:
    large = predicted("q8_0", "llama-3.1-70b", "rpi5")
    assert "Quality" not in report.summary(large) and report.record(large)["quality"]["snr_db"] > 45


def test_a_file_is_judged_by_its_own_types(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(gguf_files.encode(*gguf_files.llama()))
    found = api.predict("rpi5", str(path)).quality
    types = api.load_weights(str(path), None)[1].elements_by_type
    ratios = {name: snr_db(name) or 0.0 for name in types}
    noise = sum(number * 10 ** (-ratios[name] / 10) for name, number in types.items() if math.isfinite(ratios[name]))
    assert found.snr_db == pytest.approx(-10 * math.log10(noise / sum(types.values())))


def test_what_a_file_calls_its_types_need_not_be_a_recipe() -> None:
    weights = api.load_weights("llama-3-8b", "q4_0")[1]
    from dataclasses import replace

    assert quality_of(replace(weights, quant="q4_1_some_f16"), "llama-3-8b").perplexity is None


# -- recommend --------------------------------------------------------------------------------------------------------

ASKED = ("recommend", "--hw", "rtx-3090", "--model", "llama-3-8b", "--quant", "q3_k_m,q4_0,q8_0", "--sort", "decode")


def test_recommend_shows_quality_beside_speed_and_memory() -> None:
    table = run(*ASKED).stdout
    assert "quality [dB]" in table and "perplexity [% more]" in table and "tells a rank, not a value" in table
    ranked = json.loads(run(*ASKED, "--format", "json").stdout)["ranked"]
    assert [one["quant"] for one in ranked] == ["q3_k_m", "q4_0", "q8_0"]
    assert [one["snr_db"] for one in ranked] == sorted(one["snr_db"] for one in ranked)
    assert ranked[1]["ppl_change_percent"] == pytest.approx(7.518, abs=1e-3) and ranked[1]["ppl_model"] == "llama-3-8b"


def test_a_wish_for_quality_is_kept() -> None:
    found = json.loads(run(*ASKED, "--min-snr", "21", "--format", "json").stdout)
    assert [one["quant"] for one in found["ranked"]] == ["q4_0", "q8_0"]
    assert found["wishes"]["min_snr_db"] == 21
    words = ("recommend", "--hw", "h100-sxm", "--model", "llama-3-8b", "--quant", "f32,int4", "--why-not", "h100-sxm")
    exact = (*words, "--min-snr", "60", "--format", "json")
    told = json.loads(run(*exact).stdout)
    missed = {one["quant"]: one["missed"] for one in told["why_not"]}
    assert "no figure" in missed["int4"] and "--min-snr" not in missed["f32"]  # f32 has no noise at all
    small = run("recommend", "--hw", "rpi4", "--model", "llama-3-8b", "--quant", "int8,q2_k", "--min-snr", "10").stdout
    assert "usable; --min-snr 10 dB: found no figure" in small  # int8, which does not fit either
    refused = CliRunner().invoke(app, [*ASKED, "--min-snr", "99"])
    assert "misses --min-snr 99 dB: found 45.4 dB" in str(refused.exception)
    for wrong in ("0", "-3", "nan", "inf"):
        unheard = CliRunner().invoke(app, [*ASKED, "--min-snr", wrong])
        assert "--min-snr: expected a number above 0" in str(unheard.exception)


def test_a_model_in_the_types_that_it_is_published_in_meets_every_wish_for_quality() -> None:
    words = ("recommend", "--hw", "h100-sxm", "--model", "gpt-oss-20b,llama-3-8b", "--quant", "mxfp4")
    found = json.loads(run(*words, "--min-snr", "60", "--format", "json").stdout)
    assert [one["model"] for one in found["ranked"]] == ["gpt-oss-20b"]


# -- lists, plots, documents ------------------------------------------------------------------------------------------


def test_list_quants_has_both_columns() -> None:
    rows = {row["id"]: row for row in json.loads(run("list", "quants", "--format", "json").stdout)}
    assert rows["q4_0"]["snr_db"] == pytest.approx(21.6, abs=0.05)
    assert rows["q4_0"]["ppl_change_percent"] == pytest.approx(7.518, abs=1e-3)
    assert rows["q4_0"]["ppl_model"] == "llama-3-8b" and rows["int4"]["ppl_model"] is None
    assert rows["f32"]["snr_db"] is None and rows["int4"]["snr_db"] is None and rows["iq4_k"]["snr_db"] is None
    # The list's model has the shape of the reference model: the same mix, but for its small norms in f32.
    assert rows["q4_k_m"]["snr_db"] == pytest.approx(predicted("q4_k_m").quality.snr_db, abs=0.01)
    assert rows["iq4_xs"]["ppl_imatrix"] == "WT 10m" and rows["q4_k_l"]["ppl_imatrix"] is None


def test_the_quant_plot_tells_the_same() -> None:
    chart = quant_points(["rtx-3090"], "llama-3-8b", ["q4_0", "q8_0", "int8"], with_measured=False)
    rows = {row["quant"]: row for row in chart.rows()}
    assert rows["q4_0"]["ppl_change_percent"] == predicted("q4_0").quality.ppl_change_percent
    assert rows["int8"]["snr_db"] is None and rows["int8"]["ppl_model"] is None
    hovers = " ".join(text for trace in plot_quants.figure(chart)["data"] for text in trace.get("hovertext", []))
    assert "SNR 21.6 dB of the weights" in hovers and "perplexity +7.52 % against f16" in hovers
    assert "int8 is idealised" in hovers


def test_a_file_s_own_blocks_are_told_beside_its_types(smollm2_gguf: Path) -> None:
    """The types alone say more, since they know nothing of the embedding in q8_0 being of smaller weights."""
    words = ("predict", "--hw", "rpi5", "--model", str(smollm2_gguf))
    found = json.loads(run(*words, "--format", "json").stdout)["quality"]
    assert found["file_snr_db"] == pytest.approx(22.5, abs=0.15) and found["snr_db"] == pytest.approx(23.2, abs=0.05)
    told = f"{found['file_snr_db']:.1f} dB by the steps that this file's own blocks have"
    assert told in run(*words).stdout and told in run("report", *words[1:]).stdout
    of_the_catalog = ("predict", "--hw", "rpi5", "--model", "smollm2-135m", "--quant", "q4_1", "--format", "json")
    assert json.loads(run(*of_the_catalog).stdout)["quality"]["file_snr_db"] is None


def test_the_explorers_cards_and_the_report_use_the_same_words() -> None:
    one = predicted("q4_k_m")
    assert dict(reasons(one))["Quality"] == f"{quality_words(one.quality)}."
    assert f"Quality: {quality_words(one.quality)}." in report.summary(one)
    found = published("q4_k_m")
    assert found is not None and found.source.title in report.summary(one)
