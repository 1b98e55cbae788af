"""A document as Markdown: the same content, with a chart's numbers in its place."""

from __future__ import annotations

from collections.abc import Iterator

from roofline.document.blocks import Block, Bullets, Chart, Command, Document, Section, Table, Text
from roofline.document.titles import numbers, titles
from roofline.tables import markdown_text, printable, render


def markdown(document: Document) -> str:
    """A document as Markdown (CommonMark with tables). What a name holds is shown as it is written."""
    parts = [f"# {_line(document.title)}"]
    if document.subtitle:
        parts.append(_line(document.subtitle))
    for block in document.blocks:
        parts += _block(block, 2)
    if document.footer:
        parts += ["---", *map(_line, document.footer)]
    return "\n\n".join(parts) + "\n"


def _block(block: Block, level: int) -> Iterator[str]:
    """The paragraphs of one block; level: of a heading at this depth."""
    match block:
        case Text():
            yield f"**{markdown_text(block.text).strip()}**" if block.strong else _line(block.text)
        case Bullets():
            yield "\n".join(f"- {_line(item)}" for item in block.items)
        case Command():
            yield _fenced(block.text)
        case Table():
            yield from _table(block)
        case Chart():
            title, below = titles(block)
            yield f"**{markdown_text(title).strip()}**" if title else "**Chart**"
            yield from map(_line, below)
            yield from _table(numbers(block))
        case Section():
            yield f"{'#' * min(level, 6)} {_line(block.heading)}"
            for inner in block.blocks:
                yield from _block(inner, level + 1)


def _table(table: Table) -> Iterator[str]:
    if table.caption:
        yield _line(table.caption)
    yield render(table.rows, table.columns, "md").rstrip("\n")


def _line(text: str) -> str:
    """A paragraph on one line that begins no list, heading, quotation, rule or definition."""
    safe = markdown_text(text).strip()
    number = safe[: len(safe) - len(safe.lstrip("0123456789"))]
    if number and safe[len(number) :][:1] in (".", ")"):
        return f"{number}\\{safe[len(number) :]}"
    return f"\\{safe}" if safe[:1] in tuple("#>-+=~[") and safe else safe


def _fenced(command: str) -> str:
    """A command as a block of code, fenced by more backticks than it holds."""
    fence = "```"
    while fence in command:
        fence += "`"
    return f"{fence}sh\n{printable(command)}\n{fence}"
