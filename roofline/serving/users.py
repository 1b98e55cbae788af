"""A model for several users at once: what each gets, what all get, and how many there may be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.calculator import predict, run
from roofline.explain import compute_bound_batch
from roofline.memory import MemoryBill, bill, padded_context
from roofline.points import numbers, one_number, single_point
from roofline.prediction import Phase, Prediction
from roofline.serving.chunked import chunked
from roofline.serving.knee import MOST_USERS, Reach, generation, knee, most_in_memory, reach
from roofline.spec import SpecError
from roofline.units import UnitError, count, short
from roofline.workload import Real, Workload

USERS = (1, 2, 4, 8, 16, 32, 64)
MIN_USER_TOK_S = 10.0  # about as fast as one reads


@dataclass(frozen=True, slots=True)
class Line:
    """One number of users who all generate at a time; speeds and times are None where the model does not fit.

    users: [1]. tok_s, low_tok_s, high_tok_s: of all, with the band; user_tok_s: of each [1/s]. tpot_s: time per token
    of each [s]. ttft_s: until the last prompt is done when all arrive at once [s]. newcomer_ttft_s: when the others
    generate, its prompt in chunks; newcomer_tpot_s: their time per token meanwhile, gap_s: the longest, with a whole
    chunk at the end of the prompt; None without room for a chunk [s]. stall_s: their wait for a token when the
    newcomer's prompt is done at one go [s]. mark: what the number stands for.
    """

    users: int
    tok_s: float | None
    low_tok_s: float | None
    high_tok_s: float | None
    user_tok_s: float | None
    tpot_s: float | None
    ttft_s: float | None
    newcomer_ttft_s: float | None
    newcomer_tpot_s: float | None
    gap_s: float | None
    stall_s: float | None
    bound: str | None
    kv_cache_bytes: float
    total_bytes: float
    fits: bool
    mark: str


@dataclass(frozen=True)
class Serving:
    """A model on a machine for several users.

    prediction: of one user. cached: tokens of the prompt that are in the cache already [1]; uncached_ttft_s: time to
    first token of a lone user without them [s]. chunk: tokens in a step of the engine [1]. knee: see knee.knee.
    in_memory: most users that fit, None where the memory is open [1]. served: most users, fitting ones, with
    min_user_tok_s each [1/s]; surely_served: the same at the low end of the band. ridge_users: from how many on decode
    is compute-bound at the speed of light (explain.compute_bound_batch) [1]. alone_tok_s: decode speed of one user.
    """

    prediction: Prediction
    lines: tuple[Line, ...]
    cached: int
    uncached_ttft_s: float
    chunk: int
    min_user_tok_s: float
    knee: Reach
    in_memory: int | None
    served: Reach
    surely_served: Reach
    ridge_users: float
    alone_tok_s: float

    @property
    def positions(self) -> float:
        """Tokens that the cache of one user holds [1]."""
        return float(padded_context(self.prediction.machine, self.prediction.workload))


def serve(
    hw: str,
    model: str,
    quant: str | None = None,
    *,
    prompt: str = "512",
    gen: str = "128",
    depth: str = "0",
    users: str | None = None,
    cached: str = "0",
    chunk: int | None = None,
    min_user_tok_s: float = MIN_USER_TOK_S,
    **settings: Any,
) -> Serving:
    """`serving` in the words of the command line; settings: the other arguments of points.points.

    users: '1,2,4'; without it, USERS and the numbers that stand for something. Where layers are placed on a device and
    its host, they are placed for the most users asked for. cached: a share of the prompt ('0.5', '50%') or tokens.
    """
    asked = list(USERS) if users is None else sorted(set(numbers("users", users)))
    if not 1 <= asked[0] <= asked[-1] <= MOST_USERS:
        raise SpecError(f"--users: expected numbers from 1 to {MOST_USERS}, found {short(users or '')}")
    for option, words in (("prompt", prompt), ("gen", gen)):
        if one_number(option, words) < 1:
            raise SpecError(f"--{option}: expected at least 1 token, found {short(words)}")
    most = single_point(hw, model, quant, prompt=prompt, gen=gen, depth=depth, batch=str(asked[-1]), **settings)
    held = cached_tokens(cached, one_number("prompt", prompt))
    single = _recalculated(most, replace(most.workload, batch=1.0))
    return serving(single, asked, held, chunk, min_user_tok_s, marked=users is None)


def cached_tokens(text: str, prompt: int) -> int:
    """'0.5' or '50%' of a prompt, or a number of tokens, in whole tokens; at least one token is left to compute [1]."""
    match = re.fullmatch(r"(\d{1,3}(?:\.\d*)?|\.\d+)(%?)", text.strip())
    if match and (match[2] or "." in match[1]):
        share = float(match[1]) / (100 if match[2] else 1)
        if share <= 1:
            return min(int(prompt * share), prompt - 1)
    else:
        try:
            if (tokens := count(text)) <= prompt:
                return min(tokens, prompt - 1)
        except UnitError:
            pass
    raise SpecError(
        f"--cached: expected a share of the prompt such as 0.5 or 50%, or up to {prompt} tokens, found {short(text)}"
    )


def serving(
    prediction: Prediction,
    users: Sequence[int],
    cached: int = 0,
    chunk: int | None = None,
    min_user_tok_s: float = MIN_USER_TOK_S,
    marked: bool = False,
) -> Serving:
    """What `users` users at once get, each with the workload of `prediction`, which is of one user.

    cached: tokens of each prompt that are in the cache already [1]: the prompt is shorter by them, and deeper. chunk:
    tokens of a step of the engine; None is the runtime's batch, llama.cpp's -b [1]. min_user_tok_s: [1/s]. marked:
    whether the knee and the most users that fit get a line of their own.
    """
    if not 0 < min_user_tok_s < np.inf:
        raise SpecError(f"--min-user-tok-s: expected a speed above 0, found {min_user_tok_s:g}")
    if chunk is not None and chunk < 2:
        raise SpecError(f"--chunk: expected at least 2 tokens, one of them the newcomer's, found {chunk}")
    workload = prediction.workload
    uncached = _alone(prediction).seconds
    shorter = replace(workload, prompt=workload.prompt - cached, depth=workload.depth + cached)
    one = _recalculated(prediction, shorter)
    counts = np.arange(1.0, MOST_USERS + 1)
    phase = generation(one, counts)
    each = np.asarray(phase.tok_s) / counts
    in_memory = most_in_memory(one)
    fitting = counts <= (MOST_USERS if in_memory is None else in_memory)
    bend = knee(np.asarray(phase.seconds / workload.gen))
    marks = {bend.users: "knee"} if not bend.more else {}
    if in_memory is not None and bend.users > in_memory:
        marks = {}
    if in_memory and in_memory <= MOST_USERS:
        marks[in_memory] = f"{marks[in_memory]}, last that fits" if in_memory in marks else "last that fits"
    listed = sorted({*users, *marks}) if marked else sorted(users)
    budget = chunk or one.machine.runtime.batch
    return Serving(
        one,
        _lines(one, np.array(listed, dtype=float), budget, marks),
        cached,
        float(uncached),
        budget,
        min_user_tok_s,
        bend,
        in_memory,
        reach((each >= min_user_tok_s) & fitting),
        reach((each / phase.band.factor >= min_user_tok_s) & fitting),
        compute_bound_batch(one),
        float(each[0]),
    )


def _recalculated(prediction: Prediction, workload: Workload) -> Prediction:
    """The same model on the same machine, with the same placement, for another workload."""
    one = prediction
    changed = predict(one.model, one.weights, one.machine, workload, one.placement)
    return replace(changed, names=one.names)


def _alone(prediction: Prediction) -> Phase:
    """The prompt of one user with nobody else there."""
    assert prediction.prefill is not None  # a prompt of at least one token is asked for
    return prediction.prefill


def _lines(one: Prediction, users: NDArray[np.float64], chunk: int, marks: dict[int, str]) -> tuple[Line, ...]:
    phase, memory = generation(one, users), _bill(one, users)
    everybody = replace(one.workload, batch=users)
    ubatch = everybody.ubatch or one.machine.runtime.ubatch
    prompts = run(
        one.model, one.weights, one.machine, everybody, everybody.prefill(ubatch), "prefill", one.placement
    )  # fmt: skip
    shape = users.shape
    times = {
        "tok_s": phase.tok_s, "low_tok_s": phase.low_tok_s, "high_tok_s": phase.high_tok_s,
        "user_tok_s": np.asarray(phase.tok_s) / users, "tpot_s": phase.seconds / one.workload.gen,
        "ttft_s": prompts.seconds, **_newcomer(one, users, chunk),
    }  # fmt: skip
    spread = {key: np.broadcast_to(values, shape) for key, values in times.items()}
    bounds, fits, caches, totals = (
        np.broadcast_to(np.asarray(values), shape)
        for values in (phase.bound, memory.fits, memory.kv_cache, memory.total)
    )

    def line(at: int, number: int) -> Line:
        speeds: dict[str, Any] = {key: _speed(values[at], bool(fits[at])) for key, values in spread.items()}
        return Line(
            users=number,
            bound=str(bounds[at]) if fits[at] else None,
            kv_cache_bytes=float(caches[at]),
            total_bytes=float(totals[at]),
            fits=bool(fits[at]),
            mark=marks.get(number, ""),
            **speeds,
        )

    return tuple(line(at, int(number)) for at, number in enumerate(users))


def _newcomer(one: Prediction, users: NDArray[np.float64], chunk: int) -> dict[str, Real]:
    """The columns about the last of `users` users, whose prompt is read while the others generate; nan for no value."""
    alone, workload, others = float(_alone(one).seconds), one.workload, np.maximum(users - 1, 1.0)
    is_first, has_room = users == 1, others < chunk
    running = np.minimum(others, chunk - 1.0)
    whole = chunked(one, running, chunk)
    last = np.minimum(chunk - running, workload.prompt)
    ending = replace(workload, prompt=last, depth=workload.depth + workload.prompt - last)
    gap = chunked(replace(one, workload=ending), running, chunk).phase.seconds
    # Where every token meets the rows of all sequences, a prompt at one go meets the others' too.
    met = others * (workload.depth + workload.prompt + workload.gen / 2) if one.machine.engine.shared_cache else 0.0
    step = replace(workload, depth=workload.depth + met).prefill(workload.ubatch or one.machine.runtime.ubatch)
    at_one_go = run(one.model, one.weights, one.machine, workload, step, "prefill", one.placement)
    waits = {
        "newcomer_tpot_s": np.where(has_room, whole.step_seconds, np.nan),
        "gap_s": np.where(has_room, gap, np.nan),
        "stall_s": at_one_go.seconds + generation(one, others).seconds / workload.gen,
    }
    ttft = np.where(is_first, alone, np.where(has_room, whole.phase.seconds, np.nan))
    return {"newcomer_ttft_s": ttft, **{key: np.where(is_first, np.nan, values) for key, values in waits.items()}}


def _speed(value: float, fits: bool) -> float | None:
    return float(value) if fits and np.isfinite(value) else None


def _bill(one: Prediction, users: NDArray[np.float64]) -> MemoryBill:
    workload = replace(one.workload, batch=users)
    return bill(one.model, one.weights, one.machine, workload, one.placement)
