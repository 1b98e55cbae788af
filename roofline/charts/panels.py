"""Where several panels of one chart stand: small multiples in columns, or one below the other."""

from __future__ import annotations

from dataclasses import dataclass

Share = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a panel as shares of the width and the height, from the left and from below [1].

    is_left, is_lowest: whether it stands in the first column, and below no other.
    """

    x: Share
    y: Share
    is_left: bool
    is_lowest: bool


def places(count: int, columns: int, gap: float) -> list[Place]:
    """The places of `count` panels in rows from the top. gap: between rows, as a share of a panel's height [1]."""
    rows = -(-count // columns)
    found = []
    for index in range(count):
        row, column = divmod(index, columns)
        lowest = index + columns >= count
        found.append(Place(_part(column, columns, 0.1), _part(rows - 1 - row, rows, gap), column == 0, lowest))
    return found


def _part(place: int, count: int, gap: float) -> Share:
    """One of `count` equal parts with gaps between them, as a share of the whole [1]."""
    size = 1 / (count + gap * (count - 1))
    start = place * size * (1 + gap)
    return start, min(start + size, 1.0)
