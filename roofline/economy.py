"""Energy and money: what a token costs on a machine that is bought, or rented by the hour.

    J/token   = P / (tok/s)
    USD/token = (P · tariff + price / (lifetime · utilisation)) / (tok/s)      owned
    USD/token = hourly rate / (3600 s · utilisation) / (tok/s)                 rented

Every function takes scalars and arrays. Power is drawn while tokens are made: an idle machine is bought, not heated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from roofline.hardware import Hardware
from roofline.spec import Figure, MemorySize, SpecError
from roofline.units import HOUR, KWH, MILLION, duration, format_number, short
from roofline.workload import Real

#: How long a machine is used, and for which share of that time, where nobody says: customs, not measurements.
LIFETIME = "3y"
LIFETIME_S = duration(LIFETIME)  # [s]
UTILISATION = 0.3

#: What a power figure says of the draw. measured: under load. limit: the most that the board, or the package with its
#: turbo, is allowed. tdp: a thermal design figure, which a processor may exceed and which leaves out its memory.
PowerMeaning = Literal["measured", "limit", "tdp", "assumed", "override"]
#: Settings of a package above its nominal power; the highest one is what it may draw.
_HIGHEST = ("maximum", "turbo")
_MARKS: dict[PowerMeaning, str] = {"measured": "", "limit": "≤", "tdp": "tdp", "assumed": "?", "override": ""}


@dataclass(frozen=True, slots=True)
class Terms:
    """How a machine is paid for. kwh: price of a kilowatt-hour [USD], None where energy is not counted.

    lifetime_s: how long it is used [s]. utilisation: share of that time, or of a rented hour, in which it makes
    tokens [1]; None is UTILISATION of an owned and all of a rented machine. per_hour: rent, energy included [USD/h].
    """

    kwh: float | None = None
    lifetime_s: float = LIFETIME_S
    utilisation: float | None = None
    per_hour: float | None = None

    @property
    def used(self) -> float:
        """The share of the time that holds: the one that was given, else the custom [1]."""
        if self.utilisation is not None:
            return self.utilisation
        return UTILISATION if self.per_hour is None else 1.0


def terms(
    kwh: float | None = None,
    lifetime: str = LIFETIME,
    utilisation: float | None = None,
    per_hour: float | None = None,
) -> Terms:
    """Terms from the words of the command line; SpecError for what is none."""
    for option, value in (("kwh", kwh), ("per-hour", per_hour)):
        if value is not None and not 0 <= value <= MILLION:
            raise SpecError(f"--{option}: expected a price in USD from 0 to {MILLION:g}, found {value:g}")
    if utilisation is not None and not 0 < utilisation <= 1:
        raise SpecError(f"--utilisation: expected a share above 0 and up to 1, found {utilisation:g}")
    if per_hour is not None and kwh is not None:
        raise SpecError("--per-hour: expected no --kwh beside it, since the rent includes the energy, found both")
    if per_hour is not None and lifetime != LIFETIME:
        raise SpecError("--per-hour: expected no --lifetime beside it, since nothing is bought, found both")
    try:
        seconds = duration(lifetime)
    except ValueError as error:
        raise SpecError(f"--lifetime: {error}") from None
    if not HOUR <= seconds <= duration("100y"):
        raise SpecError(f"--lifetime: expected 1h to 100y, found {short(lifetime)}")
    return Terms(kwh, seconds, utilisation, per_hour)


# -- what the hardware files say --------------------------------------------------------------------------------------


def units_of(hardware: Hardware) -> int:
    """How many times a file's price and power are paid: cards, or sockets, whose file is of one [1]."""
    sockets = hardware.cpu.sockets if hardware.cpu and hardware.kind == "cpu" else 1
    return hardware.count * sockets


def power_of(hardware: Hardware) -> Figure | None:
    """What all units may draw together [W], the highest setting that the file states; None where it states none."""
    figure: Figure | None = hardware.power
    if figure is None or figure.basis not in ("override", "measured"):
        stated = [*([figure] if figure else []), *_highest(hardware)]
        figure = max(stated, key=lambda one: one.value) if stated else None
    return None if figure is None else _together(figure, units_of(hardware))


def power_meaning(hardware: Hardware) -> PowerMeaning | None:
    """What power_of says of the draw; None where there is no figure."""
    figure = hardware.power
    if figure is not None and figure.basis in ("measured", "assumed", "override"):
        return figure.basis
    if _highest(hardware) or (figure is not None and hardware.kind == "gpu"):
        return "limit"
    return None if figure is None else "tdp"


def _highest(hardware: Hardware) -> list[Figure]:
    """The settings above the nominal power that the file states."""
    return [hardware.power_options[name] for name in _HIGHEST if name in hardware.power_options]


def power_mark(meaning: PowerMeaning | None) -> str:
    """How a table marks a figure that rests on such a power: '≤' for a bound, 'tdp', '?', or nothing."""
    return _MARKS[meaning] if meaning else ""


def price_of(hardware: Hardware) -> Figure | None:
    """What all units cost together [USD]; None where the file does not say, or not for this size of memory."""
    figure: Figure | None = hardware.price
    capacity = hardware.memory.capacity
    sizes = {MemorySize.model_validate(key).value: key for key in hardware.price_options if key.endswith("GB")}
    overridden = figure is not None and figure.basis == "override"
    if capacity is not None and not overridden:
        if capacity.value in sizes:
            figure = hardware.price_options[sizes[capacity.value]]
        elif capacity.basis == "override" and hardware.memory.limit is None:
            figure = None  # soldered memory of another size than the price is for
    return _together(figure, units_of(hardware)) if figure is not None else None


def _together(figure: Figure, units: int) -> Figure:
    if units == 1:
        return figure
    text = f"{units} × {figure}"
    return figure.model_copy(update={"value": figure.value * units, "text": text, "basis": "derived"})


def source_of(hardware: Hardware, figure: Figure) -> str:
    """Title and address of what states a figure; '' where nothing does."""
    found = hardware.sources.get(figure.source)
    return "" if found is None else f"{found.title} ({found.url})" if found.url else found.title


def price_covers(hardware: Hardware) -> str:
    """What the price and the power are of: '' for a whole machine, else what they leave out."""
    if hardware.kind == "gpu":
        return "the card alone, without the machine around it"
    return "the processor alone, without board and memory" if hardware.kind == "cpu" else ""


# -- formulas ---------------------------------------------------------------------------------------------------------


def joules_per_token(power_w: Real, tok_s: Real) -> Real:
    """Energy of a token [J]: power [W] by speed [1/s]."""
    return power_w / tok_s


def tokens_per_kwh(power_w: Real, tok_s: Real) -> Real:
    """Tokens that a kilowatt-hour makes [1/kWh]."""
    return KWH / joules_per_token(power_w, tok_s)


def cost_per_second(
    *,
    price: Real | None = None,
    power_w: Real | None = None,
    kwh: Real | None = None,
    lifetime_s: Real = LIFETIME_S,
    utilisation: Real | None = None,
    per_hour: Real | None = None,
) -> Real | None:
    """What a second of making tokens costs [USD/s]: rent, or energy and depreciation so far as they are known.

    price [USD], power_w [W], kwh [USD/kWh], lifetime_s [s], utilisation [1], per_hour [USD/h]: see Terms. None where
    nothing is known.
    """
    if per_hour is not None:
        return per_hour / HOUR / (1.0 if utilisation is None else utilisation)
    energy = None if power_w is None or kwh is None else power_w * kwh / KWH
    depreciation = (
        None if price is None else price / (lifetime_s * (UTILISATION if utilisation is None else utilisation))
    )
    if energy is None or depreciation is None:
        return depreciation if energy is None else energy
    return energy + depreciation


def cost_per_million(
    tok_s: Real,
    *,
    price: Real | None = None,
    power_w: Real | None = None,
    kwh: Real | None = None,
    lifetime_s: Real = LIFETIME_S,
    utilisation: Real | None = None,
    per_hour: Real | None = None,
) -> Real | None:
    """Cost of a million tokens at tok_s [1/s] in USD; see cost_per_second for the rest. None where nothing is known."""
    second = cost_per_second(
        price=price, power_w=power_w, kwh=kwh, lifetime_s=lifetime_s, utilisation=utilisation, per_hour=per_hour
    )
    return None if second is None else per_million(second, tok_s)


def per_million(second: Real, tok_s: Real) -> Real:
    """Cost of a million tokens at tok_s [1/s] where a second costs `second` [USD/s], in USD."""
    return MILLION * second / tok_s


def usd_per_million(paid: Terms, tok_s: Real, price: float | None, power_w: float | None) -> Real | None:
    """Cost of a million tokens at tok_s [1/s] under terms, in USD; price [USD], power_w [W].

    None without a figure that the terms ask for: a part of the cost is not the cost.
    """
    if paid.per_hour is None and (price is None or (paid.kwh is not None and power_w is None)):
        return None
    return cost_per_million(
        tok_s,
        price=price,
        power_w=power_w,
        kwh=paid.kwh,
        lifetime_s=paid.lifetime_s,
        utilisation=paid.utilisation,
        per_hour=paid.per_hour,
    )


def _percent(share: float) -> str:
    return f"{format_number(100 * share, 2)} %"


def terms_words(paid: Terms) -> str:
    """The terms in words, for the foot of a table."""
    if paid.per_hour is not None:
        used = f", {_percent(paid.utilisation)} of it used" if paid.utilisation is not None else ""
        return f"rented at {format_number(paid.per_hour)} USD an hour{used}"
    years = format_number(paid.lifetime_s / duration("1y"), 2)
    owned = f"price over {years} years, used {_percent(paid.used)} of the time"
    energy = f", and energy at {format_number(paid.kwh)} USD/kWh" if paid.kwh is not None else ", energy not counted"
    return owned + energy
