"""Embeddings: prompts alone, without a generation, and without the output head, of which no logits are wanted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from roofline.calculator import run
from roofline.memory import MemoryBill, bill
from roofline.points import numbers, points
from roofline.prediction import Phase, Prediction
from roofline.spec import SpecError
from roofline.units import short
from roofline.workload import Step


@dataclass(frozen=True)
class Embedding:
    """Texts of one length turned into vectors.

    prediction: its workload has the texts' tokens and how many are sent at a time. together: whole texts in a pass, as
    many as the runtime's ubatch holds, one at least [1]. phase: those texts without the head. with_head: the same where
    the engine makes logits of every token and discards them, as llama.cpp does for most architectures. memory: the
    cache of the texts in one batch of the runtime, cleared before the next.
    """

    prediction: Prediction
    together: int
    phase: Phase
    with_head: Phase
    memory: MemoryBill

    @property
    def texts_s(self) -> float:
        """Texts a second [1/s]."""
        return self.together / float(self.phase.seconds)

    @property
    def batch_s(self) -> float:
        """Time for all texts that are sent at a time [s]."""
        return float(self.prediction.workload.batch) / self.texts_s


def embed(
    hw: str, model: str, quant: str | None = None, *, prompt: str = "512", batch: str = "32", **settings: Any
) -> list[Embedding]:
    """`embedding` for every combination of the listed lengths and batches; settings: the rest of points.points."""
    for option, words in (("prompt", prompt), ("batch", batch)):
        if min(numbers(option, words)) < 1:
            raise SpecError(f"--{option}: expected at least 1, found {short(words)}")
    found = points(hw, model, quant, prompt=prompt, gen="0", depth="0", batch=batch, **settings)
    return [embedding(one) for one in found]


def embedding(prediction: Prediction) -> Embedding:
    """The texts of a workload of plain numbers, which has a prompt and neither a depth nor a generation.

    Texts are computed one after the other or several whole ones in a pass, so that a text's cache is its own length.
    """
    one, workload = prediction, prediction.workload
    ubatch = workload.ubatch or one.machine.runtime.ubatch
    together = _at_a_time(workload.batch, workload.prompt, ubatch)
    held = _at_a_time(workload.batch, workload.prompt, one.machine.runtime.batch)
    step = Step(float(together), workload.prompt, 0.0, ubatch, outputs=0.0)

    def phase(step: Step) -> Phase:
        return run(one.model, one.weights, one.machine, workload, step, "prefill", one.placement)

    cached = replace(workload, batch=float(max(together, held)))
    return Embedding(
        one,
        together,
        phase(step),
        phase(replace(step, outputs=step.chunk)),
        bill(one.model, one.weights, one.machine, cached, one.placement),
    )


def _at_a_time(batch: Any, prompt: Any, tokens: int) -> int:
    """Whole texts that so many tokens hold, of those there are; one at least, in parts [1]."""
    return int(min(batch, max(1, tokens // prompt)))
