"""A Machine: one device as one engine uses it. Turns operations and bytes of a given type into seconds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from roofline.ceilings import Ceilings, issue_rate
from roofline.hardware import Hardware
from roofline.numa import check_mode, one_node
from roofline.quantization import layout
from roofline.runtime import Constant, Engine, Factor, Kernel, Runtime, Unit, Use, Uses, matches
from roofline.spec import SpecError
from roofline.timing import (
    Pace,
    Timing,
    barrier_seconds,
    collapsed,
    joint_limit,
    placed,
    product,
    socket_limit,
    thread_share,
)
from roofline.workload import Real

_BY_THREADS = re.compile(r"cpu (\d+) threads?")

#: Instruction sets that decide which kernels a CPU runs, the most capable first.
LINEAGES = ("amx", "avx512", "avx_vnni", "avx2", "sse4", "i8mm", "dotprod", "neon", "rvv")

#: Paths an engine may use for weights of a family, so far as the device has them: its speed of light.
PATHS = {
    "float": ("fp16", "bf16", "fp16_acc32", "fp32", "amx_bf16"),
    "any": ("int8", "amx_int8", "ime_int8", "fp8", "fp4", "fp16", "bf16", "fp16_acc32", "fp32", "amx_bf16"),
}


@dataclass(frozen=True)
class Machine(Timing):
    """hardware under one backend of a runtime, with a number of CPU threads.

    split: how several devices share a model, by 'layer' or by 'tensor'. link: what joins them, 'nvlink' or 'pcie', the
    fastest where it is ''. numa: how a processor with several memories is used, see numa.MODES; '' is interleaved.
    """

    hardware: Hardware
    runtime: Runtime
    backend: str
    threads: int
    split: str = "layer"
    link: str = ""
    numa: str = ""

    @cached_property
    def engine(self) -> Engine:
        """The backend's constants."""
        return self.runtime.engine(self.backend)

    @property
    def count(self) -> int:
        """Devices that are alike [1]."""
        return self.hardware.count

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

    @cached_property
    def memo(self) -> dict[str, Any]:
        """What other rooms have worked out about this machine and want to keep."""
        return {}

    @cached_property
    def lineage(self) -> str:
        """What stands for the unit's generation: a GPU's architecture, a CPU's decisive instruction set."""
        if self.backend != "cpu":
            return self.architecture
        return next((word for word in LINEAGES if word in self.isa), "scalar")

    @cached_property
    def unit(self) -> Unit:
        """What the runtime's factors may ask of the device."""
        cpu = self.hardware.cpu if self.backend == "cpu" else None
        return Unit(self.isa, cpu.microarchitecture if cpu else "", self.architecture, self.hardware.memory_class)

    @cached_property
    def _factors(self) -> tuple[Factor, ...]:
        return tuple(factor for factor in self.engine.factors if factor.applies_to(self.unit))

    def factors(self, on: str, use: Use | None = None, few: bool | None = None) -> tuple[Constant, ...]:
        """The corrections of a constant on this unit: of a kernel's in this use, of a node's by its columns."""
        family = layout(use.type).family if use else ""
        found = (factor for factor in self._factors if factor.on == on)
        if use is not None:
            return tuple(factor.value for factor in found if factor.applies_in(use, family))
        width = "any" if few is None else "few" if few else "many"
        return tuple(factor.value for factor in found if factor.columns in (width, "any"))

    # -- memory -------------------------------------------------------------------------------------------------------

    @cached_property
    def theoretical_bandwidth(self) -> float:
        """Ceiling of the memory [B/s]."""
        return self.hardware.memory_bandwidth

    @cached_property
    def bandwidth_share(self) -> Constant:
        """Share of the theoretical bandwidth that the unit sustains, before corrections."""
        if self.read_by_threads is not None:
            share = min(self.read_by_threads / self.theoretical_bandwidth, 1.0)
            return Constant(value=share, basis="measured", note=f"read by {self.threads} threads of this machine")
        measured = self.hardware.memory.sustained.get("cpu" if self.backend == "cpu" else "gpu")
        if measured is not None:
            share = measured.value / self.hardware.memory.theoretical_bandwidth
            note = f"{measured} measured on this device"
            return Constant(value=share, basis="measured", source=measured.source, note=note)
        name, shares = self.hardware.memory_class, self.engine.memory
        if name not in shares and "any" not in shares:
            where = f"{self.runtime.name}: backends.{self.backend}.memory"
            raise SpecError(f"{where}: expected a share for {name!r} memory, found {', '.join(shares)}")
        return shares[name] if name in shares else shares["any"]

    @cached_property
    def read_by_threads(self) -> float | None:
        """What this many threads were measured to read [B/s], linear between counts of threads; None where unknown.

        `roofline measure` writes it for the machine it runs on: memory.sustained has 'cpu 1 thread', 'cpu 2 threads' …
        """
        if self.backend != "cpu":
            return None
        found = {
            int(match[1]): figure.value
            for name, figure in self.hardware.memory.sustained.items()
            if (match := _BY_THREADS.fullmatch(name))
        }
        counts = sorted(found)
        return float(np.interp(self.threads, counts, [found[count] for count in counts])) if len(counts) > 1 else None

    @cached_property
    def core_bandwidth(self) -> Constant | None:
        """Bytes one core reads in a cycle; None where only the memory limits, or its threads were measured together."""
        return self.engine.core_bandwidth if self.backend == "cpu" and self.read_by_threads is None else None

    @cached_property
    def joined_sockets(self) -> int:
        """Sockets whose shares add up with a loss [1]; what was measured on all of them together is one.

        Where the weights are mirrored each reads its own copy, and nothing is lost.
        """
        cpu = self.hardware.cpu if self.backend == "cpu" else None
        return cpu.sockets if cpu and self.read_by_threads is None and self.numa != "mirror" else 1

    @cached_property
    def sustained_bandwidth(self) -> float:
        """What the unit reads with its threads [B/s]: the sockets' limit, or fewer cores' own."""
        share = min(self.bandwidth_share.value * product(self.factors("memory")), 1.0)
        bandwidth, loss = self.theoretical_bandwidth, self.engine.socket_share.value
        limit = float(socket_limit(share, bandwidth, self.joined_sockets, loss))
        if self.core_bandwidth is None:
            return limit
        return float(joint_limit(self.core_bandwidth.value * product(self.factors("core")) * self.cycles, limit))

    @cached_property
    def activation_share(self) -> float:
        """Rate at which activations move, as a share of the sustained bandwidth [1]."""
        return self.engine.activation_bandwidth.value * product(self.factors("activation"))

    # -- arithmetic ---------------------------------------------------------------------------------------------------

    @cached_property
    def cycles(self) -> float:
        """Cycles of all busy cores in a second, slower kinds of core counted by what they do in one [1/s]."""
        return self.hardware.cpu.fast_cycles(self.threads) if self.hardware.cpu else 0.0

    @cached_property
    def busy_share(self) -> float:
        """Share of the CPU's arithmetic that its threads occupy [1]: idle cores add nothing to a kernel's peak."""
        cpu = self.hardware.cpu
        return self.cycles / cpu.fast_cycles(cpu.cores) if cpu and self.cycles else 1.0

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

    def light_rate(self, use: Use | Uses) -> Real:
        """The best peak that could serve a use [FLOP/s]; an array along the first axis for uses side by side."""
        if isinstance(use, Uses):
            return placed(collapsed([self.ceiling(name).peak for name in use.types]), use.places)
        return self.ceiling(use.type).peak

    def kernel(self, use: Use) -> Kernel:
        """The first kernel that serves this use on this unit."""
        if use not in self._kernels:
            self._kernels[use] = self._find_kernel(use)
        return self._kernels[use]

    @cached_property
    def _kernels(self) -> dict[Use, Kernel]:
        return {}

    def _find_kernel(self, use: Use) -> Kernel:
        rules = self.engine.attention if use.attention else self.engine.kernels
        family = layout(use.type).family
        for rule in rules:
            if rule.serves(use, family, self.isa, self.architecture):
                return rule
        what = "cached rows" if use.attention else "weights"
        unit = self.architecture or " ".join(self.isa)
        raise SpecError(
            f"{self.runtime.name}: backends.{self.backend}: expected a kernel for {what} of type {use.type!r} on "
            f"{unit}, found none"
        )

    def rate(self, use: Use) -> float:
        """What the kernel for a use computes on this unit when saturated [FLOP/s], never above its path's peak."""
        if use not in self._rates:
            kernel = self.kernel(use)
            peak, base = self.rate_base(kernel)
            constant = kernel.per_cycle if self.is_per_cycle(kernel) else kernel.efficiency
            rate = base * (constant.value if constant else 1.0) * product(self.factors("rate", use))
            if peak:
                rate = float(issue_rate(rate, peak)) if self.is_per_cycle(kernel) else min(rate, peak)
            self._rates[use] = rate
        return self._rates[use]

    @cached_property
    def _rates(self) -> dict[Use, float]:
        return {}

    def is_per_cycle(self, kernel: Kernel) -> bool:
        """Whether the kernel's rate is stated in operations per cycle and core."""
        return kernel.per_cycle is not None and self.backend == "cpu"

    def rate_base(self, kernel: Kernel) -> tuple[float | None, float]:
        """(peak of the kernel's path, what its constant multiplies) [FLOP/s]; the peak is None where unknown."""
        peak = self.peaks.get(kernel.path)
        if peak is not None and self.backend == "cpu":
            peak *= self.busy_share
        if self.is_per_cycle(kernel):
            loss = self.engine.thread_loss
            return peak, self.cycles * float(thread_share(self.threads, loss.value) if loss else 1.0)
        if kernel.efficiency is None:
            where = f"{self.runtime.name}: backends.{self.backend}: kernel for {'/'.join(kernel.types)}"
            raise SpecError(f"{where}: expected an efficiency, found none")
        needed = kernel.of or kernel.path
        if needed not in self.peaks:
            known = ", ".join(self.peaks) or "none"
            what = f"expected a figure for {'/'.join(kernel.types)} weights, found {known}"
            raise SpecError(f"{self.hardware.name}: peak.{needed}: {what}")
        return peak, self.peaks[needed]

    def stream_share(self, use: Use) -> float:
        """Share of the sustained bandwidth at which the kernel for a use reads its weights or cache [1]."""
        if use not in self._streams:
            share = self.kernel(use).bandwidth.value * product(self.factors("stream", use))
            self._streams[use] = min(share, 1.0)
        return self._streams[use]

    @cached_property
    def _streams(self) -> dict[Use, float]:
        return {}

    def pace(self, use: Use | Uses) -> Pace:
        """What the kernel for a use reaches; arrays along the first axis for uses side by side."""
        if isinstance(use, Uses):
            key = (use.common, use.types)
            if key not in self._paces_by_type:
                found = (self.pace(use.common._replace(type=name)) for name in use.types)
                self._paces_by_type[key] = tuple(collapsed(figures) for figures in zip(*found, strict=True))
            return Pace(*(placed(figures, use.places) for figures in self._paces_by_type[key]))
        if use not in self._paces:
            kernel = self.kernel(use)
            sharpness = kernel.sharpness or self.engine.sharpness
            pace = Pace(self.rate(use), self.stream_share(use), kernel.half_columns.value, sharpness.value)
            self._paces[use] = pace
        return self._paces[use]

    @cached_property
    def _paces(self) -> dict[Use, Pace]:
        return {}

    @cached_property
    def _paces_by_type(self) -> dict[tuple[Use, tuple[str, ...]], tuple[Real, ...]]:
        return {}

    def sharpness(self, use: Use) -> float:
        """The kernel's own sharpness of overlap, else the backend's [1]."""
        return float(self.pace(use).sharpness)

    # -- overhead -----------------------------------------------------------------------------------------------------

    @cached_property
    def node_seconds(self) -> float:
        """Fixed cost of one graph node for single tokens [s]: a barrier between threads, or a kernel launch."""
        return self._node_seconds(few=True)

    @cached_property
    def wide_node_seconds(self) -> float:
        """The same for many tokens at once [s]."""
        return self._node_seconds(few=False)

    def _node_seconds(self, few: bool) -> float:
        correction = product(self.factors("launch", few=few))
        if self.backend != "cpu":
            return self.launch.value * correction
        barrier = self.engine.barrier
        if barrier is None:
            raise SpecError(f"{self.runtime.name}: backends.cpu.barrier: expected a cost, found none")
        return float(barrier_seconds(barrier.base.value, barrier.per_thread.value, self.threads)) * correction

    @cached_property
    def launch(self) -> Constant:
        """Fixed cost of a graph node on this GPU, before corrections [s]."""
        for launch in self.engine.launch:
            if matches(launch.architecture, self.architecture):
                return launch.seconds
        where = f"{self.runtime.name}: backends.{self.backend}.launch"
        raise SpecError(f"{where}: expected a cost for {self.architecture!r}, found none")


def make_machine(
    hardware: Hardware, runtime: Runtime, backend: str | None, threads: int | None, numa: str | None = None
) -> Machine:
    """The machine for a backend (the device's usual one by default) and threads (its fast cores by default).

    numa: how a processor with several memories is used; without, all together.
    """
    chosen = backend or next((name for name in hardware.backends if name in runtime.backends), hardware.backends[0])
    if chosen not in hardware.backends:
        raise SpecError(
            f"--backend: expected one that {hardware.name} has ({', '.join(hardware.backends)}), found {chosen!r}"
        )
    runtime.engine(chosen)
    if numa:
        check_mode(numa, hardware, chosen)
        hardware = one_node(hardware) if numa == "one" else hardware
    cpu = hardware.cpu
    if threads is not None and threads < 1:
        raise SpecError(f"--threads: expected at least 1, found {threads}")
    if chosen != "cpu" or cpu is None:
        return Machine(hardware, runtime, chosen, 1)
    limit = cpu.threads * cpu.sockets if cpu.threads else cpu.cores
    if threads is not None and threads > limit:
        raise SpecError(f"--threads: expected at most {limit}, the threads of {hardware.name}, found {threads}")
    return Machine(hardware, runtime, chosen, threads or cpu.fast_cores, numa=numa or "")
