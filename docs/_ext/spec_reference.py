"""The directive ``{spec}``: the keys of a TOML file, read from the pydantic class that validates it.

The argument names the class; classes that it holds follow, each once, with the path at which their table stands::

    ```{spec} roofline.hardware.Hardware
    ```
"""

import inspect
import re
import types
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Literal, Union, get_args, get_origin

from docutils import nodes
from docutils.statemachine import StringList
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from roofline.runtime import Constant
from roofline.spec import Figure, Source, Spec

PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false"}
SHARED = (Figure, Source, Constant)  # explained once, on the page


class SpecReference(SphinxDirective):
    """A table of keys for a class and for every class inside it."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The parsed tables."""
        module, name = self.arguments[0].rsplit(".", 1)
        root = getattr(import_module(module), name)
        self.env.note_dependency(str(inspect.getsourcefile(root)))
        lines = [line for kind, path in tables(root) for line in (*described(kind, path), "")]
        container = nodes.container(classes=["spec-reference"])
        self.state.nested_parse(StringList(lines, source=self.arguments[0]), 0, container)
        return [container]


def tables(root: type[Spec]) -> Iterator[tuple[type[Spec], str]]:
    """`root` and the classes it holds, breadth first, with the TOML path of each class's first use."""
    waiting: list[tuple[type[Spec], str]] = [(root, "")]
    seen: set[type[Spec]] = {root}
    while waiting:
        kind, path = waiting.pop(0)
        yield kind, path
        for key, field in kind.model_fields.items():
            for inner, suffix in inside(field.annotation):
                if inner not in seen and not issubclass(inner, SHARED):
                    seen.add(inner)
                    waiting.append((inner, f"{path}.{key}{suffix}".lstrip(".")))


def inside(annotation: Any, suffix: str = "") -> Iterator[tuple[type[Spec], str]]:
    """The Spec classes in a type, with what follows the key: '.NAME' in a table, '[]' in an array of tables."""
    origin = get_origin(annotation)
    if origin is dict:
        suffix += ".NAME"
    elif origin is tuple:
        suffix += "[]"
    elif isinstance(annotation, type) and issubclass(annotation, Spec):
        yield annotation, suffix
    for argument in get_args(annotation):
        yield from inside(argument, suffix)


def described(kind: type[Spec], path: str) -> Iterator[str]:
    """Markdown lines: a heading, the class's docstring, the keys."""
    yield from ("```{rubric} " + (f"[{path}]" if path else "Top level"), "```", "")
    yield from (escaped(line) for line in (inspect.getdoc(kind) or "").splitlines())
    yield from ("", "| key | value | default |", "|:--|:--|:--|")
    for key, field in kind.model_fields.items():
        yield f"| `{key}` | {words(field.annotation)} | {default(field)} |"


def words(annotation: Any) -> str:
    """A type as the writer of a file sees it."""
    origin, arguments = get_origin(annotation), [a for a in get_args(annotation) if a is not type(None)]
    if origin is Literal:
        return "one of " + ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(words(argument) for argument in arguments)
    if origin is tuple:
        return f"list: {words(arguments[0])}"
    if origin is dict:
        return f"table by name: {words(arguments[1])}"
    if origin is not None:  # Annotated and aliases
        return words(arguments[0])
    if issubclass(annotation, Figure):
        return f"figure [{annotation.unit}]" if annotation.unit else "figure, a plain number"
    if issubclass(annotation, Constant):
        return "constant"
    return "table" if issubclass(annotation, Spec) else PLAIN[annotation]


def default(field: FieldInfo) -> str:
    """What holds when the key is missing."""
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Constant):
        return f"{value.value:g}" + (f" ({value.note})" if value.note else "")
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None or value in ("", (), {}) else f"`{value}`"


def escaped(text: str) -> str:
    """Text of a docstring with Markdown's signs made harmless, except in code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*_<\[\]|])", r"\\\1", part) for part in parts)


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the directive."""
    app.add_directive("spec", SpecReference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
