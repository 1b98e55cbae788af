"""The quality of a file's weights as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roofline.file_quality.measuring import RUNS, SIMPLE, FileQuality, Progress, TensorQuality, measure, sample_words
from roofline.file_quality.sums import Sums, total
from roofline.quality import FileNoise
from roofline.quantization.quality import snr_db
from roofline.readers import GgufFile
from roofline.spec import SpecError
from roofline.tables import Format, printable, render, to_json
from roofline.units import format_number

SCHEMA = "roofline.file_quality/1"
_COLUMNS = (
    "role", "type", "elements", "rms", "kurtosis", "largest_weight", "file_snr_db", "gaussian_snr_db", "snr_gain_db",
    "fp16_share", "bf16_share", "broken",
)  # fmt: skip
_TRIED = ("type", "file_snr_db", "gaussian_snr_db", "snr_gain_db")
_FEW = 4  # runs of a tensor for a first look
WHOLE = "whole file"


def file_report(path: Path, form: Format, whole: bool = False, progress: Progress = lambda _share, _what: None) -> str:
    """What can be known of the quality of a GGUF file's weights from the file alone."""
    quality = measure(path, whole, progress=progress)
    rows, tried = rows_of(quality), tried_rows(quality)
    if form == "json":
        return to_json(
            {
                "schema": SCHEMA, "file": str(path), "is_whole": quality.is_whole, "elements": quality.elements,
                "read_elements": quality.read, "unread_types": list(quality.unread), "roles": rows[:-1],
                "total": rows[-1], "requantised": tried,
            }
        )  # fmt: skip
    if form == "csv":
        return render(rows, _COLUMNS, "csv")
    shown = [key for key in _COLUMNS if any(row[key] is not None for row in rows)]
    text = f"{printable(str(path))}\n\n{render(rows, shown, form)}"
    if tried:
        title = "These weights in other types, rounded without a search and without an importance matrix"
        text += f"\n{title}\n\n{render(tried, _TRIED, form)}"
    return text + "".join(f"\n{line}" for line in _remarks(quality)) + "\n"


def rows_of(quality: FileQuality) -> list[dict[str, Any]]:
    """A row for each role of tensor, and one for the whole file."""
    rows = [_row(role, tensors) for role, tensors in quality.by_role().items()]
    return [*rows, _row(WHOLE, quality.tensors)]


def _row(role: str, tensors: Sequence[TensorQuality]) -> dict[str, Any]:
    sums = total(tensor.sums for tensor in tensors)
    return {
        "role": role,
        "type": list(dict.fromkeys(tensor.type for tensor in tensors)),
        "elements": sum(tensor.elements for tensor in tensors),
        "rms": sums.rms,
        "kurtosis": sums.kurtosis,
        "largest_weight": sums.largest if sums.weights else None,
        "file_snr_db": sums.snr_db,
        "gaussian_snr_db": sums.gaussian_snr_db,
        "snr_gain_db": _difference(sums.snr_db, sums.gaussian_snr_db),
        "fp16_share": sums.held_share("fp16"),
        "bf16_share": sums.held_share("bf16"),
        "broken": round(sums.broken) or None,
    }


def tried_rows(quality: FileQuality) -> list[dict[str, Any]]:
    """What the simple types would make of weights that the file stores as floats; none where it has none."""
    sums = quality.sums
    found = [(name, sums.tried_snr_db(name), snr_db(name)) for name in SIMPLE]
    return [
        {"type": name, "file_snr_db": own, "gaussian_snr_db": gaussian, "snr_gain_db": _difference(own, gaussian)}
        for name, own, gaussian in found
        if own is not None
    ]


def _difference(own: float | None, other: float | None) -> float | None:
    return None if own is None or other is None else own - other


def against_gaussian(sums: Sums) -> str:
    """'SNR of the rounding 21.9 dB, estimated from the blocks' own steps; Gaussian weights would have 22.1 dB'."""
    if sums.snr_db is None:
        return ""
    text = f"SNR of the rounding {format_number(sums.snr_db)} dB, estimated from the blocks' own steps"
    if sums.gaussian_snr_db is None:
        return text
    gain = sums.snr_db - sums.gaussian_snr_db
    better = "better" if gain > 0 else "worse"
    return (
        f"{text}; Gaussian weights would have {format_number(sums.gaussian_snr_db)} dB: these are rounded "
        f"{format_number(abs(gain), 2)} dB {better}"
    )


def _remarks(quality: FileQuality) -> list[str]:
    sums = quality.sums
    words = against_gaussian(sums)
    lines = [f"{words}."] if words else []
    covered = [tensor for tensor in quality.tensors if tensor.sums.noisy_squares > 0]
    types = dict.fromkeys(tensor.type for tensor in quality.tensors if tensor not in covered)
    if covered and types:
        lines.append(f"Without tensors in {', '.join(types)}, which tell no steps.")
    elif types and not quality.has_floats:
        lines.append(f"No estimate of the rounding: blocks of {', '.join(types)} tell no steps.")
    lines.append("Kurtosis: 3 for Gaussian weights, 6 for Laplacian ones; more is heavier tails.")
    if sums.broken:
        lines.append("Some blocks hold numbers that are not finite; they are counted, and left out of the rest.")
    if quality.unread:
        lines.append(f"Not read: tensors in {', '.join(quality.unread)}.")
    more = "" if quality.is_whole or quality.read == quality.elements else "; --whole reads all"
    return [*lines, f"Norms and biases are left out; {sample_words(quality, RUNS)}{more}."]


def first_look(file: GgufFile) -> Sums | None:
    """Sums over a small sample of a file's weights, in a second at most.

    None where they are not all there, stored in the other byte order, or no matrices.
    """
    if file.weights != "complete":
        return None
    try:
        return measure(file.path, runs=_FEW, known=file).sums
    except SpecError:  # the shape of such a file is told all the same
        return None


def file_noise(file: GgufFile) -> FileNoise | None:
    """What a small sample of a file's blocks tells of its rounding; None where nothing does."""
    sums = first_look(file)
    return None if sums is None or sums.snr_db is None else FileNoise(sums.snr_db, sums.gaussian_snr_db)
