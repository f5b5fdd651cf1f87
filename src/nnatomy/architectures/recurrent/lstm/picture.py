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
from nnatomy.tasks.figures import fit_colors
from nnatomy.tensor import Tensor

Array = NDArray[Any]
BLUE, ORANGE, GREEN, GRAY = "#2563a8", "#d1662a", "#2e8b57", "#6b7280"
LONGEST = 60  # steps up to which each has a label
UNITS = 10


def draw(model: Module, dataset: Dataset) -> Figure:
    """Gates, cells and reach of the first layer on one test example, next to what was read; forecasts next to the truth."""
    network: Any = getattr(model, "network", model)  # a forecaster has the network inside
    example = _example(dataset)
    inputs = Tensor(example[0])
    with no_grad():
        seen = network.read(getattr(model, "seen", lambda x: x)(inputs))
        moments = network.lstm.trace(seen)
    gates = {name: part.numpy()[:, 0] for name, part in moments._asdict().items()}  # [time, hidden]
    T = len(gates["c"])
    labels = _labels(dataset, example[0][0])

    figure = Figure(figsize=(12.5, 11), layout="constrained")
    figure.suptitle(_title(model, dataset, example), fontsize=14)
    heights = [1.2] * (labels is None) + [1.3, 1.7, 1.7, 1.3]
    grid = figure.subplots(len(heights), 2, height_ratios=heights, width_ratios=(60, 1), squeeze=False)
    panels, bars = list(grid[:, 0]), list(grid[:, 1])
    for empty in bars[:-3] + bars[-1:]:
        empty.axis("off")
    if labels is None:
        _inputs(panels.pop(0), model, dataset, example)
    _averages(panels[0], gates)
    cells = np.tanh(gates["c"])
    units = np.sort(np.argsort(-cells.std(axis=0))[:UNITS])
    kept = "Forget gates of the units whose cells change most: 1 keeps the cell, 0 clears it"
    _map(figure, panels[1], bars[-3], gates["f"][:, units], units, kept, "viridis", 0.0)
    held = "What those cells hold, tanh(c): a long band is something remembered"
    _map(figure, panels[2], bars[-2], cells[:, units], units, held, "RdBu_r", -1.0)
    _reach(panels[3], network, seen)
    for axes in panels:
        axes.set_xlim(-0.5, T - 0.5)
        if labels is None:
            axes.set_xlabel("step" if axes is panels[-1] else "")
        else:
            words = dataset.fields[0].ragged is not None
            axes.set_xticks(range(T), labels, rotation=35 if words else 0, ha="right" if words else "center", fontsize=10)
            axes.tick_params(axis="x", length=0)
    return figure


def _example(dataset: Dataset) -> tuple[Array, ...]:
    """One test example, short enough to be read; its sequence is cut where it ends."""
    lengths = dataset.test.lengths()
    if lengths is not None:
        long_enough = np.flatnonzero((lengths >= 12) & (lengths <= 28))
        chosen = long_enough[:1] if len(long_enough) else np.array([int(lengths.argmax())])
        return dataset.test.take(chosen)
    example = dataset.test.take(np.array([len(dataset.test) // 3]))
    return (example[0][:, :LONGEST], example[1][:, :LONGEST]) if dataset.fields[-1].like == "tokens" else example


def _title(model: Module, dataset: Dataset, example: tuple[Array, ...]) -> str:
    if dataset.fields[-1].like == "tokens":
        return f"An LSTM reads {example[0].shape[1]} characters of held-out text"
    if dataset.fields[0].like != "tokens":
        return "An LSTM reads a held-out series"
    with no_grad():
        answer = int(model(*[Tensor(a) for a in example[:-1]]).numpy()[0].argmax())
    found, truth = dataset.classes[answer], dataset.classes[int(example[-1][0])]
    return f"An LSTM reads a held-out sentence, here from left to right, and answers “{found}” (true: “{truth}”)"


def _labels(dataset: Dataset, tokens: Array) -> list[str] | None:
    """The words or characters at the steps; None for numbers."""
    vocabulary = dataset.preprocessing.to_json().get("vocabulary")
    if vocabulary is None:
        return None
    shown = {"\n": "⏎", " ": "␣"}
    return [shown.get(vocabulary[t], vocabulary[t]) for t in tokens]


def _inputs(axes: Any, model: Module, dataset: Dataset, example: tuple[Array, ...]) -> None:
    """The numbers that are read; for a forecast the predicted values and the true ones as well."""
    x, target = example[0][0], example[-1][0]
    with no_grad():
        answer = model(Tensor(example[0])).numpy()[0]
    steps = np.arange(len(x))
    saved = dataset.preprocessing.to_json()
    if saved.get("horizon"):
        column = saved["columns"].index(saved["targets"][0])
        in_units = dataset.preprocessing.inverse_targets
        past, future, guess = (in_units(a.reshape(-1, 1))[:, 0] for a in (x[:, column], target, answer))
        ahead = len(x) + np.arange(len(future))
        axes.plot(steps, past, color=GRAY, label="past, which it reads")
        axes.plot(ahead, future, color=GREEN, label="true future")
        axes.plot(ahead, guess, color=ORANGE, label="predicted")
        axes.axvline(len(x) - 0.5, color=GRAY, ls="--", lw=1)
        axes.set_title(f"{saved['targets'][0]}: what the network reads and predicts", loc="left", fontsize=12)
    else:
        marked = x.shape[1] == 2 and set(np.unique(x[:, 1])) <= {0.0, 1.0}
        for column in range(1 if marked else min(x.shape[1], 6)):
            axes.plot(steps, x[:, column], marker=".", lw=1, color=None if x.shape[1] > 2 else BLUE)
        true, found = (float(dataset.preprocessing.inverse_targets(a.reshape(1, -1))[0, 0]) for a in (target, answer))
        title = f"What the network reads; after the last step it answers {found:.2f} (true: {true:.2f})"
        if marked:
            at = np.flatnonzero(x[:, 1])
            axes.plot(at, x[at, 0], "o", ms=10, color=ORANGE, label="marked: the answer is their sum")
        axes.set_title(title, loc="left", fontsize=12)
        axes.set_xlim(-0.5, len(x) - 0.5)
    if axes.get_legend_handles_labels()[0]:
        _legend(axes)
    axes.grid(alpha=0.25)


def _legend(axes: Any) -> None:
    """Above the panel, to the right of its title, where it hides nothing."""
    axes.legend(loc="lower right", bbox_to_anchor=(1.01, 0.95), ncols=4, frameon=False, fontsize=10)


def _averages(axes: Any, gates: dict[str, Array]) -> None:
    names = {"f": ("forget gate: keeps", BLUE), "i": ("input gate: writes", ORANGE), "o": ("output gate: shows", GREEN)}
    for gate, (label, color) in names.items():
        axes.plot(gates[gate].mean(axis=1), color=color, label=label, marker=".")
    axes.set(ylim=(0, 1.02), ylabel="mean over units")
    axes.set_title("The gates: how far they stand open", loc="left", fontsize=12)
    _legend(axes)
    axes.grid(alpha=0.25)


def _map(
    figure: Figure, axes: Any, bar: Any, values: Array, units: Array, title: str, colors: str, low: float
) -> None:  # fmt: skip
    image = axes.imshow(values.T, aspect="auto", cmap=colors, vmin=low, vmax=1, interpolation="nearest")
    axes.set_yticks(range(len(units)), [f"unit {u}" for u in units], fontsize=9)
    axes.set_title(title, loc="left", fontsize=12)
    figure.colorbar(image, cax=bar, extend=fit_colors(image))


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
    _legend(axes)
    axes.grid(alpha=0.25)
