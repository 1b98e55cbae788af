"""The reader alone, on a header with a large vocabulary: ``python -m tests.bench.reading``.

inspection.py times the whole command. (A module named inspect would hide the standard library's from its neighbours.)
"""

import statistics
import tempfile
import time
from pathlib import Path

from roofline.readers import model_of, read_gguf
from tests.bench.inspection import VOCABULARY, write_header


def main(rounds: int = 5) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "header.gguf"
        write_header(path)
        times = []
        for _ in range(rounds + 1):
            start = time.perf_counter()
            model_of(read_gguf(path))
            times.append(time.perf_counter() - start)
        first, median = times[0], statistics.median(times[1:])  # the first also imports the gguf package
        print(
            f"{f'read a header with {VOCABULARY} tokens':42} {median * 1e3:7.0f} ms  (first time {first * 1e3:.0f} ms)"
        )


if __name__ == "__main__":
    main()
