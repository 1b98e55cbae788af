"""A GGUF file's own blocks tell how well its weights were rounded: the estimate against the true ratio."""

import json
import math
import struct
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from roofline.cli.app import app
from roofline.file_quality.measuring import SIMPLE, decoded, measure
from roofline.file_quality.reading import shape_of
from roofline.file_quality.report import file_report, rows_of, tried_rows
from roofline.file_quality.steps import STEPPED, noise_of
from roofline.file_quality.sums import Sums, total
from roofline.precision.distributions import DISTRIBUTIONS
from roofline.quantization.quality import snr_db
from roofline.readers.gguf_file import StoredTensor
from roofline.spec import SpecError
from tests import gguf_files
from tests.gguf_files import Row
from tests.refresh_quality import by_gguf, ratio_db

Weights = NDArray[np.float32]
SHAPE = (128, 2048)
KIND: Any = gguf.GGMLQuantizationType
K_QUANTS = [name for name in STEPPED if name.endswith("_k")]


def drawn(name: str, seed: int = 3) -> Weights:
    """Weights of a distribution, of an RMS as models have it."""
    sample = DISTRIBUTIONS[name].sample(np.random.default_rng(seed), SHAPE)
    return np.asarray(0.02 * sample, dtype=np.float32)


def very_heavy() -> Weights:
    """Student's t with three degrees of freedom: no fourth moment."""
    return np.asarray(0.01 * np.random.default_rng(5).standard_t(3.0, SHAPE), dtype=np.float32)


def write(path: Path, tensors: Mapping[str, tuple[tuple[int, ...], int, bytes]], **more: gguf_files.MetaValue) -> Path:
    """A file of tensors: name → (shape, type number, blocks), all of a length that needs no padding."""
    rows = [Row(name, shape, kind) for name, (shape, kind, _) in tensors.items()]
    about: dict[str, gguf_files.MetaValue] = {"general.architecture": "llama", "general.alignment": 32}
    about |= {key.replace("_", "."): value for key, value in more.items()}
    head = gguf_files.encode(about, rows)
    begin = -(-len(head) // 32) * 32
    assert all(len(raw) % 32 == 0 for *_, raw in tensors.values())
    path.write_bytes(head + bytes(begin - len(head)) + b"".join(raw for *_, raw in tensors.values()))
    return path


def stored(name: str, weights: Weights) -> tuple[tuple[int, ...], int, bytes]:
    """Weights as a tensor of a type."""
    kind = KIND[name.upper()]
    return weights.shape[::-1], int(kind), gguf.quants.quantize(weights, kind).tobytes()


# -- the estimate -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("name", SIMPLE)
def test_the_estimate_is_the_true_ratio(name: str, distribution: str, tmp_path: Path) -> None:
    weights = drawn(distribution)
    file = write(tmp_path / "one.gguf", {"blk.0.ffn_up.weight": stored(name, weights)})
    true = ratio_db(weights, by_gguf(name, weights))
    sums = measure(file, whole=True).sums
    found = sums.snr_db
    assert found == pytest.approx(true, abs=0.12)
    assert sums.noisy_squares == pytest.approx(sums.squares - sums.noise)  # what blocks say has the error's power, too
    assert sums.gaussian_snr_db == pytest.approx(snr_db(name))
    # What Δ²/12 of every weight would say is off by more where weights are exact: n/(n − 1) of 32 is 0.14 dB.
    if name in ("q8_0", "q5_1", "q4_1"):
        exact = STEPPED[name].exact
        assert 10 * math.log10(32 / (32 - exact)) > abs((found or 0) - true)


def test_progress_counts_weights_tensor_by_tensor(tmp_path: Path) -> None:
    one, three = np.ones((32, 64), np.float32), np.ones((96, 64), np.float32)
    file = write(
        tmp_path / "two.gguf",
        {"blk.0.ffn_up.weight": stored("q8_0", one), "blk.1.ffn_up.weight": stored("q4_0", three)},
    )
    told: list[tuple[float, str]] = []
    measure(file, whole=True, progress=lambda share, what: told.append((share, what)))
    assert told == [(0.25, "blk.0.ffn_up.weight"), (1.0, "blk.1.ffn_up.weight")]


@pytest.mark.parametrize("name", ["q4_0", "q8_0", "q4_1"])
def test_it_is_too_low_where_a_few_weights_set_the_step(name: str, tmp_path: Path) -> None:
    weights = very_heavy()
    file = write(tmp_path / "one.gguf", {"blk.0.ffn_up.weight": stored(name, weights)})
    true = ratio_db(weights, by_gguf(name, weights))
    assert true - 0.8 < (measure(file, whole=True).sums.snr_db or 0) < true + 0.1


def blocks_of(llama_bin: Path, name: str, weights: Weights, how: str) -> bytes:
    """Blocks of llama.cpp's own quantiser: all weights of the same importance ('blocks'), or of none ('plain')."""
    words = [str(llama_bin / "requantise"), f"{name[:-1]}K", str(weights.shape[1]), how]
    return subprocess.run(words, input=weights.tobytes(), capture_output=True, check=True).stdout


@pytest.mark.engine
@pytest.mark.parametrize("how", ["blocks", "plain"])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("name", K_QUANTS)
def test_the_estimate_is_the_true_ratio_of_k_quants(
    name: str, distribution: str, how: str, tmp_path: Path, llama_bin: Path
) -> None:
    weights = drawn(distribution)[:32]
    raw, kind = blocks_of(llama_bin, name, weights, how), KIND[name.upper()]
    file = write(tmp_path / "one.gguf", {"blk.0.ffn_up.weight": (weights.shape[::-1], int(kind), raw)})
    back = gguf.quants.dequantize(np.frombuffer(raw, dtype=np.uint8), kind).reshape(weights.shape)
    near = 0.7 if name == "q2_k" else 0.35
    assert measure(file, whole=True).sums.snr_db == pytest.approx(ratio_db(weights, back), abs=near)


def packed(name: str, fields: Callable[[NDArray[np.uint8]], None]) -> NDArray[np.uint8]:
    """One block of zeros with some fields set."""
    block = np.zeros((1, gguf.GGML_QUANT_SIZES[KIND[name.upper()]][1]), dtype=np.uint8)
    fields(block[0])
    return block


@pytest.mark.parametrize("name", K_QUANTS)
def test_the_steps_are_those_that_the_gguf_package_decodes_with(name: str) -> None:
    """Raise a code of each sub-block by one, and what it says changes by that sub-block's step."""
    generator = np.random.default_rng(11)
    weights, size = gguf.GGML_QUANT_SIZES[KIND[name.upper()]]
    block = generator.integers(0, 256, (1, size), dtype=np.uint8)
    at = {"q2_k": 80, "q3_k": 108, "q4_k": 0, "q5_k": 0, "q6_k": 208}[name]
    block[0, at : at + 2] = np.frombuffer(np.float16(0.25).tobytes(), dtype=np.uint8)
    if name in ("q4_k", "q5_k", "q2_k"):  # the scale of the minima
        block[0, at + 2 : at + 4] = np.frombuffer(np.float16(0.5).tobytes(), dtype=np.uint8)
    steps = STEPPED[name].steps(block)[0]
    said = gguf.quants.dequantize(block.reshape(-1), KIND[name.upper()]).reshape(len(steps), -1)
    for step, values in zip(steps, said, strict=True):
        gaps = np.diff(np.unique(values))
        assert step == 0 or np.allclose(gaps / step, np.rint(gaps / step), atol=1e-4)
        assert step == 0 or len(gaps) == 0 or np.isclose(gaps.min(), step)
    assert weights == said.size


def test_noise_of_a_block_by_hand() -> None:
    """q8_0, d = 0.5: 31 weights of mean square 0.5²/12, one exact. q4_0, d = −1: one at 7·d has 1/4, 30 have 1/12."""
    eight = packed("q8_0", lambda one: one.__setitem__(slice(0, 2), np.frombuffer(np.float16(0.5).tobytes(), np.uint8)))
    assert noise_of("q8_0", eight, np.zeros((1, 32)))[0] == pytest.approx(31 * 0.25 / 12)
    four = packed("q4_0", lambda one: one.__setitem__(slice(0, 2), np.frombuffer(np.float16(-1).tobytes(), np.uint8)))
    said = np.zeros((1, 32))
    said[0, 4] = -7.0
    assert noise_of("q4_0", four, said)[0] == pytest.approx(30 / 12 + 1 / 4)


def test_twice_the_weights_have_the_same_ratio(tmp_path: Path) -> None:
    """Powers of two change neither codes nor the digits of scales."""
    weights = drawn("gaussian")
    ratios = [
        measure(write(tmp_path / f"{factor}.gguf", {"blk.0.ffn_up.weight": stored("q4_0", factor * weights)})).sums
        for factor in (1.0, 4.0)
    ]
    assert ratios[0].snr_db == pytest.approx(ratios[1].snr_db, abs=1e-9)
    assert (ratios[1].rms or 0) == pytest.approx(4 * (ratios[0].rms or 0))
    assert ratios[0].kurtosis == pytest.approx(3, abs=0.1)


# -- floats -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
def test_floats_are_tried_in_other_types(kind: str, tmp_path: Path) -> None:
    weights = drawn("laplacian")
    raw = gguf.quants.quantize(weights, KIND[kind])
    known = np.asarray(gguf.quants.dequantize(raw, KIND[kind]), dtype=np.float32).reshape(weights.shape)
    file = write(tmp_path / "one.gguf", {"blk.0.ffn_up.weight": (SHAPE[::-1], int(KIND[kind]), raw.tobytes())})
    quality = measure(file, whole=True)
    sums = quality.sums
    wide = known.astype(float)
    assert sums.rms == pytest.approx(math.sqrt(np.mean(wide**2)))
    assert sums.kurtosis == pytest.approx(np.mean(wide**4) / np.mean(wide**2) ** 2)
    assert sums.largest == pytest.approx(np.abs(wide).max())
    assert sums.held_share("fp16") == pytest.approx(np.mean(known.astype(np.float16).astype(np.float32) == known))
    assert sums.held_share("bf16") == pytest.approx(np.mean(known.view(np.uint32) & 0xFFFF == 0))
    assert sums.snr_db is None  # nothing tells what was lost before
    assert [row["type"] for row in tried_rows(quality)] == list(SIMPLE)
    for row in tried_rows(quality):
        assert row["file_snr_db"] == pytest.approx(ratio_db(known, by_gguf(row["type"], known)), abs=1e-3)
        assert row["snr_gain_db"] < -1 and row["gaussian_snr_db"] == snr_db(row["type"])


# -- files ------------------------------------------------------------------------------------------------------------


def test_a_file_is_told_by_role_and_as_a_whole(tmp_path: Path) -> None:
    small, large = drawn("gaussian"), 10 * drawn("gaussian", 4)
    path = write(
        tmp_path / "two.gguf",
        {
            "blk.0.attn_q.weight": stored("q4_0", small),
            "blk.1.attn_q.weight": stored("q4_0", small),
            "blk.0.ffn_up.weight": stored("q8_0", large),
            "blk.0.attn_norm.weight": ((64,), 0, np.ones(64, dtype=np.float32).tobytes()),
        },
    )
    rows = {row["role"]: row for row in rows_of(measure(path, whole=True))}
    assert list(rows) == ["attn_q", "ffn_up", "whole file"]
    assert rows["attn_q"]["elements"] == 2 * small.size and rows["whole file"]["type"] == ["q4_0", "q8_0"]
    # Powers add: the large matrix has a hundred times the power of each of the small ones.
    noise = 2 * 10 ** (-rows["attn_q"]["file_snr_db"] / 10) + 100 * 10 ** (-rows["ffn_up"]["file_snr_db"] / 10)
    assert rows["whole file"]["file_snr_db"] == pytest.approx(10 * math.log10(102 / noise), abs=0.02)
    assert abs(rows["ffn_up"]["snr_gain_db"]) < 0.1


def test_a_sample_is_like_the_whole_and_always_the_same(tmp_path: Path) -> None:
    weights = np.concatenate([drawn("gaussian", seed) for seed in range(4)])
    path = write(tmp_path / "one.gguf", {"blk.0.ffn_up.weight": stored("q4_0", weights)})
    whole, part, again = measure(path, whole=True), measure(path, runs=8), measure(path, runs=8)
    assert part.read == 8 * 2048 < whole.read == whole.elements == part.elements
    assert part.sums.snr_db == pytest.approx(whole.sums.snr_db, abs=0.2)
    assert part.sums.snr_db == again.sums.snr_db
    assert part.sums.weights == pytest.approx(whole.sums.weights)


def test_the_files_of_a_split_model_are_read_together(tmp_path: Path) -> None:
    first, second = drawn("gaussian"), drawn("laplacian")
    whole = write(tmp_path / "one.gguf", {"a.weight": stored("q4_0", first), "b.weight": stored("q8_0", second)})
    parts = ({"a.weight": stored("q4_0", first)}, {"b.weight": stored("q8_0", second)})
    for number, tensors in enumerate(parts, 1):
        write(tmp_path / f"two-{number:05}-of-00002.gguf", tensors, split_count=2)
    split = measure(tmp_path / "two-00001-of-00002.gguf")
    assert split.sums == measure(whole).sums and split.elements == first.size + second.size


def test_sums_add_and_scale() -> None:
    one, two = Sums(), Sums()
    one.add(np.array([1.0, -3.0]))
    two.add(np.array([2.0]))
    both = total([one, two])
    assert (both.weights, both.squares, both.largest) == (3, 14.0, 3.0)
    assert both.scaled(2.0).rms == both.rms and both.scaled(2.0).kurtosis == both.kurtosis
    assert Sums().rms is None and Sums().kurtosis is None and Sums().snr_db is None


def test_numbers_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    weights = drawn("gaussian")
    shape, kind, raw = stored("q4_0", weights)
    hostile = bytearray(raw)
    for place, scale in ((0, math.nan), (18 * 5, math.inf)):
        hostile[place : place + 2] = struct.pack("<e", scale)
    path = write(tmp_path / "one.gguf", {"blk.0.ffn_up.weight": (shape, kind, bytes(hostile))})
    quality = measure(path, whole=True)
    assert quality.sums.broken == 2 * 32
    assert quality.sums.snr_db == pytest.approx(snr_db("q4_0"), abs=0.15)
    assert "not finite" in file_report(path, "table", whole=True)
    zeros = write(tmp_path / "zero.gguf", {"blk.0.ffn_up.weight": (shape, kind, bytes(len(raw)))})
    assert measure(zeros).sums.snr_db is None and json.loads(file_report(zeros, "json"))["total"]["rms"] == 0


def test_floats_of_which_none_is_finite_are_counted_and_nothing_is_tried(tmp_path: Path) -> None:
    raw = np.full((4, 64), np.nan, dtype=np.float32).tobytes()
    path = write(tmp_path / "one.gguf", {"a.weight": ((64, 4), 0, raw)})
    quality = measure(path)
    assert quality.sums.broken == 4 * 64 and tried_rows(quality) == []
    assert "not finite" in file_report(path, "table")


def test_floats_beyond_a_scale_have_no_ratio(tmp_path: Path) -> None:
    """A scale in fp16 ends at 65504: 1e8 in q8_0 would take 787 402."""
    weights = drawn("gaussian")
    weights[0, :32] = 1e8
    path = write(tmp_path / "one.gguf", {"a.weight": (SHAPE[::-1], 0, weights.tobytes())})
    found = measure(path, whole=True)
    assert found.sums.tried_snr_db("q8_0") is None and "q8_0" not in [row["type"] for row in tried_rows(found)]


def test_files_without_their_weights_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "one.gguf", {"blk.0.ffn_up.weight": stored("q4_0", drawn("gaussian"))})
    raw = path.read_bytes()
    path.write_bytes(raw[:-100])
    with pytest.raises(SpecError, match="lacks 100 bytes"):
        measure(path)
    path.write_bytes(gguf_files.encode({"general.architecture": "llama"}, [Row("a.weight", (32, 2), 2)]))
    with pytest.raises(SpecError, match="header alone"):
        measure(path)
    path.write_bytes(gguf_files.encode({"general.architecture": "llama"}, [Row("a.weight", (32,), 0)], data=True))
    with pytest.raises(SpecError, match="weight matrices, found none"):
        measure(path)
    row = Row("a.weight", (32, 2), 0)
    path.write_bytes(gguf_files.encode({"general.architecture": "llama"}, [row], order=">", data=True))
    with pytest.raises(SpecError, match="big-endian"):
        measure(path)
    told = run("inspect", str(path)).stdout  # without its quality
    assert "parameters             64" in told and "quality" not in told
    path.write_bytes(gguf_files.encode({"general.architecture": "llama"}))  # a vocabulary
    assert "parameters             0" in run("inspect", str(path)).stdout


@pytest.mark.parametrize("kind", [kind for kind in KIND if kind.name not in ("I8", "I16", "I32", "I64", "F64")])
def test_every_type_is_told_or_named(kind: gguf.GGMLQuantizationType, tmp_path: Path) -> None:
    """Random bytes of every type: an estimate, a spread, or the type's name; never a crash, never a number in JSON that
    is none."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    count = -(-4096 // block // 32) * 32 or 32
    raw = np.random.default_rng(int(kind)).integers(0, 256, count * size, dtype=np.uint8).tobytes()
    raw += bytes(-len(raw) % 32)
    rows = {"blk.0.ffn_up.weight": ((block * 32, count // 32), int(kind), raw)}
    if count // 32 < 2:
        rows = {"blk.0.ffn_up.weight": ((block, count), int(kind), raw)}
    path = write(tmp_path / "one.gguf", rows)
    found = json.loads(file_report(path, "json", whole=True))
    assert found["total"]["rms"] is not None or kind.name.lower() in found["unread_types"]
    assert "ffn_up" in file_report(path, "table")


def test_types_with_bytes_of_their_own_in_each_row_are_not_read() -> None:
    tensor = StoredTensor("a.weight", "a", None, (256, 2), "iq4_ks", 0, 300)
    assert shape_of(tensor) is None and decoded(tensor, np.zeros((1, 1), dtype=np.uint8)) is None


def test_a_real_file(smollm2_gguf: Path) -> None:
    """SmolLM2-135M: Q4_1 rounds its matrices nearly as well as Gaussian weights; the embedding, with a kurtosis of a
    Laplacian's or more, 2 dB worse in q8_0 (a Laplacian: 43.43 of 45.44 dB)."""
    rows = {row["role"]: row for row in rows_of(measure(smollm2_gguf))}
    for role, row in rows.items():
        assert row["kurtosis"] > 3.0
        if row["type"] == ["q4_1"]:
            assert -0.6 < row["snr_gain_db"] < 0.0, role
    assert rows["token_embd"]["snr_gain_db"] == pytest.approx(-2.3, abs=0.2)
    assert rows["whole file"]["elements"] == 134_479_872


# -- the command line -------------------------------------------------------------------------------------------------


def run(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_the_commands_tell_of_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "one.gguf", {"blk.0.ffn_up.weight": stored("q4_0", drawn("gaussian"))})
    told = run("error", "--model", str(path), "--whole").stdout
    assert "ffn_up" in told and "Gaussian weights would have 21.3 dB" in told and "all weights were read" in told
    for form in ("json", "csv", "md"):
        assert run("error", "--model", str(path), "--format", form).exit_code == 0
    assert run("error", "--whole").exit_code == 2
    assert "quality  " in run("inspect", str(path)).stdout
    inspected = json.loads(run("inspect", str(path), "--format", "json").stdout)
    assert inspected["file_snr_db"] == pytest.approx(21.3, abs=0.2)
