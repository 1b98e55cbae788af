"""A process of one's own for a library: a BLAS reads its number of threads from the environment when it is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from roofline.measure.timing import one_per_core

_THREAD_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


class ChildError(Exception):
    """Why a process said nothing more, in a line. lines: what it had said before."""

    def __init__(self, reason: str, lines: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.lines = tuple(lines)


def environment(threads: int, given: Mapping[str, str]) -> dict[str, str]:
    """An environment in which every BLAS uses that many threads."""
    return {**given, **dict.fromkeys(_THREAD_VARIABLES, str(threads))}


def ask(program: str, arguments: Sequence[str], threads: int, timeout_s: float) -> list[str]:
    """What a Python program prints, line by line, with `threads` threads for every BLAS.

    program: source; its first argument is the folder that holds this package. ChildError where it does not start, does
    not end in time, or ends with an error. Whatever ends the wait, a key press too, ends the process.
    """
    package_parent = str(Path(__file__).parent.parent.parent)
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, package_parent, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**environment(threads, os.environ), "PYTHONIOENCODING": "utf-8"},
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise ChildError(f"it did not end within {timeout_s:.0f} s", list(_lines(late.stdout))) from None
    except OSError as error:
        raise ChildError(f"{sys.executable} does not start: {error.strerror or error}") from None
    lines = list(_lines(done.stdout))
    if done.returncode or not lines:
        last = ([*_lines(done.stderr)] or ["no message"])[-1]
        raise ChildError(f"the process ended with {done.returncode}: {last[:200]}", lines)
    return lines


def _lines(output: bytes | None) -> Iterator[str]:
    yield from (line for line in (output or b"").decode("utf-8", "replace").splitlines() if line.strip())


def pin() -> None:
    """To one core of this process's, so that a single thread does not wander and one core is one core."""
    cores = one_per_core()
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cores[0]})
