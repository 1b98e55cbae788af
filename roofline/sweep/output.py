"""Where a sweep's points are kept until all are there: a folder beside the output, whose whole is moved into place.

`sweep.parquet.parts` holds what was finished of `sweep.parquet`, in files that any reader opens, and a journal that
says how far they go. Partitions are appended whole and in order, so that a sweep that was stopped or killed goes on
after the last one kept: nothing is lost or doubled.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from roofline.files import write_text
from roofline.spec import SpecError
from roofline.sweep.columns import NUMBERS
from roofline.sweep.encoding import Format, arrow, header, schema, table
from roofline.sweep.evaluate import Skip
from roofline.sweep.request import Request
from roofline.units import format_quantity

SCHEMA = "roofline.sweep/1"
#: The most that a killed sweep does again: seconds between the journal's entries (text), and between Parquet files.
JOURNAL_SECONDS, FILE_SECONDS = 1.0, 30.0
RESERVE = 2**24  # bytes of the disk left free, enough to end the files that are open
MOST_REASONS = 1000


class Output(ABC):
    """A file in the making. done: partitions kept. rows: points kept [1]. skipped: points left out, by reason.

    piece: points of a partition, which what was kept before has to agree in.
    """

    def __init__(self, path: Path, request: Request, piece: int) -> None:
        self.path, self.request = path, request
        self.folder = path.with_name(f"{path.name}.parts")
        self.done = self.rows = 0
        self.skipped: Counter[str] = Counter()
        self._digest = f"{request.digest()} {piece}"
        from filelock import FileLock

        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.folder / "lock")

    def open(self) -> None:
        """Take up what is there; SpecError where it belongs to another request or another process writes it."""
        from filelock import Timeout

        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise SpecError(f"{self.folder}: expected no other sweep at work, found one that writes here") from None
        try:
            journal = self._journal()
            self.skipped.update(journal.get("skipped", {}))
            self._open(journal)
        except BaseException:
            self._lock.release()
            raise

    def append(self, payload: bytes, rows: int, skipped: Iterable[Skip]) -> None:
        """Keep the next partition."""
        free = shutil.disk_usage(self.folder).free
        if free < 2 * len(payload) + RESERVE:
            raise self._full(f"{format_quantity(free, 'B')} free")
        try:
            self._append(payload)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
                raise self._full(error.strerror or "none") from None
            raise
        self.done += 1
        self.rows += rows
        for one in skipped:
            if len(self.skipped) < MOST_REASONS or one.reason in self.skipped:
                self.skipped[one.reason] += one.points
        self._appended()

    def _full(self, found: str) -> SpecError:
        kept = f"what was finished is kept in {self.folder.name}, and the same command goes on from there"
        return SpecError(f"{self.path}: expected room on the disk for more points, found {found}; {kept}")

    def close(self) -> None:
        """Leave what was appended so that it can be read, and resumed."""
        try:
            self._close()
        finally:
            self._lock.release()

    def finish(self) -> None:
        """Move the whole into place, and remove the folder."""
        self._close()
        self._finish()
        self._lock.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _journal(self) -> dict[str, Any]:
        file = self.folder / "journal.json"
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            known = found["digest"]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError):
            raise SpecError(f"{file}: expected a journal, found something else; remove {self.folder}") from None
        if known != self._digest:
            raise SpecError(
                f"{self.folder}: expected the same request, catalog and version as before, found others; "
                "--restart begins anew"
            )
        return dict(found)

    def _write_journal(self, **more: Any) -> None:
        entry = {"schema": SCHEMA, "digest": self._digest, "skipped": dict(self.skipped), **more}
        write_text(json.dumps(entry) + "\n", self.folder / "journal.json")

    @abstractmethod
    def _open(self, journal: dict[str, Any]) -> None: ...

    @abstractmethod
    def _append(self, payload: bytes) -> None: ...

    @abstractmethod
    def _appended(self) -> None: ...

    @abstractmethod
    def _close(self) -> None: ...

    @abstractmethod
    def _finish(self) -> None: ...


class TextOutput(Output):
    """Lines of CSV or JSON in one file, which the journal says how much of is whole."""

    def __init__(self, path: Path, request: Request, piece: int, form: Format) -> None:
        super().__init__(path, request, piece)
        self._form = form
        self._data = self.folder / f"data.{form}"

    def _open(self, journal: dict[str, Any]) -> None:
        self.done, self.rows = journal.get("done", 0), journal.get("rows", 0)
        kept = journal.get("bytes", 0)
        size = self._data.stat().st_size if self._data.exists() else 0
        if size < kept:
            raise SpecError(f"{self._data}: expected {kept} bytes, as its journal says, found {size}")
        self._file = self._data.open("r+b" if size else "w+b")
        self._file.truncate(kept)  # what a killed sweep wrote after its last entry comes again
        self._file.seek(kept)
        if not kept:
            self._file.write(header(self._form, self.request.columns))
        self._note()

    def _append(self, payload: bytes) -> None:
        before = self._file.tell()
        try:
            self._file.write(payload)
            self._file.flush()
        except OSError:
            with suppress(OSError):
                self._file.seek(before)
            self._data.open("r+b").close()
            os.truncate(self._data, before)
            raise

    def _appended(self) -> None:
        if time.monotonic() - self._noted >= JOURNAL_SECONDS:
            self._note()

    def _note(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._write_journal(done=self.done, rows=self.rows, bytes=self._file.tell())
        self._noted = time.monotonic()

    def _close(self) -> None:
        if not self._file.closed:
            self._note()
            self._file.close()

    def _finish(self) -> None:
        self._data.replace(self.path)


class ParquetOutput(Output):
    """Row groups in Parquet files of some seconds' work each, joined at the end; a file's name says its partitions."""

    def __init__(self, path: Path, request: Request, piece: int) -> None:
        super().__init__(path, request, piece)
        self._arrow = arrow()
        self._writer: Any = None
        self._first = 0
        self._since = 0.0

    @property
    def _writing(self) -> Path:
        return self.folder / "unfinished"

    def _segments(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))

    def _open(self, journal: dict[str, Any]) -> None:
        self._writing.unlink(missing_ok=True)
        for segment in self._segments():
            first, last = (int(number) for number in segment.stem.split("-")[1:])
            if not journal or first != self.done:
                raise SpecError(f"{segment}: expected the partitions from {self.done} on, found those from {first}")
            self.done = last + 1
            self.rows += self._arrow.parquet.read_metadata(segment).num_rows
        self._write_journal()

    def _append(self, payload: bytes) -> None:
        rows = table(payload, self.request.columns)
        if self._writer is None:
            self._writer = parquet_writer(self._writing, self.request.columns)
            self._first, self._since = self.done, time.monotonic()
        self._writer.write_table(rows, row_group_size=max(rows.num_rows, 1))

    def _appended(self) -> None:
        if time.monotonic() - self._since >= FILE_SECONDS:
            self._end_file()

    def _end_file(self) -> None:
        self._writer.close()
        self._writer = None
        self._write_journal()
        self._writing.replace(self.folder / f"part-{self._first:09}-{self.done - 1:09}.parquet")

    def _close(self) -> None:
        if self._writer is not None:
            self._end_file()

    def _finish(self) -> None:
        segments = self._segments()
        if len(segments) == 1:
            segments[0].replace(self.path)
            return
        with parquet_writer(self._writing, self.request.columns) as writer:
            for segment in segments:
                file = self._arrow.parquet.ParquetFile(segment)
                for group in range(file.num_row_groups):
                    rows = file.read_row_group(group).cast(schema(self.request.columns))
                    writer.write_table(rows, row_group_size=max(rows.num_rows, 1))
        self._writing.replace(self.path)


def parquet_writer(where: Any, columns: Sequence[str]) -> Any:
    """A pyarrow.parquet.ParquetWriter to a path or a file, for tables of the columns."""
    pa, form = arrow(), schema(columns)
    words = [field.name for field in form if pa.types.is_dictionary(field.type)]
    return pa.parquet.ParquetWriter(
        where,
        form,
        compression="none",  # a tenth smaller with lz4, a third slower
        use_dictionary=[*words, *NUMBERS],
        write_statistics=["hardware", "model"],  # those of a row group; the more columns, the slower
    )


def output(path: Path, form: Format, request: Request, piece: int) -> Output:
    """The output for a format."""
    makers: dict[Format, Callable[[], Output]] = {
        "parquet": lambda: ParquetOutput(path, request, piece),
        "csv": lambda: TextOutput(path, request, piece, "csv"),
        "jsonl": lambda: TextOutput(path, request, piece, "jsonl"),
    }
    return makers[form]()
