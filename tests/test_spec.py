"""Bad specification files: one line that names the file, the field, what was expected and what was found."""

import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from roofline.hardware import Hardware
from roofline.model import Model
from roofline.spec import Bandwidth, Number, Source, SpecError, read_toml, validate

DEVICE = """
name = "Box"
vendor = "Somebody"
kind = "cpu"
backends = ["cpu"]
[memory]
type = "DDR4"
bandwidth = { value = "40 GB/s", source = "sheet" }
capacity = { value = "32 GB", source = "sheet" }
[cpu]
isa = ["avx2"]
[[cpu.clusters]]
cores = 4
base = { value = "3 GHz", source = "sheet" }
per_cycle = { fp32 = { value = "32", source = "sheet" }, int8 = { value = "32", source = "sheet" } }
[sources.sheet]
title = "a datasheet"
"""
BANDWIDTH = 'bandwidth = { value = "40 GB/s", source = "sheet" }'


def read(folder: Path, text: str | bytes) -> Hardware:
    path = folder / "box.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return validate(Hardware, read_toml(path), path)


def refusal(folder: Path, text: str | bytes) -> str:
    """The error line for a file; it starts with the file's path and is one printable line."""
    with pytest.raises(SpecError) as caught:
        read(folder, text)
    message = str(caught.value)
    path = str(folder / "box.toml")
    assert message.startswith(f"{path}: ")
    assert message.isprintable(), "one line, and nothing that a terminal obeys"
    assert len(message) < len(path) + 600
    return message.removeprefix(f"{path}: ")


def test_the_device_of_this_page_is_valid(tmp_path: Path) -> None:
    device = read(tmp_path, DEVICE)
    assert device.memory.theoretical_bandwidth == 40e9
    # 4 cores × 3 GHz × 32 FLOP a cycle = 384 GFLOP/s
    assert device.peaks("cpu")["fp32"] == 384e9


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"40 GB/s"', '"40 GB"', ["memory.bandwidth", "B/s", "'40 GB'"]),
        ('"40 GB/s"', '"40 GHz"', ["memory.bandwidth", "B/s", "'40 GHz'"]),
        ('"40 GB/s"', '"fast"', ["memory.bandwidth", "B/s", "'fast'"]),
        ('"40 GB/s"', '"-40 GB/s"', ["memory.bandwidth", "positive", "-4e+10"]),
        ('"40 GB/s"', "-40.0", ["memory.bandwidth", "with its unit", "-40"]),
        ('"40 GB/s"', '"0 GB/s"', ["memory.bandwidth", "positive", "0"]),
        ('"40 GB/s"', "nan", ["memory.bandwidth", "with its unit", "nan"]),
        ('"40 GB/s"', "inf", ["memory.bandwidth", "with its unit", "inf"]),
        ('"40 GB/s"', "true", ["memory.bandwidth", "B/s", "True"]),
        ('"40 GB/s"', "[1, 2]", ["memory.bandwidth", "B/s", "[1, 2]"]),
        ('"40 GB/s"', "1979-05-27", ["memory.bandwidth", "B/s", "1979"]),
        ('{ value = "32", source = "sheet" }', '{ value = "nan", source = "sheet" }', ["per_cycle.fp32", "nan"]),
        ('{ value = "32", source = "sheet" }', '{ value = "inf", source = "sheet" }', ["per_cycle.fp32", "inf"]),
        ('{ value = "32", source = "sheet" }', '{ value = "many", source = "sheet" }', ["per_cycle.fp32", "many"]),
        (BANDWIDTH, 'bandwidth = { source = "sheet" }', ["memory.bandwidth.value", "expected a value", "found none"]),
        (BANDWIDTH, "", ["memory", "bandwidth", "found neither"]),
        (BANDWIDTH, 'bandwidht = "40 GB/s"', ["memory.bandwidht", "no such key", "'40 GB/s'"]),
        ('name = "Box"', "", ["name", "expected a value", "found none"]),
        ('name = "Box"', "name = 5", ["name", "string", "5"]),
        ('kind = "cpu"', 'kind = "toaster"', ["kind", "'sbc'", "'toaster'"]),
        ('kind = "cpu"', 'kind = "cpu"\ncolour = "red"', ["colour", "no such key", "'red'"]),
        ('backends = ["cpu"]', 'backends = ["cuda"]', ["backends", "[gpu]", "'cuda'", "found none"]),
        ('backends = ["cpu"]', "backends = []", ["backends", "at least 1", "[]"]),
        ("cores = 4", "cores = 0", ["cpu.clusters.0.cores", "greater than 0", "0"]),
        ("cores = 4", "cores = -4", ["cpu.clusters.0.cores", "greater than 0", "-4"]),
        ("cores = 4", "cores = 4.5", ["cpu.clusters.0.cores", "integer", "4.5"]),
        ("cores = 4", 'cores = "4"', ["cpu.clusters.0.cores", "integer", "'4'"]),
        ("cores = 4", "cores = 99999999999", ["cpu.clusters.0.cores", "less than or equal to", "99999999999"]),
        ('source = "sheet" }\ncapacity', 'source = "gone" }\ncapacity', ["sources", "'gone'", "found none"]),
        (
            'title = "a datasheet"',
            'title = "a datasheet"\n[sources.idle]\ntitle = "x"',
            ["sources", "'idle'", "unused"],
        ),
        ('title = "a datasheet"', "", ["sources.sheet.title", "expected a value", "found none"]),
        (
            "[memory]",
            "[memory]\nchannels = 2\nchannel_bits = 64\ntransfer_rate = '5000 MT/s'",
            ["memory", "bandwidth", "80.0 GB/s", "2 × 64 bit × 5000 MT/s", "40 GB/s"],
        ),
    ],
)
def test_a_bad_field_is_named(old: str, new: str, words: list[str], tmp_path: Path) -> None:
    assert old in DEVICE
    message = refusal(tmp_path, DEVICE.replace(old, new, 1))
    for word in ["expected", "found", *words]:
        assert word in message, message


def test_a_stated_bandwidth_may_be_rounded(tmp_path: Path) -> None:
    # 2 × 64 bit / 8 × 2500 MT/s = 40.0 GB/s; a datasheet may say 40.9 (2.25 % more), not 41.1 (2.75 % more).
    bus = "[memory]\nchannels = 2\nchannel_bits = 64\ntransfer_rate = '2500 MT/s'"
    text = DEVICE.replace("[memory]", bus)
    assert read(tmp_path, text.replace("40 GB/s", "40.9 GB/s")).memory.theoretical_bandwidth == 40e9
    assert "40.0 GB/s" in refusal(tmp_path, text.replace("40 GB/s", "41.1 GB/s"))


def test_further_problems_are_counted(tmp_path: Path) -> None:
    message = refusal(tmp_path, DEVICE.replace("cores = 4", "cores = 0").replace('name = "Box"', ""))
    assert re.fullmatch(r"name: expected a value, found none \(and \d more\)", message)


@pytest.mark.parametrize("length", range(0, len(DEVICE), 7))
def test_a_truncated_file_is_a_device_or_one_line(length: int, tmp_path: Path) -> None:
    # Only the blank at its end can be missed.
    assert length < len(DEVICE.rstrip())
    refusal(tmp_path, DEVICE[:length])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"\xff\xfe\x00n", ["UTF-8"]),
        (b"name = \x00", ["TOML"]),
        ("name = 'Box'\nname = 'Box'\n", ["TOML", "line 2"]),
        ("name = " + "9" * 5000 + "\n", ["expected", "found"]),
        (DEVICE.replace("cores = 4", "cores = " + "9" * 5000), ["expected", "found"]),
        (DEVICE.replace("cores = 4", "cores = 0x" + "f" * 5000), ["cores", "expected", "found"]),
        (DEVICE.replace('"40 GB/s"', "0x" + "f" * 5000), ["expected", "found"]),
        (
            DEVICE.replace('"40 GB/s"', '"' + "9" * 5000 + ' GB/s"'),
            ["memory.bandwidth", "expected a quantity", "found"],
        ),
        ("x = " + "[" * 100_000, ["TOML", "found"]),
        ("a" + ".a" * 3_000 + " = 1\n" + DEVICE, ["expected", "found"]),
    ],
    ids=[
        "utf-16",
        "nul",
        "twice",
        "huge name",
        "huge int",
        "huge hex",
        "huge quantity",
        "long quantity",
        "nested",
        "dotted",
    ],
)
def test_hostile_text_is_refused_in_one_short_line(text: str | bytes, words: list[str], tmp_path: Path) -> None:
    message = refusal(tmp_path, text)
    for word in words:
        assert word in message


def test_a_long_dotted_key_does_not_fill_the_memory(tmp_path: Path) -> None:
    # A parser that keeps every prefix of the key takes memory with the square of its parts: 40 000 → 6 GB.
    path = tmp_path / "box.toml"
    path.write_text("a" + ".a" * 40_000 + " = 1\n", encoding="utf-8")
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from roofline.spec import SpecError, read_toml\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\n"
        "try:\n    read_toml(Path(sys.argv[1]))\n"
        "except SpecError as error:\n    print(error)\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.startswith(f"{path}: expected")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.toml"
    with path.open("wb") as file:
        file.truncate(10**12)  # sparse: takes no space, but reading it would take a terabyte of memory
    with pytest.raises(
        SpecError, match=r"huge\.toml: expected a specification of at most 1,000,000 bytes, found a larger"
    ):
        read_toml(path)


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match=r"expected a readable TOML file, found: (No such file|Is a directory)"
    ) as caught:
        read_toml(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected a readable TOML file"):
        read_toml(tmp_path / "a\0b.toml")


@pytest.mark.parametrize("text", ["\\u001b[31mred", "\\u0007", "\\u009b31m", "two\\nlines", "\\u202e", "a\\rb"])
def test_control_characters_of_a_file_do_not_reach_the_terminal(text: str, tmp_path: Path) -> None:
    refusal(tmp_path, DEVICE.replace('kind = "cpu"', f'kind = "{text}"'))
    refusal(tmp_path, DEVICE.replace("cores = 4", f'cores = 4\n"{text}" = 1'))
    refusal(tmp_path, DEVICE.replace('"40 GB/s"', f'"{text}"'))
    refusal(tmp_path, DEVICE.replace('source = "sheet" }\ncapacity', f'source = "{text}" }}\ncapacity'))


# -- figures ----------------------------------------------------------------------------------------------------------


def test_a_figure_keeps_the_words_of_its_file_and_is_a_float() -> None:
    figure = Bandwidth.model_validate({"value": "17.1 GB/s", "source": "sheet", "basis": "derived", "note": "rounded"})
    assert float(figure) == figure.value == pytest.approx(17.1e9, rel=1e-15)
    assert str(figure) == "17.1 GB/s"
    assert (figure.source, figure.basis, figure.note) == ("sheet", "derived", "rounded")


@pytest.mark.parametrize("data", ["17.1 GB/s", {"value": "17.1 GB/s"}])
def test_a_bare_quantity_is_a_figure(data: Any) -> None:
    assert Bandwidth.model_validate(data).value == pytest.approx(17.1e9)
    assert str(Bandwidth.model_validate(data)) == "17.1 GB/s"


@pytest.mark.parametrize("data", [17.1e9, {"value": 17.1e9}, "17.1", {"value": 17}])
def test_a_number_without_its_unit_is_no_figure(data: Any) -> None:
    # "memory.bandwidth = 102.4" would be 102.4 B/s: nobody means that.
    with pytest.raises(ValueError, match="expected a quantity with its unit, B/s"):
        Bandwidth.model_validate(data)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0, -1, "nan", "inf", "-inf", "", None, []])
def test_a_plain_number_is_positive_and_finite(value: Any) -> None:
    with pytest.raises(ValueError, match=r"value|found|expected"):
        Number.model_validate({"value": value})


def test_specs_cannot_be_changed() -> None:
    source = Source(title="a datasheet")
    with pytest.raises(ValueError, match="frozen"):
        source.title = "another"  # type: ignore[misc]


def test_a_table_where_text_belongs(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"^m\.toml: name: expected a valid string, found \{'x': 1\} \(and \d+ more\)$"):
        validate(Model, {"name": {"x": 1}}, "m.toml")
