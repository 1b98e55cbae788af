"""The command that sizes: will it fit, and what is the most that does."""

from __future__ import annotations

from typing import Annotated

import typer

from roofline.cli import options
from roofline.cli.options import Form


def fit(
    hw: options.Hardware,
    model: options.Model,
    quant: Annotated[
        str | None,
        typer.Option("--quant", metavar="NAME", help="Quantisation; default: the one of most bits that fits."),
    ] = None,
    runtime: options.Runtime = "llama.cpp",
    backend: options.Backend = None,
    ctx: Annotated[
        str | None, typer.Option("--ctx", metavar="N", help="Context of each sequence to hold; default: 4k.")
    ] = None,
    batch: Annotated[str, typer.Option("--batch", metavar="N", help="Sequences at a time.")] = "1",
    kv: options.Cache = "f16",
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
    link: options.Link = None,
    numa: options.Numa = None,
    tensor_split: options.TensorSplit = None,
    overrides: options.Overrides = None,
    form: options.Output = Form.table,
) -> None:
    """The memory bill, device by device; whether it fits, and the most that does.

    Example: roofline fit --hw rtx-3090+ryzen-7950x --model llama-3.3-70b --ctx 8192
    """
    given = options.settings(locals())
    from roofline.fit_report import report
    from roofline.sizing import size

    sizing = size(hw, model, quant, **given)
    typer.echo(report(sizing, form.value), nl=False)
