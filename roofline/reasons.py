"""Why a prediction is what it is, in words and numbers of one line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from roofline.machine import Machine
from roofline.memory import MemoryBill, repacked_bytes
from roofline.numa import nodes
from roofline.placement import device_name
from roofline.prediction import Phase, Prediction
from roofline.splitting import interconnect, repeats_cache
from roofline.units import format_duration, format_number, format_quantity

SMALL_GAIN = 0.01  # less is not worth a word


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
    if np.any(np.asarray(phase.disk_seconds) > 0):
        text += f" ({_read_from_disk(prediction, phase)})"
    if cache > 0.01 * moved:
        text += f" and {format_quantity(cache, 'B')} of KV cache"
    achieved = float(phase.weight_bytes + phase.kv_bytes) / total
    is_divided = machine.split == "tensor"
    available = machine.theoretical_bandwidth * (machine.hardware.count if is_divided else 1)
    of = "" if phase.is_placed else f" of {format_quantity(available, 'B/s')}"
    text += f"; {format_duration(total / passes)} for that is {format_quantity(achieved, 'B/s')}{of}"
    if phase.is_placed:
        text += f", {_sides(phase)}"
    if machine.hardware.count > 1:
        turns = f"work side by side, over {interconnect(machine).name}" if is_divided else "take turns"
        text += f" ({machine.hardware.count} devices {turns})"
    parts = [f"{name} {100 * value / sum(seconds.values()):.0f} %" for name, value in seconds.items()]
    has_host = prediction.placement is not None and prediction.placement.host is not None
    reason = {
        "memory": "memory-bound: faster memory or fewer bits per weight would help, more arithmetic would not",
        "compute": "compute-bound: more or faster cores would help, faster memory would not",
        "link": f"link-bound: a faster link or {'less on the host' if has_host else 'fewer devices'} would help",
        "disk": "disk-bound: more memory or fewer bits per weight would help most, then a faster disk",
        "overhead": f"overhead-bound: {_overhead_words(prediction, phase)} cost more than arithmetic or memory",
    }[str(phase.bound)]
    return f"{text}. The time goes to {', '.join(parts)}: {reason}.{_money(prediction)}"


def _money(prediction: Prediction) -> str:
    """Which of several parts the next money is best spent on: ' A quarter more bandwidth of … gains 18 %, …'."""
    if prediction.decode is None or not prediction.decode.has_link:
        return ""
    from roofline.upgrades import worth  # only what is placed or split pays for it

    gains = worth(prediction)
    if not gains:
        return ""
    if max(gains.values()) < SMALL_GAIN:
        return " A quarter more bandwidth of any part gains less than 1 %."
    (first, most), *others = gains.items()
    rest = "".join(f", of {name} {100 * gain:.0f} %" for name, gain in others)
    return f" A quarter more bandwidth of {first} gains {100 * most:.0f} %{rest}."


def times_words(prediction: Prediction, then: str = "") -> str:
    """'first token after 62.1 s, 410 ms a token, 115 s in all'. then: before what follows the first token."""
    parts = []
    if prediction.ttft_s is not None:
        parts.append(f"first token after {format_duration(float(prediction.ttft_s))}")
    if prediction.tpot_s is not None:
        parts.append(f"{then if parts else ''}{format_duration(float(prediction.tpot_s))} a token")
    parts.append(f"{format_duration(float(prediction.total_s))} in all")
    return ", ".join(parts)


def arrangement(machine: Machine) -> str:
    """How a machine's devices or memories are used together, as a part of its name: ', tensors divided over PCIe'."""
    if machine.split == "tensor":
        return f", tensors divided over {interconnect(machine).name}"
    ways = {"one": "one NUMA node", "interleave": "memory interleaved"}
    if machine.numa == "mirror":
        return f", weights mirrored on {nodes(machine.hardware)} NUMA nodes"
    return f", {ways[machine.numa]}" if machine.numa in ways else ""


def _sides(phase: Phase) -> str:
    """How the sides share a placed model's time, and what binds each: '20% on the GPU (memory), 80% on the host …'."""
    total = float(phase.seconds)
    several = any(part.startswith("GPU") for part in phase.device_seconds)
    names = {"": "on GPU 1" if several else "on the GPU", "host": "on the host", "link": "on the link"}
    names["disk"] = "on the disk"
    shown = []
    for part, value in phase.device_seconds.items():
        bound = f" ({phase.device_bounds[part]})" if float(value) and part in phase.device_bounds else ""
        shown.append(f"{float(value) / total:.0%} {names.get(part, f'on {part}')}{bound}")
    return ", ".join(shown)


def _read_from_disk(prediction: Prediction, phase: Phase) -> str:
    """What of a pass's weights comes from the disk: '1.2 GB of them from the disk'."""
    roof = prediction.disk
    assert roof is not None  # a phase waits for a disk that was asked for
    read = float(phase.disk_seconds) * roof.rate / float(phase.step.passes)
    return f"{format_quantity(read, 'B')} of them from the disk"


def disk_words(prediction: Prediction) -> str:
    """What runs from the disk and by which rule, and how long loading takes; '' where no disk was given."""
    roof = prediction.disk
    if roof is None:
        return ""
    rate = format_quantity(roof.rate, "B/s")
    text = f"nothing is read from it once the model is loaded ({rate})"
    if roof.is_used:
        held = f"{_size(float(roof.excess))} of {_size(roof.weights)} of weights do not fit and are read at {rate}"
        text = f"{held} in every pass, if memory keeps the others; low is for a page cache that keeps nothing"
        if prediction.memory.repacked > 0:
            text += "; run with --no-repack, since a repacked copy is not the file's"
    load = prediction.load(roof.rate)
    warm = "at once" if load.warm == 0 else f"in {format_duration(load.warm)}"
    text += f". Loads in {format_duration(load.cold)}, and {warm} when the file is in the page cache"
    return text if load.copied is not None else f"{text}; copying to the card is left out, since its link is not stated"


def _slowest_to_launch(prediction: Prediction, phase: Phase) -> Machine:
    """The side on which most of the overhead arises: a GPU with its launches, or the host with its barriers."""
    placement = prediction.placement
    if placement is None:
        return prediction.machine
    sides = {device_name(index): one for index, one in enumerate(placement.devices)}
    sides |= {"host": placement.host} if placement.host else {}
    overhead = dict.fromkeys(sides, 0.0)
    for cost in phase.operators:
        overhead[cost.device] += float(cost.overhead_seconds)
    return sides[max(overhead, key=lambda name: overhead[name])]


def _overhead_words(prediction: Prediction, phase: Phase) -> str:
    machine = _slowest_to_launch(prediction, phase)
    each = f"({format_duration(machine.node_seconds)} a graph node)"
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
    found += _split_remarks(prediction)
    placement = prediction.placement
    if placement and placement.others and prediction.prefill and prediction.machine.engine.pipeline:
        found.append(
            "the prompt is taken to pass one device after the other; in a pipeline, long ones may be faster than this."
        )
    kept = replace(workload, repack=True)
    if not workload.repack and repacked_bytes(model, prediction.weights, prediction.machine, kept):
        found.append("without repacked weights a CPU is slower: the speeds are those of the repacked kernels.")
    cache = prediction.machine.hardware.last_level_cache
    if cache and prediction.weights.file_bytes < cache:
        found.append(
            f"the weights ({format_quantity(prediction.weights.file_bytes, 'B')}) fit into the last cache "
            f"({format_quantity(cache, 'B')}), which may be faster than the memory that the prediction counts with."
        )
    return found


def _split_remarks(prediction: Prediction) -> list[str]:
    """What the counted time of a tensor split takes for granted."""
    machine = prediction.machine
    link = machine.hardware.link
    if machine.split != "tensor" or link is None:
        return []
    found = []
    if interconnect(machine).name == "PCIe":
        found.append(
            f"each device is taken to have {link.pcie_lanes} lanes of PCIe {link.pcie_generation}.0 and to send through"
            " the host's memory (--set link.pcie_lanes=8 where cards share them)."
        )
    elif link.nvlink_devices is not None:
        found.append("NVLink is counted with, which needs a bridge between the cards (--link pcie is without).")
    if repeats_cache(prediction.model, machine.hardware.count):
        found.append(f"{machine.hardware.count} devices are more than there are KV heads: some hold the same cache.")
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
    where = " on the fullest device" if bill.devices else ""
    if bill.fits:
        return f"{text} of {usable}: fits, {_size(margin)} left{where}{_beside_words(bill)}"
    return f"{text}, but {usable}: does not fit, {_size(-margin)} too much{where}"


def _beside_words(bill: MemoryBill) -> str:
    """What is in memory and not in the total: the page cache's second copy, the token embedding on the host."""
    words = ""
    if bill.repacked:
        words += f"; up to {_size(float(bill.resident))} resident while the file stays in the page cache"
    if bill.host_weights:
        words += f"; the token embedding, {_size(bill.host_weights)}, is in the host's memory"
    return words


def _size(size: float) -> str:
    """Bytes of memory in the binary units in which it is sold and reported."""
    return format_quantity(size, "B", binary=True)
