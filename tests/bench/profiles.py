"""Where the time goes: ``python -m tests.bench.profiles`` writes tests/bench/profiles/*.txt.

Shares of the profiled time by function, in the function itself; they move by a few points from run to run.
"""

import contextlib
import cProfile
import io
import pstats
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from roofline.cli import main as roofline
from roofline.sweep.encoding import encode, table
from roofline.sweep.partitions import partitions
from roofline.sweep.request import make_request
from tests.bench.recommendation import COMMANDS
from tests.bench.sweep import BATCHES, DEPTHS, QUANTS

FOLDER = Path(__file__).parent / "profiles"
MOST = 18
ROOT = Path(__file__).parent.parent.parent


def profile(call: Callable[[], object]) -> cProfile.Profile:
    found = cProfile.Profile()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        found.runcall(call)
    return found


def told(found: cProfile.Profile) -> str:
    """The functions that take most of the time themselves, with their share and calls."""
    stats = pstats.Stats(found)
    rows = stats.stats  # type: ignore[attr-defined]
    whole = sum(own for _, _, own, _, _ in rows.values())
    ordered = sorted(rows.items(), key=lambda item: -item[1][2])[:MOST]
    lines = [f"{'share':>6} {'with calls':>10} {'calls':>9}  function"]
    for (file, line, name), (_, calls, own, cumulative, _) in ordered:
        path = Path(file)
        where = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
        place = f"{where}: {name}" if line else name
        lines.append(f"{own / whole:6.1%} {min(cumulative / whole, 1):10.1%} {calls:9}  {place}")
    return "\n".join(lines) + "\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    request = make_request("*", "llama-3*,qwen3-*", QUANTS, depth=DEPTHS, batch=BATCHES)
    pieces = list(partitions(request))
    for piece in pieces[:3]:
        encode("parquet", request, piece)  # the catalog is read once

    def worker() -> None:
        for piece in pieces[3:15]:
            encode("parquet", request, piece)

    payloads = [encode("parquet", request, piece)[0] for piece in pieces[3:15]]

    def writer() -> None:
        from roofline.sweep.output import parquet_writer

        with parquet_writer(io.BytesIO(), request.columns) as out:
            for payload in payloads:
                out.write_table(table(payload, request.columns))

    texts: dict[str, tuple[str, Callable[[], object]]] = {
        "sweep-worker": ("A worker of a sweep: 12 partitions of 200 thousand points.", worker),
        "sweep-writer": ("The process that writes them to Parquet.", writer),
    }
    for name, words in COMMANDS.items():
        told_as = name.replace(", ", "-").replace(" ", "-")
        texts[told_as] = f"roofline recommend {words}", partial(roofline, ["recommend", *words.split()])
    for name, (title, call) in texts.items():
        (FOLDER / f"{name}.txt").write_text(f"{title}\n\n{told(profile(call))}", encoding="utf-8")
        print(f"wrote tests/bench/profiles/{name}.txt", file=sys.stderr)


if __name__ == "__main__":
    main()
