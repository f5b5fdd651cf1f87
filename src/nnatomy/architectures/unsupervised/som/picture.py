"""The map's picture: its U-matrix with the classes, the vectors of its units, and a map that unfolds in the data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from nnatomy.architectures.unsupervised.som.model import SOM, batch_map, build, decayed, u_matrix
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import select
from nnatomy.graph import no_grad
from nnatomy.random import default, seed
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]

COLORS = ("#2563a8", "#d1662a", "#2e8b57", "#8b5fbf", "#b8860b", "#c2356b", "#1f9aa8", "#7a5230", "#111827", "#8aa80c")
PLANES = 4  # component planes that are shown, those of the largest deviation
EXAMPLES = 2_000  # of the training split, whose hits are counted
EPOCHS = 40  # of the small map that unfolds
SHOWN = (0, 4, 16, 40)


def draw(model: SOM, dataset: Dataset) -> Figure:
    """Draw `model` on the training split, and below it a small map in the plane at four moments of its training."""
    figure = Figure(figsize=(12, 10.2), layout="constrained")
    figure.suptitle(f"Self-organizing map of {dataset.name}: neighbors on the grid are neighbors in the data", fontsize=14)
    halves: Any = figure.subfigures(2, 1, height_ratios=(1.75, 1), hspace=0.04)
    above, below = halves
    left, right = above.subfigures(1, 2, wspace=0.02)
    _distances(left.subplots(), model, dataset)
    if len(dataset.input_shape) == 3:
        _images(right.subplots(), model, dataset)
    else:
        _planes(right, model, dataset)
    _unfolding(below)
    return figure


# The trained map


def _cells(model: SOM) -> Array:
    """The corners of each unit's cell as (x, y), (units, corners, 2)."""
    place = model.places[:, ::-1]
    if model.grid == "rectangular":
        corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    else:
        angles = np.pi / 6 + np.arange(6) * np.pi / 3
        corners = np.stack([np.cos(angles), np.sin(angles)], axis=1) / math.sqrt(3)
    return np.asarray(place[:, None] + corners)


def _grid(axes: Axes, model: SOM, values: Array, cmap: str, edge: str = "white") -> PolyCollection:
    """Cells colored by one value a unit; row 0 is at the top."""
    cells = PolyCollection(list(_cells(model)), array=values.ravel(), cmap=cmap, edgecolors=edge, linewidths=0.6)
    axes.add_collection(cells)
    low, high = _cells(model).min(axis=(0, 1)) - 0.1, _cells(model).max(axis=(0, 1)) + 0.1
    axes.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]), aspect="equal")
    axes.set_axis_off()
    return cells


def _distances(axes: Axes, model: SOM, dataset: Dataset) -> None:
    """The U-matrix; a dot on each unit is as large as its examples are many, and has the color of its class."""
    shown = _grid(axes, model, u_matrix(model), "Grays")
    axes.figure.colorbar(shown, ax=axes, shrink=0.75, label="mean distance to the weights of neighbors", location="bottom")
    train = dataset.train
    batch = train.take(np.unique(np.linspace(0, len(train) - 1, min(EXAMPLES, len(train))).astype(int)))
    x, targets = select(train.fields, batch, "input")[0], select(train.fields, batch, "target")
    with no_grad():
        best = np.asarray(model.squared_distances(Tensor(x)).data).argmin(axis=1)
    hits = np.bincount(best, minlength=len(model.places))
    place, labels = model.places, np.asarray(model.labels.data)[:, 0].round().astype(int)
    classes = dataset.classes if targets and labels.min() >= 0 else ()
    short = bool(classes) and max(map(len, classes)) <= 2  # then the name is drawn in the dot
    scale = (190 / max(model.weights.shape[:2])) ** 2  # points of area: the largest dot nearly fills its cell
    for k, name in enumerate(classes or ("examples",)):
        own = (hits > 0) & ((labels == k) if classes else True)
        part = hits[own] / max(hits.max(), 1)
        sizes = scale * (0.35 + 0.65 * part if short else part)
        color = COLORS[k % len(COLORS)]
        axes.scatter(place[own, 1], place[own, 0], sizes, color=color, edgecolors="white", linewidths=0.8, label=name, zorder=3)
        for y, across in place[own] if short else ():
            axes.text(across, y, name, ha="center", va="center_baseline", fontsize=7.5, color="white", zorder=4)
    if classes and not short:
        for handle in axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=5, frameon=False).legend_handles:
            handle.set_sizes([60])  # type: ignore[union-attr]
    says = ", the majority class" if classes else ""
    axes.set_title(f"U-matrix: dark borders separate groups. Dots: examples of a unit{says}", fontsize=11)


def _images(axes: Axes, model: SOM, dataset: Dataset) -> None:
    """The weights of each unit as an image at its place."""
    channels, height, width = dataset.input_shape
    pictures = model.codebook.numpy().reshape(-1, channels, height, width).mean(axis=1)
    low, high = np.quantile(pictures, (0.02, 0.98))
    side = 0.44
    for (y, across), picture in zip(model.places, pictures):
        where = (across - side, across + side, y + side * 0.95, y - side * 0.95)
        axes.imshow(picture, cmap="gray", vmin=low, vmax=high, extent=where, interpolation="nearest")
    bounds = _cells(model)
    low_corner, high_corner = bounds.min(axis=(0, 1)) - 0.1, bounds.max(axis=(0, 1)) + 0.1
    axes.set(xlim=(low_corner[0], high_corner[0]), ylim=(high_corner[1], low_corner[1]), aspect="equal")
    axes.set_axis_off()
    axes.set_title("What each unit stands for: its weights as an image", fontsize=11)


def _planes(figure: Any, model: SOM, dataset: Dataset) -> None:
    """The features whose weights vary most over the map."""
    w = model.codebook.numpy()
    names = tuple(getattr(dataset.preprocessing, "feature_names", ())) or tuple(f"input {i}" for i in range(w.shape[1]))
    chosen = np.argsort(-w.std(axis=0), kind="stable")[:PLANES]
    side = 1 if len(chosen) == 1 else 2
    panels = figure.subplots(side, side, squeeze=False).ravel()
    for axes in panels[len(chosen) :]:
        axes.set_axis_off()
    for axes, k in zip(panels, np.sort(chosen)):
        shown = _grid(axes, model, w[:, k], "RdBu_r", edge="face")
        figure.colorbar(shown, ax=axes, shrink=0.8)
        axes.set_title(names[k] if len(names[k]) <= 26 else f"{names[k][:25]}…", fontsize=10)
    which = f"the {len(chosen)} of {w.shape[1]} that vary most" if w.shape[1] > len(chosen) else "one weight of every unit each"
    figure.suptitle(f"Component planes: {which}", fontsize=11)


# A map that unfolds


def _unfolding(figure: Any) -> None:
    """A batch map of 12 x 12 units on points of a ring of three colors, from random weights."""
    rng = np.random.default_rng(2)
    angle, radius = rng.uniform(0, 2 * np.pi, 1500), np.sqrt(rng.uniform(0.15, 1, 1500))
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    kept = default.state_dict()
    try:
        seed(5)
        small = build(2, 12, 12).astype("float64")
    finally:
        default.load_state_dict(kept)
    small.weights.data = 0.25 * small.weights.data
    joined = np.argwhere(np.triu(small.adjacent))
    panels = figure.subplots(1, len(SHOWN))
    turn = 0
    for epoch in range(EPOCHS + 1):
        width = decayed(6.0, 1.0, epoch / EPOCHS, "exponential")
        if epoch in SHOWN:
            axes, w = panels[turn], small.codebook.numpy()
            axes.scatter(x[:, 0], x[:, 1], 3, color="#c3cad5", linewidths=0)
            axes.add_collection(LineCollection(list(w[joined]), colors="#2563a8", linewidths=0.8))
            axes.scatter(w[:, 0], w[:, 1], 9, c=small.places[:, 0], cmap="plasma", zorder=3)
            axes.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal", xticks=[], yticks=[])
            axes.set_title("random start" if epoch == 0 else f"epoch {epoch}: width {width:.1f}", fontsize=10)
            turn += 1
        with no_grad():
            batch_map(small, Tensor(x), width)
    title = "A map of 12 × 12 units unfolds over points of a ring: lines join neighbors on the grid, colors are its rows"
    figure.suptitle(title, fontsize=11)
