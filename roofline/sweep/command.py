"""A sweep from request to file."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from roofline.spec import SpecError
from roofline.sweep.encoding import Format, encode
from roofline.sweep.engines import Engine, executor, rare_collections
from roofline.sweep.evaluate import Skip
from roofline.sweep.output import Output, output
from roofline.sweep.partitions import POINTS, Partition, partitions
from roofline.sweep.request import Request

_Result: TypeAlias = tuple[bytes, int, list[Skip]]
_FORMATS: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


@dataclass(frozen=True)
class Finished:
    """rows: points in the file. resumed: of them, those that were there before [1]. skipped: points by reason."""

    path: Path
    rows: int
    resumed: int
    skipped: dict[str, int]


def format_of(path: Path) -> Format:
    """The format that a file's name asks for."""
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        raise SpecError(f"--out: expected a file named .parquet, .csv or .jsonl, found {path.name!r}")
    return form


def sweep(
    request: Request,
    out: Path,
    *,
    workers: int | None = None,
    engine: Engine = "local",
    scheduler: str | None = None,
    force: bool = False,
    restart: bool = False,
    progress: Callable[[int], None] = lambda _points: None,
    piece: int = POINTS,
) -> Finished:
    """Every point of a request in a file, Parquet, CSV or JSON Lines by its name; what was stopped before goes on.

    workers: processes of this machine. engine: 'local', or 'dask' with the address of a scheduler. force: replace an
    output that is there. restart: forget what was kept of an earlier run. progress: called with the points done so far.
    piece: points of a partition, about.

    Raises SpecError for an output that exists, a disk that is full, a worker that died; what was written stays.
    """
    form = format_of(out)
    if out.exists() and not force:
        raise SpecError(f"--out: expected a new file, found {out}; --force replaces it")
    kept = output(out, form, request, piece)
    if restart:
        shutil.rmtree(kept.folder, ignore_errors=True)
        kept.folder.mkdir(parents=True)
    kept.open()
    resumed = kept.rows
    try:
        with rare_collections(), executor(engine, scheduler, workers, request) as (pool, width):
            _fill(kept, request, form, pool, width, progress, piece)
        if not kept.rows:
            reason = next(iter(kept.skipped), "")
            raise SpecError(
                f"--hw, --model, --quant: expected a combination that can be predicted, found none: {reason}"
            )
    except BaseException:
        kept.close()
        raise
    kept.finish()
    return Finished(out, kept.rows, resumed, dict(kept.skipped))


def _fill(
    kept: Output,
    request: Request,
    form: Format,
    pool: Executor,
    width: int,
    progress: Callable[[int], None],
    piece: int,
) -> None:
    """Append what is missing."""
    pieces = partitions(request, piece)
    done = sum(one.points for one in islice(pieces, kept.done))
    progress(done)
    for one, (payload, rows, skipped) in _in_order(pool, width, request, form, pieces):
        kept.append(payload, rows, skipped)
        done += one.points
        progress(done)


def _in_order(
    pool: Executor, width: int, request: Request, form: Format, pieces: Iterator[Partition]
) -> Iterator[tuple[Partition, _Result]]:
    """Partitions with their results in order, so many at a time in flight."""
    waiting: deque[tuple[Partition, Future[_Result]]] = deque()
    try:
        while True:
            waiting.extend(
                (piece, pool.submit(encode, form, request, piece)) for piece in islice(pieces, width - len(waiting))
            )
            if not waiting:
                return
            piece, future = waiting.popleft()
            yield piece, future.result()
    except BrokenProcessPool:
        raise SpecError(
            "--workers: expected workers that live, found that one was ended (by lack of memory?); "
            "the same command goes on from what is kept"
        ) from None
    finally:
        for _, future in waiting:
            future.cancel()
