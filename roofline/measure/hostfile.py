"""What was measured as a hardware file: every figure with its basis, date, spread and method."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from roofline import catalog
from roofline.hardware import Hardware
from roofline.measure.bandwidth import KERNELS
from roofline.measure.curve import Curve
from roofline.measure.identity import Identity
from roofline.measure.match import Match
from roofline.measure.roofs import Roofs
from roofline.measure.timing import Samples
from roofline.measure.twin import Twin, twin
from roofline.spec import validate
from roofline.units import format_quantity

WRITTEN_BY = "# Written by `roofline measure`"
HOST = catalog.HOST
_DIGITS = 4


@dataclass
class Tables:
    """The tables of a file, and which sources they cite."""

    tables: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, dict[str, str]] = field(default_factory=dict)


def host_tables(identity: Identity, found: Match, roofs: Roofs, when: date) -> dict[str, Any]:
    """The hardware file of this machine as tables; SpecError when they do not make one."""
    file = Tables()
    whole = catalog.load_hardware(found.name).spec if found.name else None
    file.tables = {
        # Not the processor's own name, or a log that names such a processor would mean two devices.
        "name": f"{identity.board or identity.processor or 'this machine'}, measured ({roofs.cores} cores)",
        "vendor": identity.vendor or "unknown",
        "kind": whole.kind if whole and whole.cpu else "cpu",
        "backends": ["cpu"],
        "memory": _memory(file, identity, whole, roofs, when),
        "cpu": _cpu(file, identity, roofs, when),
        "notes": [{"text": text} for text in (*identity.remarks, *map(str, roofs.disturbances))],
    }
    if not file.tables["notes"]:
        del file.tables["notes"]
    file.tables["sources"] = file.sources
    validate(Hardware, json.loads(json.dumps(file.tables)), "measure")
    return file.tables


def cite(file: Tables, key: str, title: str, when: date) -> str:
    """The key under which a source is listed from now on."""
    file.sources.setdefault(key, {"title": title, "retrieved": when.isoformat()})
    return key


def measured(
    file: Tables, value: float, unit: str, samples: Samples, what: str, roofs: Roofs, when: date
) -> dict[str, str]:
    """A figure from samples, with method and spread in its note."""
    how = "quick" if roofs.quick else "full"
    source = cite(file, "measured", f"roofline measure on this machine, {how} run of {roofs.seconds:.0f} s", when)
    spread = "" if samples.spread is None else f", spread {samples.spread:.0%} (10th to 90th percentile)"
    runs = len(samples.values)
    note = f"{what} {runs} run{'s' * (runs != 1)}{spread}"
    return {"value": format_quantity(value, unit, _DIGITS), "source": source, "basis": "measured", "note": note}


def told(file: Tables, value: float, unit: str, when: date, note: str = "", binary: bool = False) -> dict[str, str]:
    """A figure that the operating system states."""
    source = cite(file, "system", "what the operating system of this machine says", when)
    figure = {"value": format_quantity(value, unit, _DIGITS, binary), "source": source, "basis": "measured"}
    return {**figure, "note": note} if note else figure


# -- memory -----------------------------------------------------------------------------------------------------------


def _memory(file: Tables, identity: Identity, whole: Hardware | None, roofs: Roofs, when: date) -> dict[str, Any]:
    curves = {count: curve for count in roofs.threads if (curve := roofs.curve("read", count))}
    kernel, count, fastest = max(
        (
            (kernel, count, curve)
            for kernel in KERNELS
            for count in roofs.threads
            if (curve := roofs.curve(kernel, count))
        ),
        key=lambda item: item[2].memory.best,
    )
    sockets = identity.sockets or 1
    best = f"best {_pass(kernel, fastest, count)}" + (f", for each of {sockets} sockets" if sockets > 1 else "")
    table: dict[str, Any] = {
        "type": identity.memory_type or (whole.memory.type if whole else "unknown"),
        "bandwidth": measured(
            file, fastest.memory.best / sockets, "B/s", fastest.memory, f"numpy: {best},", roofs, when
        ),
    }
    size = min(identity.memory_bytes or 0, identity.memory_limit or identity.memory_bytes or 0)
    if size:
        note = "limit of the container" if identity.memory_limit else ""
        table["capacity"] = told(file, size, "B", when, note, binary=True)
    table["sustained"] = dict(_sustained(file, curves, roofs, when))
    return table


def _sustained(
    file: Tables, curves: dict[int, Curve], roofs: Roofs, when: date
) -> Iterator[tuple[str, dict[str, str]]]:
    """Medians: by all threads, by each number of threads, the other kernels, and the caches of one core."""
    most = max(curves)
    for count, curve in [(0, curves[most]), *curves.items()]:
        name = "cpu" if not count else f"cpu {count} thread{'s' * (count > 1)}"
        what = f"numpy: median {_pass('read', curve, count or most)},"
        yield name, measured(file, curve.memory.median, "B/s", curve.memory, what, roofs, when)
    for kernel in ("copy", "triad"):
        other = roofs.curve(kernel, most)
        if other is not None:
            what = f"numpy: median {_pass(kernel, other, most)}, bytes counted as STREAM does,"
            yield f"cpu {kernel}", measured(file, other.memory.median, "B/s", other.memory, what, roofs, when)
    for plateau in curves[min(curves)].plateaus[:-1]:
        samples = next(one.samples for one in curves[min(curves)].points if one.working_set == plateau.largest)
        size = format_quantity(plateau.largest, "B", binary=True)
        what = f"numpy: reads of sets up to {size} by one thread; of the largest"
        yield f"cpu 1 core, {size}", measured(file, plateau.rate, "B/s", samples, what, roofs, when)


def _pass(kernel: str, curve: Curve, threads: int) -> str:
    """'read of 4.00 GiB by 2 threads'."""
    size = format_quantity(curve.points[-1].working_set, "B", binary=True)
    return f"{kernel} of {size} by {threads} thread{'s' * (threads != 1)}"


# -- cores ------------------------------------------------------------------------------------------------------------


def _cpu(file: Tables, identity: Identity, roofs: Roofs, when: date) -> dict[str, Any]:
    sockets = identity.sockets or 1
    caches = identity.caches
    table: dict[str, Any] = {"isa": list(identity.isa), "sockets": sockets}
    if identity.microarchitecture:
        table["microarchitecture"] = identity.microarchitecture
    table["threads"] = round(min(identity.threads or roofs.cores, identity.cpu_limit or identity.threads or 1)) or 1
    if identity.numa_nodes:
        table["numa_nodes"] = identity.numa_nodes
    sizes = {"l1d_per_core": caches.l1d_per_core, "l2": (caches.l2 or 0) / sockets, "l3": (caches.l3 or 0) / sockets}
    for name, size in sizes.items():
        if size:
            table[name] = told(file, size, "B", when, binary=True)
    table["clusters"] = _clusters(file, identity, roofs, when)
    table["measured"] = {
        f"{roof.dtype} {'1 core' if roof.threads == 1 else f'{roof.threads} threads'}": measured(
            file, roof.samples.median, "FLOP/s", roof.samples,
            f"{roof.library}: median of products of {roof.size} × {roof.size} matrices,", roofs, when,
        )
        for roof in roofs.matmul
    }  # fmt: skip
    return table


def _clusters(file: Tables, identity: Identity, roofs: Roofs, when: date) -> list[dict[str, Any]]:
    left = roofs.cores // (identity.sockets or 1) or 1  # a container's share
    clusters = []
    for number, seen in enumerate(identity.clusters):
        cores = min(seen.cores, left)
        left -= cores
        if not cores:
            break
        table: dict[str, Any] = {"name": seen.name or "P", "cores": cores}
        table |= _clocks(file, roofs, when) if number == 0 else {}
        for key, clock in (("base", seen.base_clock), ("boost", seen.max_clock)):
            if clock and key not in table and "all_core" not in table:
                table[key] = told(file, clock, "Hz", when)
        same = twin(seen, identity.isa, identity.vendor, HOST)
        if not {"base", "boost", "all_core"} & set(table):
            table |= _clock_of(file, same, when)
        table["per_cycle"] = _rates(file, same, when) if same else _rates_measured(file, table, roofs, when)
        clusters.append(table)
    return clusters


def _clocks(file: Tables, roofs: Roofs, when: date) -> dict[str, dict[str, str]]:
    """The measured clocks: of one core alone, and of all together."""
    table = {}
    for count, samples in roofs.clock.items():
        what = f"a chain of dependent multiplications on {count} core{'s' * (count > 1)}, median"
        if count == 1:
            table["boost"] = measured(file, samples.median, "Hz", samples, what, roofs, when)
        if count == roofs.cores:
            table["all_core"] = measured(file, samples.median, "Hz", samples, what, roofs, when)
    return table


def _clock_of(file: Tables, same: Twin | None, when: date) -> dict[str, dict[str, str]]:
    """A clock that was neither measured nor stated: the same core's in the catalog, else a guess that says so."""
    if same is None or not same.cluster.peak_clock:
        source = cite(file, "guess", "neither measured nor stated by the system", when)
        return {"boost": {"value": "2 GHz", "source": source, "basis": "assumed"}}
    source = _cite_twin(file, same, when)
    value = format_quantity(same.cluster.sustained_clock, "Hz", _DIGITS)
    return {"boost": {"value": value, "source": source, "basis": "derived"}}


def _cite_twin(file: Tables, same: Twin, when: date) -> str:
    kind = "the same core" if same.exact else "a core with the same instruction sets"
    return cite(file, "same core", f"{kind} in the catalog: {same.file}", when)


def _rates(file: Tables, same: Twin, when: date) -> dict[str, dict[str, str]]:
    """Operations per cycle of the same core in the catalog: no library reaches them all, the speed of light does."""
    source = _cite_twin(file, same, when)
    return {
        path: {"value": f"{figure.value:g}", "source": source, "basis": "derived"}
        for path, figure in same.cluster.per_cycle.items()
    }


def _rates_measured(file: Tables, cluster: dict[str, Any], roofs: Roofs, when: date) -> dict[str, dict[str, str]]:
    """Operations per cycle from the fastest product on one core, for a core that the catalog does not have."""
    clock = cluster.get("boost") or cluster.get("all_core") or cluster.get("base")
    if clock is None:
        return {}
    from roofline.spec import Frequency

    hertz = Frequency.model_validate(clock).value
    rates = {}
    for roof in roofs.matmul:
        if roof.threads == 1:
            what = f"{roof.library}: best product on one core by its clock,"
            figure = measured(file, roof.samples.best / hertz, "", roof.samples, what, roofs, when)
            rates[roof.dtype] = {**figure, "value": f"{roof.samples.best / hertz:.4g}"}
    return rates


# -- text -------------------------------------------------------------------------------------------------------------


def to_toml(tables: dict[str, Any], when: date) -> str:
    """Tables as TOML: plain values first, figures as one line each, then the tables below."""
    head = f"{WRITTEN_BY} on {when.isoformat()}; it may be written again. Copy it under another name to edit it.\n"
    return head + "\n".join(_lines(tables, ())) + "\n"


def _lines(table: dict[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    deeper = []
    for key, value in table.items():
        is_table = isinstance(value, dict) and not _is_figure(value)
        if is_table or (isinstance(value, list) and value and isinstance(value[0], dict)):
            deeper.append((key, value))
        else:
            yield f"{_key(key)} = {_value(value)}"
    for key, value in deeper:
        name = ".".join(map(_key, (*path, key)))
        for one in value if isinstance(value, list) else [value]:
            yield ""
            yield f"[[{name}]]" if isinstance(value, list) else f"[{name}]"
            yield from _lines(one, (*path, key))


def _is_figure(table: dict[str, Any]) -> bool:
    return "value" in table


def _key(key: str) -> str:
    return (
        key
        if key.replace("_", "").replace("-", "").isalnum() and key.isascii()
        else json.dumps(key, ensure_ascii=False)
    )


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)
