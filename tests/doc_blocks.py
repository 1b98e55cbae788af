"""The runnable blocks of README.md and docs/: found, run, and rendered with their real output.

Two kinds of fenced block are promises about what the tool prints:

- ``console``: lines that start with ``$ roofline`` are run by bash in an empty folder, and
  what follows is what the terminal shows.
- ``pycon``: lines that start with ``>>>`` are run by Python; the blocks of a page share their names.

`rendered` gives a page with the promises kept. The test compares, `python -m tests.refresh_docs` rewrites.
"""

import code
import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^(?P<fence>`{3,})(?P<language>console|pycon)[ \t]*\n(?P<body>.*?)^(?P=fence)[ \t]*$", re.M | re.S)
WIDTH = 100


@dataclass(frozen=True)
class Page:
    """One Markdown file; ``name`` is its path from the root."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")


def pages() -> list[Page]:
    """README.md and every page of docs/ that makes a promise."""
    written = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [Page(path) for path in written if "_build" not in path.parts and FENCE.search(Page(path).text)]


def rendered(page: Page) -> str:
    """The text of ``page`` with every block's output as it really is."""
    session = code.InteractiveConsole({"__name__": "__main__"})

    def block(match: re.Match[str]) -> str:
        run = console if match["language"] == "console" else lambda body: pycon(body, session)
        return f"{match['fence']}{match['language']}\n{run(match['body'])}{match['fence']}"

    return FENCE.sub(block, page.text)


def console(body: str) -> str:
    """A ``console`` block's commands, each followed by what it prints (both streams, as in a terminal)."""
    if not body.startswith("$ roofline"):
        return body
    return "".join(f"{shown}\n{output(command)}" for shown, command in commands(body))


def commands(body: str) -> Iterator[tuple[str, str]]:
    r"""(as shown, as run) of each ``$ ...`` of a block; a trailing backslash continues a command on the next line."""
    lines = iter(body.splitlines())
    for line in lines:
        if line.startswith("$ "):
            shown = [line]
            while shown[-1].endswith("\\"):
                shown.append(next(lines))
            yield "\n".join(shown), "\n".join(shown).removeprefix("$ ")


def output(command: str) -> str:
    """What ``command`` prints on a terminal without colour, with the installed ``roofline`` first on the path."""
    scripts = Path(sys.executable).parent
    if not list(scripts.glob("roofline*")):
        raise FileNotFoundError(f"{scripts}: expected the command roofline, found none (pip install --editable .)")
    with tempfile.TemporaryDirectory() as folder:
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("ROOFLINE", "XDG_"))}
        environment = keep | {
            "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}",
            "COLUMNS": str(WIDTH),
            "NO_COLOR": "1",
            "TERM": "dumb",
            "HOME": folder,
            "PYTHONIOENCODING": "utf-8",
        }
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
    if "Traceback (most recent call last)" in done.stdout or done.returncode not in (0, 1, 2):
        raise RuntimeError(f"{command}: exit {done.returncode}\n{done.stdout}")
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def pycon(body: str, session: code.InteractiveConsole) -> str:
    """A ``pycon`` block's statements, each followed by what the interpreter prints.

    A compound statement needs no '...' to end it: ruff's formatter takes such lines away.
    """
    lines: list[str] = []
    printed = io.StringIO()
    typed = [line for line in body.splitlines() if line.startswith((">>>", "..."))]
    for line, following in zip(typed, [*typed[1:], ">>>"], strict=True):
        lines.append(line)
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            if session.push(line[4:]) and not following.startswith("..."):
                session.push("")
        lines += [text.rstrip() for text in printed.getvalue().splitlines()]
        printed.seek(printed.truncate(0))
    if session.buffer:
        raise SyntaxError(f"expected the block to end its last statement, found: {session.buffer[-1]}")
    if any(line.startswith("Traceback (most recent call last)") for line in lines):
        raise RuntimeError("\n".join(lines))
    return "".join(f"{line}\n" for line in lines)
