"""The autoencoder's picture: what comes back of the inputs, the map of the codes, and for a series the score over time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure, SubFigure

from nnatomy.architectures.autoencoders.autoencoder.model import Autoencoder
from nnatomy.data.dataset import Dataset, Timeline
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]

BLUE, ORANGE, GREEN, RED = "#2563a8", "#d1662a", "#2e8b57", "#e11d48"
COLORS = (BLUE, ORANGE, GREEN, "#8b5fbf", "#b8860b", "#c2356b", "#1f9aa8", "#7a5230", "#6b7280", "#9bb51f")
EXAMINED = 2000  # test examples that are looked at
COLUMNS = 12


def draw(model: Autoencoder, dataset: Dataset) -> Figure:
    """Inputs above their reconstructions and the map of the codes; for a series also the error of each window over time."""
    batch = dataset.test.take(np.arange(min(EXAMINED, len(dataset.test))))
    x, labels = batch[0], batch[-1]
    with no_grad():
        codes, back = (np.asarray(out.data) for out in (model.encode(Tensor(x)), model(Tensor(x))))
    errors = ((back - x) ** 2).reshape(len(x), -1).mean(axis=1)
    width = codes.shape[1]
    tall = 9.0 if dataset.timeline is None else 9.6
    figure = Figure(figsize=(13, tall), layout="constrained")
    numbers = f"{x[0].size} numbers through a code of {width}"
    name = dataset.name if len(dataset.name) <= 28 else dataset.name[:27] + "…"
    figure.suptitle(f"Autoencoder on {name}: {numbers}; mean squared error {errors.mean():.3f} on test examples", fontsize=14)
    if dataset.timeline is not None:
        _series(figure, model, dataset, x, back, errors, labels)
        return figure
    halves: Any = figure.subfigures(2, 1, height_ratios=(0.75, 1), hspace=0.05)
    above, below = halves
    left, right = below.subplots(1, 2)
    if len(dataset.input_shape) == 3:
        _images(above, dataset, x, back, errors, labels)
        _map(left, codes, labels, dataset.classes)
    else:
        _rows(above, dataset, x, back)
        _map_of_errors(left, codes, errors)
    _strangers(right, model, x, errors)
    return figure


def _images(figure: SubFigure, dataset: Dataset, x: Array, back: Array, errors: Array, labels: Array) -> None:
    """One image a class, others to fill the row, and at the end the worst two."""
    firsts = [int(np.flatnonzero(labels == c)[0]) for c in range(len(dataset.classes)) if (labels == c).any()][: COLUMNS - 2]
    others = [i for i in range(len(x)) if i not in firsts][: COLUMNS - 2 - len(firsts)]
    shown = [*firsts, *others, *np.argsort(-errors, kind="stable")[:2].tolist()]
    to_images: Any = getattr(dataset.preprocessing, "to_images", lambda images: images)
    grid: Any = figure.subplots(2, len(shown), squeeze=False)
    for column, i in enumerate(shown):
        for row, picture in enumerate((to_images(x[i : i + 1])[0], to_images(back[i : i + 1])[0])):
            axes = grid[row, column]
            axes.imshow(picture.transpose(1, 2, 0) if len(picture) == 3 else picture[0], cmap="gray", vmin=0, vmax=1)
            axes.set_xticks([])
            axes.set_yticks([])
        worst = column >= len(shown) - 2
        grid[1, column].set_xlabel(f"error {errors[i]:.2f}", fontsize=10, color=RED if worst else "black")
        if worst:
            grid[0, column].set_title("worst" if column == len(shown) - 2 else "2nd worst", fontsize=10.5, color=RED)
    grid[0, 0].set_ylabel("input", fontsize=11)
    grid[1, 0].set_ylabel("what comes\nback", fontsize=11)
    figure.suptitle("Test images above, their reconstructions below; on the right the two that fail most", fontsize=12.5)


def _rows(figure: SubFigure, dataset: Dataset, x: Array, back: Array) -> None:
    """Rows of a table and their reconstructions as colors."""
    n = min(len(x), 25)
    names = tuple(getattr(dataset.preprocessing, "feature_names", ())) or tuple(f"input {i}" for i in range(x.shape[1]))
    reach = float(np.quantile(np.abs(x[:n]), 0.98)) or 1.0
    grid: Any = figure.subplots(1, 2, sharey=True)
    for axes, values, title in zip(grid, (x, back), ("input", "what comes back")):
        shown = axes.imshow(values[:n], cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto", interpolation="nearest")
        axes.set_title(f"{title}: {n} test rows", fontsize=11)
        labels = [name if len(name) < 18 else name[:17] + "…" for name in names]
        step = -(-len(labels) // 20)
        axes.set_xticks(range(0, len(labels), step), labels[::step], rotation=60, ha="right", fontsize=9)
    grid[0].set_ylabel("row")
    figure.colorbar(shown, ax=grid, label="standardized value")
    figure.suptitle("Rows of the table before and after: what the code could hold, and what it had to drop", fontsize=12.5)


def _plane(codes: Array) -> tuple[Array, tuple[str, str]]:
    """Codes in two dimensions: as they are, or their two main directions; and what the axes are."""
    if codes.shape[1] == 1:
        return np.hstack([codes, np.zeros_like(codes)]), ("the code", "")
    if codes.shape[1] == 2:
        return codes, ("first number of the code", "second number of the code")
    centered = codes - codes.mean(axis=0)
    directions = np.linalg.svd(centered, full_matrices=False)[2][:2]
    return centered @ directions.T, ("first main direction of the codes", "second main direction")


def _map(axes: Axes, codes: Array, labels: Array, classes: tuple[str, ...]) -> None:
    at, (across, up) = _plane(codes)
    for c, name in enumerate(classes[:10]):
        mine = labels == c
        if mine.any():
            axes.scatter(at[mine, 0], at[mine, 1], s=14, color=COLORS[c % 10], alpha=0.7, linewidths=0)
            x, y = np.median(at[mine], axis=0)
            axes.text(x, y, name, fontsize=13, weight="bold", ha="center", va="center",
                      bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": COLORS[c % 10], "alpha": 0.9})  # fmt: skip
    axes.set(xlabel=across, ylabel=up)
    title = "The map of the codes: labels, which were never shown,\nonly color it; like lies beside like"
    axes.set_title(title, fontsize=11.5)


def _map_of_errors(axes: Axes, codes: Array, errors: Array) -> None:
    at, (across, up) = _plane(codes)
    shown = axes.scatter(at[:, 0], at[:, 1], s=22, c=errors, cmap="viridis_r", linewidths=0)
    axes.figure.colorbar(shown, ax=axes, label="error of the row")
    axes.set(xlabel=across, ylabel=up)
    axes.set_title("The map of the codes: each point is a test row", fontsize=11.5)


def _strangers(axes: Axes, model: Autoencoder, x: Array, errors: Array) -> None:
    """Errors of the test examples, and of examples unlike any: the same values, shuffled among the examples."""
    rng = np.random.default_rng(0)
    flat = x.reshape(len(x), -1)
    dealt = np.stack([rng.permutation(column) for column in flat.T], axis=1).reshape(x.shape)
    with no_grad():
        strange = ((np.asarray(model(Tensor(dealt)).data) - dealt) ** 2).reshape(len(x), -1).mean(axis=1)
    low, high = max(min(errors.min(), strange.min()), 1e-6), max(errors.max(), strange.max())
    bins = np.geomspace(low, high, 40 if len(x) > 200 else 16).tolist()
    axes.hist(errors, bins=bins, color=BLUE, alpha=0.75, label="test examples")
    label = "mixed examples: each number taken from\nanother, random test example"
    axes.hist(strange, bins=bins, color=RED, alpha=0.55, label=label)
    axes.set(xscale="log", xlabel="error of an example", ylabel="examples")
    axes.set_title("Examples unlike the training data are\nreconstructed badly: the error shows them", fontsize=11.5)
    axes.legend(fontsize=9.5, frameon=False, loc="upper left")
    axes.set_ylim(0, 1.25 * axes.get_ylim()[1])  # space for the legend


# A series


def _series(
    figure: Figure, model: Autoencoder, dataset: Dataset, x: Array, back: Array, errors: Array, labels: Array
) -> None:
    line = dataset.timeline
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.7, 1), hspace=0.04)
    held = dataset.validation.all()[0]
    with no_grad():
        usual = ((np.asarray(model(Tensor(held)).data) - held) ** 2).reshape(len(held), -1).mean(axis=1)
    if line is not None:
        _score_over_time(parts[0], line, errors, float(usual.max()))
    order = np.argsort(errors, kind="stable")
    chosen = [(int(order[len(order) // 4]), "an ordinary window")]
    chosen += [(int(order[-1 - len(order) // 50]), "a window with a high score")]
    marked = np.flatnonzero(labels == 1)
    if len(marked):
        marked = marked[np.argsort(errors[marked], kind="stable")]
        chosen[1] = (int(marked[int(0.75 * len(marked))]), "a window labeled as a failure")
    panels: Any = parts[1].subplots(1, 2, sharey=True)
    for axes, (i, what) in zip(panels, chosen):
        axes.plot(x[i][:, 0], color="black", lw=1.6, label="input")
        axes.plot(back[i][:, 0], color=ORANGE, lw=1.6, label="what comes back")
        axes.fill_between(range(len(x[i])), x[i][:, 0], back[i][:, 0], color=ORANGE, alpha=0.2, linewidth=0)
        when = "" if line is None else f", from {str(line.times[line.test_starts[i]])[:16].replace('T', ' ')}"
        axes.set_title(f"{what[0].upper()}{what[1:]}{when}: error {errors[i]:.2f}", fontsize=11)
        axes.set(xlabel="row of the window")
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("standardized value")
    panels[0].legend(fontsize=10, frameon=False)


def _score_over_time(figure: SubFigure, line: Timeline, errors: Array, usual: float) -> None:
    top, bottom = figure.subplots(2, 1, sharex=True)
    top.plot(line.times, line.values[:, 0], color=BLUE, lw=0.8)
    shaded = "; stretches labeled as failures are shaded" if line.labeled else ""
    top.set_title(f"The series “{line.columns[0]}”{shaded}", fontsize=11.5)
    starts = line.test_starts[: len(errors)]
    middles = line.times[np.minimum(starts + line.window // 2, len(line.times) - 1)]
    bottom.plot(middles, errors, ".", color=ORANGE, ms=4, label="error of a test window, at its middle")
    bottom.axhline(usual, color="black", ls="--", lw=1, label="largest error on the normal windows held out from training")
    bottom.set(yscale="log", ylabel="error")
    title = "The anomaly score: how badly each window comes back; windows of the training part have none"
    bottom.set_title(title, fontsize=11.5)
    bottom.legend(fontsize=9.5, loc="upper left", ncols=2)
    low, high = bottom.get_ylim()
    bottom.set_ylim(low, high * 4)  # space for the legend
    for axes in (top, bottom):
        for start, stop in line.labeled:
            axes.axvspan(np.datetime64(start), np.datetime64(stop), color=RED, alpha=0.15, linewidth=0)
        axes.grid(alpha=0.25)
    locator = AutoDateLocator()
    bottom.xaxis.set_major_locator(locator)
    bottom.xaxis.set_major_formatter(ConciseDateFormatter(locator))
