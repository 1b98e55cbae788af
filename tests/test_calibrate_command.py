"""`roofline calibrate`: what it prints, what it writes and where, and what it refuses."""

import csv
import io
import json
import os
import stat
import sys
import tempfile
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline import api, catalog, fitted
from roofline.bench import read_path
from roofline.bench.shipped import DIRECTORY
from roofline.calibrate import command
from roofline.calibrate.calibration import HEADER, calibrate, quoted, to_toml
from roofline.calibrate.report import SCORE_COLUMNS, digest
from roofline.files import write_text
from tests.problems import problem_of, rows_of
from tests.running import Outcome, Run, runner
from tests.small import fresh_catalog

METAL = ("calibrate", "--backend", "metal")
APPLE = DIRECTORY / "apple.csv"
SHARE = "llama.cpp: metal.memory.apple"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty directory of the user's own, not there yet; files are read anew around the test."""
    directory = tmp_path / "config" / "roofline"
    for module in (catalog, command):
        monkeypatch.setattr(module, "user_directory", lambda: directory)
    forget()
    yield directory
    forget()


def forget() -> None:
    """As in a new process."""
    fitted.load.cache_clear()
    with fresh_catalog():
        pass


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], home: Path) -> Run:
    """Runs the command line for a user with an empty directory."""
    return runner(capsys)


def error_of(outcome: Outcome) -> str:
    """The message of an outcome that is one clear line, exit code 1, and nothing on stdout."""
    code, out, err = outcome
    assert (code, out) == (1, ""), outcome
    assert err.startswith("error: ") and err.endswith("\n")
    message = err.removeprefix("error: ").removesuffix("\n")
    assert message.isprintable() and "Traceback" not in message, message
    return message


def some_rows(path: Path, count: int, **changes: str) -> Path:
    """A file of the first rows of the shipped Apple table, with some columns changed."""
    with APPLE.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        table = [row | changes for row in reader][:count]
        names = reader.fieldnames or []
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(table)
    return path


# -- the report -------------------------------------------------------------------------------------------------------


def test_the_report_has_scores_constants_and_what_was_not_used(run: Run, home: Path) -> None:
    code, out, err = run(*METAL)
    assert (code, err) == (0, "")
    assert out.index("Leave one device out") < out.index("Constants") < out.index("Not used:")
    assert "metal decode" in out and "metal prefill" in out and SHARE in out
    assert "cuda decode" not in out
    assert not home.exists(), "nothing is written that was not asked for"


def test_json(run: Run) -> None:
    code, out, _ = run(*METAL, "--format", "json", "--observations", str(APPLE))
    data = json.loads(out)
    assert code == 0 and data["schema"] == "roofline.calibration/1"
    groups = {score["group"]: score for score in data["scores"]}
    assert {"metal decode", "metal prefill"} <= set(groups)
    moved = {one["constant"]: one for one in data["constants"]}
    kept = moved[SHARE]
    assert kept["backend"] == "metal" and 0 < kept["error"] < 1 and 0 < kept["value"] <= 1
    stated = catalog.load_runtime("llama.cpp").spec.engine("metal").memory["apple"]
    assert kept["prior"] == stated.prior
    # Every row is either in a group or listed as not used: none is dropped silently.
    with APPLE.open(encoding="utf-8", newline="") as lines:
        ids = [row["id"] for row in csv.DictReader(lines) if row["backend"] == "metal"]
    used = sum(len(part.rows) for part in calibrate(read_path(APPLE).observations, ["metal"]).backends)
    metal_skipped = [one["id"] for one in data["skipped"] if one["id"] in ids]
    assert used + len(metal_skipped) == len(ids)


def test_csv_holds_the_scores_alone(run: Run) -> None:
    code, out, _ = run(*METAL, "--format", "csv", "--observations", str(APPLE))
    table = list(csv.reader(io.StringIO(out)))
    assert code == 0 and tuple(table[0]) == SCORE_COLUMNS
    assert {len(line) for line in table} == {len(SCORE_COLUMNS)}
    row = dict(zip(table[0], next(line for line in table if line[0] == "metal decode"), strict=True))
    assert 0 <= float(row["within_10"]) <= float(row["within_20"]) <= float(row["within_50"]) <= 1


def test_markdown(run: Run) -> None:
    code, out, _ = run(*METAL, "--format", "md", "--observations", str(APPLE))
    assert code == 0
    assert [line for line in out.splitlines() if line.startswith("## ")][:2] == [
        "## Leave one device out", "## Constants"
    ]  # fmt: skip
    assert f"| {SHARE} |" in out


def test_the_same_scores_in_every_format(run: Run) -> None:
    apple = ("--observations", str(APPLE), "--format")
    scores = json.loads(run(*METAL, *apple, "json")[1])["scores"]
    table = list(csv.DictReader(io.StringIO(run(*METAL, *apple, "csv")[1])))
    assert [score["group"] for score in scores] == [row["group"] for row in table]
    for score, row in zip(scores, table, strict=True):
        assert float(row["median_error"]) == pytest.approx(score["median_error"], rel=1e-2)
        assert int(row["rows"]) == score["rows"]


def test_the_shipped_scores_without_a_fit(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "calibrate", lambda *_: pytest.fail("nothing is fitted"))
    code, out, _ = run("calibrate", "--scores")
    assert code == 0 and "cuda decode" in out and "cpu prefill" in out


def test_what_cannot_be_used_is_counted_with_its_reason(run: Run, tmp_path: Path) -> None:
    path = some_rows(tmp_path / "runs.csv", 30)
    lines = path.read_text(encoding="utf-8").splitlines()
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    bad = [rows[0] | {"id": "bad-1", "tok_s": "-3"}, rows[0] | {"id": "bad-2", "hardware": "nothing-like-it"}]
    with path.open("a", encoding="utf-8", newline="") as file:
        csv.DictWriter(file, list(rows[0])).writerows(bad)
    code, out, _ = run(*METAL, "--observations", str(path), "--format", "json")
    assert code == 0 and len(lines) == 31
    reasons = {one["id"]: one["reason"] for one in json.loads(out)["skipped"]}
    assert "row 31, tok_s" in reasons["bad-1"]
    assert "nothing-like-it" in reasons["bad-2"]


# -- writing ----------------------------------------------------------------------------------------------------------


def test_what_is_written_is_used_from_then_on(run: Run, home: Path) -> None:
    shipped = api.predict("m2-ultra-76", "mistral-7b", "q4_0").decode
    code, _, err = run(*METAL, "--write")
    files = [home / "fitted.toml", home / "fitted_scores.toml"]
    assert code == 0 and err == "".join(f"wrote {path}\n" for path in files)
    assert sorted(home.iterdir()) == files, "and no temporary files"
    text = files[0].read_text(encoding="utf-8")
    assert text.startswith(HEADER + "\n")
    assert tomllib.loads(files[1].read_text(encoding="utf-8"))["constants_sha256"] == digest(text)
    forget()
    own = fitted.load(files[0])
    share = catalog.load_runtime("llama.cpp").spec.engine("metal").memory["apple"]
    assert (share.value, share.basis) == (own.constants[SHARE].value, "fitted")
    decode = api.predict("m2-ultra-76", "mistral-7b", "q4_0").decode
    assert shipped and decode
    assert decode.tok_s != shipped.tok_s
    # The machine was among those measured: it has a band of its own.
    (local,) = [one for one in own.local if one.hardware == "Apple M2 Ultra (76-core GPU)"]
    assert decode.band.local and decode.band.factor == pytest.approx(local.decode)
    # The other backends keep the shipped constants.
    cuda = catalog.load_runtime("llama.cpp").spec.engine("cuda").spread.decode.value
    assert cuda == fitted.load(Path(fitted.__file__).parent / fitted.FILE).spread["cuda"].decode


def test_a_second_calibration_begins_at_the_same_priors(run: Run, home: Path) -> None:
    """Fitting again with fitted constants in force gives the same bytes: nothing creeps."""
    assert run(*METAL, "--write", "--observations", str(APPLE))[0] == 0
    first = (home / "fitted.toml").read_bytes()
    forget()
    assert run(*METAL, "--write", "--observations", str(APPLE))[0] == 0
    assert (home / "fitted.toml").read_bytes() == first


def test_out_writes_to_a_file_of_ones_choice(run: Run, home: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "mine.toml"
    code, _, err = run(*METAL, "--out", str(out), "--observations", str(APPLE))
    assert code == 0 and f"wrote {out}\n" in err
    assert fitted.load(out).observations == "apple.csv"
    assert (out.parent / "mine_scores.toml").is_file()
    assert not home.exists()


@pytest.mark.parametrize("name", ["fitted.toml", "mine.toml"])
def test_a_file_that_no_calibration_wrote_is_left_alone(run: Run, home: Path, tmp_path: Path, name: str) -> None:
    folder = home if name == "fitted.toml" else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    for text in ("", "# my own constants\n[constants]\n", f"\n{HEADER}\n"):
        path.write_text(text, encoding="utf-8")
        message = error_of(run(*METAL, *(["--write"] if name == "fitted.toml" else ["--out", str(path)])))
        assert str(path) in message and "left alone" in message
        assert path.read_text(encoding="utf-8") == text
    path.write_bytes(b"\xff\xfe\x00")
    assert "left alone" in error_of(run(*METAL, *(["--write"] if name == "fitted.toml" else ["--out", str(path)])))
    assert path.read_bytes() == b"\xff\xfe\x00"


def test_nor_is_a_foreign_file_of_the_scores_name(run: Run, tmp_path: Path) -> None:
    """`--out mine.toml` puts mine_scores.toml beside it: what stands there is somebody's."""
    beside = tmp_path / "mine_scores.toml"
    beside.write_text("# my own scores\n", encoding="utf-8")
    command_ = (*METAL, "--observations", str(APPLE), "--out", str(tmp_path / "mine.toml"))
    assert str(beside) in error_of(run(*command_))
    assert beside.read_text(encoding="utf-8") == "# my own scores\n"
    assert not (tmp_path / "mine.toml").exists()


def test_refusing_comes_before_the_work(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir(parents=True)
    (home / "fitted.toml").write_text("mine = 1\n", encoding="utf-8")
    monkeypatch.setattr(command, "calibrate", lambda *_: pytest.fail("fitted for nothing"))
    assert "left alone" in error_of(run(*METAL, "--write"))


def test_a_folder_that_cannot_be_made_is_one_line(run: Run, home: Path, tmp_path: Path) -> None:
    home.parent.write_text("a file where the folder should be", encoding="utf-8")
    assert str(home.parent) in error_of(run(*METAL, "--write"))
    assert str(tmp_path) in error_of(run(*METAL, "--out", str(tmp_path)))  # a folder where the file should be


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_folder_without_permission_is_one_line(run: Run, home: Path) -> None:
    home.mkdir(parents=True)
    home.chmod(0o500)
    try:
        assert "ermission" in error_of(run(*METAL, "--write"))
    finally:
        home.chmod(0o700)


def test_a_full_disk_is_one_line(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", str(home))

    monkeypatch.setattr(tempfile, "mkstemp", full)
    message = error_of(run(*METAL, "--write", "--observations", str(APPLE)))
    assert str(home) in message and message.endswith(": No space left on device")
    assert list(home.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no such permissions")
def test_the_file_may_be_read_by_those_who_may_read_any_new_file(tmp_path: Path) -> None:
    write_text("text", tmp_path / "fitted.toml")
    (tmp_path / "plain").write_text("text", encoding="utf-8")
    assert stat.S_IMODE((tmp_path / "fitted.toml").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fitted.toml"
    write_text("old", path)
    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("no")))
        with pytest.raises(OSError, match="no"):
            write_text("new", path)
    with pytest.raises(UnicodeEncodeError):
        write_text("new " * 10_000 + "\ud800", path)  # fails when much is written already
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    """While it is rewritten 60 times, every reading is one of the two texts in full."""
    path = tmp_path / "fitted.toml"
    texts = ["a" * 2_000_000, "b" * 1_000_000]
    write_text(texts[0], path)
    stop = threading.Event()
    seen: list[bool] = []

    def reader() -> None:
        while not stop.is_set():
            seen.append(path.read_text(encoding="utf-8") in texts)

    thread = threading.Thread(target=reader)
    thread.start()
    try:
        for count in range(60):
            write_text(texts[count % 2], path)
    finally:
        stop.set()
        thread.join()
    assert seen and all(seen)


# -- what is written can be read --------------------------------------------------------------------------------------


@given(st.text(max_size=40))
def test_any_text_is_quoted(text: str) -> None:
    assert tomllib.loads(f"x = {quoted(text)}")["x"] == text


def written(run: Run, home: Path, path: Path) -> fitted.Fitted:
    """The constants that `calibrate --write` makes of a file, in force afterwards."""
    code, _, err = run(*METAL, "--write", "--observations", str(path))
    assert code == 0, err
    forget()
    assert api.predict("m2-ultra-76", "mistral-7b", "q4_0").decode
    return fitted.load(home / "fitted.toml")


def test_a_file_name_cannot_spoil_the_constants(run: Run, home: Path, tmp_path: Path) -> None:
    name = 'my "runs"\u007f\\.csv' if sys.platform != "win32" else "runs.csv"
    assert written(run, home, some_rows(tmp_path / name, 30)).observations == name


@pytest.mark.parametrize("times", [1.5, 1.8, 2.5])
def test_very_fast_machines_do_not_make_impossible_constants(home: Path, times: float) -> None:
    """Overclocked, or mislabelled: shares of a peak stay shares, and every runtime can still be read."""
    fast = [
        replace(row.observation, tok_s=times * row.observation.tok_s)
        for backend in ("metal", "vulkan")
        for row in rows_of(backend)
    ]
    write_text(to_toml(calibrate(fast), "fast"), home / "fitted.toml")
    forget()
    for name in sorted(catalog.files("runtimes")):
        catalog.load_runtime(name)
    assert any(constant.value > constant.prior for constant in fitted.load(home / "fitted.toml").constants.values())


def test_speeds_that_fit_exactly_make_a_band_that_can_be_read(tmp_path: Path) -> None:
    """Rows made by roofline itself: no residual at all, and a file that its own reader takes."""
    rows = rows_of("metal")
    problem = problem_of(rows)
    speeds = problem.design.speeds(problem.design.table.logs)
    exact = [replace(row.observation, tok_s=float(speed)) for row, speed in zip(rows, speeds, strict=True)]
    path = tmp_path / "fitted.toml"
    path.write_text(to_toml(calibrate(exact), "made"), encoding="utf-8")
    constants = fitted.load(path).constants
    assert all(one.value == pytest.approx(one.prior, rel=2e-3) for one in constants.values())


def test_a_round_trip(run: Run, home: Path, tmp_path: Path) -> None:
    """What the report says has moved is what the file holds."""
    out = tmp_path / "mine.toml"
    report = json.loads(run(*METAL, "--out", str(out), "--observations", str(APPLE), "--format", "json")[1])
    kept = fitted.load(out).constants
    assert {one["constant"]: one["value"] for one in report["constants"]} == {
        name: constant.value for name, constant in kept.items()
    }


# -- bad input --------------------------------------------------------------------------------------------------------


def test_too_little_says_what_is_missing(run: Run, home: Path, tmp_path: Path) -> None:
    path = some_rows(tmp_path / "few.csv", 2)
    message = error_of(run("calibrate", "--observations", str(path), "--write"))
    assert "at least 4 rows of one backend" in message and "found 2 in all" in message
    assert not home.exists(), "nothing is written"


def test_one_device_with_few_rows_beside_another_is_enough(run: Run, tmp_path: Path) -> None:
    """Five rows on two devices: what is left without one of them is too little, and the priors stand in."""
    path = tmp_path / "five.csv"
    with APPLE.open(encoding="utf-8", newline="") as lines:
        table = [row for row in csv.DictReader(lines) if row["backend"] == "metal" and row["kind"] == "plain"]
    devices: dict[str, list[dict[str, Any]]] = {}
    for row in table:
        devices.setdefault(row["hardware"], []).append(row)
    most, second = sorted(devices.values(), key=len)[-1:-3:-1]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows([*most[:4], second[0]])
    code, out, err = run("calibrate", "--observations", str(path))
    assert (code, err) == (0, "")
    assert "metal" in out


def test_a_backend_without_rows_is_named(run: Run) -> None:
    assert "musa" in error_of(run("calibrate", "--backend", "musa", "--observations", str(APPLE)))


def test_files_that_are_not_there_or_no_observations(run: Run, tmp_path: Path) -> None:
    missing = tmp_path / "nothing.csv"
    assert str(missing) in error_of(run("calibrate", "--observations", str(missing)))
    assert error_of(run("calibrate", "--observations", str(tmp_path)))
    for name, data in {"empty.csv": b"", "prose.csv": b"hello\nworld\n", "bytes.csv": bytes(range(256))}.items():
        (tmp_path / name).write_bytes(data)
        error_of(run("calibrate", "--observations", str(tmp_path / name)))


def test_a_correction_begins_at_the_shipped_fit_and_narrows_the_band_of_that_machine() -> None:
    """Four rows of one device say little about the engine, and much about the device."""
    rows = [row for row in rows_of("metal") if row.observation.hardware == "m2-ultra-76"][:8]
    corrected = calibrate([row.observation for row in rows], update=True)
    anew = calibrate([row.observation for row in rows])
    text, plain = to_toml(corrected, "mine"), to_toml(anew, "mine")
    assert "[[local]]" in text and "[[local]]" not in plain
    (local,) = tomllib.loads(text)["local"]
    assert local["hardware"] == rows[0].case.machine.hardware.name and local["backend"] == "metal"
    (part,) = corrected.backends
    in_use = {moved.constant: moved for moved in part.moved}
    for constant, moved in in_use.items():
        assert moved.error > 0, constant
    shipped = tomllib.loads((Path(fitted.__file__).parent / fitted.FILE).read_text())["constants"]
    begun = {name: one["value"] for name, one in shipped.items() if name in in_use}
    assert begun and all(in_use[name].prior == pytest.approx(value, rel=1e-3) for name, value in begun.items())
    # The file still names the runtime files' own values, by which it is recognised.
    named = tomllib.loads(text)["constants"]
    assert all(named[name]["prior"] == pytest.approx(shipped[name]["prior"], rel=1e-3) for name in begun)
