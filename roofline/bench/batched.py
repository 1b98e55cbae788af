"""llama-batched-bench: one row is a prompt and a generation phase of B sequences, as a table or as JSON lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from roofline.bench.observation import Observation, Skipped
from roofline.bench.records import as_text
from roofline.bench.run import Namer, Seen

#: The table's columns by the keys of the JSON; the headers of ik_llama.cpp's sweep-bench are the same less B.
COLUMNS = {
    "pp": "pp", "tg": "tg", "b": "pl", "n_kv": "n_kv", "t_pp s": "t_pp", "s_pp t/s": "speed_pp", "t_tg s": "t_tg",
    "s_tg t/s": "speed_tg", "t s": "t", "s t/s": "speed",
}  # fmt: skip


def is_batched(record: Mapping[str, object]) -> bool:
    """Whether a mapping is a row of llama-batched-bench."""
    return "speed_pp" in record and "speed_tg" in record


def from_batched(
    record: Mapping[str, object],
    row: int,
    namer: Namer,
    seen: Seen = Seen(),  # noqa: B008 - frozen
) -> Iterator[Observation | Skipped]:
    """Both phases of a row; speeds are of all sequences together.

    Without `pl` it is a row of sweep-bench: both phases start with `n_kv` tokens in the cache.
    """
    fields = {str(key).lower(): as_text(value) for key, value in record.items()}
    sequences = fields.get("pl", "")
    shared = fields.get("is_pp_shared", "") in ("1", "true", "True")
    sweep = "pl" not in fields
    common = {
        "ubatch": fields.get("n_ubatch", ""),
        "threads": fields.get("n_threads", ""),
        "gpu_layers": fields.get("n_gpu_layers", ""),
        "flash_attn": fields.get("flash_attn", ""),
    }
    prompt = {"phase": "pp", "prompt": fields.get("pp", ""), "depth": fields.get("n_kv", "") if sweep else "0"}
    # A shared prompt is evaluated once for all sequences.
    prompt |= {"batch": "1" if shared or sweep else sequences, "tok_s": fields["speed_pp"]}
    token = {"phase": "tg", "gen": fields.get("tg", ""), "depth": fields.get("n_kv" if sweep else "pp", "")}
    token |= {"batch": "1" if sweep else sequences, "tok_s": fields["speed_tg"]}
    for values, measured in ((prompt, fields.get("pp", "")), (token, fields.get("tg", ""))):
        if measured != "0":
            yield namer.row(row, seen, common | values, {"is_pp_shared": "1"} if shared else {}, f"-{values['phase']}")
