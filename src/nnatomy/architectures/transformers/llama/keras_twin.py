"""LLaMA and PaLM in Keras: an independent twin, written from Touvron et al. (2023), Su et al. (2021), Shazeer (2020), Ainslie
et al. (2023) and Chowdhery et al. (2022). `weight_map` says which Keras variable holds each tensor of the state."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops


class Weight(NamedTuple):
    """A Keras variable, with the maps of an array from our layout to its own and back."""

    variable: Any
    to_keras: Callable[[np.ndarray], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


class Norm(layers.Layer):
    """w x / sqrt(mean(x^2) + eps), where PaLM first subtracts the mean of x."""

    def __init__(self, width: int, eps: float, palm: bool, name: str, dtype: str) -> None:
        super().__init__(name=name, dtype=dtype)
        self.eps, self.palm = eps, palm
        self.scale = self.add_weight(shape=(width,), initializer="ones", name="scale")

    def call(self, x: Any) -> Any:
        if self.palm:
            x = x - ops.mean(x, axis=-1, keepdims=True)
        return self.scale * x / ops.sqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + self.eps)


def rotated(x: Any, theta: float, pairs: bool) -> Any:
    """(a cos - b sin, a sin + b cos) with the angles t theta^(-2 i / d), for x of shape (batch, time, ..., d)."""
    time, d = x.shape[1], x.shape[-1]
    angles = np.arange(time)[:, None] * float(theta) ** (-2.0 * np.arange(d // 2) / d)
    angles = angles.reshape(time, *[1] * (len(x.shape) - 3), d // 2)
    cos, sin = ops.cast(np.cos(angles), x.dtype), ops.cast(np.sin(angles), x.dtype)
    a, b = (x[..., 0::2], x[..., 1::2]) if pairs else ops.split(x, 2, axis=-1)
    new = (a * cos - b * sin, a * sin + b * cos)
    return ops.reshape(ops.stack(new, axis=-1), ops.shape(x)) if pairs else ops.concatenate(new, axis=-1)


class Layer(layers.Layer):
    """Grouped causal attention and SwiGLU, one after the other (LLaMA) or side by side on one norm (PaLM)."""

    def __init__(
        self,
        width: int,
        hidden: int,
        heads: int,
        groups: int,
        features: int,
        theta: float,
        pairs: bool,
        eps: float,
        palm: bool,
        name: str,
        dtype: str,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.shape = (groups, heads // groups, features)
        self.theta, self.pairs, self.palm = theta, pairs, palm

        def dense(part: str, inputs: int, outputs: int) -> layers.Dense:
            normal = keras.initializers.RandomNormal(stddev=inputs**-0.5 if palm else 0.02)
            return layers.Dense(outputs, use_bias=False, kernel_initializer=normal, dtype=dtype, name=f"{name}_{part}")

        self.input_layernorm = Norm(width, eps, palm, f"{name}_input_layernorm", dtype)
        self.maps = {
            "self_attn.q_proj": dense("self_attn_q_proj", width, heads * features),
            "self_attn.k_proj": dense("self_attn_k_proj", width, groups * features),
            "self_attn.v_proj": dense("self_attn_v_proj", width, groups * features),
            "self_attn.o_proj": dense("self_attn_o_proj", heads * features, width),
            "mlp.gate_proj": dense("mlp_gate_proj", width, hidden),
            "mlp.up_proj": dense("mlp_up_proj", width, hidden),
            "mlp.down_proj": dense("mlp_down_proj", hidden, width),
        }
        self.second = None if palm else Norm(width, eps, palm, f"{name}_post_attention_layernorm", dtype)

    def attention(self, x: Any) -> Any:
        (groups, each, features), time = self.shape, x.shape[1]
        q = ops.reshape(self.maps["self_attn.q_proj"](x), (-1, time, groups, each, features))
        k = ops.reshape(self.maps["self_attn.k_proj"](x), (-1, time, groups, features))
        v = ops.reshape(self.maps["self_attn.v_proj"](x), (-1, time, groups, features))
        q, k = rotated(q, self.theta, self.pairs), rotated(k, self.theta, self.pairs)
        scores = ops.einsum("bigad,bjgd->bgaij", q, k) / math.sqrt(features)
        earlier = np.tril(np.ones((time, time), bool))
        weights = ops.softmax(ops.where(earlier, scores, -np.inf), axis=-1)
        mixed = ops.einsum("bgaij,bjgd->bigad", weights, v)
        return self.maps["self_attn.o_proj"](ops.reshape(mixed, (-1, time, groups * each * features)))

    def mlp(self, x: Any) -> Any:
        gate = self.maps["mlp.gate_proj"](x)
        return self.maps["mlp.down_proj"](gate * ops.sigmoid(gate) * self.maps["mlp.up_proj"](x))

    def call(self, x: Any) -> Any:
        n = self.input_layernorm(x)
        if self.second is None:
            return x + self.attention(n) + self.mlp(n)
        x = x + self.attention(n)
        return x + self.mlp(self.second(x))


class Llama(keras.Model):
    """A token embedding, layers, a norm, and scores; PaLM's scores are divided by sqrt(width)."""

    def __init__(self, embedding: Any, most: int, blocks: list[Layer], norm: Norm, head: Any, palm: bool, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.most, self.palm = most, palm
        self.embed_tokens, self.blocks, self.norm, self.lm_head = embedding, blocks, norm, head

    def call(self, tokens: Any, training: bool = False) -> Any:
        if tokens.shape[1] > self.most:
            raise ValueError(f"A text has at most {self.most} tokens. Received {tokens.shape[1]}. Cut it.")
        x = self.embed_tokens(tokens)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        scores = ops.matmul(x, ops.transpose(self.embed_tokens.embeddings)) if self.lm_head is None else self.lm_head(x)
        return scores / math.sqrt(x.shape[-1]) if self.palm else scores


LAYOUTS = ("half", "pairs")


def build(
    vocab_size: int = 32000,
    max_position_embeddings: int = 2048,
    hidden_size: int = 4096,
    intermediate_size: int = 11008,
    num_hidden_layers: int = 32,
    num_attention_heads: int = 32,
    num_key_value_heads: int | None = None,
    head_dim: int | None = None,
    rope_theta: float = 10000.0,
    rms_norm_eps: float = 1e-6,
    tie_word_embeddings: bool = False,
    rotary: str = "half",
    form: str = "llama",
) -> Llama:
    """The model with initial weights N(0, 0.02), or PaLM's N(0, 1 / sqrt(fan in)); the defaults are LLaMA 7B."""
    if rotary not in LAYOUTS:
        raise ValueError(f"rotary is 'half' or 'pairs'. Received {rotary!r}. Use rotary='half'.")
    if form not in ("llama", "palm"):
        raise ValueError(f"form is 'llama' or 'palm'. Received {form!r}. Use form='llama'.")
    heads, width = num_attention_heads, hidden_size
    groups = heads if num_key_value_heads is None else num_key_value_heads
    features = width // heads if head_dim is None else head_dim
    if heads % groups or features % 2:
        raise ValueError(
            f"num_key_value_heads divides num_attention_heads, and head_dim is even. Received {groups}, {heads} and {features}."
        )
    palm, pairs, dtype = form == "palm", rotary != "half", keras.config.floatx()
    blocks = [
        Layer(
            width, intermediate_size, heads, groups, features, rope_theta, pairs, rms_norm_eps, palm, f"layers_{i}", dtype
        )
        for i in range(num_hidden_layers)
    ]  # fmt: skip
    normal = keras.initializers.RandomNormal(stddev=1.0 if palm else 0.02)
    embedding = layers.Embedding(vocab_size, width, embeddings_initializer=normal, dtype=dtype, name="embed_tokens")
    head = None
    if not tie_word_embeddings:
        start = keras.initializers.RandomNormal(stddev=width**-0.5 if palm else 0.02)
        head = layers.Dense(vocab_size, use_bias=False, kernel_initializer=start, dtype=dtype, name="lm_head")
    norm = Norm(width, rms_norm_eps, palm, "norm", dtype)
    model = Llama(embedding, max_position_embeddings, blocks, norm, head, palm, dtype)
    model(np.zeros((1, 2), "int64"))
    return model


def loss(model: Llama, tokens: Any, following: Any, training: bool = True) -> Any:
    """Mean cross-entropy of the following tokens; places of -100 do not count."""
    scores = model(tokens, training=training)
    following = ops.convert_to_tensor(following)
    counted = following != -100
    nats = keras.losses.sparse_categorical_crossentropy(ops.where(counted, following, 0), scores, from_logits=True)
    counted = ops.cast(counted, nats.dtype)
    return ops.sum(nats * counted) / ops.sum(counted)


def weight_map(model: Llama) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out)."""

    def same(variable: Any) -> Weight:
        return Weight(variable, np.array, np.array)

    def transposed(variable: Any) -> Weight:
        return Weight(variable, np.transpose, np.transpose)

    found = {"embed_tokens.weight": same(model.embed_tokens.embeddings), "norm.weight": same(model.norm.scale)}
    for i, block in enumerate(model.blocks):
        found |= {f"layers.{i}.{name}.weight": transposed(part.kernel) for name, part in block.maps.items()}
        found[f"layers.{i}.input_layernorm.weight"] = same(block.input_layernorm.scale)
        if block.second is not None:
            found[f"layers.{i}.post_attention_layernorm.weight"] = same(block.second.scale)
    if model.lm_head is not None:
        found["lm_head.weight"] = transposed(model.lm_head.kernel)
    return found
