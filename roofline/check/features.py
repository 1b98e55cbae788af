"""What a measured point is in the calculator's terms: bytes and operations of a token, bandwidth and peak.

Deriving them needs the files of every device and model that was measured, so that those of the shipped observations are
kept in features.csv, which `python -m tests.refresh_features` writes and a test compares.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from roofline.bench import Observation
from roofline.bench.expected import expect
from roofline.prediction import Phase, Prediction
from roofline.spec import SpecError

FILE = Path(__file__).with_name("features.csv")
COLUMNS = ("id", "type", "bytes_per_token", "flops_per_token", "bandwidth_bytes_s", "peak_flop_s")


@dataclass(frozen=True, slots=True)
class Features:
    """type: the one that holds most of the weights. bytes_per_token: weights and cache [B]. flops_per_token [FLOP].

    bandwidth [B/s] and peak [FLOP/s]: theoretical, of one device.
    """

    type: str
    bytes_per_token: float
    flops_per_token: float
    bandwidth: float
    peak: float


def features(prediction: Prediction, phase: Phase) -> Features:
    """The features of one phase of a prediction; of the first point where it holds several."""
    machine, kind = prediction.machine, prediction.weights.main_type
    tokens = phase.step.tokens
    return Features(
        kind,
        _first((phase.weight_bytes + phase.kv_bytes) / tokens),
        _first(phase.flops / tokens),
        machine.theoretical_bandwidth,
        _first(machine.ceiling(kind).peak),
    )


def _first(value: object) -> float:
    return float(np.ravel(np.asarray(value, dtype=float))[0])


def table(observations: Iterable[Observation]) -> str:
    """The features of observations as CSV, with six digits.

    Those that cannot be predicted are left out, and those with layers on a host, which are near to no device alone.
    """
    lines = [",".join(COLUMNS)]
    for seen in observations:
        try:
            expected = expect(seen)
        except SpecError:
            continue
        if expected.prediction.placement is not None:
            continue
        found = features(expected.prediction, expected.phase)
        numbers = (found.bytes_per_token, found.flops_per_token, found.bandwidth, found.peak)
        lines.append(",".join([seen.id, found.type, *(f"{number:.6g}" for number in numbers)]))
    return "\n".join(lines) + "\n"


@lru_cache(maxsize=1)
def shipped_features() -> dict[str, Features]:
    """The features of the shipped observations by id."""
    with FILE.open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines)
        next(rows)
        return {name: Features(kind, *map(float, numbers)) for name, kind, *numbers in rows}
