"""What `load` says of a prediction: times in parts, pages and faults, what is resident, tokens from the disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from roofline.beyond_memory import again, cases, helps, token_bytes
from roofline.loading import MANY_TOKENS, Loading
from roofline.paging import faults
from roofline.report import memory_record, title
from roofline.tables import Format, printable, render, to_json
from roofline.units import format_duration, format_number, format_quantity

SCHEMA = "roofline.loading/1"
_TIME = ("part", "cold_s", "warm_s")
_PAGE = ("touched_by", "pages", "page_bytes", "file_share", "faults_fewest", "faults", "faults_most", "faults_major")
_STAGE = ("stage", "mapped_bytes", "cached_bytes", "own_bytes", "res_bytes")
_CASE = ("policy", "disk_read_bytes", "token_s", "decode_tok_s")
_HELP = ("change", "takes", "size_bytes", "disk_bytes_s", "decode_tok_s")


def report(loading: Loading, form: Format) -> str:
    """A loading in a format; CSV is what is resident, stage by stage."""
    if form == "json":
        return to_json(record(loading))
    if form == "csv":
        return render(_stage_rows(loading), _STAGE, "csv")
    mark = "## " if form == "md" else ""
    parts = [title(loading.prediction) + "\n"]
    parts += [f"{mark}{name}\n\n{text}" for name, text in _sections(loading, form)]
    parts.append("\n\n".join(words(loading)) + "\n" if form == "md" else "".join(f"{one}\n" for one in words(loading)))
    return "\n".join(parts)


def _sections(loading: Loading, form: Format) -> Iterator[tuple[str, str]]:
    yield "Time", render(_time_rows(loading), _TIME, form)
    yield f"Pages of {_page(loading)}", render(_page_rows(loading), _PAGE, form)
    yield "In memory", render(_stage_rows(loading), _STAGE, form)
    from_disk, helping = _case_rows(loading), _help_rows(loading)
    if from_disk:
        yield "A token from the disk", render(from_disk, _CASE, form)
    if helping:
        yield "What would help", render(helping, _HELP, form)


# -- rows -------------------------------------------------------------------------------------------------------------


def _time_rows(loading: Loading) -> list[dict[str, Any]]:
    load, first = loading.load, loading.first_token
    rows = [{"part": "file read from the disk", "cold_s": load.read, "warm_s": load.reread}]
    if load.copied is None or load.copied:
        rows.append({"part": "weights copied", "cold_s": load.copied, "warm_s": load.copied})
    if load.repacked:
        rows.append({"part": "weights repacked", "cold_s": load.repacked, "warm_s": load.repacked})
    rows.append({"part": "loaded", "cold_s": load.cold, "warm_s": load.warm})
    if first is not None:
        rows.append({"part": "first token", "cold_s": first.most, "warm_s": first.warm})
        if first.least < first.most:
            rows.append(
                {"part": "first token, mapped lazily, at best", "cold_s": first.least, "warm_s": first.least_warm}
            )
    return rows


def _page_rows(loading: Loading) -> list[dict[str, Any]]:
    pages = [("the file", loading.file_pages, False)]
    if loading.is_mapped:
        one = "one token, without the copy" if loading.repacked else "one token"
        pages.append((one, float(loading.touched.pages(1)), True))
        if loading.is_mixture:
            pages += [(f"{count} tokens", float(loading.touched.pages(count)), True) for count in MANY_TOKENS]
    return [_page_row(loading, name, count, by_token) for name, count, by_token in pages]


def _page_row(loading: Loading, name: str, count: float, by_token: bool) -> dict[str, Any]:
    page = loading.page.size
    row = {"touched_by": name, "pages": count, **loading.size_and_share(count)}
    if not by_token:
        return row
    found = faults(count, page)
    return row | {
        "faults_fewest": found.fewest, "faults": found.expected, "faults_most": found.most, "faults_major": found.major,
    }  # fmt: skip


def _stage_rows(loading: Loading) -> list[dict[str, Any]]:
    return [
        {
            "stage": name,
            "mapped_bytes": held.mapped,
            "cached_bytes": held.cached,
            "own_bytes": None if loading.is_card else held.own,
            "res_bytes": None if loading.is_card else held.shown,
        }
        for name, held in loading.stages()
    ]


def _case_rows(loading: Loading) -> list[dict[str, Any]]:
    return [
        {"policy": case.policy, "disk_read_bytes": case.read, "token_s": case.seconds, "decode_tok_s": case.tok_s}
        for case in cases(loading.prediction)
    ]


def _help_rows(loading: Loading) -> list[dict[str, Any]]:
    return [
        {
            "change": one.change,
            "takes": one.takes,
            "size_bytes": one.size,
            "disk_bytes_s": one.rate,
            "decode_tok_s": one.tok_s,
        }
        for one in helps(loading.prediction)
    ]


# -- words ------------------------------------------------------------------------------------------------------------


def words(loading: Loading) -> list[str]:
    """What the tables mean, in sentences that begin with what they are about."""
    found = [f"Pages: {_page_words(loading)}", f"Resident: {_resident_words(loading)}"]
    if loading.wanted is not None:
        shown = format_quantity(loading.wanted, "B")
        found.append(f"{shown} in top: {_reached_words(loading)}")
    return [printable(text) for text in [*found, f"Why: {_why(loading)}"]]


def _page_words(loading: Loading) -> str:
    page = loading.page
    told = f"{_page(loading)} ({page.basis}: {page.reason})."
    if not loading.is_mapped:
        where = "the card" if loading.is_card else "the process's own memory"
        return f"{told} The weights are copied to {where}: a token touches no page of the file."
    reads = (
        "the weights of all layers, and a row of the token embedding"
        if not loading.prediction.model.tied_embeddings
        else "all weights; the embedding is the output head too"
    )
    if loading.is_mixture:
        reads += ", of each layer's experts those that its router picks"
    many = (
        "On Linux faults are far fewer than pages: each maps its cached neighbours within 64 KiB (expected), or 2 MiB "
        "at once (fewest); only without read-ahead there is one a page (most)."
    )
    return f"{told} A token reads {reads}. {many}"


def _resident_words(loading: Loading) -> str:
    if loading.is_card:
        return "the file's pages stay in the page cache of the host as long as it has room, and are given up first."
    if not loading.is_mapped:
        return (
            "the weights are the process's own, which the system cannot give up without swap; the page cache keeps the "
            "file as well while there is room."
        )
    text = (
        f"RES in top is the process's own {_gib(loading.own)} (KV cache, buffers{_repacked_words(loading)}), which "
        "cannot be given up, and the pages of the file that it has touched, which can."
    )
    if loading.repacked:
        return (
            f"{text} While it is repacked the whole file is read; tokens then read the copy, and the file's pages "
            "beside it go first when memory is short. --no-repack reads the file itself."
        )
    return (
        f"{text} llama.cpp populates the mapping on Linux (MAP_POPULATE), but for --numa; else pages come as they are "
        "touched."
    )


def _repacked_words(loading: Loading) -> str:
    return f", {_gib(loading.repacked)} of repacked weights" if loading.repacked else ""


def _reached_words(loading: Loading) -> str:
    if loading.repacked or not loading.is_mapped:
        return "the weights are copied while it is loaded, so that all of them are read before the first pass begins."
    reached = loading.reached
    if reached is None:
        if loading.shown_after_one > loading.own + loading.room:
            return f"a process never shows as much, since memory has {_gib(loading.own + loading.room)} for it."
        return "a process never shows as much, since all that a token reads is less."
    span, share = reached
    layers = loading.prediction.model.layers
    where = f"layer {span.layer + 1} of {layers}" if span.layer is not None else span.name
    return (
        f"a lazily mapped process shows this when its first pass is in {where}, after {format_number(share)} % "
        f"of the bytes of one token; it ends that token with {_gib(loading.shown_after_one)} where memory has the room."
    )


def _why(loading: Loading) -> str:
    prediction, load = loading.prediction, loading.load
    size, rate = format_quantity(float(loading.layout.size), "B"), format_quantity(loading.rate, "B/s")
    text = f"{size} at {rate} are {format_duration(load.read)}"
    if not prediction.runs:
        return f"{text}; the cache and the buffers alone are too large, it does not run."
    if loading.is_mapped and not load.repacked:
        text += (
            "; a populated mapping reads them before the first pass (sum), a lazy one under it (at best the longer of "
            "the two)"
        )
    else:
        text += ", before the first pass can begin"
    if load.copied is None:
        text += "; copying to the card is left out, since its link is not stated"
    roof = prediction.disk
    if roof is None or not roof.is_used:
        return f"{text}. All of it fits: a token reads nothing from the disk."
    read, token = (_gib(size) for size in (again(prediction), token_bytes(prediction)))
    text += (
        f". {_gib(float(roof.excess))} of {_gib(roof.weights)} of weights find no place: of the {token} that a token "
        f"needs it reads {read} again if memory keeps the others, and all where the cache drops what was unused for "
        "longest, which in a scan is what comes next."
    )
    return f"{text} Run with --no-repack: a repacked copy is not the file's." if prediction.memory.repacked else text


def _page(loading: Loading) -> str:
    return _gib(float(loading.page.size), 1)


def _gib(size: float, digits: int = 3) -> str:
    return format_quantity(size, "B", digits=digits, binary=True)


# -- JSON -------------------------------------------------------------------------------------------------------------


def record(loading: Loading) -> dict[str, Any]:
    """The JSON of `load`."""
    prediction = loading.prediction
    names, workload, roof = prediction.names, prediction.workload, prediction.disk
    return {
        "schema": SCHEMA,
        "hardware": names["hardware"],
        "model": names["model"],
        "quant": prediction.weights.quant,
        "runtime": names["runtime"],
        "backend": prediction.machine.backend,
        "prompt": float(workload.prompt),
        "disk_bytes_s": loading.rate,
        "file_bytes": float(loading.layout.size),
        "mapped": loading.is_mapped,
        "runs": prediction.runs,
        "fits": bool(prediction.memory.fits),
        "excess_bytes": float(roof.excess) if roof is not None else 0.0,
        "page": asdict(loading.page),
        "times": _time_rows(loading),
        "pages": _page_rows(loading),
        "memory": memory_record(prediction.memory),
        "stages": _stage_rows(loading),
        "reached": _reached_record(loading),
        "cases": _case_rows(loading),
        "helps": _help_rows(loading),
        "words": words(loading),
        "files": {key.removesuffix("_file"): path for key, path in names.items() if key.endswith("_file")},
    }


def _reached_record(loading: Loading) -> dict[str, Any] | None:
    """Where the first pass is when the process shows what was asked about; None where it was not, or never does."""
    reached = loading.reached
    if reached is None or loading.repacked or not loading.is_mapped:
        return None
    span, percent = reached
    return {"tensor": span.name, "layer": span.layer, "token_percent": percent}
