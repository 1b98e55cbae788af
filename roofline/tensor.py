"""One stored weight tensor: the unit in which models are counted and files are sized."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tensor:
    """A weight tensor as a GGUF file names and lays it out.

    name: GGUF name ('blk.3.attn_v.weight', 'token_embd.weight').
    role: the name without block index and suffix ('attn_v', 'token_embd', 'output', 'ffn_down_exps', 'attn_norm').
    layer: block index, or None outside the blocks.
    shape: ggml order: (columns = input width, rows = output width[, experts]).
    """

    name: str
    role: str
    layer: int | None
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Number of weights [1]."""
        return math.prod(self.shape)
