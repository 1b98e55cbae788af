"""A request cut into pieces of bounded size, always the same ones: a piece is done as a whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import NamedTuple

from roofline.sweep.request import Request

#: Points of a partition, about: large enough that a model's demands are worked out once for a whole catalog, small
#: enough that a few in flight stay below the memory's bound.
POINTS = 2**20


class Partition(NamedTuple):
    """A model on some devices under one setting, over a part of the numeric axes."""

    number: int
    model: str
    hardware: tuple[str, ...]
    quants: tuple[str, ...]
    runtime: str
    backend: str | None
    kv: str
    threads: int | None
    ubatch: int | None
    axes: tuple[tuple[int, ...], ...]

    @property
    def points(self) -> int:
        """Points, if all of them can be predicted [1]."""
        return len(self.hardware) * len(self.quants) * prod(len(values) for values in self.axes)


def partitions(request: Request, points: int = POINTS) -> Iterator[Partition]:
    """The pieces of a request in order: by model first, whose demands are then worked out once for all devices."""
    number = 0
    settings = (request.models, request.runtimes, request.backends, request.kv, request.threads, request.ubatches)
    slabs = list(_slabs((request.prompts, request.gens, request.depths, request.batches), points))
    for (model, runtime, backend, kv, threads, ubatch), axes in product(product(*settings), slabs):
        slab = prod(len(values) for values in axes)
        for quants in _pieces(request.quants, max(points // slab, 1)):
            for hardware in _pieces(request.hardware, max(points // (slab * len(quants)), 1)):
                yield Partition(number, model, hardware, quants, runtime, backend, kv, threads, ubatch, axes)
                number += 1


def _pieces(values: tuple[str, ...], size: int) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _slabs(axes: tuple[tuple[int, ...], ...], points: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    """The axes, the longest one halved until their product is bounded."""
    if prod(len(values) for values in axes) <= points:
        yield axes
        return
    longest = max(range(len(axes)), key=lambda place: len(axes[place]))
    values = axes[longest]
    middle = len(values) // 2
    for half in (values[:middle], values[middle:]):
        yield from _slabs((*axes[:longest], half, *axes[longest + 1 :]), points)
