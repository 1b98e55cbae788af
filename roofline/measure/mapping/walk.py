"""Which bytes of a file one token needs, and reading them.

The tensors come in the order of the file, which is nearly the order of a pass. The token is one row of an untied
embedding, and each layer's router is stood in for by k of its E experts; both are drawn with a seed.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:  # the process that maps starts without it, in half the time
    from roofline.paging import FileLayout

Run: TypeAlias = tuple[int, int]  # begin and end in the file [B]
WORD = 8  # bytes added at a time


def runs_of_token(layout: FileLayout, seed: int = 0) -> list[Run]:
    """The bytes that a token reads, as runs in the order of the file; those that touch each other are joined."""
    random = np.random.default_rng(seed)
    drawn: dict[str, set[int]] = {}
    found: list[Run] = []
    for span in layout.spans:
        if not span.used or not span.size:
            continue
        if span.used == span.of_parts:
            _join(found, span.begin, span.end)
            continue
        if span.choice not in drawn:
            drawn[span.choice] = set(random.choice(span.of_parts, span.used, replace=False).tolist())
        for part in range(span.parts):
            if span.first_part + part in drawn[span.choice]:
                _join(
                    found,
                    span.begin + part * span.size // span.parts,
                    span.begin + (part + 1) * span.size // span.parts,
                )
    return found


def _join(runs: list[Run], begin: int, end: int) -> None:
    if runs and runs[-1][1] == begin:
        runs[-1] = runs[-1][0], end
    else:
        runs.append((begin, end))


def halves(runs: Sequence[Run], page: int) -> tuple[list[Run], list[Run]]:
    """The runs in two parts of about equal bytes, cut at the end of a page, so that no page is in both for the cut."""
    left = total(runs) // 2
    first: list[Run] = []
    for place, (begin, end) in enumerate(runs):
        if end - begin < left:
            first.append((begin, end))
            left -= end - begin
            continue
        cut = min(-(-(begin + left) // page) * page, end)
        rest = [(cut, end)] if cut < end else []
        return [*first, (begin, cut)], [*rest, *runs[place + 1 :]]
    return first, []


def total(runs: Sequence[Run]) -> int:
    """Bytes of runs together [B]."""
    return sum(end - begin for begin, end in runs)


def pages_of(runs: Sequence[Run], page: int) -> int:
    """Different pages that runs in rising order lie on [1]."""
    count, last = 0, -1
    for begin, end in runs:
        first = max(begin // page, last + 1)
        final = (end - 1) // page
        count += max(final - first + 1, 0)
        last = max(last, final)
    return count


def read(mapping: mmap.mmap, runs: Sequence[Run]) -> int:
    """Add up every byte of the runs, in words; returns the sum, so that nothing can be left out."""
    found = 0
    for begin, end in runs:
        inner, words = -(-begin // WORD) * WORD, max((end - -(-begin // WORD) * WORD) // WORD, 0)
        behind = min(inner, end)
        found += sum(mapping[begin:behind])
        found += int(np.frombuffer(mapping, dtype=np.uint64, count=words, offset=inner).sum()) if words else 0
        found += sum(mapping[max(inner + words * WORD, behind) : end])
    return found & 0xFFFFFFFFFFFFFFFF
