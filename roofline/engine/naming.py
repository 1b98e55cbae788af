"""Which model of the catalog a file holds, so that what is measured on it keeps a name when the file is gone."""

from __future__ import annotations

from pathlib import Path

from roofline import api, catalog
from roofline.model import Model
from roofline.spec import SpecError
from roofline.weights import Weights

SAME_SIZE = 0.005  # between a file's tensors and the recipe's: far below what another type of one role changes


def known_as(path: Path) -> tuple[str, str]:
    """(model, quantisation) of a GGUF file: a catalog id where shape and types are the catalog's, else the file itself.

    The quantisation is the file's own label where it stays a file.
    """
    entry, weights = api.load_weights(str(path), None)
    same = [identity for identity in sorted(catalog.files("models")) if _same(entry.spec, weights, identity)]
    words = catalog.normalise(f"{path.stem} {entry.spec.name}")
    named = [identity for identity in same if catalog.normalise(identity) in words]  # models may share a shape
    return next(iter([*named, *same]), str(path.absolute())), weights.quant


def _same(model: Model, weights: Weights, identity: str) -> bool:
    try:
        known = catalog.load_model(identity).spec
        if (known.layers, known.hidden, known.vocab) != (model.layers, model.hidden, model.vocab):
            return False
        _, recipe = api.load_weights(identity, weights.quant)
    except SpecError:  # a broken file of the user's, or a type that no recipe makes
        return False
    by_type = recipe.bytes_by_type
    return set(by_type) == set(weights.bytes_by_type) and all(
        abs(size - by_type[name]) <= SAME_SIZE * recipe.file_bytes for name, size in weights.bytes_by_type.items()
    )
