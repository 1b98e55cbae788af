"""Reading config.json: published configs against the catalog, defaults of the classes, and files that lie."""

import json
from pathlib import Path
from typing import Any

import pytest

from roofline.blocks import Attention, Experts
from roofline.model import Model
from roofline.readers import read_config, read_model_file, read_model_toml
from roofline.readers.config_families import FAMILIES
from roofline.spec import SpecError
from tests.test_gguf_reader import MODELS, shape

# The keys of the published configs that bear on the shape, as they stand in the repositories named.
PUBLISHED: dict[str, dict[str, Any]] = {
    # mistralai/Mistral-7B-v0.1
    "mistral-7b": {
        "architectures": ["MistralForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336,
        "max_position_embeddings": 32768, "model_type": "mistral", "num_attention_heads": 32, "num_hidden_layers": 32,
        "num_key_value_heads": 8, "sliding_window": 4096, "tie_word_embeddings": False, "vocab_size": 32000,
    },
    # HuggingFaceTB/SmolLM2-135M-Instruct
    "smollm2-135m": {
        "architectures": ["LlamaForCausalLM"], "attention_bias": False, "hidden_size": 576, "intermediate_size": 1536,
        "max_position_embeddings": 8192, "mlp_bias": False, "model_type": "llama", "num_attention_heads": 9,
        "num_hidden_layers": 30, "num_key_value_heads": 3, "tie_word_embeddings": True, "vocab_size": 49152,
    },
    # Qwen/Qwen2.5-7B
    "qwen2.5-7b": {
        "architectures": ["Qwen2ForCausalLM"], "hidden_size": 3584, "intermediate_size": 18944,
        "max_position_embeddings": 131072, "max_window_layers": 28, "model_type": "qwen2", "num_attention_heads": 28,
        "num_hidden_layers": 28, "num_key_value_heads": 4, "sliding_window": 131072, "tie_word_embeddings": False,
        "use_sliding_window": False, "vocab_size": 152064,
    },
    # Qwen/Qwen3-30B-A3B
    "qwen3-30b-a3b": {
        "architectures": ["Qwen3MoeForCausalLM"], "attention_bias": False, "decoder_sparse_step": 1, "head_dim": 128,
        "hidden_size": 2048, "intermediate_size": 6144, "max_position_embeddings": 40960, "mlp_only_layers": [],
        "model_type": "qwen3_moe", "moe_intermediate_size": 768, "num_attention_heads": 32, "num_experts": 128,
        "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_key_value_heads": 4, "sliding_window": None,
        "tie_word_embeddings": False, "vocab_size": 151936,
    },
    # google/gemma-2-9b; the head is tied by the class
    "gemma-2-9b": {
        "architectures": ["Gemma2ForCausalLM"], "attention_bias": False, "head_dim": 256, "hidden_size": 3584,
        "intermediate_size": 14336, "max_position_embeddings": 8192, "model_type": "gemma2", "num_attention_heads": 16,
        "num_hidden_layers": 42, "num_key_value_heads": 8, "sliding_window": 4096, "vocab_size": 256000,
    },
    # google/gemma-3-4b-it: heads, head size, vocabulary and context are the class's defaults
    "gemma-3-4b": {
        "architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3",
        "text_config": {
            "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
            "sliding_window": 1024,
        },
        "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27},
    },
    # microsoft/phi-2
    "phi-2": {
        "architectures": ["PhiForCausalLM"], "hidden_size": 2560, "intermediate_size": 10240,
        "max_position_embeddings": 2048, "model_type": "phi", "num_attention_heads": 32, "num_hidden_layers": 32,
        "num_key_value_heads": 32, "qk_layernorm": False, "tie_word_embeddings": False, "vocab_size": 51200,
    },
    # microsoft/Phi-3-mini-4k-instruct
    "phi-3-mini": {
        "architectures": ["Phi3ForCausalLM"], "hidden_size": 3072, "intermediate_size": 8192,
        "max_position_embeddings": 4096, "model_type": "phi3", "num_attention_heads": 32, "num_hidden_layers": 32,
        "num_key_value_heads": 32, "sliding_window": 2047, "tie_word_embeddings": False, "vocab_size": 32064,
    },
    # tiiuae/falcon-7b
    "falcon-7b": {
        "alibi": False, "architectures": ["FalconForCausalLM"], "bias": False, "hidden_size": 4544, "multi_query": True,
        "model_type": "falcon", "new_decoder_architecture": False, "num_attention_heads": 71, "num_hidden_layers": 32,
        "parallel_attn": True, "vocab_size": 65024,
    },
    # tiiuae/falcon-40b
    "falcon-40b": {
        "alibi": False, "architectures": ["FalconForCausalLM"], "bias": False, "hidden_size": 8192,
        "model_type": "falcon", "new_decoder_architecture": True, "num_attention_heads": 128, "num_hidden_layers": 60,
        "num_kv_heads": 8, "parallel_attn": True, "vocab_size": 65024,
    },
    # deepseek-ai/DeepSeek-V2-Lite
    "deepseek-v2-lite": {
        "architectures": ["DeepseekV2ForCausalLM"], "first_k_dense_replace": 1, "hidden_size": 2048,
        "intermediate_size": 10944, "kv_lora_rank": 512, "max_position_embeddings": 163840, "model_type": "deepseek_v2",
        "moe_intermediate_size": 1408, "moe_layer_freq": 1, "n_routed_experts": 64, "n_shared_experts": 2,
        "num_attention_heads": 16, "num_experts_per_tok": 6, "num_hidden_layers": 27, "num_key_value_heads": 16,
        "q_lora_rank": None, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "tie_word_embeddings": False,
        "topk_method": "greedy", "v_head_dim": 128, "vocab_size": 102400,
    },
    # deepseek-ai/DeepSeek-V3
    "deepseek-v3": {
        "architectures": ["DeepseekV3ForCausalLM"], "first_k_dense_replace": 3, "hidden_size": 7168,
        "intermediate_size": 18432, "kv_lora_rank": 512, "max_position_embeddings": 163840, "model_type": "deepseek_v3",
        "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_routed_experts": 256, "n_shared_experts": 1,
        "num_attention_heads": 128, "num_experts_per_tok": 8, "num_hidden_layers": 61, "num_key_value_heads": 128,
        "num_nextn_predict_layers": 1, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
        "quantization_config": {"quant_method": "fp8"}, "tie_word_embeddings": False, "topk_method": "noaux_tc",
        "v_head_dim": 128, "vocab_size": 129280,
    },
    # openai/gpt-oss-20b
    "gpt-oss-20b": {
        "architectures": ["GptOssForCausalLM"], "attention_bias": True, "experts_per_token": 4, "head_dim": 64,
        "hidden_size": 2880, "intermediate_size": 2880, "layer_types": ["sliding_attention", "full_attention"] * 12,
        "max_position_embeddings": 131072, "model_type": "gpt_oss", "num_attention_heads": 64, "num_experts_per_tok": 4,
        "num_hidden_layers": 24, "num_key_value_heads": 8, "num_local_experts": 32,
        "quantization_config": {"quant_method": "mxfp4"}, "sliding_window": 128, "tie_word_embeddings": False,
        "vocab_size": 201088,
    },
    # zai-org/GLM-4.5-Air
    "glm-4.5-air": {
        "architectures": ["Glm4MoeForCausalLM"], "attention_bias": True, "first_k_dense_replace": 1, "head_dim": 128,
        "hidden_size": 4096, "intermediate_size": 10944, "max_position_embeddings": 131072, "model_type": "glm4_moe",
        "moe_intermediate_size": 1408, "n_routed_experts": 128, "n_shared_experts": 1, "num_attention_heads": 96,
        "num_experts_per_tok": 8, "num_hidden_layers": 46, "num_key_value_heads": 8, "num_nextn_predict_layers": 1,
        "tie_word_embeddings": False, "use_qk_norm": False, "vocab_size": 151552,
    },
}  # fmt: skip


def write(folder: Path, config: object) -> Path:
    path = folder / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config), encoding="utf-8")
    return path


def catalog(name: str) -> Model:
    return read_model_toml(next(path for path in MODELS if path.stem == name))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_config_gives_the_catalog_model(name: str, tmp_path: Path) -> None:
    model, stored = read_model_file(write(tmp_path, PUBLISHED[name]))
    known = catalog(name)
    assert stored is None
    if "max_position_embeddings" not in json.dumps(PUBLISHED[name]) and model.max_context is None:
        known = known.model_copy(update={"max_context": None})  # Falcon has no such key: rotary without a limit
    assert shape(model) == shape(known)
    assert model.parameter_count == known.parameter_count
    assert model.native_quant == known.native_quant


LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "vocab_size": 128,
}


def changed(**changes: Any) -> dict[str, Any]:
    return {key: item for key, item in (LLAMA | changes).items() if item is not ...}


def attention_of(model: Model) -> Attention:
    found = next(iter(model.blocks.values())).attention
    assert found is not None
    return found


def experts_of(model: Model) -> Experts:
    found = next(iter(model.blocks.values())).experts
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("architecture", "tied"),
    [
        ("LlamaForCausalLM", False), ("MistralForCausalLM", False), ("Qwen2ForCausalLM", False),
        ("Qwen3ForCausalLM", False), ("GemmaForCausalLM", True), ("Gemma2ForCausalLM", True),
        ("Gemma3ForCausalLM", True), ("Phi3ForCausalLM", False), ("PhiForCausalLM", False),
        ("Starcoder2ForCausalLM", True), ("CohereForCausalLM", True), ("SmolLM3ForCausalLM", True),
        ("GPTNeoXForCausalLM", False), ("Olmo2ForCausalLM", False),
    ],
)  # fmt: skip
def test_the_class_decides_what_is_tied_when_the_config_does_not(architecture: str, tied: bool, tmp_path: Path) -> None:
    assert read_config(write(tmp_path, changed(architectures=[architecture]))).tied_embeddings is tied
    stated = changed(architectures=[architecture], tie_word_embeddings=not tied)
    assert read_config(write(tmp_path, stated)).tied_embeddings is not tied


@pytest.mark.parametrize(
    ("changes", "heads", "kv_heads", "head_dim"),
    [
        ({}, 4, 4, 16),  # no GQA, hidden / heads
        ({"num_key_value_heads": None, "head_dim": None}, 4, 4, 16),
        ({"num_key_value_heads": 2}, 4, 2, 16),
        ({"head_dim": 32}, 4, 4, 32),
        ({"architectures": ["Qwen3ForCausalLM"]}, 4, 4, 128),
        ({"architectures": ["GemmaForCausalLM"], "num_key_value_heads": 1}, 4, 1, 256),
    ],
)
def test_heads(changes: dict[str, Any], heads: int, kv_heads: int, head_dim: int, tmp_path: Path) -> None:
    found = attention_of(read_config(write(tmp_path, changed(**changes))))
    assert (found.heads, found.kv_heads, found.head_dim) == (heads, kv_heads, head_dim)


def test_mixtral(tmp_path: Path) -> None:
    # mistralai/Mixtral-8x7B-v0.1: 46,702,792,704 parameters, 12.9 billion of them active.
    config = {
        "architectures": ["MixtralForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336,
        "max_position_embeddings": 32768, "model_type": "mixtral", "num_attention_heads": 32,
        "num_experts_per_tok": 2, "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8,
        "sliding_window": None, "tie_word_embeddings": False, "vocab_size": 32000,
    }  # fmt: skip
    model = read_config(write(tmp_path, config))
    assert model.parameter_count == 46_702_792_704
    assert (experts_of(model).experts, experts_of(model).active) == (8, 2)


def test_qwen2_moe(tmp_path: Path) -> None:
    # Qwen/Qwen1.5-MoE-A2.7B: 14,315,784,192 parameters, a gated shared expert four experts wide.
    config = {
        "architectures": ["Qwen2MoeForCausalLM"], "decoder_sparse_step": 1, "hidden_size": 2048,
        "intermediate_size": 5632, "max_position_embeddings": 8192, "model_type": "qwen2_moe",
        "moe_intermediate_size": 1408, "num_attention_heads": 16, "num_experts": 60, "num_experts_per_tok": 4,
        "num_hidden_layers": 24, "num_key_value_heads": 16, "shared_expert_intermediate_size": 5632,
        "tie_word_embeddings": False, "use_sliding_window": False, "vocab_size": 151936,
    }  # fmt: skip
    model = read_config(write(tmp_path, config))
    assert model.parameter_count == 14_315_784_192
    assert experts_of(model).shared_gate


def test_olmoe(tmp_path: Path) -> None:
    # allenai/OLMoE-1B-7B-0924: 6,919,161,856 parameters.
    config = {
        "architectures": ["OlmoeForCausalLM"], "hidden_size": 2048, "intermediate_size": 1024,
        "max_position_embeddings": 4096, "model_type": "olmoe", "num_attention_heads": 16, "num_experts": 64,
        "num_experts_per_tok": 8, "num_hidden_layers": 16, "num_key_value_heads": 16, "tie_word_embeddings": False,
        "vocab_size": 50304,
    }  # fmt: skip
    assert read_config(write(tmp_path, config)).parameter_count == 6_919_161_856


def test_qwen3_next_alternates_delta_nets_and_attention(tmp_path: Path) -> None:
    config = changed(
        architectures=["Qwen3NextForCausalLM"], num_hidden_layers=8, num_experts=16, num_experts_per_tok=2,
        moe_intermediate_size=32, shared_expert_intermediate_size=32, num_key_value_heads=2,
    )  # fmt: skip
    model = read_config(write(tmp_path, config))
    assert [model.blocks[kind].delta_net is not None for kind in model.order] == [True, True, True, False] * 2
    assert model.architecture == "qwen3next"


def test_sparse_steps_and_dense_exceptions(tmp_path: Path) -> None:
    config = changed(
        architectures=["Qwen3MoeForCausalLM"], num_hidden_layers=6, num_experts=4, num_experts_per_tok=2,
        moe_intermediate_size=32, decoder_sparse_step=2, mlp_only_layers=[3],
    )  # fmt: skip
    model = read_config(write(tmp_path, config))
    assert [model.blocks[kind].experts is not None for kind in model.order] == [False, True, False, False, False, True]


def test_a_window_that_llama_cpp_ignores_is_noted(tmp_path: Path) -> None:
    model = read_config(write(tmp_path, PUBLISHED["mistral-7b"]))
    assert attention_of(model).window is None
    assert "sliding window" in model.notes[0]
    assert read_config(write(tmp_path, PUBLISHED["qwen2.5-7b"])).notes == ()  # use_sliding_window is false


def test_the_folder_names_the_model(tmp_path: Path) -> None:
    folder = tmp_path / "Tiny-Llama"
    folder.mkdir()
    write(folder, LLAMA)
    model, stored = read_model_file(folder)
    assert (model.name, stored) == ("Tiny-Llama", None)


def test_model_type_serves_where_no_class_is_named(tmp_path: Path) -> None:
    model = read_config(write(tmp_path, changed(architectures=..., model_type="qwen2")))
    assert (model.architecture, attention_of(model).qkv_bias) == ("qwen2", True)


def test_the_language_part_of_a_vision_model(tmp_path: Path) -> None:
    inner = changed(architectures=..., model_type="qwen3")
    outer = {"architectures": ["Qwen3VLForConditionalGeneration"], "text_config": inner, "tie_word_embeddings": True}
    model = read_config(write(tmp_path, outer))
    assert (model.architecture, model.tied_embeddings) == ("qwen3", True)


def test_every_class_and_type_names_one_family() -> None:
    listed = [
        name for family in {id(f): f for f in FAMILIES.values()}.values() for name in (*family.classes, *family.types)
    ]
    assert sorted(listed) == sorted(FAMILIES)


# Files that lie.

HOSTILE: dict[str, tuple[object, str]] = {
    "empty": ("", "expected JSON in UTF-8, found: Expecting value"),
    "no JSON": ("{'a': 1}", "expected JSON in UTF-8, found: Expecting property name"),
    "a list": ("[1]", "expected a JSON object, found list"),
    "a number": ("7", "expected a JSON object, found int"),
    "NaN": ('{"hidden_size": NaN}', "expected finite numbers, found NaN"),
    "Infinity": ('{"hidden_size": -Infinity}', "expected finite numbers, found -Infinity"),
    "overflow": (
        json.dumps(LLAMA).replace("64", "1e999"),
        "hidden_size: expected a whole number from 0 to 1000000000, found",
    ),
    "deep nesting": ("[" * 100_000, "expected JSON in UTF-8, found: maximum recursion depth exceeded"),
    "deep objects": ('{"a":' * 100_000, "expected JSON in UTF-8, found: maximum recursion depth exceeded"),
    "many digits": ('{"hidden_size": ' + "9" * 10_000 + "}", "expected JSON in UTF-8, found: Exceeds the limit"),
    "too large": ('{"a": "' + "x" * 1_000_000 + '"}', "expected a config.json of at most 1,000,000 bytes"),
    "no class": ({}, "architectures: expected one of"),
    "classes of numbers": ({"architectures": [1, None]}, "architectures: expected one of"),
    "other class": ({"architectures": ["RwkvForCausalLM"]}, "found 'RwkvForCausalLM'"),
    "encoder": ({"architectures": ["BertModel"], "model_type": "bert"}, "LlamaForCausalLM"),
    "terminal escape": ({"architectures": ["\x1b[2J\n"]}, "found '\\x1b[2J\\n'"),
    "text_config a list": (changed(text_config=[]), "text_config: expected a table, found []"),
    "no hidden size": (changed(hidden_size=...), "hidden_size: expected a whole number, found none"),
    "no width": (changed(intermediate_size=...), "intermediate_size: expected a whole number, found none"),
    "no layers": (changed(num_hidden_layers=0), "num_hidden_layers: expected a whole number of at least 1, found 0"),
    "huge layers": (
        changed(num_hidden_layers=10**9),
        "num_hidden_layers: expected at most 1000 layers, found 1000000000",
    ),
    "absurd layers": (changed(num_hidden_layers=10**30), "num_hidden_layers: expected a whole number from 0 to"),
    "negative": (changed(hidden_size=-64), "hidden_size: expected a whole number from 0 to 1000000000, found -64"),
    "a text": (changed(vocab_size="128"), 'vocab_size: expected a whole number from 0 to 1000000000, found "128"'),
    "a boolean": (changed(vocab_size=True), "vocab_size: expected a whole number from 0 to 1000000000, found true"),
    "a fraction": (changed(vocab_size=128.5), "vocab_size: expected a whole number from 0 to 1000000000, found 128.5"),
    "no heads": (changed(num_attention_heads=0), "num_attention_heads: expected a whole number of at least 1, found 0"),
    "heads that do not divide": (
        changed(num_attention_heads=7),
        "num_attention_heads: expected a divisor of the hidden",
    ),
    "odd KV heads": (
        changed(num_key_value_heads=3),
        "num_key_value_heads: expected a divisor of the 4 attention heads",
    ),
    "tied by a text": (changed(tie_word_embeddings="yes"), 'tie_word_embeddings: expected true or false, found "yes"'),
    "bias by a number": (changed(attention_bias=1), "attention_bias: expected true or false, found 1"),
    "more active than stored": (
        changed(architectures=["MixtralForCausalLM"], num_local_experts=2, num_experts_per_tok=8),
        "num_experts_per_tok: expected at most the 2 experts, found 8",
    ),
    "short layer types": (
        changed(architectures=["Gemma2ForCausalLM"], layer_types=["full_attention"]),
        "layer_types: expected a list of 2 words",
    ),
    "nested field": (
        {"text_config": changed(model_type="llama", vocab_size=None)},
        "text_config.vocab_size: expected a whole number, found none",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_config_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    content, message = HOSTILE[case]
    path = write(tmp_path, content)
    with pytest.raises(SpecError) as caught:
        read_model_file(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()


def test_a_config_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(SpecError, match=r"expected JSON in UTF-8, found: 'utf-8' codec can't decode"):
        read_config(path)
    with pytest.raises(SpecError, match=r"expected a model file, found none"):
        read_model_file(tmp_path / "none.json")
