"""The multi-layer perceptron: linear maps with a bend between each two of them. Its training is in recipe.py."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy import init
from nnatomy.errors import UserError, unknown_name
from nnatomy.functional import cross_entropy, elu, gelu, leaky_relu, mse_loss, relu, selu, sigmoid, silu, tanh
from nnatomy.layers import BatchNorm1d, Dropout, Linear
from nnatomy.layers.module import Module
from nnatomy.ops import clip, concatenate
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float

ACTIVATIONS: Mapping[str, Callable[[Any], Any]] = {
    "relu": relu, "tanh": tanh, "sigmoid": sigmoid, "gelu": gelu, "silu": silu, "elu": elu, "leaky_relu": leaky_relu,
    "selu": selu,
}  # fmt: skip
NARROWEST = 0.01
"""The least width of a bin, in standard deviations: where many values are equal, a step would have no slope."""


class Numbers(Module):
    """Numbers as features of their size: e_t = clip((x - b_t) / (b_(t+1) - b_t), 0, 1), then relu(e W_j + c_j) for number j.

    A linear layer on x is one slope for all sizes; on e it has another slope in each of the `bins` between the edges b
    (Gorishniy, Rubachev and Babenko 2022, section 3.2, "Q-LR" where the edges are quantiles). `columns`: the places of the
    numbers in an example. Buffers: edges (numbers, bins + 1), from -2 to 2 unless `fit` takes them from data.
    """

    def __init__(self, columns: Sequence[int], bins: int, size: int) -> None:
        self.columns = np.array(columns, np.int64)
        self.edges = Tensor(np.tile(np.linspace(-2, 2, bins + 1, dtype=np.float32), (len(columns), 1)))
        bound = 1 / math.sqrt(bins)
        self.weight = Parameter(init.uniform((len(columns), bins, size), -bound, bound))
        self.bias = Parameter(init.uniform((len(columns), 1, size), -bound, bound))

    def fit(self, x: npt.NDArray[Any]) -> None:
        """Take the edges from the quantiles of examples (N, features), and let no bin be narrower than NARROWEST."""
        edges = np.quantile(x[:, self.columns], np.linspace(0, 1, self.edges.shape[1]), axis=0).T
        steps = np.arange(edges.shape[1]) * NARROWEST
        self.edges.copy_(Tensor((np.maximum.accumulate(edges - steps, axis=1) + steps).astype(np.float32)))

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch embedded"]:
        """The features of all numbers, one after the other."""
        low, high = self.edges[:, :-1], self.edges[:, 1:]
        z = x[:, self.columns].reshape(x.shape[0], -1, 1)
        e = clip((z - low) / (high - low), 0.0, 1.0)  # (batch, numbers, bins)
        h = relu(e.transpose((1, 0, 2)) @ self.weight + self.bias)
        return h.transpose((1, 0, 2)).flatten(1)  # type: ignore[no-any-return]


class MLP(Module):
    """h_0 = x, h_l = f(h_(l-1) W_l^T + b_l), and y = h_(L-1) W_L^T + b_L (Rumelhart, Hinton and Williams 1986).

    `features`: numbers in an example. `outputs`: classes, or numbers to be predicted. `hidden`: units of each hidden layer,
    from none (a linear model) to any depth. `activation`: f. `dropout`: probability that a hidden unit is 0 in a training
    step. `batch_norm`: normalize h_(l-1) W_l^T + b_l over the batch, then scale and shift. `l1`: factor of sum |W| in `loss`.
    `numbers`: h_0 is x and the features that they make of some columns of x.
    Raises UserError for sizes below 1 and a negative penalty.
    """

    def __init__(
        self, features: int, outputs: int, hidden: Sequence[int] = (64, 64), activation: Callable[[Any], Any] = relu,
        dropout: float = 0.0, batch_norm: bool = False, l1: float = 0.0, numbers: Numbers | None = None,
    ) -> None:  # fmt: skip
        extra = 0 if numbers is None else numbers.bias.size
        sizes = (features + extra, *hidden, outputs)
        if min(sizes) < 1:
            raise UserError(
                f"Every layer of an MLP needs at least 1 unit. Received the sizes {', '.join(map(str, sizes))}. "
                "Use hidden=(64,)."
            )
        if l1 < 0:
            raise UserError(f"The penalty l1 must be 0 or more. Received {l1:g}. Use l1=0.")
        self.numbers = numbers
        self.linears = [Linear(inputs, units) for inputs, units in pairwise(sizes)]
        self.norms = [BatchNorm1d(units) for units in hidden] if batch_norm else []
        self.dropout = Dropout(dropout)
        self.activation = activation
        self.l1 = l1

    def first(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch inputs"]:
        """Return h_0: the flattened example, and the features of its numbers where there are such."""
        h = x.flatten(1)
        return h if self.numbers is None else concatenate([h, self.numbers(h)], axis=1)

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch outputs"]:
        """Scores of the classes (before the softmax), or the predicted numbers; images and the like are flattened."""
        h = self.first(x)
        *hidden, last = self.linears
        for i, linear in enumerate(hidden):
            z = linear(h)
            if self.norms:
                z = self.norms[i](z)
            h = self.dropout(self.activation(z))
        return last(h)  # type: ignore[no-any-return]


def build(
    features: int, outputs: int, hidden: Sequence[int] = (64, 64), activation: str = "relu", dropout: float = 0.0,
    batch_norm: bool = False, l1: float = 0.0, numbers: Sequence[int] = (), bins: int = 0, embedding: int = 8,
) -> MLP:  # fmt: skip
    """An MLP from plain values; `activation` is one of the names in ACTIVATIONS. Raises UserError for another name.

    `numbers`: columns whose values also enter as `embedding` features each, by their place among so many `bins`; 0: none do.
    """
    if activation not in ACTIVATIONS:
        raise unknown_name("activation", activation, ACTIVATIONS)
    if bins < 0 or embedding < 1:
        raise UserError(f"bins is 0 or more, embedding 1 or more. Received {bins} and {embedding}. Use bins=32, embedding=8.")
    embedded = Numbers(numbers, bins, embedding) if numbers and bins else None
    return MLP(features, outputs, hidden, ACTIVATIONS[activation], dropout, batch_norm, l1, embedded)


def loss(model: MLP, x: Float[Tensor, "batch ..."], targets: Tensor) -> tuple[Float[Tensor, ""], Tensor]:
    """Cross-entropy for class ids [batch], mean squared error for numbers [batch, outputs], plus l1 sum |W|; and the outputs.

    An L2 penalty is `weight_decay` of SGD or Adam; that of AdamW, which the recipes use, is decoupled and not a penalty.
    """
    y = model(x)
    fit: Tensor = mse_loss(y, targets) if targets.dtype.kind == "f" else cross_entropy(y, targets)
    for linear in model.linears if model.l1 else ():
        fit = fit + model.l1 * linear.weight.abs().sum()
    return fit, y
