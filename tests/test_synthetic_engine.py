"""Synthetic files in a real llama.cpp: every architecture loads, runs, and makes finite numbers.

Needs an engine: ROOFLINE_LLAMA_BIN names a folder with llama-bench and llama-server. Runs are short and on one thread.
"""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from roofline import catalog
from roofline.engine.synthetic import ARCHITECTURES, plan_synthetic, write_synthetic
from roofline.engine.synthetic.blocks import TYPES
from roofline.engine.synthetic.vocabulary import SMALLEST
from roofline.quantization import RECIPES
from tests.tiny_models import catalog_models, shrink, write_toml

pytestmark = pytest.mark.engine
PATIENCE_S = 60.0
#: Models whose parts the first of their architecture lacks: two norms, no query rank, experts, no experts, tied.
VARIANTS = (
    "falcon-40b",
    "deepseek-v2-lite",
    "mixtral-8x7b",
    "gemma-4-31b",
    "phi-4-mini",
    "qwen2.5-0.5b",
    "llama-3.2-1b",
)


def program(name: str) -> Path:
    folder = os.environ.get("ROOFLINE_LLAMA_BIN")
    if not folder:
        pytest.skip("ROOFLINE_LLAMA_BIN names no folder with llama.cpp's programs")
    path = Path(folder) / name
    if not path.is_file():
        pytest.skip(f"{folder} has no {name}")
    return path


def tiny(name: str, folder: Path) -> str:
    """The miniature of an architecture or of a catalog model."""
    model = catalog_models()[name] if name in ARCHITECTURES else catalog.load_model(name).spec
    return str(write_toml(shrink(model), folder / f"{name}.toml"))


def bench(model: Path) -> list[dict[str, Any]]:
    arguments = [
        str(program("llama-bench")),
        "-m",
        str(model),
        "-p",
        "16",
        "-n",
        "4",
        "-r",
        "1",
        "-t",
        "1",
        "-o",
        "json",
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


@pytest.mark.parametrize("name", [*ARCHITECTURES, *VARIANTS])
def test_llama_bench_runs_every_architecture(name: str, tmp_path: Path) -> None:
    program("llama-bench")
    model, path = tiny(name, tmp_path), tmp_path / "m.gguf"
    write_synthetic(model, "q4_k_m", path)
    plan = plan_synthetic(model, "q4_k_m")
    rows = bench(path)
    assert [(row["n_prompt"], row["n_gen"]) for row in rows] == [(16, 0), (0, 4)]
    for row in rows:
        assert row["model_n_params"] == sum(tensor.elements for tensor in plan.tensors)
        assert row["avg_ts"] > 0


#: A recipe for each type; q2_0 needs a gguf package that knows it.
_RECIPE_OF = {recipe.base: name for name, recipe in reversed(RECIPES.items())}


@pytest.mark.parametrize("base", [base for base in TYPES if base != "q2_0"])
def test_llama_bench_runs_every_type(base: str, tmp_path: Path) -> None:
    program("llama-bench")
    path = tmp_path / "m.gguf"
    write_synthetic(tiny("llama", tmp_path), _RECIPE_OF[base], path)
    assert len(bench(path)) == 2


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def serving(model: Path) -> Iterator[str]:
    """The address of a llama-server that is ready; it is ended and waited for."""
    server, address = str(program("llama-server")), ("127.0.0.1", str(free_port()))
    arguments = [
        server,
        "-m",
        str(model),
        "--host",
        address[0],
        "--port",
        address[1],
        "-t",
        "1",
        "-c",
        "256",
        "-np",
        "1",
    ]
    with (model.parent / "log").open("w") as log, subprocess.Popen(arguments, stdout=log, stderr=log) as process:
        try:
            url, deadline = f"http://{':'.join(address)}", time.monotonic() + PATIENCE_S
            while not ready(url):
                assert process.poll() is None, (model.parent / "log").read_text()[-2000:]
                assert time.monotonic() < deadline, "no answer from llama-server"
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()


def ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.mark.parametrize("name", [*ARCHITECTURES, *VARIANTS])
def test_llama_server_answers_with_finite_probabilities(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    program("llama-server")
    write_synthetic(tiny(name, tmp_path), "q4_k_m", path, vocabulary="llama")
    body = {
        "prompt": "A word, ünd mehr",
        "n_predict": 8,
        "temperature": 0,
        "ignore_eos": True,
        "n_probs": 2,
        # A server holds back bytes that are no character yet, and their probabilities with them: fillers only.
        "logit_bias": [[token, False] for token in range(SMALLEST)],
    }
    with serving(path) as url:
        request = urllib.request.Request(f"{url}/completion", json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            answer = json.load(response)
    assert answer["timings"]["predicted_n"] == 8
    assert answer["timings"]["prompt_n"] > 8  # every byte is a token
    chances = [token["logprob"] for token in answer["completion_probabilities"]]
    # NaN, which JSON has no word for, comes as null; among 512 tokens the likeliest has a chance of 1/512 or more.
    assert len(chances) == 8
    assert all(isinstance(chance, float) and -6.3 < chance <= 0.0 for chance in chances)
