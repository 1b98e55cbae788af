"""The product of each rung; made in the process that measures it."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from roofline.measure.products import (
    Maker,
    Product,
    installed,
    integers,
    normal,
    numpy_library,
    numpy_matmul,
    of_arrays,
    torch_library,
)

_ROW_MAJOR, _NO_TRANSPOSE, _ONE_OFFSET = 101, 111, 173  # CBLAS_ORDER, CBLAS_TRANSPOSE, CBLAS_OFFSET
_MKL = re.compile(r"(lib)?mkl_rt\b.*\.(so|dylib|dll)(\.\d+)*$")
_HALF = 16  # bits of bf16
_VERSION_LENGTH = 200  # characters


def library(name: str, threads: int) -> tuple[str, dict[str, Maker]]:
    """What is installed, with its version, and what each of its rungs multiplies with.

    ImportError or OSError where the library cannot be loaded.
    """
    if name == "python":
        return f"Python {sys.version.split()[0]}", {"python": lists}
    if name == "mkl":
        return mkl_library()
    if name == "torch":
        said, makers = torch_library(threads)
    else:
        said, makers = numpy_library()
        makers = {**makers, "fp16": numpy_matmul(np.float16)}
    made = {f"{name}-{dtype}": maker for dtype, maker in makers.items()}
    if name == "numpy":
        made |= {"rows": rows, "loops": numpy_matmul(np.int32), "einsum": einsum}
    return said, made


def is_installed(name: str) -> bool:
    """Whether the library of a rung is here; it is not loaded."""
    return name in ("python", "numpy") or (mkl_file() is not None if name == "mkl" else installed(name))


def lists(m: int, n: int) -> Product:
    """Three nested loops over lists of Python's numbers, two of them in comprehensions."""
    left, right = normal(m, n, np.float64, 1), normal(n, n, np.float64, 2)
    a, b = left.tolist(), right.tolist()
    last: list[list[list[float]]] = []

    def run() -> None:
        last[:] = [[[sum(row[k] * b[k][j] for k in range(n)) for j in range(n)] for row in a]]

    return Product(run, lambda: left, lambda: right, lambda: np.array(last[0]))


def rows(m: int, n: int) -> Product:
    """C[i] += A[i, k] · B[k]: two loops of Python's around one of numpy's."""
    left, right = normal(m, n, np.float32, 1), normal(n, n, np.float32, 2)
    result = np.zeros((m, n), dtype=np.float32)

    def run() -> None:
        result[:] = 0.0
        for own, into in zip(left, result, strict=True):
            for factor, row in zip(own, right, strict=True):
                into += factor * row

    return of_arrays(left, right, result, run)


def einsum(m: int, n: int) -> Product:
    """numpy's compiled loops without a BLAS: np.einsum never calls one unless it is asked to optimize."""
    left, right = normal(m, n, np.float32, 1), normal(n, n, np.float32, 2)
    result = np.zeros((m, n), dtype=np.float32)
    return of_arrays(left, right, result, lambda: np.einsum("ij,jk->ik", left, right, out=result, optimize=False))


# -- MKL --------------------------------------------------------------------------------------------------------------


def mkl_file() -> Path | None:
    """The library of the package `mkl`, which lies beside the environment's other libraries; None without it."""
    try:
        files = metadata.files("mkl") or []
    except metadata.PackageNotFoundError:
        return None
    there = (Path(str(file.locate())) for file in files if _MKL.match(file.name))
    return next((path for path in there if path.exists()), None)


def mkl_library() -> tuple[str, dict[str, Maker]]:
    """Intel's library through its C interface, with integers of 32 bits (LP64); no numpy of another build is needed."""
    path = mkl_file()
    if path is None:
        raise ImportError("mkl is not installed")
    os.environ["MKL_INTERFACE_LAYER"], os.environ["MKL_DYNAMIC"] = "LP64", "FALSE"
    library = ctypes.CDLL(str(path))
    said = ctypes.create_string_buffer(_VERSION_LENGTH)
    library.MKL_Get_Version_String(said, ctypes.c_int(_VERSION_LENGTH))
    version = re.search(rb"Version ([\d.]+)", said.value)
    name = f"MKL {version.group(1).decode() if version else ''}".strip()
    return name, {
        "mkl-fp32": lambda m, n: _sgemm(library.cblas_sgemm, m, n),
        "mkl-bf16": lambda m, n: _bf16(library.cblas_gemm_bf16bf16f32, m, n),
        "mkl-int8": lambda m, n: _int8(library.cblas_gemm_s8u8s32, m, n),
    }


def _sgemm(function: Any, m: int, n: int) -> Product:
    left, right = normal(m, n, np.float32, 1), normal(n, n, np.float32, 2)
    result = np.zeros((m, n), dtype=np.float32)
    return of_arrays(left, right, result, _gemm(function, left, right, result))


def _bf16(function: Any, m: int, n: int) -> Product:
    """bf16 is the upper half of fp32."""
    a, b = (normal(rows, n, np.float32, seed).view(np.uint32) >> _HALF for rows, seed in ((m, 1), (n, 2)))
    left, right = a.astype(np.uint16), b.astype(np.uint16)
    result = np.zeros((m, n), dtype=np.float32)
    run = _gemm(function, left, right, result)
    return Product(run, lambda: (a << _HALF).view(np.float32), lambda: (b << _HALF).view(np.float32), lambda: result)


def _int8(function: Any, m: int, n: int) -> Product:
    """Row by row, MKL takes unsigned numbers on the left and signed ones on the right."""
    left, right = integers(m, n, np.uint8, 1, least=0), integers(n, n, np.int8, 2)
    result, offset = np.zeros((m, n), dtype=np.int32), np.zeros(1, dtype=np.int32)
    none = ctypes.c_byte(0)

    def run() -> None:
        function(
            _ROW_MAJOR, _NO_TRANSPOSE, _NO_TRANSPOSE, _ONE_OFFSET, m, n, n, ctypes.c_float(1.0), _at(left), n, none,
            _at(right), n, none, ctypes.c_float(0.0), _at(result), n, _at(offset),
        )  # fmt: skip

    return of_arrays(left, right, result, run)


def _gemm(function: Any, left: Any, right: Any, result: Any) -> Any:
    """C = 1·A·B + 0·C of matrices stored row by row."""
    m, n = result.shape
    return lambda: function(
        _ROW_MAJOR, _NO_TRANSPOSE, _NO_TRANSPOSE, m, n, n, ctypes.c_float(1.0), _at(left), n, _at(right), n,
        ctypes.c_float(0.0), _at(result), n,
    )  # fmt: skip


def _at(array: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
