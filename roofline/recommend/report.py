"""A recommendation as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from roofline.comparison_report import LEGEND, marked, memory_words, price_words
from roofline.economy import power_mark
from roofline.quality import quality_cells
from roofline.recommend.asking import Recommendation
from roofline.recommend.candidates import Candidate, Speed
from roofline.recommend.ranking import Ranked
from roofline.recommend.wishes import Miss, Wishes
from roofline.tables import Format, render, speed_range, to_csv, to_json

SCHEMA = "roofline.recommendation/1"
_TABLE = (
    "hardware", "model", "quant", "snr_db", "ppl_change_percent", "ppl_model", "decode_range", "prefill_range",
    "ttft_s", "memory_range", "price_range", "power_range", "usd_per_million", "certain", "dominated_by", "reason",
)  # fmt: skip


def report(found: Recommendation, form: Format, most: int, order: str | None = None) -> str:
    """The best `most` candidates with their reasons, what nearly made it, and what --why-not asked for."""
    ranked = found.ranked[:most]
    if form == "json":
        return to_json(
            {
                "schema": SCHEMA,
                "wishes": _wishes(found.wishes),
                "considered": found.considered,
                "meeting": len(found.ranked),
                "ranked": [record(one) for one in ranked],
                "near": [_missing(*pair) for pair in found.near],
                "why_not": [_missing(*pair) for pair in found.asked_for],
                "failed": [{"name": name, "reason": reason} for name, reason in found.failed.items()],
            }
        )
    rows = [record(one) for one in ranked]
    if form == "csv":
        keys = list(rows[0]) if rows else ["hardware"]
        return to_csv(rows, keys)
    sections = []
    if found.asked_for:
        lines = [{**_cells(one), **_missing(one, misses)} for one, misses in found.asked_for]
        shown = ("hardware", "model", "quant", "decode_range", "prefill_range", "price_range", "power_range", "missed")
        sections.append(("Why not", render(lines, _told(lines, shown), form)))
    if ranked:
        speeds = found.wishes.min_decode or found.wishes.min_prefill
        costs = found.wishes.max_cost is not None or order == "cost"
        lines = [
            {
                **_cells(one.candidate),
                "usd_per_million": one.candidate.usd_per_million if costs else None,
                "certain": one.certain if speeds else None,
                "dominated_by": one.dominated_by,
                "reason": one.reason,
            }
            for one in ranked
        ]
        rest = len(found.ranked) - len(ranked)
        more = f"\n{rest} more meet the wishes; --top {len(found.ranked)} shows all.\n" if rest else ""
        title = f"{len(found.ranked)} of {found.considered} {_what(found)}meet the wishes, the best first"
        sections.append((title, render(lines, _told(lines, _TABLE), form) + more))
    if found.near:
        lines = [{**_cells(one), **_missing(one, misses)} for one, misses in found.near]
        shown = ("hardware", "model", "quant", "decode_range", "prefill_range", "price_range", "power_range", "missed")
        sections.append(("What nearly made it", render(lines, _told(lines, shown), form)))
    mark = "## " if form == "md" else ""
    text = "\n".join(f"{mark}{title}\n\n{body}" for title, body in sections)
    return text + "".join(f"\n{remark}" for remark in _remarks(found, ranked)) + "\n"


def _wishes(wishes: Wishes) -> dict[str, Any]:
    """The wishes that there are, under keys with their units."""
    limits = {
        "min_decode_tok_s": wishes.min_decode,
        "min_prefill_tok_s": wishes.min_prefill,
        "max_ttft_s": wishes.max_ttft,
        "max_price_usd": wishes.max_price,
        "max_power_w": wishes.max_watts,
        "max_usd_per_million": wishes.max_cost,
        "min_snr_db": wishes.min_snr,
    }
    return {key: value for key, value in limits.items() if value is not None} | {"sure": wishes.sure}


def _what(found: Recommendation) -> str:
    """'models on X ' or 'devices for Y ', where all share a device or a model."""
    shown = [one.candidate for one in found.ranked]
    devices, models = ({getattr(one, key) for one in shown} for key in ("name", "model"))
    if len(models) == 1 and len(devices) > 1:
        return f"devices for {models.pop()} "
    return f"models on {devices.pop()} " if len(devices) == 1 and len(models) > 1 else ""


def _told(lines: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[str]:
    """The columns that tell something: not what nobody knows, nor what belongs to a name that all lines share."""
    alone = len(lines) == 1
    varied = {key: alone or len({line[key] for line in lines}) > 1 for key in ("hardware", "model", "quant")}
    varied |= {"price_range": varied["hardware"], "power_range": varied["hardware"]}
    return [key for key in keys if varied.get(key, True) and {line.get(key) for line in lines} - {None, ""}]


def _cells(one: Candidate) -> dict[str, Any]:
    """A candidate as tables show it."""

    def words(speed: Speed | None) -> str | None:
        return speed_range(speed.tok_s, speed.low, speed.high) if speed else None

    power = None if one.power_w is None else marked(f"{one.power_w:.0f}", power_mark(one.power_meaning))
    return {
        "hardware": one.hardware,
        "model": one.model,
        "quant": one.quant,
        **quality_cells(one.quality),
        "decode_range": words(one.decode),
        "prefill_range": words(one.prefill),
        "ttft_s": one.ttft_s,
        "memory_range": memory_words(one.total_bytes, one.usable_bytes),
        "price_range": price_words(one.price, one.price_date, one.price_basis, "+" if one.left_out else ""),
        "power_range": power,
    }


def _record(one: Candidate) -> dict[str, Any]:
    """A candidate with every figure."""
    found: dict[str, Any] = {"hardware": one.hardware, "model": one.model, "quant": one.quant, "fits": one.fits}
    for name, speed in (("prefill", one.prefill), ("decode", one.decode)):
        found |= {
            f"{name}_tok_s": speed and speed.tok_s,
            f"{name}_low_tok_s": speed and speed.low,
            f"{name}_high_tok_s": speed and speed.high,
            f"{name}_bound": speed and speed.bound,
        }
    return found | {
        "ttft_s": one.ttft_s,
        "total_bytes": one.total_bytes,
        "usable_bytes": one.usable_bytes,
        "parameters": one.parameters,
        "bits_per_weight": one.bits,
        **quality_cells(one.quality),
        "price_usd": one.price,
        "price_date": one.price_date or None,
        "price_basis": one.price_basis or None,
        "power_w": one.power_w,
        "power_meaning": one.power_meaning,
        "not_covered": one.left_out or None,
        "usd_per_million": one.usd_per_million,
    }


def record(one: Ranked) -> dict[str, Any]:
    """A ranked candidate with every figure."""
    place = {"certain": one.certain, "dominated_by": one.dominated_by or None, "reason": one.reason or None}
    return _record(one.candidate) | place


def _missing(one: Candidate, misses: Sequence[Miss]) -> dict[str, Any]:
    """A candidate with what it misses."""
    return _record(one) | {"missed": "; ".join(str(miss) for miss in misses) or "nothing: it meets all wishes"}


def _remarks(found: Recommendation, ranked: Sequence[Ranked]) -> list[str]:
    """What the columns mean, what prices leave out, and what was not worked out."""
    shown = [one.candidate for one in ranked] + [one for one, _ in [*found.near, *found.asked_for]]
    lines = []
    if ranked:
        lines.append(
            "sure: the low ends of the bands meet the wished speeds, too. dominated by: a line that is no worse in any "
            "figure and better in one."
        )
    marks = {power_mark(one.power_meaning) for one in shown if one.power_w is not None}
    marks |= {"?"} if any(one.price_basis == "assumed" for one in shown) else set()
    legend = [text for mark, text in LEGEND.items() if mark in marks]
    if legend and len({one.hardware for one in shown}) > 1:
        lines.append(f"Marks: {'; '.join(legend)}.")
    left_out = sorted({one.left_out for one in shown if one.left_out and one.price is not None})
    if left_out:
        lines.append(f"+ a price and a power of {', or of '.join(left_out)}.")
    if any(one.quality.perplexity for one in shown):
        lines.append(
            "quality: SNR of the weights, were they Gaussian. perplexity: by how much it is published to rise, against "
            "f16 as a rule; another model's tells a rank, not a value. `roofline predict` names the source."
        )
    if found.failed:
        reason = next(iter(found.failed.values()))
        lines.append(f"Not predicted: {len(found.failed)}, the first because of {reason}")
    return lines
