"""The command line: parse, one library call, report. Exit 0: done; 1: a clear line on stderr; 2: wrong usage."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from copy import copy

import typer
from typer.models import CommandInfo

from roofline.cli.app import app


def _with_command(words: Sequence[str]) -> typer.Typer:
    """The commands with the one that is asked for alone: working out the options of all takes longer than a prediction.

    All of them where that is not clear: for help, completion, and a name that there is not.
    """
    asked = [info for info in app.registered_commands if words and words[0] == _name(info)]
    groups = [info for info in app.registered_groups if words and words[0] == info.name]
    if not (asked or groups) or "_ROOFLINE_COMPLETE" in os.environ:
        return app
    one = copy(app)
    one.registered_commands, one.registered_groups = asked, groups
    return one


def _name(info: CommandInfo) -> str:
    """What a command is called: its name where it was given one, else its function's."""
    return info.name or (info.callback.__name__ if info.callback else "")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; errors that a user can mend are one line on stderr."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        _with_command(words)(args=words, prog_name="roofline")
    except BrokenPipeError:
        sys.stderr.close()  # the reader (head, less) has seen enough; say nothing at exit either
        sys.exit(0)
    except ValueError as error:
        from roofline.spec import SpecError
        from roofline.units import UnitError

        if not isinstance(error, (SpecError, UnitError)):
            raise  # a defect of ours: its traceback is wanted
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        from roofline.spec import one_line
        from roofline.units import short

        where = f"{short(error.filename, 200)}: " if error.filename else ""
        print(f"error: {one_line(f'{where}{error.strerror or error}')}", file=sys.stderr)
        sys.exit(1)
