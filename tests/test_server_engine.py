"""The same against a real llama-server on a real model: structure and sanity, no speeds.

Needs an engine: ROOFLINE_LLAMA_BIN names a folder with llama-server.
"""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from roofline.engine.server import ServerRun, measure_server
from roofline.engine.server.choice import ApiName
from roofline.spec import SpecError

pytestmark = pytest.mark.engine
PATIENCE_S = 60.0
LOOK_S = 0.1
#: The file's own facts, read from its tensor table; the context is that of one of two slots.
FACTS = {
    "parameters": 134_515_008,
    "size_bytes": 96_576_768,
    "hidden": 576,
    "vocab": 49_152,
    "trained_context": 8192,
    "context": 1024,
    "slots": 2,
    "ftype": "Q4_1",
}


@pytest.fixture(scope="module")
def server(smollm2_gguf: Path) -> Iterator[str]:
    """The address of a llama-server with two slots and counters."""
    folder = os.environ.get("ROOFLINE_LLAMA_BIN")
    if not folder:
        pytest.skip("ROOFLINE_LLAMA_BIN names no folder with llama-server")
    program = Path(folder) / "llama-server"
    if not program.is_file():
        pytest.skip(f"{folder} has no llama-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    # --no-repack: builds by gcc 12 and older crash on processors with AMX (upstream issue 20824).
    options = ["-t", "1", "-c", "2048", "-np", "2", "--metrics", "--no-repack"]
    command = [str(program), "-m", str(smollm2_gguf), "--host", "127.0.0.1", "--port", port, *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            end = time.monotonic() + PATIENCE_S
            while True:
                assert running.poll() is None, f"llama-server ended with {running.returncode}"
                with socket.socket() as probe:
                    probe.settimeout(1.0)
                    if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                        break
                assert time.monotonic() < end, "llama-server does not listen"
                time.sleep(LOOK_S)
            # It listens before its model is loaded: measure_server waits for that itself.
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            running.kill()


def run(server: str, api: ApiName, concurrency: tuple[int, ...] = (1, 2)) -> ServerRun:
    return measure_server(server, api=api, prompt=96, gen=24, repetitions=2, concurrency=concurrency, timeout_s=120.0)


@pytest.mark.parametrize("api", ["auto", "completions", "chat"])
def test_a_real_server(server: str, api: ApiName) -> None:
    found = run(server, api)
    assert found.problems == ()
    assert found.api == ("llama" if api == "auto" else api)
    assert {name: getattr(found.facts, name) for name in FACTS} == FACTS
    assert found.facts.is_llama
    assert [(each.phase, each.batch) for each in found.measured] == [("pp", 1), ("tg", 1), ("pp", 2), ("tg", 2)]
    for each in found.measured:
        assert each.source == ("server timings" if each.batch == 1 else "client clock")
        assert len(each.samples) == 2
        assert each.least <= each.tok_s <= each.most
        assert each.counted == ("timings" if api == "auto" else "usage")
        if each.phase == "pp":
            assert (each.prompt, each.gen, each.depth) == (96, 0, 0)
        else:
            assert (each.prompt, each.gen) == (0, 24)
            assert each.tpot_s is not None
    # Counted by its own counters, the server processed nothing but what was sent.
    assert not [note for note in found.notes if "other requests" in note]
    assert found.tokens_per_char is not None
    assert 0.1 < found.tokens_per_char < 0.3  # English words of four to six letters and a blank, a token each


def test_the_client_and_the_server_see_the_same_time(server: str) -> None:
    """The server's time of a pass is in what the client waits between tokens, so its speed is not below the client's.

    A tenth is left for tokens that wait in a buffer and arrive together.
    """
    decode = run(server, "llama", (1,)).measured[1]
    assert decode.tpot_s is not None
    assert decode.most >= 0.9 / decode.tpot_s


def test_a_prompt_that_does_not_fit(server: str) -> None:
    with pytest.raises(SpecError, match="a context of at least 2049 tokens, found 1024"):
        measure_server(server, prompt=2048)
