"""Which runtime file stands for the engine that made an observation: by its version, its build, or the date."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

from roofline.bench.observation import Observation

#: The first month of each period of llama.cpp, and the runtime file of that period.
_PERIODS = (
    ("0000-00", "llama.cpp-2023-11"),
    ("2024-01", "llama.cpp-2024-03"),
    ("2024-06", "llama.cpp-2024-06"),
    ("2024-11", "llama.cpp-2025"),
    ("2025-08", "llama.cpp"),
    ("2026-10", "llama.cpp-2026-10"),
)
#: Build numbers of llama.cpp and the month they were released in; between two the month is interpolated. From 3631 on
#: they are pairs of the shipped observations and their like, the earlier ones are the project's releases.
_BUILDS = (
    (1000, "2023-08"), (1500, "2023-11"), (1740, "2024-01"), (2300, "2024-03"), (2600, "2024-04"), (2780, "2024-05"),
    (3050, "2024-06"), (3631, "2024-08"), (3942, "2024-10"), (4008, "2024-11"), (4404, "2025-01"), (5018, "2025-04"),
    (5781, "2025-07"), (6021, "2025-08"), (7293, "2025-12"), (7948, "2026-02"),
)  # fmt: skip
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_OF_ITS_OWN = {"ik_llama.cpp": "ik_llama.cpp", "ampere-llama.cpp": "ampere-llama.cpp"}
_NOT_MODELLED = {
    "t-mac": "T-MAC replaces multiplications by table look-ups, which no runtime file describes",
    "tensorrt-llm": "TensorRT-LLM's published figures are served throughput with requests in flight",
}


class RuntimeChoice(NamedTuple):
    """id: of the runtime file, None where there is none for this engine. guessed: the period is not stated."""

    id: str | None
    guessed: bool
    reason: str


def runtime_for(observation: Observation) -> RuntimeChoice:
    """The runtime file of an observation, whether its period was guessed, and why this one."""
    engine = observation.runtime.lower()
    if engine in _OF_ITS_OWN:
        return RuntimeChoice(_OF_ITS_OWN[engine], False, "an engine with a file of its own")
    if engine in _NOT_MODELLED:
        return RuntimeChoice(None, False, _NOT_MODELLED[engine])
    if engine == "llamafile":
        return _llamafile(observation)
    if engine == "ollama":
        # Ollama vendors llama.cpp of some weeks before, which its version does not tell.
        choice = _by_date(observation.date)
        return RuntimeChoice(choice.id, True, f"ollama builds on llama.cpp of its time: {choice.reason}")
    if engine in ("llama.cpp", ""):
        choice = _by_build(observation.build) or _by_date(observation.date or observation.build)
        return choice if engine else choice._replace(guessed=True)
    return RuntimeChoice(None, False, f"no runtime file for {observation.runtime[:40]!r}")


def _llamafile(observation: Observation) -> RuntimeChoice:
    match = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", observation.build)
    if match:
        version = (int(match[1][:6]), int(match[2][:6]))
        if version >= (0, 8):
            return RuntimeChoice("llamafile-0.8", version > (0, 8), f"version {observation.build}")
        if version == (0, 7):
            return RuntimeChoice("llamafile-0.7", False, f"version {observation.build}")
        return RuntimeChoice("llamafile-0.6.2", not observation.build.startswith("0.6"), f"version {observation.build}")
    # 0.7 came out on 2024-03-31, 0.8 on 2024-04-24.
    month = _month(observation.date)
    if month is None or month >= "2024-04":
        return RuntimeChoice("llamafile-0.8", True, "version not stated")
    return RuntimeChoice("llamafile-0.7" if month == "2024-03" else "llamafile-0.6.2", True, "version not stated")


def _by_build(build: str) -> RuntimeChoice | None:
    """By the date or the number in a build's name: '2024-03-26', 'b4008', '14b699ec (4384)'."""
    month = _month(build)
    if month is not None:
        return RuntimeChoice(_period(month), False, f"build of {month}")
    match = (
        re.search(r"(?<![a-z0-9])b(\d{4,5})\b", build)
        or re.search(r"\((\d{4,5})\)", build)
        or re.match(r"(\d{4,5}) \(", build)
    )
    if match:
        return RuntimeChoice(_period(month_of_build(int(match[1]))), False, f"build {match[1]}")
    return None


def _by_date(date: str) -> RuntimeChoice:
    month = _month(date)
    if month is not None:
        return RuntimeChoice(_period(month), False, f"measured in {month}")
    year = re.match(r"\s*(20\d\d)\b", date)
    if year is None:
        return RuntimeChoice("llama.cpp", True, "neither a date nor a build number")
    first, last = _period(f"{year[1]}-01"), _period(f"{year[1]}-12")
    return RuntimeChoice(_period(f"{year[1]}-07"), first != last, f"measured in {year[1]}")


def month_of_build(number: int) -> str:
    """The month in which llama.cpp's build of this number came out, between the known ones in proportion."""
    if number <= _BUILDS[0][0]:
        return _BUILDS[0][1]
    for (low, start), (high, end) in pairwise(_BUILDS):
        if number < high:
            share = (number - low) / (high - low)
            return _text(_index(start) + share * (_index(end) - _index(start)))
    return _BUILDS[-1][1]


def _index(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:7]) - 1


def _text(index: float) -> str:
    return f"{int(index) // 12:04}-{int(index) % 12 + 1:02}"


def _period(month: str) -> str:
    return next(name for start, name in reversed(_PERIODS) if month >= start)


def _month(text: str) -> str | None:
    """'2024-03' of '2024-03-26', '2024-6-19', 'Aug 2024' or 'May 2024 snapshot'; None where no month is named."""
    match = re.search(r"\b(20\d\d)-(\d{1,2})\b", text)
    if match and 1 <= int(match[2]) <= 12:
        return f"{match[1]}-{int(match[2]):02}"
    match = re.search(r"\b([a-z]{3})[a-z]*\.? (20\d\d)\b", text, re.I)
    if match and match[1].lower() in _MONTHS:
        return f"{match[2]}-{_MONTHS.index(match[1].lower()) + 1:02}"
    return None
