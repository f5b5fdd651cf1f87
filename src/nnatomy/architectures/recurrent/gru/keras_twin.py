"""The GRU in Keras: an independent twin, written from Cho et al. (2014), equations 5 to 8, and Chung et al. (2014).
An own cell, run by keras.layers.RNN, has both biases of PyTorch as variables of their own; Keras' has one for both."""

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
    """One step of the GRU; gates in PyTorch's order reset, update, candidate."""

    def __init__(self, hidden: int, reset_after: bool, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.reset_after = reset_after
        self.state_size = self.output_size = hidden

    def build(self, shape: tuple[int, ...]) -> None:
        n = self.state_size
        uniform = keras.initializers.RandomUniform(-(n**-0.5), n**-0.5)

        def weight(name: str, *size: int) -> Any:
            return self.add_weight(shape=size, initializer=uniform.clone(), name=name)

        self.kernel, self.recurrent_kernel = weight("kernel", shape[-1], 3 * n), weight("recurrent_kernel", n, 3 * n)
        self.bias, self.recurrent_bias = weight("bias", 3 * n), weight("recurrent_bias", 3 * n)

    def call(self, x: Any, states: Any) -> tuple[Any, list[Any]]:
        h, n = states[0], self.state_size
        from_x = ops.matmul(x, self.kernel) + self.bias
        gates = ops.sigmoid(
            from_x[:, : 2 * n] + ops.matmul(h, self.recurrent_kernel[:, : 2 * n]) + self.recurrent_bias[: 2 * n]
        )
        reset, keep = gates[:, :n], gates[:, n:]
        kernel, bias = self.recurrent_kernel[:, 2 * n :], self.recurrent_bias[2 * n :]
        if self.reset_after:
            from_h = reset * (ops.matmul(h, kernel) + bias)
        else:
            from_h = ops.matmul(reset * h, kernel) + bias
        candidate = ops.tanh(from_x[:, 2 * n :] + from_h)
        h = candidate + keep * (h - candidate)
        return h, [h]


class GRUModel(keras.Model):
    """Embedding (if there is a vocabulary), GRU layers, and a linear readout at every step or of the final states."""

    def __init__(
        self, inputs: int, hidden: int, outputs: int, depth: int, bidirectional: bool, reset_after: bool, dropout: float,
        vocabulary: int | None, readout: str, dtype: str,
    ) -> None:  # fmt: skip
        super().__init__(dtype=dtype)
        if readout not in ("each", "last"):
            raise ValueError(f"readout must be 'each' or 'last', got {readout!r}")
        self.readout = readout
        self.embedding = None
        if vocabulary is not None:
            self.embedding = layers.Embedding(vocabulary, inputs, dtype=dtype, name="embedding")

        def run(reverse: bool) -> layers.RNN:
            return layers.RNN(
                Cell(hidden, reset_after, dtype), return_sequences=True, return_state=True, go_backwards=reverse,
                zero_output_for_mask=True, dtype=dtype,
            )  # fmt: skip

        reverses = (False, True) if bidirectional else (False,)
        self.runs = [[run(reverse) for reverse in reverses] for _ in range(depth)]
        self.drops = [layers.Dropout(dropout, dtype=dtype) for _ in range(depth - 1)]
        self.last = layers.Dense(outputs, dtype=dtype, name="output")

    def call(self, x: Any, lengths: Any = None, training: bool = False) -> Any:
        batch, time = ops.shape(x)[0], ops.shape(x)[1]
        lengths = ops.full((batch,), time, dtype="int32") if lengths is None else ops.cast(lengths, "int32")
        valid = ops.arange(time, dtype="int32")[None, :] < lengths[:, None]
        if self.embedding is not None:
            x = self.embedding(x)
        finals: list[Any] = []
        for layer, directions in enumerate(self.runs):
            if layer > 0:
                x = self.drops[layer - 1](x, training=training)
            steps, finals = [], []
            for direction in directions:
                outputs, final = direction(x, mask=valid, training=training)
                # A backward run gives its outputs in the order it made them: the first is the last step's.
                steps.append(ops.flip(outputs, axis=1) if direction.go_backwards else outputs)
                finals.append(final)
            x = ops.concatenate(steps, axis=2)
        return self.last(x if self.readout == "each" else ops.concatenate(finals, axis=1))


def build(
    inputs: int, hidden: int, outputs: int, layers: int = 1, bidirectional: bool = False, reset_after: bool = True,
    dropout: float = 0.0, vocabulary: int | None = None, readout: str = "each",
) -> GRUModel:  # fmt: skip
    """The model with its own initial weights; dropout acts between layers."""
    dtype = keras.config.floatx()
    model = GRUModel(inputs, hidden, outputs, layers, bidirectional, reset_after, dropout, vocabulary, readout, dtype)
    model(np.zeros((1, 2, inputs), dtype) if vocabulary is None else np.zeros((1, 2), "int64"))
    return model


def loss(model: GRUModel, x: Any, *rest: Any, training: bool = True) -> Any:
    """Mean cross-entropy (class ids) or squared error (floats) over all outputs; rest is [lengths,] targets."""
    y = model(x, *rest[:-1], training=training)
    targets = ops.convert_to_tensor(rest[-1])
    if keras.backend.is_float_dtype(targets.dtype):
        return ops.mean(ops.square(y - targets))
    return ops.mean(keras.losses.sparse_categorical_crossentropy(targets, y, from_logits=True))


def weight_map(model: GRUModel) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out)."""

    def same(variable: Any) -> Weight:
        return Weight(variable, np.array, np.array)

    def turned(variable: Any) -> Weight:
        return Weight(variable, np.transpose, np.transpose)

    weights = {"output.weight": turned(model.last.kernel), "output.bias": same(model.last.bias)}
    if model.embedding is not None:
        weights["embedding.weight"] = same(model.embedding.embeddings)
    for layer, directions in enumerate(model.runs):
        for run in directions:
            cell, end = run.cell, f"l{layer}_reverse" if run.go_backwards else f"l{layer}"
            weights[f"gru.weight_ih_{end}"] = turned(cell.kernel)
            weights[f"gru.weight_hh_{end}"] = turned(cell.recurrent_kernel)
            weights[f"gru.bias_ih_{end}"] = same(cell.bias)
            weights[f"gru.bias_hh_{end}"] = same(cell.recurrent_bias)
    return weights
