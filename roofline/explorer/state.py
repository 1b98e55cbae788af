"""What the explorer shows, and its three spellings: a link, the controls of the page, and a command line.

All three are words under the names of the command line's options; `read` makes a state of words, `words` the words of a
state. What cannot be read keeps its default, and is told in a line.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import quote, unquote

from roofline.api import MOST, kv_pair
from roofline.explorer import names
from roofline.points import assignments
from roofline.quantization import get
from roofline.spec import SpecError
from roofline.units import UnitError, count, short

MOST_DEVICES = 6
MOST_PARTS = names.MOST_PARTS  # of all pairs and line-ups: their layers are placed anew for every point of a curve
MOST_FIGURES = 8
LONGEST_LINK = 4000  # characters
LONGEST_FIGURE = 120
BACKENDS = ("cpu", "cuda", "metal", "vulkan", "rocm", "sycl", "opencl")
_SWITCH = {"on": True, "off": False}

#: The words of a state by option: several where an option may be given more than once, or lists.
Words = Mapping[str, str | tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class State:
    """What is predicted. Names are ids of the catalog; '' and None leave the choice to the library.

    roof: the device of which the roofline is drawn, '' for the first that runs; all others are options of `predict`.
    """

    hw: tuple[str, ...] = ("rtx-3090", "m2-max-38", "rpi5")
    model: str = "llama-3.1-8b"
    quant: str = "q4_k_m"
    prompt: int = 512
    gen: int = 128
    depth: int = 0
    batch: int = 1
    kv: str = "f16"
    runtime: str = "llama.cpp"
    backend: str = ""
    threads: int | None = None
    gpu_layers: int | None = None
    flash_attn: bool | None = None
    set: tuple[str, ...] = ()
    roof: str = ""

    def settings(self) -> dict[str, Any]:
        """The arguments of api.predict beside the device, the model and its quantisation."""
        return {
            "runtime": self.runtime, "backend": self.backend or None, "prompt": self.prompt, "gen": self.gen,
            "depth": self.depth, "batch": self.batch, "kv": self.kv, "threads": self.threads,
            "gpu_layers": self.gpu_layers, "flash_attention": self.flash_attn, "set": assignments(self.set) or None,
        }  # fmt: skip


#: Options that a link always has, so that it shows the same when a default changes.
_ALWAYS = ("hw", "model", "quant", "prompt", "gen", "depth", "batch", "kv")
_DEFAULT = State()
#: The names of the options, in the order of links and command lines.
OPTIONS = tuple(field.name for field in fields(State))


# -- reading ----------------------------------------------------------------------------------------------------------


def _devices(given: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(names.hardware(name) for name in given))
    if not found:
        raise SpecError("--hw: expected a device, found none")
    if len(found) > MOST_DEVICES:
        raise SpecError(f"--hw: expected at most {MOST_DEVICES} devices, found {len(found)}")
    together = sum(names.parts(name) for name in found if "+" in name)
    if together > MOST_PARTS:
        raise SpecError(f"--hw: expected pairs and line-ups of at most {MOST_PARTS} devices in all, found {together}")
    return found


def _whole(option: str, least: int) -> Callable[[str], int]:
    def read_number(text: str) -> int:
        try:
            number = count(text)
        except UnitError as error:
            raise SpecError(f"--{option}: {error}") from None
        if not least <= number <= MOST:
            raise SpecError(f"--{option}: expected a whole number from {least} to {MOST:g}, found {short(text)}")
        return number

    return read_number


def _backend(text: str) -> str:
    if text not in BACKENDS:
        raise SpecError(f"--backend: expected one of {', '.join(BACKENDS)}, found {short(text)}")
    return text


def _switch(text: str) -> bool:
    if text not in _SWITCH:
        raise SpecError(f"--flash-attn: expected on or off, found {short(text)}")
    return _SWITCH[text]


def _figures(given: tuple[str, ...]) -> tuple[str, ...]:
    if len(given) > MOST_FIGURES:
        raise SpecError(f"--set: expected at most {MOST_FIGURES} figures, found {len(given)}")
    for text in given:
        if len(text) > LONGEST_FIGURE or not text.isprintable():
            raise SpecError(f"--set: expected FIELD=VALUE such as memory.bandwidth=102.4GB/s, found {short(text)}")
    return tuple(f"{field}={value}" for field, value in assignments(given).items())


def _cache(text: str) -> str:
    keys, values = kv_pair(text)
    return keys if keys == values else f"{keys},{values}"


#: What an empty word means, of the options that may be left to the library.
_CHOSEN_BY_LIBRARY = {"quant": "", "backend": "", "roof": "", "threads": None, "gpu_layers": None, "flash_attn": None}
_READ_MANY: dict[str, Callable[[tuple[str, ...]], Any]] = {"hw": _devices, "set": _figures}
_READ_ONE: dict[str, Callable[[str], Any]] = {
    "model": names.model,
    "quant": lambda text: get(text).id,
    "prompt": _whole("prompt", 0),
    "gen": _whole("gen", 0),
    "depth": _whole("depth", 0),
    "batch": _whole("batch", 1),
    "kv": _cache,
    "runtime": names.runtime,
    "backend": _backend,
    "threads": _whole("threads", 1),
    "gpu_layers": _whole("gpu-layers", 0),
    "flash_attn": _switch,
    "roof": names.hardware,
}


def read(words: Words, base: State = _DEFAULT) -> tuple[State, dict[str, str]]:
    """The state that words say, and a line for each option that cannot be read; those are as in `base`.

    Where only some devices are unknown, the others are taken.
    """
    found: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for option, given in words.items():
        try:
            if option in _READ_MANY:
                many = tuple(part.strip() for part in (given.split(",") if isinstance(given, str) else given))
                many = tuple(part for part in many if part)
                if option == "hw" and many:
                    many, problem = _known(many)
                    problems |= {"hw": problem} if problem else {}
                if many or option != "hw" or "hw" not in problems:
                    found[option] = _READ_MANY[option](many)
            elif not isinstance(given, str):
                raise SpecError(f"--{_dashed(option)}: expected one value, found {len(given)}")
            elif given.strip():
                found[option] = _READ_ONE[option](given.strip())
            elif option in _CHOSEN_BY_LIBRARY:
                found[option] = _CHOSEN_BY_LIBRARY[option]
        except SpecError as error:
            problems[option] = str(error)
    state = State(**{option: found.get(option, getattr(base, option)) for option in OPTIONS})
    if not state.quant and state.model not in names.native_quants():
        state = replace(state, quant=_DEFAULT.quant)
    if state.roof not in state.hw:
        state = replace(state, roof="")
    return state, problems


def _known(given: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The devices that there are, and what is wrong with the first of the others."""
    known, problem = [], ""
    for name in given[: MOST_DEVICES + 1]:  # the next one is refused, whatever it is
        try:
            known.append(names.hardware(name))
        except SpecError as error:
            problem = problem or str(error)
    return tuple(known), problem


# -- writing ----------------------------------------------------------------------------------------------------------


def words(state: State) -> dict[str, str | tuple[str, ...]]:
    """The words of a state, all of them; '' where the library chooses."""
    return {option: _written(getattr(state, option)) for option in OPTIONS}


def _written(value: Any) -> str | tuple[str, ...]:
    if isinstance(value, tuple):
        return value
    if isinstance(value, bool):
        return "on" if value else "off"
    return "" if value is None else str(value)


def _told(state: State) -> list[tuple[str, str]]:
    """(option, value) of what a link or a command line has to say."""
    found = []
    for option, value in words(state).items():
        if option == "hw":
            found.append((option, ",".join(value)))
        elif isinstance(value, tuple):
            found += [(option, each) for each in value]
        elif value and (option in _ALWAYS or value != _written(getattr(_DEFAULT, option))):
            found.append((option, value))
    return found


def to_query(state: State) -> str:
    """The state as the query of a link, without the question mark: 'hw=rpi5,m2-ultra-76&model=mistral-7b&…'."""
    return "&".join(f"{_dashed(option)}={quote(value, safe=',+=.:')}" for option, value in _told(state))


def from_query(query: str, base: State = _DEFAULT) -> tuple[State, list[str]]:
    """The state that a link shows, and a line for each thing in it that cannot be read. A plus is a plus, no space."""
    text = query.removeprefix("?")
    if len(text) > LONGEST_LINK:
        return base, [f"link: expected at most {LONGEST_LINK} characters, found {len(text)}; it is left out"]
    given: dict[str, str | tuple[str, ...]] = {}
    lines = []
    for part in (part for part in text.split("&") if part):
        key, _, value = part.partition("=")
        option, value = unquote(key).replace("-", "_"), unquote(value)
        if option not in OPTIONS or option.replace("_", "-") != unquote(key):
            lines.append(f"link: expected options such as hw, model and prompt, found {short(unquote(key))}")
        elif option == "set":
            given[option] = (*given.get(option, ()), value)
        elif option in given:
            lines.append(f"link: expected --{_dashed(option)} once, found it twice; the first is taken")
        elif value:
            given[option] = value
    if "quant" not in given and given:
        given["quant"] = ""  # a model that is published in one; the others have a default
    state, problems = read(given, base)
    return state, list(dict.fromkeys([*problems.values(), *lines]))


def to_command(state: State) -> str:
    """The same on the command line: a line for each device."""
    options = []
    for option, value in _told(state):
        if option == "flash_attn":
            options.append("--flash-attn" if value == "on" else "--no-flash-attn")
        elif option not in ("hw", "roof") and (
            option in ("model", "quant") or value != _written(getattr(_DEFAULT, option))
        ):
            options += [f"--{_dashed(option)}", value]
    return "\n".join(shlex.join(["roofline", "predict", "--hw", name, *options]) for name in state.hw)


def _dashed(option: str) -> str:
    return option.replace("_", "-")
