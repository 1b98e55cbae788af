"""The command about rounding errors: what a quantisation and an accumulator cost in accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roofline.cli import options
from roofline.cli.options import Form
from roofline.cli.plotting import Background, Theme, finish
from roofline.cli.progress import progress_bar


def error(
    context: typer.Context,
    quant: Annotated[
        str,
        typer.Option("--quant", metavar="NAMES", help="Types and mixes such as q8_0,q4_k_m; commas make a list."),
    ] = "q8_0,q4_0,q4_k_m,f16",
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Whose shapes decide what types a mix consists of; a GGUF file's own weights are measured.",
        ),
    ] = "llama-3.1-8b",
    k: Annotated[
        str, typer.Option("--k", metavar="N", help="Terms of a dot product; 4k is 4096, commas make a list.")
    ] = "4096",
    accumulate: Annotated[
        str, typer.Option("--accumulate", metavar="FORMATS", help="What sums are kept in: fp16, fp32, bf16.")
    ] = "fp16,fp32",
    sum_: Annotated[
        str,
        typer.Option(
            "--sum",
            metavar="ORDERS",
            help="plain, pairwise, kahan, blocked (sums of 32 terms; blocked64), lanes (8 sums side by side; lanes32).",
        ),
    ] = "plain,pairwise,kahan",
    distribution: Annotated[
        str, typer.Option("--distribution", metavar="NAME", help="Of weights: gaussian, laplacian, heavy-tailed.")
    ] = "gaussian",
    activations: Annotated[
        str, typer.Option("--activations", metavar="NAME", help="Of activations: the same, or outliers.")
    ] = "gaussian",
    weight_rms: Annotated[
        float, typer.Option("--weight-rms", metavar="R", help="Standard deviation of the weights.")
    ] = 0.02,
    activation_rms: Annotated[
        float, typer.Option("--activation-rms", metavar="R", help="Standard deviation of the activations.")
    ] = 1.0,
    trials: Annotated[int, typer.Option("--trials", metavar="N", help="Pairs of vectors that are simulated.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the random vectors.")] = 0,
    no_simulation: Annotated[bool, typer.Option("--no-simulation", help="Derive only.")] = False,
    floats: Annotated[bool, typer.Option("--floats", help="A table of fp16 and bf16, too.")] = False,
    whole: Annotated[bool, typer.Option("--whole", help="Of a GGUF file: read all weights, not a sample.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Draw the error against k, too: .html, .png, .webp, .svg, .pdf, .json."
        ),
    ] = None,
    theme: Background = Theme.auto,
    form: options.Output = Form.table,
) -> None:
    """What rounding costs: weights in few bits, sums in few bits; derived, and tried by simulation.

    Example: roofline error --quant q8_0,f16 --k 4096 --accumulate fp16 --sum plain,lanes8
    """
    if model.endswith(".gguf"):
        if options.asked(context) - {"model", "whole", "form"}:
            raise typer.BadParameter("a GGUF file, whose own weights are measured, goes with --whole and --format only")
        from roofline.file_quality.report import file_report

        with progress_bar("reading") as progress:
            text = file_report(Path(model), form.value, whole, progress)
        typer.echo(text, nl=False)
        return
    if whole:
        raise typer.BadParameter("--whole goes with a GGUF file: --model FILE.gguf")
    from roofline.mixes import mixes
    from roofline.precision.outcome import outcome
    from roofline.precision.report import report
    from roofline.precision.request import request

    asked = request(
        mixes(quant, model), k, accumulate, sum_, distribution, activations, weight_rms, activation_rms, trials,
        seed, not no_simulation,
    )  # fmt: skip
    if out is not None:
        from roofline.document.saving import check_out

        check_out(out)
    found = outcome(asked)
    typer.echo(report(found, form.value, floats), nl=False)
    if out is not None:
        from roofline.charts.dot_errors import dot_errors
        from roofline.document.pictures import dot_errors_picture

        chart = dot_errors(found)
        finish(dot_errors_picture(chart), out, theme, chart.title)
