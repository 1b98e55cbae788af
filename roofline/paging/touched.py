"""How many pages a number of tokens touch.

A page is touched if any part that lies on it is read. A token reads k of E parts, uniformly chosen, so a page with m of
them stays untouched with probability C(E − m, k) / C(E, k), and by T tokens with its T-th power; with m = 1 that is the
(1 − k/E)^T of demand.distinct_experts. A page across the border of two tensors counts once: it stays untouched if the
parts of all of them do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roofline.paging.layout import FileLayout, Span
from roofline.workload import Real

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Touched:
    """Pages by the probability that a token leaves them untouched.

    page: size of a page [B]. idle: probabilities [1], counts: pages of each [1].
    """

    page: int
    idle: Floats
    counts: Floats

    def pages(self, tokens: Real = 1.0) -> Real:
        """Different pages that `tokens` tokens touch, expected [1]."""
        each = 1.0 - self.idle ** np.asarray(tokens, dtype=float)[..., None]
        found = np.sum(self.counts * each, axis=-1)
        return float(found) if np.ndim(found) == 0 else found

    def bytes(self, tokens: Real = 1.0) -> Real:
        """The same in bytes of whole pages [B]."""
        return self.pages(tokens) * self.page


def touched(layout: FileLayout, page: int) -> Touched:
    """The pages of a file that tokens touch."""
    spans = [span for span in layout.spans if span.used and span.size]
    choices = {name: number for number, name in enumerate(dict.fromkeys(map(_choice, spans)))}
    experts, used = np.zeros(len(choices)), np.zeros(len(choices))
    inner: dict[int, float] = {}  # pages that lie within one part, by choice
    edges: list[Ints] = []
    for span in spans:
        number = choices[_choice(span)]
        experts[number], used[number] = span.of_parts, span.used
        parts = np.arange(span.parts, dtype=np.int64)
        begin = span.begin + parts * span.size // span.parts
        end = span.begin + (parts + 1) * span.size // span.parts
        first, last = begin // page, (end - 1) // page
        inner[number] = inner.get(number, 0.0) + float(np.sum(np.maximum(last - first - 1, 0)))
        own = span.first_part + parts
        for at in (first, last):
            edges.append(np.stack([at, np.full_like(at, number), own], axis=1))
    idle_inside = 1.0 - used / experts
    pages, counts = [idle_inside[list(inner)]], [np.array(list(inner.values()))]
    if edges:
        on_edges = _untouched(np.concatenate(edges), experts, used)
        pages.append(on_edges)
        counts.append(np.ones(len(on_edges)))
    idle, place = np.unique(np.concatenate(pages), return_inverse=True)
    gathered = np.bincount(place, weights=np.concatenate(counts), minlength=len(idle)).astype(np.float64)
    return Touched(page, idle, gathered)


def _choice(span: Span) -> str:
    return span.choice


def _untouched(rows: Ints, experts: Floats, used: Floats) -> Floats:
    """Probability that a token leaves a page untouched, of each different page among rows of (page, choice, part)."""
    rows = np.unique(rows, axis=0)
    pairs, together = np.unique(rows[:, :2], axis=0, return_counts=True)  # m parts of a choice on a page
    each = untouched_share(experts[pairs[:, 1]], used[pairs[:, 1]], together)
    _, starts = np.unique(pairs[:, 0], return_index=True)
    found: Floats = np.multiply.reduceat(each, starts)
    return found


def untouched_share(experts: Floats, used: Floats, together: Ints) -> Floats:
    """C(E − m, k) / C(E, k): probability that none of m given parts is among the k of E that a token reads [1].

    As the product of (E − k − j) / (E − j) for j below m.
    """
    share = np.ones(np.shape(together))
    for number in range(int(np.max(together, initial=0))):
        left = np.maximum(experts - used - number, 0.0) / np.maximum(experts - number, 1.0)
        share = np.where(number < together, share * left, share)
    return share
