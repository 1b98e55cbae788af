"""Runtimes as data: what an inference engine makes of a device.

A runtime file says, for each backend, which arithmetic path a weight type takes and how much of its peak is reached,
what share of the memory's bandwidth, what a graph node costs to launch, and what the engine does by default. Adding
an engine, or a period of one, is adding a file; `extends` names the file that it differs from.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import Field

from roofline.spec import PositiveInt, Source, Spec, SpecError, Words


class Constant(Spec):
    """A fitted or stated constant with its origin. error: relative standard error, where it was fitted."""

    value: float = Field(ge=0, allow_inf_nan=False)
    source: str = ""
    basis: Literal["fitted", "measured", "derived", "assumed", "datasheet"] = "assumed"
    error: float | None = None
    note: str = ""


class Kernel(Spec):
    """How one kind of multiplication runs, and on what it runs.

    types: weight types or families it serves ('q4_0', 'k', 'float', 'any'). isa: words the CPU must have.
    architecture: patterns, one of which the GPU must match ('8.*', 'gfx11*'). columns: 'few' for at most the backend's
    few_columns tokens at once (matrix-vector kernels), 'many' above, 'any'.
    path: the arithmetic peak that is its ceiling. Its rate is `efficiency` × that peak, or on a CPU `per_cycle`
    operations per cycle and core. half_columns: tokens at which half the rate is reached. bandwidth: share of the
    sustained bandwidth that it streams weights with. sharpness: how well arithmetic and memory overlap (ceilings.py).
    """

    types: Words
    isa: Words = ()
    architecture: Words = ()
    columns: Literal["few", "many", "any"] = "any"
    path: str
    efficiency: Constant | None = None
    per_cycle: Constant | None = None
    half_columns: Constant = Constant(value=0.0, basis="derived", note="saturated at any width")
    bandwidth: Constant = Constant(value=1.0, basis="derived", note="streams at the sustained bandwidth")
    sharpness: Constant | None = None

    def serves(self, type_name: str, family: str, columns: str, isa: Words, architecture: str) -> bool:
        """Whether the kernel runs weights of this type, at this width, on this unit."""
        return (
            (type_name in self.types or family in self.types or "any" in self.types)
            and self.columns in (columns, "any")
            and set(self.isa) <= set(isa)
            and matches(self.architecture, architecture)
        )


def matches(patterns: Words, architecture: str) -> bool:
    """Whether a GPU architecture is one of `patterns`; no pattern means any."""
    return not patterns or any(fnmatchcase(architecture, pattern) for pattern in patterns)


class Launch(Spec):
    """Fixed cost of a graph node on GPUs of an architecture [s]."""

    architecture: Words = ()
    seconds: Constant


class Barrier(Spec):
    """Cost of a graph node on a CPU: base + per_thread · threads [s]; every thread waits for the last one."""

    base: Constant
    per_thread: Constant


class Spread(Spec):
    """Factor about the expected value that holds 8 of 10 measurements, by phase."""

    decode: Constant
    prefill: Constant
    calibrated: bool = False


class Engine(Spec):
    """One backend of a runtime.

    memory: share of the theoretical bandwidth that is sustained, by memory class (hardware.memory_class).
    core_bandwidth: bytes one core reads per cycle. socket_gain: what a second socket adds, as a share of the first.
    thread_loss: threads at which half of the arithmetic rate is lost to waiting. context: memory the backend takes
    for itself [B]. usable: share of the memory that it may allocate; reserve: bytes left to the system.
    pipeline: whether the layers of several devices work at the same time on different parts of a prompt.
    """

    memory: dict[str, Constant]
    kernels: tuple[Kernel, ...] = Field(min_length=1)
    attention: tuple[Kernel, ...] = Field(min_length=1)
    few_columns: PositiveInt = 8
    sharpness: Constant
    launch: tuple[Launch, ...] = ()
    barrier: Barrier | None = None
    core_bandwidth: Constant | None = None
    socket_gain: Constant = Constant(value=1.0, basis="derived", note="sockets add up")
    thread_loss: Constant | None = None
    flash_attention: bool = True
    fused_attention_nodes: float = 1.0
    matmul_nodes: float = 1.0
    context: Constant
    usable: Constant = Constant(value=1.0, basis="derived", note="all of the device's memory")
    reserve: Constant = Constant(value=0.0, basis="derived", note="nothing else lives in the device's memory")
    pipeline: bool = False
    spread: Spread


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
