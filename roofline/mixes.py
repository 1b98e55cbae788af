"""Which types a quantisation consists of: a block type is itself, a recipe what it makes of a model's tensors."""

from __future__ import annotations

from roofline.api import load_weights
from roofline.points import expand
from roofline.quantization import ids, layout
from roofline.spec import SpecError

USUAL_MODEL = "llama-3.1-8b"
_TABLES = ("f32", "f64")  # norms and biases: no row of a matrix product


def mixes(quants: str, model: str = USUAL_MODEL) -> dict[str, dict[str, float]]:
    """Elements of each type [1] by name of the quantisation: 'q8_0,q4_k_m' → two mixes; patterns of recipes, too.

    model: whose tensors a recipe is applied to, an id, a TOML or a config.json file. A name that is both a type and a
    recipe (q8_0, q4_0) is the type alone. SpecError for a name that is neither, and for one of an unknown model.
    """
    return {_name(quant): _mix(quant, model) for quant in expand("quant", quants, ids())}


def _name(quant: str) -> str:
    try:
        return layout(quant).name
    except SpecError:
        return quant.lower()


def _mix(quant: str, model: str) -> dict[str, float]:
    try:
        return {layout(quant).name: 1.0}
    except SpecError:
        pass
    _, weights = load_weights(model, quant)
    return {name: float(elements) for name, elements in weights.elements_by_type.items() if name not in _TABLES}
