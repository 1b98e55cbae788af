"""A calibration as text: how right it is on left-out devices, what moved and how sure, what was not used."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from roofline import fitted
from roofline.calibrate.calibration import Calibration, quoted
from roofline.calibrate.crossval import Score
from roofline.calibrate.device import DeviceCalibration
from roofline.spec import SpecError, read_toml
from roofline.tables import Format, render, to_json

SCORE_COLUMNS = (
    "group", "rows", "devices", "median_error", "geometric_factor", "bias", "within_10", "within_20", "within_50",
    "devices_within_factor_1_5", "coverage",
)  # fmt: skip
_ERROR_COLUMNS = ("phase", "rows", "models", "before", "after", "left_out", "noise")
_MOVED_COLUMNS = ("constant", "prior", "value", "error")
SCORES = Path(fitted.__file__).resolve().parent / "fitted_scores.toml"


def report(calibration: Calibration, form: Format) -> str:
    """Scores, constants and skipped rows in a format; CSV holds the scores alone."""
    scores = [asdict(one) for one in calibration.scores]
    moved = [asdict(one) for part in calibration.backends for one in part.moved]
    skipped = [{"id": identity, "reason": reason} for identity, reason in calibration.skipped]
    if form == "json":
        return to_json({"schema": "roofline.calibration/1", "scores": scores, "constants": moved, "skipped": skipped})
    if form == "csv":
        return render(scores, SCORE_COLUMNS, "csv")
    sections = [
        ("Leave one device out", render(scores, SCORE_COLUMNS, form)),
        ("Constants", render(moved, _MOVED_COLUMNS, form)),
        (f"Not used: {len(skipped)} rows", _reasons(skipped, form)),
    ]
    mark = "## " if form == "md" else ""
    return "\n".join(f"{mark}{name}\n\n{text}" for name, text in sections)


def device_report(found: DeviceCalibration, form: Format) -> str:
    """How a device differs from its kind, how sure that is, and how much it helps; CSV holds the errors alone."""
    errors = [asdict(one) for one in found.errors]
    factors = [{"factor": name, "value": one.value, "error": one.error} for name, one in found.local.factors.items()]
    skipped = [{"id": identity, "reason": reason} for identity, reason in found.skipped]
    bands = {"decode": found.local.decode, "prefill": found.local.prefill}
    if form == "json":
        return to_json(
            {
                "schema": "roofline.device_calibration/1", "hardware": found.hardware, "backend": found.local.backend,
                "errors": errors, "band": bands, "factors": factors, "skipped": skipped,
            }
        )  # fmt: skip
    if form == "csv":
        return render(errors, _ERROR_COLUMNS, "csv")
    band = [{"phase": phase, "band": factor} for phase, factor in bands.items()]
    sections = [
        (f"{found.hardware}, {found.local.backend}: median error", render(errors, _ERROR_COLUMNS, form)),
        ("Band: measurements lie within ÷ to × of the expected speed", render(band, ("phase", "band"), form)),
        ("This device against its kind", render(factors, ("factor", "value", "error"), form)),
    ]
    if skipped:
        sections.append((f"Not used: {len(skipped)} rows", _reasons(skipped, form)))
    mark = "## " if form == "md" else ""
    return "\n".join(f"{mark}{name}\n\n{text}" for name, text in sections)


def _reasons(skipped: Sequence[dict[str, str]], form: Format) -> str:
    """How many rows were left out for each reason, and the first of them."""
    counted: dict[str, list[str]] = {}
    for row in skipped:
        counted.setdefault(row["reason"], []).append(row["id"])
    rows = [{"reason": reason, "rows": len(ids), "id": ids[0]} for reason, ids in counted.items()]
    rows.sort(key=lambda row: -int(str(row["rows"])))
    return render(rows, ("rows", "reason", "id"), form) if rows else "none\n"


def scores_toml(calibration: Calibration, constants: str) -> str:
    """The scores as a file that belongs to a file of constants, told by its digest."""
    lines = [
        "# Written by `roofline calibrate` beside the constants: how right they are on devices left out of the fit.",
        f'constants_sha256 = "{digest(constants)}"',
    ]
    for one in calibration.scores:
        lines += ["", "[[scores]]", *_fields(one)]
    return "\n".join(lines) + "\n"


def _fields(one: Score) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in asdict(one).items() if value is not None]


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    return str(value) if isinstance(value, int) else repr(float(f"{value:.4g}"))


def digest(text: str) -> str:
    """SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def shipped_scores(form: Format) -> str:
    """The scores that belong to the shipped constants in a format; SpecError when they belong to others."""
    return render(score_rows(), SCORE_COLUMNS, form)


def score_rows() -> list[dict[str, Any]]:
    """The scores that belong to the shipped constants by the names of SCORE_COLUMNS; SpecError as above."""
    data = read_toml(SCORES)
    constants = (SCORES.parent / fitted.FILE).read_text(encoding="utf-8")
    if data["constants_sha256"] != digest(constants):
        expected = f"expected the digest of {fitted.FILE}, found another: run calibrate again"
        raise SpecError(f"{SCORES}: constants_sha256: {expected}")
    return list(data["scores"])
