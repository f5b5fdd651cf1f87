"""The GRU at work on one test example: what it reads, when its gates are open, and which steps its last state is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnatomy.data.dataset import Dataset
from nnatomy.graph import no_grad
from nnatomy.layers.module import Module
from nnatomy.tasks.figures import BLUE, ORANGE
from nnatomy.tasks.sequence_figures import draw_inputs, example_of, frame, legend, number_steps, step_labels, title_of, unit_map
from nnatomy.tensor import Tensor

Array = NDArray[Any]
UNITS = 10


def weights_of_steps(z: Array) -> Array:
    """Return how much of the last state is the candidate of each step: w_t = (1 - z_t) z_{t+1} ... z_T, [time, hidden].

    The last state is sum_t w_t n_t, and the weights of a unit sum to 1 - z_1 ... z_T.
    """
    after = np.cumprod(z[::-1], axis=0)[::-1]  # z_t ... z_T
    return np.asarray((1 - z) * np.concatenate([after[1:], np.ones_like(z[:1])]))


def draw(model: Module, dataset: Dataset) -> Figure:
    """Gates, states and composition of the last state of the first layer on one test example, below what was read."""
    network: Any = getattr(model, "network", model)  # a forecaster has the network inside
    example = example_of(dataset)
    with no_grad():
        seen = network.read(getattr(model, "seen", lambda x: x)(Tensor(example[0])))
        moments = network.gru.trace(seen)
    z, r, h = (np.asarray(part.data)[:, 0] for part in (moments.z, moments.r, moments.h))  # [time, hidden]
    labels = step_labels(dataset, example[0][0])
    figure, panels, bars = frame(title_of("A GRU", model, dataset, example), labels, [1.1, 1.7, 1.7, 1.7])
    shown = list(panels)
    if labels is None:
        draw_inputs(panels.pop(0), model, dataset, example)
    _averages(panels[0], z, r)
    units = np.sort(np.argsort(-h.std(axis=0))[:UNITS])
    keeps = "Update gates of the units that change most: 1 keeps the state, 0 replaces it by the candidate"
    unit_map(figure, panels[1], bars[-3], z[:, units], units, keeps, "viridis", 0.0)
    holds = "The states h of those units: a long band is something remembered"
    unit_map(figure, panels[2], bars[-2], h[:, units], units, holds, "RdBu_r", -1.0)
    made = "What the last state is made of: the weight of each step's candidate (a row sums to at most 1)"
    unit_map(figure, panels[3], bars[-1], weights_of_steps(z)[:, units], units, made, "magma", 0.0)
    number_steps(shown[-4:], dataset, len(h), labels)
    return figure


def _averages(axes: Any, z: Array, r: Array) -> None:
    axes.plot(z.mean(axis=1), color=BLUE, label="update gate z: keeps", marker=".")
    axes.plot(r.mean(axis=1), color=ORANGE, label="reset gate r: lets the candidate see", marker=".")
    axes.set(ylim=(0, 1.02), ylabel="mean over units")
    axes.set_title("The gates", loc="left", fontsize=12)
    legend(axes)
    axes.grid(alpha=0.25)
