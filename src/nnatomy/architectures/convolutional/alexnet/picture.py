"""AlexNet's picture: the learned filters of the first layer by towers, three of them on an image, and what conv2 connects."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle

from nnatomy.architectures.convolutional.alexnet.model import AlexNet
from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds import kind_of
from nnatomy.graph import no_grad
from nnatomy.layers import Conv2d, MaxPool2d
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]

TOWERS, QUIET, INK = ("#2563a8", "#d1662a"), "#6b7280", "#1f2937"
SHOWN = 96  # filters, at most
FOLLOWED = 3  # filters of which the maps are drawn
VALUES = 400_000  # of the inputs of an examined batch, at most
EXAMINED = 200  # test images, at most


def draw(model: AlexNet, dataset: Dataset) -> Figure:
    """The filters of conv1 (above), three of them on one test image (left below), and the weights of conv2 (right below)."""
    count = max(2, min(EXAMINED, len(dataset.test), VALUES // int(np.prod(dataset.input_shape))))
    x, y = dataset.test.take(np.unique(np.linspace(0, len(dataset.test) - 1, count).round().astype(int)))
    with no_grad():
        scores = np.concatenate([np.asarray(model(Tensor(x[i : i + 64])).data) for i in range(0, len(x), 64)])
    right = scores.argmax(axis=1) == y
    convolutions: list[Any] = [layer for layer in model.features if isinstance(layer, Conv2d)]
    conv1, conv2 = convolutions[:2]
    towers = conv2.groups
    figure = Figure(figsize=(13.5, 10.4), layout="constrained")
    form = "AlexNet in two towers" if towers == 2 else "AlexNet in one tower"
    figure.suptitle(f"{form} on {dataset.name}: {right.mean():.1%} of {len(y)} test images right", fontsize=15)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1, 2), hspace=0.03)
    _filters(parts[0], np.asarray(conv1.weight.data), towers)
    left, weights = parts[1].subfigures(1, 2, width_ratios=(1.3, 1))
    example = int(np.argmax(np.where(right, scores.max(axis=1), -np.inf)))
    look: Any = kind_of(dataset).look(dataset)
    _maps(left, model, conv1, towers, look.picture(x[example]), x[example : example + 1], dataset.classes[int(y[example])])
    _connections(weights.subplots(), np.asarray(conv2.weight.data), towers)
    return figure


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _color(number: int, of: int, towers: int) -> str:
    return TOWERS[0] if number < of // towers else TOWERS[1]


def _seen(kernel: Array) -> Array:
    """A filter (channels, side, side) as it looks: gray is 0, and its largest weight is white or black; three are colors."""
    scaled = 0.5 + 0.5 * kernel / (np.abs(kernel).max() or 1.0)
    return np.moveaxis(scaled, 0, -1) if len(kernel) == 3 else scaled.mean(axis=0)


def _filters(figure: SubFigure, weight: Array, towers: int) -> None:
    """Each filter of conv1, those of the first tower above those of the second, framed in the tower's color."""
    shown = np.concatenate([half[: SHOWN // towers] for half in np.split(weight, towers)])
    rows = towers * max(1, round(len(shown) / (12 * towers)))
    columns = -(-len(shown) // rows)
    grid: Any = figure.subplots(rows, columns, squeeze=False)
    side, channels = weight.shape[-1], weight.shape[1]
    numbers = np.array_split(np.arange(len(shown)), towers)
    places = iter(grid.flat)
    for tower, members in enumerate(numbers):
        for axes in [next(places) for _ in range(rows // towers * columns)]:
            _bare(axes)
            if not len(members):
                continue
            axes.imshow(_seen(shown[members[0]]), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.spines[:].set(visible=True, color=TOWERS[tower], linewidth=2.2)
            members = members[1:]
    kind = "colors" if channels == 3 else "gray"
    what = "above the first tower's, below the second's" if towers == 2 else "all in one tower"
    figure.suptitle(
        f"The {len(weight)} filters of the first layer as learned, {side} x {side} weights, {kind}: {what}", fontsize=12.5
    )


def _maps(figure: SubFigure, model: AlexNet, conv1: Any, towers: int, image: Array, x: Array, name: str) -> None:
    """A test image, and for some filters their map behind the ReLU and behind the first pooling."""
    layers = list(model.features)
    pool = next(k for k, layer in enumerate(layers) if isinstance(layer, MaxPool2d))
    with no_grad():
        behind = layers[1](conv1(Tensor(x)))
        after = behind
        for layer in layers[2 : pool + 1]:
            after = layer(after)
    early, late = (np.asarray(maps.data)[0] for maps in (behind, after))
    half = len(early) // 2  # the strongest filter of each half, and the strongest that is left
    strength = early.max(axis=(1, 2))
    chosen = [int(strength[:half].argmax()), half + int(strength[half:].argmax())]
    chosen += [int(k) for k in np.argsort(-strength) if k not in chosen][: FOLLOWED - 2]
    grid: Any = figure.subplots(3, FOLLOWED + 1, squeeze=False, height_ratios=(1, 1.35, 1.35))
    figure.suptitle(f'Filters on a test image ("{name}")', fontsize=12.5)
    for axes in grid.flat:
        _bare(axes)
    grid[1, 0].imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    grid[1, 0].set_title("the image", fontsize=11)
    words = "The most active filters\nand their maps, ReLU\nincluded. Last row:\nbehind the pooling,"
    words += "\nwhose windows of 3 x 3\noverlap by one."
    note = grid[2, 0].text(0, 1, words, fontsize=10, color=INK, va="top", transform=grid[2, 0].transAxes)
    note.set_in_layout(False)
    for (above, middle, below), k in zip(grid[:, 1:].T, sorted(chosen), strict=True):
        above.imshow(_seen(np.asarray(conv1.weight.data)[k]), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        above.spines[:].set(visible=True, color=_color(k, len(early), towers), linewidth=2.2)
        above.set_title(f"filter {k + 1}", fontsize=11)
        middle.imshow(early[k], cmap="magma", interpolation="nearest")
        middle.set_title("{} x {}".format(*early[k].shape), fontsize=9.5, color=QUIET)
        below.imshow(late[k], cmap="magma", interpolation="nearest")
        below.set_title("{} x {}".format(*late[k].shape), fontsize=9.5, color=QUIET)


def _connections(axes: Axes, weight: Array, towers: int) -> None:
    """The strength of each kernel of conv2, a row for each of its maps: with towers, two blocks, and nothing between them."""
    outputs, within = weight.shape[:2]
    strength = np.zeros((outputs, within * towers))
    for tower, block in enumerate(np.split(np.sqrt(np.square(weight).sum(axis=(2, 3))), towers)):
        rows = slice(tower * outputs // towers, (tower + 1) * outputs // towers)
        strength[rows, tower * within : (tower + 1) * within] = block
        corner = (tower * within - 0.5, tower * outputs / towers - 0.5)
        axes.add_patch(Rectangle(corner, within, outputs / towers, fill=False, color=TOWERS[tower], lw=3, zorder=3))
    axes.imshow(strength, cmap="magma", aspect="auto", interpolation="nearest")
    says = "no map sees the other tower" if towers == 2 else "every map sees every map"
    axes.set_title(f"Weights of the second layer: {says}", fontsize=12.5)
    axes.set(xlabel=f"its inputs: the {within * towers} maps of the first layer", ylabel=f"its {outputs} maps")
