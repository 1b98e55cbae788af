"""Dot products worked out as a kernel does, for many pairs of vectors: what a derived error has to stand up to.

Weights and activations are drawn, brought into their types by the gguf package (bit for bit llama.cpp's plain
quantisers; q8_K as in quantize_row_q8_K_ref, ggml-quants.c), multiplied, and added with every rounding of the
accumulator. The error is counted against the product of the unrounded vectors in float64. A pair is a trial; all types
and orders get the same pairs.

Types that the gguf package cannot write get Gaussian noise of the measured size in place of their weights' error, so
that only the rest is put to the test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roofline.precision.dot import USUAL, Setting, activation_type, block_terms, fused, noise, row_step
from roofline.precision.formats import FORMATS, FloatFormat
from roofline.precision.summation import Order
from roofline.precision.summation_trial import Interval, add_up, interval, rounding
from roofline.precision.weight_trial import WRITABLE, through
from roofline.precision.weights import FLOATS
from roofline.quantization.quality import base_type
from roofline.spec import SpecError

Floats = NDArray[np.float64]
MOST_TERMS = 1 << 27  # of all trials together; several seconds for each type
_AT_ONCE = 1 << 21  # that memory holds


@dataclass(frozen=True, slots=True)
class Sum:
    """What is tried: the weights' types (elements or shares of each), the accumulator's format, and the order."""

    types: tuple[tuple[str, float], ...]
    form: FloatFormat
    order: Order


def simulated_types(types: Mapping[str, float]) -> list[str]:
    """Those whose weights' error is put in as noise, since nothing here writes them."""
    return [name for name in types if base_type(name) not in (*WRITABLE, *FLOATS)]


def dot_trials(
    sums: Sequence[Sum], k: int, setting: Setting = USUAL, trials: int = 1000, seed: int = 0
) -> list[Interval]:
    """The relative error of each of these sums of k terms, over so many pairs of vectors, with its 95 % interval.

    SpecError for fewer than 2 trials, more than MOST_TERMS terms in all, or a k that a type's blocks do not divide.
    """
    if trials < 2:
        raise SpecError(f"trials: expected at least 2, for an interval, found {trials}")
    if k * trials > MOST_TERMS:
        raise SpecError(f"trials: expected at most {MOST_TERMS // k} of {k} terms each, found {trials}")
    names = list(dict.fromkeys(name for one in sums for name, _ in one.types))
    for name in names:
        if k % row_step(name):
            raise SpecError(f"k: expected a multiple of {row_step(name)} for {name}, found {k}")
    generator, noises = np.random.default_rng([seed, k]), np.random.default_rng([seed, k, 1])
    squares: list[list[Floats]] = [[] for _ in sums]
    exact: list[Floats] = []
    rows = max(_AT_ONCE // k, 1)
    for start in range(0, trials, rows):
        shape = (min(rows, trials - start), k)
        weights = setting.weights.sample(generator, shape) * setting.weight_rms
        activations = setting.activations.sample(generator, shape) * setting.activation_rms
        reference = np.einsum("tk,tk->t", weights, activations)
        exact.append(reference)
        rounded = {kind: _rounded(kind, activations) for kind in dict.fromkeys(map(activation_type, names))}
        terms = {
            name: _terms(name, _stored(name, weights, setting, noises), rounded[activation_type(name)])
            for name in names
        }
        for place, found in enumerate(_errors(sums, terms, reference)):
            squares[place].append(found)
    whole = np.concatenate(exact)
    return [interval(np.sqrt(np.concatenate(parts)), whole) for parts in squares]


def _errors(sums: Sequence[Sum], terms: Mapping[str, Floats], exact: Floats) -> list[Floats]:
    """Squared errors of each sum, weighted by elements; the same sum of two mixes is worked out once."""
    known: dict[tuple[str, str, Order], Floats] = {}
    found = []
    for one in sums:
        total = sum(share for _, share in one.types)
        mixed = np.zeros_like(exact)
        for name, share in one.types:
            key = (name, one.form.name, one.order)
            if key not in known:
                known[key] = np.square(add_up(one.form, one.order, terms[name], fused(name, one.form)) - exact)
            mixed = mixed + share / total * known[key]
        found.append(mixed)
    return found


def _terms(name: str, weights: Floats, activations: Floats) -> Floats:
    """What the accumulator gets, (terms, trials): products, or exact sums of a block's."""
    block = block_terms(name)
    if block == 1:
        return np.ascontiguousarray((weights * activations).T)
    shape = (len(weights), -1, block)
    return np.ascontiguousarray(np.einsum("tnb,tnb->nt", weights.reshape(shape), activations.reshape(shape)))


def _stored(name: str, weights: Floats, setting: Setting, generator: np.random.Generator) -> Floats:
    if base_type(name) in FLOATS or base_type(name) in WRITABLE:
        return _rounded(base_type(name), weights)
    deviation = setting.weight_rms * np.sqrt(noise(name, setting.weights, setting.weight_rms)[0])
    return np.asarray(weights + deviation * generator.standard_normal(weights.shape))


def _rounded(name: str, values: Floats) -> Floats:
    """Values as a type says them. q8_1 has the codes and scales of q8_0, and a sum beside them that is left out."""
    if name in FLOATS:
        return rounding(FORMATS[FLOATS[name]])(values)
    if name == "q8_k":
        return _q8_k(values)
    return through("q8_0" if name == "q8_1" else name, values.astype(np.float32)).astype(np.float64)


def _q8_k(values: Floats) -> Floats:
    """Blocks of 256; the largest magnitude becomes −127, whatever its sign, and the scale is an fp32 number."""
    blocks = values.reshape(-1, 256)
    extreme = np.take_along_axis(blocks, np.argmax(np.abs(blocks), axis=1)[:, None], axis=1)
    step = np.where(extreme == 0.0, 1.0, extreme / -127.0).astype(np.float32).astype(np.float64)
    return np.asarray((np.minimum(np.rint(blocks / step), 127.0) * step).reshape(values.shape))
