"""The rows of `roofline error`: errors of weights and of dot products, derived and tried; and of kernels.

A row has decibels, of which more are better: the low end of an interval of errors is the high one of its decibels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from roofline.precision.distributions import DISTRIBUTIONS, Distribution
from roofline.precision.dot import crossover_k, dot_error
from roofline.precision.dot_trial import Sum, dot_trials, simulated_types
from roofline.precision.floats import FloatComparison, float_comparison
from roofline.precision.formats import FORMATS, FloatFormat
from roofline.precision.ratios import ratio_db
from roofline.precision.request import Request
from roofline.precision.summation import KAHAN, PAIRWISE, PLAIN, Order
from roofline.precision.summation_trial import Interval
from roofline.precision.weight_trial import weight_trial
from roofline.precision.weights import weight_error
from roofline.quantization import layout

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kernel:
    """How a program adds up dot products of a type."""

    name: str
    type_name: str
    form: FloatFormat
    order: Order


_FP16, _FP32 = FORMATS["fp16"], FORMATS["fp32"]
#: f16 from the narrowest sum to the widest, then q8_0, which they are compared with; in ggml/src/ggml-cpu of llama.cpp.
KERNELS = (
    Kernel("one fp16 sum", "f16", _FP16, PLAIN),  # no kernel does
    Kernel("tinyBLAS on Armv8.2", "f16", _FP16, Order("lanes", 8)),  # llamafile/sgemm.cpp, tinyBLAS<8, float16x8_t>
    Kernel("ggml_vec_dot on Armv8.2", "f16", _FP16, Order("lanes", 32)),  # vec.cpp, ggml_vec_dot_f16; GGML_F16_STEP 32
    Kernel("fp32 sums (x86, SVE)", "f16", _FP32, Order("lanes", 32)),  # simd-mappings.h, GGML_F32Cx8; vec.cpp
    Kernel("int32 sums (dotprod)", "q8_0", _FP32, PLAIN),  # arch/arm/quants.c, ggml_vec_dot_q8_0_q8_0
)
#: What an fp16 sum of f16 could be instead, for the question from which k q8_0 would err less.
_OTHERWISE = {"pairwise fp16 sums": PAIRWISE, "compensated fp16 sums": KAHAN}


@dataclass(frozen=True)
class Outcome:
    """Rows of the tables; kernels and crossings are empty unless f16 and q8_0 were both asked for.

    crossings: by kernel, the least k from which q8_0 errs less, None where it never does. measured: types whose
    weights' error is measured, not derived. noisy: those whose error is put into trials as noise.
    """

    request: Request
    weights: tuple[Row, ...]
    dots: tuple[Row, ...]
    kernels: tuple[Row, ...]
    crossings: Mapping[str, int | None]
    floats: FloatComparison
    measured: tuple[str, ...]
    noisy: tuple[str, ...]


def outcome(request: Request) -> Outcome:
    """Everything that a request asks for; SpecError for a type whose error nobody knows."""
    weights = tuple(
        _weight_row(name, types, known, request)
        for name, types in request.mixes.items()
        for known in DISTRIBUTIONS.values()
    )
    compared = {"f16", "q8_0"} <= set(request.mixes)
    asked = [
        (name, Sum(tuple(types.items()), form, order))
        for name, types in request.mixes.items()
        for form in request.forms
        for order in request.orders
    ]
    kernels = [Sum(((one.type_name, 1.0),), one.form, one.order) for one in KERNELS] if compared else []
    dots: list[Row] = []
    kernel_rows: list[Row] = []
    measured: dict[str, None] = {}
    crossings: dict[str, int | None] = {}
    if compared:
        sums_of_f16 = {one.name: (one.order, one.form) for one in KERNELS if one.type_name == "f16"}
        sums_of_f16 |= {name: (order, _FP16) for name, order in _OTHERWISE.items()}
        crossings = {name: crossover_k(*one, request.setting) for name, one in sums_of_f16.items()}
    for k in request.lengths:
        sums = [*(one for _, one in asked), *kernels]
        tried: list[Interval | None] = [None] * len(sums)
        if request.trials:
            tried = [*dot_trials(sums, k, request.setting, request.trials, request.seed)]
        for (name, one), seen in zip(asked, tried, strict=False):
            found = dot_error(dict(one.types), one.form, one.order, k, request.setting)
            measured.update(dict.fromkeys(found.measured))
            dots.append(
                {
                    "quant": name,
                    "accumulator": one.form.name,
                    "summation": one.order.name,
                    "k": k,
                    **_compared(float(found.relative_rms), seen),
                    "sum_db": _db(float(found.sum_rms)),
                    "growth": one.order.growth,
                    "main_part": found.main,
                }
            )
        for kernel, one, seen in zip(KERNELS if compared else (), kernels, tried[len(asked) :], strict=True):
            found = dot_error(dict(one.types), one.form, one.order, k, request.setting)
            kernel_rows.append(
                {
                    "quant": kernel.type_name,
                    "kernel": kernel.name,
                    "k": k,
                    **_compared(float(found.relative_rms), seen),
                    "crossover_k": crossings.get(kernel.name),
                }
            )
    noisy = [name for types in request.mixes.values() for name in simulated_types(types)] if request.trials else []
    return Outcome(
        request, weights, tuple(dots), tuple(kernel_rows), crossings,
        float_comparison(request.setting.weight_rms, request.setting.weights), tuple(measured),
        tuple(dict.fromkeys(noisy)),
    )  # fmt: skip


def _compared(derived: float | None, seen: Interval | None) -> Row:
    """A derived error beside the tried one [dB]."""
    return {
        "derived_db": None if derived is None else _db(derived),
        "simulated_db": None if seen is None else _db(seen.relative_rms),
        "low_db": None if seen is None else _db(seen.high),
        "high_db": None if seen is None else _db(seen.low),
        "agrees": None if seen is None or derived is None else seen.holds(derived),
    }


def _db(relative_rms: float) -> float | None:
    """Decibels that JSON can say: None for no error, or for no signal."""
    found = ratio_db(relative_rms)
    return found if math.isfinite(found) else None


def _weight_row(name: str, types: Mapping[str, float], known: Distribution, request: Request) -> Row:
    """A mix has the mean of its types' squares; its interval is as wide as if they all erred the same way."""
    total = sum(types.values())
    derived, how = 0.0, "derived"
    seen = [0.0, 0.0, 0.0]
    by: dict[str, None] = {}
    complete = bool(request.trials)
    for type_name, elements in types.items():
        error = weight_error(type_name, known, rms=request.setting.weight_rms)
        if error is None:
            how = ""
        else:
            derived += elements / total * error.relative_rms**2
            how = error.how if how == "derived" else how
        rms = request.setting.weight_rms
        tried = weight_trial(type_name, known, seed=request.seed, rms=rms) if request.trials else None
        if tried is None:
            complete = False
            continue
        by[tried.by] = None
        for place, value in enumerate((tried.relative_rms, tried.low, tried.high)):
            seen[place] += elements / total * value**2
    trial = Interval(math.sqrt(seen[0]), math.sqrt(seen[1]), math.sqrt(seen[2]), request.trials) if complete else None
    return {
        "quant": name,
        "bits_per_weight": sum(layout(one).bits_per_weight * n for one, n in types.items()) / total,
        "distribution": known.name,
        **_compared(math.sqrt(derived) if how else None, trial),
        "how": how or None,
        "tried_by": ", ".join(by) if complete else None,
    }
