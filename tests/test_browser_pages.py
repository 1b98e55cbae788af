"""Pages in a real browser: drawn, themed, printed, on a phone; names do nothing, and nothing leaves the machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from roofline.document.blocks import Bullets, Chart, Command, Document, Section, Table, Text
from roofline.document.html import page
from roofline.document.saving import save_chart, save_document
from roofline.plot import theme
from roofline.plot.text import plain
from tests.browser import Opener, drawn, overflows

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

SCRIPT = "<script>alert(1)</script>"
HOSTILE = (SCRIPT, "</script><img src=https://example.com/x.png onerror=alert(1)>", "%{x} `a` | b & <b>c</b> {{d}}")
COMMAND = f"roofline predict --hw rpi5 --model {SCRIPT}"
DEPTHS = [0, 1024, 4096, 16384]


def small_chart(identity: str = "depth", names: tuple[str, ...] = HOSTILE) -> Chart:
    data: list[dict[str, Any]] = []
    rows = []
    for place, name in enumerate(names):
        look = theme.look(place)
        speeds = [60.0 - 15 * place, 50.0 - 15 * place, 40.0 - 15 * place, 25.0 - 8 * place]
        data.append(
            {
                "type": "scatter",
                "x": DEPTHS,
                "y": speeds,
                "name": plain(name),
                "mode": "lines+markers",
                "line": {"color": look.colour, "dash": look.dash},
                "marker": {"color": look.colour, "symbol": look.symbol},
                "customdata": [plain(name) for _ in DEPTHS],
                "hovertemplate": "%{customdata}<br>%{y:.3g} tok/s<extra></extra>",
            }
        )
        rows += [{"model": name, "depth": depth, "tok_s": speed} for depth, speed in zip(DEPTHS, speeds, strict=True)]
    layout = theme.layout(
        "Speed against depth, with a title that is longer than a phone is wide",
        f"on {SCRIPT}",
        xaxis=theme.axis("depth [token]"),
        yaxis=theme.axis("decode [tok/s]"),
    )
    return Chart(identity, {"data": data, "layout": layout}, Table(rows, ("model", "depth", "tok_s"), "Speeds"))


WIDE = ("hardware", "model", "quant", "runtime", "backend", "prompt", "depth", "batch", "tok_s", "low_tok_s", "bound")


def small_document() -> Document:
    row = dict.fromkeys(WIDE, 1234.5) | {"hardware": SCRIPT, "model": "m" * 40, "bound": "memory"}
    return Document(
        f"A report on {SCRIPT}",
        [
            Text(f"It fits. {SCRIPT}", strong=True),
            Bullets(list(HOSTILE)),
            Command(COMMAND),
            Section("Curves", [small_chart()]),
            Section("Numbers", [Table([row] * 3, WIDE, f"Everything {SCRIPT}")]),
            Section("Sources", [Text("a source"), small_chart("folded", ("only",))], folded=True),
            Section("More", [Section("Deeper", [Text("text")])]),
        ],
        subtitle=f"by {SCRIPT}",
        footer=[f"Assumed. {SCRIPT}"],
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "report.html"
    save_document(small_document(), path, "auto")
    return path


def text_of(opened: Page, selector: str) -> str:
    return opened.locator(selector).first.inner_text()


def test_every_name_is_text_and_every_point_is_drawn(open_page: Opener, written: Path) -> None:
    opened = open_page(written)
    opened.on("dialog", lambda dialog: pytest.fail(f"a name ran: {dialog.message}"))
    found = drawn(opened, "depth")
    # Three series of four depths: a line and four symbols each.
    assert found["traces"] == found["lines"] == 3
    assert found["points"] == [4, 4, 4]
    assert found["marks"] == 12
    assert found["legend"] == list(HOSTILE)
    assert text_of(opened, "h1") == f"A report on {SCRIPT}"
    assert text_of(opened, ".verdict") == f"It fits. {SCRIPT}"
    assert opened.locator("main > ul li").all_inner_texts() == list(HOSTILE)
    assert text_of(opened, "figcaption .subtitle") == f"on {SCRIPT}"
    assert opened.locator("img").count() == 0
    assert opened.title() == f"A report on {SCRIPT}"


def test_hovering_shows_the_name_as_it_is_written(open_page: Opener, written: Path) -> None:
    opened = open_page(written)
    drawn(opened, "depth")
    opened.evaluate("Plotly.Fx.hover('depth', [{curveNumber: 0, pointNumber: 2}])")
    assert opened.locator("#depth .hovertext").text_content() == f"{SCRIPT}40.0 tok/s"


@pytest.mark.parametrize("chosen", ["auto", "light", "dark"])
def test_the_theme_follows_the_reader_unless_it_was_chosen(open_page: Opener, tmp_path: Path, chosen: str) -> None:
    path = tmp_path / "page.html"
    save_document(small_document(), path, chosen)
    opened = open_page(path, dark=True)
    light = [look.colour for look in theme.SERIES[:3]]
    dark = [theme.DARK_OF[colour] for colour in light]
    wait_for_colours(opened, light if chosen == "light" else dark)
    background = theme.BACKGROUND if chosen == "light" else theme.DARK_OF[theme.BACKGROUND]
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == rgb(background)
    assert opened.evaluate("document.getElementById('depth')._fullLayout.paper_bgcolor") == background
    opened.emulate_media(color_scheme="light")
    wait_for_colours(opened, dark if chosen == "dark" else light)


def wait_for_colours(opened: Page, colours: list[str]) -> None:
    """Wait until the first trace is of the first colour, then hold all: a change of theme comes a moment later."""
    opened.wait_for_function(
        "colour => document.getElementById('depth')?._fullData?.[0].line.color === colour", arg=colours[0]
    )
    assert drawn(opened, "depth")["colours"] == colours


def rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[place : place + 2], 16)) for place in (1, 3, 5))})"


def test_what_the_reader_chose_outlives_a_change_of_theme(open_page: Opener, written: Path) -> None:
    opened = open_page(written)
    drawn(opened, "depth")
    opened.evaluate(
        "Plotly.relayout('depth', {'xaxis.range': [0, 5000]})"
        ".then(() => Plotly.restyle('depth', {visible: 'legendonly'}, [1]))"
    )
    opened.emulate_media(color_scheme="dark")
    wait_for_colours(opened, [theme.DARK_OF[look.colour] for look in theme.SERIES[:3]])
    after = drawn(opened, "depth")
    assert after["points"] == [4, 0, 4]
    assert opened.evaluate("document.getElementById('depth')._fullLayout.xaxis.range") == [0, 5000]


def test_a_phone_scrolls_down_only(open_page: Opener, written: Path) -> None:
    opened = open_page(written, width=390)
    assert not overflows(opened)
    tables = opened.locator("section .scroll").last
    assert tables.evaluate("box => box.scrollWidth > box.clientWidth")  # the wide table scrolls in its own box
    caption = opened.locator("p.caption").last.bounding_box()  # which its caption does not
    assert caption and caption["x"] + caption["width"] <= 390
    found = drawn(opened, "depth")
    assert found["width"] <= 390
    inside = opened.evaluate(
        "(() => { const size = document.getElementById('depth')._fullLayout._size; return [size.w, size.h]; })()"
    )
    assert inside[0] > 0.7 * found["width"]  # the legend is below, not beside
    assert inside[1] > 300  # and took no height of the plot's
    legend = opened.locator("#depth .legend").bounding_box()
    plot = opened.locator("#depth .plotbg, #depth .bglayer").first.bounding_box()
    assert legend and plot and legend["y"] > plot["y"] + plot["height"]
    for part in opened.locator("details").all():
        part.evaluate("part => { part.open = true }")
    assert not overflows(opened)


def test_a_wide_window_made_narrow_draws_anew(open_page: Opener, written: Path) -> None:
    opened = open_page(written)
    assert drawn(opened, "depth")["width"] > 1000
    opened.set_viewport_size({"width": 390, "height": 900})
    opened.wait_for_function("() => document.getElementById('depth')._fullLayout.legend.orientation === 'h'")
    opened.wait_for_function("() => document.getElementById('depth')._fullLayout.width < 390")
    opened.set_viewport_size({"width": 1280, "height": 900})
    opened.wait_for_function("() => document.getElementById('depth')._fullLayout.legend.orientation === 'v'")
    opened.wait_for_function("() => document.getElementById('depth')._fullLayout.width > 1000")
    assert not overflows(opened)


def test_paper_is_light_and_shows_what_was_folded(open_page: Opener, written: Path) -> None:
    opened = open_page(written, dark=True)
    drawn(opened, "depth")
    opened.emulate_media(media="print")
    light = [look.colour for look in theme.SERIES[:3]]
    wait_for_colours(opened, light)
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == rgb(theme.BACKGROUND)
    assert opened.locator("details.section").get_attribute("open") is not None
    assert drawn(opened, "folded")["traces"] == 1
    assert not opened.locator(".command button").is_visible()
    opened.emulate_media(media="screen")
    opened.wait_for_function("() => !document.querySelector('details.section').open")
    wait_for_colours(opened, [theme.DARK_OF[colour] for colour in light])
    written_pdf = opened.pdf(format="A4")
    assert written_pdf.startswith(b"%PDF")


def test_a_folded_part_draws_when_it_opens_and_a_link_opens_it(open_page: Opener, written: Path) -> None:
    opened = open_page(written)
    drawn(opened, "depth")
    assert opened.evaluate("document.getElementById('folded')._fullData === undefined")
    opened.get_by_role("link", name="Sources").click()
    assert drawn(opened, "folded")["width"] > 1000
    numbers = opened.locator("figure:has(#depth) details.numbers")
    assert not numbers.locator("table").is_visible()
    numbers.locator("summary").focus()
    opened.keyboard.press("Enter")
    assert numbers.locator("tbody tr").count() == 12
    assert numbers.locator("tbody th").first.inner_text() == SCRIPT
    assert numbers.locator("tbody td").nth(1).inner_text() == "60.0"


def test_the_copy_button_works_from_the_keyboard(open_page: Opener, written: Path) -> None:
    opened = open_page(written, permissions=["clipboard-read", "clipboard-write"])
    button = opened.get_by_role("button", name="Copy")
    button.focus()
    opened.keyboard.press("Enter")
    opened.get_by_role("button", name="Copied").wait_for()
    assert opened.evaluate("navigator.clipboard.readText()") == COMMAND


def test_without_a_clipboard_the_command_is_selected(open_page: Opener, written: Path) -> None:
    opened = open_page(written)
    opened.evaluate(
        "Object.defineProperty(navigator, 'clipboard', {value: undefined}); document.execCommand = () => false"
    )
    opened.get_by_role("button", name="Copy").click()
    opened.get_by_role("button", name="Selected").wait_for()
    assert opened.evaluate("getSelection().toString()") == COMMAND


def test_without_scripts_the_tables_say_it(open_page: Opener, written: Path) -> None:
    opened = open_page(written, java_script_enabled=False)
    assert "Charts need JavaScript" in text_of(opened, "main")
    assert not opened.locator("#depth").is_visible()
    opened.locator("figure:has(#depth) summary").click()
    assert opened.locator("figure:has(#depth) tbody tr").first.is_visible()


def test_what_is_smuggled_in_does_not_run(open_page: Opener, complaints: list[str], tmp_path: Path) -> None:
    """Should a name ever come through unescaped, the page's policy holds: no script, no request."""
    path = tmp_path / "page.html"
    smuggled = (
        "<script>document.title = 'ran'</script><img src='data:,' onerror=\"document.title = 'ran'\">"
        "<img src='https://example.com/x.png'><link rel=stylesheet href='https://example.com/x.css'>"
    )
    path.write_text(page(small_document()).replace("</main>", f"{smuggled}</main>"), encoding="utf-8")
    opened = open_page(path)
    assert drawn(opened, "depth")["traces"] == 3
    opened.evaluate("fetch('https://example.com/').catch(() => 0)")
    assert opened.title() == f"A report on {SCRIPT}"
    # Refused by the policy before they became requests, which the fixture would have counted as asked for.
    assert sum("Content Security Policy" in line for line in complaints) >= 4
    assert [line for line in complaints if line.startswith(("asked for", "script"))] == []
    complaints.clear()


def test_a_chart_alone_says_its_title_once(open_page: Opener, tmp_path: Path) -> None:
    path = tmp_path / "chart.html"
    save_chart(small_chart(), path, "auto", "roofline plot depth")
    opened = open_page(path)
    assert drawn(opened, "depth")["points"] == [4, 4, 4]
    title = "Speed against depth, with a title that is longer than a phone is wide"
    assert text_of(opened, "h1") == title
    assert text_of(opened, "body").count(title) == 1


def test_a_document_without_charts_carries_no_plotly(open_page: Opener, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    save_document(Document("Small", [Text("text"), Command("roofline --help")]), path, "auto")
    assert path.stat().st_size < 20_000
    opened = open_page(path)
    assert opened.get_by_role("button", name="Copy").is_visible()


def test_a_chart_is_saved_with_its_title(open_page: Opener, written: Path) -> None:
    opened = open_page(written)
    drawn(opened, "depth")
    opened.locator("#depth").hover()
    with opened.expect_download() as download:
        opened.locator("#depth .modebar-btn[data-title='Save as PNG']").click()
    assert download.value.suggested_filename == "depth.png"
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
