"""The arrays of a fit against the calculator: the same formulas, so the same speeds, whatever the constants are."""

import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from roofline.bench import shipped
from roofline.bench.expected import expect
from roofline.bench.observation import Observation
from roofline.calibrate.calibration import quoted
from roofline.calibrate.cases import collect
from roofline.calibrate.design import Constants, Design, Floats, Products
from roofline.runtime import Constant
from tests.small import fresh_catalog

SMALLEST = 1e-300  # what stands for the logarithm of a constant of 0


def calculated(design: Design) -> Floats:
    """The calculator's own speeds of the cases [tok/s]."""
    return np.array([float(case.phase.tok_s) for case in design.cases])


def in_force(design: Design) -> Floats:
    """Logarithms of the values that the runtimes were loaded with: fitted where there is a fit, else the files'."""
    return np.log(np.maximum([constant.value for constant in design.table.constants], SMALLEST))


@pytest.fixture(scope="module")
def chosen() -> tuple[Observation, ...]:
    """Every fourth shipped row: all backends, kinds and phases, a quarter of the time."""
    return shipped().observations[::4]


@pytest.fixture
def perturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of the user's own whose fitted.toml the test writes; files are read anew around it."""
    with fresh_catalog():
        monkeypatch.setenv("ROOFLINE_PATH", str(tmp_path))
        yield tmp_path / "fitted.toml"


@lru_cache(maxsize=1)
def whole() -> Design:
    rows, _ = collect(shipped().observations)
    return Design([row.case for row in rows])


def test_a_design_predicts_what_the_calculator_predicts() -> None:
    design = whole()
    assert len(design.cases) > 400
    backends = {case.machine.backend for case in design.cases}
    assert {"cpu", "cuda", "metal", "rocm", "vulkan"} <= backends
    # Two orders of summation of some hundred operators: 100 × 2⁻⁵³ ≈ 1e-14, with room.
    np.testing.assert_allclose(design.speeds(in_force(design)), calculated(design), rtol=1e-12, atol=0)


def test_and_follows_it_when_every_constant_changes(perturbed: Path, chosen: tuple[Observation, ...]) -> None:
    """Each constant is multiplied by a factor of its own, 0.70 to 0.99: shares stay shares, and none hides another."""
    before = Design([row.case for row in collect(chosen)[0]])
    lines = ["[constants]"]
    for at, (origin, constant) in enumerate(zip(before.table.origins, before.table.constants, strict=True)):
        if constant.origin and constant.value > 0:
            value = constant.value * (0.70 + 0.29 * (at * 0.618034 % 1))
            prior = constant.value if constant.prior is None else constant.prior
            lines.append(f"{quoted(origin)} = {{ value = {value!r}, error = 0.1, prior = {prior!r} }}")
    perturbed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    stated = tomllib.loads(perturbed.read_text(encoding="utf-8"))["constants"]
    assert len(stated) > 100
    with fresh_catalog():
        after = calculated(Design([row.case for row in collect(chosen)[0]]))
    logs = in_force(before)
    for at, origin in enumerate(before.table.origins):
        if origin in stated:
            logs[at] = np.log(stated[origin]["value"])
    np.testing.assert_allclose(before.speeds(logs), after, rtol=1e-12, atol=0)
    assert np.median(after / calculated(before)) < 0.97, "lower rates and shares: slower"


def test_a_constant_that_several_rows_share_is_one_column() -> None:
    table = whole().table
    assert len(set(table.origins)) == len(table.origins)
    assert {origin for origin in table.origins if origin.endswith("metal.memory.apple")} == {
        "llama.cpp: metal.memory.apple"
    }


def test_constants_without_an_origin_are_kept_apart_by_value_and_never_move() -> None:
    table = Constants()
    half = table.index(Constant(value=0.5, sigma=0.3))
    assert table.index(Constant(value=0.5)) == half
    assert table.index(Constant(value=0.25)) != half
    named = table.index(Constant(value=0.5, sigma=0.3, origin="a: b"))
    assert named != half
    assert list(table.sigmas) == [0.0, 0.0, 0.3]


def test_the_logarithms_begin_at_the_runtime_file_even_where_a_fit_took_its_place() -> None:
    table = Constants()
    table.index(Constant(value=0.8, prior=0.5, origin="a: b"))
    table.index(Constant(value=0.8, origin="a: c"))
    table.index(Constant(value=0.0, origin="a: d"))
    assert table.logs == pytest.approx(np.log([0.5, 0.8, SMALLEST]))


def test_products_are_padded_with_ones() -> None:
    # Constants 1, 2, 3, 5: rows 2·3, 5, nothing, 2·3·5.
    logs = np.log([1.0, 2.0, 3.0, 5.0])
    assert Products([[1, 2], [3], [], [1, 2, 3]], 0).of(logs) == pytest.approx([6.0, 5.0, 1.0, 30.0])
    assert Products([], 0).of(logs).shape == (0,)


def test_faster_memory_never_makes_a_case_slower() -> None:
    """Every share of the bandwidth up by a tenth: all speeds rise or stay, those of one token at a time mostly rise."""
    design = whole()
    logs = in_force(design)
    shares = [at for at, origin in enumerate(design.table.origins) if ".memory." in origin]
    assert len(shares) > 5
    slow, fast = logs.copy(), logs.copy()
    slow[shares] -= np.log(1.1)
    gain = design.speeds(fast) / design.speeds(slow)
    assert gain.min() >= 1 - 1e-12
    assert gain.max() <= 1.1 + 1e-12, "no more than in proportion"


def test_speed_is_tokens_by_seconds_over_the_same_rows() -> None:
    design = whole()
    logs = in_force(design)
    assert design.speeds(logs) * design.seconds(logs) == pytest.approx(design.tokens)
    assert list(design.measured) == [case.measured for case in design.cases]


def test_each_case_is_the_row_it_came_from(chosen: tuple[Observation, ...]) -> None:
    rows, skipped = collect(chosen)
    assert len(rows) + len(skipped) == len(chosen), "no row is dropped silently"
    assert [row.observation.id for row in rows] == sorted(row.observation.id for row in rows)
    by_id = {one.id: one for one in chosen}
    for row in rows[::10]:
        own = by_id[row.case.id]
        assert (row.case.measured, row.case.device) == (own.tok_s, own.hardware)
        assert row.case.phase.tok_s == expect(own).phase.tok_s
    assert all(reason for _, reason in skipped)
