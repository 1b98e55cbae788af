"""A progress bar on stderr, shown to people and not to files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def points_bar(total: int) -> Iterator[Callable[[int], None]]:
    """A function of the points done that draws them with rate and remaining time, while the block runs."""
    if not sys.stderr.isatty():
        yield lambda _points: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    from roofline.units import format_quantity

    class Rate(ProgressColumn):
        """Points a second."""

        def render(self, task: Task) -> Text:
            speed = task.speed or task.finished_speed
            return Text("" if speed is None else f"{format_quantity(speed, '')} points/s")

    columns = (
        TextColumn("{task.percentage:>3.0f} %"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} points"),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        resumed = False

        def show(points: int) -> None:
            nonlocal resumed
            if not resumed and points:  # what was there before says nothing of the rate
                bar.reset(task, total=total, completed=points)
            resumed = True
            bar.update(task, completed=points)

        yield show


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[float, str], None]]:
    """A function of (share done, 0 to 1; what is being done) that draws it, while the block runs."""
    if not sys.stderr.isatty():
        yield lambda _share, _what: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=1.0)

        def show(share: float, words: str) -> None:
            bar.update(task, completed=share, description=words or what)

        yield show
