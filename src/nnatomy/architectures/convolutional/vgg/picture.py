"""VGG's picture: the part of an image that a unit sees, growing from layer to layer, and a stack of 3x3 layers as one field."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from nnatomy.architectures.convolutional.vgg.model import VGG, Field, receptive_fields
from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds import kind_of
from nnatomy.graph import no_grad
from nnatomy.layers import Conv2d, MaxPool2d
from nnatomy.tensor import Tensor, grad

Array = npt.NDArray[Any]

BLUE, ORANGE, QUIET, INK = "#2563a8", "#d1662a", "#6b7280", "#1f2937"
SHOWN = 7  # layers whose maps are drawn
VALUES = 400_000  # of the inputs of an examined batch, at most
EXAMINED = 200  # test images, at most


def draw(model: VGG, dataset: Dataset) -> Figure:
    """One test image as units of each layer see it (above); how stacks of 3x3 layers grow a field (below)."""
    count = max(2, min(EXAMINED, len(dataset.test), VALUES // int(np.prod(dataset.input_shape))))
    x, y = dataset.test.take(np.unique(np.linspace(0, len(dataset.test) - 1, count).round().astype(int)))
    scores = _scores(model, x)
    fields = receptive_fields(model)
    convolutions = [field for field in fields if isinstance(model.features[field.layer], Conv2d)]
    figure = Figure(figsize=(13.5, 11.4), layout="constrained")
    right = float((scores.argmax(axis=1) == y).mean())
    layers = len(convolutions) + 3
    figure.suptitle(f"VGG of {layers} layers on {dataset.name}: {right:.1%} of {len(y)} test images right", fontsize=15)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.62, 1), hspace=0.03)
    example = int(np.argmax(_margins(scores, y)))
    look: Any = kind_of(dataset).look(dataset)
    _seen(parts[0], model, convolutions, look.picture(x[example]), x[example : example + 1], dataset.classes[int(y[example])])
    left, right_part = parts[1].subfigures(1, 2, width_ratios=(1.3, 1))
    _stack(left, model)
    _growth(right_part.subplots(), model, fields)
    return figure


def _scores(model: VGG, x: Array) -> Array:
    with no_grad():
        return np.concatenate([np.asarray(model(Tensor(x[i : i + 64])).data) for i in range(0, len(x), 64)])


def _margins(scores: Array, y: Array) -> Array:
    """By how much the right class is ahead of the best other one."""
    right = np.take_along_axis(scores, y[:, None], axis=1)[:, 0]
    others = scores.copy()
    np.put_along_axis(others, y[:, None], -np.inf, axis=1)
    return np.asarray(right - others.max(axis=1))


def _names(model: VGG) -> dict[int, str]:
    """The paper's name of each convolution and pooling, such as "conv3_1", by its number in `features`."""
    names, stage, number = {}, 1, 1
    for place, layer in enumerate(model.features):
        if isinstance(layer, Conv2d):
            names[place], number = f"conv{stage}_{number}", number + 1
        elif isinstance(layer, MaxPool2d):
            names[place], stage, number = f"pool{stage}", stage + 1, 1
    return names


def _behind(model: VGG, x: Tensor, field: Field, following: list[Field]) -> Tensor:
    """The maps after a convolution, its normalization and its ReLU: up to the next layer with a field."""
    end = min((f.layer for f in following if f.layer > field.layer), default=len(model.features))
    for layer in list(model.features)[:end]:
        x = layer(x)
    return x


# Above: what units see


def _seen(figure: SubFigure, model: VGG, convolutions: list[Field], image: Array, x: Array, name: str) -> None:
    """For some layers: the image with the field of the most active unit, the unit's gradient, and its map.

    Units whose field is inside the image are preferred.
    """
    fields, names = receptive_fields(model), _names(model)
    partial = [field for field in convolutions if field.size < 2 * model.size] or convolutions[:1]
    chosen = [partial[k] for k in np.unique(np.linspace(0, len(partial) - 1, min(SHOWN, len(partial))).round().astype(int))]
    figure.suptitle(f'A test image ("{name}"): what the most active unit of each layer sees', fontsize=12.5)
    grid: Any = figure.subplots(3, len(chosen), squeeze=False)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    for row, label in enumerate(("its field\nin the image", "its gradient\nby each pixel", "its map,\nand the unit")):
        grid[row, 0].set_ylabel(label, fontsize=11, color=INK, rotation=0, ha="right", va="center", labelpad=6)
    for column, field in zip(grid.T, chosen, strict=True):
        given = Tensor(x, requires_grad=True)
        maps = _behind(model, given, field, fields)
        values = np.asarray(maps.data)[0]
        starts = field.start + field.stride * np.arange(values.shape[-1])
        inside = (starts >= 0) & (starts + field.size <= model.size)
        eligible = np.outer(inside, inside) if inside.any() else np.ones(values.shape[1:], bool)
        unit = np.unravel_index(int(np.where(eligible, values, -1.0).argmax()), values.shape)
        (slopes,) = grad(maps[(0, *map(int, unit))], [given])
        top, left = (field.start + int(place) * field.stride for place in unit[1:])
        column[0].imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        column[1].imshow(np.abs(np.asarray(slopes.data))[0].sum(axis=0), cmap="magma", interpolation="nearest")
        column[2].imshow(values[unit[0]], cmap="viridis", interpolation="nearest")
        for axes in column[:2]:
            _frame(axes, left, top, field.size, model.size)
        column[2].add_patch(Rectangle((unit[2] - 0.5, unit[1] - 0.5), 1, 1, fill=False, color=ORANGE, lw=2.4))
        side = min(field.size, model.size)
        column[0].set_title(f"{names[field.layer]}\n{field.size} x {field.size}", fontsize=11)
        column[1].set_xlabel("the whole image" if side == model.size else "", fontsize=9.5, color=QUIET)
        column[2].set_xlabel("{} maps\n{} x {}".format(*values.shape), fontsize=9.5, color=QUIET)


def _frame(axes: Axes, left: int, top: int, size: int, whole: int) -> None:
    """The part of a field that is inside the image; what is outside the field is darkened."""
    low, high = (max(0, left), max(0, top)), (min(whole, left + size), min(whole, top + size))
    shade: dict[str, Any] = {"color": "#0b1220", "alpha": 0.6, "lw": 0}
    axes.add_patch(Rectangle((-0.5, -0.5), whole, low[1], **shade))
    axes.add_patch(Rectangle((-0.5, high[1] - 0.5), whole, whole - high[1], **shade))
    axes.add_patch(Rectangle((-0.5, low[1] - 0.5), low[0], high[1] - low[1], **shade))
    axes.add_patch(Rectangle((high[0] - 0.5, low[1] - 0.5), whole - high[0], high[1] - low[1], **shade))
    box = Rectangle((low[0] - 0.5, low[1] - 0.5), high[0] - low[0], high[1] - low[1], fill=False, color=ORANGE, lw=2.4)
    axes.add_patch(box)


# Below: stacks


def _stack(figure: SubFigure, model: VGG) -> None:
    """Gradients by the input of a stage, behind one, two, ... of its learned layers, with the weights that these need."""
    stages: list[list[Any]] = [[]]
    for layer in model.features:
        stages.append([]) if isinstance(layer, MaxPool2d) else stages[-1].append(layer)
    longest = max(range(len(stages)), key=lambda k: sum(isinstance(layer, Conv2d) for layer in stages[k]))
    layers = stages[longest]
    ends = [n for n, layer in enumerate(layers) if isinstance(layer, Conv2d)]
    figure.suptitle(f"Stage {longest + 1}, learned: which inputs change the unit in the middle", fontsize=12.5)
    grid: Any = figure.subplots(1, len(ends), squeeze=False)
    whole = 2 * len(ends) + 5
    inputs = next(layer for layer in layers if isinstance(layer, Conv2d)).weight.shape[1]
    given = Tensor(np.random.default_rng(0).uniform(size=(64, inputs, whole, whole)).astype(np.float32), requires_grad=True)
    side = 1
    for number, (axes, end) in enumerate(zip(grid[0], ends, strict=True), start=1):
        x: Any = given
        for layer in layers[: end + 1]:
            x = layer(x)
        side += layers[end].weight.shape[-1] - 1
        (slopes,) = grad((x[:, :, whole // 2, whole // 2]).square().sum(), [given])
        strength = np.sqrt(np.square(np.asarray(slopes.data)).sum(axis=(0, 1)))
        axes.imshow(strength / (strength.max() or 1.0), cmap="magma", vmin=0, vmax=1, interpolation="nearest")
        corner = whole // 2 - side // 2 - 0.5
        axes.add_patch(Rectangle((corner, corner), side, side, fill=False, color=ORANGE, lw=2.4))
        axes.set_xticks(np.arange(whole) - 0.5, [])
        axes.set_yticks(np.arange(whole) - 0.5, [])
        axes.tick_params(length=0)
        axes.grid(color="#ffffff", alpha=0.13, lw=0.6)
        axes.set_title(f"{number} layer{'s' if number > 1 else ''}: {side} x {side}", fontsize=11)
        kernels = sum(layers[k].weight.shape[-1] ** 2 for k in ends[:number])
        axes.set_xlabel(f"{kernels} weights for each pair\nof maps; one layer: {side * side}", fontsize=10, color=QUIET)


def _growth(axes: Axes, model: VGG, fields: list[Field]) -> None:
    """The side of the field behind each layer."""
    sizes = [1] + [field.size for field in fields]
    axes.plot(range(len(sizes)), sizes, color=BLUE, lw=2.2)
    pools = [k for k, field in enumerate(fields, start=1) if isinstance(model.features[field.layer], MaxPool2d)]
    others = [k for k in range(len(sizes)) if k not in pools]
    axes.plot(others, [sizes[k] for k in others], "o", color=BLUE, label="convolution")
    axes.plot(pools, [sizes[k] for k in pools], "s", color="white", mec=BLUE, mew=1.8, label="pooling: steps grow")
    axes.axhline(model.size, color=ORANGE, lw=1.6, ls="--", label=f"the image, {model.size}")
    axes.set_title("Side of the field by depth", fontsize=12.5)
    axes.set(xlabel="convolutions and poolings", ylabel="pixels of the image", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=10.5)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
