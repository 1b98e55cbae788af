"""Sphinx: the site of roofline's documentation."""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs" / "_ext"))

project = "roofline"
author = "The roofline authors"
copyright = "The roofline authors"
release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "accuracy", "roofline_output", "spec_reference"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_type_aliases = {"Real": "Real"}
python_maximum_signature_line_length = 100
exclude_patterns = ["_build", "_ext"]

html_theme = "furo"
html_title = "roofline"
html_copy_source = False
