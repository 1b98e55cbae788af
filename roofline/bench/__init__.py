"""Observations: measured speeds in, from the formats that people have, and those that the package ships."""

from roofline.bench.llama_bench import read_bench_csv, read_json, read_sql
from roofline.bench.markdown import read_markdown
from roofline.bench.observation import COLUMNS, Given, Observation, Reading, Skipped
from roofline.bench.observations_csv import read_observations
from roofline.bench.reader import KINDS, detect, read, read_path
from roofline.bench.runtimes import RuntimeChoice, runtime_for
from roofline.bench.shipped import shipped
from roofline.bench.timings import read_printed

__all__ = [
    "COLUMNS",
    "KINDS",
    "Given",
    "Observation",
    "Reading",
    "RuntimeChoice",
    "Skipped",
    "detect",
    "read",
    "read_bench_csv",
    "read_json",
    "read_markdown",
    "read_observations",
    "read_path",
    "read_printed",
    "read_sql",
    "runtime_for",
    "shipped",
]
