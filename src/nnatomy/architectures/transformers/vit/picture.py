"""The vision transformer's picture: an image as a row of patches, where the class token looks, and what positions are alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from nnatomy.architectures.transformers.vit.model import ViT, rollout
from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds import kind_of
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor

Array = NDArray[Any]
BLUE, ORANGE, GRAY, INK = "#2563a8", "#d1662a", "#6b7280", "#1f2937"
EXAMINED = 200  # test images, at most
HEADS, IMAGES = 4, 3  # that are drawn


def draw(model: ViT, dataset: Dataset) -> Figure:
    """One image cut into patches (top), where the output comes from (middle), and the positions that were learned (bottom)."""
    rows = np.unique(np.linspace(0, len(dataset.test) - 1, min(EXAMINED, len(dataset.test))).round().astype(int))
    x, y = dataset.test.take(rows)
    scores = _scores(model, x)
    right = scores.argmax(axis=1) == y
    chosen = _chosen(scores, y)
    figure = Figure(figsize=(9, 12.6), layout="constrained")
    figure.suptitle(f"Vision transformer on {dataset.name}: {right.mean():.1%} of {len(y)} test images right", fontsize=15)
    parts: Any = figure.subfigures(3, 1, height_ratios=(0.62, 1.45, 1.05), hspace=0.03)
    look: Any = kind_of(dataset).look(dataset)
    names = [dataset.classes[int(y[k])] for k in chosen]
    pictures = [look.picture(x[k]) for k in chosen]
    _cut(parts[0], model, pictures[0])
    _attention(parts[1], model, x[chosen], pictures, names)
    _positions(parts[2], model, x, y, float(right.mean()))
    return figure


def _scores(model: ViT, x: Array) -> Array:
    with no_grad():
        return np.concatenate([np.asarray(model(Tensor(x[i : i + 64])).data) for i in range(0, len(x), 64)])


def _chosen(scores: Array, y: Array) -> list[int]:
    """The images with the most probable right class: of different classes first, then others where classes are few."""
    own = np.take_along_axis(scores, y[:, None], axis=1)[:, 0]
    order = np.argsort(scores.max(axis=1) - own + np.log(np.exp(scores - scores.max(axis=1, keepdims=True)).sum(axis=1)))
    found: list[int] = []
    for k in order:
        if all(y[k] != y[other] for other in found):
            found.append(int(k))
    return [*found, *(int(k) for k in order if k not in found)][:IMAGES]


def _quiet(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


# Above: the cut


def _cut(figure: SubFigure, model: ViT, picture: Array) -> None:
    """The image with the edges of its patches, and the patches one after another."""
    (down, across), size = model.embeddings.grid, model.embeddings.patch_embeddings.size
    figure.suptitle("An image becomes a row of patches: this row is all that the transformer receives", fontsize=12.5)
    left, right = np.ravel(figure.subplots(1, 2, width_ratios=(1, 3.4)))
    _quiet(left)
    left.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    for n in range(down + 1):
        left.axhline(n * size - 0.5, color=ORANGE, lw=1.3)
    for n in range(across + 1):
        left.axvline(n * size - 0.5, color=ORANGE, lw=1.3)
    _quiet(right)
    columns = next((n for n in (8, 12, 16) if n >= (down * across + 3) // 4), 16)
    for place in range(down * across):
        top, start = divmod(place, across)
        piece = picture[top * size : (top + 1) * size, start * size : (start + 1) * size]
        row, column = divmod(place, columns)
        bottom = -row * 1.45
        edges = (column, column + 0.86, bottom, bottom + 0.86)
        right.imshow(piece, cmap="gray", vmin=0, vmax=1, interpolation="nearest", extent=edges)
        right.add_patch(Rectangle((column, bottom), 0.86, 0.86, fill=False, ec=ORANGE, lw=1.3))
        right.text(column + 0.43, bottom - 0.1, str(place + 1), ha="center", va="top", fontsize=9, color=GRAY)
    lines = -(-down * across // columns)
    right.set(xlim=(-0.1, columns), ylim=(-1.45 * (lines - 1) - 0.6, 1.0))
    right.set_aspect("equal")


# In the middle: attention


def _attention(figure: SubFigure, model: ViT, x: Array, pictures: list[Array], names: list[str]) -> None:
    """A row for each image: the image, its rollout, and the heads of the last layer that look with the sharpest focus."""
    with no_grad():
        weights = model.attention(Tensor(x))
        whole = rollout(weights).numpy()
        last = weights.numpy()[-1]  # (images, heads, tokens, tokens)
    token = model.embeddings.cls_token is not None
    reads = "the class token takes" if token else "the mean of the patches takes"
    figure.suptitle(f"What {reads} from each patch: through all layers, and in heads of the last layer", fontsize=12.5)

    def seen(rows: Array) -> Array:
        """The patches' part of the class token's row, or of the mean row."""
        taken = rows[..., 0, 1:] if token else rows.mean(axis=-2)
        return np.asarray(taken.reshape(*taken.shape[:-1], *model.embeddings.grid))

    count = min(HEADS, last.shape[1])
    maps, heads = seen(whole), seen(last)
    grid: Any = figure.subplots(len(x), 2 + count, squeeze=False)
    for row, (picture, name) in enumerate(zip(pictures, names, strict=True)):
        first, *others = grid[row]
        _quiet(first)
        first.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        first.set_ylabel(f'"{name}"', fontsize=11, color=INK)
        for axes, one in zip(others, [maps[row], *heads[row][:count]], strict=True):
            _overlay(axes, picture, one)
    for axes, title in zip(grid[0], ["image", "all layers", *(f"head {n + 1}" for n in range(count))], strict=True):
        axes.set_title(title, fontsize=11, color=BLUE if title == "all layers" else INK)


def _overlay(axes: Axes, picture: Array, values: Array) -> None:
    """The image, and on it a square for each patch: the more orange, the more is taken from it."""
    _quiet(axes)
    height, width = picture.shape[:2]
    gray = picture if picture.ndim == 2 else picture.mean(axis=-1)
    axes.imshow(gray, cmap="gray", vmin=0, vmax=1.0, interpolation="nearest")
    heat = np.repeat(np.repeat(values / values.max(), height // len(values), axis=0), width // values.shape[1], axis=1)
    colors = np.zeros((*heat.shape, 4))
    colors[..., :3], colors[..., 3] = (0.98, 0.52, 0.1), 0.85 * heat
    axes.imshow(colors, interpolation="nearest")


# Below: positions


def _positions(figure: SubFigure, model: ViT, x: Array, y: Array, right: float) -> None:
    """How alike each position is to all others, by their place; and accuracy with the patches in another order."""
    left, bars = np.ravel(figure.subplots(1, 2, width_ratios=(1.25, 1)))
    table = model.embeddings.position_embeddings
    _quiet(left)
    if table is None:
        left.text(0.5, 0.5, "This model has no positions:\nevery order of the patches\ngives the same scores.", ha="center",
                  va="center", fontsize=12, color=GRAY)  # fmt: skip
    else:
        words = "Learned positions: each map is one position,\nred places have a similar one, blue an opposite one"
        left.set_title(words, fontsize=11)
        _tiles(left, similarity(model))
    rng = np.random.default_rng(0)
    shuffled = [_accuracy(model, _in_another_order(model, x, rng), y) for _ in range(3)]
    values = [right, float(np.mean(shuffled))]
    bars.bar(["in order", "shuffled"], values, color=[BLUE, ORANGE], width=0.6)
    for place, value in enumerate(values):
        bars.text(place, value + 0.02, f"{value:.0%}", ha="center", fontsize=12, color=INK)
    bars.axhline(1 / model.classifier.weight.shape[0], color=GRAY, ls="--", lw=1.2)
    bars.text(0.5, 1 / model.classifier.weight.shape[0] + 0.01, "guessing", ha="center", va="bottom", fontsize=9, color=GRAY)
    bars.set_title("Accuracy, and where the patches\nof each image are shuffled", fontsize=11)
    bars.set(ylim=(0, 1.12), xlim=(-0.5, 1.5))
    bars.tick_params(axis="x", labelsize=11, length=0)
    bars.spines[["top", "right"]].set_visible(False)


def similarity(model: ViT) -> Array:
    """Return the cosine of each two positions of patches, less their mean: (down, across, down, across)."""
    table: Any = model.embeddings.position_embeddings
    rows = table.numpy()[0, int(model.embeddings.cls_token is not None) :]
    rows = rows - rows.mean(axis=0)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return np.asarray((rows @ rows.T).reshape(*model.embeddings.grid, *model.embeddings.grid))


def _tiles(axes: Axes, alike: Array) -> None:
    """All maps at their places, with gaps; the map's own position is marked."""
    down, across = alike.shape[:2]
    tiles = np.full((down * (down + 1) - 1, across * (across + 1) - 1), np.nan)
    for i in range(down):
        for j in range(across):
            top, start = i * (down + 1), j * (across + 1)
            tiles[top : top + down, start : start + across] = alike[i, j]
            axes.plot(start + j, top + i, marker="o", ms=max(2.0, 16 / across), color="white", mec=INK, mew=0.7)
    reach = float(np.quantile(np.abs(alike[alike < 0.999]), 0.98)) if (alike < 0.999).any() else 1.0
    axes.imshow(tiles, cmap="RdBu_r", vmin=-reach, vmax=reach, interpolation="nearest")


def _accuracy(model: ViT, x: Array, y: Array) -> float:
    return float((_scores(model, x).argmax(axis=1) == y).mean())


def _in_another_order(model: ViT, x: Array, rng: np.random.Generator) -> Array:
    """Images with their patches at other places, each image in its own order."""
    (down, across), size = model.embeddings.grid, model.embeddings.patch_embeddings.size
    n, channels = x.shape[:2]
    cut = x.reshape(n, channels, down, size, across, size).transpose(0, 2, 4, 1, 3, 5)
    cut = cut.reshape(n, down * across, channels, size, size)
    order = rng.permuted(np.tile(np.arange(down * across), (n, 1)), axis=1)
    cut = cut[np.arange(n)[:, None], order].reshape(n, down, across, channels, size, size)
    return np.ascontiguousarray(cut.transpose(0, 3, 1, 4, 2, 5).reshape(x.shape))
