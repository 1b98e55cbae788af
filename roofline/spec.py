"""What every specification file is made of: frozen pydantic models, figures with a source, one-line errors.

A *figure* is a physical quantity together with where it comes from. In TOML it is written in the source's own words::

    bandwidth = { value = "17.1 GB/s", source = "wikipedia", basis = "derived" }

and read into the base unit. There is one parser, pydantic's own validation, and unknown keys are errors, so that a
misspelt field cannot be lost in silence.
"""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from roofline import units

#: datasheet: stated by the maker or a database that copies the maker. derived: computed from other figures.
#: measured: by a benchmark. assumed: not confirmed by any source. override: given on the command line.
Basis = Literal["datasheet", "derived", "measured", "assumed", "override"]


class SpecError(ValueError):
    """Bad input, told in one line: file, field, what was expected, what was found."""


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
                table["value"] = units.parse(text, cls.unit) if cls.unit else float(text)
            except (TypeError, ValueError) as error:
                raise ValueError(str(error)) from None
            table.setdefault("text", text if isinstance(text, str) else "")
        return table

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if not 0 < self.value < math.inf:
            raise ValueError(f"expected a positive quantity in {self.unit or 'plain numbers'}, found {self.value:g}")
        return self

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return self.text or units.format_quantity(self.value, self.unit)


class Bytes(Figure):
    """A capacity [B]."""

    unit = "B"


class Bandwidth(Figure):
    """A data rate [B/s]."""

    unit = "B/s"


class Compute(Figure):
    """An arithmetic peak [FLOP/s]: a multiply-add counts as 2, and an integer operation like a FLOP."""

    unit = "FLOP/s"


class Frequency(Figure):
    """A clock [Hz]."""

    unit = "Hz"


class Transfers(Figure):
    """A memory bus's rate [T/s]: transfers per second and pin."""

    unit = "T/s"


class Power(Figure):
    """Electrical power [W]."""

    unit = "W"


class Price(Figure):
    """A price [USD]."""

    unit = "USD"


class Number(Figure):
    """A plain number with a source, for example operations per cycle and core."""

    unit = ""


SpecType = TypeVar("SpecType", bound=Spec)


def read_toml(path: Path, limit: int = 1_000_000) -> dict[str, Any]:
    """The tables of a TOML file of at most ``limit`` bytes; SpecError names the file and the line."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise SpecError(f"{path}: expected a readable TOML file, found: {error.strerror or error}") from None
    if len(data) > limit:
        raise SpecError(f"{path}: expected a specification of at most {limit:,} bytes, found a larger file")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # also an integer of thousands of digits
        raise SpecError(f"{path}: expected TOML in UTF-8, found: {_shorten(_one_line(str(error)), 200)}") from None


def validate(kind: type[SpecType], data: dict[str, Any], where: str | Path) -> SpecType:
    """``data`` as a ``kind``; SpecError is one line that names ``where``, the field, the expected and the found."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise SpecError(f"{where}: {describe(error)}") from None
    except (RecursionError, OverflowError) as error:
        raise SpecError(f"{where}: expected a plain {kind.__name__} table, found: {_one_line(str(error))}") from None


def describe(error: ValidationError) -> str:
    """The first problem of a pydantic error in one line, and how many more there are."""
    problems = error.errors(include_url=False)
    first = problems[0]
    field = _shorten(".".join(str(part) for part in first["loc"]), 200) or "file"
    message = str(first["msg"]).removeprefix("Value error, ")
    found = repr(first["input"])
    if first["type"] == "extra_forbidden":
        text = f"{field}: expected no such key, found {_shorten(found)}"
    elif first["type"] == "missing":
        text = f"{field}: expected a value, found none"
    elif "found" in message:
        text = f"{field}: {message}"
    else:
        text = f"{field}: expected {message.removeprefix('Input should be ')}, found {_shorten(found)}"
    more = len(problems) - 1
    return _shorten(_one_line(text), 400) + (f" (and {more} more)" if more else "")


def _shorten(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _one_line(text: str) -> str:
    """Control characters escaped, so that a hostile file cannot write to the terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


#: A TOML array as an immutable tuple.
Words = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
PositiveInt = Annotated[int, Field(gt=0, le=10**9, strict=True)]
NonNegativeInt = Annotated[int, Field(ge=0, le=10**9, strict=True)]
