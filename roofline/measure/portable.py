"""Systems without /proc or sysctl (Windows, the BSDs), by psutil and py-cpuinfo. Only ever this machine."""

from __future__ import annotations

import platform
from typing import Any

from roofline.measure.fields import one_line
from roofline.measure.processors import x86_core
from roofline.measure.seen import Caches, Cluster, Processor, isa_words


def processor() -> Processor:
    """The processor as the system's own interfaces describe it."""
    told = _cpuinfo()
    threads, cores = _count(True), _count(False)
    core = x86_core(str(told.get("vendor_id_raw", "")), told.get("family"), told.get("model"), told.get("stepping"))
    flags = [str(flag).lower() for flag in told.get("flags", [])]
    if str(told.get("arch", "")).upper().startswith("ARM_8"):
        flags.append("asimd")  # every 64-bit Arm core has it
    count = cores or threads
    return Processor(
        name=one_line(str(told.get("brand_raw") or platform.processor())),
        vendor=core.vendor,
        isa=isa_words(flags),
        clusters=(Cluster("P", count, core.microarchitecture),) if count else (),
        sockets=1 if count else None,
        threads=threads,
        threads_per_core=max(threads // count, 1) if threads and count else None,
        caches=Caches(None, None, _bytes(told.get("l3_cache_size"))),
        remarks=("the clusters of a hybrid processor are not told apart here",) if core.little else (),
    )


def _cpuinfo() -> dict[str, Any]:
    """py-cpuinfo's table, {} where it fails: it takes more than a second and runs machine code."""
    try:
        import cpuinfo

        told = cpuinfo.get_cpu_info()
    except Exception:  # noqa: BLE001 - it raises what it likes on a processor that it does not know
        return {}
    return dict(told) if isinstance(told, dict) else {}


def _bytes(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _count(logical: bool) -> int | None:
    try:
        import psutil

        return psutil.cpu_count(logical=logical)
    except (ImportError, OSError, RuntimeError, NotImplementedError):
        return None


def memory_bytes() -> int | None:
    """All memory [B]."""
    try:
        import psutil

        return int(psutil.virtual_memory().total)
    except (ImportError, OSError, RuntimeError, NotImplementedError):
        return None


def power_source() -> str | None:
    """'mains' or 'battery'; None where there is no battery."""
    try:
        import psutil

        battery = psutil.sensors_battery()
    except (ImportError, AttributeError, OSError, RuntimeError, NotImplementedError):
        return None
    if battery is None or battery.power_plugged is None:
        return None
    return "mains" if battery.power_plugged else "battery"
