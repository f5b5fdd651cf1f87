"""Parts of the pictures of networks that read sequences: one test example, its steps, what is read, and maps of units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnatomy.data.dataset import Dataset
from nnatomy.graph import no_grad
from nnatomy.layers.module import Module
from nnatomy.tasks.figures import BLUE, GRAY, GREEN, ORANGE, fit_colors
from nnatomy.tasks.parts import Array
from nnatomy.tensor import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST = 60  # steps up to which each has a label


def example_of(dataset: Dataset) -> tuple[Array, ...]:
    """Return a test example, short enough to be read; its sequence is cut where it ends."""
    lengths = dataset.test.lengths()
    if lengths is not None:
        long_enough = np.flatnonzero((lengths >= 12) & (lengths <= 28))
        chosen = long_enough[:1] if len(long_enough) else np.array([int(lengths.argmax())])
        return dataset.test.take(chosen)
    example = dataset.test.take(np.array([len(dataset.test) // 3]))
    return (example[0][:, :LONGEST], example[1][:, :LONGEST]) if dataset.fields[-1].like == "tokens" else example


def title_of(name: str, model: Module, dataset: Dataset, example: tuple[Array, ...]) -> str:
    """Return what the picture shows; `name` is the network with its article."""
    if dataset.fields[-1].like == "tokens":
        return f"{name} reads {example[0].shape[1]} characters of held-out text"
    if dataset.fields[0].like != "tokens":
        return f"{name} reads a held-out series"
    with no_grad():
        answer = int(model(*[Tensor(a) for a in example[:-1]]).numpy()[0].argmax())
    found, truth = dataset.classes[answer], dataset.classes[int(example[-1][0])]
    return f"{name} reads a held-out sentence, here from left to right, and answers “{found}” (true: “{truth}”)"


def step_labels(dataset: Dataset, tokens: Array) -> list[str] | None:
    """Return the words or characters at the steps; None for numbers."""
    vocabulary = dataset.preprocessing.to_json().get("vocabulary")
    if vocabulary is None:
        return None
    shown = {"\n": "⏎", " ": "␣"}
    return [shown.get(vocabulary[t], vocabulary[t]) for t in tokens]


def frame(title: str, labels: list[str] | None, heights: list[float]) -> tuple[Figure, list[Any], list[Any]]:
    """Return a figure, its panels below each other and, to the right of each, a place for its color bar.

    Where steps have no labels, a first panel is added for the numbers that are read.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 11), layout="constrained")
    figure.suptitle(title, fontsize=14)
    heights = [1.2] * (labels is None) + heights
    grid = figure.subplots(len(heights), 2, height_ratios=heights, width_ratios=(60, 1), squeeze=False)
    for bar in grid[:, 1]:
        bar.axis("off")
    return figure, list(grid[:, 0]), list(grid[:, 1])


def number_steps(panels: list[Any], dataset: Dataset, steps: int, labels: list[str] | None) -> None:
    """Give all panels the same steps: numbers, or the letters or words that are read."""
    for axes in panels:
        axes.set_xlim(-0.5, steps - 0.5)
        if labels is None:
            axes.set_xlabel("step" if axes is panels[-1] else "")
        else:
            words = dataset.fields[0].ragged is not None
            axes.set_xticks(range(steps), labels, rotation=35 if words else 0, ha="right" if words else "center", fontsize=10)
            axes.tick_params(axis="x", length=0)


def draw_inputs(axes: Any, model: Module, dataset: Dataset, example: tuple[Array, ...]) -> None:
    """Draw the numbers that are read; for a forecast the predicted values and the true ones as well."""
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
        legend(axes)
    axes.grid(alpha=0.25)


def legend(axes: Any) -> None:
    """Put the legend above the panel, to the right of its title, where it hides nothing."""
    axes.legend(loc="lower right", bbox_to_anchor=(1.01, 0.95), ncols=4, frameon=False, fontsize=10)


def unit_map(
    figure: Any, axes: Any, bar: Any, values: Array, units: Array, title: str, colors: str, low: float
) -> None:  # fmt: skip
    """Draw values [time, units] from `low` to 1 as colors, one row a unit."""
    bar.axis("on")
    image = axes.imshow(values.T, aspect="auto", cmap=colors, vmin=low, vmax=1, interpolation="nearest")
    axes.set_yticks(range(len(units)), [f"unit {u}" for u in units], fontsize=9)
    axes.set_title(title, loc="left", fontsize=12)
    figure.colorbar(image, cax=bar, extend=fit_colors(image))
