"""Quantisations side by side: every figure as if each were worked out alone."""

import numpy as np
import pytest

from roofline import api, catalog
from roofline.calculator import run
from roofline.grid import Task
from roofline.machines import Machines
from roofline.memory import bill
from roofline.stack import WeightStack
from roofline.weights import weigh
from roofline.workload import Workload

QUANTS = ("q8_0", "q4_k_m", "q4_0", "f16", "q2_k", "iq4_xs")
DEPTHS, BATCHES = np.array([0.0, 4096.0, 32768.0])[:, None], np.array([1.0, 4.0, 8.0, 9.0, 32.0])
#: Discrete and unified memory, several devices, overlap by sum, maximum and p-norm; engines that reread experts.
DEVICES = ("rtx-3090", "rtx-3090x2", "rpi5", "m2-max-38", "epyc-9654", "rx-7900-xtx")
#: Dense, mixture of experts, sliding windows, latent attention, tied embeddings.
MODELS = ("llama-3.1-8b", "qwen3-30b-a3b", "gemma-3-12b", "deepseek-v3", "gpt-oss-20b", "llama-3.2-1b")


def stack_of(model: str) -> WeightStack:
    spec = catalog.load_model(model).spec
    return WeightStack(spec, tuple(weigh(spec, quant) for quant in QUANTS))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("hardware", DEVICES)
def test_a_stack_is_its_quantisations_one_by_one(hardware: str, model: str) -> None:
    stack, workload = stack_of(model), Workload(700.0, 128.0, DEPTHS, BATCHES)
    machine, _ = api.load_machine(hardware, "llama.cpp", None, None, None)
    for step in (workload.prefill(512), workload.decode(512)):
        together = run(stack.model, stack, machine, workload, step)
        for place, weights in enumerate(stack.weights):
            alone = run(stack.model, weights, machine, workload, step)
            for name in (
                "seconds",
                "tok_s",
                "low_tok_s",
                "high_tok_s",
                "ceiling_tok_s",
                "flops",
                "bytes",
                "ridge_point",
            ):
                whole = np.broadcast_to(getattr(together, name), (len(QUANTS), 1, 1, 3, 5))[place, 0, 0]
                np.testing.assert_allclose(whole, np.broadcast_to(getattr(alone, name), (3, 5)), rtol=1e-12)
            for name, share in alone.shares.items():
                whole = np.broadcast_to(together.shares[name], (len(QUANTS), 1, 1, 3, 5))[place, 0, 0]
                np.testing.assert_allclose(whole, np.broadcast_to(share, (3, 5)), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("hardware", DEVICES)
def test_the_bill_of_a_stack_is_that_of_each(hardware: str) -> None:
    stack, workload = stack_of("llama-3.1-8b"), Workload(512.0, 128.0, DEPTHS, BATCHES)
    machine, _ = api.load_machine(hardware, "llama.cpp", None, None, None)
    together = Task(workload).bill(stack, machine)
    for place, weights in enumerate(stack.weights):
        alone = bill(stack.model, weights, machine, workload)
        names = ("total", "fits") if alone.margin is None else ("total", "fits", "margin")
        for name in names:
            whole = np.broadcast_to(getattr(together, name), (len(QUANTS), 1, 1, 3, 5))[place, 0, 0]
            np.testing.assert_allclose(whole, np.broadcast_to(getattr(alone, name), (3, 5)), rtol=1e-12)


def test_a_part_of_a_stack_is_that_part() -> None:
    stack, workload = stack_of("llama-3.1-8b"), Workload(512.0, 128.0, DEPTHS, BATCHES)
    machine, _ = api.load_machine("rtx-3090", "llama.cpp", None, None, None)
    chosen = np.array([4, 1])
    whole = run(stack.model, stack, machine, workload, workload.decode(512)).seconds
    part = run(stack.model, stack.only(chosen), machine, workload, workload.decode(512)).seconds
    np.testing.assert_array_equal(np.asarray(part), np.asarray(whole)[chosen])
    assert stack.only(np.arange(len(QUANTS))) is stack


def test_a_stack_holds_an_operator_once_for_each_form() -> None:
    """q4_k_m and q4_k_s differ in attn_v and ffn_down alone: their rows are not twice those of one."""
    spec = catalog.load_model("llama-3.1-8b").spec
    workload = Workload(0.0, 1.0, 0.0, 1.0)

    def rows(*quants: str) -> int:
        stack = WeightStack(spec, tuple(weigh(spec, quant) for quant in quants))
        return sum(len(one.groups) for one in stack.stacks(workload.decode(512)))

    one, both = rows("q4_k_m"), rows("q4_k_m", "q4_k_s")
    assert both < 2 * one
    assert both >= one + 2


#: Under one engine each: cards of several generations, chips, processors with and without AMX.
FLEETS = (
    ("rtx-3090", "rtx-4090", "v100-pcie-32", "p40", "h100-sxm"),
    ("m1-max-32", "m3-ultra-80", "m5-10gpu"),
    ("rpi5", "epyc-9654", "i9-14900k", "xeon-8480", "graviton3"),
)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "qwen3-30b-a3b", "gemma-3-12b"])
@pytest.mark.parametrize("fleet", FLEETS, ids=lambda fleet: fleet[0])
def test_machines_side_by_side_are_the_machines_one_by_one(fleet: tuple[str, ...], model: str) -> None:
    stack, workload = stack_of(model), Workload(700.0, 128.0, DEPTHS, BATCHES)
    machines = [api.load_machine(one, "llama.cpp", None, None, None)[0] for one in fleet]
    shape = (len(QUANTS), 1, 1, 3, 5)
    for step, phase in ((workload.prefill(512), "prefill"), (workload.decode(512), "decode")):
        together = run(stack.model, stack, Machines(machines), workload, step, phase)  # type: ignore[arg-type]
        for place, machine in enumerate(machines):
            alone = run(stack.model, stack, machine, workload, step, phase)  # type: ignore[arg-type]
            for name in ("tok_s", "low_tok_s", "high_tok_s", "ceiling_tok_s", "flops", "bytes"):
                whole = np.broadcast_to(getattr(together, name), (len(fleet), *shape))[place]
                np.testing.assert_allclose(whole, np.broadcast_to(getattr(alone, name), shape), rtol=1e-12)
            np.testing.assert_array_equal(
                np.broadcast_to(together.bound, (len(fleet), *shape))[place], np.broadcast_to(alone.bound, shape)
            )


def test_machines_of_different_engines_are_not_put_together() -> None:
    machines = [api.load_machine(one, "llama.cpp", None, None, None)[0] for one in ("rpi5", "rtx-3090")]
    with pytest.raises(ValueError, match="under one engine"):
        Machines(machines)
    with pytest.raises(ValueError, match="single devices"):
        Machines([api.load_machine("rtx-3090x2", "llama.cpp", None, None, None)[0]])
