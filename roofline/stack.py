"""Many quantisations of a model side by side, so that one evaluation of the formulas serves them all.

An operator costs as much in every quantisation that stores it alike, and every cost grows linearly with the layers. So
each operator is worked out once for each form in which any of the quantisations stores it, all of them along a first
axis, and the costs of a quantisation are a matrix product: layers of each form × cost of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from roofline.demand import Demand
from roofline.model import Model
from roofline.weights import Weights
from roofline.workload import Real, Step

#: Axes of a workload's arrays: prompt, gen, depth, batch. Stacked figures have one more before them.
AXES = 4
_FIGURES = ("flops", "weights", "kv_read", "kv_written", "state", "activations", "nodes", "columns")
_MOST_STEPS = 8  # whose demands are remembered: prefill and decode, with a few lengths of pass
_Key: TypeAlias = tuple[tuple[tuple[int, ...], bytes], ...]


@dataclass(frozen=True)
class Stack:
    """Operators of one kind side by side, a layer of each; it takes the place of a Share where costs are worked out.

    demand: its figures have the operators along the first axis. groups: of layers, by operator. types[index]: how each
    is stored. bytes_per_element: likewise, (operators, 1, 1, 1, 1) [B]. counts: layers by quantisation and operator;
    one row where all quantisations are alike. known: what the calculator has worked out of it for any machine.
    """

    demand: Demand
    groups: tuple[str, ...]
    types: tuple[str, ...]
    index: NDArray[np.intp]
    bytes_per_element: NDArray[np.float64]
    counts: NDArray[np.float64]
    layers: float = 1.0
    type: str = "f32"
    known: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def only(self, quants: NDArray[np.intp]) -> Stack:
        """The stack with some of the quantisations, by place."""
        return self if len(self.counts) == 1 else replace(self, counts=self.counts[quants], known={})

    def by_group(self, values: Mapping[str, float], default: float) -> NDArray[np.float64]:
        """A figure of each group of layers, along the first axis."""
        return _along_first([values.get(group, default) for group in self.groups])

    @cached_property
    def all_layers(self) -> NDArray[np.float64]:
        """Layers of all operators together, (quantisations, 1, 1, 1, 1)."""
        return _along_first(self.counts.sum(axis=1))

    def totals(self, figures: Sequence[Real]) -> list[Real]:
        """Each figure (operators, …) summed over the layers of every quantisation: (quantisations, …).

        Of machines side by side (machines, operators, …) becomes (machines, quantisations, …).
        """
        operators = len(self.groups)
        found: list[Real] = []
        waiting: dict[tuple[int, ...], dict[int, NDArray[np.float64]]] = {}  # by the axes before the operators'
        for place, value in enumerate(figures):
            if isinstance(value, np.ndarray) and value.ndim > AXES and value.shape[-AXES - 1] == operators:
                waiting.setdefault(value.shape[: -AXES - 1], {})[place] = value
                found.append(value)
            else:  # the same for each operator
                alike = not isinstance(value, np.ndarray) and value == 0.0
                found.append(0.0 if alike else self.all_layers * value)
        for before, members in waiting.items():  # one product for all of them
            flat = [value.reshape(*before, operators, -1) for value in members.values()]
            summed = self.counts @ np.concatenate(flat, axis=-1)
            start = 0
            for (place, value), one in zip(members.items(), flat, strict=True):
                stop = start + one.shape[-1]
                found[place] = summed[..., start:stop].reshape(*before, -1, *value.shape[-AXES:])
                start = stop
        return found


@dataclass(frozen=True)
class WeightStack:
    """The stored forms of one model in several quantisations. part_of: the stack that it was taken from,
    and where. serial: a number of its own. known: what others have worked out of it and want to keep.
    """

    model: Model
    weights: tuple[Weights, ...]
    part_of: tuple[WeightStack, NDArray[np.intp]] | None = field(default=None, repr=False, compare=False)
    serial: int = field(default_factory=count().__next__, init=False, repr=False, compare=False)
    known: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    _parts: dict[bytes, WeightStack] = field(default_factory=dict, init=False, repr=False, compare=False)
    _known: dict[_Key, tuple[Stack, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a figure with one value for each quantisation: (quantisations, 1, 1, 1, 1)."""
        return (len(self.weights), *[1] * AXES)

    def only(self, quants: NDArray[np.intp]) -> WeightStack:
        """Some of the quantisations, by place; what is known of their operators is kept."""
        if len(quants) == len(self.weights):
            return self
        key = quants.tobytes()
        if key not in self._parts:
            self._parts[key] = WeightStack(self.model, tuple(self.weights[place] for place in quants), (self, quants))
        return self._parts[key]

    def stacks(self, step: Step) -> tuple[Stack, ...]:
        """The operators of a step: products, experts' products, attention, and all others."""
        key = tuple((np.shape(one), np.asarray(one).tobytes()) for one in (step.batch, step.new, step.past, step.limit))
        if key not in self._known:
            if len(self._known) >= _MOST_STEPS:
                self._known.clear()
            if self.part_of is None:
                self._known[key] = self._stacks(step)
            else:
                whole, quants = self.part_of
                self._known[key] = tuple(one.only(quants) for one in whole.stacks(step))
        return self._known[key]

    def _stacks(self, step: Step) -> tuple[Stack, ...]:
        kinds: dict[tuple[str, bool], list[tuple[str, int, Demand]]] = {}
        for group, layers, demand in self.model.demands(step):
            kind = demand.kind if demand.kind in ("matmul", "attention") else "elementwise"
            kinds.setdefault((kind, demand.routed), []).append((group, layers, demand))
        # Attention last: only its figures have all axes, and sums stay small until it is added.
        ordered = sorted(kinds.items(), key=lambda item: item[0][0] == "attention")
        return tuple(self._stack(members) for _, members in ordered)

    def _stack(self, members: Sequence[tuple[str, int, Demand]]) -> Stack:
        """One stack of operators of a kind: a row for each form in which any quantisation stores any of them."""
        rows: dict[tuple[int, str, float], NDArray[np.float64]] = {}
        for place, (group, layers, demand) in enumerate(members):
            for quant, weights in enumerate(self.weights):
                for share in weights.shares_of(group, demand.operator, layers):
                    form = (place, share.type, share.bytes_per_element)
                    rows.setdefault(form, np.zeros(len(self.weights)))[quant] += share.layers
        counts = np.stack(list(rows.values()), axis=1)
        if (counts == counts[0]).all():
            counts = counts[:1]
        types = tuple(dict.fromkeys(name for _, name, _ in rows))
        demands = [members[place][2] for place, _, _ in rows]
        figures: dict[str, Any] = {name: _side_by_side([getattr(one, name) for one in demands]) for name in _FIGURES}
        first = demands[0]
        kind = first.kind if first.kind in ("matmul", "attention") else "elementwise"
        return Stack(
            demand=Demand(kind, kind, routed=first.routed, **figures),
            groups=tuple(members[place][0] for place, _, _ in rows),
            types=types,
            index=np.array([types.index(name) for _, name, _ in rows]).reshape(-1, *[1] * AXES),
            bytes_per_element=_along_first([size for _, _, size in rows]),
            counts=counts,
        )


def _along_first(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array(values, dtype=float).reshape(-1, *[1] * AXES)


def _side_by_side(values: Sequence[Real]) -> Real:
    """Figures of several operators as one array; one number where all are the same number."""
    if all(isinstance(value, (int, float)) and value == values[0] for value in values):
        return float(values[0])
    if all(isinstance(value, (int, float)) for value in values):
        return _along_first(values)  # type: ignore[arg-type]
    shape = np.broadcast_shapes(*(np.shape(value) for value in values))
    shape = (1,) * (AXES - len(shape)) + shape
    return np.stack([np.broadcast_to(value, shape) for value in values])
