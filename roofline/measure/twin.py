"""A core of the catalog that is the same as this machine's, for what a benchmark cannot tell: operations in a cycle."""

from __future__ import annotations

from dataclasses import dataclass

from roofline import catalog
from roofline.hardware import Cluster
from roofline.measure.seen import Cluster as Seen
from roofline.spec import SpecError

#: Designs that are refreshes of another, with the same execution units (Intel's optimization reference manual).
_REFRESH_OF = {"raptor-cove": "golden-cove", "cascade-lake": "skylake-sp", "coffee-lake": "kaby-lake"}


@dataclass(frozen=True, slots=True)
class Twin:
    """A cluster of the catalog and the file it stands in. exact: of the same design, not only of the same abilities."""

    id: str
    file: str
    cluster: Cluster
    exact: bool


def twin(seen: Seen, isa: tuple[str, ...], vendor: str, skip: str = "") -> Twin | None:
    """The first core with the same instruction sets and rates, of the same design if there is one; None without.

    vendor: of the machine, for cores of another name. skip: an id that does not count: this machine's own.
    """
    near = _REFRESH_OF.get(seen.microarchitecture, "")
    ranked: list[tuple[int, Twin]] = []
    for identity, path in sorted(catalog.files("hardware").items()):
        try:
            spec = catalog.load_hardware(identity).spec
        except SpecError:  # a damaged file of the user's is named by the commands that use it
            continue
        cpu = spec.cpu
        if identity == skip or cpu is None or set(cpu.isa) != set(isa) or not cpu.clusters[0].per_cycle:
            continue
        exact = cpu.microarchitecture == seen.microarchitecture
        rank = 0 if exact else 1 if near and cpu.microarchitecture == near else 2
        if rank < 2 or spec.vendor == vendor:
            ranked.append((rank, Twin(identity, catalog.shown(path), cpu.clusters[0], exact)))
    return min(ranked, key=lambda one: one[0])[1] if ranked else None
