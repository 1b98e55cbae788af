"""One measured speed against its prediction: within the band, off, or faster than the speed of light."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from roofline.bench import Observation
from roofline.bench.expected import Expected, expect
from roofline.check.terms import Change, change_needed
from roofline.spec import SpecError
from roofline.units import format_number

Verdict = Literal["ok", "off", "impossible", "suspect"]
VERDICTS: tuple[Verdict, ...] = ("ok", "off", "impossible", "suspect")
PHASE = {"pp": "prefill", "tg": "decode"}


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a check needs of a prediction. Speeds [tok/s]; bytes_per_pass: weights and cache read [B]; runtime: an id.

    experts: whether the model routes tokens to experts. guessed: what the observation does not state.
    """

    expected: Expected
    tok_s: float
    low_tok_s: float
    high_tok_s: float
    ceiling_tok_s: float
    bytes_per_pass: float
    runtime: str
    backend: str
    experts: bool
    guessed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A checked row. Speeds [tok/s]; ratio: predicted by measured [1]; change: what would make an off row exact."""

    observation: Observation
    phase: str
    backend: str
    runtime: str
    predicted_tok_s: float
    low_tok_s: float
    high_tok_s: float
    ceiling_tok_s: float
    bytes_per_pass: float
    experts: bool
    in_band: bool
    verdict: Verdict
    change: Change | None
    reason: str
    guessed: tuple[str, ...]

    @property
    def ratio(self) -> float:
        """Predicted by measured speed [1]."""
        return self.predicted_tok_s / self.observation.tok_s

    @property
    def error(self) -> float:
        """Absolute error as a share of the measured speed [1]."""
        return abs(self.ratio - 1)


def expectation(observation: Observation) -> Expectation:
    """What is expected of an observation; SpecError with the reason when nothing can be."""
    expected = expect(observation)
    phase, prediction = expected.phase, expected.prediction
    speeds = (float(phase.tok_s), float(phase.low_tok_s), float(phase.high_tok_s), float(phase.ceiling_tok_s))
    if not all(math.isfinite(speed) and speed > 0 for speed in speeds):
        raise SpecError(f"prediction: expected finite speeds, found {', '.join(f'{speed:g}' for speed in speeds)}")
    tok_s, low, high, ceiling = speeds
    return Expectation(
        expected=expected,
        tok_s=tok_s,
        low_tok_s=low,
        high_tok_s=high,
        ceiling_tok_s=ceiling,
        bytes_per_pass=float(phase.weight_bytes + phase.kv_bytes) / float(phase.step.passes),
        runtime=prediction.names.get("runtime", prediction.machine.runtime.name),
        backend=prediction.machine.backend,
        experts=prediction.model.expert_count > 1,
        guessed=expected.guessed,
    )


def judge(observation: Observation, outlook: Expectation) -> Row:
    """The row with its verdict, as far as it can be told from this row alone."""
    measured, rounding = observation.tok_s, half_a_digit(observation)
    in_band = outlook.low_tok_s <= measured + rounding and measured - rounding <= outlook.high_tok_s
    verdict: Verdict = "ok" if in_band else "off"
    reason, change = "", None
    if measured - rounding - (observation.std or 0.0) > outlook.ceiling_tok_s:
        verdict = "impossible"
        reason = (
            f"measured {_speed(measured)}, above {_speed(outlook.ceiling_tok_s)}, the speed of light of "
            f"{observation.hardware} for this model: are hardware, quantisation and speed stated right?"
        )
    elif verdict == "off":
        change = change_needed(outlook.expected.phase, outlook.tok_s / measured)
        side = "below" if measured < outlook.low_tok_s else "above"
        band = f"{format_number(outlook.low_tok_s)} to {format_number(outlook.high_tok_s)} tok/s"
        reason = f"measured {_speed(measured)}, {side} the band of {band}: {change.words}"
    return Row(
        observation, PHASE[observation.phase], outlook.backend, outlook.runtime, outlook.tok_s, outlook.low_tok_s,
        outlook.high_tok_s, outlook.ceiling_tok_s, outlook.bytes_per_pass, outlook.experts, in_band, verdict, change,
        reason, outlook.guessed,
    )  # fmt: skip


def half_a_digit(observation: Observation) -> float:
    """Half a unit of the last printed digit [tok/s]: a printed 2 stands for 1.5 to 2.5.

    A whole number with a deviation comes from a program that prints decimals, and is not rounded.
    """
    _, point, decimals = f"{observation.tok_s:.10f}".rstrip("0").partition(".")
    if not decimals and observation.std is not None:
        return 0.0
    return 0.5 * 10.0 ** -len(decimals) if point else 0.5


def _speed(tok_s: float) -> str:
    return f"{format_number(tok_s)} tok/s"
