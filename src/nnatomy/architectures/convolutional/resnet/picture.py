"""ResNet's picture: the stream through the blocks and what each adds, blocks left out, and gradients without the skips."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from nnatomy import random
from nnatomy.architectures.convolutional.resnet.model import ResNet, gradients_by_block
from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds import kind_of
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]

WITH, WITHOUT, QUIET, INK = "#2563a8", "#d1662a", "#6b7280", "#1f2937"
SHOWN = 9  # blocks whose maps are drawn
VALUES = 400_000  # of the inputs of an examined batch, at most
EXAMINED = 200  # test images, at most


def draw(model: ResNet, dataset: Dataset) -> Figure:
    """One test image in the residual stream (above); accuracy with blocks left out and gradients by depth (below)."""
    count = max(2, min(EXAMINED, len(dataset.test), VALUES // int(np.prod(dataset.input_shape))))
    x, y = dataset.test.take(np.unique(np.linspace(0, len(dataset.test) - 1, count).round().astype(int)))
    blocks = list(model.blocks())
    plain = not blocks[0].residual
    figure = Figure(figsize=(13.5, 9.9), layout="constrained")
    right = float((_scores(model, x).argmax(axis=1) == y).mean())
    name = "Plain network, without skips," if plain else "ResNet"
    figure.suptitle(f"{name} of {len(blocks)} blocks on {dataset.name}: {right:.1%} of {len(y)} test images right", fontsize=15)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1, 1.3), hspace=0.04)
    look: Any = kind_of(dataset).look(dataset)
    example = int(np.argmax(_margins(_scores(model, x), y)))
    _stream(parts[0], model, look.picture(x[example]), x[example : example + 1], dataset.classes[int(y[example])])
    left, middle = parts[1].subplots(1, 2, width_ratios=(1, 1.25))
    _left_out(left, model, x, y, right)
    _gradients(middle, model, x[:32], y[:32])
    return figure


def _scores(model: ResNet, x: Array) -> Array:
    with no_grad():
        return np.concatenate([np.asarray(model(Tensor(x[i : i + 64])).data) for i in range(0, len(x), 64)])


def _margins(scores: Array, y: Array) -> Array:
    """By how much the right class is ahead of the best other one."""
    right = np.take_along_axis(scores, y[:, None], axis=1)[:, 0]
    others = scores.copy()
    np.put_along_axis(others, y[:, None], -np.inf, axis=1)
    return np.asarray(right - others.max(axis=1))


# Above: the stream


def _stream(figure: SubFigure, model: ResNet, image: Array, x: Array, name: str) -> None:
    blocks = list(model.blocks())
    with no_grad():
        states = [model.stem(Tensor(x))]
        added = []
        for block in blocks:
            a = states[-1] if getattr(block, "bn1", None) is None or model.version == 1 else block.bn1(states[-1]).relu()
            added.append(np.asarray(block.branch(a).data)[0])
            states.append(block(states[-1]))
    stream = [np.asarray(state.data)[0] for state in states]
    chosen = np.unique(np.linspace(0, len(blocks) - 1, min(SHOWN, len(blocks))).round().astype(int))
    ratios = [float(np.linalg.norm(f) / (np.linalg.norm(s) + 1e-12)) for f, s in zip(added, stream, strict=False)]
    grid: Any = figure.subplots(2, len(chosen) + 2, squeeze=False)
    plain = not blocks[0].residual
    says = "each block replaces what it receives" if plain else "each block adds to what it receives"
    figure.suptitle(f'A test image ("{name}") on its way: {says}', fontsize=12.5)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    grid[0, 0].imshow(image, cmap="gray", interpolation="nearest")
    grid[0, 0].set_title("image", fontsize=11)
    _map(grid[0, 1], stream[0], False)
    grid[0, 1].set_title("stem", fontsize=11)
    for axes in grid[1, :2]:
        axes.set_axis_off()
    words = "what a block computes\nfrom the x above" if plain else "what the block\nadds to the x that it receives"
    words = f"Above: the stream x.\nBelow: F(x), {words};\nred adds, blue takes away.\nMeans over the maps."
    note = grid[1, 0].text(0.0, 0.5, words, fontsize=10.5, color=INK, va="center", transform=grid[1, 0].transAxes)
    note.set_in_layout(False)
    for column, k in enumerate(chosen, start=2):
        upper, lower = grid[:, column]
        _map(upper, stream[k + 1], False)
        upper.set_title(f"block {k + 1}", fontsize=11)
        upper.set_xlabel("{} maps\n{} x {}".format(*stream[k + 1].shape), fontsize=9.5, color=QUIET)
        _map(lower, added[k], True)
        lower.set_title(f"|F| = {ratios[k]:.1f} |x|", fontsize=10, color=WITHOUT if plain else WITH)


def _map(axes: Axes, maps: Array, signed: bool) -> None:
    """The mean of the maps: gray for the stream, blue and red for what is added."""
    mean = maps.mean(axis=0)
    if signed:
        reach = float(np.abs(mean).max()) or 1.0
        axes.imshow(mean, cmap="RdBu_r", vmin=-reach, vmax=reach, interpolation="nearest")
    else:
        axes.imshow(mean, cmap="magma", interpolation="nearest")


# Below: blocks left out, and gradients


def _left_out(axes: Axes, model: ResNet, x: Array, y: Array, right: float) -> None:
    """Accuracy of the trained network where one block adds nothing, for each block whose skip is the identity."""
    copied = copy.deepcopy(model)
    blocks = list(copied.blocks())
    if not blocks[0].residual:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "No block can be left out\nof a network without skips.", ha="center", va="center", color=QUIET)
        return
    found = [_without(copied, k, x, y) for k in range(len(blocks))]
    colors = [WITH if block.downsample is None else "#9db8d6" for block in blocks]
    axes.bar(np.arange(1, len(blocks) + 1), found, color=colors)
    axes.axhline(right, color=INK, lw=1.4, ls="--", label="all blocks")
    for block in blocks:
        block.residual = False
    none = float((_scores(copied, x).argmax(axis=1) == y).mean())
    axes.axhline(none, color=WITHOUT, lw=2.2, label="all blocks, but no skips")
    axes.legend(frameon=False, fontsize=10.5, loc="upper left", ncols=2)
    axes.set_title("Accuracy when one block adds nothing", fontsize=12.5)
    axes.set(xlabel="the block that is left out (pale: it changes the shape)", ylim=(0, 1.16), xlim=(0.3, len(blocks) + 0.7))
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _without(model: ResNet, gone: int, x: Array, y: Array) -> float:
    """Accuracy without what one block adds; its last scale or convolution is set to zeros and put back."""
    block = list(model.blocks())[gone]
    last = next(getattr(block, name) for name in ("bn3", "conv3", "bn2", "conv2") if _ends(model, block, name))
    kept = last.state_dict()
    try:
        last.load_state_dict(kept | {name: np.zeros_like(kept[name]) for name in ("weight", "bias") if name in kept})
        return float((_scores(model, x).argmax(axis=1) == y).mean())
    finally:
        last.load_state_dict(kept)


def _ends(model: ResNet, block: Any, name: str) -> bool:
    """True for the layer that ends a block's branch."""
    return hasattr(block, name) and name.startswith("bn" if model.version == 1 else "conv")


def _gradients(axes: Axes, model: ResNet, x: Array, y: Array) -> None:
    """Norms of the gradient by depth before training, of the same layers with and without skips, and three times as many."""
    kept = random.default.state_dict()
    try:
        for times, style in ((1, "--"), (3, "-")):
            for residual, color in ((True, WITH), (False, WITHOUT)):
                random.seed(0)
                options = {**model.options, "layers": tuple(times * n for n in model.options["layers"]), "residual": residual}
                norms = gradients_by_block(ResNet(**options), Tensor(x), Tensor(y))
                places = np.linspace(0, 1, len(norms))
                name = f"{len(norms) - 1} blocks, {'skips' if residual else 'no skips'}"
                axes.plot(places, np.array(norms) / norms[-1], style, color=color, lw=2.2 if times == 3 else 1.6, label=name)
    finally:
        random.default.load_state_dict(kept)
    axes.set_yscale("log")
    axes.set_title("The gradient on its way back, before training", fontsize=12.5)
    axes.set(xlabel="place in the network: first block (0) to the end of the last (1)", ylabel="its norm, 1 at the last block")
    axes.legend(frameon=False, fontsize=10.5)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
