"""The explorer, from a change to its charts: ``python -m tests.bench.explorer``, in a real Chromium, on this machine.

Timed in the page: from the input event of a control to plotly's own event after a chart is drawn; the goal is of all
that are in sight at the top of the page of a desktop's size.
"""

import statistics
from typing import Any

from roofline.explorer import pictures, view
from roofline.explorer.state import State
from tests.bench.prediction import fastest
from tests.browser import required
from tests.explorers import port_of, running

CHANGES = 20
PAUSE_MS = 400

_WATCH = """() => {
  window.seen = {};
  window.asked = [];
  document.querySelectorAll(".js-plotly-plot").forEach((box) =>
    box.on("plotly_afterplot", () => { window.seen[box.id] = performance.now(); }));
  document.addEventListener("input", () => { window.began = performance.now(); }, true);
  const fetched = window.fetch;
  window.fetch = async (...given) => {
    const start = performance.now();
    const answer = await fetched(...given);
    answer.clone().text().then(() => window.asked.push(performance.now() - start));
    return answer;
  };
  return document.querySelectorAll(".js-plotly-plot").length;
}"""


def server_seconds() -> float:
    """Time to work out and draw everything for a state that was not asked for before [s]."""
    prompts = iter(range(300, 100_000))

    def all_of_it() -> None:
        state = State(hw=("rtx-3090", "rpi5"), prompt=next(prompts))
        view.devices(state)
        for picture in pictures.PICTURES:
            pictures.shown(picture.identity, state)

    all_of_it()
    return fastest(all_of_it, 9, 3)


def page_seconds() -> dict[str, list[float]]:
    """Times of changes of the prompt: to the charts in sight, to the last of all, and of the slowest request [s]."""
    from playwright.sync_api import sync_playwright

    found: dict[str, list[float]] = {"sight": [], "last": [], "requests": []}
    with running("--hw", "rtx-3090,rpi5") as (_, line), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=required(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"http://127.0.0.1:{port_of(line)}/")
        while page.evaluate("document.querySelectorAll('.js-plotly-plot .main-svg').length") < 10:
            page.wait_for_timeout(50)
        page.wait_for_timeout(1500)
        charts = page.evaluate(_WATCH)
        for change in range(CHANGES + 2):
            page.evaluate("() => { window.seen = {}; window.asked = []; }")
            page.fill("#prompt", str(600 + 37 * change))
            while page.evaluate("Object.keys(window.seen).length") < charts:
                page.wait_for_timeout(20)
            page.wait_for_timeout(PAUSE_MS)
            times: dict[str, Any] = page.evaluate(
                """() => {
                  const since = (found) => found.map(([, end]) => end - window.began);
                  const top = (name) => document.getElementById(name).getBoundingClientRect().top;
                  const drawn = Object.entries(window.seen);
                  const sight = drawn.filter(([name]) => top(name) < innerHeight);
                  return { drawn: since(drawn), sight: since(sight), asked: window.asked };
                }"""
            )
            if change >= 2:  # the first ones compile
                found["sight"].append(max(times["sight"]) / 1e3)
                found["last"].append(max(times["drawn"]) / 1e3)
                found["requests"].append(max(times["asked"]) / 1e3)
        browser.close()
    return found


def main() -> None:
    print(f"{'explorer, all charts worked out':42} {server_seconds() * 1e3:7.0f} ms")
    for name, times in page_seconds().items():
        what = {"sight": "to the charts in sight", "last": "to the last chart", "requests": "slowest request"}[name]
        goal = "  (goal 200 ms)" if name == "sight" else ""
        median = statistics.median(times)
        print(f"{f'explorer, {what}, {len(times)} changes':42} {median * 1e3:7.0f} ms{goal}")


if __name__ == "__main__":
    main()
