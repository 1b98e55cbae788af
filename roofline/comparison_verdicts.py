"""What a comparison says: the fastest, the cheapest, the most frugal machine, and which ones the bands tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from roofline.comparison import Line
from roofline.economy import power_mark, tokens_per_kwh
from roofline.units import MILLION, format_number

MOST_NAMED = 4  # machines that a sentence lists


class _Range(NamedTuple):
    """A machine's figure with its band, of which less is better."""

    label: str
    low: float
    value: float
    high: float


def verdicts(lines: Sequence[Line], rented: bool = False) -> list[str]:
    """Which machine is best in speed, cost and energy, and which ones the prediction does not tell from it.

    One model after the other, since a small one is always faster. rented: a rent covers all of a machine.
    """
    ready = [line for line in lines if not line.reason]
    if not ready:
        return ["None of them runs it."]
    models = list(dict.fromkeys(line.model for line in ready))
    found = []
    for model in models:
        of_model = [line for line in ready if line.model == model]
        texts = (*_fastest(of_model), *_cheapest(of_model, rented), *_most_frugal(of_model))
        found += [f"{model}: {text}" if len(models) > 1 else text for text in texts]
    return found


def _fastest(lines: Sequence[Line]) -> list[str]:
    decodes = [(_label(line, lines), line.prediction.decode) for line in lines if line.prediction]
    # Slowness, so that less is better here as with costs.
    speeds = [
        _Range(name, -float(phase.high_tok_s), -float(phase.tok_s), -float(phase.low_tok_s))
        for name, phase in decodes
        if phase
    ]
    if len(speeds) < 2:
        return []
    best, rest = _best(speeds)
    return [f"Fastest in decode: {best.label}, {format_number(-best.value)} tok/s; {rest}."]


def _cheapest(lines: Sequence[Line], rented: bool) -> list[str]:
    costs = []
    for line in lines:
        own, paid = line.price_basis == "override", line.decode  # an own price is of whatever its giver means
        alone = f" ({line.left_out.partition(',')[0]})" if line.left_out and not (rented or own) else ""
        if paid.usd_per_million is not None:
            low, high = paid.low_usd_per_million or 0.0, paid.high_usd_per_million or 0.0
            costs.append(_Range(_label(line, lines) + alone, low, paid.usd_per_million, high))
    if len(costs) < 2:
        return []
    best, rest = _best(costs)
    unknown = f" ({len(lines) - len(costs)} of unknown cost left out)" if len(costs) < len(lines) else ""
    return [f"Cheapest per token: {best.label}, {format_number(best.value)} USD per million; {rest}{unknown}."]


def _most_frugal(lines: Sequence[Line]) -> list[str]:
    """By the power figures, of which some are bounds: that is said, and not compared away."""
    energies, marks = [], {}
    for line in lines:
        paid = line.decode
        if paid.j_per_token is not None:
            low, high = paid.low_j_per_token or 0.0, paid.high_j_per_token or 0.0
            label = _label(line, lines)
            energies.append(_Range(label, low, paid.j_per_token, high))
            marks[label] = power_mark(line.power_meaning)
    if len(energies) < 2:
        return []
    best, rest = _best(energies)
    bound = {"": "", "≤": " at most"}.get(marks[best.label], f" ({marks[best.label]})")
    tokens = format_number(float(tokens_per_kwh(best.value, 1.0)) / MILLION)  # J a token are W at one token a second
    least = "at least " if bound == " at most" else ""
    figures = f"{format_number(best.value)} J{bound}, {least}{tokens} million tokens a kilowatt-hour"
    return [f"Least energy per token: {best.label}, {figures}; {rest}."]


def _label(line: Line, lines: Sequence[Line]) -> str:
    """A line's name, with its quantisation where these differ."""
    several = len({one.quant for one in lines}) > 1
    return f"{line.hardware} {line.quant}" if several else line.hardware


def _best(ranges: Sequence[_Range]) -> tuple[_Range, str]:
    """The least value, and what the bands say of the others."""
    best = min(ranges, key=lambda one: one.value)
    near = [other.label for other in ranges if other.label != best.label and other.low <= best.high]
    if not near:
        return best, "no other band reaches its own"
    return best, f"the bands overlap, so that the prediction does not tell it from {listed(near)}"


def listed(names: Sequence[str]) -> str:
    """Names for a sentence, the first few of many."""
    shown, more = ", ".join(names[:MOST_NAMED]), len(names) - MOST_NAMED
    return f"{shown} and {more} more" if more > 0 else shown
