"""CoAtNet's picture: what one position sees after each stage, the learned bias of each offset, and what contents add to it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from nnatomy.architectures.hybrid.coatnet.model import CoAtNet, RelativeAttention, receptive_field
from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds import kind_of
from nnatomy.graph import no_grad
from nnatomy.tasks.forward import evaluating
from nnatomy.tensor import Tensor, grad

Array = NDArray[Any]
BLUE, ORANGE, GRAY, INK = "#2563a8", "#d1662a", "#6b7280", "#1f2937"
EXAMINED = 200  # test images, at most
MEASURED = 8  # images whose gradients are averaged
HEADS = 2  # tables that are drawn, at most


def draw(model: CoAtNet, dataset: Dataset) -> Figure:
    """What the top left position sees after the stem and each stage (top), and biases by offset (bottom)."""
    rows = np.unique(np.linspace(0, len(dataset.test) - 1, min(EXAMINED, len(dataset.test))).round().astype(int))
    x, y = dataset.test.take(rows)
    right = _accuracy(model, x, y)
    figure = Figure(figsize=(9, 7.9), layout="constrained")
    figure.suptitle(f"CoAtNet on {dataset.name}: {right:.1%} of {len(y)} test images right", fontsize=15)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.6, 1), hspace=0.04)
    look: Any = kind_of(dataset).look(dataset)
    _seen(parts[0], model, x[:MEASURED], look)
    _offsets(parts[1], model, x, look)
    return figure


def sensitivity(model: CoAtNet, images: Array, stage: int, position: tuple[int, int]) -> Array:
    """Return how much each pixel moves one position of the maps after a stage: (height, width), the largest is 1.

    The gradient of a sum of the position's channels with random signs by the pixels, its norm over the channels and images.
    Stage 0 is the stem.
    """
    with evaluating(model, gradients=True):
        x = Tensor(images)
        x.requires_grad_()
        chosen = model.maps(x)[stage][:, :, position[0], position[1]]
        signs = np.random.default_rng(0).choice((-1.0, 1.0), chosen.shape[1]).astype(images.dtype)
        (found,) = grad((chosen * Tensor(signs)).sum(), [x])
    norms = np.sqrt(np.square(found.numpy()).sum(axis=(0, 1)))
    return np.asarray(norms / norms.max())


def window(model: CoAtNet, stage: int) -> tuple[int, int] | None:
    """Return the rows and columns that the top left position sees by the sizes of the convolutions; None for all."""
    field = receptive_field(model)[stage]
    height, width = model.grids[0]
    return None if field is None else (min((field + 1) // 2, height), min((field + 1) // 2, width))


def _quiet(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


# Above: what a position sees


def _seen(figure: SubFigure, model: CoAtNet, x: Array, look: Any) -> None:
    """A map for the stem and each stage: how much each pixel moves the position at the top left."""
    names = ["stem", *(f"{'convolution' if kind == 'C' else 'attention'}" for kind in model.layout)]
    figure.suptitle("Which pixels change the top left position of the maps: first its surroundings, then all", fontsize=12.5)
    grid: Any = figure.subplots(2, len(names), squeeze=False, height_ratios=(1, 0.55))
    for stage, name in enumerate(names):
        upper, lower = grid[:, stage]
        seen = sensitivity(model, x, stage, (0, 0))
        _quiet(upper)
        upper.imshow(np.sqrt(seen), cmap="magma", vmin=0, vmax=1, interpolation="nearest")
        inside = window(model, stage)
        color = BLUE if name != "attention" else ORANGE
        sides = " x ".join(map(str, model.grids[stage + 1]))
        upper.set_title(f"{name}\n{sides} positions" if stage == 0 else f"stage {stage}: {name}\n{sides} positions",
                        fontsize=10.5, color=color)  # fmt: skip
        if inside is not None:
            upper.add_patch(Rectangle((-0.5, -0.5), inside[1], inside[0], fill=False, ec="#5fb3ff", lw=2, clip_on=False))
        _far(lower, seen, color)
        if stage == 0:
            lower.set_ylabel("part of the\nsensitivity", fontsize=9.5, color=GRAY)
    caption = "Bright: much changed (square root). Blue frame: all that the convolutions can see; faint light outside of it\n"
    caption += "comes from squeeze-and-excitation. Below: how the sensitivity divides by distance from the corner, in pixels."
    figure.supxlabel(caption, fontsize=9.5, color=GRAY)


def _far(axes: Axes, seen: Array, color: str) -> None:
    """How the sensitivity is divided by the distance from the corner, counted in squares around it."""
    distance = np.maximum(*np.indices(seen.shape))
    total = np.bincount(distance.ravel(), weights=seen.ravel())
    axes.bar(np.arange(len(total)), total / total.sum(), color=color, width=0.85)
    axes.set(ylim=(0, 0.75), xlim=(-0.6, len(total) - 0.4))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=8.5, length=2)
    axes.spines[["top", "right"]].set_visible(False)


# Below: the bias


def _offsets(figure: SubFigure, model: CoAtNet, x: Array, look: Any) -> None:
    """The first attention's tables by offset, and what one position takes: by offset alone, and by offset and content."""
    found = [layer for _, layer in model.named_modules() if isinstance(layer, RelativeAttention)]
    if not found:
        axes = figure.subplots()
        _quiet(axes)
        axes.text(0.5, 0.5, "This CoAtNet has no stage of attention.", ha="center", va="center", color=GRAY, fontsize=12)
        return
    words = "The learned bias of each offset is shared by all pairs of positions; contents are added to it"
    figure.suptitle(words, fontsize=12.5)
    height, width = found[0].sides
    tables = found[0].rel_pos.relative_position_bias_table.numpy().T.reshape(-1, 2 * height - 1, 2 * width - 1)[:HEADS]
    panels = np.ravel(figure.subplots(1, len(tables) + 3))
    reach = float(np.abs(tables).max()) or 1.0
    edges = (-width + 0.5, width - 0.5, height - 0.5, -height + 0.5)
    for head, (axes, table) in enumerate(zip(panels, tables, strict=False)):
        axes.imshow(table[::-1, ::-1], cmap="RdBu_r", vmin=-reach, vmax=reach, extent=edges, interpolation="nearest")
        axes.plot(0, 0, marker="o", ms=5, color="white", mec=INK)
        axes.set_title(f"head {head + 1}\nbias by offset", fontsize=10.5, color=INK)
        axes.tick_params(labelsize=8.5, length=2)
        axes.spines[:].set_visible(False)
    _taken(list(panels[len(tables) :]), model, found[0], x[:1], look)
    caption = f"Dot: the position that looks. Red: looked at more; the strongest bias is {reach:.2f}. Right: how much it\n"
    caption += "takes from each position, the mean of all heads; the last map is what the network uses."
    figure.supxlabel(caption, fontsize=9.5, color=GRAY)


def _taken(panels: list[Axes], model: CoAtNet, attention: RelativeAttention, x: Array, look: Any) -> None:
    """The image, the softmax of the biases of one position, and the weights with its contents."""
    height, width = attention.sides
    row, column = height // 2, width // 2
    seen: list[Tensor] = []
    block = next(b for stage in model.stages for b in stage.blocks if getattr(b, "attn", None) is attention)
    with evaluating(model):
        state = model.stem(Tensor(x))
        for stage in model.stages:
            for layer in stage.blocks:
                if layer is block:
                    seen.append(attention.weights(block.norm1(state))[0])
                state = layer(state)
        biases = attention.rel_pos().numpy()[:, row * width + column]
    alone = np.exp(biases - biases.max(axis=1, keepdims=True))
    alone = (alone / alone.sum(axis=1, keepdims=True)).mean(axis=0).reshape(height, width)
    whole = seen[0].numpy()[0, :, row * width + column].mean(axis=0).reshape(height, width)
    top = max(float(alone.max()), float(whole.max()))
    for axes, picture, title, cmap, most in (
        (panels[0], look.picture(x[0]), "an image", "gray", 1.0), (panels[1], alone, "taken by\noffset alone", "magma", top),
        (panels[2], whole, "by offset\nand content", "magma", top),
    ):  # fmt: skip
        _quiet(axes)
        axes.imshow(picture, cmap=cmap, vmin=0, vmax=most, interpolation="nearest", extent=(0, width, height, 0))
        axes.plot(column + 0.5, row + 0.5, marker="o", ms=5, color="white", mec=INK)
        axes.set_title(title, fontsize=10.5, color=ORANGE if cmap == "magma" else INK)


def _accuracy(model: CoAtNet, x: Array, y: Array) -> float:
    with evaluating(model), no_grad():
        scores = np.concatenate([np.asarray(model(Tensor(x[i : i + 64])).data) for i in range(0, len(x), 64)])
    return float((scores.argmax(axis=1) == y).mean())
