"""What is wished for: limits on speed, money and power, and how far a candidate is from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from roofline.quality import Quality
from roofline.recommend.candidates import Candidate, Speed
from roofline.spec import SpecError
from roofline.units import format_number, format_quantity


@dataclass(frozen=True, slots=True)
class Miss:
    """A wish that a candidate does not meet. factor: how far it is off, 1 is just met; infinite where unknown."""

    option: str
    wanted: str
    found: str
    factor: float

    def __str__(self) -> str:
        return f"{self.option} {self.wanted}: found {self.found}"


@dataclass(frozen=True)
class Wishes:
    """Limits; None is no wish. Speeds [1/s] of all sequences, TTFT [s], price [USD], power [W], cost [USD/M tokens],
    signal-to-noise ratio of the weights [dB]; weights without any noise meet every wish for it, and so does a model in
    the types that it is published in, of which there is nothing better.

    sure: whether the low end of the band has to meet the speeds, not the expected value.
    """

    min_decode: float | None = None
    min_prefill: float | None = None
    max_ttft: float | None = None
    max_price: float | None = None
    max_watts: float | None = None
    max_cost: float | None = None
    min_snr: float | None = None
    sure: bool = False

    def check(self) -> None:
        """SpecError for a limit that is none."""
        for option, (wanted, _, _) in self._limits().items():
            if wanted is not None and not 0 < wanted < float("inf"):
                raise SpecError(f"{option}: expected a number above 0, found {wanted:g}")

    def unknown(self, one: Candidate) -> int:
        """How many wishes a candidate cannot be held against, since it does not fit [1]."""
        limits = self._limits().values()
        return 0 if one.fits else sum(wanted is not None and figure(one) is None for wanted, figure, _ in limits)

    @property
    def asked(self) -> dict[str, float]:
        """The wishes that there are, by option."""
        return {option: wanted for option, (wanted, _, _) in self._limits().items() if wanted is not None}

    def _limits(self) -> dict[str, tuple[float | None, Callable[[Candidate], float | None], str]]:
        """(limit, a candidate's figure, unit) by option; options that begin with --min want at least the limit."""
        sure = self.sure
        return {
            "--min-decode": (self.min_decode, lambda one: _speed(one.decode, sure), "tok/s"),
            "--min-prefill": (self.min_prefill, lambda one: _speed(one.prefill, sure), "tok/s"),
            "--max-ttft": (self.max_ttft, lambda one: one.ttft_s, "s"),
            "--max-price": (self.max_price, lambda one: one.price, "USD"),
            "--max-watts": (self.max_watts, lambda one: one.power_w, "W"),
            "--min-snr": (self.min_snr, lambda one: _snr(one.quality), "dB"),
            "--max-cost": (self.max_cost, lambda one: one.usd_per_million, "USD a million tokens"),
        }

    def misses(self, one: Candidate) -> list[Miss]:
        """The wishes that a candidate does not meet, the memory first."""
        found = []
        if not one.fits:
            usable = one.usable_bytes or 1.0
            needed, there = (format_quantity(size, "B", binary=True) for size in (one.total_bytes, usable))
            found.append(Miss("memory", f"of {needed}", f"{there} usable", one.total_bytes / usable))
        for option, (wanted, figure, unit) in self._limits().items():
            if wanted is None:
                continue
            value = figure(one)
            if value is None:
                if one.fits or option in ("--max-price", "--max-watts", "--min-snr"):
                    found.append(Miss(option, f"{wanted:g} {unit}", "no figure", float("inf")))
                continue
            factor = wanted / value if option.startswith("--min") else value / wanted
            if factor > 1:
                found.append(Miss(option, f"{wanted:g} {unit}", f"{_told_apart(wanted, value)} {unit}", factor))
        return found


def _told_apart(wanted: float, value: float) -> str:
    """A figure with as many digits as it takes to see that it is not what was wanted, up to 9."""
    texts = (format_number(value, digits) for digits in range(3, 10))
    return next((text for text in texts if text != format_number(wanted, 9) and float(text) != wanted), f"{value:.9g}")


def _speed(speed: Speed | None, sure: bool) -> float | None:
    return None if speed is None else speed.low if sure else speed.tok_s


def _snr(quality: Quality) -> float | None:
    return math.inf if quality.native else quality.snr_db
