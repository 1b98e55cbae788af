"""The points under the roofs: groups of operators, whole phases with their bands, and their speed of light."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from roofline.ceilings import Ceilings
from roofline.prediction import OperatorCost, Phase, Prediction, total
from roofline.workload import Real

#: The groups of operators in the order of their symbols. Links and disks do no operations.
GROUPS = (
    "attention projections", "attention over the cache", "feed-forward", "experts", "shared experts", "recurrence",
    "output head", "others", "link", "disk",
)  # fmt: skip
WITHOUT_FLOPS = ("link", "disk")
#: Diameter of a mark that is all of its phase's time, and the least one [px]; between, the area is in proportion.
LARGEST, SMALLEST = 36.0, 6.0


@dataclass(frozen=True, slots=True)
class Mark:
    """One group of operators of a phase, all its layers and passes together.

    side: '' for the device, 'host' where it lies in the host's memory, 'GPU 2' … flops [FLOP], bytes [B] and their
    intensity [FLOP/B]; seconds [s] and flop_s, what is achieved [FLOP/s]; share: of the phase's time [1]; size [px].
    """

    group: str
    side: str
    flops: float
    bytes: float
    intensity: float
    seconds: float
    flop_s: float
    share: float
    bound: str
    size: float

    @property
    def is_drawn(self) -> bool:
        """Whether it has a place between logarithmic axes."""
        return self.flops > 0 and self.bytes > 0 and self.seconds > 0


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole phase. Speeds as tokens of all sequences [1/s] and, through the operations of a token, [FLOP/s].

    low to high is the 80 % band. light_flop_s: its speed of light, at light_intensity, from which the roof allows it.
    """

    flops: float
    bytes: float
    intensity: float
    seconds: float
    flop_s: float
    low_flop_s: float
    high_flop_s: float
    light_flop_s: float
    light_intensity: float
    tok_s: float
    low_tok_s: float
    high_tok_s: float
    ceiling_tok_s: float
    bound: str


@dataclass(frozen=True, slots=True)
class Stop:
    """A phase at one prompt, or one batch. runs: whether everything fits there."""

    value: int
    marks: tuple[Mark, ...]
    whole: Whole
    runs: bool


def group_of(cost: OperatorCost, head: str) -> str:
    """The group of an operator; head: the role of the output head's matrix."""
    name = cost.operator
    if cost.kind in WITHOUT_FLOPS:
        return cost.kind
    if cost.kind == "attention":
        return "attention over the cache"
    if cost.kind == "scan" or name.startswith("ssm_"):
        return "recurrence"
    if cost.kind != "matmul":
        return "others"
    if name == head:
        return "output head"
    if name.endswith("_shexp"):
        return "shared experts"
    if name.endswith(("_exps", "_chexps")) or name.startswith(("ffn_gate_inp", "ffn_latent")):
        return "experts"
    if name.startswith("attn_"):
        return "attention projections"
    return "feed-forward" if name.startswith("ffn_") else "others"


def stops(prediction: Prediction, phase: Phase, values: Sequence[int], bandwidth: float) -> list[Stop]:
    """A phase at each of the values that its arrays hold, or the one point of scalars.

    bandwidth: theoretical, of all memories that work on it [B/s].
    """
    count = len(values)
    runs = np.broadcast_to(np.asarray(_runs(prediction)), (count,)).tolist()
    wholes, marks = _wholes(phase, count, bandwidth), _marks(phase, prediction.model.head.role, count)
    return [
        Stop(value, tuple(found), whole, ran)
        for value, found, whole, ran in zip(values, marks, wholes, runs, strict=True)
    ]


def _runs(prediction: Prediction) -> Any:
    """Whether each point fits, or reads from the disk what does not."""
    disk = prediction.disk
    return prediction.memory.fits if disk is None else np.asarray(disk.missing) <= 0


def _marks(phase: Phase, head: str, count: int) -> list[list[Mark]]:
    """The marks of each point. Their seconds add up to the phase's: devices in a pipeline share the gain."""
    groups: dict[tuple[str, str], list[OperatorCost]] = {}
    for cost in phase.operators:
        groups.setdefault((group_of(cost, head), cost.device), []).append(cost)
    order = sorted(groups, key=lambda key: (GROUPS.index(key[0]), key[1]))
    working = total(cost.seconds for cost in phase.operators if cost.kind != "disk")
    pipeline = (phase.seconds - phase.disk_seconds) / working
    made: list[list[Mark]] = [[] for _ in range(count)]
    for group, side in order:
        part = replace(phase, operators=tuple(groups[group, side]))
        seconds = total(cost.seconds for cost in part.operators) * (1.0 if group == "disk" else pipeline)
        bound = _bounds(part, count)
        columns = (part.flops, part.bytes, seconds, seconds / phase.seconds)
        rows = zip(*(_each(column, count) for column in columns), bound, made, strict=True)
        for flops, size, duration, share, limit, found in rows:
            if duration > 0 or size > 0:
                found.append(_mark(group, side, flops, size, duration, share, limit))
    return made


def _mark(group: str, side: str, flops: float, size: float, seconds: float, share: float, bound: str) -> Mark:
    intensity = flops / size if size else 0.0
    speed = flops / seconds if seconds else 0.0
    diameter = max(LARGEST * share**0.5, SMALLEST)
    return Mark(group, side, flops, size, intensity, seconds, speed, share, bound, diameter)


def _wholes(phase: Phase, count: int, bandwidth: float) -> list[Whole]:
    per_token = phase.flops / phase.step.tokens
    light = phase.flops / phase.light_seconds
    # At the speed of light activations stay in caches: with fewer bytes the same operations lie further right.
    light_intensity = np.maximum(phase.intensity, light / Ceilings(np.inf, bandwidth).attainable(1.0))
    columns = (
        phase.flops, phase.bytes, phase.intensity, phase.seconds, phase.flops / phase.seconds,
        phase.low_tok_s * per_token, phase.high_tok_s * per_token, light, light_intensity,
        phase.tok_s, phase.low_tok_s, phase.high_tok_s, phase.ceiling_tok_s,
    )  # fmt: skip
    bound = _bounds(phase, count)
    rows: Iterable[Any] = zip(*(_each(column, count) for column in columns), bound, strict=True)
    return [Whole(*row) for row in rows]


def _bounds(phase: Phase, count: int) -> list[str]:
    found: list[str] = np.broadcast_to(np.asarray(phase.bound), (count,)).tolist() if count > 1 else [str(phase.bound)]
    return found


def _each(value: Real, count: int) -> list[float]:
    if np.ndim(value) == 0:
        return [float(value)] * count
    found: list[float] = np.broadcast_to(np.asarray(value, dtype=float), (count,)).tolist()
    return found
