"""From the words of the command line to predictions: lists of prompts, depths and batches are points of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

from roofline import api, catalog
from roofline.machine import Machine, make_machine
from roofline.placement import EXPERTS, experts_on_host
from roofline.prediction import Prediction
from roofline.spec import SpecError
from roofline.units import UnitError, count, short
from roofline.workload import Workload

MAX_POINTS = 10_000


def points(
    hw: str,
    model: str,
    quant: str | None = None,
    *,
    prompt: str = "512",
    gen: str = "128",
    depth: str = "0",
    batch: str = "1",
    ctx: str | None = None,
    figures: Sequence[str] = (),
    **settings: Any,
) -> list[Prediction]:
    """One prediction for every combination of the listed prompts, generations, depths and batches.

    figures: 'memory.bandwidth=102.4GB/s', see api.predict's `set`. settings: the other arguments of api.predict.
    """
    axes = [numbers("prompt", prompt), numbers("gen", gen), numbers("depth", depth), numbers("batch", batch)]
    grid = list(product(*axes))
    if len(grid) > MAX_POINTS:
        raise SpecError(
            f"--prompt, --gen, --depth, --batch: expected at most {MAX_POINTS} combinations, found {len(grid)}"
        )
    settings |= {"set": assignments(figures), "context": one_number("ctx", ctx) if ctx else None}
    return [api.predict(hw, model, quant, prompt=p, gen=g, depth=d, batch=b, **settings) for p, g, d, b in grid]


def one_workload(
    *, prompt: str, gen: str, depth: str, batch: str, ctx: str | None, kv: str, flash_attention: bool | None
) -> Workload:
    """The one workload that these words say; SpecError where they list several."""
    prompts, gens, depths, batches = (
        one_number(option, text)
        for option, text in (("prompt", prompt), ("gen", gen), ("depth", depth), ("batch", batch))
    )
    return api.make_workload(
        prompts,
        gens,
        depths,
        batches,
        kv=kv,
        context=one_number("ctx", ctx) if ctx else None,
        flash_attention=flash_attention,
    )


def tensor_overrides(all_experts: bool, expert_layers: int | None, overrides: Sequence[str]) -> list[str]:
    """Patterns of tensors that stay on the host: of the experts, of all layers or the first, and as llama.cpp's -ot.

    'blk.3[4-9].ffn=CPU,blk.4.*exps=CPU' is two; SpecError for one that goes elsewhere than to the CPU.
    """
    found = [rf"\.{EXPERTS}"] if all_experts else []
    found += [experts_on_host(expert_layers)] if expert_layers else []
    for part in (part for text in overrides for part in text.split(",")):
        pattern, equals, where = part.rpartition("=")
        if not equals or where.strip().upper() != "CPU" or not pattern.strip():
            raise SpecError(f"--override-tensor: expected PATTERN=CPU, found {short(part)}")
        found.append(pattern.strip())
    return found


def single_point(hw: str, model: str, quant: str | None = None, **words: Any) -> Prediction:
    """The one prediction that the arguments of `points` make; SpecError when they make several."""
    results = points(hw, model, quant, **words)
    if len(results) != 1:
        raise SpecError(
            f"--prompt, --gen, --depth, --batch: expected one value each, found {len(results)} combinations"
        )
    return results[0]


def numbers(option: str, text: str) -> list[int]:
    """'1,8,4k' → [1, 8, 4096]."""
    try:
        return [count(part) for part in text.split(",")]
    except UnitError as error:
        raise SpecError(f"--{option}: {error}") from None


def one_number(option: str, text: str) -> int:
    """'4k' → 4096; SpecError for a list."""
    found = numbers(option, text)
    if len(found) != 1:
        raise SpecError(f"--{option}: expected one number, found {text!r}")
    return found[0]


def assignments(overrides: Sequence[str]) -> dict[str, str]:
    """['memory.bandwidth=102.4GB/s'] → {'memory.bandwidth': '102.4GB/s'}."""
    figures = {}
    for text in overrides:
        path, equals, value = text.partition("=")
        if not equals or not path.strip() or not value.strip():
            raise SpecError(f"--set: expected FIELD=VALUE such as memory.bandwidth=102.4GB/s, found {text!r}")
        figures[path.strip()] = value.strip()
    return figures


def larger_devices(prediction: Prediction) -> list[tuple[str, Machine]]:
    """Every device of the catalog that has a fixed memory, under its usual backend, as machines."""
    machine = prediction.machine
    found = []
    for identity in catalog.files("hardware"):
        try:
            hardware = catalog.load_hardware(identity).spec
            if hardware.memory.capacity:
                found.append((identity, make_machine(hardware, machine.runtime, None, None)))
        except SpecError:
            continue  # a broken file of the user's is no way out
    return found


def matching(names: Sequence[str], pattern: str) -> list[str]:
    """Names that match a shell pattern, sorted."""
    return sorted(name for name in names if fnmatchcase(name, pattern.lower()) or fnmatchcase(name, pattern))


def expand(option: str, text: str, known: Sequence[str]) -> list[str]:
    """'rpi5,rtx-40*' → names, each once, patterns replaced by what they match; SpecError where that is nothing."""
    names: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        if not part:
            raise SpecError(f"--{option}: expected names between the commas, found {short(text)}")
        found = matching(known, part) if set(part) & set("*?[") else [part]
        if not found:
            raise SpecError(f"--{option}: expected a pattern that a name matches, found {short(part)}")
        names += found
    return list(dict.fromkeys(names))
