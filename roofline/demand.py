"""What an operator asks for: operations and elements moved, before anybody knows bytes or seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from roofline.workload import Real, Step

#: matmul: weights × activations. attention: queries × cache. scan: a recurrence over a state.
#: elementwise: norms, rotations, activations, residual sums. lookup: rows fetched from a table.
Kind = Literal["matmul", "attention", "scan", "elementwise", "lookup"]


@dataclass(frozen=True, slots=True)
class Demand:
    """One operator of one layer over a whole Step: FLOPs and elements, never bytes.

    operator: its name; for a matmul the role of its weight tensor ('attn_q', 'ffn_down_exps').
    flops: [FLOP], a multiply-add is 2.
    weights: elements read of the weight tensor, all passes together [1].
    kv_read, kv_written: elements of the KV cache [1]. state: elements of a recurrent state, read or written [1].
    activations: elements read and written between operators [1].
    nodes: graph nodes per pass: kernels launched, or barriers passed [1].
    columns: tokens that meet one matrix, or one sequence's cache, in a pass [1]. routed: whether experts are chosen.
    """

    operator: str
    kind: Kind
    flops: Real
    weights: Real = 0.0
    kv_read: Real = 0.0
    kv_written: Real = 0.0
    state: Real = 0.0
    activations: Real = 0.0
    nodes: Real = 1.0
    columns: Real = 1.0
    routed: bool = False


def matmul(step: Step, operator: str, columns: int, rows: int) -> Demand:
    """A weight matrix (`columns` inputs, `rows` outputs) times the step's tokens: 2·rows·columns FLOP a token."""
    size = float(columns * rows)
    return Demand(
        operator,
        "matmul",
        2 * size * step.tokens,
        size * step.passes,
        activations=(columns + rows) * step.tokens,
        columns=step.columns,
    )


def expert_matmul(step: Step, operator: str, columns: int, rows: int, experts: int, active: int) -> Demand:
    """The same for `active` of `experts` matrices a token; a pass reads the distinct experts its tokens touch."""
    size = float(columns * rows)
    touched = distinct_experts(experts, active, step.columns)
    return Demand(
        operator,
        "matmul",
        2 * size * active * step.tokens,
        size * touched * step.passes,
        activations=(columns + rows) * active * step.tokens,
        columns=step.columns * active / touched,
        routed=active < experts,
    )


def distinct_experts(experts: int, active: int, tokens: Real) -> Real:
    """Expected number of different experts that `tokens` tokens use, `active` of `experts` each, routed uniformly.

    E(1 − (1 − k/E)ⁿ): an expert stays cold with probability 1 − k/E a token. Dense is one expert of one.
    """
    return experts * (1 - (1 - active / experts) ** tokens)


def attention(
    step: Step, heads: int, kv_elements: float, score_width: int, value_width: int, window: float, nodes: float = 4.0
) -> Demand:
    """Scores and weighted sum over the cache: 2·heads·(score_width + value_width) FLOP a token and position.

    kv_elements: elements that one position stores [1]. nodes: Q·K, softmax, ·V and the copy that joins the heads.
    """
    positions = step.attended(window)
    return Demand(
        "attention",
        "attention",
        2.0 * heads * (score_width + value_width) * step.tokens * positions,
        kv_read=kv_elements * step.cached(window) * step.batch * (step.new / step.chunk),
        kv_written=kv_elements * step.tokens,
        activations=heads * (score_width + value_width) * step.tokens,
        nodes=nodes,
        columns=step.chunk,
    )


def elementwise(step: Step, elements: float, nodes: float, operator: str, vectors: float = 0.0) -> Demand:
    """Norms, rotations, gates and sums: `elements` read and written a token, about one FLOP each.

    vectors: elements of the scales and biases that a pass reads [1].
    """
    moved = elements * step.tokens
    return Demand(operator, "elementwise", moved, weights=vectors * step.passes, activations=moved, nodes=nodes)
