"""`roofline compare`: machines side by side."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from roofline.cli import options
from roofline.cli.options import Form


class Order(StrEnum):
    """What a comparison can be sorted by."""

    decode = "decode"
    prefill = "prefill"
    price = "price"
    cost = "cost"
    energy = "energy"


def compare(
    hw: Annotated[
        str,
        typer.Option("--hw", metavar="IDS", help="Devices, as for predict; commas make a list, 'rtx-40*' a pattern."),
    ],
    model: Annotated[
        str, typer.Option("--model", metavar="IDS", help="Models; commas make a list, 'qwen3-*' a pattern.")
    ],
    quant: Annotated[
        str | None, typer.Option("--quant", metavar="NAMES", help="Quantisations; commas make a list.")
    ] = None,
    runtime: options.Runtime = "llama.cpp",
    backend: options.Backend = None,
    prompt: options.Prompt = "512",
    gen: options.Gen = "128",
    depth: options.Depth = "0",
    batch: options.Batch = "1",
    kv: options.Cache = "f16",
    ctx: options.Context = None,
    flash_attn: options.Flash = None,
    disk: options.Disk = None,
    kwh: options.Kwh = None,
    lifetime: options.Lifetime = "3y",
    utilisation: options.Utilisation = None,
    per_hour: options.PerHour = None,
    price: options.Prices = None,
    sort: Annotated[
        Order, typer.Option("--sort", help="By decode or prefill speed, price, cost or energy.")
    ] = Order.decode,
    form: options.Output = Form.table,
) -> None:
    """Machines side by side: speed, memory, energy, price, cost per token, and which the bands tell apart.

    Example: roofline compare --model llama-3.1-8b --quant q4_k_m --hw rpi5,m4-10gpu,rtx-4090,strix-halo --kwh 0.30
    """
    given = options.settings(locals())
    from roofline import comparison, economy
    from roofline.comparison_report import comparison as shown

    terms = economy.terms(kwh, lifetime, utilisation, per_hour)
    lines = comparison.compare(hw, model, quant, terms, price or [], sort.value, **given)
    typer.echo(shown(lines, terms, form.value), nl=False)
    if all(line.prediction is None for line in lines):
        typer.echo("error: none of them could be predicted", err=True)
        raise typer.Exit(1)
