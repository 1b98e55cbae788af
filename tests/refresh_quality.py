"""Measure the types of roofline/quantization/quality.csv anew: ``python -m tests.refresh_quality FOLDER``.

FOLDER holds the program requantise, which tests/build_engine.py builds beside llama.cpp's own.
"""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from roofline.precision.distributions import distribution
from roofline.precision.ratios import relative_scatter
from roofline.quantization.quality import COLUMNS, FILE, SAMPLE_SEED, SAMPLE_SHAPE


def sample(drawn_from: str = "gaussian") -> NDArray[np.float32]:
    """The weights that every type is measured with."""
    generator = np.random.default_rng(SAMPLE_SEED)
    if drawn_from == "gaussian":
        return generator.standard_normal(SAMPLE_SHAPE, dtype=np.float32)
    return distribution(drawn_from).sample(generator, SAMPLE_SHAPE).astype(np.float32)


def by_gguf(name: str, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """The weights as the blocks of the gguf package say them."""
    kind = gguf.GGMLQuantizationType[name.upper()]
    return np.asarray(gguf.quants.dequantize(gguf.quants.quantize(weights, kind), kind)).reshape(weights.shape)


def by_llama_cpp(folder: Path, name: str, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """The weights as llama.cpp's own blocks say them, all of them of the same importance."""
    spelt = f"{name[:-1]}K" if name.endswith("_k") else name
    words = [str(folder / "requantise"), spelt, str(weights.shape[1])]
    done = subprocess.run(words, input=weights.tobytes(), capture_output=True, check=True)
    return np.frombuffer(done.stdout, dtype=np.float32).reshape(weights.shape)


def ratio_db(weights: NDArray[np.float32], back: NDArray[np.float32]) -> float:
    """Signal-to-noise ratio [dB] of weights that came back as others."""
    wide = weights.astype(float)
    return 10 * math.log10(np.sum(wide**2) / np.sum((wide - back) ** 2))


def error_db(weights: NDArray[np.float32], back: NDArray[np.float32]) -> float:
    """Standard error of that ratio [dB], from the scatter of the rows."""
    wide = weights.astype(float)
    noise, power = np.sum((wide - back) ** 2, axis=1), np.sum(wide**2, axis=1)
    return 10 / math.log(10) * relative_scatter(noise, power) * float(power.sum() / noise.sum())


def main() -> None:
    folder = Path(sys.argv[1])
    samples = {name: sample(name) for name in COLUMNS}
    with FILE.open(encoding="utf-8", newline="") as lines:
        methods = {row["type"]: row["method"] for row in csv.DictReader(lines)}
    rows = [
        ["type", "snr_db", "method", "error_db", *(column for name in list(COLUMNS)[1:] for column in COLUMNS[name])]
    ]
    for name, method in methods.items():
        figures = []
        for weights in samples.values():
            back = by_gguf(name, weights) if method == "gguf" else by_llama_cpp(folder, name, weights)
            figures += [f"{ratio_db(weights, back):.4f}", f"{error_db(weights, back):.4f}"]
        rows.append([name, figures[0], method, *figures[1:]])
    with FILE.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
