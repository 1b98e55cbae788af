"""What disturbed a measurement: other processes, throttling, a battery. Told in one line each, with a remedy."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from roofline.units import format_quantity, parse

_CPUS = "/sys/devices/system/cpu"
_STOLEN = 0.01  # of all CPU time, from where it is told
_OTHERS = 0.02
_BUSY = 0.25  # runnable processes a CPU before the start
_SLOWER = 0.8  # of the clock before: lower is a drop
_SWAP = 0.1  # of the memory, in swap
_DIGITS = r"\d{1,18}"  # what the kernel writes; a longer number is no count
# The bits of `vcgencmd get_throttled`: https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
_PI_BITS = {0: "under-voltage", 1: "the clock is capped", 2: "throttled", 3: "at the soft temperature limit"}


class Source(Protocol):
    """Where facts are read; what cannot be had is None or []."""

    def text(self, path: str) -> str | None:
        """The content of a file."""

    def command(self, *words: str) -> str | None:
        """The output of a program."""

    def names(self, folder: str) -> list[str]:
        """The names in a folder."""


@dataclass(frozen=True, slots=True)
class Disturbance:
    """what: one word or two, for a list. found: what was seen. remedy: what to do about it."""

    what: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.found}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a machine at one moment; None or {} is unknown.

    time: of a clock that never goes back [s]. own: CPU time of this process and its finished children since their start
    [s]. busy, stolen, total: CPU time of all CPUs since the boot [s]. cpus: how many. load: runnable processes, mean of
    a minute. throttled: events by counter. clocks: Hz by CPU. capped: CPUs whose highest clock was set below the
    chip's. governors: by CPU. swapped: pages in and out since the boot. swap, memory: in use, and all there is [B].
    held_back: periods in which the control group had used up its CPU time. battery: runs on it. firmware: what the
    firmware says of itself.
    """

    time: float
    own: float
    busy: float | None = None
    stolen: float | None = None
    total: float | None = None
    cpus: int | None = None
    load: float | None = None
    throttled: dict[str, int] = field(default_factory=dict)
    clocks: dict[str, float] = field(default_factory=dict)
    capped: tuple[str, ...] = ()
    governors: dict[str, str] = field(default_factory=dict)
    swapped: int | None = None
    swap: float | None = None
    memory: float | None = None
    held_back: int | None = None
    battery: bool | None = None
    firmware: tuple[str, ...] = ()


def own_time() -> float:
    """CPU time that this process and its finished children have used [s]."""
    return sum(os.times()[:4])


def on_battery() -> bool | None:
    """Whether this machine runs on its battery; None where that is not known."""
    import psutil

    try:
        state = psutil.sensors_battery()
    except (AttributeError, OSError, NotImplementedError, RuntimeError):
        return None
    return None if state is None or state.power_plugged is None else not state.power_plugged


def snapshot(
    source: Source,
    *,
    clock: Callable[[], float] = time.monotonic,
    own: Callable[[], float] = own_time,
    battery: Callable[[], bool | None] = on_battery,
) -> Snapshot:
    """The state now. A file that is missing, unreadable or of another form leaves its field unknown."""
    busy, stolen, total, cpus = _cpu_times(source)
    throttled, clocks, governors, capped = _per_cpu(source)
    memory = dict(re.findall(rf"^(\w+):\s+({_DIGITS}) kB$", source.text("/proc/meminfo") or "", re.M))
    swap = [_kib(memory.get(name)) for name in ("SwapTotal", "SwapFree", "MemTotal")]
    pages = re.findall(rf"^pswp(?:in|out) ({_DIGITS})$", source.text("/proc/vmstat") or "", re.M)
    load = _number((source.text("/proc/loadavg") or "").split(" ")[0])
    return Snapshot(
        time=clock(),
        own=own(),
        busy=busy,
        stolen=stolen,
        total=total,
        cpus=cpus,
        load=load,
        throttled=throttled,
        clocks=clocks,
        capped=capped,
        governors=governors,
        swapped=sum(map(int, pages)) if pages else None,
        swap=None if swap[0] is None or swap[1] is None else swap[0] - swap[1],
        memory=swap[2],
        held_back=_held_back(source),
        battery=battery(),
        firmware=tuple(_firmware(source)),
    )


def disturbances(before: Snapshot, after: Snapshot) -> tuple[Disturbance, ...]:
    """What happened between two snapshots that a measurement made between them may have suffered from."""
    return (*_strangers(before, after), *_slowed(before, after), *_settings(before, after), *_swapping(before, after))


def _strangers(before: Snapshot, after: Snapshot) -> Iterator[Disturbance]:
    if None not in (before.total, after.total, before.busy, after.busy, before.stolen, after.stolen):
        assert before.total is not None and after.total is not None
        assert before.busy is not None and after.busy is not None
        assert before.stolen is not None and after.stolen is not None
        total = after.total - before.total
        stolen = (after.stolen - before.stolen) / total if total > 0 else 0.0
        others = (after.busy - before.busy - (after.own - before.own)) / total if total > 0 else 0.0
        if stolen >= _STOLEN:
            yield Disturbance(
                "steal",
                f"the host took {stolen:.0%} of the CPU time of this virtual machine",
                "measure again when its neighbours are quiet, or on a dedicated host",
            )
        if others >= _OTHERS:
            yield Disturbance(
                "other processes",
                f"they used {others:.0%} of the CPU time",
                "stop them (top shows which) and measure again",
            )
    if before.load is not None and before.load >= _BUSY * (before.cpus or 1):
        yield Disturbance(
            "load",
            f"{before.load:.1f} processes ran in the minute before the start, on {before.cpus or 'unknown'} CPUs",
            "wait until the load average (uptime) is near 0",
        )
    if before.held_back is not None and after.held_back is not None and after.held_back > before.held_back:
        yield Disturbance(
            "CPU quota",
            f"the control group was held back {after.held_back - before.held_back} times",
            "run outside the container, or raise its CPU limit",
        )


def _slowed(before: Snapshot, after: Snapshot) -> Iterator[Disturbance]:
    events = sum(max(count - before.throttled.get(name, count), 0) for name, count in after.throttled.items())
    if events:
        yield Disturbance(
            "throttling", f"the CPU was slowed by heat or power {events} times", "cool it better or let it rest first"
        )
    if after.firmware:
        yield Disturbance(
            "firmware", f"it says: {', '.join(after.firmware)}", "use a stronger power supply and better cooling"
        )
    shared = before.clocks.keys() & after.clocks.keys()
    if shared:
        first, last = (max(moment.clocks[cpu] for cpu in shared) for moment in (before, after))
        if last < _SLOWER * first:
            yield Disturbance(
                "clock",
                f"{format_quantity(first, 'Hz')} before, {format_quantity(last, 'Hz')} after",
                "cool it better, or fix the clock to one it can hold",
            )


def _settings(before: Snapshot, after: Snapshot) -> Iterator[Disturbance]:
    others = sorted({governor for governor in after.governors.values() if governor != "performance"})
    if others:
        yield Disturbance(
            "governor",
            f"the clock follows the governor {', '.join(others)}",
            "sudo cpupower frequency-set -g performance",
        )
    if after.capped:
        yield Disturbance(
            "clock limit",
            f"{len(after.capped)} CPUs may not reach their highest clock (scaling_max_freq)",
            "raise the limit, or state the clock with the result",
        )
    if before.battery or after.battery:
        yield Disturbance("battery", "the machine runs on its battery", "plug it in")


def _swapping(before: Snapshot, after: Snapshot) -> Iterator[Disturbance]:
    if before.swapped is not None and after.swapped is not None and after.swapped > before.swapped:
        yield Disturbance(
            "swap", f"{after.swapped - before.swapped} pages were swapped", "close programs, or measure smaller sets"
        )
    elif after.swap and after.memory and after.swap >= _SWAP * after.memory:
        yield Disturbance(
            "swap",
            f"{format_quantity(after.swap, 'B', binary=True)} are swapped out",
            "close programs that hold memory",
        )


def _cpu_times(source: Source) -> tuple[float | None, float | None, float | None, int | None]:
    """(busy, stolen, total [s], CPUs) of /proc/stat (man 5 proc_stat).

    Guest time is in user's and nice's already; waiting for a disk is idle.
    """
    text = source.text("/proc/stat") or ""
    match = re.search(rf"^cpu +({_DIGITS}(?: {_DIGITS}){{7,}})\s*$", text, re.M)
    if match is None:
        return None, None, None, None
    user, nice, system, idle, waiting, interrupts, soft, stolen = (int(word) for word in match[1].split()[:8])
    busy = user + nice + system + interrupts + soft
    hz = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    ticks = (busy, stolen, busy + idle + waiting + stolen)
    return (*(value / hz for value in ticks), len(re.findall(r"^cpu\d+ ", text, re.M)))  # type: ignore[return-value]


def _per_cpu(source: Source) -> tuple[dict[str, int], dict[str, float], dict[str, str], tuple[str, ...]]:
    throttled: dict[str, int] = {}
    clocks: dict[str, float] = {}
    governors: dict[str, str] = {}
    capped: list[str] = []
    for cpu in source.names(_CPUS):
        if not re.fullmatch(r"cpu\d+", cpu):
            continue
        for name in source.names(f"{_CPUS}/{cpu}/thermal_throttle"):
            count = _number(source.text(f"{_CPUS}/{cpu}/thermal_throttle/{name}"))
            if name.endswith("count") and count is not None:
                throttled[f"{cpu}/{name}"] = int(count)
        current, allowed, highest = (
            _kilohertz(source.text(f"{_CPUS}/{cpu}/cpufreq/{name}"))
            for name in ("scaling_cur_freq", "scaling_max_freq", "cpuinfo_max_freq")
        )
        if current is not None:
            clocks[cpu] = current
        if allowed is not None and highest is not None and allowed < highest:
            capped.append(cpu)
        governor = source.text(f"{_CPUS}/{cpu}/cpufreq/scaling_governor")
        if governor and governor.strip():
            governors[cpu] = governor.strip()
    return throttled, clocks, governors, tuple(capped)


def _held_back(source: Source) -> int | None:
    """Periods in which this process's control group had no CPU time left, by cpu.stat of version 2 or 1."""
    folders = ["", "/cpu", "/cpu,cpuacct"]
    for line in (source.text("/proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers or "cpu" in controllers.split(","):
            folders.insert(0, f"{'/' * bool(controllers)}{controllers}{path.rstrip('/')}")
    for folder in folders:
        match = re.search(rf"^nr_throttled ({_DIGITS})$", source.text(f"/sys/fs/cgroup{folder}/cpu.stat") or "", re.M)
        if match:
            return int(match[1])
    return None


def _firmware(source: Source) -> Iterator[str]:
    throttled = re.search(r"throttled=0x([0-9a-fA-F]{1,16})\b", source.command("vcgencmd", "get_throttled") or "")
    if throttled:
        bits = int(throttled[1], 16)
        yield from (words for bit, words in _PI_BITS.items() if bits >> bit & 1)
    limit = re.search(rf"CPU_Speed_Limit\s*=\s*({_DIGITS})\b", source.command("pmset", "-g", "therm") or "")
    if limit and int(limit[1]) < 100:
        yield f"the CPU is limited to {limit[1]} % of its speed"


def _number(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(rf"\s*{_DIGITS}(?:\.{_DIGITS})?\s*", text) else None


def _kib(text: str | None) -> float | None:
    return None if text is None else parse(f"{text} KiB", "B")


def _kilohertz(text: str | None) -> float | None:
    number = _number(text)
    return None if number is None else parse(f"{number:.0f} kHz", "Hz")
