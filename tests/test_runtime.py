"""Engines as data: every period and backend is there, rules match in order, and what is missing is said."""

import itertools
import re
from typing import Any

import pytest

from roofline import api, catalog
from roofline.machine import Machine, make_machine
from roofline.quantization import LAYOUTS, layout
from roofline.runtime import Constant, Kernel, Runtime, Use, matches, merge
from roofline.spec import SpecError, validate
from tests.small import RUNTIME, changed, runtime

IDS = [
    "llama.cpp-2023-11",
    "llama.cpp-2024-03",
    "llama.cpp-2024-06",
    "llama.cpp-2025",
    "llama.cpp",
    "llama.cpp-2026-10",
    "llamafile-0.6.2",
    "llamafile-0.7",
    "llamafile-0.8",
]
BACKENDS = {"cpu", "cuda", "metal", "vulkan", "rocm", "sycl", "opencl"}


def constants(thing: Any) -> list[Constant]:
    """Every Constant below a spec."""
    if isinstance(thing, Constant):
        return [thing]
    if isinstance(thing, dict):
        return [found for value in thing.values() for found in constants(value)]
    if isinstance(thing, tuple):
        return [found for value in thing for found in constants(value)]
    if hasattr(type(thing), "model_fields"):
        return [found for name in type(thing).model_fields for found in constants(getattr(thing, name))]
    return []


# -- the files --------------------------------------------------------------------------------------------------------


def test_every_period_is_there() -> None:
    assert set(IDS) <= set(catalog.files("runtimes"))


@pytest.mark.parametrize("name", sorted(catalog.files("runtimes")))
def test_a_file_loads_under_its_id_with_every_backend(name: str) -> None:
    entry = catalog.load_runtime(name)
    assert entry.id == name == entry.path.stem
    assert entry.spec.ubatch <= entry.spec.batch
    if name in IDS:
        assert set(entry.spec.backends) == BACKENDS
    for constant in constants(entry.spec):
        if constant.source:
            assert constant.source in entry.spec.sources
        elif constant.basis in ("measured", "fitted"):
            assert constant.note, "where was it measured?"


@pytest.mark.parametrize("name", IDS)
def test_constants_are_of_the_kind_that_their_names_say(name: str) -> None:
    for backend, engine in catalog.load_runtime(name).spec.backends.items():
        assert all(0 < share.value <= 1 for share in engine.memory.values()), backend
        assert engine.spread.decode.value > 1 and engine.spread.prefill.value > 1
        assert engine.sharpness.value >= 1, "below 1 an operator would take longer than its parts one after the other"
        for kernel in (*engine.kernels, *engine.attention):
            assert (kernel.efficiency is None) != (kernel.per_cycle is None), "a rate is stated once"
            assert kernel.per_cycle is None or backend == "cpu"
            assert kernel.efficiency is None or 0 < kernel.efficiency.value <= (1 if not kernel.of else 10)
            assert 0 < kernel.bandwidth.value <= 1
            assert kernel.sharpness is None or kernel.sharpness.value >= 1
        assert (engine.barrier is not None) == (backend == "cpu")
        assert bool(engine.launch) == (backend != "cpu")


@pytest.mark.parametrize("name", IDS)
def test_every_type_that_an_engine_reads_has_a_kernel_on_any_unit(name: str) -> None:
    spec = catalog.load_runtime(name).spec
    readable = [kind for kind in LAYOUTS if kind not in spec.lacks]
    bare = ((), "unknown")
    for (backend, engine), kind, few in itertools.product(spec.backends.items(), readable, (True, False)):
        for use in (Use(kind, few), Use(kind, few, routed=True)):
            assert any(rule.serves(use, layout(kind).family, *bare) for rule in engine.kernels), (backend, use)
    for (backend, engine), kind, few in itertools.product(spec.backends.items(), spec.kv_types, (True, False)):
        for use in (Use(kind, few, attention=True), Use(kind, few, attention=True, fused=True)):
            assert any(rule.serves(use, layout(kind).family, *bare) for rule in engine.attention), (backend, use)


@pytest.mark.parametrize("name", IDS)
def test_types_that_are_named_exist(name: str) -> None:
    spec = catalog.load_runtime(name).spec
    families = {one.family for one in LAYOUTS.values()}
    for kind in (*spec.lacks, *spec.kv_types):
        assert layout(kind).name == kind
    for engine in spec.backends.values():
        for kernel in (*engine.kernels, *engine.attention):
            for kind in kernel.types:
                assert kind in {"any", *families} or layout(kind).name == kind
    assert not set(spec.kv_types) & set(spec.lacks)


def test_later_periods_read_no_fewer_types() -> None:
    periods = [set(catalog.load_runtime(name).spec.lacks) for name in IDS[:5]]
    for earlier, later in itertools.pairwise(periods):
        assert later <= earlier
    # llama.cpp pull requests 4773 (iq2_xxs, January 2024), 6412 (bf16, May 2024), 15091 (mxfp4, August 2025).
    lacks = {name: set(catalog.load_runtime(name).spec.lacks) for name in IDS}
    assert "iq2_xxs" in lacks["llama.cpp-2023-11"] - lacks["llama.cpp-2024-03"]
    assert "bf16" in lacks["llama.cpp-2024-03"] - lacks["llama.cpp-2024-06"]
    assert "mxfp4" in lacks["llama.cpp-2024-06"] - lacks["llama.cpp"]
    assert not {"q4_0", "q8_0", "f16", "q4_k", "q6_k"} & {kind for kinds in lacks.values() for kind in kinds}


def test_no_two_runtimes_have_one_name() -> None:
    owners: dict[str, str] = {}
    for name in catalog.files("runtimes"):
        for spelling in (name, *catalog.load_runtime(name).spec.aliases):
            assert owners.setdefault(catalog.normalise(spelling), name) == name, spelling
            assert catalog.load_runtime(spelling).id == name


def test_flash_attention_became_the_default_on_gpus_in_2025() -> None:
    # llama.cpp pull request 15434 (August 2025) made it automatic; before it had to be asked for.
    assert catalog.load_runtime("llama.cpp").spec.engine("cuda").flash_attention
    assert not catalog.load_runtime("llama.cpp-2024-06").spec.engine("cuda").flash_attention
    assert not catalog.load_runtime("llama.cpp-2023-11").spec.engine("cpu").flash_attention


# -- what a newer engine is for ---------------------------------------------------------------------------------------


def speeds(hw: str, model: str, quant: str, name: str, backend: str) -> tuple[float, float]:
    result = api.predict(hw, model, quant, runtime=name, backend=backend)
    assert result.prefill and result.decode
    return float(result.prefill.tok_s), float(result.decode.tok_s)


def test_tinyblas_made_prompts_faster_on_cpus() -> None:
    # justine.lol/matmul: llamafile 0.7 against 0.6.2 for q8_0 and f16 prompts, generation about the same.
    for quant in ("q8_0", "f16"):
        old = speeds("i9-9900", "tinyllama-1.1b", quant, "llamafile-0.6.2", "cpu")
        new = speeds("i9-9900", "tinyllama-1.1b", quant, "llamafile-0.7", "cpu")
        assert new[0] > 1.3 * old[0]
        assert new[1] == pytest.approx(old[1], rel=0.1)


def test_k_quant_prompts_became_faster_in_llamafile_08() -> None:
    old = speeds("i9-9900", "mistral-7b", "q4_k_m", "llamafile-0.7", "cpu")
    new = speeds("i9-9900", "mistral-7b", "q4_k_m", "llamafile-0.8", "cpu")
    assert new[0] > 1.3 * old[0]
    assert new[1] == pytest.approx(old[1], rel=0.1)


@pytest.mark.parametrize(
    ("hw", "quant", "backend"),
    [
        ("rtx-4090", "q4_0", "cuda"),
        ("rtx-3090", "q4_k_m", "cuda"),
        ("m2-max-38", "q4_0", "metal"),
        ("ryzen-7950x", "q4_0", "cpu"),
    ],
)
def test_llama_cpp_has_not_become_slower(hw: str, quant: str, backend: str) -> None:
    periods = [speeds(hw, "llama-2-7b", quant, name, backend) for name in IDS[:5]]
    for (prefill, decode), (later_prefill, later_decode) in itertools.pairwise(periods):
        assert later_prefill >= 0.9 * prefill
        assert later_decode >= 0.9 * decode


# -- merging ----------------------------------------------------------------------------------------------------------


def test_extending_puts_rules_first_and_merges_tables() -> None:
    base: dict[str, Any] = {
        "name": "old",
        "lacks": ["a"],
        "aliases": ["x"],
        "sources": {"s": {"title": "S"}},
        "backends": {
            "cpu": {"few_columns": 1, "launch": {"value": 2.0, "note": "old"}, "kernels": [{"types": ["any"]}]}
        },
    }
    change: dict[str, Any] = {
        "name": "new",
        "lacks": [],
        "sources": {"t": {"title": "T"}},
        "backends": {"cpu": {"launch": {"value": 1.0}, "kernels": [{"types": ["k"]}]}, "cuda": {"few_columns": 8}},
    }
    merged = merge(base, change)
    assert merged["name"] == "new"
    assert merged["lacks"] == [], "a list of words is replaced"
    assert "aliases" not in merged, "another file's names do not pass on"
    assert merged["sources"] == {"s": {"title": "S"}, "t": {"title": "T"}}
    assert merged["backends"]["cpu"]["few_columns"] == 1
    assert merged["backends"]["cpu"]["kernels"] == [{"types": ["k"]}, {"types": ["any"]}], "the first match counts"
    assert merged["backends"]["cpu"]["launch"] == {"value": 1.0}, (
        "a constant is replaced whole: the old note was of 2.0"
    )
    assert merged["backends"]["cuda"] == {"few_columns": 8}
    assert base["backends"]["cpu"]["kernels"] == [{"types": ["any"]}], "the base is left alone"


def test_the_most_special_period_wins(tmp_path: Any) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "llama.cpp-2023-11"\nperiod = "mine"\nubatch = 64\n'
        '[[backends.cpu.kernels]]\ntypes = ["any"]\npath = "int8"\nper_cycle = { value = 0.5 }\n'
        "[backends.cuda.memory]\ngddr = { value = 0.1 }\n"
    )
    mine, base = catalog.load_runtime(str(path)).spec, catalog.load_runtime("llama.cpp-2023-11").spec
    assert (mine.name, mine.period, mine.ubatch, mine.aliases) == (base.name, "mine", 64, ())
    assert mine.lacks == base.lacks
    assert mine.engine("cpu").kernels[1:] == base.engine("cpu").kernels
    cpu = catalog.load_hardware("ryzen-7950x").spec
    found = make_machine(cpu, mine, "cpu", None).kernel(Use("q4_0", few=False))
    assert found.per_cycle is not None and found.per_cycle.value == 0.5
    assert mine.engine("cuda").memory["gddr"].value == 0.1
    assert mine.engine("cuda").memory["hbm"] == base.engine("cuda").memory["hbm"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("extends = 5\n", ["extends", "found 5"]),
        ('extends = "nothing-like-it"\n', ["--runtime", "nothing-like-it"]),
        ('extends = "llama.cpp"\ncolour = "red"\n', ["colour", "no such key"]),
        ('extends = "llama.cpp"\n[backends.cpu]\nsharpness = { value = -1.0 }\n', ["sharpness", "-1"]),
        ('extends = "llama.cpp"\n[backends.cpu]\nsharpness = { value = nan }\n', ["sharpness", "nan"]),
        ('extends = "llama.cpp"\n[backends.cpu.memory]\nboard = { value = inf }\n', ["memory.board", "inf"]),
        ('extends = "llama.cpp"\n[backends]\ncpu = 3\n', ["backends.cpu", "3"]),
        ('extends = "llama.cpp"\nkernels = []\n', ["kernels", "no such key"]),
        ('period = "1"\n', ["name", "expected a value, found none"]),
    ],
)
def test_a_bad_runtime_file_is_one_line(text: str, words: list[str], tmp_path: Any) -> None:
    path = tmp_path / "loop.toml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        catalog.load_runtime(str(path))
    assert str(caught.value).isprintable()
    for word in words:
        assert word in str(caught.value)


def test_a_circle_of_extensions_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "runtimes"
    folder.mkdir()
    (folder / "hen.toml").write_text('extends = "egg"\n')
    (folder / "egg.toml").write_text('extends = "hen"\n')
    monkeypatch.setenv("ROOFLINE_PATH", str(tmp_path))
    with pytest.raises(SpecError, match="extends: expected"):
        catalog.load_runtime("hen")


@pytest.mark.parametrize(
    "changes",
    [
        {"backends.cuda.sharpness": {"value": 0.0}},
        {"backends.cuda.memory": {}},
        {"backends.cuda.memory.gddr": {"value": 0.0}},
        {"backends.cuda.kernels.0.efficiency": {"value": 0.0}},
        {"backends.cuda.kernels.0.efficiency": {"value": 1.5}},
        {"backends.cuda.kernels.0.bandwidth": {"value": 0.0}},
    ],
    ids=str,
)
def test_constants_that_would_divide_by_zero_or_beat_light_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=r"^runtime\.toml: backends\.cuda\."):
        runtime(changes)


# -- rules ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patterns", "architecture", "expected"),
    [
        ((), "8.9", True),
        ((), "", True),
        (("8.9",), "8.9", True),
        (("8.*",), "8.9", True),
        (("8.*",), "18.9", False),
        (("gfx11*", "gfx12*"), "gfx1201", True),
        (("gfx11*",), "", False),
    ],
)
def test_architectures_match_patterns(patterns: tuple[str, ...], architecture: str, expected: bool) -> None:
    assert matches(patterns, architecture) is expected


def test_a_kernel_serves_a_type_a_family_or_any_where_the_unit_has_its_words() -> None:
    kernel = validate(
        Kernel,
        {
            "types": ["k", "q8_0"],
            "isa": ["avx2", "vnni"],
            "columns": "many",
            "path": "int8",
            "efficiency": {"value": 0.5},
        },
        "k",
    )
    isa = ("avx2", "vnni", "fma")
    assert kernel.serves(Use("q4_k", few=False), "k", isa, "")
    assert kernel.serves(Use("q8_0", few=False), "simple", isa, "")
    assert not kernel.serves(Use("q4_0", few=False), "simple", isa, "")
    assert not kernel.serves(Use("q4_k", few=True), "k", isa, "")
    assert not kernel.serves(Use("q4_k", few=False), "k", ("avx2",), "")


def test_a_backend_that_is_missing_is_said() -> None:
    with pytest.raises(SpecError, match=r"--backend: expected one that engine has \(cuda, cpu\), found 'npu'"):
        runtime().engine("npu")


@pytest.mark.parametrize("field", ["name", "period", "batch", "ubatch", "context_padding", "kv_types", "backends"])
def test_nothing_has_a_silent_default(field: str) -> None:
    with pytest.raises(SpecError, match=rf"^runtime\.toml: {field}: expected a value, found none$"):
        validate(Runtime, changed(RUNTIME, {field: None}), "runtime.toml")


def test_a_type_that_the_engine_lacks_is_refused() -> None:
    with pytest.raises(SpecError, match=r"^--quant: expected weight types that llama\.cpp 2023 can read, found 'iq"):
        api.predict("rtx-4090", "llama-2-7b", "iq2_xxs", runtime="llama.cpp-2023-11")
    with pytest.raises(SpecError, match=r"^--quant: .*found 'mxfp4'"):
        api.predict("rtx-4090", "gpt-oss-20b", "mxfp4", runtime="llama.cpp-2024-06")
    with pytest.raises(SpecError, match=r"^--kv: expected one of f32, f16 for llama\.cpp, found 'q8_0'"):
        api.predict("rtx-4090", "llama-2-7b", "q4_0", runtime="llama.cpp-2023-11", kv="q8_0", flash_attention=True)


# -- every device -----------------------------------------------------------------------------------------------------

#: Devices without a figure that a backend needs, and what is said about them.
INCOMPLETE = {
    ("dgx-spark", "cpu"): r"NVIDIA DGX Spark \(GB10\): peak: expected one of .* found none",
    ("m5-ultra", "metal"): r"Apple M5 Ultra: peak\.fp16: expected a figure for .* found none",
}


@pytest.mark.parametrize("quant", ["q8_0", "q4_k_m", "f16"])
def test_every_device_predicts_on_each_of_its_backends(quant: str) -> None:
    refused = {}
    for name in api.list_hardware():
        device = catalog.load_hardware(name).spec
        for backend in device.backends:
            try:
                result = api.predict(name, "tinyllama-1.1b", quant, backend=backend)
            except SpecError as error:
                refused[name, backend] = str(error)
                continue
            assert result.machine.backend == backend
            for phase in (result.prefill, result.decode):
                assert phase is not None
                assert 0 < phase.low_tok_s <= phase.tok_s <= phase.high_tok_s <= phase.ceiling_tok_s * (1 + 1e-12)
    assert set(refused) <= set(INCOMPLETE), {key: refused[key] for key in set(refused) - set(INCOMPLETE)}
    for key, message in refused.items():
        assert re.search(INCOMPLETE[key], message)


@pytest.mark.parametrize("name", IDS[:4] + IDS[5:])
def test_every_period_predicts_on_one_device_of_each_backend(name: str) -> None:
    units = [
        ("rpi4", "cpu"),
        ("rpi5", "cpu"),
        ("tr-7995wx", "cpu"),
        ("xeon-8480", "cpu"),
        ("m2-ultra-76", "cpu"),
        ("m2-ultra-76", "metal"),
        ("rtx-4090", "cuda"),
        ("p40", "cuda"),
        ("v100-pcie-32", "cuda"),
        ("rtx-4090", "vulkan"),
        ("rx-7900-xtx", "rocm"),
        ("rx-7900-xtx", "vulkan"),
        ("arc-a770", "sycl"),
    ]
    for (hw, backend), quant in itertools.product(units, ("q4_0", "q8_0", "q4_k_m", "f16")):
        result = api.predict(hw, "tinyllama-1.1b", quant, runtime=name, backend=backend)
        assert isinstance(result.machine, Machine)
        assert result.decode is not None and 0 < result.decode.tok_s <= result.decode.ceiling_tok_s
