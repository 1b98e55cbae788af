"""Decode speed for money, power or the cost of a token: every machine that runs a model, and which none dominates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import log10
from typing import Any, Literal

from roofline import catalog
from roofline.charts.pareto_labels import ends, labels
from roofline.comparison import Line, compare
from roofline.comparison_report import LEGEND
from roofline.comparison_verdicts import listed
from roofline.economy import Terms, power_mark, terms_words
from roofline.hardware import Hardware
from roofline.points import one_workload
from roofline.prediction import Prediction
from roofline.recommend.candidates import COUNTS, Question, candidates
from roofline.recommend.ranking import Criterion, dominating
from roofline.spec import SpecError
from roofline.units import short
from roofline.workload import Workload

X = Literal["price", "watts", "cost"]
#: What the columns of x are called: key and title of the axis.
_AXES: dict[X, tuple[str, str]] = {
    "price": ("price_usd", "price [USD]"),
    "watts": ("power_w", "power that it may draw [W]"),
    "cost": ("usd_per_million", "cost of a million decoded tokens [USD]"),
}
_FOR: dict[X, str] = {"price": "money", "watts": "power", "cost": "the cost of a token"}
_UNKNOWN: dict[X, str] = {"price": "price", "watts": "power figure", "cost": "cost"}
_PLURAL = {"does not fit": "do not fit"}
#: The columns of the numbers under the chart.
COLUMNS = (
    "hardware", "kind", "price_usd", "price_date", "price_basis", "power_w", "power_meaning", "usd_per_million",
    "decode_tok_s", "decode_low_tok_s", "decode_high_tok_s", "bound", "dominated_by", "not_covered",
)  # fmt: skip
#: Kinds of machines in the order of their colours. What is sold alone needs a machine around it.
KINDS = ("board, phone", "Mac", "other SoC", "processor alone", "graphics card alone", "cards and host")
_KIND_OF = {
    "sbc": "board, phone", "edge": "board, phone", "phone": "board, phone", "soc": "other SoC", "igpu": "other SoC",
    "cpu": "processor alone", "gpu": "graphics card alone",
}  # fmt: skip
_HEADROOM = (0.06, 0.12, 0.18, 0.24, 0.3, 0.36)  # above the fastest band, the least that has room for all names
_PAD = 0.06  # beyond the points, as a share of the axis; labels go to the left of them and need more
_LABEL_PAD = 0.2


@dataclass(frozen=True, slots=True)
class Point:
    """A machine. x: the figure of the axis in its unit; mark: what kind of figure, '≤', 'tdp' or '?' for assumed.

    Speeds of decode [tok/s] with their 80 % band; price [USD], power [W], cost of a million decoded tokens [USD].
    dominated_by: another that is no worse in x and in speed, and better in one; '' on the frontier. label: how far its
    name stands above the point [px]; None for none.
    """

    hardware: str
    kind: str
    x: float
    mark: str
    decode_tok_s: float
    decode_low_tok_s: float
    decode_high_tok_s: float
    bound: str
    price_usd: float | None
    price_date: str
    price_basis: str
    power_w: float | None
    power_meaning: str
    usd_per_million: float | None
    not_covered: str
    dominated_by: str = ""
    label: int | None = None

    @property
    def at(self) -> tuple[float, float]:
        """Its place on logarithmic axes, as exponents of ten [1]."""
        return log10(self.x), log10(self.decode_tok_s)


@dataclass(frozen=True, slots=True)
class Pareto:
    """Machines by kind, and the frontier as a line of (x, tok/s) from the lowest to the fastest, ends included.

    x_ends, y_ends: of the axes, as exponents of ten [1]. notes: sentences.
    """

    title: str
    subtitle: str
    x_title: str
    groups: Mapping[str, tuple[Point, ...]]
    frontier: tuple[tuple[float, float], ...]
    x_ends: tuple[float, float]
    y_ends: tuple[float, float]
    notes: tuple[str, ...]

    def rows(self) -> list[dict[str, Any]]:
        """The points, those of the frontier first, the fastest first."""
        points = [point for group in self.groups.values() for point in group]
        return [asdict(one) for one in sorted(points, key=lambda one: (one.dominated_by != "", -one.decode_tok_s))]


def pareto(
    hardware: str,
    model: str,
    quant: str | None,
    x: X,
    terms: Terms,
    prices: Sequence[str] = (),
    most_count: int = 1,
    **words: Any,
) -> Pareto:
    """Machines that run a model, by decode speed and price, power or cost.

    hardware: a list with patterns, as for `compare`. A device that is too small stands there with the least memory that
    is enough, or with the fewest cards up to most_count. prices: '[ID=]USD', see comparison.price_list. words: the
    other arguments of points.single_point.

    Raises SpecError where no machine runs the model and has the figure.
    """
    for option, given in (("--model", model), ("--quant", quant or "")):
        if set(given) & set(",*?["):
            raise SpecError(f"{option}: expected one, since a small one is always faster, found {short(given)}")
    if not _workload(words).gen:
        raise SpecError("--gen: expected tokens to generate for a decode speed, found 0")
    chosen = {
        line.asked: _with_enough_memory(line, model, quant, most_count, words)
        for line in compare(hardware, model, quant, terms, **words)
    }
    names = list(dict.fromkeys(name for found in chosen.values() for name in found))
    replaced = {catalog.normalise(asked): found for asked, found in chosen.items() if asked not in names}
    of_them = {text: replaced.get(catalog.normalise(text.rpartition("=")[0])) for text in prices}
    used = [text for text, found in of_them.items() if not found]
    lines = compare(",".join(names), model, quant, terms, used, **words)
    points = [point for line in lines if (point := _point(line, x)) is not None]
    if not points:
        raise SpecError(_nothing(lines, x))
    judged = _judged(points)
    speeds = [speed for one in judged for speed in (one.decode_low_tok_s, one.decode_high_tok_s)]
    x_ends = ends([one.x for one in judged], _LABEL_PAD, _PAD)
    best = sorted((one for one in judged if not one.dominated_by), key=lambda one: (one.decode_tok_s, one.x))
    for above in _HEADROOM:
        y_ends = ends(speeds, _PAD, above)
        named = labels(best, x_ends, y_ends)
        if len(named) == len(best):
            break
    shown = [replace(one, label=named.get(one.hardware)) for one in judged]
    ready = next(line.prediction for line in lines if line.prediction is not None)
    return Pareto(
        title=f"Decode speed for {_FOR[x]}: {ready.model.name}, {ready.weights.quant}",
        subtitle=f"{_of(ready)}; {_counts(lines, judged, x)}",
        x_title=_AXES[x][1],
        groups={kind: own for kind in KINDS if (own := tuple(one for one in shown if one.kind == kind))},
        frontier=(
            (best[0].x, 10.0 ** y_ends[0]),
            *((one.x, one.decode_tok_s) for one in best),
            (10.0 ** x_ends[1], best[-1].decode_tok_s),
        ),
        x_ends=x_ends,
        y_ends=y_ends,
        notes=(*_notes(lines, judged, x, terms), *_unused(of_them)),
    )


def _unused(prices: Mapping[str, Sequence[str] | None]) -> Iterator[str]:
    """Prices of machines that are too small, and what stands there instead."""
    for text, instead in ((text, instead) for text, instead in prices.items() if instead):
        yield f"The price {text} is not used: too small, {listed(instead)} is there instead."


def _with_enough_memory(
    line: Line, model: str, quant: str | None, most_count: int, words: Mapping[str, Any]
) -> Sequence[str]:
    """The machine of a line; where it is too small, the least memory it is sold with, or the fewest cards, that fit."""
    if line.prediction is None or not line.reason or "+" in line.asked or words.get("disk"):
        return [line.asked]
    question = Question(
        (line.asked,),
        (model,),
        None if quant is None else (quant,),
        words["runtime"],
        words["backend"],
        tuple(count for count in COUNTS if count <= most_count),
    )
    found, _ = candidates(question, _workload(words), Terms())
    return [one.hardware for one in found if one.fits] or [line.asked]


def _workload(words: Mapping[str, Any]) -> Workload:
    """What is asked for; SpecError where the words list several."""
    return one_workload(
        **{key: words[key] for key in ("prompt", "gen", "depth", "batch", "ctx", "kv", "flash_attention")}
    )


def _point(line: Line, x: X) -> Point | None:
    """The point of a line that runs and has the figure of the axis."""
    prediction = line.prediction
    if prediction is None or line.reason or prediction.decode is None:
        return None
    figure = {"price": line.price, "watts": line.power_w, "cost": line.decode.usd_per_million}[x]
    if not figure:  # what costs nothing has no place on a logarithmic axis
        return None
    decode = prediction.decode
    mark = power_mark(line.power_meaning) if x == "watts" else "?" if line.price_basis == "assumed" else ""
    placed = prediction.placement is not None and prediction.placement.host is not None
    return Point(
        hardware=line.hardware if "+" in line.hardware else line.asked,
        kind="cards and host" if placed else _kind(prediction.machine.hardware),
        x=figure,
        mark=mark,
        decode_tok_s=float(decode.tok_s),
        decode_low_tok_s=float(decode.low_tok_s),
        decode_high_tok_s=float(decode.high_tok_s),
        bound=str(decode.bound),
        price_usd=line.price,
        price_date=line.price_date,
        price_basis=line.price_basis,
        power_w=line.power_w,
        power_meaning=line.power_meaning or "",
        usd_per_million=line.decode.usd_per_million,
        not_covered=line.left_out,
    )


def _kind(hardware: Hardware) -> str:
    is_mac = hardware.kind == "soc" and hardware.vendor == "Apple"
    return "Mac" if is_mac else _KIND_OF.get(hardware.kind, "other SoC")


#: What makes a machine better: less of x, more speed.
_CRITERIA: tuple[Criterion[Point], ...] = (
    ("x", lambda one: one.x, False),
    ("decode", lambda one: one.decode_tok_s, True),
)


def _judged(points: Sequence[Point]) -> list[Point]:
    """The points, each with one that dominates it."""
    found = [(one, dominating(one, points, _CRITERIA)) for one in points]
    return [replace(one, dominated_by=other.hardware if other else "") for one, other in found]


# -- words ------------------------------------------------------------------------------------------------------------


def _of(prediction: Prediction) -> str:
    """The workload that the speeds are of."""
    workload = prediction.workload
    found = [f"{float(workload.gen):.0f} tokens after {float(workload.prompt + workload.depth):.0f}"]
    if float(workload.batch) > 1:
        found.append(f"{float(workload.batch):.0f} sequences at a time")
    return ", ".join([*found, prediction.machine.runtime.name])


def _left_out(lines: Sequence[Line], x: X) -> dict[str, list[str]]:
    """Names of what is not drawn by the reason."""
    found: dict[str, list[str]] = {}
    for line in lines:
        if _point(line, x) is None:
            reason = line.reason if line.prediction is not None and line.reason else f"no {_UNKNOWN[x]}"
            found.setdefault("cannot be predicted" if line.prediction is None else reason, []).append(
                line.hardware if line.prediction is not None else line.asked
            )
    return found


def _counts(lines: Sequence[Line], points: Sequence[Point], x: X) -> str:
    """'84 of 181 machines: 92 with no known price, 4 do not fit'."""
    missing = [f"{_PLURAL.get(reason, reason)}: {len(names)}" for reason, names in _left_out(lines, x).items()]
    of = f"{len(points)} of {len(lines)} machines" if missing else f"{len(points)} machines"
    return f"{of} ({', '.join(missing)})" if missing else of


def _notes(lines: Sequence[Line], points: Sequence[Point], x: X, terms: Terms) -> list[str]:
    """What the frontier is, what the figures are of, and what is not drawn."""
    found = ["On the line are the machines that no other equals in both figures and beats in one."]
    marks = {one.mark for one in points} - {""}
    legend = [text for mark, text in LEGEND.items() if mark in marks]
    found += [f"Marks: {'; '.join(legend)}."] if legend else []
    if x == "watts":
        meanings = [one.power_meaning for one in points]
        counted = [f"{meanings.count(name)} {name}" for name in dict.fromkeys(meanings)]
        found.append(f"The power figures are: {', '.join(counted)}.")
    for without in dict.fromkeys(one.not_covered for one in points if one.not_covered):
        names = [one.hardware for one in points if one.not_covered == without]
        found.append(f"Price and power are of {without}: {listed(names)}.")
    if x == "cost":
        found.append(f"Cost: {terms_words(terms)}.")
    for reason, names in _left_out(lines, x).items():
        found.append(f"Not drawn, {_PLURAL.get(reason, reason)}: {listed(names)}.")
    return found


def _nothing(lines: Sequence[Line], x: X) -> str:
    missing = _left_out(lines, x).items()
    reasons = "; ".join(f"{_PLURAL.get(reason, reason)}: {listed(names)}" for reason, names in missing)
    return f"--hw: expected a machine that runs the model and has a known {_UNKNOWN[x]}, found none ({reasons})"
