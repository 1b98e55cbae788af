"""Why a prediction is what it is, in words and numbers of one line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from roofline.machine import Machine
from roofline.memory import MemoryBill
from roofline.prediction import Phase, Prediction
from roofline.units import format_number, format_quantity


def why(prediction: Prediction) -> str:
    """One line in plain words and numbers: what a token costs, and what that makes of the machine."""
    machine, phase = prediction.machine, prediction.decode
    if phase is None:
        return _why_prefill(prediction)
    tokens = float(phase.step.tokens)
    passes = float(phase.step.passes)
    each = "each token" if float(phase.step.batch) == 1 else f"each pass, {format_number(tokens / passes)} tokens wide,"
    seconds = {name: float(value) for name, value in phase.shares.items()}
    total = float(phase.seconds)
    moved = float(phase.weight_bytes) / passes
    cache = float(phase.kv_bytes) / passes
    text = f"{each} reads {format_quantity(moved, 'B')} of weights"
    if cache > 0.01 * moved:
        text += f" and {format_quantity(cache, 'B')} of KV cache"
    achieved = float(phase.weight_bytes + phase.kv_bytes) / total
    of = "" if phase.is_placed else f" of {format_quantity(machine.theoretical_bandwidth, 'B/s')}"
    text += f"; {format_quantity(total / passes, 's')} for that is {format_quantity(achieved, 'B/s')}{of}"
    if phase.is_placed:
        text += f", {_sides(phase)}"
    if machine.hardware.count > 1:
        text += f" ({machine.hardware.count} devices take turns)"
    parts = [f"{name} {100 * value / sum(seconds.values()):.0f} %" for name, value in seconds.items()]
    reason = {
        "memory": "memory-bound: faster memory or fewer bits per weight would help, more arithmetic would not",
        "compute": "compute-bound: more or faster cores would help, faster memory would not",
        "link": "link-bound: a faster link or less on the host would help",
        "overhead": f"overhead-bound: {_overhead_words(machine)} cost more than arithmetic or memory",
    }[str(phase.bound)]
    return f"{text}. The time goes to {', '.join(parts)}: {reason}."


def _sides(phase: Phase) -> str:
    """How a placed model's time is shared between the sides: '20 % on the GPU, 78 % on the host, 2 % on the link'."""
    total = float(phase.seconds)
    names = {"": "on the GPU", "host": "on the host", "link": "on the link"}
    return ", ".join(f"{float(value) / total:.0%} {names[part]}" for part, value in phase.device_seconds.items())


def _overhead_words(machine: Machine) -> str:
    each = f"({format_quantity(machine.node_seconds, 's')} a graph node)"
    return (
        f"the barriers between {machine.threads} threads {each}"
        if machine.backend == "cpu"
        else f"kernel launches {each}"
    )


def _why_prefill(prediction: Prediction) -> str:
    phase = prediction.prefill
    if phase is None:
        return "nothing was asked for: no prompt and no generation."
    rate = float(phase.flops / phase.seconds)
    return (
        f"the prompt needs {format_quantity(float(phase.flops), 'FLOP')} at {format_quantity(rate, 'FLOP/s')}; "
        f"{phase.bound}-bound."
    )


def remarks(prediction: Prediction) -> list[str]:
    """What a reader should know before relying on the numbers."""
    found = []
    model, workload = prediction.model, prediction.workload
    longest = float(np.max(workload.positions if workload.context is None else workload.context))
    if model.max_context and longest > model.max_context:
        found.append(
            f"{longest:,.0f} positions are more than the {model.max_context:,} that {model.name} was made for."
        )
    cache = prediction.machine.hardware.last_level_cache
    if cache and prediction.weights.file_bytes < cache:
        found.append(
            f"the weights ({format_quantity(prediction.weights.file_bytes, 'B')}) fit into the last cache "
            f"({format_quantity(cache, 'B')}), which may be faster than the memory that the prediction counts with."
        )
    return found


def band_reasons(prediction: Prediction) -> tuple[str, ...]:
    """Why the band is wider than usual for its backend."""
    phase = prediction.decode or prediction.prefill
    return phase.band.reasons if phase else ()


def band_words(prediction: Prediction) -> str:
    """What the band is, and what would narrow it."""
    spread = prediction.machine.engine.spread
    phase = prediction.decode or prediction.prefill
    if phase and phase.band.local:
        return "8 of 10 measurements are meant to lie between low and high; from your own measurements of this machine."
    if spread.calibrated:
        text = "8 of 10 measurements of a new device are meant to lie between low and high"
    else:
        text = "low to high is meant to hold 8 of 10 measurements; uncalibrated, from published spreads"
    reasons = band_reasons(prediction)
    return f"{text}; wider than usual, since {' and '.join(reasons)}." if reasons else f"{text}."


def memory_words(bill: MemoryBill) -> str:
    """The bill as a sum in words, and the verdict."""
    items = [
        ("weights", bill.weights), ("KV cache", float(bill.kv_cache)), ("compute buffer", float(bill.compute)),
        ("runtime", bill.context),
    ]  # fmt: skip
    total = " + ".join(f"{name} {_size(value)}" for name, value in items)
    text = f"{total} = {_size(float(bill.total))}"
    if bill.host is not None:
        rest = replace(bill, host=None)
        return f"on the device {memory_words(rest)}. On the host {memory_words(bill.host)}"
    if bill.usable is None or bill.capacity is None:
        return f"{text}; how much memory this machine has is for its owner to say (--set memory.capacity=64GB)"
    usable = f"{_size(bill.usable)} usable of {_size(bill.capacity)}"
    if bill.assumed_capacity:
        usable += " (the most it takes)"
    margin = float(bill.margin) if bill.margin is not None else 0.0
    if bill.fits:
        return f"{text} of {usable}: fits, {_size(margin)} left"
    return f"{text}, but {usable}: does not fit, {_size(-margin)} too much"


def _size(size: float) -> str:
    """Bytes of memory in the binary units in which it is sold and reported."""
    return format_quantity(size, "B", binary=True)
