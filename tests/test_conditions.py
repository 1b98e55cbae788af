"""What disturbed a measurement: told from made files of /proc and /sys before and after it."""

import os
from dataclasses import replace

import pytest

from roofline.measure.conditions import Disturbance, Snapshot, disturbances, on_battery, own_time, snapshot
from roofline.measure.source import Live

CPU = "/sys/devices/system/cpu"
HZ = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class Made:
    """A machine of made files."""

    def __init__(self, files: dict[str, str], commands: dict[str, str] | None = None) -> None:
        self.files = files
        self.commands = commands or {}

    def text(self, path: str) -> str | None:
        return self.files.get(path)

    def command(self, *words: str) -> str | None:
        return self.commands.get(" ".join(words))

    def names(self, folder: str) -> list[str]:
        inside = (path.removeprefix(f"{folder}/") for path in self.files if path.startswith(f"{folder}/"))
        return sorted({name.split("/")[0] for name in inside})


def state(files: dict[str, str], *, own: float = 0.0, battery: bool | None = None, **commands: str) -> Snapshot:
    named = {name.replace("_", " ", 1): text for name, text in commands.items()}
    return snapshot(Made(files, named), clock=lambda: 0.0, own=lambda: own, battery=lambda: battery)


def proc_stat(user: int, idle: int, stolen: int = 0) -> dict[str, str]:
    """user, idle and stolen of two CPUs together [s]."""
    words = [user * HZ, 0, 0, idle * HZ, 0, 0, 0, stolen * HZ, 0, 0]
    return {"/proc/stat": f"cpu  {' '.join(map(str, words))}\ncpu0 1 2\ncpu1 1 2\nintr 5\n"}


def told(before: Snapshot, after: Snapshot) -> dict[str, str]:
    return {one.what: one.found for one in disturbances(before, after)}


def test_a_machine_without_any_of_the_files_is_quiet() -> None:
    empty = state({})
    assert empty == Snapshot(time=0.0, own=0.0)
    assert disturbances(empty, empty) == ()


def test_our_own_time_is_no_disturbance() -> None:
    # 2 CPUs, 10 s: 15 s of work, all of it ours.
    assert told(state(proc_stat(100, 100), own=7.0), state(proc_stat(115, 105), own=22.0)) == {}


def test_other_processes_are_what_is_busy_and_not_ours() -> None:
    # 15 s busy, 10 of them ours: 5 of 20 s are others'.
    found = told(state(proc_stat(100, 100)), state(proc_stat(115, 105), own=10.0))
    assert found == {"other processes": "they used 25% of the CPU time"}


def test_steal_is_told_as_a_share_of_all_time() -> None:
    # 12 s ours, 4 s idle, 4 s stolen, of 20 s.
    found = told(state(proc_stat(0, 0)), state(proc_stat(12, 4, 4), own=12.0))
    assert found == {"steal": "the host took 20% of the CPU time of this virtual machine"}


@pytest.mark.parametrize(("load", "quiet"), [("0.10", True), ("0.60", False), ("", True), ("none", True)])
def test_load_counts_before_the_start_and_by_cpu(load: str, quiet: bool) -> None:
    # The threshold is a quarter of a process a CPU: 0.5 on two.
    before = state({**proc_stat(0, 0), "/proc/loadavg": f"{load} 0.5 0.5 1/300 4000\n"})
    assert ("load" not in told(before, state({}))) == quiet
    assert "load" not in told(state({}), before)  # afterwards the load is our own


def test_throttling_is_the_events_between() -> None:
    files = [
        {f"{CPU}/cpu{cpu}/thermal_throttle/{kind}_throttle_count": f"{count}\n" for cpu in (0, 1) for kind in ("core",)}
        for count in (5, 7)
    ]
    files[1][f"{CPU}/cpu0/thermal_throttle/core_throttle_total_time_ms"] = "900\n"
    files[1][f"{CPU}/cpufreq/policy0/thermal_throttle/core_throttle_count"] = "900\n"
    before, after = map(state, files)
    assert told(before, after) == {"throttling": "the CPU was slowed by heat or power 4 times"}
    assert told(after, after) == {}
    assert told(state({}), after) == {}  # a counter that was not there before says nothing about now


def test_clock_governor_and_limit() -> None:
    def files(current: int) -> dict[str, str]:
        return {
            f"{CPU}/cpu0/cpufreq/scaling_cur_freq": f"{current}\n",
            f"{CPU}/cpu0/cpufreq/scaling_max_freq": "2000000\n",
            f"{CPU}/cpu0/cpufreq/cpuinfo_max_freq": "2400000\n",
            f"{CPU}/cpu0/cpufreq/scaling_governor": "ondemand\n",
        }

    assert told(state(files(2000000)), state(files(1500000))) == {
        "clock": "2.00 GHz before, 1.50 GHz after",
        "governor": "the clock follows the governor ondemand",
        "clock limit": "1 CPUs may not reach their highest clock (scaling_max_freq)",
    }
    assert "clock" not in told(state(files(2000000)), state(files(1900000)))
    performance = {f"{CPU}/cpu0/cpufreq/scaling_governor": "performance\n"}
    assert told(state(performance), state(performance)) == {}


@pytest.mark.parametrize(
    ("groups", "path"),
    [
        ("0::/user.slice/one\n", "/sys/fs/cgroup/user.slice/one/cpu.stat"),
        ("0::/\n", "/sys/fs/cgroup/cpu.stat"),
        ("0::/not/visible/here\n", "/sys/fs/cgroup/cpu.stat"),
        ("4:memory:/a\n3:cpu,cpuacct:/docker/b\n", "/sys/fs/cgroup/cpu,cpuacct/docker/b/cpu.stat"),
        ("3:cpu:/\n", "/sys/fs/cgroup/cpu/cpu.stat"),
    ],
)
def test_the_quota_of_a_control_group(groups: str, path: str) -> None:
    before, after = (
        state({"/proc/self/cgroup": groups, path: f"nr_periods 50\nnr_throttled {count}\nthrottled_usec 9\n"})
        for count in (3, 8)
    )
    assert told(before, after) == {"CPU quota": "the control group was held back 5 times"}


def test_swapping_during_the_run_and_swap_in_use() -> None:
    def files(pages: int, free: int) -> dict[str, str]:
        return {
            "/proc/vmstat": f"nr_free_pages 9\npswpin {pages}\npswpout {pages}\n",
            "/proc/meminfo": f"MemTotal: 8388608 kB\nSwapTotal: 4194304 kB\nSwapFree: {free} kB\n",
        }

    assert told(state(files(1, 4194304)), state(files(3, 4194304))) == {"swap": "4 pages were swapped"}
    assert told(state(files(1, 0)), state(files(1, 0))) == {"swap": "4.00 GiB are swapped out"}
    assert told(state(files(1, 4000000)), state(files(1, 4000000))) == {}  # a little, of long ago


def test_battery_and_firmware() -> None:
    plugged, unplugged = state({}, battery=False), state({}, battery=True)
    assert told(plugged, plugged) == {}
    assert set(told(plugged, unplugged)) == {"battery"}
    # 0x50005: under-voltage and throttled now (bits 0 and 2) and since the boot (16 and 18).
    assert told(state({}), state({}, vcgencmd_get_throttled="throttled=0x50005\n")) == {
        "firmware": "it says: under-voltage, throttled"
    }
    assert told(state({}), state({}, vcgencmd_get_throttled="throttled=0x50000\n")) == {}
    mac = {"pmset -g therm": "CPU_Scheduler_Limit \t= 100\n CPU_Speed_Limit \t= 70\n"}
    hot = snapshot(Made({}, mac), clock=lambda: 0.0, own=lambda: 0.0, battery=lambda: None)
    assert told(hot, hot) == {"firmware": "it says: the CPU is limited to 70 % of its speed"}


def test_garbage_is_unknown() -> None:
    paths = [
        "/proc/stat",
        "/proc/loadavg",
        "/proc/meminfo",
        "/proc/vmstat",
        "/proc/self/cgroup",
        "/sys/fs/cgroup/cpu.stat",
    ]
    paths += [f"{CPU}/cpu0/cpufreq/scaling_cur_freq", f"{CPU}/cpu0/thermal_throttle/core_throttle_count"]
    for text in (
        "1e400",
        "",
        "\n",
        "cpu  1 2 3",
        "garbage \x00\x1b[31m",
        ":::\n",
        "nan",
        "9" * 5000,
        "cpu  " + f"{'9' * 5000} " * 10,
    ):
        made = state(dict.fromkeys(paths, text))
        assert disturbances(made, made) == ()


def test_every_disturbance_is_one_line_with_a_remedy() -> None:
    before = replace(state(proc_stat(0, 0)), load=9.0, swapped=1, held_back=1, throttled={"a": 1}, clocks={"cpu0": 9.0})
    after = replace(
        state(proc_stat(10, 5, 5)), swapped=2, held_back=2, throttled={"a": 2}, clocks={"cpu0": 1.0}, battery=True,
        governors={"cpu0": "powersave"}, capped=("cpu0",), firmware=("throttled",),
    )  # fmt: skip
    found = disturbances(before, after)
    assert [one.what for one in found] == [
        "steal", "other processes", "load", "CPU quota", "throttling", "firmware", "clock", "governor", "clock limit",
        "battery", "swap",
    ]  # fmt: skip
    for one in found:
        assert one.found and one.remedy and "\n" not in str(one)
    assert str(Disturbance("a", "b", "c")) == "a: b; c"


def test_this_machine_can_be_asked() -> None:
    before = snapshot(Live())
    assert on_battery() in (True, False, None)
    assert own_time() >= before.own > 0
    for one in disturbances(before, snapshot(Live())):
        assert one.remedy
