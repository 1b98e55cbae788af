"""What a measurement says: the machine, its roofs, how sure, what disturbed them and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from roofline.measure.accelerator import AcceleratorRoof
from roofline.measure.gpufile import Card
from roofline.measure.hostfile import HOST
from roofline.measure.identity import Identity
from roofline.measure.match import Match
from roofline.measure.matmul import Unmeasured
from roofline.measure.roofs import Roofs
from roofline.tables import Format, printable, render, to_json
from roofline.units import format_quantity

SCHEMA = "roofline.measure/1"
_ROOF_COLUMNS = ("roof", "threads", "working_set_bytes", "measured", "best_measured", "spread", "runs")
_CARD_COLUMNS = ("hardware", "roof", "working_set_bytes", "measured", "best_measured", "spread", "runs", "note")
_FACT_COLUMNS = ("field", "value")


def identity_facts(identity: Identity, found: Match) -> list[dict[str, str]]:
    """What this machine is, a line for each fact that is known."""
    caches = identity.caches
    clusters = " + ".join(f"{one.cores} {one.name} ({one.microarchitecture or 'unknown'})" for one in identity.clusters)
    facts: list[tuple[str, Any]] = [
        ("system", identity.system),
        ("board", identity.board),
        ("processor", identity.processor),
        ("cores", f"{clusters}{f' × {identity.sockets} sockets' if (identity.sockets or 1) > 1 else ''}"),
        ("logical CPUs", identity.threads),
        ("NUMA nodes", identity.numa_nodes),
        ("instruction sets", " ".join(identity.isa)),
        ("L1d a core", _size(caches.l1d_per_core)),
        ("L2", _size(caches.l2)),
        ("L3", _size(caches.l3)),
        ("memory", " ".join(filter(None, (_size(identity.memory_bytes), identity.memory_type)))),
        ("transfer rate", identity.memory_transfer_rate and format_quantity(identity.memory_transfer_rate, "T/s", 4)),
        ("governor", identity.governor),
        ("power", identity.power_source),
        ("virtual machine", identity.virtual),
        ("container", identity.container),
        ("CPU limit", identity.cpu_limit and f"{identity.cpu_limit:g}"),
        ("memory limit", _size(identity.memory_limit)),
        *(("GPU", f"{gpu.name}, {_size(gpu.memory_bytes) or 'memory unknown'}") for gpu in identity.gpus),
        ("in the catalog", found.name or "no"),
        ("because", found.why),
        ("could be", ", ".join(found.candidates) if found.name is None else ""),
        *(("remark", remark) for remark in identity.remarks),
    ]
    return [{"field": name, "value": printable(str(value))} for name, value in facts if value not in (None, "", 0)]


def _size(size: int | None) -> str:
    return format_quantity(size, "B", binary=True) if size else ""


def identity_report(identity: Identity, found: Match, form: Format) -> str:
    """The facts of a machine in a format."""
    if form == "json":
        return to_json({"schema": SCHEMA, "identity": asdict(identity), "match": {**asdict(found), "name": found.name}})
    return render(identity_facts(identity, found), _FACT_COLUMNS, form)


def roof_rows(roofs: Roofs) -> list[dict[str, Any]]:
    """A row for each roof: rates in words of their unit, since units differ."""
    rows = [_row("clock", count, None, samples, "Hz") for count, samples in roofs.clock.items()]
    for kernel in ("read", "copy", "triad"):
        for count in roofs.threads:
            curve = roofs.curve(kernel, count)
            if curve is None:
                continue
            if kernel == "read":
                rows += [
                    {"roof": "cache read", "threads": count, "working_set_bytes": one.largest,
                     "measured": format_quantity(one.rate, "B/s")}
                    for one in curve.plateaus[:-1]
                ]  # fmt: skip
            rows.append(_row(f"memory {kernel}", count, curve.points[-1].working_set, curve.memory, "B/s"))
    for roof in roofs.matmul:
        size = f" ({roof.library.split(',')[0]})"
        rows.append(_row(f"{roof.dtype} product{size}", roof.threads, None, roof.samples, "FLOP/s"))
    return rows


def _row(name: str, threads: int, size: float | None, samples: Any, unit: str) -> dict[str, Any]:
    return {
        "roof": name,
        "threads": threads,
        "working_set_bytes": size,
        "measured": format_quantity(samples.median, unit),
        "best_measured": format_quantity(samples.best, unit),
        "spread": samples.spread,
        "runs": len(samples.values),
    }


def card_rows(cards: Sequence[Card]) -> list[dict[str, Any]]:
    """A row for each roof of a graphics processor, with its share of what the catalog says of such a card."""
    rows = []
    for card in cards:
        for roof in card.roofs.roofs:
            product = roof.what == "matmul"
            name = f"{roof.dtype} product, {int(roof.size)} × {int(roof.size)}" if product else roof.what
            unit = "FLOP/s" if product else "B/s"
            row = _row(name, 1, None if product else roof.size, roof.samples, unit)
            rows.append({**row, "hardware": card.id, "threads": None, "note": _of_the_datasheet(card, roof, unit)})
    return rows


def _of_the_datasheet(card: Card, roof: AcceleratorRoof, unit: str) -> str:
    stated = card.stated(roof)
    return f"{roof.samples.median / stated:.1%} of {format_quantity(stated, unit)}" if stated else ""


def _card_record(card: Card) -> dict[str, Any]:
    """A graphics processor with its roofs; rates in B/s and FLOP/s."""
    roofs = [
        {"what": roof.what, "dtype": roof.dtype or None, "size": roof.size, "median": roof.samples.median,
         "best": roof.samples.best, "spread": roof.samples.spread, "runs": len(roof.samples.values),
         "unit": "FLOP/s" if roof.what == "matmul" else "B/s", "datasheet": stated,
         "share_of_datasheet": roof.samples.median / stated if stated else None}
        for roof in card.roofs.roofs
        for stated in (card.stated(roof),)
    ]  # fmt: skip
    return {
        "id": card.id, "name": card.seen.name, "count": card.count, "in_the_catalog": card.known and card.known.id,
        "backend": card.backend, "driver": card.seen.driver, "library": card.roofs.library, "roofs": roofs,
    }  # fmt: skip


def report(
    identity: Identity, found: Match, roofs: Roofs, cards: Sequence[Card], missing_cards: Sequence[Unmeasured],
    form: Format,
) -> str:  # fmt: skip
    """A measurement in a format. missing_cards: what was not measured of the graphics processors."""
    rows = roof_rows(roofs)
    disturbed = [asdict(one) for one in roofs.disturbances]
    unmeasured = (*roofs.unmeasured, *missing_cards)
    missing = [asdict(one) for one in unmeasured]
    if form == "json":
        facts = {"identity": asdict(identity), "match": {**asdict(found), "name": found.name}}
        points = [
            {"kernel": point.kernel, "threads": point.threads, "working_set_bytes": point.working_set,
             "median_bytes_s": point.samples.median, "best_bytes_s": point.samples.best,
             "spread": point.samples.spread}
            for point in roofs.points
        ]  # fmt: skip
        products = [
            {"dtype": roof.dtype, "threads": roof.threads, "library": roof.library, "size": roof.size,
             "median_flop_s": roof.samples.median, "best_flop_s": roof.samples.best, "spread": roof.samples.spread}
            for roof in roofs.matmul
        ]  # fmt: skip
        clock = {str(count): samples.median for count, samples in roofs.clock.items()}
        return to_json(
            {
                "schema": SCHEMA, **facts, "clock_hz": clock, "bandwidth": points, "matmul": products,
                "gpus": [_card_record(card) for card in cards],
                "disturbances": disturbed, "not_measured": missing, "quick": roofs.quick, "seconds": roofs.seconds,
            }
        )  # fmt: skip
    if form == "csv":
        both = [{"hardware": HOST, **row} for row in rows] + card_rows(cards)
        return render(both, ("hardware", *_ROOF_COLUMNS, "note"), "csv")
    mark = "## " if form == "md" else ""
    sections = [
        ("This machine", render(identity_facts(identity, found), _FACT_COLUMNS, form)),
        ("Roofs", render(rows, _ROOF_COLUMNS, form)),
    ]
    if cards:
        sections.append(("Graphics processor", render(card_rows(cards), _CARD_COLUMNS, form)))
    lines = [f"{one}" for one in roofs.disturbances] or ["nothing: the machine was quiet"]
    lines = [printable(f"- {line}") for line in lines]
    sections.append(("What disturbed it", "\n".join(lines) + "\n"))
    if missing:
        reasons = [printable(f"- {one.what}: {one.reason}") for one in unmeasured]
        sections.append(("Not measured", "\n".join(reasons) + "\n"))
    return "\n".join(f"{mark}{title}\n\n{text}" for title, text in sections)
