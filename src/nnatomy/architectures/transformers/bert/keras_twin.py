"""BERT in Keras: an independent twin, written from Devlin et al. (2018), on the encoder of Vaswani et al. (2017).
`weight_map` says which Keras variable holds each tensor of the architecture's state."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

POOLED = ("none", "pretraining", "classification")


class Weight(NamedTuple):
    """A Keras variable, with the maps of an array from our layout to its own and back."""

    variable: Any
    to_keras: Callable[[np.ndarray], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


def gelu(x: Any) -> Any:
    """x Phi(x), by the error function."""
    return 0.5 * x * (1 + ops.erf(x / math.sqrt(2)))


def dense(name: str, units: int, dtype: str) -> layers.Dense:
    """A dense layer with kernels N(0, 0.02), named by its path in the architecture's state."""
    normal = keras.initializers.RandomNormal(stddev=0.02)
    return layers.Dense(units, kernel_initializer=normal, dtype=dtype, name=name.replace(".", "-"))


def norm(name: str, dtype: str) -> layers.LayerNormalization:
    return layers.LayerNormalization(epsilon=1e-12, dtype=dtype, name=name.replace(".", "-"))


def embedding(name: str, rows: int, width: int, dtype: str) -> layers.Embedding:
    normal = keras.initializers.RandomNormal(stddev=0.02)
    return layers.Embedding(rows, width, embeddings_initializer=normal, dtype=dtype, name=name.replace(".", "-"))


class Layer(layers.Layer):
    """Self-attention and a feed-forward part with gelu, each normalized after its sum."""

    def __init__(self, path: str, width: int, heads: int, hidden: int, dropout: float, dtype: str) -> None:
        super().__init__(name=path.replace(".", "-"), dtype=dtype)
        self.heads = heads
        self.q, self.k, self.v = (dense(f"{path}.attention.self.{part}", width, dtype) for part in ("query", "key", "value"))
        self.o = dense(f"{path}.attention.output.dense", width, dtype)
        self.norm_att = norm(f"{path}.attention.output.LayerNorm", dtype)
        self.inner, self.outer = dense(f"{path}.intermediate.dense", hidden, dtype), dense(f"{path}.output.dense", width, dtype)
        self.norm_out = norm(f"{path}.output.LayerNorm", dtype)
        self.drops = [layers.Dropout(dropout, dtype=dtype) for _ in range(3)]
        self.parts = [self.q, self.k, self.v, self.o, self.norm_att, self.inner, self.outer, self.norm_out]

    def attention(self, x: Any, read: Any, training: bool) -> Any:
        time, width = x.shape[1:]
        q, k, v = (ops.reshape(part(x), (-1, time, self.heads, width // self.heads)) for part in (self.q, self.k, self.v))
        scores = ops.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(width // self.heads)
        weights = ops.softmax(ops.where(read[:, None, None, :], scores, -np.inf), axis=-1)
        mixed = ops.einsum("bhij,bjhd->bihd", self.drops[0](weights, training=training), v)
        return self.o(ops.reshape(mixed, (-1, time, width)))

    def call(self, x: Any, read: Any, training: bool = False) -> Any:
        x = self.norm_att(x + self.drops[1](self.attention(x, read, training), training=training))
        return self.norm_out(x + self.drops[2](self.outer(gelu(self.inner(x))), training=training))


class Bert(keras.Model):
    """Embeddings, layers, and what the head makes of their states."""

    def __init__(
        self,
        vocabulary: int,
        width: int,
        depth: int,
        heads: int,
        hidden: int,
        positions: int,
        segments: int,
        dropout: float,
        head: str,
        classes: int,
        dtype: str,
    ) -> None:
        super().__init__(dtype=dtype)
        self.head = head
        start = "" if head == "none" else "bert."
        self.word = embedding(f"{start}embeddings.word_embeddings", vocabulary, width, dtype)
        self.position = embedding(f"{start}embeddings.position_embeddings", positions, width, dtype)
        self.segment = embedding(f"{start}embeddings.token_type_embeddings", segments, width, dtype)
        self.norm = norm(f"{start}embeddings.LayerNorm", dtype)
        self.drop, self.last_drop = layers.Dropout(dropout, dtype=dtype), layers.Dropout(dropout, dtype=dtype)
        self.blocks = [Layer(f"{start}encoder.layer.{i}", width, heads, hidden, dropout, dtype) for i in range(depth)]
        self.parts = [self.word, self.position, self.segment, self.norm]
        if head in POOLED:
            self.pooler = dense(f"{start}pooler.dense", width, dtype)
            self.parts.append(self.pooler)
        if head == "pretraining":
            self.transform = dense("cls.predictions.transform.dense", width, dtype)
            self.transform_norm = norm("cls.predictions.transform.LayerNorm", dtype)
            self.relation = dense("cls.seq_relationship", 2, dtype)
            self.word_bias = self.add_weight(shape=(vocabulary,), initializer="zeros", name="word_bias")
            self.parts += [self.transform, self.transform_norm, self.relation]
        elif head != "none":
            self.last = dense("qa_outputs", 2, dtype) if head == "span" else dense("classifier", classes, dtype)
            self.parts.append(self.last)

    def call(self, tokens: Any, mask: Any = None, segments: Any = None, training: bool = False) -> Any:
        segments = ops.zeros_like(tokens) if segments is None else segments
        x = self.word(tokens) + self.position(ops.arange(tokens.shape[1])) + self.segment(segments)
        x, read = self.drop(self.norm(x), training=training), tokens_read(tokens, mask)
        for block in self.blocks:
            x = block(x, read, training=training)
        pooled = ops.tanh(self.pooler(x[:, 0])) if self.head in POOLED else None
        if self.head == "none":
            return x, pooled
        if self.head == "pretraining":
            y = self.transform_norm(gelu(self.transform(x)))
            return ops.matmul(y, ops.transpose(self.word.embeddings)) + self.word_bias, self.relation(pooled)
        if self.head == "span":
            return self.last(x)
        return self.last(self.last_drop(x if pooled is None else pooled, training=training))


def tokens_read(tokens: Any, mask: Any) -> Any:
    """Return (batch, time), True where a token is read; the mask is of that shape, or it has the lengths."""
    if mask is None:
        return ops.ones_like(tokens, dtype="bool")
    if len(mask.shape) == 1:
        return ops.arange(tokens.shape[1], dtype=mask.dtype)[None, :] < mask[:, None]
    return mask != 0


def build(
    vocab_size: int = 30522,
    hidden_size: int = 768,
    num_hidden_layers: int = 12,
    num_attention_heads: int = 12,
    intermediate_size: int = 3072,
    max_position_embeddings: int = 512,
    type_vocab_size: int = 2,
    dropout: float = 0.1,
    head: str = "none",
    num_labels: int = 2,
) -> Bert:
    """The encoder alone, or with a head, with initial weights N(0, 0.02)."""
    if head not in (*POOLED, "tokens", "span"):
        raise ValueError(
            f"head is 'none', 'pretraining', 'classification', 'tokens' or 'span'. Received {head!r}. Use head='none'."
        )
    sizes = (hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, max_position_embeddings, type_vocab_size)
    model = Bert(vocab_size, *sizes, dropout, head, num_labels, keras.config.floatx())
    model(np.zeros((1, 2), "int64"))
    return model


def cross_entropy(labels: Any, scores: Any) -> Any:
    """The mean in nats over the labels that are not -100; classes are the last axis of the scores."""
    counted = labels != -100
    nats = keras.losses.sparse_categorical_crossentropy(ops.where(counted, labels, 0), scores, from_logits=True)
    counted = ops.cast(counted, nats.dtype)
    return ops.sum(nats * counted) / ops.sum(counted)


def loss(model: Bert, *batch: Any, training: bool = True) -> Any:
    """The mean cross-entropy of the head, in nats; that of pre-training is the sum of two."""
    arrays = [ops.convert_to_tensor(array) for array in batch]
    if model.head == "pretraining":
        *inputs, labels, following = arrays
        words, sentences = model(*inputs, training=training)
        return cross_entropy(labels, words) + cross_entropy(following, sentences)
    *inputs, labels = arrays
    scores = model(*inputs, training=training)
    if model.head != "span":
        return cross_entropy(labels, scores)
    read = tokens_read(inputs[0], inputs[1])[:, :, None]
    shifted = scores - ops.max(ops.where(read, scores, -np.inf), axis=1, keepdims=True)
    total = ops.log(ops.sum(ops.where(read, ops.exp(shifted), 0.0), axis=1))
    chosen = ops.take_along_axis(shifted, labels[:, None, :], axis=1)[:, 0]
    return ops.mean(total - chosen)


def weight_map(model: Bert) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out)."""
    found = {}
    for part in [*model.parts, *(part for block in model.blocks for part in block.parts)]:
        name = part.name.replace("-", ".")
        if isinstance(part, layers.Embedding):
            found[f"{name}.weight"] = Weight(part.embeddings, np.array, np.array)
        elif isinstance(part, layers.Dense):
            found[f"{name}.weight"] = Weight(part.kernel, np.transpose, np.transpose)
            found[f"{name}.bias"] = Weight(part.bias, np.array, np.array)
        else:
            found[f"{name}.weight"] = Weight(part.gamma, np.array, np.array)
            found[f"{name}.bias"] = Weight(part.beta, np.array, np.array)
    if model.head == "pretraining":
        found["cls.predictions.bias"] = Weight(model.word_bias, np.array, np.array)
    return found
