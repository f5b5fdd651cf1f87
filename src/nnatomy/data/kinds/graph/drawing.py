"""Drawing of a graph: places of its nodes, and the part of it around a node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import Batch
from nnatomy.data.kinds.looks import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["around", "draw_example", "draw_graph", "places"]

Array = npt.NDArray[Any]
STEPS = 300


def places(edges: Array, nodes: int) -> Array:
    """Return positions (nodes, 2): neighbors pull each other closer, all nodes push each other away.

    Source: Fruchterman and Reingold (1991). The same each time.
    """
    rng = np.random.default_rng(0)
    found = rng.normal(size=(nodes, 2))
    near = np.zeros((nodes, nodes), bool)
    near[edges[:, 0], edges[:, 1]] = True
    np.fill_diagonal(near, False)
    length = 1 / np.sqrt(max(nodes, 1))
    for step in range(STEPS):
        apart = found[:, None] - found[None]
        distance = np.maximum(np.sqrt((apart**2).sum(axis=-1)), 1e-3)
        force = length**2 / distance**2 - near * distance / length
        move = (apart * force[..., None]).sum(axis=1) - 0.3 * found * length
        size = np.maximum(np.sqrt((move**2).sum(axis=-1, keepdims=True)), 1e-9)
        found = found + move / size * np.minimum(size, 0.1 * (1 - step / STEPS))
    centered = found - found.mean(axis=0)
    turned = centered @ np.linalg.eigh(centered.T @ centered)[1][:, ::-1]  # the longest extent is horizontal
    return np.asarray(turned / max(float(np.abs(turned).max()), 1e-9))


def around(edges: Array, node: int, nodes: int, most: int = 60, steps: int = 2) -> Array:
    """Return the nodes that reach a node in a few steps, itself first, at most `most`."""
    found, front = [node], [node]
    for _ in range(steps):
        reached = edges[np.isin(edges[:, 1], front), 0]
        front = [int(n) for n in dict.fromkeys(reached.tolist()) if n not in set(found)]
        found += front
    return np.array(found[:most])


def draw_graph(axes: Axes, at: Array, edges: Array, colors: Any, size: float = 60, marked: Array | None = None) -> None:
    """Draw nodes at positions (nodes, 2), edges as lines below them, and a ring around `marked` nodes."""
    from matplotlib.collections import LineCollection

    axes.add_collection(LineCollection(list(at[edges]), colors="#9aa3af", linewidths=0.7, zorder=1))
    axes.scatter(at[:, 0], at[:, 1], s=size, c=colors, edgecolors="white", linewidths=0.6, zorder=2)
    if marked is not None:
        across, up = at[marked, 0], at[marked, 1]
        axes.scatter(across, up, s=2.6 * size, facecolors="none", edgecolors="black", linewidths=1.6, zorder=3)
    axes.margins(0.08)
    axes.set_aspect("equal")
    axes.set_axis_off()


def draw_example(axes: Axes, example: Batch) -> None:
    """Draw the inputs of one example: a graph, or the part of a graph around the chosen node, which has a ring."""
    nodes, edges = example[:2]
    whole = len(example) > 3 and example[3].ndim == 1  # graph_of, sizes
    shown = np.arange(len(nodes)) if whole else around(edges, int(example[2][0]), len(nodes))
    place = np.full(len(nodes), -1)
    place[shown] = np.arange(len(shown))
    joins = place[edges]
    joins = joins[(joins >= 0).all(axis=1)]
    draw_graph(axes, places(joins, len(shown)), joins, COLORS[0], 40, None if whole else np.array([0]))
