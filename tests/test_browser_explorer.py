"""The explorer in a real browser: what it draws is what is predicted, and every control, link and key moves it."""

import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

import roofline
from roofline.explorer.pictures import PICTURES
from roofline.units import format_number, format_quantity
from tests.browser import Opener, overflows
from tests.explorers import port_of, running

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LINK = "?hw=rtx-3090,rpi5&model=mistral-7b&quant=q4_0&prompt=512&gen=128&depth=0&batch=1&kv=f16"
POINT: dict[str, Any] = {"model": "mistral-7b", "quant": "q4_0", "prompt": 512, "gen": 128}
WAIT_S = 20.0


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running() as (_, line):
        yield f"http://127.0.0.1:{port_of(line)}/"


def until(page: "Page", what: str, argument: Any = None) -> Any:
    """The value of an expression once it is truthy; playwright's own waiting evaluates text, which the page forbids."""
    end = time.monotonic() + WAIT_S
    while True:
        found = page.evaluate(what, argument)
        if found:
            return found
        assert time.monotonic() < end, f"never true: {what} ({argument})"
        page.wait_for_timeout(30)


_TRACES = """(name) => {
  const box = document.getElementById(`chart-${name}`);
  if (!box?.calcdata || !box.querySelector(".main-svg")) return null;
  const plain = (values) => values === undefined ? null : Array.from(values);
  return box._fullData.map((trace) => ({
    name: trace.name, x: plain(trace.x), y: plain(trace.y), axis: trace.yaxis, mode: trace.mode ?? null,
    text: Array.isArray(trace.text) ? trace.text : null,
    width: trace.line?.width, colour: trace.line?.color, drawn: box.calcdata[trace.index].length,
  }));
}"""


def traces(page: "Page", name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = until(page, _TRACES, name)
    return found


_OF_THE_ADDRESS = """() => {
  const bare = (query) => (query ?? "").replace("?", "").replace(/&roof=[^&]*/, "");
  const boxes = [...document.querySelectorAll(".plot")];
  return boxes.length === 5 && boxes.every((box) => bare(box.dataset.query) === bare(location.search));
}"""


def settled(page: "Page", query: str) -> None:
    """Wait until the address says so and every chart is drawn of it."""
    until(page, "(part) => decodeURIComponent(location.search).includes(part)", query)
    until(page, _OF_THE_ADDRESS)


def opened(open_page: Opener, address: str, link: str = LINK, **how: Any) -> "Page":
    page = open_page(f"{address}{link}", **how)
    settled(page, "kv=f16" if link == LINK else "hw=")
    return page


def curve(page: "Page", chart: str, device: str, axis: str = "y") -> dict[float, float]:
    """Points of a device's line of expected speeds."""
    (line,) = [
        one for one in traces(page, chart) if one["name"] == device and one["axis"] == axis and one["width"] == 2.5
    ]
    assert line["drawn"] == len(line["x"])
    return dict(zip(line["x"], line["y"], strict=True))


# -- the numbers ------------------------------------------------------------------------------------------------------


def test_every_chart_is_drawn_of_the_prediction(open_page: Opener, address: str) -> None:
    page = opened(open_page, address)
    for device in ("rtx-3090", "rpi5"):
        depth = curve(page, "depth", device)
        for x in (min(depth), sorted(depth)[len(depth) // 2], max(depth)):
            alone = roofline.predict(device, **{**POINT, "prompt": 0, "depth": x}).decode
            assert alone is not None and depth[x] == pytest.approx(alone.tok_s, rel=1e-9)
        prefill = curve(page, "depth", device, "y2")
        for x in (min(prefill), max(prefill)):
            alone = roofline.predict(device, **{**POINT, "gen": 0, "depth": x}).prefill
            assert alone is not None and prefill[x] == pytest.approx(alone.tok_s, rel=1e-9)
        batch = curve(page, "batch", device)
        for x in (1.0, 8.0, max(batch)):
            both = roofline.predict(device, **POINT, batch=x).decode
            assert both is not None and batch[x] == pytest.approx(both.tok_s, rel=1e-9)

    first = roofline.predict("rtx-3090", **POINT)
    rpi = roofline.predict("rpi5", **POINT)
    bars = [trace for trace in traces(page, "token-time") if trace["axis"] == "y"]
    (totals,) = [trace["text"] for trace in bars if trace["mode"] == "text"]
    for one, total in ((first, totals[0]), (rpi, totals[1])):
        assert total.strip() == format_quantity(float(one.tpot_s or 0), "s")
    for place in (0, 1):  # the parts of a bar, as shares
        assert sum(trace["x"][place] for trace in bars if trace["mode"] is None) == pytest.approx(1.0)
    assert first.decode is not None
    speeds = [value for trace in traces(page, "quant") for value in trace["y"] or [] if value]
    assert any(value == pytest.approx(float(first.decode.tok_s), rel=1e-9) for value in speeds)
    rate = float(first.decode.flops / first.decode.seconds)
    marks = [
        (x, y) for trace in traces(page, "roofline") if trace["x"] for x, y in zip(trace["x"], trace["y"], strict=True)
    ]
    intensity = float(first.decode.intensity)
    assert any(x == pytest.approx(intensity, rel=1e-6) and y == pytest.approx(rate, rel=1e-6) for x, y in marks)


def test_cards_and_bill_say_the_prediction(open_page: Opener, address: str) -> None:
    page = opened(open_page, address)
    cards = page.locator(".card")
    assert cards.count() == 2
    for place, device in enumerate(("rtx-3090", "rpi5")):
        one = roofline.predict(device, **POINT)
        text = cards.nth(place).inner_text()
        for phase in (one.decode, one.prefill):
            assert phase is not None
            for value in (phase.tok_s, phase.low_tok_s, phase.high_tok_s, phase.ceiling_tok_s):
                assert format_number(float(value)) in text
        assert "Fits" in text
    parts = "[...document.querySelectorAll('.bar .part')]"
    sizes = page.evaluate(f"{parts}.map((part) => +getComputedStyle(part).flexGrow)")
    assert sizes[0] == pytest.approx(roofline.predict("rtx-3090", **POINT).memory.weights)


# -- the controls -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("control", "typed", "query", "moves"),
    [
        ("prompt", "2048", "prompt=2048", ("roofline", "token-time", "depth", "batch")),
        ("gen", "512", "gen=512", ("roofline", "token-time", "depth", "batch")),
        ("depth", "8k", "depth=8192", ("roofline", "token-time", "batch", "quant")),
        ("batch", "16", "batch=16", ("roofline", "token-time", "depth", "quant")),
    ],
)  # fmt: skip
def test_numbers_move_the_charts(
    open_page: Opener, address: str, control: str, typed: str, query: str, moves: tuple[str, ...]
) -> None:
    page = opened(open_page, address)
    before = {name: traces(page, name) for name in moves}
    verdict = page.locator("#cards").inner_text()
    page.fill(f"#{control}", typed)
    settled(page, query)
    for name in moves:
        assert traces(page, name) != before[name], name
    assert page.locator("#cards").inner_text() != verdict
    assert f"--{query.replace('=', ' ')}" in page.locator("#command").inner_text()


def choose(page: "Page", control: str, text: str) -> None:
    """Choose from a menu that the keyboard opens, as one searches in it."""
    page.locator(f"#{control}").focus()
    page.keyboard.press("Enter")
    if control not in ("kv",):
        page.locator(".dash-dropdown-search").fill(text)  # waits until the menu is open
    page.locator(".dash-dropdown-content, .dash-options-list").get_by_text(text, exact=True).first.click()
    page.keyboard.press("Escape")


def test_menus_move_the_charts(open_page: Opener, address: str) -> None:
    page = opened(open_page, address)
    for control, text, query in (
        ("model", "Llama 3.1 8B", "model=llama-3.1-8b"),
        ("kv", "q8_0", "kv=q8_0"),
        ("hw", "NVIDIA GeForce RTX 4090", "rtx-4090"),
    ):
        before = {name: traces(page, name) for name in ("depth", "batch")}
        choose(page, control, text)
        settled(page, query)
        for name, drawn in before.items():
            assert traces(page, name) != drawn, (control, name)


def test_a_pair_is_added_by_typing(open_page: Opener, address: str) -> None:
    page = opened(open_page, address)
    page.fill("#add", "rtx 3090+Ryzen 7950X")
    page.press("#add", "Enter")
    settled(page, "rtx-3090,rpi5,rtx-3090+ryzen-7950x")
    assert page.locator(".card").count() == 3
    page.fill("#add", "/etc/passwd.toml")
    page.click("#add-button")
    until(page, "() => document.getElementById('alert').innerText.includes('files are not here')")
    assert page.locator(".card").count() == 3


def test_the_roofline_of_another_device(open_page: Opener, address: str) -> None:
    page = opened(open_page, address)
    before = traces(page, "roofline")
    page.get_by_role("radio", name="rpi5").check()
    settled(page, "roof=rpi5")
    assert traces(page, "roofline") != before


def test_what_cannot_be_read_is_told_and_the_charts_stay(open_page: Opener, address: str) -> None:
    page = opened(open_page, address)
    before = traces(page, "depth")
    page.fill("#prompt", "many")
    until(page, "() => document.getElementById('alert').innerText.includes('--prompt')")
    assert traces(page, "depth") == before
    page.fill("#prompt", "100")
    settled(page, "prompt=100")
    assert page.locator("#alert").inner_text() == ""


def test_numbers_stand_below_a_chart(open_page: Opener, address: str) -> None:
    page = opened(open_page, address)
    page.click("#numbers-depth summary")
    until(page, "() => document.querySelectorAll('#table-depth tbody tr').length > 10")
    first = roofline.predict("rtx-3090", **{**POINT, "prompt": 0}).decode
    assert first is not None
    assert format_number(float(first.tok_s)) in page.locator("#table-depth").inner_text()
    page.fill("#batch", "4")
    settled(page, "batch=4")
    more = roofline.predict("rtx-3090", **{**POINT, "prompt": 0}, batch=4).decode
    assert more is not None
    until(
        page,
        "(text) => document.getElementById('table-depth').innerText.includes(text)",
        format_number(float(more.tok_s)),
    )


# -- links ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("devices", ["rtx-3090,rpi5", "rtx-3090,ryzen-7950x"])
def test_an_axis_of_many_decades_has_a_label_for_each(open_page: Opener, address: str, devices: str) -> None:
    page = opened(open_page, address, f"?hw={devices}&model=mistral-7b&quant=q4_0")
    for axis in ("y", "y2"):
        speeds = [y for trace in traces(page, "depth") if trace["axis"] == axis for y in trace["y"] if y]
        layout = f"document.getElementById('chart-depth')._fullLayout.{axis.replace('y', 'yaxis')}"
        if page.evaluate(f"{layout}.type") == "log":
            assert page.evaluate(f"{layout}.dtick") == (1 if max(speeds) > 100 * min(speeds) else "D2")


def test_a_change_asks_twice(open_page: Opener, address: str) -> None:
    """Once for what is in sight, once for the rest."""
    page = opened(open_page, address)
    page.wait_for_timeout(500)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.post_data[:60]) if request.post_data else None)
    page.fill("#prompt", "640")
    settled(page, "prompt=640")
    assert len(asked) == 2, asked


def test_what_cannot_be_drawn_has_no_empty_table(open_page: Opener, address: str) -> None:
    page = opened(open_page, address, "?hw=rpi5&model=llama-3.1-70b&quant=f16")
    assert page.locator("#chart-depth").is_hidden() and page.locator("#numbers-depth").is_hidden()
    assert "does not fit" in page.locator("#note-depth").inner_text()
    assert page.locator("#numbers-roofline").is_visible()


def test_a_link_shows_the_same_elsewhere(open_page: Opener, address: str) -> None:
    page = opened(open_page, address)
    page.fill("#prompt", "1000")
    settled(page, "prompt=1000")
    other = open_page(page.url)
    settled(other, "prompt=1000")
    for picture in PICTURES:
        assert traces(other, picture.identity) == traces(page, picture.identity)
    assert other.input_value("#prompt") == "1000"
    assert other.locator("#verdict").inner_text() == page.locator("#verdict").inner_text()


def test_back_and_forward(open_page: Opener, address: str) -> None:
    page = opened(open_page, address)
    length = page.evaluate("history.length")
    page.press("#prompt", "End")
    page.locator("#prompt").press_sequentially("000")  # 512000 in three steps
    settled(page, "prompt=512000")
    page.fill("#batch", "4")
    settled(page, "batch=4")
    assert page.evaluate("history.length") == length + 2  # none for a key, one for each control
    page.go_back()
    settled(page, "prompt=512000")
    until(page, "() => document.getElementById('batch').value === '1'")
    page.go_forward()
    until(page, "() => document.getElementById('batch').value === '4'")
    settled(page, "batch=4")


def test_a_hostile_link_is_told_in_the_page(open_page: Opener, address: str) -> None:
    page = open_page(f"{address}?hw=rpi5,<script>alert(1)</script>&model=<b>x</b>&evil=1")
    until(page, "() => document.getElementById('alert')?.innerText.includes('<script>')")
    settled(page, "hw=rpi5")
    assert page.locator("#alert p").count() == 3
    assert page.locator("#alert script, #alert b").count() == 0
    page.fill("#prompt", "99")
    settled(page, "prompt=99")
    assert page.locator("#alert").inner_text() == ""  # it was of the link


# -- everybody's page -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_scrolls_sideways(open_page: Opener, address: str, width: int, dark: bool) -> None:
    page = opened(open_page, address, width=width, dark=dark)
    assert not overflows(page)
    back = page.evaluate("getComputedStyle(document.querySelector('.chart .main-svg')).backgroundColor")
    assert (back == "rgb(20, 24, 31)") is dark
    if width == 390:
        lefts = page.evaluate("[...document.querySelectorAll('.card, .chart, .choose')].map((one) => one.offsetLeft)")
        assert len(set(lefts)) == 1  # one column


def test_the_background_changes_with_the_system(open_page: Opener, address: str) -> None:
    page = opened(open_page, address)
    page.emulate_media(color_scheme="dark")
    back = "getComputedStyle(document.querySelector('#chart-depth .main-svg')).backgroundColor"
    until(page, f"() => {back} === 'rgb(20, 24, 31)'")
    colours = {trace["colour"] for trace in traces(page, "depth") if trace["width"] == 2.5}
    assert colours == {"#6e50fc", "#ffb10a"}


def test_the_keyboard_alone_is_enough(open_page: Opener, address: str) -> None:
    """Every control is reached by Tab, has a name, and is seen to have the focus."""
    page = opened(open_page, address)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    seen: list[str] = []
    for _ in range(120):  # charts have buttons of their own
        page.keyboard.press("Tab")
        told = page.evaluate(
            """() => {
              const one = document.activeElement;
              const shown = [one, one.parentElement].map((each) => getComputedStyle(each))
                .some((style) => style.outlineStyle !== "none" || style.boxShadow !== "none");
              const named = (one.getAttribute("aria-labelledby") ?? "").split(" ");
              const label = [one.labels?.[0]?.innerText, one.getAttribute("aria-label"), one.innerText,
                ...named.map((id) => document.getElementById(id)?.innerText)];
              return [one.id || one.tagName, label.join(""), shown];
            }"""
        )
        if told[0] == "BODY":
            break  # past the last one
        assert told[2], f"no focus seen on {told[0]}"
        assert told[1].strip(), f"no name of {told[0]}"
        seen.append(told[0])
    wanted = [
        "hw",
        "add",
        "add-button",
        "model",
        "quant",
        "kv",
        "prompt",
        "gen",
        "depth",
        "batch",
        "copy-command",
        "copy-link",
    ]
    assert [one for one in seen if one in wanted] == wanted
    page.locator("#prompt").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("77")
    settled(page, "prompt=77")


def test_what_is_read_aloud(open_page: Opener, address: str) -> None:
    page = opened(open_page, address)
    assert page.locator("#verdict").get_attribute("aria-live") == "polite"
    assert page.locator("#alert").get_attribute("role") == "alert"
    for picture in PICTURES:
        label = page.locator(f"#chart-{picture.identity}").get_attribute("aria-label") or ""
        assert label.startswith(picture.heading) and "numbers stand below" in label
    for identity in ("prompt", "gen", "depth", "batch", "add"):
        assert page.locator(f"label[for={identity}]").count() == 1


def test_the_command_is_copied(open_page: Opener, address: str) -> None:
    page = opened(open_page, address)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#copy-command")
    until(page, "() => document.getElementById('copied').innerText === 'Command copied.'")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("#command").inner_text()
    assert re.match(r"roofline predict --hw rtx-3090 --model mistral-7b --quant q4_0\n", copied)
    page.click("#copy-link")
    until(page, "() => document.getElementById('copied').innerText === 'Link copied.'")
    assert unquote(page.evaluate("navigator.clipboard.readText()")) == unquote(page.url)
