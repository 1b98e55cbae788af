"""What a quantisation costs a model in quality: the noise in its weights, and the perplexity that others measured.

The noise is the signal-to-noise ratio of the types of all tensors together (quantization.quality), which is known for
nearly every quantisation; a perplexity says more, but only for models and quantisations that somebody measured
(quantization.perplexity). Neither is worked out unless it is asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from roofline.quantization import layout
from roofline.quantization.perplexity import NO_MATRIX, UNQUANTISED, Perplexity, published
from roofline.quantization.quality import mixed_snr_db, snr_db, unmeasured
from roofline.spec import SpecError
from roofline.units import format_number
from roofline.weights import Weights


class FileNoise(NamedTuple):
    """What the blocks of a file tell of its own rounding, and what they would of Gaussian weights [dB]."""

    snr_db: float
    gaussian_snr_db: float | None


@dataclass(frozen=True, slots=True)
class Quality:
    """What is known of a model in a quantisation.

    snr_db: of all weights together [dB]; infinite for f32, None where a type was not measured. main_type: the one that
    holds the most bytes. worst_type: the one with the least ratio, worst_snr_db [dB]; None where one was not measured.
    unmeasured: the types without a figure. perplexity: the published one, None where there is none; is_own: whether of
    this model. native: whether the model is published in these types, so that they cost it nothing.
    """

    snr_db: float | None
    main_type: str
    worst_type: str | None
    worst_snr_db: float | None
    unmeasured: tuple[str, ...]
    perplexity: Perplexity | None
    is_own: bool
    native: bool

    @property
    def finite_snr_db(self) -> float | None:
        """The signal-to-noise ratio [dB] where it is a number: None for f32, too, which has no noise."""
        return self.snr_db if self.snr_db is not None and math.isfinite(self.snr_db) else None

    @property
    def ppl_model(self) -> str | None:
        """Whose perplexity it is; None where there is none."""
        return self.perplexity.model if self.perplexity else None

    @property
    def ppl_change_percent(self) -> float | None:
        """The published change of the perplexity [%]; of another model where is_own is false."""
        return self.perplexity.change_percent if self.perplexity else None


def quality_of(weights: Weights, model: str | None = None, native_quant: str = "") -> Quality:
    """The quality of a model's stored form. model: its id. native_quant: the quantisation that it is published in."""
    types = weights.elements_by_type
    without = tuple(unmeasured(types))
    worst = None if without else min(types, key=lambda name: snr_db(name) or 0.0)
    found = published_of(weights.quant, model)
    return Quality(
        mixed_snr_db(types),
        weights.main_type,
        worst,
        _finite(None if worst is None else snr_db(worst)),
        without,
        found,
        found is not None and found.model == model,
        bool(native_quant) and weights.quant == native_quant,
    )


def published_of(quant: str, model: str | None) -> Perplexity | None:
    """The published change; None, too, for what a file calls its types and no recipe is called."""
    try:
        return published(quant, model)
    except SpecError:
        return None


def _finite(ratio: float | None) -> float | None:
    return ratio if ratio is not None and math.isfinite(ratio) else None


# -- in words and keys ------------------------------------------------------------------------------------------------


def quality_words(quality: Quality, in_file: FileNoise | None = None) -> str:
    """'SNR 21.6 dB of the weights (most in q4_0, 21.3 dB); perplexity of llama-3-8b, another model, +7.52 % …'.

    Which is for a Gaussian's weights. in_file: of those that a file has, see file_quality.
    """
    parts = [_noise_words(quality)]
    if in_file is not None:
        parts.append(f"{format_number(in_file.snr_db)} dB by the steps that this file's own blocks have")
    if quality.native:
        parts.append(f"the model is published in {quality.main_type}, so that it loses nothing by it")
    elif quality.perplexity is not None:
        parts.append(_perplexity_words(quality.perplexity, quality.is_own))
    elif quality.main_type not in UNQUANTISED:
        parts.append("no published perplexity")
    return "; ".join(parts)


def _noise_words(quality: Quality) -> str:
    if quality.unmeasured:
        return f"no SNR of the weights, since {reason_unmeasured(quality.unmeasured)}"
    if quality.finite_snr_db is None:
        return "no rounding error: all weights are in f32"
    of = quality.main_type
    main, worst = snr_db(quality.main_type), quality.worst_snr_db
    if main is not None and format_number(main) != format_number(quality.finite_snr_db):
        of = f"most in {of}, {format_number(main)} dB"
    if quality.worst_type not in (None, quality.main_type):
        of += f"; least in {quality.worst_type}, {format_number(worst or 0.0)} dB"
    return f"SNR {format_number(quality.finite_snr_db)} dB of the weights ({of})"


def reason_unmeasured(types: tuple[str, ...]) -> str:
    """'int4 is idealised' or 'iq4_k was not measured'."""
    ideal = [name for name in types if layout(name).family == "uniform"]
    if ideal:
        return f"{', '.join(ideal)} {'is' if len(ideal) == 1 else 'are'} idealised"
    return f"{', '.join(types)} {'was' if len(types) == 1 else 'were'} not measured"


def percent(change: float) -> str:
    """'+7.52 %' of a change in per cent."""
    return f"{'+' if change >= 0 else '−'}{format_number(abs(change))} %"


def _perplexity_words(found: Perplexity, is_own: bool) -> str:
    whose = "" if is_own else f" of {found.model}, another model,"
    matrix = "" if found.imatrix == NO_MATRIX else f", importance matrix: {found.imatrix}"
    base = "" if found.base == "not stated" else f" against {found.base}"
    return f"perplexity{whose} {percent(found.change_percent or 0.0)}{base} ({found.source.title}{matrix})"


def quality_cells(quality: Quality) -> dict[str, Any]:
    """What tables have of a quality in a row."""
    return {
        "snr_db": quality.finite_snr_db,
        "ppl_change_percent": quality.ppl_change_percent,
        "ppl_model": quality.ppl_model,
    }


def quality_record(quality: Quality, in_file: FileNoise | None = None) -> dict[str, Any]:
    """A quality under the keys of the JSON contract; null where nothing is known, and why. in_file: a file's own."""
    found = quality.perplexity
    reason = reason_unmeasured(quality.unmeasured) if quality.unmeasured else None
    if reason is None and quality.finite_snr_db is None:
        reason = "f32 has no rounding error"
    return {
        "snr_db": quality.finite_snr_db,
        "main_type": quality.main_type,
        "worst_type": quality.worst_type,
        "worst_snr_db": quality.worst_snr_db,
        "native": quality.native,
        "file_snr_db": in_file.snr_db if in_file else None,
        "reason": reason,
        "ppl_change_percent": quality.ppl_change_percent,
        "ppl_model": quality.ppl_model,
        "ppl_base": found.base if found else None,
        "ppl_imatrix": found.imatrix if found else None,
        "ppl_source": found.source.title if found else None,
        "ppl_url": found.source.url if found else None,
    }
