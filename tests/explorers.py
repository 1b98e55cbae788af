"""A running explorer for the tests that talk with it over a socket."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOFLINE = str(Path(sys.executable).with_name("roofline"))


@contextlib.contextmanager
def running(*options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`roofline app` on a free port, and the line in which it says where."""
    process = subprocess.Popen(
        [ROOFLINE, "app", "--no-open", "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stderr is not None
    try:
        yield process, process.stderr.readline()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def port_of(line: str) -> int:
    return int(line.partition("serving http://")[2].partition("/")[0].rpartition(":")[2])
