"""The Python API: the words of the command line, as functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from roofline import catalog
from roofline.calculator import predict as calculate
from roofline.disk import disk_rate
from roofline.lineup import Lineup, line_up, proportions, singly
from roofline.local import localised
from roofline.machine import Machine, make_machine
from roofline.model import Model
from roofline.placement import Placement, check_overrides
from roofline.prediction import Prediction
from roofline.spec import SpecError
from roofline.units import short
from roofline.weights import Weights, from_file, weigh
from roofline.workload import Real, Workload

if TYPE_CHECKING:
    from roofline.readers import GgufFile

DEFAULT_RUNTIME = "llama.cpp"
#: A number or an array of numbers.
Numbers: TypeAlias = float | NDArray[np.floating[Any]] | NDArray[np.integer[Any]]
MOST = 1e9  # tokens or sequences; beyond any machine


def predict(
    hw: str,
    model: str,
    quant: str | None = None,
    *,
    runtime: str = DEFAULT_RUNTIME,
    backend: str | None = None,
    prompt: Numbers = 512,
    gen: Numbers = 128,
    depth: Numbers = 0,
    batch: Numbers = 1,
    kv: str = "f16",
    context: int | None = None,
    ubatch: int | None = None,
    threads: int | None = None,
    flash_attention: bool | None = None,
    gpu_layers: int | None = None,
    overrides: Sequence[str] = (),
    op_offload: bool = True,
    repack: bool = True,
    split: str | None = None,
    tensor_split: str | None = None,
    link: str | None = None,
    numa: str | None = None,
    disk: str | float | None = None,
    set: Mapping[str, str] | None = None,  # noqa: A002 - the word of the command line
) -> Prediction:
    """Expected speed, bounds and memory of `model` in `quant` on `hw`.

    hw, model, quant, runtime: ids or files, spelt as on the command line. prompt, gen, depth [tokens] and batch
    [sequences] may be numpy arrays that broadcast against each other; every result then is an array of their common
    shape, and one call makes a million points. kv: type of the cache, 'q8_0' or 'q8_0,q4_0' for K and V apart.
    set: figures of the (first) hardware file to replace, as in {"memory.bandwidth": "102.4 GB/s"}. hw may join a device
    and its host, 'rtx-3090+ryzen-7950x', and several devices, see lineup; gpu_layers: layers on devices as llama.cpp's
    -ngl counts them, as many as fit without; overrides: patterns of tensors that stay on the host; op_offload: see
    placement.Placement. split: 'layer' (several devices hold the layers in turn) or 'tensor' (each a part of every
    matrix), see splitting; tensor_split: the layers of each device by those of the others, '3,1', by memory without;
    link: 'nvlink' or 'pcie' between them, the faster without. numa: 'one', 'interleave' or 'mirror', see numa; of the
    host where one is named. repack: whether a CPU keeps weights a second time in the order that its kernels read.
    disk: rate of the disk, '3GB/s', from which weights are read that memory cannot hold, see disk.py.

    Raises roofline.spec.SpecError, one line, for anything unknown or unsupported.
    """
    weights_entry, weights = load_weights(model, quant)
    lineup = line_up(hw)
    device, host = lineup.devices[0], lineup.host
    of_device = None if host else numa
    backend = backend or (_common_backend(lineup.devices, runtime) if len(lineup.devices) > 1 else None)
    machine, hardware_entry = load_machine(device, runtime, backend, threads, set, of_device, split, link)
    workload = make_workload(
        prompt,
        gen,
        depth,
        batch,
        kv=kv,
        context=context,
        ubatch=ubatch,
        flash_attention=flash_attention,
        repack=repack,
    )
    placement = None
    several = len(lineup.devices) > 1 or tensor_split is not None
    if several or host is not None or gpu_layers is not None or overrides:
        placement = _place(
            machine, lineup, hardware_entry.id, runtime, threads, weights_entry.spec, gpu_layers, numa, bool(overrides)
        )
        placement = replace(placement, overrides=tuple(overrides), op_offload=op_offload)
        check_overrides(placement, weights_entry.spec)
        if several:
            placement = _line_up(placement, lineup, runtime, tensor_split)
            machine = placement.device
        if gpu_layers is None and placement.host is not None:
            from roofline.inverse import most_layers  # nothing else here needs it

            fitting = most_layers(weights_entry.spec, weights, placement, workload)
            placement = replace(placement, gpu_layers=fitting)
    names = {
        "hardware": lineup.id,
        "hardware_file": catalog.shown(hardware_entry.path),
        **_further_files(lineup),
        "model": weights_entry.id,
        "model_file": catalog.shown(weights_entry.path),
        "runtime": catalog.load_runtime(runtime).id,
        "runtime_file": catalog.shown(catalog.load_runtime(runtime).path),
    }
    rate = None if disk is None else disk_rate(disk)
    return replace(calculate(weights_entry.spec, weights, machine, workload, placement, rate), names=names)


def make_workload(
    prompt: Numbers,
    gen: Numbers,
    depth: Numbers,
    batch: Numbers,
    *,
    kv: str = "f16",
    context: int | None = None,
    ubatch: int | None = None,
    flash_attention: bool | None = None,
    repack: bool = True,
) -> Workload:
    """A workload in the words of `predict`; SpecError for numbers that are none, or that do not go together."""
    workload = Workload(
        prompt=_numbers("prompt", prompt, 0),
        gen=_numbers("gen", gen, 0),
        depth=_numbers("depth", depth, 0),
        batch=_numbers("batch", batch, 1),
        kv_types=kv_pair(kv),
        context=None if context is None else _whole("ctx", context),
        ubatch=None if ubatch is None else _whole("ubatch", ubatch),
        flash_attention=flash_attention,
        repack=repack,
    )
    _check_shapes(workload)
    return workload


def _further_files(lineup: Lineup) -> dict[str, str]:
    """The files of the devices after the first, and of their host."""
    others = {f"device_{number}": name for number, name in enumerate(lineup.devices[1:], 2)}
    named = others | ({"host": lineup.host} if lineup.host else {})
    return {f"{key}_file": catalog.shown(catalog.load_hardware(name, ()).path) for key, name in named.items()}


def _place(
    machine: Machine,
    lineup: Lineup,
    device: str,
    runtime: str,
    threads: int | None,
    model: Model,
    gpu_layers: int | None,
    numa: str | None,
    needs_host: bool,
) -> Placement:
    """A device with its host: the one named, else the device's own processor; none where all is on several devices."""
    host = lineup.host
    if machine.backend == "cpu":
        raise SpecError(f"--hw: expected a device with a GPU before the +, or for layers to place, found {device}")
    most = model.layers + 1
    if host is None and machine.hardware.cpu is None:
        if gpu_layers is None and not needs_host:
            return Placement(machine, None, most)
        raise SpecError(f"--hw: expected the machine around {device}, as in {device}+ryzen-7950x, found none")
    if gpu_layers is not None and gpu_layers < 0:
        raise SpecError(f"--gpu-layers: expected 0 or more, found {gpu_layers}")
    around, _ = load_machine(host or device, runtime, "cpu", threads, None, numa)
    return Placement(machine, around, most if gpu_layers is None else min(gpu_layers, most))


def _common_backend(devices: Sequence[str], runtime: str) -> str:
    """The first device's usual backend that all of them have; SpecError where there is none."""
    hardware = [catalog.load_hardware(name).spec for name in devices]
    known = catalog.load_runtime(runtime).spec.backends
    for name in hardware[0].backends:
        if name in known and all(name in one.backends for one in hardware):
            return name
    if not hardware[0].is_accelerator:
        raise SpecError(f"--hw: expected a device with a GPU before the +, found {devices[0]}")
    found = "; ".join(f"{one.name} has {', '.join(one.backends)}" for one in hardware)
    raise SpecError(f"--hw: expected devices with a backend in common, found none: {found}")


def _line_up(placement: Placement, lineup: Lineup, runtime: str, tensor_split: str | None) -> Placement:
    """The placement over all devices of a line-up, each on its own, with the layers in proportion."""
    first = placement.device
    if first.split == "tensor":
        what = " and ".join(lineup.devices) if len(lineup.devices) > 1 else "--tensor-split, which divides layers"
        raise SpecError(f"--split: expected devices alike for tensor, which divides evenly, found {what}")
    machines = [first] + [load_machine(name, runtime, first.backend, None, None)[0] for name in lineup.devices[1:]]
    single = [replace(machine, hardware=one) for machine in machines for one in singly(machine.hardware)]
    shares = () if tensor_split is None else proportions(tensor_split)
    if len(single) == 1:
        one = single[0].hardware.name
        raise SpecError(f"--tensor-split: expected several devices, as in rtx-3090x2, found one {one}")
    if len(shares) not in (0, len(single)):
        raise SpecError(f"--tensor-split: expected a share for each of {len(single)} devices, found {tensor_split}")
    return replace(placement, device=single[0], others=tuple(single[1:]), proportions=shares)


def _numbers(name: str, value: Numbers, least: float) -> Real:
    """`value` as floats; SpecError for anything below `least` or not finite."""
    if isinstance(value, (int, float)) and least <= value <= MOST:
        return float(value)
    try:
        numbers = np.asarray(value, dtype=float)
    except (OverflowError, TypeError, ValueError):
        numbers = np.array(np.nan)
    if not numbers.size or not np.all(np.isfinite(numbers)) or np.any(numbers < least) or np.any(numbers > MOST):
        raise SpecError(f"--{name}: expected numbers from {least:g} to {MOST:g}, found {short(value)}")
    return float(numbers) if numbers.ndim == 0 else numbers


def _whole(name: str, value: int) -> int:
    """`value` as a whole number from 1 to MOST."""
    if not 1 <= value <= MOST:
        raise SpecError(f"--{name}: expected a whole number from 1 to {MOST:g}, found {short(value)}")
    return value


def _check_shapes(workload: Workload) -> None:
    """SpecError when arrays do not broadcast, or the context is too short for the tokens."""
    axes = (workload.prompt, workload.gen, workload.depth, workload.batch)
    try:
        np.broadcast_shapes(*(np.shape(axis) for axis in axes))
    except ValueError:
        shapes = ", ".join(str(np.shape(axis)) for axis in axes)
        names = "--prompt, --gen, --depth, --batch"
        raise SpecError(f"{names}: expected shapes that broadcast against each other, found {shapes}") from None
    needed = float(np.max(workload.positions))
    if workload.context is not None and workload.context < needed:
        raise SpecError(
            f"--ctx: expected at least {needed:.0f} positions for the tokens asked for, found {workload.context}"
        )


def kv_pair(text: str) -> tuple[str, str]:
    """'q8_0' → ('q8_0', 'q8_0'); 'q8_0,q4_0' is K and V apart."""
    from roofline.quantization import kv_layout

    parts = [kv_layout(part).name for part in text.split(",")]
    if len(parts) > 2:
        raise SpecError(f"--kv: expected one type, or two for K and V, found {text!r}")
    return parts[0], parts[-1]


def load_weights(model: str, quant: str | None) -> tuple[catalog.Entry[Model], Weights]:
    """A model and its stored form: a recipe's types for a shape, the tensor table of a GGUF file."""
    if model.endswith((".gguf", ".json")) or (_is_file(model) and not model.endswith(".toml")):
        return _load_file(Path(model), quant)
    entry = catalog.load_model(model)
    return entry, _weigh_entry(model, entry.spec.native_quant if quant is None else quant)


def load_shape(model: str) -> catalog.Entry[Model]:
    """A model without its stored form: of the catalog, or of a TOML, GGUF or config.json file."""
    if model.endswith((".gguf", ".json")):
        from roofline.readers import read_model_file

        return catalog.Entry(Path(model).stem, Path(model), read_model_file(Path(model))[0])
    return catalog.load_model(model)


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # too long for a file, or with a NUL
        return False


@lru_cache(maxsize=4096)
def _weigh_entry(model: str, quant: str) -> Weights:
    entry = catalog.load_model(model)
    if not quant:
        raise SpecError(
            f"--quant: expected a quantisation for {entry.id}, found none; `roofline list quants` shows them"
        )
    from roofline.quantization import get

    return weigh(entry.spec, get(quant).id)


def _load_file(path: Path, quant: str | None) -> tuple[catalog.Entry[Model], Weights]:
    from roofline.readers import read_model_file

    model, stored = read_model_file(path)
    entry = catalog.Entry(path.stem, path, model)
    if stored is None:
        if quant is None:
            raise SpecError(
                f"--quant: expected a quantisation for {path}, found none; `roofline list quants` shows them"
            )
        from roofline.quantization import get

        return entry, weigh(model, get(quant).id)
    if quant is not None:
        raise SpecError(f"--quant: expected none, since {path} stores its own types, found {quant!r}")
    name = quantisation_name(stored)
    table = ((tensor, tensor.type) for tensor in stored.tensors)
    return entry, from_file(model, name, table, stored.types_by_role)


def quantisation_name(stored: GgufFile) -> str:
    """What to call the types of a file: the recipe it names, else the type that holds the most bytes."""
    return stored.file_type or stored.by_type[0].type


def load_machine(
    hw: str,
    runtime: str,
    backend: str | None,
    threads: int | None,
    overrides: Mapping[str, str] | None,
    numa: str | None = None,
    split: str | None = None,
    link: str | None = None,
) -> tuple[Machine, catalog.Entry]:  # type: ignore[type-arg]
    """A device under a runtime's backend, with the figures of `overrides` replaced; split and so on as in Machine."""
    key = tuple((overrides or {}).items())
    machine = _machine(hw, runtime, backend, threads, key, numa, split or "layer", link or "")
    return machine, catalog.load_hardware(hw, key)


@lru_cache(maxsize=512)
def _machine(
    hw: str,
    runtime: str,
    backend: str | None,
    threads: int | None,
    overrides: tuple[tuple[str, str], ...],
    numa: str | None,
    split: str,
    link: str,
) -> Machine:
    hardware = catalog.load_hardware(hw, overrides).spec
    engine = localised(catalog.load_runtime(runtime).spec, hardware.name, catalog.calibrations())
    machine = make_machine(hardware, engine, backend, threads, numa)
    return machine if split == "layer" and not link else replace(machine, split=split, link=link)


def list_hardware() -> list[str]:
    """Ids of all hardware, sorted."""
    return sorted(catalog.files("hardware"))


def list_models() -> list[str]:
    """Ids of all models, sorted."""
    return sorted(catalog.files("models"))


def list_runtimes() -> list[str]:
    """Ids of all runtimes, sorted."""
    return sorted(catalog.files("runtimes"))


__all__ = ["list_hardware", "list_models", "list_runtimes", "predict"]
