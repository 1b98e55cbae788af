"""Calibrating one device: factors are recovered, help on models that were left out, and change no other device."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roofline import api, catalog, local
from roofline.bench import COLUMNS, Observation
from roofline.calibrate import device
from roofline.calibrate.cases import collect
from roofline.engine import record
from roofline.spec import SpecError, read_toml, validate
from tests.running import Run, runner
from tests.small import fresh_catalog

HARDWARE = "ryzen-7950x"
TYPES = ("q4_0", "q8_0", "q4_k_m", "q6_k", "f16")
BOX: dict[str, str] = {"hardware": HARDWARE, "backend": "cpu", "runtime": "llama.cpp", "date": "2026-05-01"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's directory, and no file remembered from another."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with fresh_catalog():
        yield tmp_path / "roofline"


def measured(hardware: str = HARDWARE, models: tuple[str, ...] = ("tinyllama-1.1b",)) -> list[Observation]:
    """A prompt and a generation of each model in each type; the speeds are filled in by a world."""
    rows = []
    for model in models:
        for quant in TYPES:
            common = {**BOX, "hardware": hardware, "model": model, "quant": quant, "tok_s": 1.0}
            name = f"{model}-{quant}"
            rows.append(Observation(id=f"{name}-pp", phase="pp", prompt=512, depth=0, **common))  # type: ignore[arg-type]
            rows.append(Observation(id=f"{name}-tg", phase="tg", gen=64, depth=0, **common))  # type: ignore[arg-type]
    return rows


def in_a_world(rows: list[Observation], factors: dict[str, float], noise: float = 0.0) -> list[Observation]:
    """The rows as a device would be measured that differs from its kind by `factors`."""
    cases, skipped = collect(rows)
    assert not skipped
    problem = device.problem_of(cases)
    table = problem.design.table
    logs = table.logs.copy()
    for name, value in factors.items():
        logs[table.origins.index(local.ORIGIN + name)] = np.log(value)
    rng = np.random.default_rng(7)
    speeds = problem.design.speeds(logs) * np.exp(noise * rng.standard_normal(len(logs[: len(cases)])))
    by_id = {row.case.id: float(speed) for row, speed in zip(cases, speeds, strict=True)}
    return [replace(row, tok_s=by_id[row.id]) for row in rows]


def test_a_factor_that_the_device_has_is_found() -> None:
    truth = {"memory": 0.7, "kernels, prompts": 1.5}
    found = device.calibrate_device(in_a_world(measured(), truth), HARDWARE, "made").local.factors
    # Reads of all types share one factor and are pinned by five of them; rates share theirs with each type's own.
    assert found["memory"].value == pytest.approx(0.7, rel=0.08)
    types = [one.value for name, one in found.items() if name.endswith(", prompts") and one.types == ("q4_0",)]
    assert found["kernels, prompts"].value * types[0] == pytest.approx(1.5, rel=0.08)


def test_what_was_not_measured_stays_as_it_was() -> None:
    rows = [row for row in in_a_world(measured(), {"memory": 0.7}) if row.phase == "tg"]
    found = device.calibrate_device(rows, HARDWARE, "made").local.factors
    assert "kernels, prompts" not in found
    assert "memory" in found


def test_a_device_like_its_kind_gets_factors_of_one() -> None:
    found = device.calibrate_device(in_a_world(measured(), {}), HARDWARE, "made")
    for one in found.local.factors.values():
        assert one.value == pytest.approx(1.0, rel=0.01)
    for errors in found.errors:
        assert errors.before == pytest.approx(0.0, abs=1e-6)


def test_models_that_were_left_out_are_predicted_better() -> None:
    truth = {"memory": 0.6, "kernels, prompts": 0.5, "kernels, single tokens": 0.6}
    rows = in_a_world(measured(models=("tinyllama-1.1b", "mistral-7b")), truth, noise=0.03)
    for errors in device.calibrate_device(rows, HARDWARE, "made").errors:
        assert errors.left_out is not None
        assert errors.models == 2 * len(TYPES)
        assert errors.before > 0.3
        assert errors.after <= errors.left_out < 0.08


def test_the_calculator_and_the_fit_agree_on_a_calibrated_device(home: Path) -> None:
    rows = in_a_world(measured(), {"memory": 0.7, "node, single tokens": 2.0})
    found = device.calibrate_device(rows, HARDWARE, "made")
    path = device.target(home, HARDWARE)
    path.parent.mkdir(parents=True)
    path.write_text(device.to_toml(found.local), encoding="utf-8")
    for row in rows:
        phases = {"prompt": 512, "gen": 0} if row.phase == "pp" else {"prompt": 0, "gen": 64}
        prediction = api.predict(HARDWARE, row.model, row.quant, **phases)  # type: ignore[arg-type]
        phase = prediction.prefill if row.phase == "pp" else prediction.decode
        assert phase is not None
        assert float(phase.tok_s) == pytest.approx(row.tok_s, rel=0.05)


def test_only_the_device_itself_changes_and_its_band_narrows(home: Path) -> None:
    others = ("rpi5", "m2-ultra-76")
    before = {name: api.predict(name, "mistral-7b", "q4_0") for name in (HARDWARE, *others)}
    found = device.calibrate_device(in_a_world(measured(), {"memory": 0.7}), HARDWARE, "made")
    path = device.target(home, HARDWARE)
    path.parent.mkdir(parents=True)
    path.write_text(device.to_toml(found.local), encoding="utf-8")
    with fresh_catalog():
        after = {name: api.predict(name, "mistral-7b", "q4_0") for name in (HARDWARE, *others)}
        gpu = api.predict("rtx-4090", "mistral-7b", "q4_0")
    for name in others:
        assert after[name].decode.tok_s == before[name].decode.tok_s  # type: ignore[union-attr]
    assert gpu.machine.engine.factors == catalog.load_runtime("llama.cpp").spec.engine("cuda").factors
    mine, was = after[HARDWARE].decode, before[HARDWARE].decode
    assert mine is not None
    assert was is not None
    assert mine.tok_s < was.tok_s
    assert mine.high_tok_s / mine.tok_s < was.high_tok_s / was.tok_s


def test_a_second_calibration_begins_where_the_first_did(home: Path) -> None:
    """Else every run would count the same rows again."""
    rows = in_a_world(measured(), {"memory": 0.7})
    first = device.calibrate_device(rows, HARDWARE, "made")
    path = device.target(home, HARDWARE)
    path.parent.mkdir(parents=True)
    path.write_text(device.to_toml(first.local), encoding="utf-8")
    with fresh_catalog():
        assert device.calibrate_device(rows, HARDWARE, "made").local == first.local


def test_the_file_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    found = device.calibrate_device(in_a_world(measured(), {"memory": 0.7}), HARDWARE, 'a "file"')
    path = tmp_path / "x.toml"
    path.write_text(device.to_toml(found.local), encoding="utf-8")
    assert validate(local.Local, read_toml(path), path) == found.local


def test_too_few_rows_are_refused_with_what_makes_some() -> None:
    with pytest.raises(SpecError, match="expected at least 4 measured speeds of it, found 2; `roofline bench` makes"):
        device.calibrate_device(in_a_world(measured(), {})[:2], HARDWARE, "made")
    with pytest.raises(SpecError, match="found 0"):
        device.calibrate_device(in_a_world(measured(), {}), "rpi5", "made")


def test_the_band_is_never_narrower_than_a_machine_differs_from_day_to_day() -> None:
    own = device.calibrate_device(
        in_a_world(measured(models=("tinyllama-1.1b", "mistral-7b")), {}), HARDWARE, "x"
    ).local
    assert own.decode == pytest.approx(np.exp(device.NARROWEST["tg"] * device.WIDER), rel=1e-3)
    assert own.prefill == pytest.approx(np.exp(device.NARROWEST["pp"] * device.WIDER), rel=1e-3)


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], home: Path) -> Run:
    return runner(capsys)


def test_calibrate_hw_keeps_the_factors_and_check_uses_them(run: Run, home: Path) -> None:
    record.append(in_a_world(measured(), {"memory": 0.5, "kernels, prompts": 0.3}))
    before = run("check", HARDWARE, "--format", "csv").out.splitlines()
    outcome = run("calibrate", "--hw", "Ryzen 7950X")
    assert outcome.code == 0, outcome.err
    assert str(home / "calibrated" / f"{HARDWARE}.toml") in outcome.err
    assert "this device against its kind" in outcome.out.lower()
    assert run("calibrate", "--hw", HARDWARE).code == 0  # its own file it may write again
    with fresh_catalog():
        after = run("check", HARDWARE, "--format", "csv").out.splitlines()
    own_rows = [line for line in after if line.startswith("own-")]
    assert len(own_rows) == 2 * len(TYPES)
    assert all(",ok," in line for line in own_rows)
    assert not all(",ok," in line for line in before if line.startswith("own-"))
    assert len(after) > 1 + len(own_rows)  # the shipped rows of that device, too


def test_calibrate_hw_reads_a_file_of_ones_choice(run: Run, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    record.append(in_a_world(measured(), {}), path)
    assert path.read_text(encoding="utf-8").startswith(COLUMNS[0])
    assert run("calibrate", "--hw", HARDWARE, "--observations", str(path)).code == 0
    assert 'observations = "mine.csv"' in device.target(home, HARDWARE).read_text(encoding="utf-8")


def test_what_does_not_go_together_is_refused(run: Run) -> None:
    assert run("calibrate", "--hw", HARDWARE, "--write").code == 2
    assert run("calibrate", "--run").code == 2
    outcome = run("calibrate", "--hw", HARDWARE)
    assert outcome.code == 1
    assert "expected at least 4 measured speeds" in outcome.err
    assert run("check", "rpi4", "--hw", "rpi5").code == 1


def test_check_of_a_device_without_rows_says_how_to_get_some(run: Run) -> None:
    outcome = run("check", "sg2042") if "sg2042" in catalog.files("hardware") else run("check", "qrb2210")
    assert outcome.code == 1
    assert "`roofline bench` makes some" in outcome.err
