"""Why a rung is as fast as it is, in words that hold on this machine: from its nature, the core and what was measured.

Instruction names: Intel Software Developer's Manual, volume 2; Arm Architecture Reference Manual, DDI 0487, C7.
"""

from __future__ import annotations

from collections.abc import Collection

from roofline.measure.ladder.here import Here
from roofline.measure.ladder.steps import Step
from roofline.units import format_duration, format_number, format_quantity

_BITS = (("avx512", "AVX-512", 512), ("avx2", "AVX2", 256), ("avx", "AVX", 256), ("sse4", "SSE", 128),
         ("neon", "NEON", 128))  # fmt: skip
_FP32 = 32
_SHORT_OF = 0.8  # of the ratio of the threads: below it something is said
_LEAST, _HALF, _NEAR, _OUT_OF = 0.01, 0.5, 0.75, 1.02  # shares of a peak


def vectors(isa: Collection[str]) -> tuple[str, int]:
    """(name, fp32 numbers in it) of the widest vectors whose width the name tells; ('', 1) without any."""
    return next(((name, bits // _FP32) for word, name, bits in _BITS if word in isa), ("", 1))


def reason(step: Step, here: Here) -> str:
    """One or two short sentences about a rung."""
    if step.is_small and step.spec.nature != "interpreter":
        return "So small a product takes less time than its call."
    written = {
        "interpreter": _interpreter, "rows": _rows, "scalar": _scalar, "vector": _vector, "blas": _blas,
        "double": _double, "converted": _converted, "other": _other, "narrow": _narrow, "integer": _integer,
    }[step.spec.nature](step, here)  # fmt: skip
    return f"{written}{_beyond(step)}"


def _interpreter(step: Step, here: Here) -> str:
    said = "Every number is an object, every operation some steps of the interpreter"
    clock, rate = here.clock.get(step.run.threads), here.rate("fp64")
    if clock and rate:
        per_term = format_number(step.cycles_per_term(clock))
        said += f": {per_term} cycles for a multiply-add, where the core can do {rate / 2:g} in one"
    return f"{said}."


def _rows(step: Step, _here: Here) -> str:
    return (
        f"The inner loop is numpy's, compiled, and asked for once a row: two calls, {format_duration(step.call_s)} for "
        f"{step.measured.n} multiply-adds, most of it before the first."
    )


def _scalar(_step: Step, here: Here) -> str:
    name, _ = vectors(here.isa)
    leaves = f", {name} unused" if name else ""
    return (
        f"All three loops are compiled, but take one number at a time{leaves}, down a column of B, where every step is "
        "another cache line: NumPy has no BLAS for integers."
    )


def _vector(_step: Step, here: Here) -> str:
    name, lanes = vectors(here.loops_isa)
    wide = f", {lanes} numbers an instruction ({name}, for which this numpy's loops are compiled)" if name else ""
    return (
        f"Rows of B as they lie in memory{wide}. But for every row of B a row of C is loaded and stored again: loads "
        "set the pace, not the arithmetic."
    )


def _blas(step: Step, here: Here) -> str:
    before = step.against.run if step.against else None
    if before is not None and before.rung == step.run.rung:
        return _threads(step, before.threads)
    name, lanes = vectors(here.isa)
    fused = " with fused multiply-adds" if {"fma", "neon"} & set(here.isa) else ""
    said = "A tile of C stays in registers, blocks of A and B in the caches: what is once loaded is used many times."
    said += f" {name}{fused}, {lanes} numbers an instruction." if name else ""
    if step.share is not None:
        rest = "." if step.share >= _HALF else ": calls, packing, waiting or other work took the rest."
        said += f" {_percent(step.share)} of the peak{rest}"
    if "accelerate" in step.measured.library.lower():
        said += " Accelerate may use the chip's matrix unit, which the peak of the vectors does not count."
    return said


def _threads(step: Step, fewer: int) -> str:
    ratio, factor = step.run.threads / fewer, step.factor or 0.0
    said = f"{step.run.threads} threads share the rows of C"
    if factor >= _SHORT_OF * ratio:
        return f"{said}, and each has a core of its own."
    if factor < 1.0:
        return f"{said}, yet are slower: a thread that finds no free core holds up all."
    return f"{said}: ×{format_number(factor)}, not ×{ratio:g}. They wait for each other, and share clock and caches."


def _double(_step: Step, _here: Here) -> str:
    return "A vector holds half as many numbers of 64 bits: half of fp32's peak."


def _converted(_step: Step, here: Here) -> str:
    able = "this core multiplies vectors of fp16, but " if "fp16" in here.isa else ""
    return (
        f"A rung down: {able}NumPy has neither a BLAS nor arithmetic for fp16, and converts each number to fp32, one "
        "at a time."
    )


def _other(step: Step, _here: Here) -> str:
    name = step.measured.library.split(" (")[0]
    if step.factor is None:
        return f"The product of {name}: blocks, registers and vectors as in any BLAS."
    return f"The same arithmetic on the same units by {name}: other blocks, other packing."


def _narrow(step: Step, here: Here) -> str:
    isa, dtype = set(here.isa), step.spec.dtype
    if dtype == "bf16" and "amx" in isa:
        return _tiles(step, here, "TDPBF16PS", "amx_bf16", ("bf16", "fp32"))
    if dtype == "bf16" and "avx512_bf16" in isa:
        return _instruction("VDPBF16PS", "two products of bf16 for each sum in fp32")
    if dtype == "bf16" and "bf16" in isa:
        return _instruction("BFDOT and BFMMLA", "two and four products of bf16 for each sum in fp32")
    if dtype == "fp16" and here.rate("fp16") and step.path == "fp16":
        rate = here.rate("fp32")
        than = f", {format_number((here.rate('fp16') or 0.0) / rate)} times those of fp32" if rate else ""
        slow = " This library stays below what fp32 could do: it may convert." if _below(step, here, "fp32") else ""
        return f"The core has arithmetic for fp16: {here.rate('fp16'):g} operations a cycle{than}.{slow}"
    return f"This core has no arithmetic for {dtype}: converted to fp32, the numbers gain memory, not speed."


def _integer(step: Step, here: Here) -> str:
    isa = set(here.isa)
    if "amx" in isa:
        return _tiles(step, here, "TDPBUSD and TDPBSSD", "amx_int8", ("int8", "fp32"))
    if isa & {"avx512_vnni", "avx_vnni"}:
        return _instruction("VPDPBUSD (VNNI)", "four products of int8, added to a sum in int32")
    if "i8mm" in isa:
        return _instruction("SMMLA (i8mm)", "eight products of int8 for each sum in int32")
    if "dotprod" in isa:
        return _instruction("SDOT (dotprod)", "four products of int8, added to a sum in int32")
    return "This core has no dot product of int8: the numbers are widened to 16 and 32 bits before they are multiplied."


def _instruction(name: str, what: str) -> str:
    return f"The core has an instruction for it, {name}: {what}."


def _tiles(step: Step, here: Here, name: str, path: str, others: tuple[str, ...]) -> str:
    rate, fp32 = here.rate(path), here.rate("fp32")
    said = f"AMX multiplies whole tiles ({name})"
    if rate and fp32:
        said += f": {rate:g} operations a cycle where vectors of fp32 do {fp32:g}"
    best = max((here.peak(other, step.run.threads) or 0.0 for other in others), default=0.0)
    if best and step.flop_s > best:
        said += f". They are in use: vectors alone end at {format_quantity(best, 'FLOP/s')}"
    elif best:
        said += ", but at this speed vectors alone would do"
    if step.share is not None and step.share < _NEAR:
        said += ". Packing the matrices and feeding the tiles takes the rest"
    return f"{said}."


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= _LEAST else "less than 1%"


def _below(step: Step, here: Here, path: str) -> bool:
    peak = here.peak(path, step.run.threads)
    return peak is not None and step.flop_s < peak


def _beyond(step: Step) -> str:
    if step.share is None or step.share <= _OUT_OF:
        return ""
    return " More than the peak: the clock was higher than when it was measured, or the core is not the catalog's."


def end_of_climb(best: Step, here: Here) -> str:
    """Where the climb ends and what is left to the peak."""
    if best.share is None:
        return f"The fastest: {format_quantity(best.flop_s, 'FLOP/s')}; the peak is not known ({here.per_cycle_basis})."
    return (
        f"The fastest in {best.spec.dtype}: {format_quantity(best.flop_s, 'FLOP/s')}, {_percent(best.share)} of the "
        f"{format_quantity(best.peak or 0.0, 'FLOP/s')} that {best.run.threads} "
        f"core{'s' * (best.run.threads != 1)} could do."
    )
