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

from roofline.quantization.quality import FILE, SAMPLE_SEED, SAMPLE_SHAPE, measured_types


def sample() -> NDArray[np.float32]:
    """The weights that every type is measured with."""
    return np.random.default_rng(SAMPLE_SEED).standard_normal(SAMPLE_SHAPE, dtype=np.float32)


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


def main() -> None:
    folder, weights = Path(sys.argv[1]), sample()
    rows = [("type", "snr_db", "method")]
    for name, known in measured_types().items():
        back = by_gguf(name, weights) if known.method == "gguf" else by_llama_cpp(folder, name, weights)
        rows.append((name, f"{ratio_db(weights, back):.4f}", known.method))
    with FILE.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
