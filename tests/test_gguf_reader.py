"""Reading GGUF: a real file, every shape of the catalog, and files that lie."""

import os
import shutil
import struct
import tracemalloc
from pathlib import Path

import gguf
import numpy as np
import pytest

from roofline.model import Model
from roofline.quantization.layouts import LAYOUTS
from roofline.readers import gguf_file, read_model_file, read_model_toml
from roofline.readers.arrangement import shortest_pattern
from roofline.readers.gguf_file import Omitted, TypeShare, read_gguf, role_of, storage_types
from roofline.readers.gguf_model import SUPPORTED, model_of
from roofline.spec import SpecError
from tests.gguf_files import MetaValue, Row, encode, llama, of_model, text, write

MODELS = sorted((Path(__file__).parent.parent / "models").rglob("*.toml"))
MEGABYTE = 1 << 20


# A real file: SmolLM2-135M-Instruct in Q4_1.


def test_the_facts_of_a_real_file(smollm2_gguf: Path) -> None:
    file = read_gguf(smollm2_gguf)
    assert (file.version, file.architecture, file.file_type, file.alignment) == (3, "llama", "q4_1", 32)
    assert len(file.tensors) == 272
    # Embedding 49152·576; a layer: q and o 576², k and v 576·192, three of 576·1536, two norms; 30 layers; a norm.
    per_layer = 2 * 576**2 + 2 * 576 * 192 + 3 * 576 * 1536 + 2 * 576
    assert file.parameter_count == 134_515_008 == 49152 * 576 + 30 * per_layer + 576
    # 5 bits a weight for the 210 matrices, 8.5 for the embedding, 32 for the 61 norms.
    assert file.by_type == (
        TypeShare("q4_1", 210, 106_168_320, 66_355_200),
        TypeShare("q8_0", 1, 28_311_552, 30_081_024),
        TypeShare("f32", 61, 35_136, 140_544),
    )
    assert [share.bits_per_weight for share in file.by_type] == [5.0, 8.5, 32.0]
    assert file.weight_bytes == 96_576_768 == 66_355_200 + 30_081_024 + 140_544
    assert file.bits_per_weight == pytest.approx(8 * 96_576_768 / 134_515_008)
    assert (file.weights, file.missing_bytes, file.file_bytes) == ("complete", 0, 98_362_432)
    assert file.types_by_role["attn_v", 29] == "q4_1"
    assert file.types_by_role["token_embd", None] == "q8_0"
    assert file.metadata["tokenizer.ggml.tokens"] == Omitted("string", 49152)


def test_a_real_file_gives_the_catalog_model(smollm2_gguf: Path) -> None:
    model, stored = read_model_file(smollm2_gguf)
    catalog = read_model_toml(next(path for path in MODELS if path.stem == "smollm2-135m"))
    assert stored is not None
    assert model.parameter_count == stored.parameter_count == 134_515_008
    assert shape(model) == shape(catalog)


def test_the_gguf_package_reads_the_same(smollm2_gguf: Path) -> None:
    mine = read_gguf(smollm2_gguf)
    theirs = gguf.GGUFReader(smollm2_gguf)
    assert [(t.name, t.shape, t.type, t.size_bytes) for t in mine.tensors] == [
        (t.name, tuple(t.shape.tolist()), t.tensor_type.name.lower(), t.n_bytes) for t in theirs.tensors
    ]
    assert {t.data_offset - theirs.data_offset for t in theirs.tensors} == {t.offset for t in mine.tensors}


def test_weights_need_not_be_there(smollm2_gguf: Path, tmp_path: Path) -> None:
    whole = read_gguf(smollm2_gguf)
    header_bytes = gguf.GGUFReader(smollm2_gguf).data_offset  # padded to 32
    with smollm2_gguf.open("rb") as file:
        header = file.read(header_bytes)
    bare = read_gguf(write(tmp_path / "header.gguf", header))
    assert (bare.weights, bare.missing_bytes) == ("absent", 96_576_768)
    some = read_gguf(write(tmp_path / "part.gguf", header + bytes(1_000_000)))
    assert (some.weights, some.missing_bytes) == ("partial", 95_576_768)
    sparse = write(tmp_path / "sparse.gguf", header)
    os.truncate(sparse, whole.file_bytes)
    assert read_gguf(sparse).weights == "complete"
    for other in (bare, some, read_gguf(sparse)):
        assert (other.tensors, other.by_type) == (whole.tensors, whole.by_type)
        assert shape(model_of(other)) == shape(model_of(whole))


# Every shape of the catalog, written as the converter would and read back.


def shape(model: Model) -> tuple[object, ...]:
    """What must be equal whatever the kinds of layer are called."""
    layers = [model.blocks[kind] for kind in model.order]
    plain = [layer.model_copy(update={"norms": layer.norm_count}) for layer in layers]
    outside = (model.architecture, model.hidden, model.vocab, model.tied_embeddings, model.output_bias)
    return (*outside, model.output_norm_bias, model.max_context, plain)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_catalog_model_survives_gguf(path: Path, tmp_path: Path) -> None:
    catalog = read_model_toml(path)
    written = write(tmp_path / "model.gguf", of_model(catalog))
    if catalog.architecture not in SUPPORTED:
        with pytest.raises(SpecError, match=r"general\.architecture: expected one of .*llama"):
            read_model_file(written)
        return
    model, stored = read_model_file(written)
    assert stored is not None
    assert shape(model) == shape(catalog)
    assert model.parameter_count == catalog.parameter_count == stored.parameter_count


def test_the_catalog_covers_most_architectures() -> None:
    known = {read_model_toml(path).architecture for path in MODELS}
    assert len(known & set(SUPPORTED)) >= 15


@pytest.mark.parametrize(
    ("order", "head", "period"),
    [
        ("aaaaaa", 0, 1),
        ("abababa", 0, 2),
        ("dmmmmmm", 1, 1),
        ("sssssgsssssgss", 0, 6),
        ("ddabcabcab", 2, 3),
        ("aab", 0, 3),  # 2 + 1 is as short; the earlier start wins
    ],
)
def test_the_shortest_pattern_is_found(order: str, head: int, period: int) -> None:
    assert shortest_pattern(order) == (head, period)
    assert order == (order[:head] + order[head : head + period] * len(order))[: len(order)]


# Forms that differ between files of one model.


def test_a_file_of_the_gguf_writer(tmp_path: Path) -> None:
    path = tmp_path / "written.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_embedding_length(64)
    writer.add_head_count(4)
    writer.add_key_length(32)
    writer.add_expert_used_count(2)
    shapes = {
        "token_embd": (128, 64), "output": (128, 64), "output_norm": (64,), "blk.0.attn_norm": (64,),
        "blk.0.attn_q": (128, 64), "blk.0.attn_k": (32, 64), "blk.0.attn_v": (32, 64), "blk.0.attn_output": (64, 128),
        "blk.0.ffn_norm": (64,), "blk.0.ffn_gate_inp": (8, 64), "blk.0.ffn_gate_exps": (8, 96, 64),
        "blk.0.ffn_up_exps": (8, 96, 64), "blk.0.ffn_down_exps": (8, 64, 96),
    }  # fmt: skip
    for name, sides in shapes.items():
        writer.add_tensor(f"{name}.weight", np.ones(sides, dtype=np.float16 if len(sides) > 1 else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model, stored = read_model_file(path)
    assert stored is not None
    assert stored.weights == "complete"
    (layer,) = model.blocks.values()
    assert layer.attention is not None
    assert layer.experts is not None
    assert (layer.attention.heads, layer.attention.kv_heads, layer.attention.head_dim) == (4, 1, 32)
    assert (layer.experts.experts, layer.experts.active, layer.experts.width) == (8, 2, 96)
    assert not model.tied_embeddings
    assert model.parameter_count == stored.parameter_count == sum(int(np.prod(sides)) for sides in shapes.values())


def test_version_2_and_big_endian(tmp_path: Path) -> None:
    metadata, rows = llama()
    first = read_gguf(write(tmp_path / "a.gguf", encode(metadata, rows)))
    second = read_gguf(write(tmp_path / "b.gguf", encode(metadata, rows, version=2)))
    swapped = read_gguf(write(tmp_path / "c.gguf", encode(metadata, rows, order=">")))
    assert (first.version, second.version, swapped.version) == (3, 2, 3)
    assert first.tensors == second.tensors == swapped.tensors
    assert first.metadata == second.metadata == swapped.metadata


def test_experts_in_a_tensor_each(tmp_path: Path) -> None:
    metadata, rows = llama(layers=1, llama__expert_used_count=2)
    rows = [row for row in rows if "ffn_" not in row.name or "norm" in row.name]
    rows.append(Row("blk.0.ffn_gate_inp.weight", (64, 4)))
    for expert in range(4):
        rows += [
            Row(f"blk.0.ffn_gate.{expert}.weight", (64, 96), 2),
            Row(f"blk.0.ffn_up.{expert}.weight", (64, 96), 2),
            Row(f"blk.0.ffn_down.{expert}.weight", (96, 64), 2),
        ]
    model, stored = read_model_file(write(tmp_path / "old.gguf", encode(metadata, rows)))
    (layer,) = model.blocks.values()
    assert layer.experts is not None
    assert (layer.experts.experts, layer.experts.active, layer.experts.width) == (4, 2, 96)
    assert stored is not None
    assert stored.types_by_role["ffn_down_exps", 0] == "q4_0"
    assert model.parameter_count == stored.parameter_count


def latent(fused: bool) -> bytes:
    """One layer of latent attention: 2 heads, ranks 32, nope 16, rope 8, value 16; kv_b as one tensor or two."""
    arch = "deepseek2"
    metadata: dict[str, MetaValue] = {
        "general.architecture": arch,
        f"{arch}.block_count": 1,
        f"{arch}.attention.head_count": 2,
        f"{arch}.attention.kv_lora_rank": 32,
    }
    rows = [
        Row("token_embd.weight", (64, 128)), Row("output.weight", (64, 128)), Row("output_norm.weight", (64,)),
        Row("blk.0.attn_norm.weight", (64,)), Row("blk.0.attn_q.weight", (64, 48)),
        Row("blk.0.attn_kv_a_mqa.weight", (64, 40)), Row("blk.0.attn_kv_a_norm.weight", (32,)),
        Row("blk.0.attn_output.weight", (32, 64)), Row("blk.0.ffn_norm.weight", (64,)),
        Row("blk.0.ffn_gate.weight", (64, 96)), Row("blk.0.ffn_up.weight", (64, 96)),
        Row("blk.0.ffn_down.weight", (96, 64)),
    ]  # fmt: skip
    if fused:
        rows.append(Row("blk.0.attn_kv_b.weight", (32, 2 * (16 + 16)), 8))
    else:
        rows += [Row("blk.0.attn_k_b.weight", (16, 32, 2)), Row("blk.0.attn_v_b.weight", (32, 16, 2), 8)]
    return encode(metadata, rows)


def test_latent_attention_in_both_forms(tmp_path: Path) -> None:
    old, old_file = read_model_file(write(tmp_path / "old.gguf", latent(fused=True)))
    new, new_file = read_model_file(write(tmp_path / "new.gguf", latent(fused=False)))
    assert shape(old) == shape(new)
    (layer,) = new.blocks.values()
    found = layer.latent_attention
    assert found is not None
    assert (found.heads, found.q_rank, found.kv_rank, found.nope, found.rope, found.value) == (2, None, 32, 16, 8, 16)
    assert old_file is not None
    assert new_file is not None
    assert old.parameter_count == old_file.parameter_count == new_file.parameter_count
    assert old_file.types_by_role["attn_k_b", 0] == "q8_0"
    assert "every head" in old.notes[0]
    assert new.notes == ()


def test_layers_for_multi_token_prediction_are_left_out(tmp_path: Path) -> None:
    metadata, rows = llama(layers=3, llama__nextn_predict_layers=1)
    rows.insert(-1, Row("blk.2.nextn.eh_proj.weight", (128, 64)))
    model, _ = read_model_file(write(tmp_path / "mtp.gguf", encode(metadata, rows)))
    assert model.layers == 2
    assert "1 layers" in model.notes[0]


@pytest.mark.parametrize(
    ("pattern", "windows"),
    [
        (None, [32, 32, 32, 32, 32, None, 32, 32]),  # gemma3: five of six
        (2, [32, None] * 4),
        ([1, 1, 0, 1, 1, 0, 1, 1], [32, 32, None, 32, 32, None, 32, 32]),
    ],
)
def test_window_patterns(pattern: int | list[int] | None, windows: list[int | None], tmp_path: Path) -> None:
    metadata, rows = llama(layers=8, llama__attention__sliding_window=32)
    if pattern is not None:
        metadata["llama.attention.sliding_window_pattern"] = pattern
    renamed = {key.replace("llama.", "gemma3."): item for key, item in metadata.items()}
    renamed["general.architecture"] = "gemma3"
    model, _ = read_model_file(write(tmp_path / "gemma.gguf", encode(renamed, rows)))
    found = [attention.window for kind in model.order if (attention := model.blocks[kind].attention)]
    assert found == windows


@pytest.mark.parametrize(
    ("name", "role", "layer"),
    [
        ("blk.3.attn_v.weight", "attn_v", 3),
        ("blk.12.attn_q.bias", "attn_q_bias", 12),
        ("output.weight", "output", None),
        ("rope_freqs.weight", "rope_freqs", None),
        ("blk.0.ssm_a", "ssm_a", 0),
        ("blk.7.exp_probs_b.bias", "exp_probs_b", 7),
        ("blk.1.ffn_up.6.weight", "ffn_up_exps", 1),
        ("blk.1.nextn.eh_proj.weight", "nextn.eh_proj", 1),
    ],
)
def test_roles(name: str, role: str, layer: int | None) -> None:
    assert role_of(name) == (role, layer)


def test_block_sizes_are_the_ones_of_the_quantisation_tables() -> None:
    stored = {kind.name: (kind.weights, kind.size, kind.row_extra) for kind in storage_types().values()}
    # Two fp16 and 32 int8: 36 bytes. The package has the size of an older block; no file stores this type.
    assert stored.pop("q8_1") == (32, 40, 0)
    assert len(stored) >= 45  # 32 of ggml and 18 of ik_llama.cpp
    for name, found in stored.items():
        layout = LAYOUTS[name]
        assert found == (layout.block_weights, layout.block_bytes, layout.row_extra), name


def test_value_types_are_the_ones_of_the_gguf_package() -> None:
    names = {kind.value: kind.name.lower() for kind in gguf.GGUFValueType}
    assert names == {**gguf_file._NAMES, gguf_file._STRING: "string", gguf_file._ARRAY: "array"}


# Split models.


def split(folder: Path) -> list[Path]:
    metadata, rows = llama()
    parts: list[tuple[dict[str, MetaValue], list[Row]]] = [
        ({**metadata, "split.no": 0, "split.count": 2, "split.tensors.count": len(rows)}, rows[:9]),
        ({"split.no": 1, "split.count": 2, "split.tensors.count": len(rows)}, rows[9:]),
    ]
    return [
        write(folder / f"m-{number:05}-of-00002.gguf", encode(*part, data=True))
        for number, part in enumerate(parts, start=1)
    ]


def test_a_split_model_is_read_as_one(tmp_path: Path) -> None:
    paths = split(tmp_path)
    whole = read_gguf(write(tmp_path / "whole.gguf", encode(*llama(), data=True)))
    for path in paths:  # any part stands for all
        model, stored = read_model_file(path)
        assert stored is not None
        assert [(t.name, t.size_bytes) for t in stored.tensors] == [(t.name, t.size_bytes) for t in whole.tensors]
        assert stored.file_bytes == sum(part.stat().st_size for part in paths)
        assert (stored.weights, stored.files) == ("complete", tuple(paths))
        assert shape(model) == shape(model_of(whole))


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    first, second = split(tmp_path)
    second.unlink()
    with pytest.raises(SpecError, match=r"split\.count: expected all 2 files beside it, found no m-00002-of-00002"):
        read_gguf(first)
    with pytest.raises(SpecError, match=r"split\.count: expected a file named …-00001-of-00002\.gguf, found 'x\.gguf'"):
        read_gguf(Path(shutil.copy(first, tmp_path / "x.gguf")))


# Files that lie. Each is at most a few kilobytes, and says in one line what is wrong.

ARCH: dict[str, MetaValue] = {"general.architecture": "llama"}
HUGE = 1 << 62


def header(version: int = 3, tensors: int = 0, keys: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys)


def array(kind: int, length: int, content: bytes = b"") -> bytes:
    return struct.pack("<IIQ", 9, kind, length) + content


HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "magic: expected 'GGUF', found a file of 0 bytes"),
    "other magic": (b"ggjt" + bytes(60), "magic: expected 'GGUF', found b'ggjt'"),
    "text": (b"this is no model", "magic: expected 'GGUF', found b'this'"),
    "only magic": (b"GGUF", "version: expected 4 more bytes, found the end of the file after 0"),
    "version 1": (header(version=1), "version: expected 2 or 3, found 1"),
    "version 77": (header(version=77), "version: expected 2 or 3, found 77"),
    "no counts": (header()[:12], "tensor count: expected 8 more bytes, found the end"),
    "huge tensor count": (header(tensors=HUGE), f"tensor count: expected at most 100000, found {HUGE}"),
    "huge key count": (header(keys=HUGE), f"metadata count: expected at most 10000, found {HUGE}"),
    "more tensors than bytes": (header(tensors=99_999), "tensor count: expected at most what 8 more bytes hold"),
    "more keys than bytes": (header(keys=9_999), "metadata count: expected at most what 0 more bytes hold"),
    "huge key": (header(keys=1) + struct.pack("<Q", HUGE) + bytes(99), "metadata key 0: expected at most 1024 bytes"),
    "key past the end": (
        header(keys=1) + struct.pack("<Q", 900) + bytes(99),
        "metadata key 0: expected 900 more bytes",
    ),
    "key not UTF-8": (encode([("k", 1)]).replace(b"k", b"\xff"), "metadata key 0: expected UTF-8, found b'\\xff'"),
    "key twice": (encode([("k", 1), ("k", 2)]), "metadata key 'k': expected each key once, found it twice"),
    "unknown value type": (encode([("k", struct.pack("<I", 99))]), "k: expected a value type from 0 to 12, found 99"),
    "huge text": (encode([("k", struct.pack("<IQ", 8, HUGE))]), f"k: expected {HUGE} more bytes, found the end"),
    "huge array": (encode([("k", array(4, HUGE))]), f"found {HUGE} elements of 4"),
    "huge string array": (encode([("k", array(8, HUGE))]), f"k: expected at most 5000000 strings, found {HUGE}"),
    "more strings than bytes": (encode([("k", array(8, 4_999_999))]), "k: expected at most what 0 more bytes hold"),
    "string past the end": (
        encode([("k", array(8, 2, struct.pack("<Q", HUGE) + bytes(8)))]),
        "k: expected 2 strings, found the end of the file at string 1",
    ),
    "last string past the end": (
        encode([("k", array(8, 1, struct.pack("<Q", 1000)))]),
        "k: expected 1 strings, found the end of the file in the last",
    ),
    "array of arrays": (encode([("k", array(9, 1))]), "k: expected an array of numbers or strings, found one of value"),
    "NaN": (
        encode([("llama.rope.freq_base", float("nan"))]),
        "llama.rope.freq_base: expected a finite number, found nan",
    ),
    "NaN in an array": (encode([("k", [1.0, float("inf")])]), "k: expected a finite number, found inf"),
    "alignment 0": (
        encode({"general.alignment": 0}),
        "general.alignment: expected a power of two up to 1048576, found 0",
    ),
    "alignment 33": (encode({"general.alignment": 33}), "general.alignment: expected a power of two"),
    "alignment text": (encode({"general.alignment": "32"}), "general.alignment: expected a power of two"),
    "tensor count beyond the table": (encode(*llama(), tensors=500), "tensor count: expected at most what"),
    "table ends early": (encode(*llama())[:-4], "output_norm.weight: offset: expected 8 more bytes, found the end"),
    "huge tensor name": (
        encode(ARCH, tensors=1) + struct.pack("<Q", HUGE) + bytes(64),
        "tensor 0: expected at most 128 bytes",
    ),
    "no dimensions": (encode(ARCH, [Row("x", (), 0)]), "x: dimensions: expected 1 to 4, found 0"),
    "many dimensions": (
        encode(ARCH, tensors=1) + text("x") + struct.pack("<I", 1 << 31) + bytes(64),
        "x: dimensions: expected 1 to 4, found 2147483648",
    ),
    "absurd dimension": (
        encode(ARCH, [Row("x", (1 << 63, 2), 0, 0)]),
        "x: shape: expected 1 to 1000000000000000 elements, found 9223372036854775808 × 2",
    ),
    "zero dimension": (encode(ARCH, [Row("x", (64, 0), 0, 0)]), "x: shape: expected 1 to"),
    "unknown tensor type": (
        encode(ARCH, [Row("x", (64,), 9999, 0)]),
        "x: type: expected the number of a ggml storage type",
    ),
    "removed tensor type": (
        encode(ARCH, [Row("x", (64,), 4, 0)]),
        "x: type: expected the number of a ggml storage type",
    ),
    "row no whole block": (
        encode(ARCH, [Row("x", (33, 2), 2, 0)]),
        "x: shape: expected rows of a multiple of 32 for q4_0",
    ),
    "offset past all": (
        encode(ARCH, [Row("x", (64,), 0, HUGE)]),
        f"x: offset: expected 0, the end of the tensor before, found {HUGE}",
    ),
    "offset overlaps": (
        encode(ARCH, [Row("x", (64,), 0, 0), Row("y", (64,), 0, 32)]),
        "y: offset: expected 256, the end of the tensor before, found 32",
    ),
    "offset unaligned": (encode(ARCH, [Row("x", (64,), 0, 1)]), "x: offset: expected 0"),
    "name twice": (encode(ARCH, [Row("x", (64,)), Row("x", (64,))]), "tensor 1: expected each name once, found 'x'"),
    "terminal escape": (encode(ARCH, [Row("\x1b[2J\n", (64,), 9999, 0)]), " \\x1b[2J\\n: type: expected"),
    "no tensors": (encode(ARCH), "token_embd.weight: expected this tensor, found none"),
    "no architecture": (encode({}, [Row("x", (64,))]), "general.architecture: expected one of"),
    "architecture a number": (encode({"general.architecture": 7}), "general.architecture: expected one of"),
    "other architecture": (encode({"general.architecture": "rwkv7"}), "qwen3moe"),
    "adapter": (encode({**ARCH, "general.type": "adapter"}), "general.type: expected 'model', found 'adapter'"),
    "split in a text": (encode({**ARCH, "split.count": "2"}), "split.count: expected 1 to 1000 files, found '2'"),
    "split in thousands": (
        encode({**ARCH, "split.count": 65535}),
        "split.count: expected 1 to 1000 files, found 65535",
    ),
    "no layers": (encode(*llama(llama__block_count=0)), "llama.block_count: expected 1 to 1000 layers, found 0"),
    "huge layers": (encode(*llama(llama__block_count=10**9)), "llama.block_count: expected 1 to 1000 layers"),
    "layers as text": (encode(*llama(llama__block_count="2")), "llama.block_count: expected a whole number from 0"),
    "negative layers": (encode(*llama(llama__block_count=-1)), "llama.block_count: expected a whole number from 0"),
    "layers beyond the count": (encode(*llama(llama__block_count=1)), "llama.block_count: expected more than 1 layers"),
    "layers without tensors": (
        encode(*llama(llama__block_count=3)),
        "blk.2: expected tensors of this layer, found none",
    ),
    "wrong hidden": (
        encode(*llama(llama__embedding_length=65)),
        "llama.embedding_length: expected 64 as in token_embd.weight, found 65",
    ),
    "no heads": (
        encode(*llama(llama__attention__head_count=0)),
        "expected attention.head_count of at least 1, found 0",
    ),
    "heads that do not divide": (
        encode(*llama(llama__attention__head_count=7)),
        "attn_output: expected columns for 7 heads",
    ),
    "heads of another length": (
        encode(*llama(llama__attention__key_length=99)),
        "attn_output: expected 4 heads of key_length 99, found heads of 16",
    ),
    "heads for one layer": (
        encode(*llama(llama__attention__head_count=[4])),
        "llama.attention.head_count: expected a value for each layer, found 1",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    content, message = HOSTILE[case]
    path = write(tmp_path / "hostile.gguf", content)
    storage_types()  # loads the gguf package, which is no part of the measurement
    tracemalloc.start()
    try:
        with pytest.raises(SpecError) as caught:
            read_model_file(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()  # no line break, no escape sequence
    assert peak < 4 * MEGABYTE


def test_missing_parts_of_a_layer_are_named(tmp_path: Path) -> None:
    metadata, rows = llama()
    for lost in ("attn_q", "attn_k", "attn_output", "ffn_up"):
        kept = [row for row in rows if row.name != f"blk.1.{lost}.weight"]
        path = write(tmp_path / "lost.gguf", encode(metadata, kept))
        with pytest.raises(SpecError, match=rf"blk\.1\.{lost}: expected this tensor, found none"):
            read_model_file(path)


def test_a_tensor_of_no_known_part_is_refused(tmp_path: Path) -> None:
    metadata, rows = llama()
    rows.append(Row("blk.1.attn_gate.weight", (64, 64), 2))
    with pytest.raises(SpecError, match=r"blk\.1\.attn_gate: expected only tensors of a known kind of layer"):
        read_model_file(write(tmp_path / "odd.gguf", encode(metadata, rows)))


def test_a_large_vocabulary_is_stepped_over(tmp_path: Path) -> None:
    metadata, rows = llama()
    metadata["tokenizer.ggml.tokens"] = [f"token {number}" for number in range(150_000)]
    path = write(tmp_path / "vocabulary.gguf", encode(metadata, rows))
    storage_types()
    tracemalloc.start()
    try:
        file = read_gguf(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert file.metadata["tokenizer.ggml.tokens"] == Omitted("string", 150_000)
    assert peak < MEGABYTE  # the strings alone are 2 MB


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"expected a readable GGUF file, found: No such file"):
        read_gguf(tmp_path / "none.gguf")
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(SpecError, match=r"expected a GGUF file, found no regular file"):
        read_gguf(tmp_path / "pipe.gguf")
    with pytest.raises(SpecError, match=r"expected a model file, found none"):
        read_model_file(tmp_path / "pipe.gguf")
    with pytest.raises(SpecError, match=r"expected a readable model file, found: File name too long"):
        read_model_file(tmp_path / ("x" * 300))
    with pytest.raises(SpecError, match=r"expected a model file or a folder with a config\.json"):
        read_model_file(tmp_path)
    with pytest.raises(SpecError, match=r"expected a GGUF file, a config\.json or a TOML file, found '\.bin'"):
        read_model_file(write(tmp_path / "model.bin", b"xx"))


def test_gguf_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    model, stored = read_model_file(write(tmp_path / "blob", encode(*llama())))
    assert stored is not None
    assert (model.layers, stored.name) == (2, "tiny")
