"""What was measured of this machine's graphics processors as hardware files: `--hw host-gpu` is the card that is here.

The ceilings of a card that the catalog has are the catalog's, so that the speed of light stays what the datasheet says;
what was measured says how much of them is had. Any other card's ceilings are the best that was measured.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from datetime import date
from typing import Any

from roofline import catalog
from roofline.catalog import Entry
from roofline.hardware import Hardware
from roofline.measure.accelerator import AcceleratorRoof, AcceleratorRoofs
from roofline.measure.hostfile import HOST, Tables, cite, measured, told
from roofline.measure.identity import Identity
from roofline.measure.match import Match
from roofline.measure.naming import card_id
from roofline.measure.roofs import Roofs
from roofline.measure.seen import GpuSeen
from roofline.spec import Figure, SpecError, validate
from roofline.units import format_quantity

HOST_GPU = f"{HOST}-gpu"
_SUFFIX = ", measured"
_OWN = re.compile(rf"{HOST_GPU}(-\d{{1,3}})?")
_LINKS = (3, 4, 5)  # generations of PCIe that the catalog knows
#: This library's names of what torch drives, and who makes such devices.
_BACKENDS = {"mps": "metal", "xpu": "sycl"}
_MAKERS = {"cuda": "NVIDIA", "rocm": "AMD", "metal": "Apple", "sycl": "Intel"}
#: Memories that an engine's kernels read about as fast as a copy runs. llama.cpp's are fitted to two thirds of HBM's
#: bandwidth: were it nine tenths, decode of the A100 and H100 in the shipped observations would be a fifth too fast.
_READ_AS_COPIED = ("gddr",)
#: The catalog's figure that a product of torch's is held against: it adds up in fp32 where the inputs are shorter.
_PEAK_OF = {"fp16": ("fp16_acc32", "fp16"), "bf16": ("bf16",), "fp32": ("fp32",), "int8": ("int8",)}


@dataclass(frozen=True)
class Card:
    """A kind of graphics processor of this machine, with what one of them reached.

    id: 'host-gpu', or 'host-gpu-1' and so on where there are several kinds; count: how many of it; seen: what the
    driver says; known: the same card in the catalog.
    """

    id: str
    count: int
    roofs: AcceleratorRoofs
    seen: GpuSeen
    known: Entry[Hardware] | None

    @property
    def backend(self) -> str:
        """The backend that measured it."""
        return _BACKENDS.get(self.roofs.backend, self.roofs.backend)

    def roof(self, what: str) -> AcceleratorRoof | None:
        """A ceiling that is no product: 'copy', 'host to device' or 'device to host'."""
        return next((one for one in self.roofs.roofs if one.what == what), None)

    @property
    def products(self) -> dict[str, AcceleratorRoof]:
        """Matrix products by type."""
        return {one.dtype: one for one in self.roofs.roofs if one.what == "matmul"}

    def stated(self, roof: AcceleratorRoof) -> float | None:
        """The catalog's figure for what was measured [B/s or FLOP/s]; None where it has none."""
        if self.known is None:
            return None
        spec = self.known.spec
        if roof.what == "copy":
            return spec.memory.theoretical_bandwidth
        peaks = spec.peaks(self.backend) if roof.what == "matmul" else {}
        return next((peaks[path] for path in _PEAK_OF.get(roof.dtype, ()) if path in peaks), None)


def cards(identity: Identity, found: Match, accelerators: tuple[AcceleratorRoofs, ...]) -> tuple[Card, ...]:
    """The measured accelerators, equal ones as one card: the first of them stands for all."""
    kinds: dict[tuple[str, float | None], list[AcceleratorRoofs]] = {}
    for one in accelerators:
        kinds.setdefault((one.name, one.memory), []).append(one)
    made = []
    for number, alike in enumerate(kinds.values(), 1):
        seen = _seen(identity, alike[0])
        name = HOST_GPU if len(kinds) == 1 else f"{HOST_GPU}-{number}"
        made.append(Card(name, len(alike), alike[0], seen, _known(alike[0], seen, found)))
    return tuple(made)


def _seen(identity: Identity, roofs: AcceleratorRoofs) -> GpuSeen:
    """What the driver says of a device; torch's own words where the driver was not asked, or calls it otherwise."""
    metal = roofs.backend == "mps"
    alike = [card for card in identity.gpus if (card.backend == "metal" if metal else card.name == roofs.name)]
    memory = None if roofs.memory is None else int(roofs.memory)
    return alike[0] if alike else GpuSeen(roofs.name, memory, backend=_BACKENDS.get(roofs.backend, roofs.backend))


def _known(roofs: AcceleratorRoofs, seen: GpuSeen, found: Match) -> Entry[Hardware] | None:
    """The card in the catalog. A file of an earlier measurement says nothing that this one does not."""
    identity = found.id if seen.backend == "metal" else card_id(seen)
    if identity is None or _OWN.fullmatch(identity):
        return None
    entry = catalog.load_hardware(identity)
    return entry if _BACKENDS.get(roofs.backend, roofs.backend) in entry.spec.backends else None


def own_cards() -> dict[str, str]:
    """The graphics processors measured on this machine: the id of each one's file by the name that drivers print."""
    names = {}
    for identity in catalog.files("hardware"):
        if not _OWN.fullmatch(identity):
            continue
        with contextlib.suppress(SpecError):  # a damaged file is named by the commands that use it
            names[catalog.load_hardware(identity).spec.name.removesuffix(_SUFFIX)] = identity
    return names


# -- the file ---------------------------------------------------------------------------------------------------------


def gpu_tables(card: Card, roofs: Roofs, when: date) -> dict[str, Any]:
    """The hardware file of a card as tables. SpecError, one line, when too little was measured to make one."""
    file = Tables()
    spec = card.known.spec if card.known else None
    copy = card.roof("copy")
    if copy is None and spec is None:
        raise SpecError(f"{card.id}: expected a measured copy, found none, and the catalog has no {card.roofs.name}")
    file.tables = {
        # The comma keeps the name apart from the catalog's, so that a log that names such a card is not ambiguous.
        "name": f"{card.seen.name}{_SUFFIX}",
        "vendor": spec.vendor if spec else _MAKERS.get(card.backend, "unknown"),
        "kind": spec.kind if spec else "gpu",
        "backends": [card.backend, *_other_backends(card)],
        "memory": _memory(file, card, copy, roofs, when),
        "gpu": _gpu(file, card, roofs, when),
    }
    if link := _link(file, card, when):
        file.tables["link"] = link
    if card.seen.power_limit:
        file.tables["power"] = told(file, card.seen.power_limit, "W", when, "limit that the driver enforces")
    if spec is None:
        file.tables["aliases"] = [card.seen.name]  # what benchmarks print
    file.tables["notes"] = [{"text": text} for text in (*_remarks(card), *map(str, roofs.disturbances))]
    file.tables["sources"] = file.sources
    validate(Hardware, json.loads(json.dumps(file.tables)), "measure")
    return file.tables


def _other_backends(card: Card) -> list[str]:
    known = card.known.spec.backends if card.known else ()
    return [one for one in known if one not in ("cpu", card.backend)]


def _remarks(card: Card) -> list[str]:
    driver = f"driver {card.seen.driver}, " if card.seen.driver else ""
    lines = [f"measured with {driver}{card.roofs.library}"]
    if card.count > 1:
        lines.append(f"this machine has {card.count} of it: --hw {card.count}x{card.id}")
    rates = [
        f"{way} {format_quantity(roof.samples.median, 'B/s')}"
        for way in ("host to device", "device to host")
        if (roof := card.roof(way))
    ]
    if rates:
        lines.append(f"link, medians with pinned memory: {', '.join(rates)}")
    return lines


def _memory(file: Tables, card: Card, copy: AcceleratorRoof | None, roofs: Roofs, when: date) -> dict[str, Any]:
    table: dict[str, Any] = {"type": "unknown"}
    if card.known is not None:
        bus = card.known.spec.memory
        table = {"type": bus.type, "channels": bus.channels, "channel_bits": bus.channel_bits}
        table = {key: value for key, value in table.items() if value is not None}
        for key, figure in (("transfer_rate", bus.transfer_rate), ("bandwidth", bus.bandwidth)):
            if figure is not None:
                table[key] = _derived(file, card.known, figure, when)
    elif copy is not None:
        table["bandwidth"] = measured(file, copy.samples.best, "B/s", copy.samples, _copied(copy, "best"), roofs, when)
    memory = card.roofs.memory or card.seen.memory_bytes
    if memory:
        table["capacity"] = told(file, memory, "B", when, "what the driver leaves to programs", binary=True)
    elif card.known is not None and card.known.spec.memory.capacity is not None:
        table["capacity"] = _derived(file, card.known, card.known.spec.memory.capacity, when)
    table["sustained"] = _sustained(file, card, copy, roofs, when)
    return table


def _sustained(
    file: Tables, card: Card, copy: AcceleratorRoof | None, roofs: Roofs, when: date
) -> dict[str, dict[str, str]]:
    """What kernels read ('gpu'), where a copy tells it; else the copy for the reader, and what the catalog says."""
    as_copied = card.known is None or card.known.spec.memory_class in _READ_AS_COPIED
    table = {}
    if card.known is not None and (read := card.known.spec.memory.sustained.get("gpu")) and not (as_copied and copy):
        table["gpu"] = _derived(file, card.known, read, when)
    if copy is not None:
        what = _copied(copy, "median")
        name = "gpu" if as_copied else "gpu copy"
        table[name] = measured(file, copy.samples.median, "B/s", copy.samples, what, roofs, when)
    return table


def _copied(copy: AcceleratorRoof, which: str) -> str:
    size = format_quantity(copy.size, "B", binary=True)
    return f"torch: {which} copy of {size} inside the device, bytes read and written,"


def _gpu(file: Tables, card: Card, roofs: Roofs, when: date) -> dict[str, Any]:
    table: dict[str, Any] = {}
    if card.known is not None and (gpu := card.known.spec.gpu) is not None:
        table = {key: text for key, text in (("architecture", gpu.architecture), ("cores", gpu.cores)) if text}
        for key, figure in (("clock", gpu.clock), ("l2", gpu.l2), ("mall", gpu.mall)):
            if figure is not None:
                table[key] = _derived(file, card.known, figure, when)
        table["peak"] = {path: _derived(file, card.known, figure, when) for path, figure in gpu.peak.items()}
    else:
        if card.roofs.architecture:
            table["architecture"] = card.roofs.architecture
        if card.seen.clock:
            table["clock"] = told(file, card.seen.clock, "Hz", when)
        table["peak"] = {
            dtype: measured(file, one.samples.best, "FLOP/s", one.samples, _product(one, "best"), roofs, when)
            for dtype, one in card.products.items()
        }
    table["measured"] = {
        dtype: measured(file, one.samples.median, "FLOP/s", one.samples, _product(one, "median"), roofs, when)
        for dtype, one in card.products.items()
    }
    return table


def _product(roof: AcceleratorRoof, which: str) -> str:
    size = int(roof.size)
    return f"torch: {which} of products of {size} × {size} matrices,"


def _link(file: Tables, card: Card, when: date) -> dict[str, Any]:
    """What the driver negotiates at most, else the catalog's word; None of both is {}."""
    seen, known = card.seen, card.known.spec.link if card.known else None
    table: dict[str, Any] = {}
    if seen.pcie_generation in _LINKS and seen.pcie_lanes:
        table = {"pcie_generation": seen.pcie_generation, "pcie_lanes": seen.pcie_lanes}
        table["pcie_source"] = cite(file, "system", "what the operating system of this machine says", when)
    elif card.known is not None and known is not None and known.pcie_generation and known.pcie_lanes:
        table = {"pcie_generation": known.pcie_generation, "pcie_lanes": known.pcie_lanes}
        table["pcie_source"] = _same_card(file, card.known, when)
    if card.known is not None and known is not None and known.nvlink is not None:
        table["nvlink"] = _derived(file, card.known, known.nvlink, when)
    return table


def _derived(file: Tables, known: Entry[Hardware], figure: Figure, when: date) -> dict[str, str]:
    """A figure of the catalog's file, in its words; what nothing confirms there is confirmed by nothing here."""
    basis = "assumed" if figure.basis == "assumed" else "derived"
    table = {"value": str(figure), "source": _same_card(file, known, when), "basis": basis}
    return {**table, "note": figure.note} if figure.note else table


def _same_card(file: Tables, known: Entry[Hardware], when: date) -> str:
    return cite(file, "same card", f"the same card in the catalog: {catalog.shown(known.path)}", when)
