"""The command line: parse, one library call, report. Exit 0: done; 1: a clear line on stderr; 2: wrong usage."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from roofline.cli.app import app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; errors that a user can mend are one line on stderr."""
    try:
        app(args=list(arguments) if arguments is not None else None, prog_name="roofline")
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
