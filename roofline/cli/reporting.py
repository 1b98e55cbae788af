"""`roofline report`: a prediction as a document."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from roofline.cli import options
from roofline.cli.plotting import Background, Theme

if TYPE_CHECKING:
    from roofline.document.blocks import Document
    from roofline.document.prediction import Case


MOST_DEVICES = 8  # in one report


class DocumentForm(StrEnum):
    """What a document is written as."""

    html = "html"
    md = "md"


def report(
    context: typer.Context,
    hw: Annotated[
        str, typer.Option("--hw", metavar="IDS", help="Devices, as for predict; commas make a list, a part for each.")
    ],
    model: options.Model,
    quant: options.Quant = None,
    runtime: options.Runtime = "llama.cpp",
    backend: options.Backend = None,
    prompt: options.Prompt = "512",
    gen: options.Gen = "128",
    depth: options.Depth = "0",
    batch: options.Batch = "1",
    kv: options.Cache = "f16",
    ctx: options.Context = None,
    ubatch: options.Ubatch = None,
    threads: options.Threads = None,
    flash_attn: options.Flash = None,
    gpu_layers: options.GpuLayers = None,
    cpu_moe: options.CpuMoe = False,
    n_cpu_moe: options.CpuMoeLayers = None,
    override_tensor: options.TensorOverrides = None,
    op_offload: options.OpOffload = True,
    repack: options.Repack = 1,
    no_repack: options.NoRepack = False,
    split: options.Split = None,
    tensor_split: options.TensorSplit = None,
    link: options.Link = None,
    numa: options.Numa = None,
    disk: options.Disk = None,
    overrides: options.Overrides = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write to .html or .md; default: print Markdown.")
    ] = None,
    form: Annotated[
        DocumentForm | None, typer.Option("--format", help="How to write it; default: as the name of the file says.")
    ] = None,
    theme: Background = Theme.auto,
) -> None:
    """Everything about a prediction in one document: verdict, charts, memory, what would change it, every source.

    Example: roofline report --hw rtx-3090+ryzen-7950x --model qwen3-32b --quant q4_k_m --out report.html
    """
    given = options.settings(locals())
    from roofline.cli.repeating import command_line
    from roofline.document.prediction import report as made

    cases, failed = _cases(hw, model, quant, given)
    name = str(out) if out else "report.html"
    lines = [
        command_line(context, "report", {"out", "form", "theme"}, ["--out", name]),
        command_line(context, "predict", {"out", "form", "theme"}),
    ]
    document = made(cases, lines if "," not in hw else lines[:1], failed)
    if out is not None and form is None:
        from roofline.document.saving import save_document

        save_document(document, out, theme.value)
    else:
        _write(document, form or DocumentForm.md, theme.value, out)
    if out is not None:
        typer.echo(f"wrote {out}", err=True)


def _write(document: Document, form: DocumentForm, theme: Literal["auto", "light", "dark"], out: Path | None) -> None:
    """To a file of whatever name, or to standard output."""
    from roofline.document.html import page
    from roofline.document.markdown import markdown
    from roofline.files import write_text

    text = page(document, theme) if form is DocumentForm.html else markdown(document)
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(text, out)


def _cases(hw: str, model: str, quant: str | None, given: dict[str, object]) -> tuple[list[Case], dict[str, str]]:
    """A prediction for each device of a list, and why others have none; SpecError where none has."""
    from roofline.api import list_hardware
    from roofline.document.prediction import Case
    from roofline.points import expand, single_point
    from roofline.spec import SpecError

    found, failed = [], {}
    names = expand("hw", hw, list_hardware())
    if len(names) > MOST_DEVICES:
        raise SpecError(f"--hw: expected at most {MOST_DEVICES} devices in one report, found {len(names)}")
    for name in names:
        try:
            found.append(Case(single_point(name, model, quant, **given), name, model, quant, given))
        except SpecError as error:
            failed[name] = str(error)
    if not found:
        raise SpecError(next(iter(failed.values())))
    return found, failed
