"""Recurrent networks with attention in Keras: an independent twin, written from Bahdanau, Cho and Bengio (2015) and Luong, Pham
and Manning (2015). `weight_map` says which Keras variable holds each tensor of the architecture's state."""

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


class Cell(layers.Layer):
    """One step of a GRU with PyTorch's order of gates (r, z, n) and its two biases; the reset gate acts after the product."""

    def __init__(self, inputs: int, hidden: int, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.hidden = hidden
        self.kernel = self.add_weight(shape=(inputs, 3 * hidden), initializer="glorot_uniform", name="kernel")
        self.recurrent = self.add_weight(shape=(hidden, 3 * hidden), initializer="glorot_uniform", name="recurrent")
        self.bias = self.add_weight(shape=(3 * hidden,), initializer="zeros", name="bias")
        self.recurrent_bias = self.add_weight(shape=(3 * hidden,), initializer="zeros", name="recurrent_bias")
        self.built = True

    def call(self, x: Any, h: Any) -> Any:
        x_r, x_z, x_n = ops.split(ops.matmul(x, self.kernel) + self.bias, 3, axis=1)
        h_r, h_z, h_n = ops.split(ops.matmul(h, self.recurrent) + self.recurrent_bias, 3, axis=1)
        z = ops.sigmoid(x_z + h_z)
        new = ops.tanh(x_n + ops.sigmoid(x_r + h_r) * h_n)
        return new + z * (h - new)


class Translator(keras.Model):
    """A bidirectional encoder, a score of each of its states, and one of the two decoders."""

    def __init__(
        self, source: int, target: int, embedding: int, encoder_hidden: int, hidden: int, score: str, input_feeding: bool,
        dropout: float, dtype: str,
    ) -> None:  # fmt: skip
        super().__init__(dtype=dtype)
        self.score, self.input_feeding, self.bahdanau = score, input_feeding, score == "additive"
        self.drop = layers.Dropout(dropout, dtype=dtype)
        self.words_read = layers.Embedding(source, embedding, dtype=dtype)
        self.words_given = layers.Embedding(target, embedding, dtype=dtype)
        self.ahead, self.back = Cell(embedding, encoder_hidden, dtype), Cell(embedding, encoder_hidden, dtype)
        self.bridge = layers.Dense(hidden, "tanh", dtype=dtype)
        self.query = self.key = self.energy = None
        if score in ("additive", "concat"):
            self.query = layers.Dense(hidden, use_bias=False, dtype=dtype)
            self.energy = layers.Dense(1, use_bias=False, dtype=dtype)
        if score != "dot":
            self.key = layers.Dense(hidden, use_bias=False, dtype=dtype)
        also = 2 * encoder_hidden if self.bahdanau else hidden if input_feeding else 0
        self.decoder = Cell(embedding + also, hidden, dtype)
        if self.bahdanau:
            self.readout = layers.Dense(2 * hidden, dtype=dtype)
        else:
            self.readout = layers.Dense(hidden, "tanh", use_bias=False, dtype=dtype)
        self.last = layers.Dense(target, dtype=dtype)

    def read(self, cell: Cell, x: Any, mask: Any, times: range) -> tuple[list[Any], Any]:
        """The states of one direction in the order of time, zeros at padding, and the last one that was reached."""
        h, found = ops.zeros((ops.shape(x)[0], cell.hidden), x.dtype), {}
        for t in times:
            h = ops.where(mask[:, t : t + 1], cell(x[:, t], h), h)
            found[t] = ops.where(mask[:, t : t + 1], h, ops.zeros_like(h))
        return [found[t] for t in sorted(found)], h

    def attend(self, q: Any, annotations: Any, keys: Any, mask: Any) -> Any:
        """The mean of the annotations by the softmax of their scores."""
        if self.energy is None or self.query is None:
            e = ops.sum(keys * ops.expand_dims(q, 1), axis=2)
        else:
            e = ops.squeeze(self.energy(ops.tanh(keys + ops.expand_dims(self.query(q), 1))), 2)
        weights = ops.softmax(ops.where(mask, e, -np.inf), axis=1)
        return ops.sum(ops.expand_dims(weights, 2) * annotations, axis=1)

    def call(self, source: Any, lengths: Any, given: Any, training: bool = False) -> Any:
        time = source.shape[1]
        mask = ops.arange(time, dtype="int32")[None, :] < ops.cast(lengths, "int32")[:, None]
        x = self.drop(self.words_read(source), training=training)
        ahead, _ = self.read(self.ahead, x, mask, range(time))
        back, first = self.read(self.back, x, mask, range(time - 1, -1, -1))
        annotations = ops.concatenate([ops.stack(ahead, axis=1), ops.stack(back, axis=1)], axis=2)
        keys = annotations if self.key is None else self.key(annotations)
        words = self.drop(self.words_given(given), training=training)
        s = self.bridge(first)
        fed, found = ops.zeros_like(s), []
        for t in range(given.shape[1]):
            word = words[:, t]
            if self.bahdanau:
                c = self.attend(s, annotations, keys, mask)
                pairs = self.readout(ops.concatenate([s, word, c], axis=1))
                found.append(ops.maximum(pairs[:, ::2], pairs[:, 1::2]))
                s = self.decoder(ops.concatenate([word, c], axis=1), s)
            else:
                s = self.decoder(ops.concatenate([word, fed], axis=1) if self.input_feeding else word, s)
                c = self.attend(s, annotations, keys, mask)
                fed = self.readout(ops.concatenate([c, s], axis=1))
                found.append(fed)
        return self.last(self.drop(ops.stack(found, axis=1), training=training))


def build(
    source: int,
    target: int,
    embedding: int = 128,
    encoder_hidden: int = 128,
    hidden: int = 256,
    score: str = "additive",
    input_feeding: bool = True,
    dropout: float = 0.0,
    beam: int = 1,
    length_penalty: float = 0.0,
) -> Translator:
    """The model with Keras' own initial weights; how it is searched concerns no gradient."""
    if score not in ("additive", "dot", "general", "concat"):
        raise ValueError(f"score is 'additive', 'dot', 'general' or 'concat'. Received {score!r}. Use score='additive'.")
    if score == "additive" and not input_feeding:
        raise ValueError("Bahdanau's decoder reads the context. Received input_feeding=False. Use input_feeding=True.")
    if score == "dot" and hidden != 2 * encoder_hidden:
        raise ValueError(f"score='dot' needs hidden = 2 encoder_hidden. Received {hidden} and {encoder_hidden}.")
    dtype = keras.config.floatx()
    model = Translator(source, target, embedding, encoder_hidden, hidden, score, input_feeding, dropout, dtype)
    model(np.zeros((1, 2), "int64"), np.ones(1, "int64"), np.zeros((1, 2), "int64"))
    return model


def loss(model: Translator, source: Any, lengths: Any, given: Any, following: Any, training: bool = True) -> Any:
    """Negative log-likelihood of the target sentences, the mean over sentences; targets of -100 are padding."""
    scores = model(source, lengths, given, training=training)
    following = ops.convert_to_tensor(following)
    counted = following != -100
    nats = keras.losses.sparse_categorical_crossentropy(ops.where(counted, following, 0), scores, from_logits=True)
    return ops.mean(ops.sum(ops.where(counted, nats, ops.zeros_like(nats)), axis=1))


def weight_map(model: Translator) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out)."""

    def same(variable: Any) -> Weight:
        return Weight(variable, np.array, np.array)

    def turned(variable: Any) -> Weight:
        return Weight(variable, np.transpose, np.transpose)

    found = {
        "source_embedding.weight": same(model.words_read.embeddings),
        "target_embedding.weight": same(model.words_given.embeddings),
    }
    for name, end, cell in (
        ("encoder", "_l0", model.ahead),
        ("encoder", "_l0_reverse", model.back),
        ("decoder", "", model.decoder),
    ):
        found |= {f"{name}.weight_ih{end}": turned(cell.kernel), f"{name}.weight_hh{end}": turned(cell.recurrent)}
        found |= {f"{name}.bias_ih{end}": same(cell.bias), f"{name}.bias_hh{end}": same(cell.recurrent_bias)}
    dense = {"bridge": model.bridge, "output": model.last, "readout" if model.bahdanau else "combine": model.readout}
    dense |= {"attention.query": model.query, "attention.key": model.key, "attention.energy": model.energy}
    for name, layer in dense.items():
        if layer is not None:
            found[f"{name}.weight"] = turned(layer.kernel)
            if layer.use_bias:
                found[f"{name}.bias"] = same(layer.bias)
    return found
