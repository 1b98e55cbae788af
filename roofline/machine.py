"""A Machine: one device as one engine uses it. Turns operations and bytes of a given type into seconds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from roofline.ceilings import Ceilings
from roofline.hardware import Hardware
from roofline.quantization import layout
from roofline.runtime import Constant, Engine, Kernel, Runtime, matches
from roofline.spec import SpecError
from roofline.workload import Real

#: How sharply one core's share gives way to the socket's limit as threads are added (p-norm of the two).
THREAD_KNEE = 4.0

#: Paths an engine may use for weights of a family, so far as the device has them: its speed of light.
PATHS = {
    "float": ("fp16", "bf16", "fp16_acc32", "fp32", "amx_bf16"),
    "any": ("int8", "amx_int8", "ime_int8", "fp8", "fp4", "fp16", "bf16", "fp16_acc32", "fp32", "amx_bf16"),
}


@dataclass(frozen=True)
class Machine:
    """hardware under one backend of a runtime, with a number of CPU threads."""

    hardware: Hardware
    runtime: Runtime
    backend: str
    threads: int

    @cached_property
    def engine(self) -> Engine:
        """The backend's constants."""
        return self.runtime.engine(self.backend)

    @cached_property
    def peaks(self) -> dict[str, float]:
        """Arithmetic peaks of one unit by path [FLOP/s]."""
        return self.hardware.peaks(self.backend)

    @cached_property
    def isa(self) -> tuple[str, ...]:
        """What the CPU can do; empty on a GPU."""
        return self.hardware.cpu.isa if self.backend == "cpu" and self.hardware.cpu else ()

    @cached_property
    def architecture(self) -> str:
        """The GPU's architecture; empty on a CPU."""
        return self.hardware.gpu.architecture if self.backend != "cpu" and self.hardware.gpu else ""

    # -- memory -------------------------------------------------------------------------------------------------------

    @cached_property
    def theoretical_bandwidth(self) -> float:
        """Ceiling of the memory [B/s]."""
        return self.hardware.memory_bandwidth

    @cached_property
    def bandwidth_share(self) -> Constant:
        """Share of the theoretical bandwidth that the unit sustains."""
        measured = self.hardware.memory.sustained.get("cpu" if self.backend == "cpu" else "gpu")
        if measured is not None:
            share = measured.value / self.hardware.memory.theoretical_bandwidth
            return Constant(
                value=share, basis="measured", source=measured.source, note=f"{measured} measured on this device"
            )
        name = self.hardware.memory_class
        shares = self.engine.memory
        if name not in shares and "any" not in shares:
            raise SpecError(
                f"{self.runtime.name}: backends.{self.backend}.memory: expected a share for {name!r} memory, "
                f"found {', '.join(shares)}"
            )
        return shares.get(name, shares.get("any", next(iter(shares.values()))))

    @cached_property
    def sustained_bandwidth(self) -> float:
        """What the unit reads with its threads [B/s]: the socket's share, or fewer cores' own limit."""
        share = self.bandwidth_share.value
        if self.backend != "cpu" or self.hardware.cpu is None:
            return share * self.theoretical_bandwidth
        cpu = self.hardware.cpu
        sockets = 1 + (cpu.sockets - 1) * self.engine.socket_gain.value
        socket_limit = share * self.theoretical_bandwidth / cpu.sockets * sockets
        if self.engine.core_bandwidth is None:
            return socket_limit
        core_limit = self.engine.core_bandwidth.value * self._cycles
        return float((core_limit**-THREAD_KNEE + socket_limit**-THREAD_KNEE) ** (-1 / THREAD_KNEE))

    # -- arithmetic ---------------------------------------------------------------------------------------------------

    @cached_property
    def _cycles(self) -> float:
        """Cycles of all busy cores in a second [1/s]."""
        if self.hardware.cpu is None:
            return 0.0
        return sum(cores * clock for cores, clock in self.hardware.cpu.core_clocks(self.threads))

    def ceiling(self, type_name: str) -> Ceilings:
        """The speed of light for weights of this type: the best peak that could serve it, theoretical bandwidth."""
        if type_name not in self._ceilings:
            self._ceilings[type_name] = self._find_ceiling(type_name)
        return self._ceilings[type_name]

    @cached_property
    def _ceilings(self) -> dict[str, Ceilings]:
        return {}

    def _find_ceiling(self, type_name: str) -> Ceilings:
        paths = PATHS.get(layout(type_name).family, PATHS["any"])
        peaks = [self.peaks[path] for path in paths if path in self.peaks]
        if not peaks:
            raise SpecError(
                f"{self.hardware.name}: peak: expected one of {', '.join(paths)} for {type_name} weights, "
                f"found {', '.join(self.peaks) or 'none'}"
            )
        return Ceilings(max(peaks), self.theoretical_bandwidth)

    def kernel(self, type_name: str, columns: str, attention: bool = False) -> Kernel:
        """The first kernel that serves weights (or cached rows) of this type on this unit."""
        key = (type_name, columns, attention)
        if key not in self._kernels:
            self._kernels[key] = self._find_kernel(type_name, columns, attention)
        return self._kernels[key]

    @cached_property
    def _kernels(self) -> dict[tuple[str, str, bool], Kernel]:
        return {}

    def _find_kernel(self, type_name: str, columns: str, attention: bool) -> Kernel:
        rules = self.engine.attention if attention else self.engine.kernels
        kind = layout(type_name).family
        for rule in rules:
            if rule.serves(type_name, kind, columns, self.isa, self.architecture):
                return rule
        what = "cached rows" if attention else "weights"
        unit = self.architecture or " ".join(self.isa)
        raise SpecError(
            f"{self.runtime.name}: backends.{self.backend}: expected a kernel for {what} of type {type_name!r} on {unit}, "
            "found none"
        )

    def rate(self, kernel: Kernel) -> float:
        """What the kernel computes on this unit when saturated [FLOP/s], never above its path's peak."""
        peak = self.peaks.get(kernel.path)
        if kernel.per_cycle is not None and self.backend == "cpu":
            rate = kernel.per_cycle.value * self._cycles
            if self.engine.thread_loss is not None:
                rate /= 1 + (self.threads - 1) / self.engine.thread_loss.value
            return min(rate, peak) if peak else rate
        if kernel.efficiency is None:
            raise SpecError(
                f"{self.runtime.name}: kernel for {'/'.join(kernel.types)}: expected an efficiency, found none"
            )
        if peak is None:
            raise SpecError(
                f"{self.hardware.name}: peak.{kernel.path}: expected a figure for {'/'.join(kernel.types)} weights, "
                f"found {', '.join(self.peaks) or 'none'}"
            )
        return kernel.efficiency.value * peak

    def times(
        self, type_name: str, flops: Real, weight_bytes: Real, other_bytes: Real, columns: Real, attention: bool = False
    ) -> tuple[Real, Real, float]:
        """(compute seconds, memory seconds, sharpness of their overlap) of one operator.

        weight_bytes are streamed at the kernel's share of the sustained bandwidth, other_bytes at all of it. Both are
        evaluated per element where `columns`, the tokens at once, is an array that crosses few_columns.
        """
        few = columns <= self.engine.few_columns
        if not isinstance(few, np.ndarray):
            kernel = self.kernel(type_name, "few" if few else "many", attention)
            return (*self._kernel_times(kernel, flops, weight_bytes, other_bytes, columns), self.sharpness(kernel))
        kernels = self.kernel(type_name, "few", attention), self.kernel(type_name, "many", attention)
        (compute_few, memory_few), (compute_many, memory_many) = (
            self._kernel_times(kernel, flops, weight_bytes, other_bytes, columns) for kernel in kernels
        )
        return (
            np.where(few, compute_few, compute_many),
            np.where(few, memory_few, memory_many),
            self.sharpness(kernels[0]),
        )

    def _kernel_times(
        self, kernel: Kernel, flops: Real, weight_bytes: Real, other_bytes: Real, columns: Real
    ) -> tuple[Real, Real]:
        half = kernel.half_columns.value
        saturation = 1 + half / columns if half else 1.0
        compute = flops / self.rate(kernel) * saturation
        memory = (weight_bytes / kernel.bandwidth.value + other_bytes) / self.sustained_bandwidth
        return compute, memory

    def sharpness(self, kernel: Kernel) -> float:
        """The kernel's own sharpness of overlap, else the backend's [1]."""
        return (kernel.sharpness or self.engine.sharpness).value

    # -- overhead -----------------------------------------------------------------------------------------------------

    @cached_property
    def node_seconds(self) -> float:
        """Fixed cost of one graph node [s]: a barrier between threads, or a kernel launch."""
        if self.backend == "cpu":
            barrier = self.engine.barrier
            if barrier is None:
                raise SpecError(f"{self.runtime.name}: backends.cpu.barrier: expected a cost, found none")
            return 0.0 if self.threads == 1 else barrier.base.value + barrier.per_thread.value * self.threads
        return self.launch.value

    @cached_property
    def launch(self) -> Constant:
        """Fixed cost of a graph node on this GPU [s]."""
        for launch in self.engine.launch:
            if matches(launch.architecture, self.architecture):
                return launch.seconds
        where = f"{self.runtime.name}: backends.{self.backend}.launch"
        raise SpecError(f"{where}: expected a cost for {self.architecture!r}, found none")


def make_machine(hardware: Hardware, runtime: Runtime, backend: str | None, threads: int | None) -> Machine:
    """The machine for a backend (the device's usual one by default) and threads (its fast cores by default)."""
    chosen = backend or next((name for name in hardware.backends if name in runtime.backends), hardware.backends[0])
    if chosen not in hardware.backends:
        raise SpecError(
            f"--backend: expected one that {hardware.name} has ({', '.join(hardware.backends)}), found {chosen!r}"
        )
    runtime.engine(chosen)
    cpu = hardware.cpu
    if threads is not None and threads < 1:
        raise SpecError(f"--threads: expected at least 1, found {threads}")
    if chosen != "cpu" or cpu is None:
        return Machine(hardware, runtime, chosen, 1)
    limit = (cpu.threads or cpu.cores) * cpu.sockets
    if threads is not None and threads > limit:
        raise SpecError(f"--threads: expected at most {limit}, the threads of {hardware.name}, found {threads}")
    return Machine(hardware, runtime, chosen, threads or cpu.fast_cores)
