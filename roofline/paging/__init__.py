"""What mapping a model's file means: its pages, which of them a token touches, and what a process seems to hold.

``layout`` lays the tensors out in the file, ``touched`` counts pages, ``faults`` says how few faults that takes, and
``resident`` what is in memory at which moment, and in whose account.
"""

from __future__ import annotations

from roofline.paging.faults import FAULT_AROUND, HUGE_PAGE, READ_AHEAD, Faults, PageSize, faults, page_size
from roofline.paging.layout import FileLayout, Span, layout_of_file, layout_of_shape
from roofline.paging.resident import Resident, held
from roofline.paging.touched import Touched, touched

__all__ = [
    "FAULT_AROUND",
    "HUGE_PAGE",
    "READ_AHEAD",
    "Faults",
    "FileLayout",
    "PageSize",
    "Resident",
    "Span",
    "Touched",
    "faults",
    "held",
    "layout_of_file",
    "layout_of_shape",
    "page_size",
    "touched",
]
