"""What mapping a file means: where tensors lie, which pages a token touches, how few faults it takes, what is held."""

from dataclasses import replace
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline import api, catalog
from roofline.beyond_memory import cases, helps, token_bytes
from roofline.demand import distinct_experts
from roofline.loading import Loading, loading
from roofline.paging import (
    FileLayout,
    Span,
    faults,
    held,
    layout_of_file,
    layout_of_shape,
    page_size,
    touched,
)
from roofline.readers import model_of, read_gguf
from roofline.spec import SpecError
from roofline.weights import bytes_read
from roofline.workload import Step
from tests import gguf_files

PAGE = 64
ONE_TOKEN = Step(batch=1.0, new=1.0, past=0.0, limit=1.0)


def layout(*spans: Span) -> FileLayout:
    return FileLayout(spans, max(span.end for span in spans), is_real=True)


def pages(begin: int, end: int, page: int = PAGE) -> set[int]:
    """The pages of bytes, one by one."""
    return {byte // page for byte in range(begin, end)}


# -- pages -------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 300), min_size=1, max_size=8), st.integers(0, 100))
def test_tensors_add_up_but_for_the_pages_that_they_share(sizes: list[int], begin: int) -> None:
    """The pages of adjacent tensors are those of all bytes; each border within a page is counted once less."""
    spans, at = [], begin
    for number, size in enumerate(sizes):
        spans.append(Span(f"t{number}", None, at, size))
        at += size
    together = float(touched(layout(*spans), PAGE).pages())
    assert together == len(pages(begin, at))
    union = set().union(*(pages(span.begin, span.end) for span in spans))
    assert together == len(union)
    assert together <= sum(float(touched(layout(span), PAGE).pages()) for span in spans)


def test_a_tensor_that_is_not_run_is_not_touched() -> None:
    idle = Span("blk.9.nextn", 9, 640, 640, used=0)
    assert touched(layout(Span("a", 0, 0, 640), idle), PAGE).pages() == 10


# -- mixtures ----------------------------------------------------------------------------------------------------------


def mixture(size: int, begin: int, experts: int = 5, used: int = 2) -> FileLayout:
    """A dense tensor, two tensors of a layer's experts, another layer's, and a dense one, without padding."""
    spans, at = [], begin
    for name, choice, parts, bytes_ in (
        ("norm", "", 1, 30), ("up", "layer 0", experts, size), ("down", "layer 0", experts, size),
        ("up 1", "layer 1", experts, size), ("output", "", 1, 70),
    ):  # fmt: skip
        chosen = used if choice else 1
        whole = bytes_ * parts
        spans.append(Span(name, 0, at, whole, parts, chosen, choice, 0, parts))
        at += whole
    return layout(*spans)


def brute_force(found: FileLayout, tokens: int, experts: int, used: int) -> float:
    """The mean number of different pages over every choice that so many tokens can make in two layers."""
    choices = list(combinations(range(experts), used))
    counts = []
    for picks in product(product(choices, repeat=2), repeat=tokens):
        read: set[int] = set()
        for layer_0, layer_1 in picks:
            for span in found.spans:
                chosen = {"": (0,), "layer 0": layer_0, "layer 1": layer_1}[span.choice]
                each = span.size // span.parts
                for part in chosen:
                    read |= pages(span.begin + part * each, span.begin + (part + 1) * each)
        counts.append(len(read))
    return float(np.mean(counts))


@pytest.mark.parametrize("size", [20, 64, 100, 150])
@pytest.mark.parametrize("begin", [0, 17])
def test_the_expected_pages_of_a_mixture_are_the_mean_over_every_choice(size: int, begin: int) -> None:
    found = mixture(size, begin, 5, 2)
    assert touched(found, PAGE).pages(1) == pytest.approx(brute_force(found, 1, 5, 2), rel=1e-12)


def test_the_same_of_two_tokens() -> None:
    found = mixture(100, 17, 4, 1)
    assert touched(found, PAGE).pages(2) == pytest.approx(brute_force(found, 2, 4, 1), rel=1e-12)


@given(st.integers(2, 64), st.integers(1, 8), st.integers(1, 200))
def test_whole_pages_of_experts_are_touched_as_the_experts_are(experts: int, used: int, tokens: int) -> None:
    """Parts of exactly two pages: the pages are twice the distinct experts of demand.distinct_experts."""
    used = min(used, experts)
    span = Span("ffn_up_exps", 0, 0, 2 * PAGE * experts, experts, used, "layer 0", 0, experts)
    expected = 2 * float(distinct_experts(experts, used, float(tokens)))
    assert touched(layout(span), PAGE).pages(tokens) == pytest.approx(expected)


def test_experts_in_a_tensor_each_are_touched_like_those_in_one() -> None:
    joint = Span("up", 0, 0, 400, 4, 1, "layer 0", 0, 4)
    alone = [Span(f"up.{index}", 0, 100 * index, 100, 1, 1, "layer 0", index, 4) for index in range(4)]
    assert touched(layout(*alone), PAGE).pages(3) == pytest.approx(touched(layout(joint), PAGE).pages(3))
    assert layout(*alone).read_bytes == layout(joint).read_bytes == 100


def test_a_row_of_the_embedding_lies_on_one_page_or_two() -> None:
    """Rows of 48 bytes on pages of 64 that begin at a border: of four, two lie on one page and two across a border."""
    rows = 400
    span = Span("token_embd.weight", None, 0, 48 * rows, rows, 1, "embedding", 0, rows)
    counted = np.mean([len(pages(48 * row, 48 * (row + 1))) for row in range(rows)])
    assert counted == pytest.approx(1.5)
    assert touched(layout(span), PAGE).pages(1) == pytest.approx(counted)


def test_more_tokens_touch_more_pages_up_to_all_that_are_used() -> None:
    found = touched(mixture(100, 17), PAGE)
    tokens = np.array([1.0, 2.0, 5.0, 20.0, 1e6])
    many = np.asarray(found.pages(tokens))
    assert np.all(np.diff(many) > 0)
    assert many == pytest.approx([found.pages(float(n)) for n in tokens])
    assert many[-1] == pytest.approx(len(pages(17, mixture(100, 17).size)))
    assert found.bytes(1) == found.pages(1) * PAGE


# -- models ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "quant"),
    [
        ("mistral-7b", "q4_0"), ("llama-3.2-1b", "q4_k_m"), ("mixtral-8x7b", "q4_k_m"), ("deepseek-v3", "q4_k_m"),
        ("gpt-oss-20b", "mxfp4"), ("gemma-2-9b", "q8_0"),
    ],
)  # fmt: skip
def test_a_laid_out_file_has_the_bytes_that_the_weights_have(model: str, quant: str) -> None:
    entry, weights = api.load_weights(model, quant)
    found = layout_of_shape(entry.spec, weights.quant)
    assert found.size == pytest.approx(weights.file_bytes, rel=1e-6)  # but for the padding to 32 bytes
    assert found.read_bytes == pytest.approx(bytes_read(entry.spec, weights, ONE_TOKEN), rel=1e-3)
    pages_read = float(touched(found, 4096).pages(1))
    assert found.read_bytes / 4096 <= pages_read <= found.size / 4096 + 1


def test_a_tied_model_reads_every_page_and_an_untied_one_all_but_its_embedding() -> None:
    """Mistral 7B: 32000 x 4096 weights of 4.5 bits are 73.7 MB that a token reads a row of, 2304 bytes."""
    tied, _ = api.load_weights("llama-3.2-1b", "q8_0")
    whole = layout_of_shape(tied.spec, "q8_0")
    assert float(touched(whole, 4096).pages(1)) == np.ceil(whole.size / 4096)
    untied, _ = api.load_weights("mistral-7b", "q4_0")
    found = layout_of_shape(untied.spec, "q4_0")
    assert found.size - found.read_bytes == pytest.approx(32000 * 4096 * 4.5 / 8 - 2304)


def test_a_real_file_is_laid_out_as_its_table_says(smollm2_gguf: Path) -> None:
    file = read_gguf(smollm2_gguf)
    found = layout_of_file(model_of(file), file)
    assert found.size == smollm2_gguf.stat().st_size
    assert found.spans[-1].end <= found.size < found.spans[-1].end + file.alignment
    assert file.data_begin % file.alignment == 0
    with smollm2_gguf.open("rb") as stream:  # the norms of a layer are f32 numbers about 1, wherever they lie
        norm = next(span for span in found.spans if span.name == "output_norm.weight")
        stream.seek(norm.begin)
        values = np.frombuffer(stream.read(norm.size), dtype="<f4")
    assert len(values) == 576
    assert 0.1 < float(np.median(np.abs(values))) < 100


def test_tensors_lie_where_the_table_says_and_layers_that_are_not_run_are_not_read(tmp_path: Path) -> None:
    """An alignment of 4 KiB, of which no tensor is a multiple; and a third layer in a model of two."""
    about, rows = gguf_files.llama()
    path = tmp_path / "aligned.gguf"
    path.write_bytes(gguf_files.encode(about | {"general.alignment": 4096}, rows, alignment=4096, data=True))
    file = read_gguf(path)
    model = model_of(file)
    found = layout_of_file(model, file)
    assert [span.begin for span in found.spans] == [file.data_begin + tensor.offset for tensor in file.tensors]
    third = replace(file.tensors[2], name="blk.2.attn_q.weight", layer=2, offset=found.spans[-1].end)
    longer = layout_of_file(model, replace(file, tensors=(*file.tensors, third)))
    assert (longer.spans[-1].used, longer.read_bytes) == (0, found.read_bytes)
    assert touched(longer, 4096).pages() == touched(found, 4096).pages()


def test_a_file_without_its_weights_is_as_long_as_its_table_says(smollm2_gguf: Path, tmp_path: Path) -> None:
    whole = read_gguf(smollm2_gguf)
    with smollm2_gguf.open("rb") as stream:
        (tmp_path / "header.gguf").write_bytes(stream.read(whole.data_begin))
    header = read_gguf(tmp_path / "header.gguf")
    found, real = (layout_of_file(model_of(file), file) for file in (header, whole))
    assert found.spans == real.spans
    assert found.size == real.spans[-1].end


# -- faults ------------------------------------------------------------------------------------------------------------


def test_faults_are_fewer_than_pages() -> None:
    """4 MiB in pages of 4 KiB: 1024 pages, 64 windows of 64 KiB, 32 of 128 KiB, 2 huge pages."""
    found = faults(1024.0, 4096)
    assert (found.fewest, found.expected, found.most, found.major) == (2, 64, 1024, 32)
    assert faults(1024.0, 4096, is_cached=True).major == 0
    assert faults(64.0, 65536).expected == 64  # a page as large as the window


@given(st.floats(1, 1e8), st.sampled_from([4096, 16384, 65536]))
def test_faults_lie_in_order(count: float, page: int) -> None:
    found = faults(float(np.ceil(count)), page)
    assert found.fewest <= found.expected <= found.most
    assert found.major <= found.expected


def test_pages_are_those_of_the_usual_kernel() -> None:
    sizes = {name: page_size(catalog.load_hardware(name).spec) for name in ("rpi4", "rpi5", "m1-8gpu", "ryzen-7950x")}
    assert {name: one.size for name, one in sizes.items()} == {
        "rpi4": 4096, "rpi5": 16384, "m1-8gpu": 16384, "ryzen-7950x": 4096,
    }  # fmt: skip
    assert {name: one.basis for name, one in sizes.items()}["rpi4"] == "assumed"
    assert page_size(catalog.load_hardware("rpi5").spec, "4KiB").size == 4096


@pytest.mark.parametrize("text", ["5KiB", "4KB", "0", "-4KiB", "1GiB", "1.5", "much", "4KiB/s"])
def test_what_no_kernel_has_is_no_page(text: str) -> None:
    with pytest.raises(SpecError, match=r"^--page: expected"):
        page_size(catalog.load_hardware("rpi4").spec, text)


# -- what is held ------------------------------------------------------------------------------------------------------


@given(st.floats(0, 1e12), st.floats(0, 1e12), st.floats(0, 1e12), st.floats(-1e12, 1e12))
def test_no_more_is_mapped_than_is_cached_nor_cached_than_there_is_room(
    touched_bytes: float, fetched: float, own: float, room: float
) -> None:
    found = held(touched_bytes, fetched, own, room)
    assert 0 <= found.mapped <= found.cached <= max(room, 0.0)
    assert found.mapped <= touched_bytes
    assert found.shown == found.mapped + own


def test_read_ahead_is_in_the_page_cache_and_not_in_the_process() -> None:
    found = held(100.0, 160.0, 7.0, np.inf)
    assert (found.mapped, found.cached, found.shown) == (100, 160, 107)


# -- loading -----------------------------------------------------------------------------------------------------------


def loaded(hw: str = "rpi4", model: str = "mistral-7b", quant: str = "q4_0", **words: Any) -> Loading:
    return loading(hw, model, quant, **({"disk": "90MB/s"} | words))


def test_half_a_token_shows_half_and_a_token_all_that_it_reads() -> None:
    found = loaded("ryzen-7950x", "llama-30b", ram="64GB", repack=False)
    moments = dict(found.stages())
    whole = float(found.touched.bytes(1))
    assert moments["mapped, nothing touched"].mapped == 0
    assert moments["after half a token"].mapped == pytest.approx(whole / 2)
    assert moments["after one token"].mapped == whole
    assert whole > 0.99 * found.layout.size  # dense: nothing is sparse
    assert moments["loaded, mapping populated"].mapped >= found.layout.size


def test_6_gb_of_30b_are_a_quarter_of_the_first_pass() -> None:
    """18.4 GB in 60 layers of 0.3 GB after an embedding of 0.12 GB; 6 GB less 1.4 GB of its own are in layer 16."""
    found = loaded("ryzen-7950x", "llama-30b", ram="32GB", repack=False, resident="6GB")
    assert found.reached is not None
    span, percent = found.reached
    read = 6e9 - found.own
    layer = (found.layout.read_bytes - 6656 * 32000 * 6.5625 / 8) / 60  # the head is q6_k
    assert span.layer == int(read / layer)
    assert percent == pytest.approx(100 * read / found.layout.read_bytes)
    assert found.shown_after_one == pytest.approx(found.touched.bytes(1) + found.own)
    assert loaded(resident="90GB").reached is None


def test_a_mixture_touches_little_with_one_token_and_most_with_many() -> None:
    """Mixtral: 2 of 8 experts, and after 64 tokens 1 - 0.75^64 of them."""
    found = loaded("ryzen-7950x", "mixtral-8x7b", ram="64GB", repack=False)
    moments = dict(found.stages())
    shares = [float(moments[f"after {name}"].mapped) / found.layout.size for name in ("one token", "64 tokens")]
    assert 0.25 < shares[0] < 0.30
    assert shares[1] > 0.99


def test_the_least_the_expected_and_the_most_are_in_order_and_fall_with_memory() -> None:
    before: list[float] | None = None
    for size in ("4GB", "5GB", "6GB", "7GB"):
        found = loaded("rpi5", "llama-2-13b", ram=size, repack=False)
        reads = [case.read for case in cases(found.prediction)]
        assert reads == sorted(reads)
        assert reads[-1] == pytest.approx(token_bytes(found.prediction))
        assert all(case.tok_s == 1 / case.seconds for case in cases(found.prediction))
        if before is not None:
            assert reads[0] < before[0]
            assert reads[1] < before[1]
        before = reads
    assert cases(loaded("rpi5", ram="16GB").prediction) == []
    assert helps(loaded("rpi5", ram="16GB").prediction) == []


def test_what_helps_does() -> None:
    found = loaded(ram="4GB")
    smaller, memory = helps(found.prediction)[:2]
    quant = smaller.change.removeprefix("--quant ")
    assert api.predict("rpi4-4gb", "mistral-7b", quant).memory.fits
    assert memory.size is not None
    enough = api.predict("rpi4", "mistral-7b", "q4_0", set={"memory.capacity": f"{memory.size + 1:.0f} B"})
    assert enough.memory.fits
    assert not api.predict(
        "rpi4", "mistral-7b", "q4_0", set={"memory.capacity": f"{memory.size - 1e6:.0f} B"}
    ).memory.fits


def test_of_memory_that_may_be_used_in_part_more_is_needed() -> None:
    """Metal may use three quarters of it."""
    found = loaded("m2-ultra-76", "llama-3.3-70b", "f16", disk="3GB/s", ram="64GB")
    (memory,) = (one for one in helps(found.prediction) if one.change == "more memory")
    assert memory.size is not None
    for size, fits in ((memory.size + 1e3, True), (memory.size - 1e8, False)):
        again = api.predict("m2-ultra-76", "llama-3.3-70b", "f16", set={"memory.capacity": f"{size:.0f} B"})
        assert again.memory.fits is fits


def test_the_disk_that_gives_a_token_a_second_gives_it() -> None:
    found = loaded("ryzen-7950x", "llama-30b", disk="1GB/s", ram="16GB", repack=False)
    rates = [one.rate for one in helps(found.prediction) if one.change == "faster disk"]
    assert len(rates) == 2
    for rate, place in zip(rates, (1, 2), strict=True):
        faster = loaded("ryzen-7950x", "llama-30b", disk=rate, ram="16GB", repack=False)
        assert cases(faster.prediction)[place].tok_s == pytest.approx(1.0)


def test_a_memory_size_is_the_one_of_the_id() -> None:
    assert loaded(ram="8GB").prediction.memory == loaded("rpi4-8gb").prediction.memory


def test_the_first_token_lies_between_reading_under_the_pass_and_before_it() -> None:
    found = loaded("ryzen-7950x", disk="1GB/s", ram="32GB", repack=False)
    first, prefill = found.first_token, found.prediction.prefill
    assert first is not None
    assert prefill is not None
    assert first.least == pytest.approx(max(found.load.read, float(prefill.seconds)))
    assert first.most == pytest.approx(found.load.read + float(prefill.seconds))
    assert first.warm == pytest.approx(float(prefill.seconds))
    repacked = loaded("ryzen-7950x", disk="1GB/s", ram="32GB").first_token
    assert repacked is not None
    assert repacked.least == repacked.most  # what is repacked has been read before the pass


def test_what_memory_lacks_is_not_waited_for_twice() -> None:
    """A lazy first pass reads each page once: its own time is without the disk."""
    found = loaded(ram="4GB")
    first, prefill = found.first_token, found.prediction.prefill
    assert first is not None
    assert prefill is not None
    assert prefill.disk_seconds > 0
    assert first.least == pytest.approx(float(prefill.seconds - prefill.disk_seconds))  # 318 s, the disk 46 s


def test_weights_that_find_no_place_are_not_repacked() -> None:
    found = loaded("rpi5", "llama-3.1-8b", "q4_0", ram="4GB")
    assert found.prediction.memory.repacked > 0
    assert found.repacked == 0
    assert dict(found.stages())["after one token"].mapped > 0


def test_a_copied_file_is_the_processes_own() -> None:
    found = loaded("rpi5", disk="1GB/s", mmap=False, repack=False)
    ((_, moment),) = found.stages()
    assert moment.mapped == 0
    assert moment.own == pytest.approx(float(found.prediction.memory.total))
    assert found.load.warm > 0
    with pytest.raises(SpecError, match=r"^--no-mmap: expected room"):
        loaded(ram="4GB", mmap=False)


def test_a_file_is_loaded_as_it_lies(smollm2_gguf: Path) -> None:
    found = loading("rpi4", str(smollm2_gguf), None, disk="90MB/s")
    assert found.layout.is_real
    assert found.file_pages == np.ceil(smollm2_gguf.stat().st_size / 4096)
