"""Charts and documents as files: every format by its suffix, whole or not at all, and names that do nothing."""

import json
import re
import shutil
import struct
import sys
import webbrowser
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io
import pytest

from roofline.document.blocks import Bullets, Chart, Command, Document, Section, Table, Text
from roofline.document.html import page
from roofline.document.markdown import markdown
from roofline.document.saving import save_chart, save_document, show_chart
from roofline.document.titles import titles
from roofline.plot import images, theme
from roofline.spec import SpecError
from roofline.tables import markdown_text
from tests.browser import required
from tests.figures import assert_no_raw_names, assert_palette
from tests.running import runner
from tests.test_browser_pages import COMMAND, HOSTILE, SCRIPT, small_chart, small_document

MEGABYTE = 1_000_000


class Outline(HTMLParser):
    """The elements of a page with their attributes, and what is left open."""

    VOID = ("meta", "link", "br", "img", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def outline(text: str) -> Outline:
    parser = Outline()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


def test_a_page_is_well_formed_and_holds_no_element_from_a_name() -> None:
    text = page(small_document())
    found = outline(text)
    tags = [tag for tag, _ in found.seen]
    assert "img" not in tags and "b" not in tags
    assert tags.count("script") == 2 + 1 + 2  # plotly.js and our own; the colours; a figure for each chart
    assert tags.count("h1") == tags.count("main") == tags.count("title") == 1
    assert not [name for _, attributes in found.seen for name in attributes if name.startswith("on")]
    assert not [tag for tag, attributes in found.seen if "src" in attributes]
    links = [attributes.get("href") or "" for _, attributes in found.seen if "href" in attributes]
    assert all(link.startswith(("#", "data:,")) for link in links)
    identities = [attributes["id"] for _, attributes in found.seen if "id" in attributes]
    assert len(set(identities)) == len(identities)
    assert {link[1:] for link in links if link.startswith("#")} <= set(identities)
    assert found.seen[0] == ("html", {"lang": "en", "data-theme": "auto"})
    headers = [attributes.get("scope") for tag, attributes in found.seen if tag == "th"]
    assert headers and set(headers) <= {"col", "row"}


def test_a_page_with_charts_stays_under_six_megabytes_and_plotly_is_in_it_once() -> None:
    text = page(small_document())
    assert 4 * MEGABYTE < len(text.encode()) < 6 * MEGABYTE
    assert text.count("plotly.js v") == 1


def test_the_figures_of_a_page_are_those_given() -> None:
    given = small_chart()
    (held,) = re.findall(
        r'<script type="application/json" class="figure"[^>]*>(.*?)</script>', page(Document("t", [given]))
    )
    assert "<" not in held
    assert json.loads(held) == given.figure


def test_infinity_and_nan_are_refused(tmp_path: Path) -> None:
    for value in (float("inf"), float("nan")):
        broken = replace(
            small_chart(), figure={"data": [{"type": "scatter", "y": [value]}], "layout": theme.layout("t")}
        )
        for name in ("x.json", "x.html"):
            with pytest.raises(ValueError, match="not JSON compliant"):
                save_chart(broken, tmp_path / name, "auto", "t")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("chosen", ["auto", "light", "dark"])
def test_json_is_plotly_s(tmp_path: Path, chosen: str) -> None:
    out = tmp_path / "chart.json"
    save_chart(small_chart(), out, chosen, "t")
    figure = plotly.io.from_json(out.read_text(encoding="utf-8"))
    assert isinstance(figure, go.Figure)
    assert figure.layout.paper_bgcolor == ("#14181f" if chosen == "dark" else "#ffffff")
    assert list(figure.data[1].y) == [45.0, 35.0, 25.0, 17.0]


def test_the_numbers_alone(tmp_path: Path) -> None:
    save_chart(small_chart(), tmp_path / "chart.csv", "auto", "t")
    lines = (tmp_path / "chart.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "model,depth,tok_s" and len(lines) == 13
    assert lines[1] == f"{SCRIPT},0,60.0"
    save_chart(small_chart(), tmp_path / "chart.md", "auto", "t")
    rows = (tmp_path / "chart.md").read_text(encoding="utf-8").splitlines()
    assert rows[2] == "| &lt;script>alert(1)&lt;/script> | 0 | 60.0 |" and len(rows) == 14


@pytest.mark.parametrize("name", ["chart.gif", "chart", "chart.html.zip", ".html"])
def test_another_suffix_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError, match=r"--out: expected a name that ends in \.html, .*, found "):
        save_chart(small_chart(), tmp_path / name, "auto", "t")
    with pytest.raises(SpecError, match=r"expected a name that ends in \.html, \.md, found "):
        save_document(small_document(), tmp_path / name, "auto")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_file_and_a_missing_one_is_made(tmp_path: Path) -> None:
    (tmp_path / "charts.html").mkdir()
    with pytest.raises(SpecError, match=r"--out: expected a file, found the folder .*charts\.html"):
        save_chart(small_chart(), tmp_path / "charts.html", "auto", "t")
    save_chart(small_chart(), tmp_path / "new" / "chart.JSON", "auto", "t")
    assert (tmp_path / "new" / "chart.JSON").is_file()
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OSError, match=r"file"):
        save_chart(small_chart(), tmp_path / "file" / "chart.csv", "auto", "t")


def test_showing_writes_where_only_the_reader_can_look(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def take(address: str) -> bool:
        opened.append(address)
        return True

    monkeypatch.setattr(webbrowser, "open", take)
    monkeypatch.setenv("DISPLAY", ":0")
    path, shown = show_chart(small_chart(), "auto", "t")
    try:
        assert shown and opened == [path.as_uri()]
        assert path.parent.stat().st_mode & 0o077 == 0 or sys.platform == "win32"
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(sys, "platform", "linux")
        other, shown = show_chart(small_chart(), "auto", "t")
        assert not shown and len(opened) == 1 and other.is_file()
        shutil.rmtree(other.parent)
    finally:
        shutil.rmtree(path.parent)


# -- Markdown ---------------------------------------------------------------------------------------------------------


def test_markdown_has_the_same_content() -> None:
    text = markdown(small_document())
    lines = text.splitlines()
    assert lines[0] == "# A report on &lt;script>alert(1)&lt;/script>"
    assert "**It fits. &lt;script>alert(1)&lt;/script>**" in lines
    assert lines[lines.index("```sh") + 1] == COMMAND  # code is literal
    assert [line for line in lines if line.startswith("#")][1:] == [
        "## Curves",
        "## Numbers",
        "## Sources",
        "## More",
        "### Deeper",
    ]
    assert "<" not in text.replace(COMMAND, "")
    assert sum(line.startswith("| &lt;script>alert(1)&lt;/script> | ") for line in lines) == 4 + 3


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a|b", r"a\|b"),
        ("a\nb", r"a\\nb"),
        ("`code`", r"\`code\`"),
        ("<b>", "&lt;b>"),
        ("&lt;b&gt; & c", "&amp;lt;b&amp;gt; & c"),
        ("![x](https://example.com/x.png)", r"![x]\(https://example.com/x.png)"),
        ("q4_k_m", "q4_k_m"),  # an underscore inside a word is no emphasis
        ("__init__ _x_", r"\_\_init\_\_ \_x\_"),
        ("**b** ~~s~~ $x$", r"\*\*b\*\* \~~s\~~ \$x$"),
        ("\\", "\\\\"),
        ("expected [tok/s]", "expected [tok/s]"),
    ],
)
def test_names_are_text_in_markdown(name: str, shown: str) -> None:
    assert markdown_text(name) == shown


@pytest.mark.parametrize("text", ["# x", "- x", "> x", "1. x", "12) x", "[x]: https://example.com", "=== x", "+ x"])
def test_a_paragraph_begins_nothing_else(text: str) -> None:
    line = markdown(Document("t", [Text(text), Bullets([text])])).splitlines()[2]
    assert line.replace("\\", "") == text and "\\" in line[: len(line) - len(text) + 3]


def test_a_fence_is_longer_than_what_it_holds() -> None:
    assert "````sh\necho ```\n````" in markdown(Document("t", [Command("echo ```")]))


def test_an_empty_table_says_so() -> None:
    document = Document("t", [Section("s", [Table([], ("model", "tok_s"), "caption")])])
    assert '<td colspan="2">none</td>' in page(document)
    assert "| model | expected [tok/s] |" in markdown(document)


def test_sections_of_one_name_are_different_places() -> None:
    heads = ("Memory", "memory!", "Größe", "漢字", "Memory", "Memory 2")
    text = page(Document("t", [Section(head, [Text(head)]) for head in heads]))
    found = outline(text)
    identities = [str(attributes["id"]) for tag, attributes in found.seen if tag == "section"]
    assert len(set(identities)) == len(heads)
    assert [f"#{name}" for name in identities] == [
        attributes["href"] for tag, attributes in found.seen if tag == "a" and attributes.get("class") is None
    ]


def test_the_verdict_stands_before_the_list_of_sections() -> None:
    text = page(small_document())
    assert text.index("<main") < text.index('class="verdict"') < text.index("<nav") < text.index("<h2>Curves")


def test_what_the_title_of_a_chart_says_is_no_caption_of_its_numbers_as_well() -> None:
    chart = small_chart()
    said = f"on {SCRIPT}"  # the subtitle of its figure
    for caption, times in (("Speeds", 1), (said, 0)):
        document = Document("t", [replace(chart, numbers=replace(chart.numbers, caption=caption)), Text("x")])
        assert page(document).count('<p class="caption">') == times
        lines = markdown(document).splitlines()
        assert sum(line == caption for line in lines) == times


def test_titles_are_plain_again() -> None:
    title, below = titles(small_chart())
    assert (title, below) == (
        "Speed against depth, with a title that is longer than a phone is wide",
        (f"on {SCRIPT}",),
    )
    unnamed = Chart("x", {"data": [], "layout": {}}, Table([], ("model",), "the numbers"))
    assert titles(unnamed) == ("the numbers", ())


# -- images -----------------------------------------------------------------------------------------------------------


@pytest.mark.browser
@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands before the browser")
def test_the_browser_of_an_image_reaches_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for itself: Chromium asks its maker for the time, updates and accounts when it starts."""
    pytest.importorskip("kaleido")
    log, before = tmp_path / "log.json", tmp_path / "browser"
    before.write_text(f'#!/bin/sh\nexec "{required()}" "--log-net-log={log}" "$@"\n', encoding="utf-8")
    before.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", str(before))
    save_chart(small_chart(), tmp_path / "x.webp", "auto", "t")
    assert (tmp_path / "x.webp").read_bytes()[8:12] == b"WEBP"
    # Every line is an event; the log of a browser that was told to end may lack its last one.
    constants, *events = log.read_text(encoding="utf-8").splitlines()
    kinds = json.loads(constants.rstrip(",") + "}")["constants"]["logEventTypes"]
    happened = {
        kind: [line for line in events if line.rstrip("},").endswith(f'"type":{kinds[kind]}')] for kind in kinds
    }
    assert happened["URL_REQUEST_START_JOB"]  # the log is read as it is written
    assert happened["HOST_RESOLVER_MANAGER_JOB"] == []  # no name is looked up
    assert all("127.0.0.1:9" in line for line in happened["TCP_CONNECT_ATTEMPT"] if "address" in line)


@pytest.mark.browser
def test_images_are_drawn_by_a_browser(tmp_path: Path) -> None:
    required()
    chart = small_chart()
    chart.figure["layout"]["sliders"] = [
        {"steps": [{"label": word, "method": "skip"} for word in ("one step", "two steps")]}
    ]
    save_chart(chart, tmp_path / "x.png", "auto", "t")
    head = (tmp_path / "x.png").read_bytes()[:24]
    assert head.startswith(b"\x89PNG") and struct.unpack(">II", head[16:24]) == (2 * 960, 2 * chart.height)
    save_chart(chart, tmp_path / "x.svg", "dark", "t")
    svg = (tmp_path / "x.svg").read_text(encoding="utf-8")
    assert "step" not in re.sub(r"<[^>]*>", "", svg)
    assert "<script" not in svg and SCRIPT in unescape(svg)
    assert "rgb(20, 24, 31)" in svg  # the dark background, #14181f
    save_chart(chart, tmp_path / "x.pdf", "light", "t")
    assert (tmp_path / "x.pdf").read_bytes().startswith(b"%PDF")


def test_a_missing_browser_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("kaleido")
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "no-such-browser"))
    with pytest.raises(
        SpecError,
        match=r"Chrome or Chromium, and BROWSER_PATH names no program: .*no-such-browser: .*apt install chromium",
    ):
        save_chart(small_chart(), tmp_path / "x.png", "auto", "t")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="a program of another system")
def test_a_browser_that_ends_at_once_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("kaleido")
    monkeypatch.setenv("BROWSER_PATH", str(shutil.which("true")))
    with pytest.raises(SpecError, match=r"^--out: the browser drew no \.pdf: [^()\n]+$"):
        save_chart(small_chart(), tmp_path / "x.pdf", "auto", "t")
    assert capfd.readouterr() == ("", "")


def test_a_missing_kaleido_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(SpecError, match=r"pip install 'roofline\[image\]'"):
        images.image(small_chart().figure, "svg", 300, 200, "light", 1)


# -- the figures of every command -------------------------------------------------------------------------------------

PLOTS: dict[str, list[str]] = {
    "roofline": ["--hw", "rpi5,m2-ultra-76", "--model", "mistral-7b", "--quant", "q4_0,f16"],
    "depth": ["--hw", "rtx-3090,m2-max-38", "--model", "llama-3.1-8b", "--quant", "q4_k_m", "--kv", "f16,q8_0"],
    "batch": ["--hw", "rtx-3090", "--model", "llama-3.1-8b", "--quant", "q4_k_m"],
    "threads": ["--hw", "rpi5", "--model", "mistral-7b", "--quant", "q4_0"],
    "quant": ["--hw", "rtx-3090", "--model", "llama-3.1-8b"],
    "token": ["--hw", "rtx-3090,rpi5", "--model", "llama-3.1-8b", "--quant", "q4_k_m"],
    "measured": [],
    "pareto": ["--model", "llama-3.1-8b", "--quant", "q4_k_m"],
}


@pytest.mark.parametrize("name", PLOTS)
def test_every_figure_keeps_to_the_palette_and_to_plotly_s_schema(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = tmp_path / "x.json"
    done = runner(capsys)("plot", name, *PLOTS[name], "--out", str(out))
    assert done == (0, "", f"wrote {out}\n")
    figure: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    assert_palette(figure)
    assert_no_raw_names(figure, (*HOSTILE, *PLOTS[name][1::2]))
    go.Figure(figure)
