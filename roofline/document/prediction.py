"""What `roofline report` holds: everything that is known of a prediction, from its verdict to its sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from roofline.comparison_report import memory_words as memory_range
from roofline.document.blocks import Block, Bullets, Command, Document, Section, Table, Text
from roofline.document.prediction_charts import charts, together
from roofline.document.prediction_parts import (
    checking,
    explained,
    figures,
    memory,
    operators,
    phases,
    sentence,
    settings,
    work,
)
from roofline.file_quality.report import file_noise
from roofline.points import larger_devices
from roofline.prediction import Prediction
from roofline.quality import FileNoise
from roofline.readers import read_gguf
from roofline.reasons import band_words
from roofline.report import record, title
from roofline.tables import cell, speed_range
from roofline.upgrades import what_if
from roofline.ways_out import WayOut, ways_out

_SPEEDS = ("phase", "tok_s", "low_tok_s", "high_tok_s", "ceiling_tok_s", "seconds", "bound")
_CHANGES = ("change", "prefill_tok_s", "decode_tok_s")
_WAYS = ("kind", "option", "total_bytes", "usable_bytes")
_COMPARED = ("hardware", "fits", "prefill_range", "decode_range", "bound", "ttft_s", "tpot_s", "memory_range")

FORMULAS = (
    (
        "An operator takes t = (c^p + m^p)^(1/p), with its compute time c = FLOP / (efficiency × peak) and its memory "
        "time m = bytes / (share × bandwidth). p says how well a kernel overlaps the two: at infinity the longer one "
        "counts (the roofline), at 1 their sum."
    ),
    (
        "A pass takes the sum over its operators, a kernel launch or a barrier for each, what crosses links between "
        "devices, and what has to come from the disk."
    ),
    (
        "Speed [tok/s] = sequences × tokens / time. Time to first token is the time of the prefill; time per output "
        "token is the time of the decode by its tokens."
    ),
    (
        "A generated token reads every weight that it touches, and the KV cache of all positions in reach. The token "
        "embedding is not among them: one row of it is read."
    ),
    (
        "The speed of light is the same with every peak and bandwidth reached in full, perfect overlap, and nothing "
        "else to do: no program can be faster on this hardware."
    ),
    "The ridge point is the arithmetic intensity [FLOP/B] from which arithmetic, not memory, is the limit.",
)


@dataclass(frozen=True)
class Case:
    """A prediction with the words that it was asked for in: hw, model, quant, and the arguments of points.points."""

    prediction: Prediction
    hw: str
    model: str
    quant: str | None
    words: Mapping[str, Any]


def report(cases: Sequence[Case], commands: Sequence[str], failed: Mapping[str, str] | None = None) -> Document:
    """The document of one prediction, or of several that differ in the device; at least one.

    commands: lines that repeat what was asked. failed: why what else was asked for cannot be predicted, by device.
    """
    first = cases[0].prediction
    in_file = file_noise(read_gguf(first.gguf)) if first.gguf else None  # the model is the same in all
    if len(cases) == 1 and not failed:
        alone = [*_summary(first), *_parts(cases[0], in_file, commands, "", "")]
        return Document(title(first), alone, _subtitle(first), _footer([first]))
    rows = [_compared(case.prediction) for case in cases]
    blocks: list[Block] = [
        Text(_verdict_of_several([case.prediction for case in cases]), strong=True),
        Table(rows, _COMPARED, "Side by side; the band of each speed is in brackets"),
        *_failed(failed or {}),
    ]
    beside = together([(case.prediction, case.hw) for case in cases], cases[0].model, cases[0].quant, cases[0].words)
    if beside:
        blocks.append(Section("Side by side", beside))
    for number, case in enumerate(cases, 1):
        name = record(case.prediction)["hardware"]
        inside = [
            Text(title(case.prediction)),
            *_summary(case.prediction),
            *_parts(case, in_file, (), f"-{number}", f"{name}: "),
        ]
        blocks.append(Section(name, inside))
    blocks.append(Section("What was asked", list(map(Command, commands))))
    blocks.append(Section("How it is calculated", [Bullets(FORMULAS)]))
    return Document(
        f"{first.model.name}, {first.weights.quant}, on {len(cases)} device{'s' if len(cases) > 1 else ''}",
        blocks,
        _subtitle(first),
        _footer([case.prediction for case in cases]),
    )


# -- the beginning ----------------------------------------------------------------------------------------------------


def _summary(prediction: Prediction) -> list[Block]:
    """The verdict, the speeds of both phases, and the times."""
    one = record(prediction)
    if not prediction.runs:
        ways = ways_out(prediction, larger_devices(prediction))
        return [Text(_too_large(prediction), strong=True), *_ways(ways)]
    speeds = [{"phase": _phase_name(name, prediction), **one[name]} for name in phases(prediction)]
    return [
        Text(_verdict(prediction), strong=True),
        *([Table(speeds, _SPEEDS, f"Speeds. {sentence(band_words(prediction))}")] if speeds else []),
        *_times(one),
    ]


def _times(one: Mapping[str, Any]) -> Iterator[Block]:
    """What a user waits for: 'The first token comes after 416 ms (TTFT), then one every 29.3 ms (TPOT); 4.16 s …'."""
    first, each, total = (cell(key, one[key]) for key in ("ttft_s", "tpot_s", "total_s"))
    waits = [f"the first token comes after {first} (TTFT)"] if one["ttft_s"] is not None else []
    waits += [f"{'then ' if waits else 'a token comes '}every {each} (TPOT)"] if one["tpot_s"] is not None else []
    if waits:
        yield Text(sentence(f"{', '.join(waits)}; {total} in all"))


def _too_large(prediction: Prediction) -> str:
    """'Does not fit: 11.5 GiB more memory would be needed.', with the side that is too small where there are two."""
    bill, where = prediction.memory, ""
    if bill.host is not None and not bill.host.fits:
        bill, where = bill.host, " on the host"
    elif bill.host is not None or bill.devices:
        where = " on the fullest device" if bill.devices else " on the device"
    missing = (
        ""
        if bill.margin is None
        else f": {cell('margin_bytes', -float(bill.margin))} more memory{where} would be needed"
    )
    return f"Does not fit{missing}."


def _verdict(prediction: Prediction) -> str:
    """'Decode 34.1 tok/s (26.1–44.5), memory-bound; prefill 1226 tok/s (937–1600), compute-bound; fits.'"""
    parts = []
    for name, phase in reversed(phases(prediction).items()):
        speed = speed_range(float(phase.tok_s), float(phase.low_tok_s), float(phase.high_tok_s))
        parts.append(f"{name} {speed} tok/s, {phase.bound}-bound")
    if prediction.memory.fits:
        parts.append("it fits")
    else:
        parts.append("it does not fit, and what memory cannot hold is read from the disk")
    return sentence("; ".join(parts))


def _verdict_of_several(predictions: Sequence[Prediction]) -> str:
    """'Decode from 2.09 tok/s (rpi5) to 143 tok/s (rtx-4090); 1 of 3 does not fit.': the ends of the table below."""
    running = [one for one in predictions if one.runs]
    short = len(predictions) - len(running)
    parts = []
    for name in ("decode", "prefill"):
        speeds = [(record(one)[name]["tok_s"], record(one)["hardware"]) for one in running]
        known = sorted((speed, hardware) for speed, hardware in speeds if speed is not None)
        if known:
            ends = [f"{cell('tok_s', speed)} tok/s ({hardware})" for speed, hardware in (known[0], known[-1])]
            parts.append(f"{name} {'from ' if len(known) > 1 else ''}{' to '.join(dict.fromkeys(ends))}")
    if short:
        parts.append(f"{short} of {len(predictions)} {'does' if short == 1 else 'do'} not fit")
    return sentence(f"{'; '.join(parts or ['nothing was asked for'])}.")


def _ways(ways: Sequence[WayOut]) -> list[Block]:
    """What would fit where the model does not."""
    if not ways:
        return [Text("No single change makes it fit.")]
    rows = [{**asdict(way), "usable_bytes": way.capacity_bytes} for way in ways]
    return [Table(rows, _WAYS, "What would fit: the least change of each kind")]


def _compared(prediction: Prediction) -> dict[str, Any]:
    one = record(prediction)
    ranges = {
        f"{name}_range": speed_range(one[name]["tok_s"], one[name]["low_tok_s"], one[name]["high_tok_s"])
        for name in ("prefill", "decode")
    }
    bound = one["decode"]["bound"] or one["prefill"]["bound"]
    held = memory_range(one["memory"]["total_bytes"], one["memory"]["usable_bytes"])
    return {**one, "fits": one["memory"]["fits"], **ranges, "bound": bound, "memory_range": held}


def _failed(failed: Mapping[str, str]) -> list[Block]:
    return [Bullets([f"{name} is not among them: {reason}" for name, reason in failed.items()])] if failed else []


# -- the parts --------------------------------------------------------------------------------------------------------


def _parts(case: Case, in_file: FileNoise | None, commands: Sequence[str], mark: str, before: str) -> Iterator[Block]:
    """The sections. in_file: the noise of the model's own file. mark: added to the ids of charts; before: to headings,
    where there are several predictions.
    """
    prediction = case.prediction

    def section(name: str, blocks: Sequence[Block], folded: bool = False) -> Section:
        return Section(f"{before}{name}", blocks, folded)

    reasons = explained(prediction, in_file)
    if reasons:
        yield section("Why", reasons)
    own, around = charts(prediction, case.hw, case.model, case.quant, case.words, mark)
    if own:
        yield section("What limits it", own)
    yield section("Memory", list(memory(prediction)))
    if around:
        yield section("Longer contexts and more users", around)
    if prediction.runs:
        changes = [asdict(change) for change in what_if(prediction)]
        yield section(
            "What would change it",
            [Table(changes, _CHANGES, "Speeds after one change at a time; none where it would not fit")],
        )
    yield section("How to check it", checking(prediction))
    yield section("What was asked", [*settings(prediction), *map(Command, commands)])
    yield section("Operators", [*work(prediction), *operators(prediction)], folded=True)
    yield section("Figures used", list(figures(prediction)), folded=True)
    if not before:
        yield section("How it is calculated", [Bullets(FORMULAS)])


# -- words ------------------------------------------------------------------------------------------------------------


def _phase_name(name: str, prediction: Prediction) -> str:
    tokens = prediction.workload.prompt if name == "prefill" else prediction.workload.gen
    return f"{name} {cell('prompt', float(tokens))}"


def _subtitle(prediction: Prediction) -> str:
    """The workload in words."""
    workload = prediction.workload
    words = [
        f"{float(workload.prompt):.0f} prompt tokens, {float(workload.gen):.0f} generated",
        f"{float(workload.depth):.0f} in the cache before" if float(workload.depth) else "",
        f"{float(workload.batch):.0f} sequences at a time" if float(workload.batch) > 1 else "",
        f"KV cache in {', '.join(dict.fromkeys(workload.kv_types))}",
    ]
    return "A prediction by the roofline model: " + ", ".join(word for word in words if word)


def _footer(predictions: Sequence[Prediction]) -> list[str]:
    """What the numbers were made with."""
    from pathlib import Path

    from roofline import fitted

    constants = fitted.load(Path(fitted.__file__).with_name(fitted.FILE))
    runtimes = dict.fromkeys(f"{one.machine.runtime.name} {one.machine.runtime.period}" for one in predictions)
    fitted_to = f"{constants.rows} measured speeds of {constants.devices} devices"
    return [f"Engine: {', '.join(runtimes)}. The shipped constants were fitted to {fitted_to}."]
