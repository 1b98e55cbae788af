"""Will it fit, and what is the most that does: a bill with the answers to the questions that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from roofline import api, inverse
from roofline.inverse import Setting
from roofline.parts import has_own_memory
from roofline.placement import Placement
from roofline.points import assignments, larger_devices, one_number
from roofline.prediction import Prediction
from roofline.spec import MemorySize, SpecError
from roofline.ways_out import WayOut, setting_of, ways_out
from roofline.weights import Weights

USUAL_CONTEXT = 4096  # tokens, of a conversation; llama.cpp's programs long had it as their default
PROMPT, GEN = 512, 128  # tokens of the speeds that are shown
ANY_QUANT = "q4_k_m"  # to build a setting with, before the best one is known, and to say what is missing


@dataclass(frozen=True)
class Choice:
    """One way of running it, with its speed. option: as on the command line; full: with the whole context in use."""

    option: str
    prediction: Prediction
    full: Prediction

    @property
    def decode_tok_s(self) -> float | None:
        """Expected speed of the first tokens [1/s]."""
        return _speed(self.prediction)

    @property
    def decode_full_tok_s(self) -> float | None:
        """Expected speed of the last tokens of the context [1/s]."""
        return _speed(self.full)


def _speed(prediction: Prediction) -> float | None:
    phase = prediction.decode
    return float(phase.tok_s) if phase is not None and prediction.runs else None


@dataclass(frozen=True)
class Sizing:
    """A bill and what else it answers.

    chosen: whether the quantisation is the tool's choice. longest: positions with which it fits [1], None where none
    do. best: the weights of most bytes that fit. quants: every common quantisation, most bytes first. layers: most on
    the device, as -ngl counts them; of a card without a named host those that would be beside one. choices: as asked,
    and the ways of placing a pair's layers, the fastest first. memory: the smallest sold size of the device that is
    enough. device: the one of the catalog with the least memory that is.
    """

    prediction: Prediction
    chosen: bool
    longest: int | None
    best: Weights | None
    quants: tuple[tuple[Weights, Setting, float | None], ...]
    layers: int | None
    choices: tuple[Choice, ...]
    memory: tuple[MemorySize, Setting] | None
    device: tuple[str, Setting] | None
    ways: tuple[WayOut, ...]


def size(
    hw: str,
    model: str,
    quant: str | None = None,
    *,
    ctx: str | None = None,
    batch: str = "1",
    figures: Sequence[str] = (),
    **settings: Any,
) -> Sizing:
    """The bill of `model` on `hw`, and the most that fits there.

    Without quant the best one that fits is taken. ctx: positions of each sequence to hold, '32k'; 4096 without, or the
    model's limit. figures: 'memory.bandwidth=102.4GB/s'. settings: the other arguments of api.predict.

    Raises SpecError.
    """
    open_quant = quant is None and _needs_quant(model)
    words: dict[str, Any] = settings | {"set": assignments(figures), "batch": one_number("batch", batch)}
    first = _predict(hw, model, ANY_QUANT if open_quant else quant, ctx, words)
    setting = setting_of(first)
    setting = replace(setting, free_layers=_has_host(setting) and settings.get("gpu_layers") is None)
    names = inverse.QUANTS if quant is None else (quant, *inverse.QUANTS)
    candidates = [] if first.gguf else inverse.weighed(setting.model, setting.machine, names)
    best = inverse.best_quant(setting, candidates)
    if open_quant and best is not None and best.quant != first.weights.quant:
        first = _predict(hw, model, best.quant, ctx, words)
        setting = replace(setting, weights=first.weights)
    devices = larger_devices(first)
    fits = bool(np.all(first.memory.fits))
    choices = _choices(hw, model, setting, first, ctx, words)
    return Sizing(
        prediction=first,
        chosen=open_quant and best is not None,
        longest=inverse.longest_context(setting),
        best=best,
        quants=tuple(_quants(hw, model, setting, candidates, ctx, words)),
        layers=_most_layers(setting),
        choices=choices,
        memory=inverse.smallest_memory(setting),
        device=inverse.smallest_device(setting, devices),
        ways=() if fits else tuple(ways_out(first, devices)),
    )


def _needs_quant(model: str) -> bool:
    """Whether a model has no quantisation of its own; SpecError for one that is not there at all."""
    try:
        api.load_weights(model, None)
    except SpecError:
        api.load_weights(model, ANY_QUANT)
        return True
    return False


def _has_host(setting: Setting) -> bool:
    """Whether layers can be left on a host."""
    return setting.placement is not None and setting.placement.host is not None


def _predict(
    hw: str, model: str, quant: str | None, ctx: str | None, words: dict[str, Any], full: bool = False
) -> Prediction:
    """A prompt and a generation, at the beginning of the context or, `full`, at its end."""
    entry, _ = api.load_weights(model, quant)
    usual = min(USUAL_CONTEXT, entry.spec.max_context or USUAL_CONTEXT)
    context = usual if ctx is None else one_number("ctx", ctx)
    gen = max(min(GEN, context // 2), 1)
    prompt = min(PROMPT, max(context - gen, 0))
    depth = max(context - gen - prompt, 0) if full else 0
    return api.predict(hw, model, quant, context=context, prompt=prompt, gen=gen, depth=depth, **words)


def _most_layers(setting: Setting) -> int | None:
    """The most layers on the device; of a card that stands alone, with a host beside it."""
    placement = setting.placement
    if placement is None and has_own_memory(setting.machine):
        placement = Placement(setting.machine, setting.machine, 0)  # only the device's side is asked about
    if placement is None:
        return None
    return inverse.most_layers(setting.model, setting.weights, placement, setting.workload)


def _quants(
    hw: str, model: str, setting: Setting, candidates: Sequence[Weights], ctx: str | None, words: dict[str, Any]
) -> list[tuple[Weights, Setting, float | None]]:
    """Every quantisation with its setting, and its decode speed where it fits."""
    found = []
    for weights in candidates:
        own = replace(setting, weights=weights).settled
        speed = _speed(_predict(hw, model, weights.quant, ctx, words)) if own.fits else None
        found.append((weights, own, speed))
    return found


def _choices(
    hw: str, model: str, setting: Setting, asked: Prediction, ctx: str | None, words: dict[str, Any]
) -> tuple[Choice, ...]:
    """What was asked for, and of a pair whole layers on the device, and all layers without some experts."""
    placement, quant = setting.placement, None if asked.gguf else asked.weights.quant

    def choice(option: str, **changes: Any) -> Choice:
        once, full = (_predict(hw, model, quant, ctx, words | changes, full) for full in (False, True))
        return Choice(option, once, full)

    found = []
    if placement is None or placement.host is None or words.get("gpu_layers") is not None or placement.overrides:
        found.append(choice("as asked"))
    if placement is not None and placement.host is not None:
        plain = replace(placement, overrides=())
        layers = inverse.most_layers(setting.model, setting.weights, plain, setting.workload)
        found.append(choice(f"-ngl {layers}", gpu_layers=layers, overrides=()))
        experts = inverse.fewest_expert_layers(setting)
        if experts:
            placed = inverse.with_experts_on_host(placement, experts, setting.model.layers)
            option = f"-ngl {placed.gpu_layers} --n-cpu-moe {experts}"
            found.append(choice(option, gpu_layers=placed.gpu_layers, overrides=placed.overrides))
        without = choice("-ngl 0", gpu_layers=0, overrides=())
        if (without.decode_tok_s or 0.0) > max(one.decode_tok_s or 0.0 for one in found):
            found.append(without)  # a host that is faster than the device
    return tuple(sorted(found, key=lambda one: -(one.decode_tok_s or 0.0)))
