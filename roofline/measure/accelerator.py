"""What an accelerator sustains, through torch where it is installed: copies inside it and over its link, products.

A GPU runs behind the program that drives it: a time is taken only after everything before it has ended (synchronize).
Inputs are random, since a chip that multiplies zeros uses less power and clocks higher.
"""

from __future__ import annotations

import contextlib
import importlib.util
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from roofline.measure.matmul import Unmeasured, flops
from roofline.measure.timing import Budget, Clock, Samples, interleave
from roofline.units import parse

_COPY_SIZES = tuple(parse(text, "B") for text in ("256 MiB", "1 GiB", "4 GiB"))  # beyond every second-level cache
_LINK_SIZE = parse("256 MiB", "B")
_SIZES = (4096, 8192, 16384)
_SHORTEST = 0.05  # s that a sample takes at least
_WARM_UP = 3  # calls: the first plans, the clock rises during the next
_ROUNDS = 9
_SHARE = 4  # one measurement takes at most a quarter of the free memory


@dataclass(frozen=True, slots=True)
class AcceleratorRoof:
    """Samples of one ceiling of one device.

    what: 'copy' (inside the device; bytes read + bytes written), 'host to device', 'device to host' (pinned memory; the
    bytes that cross the link, once) [B/s], or 'matmul' [FLOP/s; an operation on int8 counts alike]. dtype: of a
    product, else ''. size: bytes of the array that is copied [B], or n of n × n matrices.
    """

    what: str
    dtype: str
    samples: Samples
    size: float


@dataclass(frozen=True, slots=True)
class AcceleratorRoofs:
    """A device and its ceilings, the fastest size of each. backend: 'cuda', 'rocm', 'mps' or 'xpu'. memory: [B].

    architecture: in the catalog's words, the compute capability ('9.0') or AMD's target ('gfx1100'); '' where unknown.
    """

    name: str
    backend: str
    index: int
    library: str
    memory: float | None
    roofs: tuple[AcceleratorRoof, ...]
    missing: tuple[Unmeasured, ...]
    architecture: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """One device as torch knows it. kind: torch's word, under which ROCm is 'cuda' too."""

    torch: Any
    kind: str
    index: int = 0

    @property
    def place(self) -> str:
        """torch's name of the device."""
        return self.kind if self.kind in ("mps", "cpu") else f"{self.kind}:{self.index}"

    @property
    def backend(self) -> str:
        """This library's name of what drives it."""
        return "rocm" if self.kind == "cuda" and getattr(self.torch.version, "hip", None) else self.kind

    def synchronize(self) -> None:
        """Returns when the device has nothing left to do."""
        if self.kind in ("cuda", "xpu"):
            getattr(self.torch, self.kind).synchronize(self.index)
        elif self.kind == "mps":
            self.torch.mps.synchronize()

    def describe(self) -> tuple[str, float | None]:
        """(name, memory [B])."""
        if self.kind in ("cuda", "xpu"):
            properties = getattr(self.torch, self.kind).get_device_properties(self.index)
            return str(properties.name), float(properties.total_memory)
        return f"{self.kind} device", None

    @property
    def architecture(self) -> str:
        """The compute capability ('9.0') or AMD's target ('gfx1100'); '' where torch does not say."""
        if self.kind != "cuda":
            return ""
        properties = self.torch.cuda.get_device_properties(self.index)
        if self.backend == "rocm":
            return str(getattr(properties, "gcnArchName", "")).split(":")[0]
        major, minor = (getattr(properties, name, None) for name in ("major", "minor"))
        return "" if major is None or minor is None else f"{major}.{minor}"

    def free(self) -> float:
        """Memory that may be taken [B]; where torch does not say, as much as the smallest size needs."""
        if self.kind == "cuda":
            return float(self.torch.cuda.mem_get_info(self.index)[0])
        if self.kind == "mps":
            return float(self.torch.mps.recommended_max_memory() - self.torch.mps.driver_allocated_memory())
        _, memory = self.describe()
        return memory if memory is not None else _SHARE * 2 * _COPY_SIZES[0]

    def release(self) -> None:
        """Gives back what torch keeps for later."""
        if self.kind in ("cuda", "xpu", "mps"):
            getattr(self.torch, self.kind).empty_cache()


def measure_accelerators(
    budget_s: float = 30.0, progress: Callable[[float], None] = lambda _: None
) -> tuple[tuple[AcceleratorRoofs, ...], str | None]:
    """(the accelerators of this machine with their ceilings, why there is none or None).

    budget_s: for all devices [s]; loading torch and the first contact with a device count, and may exceed a short one.
    """
    budget = Budget(budget_s)
    if importlib.util.find_spec("torch") is None:
        return (), "torch is not installed"
    try:
        import torch  # type: ignore[import-not-found,unused-ignore]
    except (ImportError, OSError) as error:
        return (), f"torch cannot be loaded: {_line(error)}"
    found, reason = devices(torch)
    accelerators = []
    for number, device in enumerate(found):
        part = Budget(budget.left / (len(found) - number))
        accelerators.append(measure_device(device, part, lambda _: progress(budget.share)))
    progress(1.0)
    return tuple(accelerators), reason


def devices(torch: Any) -> tuple[list[Device], str | None]:
    """(what torch can use, why there is nothing or None)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a driver that does not fit is a warning; the reason below says as much
        for kind in ("cuda", "xpu"):
            module = getattr(torch, kind, None)
            if module is not None and module.is_available():
                return [Device(torch, kind, index) for index in range(module.device_count())], None
    mps = getattr(torch.backends, "mps", None)
    if mps is not None and mps.is_available():
        return [Device(torch, "mps")], None
    built = getattr(torch.version, "cuda", None) or getattr(torch.version, "hip", None)
    if built is None:
        return [], f"torch {torch.__version__} is built for the CPU only"
    return [], f"torch {torch.__version__} finds no device: no GPU, or no driver for it"


def measure_device(
    device: Device,
    budget: Budget,
    progress: Callable[[float], None] = lambda _: None,
    clock: Clock = time.perf_counter,
    sizes: tuple[int, ...] = _SIZES,
    copies: tuple[float, ...] = _COPY_SIZES,
) -> AcceleratorRoofs:
    """One device: each ceiling in several sizes, all sizes in turn, and of them the one with the highest median.

    Kinds share the budget evenly; what does not run (a dtype without kernels, too little memory) is in `missing`.
    """
    name, memory = device.describe()
    kinds = [("copy", ""), ("host to device", ""), ("device to host", "")]
    if device.kind == "cpu":  # the code can be tried without a GPU, but there is no link
        kinds = kinds[:1]
    kinds += [("matmul", dtype) for dtype in ("fp16", "bf16", "fp32", "int8")]
    roofs: list[AcceleratorRoof] = []
    missing: list[Unmeasured] = []
    with _exact_fp32(device.torch):
        for number, (what, dtype) in enumerate(kinds):
            part = Budget(budget.left / (len(kinds) - number), clock)
            try:
                roofs.append(_fastest(device, what, dtype, sizes if dtype else copies, part, clock))
            except (RuntimeError, NotImplementedError, TypeError, AttributeError, MemoryError) as error:
                missing.append(Unmeasured(f"{what} {dtype}".strip(), _line(error)))
            device.release()
            progress(budget.share)
    library = f"torch {device.torch.__version__}"
    return AcceleratorRoofs(
        name, device.backend, device.index, library, memory, tuple(roofs), tuple(missing), device.architecture
    )


def _fastest(
    device: Device, what: str, dtype: str, sizes: tuple[float, ...], budget: Budget, clock: Clock
) -> AcceleratorRoof:
    if what != "copy" and not dtype:
        sizes = (min(_LINK_SIZE, sizes[0]),)
    free = device.free()
    runs: dict[float, Callable[[], float]] = {}
    once = before = 0.0  # s that a size took to get ready, and that size
    for size in sizes:
        needed = 2 * size if not dtype else 3 * 4 * size**2  # three matrices of at most 4 bytes
        grows = (size / before) ** (3 if dtype else 1) if before else 0.0
        if runs and (_SHARE * needed > free or grows * once > budget.left / 2):
            break
        started = budget.spent
        try:
            call, amount = _call(device, what, dtype, size)
            runs[size] = _sampler(device, call, amount, clock)
        except (RuntimeError, MemoryError):
            if not runs:
                raise
            break  # what is too large for the device says nothing about the smaller sizes
        once, before = budget.spent - started, size
    found = interleave(runs, budget=budget, rounds=_ROUNDS)
    samples = {size: Samples(values) for size, values in found.items()}
    best = max(samples, key=lambda size: samples[size].median)
    return AcceleratorRoof(what, dtype, samples[best], best)


def _call(device: Device, what: str, dtype: str, size: float) -> tuple[Callable[[], object], float]:
    """(what to time, the bytes that it moves or the operations that it does)."""
    torch = device.torch
    if what == "matmul":
        return _product(device, dtype, int(size)), flops(int(size))
    count = int(size)
    inside = torch.randint(0, 128, (count,), dtype=torch.uint8, device=device.place)
    if what == "copy":
        other = torch.empty_like(inside)
        return lambda: other.copy_(inside), 2.0 * count
    # Pageable memory would be copied into a pinned buffer first: half the link's speed. MPS has no other memory.
    pinned = torch.empty(count, dtype=torch.uint8, pin_memory=device.kind != "mps")
    pinned.fill_(7)
    if what == "host to device":
        return lambda: inside.copy_(pinned, non_blocking=True), float(count)
    return lambda: pinned.copy_(inside, non_blocking=True), float(count)


def _product(device: Device, dtype: str, n: int) -> Callable[[], object]:
    torch = device.torch
    if dtype == "int8":
        left, right = (torch.randint(-127, 128, (n, n), dtype=torch.int8, device=device.place) for _ in range(2))
        transposed = right.t()  # cuBLASLt's int8 kernels want the right matrix by columns
        return lambda: torch._int_mm(left, transposed)
    kind = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}[dtype]
    left, right = (torch.randn(n, n, dtype=kind, device=device.place) for _ in range(2))
    result = torch.empty(n, n, dtype=kind, device=device.place)
    return lambda: torch.mm(left, right, out=result)


def _sampler(device: Device, call: Callable[[], object], amount: float, clock: Clock) -> Callable[[], float]:
    """Warms up, finds how many calls take long enough, and gives the function that takes one sample [1/s]."""

    def timed(calls: int) -> float:
        device.synchronize()
        start = clock()
        for _ in range(calls):
            call()
        device.synchronize()
        return clock() - start

    timed(_WARM_UP)
    seconds, calls = timed(1), 1
    while seconds < _SHORTEST / 10 and calls < 1 << 16:  # one call may be shorter than its launch
        calls *= 4
        seconds = timed(calls)
    enough = max(1, round(calls * _SHORTEST / seconds)) if seconds > 0 else calls

    def sample() -> float:
        return enough * amount / timed(enough)

    return sample


@contextlib.contextmanager
def _exact_fp32(torch: Any) -> Iterator[None]:
    """fp32 is fp32 meanwhile: not TF32, nor bf16 in pieces."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
