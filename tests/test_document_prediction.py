"""The report: every number of the prediction, the same in a page and in Markdown, whatever names are in it."""

import html
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roofline.document.blocks import Block, Chart, Command, Document, Section, Table, Text
from roofline.document.html import page
from roofline.document.markdown import markdown
from roofline.document.prediction import Case, report
from roofline.points import single_point
from roofline.report import record
from roofline.tables import cell, printable, written
from tests import gguf_files
from tests.browser import Opener, drawn, overflows
from tests.running import Run, runner

WORDS: dict[str, Any] = {
    "prompt": "512", "gen": "128", "depth": "0", "batch": "1", "kv": "f16", "ctx": None, "runtime": "llama.cpp",
    "backend": None,
}  # fmt: skip
#: Every shape that a prediction has.
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a card": ("rtx-4090", "llama-3.1-8b", {}),
    "a processor": ("ryzen-7950x", "qwen3-30b-a3b", {"threads": 8}),
    "a part on the host": ("rtx-3090+ryzen-7950x", "llama-3.3-70b", {}),
    "all on the card of a pair": ("rtx-3090+ryzen-7950x", "qwen3-32b", {}),
    "experts on the host": ("rtx-4080+ryzen-7950x", "qwen3-30b-a3b", {"overrides": [r"\.ffn_(gate|up|down)_exps"]}),
    "layers in turn": ("rtx-3090x2", "llama-3.3-70b", {}),
    "tensors divided": ("rtx-3090x2", "llama-3.3-70b", {"split": "tensor", "batch": "4"}),
    "from the disk": ("rpi5", "qwen3-32b", {"disk": "1GB/s"}),
    "two sockets": ("2x-e5-2650v4", "llama-3.1-8b", {"numa": "mirror"}),
    "too large": ("rpi5", "qwen3-32b", {}),
    "no prompt": ("rpi5", "llama-3.1-8b", {"prompt": "0", "depth": "4k", "kv": "q8_0,q4_0"}),
    "no generation": ("m2-max-38", "llama-3.1-8b", {"gen": "0", "ctx": "8k"}),
    "nothing": ("rpi5", "llama-3.1-8b", {"prompt": "0", "gen": "0"}),
}


def case_of(name: str) -> Case:
    hw, model, more = CASES[name]
    words = WORDS | more
    return Case(single_point(hw, model, "q4_k_m", **words), hw, model, "q4_k_m", words)


@pytest.fixture(scope="module", params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return case_of(request.param)


@pytest.fixture(scope="module")
def document(case: Case) -> Document:
    return report([case], ["roofline report --hw x"])


def blocks(parts: Any) -> Iterator[Block]:
    for block in parts:
        yield block
        if isinstance(block, Section):
            yield from blocks(block.blocks)


def tables(document: Document) -> list[Table]:
    return [block for block in blocks(document.blocks) if isinstance(block, Table)]


def numbers(value: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """(key, number) of everything in a record."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from numbers(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from numbers(part, key)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield key, value


def as_written(key: str, value: float) -> str:
    """A number of the record as the report has it: parts of a mapping by phase or device are times."""
    known = {"device": "seconds", "host": "seconds", "link": "seconds", "disk": "seconds", "prefill": "seconds"}
    known |= {"decode": "seconds", "slowest_seconds": "slowest_seconds"}
    name = known.get(key, key.removeprefix("host_"))
    return cell(name, value)


def test_every_number_of_the_json_is_in_it(case: Case, document: Document) -> None:
    one = record(case.prediction)
    del one["band"]["share"]  # "8 of 10 measurements"
    if not case.prediction.runs:
        one = {key: one[key] for key in ("workload", "memory", "prefill", "decode")}
    if not (case.prediction.prefill or case.prediction.decode):
        one.pop("placement", None)
        del one["total_s"]  # nothing takes no time
    cells = {text for table in tables(document) for row in written(table.rows, table.columns)[1] for text in row}
    words = " ".join(cells | {block.text for block in blocks(document.blocks) if isinstance(block, Text)})
    missing = [(key, value) for key, value in numbers(one) if as_written(key, value) not in cells]
    missing = [(key, value) for key, value in missing if not re.search(rf"\b{as_written(key, value)}\b", words)]
    assert missing == []


def test_both_formats_hold_the_same(document: Document) -> None:
    as_page, as_text = page(document), markdown(document)
    headings = [block.heading for block in blocks(document.blocks) if isinstance(block, Section)]
    in_page = [html.unescape(text) for text in re.findall(r"<h[2-6]>(.*?)</h[2-6]>", as_page)]
    assert in_page == headings
    assert [line.lstrip("#").strip() for line in as_text.splitlines() if re.match(r"#{2,6} ", line)] == headings
    rows = sum(max(len(table.rows), 1) for table in [*tables(document), *numbers_of_charts(document)])
    bodies = re.findall(r"<tbody>(.*?)</tbody>", as_page, re.S)
    assert sum(body.count("<tr>") for body in bodies) == rows
    filled = sum(len(table.rows) for table in [*tables(document), *numbers_of_charts(document)])
    lines = [line for line in as_text.splitlines() if line.startswith("| ")]
    assert len(lines) == filled + len([*tables(document), *numbers_of_charts(document)])


def numbers_of_charts(document: Document) -> list[Table]:
    return [block.numbers for block in blocks(document.blocks) if isinstance(block, Chart)]


def test_it_begins_with_the_verdict_and_ends_with_what_it_rests_on(case: Case, document: Document) -> None:
    first = document.blocks[0]
    assert isinstance(first, Text)
    assert first.strong
    fits = bool(case.prediction.memory.fits)
    assert first.text.startswith("Does not fit") == (not case.prediction.runs)
    assert ("it fits" in first.text.lower()) == fits
    headings = [block.heading for block in document.blocks if isinstance(block, Section)]
    assert headings[0] == ("Why" if case.prediction.runs else "What limits it")
    assert headings[-4:] == ["What was asked", "Operators", "Figures used", "How it is calculated"]
    assert len(set(headings)) == len(headings)


def test_the_same_is_not_said_twice(document: Document) -> None:
    said = [block.text for block in blocks(document.blocks) if isinstance(block, Text)]
    said += [table.caption for table in tables(document) if table.caption]
    assert len(set(said)) == len(said)
    assert str(said).count("8 of 10 measurements") <= 1


def test_a_figure_is_known_by_the_file_that_states_it() -> None:
    """A card and its host both have a bandwidth."""
    found = report([case_of("a part on the host")], [])
    named = {table.caption: [row["name"] for row in table.rows] for table in tables(found) if "basis" in table.columns}
    assert sum("memory.bandwidth" in names for names in named.values()) == 2
    assert all(len(set(names)) == len(names) for names in named.values())


def test_the_bill_adds_up_to_the_total(case: Case, document: Document) -> None:
    (bill,) = (table for table in tables(document) if table.caption == "The bill, line by line")
    memory = case.prediction.memory
    total = float(memory.total) + (float(memory.host.total) if memory.host else 0.0)
    assert sum(row["size_bytes"] for row in bill.rows if row["counts"]) == pytest.approx(total, rel=1e-6)


def test_charts_are_there_where_there_is_something_to_draw(case: Case, document: Document) -> None:
    charts = [block.identity for block in blocks(document.blocks) if isinstance(block, Chart)]
    assert len(set(charts)) == len(charts)
    prediction = case.prediction
    if prediction.runs and prediction.decode:
        assert {"token", "depth", "batch"} <= set(charts)
    if prediction.prefill or prediction.decode:
        assert "roofline" in charts


def test_what_does_not_fit_says_what_would() -> None:
    case = case_of("too large")
    found = report([case], [])
    (verdict,) = (block for block in blocks(found.blocks) if isinstance(block, Text) and block.strong)
    missing = -record(case.prediction)["memory"]["margin_bytes"]
    assert verdict.text == f"Does not fit: {cell('margin_bytes', missing)} more memory would be needed."
    (ways,) = (table for table in tables(found) if table.caption.startswith("What would fit"))
    assert "--quant" in str(ways.rows[0]["option"])
    assert not [table for table in tables(found) if table.caption.startswith("Speeds")]


def test_several_devices_stand_side_by_side_and_have_a_part_each() -> None:
    cases = [case_of("a card"), case_of("no generation")]
    found = report(cases, ["roofline report"], {"nonsense": "--hw: expected hardware"})
    verdict, first = found.blocks[:2]
    assert isinstance(verdict, Text) and isinstance(first, Table)
    assert verdict.strong
    assert [row["hardware"] for row in first.rows] == ["rtx-4090", "m2-max-38"]
    # Decode of the card alone, since the other was asked for a prompt alone; prefill from the slower to the faster.
    slow, fast = (cell("tok_s", record(cases[place].prediction)["prefill"]["tok_s"]) for place in (1, 0))
    assert verdict.text.startswith(f"Decode {cell('tok_s', record(cases[0].prediction)['decode']['tok_s'])} tok/s (rtx")
    assert verdict.text.endswith(f"; prefill from {slow} tok/s (m2-max-38) to {fast} tok/s (rtx-4090).")
    # No chart stands in a section that is about something else.
    asked = next(block for block in found.blocks if isinstance(block, Section) and block.heading == "What was asked")
    assert [type(block) for block in asked.blocks] == [Command]
    assert not [block for block in found.blocks if isinstance(block, Chart)]
    assert any("nonsense is not among them: --hw: expected hardware" in str(block) for block in found.blocks)
    charts = [block.identity for block in blocks(found.blocks) if isinstance(block, Chart)]
    assert len(set(charts)) == len(charts)
    headings = [block.heading for block in blocks(found.blocks) if isinstance(block, Section)]
    assert len(set(headings)) == len(headings)


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


ASKED = ("--hw", "rpi5", "--model", "mistral-7b", "--quant", "q4_0")


def test_without_a_file_markdown_is_printed(run: Run) -> None:
    done = run("report", *ASKED)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("# Mistral 7B")
    assert run("report", *ASKED, "--format", "html").out.startswith("<!DOCTYPE html>")


def test_the_name_of_the_file_says_the_format_and_an_option_overrules_it(run: Run, tmp_path: Path) -> None:
    for name, form, begins in (
        ("a.html", None, "<!"),
        ("a.md", None, "# "),
        ("a.txt", "md", "# "),
        ("b", "html", "<!"),
    ):
        path = tmp_path / name
        done = run("report", *ASKED, "--out", str(path), *(["--format", form] if form else []))
        assert (done.code, done.out, done.err) == (0, "", f"wrote {path}\n")
        assert path.read_text().startswith(begins)
    refused = run("report", *ASKED, "--out", str(tmp_path / "a.docx"))
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith("error: --out: expected a name that ends in .html")


def test_the_lines_that_repeat_it_do(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--hw", "rpi5", "--model", "mistral-7b", "--quant", "q4_0", "--set", "memory.bandwidth=20 GB/s", "--set"]
    words += ["name=it's $HOME", "--no-op-offload", "--batch", "2"]
    text = run("report", *words).out
    lines = re.findall(r"^roofline (?:report|predict) .*$", text, re.M)
    assert len(lines) == 2
    again = [shlex.split(line)[1:] for line in lines]
    assert again[0] == ["report", *sorted_as(again[0][1:-2], words), "--out", "report.html"]
    predicted = json.loads(run(*again[1], "--format", "json").out)
    assert predicted["decode"]["tok_s"] == json.loads(run("predict", *words, "--format", "json").out)["decode"]["tok_s"]
    assert run(*again[0]).code == 0
    assert (tmp_path / "report.html").is_file()


def sorted_as(found: list[str], asked: list[str]) -> list[str]:
    """The found words, which are those that were asked for in whatever order."""
    assert sorted(found) == sorted(asked)
    return found


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--hw", "nonsense", "--model", "mistral-7b", "--quant", "q4_0"], "error: --hw: expected a hardware id"),
        (["--hw", "rpi5", "--model", "mistral-7b", "--quant", "q4_0", "--prompt", "1,2"], "error: --prompt"),
        (["--hw", "*", "--model", "mistral-7b", "--quant", "q4_0"], "error: --hw: expected at most 8 devices"),
    ],
)
def test_wrong_words_are_one_line(run: Run, words: list[str], expected: str) -> None:
    done = run("report", *words)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(expected)
    assert done.err.count("\n") == 1


SCRIPT = "</script><script>document.title='owned'</script>%{x}<b>|`x`"


def hostile_model(tmp_path: Path) -> Path:
    """A GGUF whose name and path are both a script."""
    metadata, rows = gguf_files.llama(general__name=SCRIPT)
    return gguf_files.write(tmp_path / "<img src=x onerror=alert(1)>.gguf", gguf_files.encode(metadata, rows))


def test_a_name_is_shown_and_never_run(run: Run, tmp_path: Path, open_page: Opener) -> None:
    path, out = hostile_model(tmp_path), tmp_path / "report.html"
    done = run("report", "--hw", "rpi5", "--model", str(path), "--prompt", "64", "--gen", "8", "--out", str(out))
    assert (done.code, done.err) == (0, f"wrote {out}\n")
    text = out.read_text()
    assert SCRIPT not in text
    assert "<img" not in text
    opened = open_page(out)  # which asserts that nothing complains and nothing is asked for
    assert SCRIPT in opened.inner_text("h1")
    assert "owned" not in opened.title() or SCRIPT in opened.title()
    assert str(path) in opened.inner_text("body")
    plain = run("report", "--hw", "rpi5", "--model", str(path), "--prompt", "64", "--gen", "8").out
    assert "<script" not in plain
    assert "<img" not in re.sub(r"```sh\n.*?\n```", "", plain, flags=re.S)


def test_a_config_json_has_a_report(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    shape = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192,
        "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
        "max_position_embeddings": 131072, "tie_word_embeddings": True,
    }  # fmt: skip
    path.write_text(json.dumps(shape))
    done = run("report", "--hw", "rpi5", "--model", str(path), "--quant", "q4_0")
    assert (done.code, done.err) == (0, "")
    assert printable(str(path)) in done.out


@pytest.mark.browser
@pytest.mark.parametrize("name", ["a part on the host", "from the disk", "too large"])
def test_a_browser_draws_all_of_it(name: str, open_page: Opener, tmp_path: Path) -> None:
    found = report([case_of(name)], ["roofline report"])
    path = tmp_path / "report.html"
    path.write_text(page(found), encoding="utf-8")
    assert path.stat().st_size < 6_000_000
    opened = open_page(path)
    for chart in (block for block in blocks(found.blocks) if isinstance(block, Chart)):
        assert drawn(opened, chart.identity)["traces"] >= 1
    assert opened.locator("table").count() == len(tables(found)) + len(numbers_of_charts(found))
    assert not overflows(opened)
    opened.set_viewport_size({"width": 390, "height": 800})
    assert not overflows(opened)
