"""The LSTM in Keras: an independent twin, written from Hochreiter & Schmidhuber (1997) and Gers & Schmidhuber (2000).
An own cell, run by keras.layers.RNN, has PyTorch's two biases (Keras' has one) and, if requested, peepholes."""

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
    """One step of the LSTM; gates in the order input, forget, candidate, output, which Keras and PyTorch share."""

    def __init__(self, hidden: int, peepholes: bool, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.hidden, self.peepholes = hidden, peepholes
        self.state_size = [hidden, hidden]
        self.output_size = hidden

    def build(self, shape: tuple[int, ...]) -> None:
        n = self.hidden
        uniform = keras.initializers.RandomUniform(-(n**-0.5), n**-0.5)

        def weight(name: str, *size: int) -> Any:
            return self.add_weight(shape=size, initializer=uniform.clone(), name=name)

        self.kernel, self.recurrent_kernel = weight("kernel", shape[-1], 4 * n), weight("recurrent_kernel", n, 4 * n)
        self.bias, self.recurrent_bias = weight("bias", 4 * n), weight("recurrent_bias", 4 * n)
        if self.peepholes:
            self.peephole_i, self.peephole_f, self.peephole_o = (weight(f"peephole_{gate}", n) for gate in "ifo")

    def call(self, x: Any, states: Any) -> tuple[Any, list[Any]]:
        h, c = states
        gates = ops.matmul(x, self.kernel) + self.bias + ops.matmul(h, self.recurrent_kernel) + self.recurrent_bias
        i, f, g, o = ops.split(gates, 4, axis=1)
        if self.peepholes:
            i, f = i + self.peephole_i * c, f + self.peephole_f * c
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        if self.peepholes:
            o = o + self.peephole_o * c
        h = ops.sigmoid(o) * ops.tanh(c)
        return h, [h, c]


class LSTM(keras.layers.Layer):
    """Stacked layers of cells, in one or both directions, with dropout between layers."""

    def __init__(
        self,
        hidden: int,
        layers: int,
        bidirectional: bool,
        peepholes: bool,
        dropout: float,
        dtype: str,
    ) -> None:
        super().__init__(dtype=dtype, name="lstm")

        def run(layer: int, reverse: bool) -> keras.layers.RNN:
            return keras.layers.RNN(
                Cell(hidden, peepholes, dtype),
                return_sequences=True,
                return_state=True,
                go_backwards=reverse,
                zero_output_for_mask=True,
                dtype=dtype,
                name=f"l{layer}_reverse" if reverse else f"l{layer}",
            )

        reverses = (False, True) if bidirectional else (False,)
        self.runs = [[run(layer, reverse) for reverse in reverses] for layer in range(layers)]
        self.dropouts = [keras.layers.Dropout(dropout, dtype=dtype) for _ in range(layers - 1)]

    def call(self, x: Any, valid: Any, training: bool = False) -> tuple[Any, Any]:
        """Outputs [B, T, directions * H], zero where not valid, and the last layer's final states."""
        finals: list[Any] = []
        for layer, directions in enumerate(self.runs):
            if layer > 0:
                x = self.dropouts[layer - 1](x, training=training)
            steps, finals = [], []
            for run in directions:
                outputs, h, _ = run(x, mask=valid, training=training)
                # A backward run gives its outputs in the order it made them: the first is the last step's.
                steps.append(ops.flip(outputs, axis=1) if run.go_backwards else outputs)
                finals.append(h)
            x = ops.concatenate(steps, axis=2)
        return x, ops.concatenate(finals, axis=1)


class LSTMModel(keras.Model):
    """Embedding (if there is a vocabulary), LSTM layers, and a linear readout at every step or at the last."""

    def __init__(self, lstm: LSTM, inputs: int, outputs: int, vocabulary: int | None, readout: str, dtype: str) -> None:
        super().__init__(dtype=dtype)
        if readout not in ("each", "last"):
            raise ValueError(f"readout must be 'each' or 'last', got {readout!r}")
        self.readout = readout
        self.embedding = None
        if vocabulary is not None:
            self.embedding = keras.layers.Embedding(vocabulary, inputs, dtype=dtype, name="embedding")
        self.lstm = lstm
        self.last = keras.layers.Dense(outputs, dtype=dtype, name="output")

    def call(self, x: Any, lengths: Any = None, training: bool = False) -> Any:
        batch, time = ops.shape(x)[0], ops.shape(x)[1]
        if lengths is None:
            lengths = ops.full((batch,), time, dtype="int32")
        valid = ops.expand_dims(ops.arange(time, dtype="int32"), 0) < ops.expand_dims(ops.cast(lengths, "int32"), 1)
        if self.embedding is not None:
            x = self.embedding(x)
        steps, final = self.lstm(x, valid, training=training)
        return self.last(steps if self.readout == "each" else final)


def build(
    inputs: int,
    hidden: int,
    outputs: int,
    layers: int = 1,
    bidirectional: bool = False,
    peepholes: bool = False,
    dropout: float = 0.0,
    vocabulary: int | None = None,
    readout: str = "each",
) -> LSTMModel:
    """The model with its own initial weights; dropout acts between layers."""
    dtype = keras.config.floatx()
    lstm = LSTM(hidden, layers, bidirectional, peepholes, dropout, dtype)
    model = LSTMModel(lstm, inputs, outputs, vocabulary, readout, dtype)
    model(np.zeros((1, 2, inputs), dtype) if vocabulary is None else np.zeros((1, 2), "int64"))
    return model


def loss(model: LSTMModel, x: Any, *rest: Any, training: bool = True) -> Any:
    """Mean cross-entropy (class ids) or squared error (floats) over all outputs; rest is [lengths,] targets."""
    y = model(x, *rest[:-1], training=training)
    targets = ops.convert_to_tensor(rest[-1])
    if keras.backend.is_float_dtype(targets.dtype):
        return ops.mean(ops.square(y - ops.cast(targets, y.dtype)))
    return ops.mean(keras.losses.sparse_categorical_crossentropy(targets, y, from_logits=True))


def weight_map(model: LSTMModel) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out)."""

    def same(variable: Any) -> Weight:
        return Weight(variable, np.array, np.array)

    def transposed(variable: Any) -> Weight:
        return Weight(variable, np.transpose, np.transpose)

    weights = {"output.weight": transposed(model.last.kernel), "output.bias": same(model.last.bias)}
    if model.embedding is not None:
        weights["embedding.weight"] = same(model.embedding.embeddings)
    for directions in model.lstm.runs:
        for run in directions:
            cell, end = run.cell, run.name
            weights[f"lstm.weight_ih_{end}"] = transposed(cell.kernel)
            weights[f"lstm.weight_hh_{end}"] = transposed(cell.recurrent_kernel)
            weights[f"lstm.bias_ih_{end}"] = same(cell.bias)
            weights[f"lstm.bias_hh_{end}"] = same(cell.recurrent_bias)
            if cell.peepholes:
                weights[f"lstm.peephole_i_{end}"] = same(cell.peephole_i)
                weights[f"lstm.peephole_f_{end}"] = same(cell.peephole_f)
                weights[f"lstm.peephole_o_{end}"] = same(cell.peephole_o)
    return weights
