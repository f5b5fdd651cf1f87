"""RoBERTa in Keras: an independent twin, written from Liu, Ott, Goyal et al. (2019), on the encoder of Devlin et al. (2018).
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
    """x Phi(x), by the error function."""
    return 0.5 * x * (1 + ops.erf(x / math.sqrt(2)))


def dense(units: int, dtype: str) -> layers.Dense:
    """A dense layer with kernels N(0, 0.02)."""
    return layers.Dense(units, kernel_initializer=keras.initializers.RandomNormal(stddev=0.02), dtype=dtype)


def norm(dtype: str) -> layers.LayerNormalization:
    return layers.LayerNormalization(epsilon=1e-5, dtype=dtype)


def embedding(rows: int, width: int, dtype: str) -> layers.Embedding:
    return layers.Embedding(
        rows, width, embeddings_initializer=keras.initializers.RandomNormal(stddev=0.02), dtype=dtype
    )  # fmt: skip


class Layer(layers.Layer):
    """Self-attention and a feed-forward part with gelu, each normalized after its sum."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.heads, self.features = heads, width // heads
        self.query, self.key, self.value, self.joined = (dense(width, dtype) for _ in range(4))
        self.inner, self.outer = dense(hidden, dtype), dense(width, dtype)
        self.after_attention, self.after_all = norm(dtype), norm(dtype)
        self.drops = [layers.Dropout(dropout, dtype=dtype) for _ in range(3)]

    def attention(self, x: Any, read: Any, training: bool) -> Any:
        cut = (-1, x.shape[1], self.heads, self.features)
        q, k, v = (ops.reshape(part(x), cut) for part in (self.query, self.key, self.value))
        scores = ops.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(self.features)
        weights = self.drops[0](ops.softmax(ops.where(read[:, None, None, :], scores, -np.inf), axis=-1), training=training)
        return self.joined(ops.reshape(ops.einsum("bhij,bjhd->bihd", weights, v), (-1, *x.shape[1:])))

    def call(self, x: Any, read: Any, training: bool = False) -> Any:
        x = self.after_attention(x + self.drops[1](self.attention(x, read, training), training=training))
        return self.after_all(x + self.drops[2](self.outer(gelu(self.inner(x))), training=training))

    def named(self) -> dict[str, Any]:
        """The parts by their names within the layer."""
        return {
            "attention.self.query": self.query,
            "attention.self.key": self.key,
            "attention.self.value": self.value,
            "attention.output.dense": self.joined,
            "attention.output.LayerNorm": self.after_attention,
            "intermediate.dense": self.inner,
            "output.dense": self.outer,
            "output.LayerNorm": self.after_all,
        }


class Roberta(keras.Model):
    """Embeddings, layers, and what the head makes of their states."""

    def __init__(
        self, vocabulary: int, width: int, depth: int, heads: int, hidden: int, positions: int, padding: int, dropout: float,
        head: str, classes: int, dtype: str,
    ) -> None:  # fmt: skip
        super().__init__(dtype=dtype)
        self.head, self.padding = head, padding
        self.word, self.position, self.segment = (embedding(rows, width, dtype) for rows in (vocabulary, positions, 1))
        self.norm = norm(dtype)
        self.blocks = [Layer(width, heads, hidden, dropout, dtype) for _ in range(depth)]
        self.drops = [layers.Dropout(dropout, dtype=dtype) for _ in range(3)]
        self.transform = dense(width, dtype)  # the pooler's, or the first layer of the head
        if head == "masked":
            self.transform_norm = norm(dtype)
            self.word_bias = self.add_weight(shape=(vocabulary,), initializer="zeros", name="word_bias")
        elif head == "classification":
            self.last = dense(classes, dtype)

    def positions(self, tokens: Any) -> Any:
        """padding + 1, padding + 2, ... for tokens, and that of padding at padding."""
        real = ops.cast(tokens != self.padding, "int32")
        return self.padding + real * ops.cumsum(real, axis=1)

    def call(self, tokens: Any, mask: Any = None, training: bool = False) -> Any:
        tokens = ops.convert_to_tensor(tokens)
        x = self.word(tokens) + self.position(self.positions(tokens)) + self.segment(ops.zeros_like(tokens))
        x, read = self.drops[0](self.norm(x), training=training), tokens_read(tokens, mask)
        for block in self.blocks:
            x = block(x, read, training=training)
        if self.head == "none":
            return x, ops.tanh(self.transform(x[:, 0]))
        if self.head == "masked":
            y = self.transform_norm(gelu(self.transform(x)))
            return ops.matmul(y, ops.transpose(self.word.embeddings)) + self.word_bias
        y = ops.tanh(self.transform(self.drops[1](x[:, 0], training=training)))
        return self.last(self.drops[2](y, training=training))


def tokens_read(tokens: Any, mask: Any) -> Any:
    """Return (batch, time), True where a token is read; the mask is of that shape, or it has the lengths."""
    if mask is None:
        return ops.ones_like(tokens, dtype="bool")
    if len(mask.shape) == 1:
        return ops.arange(tokens.shape[1], dtype=mask.dtype)[None, :] < mask[:, None]
    return mask != 0


def build(
    vocab_size: int = 50265,
    hidden_size: int = 768,
    num_hidden_layers: int = 12,
    num_attention_heads: int = 12,
    intermediate_size: int = 3072,
    max_position_embeddings: int = 514,
    pad_token_id: int = 1,
    dropout: float = 0.1,
    head: str = "none",
    num_labels: int = 2,
) -> Roberta:
    """The encoder with its pooler, or with another head, with initial weights N(0, 0.02)."""
    if head not in ("none", "masked", "classification"):
        raise ValueError(f"head is 'none', 'masked' or 'classification'. Received {head!r}. Use head='none'.")
    sizes = (hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, max_position_embeddings)
    model = Roberta(vocab_size, *sizes, pad_token_id, dropout, head, num_labels, keras.config.floatx())
    model(np.zeros((1, 2), "int64"))
    return model


def loss(model: Roberta, tokens: Any, mask: Any, labels: Any, training: bool = True) -> Any:
    """Mean cross-entropy in nats, over the words that were masked or over texts."""
    tokens, mask, labels = (ops.convert_to_tensor(array) for array in (tokens, mask, labels))
    scores, counted = model(tokens, mask, training=training), labels != -100
    nats = keras.losses.sparse_categorical_crossentropy(ops.where(counted, labels, 0), scores, from_logits=True)
    counted = ops.cast(counted, nats.dtype)
    return ops.sum(nats * counted) / ops.sum(counted)


def weight_map(model: Roberta) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out)."""
    parts: dict[str, Any] = {
        "embeddings.word_embeddings": model.word,
        "embeddings.position_embeddings": model.position,
        "embeddings.token_type_embeddings": model.segment,
        "embeddings.LayerNorm": model.norm,
    }
    for i, block in enumerate(model.blocks):
        parts |= {f"encoder.layer.{i}.{name}": part for name, part in block.named().items()}
    if model.head == "none":
        parts["pooler.dense"] = model.transform
    else:
        parts = {f"roberta.{name}": part for name, part in parts.items()}
    if model.head == "masked":
        parts |= {"lm_head.dense": model.transform, "lm_head.layer_norm": model.transform_norm}
    elif model.head == "classification":
        parts |= {"classifier.dense": model.transform, "classifier.out_proj": model.last}
    found = {}
    for name, part in parts.items():
        if isinstance(part, layers.Embedding):
            found[f"{name}.weight"] = Weight(part.embeddings, np.array, np.array)
        elif isinstance(part, layers.Dense):
            found[f"{name}.weight"] = Weight(part.kernel, np.transpose, np.transpose)
            found[f"{name}.bias"] = Weight(part.bias, np.array, np.array)
        else:
            found[f"{name}.weight"] = Weight(part.gamma, np.array, np.array)
            found[f"{name}.bias"] = Weight(part.beta, np.array, np.array)
    if model.head == "masked":
        found["lm_head.bias"] = Weight(model.word_bias, np.array, np.array)
    return found
