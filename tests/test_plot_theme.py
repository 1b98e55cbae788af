"""The palette: read on its background, told apart by colour-blind eyes, exchanged whole; figures that keep to it."""

import itertools
import re
from typing import Any

import numpy as np
import pytest
from colorspacious import cspace_convert
from numpy.typing import NDArray

from roofline.plot import theme
from roofline.plot.text import plain
from tests.figures import assert_no_raw_names, assert_palette

SERIES = [look.colour for look in theme.SERIES]
SIDES = {"light": (lambda colour: colour), "dark": theme.DARK_OF.__getitem__}
# Okabe and Ito, "Color Universal Design" (2008): the palette that most guides give for colour-blind readers, without
# its black and its yellow, which no light background shows (contrast 1.3).
OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7")
SIGHTS = (None, "protanomaly", "deuteranomaly", "tritanomaly")


def channels(colour: str) -> NDArray[np.float64]:
    return np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.1."""
    own = channels(colour)
    linear = np.where(own <= 0.04045, own / 12.92, ((own + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def contrast(one: str, other: str) -> float:
    """Contrast ratio, WCAG 2.1: (L1 + 0.05) / (L2 + 0.05)."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def smallest_distance(colours: list[str] | tuple[str, ...], sight: str | None) -> float:
    """The smallest distance of two of the colours in CAM02-UCS, where 1 is about what can just be seen.

    sight: simulated after Machado, Oliveira and Fernandes, 2009, at the full severity; None: normal.
    """
    rgb = np.array([channels(colour) for colour in colours])
    if sight:
        seen = cspace_convert(rgb, {"name": "sRGB1+CVD", "cvd_type": sight, "severity": 100}, "sRGB1")
        rgb = np.clip(seen, 0, 1)
    places = cspace_convert(rgb, "sRGB1", "CAM02-UCS")
    return min(float(np.linalg.norm(one - other)) for one, other in itertools.combinations(places, 2))


def test_contrast_is_the_standard_s() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)  # WCAG 2.1: the largest there is
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)  # the lightest grey that passes AA


@pytest.mark.parametrize("side", SIDES)
def test_every_colour_shows_on_its_background(side: str) -> None:
    as_on = SIDES[side]
    background = as_on(theme.BACKGROUND)
    for colour in SERIES:
        assert contrast(as_on(colour), background) >= 3, colour  # WCAG 2.1, 1.4.11: graphics
    for colour in (theme.TEXT, theme.MUTED):
        assert contrast(as_on(colour), background) >= 4.5, colour  # 1.4.3: text
    # A grid is seen without standing before the data.
    assert 1.2 < contrast(as_on(theme.GRID), background) < 3


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("side", SIDES)
def test_colour_blind_eyes_tell_all_series_apart(side: str, sight: str | None) -> None:
    """By 20 just noticeable differences, and better than the palette that is known for it."""
    found = smallest_distance([SIDES[side](colour) for colour in SERIES], sight)
    assert found >= 20
    assert found > smallest_distance(OKABE_ITO, sight)


def test_the_dark_colours_can_be_exchanged_back() -> None:
    """A page exchanges colours to and fro by the exact words, so no word may stand for two."""
    lights, darks = set(theme.DARK_OF), set(theme.DARK_OF.values())
    assert len(darks) == len(lights) == 4 + 2 * len(SERIES)
    assert not lights & darks


def test_a_figure_darkens_whole() -> None:
    look = theme.look(2)
    figure: theme.Figure = {
        "data": [
            {"line": {"color": look.colour, "width": 2}, "fillcolor": look.soft, "x": [1.0, None], "name": "#fff"}
        ],
        "layout": theme.layout("t", "s", xaxis=theme.axis("x")),
    }
    dark = theme.dark(figure)
    assert dark["data"][0]["line"] == {"color": theme.DARK_OF[look.colour], "width": 2}
    assert dark["data"][0]["fillcolor"] == theme.soft(theme.DARK_OF[look.colour])
    assert dark["data"][0]["x"] == [1.0, None] and dark["data"][0]["name"] == "#fff"
    assert dark["layout"]["paper_bgcolor"] == "#14181f"
    assert figure["data"][0]["line"]["color"] == look.colour  # the light one is as it was


def test_looks_differ_by_more_than_colour() -> None:
    for attribute in ("colour", "dash", "symbol", "pattern"):
        assert len({getattr(look, attribute) for look in theme.SERIES}) == len(theme.SERIES)
    many = [theme.look(place) for place in range(len(SERIES) ** 2)]
    assert len(set(many)) == len(many)  # 36 series before one looks like another


NAME = "<b>x</b> %{y} {z}"


@pytest.mark.parametrize(
    "figure",
    [
        {"data": [{"line": {"color": "red"}}]},
        {"data": [{"marker": {"color": ["#240892", "#123456"]}}]},
        {"layout": {"paper_bgcolor": "#fff"}},
        {"data": [{"marker": {"colorscale": [[0, "#ffffff"], [1, "rgb(1,2,3)"]]}}]},
        {"data": [{"line": {"color": "#DF6700"}}]},  # the exchange is by the exact word
    ],
)
def test_a_foreign_colour_is_found(figure: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="not of the palette"):
        assert_palette(figure)


@pytest.mark.parametrize(
    "trace",
    [
        {"hovertemplate": f"{NAME}: %{{y}}"},
        {"hovertemplate": "<i onclick=x>%{y}</i>"},
        {"texttemplate": ["%{y}", NAME]},
        {"name": "<script>"},
        {"customdata": [["ok", "<a href=x>"]]},
    ],
)
def test_a_raw_name_is_found(trace: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        assert_no_raw_names({"data": [trace]}, (NAME,))


def test_plain_names_and_templates_pass() -> None:
    trace = {
        "name": plain(NAME),
        "customdata": [plain(NAME)],
        "hovertemplate": "%{customdata}<br>%{y:.3~s}FLOP/s, %{marker.size:.1%} of the time<extra></extra>",
        "line": {"color": theme.SERIES[0].colour},
    }
    assert_palette({"data": [trace], "layout": theme.layout(NAME)})
    assert_no_raw_names({"data": [trace], "layout": theme.layout(NAME)}, (NAME,))


def test_fonts_need_no_file() -> None:
    assert not re.search(r"url|@import", theme.FONT)
