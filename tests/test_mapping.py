"""The mapping experiment: what it reads of the system, what it walks, and that the machine counts as expected."""

import json
import mmap
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.engine.synthetic import write_synthetic
from roofline.measure.mapping import access, counters, experiment, pagecache
from roofline.measure.mapping.experiment import Mapped, Step, Way, measure, shortened
from roofline.measure.mapping.report import compared, described
from roofline.measure.mapping.walk import Run, halves, pages_of, read, runs_of_token, total
from roofline.paging import HUGE_PAGE, FileLayout, Span
from roofline.spec import SpecError

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc and calls mincore")

DENSE = """
name = "Dense"
architecture = "llama"
vocab = 2048
hidden = 256
layers = 4
max_context = 2048
[blocks.layer]
attention = { heads = 8, kv_heads = 4, head_dim = 32 }
mlp = { width = 768 }
"""
MIXTURE = DENSE.replace("mlp = { width = 768 }", "experts = { experts = 16, active = 2, width = 256 }")


def made(folder: Path, shape: str) -> Path:
    """A synthetic file of a shape on a disk."""
    (folder / "shape.toml").write_text(shape.replace("Dense", folder.name), encoding="utf-8")
    path = folder / "model.gguf"
    write_synthetic(str(folder / "shape.toml"), "q8_0", path)
    return path


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Mapped:
    return measure(made(tmp_path_factory.mktemp("dense"), DENSE))


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Mapped:
    return measure(made(tmp_path_factory.mktemp("mixture"), MIXTURE), seed=3)


# -- what the system says ----------------------------------------------------------------------------------------------


def test_resident_pages_of_one_mapping_are_read_from_smaps() -> None:
    lines = [
        "7f0000000000-7f0000010000 r--s 00000000 08:01 42    /a b/model.gguf",
        "Size:                 64 kB",
        "Rss:                  12 kB",
        "Pss:                  12 kB",
        "7f0000020000-7f0000030000 rw-p 00000000 00:00 0",
        "Rss:                  60 kB",
    ]
    assert counters.rss_of(lines, 0x7F0000000000) == 12 * 1024
    assert counters.rss_of(lines, 0x7F0000020000) == 60 * 1024
    assert counters.rss_of(lines, 0x1000) is None
    assert counters.read_bytes_of(["rchar: 5", "read_bytes: 4096", "write_bytes: 1"]) == 4096
    assert counters.read_bytes_of(["rchar: 5"]) is None


def test_the_file_system_is_that_of_the_longest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    lines = [
        "1 0 8:1 / / rw,relatime - ext4 /dev/a rw",
        f"2 1 0:5 / {tmp_path} rw - tmpfs tmpfs rw",
        f"3 1 0:6 / {tmp_path}/with\\040space rw shared:4 - xfs /dev/b rw",
        "broken",
    ]
    mounts.write_text("\n".join(lines), encoding="utf-8")
    assert access.file_system(tmp_path / "x", mounts) == "tmpfs"
    assert access.file_system(tmp_path / "with space" / "x", mounts) == "xfs"
    assert access.file_system(Path("/elsewhere"), mounts) == "ext4"
    assert access.file_system(Path("/elsewhere"), tmp_path / "none") == ""


@linux
def test_every_page_that_is_cached_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "three pages"
    path.write_bytes(b"x" * (2 * mmap.PAGESIZE + 1))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapping:
        assert pagecache.cached_pages(mapping, 2 * mmap.PAGESIZE + 1) == 3
        assert counters.mapped_bytes(pagecache.address_of(mapping)) is not None


# -- the walk ----------------------------------------------------------------------------------------------------------

RUNS = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 400)), min_size=1, max_size=6)


def as_runs(steps: list[tuple[int, int]]) -> list[Run]:
    """Runs from (gap before, length)."""
    found, at = [], 0
    for gap, length in steps:
        found.append((at + gap, at + gap + length))
        at += gap + length
    return found


@given(RUNS)
def test_pages_of_runs_are_those_of_their_bytes(steps: list[tuple[int, int]]) -> None:
    runs = as_runs(steps)
    assert pages_of(runs, 64) == len({byte // 64 for begin, end in runs for byte in range(begin, end)})


@given(RUNS)
def test_two_halves_are_the_whole(steps: list[tuple[int, int]]) -> None:
    runs = as_runs(steps)
    first, rest = halves(runs, 64)
    assert total(first) + total(rest) == total(runs)
    assert {b for begin, end in [*first, *rest] for b in range(begin, end)} == {
        b for begin, end in runs for b in range(begin, end)
    }
    assert 0 <= total(first) - total(runs) // 2 <= 64
    assert total(shortened(runs, 100)) == min(100, total(runs))


@given(RUNS)
def test_every_byte_is_added_up(steps: list[tuple[int, int]]) -> None:
    """Words of eight bytes and what is before and behind them; of a mapping, as it is walked."""
    runs = as_runs(steps)
    content = np.random.default_rng(1).integers(0, 256, runs[-1][1] + 9, dtype=np.uint8).tobytes()
    with mmap.mmap(-1, len(content)) as mapping:
        mapping.write(content)
        expected = 0
        for begin, end in runs:
            words = range(-(-begin // 8) * 8, end - 7, 8)
            inside = {byte for word in words for byte in range(word, word + 8)}
            expected += sum(int.from_bytes(content[word : word + 8], sys.byteorder) for word in words)
            expected += sum(content[byte] for byte in range(begin, end) if byte not in inside)
        assert read(mapping, runs) == expected & 0xFFFFFFFFFFFFFFFF


def test_a_token_walks_whole_tensors_one_row_and_the_same_experts_in_each() -> None:
    layout = FileLayout(
        (
            Span("token_embd.weight", None, 0, 1000, 100, 1, "embedding", 0, 100),
            Span("blk.0.attn_q.weight", 0, 1000, 500),
            Span("blk.0.ffn_up_exps.weight", 0, 1500, 800, 8, 2, "experts of layer 0", 0, 8),
            Span("blk.0.ffn_down_exps.weight", 0, 2300, 1600, 8, 2, "experts of layer 0", 0, 8),
            Span("blk.1.nextn", 1, 3900, 100, used=0),
        ),
        4000,
        is_real=True,
    )
    runs = runs_of_token(layout, seed=5)
    assert runs == runs_of_token(layout, seed=5)
    assert total(runs) == 10 + 500 + 200 + 400
    read_bytes = {byte for begin, end in runs for byte in range(begin, end)}
    up = {(byte - 1500) // 100 for byte in read_bytes if 1500 <= byte < 2300}
    down = {(byte - 2300) // 200 for byte in read_bytes if 2300 <= byte < 3900}
    assert len(up) == 2
    assert up == down
    assert max(read_bytes) < 3900
    seeds = {tuple(runs_of_token(layout, seed)) for seed in range(20)}
    assert len(seeds) > 1


# -- the experiment ----------------------------------------------------------------------------------------------------


def evicted(mapped: Mapped) -> Mapped:
    """The experiment, where the system let the file go."""
    if not mapped.was_evicted:
        pytest.skip(f"the file stays in memory here ({mapped.system})")
    return mapped


@linux
@pytest.mark.parametrize("which", ["dense", "mixture"])
def test_without_read_ahead_the_machine_counts_the_pages_that_were_predicted(
    which: str, request: pytest.FixtureRequest
) -> None:
    """A page a fault: the page table and the page cache have exactly the pages of the bytes that were added up."""
    mapped = evicted(request.getfixturevalue(which))
    way = mapped.way("random")
    expected, token = mapped.pages_walked(way), way.first_token
    assert mapped.pages(token.mapped) == expected
    assert mapped.pages(token.cached) == expected


@linux
@pytest.mark.parametrize("which", ["dense", "mixture"])
def test_with_fault_around_it_counts_no_fewer_and_few_more(which: str, request: pytest.FixtureRequest) -> None:
    """At most the neighbours within a huge page on either side of each run, where the file system has large folios."""
    mapped: Mapped = request.getfixturevalue(which)
    way = mapped.way("lazy")
    counted = mapped.pages(way.first_token.mapped)
    assert counted is not None
    around, size = int(HUGE_PAGE), mapped.layout.size
    wider = [(max(begin - around, 0), min(end + around, size)) for begin, end in way.runs]
    assert mapped.token_pages <= counted <= pages_of(wider, mapped.page)
    assert mapped.token_pages <= mapped.most_token_pages <= mapped.file_pages


@linux
def test_res_grows_with_what_was_touched_and_the_page_cache_is_ahead(dense: Mapped) -> None:
    lazy = evicted(dense).way("lazy")
    mapped, half, token = lazy.step("mapped"), lazy.step("half a token"), lazy.first_token
    assert mapped.mapped == 0
    assert mapped.touched == 0
    assert half.mapped is not None
    assert token.mapped is not None
    assert half.cached is not None
    assert half.touched <= half.mapped < token.mapped
    assert half.cached >= half.mapped
    assert lazy.step("a second token").mapped == token.mapped
    assert not lazy.step("a second token").read
    faulted = token.minor + token.major
    assert dense.token_faults.fewest <= faulted <= dense.token_faults.most + 100  # of Python's own


@linux
def test_a_file_that_nobody_else_maps_leaves_the_page_cache(dense: Mapped) -> None:
    if dense.system not in ("ext4", "xfs", "btrfs"):
        pytest.skip(f"the file may stay in memory on {dense.system}")
    assert dense.was_evicted


@linux
def test_a_populated_mapping_has_the_whole_file_before_a_tensor_is_touched(dense: Mapped) -> None:
    step = evicted(dense).way("populated").step("mapped")
    assert step.touched == 0
    assert dense.pages(step.mapped) == dense.pages(step.cached) == dense.file_pages
    assert step.read is None or step.read >= dense.layout.size


@linux
def test_a_token_of_a_mixture_is_near_the_expected_one(mixture: Mapped) -> None:
    """Two of sixteen experts, whichever they are: only the pages at their borders differ from draw to draw."""
    assert mixture.token_pages == pytest.approx(float(mixture.touched.pages(1)), rel=0.02)
    assert mixture.token_pages < mixture.file_pages / 2


@linux
def test_a_real_file_shows_half_of_itself_after_half_a_token(smollm2_gguf: Path) -> None:
    mapped = evicted(measure(smollm2_gguf))
    half = mapped.way("lazy").step("half a token").mapped
    whole = mapped.way("lazy").first_token.mapped
    assert half is not None
    assert whole is not None
    assert mapped.percent(half) == pytest.approx(49, abs=5)
    assert mapped.percent(whole) > 97  # its header is the rest: nothing is sparse
    cold = mapped.cold_seconds()
    assert cold is None or 0 < cold[0] <= cold[1]


@linux
def test_the_file_is_as_it_was(tmp_path: Path) -> None:
    path = made(tmp_path, DENSE)
    before = path.read_bytes(), path.stat().st_mtime_ns
    measure(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


# -- reports -----------------------------------------------------------------------------------------------------------


def fabricated(cached: int | None = 0, read_bytes: int | None = 8192, left: int = 90) -> Mapped:
    """An experiment with round numbers: a file of 100 pages, of which a token reads 90."""
    page = 4096
    layout = FileLayout((Span("blk.0.attn_q.weight", 0, 10 * page, 90 * page),), 100 * page, is_real=True)
    runs = ((10 * page, 100 * page),)

    def step(name: str, touched: int = 0, mapped: int = 0) -> Step:
        here = None if cached is None else mapped or cached
        return Step(
            name, 0.5, touched * page, 3, 1, read_bytes, mapped * page, None if here is None else here * page, 1
        )

    steps = (
        step("as it was"), step("evicted"), step("mapped"), step("half a token", 45, 45), step("one token", 45, left),
        step("a second token", 90, 90),
    )  # fmt: skip
    ways = tuple(Way(name, runs, steps) for name in experiment.WAYS)
    return Mapped(Path("m.gguf"), "M", layout, page, "ext4", ways, is_mixture=True)


def test_a_report_sets_the_expected_beside_the_counted() -> None:
    text = described(fabricated(), "table")
    assert text.startswith("M, 400 KiB in 100 pages of 4 KiB on ext4\n")
    rows = {row["question"]: row for row in compared(fabricated())}
    assert rows["RES after half a token"] == {
        "question": "RES after half a token", "expected_of_it": "45.0 % of the file", "found": "45.0 % of the file",
    }  # fmt: skip
    assert rows["the same in the page cache"]["expected_of_it"] == "90"
    assert rows["faults of one token"]["found"] == "6 minor, 2 major"
    # 8192 B in half a second are 16384 B/s; the token is 90 pages, of which 2 x 8192 B came from the disk.
    cold = fabricated().cold_seconds()
    assert cold == pytest.approx((90 * 4096 / 16384, 90 * 4096 / 16384 + 90 * 4096 / (180 * 4096)))
    assert "the file left the page cache" in text
    # Read-ahead fetched 180 pages for a token of 90; half a second each, so 90 pages a half-second from the disk.
    more = fabricated(read_bytes=90 * 4096).cold_seconds()
    assert more == pytest.approx((0.5, 180 / 180 + 90 / 180))


def test_a_warm_walk_and_an_unknown_cache_say_so() -> None:
    assert "stayed in memory" in described(fabricated(cached=50), "table")
    assert "without read-ahead" not in described(fabricated(cached=50), "table").split("Expected and counted")[1]
    unknown = described(fabricated(cached=None, read_bytes=None), "md")
    assert "mincore answers only those who own a file" in unknown
    assert json.loads(described(fabricated(cached=None, read_bytes=None), "json"))["evicted"] is None


def test_a_machine_that_gives_pages_up_on_the_way_says_so() -> None:
    assert "Memory: only 240 KiB of what the token touched" in described(fabricated(left=60), "table")
    assert not fabricated().lacks_memory


def test_csv_and_json_have_every_step() -> None:
    lines = described(fabricated(), "csv").splitlines()
    assert len(lines) == 1 + 3 * 6
    found = json.loads(described(fabricated(), "json"))
    assert found["schema"] == "roofline.mapping/1"
    assert (found["file_pages"], found["token_pages"], found["ways"][1]["walked_pages"]) == (100, 90, 90)
    assert [step["stage"] for step in found["ways"][0]["steps"]][-1] == "a second token"


def test_a_hostile_name_cannot_write_to_the_terminal() -> None:
    assert "\x1b" not in described(replace(fabricated(), name="\x1b[31mred"), "table")


# -- what cannot be mapped ---------------------------------------------------------------------------------------------


def empty(folder: Path) -> Path:
    (folder / "empty.gguf").touch()
    return folder / "empty.gguf"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.gguf")
    return folder / "pipe.gguf"


def cut(folder: Path) -> Path:
    path = made(folder, DENSE)
    path.write_bytes(path.read_bytes()[:-100_000])
    return path


def text(folder: Path) -> Path:
    (folder / "text.gguf").write_text("no model", encoding="utf-8")
    return folder / "text.gguf"


@linux
@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda _: Path("/proc/self/status"), "on proc, which mincore cannot see"),
        (lambda folder: folder, "which is no regular file"),
        (lambda folder: folder / "none.gguf", "No such file"),
        (lambda folder: folder / ("x" * 300), "too long"),
        (lambda _: Path("/dev/null"), "no regular file"),
        (empty, "which is empty"),
        (pipe, "no regular file"),
        (cut, "with its weights partial"),
        (text, "magic: expected 'GGUF'"),
    ],
)
def test_what_cannot_be_mapped_gets_one_line(make: Callable[[Path], Path], found: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected") as error:
        measure(make(tmp_path))
    assert found in str(error.value)
    assert "\n" not in str(error.value)


def test_other_systems_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SpecError, match="expected Linux, whose /proc and mincore are read, found darwin"):
        measure(tmp_path / "any.gguf")


@linux
def test_a_child_that_fails_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = made(tmp_path, DENSE)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SpecError, match="expected the populated mapping to be counted, found"):
        measure(path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with pytest.raises(SpecError, match="to start, found"):
        measure(path)


@linux
def test_a_file_that_shrinks_under_the_mapping_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Cut once its header has been read: the process that walks it ends by SIGBUS, or finds less than it should."""
    path = made(tmp_path, DENSE)

    def cut_now(layout: FileLayout, _: int) -> list[Run]:
        os.truncate(path, 4096)
        return [(0, layout.size)]

    monkeypatch.setattr(experiment, "runs_of_token", cut_now)
    with pytest.raises(SpecError, match=r"^--measure: expected a file that stays as it is, found .* another size now$"):
        measure(path)


@linux
def test_a_process_that_a_signal_ended_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = made(tmp_path, DENSE)
    shell = tmp_path / "shell"
    shell.write_text("#!/bin/sh\nkill -BUS $$\n", encoding="utf-8")
    shell.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(shell))
    with pytest.raises(SpecError, match=r"found that it was ended by signal 7 \(Bus error\)$"):
        measure(path)


@linux
def test_where_mincore_may_not_be_asked_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = made(tmp_path, DENSE)
    monkeypatch.setattr(access, "may_ask", lambda _: False)
    mapped = measure(path)
    assert mapped.was_evicted is None
    assert {step.cached for way in mapped.ways for step in way.steps} == {None}
    assert "unknown" in described(mapped, "table")


@linux
def test_a_file_of_another_user_may_not_be_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert not access.may_ask(Path("/proc/self/status"))
    monkeypatch.setattr(os, "access", lambda *_, **__: True)
    assert access.may_ask(Path("/proc/self/status"))
