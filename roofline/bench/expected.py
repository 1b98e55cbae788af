"""What the calculator expects of an observation: the same device, model, runtime and workload, one phase."""

from __future__ import annotations

import re
from dataclasses import dataclass

from roofline import api
from roofline.bench.observation import Observation
from roofline.bench.runtimes import runtime_for
from roofline.placement import experts_on_host
from roofline.prediction import Phase, Prediction
from roofline.spec import SpecError

#: llama-bench's defaults, for tables that do not state the lengths.
USUAL_PROMPT, USUAL_GEN = 512, 128
MOST_LAYERS = 1000  # more than any model has: all of them
_OVERRIDES = re.compile(r"-ot (\S+=CPU)")  # as notes quote the command line


@dataclass(frozen=True, slots=True)
class Expected:
    """The prediction that belongs to an observation, and the phase of it that was measured.

    guessed: what the observation does not state and was filled in ('period', 'prompt length').
    """

    prediction: Prediction
    phase: Phase
    guessed: tuple[str, ...]


def expect(observation: Observation) -> Expected:
    """The prediction for an observation; SpecError with the reason when there can be none."""
    _refuse_what_is_not_modelled(observation)
    choice = runtime_for(observation)
    if choice.id is None:
        raise SpecError(
            f"runtime: expected an engine with a runtime file, found {observation.runtime!r}: {choice.reason}"
        )
    is_prompt = observation.phase == "pp"
    guessed = ["period"] if choice.guessed else []
    if is_prompt and observation.prompt is None:
        guessed.append("prompt length")
    count = f"x{observation.count}" if observation.count > 1 else ""
    layers, on_host = _placed(observation)
    host = f"+{observation.host}" if layers is not None else ""
    is_file = observation.model.endswith(".gguf")  # its own tensor table says how it is stored
    prediction = api.predict(
        f"{observation.hardware}{count}{host}",
        observation.model,
        None if is_file else observation.quant,
        runtime=choice.id,
        backend=observation.backend or None,
        prompt=(observation.prompt or USUAL_PROMPT) if is_prompt else 0,
        gen=0 if is_prompt else (observation.gen or USUAL_GEN),
        depth=observation.depth or 0,
        batch=observation.batch or 1,
        ubatch=observation.ubatch,
        threads=observation.threads if observation.backend == "cpu" or host else None,
        gpu_layers=layers,
        overrides=on_host,
        flash_attention=observation.flash_attn,
        kv=_cache_types(observation),
        set=_changes(observation),
    )
    phase = prediction.prefill if is_prompt else prediction.decode
    if phase is None:
        raise SpecError(f"phase: expected tokens to process, found none for {observation.phase!r}")
    return Expected(prediction, phase, tuple(guessed))


def beyond_columns(observation: Observation) -> tuple[str, str]:
    """What further columns tell the calculator: types of the cache, instructions left out."""
    return _cache_types(observation), observation.extra.get("isa", "")


def _placed(observation: Observation) -> tuple[int | None, list[str]]:
    """(layers on the device, patterns of tensors on its host) of a row with parts on the host; (None, []) of others."""
    if observation.kind != "hybrid":
        return None, []
    on_host = [pattern for part in _OVERRIDES.findall(observation.note) for pattern in part.split("=CPU") if pattern]
    on_host = [pattern.lstrip(",") for pattern in on_host]
    expert_layers = observation.extra.get("n_cpu_moe", "")
    if expert_layers.isdigit() and int(expert_layers):
        on_host.append(experts_on_host(int(expert_layers[:4])))
    if not observation.host:
        raise SpecError("host: expected the machine that holds the rest, found none")
    if observation.gpu_layers is None and not on_host:
        raise SpecError("gpu_layers: expected how many layers are on the device, found none")
    if "BLAS enabled" in observation.note:
        raise SpecError("note: expected a host that multiplies by itself, found a BLAS, which is not modelled")
    return (MOST_LAYERS if observation.gpu_layers is None else observation.gpu_layers), on_host


def _cache_types(observation: Observation) -> str:
    """The types of K and V where llama-bench said them, else its default."""
    return f"{observation.extra.get('type_k') or 'f16'},{observation.extra.get('type_v') or 'f16'}"


def _changes(observation: Observation) -> dict[str, str]:
    """What of the hardware was not as its file says: other memory, instructions that the engine's build leaves out."""
    changes = {"memory.transfer_rate": f"{observation.mem_mts:g} MT/s"} if observation.mem_mts else {}
    if observation.backend == "cpu" and observation.extra.get("isa"):
        changes["cpu.isa"] = observation.extra["isa"]
    return changes


def _refuse_what_is_not_modelled(observation: Observation) -> None:
    """SpecError for kinds of measurement that the calculator has no terms for."""
    if observation.phase == "serve":
        raise SpecError("phase: expected pp or tg, found 'serve': requests in flight are not modelled")
    if "n_proc=" in observation.note:
        raise SpecError("note: expected one process, found several at the same time, which share the machine")
