"""The picture of a graph neural network: what it predicts, what a prediction sees, and what depth does to neighbors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnatomy.architectures.graph.gnn.model import GNN, GraphNetwork, NodeNetwork, build, dirichlet_energy
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import select
from nnatomy.data.kinds.graph import drawing
from nnatomy.data.kinds.looks import COLORS, INK
from nnatomy.graph import no_grad
from nnatomy.random import Generator, default
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]
SHOWN = 140  # nodes of a large graph: those around one of them
DEPTHS = 24
WIDTH = 32  # of the random networks whose neighbors are compared
QUIET = "#d5d9df"


def draw(model: Any, dataset: Dataset) -> Figure:
    """Predictions on the graph, or on a few graphs; the reach of one prediction; and how alike neighbors become with depth."""
    figure = Figure(figsize=(12.4, 9.6), layout="constrained")
    whole = isinstance(model, GraphNetwork)
    what = "graphs" if whole else "nodes"
    title = f"Graph neural network ({model.layer.upper()}, {len(model.convs)} layers) on {dataset.name}: {what}"
    figure.suptitle(title, fontsize=14)
    rows: Any = figure.subfigures(2, 1, height_ratios=(1.12, 1), hspace=0.03)
    if whole:
        edges = _graphs(rows[0], model, dataset)
        left, right = rows[1].subplots(1, 2)
        _map_of_graphs(left, model, dataset)
    else:
        above, side = rows[0].subplots(1, 2, width_ratios=(1.5, 1))
        left, right = rows[1].subplots(1, 2)
        edges = _nodes(above, side, left, model, dataset)
    _depth(right, edges, 1 + int(edges.max(initial=0)))
    return figure


def color(classes: Array) -> list[str]:
    """A color for each class number."""
    return [COLORS[int(k) % len(COLORS)] for k in classes]


# Nodes of one graph


def _nodes(above: Axes, side: Axes, below: Axes, model: NodeNetwork, dataset: Dataset) -> Array:
    inputs = select(dataset.fields, dataset.test.all(), "input")
    x, edges, tested, *rest = inputs
    n = len(x)
    truth = np.full(n, -1)
    for split in (dataset.train, dataset.validation, dataset.test):
        _, _, chosen, *_, targets = split.all()
        truth[chosen] = targets
    with no_grad():
        everything = (Tensor(x), Tensor(edges), Tensor(np.arange(n)), *map(Tensor, rest))
        predicted = model(*everything).numpy().argmax(axis=1)
        hidden = model.embed(everything[0], everything[1], *everything[3:])[-1 if len(model.convs) == 1 else -2].numpy()
    labeled = dataset.train.all()[2]
    degree = np.bincount(edges[:, 1], minlength=n)
    center = int(tested[degree[tested].argsort(kind="stable")[len(tested) * 3 // 4]])
    shown = np.arange(n) if n <= SHOWN else drawing.around(edges, center, n, SHOWN, steps=3)
    place = np.full(n, -1)
    place[shown] = np.arange(len(shown))
    joins = place[edges]
    joins = joins[(joins >= 0).all(axis=1)]
    at = drawing.places(joins, len(shown))
    size = 150 if len(shown) < 60 else 60
    drawing.draw_graph(above, at, joins, color(predicted[shown]), size, place[np.intersect1d(labeled, shown)])
    wrong = shown[(truth[shown] >= 0) & (predicted[shown] != truth[shown])]
    above.scatter(at[place[wrong], 0], at[place[wrong], 1], marker="x", s=0.6 * size, color="black", zorder=4)
    right = float((predicted[tested] == truth[tested]).mean())
    part = "" if len(shown) == n else f" ({len(shown)} of {n:,} nodes)"
    above.set_title(f"What is predicted{part}: {right:.1%} of the test nodes are right", loc="left", fontsize=11)
    _legend(above, dataset.classes, True)

    first, second = _plane(hidden)
    known = truth >= 0
    side.scatter(first[known], second[known], s=26 if n < 200 else 6, c=color(truth[known]), linewidths=0)
    side.set(xlabel="first principal component", ylabel="second")
    side.set_title("The last hidden layer: one point a node,\ncolored by its true class", loc="left", fontsize=11)
    side.grid(alpha=0.25)
    _reach(below, model, everything, center, place, at, joins)
    return np.asarray(edges)


def _reach(axes: Axes, model: GNN, everything: tuple[Tensor, ...], node: int, place: Array, at: Array, joins: Array) -> None:
    """The gradient of one node's highest score by the features of every node: nothing beyond as many edges as layers."""
    x = Tensor(everything[0].data, requires_grad=True)
    model(x, everything[1], Tensor(np.array([node])), *everything[3:])[0].max().backward()
    assert x.grad is not None
    norm = np.sqrt((x.grad.numpy().astype(np.float64) ** 2).sum(axis=1))
    seen = norm > 0
    share = np.log10(np.maximum(norm / max(norm.max(), 1e-30), 1e-3))
    shown = place >= 0
    order = place[shown]
    drawing.draw_graph(axes, at, joins, QUIET, 90 if len(at) < 60 else 40)
    there = shown & seen
    points = axes.scatter(
        at[place[there], 0], at[place[there], 1], c=share[there], cmap="viridis", vmin=-3, vmax=0,
        s=90 if len(order) < 60 else 40, zorder=3,
        edgecolors="white", linewidths=0.5,
    )  # fmt: skip
    across, up = at[place[node]]
    axes.scatter([across], [up], s=320, facecolors="none", edgecolors="black", linewidths=2, zorder=4)
    bar = axes.figure.colorbar(points, ax=axes, shrink=0.75, ticks=[-3, -2, -1, 0])
    bar.ax.set_yticklabels(["1/1000", "1/100", "1/10", "most"])
    k = len(model.convs)
    axes.set_title(
        f"What one prediction sees: {k} layers reach {k} edges far,\n{int(seen.sum())} of {len(norm):,} nodes (gradient of the "
        "ringed node's score;\ngray: exactly 0)", loc="left", fontsize=11,
    )  # fmt: skip


# Whole graphs


def _graphs(figure: Any, model: GraphNetwork, dataset: Dataset) -> Array:
    """Two test graphs of each class, up to eight; a node is as dark as its features after the last layer are large."""
    (targets,) = select(dataset.fields, dataset.test.all(), "target")
    turns = [np.flatnonzero(targets == k) for k in range(len(dataset.classes))]
    chosen = [int(rows[turn]) for turn in range(2) for rows in turns if len(rows) > turn][:8]
    grid = figure.subplots(2, -(-len(chosen) // 2), squeeze=False)
    edges = np.zeros((0, 2), np.int64)
    for axes, number in zip(grid.flat, chosen):
        batch = dataset.test.take(np.array([number]))
        tensors = tuple(map(Tensor, select(dataset.fields, batch, "input")))
        with no_grad():
            scores = model(*tensors).numpy()[0]
            last = model.embed(tensors[0], tensors[1], *tensors[4:])[-1].numpy()
        size = np.sqrt((last**2).sum(axis=1))
        at = drawing.places(batch[1], len(batch[0]))
        drawing.draw_graph(axes, at, batch[1], QUIET, 10)
        low = float(size.min() - 0.3 * np.ptp(size))
        axes.scatter(at[:, 0], at[:, 1], c=size, cmap="YlOrBr", vmin=low, s=70, edgecolors=INK, linewidths=0.6, zorder=3)
        best, true = int(scores.argmax()), int(batch[-1][0])
        verdict = "right" if best == true else f"truly {dataset.classes[true]}"
        axes.set_title(f"{dataset.classes[best]} ({verdict})", fontsize=10)
        edges = batch[1]
    for axes in grid.flat[len(chosen) :]:
        axes.set_axis_off()
    figure.suptitle("What is predicted for some test graphs; dark nodes have large features after the last layer", fontsize=11)
    return np.asarray(edges)


def _map_of_graphs(axes: Axes, model: GraphNetwork, dataset: Dataset) -> None:
    batch = dataset.test.all()
    tensors = tuple(map(Tensor, select(dataset.fields, batch, "input")))
    read: list[Array] = []
    handle = model.output.register_forward_hook(lambda module, args, out: read.append(args[0].numpy()))
    with no_grad():
        scores = model(*tensors).numpy()
    handle.remove()
    first, second = _plane(read[0])
    axes.scatter(first, second, s=18, c=color(batch[-1]), linewidths=0)
    axes.set(xlabel="first principal component", ylabel="second")
    right = float((scores.argmax(axis=1) == batch[-1]).mean())
    axes.set_title(f"The readouts: one point a test graph, {right:.1%} of them right", loc="left", fontsize=11)
    axes.grid(alpha=0.25)
    _legend(axes, dataset.classes, False, "best", None)


# Depth


def _depth(axes: Axes, edges: Array, nodes: int) -> None:
    """The angles between features of neighbors after each layer of untrained networks, and GCN's Dirichlet energy."""
    kept = default.state_dict()
    x = np.random.default_rng(0).normal(size=(nodes, WIDTH)).astype(np.float32)
    names = {"gcn": "GCN", "gat": "GAT", "sage": "GraphSAGE", "gin": "GIN"}
    for (layer, name), tone, marker in zip(names.items(), COLORS, "os^v"):
        default.load_state_dict(Generator(3).state_dict())
        model = build(WIDTH, 2, layer, WIDTH, DEPTHS, heads=4, readout="sum")
        model.eval()
        with no_grad():
            found = [h.astype(np.float64) for h in (x, *(h.numpy() for h in model.embed(Tensor(x), Tensor(edges))))]
        axes.plot([max(_angle(h, edges), 1e-12) for h in found], color=tone, label=name, marker=marker, ms=4)
        if layer == "gcn":
            energy = [dirichlet_energy(h, edges) / max(float((h**2).sum()), 1e-300) for h in found]
            axes.plot(energy, color=tone, ls="--", lw=1, label="GCN: energy E(H) / |H|²")
    default.load_state_dict(kept)
    axes.set(yscale="log", xlabel="layers", ylabel="mean of 1 - cos(neighbors)", ylim=(1e-7, 2))
    axes.set_title("Over-smoothing: with depth, neighbors become alike\n(untrained networks on these edges, random features)",
                   loc="left", fontsize=11)  # fmt: skip
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)


def _angle(h: Array, edges: Array) -> float:
    """The mean of 1 - cos(h_s, h_t) over all edges (Chen et al. 2020, as MADgap's distance of neighbors)."""
    unit = h / np.maximum(np.sqrt((h**2).sum(axis=1, keepdims=True)), 1e-300)
    return float((1 - (unit[edges[:, 0]] * unit[edges[:, 1]]).sum(axis=1)).mean())


def _plane(h: Array) -> tuple[Array, Array]:
    """The first two principal components of rows (n, width)."""
    centered = h.astype(np.float64) - h.mean(axis=0)
    directions = np.linalg.svd(centered, full_matrices=False)[2]
    found = centered @ directions[:2].T
    return found[:, 0], found[:, 1] if found.shape[1] > 1 else np.zeros(len(found))


def _legend(
    axes: Axes, classes: tuple[str, ...], rings: bool, place: str = "upper center", anchor: Any = (0.5, 0.02)
) -> None:
    handles = [
        Line2D([], [], marker="o", ls="", color=tone, ms=8, label=name.replace("_", " "))
        for name, tone in zip(classes, color(np.arange(len(classes))))
    ]  # fmt: skip
    if rings:
        handles.append(Line2D([], [], marker="o", ls="", mfc="none", mec="black", ms=11, label="labeled in training"))
        handles.append(Line2D([], [], marker="x", ls="", color="black", ms=8, label="predicted wrongly"))
    axes.legend(handles=handles, fontsize=9, frameon=False, loc=place, bbox_to_anchor=anchor, ncols=1 if anchor is None else 4)
