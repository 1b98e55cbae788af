"""Sweeps: predictions over every combination of hardware, models, quantisations and workloads, streamed to a file.

`request` says which points, `partitions` cuts them into pieces of bounded size, `evaluate` works one out, `encoding`
makes bytes of it, `output` keeps the bytes so that nothing is lost or doubled, and `command` runs it all, in processes
of this machine or on a Dask cluster.
"""

from roofline.sweep.command import Finished, sweep
from roofline.sweep.report import sweep_report
from roofline.sweep.request import Request, make_request

__all__ = ["Finished", "Request", "make_request", "sweep", "sweep_report"]
