"""Synthetic GGUF files: the shape, types and size of the real model, random weights, and nothing left behind."""

import io
import shutil
import tracemalloc
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline import api, catalog
from roofline.blocks import Layer
from roofline.engine.synthetic import ARCHITECTURES, Vocabulary, plan_synthetic, synthetic, write_synthetic
from roofline.engine.synthetic.architectures import features
from roofline.engine.synthetic.blocks import DEVIATION, TYPES, random_blocks
from roofline.engine.synthetic.vocabulary import SMALLEST, vocabulary_metadata
from roofline.engine.synthetic.writing import TILE, Aligned, write_header
from roofline.inspection import inspection
from roofline.quantization import RECIPES, tensor_bytes
from roofline.quantization.layouts import LAYOUTS
from roofline.readers import GgufFile, model_of, read_gguf
from roofline.spec import SpecError
from roofline.weights import bytes_read, from_file, weigh
from roofline.workload import Step
from tests.tiny_models import catalog_models, shrink, write_toml

ONE_TOKEN = Step(batch=1.0, new=1.0, past=0.0, limit=1.0)
#: In gemma4 files and in no published number of parameters: how far each pair of a global head of 512 is rotated.
ROPE_FREQUENCIES = {"gemma4": 512 // 2}


def header(model: str, quant: str, folder: Path, **options: Any) -> GgufFile:
    path = folder / "header.gguf"
    write_header(plan_synthetic(model, quant, **options), path)
    return read_gguf(path)


def tiny(folder: Path, like: str = "llama", **changes: Any) -> str:
    """A model file with two small layers of an architecture; None leaves a key out."""
    data = {key: item for key, item in (shrink(catalog_models()[like]) | changes).items() if item is not None}
    return str(write_toml(data, folder / f"{like}.toml"))


def plain(layer: Layer) -> Layer:
    """A layer without what a file tells otherwise: the default number of norms, and vectors under no name."""
    return layer.model_copy(update={"norms": layer.norm_count, "extra_vectors": 0})


# -- the header -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quant", ["q4_k_m", "q4_0"])
@pytest.mark.parametrize("name", api.list_models())
def test_a_catalog_model_is_read_back_as_it_is(name: str, quant: str, tmp_path: Path) -> None:
    model = catalog.load_model(name).spec
    if model.architecture not in ARCHITECTURES:
        with pytest.raises(SpecError, match="architecture: expected one that synthetic files can be written for"):
            plan_synthetic(name, quant)
        return
    file = header(name, quant, tmp_path)
    read = model_of(file)
    assert [plain(read.blocks[kind]) for kind in read.order] == [plain(model.blocks[kind]) for kind in model.order]
    for field in ("architecture", "vocab", "hidden", "tied_embeddings", "output_bias", "output_norm_bias"):
        assert getattr(read, field) == getattr(model, field), field
    assert read.max_context == model.max_context
    assert read.parameter_count == model.parameter_count

    recipe, stored = (
        weigh(model, quant),
        from_file(read, quant, ((t, t.type) for t in file.tensors), file.types_by_role),
    )
    more = ROPE_FREQUENCIES.get(model.architecture, 0)
    assert file.parameter_count == model.parameter_count + more
    assert stored.file_bytes == recipe.file_bytes + 4 * more
    assert stored.bits_per_weight == pytest.approx(recipe.bits_per_weight, rel=1e-6)
    assert bytes_read(read, stored, ONE_TOKEN) == bytes_read(model, recipe, ONE_TOKEN)


def test_only_known_gaps_are_left_in_the_catalog() -> None:
    assert set(catalog_models()) - set(ARCHITECTURES) == {"deepseek4"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_names_and_keys_are_those_of_the_gguf_package(architecture: str, tmp_path: Path) -> None:
    plan = plan_synthetic(tiny(tmp_path, architecture), "q4_0")
    templates = set(gguf.TENSOR_NAMES.values())
    for tensor in plan.tensors:
        stem = tensor.name.removesuffix(".weight").removesuffix(".bias").removesuffix(".scale")
        block = stem.split(".")[1] if stem.startswith("blk.") else ""
        assert stem.replace(f"blk.{block}.", "blk.{bid}.", 1) in templates, tensor.name
    known = {
        text.replace("{arch}", architecture)
        for group in [gguf.Keys, *(part for part in vars(gguf.Keys).values() if isinstance(part, type))]
        for text in vars(group).values()
        if isinstance(text, str) and "." in text
    }
    keys = {*plan.metadata, *(key for kind in ("none", "llama") for key, _ in vocabulary_metadata(kind, 300))}
    assert keys <= known


@pytest.mark.parametrize("quant", [name for name, recipe in RECIPES.items() if recipe.base in TYPES])
def test_every_recipe_of_llama_cpp_gives_the_types_it_gives_a_real_file(quant: str, tmp_path: Path) -> None:
    model = tiny(tmp_path)
    if "Q2_0" not in gguf.GGMLQuantizationType.__members__ and quant == "q2_0":
        with pytest.raises(SpecError, match="the gguf package knows, found q2_0"):
            plan_synthetic(model, quant)
        return
    file = header(model, quant, tmp_path)
    expected = weigh(catalog.load_model(model).spec, quant)
    assert {share.type: share.size_bytes for share in file.by_type} == expected.bytes_by_type
    assert file.file_type in ("", quant, f"{quant}_moe")


def test_the_types_of_a_mixture_follow_its_experts(tmp_path: Path) -> None:
    """Mixtral in q4_k_m: with eight experts llama-quantize keeps attn_k and attn_v in q8_0 and the router in f32."""
    types = header("mixtral-8x7b", "q4_k_m", tmp_path).types_by_role
    assert {types["attn_v", layer] for layer in range(32)} == {"q8_0"}
    assert {types["ffn_gate_inp", layer] for layer in range(32)} == {"f32"}
    assert types["ffn_gate_exps", 0] == "q4_k"


def test_smollm2_has_the_tensor_table_of_the_real_file(smollm2_gguf: Path, tmp_path: Path) -> None:
    """The embedding is the output too, and 576 columns are no multiple of 256: q8_0 in a q4_1 file."""
    real, own = read_gguf(smollm2_gguf), header("smollm2-135m", "q4_1", tmp_path)
    assert {(t.name, t.shape, t.type) for t in own.tensors} == {(t.name, t.shape, t.type) for t in real.tensors}
    assert own.types_by_role["token_embd", None] == "q8_0"
    assert own.file_type == real.file_type == "q4_1"
    own_keys = {key: item for key, item in own.metadata.items() if key.startswith("llama.")}
    ours_alone = ("attention.key_length", "attention.value_length", "attention.layer_norm_rms_epsilon")
    for key, item in own_keys.items():
        if key.removeprefix("llama.") not in ours_alone:
            assert real.metadata[key] == item, key
    assert "head_dim 64" in inspection(own.path, "json")


def test_the_context_length_can_be_another(tmp_path: Path) -> None:
    assert model_of(header("smollm2-135m", "q4_0", tmp_path, context=99)).max_context == 99


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output_bias": True}, "architecture llama: expected attention .* found a model with output bias"),
        ({"layers": 3, "pattern": ["layer", "none"]}, "blk.1: expected a mixer and a network, found 1 parts"),
        ({"pattern": ["layer", "narrow"]}, "heads: expected one value for llama, found 2, 4"),
    ],
)
def test_what_llama_cpp_would_not_load_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    layer = shrink(catalog_models()["llama"])["blocks"]["layer"]
    blocks = {"layer": layer}
    if "none" in changes.get("pattern", []):
        blocks["none"] = {"mlp": layer["mlp"]}
    if "narrow" in changes.get("pattern", []):
        blocks["narrow"] = layer | {"attention": layer["attention"] | {"heads": 2}}
    with pytest.raises(SpecError, match=message):
        plan_synthetic(tiny(tmp_path, **changes, blocks=blocks), "q4_0")


def test_a_part_that_an_architecture_needs_is_named(tmp_path: Path) -> None:
    model = tiny(tmp_path, "llama", architecture="qwen3")
    with pytest.raises(SpecError, match=r"architecture qwen3: expected .* found a model without norm of heads"):
        plan_synthetic(model, "q4_0")


def test_parameters_that_no_tensor_holds_are_not_dropped(tmp_path: Path) -> None:
    layer = shrink(catalog_models()["llama"])["blocks"]["layer"] | {"extra_vectors": 7}
    with pytest.raises(SpecError, match=r"blk\.0: expected 512 parameters in the norms.*, found 519"):
        plan_synthetic(tiny(tmp_path, blocks={"layer": layer}), "q4_0")


@pytest.mark.parametrize("quant", ["int4", "iq4_k", "q4_0_r8", "4.5bpw"])
def test_types_that_llama_cpp_has_not_are_refused(quant: str) -> None:
    with pytest.raises(SpecError, match=r"--quant: expected a recipe of llama\.cpp's own types"):
        plan_synthetic("smollm2-135m", quant)


def test_other_wrong_arguments_are_one_line(tmp_path: Path) -> None:
    for arguments, message in [
        (("real.gguf", "q4_0", {}), "--model: expected a shape"),
        (("smollm2-135m", "q4_0", {"context": 0}), "--ctx: expected a whole number"),
        (("smollm2-135m", "q4_0", {"vocabulary": "gpt2"}), "vocabulary: expected none or llama, found 'gpt2'"),
        ((tiny(tmp_path, vocab=SMALLEST - 1), "q4_0", {"vocabulary": "llama"}), "vocab: expected at least 260"),
        ((tiny(tmp_path, "qwen2", max_context=None), "q4_0", {}), "max_context: expected a context length"),
    ]:
        model, quant, options = arguments
        with pytest.raises(SpecError, match=message) as caught:
            plan_synthetic(model, quant, **options)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)


# -- blocks -----------------------------------------------------------------------------------------------------------


def dequantised(name: str, blocks: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """What the blocks mean by the gguf package, None where it does not know."""
    kind = gguf.GGMLQuantizationType.__members__.get(name.upper())
    if kind is None:
        return None
    try:
        return np.asarray(gguf.quants.dequantize(blocks.reshape(1, -1), kind), dtype=np.float64)
    except NotImplementedError:
        return None


@pytest.mark.parametrize("name", TYPES)
def test_random_blocks_mean_weights_of_the_usual_size(name: str) -> None:
    blocks = random_blocks(name, 4096, np.random.default_rng(3))
    assert blocks.shape == (4096, LAYOUTS[name].block_bytes)
    weights = dequantised(name, blocks)
    if weights is None:
        assert name in ("q1_0", "q2_0"), "a type without a dequantiser needs a test of its own"
        return
    assert weights.size == 4096 * LAYOUTS[name].block_weights
    assert np.all(np.isfinite(weights))
    assert weights.std() == pytest.approx(DEVIATION, rel=0.1)
    assert abs(weights.mean()) < 0.15 * DEVIATION
    assert np.abs(weights).max() < 8 * DEVIATION


@pytest.mark.parametrize(("name", "bits", "codes"), [("q1_0", 1, {0: -1, 1: 1}), ("q2_0", 2, {0: -1, 1: 0, 2: 1})])
def test_types_without_a_dequantiser_decode_by_hand(name: str, bits: int, codes: dict[int, int]) -> None:
    """An fp16 scale, then the codes from the lowest bits up (``dequantize_row_*`` in ggml-quants.c)."""
    blocks = random_blocks(name, 2000, np.random.default_rng(3))
    scales = blocks[:, :2].copy().view("<f2").astype(np.float64)
    packed = blocks[:, 2:, None] >> np.arange(0, 8, bits, dtype=np.uint8) & (2**bits - 1)
    assert set(np.unique(packed)) == set(codes)
    weights = scales * np.vectorize(codes.__getitem__)(packed.reshape(len(blocks), -1))
    assert weights.std() == pytest.approx(DEVIATION, rel=0.05)


def test_every_type_that_an_engine_can_be_given_is_there() -> None:
    """Types that llama.cpp uses on the way (q8_1, q8_k) or for plain numbers are no weights."""
    not_weights = {"f64", "i8", "i16", "i32", "i64", "q8_1", "q8_k"}
    stored = {kind.name.lower() for kind in gguf.GGMLQuantizationType} & set(LAYOUTS)
    assert stored - not_weights <= set(TYPES) <= set(LAYOUTS)


@given(st.sampled_from(TYPES), st.integers(1, 300), st.integers(0, 2**32))
def test_blocks_are_of_the_layout_s_size_and_follow_the_seed(name: str, count: int, seed: int) -> None:
    one, two = (random_blocks(name, count, np.random.default_rng(seed)) for _ in range(2))
    assert one.nbytes == tensor_bytes(name, (LAYOUTS[name].block_weights, count))
    assert np.array_equal(one, two)


# -- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_another_reader_finds_finite_weights_in_every_tensor(architecture: str, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    file = write_synthetic(tiny(tmp_path, architecture), "q4_k_m", path)
    tensors = gguf.GGUFReader(path).tensors
    assert len(tensors) == file.tensors
    assert file.bytes == path.stat().st_size
    for tensor in tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        assert np.all(np.isfinite(values)), tensor.name
        role = tensor.name.removesuffix(".weight").rsplit(".", 1)[-1]
        if role.endswith("norm"):
            assert np.allclose(values, 1.0, atol=0.2), tensor.name
        elif role == "ssm_a":
            assert np.all(values < 0.0)
        elif values.size > 10_000 and not role.endswith(("scale", "ssm_d", "norm_2", "rope_freqs")):
            assert values.std() == pytest.approx(DEVIATION, rel=0.2), tensor.name


@pytest.mark.parametrize("vocabulary", ["none", "llama"])
def test_the_file_is_whole_and_its_size_was_known(vocabulary: Vocabulary, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    seen: list[tuple[int, int]] = []

    def note(done: int, total: int) -> None:
        seen.append((done, total))

    plan = plan_synthetic("smollm2-135m", "q4_k_m", vocabulary=vocabulary)
    file = write_synthetic("smollm2-135m", "q4_k_m", path, vocabulary=vocabulary, progress=note)
    read = read_gguf(path)
    assert (read.weights, read.weight_bytes) == ("complete", file.weights_bytes)
    assert file.bytes <= plan.most_bytes <= 1.02 * file.bytes
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] >= file.weights_bytes
    assert [one.name for one in tmp_path.iterdir()] == ["x.gguf"]


class Recorder(io.BytesIO):
    """A file that remembers where its writes began."""

    def __init__(self) -> None:
        super().__init__()
        self.begins: list[int] = []

    def write(self, piece: Any) -> int:
        self.begins.append(self.tell())
        return super().write(piece)


@given(st.integers(0, 3 * TILE), st.lists(st.integers(0, 3 * TILE // 2), max_size=6))
def test_pieces_of_any_size_are_written_from_tile_to_tile(begin: int, sizes: list[int]) -> None:
    out = Recorder()
    io.BytesIO.write(out, bytes(begin))
    aligned = Aligned(out, begin)
    content = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    for piece in content:
        assert aligned.write(piece) == len(piece)
    assert aligned.close() == begin + sum(sizes) == out.tell()
    assert out.getvalue() == bytes(begin) + b"".join(content)
    assert out.begins[:1] in ([], [begin])
    assert all(place % TILE == 0 for place in out.begins[1:])


def data_of(path: Path, tensor: str) -> bytes:
    return next(bytes(one.data.tobytes()) for one in gguf.GGUFReader(path).tensors if one.name == tensor)


def test_one_tile_is_repeated_or_every_block_is_new(tmp_path: Path) -> None:
    """An embedding of two tiles and a half; neither way has a block of zeros, or a row twice."""
    model = tiny(tmp_path, vocab=74000)
    repeated, new = tmp_path / "fast.gguf", tmp_path / "new.gguf"
    write_synthetic(model, "q4_0", repeated)
    write_synthetic(model, "q4_0", new, fast=False)
    tile = (TILE // 18 | 1) * 18
    fast_data, new_data = data_of(repeated, "token_embd.weight"), data_of(new, "token_embd.weight")
    assert len(fast_data) > 2 * tile
    assert fast_data[:tile] == fast_data[tile : 2 * tile]
    assert new_data[:tile] != new_data[tile : 2 * tile]
    for data in (fast_data, new_data):
        rows = np.frombuffer(data, dtype=np.uint8).reshape(74000, -1)
        assert len(np.unique(rows, axis=0)) == len(rows)
        assert rows.any(axis=1).all()


def test_the_same_seed_makes_the_same_file(tmp_path: Path) -> None:
    model = tiny(tmp_path)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_synthetic(model, "q4_k_m", tmp_path / f"{name}.gguf", seed=seed)
    first, second, third = ((tmp_path / f"{name}.gguf").read_bytes() for name in "abc")
    assert first == second != third


def test_the_vocabulary_has_a_token_for_every_row_and_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "v.gguf"
    write_synthetic(tiny(tmp_path), "q4_0", path, vocabulary="llama")
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    assert tokens[:3] == ["<unk>", "<s>", "</s>"]
    assert tokens[3:259] == [f"<0x{byte:02X}>" for byte in range(256)]
    assert len(set(tokens)) == len(tokens) == 512
    kinds = [gguf.TokenType(kind) for kind in fields["tokenizer.ggml.token_type"].contents()]
    assert kinds[:3] == [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    assert set(kinds[3:259]) == {gguf.TokenType.BYTE}
    assert set(kinds[260:]) == {gguf.TokenType.NORMAL}
    assert len(fields["tokenizer.ggml.scores"].contents()) == 512


@pytest.mark.parametrize("fast", [True, False])
def test_memory_is_bounded_by_tiles_not_by_the_file(fast: bool, tmp_path: Path) -> None:
    """270 MB are written with less than 64 MiB allocated at any time: the largest tensor alone is 50 MB."""
    plan_synthetic("smollm2-360m", "q4_k_m")  # what is loaded once is not counted
    tracemalloc.start()
    try:
        file = write_synthetic("smollm2-360m", "q4_k_m", tmp_path / "m.gguf", fast=fast)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert file.bytes > 4 * 2**26
    assert peak < 2**26


# -- ends -------------------------------------------------------------------------------------------------------------


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_full_disk_is_seen_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = tiny(tmp_path), tmp_path / "x.gguf"
    needed = plan_synthetic(model, "q4_0").most_bytes
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, needed))  # room for the file, not for 5 % more
    with pytest.raises(SpecError, match=r"x\.gguf: expected .* free on its disk \(the file and 5%\), found"):
        write_synthetic(model, "q4_0", path)
    assert not path.exists()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(SpecError, match=r"expected a file that can be written, found: (No such|Not a dir)"):
            write_synthetic(model, "q4_0", folder / "x.gguf")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(SpecError, match=r"x\.gguf: expected a file that can be written, found: Permission denied"):
        write_synthetic(model, "q4_0", tmp_path / "x.gguf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "llama.toml"]


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    model, path = tiny(tmp_path), tmp_path / "real.gguf"
    path.write_bytes(b"real weights")
    with pytest.raises(SpecError, match=r"real\.gguf: expected no file of this name yet, found one"):
        write_synthetic(model, "q4_0", path)
    with pytest.raises(SpecError, match="expected no file"), synthetic(model, "q4_0", path):
        pass
    assert path.read_bytes() == b"real weights"


def test_a_file_that_appears_while_writing_is_left_alone(tmp_path: Path) -> None:
    model, path = tiny(tmp_path), tmp_path / "real.gguf"
    with (
        pytest.raises(SpecError, match="expected no file of this name yet"),
        synthetic(model, "q4_0", path, progress=lambda *_: path.touch()),
    ):
        pass
    assert sorted(one.name for one in tmp_path.iterdir()) == ["llama.toml", "real.gguf"]


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_an_interrupted_file_is_removed(end: type[BaseException], tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise end

    model = tiny(tmp_path)
    with pytest.raises(end):
        write_synthetic(model, "q4_0", tmp_path / "x.gguf", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["llama.toml"]


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, RuntimeError, None])
def test_a_file_lives_as_long_as_its_with_statement(end: type[BaseException] | None, tmp_path: Path) -> None:
    model, path = tiny(tmp_path), tmp_path / "x.gguf"
    expected: AbstractContextManager[object] = pytest.raises(end) if end else nullcontext()
    with expected, synthetic(model, "q4_0", path) as file:
        assert file.path.stat().st_size == file.bytes
        if end:
            raise end
    assert not path.exists()


def test_a_file_can_be_kept(tmp_path: Path) -> None:
    model, path = tiny(tmp_path), tmp_path / "x.gguf"
    with synthetic(model, "q4_0", path, keep=True):
        pass
    assert path.exists()


def test_tiny_models_are_of_every_feature_of_their_originals(tmp_path: Path) -> None:
    """What the tests write small is what users write large."""
    for name, model in catalog_models().items():
        path = write_toml(shrink(model), tmp_path / f"{name}.toml")
        assert features(catalog.load_model(str(path)).spec) == features(model), name
