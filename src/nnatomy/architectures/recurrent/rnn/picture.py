"""The RNN at work on one test example: what it reads, its state at each step, and how the gradient fades with distance."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnatomy.architectures.recurrent.rnn.model import RNN, Jordan
from nnatomy.backends import B
from nnatomy.data.dataset import Dataset
from nnatomy.graph import no_grad
from nnatomy.layers.module import Module
from nnatomy.tasks.figures import BLUE, GRAY, ORANGE
from nnatomy.tasks.sequence_figures import draw_inputs, example_of, frame, number_steps, step_labels, title_of, unit_map
from nnatomy.tensor import Tensor

Array = NDArray[Any]
UNITS = 12
LEAST = 1e-12  # where gradients end on the logarithmic axis


def influence(network: Any, seen: Tensor) -> Array:
    """Return the norm of the gradient of the last step's largest output by the input of each step, (time,), not truncated."""
    network = copy.deepcopy(network)
    network.rnn.truncation = None
    x = Tensor(B.asarray(seen.numpy()), requires_grad=True)
    y, _ = network.answer(x)
    last = y[0, -1] if network.readout == "each" else y[0]
    last[int(np.abs(last.numpy()).argmax())].backward()
    assert x.grad is not None
    return np.asarray(np.sqrt(np.square(x.grad.numpy()[0], dtype=np.float64).sum(axis=-1)))


def bound(network: Any, seen: Tensor) -> Array | None:
    """Return what `influence` cannot exceed: |w_o| |D_T W_hh| ... |D_(t+1) W_hh| |D_t W_ih|, by the norms of all steps.

    w_o is the row of the output layer whose gradient is taken, D_t the diagonal of slopes. None for the networks that the
    theorem leaves out: Jordan's, several layers, two directions.
    """
    rnn = network.rnn
    if isinstance(rnn, Jordan) or rnn.layers > 1 or len(rnn.directions) > 1:
        return None
    with no_grad():
        y, _ = network.answer(seen)
        h = np.array([state.numpy()[0] for state in rnn.trace(seen)])
    last = y.numpy()[0].reshape(-1, y.shape[-1])[-1]
    factor = float(np.linalg.norm(network.output.weight.numpy()[int(np.abs(last).argmax())]))
    slopes = 1 - h**2 if rnn.nonlinearity == "tanh" else (h > 0).astype(h.dtype)
    found = []
    for slope in slopes[::-1]:
        found.append(factor * np.linalg.norm(slope[:, None] * rnn.weight_ih_l0.numpy(), 2))
        factor *= float(np.linalg.norm(slope[:, None] * rnn.weight_hh_l0.numpy(), 2))
    return np.array(found[::-1])


def untrained(network: Any) -> Any:
    """Return a copy whose recurrent weights are drawn from U(-1/sqrt(hidden), 1/sqrt(hidden)), PyTorch's start."""
    fresh, rng = copy.deepcopy(network), np.random.default_rng(0)
    state = fresh.rnn.state_dict()
    limit = 1 / np.sqrt(len(state["bias_hh_l0"]))
    fresh.rnn.load_state_dict({name: rng.uniform(-limit, limit, a.shape).astype(a.dtype) for name, a in state.items()})
    return fresh


def draw(model: Module, dataset: Dataset) -> Figure:
    """The states of the first layer on one test example, below what was read, and the gradient by distance."""
    network: Any = getattr(model, "network", model)  # a forecaster has the network inside
    rnn: RNN | Jordan = network.rnn
    example = example_of(dataset)
    with no_grad():
        seen = network.read(getattr(model, "seen", lambda x: x)(Tensor(example[0])))
        states = rnn.trace(seen, network.output) if isinstance(rnn, Jordan) else rnn.trace(seen)
    h = np.array([state.numpy()[0] for state in states])  # (time, hidden)
    labels = step_labels(dataset, example[0][0])
    name = "Jordan's network" if isinstance(rnn, Jordan) else "An RNN"
    figure, panels, bars = frame(title_of(name, model, dataset, example), labels, [1.9, 1.9])
    shown = list(panels)
    if labels is None:
        draw_inputs(panels.pop(0), model, dataset, example)
    units = np.sort(np.argsort(-h.std(axis=0))[:UNITS])
    largest = float(np.abs(h).max())
    scale, note = (1.0, "") if largest <= 1 else (largest, f", divided by the largest, {largest:.3g}")
    holds = f"The states h of the units that change most{note}: rewritten at every step"
    unit_map(figure, panels[0], bars[-2], h[:, units] / scale, units, holds, "RdBu_r", -1.0)
    _gradients(panels[1], network, seen)
    number_steps(shown[-2:], dataset, len(h), labels)
    return figure


def _gradients(axes: Any, network: Any, seen: Tensor) -> None:
    """Draw the trained network's gradient by step, and that of an untrained one below its bound."""
    fresh = untrained(network)
    curves = [
        (influence(network, seen), BLUE, "-", "this network, trained"),
        (influence(fresh, seen), ORANGE, "-", "untrained"),
    ]
    limit = bound(fresh, seen)
    if limit is not None:
        curves.append((limit, ORANGE, "--", "its bound: the product of norms"))
    for norms, color, line, label in curves:
        axes.semilogy(np.maximum(norms, LEAST), color=color, ls=line, lw=2 if line == "-" else 1.3, label=label)
    axes.set_ylabel("norm of the gradient")
    axes.set_title("How much the last output depends on each input", loc="left", fontsize=12)
    axes.legend(loc="lower right", bbox_to_anchor=(1.01, 0.99), ncols=3, frameon=False, fontsize=10)
    axes.grid(alpha=0.25, color=GRAY)
