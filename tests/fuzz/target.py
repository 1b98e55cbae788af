"""What is fuzzed: a reader given a broken file returns a model or raises SpecError with one line, and nothing else."""

import json
import random
from collections.abc import Callable
from pathlib import Path

from roofline.model import Model
from roofline.readers import read_config, read_gguf, read_model_toml
from roofline.readers.gguf_model import model_of
from roofline.spec import SpecError
from tests.gguf_files import encode, llama, of_model

READERS: dict[str, Callable[[Path], Model]] = {
    "gguf": lambda path: model_of(read_gguf(path)),
    "json": read_config,
    "toml": read_model_toml,
}

TOML = """
name = "Tiny"
architecture = "deepseek2"
vocab = 128
hidden = 64
layers = 5
first = ["dense"]
pattern = ["moe", "window"]
max_context = 4096
source = "s"
parameters = { value = 1000, source = "s" }

[blocks.dense]
attention = { heads = 4, kv_heads = 2, head_dim = 16, qk_norm = "head" }
mlp = { width = 96 }

[blocks.moe]
latent_attention = { heads = 2, kv_rank = 32, nope = 16, rope = 8, value = 16 }
experts = { experts = 8, active = 2, width = 32, shared_width = 32 }

[blocks.window]
attention = { heads = 4, kv_heads = 2, head_dim = 16, window = 32 }
mlp = { width = 96, gated = false }

[sources.s]
title = "a source"
"""

CONFIG = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "first_k_dense_replace": 1,
    "hidden_size": 64,
    "intermediate_size": 96,
    "kv_lora_rank": 32,
    "max_position_embeddings": 4096,
    "moe_intermediate_size": 32,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "num_attention_heads": 4,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 3,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "tie_word_embeddings": False,
    "v_head_dim": 16,
    "vocab_size": 128,
}
GEMMA = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "text_config": {
        "hidden_size": 64,
        "intermediate_size": 96,
        "model_type": "gemma3_text",
        "num_hidden_layers": 7,
        "layer_types": ["sliding_attention", "full_attention"] * 4,
        "sliding_window": 16,
    },
}


def seeds(folder: Path) -> dict[str, list[bytes]]:
    """Valid files to start from, by kind."""
    toml = folder / "seed.toml"
    toml.write_text(TOML, encoding="utf-8")
    return {
        "gguf": [encode(*llama()), encode(*llama(), order=">"), of_model(read_model_toml(toml))],
        "json": [json.dumps(CONFIG).encode(), json.dumps(GEMMA, indent=1).encode()],
        "toml": [TOML.encode()],
    }


def check(kind: str, content: bytes, folder: Path) -> Model | None:
    """The model, or None if the file was refused as it should be. Any other exception is a finding."""
    path = folder / f"fuzzed.{kind}"
    path.write_bytes(content)
    try:
        model = READERS[kind](path)
    except SpecError as error:
        message = str(error)
        if not message.startswith(str(path)) or not message.isprintable() or len(message) > len(str(path)) + 2000:
            raise AssertionError(f"expected one line that names the file, found {message[:500]!r}") from error
        return None
    # A model that was accepted must be usable: counting it touches every layer.
    if model.parameter_count <= 0 or len(model.order) != model.layers:
        raise AssertionError(f"expected a usable model, found {model!r}")
    return model


_NUMBERS = (0, 1, 2**7, 2**15, 2**31 - 1, 2**32 - 1, 2**62, 2**63, 2**64 - 1)
_WORDS = (
    b"NaN",
    b"-1",
    b"1e999",
    b"null",
    b"[]",
    b"{}",
    b'""',
    b"true",
    b"9" * 5000,
    b"[" * 3000,
    b"\x1b[2J",
    b"\xff\xfe",
)


def mutate(content: bytes, chance: random.Random) -> bytes:
    """A few random damages: flipped bits, replaced numbers and words, cuts, repeats."""
    out = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(out) + 1)
        kind = chance.randrange(7)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            size = chance.choice((1, 2, 4, 8))
            number = chance.choice(_NUMBERS) % (1 << (8 * size))
            out[at : at + size] = number.to_bytes(size, chance.choice(("little", "big")))
        elif kind == 2:
            out[at : at + chance.randrange(12)] = chance.choice(_WORDS)
        elif kind == 3:
            del out[at:]
        elif kind == 4:
            del out[at : at + chance.randrange(64)]
        elif kind == 5:
            out[at:at] = out[at : at + chance.randrange(64)]
        else:
            other = chance.randrange(len(out) + 1)
            length = chance.randrange(16)
            out[at : at + length] = out[other : other + length]
    return bytes(out)
