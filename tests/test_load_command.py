"""`roofline load`: what it prints of a prediction and of an experiment, and what it says to wrong input."""

import json
import re
import sys
from pathlib import Path

import pytest

from roofline.columns import COLUMNS
from tests.running import Run, runner

PI = ("load", "--hw", "rpi4", "--model", "mistral-7b", "--quant", "q4_0", "--disk", "90MB/s")
LAPTOP = ("load", "--hw", "ryzen-7950x", "--model", "llama-30b", "--quant", "q4_0", "--disk", "1GB/s", "--no-repack")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


def test_the_first_line_of_the_answer_is_the_file_over_the_disk(run: Run) -> None:
    """4.108 GB at 90 MB/s are 45.6 s; 1 002 974 pages of 4 KiB, of which a token leaves 17 998 of the embedding."""
    out = run(*PI, "--ram", "4GB").out
    assert re.search(r"^file read from the disk +45\.6 s", out, re.M)
    assert re.search(r"^the file +1002974 +3\.83 GiB +100\.0%", out, re.M)
    assert re.search(r"^one token +984976 +3\.76 GiB +98\.2%", out, re.M)
    for heading in ("Time", "Pages of 4 KiB", "In memory", "A token from the disk", "What would help"):
        assert f"\n{heading}\n" in out
    for word in ("Pages:", "Resident:", "Why:"):
        assert f"\n{word} " in out


def test_a_size_is_written_as_elsewhere(run: Run) -> None:
    assert (
        run(*PI, "--ram", "8GB").out.splitlines()[1:] == run(*PI, "--set", "memory.capacity=8GB").out.splitlines()[1:]
    )
    fits = run(*PI, "--ram", "8GB").out
    assert "A token from the disk" not in fits
    assert "All of it fits: a token reads nothing from the disk." in fits
    assert "Pages of 16 KiB" in run(*PI, "--page", "16KiB").out


def test_6_gb_in_top_name_the_layer(run: Run) -> None:
    out = run(*LAPTOP, "--ram", "32GB", "--resident", "6GB").out
    assert re.search(r"^6\.00 GB in top: .* in layer 16 of 60, after 25\.\d % of the bytes of one token", out, re.M)
    record = json.loads(run(*LAPTOP, "--ram", "32GB", "--resident", "6GB", "--format", "json").out)
    assert record["reached"]["layer"] == 15  # counted from 0
    repacked = run(*LAPTOP[:-1], "--ram", "64GB", "--resident", "6GB").out
    assert "all of them are read before the first pass begins" in repacked
    assert "since all that a token reads is less" in run(*LAPTOP, "--ram", "32GB", "--resident", "90GB").out
    assert "since memory has 3.44 GiB for it" in run(*PI, "--ram", "4GB", "--resident", "3.6GiB").out


def test_json_has_every_table_and_known_keys(run: Run) -> None:
    found = json.loads(run(*PI, "--ram", "4GB", "--format", "json").out)
    assert found["schema"] == "roofline.loading/1"
    assert found["mapped"] is True
    assert found["fits"] is False
    assert found["stages"][0]["stage"] == "mapped, nothing touched"
    least, expected, most = (case["disk_read_bytes"] for case in found["cases"])
    assert least <= expected <= most
    assert found["times"][0]["cold_s"] == pytest.approx(found["file_bytes"] / found["disk_bytes_s"])
    for table in ("times", "pages", "stages", "cases", "helps"):
        assert {key for row in found[table] for key in row} <= set(COLUMNS), table


def test_csv_is_what_is_resident(run: Run) -> None:
    lines = run(*PI, "--format", "csv").out.splitlines()
    assert lines[0] == "stage,mapped_bytes,cached_bytes,own_bytes,res_bytes"
    assert len(lines) == 5
    assert run(*PI, "--format", "md").out.count("|:--|") == 5


def test_a_card_and_a_copied_file_touch_no_page(run: Run) -> None:
    card = run("load", "--hw", "rtx-3090", "--model", "mistral-7b", "--quant", "q4_0", "--disk", "3GB/s").out
    assert "copied to the card: a token touches no page of the file" in card
    assert "one token" not in card
    copied = run(*PI, "--ram", "8GB", "--no-mmap").out
    assert "which the system cannot give up without swap" in copied
    assert re.search(r"^weights copied ", copied, re.M)


def test_without_a_prompt_there_is_no_time_to_the_first_token(run: Run) -> None:
    out = run(*PI, "--ram", "8GB", "--prompt", "0").out
    assert "first token" not in out.split("Pages of")[0]
    assert "All of it fits" in out


def test_a_cache_that_is_too_large_alone_does_not_run(run: Run) -> None:
    out = run(*PI, "--ram", "1GB", "--depth", "30k").out
    assert "the cache and the buffers alone are too large, it does not run." in out
    assert "first token" not in out.split("Pages of")[0]
    assert "A token from the disk" not in out


def test_a_mixture_has_its_experts(run: Run) -> None:
    words = ("load", "--hw", "ryzen-7950x", "--model", "mixtral-8x7b", "--quant", "q4_0", "--disk", "3GB/s")
    out = run(*words, "--ram", "64GB", "--no-repack").out
    assert "of each layer's experts those that its router picks" in out
    assert re.search(r"^64 tokens +\d+ .* 99\.\d%", out, re.M)


@pytest.mark.parametrize(
    ("more", "found"),
    [
        (("--ram", "4"), "--ram: expected a size with its unit, such as 4GB, found '4'"),
        (("--ram", "much"), "--ram: expected a quantity in B, such as '8 GB', found 'much'"),
        (("--ram", "-4GB"), "--ram: expected a size with its unit, such as 4GB, found '-4GB'"),
        (("--ram", "4GB", "--set", "memory.capacity=8GB"), "--ram: expected the memory once"),
        (("--ram", "4GB", "--no-mmap"), "--no-mmap: expected room for a copy of the file"),
        (("--resident", "6"), "--resident: expected a size with its unit"),
        (("--page", "5KiB"), "--page: expected a power of two from 1KiB to 2MiB, such as 16KiB, found '5KiB'"),
        (("--disk", "fast"), "--disk: expected a quantity in B/s"),
        (("--prompt", "1,2"), "--prompt: expected one number, found '1,2'"),
        (("--ctx", "8"), "--ctx: expected at least 640 positions"),
    ],
)
def test_wrong_input_gets_one_line(run: Run, more: tuple[str, ...], found: str) -> None:
    done = run(*PI, *more)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {found}")
    assert done.err.count("\n") == 1


def test_what_is_missing_is_said(run: Run) -> None:
    done = run(*PI[:-2])
    assert done.code == 1
    assert done.err == "error: --disk: expected a rate such as 500MB/s, since no hardware file states one, found none\n"
    assert run("load").code == 2
    for more in (("--hw", "rpi4"), ("--no-mmap",), ("--threads", "2"), ("--prompt", "512"), ("--no-repack",)):
        unheard = run("load", "--measure", "m.gguf", *more)
        assert (unheard.code, "--measure goes with --seed and --format only" in unheard.err) == (2, True), more
    assert "--seed goes with --measure only" in run(*PI, "--seed", "1").err
    pair = run("load", "--hw", "rtx-3090+ryzen-7950x", *PI[3:])
    assert pair.err.startswith("error: --hw: expected one device")
    card = run("load", "--hw", "rtx-3090", *PI[3:], "--ram", "4GB")
    assert card.err == "error: --ram: expected a machine whose memory holds the file, found the card 'rtx-3090'\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc and calls mincore")
def test_a_real_file_is_measured(run: Run, smollm2_gguf: Path) -> None:
    done = run("load", "--measure", str(smollm2_gguf), "--format", "json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert [way["way"] for way in found["ways"]] == ["populated", "lazy", "random"]
    assert found["token_pages"] == pytest.approx(found["file_pages"], rel=0.03)  # but for its header
    steps = {key for way in found["ways"] for step in way["steps"] for key in step}
    assert steps <= set(COLUMNS)


def test_what_cannot_be_measured_gets_one_line(run: Run, tmp_path: Path) -> None:
    done = run("load", "--measure", str(tmp_path / "none.gguf"))
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: --measure: expected ")
    assert done.err.count("\n") == 1
