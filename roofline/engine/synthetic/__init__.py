"""Models that need no download: GGUF files of any known shape and quantisation, with random weights.

Speed depends on shapes, types and bytes, and hardly on what the weights are, so an engine can be measured on a model
before its gigabytes are fetched.
"""

from __future__ import annotations

from roofline.engine.synthetic.architectures import ARCHITECTURES
from roofline.engine.synthetic.plan import SyntheticPlan, plan_synthetic
from roofline.engine.synthetic.vocabulary import Vocabulary
from roofline.engine.synthetic.writing import SyntheticFile, synthetic, write_synthetic

__all__ = [
    "ARCHITECTURES",
    "SyntheticFile",
    "SyntheticPlan",
    "Vocabulary",
    "plan_synthetic",
    "synthetic",
    "write_synthetic",
]
