"""Running llama.cpp's programs: found, asked in the words of their version, bounded, in one line when they fail."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from roofline.bench import Given
from roofline.engine import process, programs
from roofline.engine.llama_bench import Sweep, batched_arguments, bench_arguments, run_sweep
from roofline.spec import SpecError
from tests.fake_llama import DECODE, HELP, PREFILL, lines_of, program

GIVEN = Given(hardware="xeon-8480", model="smollm2-135m", quant="q4_0")
POSIX = pytest.mark.skipif(os.name != "posix", reason="the stand-ins are scripts with a first line that names Python")
pytestmark = POSIX


def bench(folder: Path, body: str, sweep: Sweep | None = None, timeout_s: float = 60.0) -> object:
    return run_sweep(programs.probe(program(folder, body)), folder / "m.gguf", sweep or Sweep(), GIVEN, timeout_s)


# -- finding -----------------------------------------------------------------------------------------------------------


def test_a_program_is_found_where_it_is_said_to_be_then_in_the_variable_then_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / name for name in ("given", "variable", "path")]
    for folder in folders:
        folder.mkdir()
        program(folder)
    monkeypatch.setenv("PATH", str(folders[2]), prepend=None)
    assert programs.find("llama-bench").path == folders[2] / "llama-bench"
    monkeypatch.setenv("ROOFLINE_LLAMA_BIN", str(folders[1]))
    assert programs.find("llama-bench").path == folders[1] / "llama-bench"
    assert programs.find("llama-bench", folders[0], "--llama-bench").path == folders[0] / "llama-bench"
    own_name = (folders[0] / "llama-bench").rename(folders[0] / "bench-of-mine")
    assert programs.find("llama-bench", own_name, "--llama-bench").path == own_name


def test_a_usual_build_folder_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = tmp_path / "llama.cpp" / "build" / "bin"
    built.mkdir(parents=True)
    program(built)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("ROOFLINE_LLAMA_BIN", raising=False)
    assert programs.find("llama-bench").path.resolve() == built / "llama-bench"


def test_a_missing_program_says_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ROOFLINE_LLAMA_BIN", raising=False)
    with pytest.raises(SpecError, match=r"llama-bench: expected it in ROOFLINE_LLAMA_BIN, on PATH .* found none"):
        programs.find("llama-bench", option="--llama-bench")
    with pytest.raises(SpecError, match="--llama-bench: expected a program or a folder with llama-bench, found none"):
        programs.find("llama-bench", tmp_path / "nowhere", "--llama-bench")


def test_a_file_that_is_no_program_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "llama-bench"
    text.write_text("not a program", encoding="utf-8")
    with pytest.raises(SpecError, match="expected a program that runs, found: "):
        programs.probe(text)
    text.chmod(0o755)
    with pytest.raises(SpecError, match=r"expected a program that runs, found: |expected a help"):
        programs.probe(text)


def test_a_build_with_amx_kernels_is_told_by_their_buffer(tmp_path: Path) -> None:
    found = programs.probe(program(tmp_path))
    assert not programs.has_amx_kernels(found)
    (tmp_path / "libggml-cpu-sapphirerapids.so").write_bytes(b"\x7fELF..CPU\0AMX\0AMX_INT8\0")
    assert programs.has_amx_kernels(found)


# -- the command line --------------------------------------------------------------------------------------------------


def test_the_arguments_are_a_list_of_words_and_no_shell_reads_them(tmp_path: Path) -> None:
    found = programs.probe(program(tmp_path))
    sweep = Sweep(
        prompt=(128, 512), gen=(32,), depth=(0, 4096), threads=(1, 2), ubatch=(256,), gpu_layers=(99,),
        flash_attn=("on", "off"), cache=("f16", "q8_0"), repetitions=3,
    )  # fmt: skip
    model = tmp_path / "a model; rm -rf x.gguf"
    words = bench_arguments(found, model, sweep)
    assert words[1:] == [
        "-m", str(model), "-o", "jsonl", "-r", "3", "-p", "128,512", "-n", "32", "-d", "0,4096", "-t", "1,2", "-ub",
        "256", "-ngl", "99", "-fa", "on,off", "-ctk", "f16,q8_0", "-ctv", "f16,q8_0",
    ]  # fmt: skip


def test_an_older_version_is_asked_in_its_own_words(tmp_path: Path) -> None:
    old = HELP.replace("<on|off|auto>", "<0|1>").replace("jsonl|", "")
    words = bench_arguments(programs.probe(program(tmp_path, help_text=old)), tmp_path / "m", Sweep(flash_attn=("on",)))
    assert words[words.index("-o") + 1] == "json"
    assert words[words.index("-fa") + 1] == "1"


@pytest.mark.parametrize(
    ("missing", "sweep", "message"),
    [
        ("-d, --n-depth", Sweep(depth=(512,)), "with --n-depth for tokens in the cache, found an older one"),
        ("-o, --output", Sweep(), "with --output for JSON output, found an older one"),
        ("-fa, --flash-attn", Sweep(flash_attn=("on",)), "with -fa for flash attention, found an older one"),
    ],
)
def test_a_version_that_cannot_do_it_is_refused(tmp_path: Path, missing: str, sweep: Sweep, message: str) -> None:
    without = "".join(f"{line}\n" for line in HELP.splitlines() if missing not in line)
    old = programs.probe(program(tmp_path, help_text=without))
    with pytest.raises(SpecError, match=message):
        bench_arguments(old, tmp_path / "m.gguf", sweep)


def test_several_sequences_take_a_context_for_all_of_them(tmp_path: Path) -> None:
    help_text = HELP.replace("-o, --output <csv|json|jsonl|md|sql>", "--output-format <md|jsonl>")
    found = programs.probe(program(tmp_path, name="llama-batched-bench", help_text=help_text))
    words = batched_arguments(found, tmp_path / "m", Sweep(prompt=(128,), gen=(32,), sequences=(1, 4)))
    assert words[words.index("-c") + 1] == str((128 + 32) * 4)
    assert words[words.index("-npl") + 1] == "1,4"
    with pytest.raises(SpecError, match="--threads: expected one value with --batch, found 1,2"):
        batched_arguments(found, tmp_path / "m", Sweep(threads=(1, 2), sequences=(2,)))


# -- runs --------------------------------------------------------------------------------------------------------------


def test_a_run_is_read_by_the_readers_of_check(tmp_path: Path) -> None:
    done = run_sweep(programs.probe(program(tmp_path)), tmp_path / "m.gguf", Sweep(), GIVEN, 60)
    assert [(row.phase, row.tok_s, row.std, row.build) for row in done.reading.observations] == [
        ("pp", 400.0, 4.0, "abc1234 (9000)"),
        ("tg", 60.0, 1.0, "abc1234 (9000)"),
    ]
    assert done.repacked
    assert done.remarks == ()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "sys.stderr.write('error: failed to load model\\n'); sys.exit(1)",
            "found exit 1; its last words: error: failed",
        ),
        ("sys.stdout.write('hello')", "expected JSON with measured speeds, found 'hello'"),
        ("pass", "expected JSON with measured speeds, found 'nothing'"),
    ],
)
def test_a_run_that_fails_is_told_with_its_last_words(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        bench(tmp_path, body)


def test_garbage_between_rows_costs_only_itself(tmp_path: Path) -> None:
    text = lines_of(PREFILL) + '{"n_prompt": 5, broken\n' + lines_of(DECODE)
    done = run_sweep(
        programs.probe(program(tmp_path, f"sys.stdout.write({text!r})")), tmp_path / "m", Sweep(), GIVEN, 60
    )
    assert [row.phase for row in done.reading.observations] == ["pp", "tg"]
    assert len(done.reading.skipped) == 1


def test_a_program_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    mark = tmp_path / "child"
    body = (
        f"child = subprocess.Popen([{'/bin/sleep'!r}, '600'])\n"
        f"open({str(mark)!r}, 'w').write(str(child.pid))\n"
        "sys.stderr.write('loading\\n'); sys.stderr.flush()\n"
        "time.sleep(600)"
    )
    with pytest.raises(SpecError, match=r"expected an end within 10 s, found it still running.*last words: loading"):
        bench(tmp_path, body, timeout_s=10)
    wait_until_gone(int(mark.read_text(encoding="ascii")))


def test_a_program_that_ignores_the_request_to_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE", 0.2)
    with pytest.raises(SpecError, match="expected an end within 1 s"):
        bench(tmp_path, "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)", timeout_s=1)


def test_a_flood_of_output_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MOST_OUTPUT", 1 << 20)
    with pytest.raises(SpecError, match="expected at most 1,048,576 bytes of output, found more"):
        bench(tmp_path, "while True: sys.stdout.write('x' * 65536)")


@pytest.mark.parametrize("fault", ["SIGSEGV", "SIGILL"])
def test_a_crash_is_run_again_without_repacked_weights(tmp_path: Path, fault: str) -> None:
    text = lines_of(PREFILL)
    body = (
        f"if arguments[-2:] != ['--repack', '0']:\n    os.kill(os.getpid(), signal.{fault})\nsys.stdout.write({text!r})"
    )
    done = run_sweep(programs.probe(program(tmp_path, body)), tmp_path / "m.gguf", Sweep(), GIVEN, 60)
    assert not done.repacked
    assert done.arguments[-2:] == ("--repack", "0")
    assert f"ended by {fault} and ran again with --repack 0" in done.remarks[0]


def test_a_crash_of_a_shell_script_counts_by_its_exit_code(tmp_path: Path) -> None:
    assert process.Finished((), 139, "", "", 0).fault == "SIGSEGV"
    assert process.Finished((), -signal.SIGSEGV, "", "", 0).fault == "SIGSEGV"
    assert process.Finished((), 1, "", "", 0).fault == ""


def test_a_crash_that_stays_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected exit 0, found an end by SIGSEGV"):
        bench(tmp_path, "os.kill(os.getpid(), signal.SIGSEGV)")
    without = HELP.replace("  --repack <0|1>\n", "")
    crash = program(tmp_path, "os.kill(os.getpid(), signal.SIGSEGV)", help_text=without)
    with pytest.raises(SpecError, match="found a crash, and no option --repack to avoid it"):
        run_sweep(programs.probe(crash), tmp_path / "m.gguf", Sweep(), GIVEN, 60)


def test_control_characters_of_a_program_do_not_reach_the_terminal(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        bench(tmp_path, "sys.stderr.write('\\x1b[2Jgone\\n'); sys.exit(3)")
    assert "\x1b" not in str(caught.value)
    assert "exit 3" in str(caught.value)


def wait_until_gone(pid: int) -> None:
    """Until a process that was ended has gone; an assertion fails when it stays."""
    for _ in range(200):
        if not is_running(pid):
            return
        time.sleep(0.05)
    raise AssertionError(f"process {pid} is still there")


def is_running(pid: int) -> bool:
    """Whether a process exists that is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def hearing() -> Iterator[None]:
    """Signals as a program begins with them, whatever the tests were started by."""
    usual: dict[int, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("hearing")
def test_a_request_to_end_that_was_dropped_is_heard_at_the_end() -> None:
    with pytest.raises(KeyboardInterrupt), process.interruptible(), suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(SystemExit) as stopped, process.interruptible(), suppress(SystemExit):
        signal.raise_signal(signal.SIGTERM)
    assert stopped.value.code == 128 + signal.SIGTERM


def test_what_a_script_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with process.interruptible():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
