"""Readers of what programs print: every format that people have, the names in it, and hostile input."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline.bench import (
    Given,
    Observation,
    Reading,
    detect,
    read,
    read_json,
    read_markdown,
    read_path,
    read_printed,
    runtime_for,
)
from roofline.bench.devices import hardware_and_count, hardware_id
from roofline.bench.model_names import label, model_id, nominal, parameters, quant_id, quant_of
from roofline.bench.names import tables
from roofline.bench.run import backend_of
from roofline.bench.runtimes import month_of_build
from roofline.spec import SpecError

DATA = Path(__file__).parent / "data" / "bench"
SAMPLES = sorted(DATA.iterdir())
MAC = Given(hardware="m2-ultra-76")


def sample(name: str, given: Given = Given()) -> Reading:  # noqa: B008 - frozen
    return read_path(DATA / name, given)


def only(found: Reading) -> Observation:
    assert len(found.observations) == 1, found
    return found.observations[0]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("batched.jsonl", "json"),
        ("batched.txt", "markdown"),
        ("forum.md", "markdown"),
        ("llama_bench.csv", "bench-csv"),
        ("llama_bench.jsonl", "json"),
        ("llama_bench.sql", "sql"),
        ("llama_bench_2023.json", "json"),
        ("llama_bench_2025.json", "json"),
        ("printed_2023.txt", "timings"),
        ("printed_2025.txt", "timings"),
        ("server.json", "json"),
    ],
)
def test_a_text_is_known_by_its_content(name: str, kind: str) -> None:
    assert detect((DATA / name).read_text(encoding="utf-8")) == kind


def test_a_text_of_no_known_kind_is_refused_in_one_line() -> None:
    for text, found in (("", "nothing"), ("hello\nworld", "'hello'"), ("a,b\n1,2\n", "'a,b'")):
        with pytest.raises(SpecError, match="llama-bench") as error:
            read(text, name="x.txt")
        assert found in str(error.value)
        assert str(error.value).startswith("x.txt: ")
        assert "\n" not in str(error.value)


# -- llama-bench ------------------------------------------------------------------------------------------------------


def test_llama_bench_json_of_2025() -> None:
    found = sample("llama_bench_2025.json")
    prompt, token = found.observations
    assert (prompt.hardware, prompt.count, prompt.host, prompt.backend) == ("rtx-4090", 1, "ryzen-7950x", "cuda")
    assert (prompt.model, prompt.quant) == ("qwen3-30b-a3b", "ud-q4_k_xl")  # the file's name says more than its type
    assert (prompt.phase, prompt.prompt, prompt.gen, prompt.depth, prompt.batch) == ("pp", 512, None, 4096, 1)
    assert (prompt.tok_s, prompt.std, prompt.ubatch, prompt.threads) == (4000.5, 31.25, 512, 16)
    assert (prompt.flash_attn, prompt.gpu_layers, prompt.kind) == (True, 99, "depth")
    assert (prompt.build, prompt.date) == ("abc1234f (6500)", "2025-09-21")
    assert prompt.extra["type_v"] == "q8_0"
    # 17 715 663 872 B / 2³⁰ = 16.499 GiB
    assert prompt.size_gib == pytest.approx(16.5, abs=0.01)
    # 20 of 48 layers on the card: the host computes the rest.
    assert (token.phase, token.gen, token.depth, token.gpu_layers, token.kind) == ("tg", 128, 0, 20, "hybrid")
    (combined,) = found.skipped
    assert combined.row == 3
    assert "combined test of 512 and 128" in combined.reason


def test_llama_bench_json_of_2023_names_its_backend_by_flags() -> None:
    (asked,) = sample("llama_bench_2023.json").skipped
    # The chip was sold with two GPUs, which the name does not tell.
    assert "m2-ultra-60, m2-ultra-76; give --hw" in asked.reason
    found = only(sample("llama_bench_2023.json", MAC))
    assert (found.hardware, found.backend, found.model, found.quant) == ("m2-ultra-76", "metal", "llama-2-7b", "q4_0")
    assert (found.depth, found.ubatch, found.flash_attn) == (0, None, None)
    assert runtime_for(found).id == "llama.cpp-2023-11"


def test_llama_bench_json_lines_with_a_broken_one_and_a_log() -> None:
    found = sample("llama_bench.jsonl")
    two, one = found.observations
    assert (two.hardware, two.count, two.kind, two.host) == ("rtx-3090", 2, "multi", "epyc-7742")
    assert (one.count, one.std) == (1, None)  # split_mode none uses one card; the deviation of one run is NaN
    (broken,) = found.skipped
    assert (broken.row, broken.id) == (2, "llama_bench-2")
    assert "line 4" in broken.reason


def test_llama_bench_csv_and_sql() -> None:
    found = sample("llama_bench.csv")
    assert [(item.phase, item.tok_s, item.backend) for item in found.observations] == [
        ("pp", 30, "cpu"),
        ("tg", 4, "cpu"),
    ]
    assert {(item.hardware, item.model, item.quant) for item in found.observations} == {
        ("i9-9900", "mistral-7b", "q8_0")
    }
    assert [item.reason for item in found.skipped] == ["row 3, expected 33 columns, found 3"]
    found = sample("llama_bench.sql")
    good = only(found)
    assert (good.hardware, good.backend, good.model, good.quant) == ("rx-7900-xtx", "rocm", "llama-3.1-8b", "q4_k_m")
    assert "n_prompt, n_gen, avg_ts" in found.skipped[0].reason


@pytest.mark.parametrize("missing", ["avg_ts", "n_gen", "n_prompt"])
def test_a_version_with_other_keys_names_what_is_missing(missing: str) -> None:
    records = json.loads((DATA / "llama_bench_2025.json").read_text(encoding="utf-8"))[:2]
    del records[0][missing]
    found = read_json(json.dumps(records))
    assert len(found.observations) == 1
    assert missing in found.skipped[0].reason
    assert found.skipped[0].reason.startswith("row 1, ")


@pytest.mark.parametrize("speed", [0, -3.5, float("nan"), float("inf"), "fast", None, "1e400"])
def test_a_speed_that_is_none_is_skipped(speed: object) -> None:
    records = json.loads((DATA / "llama_bench_2025.json").read_text(encoding="utf-8"))[:2]
    records[0]["avg_ts"] = speed
    found = read_json(json.dumps(records))
    assert [item.phase for item in found.observations] == ["tg"]
    assert "row 1, tok_s: expected a" in found.skipped[0].reason


def test_a_truncated_array_keeps_its_whole_objects() -> None:
    text = (DATA / "llama_bench_2025.json").read_text(encoding="utf-8")
    found = read_json(text[: text.index('"build_number": 6500', text.index("samples_ts"))])
    assert len(found.observations) == 1
    assert len(found.skipped) == 1


def test_no_layer_on_the_card_is_a_run_of_the_processor() -> None:
    records = json.loads((DATA / "llama_bench_2025.json").read_text(encoding="utf-8"))[:2]
    for record in records:
        record["n_gpu_layers"] = 0
    prompt, token = read_json(json.dumps(records)).observations
    assert (token.hardware, token.backend) == ("ryzen-7950x", "cpu")
    # Long prompts are still multiplied on the card.
    assert (prompt.hardware, prompt.backend, prompt.host, prompt.kind) == ("rtx-4090", "cuda", "ryzen-7950x", "hybrid")


def test_a_given_model_does_not_relabel_another() -> None:
    found = only(sample("llama_bench.sql", Given(model="llama-3-8b")))
    assert found.model == "llama-3-8b"
    assert only(sample("llama_bench.sql", Given(quant="ud-q4_k_xl"))).quant == "ud-q4_k_xl"
    assert only(sample("llama_bench.sql", Given(quant="q8_0"))).quant == "q4_k_m"
    two, one = sample("llama_bench.jsonl", Given(hardware="rtx3090")).observations
    assert (two.count, one.count) == (2, 1)
    # 8.03 billion parameters are no 70B model.
    assert only(sample("llama_bench.sql", Given(model="llama-3-70b"))).model == "llama-3.1-8b"
    assert "did you mean" in sample("llama_bench.sql", Given(model="llama-3-8bb")).skipped[0].reason


# -- tables -----------------------------------------------------------------------------------------------------------


def test_tables_pasted_from_a_forum() -> None:
    found = sample("forum.md")
    prompt, token = found.observations
    assert (prompt.hardware, prompt.tok_s, prompt.std, prompt.size_gib) == ("rtx-4090", 9000.25, 12.5, 4.58)
    assert (token.depth, token.gen, token.build) == (4096, 128, "14b699ec (4384)")
    reasons = [item.reason for item in found.skipped]
    assert "combined" in reasons[0]
    # The device above the first table has no Metal: the second table is of another machine.
    assert all("expected a device with metal, found rtx-4090" in reason for reason in reasons[1:3])
    assert "found 'fast'" in reasons[3]
    rows = sample("forum.md", MAC).observations
    # What is given is no machine with CUDA, and does not relabel the rows of one.
    assert [item.hardware for item in rows] == ["rtx-4090", "rtx-4090", "m2-ultra-76", "m2-ultra-76"]
    mac = rows[2:]
    assert [(item.phase, item.model, item.quant, item.build) for item in mac] == [
        ("pp", "gpt-oss-20b", "mxfp4", "0123abcd (6800)"),
        ("tg", "gpt-oss-20b", "mxfp4", "0123abcd (6800)"),
    ]


def test_a_decimal_comma_is_no_thousands_mark() -> None:
    table = "| model | params | backend | test | t/s |\n|-|-|-|-|-|\n| llama 8B Q4_0 | 8.03 B | CPU | tg8 | {} |\n"
    given = Given(hardware="rpi5")
    assert only(read_markdown(table.format("1,234.50 ± 0.10"), given)).tok_s == 1234.5
    assert only(read_markdown(table.format("12.34+-0.01"), given)).std == 0.01
    assert read_markdown(table.format("12,34"), given).skipped[0].reason.startswith("row 1, tok_s: ")


def test_batched_bench_counts_all_sequences() -> None:
    given = Given(hardware="a100-sxm-80", model="mistral7b", quant="q4_0")
    rows = sample("batched.txt", given).observations
    assert [(item.phase, item.batch, item.prompt, item.gen, item.depth, item.tok_s) for item in rows] == [
        ("pp", 1, 512, None, 0, 1000),
        ("tg", 1, None, 128, 512, 64),
        ("pp", 4, 512, None, 0, 1000),
        ("tg", 4, None, 128, 512, 200),
    ]
    assert {(item.ubatch, item.flash_attn, item.threads, item.gpu_layers) for item in rows} == {(512, True, 16, 99)}
    assert [item.kind for item in rows] == ["plain", "depth", "batch", "batch"]
    prompt, token = sample("batched.jsonl", given).observations
    assert (prompt.batch, token.batch) == (1, 8)  # the shared prompt is evaluated once


def test_sweep_bench_starts_at_its_depth() -> None:
    table = (
        "| PP | TG | N_KV | T_PP s | S_PP t/s | T_TG s | S_TG t/s |\n|--|--|--|--|--|--|--|\n"
        "| 512 | 128 | 1024 | 1.0 | 512.0 | 2.0 | 64.0 |\n"
    )
    rows = read(table, Given(hardware="rtx-4090", model="mistral7b", quant="q4_0", runtime="ik_llama.cpp")).observations
    assert [(item.phase, item.depth, item.batch, item.runtime) for item in rows] == [
        ("pp", 1024, 1, "ik_llama.cpp"),
        ("tg", 1024, 1, "ik_llama.cpp"),
    ]


# -- timings ----------------------------------------------------------------------------------------------------------


def test_server_timings() -> None:
    prompt, token = sample("server.json", Given(hardware="rpi5")).observations
    assert (prompt.model, prompt.quant, prompt.prompt, prompt.depth, prompt.tok_s) == ("mistral-7b", "q4_0", 400, 0, 50)
    assert (token.phase, token.gen, token.depth, token.tok_s) == ("tg", 101, 400, 10)
    answer = json.loads((DATA / "server.json").read_text(encoding="utf-8"))
    answer["timings"] |= {"cache_n": 399, "prompt_n": 1}
    found = read(json.dumps([answer, answer["timings"]]), Given(hardware="rpi5", model="mistral7b", quant="q4_0"))
    # A prompt from the cache measures nothing; the tokens after it start at the same depth.
    assert [(item.phase, item.depth) for item in found.observations] == [("tg", 400), ("tg", 400)]
    assert all("399 from the cache" in item.reason for item in found.skipped)
    assert only(read(f"data: {json.dumps(answer)}\n", Given(hardware="rpi5"))).phase == "tg"


def test_printed_timings() -> None:
    prompt, token = sample("printed_2023.txt", Given(hardware="ryzen-7950x")).observations
    assert (prompt.model, prompt.quant, prompt.backend, prompt.threads) == ("codellama-34b", "q4_0", "cpu", 8)
    assert prompt.tok_s == pytest.approx(10)  # 200 tokens in 20 s, which this version leaves to the reader
    assert (token.tok_s, token.gen, token.depth) == (1.98, 127, 200)
    assert runtime_for(token).id == "llama.cpp-2023-11"
    prompt, token = sample("printed_2025.txt").observations
    assert (prompt.hardware, prompt.backend, prompt.model, prompt.quant) == (
        "rx-7900-xtx", "vulkan", "llama-3.1-8b", "q4_k_m",
    )  # fmt: skip
    assert (prompt.tok_s, token.tok_s, token.gpu_layers) == (2000, 100, 33)
    # A second answer of the same log gets ids of its own.
    text = (DATA / "printed_2025.txt").read_text(encoding="utf-8")
    assert len(read_printed(text + text).observations) == 4


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "unit", "hardware", "count"),
    [
        ("NVIDIA GeForce RTX 3090", "gpu", "rtx-3090", 1),
        ("NVIDIA GeForce RTX 3090/NVIDIA GeForce RTX 3090", "gpu", "rtx-3090", 2),
        ("NVIDIA GeForce RTX 4090, compute capability 8.9, VMM: yes", "gpu", "rtx-4090", 1),
        ("NVIDIA A100-SXM4-80GB", "gpu", "a100-sxm-80", 1),
        ("NVIDIA A100 80GB PCIe", "gpu", "a100-pcie-80", 1),
        ("NVIDIA H100 80GB HBM3", "gpu", "h100-sxm", 1),
        ("NVIDIA GeForce RTX 4070 Laptop GPU", "gpu", "rtx-4070-laptop", 1),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "gpu", "rtx-4070-ti-super", 1),
        ("NVIDIA GeForce RTX 2070 with Max-Q Design", "gpu", "rtx-2070-max-q", 1),
        ("NVIDIA RTX 6000 Ada Generation", "gpu", "rtx-6000-ada", 1),
        ("NVIDIA GB10", "gpu", "dgx-spark", 1),
        ("Tesla P40", "gpu", "p40", 1),
        ("AMD Radeon RX 7900 XTX (RADV NAVI31)", "gpu", "rx-7900-xtx", 1),
        ("AMD Radeon 780M Graphics", "gpu", "radeon-780m", 1),
        ("Radeon 8060S Graphics (RADV GFX1151)", "gpu", "strix-halo", 1),
        ("Intel(R) Arc(TM) A770 Graphics", "gpu", "arc-a770", 1),
        ("Apple M2 Ultra (76-core GPU)", "gpu", "m2-ultra-76", 1),
        ("AMD Ryzen 9 7950X 16-Core Processor", "cpu", "ryzen-7950x", 1),
        ("AMD Ryzen 7 8840U w/ Radeon 780M Graphics", "cpu", "ryzen-8840u", 1),
        ("AMD RYZEN AI MAX+ 395 w/ Radeon 8060S", "cpu", "strix-halo", 1),
        ("AMD Ryzen Threadripper PRO 7995WX 96-Cores", "cpu", "tr-7995wx", 1),
        ("13th Gen Intel(R) Core(TM) i9-13900K", "cpu", "i9-13900k", 1),
        ("Intel(R) Core(TM) i9-9900 CPU @ 3.10GHz", "cpu", "i9-9900", 1),
        ("Intel(R) Xeon(R) CPU E5-2650 v4 @ 2.20GHz", "cpu", "e5-2650v4", 1),
        ("Raspberry Pi 5 Model B Rev 1.0", "cpu", "rpi5", 1),
    ],
)
def test_devices_by_the_names_that_drivers_print(text: str, unit: str, hardware: str, count: int) -> None:
    assert hardware_and_count(text, "cpu" if unit == "cpu" else "gpu") == (hardware, count)


@pytest.mark.parametrize(
    ("text", "may_be"),
    [
        ("Apple M2 Ultra", ["m2-ultra-60", "m2-ultra-76"]),
        ("Apple M4 Max", ["m4-max-32", "m4-max-40"]),
        ("NVIDIA GeForce RTX 4070 SUPER", ["rtx-4070"]),
        ("NVIDIA GeForce RTX 3050", ["rtx-3050-6gb"]),
        ("NVIDIA GeForce GTX 1080 Ti", []),
        ("Intel(R) Core(TM) i9-9900K CPU @ 3.60GHz", []),
        ("Cortex-A76", []),
        ("NVIDIA GeForce RTX 3090, NVIDIA GeForce RTX 4090", ["rtx-3090", "rtx-4090"]),
        ("", []),
    ],
)
def test_a_device_that_fits_none_or_several_is_asked_for(text: str, may_be: list[str]) -> None:
    with pytest.raises(SpecError, match="give --hw") as error:
        hardware_and_count(text)
    for name in may_be:
        assert name in str(error.value)


def test_every_device_is_found_by_its_own_name() -> None:
    for identity, table in tables("hardware").items():
        assert hardware_id(table["name"], "cpu" if "cpu" in table["backends"] else "gpu") == identity


@pytest.mark.parametrize(
    ("text", "count", "file", "model", "quant"),
    [
        ("llama 7B Q4_0", 6.74e9, "", "llama-2-7b", "q4_0"),
        ("LLaMA 7B mostly Q4_0", 6738415616, "", "llama-2-7b", "q4_0"),
        # 7.24 and 7.25 billion: v0.3 has a longer vocabulary.
        ("llama 7B mostly Q4_K - Medium", 7.24e9, "", "mistral-7b", "q4_k_m"),
        ("llama 7B Q8_0", 7.25e9, "", "mistral-7b-v0.3", "q8_0"),
        ("llama 8B Q4_K - Medium", 8.03e9, "", "llama-3.1-8b", "q4_k_m"),
        ("llama 8B Q4_K - Medium", 8030261248, "a/Meta-Llama-3-8B-Instruct.Q4_K_M.gguf", "llama-3-8b", "q4_k_m"),
        ("qwen3moe 30B.A3B Q4_K - Medium", 30.53e9, "", "qwen3-30b-a3b", "q4_k_m"),
        ("qwen2 7B Q6_K", 7.62e9, "qwen2.5-coder-7b-instruct-q6_k.gguf", "qwen2.5-coder-7b", "q6_k"),
        ("gpt-oss 20B MXFP4 MoE", 20.91e9, "", "gpt-oss-20b", "mxfp4"),
        ("mistral3 14B Q4_K - Medium", 13.51e9, "", "ministral-3-14b", "q4_k_m"),
        ("llama 8x7B Q5_K - Small", 46.70e9, "", "mixtral-8x7b", "q5_k_s"),
        ("gemma3 4B IQ4_XS - 4.25 bpw", 3.88e9, "", "gemma-3-4b", "iq4_xs"),
        ("llama 13B IQ3_S mix - 3.66 bpw", 13.02e9, "", "llama-2-13b", "iq3_m"),
        ("bitnet 3B TQ2_0 - 2.06 bpw ternary", 3.32e9, "", "bitnet-3b", "tq2_0"),
        ("llama 1B all F32 (guessed)", 1.1e9, "", "tinyllama-1.1b", "f32"),
        ("", None, "C:\\models\\TinyLlama-1.1B-Chat-v1.0.Q8_0.gguf", "tinyllama-1.1b", "q8_0"),
    ],
)
def test_models_and_quants_by_the_names_that_llama_cpp_prints(
    text: str, count: float | None, file: str, model: str, quant: str
) -> None:
    assert model_id(text, count, file) == model
    assert quant_of(text, file) == quant


@pytest.mark.parametrize(
    ("text", "count"),
    [("llama 7B F16", None), ("llama 0B F16", None), ("foo 3B Q4_0", 3e9), ("llama 8B Q4_0", 8.9e9), ("", None)],
)
def test_a_model_that_cannot_be_told_is_asked_for(text: str, count: float | None) -> None:
    with pytest.raises(SpecError, match="give --model"):
        model_id(text, count)


def test_parts_of_a_model_type() -> None:
    assert label("qwen3moe 30B.A3B Q4_K - Medium") == ("qwen3moe", "30B.A3B", "Q4_K - Medium")
    assert label("llama 13B unknown, may not work").type == ""
    assert quant_id("Q2_K - Medium") == "q2_k"
    assert quant_id("unknown") is None
    assert parameters("6.74 B") == 6.74e9
    assert parameters("134.52 M") == pytest.approx(134.52e6)
    assert parameters("many") is None
    assert nominal("270M") == 270e6
    assert nominal("?B") is None
    with pytest.raises(SpecError, match="give --quant"):
        quant_of("llama 13B unknown, may not work")


@pytest.mark.parametrize(
    ("text", "backend"),
    [
        ("CUDA", "cuda"),
        ("CUDA,RPC", "cuda"),
        ("MTL,BLAS", "metal"),
        ("ROCm", "rocm"),
        ("BLAS", "cpu"),
        ("Vulkan", "vulkan"),
    ],
)
def test_backends(text: str, backend: str) -> None:
    assert backend_of(text) == backend


def test_backends_that_are_none_or_two() -> None:
    with pytest.raises(SpecError, match="found 'CANN'"):
        backend_of("CANN")
    with pytest.raises(SpecError, match="expected one device backend"):
        backend_of("CUDA,Vulkan")


# -- runtimes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runtime", "build", "date", "expected", "guessed"),
    [
        ("llama.cpp", "", "2023-05", "llama.cpp-2023-11", False),
        ("llama.cpp", "2024-03-26", "2024-03-31", "llama.cpp-2024-03", False),
        ("llama.cpp", "2024-6-19", "2024-06", "llama.cpp-2024-06", False),
        ("llama.cpp", "Aug 2024", "", "llama.cpp-2024-06", False),
        ("llama.cpp", "", "2024-11-02", "llama.cpp-2025", False),
        ("llama.cpp", "", "2025-07-31", "llama.cpp-2025", False),
        ("llama.cpp", "", "2025-08-01", "llama.cpp", False),
        # The build says more than the day it was written about.
        ("llama.cpp", "14b699ec (4384)", "2026-01-01", "llama.cpp-2025", False),
        ("llama.cpp", "llama.cpp_b3615", "", "llama.cpp-2024-06", False),
        ("llama.cpp", "b2500", "", "llama.cpp-2024-03", False),
        ("llama.cpp", "1d5f8dd (1)", "2024-11", "llama.cpp-2025", False),  # builds from an archive count as 1
        ("llama.cpp", "2023", "", "llama.cpp-2023-11", False),
        ("llama.cpp", "", "2024", "llama.cpp-2024-06", True),
        ("llama.cpp", "", "2026", "llama.cpp", True),  # before the tiled products, or with them
        ("llama.cpp", "", "2026-09-30", "llama.cpp", False),
        ("llama.cpp", "0c1e570 (1)", "2026-11-22", "llama.cpp-2026-10", False),
        ("llama.cpp", "???", "", "llama.cpp", True),
        ("ollama", "", "2025-01-09", "llama.cpp-2025", True),
        ("llamafile", "0.6.2", "2024-03-31", "llamafile-0.6.2", False),
        ("llamafile", "0.7", "2024-03-31", "llamafile-0.7", False),
        ("llamafile", "0.8", "2024-06", "llamafile-0.8", False),
        ("llamafile", "0.9.1", "2025", "llamafile-0.8", True),
        ("llamafile", "PR 655", "2024", "llamafile-0.8", True),
        ("ik_llama.cpp", "", "2025-03", "ik_llama.cpp", False),
        ("ampere-llama.cpp", "", "2024", "ampere-llama.cpp", False),
        ("t-mac", "", "2024-08", None, False),
        ("tensorrt-llm", "v1.0", "2025", None, False),
        ("vllm", "", "2025", None, False),
    ],
)
def test_runtime_of_an_observation(runtime: str, build: str, date: str, expected: str | None, guessed: bool) -> None:
    observation = Observation("a", "rpi5", "mistral-7b", "q4_0", "tg", 1.0, runtime=runtime, build=build, date=date)
    choice = runtime_for(observation)
    assert (choice.id, choice.guessed) == (expected, guessed)
    assert choice.reason


def test_builds_come_in_the_order_of_their_numbers() -> None:
    months = [month_of_build(number) for number in range(0, 12_000, 50)]
    assert months == sorted(months)


# -- hostile input ----------------------------------------------------------------------------------------------------


def all_told(found: Reading) -> None:
    """Every row is used or told, in one printable line."""
    assert all(0 < item.tok_s < 1e12 for item in found.observations)
    for item in found.skipped:
        assert item.reason.isprintable()
        assert len(item.reason) < 2000
    assert len({item.id for item in found.observations}) == len(found.observations)


def damage(text: str, random_: random.Random) -> str:
    """One of the things that happen to files."""
    at, to = sorted(random_.randrange(len(text) + 1) for _ in range(2))
    ways: list[Callable[[], str]] = [
        lambda: text[:at],
        lambda: text[at:],
        lambda: text[:at] + text[to:],
        lambda: text[:at] + text[at:to] * 2 + text[to:],
        lambda: text[:at] + random_.choice('"{}[]|,\x00\n\\\u2028(;=@é±-') + text[at:],
        lambda: text.replace(random_.choice("0123456789"), random_.choice(["-", "e", "9" * 400, "", "NaN", "."])),
        lambda: text.replace("\n", random_.choice(["\r\n", "\r", " "])),
        lambda: text.replace(
            random_.choice(["llama", "Q4", "pp", "n_", "t/s", ":", "ms"]), random_.choice(["", "x" * 99])
        ),
    ]
    return random_.choice(ways)()


@settings(max_examples=400, deadline=None)
@given(which=st.integers(0, len(SAMPLES) - 1), seed=st.integers(0, 2**32), times=st.integers(1, 4), help_=st.booleans())
def test_damaged_files_are_read_as_far_as_they_go(which: int, seed: int, times: int, help_: bool) -> None:
    text, random_ = SAMPLES[which].read_text(encoding="utf-8"), random.Random(seed)
    for _ in range(times):
        text = damage(text, random_)
    given_ = Given(hardware="rtx-4090", model="mistral7b", quant="q4_0") if help_ else Given()
    try:
        all_told(read(text, given_))
    except SpecError as told:
        message = str(told)
        assert message.isprintable()


@settings(max_examples=200, deadline=None)
@given(st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["n_prompt", "n_gen", "avg_ts", "timings", "model_type", "speed_pp", "speed_tg",
                                       "predicted_per_second", "prompt_n", "backends", "model_n_params"]), inner),
    max_leaves=20,
))  # fmt: skip
def test_any_json_is_a_reading(value: object) -> None:
    all_told(read_json(json.dumps(value), Given(hardware="rpi5", model="mistral7b", quant="q4_0")))


def test_deep_and_broken_json_ends() -> None:
    for text in ('{"a":' * 100_000, '[{"n_prompt":' * 1000, '{"a\n' * 20_000, '{"a": ' + "9" * 10_000 + "}"):
        found = read_json(text)
        assert not found.observations
        assert 1 <= len(found.skipped) <= 101
