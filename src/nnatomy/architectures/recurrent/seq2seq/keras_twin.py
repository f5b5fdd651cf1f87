"""Sequence to sequence in Keras: an independent twin, written from Sutskever et al. (2014) and Cho et al. (2014).
Own cells, run by keras.layers.RNN, have PyTorch's two biases, which Keras' own do not all have."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops


class Weight(NamedTuple):
    """A Keras variable, with the maps of an array from our layout to its own and back."""

    variable: Any
    to_keras: Callable[[np.ndarray], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


class Cell(keras.layers.Layer):
    """One step of an LSTM (gates i, f, g, o) or of a GRU (gates r, z, n; the reset gate acts after the product)."""

    def __init__(self, hidden: int, gru: bool, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.hidden, self.gru = hidden, gru
        self.gates = 3 if gru else 4
        self.state_size = hidden if gru else [hidden, hidden]
        self.output_size = hidden

    def build(self, shape: tuple[int, ...]) -> None:
        uniform, n = keras.initializers.RandomUniform(-0.08, 0.08), self.gates * self.hidden

        def weight(name: str, *size: int) -> Any:
            return self.add_weight(shape=size, initializer=uniform.clone(), name=name)

        self.kernel, self.recurrent_kernel = weight("kernel", shape[-1], n), weight("recurrent_kernel", self.hidden, n)
        self.bias, self.recurrent_bias = weight("bias", n), weight("recurrent_bias", n)

    def call(self, x: Any, states: Any) -> tuple[Any, list[Any]]:
        states = states if isinstance(states, list | tuple) else [states]
        from_input = ops.matmul(x, self.kernel) + self.bias
        from_state = ops.matmul(states[0], self.recurrent_kernel) + self.recurrent_bias
        if self.gru:
            (x_r, x_z, x_n), (h_r, h_z, h_n) = ops.split(from_input, 3, axis=1), ops.split(from_state, 3, axis=1)
            r, z = ops.sigmoid(x_r + h_r), ops.sigmoid(x_z + h_z)
            h = (1 - z) * ops.tanh(x_n + r * h_n) + z * states[0]
            return h, [h]
        i, f, g, o = ops.split(from_input + from_state, 4, axis=1)
        c = ops.sigmoid(f) * states[1] + ops.sigmoid(i) * ops.tanh(g)
        h = ops.sigmoid(o) * ops.tanh(c)
        return h, [h, c]


class EncoderDecoder(keras.Model):
    """Two stacks of cells; a mask keeps the encoder's state where a sentence has ended."""

    def __init__(
        self, source: int, target: int, embedding: int, hidden: int, layers: int, cell: str, reverse: bool, dropout: float,
        dtype: str,
    ) -> None:  # fmt: skip
        super().__init__(dtype=dtype)
        self.gru, self.reverse = cell == "gru", reverse

        def stack() -> list[keras.layers.RNN]:
            return [
                keras.layers.RNN(Cell(hidden, self.gru, dtype), return_sequences=True, return_state=True, dtype=dtype)
                for _ in range(layers)
            ]

        self.read, self.write = stack(), stack()
        self.of_source = keras.layers.Embedding(source, embedding, dtype=dtype)
        self.of_target = keras.layers.Embedding(target, embedding, dtype=dtype)
        self.drop = keras.layers.Dropout(dropout, dtype=dtype)
        self.last = keras.layers.Dense(target, dtype=dtype)

    def call(self, source: Any, lengths: Any, given: Any, training: bool = False) -> Any:
        time = ops.expand_dims(ops.arange(ops.shape(source)[1], dtype="int32"), 0)
        n = ops.expand_dims(ops.cast(lengths, "int32"), 1)
        valid = time < n
        if self.reverse:
            source = ops.take_along_axis(source, ops.where(valid, n - 1 - time, time), axis=1)
        x, states = self.drop(self.of_source(source), training=training), []
        for layer in self.read:
            x, *state = layer(x, mask=valid)
            states.append(state)
        y = self.drop(self.of_target(given), training=training)
        if self.gru:
            summary = ops.repeat(ops.expand_dims(states[-1][0], 1), ops.shape(given)[1], axis=1)
            y = ops.concatenate([y, summary], axis=2)
        for layer, state in zip(self.write, states):
            y = layer(y, initial_state=state)[0]
        return self.last(self.drop(y, training=training))


def build(
    source: int,
    target: int,
    embedding: int = 128,
    hidden: int = 256,
    layers: int = 1,
    cell: str = "lstm",
    reverse: bool = True,
    dropout: float = 0.0,
    beam: int = 1,
    length_penalty: float = 0.0,
) -> EncoderDecoder:
    """The model with its own initial weights; how it is searched concerns no gradient."""
    model = EncoderDecoder(source, target, embedding, hidden, layers, cell, reverse, dropout, keras.config.floatx())
    model(np.zeros((1, 2), "int64"), np.ones(1, "int64"), np.zeros((1, 2), "int64"))
    return model


def loss(model: EncoderDecoder, source: Any, lengths: Any, given: Any, following: Any, training: bool = True) -> Any:
    """Negative log-likelihood of the target sentences, the mean over sentences; targets of -100 are padding."""
    scores = model(source, lengths, given, training=training)
    following = ops.convert_to_tensor(following)
    counted = following >= 0
    nats = keras.losses.sparse_categorical_crossentropy(ops.where(counted, following, 0), scores, from_logits=True)
    return ops.mean(ops.sum(ops.where(counted, nats, ops.zeros_like(nats)), axis=1))


def weight_map(model: EncoderDecoder) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out)."""

    def same(variable: Any) -> Weight:
        return Weight(variable, np.array, np.array)

    def turned(variable: Any) -> Weight:
        return Weight(variable, np.transpose, np.transpose)

    weights = {
        "source_embedding.weight": same(model.of_source.embeddings),
        "target_embedding.weight": same(model.of_target.embeddings),
        "output.weight": turned(model.last.kernel),
        "output.bias": same(model.last.bias),
    }
    for name, stack in (("encoder", model.read), ("decoder", model.write)):
        for number, layer in enumerate(stack):
            cell = layer.cell
            weights[f"{name}.weight_ih_l{number}"] = turned(cell.kernel)
            weights[f"{name}.weight_hh_l{number}"] = turned(cell.recurrent_kernel)
            weights[f"{name}.bias_ih_l{number}"] = same(cell.bias)
            weights[f"{name}.bias_hh_l{number}"] = same(cell.recurrent_bias)
    return weights
