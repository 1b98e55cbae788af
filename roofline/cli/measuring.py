"""Commands that touch this machine: what it is, what its roofs are, what a real engine reaches on it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from roofline.cli import options
from roofline.cli.options import Form
from roofline.cli.plotting import Background, Theme
from roofline.cli.progress import progress_bar

measures = typer.Typer(name="measure", rich_markup_mode=None)


@measures.callback(invoke_without_command=True)
def measure(
    context: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="In under 20 seconds, with fewer points.")] = False,
    only_identity: Annotated[
        bool, typer.Option("--identity", help="Only say what this machine is; measure and write nothing.")
    ] = False,
    why_not: Annotated[
        str | None, typer.Option("--why-not", metavar="ID", help="Why this machine is not that one of the catalog.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to write the file; default: host, in your own directory."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that `measure` did not write.")] = False,
    form: options.Output = Form.table,
) -> None:
    """Detect this machine, measure its roofs, and write a hardware file: then --hw host is this machine.

    Example: roofline measure --quick
    """
    if context.invoked_subcommand is not None:
        _without_options(context)
        return
    from roofline.engine.process import interruptible
    from roofline.measure import command

    if why_not is not None or only_identity:
        typer.echo(command.identity_report(why_not, form.value), nl=False)
        return
    with interruptible(), progress_bar("measuring") as progress:
        text, written = command.run(quick, out, force, form.value, progress)
    typer.echo(text, nl=False)
    for path in written:
        typer.echo(f"wrote {path}", err=True)


def _without_options(context: typer.Context) -> None:
    """A command of its own takes its own options: those before its name would go unheard."""
    if options.asked(context):
        name = context.invoked_subcommand
        raise typer.BadParameter(f"options go behind {name}: roofline measure {name} …", context)


class Picture(StrEnum):
    """Which picture of a ladder an image holds."""

    climb = "climb"
    roofline = "roofline"
    sizes = "sizes"


@measures.command()
def matmul(
    n: Annotated[int, typer.Option("--n", metavar="N", help="Rows and columns of the matrices.")] = 1024,
    threads: options.ThreadList = None,
    rungs: Annotated[
        str | None, typer.Option("--rungs", metavar="NAMES", help="Only these rungs; commas make a list.")
    ] = None,
    sizes: Annotated[
        bool, typer.Option("--sizes/--no-sizes", help="Speed against size, too: where matrices leave the caches.")
    ] = True,
    quick: Annotated[bool, typer.Option("--quick", help="In about 15 seconds, with fewer samples and sizes.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Draw it, too: all in .html or .md, a picture in .png, .svg, .json; or .csv."
        ),
    ] = None,
    chart: Annotated[Picture, typer.Option("--chart", help="Which picture an image holds.")] = Picture.climb,
    theme: Background = Theme.auto,
    form: options.Output = Form.table,
) -> None:
    """Matrix products from plain Python to the peak: how fast each rung is here, and why.

    Example: roofline measure matmul --n 1024 --out ladder.html
    """
    from roofline.document.ladder import check_asked, save
    from roofline.engine.process import interruptible
    from roofline.measure.ladder.command import measure_ladder
    from roofline.measure.ladder.report import report

    check_asked(out, chart.value, sizes, rungs)
    with interruptible(), progress_bar("measuring") as progress:
        ladder = measure_ladder(n, threads, rungs, sizes, quick, progress)
    typer.echo(report(ladder, form.value), nl=False)
    if out is not None:
        save(ladder, out, theme.value, chart.value)
        typer.echo(f"wrote {out}", err=True)


def bench(
    model: Annotated[
        str, typer.Option("--model", metavar="ID", help="A GGUF file; an id with --synthetic or --server.")
    ],
    quant: options.Quant = None,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Make a file of random weights of the model's shape, run it, remove it.")
    ] = False,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="FOLDER", help="Keep the synthetic file in this folder.")
    ] = None,
    server: Annotated[
        str | None, typer.Option("--server", metavar="URL", help="Measure a running server instead.")
    ] = None,
    api: Annotated[
        str, typer.Option("--api", metavar="NAME", help="With --server: auto, llama, completions or chat.")
    ] = "auto",
    key_variable: Annotated[
        str | None, typer.Option("--key-variable", metavar="NAME", help="Environment variable that holds the API key.")
    ] = None,
    second_tokenizer: Annotated[
        Path | None,
        typer.Option(
            "--second-tokenizer", metavar="FILE", help="With --server: a tokenizer.json to count the tokens by, too."
        ),
    ] = None,
    concurrency: Annotated[
        str, typer.Option("--concurrency", metavar="N", help="With --server: requests at a time; commas make a list.")
    ] = "1",
    hw: options.HereHardware = None,
    backend: options.Backend = None,
    prompt: options.Prompt = "512",
    gen: options.Gen = "128",
    depth: options.Depth = "0",
    batch: Annotated[
        str | None, typer.Option("--batch", metavar="N", help="Sequences at a time, by llama-batched-bench; a list.")
    ] = None,
    threads: options.ThreadList = None,
    ubatch: options.UbatchList = None,
    gpu_layers: Annotated[
        str | None, typer.Option("--gpu-layers", "-ngl", metavar="N", help="Layers on the GPU; commas make a list.")
    ] = None,
    flash_attn: Annotated[
        str | None, typer.Option("--flash-attn", metavar="on|off", help="Fused attention; on,off measures both.")
    ] = None,
    kv: Annotated[str | None, typer.Option("--kv", metavar="TYPE", help="KV-cache type; commas make a list.")] = None,
    repetitions: Annotated[int, typer.Option("--repetitions", min=1, max=1000, help="Runs of each point.")] = 5,
    timeout: Annotated[float, typer.Option("--timeout", min=1, metavar="S", help="Seconds until it is ended.")] = 1800,
    llama_bench: Annotated[
        Path | None, typer.Option("--llama-bench", metavar="PATH", help="llama-bench, or the folder it is in.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Run it although the memory is too small.")] = False,
    no_record: Annotated[bool, typer.Option("--no-record", help="Do not add the speeds to your observations.")] = False,
    form: options.Output = Form.table,
) -> None:
    """Run llama.cpp here, or ask a running server, and compare with the prediction; the speeds are kept.

    Example: roofline bench --model llama-3.1-8b --quant q4_k_m --synthetic
    """
    from roofline.engine import command

    request = command.Request(
        model=model, quant=quant, synthetic=synthetic, keep=keep, hw=hw, backend=backend, prompt=prompt, gen=gen,
        depth=depth, batch=batch, threads=threads, ubatch=ubatch, gpu_layers=gpu_layers, flash_attn=flash_attn, kv=kv,
        repetitions=repetitions, timeout_s=timeout, llama_bench=llama_bench, force=force, recorded=not no_record,
    )  # fmt: skip
    with progress_bar("measuring" if server else "writing the model") as progress:
        if server is not None:
            text, recorded = command.serve(
                request, server, api, key_variable, second_tokenizer, concurrency, form.value, progress
            )
        else:
            text, recorded = command.run(request, form.value, progress)
    typer.echo(text, nl=False)
    if recorded is not None:
        typer.echo(f"added to {recorded}", err=True)
