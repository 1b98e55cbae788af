"""The numbers of a state: a prediction of each device, or the reason why there is none, and what they say in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from roofline import api
from roofline.explorer.state import State
from roofline.prediction import Phase, Prediction
from roofline.quality import quality_words
from roofline.reasons import band_words, disk_words, memory_words, remarks, why
from roofline.spec import SpecError
from roofline.tables import printable
from roofline.units import UnitError, format_number


@dataclass(frozen=True, slots=True)
class Device:
    """One device of a state. place: its place, of which its colour and dash are; reason: why there is no prediction."""

    place: int
    id: str
    name: str
    prediction: Prediction | None
    reason: str = ""

    @property
    def runs(self) -> bool:
        """Whether there are speeds to show."""
        return self.prediction is not None and self.prediction.runs


@lru_cache(maxsize=64)
def devices(state: State) -> tuple[Device, ...]:
    """The devices of a state in order; what fails on one does not hide the others."""
    return tuple(_device(place, identity, state) for place, identity in enumerate(state.hw))


def _device(place: int, identity: str, state: State) -> Device:
    try:
        found = api.predict(identity, state.model, state.quant or None, **state.settings())
    except (SpecError, UnitError) as error:
        return Device(place, identity, identity, None, str(error))
    return Device(place, identity, full_name(found), found)


def focused(roof: str, shown: Sequence[Device]) -> str:
    """The device whose roofline is drawn: the one that is wished for, else the first that runs, else the first."""
    running = [device.id for device in shown if device.runs]
    return roof or next(iter(running), shown[0].id)


def full_name(prediction: Prediction) -> str:
    """The names of all that work together: 'NVIDIA GeForce RTX 3090 + AMD Ryzen 9 7950X'."""
    placement, machine = prediction.placement, prediction.machine
    if placement is None:
        return printable(machine.hardware.name)
    sides = [one.hardware for one in placement.devices]
    sides += [placement.host.hardware] if placement.host else []
    found = {id(side): side.name for side in sides}
    counts = {side: sum(one.name == side for one in sides) for side in found.values()}
    return printable(" + ".join(f"{count}x {name}" if count > 1 else name for name, count in counts.items()))


def main_phase(prediction: Prediction) -> Phase | None:
    """The phase that a verdict is about: the generation, or the prompt where nothing is generated."""
    return prediction.decode or prediction.prefill


def verdict(shown: Sequence[Device]) -> str:
    """What the predictions say, in a few sentences."""
    found = [(device, device.prediction) for device in shown if device.prediction is not None]
    if not found:
        return "None of these devices can be predicted; the reasons stand below."
    first = found[0][1]
    what = printable(f"{first.model.name} in {first.weights.quant}")
    running = [
        (device, phase)
        for device, prediction in found
        if prediction.runs and (phase := main_phase(prediction)) is not None
    ]
    unfit = [device.name for device, prediction in found if not prediction.runs]
    failed = [device.id for device in shown if device.prediction is None]
    sentences = []
    if running:
        best, phase = max(running, key=lambda pair: float(pair[1].tok_s))
        speed = f"{format_number(float(phase.tok_s))} tok/s ({band(phase)})"
        doing = "in decode" if phase is best.prediction.decode else "of the prompt"  # type: ignore[union-attr]
        on = f"fastest on {best.name}" if len(running) > 1 else f"runs on {best.name}"
        sentences.append(f"{what}: {on}, {speed} {doing}, {phase.bound}-bound.")
        near = [other.name for other, one in running if other is not best and one.high_tok_s >= phase.low_tok_s]
        if near:
            sentences.append(f"The bands do not tell it from {_listed(near)}.")
    if unfit:
        sentences.append(f"{'' if running else f'{what}: '}Does not fit on {_listed(unfit)}.")
    if failed:
        sentences.append(f"No prediction for {_listed(failed)}.")
    if not sentences:
        sentences.append(f"{what}: fits; nothing is to be generated, and there is no prompt.")
    return " ".join(sentences)


def band(phase: Phase) -> str:
    """'96.0–131': the ends of the band [tok/s]."""
    return f"{format_number(float(phase.low_tok_s))}–{format_number(float(phase.high_tok_s))}"


def reasons(prediction: Prediction) -> list[tuple[str, str]]:
    """(heading, sentence) of what lies behind a prediction."""
    found = [("Why", why(prediction))] if prediction.runs else []
    found.append(("Memory", f"{memory_words(prediction.memory)}."))
    found += [("Disk", f"{disk_words(prediction)}.")] if prediction.disk is not None else []
    found.append(("Quality", f"{quality_words(prediction.quality)}."))
    found += [("Band", band_words(prediction))] if prediction.runs else []
    found += [("Note", remark) for remark in remarks(prediction)]
    assumed = prediction.machine.hardware.assumed()
    found += [("Assumed, not confirmed by a source", f"{', '.join(assumed)}.")] if assumed else []
    return [(heading, printable(text)) for heading, text in found]


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
