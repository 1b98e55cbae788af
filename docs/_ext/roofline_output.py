"""The directive ``{roofline}``: what a command prints as Markdown, made part of the page when the site is built.

The argument is the command after ``roofline``; ``--format md`` is added::

    ```{roofline} list hardware
    ```
"""

import subprocess
import sys
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Roofline(SphinxDirective):
    """Runs the installed command; a failure stops the build with its message."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """The parsed output."""
        program = Path(sys.executable).parent / "roofline"
        command = [str(program), *self.arguments[0].split(), "--format", "md"]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False)
        if done.returncode:
            raise self.error(f"roofline {self.arguments[0]}: exit {done.returncode}: {done.stderr.strip()}")
        container = nodes.container(classes=["roofline-output"])
        self.state.nested_parse(StringList(done.stdout.splitlines(), source=self.arguments[0]), 0, container)
        return [container]


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the directive."""
    app.add_directive("roofline", Roofline)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
