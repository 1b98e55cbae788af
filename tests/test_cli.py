"""The command line: what goes to stdout and stderr, exit codes, and one line instead of a traceback."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import roofline
from roofline import catalog
from roofline.cli import _with_command, options
from roofline.cli.app import app
from roofline.report import record
from tests import gguf_files
from tests.running import Outcome, Run, runner
from tests.small import ROOT, fresh_catalog
from tests.test_spec import DEVICE

COMMANDS = ("predict", "explain", "inspect", "list", "show")
FORMS = ("table", "json", "csv", "md")
PI = ["--hw", "rpi5", "--model", "mistral7b", "--quant", "q4_0"]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


def process(*arguments: str, **options_: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "roofline", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options_)


def error_of(outcome: Outcome) -> str:
    """The message of an outcome that is one clear line, exit code 1, and nothing on stdout."""
    assert outcome.code == 1, outcome
    assert outcome.out == ""
    assert outcome.err.startswith("error: ") and outcome.err.endswith("\n")
    message = outcome.err.removeprefix("error: ").removesuffix("\n")
    assert message.isprintable(), "one line, without control characters"
    assert "Traceback" not in message
    return message


# -- what works -------------------------------------------------------------------------------------------------------


def test_predict_prints_what_the_library_says(run: Any) -> None:
    done = run("predict", *PI)
    assert (done.code, done.err) == (0, "")
    result = roofline.predict("rpi5", "mistral7b", "q4_0")
    assert result.decode and result.prefill
    for value in (result.decode.tok_s, result.decode.low_tok_s, result.decode.high_tok_s, result.decode.ceiling_tok_s):
        assert f"{value:.2f}" in done.out
    assert "Raspberry Pi 5" in done.out and "memory-bound" in done.out and "fits" in done.out
    assert "uncalibrated" in done.out or result.machine.engine.spread.calibrated


def test_every_option_reaches_the_library(run: Any) -> None:
    done = run(
        "predict",
        "--hw",
        "rpi5",
        "--model",
        "tinyllama",
        "--quant",
        "q8_0",
        "--runtime",
        "llamafile-0.8",
        "--backend",
        "cpu",
        "--prompt",
        "4k",
        "--gen",
        "32",
        "--depth",
        "1k",
        "--batch",
        "2",
        "--kv",
        "q8_0,f16",
        "--ctx",
        "8k",
        "--ubatch",
        "128",
        "--threads",
        "3",
        "--no-flash-attn",
        "--set",
        "memory.bandwidth=20GB/s",
        "--set",
        "price=70USD",
        "--format",
        "json",
    )
    assert (done.code, done.err) == (0, "")
    expected = roofline.predict(
        "rpi5",
        "tinyllama",
        "q8_0",
        runtime="llamafile-0.8",
        backend="cpu",
        prompt=4096,
        gen=32,
        depth=1024,
        batch=2,
        kv="q8_0,f16",
        context=8192,
        ubatch=128,
        threads=3,
        flash_attention=False,
        set={"memory.bandwidth": "20GB/s", "price": "70USD"},
    )
    assert json.loads(done.out) == record(expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", *PI],
        [
            "predict",
            "--hw",
            "a100-pcie-80",
            "--model",
            "llama-2-7b",
            "--quant",
            "q4_k_m",
            "--batch",
            "1,8,64",
            "--kv",
            "q8_0",
        ],
        ["explain", *PI],
        ["list", "hardware", "rtx-*"],
        ["list", "models", "*llama*"],
        ["list", "quants", "q4*"],
        ["list", "runtimes"],
        ["list", "columns"],
        ["show", "hardware", "rpi5"],
        ["show", "model", "gemma-3-4b"],
        ["show", "runtime", "llama.cpp"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_every_command_prints_every_format_on_stdout(arguments: list[str], form: str, run: Any) -> None:
    done = run(*arguments, "--format", form)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("\n")
    if form == "json":
        assert json.loads(done.out)
    elif form == "csv":
        rows = list(csv.reader(io.StringIO(done.out)))
        assert len(rows) > 1 and len({len(row) for row in rows}) == 1
        assert set(rows[0]) <= {*rows[0]} and all(re.fullmatch(r"[a-z_]+", key) for key in rows[0])
    elif form == "md":
        assert re.search(r"^\|[:-]-[-:|]+\|$", done.out, re.M)
    assert all(line.isprintable() for line in done.out.split("\n"))


def test_lists_are_complete_and_can_be_filtered(run: Any) -> None:
    for what, names in (
        ("hardware", roofline.list_hardware()),
        ("models", roofline.list_models()),
        ("runtimes", roofline.list_runtimes()),
    ):
        rows = json.loads(run("list", what, "--format", "json").out)
        assert [row["id"] for row in rows] == names
    cards = json.loads(run("list", "hardware", "RTX-30*", "--format", "json").out)
    assert "rtx-3090" in {row["id"] for row in cards} and all(row["id"].startswith("rtx-30") for row in cards)
    (row,) = json.loads(run("list", "hardware", "rtx-4090", "--format", "json").out)
    assert (row["bandwidth_bytes_s"], row["capacity_bytes"]) == (1008e9, 24 * 2**30)


def test_everything_listed_can_be_shown(run: Any) -> None:
    for what, names in (
        ("hardware", roofline.list_hardware()),
        ("model", roofline.list_models()),
        ("runtime", roofline.list_runtimes()),
    ):
        for name in names[:: max(1, len(names) // 8)]:
            done = run("show", what, name)
            assert (done.code, done.err) == (0, ""), name
            assert ".toml" in done.out.splitlines()[0], "it says which file it shows"


def test_several_points(run: Any) -> None:
    done = run("predict", *PI, "--depth", "0,1k,2k", "--batch", "1,2", "--format", "json")
    points = [(one["workload"]["depth"], one["workload"]["batch"]) for one in json.loads(done.out)]
    assert points == [(0, 1), (0, 2), (1024, 1), (1024, 2), (2048, 1), (2048, 2)]
    assert "combinations" in error_of(run("explain", *PI, "--batch", "1,2"))
    assert "at most 10000 combinations" in error_of(run("predict", *PI, "--depth", ",".join(map(str, range(10_001)))))


def test_what_does_not_fit_is_an_answer_and_comes_first(run: Any) -> None:
    done = run("predict", "--hw", "rpi5-4gb", "--model", "mistral7b", "--quant", "q4_0")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[2].startswith("Does not fit.")
    assert "What would fit:" in done.out and "--quant q" in done.out and "tok/s" not in done.out
    one = json.loads(
        run("predict", "--hw", "rpi5-4gb", "--model", "mistral7b", "--quant", "q4_0", "--format", "json").out
    )
    assert one["memory"]["fits"] is False and one["decode"]["tok_s"] is None and one["ways_out"]


def test_a_gguf_is_inspected_and_predicted(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(gguf_files.encode(*gguf_files.llama()))
    for form in FORMS:
        done = run("inspect", str(path), "--format", form)
        assert (done.code, done.err) == (0, "") and done.out
    one = json.loads(run("inspect", str(path), "--format", "json").out)
    assert one["architecture"] == "llama" and one["layers"] == 2 and one["hidden"] == 64
    done = run("predict", "--hw", "rpi5", "--model", str(path), "--format", "json")
    assert done.code == 0 and json.loads(done.out)["memory"]["weights_bytes"] == one["weights_bytes"]
    assert "expected none" in error_of(run("predict", "--hw", "rpi5", "--model", str(path), "--quant", "q4_0"))


def test_a_config_json_is_predicted(run: Any, tmp_path: Path) -> None:
    # The shape of TinyLlama 1.1B, as in its published config.json.
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 22,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "vocab_size": 32000,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
        "rms_norm_eps": 1e-5,
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    done = run("predict", "--hw", "rpi5", "--model", str(path), "--quant", "q8_0", "--format", "json")
    shipped = record(roofline.predict("rpi5", "tinyllama-1.1b", "q8_0"))
    assert json.loads(done.out)["decode"] == shipped["decode"]
    assert "--quant: expected" in error_of(run("predict", "--hw", "rpi5", "--model", str(path)))


def test_an_own_device_by_path_and_by_directory(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hardware").mkdir()
    path = tmp_path / "hardware" / "my-box.toml"
    path.write_text(DEVICE)
    by_path = run("predict", "--hw", str(path), "--model", "tinyllama", "--quant", "q8_0", "--format", "json")
    monkeypatch.setenv("ROOFLINE_PATH", str(tmp_path))
    with fresh_catalog():
        by_name = run("predict", "--hw", "mybox", "--model", "tinyllama", "--quant", "q8_0", "--format", "json")
        assert json.loads(by_path.out) == json.loads(by_name.out)
        assert json.loads(by_name.out)["files"]["hardware"] == str(path)
        assert str(path) in run("predict", "--hw", "mybox", "--model", "tinyllama", "--quant", "q8_0").out
        assert str(path) in run("show", "hardware", "my-box").out
        assert "my-box" in run("list", "hardware", "my*").out


# -- what does not ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--hw", "rtx-4009"], ["--hw", "rtx-4009", "did you mean", "rtx-4090"]),
        (["--model", "mistral-8b"], ["--model", "mistral-8b", "did you mean"]),
        (["--quant", "q4_q"], ["quantisation", "q4_q"]),
        (["--runtime", "llama.cqp"], ["--runtime", "llama.cqp", "did you mean", "llama.cpp"]),
        (["--runtime", "llama.cpp-2023-11", "--quant", "iq2_xxs"], ["--quant", "can read", "iq2"]),
        (["--backend", "cuda"], ["--backend", "cpu", "cuda"]),
        (["--prompt", "abc"], ["--prompt", "abc"]),
        (["--prompt", ""], ["--prompt", "''"]),
        (["--prompt", "-5"], ["--prompt", "-5"]),
        (["--prompt", "1.5"], ["--prompt", "1.5"]),
        (["--prompt", "512,,128"], ["--prompt", "''"]),
        (["--prompt", "9" * 30], ["--prompt", "expected"]),
        (["--prompt", "9" * 400], ["--prompt", "expected"]),
        (["--prompt", "9" * 5000], ["--prompt", "expected"]),
        (["--gen", "nan"], ["--gen", "nan"]),
        (["--depth", "-1"], ["--depth", "-1"]),
        (["--batch", "0"], ["--batch", "from 1", "0"]),
        (["--batch", "1,0"], ["--batch", "from 1", "0"]),
        (["--ctx", "0"], ["--ctx", "expected", "0"]),
        (["--ctx", "639"], ["--ctx", "640", "639"]),
        (["--ctx", "1k,2k"], ["--ctx", "expected one"]),
        (["--ctx", "9" * 400], ["--ctx", "expected"]),
        (["--ubatch", "9" * 400], ["--ubatch", "expected"]),
        (["--threads", "5"], ["--threads", "at most 4", "5"]),
        (["--kv", "q9"], ["q9"]),
        (["--kv", "f16,f16,f16"], ["--kv", "f16,f16,f16"]),
        (["--no-flash-attn", "--kv", "q8_0"], ["--kv", "flash attention", "q8_0"]),
        (["--set", "memory.bandwidth"], ["--set", "FIELD=VALUE", "memory.bandwidth"]),
        (["--set", "=5"], ["--set", "FIELD=VALUE"]),
        (["--set", "memory.bandwidth=fast"], ["rpi5.toml", "memory.bandwidth", "B/s", "fast"]),
        (["--set", "memory.bandwidth=5 GHz"], ["rpi5.toml", "memory.bandwidth", "B/s", "5 GHz"]),
        (["--set", "memory.bandwidth=-5 GB/s"], ["rpi5.toml", "memory.bandwidth", "positive"]),
        (["--set", "memory.bandwidht=5 GB/s"], ["rpi5.toml", "memory.bandwidht", "no such key"]),
        (["--set", "memory.bandwidth=1e-100B/s"], ["memory.bandwidth", "expected"]),
        (["--set", "cpu.clusters.0.per_cycle.int8=inf"], ["per_cycle.int8", "inf"]),
        (["--hw", "rpi5-3gb"], ["memory.options", "4 GB", "3 GB"]),
        (["--hw", "rpi5+rtx-3090"], ["--hw", "GPU before the +"]),
        (["--hw", "m5-ultra"], ["Apple M5 Ultra", "peak.fp16", "found none"]),
        (["--hw", ""], ["--hw", "''"]),
        (["--hw", "/"], ["/", "directory"]),
        (["--hw", "/dev/null"], ["/dev/null", "expected"]),
        (["--hw", "/dev/zero"], ["/dev/zero", "larger"]),
        (["--hw", "missing.toml"], ["missing.toml", "No such file"]),
        (["--hw", "a\x1b[31m\nb.toml"], ["b.toml", "No such file"]),
        (["--hw", "a\x1b[31m\nb"], ["--hw", "expected"]),
        (["--model", "missing.gguf"], ["missing.gguf", "expected"]),
        (["--model", "missing/config.json"], ["missing/config.json", "expected"]),
        (["--model", "x" * 5000], ["expected"]),
        (["--model", "/" + "x" * 5000], ["expected"]),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_bad_input_of_predict_is_one_line(arguments: list[str], words: list[str], run: Any) -> None:
    given = dict(zip(PI[::2], PI[1::2], strict=True))
    rest = [part for name, text in given.items() if name not in arguments for part in (name, text)]
    for command in ("predict", "explain"):
        message = error_of(run(command, *rest, *arguments))
        for word in words:
            assert word in message, message
        assert len(message) < 600


FILES = {
    "text.gguf": (b"this is no model\n" * 10, ["text.gguf", "GGUF"]),
    "empty.gguf": (b"", ["empty.gguf"]),
    "magic.gguf": (b"GGUF", ["magic.gguf"]),
    "huge-counts.gguf": (b"GGUF" + b"\x03\0\0\0" + b"\xff" * 16, ["huge-counts.gguf"]),
    "text.json": (b"this is no model", ["text.json", "JSON"]),
    "list.json": (b"[1, 2]", ["list.json"]),
    "nested.json": (b"[" * 100_000, ["nested.json"]),
    "nan.json": (b'{"architectures": ["LlamaForCausalLM"], "hidden_size": NaN}', ["nan.json"]),
    "bert.json": (
        b'{"architectures": ["BertModel"], "model_type": "bert", "hidden_size": 768}',
        ["bert.json", "BertModel"],
    ),
    "shape.toml": (b"name = ", ["shape.toml", "TOML"]),
    "wrong.toml": (b'name = "x"\nlayers = -1\n', ["wrong.toml", "expected"]),
    "weights.bin": (b"\x00\x01\x02", ["weights.bin", "expected"]),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_model_is_one_line(name: str, run: Any, tmp_path: Path) -> None:
    data, words = FILES[name]
    (tmp_path / name).write_bytes(data)
    message = error_of(run("predict", "--hw", "rpi5", "--model", str(tmp_path / name), "--quant", "q4_0"))
    for word in words:
        assert word in message, message
    inspected = error_of(run("inspect", str(tmp_path / name)))
    assert name in inspected and "expected" in inspected


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["inspect", "/"], "no regular file"),
        (["inspect", "missing.gguf"], "No such file"),
        (["inspect", "/dev/zero"], "no regular file"),
        (["list", "hardware", "zzz*"], "'zzz*'"),
        (["list", "models", "[["], "'[['"),
        (["show", "hardware", "rtx-4009"], "did you mean"),
        (["show", "model", "mistral-8b"], "did you mean"),
        (["show", "runtime", "nothing"], "'nothing'"),
        (["show", "hardware", "missing.toml"], "No such file"),
    ],
)
def test_bad_input_of_the_other_commands_is_one_line(arguments: list[str], word: str, run: Any) -> None:
    assert word in error_of(run(*arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["predict"],
        ["predict", "--hw", "rpi5"],
        ["predict", *PI, "--format", "xml"],
        ["predict", *PI, "extra"],
        ["predict", *PI, "--threads", "0"],
        ["predict", *PI, "--threads", "four"],
        ["predict", *PI, "--ubatch", "0"],
        ["predict", *PI, "--colour", "red"],
        ["predict", *PI, "--set"],
        ["list"],
        ["list", "toasters"],
        ["show", "hardware"],
        ["show", "toaster", "x"],
        ["inspect"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], run: Any) -> None:
    done = run(*arguments)
    assert done.code == 2
    assert "Traceback" not in done.err
    if arguments:
        assert done.out == "" and re.search("Usage:|Error:", done.err)


def test_a_broken_own_file_is_named_and_hides_nothing(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hardware").mkdir()
    (tmp_path / "hardware" / "broken.toml").write_text("name = ")
    monkeypatch.setenv("ROOFLINE_PATH", str(tmp_path))
    with fresh_catalog():
        assert "broken.toml" in error_of(run("show", "hardware", "broken"))
        assert run("predict", *PI).code == 0
        listed = run("list", "hardware")
        assert "broken.toml" in listed.err, "said on stderr, whether or not the others are listed"
        assert "Traceback" not in listed.err
        assert run("predict", "--hw", "rpi5-4gb", "--model", "mistral7b", "--quant", "q4_0").code == 0


def test_names_of_files_do_not_write_to_the_terminal(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "evil\x1b[31m\x07\x9bname"
    (tmp_path / "hardware").mkdir()
    (tmp_path / "runtimes").mkdir()
    path = tmp_path / "hardware" / f"{evil}.toml"
    path.write_text(DEVICE.replace('"Box"', '"Evil\\u001b[31mBox"'))
    (tmp_path / "runtimes" / "evil.toml").write_text(
        'extends = "llama.cpp"\nname = "Evil\\u001b[31m"\nperiod = "\\u001b[32m"\nnotes = ["\\u001b[33m"]\n'
        'kv_types = ["f16", "\\u001b[34m"]\n'
    )
    monkeypatch.setenv("ROOFLINE_PATH", str(tmp_path))
    with fresh_catalog():
        for arguments in (
            ["list", "hardware"],
            ["list", "runtimes"],
            ["show", "hardware", str(path)],
            ["show", "runtime", "evil"],
            ["predict", "--hw", str(path), "--model", "tinyllama", "--quant", "q8_0"],
            ["explain", "--hw", str(path), "--model", "tinyllama", "--quant", "q8_0"],
            ["predict", "--hw", str(path), "--model", "tinyllama", "--quant", "q8_0", "--backend", "cuda"],
            ["predict", "--hw", str(path), "--model", "tinyllama", "--quant", "q8_0", "--threads", "99"],
            ["predict", "--hw", "evilnam", "--model", "tinyllama", "--quant", "q8_0"],
            ["predict", *PI, "--runtime", "evil", "--kv", "q8_0"],
        ):
            for form in ("table", "md"):
                done = run(*arguments, "--format", form)
                assert done.code in (0, 1)
                for line in (done.out + done.err).split("\n"):
                    assert line.isprintable(), (arguments, line)


# -- help and completion ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [[], *[[name] for name in COMMANDS]], ids=lambda command: " ".join(command) or "roofline"
)
def test_help_says_what_each_option_does(command: list[str], run: Any) -> None:
    done = run(*command, "--help")
    assert (done.code, done.err) == (0, "")
    assert "Usage: roofline" in done.out
    if not command:
        assert all(name in done.out for name in COMMANDS)
    for option in re.findall(r"^  (--[a-z-]+)\b.*$", done.out, re.M):
        assert re.search(rf"^  {option}\b.*\s{{2,}}\S", done.out, re.M) or option in done.out


def test_the_version_is_the_one_of_the_package(run: Any) -> None:
    done = run("--version")
    assert (done.code, done.out) == (0, f"roofline {roofline.__version__}\n")


def test_names_are_completed() -> None:
    assert options._complete_hardware("rtx-40") == [
        name for name in roofline.list_hardware() if name.startswith("rtx-40")
    ]
    assert "mistral-7b" in options._complete_models("mis")
    assert options._complete_runtimes("llamafile") == ["llamafile-0.6.2", "llamafile-0.7", "llamafile-0.8"]
    assert {"q4_0", "q4_k_m"} <= set(options._complete_quants("q4"))
    for complete in (
        options._complete_hardware,
        options._complete_models,
        options._complete_runtimes,
        options._complete_quants,
    ):
        everything = complete("")
        assert len(everything) == len(set(everything)) > 5
        assert complete("zzz") == []


def test_the_shell_is_given_the_names(tmp_path: Path) -> None:
    # What bash asks a typer program for when TAB is pressed.
    environment = {
        **os.environ,
        "_ROOFLINE_COMPLETE": "complete_bash",
        "COMP_WORDS": "roofline predict --hw rtx-409",
        "COMP_CWORD": "3",
    }
    program = "import sys; sys.argv = ['roofline']; from roofline.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["rtx-4090", "rtx-4090d-48"]


def test_only_the_command_that_is_asked_for_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The options of all take longer to work out than a prediction; help and a slip need all of them."""

    def made(*words: str) -> int:
        return len(_with_command(words).registered_commands)

    whole = len(app.registered_commands)
    assert [made(name) for name in ("predict", "list", "fit")] == [1, 1, 1]
    assert [made(*words) for words in ((), ("--help",), ("predct",), ("--version",))] == [whole] * 4
    assert len(app.registered_commands) == whole
    monkeypatch.setenv("_ROOFLINE_COMPLETE", "complete_bash")
    assert made("predict") == whole


# -- as a process -----------------------------------------------------------------------------------------------------


def test_the_module_is_the_command(run: Any) -> None:
    done = process("predict", *PI, "--format", "json", cwd="/")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads(run("predict", *PI, "--format", "json").out)
    refused = process("predict", "--hw", "rtx-4009", "--model", "mistral7b", "--quant", "q4_0")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: --hw: ") and refused.stderr.count("\n") == 1
    usage = process("predict", "--threads", "x")
    assert usage.returncode == 2 and usage.stdout == ""


def test_a_reader_that_stops_early_is_no_error() -> None:
    # The list is longer than a pipe holds (64 KiB), so that the writer notices.
    command = [sys.executable, "-m", "roofline", "explain", *PI, "--format", "json"]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert writer.stdout and writer.stderr
    writer.stdout.readline()
    writer.stdout.close()
    complaint = writer.stderr.read()
    writer.stderr.close()
    assert writer.wait(timeout=60) in (0, 141)
    assert complaint == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "roofline", "list", "hardware"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "No space left" in done.stderr and "Traceback" not in done.stderr


def test_a_narrow_encoding_does_not_stop_a_report() -> None:
    # A terminal without UTF-8, as in a bare container: the figures still have to come out.
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    for arguments in (["list", "columns"], ["explain", *PI], ["show", "hardware", "rpi5"]):
        done = process(*arguments, env=environment)
        assert "Traceback" not in done.stderr
        assert done.returncode == 0, done.stderr[-300:]


def test_a_prediction_needs_no_network_no_home_and_no_slow_package(tmp_path: Path) -> None:
    program = (
        "import socket, sys\n"
        "def refuse(*args, **kwargs):\n    raise AssertionError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "import roofline\nroofline.predict('rpi5', 'mistral7b', 'q4_0')\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    environment = {key: text for key, text in os.environ.items() if key not in ("HOME", "XDG_CONFIG_HOME")}
    environment |= {"HOME": str(tmp_path / "nowhere"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert {"numpy", "pydantic"} <= loaded
    assert not loaded & {"plotly", "psutil", "cpuinfo", "gguf", "rich", "pandas", "requests", "yaml"}
    assert not (tmp_path / "nowhere").exists(), "reading leaves no trace"


def test_the_shipped_catalog_is_the_one_of_this_repository() -> None:
    assert catalog.load_hardware("rpi5").path.is_relative_to(ROOT)
