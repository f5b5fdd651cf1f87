"""Filters: the weights of the first layer, laid over the input that they look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnatomy.data.kinds.looks import Pictures
from nnatomy.inspect import record
from nnatomy.runs.folder import Run
from nnatomy.tasks import forward
from nnatomy.tasks.figures import short
from nnatomy.views.common import COLORS, INK, SIGNED, caption, evenly_spaced, heading, input_names, inputs_of, look

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnatomy.runs.prepare import Prepared

Array = np.ndarray[Any, Any]
SHOWN = 40


def why_unsupported(prepared: Prepared, run: Run | None) -> str | None:
    if not prepared.task.takes_data:
        return "needs a model that takes data"
    return None if first_weights(prepared) is not None else "needs a first layer whose weights cover the input"


def draw(prepared: Prepared, run: Run | None) -> Figure:
    """The strongest filters as images, as curves over time, or by column."""
    found = first_weights(prepared)
    assert found is not None
    name, weights = found
    order = np.argsort(-np.linalg.norm(weights.reshape(len(weights), -1), axis=1), kind="stable")[:SHOWN]
    told = "" if len(weights) <= SHOWN else f": the {len(order)} strongest of {len(weights)}"
    shape = prepared.dataset.input_shape
    if weights.ndim == 4:
        figure = _images(prepared, weights[order])
    elif isinstance(look(prepared), Pictures):
        figure = _images(prepared, weights[order].reshape(-1, *shape))
    elif len(shape) == 2 and weights.shape[1] == int(np.prod(shape)):
        figure = _curves(prepared, weights[order].reshape(-1, *shape))
    else:
        figure = _columns(prepared, weights[order])
    layer = name.rpartition(".")[0]
    where = f"in {layer} of {prepared.architecture.front['title']}" if layer else f"of {prepared.architecture.front['title']}"
    heading(figure, f"What the {'units' if len(weights) > 1 else 'unit'} {where} look{'s' * (len(weights) == 1)} for{told}")
    return figure


def first_weights(prepared: Prepared) -> tuple[str, Array] | None:
    """(name, weights [units, ...]) of the layer that the input meets first, if each weight belongs to a place of the input."""
    inputs = inputs_of(prepared, evenly_spaced(prepared, prepared.dataset.train, 1))
    with record(prepared.model) as seen:
        forward(prepared.model, inputs)
    ran = [layer for layer in seen.values() if layer.outputs]
    names = {id(p): name for name, p in prepared.model.named_parameters()}
    for layer in ran:
        own = [value for _, value in layer.module._walk() if id(value) in names and value.ndim >= 2]
        if own:
            weights, shape = np.asarray(own[0].data), prepared.dataset.input_shape
            fits = weights.ndim == 4 or (inputs[0].dtype.kind == "f" and weights[0].size in (int(np.prod(shape)), shape[-1]))
            return (names[id(own[0])], weights) if fits else None
    return None


def _images(prepared: Prepared, kernels: Array) -> Figure:
    from matplotlib.figure import Figure

    colors = kernels.shape[1] == 3
    pictures = kernels if colors else kernels[:, :1] if kernels.shape[1] == 1 else kernels.mean(axis=1, keepdims=True)
    across = min(10, len(pictures))
    down = -(-len(pictures) // across)
    figure = Figure(figsize=(max(1.05 * across + 1.6, 7.5), 1.1 * down + 1.5), layout="constrained")
    grid: Any = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, one in zip(grid.flat, pictures, strict=False):
        reach = float(np.abs(one).max()) or 1.0
        if colors:
            axes.imshow(np.moveaxis(one / reach / 2 + 0.5, 0, -1), interpolation="nearest")
        else:
            shown = axes.imshow(one[0] / reach, cmap=SIGNED, vmin=-1, vmax=1, interpolation="nearest")
    size = " × ".join(map(str, kernels.shape[2:]))
    if colors:
        caption(figure, f"Each square is one filter's weights over {size} pixels, by color channel: gray is 0, and a pixel of "
                        "the color shown excites the unit most. Each filter is scaled by its own largest weight.")  # fmt: skip
        return figure
    bar = figure.colorbar(shown, ax=grid, shrink=0.85, ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["quietens", "0", "excites"])
    caption(figure, f"Each square is one filter's weights over {size} pixels: a bright pixel excites the unit where red and "
                    "quietens it where blue. Each filter is scaled by its own largest weight.")  # fmt: skip
    return figure


def _curves(prepared: Prepared, filters: Array) -> Figure:
    """Filters over a window [units, steps, columns], as curves."""
    from matplotlib.figure import Figure

    filters = filters[:24]
    across = min(6, len(filters))
    down = -(-len(filters) // across)
    figure = Figure(figsize=(2.1 * across + 0.8, 1.5 * down + 1.6), layout="constrained")
    grid: Any = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    names = input_names(look(prepared), filters.shape[2])
    for k, axes in enumerate(grid.flat):
        if k >= len(filters):
            axes.set_axis_off()
            continue
        for column in range(min(filters.shape[2], len(COLORS))):
            axes.plot(filters[k, :, column], color=COLORS[column], lw=1.2, label=names[column])
        axes.axhline(0, color="#9ca3af", lw=0.7)
        axes.tick_params(labelsize=7)
    for axes in grid[-1]:
        axes.set_xlabel("step of the window", fontsize=8)
    for axes in grid[:, 0]:
        axes.set_ylabel("weight", fontsize=8)
    if filters.shape[2] > 1:
        grid[0, 0].legend(fontsize=7, frameon=False)
    caption(figure, "Each panel is one filter's weights over the window, oldest step at the left: values above the mean excite "
                    "the unit where the curve is above 0 and quieten it where it is below.")  # fmt: skip
    return figure


def _columns(prepared: Prepared, weights: Array) -> Figure:
    """A table's filters: units by features."""
    from matplotlib.figure import Figure

    names = input_names(look(prepared), weights.shape[1])
    top = np.argsort(-np.abs(weights).max(axis=0), kind="stable")[:40]
    shown = weights[:, np.sort(top)]
    names = [short(names[i]) for i in np.sort(top)]
    reach = float(np.abs(shown).max()) or 1.0
    figure = Figure(figsize=(min(max(0.24 * len(shown) + 4, 7), 14), min(0.26 * len(names) + 2.2, 13)), layout="constrained")
    axes = figure.subplots()
    if len(shown) == 1:
        axes.barh(range(len(names))[::-1], shown[0], color=[COLORS[1] if w > 0 else COLORS[0] for w in shown[0]])
        axes.set_yticks(range(len(names))[::-1], names, fontsize=9 if len(names) < 30 else 7)
        axes.axvline(0, color=INK, lw=0.8)
        axes.grid(axis="x", alpha=0.25)
        axes.set(xlabel="weight")
        caption(figure, "Each bar is the weight of one input: a large value of an input excites the unit where the bar goes "
                        "right and quietens it where it goes left.")  # fmt: skip
        return figure
    image = axes.imshow(shown.T, cmap=SIGNED, vmin=-reach, vmax=reach, aspect="auto", interpolation="nearest")
    axes.set_yticks(range(len(names)), names, fontsize=9 if len(names) < 30 else 7)
    axes.set(xlabel="unit, strongest first")
    axes.set_xticks(range(len(shown)) if len(shown) <= 12 else range(0, len(shown), 5))
    figure.colorbar(image, ax=axes, shrink=0.85, label="weight")
    more = f" The {len(names)} inputs with the largest weights of {weights.shape[1]}." if len(names) < weights.shape[1] else ""
    caption(figure, "Each column of the picture is one unit's weights, one for each input: a large value of an input excites "
                    f"the unit where red and quietens it where blue.{more}")  # fmt: skip
    return figure
