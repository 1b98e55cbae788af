"""A panel as a sheet on which labels are written where they are least in the way: a square of side 1."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log10

from roofline.charts.roofs import Roof

#: What small text takes: the height of a line, the width of a character [px].
_LINE, _CHARACTER = 12.0, 6.0
IN_THE_WAY = 4  # faults of a label over another text or a mark; a line through it is one
_HOPELESS = 1000  # more faults than any label has
_TOUCH = 1e-9  # what ends at a line does not cross it [1]
_BAR = 12.0  # width of a whisker with its cap [px]
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
    of: the point that it names, as exponents, where that is apart from it. of_phase: which phase, of a 'phase'.
    """

    kind: str
    x: float
    y: float
    lines: tuple[str, ...]
    anchor: str
    standing: str
    quants: tuple[str, ...] = ()
    of: tuple[float, float] | None = None
    of_phase: str = ""


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
class Box:
    """What a text or a mark covers of the sheet [1]."""

    left: float
    right: float
    bottom: float
    top: float

    def meets(self, other: Box) -> bool:
        """Whether any of it is in the other, too."""
        apart = self.right <= other.left or other.right <= self.left
        return not (apart or self.top <= other.bottom or other.top <= self.bottom)

    def is_inside(self) -> bool:
        """Whether all of it is on the sheet."""
        return self.left >= 0 and self.right <= 1 and self.bottom >= 0 and self.top <= 1

    def is_crossed(self, line: Line) -> bool:
        """Whether a line runs through the box."""
        left, right = max(self.left, line.left), min(self.right, line.right)
        if left >= right:
            return False
        low, high = sorted((line.at(left), line.at(right)))
        return low < self.top - _TOUCH and high > self.bottom + _TOUCH


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line from left to right, by its height at the left and how much it rises [1]."""

    left: float
    right: float
    start: float
    slope: float

    def at(self, across: float) -> float:
        """Its height there [1]."""
        return self.start + self.slope * (across - self.left)


class Sheet:
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

    def line(self, x: Ends, y: Ends) -> Line:
        """The line between two points of the chart."""
        (left, start), (right, end) = self.place(x[0], y[0]), self.place(x[1], y[1])
        return Line(left, right, start, (end - start) / (right - left))

    def _whisker(self, x: float, low: float, high: float) -> Box:
        (across, bottom), (_, top), half = self.place(x, low), self.place(x, high), _BAR / 2 / self.size[0]
        return Box(across - half, across + half, bottom, top)

    def _around(self, x: float, y: float, size: float) -> Box:
        across, up = self.place(x, y)
        wide, high = size / 2 / self.size[0], size / 2 / self.size[1]
        return Box(across - wide, across + wide, up - high, up + high)

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
                faults += IN_THE_WAY if box.meets(other) else 0
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

    def box(self, across: float, up: float, anchor: str, lines: tuple[str, ...]) -> Box:
        """What a text covers that lies 'top left' of a point, and so on."""
        wide, high = _CHARACTER * max(map(len, lines)) / self.size[0], _LINE * len(lines) / self.size[1]
        left = across - {"left": wide, "center": wide / 2, "right": 0.0}[anchor.split()[1]]
        bottom = up if anchor.startswith("top") else up - high
        return Box(left, left + wide, bottom, bottom + high)

    def lead(self, one: Ends, other: Ends) -> None:
        """Keep clear of a line between two points of the sheet."""
        (left, start), (right, end) = sorted((one, other))
        if right - left > _TOUCH:
            self.lines.append(Line(left, right, start, (end - start) / (right - left)))

    def write(
        self, kind: str, found: tuple[float, float, str, int], lines: tuple[str, ...], standing: str = "",
        quants: tuple[str, ...] = (),
    ) -> Label:  # fmt: skip
        """The label at the place that was found, which is taken from now on."""
        across, up, anchor, _ = found
        self.taken.append(self.box(across, up, anchor, lines))
        x, y = self.point(across, up)
        return Label(kind, x, y, lines, anchor, standing, quants)


def _turned(ends: tuple[Ends, Ends]) -> tuple[Ends, Ends]:
    """A line from its other end."""
    (x, end_x), (y, end_y) = ends
    return (end_x, x), (end_y, y)
