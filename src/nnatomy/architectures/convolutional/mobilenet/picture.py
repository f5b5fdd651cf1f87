"""MobileNet's picture: one kernel a map and then a mixture of the maps, on an image, and what the split saves in each block."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from nnatomy.architectures.convolutional.mobilenet.model import MobileNet
from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds import kind_of
from nnatomy.graph import no_grad
from nnatomy.inspect import activations
from nnatomy.layers import Conv2d
from nnatomy.layers.summary import summary
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]

PLAIN, DEPTH, POINT, QUIET, INK = "#c9ced6", "#d1662a", "#2563a8", "#6b7280", "#1f2937"
SHOWN = 6  # maps that are drawn
EXAMINED = 200  # test images, at most


def draw(model: MobileNet, dataset: Dataset) -> Figure:
    """The first block on a test image (above); multiply-adds of each block, plain and separable (below)."""
    count = min(EXAMINED, len(dataset.test))
    x, y = dataset.test.take(np.unique(np.linspace(0, len(dataset.test) - 1, count).round().astype(int)))
    with no_grad():
        scores = np.concatenate([np.asarray(model(Tensor(x[i : i + 64])).data) for i in range(0, len(x), 64)])
    right = scores.argmax(axis=1) == y
    figure = Figure(figsize=(13.5, 10.4), layout="constrained")
    version = str(model.options["version"]).replace("v", "version ").replace("-", ", ")
    figure.suptitle(f"MobileNet, {version}, on {dataset.name}: {right.mean():.1%} of {len(y)} test images right", fontsize=15)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.25, 1), hspace=0.04)
    example = int(np.argmax(right))
    look: Any = kind_of(dataset).look(dataset)
    _first_block(parts[0], model, look.picture(x[example]), x[example : example + 1])
    _costs(parts[1].subplots(), model, x[:1])
    return figure


def pairs(model: MobileNet) -> list[tuple[str, Conv2d, str, Conv2d]]:
    """Return the depthwise and the pointwise convolution of each block, each behind its path."""
    found = []
    for number, block in enumerate(model.features):
        layers = [(f"features.{number}.{path}", layer) for path, layer in block.named_modules() if isinstance(layer, Conv2d)]
        depthwise = next(((path, layer) for path, layer in layers if layer.groups > 1), None)
        if depthwise is not None:
            found.append((*depthwise, *layers[-1]))
    return found


# Above: the first block


def _first_block(figure: SubFigure, model: MobileNet, image: Array, x: Array) -> None:
    """Maps of the stem, the kernel of each, its result, and the mixture that one output map takes."""
    path, depthwise, point_path, pointwise = pairs(model)[0]
    seen = activations(model, Tensor(x), layers=["features.0", path, point_path])
    stem, filtered, mixed = (seen[name][0] for name in ("features.0", path, point_path))
    kernels = depthwise.weight.numpy()[:, 0]
    weights = pointwise.weight.numpy()[:, :, 0, 0]
    chosen = np.sort(np.argsort(-stem.std(axis=(1, 2)))[:SHOWN])
    output = int(np.argmax(mixed.std(axis=(1, 2))))
    grid: Any = figure.add_gridspec(3, len(chosen) + 4, width_ratios=(1.15, *[1] * len(chosen), 0.25, 1.5, 1.5))
    figure.suptitle(
        "The first block in two steps: each kernel filters one map, then every output mixes all maps", fontsize=12.5
    )
    axes = figure.add_subplot(grid[0, 0])
    _image(axes, image, "gray")
    axes.set_title("image", fontsize=11)
    words = ("", "1  Depthwise:\none {0} x {0}\nkernel a map".format(kernels.shape[-1]), "filtered maps,\nstill separate")
    for row in (1, 2):
        note = figure.add_subplot(grid[row, 0])
        note.set_axis_off()
        note.text(0.5, 0.5, words[row], fontsize=11.5, color=DEPTH, ha="center", va="center", transform=note.transAxes)
    reach = float(np.abs(kernels[chosen]).max()) or 1.0
    for column, k in enumerate(chosen, start=1):
        upper, middle, lower = (figure.add_subplot(grid[row, column]) for row in range(3))
        _image(upper, stem[k], "magma")
        upper.set_title(f"map {k + 1}", fontsize=11)
        middle.imshow(kernels[k], cmap="RdBu_r", vmin=-reach, vmax=reach, interpolation="nearest")
        _bare(middle)
        _image(lower, filtered[k], "magma")
    bars = figure.add_subplot(grid[:, -2])
    order = np.arange(weights.shape[1])
    bars.barh(order + 1, weights[output], color=[POINT if k in chosen else "#9db8d6" for k in order])
    bars.invert_yaxis()
    bars.axvline(0, color=INK, lw=0.8)
    bars.set_title(f"2  Pointwise:\n{weights.shape[1]} weights for one output", fontsize=11.5, color=POINT)
    bars.set_ylabel("map", labelpad=1)
    bars.spines[["top", "right"]].set_visible(False)
    result = figure.add_subplot(grid[:, -1])
    _image(result, mixed[output], "magma")
    result.set_title(f"output map {output + 1}\nof {weights.shape[0]}", fontsize=11.5, color=POINT)


def _image(axes: Axes, values: Array, colors: str) -> None:
    axes.imshow(values, cmap=colors, interpolation="nearest")
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


# Below: costs


def _costs(axes: Axes, model: MobileNet, x: Array) -> None:
    """Paired bars for each block: a plain k x k convolution, and the depthwise and pointwise ones that replace it."""
    rows = {row.path: row for row in summary(model, x).rows}
    plain, deep, point, names = [], [], [], []
    for number, (path, depthwise, point_path, pointwise) in enumerate(pairs(model), start=1):
        outputs, inputs = pointwise.weight.shape[:2]
        kernel = depthwise.weight.shape[-1]
        height, width = rows[point_path].output_shape[-2:]
        plain.append(kernel**2 * inputs * outputs * height * width)
        deep.append(rows[path].multiply_adds)
        point.append(rows[point_path].multiply_adds)
        names.append(f"{number}\n{inputs} to\n{outputs}")
    places = np.arange(len(names))
    axes.bar(places - 0.21, plain, 0.4, color=PLAIN, label="one plain convolution, k x k across all maps")
    axes.bar(places + 0.21, deep, 0.4, color=DEPTH, label="depthwise, k x k")
    axes.bar(places + 0.21, point, 0.4, bottom=deep, color=POINT, label="pointwise, 1 x 1")
    for place, a, b, c in zip(places, plain, deep, point, strict=True):
        axes.text(place + 0.21, b + c, f" 1/{a / (b + c):.1f}", ha="center", va="bottom", fontsize=10, color=POINT)
    total = sum(plain) / (sum(deep) + sum(point))
    axes.set_title(f"Multiply-adds of each block for one image: in all {total:.1f} times fewer than plain", fontsize=12.5)
    axes.set_xticks(places, names, fontsize=9.5)
    axes.set_xlabel("block, and its maps before and after the pointwise convolution", color=QUIET)
    axes.set(xlim=(-0.6, len(names) - 0.4), ylim=(0, 1.12 * max(plain)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.legend(frameon=False, fontsize=10.5, loc="upper center", ncols=3)
    axes.spines[["top", "right"]].set_visible(False)
