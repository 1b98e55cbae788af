"""Check: every observation gets a verdict, or a reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from roofline.bench import Given, Observation, Skipped, read_path, shipped
from roofline.bench.expected import beyond_columns
from roofline.bench.names import Names
from roofline.bench.tokens import counted_in_characters
from roofline.check.nearest import Near, near, point_of
from roofline.check.siblings import mark_suspects
from roofline.check.verdicts import Expectation, Row, expectation, judge
from roofline.spec import SpecError

_TIERS = {"A": 3, "B": 2, "C": 1}
MOST_REMEMBERED = 4096  # expectations that are kept while a file is read: files repeat their configurations


@dataclass(frozen=True, slots=True)
class Checked:
    """Every row of a file is in one of the two. skipped: what could not be read, then what could not be predicted."""

    rows: tuple[Row, ...]
    skipped: tuple[Skipped, ...]

    def worst(self, count: int) -> list[Row]:
        """The rows with the largest factor between prediction and measurement."""
        return sorted(self.rows, key=lambda row: -abs(math.log(row.ratio)))[:count]


def check_file(
    path: str | Path | None = None,
    given: Given = Given(),  # noqa: B008 - frozen
    tokens_per_char: float | None = None,
) -> Checked:
    """The verdicts of a file in any known format, of standard input for '-', of the shipped observations for None.

    given: stands in where a file says nothing; of the shipped observations, which say everything, it selects.
    tokens_per_char: for speeds in characters per second, what a character is worth in tokens of the model.
    """
    reading = shipped() if path is None else read_path(path, given)
    observations: Iterable[Observation] = reading.observations
    if tokens_per_char is not None:
        observations = [counted_in_characters(one, tokens_per_char) for one in observations]
    checked = check(observations, reading.skipped)
    return checked if path is not None else _selected(checked, reading.observations, given)


def _selected(checked: Checked, observations: Iterable[Observation], given: Given) -> Checked:
    """The rows of a device, model or quantisation. Selected after the verdicts: a suspect needs its siblings."""
    names = Names()
    wanted = {
        "hardware": names.hardware(given.hardware)[0] if given.hardware else None,
        "model": names.model(given.model) if given.model else None,
        "quant": names.quant(given.quant) if given.quant else None,
    }
    ids = {one.id for one in observations if all(name in (None, getattr(one, field)) for field, name in wanted.items())}
    if not ids:
        asked = " ".join(name for name in wanted.values() if name)
        raise SpecError(f"expected a selection that the shipped observations hold, found no row of {asked}")
    return Checked(
        tuple(row for row in checked.rows if row.observation.id in ids),
        tuple(one for one in checked.skipped if one.id in ids),
    )


def given(hw: str | None = None, model: str | None = None, quant: str | None = None) -> Given:
    """What the user says about a file; SpecError for a name that the catalog does not have."""
    names = Names()
    known: tuple[tuple[str, str | None, Callable[[str], object]], ...] = (
        ("--hw", hw, names.hardware),
        ("--model", model, names.model),
        ("--quant", quant, names.quant),
    )
    for option, name, find in known:
        try:
            if name is not None:
                find(name)
        except SpecError as error:
            raise SpecError(f"{option}: {error}") from None
    return Given(hw, model, quant)


def check(observations: Iterable[Observation], skipped: Iterable[Skipped] = ()) -> Checked:
    """The verdict of each observation; one that cannot be predicted joins the skipped with its reason."""
    rows: list[Row] = []
    unpredicted: list[Skipped] = []
    outlooks = _Outlooks()
    for place, observation in enumerate(observations, 1):
        try:
            rows.append(judge(observation, outlooks.of(observation)))
        except SpecError as error:
            unpredicted.append(Skipped(observation.id, place, str(error)))
    return Checked(tuple(mark_suspects(rows)), tuple(chain(skipped, unpredicted)))


def better_measured(row: Row, count: int = 3) -> list[Near]:
    """The nearest shipped rows that are documented at least as well as this one, itself left out."""
    seen, least = row.observation, _TIERS.get(row.observation.tier.upper(), 0)

    def accept(other: Observation) -> bool:
        same = (other.hardware, other.count, other.model, other.quant, other.tok_s) == (
            seen.hardware, seen.count, seen.model, seen.quant, seen.tok_s,
        )  # fmt: skip
        return not same and other.id != seen.id and _TIERS.get(other.tier.upper(), 0) >= least

    return near(point_of(expectation(seen).expected.prediction, row.phase), row.phase, count, accept)


class _Outlooks:
    """Expectations, remembered for rows that differ only in what was measured and who says so."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Expectation | SpecError] = {}

    def of(self, seen: Observation) -> Expectation:
        """The expectation of an observation; SpecError where there is none."""
        key = (
            seen.hardware, seen.count, seen.host, seen.model, seen.quant, seen.phase, seen.prompt, seen.gen, seen.depth,
            seen.batch, seen.ubatch, seen.threads, seen.backend, seen.runtime, seen.build, seen.date, seen.flash_attn,
            seen.gpu_layers, seen.mem_mts, seen.kind, seen.note, *beyond_columns(seen),
        )  # fmt: skip
        known = self._known.get(key)
        if known is None:
            try:
                known = expectation(seen)
            except SpecError as error:
                known = error
            if len(self._known) >= MOST_REMEMBERED:
                self._known.pop(next(iter(self._known)))
            self._known[key] = known
        if isinstance(known, SpecError):
            raise known
        return known
