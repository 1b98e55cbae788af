"""A measured ladder as a page with its three pictures, or as one of them."""

from __future__ import annotations

from pathlib import Path

from roofline.charts.ladder import climb
from roofline.charts.ladder_roofs import roofs as roofs_of
from roofline.charts.ladder_sizes import sizes as sizes_of
from roofline.document.blocks import Block, Bullets, Chart, Document, Section, Table
from roofline.document.pictures import climb_picture, ladder_roofs_picture, ladder_sizes_picture
from roofline.document.saving import check_out, save_chart, save_document
from roofline.measure.ladder.report import HISTORY_COLUMNS, TABLE, Ladder, machine_words, size_words, words
from roofline.measure.ladder.rungs import UNBLOCKED, named
from roofline.spec import SpecError

_PAGES = (".html", ".md")


def picture(ladder: Ladder, name: str) -> Chart:
    """The climb, the roofline or the sizes; SpecError where there is nothing to draw."""
    if name == "roofline":
        roofs = roofs_of(ladder)
        if roofs is None:
            raise SpecError("--chart: expected a machine whose peak is known for the roofline, found none")
        return ladder_roofs_picture(roofs)
    if name == "sizes":
        sizes = sizes_of(ladder)
        if sizes is None:
            raise SpecError("--chart: expected a sweep of sizes, found none: without --no-sizes and with einsum")
        return ladder_sizes_picture(sizes)
    return climb_picture(climb(ladder))


def document(ladder: Ladder) -> Document:
    """The whole ladder: pictures, numbers and reasons."""
    bars = picture(ladder, "climb")
    blocks: list[Block] = [Section("The climb", (bars, Bullets(list(words(ladder)))))]
    roofs, sizes = roofs_of(ladder), sizes_of(ladder)
    under: list[Block] = [] if roofs is None else [ladder_roofs_picture(roofs)]
    blocks.append(Section("Under the roofs", (*under, Bullets(list(machine_words(ladder))))))
    if sizes is not None:
        blocks.append(Section("Against size", (ladder_sizes_picture(sizes), Bullets(list(size_words(ladder))))))
    blocks.append(Section("The numbers", (Table(ladder.rows(), TABLE),), folded=True))
    blocks.append(Section("Another machine's ladder", (Table(ladder.history_rows(), HISTORY_COLUMNS),), folded=True))
    told = [*(f"{one.what}: {one.reason}" for one in ladder.missing), *map(str, ladder.disturbances)]
    if told:
        blocks.append(Section("Not measured, and what disturbed it", (Bullets(told),)))
    return Document("The matmul ladder", blocks, f"{ladder.here.name}, products of {ladder.n} × {ladder.n} matrices")


def check_asked(out: Path | None, name: str, sizes: bool, rungs: str | None = None) -> None:
    """SpecError or OSError for a file or picture that could not be written, before anything is measured."""
    if name == "sizes" and not (sizes and UNBLOCKED in named(rungs)):
        why = f"without {UNBLOCKED} among --rungs" if sizes else "with --no-sizes"
        raise SpecError(f"--chart: expected climb or roofline {why}, found sizes")
    if out is not None:
        check_out(out)


def save(ladder: Ladder, out: Path, theme: str, name: str) -> None:
    """Write all of it as .html or .md; one picture as an image or .json; its numbers as .csv."""
    if out.suffix.lower() in _PAGES:
        save_document(document(ladder), out, theme)
    else:
        save_chart(picture(ladder, name), out, theme, "The matmul ladder")
