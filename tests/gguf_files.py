"""Small GGUF files for tests, byte by byte, so that a test can also write what no honest writer would."""

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import gguf

from roofline.blocks import Layer
from roofline.model import Model

MetaValue = int | float | bool | str | list[int] | list[float] | list[str] | bytes


@dataclass(frozen=True)
class Row:
    """A row of the tensor table; `offset` is computed where None."""

    name: str
    shape: tuple[int, ...]
    kind: int = 0
    offset: int | None = None


def text(value: str | bytes, order: str = "<") -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(order + "Q", len(raw)) + raw


def value(item: MetaValue, order: str = "<") -> bytes:
    """Type number and value; bytes are taken as they are, type number included."""
    if isinstance(item, bytes):
        return item
    if isinstance(item, bool):
        return struct.pack(order + "I?", 7, item)
    if isinstance(item, int):
        return struct.pack(order + ("II" if 0 <= item < 1 << 32 else "Iq"), 4 if 0 <= item < 1 << 32 else 11, item)
    if isinstance(item, float):
        return struct.pack(order + "If", 6, item)
    if isinstance(item, str):
        return struct.pack(order + "I", 8) + text(item, order)
    if all(isinstance(element, str) for element in item):
        return struct.pack(order + "IIQ", 9, 8, len(item)) + b"".join(text(str(element), order) for element in item)
    code, number = ("f", 6) if any(isinstance(element, float) for element in item) else ("i", 5)
    return struct.pack(f"{order}IIQ{len(item)}{code}", 9, number, len(item), *item)


def size_of(row: Row) -> int:
    block, size = gguf.constants.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(row.kind)]
    total = 1
    for side in row.shape:
        total *= side
    return total // block * size


def encode(
    metadata: Mapping[str, MetaValue] | Iterable[tuple[str, MetaValue]],
    rows: Iterable[Row] = (),
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    keys: int | None = None,
    tensors: int | None = None,
    order: str = "<",
    alignment: int = 32,
    data: bool = False,
) -> bytes:
    """A header, and zeros for the weights if `data`. `keys` and `tensors` replace the true counts."""
    pairs = list(metadata.items() if isinstance(metadata, Mapping) else metadata)
    rows = list(rows)
    out = magic + struct.pack(
        order + "IQQ", version, len(rows) if tensors is None else tensors, len(pairs) if keys is None else keys
    )
    for key, item in pairs:
        out += text(key, order) + value(item, order)
    end = 0
    for row in rows:
        offset = end if row.offset is None else row.offset
        out += text(row.name, order) + struct.pack(f"{order}I{len(row.shape)}Q", len(row.shape), *row.shape)
        out += struct.pack(order + "IQ", row.kind, offset)
        if row.offset is None:
            end = -(-(end + size_of(row)) // alignment) * alignment
    if data:
        out += bytes(-len(out) % alignment + end)
    return out


def llama(layers: int = 2, **changes: MetaValue) -> tuple[dict[str, MetaValue], list[Row]]:
    """Metadata and rows of a tiny llama: hidden 64, 4 heads and 2 KV heads of 16, MLP 96, vocabulary 128, tied."""
    metadata: dict[str, MetaValue] = {
        "general.architecture": "llama",
        "general.name": "tiny",
        "general.file_type": 2,
        "llama.block_count": layers,
        "llama.context_length": 512,
        "llama.embedding_length": 64,
        "llama.feed_forward_length": 96,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.rope.freq_base": 10000.0,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": [f"t{number}" for number in range(128)],
        "tokenizer.ggml.scores": [0.0] * 128,
    }
    rows = [Row("token_embd.weight", (64, 128), 8)]
    for layer in range(layers):
        shapes = {
            "attn_norm": (64,), "attn_q": (64, 64), "attn_k": (64, 32), "attn_v": (64, 32), "attn_output": (64, 64),
            "ffn_norm": (64,), "ffn_gate": (64, 96), "ffn_up": (64, 96), "ffn_down": (96, 64),
        }  # fmt: skip
        rows += [
            Row(f"blk.{layer}.{role}.weight", shape, 0 if len(shape) == 1 else 2) for role, shape in shapes.items()
        ]
    rows.append(Row("output_norm.weight", (64,)))
    return {**metadata, **{key.replace("__", "."): item for key, item in changes.items()}}, rows


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


_NORM_NAMES = (
    "attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm", "post_ffw_norm_1", "post_ffw_norm_2",
    "pre_ffw_norm_2",
)  # fmt: skip


def of_model(model: Model) -> bytes:
    """The header that llama.cpp's converter would write for a model, in F16 and F32."""
    arch = model.architecture
    kinds = [model.blocks[kind] for kind in model.order]
    numbers: dict[str, int] = {"block_count": model.layers, "embedding_length": model.hidden}
    lists: dict[str, list[int]] = {}
    if model.max_context:
        numbers["context_length"] = model.max_context
    heads = [_heads(layer) for layer in kinds]
    if len(set(heads)) == 1:
        numbers["attention.head_count"] = heads[0]
    else:  # hybrids: 0 for a layer without attention
        lists["attention.head_count"] = heads
    for layer in kinds:
        if layer.attention:
            if layer.attention.window:
                numbers["attention.sliding_window"] = layer.attention.window
                numbers["attention.key_length_swa"] = layer.attention.head_dim
            else:
                numbers["attention.key_length"] = layer.attention.head_dim
        if layer.latent_attention:
            numbers["attention.kv_lora_rank"] = layer.latent_attention.kv_rank
        if layer.delta_net:
            net = layer.delta_net
            numbers |= {"ssm.group_count": net.key_heads, "ssm.time_step_rank": net.value_heads}
            numbers |= {"ssm.state_size": net.head_dim, "ssm.conv_kernel": net.conv}
        if layer.state_space:
            space = layer.state_space
            numbers |= {"ssm.group_count": space.groups, "ssm.time_step_rank": space.heads}
            numbers |= {"ssm.inner_size": space.heads * space.head_dim, "ssm.state_size": space.state}
            numbers["ssm.conv_kernel"] = space.conv
        if layer.experts:
            numbers["expert_used_count"] = layer.experts.active
    metadata: dict[str, MetaValue] = {"general.architecture": arch, "general.name": model.name}
    metadata |= {f"{arch}.{key}": item for key, item in (numbers | lists).items()}
    rows = [Row("token_embd.weight", (model.hidden, model.vocab), 1)]
    for index, layer in enumerate(kinds):
        for matrix in layer.matrices(model.hidden):
            rows.append(Row(f"blk.{index}.{matrix.role}.weight", matrix.shape, 1))
        rows += [Row(f"blk.{index}.{name}", shape) for name, shape in _vectors(layer, model.hidden)]
    rows.append(Row("output_norm.weight", (model.hidden,)))
    if model.output_norm_bias:
        rows.append(Row("output_norm.bias", (model.hidden,)))
    if not model.tied_embeddings:
        rows.append(Row("output.weight", (model.hidden, model.vocab), 1))
    if model.output_bias:
        rows.append(Row("output.bias", (model.vocab,)))
    return encode(metadata, rows)


def _heads(layer: Layer) -> int:
    mixer = layer.attention or layer.latent_attention
    return mixer.heads if mixer else 0


def _vectors(layer: Layer, hidden: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the small tensors of a layer."""
    for name in _NORM_NAMES[: layer.norm_count]:
        yield f"{name}.weight", (hidden,)
        if layer.norm_bias:
            yield f"{name}.bias", (hidden,)
    if attention := layer.attention:
        rows = {matrix.role: matrix.rows for matrix in layer.matrices(hidden)}
        if attention.qkv_bias:
            for role in ("attn_q", "attn_k", "attn_v", "attn_qkv"):
                if role in rows:
                    yield f"{role}.bias", (rows[role],)
        if attention.output_bias:
            yield "attn_output.bias", (hidden,)
        if attention.qk_norm != "none":
            full = attention.qk_norm == "full"
            yield "attn_q_norm.weight", (attention.head_dim * (attention.heads if full else 1),)
            yield "attn_k_norm.weight", (attention.head_dim * (attention.kv_heads if full else 1),)
        if attention.sinks:
            yield "attn_sinks.weight", (attention.heads,)
    if latent := layer.latent_attention:
        if latent.q_rank:
            yield "attn_q_a_norm.weight", (latent.q_rank,)
        yield "attn_kv_a_norm.weight", (latent.kv_rank,)
    if net := layer.delta_net:
        yield "ssm_conv1d.weight", (net.conv, (2 * net.key_heads + net.value_heads) * net.head_dim)
        yield "ssm_a", (net.value_heads,)
        yield "ssm_dt.bias", (net.value_heads,)
        yield "ssm_norm.weight", (net.head_dim,)
    if space := layer.state_space:
        inner = space.heads * space.head_dim
        mixed = inner + 2 * space.groups * space.state
        yield "ssm_conv1d.weight", (space.conv, mixed)
        yield "ssm_conv1d.bias", (mixed,)
        yield "ssm_a", (1, space.heads)
        yield "ssm_d", (1, space.heads)
        yield "ssm_dt.bias", (space.heads,)
        yield "ssm_norm.weight", (inner // space.groups, space.groups)
    if layer.mlp and layer.mlp.bias:
        yield "ffn_up.bias", (layer.mlp.width,)
        yield "ffn_down.bias", (hidden,)
        if layer.mlp.gated:
            yield "ffn_gate.bias", (layer.mlp.width,)
    if experts := layer.experts:
        if experts.router_bias:
            yield "exp_probs_b.bias", (experts.experts,)
        if experts.bias:
            yield "ffn_up_exps.bias", (experts.width, experts.experts)
            yield "ffn_down_exps.bias", (hidden, experts.experts)
            if experts.gated:
                yield "ffn_gate_exps.bias", (experts.width, experts.experts)
    if layer.extra_vectors:
        yield "extra.weight", (layer.extra_vectors,)
