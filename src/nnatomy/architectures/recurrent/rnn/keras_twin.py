"""Recurrent networks of Elman and Jordan in Keras: an independent twin, written from Elman (1990) and Jordan (1986).
`weight_map` says which Keras variable holds each tensor of the architecture's state, and how it is transposed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers as kl
from keras import ops


class Weight(NamedTuple):
    """A Keras variable, with the maps of an array from our layout to its own and back."""

    variable: Any
    to_keras: Callable[[np.ndarray], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


class Cell(kl.Layer):
    """h = f(x W + b + r U + d): two biases, as PyTorch's; Keras' own SimpleRNNCell has one."""

    def __init__(self, inputs: int, hidden: int, returning: int, activation: str, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.activation = keras.activations.get(activation)
        self.kernel = self.add_weight(shape=(inputs, hidden), initializer="glorot_uniform", name="kernel")
        self.recurrent = self.add_weight(shape=(returning, hidden), initializer="glorot_uniform", name="recurrent")
        self.bias = self.add_weight(shape=(hidden,), initializer="zeros", name="bias")
        self.recurrent_bias = self.add_weight(shape=(hidden,), initializer="zeros", name="recurrent_bias")
        self.built = True

    def call(self, x: Any, returning: Any) -> Any:
        return self.activation(
            ops.matmul(x, self.kernel) + self.bias + ops.matmul(returning, self.recurrent) + self.recurrent_bias
        )  # fmt: skip


class RNN(keras.Model):
    """Layers of cells that see their own state again, or one cell that sees the sum of past outputs."""

    def __init__(
        self, inputs: int, hidden: int, outputs: int, layers: int, bidirectional: bool, nonlinearity: str, jordan: bool,
        decay: float, truncation: int | None, dropout: float, vocabulary: int | None, readout: str, dtype: str,
    ) -> None:  # fmt: skip
        super().__init__(dtype=dtype)
        self.jordan, self.decay, self.readout = jordan, decay, readout
        self.every = truncation
        self.embedding = None if vocabulary is None else kl.Embedding(vocabulary, inputs, dtype=dtype)
        ways, returning = 2 if bidirectional else 1, outputs if jordan else hidden
        self.cells = [
            [Cell(ways * hidden if k else inputs, hidden, returning, nonlinearity, dtype) for _ in range(ways)]
            for k in range(layers)
        ]
        self.drop, self.head = kl.Dropout(dropout, dtype=dtype), kl.Dense(outputs, dtype=dtype)
        self.head.build((None, ways * hidden))

    def barrier(self, state: Any, step: int) -> Any:
        """Stop the gradient before every `every`th step."""
        return ops.stop_gradient(state) if self.every is not None and step > 0 and step % self.every == 0 else state

    def pass_over(self, cell: Cell, x: Any, mask: Any) -> tuple[list[Any], Any]:
        """The outputs of one cell in the order of time, which runs forward, and its final state."""
        h, outputs = ops.zeros((ops.shape(x)[0], cell.kernel.shape[1]), x.dtype), []
        for t in range(x.shape[1]):
            h = self.barrier(h, t)
            here = mask[:, t : t + 1]
            h = here * cell(x[:, t], h) + (1 - here) * h
            outputs.append(here * h)
        return outputs, h

    def elman(self, x: Any, mask: Any, training: bool) -> Any:
        finals: list[Any] = []
        for number, cells in enumerate(self.cells):
            x = self.drop(x, training=training) if number else x
            ahead, final = self.pass_over(cells[0], x, mask)
            sequence, finals = ops.stack(ahead, axis=1), [final]
            if len(cells) == 2:
                back, final = self.pass_over(cells[1], ops.flip(x, axis=1), ops.flip(mask, axis=1))
                sequence = ops.concatenate([sequence, ops.stack(back[::-1], axis=1)], axis=2)
                finals.append(final)
            x = sequence
        return self.head(ops.concatenate(finals, axis=1) if self.readout == "last" else x)

    def through_outputs(self, x: Any, mask: Any) -> Any:
        """Jordan's network: c_t = decay c_(t-1) + y_(t-1) comes back."""
        cell = self.cells[0][0]
        c = y = final = ops.zeros((ops.shape(x)[0], self.head.units), x.dtype)
        outputs = []
        for t in range(x.shape[1]):
            here = mask[:, t : t + 1]
            c = self.barrier(here * (self.decay * c + y) + (1 - here) * c, t)
            h = here * cell(x[:, t], c)
            y = self.head(h)
            final = here * y + (1 - here) * final
            outputs.append(y)
        return final if self.readout == "last" else ops.stack(outputs, axis=1)

    def call(self, x: Any, lengths: Any = None, training: bool = False) -> Any:
        x = ops.convert_to_tensor(x)
        steps = ops.arange(x.shape[1], dtype="int32")[None, :]
        until = x.shape[1] if lengths is None else ops.cast(lengths, "int32")[:, None]
        mask = ops.cast(ops.logical_and(steps < until, ops.ones(ops.shape(x)[:2], "bool")), self.compute_dtype)
        x = x if self.embedding is None else self.embedding(x)
        return self.through_outputs(x, mask) if self.jordan else self.elman(x, mask, training)


def build(
    inputs: int,
    hidden: int,
    outputs: int,
    layers: int = 1,
    bidirectional: bool = False,
    nonlinearity: str = "tanh",
    feedback: str = "state",
    decay: float = 0.0,
    truncation: int | None = None,
    dropout: float = 0.0,
    vocabulary: int | None = None,
    readout: str = "each",
) -> RNN:
    """The network with Keras' own initial weights."""
    for name, value, values in (
        ("nonlinearity", nonlinearity, ("tanh", "relu")),
        ("feedback", feedback, ("state", "output")),
        ("readout", readout, ("each", "last")),
    ):
        if value not in values:
            raise ValueError(f"{name} is one of {values}. Received {value!r}. Use {name}={values[0]!r}.")
    if feedback == "output" and (layers > 1 or bidirectional):
        raise ValueError(f"Feedback of outputs needs one layer and direction. Received {layers} and {bidirectional}.")
    dtype, jordan = keras.config.floatx(), feedback == "output"
    model = RNN(
        inputs, hidden, outputs, layers, bidirectional, nonlinearity, jordan, decay, truncation, dropout, vocabulary, readout,
        dtype,
    )  # fmt: skip
    model(np.zeros((1, 2, inputs), dtype) if vocabulary is None else np.zeros((1, 2), "int64"))
    return model


def loss(model: RNN, *batch: Any, training: bool = True) -> Any:
    """Mean cross-entropy of class ids, or mean squared error of numbers, over all outputs."""
    *inputs, targets = (ops.convert_to_tensor(array) for array in batch)
    y = model(*inputs, training=training)
    if "float" in str(targets.dtype):
        return ops.mean(ops.square(y - targets))
    return ops.mean(keras.losses.sparse_categorical_crossentropy(targets, y, from_logits=True))


def weight_map(model: RNN) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out)."""

    def same(variable: Any) -> Weight:
        return Weight(variable, np.array, np.array)

    def turned(variable: Any) -> Weight:
        return Weight(variable, np.transpose, np.transpose)

    found = {"output.weight": turned(model.head.kernel), "output.bias": same(model.head.bias)}
    if model.embedding is not None:
        found["embedding.weight"] = same(model.embedding.embeddings)
    for k, cells in enumerate(model.cells):
        for cell, way in zip(cells, ("", "_reverse")):
            found |= {
                f"rnn.weight_ih_l{k}{way}": turned(cell.kernel),
                f"rnn.weight_hh_l{k}{way}": turned(cell.recurrent),
                f"rnn.bias_ih_l{k}{way}": same(cell.bias),
                f"rnn.bias_hh_l{k}{way}": same(cell.recurrent_bias),
            }
    return found
