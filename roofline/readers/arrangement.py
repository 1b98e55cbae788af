"""From a list of layers to a model's kinds of layer and their order."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from roofline.blocks import Layer


def arrange(layers: Sequence[Layer]) -> dict[str, Any]:
    """The `blocks`, `first` and `pattern` of a Model with these ``layers`` in this order, as short as can be."""
    names: dict[Layer, str] = {}
    for layer in layers:
        if layer not in names:
            names[layer] = _unused(_kind(layer), set(names.values()))
    if len(names) == 1:
        return {"blocks": {"layer": layers[0]}}
    order = [names[layer] for layer in layers]
    head, period = shortest_pattern(order)
    return {
        "blocks": {name: layer for layer, name in names.items()},
        "first": tuple(order[:head]),
        "pattern": tuple(order[head : head + period]),
    }


def shortest_pattern(order: Sequence[Hashable]) -> tuple[int, int]:
    """(head, period) with the smallest sum such that ``order`` is its first `head` items, then `period` items repeated.

    The tail from `head` on has period p when it agrees with itself shifted by p. Read backwards the tails are prefixes,
    whose periods follow from the longest proper border of each (Knuth, Morris & Pratt 1977): linear in the length.
    """
    backwards = list(reversed(order))
    border = [0] * len(backwards)  # border[i]: longest proper prefix of backwards[:i + 1] that is its suffix too
    for index in range(1, len(backwards)):
        length = border[index - 1]
        while length and backwards[index] != backwards[length]:
            length = border[length - 1]
        border[index] = length + (backwards[index] == backwards[length])
    tails = ((len(order) - size, size - border[size - 1]) for size in range(len(order), 0, -1))
    return min(tails, key=lambda pair: (sum(pair), pair))


def _kind(layer: Layer) -> str:
    if layer.attention:
        mixer = "window" if layer.attention.window else "global"
    elif layer.latent_attention:
        mixer = "latent"
    elif layer.state_space or layer.delta_net:
        mixer = "state"
    else:
        mixer = ""
    network = "experts" if layer.experts else "dense" if layer.mlp else ""
    return "-".join(filter(None, (mixer, network))) or "empty"


def _unused(name: str, taken: set[str]) -> str:
    number = 1
    while (candidate := name if number == 1 else f"{name}-{number}") in taken:
        number += 1
    return candidate
