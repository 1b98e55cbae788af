"""Quantisations of a model on devices, as points: their speeds, their bits and their quality."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from roofline.quality import Quality, quality_cells

COLUMNS = (
    "hardware", "model", "quant", "kv", "model_bits", "snr_db", "ppl_change_percent", "ppl_model",
    "file_bytes", "fits",
    "decode_tok_s", "decode_low_tok_s", "decode_high_tok_s", "decode_ceiling_tok_s", "decode_bound",
    "prefill_tok_s", "prefill_low_tok_s", "prefill_high_tok_s", "prefill_ceiling_tok_s", "prefill_bound",
    "measured_tok_s", "std_tok_s", "id",
)  # fmt: skip
PHASES = ("decode", "prefill")

#: Whose names are written first where there is no room for all.
_KNOWN = (
    "q4_k_m", "q8_0", "f16", "q2_k", "q6_k", "q3_k_m", "q5_k_m", "q4_0", "iq4_xs", "iq3_xxs", "iq2_xxs", "iq1_s", "f32",
    "bf16", "q4_k_s", "q5_k_s", "iq4_nl", "q3_k_s", "q3_k_l", "iq3_m", "iq2_m", "q5_0", "q4_1", "mxfp4",
)  # fmt: skip
_LETTER, _ROW = 0.022, 0.08  # of a name, as shares of the width and height of a narrow panel
_LIFT = 0.05  # of a name above its point


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one phase [1/s]."""

    tok_s: float
    low_tok_s: float
    high_tok_s: float
    ceiling_tok_s: float
    bound: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A measured speed of a quantisation. std: its standard deviation, None where not stated [1/s]."""

    phase: str
    tok_s: float
    std: float | None
    id: str
    source: str


@dataclass(frozen=True, slots=True)
class QuantPoint:
    """A quantisation on a device.

    bits: per weight of the whole model [bit]. quality: see quality.py. file_bytes: all tensors [B]. fits: a phase's
    speed is None where it does not.
    """

    hardware: str
    model: str
    quant: str
    kv: str
    place: int
    bits: float
    quality: Quality
    file_bytes: float
    fits: bool
    decode: Speed | None
    prefill: Speed | None
    seen: tuple[Seen, ...] = ()

    @property
    def snr_db(self) -> float | None:
        """Signal-to-noise ratio of the weights [dB]: infinite for f32, None where a type has no figure."""
        return self.quality.snr_db

    def speed(self, phase: str) -> Speed | None:
        """The speed of a phase; None where no tokens of it were asked for, or it does not run."""
        found: Speed | None = getattr(self, phase)
        return found


@dataclass(frozen=True)
class QuantPoints:
    """Quantisations of a model on devices. phase: the one that is drawn. notes: what is not drawn, and why."""

    title: str
    subtitle: str
    phase: str
    devices: tuple[str, ...]
    points: tuple[QuantPoint, ...]
    notes: tuple[str, ...] = ()

    def drawn(self, quality: bool) -> list[QuantPoint]:
        """The points that have a place: against bits, or against quality."""
        return [
            point
            for point in self.points
            if point.speed(self.phase) and (not quality or (point.snr_db is not None and math.isfinite(point.snr_db)))
        ]

    def is_log(self) -> bool:
        """Whether the devices lie further apart than a linear axis can show."""
        tops: dict[int, float] = {}
        for point in self.drawn(quality=False):
            speed = point.speed(self.phase)
            tops[point.place] = max(tops.get(point.place, 0.0), speed.tok_s if speed else 0.0)
        return len(tops) > 1 and max(tops.values()) > 10 * min(tops.values())

    def named(self, quality: bool) -> set[tuple[int, str]]:
        """(place, quant) of the fastest device's points whose names can be written without one over the other."""
        every, log = self.drawn(quality), self.is_log()
        best = max(every, key=lambda point: _height(point, self.phase, False), default=None)
        points = [point for point in every if best is not None and point.place == best.place]
        places = [(_along(point, quality), _height(point, self.phase, log)) for point in points]
        if not places:
            return set()
        (left, right), (low, high) = (
            (min(values), max(values))
            for values in ([x for x, _ in places], [_height(point, self.phase, log) for point in every])
        )
        low = low if log else 0.0
        taken: list[tuple[float, float, float]] = []
        found = set()
        for at in sorted(range(len(points)), key=lambda at: _rank(points[at])):
            x = (places[at][0] - left) / ((right - left) or 1.0)
            y = (places[at][1] - low) / ((high - low) or 1.0) + _LIFT
            half = _LETTER * len(points[at].quant) / 2
            if all(abs(x - other) > half + wide or abs(y - level) > _ROW for other, wide, level in taken):
                taken.append((x, half, y))
                found.add((points[at].place, points[at].quant))
        return found

    def rows(self) -> list[dict[str, Any]]:
        """Every quantisation of every device; measured speeds below it."""
        found = []
        for point in self.points:
            head = {"hardware": point.hardware, "model": point.model, "quant": point.quant, "kv": point.kv}
            row: dict[str, Any] = {
                **head,
                "model_bits": point.bits,
                **quality_cells(point.quality),
                "file_bytes": point.file_bytes,
                "fits": point.fits,
            }
            for phase in PHASES:
                speed = point.speed(phase)
                for key in ("tok_s", "low_tok_s", "high_tok_s", "ceiling_tok_s", "bound"):
                    row[f"{phase}_{key}"] = getattr(speed, key) if speed else None
            found.append(row)
            found += [
                {**head, "measured_tok_s": one.tok_s, "std_tok_s": one.std, "id": one.id}
                for one in point.seen
                if one.phase == self.phase
            ]
        return found


def _along(point: QuantPoint, quality: bool) -> float:
    """Where it is along the axis: of bits, one that has octaves equally far apart."""
    return point.snr_db or 0.0 if quality else math.log2(point.bits)


def _height(point: QuantPoint, phase: str, log: bool) -> float:
    speed = point.speed(phase)
    value = speed.high_tok_s if speed else 0.0
    return math.log(value) if log and value > 0 else value


def _rank(point: QuantPoint) -> tuple[int, int]:
    return point.place, _KNOWN.index(point.quant) if point.quant in _KNOWN else len(_KNOWN)
