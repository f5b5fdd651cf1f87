"""CapsNet's picture: what each dimension of a capsule draws, reconstructions, and how votes for a class are routed together."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from nnatomy.architectures.hybrid.capsnet.model import CapsNet, squash, weighted_sum
from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds import kind_of
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor

Array = NDArray[Any]
BLUE, ORANGE, GRAY, INK = "#2563a8", "#d1662a", "#6b7280", "#1f2937"
EXAMINED = 200  # test images, at most
ROWS = 8  # dimensions that are drawn, at most
MOVES = np.arange(-5, 6) / 20  # what is added to a dimension: -0.25 to 0.25, as in figure 4 of the paper
PAIRS = 10  # images with their reconstructions


def draw(model: CapsNet, dataset: Dataset) -> Figure:
    """Dimensions of one capsule (top), reconstructions (middle), and the votes that made the capsule (bottom)."""
    rows = np.unique(np.linspace(0, len(dataset.test) - 1, min(EXAMINED, len(dataset.test))).round().astype(int))
    x, y = dataset.test.take(rows)
    with no_grad():
        poses = model.poses(Tensor(x)).numpy()
    lengths = np.linalg.norm(poses, axis=2)
    right = lengths.argmax(axis=1) == y
    k = shown(lengths, y)
    figure = Figure(figsize=(9, 12.4), layout="constrained")
    figure.suptitle(f"CapsNet on {dataset.name}: {right.mean():.1%} of {len(y)} test images right", fontsize=15)
    parts: Any = figure.subfigures(3, 1, height_ratios=(1.5, 0.5, 0.95), hspace=0.03)
    look: Any = kind_of(dataset).look(dataset)
    names = [str(name) for name in dataset.classes]
    _dimensions(parts[0], model, x[k : k + 1], poses[k : k + 1], lengths[k], names, look)
    _pairs(parts[1], model, x, y, lengths, names, look)
    _votes(parts[2], model, x[k : k + 1], names)
    return figure


def shown(lengths: Array, y: Array) -> int:
    """Return the image that is explained: the right one whose other classes are least certain of their absence.

    Where every image is wrong, the first.
    """
    right = lengths.argmax(axis=1) == y
    second = np.sort(lengths, axis=1)[:, -2] if lengths.shape[1] > 1 else lengths[:, 0]
    return int(np.where(right & (lengths.max(axis=1) > 0.8 * lengths.max()), second, -1).argmax())


def moved(model: CapsNet, pose: Array) -> Array:
    """Return what is drawn as each dimension of the longest capsule is moved: (dimensions, moves, *shape).

    `pose` is (1, classes, size).
    """
    winner, size = int(np.linalg.norm(pose[0], axis=1).argmax()), pose.shape[2]
    changed = np.repeat(pose, size * len(MOVES), axis=0).reshape(size, len(MOVES), *pose.shape[1:])
    for dimension in range(size):
        changed[dimension, :, winner, dimension] += MOVES.astype(pose.dtype)
    flat = changed.reshape(-1, *pose.shape[1:])
    with no_grad():
        found = model.decode(Tensor(flat), Tensor(np.full(len(flat), winner))).numpy()
    return np.asarray(found.reshape(size, len(MOVES), *model.shape))


def _quiet(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _drawn(pixels: Array) -> Array:
    """An image (channels, height, width) of pixels from 0 to 1 as it is shown."""
    return np.asarray(pixels[0] if len(pixels) != 3 else np.moveaxis(pixels, 0, -1))


def _without_decoder(figure: SubFigure, words: str) -> None:
    axes = figure.subplots()
    _quiet(axes)
    axes.text(0.5, 0.5, words, ha="center", va="center", fontsize=12, color=GRAY)


# Above: dimensions


def _dimensions(
    figure: SubFigure, model: CapsNet, x: Array, pose: Array, lengths: Array, names: list[str], look: Any
) -> None:
    """Rows: the dimensions that change the drawing most. Columns: the number that is added."""
    winner = int(lengths.argmax())
    if model.decoder is None:
        _without_decoder(figure, "This CapsNet has no decoder:\nits capsules cannot be drawn.")
        return
    drawings = moved(model, pose)
    effect = drawings.std(axis=1).reshape(len(drawings), -1).sum(axis=1)
    chosen = np.sort(np.argsort(-effect, kind="stable")[:ROWS])
    title = f'The capsule of "{names[winner]}" has {pose.shape[2]} numbers. Each row moves one of them: what is drawn changes'
    figure.suptitle(title, fontsize=12.5)
    parts: Any = figure.subfigures(1, 2, width_ratios=(1, 5.2))
    upper, lower = parts[0].subplots(2, 1)
    for axes, picture, words in (
        (upper, look.picture(x[0]), "the image"),
        (lower, _drawn(drawings[0, len(MOVES) // 2]), "drawn from\nits capsule"),
    ):
        _quiet(axes)
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(words, fontsize=11, color=INK)
    sheet: Axes = parts[1].subplots()
    _tiles(sheet, [[_drawn(drawings[dimension, column]) for column in range(len(MOVES))] for dimension in chosen])
    height, width = (side + 1 for side in drawings.shape[-2:])
    sheet.xaxis.tick_top()
    sheet.set_xticks(np.arange(len(MOVES)) * width + (width - 2) / 2, [f"{move:+.2f}" if move else "0" for move in MOVES])
    sheet.set_yticks(np.arange(len(chosen)) * height + (height - 2) / 2, [str(dimension + 1) for dimension in chosen])
    sheet.tick_params(length=0, labelsize=10, labelcolor=INK)
    sheet.set_ylabel("dimension", fontsize=10.5, color=GRAY)


def _tiles(axes: Axes, rows: list[list[Array]]) -> None:
    """Equal pictures as a sheet, with a white pixel between neighbors."""
    gap = [(0, 1), (0, 1)] + [(0, 0)] * (rows[0][0].ndim - 2)
    sheet = np.concatenate([np.concatenate([np.pad(p, gap, constant_values=1.0) for p in row], axis=1) for row in rows])
    _quiet(axes)
    axes.imshow(sheet[:-1, :-1], cmap="gray", vmin=0, vmax=1, interpolation="nearest")


# In the middle: reconstructions


def _pairs(
    figure: SubFigure, model: CapsNet, x: Array, y: Array, lengths: Array, names: list[str], look: Any
) -> None:
    """Images of all classes, and what the decoder draws from their longest capsules."""
    if model.decoder is None:
        _without_decoder(figure, "No decoder, no reconstructions.")
        return
    order = [int(np.flatnonzero(y == label)[0]) for label in np.unique(y)[:PAIRS]]
    with no_grad():
        drawings = model.reconstruct(Tensor(x[order])).numpy()
    figure.suptitle("Test images, and below them what the decoder draws from their longest capsule alone", fontsize=12.5)
    axes = figure.subplots()
    _tiles(axes, [[look.picture(x[k]) for k in order], [_drawn(drawing) for drawing in drawings]])
    height, width = (side + 1 for side in x.shape[-2:])
    chosen = lengths[order].argmax(axis=1)
    words = [f"{names[label]}: {lengths[k, label]:.2f}" for k, label in zip(order, chosen, strict=True)]
    axes.set_xticks(np.arange(len(order)) * width + (width - 2) / 2, words)
    for tick, k, label in zip(axes.get_xticklabels(), order, chosen, strict=True):
        tick.set_color(INK if label == y[k] else ORANGE)
    axes.set_yticks([(height - 2) / 2, height + (height - 2) / 2], ["image", "drawn"])
    axes.tick_params(length=0, labelsize=10)


# Below: votes


def _votes(figure: SubFigure, model: CapsNet, x: Array, names: list[str]) -> None:
    """The votes for the longest capsule and for the next one, in a plane; and the lengths after each round of routing."""
    layer = model.digitcaps
    with no_grad():
        votes = layer.votes(model.inputs(Tensor(x)))
        rounds = layer.route(votes)[1]
        lengths = np.stack([np.linalg.norm(squash(weighted_sum(c, votes)).numpy()[0], axis=1) for c in rounds])
    arrays, c = votes.numpy()[0], rounds[-1].numpy()[0]
    order = np.argsort(-lengths[-1], kind="stable")
    figure.suptitle("How that capsule came about: primary capsules vote, and routing favors votes that agree", fontsize=12.5)
    panels = np.ravel(figure.subplots(1, 3, width_ratios=(1, 1, 1.1)))
    reach = max(float(np.linalg.norm(arrays[j], axis=1).max()) for j in order[:2]) * 1.2
    for axes, j, color in zip(panels[:2], order[:2], (BLUE, ORANGE), strict=True):
        _cloud(axes, arrays[j], c[j], reach, color, len(names))
        axes.set_title(f'{len(arrays[j])} votes for "{names[j]}"\n(larger circle: larger coupling)', fontsize=11, color=color)
    _rounds(panels[2], lengths, order, names)


def _cloud(axes: Axes, votes: Array, c: Array, reach: float, color: str, classes: int) -> None:
    """Votes in the plane of their weighted sum and of the direction in which they differ most; circles as large as c."""
    total = (c[:, None] * votes).sum(axis=0)
    across = total / max(float(np.linalg.norm(total)), 1e-12)
    rest = votes - np.outer(votes @ across, across)
    up = np.linalg.svd(rest, full_matrices=False)[2][0]
    axes.axhline(0, color=GRAY, lw=0.7)
    axes.axvline(0, color=GRAY, lw=0.7)
    sizes = 14 + 60 * np.clip(c * classes - 0.5, 0, 4)
    axes.scatter(votes @ across, rest @ up, s=sizes, color=color, alpha=0.45, edgecolors="white", linewidths=0.5)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="along the capsule's direction", ylabel="across it")
    axes.set_aspect("equal")
    axes.tick_params(labelsize=8.5, length=2)
    axes.spines[["top", "right"]].set_visible(False)


def _rounds(axes: Axes, lengths: Array, order: Array, names: list[str]) -> None:
    """Length of each class's capsule by round."""
    places = np.arange(1, len(lengths) + 1)
    for rank, j in reversed(list(enumerate(order))):
        color = {0: BLUE, 1: ORANGE}.get(rank, "#c3c8cf")
        axes.plot(places, lengths[:, j], marker="o", ms=5, lw=2.2 if rank < 2 else 1.2, color=color)
        if rank < 2:
            axes.annotate(f'"{names[j]}"', (places[-1], lengths[-1, j]), (6, 0), textcoords="offset points", va="center",
                          fontsize=11, color=color)  # fmt: skip
    axes.set_title("Length of each class's\ncapsule after each round", fontsize=11)
    axes.set(xticks=places, xlim=(0.8, len(lengths) + 0.6), ylim=(0, 1.02), xlabel="round of routing")
    axes.spines[["top", "right"]].set_visible(False)
