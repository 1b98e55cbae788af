"""The command about loading: what a mapped file costs in time and memory, expected and measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roofline.cli import options
from roofline.cli.options import Form
from roofline.cli.progress import progress_bar


def load(
    context: typer.Context,
    hw: Annotated[
        str | None,
        typer.Option(
            "--hw",
            metavar="ID",
            help="Device: an id, a TOML file or a memory size (rpi5-4gb).",
            autocompletion=options._complete_hardware,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="ID",
            help="Model: an id, a TOML, GGUF or config.json file.",
            autocompletion=options._complete_models,
        ),
    ] = None,
    quant: options.Quant = None,
    disk: Annotated[
        str | None, typer.Option("--disk", metavar="RATE", help="Rate of the disk that the file is on, such as 90MB/s.")
    ] = None,
    ram: Annotated[
        str | None,
        typer.Option("--ram", metavar="SIZE", help="Memory of the machine, such as 4GB; default: its file's."),
    ] = None,
    page: Annotated[
        str | None,
        typer.Option("--page", metavar="SIZE", help="Bytes of a page, such as 16KiB; default: the machine's."),
    ] = None,
    resident: Annotated[
        str | None, typer.Option("--resident", metavar="SIZE", help="When `top` shows this much of it, such as 6GB.")
    ] = None,
    no_mmap: Annotated[
        bool, typer.Option("--no-mmap", help="The file is copied into memory instead of mapped.")
    ] = False,
    runtime: options.Runtime = "llama.cpp",
    backend: options.Backend = None,
    prompt: Annotated[str, typer.Option("--prompt", metavar="N", help="Prompt tokens before the first one.")] = "512",
    depth: Annotated[str, typer.Option("--depth", metavar="N", help="Tokens already in the KV cache.")] = "0",
    kv: options.Cache = "f16",
    ctx: options.Context = None,
    threads: options.Threads = None,
    repack: options.Repack = 1,
    no_repack: options.NoRepack = False,
    overrides: options.Overrides = None,
    measure: Annotated[
        Path | None,
        typer.Option(
            "--measure", metavar="FILE.gguf", help="Map this file here, evict it, walk a token's tensors, and count."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="With --measure: of the token and the experts that are picked.")
    ] = 0,
    form: options.Output = Form.table,
) -> None:
    """How long a model takes to load, which pages a token touches, and what is resident: expected, or measured here.

    Example: roofline load --hw rpi4 --model mistral-7b --quant q4_0 --disk 90MB/s
    """
    given = options.settings(locals(), without="disk")
    if measure is not None:
        if options.asked(context) - {"measure", "seed", "form"}:
            raise typer.BadParameter("--measure goes with --seed and --format only")
        from roofline.engine.process import interruptible
        from roofline.measure.mapping.report import report as measured

        with interruptible(), progress_bar("mapping") as progress:
            text = measured(measure, seed, form.value, progress)
        typer.echo(text, nl=False)
        return
    if hw is None or model is None:
        raise typer.BadParameter("expected --hw and --model for a prediction, or --measure FILE.gguf")
    if "seed" in options.asked(context):
        raise typer.BadParameter("--seed goes with --measure only")
    from roofline.loading import loading
    from roofline.loading_report import report

    found = loading(hw, model, quant, disk=disk, ram=ram, page=page, mmap=not no_mmap, resident=resident, **given)
    typer.echo(report(found, form.value), nl=False)
