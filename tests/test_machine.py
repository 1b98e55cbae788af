"""A device as an engine uses it: threads, bandwidth, rates, and what it costs to start an operator."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline import api, catalog
from roofline.machine import make_machine
from roofline.runtime import Use
from roofline.spec import SpecError
from tests.small import CPU, GPU, hardware, machine, runtime

CORE_BANDWIDTH = {"backends.cpu.core_bandwidth": {"value": 2.0}}


# -- threads ----------------------------------------------------------------------------------------------------------


def test_the_fast_cores_of_all_sockets_work_by_default() -> None:
    assert machine(CPU).threads == 4
    assert machine(CPU, device={"cpu.sockets": 2}).threads == 8
    assert machine(GPU).threads == 1


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({}, 6),  # 4 + 2 cores, no more threads stated
        ({"cpu.threads": 10}, 10),
        ({"cpu.sockets": 2}, 12),
        ({"cpu.sockets": 2, "cpu.threads": 10}, 20),  # threads are those of one socket
    ],
)
def test_no_more_threads_than_the_device_has(changes: dict[str, Any], limit: int) -> None:
    assert machine(CPU, threads=limit, device=changes).threads == limit
    with pytest.raises(
        SpecError, match=rf"^--threads: expected at most {limit}, the threads of Box, found {limit + 1}$"
    ):
        machine(CPU, threads=limit + 1, device=changes)


@pytest.mark.parametrize("threads", [0, -1])
@pytest.mark.parametrize("table", [CPU, GPU], ids=["cpu", "gpu"])
def test_at_least_one_thread(table: dict[str, Any], threads: int) -> None:
    with pytest.raises(SpecError, match=f"^--threads: expected at least 1, found {threads}$"):
        machine(table, threads=threads)


def test_a_backend_that_the_device_or_the_engine_lacks() -> None:
    with pytest.raises(SpecError, match=r"^--backend: expected one that Card has \(cuda\), found 'cpu'$"):
        make_machine(hardware(GPU), runtime(), "cpu", None)
    both = hardware(GPU, {"backends": ["vulkan", "cuda"]})
    assert make_machine(both, runtime(), None, None).backend == "cuda", "the first that the engine has"
    with pytest.raises(SpecError, match=r"^--backend: expected one that engine has \(cuda, cpu\), found 'vulkan'$"):
        make_machine(both, runtime(), "vulkan", None)


# -- memory -----------------------------------------------------------------------------------------------------------


def test_a_share_of_the_bandwidth_is_sustained() -> None:
    assert machine(GPU).sustained_bandwidth == pytest.approx(50e9)  # 0.5 × 100 GB/s
    assert machine(CPU).sustained_bandwidth == pytest.approx(5e9)  # desktop: 0.5 × 10 GB/s
    server = {"memory": {"type": "DDR5", "channels": 8, "bandwidth": "10 GB/s"}}
    assert machine(CPU, device=server).sustained_bandwidth == pytest.approx(4e9)  # any: 0.4 × 10 GB/s


def test_a_measured_bandwidth_wins_over_the_share() -> None:
    # 8 GB/s measured of 10 GB/s; 'gpu' and 'cpu 1 core' are somebody else's.
    sustained = {"memory.sustained": {"cpu": "8 GB/s", "gpu": "1 GB/s", "cpu 1 core": "2 GB/s"}}
    box = machine(CPU, device=sustained)
    assert box.bandwidth_share.value == pytest.approx(0.8)
    assert box.bandwidth_share.basis == "measured"
    assert box.sustained_bandwidth == pytest.approx(8e9)
    assert machine(GPU, device={"memory.sustained": {"cpu": "8 GB/s"}}).sustained_bandwidth == pytest.approx(50e9)


def test_memory_of_a_class_that_the_engine_does_not_know_is_refused() -> None:
    with pytest.raises(SpecError, match=r"backends\.cuda\.memory: expected a share for 'hbm' memory, found gddr"):
        _ = machine(GPU, device={"memory.type": "HBM2e"}).sustained_bandwidth


@pytest.mark.parametrize(
    ("threads", "cycles"),
    [(1, 2e9), (4, 8e9), (5, 9e9), (6, 10e9)],  # 4 cores of 2 GHz, then 2 of 1 GHz
)
def test_few_cores_read_less_than_the_socket_gives(threads: int, cycles: float) -> None:
    # The fourth-power mean of the cores' own limit, 2 bytes a cycle, and of the socket's 5 GB/s.
    expected = ((2 * cycles) ** -4 + (5e9) ** -4) ** -0.25
    assert machine(CPU, threads, engine=CORE_BANDWIDTH).sustained_bandwidth == pytest.approx(expected)


@given(st.integers(min_value=1, max_value=5))
def test_a_thread_more_never_reads_less(threads: int) -> None:
    fewer, more = (machine(CPU, count, engine=CORE_BANDWIDTH) for count in (threads, threads + 1))
    assert fewer.sustained_bandwidth < more.sustained_bandwidth < 5e9


def test_a_second_socket_adds_what_the_engine_makes_of_it() -> None:
    two = {"cpu.sockets": 2}
    assert machine(CPU, device=two).theoretical_bandwidth == 20e9
    assert machine(CPU, device=two).sustained_bandwidth == pytest.approx(10e9)
    gain = {"backends.cpu.socket_share": {"value": 0.6}}
    assert machine(CPU, device=two, engine=gain).sustained_bandwidth == pytest.approx(6e9)  # 10 × 0.6


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        ("h100-sxm", "hbm"),
        ("rtx-4090", "gddr"),
        ("m2-ultra-76", "apple"),
        ("rpi5", "board"),
        ("agx-orin-64", "unified"),
        ("dgx-spark", "unified"),
        ("strix-halo", "unified"),
        ("tr-7995wx", "server"),
        ("ryzen-7950x", "desktop"),
        ("radeon-780m", "laptop"),
    ],
)
def test_memory_classes(identity: str, name: str) -> None:
    assert catalog.load_hardware(identity).spec.memory_class == name


# -- arithmetic -------------------------------------------------------------------------------------------------------


def test_the_first_kernel_that_serves_is_taken() -> None:
    card = machine(GPU)
    assert card.kernel(Use("f16", few=True)).path == "fp16"
    assert card.kernel(Use("f16", few=False)).path == "int8"
    assert card.kernel(Use("q4_0", few=True)).path == "int8"
    assert card.kernel(Use("f16", few=True, attention=True)).path == "fp32"


def test_a_rate_is_a_share_of_the_peak_or_operations_a_cycle() -> None:
    card, box = machine(GPU), machine(CPU)
    assert card.rate(Use("q4_0", few=True)) == pytest.approx(0.5e12)
    # 8 operations × 4 cores × 2 GHz (the slow cores idle), slowed by these cores' share of the peak of 160 GFLOP/s.
    assert box.rate(Use("q4_0", few=True)) == pytest.approx(1e9 / (64**-2 + 128**-2) ** 0.5)
    six = machine(CPU, threads=6)
    assert six.rate(Use("q4_0", few=True)) == pytest.approx(1e9 / (80**-2 + 160**-2) ** 0.5)  # 8 × (4 × 2 + 2 × 1) GHz


def test_no_kernel_beats_the_peak_of_its_path() -> None:
    # 100 operations a cycle on cores that can do 16: (4 × 2 GHz + 2 × 1 GHz) × 16 = 160 GFLOP/s is all there is.
    box = machine(CPU, engine={"backends.cpu.kernels.0.per_cycle": {"value": 100.0}})
    assert box.rate(Use("q4_0", few=True)) <= 160e9


def factor(on: str, value: float, **where: Any) -> dict[str, Any]:
    return {"backends.cuda.factors": [{"name": "f", "on": on, "value": {"value": value}, **where}]}


def test_a_factor_corrects_what_it_is_on() -> None:
    use = Use("q4_0", few=True)
    assert machine(GPU, engine=factor("rate", 0.5)).rate(use) == pytest.approx(0.25e12)
    assert machine(GPU, engine=factor("rate", 0.5, types=["k"])).rate(use) == pytest.approx(0.5e12)
    assert machine(GPU, engine=factor("rate", 0.5, architecture=["2.*"])).rate(use) == pytest.approx(0.5e12)
    assert machine(GPU, engine=factor("memory", 0.5)).sustained_bandwidth == pytest.approx(25e9)
    assert machine(GPU, engine=factor("memory", 0.5, memory=["hbm"])).sustained_bandwidth == pytest.approx(50e9)
    assert machine(GPU, engine=factor("launch", 3.0)).node_seconds == pytest.approx(3e-6)
    assert machine(GPU, engine=factor("stream", 0.5)).stream_share(use) == pytest.approx(0.5)


def test_no_factor_lifts_a_constant_above_its_ceiling() -> None:
    use = Use("q4_0", few=True)
    assert machine(GPU, engine=factor("rate", 9.0)).rate(use) <= 1e12
    assert machine(GPU, engine=factor("memory", 9.0)).sustained_bandwidth <= 100e9
    fast = machine(GPU, engine=factor("stream", 9.0))
    assert fast.stream_share(use) * fast.sustained_bandwidth <= 100e9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gpu.peak": {"fp16": "1 TFLOP/s"}}, r"^Card: peak\.int8: expected a figure for any weights, found fp16$"),
        ({"gpu.peak": {}}, r"^Card: peak.*: expected .*, found none$"),
    ],
)
def test_a_missing_peak_is_an_error_and_no_guess(changes: dict[str, Any], message: str) -> None:
    card = machine(GPU, device=changes)
    with pytest.raises(SpecError, match=message):
        card.rate(Use("q4_0", few=True))


def test_the_speed_of_light_uses_the_best_peak_that_could_serve() -> None:
    peaks = {"gpu.peak": {"fp32": "1 TFLOP/s", "fp16": "2 TFLOP/s", "int8": "4 TFLOP/s"}}
    card = machine(GPU, device=peaks)
    assert card.ceiling("q4_0").peak == 4e12
    assert card.ceiling("f16").peak == 2e12, "integer units are no use for f16 weights"
    assert card.ceiling("q4_0").bandwidth == 100e9
    assert card.ceiling("f16").ridge_point == pytest.approx(20.0)
    with pytest.raises(SpecError, match=r"^Card: peak: expected one of fp16, .* for f16 weights, found int8$"):
        machine(GPU, device={"gpu.peak": {"int8": "4 TFLOP/s"}}).ceiling("f16")


# -- overhead ---------------------------------------------------------------------------------------------------------


def test_a_node_costs_a_launch_or_a_barrier() -> None:
    assert machine(GPU).node_seconds == pytest.approx(1e-6)
    assert machine(CPU).node_seconds == pytest.approx(1e-6 + 4 * 1e-7)
    assert machine(CPU, threads=1).node_seconds == 0, "one thread waits for nobody"


def test_launches_are_looked_up_by_architecture() -> None:
    rules = [
        {"architecture": ["9.*"], "seconds": {"value": 1e-6}},
        {"architecture": ["8.*"], "seconds": {"value": 2e-6}},
    ]
    engine = {"backends.cuda.launch": rules}
    assert machine(GPU, device={"gpu.architecture": "8.6"}, engine=engine).node_seconds == pytest.approx(2e-6)
    with pytest.raises(SpecError, match=r"backends\.cuda\.launch: expected a cost for '1\.0', found none"):
        _ = machine(GPU, engine=engine).node_seconds


@pytest.mark.parametrize("identity", ["rpi5", "tr-7995wx", "epyc-9654", "ryzen-7950x"])
def test_barriers_grow_with_threads(identity: str) -> None:
    device, engine = catalog.load_hardware(identity).spec, catalog.load_runtime("llama.cpp").spec
    assert device.cpu is not None
    costs = [make_machine(device, engine, "cpu", count).node_seconds for count in range(1, device.cpu.fast_cores + 1)]
    assert costs == sorted(costs)
    assert len(set(costs)) == len(costs)


# -- figures given on the command line --------------------------------------------------------------------------------


def bandwidths(hw: str, **overrides: str) -> tuple[float, float]:
    """(theoretical, sustained) bandwidth with `memory__bandwidth="…"` standing for memory.bandwidth."""
    found, _ = api.load_machine(
        hw, "llama.cpp", None, None, {key.replace("__", "."): text for key, text in overrides.items()}
    )
    return found.theoretical_bandwidth, found.sustained_bandwidth


def test_a_rate_replaces_the_bandwidth_and_the_other_way_round() -> None:
    # A Raspberry Pi 5 has 32 bit: 32 / 8 × 6400 MT/s = 25.6 GB/s.
    assert bandwidths("rpi5", memory__transfer_rate="6400 MT/s")[0] == pytest.approx(25.6e9)
    assert bandwidths("rpi5", memory__bandwidth="25.6 GB/s")[0] == pytest.approx(25.6e9)
    assert bandwidths("rpi5", memory__channels="2")[0] == pytest.approx(2 * bandwidths("rpi5")[0])
    assert bandwidths("rpi5", memory__channel_bits="64")[0] == pytest.approx(2 * bandwidths("rpi5")[0])


@pytest.mark.parametrize("hw", ["e5-2650v4", "2x-e5-2650v4", "e5-2650v4x2"])
def test_what_was_measured_scales_with_a_faster_memory(hw: str) -> None:
    # 64 of 76.8 GB/s were measured with DDR4-2400; the share stays when the memory changes.
    entry = catalog.load_hardware(hw, (("memory.transfer_rate", "3200 MT/s"),))
    sustained = entry.spec.memory.sustained["cpu"]
    assert sustained.value == pytest.approx(64e9 * 3200 / 2400)
    assert sustained.basis == "derived"
    slow, fast = bandwidths(hw), bandwidths(hw, memory__transfer_rate="3200 MT/s")
    assert fast[0] == pytest.approx(slow[0] * 4 / 3)
    assert slow[1] < fast[1] <= slow[1] * 4 / 3 * (1 + 1e-12)


def test_a_measured_bandwidth_can_be_given() -> None:
    entry = catalog.load_hardware("e5-2650v4", (("memory.sustained.cpu", "50 GB/s"),))
    assert entry.spec.memory.sustained["cpu"].value == pytest.approx(50e9)
    assert entry.spec.memory.sustained["cpu"].basis == "override"
    both = catalog.load_hardware(
        "e5-2650v4", (("memory.transfer_rate", "3200 MT/s"), ("memory.sustained.cpu", "50 GB/s"))
    )
    assert both.spec.memory.sustained["cpu"].value == pytest.approx(50e9), "a figure that is given is not scaled"


def test_an_override_is_marked_and_leaves_the_catalog_alone() -> None:
    changed = catalog.load_hardware("rtx-4090", (("memory.bandwidth", "2 TB/s"), ("gpu.peak.int8", "1 PFLOP/s")))
    figures = changed.spec.figures()
    assert figures["memory.bandwidth"].value == pytest.approx(2e12)
    assert [path for path, figure in figures.items() if figure.basis == "override"] == [
        "memory.bandwidth",
        "gpu.peak.int8",
    ]
    assert catalog.load_hardware("rtx-4090").spec.figures()["memory.bandwidth"].value == pytest.approx(1008e9)


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("memory.bandwidht", "1 GB/s", ["memory.bandwidht", "no such key"]),
        ("colour", "red", ["colour", "no such key"]),
        ("memory.bandwidth", "1 GHz", ["memory.bandwidth", "B/s", "1 GHz"]),
        ("memory.bandwidth", "-1 GB/s", ["memory.bandwidth", "positive"]),
        ("memory.bandwidth", "nan", ["memory.bandwidth"]),
        ("memory.channels", "0", ["memory.channels", "greater than 0"]),
        ("memory.channels", "two", ["memory.channels", "integer"]),
        ("cpu.clusters.7.cores", "4", ["cpu.clusters.7.cores", "'7'"]),
        ("cpu.clusters.0.per_cycle.int8", "inf", ["per_cycle.int8", "inf"]),
        ("cpu.clusters.0", "4", ["cpu.clusters.0"]),
        ("name.first", "x", ["name.first"]),
        ("", "x", ["--set"]),
        ("a\x1b[31m.b", "x", ["no such key"]),
        ("name\x1b[31m.b.c", "x", []),
    ],
)
def test_a_bad_override_is_one_line(path: str, text: str, words: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        catalog.load_hardware("rpi5", ((path, text),))
    message = str(caught.value)
    assert message.isprintable()
    for word in ["expected", "found", *words]:
        assert word in message


@pytest.mark.parametrize("text", ["1e-100 B/s", "1e-320 B/s", "1e300 B/s"])
@pytest.mark.parametrize("hw", ["rpi5", "rtx-4090"])
def test_a_bandwidth_that_no_memory_has_is_refused(hw: str, text: str) -> None:
    # Else the arithmetic overflows: (1e-100)⁻⁴ is no float, and infinite seconds are no JSON.
    with pytest.raises(SpecError, match=r"memory\.bandwidth: expected .* found"):
        api.predict(hw, "tinyllama-1.1b", "q8_0", set={"memory.bandwidth": text})
