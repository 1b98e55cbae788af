"""Devices × quantisations × types of cache: the series of a chart, and how they are told apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

from roofline import api
from roofline.lineup import line_up
from roofline.prediction import Prediction
from roofline.quantization import get
from roofline.spec import SpecError

MOST_SERIES = 12  # more cannot be told apart

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Choice:
    """What one series is of, as it was asked for. name: the parts in which the series differ; place: among all."""

    hw: str
    quant: str | None
    kv: str
    name: str
    place: int


class NoRoomError(SpecError):
    """A series of which not even the first point fits."""


def choices(hw: Sequence[str], quants: Sequence[str | None], kvs: Sequence[str]) -> list[Choice]:
    """Every combination; kvs: 'q8_0', or 'q8_0/q4_0' for K and V apart. SpecError for none, too many, or unknown."""
    for device in hw:
        line_up(device)  # a name that is none is a mistake, where one that cannot run the model is a finding
    for quant in quants:
        get(quant or "f16")
    caches = list(dict.fromkeys(cache_name(text) for text in kvs))
    found = list(product(dict.fromkeys(hw), dict.fromkeys(quants), caches))
    if not 1 <= len(found) <= MOST_SERIES:
        raise SpecError(f"--hw, --quant, --kv: expected 1 to {MOST_SERIES} combinations of them, found {len(found)}")
    devices, forms = len(set(hw)) > 1, len(set(quants)) > 1
    made = []
    for place, (device, quant, kv) in enumerate(found):
        parts = [device if devices else "", (quant or "") if forms else "", f"{kv} cache" if len(caches) > 1 else ""]
        made.append(Choice(device, quant, kv, " · ".join(part for part in parts if part), place))
    return made


def cache_name(text: str) -> str:
    """'q8_0/q4_0' and 'q8_0,q4_0' → 'q8_0/q4_0', and 'q8_0/q8_0' → 'q8_0'."""
    keys, values = api.kv_pair(text.replace("/", ","))
    return keys if keys == values else f"{keys}/{values}"


def worked_out(asked: Sequence[Choice], make: Callable[[Choice], Found]) -> tuple[list[Found], list[str]]:
    """What `make` finds of every choice, and why it finds nothing of others; SpecError where all fail."""
    found: list[Found] = []
    reasons: dict[str, list[str]] = {}
    first: SpecError | None = None
    for choice in asked:
        try:
            found.append(make(choice))
        except NoRoomError as error:
            first = first or error
            reasons.setdefault("memory cannot hold it", []).append(choice.name)
        except SpecError as error:
            first = first or error
            reasons.setdefault(str(error), []).append(choice.name)
    if first is not None and not found:
        raise first
    return found, [f"{', '.join(names)}: {reason.rstrip('.')}." for reason, names in reasons.items()]


def described(predictions: Sequence[Prediction]) -> str:
    """What all series have in common: model, and where they agree quantisation, device, engine and cache."""
    first = predictions[0]
    parts = [first.model.name]
    common: tuple[Callable[[Prediction], str], ...] = (
        lambda one: one.weights.quant,
        device_name,
        lambda one: f"{one.machine.runtime.name} {one.machine.runtime.period}, {one.machine.backend}",
        lambda one: "" if one.workload.kv_types == ("f16", "f16") else f"{cache_of(one)} cache",
    )  # fmt: skip
    for say in common:
        if len({say(one) for one in predictions}) == 1:
            parts.append(say(first))
    return " · ".join(part for part in parts if part)


def device_name(prediction: Prediction) -> str:
    """The full names of the devices of a prediction and of their host."""
    placement = prediction.placement
    if placement is None:
        return prediction.machine.hardware.name
    names = [one.hardware.name for one in placement.devices]
    names += [placement.host.hardware.name] if placement.host is not None and "+" in hardware_id(prediction) else []
    return " + ".join(names)


def cache_of(prediction: Prediction) -> str:
    """The type of a prediction's cache, or those of K and V: 'q8_0/q4_0'."""
    return "/".join(dict.fromkeys(prediction.workload.kv_types))


def hardware_id(prediction: Prediction) -> str:
    """The id of a prediction's hardware, as the command line spells it."""
    return prediction.names.get("hardware", prediction.machine.hardware.name)


def model_id(prediction: Prediction) -> str:
    """The id of a prediction's model."""
    return prediction.names.get("model", prediction.model.name)
