"""Charts for a document: the figure of each kind of chart, with the table of its numbers."""

from __future__ import annotations

from roofline.charts import (
    curve,
    dot_errors,
    errors,
    ladder,
    ladder_roofs,
    ladder_sizes,
    pareto,
    quant,
    rooflines,
    token_time,
)
from roofline.document.blocks import Chart, Table
from roofline.measure.ladder.report import COLUMNS as LADDER_COLUMNS
from roofline.measure.ladder.report import SIZE_COLUMNS
from roofline.plot import curves as curves_plot
from roofline.plot import dot_errors as dot_errors_plot
from roofline.plot import errors as errors_plot
from roofline.plot import ladder as ladder_plot
from roofline.plot import pareto as pareto_plot
from roofline.plot import quants as quants_plot
from roofline.plot import rooflines as rooflines_plot
from roofline.plot import token_time as token_time_plot


def errors_picture(chart: errors.Errors, identity: str = "measured") -> Chart:
    """Predicted against measured speeds."""
    return Chart(identity, errors_plot.figure(chart), Table(chart.rows(), errors.COLUMNS, " ".join(chart.notes)), 560)


def dot_errors_picture(chart: dot_errors.DotErrors, identity: str = "dot-errors") -> Chart:
    """The error of dot products against their length."""
    table = Table(chart.rows(), dot_errors.COLUMNS, " ".join(chart.notes))
    return Chart(identity, dot_errors_plot.figure(chart), table, 640)


def pareto_picture(chart: pareto.Pareto, identity: str = "pareto") -> Chart:
    """Decode speed against price, power or cost."""
    return Chart(identity, pareto_plot.figure(chart), Table(chart.rows(), pareto.COLUMNS, " ".join(chart.notes)), 600)


def curves_picture(chart: curve.Curves, identity: str = "") -> Chart:
    """Speed against depth, batch or threads."""
    table = Table(chart.rows(), chart.columns, " ".join(chart.notes))
    return Chart(identity or chart.axis, curves_plot.figure(chart), table, 720)


def quants_picture(chart: quant.QuantPoints, identity: str = "quant") -> Chart:
    """Speed against bits per weight and against quality."""
    return Chart(identity, quants_plot.figure(chart), Table(chart.rows(), quant.COLUMNS, " ".join(chart.notes)), 720)


def token_time_picture(chart: token_time.TokenTimes, identity: str = "token") -> Chart:
    """What a token's time goes to."""
    table = Table(chart.rows(), token_time.COLUMNS, " ".join(chart.notes))
    return Chart(identity, token_time_plot.figure(chart), table, token_time_plot.height(chart))


def roofline_picture(chart: rooflines.Roofline, identity: str = "roofline", sliders: bool = True) -> Chart:
    """Roofs, and under them a model's operators and phases."""
    figure = rooflines_plot.figure(chart, sliders=sliders)
    numbers = Table(chart.rows(), chart.columns, " ".join(chart.notes))
    return Chart(identity, figure, numbers, rooflines_plot.HEIGHTS[len(chart.panels)])


def climb_picture(chart: ladder.Climb, identity: str = "climb") -> Chart:
    """The rungs of a matmul ladder as bars."""
    numbers = Table(chart.rows(), LADDER_COLUMNS, " ".join(chart.notes))
    return Chart(identity, ladder_plot.climb(chart), numbers, ladder_plot.height(chart))


def ladder_roofs_picture(chart: ladder_roofs.Roofs, identity: str = "roofs") -> Chart:
    """The rungs of a matmul ladder under the machine's roofs."""
    return Chart(identity, ladder_plot.roofs(chart), Table(chart.rows(), ladder_roofs.COLUMNS), 620)


def ladder_sizes_picture(chart: ladder_sizes.Sizes, identity: str = "sizes") -> Chart:
    """The speed of matrix products against their size."""
    return Chart(identity, ladder_plot.sizes(chart), Table(chart.rows(), SIZE_COLUMNS), 560)
