"""Read a GGUF file's header and tensor table; the weights themselves are never touched and may be absent.

``gguf.GGUFReader`` maps the weights of every tensor, so it fails on a file without them; it builds several numpy
arrays for each vocabulary entry (seconds for 50 000 tokens); and it trusts the counts it reads. This reader takes only
the constants of the ``gguf`` package (magic, versions, type numbers, block sizes) and walks the header itself: every
count and length is compared with what is left of the file before anything is read or allocated, large arrays are
stepped over, and what is kept is capped. Time and memory are bounded by the size of the header that is really there.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Checks on offsets and types follow
``ggml/src/gguf.cpp`` of llama.cpp, so that a file accepted here is one that llama.cpp accepts.
"""

from __future__ import annotations

import math
import mmap
import re
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

from roofline.quantization.layouts import LAYOUTS
from roofline.spec import SpecError
from roofline.tensor import Tensor

# Far above every published file (about 100 keys, 20 000 tensors, 300 000 tokens), far below what hurts.
MAX_KEYS = 10_000
MAX_TENSORS = 100_000
MAX_STRINGS = 5_000_000  # entries of all string arrays together
MAX_KEY_BYTES = 1_024
MAX_NAME_BYTES = 128
MAX_TEXT_BYTES = 4_096  # longer texts (chat templates) are stepped over
MAX_KEPT_ELEMENTS = 1_024  # longer arrays are stepped over; per-layer arrays are shorter
MAX_DIMENSIONS = 4  # GGML_MAX_DIMS
MAX_ELEMENTS = 10**15  # of one tensor; the largest published models have 10¹² in all
MAX_ALIGNMENT = 1 << 20
MAX_FILES = 1_000  # of a split model

#: Type numbers that only ik_llama.cpp writes (its ggml/include/ggml.h); the gguf package does not know them.
IK_TYPES = {
    133: "q6_0", 134: "iq1_bn", 135: "iq2_bn", 137: "iq2_k", 138: "iq3_k", 139: "iq4_k", 140: "iq5_k", 141: "iq6_k",
    144: "iq4_ks", 145: "iq2_ks", 146: "iq4_kss", 152: "iq5_ks", 153: "iq2_kt", 154: "iq3_kt", 155: "iq4_kt",
    156: "iq3_ks", 157: "iq2_kl", 158: "iq1_kt",
}  # fmt: skip

_NAME = re.compile(r"(?:blk\.(\d{1,9})\.)?(.+?)(?:\.(weight|bias))?", re.DOTALL)
_EXPERT = re.compile(r"ffn_(gate|up|down)\.\d+")
_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf", re.DOTALL)

#: One stored tensor serves several roles: newer files fuse what the block formulas keep apart, older files the reverse.
_ROLES_OF = {
    "attn_kv_b": ("attn_k_b", "attn_v_b"),
    "ffn_gate_up_exps": ("ffn_gate_exps", "ffn_up_exps"),
    "ssm_ba": ("ssm_beta", "ssm_alpha"),
}

Scalar = int | float | bool | str


@dataclass(frozen=True, slots=True)
class Omitted:
    """A metadata value that is not kept: what it holds and how much ('string', 49152 elements; 'text', 9000 bytes)."""

    kind: str
    length: int


Value = Scalar | tuple[int | float | bool, ...] | Omitted


@dataclass(frozen=True, slots=True)
class StoredTensor(Tensor):
    """A tensor of the table.

    type: storage type in lower case ('q4_k'). offset: from the start of its file's data section [B].
    size_bytes: what it occupies, padding excluded [B].
    """

    type: str
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class TypeShare:
    """All tensors of one storage type: how many [1], their elements [1] and bytes [B]."""

    type: str
    tensors: int
    elements: int
    size_bytes: int

    @property
    def bits_per_weight(self) -> float:
        """Storage per weight [bit]."""
        return 8.0 * self.size_bytes / self.elements


@dataclass(frozen=True)
class GgufFile:
    """What the header of a GGUF file says, or the headers of all files of a split model together.

    file_bytes: sizes of the files on disk [B]. missing_bytes: tensor data the table announces and the files lack [B].
    metadata: scalars, texts and short arrays by key; `Omitted` for the rest. alignment: of tensor data [B].
    data_begin: where the tensor data of the first file begin [B]. is_big_endian: whether its numbers are stored so.
    """

    path: Path
    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[StoredTensor, ...]
    file_bytes: int
    missing_bytes: int
    alignment: int
    files: tuple[Path, ...]
    data_begin: int = 0
    is_big_endian: bool = False

    @property
    def architecture(self) -> str:
        """``general.architecture`` ('llama'), '' if it is missing."""
        found = self.metadata.get("general.architecture")
        return found if isinstance(found, str) else ""

    @property
    def name(self) -> str:
        """``general.name`` in printable characters, or the file's name without suffix."""
        found = self.metadata.get("general.name")
        text = "".join(char for char in found if char.isprintable()).strip()[:100] if isinstance(found, str) else ""
        return text or self.path.stem

    @cached_property
    def file_type(self) -> str:
        """The recipe the file says it was made with ('q4_k_m'), '' if unknown. The tensors may differ from it."""
        from gguf.constants import LlamaFileType

        number = self.metadata.get("general.file_type")
        names = {int(kind): kind.name for kind in LlamaFileType}
        name = names.get(number, "") if isinstance(number, int) else ""
        return name.removeprefix("ALL_").removeprefix("MOSTLY_").lower()

    @property
    def weights(self) -> Literal["complete", "partial", "absent"]:
        """Whether the files hold the tensor data; a sparse file of full length counts as complete."""
        if self.missing_bytes == 0:
            return "complete"
        return "absent" if self.missing_bytes >= self.weight_bytes else "partial"

    @cached_property
    def parameter_count(self) -> int:
        """Elements of all tensors [1]."""
        return sum(tensor.elements for tensor in self.tensors)

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of all tensors, padding excluded [B]."""
        return sum(tensor.size_bytes for tensor in self.tensors)

    @property
    def bits_per_weight(self) -> float:
        """Mean storage per weight [bit]; 0 of a file without tensors, such as a vocabulary."""
        return 8.0 * self.weight_bytes / self.parameter_count if self.tensors else 0.0

    @cached_property
    def by_type(self) -> tuple[TypeShare, ...]:
        """Tensors gathered by storage type, most bytes first."""
        gathered: dict[str, list[StoredTensor]] = {}
        for tensor in self.tensors:
            gathered.setdefault(tensor.type, []).append(tensor)
        shares = [
            TypeShare(kind, len(group), sum(t.elements for t in group), sum(t.size_bytes for t in group))
            for kind, group in gathered.items()
        ]
        return tuple(sorted(shares, key=lambda share: -share.size_bytes))

    @cached_property
    def types_by_role(self) -> dict[tuple[str, int | None], str]:
        """Storage type of each (role, layer): ('attn_v', 3) → 'q6_k', ('token_embd', None) → 'q8_0'."""
        types: dict[tuple[str, int | None], str] = {}
        for tensor in self.tensors:
            for role in (tensor.role, *_ROLES_OF.get(tensor.role, ())):
                types.setdefault((role, tensor.layer), tensor.type)
        return types


def read_gguf(path: Path) -> GgufFile:
    """The header of ``path``, and of the sibling files if it is one of a split model.

    Raises SpecError with one line (file, field, expected, found) for anything that is no sound GGUF header.
    """
    first = _read_one(path)
    return _read_siblings(path, first) if "split.count" in first.metadata else first


def read_parts(path: Path) -> tuple[GgufFile, ...]:
    """The headers of all files of the model in ``path``, each with the tensors that it holds itself."""
    whole = read_gguf(path)
    return (whole,) if len(whole.files) == 1 else tuple(_read_one(part) for part in whole.files)


def role_of(name: str) -> tuple[str, int | None]:
    """Role and block index of a tensor name: 'blk.3.attn_v.weight' → ('attn_v', 3).

    A bias has the role of its matrix with '_bias'. Experts in a tensor each ('blk.0.ffn_up.7.weight', files of 2023)
    have the role of the tensor that gathers them in newer files, 'ffn_up_exps'.
    """
    match = _NAME.fullmatch(name)
    if match is None:  # only the empty name
        return name, None
    role = match[2]
    if expert := _EXPERT.fullmatch(role):
        role = f"ffn_{expert[1]}_exps"
    if match[3] == "bias" and role != "exp_probs_b":  # that one is a bias by name already
        role += "_bias"
    return role, None if match[1] is None else int(match[1])


def shown(name: str) -> str:
    """A name from the file as it may stand in a message: one line, nothing that reaches a terminal."""
    return name if name.isprintable() else ascii(name)[1:-1]


@dataclass(frozen=True, slots=True)
class _Type:
    """A storage type's block: weights [1], bytes [B], and bytes stored once a row [B]."""

    name: str
    weights: int
    size: int
    row_extra: int = 0


@lru_cache(maxsize=1)
def storage_types() -> dict[int, _Type]:
    """Every storage type by its number in the file: ggml's from the gguf package, then those of ik_llama.cpp."""
    from gguf.constants import GGML_QUANT_SIZES

    types = {int(kind): _Type(kind.name.lower(), *size) for kind, size in GGML_QUANT_SIZES.items()}
    for number, name in IK_TYPES.items():
        block = LAYOUTS[name]
        types.setdefault(number, _Type(name, block.block_weights, int(block.block_bytes), block.row_extra))
    return types


def _read_one(path: Path) -> GgufFile:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device would block or never end
            raise SpecError(f"{path}: expected a GGUF file, found no regular file")
        with path.open("rb") as file:
            if status.st_size < 4:
                raise SpecError(f"{path}: magic: expected 'GGUF', found a file of {status.st_size} bytes")
            with mmap.mmap(file.fileno(), status.st_size, access=mmap.ACCESS_READ) as data:
                return _Walk(path, data, status.st_size).file()
    except SpecError:
        raise
    except (OSError, ValueError) as error:  # ValueError: the file shrank between the two calls
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SpecError(f"{path}: expected a readable GGUF file, found: {reason}") from None


def _read_siblings(path: Path, first: GgufFile) -> GgufFile:
    """The split model that ``path`` is a part of, as one; the first part holds the metadata."""
    count = first.metadata["split.count"]
    if not isinstance(count, int) or not 1 <= count <= MAX_FILES:
        raise SpecError(f"{path}: split.count: expected 1 to {MAX_FILES} files, found {count!r}")
    if count == 1:
        return first
    match = _SHARD.fullmatch(path.name)
    if match is None or int(match[3]) != count:
        raise SpecError(f"{path}: split.count: expected a file named …-00001-of-{count:05}.gguf, found {path.name!r}")
    paths = [path.with_name(f"{match[1]}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1)]
    for sibling in paths:
        if not sibling.is_file():
            raise SpecError(f"{path}: split.count: expected all {count} files beside it, found no {sibling.name}")
    parts = [first if sibling == path else _read_one(sibling) for sibling in paths]
    tensors = tuple(tensor for part in parts for tensor in part.tensors)
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise SpecError(f"{path}: tensors: expected each name in one of the {count} files, found one twice")
    announced = parts[0].metadata.get("split.tensors.count", len(tensors))
    if announced != len(tensors):
        raise SpecError(f"{path}: split.tensors.count: expected {announced!r} tensors in all, found {len(tensors)}")
    return replace(
        parts[0],
        path=path,
        tensors=tensors,
        file_bytes=sum(part.file_bytes for part in parts),
        missing_bytes=sum(part.missing_bytes for part in parts),
        files=tuple(paths),
    )


class _Walk:
    """One pass over a header, front to back. Every read is checked against the end of the file before it happens."""

    def __init__(self, path: Path, data: mmap.mmap, size: int) -> None:
        self.path, self.data, self.size = path, data, size
        self.at = 0
        self.order = "<"
        self.strings_left = MAX_STRINGS

    def wrong(self, field: str, expected: str, found: object) -> SpecError:
        """The one line. Callers pass the file's own texts through repr, which escapes what could reach a terminal."""
        return SpecError(f"{self.path}: {field}: expected {expected}, found {str(found)[:100]}")

    def file(self) -> GgufFile:
        """The whole header."""
        from gguf.constants import GGUF_DEFAULT_ALIGNMENT

        version = self.version()
        tensor_count = self.count("tensor count", 24, MAX_TENSORS)
        key_count = self.count("metadata count", 13, MAX_KEYS)
        metadata: dict[str, Value] = {}
        for number in range(key_count):
            key = self.text(f"metadata key {number}", MAX_KEY_BYTES)
            if key in metadata:
                raise self.wrong(f"metadata key {key[:60]!r}", "each key once", "it twice")
            metadata[key] = self.value(shown(key[:60]))
        alignment = metadata.get("general.alignment", GGUF_DEFAULT_ALIGNMENT)
        if type(alignment) is not int or not 1 <= alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
            raise self.wrong("general.alignment", f"a power of two up to {MAX_ALIGNMENT}", repr(alignment))
        tensors = self.tensors(tensor_count, alignment)
        begin = -(-self.at // alignment) * alignment
        stored = max(0, self.size - begin)
        missing = sum(min(t.size_bytes, max(0, t.offset + t.size_bytes - stored)) for t in tensors)
        size, big = self.size, self.order == ">"
        return GgufFile(self.path, version, metadata, tensors, size, missing, alignment, (self.path,), begin, big)

    def version(self) -> int:
        """Magic and version; the version's byte order is the file's."""
        from gguf.constants import GGUF_MAGIC, GGUF_VERSION

        self.need(4, "magic")
        magic = struct.pack("<I", GGUF_MAGIC)
        if self.data[:4] != magic:
            raise self.wrong("magic", repr(magic.decode()), repr(self.data[:4]))
        self.at = 4
        version = self.number("I", "version")
        if version & 0xFFFF == 0 and version:
            self.order, self.at = ">", 4
            version = self.number("I", "version")
        if version not in (2, GGUF_VERSION):
            raise self.wrong("version", f"2 or {GGUF_VERSION}", version)
        return version

    def need(self, count: int, field: str) -> None:
        """At least ``count`` more bytes."""
        if count > self.size - self.at:
            raise self.wrong(field, f"{count} more bytes", f"the end of the file after {self.size - self.at}")

    def number(self, code: str, field: str) -> int:
        """One integer of a struct code."""
        layout = struct.Struct(self.order + code)
        self.need(layout.size, field)
        (value,) = layout.unpack_from(self.data, self.at)
        self.at += layout.size
        return int(value)

    def count(self, field: str, smallest: int, limit: int) -> int:
        """A number of things of at least ``smallest`` bytes each."""
        value = self.number("Q", field)
        if value > limit:
            raise self.wrong(field, f"at most {limit}", value)
        if value * smallest > self.size - self.at:
            raise self.wrong(field, f"at most what {self.size - self.at} more bytes hold", value)
        return value

    def text(self, field: str, limit: int) -> str:
        """A name in UTF-8 of at most ``limit`` bytes."""
        length = self.number("Q", field)
        if length > limit:
            raise self.wrong(field, f"at most {limit} bytes", length)
        self.need(length, field)
        raw = self.data[self.at : self.at + length]
        self.at += length
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self.wrong(field, "UTF-8", repr(raw)) from None

    def value(self, field: str) -> Value:
        """One metadata value of any type."""
        kind = self.number("I", field)
        if kind in _CODES:
            return self.numbers(kind, 1, field)[0]
        if kind == _STRING:
            length = self.number("Q", field)
            self.need(length, field)
            start, self.at = self.at, self.at + length
            if length > MAX_TEXT_BYTES:
                return Omitted("text", length)
            return self.data[start : self.at].decode("utf-8", errors="replace")
        if kind != _ARRAY:
            raise self.wrong(field, f"a value type from 0 to {max(_CODES)}", kind)
        element = self.number("I", field)
        length = self.number("Q", field)
        if element == _STRING:
            self.skip_strings(length, field)
            return Omitted("string", length)
        if element not in _CODES:
            raise self.wrong(field, "an array of numbers or strings", f"one of value type {element}")
        size = struct.calcsize("<" + _CODES[element])
        if length > (self.size - self.at) // size:
            raise self.wrong(field, f"at most the {self.size - self.at} bytes left", f"{length} elements of {size}")
        if length > MAX_KEPT_ELEMENTS:
            self.at += length * size
            return Omitted(_NAMES[element], length)
        return self.numbers(element, length, field)

    def numbers(self, kind: int, length: int, field: str) -> tuple[int | float | bool, ...]:
        """``length`` finite numbers."""
        layout = struct.Struct(f"{self.order}{length}{_CODES[kind]}")
        self.need(layout.size, field)
        values = layout.unpack_from(self.data, self.at)
        self.at += layout.size
        for value in values:
            if isinstance(value, float) and not math.isfinite(value):
                raise self.wrong(field, "a finite number", value)
        return values

    def skip_strings(self, length: int, field: str) -> None:
        """Step over ``length`` strings, reading only their lengths."""
        if length > self.strings_left:
            raise self.wrong(field, f"at most {self.strings_left} strings", length)
        if length * 8 > self.size - self.at:
            raise self.wrong(field, f"at most what {self.size - self.at} more bytes hold", f"{length} strings")
        self.strings_left -= length
        read = struct.Struct(self.order + "Q").unpack_from
        data, at, last = self.data, self.at, self.size - 8
        for number in range(length):
            if at > last:
                raise self.wrong(field, f"{length} strings", f"the end of the file at string {number}")
            at += 8 + read(data, at)[0]
        if at > self.size:
            raise self.wrong(field, f"{length} strings", "the end of the file in the last")
        self.at = at

    def tensors(self, count: int, alignment: int) -> tuple[StoredTensor, ...]:
        """The tensor table. Offsets follow each other without gap, as llama.cpp demands."""
        table: dict[str, StoredTensor] = {}
        end = 0
        for number in range(count):
            name = self.text(f"tensor {number}", MAX_NAME_BYTES)
            tensor = self.tensor(name, shown(name))
            if name in table:
                raise self.wrong(f"tensor {number}", "each name once", repr(name))
            if tensor.offset != end:
                raise self.wrong(f"{shown(name)}: offset", f"{end}, the end of the tensor before", tensor.offset)
            table[name] = tensor
            end = -(-(end + tensor.size_bytes) // alignment) * alignment
        return tuple(table.values())

    def tensor(self, name: str, field: str) -> StoredTensor:
        """One row of the table: dimensions, type and offset."""
        dimensions = self.number("I", f"{field}: dimensions")
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            raise self.wrong(f"{field}: dimensions", f"1 to {MAX_DIMENSIONS}", dimensions)
        shape = tuple(self.number("Q", f"{field}: shape") for _ in range(dimensions))
        elements = math.prod(shape)
        if not 1 <= elements <= MAX_ELEMENTS:
            raise self.wrong(f"{field}: shape", f"1 to {MAX_ELEMENTS} elements", " × ".join(map(str, shape)))
        number = self.number("I", f"{field}: type")
        kind = storage_types().get(number)
        if kind is None:
            raise self.wrong(f"{field}: type", "the number of a ggml storage type", number)
        if shape[0] % kind.weights:
            raise self.wrong(f"{field}: shape", f"rows of a multiple of {kind.weights} for {kind.name}", shape[0])
        offset = self.number("Q", f"{field}: offset")
        role, layer = role_of(name)
        size = elements // shape[0] * (shape[0] // kind.weights * kind.size + kind.row_extra)
        return StoredTensor(name, role, layer, shape, kind.name, offset, size)


# Value types of metadata, by the number in the file: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A test
# compares them with gguf.GGUFValueType.
_NAMES = {
    0: "uint8", 1: "int8", 2: "uint16", 3: "int16", 4: "uint32", 5: "int32", 6: "float32", 7: "bool", 10: "uint64",
    11: "int64", 12: "float64",
}  # fmt: skip
_CODES = dict(zip(_NAMES, "BbHhIif?Qqd", strict=True))
_STRING, _ARRAY = 8, 9
