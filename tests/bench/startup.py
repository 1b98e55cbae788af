"""Whole processes against the imports they cannot do without: ``python -m tests.bench.startup``.

The commands are run in turn, round after round, so that a slow moment of the machine falls on all of them alike.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOFLINE = str(Path(sys.executable).parent / "roofline")
BASE = "python -c 'import numpy, pydantic, typer'"
COMMANDS = {
    BASE: [sys.executable, "-c", "import numpy, pydantic, typer"],
    "roofline predict": [ROOFLINE, "predict", "--hw", "rpi5", "--model", "mistral7b", "--quant", "q4_0"],
    "roofline --help": [ROOFLINE, "--help"],
}
GOALS = {"roofline predict": 1.5, "roofline --help": 1.2}


def seconds(command: list[str]) -> float:
    """Wall time of one run [s]; the command must succeed."""
    start = time.perf_counter()
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main(rounds: int = 11) -> None:
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for command in COMMANDS.values():
        seconds(command)  # fill the disk cache and write the bytecode
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        goal = f"  (goal {GOALS[name]:.1f})" if name in GOALS else ""
        print(f"{name:42} {median * 1e3:7.0f} ms  {median / medians[BASE]:5.2f} x{goal}")


if __name__ == "__main__":
    main()
