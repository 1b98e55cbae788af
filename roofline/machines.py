"""Machines side by side under one engine, so that one evaluation of the formulas serves them all.

Every figure of the machines that a formula asks for is an array along the first axis, before that of the operators (or
quantisations) and those of the workload; what all have in common stays a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.machine import Machine
from roofline.runtime import Engine, Runtime, Use, Uses
from roofline.stack import AXES
from roofline.timing import Pace, Timing
from roofline.workload import Real


class Machines(Timing):
    """Single devices, or processors, that share a runtime's engine object."""

    split = "layer"
    count = 1

    def __init__(self, machines: Sequence[Machine]) -> None:
        self.machines = tuple(machines)
        first = self.machines[0]
        self.runtime: Runtime = first.runtime
        self._engine = first.engine
        self._paces: dict[tuple[Use, tuple[str, ...]], NDArray[np.float64]] = {}  # (machines, types, figures of a Pace)
        self._peaks: dict[tuple[str, ...], NDArray[np.float64]] = {}  # (machines, types)
        if any(one.engine is not first.engine or one.count > 1 or one.split != "layer" for one in self.machines):
            raise ValueError("expected single devices under one engine")

    @property
    def engine(self) -> Engine:
        """The backend's constants."""
        return self._engine

    def _each(self, name: str) -> Real:
        return along([getattr(one, name) for one in self.machines])

    @cached_property
    def sustained_bandwidth(self) -> Real:
        """What each reads with its threads [B/s]."""
        return self._each("sustained_bandwidth")

    @cached_property
    def theoretical_bandwidth(self) -> Real:
        """Ceilings of the memories [B/s]."""
        return self._each("theoretical_bandwidth")

    @cached_property
    def activation_share(self) -> Real:
        """Rates at which activations move, as shares of the sustained bandwidths [1]."""
        return self._each("activation_share")

    @cached_property
    def node_seconds(self) -> Real:
        """Fixed costs of one graph node for single tokens [s]."""
        return self._each("node_seconds")

    @cached_property
    def wide_node_seconds(self) -> Real:
        """The same for many tokens at once [s]."""
        return self._each("wide_node_seconds")

    def pace(self, use: Use | Uses) -> Pace:
        """What the kernels for a use reach on each machine, (machines, operators, 1, 1, 1, 1)."""
        if isinstance(use, Uses):
            key = (use.common, use.types)
            if key not in self._paces:
                each = [[one.pace(use.common._replace(type=name)) for name in use.types] for one in self.machines]
                self._paces[key] = np.array(each, dtype=float)
            return Pace(*(_spread(self._paces[key][:, :, at], use) for at in range(len(Pace._fields))))
        paces = [one.pace(use) for one in self.machines]
        return Pace(*(along(figures) for figures in zip(*paces, strict=True)))

    def light_rate(self, use: Use | Uses) -> Real:
        """The best peaks that could serve a use on each machine [FLOP/s]."""
        if isinstance(use, Uses):
            if use.types not in self._peaks:
                each = [[one.ceiling(name).peak for name in use.types] for one in self.machines]
                self._peaks[use.types] = np.array(each)
            return _spread(self._peaks[use.types], use)
        return along([one.light_rate(use) for one in self.machines])


def along(values: Sequence[Any]) -> Real:
    """Figures of machines, (machines, 1, 1, 1, 1, 1); one number where all are equal, which is faster and the same."""
    if all(value == values[0] for value in values):
        return float(values[0])
    return np.array(values, dtype=float).reshape(-1, *[1] * (AXES + 1))


def _spread(table: NDArray[np.float64], use: Uses) -> Real:
    """Figures by machine and type, for every operator: (machines, operators, 1, 1, 1, 1)."""
    if (table == table[0, 0]).all():
        return float(table[0, 0])
    return table[:, use.places.ravel()].reshape(len(table), -1, *[1] * AXES)
