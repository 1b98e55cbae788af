"""How to ask a server: in llama.cpp's own way where it can, else in one of OpenAI's."""

from __future__ import annotations

from typing import Literal, get_args

from roofline.bench.text import shown
from roofline.engine.server.answer import Api
from roofline.engine.server.client import Connection, RefusedError
from roofline.engine.server.facts import ServerFacts
from roofline.engine.server.native import LlamaApi, count_by_llama
from roofline.engine.server.openai import Kind, OpenAiApi
from roofline.spec import SpecError

ApiName = Literal["auto", "llama", "completions", "chat"]
API_NAMES: tuple[str, ...] = get_args(ApiName)
_ABSENT = (400, 404, 405, 422, 501)  # what servers answer where they have no such path, or a model that only chats


def choose_api(connection: Connection, facts: ServerFacts, wanted: str, model_hint: str | None) -> tuple[str, Api]:
    """(name, way of asking). SpecError when the server speaks none that is known here."""
    if wanted == "llama" or (wanted == "auto" and (facts.is_llama or count_by_llama(connection, "a") is not None)):
        return "llama", LlamaApi(facts)
    model = _model_to_ask_for(facts, model_hint, connection.address.base)
    if wanted in ("completions", "chat"):
        kind: Kind = "chat" if wanted == "chat" else "completions"
        return kind, OpenAiApi(facts, kind, model)
    refusals = []
    for kind in ("completions", "chat"):
        api = OpenAiApi(facts, kind, model)
        try:
            api.prefill(connection, "Hello")
        except RefusedError as refusal:
            if refusal.status not in _ABSENT:
                raise
            refusals.append(str(refusal))
        else:
            return kind, api
    raise SpecError(
        f"{connection.address.base}: expected llama-server's or OpenAI's API, found neither ({refusals[-1]})"
    )


def _model_to_ask_for(facts: ServerFacts, hint: str | None, where: str) -> str:
    """The name of the model in a request: the server's only one, or the one that the hint means."""
    names = facts.models or ((facts.model,) if facts.model else ())
    if len(names) == 1:
        return names[0]
    if not names:
        return hint or "default"
    if hint is not None:
        fitting = [name for name in names if name == hint]
        fitting = fitting or [name for name in names if _plain(hint) in _plain(name)]
        if len(fitting) == 1:
            return fitting[0]
    offered = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    raise SpecError(f"{where}: expected the name of one of its models ({offered}), found {shown(hint or 'none')}")


def _plain(name: str) -> str:
    return "".join(char for char in name.lower() if char.isalnum())
