"""The names that a machine gives itself → parts of the catalog, and whether it has all cores of one."""

from __future__ import annotations

import re
from math import ceil
from typing import NamedTuple

from roofline import catalog, units
from roofline.bench.devices import Unit, hardware_id
from roofline.bench.names import tables
from roofline.hardware import Hardware
from roofline.measure.identity import Identity
from roofline.measure.processors import board_part, soc_part
from roofline.measure.seen import GpuSeen
from roofline.spec import SpecError

# Kinds of which the catalog names the whole board or chip, so that a board's name may stand for it.
_BOARDS = ("sbc", "soc", "edge", "phone")


class Part(NamedTuple):
    """What tells one part with a CPU from another."""

    id: str
    name: str
    microarchitecture: str
    isa: frozenset[str]
    cores: int


def named(identity: Identity, cards: list[str]) -> tuple[str | None, str]:
    """(id, how it was found) by the names that the machine gives; (None, '') where they name nothing."""
    by_board = board_part(identity.board) or _board(identity.board)
    if by_board in catalog.files("hardware"):
        return by_board, f"the board is {identity.board!r}"
    for text in _spellings(identity):
        if found := _ask(text, "cpu"):
            return found, f"the processor is {text!r}"
    siblings = [one for one in same_name(identity) if fits_cores(identity, one)]
    if len(siblings) == 1:
        return siblings[0], f"the processor is {identity.processor!r}, told from its siblings by its cores"
    by_chip = soc_part(identity.compatible)
    if by_chip in catalog.files("hardware"):
        return by_chip, f"the device tree has {identity.compatible[-1]!r}"
    for found in cards:  # a chip with its own CPU, such as GB10
        if catalog.load_hardware(found).spec.cpu is not None:
            return found, f"the graphics processor is {identity.gpus[0].name!r}"
    return None, ""


def _board(board: str) -> str | None:
    """A board that the catalog knows by name; a PC's or server's board says nothing of its processor."""
    found = _ask(board, "cpu") or _ask(board, "gpu")
    return found if found and catalog.load_hardware(found).spec.kind in _BOARDS else None


def _spellings(identity: Identity) -> list[str]:
    """The processor's name, with the count of GPU cores for Apple, and without the F of a part without graphics."""
    name = identity.processor
    cores = next((card.cores for card in identity.gpus if card.cores), None)
    with_gpu = [f"{name} ({cores}-core GPU)"] if cores and identity.vendor == "Apple" else []
    plain = re.sub(r"\b(i[3579]-\d{4,5}K?)F\b", r"\1", name)
    return list(dict.fromkeys([*with_gpu, name, plain]))


def _ask(text: str, unit: Unit) -> str | None:
    try:
        return hardware_id(text, unit) if text.strip() else None
    except SpecError:
        return None


def same_name(identity: Identity) -> tuple[str, ...]:
    """Parts that share a name with this processor ('Apple M4 Max' is sold with 32 and 40 graphics cores)."""
    wanted = catalog.normalise(identity.processor)
    cores = next((card.cores for card in identity.gpus if card.cores), None)
    found = [part.id for part in parts() if catalog.normalise(re.sub(r"\(.*", "", part.name)) == wanted]
    exact = [one for one in found if cores and f"-{cores}" in one]
    return tuple(exact or found) if wanted else ()


def card_id(card: GpuSeen) -> str | None:
    """The id of a card; where the name alone is not enough, its memory is part of the name ('… 12GB')."""
    names = [card.name]
    if card.memory_bytes:
        gigabytes = ceil(card.memory_bytes / units.parse("1 GiB", "B"))  # drivers keep a little for themselves
        names.append(f"{card.name} {gigabytes}GB")
    for found in filter(None, (_ask(name, "gpu") for name in names)):
        capacity = catalog.load_hardware(found).spec.memory.capacity
        if capacity is None or card.memory_bytes is None or about(card.memory_bytes, capacity.value):
            return found
    return None


def parts() -> list[Part]:
    """Every part with a CPU. The files are read as they are: validating all of them takes most of a second."""
    found = []
    for one, table in tables("hardware").items():
        try:
            cpu = table["cpu"]
            cores = sum(int(cluster["cores"]) for cluster in cpu["clusters"])
            kind = str(cpu.get("microarchitecture", ""))
            found.append(Part(one, str(table["name"]), kind, frozenset(map(str, cpu["isa"])), cores))
        except (KeyError, TypeError, ValueError, AttributeError):  # a card, or a user's damaged file
            continue
    return found


def fits_cores(identity: Identity, one: str) -> bool:
    """Whether the machine has all cores of a part."""
    return whole(identity, catalog.load_hardware(one).spec)[0]


def whole(identity: Identity, spec: Hardware) -> tuple[bool, int, str]:
    """(whether the machine has all cores of the part, how many parts, what differs).

    A quota shrinks a container; on the machine itself it limits one process, not the machine.
    """
    if spec.cpu is None or not identity.clusters:
        return True, 1, ""
    expected = [cluster.cores for cluster in spec.cpu.clusters]
    found = [cluster.cores for cluster in identity.clusters]
    sockets = identity.sockets or 1
    count = max(sockets // spec.cpu.sockets, 1)
    if identity.container and identity.cpu_limit is not None and identity.cpu_limit < (identity.threads or 0):
        return False, count, f"{identity.cpu_limit:g} of {identity.threads} logical CPUs"
    differ = sum(expected) != sum(found) or (len(found) > 1 and len(expected) > 1 and expected != found)
    if differ or sockets % spec.cpu.sockets:
        each = " a socket" if sockets > 1 else ""
        return False, count, f"cores{each}: expected {joined(expected)}, found {joined(found)}"
    return True, count, ""


def joined(cores: list[int]) -> str:
    """Cores of each cluster: '8 + 16'."""
    return " + ".join(map(str, cores))


def about(found: float, sold: float) -> bool:
    """Whether memory found is a size sold: sold sizes are powers of 2, and firmware and kernel keep up to a tenth."""
    binary = sold / units.parse("1 GB", "B") * units.parse("1 GiB", "B")
    return 0.88 * binary <= found <= 1.01 * binary
