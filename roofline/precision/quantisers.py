"""What each weight type does to a block: its levels, its size, and how it finds and stores the scale.

Read from quantize_row_*_ref and quantize_row_*_impl of ggml/src/ggml-quants.c in llama.cpp (the tree that
llama-cpp-python 0.3.36 carries), and kvalues_* of ggml-common.h. A weight is a level times the block's scale d,
with rule 'range' above the block's minimum:

    extreme   d = m / |levels[0]|; m, the largest magnitude of the block, is put on levels[0], whatever its sign
    range     d = (max − min) / (levels − 1)
    mean      d = mean |w|, and a weight is its sign
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Rule = Literal["extreme", "range", "mean"]
Scale = Literal["fp16", "fp32", "e8m0", "ue4m3"]


@dataclass(frozen=True, slots=True)
class Quantiser:
    """The scalar quantiser of one type.

    name: of the type.
    weights: that share a scale [1].
    levels: what a code stands for, ascending, in units of the scale.
    rule: how the scale is found, see above.
    scale: the format that it is stored in; with 'e8m0' and 'ue4m3' weights are rounded with what was stored.
    sub_blocks: in a super-block, whose fp16 scale the sub-blocks' scales are integers of; 0 where there is none.
    scale_steps: the largest such integer [1].
    signed_scale: whether these integers can be negative; then the largest magnitude becomes −scale_steps.
    searched: llama.cpp tries several scales for the least error, so that the rule is where it starts.
    """

    name: str
    weights: int
    levels: tuple[float, ...]
    rule: Rule = "extreme"
    scale: Scale = "fp16"
    sub_blocks: int = 0
    scale_steps: int = 0
    signed_scale: bool = False
    searched: bool = False

    @property
    def even(self) -> bool:
        """Whether all levels are one step apart."""
        return all(high - low == 1.0 for low, high in pairwise(self.levels))


def _span(low: int, high: int) -> tuple[float, ...]:
    return tuple(float(level) for level in range(low, high + 1))


_E2M1 = (-6.0, -4.0, -3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
#: kvalues_iq4nl
_IQ4 = tuple(map(float, (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)))

QUANTISERS = {
    known.name: known
    for known in (
        Quantiser("q8_0", 32, _span(-127, 127)),
        Quantiser("q8_1", 32, _span(-127, 127)),
        Quantiser("q8_k", 256, _span(-127, 127), scale="fp32"),
        Quantiser("q5_0", 32, _span(-16, 15)),
        Quantiser("q4_0", 32, _span(-8, 7)),
        Quantiser("q5_1", 32, _span(0, 31), rule="range"),
        Quantiser("q4_1", 32, _span(0, 15), rule="range"),
        Quantiser("q2_0", 64, _span(-1, 1)),  # stores 2, too, which its rule never reaches
        Quantiser("q1_0", 128, (-1.0, 1.0), rule="mean"),
        Quantiser("tq2_0", 256, _span(-1, 1)),
        Quantiser("tq1_0", 256, _span(-1, 1)),
        Quantiser("mxfp4", 32, _E2M1, scale="e8m0"),
        Quantiser("nvfp4", 16, _E2M1, scale="ue4m3"),
        Quantiser("iq4_nl", 32, _IQ4, searched=True),
        Quantiser("iq4_xs", 32, _IQ4, sub_blocks=8, scale_steps=32, signed_scale=True, searched=True),
        Quantiser("q6_k", 16, _span(-32, 31), sub_blocks=16, scale_steps=128, signed_scale=True, searched=True),
        Quantiser("q5_k", 32, _span(0, 31), rule="range", sub_blocks=8, scale_steps=63, searched=True),
        Quantiser("q4_k", 32, _span(0, 15), rule="range", sub_blocks=8, scale_steps=63, searched=True),
        Quantiser("q3_k", 16, _span(-4, 3), sub_blocks=16, scale_steps=32, signed_scale=True, searched=True),
        Quantiser("q2_k", 16, _span(0, 3), rule="range", sub_blocks=16, scale_steps=15, searched=True),
    )
}
