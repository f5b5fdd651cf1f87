"""The perceptron: one layer of threshold units, Rosenblatt's rule, its pocket variant, and the delta rule of the Adaline.

Training by the project's loop is in recipe.py, the theory in page.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.functional import batch_mean
from nnatomy.functional.masking import rows_that_count
from nnatomy.graph import no_grad
from nnatomy.layers.module import Module
from nnatomy.ops.indexing import one_hot
from nnatomy.ops.pointwise import where
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float, Int

RULES = ("perceptron", "delta")


class Perceptron(Module):
    """A layer of threshold units: s = x W^T + b, and a unit fires where s > 0.

    Rosenblatt's perceptron (1958) has fixed random units in front of this layer, which alone is meant today.

    `features`: numbers in an example. `outputs`: 1 for two classes, otherwise one unit for each class, one against the rest.
    `rule`: what `loss` minimizes, "perceptron" (Rosenblatt) or "delta" (Widrow and Hoff). All weights start at 0.
    Raises UserError for sizes below 1 and for another rule.
    """

    def __init__(self, features: int, outputs: int = 1, rule: str = "perceptron") -> None:
        if min(features, outputs) < 1:
            raise UserError(
                f"A perceptron needs at least 1 feature and 1 output. Received {features} and {outputs}. "
                "Give the sizes of the data."
            )
        if rule not in RULES:
            raise unknown_name("rule", rule, RULES)
        self.rule = rule
        self.weight = Parameter(B.zeros((outputs, features), dtype="float32"))
        self.bias = Parameter(B.zeros((outputs,), dtype="float32"))

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch outputs"]:
        """The scores s, before the threshold; images and the like are flattened."""
        return x.flatten(1) @ self.weight.T + self.bias

    def predict(self, x: Float[Tensor, "batch ..."]) -> Int[Tensor, " batch"]:
        """Class ids: the step unit's 0 or 1, or with several units the one with the largest score."""
        s: Tensor = self(x)
        return (s[:, 0] > 0).astype("int64") if s.shape[1] == 1 else s.argmax(axis=1)


def build(features: int, outputs: int = 1, rule: str = "perceptron") -> Perceptron:
    """A perceptron from plain values."""
    return Perceptron(features, outputs, rule)


# Learning by gradients: two losses whose gradients are the two famous rules


def signs(targets: Int[Tensor, " batch"], outputs: int, dtype: Any = "float32") -> Float[Tensor, "batch outputs"]:
    """t = +1 for an example's own class and -1 otherwise; a single unit represents class 1."""
    own: Tensor = one_hot(targets, max(outputs, 2), dtype=dtype)
    return 2 * (own[:, 1:] if outputs == 1 else own) - 1


def perceptron_criterion(model: Perceptron, x: Float[Tensor, "batch ..."], targets: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Mean over examples of sum over units of max(0, -t s): how far wrong units are from firing rightly.

    Its gradient by w is -t x where t s <= 0 and 0 elsewhere, so that a step of SGD with lr = 1 on one example is
    Rosenblatt's w <- w + t x. A score of exactly 0 counts as a mistake, or weights of 0 would never start to learn.
    """
    s: Tensor = model(x)
    return _missed(s, signs(targets, s.shape[1], s.dtype))


def _missed(s: Tensor, t: Tensor) -> Tensor:
    missed: Tensor = where(t * s <= 0, -t * s, 0.0)
    return batch_mean(missed.sum(axis=1))  # type: ignore[no-any-return]


def delta_rule(model: Perceptron, x: Float[Tensor, "batch ..."], targets: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Mean over examples of sum over units of (t - s)^2 / 2: the Adaline compares before the threshold.

    Its gradient by w is -(t - s) x, so that a step on one example is w <- w + lr (t - s) x (Widrow and Hoff 1960).
    """
    s: Tensor = model(x)
    return _squared(s, signs(targets, s.shape[1], s.dtype))


def _squared(s: Tensor, t: Tensor) -> Tensor:
    return batch_mean((0.5 * (t - s).square()).sum(axis=1))  # type: ignore[no-any-return]


def loss(model: Perceptron, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of the model's own rule, and the scores."""
    s: Tensor = model(x)
    t = signs(targets, s.shape[1], s.dtype)
    return (_missed(s, t) if model.rule == "perceptron" else _squared(s, t)), s


# Learning by the rules themselves: no gradients, only corrections


def correct(model: Perceptron, progress: Any, x: Tensor, targets: Tensor, lr: float | None = None) -> Tensor:
    """Correct the weights by the model's own rule, and return the mean loss before the correction.

    Rosenblatt (1962): w <- w + lr t x and b <- b + lr t for each unit with t s <= 0; lr = 1 unless given, as from zero
    weights any rate gives the same decisions. Widrow and Hoff (1960), divided by the length (alpha-LMS; Widrow and Lehr 1990):
    w <- w + lr (t - s) x / (|x|^2 + 1), and b alike; lr = 0.02 unless given. One example at a time this multiplies its error
    by 1 - lr, so it is stable for every lr between 0 and 2. The corrections of a batch are summed.
    """
    x = x.flatten(1)
    s: Tensor = model(x)
    t = signs(targets, s.shape[1], s.dtype)
    if model.rule == "perceptron":
        error: Tensor = where(t * s <= 0, t, 0.0) * (1.0 if lr is None else lr)
    else:
        error = (t - s) / ((x * x).sum(axis=1, keepdims=True) + 1.0) * (0.02 if lr is None else lr)
    kept = rows_that_count(error)
    error = error if kept is None else where(kept, error, 0.0)
    with no_grad():
        model.weight.copy_(model.weight + error.T @ x)
        model.bias.copy_(model.bias + error.sum(axis=0))
    return _missed(s, t) if model.rule == "perceptron" else _squared(s, t)


# Rosenblatt's loop, until nothing is wrong


def learn(model: Perceptron, x: Any, y: Any, epochs: int = 100, pocket: bool = True) -> list[int]:
    """Train by Rosenblatt's rule: where t s <= 0, w <- w + t x and b <- b + t.

    Args:
        x: examples, (N, ...), flattened to (N, features)
        y: class ids, (N,)
        epochs: at most this many passes; a pass without mistakes ends training
        pocket: keep each unit's weights with the fewest training errors (Gallant 1990, with ratchet)

    Returns:
        Mistakes in each epoch; a final 0 proves that planes separate the classes. If they do and the weights start at 0,
        a unit makes at most (R / gamma)^2 mistakes (Novikoff 1962).

    Source: Rosenblatt (1962).
    """
    outputs, dtype = model.weight.shape[0], model.weight.dtype
    X = np.asarray(x, dtype).reshape(len(x), -1)
    X = np.hstack([X, np.ones((len(X), 1), dtype)])  # the bias is the weight of an input that is always 1
    T = np.asarray(signs(Tensor(np.asarray(y, np.int64)), outputs, dtype).data)
    W = np.hstack([model.weight.numpy(), model.bias.numpy()[:, None]])
    best, fewest = W.copy(), _errors(W, X, T)
    history = []
    for _ in range(epochs):
        mistakes = 0
        for x_n, t_n in zip(X, T):
            mistake = t_n * (W @ x_n) <= 0
            if not mistake.any():
                continue
            W += np.outer(mistake * t_n, x_n)
            mistakes += int(mistake.sum())
            if pocket:
                errors = _errors(W, X, T)
                better = errors < fewest
                best[better], fewest[better] = W[better], errors[better]
        history.append(mistakes)
        if not mistakes:
            break
    kept = best if pocket else W
    model.load_state_dict({"weight": kept[:, :-1], "bias": kept[:, -1]})
    return history


def _errors(W: Any, X: Any, T: Any) -> Any:
    """On how many examples each unit errs."""
    return (T * (X @ W.T) <= 0).sum(axis=0)
