"""The costs of a step whose matrices are divided among several devices: each does its part, then all join."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from roofline.machine import Machine
from roofline.memory import ACTIVATION_BYTES
from roofline.model import Model
from roofline.prediction import OperatorCost
from roofline.splitting import Interconnect, gather_seconds, interconnect, part, reduce_seconds, reductions
from roofline.workload import Real, Step


def divided(costs: Sequence[OperatorCost], model: Model, machine: Machine, step: Step) -> tuple[OperatorCost, ...]:
    """Costs of one device that does everything → those of its like side by side, with what joining them takes.

    Times are the busiest device's. Operations and bytes stay those of the whole model, once. Launches are the same on
    each device, and taken to run at the same time. Parts that lie on the host are left as they are.
    """
    ways = machine.hardware.count
    layers = {group.name: group.layer for group in model.groups}
    found = []
    for cost in costs:
        if not cost.device and cost.kind != "link":
            share = part(layers.get(cost.group), cost.operator, cost.kind, ways)
            cost = replace(
                cost,
                compute_seconds=cost.compute_seconds * share.compute,
                memory_seconds=cost.memory_seconds * share.memory,
            )
        found.append(cost)
    link = interconnect(machine)
    return (*found, *_joins(model, machine, step, link))


def _joins(model: Model, machine: Machine, step: Step, link: Interconnect) -> tuple[OperatorCost, OperatorCost]:
    """The reductions of all layers and passes, and the logits that come together at the end of each pass."""
    vector = model.hidden * step.columns
    times = reductions(model) * step.passes
    joined = times * reduce_seconds(vector, machine, link, ACTIVATION_BYTES)
    logits = model.vocab * step.batch * step.outputs * (step.new / step.chunk) * ACTIVATION_BYTES
    gathered = gather_seconds(logits / step.passes, machine.hardware.count, link.bandwidth, link.hop) * step.passes
    return (
        on_link("all-reduce", times * vector * ACTIVATION_BYTES, joined, step),
        on_link("logits", logits, np.where(np.greater(logits, 0), gathered, 0.0), step),
    )


def on_link(operator: str, moved: Real, seconds: Real, step: Step) -> OperatorCost:
    """`moved` bytes of activations on a link for some seconds, as an operator that computes nothing."""
    if np.ndim(seconds) == 0:
        moved, seconds = float(moved), float(seconds)
    return OperatorCost(
        operator, "", "link", "f32", 1, 0.0, 0.0, 0.0, moved, 0.0, 0.0, np.inf, 0.0, 0.0, step.columns, 0.0, 0.0, 0.0,
        None, "", seconds,
    )  # fmt: skip
