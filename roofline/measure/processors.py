"""Processor numbers → microarchitectures and ranks, from cores.toml."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from roofline.spec import read_toml

LITTLE, BIG, PRIME = 0, 2, 4  # a slower half of one kind ranks one below it
_RANKS = {"little": LITTLE, "big": BIG, "prime": PRIME}


class Core(NamedTuple):
    """A core by its numbers.

    little: the efficiency core of a hybrid chip, '' where all are alike. rank: LITTLE, BIG or PRIME. isa: what the core
    has and its kernel does not list.
    """

    microarchitecture: str = ""
    little: str = ""
    rank: int = BIG
    vendor: str = ""
    isa: tuple[str, ...] = ()


@lru_cache(maxsize=1)
def _tables() -> dict[str, Any]:
    return read_toml(Path(__file__).with_name("cores.toml"))


def x86_core(vendor: str, family: int | None, model: int | None, stepping: int | None = None) -> Core:
    """The core of a vendor_id, family and model as /proc/cpuinfo numbers them; a Core without a name where unknown."""
    name = ""
    for table in _tables()["x86"]:
        if table["vendor"] != vendor:
            continue
        name = table["name"]
        if table["family"] != family or model is None:
            continue
        for of, first, last, special in table.get("steppings", ()):
            if of == model and stepping is not None and first <= stepping <= last:
                return Core(special, "", BIG, name)
        for first, last, fast, little in table["models"]:
            if first <= model <= last:
                return Core(fast, little, BIG, name)
        for first, last, little in table.get("little", ()):
            if first <= model <= last:
                return Core(little, "", LITTLE, name)
    return Core(vendor=name)


def arm_core(implementer: int | None, part: int | None) -> Core:
    """The core of an implementer and part number (MIDR_EL1); a Core without a name where unknown."""
    for table in _tables()["arm"]:
        if table["implementer"] != implementer:
            continue
        for rank, parts in ((_RANKS[key], table.get(key, {})) for key in _RANKS):
            for number, name in parts.items():
                if int(number, 16) == part:
                    return Core(name, "", rank, table["name"])
        return Core(vendor=table["name"])
    return Core()


def arm_core_named(name: str) -> Core:
    """The core that lscpu calls `name` ('Cortex-A76')."""
    wanted = name.strip().lower()
    for table in _tables()["arm"]:
        for key, rank in _RANKS.items():
            if wanted in table.get(key, {}).values():
                return Core(wanted, "", rank, table["name"])
    return Core()


def apple_cores(family: int | None) -> tuple[str, str]:
    """(fast core, efficiency core) of a Mac's hw.cpufamily, '' where Apple has not named them."""
    for table in _tables()["apple"]:
        if family is not None and family & 0xFFFF_FFFF in table["families"]:
            fast, little = table["cores"]
            return fast, little
    return "", ""


def riscv_core(uarch: str, model: str) -> Core:
    """The core of a RISC-V cpuinfo's `uarch` or `model name` line."""
    for table in _tables()["riscv"]:
        if uarch.lower() == table["uarch"] or model.lower() == table["model"]:
            return Core(table["name"], "", BIG, "", tuple(table["isa"]))
    return Core()


def board_part(board: str) -> str | None:
    """The catalog id that a board's or a rented machine's name alone tells."""
    for table in _tables()["board"]:
        if any(board.lower().startswith(text) for text in table["text"]):
            return str(table["hardware"])
    return None


def soc_part(compatible: tuple[str, ...]) -> str | None:
    """The catalog id of a chip by its device tree's `compatible` words."""
    for table in _tables()["soc"]:
        if set(table["text"]) & set(compatible):
            return str(table["hardware"])
    return None


def core_names() -> frozenset[str]:
    """Every microarchitecture that the tables can answer."""
    tables = _tables()
    names = {name for table in tables["x86"] for row in table["models"] for name in row[2:]}
    names |= {row[-1] for table in tables["x86"] for key in ("little", "steppings") for row in table.get(key, ())}
    names |= {name for table in tables["arm"] for key in _RANKS for name in table.get(key, {}).values()}
    names |= {name for table in tables["apple"] for name in table["cores"]}
    names |= {table["name"] for table in tables["riscv"]}
    return frozenset(names - {""})
