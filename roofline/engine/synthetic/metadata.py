"""The metadata of a synthetic file: what llama.cpp must know of a shape beside the tensors.

Keys are llama.cpp's, without the architecture's name before them (``gguf.Keys``; a test compares). What no shape tells
and no speed depends on is a fixed number, said where it stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias, TypeVar

from roofline.blocks import Attention, DeltaNet, Experts, LatentAttention, StateSpace
from roofline.engine.synthetic.architectures import Architecture
from roofline.model import Model
from roofline.readers.gguf_model import LLAMA4_CHUNK, WINDOW_PERIOD
from roofline.spec import SpecError

Value: TypeAlias = int | float | bool | str | list[int] | list[bool]
Part = TypeVar("Part", DeltaNet, Experts, LatentAttention, StateSpace)

EPSILON = 1e-5  # of the norms; any small number
SOFTMAX, SIGMOID = 1, 2  # gguf.ExpertGatingFuncType
FULL_ATTENTION_INTERVAL = 4  # of qwen35 and qwen35moe, where the file does not say it


def shape_metadata(model: Model, architecture: Architecture, context: int, name: str) -> dict[str, Value]:
    """Keys under the architecture's name. context: positions the model is made for [1]; name: for messages.

    SpecError where the layers differ in a way that the file format has no word for.
    """
    keys: dict[str, Value] = {
        "context_length": context,
        "embedding_length": model.hidden,
        "block_count": model.layers,
        "vocab_size": model.vocab,
    }
    if architecture.layer_norm:
        keys["attention.layer_norm_epsilon"] = EPSILON
    if not architecture.layer_norm or model.architecture == "nemotron_h_moe":
        keys["attention.layer_norm_rms_epsilon"] = EPSILON
    return keys | _Layers(model, architecture, name).metadata()


class _Layers:
    """The layers of a model, and the one word for what they have in common."""

    def __init__(self, model: Model, architecture: Architecture, name: str) -> None:
        self.model, self.architecture, self.name = model, architecture, name
        self.layers = [model.blocks[kind] for kind in model.order]

    def one(self, what: str, values: Iterable[int]) -> int:
        """The value that all layers share."""
        found = sorted(set(values))
        if len(found) != 1:
            listed = ", ".join(map(str, found)) or "none"
            raise SpecError(f"{self.name}: {what}: expected one value for {self.model.architecture}, found {listed}")
        return found[0]

    def same(self, what: str, parts: Iterable[Part | None]) -> Part:
        """The part that all layers which have one share."""
        found = {part for part in parts if part is not None}
        if len(found) != 1:
            raise SpecError(
                f"{self.name}: {what}: expected one shape for {self.model.architecture}, found {len(found)} that differ"
            )
        return found.pop()

    def metadata(self) -> dict[str, Value]:
        """Everything that the kinds of layer say."""
        keys: dict[str, Value] = {"feed_forward_length": self.feed_forward()}
        if any(layer.attention for layer in self.layers):
            keys |= self.attention() | self.windows()
        if any(layer.latent_attention for layer in self.layers):
            keys |= self.latent_attention()
        if any(layer.delta_net for layer in self.layers):
            keys |= self.delta_net()
        if any(layer.state_space for layer in self.layers):
            keys |= self.state_space()
        if any(layer.experts for layer in self.layers):
            keys |= self.experts()
        return keys

    def feed_forward(self) -> Value:
        """Width of the MLP; of an expert where there is none; a list where a layer has neither."""
        widths = [layer.mlp.width if layer.mlp else 0 for layer in self.layers]
        experts = [layer.experts.width if layer.experts else 0 for layer in self.layers]
        if self.model.architecture == "nemotron_h_moe":  # 0 is how llama.cpp knows the layers with a mixer
            return experts
        if not any(widths):
            return self.one("width of the experts", filter(None, experts))
        return widths[0] if len(set(widths)) == 1 else self.one("width of the MLP", filter(None, widths))

    def attention(self) -> dict[str, Value]:
        """Heads and their sizes."""
        attentions = [layer.attention for layer in self.layers if layer.attention]
        heads = self.one("heads", (one.heads for one in attentions))
        keys: dict[str, Value] = {"attention.head_count": heads}
        if self.model.architecture == "gemma4":
            keys["attention.head_count_kv"] = [one.kv_heads for one in attentions]
            keys |= self.two_heads(attentions) | {"embedding_length_per_layer_input": 0}
        else:
            kv_heads = self.one("kv_heads", (one.kv_heads for one in attentions))
            head = self.one("head_dim", (one.head_dim for one in attentions))
            keys["attention.head_count_kv"] = kv_heads
            if self.model.architecture == "nemotron_h_moe":
                keys["attention.head_count_kv"] = [kv_heads if layer.attention else 0 for layer in self.layers]
            keys |= self.head("", head)
            if self.architecture.square and heads * head != self.model.hidden:
                raise SpecError(
                    f"{self.name}: attention: expected heads × head_dim of {self.model.hidden}, the hidden size, for "
                    f"{self.model.architecture}, found {heads * head}"
                )
        if self.model.architecture.startswith("qwen35"):  # a third of the rotated pairs for time, height and width
            pairs = self.rotated(attentions[0].head_dim) // 2
            keys["rope.dimension_sections"] = [(pairs + 2) // 3, (pairs + 1) // 3, pairs // 3, 0]
        return keys

    def rotated(self, width: int) -> int:
        """Elements of a head that are rotated, two at a time [1]."""
        return round(width * self.architecture.rotated / 2) * 2

    def head(self, suffix: str, width: int) -> dict[str, Value]:
        """Sizes of a head of K and V, and how much of it is rotated."""
        return {
            f"attention.key_length{suffix}": width,
            f"attention.value_length{suffix}": width,
            f"rope.dimension_count{suffix}": self.rotated(width),
        }

    def two_heads(self, attentions: list[Attention]) -> dict[str, Value]:
        """Global layers and those with a window have heads of their own width."""
        near = self.one("head_dim of layers with a window", (one.head_dim for one in attentions if one.window))
        far = self.one("head_dim of global layers", (one.head_dim for one in attentions if not one.window))
        return self.head("", far) | self.head("_swa", near)

    def windows(self) -> dict[str, Value]:
        """The window, and which layers have it where that is not the architecture's own pattern."""
        period = WINDOW_PERIOD.get(self.model.architecture)
        sizes = {layer.attention.window for layer in self.layers if layer.attention} - {None}
        if period is None or not sizes:
            return {}
        size = self.one("window", filter(None, sizes))
        if self.model.architecture == "llama4" and size != LLAMA4_CHUNK:
            raise SpecError(
                f"{self.name}: window: expected {LLAMA4_CHUNK}, fixed in llama.cpp for llama4, found {size}"
            )
        keys: dict[str, Value] = {"attention.sliding_window": size}
        flags = [layer.attention is not None and layer.attention.window is not None for layer in self.layers]
        usual = [index % period < period - 1 for index in range(len(flags))]
        if flags != usual or self.model.architecture == "gemma4":
            keys["attention.sliding_window_pattern"] = flags
        return keys

    def latent_attention(self) -> dict[str, Value]:
        """Ranks and head sizes; the cache is one head of the latent and the rotated part."""
        latent = self.same("latent_attention", (layer.latent_attention for layer in self.layers))
        lite = self.model.layers in (26, 27)  # which llama.cpp takes for models without a query rank
        if lite and latent.q_rank is not None:
            raise SpecError(
                f"{self.name}: q_rank: expected none with {self.model.layers} layers, found {latent.q_rank}"
            )
        keys: dict[str, Value] = {
            "attention.head_count": latent.heads,
            "attention.head_count_kv": 1,
            "attention.kv_lora_rank": latent.kv_rank,
            "attention.key_length": latent.kv_rank + latent.rope,
            "attention.value_length": latent.kv_rank,
            "attention.key_length_mla": latent.nope + latent.rope,
            "attention.value_length_mla": latent.value,
            "rope.dimension_count": latent.rope,
        }
        return keys if lite else keys | {"attention.q_lora_rank": latent.q_rank or 0}

    def delta_net(self) -> dict[str, Value]:
        """Heads of the recurrence; which layers have it follows from an interval."""
        nets = [layer.delta_net for layer in self.layers]
        net = self.same("delta_net", nets)
        usual = [(index + 1) % FULL_ATTENTION_INTERVAL != 0 for index in range(len(nets))]
        if [one is not None for one in nets] != usual:
            raise SpecError(
                f"{self.name}: blocks: expected attention in every {FULL_ATTENTION_INTERVAL}th layer and delta nets in "
                "the others, found another order"
            )
        return {
            "full_attention_interval": FULL_ATTENTION_INTERVAL,
            "ssm.conv_kernel": net.conv,
            "ssm.state_size": net.head_dim,
            "ssm.group_count": net.key_heads,
            "ssm.time_step_rank": net.value_heads,
            "ssm.inner_size": net.value_heads * net.head_dim,
        }

    def state_space(self) -> dict[str, Value]:
        """Heads and states of Mamba-2."""
        space = self.same("state_space", (layer.state_space for layer in self.layers))
        return {
            "ssm.conv_kernel": space.conv,
            "ssm.state_size": space.state,
            "ssm.group_count": space.groups,
            "ssm.time_step_rank": space.heads,
            "ssm.inner_size": space.heads * space.head_dim,
        }

    def experts(self) -> dict[str, Value]:
        """How many there are, how many are used, and how they are chosen."""
        one = self.same("experts", (layer.experts for layer in self.layers))
        keys: dict[str, Value] = {
            "expert_count": one.experts,
            "expert_used_count": one.active,
            "expert_feed_forward_length": one.width,
        }
        if one.latent is not None:
            keys["moe_latent_size"] = one.latent
        if self.architecture.leading_dense:
            leading = next(index for index, layer in enumerate(self.layers) if layer.experts)
            if any(layer.experts is None for layer in self.layers[leading:]):
                raise SpecError(
                    f"{self.name}: blocks: expected experts in all layers after the first, found one without"
                )
            keys["leading_dense_block_count"] = leading
        elif self.model.architecture != "nemotron_h_moe" and any(layer.experts is None for layer in self.layers):
            raise SpecError(f"{self.name}: blocks: expected experts in all layers, found one without")
        if self.model.architecture == "llama4":
            keys["interleave_moe_layer_step"] = 1
        return keys | self.shared(one) | self.routing(one)

    def shared(self, experts: Experts) -> dict[str, Value]:
        """Experts that every token uses: llama.cpp counts them for some architectures and measures them for others."""
        if not experts.shared_width:
            return {"expert_shared_count": 0} if self.architecture.leading_dense else {}
        count, left = divmod(experts.shared_width, experts.width)
        counted = self.architecture.leading_dense or self.model.architecture == "llama4"
        if counted and (left or (self.model.architecture == "llama4" and count != 1)):
            number = "one expert" if self.model.architecture == "llama4" else "a number of experts"
            raise SpecError(
                f"{self.name}: shared_width: expected {number} of {experts.width}, found {experts.shared_width}"
            )
        keys: dict[str, Value] = {"expert_shared_feed_forward_length": experts.shared_width}
        return keys if left else keys | {"expert_shared_count": count}

    def routing(self, experts: Experts) -> dict[str, Value]:
        """A bias that only chooses belongs to routers with a sigmoid, whose weights are normalised (DeepSeek-V3)."""
        if not self.architecture.gating:
            return {}
        biased = experts.router_bias
        return {"expert_gating_func": SIGMOID if biased else SOFTMAX, "expert_weights_norm": biased}
