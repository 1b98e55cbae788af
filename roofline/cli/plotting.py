"""`roofline plot`: charts, to a window of the browser or to a file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from roofline.cli import options

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
    typer.Option(
        "--out", metavar="FILE", help="Write to .html, .png, .webp, .svg, .pdf or .json; default: the browser."
    ),
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


@plots.command()
def measured(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE|HW|-]",
            help="Measured speeds; a device: your own of it; default: those that come with roofline.",
        ),
    ] = None,
    hw: options.GivenHardware = None,
    model: options.GivenModel = None,
    quant: options.Quant = None,
    backend: Annotated[
        str | None, typer.Option("--backend", metavar="NAMES", help="Only these backends; commas make a list.")
    ] = None,
    tokens_per_char: Annotated[
        float | None,
        typer.Option(
            "--tokens-per-char", metavar="R", help="The speeds are characters per second: tokens a character."
        ),
    ] = None,
    out: Out = None,
    theme: Background = Theme.auto,
) -> None:
    """Predicted against measured speeds: a point for every checked row, by backend.

    Example: roofline plot measured --hw rpi5 --out errors.html
    """
    from roofline.charts.errors import errors, known_backends
    from roofline.document.pictures import errors_picture
    from roofline.engine.own_check import own_check

    wanted = known_backends(backend)
    chart = errors(own_check(file, hw, model, quant, tokens_per_char), file, (hw, model, quant), wanted)
    finish(errors_picture(chart), out, theme, chart.title)


class Across(StrEnum):
    """What speed is drawn against."""

    price = "price"
    watts = "watts"
    cost = "cost"


@plots.command()
def pareto(
    model: options.Model,
    quant: options.Quant = None,
    hw: Annotated[
        str, typer.Option("--hw", metavar="IDS", help="Devices and patterns; default: the whole catalog.")
    ] = "*",
    x: Annotated[
        Across, typer.Option("--x", help="Against the price, the power, or the cost of a million tokens.")
    ] = Across.price,
    runtime: options.Runtime = "llama.cpp",
    backend: options.Backend = None,
    prompt: options.Prompt = "512",
    gen: options.Gen = "128",
    depth: options.Depth = "0",
    batch: options.Batch = "1",
    kv: options.Cache = "f16",
    ctx: options.Context = None,
    flash_attn: options.Flash = None,
    kwh: options.Kwh = None,
    lifetime: options.Lifetime = "3y",
    utilisation: options.Utilisation = None,
    per_hour: options.PerHour = None,
    price: options.Prices = None,
    most_count: Annotated[
        int, typer.Option("--most-count", min=1, max=4, help="Cards of a kind where one is too small.")
    ] = 1,
    out: Out = None,
    theme: Background = Theme.auto,
) -> None:
    """Decode speed against price, power or cost: all machines that run a model, and the best of them.

    Example: roofline plot pareto --model llama-3.1-8b --quant q4_k_m --hw 'rtx-*,m4-*' --out pareto.html
    """
    given = options.settings(locals())
    from roofline import economy
    from roofline.charts.pareto import pareto as chart_of
    from roofline.document.pictures import pareto_picture

    terms = economy.terms(kwh, lifetime, utilisation, per_hour)
    chart = chart_of(hw, model, quant, x.value, terms, price or [], most_count, **given)
    finish(pareto_picture(chart), out, theme, chart.title)


@plots.command()
def roofline(
    hw: Annotated[
        str, typer.Option("--hw", metavar="IDS", help="Up to 6 devices, as for predict; commas make a list.")
    ],
    model: options.Model,
    quant: Annotated[
        str | None, typer.Option("--quant", metavar="NAMES", help="Up to 6 quantisations; commas make a list.")
    ] = None,
    runtime: options.Runtime = "llama.cpp",
    backend: options.Backend = None,
    prompt: options.Prompt = "512",
    gen: options.Gen = "128",
    depth: options.Depth = "0",
    batch: options.Batch = "1",
    kv: options.Cache = "f16",
    ctx: options.Context = None,
    ubatch: options.Ubatch = None,
    threads: options.Threads = None,
    flash_attn: options.Flash = None,
    gpu_layers: options.GpuLayers = None,
    cpu_moe: options.CpuMoe = False,
    n_cpu_moe: options.CpuMoeLayers = None,
    override_tensor: options.TensorOverrides = None,
    op_offload: options.OpOffload = True,
    repack: options.Repack = 1,
    no_repack: options.NoRepack = False,
    split: options.Split = None,
    tensor_split: options.TensorSplit = None,
    link: options.Link = None,
    numa: options.Numa = None,
    disk: options.Disk = None,
    overrides: options.Overrides = None,
    out: Out = None,
    theme: Background = Theme.auto,
) -> None:
    """Roofs of memory and arithmetic, and under them a model's operators and phases, sized by their time.

    Example: roofline plot roofline --hw rpi5,m2-ultra-76 --model mistral-7b --quant q4_0,q8_0,f16 --out roofline.html
    """
    given = options.settings(locals())
    from roofline.charts.rooflines import rooflines
    from roofline.document.pictures import roofline_picture

    chart = rooflines(hw, model, quant, **given)
    finish(roofline_picture(chart), out, theme, chart.title)
