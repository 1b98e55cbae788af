"""Names to files: forgiving spellings, counts and sizes, the user's own directory first, and clear misses."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import roofline
from roofline import api, catalog
from roofline.prediction import Prediction
from roofline.report import record
from roofline.spec import SpecError
from tests.small import ROOT, fresh_catalog
from tests.test_spec import DEVICE


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of the user's, named by ROOFLINE_PATH."""
    for room in ("hardware", "models", "runtimes"):
        (tmp_path / room).mkdir()
    monkeypatch.setenv("ROOFLINE_PATH", str(tmp_path))
    with fresh_catalog():
        yield tmp_path


def same(one: Prediction, two: Prediction) -> bool:
    """Whether two predictions have the same numbers, whatever their names."""
    first, second = record(one), record(two)
    return all(first[key] == second[key] for key in ("prefill", "decode", "memory", "ttft_s", "tpot_s", "total_s"))


# -- spellings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("room", "spellings"),
    [
        ("models", ["mistral-7b", "mistral7b", "Mistral-7B", "MISTRAL_7B", "mistral 7b", "mistral.7b"]),
        ("hardware", ["rtx-4090", "RTX 4090", "rtx4090", "RTX_4090"]),
        ("hardware", ["rpi5", "RPi 5", "raspberry-pi-5", "Raspberry Pi 5", "pi5"]),
        ("hardware", ["2x-e5-2650v4", "2x e5-2650v4", "2X E5-2650V4"]),
        ("runtimes", ["llama.cpp", "llama-cpp", "LlamaCPP", "llama.cpp-current"]),
        ("runtimes", ["llamafile-0.8", "llamafile 0.8", "Llamafile-08"]),
    ],
)  # fmt: skip
def test_spellings_of_one_thing(room: catalog.Room, spellings: list[str]) -> None:
    assert {catalog.resolve(room, name)[0] for name in spellings} == {spellings[0]}


@pytest.mark.parametrize("room", ["hardware", "models", "runtimes"])
def test_every_id_is_its_file_and_no_two_ids_are_one_spelling(room: catalog.Room) -> None:
    known = catalog.files(room)
    assert len({catalog.normalise(name) for name in known}) == len(known)
    for name, path in known.items():
        assert path.stem == name
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name), "an id is typed without quotes"


def test_counts_by_the_issue_files() -> None:
    assert len(api.list_hardware()) == len((ROOT / "tests/data/hardware_ids.txt").read_text().split())
    assert len(api.list_models()) == len((ROOT / "tests/data/model_ids.txt").read_text().split())
    assert api.list_hardware() == sorted(api.list_hardware())


@pytest.mark.parametrize(
    ("hw", "model", "suggestion"),
    [
        ("rtx-4009", "mistral-7b", "rtx-4090"),
        ("rp5", "mistral-7b", "rpi5"),
        ("m2ultra76", "mistral-7", "mistral-7b"),
        ("rpi5", "tinylama", "tinyllama-1.1b"),
        ("rpi5", "llama3.1-8", "llama-3.1-8b"),
    ],
)
def test_did_you_mean(hw: str, model: str, suggestion: str) -> None:
    with pytest.raises(SpecError, match=rf"did you mean .*{re.escape(suggestion)}") as caught:
        roofline.predict(hw, model, "q4_0")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["zzzzzz", "", " ", "---", "\x1b[31m", "\u202e", "x" * 10_000])
def test_a_miss_without_a_neighbour_says_where_to_look(name: str) -> None:
    for load in (catalog.load_hardware, catalog.load_model, catalog.load_runtime):
        with pytest.raises(SpecError, match="`roofline list") as caught:
            load(name)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500


# -- counts and sizes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rtx-3090x2", "2x rtx-3090", "RTX 3090 x2"])
def test_several_of_one_card(name: str) -> None:
    entry, one = catalog.load_hardware(name), catalog.load_hardware("rtx-3090")
    assert entry.id == "rtx-3090x2"
    assert entry.path == one.path
    assert entry.spec.count == 2
    assert entry.spec.capacity() == 2 * (one.spec.capacity() or 0)
    assert entry.spec.memory_bandwidth == one.spec.memory_bandwidth, "each card reads its own memory"
    assert same(roofline.predict(name, "llama-2-70b", "q4_0"), roofline.predict("rtx-3090x2", "llama-2-70b", "q4_0"))


def test_one_of_a_card_is_the_card() -> None:
    assert catalog.load_hardware("rtx-3090x1").id == "rtx-3090"
    assert catalog.load_hardware("1x rtx-3090").spec == catalog.load_hardware("rtx-3090").spec


def test_a_count_of_processors_adds_sockets() -> None:
    # The file of two sockets and the count of the file of one are the same machine.
    counted, filed = catalog.load_hardware("e5-2650v4x2"), catalog.load_hardware("2x-e5-2650v4")
    assert counted.spec.cpu and filed.spec.cpu
    assert counted.spec.cpu.sockets == filed.spec.cpu.sockets == 2
    assert counted.spec.cpu.fast_cores == filed.spec.cpu.fast_cores == 24
    for model, quant in (("tinyllama-1.1b", "q8_0"), ("mistral-7b", "q4_k_m")):
        for threads in (None, 1, 12, 24, 48):
            one, two = (
                roofline.predict(name, model, quant, threads=threads) for name in ("e5-2650v4x2", "2x-e5-2650v4")
            )
            assert same(one, two)


@pytest.mark.parametrize(
    "name", ["rtx-3090x0", "0x rtx-3090", "rtx-3090x1000", "x2", "2x", "2x zzzzzz", "rtx-3090x-2", "rtx-3090x1.5"]
)
def test_a_count_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match=r"^--hw: expected"):
        catalog.load_hardware(name)


def test_a_pair_is_no_single_device() -> None:
    with pytest.raises(SpecError, match=r"^--hw: expected one device here, found the pair 'rtx-3090\+ryzen-7950x'"):
        catalog.load_hardware("rtx-3090+ryzen-7950x")


@pytest.mark.parametrize("name", ["rpi5-4gb", "rpi5 4GB", "raspberry-pi-5-4gb"])
def test_a_board_with_less_memory(name: str) -> None:
    entry = catalog.load_hardware(name)
    assert entry.spec.capacity() == 4 * 2**30
    assert entry.path == catalog.load_hardware("rpi5").path
    assert catalog.load_hardware("rpi5").spec.capacity() == 8 * 2**30
    assert roofline.predict(name, "mistral-7b", "q4_0").memory.fits is False
    assert roofline.predict("rpi5", "mistral-7b", "q4_0").memory.fits is True


def test_the_size_meant_by_default_can_be_named() -> None:
    assert catalog.load_hardware("rpi5-8gb").spec.capacity() == 8 * 2**30
    assert catalog.load_hardware("2x rpi5-4gb").spec.capacity() == 8 * 2**30


@pytest.mark.parametrize(
    ("name", "sold"), [("rpi5-3gb", "4 GB"), ("rtx-4090-48gb", "24 GB"), ("e5-2650v4-64gb", "none")]
)
def test_a_size_that_is_not_sold(name: str, sold: str) -> None:
    with pytest.raises(SpecError, match=rf"memory\.options: expected one of .*{sold}.*, found '\d+ GB'") as caught:
        catalog.load_hardware(name)
    assert "--set memory.capacity" in str(caught.value)


# -- the user's own files ---------------------------------------------------------------------------------------------


def test_an_own_file_is_found_and_named_in_the_result(own: Path) -> None:
    path = own / "hardware" / "deep" / "folder" / "my-box.toml"
    path.parent.mkdir(parents=True)
    path.write_text(DEVICE)
    result = roofline.predict("My Box", "tinyllama-1.1b", "q8_0")
    assert result.names["hardware"] == "my-box"
    assert record(result)["files"]["hardware"] == str(path)
    assert "my-box" in api.list_hardware()


def test_an_own_file_hides_the_shipped_one(own: Path) -> None:
    text = catalog.load_hardware("rpi5").path.read_text(encoding="utf-8")
    catalog.load_hardware.cache_clear()
    mine = own / "hardware" / "rpi5.toml"
    mine.write_text(text.replace("Raspberry Pi 5 (BCM2712)", "My Pi"))
    assert catalog.load_hardware("rpi5").path == mine
    assert catalog.load_hardware("rpi5-4gb").spec.name == "My Pi"
    assert len(api.list_hardware()) == len(set(api.list_hardware()))


def test_the_first_directory_wins_and_the_config_directory_follows(
    own: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    second, config = tmp_path_factory.mktemp("second"), tmp_path_factory.mktemp("config")
    monkeypatch.setenv("ROOFLINE_PATH", os.pathsep.join([str(own), str(second)]))
    monkeypatch.setattr(catalog, "user_directory", lambda: config)
    for folder, names in ((own, ["a"]), (second, ["a", "b"]), (config, ["a", "b", "c"])):
        (folder / "hardware").mkdir(exist_ok=True)
        for name in names:
            (folder / "hardware" / f"{name}.toml").write_text(DEVICE.replace("Box", f"{name} of {folder.name}"))
    found = {name: catalog.load_hardware(name).spec.name for name in "abc"}
    assert found == {"a": f"a of {own.name}", "b": f"b of {second.name}", "c": f"c of {config.name}"}


def test_own_models_and_runtimes(own: Path) -> None:
    (own / "models" / "my-llama.toml").write_text(
        (catalog.load_model("tinyllama-1.1b").path.read_text(encoding="utf-8")).replace("TinyLlama 1.1B", "Mine")
    )
    (own / "runtimes" / "my-engine.toml").write_text('extends = "llama.cpp"\nname = "mine"\nubatch = 64\n')
    result = roofline.predict("rpi5", "my-llama", "q8_0", runtime="My Engine")
    assert (result.model.name, result.machine.runtime.name, result.machine.runtime.ubatch) == ("Mine", "mine", 64)
    assert {record(result)["files"][key] for key in ("model", "runtime")} == {
        str(own / "models" / "my-llama.toml"),
        str(own / "runtimes" / "my-engine.toml"),
    }


def test_a_broken_own_file_does_not_break_the_others(own: Path) -> None:
    (own / "hardware" / "broken.toml").write_text("name = ")
    (own / "hardware" / "dangling.toml").symlink_to(own / "nowhere")
    (own / "hardware" / "folder.toml").mkdir()
    assert catalog.load_hardware("raspberry-pi-5").id == "rpi5", "a search through all aliases passes by"
    assert roofline.predict("rpi5", "mistral-7b", "q4_0").decode is not None
    with pytest.raises(SpecError, match=re.escape(f"{own / 'hardware' / 'broken.toml'}: expected TOML")):
        catalog.load_hardware("broken")
    with pytest.raises(SpecError, match="expected a readable TOML file, found: No such file"):
        catalog.load_hardware("dangling")


@pytest.mark.parametrize("value", ["/nonexistent", "", "::", "/dev/null", "~", "\n"])
def test_a_directory_that_is_not_there_is_passed_by(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOFLINE_PATH", value)
    with fresh_catalog():
        assert catalog.load_hardware("rpi5").path.is_relative_to(ROOT / "hardware")


@pytest.mark.parametrize("aliases", ["5", '"rpi9"', "[5]", "{ x = 1 }"])
def test_aliases_of_a_wrong_kind_are_no_names(aliases: str, own: Path) -> None:
    (own / "hardware" / "odd.toml").write_text(f"aliases = {aliases}\n{DEVICE}")
    with pytest.raises(SpecError, match=r"^--hw: expected a hardware id"):
        catalog.load_hardware("rpi9")


# -- files by path ----------------------------------------------------------------------------------------------------


def test_a_path_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "box.toml").write_text(DEVICE)
    by_path = catalog.load_hardware(str(tmp_path / "box.toml"))
    assert (by_path.id, by_path.spec.name) == ("box", "Box")
    monkeypatch.chdir(tmp_path)
    assert catalog.load_hardware("box.toml").spec == catalog.load_hardware("./box.toml").spec == by_path.spec
    assert catalog.load_hardware("2x box.toml").spec.cpu is not None


def test_a_path_with_a_count(tmp_path: Path) -> None:
    (tmp_path / "box.toml").write_text(DEVICE)
    entry = catalog.load_hardware(f"2x {tmp_path / 'box.toml'}")
    assert entry.spec.cpu is not None and entry.spec.cpu.sockets == 2


@pytest.mark.parametrize("load", [catalog.load_hardware, catalog.load_model, catalog.load_runtime])
def test_a_path_that_leads_nowhere_is_one_printable_line(load: Callable[[str], object], tmp_path: Path) -> None:
    for name in ("missing.toml", "a\x1b[31mb.toml", "a\nb.toml", "a\0b.toml", "."):
        with pytest.raises(SpecError, match="expected a readable TOML file") as caught:
            load(f"{tmp_path}/{name}")
        assert str(caught.value).isprintable()


# -- the Python interface ---------------------------------------------------------------------------------------------


def test_lists_and_predictions_have_the_words_of_the_command_line() -> None:
    assert set(roofline.__all__) == {"predict", "list_hardware", "list_models", "list_runtimes"}
    result = roofline.predict(
        hw="rpi5", model="mistral-7b", quant="q4_0", prompt=100, gen=10, depth=5, batch=2, kv="f16"
    )
    assert (result.workload.prompt, result.workload.gen, result.workload.depth, result.workload.batch) == (
        100,
        10,
        5,
        2,
    )
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = roofline.nothing


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": -1}, "--prompt: expected numbers from 0"),
        ({"gen": -1}, "--gen: expected numbers from 0"),
        ({"depth": float("nan")}, "--depth: expected numbers from 0"),
        ({"prompt": float("inf")}, "--prompt: expected numbers from 0"),
        ({"prompt": np.array([1.0, np.nan])}, "--prompt: expected numbers from 0"),
        ({"prompt": np.array([])}, "--prompt: expected"),
        ({"batch": 0}, "--batch: expected numbers from 1"),
        ({"batch": 0.5}, "--batch: expected numbers from 1"),
        ({"batch": 1e10}, "--batch: expected numbers from 1 to"),
        ({"prompt": 10**400}, "--prompt: expected numbers from 0 to"),
        ({"prompt": np.zeros(3), "gen": np.zeros(2)}, "expected"),
        ({"context": 0}, "--ctx: expected"),
        ({"context": -1}, "--ctx: expected"),
        ({"context": 639}, "--ctx: expected at least 640"),  # 512 + 128 tokens have to be cached
        ({"context": 10**400}, "--ctx: expected"),
        ({"ubatch": 0}, "--ubatch: expected"),
        ({"ubatch": -1}, "--ubatch: expected"),
        ({"ubatch": 10**400}, "--ubatch: expected"),
        ({"threads": 0}, "--threads: expected"),
        ({"kv": "q9"}, "expected"),
        ({"kv": ""}, "expected"),
        ({"kv": "f16,f16,f16"}, "--kv: expected one type, or two"),
        ({"kv": "q4_k"}, "expected"),
        ({"quant": "q9"}, "expected a quantisation"),
        ({"quant": ""}, "expected a quantisation"),
        ({"quant": None}, "--quant: expected a quantisation for mistral-7b, found none"),
        ({"backend": "cuda"}, "--backend: expected one that"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_bad_arguments_are_refused_in_one_line(arguments: dict[str, object], message: str) -> None:
    call: dict[str, object] = {"hw": "rpi5", "model": "mistral-7b", "quant": "q4_0", **arguments}
    with pytest.raises(SpecError, match=f"^{message}|: {message}") as caught:
        roofline.predict(**call)  # type: ignore[arg-type]
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
