"""A document as one self-contained page: nothing is loaded, and what a name holds is shown, never run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import Literal

from roofline.document.blocks import Block, Bullets, Chart, Command, Document, Section, Table, Text
from roofline.document.titles import numbers, titles
from roofline.plot import theme as colours
from roofline.tables import printable, written

Theme = Literal["auto", "light", "dark"]

#: From this number of sections a page begins with a list of them.
_SECTIONS_TO_LIST = 4

#: A column of words no longer than this is not broken into lines [characters].
_SHORT = 24


def page(document: Document, theme: Theme = "auto") -> str:
    """A document as the text of one HTML file. theme: auto follows the reader's system; print is always light.

    Raises ValueError where a figure holds a number that JSON has no word for: infinity or not-a-number.
    """
    alone = document.blocks[0] if len(document.blocks) == 1 else None
    heading, below = document.title, tuple(document.subtitle.split("\n"))
    if isinstance(alone, Chart):  # its own title is the page's, and is said once
        heading, below = titles(alone)
    charts = list(_charts(document.blocks))
    main = [_chart(alone, captioned=False)] if isinstance(alone, Chart) else _main(document.blocks)
    scripts = [*([_plotly()] if charts else []), _resource("page.js")]
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="en" data-theme="{escape(theme)}">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<meta name="generator" content="roofline">',
        '<meta name="referrer" content="no-referrer">',
        '<link rel="icon" href="data:,">',
        f"<title>{_text(document.title)}</title>",
        f"<style>\n{_variables()}{_resource('page.css')}</style>",
        "<noscript><style>.plot { display: none }</style></noscript>",
        "</head>",
        "<body>",
        '<a class="skip" href="#content">Skip to the content</a>',
        f"<header>\n<h1>{_text(heading or document.title)}</h1>{_subtitle(below)}\n</header>",
        '<main id="content" tabindex="-1">',
        '<noscript><p class="notice">Charts need JavaScript. Their numbers are in the table below each.</p></noscript>'
        if charts
        else "",
        *main,
        "</main>",
        _footer(document.footer),
        *_payload(charts),
        *(f"<script>{script}</script>" for script in scripts),
        "</body>",
        "</html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


# -- blocks -----------------------------------------------------------------------------------------------------------


def _main(blocks: Sequence[Block]) -> Iterator[str]:
    """What stands before the first section, as a verdict does, then a list of the sections, and these."""
    sections = [block for block in blocks if isinstance(block, Section)]
    anchors = dict(zip(map(id, sections), _anchors(sections), strict=True))
    for block in blocks:
        if sections and block is sections[0] and len(sections) >= _SECTIONS_TO_LIST:
            yield _contents(sections, list(anchors.values()))
        yield _section(block, 2, anchors[id(block)]) if isinstance(block, Section) else _block(block, 2)


def _block(block: Block, level: int) -> str:
    """One block; level: of a heading at this depth."""
    match block:
        case Text():
            return f'<p class="verdict">{_text(block.text)}</p>' if block.strong else f"<p>{_text(block.text)}</p>"
        case Bullets():
            return "<ul>\n" + "\n".join(f"<li>{_text(item)}</li>" for item in block.items) + "\n</ul>"
        case Command():
            return f'<div class="command"><pre tabindex="0"><code>{_text(block.text)}</code></pre></div>'
        case Table():
            return _table(block)
        case Chart():
            return _chart(block)
        case Section():
            return _section(block, level)


def _section(section: Section, level: int, anchor: str = "") -> str:
    """anchor: the id that the list of sections links to; one inside another is not listed."""
    name = f"h{min(level, 6)}"
    heading = f"<{name}>{_text(section.heading)}</{name}>"
    inside = "\n".join(_block(block, level + 1) for block in section.blocks)
    place = f' id="{anchor}"' if anchor else ""
    if section.folded:
        return f'<details class="section"{place}>\n<summary>{heading}</summary>\n{inside}\n</details>'
    return f"<section{place}>\n{heading}\n{inside}\n</section>"


def _table(table: Table, label: str = "") -> str:
    """label: what a screen reader calls it where it has no caption of its own."""
    headings, cells, numeric = written(table.rows, table.columns)
    shorts = [all(len(row[place]) <= _SHORT for row in cells) for place in range(len(headings))]
    kinds = [
        ' class="number"' if right else ' class="short"' if short else ""
        for right, short in zip(numeric, shorts, strict=True)
    ]
    head = "".join(
        f'<th scope="col"{kind}>{_text(heading)}</th>' for heading, kind in zip(headings, kinds, strict=True)
    )
    lines = []
    for row in cells:
        parts = [
            f'<th scope="row"{kind}>{_text(cell)}</th>' if place == 0 and not right else f"<td{kind}>{_text(cell)}</td>"
            for place, (cell, kind, right) in enumerate(zip(row, kinds, numeric, strict=True))
        ]
        lines.append(f"<tr>{''.join(parts)}</tr>")
    if not lines:
        lines.append(f'<tr><td colspan="{len(headings)}">none</td></tr>')
    # The caption stands outside of the box, in which it would be as wide as the table, and clipped on a phone.
    return (
        f"{_maybe('p', 'caption', table.caption)}\n"
        f'<div class="scroll" role="group" aria-label="{_text(table.caption or label or "Table")}" tabindex="0">\n'
        f"<table>\n<thead>\n<tr>{head}</tr>\n</thead>\n<tbody>\n" + "\n".join(lines) + "\n</tbody>\n</table>\n</div>"
    )


def _chart(chart: Chart, captioned: bool = True) -> str:
    title, below = titles(chart)
    identity = escape(printable(chart.identity))
    # What the pointer can work is no picture to a screen reader.
    role = "group" if {"sliders", "updatemenus"} & set(chart.figure.get("layout", {})) else "img"
    caption = f"<figcaption>{_maybe('p', 'title', title)}{_subtitle(below)}</figcaption>\n" if captioned else ""
    return (
        f'<figure>\n{caption}<div class="plot" id="{identity}" role="{role}" aria-label="{_text(title)}" '
        f'style="height: {int(chart.height)}px"></div>\n'
        f'<details class="numbers">\n<summary>The numbers</summary>\n'
        f"{_table(numbers(chart), f'{title}: the numbers')}\n</details>\n</figure>"
    )


def _contents(sections: Sequence[Section], anchors: Sequence[str]) -> str:
    items = "\n".join(
        f'<li><a href="#{anchor}">{_text(section.heading)}</a></li>'
        for section, anchor in zip(sections, anchors, strict=True)
    )
    return f'<nav aria-label="Sections">\n<ul>\n{items}\n</ul>\n</nav>'


def _footer(lines: Sequence[str]) -> str:
    from roofline import __version__

    own = f"Made with roofline {__version__}. This page is one file and loads nothing from a network."
    return "<footer>\n" + "\n".join(f"<p>{_text(line)}</p>" for line in (*lines, own)) + "\n</footer>"


# -- what the scripts read, and what they may do ----------------------------------------------------------------------


def _payload(charts: Sequence[Chart]) -> Iterator[str]:
    if not charts:
        return
    yield f'<script type="application/json" id="dark-of">{_json(dict(colours.DARK_OF))}</script>'
    for chart in charts:
        yield (
            f'<script type="application/json" class="figure" data-of="{escape(printable(chart.identity))}">'
            f"{_json(chart.figure)}</script>"
        )


def _charts(blocks: Sequence[Block]) -> Iterator[Chart]:
    for block in blocks:
        if isinstance(block, Chart):
            yield block
        elif isinstance(block, Section):
            yield from _charts(block.blocks)


def _json(value: object) -> str:
    """JSON that cannot end its element or open a comment, whatever a name holds."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _policy(scripts: Sequence[str]) -> str:
    """What the page may do: run its own scripts, by their digests, and nothing else; no address can be reached."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    # A page is read with its line ends made one; the digest is of what is read.
    return str(get_plotlyjs()).replace("\r\n", "\n").replace("\r", "\n")


def _resource(name: str) -> str:
    return files("roofline.document").joinpath(name).read_text(encoding="utf-8").replace("\r\n", "\n")


def _variables() -> str:
    """The roles of the charts' colours as variables of the style sheet; dark on a screen only."""
    roles = {
        "background": colours.BACKGROUND,
        "text": colours.TEXT,
        "muted": colours.MUTED,
        "line": colours.GRID,
    }
    light = " ".join(f"--{role}: {colour};" for role, colour in roles.items())
    dark = " ".join(f"--{role}: {colours.DARK_OF[colour]};" for role, colour in roles.items())
    return (
        f":root {{ --font: {colours.FONT}; --accent: #0b57d0; {light} }}\n"
        f"@media screen {{ :root[data-theme=dark] {{ --accent: #8ab4f8; color-scheme: dark; {dark} }} }}\n"
        "@media screen and (prefers-color-scheme: dark) {\n"
        f"  :root[data-theme=auto] {{ --accent: #8ab4f8; color-scheme: dark; {dark} }}\n}}\n"
    )


# -- text -------------------------------------------------------------------------------------------------------------


def _text(text: str) -> str:
    """Text that shows as it is written, in an element or in a quoted attribute."""
    return escape(printable(text))


def _maybe(element: str, kind: str, text: str) -> str:
    named = f' class="{kind}"' if kind else ""
    return f"<{element}{named}>{_text(text)}</{element}>" if text else ""


def _subtitle(lines: Sequence[str]) -> str:
    return "".join(_maybe("p", "subtitle", line) for line in lines)


def _anchors(sections: Sequence[Section]) -> Iterator[str]:
    """Places to link to, each another: 'sec-memory', and 'sec-memory-2' for a second of that name."""
    given: set[str] = set()
    for section in sections:
        first = anchor = "-".join(["sec", *re.findall(r"[a-z0-9]+", section.heading.lower())])
        again = 1
        while anchor in given:
            again += 1
            anchor = f"{first}-{again}"
        given.add(anchor)
        yield anchor
