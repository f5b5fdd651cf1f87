"""The spiking network's picture: all spikes that one image causes, with membranes; or what spike timing has learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nnatomy.architectures.hybrid.snn.model import SNN, SURROGATES, Moment, STDPLayer, intensities
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import select
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]

BLUE, ORANGE, GREEN, GRAY, INK = "#2563a8", "#d1662a", "#2e8b57", "#6b7280", "#1f2937"
COLORS = ("#2563a8", "#d1662a", "#2e8b57", "#8b5fbf", "#b8860b", "#c2356b", "#1f9aa8", "#7a5230", "#111827", "#8aa80c")
NEURONS = 3  # hidden neurons whose membranes are drawn
SHOWN = 64  # neurons of an STDP layer whose weights are drawn
TRIED = 50  # test examples of which the first that is classified rightly is drawn


def draw(model: SNN | STDPLayer, dataset: Dataset) -> Figure:
    """Draw one test example on its way through the network, in evaluation mode."""
    x, y = select(dataset.test.fields, dataset.test.take(np.arange(min(TRIED, len(dataset.test)))), "input", "target")
    with no_grad():
        right = np.flatnonzero(np.asarray(model(Tensor(x)).data).argmax(axis=1) == y)
        place = int(right[0]) if len(right) else 0
        example, true = x[place : place + 1], int(y[place])
        if isinstance(model, STDPLayer):
            return _timing(model, dataset, example, true)
        return _spikes(model, dataset, example, true)


def _image(axes: Axes, model: SNN | STDPLayer, x: Array, title: str) -> None:
    p = np.asarray(intensities(Tensor(x), model.mean, model.std).data).reshape(x.shape[1:])
    picture = np.moveaxis(p, 0, -1) if p.ndim == 3 else np.atleast_2d(p)
    axes.imshow(picture[..., 0] if picture.ndim == 3 and picture.shape[-1] != 3 else picture, cmap="gray_r", vmin=0, vmax=1)
    axes.set(title=title, xticks=[], yticks=[])


# All spikes of one example


def _spikes(model: SNN, dataset: Dataset, x: Array, true: int) -> Figure:
    model.eval()
    moments = list(model.path(Tensor(x)))
    traces = {name: np.stack([np.asarray(getattr(m, name).data)[0] for m in moments]) for name in Moment._fields}
    scores = np.asarray(model(Tensor(x)).data)[0]
    figure = Figure(figsize=(11.5, 10.2), layout="constrained")
    figure.suptitle(f"Spiking network on {dataset.name}: one image, {model.steps} time steps", fontsize=14)
    columns: Any = figure.subfigures(1, 2, width_ratios=(1, 2.9))
    left, right = columns
    above, middle, below = left.subplots(3, 1, height_ratios=(1.15, 1, 1.35))
    _image(above, model, x, f"Input: class “{dataset.classes[true]}”")
    _slope(middle, model)
    _scores(below, model, scores, dataset.classes, true)
    panels = right.subplots(4, 1, sharex=True, height_ratios=(1.25, 1.25, 1.7, 1.25))
    _inputs(panels[0], model, traces["inputs"])
    _raster(panels[1], traces["hidden"], BLUE)
    panels[1].set(
        title=f"Hidden spikes: {int(traces['hidden'].sum())} of {traces['hidden'].size} possible", ylabel="hidden neuron"
    )
    _membranes(panels[2], model, traces["hidden_membrane"], traces["hidden"])
    _outputs(panels[3], model, traces, dataset.classes, true)
    panels[3].set(xlabel="time step", xlim=(0.3, model.steps + 0.7))
    panels[3].xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _raster(axes: Axes, spikes: Array, color: str, marks: list[str] | None = None) -> None:
    """One row a neuron, one tick a spike; `marks`: a color for each row."""
    for neuron in range(spikes.shape[1]):
        at = np.flatnonzero(spikes[:, neuron]) + 1
        axes.vlines(at, neuron - 0.42, neuron + 0.42, color=color if marks is None else marks[neuron], lw=1.8)
    axes.set_ylim(spikes.shape[1] - 0.4, -0.6)


def _inputs(axes: Axes, model: SNN, inputs: Array) -> None:
    if model.coding == "direct":
        axes.imshow(
            inputs.T, cmap="gray_r", aspect="auto", interpolation="nearest", extent=(0.5, len(inputs) + 0.5, inputs.shape[1], 0)
        )
        axes.set(title="Input: the same current at every step", ylabel="input")
        return
    _raster(axes, inputs, INK)
    told = "the brighter a pixel, the more spikes" if model.coding == "rate" else "the brighter a pixel, the earlier its spike"
    axes.set(title=f"Input spikes: {told}", ylabel="input")


def _membranes(axes: Axes, model: SNN, membranes: Array, spikes: Array) -> None:
    """Hidden neurons that fire neither never nor always; a membrane's peak above the threshold is a spike."""
    counts = spikes.sum(axis=0)
    busy = np.argsort(np.abs(counts - len(spikes) / 4), kind="stable")[:NEURONS]
    threshold, steps = float(model.lif1.threshold.numpy()), np.arange(1, len(membranes) + 1)
    for color, neuron in zip((ORANGE, GREEN, BLUE), busy, strict=False):
        axes.plot(steps, membranes[:, neuron], color=color, lw=1.6, marker="o", ms=3, label=f"neuron {neuron}")
        fired = spikes[:, neuron] > 0
        axes.plot(steps[fired], membranes[fired, neuron], "^", color=color, ms=9)
    axes.axhline(threshold, color=INK, ls="--", lw=1)
    axes.text(0.4, threshold, "threshold", va="bottom", fontsize=9, color=INK)
    axes.set(title="Membranes of three hidden neurons: each triangle is a spike, and the reset follows", ylabel="membrane U")
    axes.legend(frameon=False, fontsize=9, ncols=3, loc="lower right")
    axes.grid(alpha=0.25)


def _outputs(axes: Axes, model: SNN, traces: dict[str, Array], classes: tuple[str, ...], true: int) -> None:
    marks = [ORANGE if label == true else GRAY for label in range(len(classes))]
    if model.readout == "count":
        _raster(axes, traces["output"], GRAY, marks)
        axes.set(title="Output spikes: the class with the most is the prediction", ylabel="class")
    else:
        for label, color in enumerate(marks):
            axes.plot(
                np.arange(1, model.steps + 1), traces["output_membrane"][:, label], color=color, lw=2 if label == true else 1
            )
        axes.set(title="Output membranes: the greatest value of each is its score", ylabel="membrane U")
        return
    if len(classes) <= 12:
        axes.set_yticks(range(len(classes)), [name[:10] for name in classes], fontsize=9)


def _scores(axes: Axes, model: SNN, scores: Array, classes: tuple[str, ...], true: int) -> None:
    shown = np.sort(np.argsort(-scores, kind="stable")[:10])
    bars = axes.barh(range(len(shown)), scores[shown], color=[ORANGE if label == true else GRAY for label in shown])
    axes.bar_label(bars, fmt="%.0f" if model.readout == "count" else "%.1f", padding=3, fontsize=9)
    axes.set_yticks(range(len(shown)), [classes[label][:10] for label in shown])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set(title="Spikes of each class" if model.readout == "count" else "Greatest membrane", ylabel="class")


def _slope(axes: Axes, model: SNN) -> None:
    """The step that the forward pass takes, and the slope that the backward pass uses in its place."""
    lif = model.lif1
    h, usual = SURROGATES[lif.surrogate]
    u = np.linspace(-1.5, 1.5, 301, dtype=np.float32)
    slope = np.asarray(h(Tensor(u), usual if lif.slope is None else lif.slope).data)
    axes.plot(u[u <= 0], 0 * u[u <= 0], color=INK, lw=2)
    axes.plot(u[u > 0], 0 * u[u > 0] + 1, color=INK, lw=2, label="spike (forward)")
    axes.fill_between(u, slope, color=ORANGE, alpha=0.25)
    axes.plot(u, slope, color=ORANGE, lw=1.8, label="its slope (backward)")
    axes.set(title="The surrogate", xlabel="U − threshold", ylim=(-0.05, max(1.0, float(slope.max())) * 1.5))
    axes.legend(frameon=False, fontsize=9, loc="upper left")


# What spike timing has learned


def _timing(model: STDPLayer, dataset: Dataset, x: Array, true: int) -> Figure:
    moments = [(np.asarray(s.data)[0], np.asarray(e.data)[0]) for s, e in model.path(Tensor(x))]
    spikes, excess = np.stack([s for s, _ in moments]), np.stack([e for _, e in moments])
    labels = model.labels.numpy()[:, 0].astype(int)
    figure = Figure(figsize=(11.5, 8.6), layout="constrained")
    figure.suptitle(f"Spike timing on {dataset.name}: {len(labels)} neurons learn without classes", fontsize=14)
    halves: Any = figure.subfigures(2, 1, height_ratios=(1, 1.05), hspace=0.03)
    _fields(halves[0], model, dataset, labels)
    below = halves[1].subplots(1, 3, width_ratios=(0.8, 1.4, 1.6))
    _image(below[0], model, x, f"Input: class “{dataset.classes[true]}”")
    _raster(below[1], spikes, INK)
    below[1].set(title="Input spikes: the stronger an input, the earlier", xlabel="time step", ylabel="ON, then OFF inputs")
    _race(below[2], excess, labels, dataset.classes)
    return figure


def _fields(figure: Any, model: STDPLayer, dataset: Dataset, labels: Array) -> None:
    """Each neuron's ON weights less its OFF weights, as an image, by label."""
    on, off = np.split(model.weight.numpy(), 2, axis=1)
    order = np.argsort(labels, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(SHOWN, len(order))).astype(int))]
    columns = min(16, len(chosen))
    grid = np.atleast_2d(
        figure.subplots(-(-len(chosen) // columns), columns, squeeze=False, gridspec_kw={"hspace": 0.0, "wspace": 0.05})
    )
    shape = dataset.input_shape[-2:] if len(dataset.input_shape) > 1 else (1, dataset.input_shape[0])
    for axes in grid.ravel():
        axes.set_axis_off()
    for axes, neuron in zip(grid.ravel(), chosen, strict=False):
        field = (on - off)[neuron].reshape(-1, *shape).mean(axis=0)
        axes.imshow(field, cmap="RdBu_r", vmin=-1, vmax=1)
        axes.set_title(dataset.classes[labels[neuron]][:6] if labels[neuron] >= 0 else "–", fontsize=9, pad=2)
    figure.suptitle(
        "What each neuron waits for: ON weights (red) less OFF weights (blue), and the class that it wins most", fontsize=11
    )


def _race(axes: Axes, excess: Array, labels: Array, classes: tuple[str, ...]) -> None:
    """All membranes until the first one passes its threshold."""
    end = int((excess > 0).any(axis=1).argmax()) if (excess > 0).any() else len(excess) - 1
    winner = int(excess[end].argmax())
    steps = np.arange(1, end + 2)
    axes.plot(steps, excess[: end + 1], color=GRAY, lw=0.7, alpha=0.5, marker="o", ms=2)
    axes.plot(steps, excess[: end + 1, winner], color=ORANGE, lw=2.2, marker="o", ms=4)
    axes.axhline(0, color=INK, ls="--", lw=1)
    name = classes[labels[winner]] if labels[winner] >= 0 else "none"
    axes.plot(steps[-1], excess[end, winner], "^", color=ORANGE, ms=10, label=f"neuron {winner} fires first: class “{name}”")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    axes.set(title="Race of the membranes", xlabel="time step", ylabel="U − threshold", xlim=(0.5, len(excess) + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
