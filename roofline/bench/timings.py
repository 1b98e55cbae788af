"""llama-server's `timings` and the timings that llama.cpp's programs print at their end."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from roofline import units
from roofline.bench.log import Log
from roofline.bench.observation import Given, Observation, Reading, Skipped, reading
from roofline.bench.records import as_text
from roofline.bench.run import Namer, Seen

_LINE = re.compile(
    r"(?P<prompt>prompt\s+)?eval time\s*=\s*(?P<ms>[\d.]+(?:e[+-]?\d+)?)\s*ms\s*/\s*(?P<n>\d+)\s*(?:tokens?|runs?)"
    r"(?:\s*\(.*?(?P<speed>[\d.]+|inf|nan)\s*(?:tokens per second|t/s))?",
    re.I,
)


def timings_in(record: Mapping[str, object]) -> Mapping[str, object] | None:
    """The timings of a server's answer, which may be the answer itself."""
    inner = record.get("timings")
    if isinstance(inner, Mapping):
        return inner
    return record if "predicted_per_second" in record or "prompt_per_second" in record else None


def from_timings(record: Mapping[str, object], row: int, namer: Namer) -> Iterator[Observation | Skipped]:
    """Prompt and generation of one answer of llama-server."""
    timings = {str(key): as_text(value) for key, value in (timings_in(record) or {}).items()}
    model = as_text(record.get("model"))
    seen = Seen(file=model if model.lower().endswith(".gguf") else "")
    cached = timings.get("cache_n", "") or "0"
    prompt_n, gen = timings.get("prompt_n", ""), timings.get("predicted_n", "")
    if cached not in ("", "0") and prompt_n in ("0", "1"):
        yield namer.skip(
            row, f"prompt_n: expected a prompt, found {prompt_n} tokens with {cached} from the cache", "-pp"
        )
    elif "prompt_per_second" in timings and prompt_n != "0":
        values = {"phase": "pp", "prompt": prompt_n, "depth": cached, "tok_s": timings["prompt_per_second"]}
        yield namer.row(row, seen, values, suffix="-pp")
    if "predicted_per_second" in timings and gen not in ("0", "1"):
        values = {"phase": "tg", "gen": gen, "depth": _sum(cached, prompt_n), "tok_s": timings["predicted_per_second"]}
        yield namer.row(row, seen, values, suffix="-tg")
    elif gen in ("0", "1"):
        yield namer.skip(row, f"predicted_n: expected at least 2 generated tokens, found {gen}", "-tg")


def _sum(*texts: str) -> str:
    return str(sum(int(text) for text in texts if text.isdigit() and len(text) < 12))


def read_printed(text: str, given: Given = Given(), prefix: str = "run") -> Reading:  # noqa: B008 - frozen
    """Lines such as 'llama_print_timings: prompt eval time = … ms / … tokens', with what the log says around them."""
    return reading(_printed_rows(text, Namer(given, prefix)))


def _printed_rows(text: str, namer: Namer) -> Iterator[Observation | Skipped]:
    log, row, depth = Log(), 0, ""
    for line in text.splitlines():
        log.read(line)
        match = _LINE.search(line[:1000])
        if not match:
            continue
        row += 1
        tokens, speed = match["n"], match["speed"] or _speed(match["n"], match["ms"])
        common = {"threads": log.threads, "gpu_layers": log.gpu_layers, "tok_s": speed}
        if match["prompt"]:
            depth = tokens
            if tokens in ("0", "1"):
                yield namer.skip(row, f"prompt eval: expected a prompt, found {tokens} tokens", "-pp")
            else:
                yield namer.row(
                    row, log.seen(), {"phase": "pp", "prompt": tokens, "depth": "0", **common}, suffix="-pp"
                )
        elif tokens in ("0", "1"):
            yield namer.skip(row, f"eval: expected at least 2 generated tokens, found {tokens}", "-tg")
        else:
            yield namer.row(row, log.seen(), {"phase": "tg", "gen": tokens, "depth": depth, **common}, suffix="-tg")
            depth = ""


def _speed(tokens: str, milliseconds: str) -> str:
    """Tokens per second of programs that print only the time."""
    try:
        seconds = units.parse(f"{milliseconds} ms", "s")
        return str(int(tokens[:12]) / seconds)
    except (ValueError, ZeroDivisionError):
        return ""
