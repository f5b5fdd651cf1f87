"""Activations: what each layer gives for a few test examples: maps of a convolution, numbers of units, steps of a sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnatomy.inspect import activations
from nnatomy.runs.folder import Run
from nnatomy.views.common import (
    ACTIVE,
    SIGNED,
    caption,
    class_name,
    heading,
    inputs_of,
    name_lines,
    of_each_class,
    show_example,
    why_not_by_row,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nnatomy.runs.prepare import Prepared

Array = np.ndarray[Any, Any]
EXAMPLES, LAYERS, MAPS = 3, 8, 16


def why_unsupported(prepared: Prepared, run: Run | None) -> str | None:
    if not prepared.task.takes_data:
        return "needs a model that takes data"
    return why_not_by_row(prepared) or (None if _leaves(prepared) else "needs a model with layers inside")


def draw(prepared: Prepared, run: Run | None) -> Figure:
    """A column for each example, a row for each layer, in the order in which they ran."""
    from matplotlib.figure import Figure

    batch = of_each_class(prepared, EXAMPLES)
    inputs, count = inputs_of(prepared, batch), len(batch[0])
    found = activations(prepared.model, *inputs)
    leaves = _leaves(prepared)
    known = [path for path in found if layer_of(path) in leaves]
    paths = _chosen(known, found)
    figure = Figure(figsize=(3.4 * count + 1.6, 2.0 + 1.75 * len(paths)), layout="constrained")
    heading(figure, f"What the layers of {prepared.architecture.front['title']} give for {count} test examples")
    grid: Any = figure.subplots(len(paths) + 1, count, squeeze=False)
    for column in range(count):
        show_example(grid[0, column], prepared, inputs, column)
        label = batch[-1][column]
        if prepared.dataset.classes and np.ndim(label) == 0:
            grid[0, column].set_title(f"true: {class_name(prepared, int(label))}", fontsize=10)
    for row, path in zip(grid[1:], paths, strict=True):
        values = found[path]
        reach = max(float(np.abs(values).max()), 1e-12)
        low, cmap = (-reach, SIGNED) if values.min() < 0 else (0.0, ACTIVE)
        for column, axes in enumerate(row):
            shown = _show(axes, _one(values, column, inputs), low, reach, cmap)
        figure.colorbar(shown, ax=row[-1], shrink=0.85, ticks=[low, 0, reach] if low else [0, reach], format="%.2g")
        kind = type(dict(prepared.model.named_modules())[layer_of(path)]).__name__
        row[0].set_ylabel(f"{path}\n{kind}\n{_size(_one(values, 0, inputs))}", rotation=0, ha="right", va="center", fontsize=9)
    name_lines(figure, grid[0, 0])
    left_out = len(known) > len(paths)
    caption(
        figure,
        "Each row is a layer, in the order of the computation; one scale of colors a row, so columns can be compared. Shown "
        "is what the module itself gives: before the activation function, where that is not a separate module."
        + (" Some layers are left out." if left_out else ""),
    )
    return figure


def layer_of(path: str) -> str:
    """The layer's path, without the number of its call."""
    return path.partition(" (call ")[0]


def _leaves(prepared: Prepared) -> set[str]:
    """Modules that hold no other that runs, the model itself left out."""
    paths = [path for path, _ in prepared.model.named_modules() if path]
    inner = {path for path, module in prepared.model.named_modules() if path and not _holds_weights_below(module)}
    return {p for p in paths if p in inner}


def _holds_weights_below(module: Any) -> bool:
    return any(True for child in module.modules() if child is not module and any(True for _ in child.parameters()))


def _chosen(paths: list[str], found: dict[str, Array]) -> list[str]:
    """At most LAYERS paths, evenly spaced, without those that change nothing (dropout) and those inside others."""
    kept: list[str] = []
    for path in paths:
        if any(path.startswith(f"{other}.") for other in paths):
            continue
        if kept and found[path].shape == found[kept[-1]].shape and np.array_equal(found[path], found[kept[-1]]):
            continue
        kept.append(path)
    places = np.unique(np.linspace(0, len(kept) - 1, min(LAYERS, len(kept))).round().astype(int))
    return [kept[i] for i in places]


def _one(values: Array, at: int, inputs: tuple[Array, ...]) -> Array:
    """One example's values; of a ragged batch without the padding."""
    one = np.asarray(values[at if len(values) > 1 else 0])  # a part may give one value for all examples, such as of the time
    if len(inputs) > 1 and inputs[1].ndim == 1 and one.ndim == 2 and len(one) == inputs[0].shape[1]:
        return np.asarray(one[: int(inputs[1][at])])
    return np.asarray(one)


def _size(one: Array) -> str:
    shape = " × ".join(map(str, one.shape))
    if one.ndim == 3:
        return f"{one.shape[0]} maps of {one.shape[1]} × {one.shape[2]}"
    return f"{one.shape[0]} steps × {one.shape[1]}" if one.ndim == 2 else f"{shape} unit{'s' * (one.size > 1)}"


def _show(axes: Axes, one: Array, low: float, high: float, cmap: str) -> Any:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if one.ndim == 3:
        return axes.imshow(_montage(one), vmin=low, vmax=high, cmap=cmap)
    if one.ndim == 2:
        axes.set_xlabel("step →", fontsize=8)
        return axes.imshow(one.T, vmin=low, vmax=high, cmap=cmap, aspect="auto", interpolation="nearest")
    flat = one.reshape(-1)
    rows = max(1, round((len(flat) / 4) ** 0.5)) if len(flat) > 16 else 1
    wide = max(-(-len(flat) // rows), 8)  # few units are small squares all the same
    padded = np.full(rows * wide, np.nan)
    padded[: len(flat)] = flat
    return axes.imshow(padded.reshape(rows, wide), vmin=low, vmax=high, cmap=cmap)


def _montage(maps: Array) -> Array:
    """Up to MAPS maps side by side in rows, with a gap."""
    maps = maps[np.unique(np.linspace(0, len(maps) - 1, min(MAPS, len(maps))).round().astype(int))]
    across = min(8, len(maps)) if maps.shape[1] * 2 <= maps.shape[2] * 3 else len(maps)
    down = -(-len(maps) // across)
    gap = max(1, maps.shape[1] // 12)
    out = np.full((down * (maps.shape[1] + gap) - gap, across * (maps.shape[2] + gap) - gap), np.nan)
    for k, one in enumerate(maps):
        top, left = (k // across) * (maps.shape[1] + gap), (k % across) * (maps.shape[2] + gap)
        out[top : top + maps.shape[1], left : left + maps.shape[2]] = one
    return out
