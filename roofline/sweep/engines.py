"""Who works the partitions out: this process, processes of this machine, or an existing Dask cluster."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Literal

from roofline.spec import SpecError
from roofline.sweep.request import Request
from roofline.units import short

Engine = Literal["local", "dask"]
#: Below so many points the start of processes costs more than they save.
FEW_POINTS = 1_000_000
_RARELY = 100_000, 50, 100
KEPT_BYTES = 2**26  # of freed memory that a worker keeps
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
ANSWER_SECONDS = 10.0  # that a scheduler has to answer


class Here(Executor):
    """Everything at once, in this process."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """The result of a call, which is made when it is asked for the first time."""
        return _Later(fn, args, kwargs)


class _Later(Future[Any]):
    """A call that is made when its result is wanted, so that one at a time is held."""

    def __init__(self, fn: Any, args: Any, kwargs: Any) -> None:
        super().__init__()
        self._call = fn, args, kwargs

    def result(self, timeout: float | None = None) -> Any:
        """The call's result."""
        fn, args, kwargs = self._call
        return fn(*args, **kwargs)


@contextmanager
def executor(
    engine: Engine, scheduler: str | None, workers: int | None, request: Request
) -> Iterator[tuple[Executor, int]]:
    """(who to submit calls to, how many may be in flight)."""
    if engine == "dask":
        with _dask(scheduler, request) as found:
            yield found
        return
    if scheduler is not None:
        raise SpecError("--scheduler: expected it with --engine dask only")
    count = workers or os.cpu_count() or 1
    if count == 1 or (workers is None and request.points < FEW_POINTS):
        yield Here(), 1
        return
    from multiprocessing import get_context

    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_begin)
    try:
        with _undisturbed():
            pool.submit(int)  # starts the processes
        yield pool, count + 1
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Requests to end wait until it is over: a process that is half started would tell of it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def rare_collections() -> Iterator[None]:
    """Python looks for garbage cycles rarely: a catalog is many objects to look at, and sweeps make no cycles."""
    before = gc.get_threshold()
    gc.set_threshold(*_RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _begin() -> None:
    """Ctrl-C reaches every process of a terminal; the first one ends the others, which may be killed."""
    gc.set_threshold(*_RARELY)
    _keep_pages()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))


def _keep_pages() -> None:
    """A worker keeps the pages of arrays it has done with: glibc gives them back and asks anew for every array.

    The system's share of a sweep's time falls by more than half. Where there is no mallopt, nothing changes.
    """
    import ctypes

    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
            mallopt(parameter, KEPT_BYTES)


@contextmanager
def _dask(scheduler: str | None, request: Request) -> Iterator[tuple[Executor, int]]:
    """A Dask cluster whose workers have the same catalog and version."""
    if scheduler is None:
        raise SpecError(
            "--scheduler: expected the address of a Dask scheduler, such as tcp://10.0.0.1:8786, found none"
        )
    try:
        from distributed import Client
    except ImportError:
        raise SpecError("--engine: expected the extra 'dask' (pip install 'roofline[dask]'), found none") from None
    try:
        client = Client(scheduler, timeout=ANSWER_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:  # a timeout is an OSError
        raise SpecError(f"--scheduler: expected a Dask scheduler at {short(scheduler)}, found none: {error}") from None
    with client:
        digests = client.run(request.digest)
        if not digests:
            raise SpecError(f"--scheduler: expected workers at {short(scheduler)}, found none")
        wrong = sorted(worker for worker, digest in digests.items() if digest != request.digest())
        if wrong:
            raise SpecError(
                f"--scheduler: expected workers with the same roofline, catalog and constants as here, "
                f"found others at {', '.join(wrong[:3])}"
            )
        threads = sum(client.nthreads().values())
        yield client.get_executor(pure=False), 2 * threads + 1
