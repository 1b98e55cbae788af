"""What the time of a token goes to: the seconds of a phase as a stack of weights, cache, arithmetic and the rest.

Each operator's time under the roofs is divided into arithmetic and memory as Phase.shares divides it, and the memory's
part by the bytes that it moves, the attention's being the cache's. So weights, cache and activations add up to the
shares' memory, launches are its overhead, and all parts together are the phase's seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from roofline.ceilings import memory_share
from roofline.charts.lineups import Choice, cache_of, choices, described, hardware_id, model_id, worked_out
from roofline.points import single_point
from roofline.prediction import OperatorCost, Phase, Prediction
from roofline.reasons import memory_words
from roofline.spec import SpecError

#: What time goes to, from the axis outwards.
PARTS = ("weights", "KV cache", "activations", "compute", "launches", "link", "disk")
COLUMNS = ("hardware", "model", "quant", "kv", "phase", "part", "seconds", "share", "token_s")
DECADE = 10.0  # bars further apart than this have one length
ROOM = 1.22  # of an axis by its longest bar
LEAST_LABELLED = 0.11  # share of the longest bar below which a part has no room for its label


@dataclass(frozen=True, slots=True)
class Bar:
    """A phase of a prediction. seconds: of each part, for one token [s]; they add up to `token_s`, and `shares` to 1.

    labels: of parts that have room for one. tokens: that the phase works on, of one sequence [1].
    """

    name: str
    hardware: str
    model: str
    quant: str
    kv: str
    phase: str
    tokens: float
    seconds: dict[str, float]
    labels: dict[str, str]

    @property
    def token_s(self) -> float:
        """Time of one token of each sequence [s]."""
        return sum(self.seconds.values())

    @property
    def shares(self) -> dict[str, float]:
        """Shares of the time [1]."""
        return {part: seconds / self.token_s for part, seconds in self.seconds.items()}


@dataclass(frozen=True)
class TokenTimes:
    """Bars of one phase or of both, decode before prefill. notes: what is not drawn, and why."""

    title: str
    subtitle: str
    bars: tuple[Bar, ...]
    notes: tuple[str, ...] = ()

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases that have bars."""
        return tuple(dict.fromkeys(bar.phase for bar in self.bars))

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that any bar has."""
        return tuple(part for part in PARTS if any(bar.seconds[part] > 0 for bar in self.bars))

    def of(self, phase: str) -> list[Bar]:
        """The bars of a phase."""
        return [bar for bar in self.bars if bar.phase == phase]

    def is_relative(self, phase: str) -> bool:
        """Whether bars show shares of their own time, since beside the longest the shortest would vanish."""
        return _is_relative(self.of(phase))

    def length(self, bar: Bar, part: str) -> float:
        """How long a part is drawn: its seconds [s], or its share [1]."""
        return bar.shares[part] if self.is_relative(bar.phase) else bar.seconds[part]

    def end(self, phase: str) -> float:
        """Where the axis of a phase ends, with room for the number after its longest bar [s], [1]."""
        return ROOM * (1.0 if self.is_relative(phase) else max(bar.token_s for bar in self.of(phase)))

    def rows(self) -> list[dict[str, Any]]:
        """Every part of every bar."""
        return [
            {
                "hardware": bar.hardware, "model": bar.model, "quant": bar.quant, "kv": bar.kv, "phase": bar.phase,
                "part": part, "seconds": bar.seconds[part], "share": bar.shares[part], "token_s": bar.token_s,
            }
            for bar in self.bars
            for part in self.parts
        ]  # fmt: skip


def token_times(predictions: Sequence[Prediction], notes: Sequence[str] = ()) -> TokenTimes:
    """What a decoded token and a token of the prompt cost, in each prediction of one point.

    Of a batch it is the time in which every sequence gets a token. A prediction that does not run is told in words;
    SpecError where none does. notes: what else was left out.
    """
    running = [one for one in predictions if one.runs and (one.prefill or one.decode)]
    if not running:
        words = memory_words(predictions[0].memory) if predictions else "no prediction"
        idle = bool(predictions) and predictions[0].runs
        raise SpecError(
            "--prompt, --gen: expected tokens of one of them at least, found none" if idle else f"--hw: {words}"
        )
    names = _names(running)
    bars = [
        _bar(one, name, phase, found)
        for phase in ("decode", "prefill")
        for one, name in zip(running, names, strict=True)
        if (found := getattr(one, phase)) is not None
    ]
    told = [f"{hardware_id(one)}, {one.weights.quant}: does not fit." for one in predictions if not one.runs]
    return TokenTimes(
        "What a token's time goes to", _subtitle(running), tuple(_labelled(bars)), (*told, *notes)
    )  # fmt: skip


def asked(
    hw: Sequence[str], quants: Sequence[str | None], kvs: Sequence[str], model: str, **settings: Any
) -> TokenTimes:
    """token_times of devices × quantisations × types of cache; settings: the other arguments of points.single_point."""

    def predict(choice: Choice) -> Prediction:
        return single_point(choice.hw, model, choice.quant, kv=choice.kv.replace("/", ","), **settings)

    return token_times(*worked_out(choices(hw, quants, kvs), predict))


def phase_seconds(phase: Phase) -> dict[str, float]:
    """The seconds of a phase that each part takes [s]; weights, cache and activations are the memory of `shares`."""
    found = dict.fromkeys(PARTS, 0.0)
    for cost in phase.operators:
        memory = float(cost.roof_seconds * memory_share(cost.compute_seconds, cost.memory_seconds, cost.sharpness))
        for part, share in _memory(cost).items():
            found[part] += memory * share
        found["compute"] += float(cost.roof_seconds) - memory
        found["launches"] += float(cost.overhead_seconds)
        found["link"] += float(cost.link_seconds)
        found["disk"] += float(cost.disk_seconds)
    # Several devices in turn take a part of the sum, see calculator.pipeline_share.
    scale = float(phase.seconds) / sum(found.values())
    return {part: seconds * scale for part, seconds in found.items()}


def _memory(cost: OperatorCost) -> dict[str, float]:
    """How an operator's traffic divides [1]."""
    sizes = {"weights": cost.weight_bytes, "KV cache": cost.kv_bytes, "activations": cost.activation_bytes}
    if cost.kind == "attention":
        return {"KV cache": 1.0}
    every = float(np.sum(list(sizes.values())))
    return {part: float(size) / every for part, size in sizes.items()} if every > 0 else {}


def _bar(one: Prediction, name: str, phase: str, found: Phase) -> Bar:
    tokens = float(found.step.new)
    seconds = {part: value / tokens for part, value in phase_seconds(found).items()}
    return Bar(name, hardware_id(one), model_id(one), one.weights.quant, cache_of(one), phase, tokens, seconds, {})


def _labelled(bars: Sequence[Bar]) -> list[Bar]:
    """The bars with their shares in percent where there is room."""
    phases = {bar.phase: [other for other in bars if other.phase == bar.phase] for bar in bars}
    longest = {phase: max(bar.token_s for bar in own) for phase, own in phases.items()}
    return [
        replace(
            bar,
            labels={
                part: f"{bar.shares[part]:.0%}"
                for part, seconds in bar.seconds.items()
                if seconds >= LEAST_LABELLED * (bar.token_s if _is_relative(phases[bar.phase]) else longest[bar.phase])
            },
        )
        for bar in bars
    ]


def _is_relative(bars: Sequence[Bar]) -> bool:
    return max(bar.token_s for bar in bars) > DECADE * min(bar.token_s for bar in bars)


def _names(running: Sequence[Prediction]) -> list[str]:
    """What tells the predictions apart, for the axis."""
    facts = [(hardware_id(one), model_id(one), one.weights.quant, f"{cache_of(one)} cache") for one in running]
    varying = [len(set(values)) > 1 for values in zip(*facts, strict=True)]
    if not any(varying):
        return [fact[0] for fact in facts]
    return [" · ".join(text for text, varies in zip(fact, varying, strict=True) if varies) for fact in facts]


def _subtitle(running: Sequence[Prediction]) -> str:
    work = running[0].workload
    parts = [f"decode: {float(work.gen):g} tokens after {float(work.depth + work.prompt):,.0f}"] * bool(work.gen)
    parts += [f"prefill: {float(work.prompt):,.0f} tokens after {float(work.depth):,.0f}"] * bool(work.prompt)
    parts += [f"batch {float(work.batch):g}: a token of each"] * (float(work.batch) > 1)
    return f"{described(running)}\n{' · '.join(parts)}"
