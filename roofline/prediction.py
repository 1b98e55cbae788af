"""A prediction: the cost of every operator, both phases made of them, and what the whole needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roofline.band import Band
from roofline.ceilings import memory_share, overlap
from roofline.disk import DiskRoof, LoadTime, load_seconds
from roofline.machine import Machine
from roofline.memory import MemoryBill, bill
from roofline.model import Model
from roofline.placement import Placement
from roofline.quality import Quality, quality_of
from roofline.runtime import Use
from roofline.weights import Weights
from roofline.workload import Real, Step, Workload


@dataclass(frozen=True, slots=True)
class OperatorCost:
    """One operator of one group of layers over a whole step, all layers together. Bytes [B], times [s].

    computed_flops, streamed_bytes: what the kernel really does, parts of it more than once or for nothing [FLOP], [B].
    columns: tokens that meet one matrix, or one cache, in a pass [1]. nodes: kernels launched, or barriers passed [1].
    use: what its kernel was wanted for; None for small operators, and where an array mixes few and many columns.
    device: 'host' for what a placement leaves there, '' for the machine itself. link_seconds: on the way between them.
    disk_seconds: waiting for weights that memory does not hold; one operator of the kind 'disk' has them all.
    """

    operator: str
    group: str
    kind: str
    type: str
    layers: float
    flops: Real
    weight_bytes: Real
    kv_bytes: Real
    activation_bytes: Real
    compute_seconds: Real
    memory_seconds: Real
    sharpness: Real
    overhead_seconds: Real
    light_seconds: Real
    columns: Real
    nodes: Real
    computed_flops: Real
    streamed_bytes: Real
    use: Use | None = None
    device: str = ""
    link_seconds: Real = 0.0
    disk_seconds: Real = 0.0

    @property
    def bytes(self) -> Real:
        """All bytes moved [B]."""
        return self.weight_bytes + self.kv_bytes + self.activation_bytes

    @property
    def intensity(self) -> Real:
        """Arithmetic intensity [FLOP/B]."""
        return self.flops / self.bytes

    @property
    def roof_seconds(self) -> Real:
        """Time under the two roofs, without overhead [s]."""
        return overlap(self.compute_seconds, self.memory_seconds, self.sharpness)

    @property
    def seconds(self) -> Real:
        """Time with overhead, link and disk [s]."""
        return self.roof_seconds + self.overhead_seconds + self.link_seconds + self.disk_seconds


@dataclass(frozen=True)
class Phase:
    """One phase, prefill or decode. Speeds count tokens of all sequences [1/s]; low to high is the 80 % band.

    disk_seconds: of its time, those that wait for the disk; slowest_disk_seconds: the same where the page cache keeps
    nothing that is needed again [s]. Bytes are those of the memory; what comes from the disk is among them.
    """

    step: Step
    operators: tuple[OperatorCost, ...]
    seconds: Real
    light_seconds: Real
    bandwidth: Real
    band: Band
    disk_seconds: Real = 0.0
    slowest_disk_seconds: Real = 0.0

    @cached_property
    def tok_s(self) -> Real:
        """Expected speed [1/s]."""
        return self.step.tokens / self.seconds

    @cached_property
    def ceiling_tok_s(self) -> Real:
        """Speed of light [1/s]: every peak reached, all overlapped, nothing else to do."""
        return self.step.tokens / self.light_seconds

    @property
    def low_tok_s(self) -> Real:
        """Lower end of the band [1/s]: the machine at its slowest, behind a page cache that keeps nothing."""
        if not self._disk:
            return self.tok_s / self.band.factor
        slowest = (self.seconds - self.disk_seconds) * self.band.factor + self.slowest_disk_seconds
        return self.step.tokens / slowest

    @property
    def high_tok_s(self) -> Real:
        """Upper end of the band [1/s], which light limits."""
        fastest = self.tok_s * self.band.factor
        if self._disk:
            seconds = (self.seconds - self.disk_seconds) / self.band.factor + self.disk_seconds
            fastest = self.step.tokens / seconds
        return np.minimum(fastest, np.maximum(self.ceiling_tok_s, self.tok_s))

    @cached_property
    def flops(self) -> Real:
        """Operations of the whole phase [FLOP]."""
        return total(cost.flops for cost in self.operators)

    @cached_property
    def bytes(self) -> Real:
        """Bytes moved in the whole phase [B]."""
        return total(cost.bytes for cost in self.operators if cost.kind != "disk")

    @property
    def weight_bytes(self) -> Real:
        """Weight bytes read in the whole phase [B]."""
        return total(cost.weight_bytes for cost in self.operators if cost.kind != "disk")

    @property
    def kv_bytes(self) -> Real:
        """KV-cache and state bytes moved in the whole phase [B]."""
        return total(cost.kv_bytes for cost in self.operators)

    @property
    def intensity(self) -> Real:
        """Arithmetic intensity [FLOP/B]."""
        return self.flops / self.bytes

    @cached_property
    def ridge_point(self) -> Real:
        """Intensity at which the phase would turn compute-bound at the speed of light [FLOP/B]."""
        arithmetic = total(cost.light_seconds for cost in self.operators)
        return self.flops / arithmetic / self.bandwidth

    @cached_property
    def shares(self) -> dict[str, Real]:
        """Seconds due to compute, memory and overhead, and to the link and the disk where there is one [s]."""
        link = {"link": total(cost.link_seconds for cost in self.operators)} if self.has_link else {}
        return {**_roofs(self.operators), **link, **self._disk}

    @cached_property
    def _disk(self) -> dict[str, Real]:
        return {"disk": self.disk_seconds} if any(cost.kind == "disk" for cost in self.operators) else {}

    @cached_property
    def is_placed(self) -> bool:
        """Whether parts of it ran on the host."""
        return any(cost.device for cost in self.operators)

    @cached_property
    def has_link(self) -> bool:
        """Whether devices wait for a link between them, or parts ran on the host."""
        return self.is_placed or any(np.any(np.asarray(cost.link_seconds) > 0) for cost in self.operators)

    @cached_property
    def device_seconds(self) -> dict[str, Real]:
        """Seconds on the device (''), on the host, on the link between them, and on the disk where it is used [s]."""
        found: dict[str, Real] = {}
        for cost in self.operators:
            found[cost.device] = found.get(cost.device, 0.0) + cost.roof_seconds + cost.overhead_seconds
        return {**found, "link": total(cost.link_seconds for cost in self.operators), **self._disk}

    @cached_property
    def device_bounds(self) -> dict[str, str | NDArray[np.str_]]:
        """What most of each device's own time goes to: compute, memory or overhead."""
        devices = dict.fromkeys(cost.device for cost in self.operators if cost.kind not in ("link", "disk"))
        return {name: _most(_roofs([cost for cost in self.operators if cost.device == name])) for name in devices}

    @cached_property
    def bound_code(self) -> NDArray[np.intp]:
        """The place among `shares` of what most of the time goes to."""
        return _place_of_most(self.shares)

    @cached_property
    def bound(self) -> str | NDArray[np.str_]:
        """What most of the time goes to: compute, memory, overhead, the link or the disk."""
        return _most(self.shares)


def _roofs(operators: Sequence[OperatorCost]) -> dict[str, Real]:
    """Seconds of operators due to compute, memory and overhead [s]."""
    memory = total(
        cost.roof_seconds * memory_share(cost.compute_seconds, cost.memory_seconds, cost.sharpness)
        for cost in operators
    )
    roofs = total(cost.roof_seconds for cost in operators)
    return {
        "compute": roofs - memory,
        "memory": memory,
        "overhead": total(cost.overhead_seconds for cost in operators),
    }


def _place_of_most(shares: Mapping[str, Real]) -> NDArray[np.intp]:
    """The place of the largest share, per element."""
    most, *others = shares.values()
    code: NDArray[np.intp] = np.zeros(np.shape(most), dtype=np.intp)
    for place, share in enumerate(others, 1):
        code = np.where(share > most, place, code)
        most = np.maximum(share, most)
    return code


def _most(shares: Mapping[str, Real]) -> str | NDArray[np.str_]:
    """The name of the largest share, per element."""
    names, winner = tuple(shares), _place_of_most(shares)
    return names[int(winner)] if np.ndim(winner) == 0 else np.array(names)[winner]


@dataclass(frozen=True)
class Prediction:
    """What is expected of a model on a machine; a phase of which no tokens were asked for is None."""

    model: Model
    weights: Weights
    machine: Machine
    workload: Workload
    prefill: Phase | None
    decode: Phase | None
    placement: Placement | None = None
    disk: DiskRoof | None = None
    names: dict[str, str] = field(default_factory=dict)

    @cached_property
    def memory(self) -> MemoryBill:
        """What has to be held."""
        return bill(self.model, self.weights, self.machine, self.workload, self.placement)

    @cached_property
    def quality(self) -> Quality:
        """What the quantisation costs in quality, where something is known of it."""
        return quality_of(self.weights, self.names.get("model"), self.model.native_quant)

    @property
    def gguf(self) -> Path | None:
        """The file that the model was read from, which has the types it has; None where it is no GGUF file."""
        name = self.names.get("model_file", "")
        return Path(name) if name.endswith(".gguf") else None

    @property
    def runs(self) -> bool:
        """Whether all of its points run: they fit, or what does not is read from the disk."""
        return bool(np.all(self.memory.fits)) or (self.disk is not None and self.disk.runs)

    def load(self, rate: float) -> LoadTime:
        """Time to load the model from a disk of `rate` [B/s]; what the backend does not map, it copies."""
        memory, side = self.memory, self.memory if self.memory.host is None else self.memory.host
        over = 0.0 if side.margin is None else float(np.max(-np.asarray(side.margin)))
        return load_seconds(
            self.weights.file_bytes,
            rate,
            self.machine,
            self.placement.host if self.placement else None,
            copied=0.0 if self.machine.engine.maps_weights else memory.weights,
            repacked=memory.repacked if over <= 0 else 0.0,  # a copy would need the memory that is missing
            excess=min(max(over, 0.0), side.weights),
        )

    @property
    def ttft_s(self) -> Real | None:
        """Time to first token: the prompt of all sequences [s]."""
        return self.prefill.seconds if self.prefill else None

    @property
    def tpot_s(self) -> Real | None:
        """Time per output token of one sequence [s]."""
        return self.decode.seconds / self.workload.gen if self.decode else None

    @property
    def total_s(self) -> Real:
        """Prompt and generation [s]."""
        return (self.prefill.seconds if self.prefill else 0.0) + (self.decode.seconds if self.decode else 0.0)


def behind_disk(phase: Phase, roof: DiskRoof) -> Phase:
    """The phase with the weights that memory cannot hold read from the disk in every pass, added to its time.

    The speed of light waits for what no page cache saves; the low end of the band, for all that is touched.
    """
    if not roof.is_used:
        return phase
    touched = total(cost.weight_bytes for cost in phase.operators if cost.device == roof.device)
    read = roof.bytes_read(touched)
    seconds, passes = read / roof.rate, phase.step.passes
    waiting = OperatorCost(
        "disk", "", "disk", "", 1, 0.0, read, 0.0, 0.0, 0.0, 0.0, np.inf, 0.0, 0.0, phase.step.columns, 0.0, 0.0, 0.0,
        None, roof.device, 0.0, seconds,
    )  # fmt: skip
    light = np.maximum(phase.light_seconds, roof.least_read(touched, passes) / roof.rate)
    return replace(
        phase,
        operators=(*phase.operators, waiting),
        seconds=phase.seconds + seconds,
        light_seconds=light,
        disk_seconds=seconds,
        slowest_disk_seconds=roof.most_read(touched) / roof.rate,
    )


def total(values: Iterable[Real]) -> Real:
    """Sum of scalars and arrays of different shapes."""
    found: Real = 0.0
    for value in values:
        found = found + value
    return found
