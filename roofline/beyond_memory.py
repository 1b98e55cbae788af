"""Weights that memory cannot hold, token by token: what each is read again, and what would help.

The bytes are those of disk.DiskRoof under three policies of the page cache; what would help asks the one bill.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roofline import inverse
from roofline.calculator import predict
from roofline.prediction import Prediction
from roofline.ways_out import setting_of, smaller_weights

WANTED_TOK_S = 1.0  # the speed for which a disk's rate is asked


@dataclass(frozen=True, slots=True)
class Case:
    """A token with weights on the disk under one policy of the page cache.

    read: from the disk [B]; seconds: of the whole token [s]; tok_s: [1/s].
    """

    policy: str
    read: float
    seconds: float

    @property
    def tok_s(self) -> float:
        """Speed [1/s]."""
        return 1.0 / self.seconds


@dataclass(frozen=True, slots=True)
class Help:
    """A change, what it takes, and the decode speed with it where that is another one [1/s]."""

    change: str
    takes: str
    tok_s: float | None
    size: float | None = None
    rate: float | None = None


def token_bytes(prediction: Prediction) -> float:
    """Weight bytes that a token reads, from wherever [B]; 0 where none is generated."""
    decode = prediction.decode
    return float(decode.weight_bytes) / float(decode.step.passes) if decode is not None else 0.0


def again(prediction: Prediction) -> float:
    """Bytes that a token reads from the disk where memory keeps the same part all the time [B]."""
    return 0.0 if prediction.disk is None else float(prediction.disk.bytes_read(token_bytes(prediction)))


def cases(prediction: Prediction) -> list[Case]:
    """A token's time by what the page cache keeps; empty where all of it fits, or nothing runs."""
    roof, decode = prediction.disk, prediction.decode
    if roof is None or decode is None or not roof.is_used or not roof.runs:
        return []
    weights = token_bytes(prediction)
    computed = float(decode.seconds - decode.disk_seconds) / float(decode.step.passes)
    reads = {
        "no policy reads less": float(roof.least_read(weights, 1.0)),
        "the same part stays": again(prediction),
        "strict LRU": float(roof.most_read(weights)),
    }
    return [Case(name, read, computed + read / roof.rate) for name, read in reads.items()]


def helps(prediction: Prediction) -> list[Help]:
    """What makes a token need the disk less, where it does."""
    if not cases(prediction):
        return []
    return [*_smaller(prediction), *_more_memory(prediction), *_faster_disk(prediction)]


def _smaller(prediction: Prediction) -> list[Help]:
    """The quantisation of most bits that fits."""
    if prediction.gguf:
        return []
    setting = setting_of(prediction)
    best = smaller_weights(setting)
    if best is None:
        return []
    decode = predict(setting.model, best, setting.machine, setting.workload).decode
    speed = None if decode is None else float(decode.tok_s)
    return [Help(f"--quant {best.quant}", "the most bits that fit", speed, size=best.file_bytes)]


def _more_memory(prediction: Prediction) -> list[Help]:
    """Memory with which all of it fits: what is missing by the share of the memory that may be used."""
    bill, decode = prediction.memory, prediction.decode
    if bill.capacity is None or bill.margin is None or decode is None:
        return []
    needed = bill.capacity - float(np.min(bill.margin)) / prediction.machine.engine.usable.value
    speed = float(decode.step.tokens / (decode.seconds - decode.disk_seconds))
    sold = inverse.smallest_memory(setting_of(prediction))
    takes = f"sold with {sold[0]}" if sold else "more than it is sold with"
    return [Help("more memory", takes, speed, size=needed)]


def _faster_disk(prediction: Prediction) -> list[Help]:
    """The rate with which a disk gives a token a second, for both policies that a system may have."""
    found = []
    assert prediction.disk is not None  # there are cases
    for case in cases(prediction)[1:]:
        left = 1.0 / WANTED_TOK_S - (case.seconds - case.read / prediction.disk.rate)
        if left > 0 and case.seconds > 1.0 / WANTED_TOK_S:
            found.append(Help("faster disk", case.policy, WANTED_TOK_S, rate=case.read / left))
    return found
