"""`roofline plot depth`, `batch`, `threads`, `quant` and `token`: speeds as curves, and where the time goes."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer

from roofline.cli import options
from roofline.cli.plotting import Background, Out, Theme, finish


class PhaseName(StrEnum):
    """Which speed is drawn."""

    decode = "decode"
    prefill = "prefill"


Devices = Annotated[
    str, typer.Option("--hw", metavar="IDS", help="Devices as for predict, and patterns; commas make a list.")
]
Quants = Annotated[
    str | None, typer.Option("--quant", metavar="NAMES", help="Quantisations and patterns; commas make a list.")
]
Caches = Annotated[
    str, typer.Option("--kv", metavar="TYPES", help="KV-cache types; K and V apart as q8_0/q4_0; commas make a list.")
]
OneCache = Annotated[str, typer.Option("--kv", metavar="TYPE", help="KV-cache type; K and V apart as q8_0/q4_0.")]
LastDepth = Annotated[
    str | None, typer.Option("--to", metavar="N", help="Where the axis ends; default: the model's longest context.")
]
LastBatch = Annotated[str, typer.Option("--to", metavar="N", help="Where the axis ends.")]


def _lists(hw: str, quant: str | None, kv: str) -> tuple[list[str], list[str | None], list[str]]:
    """The devices, quantisations and types of cache that these words list."""
    from roofline import api
    from roofline.points import expand
    from roofline.quantization import ids

    quants: list[str | None] = [None] if quant is None else [*expand("quant", quant, ids())]
    return expand("hw", hw, api.list_hardware()), quants, expand("kv", kv, ())


def depth(
    hw: Devices,
    model: options.Model,
    quant: Quants = None,
    kv: Caches = "f16",
    runtime: options.Runtime = "llama.cpp",
    backend: options.Backend = None,
    prompt: options.Prompt = "512",
    gen: options.Gen = "128",
    depth: options.Depth = "0",
    batch: options.Batch = "1",
    to: LastDepth = None,
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
    """Speed against depth, the tokens that the KV cache holds already, as llama-bench measures it with -d.

    Example: roofline plot depth --hw rtx-3090,m2-max-38 --model llama-3.1-8b --quant q4_k_m --kv f16,q8_0
    """
    given = options.settings(locals(), without="kv")
    from roofline.charts.curves import depth_curves
    from roofline.document.pictures import curves_picture

    devices, quants, caches = _lists(hw, quant, kv)
    chart = depth_curves(devices, model, quants, caches, to=to, **given)
    finish(curves_picture(chart), out, theme, chart.title)


def batch(
    hw: Devices,
    model: options.Model,
    quant: Quants = None,
    kv: Caches = "f16",
    runtime: options.Runtime = "llama.cpp",
    backend: options.Backend = None,
    prompt: options.Prompt = "512",
    gen: options.Gen = "128",
    depth: options.Depth = "0",
    batch: options.Batch = "1",
    to: LastBatch = "256",
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
    """Speed against the sequences generated at a time: of all together and of each, with the knee.

    Example: roofline plot batch --hw rtx-4090 --model llama-3.1-8b --quant q4_k_m --kv f16,q8_0
    """
    given = options.settings(locals(), without="kv")
    from roofline.charts.curves import batch_curves
    from roofline.document.pictures import curves_picture

    devices, quants, caches = _lists(hw, quant, kv)
    chart = batch_curves(devices, model, quants, caches, to=to, **given)
    finish(curves_picture(chart), out, theme, chart.title)


def threads(
    hw: Devices,
    model: options.Model,
    quant: Quants = None,
    kv: Caches = "f16",
    runtime: options.Runtime = "llama.cpp",
    backend: options.Backend = None,
    prompt: options.Prompt = "512",
    gen: options.Gen = "128",
    depth: options.Depth = "0",
    batch: options.Batch = "1",
    threads: options.ThreadList = None,
    ctx: options.Context = None,
    ubatch: options.Ubatch = None,
    flash_attn: options.Flash = None,
    numa: options.Numa = None,
    overrides: options.Overrides = None,
    out: Out = None,
    theme: Background = Theme.auto,
) -> None:
    """Speed against CPU threads, with the best numbers of them for generation (-t) and for prompts (-tb).

    Example: roofline plot threads --hw ryzen-7950x,i9-14900k --model llama-3.1-8b --quant q4_k_m
    """
    given = options.settings(locals(), without="threads")
    given.pop("kv")
    from roofline.charts.thread_curves import thread_curves
    from roofline.document.pictures import curves_picture

    devices, quants, caches = _lists(hw, quant, kv)
    chart = thread_curves(devices, model, quants, caches, counts=threads, **given)
    finish(curves_picture(chart), out, theme, chart.title)


def quant(
    hw: Devices,
    model: options.Model,
    quant: Quants = None,
    phase: Annotated[PhaseName, typer.Option("--phase", help="Which speed is drawn.")] = PhaseName.decode,
    kv: OneCache = "f16",
    runtime: options.Runtime = "llama.cpp",
    backend: options.Backend = None,
    prompt: options.Prompt = "512",
    gen: options.Gen = "128",
    depth: options.Depth = "0",
    batch: options.Batch = "1",
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
    """Speed against bits per weight, and against quality, of all quantisations or of those named.

    Example: roofline plot quant --hw rtx-3090,rpi5 --model mistral-7b
    """
    given = options.settings(locals(), without="kv")
    from roofline.charts.quants import quant_points
    from roofline.document.pictures import quants_picture

    devices, quants, _ = _lists(hw, quant, kv)
    named = [name for name in quants if name is not None]
    chart = quant_points(devices, model, named or None, kv, phase=phase.value, **given)
    finish(quants_picture(chart), out, theme, chart.title)


def token(
    hw: Devices,
    model: options.Model,
    quant: Quants = None,
    kv: Caches = "f16",
    runtime: options.Runtime = "llama.cpp",
    backend: options.Backend = None,
    prompt: options.Prompt = "512",
    gen: options.Gen = "128",
    depth: options.Depth = "0",
    batch: options.Batch = "1",
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
    """What the time of a token goes to: weights, KV cache, arithmetic, launches, link and disk.

    Example: roofline plot token --hw rtx-3090+ryzen-7950x,m2-ultra-76 --model llama-3.1-70b --quant q4_k_m
    """
    given = options.settings(locals(), without="kv")
    from roofline.charts.token_time import asked
    from roofline.document.pictures import token_time_picture

    chart = asked(*_lists(hw, quant, kv), model, **given)
    finish(token_time_picture(chart), out, theme, chart.title)


#: In the order of --help.
COMMANDS: tuple[Callable[..., None], ...] = (depth, batch, threads, quant, token)
