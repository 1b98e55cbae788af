"""Runtimes as data: what an inference engine makes of a device.

A runtime file says, for each backend, which arithmetic path a weight type takes and how much of its peak is reached,
what share of the memory's bandwidth, what a graph node costs to launch, and what the engine does by default. Adding
an engine, or a period of one, is adding a file; `extends` names the file that it differs from.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from roofline.spec import PositiveInt, Source, Spec, SpecError, Words


class Constant(Spec):
    """A fitted or stated constant with its origin.

    sigma: how far a fit may move it, as the standard deviation of its logarithm; 0 keeps it. error: relative standard
    error, where it was fitted. prior: the value of the runtime file, where a fitted one took its place. origin: the
    file and field that state it, set when the file is read.
    """

    value: float = Field(ge=0, allow_inf_nan=False)
    source: str = ""
    basis: Literal["fitted", "measured", "derived", "assumed", "datasheet"] = "assumed"
    sigma: float = Field(default=0.0, ge=0, le=3)
    error: float | None = None
    prior: float | None = None
    note: str = ""
    origin: str = ""


MOST_OF_ANOTHER = 100.0  # times that a path's rate may be another path's peak


class Use(NamedTuple):
    """What a kernel is wanted for: attention over a cache or a product with weights, of which type, how wide."""

    type: str
    few: bool
    attention: bool = False
    routed: bool = False
    fused: bool = False

    def where(self, *, few: bool) -> Use:
        """The same use with few tokens at once, or with many."""
        return self if self.few == few else self._replace(few=few)


class Uses(NamedTuple):
    """Uses that differ by type alone, of operators side by side: types[places] along the first axis.

    places: an array with one entry for each operator, of as many axes as the operators' figures have.
    """

    common: Use
    types: tuple[str, ...]
    places: NDArray[np.intp]

    def where(self, *, few: bool) -> Uses:
        """The same uses with few tokens at once, or with many."""
        return self._replace(common=self.common.where(few=few))


class Kernel(Spec):
    """How one kind of multiplication runs, and on what it runs.

    types: weight types or families it serves ('q4_0', 'k', 'float', 'any'). isa: words the CPU must have.
    architecture: patterns, one of which the GPU must match ('8.*', 'gfx11*'). columns: 'few' for at most the backend's
    few_columns tokens at once (matrix-vector kernels), 'many' above, 'any'. routed: only for experts (true), never for
    them (false). fused: for attention, only with flash attention (true), or without (false).
    path: the arithmetic peak that is its ceiling. Its rate is `efficiency` × that peak (or × the peak that `of` names,
    when a kernel is limited by work beside its matrix instructions and scales with another unit), or on a CPU
    `per_cycle` operations per cycle and core. half_columns: tokens at which half the rate is reached. bandwidth: share
    of the sustained bandwidth that it streams weights with. sharpness: how well arithmetic and memory overlap
    (ceilings.overlap).
    """

    name: str = ""
    types: Words
    isa: Words = ()
    architecture: Words = ()
    columns: Literal["few", "many", "any"] = "any"
    routed: bool | None = None
    fused: bool | None = None
    path: str
    of: str = ""
    efficiency: Constant | None = None
    per_cycle: Constant | None = None
    half_columns: Constant = Constant(value=0.0, basis="derived", note="saturated at any width")
    bandwidth: Constant = Constant(value=1.0, basis="derived", note="streams at the sustained bandwidth")
    sharpness: Constant | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.efficiency is None) == (self.per_cycle is None):
            raise ValueError("efficiency: expected a rate, either efficiency or per_cycle, found both or neither")
        if self.efficiency is not None and not 0 < self.efficiency.value <= (MOST_OF_ANOTHER if self.of else 1.0):
            raise ValueError(
                f"efficiency: expected a share of a peak, above 0 and at most 1, found {self.efficiency.value:g}"
            )
        if self.per_cycle is not None and not self.per_cycle.value > 0:
            raise ValueError(f"per_cycle: expected operations per cycle, above 0, found {self.per_cycle.value:g}")
        if not 0 < self.bandwidth.value <= 1:
            raise ValueError(f"bandwidth: expected a share, above 0 and at most 1, found {self.bandwidth.value:g}")
        if self.sharpness is not None and not self.sharpness.value >= 1:
            raise ValueError(f"sharpness: expected at least 1, the sum of both times, found {self.sharpness.value:g}")
        return self

    def serves(self, use: Use, family: str, isa: Words, architecture: str) -> bool:
        """Whether the kernel runs this use on this unit."""
        return (
            (use.type in self.types or family in self.types or "any" in self.types)
            and self.columns in ("few" if use.few else "many", "any")
            and self.routed in (None, use.routed)
            and self.fused in (None, use.fused)
            and set(self.isa) <= set(isa)
            and matches(self.architecture, architecture)
        )


class Factor(Spec):
    """A correction that multiplies a constant wherever it applies; all that apply count.

    on: what it corrects: the 'rate' of kernels, the 'stream' rate at which they read weights or cache, the 'launch'
    cost of a node (or the barrier), the 'memory' share, the 'core' bandwidth. The rest says where it applies, as in
    Kernel; memory: only for these memory classes; attention: only to attention (true) or only to products (false).
    """

    name: str
    on: Literal["rate", "stream", "launch", "memory", "core", "activation"]
    value: Constant
    types: Words = ()
    isa: Words = ()
    without: Words = ()
    microarchitecture: Words = ()
    architecture: Words = ()
    memory: Words = ()
    columns: Literal["few", "many", "any"] = "any"
    routed: bool | None = None
    fused: bool | None = None
    attention: bool | None = None

    def applies_to(self, unit: Unit) -> bool:
        """Whether the unit is one that the factor is meant for."""
        return (
            set(self.isa) <= set(unit.isa)
            and not set(self.without) & set(unit.isa)
            and matches(self.architecture, unit.architecture)
            and matches(self.microarchitecture, unit.microarchitecture)
            and (not self.memory or unit.memory in self.memory)
        )

    def applies_in(self, use: Use, family: str) -> bool:
        """Whether the use of a kernel is one that the factor is meant for."""
        return (
            (not self.types or use.type in self.types or family in self.types)
            and self.columns in ("few" if use.few else "many", "any")
            and self.routed in (None, use.routed)
            and self.fused in (None, use.fused)
            and self.attention in (None, use.attention)
        )


class Unit(NamedTuple):
    """What a factor may ask of a device: a CPU's words, a GPU's architecture, the class of its memory."""

    isa: Words
    microarchitecture: str
    architecture: str
    memory: str


def matches(patterns: Words, architecture: str) -> bool:
    """Whether a GPU architecture is one of `patterns`; no pattern means any."""
    return not patterns or any(fnmatchcase(architecture, pattern) for pattern in patterns)


class Launch(Spec):
    """Fixed cost of a graph node on GPUs of an architecture [s]."""

    name: str = ""
    architecture: Words = ()
    seconds: Constant


class Barrier(Spec):
    """Cost of a graph node on a CPU: base + per_thread · threads [s]; every thread waits for the last one."""

    base: Constant
    per_thread: Constant


class Reduction(Spec):
    """What devices pay to add up their parts of a vector: start + steps · hop, and the bytes on the link.

    start: once each time [s]. nvlink_hop, pcie_hop: of each step of the ring [s]. pcie_crossings: times that a byte
    crosses PCIe between two devices, 2 where it passes through the host's memory. half_from: elements from which they
    are sent in 2 bytes instead of 4, with 2, 3 … devices. one_shot: whether small vectors are sent to all at once.
    """

    start: Constant
    nvlink_hop: Constant
    pcie_hop: Constant
    pcie_crossings: Constant
    half_from: tuple[PositiveInt, ...] = ()
    one_shot: bool = False

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.pcie_crossings.value >= 1:
            raise ValueError(f"pcie_crossings: expected at least 1, found {self.pcie_crossings.value:g}")
        return self


class Repack(Spec):
    """Weight types that a CPU with an instruction set keeps a second time, in the order its kernels read.

    experts: whether those of routed experts, too.
    """

    types: Words
    experts: bool = True
    source: str = ""


class LocalSpread(Spec):
    """Factors of one device that was measured by the user, as in Spread."""

    decode: float = Field(gt=1, allow_inf_nan=False)
    prefill: float = Field(gt=1, allow_inf_nan=False)


class Spread(Spec):
    """Factor about the expected value that holds 8 of 10 measurements, by phase.

    known: architectures or instruction sets of the devices behind it; none where it is not from a fit. local: of
    devices, by name, on which the user's own measurements corrected the constants.
    """

    decode: Constant
    prefill: Constant
    known: Words = ()
    local: dict[str, LocalSpread] = Field(default_factory=dict)
    calibrated: bool = False


class Engine(Spec):
    """One backend of a runtime.

    memory: share of the theoretical bandwidth that is sustained, by memory class (hardware.memory_class).
    core_bandwidth: bytes one core reads per cycle. activation_bandwidth: rate at which activations move, as a share of
    the sustained bandwidth. socket_share: what several sockets sustain, of their sum. thread_loss: threads at
    which half of the arithmetic rate is lost to waiting. link_share: of the link's bandwidth, for weights of the host
    that the device fetches. crossing: each time that activations change sides [s]. context: memory the backend takes
    for itself [B]. usable: share of the memory that it may allocate; reserve: bytes left to the system. pipeline:
    whether the layers of several devices work at the same time on different parts of a prompt. tensor_split: whether
    every matrix can be divided among several devices, which pay `reduction` to join their results. nvlink_share: of the
    NVLink bandwidth, for reductions. rereads_experts: up to so many tokens at once, each token reads its own experts'
    weights, shared or not. shared_cache: whether every sequence of a batch attends over the cache of all, masked.
    maps_weights: whether it computes on the mapped file, instead of copying the weights into buffers of its own.
    repack: which weights it copies into another order all the same, by a word of the CPU's instruction set.
    """

    memory: dict[str, Constant]
    kernels: tuple[Kernel, ...] = Field(min_length=1)
    attention: tuple[Kernel, ...] = Field(min_length=1)
    factors: tuple[Factor, ...] = ()
    few_columns: PositiveInt = 8
    sharpness: Constant
    launch: tuple[Launch, ...] = ()
    barrier: Barrier | None = None
    core_bandwidth: Constant | None = None
    activation_bandwidth: Constant = Constant(value=1.0, basis="derived", note="activations stream through memory")
    socket_share: Constant = Constant(value=1.0, basis="derived", note="sockets add up")
    thread_loss: Constant | None = None
    flash_attention: bool = True
    fused_attention_nodes: float = 1.0
    matmul_nodes: float = 1.0
    link_share: Constant = Constant(
        value=0.6, basis="assumed", note="of PCIe, for weights that are fetched: 0.45 to 0.7"
    )
    crossing: Constant = Constant(value=20e-6, basis="assumed", note="a wait and a launch where host and device change")
    context: Constant
    usable: Constant = Constant(value=1.0, basis="derived", note="all of the device's memory")
    reserve: Constant = Constant(value=0.0, basis="derived", note="nothing else lives in the device's memory")
    pipeline: bool = False
    tensor_split: bool = False
    reduction: Reduction | None = None
    nvlink_share: Constant = Constant(value=0.8, basis="derived", note="480 of an A100's 600 GB/s, both directions")
    rereads_experts: PositiveInt = 1
    shared_cache: bool = False
    maps_weights: bool = False
    repack: dict[str, Repack] = Field(default_factory=dict)
    spread: Spread

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.memory:
            raise ValueError("memory: expected a share of the bandwidth for a class of memory, found none")
        if self.tensor_split and self.reduction is None:
            raise ValueError("reduction: expected what joining the parts of a tensor split costs, found none")
        if not 0 < self.nvlink_share.value <= 1:
            raise ValueError(f"nvlink_share: expected above 0 and at most 1, found {self.nvlink_share.value:g}")
        for name, share in self.memory.items():
            if not 0 < share.value <= 1:
                raise ValueError(f"memory.{name}: expected a share, above 0 and at most 1, found {share.value:g}")
        if not self.sharpness.value >= 1:
            raise ValueError(f"sharpness: expected at least 1, the sum of both times, found {self.sharpness.value:g}")
        return self


class Runtime(Spec):
    """An engine in a period. lacks: weight types it cannot read. batch, ubatch: its defaults for prompts."""

    name: str
    period: str
    aliases: Words = ()
    batch: PositiveInt
    ubatch: PositiveInt
    context_padding: PositiveInt
    lacks: Words = ()
    kv_types: Words
    backends: dict[str, Engine]
    notes: Words = ()
    sources: dict[str, Source] = Field(default_factory=dict)

    def engine(self, backend: str) -> Engine:
        """The constants of a backend; SpecError names those that exist."""
        if backend not in self.backends:
            raise SpecError(
                f"--backend: expected one that {self.name} has ({', '.join(self.backends)}), found {backend!r}"
            )
        return self.backends[backend]


def mark_origins(tables: dict[str, Any], file: str) -> None:
    """Note in every constant of a runtime file which file and field states it: 'llama.cpp: cpu.barrier.base'."""

    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict):
            if "value" in node and not isinstance(node["value"], dict):
                node["origin"] = f"{file}: {path}"
                return
            for key, child in node.items():
                walk(child, f"{path}.{key}" if path else key)
        elif isinstance(node, list):
            for rule, label in zip(node, _labels(node), strict=True):
                walk(rule, f"{path}[{label}]")

    backends = tables.get("backends")
    walk(backends, "")


def _labels(rules: list[Any]) -> list[str]:
    """A name for each rule of a list: its own, else the words it matches; numbered where two are equal."""
    labels: list[str] = []
    for rule in rules:
        words: list[str] = []
        if isinstance(rule, dict):
            named = rule.get("name")
            listed = [rule.get(key) for key in ("types", "isa", "architecture")]
            words = [str(named)] if named else [str(word) for part in listed if isinstance(part, list) for word in part]
            words += [] if named else [str(rule[key]) for key in ("columns", "routed", "fused") if key in rule]
        label = " ".join(words) or "any"
        labels.append(label if label not in labels else f"{label} #{len(labels) + 1}")
    return labels


def merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """The tables of `base` with those of `change` on top.

    Tables merge key by key. Rules (lists of tables) of the change come before those of the base, where the first that
    matches counts; any other value replaces the base's. `aliases` belong to one file and do not pass on.
    """
    merged = {key: value for key, value in base.items() if key != "aliases"}
    for key, value in change.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and "value" not in value:
            merged[key] = merge(old, value)
        elif isinstance(old, list) and isinstance(value, list) and value and isinstance(value[0], dict):
            merged[key] = value + old
        else:
            merged[key] = value
    return merged
