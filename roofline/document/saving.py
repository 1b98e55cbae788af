"""Charts and documents as files, by the suffix of the name, and a chart in the reader's browser."""

from __future__ import annotations

import os
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, cast

from roofline.document.blocks import Chart, Document
from roofline.document.html import Theme, page
from roofline.files import check_writable, write_bytes, write_text
from roofline.plot import theme as colours
from roofline.spec import SpecError
from roofline.tables import render, to_json

if TYPE_CHECKING:
    from roofline.plot.images import Form

_DOTS = (".png", ".webp")
_IMAGES = (*_DOTS, ".svg", ".pdf")
_CHARTS = (".html", *_IMAGES, ".json", ".md", ".csv")
_DOCUMENTS = (".html", ".md")

#: Width of an image [px], and how many dots of a .png or .webp there are to each.
_WIDTH, _SCALE = 960, 2


def save_chart(chart: Chart, out: Path, theme: str, title: str) -> None:
    """Write a chart as .html (a page), .png, .webp, .svg or .pdf (an image), .json (plotly's), .md or .csv (numbers).

    theme: auto, light or dark. The file is written whole or not at all. SpecError: another suffix, or no browser for an
    image; OSError: the folder cannot be written.
    """
    suffix = _suffix(out, _CHARTS)
    if suffix in _IMAGES:
        from roofline.plot.images import image

        check_writable(out)  # before the browser starts
        scale = _SCALE if suffix in _DOTS else 1
        write_bytes(image(chart.figure, cast("Form", suffix[1:]), _WIDTH, chart.height, theme, scale), out)
    else:
        write_text(_chart_text(chart, suffix, theme, title), out)


def save_document(document: Document, out: Path, theme: str) -> None:
    """Write a document as .html, one self-contained page, or as .md. Errors as those of `save_chart`."""
    from roofline.document.markdown import markdown

    suffix = _suffix(out, _DOCUMENTS)
    write_text(page(document, cast(Theme, theme)) if suffix == ".html" else markdown(document), out)


def check_out(out: Path) -> None:
    """SpecError or OSError where `save_chart` could not write this name, before long work is done for it."""
    suffix = _suffix(out, _CHARTS)
    if suffix in _IMAGES:
        from roofline.plot.images import check_installed

        check_installed(suffix[1:])
    check_writable(out)


def show_chart(chart: Chart, theme: str, title: str) -> tuple[Path, bool]:
    """Open a chart in the reader's browser: the page, in a new folder of its own, and whether a browser took it."""
    path = Path(tempfile.mkdtemp(prefix="roofline-")) / f"{chart.identity}.html"
    write_text(_chart_text(chart, ".html", theme, title), path)
    return path, _open(path)


def _chart_text(chart: Chart, suffix: str, theme: str, title: str) -> str:
    if suffix == ".html":
        return page(Document(title, (chart,)), cast(Theme, theme))
    if suffix == ".json":
        return to_json(colours.dark(chart.figure) if theme == "dark" else chart.figure)
    return render(chart.numbers.rows, chart.numbers.columns, "csv" if suffix == ".csv" else "md")


def _suffix(out: Path, known: tuple[str, ...]) -> str:
    suffix = out.suffix.lower()
    if out.is_dir():
        raise SpecError(f"--out: expected a file, found the folder {out}")
    if suffix not in known:
        raise SpecError(f"--out: expected a name that ends in {', '.join(known)}, found {out.name!r}")
    return suffix


def _open(path: Path) -> bool:
    """Whether a browser with windows took the page; one in the terminal would take the terminal."""
    windows = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    try:
        return windows and webbrowser.open(path.as_uri())
    except (webbrowser.Error, OSError):
        return False
