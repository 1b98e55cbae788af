"""Tables of measured against predicted speeds as Markdown lines, computed when the site is built.

- `rows_table`: every row of a shipped file of observations, by device, misses and skipped rows included.
- `speedups_table`: how much faster one version is than another, measured and predicted.
- `goals_table`: goals for accuracy against the shipped scores.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from roofline import catalog
from roofline.bench import Observation, read_path
from roofline.bench.shipped import DIRECTORY
from roofline.calibrate.cases import uncertainty
from roofline.calibrate.report import SCORES
from roofline.check.checking import check
from roofline.check.verdicts import Row
from roofline.spec import SpecError, read_toml
from roofline.units import format_number

PHASES = {"pp": "prefill", "tg": "decode", "serve": "served"}
SHARE_WITHIN = 0.9  # of devices within a factor of 1.5
COVERAGE = (0.75, 0.85)  # of rows inside the band


def observations(file: str, ids: str) -> list[Observation]:
    """The rows of a shipped file whose ids match a regular expression; SpecError when there are none."""
    reading = read_path(DIRECTORY / file)
    if reading.skipped:
        raise SpecError(f"{file}: {reading.skipped[0].reason}")
    found = [row for row in reading.observations if re.match(ids, row.id)]
    if not found:
        raise SpecError(f"{file}: expected rows whose ids match {ids!r}, found none")
    return found


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> Iterator[str]:
    """Markdown lines of a table; the columns in `right` are numbers."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "|".join("--:" if place in right else ":--" for place in range(len(head))) + "|"
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def rows_table(file: str, ids: str = "") -> Iterator[str]:
    """A table for each device, in order of the file, and a line that counts."""
    wanted = observations(file, ids)
    checked = check(wanted)
    predicted = {row.observation.id: row for row in checked.rows}
    reasons = {one.id: one.reason for one in checked.skipped}
    devices: dict[str, list[Observation]] = defaultdict(list)
    for observation in wanted:
        devices[machine(observation)].append(observation)
    head = ("id", "engine", "model", "quant", "phase", "measured", "predicted", "ratio", "within the band?")
    for name, group in devices.items():
        yield from ("```{rubric} " + name, "```", "")
        yield from table(head, (_row(one, predicted.get(one.id), reasons) for one in group), right=(5, 6, 7))
        yield ""
    yield from _counted(list(predicted.values()), len(reasons))


def machine(observation: Observation) -> str:
    """A device as a person names it: how many, name, backend."""
    name = catalog.load_hardware(observation.hardware).spec.name
    count = f"{observation.count} × " if observation.count > 1 else ""
    return f"{count}{name}, {observation.backend}"


def engine(observation: Observation) -> str:
    """Engine and version."""
    return f"{observation.runtime} {observation.build}".strip()


def _row(seen: Observation, row: Row | None, reasons: dict[str, str]) -> tuple[str, ...]:
    same = f" = {seen.extra['same_as']}" if seen.extra.get("same_as") else ""
    tokenizer = re.search(r"tokenizer=([^;]+)", seen.note)
    by = f", {tokenizer[1]}" if tokenizer else ""
    start = (f"{seen.id}{same}", engine(seen) + by, seen.model, seen.quant, PHASES[seen.phase], f"{seen.tok_s:g}")
    if row is None:
        return (*start, "–", "–", f"not predicted: {reasons[seen.id]}")
    low, high = format_number(row.low_tok_s), format_number(row.high_tok_s)
    words = f"yes, {low} to {high}" if row.in_band else f"**no**, {low} to {high}"
    if row.verdict in ("suspect", "impossible"):
        words += f"; {row.verdict}"
    return (*start, format_number(row.predicted_tok_s), f"{row.ratio:.2f}", words)


def _counted(rows: Sequence[Row], skipped: int) -> Iterator[str]:
    inside = sum(row.in_band for row in rows)
    middles = []
    for phase in ("prefill", "decode"):
        errors = [abs(row.ratio - 1) for row in rows if row.phase == phase]
        if errors:
            middles.append(f"{phase} {median(errors):.0%} over {len(errors)} rows")
    yield (
        f"{len(rows) + skipped} rows: {inside} within the band, {len(rows) - inside} not, {skipped} not predicted. "
        f"Median error: {', '.join(middles)}."
    )


def speedups_table(file: str, of: str, over: str, ids: str = "", phase: str = "pp") -> Iterator[str]:
    """Speed of the engines whose name begins with `of` by those whose name begins with `over`, in one phase.

    The error of a measured ratio is that of two rounded numbers (their standard deviations, by quadrature).
    """
    rows = {row.observation.id: row for row in check(observations(file, ids)).rows}
    pairs: dict[tuple[str, str, str], dict[str, Row]] = defaultdict(dict)
    for row in rows.values():
        seen = row.observation
        side = next((name for name in (of, over) if engine(seen).startswith(name)), None)
        if side and seen.phase == phase:
            pairs[seen.hardware, seen.model, seen.quant][side] = row
    head = ("device", "model", "quant", over, of, "measured ratio", "predicted ratio", "predicted / measured")
    lines = []
    for (_, model, quant), sides in pairs.items():
        if len(sides) < 2:
            continue
        fast, slow = sides[of], sides[over]
        measured = fast.observation.tok_s / slow.observation.tok_s
        expected = fast.predicted_tok_s / slow.predicted_tok_s
        error = measured * math.hypot(uncertainty(fast.observation), uncertainty(slow.observation))
        speeds = f"{slow.observation.tok_s:g}", f"{fast.observation.tok_s:g}"
        ratio = f"{measured:.2f} ± {error:.2f}"
        device = machine(fast.observation)
        lines.append((device, model, quant, *speeds, ratio, f"{expected:.2f}", f"{expected / measured:.2f}"))
    yield from table(head, lines, right=(3, 4, 5, 6, 7))


def goals_table(lines: Iterable[str]) -> Iterator[str]:
    """Goals against the shipped scores. A line: name; regular expression for groups; goal of decode; of prefill [%].

    The groups of the scores are 'cpu decode', or 'cpu decode, moe' for a kind of measurement.
    """
    scores = read_toml(SCORES)["scores"]
    head = ("for", "group", "rows", "devices", "goal", "reached", "", "devices within × 1.5", "band holds")
    rows: list[tuple[str, ...]] = []
    for line in lines:
        name, pattern, *goals = (part.strip() for part in line.split(";"))
        for phase, goal in zip(("decode", "prefill"), goals, strict=True):
            found = [one for one in scores if re.fullmatch(pattern.replace("PHASE", phase), one["group"])]
            if goal == "–":
                continue
            if not found:
                rows.append(
                    (name, f"{phase}: no group of the scores", "", "", f"≤ {goal} %", "–", "not scored", "", "")
                )
            rows += [(name, *_score(one, float(goal) / 100)) for one in found]
    yield from table(head, rows, right=(2, 3, 4, 5, 7, 8))


def _score(one: dict[str, float | int | str], goal: float) -> tuple[str, ...]:
    error, within, held = float(one["median_error"]), float(one["devices_within_factor_1_5"]), one.get("coverage")
    coverage = "–" if held is None else marked(float(held), COVERAGE[0] <= float(held) <= COVERAGE[1])
    return (
        str(one["group"]), str(one["rows"]), str(one["devices"]), f"≤ {goal:.0%}", f"{error:.1%}",
        "met" if error <= goal else "**missed**", marked(within, within >= SHARE_WITHIN), coverage,
    )  # fmt: skip


def marked(share: float, good: bool) -> str:
    """A share in percent, bold where it misses its goal."""
    return f"{share:.0%}" if good else f"**{share:.0%}**"
