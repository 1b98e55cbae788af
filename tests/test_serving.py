"""Many users at once: a shared pass lies between its bounds, the knee is where the step doubles, a cache is a start."""

import csv
import io
import json
import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline import api
from roofline.calculator import run as calculate
from roofline.columns import COLUMNS
from roofline.prediction import Phase, Prediction
from roofline.serving.chunked import OF_A_SEQUENCE, chunked
from roofline.serving.embedding import embed
from roofline.serving.knee import MOST_USERS, Reach, generation, knee, most_in_memory, reach
from roofline.serving.users import cached_tokens, serve, serving
from roofline.spec import SpecError
from roofline.workload import Step
from tests.doc_blocks import ROOT
from tests.running import Run, runner

MACHINES = [
    ("rtx-4090", "llama-3.1-8b", "q4_k_m"),
    ("rtx-3090", "qwen3-30b-a3b", "q4_k_m"),
    ("ryzen-7950x", "llama-3.1-8b", "q4_k_m"),
    ("rpi5", "llama-3.2-1b", "q4_0"),
    ("m2-ultra-76", "gemma-3-12b", "q8_0"),
]
#: Speeds of the whole command line in JSON.
ASKED = ("--hw", "rtx-4090", "--model", "llama-3.1-8b", "--quant", "q4_k_m")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


def one(where: tuple[str, str, str], **work: float) -> Prediction:
    return api.predict(*where, **{"prompt": 2048, "gen": 128, **work})  # type: ignore[arg-type]


@cache
def known(where: tuple[str, str, str]) -> Prediction:
    return one(where)


def seconds_of(prediction: Prediction, step: Step) -> float:
    part = prediction
    return float(calculate(part.model, part.weights, part.machine, part.workload, step).seconds)


# -- the output head --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("outputs", "rows"), [(0.0, 0.0), (1.0, 1.0), (4.0, 4.0)])
def test_logits_are_made_of_the_tokens_that_are_wanted(outputs: float, rows: float) -> None:
    """Three sequences of four tokens in one pass: 2 · hidden · vocab FLOP for each wanted token of each sequence."""
    model = api.predict("rpi5", "llama-3.2-1b", "q4_0").model
    step = Step(3.0, 4.0, 0.0, 12.0, outputs=outputs)
    head = [demand for group, _, demand in model.demands(step) if not group and demand.kind == "matmul"]
    assert sum(float(demand.flops) for demand in head) == 2 * model.hidden * model.vocab * 3 * rows
    assert sum(float(demand.weights) for demand in head) == (model.hidden * model.vocab if rows else 0)


# -- a newcomer beside running users ----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", MACHINES, ids=lambda where: where[0])
@pytest.mark.parametrize("running", [1.0, 7.0, 40.0])
def test_a_shared_pass_lies_between_the_prompt_alone_and_both_one_after_the_other(
    where: tuple[str, str, str], running: float
) -> None:
    """Weights read once for both cannot cost more than read twice, and the prompt is not free."""
    prediction = one(where)
    found = chunked(prediction, running, 512)
    room = 512 - running
    steps = -(-2048 // room)
    assert float(found.steps) == steps
    alone = seconds_of(prediction, Step(1.0, room * (steps - 1), 0.0, room))
    last = seconds_of(prediction, Step(1.0, 2048 - room * (steps - 1), room * (steps - 1), 512.0))
    step = Step(running, steps, 2048 + (128 - steps) / 2, running)
    assert alone < float(found.phase.seconds) < (alone + last + seconds_of(prediction, step)) * (1 + 1e-9)
    assert float(found.step_seconds) > seconds_of(prediction, step) / steps


@settings(max_examples=60, deadline=None)
@given(
    where=st.sampled_from(MACHINES),
    running=st.integers(17, 100),
    prompt=st.integers(64, 8192),
    chunk=st.sampled_from([128, 512, 700, 2048]),
    gen=st.integers(1, 512),
)
def test_a_shared_pass_lies_between_its_parts_and_their_sum(
    where: tuple[str, str, str], running: int, prompt: int, chunk: int, gen: int
) -> None:
    """More users than any kernel for few tokens takes, so that the parts run in the kernels of the whole."""
    prediction = api.predict(*where, prompt=prompt, gen=gen)
    found = chunked(prediction, float(running), chunk)
    steps, ubatch = float(found.steps), prediction.machine.runtime.ubatch
    alone = seconds_of(prediction, Step(1.0, prompt, 0.0, min(chunk - running, ubatch)))
    others = seconds_of(prediction, Step(running, steps, prompt + (gen - steps) / 2, running))
    assert max(alone, others) * (1 - 1e-9) <= float(found.phase.seconds) <= (alone + others) * (1 + 1e-9)


def test_the_passes_of_a_step_are_pipelined_over_the_devices() -> None:
    """Steps of 2048 tokens are four passes of 512: two devices need (4 + 1) / (2 · 4) of one's time; of one, all."""
    two, alone = (api.predict(hw, "llama-3.1-8b", "q4_k_m", prompt=8188, gen=128) for hw in ("rtx-3090x2", "rtx-3090"))
    for chunk, share in ((2048, 5 / 8), (512, 1.0)):
        many, single = (chunked(found, 1.0, chunk) for found in (two, alone))
        assert float(many.phase.seconds) == pytest.approx(share * float(single.phase.seconds), rel=0.01)


def test_a_shared_pass_does_the_work_of_both() -> None:
    """FLOPs of all but the head add up; weights are read once a pass: 2048 + 40 · 5 tokens make 4 passes and a rest."""
    prediction = one(MACHINES[0])
    found = chunked(prediction, 40.0, 512)
    assert float(found.steps) == 5.0  # 2048 / 472
    whole = calculate(
        prediction.model, prediction.weights, prediction.machine, prediction.workload, Step(1.0, 2048.0, 0.0, 472.0)
    )
    others = calculate(
        prediction.model, prediction.weights, prediction.machine, prediction.workload,
        Step(40.0, 5.0, 2048 + 123 / 2, 40.0),
    )  # fmt: skip

    def flops(phase: Phase, kinds: tuple[str, ...]) -> float:
        return sum(
            float(cost.flops)
            for cost in phase.operators
            if cost.kind in kinds and cost.operator not in ("output", "token_embd")
        )

    for kinds in (("matmul",), OF_A_SEQUENCE):
        assert flops(found.phase, kinds) == pytest.approx(flops(whole, kinds) + flops(others, kinds), rel=1e-9)
    read = {cost.operator: float(cost.weight_bytes) for cost in found.phase.operators}
    single = {cost.operator: float(cost.weight_bytes) for cost in others.operators}
    assert read["attn_q"] == pytest.approx(single["attn_q"] / 5)  # the rest's own pass, the last of its name


def test_users_who_leave_no_room_or_are_none_are_told_apart() -> None:
    lines = {line.users: line for line in serve(*MACHINES[0], users="1,8,9", chunk=8).lines}
    assert lines[1].newcomer_ttft_s == lines[1].ttft_s
    assert lines[1].newcomer_tpot_s is None
    assert lines[8].newcomer_ttft_s is not None  # seven others and one token of the prompt
    assert lines[9].newcomer_ttft_s is None
    assert lines[9].stall_s is not None


@pytest.mark.parametrize("where", MACHINES, ids=lambda where: where[0])
def test_an_array_of_users_is_its_elements(where: tuple[str, str, str]) -> None:
    prediction = one(where)
    users = np.array([1.0, 3.0, 8.0, 9.0, 100.0, 511.0])
    together = chunked(prediction, users, 512)
    for at, number in enumerate(users):
        alone = chunked(prediction, float(number), 512)
        assert np.broadcast_to(together.phase.seconds, users.shape)[at] == pytest.approx(float(alone.phase.seconds))
        assert np.broadcast_to(together.steps, users.shape)[at] == float(alone.steps)


def test_a_smaller_chunk_shortens_the_gap_and_lengthens_the_newcomer_s_wait() -> None:
    lines = [serve(*MACHINES[0], prompt="8k", users="16", chunk=chunk).lines[0] for chunk in (128, 256, 512, 2048)]
    gaps = [line.gap_s or 0.0 for line in lines]
    waits = [line.newcomer_ttft_s or 0.0 for line in lines]
    assert gaps == sorted(gaps)
    assert waits == sorted(waits, reverse=True)
    assert all(line.newcomer_tpot_s <= line.gap_s < line.stall_s for line in lines)  # type: ignore[operator]


def test_where_all_sequences_share_their_rows_a_prompt_at_one_go_meets_them_too() -> None:
    """llama.cpp of early 2025: one chunk that holds the whole prompt is no shorter a gap than the prompt at one go."""
    (line,) = serve("h100-sxm", "llama-3.1-8b", "f16", runtime="llama.cpp-2025", users="8").lines
    (now,) = serve("h100-sxm", "llama-3.1-8b", "f16", users="8").lines
    assert line.gap_s == pytest.approx(line.stall_s, rel=0.02)
    assert line.stall_s > now.stall_s  # type: ignore[operator]


# -- the knee ---------------------------------------------------------------------------------------------------------


@given(shared=st.floats(1e-4, 1.0), each=st.floats(1e-4, 1.0))
def test_the_knee_of_a_straight_line_is_where_the_shared_part_is_met(shared: float, each: float) -> None:
    """a + b·n ≤ 2 (a + b) holds up to n = a/b + 2."""
    users = np.arange(1.0, MOST_USERS + 1)
    found = knee(shared + each * users)
    exact = shared / each + 2
    assert found.more == (exact >= MOST_USERS)
    assert found.more or abs(found.users - exact) <= 1


def test_a_kink_does_not_hide_the_knee() -> None:
    """Where kernels change, nine users may be faster than eight: the knee is behind the kink, and says so."""
    step_seconds = np.array([1.0, 1.3, 1.6, 1.9, 2.2, 2.5, 1.2, 1.6, 2.0, 2.4])
    assert knee(step_seconds) == Reach(9, False, (5, 6))
    assert reach(np.array([False, False])) == Reach(0)
    assert reach(np.array([True, True])) == Reach(2, True)


def test_the_knee_comes_earlier_with_deeper_caches_and_later_with_more_arithmetic() -> None:
    depths = [serve(*MACHINES[0], depth=depth, users="1").knee.users for depth in ("0", "4k", "32k")]
    assert depths[0] > depths[1] > depths[2] >= 1
    wide = serve(*MACHINES[0], users="1")
    faster = serve(*MACHINES[0], users="1", figures=["memory.bandwidth=2000GB/s"])
    assert faster.knee.users < wide.knee.users
    assert faster.ridge_users < wide.ridge_users


@pytest.mark.parametrize("where", MACHINES, ids=lambda where: where[0])
def test_users_at_the_knee_keep_half_of_a_lone_user_s_speed(where: tuple[str, str, str]) -> None:
    found = serving(one(where, prompt=64), [1])
    speeds = generation(found.prediction, np.arange(1.0, MOST_USERS + 1)).tok_s / np.arange(1.0, MOST_USERS + 1)
    half = found.alone_tok_s / 2
    assert speeds[found.knee.users - 1] >= half * (1 - 1e-9)
    assert np.all(speeds[found.knee.users :] < half)


@pytest.mark.parametrize("where", MACHINES, ids=lambda where: where[0])
def test_more_users_get_more_together_and_less_each_but_where_kernels_change(where: tuple[str, str, str]) -> None:
    """One token, up to eight, and on some cards up to sixteen run in kernels of their own; behind them are kinks."""
    users = np.arange(1.0, 257.0)
    together = np.asarray(generation(known(where), users).tok_s)
    less = set(np.flatnonzero(np.diff(together) < -1e-9 * together[:-1]) + 1)
    faster = set(np.flatnonzero(np.diff(together / users) > 1e-9) + 1)
    assert less <= {1, 8, 16} and faster <= {1, 8, 16}


# -- how many there may be --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", MACHINES, ids=lambda where: where[0])
def test_one_more_user_than_fits_does_not_fit(where: tuple[str, str, str]) -> None:
    prediction = one(where)
    most = most_in_memory(prediction)
    assert most is not None and most > 0

    def fits(users: int) -> bool:
        return bool(replace(prediction, workload=replace(prediction.workload, batch=float(users))).memory.fits)

    assert fits(most) and not fits(most + 1)


def test_nobody_fits_where_the_weights_do_not(run: Run) -> None:
    found = serve("rtx-4090", "llama-3.3-70b", "q4_k_m", users="1,2")
    assert found.in_memory == 0
    assert all(line.tok_s is None and line.ttft_s is None and not line.fits for line in found.lines)
    done = run("users", "--hw", "rtx-4090", "--model", "llama-3.3-70b", "--quant", "q4_k_m")
    assert done.code == 0 and "Not even one user fits" in done.out and "Knee" not in done.out


def test_the_users_who_are_served_want_less_where_there_are_more() -> None:
    slow, fast = (serve(*MACHINES[0], users="1", min_user_tok_s=speed) for speed in (20.0, 100.0))
    assert slow.served.users > fast.served.users > 0
    assert fast.surely_served.users <= fast.served.users
    each = generation(fast.prediction, np.array([float(fast.served.users), fast.served.users + 1.0]))
    first, second = np.asarray(each.tok_s) / each.step.batch
    assert first >= 100.0 > second


# -- what is in the cache already -------------------------------------------------------------------------------------


def test_a_cached_start_is_a_shorter_prompt_on_a_deeper_cache() -> None:
    """512 tokens after 1536 cached ones, and the same generation after both."""
    found = serve(*MACHINES[0], prompt="2k", cached="75%", users="1,8")
    direct = one(MACHINES[0], prompt=512, depth=1536)
    assert direct.prefill is not None and direct.decode is not None
    assert found.lines[0].ttft_s == pytest.approx(float(direct.prefill.seconds))
    assert found.lines[0].tok_s == pytest.approx(float(direct.decode.tok_s))
    whole = serve(*MACHINES[0], prompt="2k", users="1,8")
    assert found.uncached_ttft_s == pytest.approx(float(whole.lines[0].ttft_s or 0))
    assert found.lines[1].tok_s == pytest.approx(whole.lines[1].tok_s)  # the generation does not change
    assert found.lines[1].total_bytes == whole.lines[1].total_bytes


@settings(max_examples=40, deadline=None)
@given(where=st.sampled_from(MACHINES), one_share=st.integers(0, 2000), more=st.integers(1, 2000))
def test_the_first_token_comes_sooner_the_more_is_cached(
    where: tuple[str, str, str], one_share: int, more: int
) -> None:
    """With at least seventeen tokens left, more than the kernels for few tokens take."""
    less, most = (serving(known(where), [1], cached=min(tokens, 2031)) for tokens in (one_share, one_share + more))
    assert most.lines[0].ttft_s <= less.lines[0].ttft_s <= less.uncached_ttft_s * (1 + 1e-9)  # type: ignore[operator]


@pytest.mark.parametrize("where", MACHINES, ids=lambda where: where[0])
def test_nothing_cached_is_what_predict_says(where: tuple[str, str, str]) -> None:
    found, prefill = serving(known(where), [1]), known(where).prefill
    assert prefill is not None
    times = (found.lines[0].ttft_s, found.lines[0].newcomer_ttft_s, found.uncached_ttft_s)
    assert times == pytest.approx([float(prefill.seconds)] * 3, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("0", 0),
        ("0.5", 256),
        ("50%", 256),
        (".25", 128),
        ("100%", 511),
        ("1.0", 511),
        ("1", 1),
        ("512", 511),
        ("100", 100),
    ],
)
def test_what_is_cached_is_a_share_or_tokens_and_leaves_one_to_compute(text: str, tokens: int) -> None:
    assert cached_tokens(text, 512) == tokens


@pytest.mark.parametrize("text", ["513", "101%", "1.5", "half", "", "-1", "nan", "9" * 99])
def test_what_cannot_be_cached_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="--cached: expected a share of the prompt"):
        cached_tokens(text, 512)


# -- embeddings -------------------------------------------------------------------------------------------------------


def test_an_embedding_leaves_out_the_head_and_nothing_else() -> None:
    """qwen3-0.6b, 512 tokens in one pass: a prompt makes logits of one token, an embedding of none."""
    (found,) = embed("rtx-3090", "qwen3-0.6b", "q8_0", batch="1")
    prompt = api.predict("rtx-3090", "qwen3-0.6b", "q8_0", prompt=512, gen=0).prefill
    assert prompt is not None
    head = found.prediction.model.head.role
    left = [cost for cost in prompt.operators if not (cost.kind == "matmul" and cost.operator == head)]
    assert float(found.phase.seconds) == pytest.approx(sum(float(cost.seconds) for cost in left))
    assert float(found.with_head.flops - found.phase.flops) == pytest.approx(2 * 512 * 1024 * 151936)
    assert found.texts_s == pytest.approx(float(found.phase.tok_s) / 512)


@pytest.mark.parametrize(
    ("prompt", "batch", "ubatch", "together", "cached"),
    [("512", "32", None, 1, 4), ("128", "32", None, 4, 16), ("128", "2", None, 2, 2), ("4k", "8", None, 1, 1)],
)
def test_texts_share_passes_and_their_caches_are_those_of_a_batch(
    prompt: str, batch: str, ubatch: int | None, together: int, cached: int
) -> None:
    """llama.cpp: passes of 512 tokens, batches of 2048."""
    (found,) = embed("rtx-3090", "qwen3-0.6b", "q8_0", prompt=prompt, batch=batch, ubatch=ubatch)
    assert found.together == together
    (single,) = embed("rtx-3090", "qwen3-0.6b", "q8_0", prompt=prompt, batch="1")
    assert float(found.memory.kv_cache) == pytest.approx(cached * float(single.memory.kv_cache))
    assert found.batch_s == pytest.approx(int(batch) / found.texts_s)


# -- the commands -----------------------------------------------------------------------------------------------------


def test_the_json_of_users_says_what_the_table_says(run: Run) -> None:
    done = run("users", *ASKED, "--users", "1,8", "--chunk", "512", "--format", "json")
    found = json.loads(done.out)
    assert done.code == 0 and found["schema"] == "roofline.users/1"
    assert [row["users"] for row in found["rows"]] == [1, 8]
    assert found["rows"][1]["tok_s"] == pytest.approx(8 * found["rows"][1]["user_tok_s"])
    decode = api.predict("rtx-4090", "llama-3.1-8b", "q4_k_m", batch=8).decode
    assert decode is not None
    assert found["rows"][1]["tok_s"] == pytest.approx(float(decode.tok_s))
    assert found["rows"][1]["low_tok_s"] == pytest.approx(float(decode.low_tok_s))
    table = run("users", *ASKED, "--chunk", "512").out
    assert f"Knee: {found['knee_users']} users" in table
    assert f"Memory: {found['users_in_memory']} users at most" in table
    marks = [line.split()[-1] for line in table.splitlines() if line.strip().startswith(str(found["knee_users"]))]
    assert marks == ["knee"]
    rows = list(csv.DictReader(io.StringIO(run("users", *ASKED, "--users", "1,8", "--format", "csv").out)))
    assert [float(row["tok_s"]) for row in rows] == pytest.approx([row["tok_s"] for row in found["rows"]])


def test_layers_of_a_pair_are_placed_for_the_most_users_asked_for() -> None:
    few, many = (serve("rtx-3090+ryzen-7950x", "llama-3.3-70b", "q4_k_m", users=users) for users in ("1", "1,64"))
    assert few.prediction.placement is not None and many.prediction.placement is not None
    assert few.prediction.placement.gpu_layers > many.prediction.placement.gpu_layers
    assert all(line.fits for line in many.lines)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--users", "0"), "--users: expected numbers from 1 to 4096, found '0'"),
        (("--users", "1,x"), "--users: expected a whole number"),
        (("--prompt", "0"), "--prompt: expected at least 1 token, found '0'"),
        (("--gen", "0"), "--gen: expected at least 1 token"),
        (("--prompt", "1,2"), "--prompt: expected one number"),
        (("--cached", "2k"), "--cached: expected a share"),
        (("--min-user-tok-s", "0"), "--min-user-tok-s: expected a speed above 0, found 0"),
        (("--min-user-tok-s", "nan"), "--min-user-tok-s: expected a speed above 0, found nan"),
        (("--min-user-tok-s", "inf", "--format", "json"), "--min-user-tok-s: expected a speed above 0, found inf"),
        (("--users", ""), "--users: expected a whole number"),
    ],
)
def test_impossible_users_are_refused_in_one_line(run: Run, options: tuple[str, ...], message: str) -> None:
    done = run("users", *ASKED, *options)
    assert done.code == 1 and done.out == "" and done.err.startswith(f"error: {message}"), done
    assert done.err.count("\n") == 1


def test_embeddings_are_printed_and_bad_ones_refused(run: Run) -> None:
    asked = ("embed", "--hw", "rtx-3090", "--model", "qwen3-0.6b", "--quant", "q8_0")
    rows = json.loads(run(*asked, "--prompt", "128,512", "--format", "json").out)["rows"]
    assert [row["prompt"] for row in rows] == [128, 512]
    assert all(
        row["low_tok_s"] < row["tok_s"] < row["high_tok_s"] and row["with_head_tok_s"] < row["tok_s"] for row in rows
    )
    assert run(*asked, "--batch", "0").err.startswith("error: --batch: expected at least 1, found '0'")
    table = run("embed", "--hw", "rpi5", "--model", "llama-3.3-70b", "--quant", "q4_0").out
    assert "does not fit" in table


def test_several_cards_embed_as_one_machine() -> None:
    tensor, alone = (
        embed(hw, "llama-3.1-8b", "q8_0", split=split) for hw, split in (("rtx-3090x2", "tensor"), ("rtx-3090", None))
    )
    assert alone[0].texts_s < tensor[0].texts_s < 2 * alone[0].texts_s


@pytest.mark.parametrize(
    "words",
    [
        ("users", *ASKED, "--prompt", "4k", "--chunk", "512"),
        ("users", "--hw", "rpi5", "--model", "llama-3.1-8b", "--quant", "q4_k_m"),
        ("speculate", *ASKED, "--draft", "llama-3.2-1b", "--draft-quant", "q4_k_m"),
        ("embed", *ASKED, "--prompt", "128,512"),
        ("threads", "--hw", "i9-14900k", "--model", "llama-3.1-8b", "--quant", "q4_k_m"),
    ],
    ids=lambda words: words[0],
)
def test_tables_fit_a_screen_and_every_key_is_explained(run: Run, words: tuple[str, ...]) -> None:
    table = run(*words).out.split("\n\n")[1]
    assert max(map(len, table.splitlines())) <= 150
    found = json.loads(run(*words, "--format", "json").out)
    keys = {*found, *(key for row in found["rows"] for key in row)} - {"schema", "rows", "why"}
    assert keys <= set(COLUMNS)
    described = (ROOT / "docs/reference/output.md").read_text(encoding="utf-8")
    assert all(re.search(rf"`(rows\[\]\.)?{key}`", described) for key in keys)
    (header, *_) = run(*words, "--format", "csv").out.splitlines()
    assert header.split(",") == list(found["rows"][0])
    assert run(*words, "--format", "md").out.count("|:") > 0


def test_layers_that_are_placed_are_said_to_limit_the_users(run: Run) -> None:
    done = run("users", "--hw", "rtx-3090+ryzen-7950x", "--model", "llama-3.3-70b", "--quant", "q4_k_m", "--users", "8")
    assert "users at most, with the layers where they are," in done.out
