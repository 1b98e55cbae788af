"""Speed against CPU threads: the best numbers of them for prompts (-tb) and for generation (-t), and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from roofline import points
from roofline.hardware import Cpu
from roofline.prediction import Phase, Prediction
from roofline.spec import SpecError
from roofline.units import format_number, format_quantity, short

ALL_UP_TO = 32  # threads, each of which is looked at
AN_OCTAVE = 4  # numbers beyond it from one power of two to the next
NEAR = 0.01  # share of the best speed that fewer threads may lack
SATURATED = 0.95  # share of the memory's limit
SMT = "SMT"


@dataclass(frozen=True, slots=True)
class Point:
    """A number of threads. core: the kind of core that the last of them occupies; SMT is a core's second thread.

    bandwidth: what they read together [B/s]. barrier_share: share of a generated token's time that they wait [1].
    """

    threads: int
    core: str
    prefill: Phase | None
    decode: Phase | None
    bandwidth: float
    barrier_share: float | None


@dataclass(frozen=True)
class Curve:
    """Speeds over threads, fewest first. prediction: with the runtime's own number, the fast cores.

    decode, prefill: the best points: the fewest threads within NEAR of the highest speed; None where not asked for.
    """

    prediction: Prediction
    points: tuple[Point, ...]
    decode: Point | None
    prefill: Point | None

    @property
    def command(self) -> str:
        """The best numbers as llama.cpp's programs take them."""
        parts = [f"-t {self.decode.threads}"] if self.decode else []
        parts += [f"-tb {self.prefill.threads}"] if self.prefill else []
        return " ".join(["llama-cli", *parts])


def curve(hw: str, model: str, quant: str | None = None, threads: str | None = None, **settings: Any) -> Curve:
    """A prediction for each number of threads; settings: the other arguments of points.single_point.

    threads: '1,2,4'; without it, all up to ALL_UP_TO and a few of an octave beyond, with those where the kind of core
    changes. SpecError for anything but one device's CPU.
    """
    if "+" in hw:
        raise SpecError(f"--hw: expected one device for a curve over its threads, found {short(hw)}")
    own = points.single_point(hw, model, quant, **settings)
    cpu = own.machine.hardware.cpu
    if own.machine.backend != "cpu" or cpu is None:
        if "cpu" not in own.machine.hardware.backends:
            raise SpecError(f"--hw: expected a device with CPU cores for a curve over its threads, found {short(hw)}")
        raise SpecError(f"--backend: expected cpu for a curve over threads, found {own.machine.backend}")
    if own.prefill is None and own.decode is None:
        raise SpecError("--prompt, --gen: expected tokens of one of them at least, found none")
    asked = counts(cpu) if threads is None else sorted(set(points.numbers("threads", threads)))
    found = [
        _point(points.single_point(hw, model, quant, threads=number, **settings), cpu) for number in asked
    ]  # fmt: skip
    return Curve(own, tuple(found), best(found, "decode"), best(found, "prefill"))


def most_threads(cpu: Cpu) -> int:
    """Threads that a CPU runs at once: its cores, or what simultaneous multithreading makes of them [1]."""
    return cpu.threads * cpu.sockets if cpu.threads else cpu.cores


def counts(cpu: Cpu) -> list[int]:
    """The numbers of threads to look at [1]."""
    most = most_threads(cpu)
    found = set(range(1, min(most, ALL_UP_TO) + 1))
    power = ALL_UP_TO
    while power < most:
        found |= {power + part * power // AN_OCTAVE for part in range(AN_OCTAVE)}
        power *= 2
    ends = {last for last, _ in _kinds(cpu)}
    return sorted(number for number in found | ends | {most} if number <= most)


def core_of(cpu: Cpu, threads: int) -> str:
    """The kind of core that the last of so many threads occupies, fastest first."""
    return next((name for last, name in _kinds(cpu) if threads <= last), SMT)


def _kinds(cpu: Cpu) -> list[tuple[int, str]]:
    """(last thread, name) of each kind of core."""
    found, last = [], 0
    for cluster in cpu.clusters:
        last += cluster.cores * cpu.sockets
        found.append((last, cluster.name))
    return found


def _point(one: Prediction, cpu: Cpu) -> Point:
    share = float(one.decode.shares["overhead"] / one.decode.seconds) if one.decode else None
    machine = one.machine
    core = core_of(cpu, machine.threads)
    return Point(machine.threads, core, one.prefill, one.decode, machine.sustained_bandwidth, share)


def best(found: Sequence[Point], phase: str) -> Point | None:
    """The point with the fewest threads within NEAR of the highest speed of a phase."""
    speeds = [float(getattr(point, phase).tok_s) if getattr(point, phase) else 0.0 for point in found]
    enough = (1 - NEAR) * max(speeds)
    return next(point for point, speed in zip(found, speeds, strict=True) if speed >= enough) if enough else None


def reasons(result: Curve) -> list[str]:
    """Why these numbers are the best, a sentence each."""
    found = [*_why_decode(result), *_why_prefill(result)]
    own = result.prediction.machine
    found.append(f"Without -t, the runtime takes {own.threads}: the fast cores.")
    return found


def _why_decode(result: Curve) -> list[str]:
    top, last = result.decode, result.points[-1]
    if top is None or top.decode is None or last.decode is None:
        return []
    memory = result.prediction.machine.theoretical_bandwidth
    most = max(point.bandwidth for point in result.points)
    read = f"{format_quantity(top.bandwidth, 'B/s')} of {format_quantity(memory, 'B/s')}"
    if top.bandwidth >= SATURATED * most:
        text = f"Generation: {_threads(top)} read {read}, as much as all of them could"
    else:
        text = f"Generation: {_threads(top)} read {read}"
    sentences = [f"{text}; the time goes mostly to {top.decode.bound}.", *_why_slow_cores(result, top, top.decode)]
    speed, slower = float(top.decode.tok_s), float(last.decode.tok_s)
    if last.threads > top.threads and slower < (1 - NEAR) * speed:
        sentences.append(
            f"With {last.threads}, generation loses {1 - slower / speed:.0%}: waiting at barriers takes "
            f"{last.barrier_share or 0:.0%} of a token's time for {top.barrier_share or 0:.0%}."
        )
    return sentences


def _why_slow_cores(result: Curve, top: Point, best_phase: Phase) -> list[str]:
    """What slower cores add to generation, where the best number of threads takes some."""
    kind = result.points[0].core
    fast = [point for point in result.points if point.core == kind]
    if top.core == kind or fast[-1].decode is None:
        return []
    less = 1 - float(fast[-1].decode.tok_s) / float(best_phase.tok_s)
    alone = f"The {fast[-1].threads} {kind} cores alone generate {less:.0%} less"
    return [
        f"{alone}: try -t {fast[-1].threads}, too, since slower cores hold up the others where work is shared evenly."
    ]


def _why_prefill(result: Curve) -> list[str]:
    top = result.prefill
    if top is None or top.prefill is None:
        return []
    words = f"Prompt: {_threads(top)} reach {format_number(float(top.prefill.tok_s))} tok/s, mostly {top.prefill.bound}"
    cpu = result.prediction.machine.hardware.cpu
    next_kind = cpu.fast_cores + 1 if cpu else 0
    if cpu and next_kind <= min(most_threads(cpu), result.points[-1].threads):
        core = core_of(cpu, next_kind)
        what = "second threads of busy cores, which add nothing" if core == SMT else f"{core} cores"
        words += f"; from thread {next_kind} on they are {what}"
    return [f"{words}."]


def _threads(point: Point) -> str:
    return "1 thread" if point.threads == 1 else f"{point.threads} threads"
