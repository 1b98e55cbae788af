"""The commands."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from roofline.cli import (
    comparing,
    curves,
    erring,
    exploring,
    loading,
    measuring,
    options,
    plotting,
    recommending,
    reporting,
    serving,
    sizing,
    sweeping,
)
from roofline.cli.options import Form

app = typer.Typer(
    help="How fast a language model runs on hardware you may not own, and why.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Kind(StrEnum):
    """What can be listed."""

    hardware = "hardware"
    models = "models"
    quants = "quants"
    runtimes = "runtimes"
    columns = "columns"


class Shown(StrEnum):
    """What can be shown."""

    hardware = "hardware"
    model = "model"
    runtime = "runtime"


def _version(wanted: bool) -> None:
    if wanted:
        from roofline import __version__

        typer.echo(f"roofline {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = None,
) -> None:
    pass


def predict(
    hw: options.Hardware,
    model: options.Model,
    quant: options.Quant = None,
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
    near: Annotated[bool, typer.Option("--near", help="Show the nearest measured points too.")] = False,
    form: options.Output = Form.table,
) -> None:
    """Tokens per second of prefill and decode, what binds them, and whether it fits.

    Example: roofline predict --hw rpi5 --model mistral7b --quant q4_0
    """
    given = options.settings(locals())
    from roofline import report
    from roofline.points import points

    results = points(hw, model, quant, **given)
    ways = [] if form is Form.table and results[0].runs else _ways(results)
    in_file = None
    if results[0].gguf:
        from roofline.file_quality.report import file_noise
        from roofline.readers import read_gguf

        in_file = file_noise(read_gguf(results[0].gguf))
    typer.echo(report.predictions(results, form.value, ways, in_file), nl=False)
    if near and len(results) == 1 and form in (Form.table, Form.md):
        from roofline.check.nearest import rows

        listed = report.nearest_points(rows(results[0]), "md" if form is Form.md else "table")
        typer.echo(f"\nNearest measured points\n\n{listed}", nl=False)


def _ways(results: list) -> list:  # type: ignore[type-arg]
    """What would fit, searched only when a single point does not."""
    if len(results) != 1 or results[0].memory.fits:
        return []
    from roofline.points import larger_devices
    from roofline.ways_out import ways_out

    return ways_out(results[0], larger_devices(results[0]))


def explain(
    hw: options.Hardware,
    model: options.Model,
    quant: options.Quant = None,
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
    form: options.Output = Form.table,
) -> None:
    """The working behind a prediction: operators, ridge point, what-ifs, every figure with its source."""
    given = options.settings(locals())
    from roofline import report
    from roofline.check.nearest import rows
    from roofline.points import single_point

    result = single_point(hw, model, quant, **given)
    typer.echo(report.explanation(result, form.value, rows(result)), nl=False)


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE.gguf", help="GGUF file; its header is enough.")],
    form: options.Output = Form.table,
) -> None:
    """Shape, parameters, bits per weight and bytes per token of a GGUF file."""
    from roofline.inspection import inspection

    typer.echo(inspection(file, form.value), nl=False)


def check(
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
    tokens_per_char: Annotated[
        float | None,
        typer.Option(
            "--tokens-per-char", metavar="R", help="The speeds are characters per second: tokens a character."
        ),
    ] = None,
    worst: Annotated[int, typer.Option("--worst", min=0, max=1000, help="How many of the worst rows to show.")] = 10,
    form: options.Output = Form.table,
) -> None:
    """Measured speeds against predictions: a verdict for every row, errors by group, what is most wrong.

    Example: roofline check llama-bench.json --hw m2-ultra-76
    """
    from roofline.engine.own_check import own_check_report

    typer.echo(own_check_report(file, hw, model, quant, form.value, worst, tokens_per_char), nl=False)


def list_(
    what: Annotated[Kind, typer.Argument(help="What to list.")],
    pattern: Annotated[str, typer.Argument(help="Only ids that match, such as 'rtx-*'.")] = "*",
    form: options.Output = Form.table,
) -> None:
    """The catalog: hardware, models, quants, runtimes; and the columns of the reports."""
    from roofline.listing import listing

    typer.echo(listing(what.value, pattern, form.value), nl=False)


def show(
    what: Annotated[Shown, typer.Argument(help="What kind of thing.")],
    name: Annotated[str, typer.Argument(help="Its id or file.")],
    form: options.Output = Form.table,
) -> None:
    """Every figure of one thing, with its basis and source."""
    from roofline.listing import details

    typer.echo(details(what.value, name, form.value), nl=False)


def calibrate(
    observations: Annotated[
        Path | None, typer.Option("--observations", metavar="FILE", help="Measured speeds; default: the shipped ones.")
    ] = None,
    backends: Annotated[
        list[str] | None, typer.Option("--backend", metavar="NAME", help="Only this backend. Repeatable.")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Keep the constants for yourself, in your own directory.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the constants to a file.")] = None,
    scores: Annotated[bool, typer.Option("--scores", help="Only show how right the shipped constants are.")] = False,
    hw: options.DeviceHardware = None,
    measure_first: Annotated[
        bool,
        typer.Option("--run", help="With --hw: first measure a small synthetic model in a few types, by llama-bench."),
    ] = False,
    form: options.Output = Form.table,
) -> None:
    """Refit the constants of the runtimes to measured speeds; say what moved, how sure, and how right it is.

    With --hw only one device is looked at: how it differs from its kind, by your own measurements of it; kept for it.
    """
    from roofline.calibrate import command

    if hw is not None:
        if write or out or scores or backends:
            raise typer.BadParameter("--hw goes with --observations, --run and --format only")
        from roofline.engine.calibration_runs import measured_rows

        own = measured_rows(hw, measure_first)
        text, written = command.run_device(hw, observations, own, form.value)
    elif measure_first:
        raise typer.BadParameter("--run needs --hw: the machine that it measures")
    else:
        text, written = command.run(observations, backends or [], write, out, scores, form.value)
    typer.echo(text, nl=False)
    for path in written:
        typer.echo(f"wrote {path}", err=True)


# In the order of --help: what a prediction is, what to do with it, what it rests on, and what is measured.
_COMMANDS: tuple[Callable[..., None], ...] = (
    predict,
    explain,
    reporting.report,
    exploring.app,
    sizing.fit,
    loading.load,
    recommending.recommend,
    comparing.compare,
    sweeping.sweep,
    serving.users,
    serving.speculate,
    serving.embed,
    serving.threads,
    inspect,
    list_,
    show,
    check,
    calibrate,
    measuring.bench,
    erring.error,
)
for _command in _COMMANDS:
    app.command(_command.__name__.rstrip("_"))(_command)
for _command in curves.COMMANDS:
    plotting.plots.command(_command.__name__)(_command)
app.add_typer(measuring.measures, name="measure")
app.add_typer(plotting.plots, name="plot")
