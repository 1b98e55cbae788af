"""Products of matrices by the libraries of this machine: what is timed, and what a check of the result needs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_LARGEST_INTEGER = 127  # of 8 bits


@dataclass(frozen=True, slots=True)
class Product:
    """One product C = A · B, A of m × n and B of n × n numbers.

    run: multiplies once. left, right: the operands as arrays that hold them exactly. result: C of the last run.
    """

    run: Callable[[], object]
    left: Callable[[], Array]
    right: Callable[[], Array]
    result: Callable[[], Array]


#: (m, n) → a product, with operands of mean 0.
Maker = Callable[[int, int], Product]


def installed(library: str) -> bool:
    """Whether a library can be loaded; it is not loaded here."""
    try:
        return importlib.util.find_spec(library) is not None
    except (ImportError, ValueError):
        return False


def of_arrays(left: Array, right: Array, result: Array, run: Callable[[], object]) -> Product:
    """A product whose matrices are numpy's."""
    return Product(run, lambda: left, lambda: right, lambda: result)


def normal(rows: int, columns: int, dtype: Any, seed: int) -> Array:
    """Standard normal numbers, rounded to the dtype; the same for the same seed."""
    drawn: Any = np.float64 if np.dtype(dtype).itemsize > 4 else np.float32
    return np.random.default_rng(seed).standard_normal((rows, columns), dtype=drawn).astype(dtype, copy=False)


def integers(rows: int, columns: int, dtype: Any, seed: int, least: int = -_LARGEST_INTEGER) -> Array:
    """Integers of 8 bits, in the dtype."""
    return np.random.default_rng(seed).integers(least, _LARGEST_INTEGER + 1, (rows, columns)).astype(dtype)


def numpy_matmul(dtype: Any) -> Maker:
    """np.matmul: the BLAS for fp32 and fp64; loops of numpy's own for every other type."""

    def make(m: int, n: int) -> Product:
        of = integers if np.issubdtype(dtype, np.integer) else normal
        left, right = of(m, n, dtype, 1), of(n, n, dtype, 2)
        result = np.zeros((m, n), dtype=dtype)
        return of_arrays(left, right, result, lambda: np.matmul(left, right, out=result))

    return make


def blas_name() -> str:
    """The BLAS that numpy was built with, such as 'scipy-openblas 0.3.30'; 'unknown BLAS' where it does not say."""
    try:
        config: Any = np.show_config(mode="dicts")
        blas = config["Build Dependencies"]["blas"]
        return f"{blas['name']} {blas.get('version', '')}".replace("unknown", "").strip() or "unknown BLAS"
    except (TypeError, KeyError, AttributeError):
        return "unknown BLAS"


def numpy_library() -> tuple[str, dict[str, Maker]]:
    """numpy with its BLAS: name and version, and the products by dtype. The environment says how many threads."""
    name = f"numpy {np.__version__} ({blas_name()})"
    return name, {"fp32": numpy_matmul(np.float32), "fp64": numpy_matmul(np.float64)}


def torch_library(threads: int) -> tuple[str, dict[str, Maker]]:
    """torch on the CPU: name and version, and the products by dtype. ImportError without torch."""
    import torch

    torch.set_num_threads(threads)

    def floats(dtype: Any) -> Maker:
        def make(m: int, n: int) -> Product:
            generator = torch.Generator().manual_seed(1)
            left, right = (torch.randn(rows, n, generator=generator).to(dtype) for rows in (m, n))
            result = torch.empty(m, n, dtype=dtype)
            arrays = [lambda one=one: one.to(torch.float32).numpy() for one in (left, right, result)]
            return Product(lambda: torch.mm(left, right, out=result), *arrays)

        return make

    def whole(m: int, n: int) -> Product:
        left, right = (torch.from_numpy(integers(rows, n, np.int8, seed)) for seed, rows in ((1, m), (2, n)))
        last: list[Any] = []

        def run() -> None:
            last[:] = [torch._int_mm(left, right)]

        return Product(run, left.numpy, right.numpy, lambda: np.asarray(last[0].numpy()))

    products: dict[str, Maker] = {
        "fp32": floats(torch.float32),
        "bf16": floats(torch.bfloat16),
        "int8": whole,
        "fp16": floats(torch.float16),
    }
    backends = {"MKL": torch.backends.mkl.is_available(), "oneDNN": torch.backends.mkldnn.is_available()}
    names = " and ".join(name for name, there in backends.items() if there) or "its own kernels"
    return f"torch {torch.__version__} ({names})", products
