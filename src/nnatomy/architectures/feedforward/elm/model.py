"""The extreme learning machine: a random hidden layer that never learns, and output weights by least squares.

Here are the network, its solution from all examples in one pass, and its sequential form. Training by the project's loop is
in recipe.py, the theory in page.md.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy import init, ops
from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.functional import batch_mean
from nnatomy.functional.least_squares import add_rows, no_rows, target_rows
from nnatomy.graph import no_grad
from nnatomy.layers import Linear
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor
from nnatomy.typing import Float

Array = npt.NDArray[Any]

ACTIVATIONS = ("tanh", "sigmoid", "rbf")


class RandomLayer(Module):
    """Random nodes: h_j = g(w_j . x + b_j), or h_j = exp(-b_j |x - w_j|^2) for "rbf" (Huang, Zhu and Siew 2006, section 2).

    `weight` (hidden, features) and `bias` (hidden) are buffers: drawn once, saved, never learned. For inputs of variance 1 the
    draws (ours; the paper allows any density) give w_j . x the standard deviation `scale`, and b_j is uniform in
    (-scale, scale). RBF nodes have normal centers w_j, and b_j = scale u_j / (2 features) with u_j uniform in (0.5, 1.5).
    """

    def __init__(self, features: int, hidden: int, activation: str, scale: float) -> None:
        self.activation = activation
        if activation == "rbf":
            self.weight = Tensor(init.normal((hidden, features)))
            self.bias = Tensor(init.uniform((hidden,), 0.5, 1.5) * (scale / (2 * features)))
        else:
            self.weight = Tensor(init.normal((hidden, features), std=scale / math.sqrt(features)))
            self.bias = Tensor(init.uniform((hidden,), -scale, scale))

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch hidden"]:
        if self.activation == "rbf":
            apart = x.square().sum(axis=1, keepdims=True) + self.weight.square().sum(axis=1) - 2 * (x @ self.weight.T)
            return ops.exp(-self.bias * apart)  # type: ignore[no-any-return]
        z = x @ self.weight.T + self.bias
        return z.tanh() if self.activation == "tanh" else z.sigmoid()


class ELM(Module):
    """y = H beta + c with H the random layer's outputs; only beta and c are learned.

    Args:
        features: numbers in an example; images and the like are flattened
        hidden: random nodes
        outputs: one for each class or predicted number; `output.weight` (outputs, hidden) is beta^T
        activation: "tanh", "sigmoid" or "rbf"
        scale: how far random nodes are from linear (tanh, sigmoid), how narrow they are (rbf)
        bias: a constant c for each output, which the ridge does not penalize; the paper has none

    Raises:
        UserError: for sizes below 1, a scale that is not positive, and another activation
    """

    def __init__(
        self, features: int, hidden: int, outputs: int, activation: str = "sigmoid", scale: float = 1.0, bias: bool = False
    ) -> None:
        if min(features, hidden, outputs) < 1:
            raise UserError(
                f"An ELM needs at least 1 feature, 1 hidden node and 1 output. Received {features}, {hidden} and {outputs}. "
                "Use hidden=1000."
            )
        if activation not in ACTIVATIONS:
            raise unknown_name("activation", activation, ACTIVATIONS)
        if not (scale > 0 and math.isfinite(scale)):
            raise UserError(f"The scale of random weights is a positive number. Received {scale!r}. Use scale=1.0.")
        self.hidden = RandomLayer(features, hidden, activation, scale)
        self.output = Linear(hidden, outputs, bias)

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch outputs"]:
        return self.output(self.hidden(x.flatten(1)))  # type: ignore[no-any-return]


def build(
    features: int, hidden: int, outputs: int, activation: str = "sigmoid", scale: float = 1.0, bias: bool = False
) -> ELM:
    """Return an ELM from plain values."""
    return ELM(features, hidden, outputs, activation, scale, bias)


# What is minimized


def loss(model: ELM, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean over examples of |y - t|^2, and y; N times it, plus ridge |beta|^2, is what `solve` minimizes."""
    y: Tensor = model(x)
    return batch_mean((y - target_rows(targets, y.shape[1], y.dtype)).square().sum(axis=1)), y


# All examples in one pass: min |H beta - T|^2 + ridge |beta|^2


def begin_rows(model: ELM, ridge: float = 0.0) -> dict[str, Array]:
    """Return no examples, and their triangle R, with a row and a column for each column of [H, 1, T].

    Raises:
        UserError: for a ridge below 0
    """
    outputs, hidden = model.output.weight.shape
    return no_rows(hidden + int(model.output.bias is not None) + outputs, ridge)


def absorb(model: ELM, sums: dict[str, Tensor], x: Tensor, targets: Tensor, mask: Any = None) -> dict[str, Tensor]:
    """Return R with the rows [H, 1, T] of a batch added."""
    return add_rows(sums, _rows(model, x, targets), mask)


def _rows(model: ELM, x: Tensor, targets: Tensor) -> Tensor:
    """[H, 1, T] in float64, without the column of ones where outputs have no constant."""
    h = model.hidden(x.flatten(1)).astype("float64")
    one = [] if model.output.bias is None else [ops.ones((h.shape[0], 1), dtype="float64")]
    parts = [h, *one, target_rows(targets, model.output.weight.shape[0], "float64")]
    return ops.concatenate(parts, axis=1)  # type: ignore[no-any-return]


def solve(model: ELM, sums: dict[str, Array], ridge: float = 0.0) -> float:
    """Set beta and c to the minimum of |H beta + c - T|^2 + ridge |beta|^2, given R of [H, 1, T]; c is free.

    The columns of R split into A, of [H, 1], and D, of T, and what is minimized is |A [beta; c] - D|^2 + ridge |beta|^2: least
    squares with rows sqrt(ridge) I below A, by singular values. Where ridge is 0 and several solutions exist, the one of
    smallest norm is taken, as the paper's Moore-Penrose inverse does.

    Returns:
        The mean over the examples of |y - t|^2.
    """
    outputs = model.output.weight.shape[0]
    A, D = np.hsplit(np.asarray(sums["R"]), [-outputs])
    solution = _least_squares(model, A, D, ridge)
    _take_over(model, solution)
    return float(np.square(A @ solution - D).sum() / max(float(sums["N"]), 1.0))


def _least_squares(model: ELM, A: Array, D: Array, ridge: float) -> Array:
    penalty = _penalty(model, ridge)
    known = float(np.finfo(model.hidden.weight.dtype).eps) * max(A.shape)  # H has its digits; below is rounding, not data
    found = np.linalg.lstsq(np.vstack([A, penalty]), np.vstack([D, np.zeros((len(penalty), D.shape[1]))]), rcond=known)
    return np.asarray(found[0])


def _penalty(model: ELM, ridge: float) -> Array:
    """Rows sqrt(ridge) e_j for each node j, none for the constant."""
    hidden = model.hidden.bias.size
    return math.sqrt(ridge) * np.eye(hidden, hidden + int(model.output.bias is not None))


def _take_over(model: ELM, solution: Array) -> None:
    """Put [beta; c] (hidden + 1, outputs) into the model."""
    hidden = model.hidden.bias.size
    model.output.weight.data = B.asarray(solution[:hidden].T, dtype=model.output.weight.dtype)
    if model.output.bias is not None:
        model.output.bias.data = B.asarray(solution[hidden], dtype=model.output.bias.dtype)


def fit(model: ELM, x: Any, targets: Any, ridge: float = 0.0) -> ELM:
    """Solve for all examples in one call: x (N, ...), targets class ids (N,) or numbers (N, outputs); return the model."""
    zeros = {name: Tensor(B.asarray(a)) for name, a in begin_rows(model, ridge).items()}
    with no_grad():
        sums = absorb(model, zeros, *_tensors(model, x, targets))
    solve(model, {name: np.asarray(t.data) for name, t in sums.items()}, ridge)
    return model


def _tensors(model: ELM, x: Any, targets: Any) -> tuple[Tensor, Tensor]:
    return Tensor(B.asarray(x, dtype=model.hidden.weight.dtype)), Tensor(B.asarray(np.asarray(targets)))


# Chunk after chunk: the sequential form


class OnlineELM:
    """Learns chunk by chunk, and after each has the solution for all examples so far; no example is kept.

    P = (H^T H + ridge I)^-1 of all rows so far, and for a chunk H, T (Liang et al. 2006, equations 20 to 22):

        P <- P - P H^T (I + H P H^T)^-1 H P,    beta <- beta + P H^T (T - H beta)

    A constant of the outputs is a column of ones in H. P is kept in float64.
    """

    def __init__(self, model: ELM, ridge: float = 0.0) -> None:
        begin_rows(model, ridge)  # raises for a wrong ridge
        self.model, self.ridge = model, ridge
        self.P: Array | None = None
        self.solution: Array | None = None

    def learn(self, x: Any, targets: Any) -> None:
        """Take in a chunk: x (n, ...), targets (n,) or (n, outputs).

        Raises:
            UserError: if the first chunk does not determine the solution; without a ridge it needs one for each node, and for c
        """
        with no_grad():
            rows = np.asarray(_rows(self.model, *_tensors(self.model, x, targets)).data)
        outputs = self.model.output.weight.shape[0]
        H, T = rows[:, :-outputs], rows[:, -outputs:]
        if self.P is None or self.solution is None:
            self.P, self.solution = self._begin(H), _least_squares(self.model, H, T, self.ridge)
        else:
            gain = np.linalg.solve(np.eye(len(H)) + H @ self.P @ H.T, H @ self.P)
            self.P = self.P - self.P @ H.T @ gain
            self.solution = self.solution + self.P @ H.T @ (T - H @ self.solution)
        _take_over(self.model, self.solution)

    def _begin(self, H: Array) -> Array:
        A = np.vstack([H, _penalty(self.model, self.ridge)])
        if np.linalg.matrix_rank(A) < A.shape[1]:
            raise UserError(
                f"The first chunk must determine {A.shape[1]} weights for each output. Received {len(H)} examples and "
                f"ridge={self.ridge:g}. Use a longer first chunk, or ridge=1.0."
            )
        inverse = np.linalg.inv(np.asarray(B.qr_r(A)))
        return inverse @ inverse.T
