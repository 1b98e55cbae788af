"""How many users a machine serves: up to the knee, within its memory, at a speed that each of them wants."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from roofline.calculator import run
from roofline.memory import bill
from roofline.prediction import Phase, Prediction

MOST_USERS = 4096  # looked at; the knee of every machine of today lies below, where weights are not tiny
MOST = 2**40  # beyond any memory
KNEE = 2.0  # times as long as a step of one user


@dataclass(frozen=True, slots=True)
class Reach:
    """The most users with a property. users: 0 for none. more: MOST_USERS have it, too.

    slower: smaller numbers of users that lack it, as (first, last): where kernels change with the number of tokens at
    once, more users may be faster than fewer.
    """

    users: int
    more: bool = False
    slower: tuple[int, int] | None = None


def reach(holds: NDArray[np.bool_]) -> Reach:
    """The largest number of users for which a property holds; holds[i] is for i + 1 users."""
    (found,) = np.nonzero(holds)
    if not found.size:
        return Reach(0)
    last = int(found[-1])
    (lacking,) = np.nonzero(~holds[:last])
    slower = (int(lacking[0]) + 1, int(lacking[-1]) + 1) if lacking.size else None
    return Reach(last + 1, last + 1 == holds.size, slower)


def generation(prediction: Prediction, users: NDArray[np.float64]) -> Phase:
    """The decode phase of so many users with the prediction's workload each, in one evaluation."""
    workload = replace(prediction.workload, batch=users)
    ubatch = workload.ubatch or prediction.machine.runtime.ubatch
    one, step = prediction, workload.decode(ubatch)
    return run(one.model, one.weights, one.machine, workload, step, "decode", one.placement)


def knee(step_seconds: NDArray[np.float64]) -> Reach:
    """The most users whose step takes at most twice as long as a step of one: each keeps half of a lone user's speed.

    step_seconds[i]: time of a step of i + 1 users [s]. Where a step takes a + b·users, throughput is users / (a +
    b·users) with 1/b as its limit; at users = a/b it is half of that, and the step has doubled. So the knee is where
    the work that grows with users (arithmetic, their caches) has caught up with what they share (weights, launches).
    """
    return reach(step_seconds <= KNEE * step_seconds[0])


def most_in_memory(prediction: Prediction) -> int | None:
    """The most users whose caches fit beside the weights [1]; None where the capacity is open."""
    one = prediction
    if one.memory.usable is None:
        return None
    low, high = 0, 1
    while _fits(one, high) and high <= MOST:
        low, high = high, 2 * high
    while low + 1 < high:  # each user adds to the bill, so a half decides for all below or above it
        middle = (low + high) // 2
        low, high = (middle, high) if _fits(one, middle) else (low, middle)
    return low


def _fits(one: Prediction, users: int) -> bool:
    workload = replace(one.workload, batch=float(users))
    return bool(bill(one.model, one.weights, one.machine, workload, one.placement).fits)
