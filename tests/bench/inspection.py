"""``roofline inspect`` on a header with a large vocabulary: ``python -m tests.bench.inspection``."""

import statistics
import tempfile
from pathlib import Path

import gguf
import numpy as np

from tests.bench.startup import ROOFLINE, seconds

VOCABULARY = 150_000


def write_header(path: Path, layers: int = 32, hidden: int = 4096, intermediate: int = 14336) -> None:
    """A GGUF of a 7B-like model: every header field and tensor entry, no weights."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("benchmark")
    writer.add_context_length(32768)
    writer.add_embedding_length(hidden)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(intermediate)
    writer.add_head_count(32)
    writer.add_head_count_kv(8)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"token{index}" for index in range(VOCABULARY)])
    writer.add_token_types([1] * VOCABULARY)
    writer.add_token_merges([f"a{index} b{index}" for index in range(VOCABULARY)])
    kv_width = hidden // 4
    shapes = {"token_embd": (VOCABULARY, hidden), "output": (VOCABULARY, hidden), "output_norm": (hidden,)}
    for layer in range(layers):
        shapes |= {
            f"blk.{layer}.{role}": shape
            for role, shape in {
                "attn_norm": (hidden,),
                "attn_q": (hidden, hidden),
                "attn_k": (kv_width, hidden),
                "attn_v": (kv_width, hidden),
                "attn_output": (hidden, hidden),
                "ffn_norm": (hidden,),
                "ffn_gate": (intermediate, hidden),
                "ffn_up": (intermediate, hidden),
                "ffn_down": (hidden, intermediate),
            }.items()
        }
    for name, shape in shapes.items():
        kind = np.float32 if len(shape) == 1 else np.float16
        elements = int(np.prod(shape))
        writer.add_tensor_info(f"{name}.weight", shape, np.dtype(kind), elements * np.dtype(kind).itemsize)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()


def main(rounds: int = 5) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "header.gguf"
        write_header(path)
        command = [ROOFLINE, "inspect", str(path)]
        seconds(command)
        median = statistics.median(seconds(command) for _ in range(rounds))
        print(f"{f'roofline inspect, {VOCABULARY} tokens':42} {median * 1e3:7.0f} ms  (goal 1000 ms)")


if __name__ == "__main__":
    main()
