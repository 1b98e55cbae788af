"""The whole catalog to one Parquet file: ``python -m tests.bench.sweep`` (60 million points, 2 GB of disk).

Points a second are of the whole command, from the request to the file in place, on all cores; memory is the
most that all its processes held together, looked at five times a second.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from roofline.sweep import make_request

QUANTS = (
    "f16,q8_0,q6_k,q5_k_m,q5_k_s,q5_0,q5_1,q4_k_m,q4_k_s,q4_0,q4_1,iq4_xs,iq4_nl,q3_k_l,q3_k_m,q3_k_s,q2_k,iq3_xxs,"
    "iq2_xxs,iq1_s"
)
DEPTHS, BATCHES = "0:131072:4096", "1,2,4,8,16,32"


def held(tree: psutil.Process) -> int:
    """Memory that a process and those below it hold, pages that they share counted for each [B]."""
    found = 0
    with contextlib.suppress(psutil.Error):
        for process in (tree, *tree.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                found += process.memory_info().rss
    return found


def main(models: str = "*") -> None:
    points = make_request("*", models, QUANTS, depth=DEPTHS, batch=BATCHES).points
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        out = Path(folder) / "catalog.parquet"
        command = [sys.executable, "-m", "roofline", "sweep", "--hw", "*", "--model", models, "--quant", QUANTS]
        command += ["--depth", DEPTHS, "--batch", BATCHES, "--out", str(out)]
        start = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
            most = 0
            tree = psutil.Process(running.pid)
            while running.poll() is None:
                most = max(most, held(tree))
                time.sleep(0.2)
        seconds = time.perf_counter() - start
        if running.returncode:
            raise SystemExit(running.returncode)
        size = out.stat().st_size
    rate = points / seconds / 1e6
    print(f"{f'sweep, {points / 1e6:.1f} M points, {size / 1e9:.2f} GB':42} {rate:7.2f} million points/s  (goal 3)")
    print(f"{'sweep, memory of all processes':42} {most / 2**20:7.0f} MiB  (goal 1024)")


if __name__ == "__main__":
    main(*sys.argv[1:2])
