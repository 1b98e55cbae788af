"""Fitted constants: read, put in place of priors, the user's own on top, and in step with the runtime files."""

import math
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roofline import api, catalog, fitted
from roofline.calibrate import calibration, report
from roofline.runtime import Constant, Runtime, mark_origins
from roofline.spec import SpecError, validate
from tests.small import RUNTIME, changed, fresh_catalog

SHIPPED = Path(fitted.__file__).parent / fitted.FILE
RUNTIMES = SHIPPED.parent / "runtimes"
SHARE = "llama.cpp: metal.memory.apple"  # a constant that every Metal prediction depends on
GAIN = "llama.cpp: metal.kernels[any many].efficiency"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A root of the user's own in ROOFLINE_PATH; files are read anew around the test."""
    fitted.load.cache_clear()
    monkeypatch.setenv("ROOFLINE_PATH", str(tmp_path))
    with fresh_catalog():
        yield tmp_path
    fitted.load.cache_clear()


def constant_line(origin: str, value: float, prior: float) -> str:
    return f'"{origin}" = {{ value = {value!r}, error = 0.05, prior = {prior!r} }}\n'


def prior_of(origin: str) -> float:
    return fitted.load(SHIPPED).constants[origin].prior


def metal_share(runtime: str = "llama.cpp") -> Constant:
    return catalog.load_runtime(runtime).spec.engine("metal").memory["apple"]


# -- applying ---------------------------------------------------------------------------------------------------------


def small_tables() -> dict[str, Any]:
    tables = changed(RUNTIME, {"backends.cuda.memory.gddr": {"value": 0.5, "sigma": 0.2, "note": "round"}})
    mark_origins(tables, "engine")
    return tables


def apply_text(tables: dict[str, Any], text: str, folder: Path) -> Runtime:
    path = folder / fitted.FILE
    path.write_text(text, encoding="utf-8")
    fitted.load.cache_clear()
    return validate(Runtime, fitted.apply(tables, [path]), "runtime.toml")


def test_a_fitted_value_takes_the_place_of_the_prior(tmp_path: Path) -> None:
    text = "[constants]\n" + constant_line("engine: cuda.memory.gddr", 0.625, 0.5)
    share = apply_text(small_tables(), text, tmp_path).engine("cuda").memory["gddr"]
    assert (share.value, share.error, share.prior, share.basis) == (0.625, 0.05, 0.5, "fitted")
    assert share.sigma == 0.2, "how far it may move stays the runtime file's"
    assert share.note == "prior 0.5: round"
    assert share.origin == "engine: cuda.memory.gddr"


def test_nothing_else_changes(tmp_path: Path) -> None:
    text = "[constants]\n" + constant_line("engine: cuda.memory.gddr", 0.625, 0.5)
    before = validate(Runtime, small_tables(), "runtime.toml").model_dump()
    after = apply_text(small_tables(), text, tmp_path).model_dump()
    before["backends"]["cuda"]["memory"].pop("gddr")
    after["backends"]["cuda"]["memory"].pop("gddr")
    assert after == before


def test_constants_in_lists_are_found_by_their_labels(tmp_path: Path) -> None:
    tables = small_tables()
    origins = {  # value and prior
        "engine: cuda.kernels[f16 few].efficiency": (0.55, 0.5),
        "engine: cuda.launch[any].seconds": (2e-6, 1e-6),
        "engine: cpu.barrier.base": (3e-6, 1e-6),
    }
    text = "[constants]\n" + "".join(constant_line(origin, *values) for origin, values in origins.items())
    engine = apply_text(tables, text, tmp_path)
    kernel = engine.engine("cuda").kernels[0]
    barrier = engine.engine("cpu").barrier
    assert kernel.efficiency and kernel.efficiency.value == 0.55
    assert engine.engine("cuda").launch[0].seconds.value == 2e-6
    assert barrier and barrier.base.value == 3e-6


def test_constants_of_other_runtimes_are_passed_over(tmp_path: Path) -> None:
    """One file serves all runtimes, and may be of another version of them: what is not there is not missed."""
    text = "[constants]\n" + constant_line("other: cuda.memory.gddr", 0.9, 0.5) + constant_line("engine: x.y", 2.0, 1.0)
    text += "[spread.tpu]\ndecode = 1.2\nprefill = 1.2\ndevices = 4\n"
    before = validate(Runtime, small_tables(), "runtime.toml")
    assert apply_text(small_tables(), text, tmp_path) == before


def test_a_fit_that_began_from_another_prior_is_passed_over(tmp_path: Path) -> None:
    """The runtime file says 0.5 now; what was fitted from 0.4 belongs to another version of it."""
    text = "[constants]\n" + constant_line("engine: cuda.memory.gddr", 0.625, 0.4)
    share = apply_text(small_tables(), text, tmp_path).engine("cuda").memory["gddr"]
    assert (share.value, share.prior, share.basis) == (0.5, None, "assumed")


def test_a_spread_replaces_the_band_of_its_backend_alone(tmp_path: Path) -> None:
    text = '[spread.cuda]\ndecode = 1.31\nprefill = 1.42\ndevices = 7\nknown = ["8.6"]\n'
    engine = apply_text(small_tables(), text, tmp_path)
    cuda, cpu = engine.engine("cuda").spread, engine.engine("cpu").spread
    assert (cuda.decode.value, cuda.prefill.value, cuda.known, cuda.calibrated) == (1.31, 1.42, ("8.6",), True)
    assert cuda.decode.basis == "fitted" and "7 devices" in cuda.decode.note
    assert (cpu.decode.value, cpu.calibrated) == (1.25, False)


# -- the user's own over the shipped ----------------------------------------------------------------------------------


def test_a_users_file_comes_on_top_constant_by_constant(own: Path) -> None:
    shipped_share, shipped_gain = (fitted.load(SHIPPED).constants[name] for name in (SHARE, GAIN))
    (own / fitted.FILE).write_text("[constants]\n" + constant_line(SHARE, 0.5, shipped_share.prior), encoding="utf-8")
    share = metal_share()
    assert (share.value, share.basis, share.error) == (0.5, "fitted", 0.05)
    assert share.prior == pytest.approx(shipped_share.prior, rel=1e-3), "the runtime file's, not the shipped fit's"
    kernels = catalog.load_runtime("llama.cpp").spec.engine("metal").kernels
    gains = [kernel.efficiency for kernel in kernels if kernel.efficiency and kernel.efficiency.origin == GAIN]
    assert [gain.value for gain in gains] == [shipped_gain.value]


def test_the_prior_is_noted_once(own: Path) -> None:
    (own / fitted.FILE).write_text("[constants]\n" + constant_line(SHARE, 0.5, prior_of(SHARE)), encoding="utf-8")
    assert metal_share().note.count("prior") == 1


def test_runtimes_that_extend_it_take_the_constant_too(own: Path) -> None:
    (own / fitted.FILE).write_text("[constants]\n" + constant_line(SHARE, 0.5, prior_of(SHARE)), encoding="utf-8")
    assert metal_share("llama.cpp-2025").value == 0.5


def test_the_first_root_of_the_path_wins_and_the_users_directory_comes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = [tmp_path / name for name in ("first", "second", "user")]
    for root in roots:
        root.mkdir()
        (root / fitted.FILE).write_text("", encoding="utf-8")
    monkeypatch.setenv("ROOFLINE_PATH", os.pathsep.join(str(root) for root in roots[:2]))
    # Later files take the place of earlier ones.
    assert fitted.files(roots[2]) == [SHIPPED, *(root / fitted.FILE for root in (roots[2], roots[1], roots[0]))]
    (roots[1] / fitted.FILE).unlink()
    assert fitted.files(roots[2]) == [SHIPPED, roots[2] / fitted.FILE, roots[0] / fitted.FILE]
    monkeypatch.delenv("ROOFLINE_PATH")
    assert fitted.files(tmp_path / "nowhere") == [SHIPPED]


def test_a_slower_memory_in_the_users_file_makes_predictions_slower(own: Path) -> None:
    before = api.predict("m2-ultra-76", "mistral-7b", "q4_0").decode
    (own / fitted.FILE).write_text("[constants]\n" + constant_line(SHARE, 0.3, prior_of(SHARE)), encoding="utf-8")
    with fresh_catalog():
        after = api.predict("m2-ultra-76", "mistral-7b", "q4_0").decode
    assert before and after
    assert 1.5 < before.tok_s / after.tok_s < metal_ratio(0.3), "no more than in proportion to the share"


def metal_ratio(share: float) -> float:
    return fitted.load(SHIPPED).constants[SHARE].value / share * (1 + 1e-9)


def test_a_fit_does_not_undo_what_a_user_wrote_into_a_runtime_file_of_their_own(own: Path) -> None:
    """A user's llama.cpp.toml takes the place of the shipped one; the fit began from another prior than theirs."""
    text = (RUNTIMES / "llama.cpp.toml").read_text(encoding="utf-8")
    stated = tomllib.loads(text)["backends"]["metal"]["memory"]["apple"]["value"]
    mark = text.index("[backends.metal.memory]")
    end = text.index("\n", text.index("apple", mark))
    line = text[text.index("apple", mark) : end]
    (own / "runtimes").mkdir()
    changed_line = line.replace(f"value = {stated}", "value = 0.4")
    assert changed_line != line
    (own / "runtimes" / "llama.cpp.toml").write_text(text.replace(line, changed_line), encoding="utf-8")
    assert metal_share().value == 0.4


# -- bad files --------------------------------------------------------------------------------------------------------

_ONE = '[constants]\n"a: b" = { value = 0.5, error = 0.1, prior = 0.4 }\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("constants = [", "expected TOML"),
        ("constants = 3\n", "constants: expected"),
        (_ONE.replace("value = 0.5, ", ""), "value: expected a value, found none"),
        (_ONE.replace(", prior = 0.4", ""), "prior: expected a value, found none"),
        (_ONE.replace("0.5", "nan"), "value: expected"),
        (_ONE.replace("0.5", "inf"), "value: expected"),
        (_ONE.replace("0.5", "-0.5"), "value: expected"),
        (_ONE.replace("0.5", "0"), "value: expected"),
        (_ONE.replace("0.5", '"fast"'), "value: expected"),
        (_ONE.replace("error = 0.1", "error = -1"), "error: expected"),
        (_ONE.replace("error = 0.1", "error = 0.1, sigma = 1"), "sigma: expected no such key"),
        ("[spread.cpu]\ndecode = 1.2\ndevices = 3\n", "prefill: expected a value, found none"),
        ("[spread.cpu]\ndecode = 1.2\nprefill = 0.9\ndevices = 3\n", "prefill: expected"),
        ("[spread.cpu]\ndecode = 1.2\nprefill = 1.9\ndevices = -3\n", "devices: expected"),
        ("[spread.cpu]\ndecode = 1.2\nprefill = 1.9\ndevices = 3\nknown = [1]\n", "known.0: expected"),
        ("colour = 3\n", "colour: expected no such key"),
    ],
)
def test_a_bad_file_is_one_line_that_names_file_and_field(own: Path, text: str, words: str) -> None:
    path = own / fitted.FILE
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as bad:
        catalog.load_runtime("llama.cpp")
    message = str(bad.value)
    assert message.startswith(f"{path}: ") and words in message
    assert message.isprintable(), "one line"


def test_a_value_that_cannot_be_is_blamed_on_the_fitted_file(own: Path) -> None:
    """A share above 1 is refused, and the file to mend is the fitted one, not the runtime file."""
    path = own / fitted.FILE
    path.write_text("[constants]\n" + constant_line(SHARE, 1.7, prior_of(SHARE)), encoding="utf-8")
    with pytest.raises(SpecError, match=r"1\.7") as bad:
        catalog.load_runtime("llama.cpp")
    assert str(path) in str(bad.value)


def test_a_file_that_is_no_text(own: Path) -> None:
    (own / fitted.FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="expected TOML in UTF-8"):
        catalog.load_runtime("llama.cpp")


# -- the shipped file -------------------------------------------------------------------------------------------------


def stated_in_runtime_files() -> dict[str, float]:
    """Every constant of the shipped runtime files by its origin, as the files state it."""
    found: dict[str, float] = {}

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "origin" in node:
                assert node["origin"] not in found, "an origin stands for one constant"
                found[node["origin"]] = float(node["value"])
                return
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    for path in sorted(RUNTIMES.glob("*.toml")):
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        mark_origins(tables, path.stem)
        walk(tables)
    return found


def test_the_shipped_constants_belong_to_the_shipped_runtime_files() -> None:
    """A prior that is edited, or a rule that is renamed, without a new calibration fails here."""
    stated = stated_in_runtime_files()
    constants = fitted.load(SHIPPED).constants
    assert len(constants) > 100
    assert sorted(set(constants) - set(stated)) == [], "no such constant any more: run calibrate again"
    drifted = {
        origin: (stated[origin], constant.prior)
        for origin, constant in constants.items()
        if float(f"{stated[origin]:.{calibration.DIGITS}g}") != constant.prior
    }
    assert drifted == {}, "(runtime file, prior of the fit): run calibrate again"


def test_every_shipped_constant_is_in_force_in_some_runtime() -> None:
    wanted = {origin: constant.value for origin, constant in fitted.load(SHIPPED).constants.items()}
    found: dict[str, float] = {}

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("basis") == "fitted" and node.get("origin"):
                found[node["origin"]] = node["value"]
            for child in node.values():
                walk(child)
        elif isinstance(node, (list, tuple)):
            for child in node:
                walk(child)

    for name in catalog.files("runtimes"):
        walk(catalog.load_runtime(name).spec.model_dump())
    assert {origin: found[origin] for origin in wanted if origin in found} == {
        origin: value for origin, value in wanted.items() if origin in found
    }
    assert sorted(set(wanted) - set(found)) == []


def test_the_shipped_constants_have_moved_as_far_as_they_may() -> None:
    """No further than three widths of a prior, with an error that the rows have not made larger than a prior's."""
    for origin, constant in fitted.load(SHIPPED).constants.items():
        assert 0 < constant.error < 1, origin
        assert abs(math.log(constant.value / constant.prior)) < 3 * 0.7, origin


def test_the_shipped_file_says_what_it_was_made_from() -> None:
    shipped = fitted.load(SHIPPED)
    assert shipped.observations and shipped.rows > 400 and shipped.devices > 30
    assert SHIPPED.read_text(encoding="utf-8").startswith(calibration.HEADER)
    backends = {name.split(": ")[1].split(".")[0] for name in shipped.constants}
    assert set(shipped.spread) <= backends
    assert all(spread.devices >= 3 and spread.known for spread in shipped.spread.values())


def test_the_shipped_scores_belong_to_the_shipped_constants() -> None:
    shown = report.shipped_scores("csv")
    groups = {line.split(",")[0] for line in shown.splitlines()[1:]}
    for backend in fitted.load(SHIPPED).spread:
        assert {f"{backend} prefill", f"{backend} decode"} <= groups


def test_scores_of_other_constants_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = tmp_path / report.SCORES.name
    scores.write_text(report.SCORES.read_text(encoding="utf-8"), encoding="utf-8")
    constants = tmp_path / fitted.FILE
    constants.write_text(SHIPPED.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(report, "SCORES", scores)
    assert report.shipped_scores("table")
    constants.write_text(SHIPPED.read_text(encoding="utf-8").replace("0.", "0.0", 1), encoding="utf-8")
    with pytest.raises(SpecError, match=r"constants_sha256: expected the digest of fitted.toml, found another"):
        report.shipped_scores("table")
