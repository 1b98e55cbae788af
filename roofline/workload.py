"""What is asked of the machine: a Step is any forward pass or run of passes, a Workload is a prompt and a generation.

Every figure may be a scalar or a numpy array; arrays broadcast against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

#: A float or an array of floats; formulas are written once and serve both.
Real: TypeAlias = float | NDArray[np.float64]

GLOBAL = float("inf")  # the window of attention without a window


@dataclass(frozen=True)
class Step:
    """`new` tokens in each of `batch` sequences, on top of `past` tokens in the KV cache.

    The tokens enter in passes of at most `limit` tokens: one read of the weights each. A prompt has `limit` = ubatch;
    generation has `limit` = batch, one token a sequence and pass. Nothing else tells prefill from decode.
    outputs: tokens of a sequence and pass whose logits are wanted [1]: the last one; none for embeddings, all of them
    to verify drafts.
    """

    batch: Real
    new: Real
    past: Real
    limit: Real
    outputs: Real = 1.0

    @cached_property
    def tokens(self) -> Real:
        """Tokens processed in all [1]."""
        return self.batch * self.new

    @cached_property
    def passes(self) -> Real:
        """Times the weights are read [1]."""
        # The margin keeps 512.0000001 / 512 one pass.
        return np.ceil(self.tokens / self.limit - 1e-9)

    @cached_property
    def columns(self) -> Real:
        """Tokens that share one read of the weights [1]."""
        # At least one of each, so that an array may hold points without tokens.
        return np.maximum(self.tokens, 1.0) / np.maximum(self.passes, 1.0)

    @cached_property
    def chunk(self) -> Real:
        """New tokens of one sequence in one pass [1]; at least one."""
        share: Real = np.maximum(np.minimum(self.new, self.limit / self.batch), 1.0)
        return share

    def attended(self, window: float = GLOBAL) -> Real:
        """Positions one new token attends to, itself included, averaged over the step [1].

        Token i of n sees min(past + i, window) positions, i = 1 … n: causal attention, with or without a window.
        """
        return mean_of_ramp(self.past, 1.0, self.new, window)

    def cached(self, window: float = GLOBAL) -> Real:
        """Positions of one sequence read from the KV cache in one pass, averaged over its passes [1].

        Pass j of n/c reads the min(past + j·c, window + c − 1) positions that its c new tokens see between them.
        """
        return mean_of_ramp(self.past, self.chunk, self.new / self.chunk, window + self.chunk - 1)


def mean_of_ramp(start: Real, slope: Real, n: Real, cap: Real) -> Real:
    """Mean of min(start + slope·i, cap) over i = 1 … n, in closed form.

    The first r = min(⌊(cap − start) / slope⌋, n) terms lie on the ramp (their sum is r·start + slope·r(r+1)/2), the
    others at the cap.
    """
    if isinstance(cap, float) and cap == GLOBAL:
        return start + slope * (n + 1) / 2
    below = (cap - start) / slope
    # The margin keeps 2.9999999 terms three; a fractional n has no floor.
    ramp = np.where(below >= n, n, np.maximum(np.floor(below + 1e-9), 0.0))
    flat = np.where(np.isfinite(cap), cap, 0.0)
    mean: Real = (ramp * start + slope * ramp * (ramp + 1) / 2 + (n - ramp) * flat) / np.maximum(n, 1.0)
    return mean


@dataclass(frozen=True, slots=True)
class Workload:
    """A prompt of `prompt` tokens and `gen` generated ones in each of `batch` sequences, after `depth` cached tokens.

    kv_types are the ggml types of the cached K and V rows. context: positions to reserve memory for; None is what the
    tokens need. ubatch and flash_attention are None where the runtime's default applies. repack: whether a CPU may keep
    weights a second time in the order that its kernels read.
    """

    prompt: Real = 512
    gen: Real = 128
    depth: Real = 0
    batch: Real = 1
    kv_types: tuple[str, str] = ("f16", "f16")
    context: int | None = None
    ubatch: int | None = None
    flash_attention: bool | None = None
    repack: bool = True

    def prefill(self, ubatch: int) -> Step:
        """The prompt, in passes of `ubatch` tokens."""
        return Step(self.batch, self.prompt, self.depth, ubatch)

    def decode(self, ubatch: int) -> Step:
        """The generation: one token a sequence and pass, after depth and prompt."""
        return Step(self.batch, self.gen, self.depth + self.prompt, np.minimum(self.batch, ubatch))

    @property
    def positions(self) -> Real:
        """KV-cache positions one sequence needs at the end [1]."""
        return self.depth + self.prompt + self.gen
