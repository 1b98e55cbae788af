"""Which architectures can be written, and what llama.cpp demands of each.

An entry says which parts a layer must have, which it may have, and what its small tensors are called. Anything else
is refused: llama.cpp would not load the file, or would compute something else with it.

Source: ``load_arch_hparams`` and ``load_arch_tensors`` in llama.cpp's ``src/models/*.cpp``. Every entry was loaded and
run by llama-bench; ``tests/test_synthetic_engine.py`` does it again where there is an engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from roofline.blocks import Attention, Experts, Layer, Mlp
from roofline.model import Model
from roofline.spec import SpecError
from roofline.units import short

Size = Literal["hidden", "width", "experts", "one"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """What llama.cpp loads under an architecture's name.

    needs, may: features of the model (see `features`) that it must and may have, as words divided by commas.
    norms: names of a layer's norms of hidden size, in the order in which they are counted.
    extra: further small tensors of a layer (f32) and their sizes; those of experts only where the layer has experts.
    layer_norm: LayerNorm, whose epsilon has a key of its own. square: the query is as wide as the hidden state.
    rotated: share of a head that is rotated [1], where the makers' configs say less than all.
    leading_dense: layers without experts come first. gating: the router's function is a key of the file.
    """

    needs: str
    may: str = ""
    norms: tuple[str, ...] = ("attn_norm", "ffn_norm")
    extra: tuple[tuple[str, Size], ...] = ()
    layer_norm: bool = False
    square: bool = False
    rotated: float = 1.0
    leading_dense: bool = False
    gating: bool = False


_POST = ("attn_norm", "post_attention_norm")
_GEMMA = ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")

#: Every architecture that can be written, by llama.cpp's name.
ARCHITECTURES = {
    "bitnet": Architecture(
        "attention, gated mlp, tied", square=True,
        extra=(("attn_sub_norm.weight", "hidden"), ("ffn_sub_norm.weight", "width")),
    ),
    "deepseek2": Architecture(
        "latent attention, gated experts, shared experts", "gated mlp, router bias, tied", leading_dense=True,
        gating=True,
    ),
    "dots1": Architecture(
        "attention, norm of heads, gated experts, shared experts", "gated mlp, router bias", leading_dense=True,
        gating=True,
    ),
    "falcon": Architecture(
        "attention, fused qkv, plain mlp, norm bias, output norm bias", "tied", norms=("attn_norm", "attn_norm_2"),
        layer_norm=True, square=True,
    ),
    "gemma": Architecture("attention, gated mlp, tied"),
    "gemma2": Architecture("attention, gated mlp, tied, window", norms=_GEMMA),
    "gemma3": Architecture("attention, gated mlp, norm of heads", "tied, window", norms=_GEMMA),
    "gemma4": Architecture(
        "attention, gated mlp, norm of heads, window", "gated experts, shared kv, tied",
        norms=(*_GEMMA, "pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2"),
        extra=(
            ("layer_output_scale.weight", "one"), ("ffn_gate_inp.scale", "hidden"), ("ffn_down_exps.scale", "experts"),
        ),
    ),
    "glm4moe": Architecture(
        "attention, gated experts, router bias", "gated mlp, shared experts, qkv bias, norm of heads, tied",
        norms=_POST, rotated=0.5, leading_dense=True, gating=True,
    ),
    "gpt-oss": Architecture(
        "attention, output bias of attention, sinks, gated experts, router bias, expert bias, window", "qkv bias",
        norms=_POST,
    ),
    "hunyuan-moe": Architecture("attention, norm of heads, gated experts, shared experts", "tied"),
    "llama": Architecture("attention", "gated mlp, gated experts, qkv bias, output bias of attention, tied"),
    "llama4": Architecture("attention, gated experts, shared experts, window", "tied"),
    "minimax-m2": Architecture("attention, norm of all heads, gated experts, router bias", rotated=0.5, gating=True),
    "mistral3": Architecture("attention, gated mlp", "tied"),
    "nemotron_h_moe": Architecture(
        "attention, state space, plain experts, shared experts, router bias", "latent experts, tied",
        norms=("attn_norm",), layer_norm=True,
    ),
    "phi2": Architecture(
        "attention, qkv bias, output bias of attention, plain mlp, mlp bias, norm bias, output norm bias, output bias",
        norms=("attn_norm",), layer_norm=True, square=True, rotated=0.4,
    ),
    "phi3": Architecture("attention, fused qkv, fused mlp", "tied", square=True),
    "qwen2": Architecture("attention, gated mlp", "qkv bias, tied", square=True),
    "qwen3": Architecture("attention, norm of heads, gated mlp", "tied"),
    "qwen35": Architecture(
        "delta net, attention, gated query, norm of heads, gated mlp", "tied", norms=_POST, rotated=0.25
    ),
    "qwen35moe": Architecture(
        "delta net, attention, gated query, norm of heads, gated experts, shared experts, shared gate", "tied",
        norms=_POST, rotated=0.25,
    ),
    "qwen3moe": Architecture("attention, norm of heads, gated experts", "tied"),
}  # fmt: skip


def features(model: Model) -> set[str]:
    """What a model is made of, in the words of `Architecture`."""
    flags = {
        "tied": model.tied_embeddings,
        "output bias": model.output_bias,
        "output norm bias": model.output_norm_bias,
    }
    found = {word for word, present in flags.items() if present}
    for group in model.groups:
        found.update(_of_layer(group.layer))
    return found


def _of_layer(layer: Layer) -> Iterator[str]:
    mixers = {
        "latent attention": layer.latent_attention,
        "state space": layer.state_space,
        "delta net": layer.delta_net,
    }
    yield from (word for word, mixer in mixers.items() if mixer is not None)
    if layer.norm_bias:
        yield "norm bias"
    if layer.attention is not None:
        yield from _of_attention(layer.attention)
    if layer.mlp is not None:
        yield from _of_mlp(layer.mlp)
    if layer.experts is not None:
        yield from _of_experts(layer.experts)


def _of_attention(attention: Attention) -> Iterator[str]:
    yield "attention"
    words = {
        "fused qkv": attention.fused,
        "qkv bias": attention.qkv_bias,
        "output bias of attention": attention.output_bias,
        "norm of heads": attention.qk_norm == "head",
        "norm of all heads": attention.qk_norm == "full",
        "gated query": attention.gated,
        "shared kv": attention.shared_kv,
        "no value row": attention.one_row,
        "sinks": attention.sinks,
        "window": attention.window is not None,
        "low-rank query": attention.q_rank is not None,
        "low-rank output": attention.output_rank is not None,
    }
    yield from (word for word, present in words.items() if present)


def _of_mlp(mlp: Mlp) -> Iterator[str]:
    yield "fused mlp" if mlp.fused and mlp.gated else "gated mlp" if mlp.gated else "plain mlp"
    if mlp.bias:
        yield "mlp bias"


def _of_experts(experts: Experts) -> Iterator[str]:
    yield "gated experts" if experts.gated else "plain experts"
    words = {
        "shared experts": experts.shared_width > 0,
        "shared gate": experts.shared_gate,
        "router bias": experts.router_bias,
        "expert bias": experts.bias,
        "latent experts": experts.latent is not None,
    }
    yield from (word for word, present in words.items() if present)


def architecture_of(model: Model, name: str) -> Architecture:
    """The entry of a model's architecture. name: of the model, for messages.

    SpecError with what is missing where llama.cpp has no such architecture here, or not with these parts.
    """
    found = ARCHITECTURES.get(model.architecture)
    if found is None:
        raise SpecError(
            f"{name}: architecture: expected one that synthetic files can be written for ({', '.join(ARCHITECTURES)}), "
            f"found {short(model.architecture)}"
        )
    present = features(model)
    missing = _words(found.needs) - present
    surplus = present - _words(found.needs) - _words(found.may)
    if missing or surplus:
        said = [f"without {', '.join(sorted(missing))}"] if missing else []
        said += [f"with {', '.join(sorted(surplus))}"] if surplus else []
        raise SpecError(
            f"{name}: architecture {model.architecture}: expected {found.needs}"
            f"{f' (and perhaps {found.may})' if found.may else ''}, found a model {' and '.join(said)}"
        )
    for index, kind in enumerate(model.order):
        _check_parts(model.architecture, model.blocks[kind], f"{name}: blk.{index}")
    return found


def _check_parts(architecture: str, layer: Layer, where: str) -> None:
    """SpecError where a layer has parts that the architecture has elsewhere, or not together."""
    networks = (layer.mlp is not None) + (layer.experts is not None)
    if architecture == "nemotron_h_moe":
        if len(layer.parts) != 1 or layer.mlp is not None:
            raise SpecError(f"{where}: expected a mixer or experts, found {len(layer.parts)} parts")
    elif layer.mixer is None or networks == 0:
        raise SpecError(f"{where}: expected a mixer and a network, found {len(layer.parts)} parts")
    elif networks == 2 and architecture != "gemma4":
        raise SpecError(f"{where}: expected an MLP or experts for {architecture}, found both")


def _words(text: str) -> set[str]:
    return set(filter(None, text.split(", ")))
