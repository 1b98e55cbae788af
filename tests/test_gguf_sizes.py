"""File sizes that others published, computed from a model's shape and a recipe."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from roofline import catalog, quantization
from roofline.weights import shape_facts

DATA = Path(__file__).parent / "data"
GIB = 2**30


def _rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="") as file:
        return list(csv.DictReader(file))


SIZES = _rows("gguf_sizes.csv")
BITS = _rows("llama_3_1_8b_bits.csv")


def test_the_tables_are_complete() -> None:
    assert len(SIZES) == 26
    assert all(row["source"] for row in SIZES)
    assert len(BITS) == 23


@pytest.mark.parametrize("row", SIZES, ids=lambda row: f"{row['model']}-{row['quant']}")
def test_published_file_sizes(row: dict[str, str]) -> None:
    """Within 0.3 %: the header, which is not computed, and the rounding of the published figure."""
    model = catalog.load_model(row["model"]).spec
    size = quantization.file_bytes(row["quant"], model.tensors(), shape_facts(model))
    assert size / GIB == pytest.approx(float(row["published_gib"]), rel=0.003)


@pytest.mark.parametrize("row", BITS, ids=lambda row: row["quant"])
def test_bits_per_weight_of_llama_3_1_8b(row: dict[str, str]) -> None:
    """The table in llama.cpp's tools/quantize/README.md, to its last digit.

    Its IQ4 files were made without an importance matrix: their first four ffn_down are q5_k.
    """
    model = catalog.load_model("llama-3.1-8b").spec
    tensors = model.tensors()
    with_imatrix = False if row["imatrix"] == "no" else None
    size = quantization.file_bytes(row["quant"], tensors, shape_facts(model), with_imatrix)
    bits = 8 * size / sum(tensor.elements for tensor in tensors)
    assert bits == pytest.approx(float(row["bits_per_weight"]), abs=0.5e-4 + 1e-9)
