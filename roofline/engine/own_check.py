"""`roofline check host`: what was measured on a device, by the user and by others, against predictions."""

from __future__ import annotations

from pathlib import Path

from roofline import catalog
from roofline.bench import shipped
from roofline.check.checking import Checked, check
from roofline.check.report import check_report, report
from roofline.engine.record import own, own_file
from roofline.spec import SpecError
from roofline.tables import Format
from roofline.units import short


def own_check_report(
    what: str | None,
    hw: str | None,
    model: str | None,
    quant: str | None,
    form: Format,
    worst: int = 10,
    tokens_per_char: float | None = None,
) -> str:
    """The check of a file, or of a device of the catalog where `what` is no file but the name of one."""
    is_name = what is not None and what != "-" and Path(what).suffix == "" and not Path(what).exists()
    if what is None or not is_name:
        return check_report(what, hw, model, quant, form, worst, tokens_per_char)
    if catalog.resolve_id("hardware", what) is None:
        known = catalog.suggestion(what, catalog.files("hardware"))
        raise SpecError(f"check: expected a file or a device of the catalog, found {short(what)}; {known}")
    identity = catalog.load_hardware(what).id
    for option, given in (("--hw", hw), ("--tokens-per-char", tokens_per_char)):
        if given is not None:
            raise SpecError(f"{option}: expected it with a file, found it with the device {identity}")
    return report(check_device(identity, model, quant), form, worst)


def check_device(hardware: str, model: str | None = None, quant: str | None = None) -> Checked:
    """Every row of a device, the user's own first; SpecError where there is none."""
    rows = [
        one
        for one in (*own().observations, *shipped().observations)
        if one.hardware == hardware and model in (None, one.model) and quant in (None, one.quant)
    ]
    if not rows:
        raise SpecError(
            f"check {hardware}: expected measured speeds of it in {own_file()} or among the shipped ones, found none; "
            "`roofline bench` makes some"
        )
    return check(rows)
