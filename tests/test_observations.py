"""Observations CSV, and the observations that the package ships."""

import csv
import io
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline import catalog, quantization
from roofline.bench import COLUMNS, Given, Reading, read, read_observations, read_path, runtime_for, shipped
from roofline.bench.observation import BACKENDS, PHASES
from roofline.bench.observations_csv import rows
from roofline.bench.shipped import DIRECTORY
from roofline.spec import SpecError

HEADER = ",".join(COLUMNS)
GOOD = {
    "id": "a1", "source": "me", "date": "2025-01-02", "hardware": "rtx-3090", "count": "2", "host": "ryzen-7950x",
    "backend": "cuda", "runtime": "llama.cpp", "build": "b4400", "model": "mistral-7b", "quant": "q4_0",
    "size_gib": "3.83", "phase": "tg", "gen": "128", "depth": "0", "batch": "1", "threads": "8", "gpu_layers": "-1",
    "flash_attn": "1", "tok_s": "101.5", "std": "0.3", "note": "a note, with a comma",
}  # fmt: skip


def table(*changes: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> str:
    """A CSV of one row for each change of GOOD, with ids a1, a2, …"""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for index, change in enumerate(changes, 1):
        writer.writerow(GOOD | {"id": f"a{index}"} | change)
    return text.getvalue()


def test_a_row_in_full() -> None:
    (row,) = read_observations(table({})).observations
    assert (row.id, row.hardware, row.count, row.host, row.model, row.quant) == (
        "a1", "rtx-3090", 2, "ryzen-7950x", "mistral-7b", "q4_0",
    )  # fmt: skip
    assert (row.phase, row.tok_s, row.std, row.gen, row.prompt, row.depth) == ("tg", 101.5, 0.3, 128, None, 0)
    assert (row.gpu_layers, row.flash_attn, row.size_gib) == (None, True, 3.83)  # -1: as many layers as fit
    assert row.note == "a note, with a comma"
    assert row.extra == {}


def test_further_columns_are_kept() -> None:
    text = table({"kv": "q8_0"}, {}, columns=(*COLUMNS, "kv"))
    first, second = read_observations(text).observations
    assert (first.extra, second.extra) == ({"kv": "q8_0"}, {})


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("tok_s", "", "expected a speed in tokens per second, found ''"),
        ("tok_s", "nan", "expected a positive finite number, found 'nan'"),
        ("tok_s", "0", "expected a positive finite number, found '0'"),
        ("tok_s", "-3", "expected a positive finite number, found '-3'"),
        ("tok_s", "inf", "expected a positive finite number, found 'inf'"),
        ("tok_s", "1e300", "expected a positive finite number, found '1e300'"),
        ("tok_s", "1_000", "expected a positive finite number, found '1_000'"),
        ("tok_s", "fast", "expected a positive finite number, found 'fast'"),
        ("prompt", "-1", "expected a number of at least 0, found '-1'"),
        ("gen", "1.5", "expected a whole number, found '1.5'"),
        ("batch", "0", "expected a positive finite number, found '0'"),
        ("flash_attn", "maybe", "expected 1 or 0, found 'maybe'"),
        ("phase", "decode", "expected pp, tg or serve, found 'decode'"),
        ("phase", "", "expected pp, tg or serve, found ''"),
        ("backend", "gpu", "expected one of cpu, cuda, metal, npu, opencl, rocm, sycl, vulkan, found 'gpu'"),
        ("hardware", "rtx-3091", "did you mean rtx-3090"),
        ("hardware", "", "expected a name, found none; give --hw"),
        ("host", "no such host", "expected hardware of the catalog"),
        ("model", "mistral-7c", "did you mean mistral-7b"),
        ("model", "", "give --model"),
        ("quant", "q4_9", "did you mean q4"),
        ("quant", "", "give --quant"),
    ],
)
def test_a_bad_cell_names_its_row_and_column(column: str, value: str, reason: str) -> None:
    found = read_observations(table({}, {column: value}, {}))
    assert [row.id for row in found.observations] == ["a1", "a3"]
    (skipped,) = found.skipped
    assert (skipped.id, skipped.row) == ("a2", 2)
    assert skipped.reason.startswith(f"row 2, {column}: ")
    assert reason in skipped.reason


def test_every_problem_of_a_row_is_told() -> None:
    (skipped,) = read_observations(table({"tok_s": "0", "phase": "x"})).skipped
    assert "phase: expected" in skipped.reason
    assert "tok_s: expected" in skipped.reason


def test_names_are_forgiving_and_hardware_may_be_counted() -> None:
    changes = {"hardware": "2x RTX 3090", "count": "", "model": "Mistral 7B", "quant": "Q4-0", "backend": "CUDA"}
    (row,) = read_observations(table(changes)).observations
    assert (row.hardware, row.count, row.model, row.quant, row.backend) == ("rtx-3090", 2, "mistral-7b", "q4_0", "cuda")
    (row,) = read_observations(table({"hardware": "raspberry-pi-5", "count": "", "host": ""})).observations
    assert (row.hardware, row.count) == ("rpi5", 1)


def test_what_is_given_fills_blanks_only() -> None:
    given_ = Given(hardware="rpi5", model="tinyllama", quant="q8_0")
    blank, own = read_observations(table({"hardware": "", "model": "", "quant": ""}, {}), given_).observations
    assert (blank.hardware, blank.model, blank.quant) == ("rpi5", "tinyllama-1.1b", "q8_0")
    assert (own.hardware, own.model, own.quant) == ("rtx-3090", "mistral-7b", "q4_0")


def test_missing_columns_are_named() -> None:
    few = tuple(name for name in COLUMNS if name not in ("quant", "tok_s"))
    with pytest.raises(SpecError, match=r"x\.csv, header: expected the columns quant, tok_s, found") as error:
        read(table({}, columns=few), name="x.csv")
    assert "\n" not in str(error.value)
    few = ("hardware", "phase", "tok_s")
    (row,) = read_observations(table({}, columns=few), Given(model="mistral7b", quant="q4_0")).observations
    assert (row.id, row.batch, row.backend) == ("row-1", None, "")
    with pytest.raises(SpecError, match="expected the columns model, quant"):
        read_observations(table({}, columns=few))
    with pytest.raises(SpecError, match="an empty file"):
        read_observations("")
    with pytest.raises(SpecError, match="each column once, found 'tok_s' twice"):
        read_observations(table({}).replace("size_gib", "tok_s", 1))


def test_an_id_counts_once() -> None:
    found = read_observations(table({}, {"id": "a1"}, {"id": ""}, {"id": ""}))
    assert [row.id for row in found.observations] == ["a1", "row-3", "row-4"]
    assert [(row.id, row.row) for row in found.skipped] == [("a1", 2)]


def test_rows_of_the_wrong_length_and_blank_lines() -> None:
    good = table({})
    found = read_observations(good + "\n\nb1,too,short\n" + good.splitlines()[1].replace("a1", "c1") + ",1,2\n")
    assert [row.id for row in found.observations] == ["a1"]
    assert [(row.id, row.reason) for row in found.skipped] == [
        ("b1", "row 2: expected 28 columns, found 3"),
        ("c1", "row 3: expected 28 columns, found 30"),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, newline: str) -> None:
    file = tmp_path / "mine.csv"
    file.write_bytes(table({"note": "größer"}, {}).replace("\n", newline).encode(encoding))
    found = read_path(file)
    assert [row.note for row in found.observations] == ["größer", GOOD["note"]]
    assert not found.skipped


def test_encodings_may_change_within_a_file(tmp_path: Path) -> None:
    lines = table({"note": "größer"}, {"note": "größer"}).splitlines(keepends=True)
    file = tmp_path / "mixed.csv"
    file.write_bytes((lines[0] + lines[1]).encode("latin-1") + lines[2].encode("utf-8"))
    assert [row.note for row in read_path(file).observations] == ["größer", "größer"]


def test_quoted_lines_and_huge_fields(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    text = table({"note": "two\nlines\x1b[31m"}, {"note": "x" * 100_000}, {"note": "y" * 1_000_000}, {})
    file.write_text(text, encoding="utf-8")
    found = read_path(file)
    assert [row.id for row in found.observations] == ["a1", "a2", "a4"]
    assert found.observations[0].note == "two lines [31m"
    assert len(found.observations[1].note) == 2000
    assert "expected a CSV row, found field larger than field limit" in found.skipped[0].reason


def test_an_unclosed_quote_costs_what_it_swallows_and_says_so() -> None:
    many = table(*[{"note": ""} for _ in range(3000)]).splitlines(keepends=True)
    many[2] = many[2].replace("a2,me", 'a2,"me')
    found = read_observations("".join(many))
    assert found.observations[0].id == "a1"
    (skipped,) = (row for row in found.skipped if "unclosed quote" in row.reason)
    first, last = map(int, re.findall(r"lines (\d+) to (\d+)", skipped.reason)[0])
    assert first == 3
    # What is lost is a field's greatest length, not the file.
    assert len(found.observations) == 3000 - (last - first + 1) - len(found.skipped) + 1
    (short,) = read_observations("".join(many[:10])).skipped
    assert "row 2, lines 3 to 10: expected 28 columns" in short.reason


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path, "a\0b"):
        with pytest.raises(SpecError) as error:
            read_path(path)
        assert "\n" not in str(error.value)


def test_many_rows_stream_and_repeat_their_texts() -> None:
    line = table({}).splitlines()[1]
    lines = (HEADER if number == 0 else line.replace("a1", f"a{number}") for number in range(20_001))
    found = list(rows(text + "\n" for text in lines))
    assert len(found) == 20_000
    # Equal texts are one object: what a million rows hold is their numbers.
    assert len({id(getattr(row, "source")) for row in found}) == 1  # noqa: B009 - either kind of row


def test_a_million_unknown_names_do_not_search_the_catalog_each(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    suggest = catalog.suggestion

    def counted(name: str, known: dict[str, str]) -> str:
        asked.append(name)
        return suggest(name, known)

    monkeypatch.setattr(catalog, "suggestion", counted)
    found = read_observations(table(*[{"hardware": f"nonesuch {number}"} for number in range(3000)]))
    assert len(found.skipped) == 3000
    assert len(asked) <= 100


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS), st.text(max_size=12)), max_size=6))
def test_any_cells_are_used_or_told(changes: list[dict[str, str]]) -> None:
    found = read_observations(table(*changes))
    filled = sum(1 for row in csv.reader(io.StringIO(table(*changes), newline="")) if any(row))
    assert len(found.observations) + len(found.skipped) == filled - 1  # the header
    assert all(row.reason.isprintable() for row in found.skipped)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_reading_or_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.mktemp("bytes") / "x.csv"
    for start in (b"", HEADER.encode() + b"\n"):
        file.write_bytes(start + data)
        try:
            assert isinstance(read_path(file), Reading)
        except SpecError as told:
            message = str(told)
            assert message.isprintable()


# -- the shipped observations -----------------------------------------------------------------------------------------

FILES = sorted(DIRECTORY.glob("*.csv"))
SHIPPED = shipped()

#: Rows of each article in full, by device (its tables have this many measured speeds).
ARTICLES = {
    ("Justine Tunney, LLaMA Now Goes Faster on CPUs", "2024-03-31"): 136,
    ("Lisa304, HackMD note on llamafile, quoting justine.lol/matmul", "2024-03-31"): 36,
    ("Lisa304, HackMD note: own measurements of llamafile 0.8 and llama.cpp", "2024-06"): 50,
    ("Finbarr Timbers, How is LLaMa.cpp possible? (in Chinese translation)", "2023-08"): 3,
}


def test_every_shipped_row_is_used() -> None:
    assert SHIPPED.skipped == ()
    lines = sum(len(file.read_text(encoding="utf-8").splitlines()) - 1 for file in FILES)
    assert len(SHIPPED.observations) == lines >= 500


def test_shipped_files_are_in_the_schema() -> None:
    assert {file.stem for file in FILES} == {"articles", "amd", "apple", "cpu", "intel-gpu", "nvidia"}
    for file in FILES:
        header = file.read_text(encoding="utf-8").splitlines()[0].split(",")
        assert header == [*COLUMNS, *(["same_as"] if file.stem == "articles" else [])]


def test_every_shipped_row_names_its_source_and_date() -> None:
    for row in SHIPPED.observations:
        assert row.source, row.id
        assert re.fullmatch(r"20\d\d(-\d\d){0,2}", row.date), row.id
        assert row.tier in ("A", "B"), row.id
        # The note's own address is not known; its author and name are.
        assert re.fullmatch(r"https://[^\s()]+", row.url) or row.source.startswith("Lisa304, HackMD note: own"), row.id


def test_shipped_rows_name_things_of_the_catalog() -> None:
    hardware, models = catalog.files("hardware"), catalog.files("models")
    for row in SHIPPED.observations:
        assert row.hardware in hardware
        assert not row.host or row.host in hardware
        assert row.model in models
        assert quantization.get(row.quant).id == row.quant
        assert row.phase in PHASES
        assert row.backend in BACKENDS
        assert runtime_for(row).id is not None
        backends = catalog.load_hardware(row.hardware).spec.backends
        assert row.backend in backends, row.id


def test_the_articles_are_complete() -> None:
    articles = [row for row in SHIPPED.observations if "same_as" in row.extra or row.id.startswith(("seed-", "jt-"))]
    assert Counter((row.source, row.date) for row in articles) == ARTICLES
    devices = Counter(row.hardware for row in articles if row.id.startswith("seed-"))
    assert devices == {
        "i9-9900": 14, "rpi5": 4, "rpi4": 5, "i9-14900k": 4, "m2-ultra-76": 5, "tr-7995wx": 5, "e5-2650v4": 50,
        "pixel5": 1, "m2-10gpu": 1,
    }  # fmt: skip
    # Both tokenizers, both engines and all quantisations of the two-socket Xeon.
    xeon = [row for row in articles if row.hardware == "e5-2650v4"]
    assert {row.count for row in xeon} == {2}
    assert Counter((row.runtime, "Mistral Common" in row.note) for row in xeon) == {
        ("llamafile", False): 14, ("llamafile", True): 12, ("llama.cpp", False): 12, ("llama.cpp", True): 12,
    }  # fmt: skip


def test_a_row_that_repeats_another_says_which() -> None:
    by_id = {row.id: row for row in SHIPPED.observations}
    copies = [row for row in SHIPPED.observations if "same_as" in row.extra]
    assert len(copies) == 32
    for row in copies:
        original = by_id[row.extra["same_as"]]
        assert (row.hardware, row.runtime, row.build, row.model, row.quant, row.phase, row.tok_s) == (
            original.hardware, original.runtime, original.build, original.model, original.quant, original.phase,
            original.tok_s,
        )  # fmt: skip


def test_the_swapped_pair_is_shipped_as_it_was_printed() -> None:
    # f16 reads twice the bytes of q8_0 and cannot decode faster: the note swaps the types, the article does not.
    by_id = {row.id: row for row in SHIPPED.observations}
    assert (by_id["seed-0028"].quant, by_id["seed-0028"].tok_s) == ("q8_0", 66)
    assert (by_id["seed-0030"].quant, by_id["seed-0030"].tok_s) == ("f16", 95)
    assert "the note swaps the two types" in by_id["seed-0028"].note
    assert "same_as" not in by_id["seed-0028"].extra


def test_no_device_outweighs_the_others() -> None:
    rest = [row for row in SHIPPED.observations if not row.id.startswith(("seed-", "jt-"))]
    per_device = Counter((row.hardware, row.backend) for row in rest)
    assert max(per_device.values()) <= 12
    assert len({row.hardware for row in rest}) >= 55
    assert {"plain", "moe", "depth", "batch", "multi", "hybrid"} <= {row.kind for row in rest}


def test_the_shipped_rows_search_the_catalog_once(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[str] = []
    files = catalog.files

    def counted(room: catalog.Room) -> dict[str, Path]:
        searched.append(room)
        return files(room)

    monkeypatch.setattr(catalog, "files", counted)
    shipped.cache_clear()
    shipped()
    assert sorted(searched) == ["hardware", "models"]
