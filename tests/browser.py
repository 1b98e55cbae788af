"""A real browser for the tests: the system's Chromium, through playwright, which downloads none of its own.

A test that takes `open_page` carries the mark `browser`. It fails where a page logs an error, or asks for anything but
files and this machine. Pages forbid eval: give `wait_for_function` a function ('() => …'), not an expression.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route

#: open_page(address or path, width=1280, dark=False): the page, loaded; width in pixels.
Opener: TypeAlias = Callable[..., "Page"]

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT_MS = 30_000.0
HEIGHT = 900


def installed() -> str | None:
    """The path of Chrome or Chromium; BROWSER_PATH, which kaleido follows too, goes first."""
    return os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, PROGRAMS)), None)


def required() -> str:
    """The path of the browser; without one the test is skipped, except in CI."""
    program = installed()
    if program is None:
        reason = f"no browser: expected one of {', '.join(PROGRAMS)} (on Debian: apt install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return program


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One headless browser for all tests of a process."""
    program = required()
    sync_api = pytest.importorskip("playwright.sync_api")
    # As root its sandbox does not start; playwright turns it off unless told otherwise, so that is said here.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    manager: AbstractContextManager[Any] = sync_api.sync_playwright()
    with manager as playwright:
        browser: Browser = playwright.chromium.launch(
            executable_path=program, chromium_sandbox=not root, args=["--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the pages of a test complained of, for a test that expects some: it checks and clears them."""
    return []


@pytest.fixture
def open_page(chromium: Browser, complaints: list[str]) -> Iterator[Opener]:
    """A function that opens a page, each in a context of its own; at the end no page may have complained."""
    contexts = []

    def note_and_block(route: Route) -> None:
        address = urlsplit(route.request.url)
        if address.scheme in ("file", "data", "blob") or address.hostname == "127.0.0.1":
            route.continue_()
        else:
            complaints.append(f"asked for {route.request.url}")
            route.abort()

    def console(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(f"console: {message.text}")

    def failed(request: Request) -> None:
        if "ERR_ABORTED" not in (request.failure or ""):  # a page that is left gives up what it was loading
            complaints.append(f"failed: {request.url}")

    def opened(target: str | Path, width: int = 1280, dark: bool = False, **more: Any) -> Page:
        context = chromium.new_context(
            viewport={"width": width, "height": HEIGHT}, color_scheme="dark" if dark else "light", **more
        )
        contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        context.route("**/*", note_and_block)
        page = context.new_page()
        page.on("console", console)
        page.on("pageerror", lambda error: complaints.append(f"script: {error}"))
        page.on("requestfailed", failed)
        page.goto(target.resolve().as_uri() if isinstance(target, Path) else target)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


_DRAWN = """(identity) => {
  const place = document.getElementById(identity);
  const box = place?.classList.contains("js-plotly-plot") ? place : place?.querySelector(".js-plotly-plot");
  if (!box?._fullData || !box.querySelector(".main-svg")) return null;
  const shown = box._fullData.map((trace) => trace.visible === true);
  return {
    traces: shown.filter(Boolean).length,
    names: box._fullData.map((trace) => trace.name),
    types: box._fullData.map((trace) => trace.type),
    colours: box._fullData.map((trace) => trace.line?.color ?? trace.marker?.color ?? null),
    points: box.calcdata.map((trace) => (trace[0]?.trace?.visible === true ? trace.length : 0)),
    marks: box.querySelectorAll(".cartesianlayer .points path").length,
    lines: box.querySelectorAll(".cartesianlayer path.js-line").length,
    fills: box.querySelectorAll(".cartesianlayer path.js-fill").length,
    legend: [...box.querySelectorAll(".legendtext")].map((text) => text.textContent),
    text: [...box.querySelectorAll("svg text")].map((text) => text.textContent),
    title: box._fullLayout.title?.text ?? "",
    width: box.clientWidth,
    height: box.clientHeight,
  };
}"""


def drawn(page: Page, identity: str) -> dict[str, Any]:
    """What plotly drew in the element of this id, once it has.

    traces: how many are seen; names, types, colours: of every trace; points: of each trace, as it is drawn, 0 where it
    is hidden; marks (symbols and bars), lines, fills: elements in the page; legend, text: what can be read; width,
    height: of the chart [px].
    """
    handle = page.wait_for_function(_DRAWN, arg=identity)
    found: dict[str, Any] = handle.json_value()
    return found


def overflows(page: Page) -> bool:
    """Whether the page is wider than its window, so that it scrolls sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))
