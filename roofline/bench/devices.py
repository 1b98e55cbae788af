"""The names that programs print for devices → catalog ids.

'NVIDIA GeForce RTX 3090', 'AMD Ryzen 9 7950X 16-Core Processor' and 'Apple M2 Ultra' are matched by their words: every
word that tells a device from its siblings must be in the text, and every such word of the text in the device's name.
What fits several devices, or one only if a word is left out, is asked for by name rather than guessed.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from roofline import catalog
from roofline.bench.names import aliases, tables
from roofline.bench.text import shown
from roofline.spec import SpecError

Unit = Literal["cpu", "gpu"]

# Words that makers print or leave out at will.
_NOISE_TEXT = """
    nvidia geforce tesla quadro amd radeon instinct intel apple qualcomm aws gcp google ampere graphics gpu cpu core
    cores processor with w r tm c generation gen gb memory series edition blackwell hbm hbm2 hbm2e hbm3 hbm3e model rev
    the of one ryzen epyc xeon platinum gold silver threadripper rtx rx arc board family 0 cuda vulkan device
    14th 13th 12th 11th 10th"""
_NOISE = frozenset(_NOISE_TEXT.split())
# Words that make another device of the same number: a text that has one fits no name without it.
_VARIANT_TEXT = """
    ti super laptop mobile max q pro ultra xt xtx xtw gre d m sxm pcie nvl ada server workstation nano plus hx ks kf k f
    h u hs g7 lite mini"""
_VARIANTS = frozenset(_VARIANT_TEXT.split())
_REWRITES = (
    (re.compile(r"\((?:r|tm|c)\)", re.I), " "),
    (re.compile(r"@\s*[\d.]+\s*ghz", re.I), " "),
    (re.compile(r"\b\d+-cores?(?:\s+processor)?\b(?!\s*gpu)", re.I), " "),
    (re.compile(r"\bh100 80gb hbm3\b", re.I), "h100 sxm 80gb"),  # the driver's name for the SXM board
    (re.compile(r"\bsxm\d\b", re.I), "sxm"),
    (re.compile(r"\b(\d+) ?(?:gb|gib)\b", re.I), r"\1"),
    (re.compile(r"\brpi ?(?=\d)|\braspberry pi (?=\d)", re.I), "raspberrypi"),
    (re.compile(r"\bgb10\b", re.I), "dgx spark"),
)
_CAPACITY = re.compile(r"^\d{1,3}$")


class _Device(NamedTuple):
    id: str
    forms: tuple[frozenset[str], ...]
    backends: frozenset[str]


def hardware_id(text: str, unit: Unit = "gpu") -> str:
    """The catalog id of the device that a program calls `text`; unit: which side of a chip with both is meant.

    SpecError when none fits, or several do, naming them and the option that decides.
    """
    answer = _match(text[:300], unit, tuple(catalog.directories("hardware")))
    if isinstance(answer, str):
        return answer
    raise SpecError(_question(text, answer))


def _question(text: str, near: tuple[str, ...]) -> str:
    if near:
        may_be = ", ".join(near)
        return f"hardware: expected one device of the catalog, found {shown(text)}, which may be {may_be}; give --hw"
    return f"hardware: expected a device of the catalog, found {shown(text)}; give --hw"


@lru_cache(maxsize=2048)
def _match(text: str, unit: Unit, roots: tuple[Path, ...]) -> str | tuple[str, ...]:
    """The id, or what it may be, among the devices of the directories `roots`."""
    words, devices = _words(text), _devices(roots)
    fitting: dict[str, frozenset[str]] = {}
    close: list[str] = []
    for device in devices:
        for form in device.forms:
            if form <= words and not (words & _VARIANTS) - form:
                fitting[device.id] = max(form, fitting.get(device.id, frozenset()), key=len)
            elif _has(device, unit) and _nearly(form, words):
                close.append(device.id)
    best = {name for name, form in fitting.items() if not any(form < other for other in fitting.values())}
    if len(best) > 1:
        sided = {device.id for device in devices if device.id in best and _has(device, unit)}
        best = sided or best
    if len(best) == 1:
        return best.pop()
    return tuple(sorted(best) or dict.fromkeys(close))[:6]


def _nearly(form: frozenset[str], words: frozenset[str]) -> bool:
    """Whether only a memory size, a count of cores or one variant word is between the two."""
    numbers = {word for word in form if any(char.isdigit() for char in word) and not _CAPACITY.match(word)}
    if not numbers or not numbers <= words:
        return False
    left = (form - words) | ((words & _VARIANTS) - form)
    return len(left) <= 1 and all(_CAPACITY.match(word) or word in _VARIANTS for word in left)


def _has(device: _Device, unit: Unit) -> bool:
    return "cpu" in device.backends if unit == "cpu" else bool(device.backends - {"cpu"})


def _words(text: str) -> frozenset[str]:
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    words = set(re.findall(r"[a-z0-9]+", text.lower())) - _NOISE
    return frozenset(words)


def _names_something(form: frozenset[str]) -> bool:
    """Whether a form tells devices apart: 5, 320 or max alone could be anything; "5 320" is a processor."""
    return len(form) > 1 or any(not _CAPACITY.match(word) and word not in _VARIANTS for word in form)


@lru_cache(maxsize=4)
def _devices(_roots: tuple[Path, ...]) -> tuple[_Device, ...]:
    """Every device of the catalog with its spellings; the directories only tell when to read it again."""
    devices = []
    for identity, table in tables("hardware").items():
        name, backends = str(table.get("name", identity)), table.get("backends", [])
        apple = table.get("vendor") == "Apple"
        # Apple names a chip alike whatever its GPU has, so there the count of cores is part of the name.
        names = [name] if apple else [re.sub(r"\(.*?\)", " ", name), identity, *aliases(table)]
        forms = {_words(spelling) for spelling in names}
        kept = tuple(form for form in forms if _names_something(form))
        words = frozenset(str(word) for word in backends) if isinstance(backends, list) else frozenset()
        devices.append(_Device(identity, kept, words))
    return tuple(devices)


def hardware_and_count(text: str, unit: Unit = "gpu") -> tuple[str, int]:
    """(id, how many) of equal devices as llama-bench joins them ('A, A' or 'A/A'); SpecError for mixed ones."""
    text = re.split(r",\s*compute capability", text)[0]
    parts = [part.strip() for part in re.split(r"\s*(?:(?<!\bw)/|,)\s*|\s\+\s", text) if part.strip()] or [text]
    found = {part: hardware_id(part, unit) for part in dict.fromkeys(parts)}
    if len(set(found.values())) > 1:
        raise SpecError(
            f"hardware: expected devices of one kind, found {', '.join(sorted(set(found.values())))}; give --hw"
        )
    return found[parts[0]], len(parts)
