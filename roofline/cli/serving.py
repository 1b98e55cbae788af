"""The commands about many users at once, drafts, embeddings, and CPU threads."""

from __future__ import annotations

from typing import Annotated

import typer

from roofline.cli import options
from roofline.cli.options import Form

Users = Annotated[
    str | None,
    typer.Option("--users", metavar="N", help="Users at a time; commas make a list; default: 1 to 64 and the knee."),
]
Cached = Annotated[
    str, typer.Option("--cached", metavar="N", help="What of each prompt is in the cache already: 0.5, 50% or tokens.")
]
Chunk = Annotated[
    int | None,
    typer.Option(
        "--chunk", min=2, metavar="N", help="Tokens in a step of the server; default: the runtime's batch (its -b)."
    ),
]
MinUserSpeed = Annotated[
    float, typer.Option("--min-user-tok-s", metavar="R", help="Speed that each user wants [tok/s].")
]
Draft = Annotated[
    str,
    typer.Option(
        "--draft", metavar="ID", help="The model that drafts; ngram: drafts are looked up in the text, at no cost."
    ),
]
DraftQuant = Annotated[str | None, typer.Option("--draft-quant", metavar="NAME", help="Its quantisation.")]
Acceptance = Annotated[
    float, typer.Option("--acceptance", metavar="P", help="Probability that a drafted token is accepted, 0 to 1.")
]
DraftTokens = Annotated[
    str, typer.Option("--draft-tokens", metavar="N", help="Tokens drafted in a round; commas make a list.")
]
ThreadCounts = Annotated[
    str | None, typer.Option("--threads", metavar="N", help="Only these numbers of threads; commas make a list.")
]


def users(
    hw: options.Hardware,
    model: options.Model,
    quant: options.Quant = None,
    runtime: options.Runtime = "llama.cpp",
    backend: options.Backend = None,
    prompt: options.Prompt = "512",
    gen: options.Gen = "128",
    depth: options.Depth = "0",
    users: Users = None,
    cached: Cached = "0",
    chunk: Chunk = None,
    min_user_tok_s: MinUserSpeed = 10.0,
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
    split: options.Split = None,
    tensor_split: options.TensorSplit = None,
    link: options.Link = None,
    numa: options.Numa = None,
    overrides: options.Overrides = None,
    form: options.Output = Form.table,
) -> None:
    """What several users at once get: speeds, times to the first token, memory; the knee, and how many there may be.

    Example: roofline users --hw rtx-4090 --model llama-3.1-8b --quant q4_k_m --prompt 4k --chunk 512
    """
    given = options.settings(locals())
    from roofline import serving_report
    from roofline.serving.users import serve

    result = serve(
        hw,
        model,
        quant,
        users=users,
        cached=cached,
        chunk=chunk,
        min_user_tok_s=min_user_tok_s,
        **given,
    )
    typer.echo(serving_report.users(result, form.value), nl=False)


def speculate(
    hw: options.Hardware,
    model: options.Model,
    draft: Draft,
    quant: options.Quant = None,
    draft_quant: DraftQuant = None,
    acceptance: Acceptance = 0.8,
    draft_tokens: DraftTokens = "1,2,3,4,5,6,7,8",
    runtime: options.Runtime = "llama.cpp",
    backend: options.Backend = None,
    prompt: options.Prompt = "512",
    gen: options.Gen = "128",
    depth: options.Depth = "0",
    batch: options.Batch = "1",
    kv: options.Cache = "f16",
    ctx: options.Context = None,
    threads: options.Threads = None,
    flash_attn: options.Flash = None,
    gpu_layers: options.GpuLayers = None,
    cpu_moe: options.CpuMoe = False,
    n_cpu_moe: options.CpuMoeLayers = None,
    override_tensor: options.TensorOverrides = None,
    split: options.Split = None,
    tensor_split: options.TensorSplit = None,
    link: options.Link = None,
    numa: options.Numa = None,
    overrides: options.Overrides = None,
    form: options.Output = Form.table,
) -> None:
    """Speculative decoding: the best number of drafted tokens, its speed-up, and where it stops being worth it.

    Example: roofline speculate --hw rtx-4090 --model qwen3-32b --quant q4_k_m --draft qwen3-0.6b --draft-quant q8_0
    """
    given = options.settings(locals())
    from roofline import serving_report
    from roofline.speculation import asked

    result = asked(
        hw,
        model,
        quant,
        draft=draft,
        draft_quant=draft_quant,
        acceptance=acceptance,
        draft_tokens=draft_tokens,
        **given,
    )
    typer.echo(serving_report.speculation(result, form.value), nl=False)


def embed(
    hw: options.Hardware,
    model: options.Model,
    quant: options.Quant = None,
    runtime: options.Runtime = "llama.cpp",
    backend: options.Backend = None,
    prompt: options.Prompt = "512",
    batch: options.Batch = "32",
    kv: options.Cache = "f16",
    ubatch: options.Ubatch = None,
    threads: options.Threads = None,
    flash_attn: options.Flash = None,
    gpu_layers: options.GpuLayers = None,
    split: options.Split = None,
    link: options.Link = None,
    numa: options.Numa = None,
    overrides: options.Overrides = None,
    form: options.Output = Form.table,
) -> None:
    """Embeddings: texts per second of a model that reads and does not generate.

    Example: roofline embed --hw rtx-3090 --model qwen3-0.6b --quant q8_0 --prompt 128,512 --ubatch 2048
    """
    given = options.settings(locals())
    from roofline import serving_report
    from roofline.serving.embedding import embed as embedded

    results = embedded(hw, model, quant, **given)
    typer.echo(serving_report.embeddings(results, form.value), nl=False)


def threads(
    hw: options.Hardware,
    model: options.Model,
    quant: options.Quant = None,
    runtime: options.Runtime = "llama.cpp",
    backend: options.Backend = None,
    prompt: options.Prompt = "512",
    gen: options.Gen = "128",
    depth: options.Depth = "0",
    batch: options.Batch = "1",
    threads: ThreadCounts = None,
    kv: options.Cache = "f16",
    ctx: options.Context = None,
    ubatch: options.Ubatch = None,
    flash_attn: options.Flash = None,
    numa: options.Numa = None,
    overrides: options.Overrides = None,
    form: options.Output = Form.table,
) -> None:
    """Speed against CPU threads: the best numbers for generation (-t) and for prompts (-tb), and why.

    Example: roofline threads --hw i9-14900k --model llama-3.1-8b --quant q4_k_m
    """
    given = options.settings(locals(), without="threads")
    from roofline import serving_report
    from roofline.threads import curve

    result = curve(hw, model, quant, threads, **given)
    typer.echo(serving_report.threads(result, form.value), nl=False)
