"""How fast a language model runs on hardware you may not own: rooflines, a catalog, and their sources.

>>> import roofline
>>> roofline.predict(hw="rpi5", model="mistral-7b", quant="q4_0").decode.bound
'memory'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roofline.api import list_hardware, list_models, list_runtimes, predict

__all__ = ["list_hardware", "list_models", "list_runtimes", "predict"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # `roofline --help` imports this package; numpy and pydantic load when the first function is used.
    if name in __all__:
        from roofline import api

        globals()[name] = getattr(api, name)
        return globals()[name]
    raise AttributeError(f"module 'roofline' has no attribute {name!r}")
