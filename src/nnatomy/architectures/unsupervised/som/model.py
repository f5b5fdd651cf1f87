"""The self-organizing map: units on a grid whose weights learn so that neighbors on the grid are neighbors in the data.

Here are the map, Kohonen's rule for one example after the other, the batch map, and what is read off a trained map. Training by
the project's loop is in recipe.py, the theory in page.md.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nnatomy import init, ops
from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.functional import batch_mean, rows_that_count
from nnatomy.layers.module import Module
from nnatomy.ops.indexing import one_hot
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float

if TYPE_CHECKING:
    from nnatomy.data.dataset import Split

Array = npt.NDArray[Any]

GRIDS, DECAYS, METHODS = ("hexagonal", "rectangular"), ("linear", "exponential", "asymptotic"), ("batch", "online")


class SOM(Module):
    """A map of rows x columns units; a unit's `weights` (rows, columns, features) is its place among the data (Kohonen 1982).

    `labels` (rows * columns, 1) are class ids, or -1: a buffer that `label_units` fills.

    Args:
        features: numbers in an example; images and the like are flattened
        rows, columns: of the grid
        grid: "hexagonal", where an inner unit has 6 neighbors at distance 1, or "rectangular", where it has 8 of which the
            diagonal ones are farther
        method: how `learn` changes the map: "batch" by `batch_map`, "online" by `kohonen`

    Raises:
        UserError: for fewer than 2 units or no feature, and for another grid or method
    """

    def __init__(
        self, features: int, rows: int = 10, columns: int = 10, grid: str = "hexagonal", method: str = "batch"
    ) -> None:
        if features < 1 or min(rows, columns) < 1 or rows * columns < 2:
            raise UserError(
                f"A map needs at least 1 feature and 2 units. Received {features} features and {rows} x {columns} units. "
                "Use rows=10 and columns=10."
            )
        if grid not in GRIDS:
            raise unknown_name("grid", grid, GRIDS)
        if method not in METHODS:
            raise unknown_name("method", method, METHODS)
        self.grid, self.method = grid, method
        self.weights = Parameter(init.normal((rows, columns, features)))
        self.labels = Tensor(B.full((rows * columns, 1), -1.0, dtype="float32"))

    @property
    def codebook(self) -> Tensor:
        """The weights as one row a unit, (rows * columns, features)."""
        return self.weights.reshape(-1, self.weights.shape[2])

    @property
    def places(self) -> Array:
        """Where the units are on the grid, (rows * columns, 2), with neighbors at distance 1; rows of hexagons are shifted."""
        rows, columns, _ = self.weights.shape
        return np.stack(self._place(np.arange(rows * columns, dtype=np.float64))[2:], axis=1)

    def _place(self, unit: Any) -> tuple[Any, Any, Any, Any]:
        """Row and column of units by number, and where these are on the grid; in floating-point numbers."""
        rows, columns, _ = self.weights.shape
        row, column = unit // columns, unit % columns
        if self.grid == "rectangular":
            return row, column, row, column
        return row, column, row * (math.sqrt(3) / 2), column + 0.5 * ((rows - 1 - row) % 2)

    @property
    def adjacent(self) -> Array:
        """1 where two units are neighbors: 6 around an inner hexagon, 8 around an inner square; (units, units) booleans."""
        apart = np.linalg.norm(self.places[:, None] - self.places[None], axis=2)
        return np.asarray((apart > 0) & (apart < (1.42 if self.grid == "rectangular" else 1.01)))

    def squared_distances(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch units"]:
        """|x - w_j|^2 for all units j."""
        x, w = x.flatten(1), self.codebook
        apart = x.square().sum(axis=1, keepdims=True) - 2 * (x @ w.T) + w.square().sum(axis=1)
        return ops.maximum(apart, 0.0)  # type: ignore[no-any-return]

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch 5"]:
        """Row and column of the best-matching unit, its distance, 1 if the second best is its neighbor else 0, its label."""
        distances = self.squared_distances(x)
        order = ops.argsort(distances, axis=1)[:, :2]
        row, column, up, across = self._place(order.astype(distances.dtype))  # each (batch, 2): of the best and the second best
        gap = (up[:, :1] - up[:, 1:]).square() + (across[:, :1] - across[:, 1:]).square()
        touching = (gap < (2.5 if self.grid == "rectangular" else 1.5)).astype(distances.dtype)
        distance = ops.gather(distances, order[:, :1], 1).sqrt()
        label = ops.embedding(self.labels, order[:, 0]).astype(distances.dtype)
        return ops.concatenate([row[:, :1], column[:, :1], distance, touching, label], axis=1)  # type: ignore[no-any-return]


def build(features: int, rows: int = 10, columns: int = 10, grid: str = "hexagonal", method: str = "batch") -> SOM:
    """Return a map from plain values."""
    return SOM(features, rows, columns, grid, method)


def loss(model: SOM, x: Tensor, *targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean over examples of min_j |x - w_j|^2, and what the map says of them."""
    return batch_mean(model.squared_distances(x).min(axis=1)), model(x)


# The start


def principal_plane(model: SOM, x: Array) -> None:
    """Spread the units over the plane of the first two principal components of x (N, ...), two standard deviations each way.

    The longer side of the grid is along the first component. A single feature has only one component.
    Source: Kohonen, Self-Organizing Maps, 3rd edition (2001), section 3.7.
    """
    flat = np.asarray(x, np.float64).reshape(len(x), -1)
    mean = flat.mean(axis=0)
    _, sizes, axes = np.linalg.svd(flat - mean, full_matrices=False)
    axes = axes * np.where(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)] < 0, -1, 1)[:, None]  # the same everywhere
    spans = 2 * sizes / math.sqrt(max(len(flat) - 1, 1))
    rows, columns, features = model.weights.shape
    along = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in (rows, columns)]
    first, second = (0, 1) if rows >= columns else (1, 0)
    w = np.broadcast_to(mean, (rows, columns, features)).copy()
    for side, component in ((first, 0), (second, 1)):
        if component < len(axes):
            step = along[side].reshape((-1, 1, 1) if side == 0 else (1, -1, 1))
            w += step * spans[component] * axes[component]
    model.weights.data = B.asarray(w, dtype=model.weights.dtype)


# Learning


def decayed(start: float, end: float, progress: Any, decay: str) -> Any:
    """Return a quantity on its way from `start` at progress 0 to `end` at progress 1.

    linear: start + p (end - start). exponential: start (end / start)^p. asymptotic: start / (1 + p (start / end - 1)).
    """
    if decay == "linear":
        return start + progress * (end - start)
    return start * (end / start) ** progress if decay == "exponential" else start / (1 + progress * (start / end - 1))


def neighborhoods(model: SOM, sigma: Any) -> Tensor:
    """h_ij = exp(-|r_i - r_j|^2 / (2 sigma^2)) between places r on the grid, (units, units)."""
    apart = np.square(model.places[:, None] - model.places[None]).sum(axis=2)
    return ops.exp(Tensor(B.asarray(-apart, dtype=model.weights.dtype)) / (2 * sigma * sigma))  # type: ignore[no-any-return]


def kohonen(model: SOM, x: Tensor, rate: Any, sigma: Any) -> None:
    """One example after the other: w_j <- w_j + rate h_cj (x - w_j), with c the best-matching unit. Source: Kohonen (1982)."""
    x, w, near = x.flatten(1), model.codebook, neighborhoods(model, sigma)
    kept = rows_that_count(x)
    for n in range(x.shape[0]):
        best = (w - x[n]).square().sum(axis=1).argmin(axis=0)
        pull = rate * ops.take(near, best.reshape(1), 0).reshape(-1, 1)
        pull = pull if kept is None else ops.where(kept[n], pull, 0.0)
        w = w + pull * (x[n] - w)
    model.weights.copy_(w.astype(model.weights.dtype).reshape(model.weights.shape))


def batch_map(model: SOM, x: Tensor, sigma: Any) -> None:
    """All examples together: w_j <- sum_n h_c(n)j x_n / sum_n h_c(n)j. Source: Kohonen (2013), equation 8.

    A unit with no example in its neighborhood stays where it is. With sigma toward 0 this is a step of k-means.
    """
    x = x.flatten(1)
    distances = model.squared_distances(x)
    hits = one_hot(distances.argmin(axis=1), distances.shape[1], dtype=x.dtype)  # (batch, units)
    kept = rows_that_count(hits)
    hits = hits if kept is None else ops.where(kept, hits, 0.0)
    near = neighborhoods(model, sigma)
    weight = near @ hits.sum(axis=0).reshape(-1, 1)
    found = (near @ (hits.T @ x)) / ops.maximum(weight, 1e-12)
    w = ops.where(weight > 1e-12, found, model.codebook)
    model.weights.copy_(w.astype(model.weights.dtype).reshape(model.weights.shape))


def learn(
    model: SOM, progress: Any, x: Tensor, *targets: Tensor, sigma: float = 5.0, sigma_end: float = 1.0, rate: float = 0.5,
    rate_end: float = 0.01, decay: str = "exponential",
) -> Tensor:  # fmt: skip
    """Change the map by a batch and its own method, and return the mean of min_j |x - w_j|^2 before.

    Args:
        progress: fraction of all steps that are done
        x: examples (batch, ...); targets are not looked at
        sigma, sigma_end: width of the neighborhood at first and at last, in distances of neighboring units
        rate, rate_end: learning rate at first and at last, of the method "online" alone
        decay: "linear", "exponential" or "asymptotic"

    Raises:
        UserError: for numbers that are not positive, and another decay
    """
    if decay not in DECAYS:
        raise unknown_name("decay", decay, DECAYS)
    for name, number in (("sigma", sigma), ("sigma_end", sigma_end), ("rate", rate), ("rate_end", rate_end)):
        if not (number > 0 and math.isfinite(number)):
            raise UserError(f"The setting {name} is a positive number. Received {number!r}. Use {name}=1.0.")
    before, _ = loss(model, x)
    width = decayed(sigma, sigma_end, progress, decay)
    if model.method == "batch":
        batch_map(model, x, width)
    else:
        kohonen(model, x, decayed(rate, rate_end, progress, decay), width)
    return before


# What a trained map says


def label_units(model: SOM, split: Split) -> None:
    """Give each unit the class of most of its examples, ties to the first; one without examples that of the nearest with some.

    Labels stay -1 where the examples have no classes.
    """
    from nnatomy.data.fields import select

    units, votes = len(model.adjacent), np.zeros((0, 0))
    for start in range(0, len(split), 256):
        batch = split.take(np.arange(start, min(start + 256, len(split))))
        classes = select(split.fields, batch, "target")
        if not classes or classes[0].ndim != 1 or classes[0].dtype.kind not in "iu":
            return
        best = np.asarray(model.squared_distances(Tensor(B.asarray(batch[0], dtype=model.weights.dtype))).data).argmin(axis=1)
        wider = np.zeros((units, max(votes.shape[1], int(classes[0].max()) + 1)))
        wider[:, : votes.shape[1]] += votes if votes.size else 0
        np.add.at(wider, (best, classes[0]), 1)
        votes = wider
    known = np.flatnonzero(votes.sum(axis=1))
    w = model.codebook.numpy().astype(np.float64)
    nearest = known[np.square(w[:, None] - w[known][None]).sum(axis=2).argmin(axis=1)]
    model.labels.data = B.asarray(votes.argmax(axis=1)[nearest][:, None], dtype=model.labels.dtype)


def u_matrix(model: SOM) -> Array:
    """Return the mean distance of each unit's weights to those of its neighbors, (rows, columns). Source: Ultsch (1990)."""
    w, adjacent = model.codebook.numpy().astype(np.float64), model.adjacent
    apart = np.linalg.norm(w[:, None] - w[None], axis=2)
    return np.asarray((apart * adjacent).sum(axis=1) / adjacent.sum(axis=1)).reshape(model.weights.shape[:2])
