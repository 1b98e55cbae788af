"""What `roofline bench` does: the words of the command line → a benchmark → a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from roofline.engine import benchmark
from roofline.engine.llama_bench import Sweep
from roofline.engine.report import report
from roofline.points import numbers
from roofline.spec import SpecError
from roofline.tables import Format

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Request:
    """The options of `bench` as they were written; lists are separated by commas."""

    model: str
    quant: str | None = None
    synthetic: bool = False
    keep: Path | None = None
    hw: str | None = None
    backend: str | None = None
    prompt: str = "512"
    gen: str = "128"
    depth: str = "0"
    batch: str | None = None
    threads: str | None = None
    ubatch: str | None = None
    gpu_layers: str | None = None
    flash_attn: str | None = None
    kv: str | None = None
    repetitions: int = 5
    timeout_s: float = 1800.0
    llama_bench: Path | None = None
    force: bool = False
    recorded: bool = True


def run(request: Request, form: Format, progress: Progress) -> tuple[str, Path | None]:
    """(report, file the rows were added to) of a run of llama-bench."""
    if request.backend is not None:
        raise SpecError("--backend: expected it with --server only: llama-bench says itself what it runs on")

    def written(done: int, total: int) -> None:
        progress(min(done / max(total, 1), 1.0), "writing the model" if done < total else "running llama-bench")

    wanted = benchmark.Request(
        model=request.model,
        quant=request.quant,
        hw=request.hw,
        sweep=sweep_of(request),
        synthetic=request.synthetic,
        keep=request.keep,
        llama_bench=request.llama_bench,
        timeout_s=request.timeout_s,
        force=request.force,
        recorded=request.recorded,
    )
    done = benchmark.benchmark(wanted, written)
    return report(done, form), done.recorded


def serve(
    request: Request,
    url: str,
    api: str,
    key_variable: str | None,
    second_tokenizer: Path | None,
    concurrency: str,
    form: Format,
    progress: Progress,
) -> tuple[str, Path | None]:
    """(report, file the rows were added to) of a running server."""
    from roofline.engine.served import benchmark_server

    for option, given in (
        ("--synthetic", request.synthetic), ("--batch", request.batch), ("--threads", request.threads),
        ("--ubatch", request.ubatch), ("--gpu-layers", request.gpu_layers), ("--flash-attn", request.flash_attn),
        ("--kv", request.kv), ("--llama-bench", request.llama_bench), ("--keep", request.keep),
    ):  # fmt: skip
        if given:
            raise SpecError(f"{option}: expected it without --server, whose own start decides that, found both")
    for option, text in (("--prompt", request.prompt), ("--gen", request.gen)):
        if "," in text:
            raise SpecError(f"{option}: expected one number with --server, found {text!r}")
    if request.depth != "0":
        raise SpecError(f"--depth: expected 0 with --server, found {request.depth!r}")
    done = benchmark_server(
        url,
        request.model,
        request.quant,
        hw=request.hw,
        backend=request.backend,
        prompt=numbers("prompt", request.prompt)[0],
        gen=numbers("gen", request.gen)[0],
        repetitions=request.repetitions,
        concurrency=numbers("concurrency", concurrency),
        api_name=api,
        key_variable=key_variable,
        second_tokenizer=second_tokenizer,
        timeout_s=request.timeout_s,
        recorded=request.recorded,
        progress=lambda line: progress(0.0, line),
    )
    return report(done, form), done.recorded


def sweep_of(request: Request) -> Sweep:
    """The lists of the command line as a sweep; SpecError names the option that is not a list of numbers."""
    return Sweep(
        prompt=_list("prompt", request.prompt),
        gen=_list("gen", request.gen),
        depth=_list("depth", request.depth),
        threads=_list("threads", request.threads),
        ubatch=_list("ubatch", request.ubatch),
        gpu_layers=_list("gpu-layers", request.gpu_layers),
        flash_attn=_words("flash-attn", request.flash_attn, ("on", "off")),
        cache=_cache_types(request.kv),
        sequences=_list("batch", request.batch),
        repetitions=request.repetitions,
    )


def _list(option: str, text: str | None) -> tuple[int, ...]:
    return () if text is None else tuple(numbers(option, text))


def _words(option: str, text: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    words = tuple(word.strip().lower() for word in text.split(",")) if text is not None else ()
    for word in words:
        if word not in known:
            raise SpecError(f"--{option}: expected {' or '.join(known)}, found {word!r}")
    return words


def _cache_types(text: str | None) -> tuple[str, ...]:
    from roofline.quantization import kv_layout

    try:
        return tuple(kv_layout(word.strip()).name for word in text.split(",")) if text is not None else ()
    except SpecError as error:
        raise SpecError(f"--kv: {error}") from None
