"""Results for several users, drafts, embeddings and threads as text; see report.render."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from roofline.prediction import Phase, Prediction
from roofline.reasons import band_words, memory_words
from roofline.report import record, title
from roofline.serving.embedding import Embedding
from roofline.serving.knee import KNEE, Reach
from roofline.serving.users import Serving
from roofline.speculation import FREE, NGRAM, Speculation, vocabulary_remark
from roofline.tables import Format, render, speed_range, to_csv, to_json
from roofline.threads import Curve, Point, reasons
from roofline.units import format_duration, format_number, format_quantity

#: In tables a speed and its band are one column: the key of the column, and what stands before its figures' keys.
_RANGES = {"tok_range": "", "prefill_range": "prefill_", "decode_range": "decode_"}
_HEAD = ("hardware", "model", "quant", "runtime", "backend", "threads")
_WORK = ("prompt", "gen", "depth", "batch")

_USERS = (
    "users", "tok_s", "low_tok_s", "high_tok_s", "user_tok_s", "tpot_s", "ttft_s", "newcomer_ttft_s",
    "newcomer_tpot_s", "gap_s", "stall_s", "kv_cache_bytes", "total_bytes", "fits", "bound", "mark",
)  # fmt: skip
_ROUNDS = (
    "draft_tokens", "expected_tokens", "draft_s", "verify_s", "verify_ratio", "verify_bytes", "tok_s", "low_tok_s",
    "high_tok_s", "speedup", "ideal_speedup", "break_even", "mark",
)  # fmt: skip
_OF_WHAT_FITS = ("draft_s", "verify_s", "tok_s", "low_tok_s", "high_tok_s", "speedup")
_TEXTS = (
    "prompt", "batch", "texts_s", "tok_s", "low_tok_s", "high_tok_s", "with_head_tok_s", "together", "batch_s",
    "total_bytes", "fits", "bound",
)  # fmt: skip
_THREADS = (
    "threads", "core", "prefill_tok_s", "prefill_low_tok_s", "prefill_high_tok_s", "decode_tok_s", "decode_low_tok_s",
    "decode_high_tok_s", "read_bytes_s", "barrier_share", "mark",
)  # fmt: skip


def _head(prediction: Prediction, schema: str) -> dict[str, Any]:
    """What was asked, under the keys of a prediction's record."""
    one = record(prediction)
    return {"schema": schema, **{key: one[key] for key in _HEAD}, **{key: one["workload"][key] for key in _WORK}}


def _report(
    head: Mapping[str, Any], prediction: Prediction, rows: Sequence[Mapping[str, Any]], columns: Sequence[str],
    sentences: Sequence[str], form: Format,
) -> str:  # fmt: skip
    """A table with its sentences; the rows alone in CSV; everything in JSON."""
    if form == "json":
        return to_json(
            {**head, "rows": [{key: row.get(key) for key in columns} for row in rows], "why": list(sentences)}
        )
    if form == "csv":
        return to_csv(rows, columns)
    text = "\n".join(sentences) if form == "table" else "\n\n".join(sentences)
    return f"{title(prediction)}\n\n{_table(rows, columns, form)}\n{text}\n"


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], form: Format) -> str:
    """Rows for a person: a speed and its band in one column."""
    cells, shown = [dict(row) for row in rows], list(columns)
    for key, prefix in _RANGES.items():
        figures = [f"{prefix}{figure}" for figure in ("tok_s", "low_tok_s", "high_tok_s")]
        if set(figures) <= set(columns):
            shown[shown.index(figures[0])] = key
            shown = [column for column in shown if column not in figures]
            for cell in cells:
                cell[key] = speed_range(*(cell.get(figure) for figure in figures))
    return render(cells, shown, form)


# -- users ------------------------------------------------------------------------------------------------------------


def users(result: Serving, form: Format) -> str:
    """A table over numbers of users, the knee, and how many there may be."""
    one = result.prediction
    head = {
        **_head(one, "roofline.users/1"),
        "chunk": result.chunk,
        "cached": result.cached,
        "uncached_ttft_s": result.uncached_ttft_s,
        "min_user_tok_s": result.min_user_tok_s,
        "knee_users": None if result.knee.more else result.knee.users,
        "ridge_users": result.ridge_users,
        "users_in_memory": result.in_memory,
        "users_served": result.served.users,
        "users_surely_served": result.surely_served.users,
    }
    del head["batch"]
    rows = [asdict(line) for line in result.lines]
    return _report(head, one, rows, _USERS, _users_words(result), form)


def _users_words(result: Serving) -> list[str]:
    one = result.prediction
    if not one.memory.fits:
        return [f"Not even one user fits: {memory_words(one.memory)}."]
    lone, wanted = f"{format_number(result.alone_tok_s)} tok/s", f"{format_number(result.min_user_tok_s)} tok/s"
    knee = f"{_many(result.knee)}{_except(result.knee)} keep at least half of a lone user's {lone} each"
    served = f"{_many(result.served)}{_except(result.served)}"
    if result.surely_served.users != result.served.users:
        served += f", {_many(result.surely_served)} at the low end of the band"
    ridge = f"At the speed of light decode is compute-bound from {format_number(result.ridge_users)} users on"
    chunks = f"in steps of {result.chunk} tokens (--chunk), one of them for each running user"
    words = [
        f"Knee: {knee}: a step takes up to {KNEE:g} times as long as for one. {ridge}, caches left out.",
        f"Memory: {_in_memory(result)}.",
        f"At {wanted} or more for each: {served}.",
        f"Newcomer: its prompt is read {chunks}; unchunked is their worst gap if it were read at one go.",
    ]
    if result.cached:
        now = format_duration(float(one.ttft_s or 0.0))
        words.append(
            f"Cached: {_plural(result.cached, 'token')} of each prompt, so that a lone user's first token comes after "
            f"{now} for "
            f"{format_duration(result.uncached_ttft_s)}."
        )
    return [*words, f"Band: {band_words(one)}"]


def _many(found: Reach) -> str:
    if found.more:
        return f"{found.users} users or more"
    return _plural(found.users, "user") if found.users else "nobody"


def _except(found: Reach) -> str:
    if found.slower is None:
        return ""
    first, last = found.slower
    return f" (but not {first})" if first == last else f" (but not {first} to {last})"


def _in_memory(result: Serving) -> str:
    if result.in_memory is None:
        return "how many users fit is for its owner to say (--set memory.capacity=64GB)"
    placed = " with the layers where they are," if result.prediction.placement else ""
    return f"{_many(Reach(result.in_memory))} at most,{placed} each with a cache of {result.positions:.0f} tokens"


# -- drafts -----------------------------------------------------------------------------------------------------------


def speculation(result: Speculation, form: Format) -> str:
    """A table over drafted tokens a round, the best of them, and where verifying is no longer free."""
    one, draft = result.target, result.draft
    head = {
        **_head(one, "roofline.speculation/1"),
        "draft": draft.names.get("model") if draft else NGRAM,
        "draft_quant": draft.weights.quant if draft else None,
        "acceptance": result.acceptance,
        "plain_tok_s": float(result.plain.tok_s) if result.fits else None,
        "draft_ratio": result.cost,
        "draft_tokens": result.best.draft_tokens if result.fits else None,
        "free_up_to": result.free_up_to,
        "total_bytes": result.total_bytes,
        "usable_bytes": result.usable_bytes,
        "fits": result.fits,
    }
    rows = [asdict(line) for line in result.rounds]
    if not result.fits:
        rows = [row | dict.fromkeys(_OF_WHAT_FITS) | {"mark": ""} for row in rows]
    return _report(head, one, rows, _ROUNDS, _speculation_words(result), form)


def _speculation_words(result: Speculation) -> list[str]:
    best, one = result.best, result.target
    if not result.fits:
        return [f"Does not fit: {_both_words(result)}."]
    plain = f"{format_number(float(result.plain.tok_s))} tok/s without drafts"
    if best.speedup > 1:
        first = f"Best: {_tokens(best.draft_tokens)} a round, {format_number(best.speedup)} times {plain}."
    else:
        first = f"Not worth it at this acceptance: at best {format_number(best.speedup)} times {plain}."
    least = min((line.break_even for line in result.rounds if line.break_even is not None), default=None)
    even = "No acceptance is worth it" if least is None else f"Worth it from an acceptance of {format_number(least)}"
    source = (
        f"a drafted token takes {format_number(result.cost)} of a token's time" if result.draft else "drafts are free"
    )
    last = result.rounds[-1].draft_tokens
    if result.free_up_to == last:
        free = (
            f"Verifying is free (at most {FREE:g} times a token's time) up to {_tokens(last)}, all that were asked for"
        )
    elif result.free_up_to:
        free = f"Verifying is free (at most {FREE:g} times a token's time) up to {_tokens(result.free_up_to)}"
    else:
        free = (
            f"Verifying is never free: it takes more than {FREE:g} times a token's time from the first drafted token on"
        )
    words = [first, f"{even}; {source}.", f"{free}.", f"Memory: {_both_words(result)}."]
    remark = vocabulary_remark(one, result.draft)
    if remark:
        words.append(f"Note: {remark}")
    if one.model.expert_count:
        words.append("Note: several tokens meet more experts than one, so that verifying reads more weights.")
    return [*words, f"Band: {band_words(one)} How often drafts are accepted is taken as given."]


def _tokens(drafted: int) -> str:
    return _plural(drafted, "drafted token")


def _plural(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _both_words(result: Speculation) -> str:
    needs = f"{'both models need' if result.draft else 'the model needs'} "
    needs += format_quantity(result.total_bytes, "B", binary=True)
    if result.usable_bytes is None:
        return needs
    usable = format_quantity(result.usable_bytes, "B", binary=True)
    return f"{needs} of {usable} usable: fits" if result.fits else f"{needs}, but {usable} are usable"


# -- embeddings -------------------------------------------------------------------------------------------------------


def embeddings(results: Sequence[Embedding], form: Format) -> str:
    """Texts and tokens per second, a line for each length and batch."""
    first = results[0]
    rows = [_texts(one) for one in results]
    head = _head(first.prediction, "roofline.embedding/1")
    for key in _WORK:
        del head[key]
    head_words = (
        "With head: where the logits of all tokens are made and discarded, as llama.cpp does for most architectures."
    )
    words = [
        f"Without the output head, of which no logits are wanted. {head_words}",
        f"Memory: {memory_words(first.memory)}; the cache is that of the texts of one batch (-b).",
        f"Band: {band_words(first.prediction)}",
    ]
    return _report(head, first.prediction, rows, _TEXTS, words, form)


def _texts(one: Embedding) -> dict[str, Any]:
    workload, phase, fits = one.prediction.workload, one.phase, bool(one.memory.fits)
    speeds = {
        "texts_s": one.texts_s,
        "tok_s": float(phase.tok_s),
        "low_tok_s": float(phase.low_tok_s),
        "high_tok_s": float(phase.high_tok_s),
        "with_head_tok_s": float(one.with_head.tok_s),
        "batch_s": one.batch_s,
        "bound": str(phase.bound),
    }
    return {
        "prompt": int(workload.prompt),
        "batch": int(workload.batch),
        **{key: value if fits else None for key, value in speeds.items()},
        "together": one.together,
        "total_bytes": float(one.memory.total),
        "fits": fits,
    }


# -- threads ----------------------------------------------------------------------------------------------------------


def threads(result: Curve, form: Format) -> str:
    """Speeds over numbers of threads, the best ones as options of llama.cpp's programs, and why."""
    head = {
        **_head(result.prediction, "roofline.threads/1"),
        "decode_threads": result.decode.threads if result.decode else None,
        "prefill_threads": result.prefill.threads if result.prefill else None,
        "command": result.command,
    }
    rows = [_threads(point, result) for point in result.points]
    memory = result.prediction.memory
    words = [f"Best: {result.command}", *reasons(result)]
    if not memory.fits:
        words = [f"Does not fit: {memory_words(memory)}."]
    return _report(head, result.prediction, rows, _THREADS, [*words, f"Band: {band_words(result.prediction)}"], form)


def _threads(point: Point, result: Curve) -> dict[str, Any]:
    fits = bool(result.prediction.memory.fits)
    marks = [name for name, best in (("best -t", result.decode), ("best -tb", result.prefill)) if best is point]
    return {
        "threads": point.threads,
        "core": point.core,
        **_speeds("prefill", point.prefill if fits else None),
        **_speeds("decode", point.decode if fits else None),
        "read_bytes_s": point.bandwidth,
        "barrier_share": point.barrier_share,
        "mark": ", ".join(marks) if fits else "",
    }


def _speeds(name: str, phase: Phase | None) -> dict[str, float]:
    if phase is None:
        return {}
    return {
        f"{name}_tok_s": float(phase.tok_s),
        f"{name}_low_tok_s": float(phase.low_tok_s),
        f"{name}_high_tok_s": float(phase.high_tok_s),
    }
