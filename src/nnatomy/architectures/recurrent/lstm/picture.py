"""The LSTM at work on one test example: what it reads, when its gates open, what its cells hold, how far errors reach back."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnatomy.architectures.recurrent.lstm.model import LSTMNetwork
from nnatomy.data.dataset import Dataset
from nnatomy.graph import no_grad
from nnatomy.layers import RNN
from nnatomy.layers.module import Module
from nnatomy.random import Generator
from nnatomy.tasks.figures import BLUE, GRAY, GREEN, ORANGE
from nnatomy.tasks.sequence_figures import draw_inputs, example_of, frame, legend, number_steps, step_labels, title_of, unit_map
from nnatomy.tensor import Tensor

Array = NDArray[Any]
UNITS = 10


def draw(model: Module, dataset: Dataset) -> Figure:
    """Gates, cells and reach of the first layer on one test example, next to what was read; forecasts next to the truth."""
    network: Any = getattr(model, "network", model)  # a forecaster has the network inside
    example = example_of(dataset)
    inputs = Tensor(example[0])
    with no_grad():
        seen = network.read(getattr(model, "seen", lambda x: x)(inputs))
        moments = network.lstm.trace(seen)
    gates = {name: part.numpy()[:, 0] for name, part in moments._asdict().items()}  # [time, hidden]
    T = len(gates["c"])
    labels = step_labels(dataset, example[0][0])

    title = title_of("An LSTM", model, dataset, example)
    figure, panels, bars = frame(title, labels, [1.3, 1.7, 1.7, 1.3])
    if labels is None:
        draw_inputs(panels.pop(0), model, dataset, example)
    _averages(panels[0], gates)
    cells = np.tanh(gates["c"])
    units = np.sort(np.argsort(-cells.std(axis=0))[:UNITS])
    kept = "Forget gates of the units whose cells change most: 1 keeps the cell, 0 clears it"
    unit_map(figure, panels[1], bars[-3], gates["f"][:, units], units, kept, "viridis", 0.0)
    held = "What those cells hold, tanh(c): a long band is something remembered"
    unit_map(figure, panels[2], bars[-2], cells[:, units], units, held, "RdBu_r", -1.0)
    _reach(panels[3], network, seen)
    number_steps(panels, dataset, T, labels)
    return figure


def _averages(axes: Any, gates: dict[str, Array]) -> None:
    names = {"f": ("forget gate: keeps", BLUE), "i": ("input gate: writes", ORANGE), "o": ("output gate: shows", GREEN)}
    for gate, (label, color) in names.items():
        axes.plot(gates[gate].mean(axis=1), color=color, label=label, marker=".")
    axes.set(ylim=(0, 1.02), ylabel="mean over units")
    axes.set_title("The gates: how far they stand open", loc="left", fontsize=12)
    legend(axes)
    axes.grid(alpha=0.25)


def _reach(axes: Any, network: LSTMNetwork, seen: Tensor) -> None:
    """The norm of d(last output)/d(input at step t), as a fraction of the largest, next to that of an untrained plain RNN."""
    lstm = network.lstm
    x = Tensor(seen.data, requires_grad=True)
    scores = network.answer(x)[0]
    last = scores[0, -1] if network.readout == "each" else scores[0]
    (last.max() if network.embedding is not None else last.sum()).backward()
    plain = RNN(lstm.inputs, lstm.hidden, batch_first=True, bidirectional=len(lstm.directions) > 1, generator=Generator(0))
    z = Tensor(seen.data, requires_grad=True)
    plain(z)[1].sum().backward()
    for t, label, color in ((x, "this LSTM", BLUE), (z, "plain RNN of its size, untrained", GRAY)):
        assert t.grad is not None
        norms = np.sqrt((t.grad.numpy()[0].astype(np.float64) ** 2).sum(axis=-1))
        axes.plot(np.maximum(norms / max(norms.max(), 1e-300), 1e-12), color=color, label=label, marker=".")
    axes.set(yscale="log", ylim=(1e-6, 2), ylabel="gradient norm")
    axes.set_title("How far back errors reach: gradient of the last answer by the input of each step", loc="left", fontsize=12)
    legend(axes)
    axes.grid(alpha=0.25)
