"""NVIDIA's graphics processors, by the driver's library, else by what nvidia-smi prints."""

from __future__ import annotations

import re
from typing import Any

from roofline.measure.fields import one_line, positive, quantity, size
from roofline.measure.seen import GpuSeen
from roofline.measure.source import Live, Source


def gpus(source: Source) -> tuple[GpuSeen, ...]:
    """The NVIDIA GPUs of a machine, () where there is none or no driver."""
    found = _by_library() if isinstance(source, Live) else ()
    return found or parse(source.command("nvidia-smi", "-q") or "")


def parse(text: str) -> tuple[GpuSeen, ...]:
    """The GPUs of an output of `nvidia-smi -q`."""
    driver = re.search(r"^Driver Version\s*:\s*(\S+)", text, re.M)
    parts = re.split(r"^GPU [0-9A-Fa-f]{4,8}:.*$", text, flags=re.M)[1:]
    seen = (_card(_tree(part), driver[1] if driver else "") for part in parts[:256])
    return tuple(card for card in seen if card is not None)


def _tree(text: str) -> dict[tuple[str, ...], str]:
    """The values of an indented report by their path: ('Max Clocks', 'SM') → '1980 MHz'."""
    values: dict[tuple[str, ...], str] = {}
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        key, colon, value = line.strip().partition(" :")
        if not key:
            continue
        while above and above[-1][0] >= indent:
            above.pop()
        path = (*(name for _, name in above), key.strip())
        if colon:
            values.setdefault(path, value.strip())
        above.append((indent, key.strip()))
    return values


def _card(values: dict[tuple[str, ...], str], driver: str) -> GpuSeen | None:
    name = one_line(values.get(("Product Name",)))
    if not name:
        return None

    def first(*paths: tuple[str, ...]) -> str | None:
        return next((values[path] for path in paths if values.get(path, "N/A") != "N/A"), None)

    link = ("PCI", "GPU Link Info")
    readings = ("GPU Power Readings", "Power Readings")  # the older name since driver 525
    limits = ("Enforced Power Limit", "Current Power Limit", "Power Limit")
    width = re.match(r"(\d{1,3})x", first((*link, "Link Width", "Max")) or "")
    return GpuSeen(
        name=name,
        memory_bytes=size((first(("FB Memory Usage", "Total")) or "").removesuffix("iB")),
        driver=driver,
        clock=quantity(first(("Max Clocks", "SM"), ("Max Clocks", "Graphics")), "Hz"),
        memory_clock=quantity(first(("Max Clocks", "Memory")), "Hz"),
        power_limit=quantity(first(*((reading, limit) for reading in readings for limit in limits)), "W"),
        pcie_generation=positive(first((*link, "PCIe Generation", "Max"))),
        pcie_lanes=int(width[1]) if width else None,
    )


def _by_library() -> tuple[GpuSeen, ...]:
    """The cards by nvidia-ml-py; () without the package, the driver or a card."""
    try:
        import pynvml
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        driver = _asked(pynvml.nvmlSystemGetDriverVersion)
        count = _asked(pynvml.nvmlDeviceGetCount) or 0
        handles = [_asked(pynvml.nvmlDeviceGetHandleByIndex, index) for index in range(count)]
        return tuple(_handle(pynvml, handle, _text(driver)) for handle in handles if handle is not None)
    finally:
        _asked(pynvml.nvmlShutdown)


def _asked(function: Any, *arguments: Any) -> Any:
    """The driver's answer, None where it has none: passed-through and virtual cards lack many."""
    import pynvml

    try:
        return function(*arguments)
    except pynvml.NVMLError:
        return None


def _handle(nvml: Any, handle: Any, driver: str) -> GpuSeen:
    memory = _asked(nvml.nvmlDeviceGetMemoryInfo, handle)
    power = _asked(nvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    clocks = [_asked(nvml.nvmlDeviceGetMaxClockInfo, handle, of) for of in (nvml.NVML_CLOCK_SM, nvml.NVML_CLOCK_MEM)]
    clock, memory_clock = (quantity(f"{mhz} MHz", "Hz") if mhz else None for mhz in clocks)
    return GpuSeen(
        name=_text(_asked(nvml.nvmlDeviceGetName, handle)),
        memory_bytes=None if memory is None else int(memory.total),
        driver=driver,
        clock=clock,
        memory_clock=memory_clock,
        power_limit=quantity(f"{power} mW", "W") if power else None,
        pcie_generation=_asked(nvml.nvmlDeviceGetMaxPcieLinkGeneration, handle),
        pcie_lanes=_asked(nvml.nvmlDeviceGetMaxPcieLinkWidth, handle),
    )


def _text(value: Any) -> str:
    """A name; old releases of the library answer in bytes."""
    return one_line(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or ""))
