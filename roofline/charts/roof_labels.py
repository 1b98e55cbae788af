"""Where the labels of roofs stand, so that none is printed over another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from math import log10

from roofline.charts.label_sheet import IN_THE_WAY, Drawn, Ends, Label, Sheet, Size
from roofline.charts.roofs import Roof
from roofline.units import format_number, format_quantity

_ALONG = (
    0.62,
    0.5,
    0.74,
    0.38,
    0.86,
    0.26,
    0.94,
    0.14,
)  # where on its line the label of a memory may stand, in order of trying
_FROM_RIGHT = tuple(0.06 * step for step in range(8))  # how far from the right edge a label of arithmetic may end
_CLOSE = 1.2  # kernels that differ by less share a label, as a factor
_AWAY = 17.0  # a step from a star to where its phase may be named [px]
_BELOW_AND_ABOVE = (-1, -2, -3, 1, 2, -4, -5, 3)  # how many steps, in order of trying
_BOLDER = 5  # characters that bold and larger text takes more
_ANCHORS = ("bottom right", "top right", "bottom left", "top left", "bottom center", "top center")


def labels(
    roofs: Sequence[Roof],
    drawn: Drawn,
    trails: Iterable[tuple[float, float, str]],
    x_ends: Ends,
    y_ends: Ends,
    size: Size,
) -> Iterator[Label]:
    """The labels of phases, drawn roofs and theoretical ridge points, and texts at the ends of trails (x, y, text)."""
    panel = Sheet(roofs, drawn, x_ends, y_ends, size)
    arithmetic = sorted((one for one in roofs if one.kind == "compute"), key=lambda one: -one.value)
    stated = [one for one in arithmetic if one.standing == "theoretical"]
    yield from _phases(panel, drawn)
    for together in _memories(roofs):
        yield _memory(panel, together, len(together))
    yield from _ridges(panel, stated, IN_THE_WAY)
    for roof in stated:
        yield from _level(panel, [roof], _peak_words(roof))
    for alike in _kernels([one for one in arithmetic if one.standing == "sustained"]):
        yield from _level(panel, alike, _kernel_words(alike), _quants(alike))
    for x, y, said in trails:
        at = panel.place(x, y)
        found = panel.best([(*at, anchor) for anchor in _ANCHORS], (said,))
        if not found[3]:
            yield panel.write("trail", found, (said,))


def short_labels(roofs: Sequence[Roof], drawn: Drawn, x_ends: Ends, y_ends: Ends, size: Size) -> Iterator[Label]:
    """Fewer labels, for a narrow page: of phases, of what makers state, and only those that have room."""
    panel = Sheet(roofs, drawn, x_ends, y_ends, size)
    stated = [one for one in roofs if one.kind == "compute" and one.standing == "theoretical"]
    for together in _memories(roofs):
        yield _memory(panel, together, 1)
    yield from _phases(panel, drawn)
    for roof in sorted(stated, key=lambda one: -one.value):
        text = (f"{_side(roof)}{roof.name} {format_quantity(roof.value, 'FLOP/s')}",)
        up = panel.place(roof.x[1], roof.value)[1]
        found = panel.best([(1.0, up, "top left"), (1.0, up, "bottom left")], text)
        if not found[3]:
            yield panel.write("roof", found, text, roof.standing)
    yield from _ridges(panel, stated, 1)


def _phases(panel: Sheet, drawn: Drawn) -> Iterator[Label]:
    """The name of each phase beside one of its stars: what a reader looks for first."""
    for text, stars in drawn.phases:
        right, up = (_AWAY / length for length in panel.size)
        places = [panel.place(*star) for star in stars]
        wanted = {
            (across + right * toward, level + up * above, f"{'top' if above > 0 else 'bottom'} {side}"): star
            for above in _BELOW_AND_ABOVE
            for toward, side in ((1, "right"), (0, "center"), (-1, "left"))
            for (across, level), star in zip(places, stars, strict=True)
        }
        room = (f"{text:{len(text) + _BOLDER}}",)
        found = panel.best(wanted, room)
        x, y = wanted[found[:3]]
        panel.lead(found[:2], panel.place(x, y))
        yield replace(
            panel.write("phase", found, room), lines=(text,), of=(log10(x), log10(y)), of_phase=text.partition(":")[0]
        )


def _ridges(panel: Sheet, stated: Sequence[Roof], enough: int) -> Iterator[Label]:
    """The labels of ridge points that have fewer faults than are enough to leave one out."""
    for roof in stated:
        text = (f"ridge {format_number(roof.ridge)} FLOP/B",)
        at = panel.place(roof.ridge, roof.value)
        found = panel.best([(*at, anchor) for anchor in ("top left", "bottom right", "top right")], text)
        if found[3] < enough:
            yield panel.write("ridge", found, text, roof.standing)


def _level(panel: Sheet, alike: Sequence[Roof], texts: Iterable[str], quants: tuple[str, ...] = ()) -> Iterator[Label]:
    """The first of the texts that has room near the right end of levels that share it, above or below them all.

    None where the ridge point has to tell.
    """
    begins, top = panel.place(alike[0].ridge, alike[0].value)
    _, bottom = panel.place(alike[-1].ridge, alike[-1].value)
    sides = ((top, "top left"), (bottom, "bottom left"))
    for text in texts:
        wanted = ((1 - back, up, anchor) for back in _FROM_RIGHT for up, anchor in sides)
        found = panel.best(wanted, (text,), begins)
        if found[3] < IN_THE_WAY:
            yield panel.write("roof", found, (text,), alike[0].standing, quants)
            break


def _peak_words(roof: Roof) -> tuple[str, str]:
    """'host: int8 11.7 TFLOP/s', and shorter."""
    value = format_quantity(roof.value, "FLOP/s")
    return f"{_side(roof)}{roof.name} {value}", f"{_side(roof)}{value}"


def _kernels(found: Sequence[Roof]) -> list[list[Roof]]:
    """Kernels of a side that are about equally fast, from the fastest."""
    groups: list[list[Roof]] = []
    for roof in found:
        near = next((one for one in groups if one[0].side == roof.side and one[-1].value < roof.value * _CLOSE), None)
        if near is None:
            groups.append([roof])
        else:
            near.append(roof)
    return groups


def _quants(alike: Sequence[Roof]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(quant for roof in alike for quant in roof.quants))


def _kernel_words(alike: Sequence[Roof]) -> tuple[str, str]:
    """'q4_0, few tokens 128 GFLOP/s' and shorter; of several quantisations the colours of the lines say which."""
    quants, widths = _quants(alike), {roof.name.rpartition(", ")[2] for roof in alike}
    whose = f"{quants[0]}, " if len(quants) == 1 else ""
    width = widths.pop() if len(widths) == 1 else "kernels"
    least, most = (format_quantity(roof.value, "FLOP/s") for roof in (alike[-1], alike[0]))
    (low, unit), (_, same) = least.split(), most.split()
    value = most if least == most else f"{low}–{most}" if unit == same else f"{least}–{most}"
    side = _side(alike[0])
    return f"{side}{whose}{width} {value}", f"{side}{width.removesuffix(' tokens')} {value}"


def _memories(roofs: Sequence[Roof]) -> list[list[Roof]]:
    """Slopes that share a label: what is stated and what is sustained of a level, and the caches of a memory."""
    found: dict[tuple[str, str], list[Roof]] = {}
    for roof in roofs:
        if roof.kind == "memory":
            main = next((one.name for one in roofs if one.is_main and one.side == roof.side), "")
            own = main if "activations" in roof.name else roof.name
            found.setdefault((roof.side, own), []).append(roof)
    return list(found.values())


def _memory(panel: Sheet, together: Sequence[Roof], most: int) -> Label:
    """The label of a level, above its highest line or below its lowest one. most: lines of text."""
    lines = tuple(_words(roof, together) for roof in together[:most])
    highest = max(together, key=lambda roof: roof.value)
    lowest = min(together, key=lambda roof: roof.value)
    above = ((*_on(panel, highest, share), "top left") for share in _ALONG)
    below = ((*_on(panel, lowest, share), "bottom right") for share in reversed(_ALONG))
    wanted = chain(above, below)
    return panel.write("roof", panel.best(wanted, lines), lines, together[0].standing)


def _words(roof: Roof, together: Sequence[Roof]) -> str:
    value = format_quantity(roof.value, "B/s")
    if roof is together[0]:
        return f"{_side(roof)}{roof.name} {value}"
    return f"{roof.name.split(',')[0] if roof.name != together[0].name else roof.standing} {value}"


def _on(panel: Sheet, roof: Roof, share: float) -> tuple[float, float]:
    """The point that lies so far along a line."""
    line = panel.line(roof.x, roof.y)
    across = line.left + share * (line.right - line.left)
    return across, line.at(across)


def _side(roof: Roof) -> str:
    return f"{roof.side}: " if roof.side else ""
