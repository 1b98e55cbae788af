"""Weights that memory cannot hold: a third roof, its two limits, and the time to load."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline import api
from roofline.disk import DiskRoof, disk_rate, load_seconds
from roofline.prediction import Phase, Prediction
from roofline.spec import SpecError
from roofline.upgrades import what_if, worth
from tests.running import Run, runner

DENSE, MOE = "llama-3.1-8b", "qwen3-30b-a3b"
RATE = 1e9


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


def predicted(hw: str = "rpi5-4gb", model: str = DENSE, quant: str = "q4_k_m", **words: Any) -> Prediction:
    return api.predict(hw, model, quant, **words)


def decode(prediction: Prediction) -> Phase:
    assert prediction.decode is not None
    return prediction.decode


def prefill(prediction: Prediction) -> Phase:
    assert prediction.prefill is not None
    return prediction.prefill


def missing(prediction: Prediction) -> float:
    assert prediction.memory.margin is not None
    return -float(prediction.memory.margin)


# -- the third roof ----------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_read_for_every_token_and_added_to_its_time() -> None:
    """(total − usable) / weights of what a token touches, by the rate; the rest of the time is as without a disk."""
    without, behind = predicted(), predicted(disk="1GB/s")
    assert not behind.memory.fits
    assert behind.runs
    assert not without.runs
    excess = missing(behind)
    assert behind.disk is not None
    assert behind.disk.excess == pytest.approx(excess)
    tokens = 128
    read = excess / behind.weights.file_bytes * float(decode(without).weight_bytes)
    assert float(decode(behind).seconds) == pytest.approx(float(decode(without).seconds) + read / RATE)
    # Llama 3.1's embedding is a table of its own, of which a token reads one row: a little less than all of the excess.
    assert 0.9 * excess < read / tokens < excess
    assert decode(behind).bound == "disk"


def test_a_tied_model_reads_all_of_its_excess() -> None:
    """Every tensor is touched for every token, so each reads total − usable and no less."""
    behind = predicted("rpi5", "gemma-2-2b", "f16", set={"memory.capacity": "4GB"}, disk="1GB/s", gen=1)
    assert float(decode(behind).disk_seconds) == pytest.approx(missing(behind) / RATE, rel=1e-2)


def test_a_prompt_waits_once_for_each_pass() -> None:
    one, four = (predicted(prompt=tokens, disk="1GB/s") for tokens in (512, 2048))
    assert one.disk is not None
    assert four.disk is not None
    each = [float(prefill(p).disk_seconds) / float(p.disk.excess) for p in (one, four) if p.disk]
    assert each[1] == pytest.approx(4 * each[0], rel=1e-9)


def test_a_mixture_reads_only_the_experts_in_use() -> None:
    """A token of Qwen3 30B-A3B uses a tenth of the weights: so much less of what lies outside comes from the disk."""
    behind = predicted("rpi5-16gb", MOE, "q4_k_m", disk="1GB/s", gen=1)
    touched = float(decode(behind).weight_bytes) / behind.weights.file_bytes
    assert touched < 0.13
    assert float(decode(behind).disk_seconds) == pytest.approx(missing(behind) * touched / RATE)
    # A prompt of many tokens meets nearly all experts.
    assert float(prefill(behind).disk_seconds) > 5 * float(decode(behind).disk_seconds)


def test_nothing_is_read_once_everything_fits() -> None:
    without, behind = predicted("rpi5"), predicted("rpi5", disk="1GB/s")
    assert float(decode(behind).seconds) == float(decode(without).seconds)
    assert "disk" not in decode(behind).shares
    assert [cost.operator for cost in decode(behind).operators] == [cost.operator for cost in decode(without).operators]


def test_shares_add_up_and_bytes_stay_those_of_the_memory() -> None:
    without, behind = predicted(), predicted(disk="1GB/s")
    phase = decode(behind)
    assert sum(float(share) for share in phase.shares.values()) == pytest.approx(float(phase.seconds))
    assert float(phase.shares["disk"]) == pytest.approx(float(phase.disk_seconds))
    assert float(phase.bytes) == float(decode(without).bytes)
    assert float(phase.intensity) == pytest.approx(float(decode(without).intensity))


def test_arrays_are_scalars_side_by_side() -> None:
    depths = np.array([0.0, 4096.0, 8192.0])
    together = predicted(depth=depths, disk="1GB/s")
    for index, depth in enumerate(depths):
        alone = predicted(depth=float(depth), disk="1GB/s")
        for name in ("tok_s", "low_tok_s", "high_tok_s", "ceiling_tok_s"):
            values = np.broadcast_to(getattr(decode(together), name), depths.shape)
            assert values[index] == pytest.approx(float(getattr(decode(alone), name)))


@given(st.floats(0.1, 20), st.floats(1.1, 10))
def test_a_faster_disk_is_never_slower(gigabytes: float, factor: float) -> None:
    slow, fast = (decode(predicted(disk=f"{rate:.3f}GB/s")) for rate in (gigabytes, gigabytes * factor))
    assert float(fast.tok_s) > float(slow.tok_s)
    for phase in (slow, fast):
        assert float(phase.low_tok_s) <= float(phase.tok_s) <= float(phase.high_tok_s) * (1 + 1e-12)
        assert float(phase.high_tok_s) <= float(phase.ceiling_tok_s) * (1 + 1e-12)


# -- its limits --------------------------------------------------------------------------------------------------------


def test_no_page_cache_saves_more_than_it_holds_and_the_worst_saves_nothing() -> None:
    """4 GB of weights, 1 GB too many, 2 passes over all of them: 2 GB at least and here expected, 8 GB at most."""
    roof = DiskRoof(RATE, weights=4e9, excess=1e9, missing=-1e9)
    assert roof.bytes_read(8e9) == pytest.approx(2e9)
    assert float(roof.least_read(8e9, 2)) == pytest.approx(2e9)
    assert float(roof.most_read(8e9)) == 8e9
    # A mixture that touches 1 GB a pass could find all of it in the 3 GB that are there.
    assert float(roof.least_read(2e9, 2)) == 0
    assert roof.bytes_read(2e9) == pytest.approx(0.5e9)


def test_the_low_end_reads_the_file_anew_as_a_strict_lru_does() -> None:
    phase = decode(predicted(disk="1GB/s", gen=1))
    rest = float(phase.seconds) - float(phase.disk_seconds)
    assert 1 / float(phase.low_tok_s) == pytest.approx(rest * phase.band.factor + float(phase.weight_bytes) / RATE)
    assert 1 / float(phase.ceiling_tok_s) <= float(phase.disk_seconds)


def test_the_band_holds_a_published_speed() -> None:
    """A 20 GB file of 30B weights on a laptop with 16 GB and a disk of 1 GB/s: 20 seconds a token.

    llama.cpp pull request 711, 2023-04-03. Its q4_0 had 20 bytes a block of 32, as q4_1 has now: the page cache of that
    time kept nothing, which is the low end.
    """
    laptop = predicted("i7-1185g7", "llama-1-33b", "q4_1", set={"memory.capacity": "16GB"}, disk="1GB/s", gen=16)
    assert laptop.weights.file_bytes == pytest.approx(20e9, rel=0.03)
    phase = decode(laptop)
    assert float(phase.low_tok_s) < 1 / 20 < float(phase.high_tok_s)
    assert float(phase.low_tok_s) == pytest.approx(1 / 20, rel=0.15)


# -- what has no such roof ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hw", "model", "backend", "message"),
    [
        ("rtx-4090", "llama-3.3-70b", None, "stays on its host"),
        ("dgx-spark", "deepseek-v3", None, "--backend cpu maps them"),
        ("strix-halo", "deepseek-v3", None, "--backend cpu maps them"),
    ],
)
def test_a_backend_that_copies_its_weights_is_refused(hw: str, model: str, backend: str | None, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        predicted(hw, model, backend=backend, disk="3GB/s")


def test_a_card_that_holds_everything_only_loads_from_the_disk() -> None:
    behind = predicted("rtx-4090", disk="3GB/s")
    assert behind.runs
    assert float(decode(behind).disk_seconds) == 0


def test_what_a_host_cannot_hold_comes_from_the_disk_too() -> None:
    pair = predicted(
        "rtx-3090+ryzen-7950x", "deepseek-v3", overrides=[r"\.ffn_(up|down|gate)_exps"], disk="6GB/s", gen=4
    )
    assert pair.memory.host is not None
    assert pair.memory.host.margin is not None
    assert pair.disk is not None
    assert pair.disk.device == "host"
    assert pair.disk.excess == pytest.approx(-float(pair.memory.host.margin))
    on_host = sum(float(c.weight_bytes) for c in decode(pair).operators if c.device == "host" and c.kind != "disk")
    assert float(decode(pair).disk_seconds) == pytest.approx(on_host * pair.disk.share_out / 6e9)
    assert decode(pair).bound == "disk"
    assert sum(map(float, decode(pair).device_seconds.values())) == pytest.approx(float(decode(pair).seconds))


def test_layers_that_a_card_cannot_hold_are_refused() -> None:
    with pytest.raises(SpecError, match="fewer --gpu-layers"):
        predicted("rtx-3090+ryzen-7950x", "deepseek-v3", gpu_layers=50, disk="6GB/s")


def test_a_cache_that_does_not_fit_is_not_saved_by_a_disk(run: Run) -> None:
    shown = run("predict", "--hw", "rpi5", "--model", DENSE, "--quant", "q4_k_m", "--ctx", "100k", "--disk", "1GB/s")
    assert "Does not fit." in shown.out
    assert "Not from the disk either" in shown.out
    assert not predicted("rpi5", context=100_000, disk="1GB/s").runs


def test_mirrored_weights_are_not_the_file_s() -> None:
    words: dict[str, Any] = {"hw": "2x-e5-2650v4", "model": "llama-3.3-70b", "quant": "f16", "disk": "2GB/s"}
    figures = {"memory.capacity": "256GB"}
    with pytest.raises(SpecError, match=r"--disk: expected room for a copy on each NUMA node, .* interleave has one"):
        predicted(**words, set=figures, numa="mirror")
    assert predicted(**words, set=figures, numa="interleave").runs
    assert predicted(**words, numa="mirror").runs, "3 TB have room for both"


def test_a_faster_disk_is_a_what_if() -> None:
    slow, fast = predicted(disk="1GB/s"), predicted(disk="2GB/s")
    first = what_if(slow)[0]
    assert first.change == "the disk 2× as fast"
    assert first.decode_tok_s == pytest.approx(float(decode(fast).tok_s))
    assert not [change for change in what_if(predicted("rpi5", disk="1GB/s")) if "disk" in change.change]


def test_a_list_of_points_says_what_comes_from_the_disk(run: Run) -> None:
    words = ("predict", "--model", DENSE, "--quant", "q4_k_m", "--disk", "1GB/s", "--batch", "1,2", "--hw")
    assert "from disk" in run(*words, "rpi5-4gb").out
    assert "from disk" not in run(*words, "rpi5").out


# -- loading -----------------------------------------------------------------------------------------------------------


def test_a_cold_file_is_read_once_and_a_warm_one_is_there() -> None:
    board = predicted("rpi5", DENSE, "q6_k")
    load = board.load(RATE)
    assert load.read == pytest.approx(board.weights.file_bytes / RATE)
    assert load.copied == 0
    assert load.warm == load.repacked
    assert load.cold == pytest.approx(load.read + load.warm)


def test_a_card_gets_its_weights_over_its_link() -> None:
    # PCIe 4.0 x16: 16 lanes of 16 GT/s · 128/130 / 8, of which fetched weights reach 0.6 in this runtime.
    card = predicted("rtx-4090")
    load = card.load(3e9)
    assert load.copied == pytest.approx(card.memory.weights / (16 * 16e9 * 128 / 130 / 8 * 0.6))
    assert load.cold == pytest.approx(card.weights.file_bytes / 3e9 + (load.copied or 0))


def test_repacking_reads_and_writes_once() -> None:
    machine = predicted("rpi5").machine
    load = load_seconds(4e9, RATE, machine, repacked=2e9)
    assert load.repacked == pytest.approx(4e9 / machine.sustained_bandwidth)
    assert load.cold == pytest.approx(4 + load.repacked)
    assert load.warm == load.repacked


def test_an_unknown_link_is_not_a_fast_one() -> None:
    machine = predicted("gb200").machine
    load = load_seconds(4e9, RATE, machine, copied=4e9)
    assert load.copied is None
    assert load.cold == pytest.approx(4)


def test_what_memory_cannot_hold_is_read_in_a_warm_start_too() -> None:
    behind = predicted(disk="1GB/s")
    assert behind.load(RATE).warm == pytest.approx(missing(behind) / RATE)


# -- as a user sees it -------------------------------------------------------------------------------------------------


def test_json_says_that_it_does_not_fit_and_how_fast_it_is_all_the_same(run: Run) -> None:
    words = ("predict", "--hw", "rpi5-4gb", "--model", DENSE, "--quant", "q4_k_m", "--format", "json")
    without, behind = json.loads(run(*words).out), json.loads(run(*words, "--disk", "1GB/s").out)
    assert (without["memory"]["fits"], behind["memory"]["fits"]) == (False, False)
    assert without["decode"]["tok_s"] is None
    assert "disk" not in without
    assert behind["decode"]["tok_s"] == pytest.approx(float(decode(predicted(disk="1GB/s")).tok_s))
    assert behind["decode"]["bound"] == "disk"
    assert behind["disk"]["disk_bytes_s"] == RATE
    assert behind["disk"]["runs_from_disk"] is True
    assert behind["disk"]["cold_load_s"] == pytest.approx(behind["memory"]["weights_bytes"] / RATE)
    assert 0 < behind["disk"]["seconds"]["decode"] < behind["disk"]["slowest_seconds"]["decode"]


def test_the_table_says_what_is_read_from_where(run: Run) -> None:
    shown = run("predict", "--hw", "rpi5-4gb", "--model", DENSE, "--quant", "q4_k_m", "--disk", "1GB/s")
    assert shown.code == 0
    assert "of weights do not fit and are read at 1.00 GB/s in every pass" in shown.out
    assert "disk-bound" in shown.out
    rows = run(
        "explain", "--hw", "rpi5-4gb", "--model", DENSE, "--quant", "q4_k_m", "--disk", "1GB/s", "--format", "csv"
    )
    assert [line for line in rows.out.splitlines() if line.startswith("decode,disk,") and ",disk," in line]


@pytest.mark.parametrize("rate", ["fast", "3", "0GB/s", "-1GB/s", "3GB", "1e30GB/s", ""])
def test_a_disk_is_a_rate(rate: str, run: Run) -> None:
    shown = run("predict", "--hw", "rpi5", "--model", DENSE, "--quant", "q4_k_m", "--disk", rate)
    assert shown.code == 1
    assert shown.err.startswith("error: --disk: expected")
    assert len(shown.err.splitlines()) == 1


def test_rates_are_read_with_their_unit() -> None:
    assert disk_rate("3GB/s") == 3e9
    assert disk_rate("550 MB/s") == 550e6
    assert disk_rate(7e9) == 7e9


def test_a_faster_disk_is_what_a_disk_bound_pair_needs() -> None:
    """A quarter more of a part that takes the share s of the time gains 1 / (1 − s/5) − 1; the others gain less."""
    pair = predicted(
        "rtx-3090+ryzen-7950x", "deepseek-v3", overrides=[r"\.ffn_(up|down|gate)_exps"], disk="6GB/s", gen=4
    )
    gains, phase = worth(pair), decode(pair)
    assert next(iter(gains)) == "the disk"
    share = float(phase.disk_seconds) / float(phase.seconds)
    assert gains["the disk"] == pytest.approx(1 / (1 - share / 5) - 1)
    assert sum(gains.values()) < 0.25
