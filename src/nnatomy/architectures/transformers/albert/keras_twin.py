"""ALBERT in Keras: an independent twin, written from Lan et al. (2019), on the encoder of Devlin et al. (2018).
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
    """x Phi(x), by the approximation with tanh."""
    return 0.5 * x * (1 + ops.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def dense(units: int, dtype: str) -> layers.Dense:
    """A dense layer with kernels N(0, 0.02)."""
    return layers.Dense(units, kernel_initializer=keras.initializers.RandomNormal(stddev=0.02), dtype=dtype)


def norm(dtype: str) -> layers.LayerNormalization:
    return layers.LayerNormalization(epsilon=1e-12, dtype=dtype)


def embedding(rows: int, width: int, dtype: str) -> layers.Embedding:
    return layers.Embedding(
        rows, width, embeddings_initializer=keras.initializers.RandomNormal(stddev=0.02), dtype=dtype
    )  # fmt: skip


class Layer(layers.Layer):
    """Attention and a feed-forward part, each normalized after its sum."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.heads, self.features = heads, width // heads
        self.query, self.key, self.value, self.joined = (dense(width, dtype) for _ in range(4))
        self.inner, self.outer = dense(hidden, dtype), dense(width, dtype)
        self.after_attention, self.after_all = norm(dtype), norm(dtype)
        self.drop_weights, self.drop = layers.Dropout(dropout, dtype=dtype), layers.Dropout(dropout, dtype=dtype)

    def attention(self, x: Any, read: Any, training: bool) -> Any:
        cut = (-1, x.shape[1], self.heads, self.features)
        q, k, v = (ops.reshape(part(x), cut) for part in (self.query, self.key, self.value))
        scores = ops.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(self.features)
        weights = ops.softmax(ops.where(read[:, None, None, :], scores, -np.inf), axis=-1)
        mixed = ops.einsum("bhij,bjhd->bihd", self.drop_weights(weights, training=training), v)
        return self.joined(ops.reshape(mixed, (-1, *x.shape[1:])))

    def call(self, x: Any, read: Any, training: bool = False) -> Any:
        x = self.after_attention(x + self.drop(self.attention(x, read, training), training=training))
        return self.after_all(x + self.drop(self.outer(gelu(self.inner(x))), training=training))

    def named(self) -> dict[str, Any]:
        """The parts by their names within the layer."""
        return {
            "full_layer_layer_norm": self.after_all,
            "attention.query": self.query,
            "attention.key": self.key,
            "attention.value": self.value,
            "attention.dense": self.joined,
            "attention.LayerNorm": self.after_attention,
            "ffn": self.inner,
            "ffn_output": self.outer,
        }


class Albert(keras.Model):
    """Embeddings, their map to the layers' width, layers that are called again and again, and a head."""

    def __init__(
        self, vocabulary: int, width_of_words: int, width: int, depth: int, heads: int, hidden: int, groups: int,
        positions: int, segments: int, dropout: float, head: str, classes: int, dtype: str,
    ) -> None:  # fmt: skip
        super().__init__(dtype=dtype)
        self.head = head
        self.word, self.position, self.segment = (
            embedding(rows, width_of_words, dtype) for rows in (vocabulary, positions, segments)
        )
        self.norm, self.mapping, self.pooler = norm(dtype), dense(width, dtype), dense(width, dtype)
        self.groups = [Layer(width, heads, hidden, dropout, dtype) for _ in range(groups)]
        self.order = [i * groups // depth for i in range(depth)]
        self.drop = layers.Dropout(dropout, dtype=dtype)
        if head == "pretraining":
            self.transform, self.transform_norm = dense(width_of_words, dtype), norm(dtype)
            self.word_bias = self.add_weight(shape=(vocabulary,), initializer="zeros", name="word_bias")
        if head != "none":
            self.last = dense(2 if head == "pretraining" else classes, dtype)

    def call(self, tokens: Any, mask: Any = None, segments: Any = None, training: bool = False) -> Any:
        segments = ops.zeros_like(tokens) if segments is None else segments
        x = self.word(tokens) + self.position(ops.arange(tokens.shape[1])) + self.segment(segments)
        x, read = self.mapping(self.drop(self.norm(x), training=training)), tokens_read(tokens, mask)
        for group in self.order:
            x = self.groups[group](x, read, training=training)
        pooled = ops.tanh(self.pooler(x[:, 0]))
        if self.head == "none":
            return x, pooled
        scores = self.last(self.drop(pooled, training=training))
        if self.head == "classification":
            return scores
        y = self.transform_norm(gelu(self.transform(x)))
        return ops.matmul(y, ops.transpose(self.word.embeddings)) + self.word_bias, scores


def tokens_read(tokens: Any, mask: Any) -> Any:
    """Return (batch, time), True where a token is read; the mask is of that shape, or it has the lengths."""
    if mask is None:
        return ops.ones_like(tokens, dtype="bool")
    if len(mask.shape) == 1:
        return ops.arange(tokens.shape[1], dtype=mask.dtype)[None, :] < mask[:, None]
    return mask != 0


def build(
    vocab_size: int = 30000,
    embedding_size: int = 128,
    hidden_size: int = 768,
    num_hidden_layers: int = 12,
    num_attention_heads: int = 12,
    intermediate_size: int = 3072,
    num_hidden_groups: int = 1,
    max_position_embeddings: int = 512,
    type_vocab_size: int = 2,
    dropout: float = 0.0,
    head: str = "none",
    num_labels: int = 2,
) -> Albert:
    """The encoder alone, or with a head, with initial weights N(0, 0.02)."""
    if head not in ("none", "pretraining", "classification"):
        raise ValueError(f"head is 'none', 'pretraining' or 'classification'. Received {head!r}. Use head='none'.")
    if num_hidden_layers % num_hidden_groups:
        raise ValueError(f"num_hidden_groups divides num_hidden_layers. Received {num_hidden_groups}. Use 1.")
    sizes = (hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, num_hidden_groups)
    tables = (max_position_embeddings, type_vocab_size)
    model = Albert(vocab_size, embedding_size, *sizes, *tables, dropout, head, num_labels, keras.config.floatx())
    model(np.zeros((1, 2), "int64"))
    return model


def cross_entropy(labels: Any, scores: Any) -> Any:
    """The mean in nats over the labels that are not -100; classes are the last axis of the scores."""
    counted = labels != -100
    nats = keras.losses.sparse_categorical_crossentropy(ops.where(counted, labels, 0), scores, from_logits=True)
    counted = ops.cast(counted, nats.dtype)
    return ops.sum(nats * counted) / ops.sum(counted)


def loss(model: Albert, *batch: Any, training: bool = True) -> Any:
    """Mean cross-entropy in nats; in pre-training that of masked words plus that of the order of sentences."""
    arrays = [ops.convert_to_tensor(array) for array in batch]
    if model.head != "pretraining":
        *inputs, labels = arrays
        return cross_entropy(labels, model(*inputs, training=training))
    *inputs, labels, swapped = arrays
    words, order = model(*inputs, training=training)
    return cross_entropy(labels, words) + cross_entropy(swapped, order)


def weight_map(model: Albert) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out)."""
    parts: dict[str, Any] = {
        "embeddings.word_embeddings": model.word,
        "embeddings.position_embeddings": model.position,
        "embeddings.token_type_embeddings": model.segment,
        "embeddings.LayerNorm": model.norm,
        "encoder.embedding_hidden_mapping_in": model.mapping,
        "pooler": model.pooler,
    }
    for g, group in enumerate(model.groups):
        path = f"encoder.albert_layer_groups.{g}.albert_layers.0"
        parts |= {f"{path}.{name}": part for name, part in group.named().items()}
    if model.head != "none":
        parts = {f"albert.{name}": part for name, part in parts.items()}
    if model.head == "pretraining":
        parts |= {"predictions.LayerNorm": model.transform_norm, "predictions.dense": model.transform}
        parts["sop_classifier.classifier"] = model.last
    elif model.head == "classification":
        parts["classifier"] = model.last
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
    if model.head == "pretraining":
        found["predictions.bias"] = Weight(model.word_bias, np.array, np.array)
    return found
