"""A newcomer's prompt in chunks, in the same passes as one token of every running user.

Stall-free batching of Sarathi-Serve (Agrawal et al. 2024, arXiv 2403.02310): each step of the engine takes a budget of
tokens; the running users' next tokens come first, a part of the newcomer's prompt fills the rest. llama.cpp's server
does so with `-b` as the budget (server-context.cpp, update_slots: prompt tokens are added while the batch holds fewer
than n_batch), which it computes in passes of `-ub` tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from roofline.calculator import assemble, pipeline_share, step_costs
from roofline.prediction import OperatorCost, Phase, Prediction
from roofline.workload import Real, Step

#: What meets a sequence's own cache or state; all else meets the tokens of a pass together.
OF_A_SEQUENCE = ("attention", "scan")


@dataclass(frozen=True)
class Chunked:
    """The time from the first chunk of a newcomer's prompt to its last. steps: of the engine, a chunk each [1]."""

    phase: Phase
    steps: Real

    @property
    def step_seconds(self) -> Real:
        """A step in the mean: the running users' time per token meanwhile [s]."""
        return self.phase.seconds / self.steps


def chunked(prediction: Prediction, running: Real, chunk: int) -> Chunked:
    """The newcomer's prompt beside `running` users, at least one, in steps of `chunk` tokens, theirs included.

    prediction: the workload of one user. The running users are on average halfway through their generation. Passes are
    those of Steps of all tokens, full ones and a last one with the rest, so that weights are read once a pass for both;
    attention and recurrent states are those of the prompt's own Step and the generation's own. More than `chunk` − 1
    users leave no room: the caller asks only for fewer.
    """
    workload, machine, placement = prediction.workload, prediction.machine, prediction.placement
    ubatch = workload.ubatch or machine.runtime.ubatch
    room = chunk - running
    steps = np.ceil(workload.prompt / room - 1e-9)  # the margin keeps 512.0000001 / 512 one step
    # A step takes a token of the prompt at least, so that this is never negative.
    past = workload.depth + workload.prompt + (workload.gen - steps) / 2
    prompt = Step(1.0, workload.prompt, workload.depth, np.minimum(room, ubatch))
    generation = Step(running, steps, past, np.minimum(running, ubatch))
    if machine.engine.shared_cache:  # every token meets the rows of all sequences, masked
        prompt, generation = (
            replace(prompt, past=prompt.past + running * generation.past),
            replace(generation, past=generation.past + (workload.depth + workload.prompt / 2) / running),
        )
    width = min(chunk, ubatch)
    joint = Step(1.0, workload.prompt + running * steps, 0.0, width)
    in_full = np.floor(joint.tokens / width + 1e-9) * width
    # Logits are made of every running user in every step, and of the prompt in every pass, as they are of it alone.
    outputs = 1 + running * steps / joint.passes
    full = Step(1.0, in_full, 0.0, width, outputs)
    rest = Step(1.0, np.maximum(joint.tokens - in_full, 0.0), 0.0, width, outputs)
    # One launch, or one barrier, serves the attention of both.
    riding = (replace(one, nodes=0.0, overhead_seconds=0.0) for one in _costs(prediction, generation, True))
    costs = (
        *_costs(prediction, full, False),
        *_costs(prediction, rest, False),
        *_costs(prediction, prompt, True),
        *riding,
    )
    return Chunked(assemble(costs, machine, joint, _share(prediction, joint, steps), "prefill", placement), steps)


def _share(prediction: Prediction, joint: Step, steps: Real) -> Real:
    """Share of one device's time that several need: the passes of a step follow each other, but no step another.

    A step needs the tokens that the one before has sampled; its own passes are one call of the engine.
    """
    machine, placement = prediction.machine, prediction.placement
    if placement is not None and not placement.is_whole(prediction.model.layers):
        return 1.0
    return pipeline_share(machine, Step(1.0, joint.tokens / steps, 0.0, joint.limit))


def _costs(prediction: Prediction, step: Step, of_a_sequence: bool) -> tuple[OperatorCost, ...]:
    """The operators of a step that meet each sequence's own cache or state, or all the others."""
    one = prediction
    with np.errstate(invalid="ignore"):  # a step without tokens shares nothing among its passes
        costs = step_costs(one.model, one.weights, one.machine, one.workload, step, one.placement)
    return tuple(cost for cost in costs if (cost.kind in OF_A_SEQUENCE) == of_a_sequence)
