"""`recommend`: what to buy, or what to run."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from roofline.cli import options


class Order(StrEnum):
    """What a recommendation can be sorted by."""

    price = "price"
    decode = "decode"
    prefill = "prefill"
    cost = "cost"
    watts = "watts"
    size = "size"


def recommend(
    hw: Annotated[
        str | None, typer.Option("--hw", metavar="IDS", help="Devices and patterns; default: the whole catalog.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="IDS", help="Models and patterns; default: the whole catalog.")
    ] = None,
    quant: Annotated[
        str | None,
        typer.Option("--quant", metavar="NAMES", help="Quantisations; default: the usual ones of 4 bits or more."),
    ] = None,
    min_decode: Annotated[float | None, typer.Option("--min-decode", metavar="TOK/S", help="Decode speed.")] = None,
    min_prefill: Annotated[float | None, typer.Option("--min-prefill", metavar="TOK/S", help="Prefill speed.")] = None,
    max_ttft: Annotated[float | None, typer.Option("--max-ttft", metavar="S", help="Time to first token.")] = None,
    max_price: Annotated[float | None, typer.Option("--max-price", metavar="USD", help="Price of all devices.")] = None,
    max_watts: Annotated[float | None, typer.Option("--max-watts", metavar="W", help="Power of all devices.")] = None,
    max_cost: Annotated[
        float | None, typer.Option("--max-cost", metavar="USD", help="Cost of a million decoded tokens.")
    ] = None,
    min_snr: Annotated[
        float | None, typer.Option("--min-snr", metavar="DB", help="Signal-to-noise ratio of the weights.")
    ] = None,
    sure: Annotated[bool, typer.Option("--sure", help="The low end of the band has to meet the speeds.")] = False,
    ctx: options.Context = None,
    prompt: options.Prompt = "512",
    gen: options.Gen = "128",
    depth: options.Depth = "0",
    batch: options.Batch = "1",
    kv: options.Cache = "f16",
    runtime: options.Runtime = "llama.cpp",
    backend: options.Backend = None,
    flash_attn: options.Flash = None,
    kwh: options.Kwh = None,
    lifetime: options.Lifetime = "3y",
    utilisation: options.Utilisation = None,
    per_hour: options.PerHour = None,
    most_count: Annotated[
        int, typer.Option("--most-count", min=1, max=4, help="Cards of a kind that may be put together.")
    ] = 4,
    sort: Annotated[
        Order | None, typer.Option("--sort", help="Best first by; default: price of devices, size of models.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, max=10_000, help="How many to show.")] = 15,
    why_not: Annotated[
        str | None, typer.Option("--why-not", metavar="ID", help="Which wishes this device or model misses.")
    ] = None,
    form: options.Output = options.Form.table,
) -> None:
    """What meets your wishes: devices for a model, or models for a device; ranked, with reasons.

    Example: roofline recommend --model qwen3-32b --quant q4_k_m --ctx 16k --min-decode 10 --max-price 2500
    """
    from roofline import economy
    from roofline.points import one_workload
    from roofline.recommend.asking import recommend as ask
    from roofline.recommend.report import report
    from roofline.recommend.wishes import Wishes

    found = ask(
        hw,
        model,
        quant,
        one_workload(prompt=prompt, gen=gen, depth=depth, batch=batch, ctx=ctx, kv=kv, flash_attention=flash_attn),
        Wishes(min_decode, min_prefill, max_ttft, max_price, max_watts, max_cost, min_snr, sure),
        economy.terms(kwh, lifetime, utilisation, per_hour),
        runtime=runtime,
        backend=backend,
        order=sort.value if sort else None,
        most_count=most_count,
        why_not=why_not,
    )
    typer.echo(report(found, form.value, top, sort.value if sort else None), nl=False)
