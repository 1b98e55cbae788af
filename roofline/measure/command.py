"""What `roofline measure` does: detect, measure, report, and write the file where it may."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

from roofline.catalog import user_directory
from roofline.files import write_text
from roofline.measure.hostfile import HOST, WRITTEN_BY, host_tables, to_toml
from roofline.measure.identity import identify
from roofline.measure.match import match, why_not
from roofline.measure.report import identity_report as described
from roofline.measure.report import report
from roofline.measure.roofs import measure_roofs
from roofline.measure.source import Live, Source
from roofline.report import Format
from roofline.spec import SpecError


def identity_report(hardware: str | None, form: Format, source: Source | None = None) -> str:
    """What this machine is; or, for a part of the catalog, a line for everything in which it is another one."""
    identity = identify(source or Live())
    if hardware is not None:
        return "".join(f"{line}\n" for line in why_not(identity, hardware))
    return described(identity, match(identity), form)


def run(
    quick: bool, out: Path | None, force: bool, form: Format, progress: Callable[[float, str], None]
) -> tuple[str, list[Path]]:
    """(report, files written). SpecError before anything is measured where the file may not be written."""
    target = out or user_directory() / "hardware" / f"{HOST}.toml"
    refuse_foreign(target, force)
    source = Live()
    identity = identify(source)
    found = match(identity)
    roofs = measure_roofs(identity, source, quick, progress)
    today = date.today()
    write_text(to_toml(host_tables(identity, found, roofs, today), today), target)
    return report(identity, found, roofs, form), [target]


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
