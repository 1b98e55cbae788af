"""Block layouts and recipes: derivations, ggml's own constants, llama.cpp's own snapshots, and properties."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline import quantization
from roofline.quantization import FALLBACKS, LAYOUTS, RECIPES, Position, ShapeFacts, layout, tensor_bytes
from roofline.spec import SpecError
from roofline.tensor import Tensor

DATA = Path(__file__).parent / "data"

# --- models to quantise -----------------------------------------------------------------------------------------------


def tensor(name: str, *shape: int) -> Tensor:
    parts = name.split(".")
    layer = int(parts[1]) if parts[0] == "blk" else None
    return Tensor(name, ".".join(parts[2:-1] if layer is not None else parts[:-1]), layer, shape)


def model(
    architecture: str = "llama",
    *,
    layers: int = 32,
    hidden: int = 4096,
    heads: int = 32,
    kv_heads: int = 32,
    head_dim: int = 128,
    ffn: int = 11008,
    vocab: int = 32000,
    experts: int = 0,
    tied: bool = False,
    fused: bool = False,
) -> tuple[list[Tensor], ShapeFacts]:
    """A transformer's tensors: gated feed-forward or experts; fused is one attn_qkv and no gate, as in Falcon."""
    query, key = heads * head_dim, kv_heads * head_dim
    tensors = [tensor("token_embd.weight", hidden, vocab), tensor("output_norm.weight", hidden)]
    if not tied:
        tensors.append(tensor("output.weight", hidden, vocab))
    for layer in range(layers):
        shapes: dict[str, tuple[int, ...]] = {"attn_norm.weight": (hidden,), "attn_output.weight": (query, hidden)}
        if fused:
            shapes |= {"attn_qkv.weight": (hidden, query + 2 * key)}
        else:
            shapes |= {"attn_q.weight": (hidden, query), "attn_q.bias": (query,)}
            shapes |= {"attn_k.weight": (hidden, key), "attn_v.weight": (hidden, key)}
        if experts:
            shapes |= {"ffn_gate_inp.weight": (hidden, experts), "ffn_down_exps.bias": (hidden, experts)}
            shapes |= {f"ffn_{side}_exps.weight": (hidden, ffn, experts) for side in ("gate", "up")}
            shapes |= {"ffn_down_exps.weight": (ffn, hidden, experts)}
        else:
            shapes |= {"ffn_up.weight": (hidden, ffn), "ffn_down.weight": (ffn, hidden)}
            shapes |= {} if fused else {"ffn_gate.weight": (hidden, ffn)}
        tensors += [tensor(f"blk.{layer}.{name}", *shape) for name, shape in shapes.items()]
    return tensors, ShapeFacts(architecture, layers, heads, kv_heads, experts, tied)


LLAMA_3_70B = model(layers=80, hidden=8192, heads=64, kv_heads=8, ffn=28672, vocab=128256)
GEMMA_3_4B = model(
    "gemma3", layers=34, hidden=2560, heads=8, kv_heads=4, head_dim=256, ffn=10240, vocab=262208, tied=True
)
GPT_OSS_120B = model(
    "gpt-oss", layers=36, hidden=2880, heads=64, kv_heads=8, head_dim=64, ffn=2880, vocab=201088, experts=128
)
MIXTRAL = model(kv_heads=8, ffn=14336, experts=8)
FALCON_40B = model("falcon", layers=60, hidden=8192, heads=128, kv_heads=8, head_dim=64, ffn=32768, fused=True)


def types(quant: str, of: tuple[list[Tensor], ShapeFacts], imatrix: bool | None = None) -> dict[str, str]:
    tensors, facts = of
    assigned = quantization.assign_types(quant, tensors, facts, imatrix)
    return {one.name: kind for one, kind in zip(tensors, assigned, strict=True)}


def layers_with(kind: str, role: str, assigned: dict[str, str]) -> list[int]:
    return [int(name.split(".")[1]) for name, found in assigned.items() if f".{role}." in name and found == kind]


# --- layouts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_block_is_the_sum_of_its_fields(name: str) -> None:
    assert sum(size for _, size in LAYOUTS[name].fields) == LAYOUTS[name].block_bytes


def test_layouts_equal_the_constants_of_the_gguf_package() -> None:
    constants = pytest.importorskip("gguf").constants
    for kind, (weights, size) in constants.GGML_QUANT_SIZES.items():
        if kind.name == "Q8_1":
            # An intermediate type, never stored in a file. Releases of the package up to 2025 count its scale and sum
            # as two floats (40 bytes), where ggml's struct holds two halves: 2 + 2 + 32 = 36 bytes.
            size = 36
        found = LAYOUTS[kind.name.lower()]
        assert (found.block_weights, found.block_bytes) == (weights, size), kind.name


@pytest.mark.parametrize(
    ("name", "bits"),
    # bytes * 8 / weights: 18*8/32, 34*8/32, 144*8/256, 210*8/256, 136*8/256, 17*8/32; the last three by definition
    [
        *[("q4_0", 4.5), ("q8_0", 8.5), ("q4_K", 4.5), ("q6_k", 6.5625), ("iq4_xs", 4.25), ("mxfp4", 4.25)],
        *[("int4", 4.0), ("fp8", 8.0), ("4.5bpw", 4.5)],
    ],
)
def test_bits_per_weight(name: str, bits: float) -> None:
    assert layout(name).bits_per_weight == bits
    assert layout(name).bytes_per_weight == bits / 8


def test_tensor_bytes_counts_blocks_rows_and_experts() -> None:
    # 4096 columns are 16 blocks of 144 bytes; 14336 rows; 8 experts
    assert tensor_bytes("q4_k", (4096, 14336, 8)) == 16 * 144 * 14336 * 8
    # iq4_ks keeps a 4-byte scale per row before its 16 blocks of 136 bytes
    assert tensor_bytes("iq4_ks", (4096, 10)) == 10 * (4 + 16 * 136)
    # three weights of 4 bits: no block, no rounding
    assert tensor_bytes("int4", (3,)) == 1.5


@pytest.mark.parametrize(
    ("kind", "shape", "words"),
    [
        ("q4_k", (4544, 10), ["multiple of 256", "q4_k", "4544"]),
        ("f16", (), ["dimension"]),
        ("f16", (0, 4), ["at least 1"]),
        ("q4_9", (32,), ["q4_9"]),
        ("0bpw", (32,), ["above 0"]),
        ("99bpw", (32,), ["at most 64"]),
        ("-1bpw", (32,), ["-1bpw"]),
        ("infbpw", (32,), ["infbpw"]),
    ],
)
def test_bad_types_and_shapes_are_one_clear_line(kind: str, shape: tuple[int, ...], words: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        tensor_bytes(kind, shape)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


@given(
    narrow=st.floats(0.01, 64).map(lambda bits: round(bits, 4)),
    wide=st.floats(0.01, 64).map(lambda bits: round(bits, 4)),
    rows=st.integers(1, 1000),
    columns=st.integers(1, 10_000),
)
def test_bytes_grow_with_bits(narrow: float, wide: float, rows: int, columns: int) -> None:
    narrow, wide = sorted((narrow, wide))
    small, large = (tensor_bytes(f"{bits:.4f}bpw", (columns, rows)) for bits in (narrow, wide))
    assert small <= large
    assert large == pytest.approx(rows * columns * wide / 8)


@given(kind=st.sampled_from(sorted(LAYOUTS)), blocks=st.integers(1, 50), rows=st.integers(1, 50))
def test_bytes_are_linear_in_rows_and_bits_per_weight_is_their_rate(kind: str, blocks: int, rows: int) -> None:
    columns = blocks * LAYOUTS[kind].block_weights
    one, many = tensor_bytes(kind, (columns, 1)), tensor_bytes(kind, (columns, rows))
    assert many == rows * one
    assert one - LAYOUTS[kind].row_extra == pytest.approx(columns * LAYOUTS[kind].bytes_per_weight)


def test_interleaved_types_hold_the_same_bytes() -> None:
    for name, original in (("q8_0_r8", "q8_0"), ("bf16_r16", "bf16"), ("q4_k_4", "q4_k"), ("q4_0_8_8", "q4_0")):
        assert layout(name).block_bytes == layout(original).block_bytes
        assert layout(name).family == layout(original).family


def test_kv_cache_types() -> None:
    assert quantization.kv_layout("q8_0").bits_per_weight == 8.5
    assert quantization.kv_layout("6bpw").bits_per_weight == 6.0
    with pytest.raises(SpecError, match=r"kv: expected one of f32, f16.*found 'q4_k'"):
        quantization.kv_layout("q4_k")


# --- rules ------------------------------------------------------------------------------------------------------------


def test_use_more_bits_picks_half_of_the_layers() -> None:
    # 32 layers: 0-3 and 28-31 are the outer eighths; between them (i - 4) % 3 == 2 holds for 6, 9, ..., 27: 8 layers
    chosen = [layer for layer in range(32) if quantization.use_more_bits(layer, 32)]
    assert chosen == [0, 1, 2, 3, *range(6, 28, 3), 28, 29, 30, 31]
    # 80 layers: 10 + 10 at the ends, (i - 10) % 3 == 2 for 12, 15, ..., 69: 20 between them
    assert sum(quantization.use_more_bits(layer, 80) for layer in range(80)) == 40


def test_q4_k_m_upgrades_attn_v_and_ffn_down_in_the_same_layers() -> None:
    assigned = types("q4_k_m", model())
    chosen = [layer for layer in range(32) if quantization.use_more_bits(layer, 32)]
    assert layers_with("q6_k", "attn_v", assigned) == layers_with("q6_k", "ffn_down", assigned) == chosen
    assert assigned["output.weight"] == "q6_k"
    assert assigned["token_embd.weight"] == assigned["blk.3.attn_q.weight"] == "q4_k"
    assert assigned["blk.3.attn_norm.weight"] == assigned["blk.3.attn_q.bias"] == "f32"


def test_a_tied_embedding_takes_the_type_of_the_output() -> None:
    assert types("q4_k_m", GEMMA_3_4B)["token_embd.weight"] == "q6_k"
    assert types("iq2_xs", GEMMA_3_4B)["token_embd.weight"] == "q5_k"
    assert types("q8_0", GEMMA_3_4B)["token_embd.weight"] == "q8_0"


def test_a_70b_model_keeps_attn_v_in_at_least_5_bits() -> None:
    # Llama 3.3 70B Q3_K_M as its loader prints it (github.com/ollama/ollama/issues/10553): 321 tensors q3_K,
    # 155 q4_K, 85 q5_K, 1 q6_K. The 85 are 80 attn_v and ffn_down of the first 80/16 layers.
    counts = Counter(types("q3_k_m", LLAMA_3_70B).values())
    assert (counts["q3_k"], counts["q4_k"], counts["q5_k"], counts["q6_k"]) == (321, 155, 85, 1)
    # The 65B model has as many layers and one KV head for each head: not a '70B'.
    llama_65b = model(layers=80, hidden=8192, heads=64, kv_heads=64, ffn=22016)
    assert types("q4_k_m", llama_65b)["blk.10.attn_v.weight"] == "q4_k"
    assert types("q4_k_m", LLAMA_3_70B)["blk.10.attn_v.weight"] == "q5_k"


def test_eight_experts_keep_attention_in_more_bits() -> None:
    assigned = types("q4_k_m", MIXTRAL)
    assert assigned["blk.5.attn_k.weight"] == assigned["blk.5.attn_v.weight"] == "q8_0"
    assert assigned["blk.5.attn_output.weight"] == "q5_k"
    assert assigned["blk.5.attn_q.weight"] == "q4_k"
    assert assigned["blk.5.ffn_gate_inp.weight"] == assigned["blk.5.ffn_down_exps.bias"] == "f32"
    assert layers_with("q6_k", "ffn_down_exps", assigned) == layers_with("q6_k", "ffn_down", types("q4_k_m", model()))
    # the mixes above 4 bits leave attn_output alone, and so does q3_k_l
    assert types("q5_k_m", MIXTRAL)["blk.5.attn_output.weight"] == "q5_k"
    assert types("q6_k", MIXTRAL)["blk.5.attn_output.weight"] == "q6_k"
    assert types("q3_k_l", MIXTRAL)["blk.5.attn_output.weight"] == "q3_k"
    # with 2-bit types attn_k and attn_v get q4_k instead
    assert types("iq2_xs", MIXTRAL)["blk.5.attn_k.weight"] == types("iq2_xs", MIXTRAL)["blk.5.attn_v.weight"] == "q4_k"


def test_falcon_has_rules_of_its_own() -> None:
    assigned = types("q4_k_m", FALCON_40B)
    assert assigned["output.weight"] == "q8_0"
    assert set(layers_with("q5_k", "attn_qkv", assigned)) == set(range(60))
    assert layers_with("q6_k", "ffn_down", assigned) == [0, 1, 2]  # the first 60/16 layers
    chosen = [layer for layer in range(3, 60) if quantization.use_more_bits(layer, 60)]
    assert layers_with("q5_k", "ffn_down", assigned) == chosen
    assert assigned["blk.9.attn_output.weight"] == "q4_k"
    assert layers_with("q5_k", "ffn_down", types("q4_k_s", FALCON_40B)) == []


def test_rows_that_are_no_multiple_of_256_fall_back() -> None:
    # Qwen2.5-0.5B has 896 = 3.5 * 256 columns, but its ffn_down has 4864 = 19 * 256.
    small = model("qwen2", layers=24, hidden=896, heads=14, kv_heads=2, head_dim=64, ffn=4864, vocab=151936, tied=True)
    assigned = types("q4_k_m", small)
    # Its loader prints 132 tensors q5_0, 13 q8_0, 12 q4_K, 12 q6_K (github.com/ollama/ollama/issues/9031): attn_q, _k,
    # _output, ffn_gate, ffn_up and half of attn_v fall from q4_k to q5_0; half of attn_v and the embedding from q6_k to
    # q8_0; ffn_down stays as asked for.
    counts = Counter(assigned.values())
    assert (counts["q5_0"], counts["q8_0"], counts["q4_k"], counts["q6_k"]) == (132, 13, 12, 12)
    assert assigned["token_embd.weight"] == assigned["blk.0.attn_v.weight"] == "q8_0"
    assert assigned["blk.0.ffn_down.weight"] == "q6_k"


def test_a_fallback_has_smaller_blocks_and_no_fewer_bits() -> None:
    for name, fallback in FALLBACKS.items():
        assert layout(fallback).block_weights < layout(name).block_weights
        assert layout(fallback).bits_per_weight >= layout(name).bits_per_weight


@given(quant=st.sampled_from(sorted(set(RECIPES) - {"q1_0"})), columns=st.integers(1, 2000), rows=st.integers(2, 64))
def test_every_type_given_divides_the_row(quant: str, columns: int, rows: int) -> None:
    tensors = [tensor("output.weight", columns, rows), tensor("blk.0.attn_v.weight", columns, rows)]
    facts = ShapeFacts("llama", layers=1, heads=8, kv_heads=1, experts=0, tied=False)
    for one, kind in zip(tensors, quantization.assign_types(quant, tensors, facts), strict=True):
        assert layout(kind).divides(columns)
        assert tensor_bytes(kind, one.shape) >= 1


def test_where_llama_quantize_stops_so_do_we() -> None:
    with pytest.raises(SpecError, match=r"token_embd\.weight: expected a multiple of 128 columns for q1_0"):
        types("q1_0", model(layers=1, hidden=960))


def test_mxfp4_is_for_stacked_experts() -> None:
    assigned = types("mxfp4", GPT_OSS_120B)
    assert Counter(assigned.values())["mxfp4"] == 3 * 36
    assert assigned["token_embd.weight"] == assigned["output.weight"] == assigned["blk.0.attn_q.weight"] == "q8_0"
    assert set(types("mxfp4", model()).values()) == {"q8_0", "f32"}


def test_types_do_not_depend_on_the_order_of_the_tensors() -> None:
    for quant in ("q4_k_m", "iq2_s", "q3_k_m"):
        tensors, facts = MIXTRAL
        assert types(quant, (tensors[::-1], facts)) == types(quant, MIXTRAL)


def test_an_importance_matrix_changes_what_llama_cpp_says_it_changes() -> None:
    assert layers_with("q4_1", "ffn_down", types("q4_0", model(), True)) == [0, 1, 2, 3]
    assert layers_with("q4_1", "ffn_down", types("q4_0", model(), False)) == []
    assert layers_with("q5_k", "ffn_down", types("iq4_xs", model(), False)) == [0, 1, 2, 3]
    # usual: i-quants are made with one, the others without
    assert types("iq4_xs", model()) == types("iq4_xs", model(), True)
    assert types("q4_0", model()) == types("q4_0", model(), False)


def _layer_set(text: str) -> set[int]:
    spans = [span.split("-") for span in text.split()]
    return {layer for span in spans for layer in range(int(span[0]), int(span[-1]) + 1)}


SNAPSHOTS = {"llama-3.1-70b": LLAMA_3_70B, "gemma-3-4b": GEMMA_3_4B, "gpt-oss-120b": GPT_OSS_120B}


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_every_tensor_has_the_type_in_llama_cpps_own_snapshots(name: str) -> None:
    """Against tests/snapshots/*.schema of llama.cpp, computed there without an importance matrix.

    The table lists, for each file type, the tensors that do not have its base type.
    """
    expected: dict[str, dict[str, str]] = {}
    with (DATA / "llama_quantize_types.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["model"] != name:
                continue
            wanted = expected.setdefault(row["quant"], {})
            if row["part"] and not row["layers"]:
                wanted[f"{row['part']}.weight"] = row["type"]
            for layer in _layer_set(row["layers"]):
                wanted[f"blk.{layer}.{row['part']}.weight"] = row["type"]
    assert len(expected) == 31  # the 33 file types of the snapshots without f32 and f16
    for quant, wanted in expected.items():
        base = quantization.get(quant).base
        found = types(quant, SNAPSHOTS[name], imatrix=False)
        quantised = {tensor_name: kind for tensor_name, kind in found.items() if kind != "f32"}
        assert quantised == {tensor_name: wanted.get(tensor_name, base) for tensor_name in quantised}, quant
        assert set(wanted) <= set(quantised)


# --- recipes by name --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Q4_K_M", "q4-k-m", "Q4KM", "q4_k", " q4_k_m "])
def test_names_are_forgiving(name: str) -> None:
    assert quantization.get(name).id == "q4_k_m"


@pytest.mark.parametrize(
    ("name", "recipe"), [("MXFP4_MOE", "mxfp4"), ("FP16", "f16"), ("Q4_0_4_4", "q4_0"), ("UD-Q4_K_XL", "ud-q4_k_xl")]
)
def test_other_spellings(name: str, recipe: str) -> None:
    assert quantization.get(name).id == recipe


def test_no_two_names_are_one_spelling() -> None:
    for name in (*RECIPES, *quantization.ALIASES):
        assert quantization.get(name).id == quantization.ALIASES.get(name, name)


def test_a_miss_suggests_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"found 'q4_k_x'; did you mean .*q4_k_[ms]"):
        quantization.get("q4_k_x")
    with pytest.raises(SpecError, match=r"found 'zzzzzzzz'$"):
        quantization.get("zzzzzzzz")


@pytest.mark.parametrize(("name", "bits"), [("int4", 4.0), ("fp8", 8.0), ("4.5bpw", 4.5), ("2BPW", 2.0)])
def test_an_idealised_type_counts_every_weight(name: str, bits: float) -> None:
    tensors, facts = model()
    assert set(quantization.assign_types(name, tensors, facts)) == {quantization.get(name).base}
    elements = sum(one.elements for one in tensors)
    assert quantization.file_bytes(name, tensors, facts) == pytest.approx(elements * bits / 8, rel=1e-12)


def test_float_files_keep_vectors_in_f32() -> None:
    tensors, facts = model()
    vectors = sum(one.elements for one in tensors if len(one.shape) == 1)
    matrices = sum(one.elements for one in tensors) - vectors
    for name, size in (("f16", 2), ("bf16", 2), ("f32", 4)):
        assert quantization.file_bytes(name, tensors, facts) == size * matrices + 4 * vectors


def test_the_list_has_every_recipe_once_with_its_bits() -> None:
    rows = quantization.names()
    assert [row.id for row in rows] == list(quantization.ids()) == list(RECIPES)
    by_id = {row.id: row for row in rows}
    assert by_id["q8_0"].bits_per_weight == by_id["q8_0"].model_bits_per_weight == 8.5
    assert by_id["q4_k_s"].model_bits_per_weight < by_id["q4_k_m"].model_bits_per_weight < 5.0
    assert all(row.meaning and "\n" not in row.meaning for row in rows)
    assert all(by_id[name].basis == "assumed" for name in ("ud-q4_k_xl", "nvfp4", "iq4_ks", "q4_k_4"))
    assert by_id["q4_k_m"].basis == "source"


def test_larger_members_of_a_family_are_larger_files() -> None:
    tensors, facts = model(kv_heads=8, ffn=14336)
    for family in (
        ["q2_k_s", "q2_k", "q3_k_s", "q3_k_m", "q3_k_l", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k", "q8_0", "f16", "f32"],
        ["iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq2_m", "iq3_xxs", "iq3_xs", "iq3_s", "iq3_m", "iq4_xs"],
        ["q4_k_s", "q4_k_m", "q4_k_l", "q5_k_m"],
    ):
        sizes = [quantization.file_bytes(name, tensors, facts) for name in family]
        assert sizes == sorted(set(sizes)), family


def test_dynamic_mixes_keep_attention_of_mixture_models_in_q8_0() -> None:
    assigned = types("ud-q4_k_xl", MIXTRAL)
    assert assigned["blk.1.attn_q.weight"] == "q8_0"
    assert assigned["blk.1.ffn_up_exps.weight"] == "q4_k"
    assert assigned["blk.1.ffn_down_exps.weight"] == "q5_k"
    assert types("ud-q4_k_xl", model()) == types("q4_k_m", model())


def test_type_of_one_tensor() -> None:
    recipe = quantization.get("q4_k_s")
    facts = ShapeFacts("llama", 32, 32, 8, 0, False)
    one = tensor("blk.3.attn_v.weight", 4096, 1024)
    # q4_k_s stores attn_v of the first four layers in q5_k
    assert recipe.type_of(one, facts, Position(3, 32)) == "q5_k"
    assert recipe.type_of(one, facts, Position(4, 32)) == "q4_k"
