"""Measured speeds against predictions: a verdict for every row, errors by group, and what is most wrong."""

from roofline.check.checking import Checked, check, check_file
from roofline.check.groups import Group, groups
from roofline.check.nearest import Near, nearest
from roofline.check.report import check_report
from roofline.check.verdicts import Row

__all__ = ["Checked", "Group", "Near", "Row", "check", "check_file", "check_report", "groups", "nearest"]
