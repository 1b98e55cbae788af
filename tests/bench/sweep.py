"""The whole catalog to one Parquet file: ``python -m tests.bench.sweep`` (60 million points, 2 GB of disk).

Points a second are of the whole command, from the request to the file in place, on all cores; memory is the sum of the
most that each process held.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from roofline.sweep import make_request

QUANTS = (
    "f16,q8_0,q6_k,q5_k_m,q5_k_s,q5_0,q5_1,q4_k_m,q4_k_s,q4_0,q4_1,iq4_xs,iq4_nl,q3_k_l,q3_k_m,q3_k_s,q2_k,iq3_xxs,"
    "iq2_xxs,iq1_s"
)
DEPTHS, BATCHES = "0:131072:4096", "1,2,4,8,16,32"


def main(models: str = "*") -> None:
    points = make_request("*", models, QUANTS, depth=DEPTHS, batch=BATCHES).points
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        out = Path(folder) / "catalog.parquet"
        command = [sys.executable, "-m", "roofline", "sweep", "--hw", "*", "--model", models, "--quant", QUANTS]
        command += ["--depth", DEPTHS, "--batch", BATCHES, "--out", str(out)]
        start = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        seconds = time.perf_counter() - start
        size = out.stat().st_size
    # The largest process below this one, once for each that there was: an upper bound of what they held together.
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 * (1 + (os.cpu_count() or 1))
    rate = points / seconds / 1e6
    print(f"{f'sweep, {points / 1e6:.1f} M points, {size / 1e9:.2f} GB':42} {rate:7.2f} million points/s  (goal 3)")
    print(f"{'sweep, memory of all processes, at most':42} {most / 2**20:7.0f} MiB  (goal 1024)")


if __name__ == "__main__":
    main(*sys.argv[1:2])
