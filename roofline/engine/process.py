"""Run a program to its end without a shell: with a time limit, bounded output, and nothing of it left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from roofline.bench.text import clean, decode
from roofline.spec import SpecError

MOST_OUTPUT = 64 << 20  # bytes; a sweep prints kilobytes, a log of tensors a megabyte
TAIL = 2_000  # characters of stderr that an error quotes at most
GRACE = 5.0  # seconds between asking a program to end and ending it
POLL = 0.05  # seconds between looks at a running program

#: Return codes of a program that ran into a fault: its signal, negative or as a shell reports it.
_FAULTS = {"SIGSEGV": 11, "SIGILL": 4, "SIGBUS": 7, "SIGABRT": 6}


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended by itself. seconds: how long it ran [s]."""

    arguments: tuple[str, ...]
    code: int
    out: str
    err: str
    seconds: float

    @property
    def fault(self) -> str:
        """The signal that ended it ('SIGSEGV'), "" for an exit of its own."""
        return next((name for name, number in _FAULTS.items() if self.code in (-number, 128 + number)), "")

    @property
    def last_words(self) -> str:
        """The last lines of its stderr in one line."""
        lines = [clean(line, 300) for line in self.err[-TAIL:].splitlines() if line.strip()]
        return " | ".join(lines[-3:]) or "nothing on stderr"


def run(arguments: Sequence[str], timeout_s: float, environment: dict[str, str] | None = None) -> Finished:
    """Run a program and wait for it. SpecError when it cannot be started, hangs, or floods its output.

    Whatever ends the wait, a key press too, the program and its children are ended with it.
    """
    name = Path(arguments[0]).name
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.monotonic()
        try:
            child = subprocess.Popen(
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **environment} if environment else None,
                start_new_session=True,  # a group of its own: it ends with all that it started
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SpecError(f"{clean(arguments[0], 300)}: expected a program that runs, found: {reason}") from None
        try:
            _wait(child, name, (out, err), start + timeout_s, timeout_s)
        finally:
            end(child)
        return Finished(tuple(arguments), child.returncode, _text(out), _text(err), time.monotonic() - start)


def _wait(
    child: subprocess.Popen[bytes], name: str, streams: tuple[IO[bytes], IO[bytes]], deadline: float, timeout_s: float
) -> None:
    """Until the program ends; SpecError when it takes too long or writes too much."""
    while True:
        try:
            child.wait(POLL)
            return
        except subprocess.TimeoutExpired:
            pass
        if any(os.fstat(stream.fileno()).st_size > MOST_OUTPUT for stream in streams):
            raise SpecError(f"{name}: expected at most {MOST_OUTPUT:,} bytes of output, found more; it was ended")
        if time.monotonic() > deadline:
            words = Finished((), 0, "", _text(streams[1]), 0.0).last_words
            raise SpecError(
                f"{name}: expected an end within {timeout_s:g} s, found it still running; it was ended "
                f"(--timeout allows more). Its last words: {words}"
            )


def end(child: subprocess.Popen[bytes]) -> None:
    """End a program and all that it started, and wait until it is gone."""
    if child.poll() is not None and os.name != "posix":
        return
    _signal(child, "SIGTERM")
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        _signal(child, "SIGKILL")
        child.wait()
    _signal(child, "SIGKILL")  # what it started and did not end


def _signal(child: subprocess.Popen[bytes], name: str) -> None:
    try:
        if os.name == "posix":
            os.killpg(child.pid, getattr(signal, name))
        else:
            child.kill()
    except OSError:  # nobody is left
        pass


def _text(stream: IO[bytes]) -> str:
    """The beginning of what was written, and of a long text its end."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(size - MOST_OUTPUT, 0))
    return decode(stream.read(MOST_OUTPUT))


@contextmanager
def interruptible() -> Iterator[None]:
    """Within it, a request to end (SIGTERM, SIGHUP) unwinds like Ctrl-C, so that nothing is left behind.

    A request that was lost on its way, in a destructor say, where Python drops exceptions, is heard at the end.
    """
    heard: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        heard.append(number)
        raise _ending(number)

    wanted = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    try:
        before = [(number, signal.signal(number, stop)) for number in wanted if _is_heard(number)]
    except ValueError:  # not the main thread: its owner handles signals
        before = []
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
    if heard:
        raise _ending(heard[0])


def _is_heard(number: int) -> bool:
    """Whether a signal is not to be ignored, as scripts have it for what they run in the background."""
    return signal.getsignal(number) is not signal.SIG_IGN


def _ending(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
