"""Measured speeds against predictions: a verdict for every row, errors by group, what is most wrong, and what is near.

checking.check gives the verdicts, groups.groups their errors, report.report the text; nearest.nearest stands alone.
"""
