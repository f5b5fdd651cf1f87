"""LeNet-5's picture: the filters it has learned, one image on its way through the layers, and images that it misread."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure, SubFigure

from nnatomy.architectures.convolutional.lenet5.model import ACTIVATIONS, LeNet5, LeNet5Paper, squash
from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds import kind_of
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]

BLUE, ORANGE = "#2563a8", "#d1662a"
LAYERS = ("c1", "s2", "c3", "s4", "c5", "f6")
EXAMINED = 2000  # test images that are searched for misread ones
SHOWN = 10


def draw(model: LeNet5 | LeNet5Paper, dataset: Dataset) -> Figure:
    """The kernels of C1 and the way of one test image (above), and the misread test images (below)."""
    x, y = dataset.test.take(np.arange(min(EXAMINED, len(dataset.test))))
    p = _probabilities(model, x)
    chosen = p.argmax(axis=1)
    example = int(np.argmax(np.where(chosen == y, p.max(axis=1), -1)))  # one that is read with confidence
    figure = Figure(figsize=(13, 12.8), layout="constrained")
    accuracy = f"{(chosen == y).mean():.1%} of {len(y):,} test images read rightly"
    figure.suptitle(f"LeNet-5 on {dataset.name}: {accuracy}", fontsize=15)
    parts: Any = figure.subfigures(4, 1, height_ratios=(1.25, 4.3, 1.9, 2.0), hspace=0.03)
    _filters(parts[0], model)
    activity = _activity(model, x[example : example + 1])
    look: Any = kind_of(dataset).look(dataset)
    _journey(parts[1], look.picture(x[example]), activity)
    _answer(parts[2], model, activity, p[example], int(y[example]), dataset.classes)
    _misread(parts[3], [look.picture(image) for image in x], y, p, dataset)
    return figure


def _probabilities(model: LeNet5 | LeNet5Paper, x: Array) -> Array:
    """One row an image, softmax of the scores."""
    with no_grad():
        out = np.concatenate([np.asarray(model(Tensor(x[i : i + 256])).data) for i in range(0, len(x), 256)])
    scores = -out if isinstance(model, LeNet5Paper) and not model.scores else out
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def _activity(model: LeNet5 | LeNet5Paper, x: Array) -> dict[str, Array]:
    """Return each layer's output for one image, after its activation: maps [maps, height, width] or values [units]."""
    found: dict[str, Array] = {}

    def after(name: str) -> Any:
        if isinstance(model, LeNet5Paper):
            act: Any = squash
        else:
            act = ACTIVATIONS[model.activation] if name not in ("s2", "s4") else np.asarray

        def hook(layer: Any, args: Any, out: Any) -> None:
            found[name] = np.asarray(act(np.asarray(out.data)))[0]

        return hook

    handles = [getattr(model, name).register_forward_hook(after(name)) for name in LAYERS]
    try:
        with no_grad():
            model(Tensor(x))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _filters(figure: SubFigure, model: LeNet5 | LeNet5Paper) -> None:
    kernels = model.c1.weight.numpy().mean(axis=1)  # over the colors
    reach = float(np.abs(kernels).max()) or 1.0
    axes = figure.subplots()
    shown = axes.imshow(_row(kernels, gap=2), cmap="RdBu_r", vmin=-reach, vmax=reach)
    axes.set_axis_off()
    bar = figure.colorbar(shown, ax=axes, ticks=[-reach, 0, reach], shrink=0.9)
    bar.ax.set_yticklabels(["fires on dark", "0", "fires on bright"], fontsize=10)
    figure.suptitle("What C1 looks for: six filters of 5 x 5 weights, slid over the whole image", fontsize=12.5)


def _row(maps: Array, gap: int) -> Array:
    """Maps side by side, with nothing between them."""
    space = np.full((maps.shape[1], gap), np.nan)
    return np.hstack([part for one in maps for part in (one, space)][:-1])


def _journey(figure: SubFigure, image: Array, activity: dict[str, Array]) -> None:
    title = "One test image on its way: after C1 and C3 (convolution) and S2 and S4 (pooling); bright is active"
    figure.suptitle(title, fontsize=12.5)
    axes: Any = figure.subplot_mosaic(
        [["input", "c1"], ["input", "s2"], ["input", "c3"], ["input", "s4"]],
        width_ratios=(1, 6.2), height_ratios=(1.5, 1.5, 0.62, 0.62),
    )  # fmt: skip
    axes["input"].imshow(image, cmap="gray")
    axes["input"].set_title("input", fontsize=11)
    axes["input"].set_axis_off()
    for name, gap in zip(LAYERS, (3, 2, 1, 1)):
        row, maps = axes[name], activity[name]
        row.imshow(_row(maps, gap), cmap="magma")
        row.set_xticks([])
        row.set_yticks([])
        row.spines[:].set_visible(False)
        kind = f"{len(maps)} maps of " + " x ".join(map(str, maps.shape[1:]))
        row.set_ylabel(f"{name.upper()}\n{kind}", rotation=0, ha="right", va="center", fontsize=10.5)


def _answer(
    figure: SubFigure, model: LeNet5 | LeNet5Paper, activity: dict[str, Array], p: Array, truth: int, classes: tuple[str, ...]
) -> None:
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.7, 1.5 if isinstance(model, LeNet5Paper) else 1.3, 2))
    left.imshow(activity["c5"].reshape(6, 20), cmap="magma")
    left.set_title("C5: 120 units", fontsize=11)
    f6 = activity["f6"].reshape(12, 7)
    if isinstance(model, LeNet5Paper):
        code = model.codes.numpy()[int(p.argmax())].reshape(12, 7)
        middle.imshow(np.hstack([f6, np.full((12, 2), np.nan), code]), cmap="gray", vmin=-1.7, vmax=1.7)
        middle.set_title("F6 as 7 x 12 (left), and the\nnearest of the fixed codes (right)", fontsize=11)
    else:
        middle.imshow(activity["f6"].reshape(6, 14), cmap="magma")
        middle.set_title("F6: 84 units", fontsize=11)
    for axes in (left, middle):
        axes.set_xticks([])
        axes.set_yticks([])
    order = np.argsort(-p, kind="stable")[:SHOWN] if len(p) > SHOWN else np.arange(len(p))
    right.bar(range(len(order)), p[order], color=[ORANGE if i == truth else BLUE for i in order])
    names = [classes[i] if len(classes[i]) <= 9 else classes[i][:8] + "…" for i in order]
    right.set_xticks(range(len(order)), names, rotation=0 if max(map(len, names)) <= 3 else 45)
    right.set(ylim=(0, 1.05), ylabel="probability")
    right.set_title(f"The answer (orange: the true class, “{classes[truth]}”)", fontsize=11)
    right.spines[["top", "right"]].set_visible(False)


def _misread(figure: SubFigure, pictures: list[Array], y: Array, p: Array, dataset: Dataset) -> None:
    chosen, sure = p.argmax(axis=1), p.max(axis=1)
    wrong = np.flatnonzero(chosen != y)
    wrong = wrong[np.argsort(-sure[wrong], kind="stable")]
    right = np.flatnonzero(chosen == y)
    right = right[np.argsort(sure[right], kind="stable")]
    shown = np.concatenate([wrong[:SHOWN], right])[:SHOWN]
    title = f"Misread images (orange; {min(len(wrong), SHOWN)} of {len(wrong)}), the most confident mistakes first"
    title += "; then those read rightly with the least certainty" if len(wrong) < SHOWN else ""
    figure.suptitle(title, fontsize=12.5)
    grid: Any = figure.subplots(1, SHOWN)
    for axes in grid:
        axes.set_axis_off()
    for axes, at in zip(grid, shown):
        axes.imshow(pictures[at], cmap="gray")
        text = f"true: {dataset.classes[y[at]][:9]}\nread: {dataset.classes[chosen[at]][:9]}\n({sure[at]:.0%} sure)"
        axes.set_title(text, fontsize=10.5, color="black" if chosen[at] == y[at] else ORANGE)
