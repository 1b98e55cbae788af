"""Sweeps: the axes, the pieces, the files, and what an interruption leaves."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from math import prod
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roofline
from roofline.spec import SpecError
from roofline.sweep import Request, make_request, sweep
from roofline.sweep.columns import COLUMNS, DEFAULT, KEYS, NUMBERS
from roofline.sweep.encoding import names
from roofline.sweep.partitions import Partition, partitions
from roofline.sweep.request import axis
from tests.running import Run, runner

FORMATS = ("parquet", "csv", "jsonl")
MANY = "f16,q8_0,q6_k,q5_k_m,q4_k_m,q4_0,q3_k_m,q2_k"  # enough to be at work when it is killed


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


def small(**changes: Any) -> Request:
    words: dict[str, Any] = {"depth": "0:16384:4096", "batch": "1,8", "quant": "q4_0,q8_0", **changes}
    return make_request("rpi5,rtx-30[78]0", "llama-3.1-8b,llama-3.2-1b", **words)


def rows_of(path: Path) -> list[dict[str, object]]:
    """The points of a file as plain rows, None where a cell has no value."""
    if path.suffix == ".parquet":
        return [dict(row) for row in pq.read_table(path).to_pylist()]
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    words = {*KEYS, "prefill_bound", "decode_bound"} - {"threads", "ubatch"}
    return [
        {
            name: None if cell == "" else cell if name in words else cell == "true" if name == "fits" else float(cell)
            for name, cell in row.items()
        }
        for row in csv.DictReader(text.splitlines())
    ]


# -- axes and pieces ---------------------------------------------------------------------------------------------------


def test_a_range_stops_before_its_end_and_lists_keep_their_order() -> None:
    assert axis("depth", "0:16k:4k", 0) == (0, 4096, 8192, 12288)
    assert axis("batch", "8,1,1:4", 1) == (8, 1, 2, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0:10:0", "start:stop:step"),
        ("10:0", "start:stop:step"),
        ("0:1:2:3", "start:stop:step"),
        ("0:2000000000:1", "at most 1000000 values"),
        ("0", "whole numbers from 1"),
        ("x", "--batch"),
        ("", "--batch"),
    ],
)
def test_an_axis_that_is_none_is_one_line(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        axis("batch", text, 1)


def test_names_are_matched_once_and_misses_are_told() -> None:
    request = make_request("rtx-3090,rtx-30[789]0,2x rtx-3090", "*llama-3.1-8b*", "q4_0,Q4_0")
    assert request.hardware == ("rtx-3090", "rtx-3070", "rtx-3080", "rtx-3090x2")
    assert request.quants == ("q4_0",)
    for arguments in (("zzz-*", "llama-3.1-8b", "q4_0"), ("rpi5", "zzz-*", "q4_0"), ("rpi5", "llama-3.1-8b", "zzz*")):
        with pytest.raises(SpecError, match="expected a pattern that a name matches"):
            make_request(*arguments)
    with pytest.raises(SpecError, match="did you mean rtx-3090"):
        make_request("rtx3091", "llama-3.1-8b", "q4_0")
    with pytest.raises(SpecError, match="--columns: expected some of prefill_tok_s"):
        make_request("rpi5", "llama-3.1-8b", "q4_0", "speed")


sizes = st.integers(1, 12)


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, sizes, st.lists(st.integers(1, 9), min_size=4, max_size=4), st.integers(1, 300))
def test_the_pieces_are_the_whole_and_bounded(
    hardware: int, models: int, quants: int, axes: list[int], most: int
) -> None:
    """Every combination is in one piece, and no piece is larger than asked for."""
    request = Request(
        tuple(f"h{i}" for i in range(hardware)),
        tuple(f"m{i}" for i in range(models)),
        tuple(f"q{i}" for i in range(quants)),
        DEFAULT,
        prompts=tuple(range(axes[0])),
        gens=tuple(range(axes[1])),
        depths=tuple(range(axes[2])),
        batches=tuple(range(axes[3])),
    )
    seen: set[tuple[Any, ...]] = set()
    total = 0
    for number, piece in enumerate(partitions(request, most)):
        assert piece.number == number
        assert piece.points <= max(most, 1)
        total += piece.points
        seen |= {(piece.model, h, q, *piece.axes) for h in piece.hardware for q in piece.quants}
    assert total == request.points
    assert sum(prod(len(axis) for axis in member[3:]) for member in seen) == total


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_every_point_is_what_predict_says(form: str, tmp_path: Path) -> None:
    out = tmp_path / f"s.{form}"
    finished = sweep(small(columns="all"), out)
    rows = rows_of(out)
    assert finished.rows == len(rows) == 3 * 2 * 2 * 4 * 2
    assert list(rows[0]) == list(names(COLUMNS))
    assert not out.with_name(f"{out.name}.parts").exists()
    fitting = 0
    for row in rows[::7]:
        point = {name: row[name] for name in NUMBERS}
        one = roofline.predict(str(row["hardware"]), str(row["model"]), str(row["quant"]), **point)  # type: ignore[arg-type]
        assert row["fits"] == one.memory.fits
        assert row["total_bytes"] == pytest.approx(one.memory.total, rel=1e-6)
        assert row["threads"] == (one.machine.threads if one.machine.backend == "cpu" else None)
        assert one.prefill is not None
        assert one.decode is not None
        if not one.memory.fits:
            assert {row["decode_tok_s"], row["prefill_bound"], row["ttft_s"], row["decode_flops"]} == {None}
            continue
        fitting += 1
        for name, phase in (("prefill", one.prefill), ("decode", one.decode)):
            for key in ("tok_s", "low_tok_s", "high_tok_s", "ceiling_tok_s", "seconds", "flops", "bytes"):
                assert row[f"{name}_{key}"] == pytest.approx(float(getattr(phase, key)), rel=1e-6)
            assert row[f"{name}_bound"] == phase.bound
        assert row["tpot_s"] == pytest.approx(float(one.tpot_s), rel=1e-6)  # type: ignore[arg-type]
    assert fitting >= 5


def test_a_pair_is_worked_out_point_by_point(tmp_path: Path) -> None:
    request = make_request("rtx-3090+ryzen-7950x", "llama-3.3-70b", "q4_k_m", depth="0,16k")
    sweep(request, tmp_path / "s.csv")
    rows = rows_of(tmp_path / "s.csv")
    for row, depth in zip(rows, (0, 16384), strict=True):
        one = roofline.predict("rtx-3090+ryzen-7950x", "llama-3.3-70b", "q4_k_m", depth=depth).decode
        assert one is not None
        assert row["decode_tok_s"] == pytest.approx(float(one.tok_s), rel=1e-6)


def test_what_cannot_be_predicted_is_told_with_its_reason(tmp_path: Path) -> None:
    finished = sweep(make_request("m5-ultra,rpi5", "llama-3.2-1b", "q4_0,q8_0"), tmp_path / "s.csv")
    assert finished.rows == 2
    assert sum(finished.skipped.values()) == 2
    assert all("M5 Ultra" in reason for reason in finished.skipped)
    with pytest.raises(SpecError, match="a combination that can be predicted, found none: Apple M5 Ultra"):
        sweep(make_request("m5-ultra", "llama-3.2-1b", "q4_0"), tmp_path / "none.csv")


def test_processes_write_the_same_bytes(tmp_path: Path) -> None:
    for form in FORMATS:
        sweep(small(), tmp_path / f"one.{form}", piece=20)
        sweep(small(), tmp_path / f"two.{form}", piece=20, workers=2)
        assert (tmp_path / f"one.{form}").read_bytes() == (tmp_path / f"two.{form}").read_bytes()


# -- interruptions -----------------------------------------------------------------------------------------------------


class StopError(Exception):
    pass


def stop_after(points: int) -> object:
    def progress(done: int) -> None:
        if done >= points:
            raise StopError

    return progress


@pytest.mark.parametrize("form", FORMATS)
def test_an_interrupted_sweep_goes_on_and_nothing_is_lost_or_doubled(form: str, tmp_path: Path) -> None:
    whole, out = tmp_path / f"whole.{form}", tmp_path / f"s.{form}"
    sweep(small(), whole, piece=16)
    for points in (16, 48):
        with pytest.raises(StopError):
            sweep(small(), out, piece=16, progress=stop_after(points))  # type: ignore[arg-type]
        assert not out.exists()
        parts = sorted(out.with_name(f"{out.name}.parts").glob("part-*" if form == "parquet" else "data.*"))
        kept = [row for part in parts for row in rows_of(part)]
        assert kept == rows_of(whole)[:points]  # usable as it is
    finished = sweep(small(), out, piece=16)
    assert (finished.resumed, finished.rows) == (48, 96)
    assert rows_of(out) == rows_of(whole)
    if form != "parquet":  # a file of several parts has other offsets
        assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_killed_sweep_goes_on(form: str, tmp_path: Path) -> None:
    """SIGKILL leaves no time to end a file: what the journal does not vouch for comes again."""
    out = tmp_path / f"s.{form}"
    words = ["sweep", "--hw", "rtx-*", "--model", "llama-3*", "--quant", MANY]
    words += ["--depth", "0:131072:1024", "--batch", "1,2,4,8,16,32", "--workers", "1", "--out", str(out)]
    victim = subprocess.Popen([sys.executable, "-m", "roofline", *words], stdout=subprocess.DEVNULL)
    folder = out.with_name(f"{out.name}.parts")
    begun = folder / ("unfinished" if form == "parquet" else "data.csv")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (begun.exists() and begun.stat().st_size > 100_000):
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert begun.stat().st_size > 100_000
    assert not out.exists()
    few = make_request("rtx-4090", "llama-3.1-8b", "q4_0")
    with pytest.raises(SpecError, match="expected the same request, catalog and version as before"):
        sweep(few, out)
    request = make_request("rtx-*", "llama-3*", MANY, depth="0:131072:1024", batch="1,2,4,8,16,32")
    finished = sweep(request, out)
    assert finished.rows == request.points - sum(finished.skipped.values())
    if form == "parquet":
        table = pq.read_table(out, columns=["hardware", "model", "quant", "depth", "batch"]).unify_dictionaries()
        assert table.num_rows == finished.rows
        assert table.group_by(table.column_names).aggregate([]).num_rows == finished.rows  # each point once
    else:
        with out.open(encoding="utf-8") as file:
            assert sum(1 for _ in file) == finished.rows + 1


def test_another_request_does_not_take_up_what_is_there(tmp_path: Path) -> None:
    out = tmp_path / "s.csv"
    with pytest.raises(StopError):
        sweep(small(), out, piece=16, progress=stop_after(16))  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="--restart begins anew"):
        sweep(small(depth="0"), out, piece=16)
    assert sweep(small(depth="0"), out, piece=16, restart=True).resumed == 0
    with pytest.raises(SpecError, match="--out: expected a new file"):
        sweep(small(), out)
    assert sweep(small(), out, force=True).rows == 96


def test_two_sweeps_do_not_share_a_file(tmp_path: Path) -> None:
    from filelock import FileLock

    folder = tmp_path / "s.csv.parts"
    folder.mkdir()
    with FileLock(folder / "lock"), pytest.raises(SpecError, match="expected no other sweep at work"):
        sweep(small(), tmp_path / "s.csv")


@pytest.mark.parametrize("form", FORMATS)
def test_a_disk_that_fills_stops_the_sweep_and_keeps_what_is_there(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    left = iter([10**10] * 3 + [10**6] * 99)
    out = tmp_path / f"s.{form}"
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _path: usage(next(left)))
        with pytest.raises(SpecError, match=r"expected room on the disk for more points, found 1\.00 MB free"):
            sweep(small(), out, piece=16)
    finished = sweep(small(), out, piece=16)
    assert (finished.resumed, finished.rows) == (48, 96)


def test_a_file_that_may_not_grow_is_one_line(tmp_path: Path) -> None:
    """A limit of the system, as a full disk that was not foreseen: the write itself fails."""
    program = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "from roofline.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    words = ["sweep", "--hw", "rtx-30*", "--model", "llama-3*", "--depth", "0:131072:512", "--workers", "1"]
    done = subprocess.run(
        [sys.executable, "-c", program, *words, "--out", str(tmp_path / "s.csv")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "expected room on the disk" in done.stderr


def test_ctrl_c_says_what_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "s.csv"
    words = ["sweep", "--hw", "*", "--model", "*", "--quant", "q4_0", "--depth", "0:131072:512", "--out", str(out)]
    victim = subprocess.Popen(
        [sys.executable, "-m", "roofline", *words, "--workers", "2"], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell may have it ignored
    )  # fmt: skip
    journal = out.with_name("s.csv.parts") / "journal.json"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (journal.exists() and '"rows": 0' not in journal.read_text("utf-8")):
        time.sleep(0.05)
    victim.send_signal(signal.SIGINT)
    _, told = victim.communicate(timeout=60)
    assert victim.returncode != 0
    assert "Traceback" not in told, told
    assert "the same command goes on from there" in told
    entry = json.loads(journal.read_text(encoding="utf-8"))
    assert entry["rows"] > 0
    assert (journal.parent / "data.csv").stat().st_size == entry["bytes"]


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_tells_where_the_points_are(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "s.jsonl"
    words = ["sweep", "--hw", "rpi5,m5-ultra", "--model", "llama-3.2-1b", "--quant", "q4_0", "--out", str(out)]
    code, text, _ = run(*words, "--format", "json")
    assert code == 0
    told = json.loads(text)
    assert (told["schema"], told["points"], told["file"]) == ("roofline.sweep/1", 1, str(out))
    assert told["skipped"][0]["points"] == 1
    code, text, errors = run(*words)
    assert (code, text) == (1, "")
    assert errors == f"error: --out: expected a new file, found {out}; --force replaces it\n"
    code, text, _ = run(*words, "--force")
    assert code == 0
    assert text.startswith(f"{out}: 1 point.\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "s.txt"], "--out: expected a file named .parquet, .csv or .jsonl"),
        (["--out", "s.csv", "--engine", "dask"], "--scheduler: expected the address"),
        (["--out", "s.csv", "--scheduler", "tcp://127.0.0.1:1"], "--scheduler: expected it with --engine dask"),
        (["--out", "s.csv", "--depth", "5:1"], "--depth: expected start:stop:step"),
        (["--out", "s.csv", "--quant", "nope-*"], "--quant: expected a pattern"),
        (["--out", "s.csv", "--ctx", "100", "--prompt", "512"], "--ctx: expected at least"),
    ],
)
def test_wrong_words_are_one_line(
    run: Run, words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, text, errors = run("sweep", "--hw", "rpi5", "--model", "llama-3.2-1b", *words)
    assert (code, text) == (1, "")
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert message in errors


def test_without_pyarrow_the_extra_is_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, _, errors = run("sweep", "--hw", "rpi5", "--model", "llama-3.2-1b", "--out", str(tmp_path / "s.parquet"))
    assert code == 1
    assert "pip install 'roofline[parquet]'" in errors


# -- Dask --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_writes_the_same_bytes(tmp_path: Path) -> None:
    """A scheduler with two worker processes, addressed as a user would."""
    from distributed import LocalCluster

    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1",
        local_directory=str(tmp_path / "dask"),
    ) as cluster:  # fmt: skip
        for form in FORMATS:
            sweep(small(), tmp_path / f"here.{form}", piece=20)
            there = tmp_path / f"there.{form}"
            sweep(small(), there, piece=20, engine="dask", scheduler=cluster.scheduler_address)
            assert there.read_bytes() == (tmp_path / f"here.{form}").read_bytes()


def test_a_scheduler_that_does_not_answer_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from roofline.sweep import engines

    monkeypatch.setattr(engines, "ANSWER_SECONDS", 0.5)
    with pytest.raises(
        SpecError, match=r"--scheduler: expected a Dask scheduler at 'tcp://127\.0\.0\.1:1', found none"
    ):
        sweep(small(), tmp_path / "s.csv", engine="dask", scheduler="tcp://127.0.0.1:1")


def test_partitions_are_plain_data() -> None:
    """They travel to other processes."""
    import pickle

    piece = next(partitions(small()))
    assert isinstance(piece, Partition)
    assert pickle.loads(pickle.dumps(piece)) == piece
    assert os.sep not in repr(piece)


def test_a_config_json_is_a_model_too(tmp_path: Path) -> None:
    """The shape of Llama 3.2 1B, as its maker publishes it."""
    shape = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192,
        "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
        "vocab_size": 128256, "tie_word_embeddings": True, "max_position_embeddings": 131072,
    }  # fmt: skip
    file = tmp_path / "config.json"
    file.write_text(json.dumps(shape), encoding="utf-8")
    sweep(make_request("rtx-3090", f"{file},llama-3.2-1b", "q4_0,q8_0"), tmp_path / "s.csv")
    rows = rows_of(tmp_path / "s.csv")
    assert [row["decode_tok_s"] for row in rows[:2]] == pytest.approx(
        [row["decode_tok_s"] for row in rows[2:]], rel=1e-3
    )
    with pytest.raises(SpecError, match=r"nothing\.json: expected a model file"):
        make_request("rtx-3090", str(tmp_path / "nothing.json"), "q4_0")
