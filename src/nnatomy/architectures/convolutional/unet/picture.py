"""U-Net's picture: one image on its way down and up again, and what each skip carries, shown by leaving it out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import FancyArrowPatch, Patch

from nnatomy.architectures.convolutional.unet.model import IGNORE, UNet
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import Role, select
from nnatomy.data.kinds import kind_of
from nnatomy.graph import no_grad
from nnatomy.tasks.segmentation import counted, iou, near_borders
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]
INK, QUIET, WRONG = "#1f2937", "#6b7280", (209, 102, 42)
SKIPS = ("#2563a8", "#2e8b57", "#b0498f", "#b8860b", "#7a4f2a", "#4b5563")
ROLES: tuple[Role, ...] = ("input", "target")
EXAMINED = 48  # test images on which the scores are measured
LEGEND = 12  # classes up to which their colors are named
STACK = 4  # maps that are shown of each level
SHRINK = 0.74  # of the drawn maps from level to level; their pixels halve


def draw(model: UNet, dataset: Dataset) -> Figure:
    """The maps of each level for one test image (above); its masks and errors with and without each skip (below)."""
    images, truth = _examined(dataset)
    names, masks, scores = _without_skips(model, images, truth, dataset.outputs)
    example = _telling(truth, masks[0], dataset.outputs)
    ratio = truth.shape[1] / truth.shape[2]
    figure = Figure(figsize=(13.5, 12.6 if model.depth < 4 else 13.2), layout="constrained")
    whole, near = scores[0]
    figure.suptitle(
        f"U-Net on {dataset.name}: mean IoU {whole:.3f}, near borders {near:.3f} ({len(truth)} test images)", fontsize=15
    )
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.62, 1))
    _journey(parts[0], model, dataset, images[example], _colors(dataset)[masks[0][example]], min(max(ratio, 0.6), 1.3))
    _ablations(parts[1], dataset, images[example], truth[example], names, [mask[example] for mask in masks], scores)
    return figure


def _examined(dataset: Dataset) -> tuple[Array, Array]:
    """Evenly spaced test images and their masks."""
    rows = np.unique(np.linspace(0, len(dataset.test) - 1, min(EXAMINED, len(dataset.test))).round().astype(int))
    batch = dataset.test.take(rows)
    (images,), (truth,) = (select(dataset.test.fields, batch, role) for role in ROLES)
    return images, truth


def _without_skips(
    model: UNet, images: Array, truth: Array, classes: int
) -> tuple[list[str], list[Array], list[tuple[float, float]]]:
    """Return names of the skips left out, the masks (n, height, width) predicted without them, and their mean IoU.

    The IoU is that of all pixels and that near borders. The first entry has all skips, the last one none: zeros replace them.
    """
    skips = [*range(model.depth)]
    names = ["all skips", *(f"without skip {k + 1}" for k in skips), "without any"]
    cut = [[], *([k] for k in skips), skips]
    parts: list[list[Array]] = [[] for _ in cut]
    with no_grad():
        for start in range(0, len(images), 16):
            maps = model.encode(Tensor(images[start : start + 16]))
            for found, gone in zip(parts, cut, strict=True):
                kept = [one * 0.0 if k in gone else one for k, one in enumerate(maps)]
                found.append(np.asarray(model.decode(kept).data).argmax(axis=1))
    masks = [np.concatenate(found) for found in parts]
    border = np.where(near_borders(truth), truth, IGNORE)
    scores = [tuple(_mean_iou(counted(mask, to, classes)) for to in (truth, border)) for mask in masks]
    return names, masks, scores  # type: ignore[return-value]


def _mean_iou(confusion: Array) -> float:
    each = iou(confusion)
    return float(np.nanmean(each)) if np.isfinite(each).any() else 0.0


def _telling(truth: Array, chosen: Array, classes: int) -> int:
    """Of the images that are predicted no worse than most, the one with the most classes, then with the longest borders."""
    labeled = truth != IGNORE
    right = ((chosen == truth) & labeled).sum(axis=(1, 2)) / np.maximum(labeled.sum(axis=(1, 2)), 1)
    shown = np.array([len(np.unique(mask[mask != IGNORE])) for mask in truth])
    borders = near_borders(truth).mean(axis=(1, 2))
    return int(np.lexsort((borders, shown, right >= np.median(right)))[-1])


def _colors(dataset: Dataset) -> Array:
    """The color of each class (256, 3); white for values that are not a class."""
    table = np.full((256, 3), 255, np.uint8)
    table[: dataset.outputs] = dataset.preprocessing.to_json()["palette"]
    return table


def _picture(dataset: Dataset, image: Array) -> Array:
    look: Any = kind_of(dataset).look(dataset)
    shown: Array = look.picture(image)
    return shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=2)


# Above: the way down and up


def _journey(figure: SubFigure, model: UNet, dataset: Dataset, image: Array, answer: Array, ratio: float) -> None:
    with no_grad():
        maps = model.encode(Tensor(image[None]))
        up = [maps[-1]]
        for number in range(1, model.depth + 1):
            up.append(getattr(model, f"up{number}")(up[-1], maps[-number - 1]))
    down = [np.asarray(one.data)[0] for one in maps]
    back = [np.asarray(one.data)[0] for one in up[::-1]]  # by level, as `down`
    axes = figure.subplots()
    axes.set_axis_off()
    middle, wide = 6.5, 1.9
    step = (middle - 3.15) / model.depth
    top, bottom = 0.0, 0.0
    rows: list[float] = []
    for level in range(model.depth + 1):
        tall = float(wide * ratio * SHRINK**level)
        rows.append(top - tall / 2)
        bottom = float(top - tall)
        top = bottom - 0.62
    _stack(axes, [_picture(dataset, image)], 0.7, rows[0], wide, ratio, "image")
    _stack(axes, [answer], 2 * middle - 0.7, rows[0], wide, ratio, "prediction")
    _arrow(axes, (1.65, rows[0]), (2.05, rows[0]), INK)
    _arrow(axes, (2 * middle - 2.05, rows[0]), (2 * middle - 1.65, rows[0]), INK)
    for level in range(model.depth + 1):
        size = wide * SHRINK**level
        left, right = 3.15 + step * level, 2 * middle - 3.15 - step * level
        last = level == model.depth
        side = "center" if last else "right"
        _stack(axes, _strongest(down[level]), left, rows[level], size, ratio, _named(down[level]), side)
        if last:
            axes.text(left + size * 0.66, rows[level], "bottleneck: it sees the most\nand knows the place the least",
                      va="center", fontsize=9.5, color=QUIET, style="italic")  # fmt: skip
            break
        _stack(axes, _strongest(back[level]), right, rows[level], size, ratio, _named(back[level]), "left")
        color = SKIPS[level % len(SKIPS)]
        start, end = left + size * 0.62, right - size * 0.62
        _arrow(axes, (start, rows[level]), (end, rows[level]), color, 2.4)
        axes.text(middle, rows[level] + 0.07, f"skip {level + 1}", ha="center", va="bottom", color=color, fontsize=10.5,
                  fontweight="bold")  # fmt: skip
        edge = rows[level] - size * ratio / 2
        low = rows[level + 1] + wide * SHRINK ** (level + 1) * ratio / 2
        _arrow(axes, (left + 0.36 * size, edge - 0.14), (left + max(0.7 * step, 0.45 * size), low + 0.1), INK)
        _arrow(axes, (right - max(0.7 * step, 0.45 * size), low + 0.1), (right - 0.36 * size, edge - 0.14), INK)
    outer = 3.15 + step - 0.62 * wide * SHRINK
    axes.text(outer - 0.1, rows[1], "down: 2 x 2 maximum,\ntwo 3 x 3 convolutions", fontsize=9.5, color=QUIET, ha="right",
              va="center")  # fmt: skip
    axes.text(2 * middle - outer + 0.1, rows[1], "up: 2 x 2 up-convolution, joined\nwith the skip, two 3 x 3 convolutions",
              fontsize=9.5, color=QUIET, ha="left", va="center")  # fmt: skip
    axes.set(xlim=(-0.2, 2 * middle + 0.2), ylim=(bottom - 0.4, 0.3))
    axes.set_aspect("equal")
    axes.set_title("One test image on its way: each level halves the sides and doubles the maps (the four that vary most)",
                   fontsize=12)  # fmt: skip


def _strongest(maps: Array) -> list[Array]:
    """The maps that vary most, the strongest last, each between its own extremes."""
    from matplotlib import colormaps

    order = np.argsort(maps.std(axis=(1, 2)), kind="stable")[-STACK:]
    low, high = (np.quantile(maps[order], q, axis=(1, 2), keepdims=True) for q in (0.01, 0.99))
    scaled = np.clip((maps[order] - low) / np.maximum(high - low, 1e-6), 0, 1)
    return [colormaps["magma"](one)[..., :3] for one in scaled]


def _named(maps: Array) -> str:
    return f"{len(maps)} maps, {maps.shape[1]} x {maps.shape[2]}"


def _stack(
    axes: Axes, shown: list[Array], x: float, y: float, wide: float, ratio: float, name: str, side: str = "center"
) -> None:
    """Pictures behind each other, the last one in front, around (x, y); their name below, away from the arrow at its side."""
    tall, shift = wide * ratio, 0.055 * wide
    for place, one in enumerate(shown):
        away = (len(shown) - 1 - 2 * place) / 2 * shift
        box = (x - wide / 2 + away, x + wide / 2 + away, y - tall / 2 + away, y + tall / 2 + away)
        axes.imshow(one, extent=box, interpolation="nearest", zorder=3 + place, aspect="auto")
        axes.plot([box[0], box[1], box[1], box[0], box[0]], [box[2], box[2], box[3], box[3], box[2]], color="white", lw=1.2,
                  zorder=3 + place)  # fmt: skip
    aside = {"center": 0.0, "right": 0.22 * wide, "left": -0.22 * wide}[side]
    axes.text(x + aside, y - tall / 2 - 0.06 - (1.5 * shift if len(shown) > 1 else 0), name, ha=side, va="top", fontsize=9.5,
              color=INK)  # fmt: skip


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], color: str, width: float = 1.4) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, color=color, lw=width, zorder=2))


# Below: without the skips


def _ablations(
    figure: SubFigure, dataset: Dataset, image: Array, truth: Array, names: list[str], masks: list[Array],
    scores: list[tuple[float, float]],
) -> None:  # fmt: skip
    colors, picture = _colors(dataset), _picture(dataset, image)
    grid: Any = figure.subplots(2, len(masks) + 1, squeeze=False)
    figure.suptitle("What the skips carry: the same network with zeros in their place; wrong pixels in orange", fontsize=12)
    if dataset.outputs <= LEGEND:
        shown = [Patch(facecolor=colors[k] / 255, edgecolor=INK, lw=0.5, label=name) for k, name in enumerate(dataset.classes)]
        figure.legend(handles=shown, loc="outside lower center", ncols=LEGEND, frameon=False, fontsize=9.5, handlelength=1.2,
                      columnspacing=1.2)  # fmt: skip
    gray = np.repeat(255 - 0.45 * (255 - 255 * picture.mean(axis=2, keepdims=True)), 3, axis=2).astype(np.uint8)
    for axes in grid.flat:
        axes.set_axis_off()
    grid[0, 0].imshow(colors[truth], interpolation="nearest")
    grid[0, 0].set_title("truth", fontsize=10.5)
    grid[1, 0].imshow(picture, interpolation="nearest")
    grid[1, 0].set_title("image", fontsize=10.5)
    for column, (name, mask, (whole, near)) in enumerate(zip(names, masks, scores, strict=True), start=1):
        upper, lower = grid[:, column]
        upper.imshow(colors[mask], interpolation="nearest")
        single = name.startswith("without skip")
        upper.set_title(name, fontsize=10.5, color=SKIPS[(column - 2) % len(SKIPS)] if single else INK, fontweight="bold")
        wrong = (mask != truth) & (truth != IGNORE)
        lower.imshow(np.where(wrong[..., None], np.array(WRONG, np.uint8), gray), interpolation="nearest")
        lower.set_title(f"mean IoU {whole:.2f}\nnear borders {near:.2f}", fontsize=9.5, color=INK)
