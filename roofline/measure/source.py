"""Where facts about a machine are read: this machine itself, or files captured from another one.

Everything that detects a machine asks a Source, so that a machine is tested from a folder of its files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Protocol

LARGEST = 1 << 23  # bytes read of one file or command: /proc/cpuinfo of 512 threads is about 1 MB
TIMEOUT = 10.0  # seconds for one command
# dmidecode, sysctl and system_profiler are outside the usual user's path.
_SYSTEM_FOLDERS = ("/usr/sbin", "/sbin", "/usr/bin", "/bin")


class Source(Protocol):
    """A machine as files and commands. A text that cannot be had is None; nothing raises."""

    unreadable: list[str]

    @property
    def system(self) -> str:
        """'linux', 'darwin', 'windows' or another platform's word."""

    def text(self, path: str) -> str | None:
        """The content of a file such as '/proc/cpuinfo'."""

    def command(self, *words: str) -> str | None:
        """The standard output of a program such as `lscpu`, None where it is missing or fails."""

    def names(self, folder: str) -> list[str]:
        """The sorted names in a folder; [] where there is none."""


def _decoded(data: bytes) -> str:
    return data[:LARGEST].decode("utf-8", errors="replace")


class Live:
    """This machine. unreadable: 'path: reason' of what exists and may not be read."""

    def __init__(self) -> None:
        self.unreadable: list[str] = []

    @property
    def system(self) -> str:
        """What the platform calls itself: 'linux', 'darwin' or 'windows'."""
        return {"win32": "windows"}.get(sys.platform, sys.platform)

    def text(self, path: str) -> str | None:
        """The beginning of a file, None where it cannot be read."""
        try:
            with Path(path).open("rb") as file:
                return _decoded(file.read(LARGEST))
        except PermissionError:
            self._note(path)
        except (OSError, ValueError):
            pass
        return None

    def command(self, *words: str) -> str | None:
        """What a program prints, None where it is missing, fails or takes too long."""
        path = os.pathsep.join([os.environ.get("PATH", ""), *_SYSTEM_FOLDERS])
        program = shutil.which(words[0], path=path)
        if program is None:
            return None
        try:
            done = subprocess.run(
                [program, *words[1:]],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT,
                check=False,
                env={**os.environ, "LC_ALL": "C"},  # lscpu and dmidecode translate their labels
            )
        except PermissionError:
            self._note(" ".join(words))
            return None
        except (OSError, ValueError, subprocess.SubprocessError):
            return None
        if b"permission denied" in done.stderr.lower():
            self._note(" ".join(words))
        return _decoded(done.stdout) if done.returncode == 0 and done.stdout else None

    def names(self, folder: str) -> list[str]:
        """The names in a folder, sorted."""
        try:
            return sorted(path.name for path in Path(folder).iterdir())
        except PermissionError:
            self._note(folder)
        except (OSError, ValueError):
            pass
        return []

    def _note(self, what: str) -> None:
        line = f"{what}: no permission"
        if line not in self.unreadable:
            self.unreadable.append(line)


class Captured:
    """The machine whose files lie in a folder laid out like a root; outputs: commands/<words joined by _>.txt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unreadable: list[str] = []

    @property
    def system(self) -> str:
        """What the platform calls itself: 'linux', 'darwin' or 'windows'."""
        return "darwin" if (self.folder / "commands" / "sysctl_-a.txt").is_file() else "linux"

    def text(self, path: str) -> str | None:
        """The beginning of a file, None where it cannot be read."""
        return self._read(self.folder / path.lstrip("/"), path)

    def command(self, *words: str) -> str | None:
        """What a program prints, None where it is missing, fails or takes too long."""
        return self._read(self.folder / "commands" / f"{'_'.join(words)}.txt", " ".join(words))

    def names(self, folder: str) -> list[str]:
        """The names in a folder, sorted."""
        try:
            return sorted(path.name for path in (self.folder / folder.lstrip("/")).iterdir())
        except (OSError, ValueError):
            return []

    def _read(self, path: Path, shown: str) -> str | None:
        try:
            return _decoded(path.read_bytes())
        except PermissionError:
            self.unreadable.append(f"{shown}: no permission")
        except (OSError, ValueError):
            pass
        return None
