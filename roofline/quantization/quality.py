"""How closely a weight type follows the weights: its signal-to-noise ratio in dB, measured on weights that were drawn.

    SNR = 10 · log10(Σ w² / Σ (w − ŵ)²)                      w: weights, ŵ: what their blocks say

Measured once, in quality.csv, on SAMPLE_SHAPE weights of variance 1 (numpy's default_rng(SAMPLE_SEED), float32) in rows
of 4096: standard normal ones, and by the same generator Laplacian and heavy-tailed ones (precision.distributions).
method 'gguf': rounded by the gguf package, bit for bit the plain quantiser of llama.cpp. 'llama.cpp':
ggml_quantize_chunk of the llama.cpp that llama-cpp-python 0.3.36 carries; 'flat importances' tells it that all weights
matter alike, so that its search lessens the very error that is counted. The standard error of each figure is beside
it, from the scatter of the rows. No format can exceed 6.02 dB a bit on Gaussian weights (Shannon 1959, the
rate-distortion function of a Gaussian source), which tests hold.

It is a property of the format, not of a model: real weights have outliers, and an importance matrix spends the error
where it matters least. Half the noise in the weights is not half the loss in perplexity. Types for weights that were
trained to be ternary (tq1_0, tq2_0) do badly on Gaussian ones and lose nothing on their own.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from roofline.quantization.layouts import INTERLEAVED, TILED, layout
from roofline.spec import SpecError

FILE = Path(__file__).with_name("quality.csv")
SAMPLE_SEED = 0
SAMPLE_SHAPE = (256, 4096)
EXACT = ("f32", "f64")  # what models are trained in, or wider


#: Columns of quality.csv by what was drawn.
COLUMNS = {
    "gaussian": ("snr_db", "error_db"),
    "laplacian": ("laplacian_db", "laplacian_error_db"),
    "heavy-tailed": ("heavy_tailed_db", "heavy_tailed_error_db"),
}


class Quality(NamedTuple):
    """snr_db: signal-to-noise ratio [dB]. method: how it was measured, see above. error_db: its standard error [dB]."""

    snr_db: float
    method: str
    error_db: float


@lru_cache(maxsize=len(COLUMNS))
def measured_types(distribution: str = "gaussian") -> Mapping[str, Quality]:
    """Every type that was measured, on weights of this distribution; SpecError for one that was not drawn.

    Types of ik_llama.cpp alone and the idealised ones were not measured.
    """
    if distribution not in COLUMNS:
        raise SpecError(f"expected weights of one of {', '.join(COLUMNS)}, found {distribution!r}")
    ratio, error = COLUMNS[distribution]
    with FILE.open(encoding="utf-8", newline="") as lines:
        return {
            row["type"]: Quality(float(row[ratio]), row["method"], float(row[error])) for row in csv.DictReader(lines)
        }


def base_type(type_name: str) -> str:
    """The type whose blocks an interleaved or tiled one reorders, or itself. SpecError for a name that is none."""
    name = layout(type_name).name
    return {**INTERLEAVED, **TILED}.get(name, name)


def measured(type_name: str, distribution: str = "gaussian") -> Quality | None:
    """What was measured of a type, None where nothing was; SpecError for names that are none."""
    return measured_types(distribution).get(base_type(type_name))


def snr_db(type_name: str, distribution: str = "gaussian") -> float | None:
    """Signal-to-noise ratio of a type [dB]: infinite for f32, None where it was not measured.

    SpecError for a name that is none.
    """
    if base_type(type_name) in EXACT:
        return math.inf
    found = measured(type_name, distribution)
    return None if found is None else found.snr_db


def mixed_snr_db(elements_by_type: Mapping[str, int]) -> float | None:
    """Signal-to-noise ratio of a model whose weights have several types [dB]; None where one of them has none.

    Noise powers add, weighted by elements, as if the weights of all tensors had the same power. Infinite for f32 alone.
    """
    noise, elements = 0.0, sum(elements_by_type.values())
    for name, number in elements_by_type.items():
        ratio = snr_db(name)
        if ratio is None:
            return None
        noise += number / elements * noise_share(ratio)
    return -10.0 * math.log10(noise) if noise > 0 else math.inf


def noise_share(ratio: float) -> float:
    """Noise by signal power [1] of a ratio in dB."""
    return math.pow(10.0, -ratio / 10.0)


def unmeasured(elements_by_type: Mapping[str, int]) -> list[str]:
    """The types among these that have no figure, sorted."""
    return sorted(name for name in elements_by_type if snr_db(name) is None)
