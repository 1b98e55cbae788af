"""The host's file: every figure with its basis, date, spread and method; written whole; another's is left alone."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from roofline import api, catalog
from roofline.hardware import Hardware
from roofline.machine import make_machine
from roofline.measure import command, hostfile, roofs
from roofline.measure.bandwidth import Point
from roofline.measure.clock import ELEMENTS, LATENCY, PASSES, measure_clock
from roofline.measure.conditions import Disturbance
from roofline.measure.identity import identify
from roofline.measure.match import match
from roofline.measure.matmul import MatmulRoof, Unmeasured
from roofline.measure.timing import Samples
from roofline.spec import SpecError, read_toml, validate
from tests.machines import captured
from tests.running import Run, runner
from tests.small import fresh_catalog

DAY = date(2026, 5, 1)
GIB = 2.0**30


def made(cores: int, clocked: bool = True) -> roofs.Roofs:
    """Roofs in round numbers: a core reads 10 GB/s from memory, all of them 40; copies move 44."""
    points = []
    for threads, memory in ((1, 10e9), (cores, 40e9)):
        for size, rate in ((2.0**15, 300e9), (2.0**16, 300e9), (2.0**21, 90e9), (2.0**22, 90e9), (4 * GIB, memory)):
            points.append(Point("read", size, threads, Samples((0.9 * rate, rate, 1.1 * rate))))
    points.append(Point("copy", 4 * GIB, cores, Samples((42e9, 44e9, 46e9))))
    clock = {1: Samples((4e9,)), cores: Samples((3e9, 3e9))} if clocked else {}
    matmul = (MatmulRoof("fp32", 1, "numpy", Samples((96e9, 100e9)), 1024),)
    return roofs.Roofs(
        cores, clock, tuple(points), matmul, (Unmeasured("torch", "not installed"),), (),
        (Disturbance("load", "found 2", "wait"),), False, 90.0,
    )  # fmt: skip


def written(machine: str, clocked: bool = True) -> tuple[Hardware, str]:
    identity = identify(captured(machine))
    cores = roofs.usable_cores(identity)
    tables = hostfile.host_tables(identity, match(identity), made(cores, clocked), DAY)
    text = hostfile.to_toml(tables, DAY)
    return validate(Hardware, tables, "made"), text


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with fresh_catalog():
        yield tmp_path / "roofline" / "hardware"


MACHINES = ("ryzen-7950x__desktop", "rpi5__model-b-rev-1.0", "i9-14900k__desktop", "none__vm-emerald-rapids-2-cores")


@pytest.mark.parametrize("machine", MACHINES)
def test_the_text_is_read_back_as_the_tables(machine: str, tmp_path: Path) -> None:
    spec, text = written(machine)
    path = tmp_path / "host.toml"
    path.write_text(text, encoding="utf-8")
    assert validate(Hardware, read_toml(path), path) == spec
    assert text.startswith("# Written by `roofline measure` on 2026-05-01")


@pytest.mark.parametrize("machine", MACHINES)
def test_every_figure_says_what_it_rests_on(machine: str) -> None:
    spec, _ = written(machine)
    for path, figure in spec.figures().items():
        assert figure.basis in ("measured", "derived"), path
        assert figure.source in spec.sources, path
    assert all(source.retrieved == DAY.isoformat() for source in spec.sources.values())
    measured = spec.memory.sustained["cpu 1 thread"]
    # 0.9, 1 and 1.1 of 10 GB/s: the 10th and 90th percentiles are 0.92 and 1.08 of it.
    assert measured.note == "numpy: median read of 4.00 GiB by 1 thread, 3 runs, spread 16% (10th to 90th percentile)"


def test_the_ceiling_is_the_best_and_the_sustained_rate_the_median() -> None:
    spec, _ = written("ryzen-7950x__desktop")
    assert spec.memory.theoretical_bandwidth == pytest.approx(46e9)  # the best copy beats the best read, 44
    assert spec.memory.sustained["cpu"].value == pytest.approx(40e9)
    assert spec.memory.sustained["cpu 1 core, 4.00 MiB"].value == pytest.approx(90e9)
    assert spec.memory.sustained["cpu 1 core, 64.0 KiB"].value == pytest.approx(300e9)


def test_the_machine_reads_what_was_measured_with_so_many_threads() -> None:
    spec, _ = written("ryzen-7950x__desktop")
    runtime = catalog.load_runtime("llama.cpp").spec

    def read(threads: int) -> float:
        return make_machine(spec, runtime, None, threads).bandwidth_share.value * spec.memory.theoretical_bandwidth

    assert [read(1), read(16)] == pytest.approx([10e9, 40e9])
    assert read(4) == pytest.approx(np.interp(4, [1, 16], [10e9, 40e9]))


def test_clocks_are_measured_and_rates_a_cycle_are_those_of_the_same_core() -> None:
    spec, _ = written("ryzen-7950x__desktop")
    assert spec.cpu is not None
    (cluster,) = spec.cpu.clusters
    assert cluster.boost is not None
    assert [cluster.boost.value, cluster.sustained_clock] == pytest.approx([4e9, 3e9])
    known = catalog.load_hardware("ryzen-7950x").spec.cpu
    assert known is not None
    assert cluster.per_cycle["fp32"].value == known.clusters[0].per_cycle["fp32"].value
    assert cluster.per_cycle["fp32"].basis == "derived"
    assert spec.cpu.measured["fp32 1 core"].value == pytest.approx(98e9)


def test_a_core_that_the_catalog_does_not_have_gets_its_rates_from_products() -> None:
    identity = identify(captured("ryzen-7950x__desktop"))
    strange = type(identity)(**{**{name: getattr(identity, name) for name in identity.__slots__}, "isa": ("avx",)})
    tables = hostfile.host_tables(strange, match(strange), made(16), DAY)
    spec = validate(Hardware, tables, "made")
    assert spec.cpu is not None
    # The best product on one core, 100 GFLOP/s, at that core's 4 GHz.
    assert spec.cpu.clusters[0].per_cycle["fp32"].value == pytest.approx(25.0)
    assert spec.cpu.clusters[0].per_cycle["fp32"].basis == "measured"


def test_without_a_measured_clock_the_system_s_word_counts() -> None:
    spec, _ = written("ryzen-7950x__desktop", clocked=False)
    stated = identify(captured("ryzen-7950x__desktop")).clusters[0].max_clock
    assert spec.cpu is not None
    assert stated is not None
    assert spec.cpu.clusters[0].peak_clock == pytest.approx(stated, rel=1e-3)


def test_without_any_clock_that_of_the_same_core_counts() -> None:
    assert identify(captured("rpi5__model-b-rev-1.0")).clusters[0].max_clock is None
    spec, _ = written("rpi5__model-b-rev-1.0", clocked=False)
    assert spec.cpu is not None
    known = catalog.load_hardware("rpi5").spec.cpu
    assert known is not None
    (clock,) = {spec.cpu.clusters[0].peak_clock}
    assert spec.cpu.clusters[0].boost is not None
    assert spec.cpu.clusters[0].boost.basis == "derived"
    assert clock > 1e9


def test_a_virtual_machine_s_notes_name_the_trap() -> None:
    spec, _ = written("none__vm-emerald-rapids-2-cores")
    texts = [note.text for note in spec.notes]
    assert any("a virtual machine of 2 cores shares it with others" in text for text in texts)
    assert "load: found 2; wait" in texts


def test_a_host_predicts_like_any_other_device(home: Path) -> None:
    _, text = written("none__vm-emerald-rapids-2-cores")
    home.mkdir(parents=True)
    (home / "host.toml").write_text(text, encoding="utf-8")
    prediction = api.predict("host", "tinyllama-1.1b", "q4_0")
    assert prediction.decode is not None
    # 637 MB of weights at the 40 GB/s that were read is 63 tok/s; compute and barriers take their part.
    assert 15 < float(prediction.decode.tok_s) < 63
    assert float(prediction.decode.ceiling_tok_s) > 63


def test_without_a_measured_host_the_command_to_run_is_named() -> None:
    with pytest.raises(SpecError, match=r"--hw: expected a measured host.*roofline measure"):
        api.predict("host", "tinyllama-1.1b", "q4_0")


# -- how much of a machine ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cores", "quick", "counts"),
    [
        (1, False, (1,)),
        (2, False, (1, 2)),
        (16, False, (1, 2, 4, 8, 16)),
        (24, False, (1, 2, 4, 8, 16, 24)),
        (24, True, (1, 24)),
    ],
)
def test_threads_are_measured_from_one_to_all(cores: int, quick: bool, counts: tuple[int, ...]) -> None:
    assert roofs.thread_counts(cores, quick) == counts


@pytest.mark.parametrize(
    ("machine", "cores"),
    [("ryzen-7950x__desktop", 16), ("none__vm-emerald-rapids-2-cores", 2), ("2x-e5-2650v4__one-thread-a-core", 24)],
)
def test_usable_cores_are_the_physical_ones(machine: str, cores: int) -> None:
    assert roofs.usable_cores(identify(captured(machine))) == cores


def test_the_clock_is_latency_times_elements_by_time() -> None:
    """A clock that makes every chain take one second: 4 cycles an element on a core of Intel's."""
    times = iter(range(10_000))
    found = measure_clock("golden-cove", 1, 0.0, timer=lambda: float(next(times)))
    assert found is not None
    assert found.values[0] == pytest.approx(LATENCY["golden-cove"] * PASSES * ELEMENTS)
    assert measure_clock("a core nobody knows", 1) is None


def test_the_clock_of_this_machine_is_one_that_cores_have() -> None:
    found = measure_clock("golden-cove", 1, 0.05)
    assert found is not None
    assert 2e8 < found.best < 2e10


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(command, "measure_roofs", lambda *_: made(2))
    monkeypatch.setattr(command, "Live", lambda: captured("none__vm-emerald-rapids-2-cores"))
    return runner(capsys)


def test_measure_writes_the_host_and_says_so(run: Run, home: Path) -> None:
    outcome = run("measure")
    assert outcome.code == 0, outcome.err
    assert "memory read" in outcome.out
    assert "load: found 2; wait" in outcome.out
    assert f"wrote {home / 'host.toml'}" in outcome.err
    with fresh_catalog():
        assert run("predict", "--hw", "host", "--model", "tinyllama-1.1b", "--quant", "q4_0").code == 0
    assert run("measure").code == 0  # its own file it may write again


def test_a_file_of_somebody_s_own_is_not_overwritten_without_force(run: Run, home: Path) -> None:
    home.mkdir(parents=True)
    own = home / "host.toml"
    own.write_text("# mine\n", encoding="utf-8")
    outcome = run("measure")
    assert outcome.code == 1
    assert "--force overwrites it" in outcome.err
    assert own.read_text(encoding="utf-8") == "# mine\n"
    assert run("measure", "--force").code == 0
    assert own.read_text(encoding="utf-8").startswith(hostfile.WRITTEN_BY)


def test_measure_writes_elsewhere_and_as_json(run: Run, tmp_path: Path, home: Path) -> None:
    outcome = run("measure", "--out", str(tmp_path / "box.toml"), "--format", "json")
    assert outcome.code == 0
    assert not (home / "host.toml").exists()
    answer = json.loads(outcome.out)
    assert answer["schema"] == "roofline.measure/1"
    assert {point["kernel"] for point in answer["bandwidth"]} == {"read", "copy"}
    assert answer["disturbances"] == [{"what": "load", "found": "found 2", "remedy": "wait"}]
    assert answer["not_measured"] == [{"what": "torch", "reason": "not installed"}]


def test_identity_and_why_not_measure_and_write_nothing(run: Run, home: Path) -> None:
    assert "kvm" in run("measure", "--identity").out
    lines = run("measure", "--why-not", "xeon-8480").out
    assert "cores" in lines
    assert "expected 56" in lines
    assert run("measure", "--why-not", "nonsense").code == 1
    assert not home.exists()


def test_a_folder_that_cannot_be_written_is_told_in_one_line(run: Run, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    outcome = run("measure", "--out", str(blocked / "host.toml"))
    assert outcome.code == 1
    assert outcome.err.startswith("error: ")
    assert str(blocked) in outcome.err
