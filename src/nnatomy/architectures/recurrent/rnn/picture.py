"""The RNN at work on one test example: what it reads, its state at each step, and how the gradient fades with distance."""

from __future__ import annotations

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
from nnatomy.tasks.sequence_figures import draw_inputs, example_of, frame, legend, number_steps, step_labels, title_of, unit_map
from nnatomy.tensor import Tensor

Array = NDArray[Any]
UNITS = 12
LEAST = 1e-12  # where gradients end on the logarithmic axis


def influence(network: Any, seen: Tensor) -> Array:
    """Return the norm of the gradient of the last step's largest output by the input of each step, (time,)."""
    x = Tensor(B.asarray(seen.numpy()), requires_grad=True)
    y, _ = network.answer(x)
    last = y[0, -1] if network.readout == "each" else y[0]
    last[int(np.abs(last.numpy()).argmax())].backward()
    assert x.grad is not None
    return np.asarray(np.sqrt(np.square(x.grad.numpy()[0], dtype=np.float64).sum(axis=-1)))


def bound(network: Any, seen: Tensor) -> Array | None:
    """Return what `influence` cannot exceed: |w_o| (|W_hh| gamma)^(T - t) gamma |W_ih|; None for what the theorem leaves out.

    gamma is 1, the largest slope of tanh and ReLU; w_o the row of the output layer that was asked for its gradient.
    """
    rnn = network.rnn
    if isinstance(rnn, Jordan) or rnn.layers > 1 or len(rnn.directions) > 1:
        return None
    with no_grad():
        y, _ = network.answer(seen)
    last = y.numpy()[0].reshape(-1, y.shape[-1])[-1]
    row = network.output.weight.numpy()[int(np.abs(last).argmax())].astype(np.float64)
    W_ih, W_hh = (np.linalg.norm(w.numpy().astype(np.float64), 2) for w in (rnn.weight_ih_l0, rnn.weight_hh_l0))
    distance = np.arange(seen.shape[1])[::-1]
    return np.asarray(np.linalg.norm(row) * W_hh**distance * W_ih)


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
    _gradient(panels[1], influence(network, seen), bound(network, seen))
    number_steps(shown[-2:], dataset, len(h), labels)
    return figure


def _gradient(axes: Any, norms: Array, limit: Array | None) -> None:
    steps = np.arange(len(norms))
    axes.semilogy(steps, np.maximum(norms, LEAST), color=BLUE, marker=".", lw=2, label="norm of the gradient")
    if limit is not None:
        axes.semilogy(steps, np.maximum(limit, LEAST), color=ORANGE, ls="--", label="bound of the theorem")
    axes.set_ylabel("logarithmic scale")
    axes.set_title("How much the last output depends on the input of each step", loc="left", fontsize=12)
    legend(axes)
    axes.grid(alpha=0.25, color=GRAY)
