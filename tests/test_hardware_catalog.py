"""Every hardware file against published figures, and the arithmetic that any device has to satisfy."""

import re
from functools import cache
from pathlib import Path

import pytest

from roofline.catalog import load_hardware, normalise
from roofline.hardware import Hardware
from roofline.spec import read_toml, validate

HARDWARE = Path(__file__).parent.parent / "hardware"
IDS = (Path(__file__).parent / "data" / "hardware_ids.txt").read_text(encoding="utf-8").split()
FILES = {path.stem: path for path in sorted(HARDWARE.rglob("*.toml"))}
UNITS = r"(B|kB|MB|GB|TB|KiB|MiB|GiB|GB/s|TB/s|MT/s|MHz|GHz|GFLOP/s|TFLOP/s|TOP/s|W|USD)"
MIB = 2**20


@cache
def device(name: str) -> Hardware:
    return validate(Hardware, read_toml(FILES[name]), FILES[name])


def peak(name: str, path: str) -> float:
    """A GPU's peak on `path` [FLOP/s]."""
    gpu = device(name).gpu
    assert gpu is not None
    return gpu.peak[path].value


def devices_with(architectures: dict[str, tuple[float, float]]) -> list[str]:
    # The bare tables, so that one invalid file fails its own test and not the collection of all.
    return [name for name, path in FILES.items() if read_toml(path).get("gpu", {}).get("architecture") in architectures]


# -- the files --------------------------------------------------------------------------------------------------------


def test_the_catalog_holds_the_listed_devices() -> None:
    assert sorted(FILES) == sorted(IDS)
    assert len(IDS) == len(set(IDS)) == len(list(HARDWARE.rglob("*.toml"))), "two files have one name"


def test_every_name_means_one_device() -> None:
    owners: dict[str, str] = {}
    for identity in FILES:
        for name in (identity, *device(identity).aliases):
            assert owners.setdefault(normalise(name), identity) == identity, f"{name} is also {owners[normalise(name)]}"
    titles = [device(identity).name for identity in FILES]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("name", FILES)
def test_every_figure_is_a_plain_quantity_with_a_source(name: str) -> None:
    for path, figure in device(name).figures().items():
        assert figure.source, f"{path} has no source"
        # One number and one unit: remarks belong in a note.
        number = r"\d+(\.\d+)?" if ".per_cycle." in path else rf"\d+(\.\d+)? {UNITS}"
        assert re.fullmatch(number, figure.text), f"{path}: {figure.text!r}"


@pytest.mark.parametrize("name", FILES)
def test_an_unconfirmed_figure_is_never_passed_off_as_confirmed(name: str) -> None:
    for path, figure in device(name).figures().items():
        if figure.source == "assumption":
            assert figure.basis == "assumed", path
        if "estimate" in figure.note:
            assert figure.basis == "assumed", path


@pytest.mark.parametrize("name", FILES)
def test_notes_are_sentences_about_fields_that_exist(name: str) -> None:
    spec = device(name)
    clusters = len(spec.cpu.clusters) if spec.cpu else 0
    for note in spec.notes:
        assert note.text.endswith("."), note.text
        root, *rest = note.field.split(".")
        assert not note.field or root in Hardware.model_fields, note.field
        assert rest[:1] != ["clusters"] or int(rest[1]) < clusters, note.field
    for source in spec.sources.values():
        assert source.title
        assert not source.url or re.match(r"https?://[\w.-]+", source.url), source.url


@pytest.mark.parametrize("name", FILES)
def test_measured_bandwidth_stays_below_the_theoretical(name: str) -> None:
    spec = device(name)
    for reader, figure in spec.memory.sustained.items():
        assert figure.basis == "measured"
        assert figure.value < spec.memory.theoretical_bandwidth, reader
    if "gpu" in spec.memory.sustained:
        assert spec.gpu is not None
    if "cpu" in spec.memory.sustained:
        assert spec.cpu is not None


def test_bandwidth_follows_from_channels_width_and_rate() -> None:
    """Cards state a bandwidth; every other memory is computed, and the stated figure agrees within 2.5 %."""
    # Core 2: the front-side bus is the limit, not the memory. M5 Ultra: neither width nor rate is known.
    stated_only = {"c2q-q8400", "m5-ultra"}
    for name in FILES:
        memory, kind = device(name).memory, device(name).kind
        if kind == "gpu" or name in stated_only:
            assert memory.computed_bandwidth is None, name
            assert memory.bandwidth is not None, name
            continue
        assert memory.channel_bits is not None and memory.transfer_rate is not None, name
        bits = (memory.channels or 1) * memory.channel_bits
        computed = bits * memory.transfer_rate.value / 8
        assert memory.computed_bandwidth == pytest.approx(computed)
        assert memory.bandwidth is not None, name
        assert memory.bandwidth.value == pytest.approx(computed, rel=0.025), name


def test_accelerators_and_boards_have_a_capacity_and_sockets_leave_it_to_the_buyer() -> None:
    # Integrated graphics share the host's memory; of two unannounced or unlisted Macs no configuration is known.
    unknown = {"radeon-780m", "intel-uhd-770", "m5-ultra", "m5-max-32"}
    socketed = {"ryzen-8840u", "ryzen-ai-5-340"}
    for name in FILES:
        spec = device(name)
        if spec.kind == "cpu":
            # HBM on the package, and an instance type with one size.
            assert (spec.memory.capacity is not None) == (name in {"a64fx", "graviton3e"}), name
        else:
            assert (spec.memory.capacity is None) == (name in unknown | socketed), name
        if spec.memory.capacity:
            sizes = [spec.memory.capacity.value, *(option.value for option in spec.memory.options)]
            assert len(sizes) == len(set(sizes)), name


# -- arithmetic -------------------------------------------------------------------------------------------------------


def test_gpu_fp32_is_cores_times_clock() -> None:
    """Peak = cores × operations per core and cycle × clock."""
    # A multiply-add is 2; RDNA 3 and 4 issue two a cycle, CDNA 3 packs two; an Apple core has 128 lanes.
    per_core = {"gfx1100": 4, "gfx1101": 4, "gfx1102": 4, "gfx1103": 4, "gfx1201": 4, "gfx942": 4}
    checked = 0
    for name in FILES:
        gpu = device(name).gpu
        if gpu is None or gpu.clock is None or "fp32" not in gpu.peak:
            continue
        match = re.match(r"(?:\d+ CU, )?(\d+) (CUDA cores|shaders|cores)", gpu.cores)
        if match is None:
            continue
        operations = 256 if match[2] == "cores" else per_core.get(gpu.architecture, 2)
        expected = int(match[1]) * operations * gpu.clock.value
        # 2.5 %: clocks and peaks are each rounded by their source, as in Apple's 10.4 TFLOPS for the M1 Max.
        assert gpu.peak["fp32"].value == pytest.approx(expected, rel=0.025), name
        checked += 1
    assert checked > 80


# fp16 / fp32 and int8 / fp16 of an architecture: operations per cycle of a tensor core against those of its shaders.
RATIOS: dict[str, tuple[float, float]] = {
    "7.5": (8, 2),
    "8.0": (16, 2),
    "8.6": (4, 2),
    "8.9": (4, 2),
    "10.0": (30.5, 2),
    "12.0": (4, 2),
    "gfx1030": (2, 2),
    "gfx1031": (2, 2),
    "gfx1034": (2, 2),
    "gfx1010": (2, 1),
    "gfx1100": (2, 1),
    "gfx1101": (2, 1),
    "gfx1102": (2, 1),
    "gfx1201": (4, 2),
    "gfx906": (2, 2),
    "gfx908": (8, 1),
    "gfx90a": (8, 1),
    "gfx942": (8, 2),
    "dg2_g10": (8, 2),
    "dg2_g11": (8, 2),
    "bmg_g21": (8, 2),
}
# The L40's tensor cores run at half of the L40S's by NVIDIA's own table; the B580's XMX figures are at 2850 MHz.
OTHER_RATIO = {"l40": (2, 2), "arc-b580": (8.56, 2)}


@pytest.mark.parametrize("name", devices_with(RATIOS))
def test_matrix_peaks_follow_the_architecture(name: str) -> None:
    gpu = device(name).gpu
    assert gpu is not None
    fp16, int8 = OTHER_RATIO.get(name, RATIOS[gpu.architecture])
    assert peak(name, "fp16") / peak(name, "fp32") == pytest.approx(fp16, rel=0.03)
    assert peak(name, "int8") / peak(name, "fp16") == pytest.approx(int8, rel=0.03)
    if "fp16_acc32" in gpu.peak:
        # GeForce halves the rate of fp32 accumulation; everything else keeps it.
        share = 2 if "GeForce" in device(name).name else 1
        assert peak(name, "fp16") / peak(name, "fp16_acc32") == pytest.approx(share, rel=0.01)
        assert "bf16" not in gpu.peak or peak(name, "bf16") <= peak(name, "fp16_acc32") * 1.001
    if "fp8" in gpu.peak:
        assert peak(name, "fp16_acc32") <= peak(name, "fp8") <= peak(name, "int8") * 1.003
    if "fp4" in gpu.peak:
        assert peak(name, "fp4") >= 2 * peak(name, "fp8") * 0.99


def test_a_core_does_not_do_less_on_narrower_types() -> None:
    for name in FILES:
        cpu = device(name).cpu
        for cluster in cpu.clusters if cpu else ():
            rate = {path: figure.value for path, figure in cluster.per_cycle.items()}
            if not rate:
                continue
            assert rate["int8"] >= rate["fp32"], name
            if "fp16" in rate:
                assert rate["fp16"] == 2 * rate["fp32"], name  # half the width, twice the lanes
            if "amx_int8" in rate:
                assert rate["amx_int8"] == 2 * rate["amx_bf16"] == 2048, name


def test_instruction_sets_agree_with_the_rates() -> None:
    for name in FILES:
        cpu = device(name).cpu
        if cpu is None:
            continue
        words = set(cpu.isa)
        for lesser, greater in (
            ("neon", "dotprod"),
            ("dotprod", "i8mm"),
            ("avx2", "avx512"),
            ("avx512", "avx512_vnni"),
        ):
            assert greater not in words or lesser in words, f"{name}: {greater} without {lesser}"
        assert not {"neon", "sse4"} <= words, name
        assert ("amx_int8" in cpu.clusters[0].per_cycle) == ("amx" in words), name
        # int8 dot products: four multiply-adds in each 32-bit lane, so at least twice the fp32 rate.
        if words & {"dotprod", "avx_vnni", "avx512_vnni"} and "int8" in cpu.clusters[0].per_cycle:
            rates = cpu.clusters[0].per_cycle
            assert rates["int8"].value >= 2 * rates["fp32"].value, name


# What decides the kernels, by the architecture manuals: Armv8.2 dotprod from the A76 and A55 on, i8mm from Armv8.6 on.
WORDS = [
    ("rpi4", {"neon"}, {"dotprod", "fp16", "i8mm"}),
    ("rpi5", {"neon", "dotprod", "fp16"}, {"i8mm", "sve"}),
    ("rk3588", {"neon", "dotprod", "fp16"}, {"i8mm", "sve"}),
    ("altra-q80-30", {"neon", "dotprod", "fp16"}, {"i8mm"}),
    ("graviton3", {"dotprod", "i8mm", "bf16", "sve"}, {"sve2"}),
    ("m1-8gpu", {"dotprod", "fp16"}, {"i8mm", "bf16"}),
    ("m2-max-38", {"dotprod", "fp16", "i8mm", "bf16"}, {"sve", "sme"}),
    ("m4-10gpu", {"i8mm", "sme"}, {"sve"}),
    ("e5-2650v4", {"avx2", "fma"}, {"avx512", "avx_vnni"}),
    ("i9-13900k", {"avx2", "avx_vnni"}, {"avx512"}),
    ("epyc-7742", {"avx2", "fma"}, {"avx512"}),
    ("epyc-9654", {"avx512", "avx512_vnni", "avx512_bf16"}, {"amx"}),
    ("xeon-gold-6138", {"avx512"}, {"avx512_vnni", "amx"}),
    ("xeon-8480", {"avx512_vnni", "amx"}, {"neon"}),
    ("c2q-q8400", {"sse4"}, {"avx", "fma"}),
    ("spacemit-k1", {"rvv"}, {"neon"}),
]


@pytest.mark.parametrize(("name", "has", "lacks"), WORDS, ids=[name for name, _, _ in WORDS])
def test_instruction_sets(name: str, has: set[str], lacks: set[str]) -> None:
    cpu = device(name).cpu
    assert cpu is not None
    assert has <= set(cpu.isa)
    assert not lacks & set(cpu.isa)


def test_cores_and_threads_agree() -> None:
    for name in FILES:
        cpu = device(name).cpu
        if cpu is not None and cpu.threads is not None:
            cores = cpu.cores // cpu.sockets
            assert cores <= cpu.threads <= 2 * cores, name


def test_backends_fit_the_maker() -> None:
    for name in FILES:
        spec = device(name)
        assert ("metal" in spec.backends) == (spec.vendor == "Apple"), name
        assert ("cuda" in spec.backends) == (spec.vendor == "NVIDIA"), name
        assert "rocm" not in spec.backends or spec.vendor == "AMD", name
        assert spec.kind != "gpu" or spec.cpu is None, name
        assert spec.kind != "cpu" or spec.backends == ("cpu",), name


# -- two sockets ------------------------------------------------------------------------------------------------------


def test_two_sockets_are_twice_one() -> None:
    pair, twice = device("2x-e5-2650v4"), device("e5-2650v4").times(2)
    assert pair.cpu is not None and twice.cpu is not None
    assert pair.cpu.sockets == twice.cpu.sockets == 2
    assert pair.cpu.cores == twice.cpu.cores == 24
    assert pair.memory_bandwidth == twice.memory_bandwidth == pytest.approx(153.6e9)
    assert pair.peaks("cpu") == twice.peaks("cpu")
    # 24 cores × 2.9 GHz × 32 operations
    assert pair.peaks("cpu")["fp32"] == pytest.approx(24 * 2.9e9 * 32)
    assert load_hardware("e5-2650v4x2").spec == twice
    for path, figure in pair.figures().items():
        if path.startswith(("cpu.", "memory.", "power", "price")):
            assert figure.value == twice.figures()[path].value, path


# -- published figures ------------------------------------------------------------------------------------------------

SPOT = [
    # 32 bit × 4267 MT/s / 8; the makers write 17.1
    ("rpi5", "memory.theoretical_bandwidth", 17.068e9),
    # 32 bit × 3200 MT/s / 8
    ("rpi4", "memory.theoretical_bandwidth", 12.8e9),
    # 128 bit × 4266 MT/s / 8; Apple writes 68.25
    ("m1-8gpu", "memory.theoretical_bandwidth", 68.256e9),
    # 512 bit × 6400 MT/s / 8; Apple writes 400
    ("m2-max-38", "memory.theoretical_bandwidth", 409.6e9),
    ("a100-pcie-80", "memory.theoretical_bandwidth", 1935e9),
    ("h100-sxm", "memory.theoretical_bandwidth", 3350e9),
    ("h200", "memory.theoretical_bandwidth", 4800e9),
    ("rtx-3090", "memory.theoretical_bandwidth", 936.2e9),
    ("rtx-4090", "memory.theoretical_bandwidth", 1008e9),
    # 12 × 64 bit × 4800 MT/s / 8
    ("epyc-9654", "memory.theoretical_bandwidth", 460.8e9),
    # 8 × 64 bit × 5200 MT/s / 8
    ("tr-7995wx", "memory.theoretical_bandwidth", 332.8e9),
    # the front-side bus: 64 bit × 1333 MT/s / 8
    ("c2q-q8400", "memory.theoretical_bandwidth", 10.7e9),
    ("rtx-4090", "gpu.l2.value", 72 * MIB),
    ("epyc-9654", "cpu.l3.value", 384 * MIB),
    ("rpi5", "cpu.l1d_per_core.value", 64 * 1024),
    ("a100-pcie-80", "memory.capacity.value", 80 * 2**30),
    ("b200", "memory.capacity.value", 180 * 2**30),
    ("rpi5", "price.value", 80),
    ("i9-13900k", "power_options.turbo.value", 253),
]


@pytest.mark.parametrize(("name", "path", "value"), SPOT, ids=[f"{name} {path}" for name, path, _ in SPOT])
def test_published_figures(name: str, path: str, value: float) -> None:
    found: object = device(name)
    for part in path.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    assert found == pytest.approx(value, rel=1e-3)


PEAKS = [
    ("a100-pcie-80", "fp16", 312e12),
    ("h100-sxm", "fp16", 989.4e12),
    ("h100-sxm", "int8", 1979e12),
    ("rtx-4090", "int8", 660.6e12),
    ("rtx-4090", "fp16_acc32", 165.2e12),
    ("rtx-3090", "int8", 284e12),
    # 8 cores × 128 lanes × 2 × 1.278 GHz
    ("m1-8gpu", "fp32", 2.617e12),
    # 40 CU × 512 operations × 2.9 GHz
    ("strix-halo", "fp16", 59.4e12),
]


@pytest.mark.parametrize(("name", "path", "value"), PEAKS, ids=[f"{name} {path}" for name, path, _ in PEAKS])
def test_published_peaks(name: str, path: str, value: float) -> None:
    assert peak(name, path) == pytest.approx(value, rel=0.007)


def test_cpu_peaks_count_every_cluster() -> None:
    # Raspberry Pi 5: 4 cores × 2.4 GHz × two 128-bit pipes, 64 int8 operations a cycle
    assert device("rpi5").peaks("cpu")["int8"] == pytest.approx(4 * 2.4e9 * 64)
    # 13900K: 8 P cores at 5.4 GHz × 32 and 16 E cores at 4.3 GHz × 16
    assert device("i9-13900k").peaks("cpu")["fp32"] == pytest.approx(8 * 5.4e9 * 32 + 16 * 4.3e9 * 16)
    # Sapphire Rapids: 56 cores × 3.8 GHz × 2048
    assert device("xeon-8480").peaks("cpu")["amx_int8"] == pytest.approx(56 * 3.8e9 * 2048)


def test_the_a100_turns_compute_bound_at_161_operations_per_byte() -> None:
    # 312e12 FLOP/s / 1935e9 B/s: the batch at which fp16 decode of one byte per operation stops being memory-bound
    assert peak("a100-pcie-80", "fp16") / device("a100-pcie-80").memory_bandwidth == pytest.approx(161.2, abs=0.1)


def test_boards_of_other_sizes_are_options() -> None:
    assert load_hardware("rpi5-4gb").spec.capacity() == 4 * 2**30
    assert load_hardware("pi5").id == "rpi5"
    assert load_hardware("m2-ultra").id == "m2-ultra-76"
