"""The gallery of docs/ shows what its commands draw today."""

import re
from pathlib import Path

import pytest

from roofline.cli.app import app
from tests.gallery import FIGURES, IMAGES, PAGE, Picture, fingerprint, known_fingerprints, pictures
from tests.refresh_gallery import EXPLORERS, REPORTS

LARGEST = 200_000  # bytes of a picture: a repository keeps every version of it
CHARTS = [picture for picture in pictures() if picture.is_chart]


@pytest.mark.parametrize("picture", CHARTS, ids=lambda picture: picture.image)
def test_a_picture_is_of_todays_figure(picture: Picture, tmp_path: Path) -> None:
    assert known_fingerprints()[picture.image] == fingerprint(picture, tmp_path), "run: python -m tests.refresh_gallery"


def test_every_kind_of_chart_is_shown() -> None:
    (plots,) = (group.typer_instance for group in app.registered_groups if group.name == "plot")
    assert plots is not None
    kinds = {info.name or getattr(info.callback, "__name__", "") for info in plots.registered_commands}
    assert {picture.words[1] for picture in CHARTS if picture.words[0] == "plot"} == kinds
    assert {picture.words[0] for picture in CHARTS} == {"plot", "error", "measure"}


def test_pictures_are_shown_and_small() -> None:
    shown = set(re.findall(r"\(images/([\w.-]+)\)", PAGE.read_text(encoding="utf-8")))
    kept = {path.name for path in IMAGES.iterdir()} - {FIGURES.name}
    assert shown == kept == {picture.image for picture in CHARTS} | set(REPORTS) | set(EXPLORERS)
    for name in kept:
        content = (IMAGES / name).read_bytes()
        assert content[:4] == b"RIFF" and content[8:12] == b"WEBP", name
        assert len(content) < LARGEST, name
