"""Several requests at the same moment, each on a connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from roofline.engine.server.answer import Answer
from roofline.engine.server.client import Connection, LostError
from roofline.spec import SpecError

Ask = Callable[[Connection, str], Answer]
_LOOK_S = 0.2  # between looks at the threads; a key press is seen by then


@dataclass
class _Slot:
    answers: list[Answer] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)


def ask_together(ask: Ask, connections: Sequence[Connection], prompts: Sequence[str]) -> list[Answer]:
    """The answers to all prompts, one a connection, started at the same time; SpecError when one of them fails.

    A key press ends all requests and passes through.
    """
    if len(prompts) == 1:
        return [ask(connections[0], prompts[0])]
    slots = [_Slot() for _ in prompts]
    together = threading.Barrier(len(prompts))

    def work(slot: _Slot, connection: Connection, prompt: str) -> None:
        try:
            together.wait()
            slot.answers.append(ask(connection, prompt))
        except Exception as error:  # noqa: BLE001 - raised again in the thread that asked
            slot.errors.append(error)

    threads = [
        threading.Thread(target=work, args=arguments, daemon=True)
        for arguments in zip(slots, connections, prompts, strict=False)
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(_LOOK_S)
    except BaseException:
        together.abort()
        for connection in connections:
            connection.abort()
        for thread in threads:
            if thread.ident is not None:
                thread.join(1.0)
        raise
    errors = [error for slot in slots for error in slot.errors]
    if errors:
        raise next((error for error in errors if isinstance(error, LostError)), errors[0])
    answers = [answer for slot in slots for answer in slot.answers]
    if len(answers) != len(prompts):
        raise SpecError(f"server: expected {len(prompts)} answers, found {len(answers)}")
    return answers
