"""`roofline check host`: what was measured on a device, by the user and by others, against predictions."""

from __future__ import annotations

from pathlib import Path

from roofline import catalog
from roofline.bench import shipped
from roofline.check.checking import Checked, check, check_file, given
from roofline.check.report import report
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
    return report(own_check(what, hw, model, quant, tokens_per_char), form, worst)


def own_check(
    what: str | None,
    hw: str | None = None,
    model: str | None = None,
    quant: str | None = None,
    tokens_per_char: float | None = None,
) -> Checked:
    """The verdicts that `own_check_report` shows."""
    is_name = what is not None and what != "-" and Path(what).suffix == "" and not Path(what).exists()
    if what is None or not is_name:
        return check_file(what, given(hw, model, quant), tokens_per_char)
    if catalog.resolve_id("hardware", what) is None:
        known = catalog.suggestion(what, catalog.files("hardware"))
        raise SpecError(f"check: expected a file or a device of the catalog, found {short(what)}; {known}")
    identity = catalog.load_hardware(what).id
    for option, value in (("--hw", hw), ("--tokens-per-char", tokens_per_char)):
        if value is not None:
            raise SpecError(f"{option}: expected it with a file, found it with the device {identity}")
    return check_device(identity, model, quant)


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
