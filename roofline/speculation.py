"""Speculative decoding: a small model drafts tokens, the large one verifies them in one pass.

Leviathan, Kalman & Matias 2023, "Fast inference from transformers via speculative decoding" (arXiv 2211.17192). Each of
γ drafted tokens is accepted with the probability α, independently; a round ends with the first that is not, or after
all, and always adds a token of the large model's own. Their speed-up takes verifying for as fast as decoding one token;
here both are calculated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from roofline.calculator import predict, run
from roofline.memory import bill
from roofline.placement import Placement
from roofline.points import numbers, single_point
from roofline.prediction import Phase, Prediction
from roofline.spec import SpecError
from roofline.units import short
from roofline.workload import Real, Step

NGRAM = "ngram"  # drafts looked up in the text so far, at no cost
DRAFT_TOKENS = "1,2,3,4,5,6,7,8"
MOST_DRAFT_TOKENS = 256
FREE = 1.25  # verifying up to so many times as long as decoding one token counts as free
_HALVINGS = 50
_PLACED = ("gpu_layers", "overrides", "op_offload")


def expected_tokens(acceptance: Real, draft_tokens: Real) -> Real:
    """Tokens a round adds on average [1]: (1 − α^(γ+1)) / (1 − α), equation 1; γ + 1 where all are accepted."""
    left = 1 - np.asarray(acceptance, dtype=float)
    tokens = np.where(
        left > 0, (1 - (1 - left) ** (draft_tokens + 1)) / np.where(left > 0, left, 1.0), draft_tokens + 1
    )
    return tokens if np.ndim(tokens) else float(tokens)


def ideal_speedup(acceptance: Real, draft_tokens: Real, cost: Real) -> Real:
    """Speed-up where verifying is as fast as decoding a token [1]: (1 − α^(γ+1)) / ((1 − α)(γ·c + 1)), theorem 3.8.

    cost: c, time of the draft model's token by the large model's [1].
    """
    return expected_tokens(acceptance, draft_tokens) / (draft_tokens * cost + 1)


def break_even(draft_tokens: Real, rounds: Real) -> Real:
    """The acceptance from which a round is worth its time [1]; 0 where it always is, nan where it never is.

    rounds: time of a round by the time of a decoded token [1]. Expected tokens grow with the acceptance, so intervals
    are halved.
    """
    low = np.zeros(np.broadcast_shapes(np.shape(draft_tokens), np.shape(rounds)))
    high = np.ones_like(low)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        enough = expected_tokens(middle, draft_tokens) >= rounds
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    found = np.where(np.less_equal(rounds, 1.0), 0.0, np.where(np.greater(rounds, draft_tokens + 1), np.nan, high))
    return found if found.ndim else float(found)


@dataclass(frozen=True, slots=True)
class Round:
    """A number of drafted tokens a round; speeds are of all sequences.

    expected_tokens: that a round adds, of a sequence [1]. draft_s, verify_s: time of the drafts and of their
    verifying [s]; verify_ratio: the latter by the time of a decoded token [1]. verify_bytes: weight bytes the
    verifying reads, more than a token's where a mixture's experts differ [B]. tok_s: with the band [1/s]. speedup:
    over decoding without drafts [1]; ideal_speedup: theorem 3.8. break_even: acceptance from which it is worth it,
    None where it never is [1].
    """

    draft_tokens: int
    expected_tokens: float
    draft_s: float
    verify_s: float
    verify_ratio: float
    verify_bytes: float
    tok_s: float
    low_tok_s: float
    high_tok_s: float
    speedup: float
    ideal_speedup: float
    break_even: float | None
    mark: str = ""


@dataclass(frozen=True)
class Speculation:
    """A model with its drafts on a machine.

    target, draft: their predictions; the draft's is None for drafts that cost nothing. plain: decoding a token without
    drafts. cost: time of a drafted token by that [1]. free_up_to: most drafted tokens, of those asked for, whose
    verifying is free, 0 for none [1]. total_bytes, usable_bytes: memory of both models, and what may be allocated [B].
    """

    target: Prediction
    draft: Prediction | None
    acceptance: float
    plain: Phase
    cost: float
    rounds: tuple[Round, ...]
    free_up_to: int
    total_bytes: float
    usable_bytes: float | None

    @property
    def best(self) -> Round:
        """The round with the highest speed."""
        return max(self.rounds, key=lambda one: one.tok_s)

    @property
    def fits(self) -> bool:
        """Whether both models fit, the draft's beside the fullest part; true where the capacity is open."""
        memory = self.target.memory
        has_room = memory.margin is None or float(memory.margin) >= _draft_bytes(self.draft)
        return has_room and bool(memory.fits)


def asked(
    hw: str,
    model: str,
    quant: str | None = None,
    *,
    draft: str,
    draft_quant: str | None = None,
    acceptance: float = 0.8,
    draft_tokens: str = DRAFT_TOKENS,
    **settings: Any,
) -> Speculation:
    """`speculation` in the words of the command line; settings: the other arguments of points.single_point.

    draft: a model, or 'ngram' for drafts that are looked up in the text. It runs where the model's device part runs.
    """
    target = single_point(hw, model, quant, **settings)
    small = None
    if draft != NGRAM:
        device, _, others = hw.partition("+")
        # What says where a model lies on several parts is not for one that lies on the first of them.
        placed = (*_PLACED, "split", "tensor_split", "link", "numa") if others else _PLACED
        rest = {key: value for key, value in settings.items() if key not in placed}
        try:
            small = single_point(device, draft, draft_quant, **rest)
        except SpecError as error:  # the target was read: what is wrong is the draft's
            raise SpecError(re.sub("^(?:--)?(model|quant):", _drafts_option, str(error))) from None
        if settings.get("gpu_layers") is None:
            target = _with_room_for(target, small)
    elif draft_quant is not None:
        raise SpecError(f"--draft-quant: expected none with --draft {NGRAM}, found {short(draft_quant)}")
    return speculation(target, small, acceptance, numbers("draft-tokens", draft_tokens))


def _drafts_option(match: re.Match[str]) -> str:
    return "--draft:" if match[1] == "model" else "--draft-quant:"


def speculation(
    target: Prediction, draft: Prediction | None, acceptance: float, draft_tokens: Sequence[int]
) -> Speculation:
    """Rounds of so many drafted tokens each, halfway through the target's generation.

    Both predictions are of one workload of plain numbers. acceptance: probability that a drafted token is accepted [1].
    """
    if not 0 <= acceptance <= 1:
        raise SpecError(f"--acceptance: expected a probability from 0 to 1, found {acceptance:g}")
    if not draft_tokens or not 1 <= min(draft_tokens) <= max(draft_tokens) <= MOST_DRAFT_TOKENS:
        raise SpecError(
            f"--draft-tokens: expected numbers from 1 to {MOST_DRAFT_TOKENS}, found {short(list(draft_tokens))}"
        )
    workload = target.workload
    if workload.gen < 1:
        raise SpecError("--gen: expected at least 1 token, found 0")
    batch, past = workload.batch, workload.depth + workload.prompt + (workload.gen - 1) / 2
    token = Step(batch, 1.0, past, batch)
    plain = _run(target, token)
    drafted = np.array(sorted(set(draft_tokens)), dtype=float)
    wide = Step(batch, drafted + 1, past, batch * (drafted + 1), outputs=drafted + 1)
    verify = _run(target, wide)
    drafting = _run(draft, token) if draft else None
    small, lit = (float(drafting.seconds), float(drafting.light_seconds)) if drafting else (0.0, 0.0)
    one = float(plain.seconds)
    taken = drafted * small + verify.seconds
    gained = expected_tokens(acceptance, drafted)
    tok_s = batch * gained / taken
    ceiling = batch * gained / (drafted * lit + verify.light_seconds)
    arrays = {
        "expected_tokens": gained,
        "draft_s": drafted * small,
        "verify_s": verify.seconds,
        "verify_ratio": verify.seconds / one,
        "verify_bytes": verify.weight_bytes,
        "tok_s": tok_s,
        "low_tok_s": tok_s / plain.band.factor,
        "high_tok_s": np.minimum(tok_s * plain.band.factor, np.maximum(ceiling, tok_s)),
        "speedup": gained * one / taken,
        "ideal_speedup": ideal_speedup(acceptance, drafted, small / one),
    }
    least = np.asarray(break_even(drafted, taken / one))
    costly = np.asarray(verify.seconds) > FREE * one
    best = int(np.argmax(tok_s))
    rounds = tuple(
        Round(
            draft_tokens=int(number),
            break_even=float(least[at]) if np.isfinite(least[at]) else None,
            mark="best" if at == best else "",
            **{key: float(np.broadcast_to(values, drafted.shape)[at]) for key, values in arrays.items()},
        )
        for at, number in enumerate(drafted)
    )
    free = drafted[: int(np.argmax(costly))] if costly.any() else drafted
    beside = _draft_bytes(draft)
    return Speculation(
        target, draft, acceptance, plain, small / one, rounds, int(free[-1]) if free.size else 0,
        float(target.memory.total) + beside, target.memory.usable,
    )  # fmt: skip


def _run(prediction: Prediction, step: Step) -> Phase:
    one = prediction
    return run(one.model, one.weights, one.machine, one.workload, step, "decode", one.placement)


def _draft_bytes(draft: Prediction | None) -> float:
    """What the draft model needs beside the other [B]: all but the backend's own memory, which both share."""
    return float(draft.memory.total) - draft.memory.context if draft else 0.0


def _with_room_for(target: Prediction, draft: Prediction) -> Prediction:
    """A placed model with as many layers on the device as fit beside its draft model."""
    one, placement = target, target.placement
    if placement is None or target.memory.usable is None:
        return target
    room = _draft_bytes(draft)

    def margin(placed: Placement) -> float:
        left = bill(one.model, one.weights, one.machine, one.workload, placed).margin
        return 0.0 if left is None else float(left)

    while placement.gpu_layers > 0 and margin(placement) < room:
        placement = replace(placement, gpu_layers=placement.gpu_layers - 1)
    return replace(predict(one.model, one.weights, one.machine, one.workload, placement), names=one.names)


def vocabulary_remark(target: Prediction, draft: Prediction | None) -> str | None:
    """A sentence where the vocabularies differ in size: acceptance by token needs a common one."""
    if draft is None or draft.model.vocab == target.model.vocab:
        return None
    return (
        f"{draft.model.name} has a vocabulary of {draft.model.vocab:,} tokens, {target.model.name} one of "
        f"{target.model.vocab:,}: drafts need a common one, or have to be translated."
    )
