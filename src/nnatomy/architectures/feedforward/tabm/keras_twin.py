"""TabM in Keras: an independent twin, written from Gorishniy, Kotelnikov and Babenko (2024) and Wen, Tran and Ba (2020).
`weight_map` says which Keras variable holds each tensor of the architecture's state, and how it is transposed."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops


class Weight(NamedTuple):
    """A Keras variable, with the maps of an array from our layout to its own and back."""

    variable: Any
    to_keras: Callable[[np.ndarray], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


class Embedding(layers.Layer):
    """A vector for each number: a line in x, plus a map of its piecewise-linear encoding."""

    def __init__(self, numbers: int, bins: int, width: int, dtype: str) -> None:
        super().__init__(dtype=dtype, name="num_module")
        self.slope = self.add_weight(shape=(numbers, width), name="slope")
        self.offset = self.add_weight(shape=(numbers, width), name="offset")
        self.table = self.add_weight(shape=(numbers, bins, width), name="table")
        self.scale = self.add_weight(shape=(numbers, bins), initializer="ones", trainable=False, name="scale")
        self.shift = self.add_weight(shape=(numbers, bins), initializer="zeros", trainable=False, name="shift")

    def encode(self, x: Any) -> Any:
        """(batch, numbers) -> (batch, numbers, bins); the first bin has no lower bound, the last no upper one."""
        bins = self.scale.shape[1]
        first, last = np.arange(bins) == 0, np.arange(bins) == bins - 1
        single = ops.logical_and(last, self.scale[:, :1] == 0) if bins > 1 else ops.ones_like(self.scale, dtype="bool")
        u = ops.expand_dims(x, 2) * self.scale + self.shift
        floor = ops.where(ops.logical_or(first, single), u, ops.maximum(u, 0))
        return ops.where(last, floor, ops.minimum(floor, 1))

    def call(self, x: Any) -> Any:
        line = ops.expand_dims(x, 2) * self.slope + self.offset
        return line + ops.sum(ops.expand_dims(self.encode(x), 3) * self.table, axis=2)


class Members(layers.Layer):
    """k linear layers: apart, with one kernel between scales of their own, or wholly the same."""

    def __init__(self, k: int, inputs: int, outputs: int, variant: str, name: str, dtype: str) -> None:
        super().__init__(dtype=dtype, name=name)
        self.variant = variant
        apart = (k,) if variant == "packed" else ()
        self.kernel = self.add_weight(shape=(*apart, inputs, outputs), initializer="he_uniform", name="kernel")
        self.bias = self.add_weight(shape=(outputs,) if variant == "mini" else (k, outputs), initializer="zeros", name="bias")
        self.r = self.s = None
        if variant == "tabm":
            self.r = self.add_weight(shape=(k, inputs), initializer="ones", name="r")
            self.s = self.add_weight(shape=(k, outputs), initializer="ones", name="s")

    def call(self, h: Any) -> Any:
        if self.variant == "packed":
            return ops.transpose(ops.matmul(ops.transpose(h, (1, 0, 2)), self.kernel), (1, 0, 2)) + self.bias
        if self.r is None:
            return ops.matmul(h, self.kernel) + self.bias
        return ops.matmul(h * self.r, self.kernel) * self.s + self.bias


class TabM(keras.Model):
    """k networks that share most of their weights, each with an output layer of its own."""

    def __init__(
        self, features: int, outputs: int, classify: bool, k: int, blocks: int, width: int, dropout: float, variant: str,
        numbers: Sequence[int], bins: int, embedding: int, dtype: str,
    ) -> None:  # fmt: skip
        super().__init__(dtype=dtype)
        self.classify, self.k = classify, k
        self.numbers = list(numbers) if bins else []
        self.rest = sorted(set(range(features)) - set(self.numbers))
        self.embed = Embedding(len(self.numbers), bins, embedding, dtype) if self.numbers else None
        inputs = len(self.numbers) * embedding + len(self.rest)
        self.affine = None
        if variant == "mini":
            self.affine = self.add_weight(shape=(k, inputs), initializer="random_normal", name="affine")
        self.hidden = [
            Members(k, width if i else inputs, width, variant, f"backbone_blocks_{i}_0", dtype) for i in range(blocks)
        ]
        self.drop = layers.Dropout(dropout, dtype=dtype)
        self.last = Members(k, width if blocks else inputs, outputs, "packed", "output", dtype)

    def members(self, x: Any, training: bool = False) -> Any:
        """(batch, features) -> (batch, k, outputs): what each member says."""
        if self.embed is not None:
            embedded = self.embed(ops.take(x, self.numbers, axis=1))
            around = ops.take(x, np.array(self.rest, "int32"), axis=1)
            x = ops.concatenate([ops.reshape(embedded, (-1, embedded.shape[1] * embedded.shape[2])), around], axis=1)
        h = ops.repeat(ops.expand_dims(x, 1), self.k, axis=1)
        if self.affine is not None:
            h = h * self.affine
        for layer in self.hidden:
            h = self.drop(ops.relu(layer(h)), training=training)
        return self.last(h)

    def call(self, x: Any, training: bool = False) -> Any:
        z = self.members(x, training)
        if not self.classify:
            return ops.mean(z, axis=1)
        return ops.logsumexp(ops.log_softmax(z, axis=2), axis=1) - ops.log(ops.cast(self.k, z.dtype))


def build(
    features: int,
    outputs: int,
    classify: bool = True,
    k: int = 32,
    blocks: int = 2,
    width: int = 512,
    dropout: float = 0.1,
    variant: str = "tabm",
    start: str = "normal",
    numbers: Sequence[int] = (),
    bins: int = 0,
    embedding: int = 16,
    groups: Sequence[int] = (),
) -> TabM:
    """The ensemble with its own initial weights, whatever `start` and `groups` say of them."""
    if variant not in ("tabm", "mini", "packed"):
        raise ValueError(f"variant is 'tabm', 'mini' or 'packed'. Received {variant!r}. Use variant='tabm'.")
    dtype = keras.config.floatx()
    model = TabM(features, outputs, classify, k, blocks, width, dropout, variant, numbers, bins, embedding, dtype)
    model(np.zeros((1, features), dtype))
    return model


def loss(model: TabM, x: Any, targets: Any, training: bool = True) -> Any:
    """The mean of the members' own losses: cross-entropies, or mean squared errors."""
    z, targets = model.members(x, training), ops.convert_to_tensor(targets)
    if not model.classify:
        return ops.mean(ops.square(z - ops.expand_dims(targets, 1)))
    wanted = ops.repeat(ops.expand_dims(targets, 1), model.k, axis=1)
    return ops.mean(keras.losses.sparse_categorical_crossentropy(wanted, z, from_logits=True))


def weight_map(model: TabM) -> dict[str, Weight]:
    """Our names to Keras variables; matrices are kept as (in, out), which is our layout too where each member has its own."""

    def same(variable: Any) -> Weight:
        return Weight(variable, np.array, np.array)

    found: dict[str, Weight] = {}
    if model.embed is not None:
        embed = model.embed
        names = {"linear0.weight": embed.slope, "linear0.bias": embed.offset, "linear.weight": embed.table}
        names |= {"impl.weight": embed.scale, "impl.bias": embed.shift}
        found |= {f"num_module.{name}": same(variable) for name, variable in names.items()}
    if model.affine is not None:
        found["backbone.affine.weight"] = same(model.affine)
    for layer in (*model.hidden, model.last):
        name, kernel = layer.name.replace("_", "."), layer.kernel
        apart = layer.variant == "packed"
        found[f"{name}.weight"] = same(kernel) if apart else Weight(kernel, np.transpose, np.transpose)
        found[f"{name}.bias"] = same(layer.bias)
        if layer.r is not None:
            found |= {f"{name}.r": same(layer.r), f"{name}.s": same(layer.s)}
    return found
