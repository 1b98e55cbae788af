"""Sums over weights, from which a tensor's, a group's and a file's figures are made."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class Sums:
    """Of weights x, each of which stands for as many as the sample is smaller than the tensor.

    weights [1]; squares Σx², fourths Σx⁴; largest |x|; noise: expected or found Σ(x − w)² of `noisy_squares` = Σw²;
    gaussian: what that noise would be were the weights of each type Gaussian. broken: weights in blocks that hold a
    number that is not finite. held, tried: by format the weights that it has, by type Σ(x − what it makes of x)².
    """

    weights: float = 0.0
    squares: float = 0.0
    fourths: float = 0.0
    largest: float = 0.0
    noise: float = 0.0
    noisy_squares: float = 0.0
    gaussian: float = 0.0
    broken: float = 0.0
    held: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    tried: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    tried_squares: float = 0.0

    def add(self, values: NDArray[np.floating[Any]]) -> float:
        """Count finite weights; their Σx²."""
        squared = np.square(values, dtype=np.float64)
        power = float(squared.sum())
        self.weights += values.size
        self.squares += power
        self.fourths += float(np.square(squared).sum())
        self.largest = max(self.largest, float(np.abs(values).max(initial=0.0)))
        return power

    def scaled(self, factor: float) -> Sums:
        """The same of so many times as many weights."""
        return Sums(
            self.weights * factor, self.squares * factor, self.fourths * factor, self.largest, self.noise * factor,
            self.noisy_squares * factor, self.gaussian * factor, self.broken * factor,
            {key: value * factor for key, value in self.held.items()},
            {key: value * factor for key, value in self.tried.items()},
            self.tried_squares * factor,
        )  # fmt: skip

    @property
    def rms(self) -> float | None:
        """Root mean square of the weights."""
        return math.sqrt(self.squares / self.weights) if self.weights else None

    @property
    def kurtosis(self) -> float | None:
        """E[x⁴] / E[x²]² [1]: 3 for a Gaussian, 6 for a Laplacian; more is heavier tails."""
        return self.fourths * self.weights / self.squares / self.squares if self.squares > 0 else None

    @property
    def snr_db(self) -> float | None:
        """Signal-to-noise ratio of what has an estimate [dB]; None where nothing has, or nothing was lost."""
        return decibels(self.noisy_squares, self.noise)

    @property
    def gaussian_snr_db(self) -> float | None:
        """What it would be were the weights of each type Gaussian, of the same power [dB]."""
        return decibels(self.noisy_squares, self.gaussian)

    def held_share(self, form: str) -> float | None:
        """Share of the weights that a format has exactly [1]; None where they were not asked."""
        return self.held[form] / self.weights if form in self.held and self.weights else None

    def tried_snr_db(self, type_name: str) -> float | None:
        """Signal-to-noise ratio of rounding these weights to a type [dB]."""
        return decibels(self.tried_squares, self.tried[type_name]) if type_name in self.tried else None


def decibels(signal: float, noise: float) -> float | None:
    """10 · log10(signal / noise) [dB]; None where one of them is nothing, or the noise without end."""
    return 10.0 * math.log10(signal / noise) if signal > 0 and 0 < noise < math.inf else None


def total(parts: Iterable[Sums]) -> Sums:
    """All of them together."""
    whole = Sums()
    for part in parts:
        for name in ("weights", "squares", "fourths", "noise", "noisy_squares", "gaussian", "broken", "tried_squares"):
            setattr(whole, name, getattr(whole, name) + getattr(part, name))
        whole.largest = max(whole.largest, part.largest)
        for own, others in ((whole.held, part.held), (whole.tried, part.tried)):
            for key, value in others.items():
                own[key] += value
    return whole
