"""What the config of each supported model class means.

A config names a class of the transformers library and states only what differs from the class's defaults, so each
family carries the defaults that published files leave out (``configuration_*.py`` in transformers, src/models) and
the facts that no key states: where biases are, how many norms a layer has, whether Q, K and V are one matrix.

Shapes are those of the GGUF that llama.cpp makes of the model, and so are windows: a family whose window llama.cpp
ignores has none here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from roofline.blocks import Layer
from roofline.readers.config_keys import Config
from roofline.spec import validate

# A trait is a constant or is read from the config.
Trait = bool | Callable[[Config], bool]
Part = dict[str, Any]


def _flag(key: str, default: bool = False) -> Callable[[Config], bool]:
    return lambda config: config.flag(key, default)


@dataclass(frozen=True)
class Family:
    """What the config of one model class means.

    architecture: llama.cpp's name. classes, types: `architectures` and `model_type` of the configs.
    attention: replaces the common rule. network: MLP or experts of a layer, by default a gated MLP. window: of a layer.
    """

    architecture: str
    classes: tuple[str, ...]
    types: tuple[str, ...]
    tied: bool = False
    defaults: dict[str, Any] = field(default_factory=dict)
    fused: bool = False
    fused_mlp: bool = False
    gated: bool = True
    qkv_bias: Trait = False
    output_bias: Trait = False
    mlp_bias: Trait = False
    head_bias: Trait = False
    norm_bias: Trait = False
    qk_norm: Literal["none", "head", "full"] | Callable[[Config], Literal["none", "head", "full"]] = "none"
    sinks: bool = False
    query_gate: bool = False
    norms: int | Callable[[Config], int] = 2
    window: Callable[[Config, int], int | None] | None = None
    mixer: Callable[[Config, Family, int], Part] | None = None
    network: Callable[[Config, Family, int], Part] | None = None


def layer_of(config: Config, family: Family, index: int) -> Layer:
    """Layer ``index`` of the model."""
    mixer = family.mixer(config, family, index) if family.mixer else {"attention": _attention(config, family, index)}
    network = family.network(config, family, index) if family.network else _mlp(config, family)
    norms = family.norms(config) if callable(family.norms) else family.norms
    common = {"norms": None if norms == 2 else norms, "norm_bias": holds(family.norm_bias, config)}
    return validate(Layer, {**mixer, **network, **common}, f"{config.path}: layer {index}")


def holds(trait: Trait, config: Config) -> bool:
    """A trait's value for this config."""
    return trait(config) if callable(trait) else trait


def hidden_size(config: Config) -> int:
    """Width of the activations between layers [1]."""
    return config.number("hidden_size", "n_embed", "n_embd")


def _attention(config: Config, family: Family, index: int) -> Part:
    heads = config.number("num_attention_heads", "n_head")
    head_dim = config.optional("head_dim")
    if head_dim is None:
        head_dim, left = divmod(hidden_size(config), heads)
        if left:
            raise config.wrong("num_attention_heads", f"a divisor of the hidden size {hidden_size(config)}", heads)
    kv_heads = config.optional("num_key_value_heads", "num_kv_heads", "n_head_kv")
    if kv_heads is not None and (kv_heads < 1 or heads % kv_heads):
        raise config.wrong("num_key_value_heads", f"a divisor of the {heads} attention heads", kv_heads)
    return {
        "heads": heads,
        "kv_heads": kv_heads or heads,
        "head_dim": head_dim,
        "window": family.window(config, index) if family.window else None,
        "fused": family.fused,
        "qkv_bias": holds(family.qkv_bias, config),
        "output_bias": holds(family.output_bias, config),
        "qk_norm": family.qk_norm(config) if callable(family.qk_norm) else family.qk_norm,
        "gated": family.query_gate,
        "sinks": family.sinks,
    }


def _mlp(config: Config, family: Family) -> Part:
    width = config.optional("intermediate_size", "ffn_hidden_size") or 4 * hidden_size(config)
    bias = holds(family.mlp_bias, config)
    return {"mlp": {"width": width, "gated": family.gated, "fused": family.fused_mlp, "bias": bias}}


def _gated_mlp(config: Config, family: Family, _index: int) -> Part:
    """An MLP whose width the config must state."""
    config.number("intermediate_size")
    return _mlp(config, family)


def _windows(period: int) -> Callable[[Config, int], int | None]:
    """Global attention every ``period`` layers, unless `layer_types` says otherwise."""

    def window(config: Config, index: int) -> int | None:
        kinds = config.words("layer_types", config.number("num_hidden_layers"))
        every = config.optional("sliding_window_pattern", "_sliding_window_pattern") or period
        sliding = kinds[index] == "sliding_attention" if kinds else (index + 1) % every != 0
        return config.number("sliding_window") if sliding else None

    return window


def _chosen(config: Config, stored: int, *keys: str) -> int:
    """Experts a token uses: at least one, at most those there are."""
    active = config.number(*keys)
    if active > stored:
        raise config.wrong(keys[0], f"at most the {stored} experts", active)
    return active


def _mixtral(config: Config, family: Family, _index: int) -> Part:
    """Experts in every layer, as wide as `intermediate_size`."""
    experts = config.number("num_local_experts", "num_experts")
    active = _chosen(config, experts, "num_experts_per_tok", "experts_per_token")
    extra = {"bias": True, "router_bias": True} if family.architecture == "gpt-oss" else {}
    return {"experts": {"experts": experts, "active": active, "width": config.number("intermediate_size"), **extra}}


def _qwen_experts(config: Config, family: Family, index: int) -> Part:
    """Experts every `decoder_sparse_step` layers but for `mlp_only_layers`; a shared one with a gate where stated."""
    step = config.optional("decoder_sparse_step") or 1
    if index in config.numbers("mlp_only_layers") or (index + 1) % step:
        return _gated_mlp(config, family, index)
    experts = config.number("num_experts")
    shared = config.optional("shared_expert_intermediate_size") or 0
    return {
        "experts": {
            "experts": experts,
            "active": _chosen(config, experts, "num_experts_per_tok"),
            "width": config.number("moe_intermediate_size"),
            "shared_width": shared,
            "shared_gate": shared > 0,
        }
    }


def _deepseek_experts(config: Config, family: Family, index: int) -> Part:
    """Dense layers first, then experts with shared ones of the same width, side by side in one matrix."""
    every = config.optional("moe_layer_freq") or 1
    if (
        index < (config.optional("first_k_dense_replace") or 0)
        or index % every
        or config.get("n_routed_experts") is None
    ):
        return _gated_mlp(config, family, index)
    experts, width = config.number("n_routed_experts"), config.number("moe_intermediate_size")
    return {
        "experts": {
            "experts": experts,
            "active": _chosen(config, experts, "num_experts_per_tok"),
            "width": width,
            "shared_width": width * (config.optional("n_shared_experts") or 0),
            # V3's routing without an auxiliary loss adds a learned bias to each expert's score.
            "router_bias": config.get("topk_method") == "noaux_tc",
        }
    }


def _latent(config: Config, _family: Family, _index: int) -> Part:
    return {
        "latent_attention": {
            "heads": config.number("num_attention_heads"),
            "q_rank": config.optional("q_lora_rank"),
            "kv_rank": config.number("kv_lora_rank"),
            "nope": config.number("qk_nope_head_dim"),
            "rope": config.number("qk_rope_head_dim"),
            "value": config.number("v_head_dim"),
        }
    }


def _falcon(config: Config, family: Family, index: int) -> Part:
    """One K and V head for all in the old architecture (`multi_query`), groups in the new; Q, K, V are one matrix."""
    heads = config.number("num_attention_heads", "n_head")
    groups = config.optional("num_kv_heads", "n_head_kv") or heads
    if not config.flag("new_decoder_architecture"):
        groups = 1 if config.flag("multi_query", True) else heads
    narrowed = Config(config.path, {**config.data, "num_key_value_heads": groups}, config.prefix, config.defaults)
    return {"attention": _attention(narrowed, family, index)}


def _falcon_norms(config: Config) -> int:
    """The new architecture norms attention and MLP apart; side by side in the old one they share a norm."""
    if config.flag("new_decoder_architecture"):
        return config.optional("num_ln_in_parallel_attn") or 2
    return 1 if config.flag("parallel_attn", True) else 2


def _delta_or_attention(config: Config, family: Family, index: int) -> Part:
    """Gated delta nets, with full attention every few layers."""
    kinds = config.words("layer_types", config.number("num_hidden_layers"))
    every = config.optional("full_attention_interval") or 4
    if kinds[index] == "full_attention" if kinds else (index + 1) % every == 0:
        return {"attention": _attention(config, family, index)}
    head_dim = config.number("linear_value_head_dim")
    if config.number("linear_key_head_dim") != head_dim:
        raise config.wrong(
            "linear_key_head_dim", f"{head_dim} like linear_value_head_dim", config.get("linear_key_head_dim")
        )
    return {
        "delta_net": {
            "key_heads": config.number("linear_num_key_heads"),
            "value_heads": config.number("linear_num_value_heads"),
            "head_dim": head_dim,
            "conv": config.number("linear_conv_kernel_dim"),
        }
    }


# Defaults in Gemma3TextConfig that Google's own files leave out. The vocabulary is 262208 there; llama.cpp's converter
# drops the 64 rows that belong to no token.
_GEMMA3 = {
    "vocab_size": 262144,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131072,
    "sliding_window": 4096,
}
_DELTA = {
    "head_dim": 256,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
}

_ALL = (
    Family(
        "llama", ("LlamaForCausalLM",), ("llama",),
        qkv_bias=_flag("attention_bias"), output_bias=_flag("attention_bias"), mlp_bias=_flag("mlp_bias"),
        network=_gated_mlp,
    ),
    Family("llama", ("MistralForCausalLM",), ("mistral",), network=_gated_mlp),
    Family("llama", ("MixtralForCausalLM",), ("mixtral",), network=_mixtral),
    Family(
        "smollm3", ("SmolLM3ForCausalLM",), ("smollm3",), tied=True,
        qkv_bias=_flag("attention_bias"), output_bias=_flag("attention_bias"), network=_gated_mlp,
    ),
    Family(
        "qwen2", ("Qwen2ForCausalLM",), ("qwen2", "qwen2_5_vl_text", "qwen2_vl_text"), qkv_bias=True,
        network=_gated_mlp,
    ),
    Family(
        "qwen2moe", ("Qwen2MoeForCausalLM",), ("qwen2_moe",), qkv_bias=_flag("qkv_bias", True),
        network=_qwen_experts,
    ),
    Family(
        "qwen3", ("Qwen3ForCausalLM",), ("qwen3", "qwen3_vl_text"), defaults={"head_dim": 128}, qk_norm="head",
        qkv_bias=_flag("attention_bias"), output_bias=_flag("attention_bias"), network=_gated_mlp,
    ),
    Family(
        "qwen3moe", ("Qwen3MoeForCausalLM",), ("qwen3_moe", "qwen3_vl_moe_text"), qk_norm="head",
        qkv_bias=_flag("attention_bias"), output_bias=_flag("attention_bias"), network=_qwen_experts,
    ),
    Family(
        "qwen3next", ("Qwen3NextForCausalLM",), ("qwen3_next",), defaults=_DELTA, qk_norm="head", query_gate=True,
        mixer=_delta_or_attention, network=_qwen_experts,
    ),
    Family(
        "qwen35", ("Qwen3_5ForCausalLM",), ("qwen3_5", "qwen3_5_text"), defaults=_DELTA, qk_norm="head",
        query_gate=True, mixer=_delta_or_attention, network=_gated_mlp,
    ),
    Family(
        "qwen35moe", ("Qwen3_5MoeForCausalLM",), ("qwen3_5_moe", "qwen3_5_moe_text"), defaults=_DELTA, qk_norm="head",
        query_gate=True, mixer=_delta_or_attention, network=_qwen_experts,
    ),
    Family("gemma", ("GemmaForCausalLM",), ("gemma",), tied=True, defaults={"head_dim": 256}, network=_gated_mlp),
    Family(
        "gemma2", ("Gemma2ForCausalLM",), ("gemma2",), tied=True, defaults={"head_dim": 256, "sliding_window": 4096},
        norms=4, window=_windows(2), network=_gated_mlp,
    ),
    Family(
        "gemma3", ("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"), ("gemma3_text", "gemma3"), tied=True,
        defaults=_GEMMA3, qk_norm="head", norms=4, window=_windows(6), network=_gated_mlp,
    ),
    Family(
        "phi2", ("PhiForCausalLM",), ("phi",), gated=False, qkv_bias=True, output_bias=True, mlp_bias=True,
        head_bias=True, norm_bias=True, norms=1,
    ),
    Family("phi3", ("Phi3ForCausalLM",), ("phi3",), fused=True, fused_mlp=True, network=_gated_mlp),
    Family(
        "phimoe", ("PhiMoEForCausalLM", "PhimoeForCausalLM"), ("phimoe",), norm_bias=True,
        qkv_bias=_flag("attention_bias"), output_bias=_flag("attention_bias"), head_bias=_flag("lm_head_bias"),
        network=_mixtral,
    ),
    # The class ties the head by default, but the published checkpoints, and the GGUFs made of them, store one.
    Family(
        "falcon", ("FalconForCausalLM", "RWForCausalLM"), ("falcon", "RefinedWeb", "RefinedWebModel"),
        fused=True, gated=False, qkv_bias=_flag("bias"), output_bias=_flag("bias"), mlp_bias=_flag("bias"),
        norm_bias=True, norms=_falcon_norms, mixer=_falcon,
    ),
    Family("deepseek2", ("DeepseekV2ForCausalLM",), ("deepseek_v2",), mixer=_latent, network=_deepseek_experts),
    Family(
        "deepseek2", ("DeepseekV3ForCausalLM",), ("deepseek_v3", "kimi_k2"), defaults={"topk_method": "noaux_tc"},
        mixer=_latent, network=_deepseek_experts,
    ),
    Family(
        "deepseek2", ("Glm4MoeLiteForCausalLM",), ("glm4_moe_lite",), defaults={"topk_method": "noaux_tc"},
        mixer=_latent, network=_deepseek_experts,
    ),
    Family(
        "gpt-oss", ("GptOssForCausalLM",), ("gpt_oss",), defaults={"head_dim": 64, "sliding_window": 128},
        qkv_bias=_flag("attention_bias", True), output_bias=_flag("attention_bias", True), sinks=True,
        window=_windows(2), network=_mixtral,
    ),
    Family(
        "glm4moe", ("Glm4MoeForCausalLM",), ("glm4_moe",), defaults={"topk_method": "noaux_tc"},
        qkv_bias=_flag("attention_bias"), qk_norm=lambda config: "head" if config.flag("use_qk_norm") else "none",
        network=_deepseek_experts,
    ),
    Family(
        "glm4", ("Glm4ForCausalLM",), ("glm4",), defaults={"head_dim": 128}, fused_mlp=True,
        qkv_bias=_flag("attention_bias"), norms=4, network=_gated_mlp,
    ),
    Family("olmo2", ("Olmo2ForCausalLM",), ("olmo2",), qk_norm="full", network=_gated_mlp),
    Family("olmo2", ("Olmo3ForCausalLM",), ("olmo3",), qk_norm="full", window=_windows(4), network=_gated_mlp),
    Family("olmoe", ("OlmoeForCausalLM",), ("olmoe",), qk_norm="full", network=_mixtral),
    Family(
        "starcoder2", ("Starcoder2ForCausalLM",), ("starcoder2",), tied=True, gated=False, norm_bias=True,
        qkv_bias=_flag("use_bias", True), output_bias=_flag("use_bias", True), mlp_bias=_flag("use_bias", True),
        network=_gated_mlp,
    ),
    Family(
        "gptneox", ("GPTNeoXForCausalLM",), ("gpt_neox",), fused=True, gated=False, norm_bias=True, mlp_bias=True,
        qkv_bias=_flag("attention_bias", True), output_bias=_flag("attention_bias", True), network=_gated_mlp,
    ),
    Family(
        "stablelm", ("StableLmForCausalLM",), ("stablelm",), norm_bias=True, qkv_bias=_flag("use_qkv_bias"),
        norms=lambda config: 1 if config.flag("use_parallel_residual") else 2, network=_gated_mlp,
    ),
    Family(
        "command-r", ("CohereForCausalLM",), ("cohere",), tied=True, norms=1,
        qkv_bias=_flag("attention_bias"), output_bias=_flag("attention_bias"),
        qk_norm=lambda config: "full" if config.flag("use_qk_norm") else "none", network=_gated_mlp,
    ),
    Family(
        "granite", ("GraniteForCausalLM",), ("granite",),
        qkv_bias=_flag("attention_bias"), output_bias=_flag("attention_bias"), mlp_bias=_flag("mlp_bias"),
        network=_gated_mlp,
    ),
    Family(
        "seed_oss", ("SeedOssForCausalLM",), ("seed_oss",), qkv_bias=_flag("attention_bias", True),
        output_bias=_flag("attention_out_bias"), network=_gated_mlp,
    ),
    Family("internlm2", ("InternLM2ForCausalLM",), ("internlm2",), network=_gated_mlp),
)  # fmt: skip

#: Family by class name and by model type.
FAMILIES: dict[str, Family] = {name: family for family in _ALL for name in (*family.classes, *family.types)}
