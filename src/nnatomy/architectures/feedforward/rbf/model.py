"""The radial basis function network: bumps around centers, and a linear map of their heights.

Here are the kernels, the network, where centers and widths come from, and the solution of the output weights. Training by the
project's loop is in recipe.py, the theory in page.md.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy import init, ops, random
from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.functional import batch_mean
from nnatomy.functional.least_squares import add_rows, no_rows, target_rows
from nnatomy.graph import no_grad
from nnatomy.layers import Linear
from nnatomy.layers.module import Module
from nnatomy.random import Generator
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float

Array = npt.NDArray[Any]

KERNELS = ("gaussian", "multiquadric", "inverse_multiquadric", "thin_plate")
METHODS = ("k_means", "random")


class RadialLayer(Module):
    """phi_j(x), a function of the distance r = |x - c_j| alone; with s = r / sigma_j,

    gaussian              e^(-s^2)            local: 0 far from the center
    inverse_multiquadric  1 / sqrt(1 + s^2)   local
    multiquadric          sqrt(1 + s^2)       grows with the distance
    thin_plate            r^2 ln r            grows; it has no width

    `centers` (hidden, features) and `log_widths` = ln sigma (hidden,) are parameters if `learned`, else buffers.
    Source: Broomhead and Lowe (1988), section 3; Moody and Darken (1989) for the gaussian with a width for each center.
    """

    def __init__(self, features: int, hidden: int, kernel: str, learned: bool) -> None:
        self.kernel = kernel
        kept = Parameter if learned else Tensor
        self.centers = kept(init.normal((hidden, features)))
        # for inputs of variance 1: half of the mean squared distance of two examples
        self.log_widths = None if kernel == "thin_plate" else kept(np.full(hidden, math.log(features) / 2, "float32"))

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch hidden"]:
        c = self.centers
        r2 = x.square().sum(axis=1, keepdims=True) + c.square().sum(axis=1) - 2 * (x @ c.T)  # (batch, hidden)
        r2 = ops.maximum(r2, 0.0)  # rounding leaves -1e-7 at a center
        if self.log_widths is None:
            # r^2 ln r, and 0 ln 0 = 0
            return 0.5 * r2 * ops.log(ops.maximum(r2, 1e-30))  # type: ignore[no-any-return]
        s2 = r2 * ops.exp(-2 * self.log_widths)
        if self.kernel == "gaussian":
            return ops.exp(-s2)  # type: ignore[no-any-return]
        root = ops.sqrt(1 + s2)
        return root if self.kernel == "multiquadric" else 1 / root  # type: ignore[no-any-return]


class RBF(Module):
    """y = phi(x) lambda^T + b + x A^T: radial functions, and a polynomial tail of low degree.

    Args:
        features: numbers in an example; images and the like are flattened
        hidden: centers
        outputs: one for each class or predicted number
        kernel: one of KERNELS
        degree: of the tail: -1 none, 0 the constant b, 1 also the linear map A (which thin plates need)
        learned: centers and widths follow the gradient, too; otherwise they stay where they were placed

    Raises:
        UserError: for sizes below 1, another kernel and another degree
    """

    def __init__(
        self, features: int, hidden: int, outputs: int, kernel: str = "gaussian", degree: int = 0, learned: bool = False
    ) -> None:
        if min(features, hidden, outputs) < 1:
            raise UserError(
                f"An RBF network needs at least 1 feature, 1 center and 1 output. Received {features}, {hidden} and {outputs}. "
                "Use hidden=100."
            )
        if kernel not in KERNELS:
            raise unknown_name("kernel", kernel, KERNELS)
        if degree not in (-1, 0, 1):
            raise UserError(f"The degree of the tail is -1 (no tail), 0 or 1. Received {degree!r}. Use degree=0.")
        if kernel == "thin_plate" and degree < 1:
            raise UserError(f"Thin plates need a linear tail. Received degree={degree}. Use degree=1.")
        self.hidden = RadialLayer(features, hidden, kernel, learned)
        self.output = Linear(hidden, outputs, bias=degree >= 0)
        self.tail = Linear(features, outputs, bias=False) if degree == 1 else None

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch outputs"]:
        x = x.flatten(1)
        y = self.output(self.hidden(x))
        return y if self.tail is None else y + self.tail(x)  # type: ignore[no-any-return]

    def polynomials(self, x: Tensor) -> Tensor:
        """Return what the tail weights: no columns, (1) or (1, x), for each row of x (batch, features)."""
        one = [] if self.output.bias is None else [ops.ones((x.shape[0], 1), dtype=x.dtype)]
        return ops.concatenate([x[:, :0], *one, *([] if self.tail is None else [x])], axis=1)  # type: ignore[no-any-return]


def build(
    features: int, hidden: int, outputs: int, kernel: str = "gaussian", degree: int = 0, learned: bool = False
) -> RBF:
    """Return an RBF network from plain values, with random centers."""
    return RBF(features, hidden, outputs, kernel, degree, learned)


def loss(model: RBF, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean over examples of |y - t|^2, and y; classes are ones and zeros."""
    y: Tensor = model(x)
    return batch_mean((y - target_rows(targets, y.shape[1], y.dtype)).square().sum(axis=1)), y


# Where centers and widths come from


def place_centers(
    model: RBF, x: Any, method: str = "k_means", neighbors: int = 2, overlap: float = 1.0, generator: Generator | None = None
) -> RBF:
    """Put the centers among examples x (N, ...), set the widths by the centers' neighbors, and return the model.

    Args:
        method: "k_means", or "random": examples without repetition. If there are as many centers as examples, or more, each
            example is a center, and the others stay where they are
        neighbors, overlap: as for `neighbor_widths`

    Raises:
        UserError: for another method
    """
    if method not in METHODS:
        raise unknown_name("method of placing centers", method, METHODS)
    generator = generator or random.default
    x = np.asarray(x, np.float64).reshape(len(x), -1)
    centers = np.array(model.hidden.centers.data, np.float64)
    if method == "k_means" and len(centers) < len(x):
        centers = k_means(x, len(centers), generator)
    else:
        chosen = x[generator.permutation(len(x))[: len(centers)]]
        centers[: len(chosen)] = chosen
    _set(model.hidden.centers, centers)
    if model.hidden.log_widths is not None:
        _set(model.hidden.log_widths, np.log(neighbor_widths(centers, neighbors, overlap)))
    return model


def k_means(x: Array, k: int, generator: Generator, rounds: int = 100) -> Array:
    """Return k means (k, features) of x (N, features): each example's nearest mean is the mean of its cluster.

    The start is k-means++ (Arthur and Vassilvitskii 2007): each further center is an example, drawn with a probability
    proportional to its squared distance from the nearest center so far. Then Lloyd's rounds: assign, average. Source: Lloyd
    (1982); Moody and Darken (1989) for centers of an RBF network.
    """
    centers = [x[int(generator.integers(0, len(x)))]]
    nearest = np.square(x - centers[0]).sum(axis=1)
    while len(centers) < k:
        reached = nearest.cumsum()
        place = int(np.searchsorted(reached, float(generator.uniform(dtype="float64")) * reached[-1], side="right"))
        centers.append(x[min(place, len(x) - 1)])
        nearest = np.minimum(nearest, np.square(x - centers[-1]).sum(axis=1))
    means, assigned = np.array(centers), np.full(len(x), -1)
    for _ in range(rounds):
        closest = (np.square(means).sum(axis=1) - 2 * x @ means.T).argmin(axis=1)  # |x|^2 is the same for all means
        if (closest == assigned).all():
            break
        assigned, counts, totals = closest, np.bincount(closest, minlength=k), np.zeros_like(means)
        np.add.at(totals, assigned, x)
        means = np.where(counts[:, None] > 0, totals / np.maximum(counts, 1)[:, None], means)  # an empty cluster stays
    return means


def neighbor_widths(centers: Array, neighbors: int = 2, overlap: float = 1.0) -> Array:
    """Return sigma_j = overlap sqrt(mean of |c_i - c_j|^2 over the nearest other centers c_i), (hidden,).

    Centers at the same place are one. A center without another has the width `overlap`.

    Raises:
        UserError: for less than 1 neighbor, or an overlap that is not positive
    """
    if neighbors < 1 or not (overlap > 0 and math.isfinite(overlap)):
        raise UserError(
            f"Widths need at least 1 neighbor and a positive overlap. Received {neighbors} and {overlap!r}. "
            "Use neighbors=2 and overlap=1.0."
        )
    places, index = np.unique(centers, axis=0, return_inverse=True)
    if len(places) == 1:
        return np.full(len(centers), float(overlap))
    r2 = np.square(places).sum(axis=1)[:, None] + np.square(places).sum(axis=1) - 2 * places @ places.T
    np.fill_diagonal(r2, np.inf)
    nearest = np.sort(r2, axis=1)[:, : min(neighbors, len(places) - 1)]
    return np.asarray(overlap * np.sqrt(np.maximum(nearest.mean(axis=1), 1e-12))[index.reshape(-1)])


# The output weights: min |Phi lambda^T + P a - T|^2 + ridge |lambda|^2, where lambda is orthogonal to P at the centers


def begin_rows(model: RBF, ridge: float = 0.0) -> dict[str, Array]:
    """Return no examples, and their triangle R, with a row and a column for each column of [Phi, P, T].

    Raises:
        UserError: for a ridge below 0
    """
    outputs, hidden = model.output.weight.shape
    return no_rows(hidden + model.polynomials(model.hidden.centers).shape[1] + outputs, ridge)


def absorb(model: RBF, sums: dict[str, Tensor], x: Tensor, targets: Tensor, mask: Any = None) -> dict[str, Tensor]:
    """Return R with the rows [Phi, P, T] of a batch added, in float64."""
    x = x.flatten(1)
    parts = [model.hidden(x), model.polynomials(x), target_rows(targets, model.output.weight.shape[0], "float64")]
    return add_rows(sums, ops.concatenate([part.astype("float64") for part in parts], axis=1), mask)


def solve(model: RBF, sums: dict[str, Array], ridge: float = 0.0) -> float:
    """Set lambda and the tail to the minimum of |Phi lambda^T + P a - T|^2 + ridge |lambda|^2 under the side conditions.

    The conditions P(c)^T lambda^T = 0 leave lambda^T = Z mu, where the columns of Z are an orthonormal basis of what
    satisfies them. What is left is least squares in (mu, a), solved by singular values, with rows sqrt(ridge) I below:
    |mu| = |lambda|. Source: Micchelli (1986) for the conditions; Golub and Van Loan, section 6.2, for null spaces.

    Returns:
        The mean over the examples of |y - t|^2.
    """
    outputs, hidden = model.output.weight.shape
    A, D = np.hsplit(np.asarray(sums["R"]), [-outputs])
    with no_grad():
        conditions = np.asarray(model.polynomials(model.hidden.centers).data, np.float64)  # (hidden, terms)
    terms = conditions.shape[1]
    Z = np.linalg.qr(conditions, mode="complete")[0][:, min(terms, hidden) :]  # (hidden, hidden - terms)
    reduced = np.hstack([A[:, :hidden] @ Z, A[:, hidden:]])
    penalty = math.sqrt(ridge) * np.eye(Z.shape[1], reduced.shape[1])
    known = float(np.finfo(model.hidden.centers.dtype).eps) * max(A.shape)  # Phi has its digits; below is rounding, not data
    rows, right = np.vstack([reduced, penalty]), np.vstack([D, np.zeros((len(penalty), outputs))])
    solution = np.linalg.lstsq(rows, right, rcond=known)[0]
    mu, tail = np.split(solution, [Z.shape[1]])
    _set(model.output.weight, (Z @ mu).T)
    if model.output.bias is not None:
        _set(model.output.bias, tail[0])
    if model.tail is not None:
        _set(model.tail.weight, tail[1:].T)
    return float(np.square(reduced @ solution - D).sum() / max(float(sums["N"]), 1.0))


def _set(parameter: Tensor, value: Array) -> None:
    parameter.data = B.asarray(value, dtype=parameter.dtype)


def fit(model: RBF, x: Any, targets: Any, ridge: float = 0.0) -> RBF:
    """Solve for all examples in one call: x (N, ...), targets class ids (N,) or numbers (N, outputs); return the model."""
    zeros = {name: Tensor(B.asarray(a)) for name, a in begin_rows(model, ridge).items()}
    with no_grad():
        x = Tensor(B.asarray(x, dtype=model.hidden.centers.dtype))
        sums = absorb(model, zeros, x, Tensor(B.asarray(np.asarray(targets))))
    solve(model, {name: np.asarray(t.data) for name, t in sums.items()}, ridge)
    return model


def interpolate(x: Any, targets: Any, kernel: str = "gaussian", width: float = 1.0, degree: int = 0) -> RBF:
    """Return the network with a center at each of N different examples, which takes their targets exactly; in float64.

    Args:
        x: (N, features); with degree 1 the examples must not be on one line or plane
        targets: (N, outputs)
        width: of all centers; thin plates have none

    Source: Broomhead and Lowe (1988), section 3; Micchelli (1986), who proves that a solution exists.
    """
    x, targets = np.asarray(x, np.float64), np.asarray(targets, np.float64)
    model = build(x.shape[1], len(x), targets.shape[1], kernel, degree).astype("float64")
    _set(model.hidden.centers, x)
    if model.hidden.log_widths is not None:
        _set(model.hidden.log_widths, np.full(len(x), math.log(width)))
    return fit(model, x, targets)
