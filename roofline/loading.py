"""What happens when a model is loaded: how long it takes, what of the file a token touches, and what memory then holds.

The times are those of disk.py, the memory that of the one bill, the pages those of paging. What depends on the policy
of a page cache is given with both ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from roofline import api
from roofline.disk import LoadTime, disk_rate, load_seconds
from roofline.machine import Machine
from roofline.paging import (
    FileLayout,
    PageSize,
    Resident,
    Span,
    Touched,
    held,
    layout_of_file,
    layout_of_shape,
    page_size,
    touched,
)
from roofline.parts import has_own_memory
from roofline.points import assignments, one_number
from roofline.prediction import Prediction
from roofline.readers import read_gguf
from roofline.spec import SpecError
from roofline.units import UnitError, parse, short

MANY_TOKENS = (8, 64)  # of a mixture: how the touched experts grow


@dataclass(frozen=True, slots=True)
class FirstToken:
    """Seconds until the first token [s]. most: the file is read, then computed on, as where the mapping is populated
    first. least: the first pass reads the file while it computes. warm, least_warm: the same from the page cache.
    """

    least: float
    most: float
    least_warm: float
    warm: float


@dataclass(frozen=True)
class Loading:
    """A model on a machine behind a disk of `rate` [B/s]. wanted: what `top` showed of it [B], where that is asked."""

    prediction: Prediction
    layout: FileLayout
    page: PageSize
    rate: float
    is_mapped: bool
    wanted: float | None = None

    @cached_property
    def touched(self) -> Touched:
        """The pages of the file that tokens touch."""
        return touched(self.layout, self.page.size)

    @property
    def file_pages(self) -> float:
        """Pages of the file [1]."""
        return float(np.ceil(self.layout.size / self.page.size))

    @property
    def is_mixture(self) -> bool:
        """Whether a token reads some of the experts only."""
        return self.prediction.model.expert_count > 0

    # -- times --------------------------------------------------------------------------------------------------------

    @cached_property
    def load(self) -> LoadTime:
        """Time to load, cold and warm, in parts; copied as a whole where the file is not mapped."""
        if self.is_mapped or not self.prediction.machine.engine.maps_weights:
            return self.prediction.load(self.rate)
        size, machine = self.prediction.weights.file_bytes, self.prediction.machine
        return load_seconds(size, self.rate, machine, copied=size, repacked=self.prediction.memory.repacked)

    @property
    def first_token(self) -> FirstToken | None:
        """Time to the first token of a started program; None where it does not run."""
        prefill = self.prediction.prefill
        if prefill is None or not self.prediction.runs:
            return None
        computed = float(prefill.seconds - prefill.disk_seconds)
        most = self.load.cold + float(prefill.seconds)
        lazily = self.is_mapped and not self.load.repacked
        warm = self.load.warm + float(prefill.seconds)
        if not lazily:
            return FirstToken(most, most, warm, warm)
        return FirstToken(max(self.load.read, computed), most, max(self.load.reread, computed), warm)

    # -- memory -------------------------------------------------------------------------------------------------------

    @property
    def repacked(self) -> float:
        """Weights of which the process has a copy of its own in another order [B]; none where it has no room."""
        return self.prediction.memory.repacked if self.prediction.memory.fits else 0.0

    @property
    def own(self) -> float:
        """Anonymous memory of the process [B]: cache, buffers, and the weights that it does not read from the file."""
        bill = self.prediction.memory
        if self.is_card:
            return 0.0
        copied = self.repacked if self.is_mapped else bill.weights
        return float(bill.kv_cache + bill.compute + bill.context + copied)

    @property
    def is_card(self) -> bool:
        """Whether the weights end in the memory of a card."""
        return has_own_memory(self.prediction.machine)

    @property
    def room(self) -> float:
        """Memory that pages of files find beside the process's own [B]; inf where the capacity is open, or a host's."""
        usable = self.prediction.memory.usable
        return np.inf if usable is None or self.is_card else max(usable - self.own, 0.0)

    def stages(self) -> list[tuple[str, Resident]]:
        """What memory holds from moment to moment."""
        size = float(self.layout.size)
        if not self.is_mapped:
            return [("loaded and copied", held(0.0, size, self.own, self.room))]
        found = []
        if not self.repacked:
            one = float(self.touched.bytes(1))
            moments = [("mapped, nothing touched", 0.0), ("after half a token", one / 2), ("after one token", one)]
            if self.is_mixture:
                moments += [(f"after {n} tokens", float(self.touched.bytes(n))) for n in MANY_TOKENS]
            found = [(name, held(at, at, self.own, self.room)) for name, at in moments]
        whole = self.file_pages * self.page.size
        return [*found, ("loaded, mapping populated", held(whole, whole, self.own, self.room))]

    @property
    def shown_after_one(self) -> float:
        """What `top` shows after one token of a lazily mapped file, where memory has the room [B]."""
        return float(self.touched.bytes(1)) + self.own

    def size_and_share(self, pages: float) -> dict[str, float]:
        """Bytes of so many pages [B], and the share of the file that they are [1], under the keys of reports."""
        return {"page_bytes": pages * self.page.size, "file_share": pages / self.file_pages}

    @property
    def reached(self) -> tuple[Span, float] | None:
        """The tensor and the percentage of a token's bytes at which `top` shows what is wanted; None where it never."""
        if self.wanted is None or self.wanted > self.own + self.room:
            return None
        read = max(self.wanted - self.own, 0.0)
        span = self.layout.reached(read)
        return None if span is None else (span, 100.0 * read / self.layout.read_bytes)


def loading(
    hw: str,
    model: str,
    quant: str | None = None,
    *,
    disk: str | float | None,
    ram: str | None = None,
    page: str | None = None,
    mmap: bool = True,
    resident: str | None = None,
    ctx: str | None = None,
    figures: Sequence[str] = (),
    **settings: Any,
) -> Loading:
    """`model` in `quant` loaded on `hw` from a disk.

    disk: its rate, '90MB/s'. ram: memory of the machine, '4GB', in place of the one in its file. page: bytes of a page,
    '16KiB'. mmap: whether the file is mapped, where the backend can. resident: what `top` showed, '6GB'. figures:
    'memory.bandwidth=102.4GB/s'. settings: the other arguments of api.predict, prompt, gen and depth as text.

    Raises SpecError.
    """
    if disk is None:
        raise SpecError("--disk: expected a rate such as 500MB/s, since no hardware file states one, found none")
    rate = disk_rate(disk)
    wanted = None if resident is None else _size("--resident", resident)
    for name in ("prompt", "gen", "depth"):
        if name in settings:
            settings[name] = one_number(name, settings[name])
    words: dict[str, Any] = settings | {"context": one_number("ctx", ctx) if ctx else None}
    words["set"] = _figures(ram, figures)
    if "+" in hw:
        raise SpecError(f"--hw: expected one device, whose file is looked at, found the pair {short(hw)}")
    if ram is not None and has_own_memory(_machine(hw, **words)):
        raise SpecError(f"--ram: expected a machine whose memory holds the file, found the card {short(hw)}")
    found = api.predict(hw, model, quant, disk=rate if mmap else None, **words)
    if not mmap and not found.runs:
        raise SpecError(
            "--no-mmap: expected room for a copy of the file, found too little memory; mapped, it is read from the disk"
        )
    return Loading(
        found,
        _layout(found),
        page_size(found.machine.hardware, page),
        rate,
        mmap and found.machine.engine.maps_weights,
        wanted,
    )


def _machine(hw: str, **words: Any) -> Machine:
    """The machine that a prediction with these words is made for."""
    runtime = words.get("runtime") or api.DEFAULT_RUNTIME
    return api.load_machine(hw, runtime, words.get("backend"), words.get("threads"), words["set"])[0]


def _figures(ram: str | None, figures: Sequence[str]) -> Mapping[str, str]:
    """The replaced figures of the hardware; a memory size is one of them."""
    found = assignments(figures)
    if ram is None:
        return found
    if "memory.capacity" in found:
        raise SpecError("--ram: expected the memory once, found --set memory.capacity as well")
    _size("--ram", ram)
    return {"memory.capacity": ram, **found}


def _size(option: str, text: str) -> float:
    """Bytes of a text; SpecError for none."""
    try:
        size = parse(text, "B")
    except UnitError as error:
        raise SpecError(f"{option}: {error}") from None
    if size <= 0 or text.strip()[-1:].isdigit():
        raise SpecError(f"{option}: expected a size with its unit, such as 4GB, found {short(text)}")
    return size


def _layout(prediction: Prediction) -> FileLayout:
    """The file that is loaded: as its table says, else as llama-quantize would write it."""
    if prediction.gguf:
        return layout_of_file(prediction.model, read_gguf(prediction.gguf))
    return layout_of_shape(prediction.model, prediction.weights.quant)
