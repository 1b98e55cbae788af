"""A figure as an image: .png, .webp, .svg or .pdf, drawn by a browser that is installed, through kaleido."""

from __future__ import annotations

import importlib.util
import logging
import os
from typing import Literal

from roofline.plot import theme as colours
from roofline.plot.theme import Figure
from roofline.spec import SpecError

# What goes wrong is told once, as an error: nothing else of the browser's keeper reaches the terminal.
logging.getLogger("choreographer").addHandler(logging.NullHandler())

Form = Literal["png", "webp", "svg", "pdf"]

#: What only a reader's hand can use.
_CONTROLS = ("sliders", "updatemenus")
_SECONDS = 60.0  # a browser that has not drawn by then will not
#: Nobody listens on it (the discard service's port): what the browser itself asks of its maker goes nowhere.
_NO_NETWORK = "http://127.0.0.1:9"


def check_installed(form: str) -> None:
    """SpecError where kaleido is missing; it is not loaded here."""
    if importlib.util.find_spec("kaleido") is None:
        raise SpecError(
            f"--out: a .{form} needs kaleido, which is not installed: pip install 'roofline[image]'; "
            "or write .html, which needs nothing"
        )


def image(figure: Figure, form: Form, width: int, height: int, theme: str, scale: float) -> bytes:
    """The bytes of an image of a figure, without sliders and buttons; nothing is asked of a network.

    width, height: [px]; scale: dots to each, of a .png or .webp. theme: dark, else light. SpecError where kaleido or a
    browser is missing, or where the browser fails.
    """
    check_installed(form)
    import kaleido
    from kaleido.errors import BrowserClosedError, BrowserFailedError, ChromeNotFoundError, KaleidoError

    shown = colours.dark(figure) if theme == "dark" else figure
    layout = {key: value for key, value in shown.get("layout", {}).items() if key not in _CONTROLS}
    try:
        content = kaleido.calc_fig_sync(
            {"data": shown["data"], "layout": layout},
            opts={"format": form, "width": width, "height": height, "scale": scale},
            # By default mathjax would come from a network; plotly.js is the installed package's own.
            kopts={"mathjax": False, "timeout": _SECONDS, "proxy_server": _NO_NETWORK},
        )
    except ChromeNotFoundError:
        named = os.environ.get("BROWSER_PATH")
        wrong = f"BROWSER_PATH names no program: {named}" if named else "none was found"
        raise SpecError(
            f"--out: a .{form} is drawn by Chrome or Chromium, and {wrong}: install one (on Debian: apt install "
            "chromium) or name its program in the environment variable BROWSER_PATH; or write .html, which needs none"
        ) from None
    except (BrowserClosedError, BrowserFailedError, KaleidoError, TimeoutError) as error:
        # Some have several arguments, of which the first says what happened.
        reason = error.args[0] if error.args else type(error).__name__
        raise SpecError(f"--out: the browser drew no .{form}: {reason}") from None
    if not isinstance(content, bytes):
        raise SpecError(f"--out: the browser drew no .{form}")
    return content
