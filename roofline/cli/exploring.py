"""`roofline app`: the explorer in the browser."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer

from roofline.cli import options


def app(
    hw: Annotated[
        str | None,
        typer.Option("--hw", metavar="IDS", help="Devices to begin with, as for predict; commas make a list."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="ID", help="Model of the catalog to begin with.")
    ] = None,
    quant: options.Quant = None,
    runtime: options.Runtime = "llama.cpp",
    backend: options.Backend = None,
    prompt: options.Prompt = "512",
    gen: options.Gen = "128",
    depth: options.Depth = "0",
    batch: options.Batch = "1",
    kv: options.Cache = "f16",
    threads: options.Threads = None,
    flash_attn: options.Flash = None,
    gpu_layers: options.GpuLayers = None,
    overrides: options.Overrides = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, metavar="N", help="Port to serve on; 0 takes a free one.")
    ] = 8050,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address to serve on; the default is this machine's alone.")
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host", metavar="NAME", help="A further name under which it may be asked for. Repeatable."
        ),
    ] = None,
    open_browser: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Whether to open the browser; default: on this machine's address."),
    ] = None,
) -> None:
    """The explorer: predictions and charts in the browser that move with their controls.

    Example: roofline app --hw rpi5,m2-ultra-76 --model mistral-7b --quant q4_0
    """
    from roofline.spec import SpecError

    missing = [name for name in ("dash", "waitress") if find_spec(name) is None]
    if missing:
        raise SpecError(f"app: expected the package {missing[0]}, found none; pip install 'roofline[app]' has it")
    from roofline.explorer.state import read

    given = {
        "hw": hw, "model": model, "quant": quant, "runtime": runtime, "backend": backend, "prompt": prompt, "gen": gen,
        "depth": depth, "batch": batch, "kv": kv, "threads": threads, "gpu_layers": gpu_layers,
        "flash_attn": None if flash_attn is None else ("on" if flash_attn else "off"),
    }  # fmt: skip
    words: dict[str, str | tuple[str, ...]] = {name: str(value) for name, value in given.items() if value is not None}
    if model is not None and quant is None:
        words["quant"] = ""  # a model that is published in one
    state, problems = read({**words, "set": tuple(overrides or ())})
    if problems:
        raise SpecError(next(iter(problems.values())))
    from roofline.explorer.server import is_loopback, serve

    def ready(address: str) -> None:
        alone = is_loopback(host)
        who = "for this machine alone" if alone else "for everybody who can reach this machine over the network"
        typer.echo(f"serving {address}, {who}; Ctrl-C ends", err=True)
        if alone if open_browser is None else open_browser:
            typer.launch(address)

    _end_on_signal()
    serve(state, host, port, allow_host or (), ready)


def _end_on_signal() -> None:
    """A request to end is an orderly end, and so is Ctrl-C, which a shell's background jobs are born to ignore."""
    import signal

    def stop(*_: object) -> None:
        raise SystemExit(0)

    for request in (signal.SIGINT, signal.SIGTERM):
        signal.signal(request, stop)
