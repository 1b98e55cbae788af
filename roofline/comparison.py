"""Machines side by side: speeds with their bands, energy and money, for the same model and workload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

from roofline import api, catalog
from roofline.economy import (
    PowerMeaning,
    Terms,
    joules_per_token,
    power_meaning,
    power_of,
    price_covers,
    price_of,
    source_of,
    tokens_per_kwh,
    usd_per_million,
)
from roofline.hardware import Hardware
from roofline.points import MAX_POINTS, expand, single_point
from roofline.prediction import Phase, Prediction
from roofline.quantization import ids
from roofline.spec import Figure, SpecError
from roofline.units import UnitError, parse, short

Order = Literal["decode", "prefill", "price", "cost", "energy"]


@dataclass(frozen=True, slots=True)
class Economy:
    """What a phase costs on a machine; None where a figure that it needs is unknown.

    j_per_token [J], tokens_per_kwh [1/kWh], usd_per_million: of tokens [USD], tok_s_per_usd [1/s/USD]. low and high of
    each follow the band of the speed.
    """

    j_per_token: float | None = None
    low_j_per_token: float | None = None
    high_j_per_token: float | None = None
    tokens_per_kwh: float | None = None
    usd_per_million: float | None = None
    low_usd_per_million: float | None = None
    high_usd_per_million: float | None = None
    tok_s_per_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One machine with one model and quantisation. reason: why there are no speeds; '' where there are.

    power_w: what all devices may draw [W], as power_meaning says. price: of all of them [USD], held at price_date;
    price_basis as in the hardware file, 'override' where it was given. power_source, price_source: who says so.
    left_out: what price and power do not cover. asked: the machine in the words of the command line.
    """

    hardware: str
    model: str
    quant: str
    prediction: Prediction | None = None
    asked: str = ""
    reason: str = ""
    power_w: float | None = None
    power_meaning: PowerMeaning | None = None
    price: float | None = None
    price_date: str = ""
    price_basis: str = ""
    power_source: str = ""
    price_source: str = ""
    left_out: str = ""
    prefill: Economy = field(default_factory=Economy)
    decode: Economy = field(default_factory=Economy)


def compare(
    hardware: str,
    models: str,
    quants: str | None,
    terms: Terms,
    prices: Sequence[str] = (),
    order: Order = "decode",
    **words: Any,
) -> list[Line]:
    """A line for every machine, model and quantisation that the lists name, the best by `order` first.

    hardware, models, quants: lists with commas, whose parts may be patterns ('rtx-40*'). prices: '[ID=]USD', see
    price_list. words: the other arguments of points.single_point. What cannot be predicted is a line with its reason.

    Raises SpecError for a pattern that nothing matches, and where all lines fail for one reason.
    """
    machines = expand("hw", hardware, api.list_hardware())
    which = expand("model", models, api.list_models())
    stored = [None] if quants is None else expand("quant", quants, list(ids()))
    combinations = list(product(machines, which, stored))
    if len(combinations) > MAX_POINTS:
        raise SpecError(f"--hw, --model, --quant: expected at most {MAX_POINTS} lines, found {len(combinations)}")
    given = price_list(prices)
    lines = [_line(hw, model, quant, terms, given, words) for hw, model, quant in combinations]
    _check_used(prices, {catalog.normalise(name) for line in lines for name in (line.hardware, line.asked)})
    failures = {line.reason for line in lines if line.prediction is None}
    if len(failures) == 1 and all(line.prediction is None for line in lines):
        raise SpecError(failures.pop())
    return sorted(lines, key=lambda line: _rank(line, order))


def price_list(prices: Sequence[str]) -> dict[str, float]:
    """['900', 'rtx-3090x2=1500'] → USD by the normalised id of a line, '' for all others; of all that stands in it.

    A machine that is there already costs 0: then its tokens cost energy alone.
    """
    found = {}
    for text in prices:
        name, _, price = text.rpartition("=")
        try:
            value = parse(price, "USD")
        except UnitError as error:
            raise SpecError(f"--price: {error}") from None
        if not 0 <= value <= api.MOST:
            raise SpecError(f"--price: expected a price in USD, 0 or more, found {short(price)}")
        found[catalog.normalise(name)] = value
    return found


def _check_used(prices: Sequence[str], compared: Set[str]) -> None:
    """SpecError for a price of what is not among the normalised names of machines."""
    for name in (text.rpartition("=")[0].strip() for text in prices):
        if name and catalog.normalise(name) not in compared:
            raise SpecError(f"--price: expected the id of a machine that is compared, found {short(name)}")


def _line(
    hw: str, model: str, quant: str | None, terms: Terms, prices: Mapping[str, float], words: Mapping[str, Any]
) -> Line:
    """What is expected of one machine with one model and quantisation."""
    try:
        prediction = single_point(hw, model, quant, **words)
    except SpecError as error:
        return Line(hw, model, quant or "", asked=hw, reason=str(error))
    names = prediction.names
    parts = _parts(prediction)
    drawn, costs = [power_of(part) for part in parts], [price_of(part) for part in parts]
    power = None if None in drawn else sum(figure.value for figure in drawn if figure)
    price = None if None in costs else sum(figure.value for figure in costs if figure)
    dates = [getattr(figure, "date", "") for figure in costs if figure]
    basis = "assumed" if any(figure and figure.basis == "assumed" for figure in costs) else "stated"
    own = prices.get(catalog.normalise(names["hardware"]), prices.get(catalog.normalise(hw), prices.get("")))
    if own is not None:
        price, dates, basis = own, [], "override"
    runs = prediction.runs
    return Line(
        names["hardware"],
        names["model"],
        prediction.weights.quant,
        prediction,
        asked=hw,
        reason="" if runs else "does not fit",
        power_w=power,
        power_meaning=_weakest([power_meaning(part) for part in parts]) if power is not None else None,
        price=price,
        price_date=min(filter(None, dates), default="") if price is not None else "",
        price_basis=basis if price is not None else "",
        power_source=_sources(parts, drawn) if power is not None else "",
        price_source=_sources(parts, costs) if price is not None and own is None else "",
        left_out=_left_out(parts),
        prefill=economy(prediction.prefill, power, price, terms) if runs else Economy(),
        decode=economy(prediction.decode, power, price, terms) if runs else Economy(),
    )


def _parts(prediction: Prediction) -> list[Hardware]:
    """What is bought: the device, or several, and the host where it is a part of its own."""
    hardware, placement = prediction.machine.hardware, prediction.placement
    if placement is None:
        return [hardware]
    found = [one.hardware for one in placement.devices]
    host = placement.host.hardware if placement.host else hardware
    return found if host.name == hardware.name else [*found, host]


def _sources(parts: Sequence[Hardware], figures: Sequence[Figure | None]) -> str:
    """What states the figures of the parts, each once."""
    named = [source_of(part, figure) for part, figure in zip(parts, figures, strict=True) if figure]
    return "; ".join(dict.fromkeys(filter(None, named)))


def _left_out(parts: Sequence[Hardware]) -> str:
    """What price and power do not cover: see economy.price_covers."""
    without = list(dict.fromkeys(filter(None, map(price_covers, parts))))
    return "card and processor alone, without board and memory" if len(without) > 1 else "".join(without)


def _weakest(meanings: Sequence[PowerMeaning | None]) -> PowerMeaning | None:
    """What a sum of powers says: no more than its vaguest part."""
    vague: tuple[PowerMeaning, ...] = ("assumed", "tdp", "limit", "override", "measured")
    return next((meaning for meaning in vague if meaning in meanings), None)


def economy(phase: Phase | None, power_w: float | None, price: float | None, terms: Terms) -> Economy:
    """Energy and money of a phase of one point; power_w [W], price [USD]."""
    if phase is None:
        return Economy()
    speed, low, high = float(phase.tok_s), float(phase.low_tok_s), float(phase.high_tok_s)
    energy: dict[str, float] = {}
    if power_w is not None:
        energy = {
            "j_per_token": float(joules_per_token(power_w, speed)),
            "low_j_per_token": float(joules_per_token(power_w, high)),
            "high_j_per_token": float(joules_per_token(power_w, low)),
            "tokens_per_kwh": float(tokens_per_kwh(power_w, speed)),
        }
    at = {"usd_per_million": speed, "low_usd_per_million": high, "high_usd_per_million": low}
    paid = {name: usd_per_million(terms, tok_s, price, power_w) for name, tok_s in at.items()}
    costs = {name: float(cost) for name, cost in paid.items() if cost is not None}
    # What was a gift has no speed by its price.
    return Economy(**energy, **costs, tok_s_per_usd=speed / price if price else None)


def _rank(line: Line, order: Order) -> tuple[bool, float]:
    """Where a line stands: what has no such figure comes last, the rest best first."""
    prediction = line.prediction if not line.reason else None
    phase = prediction and (prediction.prefill if order == "prefill" else prediction.decode)
    figure = {
        "decode": -float(phase.tok_s) if phase else None,
        "prefill": -float(phase.tok_s) if phase else None,
        "price": line.price,
        "cost": line.decode.usd_per_million,
        "energy": line.decode.j_per_token,
    }[order]
    return figure is None, 0.0 if figure is None else figure
