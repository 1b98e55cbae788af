"""The rungs of the ladder: what multiplies, in which type, by which library, and which rung each is a step from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from roofline.spec import SpecError

#: What makes a rung as fast as it is; the reasons are written from it.
Nature = Literal["interpreter", "rows", "scalar", "vector", "blas", "double", "converted", "other", "narrow", "integer"]


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to multiply matrices.

    library: what must be installed. dtype: of the operands; result_dtype: of the product; sums: the type in which a
    dot product is summed up, '' for exact integers. operand_bytes, result_bytes: of one number [B]. before: the rung of
    which it is a step. threaded: whether it uses more than one thread. paths: of the catalog's operations per cycle,
    those that may carry it out. limit: n that is not exceeded, since the rate has settled and time has not; 0 for none.
    """

    id: str
    title: str
    nature: Nature
    library: str
    dtype: str
    result_dtype: str
    sums: str
    operand_bytes: int
    result_bytes: int
    before: str
    threaded: bool
    paths: tuple[str, ...]
    limit: int = 0


def _float(  # a rung whose operands and result are of one type
    rung: str, title: str, nature: Nature, library: str, dtype: str, size: int, before: str, threaded: bool,
    paths: Sequence[str], sums: str = "", limit: int = 0,
) -> Rung:  # fmt: skip
    return Rung(
        rung, title, nature, library, dtype, dtype, sums or dtype, size, size, before, threaded, tuple(paths), limit
    )


_BF16, _FP16 = ("amx_bf16", "bf16", "fp32"), ("amx_fp16", "fp16", "fp32")
_INT8 = ("amx_int8", "int8")

#: In the order of the climb.
RUNGS: dict[str, Rung] = {
    rung.id: rung
    for rung in (
        _float("python", "Python, nested loops", "interpreter", "python", "fp64", 8, "", False, ("fp64",), limit=128),
        _float("rows", "Python over rows of NumPy", "rows", "numpy", "fp32", 4, "python", False, ("fp32",), limit=512),
        Rung(
            "loops", "NumPy's loops, int32", "scalar", "numpy", "int32", "int32", "", 4, 4, "rows", False, (), 512
        ),
        _float("einsum", "NumPy's einsum", "vector", "numpy", "fp32", 4, "loops", False, ("fp32",)),
        _float("numpy-fp32", "NumPy with its BLAS", "blas", "numpy", "fp32", 4, "einsum", True, ("fp32",)),
        _float("numpy-fp64", "NumPy with its BLAS", "double", "numpy", "fp64", 8, "numpy-fp32", True, ("fp64",)),
        _float(
            "numpy-fp16", "NumPy's loops, fp16", "converted", "numpy", "fp16", 2, "numpy-fp32", False, ("fp32",),
            sums="fp32", limit=256,
        ),
        _float("mkl-fp32", "MKL", "other", "mkl", "fp32", 4, "numpy-fp32", True, ("fp32",)),
        Rung("mkl-bf16", "MKL", "narrow", "mkl", "bf16", "fp32", "fp32", 2, 4, "mkl-fp32", True, _BF16),
        Rung("mkl-int8", "MKL", "integer", "mkl", "int8", "int32", "", 1, 4, "mkl-fp32", True, _INT8),
        _float("torch-fp32", "torch", "other", "torch", "fp32", 4, "numpy-fp32", True, ("fp32",)),
        _float("torch-fp16", "torch", "narrow", "torch", "fp16", 2, "torch-fp32", True, _FP16, sums="fp32"),
        _float("torch-bf16", "torch", "narrow", "torch", "bf16", 2, "torch-fp32", True, _BF16, sums="fp32"),
        Rung("torch-int8", "torch", "integer", "torch", "int8", "int32", "", 1, 4, "torch-fp32", True, _INT8),
    )
}  # fmt: skip
#: What pip is asked for, by library.
EXTRAS = {"mkl": "roofline[mkl]", "torch": "roofline[torch]"}
#: The rung whose speed shows what a cache holds, since nothing is kept in registers or blocks.
UNBLOCKED = "einsum"


@dataclass(frozen=True, slots=True)
class Run:
    """A rung with a number of threads."""

    rung: str
    threads: int

    @property
    def spec(self) -> Rung:
        """What the rung is."""
        return RUNGS[self.rung]


def named(names: str | None) -> tuple[str, ...]:
    """The rungs that a list names, in the order of the climb; all without one. SpecError for another name."""
    if names is None:
        return tuple(RUNGS)
    wanted = [name.strip().lower() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in RUNGS]
    if unknown or not wanted:
        found = unknown[0] if unknown else names
        raise SpecError(f"--rungs: expected some of {', '.join(RUNGS)}, found {found!r}")
    return tuple(rung for rung in RUNGS if rung in wanted)


def runs(rungs: Iterable[str], threads: Sequence[int]) -> tuple[Run, ...]:
    """Each rung with its numbers of threads: all of them for NumPy in fp32, the first and the last for the others.

    threads: ascending. What uses one thread runs once.
    """
    found = []
    for rung in rungs:
        spec = RUNGS[rung]
        counts = tuple(threads) if rung == "numpy-fp32" else tuple(dict.fromkeys((threads[0], threads[-1])))
        found += [Run(rung, count) for count in (counts if spec.threaded else (1,))]
    return tuple(found)
