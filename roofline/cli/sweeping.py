"""`sweep`: predictions over every combination of the axes, into a file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from roofline.cli import options
from roofline.cli.progress import points_bar


class Engine(StrEnum):
    """Who works the points out."""

    local = "local"
    dask = "dask"


def sweep(
    hw: Annotated[
        str,
        typer.Option("--hw", metavar="IDS", help="Devices: ids and patterns ('rtx-*,m2-max-38')."),
    ],
    model: Annotated[str, typer.Option("--model", metavar="IDS", help="Models: ids and patterns, or GGUF files.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Output: .parquet, .csv or .jsonl.")],
    quant: Annotated[str, typer.Option("--quant", metavar="NAMES", help="Quantisations, likewise.")] = "q4_k_m",
    runtime: Annotated[str, typer.Option("--runtime", metavar="IDS", help="Inference engines.")] = "llama.cpp",
    backend: Annotated[
        str | None, typer.Option("--backend", metavar="NAMES", help="Backends; default: the usual one of each device.")
    ] = None,
    prompt: options.Range = "512",
    gen: Annotated[str, typer.Option("--gen", metavar="N", help="Generated tokens, likewise.")] = "128",
    depth: Annotated[str, typer.Option("--depth", metavar="N", help="Tokens already in the KV cache, likewise.")] = "0",
    batch: Annotated[str, typer.Option("--batch", metavar="N", help="Sequences at a time, likewise.")] = "1",
    kv: Annotated[
        str, typer.Option("--kv", metavar="TYPES", help="KV-cache types; q8_0/q4_0 is one of different K and V.")
    ] = "f16",
    threads: options.ThreadList = None,
    ubatch: options.UbatchList = None,
    ctx: options.Context = None,
    flash_attn: options.Flash = None,
    columns: Annotated[
        str | None,
        typer.Option("--columns", metavar="NAMES", help="What is written of each point; 'all' is everything there is."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, metavar="N", help="Processes; default: as many as cores.")
    ] = None,
    engine: Annotated[Engine, typer.Option("--engine", help="Who works the points out.")] = Engine.local,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", metavar="ADDRESS", help="With --engine dask: the cluster's scheduler.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an output that is there.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew, whatever an interrupted sweep has left.")
    ] = False,
    form: options.Output = options.Form.table,
) -> None:
    """Every combination of devices, models, quantisations and workloads, streamed to a file; resumed when interrupted.

    Example: roofline sweep --hw 'rtx-*' --model 'llama-3*' --depth 0:131072:4096 --batch 1,8 --out sweep.parquet
    """
    from roofline.engine.process import interruptible
    from roofline.sweep import sweep_report
    from roofline.sweep.command import sweep as run
    from roofline.sweep.request import make_request

    request = make_request(
        hw, model, quant, columns, runtime=runtime, backend=backend, kv=kv, threads=threads, ubatch=ubatch,
        prompt=prompt, gen=gen, depth=depth, batch=batch, context=ctx, flash_attention=flash_attn,
    )  # fmt: skip
    try:
        with interruptible(), points_bar(request.points) as progress:
            finished = run(
                request,
                out,
                workers=workers,
                engine=engine.value,
                scheduler=scheduler,
                force=force,
                restart=restart,
                progress=progress,
            )
    except (KeyboardInterrupt, SystemExit):
        typer.echo(f"stopped; {out}.parts keeps what was finished, and the same command goes on from there", err=True)
        raise
    typer.echo(sweep_report(finished, form.value), nl=False)
