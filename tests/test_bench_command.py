"""`roofline bench`: what it runs, compares and records, and what it refuses, with a stand-in for llama-bench."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from roofline.engine import benchmark, scratch
from roofline.engine.naming import known_as
from roofline.engine.record import own
from roofline.engine.synthetic import write_synthetic
from roofline.spec import SpecError
from tests.fake_llama import DECODE, HELP, PREFILL, USUAL, lines_of, program
from tests.running import Run, runner
from tests.small import fresh_catalog

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-ins are scripts with a first line")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with fresh_catalog():
        yield tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], home: Path) -> Run:
    return runner(capsys)


def bench(run: Run, folder: Path, *arguments: str) -> tuple[str, ...]:
    """The words of a benchmark of a synthetic model by the stand-in in `folder`."""
    return (
        "bench", "--model", "smollm2-135m", "--quant", "q4_0", "--synthetic", "--hw", "rpi5", "--llama-bench",
        str(folder), *arguments,
    )  # fmt: skip


def test_measured_stands_beside_predicted_and_is_recorded(run: Run, home: Path) -> None:
    program(home)
    outcome = run(*bench(run, home, "--format", "json"))
    assert outcome.code == 0, outcome.err
    answer = json.loads(outcome.out)
    assert answer["schema"] == "roofline.bench/1"
    prefill, decode = answer["rows"]
    assert (prefill["phase"], prefill["measured_tok_s"], prefill["std_tok_s"]) == ("prefill", 400.0, 4.0)
    assert (decode["phase"], decode["measured_tok_s"]) == ("decode", 60.0)
    assert decode["low_tok_s"] < decode["predicted_tok_s"] < decode["high_tok_s"]
    assert decode["verdict"] in ("ok", "off")
    assert answer["command"][0] == str(home / "llama-bench")
    assert answer["recorded"] in outcome.err
    kept = own().observations
    assert [(row.hardware, row.model, row.quant, row.tok_s) for row in kept] == [
        ("rpi5", "smollm2-135m", "q4_0", 400.0), ("rpi5", "smollm2-135m", "q4_0", 60.0),
    ]  # fmt: skip
    assert {row.note for row in kept} == {"synthetic weights"}
    assert list(home.glob("*.gguf")) == []


def test_the_table_shows_the_command_that_ran(run: Run, home: Path) -> None:
    program(home)
    out = run(*bench(run, home, "--no-record")).out
    assert "verdict" in out
    assert f"Ran: {home / 'llama-bench'} -m" in out
    assert own().observations == ()


def test_a_processor_with_amx_and_a_build_without_is_predicted_without(run: Run, home: Path) -> None:
    program(home)
    rows = ("bench", "--model", "smollm2-135m", "--quant", "q4_0", "--synthetic", "--llama-bench", str(home))
    outcome = run(*rows, "--hw", "xeon-8480")
    assert "the build has no AMX kernels: predicted without" in outcome.out
    assert {row.extra["isa"] for row in own().observations} == {"-amx"}
    (home / "libggml-cpu.so").write_bytes(b"..\0AMX\0..")
    assert "AMX kernels" not in run(*rows, "--hw", "xeon-8480").out


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "sys.stderr.write('failed to load\\n'); sys.exit(1)",
            "llama-bench: expected exit 0, found exit 1; its last words: failed",
        ),
        ("print('Segmentation fault, they said')", "llama-bench: expected JSON with measured speeds"),
        ("time.sleep(60)", "expected an end within 1 s, found it still running"),
    ],
)
def test_a_program_that_fails_is_one_line_and_leaves_nothing(run: Run, home: Path, body: str, message: str) -> None:
    program(home, body)
    outcome = run(*bench(run, home, "--timeout", "1" if "sleep" in body else "60"))
    assert outcome.code == 1
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert list(home.glob("*.gguf")) == []
    assert own().observations == ()
    if "sys.exit" in body:
        kept = (home / "config" / "roofline" / "bench-error.log").read_text(encoding="utf-8")
        assert kept.startswith(str(home / "llama-bench"))
        assert "failed to load" in kept


def test_a_row_that_cannot_be_predicted_is_shown_with_its_reason(run: Run, home: Path) -> None:
    program(home, f"sys.stdout.write({lines_of(PREFILL, {**DECODE, 'n_prompt': 5, 'n_gen': 5})!r})")
    outcome = run(*bench(run, home))
    assert outcome.code == 0
    assert "skipped" in outcome.out
    assert "a combined test of 5 and 5 tokens" in outcome.out


def test_a_model_too_large_for_the_memory_is_refused_before_anything_is_written(run: Run, home: Path) -> None:
    program(home)
    arguments = list(bench(run, home))
    arguments[arguments.index("smollm2-135m")] = "llama-3.1-405b"
    outcome = run(*arguments)
    assert outcome.code == 1
    assert "expected a model that fits the free memory, found" in outcome.err
    assert "--force" in outcome.err


def test_a_disk_without_room_is_told_before_anything_is_written(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(home)
    usage = type("Usage", (), {"total": 1, "used": 1, "free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    outcome = run(*bench(run, home))
    assert outcome.code == 1
    assert "disk: expected" in outcome.err
    assert "of room for the model" in outcome.err


def test_a_folder_in_memory_is_no_place_for_a_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert scratch.scratch_directory(1000.0) == tmp_path
    monkeypatch.setattr(scratch, "_is_in_memory", lambda path: path == tmp_path)
    assert scratch.scratch_directory(1000.0) != tmp_path
    monkeypatch.setattr(scratch, "_is_in_memory", lambda _: True)
    with pytest.raises(SpecError, match=r"disk: expected 1(\.00)? kB of room"):
        scratch.scratch_directory(1000.0)


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_uses_is_not(tmp_path: Path) -> None:
    pids = {"dead": 2**22 + 1, "alive": os.getpid()}  # beyond the highest that Linux gives
    files = {name: tmp_path / f"roofline-{pid}-m-q4_0-synthetic.gguf" for name, pid in pids.items()}
    others = [tmp_path / "roofline-notes.gguf", tmp_path / "m.gguf"]
    for path in (*files.values(), *others):
        path.write_bytes(b"x")
    assert scratch.temporary(tmp_path, "n.gguf") == tmp_path / f"roofline-{os.getpid()}-n.gguf"
    assert not files["dead"].exists()
    assert all(path.exists() for path in (files["alive"], *others))


def test_an_id_without_synthetic_asks_for_a_file(run: Run, home: Path) -> None:
    program(home)
    words = [word for word in bench(run, home) if word != "--synthetic"]
    assert "--synthetic makes one of that model's shape" in run(*words).err


def test_a_machine_that_nobody_knows_is_asked_for(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.machines import captured

    program(home)
    words = [word for word in bench(run, home) if word not in ("--hw", "rpi5")]
    monkeypatch.setattr(benchmark, "Live", lambda: captured("none__vm-emerald-rapids-2-cores"))
    assert "--hw: expected to know this machine" in run(*words).err
    monkeypatch.setattr(benchmark, "Live", lambda: captured("rpi5__model-b-16gb"))
    assert run(*words).code == 0
    assert {row.hardware for row in own().observations} == {"rpi5"}


def test_options_that_belong_to_the_other_way_are_refused(run: Run, home: Path) -> None:
    program(home)
    server = ("bench", "--server", "http://127.0.0.1:9", "--model", "smollm2-135m", "--quant", "q4_0", "--hw", "rpi5")
    assert "--threads: expected it without --server" in run(*server, "--threads", "2").err
    assert "--prompt: expected one number with --server" in run(*server, "--prompt", "1,2").err
    assert "--backend: expected it with --server only" in run(*bench(run, home, "--backend", "cpu")).err
    elsewhere = ("bench", "--server", "http://192.0.2.1:9", "--model", "smollm2-135m", "--quant", "q4_0")
    assert "--hw: expected the machine that the server at 192.0.2.1 runs on" in run(*elsewhere).err


@pytest.mark.parametrize(
    ("option", "value"), [("--prompt", "many"), ("--threads", "1;2"), ("--flash-attn", "maybe"), ("--kv", "q9")]
)
def test_a_list_that_is_none_names_its_option(run: Run, home: Path, option: str, value: str) -> None:
    program(home)
    outcome = run(*bench(run, home, option, value))
    assert outcome.code == 1
    assert option in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_file_is_known_by_its_shape_and_types(home: Path) -> None:
    made = home / "some-name.gguf"
    write_synthetic("tinyllama-1.1b", "q4_0", made)
    assert known_as(made) == ("tinyllama-1.1b", "q4_0")


def test_the_real_file_is_known_by_its_name_among_models_of_one_shape(smollm2_gguf: Path) -> None:
    """SmolLM and SmolLM2 of 135M have one shape."""
    assert known_as(smollm2_gguf) == ("smollm2-135m", "q4_1")


def test_a_build_from_the_usual_words_is_found_by_variable(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(home, USUAL, help_text=HELP)
    monkeypatch.setenv("ROOFLINE_LLAMA_BIN", str(home))
    words = [word for word in bench(run, home) if word not in ("--llama-bench", str(home))]
    assert run(*words).code == 0
