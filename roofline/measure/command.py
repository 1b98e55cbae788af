"""What `roofline measure` does: detect, measure, report, and write the file where it may."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

from roofline.catalog import user_directory
from roofline.files import check_writable, write_text
from roofline.measure.gpufile import Card, cards, gpu_tables
from roofline.measure.hostfile import HOST, WRITTEN_BY, host_tables, to_toml
from roofline.measure.identity import Identity, identify
from roofline.measure.match import match, why_not
from roofline.measure.matmul import Unmeasured
from roofline.measure.report import identity_report as described
from roofline.measure.report import report
from roofline.measure.roofs import Roofs, measure_roofs
from roofline.measure.source import Live, Source
from roofline.spec import SpecError
from roofline.tables import Format


def identity_report(hardware: str | None, form: Format, source: Source | None = None) -> str:
    """What this machine is; or, for a part of the catalog, a line for everything in which it is another one."""
    identity = identify(source or Live())
    if hardware is not None:
        return "".join(f"{line}\n" for line in why_not(identity, hardware))
    return described(identity, match(identity), form)


def run(
    quick: bool, out: Path | None, force: bool, form: Format, progress: Callable[[float, str], None]
) -> tuple[str, list[Path]]:
    """(report, files written: this machine's, and one for each kind of graphics processor that was measured).

    SpecError before anything is measured where a file may not be written.
    """
    target = out or user_directory() / "hardware" / f"{HOST}.toml"
    refuse_foreign(target, force)
    source = Live()
    identity = identify(source)
    for path in _card_files(target, len({card.name for card in identity.gpus})):
        refuse_foreign(path, force)
    check_writable(target)
    found = match(identity)
    roofs = measure_roofs(identity, source, quick, progress)
    today = date.today()
    write_text(to_toml(host_tables(identity, found, roofs, today), today), target)
    measured = cards(identity, found, roofs.accelerators)
    written, missing = _write_cards(measured, identity, roofs, target, force, today)
    return report(identity, found, roofs, measured, missing, form), [target, *written]


def _card_files(target: Path, kinds: int) -> list[Path]:
    """Where the graphics processors of so many kinds are filed: beside the machine's own file."""
    ends = ["-gpu"] if kinds == 1 else [f"-gpu-{number}" for number in range(1, kinds + 1)]
    return [target.with_name(f"{target.stem}{end}{target.suffix}") for end in ends]


def _write_cards(
    measured: tuple[Card, ...], identity: Identity, roofs: Roofs, target: Path, force: bool, today: date
) -> tuple[list[Path], list[Unmeasured]]:
    """(files written, what was not measured of the cards and why)."""
    written: list[Path] = []
    missing = [Unmeasured(f"{card.id}, {one.what}", one.reason) for card in measured for one in card.roofs.missing]
    for card, path in zip(measured, _card_files(target, len(measured)), strict=True):
        try:
            tables = gpu_tables(card, roofs, today)
        except SpecError as error:
            missing.append(Unmeasured(path.name, str(error)))
            continue
        refuse_foreign(path, force)
        write_text(to_toml(tables, today), path)
        written.append(path)
    seen = {card.seen.name for card in measured}
    for gpu in identity.gpus:
        if measured and gpu.name not in seen:
            missing.append(Unmeasured(gpu.name, "torch does not list it"))
    return written, missing


def refuse_foreign(path: Path, force: bool = False) -> None:
    """SpecError where a file stands that `measure` did not write, unless it is to be overwritten."""
    if force:
        return
    try:
        with path.open(encoding="utf-8") as file:
            begins = file.readline()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError):
        begins = ""
    if not begins.startswith(WRITTEN_BY):
        raise SpecError(
            f"{path}: expected no file or one that `roofline measure` wrote, found another; --force overwrites it, "
            "--out writes elsewhere"
        )
