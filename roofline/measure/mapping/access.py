"""Whether a file can be looked at: what it is, on which file system, and whether its pages may be asked about.

Since Linux 5.2 mincore answers only those who own a file or may write it, and says "all of them" to anybody else
(mm/mincore.c, can_do_mincore).
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from roofline.spec import SpecError

_MOUNTS = Path("/proc/self/mountinfo")
#: File systems whose files have no pages in the page cache that mincore could tell of.
_WITHOUT_PAGES = {"proc", "sysfs", "devtmpfs", "cgroup2", "debugfs", "tracefs", "securityfs"}


def check_file(path: Path) -> None:
    """SpecError, in one line, for what cannot be mapped and looked at."""
    if not sys.platform.startswith("linux"):
        raise SpecError(f"--measure: expected Linux, whose /proc and mincore are read, found {sys.platform}")
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SpecError(f"--measure: expected a GGUF file, found {str(path)!r}: {reason}") from None
    if not stat.S_ISREG(status.st_mode):
        raise SpecError(f"--measure: expected a GGUF file, found {str(path)!r}, which is no regular file")
    kind = file_system(path)
    if kind in _WITHOUT_PAGES:
        raise SpecError(
            f"--measure: expected a file on a disk, found {str(path)!r} on {kind}, which mincore cannot see"
        )
    if status.st_size == 0:
        raise SpecError(f"--measure: expected a GGUF file, found {str(path)!r}, which is empty")
    if not os.access(path, os.R_OK):
        raise SpecError(f"--measure: expected a file that can be read, found {str(path)!r}, which you may not")


def file_system(path: Path, mounts: Path = _MOUNTS) -> str:
    """The kind of file system that a file is on ('ext4'); '' where that cannot be told."""
    try:
        where, lines = path.resolve(), mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, RuntimeError):
        return ""
    found: tuple[int, str] = (-1, "")
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if len(fields) < 5 or not kind:
            continue
        point = fields[4].encode().decode("unicode_escape", errors="replace")
        if where.is_relative_to(point) and len(point) >= found[0]:  # a later mount hides an earlier one
            found = len(point), kind[0]
    return found[1]


def may_ask(path: Path) -> bool:
    """Whether mincore answers this user about this file."""
    return os.geteuid() in (0, path.stat().st_uid) or os.access(path, os.W_OK, effective_ids=True)
