"""Engines by version: what llamafile 0.7 gained in prompt evaluation, against what was published of it.

A pair is two published rows of one device, model and quantisation that differ in the engine alone, so that most of what
is wrong about the device cancels. A speed printed as an integer stands for ±0.5 around it, and a pair for the ratios
that this allows: 3 against 4 tok/s is anything from 0.56 to 1.
"""

from dataclasses import dataclass
from functools import lru_cache

import pytest

from roofline import api, catalog
from roofline.bench import shipped
from roofline.bench.expected import expect
from roofline.bench.observation import Observation

NEW = "llamafile 0.7"
OLD = ("llamafile 0.6.2", "llama.cpp 2024-03")
WITHIN = 1.6  # factor between predicted and measured speed-up that counts as reproduced
LARGE_MAJORITY = 0.8
FARTHEST = 3.5  # no pair is off by more, whatever the reason

#: Pairs (rows of the new engine and of the old) that may be missed, with the reason.
_FLOAT_9900 = "f16 gained 1.7 times here, and 3 to 8 times on most other CPUs: one factor stands for all"
_14900K = "the article says that 0.7 uses the P cores alone, and does not state the older engines' threads"
_PI4 = "nothing was gained on Arm v8.0 (0.75 to 1.1 times), where one factor stands for all CPUs"
MISSES = {
    ("jt-0013", "jt-0017"): _FLOAT_9900,
    ("jt-0025", "jt-0029"): _FLOAT_9900,
    ("jt-0031", "jt-0035"): "0.6.2 reaches 8 tok/s in f16 and 20 in q8_0 here, and the same in both types elsewhere",
    ("jt-0043", "jt-0047"): _PI4,
    ("jt-0049", "jt-0053"): _PI4,
    ("jt-0067", "jt-0071"): _14900K,
    ("jt-0073", "jt-0075"): _14900K,
}


@dataclass(frozen=True)
class Pair:
    new: Observation
    old: Observation

    @property
    def ids(self) -> tuple[str, str]:
        return self.new.id, self.old.id

    @property
    def measured(self) -> float:
        return self.new.tok_s / self.old.tok_s

    @property
    def lowest(self) -> float:
        return (self.new.tok_s - 0.5) / (self.old.tok_s + 0.5)

    @property
    def highest(self) -> float:
        return (self.new.tok_s + 0.5) / (self.old.tok_s - 0.5)

    @property
    def predicted(self) -> float:
        return _speed(self.new) / _speed(self.old)

    @property
    def miss(self) -> float:
        """Factor between the predicted speed-up and the nearest that the printed integers allow, at least 1."""
        return max(self.lowest / self.predicted, self.predicted / self.highest, 1.0)

    def __str__(self) -> str:
        return (
            f"{self.new.id}/{self.old.id} {self.new.hardware} {self.new.model} {self.new.quant}: "
            f"measured {self.measured:.2f}, predicted {self.predicted:.2f}"
        )


@lru_cache(maxsize=256)
def _speed(observation: Observation) -> float:
    return float(expect(observation).phase.tok_s)


def _engine(row: Observation) -> str:
    build = row.build[:7] if row.runtime == "llama.cpp" else row.build
    return f"{row.runtime} {build}"


@lru_cache(maxsize=2)
def pairs(old: str) -> tuple[Pair, ...]:
    """Every published pair of the new engine and an old one in prompt evaluation."""
    rows = [one for one in shipped().observations if one.id.startswith("jt-") and one.phase == "pp"]
    by_engine = {(_engine(row), row.hardware, row.model, row.quant): row for row in rows}
    news = [row for row in rows if _engine(row) == NEW]
    olds = [by_engine.get((old, row.hardware, row.model, row.quant)) for row in news]
    return tuple(Pair(row, other) for row, other in zip(news, olds, strict=True) if other is not None)


def all_pairs() -> list[Pair]:
    return [pair for old in OLD for pair in pairs(old)]


def test_the_published_tables_are_all_there() -> None:
    # Six devices: i9-9900 with 5 models and quants, RPi 5 and 4 with 2 each, i9-14900K and M2 Ultra with 4 each,
    # 7995WX with 5 that both versions read (bf16 is new in 0.7): 22.
    for old in OLD:
        assert len(pairs(old)) == 22
    assert {pair.new.hardware for pair in all_pairs()} == {
        "i9-9900", "rpi5", "rpi4", "i9-14900k", "m2-ultra-76", "tr-7995wx"
    }  # fmt: skip


def test_each_row_is_predicted_with_the_engine_of_its_version() -> None:
    files = {
        NEW: "llamafile-0.7",
        "llamafile 0.6.2": "llamafile-0.6.2",
        "llama.cpp 2024-03": "llama.cpp-2024-03",
    }
    for pair in all_pairs():
        for row in (pair.new, pair.old):
            assert expect(row).prediction.names["runtime"] == files[_engine(row)], row.id


def test_a_large_majority_of_the_speedups_is_reproduced() -> None:
    found = all_pairs()
    missed = [str(pair) for pair in found if pair.miss > WITHIN]
    share = 1 - len(missed) / len(found)
    assert share >= LARGE_MAJORITY, f"{share:.0%} of {len(found)} within ×{WITHIN}; missed:\n" + "\n".join(missed)


def test_every_miss_is_known_and_has_a_reason() -> None:
    missed = {pair.ids: str(pair) for pair in all_pairs() if pair.miss > WITHIN}
    assert [text for ids, text in missed.items() if ids not in MISSES] == []
    assert set(MISSES) <= set(missed), "a miss that is mended leaves the list"
    assert all(len(reason.split()) > 6 for reason in MISSES.values())


def test_no_speedup_is_wildly_off() -> None:
    assert [str(pair) for pair in all_pairs() if pair.miss > FARTHEST] == []


def test_the_direction_is_right_where_the_measurement_has_one() -> None:
    """Faster where the integers say faster, by more than their rounding and a tenth (what two runs differ by)."""
    clear = [pair for pair in all_pairs() if pair.lowest > 1.1]
    assert len(clear) > 30
    assert [str(pair) for pair in clear if pair.predicted <= 1] == []
    slower = [pair for pair in all_pairs() if pair.highest < 1 / 1.1]
    # llama.cpp was faster in one: q8_0 of the 1.1B model on the M2 Ultra, which the factor for all devices hides.
    assert {pair.ids for pair in slower if pair.predicted >= 1} <= {("jt-0091", "jt-0093")}


@pytest.mark.parametrize("old", OLD)
def test_the_middle_of_the_speedups_is_right(old: str) -> None:
    """A factor for all devices is at least unbiased: the median of predicted/measured lies within 1.25."""
    ratios = sorted(pair.predicted / pair.measured for pair in pairs(old))
    assert 1 / 1.25 < ratios[len(ratios) // 2] < 1.25


def test_float_gained_more_than_quantised_on_the_whole() -> None:
    """Measured medians over the devices: f16 and f32 more than q8_0 and q4_0; the runtime files say so too."""
    for ask in ("measured", "predicted"):
        floats = sorted(getattr(pair, ask) for pair in all_pairs() if pair.new.quant in ("f16", "f32"))
        others = sorted(getattr(pair, ask) for pair in all_pairs() if pair.new.quant not in ("f16", "f32"))
        assert floats[len(floats) // 2] > others[len(others) // 2]


def test_decode_gained_little() -> None:
    """Reading weights is bound by the memory: decode differs by less than 1.35, prefill by more."""
    for hardware in ("i9-9900", "rpi5", "tr-7995wx"):
        speeds = []
        for runtime in ("llamafile-0.7", "llamafile-0.6.2"):
            found = api.predict(hardware, "mistral-7b", "q8_0", runtime=runtime, backend="cpu")
            assert found.decode and found.prefill
            speeds.append((float(found.decode.tok_s), float(found.prefill.tok_s)))
        (decode, prefill), (old_decode, old_prefill) = speeds
        assert decode / old_decode < 1.35 < prefill / old_prefill


def test_versions_stand_on_each_other() -> None:
    """0.8 reads and multiplies no slower than 0.7, 0.7 than 0.6.2, in every type that the tables have."""
    names = ("llamafile-0.6.2", "llamafile-0.7", "llamafile-0.8")
    assert set(names) <= set(catalog.files("runtimes"))
    for quant in ("q4_0", "q8_0", "f16"):
        speeds = []
        for runtime in names:
            found = api.predict("i9-9900", "mistral-7b", quant, runtime=runtime, backend="cpu").prefill
            assert found
            speeds.append(float(found.tok_s))
        assert speeds == sorted(speeds), quant
