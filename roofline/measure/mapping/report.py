"""What `load --measure` says: a table for every way of mapping, expected beside counted, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from roofline.measure.mapping.experiment import Mapped, Step, Way, measure
from roofline.tables import Format, printable, render, to_json
from roofline.units import format_duration, format_number, format_quantity

SCHEMA = "roofline.mapping/1"
_STEP = (
    "stage", "seconds", "touched_bytes", "minor_faults", "major_faults", "disk_read_bytes", "mapped_bytes",
    "cached_bytes", "walk_rate_bytes_s",
)  # fmt: skip
_COMPARED = ("question", "expected_of_it", "found")
_TITLES = {
    "populated": "Populated first (MAP_POPULATE, as llama.cpp does on Linux)",
    "lazy": "Lazily (pages come as they are touched, as in March 2023)",
    "random": "Without read-ahead (madvise RANDOM, as with --numa), the first bytes of a token",
}


def report(path: Path, seed: int, form: Format, progress: Callable[[float, str], None]) -> str:
    """The experiment on a file as a report; CSV is every step of every way."""
    return described(measure(path, seed, progress), form)


def described(mapped: Mapped, form: Format) -> str:
    """An experiment in a format."""
    if form == "json":
        return to_json(record(mapped))
    if form == "csv":
        rows = [{"way": way.name, **row} for way in mapped.ways for row in step_rows(way)]
        return render(rows, ("way", *_STEP), "csv")
    mark = "## " if form == "md" else ""
    parts = [heading(mapped) + "\n"]
    parts += [f"{mark}{_TITLES[way.name]}\n\n{render(step_rows(way), _STEP, form)}" for way in mapped.ways]
    parts.append(f"{mark}Expected and counted\n\n{render(compared(mapped), _COMPARED, form)}")
    parts.append(("\n\n" if form == "md" else "\n").join(words(mapped)) + "\n")
    return "\n".join(parts)


def heading(mapped: Mapped) -> str:
    """The file in one line."""
    size, page = _gib(float(mapped.layout.size)), _gib(float(mapped.page), 1)
    where = f" on {mapped.system}" if mapped.system else ""
    return printable(f"{mapped.name}, {size} in {mapped.file_pages} pages of {page}{where}")


def step_rows(way: Way) -> list[dict[str, Any]]:
    """A row for every step of a way."""
    return [_row(step) for step in way.steps]


def _row(step: Step) -> dict[str, Any]:
    return {
        "stage": step.name,
        "seconds": step.seconds,
        "touched_bytes": step.touched,
        "minor_faults": step.minor,
        "major_faults": step.major,
        "disk_read_bytes": step.read,
        "mapped_bytes": step.mapped,
        "cached_bytes": step.cached,
        "disk_rate_bytes_s": step.disk_rate,
        "walk_rate_bytes_s": step.walk_rate,
        "own_bytes": step.own,
    }


def compared(mapped: Mapped) -> list[dict[str, str]]:
    """What paging expects, and what was counted."""
    token, random = mapped.way("lazy").first_token, mapped.way("random")
    expected, half = mapped.token_faults, mapped.way("lazy").step("half a token")
    walked = f"{mapped.pages_walked(random)}"
    rows = [("pages of one token, in RES", _range(mapped), _pages(mapped, token.mapped))]
    if mapped.was_evicted:  # else neighbours that are cached are mapped along
        rows += [
            ("pages without read-ahead, in RES", walked, _pages(mapped, random.first_token.mapped)),
            ("the same in the page cache", walked, _pages(mapped, random.first_token.cached)),
            ("the same as major faults", walked, f"{random.first_token.major}"),
        ]
    rows += [
        (
            "faults of one token",
            f"{expected.fewest:.0f} to {expected.most:.0f}, about {expected.expected:.0f}",
            f"{token.minor} minor, {token.major} major",
        ),
        ("RES after half a token", _share(mapped, float(half.touched)), _share(mapped, half.mapped)),
        ("RES after one token", _share(mapped, float(token.touched)), _share(mapped, token.mapped)),
    ]
    cold = mapped.cold_seconds()
    if cold is not None:
        least, most = (format_duration(one) for one in cold)
        rows.append(("first token, lazily", f"{least} to {most}", format_duration(token.seconds)))
    return [{"question": what, "expected_of_it": one, "found": other} for what, one, other in rows]


def words(mapped: Mapped) -> list[str]:
    """What was seen, in sentences."""
    lazy = mapped.way("lazy")
    half, token, again = lazy.step("half a token"), lazy.first_token, lazy.step("a second token")
    found = [f"Evicted: {_evicted(mapped)}"]
    if mapped.disk_rate is not None and mapped.warm_rate is not None:
        found.append(
            f"Disk: {format_quantity(mapped.disk_rate, 'B/s')} while the mapping is populated; from memory one thread "
            f"adds up {format_quantity(mapped.warm_rate, 'B/s')}."
        )
    whole = _gib(float(mapped.layout.size))
    found.append(
        f"Why: after half a token the process shows {_size(half.mapped)} of the file's {whole}"
        f" and after all of it {_size(token.mapped)}: RES counts the pages that it has touched so far. The page cache "
        f"held {_size(half.cached)} and {_size(token.cached)}. A second token read {_size(again.read)} from the disk."
    )
    if mapped.lacks_memory:
        found.append(
            f"Memory: only {_size(token.mapped)} of what the token touched is mapped at its end: pages were given "
            "up on the way, and are read again with each token."
        )
    if mapped.is_mixture:
        shares = [format_number(mapped.percent(float(mapped.touched.bytes(count)))) for count in (1, 8, 64)]
        found.append(
            f"Mixture: one token reads {shares[0]} % of the pages, 8 are expected to touch {shares[1]} %, 64 "
            f"{shares[2]} %: here RES stays small for longer, but every expert is somebody's."
        )
    return [printable(text) for text in found]


def _evicted(mapped: Mapped) -> str:
    left = mapped.way("lazy").step("evicted").cached
    if left is None:
        return (
            "unknown: mincore answers only those who own a file or may write it (Linux 5.2 and later), so that what is "
            "in the page cache is not known here."
        )
    if mapped.was_evicted:
        return f"the file left the page cache ({_gib(float(left))} of it stayed)."
    return (
        f"no, {_gib(float(left))} of it stayed in memory (a file system in memory, or a process that maps the file): "
        "the walk was a warm one."
    )


def _range(mapped: Mapped) -> str:
    """The pages of a token, and with the neighbours that faults map along."""
    return f"{mapped.token_pages} to {mapped.most_token_pages} with fault-around"


def _pages(mapped: Mapped, size: int | None) -> str:
    pages = mapped.pages(size)
    return "unknown" if pages is None else f"{pages:.0f}"


def _share(mapped: Mapped, size: float | None) -> str:
    return "unknown" if size is None else f"{format_number(mapped.percent(size))} % of the file"


def _size(size: int | None) -> str:
    return "an unknown amount" if size is None else _gib(float(size))


def _gib(size: float, digits: int = 3) -> str:
    return format_quantity(size, "B", digits=digits, binary=True)


def record(mapped: Mapped) -> dict[str, Any]:
    """The JSON of `load --measure`."""
    cold = mapped.cold_seconds()
    return {
        "schema": SCHEMA,
        "file": str(mapped.path),
        "name": mapped.name,
        "file_bytes": mapped.layout.size,
        "file_system": mapped.system,
        "page_size_bytes": mapped.page,
        "file_pages": mapped.file_pages,
        "token_pages": mapped.token_pages,
        "token_pages_most": mapped.most_token_pages,
        "token_pages_expected": mapped.touched.pages(1),
        "evicted": mapped.was_evicted,
        "disk_bytes_s": mapped.disk_rate,
        "walk_rate_bytes_s": mapped.warm_rate,
        "cold_token_least_s": cold[0] if cold else None,
        "cold_token_most_s": cold[1] if cold else None,
        "ways": [
            {"way": way.name, "walked_pages": mapped.pages_walked(way), "steps": step_rows(way)} for way in mapped.ways
        ],
        "words": words(mapped),
    }
