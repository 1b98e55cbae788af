"""A recommendation from the words of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from roofline import api
from roofline.economy import Terms
from roofline.points import expand
from roofline.quantization import ids
from roofline.recommend.candidates import COUNTS, Candidate, Question, candidates
from roofline.recommend.ranking import Order, Ranked, near_misses, rank
from roofline.recommend.wishes import Miss, Wishes
from roofline.spec import SpecError
from roofline.workload import Workload

NEAR = 5
MOST_COMBINATIONS = 20_000


@dataclass(frozen=True)
class Recommendation:
    """ranked: what meets the wishes, best first. near: what misses them by least. failed: what has no prediction.

    considered: how many combinations were worked out. asked_for: the one that --why-not names, with all it misses.
    """

    ranked: list[Ranked]
    near: list[tuple[Candidate, list[Miss]]]
    failed: dict[str, str]
    considered: int
    wishes: Wishes
    asked_for: list[tuple[Candidate, list[Miss]]]


def recommend(
    hw: str | None,
    model: str | None,
    quant: str | None,
    workload: Workload,
    wishes: Wishes,
    paid: Terms,
    *,
    runtime: str = api.DEFAULT_RUNTIME,
    backend: str | None = None,
    order: Order | None = None,
    most_count: int = COUNTS[-1],
    why_not: str | None = None,
) -> Recommendation:
    """What meets the wishes. hw, model: lists with patterns; None is the whole catalog, of one of the two.

    most_count: cards of a kind that may be put together. why_not: the id of a device or a model to explain.

    Raises SpecError where nothing meets the wishes: it names the closest candidate and what to relax.
    """
    if hw is None and model is None:
        raise SpecError("--hw, --model: expected one of them, for what the other is to be recommended; found neither")
    wishes.check()
    question = Question(
        tuple(expand("hw", "*" if hw is None else hw, api.list_hardware())),
        tuple(expand("model", "*" if model is None else model, api.list_models())),
        None if quant is None else tuple(expand("quant", quant, list(ids()))),
        runtime,
        backend,
        tuple(count for count in COUNTS if count <= most_count),
    )
    combinations = len(question.hardware) * len(question.models)
    if combinations > MOST_COMBINATIONS:
        raise SpecError(f"--hw, --model: expected at most {MOST_COMBINATIONS} pairs of both, found {combinations}")
    found, failed = candidates(question, workload, paid)
    if not found:
        raise SpecError(next(iter(failed.values()), "--hw, --model: expected something to try, found none"))
    asked = _asked_for(why_not, found, failed, wishes) if why_not else []
    ranked = rank(found, wishes, order)
    met = {(one.candidate.hardware, one.candidate.model) for one in ranked}
    near = near_misses([one for one in found if (one.hardware, one.model) not in met], wishes, NEAR)
    if not ranked and not asked:
        raise SpecError(_nothing(wishes, near))
    return Recommendation(ranked, near, failed, len(found), wishes, asked)


def _nothing(wishes: Wishes, near: Sequence[tuple[Candidate, list[Miss]]]) -> str:
    """That nothing meets the wishes, what is closest, and what to relax."""
    asked = ", ".join(f"{option} {wanted:g}" for option, wanted in wishes.asked.items()) or "memory that is enough"
    one, misses = near[0]
    relax = "; ".join(str(miss) for miss in misses)
    wanted = f"{asked}: expected something that meets {'them all' if len(wishes.asked) > 1 else 'it'}"
    return f"{wanted}, found nothing; closest is {name(one)}, which misses {relax}"


def name(one: Candidate) -> str:
    """A candidate in one word or three."""
    return f"{one.hardware} with {one.model} {one.quant}"


def _asked_for(
    why_not: str, found: Sequence[Candidate], failed: dict[str, str], wishes: Wishes
) -> list[tuple[Candidate, list[Miss]]]:
    """All candidates of a device or model with what they miss; SpecError where there are none, with the reason."""
    from roofline.catalog import normalise

    wanted = normalise(why_not)
    chosen = [one for one in found if wanted in (normalise(one.hardware), normalise(one.model))]
    if not chosen:
        chosen = [one for one in found if normalise(one.hardware).startswith(wanted)]
    if chosen:
        return [(one, wishes.misses(one)) for one in chosen]
    for names, reason in failed.items():
        if wanted in {normalise(part) for part in names.split()}:
            raise SpecError(f"--why-not: {why_not} cannot be predicted: {reason}")
    raise SpecError(f"--why-not: expected a device or model that was considered, found {why_not!r}")
