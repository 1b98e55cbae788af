"""Graphics processors that were measured here: their files, what is predicted with them, and where runs are filed."""

import csv
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from roofline import api, catalog
from roofline.bench import devices
from roofline.bench.devices import hardware_id
from roofline.engine.record import own
from roofline.hardware import Hardware
from roofline.measure import command, hostfile
from roofline.measure.accelerator import AcceleratorRoof, AcceleratorRoofs, Device
from roofline.measure.gpufile import Card, cards, gpu_tables, own_cards
from roofline.measure.identity import Identity, identify
from roofline.measure.match import Match, match
from roofline.measure.matmul import Unmeasured
from roofline.measure.seen import GpuSeen
from roofline.measure.timing import Samples
from roofline.spec import SpecError, read_toml, validate
from tests.fake_llama import DECODE, HELP, PREFILL, lines_of, program
from tests.machines import captured
from tests.running import Run, runner
from tests.small import fresh_catalog
from tests.test_host_file import made

DAY = date(2026, 5, 1)
GIB = 2.0**30
H100 = "NVIDIA H100 80GB HBM3"  # what the driver calls the SXM board
H100S = "none__two-of-eight-h100"
STRANGE = "NVIDIA Nobody 9990"


def measured(name: str = H100, memory: float = 79.1 * GIB, backend: str = "cuda") -> AcceleratorRoofs:
    """A device in round numbers: copies move 3.00 TB/s, 3.06 at best; int8 did not run."""
    return AcceleratorRoofs(
        name, backend, 0, "torch 9.9", memory,
        (
            AcceleratorRoof("copy", "", Samples((2.94e12, 3.00e12, 3.06e12)), 4 * GIB),
            AcceleratorRoof("host to device", "", Samples((50e9,)), GIB / 4),
            AcceleratorRoof("matmul", "fp16", Samples((600e12, 700e12, 750e12)), 8192),
            AcceleratorRoof("matmul", "bf16", Samples((600e12, 700e12, 750e12)), 8192),
            AcceleratorRoof("matmul", "fp32", Samples((50e12,)), 4096),
        ),
        (Unmeasured("matmul int8", "no kernel for this device"),),
        "9.0",
    )  # fmt: skip


def card_of(*accelerators: AcceleratorRoofs, identity: Identity | None = None) -> Card:
    seen = identity or identify(captured(H100S))
    return cards(seen, match(seen), accelerators)[0]


def stranger(memory: float = 30 * GIB) -> Card:
    name = STRANGE
    seen = Identity(system="linux", gpus=(GpuSeen(name, int(memory), clock=2e9),))
    return card_of(measured(name, memory), identity=seen)


def spec_of(card: Card) -> Hardware:
    return validate(Hardware, gpu_tables(card, made(2), DAY), "made")


def write(card: Card, folder: Path, name: str = "host-gpu") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(hostfile.to_toml(gpu_tables(card, made(2), DAY), DAY), encoding="utf-8")
    return path


@contextmanager
def anew() -> Iterator[None]:
    """As in a new process, which has not seen the names of the files either."""
    with fresh_catalog():
        for remembered in (devices._match, devices._devices):
            remembered.cache_clear()
        yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with anew():
        yield tmp_path / "config" / "roofline" / "hardware"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], home: Path) -> Run:
    return runner(capsys)


# -- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("card", [card_of(measured()), stranger()], ids=["in the catalog", "in no catalog"])
def test_the_text_is_read_back_as_the_tables_and_every_figure_has_its_source(card: Card, tmp_path: Path) -> None:
    spec, path = spec_of(card), write(card, tmp_path)
    assert validate(Hardware, read_toml(path), path) == spec
    for place, figure in spec.figures().items():
        assert figure.basis in ("measured", "derived"), place
        assert figure.source in spec.sources, place
    assert all(source.retrieved == DAY.isoformat() for source in spec.sources.values())


def test_a_known_card_keeps_the_ceilings_of_its_datasheet() -> None:
    spec, known = spec_of(card_of(measured())), catalog.load_hardware("h100-sxm").spec
    assert (spec.kind, spec.backends, spec.vendor) == ("gpu", ("cuda", "vulkan"), "NVIDIA")
    assert spec.memory.theoretical_bandwidth == known.memory.theoretical_bandwidth
    assert spec.peaks("cuda") == known.peaks("cuda")
    assert spec.memory_class == known.memory_class == "hbm"
    assert spec.gpu is not None and known.gpu is not None
    assert spec.gpu.architecture == known.gpu.architecture == "9.0"
    for place in ("memory.bandwidth", "gpu.peak.fp16", "gpu.l2", "link.nvlink"):
        assert (spec.figures()[place].basis, spec.figures()[place].source) == ("derived", "same card")
    assert spec.sources["same card"].title.endswith("hardware/nvidia/datacenter/h100-sxm.toml")
    assert spec.figures()["gpu.peak.int8"].note == known.figures()["gpu.peak.int8"].note


def test_what_was_measured_is_the_median_with_its_spread() -> None:
    spec = spec_of(card_of(measured()))
    copy = spec.memory.sustained["gpu copy"]
    assert copy.value == pytest.approx(3.00e12)
    assert copy.basis == "measured"
    # 2.94, 3.00 and 3.06: the 10th and the 90th percentile are 2.952 and 3.048, 3.2 % of the median apart.
    assert copy.note == (
        "torch: median copy of 4.00 GiB inside the device, bytes read and written, 3 runs, spread 3% "
        "(10th to 90th percentile)"
    )
    assert spec.gpu is not None
    assert {name: figure.value for name, figure in spec.gpu.measured.items()} == {
        "fp16": pytest.approx(700e12), "bf16": pytest.approx(700e12), "fp32": pytest.approx(50e12),
    }  # fmt: skip
    assert spec.memory.capacity is not None
    assert spec.memory.capacity.value == pytest.approx(79.1 * GIB, rel=1e-3)
    texts = [note.text for note in spec.notes]
    assert "measured with driver 565.57.01, torch 9.9" in texts
    assert "link, medians with pinned memory: host to device 50.0 GB/s" in texts


def test_hbm_is_predicted_as_the_catalog_s_card_since_a_copy_tells_nothing_of_kernels(tmp_path: Path) -> None:
    path = write(card_of(measured()), tmp_path)
    here, sold = (api.predict(name, "llama-3.1-8b", "q4_0") for name in (str(path), "h100-sxm"))
    assert here.decode is not None and sold.decode is not None
    assert float(here.decode.ceiling_tok_s) == pytest.approx(float(sold.decode.ceiling_tok_s))
    assert float(here.decode.tok_s) == pytest.approx(float(sold.decode.tok_s))


def test_gddr_is_read_as_fast_as_it_is_copied_under_the_datasheet_s_speed_of_light(tmp_path: Path) -> None:
    name = "NVIDIA GeForce RTX 4090"
    seen = Identity(system="linux", gpus=(GpuSeen(name, int(23.6 * GIB)),))
    speeds = {}
    for rate in (0.90e12, 0.45e12):
        copy = replace(measured().roofs[0], samples=Samples((rate,)))
        card = card_of(replace(measured(name, 23.6 * GIB), roofs=(copy,)), identity=seen)
        prediction = api.predict(str(write(card, tmp_path, f"copies-{rate:.0f}")), "llama-3.1-8b", "q4_0")
        assert prediction.decode is not None
        share = prediction.machine.bandwidth_share
        assert share.basis == "measured"
        assert share.value == pytest.approx(rate / 1.008e12)
        speeds[rate] = (float(prediction.decode.tok_s), float(prediction.decode.ceiling_tok_s))
    (fast, light), (slow, same_light) = speeds.values()
    sold = api.predict("rtx-4090", "llama-3.1-8b", "q4_0").decode
    assert sold is not None
    assert light == same_light == pytest.approx(float(sold.ceiling_tok_s))
    assert slow < fast < light


def test_a_card_that_no_catalog_has_rests_on_what_was_measured(tmp_path: Path) -> None:
    card = stranger()
    assert card.known is None
    spec = spec_of(card)
    assert (spec.vendor, spec.backends, spec.aliases) == ("NVIDIA", ("cuda",), (STRANGE,))
    assert spec.memory.theoretical_bandwidth == pytest.approx(3.06e12)  # the best
    assert spec.memory.sustained["gpu"].value == pytest.approx(3.00e12)  # the median
    assert spec.peaks("cuda") == {"fp16": 750e12, "bf16": 750e12, "fp32": 50e12}
    assert spec.gpu is not None
    assert spec.gpu.architecture == "9.0"
    assert spec.memory.type == "unknown"
    prediction = api.predict(str(write(card, tmp_path)), "llama-3.1-8b", "f16")
    assert prediction.decode is not None
    # 14 to 16 GB of weights are read at 3.06 TB/s at most 219 times a second.
    assert 20 < float(prediction.decode.tok_s) < float(prediction.decode.ceiling_tok_s) < 219


def test_without_a_copy_a_strange_card_has_no_file_and_a_known_one_the_class_s_share() -> None:
    seen = Identity(system="linux", gpus=(GpuSeen(STRANGE),))
    with pytest.raises(SpecError, match=f"host-gpu: expected a measured copy, found none.* no {STRANGE}"):
        gpu_tables(card_of(replace(measured(STRANGE), roofs=()), identity=seen), made(2), DAY)
    spec = spec_of(card_of(replace(measured(), roofs=())))
    assert spec.memory.sustained == {}
    assert spec.gpu is not None
    assert spec.gpu.measured == {}


def test_what_nothing_confirms_in_the_catalog_stays_unconfirmed() -> None:
    known = catalog.load_hardware("h100-sxm")
    assert known.spec.memory.bandwidth is not None
    doubtful = known.spec.memory.bandwidth.model_copy(update={"basis": "assumed"})
    memory = known.spec.memory.model_copy(update={"bandwidth": doubtful})
    card = replace(card_of(measured()), known=replace(known, spec=known.spec.model_copy(update={"memory": memory})))
    assert "memory.bandwidth" in spec_of(card).assumed()


# -- which card it is --------------------------------------------------------------------------------------------------


def test_equal_cards_are_one_and_unequal_ones_have_numbers() -> None:
    seen = identify(captured(H100S))
    (both,) = cards(seen, match(seen), (measured(), measured()))
    assert (both.id, both.count) == ("host-gpu", 2)
    assert "this machine has 2 of it: --hw 2xhost-gpu" in [note.text for note in spec_of(both).notes]
    two = cards(seen, match(seen), (measured(), measured(STRANGE)))
    assert [(card.id, card.count, card.known and card.known.id) for card in two] == [
        ("host-gpu-1", 1, "h100-sxm"),
        ("host-gpu-2", 1, None),
    ]


def test_half_a_card_is_not_the_card() -> None:
    assert card_of(measured()).known is not None
    # A slice of a divided card has the name of the whole and a part of its memory.
    part = replace(measured(), name=f"{H100} MIG 1g.10gb", memory=9.5 * GIB)
    assert card_of(part).known is None


def test_what_the_catalog_knows_of_kernels_is_kept_where_a_copy_does_not_tell_it() -> None:
    known = catalog.load_hardware("m1-max-32")
    read = known.spec.memory.sustained["gpu"]
    spec = spec_of(replace(card_of(measured(backend="mps")), known=known))
    assert spec.memory.sustained["gpu"].value == read.value
    assert spec.memory.sustained["gpu"].basis == "derived"
    assert spec.memory.sustained["gpu copy"].value == pytest.approx(3.00e12)


def test_apple_s_graphics_are_matched_by_the_chip() -> None:
    seen = identify(captured("m2-ultra-76__mac-studio"))
    found = match(seen)
    (card,) = cards(seen, found, (AcceleratorRoofs("mps device", "mps", 0, "torch 9.9", None, measured().roofs, ()),))
    assert (card.backend, card.known and card.known.id) == ("metal", found.id)
    spec = spec_of(card)
    assert (spec.backends[0], spec.memory_class) == ("metal", "apple")
    assert "cpu" not in spec.backends
    assert spec.memory.capacity is not None
    assert spec.memory.capacity.value == seen.memory_bytes
    assert "gpu copy" in spec.memory.sustained


def test_the_catalog_s_card_is_still_the_one_that_logs_name(home: Path) -> None:
    write(card_of(measured()), home)
    with anew():
        assert hardware_id(H100) == "h100-sxm"
        assert card_of(measured()).known is not None  # and a second measurement finds it again
        assert own_cards() == {H100: "host-gpu"}
    write(stranger(), home)
    with anew():
        assert hardware_id(STRANGE) == "host-gpu"
        assert stranger().known is None  # its own file tells nothing new


def test_a_damaged_file_of_a_card_does_not_cost_a_run(home: Path) -> None:
    write(card_of(measured()), home).write_text("name = 1", encoding="utf-8")
    with fresh_catalog():
        assert own_cards() == {}


def test_what_torch_says_of_the_architecture_is_in_the_catalog_s_words() -> None:
    def device(hip: str | None, **properties: object) -> Device:
        cuda = SimpleNamespace(get_device_properties=lambda _: SimpleNamespace(**properties))
        return Device(SimpleNamespace(cuda=cuda, version=SimpleNamespace(hip=hip)), "cuda")

    assert device(None, major=8, minor=6).architecture == "8.6"
    assert device("7.0", gcnArchName="gfx90a:sramecc+:xnack-", major=9, minor=0).architecture == "gfx90a"
    assert device(None).architecture == ""
    assert Device(SimpleNamespace(), "mps").architecture == ""


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.fixture
def measure(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    roofs = replace(made(2), accelerators=(measured(), measured()))
    seen = replace(identify(captured("none__vm-emerald-rapids-2-cores")), gpus=identify(captured(H100S)).gpus)
    monkeypatch.setattr(command, "measure_roofs", lambda *_: roofs)
    monkeypatch.setattr(command, "identify", lambda _: seen)
    return lambda *words: run("measure", *words)


def test_measure_writes_the_card_beside_the_host(measure: Run, run: Run, home: Path) -> None:
    outcome = measure()
    assert outcome.code == 0, outcome.err
    assert f"wrote {home / 'host.toml'}" in outcome.err
    assert f"wrote {home / 'host-gpu.toml'}" in outcome.err
    assert "fp32 product, 4096 × 4096" in outcome.out
    assert "89.6% of 3.35 TB/s" in outcome.out  # 3.00 of 3.35
    assert "host-gpu, matmul int8: no kernel for this device" in outcome.out
    with fresh_catalog():
        predicted = run("predict", "--hw", "host-gpu", "--model", "llama-3.1-8b", "--quant", "q4_k_m")
        assert predicted.code == 0, predicted.err
        assert H100 in predicted.out
        assert measure().code == 0  # its own files it may write again


def test_the_card_s_file_is_named_after_the_host_s_and_another_s_is_left_alone(measure: Run, tmp_path: Path) -> None:
    target, beside = tmp_path / "box.toml", tmp_path / "box-gpu.toml"
    beside.write_text("# mine\n", encoding="utf-8")
    outcome = measure("--out", str(target))
    assert outcome.code == 1
    assert f"{beside}: expected no file or one that `roofline measure` wrote" in outcome.err
    assert beside.read_text(encoding="utf-8") == "# mine\n"
    assert not target.exists()
    assert measure("--out", str(target), "--force").code == 0
    assert beside.read_text(encoding="utf-8").startswith(hostfile.WRITTEN_BY)


def test_a_card_in_json_and_csv(measure: Run) -> None:
    answer = json.loads(measure("--format", "json").out)
    (card,) = answer["gpus"]
    assert (card["id"], card["name"], card["count"], card["in_the_catalog"]) == ("host-gpu", H100, 2, "h100-sxm")
    assert card["driver"] == "565.57.01"
    copy, link, half, *_ = card["roofs"]
    assert (copy["what"], copy["unit"], copy["median"], copy["datasheet"]) == ("copy", "B/s", 3.00e12, 3.35e12)
    assert copy["share_of_datasheet"] == pytest.approx(3.00 / 3.35)
    assert (link["share_of_datasheet"], half["dtype"]) == (None, "fp16")
    # torch adds fp16 products up in fp32: that is the figure to hold them against.
    assert half["share_of_datasheet"] == pytest.approx(700 / 989.4)
    assert {"what": "host-gpu, matmul int8", "reason": "no kernel for this device"} in answer["not_measured"]
    rows = list(csv.DictReader(io.StringIO(measure("--format", "csv").out)))
    assert {row["hardware"] for row in rows} == {"host", "host-gpu"}


def test_a_card_that_cannot_be_filed_is_told(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = replace(
        identify(captured("none__vm-emerald-rapids-2-cores")), gpus=(GpuSeen(STRANGE), GpuSeen("AMD Nobody"))
    )
    roofs = replace(made(2), accelerators=(replace(measured(STRANGE), roofs=()),))
    monkeypatch.setattr(command, "measure_roofs", lambda *_: roofs)
    monkeypatch.setattr(command, "identify", lambda _: seen)
    outcome = run("measure")
    assert outcome.code == 0, outcome.err
    assert "expected a measured copy, found none" in outcome.out
    assert "AMD Nobody: torch does not list it" in outcome.out
    assert not (home / "host-gpu.toml").exists()


# -- runs on a card ----------------------------------------------------------------------------------------------------

ON_GPU = {"gpu_info": H100, "backends": "CUDA", "cpu_info": "Intel(R) Xeon(R) Processor"}
WITH_DEVICES = HELP + "  --list-devices\n"
LISTED = "if '--list-devices' in arguments:\n    print('Available devices:')\n"
posix = pytest.mark.skipif(os.name != "posix", reason="the stand-ins are scripts with a first line")


def bench(run: Run, folder: Path, *words: str) -> tuple[int, str, list[tuple[str, int, str]]]:
    """(exit code, error, (hardware, count, backend) of what was recorded)."""
    with anew():
        outcome = run(
            "bench", "--model", "smollm2-135m", "--quant", "q4_0", "--synthetic", "--llama-bench", str(folder), *words
        )
    with fresh_catalog():
        return outcome.code, outcome.err, [(row.hardware, row.count, row.backend) for row in own().observations]


def benches(folder: Path, listed: tuple[str, ...] = (), **changes: str) -> None:
    """A stand-in for llama-bench that ran on a card, and lists devices where there are any."""
    records = [{**record, **ON_GPU, **changes} for record in (PREFILL, DECODE)]
    lines = "".join(
        f"    print('  CUDA{number}: {name} (81079 MiB, 80500 MiB free)')\n" for number, name in enumerate(listed)
    )
    body = f"sys.stdout.write({lines_of(*records)!r})"
    text = f"{LISTED}{lines}else:\n    {body}" if listed else body
    program(folder, text, help_text=WITH_DEVICES if listed else HELP)


def write_host(home: Path) -> None:
    seen = identify(captured("none__vm-emerald-rapids-2-cores"))
    home.mkdir(parents=True, exist_ok=True)
    text = hostfile.to_toml(hostfile.host_tables(seen, match(seen), made(2), DAY), DAY)
    (home / "host.toml").write_text(text, encoding="utf-8")


@posix
def test_a_run_on_a_measured_card_is_the_card_s(run: Run, home: Path, tmp_path: Path) -> None:
    write_host(home)
    benches(tmp_path)
    assert bench(run, tmp_path)[2] == [("h100-sxm", 1, "cuda")] * 2  # nobody measured the card here
    write(card_of(measured()), home)
    assert bench(run, tmp_path)[2][2:] == [("host-gpu", 1, "cuda")] * 2
    benches(tmp_path, gpu_info=f"{H100}, {H100}")
    assert bench(run, tmp_path)[2][4:] == [("host-gpu", 2, "cuda")] * 2
    assert bench(run, tmp_path, "--hw", "h100-sxm")[2][6:] == [("h100-sxm", 2, "cuda")] * 2  # as it was named
    outcome = run("check", "host-gpu")
    assert outcome.code == 0, outcome.err
    benches(tmp_path, gpu_info="", backends="CPU")
    assert bench(run, tmp_path)[2][8:] == [("host", 1, "cpu")] * 2


@posix
def test_a_run_on_a_card_that_no_catalog_has_is_the_card_s(run: Run, home: Path, tmp_path: Path) -> None:
    write_host(home)
    write(stranger(), home)
    benches(tmp_path, gpu_info=STRANGE)
    assert bench(run, tmp_path)[2] == [("host-gpu", 1, "cuda")] * 2


@posix
def test_listed_cards_say_what_a_machine_without_a_name_is(
    run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roofline.engine.benchmark.match", lambda _: Match(None, "nobody knows it"))
    benches(tmp_path)
    code, error, _ = bench(run, tmp_path)
    assert code == 1
    assert "nobody knows it" in error
    benches(tmp_path, (H100,))
    assert bench(run, tmp_path)[2] == [("h100-sxm", 1, "cuda")] * 2


@posix
@pytest.mark.parametrize(
    ("listed", "rows"),
    [
        ((H100,), [("host-gpu", 1, "cuda")] * 2),
        ((H100, H100), [("host-gpu", 2, "cuda")] * 2),
        (("NVIDIA GeForce RTX 4090",), [("rtx-4090", 1, "cuda")] * 2),
    ],
)
def test_the_batched_program_is_asked_for_its_devices(
    run: Run, home: Path, tmp_path: Path, listed: tuple[str, ...], rows: list[tuple[str, int, str]]
) -> None:
    """It prints speeds and no device: what the weights lay on would be taken for the processor."""
    write_host(home)
    write(card_of(measured()), home)
    record: dict[str, object] = {
        "pp": 128,
        "tg": 32,
        "pl": 4,
        "speed_pp": 9000.0,
        "speed_tg": 900.0,
        "n_gpu_layers": -1,
        "n_ubatch": 512,
    }
    lines = "".join(f"    print('  CUDA{at}: {name} (9 MiB, 9 MiB free)')\n" for at, name in enumerate(listed))
    body = f"{LISTED}{lines}else:\n    sys.stdout.write({lines_of(record)!r})"
    help_text = WITH_DEVICES.replace("-o, --output <csv|json|jsonl|md|sql>", "--output-format <md|jsonl>")
    program(tmp_path, body, "llama-batched-bench", help_text)
    code, error, found = bench(run, tmp_path, "--batch", "4", "--prompt", "128", "--gen", "32")
    assert code == 0, error
    assert found == rows
    # With no layer on a device it is the processor that runs.
    assert bench(run, tmp_path, "--batch", "4", "--gpu-layers", "0")[2][2:] == [("host", 1, "cpu")] * 2
