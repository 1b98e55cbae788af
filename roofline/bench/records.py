"""The fields of llama-bench's machine-readable output (json, jsonl, csv, sql), of any version, to observations.

A record maps llama-bench's names to values. Versions differ: those before 2024-11 name the backend by a flag each
('cuda', 'metal', …), later ones in 'backends'; 'n_depth' came in 2025.
"""

from __future__ import annotations

from collections.abc import Mapping

from roofline import units
from roofline.bench.model_names import parameters
from roofline.bench.observation import Observation, Skipped
from roofline.bench.run import Namer, Seen

#: Flags of old versions that name a backend.
_FLAGS = ("cuda", "metal", "vulkan", "sycl", "opencl", "kompute", "hip", "rocm")
#: What is kept of a record beside the columns.
_KEPT = ("n_batch", "type_k", "type_v", "n_cpu_moe", "split_mode", "tensor_split", "backends", "cpu_info", "gpu_info")
_NEEDED = ("n_prompt", "n_gen", "avg_ts")


def is_record(record: Mapping[str, object]) -> bool:
    """Whether a mapping is a llama-bench test."""
    return "n_prompt" in record and "n_gen" in record


def from_record(record: Mapping[str, object], row: int, namer: Namer) -> Observation | Skipped:
    """The observation of one llama-bench test."""
    fields = {str(key).strip().lower(): as_text(value) for key, value in record.items()}
    missing = [name for name in _NEEDED if name not in fields]
    if missing:
        return namer.skip(row, f"{missing[0]}: expected llama-bench's {', '.join(missing)}, found no such key")
    prompt, gen = _number(fields["n_prompt"]), _number(fields["n_gen"])
    if prompt and gen:
        return namer.skip(
            row,
            f"n_prompt, n_gen: expected one phase, found a combined test of {prompt:g} and {gen:g} tokens",
        )
    if not prompt and not gen:
        return namer.skip(row, f"n_prompt, n_gen: expected tokens of one phase, found {fields['n_prompt']!r:.40} and "
                          f"{fields['n_gen']!r:.40}")  # fmt: skip
    values = {
        "phase": "pp" if prompt else "tg",
        "prompt": fields["n_prompt"] if prompt else "",
        "gen": fields["n_gen"] if gen else "",
        "depth": fields.get("n_depth", "") or "0",
        "ubatch": fields.get("n_ubatch", ""),
        "threads": fields.get("n_threads", ""),
        "gpu_layers": fields.get("n_gpu_layers", ""),
        "flash_attn": fields.get("flash_attn", ""),
        "tok_s": fields["avg_ts"],
        "std": fields.get("stddev_ts", ""),
        "size_gib": _gib(fields.get("model_size", "")),
    }
    return namer.row(row, _seen(fields), values, {name: fields[name] for name in _KEPT if fields.get(name)})


def _seen(fields: Mapping[str, str]) -> Seen:
    backends = fields.get("backends", "") or ",".join(
        flag for flag in _FLAGS if fields.get(flag, "").lower() in ("1", "true")
    )
    number = fields.get("build_number", "")
    commit = fields.get("build_commit", "")
    return Seen(
        model_type=fields.get("model_type", ""),
        parameters=parameters(fields.get("model_n_params", "")) or None,
        file=fields.get("model_filename", ""),
        # A version that names no backend at all ran on the CPU.
        backends=backends or "CPU",
        devices=fields.get("gpu_info", ""),
        processor=fields.get("cpu_info", ""),
        build=f"{commit} ({number})" if number else commit,
        date=fields.get("test_time", ""),
        single=fields.get("split_mode", "") == "none",
        partly=(fields.get("n_cpu_moe", "") or "0") != "0"
        or fields.get("tensor_buft_overrides", "").lower() not in ("", "none"),
    )


def as_text(value: object) -> str:
    """A JSON value as the text that a CSV cell would hold."""
    if value is None or isinstance(value, (dict, list)):
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value)[:10_000].strip()


def _number(text: str) -> float:
    try:
        return max(float(text), 0.0)
    except ValueError:
        return 0.0


def _gib(text: str) -> str:
    """Bytes as text to GiB as text; "" for anything else."""
    size = _number(text)
    return f"{size / units.BINARY_PREFIXES['Gi']:.4g}" if 0 < size < float("inf") else ""
