"""From a GGUF file's tensor table and metadata to a Model.

The table wins: shapes, tied embeddings, biases, norms, experts and the kind of every layer are read off the tensors
that are there. Metadata gives only what no shape tells: heads, active experts, windows. Where both speak they agree.

Tensor names: gguf-py/gguf/constants.py of llama.cpp; window patterns: ``load_arch_hparams`` in its ``src/models``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from roofline.blocks import Layer
from roofline.model import MAX_LAYERS, Model
from roofline.readers.arrangement import arrange
from roofline.readers.gguf_file import GgufFile, StoredTensor, shown
from roofline.spec import SpecError, validate

#: Layers from one global layer to the next: llama.cpp's default for a file that has a window and no pattern of its own.
WINDOW_PERIOD = {
    "gemma2": 2,
    "gemma3": 6,
    "gpt-oss": 2,
    "cohere2": 4,
    "exaone4": 4,
    "olmo2": 4,
    "llama4": 4,
    "gemma4": 6,
}
LLAMA4_CHUNK = 8192  # fixed in llama.cpp's src/models/llama4.cpp; the file does not say it

#: Architectures whose layers are made of the blocks this library knows, by llama.cpp's names.
SUPPORTED = tuple(
    sorted(
        {
            *("arcee", "baichuan", "bitnet", "command-r", "deepseek", "deepseek2", "dots1", "ernie4_5", "ernie4_5-moe"),
            *("exaone", "falcon", "gemma", "glm4", "glm4moe", "gptneox", "granite", "granitehybrid", "granitemoe"),
            *("hunyuan-dense", "hunyuan-moe", "internlm2", "llama", "mamba2", "minimax-m2", "mistral3", "nemotron"),
            *("nemotron_h", "nemotron_h_moe", "olmo", "olmoe", "orion", "phi2", "phi3", "phimoe", "qwen", "qwen2"),
            *("qwen2moe", "qwen2vl", "qwen3", "qwen35", "qwen35moe", "qwen3moe", "qwen3next", "qwen3vl", "qwen3vlmoe"),
            *("seed_oss", "smollm3", "stablelm", "starcoder2", "xverse"),
            *WINDOW_PERIOD,
        }
    )
)

#: Norms of hidden size; others belong to a part of the layer.
_NORMS = {
    *("attn_norm", "attn_norm_2", "attn_output_norm", "post_attention_norm", "layer_output_norm", "ffn_norm"),
    *("post_ffw_norm", "pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2"),
}
#: Stored with two dimensions, but no matrix multiplication: norms a head, convolutions, and a number a head.
_SMALL = {"attn_q_norm", "attn_k_norm", "attn_rot_embd", "ssm_conv1d", "ssm_a", "ssm_d", "ssm_norm"}
#: Fused or split forms of the matrices that a Layer lists.
_FORMS = {"attn_kv_b", "ffn_gate_up_exps", "ssm_ba", "ssm_in"}


def model_of(file: GgufFile) -> Model:
    """The shape of the model in ``file``; SpecError, in one line, if it is not one this library can describe."""
    return _Builder(file).model()


@dataclass(frozen=True)
class _Builder:
    file: GgufFile

    def wrong(self, field: str, expected: str, found: object) -> SpecError:
        return SpecError(f"{self.file.path}: {shown(field)}: expected {expected}, found {found}")

    def model(self) -> Model:
        arch = self.file.architecture
        kind = self.file.metadata.get("general.type", "model")
        if kind != "model":
            raise self.wrong("general.type", "'model'", repr(kind)[:60])
        if arch not in SUPPORTED:
            raise self.wrong("general.architecture", f"one of {', '.join(SUPPORTED)}", repr(arch)[:60])
        embedding = self.tensor("token_embd")
        hidden, vocab = embedding.shape[0], embedding.shape[1]
        self.agree("embedding_length", hidden, embedding)
        layers = [block.layer() for block in self.blocks]
        data: dict[str, Any] = {
            "name": self.file.name,
            "architecture": arch,
            "vocab": vocab,
            "hidden": hidden,
            "layers": len(layers),
            "tied_embeddings": ("output", None) not in self.file.types_by_role,
            "output_bias": ("output_bias", None) in self.file.types_by_role,
            "output_norm_bias": ("output_norm_bias", None) in self.file.types_by_role,
            "max_context": self.optional("context_length"),
            "notes": tuple(self.notes()),
        }
        return validate(Model, data | arrange(layers), self.file.path)

    def notes(self) -> Iterator[str]:
        if "attn_kv_b" in self.blocks[-1].tensors:
            yield "This file is older than latent caching: llama.cpp caches keys and values of every head for it."
        if self.extra_layers:
            yield f"{self.extra_layers} layers for multi-token prediction are stored and not run."

    @cached_property
    def extra_layers(self) -> int:
        """Layers at the end that only predict further tokens; llama.cpp leaves them out."""
        return self.optional("nextn_predict_layers") or 0

    @cached_property
    def blocks(self) -> list[_Block]:
        """The layers that run, first to last."""
        count = self.required("block_count") - self.extra_layers
        if not 1 <= count <= MAX_LAYERS:
            raise self.wrong(f"{self.file.architecture}.block_count", f"1 to {MAX_LAYERS} layers", count)
        gathered: list[dict[str, list[StoredTensor]]] = [{} for _ in range(count)]
        for tensor in self.file.tensors:
            if tensor.layer is not None and tensor.layer < count:
                gathered[tensor.layer].setdefault(tensor.role, []).append(tensor)
            elif tensor.layer is not None and tensor.layer >= count + self.extra_layers:
                raise self.wrong(f"{self.file.architecture}.block_count", f"more than {tensor.layer} layers", count)
        for index, tensors in enumerate(gathered):
            if not tensors:
                raise self.wrong(f"blk.{index}", "tensors of this layer", "none")
        return [_Block(self, index, tensors) for index, tensors in enumerate(gathered)]

    @cached_property
    def _outside(self) -> dict[str, StoredTensor]:
        return {tensor.role: tensor for tensor in self.file.tensors if tensor.layer is None}

    def tensor(self, role: str) -> StoredTensor:
        """A matrix outside the layers."""
        tensor = self._outside.get(role)
        if tensor is None:
            raise self.wrong(f"{role}.weight", "this tensor", "none")
        if len(tensor.shape) != 2:
            raise self.wrong(f"{role}.weight", "2 dimensions", len(tensor.shape))
        return tensor

    def agree(self, key: str, value: int, tensor: StoredTensor) -> None:
        """Metadata that repeats a dimension of a tensor must repeat it right."""
        told = self.optional(key)
        if told is not None and told != value:
            raise self.wrong(f"{self.file.architecture}.{key}", f"{value} as in {tensor.name}", told)

    def required(self, key: str, layer: int | None = None) -> int:
        """A whole number of metadata, for one layer where it has one a layer."""
        value = self.optional(key, layer)
        if value is None:
            raise self.wrong(f"{self.file.architecture}.{key}", "a whole number", "none")
        return value

    def optional(self, key: str, layer: int | None = None) -> int | None:
        """The same, or None if the file does not have it."""
        name = f"{self.file.architecture}.{key}"
        value = self.file.metadata.get(name)
        if isinstance(value, tuple):
            if layer is None or layer >= len(value):
                raise self.wrong(name, "a value for each layer" if layer is not None else "one value", f"{len(value)}")
            value = value[layer]
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**9:
            raise self.wrong(name, "a whole number from 0 to 1000000000", repr(value)[:60])
        return value

    def window(self, layer: int) -> int | None:
        """The sliding window of a layer's attention, None if it is global."""
        arch = self.file.architecture
        if arch not in WINDOW_PERIOD:  # llama.cpp ignores the window of the others
            return None
        size = LLAMA4_CHUNK if arch == "llama4" else self.optional("attention.sliding_window")
        if not size:
            return None
        name = f"{arch}.attention.sliding_window_pattern"
        pattern = self.file.metadata.get(name, WINDOW_PERIOD[arch])
        if isinstance(pattern, tuple):  # one flag a layer
            if layer >= len(pattern):
                raise self.wrong(name, "a value for each layer", len(pattern))
            return size if pattern[layer] else None
        if not isinstance(pattern, int) or not 0 <= pattern <= MAX_LAYERS:
            raise self.wrong(name, f"a whole number up to {MAX_LAYERS}", repr(pattern)[:60])
        return size if pattern == 0 or layer % pattern < pattern - 1 else None


@dataclass(frozen=True)
class _Block:
    """The tensors of one layer by role; experts that are stored apart share a role."""

    model: _Builder
    index: int
    tensors: dict[str, list[StoredTensor]]

    def wrong(self, role: str, expected: str, found: object) -> SpecError:
        return self.model.wrong(f"blk.{self.index}.{role}", expected, found)

    def matrix(self, role: str) -> tuple[int, int, int]:
        """Columns, rows and copies of a matrix that must be there."""
        found = self.tensors.get(role)
        if not found:
            raise self.wrong(role, "this tensor", "none")
        shape = found[0].shape
        if len(shape) not in (2, 3) or any(tensor.shape != shape for tensor in found):
            raise self.wrong(role, "2 or 3 dimensions, the same for all experts", found[0].shape)
        return shape[0], shape[1], (shape[2] if len(shape) == 3 else 1) * len(found)

    def has(self, *roles: str) -> bool:
        return any(role in self.tensors for role in roles)

    @property
    def hidden(self) -> int:
        return self.model.tensor("token_embd").shape[0]

    def layer(self) -> Layer:
        """The layer, with every tensor accounted for."""
        mixer, network = self.mixer(), self.network()
        data: dict[str, Any] = {**mixer, **network}
        norms = [role for role in self.tensors if role in _NORMS]
        data["norm_bias"] = any(f"{role}_bias" in self.tensors for role in norms)
        data["norms"] = None if len(norms) == bool(mixer) + bool(network) else len(norms)
        where = f"{self.model.file.path}: blk.{self.index}"
        layer = validate(Layer, data, where)
        matrices = {matrix.role: matrix for matrix in layer.matrices(self.hidden)}
        for role, group in self.tensors.items():
            vector = sum(side > 1 for side in group[0].shape) <= 1 or role in _SMALL or role.endswith("_bias")
            if not vector and role not in matrices and role not in _FORMS:
                raise self.wrong(role, "only tensors of a known kind of layer", f"one of shape {group[0].shape}")
            if role in matrices:
                stored, shape = self.matrix(role), matrices[role].shape
                if stored != (*shape, *(1,) * (3 - len(shape))):
                    raise self.wrong(role, f"shape {shape}", group[0].shape)
        stored_elements = sum(tensor.elements for group in self.tensors.values() for tensor in group)
        known = sum(matrix.columns * matrix.rows * matrix.copies for matrix in matrices.values())
        known += sum(elements for _, elements in layer.vectors(self.hidden))
        if stored_elements > known:  # scales, masks and biases that no formula needs
            data["extra_vectors"] = stored_elements - known
            layer = validate(Layer, data, where)
        return layer

    def mixer(self) -> dict[str, Any]:
        """What mixes positions in this layer, if anything does."""
        if self.has("attn_kv_a_mqa"):
            return {"latent_attention": self.latent_attention()}
        if self.has("ssm_beta", "ssm_ba"):
            return {"delta_net": self.delta_net()}
        if self.has("ssm_in"):
            return {"state_space": self.state_space()}
        if self.has("attn_qkv", "attn_q", "attn_output"):
            return {"attention": self.attention()}
        return {}

    def attention(self) -> dict[str, Any]:
        heads = self.heads()
        head_dim, left = divmod(self.matrix("attn_output")[0], heads)
        if left:
            raise self.wrong("attn_output", f"columns for {heads} heads", self.matrix("attn_output")[0])
        window = self.model.window(self.index)
        told = (self.model.optional("attention.key_length_swa") if window else None) or self.model.optional(
            "attention.key_length"
        )
        if told is not None and told != head_dim:
            raise self.wrong("attn_output", f"{heads} heads of key_length {told}", f"heads of {head_dim}")
        fused, gated = self.has("attn_qkv"), False
        if fused:
            kv_rows, left = divmod(self.matrix("attn_qkv")[1] - heads * head_dim, 2)
        else:
            gated = self.matrix("attn_q")[1] == 2 * heads * head_dim
            kv_rows, left = self.matrix("attn_k")[1], 0
        if left or kv_rows % head_dim or kv_rows <= 0:
            raise self.wrong("attn_qkv" if fused else "attn_k", f"rows for heads of {head_dim}", kv_rows)
        norm = sum(tensor.elements for tensor in self.tensors.get("attn_q_norm", ()))
        return {
            "heads": heads,
            "kv_heads": kv_rows // head_dim,
            "head_dim": head_dim,
            "window": window,
            "fused": fused,
            "gated": gated,
            "shared_kv": not fused and not self.has("attn_v"),
            "qkv_bias": self.has("attn_q_bias", "attn_qkv_bias"),
            "output_bias": self.has("attn_output_bias"),
            "qk_norm": "none" if not norm else "head" if norm == head_dim else "full",
            "sinks": self.has("attn_sinks"),
        }

    def heads(self) -> int:
        heads = self.model.required("attention.head_count", self.index)
        if heads < 1:
            raise self.wrong("attn_output", "attention.head_count of at least 1", heads)
        return heads

    def latent_attention(self) -> dict[str, Any]:
        heads = self.heads()
        rank = self.model.required("attention.kv_lora_rank")
        rope = self.matrix("attn_kv_a_mqa")[1] - rank
        low = self.has("attn_q_a")
        query, left = divmod(self.matrix("attn_q_b" if low else "attn_q")[1], heads)
        value, left_value = divmod(self.matrix("attn_output")[0], heads)
        if left or left_value or rope < 1 or query <= rope:
            raise self.wrong("attn_kv_a_mqa", f"shapes for {heads} heads and kv_lora_rank {rank}", f"rope of {rope}")
        q_rank = self.matrix("attn_q_a")[1] if low else None
        return {"heads": heads, "q_rank": q_rank, "kv_rank": rank, "nope": query - rope, "rope": rope, "value": value}

    def delta_net(self) -> dict[str, Any]:
        return {
            "key_heads": self.model.required("ssm.group_count"),
            "value_heads": self.model.required("ssm.time_step_rank"),
            "head_dim": self.model.required("ssm.state_size"),
            "conv": self.model.required("ssm.conv_kernel"),
        }

    def state_space(self) -> dict[str, Any]:
        heads = self.model.required("ssm.time_step_rank")
        inner = self.model.required("ssm.inner_size")
        if heads < 1 or inner % heads:
            raise self.wrong("ssm_in", f"ssm.inner_size {inner} to be a multiple of ssm.time_step_rank", heads)
        return {
            "heads": heads,
            "head_dim": inner // heads,
            "state": self.model.required("ssm.state_size"),
            "groups": self.model.required("ssm.group_count"),
            "conv": self.model.required("ssm.conv_kernel"),
        }

    def network(self) -> dict[str, Any]:
        """MLP, experts, both or neither."""
        parts: dict[str, Any] = {}
        if self.has("ffn_down_exps"):
            parts["experts"] = self.experts()
        if self.has("ffn_down"):
            width, rows = self.matrix("ffn_down")[0], self.matrix("ffn_up")[1]
            fused = not self.has("ffn_gate") and rows == 2 * width
            bias = self.has("ffn_up_bias", "ffn_down_bias")
            parts["mlp"] = {"width": width, "gated": fused or self.has("ffn_gate"), "fused": fused, "bias": bias}
        return parts

    def experts(self) -> dict[str, Any]:
        width, inner, experts = self.matrix("ffn_down_exps")
        active = self.model.required("expert_used_count", self.index)
        if not 1 <= active <= experts:
            raise self.wrong("ffn_down_exps", f"expert_used_count of 1 to the {experts} stored", active)
        return {
            "experts": experts,
            "active": active,
            "width": width,
            "gated": self.has("ffn_gate_exps", "ffn_gate_up_exps"),
            "shared_width": self.matrix("ffn_down_shexp")[0] if self.has("ffn_down_shexp") else 0,
            "shared_gate": self.has("ffn_gate_inp_shexp"),
            "latent": None if inner == self.hidden else inner,
            "router_bias": self.has("exp_probs_b", "ffn_gate_inp_bias"),
            "bias": self.has("ffn_up_exps_bias", "ffn_down_exps_bias"),
        }
