"""DistilBERT in Keras: an independent twin, written from Sanh et al. (2019), on the encoder of Vaswani et al. (2017).
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


class Layer(layers.Layer):
    """Attention and a feed-forward part, each normalized after its sum."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.heads, self.features = heads, width // heads

        def dense(units: int) -> layers.Dense:
            normal = keras.initializers.RandomNormal(stddev=0.02)
            return layers.Dense(units, kernel_initializer=normal, dtype=dtype)

        self.q, self.k, self.v, self.o = (dense(width) for _ in range(4))
        self.inner, self.outer = dense(hidden), dense(width)
        self.first, self.second = (layers.LayerNormalization(epsilon=1e-12, dtype=dtype) for _ in range(2))
        self.drop_weights, self.drop = layers.Dropout(dropout, dtype=dtype), layers.Dropout(dropout, dtype=dtype)

    def attention(self, x: Any, read: Any, training: bool) -> Any:
        q, k, v = (ops.reshape(part(x), (-1, x.shape[1], self.heads, self.features)) for part in (self.q, self.k, self.v))
        scores = ops.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(self.features)
        weights = ops.softmax(ops.where(read[:, None, None, :], scores, -np.inf), axis=-1)
        mixed = ops.einsum("bhij,bjhd->bihd", self.drop_weights(weights, training=training), v)
        return self.o(ops.reshape(mixed, (-1, x.shape[1], self.heads * self.features)))

    def call(self, x: Any, read: Any, training: bool = False) -> Any:
        x = self.first(x + self.attention(x, read, training))
        return self.second(x + self.drop(self.outer(gelu(self.inner(x))), training=training))

    def named(self) -> dict[str, Any]:
        """The parts by their names within the layer."""
        linear = {"q_lin": self.q, "k_lin": self.k, "v_lin": self.v, "out_lin": self.o}
        found = {f"attention.{name}": part for name, part in linear.items()}
        found |= {"ffn.lin1": self.inner, "ffn.lin2": self.outer}
        return found | {"sa_layer_norm": self.first, "output_layer_norm": self.second}


class DistilBert(keras.Model):
    """Embeddings, layers, and what the head makes of their states."""

    def __init__(
        self, vocabulary: int, width: int, depth: int, heads: int, hidden: int, positions: int, dropout: float, head: str,
        classes: int, dtype: str,
    ) -> None:  # fmt: skip
        super().__init__(dtype=dtype)
        self.head = head
        normal = keras.initializers.RandomNormal(stddev=0.02)
        self.word, self.position = (
            layers.Embedding(rows, width, embeddings_initializer=normal.clone(), dtype=dtype)
            for rows in (vocabulary, positions)
        )
        self.norm = layers.LayerNormalization(epsilon=1e-12, dtype=dtype)
        self.drop, self.last_drop = layers.Dropout(dropout, dtype=dtype), layers.Dropout(dropout, dtype=dtype)
        self.blocks = [Layer(width, heads, hidden, dropout, dtype) for _ in range(depth)]
        if head != "none":
            self.transform = layers.Dense(width, kernel_initializer=normal.clone(), dtype=dtype)
        if head == "masked":
            self.transform_norm = layers.LayerNormalization(epsilon=1e-12, dtype=dtype)
            self.word_bias = self.add_weight(shape=(vocabulary,), initializer="zeros", name="word_bias")
        elif head == "classification":
            self.last = layers.Dense(classes, kernel_initializer=normal.clone(), dtype=dtype)

    def states(self, tokens: Any, mask: Any, training: bool) -> Any:
        x = self.norm(self.word(tokens) + self.position(ops.arange(tokens.shape[1])))
        x, read = self.drop(x, training=training), tokens_read(tokens, mask)
        for block in self.blocks:
            x = block(x, read, training=training)
        return x

    def scores(self, x: Any, training: bool) -> Any:
        if self.head == "none":
            return x
        if self.head == "masked":
            y = self.transform_norm(gelu(self.transform(x)))
            return ops.matmul(y, ops.transpose(self.word.embeddings)) + self.word_bias
        return self.last(self.last_drop(ops.relu(self.transform(x[:, 0])), training=training))

    def call(self, tokens: Any, mask: Any = None, training: bool = False) -> Any:
        return self.scores(self.states(tokens, mask, training), training)


def tokens_read(tokens: Any, mask: Any) -> Any:
    """Return (batch, time), True where a token is read; the mask is of that shape, or it has the lengths."""
    if mask is None:
        return ops.ones_like(tokens, dtype="bool")
    if len(mask.shape) == 1:
        return ops.arange(tokens.shape[1], dtype=mask.dtype)[None, :] < mask[:, None]
    return mask != 0


def build(
    vocab_size: int = 30522,
    dim: int = 768,
    n_layers: int = 6,
    n_heads: int = 12,
    hidden_dim: int = 3072,
    max_position_embeddings: int = 512,
    dropout: float = 0.1,
    head: str = "none",
    num_labels: int = 2,
) -> DistilBert:
    """The encoder alone, or with a head, with initial weights N(0, 0.02)."""
    if head not in ("none", "masked", "classification"):
        raise ValueError(f"head is 'none', 'masked' or 'classification'. Received {head!r}. Use head='none'.")
    sizes = (vocab_size, dim, n_layers, n_heads, hidden_dim, max_position_embeddings)
    model = DistilBert(*sizes, dropout, head, num_labels, keras.config.floatx())
    model(np.zeros((1, 2), "int64"))
    return model


def mean_over(values: Any, chosen: Any) -> Any:
    """The mean of the values that are chosen."""
    chosen = ops.cast(chosen, values.dtype)
    return ops.sum(values * chosen) / ops.sum(chosen)


def loss(model: DistilBert, tokens: Any, mask: Any, labels: Any, *teacher: Any, training: bool = True) -> Any:
    """Cross-entropy in nats; with the teacher's scores and states, 5 L_ce + 2 L_mlm + L_cos of distillation."""
    tokens, mask, labels = (ops.convert_to_tensor(array) for array in (tokens, mask, labels))
    states = model.states(tokens, mask, training)
    scores = model.scores(states, training)
    counted = labels != -100
    nats = keras.losses.sparse_categorical_crossentropy(ops.where(counted, labels, 0), scores, from_logits=True)
    words = mean_over(nats, counted)
    if not teacher:
        return words
    wanted, theirs = (ops.convert_to_tensor(array) for array in teacher)
    read = tokens_read(tokens, mask)
    ln_p, ln_q = ops.log_softmax(wanted / 2, axis=-1), ops.log_softmax(scores / 2, axis=-1)
    divergence = ops.sum(ops.exp(ln_p) * (ln_p - ln_q), axis=-1)
    norms = ops.sqrt(ops.sum(ops.square(states), axis=-1) * ops.sum(ops.square(theirs), axis=-1))
    angle = 1 - ops.sum(states * theirs, axis=-1) / norms
    return 5 * 4 * mean_over(divergence, read) + 2 * words + mean_over(angle, read)


def weight_map(model: DistilBert) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out)."""
    parts = {
        "embeddings.word_embeddings": model.word,
        "embeddings.position_embeddings": model.position,
        "embeddings.LayerNorm": model.norm,
    }
    for i, block in enumerate(model.blocks):
        parts |= {f"transformer.layer.{i}.{name}": part for name, part in block.named().items()}
    if model.head != "none":
        parts = {f"distilbert.{name}": part for name, part in parts.items()}
    if model.head == "masked":
        parts |= {"vocab_transform": model.transform, "vocab_layer_norm": model.transform_norm}
    elif model.head == "classification":
        parts |= {"pre_classifier": model.transform, "classifier": model.last}
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
        found["vocab_projector.bias"] = Weight(model.word_bias, np.array, np.array)
    return found
