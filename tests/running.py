"""The command line in this process, to its exit."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from roofline.cli import main


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


def runner(capsys: pytest.CaptureFixture[str]) -> Run:
    """A function of the arguments; what was captured before is forgotten."""

    def call(*arguments: str) -> Outcome:
        capsys.readouterr()
        code: object = 0
        try:
            main(arguments)
        except SystemExit as stopped:
            code = stopped.code
        captured = capsys.readouterr()
        return Outcome(code if isinstance(code, int) else 0 if code is None else 1, captured.out, captured.err)

    return call
