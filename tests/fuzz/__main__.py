"""Mutate valid model files and read them, for a given time: ``python -m tests.fuzz [seconds] [seed]``.

Stops at the first file that does anything but give a model or a SpecError, keeps it, and says where. With atheris
installed, ``python -m tests.fuzz atheris`` lets it choose the mutations by coverage instead.
"""

import importlib
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.target import READERS, check, mutate, seeds


def main(seconds: float, seed: int) -> int:
    """The exit status: 1 after a finding."""
    chance = random.Random(seed)
    refused = accepted = 0
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = seeds(folder)
        while time.monotonic() < end:
            kind = chance.choice(sorted(READERS))
            content = mutate(chance.choice(corpus[kind]), chance)
            try:
                model = check(kind, content, folder)
            except BaseException as error:  # noqa: BLE001 -- whatever it is, it is the finding
                kept = Path(f"finding-{seed}.{kind}").resolve()
                kept.write_bytes(content)
                sys.stderr.write(f"{kept}: {type(error).__name__}: {str(error)[:500]}\n")
                return 1
            refused += model is None
            accepted += model is not None
    sys.stdout.write(f"seed {seed}: {refused} files refused, {accepted} read, nothing else in {seconds:g} s\n")
    return 0


def with_atheris() -> None:
    """The same target for a coverage-guided fuzzer: the first byte chooses the reader."""
    atheris = importlib.import_module("atheris")
    atheris.instrument_all()
    kinds = sorted(READERS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def one(data: bytes) -> None:
            if data:
                check(kinds[data[0] % len(kinds)], data[1:], folder)

        atheris.Setup(sys.argv[:1], one)
        atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:] == ["atheris"]:
        with_atheris()
    else:
        seconds, seed = [*sys.argv[1:3], *("10", str(random.randrange(2**32)))[len(sys.argv) - 1 :]]
        sys.exit(main(float(seconds), int(seed)))
