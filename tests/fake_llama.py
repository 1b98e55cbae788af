"""Stand-ins for llama.cpp's programs: scripts that print what a test wants, or fail as the real ones do."""

import json
import stat
import sys
from pathlib import Path

HELP = """usage: llama-bench [options]
  -h, --help
  -r, --repetitions <n>
  -o, --output <csv|json|jsonl|md|sql>
  -m, --model <filename>
  -p, --n-prompt <n>
  -n, --n-gen <n>
  -d, --n-depth <n>
  -ub, --ubatch-size <n>
  -ctk, --cache-type-k <t>
  -ctv, --cache-type-v <t>
  -t, --threads <n>
  -ngl, --n-gpu-layers <n>
  -fa, --flash-attn <on|off|auto>
  --repack <0|1>
"""
RECORD = {
    "build_commit": "abc1234", "build_number": 9000, "cpu_info": "Some CPU", "gpu_info": "", "backends": "CPU",
    "model_filename": "m.gguf", "model_type": "llama 256M Q4_0", "model_size": 90000000, "model_n_params": 134515008,
    "n_batch": 2048, "n_ubatch": 512, "n_threads": 2, "type_k": "f16", "type_v": "f16", "n_gpu_layers": -1,
    "flash_attn": -1, "test_time": "2026-05-01T10:00:00Z", "n_depth": 0,
}  # fmt: skip
PREFILL = {**RECORD, "n_prompt": 512, "n_gen": 0, "avg_ts": 400.0, "stddev_ts": 4.0}
DECODE = {**RECORD, "n_prompt": 0, "n_gen": 128, "avg_ts": 60.0, "stddev_ts": 1.0}


def lines_of(*records: dict[str, object]) -> str:
    """What llama-bench -o jsonl prints."""
    return "".join(json.dumps(record) + "\n" for record in records)


USUAL = f"sys.stdout.write({lines_of(PREFILL, DECODE)!r})"


def program(folder: Path, body: str = USUAL, name: str = "llama-bench", help_text: str = HELP) -> Path:
    """An executable `name` in `folder` that prints `help_text` for --help and else runs `body`, lines of Python."""
    path = folder / name
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    path.write_text(
        f"#!{sys.executable}\nimport os, signal, subprocess, sys, time\n"
        f"arguments = sys.argv[1:]\n"
        f"if '--help' in arguments:\n    sys.stdout.write({help_text!r})\nelse:\n{indented}\n",
        encoding="utf-8",
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path
