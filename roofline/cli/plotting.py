"""`roofline plot`: charts, to a window of the browser or to a file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from roofline.document.blocks import Chart

plots = typer.Typer(
    name="plot",
    help="Charts, in the browser or as a file: the roofline, speed against depth, batch, threads and bits, errors.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class Theme(StrEnum):
    """On what background a chart is drawn."""

    auto = "auto"
    light = "light"
    dark = "dark"


Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write to .html, .png, .svg, .pdf or .json; default: the browser."),
]
Background = Annotated[
    Theme, typer.Option("--theme", help="Background; auto: as the reader's system has it, light in an image.")
]


def finish(chart: Chart, out: Path | None, theme: Theme, title: str) -> None:
    """Write a chart to its file and say where, or show it in the browser."""
    from roofline.document.saving import save_chart, show_chart

    if out is None:
        path, opened = show_chart(chart, theme.value, title)
        typer.echo(f"{'opened' if opened else 'no browser to open it in; wrote'} {path}", err=True)
    else:
        save_chart(chart, out, theme.value, title)
        typer.echo(f"wrote {out}", err=True)
