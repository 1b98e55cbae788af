"""What llama.cpp prints of a model ('qwen3moe 30B.A3B Q4_K - Medium', size, parameters) → catalog ids.

A file name that holds an id or an alias of the catalog decides. Else the family (llama.cpp's architecture) and the
number of parameters do, where they fit one shape only.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from roofline import catalog, quantization, units
from roofline.bench.names import aliases, tables
from roofline.bench.text import shown
from roofline.model import Model
from roofline.spec import SpecError

CLOSE = 0.01  # relative difference between two counts of the same model (RoPE tables and rounding)
NOMINAL = 0.08  # between "7B" and the parameters of a model that is called so
SHORTEST_NAME = 5  # letters and digits of a name that is looked for inside a file name

# Names of file types in llama.cpp (llama_model_ftype_name) that are no plain quantisation names.
_MIXES = {
    "q4_k - medium": "q4_k_m",
    "q4_k - small": "q4_k_s",
    "q5_k - medium": "q5_k_m",
    "q5_k - small": "q5_k_s",
    "q3_k - large": "q3_k_l",
    "q3_k - medium": "q3_k_m",
    "q3_k - small": "q3_k_s",
    "q2_k - medium": "q2_k",
    "q2_k - small": "q2_k_s",
    "iq3_s mix": "iq3_m",
    "mxfp4 moe": "mxfp4",
}
_TAIL = re.compile(r"\s*(?:-\s*[\d.]+\s*bpw(?:\s*ternary)?|\(guessed\))\s*$", re.I)
_TYPE = re.compile(
    r"""(?:^|\s)(?:mostly\s+|all\s+)?(
        i?q\d+_k\s-\s(?:small|medium|large) | iq3_s\smix | mxfp4(?:\smoe)? | nvfp4 | bf16(?:_r16)? | f16 | f32
        | i?q\d+(?:_[a-z0-9]+){0,3} | tq\d_\d )\s*$""",
    re.I | re.X,
)
_IN_FILE = re.compile(
    r"(?<![a-z0-9])((?:ud-)?i?q\d(?:_[a-z0-9]{1,3}){1,3}|tq\d_\d|bf16|fp16|f16|f32|mxfp4|nvfp4)(?![a-z0-9])", re.I
)
_SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*([BM])", re.I)
_MANY = {"B": "G", "M": "M"}  # llama.cpp counts parameters in billions, a unit prefix says giga


class Label(NamedTuple):
    """A model type of llama.cpp in its parts: 'llama', '7B', 'Q4_0'."""

    family: str
    size: str
    type: str


def label(text: str) -> Label:
    """The parts of a model type; "" for what it does not hold."""
    rest = " ".join(text[:200].split())
    while _TAIL.search(rest):
        rest = _TAIL.sub("", rest)
    match = _TYPE.search(rest)
    if match:
        rest = rest[: match.start()].strip()
    family, _, size = rest.partition(" ")
    return Label(family.lower(), size.strip(), match[1] if match else "")


def quant_id(file_type: str) -> str | None:
    """The quantisation that llama.cpp calls `file_type`, None where it names none of ours."""
    kept = " ".join(file_type.lower().split())
    try:
        return quantization.get(_MIXES.get(kept, kept)).id if kept else None
    except SpecError:
        return None


def quant_of(model_type: str, file: str = "") -> str:
    """The quantisation of a row: the file's stated type; a file name's where it says more (Unsloth's dynamic mixes)."""
    stated = quant_id(label(model_type).type)
    named = [found for part in _IN_FILE.findall(_stem(file).replace(".", "-")) if (found := quant_id(part))]
    if named and (stated is None or named[-1].startswith("ud-")):
        return named[-1]
    if stated is None:
        raise SpecError(f"expected a file type such as 'Q4_0', found {shown(model_type)}; give --quant")
    return stated


def _stem(file: str) -> str:
    name = PurePosixPath(file[-500:].replace("\\", "/")).name
    return re.sub(r"-\d{5}-of-\d{5}$", "", name.removesuffix(".gguf"))


def parameters(text: str) -> float | None:
    """'6.74 B' → 6.74e9; a plain number as it is; None for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e\+?\d+)?)\s*([BMT]?)\s*", text[:40], re.I)
    if not match:
        return None
    return float(match[1]) * units.SI_PREFIXES[{"": "", "B": "G", "M": "M", "T": "T"}[match[2].upper()]]


def model_id(model_type: str, count: float | None = None, file: str = "") -> str:
    """The catalog id by file name, else by family and number of parameters; SpecError asks for --model."""
    roots = tuple(catalog.directories("models"))
    answer = _model_id(model_type[:200], count, _stem(file), roots)
    if isinstance(answer, str):
        return answer
    may_be = f", which may be {', '.join(answer[:6])}" if answer else ""
    size = f" with {count:.4g} parameters" if count else ""
    raise SpecError(f"expected a model of the catalog, found {shown(model_type or file)}{size}{may_be}; give --model")


@lru_cache(maxsize=2048)
def _model_id(model_type: str, count: float | None, stem: str, roots: tuple[Path, ...]) -> str | tuple[str, ...]:
    """The id, or what it may be."""
    by_name = _named_in(stem, roots)
    if by_name and (count is None or fits(by_name, count)):
        return by_name
    parts = label(model_type)
    family = {name: model for name, model in _models(roots).items() if model.architecture.lower() == parts.family}
    wanted, tolerance = count, CLOSE
    if wanted is None:
        wanted, tolerance = nominal(parts.size), NOMINAL
    if wanted is None:
        return tuple(family)
    near = {name: _miss(model, wanted) for name, model in family.items() if _miss(model, wanted) < tolerance}
    if count is not None:
        exact = {name for name in near if _prints_as(family[name], count)}
        near = {name: miss for name, miss in near.items() if name in exact or not exact}
    shapes = {_shape(family[name]) for name in near}
    if len(shapes) == 1:
        return min(near, key=_plainest)
    return tuple(near)


def _miss(model: Model, wanted: float) -> float:
    """Relative difference of parameters, with what a file may hold beyond the shape counted or not."""
    counts = [float(model.parameter_count), *([model.parameters.value] if model.parameters else [])]
    return min(abs(count / wanted - 1) for count in counts)


def _prints_as(model: Model, count: float) -> bool:
    """Whether `count` is this model's number of parameters as exactly as it was printed: '7.24 B' has two decimals."""
    step = 1e7 if count % 1e7 == 0 else 1e4 if count % 1e4 == 0 else max(1.0, count / 1e5)
    counts = [float(model.parameter_count), *([model.parameters.value] if model.parameters else [])]
    return any(abs(known - count) <= step / 2 for known in counts)


def fits(identity: str, count: float, tolerance: float = 0.03) -> bool:
    """Whether a catalog model has about `count` parameters."""
    return _miss(catalog.load_model(identity).spec, count) < tolerance


def nominal(size: str) -> float | None:
    """'7B' → 7e9, '30B.A3B' → 30e9, '270M' → 270e6."""
    match = _SIZE.match(size)
    value = float(match[1]) * units.SI_PREFIXES[_MANY[match[2].upper()]] if match else 0.0
    return value or None


def _plainest(identity: str) -> tuple[int, list[float]]:
    """Of models with one shape, the one with the fewest words in its name, then the newest version."""
    return identity.count("-"), [-float(number) for number in re.findall(r"\d+(?:\.\d+)?", identity)]


def _shape(model: Model) -> tuple[object, ...]:
    blocks = tuple(sorted((name, repr(block)) for name, block in model.blocks.items()))
    return (model.architecture, model.vocab, model.hidden, model.layers, model.tied_embeddings, model.order, blocks)


@lru_cache(maxsize=4)
def _models(_roots: tuple[Path, ...]) -> dict[str, Model]:
    found = {}
    for identity in tables("models"):
        try:
            found[identity] = catalog.load_model(identity).spec
        except SpecError:
            continue  # a broken file of the user's own is told by the command that uses it
    return found


@lru_cache(maxsize=4)
def _spellings(_roots: tuple[Path, ...]) -> dict[str, str]:
    """Every id and alias in its normal form, longest first."""
    pairs = {
        catalog.normalise(spelling): identity
        for identity, table in tables("models").items()
        for spelling in [identity, *aliases(table)]
    }
    return {form: pairs[form] for form in sorted(pairs, key=len, reverse=True) if len(form) >= SHORTEST_NAME}


def _named_in(stem: str, roots: tuple[Path, ...]) -> str | None:
    """The model whose id or alias begins a word of a file name: the longest such."""
    if not stem:
        return None
    words = [word for word in re.split(r"[^a-z0-9]+", stem.lower()) if word]
    starts = {"".join(words[index:]) for index in range(len(words))}
    for form, identity in _spellings(roots).items():
        if any(_begins(start, form) for start in starts):
            return identity
    return None


def _begins(text: str, form: str) -> bool:
    return text.startswith(form) and not (text[len(form) : len(form) + 1].isdigit() and form[-1].isdigit())
