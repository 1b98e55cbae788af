"""What runs in the process that measures rungs of one library: a line of JSON for each, as soon as it is known."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from roofline.measure.child import pin
from roofline.measure.ladder.checking import check
from roofline.measure.ladder.makers import library
from roofline.measure.ladder.rungs import RUNGS, Rung
from roofline.measure.matmul import flops, timed
from roofline.measure.products import Maker, Product
from roofline.measure.timing import Budget, Clock, repeat

_FIRST = 64  # n of the call by which a larger one is judged
_JUDGED = 0.02  # s
_SWEPT = 0.4  # s that is enough for a size of a sweep; the larger ones take longer in any case
_CALLS = 7  # of a size that is affordable: warm-up, the first timed one, and samples


def main(request: str, say: Callable[[str], object] = print) -> None:
    """Measure what a request of climb.py asks for. say: takes a line."""
    asked = json.loads(request)
    if asked["threads"] == 1:
        pin()
    budget = Budget(asked["seconds"])
    name, makers = library(asked["library"], asked["threads"])
    tasks = asked["tasks"]
    rates: dict[str, float] = {}
    for index, task in enumerate(tasks):
        rung = RUNGS[task["rung"]]
        work = flops(task["n"], task["rows"] or None)
        if task["exactly"] and _CALLS * work > rates.get(rung.id, math.inf) * budget.left:
            answer: dict[str, Any] = {"skipped": True}
        else:
            part = budget.left / (len(tasks) - index)
            answer = _answer(rung, makers, task, Budget(min(part, _SWEPT) if task["exactly"] else part))
        if answer.get("samples"):
            rates[rung.id] = max(rates.get(rung.id, 0.0), *answer["samples"])
        say(json.dumps({**task, "library": name, **answer}))
        sys.stdout.flush()


def _answer(rung: Rung, makers: dict[str, Maker], task: dict[str, Any], budget: Budget) -> dict[str, Any]:
    """n, samples [FLOP/s], largest error by what is allowed [1], or why there is none."""
    try:
        maker = makers[rung.id]
        n = task["n"] if task["exactly"] else affordable(maker, task["n"], max(budget.left, task["least_s"]))
        m = task["rows"] or n
        return measured(rung, maker(m, n), m, n, budget)
    except KeyError:
        return {"problem": "this version of the library does not offer it"}
    except (RuntimeError, NotImplementedError, TypeError, AttributeError, MemoryError, OSError) as error:
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        return {"problem": reason[0][:200]}


def measured(rung: Rung, product: Product, m: int, n: int, budget: Budget) -> dict[str, Any]:
    """The samples of a product that was found right; its error, and no samples, where it is wrong."""
    product.run()
    found = check(rung, product)
    if not found.is_right:
        much = f"{found.error:.3g} times" if math.isfinite(found.error) else "beyond"
        return {"n": n, "problem": f"the product is wrong: it differs from float64 by {much} what rounding explains"}
    samples, _ = timed(product.run, flops(n, m), budget.left)
    again = check(rung, product)  # what was timed is right, too
    if not again.is_right:
        return {"n": n, "problem": "the product is wrong after it was repeated"}
    return {"n": n, "samples": samples.values, "error": max(found.error, again.error)}


def affordable(maker: Maker, n: int, seconds: float, clock: Clock = time.perf_counter) -> int:
    """The largest of 64, 128, … and n of which the calls that are needed fit into so many seconds; 64 or n at least.

    Each is judged by a call of the one before it: the time grows as n³.
    """
    chosen, *larger = _sizes(n)
    for size in larger:
        # The best of several short calls: another process that holds a core for a moment says nothing of the rung.
        once = min(repeat(maker(chosen, chosen).run, seconds=_JUDGED, at_least=1, at_most=_CALLS, clock=clock))
        if _CALLS * once * (size / chosen) ** 3 > seconds:
            break
        chosen = size
    return chosen


def _sizes(n: int) -> Iterator[int]:
    size = _FIRST
    while size < n:
        yield size
        size *= 2
    yield n
