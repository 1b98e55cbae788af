"""The points of a partition as bytes: lines of CSV or JSON, or record batches of Arrow for a Parquet file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from roofline.spec import SpecError
from roofline.sweep.columns import BOUNDS, KEYS, NUMBERS, kind
from roofline.sweep.evaluate import Array, Block, Skip, evaluate
from roofline.sweep.partitions import Partition
from roofline.sweep.request import Request
from roofline.tables import spreadsheet_safe

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["csv", "jsonl", "parquet"]
_WORDS = ("hardware", "model", "quant", "runtime", "backend", "kv")
_POINTS = b"points"
_DIGITS = 7  # of numbers in text: what a float32 holds, as in Parquet


def encode(form: Format, request: Request, partition: Partition) -> tuple[bytes, int, list[Skip]]:
    """A partition worked out: (its bytes, its rows, what of it cannot be predicted)."""
    blocks, skipped = evaluate(request, partition)
    rows = sum(block.points for block in blocks)
    return _ENCODERS[form](blocks, request.columns), rows, skipped


def names(columns: Sequence[str]) -> tuple[str, ...]:
    """All columns of the output in order: what the point is, then what is predicted of it."""
    return (*KEYS, *NUMBERS, *columns)


# -- text -------------------------------------------------------------------------------------------------------------


def _csv(blocks: Sequence[Block], columns: Sequence[str]) -> bytes:
    def begin(key: dict[str, Any]) -> str:
        text = io.StringIO()
        values = ["" if key[name] is None else spreadsheet_safe(key[name]) for name in KEYS]
        csv.writer(text, lineterminator="").writerow(values)
        return text.getvalue() + ","

    return "".join(f"{line}\n" for line in _lines(blocks, columns, begin, _csv_point, ",", "")).encode()


def _csv_point(values: Sequence[int]) -> str:
    return ",".join(map(str, values))


def header(form: Format, columns: Sequence[str]) -> bytes:
    """What stands before the first point in a text file."""
    return f"{','.join(names(columns))}\n".encode() if form == "csv" else b""


def _jsonl(blocks: Sequence[Block], columns: Sequence[str]) -> bytes:
    def begin(key: dict[str, Any]) -> str:
        return json.dumps({name: key[name] for name in KEYS}, ensure_ascii=False)[:-1] + ", "

    def point(values: Sequence[int]) -> str:
        return ", ".join(f'"{name}": {value}' for name, value in zip(NUMBERS, values, strict=True))

    lines = _lines(blocks, columns, begin, point, ", ", "null", label=True)
    return "".join(f"{line}}}\n" for line in lines).encode()


def _lines(
    blocks: Sequence[Block],
    columns: Sequence[str],
    begin: Callable[[dict[str, Any]], str],
    point: Callable[[Sequence[int]], str],
    between: str,
    nothing: str,
    label: bool = False,
) -> Iterator[str]:
    """One line a point: what its block has in common, its place on the axes, its values."""
    for block in blocks:
        points = [point(values) for values in product(*block.axes)]
        for place, quant in enumerate(block.quants):
            common = begin({**block.key, "quant": quant})
            texts = [_texts(name, block, place, nothing, label) for name in columns]
            for values in zip(points, *texts, strict=True):
                yield common + between.join(values)


def _texts(name: str, block: Block, place: int, nothing: str, label: bool) -> list[str]:
    """A column of one quantisation as text, quoted and named for JSON."""
    what = kind(name)
    column = np.empty(block.shape)
    block.put(name, column)
    values, known = column[place].ravel().tolist(), block.known(name)[place].ravel().tolist()
    if what == "bound":
        words = [json.dumps(word) if label else word for word in BOUNDS]
        texts = [words[int(value)] if there else nothing for value, there in zip(values, known, strict=True)]
    elif what == "bool":
        texts = ["true" if value else "false" for value in values]
    else:
        form = ".0f" if what == "bytes" else f".{_DIGITS}g"
        texts = [format(value, form) if there else nothing for value, there in zip(values, known, strict=True)]
    return [f'"{name}": {text}' for text in texts] if label else texts


# -- Arrow ------------------------------------------------------------------------------------------------------------


def arrow() -> Any:
    """The package pyarrow; SpecError names the extra that installs it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise SpecError(
            "--out: expected a .csv or .jsonl file, or the extra 'parquet' (pip install 'roofline[parquet]')"
        ) from None
    return pyarrow


def schema(columns: Sequence[str]) -> pa.Schema:
    """Types of the columns: words from a dictionary, floats of 32 bits, whole bytes of 64."""
    pa = arrow()
    word = pa.dictionary(pa.int16(), pa.string())
    types = {
        "float": pa.float32(),
        "bytes": pa.int64(),
        "bool": pa.bool_(),
        "bound": pa.dictionary(pa.int8(), pa.string()),
    }
    fields = [
        pa.field(name, word if name in _WORDS else pa.int32(), nullable=name == "threads") for name in (*KEYS, *NUMBERS)
    ]
    return pa.schema([*fields, *(pa.field(name, types[kind(name)], nullable=name != "fits") for name in columns)])


def _arrow(blocks: Sequence[Block], columns: Sequence[str]) -> bytes:
    """The predicted columns as an Arrow stream; what the points are stands in its metadata, which `table` reads."""
    pa = arrow()
    points = [{"key": block.key, "quants": block.quants, "axes": block.axes} for block in blocks]
    fields = [schema(columns).field(name) for name in columns]
    form = pa.schema(fields, metadata={_POINTS: json.dumps(points)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, form) as stream:
        if blocks:
            bitmaps: dict[tuple[bool, ...], Any] = {}
            stream.write_batch(pa.record_batch([_values(name, blocks, bitmaps) for name in columns], schema=form))
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def table(payload: bytes, columns: Sequence[str]) -> pa.Table:
    """What `encode` made for Parquet as a table with all columns."""
    pa = arrow()
    with pa.ipc.open_stream(payload) as stream:
        values = stream.read_all()
    form = schema(columns)
    points = json.loads(values.schema.metadata[_POINTS])
    if not points:
        return form.empty_table()
    keys = [_key(name, points, form.field(name).type) for name in KEYS]
    axes = [_axis(place, points, form.field(name).type) for place, name in enumerate(NUMBERS)]
    return pa.table([*keys, *axes, *values.columns], schema=form)


def _key(name: str, points: Sequence[dict[str, Any]], kind: Any) -> pa.Array:
    """A column that is the same for many rows on end."""
    pa = arrow()
    rows = prod(len(values) for values in points[0]["axes"])  # of a quantisation; all blocks have the same
    if name == "quant":
        values = [quant for one in points for quant in one["quants"]]
        lengths = [rows] * len(values)
    else:
        values = [one["key"][name] for one in points]
        lengths = [len(one["quants"]) * rows for one in points]
    words = list(dict.fromkeys(values))
    if pa.types.is_dictionary(kind):
        places = {word: place for place, word in enumerate(words)}
        index = np.repeat(np.array([places[value] for value in values], dtype=np.int16), lengths)
        return pa.DictionaryArray.from_arrays(pa.array(index), pa.array(words, pa.string()))
    missing = np.repeat([value is None for value in values], lengths) if None in words else None
    return pa.array(np.repeat(np.array([value or 0 for value in values], dtype=np.int32), lengths), mask=missing)


def _axis(place: int, points: Sequence[dict[str, Any]], kind: Any) -> pa.Array:
    """One of the numeric axes: within a partition all blocks have the same."""
    axes = points[0]["axes"]
    lengths = [len(values) for values in axes]
    shape = [1] * len(lengths)
    shape[place] = lengths[place]
    grid = np.broadcast_to(np.array(axes[place], dtype=np.int32).reshape(shape), lengths).ravel()
    return arrow().array(np.tile(grid, sum(len(one["quants"]) for one in points)), kind)


def _values(name: str, blocks: Sequence[Block], bitmaps: dict[tuple[bool, ...], Any]) -> pa.Array:
    """A predicted column; what is not known is null. bitmaps: of what is known, which most columns share."""
    pa = arrow()
    what = kind(name)
    types: dict[str, Any] = {"float": np.float32, "bytes": np.float64, "bool": np.bool_, "bound": np.int8}
    values = _joined(blocks, types[what], lambda block, into: block.put(name, into))
    if what == "bool":
        return pa.array(values)
    if what == "bytes":
        values = np.rint(values).astype(np.int64)
    alike = (*(name in block.columns for block in blocks), what == "bytes")
    if alike not in bitmaps:
        known = _joined(blocks, np.bool_, lambda block, into: np.copyto(into, block.known(name)))
        bitmaps[alike] = pa.py_buffer(np.packbits(known, bitorder="little").tobytes())
    kept = [bitmaps[alike], pa.py_buffer(values)]
    stored = pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), kept)
    return pa.DictionaryArray.from_arrays(stored, pa.array(BOUNDS, pa.string())) if what == "bound" else stored


def _joined(blocks: Sequence[Block], kind: Any, put: Callable[[Block, Array], None]) -> Array:
    """One array of all blocks' points, into whose parts `put` writes."""
    values = np.empty(sum(block.points for block in blocks), kind)
    start = 0
    for block in blocks:
        put(block, values[start : start + block.points].reshape(block.shape))
        start += block.points
    return values


_ENCODERS: dict[str, Callable[[Sequence[Block], Sequence[str]], bytes]] = {
    "csv": _csv, "jsonl": _jsonl, "parquet": _arrow,
}  # fmt: skip
