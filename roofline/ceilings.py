"""The roofline itself: two ceilings and what they allow.

Williams, Waterman & Patterson 2009, doi 10.1145/1498765.1498785.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from roofline.workload import Real

Bound = Literal["compute", "memory", "overhead", "link", "disk"]


@dataclass(frozen=True, slots=True)
class Ceilings:
    """peak [FLOP/s] of one arithmetic path and bandwidth [B/s] of one memory level."""

    peak: Real
    bandwidth: Real

    @property
    def ridge_point(self) -> Real:
        """Intensity at which both ceilings meet [FLOP/B]; below it memory binds, above it compute."""
        return self.peak / self.bandwidth

    def attainable(self, intensity: Real) -> Real:
        """min(peak, bandwidth · intensity) [FLOP/s] (the paper's equation on page 67)."""
        return np.minimum(self.peak, self.bandwidth * intensity)

    def compute_time(self, flops: Real) -> Real:
        """Time for `flops` at the peak [s]."""
        return flops / self.peak

    def memory_time(self, size: Real) -> Real:
        """Time to move `size` bytes at the bandwidth [s]."""
        return size / self.bandwidth

    def time(self, flops: Real, size: Real, sharpness: Real = float("inf")) -> Real:
        """Time of an operator of `flops` FLOP and `size` bytes [s]."""
        return overlap(self.compute_time(flops), self.memory_time(size), sharpness)


def overlap(compute: Real, memory: Real, sharpness: Real) -> Real:
    """Time of an operator whose two parts alone take `compute` and `memory` [s]: (cᵖ + mᵖ)^(1/p).

    sharpness p is a fact of the kernel: ∞ overlaps the two perfectly (the roofline's maximum), 1 runs them one after
    the other (their sum); between the two, the ceilings' corner is rounded.
    """
    if isinstance(sharpness, np.ndarray):
        finite = np.where(np.isinf(sharpness), 1.0, sharpness)
        rounded = (compute**finite + memory**finite) ** (1.0 / finite)
        return np.where(np.isinf(sharpness), np.maximum(compute, memory), rounded)
    if sharpness == float("inf"):
        return np.maximum(compute, memory)
    if sharpness == 1.0:
        return compute + memory
    return (compute**sharpness + memory**sharpness) ** (1.0 / sharpness)


ISSUE_SHARPNESS = 2.0  # between instructions that wait for each other (1) and perfect dual issue (inf); not fitted


def issue_rate(own: Real, peak: Real) -> Real:
    """Rate of a CPU kernel [FLOP/s] that its own instructions would let run at `own`, on units that reach `peak`.

    Unpacking and scaling share the core's issue slots with the multiplications, so a kernel nears the peak without
    reaching it; far below it, `own` remains. peak: infinite where unknown.
    """
    return 1.0 / overlap(1.0 / own, 1.0 / peak, ISSUE_SHARPNESS)


def memory_share(compute: Real, memory: Real, sharpness: Real) -> Real:
    """Share of `overlap`'s time that is due to memory [1]: mᵖ / (cᵖ + mᵖ), which is 0 or 1 for p = ∞."""
    if not isinstance(sharpness, np.ndarray):
        if sharpness == float("inf"):
            return np.where(memory >= compute, 1.0, 0.0)
        over, under = (memory, compute) if sharpness == 1.0 else (memory**sharpness, compute**sharpness)
        together = over + under
        share: Real = over / np.where(together > 0, together, 1.0)
        return share
    hard = np.where(memory >= compute, 1.0, 0.0)
    finite = np.where(np.isinf(sharpness), 1.0, sharpness)
    total = compute**finite + memory**finite
    soft = memory**finite / np.where(total > 0, total, 1.0)
    return np.where(np.isinf(sharpness), hard, soft)
