"""Which part of the catalog a machine is: by board, by name, by cores; shares of a part; cards; and why not."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline import catalog, units
from roofline.measure.identity import Identity, identify
from roofline.measure.match import Match, match, why_not
from roofline.measure.seen import Cluster, GpuSeen
from roofline.spec import SpecError
from tests.machines import MACHINES, captured, expected

ZEN4 = ("avx512", "avx512_vnni", "avx512_bf16", "avx2", "fma", "avx", "sse4")
DESKTOP = Identity(
    system="linux",
    processor="AMD Ryzen 9 7950X 16-Core Processor",
    vendor="AMD",
    microarchitecture="zen4",
    isa=ZEN4,
    clusters=(Cluster("P", 16, "zen4"),),
    sockets=1,
    threads=32,
    threads_per_core=2,
)
ARM = ("neon", "dotprod", "fp16")


@pytest.mark.parametrize("name", MACHINES)
def test_captured_machines(name: str) -> None:
    want, found = expected(name), match(identify(captured(name)))
    assert found.id == want.get("id"), found.why
    assert found.count == want.get("count", 1)
    assert found.part_of == want.get("part_of")
    assert [list(card) for card in found.gpus] == want.get("gpus", [])
    assert found.why
    assert found.why.isprintable()
    # The folder's name says what is expected, so that a listing reads as a table.
    assert (found.name or "none") == name.split("__")[0]
    if found.name is not None:
        assert catalog.load_hardware(found.name).id == found.name


@pytest.mark.parametrize(
    ("name", "hardware", "lines"),
    [(name, hardware, lines) for name in MACHINES for hardware, lines in expected(name).get("why_not", {}).items()],
)
def test_why_not(name: str, hardware: str, lines: list[str]) -> None:
    assert why_not(identify(captured(name)), hardware) == lines


@pytest.mark.parametrize("name", [name for name in MACHINES if expected(name).get("id")])
def test_a_machine_has_the_cores_of_its_match(name: str) -> None:
    """The catalog's cores, stated by the makers, against those that the kernel counts."""
    seen = identify(captured(name))
    found = match(seen)
    assert found.name is not None
    spec = catalog.load_hardware(found.name).spec
    assert spec.cpu is not None
    assert spec.cpu.cores == seen.cores
    assert not any("cores" in line for line in why_not(seen, found.name))


def test_a_board_beats_its_cores() -> None:
    """Four Cortex-A76 are in more than one board; the board's name says which it is."""
    cores = replace(DESKTOP, processor="", vendor="Arm", microarchitecture="cortex-a76", isa=ARM, threads=4)
    cores = replace(cores, clusters=(Cluster("P", 4, "cortex-a76"),), threads_per_core=1)
    assert match(cores).id is None
    assert "rpi5" in match(cores).candidates
    assert match(replace(cores, board="Raspberry Pi 5 Model B Rev 1.0")).id == "rpi5"
    # A computer with the same chip and a board that the catalog does not know.
    chip = ("example,board", "brcm,bcm2712")
    assert match(replace(cores, board="Example Board", compatible=chip)).id == "rpi5"
    # A PC's board names no processor, whatever its name has in common with one.
    pc = replace(DESKTOP, board="Dell Inc. XPS 13 9310")
    assert match(pc).id == "ryzen-7950x"


def test_siblings_of_one_name_are_told_apart_by_graphics_cores() -> None:
    mac = Identity(system="darwin", processor="Apple M1 Max", vendor="Apple", threads=10, sockets=1)
    mac = replace(mac, clusters=(Cluster("P", 8, "firestorm"), Cluster("E", 2, "icestorm")))
    assert match(mac).id is None  # 24 and 32 graphics cores have the same processor cores
    assert match(mac).candidates == ("m1-max-24", "m1-max-32")
    for cores in (24, 32):
        gpu = GpuSeen("Apple M1 Max", cores=cores, backend="metal")
        assert match(replace(mac, gpus=(gpu,))).id == f"m1-max-{cores}"


def test_a_part_without_graphics_is_the_same_processor() -> None:
    """Intel's F says that the graphics are switched off, and nothing else."""
    hybrid = replace(DESKTOP, processor="Intel(R) Core(TM) i9-14900KF", vendor="Intel", microarchitecture="raptor-cove")
    hybrid = replace(hybrid, clusters=(Cluster("P", 8, "raptor-cove"), Cluster("E", 16, "gracemont")))
    assert match(hybrid).id == "i9-14900k"
    assert match(replace(hybrid, processor="Intel(R) Core(TM) i9-14900KS")).id is None


@pytest.mark.parametrize(
    ("changes", "around"),
    [
        ({"virtual": "kvm", "clusters": (Cluster("P", 4, "zen4"),), "threads": 8}, "virtual machine"),
        ({"container": "docker", "cpu_limit": 4.0}, "container"),
        ({"container": "lxc", "clusters": (Cluster("P", 2, "zen4"),), "threads": 2}, "container"),
    ],
)
def test_a_share_of_a_part_is_not_the_part(changes: dict[str, object], around: str) -> None:
    found = match(replace(DESKTOP, **changes))  # type: ignore[arg-type]
    assert (found.id, found.part_of, found.candidates) == (None, "ryzen-7950x", ("ryzen-7950x",))
    assert f"this {around} has a share of it" in found.why


def test_limits_of_one_process_leave_the_machine_what_it_is() -> None:
    assert match(replace(DESKTOP, cpu_limit=2.0)).id == "ryzen-7950x"
    assert match(replace(DESKTOP, container="docker", cpu_limit=32.0)).id == "ryzen-7950x"
    assert match(replace(DESKTOP, virtual="kvm")).id == "ryzen-7950x"


def test_cores_that_are_switched_off_are_said() -> None:
    found = match(replace(DESKTOP, clusters=(Cluster("P", 8, "zen4"),), threads=16))
    assert (found.id, found.part_of, found.candidates) == (None, None, ("ryzen-7950x",))
    assert found.why == ("the processor is 'AMD Ryzen 9 7950X 16-Core Processor', but cores: expected 16, found 8")


def test_the_catalogs_pair_of_sockets_beats_a_count() -> None:
    """Two E5-2650 v4 have a file of their own, two Altra Max have not."""
    xeon = replace(
        DESKTOP, processor="Intel(R) Xeon(R) CPU E5-2650 v4 @ 2.20GHz", clusters=(Cluster("P", 12),), sockets=2
    )
    assert match(xeon) == Match(
        "2x-e5-2650v4", "the processor is 'Intel(R) Xeon(R) CPU E5-2650 v4 @ 2.20GHz', 2 sockets"
    )
    four = match(replace(xeon, sockets=4))
    assert (four.id, four.count, four.name) == ("e5-2650v4", 4, "e5-2650v4x4")


def test_a_hidden_name_leaves_candidates_of_the_same_core_and_instruction_sets() -> None:
    """A guest of 8 Sapphire Rapids cores may run on any of the catalog's, a bare machine only on one with 8."""
    isa = ("avx512", "avx512_vnni", "avx512_bf16", "amx", "avx_vnni", "avx2", "fma", "avx", "sse4")
    hidden = replace(DESKTOP, processor="Intel(R) Xeon(R) Processor", microarchitecture="golden-cove", isa=isa)
    hidden = replace(hidden, clusters=(Cluster("P", 8, "golden-cove"),), threads=8)
    found = match(replace(hidden, virtual="kvm"))
    assert found.id is None
    assert {"xeon-8480", "xeon-8481c", "xeon-8488c"} <= set(found.candidates)
    assert "i7-12700h" not in found.candidates  # Golden Cove too, without AVX-512
    assert match(hidden).candidates == ()


def test_a_name_that_the_catalog_lacks_is_no_other_part() -> None:
    found = match(replace(DESKTOP, processor="AMD Ryzen 9 7950X3D 16-Core Processor"))
    assert (found.id, found.candidates) == (None, ())
    assert found.why == "the catalog has no part called 'AMD Ryzen 9 7950X3D 16-Core Processor'"


def card(name: str, memory: str = "", **more: object) -> GpuSeen:
    return GpuSeen(name, round(units.parse(memory, "B")) if memory else None, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cards", "found"),
    [
        ([card("NVIDIA GeForce RTX 3090")] * 2 + [card("NVIDIA L4")], (("rtx-3090", 2), ("l4", 1))),
        # Sizes sold under one name: 12288 MiB are 12 GB; 40536 MiB are 40 GB less what the driver keeps.
        ([card("NVIDIA GeForce RTX 3060", "12288 MiB")], (("rtx-3060", 1),)),
        ([card("NVIDIA GeForce RTX 3060", "8192 MiB")], ()),
        ([card("NVIDIA A100-PCIE-40GB", "40536 MiB")], (("a100-pcie-40", 1),)),
        ([card("NVIDIA H100 80GB HBM3", "81559 MiB")], (("h100-sxm", 1),)),
        ([card("NVIDIA GeForce GT 710")], ()),
    ],
)
def test_cards(cards: list[GpuSeen], found: tuple[tuple[str, int], ...]) -> None:
    assert match(replace(DESKTOP, gpus=tuple(cards))).gpus == found


def test_a_chip_that_is_known_by_its_graphics() -> None:
    """DGX Spark's processor names only its cores; its GPU is the chip, and no card beside it."""
    spark = Identity(system="linux", processor="Cortex-X925 + Cortex-A725", sockets=1, threads=20, vendor="Arm")
    spark = replace(spark, clusters=(Cluster("P", 10, "cortex-x925"), Cluster("E", 10, "cortex-a725")))
    found = match(replace(spark, gpus=(card("NVIDIA GB10"),)))
    assert (found.id, found.gpus) == ("dgx-spark", ())


def test_memory_selects_nothing_and_is_reported() -> None:
    board = Identity(system="linux", board="Raspberry Pi 5 Model B Rev 1.0", clusters=(Cluster("P", 4),), sockets=1)
    # 8 GB boards show 8062 MiB; no board has 32 GB.
    for memory, fits in (("8062 MiB", True), ("32 GiB", False)):
        seen = replace(board, memory_bytes=round(units.parse(memory, "B")))
        assert match(seen).id == "rpi5"
        assert any(line.startswith("memory: expected 1 GB or 2 GB") for line in why_not(seen, "rpi5")) != fits


def test_memory_of_another_rate_is_reported() -> None:
    rate = units.parse("3600 MT/s", "T/s")
    assert why_not(replace(DESKTOP, memory_transfer_rate=rate), "ryzen-7950x") == [
        "memory rate: expected 5200 MT/s, found 3600 MT/s"
    ]


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(SpecError, match="did you mean"):
        why_not(DESKTOP, "ryzen-7950")


def test_nothing_known_is_no_match() -> None:
    found = match(Identity())
    assert (found.id, found.candidates, found.gpus) == (None, (), ())
    assert found.why == "the catalog has no part called 'this machine'"


def test_a_damaged_file_of_the_users_own_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hardware").mkdir()
    (tmp_path / "hardware" / "broken.toml").write_text("name = ", encoding="utf-8")
    monkeypatch.setenv("ROOFLINE_PATH", str(tmp_path))
    hidden = replace(DESKTOP, processor="AMD EPYC Processor")
    assert "ryzen-7950x" in match(hidden).candidates


@given(
    processor=st.text(max_size=60),
    board=st.text(max_size=60),
    cores=st.lists(st.integers(1, 300), max_size=3),
    sockets=st.one_of(st.none(), st.integers(1, 9)),
    virtual=st.sampled_from(["", "kvm"]),
    gpu=st.text(max_size=40),
)
def test_any_names_match_or_do_not(
    processor: str, board: str, cores: list[int], sockets: int | None, virtual: str, gpu: str
) -> None:
    rows = tuple(Cluster("P" if index == 0 else "E", count) for index, count in enumerate(cores))
    seen = Identity(
        processor=processor, board=board, clusters=rows, sockets=sockets, virtual=virtual, gpus=(card(gpu),)
    )
    found = match(seen)
    assert found.id is None or found.id in catalog.files("hardware")
    assert found.part_of is None or found.id is None
    assert why_not(seen, "rpi5")
