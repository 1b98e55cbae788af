"""An observation: one measured speed with everything that is known about how it was measured.

A reader turns a text into a ``Reading``: the observations that can be used, and every row that cannot with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import getitem
from types import MappingProxyType
from typing import Any, Final, get_args

from roofline.bench.names import MOST_REMEMBERED, Names
from roofline.bench.text import clean, shown
from roofline.hardware import Backend
from roofline.spec import SpecError

PHASES: Final = ("pp", "tg", "serve")
BACKENDS: Final = frozenset(get_args(Backend))

#: The columns of an observations file, in order.
COLUMNS: Final = (
    "id", "source", "url", "date", "hardware", "count", "host", "backend", "runtime", "build", "model", "quant",
    "size_gib", "phase", "prompt", "gen", "depth", "batch", "ubatch", "threads", "gpu_layers", "flash_attn", "mem_mts",
    "tok_s", "std", "tier", "kind", "note",
)  # fmt: skip

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
LONGEST_NAME = 200
MOST = 1e12  # beyond any count of tokens, sequences or threads
LEAST = 1e-9  # below any speed or size that can be meant
FASTEST = 1e9  # [tok/s]; beyond any machine, and a sign of a wrong unit


@dataclass(frozen=True, slots=True)
class Observation:
    """One measured speed. None or "" where unknown.

    hardware, host and model are catalog ids (or files); `count` devices of that hardware worked together, `host` is
    the machine that holds what the devices do not. phase: pp (prefill), tg (decode) or serve. tok_s: tokens per second
    over all `batch` sequences; std: its standard deviation. prompt: tokens of the prompt; gen: tokens generated;
    depth: tokens in the cache when the measurement started; for tg, tok_s is the mean over `gen` tokens from there.
    size_gib: model file [GiB]. gpu_layers: layers on the device. mem_mts: memory transfer rate [MT/s]. tier: how well
    documented, A to C. kind: what the row is an example of (plain, moe, depth, batch, multi, hybrid, …).
    extra: further columns of the file, as text.
    """

    id: str
    hardware: str
    model: str
    quant: str
    phase: str
    tok_s: float
    source: str = ""
    url: str = ""
    date: str = ""
    count: int = 1
    host: str = ""
    backend: str = ""
    runtime: str = ""
    build: str = ""
    size_gib: float | None = None
    prompt: int | None = None
    gen: int | None = None
    depth: int | None = None
    batch: int | None = None
    ubatch: int | None = None
    threads: int | None = None
    gpu_layers: int | None = None
    flash_attn: bool | None = None
    mem_mts: float | None = None
    std: float | None = None
    tier: str = ""
    kind: str = ""
    note: str = ""
    extra: Mapping[str, str] = field(default_factory=lambda: NOTHING, hash=False)


#: The fields of an observation in the order of its definition, those of a CSV that are not in it left to `extra`.
ORDER: Final = tuple(item.name for item in fields(Observation) if item.name != "extra")
_COUNT: Final = ORDER.index("count")


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that cannot be used: its id, its place in the file (1 is the first row of data), and why."""

    id: str
    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader made of a text. Every row is in one of the two."""

    observations: tuple[Observation, ...]
    skipped: tuple[Skipped, ...] = ()


def reading(rows: Iterable[Observation | Skipped]) -> Reading:
    """Rows sorted into the usable and the skipped; a second row of one id is skipped, naming the first."""
    good: list[Observation] = []
    bad: list[Skipped] = []
    seen: dict[str, int] = {}
    for row, item in enumerate(rows, 1):
        if isinstance(item, Skipped):
            bad.append(item)
        elif seen.setdefault(item.id, row) != row:
            bad.append(Skipped(item.id, row, f"row {row}, id: expected each id once, found {shown(item.id)} again"))
        else:
            good.append(item)
    return Reading(tuple(good), tuple(bad))


@dataclass(frozen=True, slots=True)
class Given:
    """What the user says about a file: it holds where the file says nothing, or not enough. runtime: of all rows."""

    hardware: str | None = None
    model: str | None = None
    quant: str | None = None
    backend: str | None = None
    runtime: str = "llama.cpp"


def _problem(expected: str, found: object) -> SpecError:
    return SpecError(f"expected {expected}, found {shown(found)}")


# -- one cell to its value --------------------------------------------------------------------------------------------


def number(text: str, least: float, most: float = MOST) -> float | None:
    """A finite number of at least `least`, None for a blank."""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most or "_" in text:
        raise _problem("a positive finite number" if least > 0 else f"a number of at least {least:g}", text)
    return value


def whole(text: str, least: int = 0) -> int | None:
    """A whole number of at least `least`, None for a blank; '512.0' is whole."""
    value = number(text, least)
    if value is not None and value != int(value):
        raise _problem("a whole number", text)
    return None if value is None else int(value)


def flag(text: str) -> bool | None:
    """1 or 0, also true/false and on/off; None for a blank and for -1, which stands for automatic."""
    word = text.lower()
    if word in ("1", "true", "on", "yes", "enabled"):
        return True
    if word in ("0", "false", "off", "no", "disabled"):
        return False
    if word in ("", "-1", "auto"):
        return None
    raise _problem("1 or 0", text)


def speed(text: str) -> float:
    """Tokens per second [1/s]."""
    value = number(text, LEAST, FASTEST)
    if value is None:
        raise _problem("a speed in tokens per second", text)
    return value


def layers(text: str) -> int | None:
    """Layers on the device; None for a blank and for -1, which stands for as many as fit."""
    return None if text == "-1" else whole(text)


def deviation(text: str) -> float | None:
    """A standard deviation; that of a single repetition is no number, and unknown."""
    return None if text.lower() in ("nan", "-nan") else number(text, 0.0)


def phase(text: str) -> str:
    """pp, tg or serve."""
    if text.lower() not in PHASES:
        raise _problem("pp, tg or serve", text)
    return text.lower()


def backend(text: str) -> str:
    """A backend of llama.cpp, or "" where unknown."""
    if text and text.lower() not in BACKENDS:
        raise _problem(f"one of {', '.join(sorted(BACKENDS))}", text)
    return text.lower()


def _positive(text: str) -> float | None:
    return number(text, LEAST)


def _positive_whole(text: str) -> int | None:
    return whole(text, 1)


def _name(text: str) -> str:
    return clean(text, LONGEST_NAME)


class _Column(dict[str, Any]):
    """The values of a column's texts, each parsed once: most repeat over a file. Remembers a bounded number."""

    def __init__(self, parse: Callable[[str], Any]) -> None:
        super().__init__()
        self._parse = parse

    def __missing__(self, text: str) -> Any:
        value = self._parse(text.strip())
        if len(self) < MOST_REMEMBERED and len(text) <= LONGEST_NAME:
            self[text] = value
        return value


class Checker:
    """Texts of one row to an Observation, or the reason why not; what is given stands in where a row leaves a blank."""

    def __init__(self, given: Given = Given(), names: Names | None = None) -> None:
        names = names or Names()
        parsers: dict[str, Callable[[str], Any]] = {
            "id": _name,
            "hardware": _named(names.hardware, given.hardware, "--hw"),
            "model": _named(names.model, given.model, "--model"),
            "quant": _named(names.quant, given.quant, "--quant"),
            "host": lambda text: names.hardware(text)[0] if text else "",
            "phase": phase,
            "backend": backend,
            "tok_s": speed,
            "std": deviation,
            "gpu_layers": layers,
            "flash_attn": flag,
            **dict.fromkeys(("runtime", "build", "tier", "kind", "date"), _name),
            **dict.fromkeys(("source", "url", "note"), clean),
            **dict.fromkeys(("prompt", "gen", "depth"), whole),
            **dict.fromkeys(("count", "batch", "ubatch", "threads"), _positive_whole),
            **dict.fromkeys(("size_gib", "mem_mts"), _positive),
        }
        self._columns = [_Column(parsers[name]) for name in ORDER]

    def check(
        self, cells: Sequence[str], row: int, extra: Mapping[str, str] = NOTHING, default_id: str = ""
    ) -> Observation | Skipped:
        """The observation in `cells` (texts in the order of ORDER), or a Skipped that names row and column."""
        try:
            values: list[Any] = list(map(getitem, self._columns, cells))
        except SpecError:
            return Skipped(_name(cells[0]) or default_id or f"row-{row}", row, self._reason(cells, row))
        values[0] = values[0] or default_id or f"row-{row}"
        hardware, several = values[1]
        values[1] = hardware
        values[_COUNT] = values[_COUNT] or several
        values.append(extra)
        return Observation(*values)

    def _reason(self, cells: Sequence[str], row: int) -> str:
        """Every problem of a row that has one, by column."""
        problems = []
        for name, column, cell in zip(ORDER, self._columns, cells, strict=True):
            try:
                column[cell]
            except SpecError as error:
                problems.append(f"{name}: {error}")
        return f"row {row}, " + "; ".join(problems)

    def check_fields(
        self, fields: Mapping[str, str], row: int, extra: Mapping[str, str] = NOTHING, default_id: str = ""
    ) -> Observation | Skipped:
        """The same for a mapping of column to text, blank where it has none."""
        return self.check([fields.get(name, "") for name in ORDER], row, extra, default_id)


def _named(find: Callable[[str], Any], default: str | None, option: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        wanted = text or default
        if not wanted:
            raise SpecError(f"expected a name, found none; give {option}")
        return find(wanted)

    return parse
