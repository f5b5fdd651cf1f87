"""The ELM's picture: above, random features and what one linear map makes of them; below, how the number of nodes decides."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnatomy.architectures.feedforward.elm.model import ELM, build, fit
from nnatomy.data.dataset import Dataset
from nnatomy.functional.least_squares import target_rows
from nnatomy.graph import no_grad
from nnatomy.random import default, seed
from nnatomy.tasks.figures import fit_colors
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]

BLUE, ORANGE, GRAY = "#2563a8", "#d1662a", "#9aa3b0"
NODES = 60  # columns of the matrix of features
EXAMPLES = 200  # of the training split in the experiment with the number of nodes
SIZES = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.96, 1.0, 1.04, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0)  # nodes, per example


def draw(model: ELM, dataset: Dataset) -> Figure:
    """Features and outputs of `model` on the test split, and experiments with other random nodes; three panels below."""
    figure = Figure(figsize=(12, 9), layout="constrained")
    figure.suptitle(f"Extreme learning machine on {dataset.name}: random features, then one least-squares problem", fontsize=14)
    halves: Any = figure.subfigures(2, 1, hspace=0.05)
    above, below = halves
    kept = default.state_dict()
    try:
        _model(above, model, dataset)
        left, middle, right = below.subplots(1, 3, width_ratios=(1, 1, 1.35))
        _curves(left, middle)
        _sizes(right, model, dataset)
    finally:
        default.load_state_dict(kept)
    return figure


# The model on its data


def _model(figure: Any, model: ELM, dataset: Dataset) -> None:
    x, y = dataset.test.all()[:2]
    classes = np.dtype(y.dtype).kind in "iu"
    order = np.argsort(y if classes else y.reshape(len(y), -1)[:, 0], kind="stable")
    x, y = x[order], y[order]
    with no_grad():
        h = np.asarray(model.hidden(Tensor(x).flatten(1)).data)[:, :NODES]
        out = np.asarray(model(Tensor(x)).data)
    left, right = figure.subplots(1, 2, width_ratios=(1.45, 1))
    low = 0.0 if h.min() >= 0 else -1.0
    shown = left.imshow(h, aspect="auto", cmap="RdBu_r" if low else "Blues", vmin=low, vmax=1, interpolation="nearest")
    figure.colorbar(shown, ax=left, label="output of a node", extend=fit_colors(shown))
    left.set(xlabel=f"random node (the first {h.shape[1]} of {model.hidden.bias.size:,}; their weights never change)")
    left.set_ylabel("test example, by class" if classes else "test example, by its true value")
    left.set_title("H: what random nodes make of the examples", fontsize=11)
    if classes:
        shown = right.imshow(out, aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        figure.colorbar(shown, ax=right, label="output, fitted to 0 or 1", extend=fit_colors(shown))
        edges = np.searchsorted(y, np.arange(len(dataset.classes) + 1))
        for axes in (left, right):
            axes.set_yticks((edges[:-1] + edges[1:]) / 2, [name[:12] for name in dataset.classes], fontsize=9)
            for edge in edges[1:-1]:
                axes.axhline(edge - 0.5, color="black", lw=0.5)
        right.set_xticks(range(out.shape[1]), [name[:12] for name in dataset.classes], fontsize=9)
        right.set(xlabel="output (one for each class)")
        right.set_title(f"H β + c: {(out.argmax(axis=1) == y).mean():.1%} of {len(y)} rightly largest", fontsize=11)
        return
    true = y.reshape(len(y), -1)[:, 0]
    right.scatter(true, out[:, 0], s=14, color=BLUE, alpha=0.6, linewidths=0)
    ends = [true.min(), true.max()]
    right.plot(ends, ends, color=GRAY, ls="--", lw=1, label="predicted = true")
    r2 = 1 - np.square(out[:, 0] - true).mean() / max(float(true.var()), 1e-12)
    right.set(xlabel="true value (standardized)", ylabel="H β + c")
    right.set_title(f"H β + c against the truth (R² {r2:.2f})", fontsize=11)
    right.legend(frameon=False, fontsize=9)


# What the nodes do, and how many are wanted


def _curves(left: Axes, right: Axes) -> None:
    """Twenty points of a curve: the weighted nodes of a small machine, and what a ridge does where there are 20 nodes."""
    rng = np.random.default_rng(4)
    x = np.sort(rng.uniform(-2.5, 2.5, 20))[:, None]
    t = np.sin(2 * x) + 0.3 * x + 0.15 * rng.normal(size=x.shape)
    grid = np.linspace(-2.6, 2.6, 600)[:, None]
    for axes, hidden, ridge, color, line in (
        (left, 6, 0.01, BLUE, "their sum"), (right, 20, 0.0, ORANGE, "20 nodes, ridge 0"), (right, 20, 0.1, BLUE, "ridge 0.1"),
    ):  # fmt: skip
        seed(66)
        machine = fit(build(1, hidden, 1, "tanh", 3.0).astype("float64"), x, t, ridge)
        with no_grad():
            parts = np.asarray(machine.hidden(Tensor(grid)).data) * machine.output.weight.numpy()
        for j in range(hidden) if axes is left else ():
            axes.plot(grid, parts[:, j], color=GRAY, lw=1, label="six nodes, weighted" if j == 0 else None)
        axes.plot(grid, parts.sum(axis=1), color=color, lw=2 if color == BLUE else 1.2, label=line)
    for axes in (left, right):
        axes.scatter(x, t, 26, color="black", zorder=3, edgecolors="white", linewidths=0.5, label="20 examples")
        axes.set(ylim=(-3.2, 3.2), xlabel="input", ylabel="output")
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, frameon=False, columnspacing=1.0)
    left.set_title("Least squares weights random nodes,\nand does not move them", fontsize=11)
    right.set_title("As many nodes as examples: exact,\nand wild unless a ridge forbids it", fontsize=11)


def _sizes(axes: Axes, model: ELM, dataset: Dataset) -> None:
    """Training and test errors of fresh machines with few to many nodes, without a ridge and with one."""
    rows = np.unique(np.linspace(0, len(dataset.train) - 1, min(EXAMPLES, len(dataset.train))).astype(int))
    x, t = dataset.train.take(rows)[:2]
    x_test, t_test = dataset.test.all()[:2]
    outputs = model.output.weight.shape[0]
    variance = float(np.asarray(target_rows(t_test, outputs, "float64")).var(axis=0).sum())
    sizes = sorted({max(1, round(f * len(rows))) for f in SIZES})
    found: dict[tuple[str, float], list[float]] = {}
    for hidden in sizes:
        seed(7)
        machine = build(math.prod(dataset.input_shape), hidden, outputs, model.hidden.activation, bias=True)
        for ridge in (0.0, 10.0):
            fit(machine, x, t, ridge)
            for part, inputs, targets in (("train", x, t), ("test", x_test, t_test)):
                with no_grad():
                    y = np.asarray(machine(Tensor(inputs)).data, np.float64)
                error = np.square(y - np.asarray(target_rows(targets, outputs, "float64"))).sum(axis=1).mean() / variance
                found.setdefault((part, ridge), []).append(max(float(error), 1e-9))
    styles = {
        ("test", 0.0): (ORANGE, "-", "test, ridge 0"), ("train", 0.0): (ORANGE, ":", "training, ridge 0"),
        ("test", 10.0): (BLUE, "-", "test, ridge 10"), ("train", 10.0): (BLUE, ":", "training, ridge 10"),
    }  # fmt: skip
    for key, (color, line, label) in styles.items():
        axes.plot(sizes, found[key], color=color, ls=line, marker="o", ms=3, label=label)
    axes.axvline(len(rows), color="black", lw=0.9, ls="--")
    axes.axhline(1, color=GRAY, lw=0.9)
    axes.set(xscale="log", yscale="log", ylim=(2e-3, None), xlabel=f"random nodes (dashed: {len(rows)}, as the examples)")
    axes.set_ylabel("squared error / variance of targets")
    axes.set_title("Without a ridge, the worst number of\nnodes is the number of examples", fontsize=11)
    axes.grid(alpha=0.25, which="major")
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4, frameon=False, columnspacing=1.0)
