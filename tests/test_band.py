"""The 80 % band: around the expected speed, wider where less is known, and saying why."""

import re

import numpy as np
import pytest

import roofline
from roofline import api, catalog
from roofline.band import ASSUMED_FIGURE, OPEN_MEMORY, UNSEEN, band, widened
from roofline.cli import main
from roofline.machine import LINEAGES
from roofline.prediction import Prediction
from roofline.runtime import Constant
from tests.small import CPU, GPU, machine

SPREAD = Constant(value=1.5)
VARIANTS = [{"type": "GDDR5", "channels": 2, "channel_bits": 64, "transfer_rate": "5000 MT/s"}]
ASSUMED_BANDWIDTH = {"value": "100 GB/s", "basis": "assumed"}


def predicted(hardware: str, **options: object) -> Prediction:
    return roofline.predict(hardware, "mistral-7b", "q4_0", **options)  # type: ignore[arg-type]


# -- by hand ----------------------------------------------------------------------------------------------------------


def test_a_device_of_which_all_is_known_has_the_spread_of_its_backend() -> None:
    found = widened(machine(GPU), SPREAD)
    assert found.factor == pytest.approx(1.5)
    assert found.reasons == ()


@pytest.mark.parametrize(
    ("device", "engine", "widening", "words"),
    [
        ({"memory.bandwidth": ASSUMED_BANDWIDTH}, {}, ASSUMED_FIGURE, "no source confirms memory.bandwidth"),
        (
            {"gpu.peak.fp16": {"value": "1 TFLOP/s", "basis": "assumed"}},
            {},
            ASSUMED_FIGURE,
            "no source confirms gpu.peak.fp16",
        ),
        ({"memory.variants": VARIANTS}, {}, OPEN_MEMORY, "several memories (--set memory.transfer_rate says which)"),
        ({}, {"backends.cuda.spread.known": ["8.*", "9.0"]}, UNSEEN, r"no measured device of its kind (1.0)"),
    ],
)
def test_each_thing_that_is_not_known_widens(
    device: dict[str, object], engine: dict[str, object], widening: float, words: str
) -> None:
    # ln of the factor is multiplied by 1 + w: 1.5^(1 + w).
    found = widened(machine(GPU, device=device, engine=engine), SPREAD)
    assert found.factor == pytest.approx(1.5 ** (1 + widening))
    assert len(found.reasons) == 1 and words in found.reasons[0]


def test_reasons_add_up() -> None:
    every = {"memory.bandwidth": ASSUMED_BANDWIDTH, "memory.variants": VARIANTS}
    found = widened(machine(GPU, device=every, engine={"backends.cuda.spread.known": ["9.0"]}), SPREAD)
    assert found.factor == pytest.approx(1.5 ** (1 + ASSUMED_FIGURE + OPEN_MEMORY + UNSEEN))
    assert len(found.reasons) == 3


def test_each_rule_widens_and_none_doubles_alone() -> None:
    assert all(0 < rule < 1 for rule in (ASSUMED_FIGURE, OPEN_MEMORY, UNSEEN))


@pytest.mark.parametrize(
    ("known", "seen"), [(["1.0"], True), (["1.*"], True), (["*"], True), (["1.1", "11.0"], False), ([], True)]
)
def test_known_architectures_are_patterns_and_none_means_that_no_fit_tells(known: list[str], seen: bool) -> None:
    found = widened(machine(GPU, engine={"backends.cuda.spread.known": known}), SPREAD)
    assert (found.factor == pytest.approx(1.5)) == seen


def test_a_processor_is_known_by_its_decisive_instruction_set() -> None:
    assert machine(CPU).lineage == "avx2"
    assert widened(machine(CPU, engine={"backends.cpu.spread.known": ["avx2"]}), SPREAD).factor == pytest.approx(1.5)
    other = machine(CPU, engine={"backends.cpu.spread.known": ["avx512", "neon"]})
    assert "avx2" in widened(other, SPREAD).reasons[0]
    wide = machine(CPU, device={"cpu.isa": ["avx2", "avx512", "amx"]})
    assert wide.lineage == LINEAGES[0] == "amx"
    assert machine(CPU, device={"cpu.isa": ["mmx"]}).lineage == "scalar"


def test_a_figure_of_a_unit_that_is_not_used_does_not_widen() -> None:
    both = {
        "backends": ["cuda", "cpu"],
        "cpu": CPU["cpu"] | {"clusters": [{"cores": 4, "base": {"value": "2 GHz", "basis": "assumed"}}]},
    }
    assert widened(machine(GPU, device=both), SPREAD).factor == pytest.approx(1.5)


# -- on shipped devices -----------------------------------------------------------------------------------------------

SOME = ("rpi5", "rtx-3090", "m2-ultra-76", "i3-14100", "rx-7900-xtx", "tr-7995wx", "arc-a770")


@pytest.mark.parametrize("hardware", SOME)
def test_low_expected_high(hardware: str) -> None:
    found = predicted(hardware)
    for phase in (found.prefill, found.decode):
        assert phase
        assert 0 < phase.low_tok_s < phase.tok_s <= phase.high_tok_s
        assert phase.low_tok_s == pytest.approx(phase.tok_s / phase.band.factor)
        assert phase.high_tok_s <= phase.tok_s * phase.band.factor * (1 + 1e-12)
        assert phase.high_tok_s <= max(float(phase.ceiling_tok_s), float(phase.tok_s)) * (1 + 1e-12)


def test_light_limits_the_upper_end() -> None:
    """Somewhere in the catalog ×f lies beyond light, and is not promised."""
    limited = 0
    for hardware in SOME:
        decode = predicted(hardware).decode
        assert decode
        limited += bool(decode.high_tok_s < decode.tok_s * decode.band.factor * (1 - 1e-9))
    assert limited > 0


def test_a_band_of_arrays() -> None:
    decode = predicted("rtx-3090", depth=np.array([0.0, 1000.0, 8000.0])).decode
    assert decode
    low, middle, high = np.asarray(decode.low_tok_s), np.asarray(decode.tok_s), np.asarray(decode.high_tok_s)
    assert low.shape == middle.shape == high.shape == (3,)
    assert np.all(low < middle) and np.all(middle <= high)


def devices_with_variants() -> list[str]:
    names = sorted(catalog.files("hardware"))
    return [name for name in names if catalog.load_hardware(name).spec.memory.variants]


def test_saying_which_memory_narrows_the_band() -> None:
    """For every device that is sold with several: the default's own rate, said aloud, is taken at its word."""
    names = devices_with_variants()
    assert len(names) > 10
    for name in names:
        spec = catalog.load_hardware(name).spec
        rate = spec.memory.transfer_rate
        if rate is None:
            continue
        default, _ = api.load_machine(name, "llama.cpp", None, None, None)
        aloud = {"memory.transfer_rate": f"{rate.value / 1e6:g} MT/s"}
        said, _ = api.load_machine(name, "llama.cpp", None, None, aloud)
        wide, narrow = widened(default, SPREAD), widened(said, SPREAD)
        assert narrow.factor < wide.factor, name
        assert any("--set memory.transfer_rate" in reason for reason in wide.reasons), name
        assert not any("--set memory.transfer_rate" in reason for reason in narrow.reasons), name
        assert said.theoretical_bandwidth == pytest.approx(default.theoretical_bandwidth, rel=0.01), name


def test_saying_how_much_memory_there_is_does_not_narrow_it() -> None:
    """Gigabytes do not tell how fast they are."""
    default, _ = api.load_machine("i3-14100", "llama.cpp", None, None, None)
    sized, _ = api.load_machine("i3-14100", "llama.cpp", None, None, {"memory.capacity": "32 GB"})
    assert catalog.load_hardware("i3-14100").spec.memory.variants
    assert widened(sized, SPREAD).factor == pytest.approx(widened(default, SPREAD).factor)


def test_an_assumed_memory_widens_and_setting_it_narrows() -> None:
    """On a device of which nothing else is assumed; where the peaks are too, the rule counts once, and stays."""
    spec = catalog.load_hardware("eic7702x").spec
    assert "memory.transfer_rate" in spec.assumed() and spec.memory.transfer_rate
    rate = f"{spec.memory.transfer_rate.value / 1e6:g} MT/s"
    default, _ = api.load_machine("eic7702x", "llama.cpp", "cpu", None, None)
    said, _ = api.load_machine("eic7702x", "llama.cpp", "cpu", None, {"memory.transfer_rate": rate})
    wide, narrow = widened(default, SPREAD), widened(said, SPREAD)
    assert any("memory.transfer_rate" in reason for reason in wide.reasons)
    assert not any("memory.transfer_rate" in reason for reason in narrow.reasons)
    assert np.log(narrow.factor) == pytest.approx(np.log(wide.factor) - ASSUMED_FIGURE * np.log(1.5))


def test_every_device_has_a_band_with_reasons_in_words() -> None:
    reasons: set[str] = set()
    for name in sorted(catalog.files("hardware")):
        for backend in catalog.load_hardware(name).spec.backends:
            try:
                found, _ = api.load_machine(name, "llama.cpp", backend, None, None)
            except ValueError:  # a backend that llama.cpp has no constants for
                continue
            own = widened(found, SPREAD)
            assert (own.factor > 1.5 * (1 + 1e-9)) == bool(own.reasons), name
            reasons.update(own.reasons)
    assert all(reason.isprintable() and re.match(r"(no|the) ", reason) for reason in reasons)


def test_the_shipped_bands_are_calibrated_where_a_fit_made_them() -> None:
    backends = catalog.load_runtime("llama.cpp").spec.backends
    fitted = {name for name, engine in backends.items() if engine.spread.calibrated}
    assert {"cpu", "cuda", "metal", "vulkan"} <= fitted
    for name, engine in backends.items():
        for constant in (engine.spread.decode, engine.spread.prefill):
            assert constant.value > 1
            assert (constant.basis == "fitted") == (name in fitted)
        assert bool(engine.spread.known) == (name in fitted)


# -- what the user sees -----------------------------------------------------------------------------------------------


def test_predict_says_what_would_narrow_the_band(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["predict", "--hw", "i3-14100", "--model", "mistral7b", "--quant", "q4_0"])
    shown = capsys.readouterr().out
    assert stopped.value.code == 0
    assert "several memories" in " ".join(shown.split())
    assert "memory.transfer_rate" in shown


def test_a_machine_that_was_measured_has_a_band_of_its_own() -> None:
    local = {"local": {"Card": {"decode": 1.1, "prefill": 1.2}}}
    spread = {"decode": {"value": 1.5}, "prefill": {"value": 1.8}, "calibrated": True}
    engine = {"backends.cuda.spread": {**spread, **local}}
    measured = machine(GPU, engine=engine)
    assert (band(measured, "decode").factor, band(measured, "prefill").factor) == (1.1, 1.2)
    assert band(measured, "decode").local
    other = machine(GPU, device={"name": "Another card"}, engine=engine)
    assert (band(other, "decode").factor, band(other, "prefill").factor) == (1.5, 1.8)
    assert not band(other, "decode").local
