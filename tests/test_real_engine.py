"""llama.cpp itself: a real file and a synthetic one, single and batched, through the command that users type."""

import json
from pathlib import Path

import pytest

from roofline import api
from roofline.engine import programs
from roofline.engine.llama_bench import Sweep, run_sweep
from roofline.engine.record import own
from tests.running import Run, runner

pytestmark = pytest.mark.engine
HARDWARE = "xeon-8480"  # any machine's name would do: what is held here are bounds, not speeds
PROMPT, GEN = 64, 16


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return runner(capsys)


def bench(run: Run, llama_bin: Path, *arguments: str) -> dict[str, object]:
    words = ("bench", "--hw", HARDWARE, "--llama-bench", str(llama_bin), "--prompt", str(PROMPT), "--gen", str(GEN))
    outcome = run(*words, "--threads", "1", "--repetitions", "2", "--format", "json", *arguments)
    assert outcome.code == 0, outcome.err
    answer = json.loads(outcome.out)
    assert isinstance(answer, dict)
    return answer


def test_a_real_model_is_measured_and_recorded(run: Run, llama_bin: Path, smollm2_gguf: Path) -> None:
    answer = bench(run, llama_bin, "--model", str(smollm2_gguf))
    rows = answer["rows"]
    assert isinstance(rows, list)
    assert [(row["phase"], row["model"], row["quant"], row["threads"]) for row in rows] == [
        ("prefill", "smollm2-135m", "q4_1", 1),
        ("decode", "smollm2-135m", "q4_1", 1),
    ]
    for row in rows:
        # The speed of light of a whole server, and a hundredth of a core's share of it.
        assert row["ceiling_tok_s"] / 100_000 < row["measured_tok_s"] < row["ceiling_tok_s"]
    kept = own().observations
    assert [row.tok_s for row in kept] == pytest.approx([row["measured_tok_s"] for row in rows], rel=1e-4)
    assert kept[0].build
    assert kept[0].threads == 1


def test_a_synthetic_model_runs_as_fast_as_the_real_one(run: Run, llama_bin: Path, smollm2_gguf: Path) -> None:
    """Interleaved, the best of each: a factor of two is far more than the 5 % between them on a quiet machine."""
    speeds: dict[str, dict[str, list[float]]] = {"real": {}, "synthetic": {}}
    made = ("--model", "smollm2-135m", "--quant", "q4_1", "--synthetic")
    for _ in range(3):
        for name, words in (("real", ("--model", str(smollm2_gguf))), ("synthetic", made)):
            rows = bench(run, llama_bin, *words, "--no-record")["rows"]
            assert isinstance(rows, list)
            for row in rows:
                speeds[name].setdefault(row["phase"], []).append(row["measured_tok_s"])
    for phase in ("prefill", "decode"):
        assert 0.5 < max(speeds["real"][phase]) / max(speeds["synthetic"][phase]) < 2.0


def test_nothing_of_a_synthetic_model_stays_unless_it_is_kept(run: Run, llama_bin: Path, tmp_path: Path) -> None:
    made = ("--model", "smollm2-135m", "--quant", "q8_0", "--synthetic", "--no-record")
    bench(run, llama_bin, *made)
    assert list(tmp_path.rglob("*.gguf")) == []
    kept = tmp_path / "kept"
    kept.mkdir()
    bench(run, llama_bin, *made, "--keep", str(kept))
    (file,) = kept.glob("*.gguf")
    _, stored = api.load_weights(str(file), None)
    _, recipe = api.load_weights("smollm2-135m", "q8_0")
    assert stored.bytes_by_type == recipe.bytes_by_type


def test_sequences_at_a_time_are_measured_by_llama_batched_bench(run: Run, llama_bin: Path, smollm2_gguf: Path) -> None:
    rows = bench(run, llama_bin, "--model", str(smollm2_gguf), "--batch", "1,2")["rows"]
    assert isinstance(rows, list)
    assert sorted((row["phase"], row["batch"]) for row in rows) == [
        ("decode", 1), ("decode", 2), ("prefill", 1), ("prefill", 2),
    ]  # fmt: skip


def test_depth_cache_types_and_flash_attention_are_swept(run: Run, llama_bin: Path, smollm2_gguf: Path) -> None:
    words = ("--model", str(smollm2_gguf), "--depth", "0,32", "--kv", "q8_0", "--flash-attn", "on")
    rows = bench(run, llama_bin, *words)["rows"]
    assert isinstance(rows, list)
    assert sorted((row["phase"], row["depth"]) for row in rows) == [
        ("decode", 0), ("decode", 32), ("prefill", 0), ("prefill", 32),
    ]  # fmt: skip
    assert {row["kv"] for row in rows} == {"q8_0"}
    assert {row["flash_attn"] for row in rows} == {True}


def test_a_file_that_is_no_model_ends_in_a_clear_line(llama_bin: Path, tmp_path: Path) -> None:
    from roofline.bench import Given
    from roofline.spec import SpecError

    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    program = programs.find("llama-bench", llama_bin)
    with pytest.raises(SpecError, match=r"llama-bench: expected exit 0, found exit \d+; its last words: "):
        run_sweep(program, broken, Sweep(), Given(hardware=HARDWARE, model="smollm2-135m", quant="q4_0"), 60)
