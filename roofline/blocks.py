"""The building blocks of a transformer: each a shape, its weight matrices, and its demands, side by side.

One formula serves every variant: multi-head attention is kv_heads = heads, multi-query attention is kv_heads = 1,
global attention has an infinite window, a dense MLP is one expert of one, no gate is two matrices instead of three.
A class of its own exists only where the equations differ: latent attention and the two kinds of recurrence.

Tensor roles are those of GGUF files (llama.cpp, gguf-py/gguf/constants.py, MODEL_TENSOR_NAMES).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, model_validator

from roofline import demand
from roofline.demand import Demand
from roofline.spec import NonNegativeInt, PositiveInt, Spec
from roofline.workload import GLOBAL, Step


@dataclass(frozen=True, slots=True)
class Matrix:
    """One weight matrix of a layer: `columns` inputs, `rows` outputs, in `copies` of which a token uses `active`."""

    role: str
    columns: int
    rows: int
    copies: int = 1
    active: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in ggml order: columns, rows[, copies]."""
        return (self.columns, self.rows) if self.copies == 1 else (self.columns, self.rows, self.copies)

    def demand(self, step: Step) -> Demand:
        """The multiplication of the step's tokens by this matrix."""
        if self.copies == 1:
            return demand.matmul(step, self.role, self.columns, self.rows)
        return demand.expert_matmul(step, self.role, self.columns, self.rows, self.copies, self.active)


class Attention(Spec):
    """Softmax attention with grouped keys and values (Vaswani 2017; Ainslie 2023 for kv_heads < heads).

    window: positions a token sees, itself included; none is global. fused: Q, K and V stored as one matrix.
    qk_norm: a norm per head ('head') or over all heads ('full'). gated: the query projection also makes an output gate.
    shared_kv: keys serve as values, so that there is no V matrix; one_row: not even a V row in the cache.
    q_rank: queries pass through a latent of this width. output_rank: so does the output, `output_groups` groups of
    heads each on their own (both DeepSeek-V4). sinks: one learned score a head. biases as named.
    """

    heads: PositiveInt
    kv_heads: PositiveInt
    head_dim: PositiveInt
    window: PositiveInt | None = None
    fused: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: Literal["none", "head", "full"] = "none"
    gated: bool = False
    shared_kv: bool = False
    one_row: bool = False
    q_rank: PositiveInt | None = None
    output_rank: PositiveInt | None = None
    output_groups: PositiveInt = 1
    sinks: bool = False

    @property
    def kv_elements(self) -> tuple[int, int]:
        """Elements of the K row and of the V row that one position stores [1]."""
        row = self.kv_heads * self.head_dim
        return row, 0 if self.one_row else row

    @property
    def reach(self) -> float:
        """The window as a number of positions [1]; infinite when global."""
        return float(self.window) if self.window else GLOBAL

    @property
    def _query_rows(self) -> int:
        return self.heads * self.head_dim * (2 if self.gated else 1)

    def matrices(self, hidden: int) -> Iterator[Matrix]:
        """Projections of queries, keys, values and output."""
        kv_rows = self.kv_heads * self.head_dim
        if self.fused:
            yield Matrix("attn_qkv", hidden, self._query_rows + 2 * kv_rows)
        else:
            if self.q_rank is None:
                yield Matrix("attn_q", hidden, self._query_rows)
            else:
                yield Matrix("attn_q_a", hidden, self.q_rank)
                yield Matrix("attn_q_b", self.q_rank, self._query_rows)
            yield Matrix("attn_k", hidden, kv_rows)
            if not self.shared_kv:
                yield Matrix("attn_v", hidden, kv_rows)
        output_columns = self.heads * self.head_dim
        if self.output_rank is None:
            yield Matrix("attn_output", output_columns, hidden)
        else:
            groups = self.output_groups
            yield Matrix("attn_output_a", output_columns // groups, self.output_rank, groups, groups)
            yield Matrix("attn_output_b", groups * self.output_rank, hidden)

    def vectors(self, hidden: int) -> Iterator[tuple[str, int]]:
        """Biases, norms and sinks."""
        if self.qkv_bias:
            yield "attn_qkv_bias", self._query_rows + 2 * self.kv_heads * self.head_dim
        if self.output_bias:
            yield "attn_output_bias", hidden
        if self.q_rank is not None:
            yield "attn_q_a_norm", self.q_rank
        if self.qk_norm == "head":
            yield "attn_qk_norm", 2 * self.head_dim
        if self.qk_norm == "full":
            yield "attn_qk_norm", (self.heads + self.kv_heads) * self.head_dim
        if self.sinks:
            yield "attn_sinks", self.heads

    def demands(self, step: Step, hidden: int) -> Iterator[Demand]:
        """The projections, the attention itself, and the small operators around it."""
        yield from (matrix.demand(step) for matrix in self.matrices(hidden))
        yield demand.attention(step, self.heads, sum(self.kv_elements), self.head_dim, self.head_dim, self.reach)
        # Rotation of Q and K, their copies into the cache, and a norm of each where there is one.
        rows = (self.heads + 2 * self.kv_heads) * self.head_dim
        yield demand.elementwise(step, 2 * rows, 4 + (4 if self.qk_norm != "none" else 0), "rope")


class LatentAttention(Spec):
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, equations 9 to 19), in its absorbed form.

    Keys and values of all heads are one vector of kv_rank + rope elements; k_b and v_b are applied to the query and to
    the result, so that scores are kv_rank + rope wide and values kv_rank wide (llama.cpp, src/models/deepseek2.cpp).
    """

    heads: PositiveInt
    q_rank: PositiveInt | None = None
    kv_rank: PositiveInt
    nope: PositiveInt
    rope: PositiveInt
    value: PositiveInt

    @property
    def kv_heads(self) -> int:
        """All heads share the one cached vector."""
        return 1

    @property
    def kv_elements(self) -> tuple[int, int]:
        """Only the K row is stored; values are its first kv_rank elements [1]."""
        return self.kv_rank + self.rope, 0

    @property
    def reach(self) -> float:
        """Global [1]."""
        return GLOBAL

    def matrices(self, hidden: int) -> Iterator[Matrix]:
        """Down- and up-projections of the query, the joint one of keys and values, and the output."""
        query_rows = self.heads * (self.nope + self.rope)
        if self.q_rank is None:
            yield Matrix("attn_q", hidden, query_rows)
        else:
            yield Matrix("attn_q_a", hidden, self.q_rank)
            yield Matrix("attn_q_b", self.q_rank, query_rows)
        yield Matrix("attn_kv_a_mqa", hidden, self.kv_rank + self.rope)
        yield Matrix("attn_k_b", self.nope, self.kv_rank, self.heads, self.heads)
        yield Matrix("attn_v_b", self.kv_rank, self.value, self.heads, self.heads)
        yield Matrix("attn_output", self.heads * self.value, hidden)

    def vectors(self, hidden: int) -> Iterator[tuple[str, int]]:
        """Norms of the two latents."""
        if self.q_rank is not None:
            yield "attn_q_a_norm", self.q_rank
        yield "attn_kv_a_norm", self.kv_rank

    def demands(self, step: Step, hidden: int) -> Iterator[Demand]:
        """The projections, the attention over the latent, and the small operators around it."""
        yield from (matrix.demand(step) for matrix in self.matrices(hidden))
        width = self.kv_rank + self.rope
        yield demand.attention(step, self.heads, width, width, self.kv_rank, GLOBAL)
        yield demand.elementwise(step, 2 * (self.heads * (self.nope + self.rope) + width), 10, "rope")


class StateSpace(Spec):
    """Mamba-2 (Dao & Gu 2024, arXiv 2405.21060): a state of heads × head_dim × state numbers instead of a cache."""

    heads: PositiveInt
    head_dim: PositiveInt
    state: PositiveInt
    groups: PositiveInt
    conv: PositiveInt = 4

    @property
    def state_elements(self) -> int:
        """Numbers carried from token to token, kept in f32 [1]."""
        return self.heads * self.head_dim * self.state

    @property
    def _inner(self) -> int:
        return self.heads * self.head_dim

    @property
    def _mixed(self) -> int:
        return self._inner + 2 * self.groups * self.state  # x, B and C pass through the convolution

    def matrices(self, hidden: int) -> Iterator[Matrix]:
        """Input projection (gate, x, B, C, time step) and output projection."""
        yield Matrix("ssm_in", hidden, self._inner + self._mixed + self.heads)
        yield Matrix("ssm_out", self._inner, hidden)

    def vectors(self, hidden: int) -> Iterator[tuple[str, int]]:
        """Convolution with its bias, decay, skip and time-step bias a head, and the gated norm."""
        yield "ssm_conv1d", (self.conv + 1) * self._mixed
        yield "ssm_head", 3 * self.heads
        yield "ssm_norm", self._inner

    def demands(self, step: Step, hidden: int) -> Iterator[Demand]:
        """Projections and the recurrence h ← a·h + Δ·B·x, y = C·h: about 6 FLOP a state element and token."""
        yield from (matrix.demand(step) for matrix in self.matrices(hidden))
        yield _scan(step, 6, self.state_elements)
        yield demand.elementwise(step, 2 * (self._inner + self._mixed), 8, "ssm_conv")


class DeltaNet(Spec):
    """Gated delta rule (Yang 2024, arXiv 2412.06464): linear attention with a matrix-valued state a value head."""

    key_heads: PositiveInt
    value_heads: PositiveInt
    head_dim: PositiveInt
    conv: PositiveInt = 4

    @property
    def state_elements(self) -> int:
        """Numbers carried from token to token, kept in f32 [1]."""
        return self.value_heads * self.head_dim * self.head_dim

    @property
    def _mixed(self) -> int:
        return (2 * self.key_heads + self.value_heads) * self.head_dim

    def matrices(self, hidden: int) -> Iterator[Matrix]:
        """Projections of q, k, v; of the output gate; of decay and step size a head; of the output."""
        value = self.value_heads * self.head_dim
        yield Matrix("attn_qkv", hidden, self._mixed)
        yield Matrix("attn_gate", hidden, value)
        yield Matrix("ssm_beta", hidden, self.value_heads)
        yield Matrix("ssm_alpha", hidden, self.value_heads)
        yield Matrix("ssm_out", value, hidden)

    def vectors(self, hidden: int) -> Iterator[tuple[str, int]]:
        """Convolution, decay and time-step bias a head, and the norm of a head's output."""
        yield "ssm_conv1d", self.conv * self._mixed
        yield "ssm_head", 2 * self.value_heads
        yield "ssm_norm", self.head_dim

    def demands(self, step: Step, hidden: int) -> Iterator[Demand]:
        """Projections and S ← α·S(1 − β·k·kᵀ) + β·v·kᵀ, o = S·q: about 8 FLOP a state element and token."""
        yield from (matrix.demand(step) for matrix in self.matrices(hidden))
        yield _scan(step, 8, self.state_elements)
        yield demand.elementwise(step, 3 * self._mixed, 12, "ssm_conv")


def _scan(step: Step, flops_per_element: float, state_elements: int) -> Demand:
    """A recurrence over the step's tokens; the state is read and written once a pass."""
    runs = step.batch * (step.new / step.chunk)
    return Demand("scan", "scan", flops_per_element * state_elements * step.tokens, state=2.0 * state_elements * runs)


class Mlp(Spec):
    """Feed-forward network: gated (Shazeer 2020, three matrices) or plain (two)."""

    width: PositiveInt
    gated: bool = True
    fused: bool = False
    bias: bool = False

    def matrices(self, hidden: int) -> Iterator[Matrix]:
        """Gate and up (one tensor where fused), and down."""
        if self.gated and self.fused:
            yield Matrix("ffn_up", hidden, 2 * self.width)
        else:
            if self.gated:
                yield Matrix("ffn_gate", hidden, self.width)
            yield Matrix("ffn_up", hidden, self.width)
        yield Matrix("ffn_down", self.width, hidden)

    def vectors(self, hidden: int) -> Iterator[tuple[str, int]]:
        """Biases where there are any."""
        if self.bias:
            yield "ffn_bias", hidden + self.width * (2 if self.gated else 1)

    def demands(self, step: Step, hidden: int) -> Iterator[Demand]:
        """The matrices and the activation between them."""
        yield from (matrix.demand(step) for matrix in self.matrices(hidden))
        yield demand.elementwise(step, 3 * self.width, 2 if self.gated else 1, "activation")


class Experts(Spec):
    """Mixture of experts (Shazeer 2017): a router picks `active` of `experts` MLPs for each token.

    shared_width: total width of the experts every token uses. latent: width in which the experts work when it is not
    the hidden one, with a projection down and up. router_bias, bias, shared_gate: small tensors, counted where present.
    """

    experts: PositiveInt
    active: PositiveInt
    width: PositiveInt
    gated: bool = True
    shared_width: NonNegativeInt = 0
    shared_gate: bool = False
    latent: PositiveInt | None = None
    router_bias: bool = False
    bias: bool = False

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.active > self.experts:
            raise ValueError(f"active: expected at most the {self.experts} experts, found {self.active}")
        return self

    def matrices(self, hidden: int) -> Iterator[Matrix]:
        """The router, the experts' matrices, and the shared expert's."""
        inner = self.latent or hidden
        yield Matrix("ffn_gate_inp", hidden, self.experts)
        if self.latent:
            yield Matrix("ffn_latent_down", hidden, self.latent)
        if self.gated:
            yield Matrix("ffn_gate_exps", inner, self.width, self.experts, self.active)
        yield Matrix("ffn_up_exps", inner, self.width, self.experts, self.active)
        yield Matrix("ffn_down_exps", self.width, inner, self.experts, self.active)
        if self.latent:
            yield Matrix("ffn_latent_up", self.latent, hidden)
        if self.shared_width:
            if self.gated:
                yield Matrix("ffn_gate_shexp", hidden, self.shared_width)
            yield Matrix("ffn_up_shexp", hidden, self.shared_width)
            yield Matrix("ffn_down_shexp", self.shared_width, hidden)
        if self.shared_gate:
            yield Matrix("ffn_gate_inp_shexp", hidden, 1)

    def vectors(self, hidden: int) -> Iterator[tuple[str, int]]:
        """Router and expert biases."""
        if self.router_bias:
            yield "exp_probs_b", self.experts
        if self.bias:
            yield "ffn_exps_bias", self.experts * (hidden + self.width * (2 if self.gated else 1))

    def idle_elements(self, hidden: int) -> int:
        """Elements of the small tensors that belong to the experts a token does not use [1]."""
        biases = dict(self.vectors(hidden)).get("ffn_exps_bias", 0)
        return biases - biases * self.active // self.experts

    def demands(self, step: Step, hidden: int) -> Iterator[Demand]:
        """The matrices, the choice of experts, and the weighted sum of their outputs."""
        yield from (matrix.demand(step) for matrix in self.matrices(hidden))
        # Softmax, top-k, gather and normalise the weights; activation; scale and add the active experts' outputs.
        elements = 3 * self.width * self.active + 2 * hidden * self.active + 2 * self.experts
        yield demand.elementwise(step, elements, 8 + self.active, "routing")


Mixer = Attention | LatentAttention | StateSpace | DeltaNet


class Layer(Spec):
    """One kind of layer: at most one mixer, then an MLP, experts, both (side by side), or neither.

    norms: vectors of hidden size that scale activations; by default one before each part. norm_bias: LayerNorm with
    a bias. extra_vectors: any other small per-layer parameters, counted but free.
    """

    attention: Attention | None = None
    latent_attention: LatentAttention | None = None
    state_space: StateSpace | None = None
    delta_net: DeltaNet | None = None
    mlp: Mlp | None = None
    experts: Experts | None = None
    norms: NonNegativeInt | None = Field(default=None)
    norm_bias: bool = False
    extra_vectors: NonNegativeInt = 0

    @property
    def mixer(self) -> Mixer | None:
        """The part that mixes positions, if the layer has one."""
        return self.attention or self.latent_attention or self.state_space or self.delta_net

    @property
    def parts(self) -> tuple[Mixer | Mlp | Experts, ...]:
        """Mixer, MLP and experts in the order in which they run."""
        return tuple(part for part in (self.mixer, self.mlp, self.experts) if part is not None)

    @property
    def norm_count(self) -> int:
        """Norms of hidden size [1]."""
        if self.norms is not None:
            return self.norms
        return (self.mixer is not None) + (self.mlp is not None or self.experts is not None)

    def matrices(self, hidden: int) -> Iterator[Matrix]:
        """All weight matrices of the layer."""
        for part in self.parts:
            yield from part.matrices(hidden)

    def vectors(self, hidden: int) -> Iterator[tuple[str, int]]:
        """All one-dimensional tensors of the layer, as (role, elements)."""
        for number in range(self.norm_count):
            yield f"norm_{number}", hidden * (2 if self.norm_bias else 1)
        for part in self.parts:
            yield from part.vectors(hidden)
        if self.extra_vectors:
            yield "extra", self.extra_vectors

    def demands(self, step: Step, hidden: int) -> Iterator[Demand]:
        """Everything the layer asks for: its parts, the norms before them and the residual sums after them."""
        for part in self.parts:
            yield from part.demands(step, hidden)
        sums = (self.mixer is not None) + (self.mlp is not None or self.experts is not None)
        # A norm is two nodes (normalise, scale): 2 reads and writes an element; a sum is one node and 3.
        moved = hidden * (4 * self.norm_count + 3 * sums)
        vectors = sum(elements for _, elements in self.vectors(hidden)) - (
            self.experts.idle_elements(hidden) if self.experts else 0
        )
        yield demand.elementwise(step, moved, 2 * self.norm_count + sums, "norms and sums", vectors)
