"""Directives for measured against predicted speeds; accuracy_tables has the tables.

::

    ```{observations} articles.csv
    :ids: jt-
    ```

    ```{speedups} articles.csv
    :of: llamafile 0.7
    :over: llamafile 0.6.2
    ```

    ```{goals}
    CUDA; cuda PHASE; 6; 14
    ```
"""

import re
from collections.abc import Iterable
from typing import ClassVar

from accuracy_tables import goals_table, rows_table, speedups_table
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from roofline import fitted
from roofline.bench.shipped import DIRECTORY
from roofline.calibrate.report import SCORES
from roofline.spec import SpecError


class Lines(SphinxDirective):
    """A directive whose content is Markdown that a function computes."""

    def parsed(self, lines: Iterable[str]) -> list[nodes.Node]:
        """The nodes of the lines; a problem stops the build with its message."""
        self.env.note_dependency(str(SCORES))
        self.env.note_dependency(str(SCORES.with_name(fitted.FILE)))
        container = nodes.container(classes=["accuracy"])
        try:
            text = StringList(list(lines), source=self.name)
        except SpecError as error:
            raise self.error(str(error)) from error
        self.state.nested_parse(text, 0, container)
        return [container]


class Observations(Lines):
    """Every row of a shipped file, measured and predicted."""

    required_arguments = 1
    option_spec: ClassVar = {"ids": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """The tables by device."""
        self.env.note_dependency(str(DIRECTORY / self.arguments[0]))
        return self.parsed(rows_table(self.arguments[0], self.options.get("ids", "")))


class Speedups(Lines):
    """One version against another."""

    required_arguments = 1
    option_spec: ClassVar = dict.fromkeys(("of", "over", "ids", "phase"), directives.unchanged)

    def run(self) -> list[nodes.Node]:
        """The table."""
        self.env.note_dependency(str(DIRECTORY / self.arguments[0]))
        return self.parsed(speedups_table(self.arguments[0], **self.options))


class Goals(Lines):
    """Goals against scores."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The table."""
        return self.parsed(goals_table(line for line in self.content if re.search(";", line)))


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the directives."""
    app.add_directive("observations", Observations)
    app.add_directive("speedups", Speedups)
    app.add_directive("goals", Goals)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
