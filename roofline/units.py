"""Quantities as text and as SI floats. The only module that knows a prefix.

A quantity is a number, an optional SI or binary prefix, and a unit: ``"3.35 TB/s"``, ``"24 GiB"``, ``"2.4 GHz"``.
Inside the library every figure is a plain float in the base unit (B, B/s, FLOP/s, Hz, s, W); text exists at the
file boundary and in reports. GB and GiB are different words: 1 GB = 10⁹ B, 1 GiB = 2³⁰ B.
"""

from __future__ import annotations

import math
import re

# Both tables are derived from one rule each, so that no hand-typed power can be wrong.
SI_PREFIXES = {"": 1.0} | {prefix: 1e3 ** (power + 1) for power, prefix in enumerate("kMGTPE")}
SMALL_PREFIXES: dict[str, float] = {prefix: 1e3 ** -(power + 1) for power, prefix in enumerate(["m", "µ", "n", "p"])}
_MICRO = dict.fromkeys(("u", "μ"), SMALL_PREFIXES["µ"])  # plain letter and Greek mu
BINARY_PREFIXES = {f"{prefix.upper()}i": 2.0 ** (10 * (power + 1)) for power, prefix in enumerate("kMGTPE")}
_WITH_SMALL_PREFIXES = ("s", "W")  # nobody means milli-bytes
_ALIASES = {"K": 1e3}  # "KB" is a common spelling

#: The base units: what a spelling counts, written as in this library's tables.
UNITS = ("FLOP/s", "FLOP", "B/s", "B", "T/s", "Hz", "s", "W", "USD", "bit", "%", "bpw", "token")
_SPELLINGS = {
    "FLOPS": "FLOP/s",
    "FLOPs/s": "FLOP/s",
    "flop/s": "FLOP/s",
    # Datasheets write TOPS for integers; an operation counts like a FLOP here.
    "OP/s": "FLOP/s",
    "OPS": "FLOP/s",
    "OPs/s": "FLOP/s",
    "ops/s": "FLOP/s",
    "bytes": "B",
    "bytes/s": "B/s",
    "bits": "bit",
    "$": "USD",
}
# A comma separates thousands, three digits at a time: "17,1" is refused, since it might mean 17.1.
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d[\d_]*)(?:\.\d*)?|\.\d+"
_QUANTITY = re.compile(rf"^\s*([+-]?(?:{_NUMBER})(?:[eE][+-]?\d+)?)\s*([^\s\d,]\S*|)\s*$")
#: Plain numbers that formulas elsewhere need. A year is a Julian one, 365.25 days.
MILLION = SI_PREFIXES["M"]
HOUR = 3600.0  # [s]
DAY = 24 * HOUR  # [s]
KWH = SI_PREFIXES["k"] * HOUR  # [J]
_DURATIONS = {
    "s": 1.0,
    "h": HOUR,
    "d": DAY,
    "w": 7 * DAY,
    "mo": 365.25 / 12 * DAY,
    "y": 365.25 * DAY,
}
LONGEST = 100  # characters of a quantity; numbers of thousands of digits are no figures


class UnitError(ValueError):
    """A text that is not a quantity of the expected unit."""


def parse(text: str | float, unit: str) -> float:
    """The value of ``text`` in the base unit ``unit``; a bare number is taken to be in that unit already.

    >>> parse("24 GB", "B")
    24000000000.0
    >>> parse("64 KiB", "B")
    65536.0

    Raises UnitError, naming both units, when the text is no number, not finite, or of another unit.
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        value, factor = _as_float(text, unit), 1.0
    else:
        match = _QUANTITY.match(text) if isinstance(text, str) and len(text) <= LONGEST else None
        if match is None:
            raise UnitError(f"expected a quantity in {unit}, such as {_example(unit)!r}, found {short(text)}")
        value, factor = float(match[1].replace(",", "").replace("_", "")), _factor(match[2], unit, str(text))
    if not math.isfinite(value * factor):
        raise UnitError(f"expected a finite quantity in {unit}, found {short(text)}")
    return value * factor


def _as_float(number: float, unit: str) -> float:
    try:
        return float(number)
    except OverflowError:
        raise UnitError(f"expected a finite quantity in {unit}, found an integer beyond floats") from None


def short(value: object, limit: int = 60) -> str:
    """A value as messages quote it: its repr, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, or nesting without end
        return f"a huge {type(value).__name__}"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _factor(suffix: str, unit: str, text: str) -> float:
    """What one ``suffix`` ("GB/s", "GiB", "") is worth in ``unit``."""
    if suffix == "":
        return 1.0
    spellings = [unit, *(spelling for spelling, base in _SPELLINGS.items() if base == unit)]
    for spelling in spellings:
        if suffix.endswith(spelling):
            prefix = suffix[: len(suffix) - len(spelling)]
            small = [SMALL_PREFIXES, _MICRO] if unit in _WITH_SMALL_PREFIXES else []
            for table in (SI_PREFIXES, BINARY_PREFIXES, _ALIASES, *small):
                if prefix in table:
                    return table[prefix]
    raise UnitError(f"expected a quantity in {unit}, such as {_example(unit)!r}, found {text!r}")


def _example(unit: str) -> str:
    examples = {"B": "8 GB", "B/s": "17.1 GB/s", "FLOP/s": "82.6 TFLOP/s", "Hz": "2.4 GHz"}
    return examples.get(unit, {"T/s": "4267 MT/s", "s": "3 µs", "W": "65 W", "USD": "599 USD"}.get(unit, f"1 {unit}"))


def count(text: str | int) -> int:
    """A whole number with an optional binary suffix, as in context lengths: ``"4096"``, ``"32k"`` = 32 × 1024."""
    match = (
        re.fullmatch(r"\s*(\d{1,3}(?:,\d{3}){1,5}|\d[\d_]{0,17})\s*([kKmM]?)i?\s*", str(text))
        if len(short(text)) < LONGEST
        else None
    )
    if match is None:
        raise UnitError(f"expected a whole number such as 4096 or 4k, found {short(text)}")
    power = {"": 0, "k": 10, "m": 20}[match[2].lower()]
    return int(match[1].replace("_", "").replace(",", "")) << power


def duration(text: str) -> float:
    """Seconds of a span of use: ``"3y"``, ``"18mo"``, ``"2w"``, ``"90 d"``, ``"8h"``; a year has 365.25 days."""
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{0,9})?)\s*(s|h|d|w|mo|y)\s*", text) if len(text) <= LONGEST else None
    if match is None:
        raise UnitError(f"expected a duration such as 3y, 18mo, 90d or 8h, found {short(text)}")
    return float(match[1]) * _DURATIONS[match[2]]


def format_quantity(value: float, unit: str, digits: int = 3, binary: bool = False) -> str:
    """``value`` (base unit) with the prefix that leaves 1 to 999 before the point: ``"17.1 GB/s"``, ``"4.00 GiB"``."""
    if not math.isfinite(value):
        return f"{value} {unit}"
    table = {"": 1.0, **BINARY_PREFIXES} if binary else SI_PREFIXES
    # Rounding first: 0.9999 s is 1.00 s, not 1000 ms.
    rounded = abs(round_digits(value, digits))
    if 0 < rounded < 1 and unit in _WITH_SMALL_PREFIXES:
        table = SMALL_PREFIXES
    fitting = [prefix for prefix, factor in table.items() if round_digits(abs(value) / factor, digits) >= 1]
    prefix = max(fitting, key=lambda name: table[name]) if fitting else min(table, key=lambda name: table[name])
    return f"{format_number(value / table[prefix], digits)} {prefix}{unit}"


def format_duration(seconds: float) -> str:
    """Seconds with a small prefix or none: "410 ms", "115 s"; from a thousand on in words of the clock: "35.2 min"."""
    for name, size, least in (("d", DAY, 2 * DAY), ("h", HOUR, 2 * HOUR), ("min", HOUR / 60, SI_PREFIXES["k"])):
        if math.isfinite(seconds) and round_digits(seconds, 3) >= least:
            return f"{format_number(seconds / size)} {name}"
    return format_quantity(seconds, "s")


def round_digits(value: float, digits: int) -> float:
    """``value`` rounded to ``digits`` significant digits."""
    return float(f"{value:.{digits}g}")


def format_number(value: float, digits: int = 3) -> str:
    """Plain decimals with ``digits`` significant digits, never an exponent: 1234.5 → "1234", 2.5 → "2.50"."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(round_digits(value, digits))))
    return f"{value:.{max(decimals, 0)}f}"
