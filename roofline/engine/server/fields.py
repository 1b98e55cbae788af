"""What a server says, believed only as far as it is checked: numbers that are finite, positive and of a sane size."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import NoReturn

from roofline.bench.text import clean
from roofline.spec import SpecError
from roofline.units import short

MOST_TOKENS = 10**9
MOST_MILLISECONDS = 1e10  # four months
LONGEST_MESSAGE = 500  # characters of a server's message
Record = Mapping[str, object]


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text}, which is no JSON")


def parse_json(text: str | bytes, where: str) -> object:
    """The value of a JSON text; NaN and Infinity, which JSON does not have, are refused."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError:
        start = text[:80].decode("utf-8", "replace") if isinstance(text, bytes) else text[:80]
        raise SpecError(f"{where}: expected JSON, found {short(start, 80)}") from None
    except (ValueError, RecursionError) as error:  # NaN, thousands of digits, bytes that are no text, endless nesting
        raise SpecError(f"{where}: expected JSON, found {clean(str(error), 100)}") from None


def parse_record(text: str | bytes, where: str) -> Record:
    """A JSON object; SpecError for anything else."""
    return as_record(parse_json(text, where), where)


def as_record(value: object, where: str) -> Record:
    """`value` if it is a JSON object; SpecError otherwise."""
    if not isinstance(value, dict):
        raise SpecError(f"{where}: expected a JSON object, found {short(value)}")
    return value


def record_in(record: Record, key: str) -> Record | None:
    """The JSON object under `key`, None when there is none."""
    value = record.get(key)
    return value if isinstance(value, dict) else None


def first_of(record: Record, key: str) -> Record | None:
    """The first entry of the list under `key`, where it is a JSON object."""
    value = record.get(key)
    return value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else None


def text_in(record: Record, key: str, limit: int = 500) -> str:
    """The text under `key` in one printable line; "" when there is none."""
    value = record.get(key)
    return clean(value, limit) if isinstance(value, str) else ""


def tokens_in(record: Record, key: str, where: str, least: int = 0) -> int:
    """The number of tokens under `key`, at least `least`; SpecError otherwise."""
    value = record.get(key)
    # Some servers write 12.0 for 12.
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST_TOKENS:
        raise SpecError(f"{where}: expected {key} as a number of tokens, at least {least}, found {_found(record, key)}")
    return value


def milliseconds_in(record: Record, key: str, where: str) -> float:
    """The time under `key` [ms], above 0; SpecError otherwise."""
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= MOST_MILLISECONDS:
        raise SpecError(f"{where}: expected {key} as milliseconds above 0, found {_found(record, key)}")
    return float(value)


def stated_count(record: Record | None, key: str) -> int | None:
    """A whole number above 0 that a server states about itself, None where it states none that can be meant."""
    value = (record or {}).get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 10**15 else None


def _found(record: Record, key: str) -> str:
    return short(record[key]) if key in record else "no such key"


def message_of(text: str) -> str:
    """What an answer that says no says: its error's message where it is JSON that has one, else the text itself."""
    try:
        return error_in(as_record(parse_json(text, ""), ""))
    except SpecError:
        return text[:LONGEST_MESSAGE]


def error_in(record: Record) -> str:
    """The message of an error, in any of the shapes that servers give it."""
    inner = record_in(record, "error") or record
    for key in ("message", "error", "detail"):
        if text_in(inner, key):
            return text_in(inner, key)
    return str(record.get("error", record))[:LONGEST_MESSAGE]
