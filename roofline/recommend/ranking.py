"""The order of what meets the wishes, what each has over the next, and what is better in nothing than another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from roofline.recommend.candidates import Candidate
from roofline.recommend.wishes import Miss, Wishes
from roofline.units import format_number, format_quantity

Order = Literal["price", "decode", "prefill", "cost", "watts", "size"]
CLEAR = 1.05  # a factor below which two figures do not tell candidates apart
TWICE = 2.0


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate in its place. dominated_by: one that is no worse in anything that counts, and better in something.

    reason: what it has over the next. certain: whether the low ends of its bands meet the wished speeds, too.
    """

    candidate: Candidate
    dominated_by: str
    reason: str
    certain: bool


T = TypeVar("T")
#: (what is compared, a candidate's figure, whether more is better).
Criterion: TypeAlias = tuple[str, Callable[[T], float | None], bool]
_Criterion: TypeAlias = Criterion[Candidate]
_SPEED: tuple[_Criterion, ...] = (
    ("decode", lambda one: one.decode.tok_s if one.decode else None, True),
    ("prefill", lambda one: one.prefill.tok_s if one.prefill else None, True),
)
_MACHINE: tuple[_Criterion, ...] = (
    ("price", lambda one: one.price, False),
    *_SPEED,
    ("power", lambda one: one.power_w, False),
)
_MODEL: tuple[_Criterion, ...] = (
    ("size", lambda one: float(one.parameters), True),
    ("bits", lambda one: one.bits, True),
    *_SPEED,
)


def rank(found: Sequence[Candidate], wishes: Wishes, order: Order | None) -> list[Ranked]:
    """The candidates that meet all wishes, best first.

    Where machines are compared, the cheapest first, those of unknown price last; where models are, the largest first,
    each in the most bits that meet the wishes. order: another figure to sort by.
    """
    meeting = [one for one in found if not wishes.misses(one)]
    machines = len({one.hardware for one in found}) > 1
    order = order or ("price" if machines else "size")
    if order == "size":
        meeting = _most_bits(meeting)
    criteria = (*_MACHINE, *(_MODEL[:2] if len({(one.model, one.quant) for one in meeting}) > 1 else ()))
    if not machines:
        criteria = _MODEL
    ordered = sorted(meeting, key=lambda one: _key(one, order))
    sure = Wishes(wishes.min_decode, wishes.min_prefill, sure=True)
    ranked = []
    for place, one in enumerate(ordered):
        following = ordered[place + 1] if place + 1 < len(ordered) else None
        other = dominating(one, ordered, criteria)
        ranked.append(
            Ranked(
                one,
                label(other, one) if other else "",
                _advantages(one, following, criteria) if following else "",
                not sure.misses(one),
            )
        )
    return ranked


def _most_bits(found: Sequence[Candidate]) -> list[Candidate]:
    """Each model on each machine once: in the most bits."""
    best: dict[tuple[str, str], Candidate] = {}
    for one in found:
        key = (one.hardware, one.model)
        if key not in best or one.bits > best[key].bits:
            best[key] = one
    return list(best.values())


def _key(one: Candidate, order: Order) -> tuple[float, ...]:
    """Sorts best first; equal or unknown figures by decode speed."""
    decode = -(one.decode.tok_s if one.decode else 0.0)
    unknown = float("inf")
    figures: dict[Order, float | None] = {
        "price": one.price,
        "decode": decode,
        "prefill": -(one.prefill.tok_s if one.prefill else 0.0),
        "cost": one.usd_per_million,
        "watts": one.power_w,
        "size": -float(one.parameters),
    }
    figure = figures[order]
    return (unknown if figure is None else figure, decode)


def dominating(one: T, others: Sequence[T], criteria: Sequence[Criterion[T]]) -> T | None:
    """The first of the others that dominates: no worse in any criterion, clearly better in one; None where none does.

    A figure that is unknown on either side tells nothing, so that such a pair stands side by side.
    """
    for other in others:
        if other is one:
            continue
        pairs = [(figure(other), figure(one), more) for _, figure, more in criteria]
        if any(theirs is None or own is None for theirs, own, _ in pairs):
            continue
        known = [(theirs, own, more) for theirs, own, more in pairs if theirs is not None and own is not None]
        no_worse = all(theirs >= own if more else theirs <= own for theirs, own, more in known)
        if no_worse and any(_gain(theirs, own, more) > 1 for theirs, own, more in known):
            return other
    return None


def label(other: Candidate, one: Candidate) -> str:
    """What tells the other from the one: its device, else its model, else its quantisation."""
    if other.hardware != one.hardware:
        return other.hardware
    return f"{other.model} {other.quant}"


def _gain(one: float, other: float, more: bool) -> float:
    """How many times better the first is."""
    better, worse = (one, other) if more else (other, one)
    return better / worse if worse > 0 else float("inf")


def _advantages(one: Candidate, following: Candidate, criteria: Sequence[_Criterion]) -> str:
    """In what the one is clearly better than the one that follows, and in what it is worse."""
    better, worse = [], []
    for name, figure, more in criteria:
        own, theirs = figure(one), figure(following)
        if own is None or theirs is None:
            if name == "price" and own is not None:
                better.append("has a known price")
            continue
        gain = _gain(own, theirs, more)
        if gain >= CLEAR:
            better.append(_words(name, own, theirs, gain))
        elif gain <= 1 / CLEAR:
            worse.append(_words(name, own, theirs, gain))
    found = ", ".join(better) or "as good"
    return f"{found}; but {', '.join(worse)}" if worse else found


def _words(name: str, own: float, theirs: float, gain: float) -> str:
    if name == "price":
        difference = format_number(abs(theirs - own))
        return f"{difference} USD {'cheaper' if own < theirs else 'dearer'}"
    if name == "power":
        return f"{format_number(abs(theirs - own))} W {'less' if own < theirs else 'more'}"
    if name == "size":
        return f"{format_quantity(own, '')} parameters against {format_quantity(theirs, '')}"
    if name == "bits":
        return f"{format_number(own, 2)} bits against {format_number(theirs, 2)}"
    if gain >= TWICE:
        return f"{name} {format_number(gain, 2)} × as fast"
    return f"{name} {format_number(100 * abs(own / theirs - 1), 2)} % {'faster' if gain > 1 else 'slower'}"


def near_misses(found: Sequence[Candidate], wishes: Wishes, most: int) -> list[tuple[Candidate, list[Miss]]]:
    """What misses the wishes by least: fewest wishes first, then the smallest factor; one of a device or model."""
    missing = [(one, misses) for one in found if (misses := wishes.misses(one))]
    missing.sort(key=lambda pair: (len(pair[1]) + wishes.unknown(pair[0]), distance(pair[1])))
    seen: set[tuple[str, str]] = set()
    best = []
    for one, misses in missing:
        if (one.hardware, one.model) not in seen:
            seen.add((one.hardware, one.model))
            best.append((one, misses))
    return best[:most]


def distance(misses: Sequence[Miss]) -> float:
    """How far a candidate is from its wishes: the product of the factors; infinite where a figure is unknown."""
    product = 1.0
    for miss in misses:
        product *= miss.factor
    return product
