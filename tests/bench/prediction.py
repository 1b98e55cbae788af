"""``roofline.predict`` warm, one point and a grid: ``python -m tests.bench.prediction``."""

import statistics
import time
from collections.abc import Callable

import numpy as np

import roofline


def fastest(call: Callable[[], object], repeat: int, number: int) -> float:
    """Median over ``repeat`` runs of the time of one call [s], each run the mean of ``number`` calls."""
    runs = []
    for _ in range(repeat):
        start = time.perf_counter()
        for _ in range(number):
            call()
        runs.append((time.perf_counter() - start) / number)
    return statistics.median(runs)


def main() -> None:
    depth = np.arange(0, 32_000, 32)[:, np.newaxis]  # 1000 × 100 points by broadcasting
    batch = np.arange(1, 101)[np.newaxis, :]

    def one() -> object:
        return roofline.predict(hw="rpi5", model="mistral-7b", quant="q4_0", prompt=512, gen=128)

    def grid() -> object:
        return roofline.predict(
            hw="rpi5", model="mistral-7b", quant="q4_0", prompt=512, gen=128, depth=depth, batch=batch
        )

    one()
    grid()
    print(f"{'predict(), one point, warm':42} {fastest(one, 9, 100) * 1e3:7.3f} ms  (goal 1 ms)")
    points = depth.size * batch.size
    rate = points / fastest(grid, 9, 1) / 1e6
    print(f"{f'predict(), {points} points':42} {rate:7.2f} million points/s  (goal 1)")


if __name__ == "__main__":
    main()
