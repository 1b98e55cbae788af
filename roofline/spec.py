"""What every specification file is made of: frozen pydantic models, figures with a source, one-line errors.

A *figure* is a physical quantity together with where it comes from. In TOML it is written in the source's own words::

    bandwidth = { value = "17.1 GB/s", source = "wikipedia", basis = "derived" }

and read into the base unit. There is one parser, pydantic's own validation, and unknown keys are errors, so that a
misspelt field cannot be lost in silence.
"""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from roofline import units

#: datasheet: stated by the maker or a database that copies the maker. derived: computed from other figures.
#: measured: by a benchmark. assumed: not confirmed by any source. override: given on the command line.
Basis = Literal["datasheet", "derived", "measured", "assumed", "override"]


class SpecError(ValueError):
    """Bad input, told in one line: file, field, what was expected, what was found.

    Control characters are escaped, so that a hostile name cannot write to the terminal.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class Spec(BaseModel):
    """Base of everything read from a file: immutable, and strict about unknown keys."""

    # Schemas are built when a file of that kind is first read: a command reads few kinds.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Source(Spec):
    """Where a figure can be checked."""

    title: str
    url: str = ""
    retrieved: str = ""


class Figure(Spec):
    """A quantity in ``unit`` with its source. ``text`` keeps the words of the file for the reader's eye."""

    unit: ClassVar[str] = ""
    least: ClassVar[float] = 0.0  # what no such quantity is below or above: a slip of the unit, or an attack
    most: ClassVar[float] = math.inf
    value: float
    text: str = ""
    source: str = ""
    basis: Basis = "datasheet"
    note: str = ""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        # A bare "17.1 GB/s" is allowed where a person overrides a figure; files give a table with a source.
        table = dict(data) if isinstance(data, dict) else {"value": data}
        if "value" in table:
            text = table["value"]
            try:
                if cls.unit and (not isinstance(text, str) or re.fullmatch(r"\s*[\d.,_]+\s*", text)):
                    raise units.UnitError(f"expected a quantity with its unit, {cls.unit}, found {units.short(text)}")
                table["value"] = units.parse(text, cls.unit) if cls.unit else float(text)
            except (TypeError, ValueError) as error:
                raise ValueError(str(error)) from None
            table.setdefault("text", text if isinstance(text, str) else "")
        return table

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if not 0 < self.value < math.inf:
            raise ValueError(f"expected a positive quantity in {self.unit or 'plain numbers'}, found {self.value:g}")
        if not self.least <= self.value <= self.most:
            limits = f"{units.format_quantity(self.least, self.unit)} to {units.format_quantity(self.most, self.unit)}"
            raise ValueError(f"expected a quantity from {limits}, found {self.text or f'{self.value:g} {self.unit}'}")
        return self

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return self.text or units.format_quantity(self.value, self.unit)


class Bytes(Figure):
    """A capacity [B]."""

    unit = "B"
    least, most = 1.0, 1e18


class MemorySize(Bytes):
    """What memory modules hold [B]: a maker's GB of memory is 2³⁰ bytes (JEDEC Standard 100B.01, mega, giga).

    A card of "24 GB" reports 24 GiB. Bandwidths and files have the decimal GB of the other units.
    """

    @model_validator(mode="before")
    @classmethod
    def _binary(cls, data: Any) -> Any:
        table = dict(data) if isinstance(data, dict) else {"value": data}
        if isinstance(table.get("value"), str):
            table.setdefault("text", table["value"])
            table["value"] = re.sub(r"(?<=[\d\s])([kMGTP])B\s*$", r"\1iB", table["value"])
        return table


class Bandwidth(Figure):
    """A data rate [B/s]."""

    unit = "B/s"
    least, most = 1e3, 1e18


class Compute(Figure):
    """An arithmetic peak [FLOP/s]: a multiply-add counts as 2, and an integer operation like a FLOP."""

    unit = "FLOP/s"
    least, most = 1e3, 1e24


class Frequency(Figure):
    """A clock [Hz]."""

    unit = "Hz"
    least, most = 1e3, 1e13


class Transfers(Figure):
    """A memory bus's rate [T/s]: transfers per second and pin."""

    unit = "T/s"
    least, most = 1e3, 1e15


class Power(Figure):
    """Electrical power [W]."""

    unit = "W"


class Price(Figure):
    """A price [USD]. date: when it held, as YYYY, YYYY-MM or YYYY-MM-DD: the launch, or the source's date."""

    unit = "USD"
    least, most = 0.01, 1e9
    date: str = ""

    @model_validator(mode="after")
    def _dated(self) -> Self:
        if self.date and not re.fullmatch(r"(19|20)\d\d(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?", self.date):
            raise ValueError(f"date: expected YYYY, YYYY-MM or YYYY-MM-DD, found {units.short(self.date)}")
        return self


class Number(Figure):
    """A plain number with a source, for example operations per cycle and core."""

    unit = ""
    most = 1e18


SpecType = TypeVar("SpecType", bound=Spec)


MOST_DOTS = 500


def read_toml(path: Path, limit: int = 1_000_000) -> dict[str, Any]:
    """The tables of a TOML file of at most ``limit`` bytes; SpecError names the file and the line."""
    name = _shorten(str(path), 200)
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise SpecError(f"{name}: expected a readable TOML file, found: {error.strerror or error}") from None
    except ValueError as error:  # a NUL in the name
        raise SpecError(f"{name}: expected a readable TOML file, found: {error}") from None
    if len(data) > limit:
        raise SpecError(f"{name}: expected a specification of at most {limit:,} bytes, found a larger file")
    # tomllib keeps every prefix of a dotted key, in memory that grows with the square of its parts.
    if max(line.count(b".") for line in data.split(b"\n")) > MOST_DOTS:
        raise SpecError(f"{name}: expected TOML with at most {MOST_DOTS} dots a line, found more")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # also an integer of thousands of digits
        raise SpecError(f"{name}: expected TOML in UTF-8, found: {_shorten(str(error), 200)}") from None


def validate(kind: type[SpecType], data: dict[str, Any], where: str | Path) -> SpecType:
    """``data`` as a ``kind``; SpecError is one line that names ``where``, the field, the expected and the found."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise SpecError(f"{where}: {describe(error)}") from None
    except (RecursionError, OverflowError) as error:
        raise SpecError(f"{where}: expected a plain {kind.__name__} table, found: {one_line(str(error))}") from None


def describe(error: ValidationError) -> str:
    """The first problem of a pydantic error in one line, and how many more there are."""
    problems = error.errors(include_url=False)
    first = problems[0]
    field = _shorten(".".join(str(part) for part in first["loc"]), 200) or "file"
    message = str(first["msg"]).removeprefix("Value error, ")
    found = units.short(first["input"], 80)
    if first["type"] == "extra_forbidden":
        text = f"{field}: expected no such key, found {found}"
    elif first["type"] == "missing":
        text = f"{field}: expected a value, found none"
    elif re.match(r"[\w.]+: expected", message):  # a check of a whole table names its field itself
        text = message if field == "file" else f"{field}.{message}"
    elif "found" in message:
        text = f"{field}: {message}"
    else:
        text = f"{field}: expected {message.removeprefix('Input should be ')}, found {found}"
    more = len(problems) - 1
    return _shorten(one_line(text), 400) + (f" (and {more} more)" if more else "")


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def one_line(text: str) -> str:
    """Control characters escaped, so that a hostile file cannot write to the terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


#: A TOML array as an immutable tuple.
Words = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
PositiveInt = Annotated[int, Field(gt=0, le=10**9, strict=True)]
NonNegativeInt = Annotated[int, Field(ge=0, le=10**9, strict=True)]
