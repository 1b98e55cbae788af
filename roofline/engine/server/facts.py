"""What a server says of itself before anything is measured: is it ready, what is it, which model does it hold."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from roofline.engine.server.client import Connection, LostError, RefusedError
from roofline.engine.server.fields import Record, as_record, first_of, record_in, stated_count, text_in
from roofline.spec import SpecError

POLL_S = 0.25  # between looks at a server that loads its model
MOST_MODELS = 1000


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A server by its own words; "" and None where it does not say.

    software: "llama.cpp", or who it says owns the model. build: 'b1234-0c1e570'. model: the name to ask for. file: the
    path of its model file. ftype: llama.cpp's name of the quantisation. parameters: of the model [1]. size_bytes: of
    the weights [B]. context: tokens that one request may use; trained_context: that the model was trained for.
    hidden, vocab: the model's shape. slots: requests it works on at the same time. models: all names it offers.
    """

    software: str = ""
    build: str = ""
    model: str = ""
    file: str = ""
    ftype: str = ""
    parameters: int | None = None
    size_bytes: int | None = None
    context: int | None = None
    trained_context: int | None = None
    hidden: int | None = None
    vocab: int | None = None
    slots: int | None = None
    models: tuple[str, ...] = ()

    @property
    def is_llama(self) -> bool:
        """Whether it is llama.cpp's server or a descendant, such as llamafile."""
        return self.software == "llama.cpp"


def wait_until_ready(connection: Connection, limit_s: float) -> None:
    """Return when the server can be asked. SpecError when it still loads its model after `limit_s` seconds.

    Servers without /health are taken to be ready.
    """
    end = time.monotonic() + limit_s
    while True:
        try:
            connection.get_text("/health")
            return
        except RefusedError as refusal:
            if refusal.status in (401, 403):
                raise
            if refusal.status != 503:
                return
            if time.monotonic() + POLL_S > end:
                raise SpecError(f"{refusal} (for {limit_s:g} s)") from None
        time.sleep(POLL_S)


def read_facts(connection: Connection) -> ServerFacts:
    """What /props and /v1/models say. A server that has neither gives empty facts; SpecError without the right key."""
    props, listed = _optional(connection, "/props"), _optional(connection, "/v1/models") or {}
    first = first_of(listed, "data") or {}
    entries = listed.get("data")
    names = [text_in(entry, "id") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    meta = record_in(first, "meta") or {}
    settings = record_in(props or {}, "default_generation_settings") or {}
    owner = text_in(first, "owned_by", 60)
    is_llama = owner == "llamacpp" or _is_llama(props)
    return ServerFacts(
        software="llama.cpp" if is_llama else owner,
        build=text_in(props or {}, "build_info", 100),
        model=text_in(first, "id") or text_in(settings, "model"),
        file=text_in(props or {}, "model_path") or text_in(settings, "model"),
        ftype=text_in(meta, "ftype", 60),
        parameters=stated_count(meta, "n_params"),
        size_bytes=stated_count(meta, "size"),
        context=stated_count(settings, "n_ctx") or stated_count(meta, "n_ctx") or stated_count(first, "max_model_len"),
        trained_context=stated_count(meta, "n_ctx_train"),
        hidden=stated_count(meta, "n_embd"),
        vocab=stated_count(meta, "n_vocab"),
        slots=stated_count(props, "total_slots"),
        models=tuple(name for name in names[:MOST_MODELS] if name),
    )


def _is_llama(props: Record | None) -> bool:
    """llama.cpp's /props; servers of early 2024, llamafile 0.6 among them, told only the names of their web page."""
    return props is not None and bool({"default_generation_settings", "total_slots", "user_name"} & set(props))


def _optional(connection: Connection, path: str) -> Record | None:
    """The JSON object at `path`, None where the server has none there; SpecError for a missing key or a lost server."""
    try:
        record = as_record(connection.get_json(path), path)
    except LostError:
        raise
    except RefusedError as refusal:
        if refusal.status in (401, 403):
            raise
        return None
    except SpecError:  # a web page, for every path
        return None
    return None if "error" in record else record  # some servers say "no such path" under a status of success


def read_counters(connection: Connection) -> dict[str, float]:
    """llama-server's counters (--metrics) by name, such as 'prompt_tokens_total'; empty where it keeps none."""
    try:
        text = connection.get_text("/metrics")
    except LostError:
        raise
    except SpecError:
        return {}
    counters = {}
    for line in text.splitlines()[:10_000]:
        name, _, value = line.partition(" ")
        if name.startswith("llamacpp:"):
            try:
                number = float(value)
            except ValueError:
                continue
            if math.isfinite(number):
                counters[name.removeprefix("llamacpp:")] = number
    return counters
