"""From operations and bytes to seconds: the formulas, for one machine and for machines side by side."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roofline.runtime import Constant, Engine, Use, Uses
from roofline.workload import Real

#: How sharply one core's share gives way to the socket's limit as threads are added (p-norm of the two).
THREAD_KNEE = 4.0


class Pace(NamedTuple):
    """What a kernel reaches on a machine: rate [FLOP/s], share of the sustained bandwidth, tokens of half the rate, and
    how sharply arithmetic and memory overlap; arrays for kernels side by side.
    """

    rate: Real
    stream: Real
    half: Real
    sharpness: Real


def collapsed(values: Sequence[Real]) -> Real:
    """Figures by type as an array; one number where all are equal, which is faster and the same."""
    return values[0] if all(value == values[0] for value in values) else np.array(values)


def placed(values: Real, places: NDArray[np.intp]) -> Real:
    """Figures by type at the places of operators; one number stays itself."""
    return values[places] if isinstance(values, np.ndarray) else values


def either(mask: NDArray[np.bool_], one: Real, other: Real) -> Real:
    """`one` where the mask is true, else `other`; one number where both are it."""
    if isinstance(one, float) and isinstance(other, float) and one == other:
        return one
    return np.where(mask, one, other)


class Timing(ABC):
    """What turns operations and bytes into seconds: of one machine, or of machines side by side (machines.Machines)."""

    @property
    @abstractmethod
    def engine(self) -> Engine:
        """The backend's constants."""

    @property
    @abstractmethod
    def sustained_bandwidth(self) -> Real:
        """What is read with all threads [B/s]."""

    @property
    @abstractmethod
    def activation_share(self) -> Real:
        """Rate at which activations move, as a share of the sustained bandwidth [1]."""

    @property
    @abstractmethod
    def node_seconds(self) -> Real:
        """Fixed cost of one graph node for single tokens [s]."""

    @property
    @abstractmethod
    def wide_node_seconds(self) -> Real:
        """The same for many tokens at once [s]."""

    @abstractmethod
    def pace(self, use: Use | Uses) -> Pace:
        """What the kernel for a use reaches; arrays along the first axis for uses side by side."""

    def times(
        self, use: Use | Uses, flops: Real, streamed: Real, activations: Real, columns: Real, width: Real
    ) -> tuple[Real, Real, Real]:
        """(compute seconds, memory seconds, sharpness of their overlap) of a product or an attention.

        streamed: bytes of weights or cache [B], read at the kernel's share of the sustained bandwidth. columns: tokens
        that meet one matrix. width: tokens at once, which tells few from many, per element where it is an array.
        """
        few = self.is_few(width)
        if isinstance(few, np.ndarray):
            narrow, wide = self.pace(use.where(few=True)), self.pace(use.where(few=False))
            pace = Pace(*(either(few, one, other) for one, other in zip(narrow, wide, strict=True)))
        else:
            pace = self.pace(use.where(few=few))
        compute = flops / pace.rate * saturation(columns, pace.half)
        memory = streamed / (pace.stream * self.sustained_bandwidth) + self.activation_time(activations)
        return compute, memory, pace.sharpness

    def is_few(self, width: Real) -> bool | NDArray[np.bool_]:
        """Whether so many tokens at once run in the kernels for few columns."""
        few = width <= self.engine.few_columns
        return few if isinstance(few, np.ndarray) else bool(few)

    def node_cost(self, width: Real) -> Real:
        """Fixed cost of one graph node with `width` tokens at once [s]; per element where it is an array."""
        few = self.is_few(width)
        if not isinstance(few, np.ndarray):
            return self.node_seconds if few else self.wide_node_seconds
        cost: Real = np.where(few, self.node_seconds, self.wide_node_seconds)
        return cost

    def activation_time(self, size: Real) -> Real:
        """Seconds to read and write `size` bytes of activations [s]; caches make it faster than memory."""
        return size / (self.activation_share * self.sustained_bandwidth)


# -- the formulas, for scalars and arrays alike -----------------------------------------------------------------------


def product(constants: Iterable[Constant]) -> float:
    """The constants multiplied [1]."""
    return math.prod(constant.value for constant in constants)


def saturation(columns: Real, half: Real) -> Real:
    """How much longer a product takes with few columns [1]: 1 + h/n, twice at the n = h of half the rate."""
    return 1 + half / columns


def thread_share(threads: Real, half: Real) -> Real:
    """Share of the cores' arithmetic that is left when threads wait for each other [1]: one half at `half` threads."""
    return 1 / (1 + (threads - 1) / half)


def socket_limit(share: Real, bandwidth: Real, sockets: Real, socket_share: Real) -> Real:
    """What the sockets sustain [B/s] of `bandwidth`, theirs together: several sustain `socket_share` of their sum."""
    return share * bandwidth * np.where(np.greater(sockets, 1), socket_share, 1.0)


def joint_limit(cores: Real, sockets: Real) -> Real:
    """The lower of two limits, rounded where they meet [B/s]: a p-norm with p = THREAD_KNEE."""
    return (cores**-THREAD_KNEE + sockets**-THREAD_KNEE) ** (-1 / THREAD_KNEE)


def barrier_seconds(base: Real, per_thread: Real, threads: Real) -> Real:
    """Cost of a graph node on a CPU [s]: base + per_thread · threads, nothing for one thread alone."""
    cost: Real = np.where(np.equal(threads, 1), 0.0, base + per_thread * threads)
    return cost
