"""Several memories of one machine: one node alone, all interleaved, weights mirrored in each."""

import json
from typing import Any

import pytest

from roofline import api, catalog
from roofline.hardware import Hardware
from roofline.numa import MODES, nodes, one_node
from roofline.prediction import Phase, Prediction
from roofline.spec import SpecError
from roofline.upgrades import what_if
from tests.running import Run, runner

PAIR, ONE_SOCKET, CLUSTERS = "2x-e5-2650v4", "e5-2650v4", "a64fx"
MODEL = "mistral-7b"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


def hardware(name: str) -> Hardware:
    return catalog.load_hardware(name).spec


def predicted(numa: str | None = None, hw: str = PAIR, **changes: Any) -> Prediction:
    return api.predict(hw, MODEL, "q4_0", numa=numa, **changes)


def decode(result: Prediction) -> Phase:
    assert result.decode is not None
    return result.decode


def test_nodes_are_sockets_and_their_parts() -> None:
    assert nodes(hardware(PAIR)) == 2
    assert nodes(hardware("2x xeon-6980p")) == 6, "three of a socket"
    assert nodes(hardware(CLUSTERS)) == 4
    assert nodes(hardware("ryzen-7950x")) == 1
    assert nodes(hardware("rtx-3090")) == 1


def test_one_node_has_its_share_of_everything() -> None:
    whole, one = hardware(CLUSTERS), one_node(hardware(CLUSTERS))
    assert whole.cpu is not None
    assert one.cpu is not None
    assert one.cpu.cores == whole.cpu.cores // 4
    assert one.memory_bandwidth == pytest.approx(whole.memory_bandwidth / 4)
    assert one.memory.capacity is not None
    assert whole.memory.capacity is not None
    assert one.memory.capacity.value == whole.memory.capacity.value / 4
    assert nodes(one) == 1
    socket = one_node(hardware(PAIR))
    assert socket.memory_bandwidth == pytest.approx(76.8e9), "4 channels of DDR4-2400"
    assert socket.cpu is not None
    assert socket.cpu.fast_cores == 12


def test_one_socket_of_two_is_that_socket() -> None:
    """The catalog has the same processor alone and in a pair."""
    pinned = predicted("one").machine
    alone = hardware(ONE_SOCKET)
    assert pinned.threads == 12
    assert pinned.theoretical_bandwidth == pytest.approx(alone.memory_bandwidth)
    assert predicted("one").memory.capacity == 1536 * 2**30


def test_without_a_word_memory_is_interleaved() -> None:
    silent, asked = decode(predicted()), decode(predicted("interleave"))
    assert float(silent.seconds) == float(asked.seconds)
    share = predicted().machine.engine.socket_share.value
    assert predicted().machine.sustained_bandwidth < 1.01 * share * 2 * 76.8e9


def test_mirrored_weights_are_read_by_both_sockets_and_held_twice() -> None:
    silent, mirrored = predicted(), predicted("mirror")
    assert mirrored.machine.sustained_bandwidth > silent.machine.sustained_bandwidth
    one = predicted("one").machine.sustained_bandwidth
    assert mirrored.machine.sustained_bandwidth == pytest.approx(2 * one, rel=1e-6), "as much as each reads alone"
    assert mirrored.memory.weights == pytest.approx(2 * silent.memory.weights)
    assert float(mirrored.memory.kv_cache) == float(silent.memory.kv_cache)
    assert float(decode(mirrored).tok_s) > float(decode(silent).tok_s)
    assert float(decode(mirrored).tok_s) <= float(decode(mirrored).ceiling_tok_s)
    assert "mirrored" in " ".join(decode(mirrored).band.reasons)


def test_every_mode_is_below_light() -> None:
    for name in (PAIR, CLUSTERS, "2x xeon-6980p"):
        for mode in MODES:
            phase = decode(predicted(mode, name))
            assert 0 < float(phase.tok_s) <= float(phase.ceiling_tok_s)


def test_the_host_of_a_pair_has_its_modes_too() -> None:
    words: dict[str, Any] = {"model": "qwen3-30b-a3b", "quant": "q8_0", "overrides": ["exps"]}
    silent, mirrored = (api.predict(f"rtx-4090+{PAIR}", numa=mode, **words) for mode in (None, "mirror"))
    assert silent.memory.host is not None
    assert mirrored.memory.host is not None
    assert mirrored.memory.host.weights == pytest.approx(2 * silent.memory.host.weights)
    assert mirrored.memory.weights == pytest.approx(silent.memory.weights)
    assert float(decode(mirrored).tok_s) > float(decode(silent).tok_s)


def test_a_what_if_mirrors() -> None:
    changes = {change.change: change.decode_tok_s for change in what_if(predicted())}
    expected = float(decode(predicted("mirror")).tok_s)
    assert changes["weights mirrored on 2 NUMA nodes"] == pytest.approx(expected)
    assert not [name for name in (change.change for change in what_if(predicted("one"))) if "mirrored" in name]


def test_the_report_says_which(run: Run) -> None:
    words = ["predict", "--hw", PAIR, "--model", MODEL, "--quant", "q4_0", "--numa"]
    assert "E5-2650 v4, weights mirrored on 2 NUMA nodes" in run(*words, "mirror").out
    assert "E5-2650 v4, one NUMA node" in run(*words, "one").out
    answer = json.loads(run(*words, "mirror", "--format", "json").out)
    assert answer["numa"] == "mirror"
    assert "numa" not in json.loads(run(*words[:-1], "--format", "json").out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--hw", "ryzen-7950x"], "--numa: expected several sockets or NUMA nodes, found AMD Ryzen 9 7950X with one"),
        (["--hw", "rtx-3090"], "--numa: expected a processor that computes, found NVIDIA GeForce RTX 3090 under cuda"),
        (["--hw", "rtx-3090+ryzen-7950x"], "found AMD Ryzen 9 7950X with one"),
        (["--hw", PAIR, "--threads", "40"], "--threads: expected at most 24, the threads of 2x Intel Xeon E5-2650 v4"),
    ],
)
def test_an_impossible_mode_is_one_line(run: Run, words: list[str], message: str) -> None:
    outcome = run("predict", "--model", MODEL, "--quant", "q4_0", "--numa", "one", *words)
    assert outcome.code == 1
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_mode_that_there_is_not() -> None:
    with pytest.raises(SpecError, match="--numa: expected one of one, interleave, mirror, found 'all'"):
        predicted("all")
