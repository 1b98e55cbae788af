"""What `roofline calibrate` does: read, fit, report, and write where it may."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from roofline import fitted
from roofline.bench import Reading, read_path, shipped
from roofline.calibrate import device
from roofline.calibrate.calibration import WRITTEN_BY, calibrate, to_toml
from roofline.calibrate.report import device_report, report, scores_toml, shipped_scores
from roofline.catalog import load_hardware, user_directory
from roofline.files import write_text
from roofline.spec import SpecError
from roofline.tables import Format


def run_device(hardware: str, observations: Path | None, own: Reading, form: Format) -> tuple[str, list[Path]]:
    """(report, files written): the factors of one device from the user's own observations of it, or from a file.

    Raises SpecError when they are too few.
    """
    identity = load_hardware(hardware).id
    reading = own if observations is None else read_path(observations)
    found = device.calibrate_device(
        reading.observations, identity, "own observations" if observations is None else observations.name
    )
    path = device.target(user_directory(), identity)
    _refuse_foreign(path, device.WRITTEN_BY)
    write_text(device.to_toml(found.local), path)
    return device_report(found, form), [path]


def run(
    observations: Path | None, backends: Sequence[str], keep: bool, out: Path | None, scores: bool, form: Format
) -> tuple[str, list[Path]]:
    """(report, files written).

    keep: begin at the shipped fit and write to the user's directory. out: begin at the priors and write to a file.
    scores: only the shipped ones.

    Raises SpecError when the observations are too few, and for a file that was not written by a calibration.
    """
    if scores:
        return shipped_scores(form), []
    targets = [*([user_directory() / fitted.FILE] if keep else []), *([out] if out else [])]
    for target in targets:
        _refuse_foreign(target)
        _refuse_foreign(_scores_beside(target))
    reading: Reading = shipped() if observations is None else read_path(observations)
    calibration = calibrate(reading.observations, backends, update=keep)
    calibration.skipped.extend((one.id or f"row {one.row}", one.reason) for one in reading.skipped)
    text = to_toml(calibration, "shipped observations" if observations is None else observations.name)
    written = []
    for target in targets:
        write_text(text, target)
        beside = _scores_beside(target)
        write_text(scores_toml(calibration, text), beside)
        written += [target, beside]
    return report(calibration, form), written


def _scores_beside(target: Path) -> Path:
    return target.with_name(f"{target.stem}_scores.toml")


def _refuse_foreign(path: Path, begins_with: str = WRITTEN_BY) -> None:
    """SpecError when a file stands there that a calibration of this kind did not write."""
    try:
        with path.open(encoding="utf-8") as file:
            begins = file.readline().rstrip()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError):
        begins = ""
    if not begins.startswith(begins_with):
        raise SpecError(f"{path}: expected no file or one that a calibration wrote, found another; it is left alone")
