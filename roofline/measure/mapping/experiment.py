"""Run the ways of mapping a file, each in a process of its own, and set their counts beside what paging expects."""

from __future__ import annotations

import json
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from roofline.measure.mapping import access
from roofline.measure.mapping.walk import Run, pages_of, runs_of_token, total
from roofline.paging import FAULT_AROUND, Faults, FileLayout, Touched, faults, layout_of_file, touched
from roofline.readers import model_of, read_gguf
from roofline.spec import SpecError
from roofline.units import parse, short

WAYS = ("populated", "lazy", "random")
RANDOM_MOST = int(parse("32 MiB", "B"))  # walked without read-ahead: a fault for every page takes its time
EVICTED = 0.01  # share of the file that may stay and still count as evicted
TIMEOUT = 3600.0  # seconds for one way; a file of 400 GB from an old disk takes as long


@dataclass(frozen=True, slots=True)
class Step:
    """What was counted in one step of a way.

    seconds [s]; touched: bytes added up [B]; minor, major: faults [1]; read: fetched from the disk [B]. At its end:
    mapped: of the file in the process's page table, cached: of it in the page cache, own: anonymous memory [B]. None
    where the system does not tell.
    """

    name: str
    seconds: float
    touched: int
    minor: int
    major: int
    read: int | None
    mapped: int | None
    cached: int | None
    own: int | None

    @property
    def disk_rate(self) -> float | None:
        """What came from the disk by the time of the step [B/s]; None where nothing did."""
        return self.read / self.seconds if self.read and self.seconds > 0 else None

    @property
    def walk_rate(self) -> float | None:
        """What was touched by the time [B/s]; None where nothing was."""
        return self.touched / self.seconds if self.touched and self.seconds > 0 else None


@dataclass(frozen=True, slots=True)
class Way:
    """The steps of one way of mapping: populated, lazy or random. runs: the bytes that were walked."""

    name: str
    runs: tuple[Run, ...]
    steps: tuple[Step, ...]

    def step(self, name: str) -> Step:
        """The step of a name."""
        return next(step for step in self.steps if step.name == name)

    @property
    def first_token(self) -> Step:
        """Both halves of the first token together, as counted at its end."""
        half, rest = self.step("half a token"), self.step("one token")
        read = None if half.read is None or rest.read is None else half.read + rest.read
        return Step(
            "one token", half.seconds + rest.seconds, half.touched + rest.touched, half.minor + rest.minor,
            half.major + rest.major, read, rest.mapped, rest.cached, rest.own,
        )  # fmt: skip


@dataclass(frozen=True)
class Mapped:
    """The experiment on a file. page: of this machine [B]; system: the kind of its file system ('ext4')."""

    path: Path
    name: str
    layout: FileLayout
    page: int
    system: str
    ways: tuple[Way, ...]
    is_mixture: bool

    def way(self, name: str) -> Way:
        """The way of a name."""
        return next(way for way in self.ways if way.name == name)

    @property
    def file_pages(self) -> int:
        """Pages of the file [1]."""
        return -(-self.layout.size // self.page)

    @cached_property
    def touched(self) -> Touched:
        """The pages that tokens are expected to touch, whichever experts are picked."""
        return touched(self.layout, self.page)

    @property
    def token_pages(self) -> int:
        """Pages of the bytes that were walked as a token [1]."""
        return self.pages_walked(self.way("lazy"))

    @property
    def most_token_pages(self) -> int:
        """Pages that its faults may map along: neighbours within the 64 KiB of fault-around on either side [1]."""
        around, size = int(FAULT_AROUND) - self.page, self.layout.size
        wider = [(max(begin - around, 0), min(end + around, size)) for begin, end in self.way("lazy").runs]
        return pages_of(wider, self.page)

    @property
    def token_faults(self) -> Faults:
        """Faults expected of a lazily mapped token."""
        return faults(float(self.token_pages), self.page, is_cached=self.was_evicted is False)

    @property
    def was_evicted(self) -> bool | None:
        """Whether the file left the page cache before the lazy walk; None where that is not known."""
        left = self.way("lazy").step("evicted").cached
        return None if left is None else left <= EVICTED * self.layout.size

    @property
    def lacks_memory(self) -> bool:
        """Whether pages were given up before a token had been walked to its end: fewer are mapped than were touched."""
        mapped = self.way("lazy").first_token.mapped
        return mapped is not None and mapped < self.token_pages * self.page

    @property
    def disk_rate(self) -> float | None:
        """Rate at which the populated mapping read the file [B/s]; None where it was in memory."""
        return self.way("populated").step("mapped").disk_rate

    @property
    def warm_rate(self) -> float | None:
        """Rate at which a token's bytes are added up from memory [B/s]."""
        return self.way("lazy").step("a second token").walk_rate

    def cold_seconds(self) -> tuple[float, float] | None:
        """(least, most) time expected of the first token of a lazy mapping [s]: the longer of disk and memory, or both.

        The disk's rate is that of the populated mapping, the memory's that of the second token. least: for what the
        token touches; most: for all that came from the disk, read-ahead included.
        """
        fetched, token = self.way("lazy").first_token.read, float(total(self.way("lazy").runs))
        if self.disk_rate is None or self.warm_rate is None or not fetched:
            return None
        walked = token / self.warm_rate
        return max(token / self.disk_rate, walked), max(float(fetched), token) / self.disk_rate + walked

    def percent(self, size: float) -> float:
        """Bytes as a share of the file [%]."""
        return 100.0 * size / self.layout.size

    def pages_walked(self, way: Way) -> int:
        """Pages that a way's first token lies on [1]."""
        return pages_of(way.runs, self.page)

    def pages(self, size: int | None) -> float | None:
        """Bytes as pages [1]."""
        return None if size is None else size / self.page


def measure(path: Path, seed: int = 0, progress: Callable[[float, str], None] = lambda _share, _what: None) -> Mapped:
    """Map `path` in every way, walk a token's tensors, and count. seed: of the token and the experts.

    SpecError, in one line, for a file that is none, is incomplete, or that cannot be looked at.
    """
    access.check_file(path)
    file = read_gguf(path)
    if file.weights != "complete":
        raise SpecError(
            f"--measure: expected a complete GGUF file, found {str(path)!r} with its weights {file.weights}"
        )
    model = model_of(file)
    layout = layout_of_file(model, file)
    runs, may_ask = runs_of_token(layout, seed), access.may_ask(path)
    ways = []
    for number, name in enumerate(WAYS):
        progress(number / len(WAYS), f"{name} mapping")
        ways.append(_run(path, layout.size, name, shortened(runs) if name == "random" else runs, may_ask))
    progress(1.0, "done")
    return Mapped(path, file.name, layout, mmap.PAGESIZE, access.file_system(path), tuple(ways), model.expert_count > 0)


def shortened(runs: Sequence[Run], most: int = RANDOM_MOST) -> list[Run]:
    """The first runs, of `most` bytes together at most."""
    found, left = [], most
    for begin, end in runs:
        if left <= 0:
            break
        found.append((begin, min(end, begin + left)))
        left -= end - begin
    return found


def _run(path: Path, size: int, way: str, runs: Sequence[Run], may_ask: bool) -> Way:
    """One way in a fresh process, whose page table and counts begin empty.

    size: of the file when its header was read [B]. SpecError where it is another afterwards: a page that is mapped and
    gone ends the process with SIGBUS.
    """
    request = json.dumps({"path": str(path.resolve()), "way": way, "runs": runs, "may_ask": may_ask})
    arguments = [sys.executable, "-m", "roofline.measure.mapping.child"]
    try:
        done = subprocess.run(
            arguments, input=request, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=_environment()
        )
    except OSError as error:
        raise SpecError(f"--measure: expected {sys.executable} to start, found: {error.strerror or error}") from None
    except subprocess.TimeoutExpired:
        raise SpecError(f"--measure: expected an end within {TIMEOUT:.0f} s, found the {way} mapping at work") from None
    access.check_file(path)
    if path.stat().st_size != size:
        raise SpecError(f"--measure: expected a file that stays as it is, found {str(path)!r} with another size now")
    if done.returncode != 0:
        raise SpecError(f"--measure: expected the {way} mapping to be counted, found {_end_of(done)}")
    return Way(way, tuple(runs), tuple(Step(**step) for step in _steps(done.stdout)))


def _end_of(done: subprocess.CompletedProcess[str]) -> str:
    """How a process that failed ended: by a signal, or with what it said last."""
    if done.returncode < 0:
        return f"that it was ended by signal {-done.returncode} ({signal.strsignal(-done.returncode)})"
    said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    return short(said[0], 200)


def _environment() -> dict[str, str]:
    """The environment with this package on the path, wherever it was imported from."""
    package = str(Path(__file__).resolve().parents[3])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _steps(text: str) -> list[dict[str, Any]]:
    found: dict[str, Any] = json.loads(text)
    steps: list[dict[str, Any]] = found["steps"]
    return steps
