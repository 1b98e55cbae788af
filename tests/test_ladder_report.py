"""What a measured ladder says: shares, steps, reasons that hold on the machine, pictures, formats and errors."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roofline.charts.ladder import climb
from roofline.charts.ladder_roofs import COLUMNS as ROOF_COLUMNS
from roofline.charts.ladder_roofs import roofs
from roofline.charts.ladder_sizes import sizes
from roofline.columns import COLUMNS as REGISTRY
from roofline.document import ladder as document
from roofline.document.html import page
from roofline.measure.conditions import Disturbance
from roofline.measure.identity import Identity
from roofline.measure.ladder import command
from roofline.measure.ladder.climb import Task
from roofline.measure.ladder.here import Here, loops_isa
from roofline.measure.ladder.history import historical
from roofline.measure.ladder.reasons import reason, vectors
from roofline.measure.ladder.report import (
    COLUMNS,
    HISTORY_COLUMNS,
    SIZE_COLUMNS,
    TABLE,
    report,
    size_words,
    words,
)
from roofline.measure.ladder.rungs import RUNGS, Run
from roofline.measure.ladder.sizes import best_blocked, few_rows, largest, side_in, sweep_tasks, traffic
from roofline.measure.ladder.steps import Step, steps
from roofline.measure.seen import Cluster
from roofline.plot import ladder as plot
from roofline.spec import SpecError
from roofline.units import parse
from tests.figures import assert_no_raw_names, assert_palette
from tests.ladders import AMX, APPLE, ARM, GIGA, RUN, SPEEDS, X86, captured, here, ladder, measured
from tests.running import Run as Command
from tests.running import runner

MACHINES = {"AVX2": X86, "AMX": AMX, "Arm": ARM, "Apple": APPLE, "unknown": ()}
#: Words that are true on a machine with that instruction set alone.
ONLY_ON = {
    "avx512": ("AVX-512", "ZMM"), "avx2": ("AVX2",), "amx": ("AMX", "TDP"), "neon": ("NEON", "SDOT", "SMMLA", "BFDOT"),
    "avx_vnni": ("VNNI", "VPDPBUSD", "VDPBF16PS"),
}  # fmt: skip


def step_of(rung: str, threads: int, isa: tuple[str, ...] = AMX, library: str = "x 1.0") -> Step:
    return next(one for one in ladder(isa, library).steps if one.run == Run(rung, threads))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    return runner(capsys)


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_the_place_of_a_rung_under_the_roofs() -> None:
    """numpy-fp32 with 2 threads: 180 GFLOP/s of 64 a cycle × 2 GHz × 2 cores = 256; 2n³ on 3·4·n², so n/6 FLOP/B."""
    step = step_of("numpy-fp32", 2)
    assert step.peak == pytest.approx(256 * GIGA)
    assert step.share == pytest.approx(180 / 256)
    assert (step.work, step.bytes) == (2 * 1024**3, 12 * 1024**2)
    assert step.intensity == pytest.approx(1024 / 6)
    assert step.attainable == pytest.approx(256 * GIGA)  # 16 GB/s × 170 FLOP/B is far more
    assert step.bound == "compute"
    assert step.seconds == pytest.approx(2 * 1024**3 / (180 * GIGA))
    assert step.factor == pytest.approx(1.8) and step.against is not None and step.against.run.threads == 1


def test_a_low_roof_is_the_memorys() -> None:
    """Of int8 at n = 64: 2·64³ on 64²·(1 + 1 + 4) bytes is 21.3 FLOP/B, at 16 GB/s 341 GFLOP/s; AMX's peak is 8192.

    24.6 kB fit a cache, where a product that is repeated finds them: of the L3, or of the L2 of each core.
    """
    machine = replace(here(), l2=12_287.0, l3=None)
    (step,) = steps([measured("mkl-int8", 2, 100.0, n=64)], machine)
    assert step.bytes == 64 * 64 * 6
    assert step.attainable == pytest.approx(2 * 64 / 6 * 16 * GIGA)
    assert step.bound == "memory"
    assert step.peak == pytest.approx(8192 * GIGA)
    for known in (here(), replace(machine, l2=12_288.0)):
        assert steps([measured("mkl-int8", 2, 100.0, n=64)], known)[0].bound == "cache"
    assert steps([measured("rows", 1, 1.0, n=256)], here())[0].bound == "overhead"  # two calls a row


def test_the_call_of_a_tiny_product_takes_longer_than_the_product() -> None:
    """2·32³ = 65 536 operations are a microsecond of 66 GFLOP/s, as long as a call from Python."""
    for n, is_small in ((1, True), (31, True), (32, False)):
        (step,) = steps([measured("numpy-fp32", 1, 1e-5, n=n)], here())
        assert (step.bound == "overhead") == is_small
        assert (reason(step, here()) == "So small a product takes less time than its call.") == is_small
    made = replace(ladder(), n=1, steps=steps([measured("numpy-fp32", 1, 1e-5, n=1)], here()))  # 10 kFLOP/s of 128 G
    assert "<0.01%" in report(made, "table") and " less than 1% of the 128 GFLOP/s" in report(made, "table")


def test_the_paths_that_peaks_rest_on() -> None:
    machine = here()
    assert [machine.path(RUNGS[rung]) for rung in ("python", "numpy-fp64", "loops", "mkl-bf16", "mkl-int8")] == [
        "fp64", "fp64", None, "amx_bf16", "amx_int8",
    ]  # fmt: skip
    assert machine.rate("fp64") == 32.0  # half of fp32's
    assert replace(machine, per_cycle={"fp32": 8.0, "fp64": 1.0}).rate("fp64") == 1.0  # as the catalog says
    assert here(X86).path(RUNGS["mkl-bf16"]) == "fp32"  # no arithmetic for bf16: converted
    unknown = here(())
    assert unknown.peak("fp32", 1) is None and unknown.ceilings("fp32", 1) is None
    assert here().peak("fp32", 64) is None  # a number of threads that was not looked at


def test_each_step_is_taken_from_the_rung_before_with_as_many_threads() -> None:
    made = {one.run: one for one in ladder().steps}

    def before(rung: str, threads: int) -> Run | None:
        against = made[Run(rung, threads)].against
        return against.run if against else None

    assert before("python", 1) is None
    assert before("numpy-fp32", 1) == Run("einsum", 1)
    assert before("numpy-fp64", 2) == Run("numpy-fp32", 2)
    assert before("mkl-int8", 2) == Run("mkl-fp32", 2)
    assert before("torch-fp16", 2) is None  # torch-fp32 was not measured


# -- sizes ------------------------------------------------------------------------------------------------------------


def test_the_largest_matrices_in_a_cache() -> None:
    fp32 = RUNGS["einsum"]
    assert traffic(fp32, 5, 7) == 4 * (5 * 7 + 7 * 7 + 5 * 7)
    assert traffic(RUNGS["mkl-int8"], 8, 8) == 64 * (1 + 1 + 4)
    side = side_in(parse("1 MiB", "B"), fp32)
    assert side == 295  # √(2^20 / 12) = 295.6
    assert traffic(fp32, side, side) <= 2**20 < traffic(fp32, side + 1, side + 1)
    assert side_in(0.0, fp32) == 0


def test_a_sweep_is_of_the_fastest_library_and_of_the_loops() -> None:
    found = [measured(rung, threads, speed) for (rung, threads), speed in SPEEDS.items()]
    assert best_blocked(found) == Run("mkl-fp32", 2)  # of fp32; bf16 and int8 are faster
    assert best_blocked([one for one in found if one.run.rung == "einsum"]) is None
    fast = [measured("numpy-fp64", 1, 500.0), measured("numpy-fp32", 1, 100.0)]  # fp64 by threads, say; but not fp32
    assert best_blocked(fast) == Run("numpy-fp32", 1)
    tasks = sweep_tasks(Run("numpy-fp32", 2), 8192, False)
    assert [task.n for task in tasks if task.run.rung == "einsum"] == [64, 128, 256, 512, 1024, 2048, 4096, 8192]
    assert max(task.n for task in tasks if task.run.rung == "numpy-fp32") == 4096
    assert all(task.exactly for task in tasks)
    assert {task.n: task.rows for task in tasks if task.run.rung == "einsum"}[64] == few_rows(64) == 64
    assert few_rows(1024) == 32  # 2^26 / (2·2^20)
    assert few_rows(8192) == 4
    assert {task.run.rung for task in sweep_tasks(None, 128, True)} == {"einsum"}
    assert largest(parse("1 GB", "B"), False) == int(math.sqrt(parse("100 MB", "B") / 12))
    assert largest(parse("1 TB", "B"), True) < largest(parse("1 TB", "B"), False)


def test_size_words_say_who_notices() -> None:
    said = list(size_words(ladder()))
    assert said[0] == (
        "three fp32 matrices fit the L2 of a core (1.00 MiB) up to n = 295, "
        "the L3 of the machine (300 MiB) up to n = 5120"
    )
    assert any(line.startswith("einsum") and "at n = 512, 50% of it at n = 2048" in line for line in said)
    # 180 at the largest size is the most
    assert any(
        line.startswith("numpy-fp32, 2 threads, works on blocks") and "the largest in time" in line for line in said
    )


# -- reasons ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isa", MACHINES.values(), ids=MACHINES)
def test_no_reason_names_an_instruction_that_the_machine_lacks(isa: tuple[str, ...]) -> None:
    for step in ladder(isa).steps:
        text = reason(step, here(isa))
        assert text.endswith(".") and "None" not in text and "  " not in text
        for word, names in ONLY_ON.items():
            if word not in isa:
                assert not [name for name in names if name in text], f"{step.run.rung}: {text}"


def test_vectors_by_their_names() -> None:
    assert [vectors(isa) for isa in MACHINES.values()] == [
        ("AVX2", 8), ("AVX-512", 16), ("NEON", 4), ("NEON", 4), ("", 1),
    ]  # fmt: skip
    assert vectors(("sve", "neon")) == ("NEON", 4)  # SVE's width is not in its name


@pytest.mark.parametrize(
    ("rung", "isa", "part"),
    [
        ("mkl-int8", AMX, "AMX multiplies whole tiles (TDPBUSD and TDPBSSD): 2048 operations a cycle where vectors"),
        ("mkl-int8", ("avx_vnni", *X86), "VPDPBUSD (VNNI)"),
        ("mkl-int8", X86, "no dot product of int8"),
        ("mkl-int8", ARM, "SDOT (dotprod)"),
        ("mkl-int8", APPLE, "SMMLA (i8mm)"),
        ("mkl-bf16", AMX, "TDPBF16PS"),
        ("mkl-bf16", ("avx512", "avx512_bf16", *X86), "VDPBF16PS"),
        ("mkl-bf16", APPLE, "BFDOT and BFMMLA"),
        ("mkl-bf16", X86, "no arithmetic for bf16"),
        (
            "torch-fp16",
            AMX,
            "arithmetic for fp16: 128 operations a cycle, 2.00 times those of fp32. This library stays",
        ),
        ("torch-fp16", X86, "no arithmetic for fp16"),
        ("numpy-fp32", AMX, "2 threads share the rows of C, and each has a core"),
    ],
)
def test_a_reason_by_the_instructions_of_the_machine(rung: str, isa: tuple[str, ...], part: str) -> None:
    assert part in reason(step_of(rung, 2, isa), here(isa))


def test_the_loops_of_numpy_are_compiled_for_less_than_the_core_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel's einsum multiplies by MULPS of 128 bits on a core with AVX-512, as a disassembly shows."""
    assert "4 numbers an instruction (SSE," in reason(step_of("einsum", 1), here())
    assert "numbers an instruction" not in reason(step_of("einsum", 1), replace(here(), loops_isa=()))
    for baseline, words_of in (
        (["X86_V2"], ("sse4",)), (["SSE", "SSE2", "SSE3"], ("sse4",)), (["NEON", "NEON_FP16", "ASIMD"], ("neon",)),
        (["SSE42", "AVX", "AVX2"], ("avx2", "avx", "sse4")), ([], ()),
    ):  # fmt: skip
        told = {"SIMD Extensions": {"baseline": baseline}}
        monkeypatch.setattr(np, "show_config", lambda told=told, **_: told)
        assert loops_isa() == words_of
    monkeypatch.setattr(np, "show_config", lambda **_: {})
    assert loops_isa() == ()


def test_a_reason_is_told_once_and_a_smaller_n_is_told() -> None:
    made = captured()
    lines = list(words(made))
    said = {line.replace(":", " ").partition(" ")[0]: line for line in lines}
    assert said["torch-bf16"].endswith("As mkl-bf16.") and "TDPBF16PS" in said["mkl-bf16"]
    # rows at 256 of its limit 512; python and loops at their limits of 128 and 512
    assert lines[-2] == "For want of time at a smaller n, where speeds may be lower: rows, 1 thread."
    assert not any("For want of time" in line for line in words(ladder()))


def test_reasons_follow_what_was_measured() -> None:
    machine = here()
    (poor,) = (
        one
        for one in steps([measured("numpy-fp32", 1, 100.0), measured("numpy-fp32", 2, 110.0)], machine)
        if one.run.threads == 2
    )
    assert "2 threads share the rows of C: ×1.10, not ×2." in reason(poor, machine)
    spoiled = steps([measured("numpy-fp32", 1, 100.0), measured("numpy-fp32", 2, 0.2)], machine)[1]
    assert reason(spoiled, machine).startswith("2 threads share the rows of C, yet are slower")
    assert 0.0 < (spoiled.factor or 0.0) < 0.01 and "0.00 " not in reason(spoiled, machine)
    # 200 GFLOP/s is less than the 256 that vectors of fp32 could do, 1000 is more than the 128 + 256 of bf16 and fp32.
    (slow,) = steps([measured("mkl-bf16", 2, 200.0)], machine)
    assert "at this speed vectors alone would do" in reason(slow, machine)
    assert "They are in use: vectors alone end at 256 GFLOP/s" in reason(step_of("mkl-bf16", 2), machine)
    (beyond,) = steps([measured("numpy-fp32", 1, 150.0)], machine)  # of 128
    assert "More than the peak" in reason(beyond, machine)
    python = reason(step_of("python", 1), machine)
    assert "100 cycles for a multiply-add" in python  # 2·2 GHz / 0.04 GFLOP/s
    assert "can do 16 in one" in python  # 32 FLOP of fp64 a cycle
    accelerate = step_of("numpy-fp32", 1, APPLE, "numpy 2.0 (accelerate)")
    assert "matrix unit" in reason(accelerate, here(APPLE))
    assert "matrix unit" not in reason(step_of("numpy-fp32", 1, APPLE), here(APPLE))


# -- the article's ladder ---------------------------------------------------------------------------------------------


def test_the_articles_numbers() -> None:
    """J. Tunney, "LLaMA Now Goes Faster on CPUs", 31 March 2024, https://justine.lol/matmul/"""
    assert [one.flop_s / GIGA for one in historical()] == pytest.approx([0.042, 29, 47, 85, 233, 384, 810])
    assert [one.library for one in historical()][3:] == ["BLIS", "llama.cpp", "Intel MKL", "llamafile"]


# -- formats ----------------------------------------------------------------------------------------------------------


def test_table_and_markdown() -> None:
    made = ladder()
    text = report(made, "table")
    assert "numpy-fp32  fp32         2  1024   180 GFLOP/s" in text
    assert "torch-fp32: not installed: pip install 'roofline[torch]'" in text
    assert "https://justine.lol/matmul/" in text and "Another machine's ladder, Intel Core i9-14900K" in text
    assert "The fastest in int8: 2.00 TFLOP/s, 24% of the 8.19 TFLOP/s that 2 cores could do." in text
    # python: 0.04 of 32 a cycle × 2 GHz = 64 GFLOP/s is 0.0625 %, which keeps a digit
    assert re.search(r"^python .*  0\.06%", text, re.M)
    assert report(made, "md").count("## ") == 6
    disturbed = replace(made, disturbances=(Disturbance("load", "2.0 processes", "wait"),))
    assert "What disturbed it\n\n- load: 2.0 processes; wait\n" in report(disturbed, "table")
    for one in made.steps:
        assert one.run.rung in "".join(words(made))


def test_json_and_csv_have_everything() -> None:
    made = ladder()
    found = json.loads(report(made, "json"))
    assert found["schema"] == "roofline.ladder/1"
    assert [row["rung"] for row in found["rungs"]] == [rung for rung, _ in SPEEDS]
    assert {"achieved_flop_s", "share_of_peak", "intensity_flop_per_byte", "reason"} <= set(found["rungs"][0])
    assert found["not_measured"][0]["what"] == "torch-fp32"
    assert len(found["historical"]["rungs"]) == 7 and "i9-14900K" in found["historical"]["machine"]
    lines = list(csv.DictReader(io.StringIO(report(made, "csv"))))
    assert [float(line["achieved_flop_s"]) / GIGA for line in lines] == pytest.approx(list(SPEEDS.values()))
    assert set(COLUMNS) == set(found["rungs"][0]) == set(lines[0])


def test_a_kept_run_is_read_back() -> None:
    """The gallery's pictures are of the numbers that were written, reasons apart."""
    kept, again = json.loads(RUN.read_text(encoding="utf-8")), json.loads(report(captured(), "json"))
    for told, now in zip(kept["rungs"], again["rungs"], strict=True):
        for key in ("achieved_flop_s", "spread", "share_of_peak", "times_as_fast", "intensity_flop_per_byte"):
            assert now[key] == (told[key] if told[key] is None else pytest.approx(told[key])), (told["rung"], key)
    assert [row["achieved_flop_s"] for row in again["sizes"]] == [row["achieved_flop_s"] for row in kept["sizes"]]


def test_columns_are_registered() -> None:
    assert {*TABLE, *COLUMNS, *SIZE_COLUMNS, *HISTORY_COLUMNS, *ROOF_COLUMNS} <= set(REGISTRY)


def test_a_machine_of_which_nothing_is_known() -> None:
    made = ladder(())
    text = report(made, "table")
    assert "there is no share of a peak" in text and "% of the peak" not in text
    assert "a <machine>, 1 core: instruction sets not known\n" in report(
        replace(made, here=replace(made.here, cores=1)), "table"
    )
    assert json.loads(report(made, "json"))["rungs"][0]["share_of_peak"] is None
    assert roofs(made) is None
    with pytest.raises(SpecError, match="expected a machine whose peak is known"):
        document.picture(made, "roofline")
    assert "The climb" in page(document.document(made))


# -- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isa", [AMX, ARM], ids=["AMX", "Arm"])
def test_figures_are_valid_and_hold_the_charts_numbers(isa: tuple[str, ...]) -> None:
    import plotly.graph_objects as go

    made = ladder(isa)
    bars, under, against = climb(made), roofs(made), sizes(made)
    assert under is not None and against is not None
    figures = (plot.climb(bars), plot.roofs(under), plot.sizes(against))
    for figure in figures:
        go.Figure(figure)
        assert_palette(figure)
        assert_no_raw_names(figure, ("a <machine>",))
    drawn = [value for trace in figures[0]["data"] if trace["type"] == "bar" for value in trace["x"]]
    rows = [row["achieved_flop_s"] for row in bars.rows()]
    assert sorted(drawn) == sorted([*rows, *(one.flop_s for one in historical())])
    points = [y for trace in figures[1]["data"] if trace["mode"] == "markers" for y in trace["y"]]
    assert sorted(points) == sorted(row["achieved_flop_s"] for row in under.rows() if row.get("rung"))
    curves = [y for trace in figures[2]["data"] for y in trace["y"]]
    assert curves == [row["achieved_flop_s"] for row in against.rows()]
    assert [said for _, said in against.marks] == ["L2\n1.00 MiB"]  # three matrices of n = 5120 fill the L3
    assert "up to n = 5120" in " ".join(against.notes)


def test_another_machine_stands_apart() -> None:
    figure = plot.climb(climb(ladder()))
    (other,) = [trace for trace in figure["data"] if trace["type"] == "bar" and trace["yaxis"] == "y2"]
    assert "another machine" in other["name"]
    (low, cut), (above, top) = climb(ladder()).domains
    assert low == 0.0 < cut < above < top == 1.0
    assert "i9-14900K" in " ".join(climb(ladder()).notes)


def test_points_lie_under_their_roofs() -> None:
    chart = roofs(ladder())
    assert chart is not None
    level = {line.name: line for line in chart.lines}
    assert any(name.startswith("amx_int8, 2 cores: 8.19 TFLOP/s") for name in level)
    for line in chart.lines:
        if line.kind == "memory":
            assert [y / x for x, y in zip(line.x, line.y, strict=True)] == pytest.approx([line.value] * 2)
    for row in chart.rows():
        if row.get("attainable_flop_s"):
            assert row["achieved_flop_s"] <= row["attainable_flop_s"]


def test_files(tmp_path: Path) -> None:
    made = replace(ladder(), disturbances=(Disturbance("steal", "the host took 9%", "wait"),))
    for name in ("x.html", "x.md", "x.json", "x.csv"):
        document.check_asked(tmp_path / name, "climb", True)
        document.save(made, tmp_path / name, "auto", "climb")
    html = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert html.count('<div class="plot"') == 3 and "a &lt;machine&gt;" in html and "<machine>" not in html
    written = (tmp_path / "x.md").read_text(encoding="utf-8")
    assert "numpy-fp16" in written and "steal: the host took 9%; wait" in written
    assert (tmp_path / "x.csv").read_text(encoding="utf-8").splitlines()[0] == ",".join(COLUMNS)
    for name in ("climb", "roofline", "sizes"):
        document.save(made, tmp_path / "y.json", "light", name)
        assert json.loads((tmp_path / "y.json").read_text(encoding="utf-8"))["data"]
    with pytest.raises(SpecError, match="--out: expected a name that ends in"):
        document.check_asked(tmp_path / "x.txt", "climb", True)
    with pytest.raises(SpecError, match="--chart: expected climb or roofline with --no-sizes"):
        document.check_asked(None, "sizes", False)
    with pytest.raises(SpecError, match="--chart: expected climb or roofline without einsum among"):
        document.check_asked(None, "sizes", True, "numpy-fp32, python")
    document.check_asked(None, "sizes", True, "einsum")
    document.check_asked(None, "climb", True, "python")
    with pytest.raises(SpecError, match="--chart: expected a sweep"):
        document.picture(replace(made, sizes=()), "sizes")


# The texts of the plots that are cut off at the right edge.
_CUT = """() => [...document.querySelectorAll('.plot')].flatMap(plot => {
    const edge = plot.getBoundingClientRect().right;
    return [...plot.querySelectorAll('text')].filter(text => text.getBoundingClientRect().right > edge + 1)
        .map(text => text.textContent);
})"""


@pytest.mark.browser
def test_the_page_on_a_phone(open_page: Any, tmp_path: Path) -> None:
    path = tmp_path / "ladder.html"
    document.save(captured(), path, "auto", "climb")
    opened = open_page(path, width=390, dark=True)
    opened.wait_for_function("() => document.querySelectorAll('.plot .main-svg').length >= 3")
    assert opened.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    assert opened.evaluate(_CUT) == []


# -- asking -----------------------------------------------------------------------------------------------------------


def test_threads_that_can_be_asked_for() -> None:
    four = Identity(clusters=(Cluster("P", 4),), threads=8, threads_per_core=2)
    assert command.threads_of(None, four, False) == (1, 2, 4)
    assert command.threads_of(None, four, True) == (1, 4)
    assert command.threads_of(" 3,1,3", four, False) == (1, 3)
    with pytest.raises(SpecError, match=r"--threads: expected at most 4, the cores .*, found 5"):
        command.threads_of("5", four, False)
    for wrong in ("0", "two", "", "1,-2", "1.5"):
        with pytest.raises(SpecError, match="--threads: expected numbers from 1 on"):
            command.threads_of(wrong, four, False)


def test_sizes_that_can_be_asked_for() -> None:
    command.check_size(1, 1000.0)
    for wrong in (0, -5):
        with pytest.raises(SpecError, match=rf"--n: expected at least 1, found {wrong}"):
            command.check_size(wrong, 1e12)
    with pytest.raises(SpecError, match=r"found 200000: it needs 1\.92 TB, 24\.0 GB are available"):
        command.check_size(200_000, parse("24 GB", "B"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--n", "0"], "error: --n: expected at least 1, found 0"),
        (["--n", "90000000"], "error: --n: expected matrices that fit in memory"),
        (["--threads", "99999"], "error: --threads: expected at most"),
        (["--rungs", "fortran"], "error: --rungs: expected some of python, rows"),
        (["--out", "ladder.txt"], "error: --out: expected a name that ends in"),
    ],
)
def test_wrong_words_are_one_line(run: Command, given: list[str], said: str) -> None:
    outcome = run("measure", "matmul", *given)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith(said) and outcome.err.count("\n") == 1


def test_a_library_that_is_asked_for_by_name_and_missing(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from roofline.measure.ladder import climb as climbing

    monkeypatch.setattr(climbing, "is_installed", lambda name: name != "torch")
    outcome = run("measure", "matmul", "--rungs", "torch-bf16")
    assert outcome.code == 1
    assert outcome.err == "error: --rungs: torch-bf16: not installed: pip install 'roofline[torch]'\n"


def test_measure_is_a_command_and_a_group(run: Command) -> None:
    told = run("measure", "--help")
    assert told.code == 0 and "--why-not" in told.out and "matmul" in told.out
    assert run("measure", "--identity").code == 0  # as it was before there was a group
    lost = run("measure", "--quick", "matmul")
    assert lost.code == 2 and "options go behind matmul" in lost.err
    assert run("measure", "nonsense").code == 2


def test_a_small_ladder_from_end_to_end(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real thing, with what is installed: n = 64, in a hurry."""
    for name, seconds in (("LOOK_S", 0.2), ("CLIMB_S", 0.3), ("SIZES_S", 0.2), ("LEAST_S", 0.05)):
        monkeypatch.setattr(command, name, (seconds, seconds))
    out = tmp_path / "ladder.html"
    outcome = run("measure", "matmul", "--n", "64", "--quick", "--rungs", "python,einsum,numpy-fp32",
                  "--format", "json", "--out", str(out))  # fmt: skip
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    rungs = [row["rung"] for row in found["rungs"]]
    assert list(dict.fromkeys(rungs)) == ["python", "einsum", "numpy-fp32"]
    assert all(row["achieved_flop_s"] > 0 and 0 <= row["error_of_bound"] <= 1 for row in found["rungs"])
    assert found["not_measured"] == [] and found["sizes"]
    assert out.read_text(encoding="utf-8").count('<div class="plot"') >= 2


@pytest.mark.parametrize(
    ("rungs", "sizes", "swept"),
    [("einsum,numpy-fp32", True, True), ("numpy-fp32", True, False), ("einsum,numpy-fp32", False, False)],
)
def test_sizes_are_swept_where_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, rungs: str, sizes: bool, swept: bool
) -> None:
    asked: list[list[Task]] = []

    def climbing(tasks: Any, _seconds: float, _progress: Any) -> Any:
        asked.append(list(tasks))
        return tuple(measured(task.run.rung, task.run.threads, 100.0, task.n) for task in tasks), ()

    monkeypatch.setattr(command, "look", lambda *_: here())
    monkeypatch.setattr(command, "climb", climbing)
    made = command.measure_ladder(96, "1", rungs, sizes, True, lambda _share, _words: None)
    assert [(task.run.rung, task.n) for task in asked[0]] == [(rung, 96) for rung in rungs.split(",")]
    assert len(asked) == 1 + swept and bool(made.sizes) == swept
    if swept:
        assert {task.run.rung for task in asked[1]} == {"einsum", "numpy-fp32"}


def test_tasks_keep_their_limits() -> None:
    from roofline.measure.ladder.climb import tasks_of

    made = tasks_of([Run("python", 1), Run("numpy-fp32", 2)], 1024, 0.5)
    assert made == (Task(Run("python", 1), 128, least_s=0.5), Task(Run("numpy-fp32", 2), 1024, least_s=0.5))
    assert tasks_of([Run("python", 1)], 16)[0].n == 16
    assert isinstance(here(), Here)
