"""What others measured a quantisation to cost: perplexities of a quantised model against the unquantised one.

    change = PPL(quantised) / PPL(unquantised) − 1

perplexity.csv repeats tables that were published, with the words and digits of their sources, which
perplexity_sources.csv names. Sources state the change in different ways, and it is taken from the one with the most
digits: from the ratio, then its logarithm (exp(x) − 1), the difference (Δ / (PPL − Δ)), the perplexity of the
unquantised model in the same table, and last from per cent. Only runs of llama.cpp are among them.

A perplexity depends on the corpus, the context and the program, so that only changes are compared here, never the
perplexities of two sources. The change depends on the model: another model's tells how quantisations rank, and about
how far they lie apart, not what this one loses.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from roofline.quantization.layouts import INTERLEAVED, TILED
from roofline.quantization.recipes import RECIPES, get
from roofline.spec import SpecError

FILE = Path(__file__).with_name("perplexity.csv")
SOURCES = Path(__file__).with_name("perplexity_sources.csv")
#: The model with the most quantisations measured; its figure stands in for models that nobody measured.
REFERENCE = "llama-3-8b"
NO_MATRIX = "none"
UNQUANTISED = ("f32", "f16", "bf16")
#: Recipes that store all matrices alike, so that one in a reordered type is the same model.
_UNMIXED = ("q4_0", "q5_0", "q6_k", "q8_0")

_TEXTS = ("model", "quant", "imatrix", "base", "corpus", "source")
_POSITIVE = ("perplexity", "perplexity_error", "delta_error", "kl_divergence", "kl_divergence_error", "ratio",
             "ratio_error")  # fmt: skip
_ANY = ("delta", "log_ratio", "change_percent")
_COLUMNS = (*_TEXTS, *_POSITIVE, *_ANY, "note")


@dataclass(frozen=True, slots=True)
class PerplexitySource:
    """Where perplexities were published. revision: of the program or the page; section: the table's heading."""

    key: str
    title: str
    url: str
    revision: str
    section: str
    retrieved: str


@dataclass(frozen=True, slots=True)
class Perplexity:
    """A quantisation of a model as somebody measured it.

    change: of the perplexity against the `base` type's [1], None where nothing states it. perplexity [1] and
    kl_divergence [nat] with their standard errors, None where not stated. imatrix: the text that an importance matrix
    was made from, 'none', or 'not stated'.
    """

    model: str
    quant: str
    imatrix: str
    base: str
    change: float | None
    perplexity: float | None
    perplexity_error: float | None
    kl_divergence: float | None
    kl_divergence_error: float | None
    corpus: str
    source: PerplexitySource
    note: str

    @property
    def change_percent(self) -> float | None:
        """Change of the perplexity [%]."""
        return None if self.change is None else 100.0 * self.change


@lru_cache(maxsize=1)
def sources() -> Mapping[str, PerplexitySource]:
    """The tables that the figures come from, by key."""
    with SOURCES.open(encoding="utf-8", newline="") as lines:
        return {row["key"]: PerplexitySource(**row) for row in csv.DictReader(lines)}


@lru_cache(maxsize=1)
def measured() -> tuple[Perplexity, ...]:
    """Every row that comes with roofline, in the order of the file."""
    with FILE.open(encoding="utf-8", newline="") as lines:
        return read(lines, FILE.name)


def read(lines: Iterable[str], name: str) -> tuple[Perplexity, ...]:
    """The rows of a CSV file; SpecError with the line for what is no perplexity."""
    table = csv.DictReader(lines)
    if set(table.fieldnames or ()) != set(_COLUMNS):
        found_columns = ", ".join(table.fieldnames or ())
        raise SpecError(f"{name}: expected the columns {', '.join(_COLUMNS)}, found {found_columns}")
    rows = [(f"{name}: line {number}", row) for number, row in enumerate(table, 2)]
    numbers = [_numbers(where, row) for where, row in rows]
    plain = {
        (row["model"], row["source"], row["quant"]): own["perplexity"]
        for (_, row), own in zip(rows, numbers, strict=True)
    }
    found = []
    for (where, row), own in zip(rows, numbers, strict=True):
        _check(where, row)
        change = _change(own, plain.get((row["model"], row["source"], row["base"])))
        found.append(
            Perplexity(
                row["model"], row["quant"], row["imatrix"], row["base"], change,
                own["perplexity"], own["perplexity_error"], own["kl_divergence"], own["kl_divergence_error"],
                row["corpus"], sources()[row["source"]], row["note"],
            )
        )  # fmt: skip
    return tuple(found)


def _numbers(where: str, row: Mapping[str, str]) -> dict[str, float | None]:
    """The numbers of a row; an empty cell is unknown."""
    found: dict[str, float | None] = {}
    for key in (*_POSITIVE, *_ANY):
        text = row[key]
        try:
            value = float(text) if text else None
        except (TypeError, ValueError):
            raise SpecError(f"{where}: {key}: expected a number, found {str(text)[:40]!r}") from None
        if value is not None and (not math.isfinite(value) or (key in _POSITIVE and value <= 0)):
            raise SpecError(f"{where}: {key}: expected a finite number above 0, found {text[:40]}")
        found[key] = value
    return found


def _check(where: str, row: Mapping[str, str]) -> None:
    """SpecError for a row without its words, or with a quantisation or a source that is none."""
    for key in _TEXTS:
        if not row[key]:
            raise SpecError(f"{where}: {key}: expected a word, found none")
    if row["quant"] not in RECIPES:
        raise SpecError(f"{where}: quant: expected the id of a quantisation, found {row['quant'][:40]!r}")
    if row["source"] not in sources():
        raise SpecError(f"{where}: source: expected one of {', '.join(sources())}, found {row['source'][:40]!r}")


def _change(own: Mapping[str, float | None], base: float | None) -> float | None:
    """The change that a row states [1], see above; base: the unquantised perplexity of its table."""
    perplexity, delta = own["perplexity"], own["delta"]
    if own["ratio"] is not None:
        return own["ratio"] - 1.0
    if own["log_ratio"] is not None:
        return math.expm1(own["log_ratio"])
    if perplexity is not None and delta is not None:
        return delta / (perplexity - delta)
    if perplexity is not None and base is not None:
        return perplexity / base - 1.0
    return None if own["change_percent"] is None else own["change_percent"] / 100.0


def published(recipe: str, model: str | None = None) -> Perplexity | None:
    """The published change of a quantisation: of `model` (its id) if there is one, else of the REFERENCE, else None.

    Rows without an importance matrix come first, since files are usually made without; then the order of the file.
    Interleaved and tiled types have the figure of the type whose blocks they reorder, where that is no mix. What is
    unquantised has only a figure of its own model. SpecError for a name that is no quantisation.
    """
    return _published(get(recipe).id, model)


@lru_cache(maxsize=4096)
def _published(recipe: str, model: str | None) -> Perplexity | None:
    name = {**INTERLEAVED, **TILED}.get(recipe, recipe)
    if name != recipe and name not in _UNMIXED:
        return None
    for wanted in dict.fromkeys((model, REFERENCE)):
        if wanted == REFERENCE != model and name in UNQUANTISED:
            continue  # whether a model loses anything in f16 depends on what it was trained in
        rows = [row for row in measured() if (row.model, row.quant) == (wanted, name) and row.change is not None]
        if rows:
            return min(rows, key=lambda row: row.imatrix != NO_MATRIX)
    return None
