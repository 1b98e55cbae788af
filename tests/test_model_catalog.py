"""Every model file against published totals, and the properties that any model has to have."""

import csv
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline import demand
from roofline.blocks import Attention, DeltaNet, Experts, LatentAttention, Layer, Mlp, StateSpace
from roofline.catalog import load_model, normalise
from roofline.demand import Demand
from roofline.model import Model
from roofline.workload import Step

MODELS = Path(__file__).parent.parent / "models"
DATA = Path(__file__).parent / "data"
FILES = {path.stem: path for path in sorted(MODELS.rglob("*.toml"))}
# The only published total of Mixtral 8x22B is that of a tune with 768 more words.
OTHER_VOCABULARY = {"mixtral-8x22b"}
KIB = 1024
F16 = 2  # bytes an element


def table(name: str) -> dict[str, dict[str, str]]:
    """The rows of a CSV file in tests/data by id, comments left out."""
    lines = (DATA / name).read_text(encoding="utf-8").splitlines()
    return {row["id"]: row for row in csv.DictReader(line for line in lines if not line.startswith("#"))}


BEYOND = table("beyond.csv")
ACTIVE = table("active_parameters.csv")


@cache
def model(name: str) -> Model:
    return load_model(name).spec


# -- the files --------------------------------------------------------------------------------------------------------


def test_the_catalog_holds_the_listed_models() -> None:
    assert set(FILES) == set((DATA / "model_ids.txt").read_text(encoding="utf-8").split())
    assert len(FILES) == len(list(MODELS.rglob("*.toml"))), "two files have one name"


def test_every_name_means_one_model() -> None:
    owners: dict[str, str] = {}
    for identity in FILES:
        for name in (identity, *model(identity).aliases):
            assert owners.setdefault(normalise(name), identity) == identity, f"{name} is also {owners[normalise(name)]}"


@pytest.mark.parametrize(
    ("spelling", "identity"),
    [
        ("mistral7b", "mistral-7b"),
        ("Mistral-7B", "mistral-7b"),
        ("mistral7b-v0.1", "mistral-7b"),
        ("llama-7b", "llama-1-7b"),
        ("llama3-8b", "llama-3-8b"),
        ("Meta-Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("mixtral", "mixtral-8x7b"),
        ("deepseek-v3-671b", "deepseek-v3"),
        ("qwen3-30b", "qwen3-30b-a3b"),
        ("gpt-oss", "gpt-oss-20b"),
    ],
)
def test_spellings_that_people_use(spelling: str, identity: str) -> None:
    assert load_model(spelling).id == identity


@pytest.mark.parametrize("identity", FILES)
def test_file_cites_its_shape_and_states_a_total(identity: str) -> None:
    spec = model(identity)
    assert spec.source
    assert spec.parameters is not None
    assert spec.parameters.source
    assert spec.max_context
    assert all(source.url.startswith("https://") for source in spec.sources.values() if source.url)


@pytest.mark.parametrize("identity", FILES)
def test_parameters_equal_the_published_total(identity: str) -> None:
    spec = model(identity)
    assert spec.parameters is not None
    published = spec.parameters.value
    assert bool(spec.parameters.beyond) == (identity in BEYOND), "tests/data/beyond.csv lists every exception"
    # What the total holds beyond the shape is known as well; without it the two would be equal.
    excess = int(BEYOND[identity]["excess"]) if identity in BEYOND else 0
    assert spec.parameter_count + excess == pytest.approx(published, rel=1e-3)
    # A total that is not rounded is met exactly, but for rotary frequencies stored as weights: at most 64 a layer.
    if published % 10_000_000 and identity not in OTHER_VOCABULARY:
        assert 0 <= published - (spec.parameter_count + excess) <= 64 * spec.layers
    if excess:
        assert spec.parameter_count < published


@pytest.mark.parametrize("identity", ACTIVE)
def test_active_parameters_of_models_with_experts(identity: str) -> None:
    # Ours adds one row of the embedding and the biases of the router: far less than the tolerance.
    assert model(identity).active_parameter_count == pytest.approx(int(ACTIVE[identity]["active_parameters"]), rel=5e-3)


def test_every_model_with_experts_is_listed_with_its_active_parameters() -> None:
    assert {identity for identity in FILES if model(identity).expert_count} == set(ACTIVE)


@pytest.mark.parametrize(
    ("identity", "billions"),
    # gpt-oss: table 1 of the model card; DeepSeek-V3: abstract of arXiv 2412.19437; Kimi K2 and Qwen3: model cards.
    [("gpt-oss-20b", 3.61), ("gpt-oss-120b", 5.13), ("deepseek-v3", 37), ("kimi-k2", 32), ("qwen3-235b-a22b", 22)],
)
def test_active_parameters_as_the_makers_state_them(identity: str, billions: float) -> None:
    # Stated to the digits shown.
    half_digit = 0.005 if billions < 10 else 0.5
    assert model(identity).active_parameter_count / 1e9 == pytest.approx(billions, abs=half_digit)


@pytest.mark.parametrize("identity", FILES)
def test_tensors_add_up_and_have_names_of_their_own(identity: str) -> None:
    tensors = model(identity).tensors()
    assert len({tensor.name for tensor in tensors}) == len(tensors)
    assert sum(tensor.elements for tensor in tensors) == model(identity).parameter_count


# -- KV cache ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "kib"),
    [
        ("llama-1-65b", 2560),  # 80 layers x 2 x 64 heads x 128 x 2 B
        ("llama-2-7b", 512),  # 32 x 2 x 32 x 128 x 2
        ("llama-2-13b", 800),  # 40 x 2 x 40 x 128 x 2: 400 MiB at 512 positions
        ("llama-1-13b", 800),
        ("llama-3-8b", 128),  # 32 x 2 x 8 x 128 x 2
        ("mistral-7b", 128),
        ("mixtral-8x7b", 128),
        ("llama-3-70b", 320),  # 80 x 2 x 8 x 128 x 2
        ("tinyllama-1.1b", 22),  # 22 x 2 x 4 x 64 x 2
        ("qwen3-30b-a3b", 96),  # 48 x 2 x 4 x 128 x 2
        ("llama-3.1-405b", 504),  # 126 x 2 x 8 x 128 x 2
        # Hybrids store keys and values in their attention layers alone.
        ("qwen3.6-27b", 64),  # 16 of 64 layers x 2 x 4 x 256 x 2
        ("qwen3.6-35b-a3b", 20),  # 10 of 40 x 2 x 2 x 256 x 2
        ("qwen3.5-122b-a10b", 24),  # 12 of 48 x 2 x 2 x 256 x 2
        ("qwen3.5-0.8b", 12),  # 6 of 24 x 2 x 2 x 256 x 2
        ("nemotron-3-super-120b-a12b", 8),  # 8 of 88 x 2 x 2 x 128 x 2
        # Two kinds of attention layer: (25 x 8 x 256 + 5 x 2 x 512) x 2 x 2.
        ("gemma-4-26b-a4b", 220),
        ("gemma-4-31b", 880),  # (50 x 16 x 256 + 10 x 4 x 512) x 2 x 2
    ],
)
def test_kv_cache_of_one_position(identity: str, kib: int) -> None:
    assert sum(model(identity).kv_elements()) * F16 == kib * KIB


@pytest.mark.parametrize(
    ("identity", "elements"),
    [
        ("deepseek-v3", 61 * 576),  # kv_rank 512 + rope 64, once for K and V
        ("deepseek-v2-lite", 27 * 576),
        ("deepseek-v4-flash", 43 * 512),  # one vector serves as key and as value
    ],
)
def test_latent_caches_store_no_values(identity: str, elements: int) -> None:
    assert model(identity).kv_elements() == (elements, 0)


@pytest.mark.parametrize(
    ("identity", "kind", "elements"),
    [
        ("qwen3.6-27b", "linear", 48 * 128 * 128),
        ("qwen3.5-122b-a10b", "linear", 64 * 128 * 128),
        ("nemotron-3-super-120b-a12b", "mamba", 128 * 64 * 128),
    ],
)
def test_recurrent_state_of_a_layer(identity: str, kind: str, elements: int) -> None:
    mixer = model(identity).blocks[kind].mixer
    assert isinstance(mixer, StateSpace | DeltaNet)
    assert mixer.state_elements == elements


def test_parameters_of_a_mamba_block() -> None:
    spec = model("nemotron-3-super-120b-a12b")
    block = spec.blocks["mamba"]
    mixed = 8192 + 2 * 8 * 128  # x, and B and C of 8 groups, pass through the convolution
    expected = 4096 * (8192 + mixed + 128)  # input projection: gate, x B C, time step
    expected += 5 * mixed  # four taps and a bias
    expected += 3 * 128 + 8192 + 4096  # decay, skip and time-step bias a head; gated norm; norm of the layer
    expected += 8192 * 4096  # output projection
    stored = sum(matrix.columns * matrix.rows for matrix in block.matrices(4096))
    assert stored + sum(elements for _, elements in block.vectors(4096)) == expected


# -- the order of the layers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "period", "global_at", "window"),
    [
        ("gemma-2-9b", 2, 1, 4096),
        ("gpt-oss-120b", 2, 1, 128),
        ("gemma-2-2b", 2, 1, 4096),
        ("gemma-2-27b", 2, 1, 4096),
        ("gpt-oss-20b", 2, 1, 128),
        ("gemma-3-1b", 6, 5, 512),
        ("gemma-3-4b", 6, 5, 1024),
        ("gemma-3-12b", 6, 5, 1024),
        ("gemma-3-27b", 6, 5, 1024),
        ("gemma-4-26b-a4b", 6, 5, 1024),
        ("gemma-4-31b", 6, 5, 1024),
        ("llama-4-scout", 4, 3, 8192),
    ],
)
def test_windows_alternate_with_global_layers(identity: str, period: int, global_at: int, window: int) -> None:
    spec = model(identity)
    for index, kind in enumerate(spec.order):
        attention = spec.blocks[kind].attention
        assert attention is not None
        assert attention.window == (None if index % period == global_at else window)


@pytest.mark.parametrize(
    ("identity", "dense"),
    [
        ("deepseek-v3", 3),
        ("deepseek-v2-lite", 1),
        ("kimi-k2", 1),
        ("glm-4.5-air", 1),
        ("glm-4.7-flash", 1),
        ("dots.llm1", 1),
    ],
)
def test_first_layers_without_experts(identity: str, dense: int) -> None:
    spec = model(identity)
    assert [spec.blocks[kind].experts is None for kind in spec.order] == [index < dense for index in range(spec.layers)]


def test_nemotron_follows_the_pattern_of_its_config() -> None:
    pattern = "MEMEMEM*EMEMEMEM*EMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEM*EMEMEMEME"
    letters = {"mamba": "M", "experts": "E", "attention": "*"}
    assert "".join(letters[kind] for kind in model("nemotron-3-super-120b-a12b").order) == pattern


# -- properties of every block ----------------------------------------------------------------------------------------

small = st.integers(1, 6)
windows = st.one_of(st.none(), st.integers(1, 64))


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    """A layer of any kind."""
    kv_heads = draw(small)
    heads = kv_heads * draw(small)
    mixer = draw(st.sampled_from(["attention", "latent_attention", "state_space", "delta_net"]))
    layer: dict[str, object] = {}
    if mixer == "attention":
        layer[mixer] = Attention(
            heads=heads,
            kv_heads=kv_heads,
            head_dim=8 * draw(small),
            window=draw(windows),
            fused=draw(st.booleans()),
            qkv_bias=draw(st.booleans()),
            gated=draw(st.booleans()),
        )
    elif mixer == "latent_attention":
        q_rank = draw(st.one_of(st.none(), st.integers(1, 64)))
        layer[mixer] = LatentAttention(heads=heads, q_rank=q_rank, kv_rank=8 * draw(small), nope=8, rope=4, value=8)
    elif mixer == "state_space":
        layer[mixer] = StateSpace(heads=heads, head_dim=8, state=draw(small) * 8, groups=1)
    else:
        layer[mixer] = DeltaNet(key_heads=kv_heads, value_heads=heads, head_dim=8)
    if draw(st.booleans()):
        layer["mlp"] = Mlp(width=8 * draw(small), gated=draw(st.booleans()))
    else:
        experts = draw(st.integers(2, 16))
        active = draw(st.integers(1, experts))
        layer["experts"] = Experts(experts=experts, active=active, width=8, shared_width=8 * draw(small))
    return Layer.model_validate(layer)


def total(demands: list[Demand], quantity: str) -> float:
    return float(sum(getattr(one, quantity) for one in demands))


def of_layer(layer: Layer, step: Step, quantity: str, hidden: int = 64) -> float:
    return total(list(layer.demands(step, hidden)), quantity)


@given(layer=layers(), count=st.integers(1, 20))
def test_parameters_are_linear_in_layers(layer: Layer, count: int) -> None:
    def parameters(number: int) -> int:
        return Model(
            name="m", architecture="llama", vocab=100, hidden=64, layers=number, blocks={"layer": layer}
        ).parameter_count

    assert parameters(2 * count) - parameters(count) == parameters(3 * count) - parameters(2 * count)
    # Outside the layers: embedding, head, last norm.
    assert 2 * parameters(count) - parameters(2 * count) == 2 * 100 * 64 + 64


@given(layer=layers(), count=st.integers(1, 20))
def test_every_layer_of_a_kind_asks_for_the_same(layer: Layer, count: int) -> None:
    spec = Model(name="m", architecture="llama", vocab=100, hidden=64, layers=count, blocks={"layer": layer})
    assert [(group.name, len(group.indices)) for group in spec.groups] == [("layer", count)]


@given(heads=small, head_dim=small.map(lambda n: 8 * n), past=st.integers(0, 500), new=st.integers(1, 100))
def test_multi_head_attention_is_grouped_attention_with_all_heads(
    heads: int, head_dim: int, past: int, new: int
) -> None:
    hidden = heads * head_dim
    attention = Attention(heads=heads, kv_heads=heads, head_dim=head_dim)
    # Multi-head attention (Vaswani 2017): four square matrices, K and V rows as wide as the hidden state.
    assert sum(matrix.columns * matrix.rows for matrix in attention.matrices(hidden)) == 4 * hidden**2
    assert attention.kv_elements == (hidden, hidden)
    step = Step(1, new, past, 512)
    core = next(one for one in attention.demands(step, hidden) if one.kind == "attention")
    # Token i of the step sees past + i positions, each a dot product and a sum over `hidden` elements: 4·hidden FLOP.
    assert core.flops == pytest.approx(4 * hidden * sum(past + i for i in range(1, new + 1)))


@given(kv_heads=small, group=small, past=st.integers(0, 500))
def test_fewer_kv_heads_save_cache_but_no_scores(kv_heads: int, group: int, past: int) -> None:
    step = Step(1, 1, past, 1)
    grouped = Layer(attention=Attention(heads=kv_heads * group, kv_heads=kv_heads, head_dim=8))
    full = Layer(attention=Attention(heads=kv_heads * group, kv_heads=kv_heads * group, head_dim=8))
    assert of_layer(full, step, "kv_read") == pytest.approx(group * of_layer(grouped, step, "kv_read"))

    def core(layer: Layer) -> Demand:
        return next(one for one in layer.demands(step, 64) if one.kind == "attention")

    assert core(full).flops == core(grouped).flops


@given(width=small, hidden=small, gated=st.booleans(), batch=small, new=st.integers(1, 600), limit=st.integers(8, 512))
def test_a_dense_mlp_is_one_expert_of_one(
    width: int, hidden: int, gated: bool, batch: int, new: int, limit: int
) -> None:
    step = Step(batch, new, 0, limit)
    dense = {one.operator: one for one in Mlp(width=width, gated=gated).demands(step, hidden) if one.kind == "matmul"}
    experts = Experts(experts=1, active=1, width=width, gated=gated)
    sparse = {one.operator: one for one in experts.demands(step, hidden) if one.operator.endswith("_exps")}
    assert {f"{operator}_exps" for operator in dense} == set(sparse)
    for operator, one in dense.items():
        other = sparse[f"{operator}_exps"]
        assert (one.flops, one.weights, one.activations) == (other.flops, other.weights, other.activations)
        # The formula for experts itself, which the block by-passes for a single one.
        columns, rows = (width, hidden) if operator == "ffn_down" else (hidden, width)
        general = demand.expert_matmul(step, operator, columns, rows, 1, 1)
        assert (general.flops, general.weights) == pytest.approx((one.flops, one.weights))


@given(layer=layers(), batch=small, new=st.integers(1, 300), past=st.integers(0, 300), limit=st.integers(8, 512))
def test_a_prompt_in_chunks_costs_the_same_operations(
    layer: Layer, batch: int, new: int, past: int, limit: int
) -> None:
    whole, chunked = Step(batch, new, past, batch * new), Step(batch, new, past, limit)
    assert of_layer(layer, chunked, "flops") == pytest.approx(of_layer(layer, whole, "flops"))
    # Each chunk reads the weights once more, experts at least as many in all.
    assert of_layer(layer, chunked, "weights") >= of_layer(layer, whole, "weights") * (1 - 1e-9)


@given(layer=layers(), batch=small, first=st.integers(1, 200), second=st.integers(1, 200), past=st.integers(0, 200))
def test_a_prompt_is_the_sum_of_its_parts(layer: Layer, batch: int, first: int, second: int, past: int) -> None:
    limit = 10**6
    whole = Step(batch, first + second, past, limit)
    parts = Step(batch, first, past, limit), Step(batch, second, past + first, limit)
    for quantity in ("flops", "kv_written", "activations"):
        assert of_layer(layer, whole, quantity) == pytest.approx(sum(of_layer(layer, part, quantity) for part in parts))


@given(layer=layers(), batch=small, new=st.integers(1, 200), past=st.integers(0, 200), limit=st.integers(1, 128))
def test_a_batch_costs_its_sequences_and_one_read_of_the_weights(
    layer: Layer, batch: int, new: int, past: int, limit: int
) -> None:
    one, many = Step(1, new, past, limit), Step(batch, new, past, batch * limit)
    for quantity in ("flops", "kv_read", "kv_written", "state", "activations"):
        assert of_layer(layer, many, quantity) == pytest.approx(batch * of_layer(layer, one, quantity))
    dense = layer.model_copy(update={"experts": None})
    assert of_layer(dense, many, "weights") == pytest.approx(of_layer(dense, one, "weights"))


@given(window=st.integers(1, 60), chunk=st.integers(1, 40), passes=st.integers(1, 8), past=st.integers(0, 100))
def test_a_chunk_reads_what_its_tokens_see_between_them(window: int, chunk: int, passes: int, past: int) -> None:
    step = Step(1, chunk * passes, past, chunk)
    layer = Layer(attention=Attention(heads=4, kv_heads=2, head_dim=8, window=window))
    # The tokens of a pass stand at start + 1 … start + chunk; the first sees back to start + 2 − window.
    starts = [past + j * chunk for j in range(passes)]
    seen = [start + chunk - max(start + 1 - window, 0) for start in starts]
    assert of_layer(layer, step, "kv_read") == pytest.approx(2 * 2 * 8 * sum(seen))


@given(layer=layers(), batch=small, count=st.integers(1, 100), past=st.integers(0, 100))
def test_a_generation_is_the_sum_of_its_tokens(layer: Layer, batch: int, count: int, past: int) -> None:
    together = Step(batch, count, past, batch)
    single = [Step(batch, 1, past + i, batch) for i in range(count)]
    for quantity in ("flops", "weights", "kv_read", "kv_written", "state", "activations"):
        assert of_layer(layer, together, quantity) == pytest.approx(
            sum(of_layer(layer, one, quantity) for one in single)
        )


@given(layer=layers(), new=st.integers(1, 100), past=st.integers(0, 1000), more=st.integers(1, 1000))
def test_a_longer_context_never_reads_less(layer: Layer, new: int, past: int, more: int) -> None:
    near, far = Step(1, new, past, 64), Step(1, new, past + more, 64)
    for quantity in ("kv_read", "flops"):
        assert of_layer(layer, far, quantity) >= of_layer(layer, near, quantity) * (1 - 1e-9)
    if layer.latent_attention or (layer.attention and layer.attention.window is None):
        assert of_layer(layer, far, "kv_read") > of_layer(layer, near, "kv_read")


@given(window=st.integers(1, 200), new=st.integers(1, 100), past=st.integers(0, 100), limit=st.integers(1, 128))
def test_a_window_as_long_as_the_context_is_global(window: int, new: int, past: int, limit: int) -> None:
    step = Step(1, new, past, limit)
    sliding = Layer(attention=Attention(heads=4, kv_heads=2, head_dim=8, window=window))
    everywhere = Layer(attention=Attention(heads=4, kv_heads=2, head_dim=8))
    for quantity in ("flops", "kv_read"):
        bounded, free = of_layer(sliding, step, quantity), of_layer(everywhere, step, quantity)
        if window >= past + new:
            assert bounded == pytest.approx(free)
        else:
            assert bounded < free or quantity == "kv_read"  # a chunk may span the difference
            assert bounded <= free * (1 + 1e-9)


@given(hidden=st.integers(1, 8).map(lambda n: 64 * n), groups=st.sampled_from([1, 2, 4]))
def test_low_rank_projections_keep_inputs_and_outputs(hidden: int, groups: int) -> None:
    attention = Attention(
        heads=8, kv_heads=1, head_dim=16, q_rank=24, output_rank=10, output_groups=groups, shared_kv=True
    )
    shapes = {matrix.role: (matrix.columns, matrix.rows, matrix.copies) for matrix in attention.matrices(hidden)}
    assert shapes == {
        "attn_q_a": (hidden, 24, 1),
        "attn_q_b": (24, 8 * 16, 1),
        "attn_k": (hidden, 16, 1),
        "attn_output_a": (8 * 16 // groups, 10, groups),
        "attn_output_b": (10 * groups, hidden, 1),
    }


@pytest.mark.parametrize("identity", FILES)
def test_decode_operations_are_two_per_active_weight(identity: str) -> None:
    # One token with an empty context: 2 FLOP for every weight of a matrix that it uses, and next to nothing else.
    spec = model(identity)
    step = Step(1, 1, 0, 1)
    demands = list(spec.head_demands(step))
    for group in spec.groups:
        demands += list(group.layer.demands(step, spec.hidden)) * len(group.indices)
    matmuls = sum(float(one.flops) for one in demands if one.kind == "matmul")
    assert matmuls == pytest.approx(2 * spec.active_parameter_count, rel=5e-3)
    # Experts are read as often as they are used: with one token, no more and no fewer than the active ones.
    assert sum(float(one.weights) for one in demands if one.kind == "matmul") == pytest.approx(matmuls / 2)
