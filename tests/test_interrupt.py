"""Ctrl-C or a request to end at any point: no temporary model, no child process, no half-written file stays."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fake_llama import program
from tests.test_engine_run import wait_until_gone

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them"),
    pytest.mark.slow,
]
SECONDS = 60.0


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command line in a process of its own, with nothing of the user's."""
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config"), "TMPDIR": str(folder / "scratch")}
    environment.pop("ROOFLINE_PATH", None)
    return subprocess.Popen(
        [sys.executable, "-m", "roofline", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_hears_requests_to_end,
    )


def _hears_requests_to_end() -> None:
    """What runs in the background of a script, or under nohup, inherits a deaf ear for them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def wait_for(path: Path) -> str:
    """The text of a file that another process writes."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if path.is_file() and (text := path.read_text(encoding="ascii")):
            return text
        time.sleep(0.02)
    raise AssertionError(f"{path.name} was not written within {SECONDS:g} s")


def bench_arguments(folder: Path, programs: Path) -> list[str]:
    return [
        "bench", "--model", "smollm2-135m", "--quant", "q4_0", "--synthetic", "--hw", "rpi5", "--llama-bench",
        str(programs),
    ]  # fmt: skip


def left_behind(folder: Path) -> list[str]:
    """Files that stayed, of the model and of the observations."""
    return sorted(path.name for room in ("scratch", "config") for path in (folder / room).rglob("*") if path.is_file())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("scratch", "programs"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.parametrize("request_to_end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_nothing_stays_of_a_benchmark_that_was_interrupted(folder: Path, request_to_end: signal.Signals) -> None:
    mark = folder / "pid"
    body = f"open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    program(folder / "programs", body)
    running = start(folder, *bench_arguments(folder, folder / "programs"))
    child = int(wait_for(mark))
    assert any(name.endswith(".gguf") for name in left_behind(folder))  # the model is there while the child runs
    running.send_signal(request_to_end)
    _, err = running.communicate(timeout=SECONDS)
    assert running.returncode != 0
    assert "Traceback" not in err
    assert left_behind(folder) == []
    wait_until_gone(child)


def test_nothing_stays_of_a_model_that_was_being_written(folder: Path) -> None:
    program(folder / "programs")
    arguments = bench_arguments(folder, folder / "programs")
    arguments[arguments.index("smollm2-135m")] = "mistral-7b"
    arguments[arguments.index("q4_0")] = "f16"  # 14 GB: long enough to be interrupted in
    running = start(folder, *arguments, "--force")
    end = time.monotonic() + SECONDS
    while not left_behind(folder) and time.monotonic() < end and running.poll() is None:
        time.sleep(0.01)
    assert any(name.endswith((".part", ".gguf")) for name in left_behind(folder))
    assert running.poll() is None
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=SECONDS)
    assert running.returncode != 0
    assert left_behind(folder) == []


@pytest.mark.parametrize("request_to_end", [signal.SIGINT, signal.SIGTERM])
def test_nothing_stays_of_a_measurement_that_was_interrupted(folder: Path, request_to_end: signal.Signals) -> None:
    running = start(folder, "measure")
    time.sleep(10)  # long after the start, well before the end of a full run
    assert running.poll() is None
    running.send_signal(request_to_end)
    _, err = running.communicate(timeout=SECONDS)
    assert running.returncode != 0
    assert "Traceback" not in err
    assert left_behind(folder) == []


def test_a_host_file_is_whole_or_not_there_when_the_process_is_killed(folder: Path) -> None:
    running = start(folder, "measure", "--quick")
    time.sleep(2)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate(timeout=SECONDS)
    assert left_behind(folder) == []
