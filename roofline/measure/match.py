"""Which part of the catalog a machine is, and why it is not another one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from roofline import catalog, units
from roofline.hardware import Hardware
from roofline.measure.identity import Identity
from roofline.measure.linux import hides_name
from roofline.measure.naming import about, card_id, joined, named, parts, same_name, whole

MOST_CANDIDATES = 8


@dataclass(frozen=True, slots=True)
class Match:
    """id: the machine's part in the catalog, with count of them (sockets); None where none is certain.

    part_of: the part of which a virtual machine or a container has a share. gpus: (id, how many) of the cards that the
    catalog has; candidates: ids that could be meant. why: one line.
    """

    id: str | None
    why: str
    count: int = 1
    part_of: str | None = None
    gpus: tuple[tuple[str, int], ...] = ()
    candidates: tuple[str, ...] = ()

    @property
    def name(self) -> str | None:
        """What --hw takes: 'rpi5', 'altra-m128-30x2'; None without a match."""
        return self.id if self.id is None or self.count == 1 else f"{self.id}x{self.count}"


def match(identity: Identity) -> Match:
    """The catalog's part for a machine: by its board, else by its processor's name, else by its graphics chip."""
    cards = [(card, card_id(card)) for card in identity.gpus if card.backend != "metal"]
    identity_, how = named(identity, [found for _, found in cards if found])
    gpus = tuple(Counter(found for _, found in cards if found and found != identity_).items())
    if identity_ is None:
        candidates = _candidates(identity)
        return Match(None, _unnamed(identity, candidates), gpus=gpus, candidates=candidates)
    spec = catalog.load_hardware(identity_).spec
    complete, count, reason = whole(identity, spec)
    if complete:
        twin = catalog.resolve_id("hardware", f"{count}x-{identity_}") if count > 1 else None
        if twin is not None:
            return Match(twin[0], f"{how}, {count} sockets", gpus=gpus)
        sockets = f", {count} sockets" if count > 1 else ""
        return Match(identity_, f"{how}{sockets}", count, gpus=gpus)
    if identity.virtual or identity.container:
        around = "container" if identity.container else "virtual machine"
        why = f"{how}, but this {around} has a share of it: {reason}"
        return Match(None, why, part_of=identity_, gpus=gpus, candidates=(identity_,))
    return Match(None, f"{how}, but {reason}", gpus=gpus, candidates=(identity_,))


def why_not(identity: Identity, hardware: str) -> list[str]:
    """One line for each property that differs from a part of the catalog; one that says so where none does.

    Memory is compared too, though it selects nothing. SpecError where the catalog has no such part.
    """
    entry = catalog.load_hardware(hardware)
    lines = _differences(identity, entry.spec) + _named_otherwise(identity, entry.spec, entry.path.stem)
    lines += _memory_differences(identity, entry.spec)
    return lines or [f"everything that both sides state fits {entry.id}"]


def _candidates(identity: Identity) -> tuple[str, ...]:
    """Parts that share the name; where the name tells nothing, those with the same core, instruction sets and count."""
    if same := same_name(identity):
        return same[:MOST_CANDIDATES]
    brand = identity.vendor in ("Intel", "AMD") and identity.processor and not hides_name(identity.processor)
    if brand or not identity.microarchitecture:  # a name that the catalog lacks is no other part's
        return ()
    larger, cores = identity.virtual or identity.container, identity.cores_per_socket
    found = [
        part.id
        for part in parts()
        if part.microarchitecture == identity.microarchitecture
        and part.isa == frozenset(identity.isa)
        and (part.cores == cores or (larger and part.cores > cores))
    ]
    return tuple(found[:MOST_CANDIDATES])


def _unnamed(identity: Identity, candidates: tuple[str, ...]) -> str:
    name = identity.processor or identity.board or "this machine"
    if candidates:
        return f"{name!r} may be one of {', '.join(candidates)}"
    if identity.virtual and hides_name(name):
        return f"the hypervisor calls the processor {name!r}, which names no part"
    return f"the catalog has no part called {name!r}"


def _differences(identity: Identity, spec: Hardware) -> list[str]:
    lines: list[str] = []

    def compare(what: str, expected: object, found: object) -> None:
        if expected and found and expected != found:
            lines.append(f"{what}: expected {expected}, found {found}{around}")

    around = _around(identity)
    cpu = spec.cpu
    if cpu is not None:
        compare("microarchitecture", cpu.microarchitecture, identity.microarchitecture)
        missing = [word for word in cpu.isa if word not in identity.isa]
        more = [word for word in identity.isa if word not in cpu.isa]
        if identity.isa and missing:
            lines.append(f"isa: expected {', '.join(missing)}, not found{around}")
        if identity.isa and more:
            lines.append(f"isa: found {', '.join(more)}, not expected{around}")
        expected = [cluster.cores for cluster in cpu.clusters]
        found = [cluster.cores for cluster in identity.clusters]
        each = " a socket" if max(cpu.sockets, identity.sockets or 1) > 1 else ""
        compare(f"cores{each}", joined(expected), joined(found))
        compare("sockets", cpu.sockets * spec.count, identity.sockets)
        caches, sockets = identity.caches, identity.sockets or 1
        compare(f"logical CPUs{each}", cpu.threads, (identity.threads or 0) // sockets)
        for what, figure, bytes_, times in (
            ("L1d a core", cpu.l1d_per_core, caches.l1d_per_core, 1),
            ("L2", cpu.l2, caches.l2, sockets),
            ("L3", cpu.l3, caches.l3, sockets),
        ):
            if figure is not None and bytes_ is not None:
                compare(what, _bytes(figure.value * times), _bytes(bytes_))
    else:
        cards = {catalog.load_hardware(one).spec.name for card in identity.gpus if (one := card_id(card))}
        if spec.name not in cards:
            seen = ", ".join(card.name for card in identity.gpus) or "none"
            lines.append(f"graphics processor: expected {spec.name}, found {seen}")
    return lines


def _memory_differences(identity: Identity, spec: Hardware) -> list[str]:
    """Where the machine has a size that is not sold, or runs its memory at another rate; cards have their own."""
    lines: list[str] = []
    if spec.cpu is None:
        return lines
    around = _around(identity)
    if spec.memory.capacity is not None and identity.memory_bytes:
        sold = sorted(figure.value for figure in (spec.memory.capacity, *spec.memory.options))
        if not any(about(identity.memory_bytes, value) for value in sold):
            sizes = " or ".join(f"{value / units.parse('1 GiB', 'B'):g} GB" for value in sold)
            lines.append(f"memory: expected {sizes}, found {_bytes(identity.memory_bytes)}{around}")
    rate, found = spec.memory.transfer_rate, identity.memory_transfer_rate
    if rate is not None and found and _rate(rate.value) != _rate(found):
        lines.append(f"memory rate: expected {_rate(rate.value)}, found {_rate(found)}{around}")
    return lines


def _around(identity: Identity) -> str:
    return " (container)" if identity.container else " (virtual machine)" if identity.virtual else ""


def _named_otherwise(identity: Identity, spec: Hardware, hardware: str) -> list[str]:
    """A line where the machine's own names say that it is another part, or say nothing."""
    if spec.cpu is None:
        return []
    found, how = named(identity, [one for card in identity.gpus if (one := card_id(card))])
    if found is None and identity.processor and identity.clusters:
        return [f"name: expected {spec.name}, found {identity.processor}"]
    if found is not None and hardware not in (found, match(identity).id):
        return [f"name: expected {spec.name}, but {how}"]
    return []


def _bytes(value: float) -> str:
    return units.format_quantity(value, "B", binary=True)


def _rate(value: float) -> str:
    return f"{value / units.parse('1 MT/s', 'T/s'):.0f} MT/s"
