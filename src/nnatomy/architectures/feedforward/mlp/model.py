"""The multi-layer perceptron: linear maps with a bend between each two of them. Its training is in recipe.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from nnatomy.errors import UserError, unknown_name
from nnatomy.functional import cross_entropy, elu, gelu, leaky_relu, mse_loss, relu, selu, sigmoid, silu, tanh
from nnatomy.layers import BatchNorm1d, Dropout, Linear
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor
from nnatomy.typing import Float

ACTIVATIONS: Mapping[str, Callable[[Any], Any]] = {
    "relu": relu, "tanh": tanh, "sigmoid": sigmoid, "gelu": gelu, "silu": silu, "elu": elu, "leaky_relu": leaky_relu,
    "selu": selu,
}  # fmt: skip


class MLP(Module):
    """h_0 = x, h_l = f(h_(l-1) W_l^T + b_l), and y = h_(L-1) W_L^T + b_L (Rumelhart, Hinton and Williams 1986).

    `features`: numbers in an example. `outputs`: classes, or numbers to be predicted. `hidden`: units of each hidden layer,
    from none (a linear model) to any depth. `activation`: f. `dropout`: probability that a hidden unit is 0 in a training
    step. `batch_norm`: normalize h_(l-1) W_l^T + b_l over the batch, then scale and shift. `l1`: factor of sum |W| in `loss`.
    Raises UserError for sizes below 1 and a negative penalty.
    """

    def __init__(
        self, features: int, outputs: int, hidden: Sequence[int] = (64, 64), activation: Callable[[Any], Any] = relu,
        dropout: float = 0.0, batch_norm: bool = False, l1: float = 0.0,
    ) -> None:  # fmt: skip
        sizes = (features, *hidden, outputs)
        if min(sizes) < 1:
            raise UserError(f"Every layer of an MLP needs at least 1 unit. Received the sizes {', '.join(map(str, sizes))}.")
        if l1 < 0:
            raise UserError(f"The penalty l1 must be 0 or more. Received {l1:g}.")
        self.linears = [Linear(inputs, units) for inputs, units in pairwise(sizes)]
        self.norms = [BatchNorm1d(units) for units in hidden] if batch_norm else []
        self.dropout = Dropout(dropout)
        self.activation = activation
        self.l1 = l1

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch outputs"]:
        """Scores of the classes (before the softmax), or the predicted numbers; images and the like are flattened."""
        h = x.flatten(1)
        *hidden, last = self.linears
        for i, linear in enumerate(hidden):
            z = linear(h)
            if self.norms:
                z = self.norms[i](z)
            h = self.dropout(self.activation(z))
        return last(h)  # type: ignore[no-any-return]


def build(
    features: int, outputs: int, hidden: Sequence[int] = (64, 64), activation: str = "relu", dropout: float = 0.0,
    batch_norm: bool = False, l1: float = 0.0,
) -> MLP:  # fmt: skip
    """An MLP from plain values; `activation` is one of the names in ACTIVATIONS. Raises UserError for another name."""
    if activation not in ACTIVATIONS:
        raise unknown_name("activation", activation, ACTIVATIONS)
    return MLP(features, outputs, hidden, ACTIVATIONS[activation], dropout, batch_norm, l1)


def loss(model: MLP, x: Float[Tensor, "batch ..."], targets: Tensor) -> tuple[Float[Tensor, ""], Tensor]:
    """Cross-entropy for class ids [batch], mean squared error for numbers [batch, outputs], plus l1 sum |W|; and the outputs.

    An L2 penalty is `weight_decay` of SGD or Adam; that of AdamW, which the recipes use, is decoupled and not a penalty.
    """
    y = model(x)
    fit: Tensor = mse_loss(y, targets) if targets.dtype.kind == "f" else cross_entropy(y, targets)
    for linear in model.linears if model.l1 else ():
        fit = fit + model.l1 * linear.weight.abs().sum()
    return fit, y
