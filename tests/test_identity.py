"""What a machine is, from captured files of real machines, from damaged files, and from this machine."""

import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline import units
from roofline.hardware import Hardware
from roofline.measure import fields as reading
from roofline.measure import limits, linux, lscpu, macos, nvidia, portable, smbios
from roofline.measure.identity import Identity, identify
from roofline.measure.processors import arm_core, core_names, riscv_core, x86_core
from roofline.measure.seen import Caches, Cluster, GpuSeen, isa_words
from roofline.measure.source import TIMEOUT, Captured, Live, Source
from roofline.spec import read_toml
from tests.machines import FOLDER, MACHINES, Text, captured, expected, files

CATALOG = Path(__file__).parent.parent / "hardware"
EIGHT = "".join(f"processor\t: {cpu}\nphysical id\t: 0\ncore id\t\t: {cpu}\n\n" for cpu in range(8))


def clusters(rows: list[list[Any]]) -> tuple[Cluster, ...]:
    """Clusters written as [name, cores, microarchitecture, highest clock, base clock]; 0 is unknown."""

    def hertz(text: str | int) -> float | None:
        return units.parse(text, "Hz") if text else None

    padded = [[*row, *([0] * (5 - len(row)))] for row in rows]
    return tuple(Cluster(name, cores, kind, hertz(top), hertz(base)) for name, cores, kind, top, base in padded)


def in_bytes(text: str | int) -> int | None:
    return round(units.parse(text, "B")) if text else None


@pytest.mark.parametrize("name", MACHINES)
def test_captured_machines(name: str) -> None:
    want, seen = expected(name), identify(captured(name))
    assert (FOLDER / name / "SOURCE").read_text(encoding="utf-8").strip(), "a capture says where it is from"
    plain = ("system", "processor", "board", "vendor", "microarchitecture", "sockets", "threads", "threads_per_core")
    for key in (*plain, "numa_nodes", "governor", "power_source", "memory_type", "cpu_limit"):
        if key in want:
            assert getattr(seen, key) == want[key], key
    assert seen.isa == tuple(want.get("isa", ()))
    assert seen.clusters == clusters(want.get("clusters", []))
    assert seen.virtual == want.get("virtual", "")
    assert seen.container == want.get("container", "")
    assert seen.memory_bytes == in_bytes(want.get("memory", 0))
    assert seen.memory_limit == in_bytes(want.get("memory_limit", 0))
    assert list(seen.remarks) == want.get("remarks", [])
    assert [card.cores for card in seen.gpus if card.cores] == want.get("gpu_cores", [])
    if "caches" in want:
        assert seen.caches == Caches(*map(in_bytes, want["caches"]))
    if "memory_transfer_rate" in want:
        assert seen.memory_transfer_rate == units.parse(want["memory_transfer_rate"], "T/s")
    if "gpu" in want:
        assert set(seen.gpus) == {card(want["gpu"])}


def card(row: dict[str, Any]) -> GpuSeen:
    return GpuSeen(
        name=row["name"],
        memory_bytes=in_bytes(row["memory"]),
        driver=row["driver"],
        clock=units.parse(row["clock"], "Hz"),
        memory_clock=units.parse(row["memory_clock"], "Hz"),
        power_limit=units.parse(row["power_limit"], "W"),
        pcie_generation=row["pcie"][0],
        pcie_lanes=row["pcie"][1],
    )


@pytest.mark.parametrize("name", MACHINES)
def test_every_expectation_is_read(name: str) -> None:
    """A misspelt key would make a check pass that compares nothing."""
    matching = {"id", "count", "part_of", "candidates", "gpus", "why_not"}
    read = {field.name for field in fields(Identity)} | {"memory", "gpu", "gpu_cores"} | matching
    assert set(expected(name)) <= read


# -- missing and forbidden --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MACHINES)
def test_any_one_file_may_be_missing(name: str, tmp_path: Path) -> None:
    everything = files(name)
    for left_out in everything:
        folder = tmp_path / left_out.replace("/", "_")
        for path, data in everything.items():
            if path != left_out:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(data)
        identify(Captured(folder))


def test_an_empty_folder_is_a_machine_of_which_nothing_is_known(tmp_path: Path) -> None:
    assert identify(Captured(tmp_path)) == Identity(system="linux")
    assert identify(Captured(tmp_path / "missing")) == Identity(system="linux")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_a_remark(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 1024 kB\n", encoding="utf-8")
    (tmp_path / "proc" / "meminfo").chmod(0)
    seen = identify(Captured(tmp_path))
    assert (seen.memory_bytes, seen.remarks) == (None, ("/proc/meminfo: no permission",))


def test_what_may_not_be_read_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    live = Live()
    monkeypatch.setattr(Path, "open", refuse)
    assert live.text("/proc/cpuinfo") is None
    assert live.text("/proc/cpuinfo") is None
    monkeypatch.setattr(Path, "iterdir", refuse)
    assert live.names("/sys") == []
    monkeypatch.setattr("shutil.which", lambda name, path=None: f"/sbin/{name}")
    monkeypatch.setattr("subprocess.run", refuse)
    assert live.command("dmidecode", "-t", "memory") is None
    whats = ("/proc/cpuinfo", "/sys", "dmidecode -t memory")
    assert live.unreadable == [f"{what}: no permission" for what in whats]


def test_a_program_that_needs_root_is_a_remark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "dmidecode"
    program.write_text("#!/bin/sh\necho '/dev/mem: Permission denied' >&2\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    live = Live()
    assert smbios.memory(live) == smbios.Modules()
    if sys.platform != "win32":
        assert live.unreadable == ["dmidecode -t memory: no permission"]


def test_programs_are_asked_in_english_without_a_shell_and_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    class Done:
        returncode, stdout, stderr = 0, b"out\xff\n", b""

    def run(words: list[str], **options: Any) -> Done:
        seen.update(options, words=words)
        return Done()

    monkeypatch.setattr("subprocess.run", run)
    monkeypatch.setattr("shutil.which", lambda name, path=None: f"/bin/{name}")
    assert Live().command("lscpu", "-x; rm") == "out�\n"
    assert seen["words"] == ["/bin/lscpu", "-x; rm"]
    assert "shell" not in seen
    assert seen["timeout"] == TIMEOUT
    assert seen["env"]["LC_ALL"] == "C"


def test_a_program_that_is_missing_or_hangs_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    def hang(words: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(words, TIMEOUT)

    assert Live().command("no-such-program-anywhere") is None
    monkeypatch.setattr("shutil.which", lambda name, path=None: f"/bin/{name}")
    monkeypatch.setattr("subprocess.run", hang)
    live = Live()
    assert live.command("nvidia-smi", "-q") is None
    assert live.unreadable == []


# -- damage -----------------------------------------------------------------------------------------------------------

CAPTURED = {name: files(name) for name in MACHINES}
VICTIMS = [(name, path) for name in MACHINES for path in CAPTURED[name] if path not in ("SOURCE", "expected.toml")]


@given(
    st.sampled_from(VICTIMS),
    st.one_of(st.binary(max_size=300), st.text(max_size=200).map(str.encode)),
    st.integers(0, 3000),
)
@settings(max_examples=150)
def test_no_damage_raises(victim: tuple[str, str], damage: bytes, at: int) -> None:
    """A file replaced by bytes, cut short, or with bytes in its middle, gives a machine of which less is known."""
    name, path = victim
    original = CAPTURED[name][path]
    for data in (damage, original[:at], original[:at] + damage + original[at:]):
        texts = {f"/{key}": value.decode("utf-8", "replace") for key, value in CAPTURED[name].items()}
        texts[f"/{path}"] = data.decode("utf-8", "replace")
        source = Text(captured(name).system)
        for key, value in texts.items():
            command = key.removeprefix("/commands/").removesuffix(".txt").replace("_", " ")
            source.texts[command if key.startswith("/commands/") else key] = value
        seen = identify(source)
        assert seen.threads is None or seen.threads > 0
        assert all(cluster.cores > 0 for cluster in seen.clusters)
        assert all(remark.isprintable() for remark in seen.remarks)


NUMBERS = ["", "0", "-1", "٣", "1e9", "nan", "inf", "9" * 5000, "0x", "0x1g", "1.5", "1_000", " 12 ", "+3"]


@pytest.mark.parametrize("text", NUMBERS)
def test_odd_numbers_are_no_numbers(text: str) -> None:
    assert reading.whole(text) in (None, 0, -1, 12)
    assert reading.positive(text) in (None, 12)
    assert reading.clock(text, "MHz") in (None, 12e6, 1.5e6)
    assert reading.size(text) in (None, 12, 2)
    assert reading.cpus(text) in (frozenset(), frozenset({0}), frozenset({12}))


def test_lists_of_cpus() -> None:
    assert reading.cpus("0-3,8\n") == {0, 1, 2, 3, 8}
    assert reading.cpus("5") == {5}
    assert reading.cpus("3-1,x,0-999999") == frozenset()  # backwards, no number, more than any machine has


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("32K", 32 << 10),
        ("300M", 300 << 20),
        ("16777216", 16777216),
        ("12345 kB", 12345 << 10),
        ("1.3 MiB (24 instances)", 1363149),
        ("32 GB", 32 << 30),
        ("No Module Installed", None),
    ],
)
def test_sizes_are_in_powers_of_1024(text: str, bytes_: int | None) -> None:
    assert reading.size(text) == bytes_


# -- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "cpus"),
    [
        ({}, None),
        ({"/proc/self/status": "Cpus_allowed_list:\t0-15\n"}, 16.0),
        # Version 2: 150 ms of every 100 ms.
        ({"/sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"/sys/fs/cgroup/cpu.max": "max 100000\n", "/proc/self/status": "Cpus_allowed_list: 2,4-5\n"}, 3.0),
        # The smallest of the groups above counts.
        (
            {
                "/proc/self/cgroup": "0::/a.slice/b.service\n",
                "/sys/fs/cgroup/a.slice/cpu.max": "200000 100000\n",
                "/sys/fs/cgroup/a.slice/b.service/cpu.max": "400000 100000\n",
            },
            2.0,
        ),
        # Version 1, with its controllers mounted together; the path is the host's and missing in the container.
        (
            {
                "/proc/self/cgroup": "4:memory:/docker/0f\n3:cpu,cpuacct:/docker/0f\n",
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            0.5,
        ),
        (
            {
                "/proc/self/cgroup": "3:cpu,cpuacct:/x\n",
                "/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "-1\n",
                "/sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        ({"/sys/fs/cgroup/cpu.max": "100000 0\n"}, None),
    ],
)
def test_quotas_and_affinity(texts: dict[str, str], cpus: float | None) -> None:
    assert limits.cpu_limit(Text(**texts)) == cpus


@pytest.mark.parametrize(
    ("texts", "limit"),
    [
        ({}, None),
        ({"/sys/fs/cgroup/memory.max": "max\n"}, None),
        ({"/sys/fs/cgroup/memory.max": "1073741824\n"}, 1 << 30),
        # As much as the machine has limits nothing; version 1 writes the largest multiple of a page for no limit.
        ({"/sys/fs/cgroup/memory.max": "8589934592\n"}, None),
        ({"/proc/self/cgroup": "9:memory:/\n", "/sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912\n"}, 1 << 29),
        (
            {
                "/proc/self/cgroup": "9:memory:/\n",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            None,
        ),
    ],
)
def test_memory_limits(texts: dict[str, str], limit: int | None) -> None:
    assert limits.memory_limit(Text(**texts), 8 << 30) == limit


@pytest.mark.parametrize(
    ("texts", "word"),
    [
        ({}, ""),
        ({"/.dockerenv": "", "/proc/mounts": "overlay / overlay rw 0 0\n"}, "docker"),
        ({"/.dockerenv": "", "/proc/mounts": "/dev/vda / ext4 rw 0 0\n"}, ""),
        ({"/proc/1/cgroup": "0::/docker/0123\n"}, "docker"),
        ({"/run/.containerenv": ""}, "podman"),
        ({"/proc/1/cgroup": "5:cpu:/kubepods/burstable/pod1\n", "/.dockerenv": ""}, "kubernetes"),
        ({"/proc/1/cgroup": "1:name=systemd:/lxc/box\n"}, "lxc"),
        ({"/proc/mounts": "lxcfs /proc/cpuinfo fuse.lxcfs rw 0 0\n"}, "lxc"),
    ],
)
def test_containers(texts: dict[str, str], word: str) -> None:
    assert limits.container(Text(**texts)) == word


@pytest.mark.parametrize(
    ("texts", "board", "word"),
    [
        ({}, "", ""),
        ({"/proc/cpuinfo": "processor: 0\nflags: fpu hypervisor\n"}, "", "hypervisor"),
        ({"/proc/cpuinfo": "processor: 0\nflags: fpu hypervisor\n"}, "QEMU Standard PC", "kvm"),
        ({}, "Amazon EC2 m7g.2xlarge", "kvm"),
        ({}, "Amazon EC2 m7g.metal", ""),
        ({}, "VMware, Inc. VMware7,1", "vmware"),
        ({}, "Microsoft Corporation Virtual Machine", "microsoft"),
        ({}, "Microsoft Corporation Surface Laptop 7", ""),
        ({"/proc/version": "Linux version 6.6.87.2-microsoft-standard-WSL2\n"}, "", "wsl"),
        ({"/sys/hypervisor/type": "xen\n"}, "", "xen"),
        ({"lscpu": "Hypervisor vendor:     KVM\n"}, "", "kvm"),
    ],
)
def test_hypervisors(texts: dict[str, str], board: str, word: str) -> None:
    assert limits.hypervisor(Text(**texts), board) == word


# -- processors -------------------------------------------------------------------------------------------------------


def test_the_tables_know_every_microarchitecture_of_the_catalog() -> None:
    used = {read_toml(path).get("cpu", {}).get("microarchitecture", "") for path in CATALOG.rglob("*.toml")}
    assert used - {""} <= core_names()


def test_the_words_for_instruction_sets_are_the_catalogs() -> None:
    catalog = [read_toml(path).get("cpu", {}).get("isa", []) for path in CATALOG.rglob("*.toml")]
    assert {word for words in catalog for word in words} == set(isa_words((), [w for ws in catalog for w in ws]))
    # Zen 4 as its kernel lists it, in the order of the catalog's file.
    flags = "fma sse4_1 sse4_2 avx avx2 avx512f avx512_bf16 avx512_vnni"
    assert isa_words(flags.split()) == ("avx512", "avx512_vnni", "avx512_bf16", "avx2", "fma", "avx", "sse4")


@pytest.mark.parametrize(
    ("vendor", "family", "model", "stepping", "name"),
    [
        ("GenuineIntel", 6, 143, 8, "golden-cove"),  # Sapphire Rapids
        ("GenuineIntel", 6, 207, 2, "raptor-cove"),  # Emerald Rapids
        ("GenuineIntel", 6, 173, 1, "redwood-cove"),  # Granite Rapids
        ("GenuineIntel", 6, 106, 6, "sunny-cove"),  # Ice Lake-SP
        ("GenuineIntel", 6, 85, 4, "skylake-sp"),
        ("GenuineIntel", 6, 85, 7, "cascade-lake"),
        ("GenuineIntel", 6, 85, 11, "cooper-lake"),
        ("GenuineIntel", 6, 158, 9, "kaby-lake"),
        ("GenuineIntel", 6, 158, 12, "coffee-lake"),
        ("GenuineIntel", 6, 190, 0, "gracemont"),
        ("GenuineIntel", 6, 79, 1, "broadwell"),
        ("GenuineIntel", 15, 4, 1, ""),
        ("AuthenticAMD", 23, 1, 1, "zen"),
        ("AuthenticAMD", 23, 8, 2, "zen+"),
        ("AuthenticAMD", 23, 49, 0, "zen2"),
        ("AuthenticAMD", 25, 33, 0, "zen3"),
        ("AuthenticAMD", 25, 17, 1, "zen4"),
        ("AuthenticAMD", 26, 68, 0, "zen5"),
        ("CentaurHauls", 6, 15, 0, ""),
    ],
)
def test_x86_numbers(vendor: str, family: int, model: int, stepping: int, name: str) -> None:
    assert x86_core(vendor, family, model, stepping).microarchitecture == name


@pytest.mark.parametrize(
    ("implementer", "part", "name"),
    [
        (0x41, 0xD03, "cortex-a53"),
        (0x41, 0xD0C, "neoverse-n1"),
        (0x41, 0xD40, "neoverse-v1"),
        (0x41, 0xD4F, "neoverse-v2"),
        (0x41, 0xD85, "cortex-x925"),
        (0x51, 0x001, "oryon"),
        (0xC0, 0xAC4, "ampere1a"),
        (0x46, 0x001, "a64fx"),
        (0x61, 0x023, "firestorm"),
        (0x41, 0xFFF, ""),
        (None, None, ""),
    ],
)
def test_arm_numbers(implementer: int | None, part: int | None, name: str) -> None:
    assert arm_core(implementer, part).microarchitecture == name


def test_model_numbers_name_one_core_each() -> None:
    """Rows that overlap would let the order of the table decide."""
    tables = read_toml(Path(linux.__file__).with_name("cores.toml"))
    for table in tables["x86"]:
        rows = [row[:2] for row in (*table["models"], *table.get("little", ()))]
        models = [model for first, last in rows for model in range(first, last + 1)]
        assert len(models) == len(set(models)), table["name"]


def cpuinfo(*kinds: tuple[int, int], **more: str) -> dict[str, str]:
    """/proc/cpuinfo of an Intel hybrid with cores of (how many, threads each)."""
    cpus = [core for core, (_, each) in enumerate([k for k in kinds for _ in range(k[0])]) for _ in range(each)]
    blocks = [
        f"processor: {number}\nvendor_id: GenuineIntel\ncpu family: 6\nmodel: 183\nphysical id: 0\ncore id: {core}\n"
        for number, core in enumerate(cpus)
    ]
    return {"/proc/cpuinfo": "\n".join(blocks), **more}


@pytest.mark.parametrize(
    ("texts", "rows"),
    [
        # Cores that run one thread beside others that run two are the efficiency cores.
        (cpuinfo((8, 2), (16, 1)), [["P", 8, "raptor-cove"], ["E", 16, "gracemont"]]),
        # With Hyper-Threading off, the kernel's list tells.
        (
            cpuinfo((6, 1), (8, 1), **{"/sys/devices/cpu_atom/cpus": "6-13\n"}),
            [["P", 6, "raptor-cove"], ["E", 8, "gracemont"]],
        ),
        # A guest sees cores that are all alike.
        (cpuinfo((4, 1)), [["P", 4, "raptor-cove"]]),
    ],
)
def test_hybrid_cores(texts: dict[str, str], rows: list[list[Any]]) -> None:
    assert linux.processor(Text(**texts)).clusters == clusters(rows)


def test_cores_of_one_kind_at_two_clocks_are_two_clusters() -> None:
    """Zen 5 beside Zen 5c (Ryzen AI 5 340: 4.8 and 3.4 GHz); the preferred cores of a desktop part are one cluster."""
    blocks = "\n".join(
        f"processor: {n}\nvendor_id: AuthenticAMD\ncpu family: 26\nmodel: 96\nphysical id: 0\ncore id: {n}\n"
        for n in range(6)
    )
    tops = ["4800000"] * 3 + ["3400000"] * 3
    path = "/sys/devices/system/cpu/cpu{}/cpufreq/cpuinfo_max_freq"
    split = {path.format(n): top for n, top in enumerate(tops)}
    near = {path.format(n): top for n, top in enumerate(["5881000", "5800000", "5600000", "5500000"])}
    seen = linux.processor(Text(**{"/proc/cpuinfo": blocks, **split}))
    assert seen.clusters == clusters([["P", 3, "zen5", "4.8 GHz"], ["E", 3, "zen5", "3.4 GHz"]])
    seen = linux.processor(Text(**{"/proc/cpuinfo": blocks, **near}))
    assert [cluster.cores for cluster in seen.clusters] == [6]


def test_three_kinds_of_cores_rank_by_what_they_are() -> None:
    """A phone's prime core comes first, whatever order the kernel numbers the cores in, with no clocks told."""
    parts = ["0xd80", "0xd80", "0xd81", "0xd81", "0xd82"]
    text = "\n".join(f"processor: {n}\nCPU implementer: 0x41\nCPU part: {part}\n" for n, part in enumerate(parts))
    seen = linux.processor(Text(**{"/proc/cpuinfo": text}))
    assert seen.clusters == clusters([["P", 1, "cortex-x4"], ["E", 2, "cortex-a720"], ["E", 2, "cortex-a520"]])


def test_risc_v() -> None:
    """The first lines of archspec's linux-debian13-x60; the matrix extension of the core has no letter."""
    text = "processor\t: 0\nhart\t\t: 0\nmodel name\t: Spacemit(R) X60\nisa\t\t: rv64imafdcv_zicbom_zve64d_zvfh\n"
    seen = linux.processor(Text(**{"/proc/cpuinfo": text}))
    assert (seen.isa, seen.clusters) == (("rvv", "ime"), clusters([["P", 1, "spacemit-x60"]]))
    assert riscv_core("sifive,p550", "").microarchitecture == "sifive-p550"


def test_sibling_lists_count_cores_where_core_ids_repeat() -> None:
    """Arm's core ids begin again in every cluster."""
    block = "processor: {}\nCPU implementer: 0x41\nCPU part: 0xd0b\ncore id: {}\nphysical id: 0\n"
    texts = {"/proc/cpuinfo": "\n".join(block.format(n, n % 2) for n in range(4))}
    lists = {f"/sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list": f"{n}\n" for n in range(4)}
    assert sum(cluster.cores for cluster in linux.processor(Text(**texts, **lists)).clusters) == 4


def test_caches_are_counted_once_by_who_shares_them() -> None:
    """Two cores with 1 MiB of L2 each and one L3 of 32 MiB between them; instructions' caches are left out."""
    texts = {"/proc/cpuinfo": "processor: 0\n\nprocessor: 1\n"}
    shape = {0: ("1", "Data", "32K", "{}"), 1: ("1", "Instruction", "32K", "{}"), 2: ("2", "Unified", "1024K", "{}")}
    for cpu in range(2):
        for index, (level, kind, size, shared) in {**shape, 3: ("3", "Unified", "32768K", "0-1")}.items():
            folder = f"/sys/devices/system/cpu/cpu{cpu}/cache/index{index}"
            texts |= {f"{folder}/level": level, f"{folder}/type": kind, f"{folder}/size": size}
            texts[f"{folder}/shared_cpu_list"] = shared.format(cpu)
    assert linux.processor(Text(**texts)).caches == Caches(32 << 10, 2 << 20, 32 << 20)


def test_lscpu_of_a_firmware_that_lists_cores_as_sockets() -> None:
    """util-linux issue 3902: a Core Ultra 9 285K with 24 'sockets' of one core each."""
    text = (
        "CPU(s): 24\nVendor ID: GenuineIntel\nModel name: Intel(R) Core(TM) Ultra 9 285K\nCPU family: 6\nModel: 198\n"
    )
    seen = lscpu.read(f"{text}Thread(s) per core: 1\nCore(s) per socket: 1\nSocket(s): 24\n")
    assert seen.sockets == 1
    assert sum(cluster.cores for cluster in seen.clusters) == 24


# -- firmware, power, other systems -----------------------------------------------------------------------------------


def test_memory_modules() -> None:
    """The modules of a Lenovo Ideapad Gaming 3 (LenovoLegionLinux issue 45) and of one with an older dmidecode."""
    module = (
        "\nHandle 0x0023, DMI type 17, 92 bytes\nMemory Device\n\tTotal Width: 64 bits\n\tSize: {}\n\tType: DDR4\n"
        "\tSpeed: 3200 MT/s\n\tConfigured Memory Speed: {}\n\tVolatile Size: 8 GB\n"
    )
    text = module.format("8 GB", "3200 MT/s") + module.format("No Module Installed", "Unknown")
    seen = smbios.memory(Text(**{"dmidecode -t memory": text + module.format("8192 MB", "2933 MT/s")}))
    assert seen == smbios.Modules(2, "DDR4", units.parse("2933 MT/s", "T/s"), 16 << 30)
    old = "Memory Device\n\tSize: 16384 MB\n\tType: DDR3\n\tSpeed: 1600 MHz\n\tConfigured Clock Speed: 1333 MHz\n"
    assert smbios.memory(Text(**{"dmidecode -t memory": old})).transfer_rate == units.parse("1333 MT/s", "T/s")


@pytest.mark.parametrize(
    ("texts", "power"),
    [
        ({}, None),
        ({"AC/type": "Mains", "AC/online": "1", "BAT0/type": "Battery", "BAT0/status": "Charging"}, "mains"),
        ({"AC/type": "Mains", "AC/online": "0", "BAT0/type": "Battery", "BAT0/status": "Discharging"}, "battery"),
        ({"BAT0/type": "Battery", "BAT0/status": "Full"}, "mains"),
        ({"mouse/type": "Battery", "mouse/scope": "Device", "mouse/status": "Discharging"}, None),
    ],
)
def test_power(texts: dict[str, str], power: str | None) -> None:
    source = Text(**{f"/sys/class/power_supply/{path}": text for path, text in texts.items()})
    assert linux.power_source(source) == power
    remarks = identify(source).remarks
    assert any("on battery" in remark for remark in remarks) == (power == "battery")


def test_an_intel_mac() -> None:
    text = (
        "hw.physicalcpu: 4\nhw.logicalcpu: 8\nhw.memsize: 17179869184\nhw.packages: 1\nhw.l1dcachesize: 32768\n"
        "hw.l2cachesize: 262144\nhw.l3cachesize: 8388608\nmachdep.cpu.vendor: GenuineIntel\nmachdep.cpu.family: 6\n"
        "machdep.cpu.model: 158\nmachdep.cpu.stepping: 9\nmachdep.cpu.features: FPU SSE4.1 SSE4.2 FMA AVX1.0\n"
        "machdep.cpu.leaf7_features: AVX2\nmachdep.cpu.brand_string: Intel(R) Core(TM) i7-7820HQ CPU @ 2.90GHz\n"
    )
    seen = identify(Text("darwin", **{"sysctl -a": text, "pmset -g batt": "Now drawing from 'Battery Power'\n"}))
    assert (seen.vendor, seen.microarchitecture, seen.power_source) == ("Intel", "kaby-lake", "battery")
    assert seen.isa == ("avx2", "fma", "avx", "sse4")
    assert (seen.clusters, seen.threads_per_core) == (clusters([["P", 4, "kaby-lake"]]), 2)
    assert seen.caches == Caches(32 << 10, 1 << 20, 8 << 20)
    assert macos.hypervisor(Text("darwin", **{"sysctl -a": "hw.model: VirtualMac2,1\n"})) == "apple"


def test_other_systems_use_the_portable_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has neither /proc nor sysctl."""
    told = {
        "brand_raw": "AMD Ryzen 9 7950X 16-Core Processor",
        "vendor_id_raw": "AuthenticAMD",
        "family": 25,
        "model": 97,
        "flags": ["avx", "avx2", "fma", "sse4_2", "avx512f"],
        "l3_cache_size": 64 << 20,
    }
    monkeypatch.setattr(portable, "_cpuinfo", lambda: told)
    monkeypatch.setattr(portable, "_count", lambda logical: 32 if logical else 16)
    monkeypatch.setattr(Live, "system", "windows")
    monkeypatch.setattr(Live, "text", lambda *_: None)
    monkeypatch.setattr(Live, "command", lambda *_: None)
    monkeypatch.setattr(Live, "names", lambda *_: [])
    monkeypatch.setattr(nvidia, "_by_library", lambda: ())
    seen = identify(Live())
    assert (seen.system, seen.processor, seen.microarchitecture) == ("windows", told["brand_raw"], "zen4")
    assert (seen.clusters, seen.threads_per_core) == (clusters([["P", 16, "zen4"]]), 2)
    assert seen.memory_bytes is not None
    assert seen.memory_bytes > 0


def test_a_card_by_the_drivers_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """nvidia-ml-py as a stand-in: what the driver refuses is unknown, the rest is kept."""
    from types import ModuleType, SimpleNamespace

    class NVMLError(Exception):
        pass

    def refuse(*_: object) -> None:
        raise NVMLError

    library: Any = ModuleType("pynvml")
    library.NVMLError, library.NVML_CLOCK_SM, library.NVML_CLOCK_MEM = NVMLError, 1, 2
    library.nvmlInit = library.nvmlShutdown = lambda: None
    library.nvmlSystemGetDriverVersion = lambda: b"565.57.01"
    library.nvmlDeviceGetCount = lambda: 1
    library.nvmlDeviceGetHandleByIndex = lambda index: index
    library.nvmlDeviceGetName = lambda _: "NVIDIA A10"
    library.nvmlDeviceGetMemoryInfo = lambda _: SimpleNamespace(total=23 << 30)
    library.nvmlDeviceGetMaxClockInfo = lambda _, of: {1: 1695, 2: 6251}[of]
    library.nvmlDeviceGetEnforcedPowerLimit = lambda _: 150000
    library.nvmlDeviceGetMaxPcieLinkGeneration = refuse
    library.nvmlDeviceGetMaxPcieLinkWidth = lambda _: 16
    monkeypatch.setitem(sys.modules, "pynvml", library)
    (seen,) = nvidia.gpus(Live())
    assert (seen.name, seen.driver, seen.memory_bytes) == ("NVIDIA A10", "565.57.01", 23 << 30)
    assert (seen.clock, seen.memory_clock, seen.power_limit) == (1695e6, 6251e6, 150.0)
    assert (seen.pcie_generation, seen.pcie_lanes) == (None, 16)
    library.nvmlInit = refuse
    assert nvidia._by_library() == ()


def test_this_machine() -> None:
    """Whatever runs the tests has a processor and memory, and can be asked without an error."""
    source: Source = Live()
    seen = identify(source)
    assert seen.threads
    assert seen.cores
    assert seen.memory_bytes
    assert seen.cores <= seen.threads * (seen.sockets or 1)
    assert all("\n" not in remark for remark in seen.remarks)
    if hasattr(os, "sched_getaffinity"):
        assert seen.cpu_limit is not None
        assert seen.cpu_limit <= len(os.sched_getaffinity(0))


def test_the_schema_knows_the_words_used_here() -> None:
    """Identity and the catalog name clusters alike: the fast ones 'P', the others 'E'."""
    names = {cluster.name for path in CATALOG.rglob("*.toml") for cluster in _clusters_of(path)}
    assert names == {"P", "E"}


def _clusters_of(path: Path) -> tuple[Any, ...]:
    spec = Hardware.model_validate(read_toml(path))
    return spec.cpu.clusters if spec.cpu else ()
