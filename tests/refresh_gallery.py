"""Make the pictures of docs/gallery.md anew: ``python -m tests.refresh_gallery [NAME...]``.

Charts are written by the very commands that the page shows; pages and the explorer are photographed in Chromium.
"""

from __future__ import annotations

import base64
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.browser import installed
from tests.explorers import port_of, running
from tests.gallery import FIGURES, IMAGES, Picture, fingerprint, known_fingerprints, pictures, run

#: What is photographed: picture → (width, height) of the window [px].
REPORTS = {"report.webp": (1280, 1500), "report-phone.webp": (390, 1100)}
EXPLORERS = {"explorer.webp": (1280, 1500), "explorer-phone.webp": (390, 1100)}
VIEW = "/?hw=rpi5,m2-ultra-76&model=mistral-7b&quant=q4_0"
# A browser writes WebP from a canvas, so that no imaging library is needed.
_TO_WEBP = """async (png) => {
    const image = new Image();
    image.src = png;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.width;
    canvas.height = image.height;
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL("image/webp", 0.8);
}"""


def main() -> None:
    wanted = set(sys.argv[1:])
    IMAGES.mkdir(exist_ok=True)
    found = [one for one in pictures() if not wanted or one.image in wanted]
    prints = known_fingerprints() if FIGURES.exists() else {}
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        for picture in found:
            if picture.is_chart:
                run(picture.words_for(IMAGES / picture.image))
                prints[picture.image] = fingerprint(picture, folder)
                print(picture.image)
        browser = playwright.chromium.launch(executable_path=installed())
        for picture in found:
            if not picture.is_chart:
                photograph_report(browser, picture, folder)
        with running() as (_, said):
            for image, size in EXPLORERS.items():
                if not wanted or image in wanted:
                    photograph(browser, f"http://127.0.0.1:{port_of(said)}{VIEW}", image, size)
        browser.close()
    text = "# What each picture was drawn of: `python -m tests.refresh_gallery` writes it.\n"
    text += "".join(f'"{image}" = "{prints[image]}"\n' for image in sorted(prints))
    FIGURES.write_text(text, encoding="utf-8")


def photograph_report(browser: Browser, picture: Picture, folder: Path) -> None:
    """The first screens of a report, on a desktop and on a phone."""
    path = folder / "report.html"
    run(picture.words_for(path))
    for image, size in REPORTS.items():
        photograph(browser, path.as_uri(), image, size)


def photograph(browser: Browser, address: str, image: str, size: tuple[int, int]) -> None:
    """A window of this size on a page, as WebP."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.goto(address)
    page.wait_for_function("() => document.querySelectorAll('.js-plotly-plot .main-svg').length > 0")
    page.wait_for_timeout(1500)  # [ms] until all charts are drawn
    png = base64.b64encode(page.screenshot()).decode()
    blank = browser.new_page()
    webp = blank.evaluate(_TO_WEBP, f"data:image/png;base64,{png}")
    (IMAGES / image).write_bytes(base64.b64decode(webp.partition(",")[2]))
    blank.close()
    page.close()
    print(image)


if __name__ == "__main__":
    main()
