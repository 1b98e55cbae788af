"""Where large temporary files go: a folder on a disk with room, not in memory."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from roofline.spec import SpecError
from roofline.units import format_quantity

_PREFIX = "roofline-"
_IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs"}


def scratch_directory(size: float) -> Path:
    """A folder that takes `size` bytes: TMPDIR, /var/tmp, the system's own, the user's cache or this one.

    Folders in memory are left out: a model there takes the memory that it is to run in. SpecError where none has room.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")  # noqa: PTH111, PTH118
    named = [os.environ.get("TMPDIR"), "/var/tmp", tempfile.gettempdir(), home, "."]
    seen = []
    for name in dict.fromkeys(filter(None, named)):
        path = Path(name)
        if not path.is_dir() or not os.access(path, os.W_OK) or _is_in_memory(path):
            continue
        free = shutil.disk_usage(path).free
        if free > size:
            return path
        seen.append(f"{format_quantity(free, 'B')} in {path}")
    found = ", ".join(seen) or "no folder that can be written"
    raise SpecError(f"disk: expected {format_quantity(size, 'B')} of room for the model, found {found}")


def temporary(folder: Path, name: str) -> Path:
    """A file name that belongs to this process; those of processes that were killed are removed first."""
    import psutil

    for left in folder.glob(f"{_PREFIX}*-*.gguf"):
        owner = re.match(rf"{_PREFIX}(\d+)-", left.name)
        if owner and not psutil.pid_exists(int(owner[1])):
            left.unlink(missing_ok=True)
    return folder / f"{_PREFIX}{os.getpid()}-{name}"


def _is_in_memory(path: Path) -> bool:
    """Whether a folder lies in a file system that is kept in memory."""
    import psutil

    where = path.resolve()
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    for folder in (where, *where.parents):
        if folder in mounts:
            return mounts[folder] in _IN_MEMORY
    return False
