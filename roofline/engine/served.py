"""A running server: measured over HTTP, held against the prediction, kept."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

from roofline import api, catalog
from roofline.bench import Observation
from roofline.bench.model_names import quant_id
from roofline.bench.tokens import between_tokenizers
from roofline.check.checking import check
from roofline.check.verdicts import PHASE
from roofline.engine.benchmark import Benchmark, here, keep
from roofline.engine.server import ServerRun, measure_server
from roofline.engine.server.results import Measured
from roofline.spec import SpecError
from roofline.units import format_duration, format_number, format_quantity

#: Share of a model's bytes by which a server's own word may differ before it is taken for another file.
OTHER_FILE = 0.03


def benchmark_server(
    url: str,
    model: str,
    quant: str | None,
    *,
    hw: str | None = None,
    backend: str | None = None,
    prompt: int = 512,
    gen: int = 128,
    repetitions: int = 5,
    concurrency: Sequence[int] = (1,),
    api_name: str = "auto",
    key_variable: str | None = None,
    second_tokenizer: Path | None = None,
    timeout_s: float = 300.0,
    recorded: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Benchmark:
    """Measure the server at `url`, which runs `model` in `quant` on `hw`; SpecError when nothing was measured.

    model: an id or a file; quant: None where the server says it. hw: None on this machine. api_name: as in
    measure_server. timeout_s: longest silence of the server [s].
    """
    hardware = _hardware(url, hw)
    entry = None if model.endswith(".gguf") else catalog.load_model(model)  # a miss is told before anything is sent
    run = measure_server(
        url,
        prompt=prompt,
        gen=gen,
        repetitions=repetitions,
        concurrency=concurrency,
        api=api_name,  # type: ignore[arg-type]  # measure_server refuses other words
        key_variable=key_variable,
        second_tokenizer=second_tokenizer,
        timeout_s=timeout_s,
        deadline_s=max(1800.0, timeout_s),
        progress=progress,
    )
    identity, stored = _stored(entry.id if entry else model, quant, run)
    rows = [_observation(one, run, hardware, identity, stored, backend) for one in run.measured]
    named, path = keep(tuple(rows), recorded)
    details = [asdict(one) for one in run.measured]
    return Benchmark(("server", run.url), check(named), path, tuple(_remarks(run, identity, stored)), tuple(details))


def _hardware(url: str, named: str | None) -> str:
    """The machine behind a URL; SpecError for one elsewhere that was not named."""
    if named is None and not _is_here(url):
        raise SpecError(f"--hw: expected the machine that the server at {urlsplit(url).hostname} runs on, found none")
    return here(named)


def _is_here(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _stored(model: str, quant: str | None, run: ServerRun) -> tuple[str, str]:
    """(model, quantisation): as said, else as the server says."""
    if model.endswith(".gguf"):
        from roofline.engine.naming import known_as

        return known_as(Path(model))
    if quant is None:
        quant = quant_id(run.facts.ftype)
    if quant is None:
        raise SpecError(f"--quant: expected the quantisation that the server runs, found it says {run.facts.ftype!r}")
    from roofline.quantization import get

    return model, get(quant).id


def _observation(
    one: Measured, run: ServerRun, hardware: str, model: str, quant: str, backend: str | None
) -> Observation:
    loaded = catalog.load_hardware(hardware)
    return Observation(
        id="run",
        hardware=loaded.path.stem if loaded.spec.count > 1 else loaded.id,
        count=loaded.spec.count,
        model=model,
        quant=quant,
        phase=one.phase,
        tok_s=one.tok_s,
        date=date.today().isoformat(),
        backend=backend or loaded.spec.backends[0],
        runtime=run.facts.software,
        build=run.facts.build,
        prompt=one.prompt or None,
        gen=one.gen or None,
        depth=one.depth,
        batch=one.batch,
        std=one.std,
        kind="batch" if one.batch > 1 else "plain",
        note=f"over HTTP, {run.api}, {one.source}",
    )


def _remarks(run: ServerRun, model: str, quant: str) -> list[str]:
    """What to know of a run over HTTP."""
    found = [*run.problems, *run.notes]
    if run.connect_s is not None:
        found.append(f"connecting took {format_duration(run.connect_s)} and is in no figure")
    if run.tokens_per_char and run.second_tokens_per_char:
        counted, second = run.tokens_per_char, run.second_tokens_per_char
        speeds = [
            f"{PHASE[one.phase]} {format_number(between_tokenizers(one.tok_s, counted, second))}"
            for one in run.measured
        ]
        found.append(
            f"{counted:.3f} tokens a character by the server's tokenizer, {second:.3f} by the second one, in whose "
            f"tokens it is {', '.join(speeds)} tok/s"
        )
    said = quant_id(run.facts.ftype)
    if said is not None and said != quant:
        found.append(f"the server says that its model is in {said}, and {quant} was asked for")
    if run.facts.size_bytes and not model.endswith(".gguf"):
        expected = api.load_weights(model, quant)[1].file_bytes
        if abs(run.facts.size_bytes / expected - 1) > OTHER_FILE:
            found.append(
                f"the server's model has {format_quantity(run.facts.size_bytes, 'B')} of weights, {model} in {quant} "
                f"has {format_quantity(expected, 'B')}: is it the same?"
            )
    return found
