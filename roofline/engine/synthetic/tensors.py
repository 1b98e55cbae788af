"""The tensor table of a synthetic file: every tensor under the name, shape and type that llama.cpp looks for.

Matrices have their types from the recipe, by `roofline.quantization`; everything else is f32. The shapes are those of
`roofline.blocks`; here its gathered vectors get the single names that they have in a file.

Names: ``gguf-py/gguf/constants.py`` of llama.cpp (``TENSOR_NAMES``); a test compares.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from roofline.blocks import Attention, DeltaNet, Experts, LatentAttention, Layer, Mlp, StateSpace
from roofline.engine.synthetic.architectures import Architecture
from roofline.model import Model
from roofline.quantization import assign_types, tensor_bytes
from roofline.spec import SpecError
from roofline.tensor import Tensor
from roofline.weights import shape_facts

Named = tuple[str, tuple[int, ...]]  # a tensor's name without its block, and its shape in ggml order


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """A tensor to be written. shape: ggml order. small: not one of the recipe's matrices; always f32."""

    name: str
    shape: tuple[int, ...]
    type: str
    size_bytes: int
    small: bool

    @property
    def elements(self) -> int:
        """Number of weights [1]."""
        return Tensor(self.name, "", None, self.shape).elements


def planned_tensors(model: Model, architecture: Architecture, quant: str, name: str) -> tuple[PlannedTensor, ...]:
    """All tensors of `model` in the recipe `quant`. name: of the model, for messages.

    SpecError where the model has small parameters that no tensor of the architecture holds.
    """
    tensors = model.tensors()
    types = dict(
        zip((tensor.name for tensor in tensors), assign_types(quant, tensors, shape_facts(model)), strict=True)
    )
    planned = [_matrix("token_embd.weight", (model.hidden, model.vocab), types)]
    for index, kind in enumerate(model.order):
        layer, prefix = model.blocks[kind], f"blk.{index}."
        for matrix in layer.matrices(model.hidden):
            planned.append(_matrix(f"{prefix}{matrix.role}.weight", matrix.shape, types))
        vectors = list(_vectors(layer, model, architecture))
        _all_there(layer, model, vectors, f"{name}: blk.{index}")
        planned += [_small(prefix + own, shape) for own, shape in vectors]
    if model.architecture == "gemma4":  # one for all global layers; no part of the published number of parameters
        planned.append(_small("rope_freqs.weight", (_global_head(model, name) // 2,)))
    planned.append(_small("output_norm.weight", (model.hidden,)))
    if model.output_norm_bias:
        planned.append(_small("output_norm.bias", (model.hidden,)))
    if not model.tied_embeddings:
        planned.append(_matrix("output.weight", (model.hidden, model.vocab), types))
    if model.output_bias:
        planned.append(_small("output.bias", (model.vocab,)))
    return tuple(planned)


def _matrix(name: str, shape: tuple[int, ...], types: dict[str, str]) -> PlannedTensor:
    kind = types[name]
    return PlannedTensor(name, shape, kind, int(tensor_bytes(kind, shape)), False)


def _small(name: str, shape: tuple[int, ...]) -> PlannedTensor:
    return PlannedTensor(name, shape, "f32", int(tensor_bytes("f32", shape)), True)


def _global_head(model: Model, name: str) -> int:
    """The head width of layers without a window."""
    for group in model.groups:
        if group.layer.attention and not group.layer.attention.window:
            return group.layer.attention.head_dim
    raise SpecError(f"{name}: blocks: expected a layer with global attention, found none")


def _all_there(layer: Layer, model: Model, vectors: list[Named], where: str) -> None:
    """Nothing is left out and nothing is made up."""
    wanted = sum(elements for _, elements in layer.vectors(model.hidden))
    written = sum(Tensor(own, own, None, shape).elements for own, shape in vectors)
    if wanted != written:
        raise SpecError(
            f"{where}: expected {written} parameters in the norms, biases and scales of architecture "
            f"{model.architecture}, found {wanted}"
        )


def _vectors(layer: Layer, model: Model, architecture: Architecture) -> Iterator[Named]:
    """Small tensors of a layer."""
    for norm in architecture.norms[: layer.norm_count]:
        yield f"{norm}.weight", (model.hidden,)
        if layer.norm_bias:
            yield f"{norm}.bias", (model.hidden,)
    sizes = {
        "hidden": model.hidden,
        "width": layer.mlp.width if layer.mlp else 0,
        "experts": layer.experts.experts if layer.experts else 0,
        "one": 1,
    }
    for own, size in architecture.extra:
        if layer.experts or not own.startswith(("ffn_gate_inp", "ffn_down_exps")):
            yield own, (sizes[size],)
    if layer.attention:
        yield from _of_attention(layer.attention, model.hidden)
    if layer.latent_attention:
        yield from _of_latent_attention(layer.latent_attention)
    if layer.delta_net:
        yield from _of_delta_net(layer.delta_net)
    if layer.state_space:
        yield from _of_state_space(layer.state_space)
    if layer.mlp and layer.mlp.bias:
        yield from _of_mlp(layer.mlp, model.hidden)
    if layer.experts:
        yield from _of_experts(layer.experts, model)


def _of_attention(attention: Attention, hidden: int) -> Iterator[Named]:
    rows = {matrix.role: matrix.rows for matrix in attention.matrices(hidden)}
    if attention.qkv_bias:
        yield from (
            (f"{role}.bias", (rows[role],)) for role in ("attn_q", "attn_k", "attn_v", "attn_qkv") if role in rows
        )
    if attention.output_bias:
        yield "attn_output.bias", (hidden,)
    if attention.qk_norm != "none":
        full = attention.qk_norm == "full"
        yield "attn_q_norm.weight", (attention.head_dim * (attention.heads if full else 1),)
        yield "attn_k_norm.weight", (attention.head_dim * (attention.kv_heads if full else 1),)
    if attention.sinks:
        yield "attn_sinks.weight", (attention.heads,)


def _of_latent_attention(latent: LatentAttention) -> Iterator[Named]:
    if latent.q_rank is not None:
        yield "attn_q_a_norm.weight", (latent.q_rank,)
    yield "attn_kv_a_norm.weight", (latent.kv_rank,)


def _of_delta_net(net: DeltaNet) -> Iterator[Named]:
    yield "ssm_conv1d.weight", (net.conv, (2 * net.key_heads + net.value_heads) * net.head_dim)
    yield "ssm_a", (net.value_heads,)
    yield "ssm_dt.bias", (net.value_heads,)
    yield "ssm_norm.weight", (net.head_dim,)


def _of_state_space(space: StateSpace) -> Iterator[Named]:
    inner = space.heads * space.head_dim
    mixed = inner + 2 * space.groups * space.state
    yield "ssm_conv1d.weight", (space.conv, mixed)
    yield "ssm_conv1d.bias", (mixed,)
    yield "ssm_a", (1, space.heads)
    yield "ssm_d", (1, space.heads)
    yield "ssm_dt.bias", (space.heads,)
    yield "ssm_norm.weight", (inner // space.groups, space.groups)


def _of_mlp(mlp: Mlp, hidden: int) -> Iterator[Named]:
    yield "ffn_up.bias", (mlp.width,)
    yield "ffn_down.bias", (hidden,)
    if mlp.gated:
        yield "ffn_gate.bias", (mlp.width,)


def _of_experts(experts: Experts, model: Model) -> Iterator[Named]:
    if experts.router_bias:  # gpt-oss adds it to the router's scores, the others only to choose by
        yield ("ffn_gate_inp.bias" if model.architecture == "gpt-oss" else "exp_probs_b.bias"), (experts.experts,)
    if experts.bias:
        yield "ffn_up_exps.bias", (experts.width, experts.experts)
        yield "ffn_down_exps.bias", (model.hidden, experts.experts)
        if experts.gated:
            yield "ffn_gate_exps.bias", (experts.width, experts.experts)
