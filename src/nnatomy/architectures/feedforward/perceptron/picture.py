"""The perceptron's picture: above, what the trained units look for; below, how the rule moves a line, and when it rests."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from nnatomy.architectures.feedforward.perceptron.model import Perceptron, learn
from nnatomy.data.dataset import Dataset

Array = npt.NDArray[Any]

COLORS = ("#2563a8", "#d1662a", "#2e8b57", "#8b5fbf", "#b8860b", "#c2356b", "#1f9aa8", "#7a5230", "#6b7280", "#9bb51f")
EPOCHS = 30  # of the small experiments
SHOWN = 14  # features of a table, strongest first


def draw(model: Perceptron, dataset: Dataset) -> Figure:
    """The weights and scores of `model` on the test split, and three small experiments with Rosenblatt's rule."""
    images = len(dataset.input_shape) == 3
    figure = Figure(figsize=(12, 9.4 if images and model.weight.shape[0] > 6 else 8.6), layout="constrained")
    figure.suptitle(f"Perceptron on {dataset.name}: above, what it has learned; below, how its rule learns", fontsize=14)
    halves: Any = figure.subfigures(2, 1, height_ratios=(1.15, 1), hspace=0.04)
    above, below = halves
    if images:
        _weights_as_images(above, model, dataset)
    else:
        left, right = above.subplots(1, 2)
        if dataset.input_shape == (2,):
            _plane(left, model, dataset)
        else:
            _weights_of_features(left, model, dataset)
        _scores(right, model, dataset)
    _how_it_learns(below)
    return figure


# What the trained units look for


def _weights_as_images(figure: SubFigure, model: Perceptron, dataset: Dataset) -> None:
    channels, height, width = dataset.input_shape
    pictures = model.weight.numpy().reshape(-1, channels, height, width).mean(axis=1)
    names = dataset.classes if len(pictures) > 1 else dataset.classes[1:]
    pictures, names = pictures[:16], names[:16]
    columns = min(len(pictures), 8 if len(pictures) > 10 else 5)
    grid = figure.subplots(-(-len(pictures) // columns), columns, squeeze=False)
    reach = float(np.abs(pictures).max()) or 1.0
    for axes in grid.flat:
        axes.axis("off")
    for axes, picture, name in zip(grid.flat, pictures, names):
        shown = axes.imshow(picture, cmap="RdBu_r", vmin=-reach, vmax=reach)
        axes.set_title(f"unit for “{name}”", fontsize=10)
    figure.colorbar(shown, ax=grid, shrink=0.8, ticks=[-reach, 0, reach], label="weight").ax.set_yticklabels(
        ["against", "0", "for"]
    )
    title = "The weights of each unit: a bright pixel speaks for its class where the weight is red, against it where it is blue"
    figure.suptitle(title, fontsize=11)


def _weights_of_features(axes: Axes, model: Perceptron, dataset: Dataset) -> None:
    weights = model.weight.numpy()
    names = np.array(_feature_names(dataset))
    strongest = np.argsort(np.abs(weights).max(axis=0), kind="stable")[::-1][:SHOWN][::-1]
    labels = [name if len(name) <= 26 else name[:25] + "…" for name in names[strongest]]
    if len(weights) == 1:
        chosen = weights[0, strongest]
        no, yes = dataset.classes
        axes.barh(range(len(chosen)), chosen, color=np.where(chosen > 0, COLORS[1], COLORS[0]))
        axes.axvline(0, color="black", lw=0.8)
        axes.set_xlabel(f"weight:  ← a large value speaks for “{no}”   |   for “{yes}” →")
    else:
        chosen = weights[:, strongest].T
        reach = float(np.abs(chosen).max()) or 1.0
        shown = axes.imshow(chosen, cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto", origin="lower")
        axes.set_xticks(range(len(weights)), dataset.classes, rotation=0 if len(weights) <= 5 else 60)
        axes.set_xlabel("unit (one for each class)")
        axes.figure.colorbar(shown, ax=axes, label="weight (red: for, blue: against)")
    axes.set_yticks(range(len(strongest)), labels, fontsize=9)
    few = f"{len(strongest)} largest of {len(names)} weights" if len(names) > len(strongest) else "weights"
    axes.set_title(f"What counts: the {few}", fontsize=11)


def _feature_names(dataset: Dataset) -> tuple[str, ...]:
    names = tuple(getattr(dataset.preprocessing, "feature_names", ()))
    return names or tuple(f"input {i}" for i in range(int(np.prod(dataset.input_shape))))


def _plane(axes: Axes, model: Perceptron, dataset: Dataset) -> None:
    """The plane of two inputs: which class the units choose where, and the test examples."""
    x, y = dataset.test.all()
    low, high = x.min(axis=0) - 0.4, x.max(axis=0) + 0.4
    across, up = np.meshgrid(np.linspace(low[0], high[0], 200), np.linspace(low[1], high[1], 200))
    s = np.stack([across, up], axis=-1) @ model.weight.numpy().T + model.bias.numpy()
    chosen = (s[..., 0] > 0).astype(int) if s.shape[-1] == 1 else s.argmax(axis=-1)
    axes.contourf(across, up, chosen, levels=np.arange(-0.5, len(dataset.classes)), colors=COLORS, alpha=0.18)
    for i, name in enumerate(dataset.classes):
        across, up = x[y == i].T
        size = 18 if len(x) > 8 else 90
        axes.scatter(across, up, size, color=COLORS[i % 10], label=name, edgecolors="white", linewidths=0.4)
    first, second = _feature_names(dataset)
    axes.set(xlabel=first, ylabel=second, xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes.set_title("Which class is chosen where (shaded), and the test examples", fontsize=11)
    axes.legend(fontsize=9, title="true class", loc="upper right", framealpha=0.9)


def _scores(axes: Axes, model: Perceptron, dataset: Dataset) -> None:
    """Draw the distances of the test examples from the threshold."""
    x, y = dataset.test.all()
    s = x.reshape(len(x), -1) @ model.weight.numpy().T + model.bias.numpy()
    if s.shape[1] == 1:
        low, high = (float(s.min()), float(s.max())) if np.ptp(s) > 0 else (-1.0, 1.0)
        for i, name in enumerate(dataset.classes):
            axes.hist(s[y == i, 0], bins=30, range=(low, high), color=COLORS[i], alpha=0.65, label=f"truly “{name}”")
        axes.set(xlabel="score  s = w · x + b", ylabel="test examples")
        right = ((s[:, 0] > 0) == y).mean()
    else:
        rng = np.random.default_rng(0)
        for i in range(s.shape[1]):
            for own, color, label in ((False, "#b9bec7", "other classes"), (True, COLORS[0], "the unit's own class")):
                values = s[(y == i) == own, i]
                heights = i + rng.uniform(-0.28, 0.28, len(values))
                axes.scatter(values, heights, s=9, color=color, label=label if i == 0 else None)
        axes.set_yticks(range(s.shape[1]), dataset.classes)
        axes.set(xlabel="score of the unit", ylabel="unit (one for each class)")
        right = (s.argmax(axis=1) == y).mean()
    axes.axvline(0, color="black", lw=1.2, ls="--", label="threshold: fires to the right")
    axes.set_title(f"Scores of the test examples ({right:.1%} chosen rightly)", fontsize=11)
    axes.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, frameon=False)


# How the rule learns: the same three small experiments whatever the data


def _how_it_learns(figure: SubFigure) -> None:
    left, middle, right = figure.subplots(1, 3)
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (300, 2))
    above = x[:, 1] - 0.5 * x[:, 0] - 0.3  # of a slanted line
    x, above = x[abs(above) > 0.08][:60], above[abs(above) > 0.08][:60]
    separated, mistakes = _followed(x, above > 0, epochs=EPOCHS)
    _moving_line(left, x, above > 0, separated)
    left.set_title(f"A line can separate these points: after {len(separated)}\ncorrections all are right", fontsize=11)
    x = rng.uniform(-1, 1, (60, 2))
    exclusive = (x[:, 0] > 0) != (x[:, 1] > 0)
    cycling, never = _followed(x, exclusive, epochs=EPOCHS)
    _moving_line(middle, x, exclusive, cycling)
    middle.set_title("No line can part XOR: the last 24 of\n" f"{len(cycling)} corrections, and no end", fontsize=11)
    epochs = range(1, EPOCHS + 1)
    right.plot(epochs, mistakes, marker="o", ms=4, color=COLORS[2], label="left: a line exists")
    right.plot(epochs, never, marker="s", ms=4, color=COLORS[5], label="middle: XOR")
    right.set(xlabel="epoch (once through all 60 points)", ylabel="mistakes", ylim=(-1, None))
    right.set_title("Mistakes in each epoch: they end\nif a line exists, and only then", fontsize=11)
    right.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False)
    right.grid(alpha=0.25)


def _followed(x: Array, y: Array, epochs: int) -> tuple[list[Array], list[int]]:
    """(w1, w2, b) after each correction, and the mistakes of each epoch."""
    unit = Perceptron(2)
    lines, mistakes = [], []
    for _ in range(epochs):
        count = 0
        for n in range(len(x)):
            if learn(unit, x[n : n + 1], y[n : n + 1], epochs=1, pocket=False)[0]:
                lines.append(np.append(unit.weight.numpy(), unit.bias.numpy()))
                count += 1
        mistakes.append(count)
    return lines, mistakes


def _moving_line(axes: Axes, x: Array, fires: Array, lines: list[Array]) -> None:
    """Points of two classes and the last 24 lines w · x + b = 0 in the order in which they came: from pale to dark."""
    ends = np.array((-1.1, 1.1))
    drawn = [line for line in lines if np.abs(line[:2]).max() > 0][-24:]
    for i, (a, b, c) in enumerate(drawn):
        age = (i + 1) / len(drawn)
        last = i == len(drawn) - 1
        across, up = (ends, -(a * ends + c) / b) if abs(b) > abs(a) else (-(b * ends + c) / a, ends)
        label = "last line" if last else "lines before it" if i == len(drawn) // 2 else None
        axes.plot(across, up, color="black", alpha=1.0 if last else 0.05 + 0.45 * age**2, lw=2.2 if last else 1.1, label=label)
    for i, marker in enumerate("os"):
        across, up = x[fires == bool(i)].T
        axes.scatter(across, up, 28, color=COLORS[i], marker=marker, edgecolors="white", linewidths=0.6, zorder=3,
                     label=("should stay silent", "should fire")[i])  # fmt: skip
    axes.set(xlim=ends, ylim=ends, aspect="equal", xlabel="input 1", ylabel="input 2")
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False)
