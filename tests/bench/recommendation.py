"""`recommend` over the whole catalog, as whole processes: ``python -m tests.bench.recommendation``."""

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "recommend, all devices for a model": "--model qwen3-32b --quant q4_k_m --ctx 16k --min-decode 10 --max-price 2500",
    "recommend, all models for a device": "--hw m4-max-40 --min-decode 15 --ctx 8k",
}


def main(rounds: int = 7) -> None:
    for name, words in COMMANDS.items():
        command = [sys.executable, "-m", "roofline", "recommend", *words.split()]
        times = []
        for _ in range(rounds + 1):
            start = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            times.append(time.perf_counter() - start)
        median = statistics.median(times[1:])  # the first fills the disk cache
        print(f"{name:42} {median * 1e3:7.0f} ms  (goal 1500)")


if __name__ == "__main__":
    main()
