"""Where the labels of roofs stand, so that none is printed over another: worked out on the panel as a unit square."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from math import log10

from roofline.charts.roofs import Roof
from roofline.units import format_number, format_quantity

#: What small text takes: the height of a line, the width of a character [px].
_LINE, _CHARACTER = 12.0, 6.0
_ALONG = (0.62, 0.5, 0.74, 0.38, 0.86, 0.26)  # where on its line the label of a memory may stand, in order of trying
_FROM_RIGHT = tuple(0.06 * step for step in range(8))  # how far from the right edge a label of arithmetic may end
_IN_THE_WAY = 4  # faults of a label over another text or a mark; a line through it is one
_HOPELESS = 1000  # more faults than any label has
_TOUCH = 1e-9  # what ends at a line does not cross it [1]
_BAR = 12.0  # width of a whisker with its cap [px]
_AWAY = 17.0  # a step from a star to where its phase may be named [px]
_BELOW_AND_ABOVE = (-1, -2, -3, 1, 2, -4, -5, 3)  # how many steps, in order of trying
_BOLDER = 5  # characters that bold and larger text takes more
_CLOSE = 1.2  # kernels that differ by less share a label, as a factor
_ANCHORS = ("bottom right", "top right", "bottom left", "top left", "bottom center", "top center")
Ends = tuple[float, float]
#: Width and height of a panel [px], about.
Size = tuple[float, float]
#: A point to keep free: intensity [FLOP/B], achieved [FLOP/s], diameter [px].
Spot = tuple[float, float, float]
#: Points of a line that is not a roof: intensity [FLOP/B], achieved [FLOP/s].
Path = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Label:
    """Text at a point of the chart, as exponents of ten of FLOP/B and FLOP/s. anchor: where it lies from there.

    kind: 'phase', 'roof', 'ridge' or 'trail'. lines: of text, from the top. quants: whose colour it has.
    """

    kind: str
    x: float
    y: float
    lines: tuple[str, ...]
    anchor: str
    standing: str
    quants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Drawn:
    """What labels keep clear of, beside the roofs. bars: whiskers as (intensity, from, to) [FLOP/B], [FLOP/s].

    phases: names to write beside a whole phase, at one of several places: (text, stars).
    """

    spots: Sequence[Spot] = ()
    bars: Sequence[tuple[float, float, float]] = ()
    paths: Sequence[Path] = ()
    phases: Sequence[tuple[str, Path]] = ()


@dataclass(frozen=True, slots=True)
class _Box:
    left: float
    right: float
    bottom: float
    top: float

    def meets(self, other: _Box) -> bool:
        apart = self.right <= other.left or other.right <= self.left
        return not (apart or self.top <= other.bottom or other.top <= self.bottom)

    def is_inside(self) -> bool:
        return self.left >= 0 and self.right <= 1 and self.bottom >= 0 and self.top <= 1

    def is_crossed(self, line: _Line) -> bool:
        """Whether a line runs through the box."""
        left, right = max(self.left, line.left), min(self.right, line.right)
        if left >= right:
            return False
        low, high = sorted((line.at(left), line.at(right)))
        return low < self.top - _TOUCH and high > self.bottom + _TOUCH


@dataclass(frozen=True, slots=True)
class _Line:
    left: float
    right: float
    start: float
    slope: float

    def at(self, across: float) -> float:
        return self.start + self.slope * (across - self.left)


class _Panel:
    """A panel as a square of side 1, with the boxes that are taken and the lines that are drawn."""

    def __init__(self, roofs: Sequence[Roof], drawn: Drawn, x_ends: Ends, y_ends: Ends, size: Size) -> None:
        self.x_ends, self.y_ends = x_ends, y_ends
        self.size = size
        self.taken = [self._around(*spot) for spot in drawn.spots]
        self.taken += [self._whisker(*bar) for bar in drawn.bars]
        self.lines = [self.line(roof.x, roof.y) for roof in roofs]
        for path in drawn.paths:
            steps = [((x, end_x), (y, end_y)) for (x, y), (end_x, end_y) in pairwise(path) if x != end_x]
            self.lines += [self.line(*(ends if ends[0][0] < ends[0][1] else _turned(ends))) for ends in steps]

    def place(self, x: float, y: float) -> tuple[float, float]:
        """A point of the chart in the square."""
        across, up = log10(x) - self.x_ends[0], log10(y) - self.y_ends[0]
        return across / (self.x_ends[1] - self.x_ends[0]), up / (self.y_ends[1] - self.y_ends[0])

    def point(self, across: float, up: float) -> tuple[float, float]:
        """A point of the square on the chart."""
        x = self.x_ends[0] + across * (self.x_ends[1] - self.x_ends[0])
        y = self.y_ends[0] + up * (self.y_ends[1] - self.y_ends[0])
        return x, y

    def line(self, x: Ends, y: Ends) -> _Line:
        (left, start), (right, end) = self.place(x[0], y[0]), self.place(x[1], y[1])
        return _Line(left, right, start, (end - start) / (right - left))

    def _whisker(self, x: float, low: float, high: float) -> _Box:
        (across, bottom), (_, top), half = self.place(x, low), self.place(x, high), _BAR / 2 / self.size[0]
        return _Box(across - half, across + half, bottom, top)

    def _around(self, x: float, y: float, size: float) -> _Box:
        across, up = self.place(x, y)
        wide, high = size / 2 / self.size[0], size / 2 / self.size[1]
        return _Box(across - wide, across + wide, up - high, up + high)

    def best(
        self, wanted: Iterable[tuple[float, float, str]], lines: tuple[str, ...], begins: float = 0.0
    ) -> tuple[float, float, str, int]:
        """The first of the places (across, up, anchor) where the text is least in the way, and how much it is.

        begins: where the line begins that the text belongs to, from the left [1].
        """
        best: tuple[float, float, str, int] | None = None
        for across, up, anchor in wanted:
            box = self.box(across, up, anchor, lines)
            faults = 2 * (box.left < begins) + 8 * (not box.is_inside())
            most = best[3] if best else _HOPELESS
            for other in self.taken:
                if faults >= most:
                    break
                faults += _IN_THE_WAY if box.meets(other) else 0
            for line in self.lines:
                if faults >= most:
                    break
                faults += box.is_crossed(line)
            if best is None or faults < best[3]:
                best = (across, up, anchor, faults)
            if not faults:
                break
        assert best is not None  # there is always a place to try
        return best

    def box(self, across: float, up: float, anchor: str, lines: tuple[str, ...]) -> _Box:
        """What a text covers that lies 'top left' of a point, and so on."""
        wide, high = _CHARACTER * max(map(len, lines)) / self.size[0], _LINE * len(lines) / self.size[1]
        left = across - {"left": wide, "center": wide / 2, "right": 0.0}[anchor.split()[1]]
        bottom = up if anchor.startswith("top") else up - high
        return _Box(left, left + wide, bottom, bottom + high)

    def write(
        self, kind: str, found: tuple[float, float, str, int], lines: tuple[str, ...], standing: str = "",
        quants: tuple[str, ...] = (),
    ) -> Label:  # fmt: skip
        across, up, anchor, _ = found
        self.taken.append(self.box(across, up, anchor, lines))
        x, y = self.point(across, up)
        return Label(kind, x, y, lines, anchor, standing, quants)


def labels(
    roofs: Sequence[Roof],
    drawn: Drawn,
    trails: Iterable[tuple[float, float, str]],
    x_ends: Ends,
    y_ends: Ends,
    size: Size,
) -> Iterator[Label]:
    """The labels of phases, drawn roofs and theoretical ridge points, and texts at the ends of trails (x, y, text)."""
    panel = _Panel(roofs, drawn, x_ends, y_ends, size)
    arithmetic = sorted((one for one in roofs if one.kind == "compute"), key=lambda one: -one.value)
    stated = [one for one in arithmetic if one.standing == "theoretical"]
    yield from _phases(panel, drawn)
    for together in _memories(roofs):
        yield _memory(panel, together, len(together))
    yield from _ridges(panel, stated, _IN_THE_WAY)
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
    panel = _Panel(roofs, drawn, x_ends, y_ends, size)
    stated = [one for one in roofs if one.kind == "compute" and one.standing == "theoretical"]
    yield from _phases(panel, drawn)
    for together in _memories(roofs):
        yield _memory(panel, together, 1)
    for roof in sorted(stated, key=lambda one: -one.value):
        text = (f"{_side(roof)}{roof.name} {format_quantity(roof.value, 'FLOP/s')}",)
        up = panel.place(roof.x[1], roof.value)[1]
        found = panel.best([(1.0, up, "top left"), (1.0, up, "bottom left")], text)
        if found[3] < _IN_THE_WAY:
            yield panel.write("roof", found, text, roof.standing)
    yield from _ridges(panel, stated, 1)


def _phases(panel: _Panel, drawn: Drawn) -> Iterator[Label]:
    """The name of each phase beside one of its stars: what a reader looks for first."""
    for text, stars in drawn.phases:
        right, up = (_AWAY / length for length in panel.size)
        places = [panel.place(*star) for star in stars]
        wanted = [
            (across + right * toward, level + up * above, f"{'top' if above > 0 else 'bottom'} {side}")
            for above in _BELOW_AND_ABOVE
            for toward, side in ((1, "right"), (0, "center"), (-1, "left"))
            for across, level in places
        ]
        yield panel.write("phase", panel.best(wanted, (f"{text:{len(text) + _BOLDER}}",)), (text,))


def _turned(ends: tuple[Ends, Ends]) -> tuple[Ends, Ends]:
    """A line from its other end."""
    (x, end_x), (y, end_y) = ends
    return (end_x, x), (end_y, y)


def _ridges(panel: _Panel, stated: Sequence[Roof], enough: int) -> Iterator[Label]:
    """The labels of ridge points that have fewer faults than are enough to leave one out."""
    for roof in stated:
        text = (f"ridge {format_number(roof.ridge)} FLOP/B",)
        at = panel.place(roof.ridge, roof.value)
        found = panel.best([(*at, anchor) for anchor in ("top left", "bottom right", "top right")], text)
        if found[3] < enough:
            yield panel.write("ridge", found, text, roof.standing)


def _level(panel: _Panel, alike: Sequence[Roof], texts: Iterable[str], quants: tuple[str, ...] = ()) -> Iterator[Label]:
    """The first of the texts that has room near the right end of levels that share it, above or below them all.

    None where the ridge point has to tell.
    """
    begins, top = panel.place(alike[0].ridge, alike[0].value)
    _, bottom = panel.place(alike[-1].ridge, alike[-1].value)
    sides = ((top, "top left"), (bottom, "bottom left"))
    for text in texts:
        wanted = ((1 - back, up, anchor) for back in _FROM_RIGHT for up, anchor in sides)
        found = panel.best(wanted, (text,), begins)
        if found[3] < _IN_THE_WAY:
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


def _memory(panel: _Panel, together: Sequence[Roof], most: int) -> Label:
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


def _on(panel: _Panel, roof: Roof, share: float) -> tuple[float, float]:
    """The point that lies so far along a line."""
    line = panel.line(roof.x, roof.y)
    across = line.left + share * (line.right - line.left)
    return across, line.at(across)


def _side(roof: Roof) -> str:
    return f"{roof.side}: " if roof.side else ""
