"""What `roofline error` is asked: words of the command line, checked, as formats, orders, distributions and numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from roofline.precision.distributions import distribution
from roofline.precision.dot import ACTIVATION_RMS, LONGEST, WEIGHT_RMS, Setting, activation_distribution, row_step
from roofline.precision.dot_trial import MOST_TERMS
from roofline.precision.formats import FloatFormat, float_format
from roofline.precision.summation import Order, summation_order
from roofline.precision.weights import LEAST_RMS, MOST_RMS
from roofline.spec import SpecError
from roofline.units import UnitError, count

Thing = TypeVar("Thing")
TRIALS, MOST_TRIALS = 1000, 1_000_000


@dataclass(frozen=True)
class Request:
    """Mixes of types by name, lengths, accumulators, orders; trials: 0 for no simulation."""

    mixes: Mapping[str, Mapping[str, float]]
    lengths: tuple[int, ...]
    forms: tuple[FloatFormat, ...]
    orders: tuple[Order, ...]
    setting: Setting = field(default_factory=Setting)
    trials: int = TRIALS
    seed: int = 0


def request(
    mixes: Mapping[str, Mapping[str, float]],
    k: str = "4096",
    accumulate: str = "fp16,fp32",
    summation: str = "plain,pairwise,kahan",
    weights: str = "gaussian",
    activations: str = "gaussian",
    weight_rms: float = WEIGHT_RMS,
    activation_rms: float = ACTIVATION_RMS,
    trials: int = TRIALS,
    seed: int = 0,
    simulated: bool = True,
) -> Request:
    """A checked request. mixes: elements of each type by name of the quantisation; lists have commas between.

    SpecError, with the option, for anything that is not to be had.
    """
    lengths = tuple(dict.fromkeys(_each("k", k, _length)))
    for rms, option in ((weight_rms, "weight-rms"), (activation_rms, "activation-rms")):
        if not LEAST_RMS <= rms <= MOST_RMS:
            raise SpecError(f"--{option}: expected a positive number from {LEAST_RMS:g} to {MOST_RMS:g}, found {rms!r}")
    for mix in mixes.values():
        for name in mix:
            for length in lengths:
                if length % row_step(name):
                    raise SpecError(
                        f"--k: expected a multiple of {row_step(name)}, the block of {name}, found {length}"
                    )
    if simulated:
        if not 2 <= trials <= MOST_TRIALS:
            raise SpecError(f"--trials: expected 2 to {MOST_TRIALS}, for an interval, found {trials}")
        if seed < 0:
            raise SpecError(f"--seed: expected a number from 0 up, found {seed}")
        longest = max(lengths)
        if longest * trials > MOST_TERMS:
            raise SpecError(
                f"--trials: expected at most {max(MOST_TERMS // longest, 2)} of k = {longest} terms, found {trials}; "
                "--no-simulation takes any"
            )
    setting = Setting(
        _one("distribution", weights, distribution),
        _one("activations", activations, activation_distribution),
        weight_rms,
        activation_rms,
    )
    return Request(
        mixes,
        lengths,
        tuple(dict.fromkeys(_each("accumulate", accumulate, float_format))),
        tuple(dict.fromkeys(_each("sum", summation, summation_order))),
        setting,
        trials if simulated else 0,
        seed,
    )


def _length(text: str) -> int:
    try:
        found = count(text)
    except UnitError as error:
        raise SpecError(str(error)) from None
    if not 1 <= found <= LONGEST:
        raise SpecError(f"expected 1 to {LONGEST} terms, more than any matrix has in a row, found {text.strip()!r}")
    return found


def _each(option: str, text: str, read: Callable[[str], Thing]) -> list[Thing]:
    return [_one(option, part.strip(), read) for part in text.split(",")]


def _one(option: str, text: str, read: Callable[[str], Thing]) -> Thing:
    try:
        return read(text)
    except SpecError as error:
        raise SpecError(f"--{option}: {error}") from None
