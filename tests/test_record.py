"""The user's own observations: nothing lost when two write at once, nothing half-written, ids of their own."""

import csv
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from roofline.bench import COLUMNS, Observation, read_path
from roofline.engine import record
from roofline.spec import SpecError

ROW = Observation(
    id="run-1", hardware="rpi5", model="tinyllama-1.1b", quant="q4_0", phase="tg", tok_s=12.3456789, date="2026-05-01",
    backend="cpu", runtime="llama.cpp", gen=128, batch=1, flash_attn=True, std=0.25,
)  # fmt: skip


def test_a_row_is_read_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "observations.csv"
    (kept,) = record.append([ROW], path)
    assert kept.id == "own-2026-05-01-1"
    (read,) = read_path(path).observations
    assert read == replace(ROW, id="own-2026-05-01-1", tok_s=12.3457)
    assert path.read_text(encoding="utf-8").splitlines()[0] == ",".join(COLUMNS)


def test_rows_that_are_there_stay_and_ids_go_on(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    record.append([ROW, ROW], path)
    before = path.read_text(encoding="utf-8")
    (added,) = record.append([ROW], path)
    assert added.id == "own-2026-05-01-3"
    assert path.read_text(encoding="utf-8").startswith(before)


def test_a_new_column_leaves_blanks_in_the_rows_before(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    record.append([ROW], path)
    record.append([replace(ROW, extra={"isa": "-amx"})], path)
    first, second = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    assert (first["isa"], second["isa"]) == ("", "-amx")
    assert first["tok_s"] == second["tok_s"] == "12.3457"
    assert len(read_path(path).observations) == 2


def test_a_file_of_ones_own_without_a_last_newline_keeps_its_last_row(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    record.append([ROW], path)
    path.write_text(path.read_text(encoding="utf-8").rstrip("\n"), encoding="utf-8")
    record.append([ROW], path)
    assert [row.id for row in read_path(path).observations] == ["own-2026-05-01-1", "own-2026-05-01-2"]


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("name,price\nbread,3\n", encoding="utf-8")
    with pytest.raises(SpecError, match="expected the columns of observations, found none called 'id'"):
        record.append([ROW], path)
    assert path.read_text(encoding="utf-8") == "name,price\nbread,3\n"


def _add(path: Path, count: int) -> None:
    for _ in range(count):
        record.append([ROW, replace(ROW, phase="pp", prompt=512, gen=None)], path)


def test_two_programs_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_add, args=(path, 20)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    reading = read_path(path)
    assert len(reading.observations) == 3 * 20 * 2
    assert reading.skipped == ()  # ids are each once
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".own.csv.") and one.suffix != ".lock"] == []


def test_a_lock_that_stays_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from filelock import FileLock

    monkeypatch.setattr(record, "LOCK_SECONDS", 0.1)
    path = tmp_path / "own.csv"
    with FileLock(path.with_name(".own.csv.lock")), pytest.raises(SpecError, match=r"expected it free within 0\.1 s"):
        record.append([ROW], path)
