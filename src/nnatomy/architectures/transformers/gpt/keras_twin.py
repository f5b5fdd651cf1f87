"""GPT in Keras: an independent twin, written from Radford et al. (2018) for GPT-1 and Radford et al. (2019) for GPT-2.
`weight_map` says which Keras variable holds each tensor of the architecture's state."""

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


def gelu(x: Any) -> Any:
    """The approximation by tanh; TensorFlow's own rounds its constant to float32."""
    return 0.5 * x * (1 + ops.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


class Block(layers.Layer):
    """Causal self-attention and two dense layers, each added to its input; a norm before each, or after each sum."""

    def __init__(self, width: int, heads: int, dropout: float, first: bool, std: float, name: str, dtype: str) -> None:
        super().__init__(name=name, dtype=dtype)
        self.heads, self.first = heads, first

        def dense(part: str, units: int, spread: float) -> layers.Dense:
            normal = keras.initializers.RandomNormal(stddev=spread)
            return layers.Dense(units, kernel_initializer=normal, dtype=dtype, name=f"{name}_{part}")

        self.ln_1 = layers.LayerNormalization(epsilon=1e-5, dtype=dtype, name=f"{name}_ln_1")
        self.c_attn, self.attn_c_proj = dense("attn_c_attn", 3 * width, 0.02), dense("attn_c_proj", width, std)
        self.ln_2 = layers.LayerNormalization(epsilon=1e-5, dtype=dtype, name=f"{name}_ln_2")
        self.c_fc, self.mlp_c_proj = dense("mlp_c_fc", 4 * width, 0.02), dense("mlp_c_proj", width, std)
        self.drops = [layers.Dropout(dropout, dtype=dtype) for _ in range(3)]

    def attention(self, x: Any, training: bool) -> Any:
        time, width = ops.shape(x)[1], x.shape[2]
        qkv = ops.reshape(self.c_attn(x), (-1, time, 3, self.heads, width // self.heads))
        q, k, v = (qkv[:, :, part] for part in range(3))  # each [B, T, heads, D / heads]
        scores = ops.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(width // self.heads)
        earlier = ops.arange(time)[None, :] <= ops.arange(time)[:, None]
        weights = ops.softmax(ops.where(earlier, scores, -np.inf), axis=-1)
        mixed = ops.einsum("bhij,bjhd->bihd", self.drops[0](weights, training=training), v)
        y = self.attn_c_proj(ops.reshape(mixed, (-1, time, width)))
        return self.drops[1](y, training=training)

    def mlp(self, x: Any, training: bool) -> Any:
        return self.drops[2](self.mlp_c_proj(gelu(self.c_fc(x))), training=training)

    def call(self, x: Any, training: bool = False) -> Any:
        if self.first:
            x = x + self.attention(self.ln_1(x), training)
            return x + self.mlp(self.ln_2(x), training)
        x = self.ln_1(x + self.attention(x, training))
        return self.ln_2(x + self.mlp(x, training))

    def named(self) -> dict[str, Any]:
        """The variables by their names within the block."""
        norms = {"ln_1": self.ln_1, "ln_2": self.ln_2}
        maps = {
            "attn.c_attn": self.c_attn, "attn.c_proj": self.attn_c_proj, "mlp.c_fc": self.c_fc, "mlp.c_proj": self.mlp_c_proj,
        }  # fmt: skip
        found = {f"{name}.weight": part.gamma for name, part in norms.items()}
        found |= {f"{name}.bias": part.beta for name, part in norms.items()}
        found |= {f"{name}.weight": part.kernel for name, part in maps.items()}
        return found | {f"{name}.bias": part.bias for name, part in maps.items()}


class GPT(keras.Model):
    """Token and position embeddings, blocks, and scores by the token embedding itself."""

    def __init__(
        self, vocabulary: int, positions: int, width: int, depth: int, heads: int, dropout: float, norm: str, dtype: str
    ) -> None:
        super().__init__(dtype=dtype)
        if norm not in ("pre", "post"):
            raise ValueError(f"norm must be 'pre' or 'post', got {norm!r}")
        pre = norm == "pre"
        normal = keras.initializers.RandomNormal(stddev=0.02)
        self.wte = layers.Embedding(vocabulary, width, embeddings_initializer=normal.clone(), dtype=dtype, name="wte")
        self.wpe = layers.Embedding(positions, width, embeddings_initializer=normal.clone(), dtype=dtype, name="wpe")
        self.drop = layers.Dropout(dropout, dtype=dtype)
        std = 0.02 / math.sqrt(2 * depth) if pre else 0.02  # GPT-2 scales what is added to the residual stream
        self.h = [Block(width, heads, dropout, pre, std, f"h_{i}", dtype) for i in range(depth)]
        self.ln_f = layers.LayerNormalization(epsilon=1e-5, dtype=dtype, name="ln_f") if pre else None

    def call(self, tokens: Any, training: bool = False) -> Any:
        places = ops.arange(ops.shape(tokens)[1])
        x = self.drop(self.wte(tokens) + self.wpe(places), training=training)
        for block in self.h:
            x = block(x, training=training)
        if self.ln_f is not None:
            x = self.ln_f(x)
        return ops.matmul(x, ops.transpose(self.wte.embeddings))


def build(
    vocab_size: int = 50257,
    n_positions: int = 1024,
    n_embd: int = 768,
    n_layer: int = 12,
    n_head: int = 12,
    dropout: float = 0.1,
    norm: str = "pre",
) -> GPT:
    """The model with the paper's initial weights; norm "pre" is GPT-2, "post" GPT-1."""
    model = GPT(vocab_size, n_positions, n_embd, n_layer, n_head, dropout, norm, keras.config.floatx())
    model(np.zeros((1, 2), "int64"))
    return model


def loss(model: GPT, tokens: Any, following: Any, training: bool = True) -> Any:
    """Mean cross-entropy of the following tokens; places of -100 do not count."""
    scores = model(tokens, training=training)
    following = ops.convert_to_tensor(following)
    counted = following != -100
    nats = keras.losses.sparse_categorical_crossentropy(ops.where(counted, following, 0), scores, from_logits=True)
    counted = ops.cast(counted, nats.dtype)
    return ops.sum(nats * counted) / ops.sum(counted)


def weight_map(model: GPT) -> dict[str, Weight]:
    """Our names to Keras variables; the published kernels are (in, out), as Keras's."""
    found = {"wte.weight": model.wte.embeddings, "wpe.weight": model.wpe.embeddings}
    for i, block in enumerate(model.h):
        found |= {f"h.{i}.{name}": variable for name, variable in block.named().items()}
    if model.ln_f is not None:
        found |= {"ln_f.weight": model.ln_f.gamma, "ln_f.bias": model.ln_f.beta}
    return {name: Weight(variable, np.array, np.array) for name, variable in found.items()}
