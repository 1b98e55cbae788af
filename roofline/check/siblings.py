"""Rows that contradict their siblings: the same run in every respect but the quantisation.

Decode reads every weight once a token, so that of two files of one model the larger decodes more slowly, unless
arithmetic is what limits it. A row is suspect when it reads far more bytes than a sibling and yet decodes faster, where
the prediction, which knows what arithmetic costs, expects it to be slower.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from roofline.check.verdicts import Row, half_a_digit
from roofline.units import format_number

MORE_BYTES = 1.3  # times the bytes of a sibling: what no scale or header explains
NOISE = 1.25  # how far a ratio of two speeds of one run may be from the expected one
MOST_PAIRED = 100  # siblings that are compared each with each; more are compared with the typical one of each kind
_SETTING = re.compile(r"[\w-]+=[^;,\s]+")  # 'tokenizer=llamafile' in a note


def mark_suspects(rows: Sequence[Row]) -> list[Row]:
    """The rows in order, with those that contradict their siblings marked suspect."""
    families: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        if row.phase == "decode" and row.verdict != "impossible":  # what cannot be is no witness against others
            families[_family(row)].append(place)
    marked = list(rows)
    for places in families.values():
        if len({rows[place].observation.quant for place in places}) > 1:
            _mark(marked, places)
    return marked


def _family(row: Row) -> tuple[object, ...]:
    """What siblings share."""
    seen = row.observation
    settings = tuple(sorted(_SETTING.findall(seen.note))) if "=" in seen.note else ()
    return (
        seen.hardware, seen.count, seen.model, seen.backend, seen.runtime, seen.build, seen.threads, seen.prompt,
        seen.gen, seen.depth, seen.batch, seen.ubatch, seen.source, seen.url, seen.date, seen.host, seen.gpu_layers,
        seen.flash_attn, seen.mem_mts, settings,
    )  # fmt: skip


def _mark(rows: list[Row], places: Sequence[int]) -> None:
    """Mark the fewest rows whose removal leaves no contradiction; of two that contradict each other alone, both."""
    if len(places) > MOST_PAIRED:
        typical = _typical(rows, places)
        references = [rows[place] for place in typical]
        for place in set(places).difference(typical):
            others = [one for one in references if contradicts(one, rows[place]) or contradicts(rows[place], one)]
            if others:
                rows[place] = _suspect(rows[place], others)
        places = typical
    against: dict[int, list[int]] = defaultdict(list)
    for larger in places:
        for smaller in places:
            if contradicts(rows[larger], rows[smaller]):
                against[larger].append(smaller)
                against[smaller].append(larger)
    original = {place: rows[place] for place in against}
    while any(against.values()):
        most = max(len(others) for others in against.values())
        worst = [place for place, others in against.items() if len(others) == most]
        for place in worst:
            rows[place] = _suspect(original[place], [original[other] for other in against[place]])
        for place in worst:
            against.pop(place)
        against = {place: [other for other in others if other not in worst] for place, others in against.items()}


def _typical(rows: Sequence[Row], places: Iterable[int]) -> list[int]:
    """The row of median speed of every quantisation."""
    by_quant: dict[str, list[int]] = defaultdict(list)
    for place in places:
        by_quant[rows[place].observation.quant].append(place)
    return [sorted(own, key=lambda place: rows[place].observation.tok_s)[len(own) // 2] for own in by_quant.values()]


def contradicts(larger: Row, smaller: Row) -> bool:
    """Whether the row with more bytes is faster than can be, the other one given."""
    if larger.bytes_per_pass <= MORE_BYTES * smaller.bytes_per_pass:
        return False
    fast = larger.observation.tok_s - half_a_digit(larger.observation)
    slow = smaller.observation.tok_s + half_a_digit(smaller.observation)
    expected = larger.predicted_tok_s / smaller.predicted_tok_s
    return fast > slow and expected < 1 and fast / slow > NOISE * expected


def _suspect(row: Row, others: Sequence[Row]) -> Row:
    words = "; ".join(_words(row, other) for other in others[:3])
    if len(others) == 1 and _better_exchanged(row, others[0]):
        words += ". Exchanged, the two speeds agree better with the prediction: are the quantisations swapped?"
    return replace(row, verdict="suspect", reason=words, change=None)


def _words(row: Row, other: Row) -> str:
    more = row.bytes_per_pass > other.bytes_per_pass
    larger, smaller = (row, other) if more else (other, row)
    times = larger.bytes_per_pass / smaller.bytes_per_pass
    speed = larger.observation.tok_s / smaller.observation.tok_s
    expected = larger.predicted_tok_s / smaller.predicted_tok_s
    return (
        f"contradicts {other.observation.id}: {larger.observation.quant} reads {format_number(times)} times the bytes "
        f"of {smaller.observation.quant} for a token and yet decodes {format_number(speed)} times as fast "
        f"({format_number(larger.observation.tok_s)} against {format_number(smaller.observation.tok_s)} tok/s), where "
        f"{format_number(expected)} times is expected"
    )


def _better_exchanged(row: Row, other: Row) -> bool:
    """Whether the larger of the two errors shrinks when the speeds change places."""

    def worst(first: float, second: float) -> float:
        factors = (row.predicted_tok_s / first, other.predicted_tok_s / second)
        return max(max(factor, 1 / factor) for factor in factors)

    mine, theirs = row.observation.tok_s, other.observation.tok_s
    return worst(theirs, mine) < worst(mine, theirs)
