"""The ceilings that a ladder is compared with, on machines that are described, not measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from roofline import catalog
from roofline.measure import timing
from roofline.measure.identity import Identity
from roofline.measure.ladder import here as looking
from roofline.measure.ladder.here import Here, look
from roofline.measure.seen import Caches, Cluster
from roofline.spec import SpecError
from roofline.units import parse

GHZ, GB_S = parse("1 GHz", "Hz"), parse("1 GB/s", "B/s")
#: Two fast cores at 3 GHz with 32 operations a cycle, four small ones at 2 GHz with 8.
MIXED = Identity(
    processor="A mixed chip", isa=("neon",), vendor="Arm", microarchitecture="no-such-core", threads=6,
    clusters=(Cluster("P", 2, "fast", 3 * GHZ), Cluster("E", 4, "small", 2 * GHZ)),
    caches=Caches(l2=6 * 2**20, l3=8 * 2**20),
)  # fmt: skip


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Any:
    """look() at an identity: cores of the catalog by their names, no host file, a sweep that finds 10 GB/s a thread."""

    def twin(cluster: Cluster, *_: Any) -> Any:
        rate = {"fast": 32.0, "small": 8.0}.get(cluster.microarchitecture)
        if rate is None:
            return None
        core = SimpleNamespace(
            per_cycle={"fp32": SimpleNamespace(value=rate)}, peak_clock=2.5 * GHZ, sustained_clock=2.4 * GHZ
        )
        return SimpleNamespace(cluster=core, exact=True, file="hardware/some.toml")

    class Curves:
        @staticmethod
        def of(_points: Any, _kernel: str, threads: int) -> Any:
            return SimpleNamespace(memory=SimpleNamespace(median=10 * threads * GB_S)) if threads < 6 else None

    def no_host(_: str) -> Any:
        raise SpecError("host: there is none")

    monkeypatch.setattr(looking, "twin", twin)
    monkeypatch.setattr(looking, "Curve", Curves)
    monkeypatch.setattr(looking, "sweep", lambda *_, **__: ())
    monkeypatch.setattr(catalog, "load_hardware", no_host)
    return lambda identity, threads: look(identity, threads, 0.1, True)


def test_slower_cores_count_by_their_clock_and_operations(seen: Any) -> None:
    """With six threads: 2 cores · 3 GHz, then 4 · 2 GHz of one that does 8 of 32 a cycle: 6 + 4 · 2 · 8/32 = 8 GHz."""
    found: Here = seen(MIXED, (1, 2, 4, 6))
    assert {n: cycles / GHZ for n, cycles in found.cycles.items()} == pytest.approx({1: 3, 2: 6, 4: 7, 6: 8})
    assert found.peak("fp32", 6) == pytest.approx(32 * 8 * GHZ)
    assert found.clock == dict.fromkeys((1, 2, 4, 6), 3 * GHZ) and found.clock_basis == "stated by the system"
    assert (found.l2, found.l3) == (2**20, 8 * 2**20)
    assert found.bandwidth == {1: 10 * GB_S, 2: 20 * GB_S, 4: 40 * GB_S}
    assert found.ceilings("fp32", 6) is None  # whose bandwidth was not measured
    two = seen(replace(MIXED, sockets=2), (4,))
    assert two.cycles[4] == pytest.approx(4 * 3 * GHZ)  # four fast cores in two sockets


def test_a_container_with_a_quota_has_fewer_cores(seen: Any) -> None:
    limited = replace(MIXED, cpu_limit=1.5, container="docker")
    assert (seen(MIXED, (1,)).cores, seen(limited, (1,)).cores) == (6, 2)
    assert seen(limited, (1,)).l2 == 2**20  # as before: the caches are the machine's


def test_a_core_that_the_catalog_lacks_has_no_peak(seen: Any) -> None:
    unknown = replace(MIXED, clusters=(Cluster("P", 2, "new", None),), caches=Caches())
    found = seen(unknown, (1,))
    assert (found.per_cycle, found.clock, found.cycles, found.l2, found.l3) == ({}, {}, {}, None, None)
    assert found.peak("fp32", 1) is None and found.per_cycle_basis == "the catalog has no such core"
    assert seen(Identity(), (1,)).name == "this machine"


def test_bandwidth_of_the_host_file_is_used_where_it_has_all_threads(
    seen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stated = {"cpu 1 thread": SimpleNamespace(value=7 * GB_S), "cpu 2 threads": SimpleNamespace(value=9 * GB_S)}
    host = SimpleNamespace(spec=SimpleNamespace(memory=SimpleNamespace(sustained=stated)))
    monkeypatch.setattr(catalog, "load_hardware", lambda _: host)
    assert seen(MIXED, (1, 2)).bandwidth == {1: 7 * GB_S, 2: 9 * GB_S}
    assert seen(MIXED, (1, 4)).bandwidth == {1: 10 * GB_S, 4: 40 * GB_S}  # all of one measurement


def test_a_single_thread_runs_on_a_fast_core(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """CPU 0 of many boards is a small core; the kernel says 1024 of the fastest."""
    for cpu, capacity in enumerate(("381", "381", "1024", "1024", "what")):
        (tmp_path / f"capacity{cpu}").write_text(capacity, encoding="ascii")
    monkeypatch.setattr(timing, "_CAPACITY", str(tmp_path / "capacity{}"))
    monkeypatch.setattr(timing, "_SIBLINGS", str(tmp_path / "none{}"))
    assert timing.one_per_core(range(6)) == (2, 3, 0, 1, 4, 5)
