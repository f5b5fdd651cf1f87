"""The RBF network's picture: bumps and their sum, widths, tails, regions in a plane, and the centers that decide an example."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from nnatomy.architectures.feedforward.rbf.model import RBF, build, fit, interpolate, place_centers
from nnatomy.data.dataset import Dataset
from nnatomy.graph import no_grad
from nnatomy.random import Generator, default
from nnatomy.tasks.figures import BLUE, GRAY, GREEN, ORANGE
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]
SHOWN, NEAREST = 4, 5  # test examples, and centers for each


def draw(model: RBF, dataset: Dataset) -> Figure:
    """Three curves and a plane of small networks, and how `model` decides some test examples."""
    figure = Figure(figsize=(12.5, 9), layout="constrained")
    figure.suptitle("Radial basis functions: each unit responds near its center, and the output adds them up", fontsize=14)
    halves: Any = figure.subfigures(2, 1, hspace=0.05)
    kept = default.state_dict()
    try:
        for axes, panel in zip(halves[0].subplots(1, 3), (_bumps, _widths, _tails), strict=True):
            panel(axes)
        left, right = halves[1].subfigures(1, 2, width_ratios=(1, 1.25))
        _plane(left.subplots())
        _decided(right, model, dataset)
    finally:
        default.load_state_dict(kept)
    return figure


# Small networks


def _points() -> tuple[Array, Array]:
    """Fourteen points of a curve."""
    x = np.sort(np.random.default_rng(1).uniform(-3, 3, 14))[:, None]
    return x, np.sin(1.5 * x) + 0.4 * x


def _bumps(axes: Axes) -> None:
    """The weighted bumps of five centers, and their sum."""
    x, t = _points()
    grid = np.linspace(-3.6, 3.6, 400)[:, None]
    model = place_centers(build(1, 6, 1).astype("float64"), x, neighbors=1, overlap=1.0, generator=Generator(3))
    fit(model, x, t, ridge=0.01)
    with no_grad():
        parts = np.asarray(model.hidden(Tensor(grid)).data) * model.output.weight.numpy()
        y = np.asarray(model(Tensor(grid)).data)
    for j, part in enumerate(parts.T):
        axes.fill_between(grid[:, 0], part, color=BLUE, alpha=0.15, lw=0, label="six bumps, weighted" if j == 0 else None)
        axes.plot(grid, part, color=BLUE, alpha=0.5, lw=0.8)
    axes.plot(grid, y, color=ORANGE, lw=2, label="their sum and a constant")
    centers = model.hidden.centers.numpy()[:, 0]
    axes.plot(centers, np.full(len(centers), -2.6), "^", color=BLUE, ms=7, label="centers, by k-means")
    _examples(axes, x, t)
    axes.set(ylim=(-2.8, 2.8))
    axes.set_title("Six bumps and their sum", fontsize=11)
    _legend(axes)


def _widths(axes: Axes) -> None:
    """A center at each point: exact for any width, and smooth only if bumps overlap."""
    x, t = _points()
    grid = np.linspace(-3.6, 3.6, 800)[:, None]
    for width, color in ((0.08, GRAY), (0.8, ORANGE)):
        with no_grad():
            axes.plot(grid, interpolate(x, t, "gaussian", width)(Tensor(grid)).numpy(), color=color, label=f"width {width}")
    _examples(axes, x, t)
    axes.set(ylim=(-2.8, 2.8))
    axes.set_title("A center at each example: exact,\nbut bumps have to overlap", fontsize=11)
    _legend(axes)


def _tails(axes: Axes) -> None:
    """What follows outside the data: a constant, or the linear tail."""
    x, t = _points()
    grid = np.linspace(-7, 7, 400)[:, None]
    for kernel, degree, color, label in (
        ("gaussian", 0, ORANGE, "Gaussian and a constant"), ("thin_plate", 1, GREEN, "thin plate, linear tail"),
    ):  # fmt: skip
        with no_grad():
            y = interpolate(x, t, kernel, 0.8, degree)(Tensor(grid)).numpy()
        axes.plot(grid, y, color=color, label=label)
    axes.axvspan(float(x.min()), float(x.max()), color=GRAY, alpha=0.1, lw=0)
    _examples(axes, x, t)
    axes.set(ylim=(-5, 5))
    axes.set_title("Beyond the examples the kernel decides", fontsize=11)
    _legend(axes)


def _examples(axes: Axes, x: Array, t: Array) -> None:
    axes.scatter(x, t, 22, color="black", zorder=3, edgecolors="white", linewidths=0.5, label="examples")
    axes.set(xlabel="input")


def _legend(axes: Axes) -> None:
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False, columnspacing=1.0)


def _plane(axes: Axes) -> None:
    """Two interleaved arcs, the centers with their widths, and the line where the outputs of two classes are equal."""
    rng = np.random.default_rng(0)
    angle, classes = rng.uniform(0, np.pi, 240), np.arange(240) % 2
    arcs = np.stack([np.cos(angle) * (1 - 2 * classes) + classes, np.sin(angle) * (1 - 2 * classes) + 0.4 * classes], axis=1)
    x = arcs + 0.13 * rng.normal(size=arcs.shape)
    model = place_centers(build(2, 14, 2).astype("float64"), x, overlap=1.0, generator=Generator(2))
    fit(model, x, classes, ridge=0.01)
    widths = np.asarray(model.state_dict()["hidden.log_widths"])
    across, up = np.meshgrid(np.linspace(-1.7, 2.7, 220), np.linspace(-1.1, 1.5, 160))
    with no_grad():
        y = model(Tensor(np.stack([across.ravel(), up.ravel()], axis=1))).numpy()
    margin = (y[:, 1] - y[:, 0]).reshape(across.shape)
    axes.contourf(across, up, margin, levels=np.linspace(-1.5, 1.5, 21), cmap="RdBu", alpha=0.55, extend="both")
    axes.contour(across, up, margin, levels=[0], colors="black", linewidths=1.5)
    for c, color in ((0, ORANGE), (1, BLUE)):
        axes.scatter(x[classes == c, 0], x[classes == c, 1], 9, color=color, edgecolors="white", linewidths=0.3)
    for center, width in zip(model.hidden.centers.numpy(), np.exp(widths), strict=True):
        axes.add_patch(Circle(tuple(center), float(width), fill=False, color="black", lw=0.7, alpha=0.6))
        axes.plot(*center, "+", color="black", ms=8, mew=1.5)
    axes.set_aspect("equal")
    axes.set(xlim=(-1.7, 2.7), ylim=(-1.1, 1.5), xticks=[], yticks=[])
    axes.set_title("Two classes: 14 centers (+), their widths (circles)\nand the border", fontsize=11)


# The model on its data


def _decided(figure: Any, model: RBF, dataset: Dataset) -> None:
    x, y = dataset.test.all()[:2]
    if len(dataset.input_shape) == 3:  # channels, height, width
        _pictures(figure, model, dataset, x, y)
    else:
        _projected(figure.subplots(), model, dataset, x.reshape(len(x), -1), y.reshape(len(y), -1)[:, 0])


def _pictures(figure: Any, model: RBF, dataset: Dataset, x: Array, y: Array) -> None:
    """Test images and the centers that respond most, with their responses and what the network says at the center itself."""
    rows = np.unique(np.linspace(0, len(x) - 1, SHOWN).astype(int))
    with no_grad():
        h = np.asarray(model.hidden(Tensor(x[rows]).flatten(1)).data)
        answers = np.asarray(model(Tensor(x[rows])).data).argmax(axis=1)
        at_centers = np.asarray(model(model.hidden.centers).data).argmax(axis=1)
    centers = np.asarray(model.hidden.centers.data).reshape(-1, *dataset.input_shape)
    grid = figure.subplots(len(rows), NEAREST + 1, squeeze=False)
    figure.suptitle(f"Test examples of {dataset.name}, and the centers that respond most", fontsize=11)
    for row, (axes, values) in enumerate(zip(grid, h, strict=True)):
        nearest = np.argsort(-np.abs(values))[:NEAREST]
        found, true = (dataset.classes[int(c)] for c in (answers[row], y[rows[row]]))
        titles = [f"says {found} (true {true})", *(f"{values[j]:.2f} at a {dataset.classes[at_centers[j]]}" for j in nearest)]
        for axis, image, title in zip(axes, [x[rows[row]], *centers[nearest]], titles, strict=True):
            axis.imshow(image.mean(axis=0), cmap="gray_r" if axis is axes[0] else "Blues")
            axis.set(xticks=[], yticks=[])
            axis.set_title(title, fontsize=8)


def _projected(axes: Axes, model: RBF, dataset: Dataset, x: Array, y: Array) -> None:
    """Test examples in the plane of their two principal components, by target, and the centers."""
    mean = x.mean(axis=0)
    plane = np.linalg.svd(x - mean, full_matrices=False)[2][:2].T
    places, centers = ((rows - mean) @ plane for rows in (x, np.asarray(model.hidden.centers.data)))
    shown = axes.scatter(places[:, 0], places[:, 1], 16, c=y, cmap="viridis", alpha=0.8, linewidths=0, label="test examples")
    label = f"{len(centers)} centers"
    axes.scatter(centers[:, 0], centers[:, 1], 45, color=ORANGE, marker="+", linewidths=1.5, label=label)
    axes.figure.colorbar(shown, ax=axes, label="class" if dataset.classes else "target (standardized)")
    axes.set(xlabel="first principal component", ylabel="second")
    axes.set_title(f"Where the centers are among the examples of {dataset.name}", fontsize=11)
    _legend(axes)
