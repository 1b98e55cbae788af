"""Options that several commands share, with completion of ids. Nothing here loads numpy or pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Annotated, Any

import typer


class Form(StrEnum):
    """Output formats."""

    table = "table"
    json = "json"
    csv = "csv"
    md = "md"


class SplitMode(StrEnum):
    """How several devices share a model."""

    layer = "layer"
    tensor = "tensor"


class LinkKind(StrEnum):
    """What joins several devices."""

    nvlink = "nvlink"
    pcie = "pcie"


class NumaMode(StrEnum):
    """How a processor with several memories is used."""

    one = "one"
    interleave = "interleave"
    mirror = "mirror"


def _complete_hardware(incomplete: str) -> list[str]:
    from roofline.catalog import files

    return [name for name in sorted(files("hardware")) if name.startswith(incomplete)]


def _complete_models(incomplete: str) -> list[str]:
    from roofline.catalog import files

    return [name for name in sorted(files("models")) if name.startswith(incomplete)]


def _complete_runtimes(incomplete: str) -> list[str]:
    from roofline.catalog import files

    return [name for name in sorted(files("runtimes")) if name.startswith(incomplete)]


def _complete_quants(incomplete: str) -> list[str]:
    from roofline.quantization import ids

    return [name for name in ids() if name.startswith(incomplete)]


Hardware = Annotated[
    str,
    typer.Option(
        "--hw",
        metavar="ID",
        help="Device: an id, a TOML file, a count (rtx-3090x2), a memory size (rpi5-4gb), GPUs and their host (a+b+c).",
        autocompletion=_complete_hardware,
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model", metavar="ID", help="Model: an id, a TOML, GGUF or config.json file.", autocompletion=_complete_models
    ),
]
Quant = Annotated[
    str | None,
    typer.Option(
        "--quant",
        metavar="NAME",
        help="Quantisation, such as q4_k_m; a GGUF has its own.",
        autocompletion=_complete_quants,
    ),
]
GivenHardware = Annotated[
    str | None,
    typer.Option(
        "--hw",
        metavar="ID",
        help="Device, where the file does not say; without a file, its rows alone.",
        autocompletion=_complete_hardware,
    ),
]
GivenModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="ID",
        help="Model, where the file does not say; without a file, its rows alone.",
        autocompletion=_complete_models,
    ),
]
DeviceHardware = Annotated[
    str | None,
    typer.Option(
        "--hw",
        metavar="ID",
        help="Only this device, from your own measurements of it (host: this machine).",
        autocompletion=_complete_hardware,
    ),
]
HereHardware = Annotated[
    str | None,
    typer.Option(
        "--hw",
        metavar="ID",
        help="What this machine is; default: host, else what it is recognised as.",
        autocompletion=_complete_hardware,
    ),
]
Runtime = Annotated[
    str,
    typer.Option("--runtime", metavar="ID", help="Inference engine and version.", autocompletion=_complete_runtimes),
]
Backend = Annotated[
    str | None,
    typer.Option(
        "--backend", metavar="NAME", help="cpu, cuda, metal, vulkan, rocm, sycl, opencl; default: the usual one."
    ),
]
Prompt = Annotated[str, typer.Option("--prompt", metavar="N", help="Prompt tokens; 4k is 4096, commas make a list.")]
Gen = Annotated[str, typer.Option("--gen", metavar="N", help="Generated tokens; commas make a list.")]
Depth = Annotated[str, typer.Option("--depth", metavar="N", help="Tokens already in the KV cache; commas make a list.")]
Batch = Annotated[str, typer.Option("--batch", metavar="N", help="Sequences at a time; commas make a list.")]
Cache = Annotated[str, typer.Option("--kv", metavar="TYPE", help="KV-cache type, or two for K and V: q8_0,q4_0.")]
Range = Annotated[
    str,
    typer.Option(
        "--prompt",
        metavar="N",
        help="Prompt tokens: numbers and ranges start:stop:step (stop left out), commas between.",
    ),
]
Context = Annotated[
    str | None, typer.Option("--ctx", metavar="N", help="Context to reserve memory for; default: what the tokens need.")
]
Ubatch = Annotated[int | None, typer.Option("--ubatch", min=1, help="Prompt tokens per pass; default: the runtime's.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads; default: the fast cores.")]
ThreadList = Annotated[str | None, typer.Option("--threads", metavar="N", help="CPU threads; commas make a list.")]
UbatchList = Annotated[
    str | None, typer.Option("--ubatch", metavar="N", help="Prompt tokens per pass; commas make a list.")
]
Flash = Annotated[
    bool | None, typer.Option("--flash-attn/--no-flash-attn", help="Fused attention; default: as the runtime does.")
]
GpuLayers = Annotated[
    int | None,
    typer.Option(
        "--gpu-layers",
        "-ngl",
        min=0,
        metavar="N",
        help="Layers on the GPU of a pair (--hw GPU+CPU); default: what fits.",
    ),
]
CpuMoe = Annotated[bool, typer.Option("--cpu-moe", help="All experts stay in the host's memory.")]
CpuMoeLayers = Annotated[
    int | None,
    typer.Option(
        "--n-cpu-moe", min=0, metavar="N", help="The experts of the first N layers stay in the host's memory."
    ),
]
TensorOverrides = Annotated[
    list[str] | None,
    typer.Option("--override-tensor", "-ot", metavar="PATTERN=CPU", help="Tensors that stay on the host. Repeatable."),
]
OpOffload = Annotated[
    bool, typer.Option("--op-offload/--no-op-offload", help="Whether prompts fetch the host's weights to the GPU.")
]
Repack = Annotated[
    int,
    typer.Option(
        "--repack", min=0, max=1, metavar="0|1", help="Whether a CPU keeps weights in a second, faster order."
    ),
]
NoRepack = Annotated[bool, typer.Option("--no-repack", help="The same as --repack 0.")]
Split = Annotated[
    SplitMode | None,
    typer.Option(
        "--split", "-sm", help="Several devices hold the layers in turn, or a part of each tensor; default: layer."
    ),
]
TensorSplit = Annotated[
    str | None,
    typer.Option(
        "--tensor-split", "-ts", metavar="N,N", help="Layers on each GPU, in proportion; default: to its memory."
    ),
]
Link = Annotated[LinkKind | None, typer.Option("--link", help="What joins split devices; default: NVLink if there is.")]
Numa = Annotated[
    NumaMode | None,
    typer.Option(
        "--numa", help="Several sockets: one alone, all interleaved, weights mirrored in each; default: interleave."
    ),
]
Disk = Annotated[
    str | None,
    typer.Option("--disk", metavar="RATE", help="Read from a disk of 3GB/s, say, what memory cannot hold; load times."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Replace a figure of the hardware: memory.bandwidth=102.4GB/s. Repeatable."
    ),
]
Kwh = Annotated[
    float | None, typer.Option("--kwh", metavar="USD", help="Price of a kilowatt-hour; default: energy is not counted.")
]
Lifetime = Annotated[
    str, typer.Option("--lifetime", metavar="TIME", help="How long a machine is used, over which its price is spread.")
]
Utilisation = Annotated[
    float | None,
    typer.Option("--utilisation", metavar="R", help="Share of the time in which it works; default: 0.3, rented 1."),
]
PerHour = Annotated[
    float | None, typer.Option("--per-hour", metavar="USD", help="Rented at this, energy included, instead of bought.")
]
Prices = Annotated[
    list[str] | None,
    typer.Option("--price", metavar="[ID=]USD", help="What a machine costs, all of it together. Repeatable."),
]
Output = Annotated[Form, typer.Option("--format", help="How to print the result.")]

#: Options that say what is predicted, and what the library calls them where it has another word.
_SETTINGS = {
    "runtime": "", "backend": "", "prompt": "", "gen": "", "depth": "", "batch": "", "kv": "", "ctx": "", "ubatch": "",
    "threads": "", "flash_attn": "flash_attention", "gpu_layers": "", "op_offload": "", "repack": "", "split": "",
    "tensor_split": "", "link": "", "numa": "", "disk": "",
}  # fmt: skip


def asked(context: typer.Context) -> set[str]:
    """The parameters that the command line names; the others have their defaults."""
    return {name for name in context.params if str(context.get_parameter_source(name)).endswith("COMMANDLINE")}


def settings(given: Mapping[str, Any], without: str = "") -> dict[str, Any]:
    """The arguments of points.points that a command's options say, from its `locals()`: those that it has.

    without: an option that the command takes in a sense of its own.
    """
    found = {
        word or name: given[name].value if isinstance(given[name], Enum) else given[name]
        for name, word in _SETTINGS.items()
        if name in given and name != without
    }
    if "overrides" in given:
        found["figures"] = given["overrides"] or ()
    if "repack" in given:
        found["repack"] = bool(given["repack"]) and not given["no_repack"]
    if "cpu_moe" in given:
        from roofline.points import tensor_overrides

        patterns = given["override_tensor"] or []
        found["overrides"] = tensor_overrides(given["cpu_moe"], given["n_cpu_moe"], patterns)
    return found
