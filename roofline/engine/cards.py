"""Which graphics processors a run used, and the file of this machine's own measurement of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from roofline.bench import Observation, Reading
from roofline.bench.devices import hardware_and_count
from roofline.bench.run import backend_of
from roofline.engine.llama_bench import Sweep
from roofline.engine.process import run
from roofline.engine.programs import HELP_SECONDS, Program
from roofline.measure.gpufile import own_cards
from roofline.spec import SpecError

# llama.cpp, common/arg.cpp: "  CUDA0: NVIDIA H100 80GB HBM3 (81079 MiB, 80500 MiB free)"
_LISTED = re.compile(r"^\s+(\S+): (.{1,200}?) \(\d+ MiB, \d+ MiB free\)\s*$", re.M)


def listed(program: Program, sweep: Sweep) -> tuple[str, tuple[str, ...]]:
    """(backend, names) of the devices that a program would run a sweep on; ('', ()) for none, or none that it tells."""
    if sweep.gpu_layers == (0,) or not program.has("--list-devices"):
        return "", ()
    done = run([str(program.path.absolute()), "--list-devices"], HELP_SECONDS)
    found: dict[str, list[str]] = {}
    for device, name in _LISTED.findall(done.out):
        try:
            found.setdefault(backend_of(device), []).append(name)
        except SpecError:  # another machine's, or an accelerator that this library does not know
            continue
    found.pop("cpu", None)  # a BLAS is listed too
    if len(found) != 1:
        return "", ()
    ((backend, names),) = found.items()
    return backend, tuple(names)


def filed(names: Sequence[str]) -> str:
    """What --hw takes for devices of these names: 'host-gpu' where they were measured here, 'h100-sxmx2' for two.

    SpecError where the catalog has no such device, or they are of several kinds.
    """
    own = own_cards()
    if len(set(names)) == 1 and names[0] in own:
        identity, count = own[names[0]], len(names)
    else:
        identity, count = hardware_and_count(", ".join(names))
    return identity if count == 1 else f"{identity}x{count}"


def on_own_cards(reading: Reading) -> Reading:
    """Rows under the card that ran them, where it was measured here; a run on several kinds of card belongs to none."""
    own = own_cards()
    return replace(reading, observations=tuple(_on_own(row, own) for row in reading.observations))


def _on_own(row: Observation, own: dict[str, str]) -> Observation:
    printed = {name.strip() for name in row.extra.get("gpu_info", "").split(",")}
    if row.backend == "cpu" or len(printed) != 1:
        return row
    return replace(row, hardware=own.get(printed.pop(), row.hardware))
