"""The command line that repeats what was asked, with the options that were given and no others."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer


def command_line(context: typer.Context, command: str, without: Collection[str], more: Sequence[str] = ()) -> str:
    """'roofline COMMAND --hw …' as a shell takes it. without: names of parameters that are left out."""
    words = ["roofline", command]
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name in without or source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[name]
        option = max(parameter.opts, key=len)
        if isinstance(value, bool):
            words.append(option if value else max(parameter.secondary_opts, key=len))
        else:
            for one in value if isinstance(value, (list, tuple)) else [value]:
                words += [option, str(one.value if isinstance(one, Enum) else one)]
    return shlex.join([*words, *more])
